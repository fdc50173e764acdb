"""Is the suite any good? Break the library one edit at a time and list the edits that survive.

    python -m tools.mutate [--seed 0] [--edits 20] [FILE ...]

An edit changes a comparison, an operator, a number or a condition somewhere in the files (by
default in what every formula stands on). It is made in a copy, where the tests run that should see
it; an edit that no test sees is printed. Some of those change nothing that matters; each of the
others asks for a test. One edit takes between seconds and a minute.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DEFAULT = (
    "refimpl/core.py",
    "refimpl/numerics.py",
    "refimpl/check/budget.py",
    "refimpl/check/question.py",
    "refimpl/attention/softmax.py",
    "refimpl/attention/online.py",
    "refimpl/attention/masks.py",
    "refimpl/position/rotary.py",
    "refimpl/gaussian/divergence.py",
    "refimpl/gaussian/transport.py",
)
_COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_OPERATORS = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}


class Edit(NamedTuple):
    """A piece of a file, from one offset to another, and what stands there instead."""

    file: str
    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        return source[: self.start] + self.text + source[self.end :]


def edits(file: str) -> Iterator[Edit]:
    """All edits of a file, outside of docstrings and signatures."""
    source = (ROOT / file).read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()

    def at(line: int, column: int) -> int:
        return len(data[: starts[line - 1] + column].decode())

    for node in _bodies(ast.parse(source)):
        start = at(node.lineno, node.col_offset)
        end = at(node.end_lineno, node.end_col_offset)
        if (text := _changed(node)) is not None:
            yield Edit(file, start, end, text)


def _bodies(tree: ast.Module) -> Iterator[ast.expr]:
    """Expressions in the bodies of functions."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                if not isinstance(statement, (ast.FunctionDef, ast.Raise)):
                    yield from (n for n in ast.walk(statement) if isinstance(n, ast.expr))


def _changed(node: ast.expr) -> str | None:
    """The text of a broken twin of the expression, where there is one."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        operator = _COMPARISONS[type(node.ops[0])]
        return f"({ast.unparse(node.left)} {operator} {ast.unparse(node.comparators[0])})"
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        operator = _OPERATORS[type(node.op)]
        return f"({ast.unparse(node.left)} {operator} {ast.unparse(node.right)})"
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return repr(node.value * 10 if node.value not in (0, 1) else 1 - node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert, ast.USub)):
        return f"({ast.unparse(node.operand)})"
    if isinstance(node, ast.BoolOp):
        return f"({ast.unparse(node.values[0])})"
    return None


def tests_of(file: str) -> list[str]:
    """The tests that should see an edit of this file."""
    parts = Path(file).with_suffix("").parts[1:]
    if parts[0] == "check":
        return ["tests/check"]
    if len(parts) == 1:
        own = ROOT / "tests" / f"test_{parts[0]}.py"
        return [*([str(own.relative_to(ROOT))] if own.exists() else []), "tests/every_formula"]
    from refimpl.formula import formulas

    names = [f.name for f in formulas(parts[0]) if f.module.rpartition(".")[2] == parts[1]]
    own = ROOT / "tests" / parts[0] / f"test_{parts[1]}.py"
    found = [str(own.relative_to(ROOT))] if own.exists() else []
    return [*found, "tests/every_formula", "-k", " or ".join([*names, f"test_{parts[1]}"])]


def survives(edit: Edit, copy: Path) -> bool:
    """Whether all tests pass with the edit; the copy is as before afterwards."""
    path = copy / edit.file
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(edit.apply(source), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *tests_of(edit.file)], cwd=copy, capture_output=True, check=False
        )
        return done.returncode == 0
    finally:
        path.write_text(source, encoding="utf-8")


def difference(edit: Edit) -> str:
    source = (ROOT / edit.file).read_text(encoding="utf-8")
    lines = (text.splitlines() for text in (source, edit.apply(source)))
    return "\n".join(difflib.unified_diff(*lines, edit.file, edit.file, lineterm="", n=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="files of the library")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--edits", type=int, default=20)
    chosen = parser.parse_args()
    everything = [edit for file in chosen.files or DEFAULT for edit in edits(file)]
    drawn = random.Random(chosen.seed).sample(everything, min(chosen.edits, len(everything)))
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        for edit in drawn:
            if survives(edit, copy):
                alive += 1
                print(difference(edit), flush=True)
    print(f"{alive} of {len(drawn)} edits survive, of {len(everything)} that there are")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
