"""Second definitions in plain mpmath: wavelengths compared with lengths, one pair after another."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.scaling import theta


def _yarn_cases():
    llama = (theta(10000, 64),)
    usual = {"factor": np.array(16.0), "trained_length": 4096, "base": 10000.0, "ramp": "index"}
    gpt_oss = {"factor": np.array(32.0), "trained_length": 4096, "base": 150000.0, "ramp": "index"}
    uneven = (np.array([1.25, 0.5, 0.03, 0.0062, 0.001]),)
    turns = {"ramp": "turns", "base": None}
    return {
        "index, 4096 by 16": (llama, usual),
        "index, 2048 by 4": (llama, usual | {"factor": np.array(4.0), "trained_length": 2048}),
        "gpt-oss": ((theta(150000, 32),), gpt_oss | {"truncate": False}),
        "gpt-oss, ends rounded": ((theta(150000, 32),), gpt_oss),
        "turns, 4096 by 16": (llama, usual | turns),
        "turns, no base": (uneven, usual | turns | {"slow": 2.0, "fast": 16.0}),
        "beyond the last pair": (
            (theta(1000, 16),),
            usual | {"base": 1000.0, "trained_length": 100000},
        ),
        "given attention factor": (llama, usual | {"attention_factor": 1.125}),
        "ratio of mscales": (llama, usual | {"mscale": 1.0, "mscale_all_dim": 0.707}),
        "ratio with zero": (llama, usual | {"mscale": 0.707, "mscale_all_dim": 0.0}),
        "factor next to one": (llama, usual | {"factor": np.array(1.0000001)}),
    }


@golden("yarn_frequencies", cases=_yarn_cases)
def yarn_frequencies(
    frequencies,
    *,
    factor,
    trained_length,
    ramp,
    base,
    slow=1,
    fast=32,
    truncate=True,
    attention_factor=None,
    mscale=None,
    mscale_all_dim=None,
):
    h = len(frequencies)
    length, slow, fast = map(mpmath.mpf, (trained_length, slow, fast))

    def dimension(rotations):
        wavelength = length / rotations
        return 2 * h * mpmath.log(wavelength / (2 * mpmath.pi)) / (2 * mpmath.log(base))

    found = []
    for i, plain in enumerate(frequencies):
        if ramp == "turns":
            ratio = length / (2 * mpmath.pi / plain)
            extrapolated = min(max((ratio - slow) / (fast - slow), 0), 1)
        else:
            low, high = dimension(fast), dimension(slow)
            if truncate:
                low, high = mpmath.floor(low), mpmath.ceil(high)
            low, high = max(low, 0), min(high, 2 * h - 1)
            extrapolated = 1 - min(max((i - low) / (high - low), 0), 1)
        found.append(plain / factor * (1 - extrapolated) + plain * extrapolated)

    def sharpening(m):
        return mpmath.mpf(m) * mpmath.log(factor) / 10 + 1

    if attention_factor is not None:
        return found, mpmath.mpf(attention_factor)
    if mscale is not None:
        return found, sharpening(mscale) / sharpening(mscale_all_dim)
    return found, sharpening(1)


def _llama_cases():
    llama = {"factor": np.array(8.0), "trained_length": 8192}
    uneven = np.array([1.25, 0.5, 0.0021, 0.0012, 0.00062, 0.0001])
    return {
        "Llama 3.1": ((theta(500000, 64),), llama),
        "Llama 3.2": ((theta(500000, 32),), llama | {"factor": np.array(32.0)}),
        "no base": ((uneven,), llama),
        "other ends": ((uneven,), llama | {"slow": 0.5, "fast": 3.0}),
    }


@golden("llama3_frequencies", cases=_llama_cases)
def llama3_frequencies(frequencies, *, factor, trained_length, slow=1, fast=4):
    """The released code, which compares wavelengths."""
    length = mpmath.mpf(trained_length)
    found = []
    for plain in frequencies:
        wavelength = 2 * mpmath.pi / plain
        if wavelength < length / fast:
            found.append(plain)
        elif wavelength > length / slow:
            found.append(plain / factor)
        else:
            smooth = (length / wavelength - slow) / (mpmath.mpf(fast) - slow)
            found.append((1 - smooth) * plain / factor + smooth * plain)
    return found
