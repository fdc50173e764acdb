"""Evidence for random features of the exponential kernel, and for Performer attention."""

from __future__ import annotations

import numpy as np

from refimpl.attention.favor import favor_features, performer_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.laws import constant_values, linear_in

KINDS = favor_features.declared["kind"].values
_SIZES = {"d": Sizes(1, 1, 8), "v": Sizes(1, 1, 8), "f": Sizes(2, 1, 33)}

features = Evidence(
    favor_features,
    sizes={"d": _SIZES["d"], "m": Sizes(1, 1, 16)},
    empty=("n",),
    fixed={"kind": "positive"},
)
performer = Evidence(
    performer_attention,
    sizes=_SIZES,
    empty=("n", "m"),
    fixed={"kind": "positive"},
    combinations=({"causal": True, "offset": 2},),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
)


# ---------------------------------------------------------------------------- features: regimes


@features.regime
def normal(rng, shape):
    """Vectors of half the normal size, normal projections, any kind"""
    arrays = 0.5 * rng.standard_normal(shape.x), rng.standard_normal(shape.projections)
    return Case(arrays, {"kind": str(rng.choice(KINDS))})


@features.regime
def positive_features(rng, shape):
    """Normal vectors and projections, positive features"""
    return Case((rng.standard_normal(shape.x), rng.standard_normal(shape.projections)))


@features.regime(adversarial=True)
def long(rng, shape):
    """Vectors whose exponentials span many orders of magnitude"""
    x = 3.0 * rng.standard_normal(shape.x) / np.sqrt(shape.axes["d"])
    kind = str(rng.choice(("positive", "hyperbolic", "fourier", "relu")))
    return Case((x, rng.standard_normal(shape.projections)), {"kind": kind})


@features.regime(adversarial=True)
def zeros(rng, shape):
    """Vectors of zeros"""
    kind = str(rng.choice(KINDS[:4]))
    return Case((np.zeros(shape.x), rng.standard_normal(shape.projections)), {"kind": kind})


# ------------------------------------------------------------------------------- features: laws


def _squares(x) -> float:
    return float(np.square(np.asarray(to_host(x), dtype=float)).sum(-1).max(initial=0.0))


@features.law(slack=128.0)
def kernel_of_sum_or_difference(f, case):
    """<f(x), f(y)> = exp(x.y) <f(x +- y), f(0)>: plus for exponentials, minus for cosines"""
    x, projections = case.arrays
    kind = case.options["kind"]
    if kind == "relu":
        return
    y = namespace(x).flip(x, axis=-1)
    z = x + y if kind in ("positive", "hyperbolic") else x - y
    fx, fy, fz, origin = (case.with_arrays(a, projections).call(f) for a in (x, y, z, 0.0 * x))
    left, right = (fx * fy).sum(axis=-1), (fz * origin).sum(axis=-1)
    if kind != "fourier":
        right = right * namespace(x).exp((x * y).sum(axis=-1))
    size = (abs(fx) * abs(fy)).sum(axis=-1) + abs(right)
    yield Claim(left, right, size * (1.0 + 8.0 * _squares(x) * (1.0 + _squares(projections))))


@features.law(slack=128.0)
def squares_of_the_features(f, case):
    """The squares sum to exp(|x|^2) for trigonometric, to 1 for Fourier features"""
    squares = (case.call(f) ** 2).sum(axis=-1)
    kind = case.options["kind"]
    xp = namespace(squares)
    if kind == "trigonometric":
        expected = xp.exp((case.arrays[0] ** 2).sum(axis=-1))
        yield Claim(squares, expected, expected * (1.0 + _squares(case.arrays[0])))
    if kind == "fourier":
        yield Claim(squares, xp.ones_like(squares), 1.0)


@features.law(slack=128.0)
def mirrored_projections(f, case):
    """Hyperbolic features are the positive ones of the projections and their negatives"""
    x, projections = case.arrays
    if case.options["kind"] == "hyperbolic":
        both = namespace(x).concatenate([projections, -projections], axis=-2)
        single = case.with_arrays(x, both).with_options(kind="positive").call(f)
        size = abs(single) * (1.0 + _squares(x) * (1.0 + _squares(projections)))
        yield Claim(case.call(f), single, size)


@features.law
def relu_scales(f, case):
    """relu: f(2x) = 2 f(x)"""
    x, projections = case.arrays
    if case.options["kind"] == "relu":
        once = case.call(f)
        yield Claim(case.with_arrays(2.0 * x, projections).call(f), 2.0 * once, abs(once))


# ----------------------------------------------------------------------- features: closed forms


@features.closed_form
def the_origin(rng, shape):
    """x = 0: every exponential and cosine is 1, every sine 0"""
    kind = str(rng.choice(KINDS[:4]))
    m = shape.axes["m"]
    answer = np.full((*shape.batch, shape.axes["n"], m), m**-0.5)
    if kind == "hyperbolic":
        answer = np.concatenate([answer, answer], axis=-1) / np.sqrt(2.0)
    if kind in ("trigonometric", "fourier"):
        answer = np.concatenate([answer, 0.0 * answer], axis=-1)
    return Case((np.zeros(shape.x), rng.standard_normal(shape.projections)), {"kind": kind}), answer


@features.closed_form
def no_projection(rng, shape):
    """Projections of 0: exp(-|x|^2/2)/sqrt m in every positive feature"""
    x = rng.standard_normal(shape.x)
    m = shape.axes["m"]
    answer = np.exp(-0.5 * (x * x).sum(axis=-1))[..., None] * np.full(m, m**-0.5)
    return Case((x, np.zeros(shape.projections))), answer


# --------------------------------------------------------------------------- attention: regimes


def _arrays(rng, shape, size=1.0):
    q, k = (size * rng.standard_normal(s) for s in (shape.q, shape.k))
    return q, k, rng.standard_normal(shape.v), rng.standard_normal(shape.projections)


@performer.regime
def ordinary(rng, shape):
    """Standard normal queries, keys, values and projections"""
    return Case(_arrays(rng, shape))


@performer.regime
def masked(rng, shape):
    """A random mask and a scale"""
    options = {"mask": rng.random(shape.mask) < 0.6, "scale": rng.uniform(0.1, 1.0, shape.scale)}
    return Case(_arrays(rng, shape), options)


@performer.regime
def causal(rng, shape):
    """Queries that see the keys up to their own position"""
    return Case(_arrays(rng, shape), {"causal": "top_left"})


@performer.regime
def cosines(rng, shape):
    """Trigonometric features of short vectors, for which no sum is near 0"""
    return Case(_arrays(rng, shape, 0.1), {"kind": "trigonometric"})


@performer.regime(adversarial=True)
def long_vectors(rng, shape):
    """Vectors of length 12 or so: features that an eps would drown, or that overflow"""
    q, k, v, projections = _arrays(rng, shape, 8.0 * shape.axes["d"] ** -0.25)
    return Case((q, k, v, projections), {"causal": "top_left"})


@performer.regime(adversarial=True)
def a_key_far_longer(rng, shape):
    """A last key many times as long as the others, which earlier queries must not notice"""
    q, k, v, projections = _arrays(rng, shape)
    k[..., -1:, :] *= 6.0
    return Case((q, k, v, projections), {"causal": "top_left"})


@performer.regime(adversarial=True)
def hidden_heads(rng, shape):
    """A mask that hides every key of some heads"""
    mask = (rng.random(shape.mask) < 0.7) & (rng.random(shape.batch)[..., None] < 0.5)
    return Case(_arrays(rng, shape), {"mask": mask, "kind": "hyperbolic"})


@performer.regime(adversarial=True, advisory=True)
def nan_under_mask(rng, shape):
    """Keys and values that are masked hold NaN"""
    q, k, v, projections = _arrays(rng, shape)
    keep = np.arange(shape.axes["m"]) % 4 != 1
    k[..., ~keep, :] = v[..., ~keep, :] = np.nan
    return Case((q, k, v, projections), {"mask": np.broadcast_to(keep, shape.mask).copy()})


# ------------------------------------------------------------------------------ attention: laws


def _size(case) -> float:
    """Values, times the growth of a rounding error in the exponents."""
    q, k, v, w = (np.nan_to_num(np.asarray(to_host(x), dtype=float)) for x in case.arrays)
    lengths = np.sqrt(np.square(q).sum(-1).max(initial=0) + np.square(k).sum(-1).max(initial=0))
    exponent = (1.0 + lengths) ** 2 + lengths * np.sqrt(np.square(w).sum(-1).max(initial=0))
    return 2.0 * float(np.abs(v).max(initial=1.0) * (1.0 + exponent))


performer.law(constant_values(2, _size))


performer.law(linear_in(2, "values", _size))


@performer.law
def order_of_projections_and_features(f, case):
    """Reordering the projections, or the features of q, k and projections, changes nothing"""
    q, k, v, projections = case.arrays
    xp = namespace(q)
    value = case.call(f)
    turned = case.with_arrays(q, k, v, xp.flip(projections, axis=-2)).call(f)
    yield Claim(turned, value, _size(case))
    turned = case.with_arrays(
        *(xp.flip(x, axis=-1) for x in (q, k)), v, xp.flip(projections, axis=-1)
    )
    yield Claim(turned.call(f), value, _size(case))


@performer.law
def no_look_ahead(f, case):
    """With causality, the first output depends on the first key alone"""
    q, k, v, projections = case.arrays
    if case.options.get("causal") != "top_left" or not (q.shape[-2] and k.shape[-2]):
        return
    xp = namespace(q)
    later = (xp.arange(k.shape[-2]) > 0)[:, None]
    other = xp.where(later, 3.0 * k, k).astype(k.dtype), xp.where(later, 100.0, v).astype(v.dtype)
    changed = case.with_arrays(q, *other, projections)
    yield Claim(case.call(f)[..., :1, :], changed.call(f)[..., :1, :], _size(case))


@performer.law
def one_query_alone(f, case):
    """Without causality, each query is answered as if it were alone"""
    q, *rest = case.arrays
    if case.options.get("causal") is None and q.shape[-2]:
        alone = case.with_arrays(q[..., -1:, :], *rest)
        yield Claim(case.call(f)[..., -1:, :], alone.call(f), _size(case))


# ---------------------------------------------------------------------- attention: closed forms


@performer.closed_form
def equal_keys(rng, shape):
    """Equal keys average the values"""
    q, k, v, projections = _arrays(rng, shape)
    k = k if not shape.axes["m"] else np.broadcast_to(k[..., :1, :], k.shape).copy()
    mean = v.sum(axis=-2, keepdims=True) / max(shape.axes["m"], 1)
    answer = np.broadcast_to(mean, (*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((q, k, v, projections)), answer


@performer.closed_form
def key_lengths_alone(rng, shape):
    """Projections of 0: every query weighs keys by exp(-|k|^2/2 sqrt d)"""
    q, k, v, projections = _arrays(rng, shape)
    weights = np.exp(-0.5 * (k * k).sum(axis=-1) * shape.axes["d"] ** -0.5)
    total = weights.sum(axis=-1)[..., None]
    mean = (weights[..., None] * v).sum(axis=-2) / np.where(total == 0, 1, total)
    answer = np.broadcast_to(mean[..., None, :], (*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((q, k, v, 0.0 * projections)), answer


@performer.closed_form
def queries_of_zero(rng, shape):
    """relu features of a query of 0 are 0: the output is 0"""
    _, k, v, projections = _arrays(rng, shape)
    answer = np.zeros((*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((np.zeros(shape.q), k, v, projections), {"kind": "relu"}), answer
