"""Wrong variants of ReRoPE."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.rerope import rerope
from refimpl.evidence.position.shared import OTHER
from refimpl.position.rerope import rerope_logits
from refimpl.position.rotary import rotary_embedding

wrong(rerope, "Distances go on beyond the window: rotary embedding", options={"leak": 1.0})
wrong(rerope, "Distances stop one token later", options={"window": lambda x: x + 1})


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


wrong(
    rerope,
    "It pairs features in the other way: half for interleaved, or interleaved for half",
    options={"pairing": OTHER.get},
    source="https://github.com/huggingface/transformers/issues/25199",
)


@rerope.mutant(gradient=True)
def gradient_of_plain_rotation(g, q, k, rows, columns, **options):
    """The backward pass forgets that distances stop"""
    return rerope_logits.vjp(g, q, k, rows, columns, **options | {"leak": 1.0})


@rerope.mutant(gradient=True)
def gradient_of_products(g, q, k, rows, columns, **options):
    """The backward pass forgets the rotation"""
    return g @ k, g.swapaxes(-1, -2) @ q
