"""The tables of exactness hold where they speak of this library."""

from __future__ import annotations

import pytest

from tools import accuracy
from tools.index import between

PAGE = accuracy.PAGE.read_text(encoding="utf-8")


def test_the_section_has_every_table():
    before, inside, _ = between(PAGE, accuracy.BEGIN, accuracy.END)
    assert "## How exact" in before
    for table in accuracy.TABLES:
        assert f"**{table.title}** (`{table.formula}`)" in inside
    assert len(accuracy.printed(PAGE)) == sum(len(t.cases()) for t in accuracy.TABLES)


def test_our_column_is_what_is_computed_now():
    assert not list(accuracy.disagreements(PAGE))


@pytest.mark.parametrize("old", ["| 0 | 0 |", "| 4.47e-8 |", "| differ by 1e-4 |"])
def test_another_column_is_found_out(old):
    """A zero that is none, another value, another case."""
    assert old in PAGE
    new = old.replace("| 0 | 0 |", "| 0.1 | 0 |").replace("4.47", "4.57").replace("1e-4 ", "1e-5 ")
    assert list(accuracy.disagreements(PAGE.replace(old, new)))


@pytest.mark.parametrize(
    ("found", "says", "holds"),
    [
        ("2e-15", "5e-16", True),
        ("1e-13", "2e-15", False),
        ("0", "3e-16", True),
        ("nan", "nan", False),
        ("nan", "3e-16", False),
        ("raises LinAlgError", "3e-16", False),
        ("finds 1e-18", "0", False),
        ("2e-16, negative", "2e-16", False),
    ],
)
def test_an_error_holds_up_to_rounding(found, says, holds):
    assert accuracy._holds(found, says) is holds
