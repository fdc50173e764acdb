"""Evidence for feature maps: the similarities that their inner products must give."""

from __future__ import annotations

import math

import numpy as np

from refimpl.attention.features import feature_map
from refimpl.backend import namespace
from refimpl.core import softmax
from refimpl.evidence import Case, Claim, Evidence, Sizes

POSITIVE = ("elu_plus_one", "relu", "squared_relu", "exponential", "softmax")
SIMILARITIES = {
    "identity": lambda dot, cosine, degree: dot,
    "one_plus_cosine": lambda dot, cosine, degree: 1 + cosine,
    "taylor_2": lambda dot, cosine, degree: 1 + dot + dot * dot / 2,
    "power": lambda dot, cosine, degree: (1 + dot / degree) ** degree,
}
ALL = (*POSITIVE, *SIMILARITIES)

maps = Evidence(
    feature_map,
    sizes={"d": Sizes(1, 1, 12)},
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


def _wrong(kind, source=""):
    """Register a variant that is wrong for one map and right for the others."""

    def register(body):
        def mutant(x, /, *, features, degree=2):
            if features != kind:
                return feature_map(x, features=features, degree=degree)
            return body(x, degree)

        mutant.__name__, mutant.__doc__ = body.__name__, body.__doc__
        return maps.mutant(mutant, source=source)

    return register


@_wrong("elu_plus_one", "https://github.com/fla-org/flash-linear-attention/issues/1261")
def elu_in_half_precision(x, degree):
    """elu(x) is formed in half precision before 1 is added, which cancels"""
    return np.where(x >= 0, x, np.expm1(np.minimum(x, 0))).astype(np.float16).astype(float) + 1


@_wrong("elu_plus_one")
def elu_without_one(x, degree):
    """1 is not added to elu(x)"""
    return np.where(x >= 0, x, np.expm1(np.minimum(x, 0)))


@_wrong("elu_plus_one")
def exponential_for_all(x, degree):
    """elu + 1 is the exponential for positive entries too"""
    return np.exp(x)


@_wrong("relu")
def absolute_value(x, degree):
    """relu is the absolute value"""
    return np.abs(x)


@_wrong("squared_relu")
def square_missing(x, degree):
    """relu is not squared"""
    return np.maximum(x, 0)


@_wrong("exponential")
def base_two(x, degree):
    """the exponential has base 2"""
    return np.exp2(x)


@_wrong("softmax")
def not_divided(x, degree):
    """softmax features are not divided by their sum"""
    return np.exp(x - x.max(axis=-1, keepdims=True))


@_wrong("one_plus_cosine")
def not_normalised(x, degree):
    """the vector of 1 + cos is not divided by its length"""
    return np.concatenate([np.ones_like(x[..., :1]), x], axis=-1)


@_wrong("one_plus_cosine")
def constant_missing(x, degree):
    """the constant feature of 1 + cos is 0"""
    right = feature_map(x, features="one_plus_cosine")
    return np.concatenate([0 * right[..., :1], right[..., 1:]], axis=-1)


@_wrong("taylor_2")
def half_missing(x, degree):
    """the quadratic Taylor features lack their factor 1/sqrt 2"""
    right = feature_map(x, features="taylor_2")
    d = x.shape[-1] + 1
    return np.concatenate([right[..., :d], np.sqrt(2.0) * right[..., d:]], axis=-1)


@_wrong("power")
def degree_not_divided(x, degree):
    """the power map does not divide by the degree"""
    return feature_map(x * np.sqrt(degree), features="power", degree=degree)


def _wrong_gradient(kind):
    """Register a gradient that is wrong for one map and right for the others."""

    def register(body):
        def mutant(g, x, /, *, features, degree=2):
            if features != kind:
                return feature_map.vjp(g, x, features=features, degree=degree)
            return (body(g, x),)

        mutant.__name__, mutant.__doc__ = body.__name__, body.__doc__
        return maps.mutant(mutant, gradient=True)

    return register


@_wrong_gradient("elu_plus_one")
def gradient_of_one(g, x):
    """the gradient of elu + 1 is 1 for negative entries too"""
    return g


@_wrong_gradient("one_plus_cosine")
def gradient_along_the_vector(g, x):
    """the gradient of x/|x| keeps its part along x"""
    return g[..., 1:] / np.sqrt((x * x).sum(axis=-1, keepdims=True))


@_wrong_gradient("taylor_2")
def gradient_of_one_factor(g, x):
    """the gradient of x x^T takes only one of the two factors"""
    d = x.shape[-1]
    pairs = g[..., d + 1 :].reshape((*g.shape[:-1], d, d))
    return g[..., 1 : d + 1] + (pairs @ x[..., None])[..., 0] / np.sqrt(2.0)


@_wrong_gradient("softmax")
def gradient_as_sigmoid(g, x):
    """the gradient of softmax features is that of independent sigmoids, p (1 - p)"""
    p = softmax(x, axis=-1)
    return g * p * (1 - p)


@_wrong_gradient("squared_relu")
def gradient_factor_two(g, x):
    """the gradient of the squared relu lacks its factor 2"""
    return g * np.maximum(x, 0)


@_wrong_gradient("power")
def gradient_of_the_first_factor(g, x):
    """the gradient of the tensor power is that of its first factor alone"""
    return feature_map.vjp(g, x, features="power")[0] / 2
