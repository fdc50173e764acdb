"""Evidence for biases of attention logits that are functions of distance."""

from __future__ import annotations

import numpy as np

from refimpl.attention.softmax import softmax_attention
from refimpl.backend import astype, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import (
    after_a_cache,
    distance_alone_matters,
    far,
    fractional,
    in_order,
    keys_in_any_order,
    padded,
    size_of,
    symmetric_in_distance,
    the_last_query_alone,
)
from refimpl.position.bias import alibi_bias, alibi_slopes, kerple_bias

slopes = Evidence(
    alibi_slopes,
    fixed={"heads": 12, "rule": "split"},
    options={
        "heads": (1, 3, 8, 40),
    },
    combinations=({"heads": 6, "rule": "geometric"}, {"heads": 16, "rule": None}),
    # A rounding of an exponent of 16 is one of eleven in the slope, and no input has it.
    budget=Budget(floor=16.0),
)
alibi = Evidence(
    alibi_bias,
    sizes={"h": Sizes(1, 1, 8, 17)},
    empty=("n", "m"),
    fixed={"sides": "symmetric"},
)
kerple = Evidence(
    kerple_bias,
    sizes={"h": Sizes(1, 1, 8, 17)},
    empty=("n", "m"),
    fixed={"kernel": "log"},
)


# ---------------------------------------------------------------------------- regimes of slopes


@slopes.regime
def usual(rng, shape):
    """Largest exponents from 4 to 16"""
    return Case((rng.uniform(4.0, 16.0, shape.alibi_bias_max),))


@slopes.regime(adversarial=True)
def of_the_paper_for_six_heads(rng, shape):
    """The paper's 8, with six heads, which is no power of two"""
    return Case((np.full(shape.alibi_bias_max, 8.0),), {"heads": 6})


@slopes.regime(adversarial=True)
def extreme(rng, shape):
    """Largest exponents from a thousandth to 100"""
    return Case((10.0 ** rng.uniform(-3.0, 2.0, shape.alibi_bias_max),))


# ------------------------------------------------------------------------- regimes of positions


def _slopes(rng, shape):
    return np.exp2(-rng.uniform(1.0, 8.0, shape.slopes))


@alibi.regime
def alibi_in_order(rng, shape):
    """Queries and keys from position 0 on"""
    return Case((_slopes(rng, shape), *in_order(shape)))


@alibi.regime
def alibi_after_a_cache(rng, shape):
    """Queries at the end of the keys, causal"""
    return Case((_slopes(rng, shape), *after_a_cache(shape)), {"sides": "causal"})


@alibi.regime
def alibi_by_key(rng, shape):
    """Keys alone decide, after a cache"""
    return Case((_slopes(rng, shape), *after_a_cache(shape)), {"sides": "key_index"})


@alibi.regime(adversarial=True)
def alibi_padded(rng, shape):
    """Positions that differ along the batch, as after left padding"""
    return Case((_slopes(rng, shape), *padded(rng, shape)))


@alibi.regime(adversarial=True)
def alibi_far(rng, shape):
    """Positions to 8191 in any order, of which float16 and bfloat16 take many for one"""
    return Case((_slopes(rng, shape), *far(rng, shape)))


@alibi.regime(adversarial=True)
def alibi_fractional(rng, shape):
    """Positions that are fractions, and slopes of either sign"""
    signed = _slopes(rng, shape) * rng.choice([-1.0, 1.0], shape.slopes)
    return Case((signed, *fractional(rng, shape)))


def _kerple_parameters(rng, shape):
    return rng.uniform(0.2, 2.0, shape.strengths), rng.uniform(0.2, 1.7, shape.rates)


@kerple.regime
def kerple_in_order(rng, shape):
    """Queries and keys from position 0 on"""
    return Case((*_kerple_parameters(rng, shape), *in_order(shape)))


@kerple.regime
def kerple_power(rng, shape):
    """The power, after a cache"""
    positions = after_a_cache(shape)
    return Case((*_kerple_parameters(rng, shape), *positions), {"kernel": "power"})


@kerple.regime(adversarial=True)
def kerple_padded(rng, shape):
    """Positions that differ along the batch, as after left padding"""
    return Case((*_kerple_parameters(rng, shape), *padded(rng, shape)))


@kerple.regime(adversarial=True)
def kerple_slow_and_far(rng, shape):
    """Rates from a ten-thousandth, far positions"""
    rates = 10.0 ** rng.uniform(-4.0, 0.0, shape.rates)
    return Case((rng.uniform(0.2, 2.0, shape.strengths), rates, *far(rng, shape)))


# ----------------------------------------------------------------------------- laws of slopes


@slopes.law
def twice_the_exponent_squares(f, case):
    """Slopes of 2B are the squares of those of B"""
    once = wide(case.call(f))
    twice = wide(case.with_arrays(2 * case.arrays[0]).call(f))
    yield Claim(twice, once**2, once**2 * (1.0 + _exponent_size(case)))


def _exponent_size(case):
    return np.abs(wide(case.arrays[0]))[..., None]


@slopes.law
def heads_interleave(f, case):
    """Those of twice a power of two, even ones first, cut to n, as in MPT"""
    n = case.options["heads"]
    above = 1 << (n - 1).bit_length()
    if case.options["rule"] != "split" or above == n:
        return
    full = wide(case.with_options(heads=above).call(f))
    taken = np.concatenate([full[..., 1::2], full[..., ::2]], axis=-1)[..., :n]
    yield Claim(case.call(f), taken, 1.0 + _exponent_size(case))


@slopes.law
def logarithms_are_even_spaced(f, case):
    """Sorted, the logarithms of a geometric rule are h B/n"""
    n = case.options["heads"]
    if case.options["rule"] != "geometric" and n & (n - 1):
        return
    logarithms = -np.log2(wide(case.call(f)))
    expected = wide(case.arrays[0])[..., None] * np.arange(1, n + 1) / n
    yield Claim(logarithms, expected, 1.0 + _exponent_size(case))


@slopes.law
def smallest_is_the_base(f, case):
    """The smallest slope is 2^-B, and the largest below 1"""
    value = wide(case.call(f))
    yield Claim(value.min(axis=-1), np.exp2(-wide(case.arrays[0])), 1.0)
    yield Claim(np.minimum(value, 1.0), value, 0.0)


# -------------------------------------------------------------------------- laws of all biases


for _record in (alibi, kerple):
    _record.law(distance_alone_matters)
    _record.law(the_last_query_alone)
    _record.law(keys_in_any_order)
    _record.law(symmetric_in_distance)


# ------------------------------------------------------------------------------- laws of ALiBi


@alibi.law
def causal_softmax_needs_keys_only(f, case):
    """Causal attention is the same for the causal bias and that of the key's index"""
    m, queries, keys = case.arrays
    if 0 in (*queries.shape, *keys.shape) or wide(keys).max() > 300 or wide(m).min() < 0:
        return
    xp = namespace(m)
    queries, keys = (astype(x, "float64") for x in (queries, keys))
    values = astype(xp.cos(keys), m.dtype)[..., None, :, None]
    zeros = xp.zeros((*queries.shape[:-1], 1, queries.shape[-1], 1), dtype=m.dtype)
    keep = (keys[..., None, None, :] <= queries[..., None, :, None]) & xp.isfinite(zeros)
    means = [
        softmax_attention(
            zeros,
            0 * values,
            values,
            mask=keep,
            bias=case.with_options(sides=sides).call(f),
            scale=1.0,
        )
        for sides in ("key_index", "causal")
    ]
    yield Claim(means[0], means[1], 8.0 + 2.0 * float(abs(keys).max()))


@alibi.law
def linear_in_the_slope(f, case):
    """Twice the slope is twice the bias"""
    m, *positions = case.arrays
    twice = wide(case.with_arrays(2 * m, *positions).call(f))
    yield Claim(twice, 2 * wide(case.call(f)), 0.0)


@alibi.law
def is_minus_slope_times_distance(f, case):
    """Every entry, written out"""
    m, queries, keys = map(wide, case.arrays)
    i, j = queries[..., None, :, None], keys[..., None, None, :]
    sides = case.options["sides"]
    factor = j + 0 * i if sides == "key_index" else -np.abs(i - j)
    expected = m[..., :, None, None] * factor
    if sides == "causal":
        expected = np.where(j <= i, expected, -np.inf)
    yield Claim(case.call(f), expected, size_of(case, f))


# ------------------------------------------------------------------------------ laws of KERPLE


@kerple.law
def conditionally_positive_definite(f, case):
    """c^T b c >= 0 wherever the entries of c add up to zero"""
    r, s, queries, _ = case.arrays
    n = queries.shape[-1]
    matrix = wide(case.with_arrays(r, s, queries, queries).call(f))
    c = np.random.default_rng(2205).standard_normal((5, n))
    c = c - c.mean(axis=-1, keepdims=True) if n else c
    value = np.einsum("ai,...ij,aj->...a", c, matrix, c)
    size = np.abs(matrix).sum(axis=(-2, -1))[..., None] * 16.0 + 1.0
    yield Claim(np.maximum(value, 0.0), value, size)


@kerple.law
def power_one_is_alibi(f, case):
    """The power 1 of the distance is ALiBi"""
    r, s, queries, keys = case.arrays
    line = case.with_arrays(r, s * 0 + 1, queries, keys).with_options(kernel="power").call(f)
    xp = namespace(r)
    slopes_of_all = xp.broadcast_arrays(r, s)[0]
    yield Claim(line, alibi_bias(slopes_of_all, queries, keys, sides="symmetric"), size_of(case, f))


@kerple.law
def slow_logarithm_is_alibi(f, case):
    """For a small rate the logarithm is a line of slope r s, up to r (s t)^2 / 2"""
    r, s, queries, keys = case.arrays
    if queries.size == 0 or keys.size == 0:
        return
    small = s * 0 + 2.0**-40
    log = wide(case.with_arrays(r / small, small, queries, keys).with_options(kernel="log").call(f))
    xp = namespace(r)
    line = wide(alibi_bias(xp.broadcast_arrays(r, s)[0], queries, keys, sides="symmetric"))
    yield Claim(log, line, 1.0 + np.abs(line) + line**2 * 2.0**14 / wide(r).min())


@kerple.law
def exponential_undoes_the_logarithm(f, case):
    """exp(-b/r) - 1 of the logarithm is s times the distance"""
    r, s, queries, keys = case.arrays
    log = wide(case.with_options(kernel="log").call(f))
    r, s = (wide(x)[..., :, None, None] for x in (r, s))
    t = np.abs(wide(queries)[..., None, :, None] - wide(keys)[..., None, None, :])
    yield Claim(np.expm1(-log / r), s * t + 0 * log, (1.0 + s * t) * (2.0 + np.log1p(s * t)))


# ------------------------------------------------------------------------------- closed forms


def _over_batch(shape, answer):
    return np.broadcast_to(answer, (*shape.batch, *np.shape(answer)))


def _paper(shape, heads, answer):
    case = Case((np.full(shape.alibi_bias_max, 8.0),), {"heads": heads, "rule": "split"})
    return case, _over_batch(shape, np.array(answer))


@slopes.closed_form
def three_heads(rng, shape):
    """Three heads: 1/16, 1/256, 1/4"""
    return _paper(shape, 3, [1 / 16, 1 / 256, 1 / 4])


@slopes.closed_form
def six_heads(rng, shape):
    """Six heads: 1/4, 1/16, 1/64, 1/256, 1/2, 1/8"""
    return _paper(shape, 6, [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8])


@slopes.closed_form
def eight_heads(rng, shape):
    """Eight heads: 1/2 to 1/256"""
    return _paper(shape, 8, 0.5 ** np.arange(1, 9))


@slopes.closed_form
def one_head(rng, shape):
    """One head: 2^-B"""
    case = Case((np.full(shape.alibi_bias_max, 5.0),), {"heads": 1, "rule": None})
    return case, _over_batch(shape, np.array([1 / 32]))


@slopes.closed_form
def geometric_three_heads(rng, shape):
    """Three heads in one geometric sequence with B = 9: 1/8, 1/64, 1/512"""
    case = Case((np.full(shape.alibi_bias_max, 9.0),), {"heads": 3, "rule": "geometric"})
    return case, _over_batch(shape, np.array([1 / 8, 1 / 64, 1 / 512]))


@alibi.closed_form
def lower_triangle(rng, shape):
    """Slope 1, four tokens, causal: 0, then -1, 0, then -2, -1, 0"""
    distance = np.subtract.outer(np.arange(4), np.arange(4))
    answer = np.where(distance >= 0, -1.0 * distance, -np.inf)
    case = Case((np.ones(1), np.arange(4), np.arange(4)), {"sides": "causal"})
    return case, answer[None]


@alibi.closed_form
def exact_at_a_million(rng, shape):
    """Slope 1/256, keys a million away: whole 256ths"""
    case = Case((np.array([1 / 256]), np.array([10**6, 10**6 + 1]), np.array([0, 10**6])))
    return case, np.array([[[-3906.25, 0.0], [-3906.25390625, -0.00390625]]])


@kerple.closed_form
def published_logarithms(rng, shape):
    """r = 2, s = 1/2 at distances 1, 2, 8: -2 log 1.5, -2 log 2, -2 log 5"""
    case = Case((np.array([2.0]), np.array([0.5]), np.array([8]), np.array([7, 6, 0])))
    return case, -2.0 * np.log([[[1.5, 2.0, 5.0]]])


@kerple.closed_form
def squares(rng, shape):
    """r = 3, s = 2: three times the squares"""
    case = Case(
        (np.array([3.0]), np.array([2.0]), np.arange(3), np.array([0])), {"kernel": "power"}
    )
    return case, np.array([[[0.0], [-3.0], [-12.0]]])
