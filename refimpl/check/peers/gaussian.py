"""Adapters of public implementations of Gaussian densities, divergences and distances."""

from __future__ import annotations

from refimpl.check.peers import peer

_NO_HALF = ("float64", "float32")


@peer(
    "gaussian_kl", "torch.distributions.kl_divergence", "torch", dtypes=_NO_HALF, gradients=_NO_HALF
)
def torch_kl(mean_p, cov_p, mean_q, cov_q):
    from torch.distributions import MultivariateNormal, kl_divergence

    return kl_divergence(MultivariateNormal(mean_p, cov_p), MultivariateNormal(mean_q, cov_q))


@peer(
    "gaussian_log_density",
    "torch MultivariateNormal.log_prob",
    "torch",
    dtypes=_NO_HALF,
    gradients=_NO_HALF,
)
def torch_log_density(x, mean, cov):
    from torch.distributions import MultivariateNormal

    return MultivariateNormal(mean, cov).log_prob(x)


@peer(
    "gaussian_entropy",
    "torch MultivariateNormal.entropy",
    "torch",
    dtypes=_NO_HALF,
    gradients=_NO_HALF,
)
def torch_entropy(cov):
    from torch.distributions import MultivariateNormal

    return MultivariateNormal(cov.new_zeros(cov.shape[:-1]), cov).entropy()


@peer(
    "gaussian_log_density",
    "scipy multivariate_normal.logpdf",
    "numpy",
    ("scipy",),
    dtypes=("float64",),
)
def scipy_log_density(x, mean, cov):
    from scipy.stats import multivariate_normal

    if cov.ndim > 2 or mean.ndim > 1 or x.ndim > 1:
        raise NotImplementedError("SciPy takes one distribution at a time")
    return multivariate_normal(mean, cov).logpdf(x)


@peer(
    "gaussian_entropy",
    "scipy multivariate_normal.entropy",
    "numpy",
    ("scipy",),
    dtypes=("float64",),
)
def scipy_entropy(cov):
    from scipy.stats import multivariate_normal

    if cov.ndim > 2:
        raise NotImplementedError("SciPy takes one distribution at a time")
    return multivariate_normal(cov=cov).entropy()


@peer(
    "gaussian_log_density",
    "jax multivariate_normal.logpdf",
    "jax",
    dtypes=_NO_HALF,
    gradients=_NO_HALF,
)
def jax_log_density(x, mean, cov):
    from jax.scipy.stats import multivariate_normal

    return multivariate_normal.logpdf(x, mean, cov)
