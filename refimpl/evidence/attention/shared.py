"""What evidence of several formulas of attention shares: sizes, alignments, laws of sequences."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim

POSITIVE = ("elu_plus_one", "relu", "squared_relu", "exponential", "softmax")
"""Feature maps without negative features."""


def largest(x) -> float:
    """The largest absolute value, or 1 where that is more; NaN counts for nothing."""
    return float(np.abs(np.nan_to_num(np.asarray(to_host(x), dtype=float))).max(initial=1.0))


def other_corner(causal):
    """Alignment at the other corner, for what says one."""
    return {"top_left": "bottom_right", "bottom_right": "top_left"}.get(causal, causal)


def unscaled(options, arrays):
    """Options with a scale of 1 where none is asked for."""
    return options if options.get("scale") is not None else options | {"scale": 1.0}


# ---------------------------------------------------------------- sequences that carry a state


def sequence_size(case) -> float:
    """The largest product of a query, a key and a value, times their number."""
    sizes = [np.abs(np.asarray(to_host(x), dtype=float)).max(initial=1.0) for x in case.arrays]
    largest = float(np.prod([s for s in sizes if s < 1e6]))
    state = case.options.get("state")
    state = 1.0 if state is None else 1.0 + float(np.abs(to_host(state)).max(initial=0.0))
    return largest * state * sum(case.arrays[0].shape[-2:])


def sequence_arrays(of):
    """Which arrays have a position axis, and where it is."""
    places = []
    for argument in of.formula.arguments:
        names = [axis.name for axis in argument.core]
        places.append(names.index("n") - len(names) if "n" in names else None)
    return places


def _cut(x, place, part):
    if place is None:
        return x
    index = (..., part) + (slice(None),) * (-place - 1)
    return x[index]


def resumed_anywhere(of):
    """The law that a sequence may be cut, for one of the formulas."""
    places = sequence_arrays(of)
    options_cut = {
        name: [axis.name for axis in argument.core] == ["n"]
        for name, argument in of.formula.keywords.items()
    }

    def resumed_anywhere(f, case):
        """A sequence in two parts, the second with the state of the first, gives the same"""
        n = case.arrays[0].shape[-2]
        half = n // 2

        def part(span):
            options = {
                k: v[..., span] if options_cut.get(k) and v is not None else v
                for k, v in case.options.items()
            }
            arrays = (_cut(x, p, span) for x, p in zip(case.arrays, places, strict=True))
            return Case(tuple(arrays), options)

        first, state = part(slice(0, half)).call(f)
        second, last = part(slice(half, n)).with_options(state=state).call(f)
        output, expected = case.call(f)
        xp = namespace(output)
        yield Claim(xp.concatenate([first, second], axis=-2), output, sequence_size(case))
        yield Claim(last, expected, sequence_size(case))

    return resumed_anywhere


def linear_in_values(place):
    """The law that the result is linear in the array at this place, from a state of zeros."""

    def linear_in_values(f, case):
        """Values and state twice as large double output and state"""
        arrays = list(case.arrays)
        arrays[place] = 2.0 * arrays[place]
        state = case.options.get("state")
        options = {} if state is None else {"state": 2.0 * state}
        doubled = case.with_arrays(*arrays).with_options(**options)
        for a, b in zip(doubled.call(f), case.call(f), strict=True):
            yield Claim(a, 2.0 * b, sequence_size(case))

    return linear_in_values


def no_look_ahead(places):
    """The law that the first output does not see later positions."""

    def no_look_ahead(f, case):
        """The first output depends on the first position alone"""
        if case.arrays[0].shape[-2] == 0:
            return
        first = slice(0, 1)
        arrays = (_cut(x, p, first) for x, p in zip(case.arrays, places, strict=True))
        options = dict(case.options)
        if options.get("log_decay") is not None:
            options["log_decay"] = options["log_decay"][..., :1]
        alone = Case(tuple(arrays), options)
        yield Claim(case.call(f)[0][..., :1, :], alone.call(f)[0], sequence_size(case))

    return no_look_ahead
