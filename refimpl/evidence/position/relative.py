"""Evidence for keys and values that know their distance: Shaw's attention and DeBERTa's."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.laws import distance_alone_matters
from refimpl.evidence.position.shared import after_a_cache, in_order, padded
from refimpl.position.relative import (
    disentangled_logits,
    relative_attention_logits,
    relative_attention_values,
)

keys = Evidence(
    relative_attention_logits,
    sizes={"d": Sizes(1, 1, 8), "r": Sizes(5, 1, 5)},
    empty=("n", "m"),
    fixed={"order": "k_minus_q"},
    options={"scale": (0.3,)},
)
values = Evidence(
    relative_attention_values,
    sizes={"v": Sizes(1, 1, 8), "r": Sizes(5, 1, 5)},
    empty=("n", "m"),
    fixed={"order": "k_minus_q"},
)
deberta = Evidence(
    disentangled_logits,
    sizes={"d": Sizes(1, 1, 8), "r": Sizes(12, 2, 16)},
    empty=("n", "m"),
    fixed={"p2c_index": "code"},
    options={"scale": (0.3,)},
    combinations=({"log_buckets": True, "max_position": 9}, {"log_buckets": True}),
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape, record):
    names = [a.name for a in record.formula.arguments if a.kind == "real"]
    return tuple(rng.standard_normal(getattr(shape, name)) for name in names)


def _unordered(rng, shape):
    """Positions in any order, some of them twice."""
    return tuple(rng.integers(0, 12, shape.axes[axis]) for axis in "nm")


for _record in (keys, values, deberta):

    @_record.regime
    def consecutive(rng, shape, record=_record):
        """Queries and keys from position 0 on"""
        return Case((*_arrays(rng, shape, record), *in_order(shape)))

    @_record.regime
    def after_cache(rng, shape, record=_record):
        """Queries at the end of the keys, as in decoding"""
        return Case((*_arrays(rng, shape, record), *after_a_cache(shape)))

    @_record.regime(adversarial=True)
    def left_padding(rng, shape, record=_record):
        """Positions that differ along the batch, as after left padding"""
        return Case((*_arrays(rng, shape, record), *padded(rng, shape)))

    @_record.regime(adversarial=True)
    def unordered(rng, shape, record=_record):
        """Positions in any order, some of them twice, so that both ends of the table are used"""
        return Case((*_arrays(rng, shape, record), *_unordered(rng, shape)))


@keys.regime(adversarial=True)
def other_order(rng, shape):
    """Query minus key, with scales that differ along the batch"""
    options = {"order": "q_minus_k", "scale": rng.uniform(0.2, 1.5, shape.scale)}
    return Case((*_arrays(rng, shape, keys), *_unordered(rng, shape)), options)


@values.regime(adversarial=True)
def weights_of_a_softmax(rng, shape):
    """Weights that add up to one, query minus key"""
    _, *rest = _arrays(rng, shape, values)
    weights = np.exp(rng.standard_normal(shape.weights))
    weights = weights / weights.sum(axis=-1, keepdims=True) if shape.axes["m"] else weights
    return Case((weights, *rest, *_unordered(rng, shape)), {"order": "q_minus_k"})


@deberta.regime
def of_the_paper(rng, shape):
    """The paper's index, positions in any order"""
    return Case((*_arrays(rng, shape, deberta), *_unordered(rng, shape)), {"p2c_index": "paper"})


@deberta.regime(adversarial=True)
def in_buckets(rng, shape):
    """Far positions in logarithmic buckets, with scales that differ along the batch"""
    positions = tuple(rng.integers(0, 40, shape.axes[axis]) for axis in "nm")
    options = {"log_buckets": True, "max_position": 20}
    options["scale"] = rng.uniform(0.2, 1.5, shape.scale)
    return Case((*_arrays(rng, shape, deberta), *positions), options)


# ---------------------------------------------------------------------------------------- laws


def _signed(case):
    """i - j, (..., n, m)."""
    queries, columns = (to_host(x).astype(np.int64) for x in case.arrays[-2:])
    return queries[..., :, None] - columns[..., None, :]


def _rows(table, index):
    """Rows of a table, (..., n, m, d), on the host."""
    batch = np.broadcast_shapes(table.shape[:-2], index.shape[:-2])
    table = np.broadcast_to(table, (*batch, *table.shape[-2:]))
    index = np.broadcast_to(index, (*batch, *index.shape[-2:]))
    flat = index.reshape(*batch, -1, 1)
    rows = np.take_along_axis(table, flat, axis=-2)
    return rows.reshape(*index.shape, table.shape[-1])


def _size(case, f):
    real = [np.abs(wide(x)).max(initial=1.0) for x in case.arrays[:-2]]
    width = max(x.shape[-1] for x in case.arrays[:-2])
    return 8.0 * width * float(real[0]) * float(sum(real[1:]))


by_distance = distance_alone_matters(2**31)


def one_query_at_a_time(f, case):
    """The last query alone, as in decoding, has the last row"""
    first, *rest, queries, columns = case.arrays
    if queries.shape[-1]:
        step = case.with_arrays(first[..., -1:, :], *rest, queries[..., -1:], columns).call(f)
        yield Claim(step, case.call(f)[..., -1:, :], _size(case, f))


for _record in (keys, values, deberta):
    _record.law(by_distance)
    _record.law(one_query_at_a_time)


def the_other_order_is_upside_down(f, case):
    """A table upside down, in the other order, is the same"""
    other = {"k_minus_q": "q_minus_k", "q_minus_k": "k_minus_q"}[case.options["order"]]
    first, second, table, *positions = case.arrays
    turned = case.with_arrays(first, second, table[..., ::-1, :], *positions)
    yield Claim(turned.with_options(order=other).call(f), case.call(f), _size(case, f))


def far_distances_share_a_row(f, case):
    """Distances a thousand times as large, all beyond the table or 0, need its ends and middle"""
    *real, queries, columns = case.arrays
    table = real[-1]
    middle = table.shape[-2] // 2
    xp = namespace(table)
    kept = xp.arange(table.shape[-2])[:, None]
    thin = xp.where((kept == 0) | (kept == middle) | (kept == 2 * middle), table, 0 * table + 7)
    apart = queries * 1000, columns * 1000
    one = case.with_arrays(*real[:-1], thin, *apart).call(f)
    yield Claim(one, case.with_arrays(*real, *apart).call(f), _size(case, f))


for _record in (keys, values):
    _record.law(the_other_order_is_upside_down)
    _record.law(far_distances_share_a_row)


def _shaw_rows(case):
    """The row of the table that belongs to each pair, (..., n, m, d)."""
    table = wide(case.arrays[2])
    k = table.shape[-2] // 2
    sign = 1 if case.options["order"] == "q_minus_k" else -1
    return _rows(table, np.clip(sign * _signed(case), -k, k) + k)


def _scale_of(case, terms=1):
    scale = case.options.get("scale")
    width = case.arrays[0].shape[-1]
    return (
        (terms * width) ** -0.5
        if scale is None
        else wide(np.asarray(to_host(scale)))[..., None, None]
    )


@keys.law
def is_a_key_for_each_pair(f, case):
    """Every pair of query and key has a key vector of its own, written out"""
    q, k = map(wide, case.arrays[:2])
    vectors = k[..., None, :, :] + _shaw_rows(case)
    expected = _scale_of(case) * (q[..., :, None, :] * vectors).sum(axis=-1)
    yield Claim(case.call(f), expected, _size(case, f) * (1.0 + np.abs(_scale_of(case))))


@keys.law
def without_a_table_it_is_plain(f, case):
    """A table of zeros leaves the products of queries and keys"""
    q, k, table, *positions = case.arrays
    plain = _scale_of(case) * (wide(q) @ np.swapaxes(wide(k), -1, -2))
    found = case.with_arrays(q, k, 0 * table, *positions).call(f)
    yield Claim(found, np.broadcast_to(plain, found.shape), _size(case, f))


@values.law
def is_a_value_for_each_pair(f, case):
    """Every pair of query and key has a value vector of its own, written out"""
    weights, v = map(wide, case.arrays[:2])
    vectors = v[..., None, :, :] + _shaw_rows(case)
    expected = (weights[..., None] * vectors).sum(axis=-2)
    yield Claim(case.call(f), expected, _size(case, f) * (1.0 + weights.shape[-1]))


@values.law
def without_a_table_it_is_the_mean(f, case):
    """A table of zeros leaves the products of weights and values"""
    weights, v, table, *positions = case.arrays
    found = case.with_arrays(weights, v, 0 * table, *positions).call(f)
    yield Claim(found, np.broadcast_to(wide(weights) @ wide(v), found.shape), _size(case, f))


@values.law
def one_vector_for_all_distances(f, case):
    """With one vector in all rows the sum of the weights multiplies it"""
    weights, v, table, *positions = case.arrays
    same = 0 * table + table[..., :1, :]
    found = case.with_arrays(weights, 0 * v, same, *positions).call(f)
    expected = wide(weights).sum(axis=-1)[..., None] * wide(table)[..., :1, :]
    yield Claim(found, np.broadcast_to(expected, found.shape), _size(case, f) * (1 + v.shape[-2]))


@deberta.law
def is_three_products_for_each_pair(f, case):
    """Every entry from the vectors of its own pair, written out"""
    q, k, of_queries, of_keys = map(wide, case.arrays[:4])
    b = of_keys.shape[-2] // 2
    r = _signed(case)
    if case.options.get("log_buckets"):
        r = _buckets(r, b, case.options.get("max_position", 512))
    forward = np.clip(r + b, 0, 2 * b - 1)
    third = forward if case.options["p2c_index"] == "code" else np.clip(b - r, 0, 2 * b - 1)
    q, k = q[..., :, None, :], k[..., None, :, :]
    sums = q * k + q * _rows(of_keys, forward) + k * _rows(of_queries, third)
    yield Claim(case.call(f), _scale_of(case, 3) * sums.sum(axis=-1), _size(case, f) * 2.0)


def _buckets(r, b, max_position):
    """The written formula of the buckets."""
    last, middle = max_position - 1, b // 2
    r = np.clip(r, -last, last)
    far = np.log(np.maximum(abs(r), middle) / middle) / np.log(last / middle)
    bucket = middle + np.ceil(far * (middle - 1)).astype(int)
    return np.where(abs(r) <= middle, r, np.sign(r) * bucket)


@deberta.law
def without_tables_it_is_plain(f, case):
    """Tables of zeros leave the products of queries and keys, by sqrt(3 d)"""
    q, k, of_queries, of_keys, *positions = case.arrays
    plain = _scale_of(case, 3) * (wide(q) @ np.swapaxes(wide(k), -1, -2))
    found = case.with_arrays(q, k, 0 * of_queries, 0 * of_keys, *positions).call(f)
    yield Claim(found, np.broadcast_to(plain, found.shape), _size(case, f))


@deberta.law
def symmetric_in_the_paper(f, case):
    """The paper's is transposed where contents, positions and tables are exchanged"""
    if case.options["p2c_index"] != "paper":
        return
    q, k, of_queries, of_keys, queries, columns = case.arrays
    turned = case.with_arrays(k, q, of_keys, of_queries, columns, queries).call(f)
    yield Claim(turned.swapaxes(-1, -2), case.call(f), _size(case, f))


@deberta.law
def paper_and_code_agree_on_constant_queries(f, case):
    """Where all rows of the queries' table are equal the index does not matter"""
    q, k, of_queries, *rest = case.arrays
    same = case.with_arrays(q, k, 0 * of_queries + of_queries[..., :1, :], *rest)
    both = [same.with_options(p2c_index=index).call(f) for index in ("paper", "code")]
    yield Claim(*both, _size(case, f))


# -------------------------------------------------------------------------------- closed forms


def _a_table_alone(order):
    """Keys of zero and queries of one."""
    arrays = np.ones((2, 1)), np.zeros((4, 1)), np.array([[1.0], [2.0], [3.0]])
    return Case((*arrays, np.arange(2), np.arange(4)), {"order": order})


@keys.closed_form
def a_table_shows_its_rows(rng, shape):
    """Keys of zero and queries of one: the rows in the order of key minus query"""
    return _a_table_alone("k_minus_q"), np.array([[2.0, 3.0, 3.0, 3.0], [1.0, 2.0, 3.0, 3.0]])


@keys.closed_form
def query_minus_key(rng, shape):
    """The same in the order of query minus key"""
    return _a_table_alone("q_minus_k"), np.array([[2.0, 1.0, 1.0, 1.0], [3.0, 2.0, 1.0, 1.0]])


@values.closed_form
def a_weight_picks_a_row(rng, shape):
    """One weight of 1 picks its value and the row of its distance"""
    case = Case(
        (np.eye(3), np.array([[10.0], [20.0], [30.0]]), np.array([[1.0], [2.0], [3.0]]))
        + (np.array([1, 1, 1]), np.arange(3)),
        {"order": "k_minus_q"},
    )
    return case, np.array([[11.0], [22.0], [33.0]])


def _deberta_rows(index, answer):
    rows = 10.0 ** np.arange(4)[:, None]
    arrays = np.zeros((3, 1)), np.ones((3, 1)), rows, 0 * rows, np.arange(3), np.arange(3)
    return Case(arrays, {"p2c_index": index, "scale": np.array(1.0)}), np.array(answer)


@deberta.closed_form
def third_term_of_the_code(rng, shape):
    """Keys of one and the queries' table 1, 10, 100, 1000: rows i - j + 2, from 0 to 3"""
    return _deberta_rows("code", [[100.0, 10.0, 1.0], [1000.0, 100.0, 10.0], [1e3, 1e3, 100.0]])


@deberta.closed_form
def third_term_of_the_paper(rng, shape):
    """Keys of one and the queries' table 1, 10, 100, 1000: rows j - i + 2, from 0 to 3"""
    return _deberta_rows("paper", [[100.0, 1e3, 1e3], [10.0, 100.0, 1000.0], [1.0, 10.0, 100.0]])
