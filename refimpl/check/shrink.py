"""Make a failing case small: slice along its axes, drop options, round and zero numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from refimpl.check.candidate import Refusal
from refimpl.check.run import Run
from refimpl.check.trial import Trial
from refimpl.evidence import Case
from refimpl.signature import Core


def shrink(run: Run, trial: Trial, seconds: float = 1.0) -> Trial:
    """The smallest failing trial found in the time: each step keeps failing."""
    deadline = time.monotonic() + seconds
    best = trial
    progress = True
    while progress and time.monotonic() < deadline:
        progress = False
        for case in _smaller(run, best.problem.case):
            if time.monotonic() > deadline:
                break
            candidate = run.trial(replace(best.plan, case=case))
            if candidate is not None and _fails_alike(candidate, trial):
                best, progress = candidate, True
                break
    return best


def _fails_alike(found: Trial, original: Trial) -> bool:
    """Still failing, and not by raising unless the original raised."""
    raised, raises = (isinstance(t.found, Refusal) for t in (original, found))
    return not found.ok and raised == raises


def _smaller(run: Run, case: Case) -> Iterator[Case]:
    yield from _without_batch(run, case)
    for axis in run.formula.axes:
        yield from _sliced(run, case, axis)
    for name in case.options.keys() - run.result.fixed.keys():
        yield Case(case.arrays, {k: v for k, v in case.options.items() if k != name})
    for index, x in enumerate(case.arrays):
        for simpler in _simpler(x):
            arrays = list(case.arrays)
            arrays[index] = simpler
            yield case.with_arrays(*arrays)


def _cores(run: Run, case: Case) -> Iterator[tuple[str | int, np.ndarray, Core]]:
    for index, argument in enumerate(run.formula.arguments):
        yield index, case.arrays[index], argument.core
    for name, argument in run.formula.keywords.items():
        if isinstance(case.options.get(name), np.ndarray):
            yield name, case.options[name], argument.core


def _rebuilt(case: Case, changed: dict) -> Case:
    arrays = tuple(changed.get(i, x) for i, x in enumerate(case.arrays))
    return Case(arrays, case.options | {k: v for k, v in changed.items() if isinstance(k, str)})


def _without_batch(run: Run, case: Case) -> Iterator[Case]:
    ranks = [x.ndim - len(core) for _, x, core in _cores(run, case)]
    for place in range(max(ranks, default=0)):
        for keep in (slice(0, 1), slice(-1, None)):
            changed = {}
            for key, x, core in _cores(run, case):
                # Leading axes align at the right, so the first of the longest may be missing here.
                axis = place - (max(ranks) - (x.ndim - len(core)))
                if axis >= 0 and x.shape[axis] > 1:
                    changed[key] = x[(slice(None),) * axis + (keep,)]
            if changed:
                yield _rebuilt(case, changed)


def _sliced(run: Run, case: Case, axis: str) -> Iterator[Case]:
    size = next(
        x.shape[x.ndim - len(core) + place]
        for _, x, core in _cores(run, case)
        for place, a in enumerate(core)
        if a.name == axis and x.ndim >= len(core)
    )
    sizes = run.of.sizes[axis]
    for wanted in dict.fromkeys((sizes.fit(1), sizes.fit(size // 2), sizes.fit(max(size - 1, 1)))):
        if wanted >= size:
            continue
        for keep in (slice(0, wanted), slice(size - wanted, size)):
            changed = {}
            for key, x, core in _cores(run, case):
                index = [slice(None)] * x.ndim
                for place, a in enumerate(core):
                    position = x.ndim - len(core) + place
                    if a.name == axis and x.shape[position] == size:
                        index[position] = keep
                changed[key] = x[tuple(index)]
            yield _rebuilt(case, changed)


def _simpler(x: np.ndarray) -> Iterator[np.ndarray]:
    if x.dtype.kind != "f" or not np.isfinite(x).all():
        return
    for decimals in (0, 1):
        rounded = np.round(x, decimals)
        if not np.array_equal(rounded, x):
            yield rounded
    if x.any() and x.size > 1:
        zeroed = np.zeros_like(x)
        zeroed[(0,) * x.ndim] = 1.0
        if np.count_nonzero(x) > 1:
            yield zeroed
