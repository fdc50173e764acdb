"""The float64 path against 50 digits: not worse than four times what it was."""

from __future__ import annotations

import importlib

from refimpl import golden
from tests.table import each_formula

EPS = 1.0


@each_formula()
def test_error_against_golden_values_has_not_grown(formula):
    content = golden.load(formula)
    now = golden.measured_error(formula, content)
    stored = content["error"]
    assert now.keys() == stored.keys()
    grown = {k: (now[k], stored[k]) for k in now if not now[k] <= 4.0 * max(EPS, stored[k])}
    assert not grown


@each_formula()
def test_golden_file_is_what_its_definition_gives(formula):
    """One case of each file is computed again, so that a stale file cannot stay."""
    from tools import golden as makers
    from tools.golden.__main__ import rebuilt

    content = golden.load(formula)
    importlib.import_module(content["definition"])
    again = rebuilt(makers.TABLE[formula.name], content, first=1)
    assert again["cases"] == content["cases"][:1]
