"""Freezes CuPy's surface, names and parameters, from the installed wheel. Needs no GPU.

    python tools/cupy_surface.py            # rewrites tests/shim/fakecupy/surface.json
    python tools/cupy_surface.py --check    # exit 1 if the file differs from the installed wheel

The strict fake of CuPy (tests/shim/fakecupy) and tools/static_cupy_check.py both read
the file. An entry is "ufunc <inputs> <outputs>", "builtin" where CuPy gives no signature, or the
parameters: "a, axis=, /, *args, *, key=, **options", where "=" marks an optional one.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).parents[1] / "tests" / "shim" / "fakecupy" / "surface.json"


def surface() -> dict:
    """The surface of the installed CuPy."""
    import cupy
    import cupyx
    import cupyx.scipy.special

    functions, values = {}, []
    modules = {
        "": cupy,
        "linalg.": cupy.linalg,
        "fft.": cupy.fft,
        "cupyx.": cupyx,
        "cupyx.scipy.special.": cupyx.scipy.special,
    }
    for prefix, module in modules.items():
        for name in public_names(module):
            thing = getattr(module, name)
            if inspect.isclass(thing) or not callable(thing):
                values.append(prefix + name)
            else:
                functions[prefix + name] = describe(thing)
    functions.update(scipy_linalg(Path(cupyx.__file__).parent))
    return {
        "version": cupy.__version__,
        "functions": dict(sorted(functions.items())),
        "values": sorted(values),
        "ndarray": public_names(cupy.ndarray),
    }


def public_names(thing: object) -> list[str]:
    """The names of a module (submodules aside) or class that do not begin with an underscore."""
    hidden = "annotations"  # of `from __future__ import`
    names = (name for name in dir(thing) if not name.startswith("_") and name != hidden)
    return [name for name in names if not inspect.ismodule(getattr(thing, name))]


def describe(function: object) -> str:
    """The entry of one function."""
    if hasattr(function, "nin"):
        return f"ufunc {function.nin} {function.nout}"
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return "builtin"
    return ", ".join(written(parameters))


def written(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """The parameters as this file writes them."""
    seen = {p.kind for p in parameters}
    previous = None
    for p in parameters:
        if previous == p.POSITIONAL_ONLY and p.kind != p.POSITIONAL_ONLY:
            yield "/"
        if p.kind == p.KEYWORD_ONLY and previous != p.KEYWORD_ONLY and p.VAR_POSITIONAL not in seen:
            yield "*"
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        yield stars + p.name + ("" if p.default is p.empty else "=")
        previous = p.kind


def scipy_linalg(cupyx_folder: Path) -> dict[str, str]:
    """The functions of cupyx.scipy.linalg, from its source: importing it needs CUDA's libraries."""
    folder = cupyx_folder / "scipy" / "linalg"
    exported = {
        name.asname or name.name
        for statement in ast.parse((folder / "__init__.py").read_text()).body
        if isinstance(statement, ast.ImportFrom)
        for name in statement.names
    }
    found = {}
    for file in sorted(folder.glob("*.py")):
        for statement in ast.parse(file.read_text()).body:
            if isinstance(statement, ast.FunctionDef) and statement.name in exported:
                found[f"cupyx.scipy.linalg.{statement.name}"] = arguments_of(statement.args)
    return found


def arguments_of(arguments: ast.arguments) -> str:
    """The entry of a function that is known by its source."""
    optional = len(arguments.defaults)
    names = [a.arg for a in arguments.args]
    required = len(names) - optional
    return ", ".join(names[:required] + [name + "=" for name in names[required:]])


def main() -> int:
    text = json.dumps(surface(), indent=0) + "\n"
    if "--check" in sys.argv[1:]:
        same = TARGET.read_text() == text
        print("the frozen surface is", "up to date" if same else "out of date")
        return 0 if same else 1
    TARGET.write_text(text)
    print(f"{TARGET.name}: {text.count(chr(10))} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
