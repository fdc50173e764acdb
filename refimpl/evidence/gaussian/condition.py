"""Evidence for conditioning, products of densities and Fisher information."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import cholesky, namespace
from refimpl.core import whiten
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import far_apart, generic, graded, same_covariance
from refimpl.evidence.gaussian.shared import (
    LOG_2PI,
    change_of_unit,
    covariance,
    displacement,
    graded_units,
    integer_factor,
    recoordinated,
    rescale,
    symmetric_part,
    uncoupled,
)
from refimpl.formula import upcast
from refimpl.gaussian.condition import (
    fisher_information_metric,
    gaussian_conditional,
    gaussian_product,
)
from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.moments import gaussian_quadratic_covariance
from refimpl.gaussian.precision import precision_from_covariance

_BUDGET = Budget(k=8.0, floor=16.0)

conditional = Evidence(
    gaussian_conditional, sizes={"a": Sizes(1, 1, 6), "b": Sizes(1, 1, 6)}, budget=_BUDGET
)
product = Evidence(gaussian_product, sizes={"d": Sizes(1, 1, 8)}, budget=_BUDGET)
fisher = Evidence(
    fisher_information_metric,
    sizes={"d": Sizes(1, 1, 8)},
    budget=_BUDGET,
    unchanged={
        "tangent_mean is taken as its negative": "a square is even",
    },
)

# --------------------------------------------------------------------- regimes: conditional


def _split(rng, shape, joint, distance=1.0):
    """The arguments of the conditional, from a joint covariance of a + b coordinates."""
    a = shape.axes["a"]
    mean_a, mean_b = (rng.standard_normal(s) for s in (shape.mean_a, shape.mean_b))
    cov_bb = joint[..., a:, a:]
    x_b = mean_b + distance * displacement(rng, cov_bb)
    blocks = joint[..., :a, :a], joint[..., :a, a:], cov_bb
    return Case((mean_a, mean_b, *(x.copy() for x in blocks), x_b))


def _joint(rng, shape):
    size = shape.axes["a"] + shape.axes["b"]
    return covariance(rng, (*shape.batch, size, size))


@conditional.regime
def correlated(rng, shape):
    """All coordinates of both parts correlated."""
    return _split(rng, shape, _joint(rng, shape))


@conditional.regime
def nearly_independent(rng, shape):
    """Correlations between the parts of about a sixteenth."""
    joint = _joint(rng, shape)
    a = shape.axes["a"]
    joint[..., :a, a:] /= 16
    joint[..., a:, :a] /= 16
    return _split(rng, shape, joint)


@conditional.regime(adversarial=True)
def surprising(rng, shape):
    """A known value eight standard deviations from its mean."""
    return _split(rng, shape, _joint(rng, shape), distance=8.0)


@conditional.regime(adversarial=True)
def graded_parts(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    joint = _joint(rng, shape)
    return _split(rng, shape, rescale(joint, graded_units(rng, joint.shape[:-1])))


# ------------------------------------------------------------- regimes: product, information

for sampler in (generic, same_covariance):
    product.regime(sampler)
for sampler in (graded, far_apart):
    product.regime(sampler, adversarial=True)


@fisher.regime
def tangents(rng, shape):
    """Changes of about one deviation, and of the covariance by about itself."""
    cov = covariance(rng, shape.cov)
    change = symmetric_part(rng.standard_normal(shape.tangent_cov)) * 2
    return Case((displacement(rng, cov), change, cov))


@fisher.regime
def along_the_covariance(rng, shape):
    """A change of the covariance in proportion to itself."""
    cov = covariance(rng, shape.cov)
    return Case((displacement(rng, cov) / 2, 0.5 * cov, cov))


@fisher.regime(adversarial=True)
def graded_tangents(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    tangent_mean, tangent_cov, cov = tangents(rng, shape).arrays
    units = graded_units(rng, shape.tangent_mean)
    return Case((tangent_mean * units, rescale(tangent_cov, units), rescale(cov, units)))


@fisher.regime(adversarial=True)
def mostly_covariance(rng, shape):
    """A change of the mean of an eighth of that of the covariance."""
    tangent_mean, tangent_cov, cov = tangents(rng, shape).arrays
    return Case((tangent_mean / 8, tangent_cov, cov))


# ------------------------------------------------------------------------ laws: conditional


def _variances(cov):
    return namespace(cov).diagonal(cov, axis1=-2, axis2=-1)


def _conditional_sizes(case):
    """What errors are relative to: cov_aa, and its deviations times those of x_b's surprise."""
    _, mean_b, cov_aa, _, cov_bb, x_b = (upcast(x) for x in case.arrays)
    xp = namespace(cov_aa)
    deviation = xp.sqrt(_variances(cov_aa))
    surprise = xp.sqrt((((x_b - mean_b) ** 2) / _variances(cov_bb)).sum(axis=-1, keepdims=True))
    d = cov_aa.shape[-1] + cov_bb.shape[-1]
    cov_size = 4 * d * deviation[..., :, None] * deviation[..., None, :]
    mean_size = 4 * d * (deviation * (1 + surprise) + abs(upcast(case.arrays[0])))
    return mean_size, cov_size


def _joined(case):
    """The joint covariance in float64."""
    _, _, cov_aa, cov_ab, cov_bb, _ = (upcast(x) for x in case.arrays)
    xp = namespace(cov_aa)
    top = xp.concatenate([cov_aa, cov_ab], axis=-1)
    bottom = xp.concatenate([cov_ab.swapaxes(-1, -2), cov_bb], axis=-1)
    return xp.concatenate([top, bottom], axis=-2)


@conditional.law
def densities_multiply(f, case):
    """log p(x_a, x_b) = log p(x_a | x_b) + log p(x_b)"""
    mean_a, mean_b, cov_aa, _, cov_bb, x_b = (upcast(x) for x in case.arrays)
    xp = namespace(mean_a)
    x_a = mean_a + xp.sqrt(_variances(cov_aa))
    mean, cov = map(upcast, f(*case.arrays))
    x, m = xp.concatenate([x_a, x_b], axis=-1), xp.concatenate([mean_a, mean_b], axis=-1)
    both = gaussian_log_density(x, m, _joined(case))
    parts = gaussian_log_density(x_a, mean, cov) + gaussian_log_density(x_b, mean_b, cov_bb)
    yield Claim(parts, both, 256 * (abs(both) + x.shape[-1]))


@conditional.law
def determinants_multiply(f, case):
    """H(x_a, x_b) = H(x_a | x_b) + H(x_b): the block rule for determinants"""
    both = gaussian_entropy(_joined(case))
    cov_bb = upcast(case.arrays[4])
    parts = gaussian_entropy(upcast(f(*case.arrays)[1])) + gaussian_entropy(cov_bb)
    yield Claim(parts, both, 64 * (abs(both) + 8 * _joined(case).shape[-1]))


@conditional.law
def is_the_inverse_of_a_block_of_the_precision(f, case):
    """Cov[x_a | x_b]^{-1} is the block of the joint precision"""
    a = case.arrays[0].shape[-1]
    block = precision_from_covariance(_joined(case))[..., :a, :a]
    _, cov = f(*case.arrays)
    yield Claim(
        cov, precision_from_covariance(symmetric_part(block)), 16 * _conditional_sizes(case)[1]
    )


@conditional.law
def average_of_the_mean_is_the_mean(f, case):
    """At x_b = mean_b the mean is mean_a; opposite surprises average to it"""
    *rest, x_b = case.arrays
    mean_a, mean_b = rest[:2]
    mean_size, _ = _conditional_sizes(case)
    yield Claim(f(*rest, mean_b)[0], mean_a, mean_size)
    opposite = (f(*rest, x_b)[0] + f(*rest, 2 * mean_b - x_b)[0]) / 2
    yield Claim(opposite, mean_a, 4 * mean_size)


@conditional.law
def knowing_the_rest_in_two_steps(f, case):
    """Conditioning on one coordinate of x_b, then on the others, is conditioning on all"""
    a, b = case.arrays[3].shape[-2:]
    if b < 2:
        return
    mean_a, mean_b, *_, x_b = case.arrays
    joint = _joined(case).astype(mean_a.dtype)
    keep, last = slice(None, -1), slice(-1, None)
    xp = namespace(joint)
    mean = xp.concatenate([mean_a, mean_b[..., keep]], axis=-1)
    blocks = joint[..., keep, keep], joint[..., keep, last], joint[..., last, last]
    mean, cov = f(mean, mean_b[..., last], *blocks, x_b[..., last])
    blocks = cov[..., :a, :a], cov[..., :a, a:], cov[..., a:, a:]
    twice = f(mean[..., :a], mean[..., a:], *blocks, x_b[..., keep])
    at_once = f(*case.arrays)
    for left, right, size in zip(twice, at_once, _conditional_sizes(case), strict=True):
        yield Claim(left, right, 16 * size)


# ---------------------------------------------------------------------------- laws: product


def _product_sizes(case):
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    total = cov_p + cov_q
    delta = abs(mean_p - mean_q)
    surprise = (delta * delta / _variances(total)).sum(axis=-1)
    xp = namespace(total)
    deviation = xp.sqrt(_variances(total))
    d = delta.shape[-1]
    weight = 64 * (d + d * abs(xp.log(_variances(total))).max(axis=-1) + 8 * surprise)
    gap = deviation * (1 + xp.sqrt(surprise)[..., None])
    mean = 16 * d * (abs(mean_p) + abs(mean_q) + gap)
    return weight, mean, 16 * d * deviation[..., :, None] * deviation[..., None, :]


@product.law
def order_does_not_matter(f, case):
    """The product of q and p is that of p and q"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    pairs = zip(f(mean_q, cov_q, mean_p, cov_p), f(*case.arrays), strict=True)
    for (left, right), size in zip(pairs, _product_sizes(case), strict=True):
        yield Claim(left, right, size)


@product.law
def precisions_add(f, case):
    """C^{-1} = A^{-1} + B^{-1}, and C^{-1} c = A^{-1} a + B^{-1} b"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    p, q = precision_from_covariance(cov_p), precision_from_covariance(cov_q)
    expected = precision_from_covariance(p + q)
    pulled = p @ mean_p[..., None] + q @ mean_q[..., None]
    _, mean, cov = f(*case.arrays)
    _, mean_size, cov_size = _product_sizes(case)
    yield Claim(cov, expected, cov_size)
    yield Claim(mean, (expected @ pulled)[..., 0], 16 * mean_size)


@product.law
def densities_multiply_pointwise(f, case):
    """log p(x) + log q(x) = weight + log N(x; c, C), at a, at b and at c"""
    arrays = tuple(map(upcast, case.arrays))
    mean_p, cov_p, mean_q, cov_q = arrays
    weight, mean, cov = map(upcast, f(*case.arrays))
    for x in (mean_p, mean_q, mean):
        log_p, log_q = (
            gaussian_log_density(x, mean_p, cov_p),
            gaussian_log_density(x, mean_q, cov_q),
        )
        together = weight + gaussian_log_density(x + 0 * mean, mean, cov)
        size = abs(log_p) + abs(log_q) + abs(together) + 8 * x.shape[-1]
        yield Claim(together, log_p + log_q, 256 * size)


@product.law
def weight_is_the_density_of_the_difference(f, case):
    """weight = log N(a - b; 0, A + B), the density of the difference of the vectors at 0"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    delta = mean_p - mean_q
    expected = gaussian_log_density(delta, 0 * delta, cov_p + cov_q)
    yield Claim(f(*case.arrays)[0], expected, _product_sizes(case)[0])


# ------------------------------------------------------------------------ laws: information


def _information_size(f, case):
    value = upcast(f(*case.arrays))
    return 64 * (abs(value) + 0.01)


@fisher.law
def is_twice_the_divergence_of_a_small_change(f, case):
    """KL(N(h v, S + h V) || N(0, S)) summed over h and -h is h^2 ds^2, up to order h^4"""
    tangent_mean, tangent_cov, cov = map(upcast, case.arrays)
    origin = 0 * tangent_mean
    largest = float(abs(whiten(cholesky(cov), tangent_cov, cholesky(cov))).max())

    def both(h):
        ahead = gaussian_kl(h * tangent_mean, cov + h * tangent_cov, origin, cov)
        return (ahead + gaussian_kl(-h * tangent_mean, cov - h * tangent_cov, origin, cov)) / h**2

    h = 2.0**-13 / max(1.0, largest)
    extrapolated = (4 * both(h / 2) - both(h)) / 3
    value = f(*case.arrays)
    # S + h V rounds what is h times smaller.
    yield Claim(value, extrapolated, _information_size(f, case) / h * 64)


@fisher.law
def is_the_variance_of_the_score(f, case):
    """ds^2 is the variance of v^T S^{-1} x + x^T S^{-1} V S^{-1} x/2, the score along the change"""
    tangent_mean, tangent_cov, cov = map(upcast, case.arrays)
    precision = precision_from_covariance(cov)
    form = precision @ tangent_cov @ precision / 2
    origin = 0 * tangent_mean
    quadratic = gaussian_quadratic_covariance(form, form, origin, cov)
    linear = (tangent_mean * (precision @ tangent_mean[..., None])[..., 0]).sum(axis=-1)
    yield Claim(f(*case.arrays), linear + quadratic, _information_size(f, case))


@fisher.law
def ignores_the_coordinates(f, case):
    """ds^2 is invariant under x -> C x, here a permutation with scales"""
    tangent_mean, tangent_cov, cov = case.arrays
    units, order = change_of_unit(tangent_mean)
    moved = f(
        (tangent_mean * units)[..., order],
        recoordinated(tangent_cov, units, order),
        recoordinated(cov, units, order),
    )
    yield Claim(moved, f(*case.arrays), _information_size(f, case))


@fisher.law
def is_a_quadratic_form(f, case):
    """It is quadratic in the change, and changes of mean and covariance are orthogonal"""
    tangent_mean, tangent_cov, cov = case.arrays
    value = f(*case.arrays)
    size = _information_size(f, case)
    yield Claim(f(2 * tangent_mean, 2 * tangent_cov, cov), 4 * value, 4 * size)
    apart = f(0 * tangent_mean, tangent_cov, cov) + f(tangent_mean, 0 * tangent_cov, cov)
    yield Claim(apart, value, size)


@fisher.law
def information_of_independent_blocks_adds(f, case):
    """Without correlation between two blocks of coordinates their squared lengths add"""
    tangent_mean, tangent_cov, cov = case.arrays
    k = tangent_mean.shape[-1] // 2
    if k:
        first = f(tangent_mean[..., :k], tangent_cov[..., :k, :k], cov[..., :k, :k])
        second = f(tangent_mean[..., k:], tangent_cov[..., k:, k:], cov[..., k:, k:])
        whole = f(tangent_mean, uncoupled(tangent_cov, k), uncoupled(cov, k))
        yield Claim(whole, first + second, 64 * (first + second))


# ------------------------------------------------------------------------------- closed forms


@conditional.closed_form
def regression_with_noise(rng, shape):
    """x_a = K x_b + noise, x_b ~ N(m, I), noise ~ N(0, 2 I): mean K x_b, covariance 2 I"""
    gain = rng.integers(-2, 3, shape.cov_ab).astype(float)
    a, b = shape.axes["a"], shape.axes["b"]
    mean_b, x_b = rng.integers(-3, 4, (2, *shape.mean_b)).astype(float)
    noise = np.broadcast_to(2 * np.eye(a), shape.cov_aa)
    cov_bb = np.broadcast_to(np.eye(b), shape.cov_bb).copy()
    mean_a = (gain @ mean_b[..., None])[..., 0]
    case = Case((mean_a, mean_b, gain @ gain.swapaxes(-1, -2) + noise, gain, cov_bb, x_b))
    return case, ((gain @ x_b[..., None])[..., 0], noise)


@conditional.closed_form
def independent_parts(rng, shape):
    """No correlation: nothing is learnt"""
    root = integer_factor(rng, shape.cov_aa)
    cov_aa = root @ root.swapaxes(-1, -2)
    cov_bb = covariance(rng, shape.cov_bb)
    mean_a, mean_b = rng.standard_normal(shape.mean_a), rng.standard_normal(shape.mean_b)
    case = Case((mean_a, mean_b, cov_aa, np.zeros(shape.cov_ab), cov_bb, mean_b + 1))
    return case, (mean_a, cov_aa)


@product.closed_form
def spheres(rng, shape):
    """A = I, B = 3 I: weight -(d log(8 pi) + |a - b|^2/4)/2, c = (3 a + b)/4, C = 3/4 I"""
    a, b = (rng.integers(-4, 5, s).astype(float) for s in (shape.mean_p, shape.mean_q))
    identity = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov_p)
    squares = ((a - b) ** 2).sum(axis=-1)
    weight = -0.5 * (shape.axes["d"] * math.log(8 * math.pi) + squares / 4)
    return Case((a, identity.copy(), b, 3 * identity)), (weight, (3 * a + b) / 4, 0.75 * identity)


@product.closed_form
def certainty_wins(rng, shape):
    """A = 0, B = I: c = a, C = 0, and the weight is log q(a)"""
    a, b = (rng.integers(-4, 5, s).astype(float) for s in (shape.mean_p, shape.mean_q))
    zero = np.zeros(shape.cov_p)
    weight = -0.5 * (shape.axes["d"] * LOG_2PI + ((a - b) ** 2).sum(axis=-1))
    return Case((a, zero, b, zero + np.eye(shape.axes["d"]))), (weight, a, zero)


@fisher.closed_form
def white_coordinates(rng, shape):
    """S = I: |v|^2 + |V|^2/2"""
    v = rng.integers(-3, 4, shape.tangent_mean).astype(float)
    change = rng.integers(-3, 4, shape.tangent_cov).astype(float)
    change = change + change.swapaxes(-1, -2)
    identity = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov).copy()
    answer = (v * v).sum(axis=-1) + (change * change).sum(axis=(-2, -1)) / 2
    return Case((v, change, identity)), answer


@fisher.closed_form
def scaling(rng, shape):
    """V = 2 h S, a change of the unit by h: 2 d h^2"""
    cov = covariance(rng, shape.cov)
    answer = np.full(shape.batch, 2 * shape.axes["d"] * 0.25**2)
    return Case((np.zeros(shape.tangent_mean), 0.5 * cov, cov)), answer
