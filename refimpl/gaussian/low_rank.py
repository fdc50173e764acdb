"""Kullback-Leibler divergence of Gaussians with covariances of a diagonal plus a low rank."""

from __future__ import annotations

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve_triangular
from refimpl.core import (
    positive_definite_factor,
    require_finite,
    require_positive,
    symmetric_part,
)
from refimpl.formula import formula
from refimpl.gaussian.divergence import gaussian_kl_textbook, kl_gradients, log_det_divergence
from refimpl.gaussian.parametrised import diagonal_of, mean_gap


@formula(
    "(d),(d),(d,r),(d),(d),(d,s)->()",
    source="Woodbury 1950; torch.distributions.LowRankMultivariateNormal",
)
def gaussian_kl_low_rank(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    r"""KL(p || q) of two Gaussians with covariances of a diagonal plus a low rank, in nats.

    Formula
    -------
    As :func:`gaussian_kl`, with

    .. math:: \Sigma = \operatorname{diag}(D) + W W^T, \qquad \Sigma_p - \Sigma_q
        = \operatorname{diag}(D_p - D_q) + \tfrac12 \left[ (W_p - W_q)(W_p + W_q)^T
        + (W_p + W_q)(W_p - W_q)^T \right]

    where columns of zeros bring both W to one rank. ``form="woodbury"`` has no d x d matrix: with
    the capacitance :math:`C = I + W^T D^{-1} W`, log det S = log det D + log det C and
    :math:`\Sigma^{-1} = D^{-1} - D^{-1} W C^{-1} W^T D^{-1}`.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    diag_p, diag_q : (..., d) positive variances, in that unit squared.
    factor_p, factor_q : (..., d, r) and (..., d, s), in that unit.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a diagonal with an entry that is not positive.

    Conventions
    -----------
    torch's ``cov_diag`` (variances) and ``cov_factor``, in the order diagonal, factor. A rotation
    of the columns of a factor changes nothing.

    Breaks when
    -----------
    ``form="woodbury"``, like torch, needs time for d (r + s)^2 instead of d^3 operations, but loses
    all digits near p = q, where it may be negative. So does ``form="textbook"``.

    References
    ----------
    Woodbury, Inverting modified matrices, 1950; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> p, q = ([0.0], [1.0], [[0.0]]), ([1.0], [3.0], [[1.0]])
    >>> round(float(refimpl.gaussian_kl_low_rank(*p, *q)), 12)
    0.44314718056
    """
    delta, gap, chol_p, chol_q = _dense(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    z = solve_triangular(chol_q, delta[..., None])[..., 0]
    return 0.5 * ((z * z).sum(axis=-1) + log_det_divergence(gap, chol_p, chol_q))


def _dense(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q):
    """delta, S_p - S_q, and both Cholesky factors."""
    delta = mean_gap(mean_p, mean_q)
    identity = namespace(delta).eye(delta.shape[-1], dtype=delta.dtype)
    cholesky_factors = []
    for name, diag, factor in (("p", diag_p, factor_p), ("q", diag_q, factor_q)):
        require_positive(f"diag_{name}", diag)
        require_finite(f"factor_{name}", factor)
        cov = identity * diag[..., None] + symmetric_part(factor @ factor.swapaxes(-1, -2))
        cholesky_factors.append(positive_definite_factor(f"diag_{name}, factor_{name}", cov))
    rank = max(factor_p.shape[-1], factor_q.shape[-1])
    wide_p, wide_q = _padded(factor_p, rank), _padded(factor_q, rank)
    product = (wide_p - wide_q) @ (wide_p + wide_q).swapaxes(-1, -2)
    gap = identity * (diag_p - diag_q)[..., None] + symmetric_part(product)
    return delta, gap, *cholesky_factors


def _padded(factor, rank: int):
    """The factor with columns of zeros up to the rank."""
    xp = namespace(factor)
    missing = (*factor.shape[:-1], rank - factor.shape[-1])
    return xp.concatenate([factor, xp.zeros(missing, dtype=factor.dtype)], axis=-1)


@gaussian_kl_low_rank.form("woodbury", loses="large terms cancel")
def gaussian_kl_low_rank_woodbury(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """By the capacitances, as torch does, without a d x d matrix; it cancels near p = q."""
    xp = namespace(mean_p)
    delta = mean_gap(mean_p, mean_q)
    chol_p, log_det_p = _capacitance("p", diag_p, factor_p)
    chol_q, log_det_q = _capacitance("q", diag_q, factor_q)
    weighted = (factor_q / diag_q[..., None]).swapaxes(-1, -2)

    def inverse_square(x):
        """tr X^T S_q^{-1} X, for an X of few columns."""
        reduced = solve_triangular(chol_q, weighted @ x)
        total = (x * x / diag_q[..., None]).sum(axis=(-2, -1))
        return total - (reduced * reduced).sum(axis=(-2, -1))

    # The same for the diagonal matrix with the roots of D_p.
    reduced = solve_triangular(chol_q, weighted * xp.sqrt(diag_p)[..., None, :])
    of_diagonal = (diag_p / diag_q).sum(axis=-1) - (reduced * reduced).sum(axis=(-2, -1))
    squares = of_diagonal + inverse_square(factor_p) + inverse_square(delta[..., None])
    return 0.5 * (squares - mean_p.shape[-1] - log_det_p + log_det_q)


def _capacitance(name: str, diag, factor):
    """The Cholesky factor of I + W^T D^{-1} W, and log det S."""
    require_positive(f"diag_{name}", diag)
    require_finite(f"factor_{name}", factor)
    xp = namespace(factor)
    scaled = factor / xp.sqrt(diag)[..., None]
    identity = xp.eye(factor.shape[-1], dtype=factor.dtype)
    chol = cholesky(identity + symmetric_part(scaled.swapaxes(-1, -2) @ scaled))
    return chol, xp.log(diag).sum(axis=-1) + logdet_from_cholesky(chol)


@gaussian_kl_low_rank.form("textbook", loses="large terms cancel")
def gaussian_kl_low_rank_textbook(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """The printed divergence of both covariances, written out; cancels near p = q."""
    identity = namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    pair, _ = [], mean_gap(mean_p, mean_q)
    for name, mean, diag, factor in (
        ("p", mean_p, diag_p, factor_p),
        ("q", mean_q, diag_q, factor_q),
    ):
        require_positive(f"diag_{name}", diag)
        require_finite(f"factor_{name}", factor)
        cov = identity * diag[..., None] + factor @ factor.swapaxes(-1, -2)
        pair += [mean, cov]
    return gaussian_kl_textbook(*pair)


@gaussian_kl_low_rank.defvjp
def gaussian_kl_low_rank_vjp(g, mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """With the gradients G of gaussian_kl in the covariances: diag(G) and 2 G W."""
    dense = _dense(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    dmean_p, of_p, dmean_q, of_q = kl_gradients(g, *dense)
    return (
        *(dmean_p, diagonal_of(of_p), 2 * of_p @ factor_p),
        *(dmean_q, diagonal_of(of_q), 2 * of_q @ factor_q),
    )
