"""Random features of the exponential kernel (FAVOR+), and Performer attention made of them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from refimpl.attention.masks import band, is_large
from refimpl.backend import namespace
from refimpl.core import highest, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Causal, Count, Whole

_SOURCE = "Choromanski et al. 2020 (arXiv:2009.14794), lemmas 1 and 2; kexue.fm/archives/7921"
Kind = Literal["positive", "hyperbolic", "trigonometric", "fourier", "relu"]
"""Which random features of the softmax kernel, or of a relative."""


@formula("(n,d),(m,d)->(n,r)", source=_SOURCE)
def favor_features(
    x,
    projections,
    /,
    *,
    kind: Kind,
):
    r"""Random features whose mean inner product is exp(x.y), or a kernel related to it.

    Formula
    -------
    With the rows w_1 ... w_m of the projections,

    =================  ========================================================  ================
    ``kind``           :math:`\phi(x)\sqrt m`                                    mean of the kernel
    =================  ========================================================  ================
    "positive"         :math:`e^{-|x|^2/2} (e^{w_f x})_f`                        exp(x.y)
    "hyperbolic"       :math:`e^{-|x|^2/2} (e^{w_f x}, e^{-w_f x})_f /\sqrt2`    exp(x.y)
    "trigonometric"    :math:`e^{|x|^2/2} (\cos w_f x, \sin w_f x)_f`            exp(x.y)
    "fourier"          :math:`(\cos w_f x, \sin w_f x)_f`                        exp(-|x - y|^2/2)
    "relu"             :math:`\max(w_f x, 0)_f`                                  arc-cosine kernel
    =================  ========================================================  ================

    The arc-cosine kernel is |x||y| (sin t + (pi - t) cos t)/(2 pi) at the angle t.

    Parameters
    ----------
    x : (..., n, d) queries or keys.
    projections : (..., m, d) rows drawn from N(0, I); see :func:`orthogonal_projections`.
    kind : one of the names above; the Performer paper ends with "positive".

    Returns
    -------
    (..., n, r), r = m, or 2m where there are two functions: first all of the one, then the other.

    Raises
    ------
    ValueError
        An unknown kind; no projection.

    Conventions
    -----------
    A scale of the logits goes into x: sqrt(scale), d^(-1/4) in Performer. fast-transformers'
    ``Favor`` is "hyperbolic" with n_dims features in all; its ``GeneralizedRandomFeatures`` lack
    1/sqrt m.

    Breaks when
    -----------
    Exponentials overflow for long x; :func:`performer_attention` does not.

    References
    ----------
    Choromanski et al. 2020 (arXiv:2009.14794); Rahimi & Recht 2007 (Fourier features); Cho & Saul
    2009 (arc-cosine kernel); https://kexue.fm/archives/7921.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.favor_features([[1.0]], [[0.0], [1.0]], kind="positive").round(6)
    array([[0.428882, 1.165822]])
    """
    parts = _split(x, projections, kind)
    return parts.bounded * namespace(x).exp(parts.height)[..., None]


@favor_features.defvjp
def favor_features_vjp(g, x, projections, /, *, kind):
    """Through the exponential of the height, and through the projections."""
    parts = _split(x, projections, kind)
    return _split_vjp(g * namespace(x).exp(parts.height)[..., None], x, projections, kind, parts)


class _Features(NamedTuple):
    """Features as exp(height) * bounded: (..., n) and (..., n, r)."""

    height: Any
    bounded: Any


def _split(x, projections, kind) -> _Features:
    xp = namespace(x)
    m = projections.shape[-2]
    if m == 0:
        raise ValueError("projections: expected at least one row")
    dots = x @ projections.swapaxes(-1, -2)
    square = (x * x).sum(axis=-1) / 2
    factor = m**-0.5
    if kind == "relu":
        return _Features(xp.zeros_like(square), factor * xp.maximum(dots, 0))
    if kind in ("trigonometric", "fourier"):
        bounded = xp.concatenate([xp.cos(dots), xp.sin(dots)], axis=-1)
        height = square if kind == "trigonometric" else xp.zeros_like(square)
        return _Features(height, factor * bounded)
    if kind == "hyperbolic":
        dots, factor = xp.concatenate([dots, -dots], axis=-1), (2 * m) ** -0.5
    # exp(w.x - |x|^2/2) overflows less than exp(w.x) and not at all below its largest feature.
    largest = dots.max(axis=-1)
    return _Features(largest - square, factor * xp.exp(dots - largest[..., None]))


# How the logarithm of the height depends on |x|^2/2.
_PULLS = {"positive": -1.0, "hyperbolic": -1.0, "trigonometric": 1.0}


def _split_vjp(dbounded, x, projections, kind, parts: _Features):
    """Gradients of x and the projections, from those of the features divided by exp(height).

    The largest exponential, which the split moves from one part to the other, is a constant: the
    product does not depend on it.
    """
    m = projections.shape[-2]
    first, second = dbounded[..., :m], dbounded[..., m:]
    one, two = parts.bounded[..., :m], parts.bounded[..., m:]
    if kind == "relu":
        ddots = namespace(x).where(one > 0, first, 0.0) * m**-0.5
    elif kind in ("trigonometric", "fourier"):
        ddots = second * one - first * two
    else:
        ddots = first * one - second * two if kind == "hyperbolic" else first * one
    dx = ddots @ projections
    if kind in _PULLS:
        dheight = (dbounded * parts.bounded).sum(axis=-1)
        dx = dx + _PULLS[kind] * dheight[..., None] * x
    return dx, ddots.swapaxes(-1, -2) @ x


# ---------------------------------------------------------------------------------- attention


@formula(
    "(n,d),(m,d),(m,v),(f,d)->(n,v)",
    keywords={"mask": "(m)", "scale": "()"},
    kinds={"mask": "boolean"},
    source=_SOURCE,
)
def performer_attention(
    q,
    k,
    v,
    projections,
    /,
    *,
    kind: Kind,
    mask=None,
    scale=None,
    causal: Causal = None,
    offset: Whole | None = None,
):
    r"""Attention with the exponential kernel replaced by random features (Performer, FAVOR+).

    Formula
    -------
    .. math:: A_{ij} = \langle \phi(\sqrt\tau q_i), \phi(\sqrt\tau k_j) \rangle
        \text{ (0 where hidden)}, \qquad O_i = \frac{\sum_j A_{ij} v_j}{\sum_j A_{ij}}

    A factor of a query cancels, and so does one that all keys of a query share. With
    :math:`\phi = e^{h}\psi`, :math:`\psi` bounded, :math:`G_{ij} = \langle \psi(q_i), \psi(k_j)
    \rangle` and :math:`c_i` the largest of :math:`\log|G_{ij}| + h_j` over the keys that i sees,

    .. math:: A_{ij} \sim \operatorname{sign}(G_{ij})\, e^{\log|G_{ij}| + h_j - c_i}.

    Nothing overflows, and no key that is not seen has any part in it.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    projections : (..., f, d) rows drawn from N(0, I); see :func:`orthogonal_projections`.
    kind : of :func:`favor_features`.
    mask : boolean (..., m), optional. Which keys exist; True keeps.
    scale : number or (...,), default 1/sqrt(d). :math:`\tau` of the attention that is approximated.
    causal, offset : as in :func:`softmax_attention`.

    Returns
    -------
    (..., n, v); 0 for a query that sees no key.

    Raises
    ------
    ValueError
        Shapes that do not fit; an unknown kind; a negative scale; ``causal`` with n != m and
        nothing that aligns them.

    Conventions
    -----------
    The mean of A is that of softmax attention, but its quotient is biased by O(1/f). Nothing is
    added to the features. Released codes divide them by e^s, with s the largest w.x (without
    -|x|^2/2) of a query, or of all keys of a head, and then add 1e-6 (Google) or 1e-4
    (performer-pytorch). That drowns small features: at normal q and k with d = 64 and 1e-4 the
    weights are almost uniform, and the largest w.x lets later keys change earlier outputs.

    Breaks when
    -----------
    "trigonometric" and "fourier" weights have both signs, and their sums may vanish. "positive"
    needs many more features than d for long vectors; see :func:`favor_moments`. The exponentials
    of ``form="textbook"`` overflow, or all vanish, for long vectors: that is NaN.

    References
    ----------
    Choromanski et al. 2020 (arXiv:2009.14794); https://kexue.fm/archives/7921;
    lucidrains/performer-pytorch issues 45 and 46 (collapse).

    Examples
    --------
    >>> import refimpl
    >>> q, k, v, w = [[1.0]], [[1.0], [1.0]], [[2.0], [4.0]], [[0.3], [-1.0]]
    >>> refimpl.performer_attention(q, k, v, w, kind="positive").round(12)
    array([[3.]])
    """
    pairs = _pairs(q, k, v, projections, kind, mask, scale, causal, offset)
    weights, total = _weights(pairs)
    return weighted_sum(weights, pairs.v) / namespace(q).where(total == 0, 1, total)[..., None]


@performer_attention.form("textbook", loses="exponentials overflow or vanish")
def performer_attention_textbook(
    q, k, v, projections, /, *, kind, mask=None, scale=None, causal=None, offset=None
):
    """D^{-1} A V with A = phi(Q) phi(K)^T, the features as they are."""
    xp, n, m = namespace(q), q.shape[-2], k.shape[-2]
    root = _root(q, scale)
    qf, kf = (favor_features.__wrapped__(root * x, projections, kind=kind) for x in (q, k))
    seen = band(n, m, causal, None, offset).keep(xp, range(n), range(m))
    seen = seen if mask is None else seen & mask[..., None, :]
    weights = xp.where(seen, qf @ kf.swapaxes(-1, -2), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    # Exponentials that all underflow are no empty row: 0/0 shows it.
    is_empty = total == 0 if kind in ("fourier", "relu") else ~seen.any(axis=-1, keepdims=True)
    return weighted_sum(weights, v) / xp.where(is_empty, 1, total)


@performer_attention.defvjp
def performer_attention_vjp(
    g,
    q,
    k,
    v,
    projections,
    /,
    *,
    kind,
    mask=None,
    scale=None,
    causal=None,
    offset=None,
):
    """With dA = (g V^T - <g, O>)/den, features get dA times the others'; then through both maps."""
    xp = namespace(q)
    pairs = _pairs(q, k, v, projections, kind, mask, scale, causal, offset)
    weights, total = _weights(pairs)
    weights = weights / xp.where(total == 0, 1, total)[..., None]
    mean = (g * weighted_sum(weights, pairs.v)).sum(axis=-1)
    dlogarithms = xp.where(
        pairs.keep, weights * (g @ pairs.v.swapaxes(-1, -2) - mean[..., None]), 0.0
    )
    dgram = xp.where(pairs.keep, dlogarithms / xp.where(pairs.gram == 0, 1, pairs.gram), 0.0)
    dqf = weighted_sum(dgram, pairs.kf.bounded)
    dkf = weighted_sum(dgram.swapaxes(-1, -2), pairs.qf.bounded)
    dx, from_q = _split_vjp(dqf, pairs.x, projections, kind, pairs.qf)
    dy, from_k = _split_vjp(dkf, pairs.y, projections, kind, pairs.kf)
    dv = weights.swapaxes(-1, -2) @ g
    if mask is not None:
        dy, dv = (xp.where(mask[..., None], x, 0.0) for x in (dy, dv))
    root = _root(q, scale)
    dscale = ((dx * q).sum(axis=(-1, -2)) + (dy * pairs.k).sum(axis=(-1, -2))) / 2
    return root * dx, root * dy, dv, from_q + from_k, dscale / root[..., 0, 0]


class _Pairs(NamedTuple):
    """What both directions need: scaled inputs, features, their products, and who sees whom."""

    x: Any
    y: Any
    k: Any
    v: Any
    qf: _Features
    kf: _Features
    gram: Any
    keep: Any


def _pairs(q, k, v, projections, kind, mask, scale, causal, offset) -> _Pairs:
    xp = namespace(q)
    n, m = q.shape[-2], k.shape[-2]
    keep = band(n, m, causal, None, offset).keep(xp, range(n), range(m))
    if mask is not None:
        keep = keep & mask[..., None, :]
        k, v = (xp.where(mask[..., None], x, 0.0) for x in (k, v))
    root = _root(q, scale)
    x, y = root * q, root * k
    qf, kf = _split(x, projections, kind), _split(y, projections, kind)
    return _Pairs(x, y, k, v, qf, kf, qf.bounded @ kf.bounded.swapaxes(-1, -2), keep)


def _root(q, scale):
    """The factor (..., 1, 1) of queries and of keys whose square scales the logits."""
    xp = namespace(q)
    if scale is None:
        if q.shape[-1] == 0:
            raise ValueError("scale: there is no default for d = 0, give it")
        return xp.full((1, 1), q.shape[-1] ** -0.25, dtype=q.dtype)
    if bool((scale < 0).any()):
        raise ValueError("scale: its root enters queries and keys, so it cannot be negative")
    return xp.sqrt(scale)[..., None, None]


def _weights(pairs: _Pairs):
    """Weights up to a factor of each row, and their sums."""
    xp = namespace(pairs.gram)
    logarithms = xp.log(xp.abs(pairs.gram)) + pairs.kf.height[..., None, :]
    logarithms = xp.where(pairs.keep, logarithms, -xp.inf)
    peak = highest(logarithms)
    # exp(-inf - -inf) is NaN: a row that sees nothing is shifted by 0.
    weights = xp.exp(logarithms - xp.where(peak == -xp.inf, 0.0, peak))
    weights = xp.where(pairs.gram < 0, -weights, weights)
    return weights, weights.sum(axis=-1)


@performer_attention.form("chunked", beyond=is_large)
def chunked_performer_attention(
    q,
    k,
    v,
    projections,
    /,
    *,
    kind,
    mask=None,
    scale=None,
    causal=None,
    offset=None,
    chunk: Count = 128,
):
    """Sums over the keys of earlier chunks, rescaled when a higher key comes: no n x m array."""
    xp = namespace(q)
    n, m = q.shape[-2], k.shape[-2]
    if mask is not None:
        k, v = (xp.where(mask[..., None], x, 0.0) for x in (k, v))
    root = _root(q, scale)
    queries = _split(root * q, projections, kind).bounded
    keys = _split(root * k, projections, kind)
    height = keys.height if mask is None else xp.where(mask, keys.height, -xp.inf)
    strip = band(n, m, causal, None, offset)
    state, entered, outputs = _Sums.empty(keys.bounded, v), 0, []
    for rows in (range(start, min(start + chunk, n)) for start in range(0, n, chunk)):
        low, high = m, m
        if strip.right is not None:
            low, high = (min(max(i + strip.offset, 0), m) for i in (rows.start, rows.stop))
        new, apart = slice(entered, low), slice(low, high)
        state = state.plus(keys.bounded[..., new, :], height[..., new], v[..., new, :])
        entered = low
        keep = strip.keep(xp, rows, range(low, high))
        near = keys.bounded[..., apart, :], height[..., apart], v[..., apart, :]
        outputs.append(state.read(queries[..., rows.start : rows.stop, :], *near, keep))
    if not outputs:
        return q[..., :1] @ xp.zeros((*v.shape[:-2], 1, v.shape[-1]), dtype=v.dtype)
    return xp.concatenate(outputs, axis=-2)


class _Sums(NamedTuple):
    """Sums of key features times values and of key features, divided by exp(height)."""

    values: Any
    features: Any
    height: Any

    @classmethod
    def empty(cls, features, v):
        xp = namespace(features)
        r = features.shape[-1]
        values = xp.zeros((r, v.shape[-1]), dtype=v.dtype)
        return cls(values, xp.zeros((r,), v.dtype), xp.full((1,), -xp.inf, dtype=v.dtype))

    def plus(self, features, height, v):
        """With more keys, all divided by the larger height."""
        xp = namespace(features)
        peak = xp.maximum(self.height, highest(height))
        # exp(-inf - -inf) is NaN: as long as nothing is there, shift by 0.
        shift = xp.where(peak == -xp.inf, 0.0, peak)
        decay = xp.exp(self.height - shift)
        features = features * xp.exp(height - shift)[..., None]
        return _Sums(
            decay[..., None] * self.values + features.swapaxes(-1, -2) @ v,
            decay * self.features + features.sum(axis=-2),
            peak,
        )

    def read(self, queries, features, height, v, keep):
        """Outputs of queries that see these sums, and of the keys beside them those to keep."""
        xp = namespace(queries)
        heights = xp.where(keep, height[..., None, :], -xp.inf)
        peak = xp.maximum(highest(heights), self.height[..., None])
        shift = xp.where(peak == -xp.inf, 0.0, peak)
        gram = queries @ features.swapaxes(-1, -2)
        weights = xp.where(keep, gram * xp.exp(heights - shift), 0.0)
        decay = xp.exp(self.height[..., None] - shift)
        total = decay[..., 0] * (queries @ self.features[..., None])[..., 0] + weights.sum(axis=-1)
        output = decay * (queries @ self.values) + weighted_sum(weights, v)
        return output / xp.where(total == 0, 1, total)[..., None]
