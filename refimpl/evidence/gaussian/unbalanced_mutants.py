"""Wrong variants of the unbalanced entropic transport cost."""

from __future__ import annotations

from refimpl.core import symmetric_part
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.evidence.gaussian.unbalanced import unbalanced
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients
from refimpl.gaussian.entropic import entropic_wasserstein_squared
from refimpl.gaussian.unbalanced import unbalanced_entropic_transport


def _terms(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty):
    """What is paid for mass made or lost and for information, and the plan's mass, by the cost."""
    value = unbalanced_entropic_transport(
        *(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q),
        regularisation=regularisation,
        penalty=penalty,
    )
    most = penalty * (mass_p + mass_q) + regularisation * mass_p * mass_q
    mass = (most - value) / (2 * penalty + regularisation)
    return {
        "kept": penalty * (mass_p + mass_q - 2 * mass),
        "information": regularisation * (mass_p * mass_q - mass),
        "mass": mass,
    }


def _whole(kept, information, mass):
    return kept + information


book = Textbook(unbalanced, _terms, _whole)
book.wrong("the result is the mass of the plan", kept=lambda t: t.mass, information=0)
book.wrong("the term epsilon m_p m_q is missing", information=lambda t: -t.regularisation * t.mass)
book.wrong(
    "the reference of the regularisation has mass 1: epsilon stands for epsilon m_p m_q",
    information=lambda t: t.regularisation * (1 - t.mass),
)
book.wrong("the divergences of the marginals lack -|a| + |b|, as for probabilities", kept=0)
book.wrong(
    "the penalty of the second marginal is missing in the cost",
    kept=lambda t: t.penalty * (t.mass_p - t.mass),
)
wrong(
    unbalanced,
    "both masses are taken for 1",
    arrays={"mass_p": lambda x: x / x, "mass_q": lambda x: x / x},
)
wrong(
    unbalanced,
    "the means are ignored",
    arrays={"mean_p": lambda x: 0 * x, "mean_q": lambda x: 0 * x},
)
wrong(
    unbalanced,
    "covariances are taken for standard deviations: they are squared",
    arrays={
        "cov_p": lambda x: symmetric_part(x @ x),
        "cov_q": lambda x: symmetric_part(x @ x),
    },
)
wrong(
    unbalanced,
    "sigma^2 is epsilon, not epsilon/2",
    options={"regularisation": lambda e: 2 * e},
)
wrong(
    unbalanced,
    "lambda and tau have gamma where gamma/2 belongs: the penalty is doubled",
    options={"penalty": lambda g: 2 * g},
)
wrong(
    unbalanced,
    "regularisation and penalty are exchanged",
    options=lambda asked, arrays: {
        "regularisation": asked["penalty"],
        "penalty": asked["regularisation"],
    },
)


@unbalanced.mutant
def balanced(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, /, *, regularisation, penalty):
    """masses and penalty are ignored: the balanced cost"""
    pair = mean_p, cov_p, mean_q, cov_q
    value = entropic_wasserstein_squared(*pair, regularisation=regularisation)
    return value + 0 * (penalty + mass_p + mass_q)


# --------------------------------------------------------------------------------- gradient mutants

wrong(
    unbalanced,
    "the gradients in the covariances count each off-diagonal entry twice",
    gradient={"cov_p": off_diagonal_doubled, "cov_q": off_diagonal_doubled},
)
wrong(
    unbalanced,
    "the gradients in the means have each other's sign",
    gradient={"mean_p": lambda x: -x, "mean_q": lambda x: -x},
)
wrong(
    unbalanced,
    "the gradients in the covariances are exchanged",
    gradient=lambda found, arrays, options: (
        *(*found[:2], found[5]),
        *(*found[3:5], found[2], *found[6:]),
    ),
)


@wrong_gradients(unbalanced)
def gradient_of_a_fixed_plan(found, g, arrays, options):
    """the gradients in the masses ignore that the plan's mass follows them"""
    found[0] = g * (options["penalty"] + options["regularisation"] * arrays[3])
    found[3] = g * (options["penalty"] + options["regularisation"] * arrays[0])
    return found
