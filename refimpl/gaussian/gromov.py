"""Gromov-Wasserstein distances of Gaussians, of spaces of different dimensions."""

from __future__ import annotations

from refimpl.backend import eigh, namespace
from refimpl.core import symmetric, symmetric_part
from refimpl.formula import formula
from refimpl.gaussian.transport import covariance_factor

_SOURCE = "Salmona, Delon & Desolneux 2022; Vayer 2020"


@formula("(m,m),(n,n)->()", source="Salmona, Delon & Desolneux 2022, theorem 4.1")
def gaussian_gromov_wasserstein_squared(cov_p, cov_q, /):
    r"""Squared Gromov-Wasserstein cost of two Gaussians, restricted to Gaussian couplings.

    Formula
    -------
    .. math:: \mathrm{GGW}^2 = 4(\operatorname{tr}\Sigma_p - \operatorname{tr}\Sigma_q)^2
        + 8 \sum_i (a_i - b_i)^2

    with the eigenvalues :math:`a_i` and :math:`b_i` of the covariances in descending order, the
    shorter list continued by zeros. It is the least
    :math:`\mathbb{E}(|x-x'|^2 - |y-y'|^2)^2` over independent copies (x, y) and (x', y') of a
    jointly Gaussian coupling.

    Parameters
    ----------
    cov_p : (..., m, m) covariance, in some unit squared. It may be singular.
    cov_q : (..., n, n) covariance of another space, in the same unit squared. It may be singular.

    Returns
    -------
    (...), in the unit to the fourth power; never negative, 0 where the spectra agree.

    Raises
    ------
    ValueError
        m = 0 or n = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps
        where that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; the message gives the smallest.

    Conventions
    -----------
    The square, of squared distances compared by their squared difference; POT's
    ``gaussian_gromov_wasserstein_distance`` is its root. It is an upper bound of the
    Gromov-Wasserstein cost over all couplings, which need not be Gaussian. Means do not matter.
    Gradients are the symmetric G with df = tr(G dS), one of several where eigenvalues meet.

    Breaks when
    -----------
    Eigenvalues err by eps times the largest. Where those of both covariances are close, and their
    eigenvectors are too, differences of eigenvalues come from the difference of the covariances and
    keep their digits; where an eigenvalue is multiple they do not.

    References
    ----------
    Salmona, Delon & Desolneux, Gromov-Wasserstein distances between Gaussian distributions, 2022.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.gaussian_gromov_wasserstein_squared([[2.0, 1.0], [1.0, 2.0]], [[3.0]]))
    12.0
    """
    gaps, trace_gap, _, _ = _compared(cov_p, cov_q)
    return 4 * trace_gap * trace_gap + 8 * (gaps * gaps).sum(axis=-1)


def _compared(cov_p, cov_q):
    """a - b, its sum, and the eigenvectors of both, all in descending order of eigenvalues."""
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    covariance_factor("cov_p", cov_p)
    covariance_factor("cov_q", cov_q)
    xp = namespace(cov_p)
    (a, v), (b, w) = (_descending(*eigh(cov)) for cov in (cov_p, cov_q))
    width = max(a.shape[-1], b.shape[-1])
    gaps = _continued(a, width) - _continued(b, width)
    if a.shape[-1] == b.shape[-1]:
        # v^T (S_p - S_q) w = (a - b) v^T w.
        overlap = (v * w).sum(axis=-2)
        exact = (v * ((cov_p - cov_q) @ w)).sum(axis=-2)
        is_near = abs(overlap) > 0.75
        gaps = xp.where(is_near, exact / xp.where(is_near, overlap, 1.0), gaps)
    return gaps.astype(cov_p.dtype), gaps.sum(axis=-1), v, w


def _descending(eigenvalues, basis):
    xp = namespace(basis)
    return xp.maximum(xp.flip(eigenvalues, -1), 0), xp.flip(basis, -1)


def _continued(eigenvalues, width):
    """The eigenvalues (..., width), with zeros after the last."""
    xp = namespace(eigenvalues)
    missing = (*eigenvalues.shape[:-1], width - eigenvalues.shape[-1])
    return xp.concatenate([eigenvalues, xp.zeros(missing, dtype=eigenvalues.dtype)], axis=-1)


@gaussian_gromov_wasserstein_squared.defvjp
def gaussian_gromov_wasserstein_squared_vjp(g, cov_p, cov_q, /):
    """With eigenvectors V: dcov_p = V (16 (a - b) + 8 (tr S_p - tr S_q)) V^T, and dcov_q the
    opposite with its own. No eigenvector is differentiated: eigenvalues move by V^T dS V."""
    gaps, trace_gap, v, w = _compared(cov_p, cov_q)
    slopes = g[..., None] * (16 * gaps + 8 * trace_gap[..., None])
    return _turned(v, slopes), -_turned(w, slopes)


def _turned(basis, slopes):
    """V slopes V^T, of as many slopes as there are eigenvectors."""
    weighted = basis * slopes[..., None, : basis.shape[-1]]
    return symmetric_part(weighted @ basis.swapaxes(-1, -2))


@formula("(m,m),(n,n)->()", source=_SOURCE)
def inner_product_gromov_wasserstein_squared(cov_p, cov_q, /):
    r"""Squared Gromov-Wasserstein cost of centred Gaussians for inner products: exact.

    Formula
    -------
    .. math:: \min_\pi \mathbb{E}(\langle x, x'\rangle - \langle y, y'\rangle)^2
        = \operatorname{tr}\Sigma_p^2 + \operatorname{tr}\Sigma_q^2
        - 2\max_\pi |\operatorname{Cov}(x, y)|_F^2 = \sum_i (a_i - b_i)^2

    over all couplings, with the eigenvalues :math:`a_i` and :math:`b_i` of the covariances in
    descending order, the shorter list continued by zeros. The best plan is Gaussian: it maps the
    axes of p to those of q.

    Parameters
    ----------
    cov_p : (..., m, m) covariance, in some unit squared. It may be singular.
    cov_q : (..., n, n) covariance of another space, in the same unit squared. It may be singular.

    Returns
    -------
    (...), in the unit to the fourth power; never negative, 0 where the spectra agree.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_gromov_wasserstein_squared`.

    Conventions
    -----------
    The square, for centred Gaussians: inner products see the means. Gradients are the symmetric G
    with df = tr(G dS), one of several where eigenvalues meet.

    Breaks when
    -----------
    As :func:`gaussian_gromov_wasserstein_squared`.

    References
    ----------
    Salmona, Delon & Desolneux 2022, section 3; Vayer, A contribution to optimal transport on
    incomparable spaces, 2020.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.inner_product_gromov_wasserstein_squared([[2.0, 1.0], [1.0, 2.0]], [[3.0]]))
    1.0
    """
    gaps, _, _, _ = _compared(cov_p, cov_q)
    return (gaps * gaps).sum(axis=-1)


@inner_product_gromov_wasserstein_squared.defvjp
def inner_product_gromov_wasserstein_squared_vjp(g, cov_p, cov_q, /):
    """With eigenvectors V: dcov_p = V 2 (a - b) V^T, and dcov_q the opposite with its own."""
    gaps, _, v, w = _compared(cov_p, cov_q)
    slopes = 2 * g[..., None] * gaps
    return _turned(v, slopes), -_turned(w, slopes)
