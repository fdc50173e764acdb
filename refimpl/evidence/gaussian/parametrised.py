"""Evidence for the divergence of Gaussians given by variances or by Cholesky factors."""

from __future__ import annotations

import functools
import math

import numpy as np

from refimpl.backend import namespace, solve
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian import pairs
from refimpl.evidence.gaussian.pairs import OF_MEANS
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    covariance,
    graded_units,
    integer_factor,
    symmetric_part,
)
from refimpl.formula import upcast
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrised import (
    gaussian_kl_cholesky,
    gaussian_kl_diagonal,
    gaussian_kl_log_variance,
    gaussian_kl_precision,
)

_BUDGET = Budget(k=8.0, floor=16.0)

diagonal = Evidence(
    gaussian_kl_diagonal,
    sizes={"d": Sizes(1, 1, 16)},
    budget=_BUDGET,
    unchanged=OF_MEANS,
)
log_variance = Evidence(
    gaussian_kl_log_variance,
    sizes={"d": Sizes(1, 1, 16)},
    budget=_BUDGET,
    unchanged=OF_MEANS,
)
inverse = Evidence(
    gaussian_kl_precision,
    sizes={"d": Sizes(1, 1, 8)},
    budget=_BUDGET,
    unchanged=OF_MEANS,
)
triangular = Evidence(
    gaussian_kl_cholesky,
    sizes={"d": Sizes(1, 1, 10)},
    budget=_BUDGET,
    unchanged=OF_MEANS,
)


# ------------------------------------------------------------------------------------------ regimes


def variances(rng, shape):
    """Variances of 1/4 to 16, means some standard deviations apart."""
    var_p, var_q = (4.0 ** rng.uniform(-1, 2, shape.mean_q) for _ in range(2))
    mean_q = rng.standard_normal(shape.mean_q)
    signs = rng.choice([-1.0, 1.0], shape.mean_q)
    mean_p = mean_q + signs * rng.uniform(0.5, 2, shape.mean_q) * np.sqrt(var_q)
    return Case((mean_p, var_p, mean_q, var_q))


def same_variances(rng, shape):
    """Equal variances, so that only the means differ."""
    mean_p, _, mean_q, var_q = variances(rng, shape).arrays
    return Case((mean_p, var_q.copy(), mean_q, var_q))


def standard(rng, shape):
    """q is the standard normal."""
    mean_p, var_p, mean_q, var_q = variances(rng, shape).arrays
    return Case((mean_p - mean_q, var_p, np.zeros_like(mean_q), np.ones_like(var_q)))


def graded(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    mean_p, var_p, mean_q, var_q = variances(rng, shape).arrays
    units = graded_units(rng, shape.mean_q)
    return Case((mean_p * units, var_p * units**2, mean_q * units, var_q * units**2))


def far_apart(rng, shape):
    """p 16 times as narrow as q, its mean 16 standard deviations away."""
    mean_p, var_p, mean_q, var_q = variances(rng, shape).arrays
    return Case((mean_q + 16 * (mean_p - mean_q), var_p / 256, mean_q, var_q))


def near_equal(rng, shape):
    """p and q differ by 1e-8 to 1e-2 of themselves: what torch has cancels."""
    return _differing(rng, shape, rng.uniform(2, 8, shape.batch))


def close_by(rng, shape):
    """p and q differ by 0.3 % to 10 % of themselves, enough to stay off a kink at p = q."""
    return _differing(rng, shape, rng.uniform(1, 2.5, shape.batch))


def _differing(rng, shape, digits):
    mean_p, _, mean_q, var_q = variances(rng, shape).arrays
    difference = 10.0 ** -np.asarray(digits)[..., None]
    change = 1 + difference * rng.uniform(-1, 1, shape.mean_q)
    return Case((mean_q + difference * (mean_p - mean_q), var_q * change, mean_q, var_q))


def identical(rng, shape):
    """p is q."""
    _, _, mean, var = variances(rng, shape).arrays
    return Case((mean, var, mean.copy(), var.copy()))


def _logarithms(case):
    mean_p, var_p, mean_q, var_q = case.arrays
    return case.with_arrays(mean_p, np.log(var_p), mean_q, np.log(var_q))


def _factors(case):
    mean_p, cov_p, mean_q, cov_q = case.arrays
    return case.with_arrays(mean_p, np.linalg.cholesky(cov_p), mean_q, np.linalg.cholesky(cov_q))


def _inverses(case):
    mean_p, cov_p, mean_q, cov_q = case.arrays
    precision_p, precision_q = (symmetric_part(np.linalg.inv(x)) for x in (cov_p, cov_q))
    return case.with_arrays(mean_p, precision_p, mean_q, precision_q)


def _shape_of_covariances(shape):
    full = (*shape.mean_q, shape.mean_q[-1])
    shape.cov_p = shape.cov_q = full
    return shape


def in_logarithms(sample):
    """The sampler of variances as one of their logarithms."""
    return functools.wraps(sample)(lambda rng, shape: _logarithms(sample(rng, shape)))


def in_factors(sample):
    """The sampler of covariances as one of their Cholesky factors."""
    return functools.wraps(sample)(
        lambda rng, shape: _factors(sample(rng, _shape_of_covariances(shape)))
    )


def in_precisions(sample):
    """The sampler of covariances as one of their inverses."""
    return functools.wraps(sample)(
        lambda rng, shape: _inverses(sample(rng, _shape_of_covariances(shape)))
    )


for sample in (variances, same_variances, standard):
    diagonal.regime(sample)
    log_variance.regime(in_logarithms(sample))
for sample in (graded, far_apart):
    diagonal.regime(sample, adversarial=True)
    log_variance.regime(in_logarithms(sample), adversarial=True)
for sample in (near_equal, identical):
    diagonal.regime(sample, adversarial=True, advisory=True)
    log_variance.regime(in_logarithms(sample), adversarial=True, advisory=True)
for sample in (pairs.generic, pairs.same_covariance):
    triangular.regime(in_factors(sample))
for sample in (pairs.graded, pairs.far_apart):
    triangular.regime(in_factors(sample), adversarial=True)
triangular.regime(in_factors(pairs.near_equal), adversarial=True, advisory=True)

for sample in (pairs.generic, pairs.diagonal, pairs.same_covariance):
    inverse.regime(in_precisions(sample))
inverse.regime(in_precisions(pairs.far_apart), adversarial=True)
inverse.regime(in_precisions(pairs.near_equal), adversarial=True, advisory=True)

# --------------------------------------------------------------------------------------------- laws

for of in (diagonal, log_variance, triangular, inverse):
    for law in (
        pairs.is_not_negative,
        pairs.vanishes_at_equality,
        pairs.depends_on_the_difference_of_means,
    ):
        of.law(law)


@diagonal.law
def is_that_of_diagonal_covariances(f, case):
    """KL with the variances on the diagonals of covariances"""
    mean_p, var_p, mean_q, var_q = (upcast(x) for x in case.arrays)
    identity = namespace(var_p).eye(var_p.shape[-1], dtype=var_p.dtype)
    covs = var_p[..., None] * identity, var_q[..., None] * identity
    value = gaussian_kl.oracle(mean_p, covs[0], mean_q, covs[1])
    yield Claim(f(*case.arrays), value, pairs.scale_of(value, case))


@log_variance.law
def is_that_of_the_variances(f, case):
    """KL with the exponentials of the logarithms as variances"""
    mean_p, log_var_p, mean_q, log_var_q = (upcast(x) for x in case.arrays)
    xp = namespace(mean_p)
    value = gaussian_kl_diagonal.oracle(mean_p, xp.exp(log_var_p), mean_q, xp.exp(log_var_q))
    yield Claim(f(*case.arrays), value, 4 * pairs.scale_of(value, case))


@triangular.law
def is_that_of_the_covariances(f, case):
    """KL with the covariances L L^T"""
    mean_p, factor_p, mean_q, factor_q = (upcast(x) for x in case.arrays)
    covs = factor_p @ factor_p.swapaxes(-1, -2), factor_q @ factor_q.swapaxes(-1, -2)
    value = gaussian_kl.oracle(mean_p, covs[0], mean_q, covs[1])
    yield Claim(f(*case.arrays), value, 4 * pairs.scale_of(value, case))


@inverse.law
def is_that_of_the_inverses(f, case):
    """KL with the inverses as covariances"""
    mean_p, precision_p, mean_q, precision_q = (upcast(x) for x in case.arrays)
    identity = namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    covs = [solve(x, identity) for x in (precision_p, precision_q)]
    covs = [x / 2 + x.swapaxes(-1, -2) / 2 for x in covs]
    value = gaussian_kl.oracle(mean_p, covs[0], mean_q, covs[1])
    yield Claim(f(*case.arrays), value, 16 * pairs.scale_of(value, case))


@inverse.law
def exchanges_p_and_q_for_equal_means(f, case):
    """For equal means it is KL(q || p) with the precisions as covariances"""
    mean, precision_p, _, precision_q = case.arrays
    value = gaussian_kl.oracle(mean, precision_q, mean, precision_p)
    yield Claim(f(mean, precision_p, mean, precision_q), value, pairs.scale_of(value, case))


@diagonal.law
@log_variance.law
def is_a_sum_over_the_coordinates(f, case):
    """KL is the sum of those of each coordinate"""
    each = f(*(x[..., None] for x in case.arrays))
    total = each.sum(axis=-1)
    yield Claim(f(*case.arrays), total, pairs.scale_of(total, case))


@diagonal.law
def ignores_the_units(f, case):
    """KL is invariant under changes of the units of the coordinates"""
    mean_p, var_p, mean_q, var_q = case.arrays
    units, order = change_of_unit(mean_p)
    moved = (mean_p * units, var_p * units * units, mean_q * units, var_q * units * units)
    value = f(*case.arrays)
    yield Claim(f(*(x[..., order] for x in moved)), value, pairs.scale_of(value, case))


@log_variance.law
def depends_on_ratios_of_variances(f, case):
    """For equal means only the difference of the logarithms counts"""
    mean_p, log_var_p, _, log_var_q = case.arrays
    value = f(mean_p, log_var_p, mean_p, log_var_q)
    scale = (1 + abs(log_var_p).max() + abs(log_var_q).max()) * pairs.scale_of(value, case)
    yield Claim(f(mean_p, log_var_p - log_var_q, mean_p, 0 * log_var_q), value, scale)


@triangular.law
def ignores_triangular_maps(f, case):
    """KL is invariant under x -> T x with a lower triangular T, here of powers of two"""
    mean_p, factor_p, mean_q, factor_q = case.arrays
    xp = namespace(mean_p)
    units, _ = change_of_unit(mean_p)
    units = abs(units)
    d = mean_p.shape[-1]
    # The last row is left as it is, so that no rounding adds to what cancels.
    moved = (mean_p * units, factor_p * units[:, None], mean_q * units, factor_q * units[:, None])
    value = f(*case.arrays)
    yield Claim(f(*moved), value, pairs.scale_of(value, case))
    shear = xp.eye(d, dtype=mean_p.dtype) + xp.eye(d, k=-1, dtype=mean_p.dtype)
    wide = [upcast(x) for x in case.arrays]
    sheared = [shear @ x if i % 2 else (shear @ x[..., None])[..., 0] for i, x in enumerate(wide)]
    yield Claim(gaussian_kl_cholesky.oracle(*sheared), value, 64 * pairs.scale_of(value, case))


# ------------------------------------------------------------------------------------- closed forms


@diagonal.closed_form
def doubled_deviations(rng, shape):
    """v_p = 4 v_q and delta = sqrt(v_q): d (4 - log 4)/2"""
    mean, deviation = rng.standard_normal(shape.mean_q), 2.0 ** rng.integers(-2, 3, shape.mean_q)
    mean = np.rint(8 * mean) / 8
    answer = np.full(shape.batch, 0.5 * shape.axes["d"] * (4 - math.log(4)))
    return Case((mean + deviation, 4 * deviation**2, mean, deviation**2)), answer


@diagonal.closed_form
def a_variance_of_zero(rng, shape):
    """Where a variance of p is 0: infinite"""
    case = variances(rng, shape)
    case.arrays[1][..., -1] = 0.0
    return case, np.full(shape.batch, np.inf)


@log_variance.closed_form
def latents_of_an_autoencoder(rng, shape):
    """q = N(0, I): the sum of (mean^2 + v - 1 - log v)/2, with log v = n log 2"""
    mean = rng.standard_normal(shape.mean_p)
    powers = rng.integers(-4, 5, shape.mean_p)
    terms = mean * mean + 2.0**powers - 1 - powers * math.log(2)
    zero = np.zeros(shape.mean_q)
    case = Case((mean, powers * math.log(2), zero, zero.copy()))
    return case, 0.5 * terms.sum(axis=-1)


@log_variance.closed_form
def unit_ratio(rng, shape):
    """Equal logarithms n log 4: the sum of delta^2/(2 4^n)"""
    powers = rng.integers(-2, 3, shape.mean_q)
    delta = rng.integers(1, 4, shape.mean_q).astype(float)
    logarithm = powers * math.log(4)
    mean = np.zeros(shape.mean_q)
    case = Case((delta, logarithm, mean, logarithm.copy()))
    return case, 0.5 * (delta**2 / 4.0**powers).sum(axis=-1)


@inverse.closed_form
def quartered_precision(rng, shape):
    """P_p = P_q/4 and equal means: d (3 - log 4)/2"""
    precision = covariance(rng, shape.precision_q)
    mean = rng.standard_normal(shape.mean_q)
    answer = np.full(shape.batch, 0.5 * shape.axes["d"] * (3 - math.log(4)))
    return Case((mean, precision / 4, mean.copy(), precision)), answer


@inverse.closed_form
def integer_precisions(rng, shape):
    """Equal precisions P = L L^T, integer delta: |L^T delta|^2/2"""
    factor = integer_factor(rng, shape.precision_q)
    delta = rng.integers(1, 4, shape.mean_p).astype(float)
    precision = factor @ factor.swapaxes(-1, -2)
    image = (factor.swapaxes(-1, -2) @ delta[..., None])[..., 0]
    answer = 0.5 * (image * image).sum(axis=-1)
    return Case((delta, precision, np.zeros(shape.mean_q), precision.copy())), answer


@triangular.closed_form
def proportional_factors(rng, shape):
    """L_p = 2 L_q and equal means: d (3 - log 4)/2"""
    factor = integer_factor(rng, shape.scale_tril_q)
    mean = rng.standard_normal(shape.mean_q)
    answer = np.full(shape.batch, 0.5 * shape.axes["d"] * (3 - math.log(4)))
    return Case((mean, 2 * factor, mean.copy(), factor)), answer


@triangular.closed_form
def integer_factors(rng, shape):
    """L_p = L_q M and delta = L_q z with small integers: (|z|^2 + |M|^2 - d - 2 log det M)/2"""
    factor_q = integer_factor(rng, shape.scale_tril_q)
    relative = 2 * integer_factor(rng, shape.scale_tril_p)
    z = rng.integers(1, 4, shape.mean_p).astype(float)
    mean_p = (factor_q @ z[..., None])[..., 0]
    d = shape.axes["d"]
    squares = (relative * relative).sum(axis=(-2, -1)) + (z * z).sum(axis=-1)
    answer = 0.5 * (squares - d - 2 * d * math.log(4))
    return Case((mean_p, factor_q @ relative, np.zeros(shape.mean_q), factor_q)), answer
