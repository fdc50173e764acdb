"""Gradients of candidates, by their own library's autograd or their own backward function."""

from __future__ import annotations

import numpy as np

from refimpl.check.budget import Problem
from refimpl.check.candidate import (
    CONVERTERS,
    FINDINGS,
    TWO_FORWARDS,
    Answer,
    Candidate,
    CannotRun,
    Refusal,
    read,
    silence,
)


def candidate_gradients(
    candidate: Candidate, problem: Problem, g: tuple, memory: str = ""
) -> Answer | Refusal:
    """Gradients of the arrays that are asked for, in their order."""
    if candidate.gradient_function is None and candidate.library not in ("torch", "jax"):
        raise CannotRun("gradients need torch or JAX arrays, or --vjp module:function")
    formula = problem.formula
    g = tuple(candidate.turned(x, c) for x, c in zip(g, formula.signature.outputs, strict=True))
    try:
        with silence():
            if candidate.gradient_function is not None:
                found = _by_function(candidate, problem, g, memory)
            elif candidate.library == "torch":
                found = _by_torch(candidate, problem, g, memory)
            else:
                found = _by_jax(candidate, problem, g)
    except CannotRun:
        raise
    except FINDINGS as error:
        return Refusal(error)
    arrays = {a.name: a.core for a in formula.arguments}
    return candidate.turned_back(found, [arrays.get(name, ()) for name in asked_names(problem)])


def asked_names(problem: Problem) -> list[str]:
    """Float arrays of the case that have a gradient, in the order of the formula's gradients."""
    formula, case = problem.formula, problem.case
    given = formula.by_name(case.arrays, case.options)
    return [name for name in formula.pulled(case.options) if given[name].dtype.kind == "f"]


def _by_function(candidate: Candidate, problem: Problem, g: tuple, memory: str) -> Answer:
    arrays, keywords = candidate.prepare(problem, memory)
    convert = CONVERTERS[candidate.library]
    converted = tuple(convert(x, problem.dtype) for x in g)
    result = candidate.gradient_function(problem.formula.packed(converted), *arrays, **keywords)
    every, wanted = problem.formula.pulled(problem.case.options), asked_names(problem)
    if isinstance(result, (tuple, list)) and len(result) == len(every):
        result = tuple(x for name, x in zip(every, result, strict=True) if name in wanted)
    return read(result, len(wanted))


def _by_torch(candidate: Candidate, problem: Problem, g: tuple, memory: str) -> Answer:
    import torch

    arrays, keywords = candidate.prepare(problem, memory)
    given = problem.formula.by_name(arrays, keywords)
    wanted = [given[name] for name in asked_names(problem)]
    for x in wanted:
        x.requires_grad_(True)
    result = candidate.call(arrays, keywords)
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    if memory == TWO_FORWARDS:
        # What the backward needs must not lie where the next forward writes.
        with torch.no_grad():
            others = [-x if x.is_floating_point() else x for x in arrays]
        candidate.call(others, keywords)
    pulled = [y for y in outputs[: len(g)] if isinstance(y, torch.Tensor)]
    seeds = [torch.from_numpy(np.array(x)).to(y.dtype) for x, y in zip(g, pulled, strict=True)]
    found = torch.autograd.grad(pulled, wanted, seeds, allow_unused=True)
    zeros = [torch.zeros_like(x) if y is None else y for x, y in zip(wanted, found, strict=True)]
    return read(tuple(zeros), len(zeros))


def _by_jax(candidate: Candidate, problem: Problem, g: tuple) -> Answer:
    import jax
    import jax.numpy as jnp

    arrays, keywords = candidate.prepare(problem)
    given, names = problem.formula.by_name(arrays, keywords), asked_names(problem)

    def of_wanted(*wanted):
        changed = given | dict(zip(names, wanted, strict=True))
        full = [changed.pop(argument.name) for argument in problem.formula.arguments]
        result = candidate.call(full, changed)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        return tuple(outputs[: len(g)])

    outputs, pull = jax.vjp(of_wanted, *(given[name] for name in names))
    found = pull(tuple(jnp.asarray(x, dtype=y.dtype) for x, y in zip(g, outputs, strict=True)))
    return read(tuple(found), len(names))
