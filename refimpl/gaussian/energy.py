"""Energy distances between Gaussians: of numbers, of spheres, and of any two."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from refimpl.backend import eigh, eigvalsh, erf, finfo, namespace
from refimpl.core import (
    matvec,
    positive_definite_factor,
    require_finite,
    require_nonnegative,
    require_positive,
    symmetric,
    symmetric_part,
)
from refimpl.formula import formula
from refimpl.gaussian.kernel import Kernels, differences, discrepancy
from refimpl.gaussian.moments import checked_moments

_SOURCE = "Szekely & Rizzo 2013, Energy statistics: a class of statistics based on distances"
_ROOT_PI = math.sqrt(math.pi)


@formula("(),(),(),()->()", source=_SOURCE + ", with the mean of a folded normal variable")
def energy_distance_univariate(mean_p, variance_p, mean_q, variance_q, /):
    r"""Energy distance of two Gaussian numbers, in closed form.

    Formula
    -------
    .. math:: D = 2 E|X - Y| - E|X - X'| - E|Y - Y'|, \qquad
        E|N(\mu, s^2)| = s \sqrt{2/\pi}\, e^{-\mu^2 / 2 s^2} + \mu \operatorname{erf}(\mu / s\sqrt2)

    It is computed as a sum of two terms, one of the means and one of the deviations, neither of
    which is negative: with s^2 = v_p + v_q and z = (mean_p - mean_q)/s,

    .. math:: D = \sqrt{8/\pi}\; s \left[ e^{-z^2/2} - 1 + z \sqrt{\pi/2} \operatorname{erf}
        (z/\sqrt2) \right] + \frac{2}{\sqrt\pi}
        \frac{(\sigma_p - \sigma_q)^2}{\sqrt2 s + \sigma_p + \sigma_q} .

    Parameters
    ----------
    mean_p, mean_q : (...), in some unit.
    variance_p, variance_q : (...), not negative, in that unit squared.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments, in the unit of x.

    Raises
    ------
    ValueError
        A negative variance, for the gradient also one of 0; NaN or infinity.

    Conventions
    -----------
    Szekely writes D^2 for it: the root is a metric, and what SciPy's ``energy_distance`` returns
    for samples. It is twice the squared L2 distance of the distribution functions (Cramer's).
    Variances, not deviations.

    Breaks when
    -----------
    Never; but at a variance of 0 the gradient in it is infinite, and refused.

    References
    ----------
    Szekely & Rizzo, Journal of Statistical Planning and Inference 143, 2013.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.energy_distance_univariate(0.0, 1.0, 1.0, 4.0)), 12)
    0.534105324107
    """
    xp = namespace(mean_p)
    delta, sigma_p, sigma_q, s, z = _standardised(mean_p, variance_p, mean_q, variance_q)
    # Both terms are of the order of z^2, so that little cancels: z^2 less half of it.
    of_means = math.sqrt(8 / math.pi) * s * xp.expm1(-z * z / 2) + 2 * delta * erf(z / math.sqrt(2))
    sum_of_roots = math.sqrt(2) * s + sigma_p + sigma_q
    gap = (variance_p - variance_q) / xp.where(s > 0, sigma_p + sigma_q, 1)
    of_deviations = 2 / _ROOT_PI * gap * gap / xp.where(s > 0, sum_of_roots, 1)
    return xp.where(s > 0, of_means + of_deviations, 2 * abs(delta)).astype(delta.dtype)[()]


def _standardised(mean_p, variance_p, mean_q, variance_q):
    """delta, both deviations, s and z = delta/s (delta itself where s is 0)."""
    require_finite("mean_p", mean_p)
    require_finite("mean_q", mean_q)
    require_nonnegative("variance_p", variance_p)
    require_nonnegative("variance_q", variance_q)
    xp = namespace(mean_p)
    delta, s = mean_p - mean_q, xp.sqrt(variance_p + variance_q)
    return delta, xp.sqrt(variance_p), xp.sqrt(variance_q), s, delta / xp.where(s > 0, s, 1)


@energy_distance_univariate.defvjp
def energy_distance_univariate_vjp(g, mean_p, variance_p, mean_q, variance_q, /):
    """dmean_p = 2 erf(z/sqrt 2) = -dmean_q, dvariance_p = sqrt(2/pi) exp(-z^2/2)/s
    - 1/sqrt(pi v_p); exactly 0 at p = q."""
    require_positive("variance_p", variance_p)
    require_positive("variance_q", variance_q)
    _, sigma_p, sigma_q, s, z = _standardised(mean_p, variance_p, mean_q, variance_q)
    dmean = 2 * g * erf(z / math.sqrt(2))
    lost = namespace(g).expm1(-z * z / 2) / s

    def dvariance(gap, sigma):
        # 1/s - 1/(sqrt(2) sigma) without a difference of near equals.
        wide = math.sqrt(2) * sigma
        return g * (math.sqrt(2 / math.pi) * (lost + gap / ((wide + s) * s * wide)))

    gap = variance_p - variance_q
    return dmean, dvariance(gap, sigma_p), -dmean, dvariance(-gap, sigma_q)


class _Rule(NamedTuple):
    """Nodes t and weights for the integral of f(t) t^{-3/2}/(2 sqrt(pi)) over t > 0."""

    t: Any
    weight: Any


def _rule(scale):
    """The rule (..., nodes) for functions of t * scale, which may have any scales below that.

    The trapezoidal rule in v = log t converges like exp(-pi^2/step), because Laplace transforms
    are analytic and bounded for Im v < pi/2, whatever their scales. Beyond the scales they decay
    like exp(-|v|/2); there v runs away exponentially, so that few nodes are left.
    """
    xp = namespace(scale)
    digits = -math.log(float(finfo(scale).eps)) + 2
    step = math.floor(32 * math.pi**2 / digits) / 32
    first, last, margin = -5, digits, math.log(2 * digits)
    indices = range(math.floor((first - margin) / step), math.ceil((last + margin) / step) + 1)
    u = step * xp.arange(indices.start, indices.stop).astype(scale.dtype)
    left, right = xp.exp(first - u), xp.exp(u - last)
    v = u + right - left
    unit = xp.where(scale > 0, scale, 1)[..., None]
    weight = step / (2 * _ROOT_PI) * (1 + left + right) * xp.exp(-v / 2) * xp.sqrt(unit)
    return _Rule(xp.exp(v) / unit, weight)


@formula("(d),(),(d),()->()", source=_SOURCE)
def energy_distance_isotropic(mean_p, variance_p, mean_q, variance_q, /):
    r"""Energy distance of two Gaussians whose coordinates have one variance each, uncorrelated.

    Formula
    -------
    .. math:: D = 2 E|X - Y| - E|X - X'| - E|Y - Y'|, \qquad E|N(\mu, s^2 I)| = s \sqrt2\,
        \frac{\Gamma((d+1)/2)}{\Gamma(d/2)}\; {}_1F_1\left( -\tfrac12; \tfrac d2;
        -\frac{|\mu|^2}{2 s^2} \right)

    It is computed as the integral of :func:`energy_distance`, which does not cancel near p = q.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    variance_p, variance_q : (...), of every coordinate, not negative, in that unit squared.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments, in the unit of x.

    Raises
    ------
    ValueError
        d = 0; a negative variance, for the gradient also one of 0; NaN or infinity.

    Conventions
    -----------
    As :func:`energy_distance`.

    Breaks when
    -----------
    At a variance of 0 the gradient in it is infinite, and refused.

    References
    ----------
    Szekely & Rizzo 2013.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.energy_distance_isotropic([0.0], 1.0, [1.0], 4.0)), 12)
    0.534105324107
    """
    kernels, rule, *_ = _spheres(mean_p, variance_p, mean_q, variance_q)
    value = (rule.weight * discrepancy(kernels)).sum(axis=-1)
    return value.astype(mean_p.dtype)


def _wide(*arrays):
    """The nodes span more than the range of float16: it computes in float32, as a factorisation."""
    return tuple(x.astype("float32") if x.dtype == "float16" else x for x in arrays)


def _spheres(mean_p, variance_p, mean_q, variance_q):
    """Kernels at the nodes, the rule, 1 + 2 t s^2 for 2 S_p, 2 S_q and S_p + S_q, and delta."""
    require_finite("mean_p", mean_p)
    require_finite("mean_q", mean_q)
    require_nonnegative("variance_p", variance_p)
    require_nonnegative("variance_q", variance_q)
    if mean_p.shape[-1] == 0:
        raise ValueError(f"mean_p: expected at least one dimension, got shape {mean_p.shape}")
    mean_p, variance_p, mean_q, variance_q = _wide(mean_p, variance_p, mean_q, variance_q)
    xp, d = namespace(mean_p), mean_p.shape[-1]
    delta, total = mean_p - mean_q, variance_p + variance_q
    squares = (delta * delta).sum(axis=-1)
    rule = _rule(squares + d * total)
    growths = [2 * rule.t * v[..., None] for v in (2 * variance_p, 2 * variance_q, total)]
    dampings = tuple(1 + growth for growth in growths)
    logs = (-xp.log1p(growth) * (d / 2) for growth in growths)
    e = 2 * rule.t * (variance_p - variance_q)[..., None] / dampings[-1]
    is_near = d * e * e < 0.25
    each = xp.where(is_near, e, 0.0)[..., None] + xp.zeros(d, dtype=e.dtype)
    gap = -rule.t * squares[..., None] / dampings[-1]
    return Kernels(*logs, gap, is_near, each), rule, dampings, delta


@energy_distance_isotropic.defvjp
def energy_distance_isotropic_vjp(g, mean_p, variance_p, mean_q, variance_q, /):
    """The integral of the gradients of the discrepancies: see :func:`energy_distance`."""
    require_positive("variance_p", variance_p)
    require_positive("variance_q", variance_q)
    xp = namespace(g)
    k, rule, (damping_p, damping_q, damping), delta = _spheres(
        mean_p, variance_p, mean_q, variance_q
    )
    d, gain = delta.shape[-1], 2 * rule.t / damping
    kernel_pq = xp.exp(k.log_scale + k.gap)
    change = (_wide(variance_p)[0] - _wide(variance_q)[0])[..., None]
    through_mean = gain * kernel_pq * (delta * delta).sum(axis=-1)[..., None]

    def dvariance(lack, kernel, own):
        inside = d * lack + d * kernel * change * (2 * rule.t / own) - through_mean
        return (rule.weight * gain * inside).sum(axis=-1)

    lack_p, lack_q = differences(k)
    slope = (rule.weight * 2 * gain * kernel_pq).sum(axis=-1)
    dmean = (g * slope.astype(g.dtype))[..., None] * delta.astype(g.dtype)
    dvariance_p = dvariance(lack_p, xp.exp(k.log_p), damping_p).astype(g.dtype)
    dvariance_q = dvariance(lack_q, -xp.exp(k.log_q), damping_q).astype(g.dtype)
    return dmean, g * dvariance_p, -dmean, g * dvariance_q


@formula("(d),(d,d),(d),(d,d)->()", source=_SOURCE)
def energy_distance(mean_p, cov_p, mean_q, cov_q, /):
    r"""Energy distance of two Gaussians.

    Formula
    -------
    .. math:: D = 2 E|X - Y| - E|X - X'| - E|Y - Y'|
        = \frac{1}{2\sqrt\pi} \int_0^\infty \mathrm{MMD}^2(t)\, t^{-3/2}\, dt

    with the squared discrepancy of :func:`gaussian_mmd_squared` for the kernel exp(-t |x - y|^2),
    because |z| is an integral of 1 - exp(-t |z|^2). The integrand is not negative and does not
    cancel, so neither does the distance. The trapezoidal rule in log t with some 200 fixed nodes
    (in float64) integrates it to the last digit, over sixteen orders of variances.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared; they may be singular.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments, in the unit of x.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue, for the gradient also a singular one; the message
        gives the eigenvalue.

    Conventions
    -----------
    Szekely writes D^2 for it: the root is a metric. Of numbers it is twice the squared L2 distance
    of the distribution functions (Cramer's), and SciPy's one-dimensional ``energy_distance`` is its
    root.

    Breaks when
    -----------
    Directions of a variance below eps of the largest are lost in the eigenvalues. The gradient in a
    covariance of rank 0 or 1 is infinite. For each pair it holds 200 numbers of each coordinate,
    near equality 200 matrices: split large batches. ``form="textbook"``, the three mean norms,
    loses all digits where the relative difference of p and q is below sqrt(eps).

    References
    ----------
    Szekely & Rizzo, Journal of Statistical Planning and Inference 143, 2013; Trefethen & Weideman,
    The exponentially convergent trapezoidal rule, 2014.

    Examples
    --------
    >>> import refimpl
    >>> p, q = ([1.0, 2.0], [[2.0, 1.0], [1.0, 2.0]]), ([0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])
    >>> round(float(refimpl.energy_distance(*p, *q)), 12)
    1.367162261197
    """
    k, rule, *_ = _spectral(mean_p, cov_p, mean_q, cov_q)
    return (rule.weight * discrepancy(k)).sum(axis=-1).astype(mean_p.dtype)


class _Spectrum(NamedTuple):
    """The eigenvectors of a covariance, and 1 + 2 t l (..., nodes, d) for its eigenvalues l."""

    basis: Any
    damping: Any


def _spectral(mean_p, cov_p, mean_q, cov_q):
    """Kernels at the nodes, the rule, the spectra of 2 S_p, 2 S_q and S_p + S_q; delta and
    S_p - S_q in the basis of the last."""
    mean_p, cov_p = checked_moments(mean_p, cov_p, "_p")
    mean_q, cov_q = checked_moments(mean_q, cov_q, "_q")
    mean_p, cov_p, mean_q, cov_q = _wide(mean_p, cov_p, mean_q, cov_q)
    xp = namespace(mean_p)
    values, bases = zip(*map(eigh, (2 * cov_p, 2 * cov_q, cov_p + cov_q)), strict=True)
    values, basis = [xp.maximum(x, 0) for x in values], bases[-1]
    delta = matvec(basis.swapaxes(-1, -2), mean_p - mean_q)
    change = symmetric_part(basis.swapaxes(-1, -2) @ (cov_p - cov_q) @ basis)
    rule = _rule((delta * delta).sum(axis=-1) + values[-1].sum(axis=-1))
    growths = [2 * rule.t[..., None] * x[..., None, :] for x in values]
    spectra = [_Spectrum(v, 1 + growth) for v, growth in zip(bases, growths, strict=True)]
    logs = [-xp.log1p(growth).sum(axis=-1) / 2 for growth in growths]
    gap = -rule.t * (delta[..., None, :] ** 2 / spectra[-1].damping).sum(axis=-1)
    far = xp.zeros(gap.shape, dtype=bool)
    k = Kernels(*logs, gap, far, xp.zeros_like(spectra[-1].damping))
    return _careful(k, rule, spectra[-1].damping, change), rule, spectra, delta, change


def _careful(k, rule, damping, change):
    """The kernels, with the eigenvalues e at the nodes where most of the three terms cancels."""
    xp = namespace(change)
    value = (rule.weight * discrepancy(k)).sum(axis=-1)
    cross = -(rule.weight * xp.expm1(k.log_scale + k.gap)).sum(axis=-1)
    cancels = ~(value > cross / 16)
    if not bool(cancels.any()):
        return k
    root = xp.sqrt(damping)
    excess = 2 * rule.t[..., None, None] * change[..., None, :, :]
    excess = excess / (root[..., :, None] * root[..., None, :])
    is_near = cancels[..., None] & ((excess * excess).sum(axis=(-2, -1)) < 0.25)
    e = eigvalsh(xp.where(is_near[..., None, None], excess, 0.0))
    return k._replace(is_near=is_near, e=e)


@energy_distance.form("textbook", loses="large terms cancel")
def energy_distance_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """Three mean norms, each an integral over all t of 1 - E exp(-t |z|^2); cancels near p = q."""
    mean_p, cov_p = checked_moments(mean_p, cov_p, "_p")
    mean_q, cov_q = checked_moments(mean_q, cov_q, "_q")
    dtype = mean_p.dtype
    mean_p, cov_p, mean_q, cov_q = _wide(mean_p, cov_p, mean_q, cov_q)
    xp, delta = namespace(mean_p), mean_p - mean_q
    size = (delta * delta).sum(axis=-1) + xp.trace(cov_p + cov_q, axis1=-2, axis2=-1)
    reach = -2 * math.log(float(finfo(delta).eps))
    # The trapezoidal rule in log t errs by exp(-pi^2/step), and by exp(-reach/2) for what is left.
    step = math.floor(64 * math.pi**2 / (reach + 8)) / 32
    steps = math.ceil(reach / step)
    log_t = step * xp.arange(-steps, steps + 1).astype(delta.dtype)
    t = xp.exp(log_t) / xp.where(size > 0, size, 1)[..., None]

    def mean_norm(mean, cov):
        """E|z| of z from N(mean, cov), in the eigenvectors of cov."""
        variances, basis = eigh(cov)
        squares = matvec(basis.swapaxes(-1, -2), mean)[..., None, :] ** 2
        growth = 2 * t[..., None] * xp.maximum(variances, 0)[..., None, :]
        log_laplace = t[..., None] * squares / (1 + growth) + xp.log1p(growth) / 2
        integrand = -xp.expm1(-log_laplace.sum(axis=-1)) / xp.sqrt(t)
        return step * integrand.sum(axis=-1) / (2 * _ROOT_PI)

    within = mean_norm(0 * delta, 2 * cov_p) + mean_norm(0 * delta, 2 * cov_q)
    return (2 * mean_norm(delta, cov_p + cov_q) - within).astype(dtype)


@energy_distance.defvjp
def energy_distance_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """The integral of the gradients of :func:`gaussian_mmd_squared`, each in the eigenvectors of
    its matrices: with C = I + 2 t (S_p + S_q), C_p = I + 4 t S_p, w = C^{-1} delta, D = S_p - S_q,
    dmean_p = 4 t K_pq w = -dmean_q, dcov_p = 2 t (K_pq - K_p) C^{-1}
    + 4 t^2 (K_p C^{-1} D C_p^{-1} - K_pq w w^T). All are exactly 0 at p = q."""
    positive_definite_factor("cov_p", symmetric("cov_p", cov_p))
    positive_definite_factor("cov_q", symmetric("cov_q", cov_q))
    xp = namespace(g)
    k, rule, (own_p, own_q, both), delta, change = _spectral(mean_p, cov_p, mean_q, cov_q)
    # 2 t/(1 + 2 t l) stays in range where the square of t does not.
    gain_p, gain_q, gain = (
        2 * rule.t[..., None] / spectrum.damping for spectrum in (own_p, own_q, both)
    )
    kernel_pq = (rule.weight * xp.exp(k.log_scale + k.gap))[..., None]
    w = delta[..., None, :] * gain
    through_mean = _integrated(kernel_pq * w, w)
    dmean = g[..., None] * matvec(both.basis, 2 * (kernel_pq * w).sum(axis=-2)).astype(g.dtype)
    back = both.basis.swapaxes(-1, -2)

    def dcov(lack, kernel, basis, own_gain):
        inner = _diagonal(((rule.weight * lack)[..., None] * gain).sum(axis=-2)) - through_mean
        weights = _integrated((rule.weight * kernel)[..., None] * gain, own_gain)
        mixed = ((change @ back @ basis) * weights) @ basis.swapaxes(-1, -2)
        whole = symmetric_part(both.basis @ (inner @ back + mixed))
        return g[..., None, None] * whole.astype(g.dtype)

    lack_p, lack_q = differences(k)
    dcov_p = dcov(lack_p, xp.exp(k.log_p), own_p.basis, gain_p)
    dcov_q = dcov(lack_q, -xp.exp(k.log_q), own_q.basis, gain_q)
    return dmean, dcov_p, -dmean, dcov_q


def _integrated(left, right):
    """Sums over the nodes of products of (..., nodes, d) with (..., nodes, d): (..., d, d)."""
    return left.swapaxes(-1, -2) @ right


def _diagonal(entries):
    return entries[..., None] * namespace(entries).eye(entries.shape[-1], dtype=entries.dtype)
