"""Wrong variants of biases by distance: the bugs that public code had, and their neighbours."""

from __future__ import annotations

from refimpl.backend import like, namespace, to_host
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.bias import alibi, kerple, slopes
from refimpl.evidence.position.shared import OTHER, by_place
from refimpl.numerics import round_to
from refimpl.position.bias import alibi_bias, alibi_slopes, kerple_bias

# ---------------------------------------------------------------------------------------- slopes


@slopes.mutant(source="https://github.com/ml-explore/mlx/issues/343")
def the_other_rule(maximum, *, heads, rule):
    """It takes one geometric sequence where the code of the paper splits, or the reverse"""
    return alibi_slopes(maximum, heads=heads, rule=OTHER.get(rule))


@slopes.mutant(source="https://github.com/paiml/aprender/pull/2143")
def counts_from_zero(maximum, *, heads, rule):
    """Heads count from 0: the first slope is 1"""
    xp = namespace(maximum)
    below = heads if rule == "geometric" else 1 << (heads.bit_length() - 1)
    value = alibi_slopes(maximum, heads=heads, rule=rule)
    first = xp.exp2(maximum[..., None] / below) * value[..., :below]
    second = xp.exp2(maximum[..., None] / (2 * below)) * value[..., below:]
    return xp.concatenate([first, second], axis=-1)


wrong(
    slopes,
    "The slopes are sorted, so that heads of a trained model get those of others",
    output=lambda y: namespace(y).sort(y, axis=-1)[..., ::-1],
    source="https://github.com/antofuller/CROMA/issues/12",
)


@slopes.mutant
def first_of_twice_as_many(maximum, *, heads, rule):
    """The extra heads get the first slopes of 2c heads, not every second one"""
    below = 1 << (heads.bit_length() - 1)
    if rule != "split" or below == heads:
        return alibi_slopes(maximum, heads=heads, rule=rule)
    xp = namespace(maximum)
    parts = [alibi_slopes(maximum, heads=n) for n in (below, 2 * below)]
    return xp.concatenate([parts[0], parts[1][..., : heads - below]], axis=-1)


@slopes.mutant
def of_the_next_power(maximum, *, heads, rule):
    """It cuts the slopes of the next power of two to the number of heads"""
    if rule == "geometric":
        return alibi_slopes(maximum, heads=heads, rule=rule)
    return alibi_slopes(maximum, heads=1 << (heads - 1).bit_length())[..., :heads]


wrong(
    slopes,
    "alibi_bias_max is ignored: it is always 8",
    arrays={"alibi_bias_max": lambda x: 0 * x + 8},
)
wrong(
    slopes, "Powers of e instead of 2", arrays={"alibi_bias_max": lambda x: x * 1.4426950408889634}
)


@slopes.mutant(gradient=True)
def gradient_of_powers_of_e(g, maximum, *, heads, rule):
    """The factor log 2 is missing"""
    return (alibi_slopes.vjp(g, maximum, heads=heads, rule=rule)[0] * 1.4426950408889634,)


# ----------------------------------------------------------------------------------------- ALiBi


@alibi.mutant(source="https://github.com/meta-pytorch/attention-gym/pull/86")
def rewards_distance(m, queries, keys, *, sides):
    """The sign is wrong: far keys get more"""
    return alibi_bias(-m, queries, keys, sides=sides)


@alibi.mutant(source="https://github.com/vllm-project/vllm/pull/945")
def one_too_far(m, queries, keys, *, sides):
    """Distances are one too large: the query's own key gets one slope less"""
    return alibi_bias(m, queries, keys, sides=sides) - m[..., :, None, None]


wrong(
    alibi,
    "Queries after a cache count from 0: one row in decoding is not the last row of all",
    name="queries_from_zero",
    arrays={"query_positions": by_place},
    source="https://github.com/Dao-AILab/flash-attention/issues/907",
)
wrong(
    alibi,
    "Keys count by their place in memory, padding included",
    name="keys_by_their_place",
    arrays={"key_positions": by_place},
    source="https://github.com/Dao-AILab/flash-attention/issues/1585",
)


@alibi.mutant(source="https://github.com/ofirpress/attention_with_linear_biases/issues/5")
def key_index_for_all(m, queries, keys, *, sides):
    """It adds the slope times the key's index where all keys are seen"""
    sides = "key_index" if sides == "symmetric" else sides
    return alibi_bias(m, queries, keys, sides=sides)


@alibi.mutant
def future_is_free(m, queries, keys, *, sides):
    """Later keys get 0 instead of the distance"""
    value = alibi_bias(m, queries, keys, sides=sides)
    if sides != "symmetric":
        return value
    later = keys[..., None, None, :] > queries[..., None, :, None]
    return namespace(m).where(later, 0.0, value)


@alibi.mutant(source="https://github.com/huggingface/transformers/issues/29946")
def scaled_like_the_logits(m, queries, keys, *, sides):
    """It is scaled by 1/sqrt(64) together with the logits, as in Falcon"""
    return alibi_bias(m, queries, keys, sides=sides) / 8


@alibi.mutant(source="https://github.com/NVIDIA/TensorRT-Model-Connect/issues/667")
def rounded_to_bfloat16(m, queries, keys, *, sides):
    """Slopes, and products with the distance, are rounded to bfloat16, as in Falcon"""
    rounded = like(round_to(to_host(m), "bfloat16"), m)
    value = to_host(alibi_bias(rounded, queries, keys, sides=sides))
    return like(round_to(value, "bfloat16"), m)


wrong(alibi, "Slopes go to the heads in reverse order", arrays={"slopes": lambda x: x[..., ::-1]})
wrong(
    alibi,
    "Later keys are not masked in the causal form",
    options={"sides": lambda x: "symmetric" if x == "causal" else x},
)


@alibi.mutant(gradient=True)
def gradient_over_all_pairs(g, m, queries, keys, *, sides):
    """The causal form counts pairs that its mask leaves out"""
    sides = "symmetric" if sides == "causal" else sides
    return alibi_bias.vjp(1.0 + g, m, queries, keys, sides=sides)


# ---------------------------------------------------------------------------------------- KERPLE


wrong(
    kerple,
    "The power for the logarithm, or the reverse",
    options={"kernel": lambda x: "log" if x == "power" else "power"},
    arrays={"rates": lambda x: namespace(x).minimum(x, 2)},
)


@kerple.mutant
def rate_outside_the_logarithm(r, s, queries, keys, *, kernel):
    """The rate multiplies the result instead of the distance"""
    return s[..., :, None, None] * kerple_bias(r, s * 0 + 1, queries, keys, kernel=kernel)


@kerple.mutant
def distance_from_one(r, s, queries, keys, *, kernel):
    """Later keys, and the own one, count as a distance further: |i - j| + 1"""
    xp = namespace(r)
    ahead = xp.where(keys[..., None, :] > queries[..., :, None], 1, -1)
    rows = [
        kerple_bias(r, s, queries[..., i : i + 1], keys + ahead[..., i, :], kernel=kernel)
        for i in range(queries.shape[-1])
    ]
    return (
        xp.concatenate(rows, axis=-2) if rows else kerple_bias(r, s, queries, keys, kernel=kernel)
    )


@kerple.mutant
def binary_logarithm(r, s, queries, keys, *, kernel):
    """The logarithm is to base 2"""
    factor = 1.4426950408889634 if kernel == "log" else 1.0
    return factor * kerple_bias(r, s, queries, keys, kernel=kernel)


@kerple.mutant
def past_only(r, s, queries, keys, *, kernel):
    """Later keys get 0 instead of the distance"""
    value = kerple_bias(r, s, queries, keys, kernel=kernel)
    later = keys[..., None, None, :] > queries[..., None, :, None]
    return namespace(r).where(later, 0.0, value)


wrong(
    kerple, "Every head has the rate of the first", arrays={"rates": lambda x: x[..., :1] + 0 * x}
)


@kerple.mutant(gradient=True)
def rate_gradient_of_a_sum(g, r, s, queries, keys, *, kernel):
    """The gradient by the rate lacks the factor of the strength"""
    dr, ds = kerple_bias.vjp(g, r, s, queries, keys, kernel=kernel)
    return dr, ds / r
