"""Golden values: inputs with answers of 50 correct digits, for suites in any language.

Written by ``python -m tools.golden`` from second definitions in mpmath that share no code with
the library. Numbers are hexadecimal floats, so that every bit survives.
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


def as_arrays(formula: Formula, content: dict) -> dict[str, np.ndarray]:
    """A golden file as one flat table, for ``numpy.savez``.

    Case 0 has its arrays under their names (``0_q``, ``0_mask``), its answers under ``0_output0``,
    the other options as JSON text under ``0_options``; and where there is a gradient the
    cotangents ``0_cotangent0``, directions ``0_direction_q`` and, under ``0_derivative``, the
    derivative <g, J t> along them.
    """
    table = {}
    for index, case in enumerate(content["cases"]):
        arrays, options = arguments(case)
        named = dict(zip([a.name for a in formula.arguments], arrays, strict=True))
        named |= {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
        plain = {k: v for k, v in options.items() if not isinstance(v, np.ndarray)}
        named |= {f"output{i}": decode(y) for i, y in enumerate(case["outputs"])}
        named |= {"name": case["name"], "options": json.dumps(plain)}
        if "derivative" in case:
            named |= {f"cotangent{i}": decode(g) for i, g in enumerate(case["cotangents"])}
            named |= {f"direction_{k}": decode(t) for k, t in case["directions"].items()}
            named["derivative"] = float.fromhex(case["derivative"])
        table |= {f"{index}_{key}": np.asarray(value) for key, value in named.items()}
    return table


def measured_error(formula: Formula, content: dict) -> dict[str, float]:
    """The float64 error by case, in units of eps, relative to each output's largest entry."""
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
    """Error of <vjp(g), t>, relative to its absolute terms and those of <g, f>: both may cancel."""
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
    pairs = zip(cotangents, map(decode, case["outputs"]), strict=True)
    values = [np.abs(g * np.where(g == 0, 0.0, y)) for g, y in pairs]
    error = abs(flat.sum() - float.fromhex(case["derivative"]))
    scale = np.abs(flat).sum() + sum(v.sum() for v in values)
    # Where everything vanishes, the definition's own differences leave some 1e-80.
    return float(error / scale / np.finfo(float).eps) if scale else float(error > 1e-60)


def _is_given(formula: Formula, name: str, options: dict) -> bool:
    return name not in formula.keywords or options.get(name) is not None
