"""Mistakes that can be made with the arguments and gradients of any divergence of two Gaussians."""

from __future__ import annotations

from refimpl.backend import cholesky
from refimpl.core import matvec, symmetric_part
from refimpl.evidence import Evidence
from refimpl.evidence.gaussian.shared import (
    identity_of,
    inverse_of,
    off_diagonal_doubled,
    transposed,
)
from refimpl.evidence.mistakes import wrong, wrong_gradients


def _of_both(name, change):
    return {f"{name}_p": change, f"{name}_q": change}


def register_arguments(of: Evidence, *, symmetric: bool = True) -> None:
    """Covariances taken for something else, and means that are ignored."""
    wrong(
        of,
        "covariances are taken for standard deviations: they are squared",
        arrays=_of_both("cov", lambda x: x @ x),
        source="https://github.com/tensorflow/tensorflow/issues/20261",
    )
    wrong(
        of,
        "covariances are taken for precisions",
        arrays=_of_both("cov", lambda x: symmetric_part(inverse_of(x))),
    )
    wrong(
        of,
        "only the diagonals of the covariances are used",
        arrays=_of_both("cov", lambda x: x * identity_of(x)),
    )
    wrong(of, "the means are ignored", arrays={"mean_p": "mean_q"})
    wrong(of, "the covariance of p stands for both", arrays={"cov_q": "cov_p"})
    wrong(
        of,
        "1e-3 is added to the variances of both",
        arrays=_of_both("cov", lambda x: x + 1e-3 * identity_of(x)),
    )
    if not symmetric:
        wrong(
            of,
            "p and q are swapped",
            arrays={"mean_p": "mean_q", "cov_p": "cov_q", "mean_q": "mean_p", "cov_q": "cov_p"},
        )


def register_gradients(of: Evidence) -> None:
    """Signs, factors and places of the gradients in means and covariances."""
    wrong(
        of,
        "the gradients in the means have each other's sign",
        gradient=_of_both("mean", lambda x: -x),
    )
    wrong(
        of,
        "the gradients in the covariances count each off-diagonal entry twice",
        gradient=_of_both("cov", off_diagonal_doubled),
    )
    wrong(
        of,
        "the gradients in the covariances lack a factor 1/2",
        gradient=_of_both("cov", lambda x: 2 * x),
    )
    wrong(
        of,
        "the gradients in p and in q are exchanged",
        gradient=lambda found, arrays, options: (*found[2:4], *found[:2], *found[4:]),
    )

    @wrong_gradients(of)
    def gradient_of_means_whitened_only_once(found, g, arrays, options):
        """the gradients in the means have L^{-1} in place of S^{-1}, with L the factor of cov_p"""
        factor = transposed(cholesky(arrays[1]))
        found[0], found[2] = matvec(factor, found[0]), matvec(factor, found[2])
        return found

    @wrong_gradients(of)
    def gradient_of_covariances_without_means(found, g, arrays, options):
        """the gradients in the covariances lack their term with the difference of the means"""
        centred = of.formula.vjp(g, arrays[2], *arrays[1:], **options)
        return found[0], centred[1], found[2], centred[3], *found[4:]
