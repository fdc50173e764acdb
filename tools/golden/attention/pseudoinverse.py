"""Pseudo-inverses by normal equations, iterations by their steps, blocks by the inverse."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import SPECTRAL, golden


def inverse(matrix):
    return mpmath.inverse(mpmath.matrix(matrix)).tolist()


def product(*factors):
    result = mpmath.matrix(factors[0])
    for factor in factors[1:]:
        result = result * mpmath.matrix(factor)
    return result.tolist()


def transpose(matrix):
    return [list(row) for row in zip(*matrix, strict=True)]


def _exact_cases():
    rng = np.random.default_rng(1955)
    tall = rng.standard_normal((5, 3))
    return {
        "tall": ((tall,), {}),
        "wide": ((tall.T.copy(),), {}),
        "square": ((rng.standard_normal((4, 4)),), {}),
    }


@golden(
    "pseudo_inverse",
    _exact_cases,
    beyond={
        "wide": SPECTRAL,
        "tall": SPECTRAL,
    },
)
def pseudo_inverse(matrix):
    """For full rank, by the smaller of the two Gram matrices."""
    other = transpose(matrix)
    if len(matrix) >= len(other):
        return product(inverse(product(other, matrix)), other)
    return product(other, inverse(product(matrix, other)))


def _iterated_cases():
    rng = np.random.default_rng(2021)
    logits = rng.standard_normal((4, 4))
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    general = rng.standard_normal((3, 3))
    cases = {name: ((weights,), {"iteration": name}) for name in ("hyperpower", "newton_schulz")}
    return cases | {
        "softmax": ((weights,), {}),
        "general": ((general,), {}),
        "divisor": ((general,), {"divisor": np.array(8.0), "steps": 3}),
        "start": ((general,), {"steps": 0}),
    }


@golden("iterated_inverse", _iterated_cases)
def iterated_inverse(matrix, steps=6, iteration="nystromformer", divisor=None):
    a = mpmath.matrix(matrix)
    sizes = [[abs(x) for x in row] for row in matrix]
    if divisor is None:
        divisor = max(map(mpmath.fsum, sizes)) * max(map(mpmath.fsum, zip(*sizes, strict=True)))
    z, identity = a.T / divisor, mpmath.eye(len(matrix))
    for _ in range(steps):
        e = identity - z * a
        step = {
            "newton_schulz": lambda e: identity + e,
            "hyperpower": lambda e: identity + e + e**2,
            # (1 - e^3 (3 + e)/4)/(1 - e), divided out.
            "nystromformer": lambda e: identity + e + e**2 + e**3 / 4,
        }[iteration]
        z = step(e) * z
    return z.tolist()


def _blocks():
    rng = np.random.default_rng(2001)
    return {
        "square corner": (tuple(rng.standard_normal(s) for s in ((3, 3), (3, 4), (2, 3))), {}),
        "one landmark": (tuple(rng.standard_normal(s) for s in ((1, 1), (1, 2), (3, 1))), {}),
    }


@golden(
    "nystrom_completion",
    _blocks,
    beyond={"square corner": SPECTRAL},
)
def nystrom_completion(corner, columns, rows):
    return product(rows, inverse(corner), columns)
