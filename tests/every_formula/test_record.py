"""Every record is complete: nothing may be missing that a user of the table relies on."""

from __future__ import annotations

import inspect

import pytest

from refimpl import golden
from refimpl.evidence import evidence
from tests.table import each_formula

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


@each_formula()
def test_has_a_source_and_a_gradient_or_a_reason(formula):
    assert formula.source
    assert formula.forms["plain"].vjp is not None if formula.differentiable else formula.reason


@each_formula()
def test_docstring_has_every_section_in_order_and_a_short_example(formula):
    text = inspect.getdoc(formula.__wrapped__)
    places = [text.find(f"{section}\n{'-' * len(section)}") for section in SECTIONS]
    assert -1 not in places, SECTIONS[places.index(-1)]
    assert places == sorted(places)
    assert 1 <= text.count(">>> ") <= 5


@each_formula()
def test_has_evidence_that_does_not_come_from_itself(formula):
    of = evidence(formula)
    assert len(of.regimes) >= 2
    assert any(r.adversarial for r in of.regimes.values())
    assert of.laws and of.closed_forms
    assert len(of.value_mutants()) >= 2
    assert not formula.differentiable or of.gradient_mutants()


@each_formula()
def test_has_golden_values(formula):
    content = golden.load_golden(formula)
    assert content["digits"] >= 50
    assert len(content["cases"]) >= 2


@each_formula()
def test_gradient_has_the_options_of_the_formula(formula):
    if not formula.differentiable:
        pytest.fail(
            f"{formula.name}: no gradient, reason {formula.reason!r}"
        ) if not formula.reason else None
        return
    parameters = inspect.signature(formula.forms["plain"].vjp).parameters
    positional = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_ONLY]
    assert positional == ["g", *(a.name for a in formula.arguments)]
    named = {n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert named == set(formula.options) or takes_any and named <= set(formula.options)


@each_formula()
def test_topic_evidence_and_golden_lie_at_the_same_path(formula):
    topic, file = formula.module.split(".")[1:]
    assert evidence(formula).regimes
    module = inspect.getmodule(next(iter(evidence(formula).laws.values())).claims).__name__
    assert module.startswith(f"refimpl.evidence.{topic}")
    assert golden.load_golden(formula)["definition"] == f"tools.golden.{topic}.{file}"


def test_sources_of_mutants_are_addresses():
    from tests.table import FORMULAS

    for formula in FORMULAS:
        for mutant in evidence(formula).mutants.values():
            assert mutant.source == "" or mutant.source.startswith("https://"), mutant.name
