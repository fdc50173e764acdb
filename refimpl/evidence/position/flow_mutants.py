"""Wrong variants of encodings by a differential equation."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.core import matvec
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.flow import flow
from refimpl.evidence.position.shared import OTHER
from refimpl.position.flow import flow_encoding

_ROWS = {
    "classical": ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
    "three_eighths": ((), (1 / 3,), (-1 / 3, 1), (1, -1, 1)),
}
_SHARES = {"classical": (1 / 6, 1 / 3, 1 / 3, 1 / 6), "three_eighths": (1 / 8, 3 / 8, 3 / 8, 1 / 8)}


def _terms(*arrays, **options):
    rows, shares = _ROWS[options["method"]], _SHARES[options["method"]]
    own = {"rows": rows, "shares": shares, "nodes": None, "keep": 1.0, "shortcut": 0.0}
    return own | {"arrays": arrays, "options": options}


def _solved(arrays, options, *, rows, shares, nodes, keep, shortcut):
    """The encoding by any Runge-Kutta method, with nodes that need not fit its rows."""
    start, w, wt, wb, v, vt, vb = arrays
    xp = namespace(start)
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


def _along_the_first(t):
    nodes = [sum(row) for row in t.rows]
    return [() if i == 0 else (c, *[0] * (i - 1)) for i, c in enumerate(nodes)]


book = Textbook(flow, _terms, _solved)
book.wrong("Steps go along the first slope: Euler's method", rows=((),), shares=(1,))
book.wrong(
    "Steps go along the slope of the middle: a method of order 2",
    rows=((), (1 / 2,)),
    shares=(0, 1),
)
wrong(
    flow,
    "The rule of three eighths, which torchdiffeq calls rk4, for the classical one, or reverse",
    options={"method": OTHER.get},
)
book.wrong("All four slopes of a step weigh the same", shares=(1 / 4,) * 4)
book.wrong(
    "The slopes are weighed as in the other method", shares=lambda t: _SHARES[OTHER[t.method]]
)
book.wrong("All stages move along the first slope, not along the one before", rows=_along_the_first)
book.wrong(
    "The last stage is taken half way, as the one before",
    rows=lambda t: [*t.rows[:-1], [a / 2 for a in t.rows[-1]]],
    nodes=lambda t: [*map(sum, t.rows[:-1]), 1],
)
book.wrong("All stages of a step have the time of its begin", nodes=(0, 0, 0, 0))
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
book.wrong("What a step adds takes the place of the state: the old one is missing", keep=0.0)


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
book.wrong("The state is added to its slope: a residual connection inside the field", shortcut=1.0)


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
