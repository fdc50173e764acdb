"""Evidence for encodings by a differential equation."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import like, namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.position.flow import flow_encoding

flow = Evidence(
    flow_encoding,
    sizes={"d": Sizes(1, 1, 6), "s": Sizes(1, 1, 6)},
    fixed={
        "length": 4,
        "interval": 0.5,
        "steps": 2,
        "activation": "tanh",
        "method": "classical",
    },
    options={
        "length": (1, 7),
        "interval": (0.01, 0.75),
        "steps": (1, 3),
    },
    combinations=(
        {"activation": "relu", "method": "three_eighths", "interval": 0.01, "steps": 5},
        {"activation": "identity", "steps": 1, "method": "three_eighths"},
    ),
)


def _arrays(rng, shape, size=1.0):
    """A field whose slope along p is about size."""
    d, s = shape.axes["d"], shape.axes["s"]
    scales = {
        "start": 1.0,
        "hidden_weights": size / np.sqrt(d),
        "hidden_times": 0.7,
        "hidden_biases": 0.7,
        "output_weights": 1.0 / np.sqrt(s),
        "output_times": 0.5,
        "output_biases": 0.5,
    }
    return tuple(scale * rng.standard_normal(getattr(shape, n)) for n, scale in scales.items())


@flow.regime
def bounded(rng, shape):
    """Neurons of tanh"""
    return Case(_arrays(rng, shape))


@flow.regime
def as_published(rng, shape):
    """Neurons of relu, by the rule of three eighths in short steps"""
    options = {"activation": "relu", "method": "three_eighths", "interval": 0.2, "steps": 5}
    return Case(_arrays(rng, shape), options)


@flow.regime(adversarial=True)
def linear_with_time(rng, shape):
    """A linear field that also grows with the time, in one step for each position"""
    options = {"activation": "identity", "steps": 1, "length": 5}
    return Case(_arrays(rng, shape, 0.7), options)


@flow.regime(adversarial=True)
def coarse_steps(rng, shape):
    """A bent field in steps so long that methods of one order differ"""
    options = {"interval": 1.5, "steps": 1, "length": 3, "method": "three_eighths"}
    return Case(_arrays(rng, shape, 1.5), options)


@flow.output_terms
def _states(*arrays, **options):
    """States that come near 0 do so from the largest, whose roundings they keep."""
    return [float(np.abs(flow_encoding(*map(wide, arrays), **options)).max(initial=0.0))]


@flow.gradient_terms
def _steps_that_cancel(g, *arrays, **options):
    """Rows that come near 0 do so from the largest, whose roundings they keep."""
    found = flow_encoding.vjp(g, *map(wide, arrays), **options)
    names = (argument.name for argument in flow_encoding.arguments)
    return {k: float(np.sqrt(np.square(x).sum())) for k, x in zip(names, found, strict=True)}


# ---------------------------------------------------------------------------------------- laws


def _size(case):
    """How large states and roundings of them may grow until the last position."""
    s, w, wt, wb, v, vt, vb = (np.abs(wide(x)) for x in case.arrays)
    time = case.options["interval"] * case.options["length"]
    slope = float(v.sum(axis=-1).max(initial=0.0) * w.sum(axis=-1).max(initial=0.0))
    hidden = float(wt.max(initial=0.0)) * time + float(wb.max(initial=0.0))
    drift = float(v.sum(axis=-1).max(initial=0.0)) * hidden
    drift += float(vt.max(initial=0.0)) * time + float(vb.max(initial=0.0))
    return 8.0 * (1.0 + float(s.max(initial=0.0)) + time * drift) * math.exp(min(slope * time, 90))


def _without_time(case):
    s, w, wt, wb, v, vt, vb = case.arrays
    return case.with_arrays(s, w, 0 * wt, wb, v, 0 * vt, vb)


@flow.law
def begins_at_the_start(f, case):
    """Position 0 is the start"""
    start = case.arrays[0]
    first = case.call(f)[..., 0, :]
    yield Claim(first, namespace(start).broadcast_to(start, first.shape), 0.0)


@flow.law
def goes_on_from_the_next_position(f, case):
    """From position 1 on it is the flow from there, with an interval's time in the biases"""
    _, w, wt, wb, v, vt, vb = case.arrays
    value, time = case.call(f), case.options["interval"]
    if case.options["length"] > 1:
        later = case.with_arrays(value[..., 1, :], w, wt, wb + time * wt, v, vt, vb + time * vt)
        later = later.with_options(length=case.options["length"] - 1)
        yield Claim(later.call(f), value[..., 1:, :], _size(case))


@flow.law
def positions_are_steps(f, case):
    """With a position at every step, each m-th of them is a position of m steps"""
    length, interval, m = (case.options[k] for k in ("length", "interval", "steps"))
    fine = case.with_options(length=(length - 1) * m + 1, interval=interval / m, steps=1)
    yield Claim(fine.call(f)[..., ::m, :], case.call(f), _size(case))


@flow.law
def the_unit_of_time(f, case):
    """A field twice as quick in half the interval goes the same way"""
    s, w, wt, wb, v, vt, vb = case.arrays
    quick = case.with_arrays(s, w, 2 * wt, wb, 2 * v, 4 * vt, 2 * vb)
    quick = quick.with_options(interval=case.options["interval"] / 2)
    yield Claim(quick.call(f), case.call(f), _size(case))


@flow.law
def time_is_one_more_feature(f, case):
    """A feature of slope 1 from 0 takes the place of the time in the neurons"""
    s, w, wt, wb, v, vt, vb = case.arrays
    plain = case.with_arrays(s, w, wt, wb, v, 0 * vt, vb)
    host = [wide(x) for x in (s, w, wt, v, vb)]
    start = np.concatenate([host[0], 0 * host[0][..., :1]], axis=-1)
    batch = np.broadcast_shapes(host[1].shape[:-2], host[2].shape[:-1])
    inputs = np.broadcast_to(host[1], (*batch, *host[1].shape[-2:]))
    times = np.broadcast_to(host[2], (*batch, host[2].shape[-1]))[..., None]
    weights = np.concatenate([inputs, times], axis=-1)
    outputs = np.concatenate([host[3], 0 * host[3][..., :1, :]], axis=-2)
    biases = np.concatenate([host[4], 0 * host[4][..., :1] + 1], axis=-1)
    more = (start, weights, 0 * host[2], wide(wb), outputs, 0 * biases, biases)
    dtype = to_host(s).dtype
    longer = case.with_arrays(*(like(x.astype(dtype), s) for x in more))
    yield Claim(longer.call(f)[..., :-1], plain.call(f), _size(case))


@flow.law
def linear_fields_have_a_matrix(f, case):
    """A linear field without time: each step adds its series up to the fourth power"""
    linear = _without_time(case).with_options(activation="identity")
    s, w, _, wb, v, _, vb = map(wide, linear.arrays)
    step = case.options["interval"] / case.options["steps"]
    matrix, constant = v @ w, (v @ wb[..., None])[..., 0] + vb
    p = s
    for _ in range((case.options["length"] - 1) * case.options["steps"]):
        term = step * ((matrix @ p[..., None])[..., 0] + constant)
        total = p + term
        for k in (2, 3, 4):
            term = step / k * (matrix @ term[..., None])[..., 0]
            total = total + term
        p = total
    last = linear.call(f)[..., -1, :]
    yield Claim(last, np.broadcast_to(p, last.shape), _size(case))


@flow.law
def without_states_it_is_a_quadrature(f, case):
    """Where slopes depend on the time alone, steps are Simpson's rule, or that of three eighths"""
    s, w, wt, wb, v, vt, vb = case.arrays
    value = wide(case.with_arrays(s, 0 * w, wt, wb, v, vt, vb).call(f))
    wt, wb, v, vt, vb = map(wide, (wt, wb, v, vt, vb))
    step = case.options["interval"] / case.options["steps"]
    parts = (1, 4, 1) if case.options["method"] == "classical" else (1, 3, 3, 1)
    bend = {"identity": lambda x: x, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
    total = np.broadcast_to(wide(s), value[..., 0, :].shape)
    for i in range((case.options["length"] - 1) * case.options["steps"]):
        for k, part in enumerate(parts):
            t = step * (i + k / (len(parts) - 1))
            hidden = bend[case.options["activation"]](wt * t + wb)
            slope = (v @ hidden[..., None])[..., 0] + vt * t + vb
            total = total + step * part / sum(parts) * slope
    yield Claim(value[..., -1, :], total, _size(case))


@flow.law
def neurons_in_any_order(f, case):
    """Neurons may be exchanged"""
    s, w, wt, wb, v, vt, vb = case.arrays
    turned = s, w[..., ::-1, :], wt[..., ::-1], wb[..., ::-1], v[..., ::-1], vt, vb
    yield Claim(case.with_arrays(*turned).call(f), case.call(f), _size(case))


# -------------------------------------------------------------------------------- closed forms


def _field(w, wt, wb, v, vt, vb):
    return tuple(np.array(x, dtype=float) for x in (w, wt, wb, v, vt, vb))


@flow.closed_form
def falling(rng, shape):
    """A slope of -t and one of 1: -t^2/2 and t, exactly"""
    field = _field(np.zeros((1, 2)), [0], [0], np.zeros((2, 1)), [-1, 0], [0, 1])
    options = {"length": 4, "interval": 2.0, "steps": 1, "activation": "tanh"}
    k = 2.0 * np.arange(4)
    return Case((np.zeros(2), *field), options), np.stack([-(k**2) / 2, k], axis=-1)


@flow.closed_form
def growing(rng, shape):
    """p' = p from 1 and from -1 through relu: (1 + 1 + 1/2 + 1/6 + 1/24)^k in steps of 1, and -1"""
    field = _field(np.eye(2), [0, 0], [0, 0], np.eye(2), [0, 0], [0, 0])
    options = {"length": 3, "interval": 2.0, "steps": 2, "activation": "relu"}
    powers = (65.0 / 24.0) ** np.array([0, 2, 4])
    answer = np.stack([powers, np.full(3, -1.0)], axis=-1)
    return Case((np.array([1.0, -1.0]), *field), options), answer


@flow.closed_form
def one_step_of_each_method(rng, shape):
    """p' = max(t - 1/2, 0) to t = 1: 1/12 by Simpson's rule, 1/8 by that of three eighths"""
    method = str(rng.choice(["classical", "three_eighths"]))
    field = _field([[0]], [1], [-0.5], [[1]], [0], [0])
    options = {"length": 2, "interval": 1.0, "steps": 1, "activation": "relu", "method": method}
    answer = 1 / 12 if method == "classical" else 1 / 8
    return Case((np.zeros(1), *field), options), np.array([[0.0], [answer]])


@flow.closed_form
def a_stage_of_each_method(rng, shape):
    """p' = max(p - 1, 0) from 1/2 with a drift of 1: stages written out by hand"""
    method = str(rng.choice(["classical", "three_eighths"]))
    # As one neuron, with the drift as the output's bias. Slopes of classical steps: 1 at 1/2,
    # 1 at 1, 1 at 1, 3/2 at 3/2. Of the others: 1 at 1/2, 1 at 5/6, 7/6 at 7/6, 5/3 at 5/3.
    field = _field([[1]], [0], [-1], [[1]], [0], [1])
    options = {"length": 2, "interval": 1.0, "steps": 1, "activation": "relu", "method": method}
    answer = 0.5 + (6.5 / 6 if method == "classical" else (1 + 3 * (1 + 7 / 6) + 5 / 3) / 8)
    return Case((np.full(1, 0.5), *field), options), np.array([[0.5], [answer]])
