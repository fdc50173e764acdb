"""Buckets of distances: published edges, exactness, gradients of T5's table, bad input."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention
from refimpl.check import check
from refimpl.check.candidate import Candidate
from refimpl.core import gather_rows, scatter_rows
from refimpl.position.buckets import deberta_log_buckets, t5_bias, t5_buckets

SETTINGS = list(itertools.product((4, 8, 16, 20, 32, 64, 128), (17, 32, 100, 128, 256, 512, 1024)))


def _first_of_each(values, distances):
    return {int(b): int(distances[values == b][0]) for b in np.unique(values)}


def test_published_starts_of_buckets():
    n = np.arange(200)
    two = _first_of_each(t5_buckets(n, [0], bidirectional=True)[:, 0], n)
    assert two == dict(zip(range(16), [*range(8), 8, 12, 16, 23, 32, 46, 64, 91], strict=True))
    one = _first_of_each(t5_buckets(n, [0], bidirectional=False)[:, 0], n)
    late = [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
    assert one == dict(zip(range(32), [*range(16), *late], strict=True))


def test_future_keys_and_the_bucket_that_is_never_used():
    value = t5_buckets([0], [1, 7, 16, 91, 10**9], bidirectional=True)[0]
    assert value.tolist() == [17, 23, 26, 31, 31]
    every = t5_buckets(np.arange(400), np.arange(400), bidirectional=True)
    assert set(range(32)) - set(every.ravel().tolist()) == {16}
    assert t5_buckets([0], [1, 10**9], bidirectional=False).tolist() == [[0, 0]]


def _written(n, bidirectional, buckets, distance, dtype):
    """T5's own code, with logarithms in a precision."""
    side = buckets // 2 if bidirectional else buckets
    start = side // 2
    x = np.log(n.astype(dtype) / np.array(start, dtype))
    x = x / np.log(np.array(distance / start, dtype)) * np.array(side - start, dtype)
    return np.where(n < start, n, np.minimum(start + x.astype(int), side - 1))


@pytest.mark.parametrize("bidirectional", [True, False])
def test_logarithms_in_double_precision_agree_for_every_setting(bidirectional):
    n = np.arange(1, 1200)
    for buckets, distance in SETTINGS:
        if distance > buckets // (4 if bidirectional else 2):
            options = {"bidirectional": bidirectional, "buckets": buckets, "max_distance": distance}
            expected = _written(n, bidirectional, buckets, distance, "float64")
            np.testing.assert_array_equal(t5_buckets(n, [0], **options)[:, 0], expected)


@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (32, 256), (64, 128), (64, 1024)])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_logarithms_in_single_precision_agree_for_usual_settings(bidirectional, buckets, distance):
    n = np.arange(1, 1200)
    options = {"bidirectional": bidirectional, "buckets": buckets, "max_distance": distance}
    expected = _written(n, bidirectional, buckets, distance, "float32")
    np.testing.assert_array_equal(t5_buckets(n, [0], **options)[:, 0], expected)


def test_a_tie_that_logarithms_in_single_precision_miss():
    """(80/64)^2 = 100/64: the step is the 32nd of 64 exactly, and float32 falls short of it."""
    n = np.array([80])
    options = {"bidirectional": False, "buckets": 128, "max_distance": 100}
    assert t5_buckets(n, [0], **options).tolist() == [[96]]
    assert _written(n, False, 128, 100, "float32").tolist() == [95]


def test_ties_that_logarithms_in_double_precision_may_miss():
    """Whole numbers know (36/27)^2 = 48/27, and 512/64 = (128/64)^3 = (256/64)^(3/2)."""
    options = {"bidirectional": True, "buckets": 110, "max_distance": 48}
    exact, written = (t5_buckets([36], [0], form=f, **options) for f in ("plain", "logarithm"))
    assert exact.tolist() == [[41]]
    assert written.tolist() in ([[40]], [[41]])
    options = {"bucket_size": 128, "max_position": 513}
    exact, written = (
        deberta_log_buckets([128, 256], [0], form=f, **options) for f in ("plain", "logarithm")
    )
    assert exact.tolist() == [[85], [106]]
    assert (written - exact).max() <= 1


def test_ties_are_exact():
    """Twenty buckets for twenty doublings: every start is a whole number of steps."""
    options = {"bidirectional": False, "buckets": 40, "max_distance": 20 * 2**20}
    n = 20 * 2 ** np.arange(20)
    value = t5_buckets(n, [0], **options)[:, 0]
    assert value.tolist() == [20 + k for k in range(20)]
    below = t5_buckets(n - 1, [0], **options)[:, 0]
    assert below.tolist() == [19 + k for k in range(20)]


def test_exact_rule_where_a_float_may_miss_it():
    """Far starts of buckets, each against its defining inequality in fractions."""
    side, start, distance = 32, 16, 10**12
    value = t5_buckets(
        [10**12],
        10**12 - np.logspace(2, 11.9, 300).astype(int),
        bidirectional=False,
        buckets=side,
        max_distance=distance,
    )[0]
    for n, bucket in zip(np.logspace(2, 11.9, 300).astype(int), value, strict=True):
        reached = Fraction(int(n), start) ** (side - start)
        k = int(bucket) - start
        assert reached >= Fraction(distance, start) ** k
        assert k == side - start - 1 or reached < Fraction(distance, start) ** (k + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bidirectional": True, "buckets": 31}, "buckets: expected an even number from 4 on"),
        ({"bidirectional": True, "buckets": 2}, "buckets: expected an even number from 4 on"),
        ({"bidirectional": False, "buckets": 1}, "buckets: expected a whole number from 2 on"),
        ({"bidirectional": True, "max_distance": 8}, "max_distance: expected more than 8"),
        ({"bidirectional": False, "max_distance": 16}, "max_distance: expected more than 16"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        t5_buckets([0], [0], **options)


def test_bad_positions():
    with pytest.raises(TypeError, match="query_positions: expected integers, got float64"):
        t5_buckets([0.0], [0], bidirectional=True)
    with pytest.raises(TypeError, match="needs .*bidirectional"):
        t5_buckets([0], [0])
    with pytest.raises(TypeError, match="has no gradient: buckets are whole numbers"):
        t5_buckets.vjp([[1.0]], [0], [0], bidirectional=True)


def test_unsigned_positions_do_not_wrap():
    small = np.array([0, 5], "uint8")
    np.testing.assert_array_equal(t5_buckets(small, small, bidirectional=True), [[0, 21], [5, 0]])
    assert deberta_log_buckets(small, small).tolist() == [[0, -5], [5, 0]]


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_the_checker_takes_whole_numbers_of_any_type_and_notes_others(dtype):
    def mine(q, k, *, bidirectional, buckets=32, max_distance=128):
        options = {"buckets": buckets, "max_distance": max_distance}
        return t5_buckets(q, k, bidirectional=bidirectional, **options).astype(dtype)

    result = check(t5_buckets, Candidate("mine", mine, "numpy"), dtype="float64")
    assert result.verdict == "pass", result.reason
    noted = result.noted("type")
    assert noted == ([f"returns {dtype} for float64 inputs"] if dtype == "float32" else [])


# ------------------------------------------------------------------------------------- T5: bias


def test_gradient_of_the_table_adds_up_to_zero_through_the_softmax():
    rng = np.random.default_rng(1910)
    q, k, v, g = (rng.standard_normal((3, 12, 4)) for _ in range(4))
    table, places = rng.standard_normal((8, 3)), np.arange(12)
    options = {"bidirectional": True, "max_distance": 6}

    def loss(table):
        bias = t5_bias(table, places, places, **options)
        return (g * softmax_attention(q, k, v, bias=bias, scale=1.0)).sum()

    bias = t5_bias(table, places, places, **options)
    dbias = softmax_attention.vjp(g, q, k, v, bias=bias, scale=1.0)[3]
    (dtable,) = t5_bias.vjp(dbias, table, places, places, **options)
    np.testing.assert_allclose(dtable.sum(axis=0), 0.0, atol=1e-14)
    assert np.abs(dtable).min(axis=1)[[0, 1, 2, 3, 5, 6, 7]].min() > 0.0
    assert (dtable[4] == 0.0).all()
    for bucket, head in ((0, 0), (3, 1), (6, 2)):
        step = np.zeros((8, 3))
        step[bucket, head] = 1e-6
        difference = (loss(table + step) - loss(table - step)) / 2e-6
        assert dtable[bucket, head] == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_gradient_in_half_precision_does_not_swallow_small_terms():
    """A thousand cotangents of one bucket: added in float16 the sum would stop at 2048."""
    places = np.arange(64)
    (dtable,) = t5_bias.vjp(
        np.ones((1, 64, 64), "float16"),
        np.zeros((32, 1), "float16"),
        places,
        places + 10**6,
        bidirectional=True,
    )
    assert dtable.dtype == np.float16
    assert dtable[31, 0] == 4096.0


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int8"])
def test_diagonals_are_the_plain_form(dtype):
    """Where positions follow on, of any type and from anywhere; and where they do not."""
    table = np.random.default_rng(0).standard_normal((2, 32, 3))
    queries, keys = np.arange(90, 120).astype(dtype), np.arange(70).astype(dtype)
    # In a byte these go on from 255 with 0, or from 127 with -128.
    around = np.arange(110, 270).astype(dtype)
    others = ((queries[::-1], keys), (queries, keys[::2]), (around, keys), (queries, around))
    for positions in ((queries, keys), *others):
        for bidirectional in (True, False):
            plain, fast = (
                t5_bias(table, *positions, bidirectional=bidirectional, form=form)
                for form in ("plain", "toeplitz")
            )
            np.testing.assert_array_equal(fast, plain)


def test_tables_and_positions_of_a_batch():
    rng = np.random.default_rng(1910)
    tables, queries = rng.standard_normal((2, 32, 3)), np.array([[3, 4], [90, 7]])
    value = t5_bias(tables, queries, np.arange(5), bidirectional=True)
    for b in range(2):
        one = t5_bias(tables[b], queries[b], np.arange(5), bidirectional=True)
        np.testing.assert_array_equal(value[b], one)
    shared = t5_bias(tables[0], queries, np.arange(5), bidirectional=True)
    np.testing.assert_array_equal(shared[0], value[0])


def test_table_with_an_odd_number_of_rows():
    with pytest.raises(ValueError, match="buckets: expected an even number from 4 on, got 5"):
        t5_bias(np.zeros((5, 1)), [0], [0], bidirectional=True)


# ------------------------------------------------------------------------------------- DeBERTa


def test_published_buckets_of_deberta():
    r = np.array([128, 129, 140, 200, 256, 300, 400, 500, 510, 511, -511])
    expected = [128, 129, 137, 169, 192, 207, 233, 254, 255, 255, -255]
    assert deberta_log_buckets(r, [0])[:, 0].tolist() == expected


def test_distances_beyond_the_largest_are_clipped_first():
    assert deberta_log_buckets([512, 10**6, -512], [0])[:, 0].tolist() == [255, 255, -255]


def test_buckets_of_deberta_never_reach_the_size_and_miss_none():
    r = np.arange(-5000, 5001)
    value = deberta_log_buckets(r, [0])[:, 0]
    assert (np.diff(value) >= 0).all()
    assert set(value.tolist()) == set(range(-255, 256))


@pytest.mark.parametrize("size", [4, 8, 9, 64, 256, 512])
def test_forms_of_deberta_agree_everywhere(size):
    r = np.arange(-2500, 2500)
    for largest in (300, 512, 1000, 2048):
        options = {"bucket_size": size, "max_position": largest}
        plain = deberta_log_buckets(r, [0], **options)
        written = deberta_log_buckets(r, [0], form="logarithm", **options)
        np.testing.assert_array_equal(plain, written)


def test_bad_options_of_deberta():
    with pytest.raises(ValueError, match="bucket_size: expected a whole number from 4 on, got 3"):
        deberta_log_buckets([0], [0], bucket_size=3)
    with pytest.raises(ValueError, match="max_position: expected more than 129, got 129"):
        deberta_log_buckets([0], [0], max_position=129)


# -------------------------------------------------------------------------------- rows of tables


def test_rows_and_their_adjoint():
    rng = np.random.default_rng(0)
    table, index = rng.standard_normal((2, 1, 5, 3)), rng.integers(0, 5, (4, 7))
    rows = gather_rows(table, index)
    assert rows.shape == (2, 4, 7, 3)
    np.testing.assert_array_equal(rows[1, 2], table[1, 0][index[2]])
    g = rng.standard_normal(rows.shape)
    spread = scatter_rows(g, index, 5)
    assert spread.shape == (2, 4, 5, 3)
    np.testing.assert_allclose((spread * table).sum(), (g * rows).sum(), rtol=1e-12)
    with pytest.raises(IndexError, match="indices from 0 to 5"):
        gather_rows(table, np.array([0, 5]))
    with pytest.raises(IndexError, match="indices from -1"):
        gather_rows(table, np.array([0, -1]))
