"""Evidence for the Frechet distance of samples."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.shared import trace
from refimpl.evidence.gaussian.transport_laws import sensitivity
from refimpl.formula import upcast
from refimpl.gaussian.frechet import frechet_distance
from refimpl.gaussian.transport import wasserstein_squared

frechet = Evidence(
    frechet_distance,
    sizes={"n": Sizes(2, 1, 12), "d": Sizes(1, 1, 6), "m": Sizes(2, 1, 12)},
    fixed={"ddof": 1},
    budget=Budget(k=8.0, floor=16.0),
    unchanged={
        "x and y are swapped": "it is symmetric",
    },
)


@frechet.output_terms
def _largest_spread(x, y, *, ddof):
    return (float(sum(_spread(s).max() for s in (x, y))),)


def _spread(samples):
    """At least the trace of the covariance, with either divisor."""
    centred = samples - samples.mean(axis=-2, keepdims=True)
    return (centred * centred).sum(axis=(-2, -1))


# ------------------------------------------------------------------------------------------ regimes


@frechet.regime
def generic(rng, shape):
    """Normal samples around two means, of correlated coordinates."""
    mix = rng.standard_normal((shape.axes["d"], shape.axes["d"])) + np.eye(shape.axes["d"])
    x = rng.standard_normal(shape.x) @ mix
    return Case((x, rng.standard_normal(shape.y) + rng.standard_normal(shape.axes["d"])))


@frechet.regime
def rectified(rng, shape):
    """Features that are not negative, many of them 0, as networks give them."""
    x, y = (rng.standard_normal(s) + 0.5 for s in (shape.x, shape.y))
    return Case((np.maximum(x, 0) + 0.01 * x, 2 * np.maximum(y, 0) + 0.01 * y))


@frechet.regime(adversarial=True)
def far_from_the_origin(rng, shape):
    """Means 16 deviations from the origin: sums of squares lose what centring keeps."""
    x, y = rng.standard_normal(shape.x), 1.5 * rng.standard_normal(shape.y)
    return Case((16 + x, 16 + y))


@frechet.regime(adversarial=True)
def unlike_spreads(rng, shape):
    """y spreads 16 times as far as x."""
    return Case((rng.standard_normal(shape.x) / 4, 4 * rng.standard_normal(shape.y)))


@frechet.regime(adversarial=True, advisory=True)
def repeated(rng, shape):
    """y repeats the samples of x, up to 1e-6 to 1e-2: the textbook formula cancels."""
    x = rng.standard_normal(shape.x)
    size = 10.0 ** -rng.uniform(2, 6, (*shape.batch, 1, 1))
    y = np.take(x, np.arange(shape.axes["m"]) % shape.axes["n"], axis=-2)
    return Case((x, y + size * rng.uniform(-1, 1, shape.y)))


# --------------------------------------------------------------------------------------------- laws


def _scale(value, case):
    x, y = case.arrays
    size = abs(x).max(axis=(-2, -1)) ** 2 + abs(y).max(axis=(-2, -1)) ** 2
    return 4 * (abs(value) + _spread(x) + _spread(y)) + size


@frechet.law
def is_not_negative_and_vanishes_at_equality(f, case):
    """FD >= 0, and FD(x, x) = 0"""
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    yield Claim(xp.minimum(value, 0), xp.zeros_like(value), _scale(value, case))
    for samples in case.arrays:
        zero = f(samples, samples, **case.options)
        yield Claim(zero, xp.zeros_like(zero), 4 * _spread(samples))


@frechet.law
def does_not_see_the_order_of_samples_nor_of_sets(f, case):
    """FD(x, y) = FD(y, x) = FD(x in reversed order, y)"""
    x, y = case.arrays
    value = f(x, y, **case.options)
    yield Claim(f(y, x, **case.options), value, _scale(value, case))
    turned = namespace(x).flip(x, -2)
    yield Claim(f(turned, y, **case.options), value, _scale(value, case))


@frechet.law
def moves_and_scales(f, case):
    """FD(2 x + 1, 2 y + 1) = 4 FD(x, y)"""
    x, y = case.arrays
    value = f(x, y, **case.options)
    moved = f(2 * x + 1, 2 * y + 1, **case.options)
    yield Claim(moved, 4 * value, 8 * _scale(value, case) + 4)


@frechet.law
def ignores_rotations(f, case):
    """FD is invariant under a common orthogonal map, here the reflection I - 2/d 1 1^T"""
    x, y = case.arrays
    d = x.shape[-1]
    mirror = like((np.eye(d) - 2.0 / d).astype(x.dtype), x)
    value = f(x, y, **case.options)
    moved = f(x @ mirror, y @ mirror, **case.options)
    yield Claim(moved, value, 4 * d * _scale(value, case))


@frechet.law
def is_the_transport_cost_of_the_moments(f, case):
    """FD = W_2^2 of the sample means and covariances, where these are not singular"""
    x, y = case.arrays
    if min(x.shape[-2], y.shape[-2]) <= x.shape[-1]:
        return
    moments = []
    for samples in map(upcast, (x, y)):
        mean = samples.mean(axis=-2)
        centred = samples - mean[..., None, :]
        divisor = samples.shape[-2] - case.options["ddof"]
        moments += [mean, centred.swapaxes(-1, -2) @ centred / divisor]
    value = f(x, y, **case.options)
    scale = _scale(value, case) + sensitivity(moments[1], moments[3])
    yield Claim(value, wasserstein_squared(*moments), scale)


@frechet.law
def copies_of_all_samples_change_nothing(f, case):
    """With ddof = 0, taking every sample of x twice changes nothing"""
    x, y = case.arrays
    value = f(x, y, ddof=0)
    doubled = namespace(x).concatenate([x, x], axis=-2)
    yield Claim(f(doubled, y, ddof=0), value, _scale(value, case))


@frechet.law
def divisors_scale_the_part_of_the_covariances(f, case):
    """For n = m, FD without the means is n/(n - 1) times as large with ddof = 1 as with 0"""
    x, y = case.arrays
    n = min(x.shape[-2], y.shape[-2])
    x, y = x[..., :n, :], y[..., :n, :]
    gap = (upcast(x) - upcast(y)).mean(axis=-2)
    means = (gap * gap).sum(axis=-1)
    zero, one = upcast(f(x, y, ddof=0)), upcast(f(x, y, ddof=1))
    yield Claim((n - 1) * (one - means), n * (zero - means), n * _scale(one, case))


@frechet.law
def no_pairing_is_better(f, case):
    """For n = m and ddof = 0 no pairing has a smaller mean of |x - y|^2 than FD (Gelbrich)"""
    x, y = case.arrays
    n = min(x.shape[-2], y.shape[-2])
    x, y = x[..., :n, :], y[..., :n, :]
    value = f(x, y, ddof=0)
    xp = namespace(value)
    for shift in range(min(n, 4)):
        order = like(np.roll(np.arange(n), shift), x)
        cost = ((upcast(x) - upcast(y)[..., order, :]) ** 2).sum(axis=-1).mean(axis=-1)
        yield Claim(xp.minimum(cost, value), value, _scale(value, case))


@frechet.law
def lies_above_its_bound(f, case):
    """FD >= |difference of means|^2 + (sqrt tr S_x - sqrt tr S_y)^2"""
    x, y = map(upcast, case.arrays)
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    gap = x.mean(axis=-2) - y.mean(axis=-2)
    roots = (xp.sqrt(_spread(s) / (s.shape[-2] - case.options["ddof"])) for s in (x, y))
    bound = (gap * gap).sum(axis=-1) + (next(roots) - next(roots)) ** 2
    yield Claim(xp.minimum(value, bound), bound, _scale(value, case))


# ------------------------------------------------------------------------------------- closed forms


def _variance(numbers):
    return numbers.var(axis=-1, ddof=1)


@frechet.closed_form
def one_point(rng, shape):
    """All y are one point: the mean of |x - y|^2, with the divisor n - 1"""
    x = rng.integers(-3, 4, shape.x).astype(float)
    point = rng.integers(-3, 4, (*shape.y[:-2], 1, shape.y[-1])).astype(float)
    mean = ((x.mean(axis=-2) - point[..., 0, :]) ** 2).sum(axis=-1)
    trace_x = np.trace(_covariance(x), axis1=-2, axis2=-1)
    return Case((x, np.broadcast_to(point, shape.y).copy())), mean + trace_x


def _covariance(samples):
    centred = samples - samples.mean(axis=-2, keepdims=True)
    return centred.swapaxes(-1, -2) @ centred / (samples.shape[-2] - 1)


@frechet.closed_form
def two_lines(rng, shape):
    """x = s u, y = t v: |s u - t v|^2 of the means + |u|^2 var s + |v|^2 var t - 2 |u v| dev dev"""
    s, t = (rng.integers(-3, 4, each[:-1]).astype(float) for each in (shape.x, shape.y))
    u, v = (rng.integers(-2, 3, (*shape.batch, shape.axes["d"])).astype(float) for _ in range(2))
    gap = s.mean(axis=-1)[..., None] * u - t.mean(axis=-1)[..., None] * v
    cross = np.abs((u * v).sum(axis=-1)) * np.sqrt(_variance(s) * _variance(t))
    spread = (u * u).sum(axis=-1) * _variance(s) + (v * v).sum(axis=-1) * _variance(t)
    case = Case((s[..., None] * u[..., None, :], t[..., None] * v[..., None, :]))
    return case, (gap * gap).sum(axis=-1) + spread - 2 * cross


@frechet.closed_form
def known_map(rng, shape):
    """y = A x + c, A symmetric positive definite: |(A - I) mean + c|^2 + tr (A - I) S_x (A - I)"""
    x = rng.integers(-2, 3, shape.x).astype(float)
    u = rng.integers(-1, 2, shape.axes["d"]).astype(float)
    excess = np.eye(shape.axes["d"]) + np.outer(u, u)
    c = rng.integers(-2, 3, shape.axes["d"]).astype(float)
    gap = x.mean(axis=-2) @ excess + c
    moved = trace(excess @ _covariance(x) @ excess)
    return Case((x, x + x @ excess + c)), (gap * gap).sum(axis=-1) + moved
