"""Evidence for Fisher-Rao distances in closed form."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian import parametrised, variation
from refimpl.evidence.gaussian.pairs import OF_MEANS, in_order, symmetric
from refimpl.evidence.gaussian.shared import change_of_unit, integer_factor, recoordinated
from refimpl.formula import upcast
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.fisher_rao import (
    fisher_rao_diagonal,
    fisher_rao_same_covariance,
    fisher_rao_univariate,
)

_BUDGET = Budget(k=8.0, floor=16.0)

univariate = Evidence(
    fisher_rao_univariate,
    budget=_BUDGET,
    unchanged=OF_MEANS | symmetric("var"),
)
diagonal = Evidence(
    fisher_rao_diagonal,
    sizes={"d": Sizes(1, 1, 16)},
    budget=_BUDGET,
    unchanged=OF_MEANS | symmetric("var"),
)
same_covariance = Evidence(
    fisher_rao_same_covariance,
    sizes={"d": Sizes(1, 1, 10)},
    budget=_BUDGET,
    unchanged=OF_MEANS,
)


# ------------------------------------------------------------------------------------------ regimes


def on_the_line(sample):
    """A sampler of several coordinates as one of a single one."""

    @functools.wraps(sample)
    def first(rng, shape):
        wide = SimpleNamespace(mean_q=(*shape.mean_q, 1), batch=shape.batch)
        return Case(tuple(x[..., 0] for x in sample(rng, wide).arrays))

    return first


for sample in (parametrised.variances, parametrised.same_variances):
    univariate.regime(on_the_line(sample))
    diagonal.regime(sample)
univariate.regime(on_the_line(parametrised.far_apart), adversarial=True)
for sample in (parametrised.graded, parametrised.far_apart):
    diagonal.regime(sample, adversarial=True)


@univariate.regime(adversarial=True)
def concentric(rng, shape):
    """Equal means: only the deviations differ."""
    mean_p, var_p, _, var_q = on_the_line(parametrised.variances)(rng, shape).arrays
    return Case((mean_p, var_p, mean_p.copy(), 2 * var_p + var_q))


for of, sample in (
    (univariate, on_the_line(parametrised.close_by)),
    (diagonal, parametrised.close_by),
):
    # arcosh of what is near 1, as many write it, loses half of the digits.
    of.regime(sample, adversarial=True, advisory=True)

same_covariance.regime(variation.shifted)
same_covariance.regime(variation.shifted_independently)
same_covariance.regime(variation.shifted_in_graded_units, adversarial=True)
same_covariance.regime(variation.shifted_a_little, adversarial=True)


@same_covariance.regime(adversarial=True)
def shifted_far(rng, shape):
    """Means 16 times as far apart."""
    mean_p, mean_q, cov = variation.shifted(rng, shape).arrays
    return Case((mean_q + 16 * (mean_p - mean_q), mean_q, cov))


# --------------------------------------------------------------------------------------------- laws


def _scale(value):
    return 16 * (1 + abs(value))


@univariate.law
@diagonal.law
def is_symmetric(f, case):
    """d(p, q) = d(q, p) = d with the means exchanged"""
    mean_p, var_p, mean_q, var_q = case.arrays
    value = f(*case.arrays)
    yield Claim(f(mean_q, var_q, mean_p, var_p), value, _scale(value))
    yield Claim(f(mean_q, var_p, mean_p, var_q), value, _scale(value))


@univariate.law
@diagonal.law
def ignores_unit_and_origin(f, case):
    """d is invariant under x -> 2 x and translations"""
    mean_p, var_p, mean_q, var_q = case.arrays
    value = f(*case.arrays)
    yield Claim(f(2 * mean_p, 4 * var_p, 2 * mean_q, 4 * var_q), value, _scale(value))
    yield Claim(f(mean_p - mean_q, var_p, mean_q - mean_q, var_q), value, _scale(value))


@univariate.law
@diagonal.law
def obeys_the_triangle_inequality(f, case):
    """d(p, q) <= d(p, m) + d(m, q), with m between them; 0 at equality"""
    mean_p, var_p, mean_q, var_q = case.arrays
    middle = mean_p / 2 + mean_q / 2, var_p / 2 + var_q / 2
    detour = f(mean_p, var_p, *middle) + f(*middle, mean_q, var_q)
    yield in_order(f(*case.arrays), detour, _scale(detour))
    yield Claim(f(mean_p, var_p, mean_p, var_p), 0 * detour, 4.0)


@univariate.law
def halves_add_along_the_shortest_curve(f, case):
    """d(p, q) = d(p, m) + d(m, q), with the hyperbolic midpoint m of the half plane"""
    mean_p, var_p, mean_q, var_q = (upcast(x) for x in case.arrays)
    xp = namespace(mean_p)
    # In the half plane of (mean/sqrt 2, sigma) the midpoint is on the ray to where the
    # perpendicular bisector meets: of two points with a common mean the geometric mean.
    x, y = (mean_p - mean_q) / math.sqrt(2), xp.sqrt(var_p)
    w = xp.sqrt(var_q)
    share = w / (y + w)
    middle = share * x, xp.sqrt(y * w * (1 + x * x / (y + w) ** 2))
    mean, var = mean_q + math.sqrt(2) * middle[0], middle[1] ** 2
    whole = f(mean_p, var_p, mean_q, var_q)
    first, second = f(mean_p, var_p, mean, var), f(mean, var, mean_q, var_q)
    yield Claim(first + second, whole, 64 * _scale(whole))
    yield Claim(first, second, 64 * _scale(whole))


@diagonal.law
def is_the_norm_of_univariate_distances(f, case):
    """d^2 is the sum of the squares of those of each coordinate"""
    each = fisher_rao_univariate.oracle(*case.arrays)
    value = namespace(each).sqrt((each * each).sum(axis=-1))
    yield Claim(f(*case.arrays), value, 4 * _scale(value))


@diagonal.law
def repeated_coordinates_count(f, case):
    """Every coordinate twice: sqrt(2) times the distance"""
    twice = (namespace(x).concatenate([x, x], axis=-1) for x in case.arrays)
    value = f(*case.arrays) * math.sqrt(2)
    yield Claim(f(*twice), value, 4 * _scale(value))


@same_covariance.law
def is_that_on_the_line(f, case):
    """It is that of N(r, 1) and N(0, 1), with Mahalanobis' distance r, and at most r"""
    mean_p, mean_q, cov = (upcast(x) for x in case.arrays)
    xp = namespace(mean_p)
    distance = xp.sqrt(2 * gaussian_kl.oracle(mean_p, cov, mean_q, cov))
    zero = xp.zeros_like(distance)
    value = fisher_rao_univariate.oracle(distance, zero + 1, zero, zero + 1)
    scale = _scale(distance) * (1 + mean_p.shape[-1])
    yield Claim(f(*case.arrays), value, scale)
    yield in_order(upcast(f(*case.arrays)), distance, scale)


@same_covariance.law
def ignores_the_coordinates(f, case):
    """d is invariant under x -> C x, here a permutation with scales, which rounds nothing"""
    mean_p, mean_q, cov = case.arrays
    units, order = change_of_unit(mean_p)
    means = ((x * units)[..., order] for x in (mean_p, mean_q))
    value = f(*case.arrays)
    scale = _scale(value) * (1 + mean_p.shape[-1])
    yield Claim(f(*means, recoordinated(cov, units, order)), value, scale)
    yield Claim(f(mean_q, mean_p, cov), value, scale)


# ------------------------------------------------------------------------------------- closed forms


@univariate.closed_form
def equal_means(rng, shape):
    """Equal means and deviations with the ratio 2^n: sqrt(2) n log 2"""
    mean, var = rng.standard_normal(shape.mean_q), 4.0 ** rng.integers(-2, 3, shape.var_q)
    powers = rng.integers(-3, 4, shape.mean_q)
    answer = math.sqrt(2) * math.log(2) * np.abs(powers)
    return Case((mean, var * 4.0**powers, mean.copy(), var)), answer


@univariate.closed_form
def unit_shift(rng, shape):
    """Equal variances v and delta = sqrt(2 n v): 2 sqrt(2) arsinh(sqrt(n)/2)"""
    squares = rng.integers(1, 20, shape.mean_q)
    zero, one = np.zeros(shape.mean_q), np.ones(shape.var_q)
    answer = 2 * math.sqrt(2) * np.arcsinh(np.sqrt(squares) / 2)
    return Case((np.sqrt(2.0 * squares), one, zero, one.copy())), answer


@diagonal.closed_form
def doubled_deviations(rng, shape):
    """Equal means, all deviations doubled: sqrt(2 d) log 2"""
    _, var, mean, _ = parametrised.variances(rng, shape).arrays
    answer = np.full(shape.batch, math.sqrt(2 * shape.axes["d"]) * math.log(2))
    return Case((mean, 4 * var, mean.copy(), var)), answer


@diagonal.closed_form
def shifted_coordinates(rng, shape):
    """Variances 1 and delta = sqrt(2) in each coordinate: sqrt(8 d) arsinh(1/2)"""
    zero, one = np.zeros(shape.mean_q), np.ones(shape.var_q)
    answer = np.full(shape.batch, math.sqrt(8 * shape.axes["d"]) * math.asinh(0.5))
    return Case((zero + math.sqrt(2), one, zero, one.copy())), answer


@same_covariance.closed_form
def integer_shift(rng, shape):
    """Covariances L L^T and delta = L z with small integers: 2 sqrt(2) arsinh(|z|/sqrt 8)"""
    factor = integer_factor(rng, shape.cov)
    z = rng.integers(1, 4, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    distance = np.sqrt((z * z).sum(axis=-1))
    answer = 2 * math.sqrt(2) * np.arcsinh(distance / math.sqrt(8))
    cov = factor @ factor.swapaxes(-1, -2)
    return Case((mean_p, np.zeros(shape.mean_q), cov)), answer
