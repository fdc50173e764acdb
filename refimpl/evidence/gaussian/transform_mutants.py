"""Wrong variants of the transforms: signs, halves, inverses, and neighbours in convention."""

from __future__ import annotations

import math

from refimpl.backend import namespace
from refimpl.core import matvec, outer
from refimpl.evidence.gaussian.shared import LOG_2PI, inverse_of, logdet, off_diagonal_doubled
from refimpl.evidence.gaussian.transform import characteristic, generating, integral
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients
from refimpl.gaussian.transform import (
    gaussian_characteristic_function,
)


def _square(cov, w):
    return (w * matvec(cov, w)).sum(axis=-1)


# -------------------------------------------------------------------------- Gaussian integral

book = Textbook(
    integral,
    lambda w, cov: {"d": w.shape[-1], "logdet": logdet(cov), "square": _square(cov, w)},
    lambda d, logdet, square: 0.5 * (d * LOG_2PI + logdet + square),
)
book.wrong("the log-determinant has the wrong sign", logdet=lambda t: -t.logdet)
book.wrong("w^T S w lacks its factor 1/2", square=lambda t: 2 * t.square)
book.wrong(
    "the completed square is w^T S^{-1} w instead of w^T S w",
    square=lambda t: _square(inverse_of(t.cov), t.w),
)
book.wrong("the completed square has the sign of a Fourier transform", square=lambda t: -t.square)
book.wrong("2 pi is counted once, not once for each coordinate", d=1)
wrong(
    integral,
    "the half in the exponent is missing: the integral of exp(-x^T S^{-1} x + w^T x)",
    arrays={"cov": lambda x: x / 2},
)


@wrong_gradients(integral)
def gradient_inverse_missing(found, g, arrays, options):
    """the gradient in cov lacks the log-determinant's S^{-1}/2"""
    return found[0], g[..., None, None] * outer(arrays[0], arrays[0]) / 2


# ----------------------------------------------------------------- moment generating function

book = Textbook(
    generating,
    lambda w, mean, cov: {"linear": (w * mean).sum(axis=-1), "square": _square(cov, w)},
    lambda linear, square: linear + square / 2,
)
book.wrong("w^T S w has the sign of the characteristic function", square=lambda t: -t.square)
book.wrong(
    "w^T S w is missing: the exponent of the mean, against Jensen's inequality",
    square=lambda t: 0 * t.square,
)
wrong(
    generating,
    "the gradient in cov counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)


@wrong_gradients(generating)
def gradient_without_the_variance(found, g, arrays, options):
    """the gradient in w is the mean alone"""
    return g[..., None] * (arrays[1] + 0 * arrays[0]), *found[1:]


# --------------------------------------------------------------------- characteristic function

wrong(
    characteristic,
    "the sign of i is that of engineering's Fourier transform",
    arrays={"w": lambda x: -x},
)
wrong(
    characteristic,
    "the argument is a frequency in turns: w is multiplied by 2 pi",
    arrays={"w": lambda x: 2 * math.pi * x},
)
wrong(
    characteristic,
    "the covariance is forgotten: the modulus is 1",
    arrays={"cov": lambda x: 0 * x},
)


@characteristic.mutant
def parts_exchanged(w, mean, cov, /):
    """the imaginary part comes first"""
    return gaussian_characteristic_function(w, mean, cov)[::-1]


@characteristic.mutant
def modulus_grows(w, mean, cov, /):
    """the modulus is exp(+w^T S w/2), that of the moment generating function"""
    xp, angle = namespace(w), (w * mean).sum(axis=-1)
    size = xp.exp(_square(cov, w) / 2)
    return size * xp.cos(angle), size * xp.sin(angle)


@characteristic.mutant(gradient=True)
def gradient_of_the_imaginary_part_missing(g, w, mean, cov, /):
    """the cotangent of the imaginary part is ignored"""
    return gaussian_characteristic_function.vjp((g[0], 0 * g[1]), w, mean, cov)
