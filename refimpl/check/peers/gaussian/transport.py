"""Adapters of public implementations of transport between Gaussians, and of Frechet distances."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from types import ModuleType

from refimpl.check.peers import peer
from refimpl.check.peers.gaussian.divergence import NO_HALF, one_at_a_time

_ROOT_OF_PRODUCT = (
    "it takes roots of the eigenvalues of a product of covariances, which are accurate relative to "
    "the largest alone"
)
_ROOTS = "its square roots come from eigenvalues, which are accurate relative to the largest alone"
_NEWTON_SCHULZ = "its square roots are iterated to a tolerance of 1e-6"

# ------------------------------------------------------------------------------------------ POT


@peer("wasserstein_distance", "POT bures_wasserstein_distance", "numpy", ("ot",), dtypes=NO_HALF)
def pot_wasserstein(mean_p, cov_p, mean_q, cov_q):
    from ot.gaussian import bures_wasserstein_distance

    one_at_a_time(mean_p, cov_p, mean_q, cov_q, cores=(1, 2, 1, 2))
    # On torch it keeps an axis of length 1.
    return bures_wasserstein_distance(mean_p, mean_q, cov_p, cov_q).reshape(())


@peer(
    "wasserstein_distance",
    "POT bures_wasserstein_distance (torch)",
    "torch",
    ("ot", "torch"),
    dtypes=NO_HALF,
    gradients=NO_HALF,
    because=dict.fromkeys((*NO_HALF, "float64 gradients", "float32 gradients"), _ROOTS),
)
def pot_wasserstein_torch(mean_p, cov_p, mean_q, cov_q):
    return pot_wasserstein(mean_p, cov_p, mean_q, cov_q)


@peer("bures_squared", "POT bures_distance, squared", "numpy", ("ot",), dtypes=NO_HALF)
def pot_bures(cov_p, cov_q):
    from ot.gaussian import bures_distance

    one_at_a_time(cov_p, cov_q, cores=(2, 2))
    return bures_distance(cov_p, cov_q) ** 2


@peer("transport_map", "POT bures_wasserstein_mapping", "numpy", ("ot",), dtypes=NO_HALF)
def pot_map(mean_p, cov_p, mean_q, cov_q):
    from ot.gaussian import bures_wasserstein_mapping

    one_at_a_time(mean_p, cov_p, mean_q, cov_q, cores=(1, 2, 1, 2))
    matrix, shift = bures_wasserstein_mapping(mean_p, mean_q, cov_p, cov_q)
    return matrix, shift.reshape(mean_p.shape)


_REGULARISED = "it adds 1e-6 to the variances, and fails without where n <= d"


@peer(
    "frechet_distance",
    "POT empirical_bures_wasserstein_distance, squared",
    "numpy",
    ("ot",),
    dtypes=NO_HALF,
    options={"ddof": 0},
    because=dict.fromkeys(NO_HALF, _REGULARISED),
)
def pot_frechet(x, y):
    from ot.gaussian import empirical_bures_wasserstein_distance

    one_at_a_time(x, y, cores=(2, 2))
    return empirical_bures_wasserstein_distance(x, y) ** 2


@peer(
    "bures_barycentre",
    "POT bures_barycenter_fixpoint",
    "numpy",
    ("ot",),
    dtypes=("float64",),
    because={"float64": "it stops where a step is small, and its steps shrink slowly"},
)
def pot_barycentre(covs, weights):
    from ot.gaussian import bures_barycenter_fixpoint

    one_at_a_time(covs, weights, cores=(3, 1))
    return bures_barycenter_fixpoint(covs, weights / weights.sum(), num_iter=10_000, eps=1e-13)


@peer(
    "gaussian_gromov_wasserstein_squared",
    "POT gaussian_gromov_wasserstein_distance, squared",
    "numpy",
    ("ot",),
    dtypes=NO_HALF,
)
def pot_gromov(cov_p, cov_q):
    from ot.gaussian import gaussian_gromov_wasserstein_distance

    one_at_a_time(cov_p, cov_q, cores=(2, 2))
    return gaussian_gromov_wasserstein_distance(cov_p, cov_q) ** 2


# -------------------------------------------------------------------------------------- ott-jax


@peer(
    "wasserstein_squared",
    "ott-jax Gaussian.w2_dist",
    "jax",
    ("jax", "ott"),
    dtypes=NO_HALF,
    because=dict.fromkeys(NO_HALF, _NEWTON_SCHULZ),
)
def ott_wasserstein(mean_p, cov_p, mean_q, cov_q):
    from ott.tools.gaussian_mixture.gaussian import Gaussian

    one_at_a_time(mean_p, cov_p, mean_q, cov_q, cores=(1, 2, 1, 2))
    p, q = (Gaussian.from_mean_and_cov(m, c) for m, c in ((mean_p, cov_p), (mean_q, cov_q)))
    return p.w2_dist(q)


@peer(
    "unbalanced_entropic_transport",
    "ott-jax UnbalancedBures",
    "jax",
    ("jax", "ott"),
    dtypes=NO_HALF,
    because={d: "a covariance of zero gives NaN: its root is divided by its norm" for d in NO_HALF},
)
def ott_unbalanced(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, *, regularisation, penalty):
    import jax.numpy as jnp
    from ott.geometry.costs import UnbalancedBures

    one_at_a_time(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, cores=(0, 1, 2, 0, 1, 2))
    cost = UnbalancedBures(mean_p.size, sigma=jnp.sqrt(regularisation / 2), gamma=penalty)
    p, q = (
        jnp.concatenate([mass[None], mean, cov.ravel()])
        for mass, mean, cov in ((mass_p, mean_p, cov_p), (mass_q, mean_q, cov_q))
    )
    return cost(p, q)


# ------------------------------------------------------------------- Frechet inception distance


class _Any(type):
    """A class that has every attribute: itself."""

    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Nothing(metaclass=_Any):
    """Whatever a file about images takes from torchvision, which its formulas do not need."""


class _WithoutTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a placeholder for torchvision and each of its parts."""

    def find_spec(self, name, path=None, target=None):
        wanted = name.partition(".")[0] == "torchvision"
        return importlib.util.spec_from_loader(name, self, is_package=True) if wanted else None

    def create_module(self, spec):
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: getattr(_Nothing, name)
        return module

    def exec_module(self, module):
        pass


def formula_of(module: str, name: str):
    """A function of a package for images, without the builds of torchvision that it asks for."""
    if module not in sys.modules:
        # Those that ask once whether torchvision is installed must not find the placeholder.
        for honest in ("torch", "transformers"):
            if importlib.util.find_spec(honest):
                importlib.import_module(honest)
        finder = _WithoutTorchvision()
        before = {k: v for k, v in sys.modules.items() if k.partition(".")[0] == "torchvision"}
        for key in before:
            del sys.modules[key]
        sys.meta_path.insert(0, finder)
        try:
            importlib.import_module(module)
        finally:
            sys.meta_path.remove(finder)
            for key in [k for k in sys.modules if k.partition(".")[0] == "torchvision"]:
                del sys.modules[key]
            sys.modules.update(before)
    return getattr(sys.modules[module], name)


@peer(
    "wasserstein_squared",
    "pytorch-fid calculate_frechet_distance",
    "numpy",
    ("pytorch_fid", "scipy"),
    dtypes=("float64",),
    because={"float64": _ROOT_OF_PRODUCT},
)
def pytorch_fid(mean_p, cov_p, mean_q, cov_q):
    one_at_a_time(mean_p, cov_p, mean_q, cov_q, cores=(1, 2, 1, 2))
    distance = formula_of("pytorch_fid.fid_score", "calculate_frechet_distance")
    return distance(mean_p, cov_p, mean_q, cov_q)


@peer(
    "wasserstein_squared",
    "torch-fidelity fid_statistics_to_metric",
    "numpy",
    ("torch_fidelity",),
    dtypes=NO_HALF,
    because=dict.fromkeys(NO_HALF, _ROOT_OF_PRODUCT),
)
def torch_fidelity(mean_p, cov_p, mean_q, cov_q):
    one_at_a_time(mean_p, cov_p, mean_q, cov_q, cores=(1, 2, 1, 2))
    distance = formula_of("torch_fidelity.metric_fid", "fid_statistics_to_metric")
    statistics = ({"mu": m, "sigma": c} for m, c in ((mean_p, cov_p), (mean_q, cov_q)))
    return distance(*statistics, verbose=False)["frechet_inception_distance"]


@peer(
    "wasserstein_squared",
    "torchmetrics _compute_fid",
    "torch",
    ("torch", "torchmetrics"),
    dtypes=NO_HALF,
    gradients=NO_HALF,
    because=dict.fromkeys((*NO_HALF, *(f"{d} gradients" for d in NO_HALF)), _ROOT_OF_PRODUCT),
)
def torchmetrics_fid(mean_p, cov_p, mean_q, cov_q):
    one_at_a_time(mean_p, cov_p, mean_q, cov_q, cores=(1, 2, 1, 2))
    distance = formula_of("torchmetrics.image.fid", "_compute_fid")
    return distance(mean_p, cov_p, mean_q, cov_q)
