"""Feature maps by their definitions, tensor powers by products over index tuples."""

from __future__ import annotations

from itertools import product

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(7546)
    x = rng.standard_normal(4)
    kinds = ("identity", "elu_plus_one", "relu", "squared_relu", "exponential", "softmax")
    cases = {kind: ((x,), {"features": kind}) for kind in (*kinds, "one_plus_cosine", "taylor_2")}
    for degree in (1, 2, 3):
        cases[f"power {degree}"] = ((x,), {"features": "power", "degree": degree})
    cases["far below zero"] = ((x - 30.0,), {"features": "elu_plus_one"})
    cases["long"] = ((1e3 * x,), {"features": "one_plus_cosine"})
    return cases


def features_of(x, features, degree=2):
    """The features of one vector, a list of mpf."""
    if features == "identity":
        return list(x)
    if features == "elu_plus_one":
        return [a + 1 if a >= 0 else mpmath.exp(a) for a in x]
    if features in ("relu", "squared_relu"):
        power = 1 if features == "relu" else 2
        return [a**power if a > 0 else mpf(0) for a in x]
    if features in ("exponential", "softmax"):
        terms = [mpmath.exp(a) for a in x]
        total = mpmath.fsum(terms) if features == "softmax" else 1
        return [t / total for t in terms]
    if features == "one_plus_cosine":
        length = mpmath.sqrt(mpmath.fsum(a * a for a in x))
        return [mpf(1), *(a / length for a in x)]
    if features == "taylor_2":
        return [mpf(1), *x, *(a * b / mpmath.sqrt(2) for a, b in product(x, x))]
    y = [mpf(1), *(a / mpmath.sqrt(degree) for a in x)]
    return [mpmath.fprod(entries) for entries in product(y, repeat=degree)]


@golden("feature_map", _cases)
def feature_map(x, features, degree=2):
    return features_of(x, features, degree)
