"""Wrong variants of random features and Performer attention."""

from __future__ import annotations

import numpy as np

from refimpl.attention.favor import favor_features, performer_attention
from refimpl.attention.masks import band
from refimpl.evidence.attention.favor import features, performer
from refimpl.evidence.mistakes import wrong, wrong_gradients

# ---------------------------------------------------------------------------------- features


def _of_kinds(*kinds, gradient=False):
    """Register a variant that is wrong for some kinds and right for the others."""

    def register(body):
        def mutant(*arrays, kind):
            if kind in kinds:
                return body(*arrays, kind)
            return (favor_features.vjp if gradient else favor_features)(*arrays, kind=kind)

        mutant.__name__, mutant.__doc__ = body.__name__, body.__doc__
        return features.mutant(mutant, gradient=gradient)

    return register


def _half_square(x):
    return 0.5 * (x * x).sum(axis=-1, keepdims=True)


_EXPONENTIALS = ("positive", "hyperbolic", "trigonometric")


@_of_kinds(*_EXPONENTIALS)
def square_missing(x, projections, kind):
    """the factor exp(|x|^2/2) or exp(-|x|^2/2) is missing"""
    sign = 1.0 if kind == "trigonometric" else -1.0
    return favor_features(x, projections, kind=kind) * np.exp(-sign * _half_square(x))


@_of_kinds(*_EXPONENTIALS)
def square_not_halved(x, projections, kind):
    """the exponent has |x|^2 instead of |x|^2/2"""
    sign = 1.0 if kind == "trigonometric" else -1.0
    return favor_features(x, projections, kind=kind) * np.exp(sign * _half_square(x))


@_of_kinds(*_EXPONENTIALS)
def square_of_the_other_sign(x, projections, kind):
    """|x|^2/2 has the wrong sign in the exponent"""
    sign = 1.0 if kind == "trigonometric" else -1.0
    return favor_features(x, projections, kind=kind) * np.exp(-2.0 * sign * _half_square(x))


@features.mutant
def number_of_projections(x, projections, /, *, kind):
    """the features lack their factor 1/sqrt m"""
    return favor_features(x, projections, kind=kind) * projections.shape[-2] ** 0.5


@features.mutant
def divided_by_the_number(x, projections, /, *, kind):
    """the features are divided by m instead of its root"""
    return favor_features(x, projections, kind=kind) * projections.shape[-2] ** -0.5


@features.mutant
def scaled_inside(x, projections, /, *, kind):
    """x is divided by d^(1/4) first"""
    return favor_features(x * x.shape[-1] ** -0.25, projections, kind=kind)


@_of_kinds("positive")
def divided_by_the_largest(x, projections, kind):
    """the features are divided by the largest exponential of w.x"""
    dots = x @ projections.swapaxes(-1, -2)
    largest = np.exp(dots.max(axis=-1, keepdims=True))
    return favor_features(x, projections, kind=kind) / largest


@_of_kinds("positive")
def eps_added(x, projections, kind):
    """1e-4 is added to every exponential"""
    eps = 1e-4 * projections.shape[-2] ** -0.5
    return favor_features(x, projections, kind=kind) + eps


@_of_kinds("hyperbolic")
def both_halves_alike(x, projections, kind):
    """the second half of the features repeats exp(w.x)"""
    found = favor_features(x, projections, kind=kind)
    m = projections.shape[-2]
    return np.concatenate([found[..., :m], found[..., :m]], axis=-1)


@_of_kinds("hyperbolic")
def root_two_missing(x, projections, kind):
    """hyperbolic features lack their factor 1/sqrt 2"""
    return np.sqrt(2.0) * favor_features(x, projections, kind=kind)


@_of_kinds("trigonometric", "fourier")
def sines_first(x, projections, kind):
    """the sines come before the cosines"""
    found = favor_features(x, projections, kind=kind)
    return np.roll(found, projections.shape[-2], axis=-1)


@_of_kinds("fourier")
def whole_turns(x, projections, kind):
    """the angles carry a factor 2 pi"""
    return favor_features(2.0 * np.pi * x, projections, kind=kind)


@_of_kinds("relu")
def absolute_values(x, projections, kind):
    """relu is the absolute value"""
    positive, negative = (favor_features(s * x, projections, kind=kind) for s in (1.0, -1.0))
    return positive + negative


@_of_kinds("positive", "hyperbolic", gradient=True)
def gradient_without_square(g, x, projections, kind):
    """the gradient lacks the term of |x|^2/2"""
    dx, dprojections = favor_features.vjp(g, x, projections, kind=kind)
    found = favor_features(x, projections, kind=kind)
    return dx + (g * found).sum(axis=-1, keepdims=True) * x, dprojections


@_of_kinds("trigonometric", "fourier", gradient=True)
def gradient_sign_of_cosine(g, x, projections, kind):
    """the derivative of the cosine lacks its sign"""
    m = projections.shape[-2]
    plain = favor_features.vjp(g, x, projections, kind=kind)
    other = np.concatenate([-2.0 * g[..., :m], 0.0 * g[..., m:]], axis=-1)
    change = favor_features.vjp(other, x, projections, kind="fourier")
    return plain[0] + change[0], plain[1]


@_of_kinds("relu", gradient=True)
def gradient_everywhere(g, x, projections, kind):
    """the gradient of relu is 1 everywhere"""
    g = g * projections.shape[-2] ** -0.5
    return g @ projections, favor_features.vjp(g, x, projections, kind=kind)[1]


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


def _with_eps(eps, name, text, source):
    """Features as released codes make them: divided by a maximum, then raised by eps."""

    def body(q, k, v, projections, /, *, kind, **options):
        if kind != "positive":
            return performer_attention(q, k, v, projections, kind=kind, **options)
        found = []
        for x, axes in ((q, (-1,)), (np.nan_to_num(k), (-2, -1))):
            x = _root(q, options) * x
            dots = x @ projections.swapaxes(-1, -2)
            largest = dots.max(axis=axes, keepdims=True, initial=-1e300)
            found.append(np.exp(dots - _half_square(x) - largest) + eps)
        return _quotient(*found, v, options)

    body.__name__, body.__doc__ = name, text
    performer.mutant(body, source=source)


_with_eps(
    1e-4,
    "eps_of_performer_pytorch",
    "1e-4 is added to features divided by the largest exp(w.x), as performer-pytorch does",
    "https://github.com/lucidrains/performer-pytorch/issues/45",
)
_with_eps(
    1e-6,
    "eps_of_google",
    "1e-6 is added to features divided by the largest exp(w.x), as Google's code does",
    "",
)


@performer.mutant
def scale_missing(q, k, v, projections, /, **options):
    """the logits are not scaled by 1/sqrt d"""
    scale = 1.0 if options.get("scale") is None else options["scale"]
    return performer_attention(q, k, v, projections, **options | {"scale": scale})


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


@performer.mutant
def unit_projections(q, k, v, projections, /, **options):
    """the projections are normalised to length 1"""
    lengths = np.sqrt((projections * projections).sum(axis=-1, keepdims=True))
    return performer_attention(q, k, v, projections / lengths, **options)


@performer.mutant
def half_of_the_projections(q, k, v, projections, /, **options):
    """the second half of the projections is not used"""
    return performer_attention(
        q, k, v, projections[..., : -(-projections.shape[-2] // 2), :], **options
    )


wrong(performer, "the mask is ignored", options={"mask": None})


@performer.mutant
def mask_on_keys(q, k, v, projections, /, **options):
    """the mask sets keys to 0 before the features, which are not 0 there"""
    if options.get("mask") is not None:
        keep = options["mask"][..., None]
        k, v = (np.where(keep, x, 0.0) for x in (k, v))
    return performer_attention(q, k, v, projections, **options | {"mask": None})


@performer.mutant
def causal_ignored(q, k, v, projections, /, **options):
    """every query sees every key: causal is ignored"""
    options = options | {"causal": None, "offset": None}
    return performer_attention(q, k, v, projections, **options)


@performer.mutant
def aligned_the_other_way(q, k, v, projections, /, **options):
    """causal is aligned at the other corner"""
    other = {"top_left": "bottom_right", "bottom_right": "top_left"}
    causal = options.get("causal")
    options = options | {"causal": other.get(causal, causal)}
    return performer_attention(q, k, v, projections, **options)


@performer.mutant(source="https://github.com/facebookresearch/xformers/pull/104")
def running_mean_of_channels(q, k, v, projections, /, *, causal=None, **options):
    """causal sums run over the channels of the values instead of the positions"""
    if not causal:
        return performer_attention(q, k, v, projections, **options)
    n, m = q.shape[-2], v.shape[-2]
    means = np.cumsum(v, axis=-1) / np.arange(1, v.shape[-1] + 1)
    return means[..., np.minimum(np.arange(n), m - 1), :]


@wrong_gradients(performer)
def gradient_without_projections(found, g, arrays, options):
    """the projections are taken for constants"""
    return [*found[:3], 0.0 * found[3], *found[4:]]


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
