"""Wrong variants of the transforms: signs, halves, inverses, and neighbours in convention."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve
from refimpl.evidence.gaussian.shared import LOG_2PI, off_diagonal_doubled
from refimpl.evidence.gaussian.transform import characteristic, generating, integral
from refimpl.gaussian.transform import (
    gaussian_characteristic_function,
    gaussian_log_integral,
    gaussian_log_moment_generating_function,
)


def _logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


def _square(cov, w):
    return (w * (cov @ w[..., None])[..., 0]).sum(axis=-1)


def _inverse_square(cov, w):
    return (w * solve(cov, w[..., None])[..., 0]).sum(axis=-1)


# -------------------------------------------------------------------------- Gaussian integral


def _integral(d, logdet, square):
    return 0.5 * (d * LOG_2PI + logdet + square)


@integral.mutant
def determinant_sign(w, cov, /):
    """the log-determinant has the wrong sign"""
    return _integral(w.shape[-1], -_logdet(cov), _square(cov, w))


@integral.mutant
def exponent_without_half(w, cov, /):
    """the half in the exponent is missing: the integral of exp(-x^T S^{-1} x + w^T x)"""
    return gaussian_log_integral(w, cov / 2)


@integral.mutant
def square_not_halved(w, cov, /):
    """w^T S w lacks its factor 1/2"""
    return _integral(w.shape[-1], _logdet(cov), 2 * _square(cov, w))


@integral.mutant
def square_inverted(w, cov, /):
    """the completed square is w^T S^{-1} w instead of w^T S w"""
    return _integral(w.shape[-1], _logdet(cov), _inverse_square(cov, w))


@integral.mutant
def square_negative(w, cov, /):
    """the completed square has the sign of a Fourier transform"""
    return _integral(w.shape[-1], _logdet(cov), -_square(cov, w))


@integral.mutant
def two_pi_once(w, cov, /):
    """2 pi is counted once, not once for each coordinate"""
    return _integral(1, _logdet(cov), _square(cov, w))


@integral.mutant(gradient=True)
def gradient_inverse_missing(g, w, cov, /):
    """the gradient in cov lacks the log-determinant's S^{-1}/2"""
    dw, _ = gaussian_log_integral.vjp(g, w, cov)
    return dw, g[..., None, None] * w[..., :, None] * w[..., None, :] / 2


# ----------------------------------------------------------------- moment generating function


@generating.mutant
def variance_sign(w, mean, cov, /):
    """w^T S w has the sign of the characteristic function"""
    return (w * mean).sum(axis=-1) - _square(cov, w) / 2


@generating.mutant
def variance_missing(w, mean, cov, /):
    """w^T S w is missing: the exponent of the mean, against Jensen's inequality"""
    return (w * mean).sum(axis=-1) + 0 * _square(cov, w)


@generating.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, w, mean, cov, /):
    """the gradient in cov counts each off-diagonal entry twice"""
    dw, dmean, dcov = gaussian_log_moment_generating_function.vjp(g, w, mean, cov)
    return dw, dmean, off_diagonal_doubled(dcov)


@generating.mutant(gradient=True)
def gradient_without_the_variance(g, w, mean, cov, /):
    """the gradient in w is the mean alone"""
    _, dmean, dcov = gaussian_log_moment_generating_function.vjp(g, w, mean, cov)
    return g[..., None] * (mean + 0 * w), dmean, dcov


# --------------------------------------------------------------------- characteristic function


def _polar(square, angle):
    xp = namespace(angle)
    size = xp.exp(-square)
    return size * xp.cos(angle), size * xp.sin(angle)


@characteristic.mutant
def conjugate(w, mean, cov, /):
    """the sign of i is that of engineering's Fourier transform"""
    return gaussian_characteristic_function(-w, mean, cov)


@characteristic.mutant
def parts_exchanged(w, mean, cov, /):
    """the imaginary part comes first"""
    real, imaginary = gaussian_characteristic_function(w, mean, cov)
    return imaginary, real


@characteristic.mutant
def modulus_grows(w, mean, cov, /):
    """the modulus is exp(+w^T S w/2), that of the moment generating function"""
    return _polar(-_square(cov, w) / 2, (w * mean).sum(axis=-1))


@characteristic.mutant
def angle_in_turns(w, mean, cov, /):
    """the argument is a frequency in turns: w is multiplied by 2 pi"""
    return gaussian_characteristic_function(2 * math.pi * w, mean, cov)


@characteristic.mutant
def modulus_missing(w, mean, cov, /):
    """the covariance is forgotten: the modulus is 1"""
    return gaussian_characteristic_function(w, mean, 0 * cov)


@characteristic.mutant(gradient=True)
def gradient_of_the_imaginary_part_missing(g, w, mean, cov, /):
    """the cotangent of the imaginary part is ignored"""
    return gaussian_characteristic_function.vjp((g[0], 0 * g[1]), w, mean, cov)
