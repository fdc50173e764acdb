"""Second definitions in plain mpmath: encodings written out, sine integrals, hypergeometrics."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.scaling import theta


def _sum_cases():
    return {
        "64 features": (np.array([0, 1, 2, 8, 64, 512, 4096]), theta(10000, 32)),
        "128 features": (np.array([0, 1, 10, 50, 128, 256, 4096]), theta(10000, 64)),
        "fractional": (np.array([0.25, -3.7, 1e-9, 11.5]), np.array([1.5, 0.3, 0.015625])),
        "one pair": (np.array([1, -2, 30]), np.array([0.75])),
    }


def _cases():
    return {name: (arrays, {}) for name, arrays in _sum_cases().items()}


@golden("sinusoid_inner_product", cases=_cases)
def sinusoid_inner_product(distances, frequencies):
    """Two encodings, at the distance and at 0, and their inner product."""

    def encoding(position):
        angles = [position * t for t in frequencies]
        return [f(a) for a in angles for f in (mpmath.sin, mpmath.cos)]

    origin = encoding(mpmath.mpf(3))
    return [mpmath.fdot(encoding(x + 3), origin) for x in distances]


@golden(
    "abel_decay_bound",
    cases=_cases,
    beyond={"one pair": (4.0, "the moduli of partial sums are rounded one by one")},
)
def abel_decay_bound(distances, frequencies):
    found = []
    for x in distances:
        real = imaginary = total = mpmath.mpf(0)
        for t in frequencies:
            real, imaginary = real + mpmath.cos(x * t), imaginary + mpmath.sin(x * t)
            total += mpmath.sqrt(real**2 + imaginary**2)
        found.append(total / len(frequencies))
    return found


def _integral_cases():
    x = np.array([1.0, 16.0, 64.0, 128.0, 1024.0, 10000.0])
    near = np.array([1e-9, -0.5, 3.999, 4.0, 4.001, 40.0])
    cases = {
        f"base {b:g}": ((x,), {"family": "exponential", "parameter": b})
        for b in (1000.0, 10000.0, 1e6, 1.5)
    }
    cases["base 100, near"] = ((near,), {"family": "exponential", "parameter": 100.0})
    cases["first zeros"] = (
        (np.array([6166.0284, 6166.5]),),
        {"family": "exponential", "parameter": 10000.0},
    )
    for alpha in (0.5, 1.0, 2.0, 3.0, 4.0, 0.3):
        cases[f"alpha {alpha}"] = (
            (np.concatenate([near, [64.0]]),),
            {"family": "power", "parameter": alpha},
        )
    return cases


@golden("remote_decay_integral", cases=_integral_cases)
def remote_decay_integral(distances, *, family, parameter):
    real, imaginary = [], []
    p = mpmath.mpf(parameter)
    for x in distances:
        if family == "exponential":
            size = abs(x)
            real.append((mpmath.ci(size) - mpmath.ci(size / p)) / mpmath.log(p))
            imaginary.append((mpmath.si(x) - mpmath.si(x / p)) / mpmath.log(p))
        else:
            a, z = 1 / p, -(x**2) / 4
            real.append(mpmath.hyp1f2(a / 2, 0.5, 1 + a / 2, z))
            imaginary.append(x * a / (1 + a) * mpmath.hyp1f2((1 + a) / 2, 1.5, (3 + a) / 2, z))
    return real, imaginary
