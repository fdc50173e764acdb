"""Evidence for distances in buckets, and for the table of T5."""

from __future__ import annotations

import numpy as np

from refimpl.attention.softmax import softmax_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.laws import distance_alone_matters
from refimpl.evidence.position.shared import after_a_cache, in_order, padded
from refimpl.position.buckets import deberta_log_buckets, t5_bias, t5_buckets

t5 = Evidence(
    t5_buckets,
    empty=("n", "m"),
    fixed={"bidirectional": True},
    options={"buckets": (4, 64), "max_distance": (256,)},
    combinations=({"bidirectional": False, "buckets": 2, "max_distance": 20},),
)
bias = Evidence(
    t5_bias,
    sizes={"b": Sizes(4, 2, 32), "h": Sizes(1, 1, 8, 17)},
    empty=("n", "m"),
    fixed={"bidirectional": True},
    options={"max_distance": (256,)},
)
deberta = Evidence(
    deberta_log_buckets,
    empty=("n", "m"),
    options={"bucket_size": (8, 64), "max_position": (1024,)},
)


# ------------------------------------------------------------------------------------- regimes


def _far(rng, shape, size):
    """Positions in any order, so that keys lie on both sides of their queries."""
    return tuple(rng.integers(0, size, shape.axes[axis]) for axis in "nm")


def _at_edges(rng, shape, edges):
    """Distances where buckets begin, and one less, of both signs."""
    distances = np.array([*edges, *(e - 1 for e in edges)])
    start = int(distances.max())
    keys = start + rng.choice(distances, shape.axes["m"]) * rng.choice([-1, 1], shape.axes["m"])
    return start + np.arange(shape.axes["n"]) // 3, keys


T5_EDGES = (1, 8, 12, 16, 23, 32, 46, 64, 91, 128, 1000)
DEBERTA_EDGES = (1, 128, 129, 130, 140, 200, 256, 400, 510, 511, 512, 513, 5000)

for _record, _edges in ((t5, T5_EDGES), (deberta, DEBERTA_EDGES)):

    @_record.regime
    def consecutive(rng, shape):
        """Queries and keys from position 0 on"""
        return Case(in_order(shape))

    @_record.regime
    def far(rng, shape):
        """Positions to 600 in any order"""
        return Case(_far(rng, shape, 600))

    @_record.regime(adversarial=True)
    def edges_of_buckets(rng, shape, edges=_edges):
        """Distances where buckets begin, or one less"""
        return Case(_at_edges(rng, shape, edges))

    @_record.regime(adversarial=True)
    def left_padding(rng, shape):
        """Positions that differ along the batch, as after left padding"""
        return Case(padded(rng, shape))


@t5.regime(adversarial=True)
def decoder(rng, shape):
    """One direction, queries after a cache"""
    queries, keys = after_a_cache(shape)
    return Case((queries + 60, keys), {"bidirectional": False})


def _table(rng, shape):
    return rng.standard_normal(shape.table)


@bias.regime
def encoder(rng, shape):
    """Two directions, positions from 0 on"""
    return Case((_table(rng, shape), *in_order(shape)))


@bias.regime
def decoding(rng, shape):
    """One direction, queries after a cache"""
    queries, keys = after_a_cache(shape)
    return Case((_table(rng, shape), queries + 60, keys), {"bidirectional": False})


@bias.regime(adversarial=True)
def padded_and_far(rng, shape):
    """Positions that differ along the batch, far from each other"""
    queries, keys = padded(rng, shape)
    return Case((_table(rng, shape), 7 * queries, 5 * keys))


@bias.regime(adversarial=True)
def edges(rng, shape):
    """Distances where buckets begin, or one less"""
    return Case((_table(rng, shape), *_at_edges(rng, shape, T5_EDGES)))


@bias.gradient_terms
def _sums(g, table, *positions, **options):
    """What is added up for a head, one after the other."""
    return {"table": float(np.abs(g).sum(axis=(-2, -1)).max(initial=0.0))}


# --------------------------------------------------------------------------------- laws of buckets


def signed(case):
    queries, keys = (to_host(x).astype(np.int64) for x in case.arrays[-2:])
    return queries[..., :, None] - keys[..., None, :]


by_distance = distance_alone_matters(2**31)


def never_decreases_with_distance(f, case):
    """Buckets of past keys, sorted by distance, are sorted"""
    value, n = wide(case.call(f)), signed(case)
    past = np.sort(n[n >= 0])
    answer = value[n >= 0][np.argsort(n[n >= 0], kind="stable")]
    yield Claim(np.maximum.accumulate(answer) if past.size else answer, answer, 0.0)


def first_distances_are_themselves(f, case):
    """Distances below a quarter of the buckets, or half of them, are their own bucket"""
    value, n = wide(case.call(f)), signed(case)
    near = (n >= 0) & (n <= _linear_end(case))
    yield Claim(value[near], n[near].astype(float), 0.0)


def _linear_end(case):
    options = case.options
    if "bidirectional" in options:
        return options.get("buckets", 32) // (4 if options["bidirectional"] else 2)
    return options.get("bucket_size", 256) // 2


def one_query_at_a_time(f, case):
    """The last query alone, as in decoding, has the last row"""
    queries, keys = case.arrays
    if queries.shape[-1]:
        step = case.with_arrays(queries[..., -1:], keys).call(f)
        yield Claim(step, case.call(f)[..., -1:, :], 0.0)


for _record in (t5, deberta):
    _record.law(by_distance)
    _record.law(never_decreases_with_distance)
    _record.law(first_distances_are_themselves)
    _record.law(one_query_at_a_time)


@t5.law
def lies_between_its_powers(f, case):
    """E (D/E)^(k/L) <= n < E (D/E)^((k + 1)/L) in bucket E + k, the last one open to the right"""
    value, n = wide(case.call(f)), signed(case).astype(float)
    two, count = case.options["bidirectional"], case.options.get("buckets", 32)
    side = count // 2 if two else count
    start, steps = side // 2, side - side // 2
    ratio = case.options.get("max_distance", 128) / start
    k = np.where(n < 0, value - side, value) - start if two else value - start
    n = np.abs(n) if two else np.maximum(n, 0.0)
    low, high = (start * ratio ** (e / steps) for e in (k, k + 1))
    far = k >= 0
    yield Claim(np.minimum(low, n)[far], low[far], 8.0 * low[far])
    open_end = far & (k < steps - 1)
    yield Claim(np.maximum(high, n)[open_end], high[open_end], 8.0 * high[open_end])


@t5.law
def future_is_a_copy_of_the_past(f, case):
    """Two directions: exchanged positions move a bucket by half the number; one: to 0"""
    queries, keys = case.arrays
    value, n = wide(case.call(f)), signed(case)
    turned = np.swapaxes(wide(case.with_arrays(keys, queries).call(f)), -1, -2)
    if case.options["bidirectional"]:
        half = case.options.get("buckets", 32) // 2
        yield Claim(turned - value, half * np.sign(n), 0.0)
    else:
        yield Claim(np.where(n > 0, turned, 0.0), np.zeros(n.shape), 0.0)


@deberta.law
def odd_in_the_distance(f, case):
    """Exchanging queries and keys changes the sign"""
    queries, keys = case.arrays
    turned = case.with_arrays(keys, queries).call(f)
    yield Claim(-turned.swapaxes(-1, -2), case.call(f), 0.0)


@deberta.law
def lies_between_powers(f, case):
    """c ((M-1)/c)^((k-1)/(c-1)) < |r| <= c ((M-1)/c)^(k/(c-1)) in bucket c + k > c"""
    value, r = np.abs(wide(case.call(f))), np.abs(signed(case)).astype(float)
    middle = case.options.get("bucket_size", 256) // 2
    last = case.options.get("max_position", 512) - 1
    r = np.minimum(r, last)
    far = value > middle
    k = value[far] - middle
    low, high = (middle * (last / middle) ** (e / (middle - 1)) for e in (k - 1, k))
    yield Claim(np.minimum(low, r[far]), low, 8.0 * low)
    yield Claim(np.maximum(high, r[far]), high, 8.0 * high)


# --------------------------------------------------------------------------- laws of the bias


@bias.law
def rows_are_those_of_the_buckets(f, case):
    """A table that counts its rows shows the buckets"""
    table, *positions = case.arrays
    xp = namespace(table)
    rows = xp.arange(table.shape[-2], dtype=table.dtype)[:, None] + 0 * table
    shown = case.with_arrays(rows, *positions).call(f)
    options = {k: case.options[k] for k in ("bidirectional", "max_distance") if k in case.options}
    expected = t5_buckets(*positions, buckets=table.shape[-2], **options)[..., None, :, :]
    yield Claim(shown, xp.broadcast_to(expected, shown.shape), 0.0)


@bias.law
def linear_in_the_table(f, case):
    """The sum of two tables gives the sum of two biases"""
    table, *positions = case.arrays
    other = table[..., ::-1, :]
    both = case.with_arrays(table + other, *positions).call(f)
    apart = wide(case.call(f)) + wide(case.with_arrays(other, *positions).call(f))
    yield Claim(both, apart, 1.0 + np.abs(apart))


@bias.law
def a_constant_is_not_seen(f, case):
    """A number added to all buckets of a head changes no attention"""
    table, queries, keys = case.arrays
    if 0 in (*queries.shape, *keys.shape):
        return
    xp = namespace(table)
    values = xp.sin(xp.arange(keys.shape[-1], dtype=table.dtype))[:, None]
    zeros = xp.zeros((queries.shape[-1], 1), dtype=table.dtype)
    more = case.with_arrays(table + 3, queries, keys)
    one, two = (softmax_attention(zeros, 0 * values, values, bias=c.call(f)) for c in (case, more))
    yield Claim(one, two, 16.0)


bias.law(by_distance)


# -------------------------------------------------------------------------------- closed forms


@t5.closed_form
def published_encoder_buckets(rng, shape):
    """32 buckets to 128, where each begins: 8, 12, 16, 23, 32, 46, 64, 91, and 16 more ahead"""
    begins = np.array([0, 1, 7, 8, 11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 10**6])
    answer = np.array([0, 1, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15])
    keys = np.concatenate([10**6 - begins, 10**6 + begins[1:]])
    case = Case((np.array([10**6]), keys), {"bidirectional": True})
    return case, np.concatenate([answer, 16 + answer[1:]])[None]


@t5.closed_form
def published_decoder_buckets(rng, shape):
    """One direction: buckets 16 to 31 begin at 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, ..."""
    begins = [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
    distances = np.array([-5, 0, *begins, *(b - 1 for b in begins)])
    case = Case((np.array([200]), 200 - distances), {"bidirectional": False})
    return case, np.array([[0, 0, *range(16, 32), *range(15, 31)]])


@deberta.closed_form
def published_buckets(rng, shape):
    """256 to 512: 128, 129, 137, 169, 192, 207, 233, 254, 255, 255, 255, -255"""
    distances = np.array([128, 129, 140, 200, 256, 300, 400, 500, 510, 511, 5000, -511])
    answer = [128, 129, 137, 169, 192, 207, 233, 254, 255, 255, 255, -255]
    return Case((distances, np.array([0]))), np.array(answer)[:, None]


@bias.closed_form
def alphabet(rng, shape):
    """Eight rows count themselves: in one direction, 4 and 8 of 16 begin the buckets 4 and 6"""
    table = np.arange(8.0)[:, None]
    case = Case(
        (table, np.array([20]), np.array([25, 20, 17, 16, 15, 12, 4, 0])),
        {"bidirectional": False, "max_distance": 16},
    )
    return case, np.array([[[0.0, 0.0, 3.0, 4.0, 4.0, 6.0, 7.0, 7.0]]])
