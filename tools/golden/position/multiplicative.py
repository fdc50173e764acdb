"""Second definitions in plain mpmath: encodings that multiply, entry by entry."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _product_cases():
    rng = np.random.default_rng(8130)
    arrays = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    return {name: (arrays, {"parametrisation": name}) for name in ("factor", "deviation")}


@golden("multiplicative_encoding", cases=_product_cases)
def multiplicative_encoding(x, encoding, *, parametrisation):
    start = 1 if parametrisation == "deviation" else 0
    pairs = zip(x, encoding, strict=True)
    return [[a * (start + b) for a, b in zip(u, v, strict=True)] for u, v in pairs]


def _order_cases():
    rng = np.random.default_rng(1912)
    tokens = tuple(rng.standard_normal((4, 3)) for _ in range(3))
    return {
        "in order": ((*tokens, np.arange(4)), {}),
        "far": ((*tokens, np.array([8191, 8192, 1, 4000])), {}),
        "fractions": ((*tokens, np.array([0.25, -3.5, 1e-9, 7.0])), {}),
    }


@golden("complex_order_encoding", cases=_order_cases)
def complex_order_encoding(amplitudes, frequencies, phases, positions):
    def row(r, w, t, k):
        return [a * mpmath.expj(b * k + c) for a, b, c in zip(r, w, t, strict=True)]

    rows = [row(*token) for token in zip(amplitudes, frequencies, phases, positions, strict=True)]
    return [[z.real for z in y] for y in rows], [[z.imag for z in y] for y in rows]


def _complex_cases():
    rng = np.random.default_rng(1912)
    parts = tuple(rng.standard_normal(shape) for shape in ((3, 4), (3, 4), (5, 4), (5, 4)))
    return {f"conjugate {c}": (parts, {"conjugate": c}) for c in (False, True)}


@golden("complex_products", cases=_complex_cases)
def complex_products(a, b, c, d, *, conjugate):
    def numbers(real, imaginary, sign=1):
        return [
            [mpmath.mpc(x, sign * y) for x, y in zip(u, v, strict=True)]
            for u, v in zip(real, imaginary, strict=True)
        ]

    q, k = numbers(a, b), numbers(c, d, -1 if conjugate else 1)
    rows = [[sum(x * y for x, y in zip(u, v, strict=True)) for v in k] for u in q]
    return [[z.real for z in row] for row in rows], [[z.imag for z in row] for row in rows]
