"""Evidence for feature maps: the similarities that their inner products must give."""

from __future__ import annotations

import math

import numpy as np

from refimpl.attention.features import feature_map
from refimpl.backend import namespace
from refimpl.core import softmax
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.attention.shared import POSITIVE
from refimpl.evidence.mistakes import Textbook, wrong_gradients

SIMILARITIES = {
    "identity": lambda dot, cosine, degree: dot,
    "one_plus_cosine": lambda dot, cosine, degree: 1 + cosine,
    "taylor_2": lambda dot, cosine, degree: 1 + dot + dot * dot / 2,
    "power": lambda dot, cosine, degree: (1 + dot / degree) ** degree,
}
ALL = (*POSITIVE, *SIMILARITIES)

maps = Evidence(
    feature_map,
    sizes={"d": Sizes(1, 1, 12, 18)},
    fixed={"features": "elu_plus_one"},
    options={"features": ALL},
    combinations=({"features": "power", "degree": 3}, {"features": "power", "degree": 1}),
)


# ------------------------------------------------------------------------------------- regimes


@maps.regime
def normal(rng, shape):
    """Standard normal entries, any map"""
    return Case((rng.standard_normal(shape.x),), {"features": str(rng.choice(ALL))})


@maps.regime
def cubes(rng, shape):
    """Standard normal entries, the power map of degree 3"""
    return Case((rng.standard_normal(shape.x),), {"features": "power", "degree": 3})


@maps.regime(adversarial=True)
def negative(rng, shape):
    """Entries of -9 to -3, where elu(x) + 1 cancels"""
    return Case((rng.uniform(-9.0, -3.0, shape.x),), {"features": str(rng.choice(POSITIVE[::3]))})


@maps.regime(adversarial=True)
def zero_vectors(rng, shape):
    """Vectors of zeros, which have no direction"""
    smooth = ("elu_plus_one", "exponential", "softmax", "taylor_2", "power")
    return Case((np.zeros(shape.x),), {"features": str(rng.choice(smooth))})


@maps.regime(adversarial=True)
def long(rng, shape):
    """Vectors a hundred times as long, of which only the direction may show"""
    return Case((100.0 * rng.standard_normal(shape.x),), {"features": "one_plus_cosine"})


# ---------------------------------------------------------------------------------------- laws


@maps.law
def inner_products_are_the_similarity(f, case):
    """<f(x), f(y)> is the similarity that names the map, here with y the reversed x"""
    kind = case.options["features"]
    if kind not in SIMILARITIES:
        return
    (x,) = case.arrays
    y = namespace(x).flip(x, axis=-1)
    squares = (x * x).sum(axis=-1)
    dot = (x * y).sum(axis=-1)
    cosine = dot / namespace(x).where(squares == 0, 1, squares)
    degree = case.options.get("degree", 2)
    found = (case.call(f) * case.with_arrays(y).call(f)).sum(axis=-1)
    size = SIMILARITIES[kind](squares, 1, degree)
    yield Claim(found, SIMILARITIES[kind](dot, cosine, degree), degree * (1 + size))


@maps.law
def none_is_negative(f, case):
    """Features of elu + 1, relu, exp and softmax are not negative"""
    if case.options["features"] in POSITIVE:
        found = case.call(f)
        yield Claim(abs(found), found, 0.0)


@maps.law
def scales_with_the_input(f, case):
    """f(2x) is 2 f(x) for relu, 4 f(x) for its square, f(x) for the cosine"""
    factors = {"relu": 2.0, "squared_relu": 4.0, "one_plus_cosine": 1.0, "identity": 2.0}
    kind = case.options["features"]
    if kind in factors:
        once, twice = case.call(f), case.with_arrays(2.0 * case.arrays[0]).call(f)
        yield Claim(twice, factors[kind] * once, abs(once))


@maps.law
def reflection(f, case):
    """elu + 1: log f(-|x|) = 1 - f(|x|); exp: f(x) f(-x) = 1; relu: f(x) - f(-x) = x"""
    (x,) = case.arrays
    there, back = case.call(f), case.with_arrays(-x).call(f)
    xp = namespace(x)
    kind = case.options["features"]
    if kind == "elu_plus_one":
        small, large = xp.minimum(there, back), xp.maximum(there, back)
        yield Claim(xp.log(small), 1.0 - large, 1.0 + large)
    if kind == "exponential":
        yield Claim(there * back, xp.ones_like(x), 1.0 + abs(x))
    if kind == "relu":
        yield Claim(there - back, x, abs(x))


@maps.law
def softmax_features_sum_to_one(f, case):
    """softmax: the features sum to one, and a constant added to x changes nothing"""
    if case.options["features"] == "softmax":
        (x,) = case.arrays
        found = case.call(f)
        total = found.sum(axis=-1)
        yield Claim(total, namespace(x).ones_like(total), 1.0)
        yield Claim(case.with_arrays(x + 0.5).call(f), found, 1.0 + abs(x))


# -------------------------------------------------------------------------------- closed forms


@maps.closed_form
def powers_of_two(rng, shape):
    """exp(-k log 2) = 2^-k, for elu + 1 and exp"""
    k = rng.integers(0, 8, shape.x)
    kind = str(rng.choice(("elu_plus_one", "exponential")))
    return Case((-math.log(2.0) * k,), {"features": kind}), 0.5**k


@maps.closed_form
def whole_numbers(rng, shape):
    """elu + 1 of k >= 0 is k + 1, relu of an integer its positive part"""
    k = rng.integers(0, 9, shape.x).astype(float)
    if rng.random() < 0.5:
        return Case((k,), {"features": "elu_plus_one"}), k + 1
    return Case((k - 4.0,), {"features": "squared_relu"}), np.where(k > 4, (k - 4.0) ** 2, 0.0)


@maps.closed_form
def along_an_axis(rng, shape):
    """The Taylor features of 2 e_1 are 1, 2 e_1 and sqrt(8) at one place"""
    d = shape.axes["d"]
    x = np.zeros(shape.x)
    x[..., 0] = 2.0
    answer = np.zeros((*shape.batch, 1 + d + d * d))
    answer[..., 0], answer[..., 1], answer[..., 1 + d] = 1.0, 2.0, math.sqrt(8.0)
    return Case((x,), {"features": "taylor_2"}), answer


# ------------------------------------------------------------------------------------- mutants


def _terms(x, /, *, features, degree=2):
    """The map that is asked for, under its own name: a mistake in another one changes nothing."""
    right = feature_map(x, features=features, degree=degree)
    return {"features": features, "degree": degree, features: right}


def _whole(features, degree, **maps):
    return maps[features]


book = Textbook(maps, _terms, _whole)
book.wrong(
    "elu(x) is formed in half precision before 1 is added, which cancels",
    elu_plus_one=lambda t: _elu(t.x).astype(np.float16).astype(float) + 1,
    source="https://github.com/fla-org/flash-linear-attention/issues/1261",
)
book.wrong("1 is not added to elu(x)", elu_plus_one=lambda t: _elu(t.x))
book.wrong(
    "elu + 1 is the exponential for positive entries too", elu_plus_one=lambda t: np.exp(t.x)
)
book.wrong("relu is the absolute value", relu=lambda t: np.abs(t.x))
book.wrong("relu is not squared", squared_relu=lambda t: np.maximum(t.x, 0))
book.wrong("the exponential has base 2", exponential=lambda t: np.exp2(t.x))
book.wrong(
    "softmax features are not divided by their sum",
    softmax=lambda t: np.exp(t.x - t.x.max(axis=-1, keepdims=True)),
)
book.wrong(
    "the vector of 1 + cos is not divided by its length",
    one_plus_cosine=lambda t: np.concatenate([np.ones_like(t.x[..., :1]), t.x], axis=-1),
)
book.wrong(
    "the constant feature of 1 + cos is 0",
    one_plus_cosine=lambda t: (
        feature_map(t.x, features="one_plus_cosine") * (np.arange(t.x.shape[-1] + 1) > 0)
    ),
)
book.wrong(
    "the quadratic Taylor features lack their factor 1/sqrt 2",
    taylor_2=lambda t: np.concatenate([np.ones_like(t.x[..., :1]), t.x, _pairs(t.x)], axis=-1),
)
book.wrong(
    "the power map does not divide by the degree",
    power=lambda t: feature_map(t.x * np.sqrt(t.degree), features="power", degree=t.degree),
)


def _elu(x):
    return np.where(x >= 0, x, np.expm1(np.minimum(x, 0)))


def _pairs(x):
    return (x[..., :, None] * x[..., None, :]).reshape((*x.shape[:-1], -1))


@wrong_gradients(maps)
def gradient_of_one(found, g, arrays, options):
    """the gradient of elu + 1 is 1 for negative entries too"""
    return [g] if options["features"] == "elu_plus_one" else found


@wrong_gradients(maps)
def gradient_along_the_vector(found, g, arrays, options):
    """the gradient of x/|x| keeps its part along x"""
    lengths = np.sqrt((arrays[0] ** 2).sum(axis=-1, keepdims=True))
    return [g[..., 1:] / lengths] if options["features"] == "one_plus_cosine" else found


@wrong_gradients(maps)
def gradient_of_one_factor(found, g, arrays, options):
    """the gradient of x x^T takes only one of the two factors"""
    if options["features"] != "taylor_2":
        return found
    d = arrays[0].shape[-1]
    pairs = g[..., d + 1 :].reshape((*g.shape[:-1], d, d))
    return [g[..., 1 : d + 1] + (pairs @ arrays[0][..., None])[..., 0] / np.sqrt(2.0)]


@wrong_gradients(maps)
def gradient_as_sigmoid(found, g, arrays, options):
    """the gradient of softmax features is that of independent sigmoids, p (1 - p)"""
    p = softmax(arrays[0], axis=-1)
    return [g * p * (1 - p)] if options["features"] == "softmax" else found


@wrong_gradients(maps)
def gradient_factor_two(found, g, arrays, options):
    """the gradient of the squared relu lacks its factor 2"""
    return [0.5 * found[0]] if options["features"] == "squared_relu" else found


@wrong_gradients(maps)
def gradient_of_the_first_factor(found, g, arrays, options):
    """the gradient of the tensor power is that of its first factor alone"""
    if options["features"] != "power":
        return found
    return [feature_map.vjp(g, *arrays, features="power")[0] / 2]
