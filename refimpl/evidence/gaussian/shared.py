"""What evidence for Gaussians shares: covariances, matrices, and moves that change no rounding."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import (
    cholesky,
    eigh,
    like,
    logdet_from_cholesky,
    namespace,
    solve,
    solve_triangular,
    svd,
)
from refimpl.formula import upcast

LOG_2PI = math.log(2 * math.pi)
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


# ------------------------------------------------------------------------------------- matrices


def transposed(matrix):
    return matrix.swapaxes(-1, -2)


def trace(matrix):
    return namespace(matrix).trace(matrix, axis1=-2, axis2=-1)


def diagonal_of(matrix):
    return namespace(matrix).diagonal(matrix, axis1=-2, axis2=-1)


def diagonal_matrix(entries):
    return entries[..., None] * namespace(entries).eye(entries.shape[-1], dtype=entries.dtype)


def power(cov, exponent):
    """The symmetric power of a positive definite matrix."""
    values, basis = eigh(cov)
    powers = namespace(cov).maximum(values, 0) ** exponent
    return (basis * powers[..., None, :]) @ basis.swapaxes(-1, -2)


def matrix_of_map(cov_p, cov_q):
    """The matrix of the optimal map from p to q."""
    factor = cholesky(cov_p)
    w, m, _ = svd(factor.swapaxes(-1, -2) @ cholesky(cov_q))
    y = solve_triangular(factor, w * namespace(m).sqrt(m)[..., None, :], transpose=True)
    return y @ y.swapaxes(-1, -2)


def off_diagonal_doubled(matrix):
    xp = namespace(matrix)
    return 2 * matrix - matrix * xp.eye(matrix.shape[-1], dtype=matrix.dtype)


def identity_of(matrix):
    return namespace(matrix).eye(matrix.shape[-1], dtype=matrix.dtype)


def inverse_of(matrix):
    return solve(matrix, identity_of(matrix))


def logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


def sigma_points(cov):
    """Points (..., 2d, d) whose mean value of any quadratic is its expectation under N(0, cov)."""
    columns = cholesky(upcast(cov)).swapaxes(-1, -2) * math.sqrt(cov.shape[-1])
    return namespace(cov).concatenate([columns, -columns], axis=-2)


# -------------------------------------------------------------------- moves that change no rounding


def host_units(d):
    """Units -1/2, 1, 2, -1/2, ... of the coordinates."""
    return np.resize([-0.5, 1.0, 2.0], d)


def change_of_unit(reference):
    """Units in the reference's type, and a permutation: exact in every precision."""
    d = reference.shape[-1]
    units = host_units(d).astype(reference.dtype)
    return like(units, reference), like(np.roll(np.arange(d), 1), reference)


def recoordinated(cov, units, order):
    scaled = cov * units[:, None] * units
    return scaled[..., order, :][..., order]


def uncoupled(cov, k):
    """cov without the correlations between the first k coordinates and the others."""
    block = np.arange(cov.shape[-1]) < k
    keep = like((block[:, None] == block).astype(cov.dtype), cov)
    return cov * keep
