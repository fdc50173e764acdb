"""Covariances for the regimes of this topic: positive definite even when rounded to 8 bits."""

from __future__ import annotations

import numpy as np

SYMMETRIC_MATRIX = {"the output is transposed": "it is a symmetric matrix"}
"""What changes nothing where an output is a covariance, or another symmetric matrix."""


def covariance(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Symmetric (..., d, d) with random eigenvectors and eigenvalues between 1 and 16."""
    basis, _ = np.linalg.qr(rng.standard_normal(shape))
    eigenvalues = 16.0 ** rng.random(shape[:-1])
    return symmetric_part((basis * eigenvalues[..., None, :]) @ basis.swapaxes(-1, -2))


def diagonal_covariance(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Diagonal (..., d, d) with variances between 1/4 and 16."""
    return np.eye(shape[-1]) * (4.0 ** rng.uniform(-1, 2, shape[:-1]))[..., None, :]


def graded_units(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Units (..., d) of the coordinates: powers of two from 1/64 to 16, with both ends if d > 1.

    Scaling a covariance by them takes its condition number to about 1e7 and changes no mantissa;
    the variances stay in the range of float16.
    """
    exponents = rng.integers(-6, 5, shape)
    exponents[..., 0], exponents[..., -1] = -6, 4
    return 2.0 ** rng.permuted(exponents, axis=-1)


def rescale(matrix: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The covariance (..., d, d) of coordinates that are multiplied by the units (..., d)."""
    return matrix * units[..., :, None] * units[..., None, :]


def symmetric_part(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.swapaxes(-1, -2)) / 2


def displacement(rng: np.random.Generator, cov: np.ndarray) -> np.ndarray:
    """A vector (..., d) as long as a typical draw from N(0, cov), and never short.

    Its whitened coordinates are between 1/2 and 2 in size: a short one would make a divergence so
    small that the terms that cancel in an honest textbook formula show.
    """
    z = rng.choice([-1.0, 1.0], cov.shape[:-1]) * rng.uniform(0.5, 2, cov.shape[:-1])
    return (np.linalg.cholesky(cov) @ z[..., None])[..., 0]


def integer_factor(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Lower bidiagonal (..., d, d), well conditioned: 2 on the diagonal, -1, 0 or 1 below."""
    d = shape[-1]
    below = np.diag(np.ones(d - 1), -1) if d > 1 else np.zeros((1, 1))
    return 2 * np.eye(d) + below * rng.integers(-1, 2, shape)
