"""Write (or with ``--check`` verify) the golden files: ``python -m tools.golden [NAME ...]``."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
from pathlib import Path

import mpmath
import numpy as np

import tools.golden as golden
from refimpl.evidence import Case
from refimpl.formula import find
from refimpl.golden import arguments, as_text, encode, multiples

ROOT = Path(__file__).parents[2] / "refimpl" / "golden"


def load() -> dict[str, golden.Golden]:
    for module in pkgutil.walk_packages(golden.__path__, "tools.golden."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return golden.TABLE


def build(record: golden.Golden, *, limits: int | None = None) -> dict:
    """The content of one golden file; with limits for the first few cases, or for all."""
    formula = find(record.name)
    with mpmath.workdps(golden.DIGITS + 30):
        cases = [
            _build_case(record, formula, *item, limits is None or index < limits)
            for index, item in enumerate(record.cases().items())
        ]
    return {
        "formula": record.name,
        "definition": record.define.__module__,
        "digits": golden.DIGITS,
        "mpmath": mpmath.__version__,
        "cases": cases,
    }


def _build_case(record, formula, case_name, inputs, with_limits) -> dict:
    arrays, options = inputs
    outputs = golden.evaluate(record, arrays, options)
    shapes = [np.shape(y) for y in formula.outputs(Case(arrays, options))]
    values = [
        np.array([float(x) for x in flat]).reshape(shape)
        for flat, shape in zip(outputs, shapes, strict=True)
    ]
    case = {
        "name": case_name,
        "arrays": [encode(a) for a in arrays],
        "options": {k: encode(v) for k, v in options.items()},
        "outputs": [encode(v) for v in values],
    }
    if with_limits and formula.returns == "real":

        def answer(arrays, options):
            return golden.evaluate(record, arrays, options)

        found = golden.limit(formula, arrays, options, answer, outputs)
        case["limits"] = [_short(x) for x in found]
    if formula.differentiable:
        case |= _build_derivative(record, formula, arrays, options, values, with_limits)
    if case_name in record.beyond:
        factor, reason = record.beyond[case_name]
        case["beyond"] = {"factor": factor, "reason": reason}
    return case


def _build_derivative(record, formula, arrays, options, values, with_limits) -> dict:
    rng = np.random.default_rng(8180)
    cotangents = [np.where(np.isfinite(v), rng.standard_normal(v.shape), 0.0) for v in values]
    names = tuple(a.name for a in formula.arguments)
    directions = {}
    for name, value in [*zip(names, arrays, strict=True), *options.items()]:
        if name in formula.differentiable and isinstance(value, np.ndarray):
            directions[name] = _direction(rng, value)

    def answer(arrays, options):
        derivative = golden.directional_derivative(
            record, arrays, options, names, directions, cotangents
        )
        return [[derivative]]

    right = answer(arrays, options)
    found = {
        "cotangents": [encode(g) for g in cotangents],
        "directions": {k: encode(t) for k, t in directions.items()},
        "derivative": float(right[0][0]).hex(),
    }
    if with_limits:
        (largest,) = golden.limit(formula, arrays, options, answer, right)
        found["derivative_limit"] = _short(largest)
    return found


def _short(x) -> str:
    """A limit to three digits: more of it would only say which draws were made."""
    return f"{float(x):.2e}"


def _direction(rng, value: np.ndarray) -> np.ndarray:
    """A random direction; symmetric for a symmetric matrix, zero where the value is not finite."""
    t = rng.standard_normal(value.shape)
    if value.ndim >= 2 and value.shape[-1] == value.shape[-2] > 1:
        if np.array_equal(value, value.swapaxes(-1, -2)):
            t = (t + t.swapaxes(-1, -2)) / 2
    return np.where(np.isfinite(value), t, 0.0)


def rebuilt(record: golden.Golden, stored: dict, first: int | None = None, limits: int = 0) -> dict:
    """What the definition gives for the inputs of a stored file (or the first few of its cases).

    Inputs are read, not drawn again: the last bits of a drawn covariance depend on the processor.
    """
    cases = {case["name"]: arguments(case) for case in stored["cases"][:first]}
    return build(record._replace(cases=lambda: cases), limits=limits)


def agrees(fresh: dict, stored: dict) -> bool:
    """Whether all that was made afresh is what is stored; limits need not have been."""
    same = all(stored[key] == fresh[key] for key in ("formula", "definition", "digits"))
    pairs = zip(fresh["cases"], stored["cases"], strict=False)
    return same and all(new == {k: old[k] for k in new} for new, old in pairs)


def is_stale(record: golden.Golden, stored: dict) -> bool:
    names = [case["name"] for case in stored["cases"]]
    return names != list(record.cases()) or not agrees(rebuilt(record, stored, limits=1), stored)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="formulas; all by default")
    parser.add_argument(
        "--check", action="store_true", help="compare with the files instead of writing them"
    )
    options = parser.parse_args()
    table = load()
    stale = []
    for name in options.names or sorted(table):
        path = ROOT / find(name).topic / f"{name}.json"
        if options.check:
            if is_stale(table[name], json.loads(path.read_text())):
                stale.append(name)
            continue
        content = build(table[name])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(content) + "\n")
        errors = multiples(find(name), content)
        print(f"{name}: {len(errors)} cases, at most {max(errors.values()):.3g} limits")
    for name in stale:
        print(f"{name}: the file differs from what the definition gives now")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
