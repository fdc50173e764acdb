"""The house: a module imports only from floors below its own, and each stands alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import refimpl
from refimpl.formula import TOPICS

ROOT = Path(refimpl.__file__).parent
MODULES = sorted(
    ".".join(("refimpl", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
)
FLOORS = {
    "signature": 0,
    "plain_linalg": 0,
    "plain_special": 0,
    "foreign": 0,
    "backend": 1,
    "formula": 2,
    "numerics": 2,
    "core": 3,
    **dict.fromkeys(TOPICS, 4),
    "golden": 6,
    "evidence": 5,
    "check": 6,
    "testing": 7,
    "__main__": 8,
}


def floor(module: str) -> int:
    parts = module.split(".")
    # The package itself imports nothing before it is asked for.
    return FLOORS[parts[1]] if len(parts) > 1 else 0


def imports(module: str) -> set[str]:
    """Modules of the library that a file imports at its top level."""
    path = ROOT.joinpath(*module.split(".")[1:])
    path = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("refimpl"):
            found |= {
                name if (name := f"{node.module}.{alias.name}") in MODULES else node.module
                for alias in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("refimpl")}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_from_floors_below(module):
    for other in imports(module):
        same_room = module.split(".")[1:2] == other.split(".")[1:2]
        if floor(module) == floor(other) and same_room:
            continue
        assert floor(other) < floor(module), f"{module} imports {other}"


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if m.split(".")[1:2] and m.split(".")[1] in TOPICS],
)
def test_topics_do_not_import_each_other_nor_numpy(module):
    path = ROOT.joinpath(*module.split(".")[1:])
    path = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    names = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert not {"numpy", "cupy", "scipy"} & names
    others = {f"refimpl.{topic}" for topic in TOPICS} - {".".join(module.split(".")[:2])}
    assert not [name for name in names if name and any(name.startswith(o) for o in others)]


def _fresh(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported_alone():
    """One process for each module, several at a time would only fight for the processor."""
    code = "import importlib, sys\n" + "\n".join(
        f"for k in [k for k in sys.modules if k.startswith('refimpl')]: del sys.modules[k]\n"
        f"importlib.import_module({m!r})"
        for m in MODULES
        if not m.endswith("__main__")
    )
    _fresh(code)


def test_import_loads_numpy_and_nothing_else():
    loaded = _fresh(
        "import numpy, sys; before = set(sys.modules); import refimpl;"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    ).split()
    assert set(loaded) <= {"refimpl", "__future__"}


def test_formulas_need_no_third_party_package_but_numpy():
    roots = _fresh(
        "import sys; before = set(sys.modules); import refimpl; refimpl.softmax_attention;"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    ).split()
    third_party = set(roots) - set(sys.stdlib_module_names) - {"refimpl", "numpy"}
    assert not third_party
