"""Wrong variants of entropic transport costs and divergences."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, svdvals
from refimpl.evidence.gaussian.entropic import cost, sinkhorn
from refimpl.evidence.gaussian.shared import off_diagonal_doubled, trace
from refimpl.evidence.mistakes import wrong
from refimpl.gaussian.entropic import entropic_wasserstein_squared, sinkhorn_divergence


def _fidelities(cov_p, cov_q):
    return svdvals(cholesky(cov_p).swapaxes(-1, -2) @ cholesky(cov_q))


def _parts(s, variance):
    """d - sigma^2, and log((d + sigma^2)/(2 sigma^2)), from sigma^2."""
    xp = namespace(s)
    excess = xp.hypot(2 * s, variance) - variance
    return excess, xp.log1p(excess / (2 * variance))


def _cost(mean_p, cov_p, mean_q, cov_q, variance, *, linear=1.0, logarithm=1.0):
    """The cost with sigma^2 = variance, and weights of the two terms of each coordinate."""
    gap = mean_p - mean_q
    excess, logs = _parts(_fidelities(cov_p, cov_q), variance[..., None])
    shares = linear * excess - logarithm * variance[..., None] * logs
    return (gap * gap).sum(axis=-1) + trace(cov_p) + trace(cov_q) - shares.sum(axis=-1)


# ------------------------------------------------------------------------------ mutants of the cost


@cost.mutant
def regularisation_of_half_the_cost(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """sigma^2 is epsilon/4: the regularisation is that of the cost |x - y|^2/2"""
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 4)


@cost.mutant
def regularisation_squared(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """epsilon is taken for sigma: sigma^2 is its square"""
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation * regularisation)


@cost.mutant
def transport_part_only(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the result is the transport cost of the entropic plan, without the information"""
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2, logarithm=0.0)


@cost.mutant
def information_sign(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the information has the wrong sign"""
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2, logarithm=-1.0)


@cost.mutant
def information_doubled(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the information is counted twice: the Gaussian 1/2 is missing"""
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2, logarithm=2.0)


@cost.mutant
def cross_term_halved(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the cross-covariance is counted once, not twice"""
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2, linear=0.5)


@cost.mutant
def unregularised(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the regularisation is ignored: W_2^2"""
    gap = mean_p - mean_q
    twice = 2 * _fidelities(cov_p, cov_q).sum(axis=-1)
    plain = (gap * gap).sum(axis=-1) + trace(cov_p) + trace(cov_q) - twice
    return plain + 0 * regularisation


@cost.mutant
def entropy_of_the_plan(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the reference is Lebesgue measure: the entropies of p and q are subtracted, times epsilon"""
    d = mean_p.shape[-1]
    logdets = logdet_from_cholesky(cholesky(cov_p)) + logdet_from_cholesky(cholesky(cov_q))
    entropies = d * (1 + math.log(2 * math.pi)) + logdets / 2
    value = _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2)
    return value - regularisation * entropies


@cost.mutant
def debiased(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the costs of p and q to themselves are subtracted: the Sinkhorn divergence"""
    return _debiased(mean_p, cov_p, mean_q, cov_q, regularisation / 2)


# ------------------------------------------------------------------------ mutants of the divergence


def _debiased(mean_p, cov_p, mean_q, cov_q, variance, share=0.5, **weights):
    own_p = _cost(mean_p, cov_p, mean_p, cov_p, variance, **weights)
    own_q = _cost(mean_q, cov_q, mean_q, cov_q, variance, **weights)
    return _cost(mean_p, cov_p, mean_q, cov_q, variance, **weights) - share * (own_p + own_q)


@sinkhorn.mutant
def bias_kept(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the costs of p and q to themselves are not subtracted"""
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2)


@sinkhorn.mutant
def bias_not_halved(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the costs of p and q to themselves are subtracted without the factor 1/2"""
    return _debiased(mean_p, cov_p, mean_q, cov_q, regularisation / 2, share=1.0)


@sinkhorn.mutant
def bias_of_p_only(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """only half of the cost of p to itself is subtracted"""
    own = _cost(mean_p, cov_p, mean_p, cov_p, regularisation / 2)
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2) - own / 2


@sinkhorn.mutant
def bias_of_p_twice(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the cost of p to itself is subtracted, and that of q is not"""
    own = _cost(mean_p, cov_p, mean_p, cov_p, regularisation / 2)
    return _cost(mean_p, cov_p, mean_q, cov_q, regularisation / 2) - own


@sinkhorn.mutant
def divergence_of_the_transport_parts(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the three costs lack their information: sharp Sinkhorn costs, whose difference may be < 0"""
    return _debiased(mean_p, cov_p, mean_q, cov_q, regularisation / 2, logarithm=0.0)


@sinkhorn.mutant
def divergence_information_sign(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the information has the wrong sign"""
    return _debiased(mean_p, cov_p, mean_q, cov_q, regularisation / 2, logarithm=-1.0)


@sinkhorn.mutant
def divergence_unregularised(mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the regularisation is ignored: W_2^2"""
    return unregularised(mean_p, cov_p, mean_q, cov_q, regularisation=regularisation)


# --------------------------------------------------------------------------------- gradient mutants


wrong(
    (cost, sinkhorn),
    "the gradients in the covariances count each off-diagonal entry twice",
    name="gradient_off_diagonal_doubled",
    gradient={"cov_p": off_diagonal_doubled, "cov_q": off_diagonal_doubled},
)


@cost.mutant(gradient=True)
def gradient_of_the_divergence(g, mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the gradients are those of the Sinkhorn divergence"""
    return sinkhorn_divergence.vjp(g, mean_p, cov_p, mean_q, cov_q, regularisation=regularisation)


@sinkhorn.mutant(gradient=True)
def gradient_of_the_cost(g, mean_p, cov_p, mean_q, cov_q, /, *, regularisation):
    """the gradients are those of the biased cost"""
    return entropic_wasserstein_squared.vjp(
        g, mean_p, cov_p, mean_q, cov_q, regularisation=regularisation
    )
