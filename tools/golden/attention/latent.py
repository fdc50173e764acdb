"""Latent attention with its keys and values written out."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.attention.lowrank import draw, product
from tools.golden.attention.softmax import softmax_attention


def _cases():
    arrays = draw(2405, (4, 3), (4, 2), (6, 5), (6, 2), (5, 3), (5, 2))
    mask = np.random.default_rng(0).random((4, 6)) < 0.7
    return {
        "plain": (arrays, {}),
        "causal": (arrays, {"causal": "bottom_right"}),
        "masked": (arrays, {"mask": mask, "scale": np.array(0.9)}),
    }


@golden("latent_attention", _cases)
def latent_attention(q, q_rotary, latents, k_rotary, key_up, value_up, scale=None, **options):
    tau = 1 / mpmath.sqrt(len(q[0]) + len(q_rotary[0])) if scale is None else scale
    queries = [a + b for a, b in zip(q, q_rotary, strict=True)]
    keys = [a + b for a, b in zip(product(latents, key_up), k_rotary, strict=True)]
    return softmax_attention(queries, keys, product(latents, value_up), scale=tau, **options)
