"""Evidence for Sandwich, the products of sinusoidal encodings as a bias."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.shared import (
    after_a_cache,
    distance_alone_matters,
    far,
    fractional,
    in_order,
    keys_in_any_order,
    padded,
    symmetric_in_distance,
    the_last_query_alone,
)
from refimpl.position.rotary import rotary_frequencies
from refimpl.position.sandwich import sandwich_bias

sandwich = Evidence(
    sandwich_bias,
    sizes={"f": Sizes(1, 1, 8)},
    empty=("n", "m"),
    fixed={"heads": 3, "centred": False},
    options={
        "heads": (1, 8),
    },
    combinations=({"heads": 12, "centred": True},),
)


# ------------------------------------------------------------------------------------- regimes


def _theta(shape, base=10000.0):
    theta = rotary_frequencies(base, dim=2 * shape.axes["f"])
    return np.broadcast_to(theta, shape.frequencies).copy()


@sandwich.regime
def in_order_of_text(rng, shape):
    """Queries and keys from position 0 on"""
    return Case((_theta(shape), *in_order(shape)))


@sandwich.regime
def centred_after_a_cache(rng, shape):
    """Queries at the end of the keys, 0 at distance 0"""
    return Case((_theta(shape), *after_a_cache(shape)), {"centred": True, "heads": 4})


@sandwich.regime(adversarial=True)
def padded_texts(rng, shape):
    """Positions that differ along the batch, frequencies that are no powers of a base"""
    theta = rng.uniform(0.01, 3.0, shape.frequencies)
    return Case((theta, *padded(rng, shape)))


@sandwich.regime(adversarial=True)
def far_and_in_any_order(rng, shape):
    """Positions to 8191 in any order"""
    return Case((_theta(shape), *far(rng, shape)), {"centred": True})


@sandwich.regime(adversarial=True)
def fractions(rng, shape):
    """Positions that are fractions"""
    return Case((_theta(shape, base=50.0), *fractional(rng, shape)), {"heads": 5})


def _angles(theta, queries, keys):
    """The largest distance, and the sum of the largest angles, each of which is rounded once."""
    theta, queries, keys = (np.abs(wide(x)) for x in (theta, queries, keys))
    farthest = queries.max(initial=0.0) + keys.max(initial=0.0)
    return farthest, float((1.0 + farthest * theta).sum(axis=-1).max())


@sandwich.output_terms
def _sizes_of_terms(theta, queries, keys, *, heads, centred):
    """The first head has the largest terms."""
    return [heads / 8.0 * _angles(theta, queries, keys)[1]]


@sandwich.gradient_terms
def _sizes_of_gradient_terms(g, theta, queries, keys, *, heads, centred):
    """Errors of angles move their sines, each of which a distance multiplies."""
    farthest, angles = _angles(theta, queries, keys)
    norm = float(np.sqrt(np.square(wide(g)).sum(axis=(-3, -2, -1)).max(initial=0.0)))
    return {"frequencies": heads / 8.0 * norm * farthest * angles}


# ---------------------------------------------------------------------------------------- laws


for _law in (distance_alone_matters, the_last_query_alone, keys_in_any_order):
    sandwich.law(_law)
sandwich.law(symmetric_in_distance)


def _angle_size(case):
    return 8.0 + 8.0 * _angles(*case.arrays)[1]


@sandwich.law
def heads_are_a_curve_divided(f, case):
    """Head h times h/H is one and the same for all heads and numbers of them"""
    value = wide(case.call(f))
    heads = value.shape[-3]
    numbers = np.arange(1, heads + 1)[:, None, None] / heads
    alone = wide(case.with_options(heads=1).call(f))
    yield Claim(value * numbers, np.broadcast_to(alone, value.shape), _angle_size(case))


@sandwich.law
def is_the_product_of_sinusoids(f, case):
    """The last head is an eighth of the product of the sinusoidal encodings"""
    theta, queries, keys = map(wide, case.arrays)
    angles = (x[..., :, None] * theta[..., None, :] for x in (queries, keys))
    p, q = (np.concatenate([np.sin(a), np.cos(a)], axis=-1) for a in angles)
    value = case.with_options(centred=False).call(f)[..., -1, :, :]
    yield Claim(value, p @ q.swapaxes(-1, -2) / 8.0, _angle_size(case))


@sandwich.law
def positive_semidefinite(f, case):
    """c^T b c >= 0 for any c, where it is not centred"""
    theta, queries, _ = case.arrays
    matrix = wide(case.with_arrays(theta, queries, queries).with_options(centred=False).call(f))
    c = np.random.default_rng(2212).standard_normal((5, queries.shape[-1]))
    value = np.einsum("ai,...ij,aj->...a", c, matrix, c)
    size = 64.0 * (1.0 + queries.shape[-1]) ** 2 * _angle_size(case)
    yield Claim(np.maximum(value, 0.0), value, size)


@sandwich.law
def largest_at_distance_zero(f, case):
    """A key at the query has the largest bias: 0 where centred, else H f/(8 h)"""
    theta, queries, _ = case.arrays
    value = wide(case.with_arrays(theta, queries, queries).call(f))
    heads = value.shape[-3]
    count = 0 if case.options["centred"] else theta.shape[-1]
    peak = heads * count / (8.0 * np.arange(1, heads + 1))[:, None]
    own = np.diagonal(value, axis1=-2, axis2=-1)
    yield Claim(own, np.broadcast_to(peak, own.shape), _angle_size(case))
    yield Claim(np.minimum(value, peak[..., None]), value, _angle_size(case))


# -------------------------------------------------------------------------------- closed forms


def _case(queries, keys, **options):
    theta = rotary_frequencies(10000.0, dim=128)
    return Case((theta, np.array(queries), np.array(keys)), options)


@sandwich.closed_form
def known_products(rng, shape):
    """128 features at distances 0, 1, 64, in eight heads"""
    curve = np.array([64.0, 62.0936838057676, 30.5200590081035])
    answer = curve / np.arange(1, 9)[:, None, None]
    return _case([64], [64, 63, 0], heads=8, centred=False), answer


@sandwich.closed_form
def known_products_centred(rng, shape):
    """128 features at distances 0, 8, 512, less 64, in two heads"""
    curve = np.array([64.0, 45.7205140669877, 14.0431598438467]) - 64.0
    answer = curve / np.array([4.0, 8.0])[:, None, None]
    return _case([512], [512, 504, 0], heads=2, centred=True), answer


# ------------------------------------------------------------------------------------- mutants


def _terms(theta, queries, keys, *, heads, centred):
    """The angles of each pair, what is summed of them, and 8h/H."""
    xp = namespace(theta)
    distances = queries[..., :, None] - keys[..., None, :]
    return {
        "angles": distances[..., None] * theta[..., None, None, :],
        "wave": xp.cos,
        "centre": theta.shape[-1] * bool(centred),
        "ratio": 8.0 * xp.arange(1, heads + 1)[:, None, None] / heads,
    }


def _whole(angles, wave, centre, ratio):
    return (wave(angles).sum(axis=-1) - centre)[..., None, :, :] / ratio


book = Textbook(sandwich, _terms, _whole)
book.wrong("The ratio multiplies instead of dividing", ratio=lambda t: 1 / t.ratio)
book.wrong(
    "Heads count from 0: the first one would divide by zero, and takes a half",
    ratio=lambda t: t.ratio - 4 / t.heads,
)
book.wrong(
    "Heads are divided by 2^(8h/H), as in ALiBi, instead of 8h/H", ratio=lambda t: 2**t.ratio
)
wrong(
    sandwich,
    "Centred where it should not be, or the reverse: the same after the softmax",
    options={"centred": lambda x: not x},
)


@sandwich.mutant
def frequencies_one_further(theta, queries, keys, *, heads, centred):
    """Frequencies b^(-2p/d) count from p = 1, as in NeMo"""
    if theta.shape[-1] > 1:
        theta = theta * (theta[..., 1:2] / theta[..., :1])
    else:
        theta = theta / 10000.0
    return sandwich_bias(theta, queries, keys, heads=heads, centred=centred)


book.wrong(
    "The cosine is missing: angles themselves add up", wave=lambda t: namespace(t.angles).negative
)
book.wrong("Sines add up instead of cosines", wave=lambda t: namespace(t.angles).sin)
book.wrong(
    "The mean of the cosines instead of their sum",
    ratio=lambda t: t.ratio * (1 + t.frequencies.shape[-1]),
)


@sandwich.mutant(gradient=True)
def gradient_of_one_head(g, theta, queries, keys, *, heads, centred):
    """The gradient has all heads with the same weight"""
    total = g.sum(axis=-3, keepdims=True) * 8.0
    return sandwich_bias.vjp(total, theta, queries, keys, heads=1, centred=centred)
