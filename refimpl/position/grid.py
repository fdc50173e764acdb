"""Encodings of positions in a grid: the sinusoids of its rows beside those of its columns."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import namespace
from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import Even, Positive
from refimpl.position.absolute import sinusoidal_encoding, sinusoidal_encoding_vjp


@formula(
    "(n),(n)->(n,d)",
    source="He et al. 2022 (MAE, arXiv:2111.06377), appendix A.1; Carion et al. 2020 (DETR, "
    "arXiv:2005.12872)",
    kinds={"rows": "exact", "columns": "exact"},
    differentiable=("rows", "columns"),
)
def grid_sinusoidal_encoding(
    rows,
    columns,
    /,
    *,
    dim: Even,
    first: Literal["rows", "columns"],
    order: Literal["sin_first", "cos_first"],
    layout: Literal["interleaved", "half"],
    frequencies: Literal["paper", "t2t"],
    base: Positive = 10000.0,
):
    r"""Sinusoids of the row in one half of the features, and of the column in the other.

    Formula
    -------
    .. math:: p_k = [\,s(r_k)\ ;\ s(c_k)\,]\ (\text{first="rows"}) \qquad\text{or}\qquad
        p_k = [\,s(c_k)\ ;\ s(r_k)\,]\ (\text{first="columns"})

    where s is :func:`sinusoidal_encoding` of width d/2, with frequencies of that width.

    Parameters
    ----------
    rows, columns : (..., n) r and c of each patch, integers or float64. Those of a whole grid,
        row by row, are ``numpy.indices((height, width)).reshape(2, -1)``.
    dim : int. d, even, at least 4, or 8 for "t2t".
    first : "rows" or "columns". What the first half of the features has.
    order, layout, frequencies, base : as in :func:`sinusoidal_encoding`, within each half.

    Returns
    -------
    (..., n, dim) in float64.

    Raises
    ------
    ValueError
        An unknown choice; ``dim`` odd or too small; base not positive; positions not finite.
    TypeError
        A choice that is missing; positions in float16 or float32.

    Conventions
    -----------
    MAE has columns first, against the names in its code (issue 18 there), halves, and the paper's
    frequencies; the simple ViT of big_vision and vit-pytorch columns first, halves, and those of
    t2t. MoCo v3 calls its first half the width, which for square grids is the row. DETR has rows
    first, interleaved; its positions count from 1, and are divided by the last of them plus 1e-6
    and multiplied by 2 pi. Its learned tables have columns first. With a class token MAE puts a row
    of zeros before all.

    Breaks when
    -----------
    Grids that are flattened column by column, or whose axes are exchanged, look right as long as
    they are square. The product of two patches is a sum of one of both rows and one of both
    columns: no feature sees both, as those of :func:`axial_rotary_embedding` do not.

    References
    ----------
    He et al. 2022 (arXiv:2111.06377); Carion et al. 2020 (arXiv:2005.12872); Beyer et al. 2022
    (arXiv:2205.01580); facebookresearch/mae issue 18; huggingface/transformers issue 41380.

    Examples
    --------
    >>> import refimpl
    >>> choices = {"order": "sin_first", "layout": "half", "frequencies": "paper"}
    >>> refimpl.grid_sinusoidal_encoding([0, 1], [1, 0], dim=4, first="rows", **choices).round(6)
    array([[0.      , 1.      , 0.841471, 0.540302],
           [0.841471, 0.540302, 0.      , 1.      ]])
    """
    width = _half_width(rows, columns, dim, first, frequencies)
    half = {"order": order, "layout": layout, "frequencies": frequencies, "base": base}
    xp = namespace(rows)
    of_rows, of_columns = xp.broadcast_arrays(
        *(sinusoidal_encoding(x, dim=width, **half) for x in (rows, columns))
    )
    halves = [of_rows, of_columns] if first == "rows" else [of_columns, of_rows]
    return xp.concatenate(halves, axis=-1)


@grid_sinusoidal_encoding.defvjp
def grid_sinusoidal_encoding_vjp(
    g, rows, columns, /, *, dim, first, order, layout, frequencies, base=10000.0
):
    """Each half goes back to its own positions."""
    width = _half_width(rows, columns, dim, first, frequencies)
    half = {"order": order, "layout": layout, "frequencies": frequencies, "base": base}
    of_rows, of_columns = g[..., :width], g[..., width:]
    if first == "columns":
        of_rows, of_columns = of_columns, of_rows
    return (
        *sinusoidal_encoding_vjp(of_rows, rows, dim=width, **half),
        *sinusoidal_encoding_vjp(of_columns, columns, dim=width, **half),
    )


def _half_width(rows, columns, dim, first, frequencies):
    require_finite("rows", rows)
    require_finite("columns", columns)
    least = 8 if frequencies == "t2t" else 4
    if dim < least:
        raise ValueError(f"dim: expected an even number from {least} on, got {dim}")
    return dim // 2
