"""Second definitions in plain mpmath: each pair a complex number, each axis a phase of its own."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.scaling import theta


def _case(positions, d, seed=8397, **options):
    rng = np.random.default_rng(seed)
    positions = np.array(positions)
    return (rng.standard_normal((positions.shape[-1], d)), positions), options


def _turn_pairs(row, pairs, phases):
    """The row with every pair (a, b) turned by its phase."""
    new = list(row)
    for (a, b), phase in zip(pairs, phases, strict=True):
        z = mpmath.expj(phase) * mpmath.mpc(row[a], row[b])
        new[a], new[b] = z.real, z.imag
    return new


def _axial_cases():
    grid = [[0, 0, 1, 5], [0, 1, 7, 2]]
    cube = [[1, 2], [30, 4], [0, 1000]]
    return {
        "interleaved": _case(grid, 8, pairing="interleaved", split="pairs"),
        "half in shares": _case(grid, 8, pairing="half", split="features"),
        "half of the head": _case(grid, 8, pairing="half", split="pairs"),
        "three axes": _case(cube, 12, pairing="half", split="features", base=100.0),
        "three axes of the head": _case(cube, 12, pairing="half", split="pairs", base=100.0),
        "fractional": _case([[0.5, -1.0], [-0.25, 1e-9]], 8, pairing="half", split="features"),
    }


@golden("axial_rotary_embedding", cases=_axial_cases)
def axial_rotary_embedding(x, positions, *, pairing, split, base=10000):
    d, a = len(x[0]), len(positions)
    share = d // a
    pairs, axes, exponents = [], [], []
    for axis in range(a):
        for i in range(share // 2):
            p = axis * (share // 2) + i
            if pairing == "interleaved":
                pairs.append((2 * p, 2 * p + 1))
            elif split == "pairs":
                pairs.append((p, p + d // 2))
            else:
                pairs.append((axis * share + i, axis * share + i + share // 2))
            axes.append(axis)
            exponents.append(-mpmath.mpf(2 * i) / share)
    return [
        _turn_pairs(
            row,
            pairs,
            [
                positions[axis][n] * mpmath.mpf(base) ** e
                for axis, e in zip(axes, exponents, strict=True)
            ],
        )
        for n, row in enumerate(x)
    ]


def _multimodal_cases():
    at = [[7, 7, 7, 40], [7, 8, 9, 40], [7, 10, 3, 40]]
    qwen2 = {"pairing": "half", "sections": (2, 3, 3), "arrangement": "contiguous"}
    qwen3 = {"pairing": "half", "sections": (4, 2, 2), "arrangement": "interleaved"}
    return {
        "contiguous": _case(at, 16, **qwen2),
        "interleaved": _case(at, 16, **qwen3, base=5000000.0),
        "interleaved pairs": _case(at, 16, **qwen3 | {"pairing": "interleaved"}),
        "given frequencies": _case(at, 16, **qwen2, frequencies=theta(100, 8)),
        "uneven": _case(at, 12, pairing="half", sections=(3, 2, 1), arrangement="interleaved"),
    }


@golden("multimodal_rotary_embedding", cases=_multimodal_cases)
def multimodal_rotary_embedding(
    x, positions, *, pairing, sections, arrangement, base=10000, frequencies=None
):
    d = len(x[0])
    text = "T" * sections[0] + "H" * sections[1] + "W" * sections[2]
    if arrangement == "interleaved":
        letters = ["T"] * len(text)
        for offset, letter, size in ((1, "H", sections[1]), (2, "W", sections[2])):
            for p in range(offset, 3 * size, 3):
                letters[p] = letter
        text = "".join(letters)
    rows = []
    for n, row in enumerate(x):
        pairs, phases = [], []
        for p, letter in enumerate(text):
            pairs.append((2 * p, 2 * p + 1) if pairing == "interleaved" else (p, p + d // 2))
            frequency = mpmath.mpf(base) ** (-mpmath.mpf(2 * p) / d)
            frequency = frequency if frequencies is None else frequencies[p]
            phases.append(positions["THW".index(letter)][n] * frequency)
        rows.append(_turn_pairs(row, pairs, phases))
    return rows
