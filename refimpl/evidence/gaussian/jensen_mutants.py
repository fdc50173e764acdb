"""Wrong variants of the Jensen-Shannon divergences."""

from __future__ import annotations

import math

from refimpl.backend import namespace
from refimpl.evidence.gaussian.jensen import bounds, dual, geometric
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.evidence.gaussian.shared import inverse_of, symmetric_part
from refimpl.evidence.mistakes import wrong
from refimpl.gaussian.divergence import gaussian_kl, jeffreys_divergence
from refimpl.gaussian.jensen import (
    dual_geometric_jensen_shannon,
    geometric_jensen_shannon,
    jensen_shannon_bounds,
)
from refimpl.gaussian.overlap import bhattacharyya_distance
from refimpl.gaussian.renyi import renyi_divergence

for of in (geometric, dual):
    register_arguments(of, symmetric=False)
    register_gradients(of)
register_arguments(bounds)
register_gradients(bounds)


def _middle(mean_p, cov_p, mean_q, cov_q, weight):
    """Mean and covariance of the normalised p^(1-a) q^a."""
    w = weight[..., None, None]
    precision_p, precision_q = inverse_of(cov_p), inverse_of(cov_q)
    cov = symmetric_part(inverse_of((1 - w) * precision_p + w * precision_q))
    linear = (1 - w) * (precision_p @ mean_p[..., None]) + w * (precision_q @ mean_q[..., None])
    return (cov @ linear)[..., 0], cov


@geometric.mutant
def weights_of_the_mean_exchanged(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """G is p^a q^(1-a): the convention with KL instead of 0 at its ends"""
    middle = _middle(mean_p, cov_p, mean_q, cov_q, 1 - weight)
    to_p, to_q = gaussian_kl(mean_p, cov_p, *middle), gaussian_kl(mean_q, cov_q, *middle)
    return (1 - weight) * to_p + weight * to_q


@geometric.mutant
def weights_of_the_sum_exchanged(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """the sum is a KL(p || G) + (1 - a) KL(q || G)"""
    middle = _middle(mean_p, cov_p, mean_q, cov_q, weight)
    to_p, to_q = gaussian_kl(mean_p, cov_p, *middle), gaussian_kl(mean_q, cov_q, *middle)
    return weight * to_p + (1 - weight) * to_q


@geometric.mutant
def dual_instead(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """the dual, with KL(G || p) and KL(G || q)"""
    return dual_geometric_jensen_shannon(mean_p, cov_p, mean_q, cov_q, weight=weight)


@geometric.mutant
def arithmetic_mean_of_covariances(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """G mixes means and covariances, not precisions"""
    w = weight[..., None]
    mean = (1 - w) * mean_p + w * mean_q
    w = w[..., None]
    cov = (1 - w) * cov_p + w * cov_q
    to_p, to_q = gaussian_kl(mean_p, cov_p, mean, cov), gaussian_kl(mean_q, cov_q, mean, cov)
    return (1 - weight) * to_p + weight * to_q


@geometric.mutant
def means_mixed_without_precisions(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """the mean of G mixes the means without their precisions"""
    _, cov = _middle(mean_p, cov_p, mean_q, cov_q, weight)
    mean = (1 - weight[..., None]) * mean_p + weight[..., None] * mean_q
    to_p, to_q = gaussian_kl(mean_p, cov_p, mean, cov), gaussian_kl(mean_q, cov_q, mean, cov)
    return (1 - weight) * to_p + weight * to_q


wrong(
    geometric, "the weight is 1/2 whatever is asked for", options={"weight": lambda a: 0 * a + 0.5}
)


@geometric.mutant
def not_weighted(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """the sum of both divergences to G without weights"""
    middle = _middle(mean_p, cov_p, mean_q, cov_q, weight)
    return gaussian_kl(mean_p, cov_p, *middle) + gaussian_kl(mean_q, cov_q, *middle)


@geometric.mutant(source="https://github.com/sebastianruder/learn-to-select-data/issues/1")
def one_side_twice(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """KL(p || G) stands in the place of KL(q || G) too"""
    return gaussian_kl(mean_p, cov_p, *_middle(mean_p, cov_p, mean_q, cov_q, weight))


@geometric.mutant
def quarter_of_jeffreys(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """a (1 - a) times the Jeffreys divergence, its upper bound"""
    return weight * (1 - weight) * jeffreys_divergence(mean_p, cov_p, mean_q, cov_q)


wrong(geometric, "the result is in bits, not nats", output=lambda y: y / math.log(2))


@geometric.mutant(gradient=True)
def gradient_of_the_dual(g, mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """the gradients are those of the dual"""
    return dual_geometric_jensen_shannon.vjp(g, mean_p, cov_p, mean_q, cov_q, weight=weight)


# --------------------------------------------------------------------------------------------- dual


@dual.mutant
def order_not_reversed(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """a D_a in place of a D_{1-a}"""
    return weight * renyi_divergence(mean_p, cov_p, mean_q, cov_q, order=weight)


@dual.mutant
def not_dual(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """KL(p || G) and KL(q || G) in place of KL(G || p) and KL(G || q)"""
    return geometric_jensen_shannon(mean_p, cov_p, mean_q, cov_q, weight=weight)


@dual.mutant
def dual_weights_of_the_mean_exchanged(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """G alone is p^a q^(1-a): the convention with KL instead of 0 at its ends"""
    middle = _middle(mean_p, cov_p, mean_q, cov_q, 1 - weight)
    from_p, from_q = gaussian_kl(*middle, mean_p, cov_p), gaussian_kl(*middle, mean_q, cov_q)
    return (1 - weight) * from_p + weight * from_q


@dual.mutant
def dual_weight_ignored(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """the weight is ignored: the Bhattacharyya distance"""
    return bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q)


wrong(
    dual,
    "the integral of p^(1-a) q^a itself, without its logarithm",
    output=lambda y: namespace(y).exp(-y),
)


@dual.mutant(gradient=True)
def gradient_of_the_other_weight(g, mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """the gradients are those for the weight 1 - a"""
    return dual_geometric_jensen_shannon.vjp(g, mean_p, cov_p, mean_q, cov_q, weight=1 - weight)


# ------------------------------------------------------------------------------------------- bounds


@bounds.mutant
def bounds_exchanged(mean_p, cov_p, mean_q, cov_q, /):
    """upper and lower bound are exchanged"""
    return jensen_shannon_bounds(mean_p, cov_p, mean_q, cov_q)[::-1]


@bounds.mutant
def upper_bound_of_the_variation_alone(mean_p, cov_p, mean_q, cov_q, /):
    """the upper bound is that by the total variation alone, loose near p = q"""
    lower, _ = jensen_shannon_bounds(mean_p, cov_p, mean_q, cov_q)
    xp = namespace(mean_p)
    distance = bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q)
    return lower, math.log(2) * xp.sqrt(-xp.expm1(-2 * distance))


@bounds.mutant
def upper_bound_of_hellinger_alone(mean_p, cov_p, mean_q, cov_q, /):
    """the upper bound is the Hellinger square alone, loose far from p = q"""
    lower, _ = jensen_shannon_bounds(mean_p, cov_p, mean_q, cov_q)
    return lower, lower / math.log(2)


@bounds.mutant(gradient=True)
def gradient_of_lower_without_log_2(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient of the lower bound lacks its factor log 2"""
    of_lower, of_upper = g
    scaled = of_lower / math.log(2), of_upper
    return jensen_shannon_bounds.vjp(scaled, mean_p, cov_p, mean_q, cov_q)


@bounds.mutant(gradient=True)
def gradient_of_one_branch(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient of the upper bound is that of the Hellinger square everywhere"""
    of_lower, of_upper = g
    both = of_lower + of_upper / math.log(2), 0 * of_upper
    return jensen_shannon_bounds.vjp(both, mean_p, cov_p, mean_q, cov_q)
