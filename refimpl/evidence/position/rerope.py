"""Evidence for ReRoPE."""

from __future__ import annotations

import numpy as np

from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import row_norms
from refimpl.position.rerope import rerope_logits
from refimpl.position.rotary import rotary_embedding

rerope = Evidence(
    rerope_logits,
    sizes={"n": Sizes(1, 1, 8), "m": Sizes(1, 1, 8), "d": Sizes(2, 2, 12)},
    empty=("n", "m"),
    options={"leak": (4.0, 1.0), "base": (100.0,)},
    fixed={"pairing": "half", "window": 3},
)


# ------------------------------------------------------------------------------------- regimes


def _tokens(rng, shape):
    return rng.standard_normal(shape.q), rng.standard_normal(shape.k)


@rerope.regime
def causal(rng, shape):
    """The last queries of a sequence, with a window of three tokens"""
    n, m = shape.axes["n"], shape.axes["m"]
    return Case((*_tokens(rng, shape), max(m - n, 0) + np.arange(n), np.arange(m)))


@rerope.regime(adversarial=True)
def far_beyond_the_window(rng, shape):
    """Queries some hundred tokens after the keys, and distances that grow slower by 8"""
    n, m = shape.axes["n"], shape.axes["m"]
    at = (200 + 7 * np.arange(n), 3 * np.arange(m))
    return Case((*_tokens(rng, shape), *at), {"leak": 8.0, "window": 20})


@rerope.regime(adversarial=True)
def on_both_sides(rng, shape):
    """Keys before and after the queries, on both sides of the end of the window"""
    at = (rng.integers(0, 20, shape.rows), rng.integers(0, 20, shape.columns))
    return Case((*_tokens(rng, shape), *at), {"window": 5})


# ---------------------------------------------------------------------------------------- laws


def _bounded(t, window, leak):
    """The distance that logits see, one by one."""
    if t < window:
        return float(t)
    return float(window) if leak is None else window + (t - window) / leak


@rerope.law
def each_logit_is_one_rotation(f, case):
    """Each logit is the query's product with the key rotated back by the bounded distance"""
    q, k, rows, columns = map(wide, case.arrays)
    found = wide(case.call(f))
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    window, leak = case.options["window"], case.options.get("leak")
    for i in range(found.shape[-2]):
        t = rows[..., i : i + 1] - columns
        rho = np.vectorize(lambda x: _bounded(x, window, leak), otypes=[float])(t)
        turned = rotary_embedding(k, rho, inverse=True, **options)
        expected = (q[..., i : i + 1, :] * turned).sum(axis=-1)
        scale = (row_norms(q)[..., i, :] * row_norms(k)[..., 0]) * (1.0 + np.abs(t))
        yield Claim(found[..., i, :], expected, scale)


@rerope.law
def wide_windows_and_no_leak_are_rotary(f, case):
    """With a window beyond all distances, or a leak of 1, it is rotary embedding"""
    q, k, rows, columns = map(wide, case.arrays)
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    rotated = [rotary_embedding(x, at, **options) for x, at in ((q, rows), (k, columns))]
    expected = rotated[0] @ rotated[1].swapaxes(-1, -2)
    size = row_norms(q) * row_norms(k).swapaxes(-1, -2)
    scale = size * (1.0 + np.abs(rows).max(initial=0.0) + np.abs(columns).max(initial=0.0))
    yield Claim(case.with_options(window=10_000, leak=None).call(f), expected, scale)
    yield Claim(case.with_options(leak=1.0).call(f), expected, scale)


@rerope.law
def shifting_all_positions_changes_nothing(f, case):
    """Only differences of positions matter"""
    q, k, rows, columns = case.arrays
    later = case.with_arrays(q, k, rows + 13, columns + 13)
    size = row_norms(q) * row_norms(k).swapaxes(-1, -2)
    yield Claim(later.call(f), case.call(f), 20.0 * size)


# -------------------------------------------------------------------------------- closed forms


@rerope.closed_form
def row_of_the_essay(rng, shape):
    """Window 3, leak 4, query 6: distances 3.75, 3.5, 3.25, 3, 2, 1, 0"""
    x = np.broadcast_to([1.0, 0.0], (*shape.batch, 7, 2)).copy()
    answer = np.cos([[3.75, 3.5, 3.25, 3.0, 2.0, 1.0, 0.0]])
    options = {"pairing": "half", "window": 3, "leak": 4.0}
    case = Case((x[..., :1, :], x, np.array([6]), np.arange(7)), options)
    return case, np.broadcast_to(answer, (*shape.batch, 1, 7))


@rerope.closed_form
def stops_at_the_window(rng, shape):
    """Quarter turns: from distance 2 on the product of (1, 0) and (1, 0) stays -1"""
    x = np.broadcast_to([1.0, 0.0], (*shape.batch, 5, 2)).copy()
    options = {"pairing": "interleaved", "window": np.pi, "base": 1.0}
    at = np.array([0.0, np.pi / 2, np.pi, 10.0, 100.0])
    case = Case((x[..., :1, :], x, np.array([0.0]), -at), options)
    return case, np.broadcast_to([[1.0, 0.0, -1.0, -1.0, -1.0]], (*shape.batch, 1, 5))
