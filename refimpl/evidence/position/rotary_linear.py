"""Evidence for rotary embedding in linear attention."""

from __future__ import annotations

import numpy as np

from refimpl.attention.linear import linear_attention
from refimpl.backend import astype, namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.shared import OTHER, largest_row
from refimpl.position.rotary import rotary_embedding
from refimpl.position.rotary_linear import rotary_linear_attention

linear = Evidence(
    rotary_linear_attention,
    sizes={
        "n": Sizes(1, 1, 8),
        "m": Sizes(1, 1, 8),
        "d": Sizes(2, 2, 12),
        "v": Sizes(1, 1, 6),
    },
    empty=("n", "m"),
    options={"base": (100.0,)},
    unchanged={
        f"{name} is taken as {what}": "it is a quotient of two forms that are linear in it"
        for name in ("q", "k")
        for what in ("2 times itself", "its negative")
    },
    fixed={"pairing": "half"},
)


@linear.gradient_terms
def _two_ways(g, q, k, values, rows, columns, **options):
    """Of queries and keys: by the numerator, and by the denominator, which may cancel it."""
    shares = _largest_share(g, q, k, rows, columns, options.get("causal", False))
    shares *= max(q.shape[-2], k.shape[-2])
    of_q, of_k, of_values = (largest_row(wide(x)) for x in (q, k, values))
    return {
        "q": shares * of_values * of_k,
        "k": shares * of_values * of_q,
        "values": shares * of_q * of_k,
    }


def _largest_share(g, q, k, rows, columns, causal):
    """The longest cotangent over its denominator."""
    products = wide(q) @ wide(k).swapaxes(-1, -2)
    if causal:
        products = np.where(wide(columns)[..., None, :] <= wide(rows)[..., :, None], products, 0)
    below = np.abs(products.sum(axis=-1))
    lengths = np.sqrt(np.square(g).sum(axis=-1))
    return float((lengths / np.where(below > 0, below, np.inf)).max(initial=0.0))


# ------------------------------------------------------------------------------------- regimes


def _features(rng, shape):
    """Positive numbers from a half to two."""
    return tuple(np.exp(rng.uniform(-0.7, 0.7, s)) for s in (shape.q, shape.k))


@linear.regime
def positive_features(rng, shape):
    """Features between a half and two at consecutive positions"""
    n, m = shape.axes["n"], shape.axes["m"]
    at = (np.arange(n) + max(m - n, 0), np.arange(m))
    return Case((*_features(rng, shape), rng.standard_normal(shape.values), *at))


@linear.regime(advisory=True)
def between_positions(rng, shape):
    """Positions that are no whole numbers, which have a gradient"""
    at = (rng.uniform(-9.0, 9.0, shape.axes["n"]), rng.uniform(-9.0, 9.0, shape.axes["m"]))
    return Case((*_features(rng, shape), rng.standard_normal(shape.values), *at))


@linear.regime(adversarial=True)
def causal_with_a_start_of_nothing(rng, shape):
    """Causal, where the first queries come before all keys"""
    # Between the keys: a position that moves across one would change what is seen.
    at = (np.arange(shape.axes["n"]) * 2 + 0.5, 1 + np.arange(shape.axes["m"]))
    arrays = (*_features(rng, shape), rng.standard_normal(shape.values), *at)
    return Case(arrays, {"causal": True, "pairing": "interleaved"})


@linear.regime(adversarial=True)
def sparse_features_anywhere(rng, shape):
    """Features some of which are zero, at positions up to 300 in any order"""
    q, k = _features(rng, shape)
    q[..., 1:] *= rng.integers(0, 2, q[..., 1:].shape)
    at = (rng.integers(0, 300, shape.rows), rng.integers(0, 300, shape.columns))
    return Case((q, k, rng.standard_normal(shape.values), *at))


# ---------------------------------------------------------------------------------------- laws


def _size(case):
    q, k, values, rows, columns = map(wide, case.arrays)
    farthest = 1.0 + np.abs(rows).max(initial=0.0) + np.abs(columns).max(initial=0.0)
    norms = [np.sqrt(np.square(x).sum(axis=-1)) for x in (q, k)]
    products = q @ k.swapaxes(-1, -2)
    least = np.where(products > 0, products, np.inf).min(initial=1.0)
    spread = norms[0].max(initial=1.0) * norms[1].max(initial=1.0) / least
    return farthest * spread * values.shape[-2] * np.abs(values).max(initial=1.0)


def _sees(case, rows, columns, i):
    if not case.options.get("causal"):
        return np.ones(np.broadcast_shapes(rows[..., :1].shape, columns.shape))
    return 1.0 * (columns <= rows[..., i : i + 1])


@linear.law
def keys_are_seen_one_by_one(f, case):
    """Each output is the sum over keys, with keys rotated by the distance from the query"""
    q, k, values, rows, columns = map(wide, case.arrays)
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    found = wide(case.call(f))
    for i in range(found.shape[-2]):
        seen = _sees(case, rows, columns, i)
        turned = rotary_embedding(k, columns - rows[..., i : i + 1], **options)
        query = q[..., i : i + 1, :]
        above = (((query * turned).sum(axis=-1) * seen)[..., None] * values).sum(axis=-2)
        below = ((query * k).sum(axis=-1) * seen).sum(axis=-1)
        expected = np.where(
            (below > 0)[..., None], above / np.where(below > 0, below, 1)[..., None], 0
        )
        expected = np.broadcast_to(expected, found[..., i, :].shape)
        yield Claim(found[..., i, :], expected, _size(case))


@linear.law
def at_one_place_it_is_linear_attention(f, case):
    """Where all positions are equal it is linear attention of the same features"""
    q, k, values, rows, columns = case.arrays
    if k.shape[-2] == 0:
        return
    same = case.with_arrays(q, k, values, 0 * rows + 9, 0 * columns + 9)
    expected = linear_attention(*map(wide, (q, k, values)), features="identity")
    yield Claim(same.call(f), expected, 20.0 * _size(same))


@linear.law
def only_distances_matter(f, case):
    """Moving all positions changes nothing"""
    q, k, values, rows, columns = case.arrays
    later = case.with_arrays(q, k, values, rows + 21, columns + 21)
    yield Claim(later.call(f), case.call(f), 50.0 * _size(case))


@linear.law
def longer_features_change_nothing(f, case):
    """Twice the features of queries or of keys divide out"""
    q, k, *rest = case.arrays
    for doubled in ((2 * q, k), (q, 2 * k)):
        arrays = [astype(x, q.dtype) for x in doubled]
        yield Claim(case.with_arrays(*arrays, *rest).call(f), case.call(f), _size(case))


@linear.law
def hidden_keys_do_not_matter(f, case):
    """Causal: the value of a key after all queries changes nothing"""
    q, k, values, rows, columns = case.arrays
    causal = case.with_options(causal=True)
    if k.shape[-2] == 0 or rows.size == 0:
        return
    late = columns + 0
    late[..., -1] = wide(rows).max() + 1
    other = namespace(values).where(late[..., :, None] == late[..., -1:, None], 0, values)
    before = causal.with_arrays(q, k, values, rows, late).call(f)
    after = causal.with_arrays(q, k, astype(other, values.dtype), rows, late).call(f)
    yield Claim(before, after, 0.0 if values.shape[-2] == 1 else _size(case))


# -------------------------------------------------------------------------------- closed forms


@linear.closed_form
def two_keys(rng, shape):
    """One query reads two keys, one at its own place and one a step before"""
    x = np.array([[1.0, 0.0]])
    arrays = (x, np.repeat(x, 2, axis=0), np.array([[2.0], [4.0]]), np.array([1]), np.arange(2))
    return Case(arrays, {"pairing": "half"}), np.array([[np.cos(1.0) + 2.0]])


@linear.closed_form
def first_token_reads_itself(rng, shape):
    """Causal: the first token has its own value, and one before all keys has 0"""
    values = rng.standard_normal((*shape.batch, 2, 3))
    features = np.exp(rng.uniform(-0.5, 0.5, (2, 4)))
    case = Case((features, features, values, np.array([4, 0]), np.array([4, 5])))
    answer = np.stack([values[..., 0, :], 0 * values[..., 0, :]], axis=-2)
    return case.with_options(causal=True, pairing="interleaved"), answer


# ------------------------------------------------------------------------------------- mutants


def _weights(q, k, rows, columns, causal):
    """Products of features, 0 for keys that are not seen."""
    products = q @ k.swapaxes(-1, -2)
    if not causal:
        return products
    return products * (columns[..., None, :] <= rows[..., :, None])


def _mixed(above, below, values):
    total = below.sum(axis=-1, keepdims=True)
    return above @ values / namespace(total).where(total == 0, 1, total)


def _both(q, k, rows, columns, options):
    return (rotary_embedding(x, at, **options) for x, at in ((q, rows), (k, columns)))


def _terms(q, k, values, rows, columns, *, causal=False, **options):
    """Weights of the numerator and of the denominator, and the values."""
    above = _weights(*_both(q, k, rows, columns, options), rows, columns, causal)
    return {"above": above, "below": _weights(q, k, rows, columns, causal), "values": values}


book = Textbook(linear, _terms, _mixed)
book.wrong("The denominator is of rotated features, too", below=lambda t: t.above)
book.wrong(
    "The denominator sums the absolute values of the numerator's weights",
    below=lambda t: abs(t.above),
)
book.wrong("Nothing is rotated: plain linear attention", above=lambda t: t.below)
book.wrong("There is no denominator", below=lambda t: 0 * t.below)


@linear.mutant
def only_queries_rotated(q, k, values, rows, columns, *, causal=False, **options):
    """Keys are not rotated: queries see absolute positions"""
    turned = rotary_embedding(q, rows, **options)
    above = _weights(turned, k, rows, columns, causal)
    return _mixed(above, _weights(q, k, rows, columns, causal), values)


book.wrong("Causal: the denominator sums over all keys", below=lambda t: t.q @ t.k.swapaxes(-1, -2))


@linear.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def other_pairing(q, k, values, rows, columns, *, pairing, **options):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    options = options | {"pairing": OTHER[pairing]}
    return rotary_linear_attention(q, k, values, rows, columns, **options)


@linear.mutant(gradient=True)
def gradient_without_the_denominator(g, q, k, values, rows, columns, *, causal=False, **options):
    """The gradient takes the denominator for a constant"""
    total = _weights(q, k, rows, columns, causal).sum(axis=-1, keepdims=True)
    shares = g / namespace(total).where(total == 0, 1, total)
    q_turned, k_turned = _both(q, k, rows, columns, options)
    dabove = shares @ values.swapaxes(-1, -2)
    if causal:
        dabove = dabove * (columns[..., None, :] <= rows[..., :, None])
    rest = rotary_linear_attention.vjp(g, q, k, values, rows, columns, causal=causal, **options)[2:]
    dq = rotary_embedding(dabove @ k_turned, rows, inverse=True, **options)
    dk = rotary_embedding(dabove.swapaxes(-1, -2) @ q_turned, columns, inverse=True, **options)
    return dq, dk, *rest


wrong(linear, "The gradient has the wrong sign", gradient=lambda found, *_: [-x for x in found])
