"""The README's index of formulas: ``python -m tools.index`` writes it, ``--check`` compares it."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from refimpl.formula import TOPICS, Formula, formulas

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- index: begin -->\n", "<!-- index: end -->\n"


def index() -> str:
    """A table for each topic that has formulas."""
    return "\n".join("\n".join(_table(topic)) + "\n" for topic in TOPICS if list(formulas(topic)))


def _table(topic: str) -> Iterator[str]:
    yield f"**{topic}**\n"
    yield "| formula | arrays | what it is |"
    yield "|---|---|---|"
    for record in formulas(topic):
        # A bar ends the cell of a table.
        signature = str(record.signature).replace("|", r"\|")
        yield f"| `{record.name}` | `{signature}` | {_summary(record)} |"


def _summary(record: Formula) -> str:
    first = inspect.getdoc(record.__wrapped__).partition("\n")[0]
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", first).rstrip(".").replace("|", r"\|")


def updated(text: str) -> str:
    """The README's text with the index that the table gives now."""
    before, _, after = between(text, BEGIN, END)
    return before + BEGIN + index() + END + after


def between(text: str, begin: str, end: str) -> tuple[str, str, str]:
    """What comes before these marks, between them and after them."""
    before, found_begin, rest = text.partition(begin)
    inside, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the README lacks the lines {begin!r} and {end!r}")
    return before, inside, after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit code 1 where it is out of date")
    text = README.read_text(encoding="utf-8")
    if parser.parse_args().check:
        if updated(text) == text:
            return 0
        print("README.md: the index is out of date; run python -m tools.index")
        return 1
    README.write_text(updated(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
