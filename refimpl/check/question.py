"""The two things that can be asked of a candidate, its values and its gradients, with one face.

A question has the names of what it asks for, the right answer with its bounds, the candidate's
answer, and what a wrong variant would have answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from refimpl.check.autograd import asked_names, candidate_gradients
from refimpl.check.budget import (
    Bound,
    OwnRun,
    Problem,
    allowed_forms,
    as_outputs,
    bounds,
    budget_of,
    replicates,
    value_bounds,
)
from refimpl.check.candidate import Candidate, Refusal
from refimpl.check.trial import Plan, Trial
from refimpl.evidence import Evidence, Mutant
from refimpl.numerics import cast, round_to


class Values:
    """What does the function return?"""

    gradients = False

    def __init__(self, of: Evidence, seed: int = 0, strict: bool = False):
        self.of, self.seed, self.strict = of, seed, strict

    def asked(self, plan: Plan, problem: Problem) -> Trial:
        """The question and its answer, without a candidate and without bounds."""
        answer = problem.answer()
        names = ["output"] if len(answer) == 1 else [f"output {i}" for i in range(len(answer))]
        return Trial(plan, problem, answer, names)

    def trial(self, plan: Plan, problem: Problem, candidate: Candidate) -> Trial:
        asked = self.asked(plan, problem)
        found = candidate(problem, plan.memory)
        if isinstance(found, Refusal):
            return replace(asked, found=found)
        limits = value_bounds(self.of, problem, asked.answer, self.seed, self.strict)
        return replace(asked, bounds=limits, found=found)

    def mutants(self) -> dict[str, Mutant]:
        return self.of.value_mutants()

    def of_mutant(self, mutant: Mutant, trial: Trial) -> tuple[np.ndarray, ...]:
        """What a wrong variant gives on a trial's inputs, computed in float64."""
        with np.errstate(all="ignore"):
            return as_outputs(trial.problem.case.call(mutant.body))

    def of_case(self, trial: Trial, case) -> tuple[np.ndarray, ...]:
        """The right answer for another case."""
        return Problem(self.of.formula, case, trial.problem.dtype).answer()


class Gradients:
    """What does its backward pass return, for random cotangents?"""

    gradients = True

    def __init__(self, of: Evidence, seed: int = 0, strict: bool = False):
        self.of, self.seed, self.strict = of, seed, strict

    def asked(self, plan: Plan, problem: Problem) -> Trial | None:
        """The question and its answer; None where nothing can be pulled back."""
        answer = problem.answer()
        names = asked_names(problem)
        if not names or any(y.size and not np.isfinite(y).any() for y in answer):
            return None
        g = cotangents(problem, answer, self.seed)
        wanted = _named(problem, g, names)
        return Trial(plan, problem, wanted, [f"gradient of {n}" for n in names], g)

    def trial(self, plan: Plan, problem: Problem, candidate: Candidate) -> Trial | None:
        asked = self.asked(plan, problem)
        if asked is None:
            return None
        found = candidate_gradients(candidate, problem, asked.cotangents, plan.memory)
        if isinstance(found, Refusal):
            return replace(asked, found=found)
        limits = self._bounds(problem, asked.cotangents, asked.answer)
        return replace(asked, bounds=limits, found=found)

    def mutants(self) -> dict[str, Mutant]:
        return self.of.gradient_mutants()

    def of_mutant(self, mutant: Mutant, trial: Trial) -> tuple[np.ndarray, ...]:
        formula, case = self.of.formula, trial.problem.case
        g = formula.packed(trial.cotangents)
        with np.errstate(all="ignore"):
            found = as_outputs(mutant.body(g, *case.arrays, **case.options))
        by_name = dict(zip(formula.pulled(case.options), found, strict=True))
        return tuple(by_name[name] for name in asked_names(trial.problem))

    def of_case(self, trial: Trial, case) -> tuple[np.ndarray, ...]:
        problem = Problem(self.of.formula, case, trial.problem.dtype)
        return _named(problem, trial.cotangents, asked_names(problem))

    def _bounds(self, problem: Problem, g: tuple, wanted: tuple) -> list[Bound]:
        names = asked_names(problem)
        cores = [self.of.formula.inputs[name].core for name in names]
        runs = list(self._runs(problem, g, names))
        sizes = self._term_sizes(problem, g, names)
        return bounds(problem.dtype, wanted, cores, budget_of(self.of, problem), runs, sizes)

    def _runs(self, problem: Problem, g: tuple, names: list[str]) -> Iterator[OwnRun]:
        """Our own gradients in the precision, on the inputs and on their neighbours.

        Cotangents have neighbours too: a gradient that only adds them up has no other input.
        """
        rng, case = np.random.default_rng(self.seed), problem.case
        count = max(replicates(problem) // 2, 2)
        moved = [(problem.nudged(rng), g) for _ in range(count)]
        pulled = [(case, tuple(problem.nudge(rng, x) for x in g)) for _ in range(count)]
        forms = allowed_forms(problem.formula, self.strict)
        # Others have the plain form's gradient.
        for form in [f for f in forms if f.vjp is not None]:
            for near, cotangents in ((case, g), *moved, *pulled):
                low = tuple(cast(x, problem.dtype) for x in cotangents)
                try:
                    found = problem.formula.pull(low, problem.in_precision(near), form.name)
                except (np.linalg.LinAlgError, ValueError, FloatingPointError):
                    continue
                yield OwnRun(as_outputs(tuple(found[name] for name in names)), form.loses)

    def _term_sizes(self, problem: Problem, g: tuple, names: list[str]) -> list[float]:
        """The size of the terms of each gradient, 0 where the evidence does not say."""
        if self.of.gradient_sizes is None:
            return [0.0] * len(names)
        packed, case = problem.formula.packed(g), problem.case
        with np.errstate(all="ignore"):
            sizes = self.of.gradient_sizes(packed, *case.arrays, **case.options)
        return [float(sizes.get(name, 0.0)) for name in names]


Question = Values | Gradients


def cotangents(problem: Problem, answer, seed: int) -> tuple[np.ndarray, ...]:
    """Random cotangents in the precision, zero where the output is not finite; never ones.

    Under ones the gradient of a softmax vanishes, and any wrong one passes.
    """
    rng = np.random.default_rng([seed, 1])
    draws = (np.where(np.isfinite(y), rng.standard_normal(y.shape), 0.0) for y in answer)
    return tuple(np.asarray(round_to(g, problem.dtype), dtype=np.float64) for g in draws)


def _named(problem: Problem, g: tuple, names) -> tuple[np.ndarray, ...]:
    found = problem.formula.pull(g, problem.case)
    return tuple(np.asarray(found[name], dtype=np.float64) for name in names)
