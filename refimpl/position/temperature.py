"""The scale of queries that grows with their position, for sequences beyond those of training."""

from __future__ import annotations

from typing import Annotated

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_nonnegative
from refimpl.formula import formula
from refimpl.formula.options import Choice, Finite, Positive

CountedFrom = Annotated[int, Choice((1, 0), ("Llama 4", "Ministral 3, Mistral 4"))]
"""The number of the first position."""


@formula(
    "()->()",
    source="Meta 2025 (Llama 4); Nakanishi 2025 (Scalable-Softmax, arXiv:2501.19399)",
    kinds={"positions": "exact"},
    differentiable=False,
    reason="it is constant within each block of positions",
)
def position_query_scale(
    positions,
    /,
    *,
    counted_from: CountedFrom,
    floor_scale: Positive = 8192.0,
    attention_scale: Finite = 0.1,
):
    r"""The factor of a query at each position: 1 at first, then the logarithm of its block.

    Formula
    -------
    .. math:: s_m = 1 + \beta \log\Bigl(1 + \Bigl\lfloor \frac{m + c}{B} \Bigr\rfloor\Bigr)

    Parameters
    ----------
    positions : (...,) m, integers or float64, from 0; not negative.
    counted_from : 0 or 1. c, the number of the first position. See Conventions.
    floor_scale : number > 0. B, the length of a block.
    attention_scale : number. :math:`\beta`.

    Returns
    -------
    (...,) float64, which multiplies the query (so the logits) at that position.

    Raises
    ------
    ValueError
        ``counted_from`` neither 0 nor 1; B not positive and finite; negative or infinite positions.
    TypeError
        No ``counted_from``; positions in float16 or float32.

    Conventions
    -----------
    Llama 4 counts from 1, in its layers without rotation only. Ministral 3 and Mistral 4 in
    transformers count from 0, with their ``original_max_position_embeddings`` as B. The logarithm
    of the length itself, max(1, log_n0 n), as in kexue.fm/archives/8823, Qwen and ReRoPE, is
    :func:`log_length_scale` with ``clip=True``.

    Breaks when
    -----------
    It jumps between blocks: from 1 to 1.0693 at the first one.

    References
    ----------
    Hugging Face transformers, llama4, ministral3 and mistral4; Nakanishi 2025 (arXiv:2501.19399).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.position_query_scale([0, 8190, 8191, 131071], counted_from=1).round(6)
    array([1.      , 1.      , 1.069315, 1.283321])
    """
    require_nonnegative("positions", positions)
    numbers = astype(positions, result_type(positions)) + counted_from
    xp = namespace(positions)
    return 1 + attention_scale * xp.log1p(xp.floor(numbers / floor_scale))
