"""Orthogonal projections by the Gram-Schmidt process."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(7921)
    return {
        "two blocks": ((rng.standard_normal((2, 3, 3)), rng.random(5)), {}),
        "one row": ((rng.standard_normal((1, 4, 4)), np.array([2.0])), {}),
        "negative diagonal": ((-np.eye(3)[None] + 0.1, np.ones(3)), {}),
    }


def _orthonormal_columns(block):
    columns = []
    for column in zip(*block, strict=True):
        rest = list(column)
        for other in columns:
            overlap = mpmath.fsum(a * b for a, b in zip(column, other, strict=True))
            rest = [a - overlap * b for a, b in zip(rest, other, strict=True)]
        length = mpmath.sqrt(mpmath.fsum(a * a for a in rest))
        columns.append([a / length for a in rest])
    return columns


@golden("orthogonal_projections", _cases)
def orthogonal_projections(gaussians, lengths):
    rows = []
    for block in gaussians:
        rows += [list(row) for row in zip(*_orthonormal_columns(block), strict=True)]
    return [[length * a for a in row] for length, row in zip(lengths, rows, strict=False)]
