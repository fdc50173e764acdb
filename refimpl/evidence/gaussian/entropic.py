"""Evidence for entropic transport costs and Sinkhorn divergences between Gaussians."""

from __future__ import annotations

import numpy as np

from refimpl.backend import cholesky, like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import OF_MEANS, symmetric
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    diagonal_covariance,
    integer_factor,
    recoordinated,
    trace,
    uncoupled,
)
from refimpl.evidence.gaussian.transport import (
    diagonal,
    each_regime,
    generic,
    graded,
    identical,
    near_equal,
    unlike_sizes,
)
from refimpl.evidence.gaussian.transport_laws import cost_scale
from refimpl.formula import upcast
from refimpl.gaussian.entropic import entropic_wasserstein_squared, sinkhorn_divergence
from refimpl.gaussian.transport import wasserstein_squared

_SIZES = {"d": Sizes(1, 1, 6)}
_BUDGET = Budget(k=8.0, floor=16.0)

cost = Evidence(
    entropic_wasserstein_squared,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=OF_MEANS | symmetric(),
)
sinkhorn = Evidence(
    sinkhorn_divergence,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=OF_MEANS | symmetric(),
)


@cost.output_terms
@sinkhorn.output_terms
def _largest_terms(mean_p, cov_p, mean_q, cov_q, *, regularisation):
    d = mean_p.shape[-1]
    return (float((trace(cov_p) + trace(cov_q) + d * regularisation).max()),)


# ------------------------------------------------------------------------------------------ regimes

each_regime(cost, sinkhorn)(generic)
each_regime(cost, sinkhorn)(diagonal)
each_regime(cost, sinkhorn, adversarial=True)(unlike_sizes)
each_regime(cost, sinkhorn, adversarial=True)(graded)
each_regime(cost, adversarial=True, far=False)(near_equal)
each_regime(sinkhorn, adversarial=True, advisory=True, far=False)(near_equal)
each_regime(sinkhorn, adversarial=True, advisory=True, far=False)(identical)


def _regularised(sample, name, by):
    """The regime with another size of regularisation."""

    def regime(rng, shape):
        case = sample(rng, shape)
        return case.with_options(regularisation=by * case.options["regularisation"])

    regime.__name__, regime.__doc__ = name, f"A {name.split('_')[0]} regularisation."
    return regime


for of in (cost, sinkhorn):
    sample = of.regimes["generic"].sample
    of.regime(_regularised(sample, "small_regularisation", 1 / 256), adversarial=True)
    of.regime(_regularised(sample, "large_regularisation", 256), adversarial=True)


# ------------------------------------------------------------------------------------- common laws


def _scale(value, case):
    mean_p, cov_p, _, cov_q = case.arrays
    return cost_scale(value, cov_p, cov_q) + 4 * mean_p.shape[-1] * case.options["regularisation"]


@cost.law
@sinkhorn.law
def is_symmetric(f, case):
    """f(p, q) = f(q, p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = f(*case.arrays, **case.options)
    yield Claim(f(mean_q, cov_q, mean_p, cov_p, **case.options), value, _scale(value, case))


@cost.law
@sinkhorn.law
def means_add_their_squared_distance(f, case):
    """The cost is |mean_p - mean_q|^2 more than with both means at the origin"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    origin = mean_q - mean_q
    value = f(*case.arrays, **case.options)
    shape = f(origin, cov_p, origin, cov_q, **case.options)
    gap = mean_p - mean_q
    yield Claim(value, (gap * gap).sum(axis=-1) + shape, _scale(value, case))


@cost.law
@sinkhorn.law
def follows_unit_signs_and_order(f, case):
    """In permuted coordinates with signs, and twice the unit, with 4 epsilon: 4 times the cost"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    units, order = change_of_unit(mean_p)
    units = 2 * namespace(units).sign(units)
    value = f(*case.arrays, **case.options)
    moved = f(
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
        regularisation=4 * case.options["regularisation"],
    )
    yield Claim(moved, 4 * value, 4 * _scale(value, case))


@cost.law
@sinkhorn.law
def independent_blocks_add(f, case):
    """Without correlation between two blocks of coordinates their costs add"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    k = mean_p.shape[-1] // 2
    if k == 0:
        return
    parts = [
        f(mean_p[..., s], cov_p[..., s, s], mean_q[..., s], cov_q[..., s, s], **case.options)
        for s in (slice(None, k), slice(k, None))
    ]
    whole = f(mean_p, uncoupled(cov_p, k), mean_q, uncoupled(cov_q, k), **case.options)
    yield Claim(whole, parts[0] + parts[1], _scale(whole, case))


# ----------------------------------------------------------------------------- laws of the cost


@cost.law
def lies_between_the_optimal_and_the_independent_coupling(f, case):
    """W_2^2 <= OT <= |mean_p - mean_q|^2 + tr S_p + tr S_q"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    value = upcast(f(*case.arrays, **case.options))
    xp = namespace(value)
    gap = mean_p - mean_q
    low = wasserstein_squared(mean_p, cov_p, mean_q, cov_q)
    high = (gap * gap).sum(axis=-1) + trace(cov_p) + trace(cov_q)
    yield Claim(xp.minimum(value, low), low, _scale(value, case))
    yield Claim(xp.maximum(value, high), high, _scale(value, case))


@cost.law
def grows_with_the_regularisation_but_less_than_in_proportion(f, case):
    """OT at epsilon <= OT at 2 epsilon <= twice OT at epsilon: a minimum of functions that do"""
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    more = f(*case.arrays, regularisation=2 * case.options["regularisation"])
    scale = 4 * _scale(value, case)
    yield Claim(xp.maximum(value, more), more, scale)
    yield Claim(xp.minimum(2 * value, more), more, scale)


@cost.law
def no_coupling_is_better(f, case):
    """E|x - y|^2 + epsilon times the mutual information is never below OT, at C = L_p O L_q^T"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    d = mean_p.shape[-1]
    low_p, low_q = cholesky(cov_p), cholesky(cov_q)
    gap = mean_p - mean_q
    separate = (gap * gap).sum(axis=-1) + trace(cov_p) + trace(cov_q)
    for seed in range(3):
        rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
        correlations = np.linspace(0.9, 0.3 * seed, d)
        information = -0.5 * float(np.log1p(-(correlations**2)).sum())
        for sign in (1, -1):
            o = like(sign * rotation * correlations, value)
            coupled = trace(low_p @ o @ low_q.swapaxes(-1, -2))
            paid = separate - 2 * coupled + upcast(case.options["regularisation"]) * information
            yield Claim(xp.minimum(paid, value), value, _scale(value, case))


@cost.law
def marginals_cost_less(f, case):
    """Leaving out coordinates never increases OT"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    k = (mean_p.shape[-1] + 1) // 2
    whole = f(*case.arrays, **case.options)
    part = f(
        *(mean_p[..., :k], cov_p[..., :k, :k], mean_q[..., :k], cov_q[..., :k, :k]), **case.options
    )
    yield Claim(namespace(whole).maximum(part, whole), whole, _scale(whole, case))


# ----------------------------------------------------------------------- laws of the divergence


@sinkhorn.law
def is_the_cost_without_its_bias(f, case):
    """OT(p, q) - OT(p, p)/2 - OT(q, q)/2"""
    p, q = map(upcast, case.arrays[:2]), map(upcast, case.arrays[2:])
    p, q = tuple(p), tuple(q)
    options = {"regularisation": upcast(case.options["regularisation"])}
    between, own_p, own_q = (
        entropic_wasserstein_squared(*pair, **options) for pair in ((*p, *q), (*p, *p), (*q, *q))
    )
    value = f(*case.arrays, **case.options)
    yield Claim(value, between - own_p / 2 - own_q / 2, 2 * _scale(value, case))


@sinkhorn.law
def is_not_below_the_distance_of_the_means(f, case):
    """S >= |mean_p - mean_q|^2"""
    mean_p, _, mean_q, _ = map(upcast, case.arrays)
    value = upcast(f(*case.arrays, **case.options))
    gap = mean_p - mean_q
    least = (gap * gap).sum(axis=-1)
    yield Claim(namespace(value).minimum(value, least), least, _scale(value, case))


@sinkhorn.law
def vanishes_at_equality(f, case):
    """S(p, p) = S(q, q) = 0"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    for mean, cov in ((mean_p, cov_p), (mean_q, cov_q)):
        value = f(mean, cov, mean, cov, **case.options)
        yield Claim(value, 0 * value, _scale(value, case))


# ------------------------------------------------------------------------------------- closed forms


def _share(s, variance):
    """What the entropic coupling of two coordinates takes off the sum of their variances."""
    d = np.sqrt(4 * s * s + variance**2)
    return d - variance - variance * np.log((d + variance) / (2 * variance))


def _case(rng, shape, cov_p, cov_q, regularisation=None):
    """Integer means, and a regularisation, with the part of the answer that the means have."""
    mean_p, mean_q = (rng.integers(-3, 4, s).astype(float) for s in (shape.mean_p, shape.mean_q))
    if regularisation is None:
        regularisation = 2.0 ** rng.integers(-2, 4, shape.regularisation)
    case = Case(
        (mean_p, cov_p, mean_q, cov_q), {"regularisation": np.asarray(regularisation, dtype=float)}
    )
    return case, ((mean_p - mean_q) ** 2).sum(axis=-1)


def _variances(cov):
    return np.diagonal(cov, axis1=-2, axis2=-1)


@cost.closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariances: a sum over the coordinates"""
    cov_p, cov_q = (diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    case, means = _case(rng, shape, cov_p, cov_q)
    v_p, v_q = _variances(cov_p), _variances(cov_q)
    shares = _share(np.sqrt(v_p * v_q), case.options["regularisation"][..., None] / 2)
    return case, means + (v_p + v_q - shares).sum(axis=-1)


@cost.closed_form(slack=128.0)
def inverse_covariances(rng, shape):
    """S_q = 4 S_p^{-1} and epsilon = 6: every s is 2, every d is 5"""
    low = integer_factor(rng, shape.cov_p)
    cov_p = low @ low.swapaxes(-1, -2)
    cov_q = 4 * np.linalg.inv(cov_p)
    cov_q = (cov_q + cov_q.swapaxes(-1, -2)) / 2
    case, means = _case(rng, shape, cov_p, cov_q, np.full(shape.regularisation, 6.0))
    shares = shape.axes["d"] * (5 - 3 - 3 * np.log(8 / 6))
    return case, means + np.trace(cov_p + cov_q, axis1=-2, axis2=-1) - shares


@cost.closed_form
def points(rng, shape):
    """p is one point: |mean_p - mean_q|^2 + tr S_q, whatever the regularisation"""
    cov_q = diagonal_covariance(rng, shape.cov_q)
    case, means = _case(rng, shape, np.zeros(shape.cov_p), cov_q)
    return case, means + _variances(cov_q).sum(axis=-1)


@sinkhorn.closed_form
def independent_coordinates_of_divergence(rng, shape):
    """Diagonal covariances: a sum over the coordinates"""
    cov_p, cov_q = (diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    case, means = _case(rng, shape, cov_p, cov_q)
    v_p, v_q = _variances(cov_p), _variances(cov_q)
    variance = case.options["regularisation"][..., None] / 2
    terms = (_share(v_p, variance) + _share(v_q, variance)) / 2
    return case, means + (terms - _share(np.sqrt(v_p * v_q), variance)).sum(axis=-1)


@sinkhorn.closed_form(slack=128.0)
def proportional(rng, shape):
    """S_p = V c V^T, S_q = 4 S_p in a rotated basis: a sum over the eigenvalues"""
    basis, _ = np.linalg.qr(rng.standard_normal(shape.cov_p))
    values = 2.0 ** rng.uniform(0, 3, shape.cov_p[:-1])
    cov_p = (basis * values[..., None, :]) @ basis.swapaxes(-1, -2)
    cov_p = (cov_p + cov_p.swapaxes(-1, -2)) / 2
    case, means = _case(rng, shape, cov_p, 4 * cov_p)
    variance = case.options["regularisation"][..., None] / 2
    terms = (_share(values, variance) + _share(4 * values, variance)) / 2
    return case, means + (terms - _share(2 * values, variance)).sum(axis=-1)


@sinkhorn.closed_form
def points_of_divergence(rng, shape):
    """p is one point: |mean_p - mean_q|^2 and half of what q to itself takes off its variances"""
    cov_q = diagonal_covariance(rng, shape.cov_q)
    case, means = _case(rng, shape, np.zeros(shape.cov_p), cov_q)
    variance = case.options["regularisation"][..., None] / 2
    return case, means + _share(_variances(cov_q), variance).sum(axis=-1) / 2
