"""Feature maps whose inner products stand for the similarity of a query and a key."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from refimpl.backend import namespace
from refimpl.core import softmax, softmax_vjp
from refimpl.formula import formula
from refimpl.formula.options import Number

Features = Literal[
    "identity",
    "elu_plus_one",
    "relu",
    "squared_relu",
    "exponential",
    "softmax",
    "one_plus_cosine",
    "taylor_2",
    "power",
]
"""Elementwise maps, and maps of whole rows to more features."""


@formula(
    "(d)->(r)",
    source="Katharopoulos et al. 2020 (arXiv:2006.16236); kexue.fm/archives/7546, 8601",
)
def feature_map(x, /, *, features: Features, degree: Annotated[int, Number(1, 32, whole=True)] = 2):
    r"""Features of a query or key whose inner product is a similarity, for linear attention.

    Formula
    -------
    .. math:: \mathrm{sim}(q, k) = \langle \phi(q), \phi(k) \rangle

    ===================  ===============================================  =========================
    ``features``         :math:`\phi(x)`                                  similarity
    ===================  ===============================================  =========================
    "identity"           x                                                q.k, of either sign
    "elu_plus_one"       x + 1 where x >= 0, else exp(x)
    "relu"               max(x, 0)
    "squared_relu"       max(x, 0)^2
    "exponential"        exp(x)
    "softmax"            exp(x_i) / sum exp(x_j), over the features
    "one_plus_cosine"    (1, x/|x|), of the zero vector (1, 0)            1 + cos(q, k)
    "taylor_2"           (1, x, vec(x x^T)/sqrt 2)                        1 + q.k + (q.k)^2/2
    "power"              p-fold tensor power of (1, x/sqrt p)             (1 + q.k/p)^p
    ===================  ===============================================  =========================

    Parameters
    ----------
    x : (..., d) queries or keys.
    features : one of the names above; there is no default, as every method has its own.
    degree : int >= 1. p of "power".

    Returns
    -------
    (..., r) with r = d, or d + 1 ("one_plus_cosine"), 1 + d + d^2 ("taylor_2"), (d + 1)^p
    ("power").

    Raises
    ------
    ValueError
        An unknown map; degree < 1; d = 0.

    Conventions
    -----------
    A scale of the logits goes into x before the map: sqrt(scale) on queries and on keys. Code that
    computes elu(x) + 1 as it is written cancels for negative x. Random features of the exponential
    kernel are another formula. At 0, relu has the gradient 0, as in torch.

    Breaks when
    -----------
    "exponential" overflows where x exceeds log of the largest number (11 in float16); the features
    of "taylor_2" and "power" are many. "power" of odd degree and "identity" may be negative, so
    that denominators may vanish.

    References
    ----------
    Katharopoulos et al. 2020 (arXiv:2006.16236); https://kexue.fm/archives/7546 (1 + cosine),
    https://kexue.fm/archives/8601 (Taylor, power); fla-org/flash-linear-attention issue 1261
    (cancellation).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.feature_map([2.0, -0.5], features="elu_plus_one").round(6)
    array([3.      , 0.606531])
    """
    _check(x, features, degree)
    xp = namespace(x)
    if features == "elu_plus_one":
        # exp(x) as such: elu(x) + 1 = (exp(x) - 1) + 1 would round small values away.
        return xp.where(x >= 0, x + 1, xp.exp(xp.minimum(x, 0)))
    if features in ("relu", "squared_relu"):
        positive = xp.maximum(x, 0)
        return positive if features == "relu" else positive * positive
    if features == "exponential":
        return xp.exp(x)
    if features == "softmax":
        return softmax(x, axis=-1)
    if features == "one_plus_cosine":
        return _with_one(_direction(x)[0])
    if features == "taylor_2":
        products = (x[..., :, None] * x[..., None, :]) * (0.5**0.5)
        return xp.concatenate([_with_one(x), _flat(products, 2)], axis=-1)
    if features == "power":
        return _tensor_power(_with_one(x * degree**-0.5), degree)
    return x + 0


@feature_map.defvjp
def feature_map_vjp(g, x, /, *, features, degree=2):
    """Entry by entry; for products of features by the product rule."""
    _check(x, features, degree)
    xp = namespace(x)
    if features == "elu_plus_one":
        return (g * xp.where(x >= 0, 1.0, xp.exp(xp.minimum(x, 0))).astype(x.dtype),)
    if features == "relu":
        return (xp.where(x > 0, g, 0.0),)
    if features == "squared_relu":
        return (2 * g * xp.maximum(x, 0),)
    if features == "exponential":
        return (g * xp.exp(x),)
    if features == "softmax":
        return (softmax_vjp(g, softmax(x, axis=-1), axis=-1),)
    if features == "one_plus_cosine":
        unit, length = _direction(x)
        along = (g[..., 1:] * unit).sum(axis=-1, keepdims=True)
        return ((g[..., 1:] - along * unit) / length,)
    if features == "taylor_2":
        d = x.shape[-1]
        pairs = g[..., d + 1 :].reshape((*g.shape[:-1], d, d))
        both = (pairs + pairs.swapaxes(-1, -2)) @ x[..., None]
        return (g[..., 1 : d + 1] + both[..., 0] * (0.5**0.5),)
    if features == "power":
        return (_tensor_power_vjp(g, _with_one(x * degree**-0.5), degree) * degree**-0.5,)
    return (g + 0,)


def _check(x, features, degree):
    if x.shape[-1] == 0:
        raise ValueError("feature_map: expected at least one feature, got d = 0")


def _with_one(x):
    """(1, x)."""
    xp = namespace(x)
    return xp.concatenate([xp.ones_like(x[..., :1]), x], axis=-1)


def _direction(x):
    """x/|x|, 0 for the zero vector, and the length that it was divided by (then infinite)."""
    xp = namespace(x)
    # Scaling by the largest entry first keeps the squares in range.
    largest = xp.abs(x).max(axis=-1, keepdims=True)
    scaled = x / xp.where(largest > 0, largest, 1)
    norm = xp.sqrt((scaled * scaled).sum(axis=-1, keepdims=True))
    is_zero = largest == 0
    unit = scaled / xp.where(is_zero, 1, norm)
    return unit, xp.where(is_zero, xp.inf, norm * largest).astype(x.dtype)


def _flat(x, count):
    """The last ``count`` axes as one."""
    lead = x.shape[: x.ndim - count]
    return x.reshape((*lead, math.prod(x.shape[x.ndim - count :])))


def _tensor_power(y, degree):
    """y (x) y (x) ... as one axis."""
    product = y
    for _ in range(degree - 1):
        product = _flat(product[..., :, None] * y[..., None, :], 2)
    return product


def _tensor_power_vjp(g, y, degree):
    """The gradient in x of <g, tensor power of y = (1, x)>: contract all factors but one."""
    size = y.shape[-1]
    total = 0
    for place in range(degree):
        # Axes before and after the place, each contracted with powers of y.
        after = degree - 1 - place
        rest = g.reshape((*g.shape[:-1], size**place, size, size**after))
        if after:
            rest = (rest @ _tensor_power(y, after)[..., None, :, None])[..., 0]
        else:
            rest = rest[..., 0]
        if place:
            rest = (_tensor_power(y, place)[..., None, :] @ rest)[..., 0, :]
        else:
            rest = rest[..., 0, :]
        total = total + rest
    return total[..., 1:]
