"""Every record is complete: nothing may be missing that a user of the table relies on."""

from __future__ import annotations

import inspect
import itertools

import numpy as np

from refimpl import golden
from refimpl.evidence import evidence
from refimpl.evidence.mistakes import general
from refimpl.formula import as_tuple
from tests.table import DIFFERENTIABLE, FORMULAS, each_formula

SECTIONS = (
    "Formula",
    "Parameters",
    "Returns",
    "Raises",
    "Conventions",
    "Breaks when",
    "References",
    "Examples",
)


PATTERNS = ((3, 4, 5, 2), (4, 6, 4, 5), (9, 8, 9, 9), (2, 2, 2, 2))


def _file(formula) -> str:
    return formula.module.replace(".", "/") + ".py"


def _evidence_file(formula) -> str:
    return _file(formula).replace("refimpl/", "refimpl/evidence/", 1)


def _cases(formula):
    """Every regime with every variant, at small sizes."""
    of = evidence(formula)
    for pattern, batch in itertools.product(PATTERNS, ((2,), ())):
        axes = of.axes(pattern)
        for regime in of.regimes:
            for variant in ({}, *of.variants):
                yield of.sample(regime, axes, batch).with_options(**variant)


@each_formula()
def test_has_a_source_and_a_gradient_or_a_reason(formula):
    assert formula.source, f"{_file(formula)}: {formula.name}: source= paper and equation"
    if formula.differentiable:
        assert formula.forms["plain"].vjp is not None, f"{_file(formula)}: @{formula.name}.defvjp"
    else:
        assert formula.reason, f"{_file(formula)}: {formula.name}: differentiable=False, reason="


@each_formula()
def test_docstring_has_every_section_in_order_and_a_short_example(formula):
    text = formula.documentation
    places = [text.find(f"{section}\n{'-' * len(section)}") for section in SECTIONS]
    missing = [s for s, place in zip(SECTIONS, places, strict=True) if place < 0]
    assert not missing, f"{_file(formula)}: {formula.name}: sections {', '.join(missing)}"
    assert places == sorted(places), f"{_file(formula)}: {formula.name}: sections in this order"
    assert 1 <= text.count(">>> ") <= 5, f"{_file(formula)}: {formula.name}: a short example"


@each_formula()
def test_has_evidence_that_does_not_come_from_itself(formula):
    of, file = evidence(formula), _evidence_file(formula)
    assert len(of.regimes) >= 2, f"{file}: two regimes of {formula.name}"
    assert any(r.adversarial for r in of.regimes.values()), f"{file}: an adversarial regime"
    assert of.laws, f"{file}: a law of {formula.name}"
    assert of.closed_forms, f"{file}: a closed form of {formula.name}"
    assert of.mutants, f"{file}: a mistake of {formula.name}'s own"


@each_formula()
def test_every_law_claims_something_in_some_regime(formula):
    of = evidence(formula)
    silent = set(of.laws)
    for case in _cases(formula):
        if not silent:
            break
        for name in sorted(silent):
            if _claims(of.laws[name], formula, case):
                silent.discard(name)
    assert not silent, f"{_evidence_file(formula)}: laws that claim nothing: {sorted(silent)}"


def _claims(law, formula, case) -> bool:
    try:
        with np.errstate(all="ignore"):
            return any(np.size(claim[0]) for claim in law.claims(formula, case))
    except (ValueError, TypeError, IndexError):
        return False


@each_formula([f for f in FORMULAS if f.options])
def test_every_option_is_set_by_some_evidence(formula):
    of = evidence(formula)
    idle = set(formula.options) - set(of.fixed)
    for case in _cases(formula):
        if not idle:
            break
        idle -= {k for k, v in case.options.items() if v is not formula.options[k]}
    assert not idle, f"{_evidence_file(formula)}: options that nothing sets: {sorted(idle)}"


@each_formula([f for f in FORMULAS if evidence(f).unchanged])
def test_what_is_declared_to_change_nothing_changes_nothing(formula):
    of = evidence(formula)
    made = {m.statement: m for m in general(formula)}
    for sentence, why in of.unchanged.items():
        assert sentence in made, f"{_evidence_file(formula)}: no general mistake {sentence!r}"
        assert why
        for case in _cases(formula):
            try:
                right = formula.outputs(case)
                wrong = as_tuple(case.call(made[sentence].body))
            except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
                continue
            for a, b in zip(right, wrong, strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12, err_msg=sentence)


@each_formula()
def test_has_golden_values(formula):
    try:
        content = golden.load_golden(formula)
    except LookupError:
        file = _file(formula).replace("refimpl/", "tools/golden/", 1)
        raise AssertionError(f"{file}, then python -m tools.golden {formula.name}") from None
    assert content["digits"] >= 50
    assert len(content["cases"]) >= 2


@each_formula(DIFFERENTIABLE)
def test_gradient_has_the_options_of_the_formula(formula):
    parameters = inspect.signature(formula.forms["plain"].vjp).parameters
    positional = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_ONLY]
    assert positional == ["g", *(a.name for a in formula.arguments)]
    named = {n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert named == set(formula.options) or takes_any and named <= set(formula.options)


@each_formula()
def test_topic_evidence_and_golden_lie_at_the_same_path(formula):
    topic, file = formula.module.split(".")[1:]
    makers = [form.sample for form in evidence(formula).closed_forms.values()]
    modules = {inspect.getmodule(inspect.unwrap(maker)).__name__ for maker in makers}
    assert all(module.startswith(f"refimpl.evidence.{topic}") for module in modules)
    assert golden.load_golden(formula)["definition"] == f"tools.golden.{topic}.{file}"


def test_sources_of_mutants_are_addresses():
    for formula in FORMULAS:
        for mutant in evidence(formula).mutants.values():
            assert mutant.source == "" or mutant.source.startswith("https://"), mutant.name
