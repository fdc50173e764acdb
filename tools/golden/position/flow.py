"""Second definition in plain mpmath: an encoding by a differential equation, from a tableau."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden

# Nodes, matrix and weights as printed in Hairer, Norsett & Wanner, section II.1, table 1.2.
_TABLEAUX = {
    "classical": (
        ("0", "1/2", "1/2", "1"),
        ((), ("1/2",), ("0", "1/2"), ("0", "0", "1")),
        ("1/6", "2/6", "2/6", "1/6"),
    ),
    "three_eighths": (
        ("0", "1/3", "2/3", "1"),
        ((), ("1/3",), ("-1/3", "1"), ("1", "-1", "1")),
        ("1/8", "3/8", "3/8", "1/8"),
    ),
}


def _fraction(text):
    numerator, _, denominator = text.partition("/")
    return mpmath.mpf(numerator) / mpmath.mpf(denominator or "1")


def _cases():
    rng = np.random.default_rng(2003)

    def field(d, s):
        shapes = (d,), (s, d), (s,), (s,), (d, s), (d,), (d,)
        return tuple(rng.standard_normal(shape) / 2 for shape in shapes)

    theta = np.diag([1.0, 0.01])
    turn = np.kron(theta, [[0.0, 1.0], [-1.0, 0.0]])
    zeros = np.zeros(4)
    sinusoid = (np.array([0.0, 1.0, 0.0, 1.0]), np.eye(4), zeros, zeros, turn, zeros, zeros)

    def options(length, interval, steps, activation, method):
        return {
            "length": length,
            "interval": interval,
            "steps": steps,
            "activation": activation,
            "method": method,
        }

    return {
        "published": (field(4, 4), options(4, 0.01, 5, "relu", "three_eighths")),
        "tanh": (field(3, 5), options(4, 1.0, 2, "tanh", "classical")),
        "tanh, three eighths": (field(3, 2), options(4, 1.0, 1, "tanh", "three_eighths")),
        "identity": (field(2, 3), options(5, 0.5, 1, "identity", "classical")),
        "relu": (field(3, 4), options(4, 0.75, 3, "relu", "classical")),
        "sinusoid": (sinusoid, options(6, 1.0, 4, "identity", "classical")),
        "one": (field(2, 2), options(1, 1.0, 1, "tanh", "classical")),
    }


@golden("flow_encoding", cases=_cases)
def flow_encoding(
    start,
    hidden_weights,
    hidden_times,
    hidden_biases,
    output_weights,
    output_times,
    output_biases,
    *,
    length,
    interval,
    steps,
    activation,
    method,
):
    functions = {
        "identity": lambda x: x,
        "tanh": mpmath.tanh,
        "relu": lambda x: x if x > 0 else mpmath.mpf(0),
    }
    nodes, matrix, weights = _TABLEAUX[method]
    step = mpmath.mpf(interval) / steps

    def affine(rows, times, biases, x, t):
        parts = zip(rows, times, biases, strict=True)
        return [mpmath.fdot(row, x) + time * t + bias for row, time, bias in parts]

    def slope(p, t):
        inner = affine(hidden_weights, hidden_times, hidden_biases, p, t)
        hidden = [functions[activation](x) for x in inner]
        return affine(output_weights, output_times, output_biases, hidden, t)

    def moved(p, coefficients, slopes):
        shares = [_fraction(c) for c in coefficients]
        return [x + step * mpmath.fdot(shares, [k[i] for k in slopes]) for i, x in enumerate(p)]

    p, found = list(start), [list(start)]
    for position in range(length - 1):
        for part in range(steps):
            t = position * mpmath.mpf(interval) + part * step
            slopes = []
            for node, row in zip(nodes, matrix, strict=True):
                slopes.append(slope(moved(p, row, slopes), t + _fraction(node) * step))
            p = moved(p, weights, slopes)
        found.append(p)
    return found
