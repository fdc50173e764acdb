"""Second definition: token by token, each grid by the number of its cell."""

from __future__ import annotations

import numpy as np

from tools.golden import golden


def _position_cases():
    return {
        "text": ((np.array(0.0),), {"segments": (4,)}),
        "image": ((np.array(5.0),), {"segments": (2, [1, 2, 3], 2)}),
        "long video": ((np.array(2.0),), {"segments": ([6, 2, 2], 3)}),
        "two images": ((np.array(-1.5),), {"segments": ([1, 2, 1], [1, 1, 4], 1)}),
    }


@golden("multimodal_positions", cases=_position_cases)
def multimodal_positions(start, *, segments):
    rows = [[], [], []]
    at = start
    for segment in segments:
        if isinstance(segment, int):
            tokens = [(i, i, i) for i in range(segment)]
        else:
            frames, height, width = segment
            cells = range(frames * height * width)
            tokens = [(c // (height * width), c // width % height, c % width) for c in cells]
        for token in tokens:
            for row, number in zip(rows, token, strict=True):
                row.append(at + number)
        at = max(number for row in rows for number in row) + 1
    return rows
