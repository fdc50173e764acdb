"""Gradients of candidates, by their own library's autograd or their own backward function."""

from __future__ import annotations

import numpy as np

from refimpl.check.budget import REPLICATES, Problem, as_outputs
from refimpl.check.candidate import CONVERTERS, Answer, Candidate, CannotRun, Refusal, read, silence
from refimpl.evidence import Evidence
from refimpl.numerics import cast, round_to


def cotangents(problem: Problem, answer, seed: int) -> tuple[np.ndarray, ...]:
    """Random cotangents in the precision, zero where the output is not finite; never ones.

    Under ones the gradient of a softmax vanishes, and any wrong one passes.
    """
    rng = np.random.default_rng([seed, 1])
    draws = (np.where(np.isfinite(y), rng.standard_normal(y.shape), 0.0) for y in answer)
    return tuple(np.asarray(round_to(g, problem.dtype), dtype=np.float64) for g in draws)


def _packed(problem: Problem, g: tuple):
    return g if len(problem.formula.signature.outputs) > 1 else g[0]


def reference(problem: Problem, g: tuple) -> dict[str, np.ndarray]:
    """Name -> gradient in float64, of every array that has one in this case."""
    gradients = problem.formula.vjp(
        _packed(problem, g), *problem.case.arrays, **problem.case.options
    )
    return dict(zip(given_names(problem), as_outputs(gradients), strict=True))


def given_names(problem: Problem) -> list[str]:
    """Differentiable arrays that the case passes as arrays, in the order of the gradients."""
    formula = problem.formula
    return [
        name
        for name in formula.differentiable
        if name not in formula.keywords or isinstance(problem.case.options.get(name), np.ndarray)
    ]


def term_sizes(of: Evidence, problem: Problem, g: tuple, names: list[str]) -> list[float]:
    """The size of the terms of each gradient, 0 where the evidence does not say."""
    if of.gradient_sizes is None:
        return [0.0] * len(names)
    with np.errstate(all="ignore"):
        sizes = of.gradient_sizes(_packed(problem, g), *problem.case.arrays, **problem.case.options)
    return [float(sizes.get(name, 0.0)) for name in names]


def baseline_runs(problem: Problem, g: tuple, names: list[str], seed: int, strict: bool = False):
    """As for values: our own gradients in the precision, on the inputs and on their neighbours.

    Cotangents have neighbours too: a gradient that only adds them up has no other input.
    """
    rng = np.random.default_rng(seed)
    moved = [(problem.nudged(rng), g) for _ in range(REPLICATES)]
    pulled = [(problem.case, tuple(problem.nudge(rng, x) for x in g)) for _ in range(REPLICATES)]
    every = given_names(problem)
    runs = []
    for form in ["plain"] if strict else problem.formula.forms:
        for case, near in ((problem.case, g), *moved, *pulled):
            case = problem.in_precision(case)
            low = tuple(cast(x, problem.dtype) for x in near)
            try:
                found = problem.formula.vjp(
                    _packed(problem, low), *case.arrays, form=form, **case.options
                )
            except (np.linalg.LinAlgError, ValueError, FloatingPointError):
                continue
            found = dict(zip(every, as_outputs(found), strict=True))
            runs.append(tuple(found[name] for name in names))
    return runs


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
    result = candidate.gradient_function(_packed(problem, converted), *arrays, **keywords)
    every, wanted = given_names(problem), positional_names(problem)
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
