"""Second definition in plain mpmath: the scale of a query, block by block."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    llama = {
        f"Llama 4 at {m}": ((np.array(m),), {"counted_from": 1})
        for m in (0, 8190, 8191, 16383, 131071, 10_000_000)
    }
    ministral = {"counted_from": 0, "floor_scale": 16384}
    return llama | {
        "Ministral 3 at 16383": ((np.array(16383),), ministral),
        "Ministral 3 at 16384": ((np.array(16384),), ministral),
        "fractional": (
            (np.array(7.25),),
            {"counted_from": 0, "floor_scale": 2.5, "attention_scale": 0.75},
        ),
    }


@golden("position_query_scale", cases=_cases)
def position_query_scale(position, *, counted_from, floor_scale=8192, attention_scale="0.1"):
    number = mpmath.mpf(position) + counted_from
    block = 0
    while (block + 1) * mpmath.mpf(floor_scale) <= number:
        block += 1
    # The default of 0.1 is the float64 nearest to it.
    return 1 + mpmath.mpf(float(attention_scale)) * mpmath.log(1 + block)
