"""Golden values: inputs with answers of 50 correct digits, for suites in any language.

Written by ``python -m tools.golden`` from second definitions in mpmath that share no code with the library.
Numbers are hexadecimal floats, so that every bit survives.
"""

from __future__ import annotations

import json
from importlib import resources

import numpy as np

from refimpl.formula import Formula


def encode(value):
    """An array as JSON: shape, dtype and (hexadecimal) entries; plain options as they are."""
    if not isinstance(value, np.ndarray):
        return list(value) if isinstance(value, tuple) else value
    entries = value.ravel().tolist()
    if value.dtype.kind == "f":
        entries = [float(x).hex() for x in entries]
    return {"shape": list(value.shape), "dtype": str(value.dtype), "values": entries}


def decode(value):
    """The inverse of :func:`encode`."""
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    entries = value["values"]
    if value["dtype"].startswith("float"):
        entries = [float.fromhex(x) for x in entries]
    return np.array(entries, dtype=value["dtype"]).reshape(value["shape"])


def load(formula: Formula) -> dict:
    """The golden file of a formula; LookupError where there is none."""
    path = resources.files("refimpl") / "golden" / formula.topic / f"{formula.name}.json"
    if not path.is_file():
        raise LookupError(f"{formula.name} has no golden values")
    return json.loads(path.read_text())


def arguments(case: dict) -> tuple[tuple, dict]:
    """Arrays and keyword options of a stored case."""
    return tuple(map(decode, case["arrays"])), {k: decode(v) for k, v in case["options"].items()}


def measured_error(formula: Formula, content: dict) -> dict[str, float]:
    """The library's float64 error, in units of eps relative to each output's largest entry, by case."""
    errors = {}
    for case in content["cases"]:
        arrays, options = arguments(case)
        result = formula(*arrays, **options)
        got = result if isinstance(result, tuple) else (result,)
        worst = max(
            _relative_error(np.asarray(g), decode(want))
            for g, want in zip(got, case["outputs"], strict=True)
        )
        if "derivative" in case:
            worst = max(worst, _derivative_error(formula, case, arrays, options))
        errors[case["name"]] = worst
    return errors


def _relative_error(got: np.ndarray, want: np.ndarray) -> float:
    if not np.array_equal(np.isfinite(got), np.isfinite(want)):
        return np.inf
    finite = np.isfinite(want)
    scale = np.abs(want[finite]).max(initial=0.0)
    error = np.abs(got[finite] - want[finite]).max(initial=0.0)
    if error == 0.0:
        return 0.0
    return float(error / scale / np.finfo(float).eps) if scale else np.inf


def _derivative_error(formula: Formula, case: dict, arrays: tuple, options: dict) -> float:
    """Error of <vjp(g), t>, relative to the sum of the absolute terms of it and of <g, f>: both may cancel."""
    cotangents = tuple(map(decode, case["cotangents"]))
    g = cotangents if len(formula.signature.outputs) > 1 else cotangents[0]
    gradients = formula.vjp(g, *arrays, **options)
    given = [n for n in formula.differentiable if _is_given(formula, n, options)]
    terms = [
        np.asarray(gradient) * decode(case["directions"][name])
        for name, gradient in zip(given, gradients, strict=True)
        if name in case["directions"]
    ]
    flat = np.concatenate([t.ravel() for t in terms])
    values = [np.abs(g * np.where(g == 0, 0.0, decode(y))) for g, y in zip(cotangents, case["outputs"], strict=True)]
    error = abs(flat.sum() - float.fromhex(case["derivative"]))
    scale = np.abs(flat).sum() + sum(v.sum() for v in values)
    return float(error / scale / np.finfo(float).eps) if error else 0.0


def _is_given(formula: Formula, name: str, options: dict) -> bool:
    return name not in formula.keywords or options.get(name) is not None
