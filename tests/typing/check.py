"""Do mypy and pyright know every formula's signature? Does jedi complete the names?

    pip install mypy 'pyright[nodejs]' jedi && python tests/typing/check.py

They must accept ``right.py``, and refuse exactly the lines of ``wrong.py`` that end in ``# wrong``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"


def lines_of_mypy(file: Path) -> set[int]:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--output", "json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {item["line"] for item in found if item["severity"] == "error"}


def lines_of_pyright(file: Path) -> set[int]:
    command = [sys.executable, "-m", "pyright", "--outputjson", str(file)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {item["range"]["start"]["line"] + 1 for item in found if item["severity"] == "error"}


def main() -> int:
    text = WRONG.read_text(encoding="utf-8").splitlines()
    expected = {number for number, line in enumerate(text, start=1) if "  # wrong" in line}
    failed = []
    for name, lines in (("mypy", lines_of_mypy), ("pyright", lines_of_pyright)):
        if lines(RIGHT):
            failed.append(f"{name} refuses lines {sorted(lines(RIGHT))} of right.py")
        if lines(WRONG) != expected:
            failed.append(f"{name} refuses {sorted(lines(WRONG))} of wrong.py, not {expected}")
    import jedi

    completed = [c.name for c in jedi.Script("import refimpl\nrefimpl.softm").complete(2, 13)]
    if "softmax_attention" not in completed:
        failed.append(f"jedi completes refimpl.softm to {completed}")
    print("\n".join(failed) or "types are known")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
