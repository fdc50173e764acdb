"""Time every form of a formula beside torch's equivalent, in turns.

Turns let both see the same machine. One thread each. Ratios are medians over the turns; each entry
is compared with the answer first.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from refimpl import backend
from refimpl.check.autograd import asked_names
from refimpl.check.budget import Problem, as_outputs
from refimpl.check.candidate import Candidate, silence
from refimpl.check.peers import PEERS, Peer
from refimpl.check.question import cotangents
from refimpl.evidence import Case, evidence
from refimpl.formula import Formula, find, formulas

THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
SEQUENCES = ("n", "m")
FEATURES = 64
HEADS = 8
TOLERANCE = 0.01
"""Enough to tell that both compute the same thing; the table shows how exactly."""
SECONDS = 1.5


class Disagreement(ValueError):
    """What is timed does not compute the same thing."""


class Entry(NamedTuple):
    """Something to time: a name, a call, and how to read the call's result as host arrays."""

    label: str
    call: Callable
    outputs: Callable


class Timing(NamedTuple):
    """Median seconds, median ratio to the reference entry, largest relative error."""

    label: str
    seconds: float
    ratio: float
    error: float


def main(names: list[str], size: int) -> int:
    """The table for these formulas (default: all with several forms), on standard output."""
    if any(os.environ.get(name) != value for name, value in THREADS.items()):
        # BLAS reads its number of threads once, when NumPy is imported.
        command = [sys.executable, "-m", "refimpl", "bench", *names, "--size", str(size)]
        return subprocess.run(command, env=os.environ | THREADS, check=False).returncode
    records = [find(name) for name in names] or [f for f in formulas() if len(f.forms) > 1]
    print(HEADING)
    for formula in records:
        for dtype in ("float32", "float64"):
            for line in rows(formula, *default_sizes(formula, size), dtype):
                print(line, flush=True)
    return 0


HEADING = f"{'formula':24} {'size':26} {'type':8} {'entry':42} {'ms':>9} {'ratio':>6} {'error':>8}"


def default_sizes(formula: Formula, size: int) -> tuple[dict[str, int], tuple[int, ...]]:
    """Axes and leading axes: ``size`` positions in 8 heads of 64, or ``size`` problems at once."""
    of = evidence(formula)
    axes = {a: of.sizes[a]._replace(maximum=FEATURES).fit(FEATURES) for a in formula.axes}
    sequences = [a for a in formula.axes if a in SEQUENCES]
    # torch has its fast kernels of attention for four axes alone.
    return axes | dict.fromkeys(sequences, size), (1, HEADS) if sequences else (size,)


def rows(
    formula: Formula,
    axes: dict[str, int],
    batch: tuple[int, ...],
    dtype: str,
    gradients: bool = False,
) -> Iterator[str]:
    """Lines of the table: our forms alone, or beside each torch peer under the peer's options."""
    peers = [p for p in PEERS if p.formula == formula.name and p.library == "torch"]
    rivals = [p for p in peers if p.installed]
    size = ",".join([*(f"{k}={v}" for k, v in axes.items()), *map(str, batch)])
    name = formula.name + (" +grad" if gradients else "")
    head = f"{name:24} {size:26} {dtype:8}"
    for rival in rivals or [None]:
        try:
            timings = contest(formula, axes, batch, dtype, rival, gradients)
        except Disagreement as found:
            known = rival.because.get(dtype, "")
            yield f"{head} {rival.name:42} {found}" + (f" ({known})" if known else "")
            continue
        for found in timings:
            yield (
                f"{head} {found.label:42} {found.seconds * 1e3:9.3f} {found.ratio:6.2f} "
                f"{found.error:8.1e}"
            )


def contest(
    formula: Formula,
    axes: dict[str, int],
    batch: tuple[int, ...],
    dtype: str,
    rival: Peer | None,
    gradients: bool = False,
    seconds: float | None = None,
) -> list[Timing]:
    """Our forms and one rival on the same inputs; ratios are to the rival, or to the plain form."""
    problem = sampled(formula, axes, batch, dtype, rival)
    answer = problem.answer()
    names = []
    if gradients:
        g = cotangents(problem, answer, 0)
        names = asked_names(problem)
        packed = g if len(answer) > 1 else g[0]
        case = problem.case
        gradients_of_plain = formula.vjp(packed, *case.arrays, form="plain", **case.options)
        answer = as_outputs(gradients_of_plain)[: len(names)]
        entries = list(_our_gradients(problem, packed, len(names)))
    else:
        entries = list(_our_values(problem))
    if rival is not None:
        entries.append(_of_torch(problem, rival, g[0] if gradients else None, names))
    errors = [relative_error(entry, answer) for entry in entries]
    times = in_turns([entry.call for entry in entries], SECONDS if seconds is None else seconds)
    reference = times[-1] if rival is not None else times[0]
    return [
        Timing(
            entry.label,
            statistics.median(own),
            statistics.median(a / b for a, b in zip(own, reference, strict=True)),
            error,
        )
        for entry, own, error in zip(entries, times, errors, strict=True)
    ]


def sampled(
    formula: Formula, axes: dict[str, int], batch: tuple[int, ...], dtype: str, rival: Peer | None
) -> Problem:
    """Inputs of the first regime, which is the ordinary one, under the rival's conventions."""
    of = evidence(formula)
    regime = next(iter(of.regimes.values()))
    case = regime.sample(np.random.default_rng(0), formula.shapes(axes, batch))
    options = of.fixed | case.options | ({} if rival is None else rival.options)
    return Problem.of(formula, Case(tuple(map(np.asarray, case.arrays)), options), dtype)


def _our_values(problem: Problem) -> Iterator[Entry]:
    formula, case = problem.formula, problem.in_precision()
    for name in formula.forms:

        def call(name=name):
            return formula(*case.arrays, form=name, **case.options)

        yield Entry(_label(problem, name), call, as_outputs)


def _our_gradients(problem: Problem, g, count: int) -> Iterator[Entry]:
    formula, case = problem.formula, problem.in_precision()
    convert = np.dtype(problem.dtype).type
    g = tuple(map(convert, g)) if isinstance(g, tuple) else convert(g)
    for name in [n for n, form in formula.forms.items() if form.vjp is not None]:

        def call(name=name):
            return formula.vjp(g, *case.arrays, form=name, **case.options)

        yield Entry(_label(problem, name), call, lambda found: as_outputs(found)[:count])


def _label(problem: Problem, name: str) -> str:
    """The form's name, with a star where it is the one taken at this size."""
    formula, case = problem.formula, problem.case
    arrays, options, bound = formula.prepare(case.arrays, case.options)
    return name + (" *" if formula.choose(None, bound, options).name == name else "")


def _of_torch(problem: Problem, rival: Peer, g: np.ndarray | None, names: list[str]) -> Entry:
    import torch

    torch.set_num_threads(1)
    candidate = Candidate(rival.name, rival.function, "torch")
    arrays, keywords = candidate.prepare(problem)

    def values():
        with silence(), torch.no_grad():
            return candidate.function(*arrays, **keywords)

    if g is None:
        return Entry(rival.name, values, lambda found: as_outputs(backend.to_host(found)))
    places = [[a.name for a in problem.formula.arguments].index(name) for name in names]
    wanted = [arrays[place].requires_grad_(True) for place in places]
    seed = torch.from_numpy(g).to(wanted[0].dtype)

    def values_and_gradients():
        with silence():
            return torch.autograd.grad(candidate.function(*arrays, **keywords), wanted, seed)

    def on_host(found):
        return as_outputs(tuple(map(backend.to_host, found)))

    return Entry(rival.name, values_and_gradients, on_host)


def relative_error(entry: Entry, answer: tuple[np.ndarray, ...]) -> float:
    """Largest error relative to an output's largest entry; Disagreement beyond rounding."""
    worst = 0.0
    for found, right in zip(entry.outputs(entry.call()), answer, strict=True):
        error = np.abs(found - right).max(initial=0.0) / max(np.abs(right).max(initial=0.0), 1e-300)
        worst = max(worst, float(error))
    if not worst <= TOLERANCE:
        raise Disagreement(f"disagrees: relative error {worst:.3g}")
    return worst


def in_turns(calls: list[Callable], seconds: float, rounds: int = 3) -> list[list[float]]:
    """Times of each call in rounds A B C, A B C, ...: so many at least, and about this long."""
    times: list[list[float]] = [[] for _ in calls]
    deadline = time.perf_counter() + seconds
    while len(times[0]) < rounds or time.perf_counter() < deadline:
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            own.append(time.perf_counter() - start)
    return times


def overhead(formula: Formula, rounds: int = 2000) -> float:
    """Seconds that checking the arguments costs per call."""
    axes = evidence(formula).fit(dict.fromkeys(formula.axes, 2))
    case = sampled(formula, axes, (), "float64", None).case
    times = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(rounds):
            formula.prepare(case.arrays, case.options)
        times.append((time.perf_counter() - start) / rounds)
    return min(times)
