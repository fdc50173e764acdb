"""Second definitions in plain mpmath: scaled frequencies by way of bases, radices and positions."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def theta(base, h):
    """The rounded frequencies of a base, whatever the working precision is."""
    with mpmath.workdps(40):
        return np.array([float(mpmath.mpf(base) ** (-mpmath.mpf(i) / h)) for i in range(h)])


def _cases(**options):
    uneven = np.array([1.25, 0.5, 0.3, 0.0625, 0.001])
    return {
        "base 10000, factor 8": ((theta(10000, 64),), {"factor": np.array(8.0), **options}),
        "base 500000, factor 32": ((theta(500000, 32),), {"factor": np.array(32.0), **options}),
        "no base": ((uneven,), {"factor": np.array(2.5), **options}),
        "two pairs": ((np.array([1.0, 0.01]),), {"factor": np.array(4.0), **options}),
        "factor next to one": ((theta(10000, 6),), {"factor": np.array(1.0000001), **options}),
        "integer factor": ((theta(10000, 6),), {"factor": np.array(4), **options}),
    }


@golden("linear_scaled_frequencies", cases=_cases)
def linear_scaled_frequencies(frequencies, *, factor):
    return [x / mpmath.mpf(factor) for x in frequencies]


def _with_larger_base(frequencies, stretch):
    """Each frequency as a power of a base of its own, which is then multiplied by s^(d/(d-2))."""
    h = len(frequencies)
    d = 2 * h
    growth = mpmath.mpf(stretch) ** (mpmath.mpf(d) / (d - 2))
    found = [frequencies[0]]
    for i in range(1, h):
        base = frequencies[i] ** (-mpmath.mpf(d) / (2 * i))
        found.append((base * growth) ** (-mpmath.mpf(2 * i) / d))
    return found


@golden("ntk_frequencies", cases=_cases)
def ntk_frequencies(frequencies, *, factor):
    return _with_larger_base(frequencies, factor)


def _dynamic_cases():
    lengths = {"2049": 2049, "4096": 4096, "8192": 8192, "within": 1000, "at": 2048, "10^6": 10**6}
    cases = {
        f"length {name}": (
            (theta(10000, 64),),
            {"factor": np.array(2.0), "length": np.array(n), "trained_length": 2048},
        )
        for name, n in lengths.items()
    }
    for name, (arrays, options) in _cases().items():
        cases[name] = (arrays, options | {"length": np.array(5000), "trained_length": 4096})
    return cases


@golden("dynamic_ntk_frequencies", cases=_dynamic_cases)
def dynamic_ntk_frequencies(frequencies, *, factor, length, trained_length):
    longest = max(mpmath.mpf(length), trained_length)
    return _with_larger_base(frequencies, factor * longest / trained_length - (factor - 1))


def _radix_cases():
    cases = {}
    for kind, exponent in (("old", None), ("fixed", None), ("mixed", 0.75), ("mixed", 0.625)):
        for name, case in _cases(kind=kind, exponent=exponent).items():
            cases[f"{kind} {exponent or ''} {name}"] = case
    cases["mixed 0"] = _cases(kind="mixed", exponent=0.0)["no base"]
    return cases


@golden("radix_frequencies", cases=_radix_cases)
def radix_frequencies(frequencies, *, factor, kind, exponent):
    """As printed in the essays: a larger radix, lambda in front of it, a m^b in the exponent."""
    h = len(frequencies)
    s = mpmath.mpf(factor)
    radix = s ** (mpmath.mpf(1) / h)
    found = []
    for m, plain in enumerate(frequencies, start=1):
        if kind == "old":
            divisor = radix ** (m - 1)
        elif kind == "fixed":
            divisor = radix * radix ** (m - 1)
        else:
            a = mpmath.log(s) / mpmath.mpf(h) ** mpmath.mpf(exponent)
            divisor = mpmath.exp(a * mpmath.mpf(m) ** mpmath.mpf(exponent))
        found.append(plain / divisor)
    return found


def _proportional_cases():
    fractions = (0.25, 0.5, 0.75, 1.0, 0.0, 0.3)
    return {f"fraction {p}": ((theta(1000000, 16),), {"fraction": p}) for p in fractions}


@golden("proportional_frequencies", cases=_proportional_cases)
def proportional_frequencies(frequencies, *, fraction):
    h = len(frequencies)
    count = int(mpmath.floor(mpmath.mpf(fraction) * h))
    return frequencies[:count] + [mpmath.mpf(0)] * (h - count)
