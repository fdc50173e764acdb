"""Wrong variants of sums and integrals of sinusoids."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import like, namespace, to_host
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.decay import abel, integral, product
from refimpl.position.decay import (
    abel_decay_bound,
    remote_decay_integral,
    sinusoid_inner_product,
)


def _angles(distances, frequencies):
    return distances[..., None] * frequencies[..., None, :]


# ---------------------------------------------------------------------------------------- sums


@product.mutant
def mean_for_sum(distances, frequencies):
    """It is divided by the number of pairs"""
    return sinusoid_inner_product(distances, frequencies) / frequencies.shape[-1]


@product.mutant
def sines(distances, frequencies):
    """It sums sines"""
    return namespace(distances).sin(_angles(distances, frequencies)).sum(axis=-1)


wrong(product, "The sum stops one pair early", arrays={"frequencies": lambda x: x[..., :-1]})
wrong(
    product,
    "Pairs count from 1, as the essay prints the sum: the first is left out",
    arrays={"frequencies": lambda x: x[..., 1:]},
)
wrong(
    product,
    "The exponents of the frequencies are -i/d instead of -2i/d",
    arrays={"frequencies": lambda x: x**0.5},
)


@product.mutant(source="https://github.com/NVIDIA/Megatron-LM/issues/535")
def angles_in_float16(distances, frequencies):
    """Angles are computed in float16"""
    x, theta = (to_host(v).astype(np.float16) for v in (distances, frequencies))
    with np.errstate(over="ignore"):
        angles = x[..., None] * theta[..., None, :]
    return like(np.cos(angles.astype(np.float64)).sum(axis=-1), distances)


wrong(product, "The gradient has the wrong sign", gradient=lambda found, *_: [-x for x in found])


@product.mutant(gradient=True)
def gradient_without_the_frequencies(g, distances, frequencies):
    """The gradient in the distance lacks the factor theta"""
    sin = namespace(distances).sin(_angles(distances, frequencies))
    rest = sinusoid_inner_product.vjp(g, distances, frequencies)[1]
    return -(g[..., None] * sin).sum(axis=-1), rest


def _partial_sums(distances, frequencies):
    xp = namespace(distances)
    sums = xp.cumsum(xp.exp(1j * _angles(distances, frequencies)), axis=-1)
    return {"sums": sums, "h": frequencies.shape[-1]}


def _root_mean_square(t):
    return namespace(t.sums).sqrt((abs(t.sums) ** 2).mean(axis=-1, keepdims=True))


book = Textbook(abel, _partial_sums, lambda sums, h: abs(sums).mean(axis=-1))
book.wrong(
    "It takes the whole sum instead of the mean of the partial ones",
    sums=lambda t: t.sums[..., -1:] * (t.h + 1) / (2 * t.h),
)
book.wrong(
    "The empty sum S_0 counts: the mean is over h + 1 sums", sums=lambda t: t.sums * t.h / (t.h + 1)
)
book.wrong("It is not divided by the number of pairs", sums=lambda t: t.sums * t.h)
book.wrong("It takes the absolute real parts of the partial sums", sums=lambda t: t.sums.real)
wrong(
    abel, "Partial sums start at the slowest pair", arrays={"frequencies": lambda x: x[..., ::-1]}
)
book.wrong("It is the root of the mean square of the partial sums", sums=_root_mean_square)
wrong(abel, "The gradient has the wrong sign", gradient=lambda found, *_: [-x for x in found])


@abel.mutant(gradient=True)
def abel_gradient_of_the_sum(g, distances, frequencies):
    """The gradient is not divided by the number of pairs"""
    h = frequencies.shape[-1]
    return tuple(h * x for x in abel_decay_bound.vjp(g, distances, frequencies))


# ----------------------------------------------------------------------------------- integrals


@integral.mutant
def decimal_logarithm(distances, *, family, parameter):
    """Of exponential frequencies the divisor is the decimal logarithm of b"""
    both = remote_decay_integral(distances, family=family, parameter=parameter)
    return tuple(x * (math.log(10) if family == "exponential" else 1.0) for x in both)


@integral.mutant
def parameter_upside_down(distances, *, family, parameter):
    """Of frequencies t^alpha it takes 1/alpha for alpha"""
    parameter = 1 / parameter if family == "power" else parameter
    return remote_decay_integral(distances, family=family, parameter=parameter)


@integral.mutant
def sum_of_64_pairs(distances, *, family, parameter):
    """It is the mean over 64 pairs, not the integral"""
    xp = namespace(distances)
    t = xp.arange(64, dtype="float64") / 64
    theta = parameter**-t if family == "exponential" else t**parameter
    angles = distances[..., None] * theta
    return xp.cos(angles).mean(axis=-1), xp.sin(angles).mean(axis=-1)


@integral.mutant
def conjugated(distances, *, family, parameter):
    """The imaginary part has the wrong sign"""
    real, imaginary = remote_decay_integral(distances, family=family, parameter=parameter)
    return real, -imaginary


wrong(integral, "The imaginary part loses the sign of the distance", arrays={"distances": abs})


@integral.mutant
def other_family(distances, *, family, parameter):
    """Exponential frequencies are taken for linear ones"""
    if family == "exponential":
        family, parameter = "power", 1.0
    return remote_decay_integral(distances, family=family, parameter=parameter)


@integral.mutant
def logarithmic_asymptote(distances, *, family, parameter):
    """Of exponential frequencies it is the asymptote 1 - (ln x + gamma)/ln b"""
    real, imaginary = remote_decay_integral(distances, family=family, parameter=parameter)
    if family == "power":
        return real, imaginary
    xp, x = namespace(distances), abs(distances)
    rough = 1 - (xp.log(xp.where(x > 0, x, 1)) + 0.5772156649015329) / math.log(parameter)
    return xp.where(x > 1, rough, real), imaginary


@integral.mutant(gradient=True)
def integral_gradient_even(g, distances, *, family, parameter):
    """The gradient of the real part loses the sign of the distance"""
    return remote_decay_integral.vjp(g, abs(distances), family=family, parameter=parameter)


@integral.mutant(gradient=True)
def gradient_parts_swapped(g, distances, *, family, parameter):
    """The cotangents of real and imaginary part are swapped"""
    return remote_decay_integral.vjp(g[::-1], distances, family=family, parameter=parameter)
