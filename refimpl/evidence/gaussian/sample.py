"""Evidence for the moments of a sample."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.shared import covariance, graded_units, off_diagonal_doubled
from refimpl.formula import upcast
from refimpl.gaussian.sample import sample_moments

moments = Evidence(
    sample_moments,
    sizes={"n": Sizes(2, 1, 40), "d": Sizes(1, 1, 10)},
    fixed={"ddof": 1},
    options={"ddof": (0,)},
    budget=Budget(floor=8.0),
)

# ------------------------------------------------------------------------------------ regimes


@moments.regime
def generic(rng, shape):
    """Correlated coordinates about a mean of their own size."""
    d = shape.axes["d"]
    root = np.linalg.cholesky(covariance(rng, (*shape.batch, d, d))) / 2
    mean = rng.standard_normal((*shape.batch, 1, d))
    return Case((mean + rng.standard_normal(shape.x) @ root.swapaxes(-1, -2),))


@moments.regime(adversarial=True)
def far_from_the_origin(rng, shape):
    """A mean 10000 times the deviation, which must be subtracted before anything is squared."""
    return Case((1e4 + rng.standard_normal(shape.x),))


@moments.regime(adversarial=True)
def graded(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    units = graded_units(rng, (*shape.batch, 1, shape.axes["d"]))
    return Case((units * (2 + rng.standard_normal(shape.x)),))


@moments.regime(adversarial=True)
def outliers(rng, shape):
    """Every fourth observation is 32 times as far out."""
    x = rng.standard_normal(shape.x)
    x[..., ::4, :] *= 32
    return Case((x,))


# --------------------------------------------------------------------------------------- laws


def _call(f, case, x):
    return f(x, **case.options)


def _sizes(x):
    """What rounding errors of mean and covariance are relative to: (..., d) and (..., d, d)."""
    xp = namespace(x)
    largest = abs(x).max(axis=-2)
    deviation = abs(x - x.mean(axis=-2, keepdims=True)).max(axis=-2)
    root = xp.sqrt(deviation * (deviation + 4 * largest) + 1e-3 * largest * largest)
    return 4 * largest, 4 * root[..., :, None] * root[..., None, :]


@moments.law
def covariance_is_symmetric(f, case):
    """C = C^T"""
    _, cov = case.call(f)
    yield Claim(cov, cov.swapaxes(-1, -2), abs(cov))


@moments.law
def order_of_observations_does_not_matter(f, case):
    """The rows in reverse order have the same moments"""
    (x,) = case.arrays
    mean, cov = case.call(f)
    other_mean, other_cov = _call(f, case, namespace(x).flip(x, -2))
    mean_size, cov_size = _sizes(x)
    yield Claim(other_mean, mean, mean_size)
    yield Claim(other_cov, cov, cov_size)


@moments.law
def translation_moves_the_mean_alone(f, case):
    """x - x_1 has the mean m - x_1 and the same covariance"""
    (x,) = case.arrays
    first = x[..., :1, :]
    mean, cov = case.call(f)
    moved_mean, moved_cov = _call(f, case, x - first)
    mean_size, cov_size = _sizes(x)
    yield Claim(moved_mean + first[..., 0, :], mean, mean_size)
    yield Claim(moved_cov, cov, cov_size)


@moments.law
def projections_have_their_variance(f, case):
    """w^T C w is the variance of x^T w, and w^T m its mean"""
    (x,) = case.arrays
    w = like(np.resize([1.0, -2.0, 0.5], x.shape[-1]).astype(x.dtype), x)
    mean, cov = case.call(f)
    projected = upcast(x) @ upcast(w)
    gap = projected - projected.mean(axis=-1, keepdims=True)
    count = x.shape[-2] - case.options["ddof"]
    mean_size, cov_size = _sizes(x)
    yield Claim(mean @ w, projected.mean(axis=-1), 8 * mean_size.sum(axis=-1))
    variance = (gap * gap).sum(axis=-1) / count
    yield Claim(((cov @ w) * w).sum(axis=-1), variance, 16 * cov_size.sum(axis=(-2, -1)))


@moments.law
def parts_combine(f, case):
    """Moments of two parts give those of the whole (Chan, Golub & LeVeque)"""
    (x,) = case.arrays
    n, ddof = x.shape[-2], case.options["ddof"]
    k = n // 2
    if min(k, n - k) <= ddof:
        return
    (mean_a, cov_a), (mean_b, cov_b) = _call(f, case, x[..., :k, :]), _call(f, case, x[..., k:, :])
    gap = mean_b - mean_a
    between = gap[..., :, None] * gap[..., None, :] * (k * (n - k) / n)
    scatter = (k - ddof) * cov_a + (n - k - ddof) * cov_b + between
    mean, cov = case.call(f)
    mean_size, cov_size = _sizes(x)
    yield Claim((k * mean_a + (n - k) * mean_b) / n, mean, mean_size)
    yield Claim(scatter / (n - ddof), cov, 4 * cov_size)


# ------------------------------------------------------------------------------- closed forms


@moments.closed_form
def arithmetic_progression(rng, shape):
    """x_i = i c: mean (n + 1) c/2 and, with ddof = 1, covariance n (n + 1)/12 c c^T"""
    n = shape.axes["n"]
    c = rng.integers(-3, 4, (*shape.batch, shape.axes["d"])).astype(float)
    x = np.arange(1.0, n + 1)[:, None] * c[..., None, :]
    answer = (n + 1) / 2 * c, n * (n + 1) / 12 * c[..., :, None] * c[..., None, :]
    return Case((x,), {"ddof": 1}), answer


@moments.closed_form
def one_that_differs(rng, shape):
    """All observations are a but one, a + v: mean a + v/n, covariance (ddof = 0) (n-1)/n^2 v v^T"""
    n = shape.axes["n"]
    a, v = rng.integers(-4, 5, (2, *shape.batch, shape.axes["d"])).astype(float)
    x = np.repeat(a[..., None, :], n, axis=-2)
    x[..., 0, :] += v
    answer = a + v / n, (n - 1) / n**2 * v[..., :, None] * v[..., None, :]
    return Case((x,), {"ddof": 0}), answer


# ------------------------------------------------------------------------------------ mutants


def _scatter(x):
    gap = x - x.mean(axis=-2, keepdims=True)
    return gap.swapaxes(-1, -2) @ gap


@moments.mutant(source="https://github.com/tqch/ddpm-torch/issues/11")
def always_divided_by_n(x, /, *, ddof):
    """the covariance is divided by n, whatever ddof says"""
    return x.mean(axis=-2), _scatter(x) / x.shape[-2]


@moments.mutant
def ddof_doubled(x, /, *, ddof):
    """ddof is subtracted twice: from n - 1 instead of n where it is 1"""
    return x.mean(axis=-2), _scatter(x) / max(x.shape[-2] - 2 * ddof, 0.5)


@moments.mutant
def not_divided(x, /, *, ddof):
    """the scatter matrix is returned: nothing divides it"""
    return x.mean(axis=-2), _scatter(x)


@moments.mutant
def not_centred(x, /, *, ddof):
    """the mean is not subtracted: second moments about the origin"""
    return x.mean(axis=-2), x.swapaxes(-1, -2) @ x / (x.shape[-2] - ddof)


@moments.mutant(source="https://github.com/meta-pytorch/torcheval/issues/192")
def accumulated_without_centring(x, /, *, ddof):
    """sums of x x^T are accumulated in single precision, and n m m^T is subtracted at the end"""
    single = x.astype("float32")
    n = x.shape[-2]
    mean = single.mean(axis=-2)
    products = mean[..., :, None] * mean[..., None, :]
    return mean, (single.swapaxes(-1, -2) @ single - n * products) / (n - ddof)


@moments.mutant(source="https://github.com/lucidrains/denoising-diffusion-pytorch/issues/213")
def rows_for_coordinates(x, /, *, ddof):
    """coordinates are looked for in the rows: the covariance is that of the observations"""
    flipped = x.swapaxes(-1, -2)
    return flipped.mean(axis=-2), _scatter(flipped) / max(x.shape[-1] - ddof, 1)


@moments.mutant
def correlation(x, /, *, ddof):
    """the covariance is scaled to a correlation matrix"""
    xp = namespace(x)
    mean, cov = sample_moments(x, ddof=ddof)
    deviation = xp.sqrt(xp.diagonal(cov, axis1=-2, axis2=-1)) + 1e-30
    return mean, cov / deviation[..., :, None] / deviation[..., None, :]


@moments.mutant
def variances_only(x, /, *, ddof):
    """only the variances are kept"""
    mean, cov = sample_moments(x, ddof=ddof)
    return mean, cov * namespace(x).eye(x.shape[-1], dtype=x.dtype)


@moments.mutant
def median_for_mean(x, /, *, ddof):
    """the median is returned as the mean"""
    return namespace(x).median(x, axis=-2), sample_moments(x, ddof=ddof)[1]


@moments.mutant(gradient=True)
def gradient_half_missing(g, x, /, *, ddof):
    """the gradient uses G instead of G + G^T for the covariance"""
    dmean, dcov = g
    return sample_moments.vjp((dmean, dcov / 2), x, ddof=ddof)


@moments.mutant(gradient=True)
def gradient_of_the_mean_not_divided(g, x, /, *, ddof):
    """the gradient of the mean is not divided by n"""
    dmean, dcov = g
    return sample_moments.vjp((dmean * x.shape[-2], dcov), x, ddof=ddof)


@moments.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, x, /, *, ddof):
    """the gradient counts each off-diagonal entry of the covariance twice"""
    dmean, dcov = g
    return sample_moments.vjp((dmean, off_diagonal_doubled(dcov)), x, ddof=ddof)


@moments.mutant(gradient=True)
def gradient_not_centred(g, x, /, *, ddof):
    """the gradient of the covariance multiplies x instead of x - m"""
    dmean, dcov = g
    through_cov = x @ (dcov + dcov.swapaxes(-1, -2)) / (x.shape[-2] - ddof)
    return (dmean[..., None, :] / x.shape[-2] + through_cov,)


@moments.mutant(gradient=True)
def gradient_divided_by_n(g, x, /, *, ddof):
    """the gradient of the covariance is divided by n, whatever ddof says"""
    dmean, dcov = g
    n = x.shape[-2]
    return sample_moments.vjp((dmean, dcov * ((n - ddof) / n)), x, ddof=ddof)
