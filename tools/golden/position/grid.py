"""Second definition in plain mpmath: sinusoids of rows and columns, patch by patch."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    k = np.arange(6)
    whole = k // 3, k % 3
    mae = {"first": "columns", "order": "sin_first", "layout": "half", "frequencies": "paper"}
    detr = mae | {"first": "rows", "layout": "interleaved"}
    normalised = 2 * np.pi * np.array([1 / 3, 2 / 3, 1.0]), 2 * np.pi * np.array([0.25, 1.0, 0.5])
    return {
        "MAE": (whole, {"dim": 16} | mae),
        "DETR": (normalised, {"dim": 16} | detr),
        "simple ViT": (whole, {"dim": 16} | mae | {"frequencies": "t2t"}),
        "cosines first, base 100": (
            whole,
            {"dim": 8, "base": 100.0} | detr | {"order": "cos_first"},
        ),
        "halves of odd width": (whole, {"dim": 10} | detr),
        "t2t, halves of odd width": (whole, {"dim": 18} | detr | {"frequencies": "t2t"}),
        "far": ((np.array([8191, 5]), np.array([3, 10**6])), {"dim": 32} | mae),
    }


@golden("grid_sinusoidal_encoding", cases=_cases)
def grid_sinusoidal_encoding(rows, columns, *, dim, first, order, layout, frequencies, base=10000):
    width = dim // 2
    pairs = width // 2
    count = pairs if frequencies == "t2t" else width - pairs

    def wave(position, column):
        """Feature number ``column`` of one axis; None stands for a column of zeros."""
        if layout == "interleaved":
            i, is_second = divmod(column, 2)
        else:
            i, is_second = (column - count, 1) if column >= count else (column, 0)
        if i >= (pairs if is_second else count):
            return mpmath.mpf(0)
        exponent = (
            mpmath.mpf(i) / (pairs - 1) if frequencies == "t2t" else mpmath.mpf(2 * i) / width
        )
        angle = position * mpmath.mpf(base) ** (-exponent)
        is_sine = (order == "sin_first") != bool(is_second)
        return mpmath.sin(angle) if is_sine else mpmath.cos(angle)

    return [
        [wave(x, c) for x in ((r, k) if first == "rows" else (k, r)) for c in range(width)]
        for r, k in zip(rows, columns, strict=True)
    ]
