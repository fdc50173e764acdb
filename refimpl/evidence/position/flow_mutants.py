"""Wrong variants of encodings by a differential equation."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.core import matvec
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.flow import flow
from refimpl.position.flow import flow_encoding

_ROWS = {
    "classical": ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
    "three_eighths": ((), (1 / 3,), (-1 / 3, 1), (1, -1, 1)),
}
_SHARES = {"classical": (1 / 6, 1 / 3, 1 / 3, 1 / 6), "three_eighths": (1 / 8, 3 / 8, 3 / 8, 1 / 8)}


def _solved(arrays, options, *, rows=None, shares=None, nodes=None, keep=1.0, shortcut=0.0):
    """The encoding by any Runge-Kutta method, with nodes that need not fit its rows."""
    start, w, wt, wb, v, vt, vb = arrays
    xp, method = namespace(start), options["method"]
    rows = _ROWS[method] if rows is None else rows
    shares = _SHARES[method] if shares is None else shares
    nodes = [sum(row) for row in rows] if nodes is None else nodes
    bend = {"identity": lambda x: x, "tanh": xp.tanh, "relu": lambda x: xp.maximum(x, 0)}

    def slope(p, t):
        hidden = bend[options["activation"]](matvec(w, p) + t * wt + wb)
        return matvec(v, hidden) + t * vt + vb + shortcut * p

    step = options["interval"] / options["steps"]
    states = [start + 0 * slope(start, 0.0)]
    for i in range((options["length"] - 1) * options["steps"]):
        slopes = []
        for row, node in zip(rows, nodes, strict=True):
            moves = (a * k for a, k in zip(row, slopes, strict=True))
            slopes.append(slope(states[-1] + step * sum(moves), (i + node) * step))
        total = sum(b * k for b, k in zip(shares, slopes, strict=True))
        states.append(keep * states[-1] + step * total)
    return xp.stack(states[:: options["steps"]], axis=-2)


@flow.mutant
def euler(*arrays, **options):
    """Steps go along the first slope: Euler's method"""
    return _solved(arrays, options, rows=((),), shares=(1,))


@flow.mutant
def midpoint(*arrays, **options):
    """Steps go along the slope of the middle: a method of order 2"""
    return _solved(arrays, options, rows=((), (1 / 2,)), shares=(0, 1))


@flow.mutant
def the_other_method(*arrays, method, **options):
    """The rule of three eighths, which torchdiffeq calls rk4, for the classical one, or reverse"""
    other = "classical" if method == "three_eighths" else "three_eighths"
    return flow_encoding(*arrays, method=other, **options)


@flow.mutant
def equal_shares(*arrays, **options):
    """All four slopes of a step weigh the same"""
    return _solved(arrays, options, shares=(1 / 4,) * 4)


@flow.mutant
def shares_of_the_other_method(*arrays, **options):
    """The slopes are weighed as in the other method"""
    other = "classical" if options["method"] == "three_eighths" else "three_eighths"
    return _solved(arrays, options, shares=_SHARES[other])


@flow.mutant
def stages_along_the_first_slope(*arrays, **options):
    """All stages move along the first slope, not along the one before"""
    nodes = [sum(row) for row in _ROWS[options["method"]]]
    rows = [() if i == 0 else (c, *[0] * (i - 1)) for i, c in enumerate(nodes)]
    return _solved(arrays, options, rows=rows)


@flow.mutant
def last_stage_half_way(*arrays, **options):
    """The last stage is taken half way, as the one before"""
    rows = list(_ROWS[options["method"]])
    rows[-1] = tuple(a / 2 for a in rows[-1])
    return _solved(arrays, options, rows=rows, nodes=[*map(sum, rows[:-1]), 1])


@flow.mutant
def time_stands_still_in_a_step(*arrays, **options):
    """All stages of a step have the time of its begin"""
    return _solved(arrays, options, nodes=(0, 0, 0, 0))


wrong(
    flow,
    "The time is 0 everywhere",
    arrays={"hidden_times": lambda x: 0 * x, "output_times": lambda x: 0 * x},
)


@flow.mutant
def time_counts_steps(*arrays, **options):
    """The time is the number of steps, not their length in all"""
    s, w, wt, wb, v, vt, vb = arrays
    step = options["interval"] / options["steps"]
    return flow_encoding(s, w, wt / step, wb, v, vt / step, vb, **options)


wrong(flow, "The interval is ignored: positions are 1 apart", options={"interval": 1.0})


@flow.mutant
def steps_as_long_as_the_interval(*arrays, interval, steps, **options):
    """Each of the steps is as long as the interval"""
    return flow_encoding(*arrays, interval=interval * steps, steps=steps, **options)


wrong(
    flow,
    "One step leads to the next position, whatever their number",
    options={"steps": lambda x: 1 if x > 1 else 2},
)


@flow.mutant
def slope_for_the_state(*arrays, **options):
    """What a step adds takes the place of the state: the old one is missing"""
    return _solved(arrays, options, keep=0.0)


@flow.mutant
def begins_a_position_late(*arrays, length, **options):
    """The first position is an interval after the start"""
    return flow_encoding(*arrays, length=length + 1, **options)[..., 1:, :]


@flow.mutant
def backwards_in_time(s, w, wt, wb, v, vt, vb, **options):
    """The flow runs backwards: steps are subtracted"""
    return flow_encoding(s, w, -wt, wb, -v, vt, -vb, **options)


wrong(
    flow,
    "States are bent by tanh as well, as those of a recurrent network",
    output=lambda y: namespace(y).concatenate(
        [y[..., :1, :], namespace(y).tanh(y[..., 1:, :])], axis=-2
    ),
)


@flow.mutant
def shortcut_in_the_field(*arrays, **options):
    """The state is added to its slope: a residual connection inside the field"""
    return _solved(arrays, options, shortcut=1.0)


# ----------------------------------------------------------------------------------- gradients


@flow.mutant(gradient=True)
def of_the_start_only(g, *arrays, **options):
    """Cotangents do not pass through steps to the start: it gets its own only"""
    found = flow_encoding.vjp(g, *arrays, **options)
    return (g[..., 0, :], *found[1:])


@flow.mutant(gradient=True)
def of_the_last_position_only(g, *arrays, **options):
    """Only the last position's cotangent goes back"""
    last = namespace(g).zeros_like(g)
    last[..., -1, :] = g[..., -1, :]
    return flow_encoding.vjp(last, *arrays, **options)


@flow.mutant(gradient=True)
def of_finer_steps(g, *arrays, **options):
    """The gradient is that of finer steps than the encoding's, as of a continuous adjoint"""
    return flow_encoding.vjp(g, *arrays, **options | {"steps": 4 * options["steps"]})


@flow.mutant(gradient=True)
def slope_of_the_activation_missing(g, *arrays, **options):
    """The slope of the activation is missing"""
    return flow_encoding.vjp(g, *arrays, **options | {"activation": "identity"})


@flow.mutant(gradient=True)
def times_as_biases(g, *arrays, **options):
    """The gradients of the weights of the time lack the time"""
    found = list(flow_encoding.vjp(g, *arrays, **options))
    found[2], found[5] = found[3], found[6]
    return tuple(found)


@flow.mutant(gradient=True)
def length_of_steps_missing(g, *arrays, **options):
    """The gradients of the field lack the length of a step"""
    start, *rest = flow_encoding.vjp(g, *arrays, **options)
    step = options["interval"] / options["steps"]
    return (start, *(x / step for x in rest))
