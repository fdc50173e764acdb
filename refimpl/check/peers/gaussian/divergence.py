"""Adapters of public implementations of Gaussian densities, divergences and distances."""

from __future__ import annotations

from refimpl.check.peers import peer

NO_HALF = ("float64", "float32")


def one_at_a_time(*arrays, cores):
    """Refuse leading axes, which a library does not take."""
    if any(x.ndim > rank for x, rank in zip(arrays, cores, strict=True)):
        raise NotImplementedError("it takes one distribution at a time")


# ------------------------------------------------------------------------ torch.distributions


@peer(
    "gaussian_kl", "torch.distributions.kl_divergence", "torch", dtypes=NO_HALF, gradients=NO_HALF
)
def torch_kl(mean_p, cov_p, mean_q, cov_q):
    from torch.distributions import MultivariateNormal, kl_divergence

    return kl_divergence(MultivariateNormal(mean_p, cov_p), MultivariateNormal(mean_q, cov_q))


@peer(
    "gaussian_log_density",
    "torch MultivariateNormal.log_prob",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_log_density(x, mean, cov):
    from torch.distributions import MultivariateNormal

    return MultivariateNormal(mean, cov).log_prob(x)


@peer(
    "gaussian_entropy",
    "torch MultivariateNormal.entropy",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
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
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def jax_log_density(x, mean, cov):
    from jax.scipy.stats import multivariate_normal

    return multivariate_normal.logpdf(x, mean, cov)


# -------------------------------------------------------------- divergences, other parameters


_EQUAL_FACTORS = "its gradient of equal covariances is a difference that cancels"


@peer(
    "gaussian_kl_cholesky",
    "torch kl_divergence with scale_tril",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
    because={f"{d} gradients": _EQUAL_FACTORS for d in NO_HALF},
)
def torch_kl_cholesky(mean_p, scale_tril_p, mean_q, scale_tril_q):
    from torch.distributions import MultivariateNormal, kl_divergence

    # Its gradient has entries above the diagonal, where the factor has no parameters.
    p, q = (
        MultivariateNormal(mean, scale_tril=factor.tril())
        for mean, factor in ((mean_p, scale_tril_p), (mean_q, scale_tril_q))
    )
    return kl_divergence(p, q)


@peer(
    "gaussian_kl_diagonal",
    "torch kl_divergence of Normal",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_kl_diagonal(mean_p, var_p, mean_q, var_q):
    from torch.distributions import Independent, Normal, kl_divergence

    if not ((var_p > 0).all() and (var_q > 0).all()):
        raise NotImplementedError("it refuses variances of 0")
    p, q = (
        Independent(Normal(mean, var.sqrt()), 1) for mean, var in ((mean_p, var_p), (mean_q, var_q))
    )
    return kl_divergence(p, q)


@peer(
    "gaussian_kl_log_variance",
    "torch kl_divergence of Normal",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_kl_log_variance(mean_p, log_var_p, mean_q, log_var_q):
    return torch_kl_diagonal(mean_p, log_var_p.exp(), mean_q, log_var_q.exp())


_WOODBURY = "its Woodbury form cancels where the factors are far above the diagonal"


@peer(
    "gaussian_kl_low_rank",
    "torch kl_divergence of LowRankMultivariateNormal",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
    because={f"{d} gradients": _WOODBURY for d in NO_HALF},
)
def torch_kl_low_rank(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q):
    from torch.distributions import LowRankMultivariateNormal, kl_divergence

    p = LowRankMultivariateNormal(mean_p, factor_p, diag_p)
    return kl_divergence(p, LowRankMultivariateNormal(mean_q, factor_q, diag_q))


@peer(
    "gaussian_cross_entropy",
    "scikit-learn covariance.log_likelihood",
    "numpy",
    ("sklearn",),
    dtypes=NO_HALF,
)
def sklearn_cross_entropy(mean_p, cov_p, mean_q, cov_q):
    import numpy as np
    from sklearn.covariance import log_likelihood

    one_at_a_time(mean_p, cov_p, mean_q, cov_q, cores=(1, 2, 1, 2))
    gap = mean_p - mean_q
    return -log_likelihood(cov_p + np.outer(gap, gap), np.linalg.inv(cov_q))


# --------------------------------------------------------------------------- parametrisations

_FULL_GRADIENT = "its gradient has entries above the diagonal, where the factor has no parameters"


@peer(
    "covariance_from_cholesky",
    "torch MultivariateNormal(scale_tril)",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
    because={f"{d} gradients": _FULL_GRADIENT for d in NO_HALF},
)
def torch_covariance_from_cholesky(scale_tril):
    return _torch_normal(scale_tril, scale_tril=scale_tril).covariance_matrix


def _torch_normal(like, **parameters):
    """A centred normal of torch; what it checks of its parameters is not what is compared."""
    from torch.distributions import MultivariateNormal

    mean = like.new_zeros(like.shape[:-1])
    return MultivariateNormal(mean, **parameters, validate_args=False)


@peer(
    "covariance_from_precision",
    "torch MultivariateNormal(precision_matrix)",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_covariance_from_precision(precision):
    return _torch_normal(precision, precision_matrix=precision).covariance_matrix


@peer(
    "cholesky_from_precision",
    "torch MultivariateNormal(precision_matrix)",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_cholesky_from_precision(precision):
    return _torch_normal(precision, precision_matrix=precision).scale_tril


@peer(
    "precision_from_covariance",
    "torch MultivariateNormal(covariance_matrix)",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_precision_from_covariance(cov):
    return _torch_normal(cov, covariance_matrix=cov).precision_matrix


@peer(
    "cholesky_from_covariance",
    "torch MultivariateNormal(covariance_matrix)",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_cholesky_from_covariance(cov):
    return _torch_normal(cov, covariance_matrix=cov).scale_tril


@peer(
    "covariance_from_low_rank",
    "torch LowRankMultivariateNormal",
    "torch",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def torch_covariance_from_low_rank(variance, factor):
    from torch.distributions import LowRankMultivariateNormal

    mean = variance.new_zeros(variance.shape)
    return LowRankMultivariateNormal(mean, factor, variance).covariance_matrix


@peer(
    "cholesky_from_covariance",
    "jax.numpy.linalg.cholesky",
    "jax",
    dtypes=NO_HALF,
    gradients=NO_HALF,
)
def jax_cholesky_from_covariance(cov):
    import jax.numpy as jnp

    return jnp.linalg.cholesky(cov)


@peer(
    "covariance_from_cholesky",
    "scipy Covariance.from_cholesky",
    "numpy",
    ("scipy",),
    dtypes=NO_HALF,
)
def scipy_covariance_from_cholesky(scale_tril):
    from scipy.stats import Covariance

    return Covariance.from_cholesky(scale_tril).covariance


@peer(
    "covariance_from_precision",
    "scipy Covariance.from_precision",
    "numpy",
    ("scipy",),
    dtypes=NO_HALF,
)
def scipy_covariance_from_precision(precision):
    from scipy.stats import Covariance

    return Covariance.from_precision(precision).covariance


@peer(
    "covariance_from_variance",
    "scipy Covariance.from_diagonal",
    "numpy",
    ("scipy",),
    dtypes=NO_HALF,
)
def scipy_covariance_from_variance(variance):
    from scipy.stats import Covariance

    return Covariance.from_diagonal(variance).covariance


# ------------------------------------------------------------------------------ sample moments


@peer("sample_moments", "numpy.cov", "numpy", dtypes=NO_HALF)
def numpy_moments(x, *, ddof):
    import numpy as np

    one_at_a_time(x, cores=(2,))
    cov = np.cov(x, rowvar=False, ddof=ddof, dtype=x.dtype)
    return x.mean(axis=0), cov.reshape(x.shape[1], x.shape[1])


@peer("sample_moments", "torch.cov", "torch", dtypes=NO_HALF, gradients=NO_HALF)
def torch_moments(x, *, ddof):
    import torch

    one_at_a_time(x, cores=(2,))
    cov = torch.cov(x.T, correction=ddof)
    return x.mean(dim=0), cov.reshape(x.shape[1], x.shape[1])


@peer("sample_moments", "jax.numpy.cov", "jax", dtypes=NO_HALF, gradients=NO_HALF)
def jax_moments(x, *, ddof):
    import jax.numpy as jnp

    one_at_a_time(x, cores=(2,))
    cov = jnp.cov(x, rowvar=False, ddof=ddof)
    return x.mean(axis=0), cov.reshape(x.shape[1], x.shape[1])


@peer(
    "sample_moments",
    "scikit-learn empirical_covariance",
    "numpy",
    ("sklearn",),
    dtypes=NO_HALF,
    options={"ddof": 0},
)
def sklearn_moments(x):
    from sklearn.covariance import empirical_covariance

    one_at_a_time(x, cores=(2,))
    return x.mean(axis=0), empirical_covariance(x)
