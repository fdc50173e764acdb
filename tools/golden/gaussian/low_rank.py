"""Second definitions: the divergence from a diagonal plus a low rank, by dense matrices."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(1950)

    def draw(d, r):
        return rng.standard_normal(d), rng.uniform(0.5, 2, d), rng.standard_normal((d, r))

    q = draw(5, 2)
    cases = {
        "ranks_2_and_3": (*draw(5, 3), *q),
        "rank_0_and_2": (*draw(5, 0), *q),
        "rank_above_d": (*draw(2, 4), *draw(2, 1)),
        "dimension_1": (*draw(1, 1), *draw(1, 1)),
        "dimension_9": (*draw(9, 2), *draw(9, 2)),
    }
    for difference in (1e-4, 1e-8):
        near = tuple(x * (1 + difference * rng.standard_normal(x.shape)) for x in q)
        cases[f"near_equal_{difference:g}"] = (*near, *q)
    units = np.geomspace(1, 1e-6, 5)
    p, q = ((m * units, d * units**2, w * units[:, None]) for m, d, w in (draw(5, 2), q))
    cases["graded_1e12"] = (*p, *q)
    return {name: (arrays, {}) for name, arrays in cases.items()}


@golden("gaussian_kl_low_rank", _cases)
def low_rank(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q):
    d = len(mean_p)

    def covariance(diag, factor):
        return mpmath.matrix(
            [
                [
                    mpmath.fsum(a * b for a, b in zip(factor[i], factor[j], strict=True))
                    + (diag[i] if i == j else 0)
                    for j in range(d)
                ]
                for i in range(d)
            ]
        )

    cov_p, cov_q = covariance(diag_p, factor_p), covariance(diag_q, factor_q)
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    precision = mpmath.inverse(cov_q)
    ratio = precision * cov_p
    trace = mpmath.fsum(ratio[i, i] for i in range(d))
    return ((delta.T * precision * delta)[0] + trace - d - mpmath.log(mpmath.det(ratio))) / 2
