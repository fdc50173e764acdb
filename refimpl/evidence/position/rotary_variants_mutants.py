"""Wrong variants of xPos, ReRoPE and rotation of values."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace, to_host
from refimpl.evidence.position.rotary_variants import mixture, rerope, xpos
from refimpl.numerics import round_to
from refimpl.position.rotary import rotary_embedding
from refimpl.position.rotary_variants import rerope_logits, value_rotary_mixture, xpos_embedding

_OTHER = {"half": "interleaved", "interleaved": "half", "query": "key", "key": "query"}


# ---------------------------------------------------------------------------------------- xPos


@xpos.mutant
def queries_and_keys_alike(x, positions, **options):
    """Keys grow as queries do: the powers do not cancel"""
    return xpos_embedding(x, positions, **options | {"role": "query"})


@xpos.mutant
def roles_swapped(x, positions, **options):
    """Queries decay and keys grow"""
    return xpos_embedding(x, positions, **options | {"role": _OTHER[options["role"]]})


@xpos.mutant(source="https://github.com/Dao-AILab/flash-attention/issues/522")
def centre_of_the_sequence(x, positions, **options):
    """The centre is half the length of the sequence at hand, whatever is given"""
    return xpos_embedding(x, positions, **options | {"centre": float(x.shape[-2] // 2)})


@xpos.mutant(source="https://github.com/lucidrains/x-transformers/issues/233")
def centre_of_the_highest_position(x, positions, **options):
    """The centre is half the number of positions up to the highest, whatever is given"""
    highest = float(to_host(positions).max(initial=0.0))
    return xpos_embedding(x, positions, **options | {"centre": (highest + 1) // 2})


@xpos.mutant(source="https://github.com/lucidrains/rotary-embedding-torch/pull/27")
def keys_have_their_own_centre(x, positions, **options):
    """Keys are centred by their number, queries by what is given: decoding is not prefill"""
    if options["role"] == "query":
        return xpos_embedding(x, positions, **options)
    return xpos_embedding(x, positions, **options | {"centre": float(x.shape[-2])})


@xpos.mutant(source="https://github.com/lucidrains/rotary-embedding-torch/pull/27")
def queries_are_their_own_centre(x, positions, **options):
    """The centre of queries is half their own number, 0 in decoding, where keys have another"""
    centre = 0.0 if options["role"] == "query" else options["centre"]
    return xpos_embedding(x, positions, **options | {"centre": centre})


@xpos.mutant
def positions_in_bfloat16(x, positions, **options):
    """Positions are rounded to bfloat16: from 257 on they collide"""
    rounded = round_to(to_host(positions).astype(np.float64), "bfloat16")
    return xpos_embedding(x, like(rounded, x), **options)


@xpos.mutant
def rotated_from_the_centre(x, positions, **options):
    """Angles count from the centre, too"""
    moved = xpos_embedding(x, positions - options["centre"], **options | {"centre": 0.0})
    return moved


@xpos.mutant
def not_divided_by_the_scale_base(x, positions, **options):
    """The scale base is always 512"""
    return xpos_embedding(x, positions, **options | {"scale_base": 512.0})


@xpos.mutant
def without_decay(x, positions, *, pairing, base=10000.0, **options):
    """The decay is missing: plain rotary embedding"""
    return rotary_embedding(x, positions, pairing=pairing, base=base)


@xpos.mutant
def twice_the_decay(x, positions, *, scale_base=512.0, **options):
    """The exponent is 2n/B instead of n/B"""
    return xpos_embedding(x, positions, scale_base=scale_base / 2, **options)


@xpos.mutant
def without_gamma(x, positions, **options):
    """gamma is 0.5 whatever is asked for"""
    return xpos_embedding(x, positions, **options | {"gamma": 0.5})


@xpos.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def xpos_of_the_other_pairing(x, positions, **options):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    return xpos_embedding(x, positions, **options | {"pairing": _OTHER[options["pairing"]]})


@xpos.mutant(gradient=True)
def gradient_of_the_other_role(g, x, positions, **options):
    """The backward pass scales by the power of the other role"""
    return xpos_embedding.vjp(g, x, positions, **options | {"role": _OTHER[options["role"]]})


@xpos.mutant(gradient=True)
def gradient_without_the_power(g, x, positions, *, pairing, base=10000.0, **options):
    """The backward pass is that of plain rotation"""
    return rotary_embedding.vjp(g, x, positions, pairing=pairing, base=base)


# -------------------------------------------------------------------------------------- ReRoPE


@rerope.mutant
def plain_rotation(q, k, rows, columns, **options):
    """Distances go on beyond the window: rotary embedding"""
    return rerope_logits(q, k, rows, columns, **options | {"leak": 1.0})


@rerope.mutant
def leak_ignored(q, k, rows, columns, **options):
    """Distances stop at the window also where they should grow slower"""
    return rerope_logits(q, k, rows, columns, **options | {"leak": None})


@rerope.mutant
def window_one_too_wide(q, k, rows, columns, **options):
    """Distances stop one token later"""
    return rerope_logits(q, k, rows, columns, **options | {"window": options["window"] + 1})


@rerope.mutant
def origin_beyond_the_window(q, k, rows, columns, **options):
    """Beyond the window products are not rotated at all"""
    near = rerope_logits(q, k, rows, columns, **options | {"leak": 1.0})
    within = rows[..., :, None] - columns[..., None, :] < options["window"]
    return namespace(q).where(within, near, q @ k.swapaxes(-1, -2))


@rerope.mutant
def nothing_beyond_the_window(q, k, rows, columns, **options):
    """Beyond the window logits are zero, as of windowed attention before its mask"""
    within = rows[..., :, None] - columns[..., None, :] < options["window"]
    return rerope_logits(q, k, rows, columns, **options) * within


@rerope.mutant
def keys_ahead_clipped(q, k, rows, columns, **options):
    """Keys more than a window ahead count as a window behind: the released code compares |t|"""
    right = rerope_logits(q, k, rows, columns, **options)
    window = options["window"]
    behind = rerope_logits(q, k, 0 * rows + window, 0 * columns, **options)
    ahead = columns[..., None, :] - rows[..., :, None] >= window
    return namespace(q).where(ahead, behind, right)


@rerope.mutant
def turned_backwards(q, k, rows, columns, **options):
    """Queries and keys turn against each other: the sign of the distance is reversed"""
    window = options["window"]
    t = rows[..., :, None] - columns[..., None, :]
    xp = namespace(q)
    if options.get("leak") is None:
        rho = xp.where(t < window, t, window)
    else:
        rho = xp.where(t < window, t, window + (t - window) / options["leak"])
    pairing, base = options["pairing"], options.get("base", 10000.0)
    turned = rotary_embedding(k[..., None, :, :], rho * 1.0, pairing=pairing, base=base)
    return (q[..., :, None, :] * turned).sum(axis=-1)


@rerope.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def rerope_of_the_other_pairing(q, k, rows, columns, **options):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    other = _OTHER[options["pairing"]]
    return rerope_logits(q, k, rows, columns, **options | {"pairing": other})


@rerope.mutant(gradient=True)
def gradient_of_plain_rotation(g, q, k, rows, columns, **options):
    """The backward pass forgets that distances stop"""
    return rerope_logits.vjp(g, q, k, rows, columns, **options | {"leak": 1.0})


@rerope.mutant(gradient=True)
def gradient_of_products(g, q, k, rows, columns, **options):
    """The backward pass forgets the rotation"""
    return g @ k, g.swapaxes(-1, -2) @ q


# -------------------------------------------------------------------------------------- values


@mixture.mutant
def not_rotated_back(weights, values, rows, columns, **options):
    """Outputs are not rotated back: they see absolute positions"""
    return weights @ rotary_embedding(values, columns, **options)


@mixture.mutant
def values_not_rotated(weights, values, rows, columns, **options):
    """Only outputs are rotated back, values are not rotated"""
    return rotary_embedding(weights @ values, rows, inverse=True, **options)


@mixture.mutant
def rotated_on(weights, values, rows, columns, **options):
    """Outputs are rotated forward, by the sum of the positions"""
    return rotary_embedding(weights @ rotary_embedding(values, columns, **options), rows, **options)


@mixture.mutant
def distance_reversed(weights, values, rows, columns, **options):
    """Values are rotated by the distance from key to query"""
    return value_rotary_mixture(weights, values, -rows, -columns, **options)


@mixture.mutant
def no_rotation(weights, values, rows, columns, **options):
    """Nothing is rotated: the plain product"""
    return weights @ values


@mixture.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def values_of_the_other_pairing(weights, values, rows, columns, **options):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    other = _OTHER[options["pairing"]]
    return value_rotary_mixture(weights, values, rows, columns, **options | {"pairing": other})


@mixture.mutant(gradient=True)
def gradient_of_the_product(g, weights, values, rows, columns, **options):
    """The backward pass forgets the rotations"""
    rest = value_rotary_mixture.vjp(g, weights, values, rows, columns, **options)[2:]
    return g @ values.swapaxes(-1, -2), weights.swapaxes(-1, -2) @ g, *rest


@mixture.mutant(gradient=True)
def gradient_rotated_the_other_way(g, weights, values, rows, columns, **options):
    """The backward pass rotates by the reversed distance"""
    return value_rotary_mixture.vjp(g, weights, values, -rows, -columns, **options)
