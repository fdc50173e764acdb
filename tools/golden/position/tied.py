"""Second definition: the equations of the essays, solved for each grid."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    essay = (3, [1, 2, 4], 1)
    videos = (2, [3, 1, 2], 1, [2, 4, 3], 2)
    return {
        "tv": ((np.array(1.0),), {"segments": essay, "rule": "tv"}),
        "tie": ((np.array(1.0),), {"segments": essay, "rule": "tie"}),
        "tie, equivalent": ((np.array(1.0),), {"segments": essay, "rule": "tie_equivalent"}),
        "two images": ((np.array(-1.5),), {"segments": ([1, 2, 1], [1, 1, 4], 1), "rule": "tie"}),
        "videos": ((np.array(0.0),), {"segments": videos, "rule": "tv"}),
        "videos, equivalent": ((np.array(0.25),), {"segments": videos, "rule": "tie_equivalent"}),
    }


@golden("tied_positions", cases=_cases)
def tied_positions(start, *, segments, rule):
    tokens = []
    last = start - 1
    for segment in segments:
        if isinstance(segment, int):
            for _ in range(segment):
                last = last + 1
                tokens.append((last, last, last))
            continue
        t, h, w = segment
        following = last + ((w + 1) * (h + 1) if rule == "tie" else w * h * t + 1)
        # beta + gamma - L = K - (beta + e gamma), with gamma = 1 or with beta = L.
        axes = []
        for e in (t, h, w):
            if rule == "tv":
                gamma = mpmath.mpf(1)
                beta = (last + following - (e + 1) * gamma) / 2
            else:
                beta = last
                gamma = (following - last) / mpmath.mpf(e + 1)
            axes.append([beta + i * gamma for i in range(1, e + 1)])
        for z in axes[0]:
            for x in axes[1]:
                tokens.extend((z, x, y) for y in axes[2])
        last = following - 1
    return [list(row) for row in zip(*tokens, strict=True)]
