"""A second definition in plain mpmath: wavelengths times the factors of one of two lists."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _longrope_cases():
    arrays = (np.array([1.0, 0.1, 0.01, 0.001]),)
    lists = {
        "short_factors": np.array([1.0, 1.02, 1.05, 1.1]),
        "long_factors": np.array([1.08, 3.3, 24.0, 64.8]),
    }
    usual = lists | {"factor": np.array(32.0), "trained_length": 4096}
    return {
        "short": (arrays, usual | {"length": np.array(100)}),
        "at the trained length": (arrays, usual | {"length": np.array(4096)}),
        "one token more": (arrays, usual | {"length": np.array(4097)}),
        "8192 by 16": (
            arrays,
            usual | {"length": np.array(9000), "factor": np.array(16.0), "trained_length": 8192},
        ),
        "given attention factors": (
            arrays,
            usual
            | {"length": np.array(5000), "short_attention_factor": 1.1}
            | {"long_attention_factor": 1.25},
        ),
    }


@golden("longrope_frequencies", cases=_longrope_cases)
def longrope_frequencies(
    frequencies,
    *,
    short_factors,
    long_factors,
    factor,
    length,
    trained_length,
    short_attention_factor=None,
    long_attention_factor=None,
):
    is_long = length > trained_length
    given = long_attention_factor if is_long else short_attention_factor
    rule = mpmath.sqrt(1 + mpmath.log(factor) / mpmath.log(trained_length))
    chosen = long_factors if is_long else short_factors
    scaled = [1 / (f * (1 / plain)) for plain, f in zip(frequencies, chosen, strict=True)]
    return scaled, rule if given is None else mpmath.mpf(given)
