"""Wrong variants of encodings from tables."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.tables import hierarchy, interpolated, learned
from refimpl.position.tables import (
    hierarchical_encoding,
    interpolated_encoding,
    learned_encoding,
)


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


wrong(learned, "Rows are counted from the end", arrays={"table": lambda x: x[..., ::-1, :]})


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
