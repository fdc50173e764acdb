"""Evidence for the unbalanced entropic transport cost of Gaussian measures."""

from __future__ import annotations

import numpy as np

from refimpl.backend import cholesky, like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import OF_MEANS, symmetric
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    covariance,
    diagonal_covariance,
    displacement,
    recoordinated,
    trace,
)
from refimpl.formula import upcast
from refimpl.gaussian.unbalanced import unbalanced_entropic_transport

unbalanced = Evidence(
    unbalanced_entropic_transport,
    sizes={"d": Sizes(1, 1, 6)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS
    | symmetric()
    | {"mass_p and mass_q are swapped": "of equal penalties, both masses enter alike"},
)


@unbalanced.output_terms
def _largest_terms(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, *, regularisation, penalty):
    return (float(_terms(mass_p, mass_q, regularisation, penalty).max()),)


def _terms(mass_p, mass_q, regularisation, penalty):
    """The size of what the cost is a difference of."""
    return penalty * (mass_p + mass_q) + regularisation * mass_p * mass_q


# ------------------------------------------------------------------------------------------ regimes


def _case(rng, shape, covs, masses=(1.0, 1.0), epsilon=1.0, gamma=4.0):
    mean_q = rng.standard_normal(shape.mean_q)
    mean_p = mean_q + displacement(rng, covs[1])
    mass_p, mass_q = (
        size * 2.0 ** rng.uniform(-1, 1, s)
        for size, s in zip(masses, (shape.mass_p, shape.mass_q), strict=True)
    )
    options = {
        "regularisation": epsilon * 2.0 ** rng.uniform(-1, 1, shape.regularisation),
        "penalty": gamma * 2.0 ** rng.uniform(-1, 1, shape.penalty),
    }
    return Case((mass_p, mean_p, covs[0], mass_q, mean_q, covs[1]), options)


def _covariances(rng, shape, sample=covariance):
    return tuple(sample(rng, s) for s in (shape.cov_p, shape.cov_q))


@unbalanced.regime
def generic(rng, shape):
    """Unrelated covariances, masses between 1/2 and 2."""
    return _case(rng, shape, _covariances(rng, shape), gamma=8.0)


@unbalanced.regime
def diagonal(rng, shape):
    """Independent coordinates."""
    return _case(rng, shape, _covariances(rng, shape, diagonal_covariance))


@unbalanced.regime(adversarial=True)
def unlike_masses(rng, shape):
    """p has 16 times the mass of q, and variances below 1."""
    covs = _covariances(rng, shape)
    return _case(rng, shape, (covs[0] / 32, covs[1] / 32), masses=(4.0, 0.25))


@unbalanced.regime(adversarial=True)
def cheap_creation(rng, shape):
    """A penalty far below the variances: hardly any mass is moved."""
    return _case(rng, shape, _covariances(rng, shape), epsilon=0.25, gamma=0.5)


@unbalanced.regime(adversarial=True)
def strong_regularisation(rng, shape):
    """A regularisation above the variances and the penalty."""
    covs = _covariances(rng, shape)
    return _case(rng, shape, (covs[0] / 4, covs[1] / 4), epsilon=16.0, gamma=4.0)


# --------------------------------------------------------------------------------------------- laws


def _scale(case):
    mass_p, mean_p, _, mass_q, _, _ = case.arrays
    return 8 * mean_p.shape[-1] * _terms(mass_p, mass_q, **case.options)


@unbalanced.law
def is_symmetric(f, case):
    """The cost is that of q and p"""
    p, q = case.arrays[:3], case.arrays[3:]
    yield Claim(f(*q, *p, **case.options), f(*p, *q, **case.options), _scale(case))


@unbalanced.law
def is_positive_and_below_giving_up(f, case):
    """0 <= cost <= gamma (m_p + m_q) + epsilon m_p m_q, which the plan 0 costs"""
    mass_p, mass_q = case.arrays[0], case.arrays[3]
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    most = _terms(mass_p, mass_q, **case.options) + 0 * value
    yield Claim(xp.maximum(value, most), most, _scale(case))
    yield Claim(xp.minimum(value, 0), 0 * value, _scale(case))


@unbalanced.law
def depends_on_the_difference_of_means(f, case):
    """The cost is invariant under a common translation, and under the exchange of the means"""
    mass_p, mean_p, cov_p, mass_q, mean_q, cov_q = case.arrays
    value = f(*case.arrays, **case.options)
    origin = mean_q - mean_q
    moved = f(mass_p, mean_p - mean_q, cov_p, mass_q, origin, cov_q, **case.options)
    yield Claim(moved, value, _scale(case))
    swapped = f(mass_p, mean_q, cov_p, mass_q, mean_p, cov_q, **case.options)
    yield Claim(swapped, value, _scale(case))


@unbalanced.law
def follows_unit_signs_and_order(f, case):
    """In permuted coordinates with signs and twice the unit, 4 epsilon and 4 gamma: 4 times it"""
    mass_p, mean_p, cov_p, mass_q, mean_q, cov_q = case.arrays
    units, order = change_of_unit(mean_p)
    units = 2 * namespace(units).sign(units)
    value = f(*case.arrays, **case.options)
    moved = f(
        mass_p,
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        mass_q,
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
        **{name: 4 * x for name, x in case.options.items()},
    )
    yield Claim(moved, 4 * value, 8 * _scale(case))


@unbalanced.law
def grows_with_both_parameters(f, case):
    """The cost grows with epsilon and gamma, though less than in proportion"""
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    for name, x in case.options.items():
        more = f(*case.arrays, **case.options | {name: 2 * x})
        yield Claim(xp.maximum(value, more), more, 2 * _scale(case))
        yield Claim(xp.minimum(2 * value, more), more, 4 * _scale(case))


@unbalanced.law
def no_plan_is_better(f, case):
    """Plans of any mass with the marginals' shapes, and correlations L_p O L_q^T, cost no less"""
    mass_p, mean_p, cov_p, mass_q, mean_q, cov_q = map(upcast, case.arrays)
    epsilon, gamma = (upcast(case.options[name]) for name in ("regularisation", "penalty"))
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    d = mean_p.shape[-1]
    low_p, low_q = cholesky(cov_p), cholesky(cov_q)
    gap = mean_p - mean_q
    separate = (gap * gap).sum(axis=-1) + trace(cov_p) + trace(cov_q)

    def divergence(mass, of):
        return mass * xp.log(mass / of) - mass + of

    for seed, mass in enumerate((0.25, 0.75, 1.5)):
        rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
        correlations = np.linspace(0.8, 0.3 * seed, d)
        information = -0.5 * float(np.log1p(-(correlations**2)).sum())
        for sign in (1, -1):
            o = like(sign * rotation * correlations, value)
            moved = mass * (separate - 2 * trace(low_p @ o @ low_q.swapaxes(-1, -2)))
            entropic = mass * information + divergence(mass, mass_p * mass_q)
            made = divergence(mass, mass_p) + divergence(mass, mass_q)
            paid = moved + epsilon * entropic + gamma * made
            yield Claim(xp.minimum(paid, value), value, _scale(case))


@unbalanced.law
def masses_trade_against_the_plan(f, case):
    """(gamma (m_p + m_q) + epsilon m_p m_q - cost)^(tau + 1) grows in proportion to each mass"""
    mass_q = upcast(case.arrays[3])
    options = {name: upcast(x) for name, x in case.options.items()}
    power = options["penalty"] / (options["regularisation"] + options["penalty"]) + 1

    def saved(mass):
        value = upcast(f(mass, *case.arrays[1:], **case.options))
        return _terms(upcast(mass), mass_q, **options) - value

    once, twice = saved(case.arrays[0]), saved(2 * case.arrays[0])
    yield Claim(twice, once * 2.0 ** (1 / power), 4 * _scale(case))


# ------------------------------------------------------------------------------------- closed forms


def _plain(mean_p, mean_q, epsilon, gamma, masses, variances):
    """Independent coordinates, by the printed formula with numbers for matrices."""
    s, tau = epsilon / 2, gamma / (epsilon + gamma)
    spread = s + gamma / 2
    shrunk = [gamma[..., None] / 2 * v / (v + spread[..., None]) for v in variances]
    product = shrunk[0] * shrunk[1]
    c = np.sqrt(product / tau[..., None] + (s * s / 4)[..., None]) - s[..., None] / 2
    both = variances[0] + variances[1]
    logs = np.log(c) + (tau[..., None] * np.log(product) - np.log(variances[0] * variances[1])) / 2
    quadratic = ((mean_p - mean_q) ** 2 / (both + spread[..., None])).sum(axis=-1)
    log_mass = (np.log(masses[0] * masses[1]) + logs.sum(axis=-1) - quadratic / 2) / (tau + 1)
    log_mass = log_mass + s / (gamma + s) * np.log(s) / 2 * both.shape[-1]
    mass = np.exp(log_mass - np.log(c - 2 * product / gamma[..., None]).sum(axis=-1) / 2)
    return gamma * (masses[0] + masses[1] - 2 * mass) + epsilon * (masses[0] * masses[1] - mass)


@unbalanced.closed_form(slack=256.0)
def independent_coordinates(rng, shape):
    """Diagonal covariances: the printed formula coordinate by coordinate"""
    case = diagonal(rng, shape)
    mass_p, mean_p, cov_p, mass_q, mean_q, cov_q = case.arrays
    variances = [np.diagonal(cov, axis1=-2, axis2=-1) for cov in (cov_p, cov_q)]
    epsilon, gamma = case.options["regularisation"], case.options["penalty"]
    return case, _plain(mean_p, mean_q, epsilon, gamma, (mass_p, mass_q), variances)


@unbalanced.closed_form(slack=128.0)
def two_points(rng, shape):
    """Two points: log m_pi = ((epsilon + gamma) log m_p m_q - cost)/(epsilon + 2 gamma)"""
    case = generic(rng, shape)
    mass_p, _, cov_p, mass_q, _, cov_q = case.arrays
    epsilon, gamma = case.options["regularisation"], case.options["penalty"]
    mean_p, mean_q = (rng.integers(-2, 3, s).astype(float) for s in (shape.mean_p, shape.mean_q))
    cost = ((mean_p - mean_q) ** 2).sum(axis=-1)
    # m c + eps KL(m|m_p m_q) + gamma KL(m|m_p) + gamma KL(m|m_q) is least at this m.
    log_mass = ((epsilon + gamma) * np.log(mass_p * mass_q) - cost) / (epsilon + 2 * gamma)
    mass = np.exp(log_mass)
    answer = gamma * (mass_p + mass_q - 2 * mass) + epsilon * (mass_p * mass_q - mass)
    return case.with_arrays(mass_p, mean_p, 0 * cov_p, mass_q, mean_q, 0 * cov_q), answer
