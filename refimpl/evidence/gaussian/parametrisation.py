"""Evidence for the conversions to a covariance."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.shared import (
    SYMMETRIC_MATRIX,
    covariance,
    graded_units,
    integer_factor,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrisation import (
    covariance_from_cholesky,
    covariance_from_deviation,
    covariance_from_factor,
    covariance_from_low_rank,
    covariance_from_variance,
)

_SIZES = {"d": Sizes(1, 1, 12), "r": Sizes(1, 1, 12)}
_BUDGET = Budget(floor=8.0)

cholesky = Evidence(
    covariance_from_cholesky,
    sizes={"d": _SIZES["d"]},
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX,
)
factor = Evidence(
    covariance_from_factor,
    sizes=_SIZES,
    empty=("r",),
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX
    | {
        "factor is taken as its negative": "F F^T is even in F",
    },
)
variance = Evidence(
    covariance_from_variance,
    sizes={"d": _SIZES["d"]},
    unchanged=SYMMETRIC_MATRIX,
)
deviation = Evidence(
    covariance_from_deviation,
    sizes={"d": _SIZES["d"]},
    unchanged=SYMMETRIC_MATRIX,
)
low_rank = Evidence(
    covariance_from_low_rank,
    sizes=_SIZES,
    empty=("r",),
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX
    | {
        "factor is taken as its negative": "F F^T is even in F",
    },
)

# ------------------------------------------------------------------------------------ regimes


@cholesky.regime
def generic(rng, shape):
    """The Cholesky factor of a covariance, all coordinates correlated."""
    return Case((np.linalg.cholesky(covariance(rng, shape.scale_tril)),))


@cholesky.regime(adversarial=True)
def graded(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    (scale_tril,) = generic(rng, shape).arrays
    return Case((scale_tril * graded_units(rng, shape.scale_tril[:-1])[..., None],))


@cholesky.regime(adversarial=True)
def negative_diagonal(rng, shape):
    """A factor whose columns have signs that Cholesky's algorithm would not give."""
    (scale_tril,) = generic(rng, shape).arrays
    return Case((scale_tril * np.resize([-1.0, 1.0, -1.0], shape.axes["d"]),))


@cholesky.regime(adversarial=True)
def singular(rng, shape):
    """The last coordinate is a linear combination of the others."""
    (scale_tril,) = generic(rng, shape).arrays
    scale_tril[..., -1, -1] = 0.0
    return Case((scale_tril,))


@factor.regime
def random_factor(rng, shape):
    """Entries of about 1."""
    return Case((rng.standard_normal(shape.factor),))


@factor.regime(adversarial=True)
def graded_factor(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    units = graded_units(rng, shape.factor[:-1])
    return Case((units[..., None] * rng.standard_normal(shape.factor),))


@factor.regime(adversarial=True)
def not_centred(rng, shape):
    """Rows with a common mean far above their spread, which must not be subtracted."""
    return Case((8 + rng.standard_normal(shape.factor),))


@variance.regime
def spread(rng, shape):
    """Variances between 1/4 and 16."""
    return Case((4.0 ** rng.uniform(-1, 2, shape.variance),))


@variance.regime(adversarial=True)
def tiny_and_large(rng, shape):
    """Variances of about 1/64 beside some of about 64."""
    return Case(
        (64.0 ** rng.choice([-1.0, 1.0], shape.variance) * (1 + rng.random(shape.variance)),)
    )


@deviation.regime
def spread_deviations(rng, shape):
    """Deviations between 1/4 and 16."""
    return Case((4.0 ** rng.uniform(-1, 2, shape.deviation),))


@deviation.regime(adversarial=True)
def tiny_and_large_deviations(rng, shape):
    """Deviations of about 1/16 beside some of about 16."""
    return Case(
        (16.0 ** rng.choice([-1.0, 1.0], shape.deviation) * (1 + rng.random(shape.deviation)),)
    )


@low_rank.regime
def comparable(rng, shape):
    """Diagonal and factor of about one size."""
    return Case((4.0 ** rng.uniform(-1, 2, shape.variance), rng.standard_normal(shape.factor)))


@low_rank.regime(adversarial=True)
def small_diagonal(rng, shape):
    """Variances of 1/64 to 1/16 beside a large factor."""
    return Case((4.0 ** rng.uniform(-3, -2, shape.variance), 4 * rng.standard_normal(shape.factor)))


@low_rank.regime(adversarial=True)
def small_factor(rng, shape):
    """A factor whose squares are a hundredth of the variances."""
    return Case((1 + 3 * rng.random(shape.variance), rng.standard_normal(shape.factor) / 8))


# --------------------------------------------------------------------------------------- laws


def is_symmetric(f, case):
    """S = S^T"""
    value = f(*case.arrays)
    yield Claim(value, value.swapaxes(-1, -2), abs(value))


def is_the_covariance_of_a_transformed_white_vector(f, case):
    """w^T S w = |S_p^T w|^2, the variance of a projection of S_p z with white z"""
    root = upcast(case.arrays[-1])
    w = _directions(root)
    variance_of_projections = ((w @ root) ** 2).sum(axis=-1)
    quadratic = ((w @ f(*case.arrays)) * w).sum(axis=-1)
    size = ((abs(w) @ abs(root)) ** 2).sum(axis=-1)
    if len(case.arrays) == 2:
        diagonal = (w * w) @ upcast(case.arrays[0])[..., None]
        variance_of_projections = variance_of_projections + diagonal[..., 0]
        size = size + abs(diagonal[..., 0])
    yield Claim(quadratic, variance_of_projections, 4 * size)


def _directions(root):
    """Whole-number directions (3, d)."""
    d = root.shape[-2]
    host = np.stack([np.resize([1.0, -2.0, 3.0], d), np.ones(d), np.eye(d)[-1]])
    return like(host.astype(root.dtype), root)


def signs_and_order_of_columns_do_not_matter(f, case):
    """S_p O and S_p have one covariance, for the orthogonal O that turn or exchange columns"""
    *rest, root = case.arrays
    turned = root * like(np.resize([-1.0, 1.0], root.shape[-1]).astype(root.dtype), root)
    value = f(*case.arrays)
    yield Claim(f(*rest, turned), value, _row_products(root) + abs(value))
    if f_takes_any_factor(case):
        swapped = namespace(root).flip(root, -1)
        yield Claim(f(*rest, swapped), value, _row_products(root) + abs(value))


def f_takes_any_factor(case):
    """A triangular factor would not stay triangular if its columns changed places."""
    root = case.arrays[-1]
    return len(case.arrays) == 2 or bool((namespace(root).triu(root, 1) != 0).any())


def _row_products(root):
    """The sizes of the sums behind S S^T."""
    return 4 * abs(root) @ abs(root).swapaxes(-1, -2)


for of in (cholesky, factor, low_rank):
    of.law(is_symmetric)
    of.law(is_the_covariance_of_a_transformed_white_vector)
    of.law(signs_and_order_of_columns_do_not_matter)


@cholesky.law
def divergence_from_white_noise(f, case):
    """KL(N(0, S) || N(0, I)) = (|L|^2 - d)/2 - sum log |L_ii|, without a factorisation"""
    root = upcast(case.arrays[0])
    xp = namespace(root)
    d = root.shape[-1]
    diagonal = xp.diagonal(root, axis1=-2, axis2=-1)
    if bool((diagonal == 0).any()):
        return
    expected = ((root * root).sum(axis=(-2, -1)) - d) / 2 - xp.log(abs(diagonal)).sum(axis=-1)
    origin = xp.zeros(d)
    divergence = gaussian_kl.oracle(origin, upcast(f(*case.arrays)), origin, xp.eye(d))
    yield Claim(divergence, expected, 64 * (abs(expected) + d))


@factor.law
def factors_side_by_side_add(f, case):
    """The covariance of two factors side by side is the sum of theirs: independent sources add"""
    (root,) = case.arrays
    k = root.shape[-1] // 2
    total = f(root[..., :k]) + f(root[..., k:])
    yield Claim(f(root), total, _row_products(root))


def coordinates_are_independent(f, case):
    """The log density of a point is the sum of those of its coordinates"""
    (scale,) = case.arrays
    cov = upcast(f(scale))
    x = like(np.resize([1.0, -2.0], scale.shape[-1]), scale) * upcast(scale)
    xp = namespace(x)
    whole = gaussian_log_density(x, xp.zeros_like(x), cov)
    parts = xp.zeros_like(whole)
    for i in range(x.shape[-1]):
        one = slice(i, i + 1)
        one_cov = upcast(f(scale[..., one]))
        parts = parts + gaussian_log_density(x[..., one], xp.zeros_like(x[..., one]), one_cov)
    yield Claim(whole, parts, 16 * (abs(parts) + x.shape[-1] + (x * x).sum(axis=-1)))


variance.law(coordinates_are_independent)
deviation.law(coordinates_are_independent)


@variance.law
def is_linear(f, case):
    """diag(4 v) = 4 diag(v): it is in the unit of the variance"""
    (v,) = case.arrays
    value = f(v)
    yield Claim(f(4 * v), 4 * value, 4 * abs(value))


@variance.law
def diagonal_holds_the_variances(f, case):
    """The entries sum to sum v, and so do their absolute values: the rest is 0"""
    (v,) = case.arrays
    yield from _diagonal_holds(f(v), upcast(v))


@deviation.law
def is_quadratic(f, case):
    """The covariance of deviations 2 s is 4 times that of s"""
    (s,) = case.arrays
    value = f(s)
    yield Claim(f(2 * s), 4 * value, 4 * abs(value))


@deviation.law
def diagonal_holds_the_squares(f, case):
    """The entries sum to sum s^2, and so do their absolute values: the rest is 0"""
    (s,) = case.arrays
    yield from _diagonal_holds(f(s), upcast(s) ** 2)


def _diagonal_holds(value, variances):
    value = upcast(value)
    total = variances.sum(axis=-1)
    diagonal = namespace(value).diagonal(value, axis1=-2, axis2=-1)
    yield Claim(diagonal, variances, variances)
    yield Claim(abs(value).sum(axis=(-2, -1)), total, 4 * total)


@low_rank.law
def determinant_lemma(f, case):
    """H(D + W W^T) = H(D) + log det(I + W^T D^{-1} W)/2 (Weinstein and Aronszajn)"""
    v, w = map(upcast, case.arrays)
    d, r = w.shape[-2:]
    if r == 0:
        return
    xp = namespace(v)
    capacitance = w.swapaxes(-1, -2) @ (w / v[..., None]) + xp.eye(r)
    # Entropies differ by half a log-determinant.
    excess = gaussian_entropy(capacitance) - gaussian_entropy(xp.eye(r))
    noise = gaussian_entropy(v[..., None] * xp.eye(d))
    value = gaussian_entropy(upcast(f(*case.arrays)))
    ratio = ((w * w).sum(axis=-1) / v).max(axis=-1)
    yield Claim(value, noise + excess, 64 * (abs(value) + d * (1 + ratio)))


@low_rank.law
def one_more_column_adds_its_square(f, case):
    """D + W W^T = (D + V V^T) + (W W^T - V V^T), V the first columns of W"""
    v, w = case.arrays
    k = w.shape[-1] // 2
    zero = namespace(v).zeros_like(v)
    total = f(v, w[..., :k]) + f(zero, w[..., k:])
    yield Claim(f(v, w), total, _row_products(w) + 4 * abs(total))


# ------------------------------------------------------------------------------- closed forms


@cholesky.closed_form
def bidiagonal_factor(rng, shape):
    """2 on the diagonal and b below: a tridiagonal S with 4 + b_i^2 and 2 b_i"""
    root = integer_factor(rng, shape.scale_tril)
    return Case((root,)), _tridiagonal(root)


@factor.closed_form
def outer_product(rng, shape):
    """A factor of equal columns c: r c c^T"""
    column = rng.integers(-3, 4, shape.factor[:-1]).astype(float)
    root = np.repeat(column[..., None], shape.axes["r"], axis=-1)
    answer = shape.axes["r"] * column[..., :, None] * column[..., None, :]
    return Case((root,)), answer


@factor.closed_form
def orthogonal_rows(rng, shape):
    """Distinct unit vectors as columns: ones on the diagonal, as many as there are"""
    d, r = shape.axes["d"], shape.axes["r"]
    root = np.broadcast_to(np.eye(d, r), shape.factor).copy()
    return Case((root,)), np.broadcast_to(np.diag(1.0 * (np.arange(d) < r)), (*shape.batch, d, d))


@variance.closed_form
def equal_variances(rng, shape):
    """v = 9: 9 I"""
    answer = np.broadcast_to(9.0 * np.eye(shape.axes["d"]), (*shape.batch, *_square(shape)))
    return Case((np.full(shape.variance, 9.0),)), answer


@deviation.closed_form
def equal_deviations(rng, shape):
    """s = 3: 9 I"""
    answer = np.broadcast_to(9.0 * np.eye(shape.axes["d"]), (*shape.batch, *_square(shape)))
    return Case((np.full(shape.deviation, 3.0),)), answer


@low_rank.closed_form
def compound_symmetry(rng, shape):
    """v = 2 and r columns of ones: 2 I + r"""
    d, r = _square(shape)[0], shape.axes["r"]
    answer = np.broadcast_to(2.0 * np.eye(d) + r, (*shape.batch, d, d))
    return Case((np.full(shape.variance, 2.0), np.ones(shape.factor))), answer


def _square(shape):
    return shape.axes["d"], shape.axes["d"]


def _tridiagonal(root):
    """L L^T of a lower bidiagonal L with 2 on its diagonal, entry by entry."""
    d = root.shape[-1]
    answer = np.zeros(root.shape)
    for i in range(d):
        answer[..., i, i] = 4.0
        if i:
            b = root[..., i, i - 1]
            answer[..., i, i] += b * b
            answer[..., i, i - 1] = answer[..., i - 1, i] = 2 * b
    return answer
