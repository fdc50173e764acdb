"""Calls that a type checker must accept; see check.py."""

import numpy as np

import refimpl
from refimpl.check import check
from refimpl.check.candidate import Candidate

q = np.ones((2, 4))
refimpl.softmax_attention(q, q, q, causal="top_left", window=(1, None), softcap=2.0)
refimpl.softmax_attention.oracle(q, q, q, form="rows")
dq, dk, dv = refimpl.softmax_attention.vjp(q, q, q, q, causal=None)
refimpl.rotary_embedding(q, [0, 1], pairing="half", frequencies=[1.0, 0.1])
refimpl.backend.to_host(q)
check(refimpl.gaussian_kl, Candidate("mine", refimpl.gaussian_kl))
