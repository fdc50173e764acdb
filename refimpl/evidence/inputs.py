"""Samplers that many regimes share: arrays by argument names, masks, positions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np


def normal(rng: np.random.Generator, shape: SimpleNamespace, *names: str, size: float = 1.0):
    """Standard normal arrays for these arguments, times ``size``, in their order."""
    return tuple(size * rng.standard_normal(getattr(shape, name)) for name in names)


def attention(rng: np.random.Generator, shape: SimpleNamespace, size: float = 1.0):
    """Queries and keys of that size, and standard normal values."""
    return *normal(rng, shape, "q", "k", size=size), *normal(rng, shape, "v")


def masked(rng: np.random.Generator, shape: SimpleNamespace, share: float = 0.6):
    """A random mask that keeps this share."""
    return rng.random(shape.mask) < share


def rows_hidden(rng: np.random.Generator, shape: SimpleNamespace, share: float = 0.7):
    """A random mask that hides every third row."""
    mask = masked(rng, shape, share)
    mask[..., ::3, :] = False
    return mask
