"""Wrong variants of Transformer-XL's logits and shift: public bugs and their neighbours."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import by_place
from refimpl.evidence.position.transformer_xl import logits, shift
from refimpl.position.transformer_xl import relative_shift, transformer_xl_logits

# ---------------------------------------------------------------------------------------- logits


@logits.mutant(source="https://github.com/espnet/espnet/issues/2684")
def later_keys_by_the_shift(q, k, u, v, table, i, j, **options):
    """Later keys get the logit of the next query, which the shift of the code leaves there"""
    value = transformer_xl_logits(q, k, u, v, table, i, j, **options)
    xp = namespace(q)
    following = xp.concatenate([q[..., 1:, :], 0 * q[..., :1, :]], axis=-2)
    far = i * 0 + i.max(initial=0) + 1 if i.size else i
    wrong = transformer_xl_logits(following, k, u, v, table, far, j, **options)
    return xp.where(j[..., None, :] > i[..., :, None], wrong, value)


@logits.mutant
def sign_of_the_distance(q, k, u, v, table, i, j, **options):
    """The distance is key minus query"""
    return transformer_xl_logits(q, k, u, v, table, -i, -j, **options)


wrong(
    logits,
    "Rows are read from the largest distance down, as the code has them before its shift",
    arrays={"distance_keys": lambda x: x[..., ::-1, :]},
)


@logits.mutant
def distances_are_not_scaled(q, k, u, v, table, *positions, scale=None, **options):
    """The scale multiplies the content only"""
    tau = q.shape[-1] ** -0.5 if scale is None else scale
    content = transformer_xl_logits(q, k, u, v, 0 * table, *positions, scale=tau, **options)
    whole = transformer_xl_logits(q, k, u, v, table, *positions, scale=1.0, **options)
    return (
        content
        + whole
        - transformer_xl_logits(q, k, u, v, 0 * table, *positions, scale=1.0, **options)
    )


wrong(
    logits,
    "Queries after a memory count from 0",
    options={"clip": True},
    arrays={"query_positions": by_place},
)


@logits.mutant(gradient=True)
def table_gradient_without_the_bias(g, q, k, u, v, *rest, **options):
    """The gradient of the rows lacks the bias of positions"""
    found = transformer_xl_logits.vjp(g, q, k, u, v, *rest, **options)
    plain = transformer_xl_logits.vjp(g, q, k, u, 0 * v, *rest, **options)
    return (*found[:4], plain[4], *found[5:])


# ----------------------------------------------------------------------------------------- shift


@shift.mutant(
    source="https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/185"
)
def last_row_dropped(x, *, variant):
    """It drops the last row where the first must go: nothing is shifted in the first row"""
    xp = namespace(x)
    *batch, n, k = x.shape
    if variant == "xlnet":
        turned = x.reshape(*batch, k, n)[..., :-1, :].reshape(*batch, n, k - 1)
        return turned[..., : max(k - n, 0)]
    wide = xp.concatenate([xp.zeros_like(x[..., :1]), x], axis=-1)
    return wide.reshape(*batch, k + 1, n)[..., :-1, :].reshape(x.shape)


@shift.mutant(source="https://github.com/wenet-e2e/wenet/issues/1612")
def not_shifted(x, *, variant):
    """Nothing is shifted"""
    return x + 0 if variant == "transformer_xl" else x[..., : max(x.shape[-1] - x.shape[-2], 0)]


@shift.mutant(source="https://github.com/kimiyoung/transformer-xl/issues/138")
def upper_triangle_cleared(x, *, variant):
    """All of the upper triangle is zero, as the appendix of the paper draws it"""
    y = relative_shift(x, variant=variant)
    if variant == "xlnet":
        return y
    xp = namespace(x)
    n, k = x.shape[-2:]
    kept = xp.arange(k)[None, :] <= k - n + xp.arange(n)[:, None]
    return xp.where(kept, y, 0.0)


@shift.mutant
def padded_on_the_right(x, *, variant):
    """The column of zeros comes after the rows"""
    if variant == "xlnet":
        return relative_shift(
            namespace(x).concatenate([x[..., 1:], 0 * x[..., :1]], axis=-1), variant=variant
        )
    xp = namespace(x)
    *batch, n, k = x.shape
    wide = xp.concatenate([x, xp.zeros_like(x[..., :1])], axis=-1)
    return wide.reshape(*batch, k + 1, n)[..., 1:, :].reshape(x.shape)


@shift.mutant
def rolled(x, *, variant):
    """Rows are rolled, so that what leaves on one side comes back on the other"""
    xp = namespace(x)
    n, k = x.shape[-2:]
    offset = n if variant == "xlnet" else n - 1
    rows = [xp.roll(x[..., i, :], i - offset, axis=-1) for i in range(n)]
    y = xp.stack(rows, axis=-2)
    return y if variant == "transformer_xl" else y[..., : max(k - n, 0)]


@shift.mutant
def shifted_the_other_way(x, *, variant):
    """Rows are shifted by their index to the right instead of the left"""
    return relative_shift(x[..., ::-1, :], variant=variant)[..., ::-1, :]


@shift.mutant(gradient=True)
def gradient_not_shifted(g, x, *, variant):
    """The cotangent comes back in its own columns"""
    if variant == "transformer_xl":
        return (g + 0,)
    xp = namespace(x)
    rest = xp.zeros((*x.shape[:-1], x.shape[-1] - g.shape[-1]), dtype=g.dtype)
    return (xp.concatenate([g, rest], axis=-1),)


@shift.mutant(gradient=True)
def gradient_of_the_row_itself(g, x, *, variant):
    """What went to the row before comes from nowhere: the upper triangle has no gradient"""
    xp = namespace(x)
    n, m = g.shape[-2:]
    kept = xp.arange(m)[None, :] <= x.shape[-1] - n + xp.arange(n)[:, None]
    return relative_shift.vjp(xp.where(kept, g, 0.0), x, variant=variant)
