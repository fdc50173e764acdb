"""Wrong variants of the unbalanced entropic transport cost."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.core import symmetric_part
from refimpl.evidence.gaussian.density_mutants import off_diagonal_doubled
from refimpl.evidence.gaussian.unbalanced import unbalanced
from refimpl.gaussian.entropic import entropic_wasserstein_squared
from refimpl.gaussian.unbalanced import unbalanced_entropic_transport

_right = unbalanced_entropic_transport


def _mass(arrays, regularisation, penalty):
    """The mass of the plan, from the cost."""
    mass_p, mass_q = arrays[0], arrays[3]
    value = _right(*arrays, regularisation=regularisation, penalty=penalty)
    most = penalty * (mass_p + mass_q) + regularisation * mass_p * mass_q
    return (most - value) / (2 * penalty + regularisation)


def _cost(mass, arrays, regularisation, penalty):
    mass_p, mass_q = arrays[0], arrays[3]
    kept = penalty * (mass_p + mass_q - 2 * mass)
    return kept + regularisation * (mass_p * mass_q - mass)


def register(name, statement, body):
    """A mutant with the formula's parameters, from body(arrays, regularisation, penalty)."""

    def mutant(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, /, *, regularisation, penalty):
        arrays = mass_p, mean_p, cov_p, mass_q, mean_q, cov_q
        return body(arrays, regularisation, penalty)

    mutant.__name__, mutant.__doc__ = name, statement
    unbalanced.mutant(mutant)


def _with(arrays, **changes):
    names = ("mass_p", "mean_p", "cov_p", "mass_q", "mean_q", "cov_q")
    return tuple(changes.get(name, x) for name, x in zip(names, arrays, strict=True))


def _balanced(arrays, regularisation, penalty):
    mass_p, mean_p, cov_p, mass_q, mean_q, cov_q = arrays
    return entropic_wasserstein_squared(
        mean_p, cov_p, mean_q, cov_q, regularisation=regularisation
    ) + 0 * (penalty + mass_p + mass_q)


def _normalised(arrays, regularisation, penalty):
    one = arrays[0] / arrays[0]
    return _right(
        *_with(arrays, mass_p=one, mass_q=one), regularisation=regularisation, penalty=penalty
    )


def _without_means(arrays, regularisation, penalty):
    origin = 0 * (arrays[1] + arrays[4])
    return _right(
        *_with(arrays, mean_p=origin, mean_q=origin), regularisation=regularisation, penalty=penalty
    )


def _plain_divergence(arrays, regularisation, penalty):
    """Without the terms -|a| + |b| of the marginals' divergences."""
    mass = _mass(arrays, regularisation, penalty)
    value = _cost(mass, arrays, regularisation, penalty)
    return value - penalty * (arrays[0] + arrays[3] - 2 * mass)


register("balanced", "masses and penalty are ignored: the balanced cost", _balanced)
register("masses_ignored", "both masses are taken for 1", _normalised)
register("means_ignored", "the means are ignored", _without_means)
register(
    "regularisation_not_halved",
    "sigma^2 is epsilon, not epsilon/2",
    lambda arrays, e, g: _right(*arrays, regularisation=2 * e, penalty=g),
)
register(
    "penalty_doubled",
    "lambda and tau have gamma where gamma/2 belongs: the penalty is doubled",
    lambda arrays, e, g: _right(*arrays, regularisation=e, penalty=2 * g),
)
register(
    "parameters_swapped",
    "regularisation and penalty are exchanged",
    lambda arrays, e, g: _right(*arrays, regularisation=g, penalty=e),
)
register("mass_itself", "the result is the mass of the plan", _mass)
register(
    "reference_mass_missing",
    "the term epsilon m_p m_q is missing",
    lambda arrays, e, g: _right(*arrays, regularisation=e, penalty=g) - e * arrays[0] * arrays[3],
)
register(
    "product_of_masses_normalised",
    "the reference of the regularisation has mass 1: epsilon stands for epsilon m_p m_q",
    lambda arrays, e, g: (
        _right(*arrays, regularisation=e, penalty=g) + e * (1 - arrays[0] * arrays[3])
    ),
)
register(
    "probability_divergences",
    "the divergences of the marginals lack -|a| + |b|, as for probabilities",
    _plain_divergence,
)
register(
    "one_penalty",
    "the penalty of the second marginal is missing in the cost",
    lambda arrays, e, g: (
        _right(*arrays, regularisation=e, penalty=g) - g * (arrays[3] - _mass(arrays, e, g))
    ),
)
register(
    "deviations_for_covariances",
    "covariances are taken for standard deviations: they are squared",
    lambda arrays, e, g: _right(
        *_with(
            arrays,
            cov_p=symmetric_part(arrays[2] @ arrays[2]),
            cov_q=symmetric_part(arrays[5] @ arrays[5]),
        ),
        regularisation=e,
        penalty=g,
    ),
)


# --------------------------------------------------------------------------------- gradient mutants


def register_gradient(name, statement, change):
    """A gradient mutant from change(gradients, arrays)."""

    def mutant(g, mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, /, *, regularisation, penalty):
        arrays = mass_p, mean_p, cov_p, mass_q, mean_q, cov_q
        found = _right.vjp(g, *arrays, regularisation=regularisation, penalty=penalty)
        return tuple(change(list(found), g, arrays, regularisation, penalty))

    mutant.__name__, mutant.__doc__ = name, statement
    unbalanced.mutant(mutant, gradient=True)


def _doubled(found, g, arrays, regularisation, penalty):
    found[2], found[5] = off_diagonal_doubled(found[2]), off_diagonal_doubled(found[5])
    return found


def _signs(found, g, arrays, regularisation, penalty):
    found[1], found[4] = found[4], found[1]
    return found


def _of_fixed_plan(found, g, arrays, regularisation, penalty):
    found[0] = g * (penalty + regularisation * arrays[3])
    found[3] = g * (penalty + regularisation * arrays[0])
    return found


def _covariances_swapped(found, g, arrays, regularisation, penalty):
    xp = namespace(found[2])
    shape = xp.broadcast_arrays(found[2], found[5])
    found[2], found[5] = shape[1], shape[0]
    return found


register_gradient(
    "gradient_off_diagonal_doubled",
    "the gradients in the covariances count each off-diagonal entry twice",
    _doubled,
)
register_gradient(
    "gradient_sign_of_means", "the gradients in the means have each other's sign", _signs
)
register_gradient(
    "gradient_of_a_fixed_plan",
    "the gradients in the masses ignore that the plan's mass follows them",
    _of_fixed_plan,
)
register_gradient(
    "gradient_covariances_swapped",
    "the gradients in the covariances are exchanged",
    _covariances_swapped,
)
