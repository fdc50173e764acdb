"""Positions of the tokens of padded sequences."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import astype, namespace
from refimpl.formula import formula
from refimpl.formula.options import Whole


@formula(
    "(n)->(n)",
    source="Ott et al. 2019 (fairseq, arXiv:1904.01038), utils.make_positions",
    kinds={"mask": "boolean"},
    differentiable=False,
    reason="positions are whole numbers",
    returns="index",
)
def token_positions(mask, /, *, convention: Literal["count", "fairseq"], padding_index: Whole = 1):
    r"""Positions of tokens by counting, so that padding on the left does not move them.

    Formula
    -------
    With :math:`c_k = \sum_{j \le k} m_j`

    .. math:: \text{"count"}:\ \max(c_k - 1,\ 0), \qquad
        \text{"fairseq"}:\ c_k\, m_k + \text{padding\_index}

    Parameters
    ----------
    mask : boolean (..., n), True for tokens, False for padding.
    convention : "count" or "fairseq".
    padding_index : int. The row of padding in a table of "fairseq".

    Returns
    -------
    int64 (..., n). With "count" tokens have 0, 1, ... and padding after them that of the last one;
    with "fairseq" tokens have padding_index + 1, ..., and padding has padding_index.

    Raises
    ------
    ValueError
        Unknown convention; a ``padding_index`` that is not whole.
    TypeError
        No convention; a mask that is not boolean.

    Conventions
    -----------
    "count": GPT-2, Llama and others in Hugging Face, which put 1 or 0 at padding itself: what is
    there is masked. "fairseq": RoBERTa, XLM-R, with rows of the table from padding_index + 1 = 2
    on. OPT has "count" and a table that begins at row 2 (``offset`` of :func:`learned_encoding`).

    Breaks when
    -----------
    Never.

    References
    ----------
    Ott et al. 2019 (arXiv:1904.01038); tloen/alpaca-lora issue 315; huggingface/transformers issue
    19581.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.token_positions([False, False, True, True], convention="count")
    array([0, 0, 0, 1])
    """
    xp = namespace(mask)
    count = xp.cumsum(astype(mask, "int64"), axis=-1)
    if convention == "count":
        return xp.maximum(count - 1, 0)
    return count * mask + padding_index
