"""The float64 path against 50 digits: within what rounding the inputs does to the exact answer."""

from __future__ import annotations

import importlib

import pytest

from refimpl import golden
from tests.table import each_formula

MOST = 8.0


@each_formula()
def test_error_is_within_the_conditioning_of_each_case(formula):
    """A bound of the definition, not of the processor that wrote the file."""
    errors = golden.multiples(formula, golden.load_golden(formula))
    assert {name: error for name, error in errors.items() if not error <= MOST} == {}


@each_formula()
def test_golden_file_is_what_its_definition_gives(formula):
    """One case of each file is computed again, so that a stale file cannot stay."""
    from tools import golden as makers
    from tools.golden.__main__ import agrees, rebuilt

    content = golden.load_golden(formula)
    importlib.import_module(content["definition"])
    assert agrees(rebuilt(makers.TABLE[formula.name], content, first=1), content)


@pytest.mark.parametrize("digit", [0, 5])
def test_a_changed_digit_is_stale(digit):
    """Of an answer, in its first or its sixth hexadecimal digit."""
    from tools import golden as makers
    from tools.golden.__main__ import agrees, rebuilt

    formula = importlib.import_module("refimpl").gaussian_kl
    content = golden.load_golden(formula)
    importlib.import_module(content["definition"])
    fresh = rebuilt(makers.TABLE[formula.name], content, first=1)
    (value,) = content["cases"][0]["outputs"][0]["values"]
    changed = value[: 4 + digit] + ("0" if value[4 + digit] != "0" else "1") + value[5 + digit :]
    content["cases"][0]["outputs"][0]["values"] = [changed]
    assert not agrees(fresh, content)
