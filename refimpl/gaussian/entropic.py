"""Entropic optimal transport between Gaussians: its cost, its divergence, and unbalanced masses."""

from __future__ import annotations

from refimpl.backend import eigvalsh, namespace, svd
from refimpl.core import (
    outer,
    require_positive,
    symmetric_part,
    x_minus_log1p,
)
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair
from refimpl.gaussian.transport import aligned_gap, covariance_factor

_SOURCE = (
    "Janati, Muzellec, Peyre & Cuturi 2020; Mallasto, Gerolin & Minh 2022; del Barrio & Loubes"
)


@formula("(d),(d,d),(d),(d,d)->()", source=_SOURCE, keywords={"regularisation": "()"})
def entropic_wasserstein_squared(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    r"""Entropic transport cost of two Gaussians: least mean of |x - y|^2 plus mutual information.

    Formula
    -------
    .. math:: \mathrm{OT}_\varepsilon = \min_\pi \mathbb{E}_\pi |x - y|^2
        + \varepsilon\,\mathrm{KL}(\pi \,\|\, p \otimes q)

    over couplings of p and q. With :math:`\sigma^2 = \varepsilon/2`, the singular values s_i of
    :math:`S_p^T S_q` for factors :math:`\Sigma = S S^T`, and
    :math:`d_i = (4 s_i^2 + \sigma^4)^{1/2}`,

    .. math:: \mathrm{OT}_\varepsilon = |\mu_p-\mu_q|^2 + \operatorname{tr}(\Sigma_p + \Sigma_q)
        - \sum_i \Big[ d_i - \sigma^2 - \sigma^2\log\frac{d_i+\sigma^2}{2\sigma^2} \Big].

    It is computed as :math:`|\mu_p-\mu_q|^2 + B^2 + \sigma^2\sum_i [(2 s_i + d_i - \sigma^2)/(2 s_i
    + d_i) + \log(1 + (d_i-\sigma^2)/2\sigma^2)]`, where no term is negative.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations. They may be singular.
    regularisation : (...) epsilon > 0, in the unit squared.

    Returns
    -------
    (...), in the unit squared. Never negative, but positive for equal arguments too: subtract the
    costs of p and q to themselves for :func:`sinkhorn_divergence`.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry); a regularisation that is not positive.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; the message gives the smallest.

    Conventions
    -----------
    The regularisation multiplies the Kullback-Leibler divergence from the product of the marginals.
    Janati et al. call it 2 sigma^2; libraries that regularise by the entropy of the plan minimise
    at the same plan but report another value. The cost is |x - y|^2, without 1/2. Gradients in a
    covariance are the symmetric G with df = tr(G dS), and exist for singular covariances.

    Breaks when
    -----------
    Errors are those of :func:`bures_squared`. A regularisation far below eps times the trace gives
    W_2^2. ``form="textbook"`` cancels where covariances are large against the result.

    References
    ----------
    Janati, Muzellec, Peyre & Cuturi, Entropic optimal transport between unbalanced Gaussian
    measures has a closed form, 2020; Mallasto, Gerolin & Minh, Entropy-regularized 2-Wasserstein
    distance between Gaussian measures, 2022.

    Examples
    --------
    >>> import refimpl
    >>> p, q = ([0.0], [[1.0]]), ([1.0], [[4.0]])
    >>> round(float(refimpl.entropic_wasserstein_squared(*p, *q, regularisation=2.0)), 12)
    3.81750801649
    """
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, regularisation)
    factor_p, factor_q = covariance_factor("cov_p", cov_p), covariance_factor("cov_q", cov_q)
    gap, _, _ = aligned_gap(factor_p, factor_q, cov_p - cov_q)
    _, s, _ = svd(factor_p.swapaxes(-1, -2) @ factor_q)
    variance = regularisation[..., None] / 2
    d, excess = _widths(s, variance)
    shares = (2 * s + excess) / (2 * s + d) + namespace(s).log1p(excess / (2 * variance))
    entropic = (variance * shares).sum(axis=-1)
    return (delta * delta).sum(axis=-1) + (gap * gap).sum(axis=(-2, -1)) + entropic


def _checked(mean_p, cov_p, mean_q, cov_q, regularisation):
    require_positive("regularisation", regularisation)
    return checked_pair(mean_p, cov_p, mean_q, cov_q)


def _widths(s, variance):
    """d = (4 s^2 + sigma^4)^{1/2} and d - sigma^2, from sigma^2."""
    xp = namespace(s)
    d = xp.hypot(2 * s, variance)
    return d, 2 * s * (2 * s / (d + variance))


@entropic_wasserstein_squared.form("textbook", loses="large terms cancel")
def entropic_wasserstein_squared_textbook(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """By the eigenvalues of S_q^T Sigma_p S_q as it is printed; cancels where they are large."""
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, regularisation)
    xp = namespace(cov_p)
    covariance_factor("cov_p", cov_p)
    factor = covariance_factor("cov_q", cov_q)
    squares = eigvalsh(symmetric_part(factor.swapaxes(-1, -2) @ cov_p @ factor))
    variance = regularisation[..., None] / 2
    d = xp.sqrt(4 * xp.maximum(squares, 0) + variance * variance)
    terms = d - variance - variance * xp.log((d + variance) / (2 * variance))
    traces = xp.trace(cov_p, axis1=-2, axis2=-1) + xp.trace(cov_q, axis1=-2, axis2=-1)
    return (delta * delta).sum(axis=-1) + traces - terms.sum(axis=-1)


@entropic_wasserstein_squared.defvjp
def entropic_wasserstein_squared_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """dmean_p = 2 delta = -dmean_q; with a = S_p W and b = S_q V aligned (a^T b = s), dcov_p =
    I - b 2/(d + sigma^2) b^T and dcov_q = I - a 2/(d + sigma^2) a^T; and the regularisation gets
    the mutual information sum log(1 + (d - sigma^2)/2 sigma^2)/2, as the plan is optimal."""
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, regularisation)
    xp = namespace(cov_p)
    factor_p, factor_q = covariance_factor("cov_p", cov_p), covariance_factor("cov_q", cov_q)
    variance = regularisation[..., None] / 2
    potential_p, potential_q, excess = _potentials(factor_p, factor_q, variance)
    identity = xp.eye(cov_p.shape[-1], dtype=cov_p.dtype)
    dmean, weight = 2 * g[..., None] * delta, g[..., None, None]
    information = xp.log1p(excess / (2 * variance)).sum(axis=-1) / 2
    dcov_p, dcov_q = weight * (identity - potential_p), weight * (identity - potential_q)
    return dmean, dcov_p, -dmean, dcov_q, g * information


def _potentials(factor_p, factor_q, variance):
    """U and V with f(x) = x^T (I - U) x and g(y) = y^T (I - V) y, and d - sigma^2.

    They solve U S_p U + sigma^2 U = S_q and V S_q V + sigma^2 V = S_p.
    """
    w, s, vt = svd(factor_p.swapaxes(-1, -2) @ factor_q)
    d, excess = _widths(s, variance)
    weight = (2 / (d + variance))[..., None, :]
    a, b = factor_p @ w, factor_q @ vt.swapaxes(-1, -2)
    return (
        symmetric_part((b * weight) @ b.swapaxes(-1, -2)),
        symmetric_part((a * weight) @ a.swapaxes(-1, -2)),
        excess,
    )


@formula(
    "(d),(d,d),(d),(d,d)->()",
    source="Genevay, Peyre & Cuturi 2018; Feydy et al. 2019; Janati et al. 2020",
    keywords={"regularisation": "()"},
)
def sinkhorn_divergence(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    r"""Sinkhorn divergence of two Gaussians: the entropic transport cost without its bias.

    Formula
    -------
    .. math:: S_\varepsilon = \mathrm{OT}_\varepsilon(p, q)
        - \tfrac12\mathrm{OT}_\varepsilon(p, p) - \tfrac12\mathrm{OT}_\varepsilon(q, q)

    It is computed without this difference. With :math:`\sigma^2 = \varepsilon/2`, let U solve
    :math:`U\Sigma_p U + \sigma^2 U = \Sigma_q`, :math:`U_p` the same from p to p, and
    :math:`X = U - U_p`; V, :math:`U_q` and :math:`Y = V - U_q` from q. Then

    .. math:: S_\varepsilon = |\mu_p-\mu_q|^2
        + \tfrac12 \operatorname{tr}(U_p-U_q)(\Sigma_p-\Sigma_q) + \tfrac12 (R_p + R_q), \quad
        R_p = \operatorname{tr} U_p X \Sigma_p X - \sigma^2 \sum_k r(\xi_k)

    where r(x) = x - log(1 + x) and the :math:`\xi_k` are the eigenvalues of
    :math:`(\sigma^2 + U_p\Sigma_p)^{-1} X \Sigma_p`: every term is of second order in the
    difference of the covariances.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations. They may be singular.
    regularisation : (...) epsilon > 0, in the unit squared.

    Returns
    -------
    (...), in the unit squared; never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`entropic_wasserstein_squared`.

    Conventions
    -----------
    The regularisation is that of :func:`entropic_wasserstein_squared`, for all three costs. It
    tends to W_2^2 for small and to |mean_p - mean_q|^2 for large regularisation. Some libraries
    return half of it, for the cost |x - y|^2/2.

    Breaks when
    -----------
    The difference of three costs (``form="textbook"``) loses all digits where the relative
    difference of p and q is below sqrt(eps).

    References
    ----------
    Genevay, Peyre & Cuturi, Learning generative models with Sinkhorn divergences, 2018; Feydy et
    al., Interpolating between optimal transport and MMD, 2019; Janati et al. 2020.

    Examples
    --------
    >>> import refimpl
    >>> value = refimpl.sinkhorn_divergence([0.0], [[1.0]], [1.0], [[4.0]], regularisation=2.0)
    >>> round(float(value), 12)
    1.970579412838
    """
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, regularisation)
    variance = regularisation[..., None] / 2
    p, q = _spectral("cov_p", cov_p), _spectral("cov_q", cov_q)
    y_p, y_q = _shift(p, q, cov_p - cov_q, variance), _shift(q, p, cov_q - cov_p, variance)
    rest = _second_order(y_p, p, variance) + _second_order(y_q, q, variance)
    monotone = _monotone(p, q, cov_p - cov_q, variance)
    return (delta * delta).sum(axis=-1) + 0.5 * (monotone + rest)


def _spectral(name, cov):
    """Eigenvectors, and roots of the eigenvalues, of a covariance."""
    basis, root, _ = svd(covariance_factor(name, cov))
    return basis, root


def _reach(root, variance):
    """(d + sigma^2)/2 for a cost from a covariance to itself, where d = (4 l^2 + sigma^4)^{1/2}."""
    return (namespace(root).hypot(2 * root * root, variance) + variance) / 2


def _shift(own, other, difference, variance):
    """S^T X S for S = V l^{1/2}, by (Z_own + z_j) S^T X S q_j = -S^T (Sigma - Sigma') S q_j, where
    Z = S^T U S + sigma^2/2 has the eigenvectors q_j: no difference of near equals is left."""
    (basis, root), (other_basis, other_root) = own, other
    factor = basis * root[..., None, :]
    turned, s, _ = svd(factor.swapaxes(-1, -2) @ (other_basis * other_root[..., None, :]))
    widths = namespace(s).hypot(s, variance / 2)
    weight = (_reach(root, variance) - variance / 2)[..., :, None] + widths[..., None, :]
    # Divided first, so that products of three covariances do not overflow short formats.
    unit = weight.max(axis=(-2, -1), keepdims=True)
    right = factor.swapaxes(-1, -2) @ (difference / unit) @ factor @ turned
    return -symmetric_part((right / (weight / unit)) @ turned.swapaxes(-1, -2))


def _ratios(y, own, variance):
    """The eigenvalues xi."""
    scale = namespace(y).sqrt(_reach(own[1], variance))
    return eigvalsh(symmetric_part(y / (scale[..., :, None] * scale[..., None, :])))


def _second_order(y, own, variance):
    """R: tr U_p X S_p X - sigma^2 sum of r(xi)."""
    scaled = y / namespace(y).sqrt(_reach(own[1], variance))[..., None, :]
    return (scaled * scaled).sum(axis=(-2, -1)) - (
        variance * x_minus_log1p(_ratios(y, own, variance))
    ).sum(axis=-1)


def _monotone(p, q, difference, variance):
    """tr (u(S_p) - u(S_q))(S_p - S_q), by divided differences of u(l) = 2 l/(d + sigma^2)."""
    (basis_p, root_p), (basis_q, root_q) = p, q
    reach_p, reach_q = _reach(root_p, variance), _reach(root_q, variance)
    u, v = root_p * root_p / reach_p, root_q * root_q / reach_q
    slope = outer(1 / reach_p, variance / reach_q) / (1 + outer(u, v))
    turned = basis_p.swapaxes(-1, -2) @ difference @ basis_q
    return (slope * turned * turned).sum(axis=(-2, -1))


@sinkhorn_divergence.form("textbook", loses="large terms cancel")
def sinkhorn_divergence_textbook(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """The three costs, as the definition has them; cancels near equality."""
    between, own_p, own_q = (
        entropic_wasserstein_squared_textbook(*pair, regularisation=regularisation)
        for pair in (
            (mean_p, cov_p, mean_q, cov_q),
            (mean_p, cov_p, mean_p, cov_p),
            (mean_q, cov_q, mean_q, cov_q),
        )
    )
    return between - own_p / 2 - own_q / 2


@sinkhorn_divergence.defvjp
def sinkhorn_divergence_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """dmean_p = 2 delta = -dmean_q, dcov_p = U_p - U = -X, dcov_q = U_q - V = -Y; and the
    regularisation gets the sum of log(1 + xi)/4 from p and from q."""
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, regularisation)
    xp = namespace(cov_p)
    variance = regularisation[..., None] / 2
    p, q = _spectral("cov_p", cov_p), _spectral("cov_q", cov_q)
    y_p, y_q = _shift(p, q, cov_p - cov_q, variance), _shift(q, p, cov_q - cov_p, variance)
    logs = (xp.log1p(_ratios(*of, variance)).sum(axis=-1) for of in ((y_p, p), (y_q, q)))
    factors = (basis * root[..., None, :] for basis, root in (p, q))
    potential_p, potential_q, _ = _potentials(*factors, variance)
    size = ((cov_p - cov_q) ** 2).sum(axis=(-2, -1))
    dmean, weight = 2 * g[..., None] * delta, -g[..., None, None]
    dcov_p = weight * _unwrapped(y_p, p, potential_p, size, variance)
    dcov_q = weight * _unwrapped(y_q, q, potential_q, size, variance)
    return dmean, dcov_p, -dmean, dcov_q, g * (next(logs) + next(logs)) / 4


def _unwrapped(y, own, potential, size, variance):
    """X = U - U_p: from S^T X S where p and q differ by less than the smallest eigenvalue."""
    xp = namespace(y)
    basis, root = own
    eigenvalues = root * root
    own_potential = (basis * (eigenvalues / _reach(root, variance))[..., None, :]) @ (
        basis.swapaxes(-1, -2)
    )
    safe = xp.where(root > 0, root, 1.0).astype(root.dtype)
    near = basis @ (y / outer(safe, safe)) @ basis.swapaxes(-1, -2)
    is_near = size <= eigenvalues[..., -1] ** 2
    return symmetric_part(xp.where(is_near[..., None, None], near, potential - own_potential))
