"""Multi-head latent attention."""

from __future__ import annotations

import numpy as np

from refimpl import (
    latent_attention,
)

RNG = np.random.default_rng(8823)


def test_absorbing_the_projections_changes_nothing():
    shapes = (3, 5, 4), (3, 5, 2), (1, 7, 6), (1, 7, 2), (3, 6, 4), (3, 6, 5)
    arrays = [RNG.standard_normal((2, *s)) for s in shapes]
    for options in ({}, {"causal": "bottom_right"}, {"scale": 0.7}):
        naive = latent_attention(*arrays, **options)
        absorbed = latent_attention(*arrays, form="absorbed", **options)
        np.testing.assert_allclose(absorbed, naive, atol=1e-13)


def test_one_key_is_scale_blind():
    """Why a forgotten factor of the scale does not show at the first position."""
    shapes = (4, 3), (4, 2), (4, 5), (4, 2), (5, 3), (5, 3)
    arrays = [RNG.standard_normal(s) for s in shapes]
    one, other = (latent_attention(*arrays, causal=True, scale=s) for s in (0.5, 0.9))
    np.testing.assert_allclose(one[0], other[0], atol=1e-15)
    assert np.abs(one[1:] - other[1:]).max() > 1e-3
