"""Arrays and comparisons that the tests of the shim share."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from refimpl import backend as B

LINALG_TYPES = ["float16", "float32", "float64", "longdouble"]
TOLERANCE = {"float16": 8e-3, "float32": 2e-5, "float64": 1e-12, "longdouble": 1e-15}


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*lead, n=4, seed=0):
    a = random(*lead, n, n, seed=seed)
    return a @ a.swapaxes(-1, -2) + np.eye(n)


def check(backend, found, expected, dtype="float64"):
    """Right place, right type, right values."""
    assert B.namespace(found) is backend.xp
    host = backend.host(found)
    assert host.dtype == dtype
    assert host.shape == expected.shape
    tolerance = TOLERANCE[B.dtype_name(host)]
    scale = np.abs(expected).max(initial=1)
    assert_allclose(host.astype("longdouble"), expected, rtol=0, atol=tolerance * scale)
