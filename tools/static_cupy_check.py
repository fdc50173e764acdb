"""Does CuPy have everything that the library calls? Reads the sources and a frozen table; no GPU.

    python -m tools.static_cupy_check [files or folders ...]      # default: refimpl

Checks every ``xp.name`` (also ``xp.linalg.name``, ``namespace(x).name``, and names bound to such a
namespace) against tests/shim/fakecupy/surface.json: the name exists in CuPy, and a call fits its
parameters. Bans ``xp.random``: draws come from the host. Bans ``import numpy`` and ``import cupy``
in the folders of formulas, which must work on either; LinAlgError alone is for all of them. Exit
status 1 if anything is found.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.shim.fakecupy import surface

_TOPICS = {"core.py", "attention", "position", "gaussian", "sketch", "critic", "language"}
_NAMESPACE_MAKERS = {"namespace", "backend.namespace"}
# What every namespace has without being a function of it.
_MODULE_NAMES = {"__name__"}


class Finding(NamedTuple):
    """One complaint and where it belongs."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def check_source(source: str, file: str) -> list[Finding]:
    """All findings in one file's text, in the order of lines."""
    tree = ast.parse(source)
    found = list(_check_names(tree))
    if _TOPICS & set(_below_package(file)):
        found += _check_imports(tree)
    return [Finding(file, line, message) for line, message in sorted(found)]


def _below_package(file: str) -> tuple[str, ...]:
    parts = Path(file).parts
    if "refimpl" not in parts:
        return ()
    return parts[len(parts) - parts[::-1].index("refimpl") :][:1]


def _check_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and {x.name for x in node.names} != {"LinAlgError"}:
            names = [node.module or ""]
        for name in names:
            root = name.partition(".")[0]
            if root in ("numpy", "cupy", "cupyx", "scipy"):
                yield node.lineno, f"import {root} in a topic: use namespace(...) and the backend"


def _check_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    aliases = _aliases(tree)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            yield from _check_name(node, aliases)
        if isinstance(node, ast.Call):
            yield from _check_call(node, aliases)


def _aliases(tree: ast.Module) -> set[str]:
    """``xp``, and every name that is assigned a namespace."""
    names = {"xp"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _makes_namespace(node.value):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _makes_namespace(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in _NAMESPACE_MAKERS


def _dotted(node: ast.expr, aliases: set[str]) -> str | None:
    """ "linalg.norm" for xp.linalg.norm; None for what does not start at a namespace."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    is_namespace = isinstance(node, ast.Name) and node.id in aliases or _makes_namespace(node)
    return ".".join(reversed(parts)) if is_namespace and parts else None


def _check_name(node: ast.Attribute, aliases: set[str]) -> Iterator[tuple[int, str]]:
    name = _dotted(node, aliases)
    if name is None or name in _MODULE_NAMES:
        return
    if name.partition(".")[0] == "random":
        yield node.lineno, "xp.random: its streams differ from NumPy's, draw on the host"
        return
    owner, _, attribute = name.rpartition(".")
    if surface.is_ufunc(owner):
        known = surface.has_method(owner, attribute)
    else:
        known = surface.has(name) or surface.has(owner) and owner in surface.VALUES
    if not known:
        yield node.lineno, f"xp.{name} does not exist in CuPy {surface.VERSION}"


def _check_call(node: ast.Call, aliases: set[str]) -> Iterator[tuple[int, str]]:
    name = _dotted(node.func, aliases)
    if name not in surface.FUNCTIONS:
        return
    keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
    unpacked = any(keyword.arg is None for keyword in node.keywords)
    starred = unpacked or any(isinstance(argument, ast.Starred) for argument in node.args)
    problem = surface.complaint(name, len(node.args), keywords, starred=starred)
    if problem:
        yield node.lineno, "xp." + problem


def main(arguments: list[str]) -> int:
    """Prints the findings below these paths; 1 if there are any."""
    found = []
    for place in map(Path, arguments or ["refimpl"]):
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        for file in files:
            found += check_source(file.read_text(encoding="utf-8"), str(file))
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
