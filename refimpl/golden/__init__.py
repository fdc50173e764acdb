"""Golden values: inputs with answers of 50 correct digits, for suites in any language.

Written by ``python -m tools.golden`` from second definitions in mpmath that share no code with
the library. Numbers are hexadecimal floats, so that every bit survives.
"""

from __future__ import annotations

import json
from importlib import resources

import numpy as np

from refimpl.evidence import Case
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


def load_golden(formula: Formula) -> dict:
    """The golden file of a formula; LookupError where there is none."""
    path = resources.files("refimpl") / "golden" / formula.topic / f"{formula.name}.json"
    if not path.is_file():
        raise LookupError(
            f"{formula.name} has no golden values: python -m tools.golden {formula.name}"
        )
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
        by_keyword = {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
        named = formula.by_name(arrays, by_keyword)
        plain = {k: v for k, v in options.items() if not isinstance(v, np.ndarray)}
        named |= {f"output{i}": decode(y) for i, y in enumerate(case["outputs"])}
        named |= {"name": case["name"], "options": json.dumps(plain)}
        if "derivative" in case:
            named |= {f"cotangent{i}": decode(g) for i, g in enumerate(case["cotangents"])}
            named |= {f"direction_{k}": decode(t) for k, t in case["directions"].items()}
            named["derivative"] = float.fromhex(case["derivative"])
        table |= {f"{index}_{key}": np.asarray(value) for key, value in named.items()}
    return table


def as_text(content, indent: str = "") -> str:
    """A golden file as JSON with one array a line, so that it can be read and compared."""
    if isinstance(content, dict) and "values" not in content:
        rows = [f"{json.dumps(k)}: {as_text(v, indent + ' ')}" for k, v in content.items()]
    elif isinstance(content, list) and any(isinstance(item, dict) for item in content):
        rows = [as_text(item, indent + " ") for item in content]
    else:
        return json.dumps(content)
    inner = f",\n{indent} ".join(rows)
    opening, closing = "{}" if isinstance(content, dict) else "[]"
    return f"{opening}\n{indent} {inner}\n{indent}{closing}" if rows else opening + closing


def multiples(formula: Formula, content: dict) -> dict[str, float]:
    """The float64 error by case, as a multiple of what rounding the inputs once may do.

    That is the case's conditioning limit, and one rounding of the largest entry of an output where
    this is more; for indices and masks nothing is allowed. Of gradients <vjp(g), t> is compared
    with <g, J t>; their absolute terms are rounded too, because both may cancel.
    """
    errors = {}
    for stored in content["cases"]:
        arrays, options = arguments(stored)
        case = Case(arrays, options)
        limits = map(float, stored.get("limits", ["0"] * len(stored["outputs"])))
        wanted = map(decode, stored["outputs"])
        worst = max(map(_multiple, formula.outputs(case), wanted, limits))
        if "derivative" in stored:
            worst = max(worst, _derivative_multiple(formula, stored, case))
        factor = stored.get("beyond", {"factor": 1.0})["factor"]
        errors[stored["name"]] = worst / factor
    return errors


_ROUNDING = 2.0**-53


def _multiple(got, wanted: np.ndarray, limit: float) -> float:
    got = np.asarray(got)
    if not np.array_equal(np.isfinite(got), np.isfinite(wanted)):
        return np.inf
    finite = np.isfinite(wanted)
    error = np.abs(got[finite].astype(float) - wanted[finite]).max(initial=0.0)
    allowed = max(limit, _ROUNDING * np.abs(wanted[finite]).max(initial=0.0))
    return _ratio(error, allowed)


def _ratio(error: float, allowed: float) -> float:
    if error == 0.0:
        return 0.0
    return float(error / allowed) if allowed else np.inf


def _derivative_multiple(formula: Formula, stored: dict, case: Case) -> float:
    cotangents = tuple(map(decode, stored["cotangents"]))
    gradients = formula.pull(cotangents, case)
    terms = np.concatenate(
        [
            np.ravel(np.asarray(gradients[name]) * decode(t))
            for name, t in stored["directions"].items()
        ]
    )
    pairs = zip(cotangents, map(decode, stored["outputs"]), strict=True)
    values = sum(np.abs(g * np.where(g == 0, 0.0, y)).sum() for g, y in pairs)
    error = abs(terms.sum() - float.fromhex(stored["derivative"]))
    allowed = max(float(stored["derivative_limit"]), _ROUNDING * (np.abs(terms).sum() + values))
    # Where everything vanishes, the definition's own differences leave some 1e-80.
    return 0.0 if error <= 1e-60 else _ratio(error, allowed)
