"""Grouped-query attention: several heads of queries share one head of keys and values."""

from __future__ import annotations

from refimpl.attention.softmax import softmax_attention, softmax_attention_vjp
from refimpl.backend import namespace
from refimpl.formula import formula
from refimpl.formula.options import Causal, Empty, Positive, Whole, Window

_KEYWORDS = {"mask": "(h|1,n|1,m|1)", "bias": "(h|1,n|1,m|1)", "scale": "()", "sink": "(h)"}


@formula(
    "(h,n,d),(g,m,d),(g,m,v)->(h,n,v)",
    keywords=_KEYWORDS,
    kinds={"mask": "boolean"},
    source="Ainslie et al. 2023 (arXiv:2305.13245); Shazeer 2019 (arXiv:1911.02150)",
)
def grouped_query_attention(
    q,
    k,
    v,
    /,
    *,
    mask=None,
    bias=None,
    scale=None,
    causal: Causal = None,
    window: Window | None = None,
    offset: Whole | None = None,
    softcap: Positive | None = None,
    sink=None,
    empty: Empty = "zero",
):
    r"""Softmax attention in which the heads of queries share fewer heads of keys and values.

    Formula
    -------
    .. math:: O_a = \operatorname{attention}(Q_a, K_b, V_b), \qquad
        b = \lfloor a\, g / h \rfloor

    with h heads of queries and g of keys: neighbours share a head.

    Parameters
    ----------
    q : (..., h, n, d) queries; k : (..., g, m, d) keys; v : (..., g, m, v) values. g divides h;
        g = 1 is multi-query attention.
    mask, bias : (..., h or 1, n or 1, m or 1), optional.
    sink : (..., h), optional. One logit for each head of queries.
    Other options as in :func:`softmax_attention`.

    Returns
    -------
    (..., h, n, v)

    Raises
    ------
    ValueError
        A number of query heads that is no multiple of that of key heads; as
        :func:`softmax_attention`.

    Conventions
    -----------
    Keys are repeated one by one, h0 h0 h1 h1, as in torch, JAX, ONNX and Hugging Face. Repeating
    them as a whole, h0 h1 h0 h1, is a bug that two query heads or one key head cannot show.
    Gradients of keys and values sum over their group.

    Breaks when
    -----------
    As :func:`softmax_attention`.

    References
    ----------
    Ainslie et al. 2023 (arXiv:2305.13245); onnx/onnx pull request 7274.

    Examples
    --------
    >>> import refimpl
    >>> q, k, v = [[[0.0]]] * 4, [[[1.0]]] * 2, [[[2.0]], [[3.0]]]
    >>> refimpl.grouped_query_attention(q, k, v)[:, 0, 0]
    array([2., 2., 3., 3.])
    """
    arrays, grouped = _grouped(q, k, v, mask, bias, scale, sink)
    output = softmax_attention.__wrapped__(
        *arrays,
        **grouped,
        causal=causal,
        window=window,
        offset=offset,
        softcap=softcap,
        empty=empty,
    )
    return _joined(output, 2)


@grouped_query_attention.form("textbook")
def grouped_query_attention_textbook(q, k, v, /, *, scale=None, **options):
    """Every head of keys and values is repeated for the queries that share it."""
    repeats = _group_size(q, k)
    k, v = (namespace(x).repeat(x, repeats, axis=-3) for x in (k, v))
    scale = None if scale is None else scale[..., None]
    return softmax_attention.__wrapped__(q, k, v, scale=scale, **options)


@grouped_query_attention.defvjp
def grouped_query_attention_vjp(
    g, q, k, v, /, *, mask=None, bias=None, scale=None, sink=None, **options
):
    """As softmax attention, summed over the heads that share."""
    arrays, grouped = _grouped(q, k, v, mask, bias, scale, sink)
    g = _split(g, k.shape[-3], 2)
    found = softmax_attention_vjp(g, *arrays, **grouped, **options)
    dq, dk, dv, dbias, dscale, dsink = found
    dbias = None if bias is None else _joined(dbias, 2)
    dscale = None if scale is None else dscale.sum(axis=(-1, -2))
    dsink = None if sink is None else _joined(dsink, 0)
    return _joined(dq, 2), dk.sum(axis=-3), dv.sum(axis=-3), dbias, dscale, dsink


def _group_size(q, k):
    """How many heads of queries share one of keys."""
    heads, shared = q.shape[-3], k.shape[-3]
    if shared == 0 or heads % shared:
        raise ValueError(
            f"q: expected a multiple of the {shared} heads of keys and values, got {heads} heads"
        )
    return heads // shared


def _grouped(q, k, v, mask, bias, scale, sink):
    """Arrays whose leading axes are (..., key head, query head in its group)."""
    _group_size(q, k)
    shared = k.shape[-3]
    keywords = {
        "mask": None if mask is None else _split(mask, shared, 2),
        "bias": None if bias is None else _split(bias, shared, 2),
        "scale": None if scale is None else scale[..., None, None],
        "sink": None if sink is None else _split(sink, shared, 0),
    }
    return (_split(q, shared, 2), k[..., :, None, :, :], v[..., :, None, :, :]), keywords


def _split(x, shared, core):
    """The axis of the query heads, before ``core`` axes, as (key head, head in the group)."""
    lead, heads, rest = _parts(x, core, 1)
    if heads == (1,):
        return x.reshape((*lead, 1, 1, *rest))
    return x.reshape((*lead, shared, heads[0] // shared, *rest))


def _joined(x, core):
    """The inverse: one axis of query heads."""
    lead, heads, rest = _parts(x, core, 2)
    return x.reshape((*lead, heads[0] * heads[1], *rest))


def _parts(x, core, count):
    """Leading axes, ``count`` axes of heads, and the ``core`` axes behind them."""
    split = x.ndim - core
    return x.shape[: split - count], x.shape[split - count : split], x.shape[split:]
