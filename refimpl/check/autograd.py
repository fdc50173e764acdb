"""Gradients of candidates, by their own library's autograd or their own backward function."""

from __future__ import annotations

import numpy as np

from refimpl.check.budget import Problem
from refimpl.check.candidate import CONVERTERS, Answer, Candidate, CannotRun, Refusal, read, silence


def candidate_gradients(candidate: Candidate, problem: Problem, g: tuple) -> Answer | Refusal:
    """Gradients of the positional real arrays, in their order."""
    try:
        with silence():
            if candidate.gradient_function is not None:
                return _by_function(candidate, problem, g)
            if candidate.library == "torch":
                return _by_torch(candidate, problem, g)
            if candidate.library == "jax":
                return _by_jax(candidate, problem, g)
    except CannotRun:
        raise
    except Exception as error:  # whatever a candidate raises is a finding about it
        return Refusal(error)
    raise CannotRun("gradients need torch or JAX arrays, or --vjp module:function")


def positional_names(problem: Problem) -> list[str]:
    """Positional float arrays with a gradient: what autograd can be asked for."""
    pairs = zip(problem.formula.arguments, problem.case.arrays, strict=True)
    return [
        a.name for a, x in pairs if a.name in problem.formula.differentiable and x.dtype.kind == "f"
    ]


def _by_function(candidate: Candidate, problem: Problem, g: tuple) -> Answer:
    arrays, keywords = candidate.prepare(problem)
    convert = CONVERTERS[candidate.library]
    converted = tuple(convert(x, problem.dtype) for x in g)
    result = candidate.gradient_function(problem.formula.packed(converted), *arrays, **keywords)
    every, wanted = problem.formula.pulled(problem.case), positional_names(problem)
    if isinstance(result, (tuple, list)) and len(result) == len(every):
        result = tuple(x for name, x in zip(every, result, strict=True) if name in wanted)
    return read(result, len(wanted))


def _by_torch(candidate: Candidate, problem: Problem, g: tuple) -> Answer:
    import torch

    arrays, keywords = candidate.prepare(problem)
    wanted = _wanted(problem, arrays)
    for x in wanted:
        x.requires_grad_(True)
    result = candidate.function(*arrays, **keywords)
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    pulled = [y for y in outputs[: len(g)] if isinstance(y, torch.Tensor)]
    seeds = [torch.from_numpy(np.array(x)).to(y.dtype) for x, y in zip(g, pulled, strict=True)]
    found = torch.autograd.grad(pulled, wanted, seeds, allow_unused=True)
    zeros = [torch.zeros_like(x) if y is None else y for x, y in zip(wanted, found, strict=True)]
    return read(tuple(zeros), len(zeros))


def _by_jax(candidate: Candidate, problem: Problem, g: tuple) -> Answer:
    import jax
    import jax.numpy as jnp

    arrays, keywords = candidate.prepare(problem)
    names = [a.name for a in problem.formula.arguments]
    places = [names.index(name) for name in positional_names(problem)]

    def of_wanted(*wanted):
        full = list(arrays)
        for place, x in zip(places, wanted, strict=True):
            full[place] = x
        result = candidate.function(*full, **keywords)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        return tuple(outputs[: len(g)])

    outputs, pull = jax.vjp(of_wanted, *(arrays[place] for place in places))
    found = pull(tuple(jnp.asarray(x, dtype=y.dtype) for x, y in zip(g, outputs, strict=True)))
    return read(tuple(found), len(places))


def _wanted(problem: Problem, arrays: list) -> list:
    names = [a.name for a in problem.formula.arguments]
    return [arrays[names.index(name)] for name in positional_names(problem)]
