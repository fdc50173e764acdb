"""Covariances for the golden cases: float64, exactly symmetric and positive definite."""

from __future__ import annotations

import numpy as np


def dense(rng: np.random.Generator, d: int, condition: float) -> np.ndarray:
    """Random eigenvectors; the logarithms of the eigenvalues spread evenly, 1 to 1/condition."""
    basis, _ = np.linalg.qr(rng.standard_normal((d, d)))
    matrix = (basis * np.geomspace(1, 1 / condition, d)) @ basis.T
    return (matrix + matrix.T) / 2


def graded(rng: np.random.Generator, d: int, condition: float) -> np.ndarray:
    """Well conditioned but for the units of its coordinates, whose squares span ``condition``."""
    units = np.geomspace(1, condition**-0.5, d)
    matrix = dense(rng, d, 4.0) * units[:, None] * units
    return (matrix + matrix.T) / 2
