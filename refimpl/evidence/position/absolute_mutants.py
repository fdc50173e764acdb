"""Wrong variants of encodings of absolute position: public bugs and their neighbours."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace, to_host
from refimpl.evidence.position.absolute import hierarchy, interpolated, learned, sinusoids
from refimpl.numerics import round_to
from refimpl.position.absolute import (
    hierarchical_encoding,
    interpolated_encoding,
    learned_encoding,
    sinusoidal_encoding,
)

# ------------------------------------------------------------------------------------- sinusoids


@sinusoids.mutant(source="https://github.com/tatp22/multidim-positional-encoding/issues/20")
def the_other_layout(k, *, layout, **options):
    """Halves for interleaved columns, or the reverse"""
    other = "half" if layout == "interleaved" else "interleaved"
    return sinusoidal_encoding(k, layout=other, **options)


@sinusoids.mutant
def the_other_order(k, *, order, **options):
    """Cosine first for sine first, or the reverse"""
    other = "cos_first" if order == "sin_first" else "sin_first"
    return sinusoidal_encoding(k, order=other, **options)


@sinusoids.mutant(source="https://github.com/tensorflow/tensor2tensor/issues/1423")
def the_other_frequencies(k, *, frequencies, **options):
    """Frequencies of tensor2tensor for those of the paper, or the reverse"""
    other = "paper" if frequencies == "t2t" else "t2t"
    if options["dim"] < 4:
        return sinusoidal_encoding(k, frequencies=frequencies, **options)
    return sinusoidal_encoding(k, frequencies=other, **options)


@sinusoids.mutant(source="https://github.com/shenweichen/DeepCTR/issues/379")
def column_as_index(k, *, dim, order, layout, frequencies, base=10000.0):
    """The column, not half of it, is in the exponent: sine and cosine have their own frequencies"""
    xp = namespace(k)
    column = xp.arange(dim)
    angles = k[..., None] * base ** (-2.0 * column / dim)
    second = column % 2 == 1 if layout == "interleaved" else column >= dim - dim // 2
    is_sine = second if order == "cos_first" else ~second
    return xp.where(is_sine, xp.sin(angles), xp.cos(angles))


@sinusoids.mutant
def half_the_exponent(k, *, base=10000.0, **options):
    """The 2 of the exponent is missing: the base is its root"""
    return sinusoidal_encoding(k, base=base**0.5, **options)


@sinusoids.mutant
def counts_from_one(k, **options):
    """Positions count from 1"""
    return sinusoidal_encoding(k + 1, **options)


@sinusoids.mutant
def positions_in_bfloat16(k, **options):
    """Positions are rounded to bfloat16"""
    rounded = round_to(to_host(k).astype(np.float64), "bfloat16")
    return sinusoidal_encoding(like(rounded, k), **options)


@sinusoids.mutant
def last_column_of_odd_width_missing(k, *, dim, **options):
    """For an odd width the last column stays zero, or has what it should not"""
    y = sinusoidal_encoding(k, dim=dim, **options)
    if dim % 2 == 0:
        return y
    xp = namespace(k)
    filled = xp.cos(1.0 * k)[..., None] if options["frequencies"] == "t2t" else 0.0 * y[..., -1:]
    return xp.concatenate([y[..., :-1], filled], axis=-1)


@sinusoids.mutant
def base_ignored(k, *, base=10000.0, **options):
    """The base is always 10000"""
    return sinusoidal_encoding(k, **options)


@sinusoids.mutant(gradient=True)
def gradient_without_frequencies(g, k, *, dim, base=10000.0, **options):
    """The gradient lacks the factor of the frequency"""
    (total,) = sinusoidal_encoding.vjp(g, k, dim=dim, base=base, **options)
    return (total + 0.1 * g.sum(axis=-1),)


@sinusoids.mutant(gradient=True)
def gradient_turned(g, k, **options):
    """The gradient has the wrong sign"""
    return (-sinusoidal_encoding.vjp(g, k, **options)[0],)


# ---------------------------------------------------------------------------------------- tables


@learned.mutant(source="https://github.com/huggingface/transformers/issues/19240")
def offset_ignored(table, k, *, offset=0):
    """The offset is ignored"""
    return learned_encoding(table, k)


@learned.mutant
def one_row_further(table, k, *, offset=0):
    """Positions count from 1"""
    return learned_encoding(table, k, offset=offset + 1)


@learned.mutant(source="https://github.com/huggingface/transformers/issues/19581")
def tokens_by_their_place(table, k, *, offset=0):
    """Tokens are counted by their place, whatever their position"""
    places = namespace(table).arange(k.shape[-1]) % max(table.shape[-2] - offset, 1)
    return learned_encoding(table, k * 0 + places, offset=offset)


@learned.mutant
def from_the_end(table, k, *, offset=0):
    """Rows are counted from the end"""
    return learned_encoding(table[..., ::-1, :], k, offset=offset)


@learned.mutant(gradient=True)
def last_token_of_each_row(g, table, k, *, offset=0):
    """Of all tokens at a position one counts: duplicates do not add up"""
    (total,) = learned_encoding.vjp(g, table, k, offset=offset)
    (count,) = learned_encoding.vjp(0 * g + 1, table, k, offset=offset)
    return (total / namespace(table).maximum(count, 1),)


@learned.mutant(gradient=True)
def gradient_without_offset(g, table, k, *, offset=0):
    """Cotangents go to rows without the offset"""
    return learned_encoding.vjp(g, table, k)


@hierarchy.mutant
def digits_exchanged(table, k, *, alpha=0.4):
    """Quotient and remainder are exchanged"""
    r = table.shape[-2]
    return hierarchical_encoding(table, k % r * r + k // r, alpha=alpha)


@hierarchy.mutant
def weights_of_the_table_itself(table, k, *, alpha=0.4):
    """It mixes rows of the table instead of u: trained positions change"""
    a = _next_to(table, alpha)
    r = table.shape[-2]
    return a * learned_encoding(table, k // r) + (1 - a) * learned_encoding(table, k % r)


def _next_to(table, alpha):
    a = namespace(table).asarray(alpha, dtype=table.dtype)
    return a[..., None, None]


@hierarchy.mutant
def always_four_tenths(table, k, *, alpha=0.4):
    """alpha is always 0.4"""
    return hierarchical_encoding(table, k)


@hierarchy.mutant
def without_the_first(table, k, *, alpha=0.4):
    """u has alpha in place of alpha p_0"""
    a = _next_to(table, alpha)
    u = (table - a) / (1 - a)
    r = table.shape[-2]
    return a * learned_encoding(u, k // r) + (1 - a) * learned_encoding(u, k % r)


@hierarchy.mutant
def repeated(table, k, *, alpha=0.4):
    """Positions start again at the end of the table"""
    return hierarchical_encoding(table, k % table.shape[-2], alpha=alpha)


@hierarchy.mutant(gradient=True)
def first_row_without_its_share(g, table, k, *, alpha=0.4):
    """The first row does not get what goes to all u through it"""
    found = hierarchical_encoding.vjp(g, table, k, alpha=alpha)
    a = _next_to(table, alpha)
    r = table.shape[-2]
    high, low = (learned_encoding.vjp(g, table, x)[0] for x in (k // r, k % r))
    return ((a * high + (1 - a) * low) / (1 - a), *found[1:])


@hierarchy.mutant(gradient=True)
def gradient_of_the_mixture(g, table, k, *, alpha=0.4):
    """The factor 1/(1 - alpha) of u is missing"""
    found = hierarchical_encoding.vjp(g, table, k, alpha=alpha)
    return (found[0] * (1 - _next_to(table, alpha)), *found[1:])


@interpolated.mutant(source="https://github.com/facebookresearch/dinov2/issues/378")
def the_other_corners(table, *, align_corners, **options):
    """Corners are aligned instead of cells, or the reverse"""
    return interpolated_encoding(table, align_corners=not align_corners, **options)


@interpolated.mutant(source="https://github.com/facebookresearch/dino/issues/8")
def by_a_rounded_factor(table, *, length, **options):
    """Places come from a scale factor that is a tenth of a position too large"""
    longer = interpolated_encoding(table, length=10 * length + 1, **options)
    return longer[..., 4 : 10 * length : 10, :]


@interpolated.mutant
def nearest(table, *, length, align_corners, kernel="linear", cubic=-0.75):
    """The nearest row is taken"""
    r = table.shape[-2]
    xp = namespace(table)
    k = xp.arange(length)
    x = k * (r - 1) / max(length - 1, 1) if align_corners else (k + 0.5) * r / length - 0.5
    return learned_encoding(table, xp.clip(xp.floor(x + 0.5), 0, r - 1).astype("int64"))


@interpolated.mutant
def the_other_kernel(table, *, kernel="linear", **options):
    """Linear for cubic, or the reverse"""
    other = "cubic" if kernel == "linear" else "linear"
    return interpolated_encoding(table, kernel=other, **options)


@interpolated.mutant
def the_other_cubic(table, *, kernel="linear", cubic=-0.75, **options):
    """The cubic has -1/2 for -3/4, or the reverse"""
    other = -0.5 if cubic == -0.75 else -0.75
    return interpolated_encoding(table, kernel=kernel, cubic=other, **options)


@interpolated.mutant
def cells_begin_at_the_row(table, *, length, align_corners, kernel="linear", cubic=-0.75):
    """Places are k r/n, without the half cell"""
    if align_corners or kernel == "cubic":
        return table[..., :1, :] + 0 * interpolated_encoding(
            table, length=length, align_corners=align_corners
        )
    r = table.shape[-2]
    xp = namespace(table)
    x = xp.minimum(xp.arange(length) * r / length, r - 1.0)
    low = xp.floor(x).astype("int64")
    w = (x - low)[:, None]
    high = xp.minimum(low + 1, r - 1)
    return (1 - w) * learned_encoding(table, low) + w * learned_encoding(table, high)


@interpolated.mutant(gradient=True)
def gradient_interpolated_back(g, table, *, length, **options):
    """The cotangent is interpolated back to the rows instead of spread by the weights"""
    return (interpolated_encoding(g, length=table.shape[-2], **options),)


@interpolated.mutant(gradient=True)
def gradient_upside_down(g, table, **options):
    """The gradient is upside down"""
    return (interpolated_encoding.vjp(g, table, **options)[0][..., ::-1, :] * 0.5,)
