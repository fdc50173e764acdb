"""The measurements of the project's targets, beside what a user would otherwise take.

A measurement is a list of entries, ours first, that are called in turns on the same inputs: every
entry sees the same machine. Ratios are medians over the turns of our time over the entry's, so that
below 1 we are faster.
"""

from __future__ import annotations

import importlib.util
import statistics
import tracemalloc
from collections.abc import Callable, Iterator
from typing import NamedTuple

from refimpl.check.bench import Disagreement, Entry, in_turns, relative_error
from refimpl.check.budget import as_outputs

HEADING = (
    f"{'job':34} {'size':24} {'type':8} {'entry':42} {'ms':>10} {'ours/it':>7} {'error':>8} "
    f"{'peak MiB':>9}"
)


SECONDS = 1.5
"""How long the entries of one job take turns, at least; a quick run needs less."""


class Job(NamedTuple):
    """What is computed, at which size and in which precision."""

    name: str
    size: str
    dtype: str


class Rival(NamedTuple):
    """A public implementation: what it needs, how it is called, and its peak memory if known."""

    label: str
    requires: tuple[str, ...]
    call: Callable
    peak: Callable | None = None


def ours(call: Callable, label: str = "refimpl") -> Entry:
    return Entry(label, call, as_outputs)


def contest(
    job: Job,
    entries: list[Entry],
    rivals: list[Rival],
    answer: tuple | None = None,
    seconds: float | None = None,
    rounds: int = 3,
    memory: bool = False,
) -> Iterator[str]:
    """Lines of the table; those who are not installed, or disagree, are named and left out.

    Errors are relative to the answer, by default that of our first entry.
    """
    head = f"{job.name:34} {job.size:24} {job.dtype:8}"
    installed = [r for r in rivals if all(map(importlib.util.find_spec, r.requires))]
    if answer is None:
        answer = entries[0].outputs(entries[0].call())
    everyone = [(entry, numpy_peak, relative_error(entry, answer)) for entry in entries]
    for rival in installed:
        entry = Entry(rival.label, rival.call, _on_host)
        try:
            everyone.append((entry, rival.peak, relative_error(entry, answer)))
        except Disagreement as found:
            yield f"{head} {rival.label:42} {found}"
    seconds = SECONDS if seconds is None else seconds
    times = in_turns([entry.call for entry, _, _ in everyone], seconds, rounds)
    for (entry, peak, error), own in zip(everyone, times, strict=True):
        ratio = statistics.median(a / b for a, b in zip(times[0], own, strict=True))
        extra = f"{peak(entry.call) / 2**20:9.1f}" if memory and peak is not None else ""
        milliseconds = 1e3 * statistics.median(own)
        yield f"{head} {entry.label:42} {milliseconds:10.3f} {ratio:7.2f} {error:8.1e} {extra}"
    for rival in rivals:
        if rival not in installed:
            yield f"{head} {rival.label:42} not installed ({', '.join(rival.requires)})"


def _on_host(found) -> tuple:
    """What torch or NumPy returned, one array or several, as outputs."""
    from refimpl.backend import to_host

    found = found if isinstance(found, tuple) else (found,)
    return as_outputs(tuple(to_host(x) for x in found))


def on_torch(*arrays):
    """Arrays as torch tensors, on one thread."""
    import torch

    torch.set_num_threads(1)
    return tuple(torch.from_numpy(x) for x in arrays)


# ------------------------------------------------------------------------------------- memory


def numpy_peak(call: Callable) -> int:
    """The most bytes that a call holds at a time beyond its arguments, its result included."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def torch_peak(call: Callable) -> int:
    """The same of torch's allocator, from its profiler; what MKL takes for itself is in neither."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    events = found.profiler.kineto_results.events()
    steps = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = most = 0
    for _, step in steps:
        held += step
        most = max(most, held)
    return most
