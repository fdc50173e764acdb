"""Evidence for the divergence of Gaussians with a diagonal plus a low rank as covariance."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import OF_MEANS
from refimpl.evidence.gaussian.shared import graded_units
from refimpl.formula import upcast
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.low_rank import gaussian_kl_low_rank
from refimpl.gaussian.parametrised import gaussian_kl_diagonal

low_rank = Evidence(
    gaussian_kl_low_rank,
    sizes={"d": Sizes(1, 1, 10), "r": Sizes(1, 1, 5), "s": Sizes(1, 1, 5)},
    empty=("r", "s"),
    ties=({"s": "r"},),
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS
    | {
        "factor_p is taken as its negative": "F F^T is even in F",
        "factor_q is taken as its negative": "F F^T is even in F",
    },
)


# ------------------------------------------------------------------------------------------ regimes


@low_rank.regime
def generic(rng, shape):
    """Diagonals of 1/2 to 4, factors with entries of about 1."""
    diag_p, diag_q = (2.0 ** rng.uniform(-1, 2, shape.diag_q) for _ in range(2))
    factor_p, factor_q = (rng.uniform(-1, 1, s) for s in (shape.factor_p, shape.factor_q))
    mean_q = rng.standard_normal(shape.mean_q)
    step = rng.choice([-1.0, 1.0], shape.mean_q) * rng.uniform(0.5, 2, shape.mean_q)
    return Case((mean_q + step * np.sqrt(diag_q), diag_p, factor_p, mean_q, diag_q, factor_q))


@low_rank.regime
def nearly_diagonal(rng, shape):
    """Factors an eighth as large as the others."""
    mean_p, diag_p, factor_p, mean_q, diag_q, factor_q = generic(rng, shape).arrays
    return Case((mean_p, diag_p, factor_p / 8, mean_q, diag_q, factor_q / 8))


@low_rank.regime(adversarial=True)
def graded(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    mean_p, diag_p, factor_p, mean_q, diag_q, factor_q = generic(rng, shape).arrays
    units = graded_units(rng, shape.mean_q)
    return Case(
        (
            *(mean_p * units, diag_p * units**2, factor_p * units[..., None]),
            *(mean_q * units, diag_q * units**2, factor_q * units[..., None]),
        )
    )


@low_rank.regime(adversarial=True)
def strong_factors(rng, shape):
    """Factors 4 times as large, so that the diagonals are small parts of the covariances."""
    mean_p, diag_p, factor_p, mean_q, diag_q, factor_q = generic(rng, shape).arrays
    return Case((mean_p, diag_p, 4 * factor_p, mean_q, diag_q, 4 * factor_q))


@low_rank.regime(adversarial=True, advisory=True)
def near_equal(rng, shape):
    """p and q differ by 1e-8 to 1e-2 of themselves: the Woodbury form, torch's too, cancels."""
    mean_p, _, _, mean_q, diag_q, factor_q = generic(rng, shape).arrays
    difference = 10.0 ** -rng.uniform(2, 8, shape.batch)[..., None]
    diag_p = diag_q * (1 + difference * rng.uniform(-1, 1, shape.diag_q))
    changes = rng.uniform(-1, 1, shape.factor_p) * difference[..., None]
    shared = np.zeros(shape.factor_p)
    r = min(shared.shape[-1], factor_q.shape[-1])
    shared[..., :r] = factor_q[..., :r]
    other = np.zeros(shape.factor_q)
    other[..., :r] = factor_q[..., :r]
    mean = mean_q + difference * (mean_p - mean_q)
    return Case((mean, diag_p, shared * (1 + changes), mean_q, diag_q, other))


# --------------------------------------------------------------------------------------------- laws


def _scale(value, case):
    return 8 * (abs(value) + case.arrays[0].shape[-1])


@low_rank.law
def is_not_negative(f, case):
    """KL >= 0"""
    value = f(*case.arrays)
    xp = namespace(value)
    yield Claim(xp.minimum(value, 0), xp.zeros_like(value), _scale(value, case))


@low_rank.law
def vanishes_at_equality(f, case):
    """KL(p || p) = KL(q || q) = 0"""
    for equal in (case.arrays[:3] * 2, case.arrays[3:] * 2):
        value = f(*equal)
        yield Claim(value, namespace(value).zeros_like(value), _scale(value, case))


def _covariance(diag, factor):
    identity = namespace(diag).eye(diag.shape[-1], dtype=diag.dtype)
    return diag[..., None] * identity + factor @ factor.swapaxes(-1, -2)


@low_rank.law
def is_that_of_the_covariances(f, case):
    """KL with the covariances diag(D) + W W^T"""
    mean_p, diag_p, factor_p, mean_q, diag_q, factor_q = (upcast(x) for x in case.arrays)
    covs = _covariance(diag_p, factor_p), _covariance(diag_q, factor_q)
    value = gaussian_kl.oracle(mean_p, covs[0], mean_q, covs[1])
    yield Claim(f(*case.arrays), value, _conditioned(_scale(value, case), case))


def _conditioned(scale, case):
    """The scale times how much the factors outweigh the diagonal of q."""
    *_, diag_q, factor_q = case.arrays
    return scale * (1 + (factor_q * factor_q / diag_q[..., None]).sum(axis=(-2, -1)))


@low_rank.law
def without_factors_is_that_of_variances(f, case):
    """Factors of zeros leave the divergence of independent coordinates"""
    mean_p, diag_p, factor_p, mean_q, diag_q, factor_q = case.arrays
    value = gaussian_kl_diagonal.oracle(mean_p, diag_p, mean_q, diag_q)
    found = f(mean_p, diag_p, 0 * factor_p, mean_q, diag_q, 0 * factor_q)
    yield Claim(found, value + 0 * found, _scale(value, case))


@low_rank.law
def ignores_order_and_sign_of_columns(f, case):
    """Reversing the columns of a factor, and their signs, changes nothing"""
    mean_p, diag_p, factor_p, mean_q, diag_q, factor_q = case.arrays
    value = f(*case.arrays)
    found = f(mean_p, diag_p, -factor_p[..., ::-1], mean_q, diag_q, factor_q[..., ::-1])
    yield Claim(found, value, _conditioned(_scale(value, case), case))


@low_rank.law
def columns_of_zeros_add_nothing(f, case):
    """A factor with one more column, of zeros, is the same"""
    mean_p, diag_p, factor_p, mean_q, diag_q, factor_q = case.arrays
    wider = namespace(mean_p).concatenate([factor_p, 0 * diag_p[..., None]], axis=-1)
    value = f(*case.arrays)
    found = f(mean_p, diag_p, wider, mean_q, diag_q, factor_q)
    yield Claim(found, value, _conditioned(_scale(value, case), case))


@low_rank.law
def ignores_the_units(f, case):
    """KL is invariant under changes of the units of the coordinates"""
    units = np.resize([0.5, 1.0, 2.0], case.arrays[0].shape[-1]).astype(case.arrays[0].dtype)
    units = like(units, case.arrays[0])
    means, diags, factors = (case.arrays[i::3] for i in range(3))
    moved = (
        *(means[0] * units, diags[0] * units * units, factors[0] * units[:, None]),
        *(means[1] * units, diags[1] * units * units, factors[1] * units[:, None]),
    )
    value = f(*case.arrays)
    yield Claim(f(*moved), value, _conditioned(_scale(value, case), case))


# ------------------------------------------------------------------------------------- closed forms


@low_rank.closed_form
def ones(rng, shape):
    """S_p = I + 3 J/d in place of S_q = I, with J of ones, whose one eigenvalue becomes 4"""
    d, r = shape.axes["d"], shape.axes["r"]
    mean = rng.standard_normal(shape.mean_q)
    one = np.ones(shape.diag_q)
    factor = np.full(shape.factor_p, math.sqrt(3 / (d * max(r, 1))))
    answer = 0.5 * (3 - math.log(4)) if r else 0.0
    case = Case((mean, one, factor, mean.copy(), one.copy(), np.zeros(shape.factor_q)))
    return case, np.full(shape.batch, answer)


@low_rank.closed_form
def ones_in_q(rng, shape):
    """S_q = I + 3 J/d, S_p = I and delta = (1, ..., 1): (log 4 - 3/4 + d/4)/2"""
    d, s = shape.axes["d"], shape.axes["s"]
    mean = np.zeros(shape.mean_q)
    one = np.ones(shape.diag_q)
    factor = np.full(shape.factor_q, math.sqrt(3 / (d * max(s, 1))))
    answer = 0.5 * (math.log(4) - 0.75 + d / 4) if s else 0.5 * d
    case = Case((mean + 1, one, np.zeros(shape.factor_p), mean, one.copy(), factor))
    return case, np.full(shape.batch, answer)
