"""Evidence for xPos, ReRoPE and rotation of values."""

from __future__ import annotations

import numpy as np

from refimpl.backend import astype, like
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.position.rotary import rotary_embedding
from refimpl.position.rotary_variants import rerope_logits, value_rotary_mixture, xpos_embedding

xpos = Evidence(
    xpos_embedding,
    sizes={"n": Sizes(1, 1, 12), "d": Sizes(2, 2, 16)},
    empty=("n",),
    options={"pairing": ("interleaved",), "role": ("key",), "scale_base": (64.0,)},
    combinations=({"role": "key", "centre": 2.0}, {"gamma": 0.2, "base": 100.0}),
    fixed={"pairing": "half", "role": "query", "centre": 0.0},
)
_AXES = {"n": Sizes(1, 1, 8), "m": Sizes(1, 1, 8)}
rerope = Evidence(
    rerope_logits,
    sizes=_AXES | {"d": Sizes(2, 2, 12)},
    empty=("n", "m"),
    options={"pairing": ("interleaved",), "leak": (4.0, 1.0), "base": (100.0,)},
    fixed={"pairing": "half", "window": 3},
)
mixture = Evidence(
    value_rotary_mixture,
    sizes=_AXES | {"v": Sizes(2, 2, 12)},
    empty=("n", "m"),
    options={"pairing": ("interleaved",), "base": (100.0,)},
    fixed={"pairing": "half"},
)


def _norms(x):
    return np.sqrt(np.square(wide(x)).sum(axis=-1, keepdims=True))


# ------------------------------------------------------------------------------------- regimes


@xpos.regime
def from_the_centre_on(rng, shape):
    """Positions 0, 1, 2, ... of queries, with the centre at 0"""
    return Case((rng.standard_normal(shape.x), np.arange(shape.axes["n"])))


@xpos.regime(adversarial=True)
def keys_around_a_centre(rng, shape):
    """Positions of keys up to 600, in any order, with the centre in their middle"""
    at = rng.integers(0, 600, shape.positions)
    return Case((rng.standard_normal(shape.x), at), {"role": "key", "centre": 300.0})


@xpos.regime(adversarial=True)
def fast_decay(rng, shape):
    """A scale base of 50, and positions between whole ones on both sides of the centre"""
    at = rng.uniform(-40.0, 40.0, shape.positions)
    options = {"scale_base": 50.0, "centre": -3.5, "pairing": "interleaved"}
    return Case((rng.standard_normal(shape.x), at), options)


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


@mixture.regime
def softmax_weights(rng, shape):
    """Positive weights of sum one, consecutive positions"""
    weights = np.exp(rng.standard_normal(shape.weights))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    at = (np.arange(shape.axes["n"]), np.arange(shape.axes["m"]))
    return Case((weights, rng.standard_normal(shape.values), *at))


@mixture.regime(adversarial=True)
def any_weights_and_positions(rng, shape):
    """Weights of both signs, positions up to 500 that differ along the batch"""
    at = (rng.integers(0, 500, shape.rows), rng.integers(0, 500, shape.columns))
    weights = rng.standard_normal(shape.weights)
    return Case((weights, rng.standard_normal(shape.values), *at), {"pairing": "interleaved"})


# ---------------------------------------------------------------------------------- laws of xPos


def _zeta(case):
    d = case.arrays[0].shape[-1]
    gamma = case.options.get("gamma", 0.4)
    return (2 * np.arange(d // 2) / d + gamma) / (1 + gamma)


def _farthest(case):
    return 1.0 + np.abs(wide(case.arrays[1])).max(initial=0.0)


def _by_pairs(case, y):
    """First and second members of all pairs."""
    if case.options["pairing"] == "interleaved":
        return y[..., ::2], y[..., 1::2]
    return np.split(y, 2, axis=-1)


@xpos.law
def pairs_grow_by_their_power(f, case):
    """Each pair is rotated, and longer by zeta^((n - c)/B), for keys shorter"""
    x, positions = map(wide, case.arrays)
    y = wide(case.call(f))
    sign = 1.0 if case.options["role"] == "query" else -1.0
    steps = sign * (positions - case.options["centre"]) / case.options.get("scale_base", 512.0)
    growth = _zeta(case) ** steps[..., None]
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    plain = rotary_embedding(x, positions, **options)
    for member, rotated in zip(_by_pairs(case, y), _by_pairs(case, plain), strict=True):
        size = _farthest(case) * growth * _norms(x)
        yield Claim(member, growth * rotated, size)


def _logits(f, case, positions, centre):
    """Products of the x at these positions as queries with the x at position 2 as keys."""
    x = case.arrays[0]
    query = case.with_arrays(x, positions).with_options(role="query", centre=centre)
    key = case.with_arrays(x, 0 * positions + 2).with_options(role="key", centre=centre)
    return (wide(query.call(f)) * wide(key.call(f))).sum(axis=-1)


@xpos.law
def a_common_centre_cancels(f, case):
    """Products of queries and keys are the same for every centre that both share"""
    x, positions = case.arrays
    at = positions * 0 + like(3 + np.arange(positions.shape[-1]), positions)
    scale = 400.0 * _norms(x)[..., 0] ** 2
    yield Claim(_logits(f, case, at, 0.0), _logits(f, case, at, 7.0), scale)


@xpos.law
def only_distances_matter(f, case):
    """Products of queries and keys are those of the difference of their positions"""
    x, positions = case.arrays
    step = like(np.arange(positions.shape[-1]), positions) + 0 * positions

    def products(shift):
        query = case.with_arrays(x, 2 * step + shift).with_options(role="query")
        key = case.with_arrays(x[..., ::-1, :], step + shift).with_options(role="key")
        return (wide(query.call(f)) * wide(key.call(f))).sum(axis=-1)

    scale = 400.0 * np.square(_norms(x)).max(initial=0.0)
    yield Claim(products(0), products(6), scale)


@xpos.law
def keys_undo_queries(f, case):
    """With the other role the growth is one over it"""
    x, positions = case.arrays
    both = [_norms(case.with_options(role=role).call(f)) for role in ("query", "key")]
    if x.shape[-1] == 2:
        plain = np.broadcast_to(_norms(x), both[0].shape) ** 2
        yield Claim(both[0] * both[1], plain, 50.0 * plain)


# -------------------------------------------------------------------------------- laws of ReRoPE


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
        scale = (_norms(q)[..., i, :] * _norms(k)[..., 0]) * (1.0 + np.abs(t))
        yield Claim(found[..., i, :], expected, scale)


@rerope.law
def wide_windows_and_no_leak_are_rotary(f, case):
    """With a window beyond all distances, or a leak of 1, it is rotary embedding"""
    q, k, rows, columns = map(wide, case.arrays)
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    rotated = [rotary_embedding(x, at, **options) for x, at in ((q, rows), (k, columns))]
    expected = rotated[0] @ rotated[1].swapaxes(-1, -2)
    size = _norms(q) * _norms(k).swapaxes(-1, -2)
    scale = size * (1.0 + np.abs(rows).max(initial=0.0) + np.abs(columns).max(initial=0.0))
    yield Claim(case.with_options(window=10_000, leak=None).call(f), expected, scale)
    yield Claim(case.with_options(leak=1.0).call(f), expected, scale)


@rerope.law
def shifting_all_positions_changes_nothing(f, case):
    """Only differences of positions matter"""
    q, k, rows, columns = case.arrays
    later = case.with_arrays(q, k, rows + 13, columns + 13)
    size = _norms(q) * _norms(k).swapaxes(-1, -2)
    yield Claim(later.call(f), case.call(f), 20.0 * size)


# -------------------------------------------------------------------------------- laws of values


def _mixture_size(case):
    weights, values, rows, columns = map(wide, case.arrays)
    farthest = 1.0 + np.abs(rows).max(initial=0.0) + np.abs(columns).max(initial=0.0)
    return farthest * (np.abs(weights) @ np.broadcast_to(_norms(values), values.shape))


@mixture.law
def values_are_rotated_by_distances(f, case):
    """Outputs are sums of values rotated by the distance from query to key"""
    weights, values, rows, columns = map(wide, case.arrays)
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    found = wide(case.call(f))
    for i in range(found.shape[-2]):
        turned = rotary_embedding(values, columns - rows[..., i : i + 1], **options)
        expected = (weights[..., i, :, None] * turned).sum(axis=-2)
        yield Claim(found[..., i, :], expected, _mixture_size(case)[..., i, :])


@mixture.law
def at_one_place_it_is_a_product(f, case):
    """Where all positions are equal it is the matrix product"""
    weights, values, rows, columns = case.arrays
    same = case.with_arrays(weights, values, 0 * rows + 5, 0 * columns + 5)
    expected = wide(weights) @ wide(values)
    yield Claim(same.call(f), expected, 10.0 * _mixture_size(same))


@mixture.law
def linear_in_the_weights(f, case):
    """Twice the weights are twice the output"""
    weights, *rest = case.arrays
    twice = case.with_arrays(astype(2 * weights, weights.dtype), *rest)
    yield Claim(twice.call(f), 2.0 * wide(case.call(f)), 2.0 * _mixture_size(case))


# -------------------------------------------------------------------------------- closed forms


@xpos.closed_form
def one_pair_at_the_scale_base(rng, shape):
    """One pair at n = B: (cos B, sin B) times 2/7"""
    x = np.broadcast_to([1.0, 0.0], (*shape.batch, 1, 2)).copy()
    options = {"pairing": "half", "role": "query", "centre": 0.0, "scale_base": 3.0}
    answer = np.broadcast_to(2 / 7 * np.array([np.cos(3.0), np.sin(3.0)]), x.shape)
    return Case((x, np.array([3])), options), answer


@xpos.closed_form
def at_the_centre(rng, shape):
    """At the centre only the rotation is left: half a turn for a base of 1 and position pi"""
    x = rng.standard_normal(shape.x)
    at = np.full(shape.axes["n"], np.pi)
    options = {"pairing": "interleaved", "role": "key", "centre": np.pi, "base": 1.0}
    return Case((x, at), options), -x


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


@mixture.closed_form
def one_value(rng, shape):
    """One value of weight one turns by the distance: (cos 2, sin 2) from 3 to 1"""
    case = Case(
        (np.ones((1, 1)), np.array([[1.0, 0.0]]), np.array([1]), np.array([3])),
        {"pairing": "half"},
    )
    return case, np.array([[np.cos(2.0), np.sin(2.0)]])


@mixture.closed_form
def every_token_reads_itself(rng, shape):
    """The identity as weights gives the values, wherever they are"""
    values = rng.standard_normal((*shape.batch, 4, 6))
    at = np.array([3, 100, 7, 0])
    return Case((np.eye(4), values, at, at), {"pairing": "interleaved"}), values
