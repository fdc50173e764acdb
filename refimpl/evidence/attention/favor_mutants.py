"""Wrong variants of random features and Performer attention."""

from __future__ import annotations

import numpy as np

from refimpl.attention.favor import favor_features, performer_attention
from refimpl.attention.masks import band
from refimpl.evidence.attention.favor import features, performer
from refimpl.evidence.attention.shared import other_corner, unscaled
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients

# ---------------------------------------------------------------------------------- features


_FUNCTIONS = {
    "positive": (np.exp,),
    "hyperbolic": (np.exp, lambda z: np.exp(-z)),
    "trigonometric": (np.cos, np.sin),
    "fourier": (np.cos, np.sin),
    "relu": (lambda z: np.maximum(z, 0.0),),
}


def _half_square(x):
    return 0.5 * (x * x).sum(axis=-1, keepdims=True)


def _terms(x, projections, /, *, kind):
    """The table of the docstring: factor exp(exponent) (functions of w.x)."""
    sign = {"positive": -1.0, "hyperbolic": -1.0, "trigonometric": 1.0}.get(kind, 0.0)
    functions = _FUNCTIONS[kind]
    return {
        "factor": (projections.shape[-2] * (2.0 if kind == "hyperbolic" else 1.0)) ** -0.5,
        "exponent": sign * _half_square(x),
        "dots": x @ projections.swapaxes(-1, -2),
        "functions": functions,
        "eps": 0.0,
    }


def _whole(factor, exponent, dots, functions, eps):
    parts = [np.exp(exponent) * function(dots) + eps for function in functions]
    return factor * np.concatenate(parts, axis=-1)


book = Textbook(features, _terms, _whole)
book.wrong("the factor exp(|x|^2/2) or exp(-|x|^2/2) is missing", exponent=0.0)
book.wrong("the exponent has |x|^2 instead of |x|^2/2", exponent=lambda t: 2.0 * t.exponent)
book.wrong("|x|^2/2 has the wrong sign in the exponent", exponent=lambda t: -t.exponent)
book.wrong(
    "the features lack their factor 1/sqrt m",
    factor=lambda t: t.factor * t.projections.shape[-2] ** 0.5,
)
book.wrong(
    "the features are divided by m instead of its root",
    factor=lambda t: t.factor * t.projections.shape[-2] ** -0.5,
)
wrong(features, "x is divided by d^(1/4) first", arrays={"x": lambda x: x * x.shape[-1] ** -0.25})
book.wrong(
    "the features are divided by the largest exponential of w.x",
    exponent=lambda t: t.exponent - (t.kind == "positive") * t.dots.max(axis=-1, keepdims=True),
)
book.wrong("1e-4 is added to every exponential", eps=lambda t: 1e-4 * (t.kind == "positive"))
book.wrong(
    "the second half of the features repeats exp(w.x)",
    functions=lambda t: (np.exp, np.exp) if t.kind == "hyperbolic" else t.functions,
)
book.wrong(
    "hyperbolic features lack their factor 1/sqrt 2",
    factor=lambda t: t.factor * (2.0 if t.kind == "hyperbolic" else 1.0) ** 0.5,
)
book.wrong(
    "the sines come before the cosines",
    functions=lambda t: t.functions if np.exp in t.functions else t.functions[::-1],
)
book.wrong(
    "the angles carry a factor 2 pi",
    dots=lambda t: t.dots * (2.0 * np.pi if t.kind == "fourier" else 1.0),
)
book.wrong(
    "relu is the absolute value",
    functions=lambda t: (np.abs,) if t.kind == "relu" else t.functions,
)


@wrong_gradients(features)
def gradient_without_square(found, g, arrays, options):
    """the gradient lacks the term of |x|^2/2"""
    if options["kind"] not in ("positive", "hyperbolic"):
        return found
    value = favor_features(*arrays, **options)
    return [found[0] + (g * value).sum(axis=-1, keepdims=True) * arrays[0], found[1]]


@wrong_gradients(features)
def gradient_sign_of_cosine(found, g, arrays, options):
    """the derivative of the cosine lacks its sign"""
    if options["kind"] not in ("trigonometric", "fourier"):
        return found
    m = arrays[1].shape[-2]
    other = np.concatenate([-2.0 * g[..., :m], 0.0 * g[..., m:]], axis=-1)
    return [found[0] + favor_features.vjp(other, *arrays, kind="fourier")[0], found[1]]


@wrong_gradients(features)
def gradient_everywhere(found, g, arrays, options):
    """the gradient of relu is 1 everywhere"""
    if options["kind"] != "relu":
        return found
    g = g * arrays[1].shape[-2] ** -0.5
    return [g @ arrays[1], favor_features.vjp(g, *arrays, **options)[1]]


# ---------------------------------------------------------------------------------- attention


def _root(q, options):
    scale = options.get("scale")
    return q.shape[-1] ** -0.25 if scale is None else np.sqrt(np.asarray(scale))[..., None, None]


def _quotient(qf, kf, v, options):
    """Linear attention over given features."""
    mask = options.get("mask")
    n, m = qf.shape[-2], kf.shape[-2]
    keep = band(n, m, options.get("causal"), None, options.get("offset"))
    keep = keep.keep(np, range(n), range(m))
    keep = keep if mask is None else keep & mask[..., None, :]
    weights = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ np.nan_to_num(v)


def _raised(eps, q, k, v, projections, kind, options):
    """Features as released codes make them: divided by a maximum, then raised by eps."""
    if kind != "positive":
        return performer_attention(q, k, v, projections, kind=kind, **options)
    found = []
    for x, axes in ((q, (-1,)), (np.nan_to_num(k), (-2, -1))):
        x = _root(q, options) * x
        dots = x @ projections.swapaxes(-1, -2)
        largest = dots.max(axis=axes, keepdims=True, initial=-1e300)
        found.append(np.exp(dots - _half_square(x) - largest) + eps)
    return _quotient(*found, v, options)


@performer.mutant(source="https://github.com/lucidrains/performer-pytorch/issues/45")
def eps_of_performer_pytorch(*arrays, kind, **options):
    """1e-4 is added to features divided by the largest exp(w.x), as performer-pytorch does"""
    return _raised(1e-4, *arrays, kind, options)


@performer.mutant
def eps_of_google(*arrays, kind, **options):
    """1e-6 is added to features divided by the largest exp(w.x), as Google's code does"""
    return _raised(1e-6, *arrays, kind, options)


wrong(performer, "the logits are not scaled by 1/sqrt d", options=unscaled)


@performer.mutant
def scaled_twice(q, k, v, projections, /, **options):
    """queries and keys are both divided by sqrt d: the scale is applied twice"""
    if options.get("scale") is None:
        options = options | {"scale": 1.0 / q.shape[-1]}
    return performer_attention(q, k, v, projections, **options)


wrong(performer, "a scale that is given is ignored", options={"scale": None})


@performer.mutant
def key_lengths_ignored(q, k, v, projections, /, **options):
    """keys lack the factor exp(-|k|^2/2)"""
    if options["kind"] != "positive":
        return performer_attention(q, k, v, projections, **options)
    x, y = _root(q, options) * q, _root(q, options) * np.nan_to_num(k)
    dots = y @ projections.swapaxes(-1, -2)
    queries = x @ projections.swapaxes(-1, -2)
    queries = np.exp(queries - queries.max(axis=-1, keepdims=True))
    return _quotient(queries, np.exp(dots - dots.max(initial=0.0)), v, options)


wrong(
    performer,
    "the projections are normalised to length 1",
    arrays={"projections": lambda x: x / np.sqrt((x * x).sum(axis=-1, keepdims=True))},
)
wrong(
    performer,
    "the second half of the projections is not used",
    arrays={"projections": lambda x: x[..., : -(-x.shape[-2] // 2), :]},
)
wrong(performer, "the mask is ignored", options={"mask": None})


@performer.mutant
def mask_on_keys(q, k, v, projections, /, **options):
    """the mask sets keys to 0 before the features, which are not 0 there"""
    if options.get("mask") is not None:
        keep = options["mask"][..., None]
        k, v = (np.where(keep, x, 0.0) for x in (k, v))
    return performer_attention(q, k, v, projections, **options | {"mask": None})


wrong(
    performer,
    "every query sees every key: causal is ignored",
    options={"causal": None, "offset": None},
)
wrong(
    performer,
    "causal is aligned at the other corner",
    options={"causal": other_corner},
)


@performer.mutant(source="https://github.com/facebookresearch/xformers/pull/104")
def running_mean_of_channels(q, k, v, projections, /, *, causal=None, **options):
    """causal sums run over the channels of the values instead of the positions"""
    if not causal:
        return performer_attention(q, k, v, projections, **options)
    n, m = q.shape[-2], v.shape[-2]
    means = np.cumsum(v, axis=-1) / np.arange(1, v.shape[-1] + 1)
    return means[..., np.minimum(np.arange(n), m - 1), :]


wrong(
    performer,
    "the projections are taken for constants",
    gradient={"projections": lambda x: 0.0 * x},
)


@wrong_gradients(performer)
def gradient_not_scaled(found, g, arrays, options):
    """the gradients in queries and keys lack the root of the scale"""
    q, _, _, _ = arrays
    root = _root(q, options)
    return [found[0] / root, found[1] / root, *found[2:]]


@wrong_gradients(performer)
def gradient_of_keys_as_queries(found, g, arrays, options):
    """the gradients in queries and keys lack the terms of |q|^2 and |k|^2"""
    q, k, v, projections = arrays
    wider = performer_attention.vjp(g, q, k, v, projections, **options | {"kind": "fourier"})
    return [*wider[:2], *found[2:]]


@wrong_gradients(performer)
def gradient_looks_ahead(found, g, arrays, options):
    """the gradients of a causal call are those of one that sees every key"""
    q, k, v, projections = arrays
    options = options | {"causal": None, "offset": None}
    return performer_attention.vjp(g, q, k, v, projections, **options)
