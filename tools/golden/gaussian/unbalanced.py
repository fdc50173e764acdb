"""Second definition of unbalanced entropic transport: the dual, at the fixed point of Sinkhorn."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.transport import with_means


def _cases():
    rng = np.random.default_rng(2020)
    kept = ("g3", "g1", "g2", "unlike_sizes", "near_equal_1e-8", "dimension_6")
    cases = {}
    for i, name in enumerate(kept):
        mean_p, cov_p, mean_q, cov_q = with_means()[name][0]
        masses = np.array([1.0, 2.0, 0.5][i % 3]), np.array([1.0, 0.75][i % 2])
        options = {
            "regularisation": np.array([2.0, 0.5, 8.0][i % 3]),
            "penalty": np.array([1.0, 4.0, 16.0, 0.25][i % 4]),
        }
        cases[name] = ((masses[0], mean_p, cov_p, masses[1], mean_q, cov_q), options)
    cov = np.cov(rng.standard_normal((3, 8)))
    options = {"regularisation": np.array(0.125), "penalty": np.array(3.0)}
    zero = np.zeros(3)
    cases["same_measure"] = ((np.array(1.5), zero, cov, np.array(1.5), zero, cov), options)
    return cases


@golden(
    "unbalanced_entropic_transport",
    _cases,
    beyond={
        "same_measure": (16.0, "the closed form adds large terms that cancel"),
        "g2": (16.0, "the closed form adds large terms that cancel"),
        "dimension_6": (16.0, "the closed form adds large terms that cancel"),
        "unlike_sizes": (16.0, "the closed form adds large terms that cancel"),
    },
)
def transport(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty):
    """Potentials f(x) = -x^T F x + 2 f^T x + const follow Sinkhorn's map of quadratics:
    f = -tau eps log int exp((g - c)/eps) dq. At its fixed point the plan has a Gaussian integral,
    and the cost is the dual's: gamma int (1 - exp(-f/gamma)) dp + the same of q, + eps (m_p m_q -
    m_pi)."""
    d = len(mean_p)
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    p, q = mpmath.matrix(cov_p), mpmath.matrix(cov_q)
    tau = penalty / (penalty + regularisation)
    masses, means, covs = (mass_p, mass_q), (delta, delta * 0), (p, q)
    potentials = [(mpmath.zeros(d), mpmath.zeros(d, 1), mpmath.mpf(0)) for _ in range(2)]
    change = 1
    while change > mpmath.mpf(10) ** (8 - mpmath.mp.dps):
        before = potentials[0]
        for side in (0, 1):
            other = 1 - side
            potentials[side] = _sinkhorn(
                potentials[other], masses[other], means[other], covs[other], regularisation, tau
            )
        change = (
            mpmath.norm(potentials[0][0] - before[0])
            + mpmath.norm(potentials[0][1] - before[1])
            + abs(potentials[0][2] - before[2])
        )
    total = mpmath.mpf(0)
    for potential, mass, mean, cov in zip(potentials, masses, means, covs, strict=True):
        scaled = tuple(x / -penalty for x in potential)
        total += penalty * (mass - mpmath.exp(_log_integral(scaled, mass, mean, cov)))
    plan = mpmath.exp(_log_integral(tuple(x / -penalty for x in potentials[0]), mass_p, delta, p))
    return total + regularisation * (mass_p * mass_q - plan)


def _log_integral(quadratic, mass, mean, cov):
    """log int exp(-x^T F x + 2 f^T x + c) under mass N(mean, cov), by completing the square."""
    matrix, linear, constant = quadratic
    precision = mpmath.inverse(cov)
    total = precision + 2 * matrix
    shift = precision * mean + 2 * linear
    exponent = (shift.T * mpmath.inverse(total) * shift)[0] - (mean.T * precision * mean)[0]
    determinant = mpmath.det(cov) * mpmath.det(total)
    return mpmath.log(mass) + constant + exponent / 2 - mpmath.log(determinant) / 2


def _sinkhorn(potential, mass, mean, cov, epsilon, tau):
    """-tau eps log int exp((g(y) - |x - y|^2)/eps) dq(y), as a quadratic of x."""
    d = cov.rows
    matrix, linear, constant = (x / epsilon for x in potential)
    widened = matrix + mpmath.eye(d) / epsilon
    # exp((2 x^T y - |x|^2)/eps) adds x/eps to the linear part.
    precision = mpmath.inverse(cov)
    total = mpmath.inverse(precision + 2 * widened)
    level = _log_integral((widened, linear, constant), mass, mean, cov)
    shift = total * (precision * mean + 2 * linear)
    curve = mpmath.eye(d) / epsilon - 2 / epsilon**2 * total
    return (
        -tau * epsilon * curve,
        -tau * epsilon * shift / epsilon,
        -tau * epsilon * level,
    )
