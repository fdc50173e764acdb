"""Second definitions: distances of covariances and of embedded Gaussians, by eigenvalues."""

from __future__ import annotations

import mpmath

from tools.golden import SPECTRAL, golden
from tools.golden.gaussian.pairs import pairs, ratios


def _covariances():
    return {
        name: ((cov_p, cov_q), {})
        for name, ((_, cov_p, _, cov_q), _) in pairs().items()
        if name != "same_covariance"
    }


@golden(
    "fisher_rao_same_mean",
    _covariances,
    beyond={
        "far_apart": SPECTRAL,
        "graded_1e12": SPECTRAL,
    },
)
def same_mean(cov_p, cov_q):
    squares = [mpmath.log(ratio) ** 2 for ratio in ratios(cov_p, cov_q)]
    return mpmath.sqrt(mpmath.fsum(squares) / 2)


@golden(
    "calvo_oller_bound",
    pairs,
    beyond={
        "far_apart": (
            4096.0,
            "far-apart means enter the embedding squared, and their squares cancel in it",
        ),
        "on_the_seam": SPECTRAL,
    },
)
def calvo_oller(mean_p, cov_p, mean_q, cov_q):
    """As printed, with neither mean moved to the origin."""

    def embedded(mean, cov):
        column = mpmath.matrix(mean)
        second = mpmath.matrix(cov) + column * column.T
        d = len(mean)
        rows = [[second[i, j] for j in range(d)] + [mean[i]] for i in range(d)]
        return [*rows, [*mean, mpmath.mpf(1)]]

    return same_mean(embedded(mean_p, cov_p), embedded(mean_q, cov_q))
