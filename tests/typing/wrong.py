"""Calls that a type checker must refuse, each on a line of its own; see check.py."""

import numpy as np

import refimpl

q = np.ones((2, 4))
refimpl.softmax_attention(q, q, q, casual=True)  # wrong
refimpl.softmax_attention(q, q, q, causal="left")  # wrong
refimpl.softmax_attention(q, q, q, window=16)  # wrong
refimpl.softmax_attention(q, q)  # wrong
refimpl.softmax_attention.vjp(q, q, q)  # wrong
refimpl.rotary_embedding(q, [0, 1])  # wrong
refimpl.t5_buckets([0], [1], bidirectional="false")  # wrong
refimpl.does_not_exist  # wrong  # noqa: B018
