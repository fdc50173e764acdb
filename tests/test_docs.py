"""What the documentation shows is what happens: docstrings, examples and commands of the pages."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import refimpl
from refimpl.formula import TOPICS
from tests.table import FORMULAS
from tools import index

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / "README.md", ROOT / "refimpl" / "README.md", ROOT / "tools" / "README.md"),
    *(ROOT / "refimpl" / folder / "README.md" for folder in ("check", "evidence")),
]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
FILES = {
    match[1]: text for text in PYTHON if (match := re.match(r"# (\w+\.py)\n", text)) is not None
}
SCRIPTS = [text for text in PYTHON if text not in FILES.values() and ">>> " not in text]
SESSIONS = [text for text in PYTHON if ">>> " in text]
# Each is a command and the output that is shown for it, if any is.
COMMANDS = [
    tuple(part.split("\n", 1))
    for language, text in BLOCKS
    if language == "console"
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(refimpl.__path__, "refimpl.")
    if not module.name.endswith("__main__")
]


def needs_torch(command: str) -> bool:
    """Whether it checks a file that imports torch."""
    return any(name in command and "import torch" in text for name, text in FILES.items())


def run_command(command: str, folder: Path) -> subprocess.CompletedProcess:
    """A command of a page, in a folder with the pages' files."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    words = shlex.split(command.replace("python ", f"{shlex.quote(sys.executable)} "))
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


# --------------------------------------------------------------------------------- docstrings


def _run(text: str, name: str, scope: dict | None = None) -> None:
    example = doctest.DocTestParser().get_doctest(text, dict(scope or {}), name, None, None)
    failed, attempted = doctest.DocTestRunner(verbose=False).run(example)
    assert attempted, f"{name} has no example"
    assert not failed


@pytest.mark.parametrize("formula", FORMULAS, ids=[f.name for f in FORMULAS])
def test_example_of_a_formula(formula):
    _run(inspect.getdoc(formula.__wrapped__), formula.name)


def test_examples_of_modules():
    """Formulas are objects, which have a test of their own above."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in ["refimpl", *MODULES]:
        for example in finder.find(importlib.import_module(name)):
            if example.examples and example.name.rpartition(".")[2] not in refimpl.__dir__():
                result = doctest.DocTestRunner(verbose=False).run(example)
                assert not result.failed, example.name


# -------------------------------------------------------------------------------------- pages


def test_there_are_examples_of_every_kind():
    assert len(FILES) >= 2
    assert len(SCRIPTS) >= 3
    assert SESSIONS
    assert any(output.startswith("FAIL") for _, output in COMMANDS)


@pytest.mark.parametrize("text", SESSIONS)
def test_session(text):
    _run(text, "page")


@pytest.mark.parametrize("text", SCRIPTS)
def test_script(text, tmp_path):
    """In a process of its own: what an example registers stays out of the tests' table."""
    path = tmp_path / "example.py"
    path.write_text(text, encoding="utf-8")
    done = run_command("python example.py", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("command", "output"), [c for c in COMMANDS if not needs_torch(c[0])])
def test_command_does_what_is_shown(command, output, tmp_path):
    done = run_command(command, tmp_path)
    assert not done.stderr
    assert done.returncode == (1 if output.startswith("FAIL") else 0)
    assert done.stdout.split()[:2] == (output or done.stdout).split()[:2]
    for line in output.splitlines():
        if line.startswith(("  diagnosis", "             seen in", "    refimpl.")):
            assert line in done.stdout.splitlines()


@pytest.mark.parametrize("path", index.pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_pages_are_those_of_the_table(path):
    assert path.read_text(encoding="utf-8") == index.pages()[path], "run python -m tools.index"


def test_links_lead_somewhere():
    every = [*PAGES, *(p for p in index.pages() if p.suffix == ".md")]
    for page in every:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith("https://"):
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_folder_of_the_library_explains_itself():
    folders = [ROOT / "refimpl", ROOT / "tools"]
    folders += [ROOT / "refimpl" / name for name in ("check", "evidence", *TOPICS)]
    assert [f for f in folders if f.is_dir() and not (f / "README.md").is_file()] == []


def test_options_and_commands_that_the_pages_name_exist():
    from refimpl.__main__ import main

    for name in sorted(set(re.findall(r"python -m refimpl (\w+)", TEXT))):
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0
    for name in sorted(set(re.findall(r"python -m (tools\.\w+)", TEXT))):
        assert importlib.util.find_spec(name), name
