"""Second definitions: means of kernels by inverse and determinant, as they are printed."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs
from tools.golden.gaussian.transform import gaussians


def _with_rates():
    rates = (0.5, 3.0, 0.01, 1e-6, 100.0, 0.0)
    return {
        name: ((mean, cov), {"rate": np.array(rate)})
        for rate, (name, (_, mean, cov)) in zip(rates, gaussians().items(), strict=True)
    }


@golden("gaussian_square_norm_laplace", _with_rates)
def square_norm_laplace(mean, cov, *, rate):
    """A ratio of two Gaussian integrals, with P = S^{-1} and b = P mean:
    sqrt(det P/det(P + 2 t I)) exp((b^T (P + 2 t I)^{-1} b - b^T mean)/2)"""
    d = len(mean)
    precision = mpmath.inverse(mpmath.matrix(cov))
    sharpened = precision + 2 * rate * mpmath.eye(d)
    vector = mpmath.matrix(mean)
    linear = precision * vector
    exponent = (linear.T * mpmath.lu_solve(sharpened, linear) - linear.T * vector)[0] / 2
    return mpmath.sqrt(mpmath.det(precision) / mpmath.det(sharpened)) * mpmath.exp(exponent)


def _with_bandwidths():
    widths = (1.0, 0.3, 2.0, 0.05, 1e-3, 30.0)
    return {
        name: ((mean, cov), {"bandwidth": np.array(width)})
        for width, (name, (_, mean, cov)) in zip(widths, gaussians().items(), strict=True)
    }


@golden("gaussian_expected_kernel", _with_bandwidths)
def expected_kernel(mean, cov, *, bandwidth):
    d = len(mean)
    cov, vector = mpmath.matrix(cov), mpmath.matrix(mean)
    area = bandwidth**2
    square = (vector.T * mpmath.inverse(cov + area * mpmath.eye(d)) * vector)[0]
    return mpmath.exp(-square / 2) / mpmath.sqrt(mpmath.det(mpmath.eye(d) + cov / area))


def _pairs_with_bandwidths():
    cases = {}
    for name, (arrays, _) in pairs().items():
        width = 0.25 if name.startswith("graded") else 1.0
        cases[name] = (arrays, {"bandwidth": np.array(width)})
    arrays = cases["g2"][0]
    cases["narrow_kernel"] = (arrays, {"bandwidth": np.array(0.01)})
    cases["wide_kernel"] = (arrays, {"bandwidth": np.array(1e4)})
    cases["points"] = (
        (np.array([1.0, 2.0]), np.zeros((2, 2)), np.array([1.5, 2.0]), np.zeros((2, 2))),
        {"bandwidth": np.array(0.7)},
    )
    return cases


@golden(
    "gaussian_mmd_squared",
    _pairs_with_bandwidths,
    beyond={
        "narrow_kernel": (4.0, "a difference of three kernels, each rounded"),
        "g2": (4.0, "a difference of three kernels, each rounded"),
        "g2_reversed": (4.0, "a difference of three kernels, each rounded"),
    },
)
def mmd_squared(mean_p, cov_p, mean_q, cov_q, *, bandwidth):
    def kernel(mean, first, second):
        total = [
            [a + b for a, b in zip(*rows, strict=True)] for rows in zip(first, second, strict=True)
        ]
        return expected_kernel(mean, total, bandwidth=bandwidth)

    delta = [a - b for a, b in zip(mean_p, mean_q, strict=True)]
    nothing = [0 * x for x in delta]
    own = kernel(nothing, cov_p, cov_p) + kernel(nothing, cov_q, cov_q)
    return own - 2 * kernel(delta, cov_p, cov_q)
