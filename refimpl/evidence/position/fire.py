"""Evidence for FIRE, the bias that is a network of the relative distance."""

from __future__ import annotations

import numpy as np

from refimpl.backend import astype, namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import (
    after_a_cache,
    far,
    in_order,
    keys_in_any_order,
    moved,
    padded,
    the_last_query_alone,
)
from refimpl.position.fire import fire_bias

fire = Evidence(
    fire_bias,
    sizes={"h": Sizes(1, 1, 5, 17), "s": Sizes(1, 1, 8)},
    empty=("n", "m"),
    options={"epsilon": (1e-2,)},
)


# ------------------------------------------------------------------------------------- regimes


def _fire_weights(rng, shape):
    weights = (shape.hidden_weights, shape.hidden_biases, shape.output_weights, shape.output_biases)
    return tuple(rng.standard_normal(s) for s in weights)


@fire.regime
def fire_in_order(rng, shape):
    """Queries before the threshold, as in the paper's initial state"""
    options = {"log_rate": np.array(0.1), "threshold": np.array(512.0)}
    return Case((*_fire_weights(rng, shape), *in_order(shape)), options)


@fire.regime
def fire_after_the_threshold(rng, shape):
    """Queries after and before a small threshold"""
    options = {"log_rate": np.array(0.5), "threshold": np.array(2.5)}
    return Case((*_fire_weights(rng, shape), *after_a_cache(shape)), options)


@fire.regime(adversarial=True)
def fire_padded(rng, shape):
    """Positions, rates and thresholds that differ along the batch"""
    options = {
        "log_rate": rng.uniform(0.05, 2.0, shape.log_rate),
        "threshold": rng.uniform(0.3, 6.7, shape.threshold),
    }
    return Case((*_fire_weights(rng, shape), *padded(rng, shape)), options)


@fire.regime(adversarial=True)
def fire_far(rng, shape):
    """Positions to 8191 in any order, so that keys lie after their queries too"""
    options = {"log_rate": np.array(0.1), "threshold": np.array(512.5)}
    return Case((*_fire_weights(rng, shape), *far(rng, shape)), options)


# ---------------------------------------------------------------------------------------- laws


fire.law(the_last_query_alone)
fire.law(keys_in_any_order)


def _neurons_reversed(w, a, v):
    return w[..., ::-1], a[..., ::-1], v[..., ::-1, :]


def _fire_size(case):
    w, a, v, b = (np.abs(wide(x)) for x in case.arrays[:4])
    return 4.0 + float(((w + a).max() * v.max() * w.shape[-1]) + b.max()) * 4.0


@fire.law
def neurons_in_any_order(f, case):
    """The neurons may be exchanged"""
    w, a, v, *rest = case.arrays
    other = case.with_arrays(*_neurons_reversed(w, a, v), *rest)
    yield Claim(other.call(f), case.call(f), _fire_size(case))


@fire.law
def constant_network_is_a_constant(f, case):
    """Without weights of the distance the bias is one number for each head"""
    w, a, v, b, *positions = case.arrays
    value = case.with_arrays(0 * w, a, v, b, *positions).call(f)
    rows = np.maximum(wide(a), 0.0)[..., None, :] @ wide(v)
    constant = (rows[..., 0, :] + wide(b))[..., :, None, None]
    yield Claim(value, np.broadcast_to(constant, value.shape), _fire_size(case))


@fire.law
def identity_network_shows_the_argument(f, case):
    """A network that passes its input: c = exp of the product with the denominator, less 1"""
    w, a, v, b, queries, keys = case.arrays
    if case.options.get("epsilon"):
        return
    one = v * 0 + 1.0 / w.shape[-1]
    value = wide(case.with_arrays(w * 0 + 1, a * 0, one, b * 0, queries, keys).call(f))
    i, j = wide(queries)[..., None, :, None], wide(keys)[..., None, None, :]
    c, start = (wide(case.options[k])[..., None, None, None] for k in ("log_rate", "threshold"))
    ends = np.log1p(c * np.maximum(start, i))
    t = c * np.abs(i - j)
    # In single precision the value is rounded before it becomes an exponent.
    yield Claim(np.expm1(value * ends), t + 0 * value, (1.0 + t) * (4.0 + 4.0 * np.log1p(t)))


@fire.law
def before_the_threshold_distance_alone_matters(f, case):
    """Where all queries lie before the threshold, moving all positions changes nothing"""
    *weights, queries, keys = case.arrays
    far = astype(case.options["threshold"] * 0 + 1e5, case.options["threshold"].dtype)
    here = case.with_options(threshold=far)
    yield Claim(moved(here, 1000).call(f), here.call(f), _fire_size(case))


@fire.law
def unit_of_position_and_rate(f, case):
    """Positions and threshold twice as large, with half the rate, change nothing"""
    *weights, queries, keys = case.arrays
    scaled = {
        "log_rate": case.options["log_rate"] / 2,
        "threshold": case.options["threshold"] * 2,
    }
    twice = case.with_arrays(*weights, 2 * queries, 2 * keys).with_options(**scaled)
    yield Claim(twice.call(f), case.call(f), _fire_size(case))


# -------------------------------------------------------------------------------- closed forms


@fire.closed_form
def far_end_of_the_sequence(rng, shape):
    """A network that passes its input gives 1 for the first key of a query beyond the threshold"""
    weights = np.ones(1), np.zeros(1), np.ones((1, 1)), np.zeros(1)
    options = {"log_rate": np.array(0.1), "threshold": np.array(512.0)}
    case = Case((*weights, np.array([1000, 513]), np.array([0])), options)
    return case, np.ones((1, 2, 1))


@fire.closed_form
def roots_of_the_scale(rng, shape):
    """c = 1, L = 255: distance 15 is half of it, by log 16 = (log 256)/2"""
    weights = np.array([1.0, -1.0]), np.array([0.0, 0.75]), np.ones((2, 1)), np.array([-1.0])
    options = {"log_rate": np.array(1.0), "threshold": np.array(255.0)}
    case = Case((*weights, np.array([15]), np.array([15, 12, 0])), options)
    # The inputs 0, 1/4, 1/2 give x + max(3/4 - x, 0) - 1.
    return case, np.full((1, 1, 3), -0.25)


# ------------------------------------------------------------------------------------- mutants


@fire.mutant
def not_normalised(*arrays, **options):
    """Every query is normalised as if at the threshold"""
    far = options["threshold"] * 0 + max(1.0, float(arrays[4].max(initial=0)))
    threshold = namespace(far).where(far > options["threshold"], far, options["threshold"])
    return fire_bias(*arrays, **options | {"threshold": astype(threshold, far.dtype)})


wrong(
    fire,
    "The threshold is ignored: every query is normalised by its own position",
    options={"threshold": lambda x: x * 0 + 0.001},
)
wrong(
    fire,
    "Queries and keys count from one more than they should",
    arrays={"query_positions": lambda x: x + 1, "key_positions": lambda x: x + 1},
)


@fire.mutant
def distance_is_linear(*arrays, **options):
    """The distance goes in as it is, without the logarithm"""
    return fire_bias(*arrays, **options | _linear(options))


def _linear(options):
    """A rate so small that log(1 + ct) is ct."""
    return {"log_rate": options["log_rate"] * 0 + 2.0**-30}


wrong(
    fire,
    "The denominator has the key's position instead of the query's",
    arrays={"query_positions": "key_positions", "key_positions": "query_positions"},
    output=lambda y: y.swapaxes(-1, -2),
)


@fire.mutant
def no_rectifier(*arrays, **options):
    """The network has no maximum with 0: it is linear"""
    w, a, v, b, *positions = arrays
    positive = fire_bias(w, a, v, b, *positions, **options)
    return positive - fire_bias(-w, -a, v, 0 * b, *positions, **options)


wrong(fire, "The rate multiplies twice", options={"log_rate": lambda x: x**2})
wrong(fire, "The biases of the output are missing", arrays={"output_biases": lambda x: 0 * x})
wrong(
    fire,
    "Outputs of the network go to the heads in reverse order",
    output=lambda y: y[..., ::-1, :, :],
)


@fire.mutant(gradient=True)
def rectifier_passes_all(*arrays, **options):
    """The gradient passes the maximum everywhere"""
    g, w, a, v, b, *positions = arrays
    found = list(fire_bias.vjp(g, w, a, v, b, *positions, **options))
    other = fire_bias.vjp(g, -w, -a, v, b, *positions, **options)
    return (found[0] + other[0], found[1] + other[1], *found[2:])


@fire.mutant(gradient=True)
def output_gradient_without_biases(*arrays, **options):
    """The gradient of the output weights lacks the hidden biases"""
    g, w, a, v, b, *positions = arrays
    found = fire_bias.vjp(g, w, a, v, b, *positions, **options)
    other = fire_bias.vjp(g, w, 0 * a, v, b, *positions, **options)
    return (*found[:2], other[2], *found[3:])
