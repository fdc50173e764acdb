"""What a check says: one screen for a person, JSON for a machine."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from refimpl.check.budget import Judgement
from refimpl.check.candidate import Answer, Refusal
from refimpl.check.features import Feature
from refimpl.check.trial import FAIL, PASS, Result, Trial


def text(result: Result) -> str:
    """The report on one screen."""
    lines = [_headline(result)]
    if result.reason:
        lines.append(f"  {result.reason}")
    worst = result.worst
    if worst is not None:
        judgement, name = worst.worst
        lines.append(f"  worst      {_measure(judgement, name)}")
        lines.append(f"             in {worst.plan.label}")
    for explanation in result.explanations:
        where = (
            ""
            if explanation.everywhere
            else f" (in {explanation.fits} of {explanation.failing} failures)"
        )
        lines.append(f"  diagnosis  {explanation.text}{where}")
        if explanation.source:
            lines.append(f"             seen in {explanation.source}")
    if result.verdict == FAIL and not result.explanations and result.failures:
        lines.append("  diagnosis  none of the known mistakes explains it")
    if result.trials:
        lines.append(f"  cases      {_cases(result)}")
        lines += _wrapped("covered", _covered(result))
        lines += _wrapped("refused", _listed(result.refused))
        lines += _wrapped("not judged", _listed(result.not_judged))
        lines.append(f"  power      {_power(result)}")
    lines += [f"  note       {note.text}" for note in result.notes[:8]]
    lines += _options(result)
    if result.shrunk is not None:
        lines += ["", "smallest failing case:", *_indent(reproduction(result, result.shrunk))]
    return "\n".join(lines)


def _headline(result: Result) -> str:
    what = "gradients of " if result.gradients else ""
    arrays = f"{result.library} arrays" if result.library else ""
    return (
        f"{result.verdict.upper()}  {what}{result.formula.name}  {result.candidate}  "
        f"{result.dtype}, {arrays}, {result.seconds:.1f} s"
    )


def _measure(judgement: Judgement, name: str) -> str:
    if not np.isfinite(judgement.measured) or judgement.bound == 0.0:
        return f"{name}: {judgement.measure}{_at(judgement)}"
    return (
        f"{judgement.ratio:.3g} x the bound: {name}, {judgement.measure}{_at(judgement)} is off by "
        f"{judgement.measured:.3g}, allowed {judgement.bound:.3g}"
    )


def _at(judgement: Judgement) -> str:
    return f" at {list(judgement.where)}" if judgement.where else ""


def _cases(result: Result) -> str:
    failed = len(result.failures)
    weak = sum(bool(t.bounds) and all(b.is_weak for b in t.bounds) for t in result.judged)
    text = f"{len(result.judged)} judged, {failed} failed"
    return text + (f", {weak} too ill-conditioned in {result.dtype} to tell" if weak else "")


def _covered(result: Result) -> str:
    """What was judged, by kinds: of sizes the range along each axis, of options their values."""
    parts = [f"{sum(f.kind == 'regime' for f in result.covered)} kinds of inputs"]
    sizes = _by_name(result.covered, "size")
    for axis, found in sizes.items():
        parts.append(f"{axis} {min(found)}" + (f" to {max(found)}" if len(found) > 1 else ""))
    batches = _by_name(result.covered, "batch").get("batch", [])
    parts += [f"leading axes {', '.join(map(str, batches))}"] if batches else []
    options = _by_name(result.covered, "option")
    parts += [f"{name} {', '.join(map(repr, found))}" for name, found in options.items()]
    parts += list(_by_name(result.covered, "memory")) + list(_by_name(result.covered, "call"))
    return "; ".join(parts)


def _by_name(features: Iterable[Feature], kind: str) -> dict[str, list]:
    found: dict[str, list] = {}
    for feature in sorted((f for f in features if f.kind == kind), key=str):
        found.setdefault(feature.name, []).append(feature.value)
    return found


def _listed(features: Iterable[Feature]) -> str:
    """Features with the sizes of an axis together, and why where that is known."""
    parts = []
    for kind in ("regime", "option", "size", "batch", "memory", "closed form", "call"):
        for name, values in _by_name(features, kind).items():
            shown = ", ".join(map(repr, values)) if kind in ("option", "batch") else ""
            if kind == "size":
                shown = f"={','.join(map(str, sorted(values)))}"
            parts.append(name + (" " + shown if kind in ("option", "batch") else shown))
    reasons = features.values() if isinstance(features, Mapping) else ()
    why = ", ".join(dict.fromkeys(reasons))
    return "; ".join(parts) + (f" ({why[:120]})" if why else "")


def _wrapped(title: str, text: str) -> list[str]:
    """The text under its title, on a few lines."""
    start = f"  {title:10} "
    return textwrap.wrap(text, 100, initial_indent=start, subsequent_indent=" " * len(start))[:6]


def _power(result: Result) -> str:
    rejected, missed, out_of_reach = result.power
    text = f"would have rejected {len(rejected)} of {len(rejected) + len(missed)} mistakes"
    if out_of_reach:
        text += f" ({len(out_of_reach)} need options that it does not take, or other values)"
    shown = ", ".join(missed[:4]) + (", ..." if len(missed) > 4 else "")
    return text + (f"; not: {shown}" if missed else "")


def _options(result: Result) -> list[str]:
    lines = []
    if result.fixed:
        fixed = ", ".join(f"{k}={v!r}" for k, v in result.fixed.items())
        lines.append(f"  fixed      {fixed}")
    if result.unnamed and result.verdict in (PASS, FAIL):
        lines.append(
            f"  not taken  {', '.join(result.unnamed)} (each at its fixed or default value)"
        )
    return lines


def _indent(code: str) -> list[str]:
    return ["    " + line for line in code.splitlines()]


# ------------------------------------------------------------------------------ reproduction


def reproduction(result: Result, trial: Trial) -> str:
    """A self-contained script: inputs, the library's answer, and what the candidate gave."""
    problem = trial.problem
    lines = ["import numpy as np", "import refimpl", ""]
    names = [a.name for a in result.formula.arguments]
    lines += [f"{name} = {_literal(x)}" for name, x in zip(names, problem.case.arrays, strict=True)]
    options = []
    for name, value in problem.case.options.items():
        if isinstance(value, np.ndarray):
            lines.append(f"{name} = {_literal(value)}")
            options.append(f"{name}={name}")
        else:
            options.append(f"{name}={value!r}")
    call = ", ".join([*names, *options])
    if trial.cotangents is not None:
        lines += [f"g = {_literal(trial.cotangents[0])}"]
        lines.append(f"refimpl.{result.formula.name}.vjp(g, {call})")
    else:
        lines.append(f"refimpl.{result.formula.name}({call})")
    lines.append(f"# right:     {_short(trial.answer)}")
    found = trial.found
    got = _short(found.outputs) if isinstance(found, Answer) else f"raised {found.text}"
    lines.append(f"# candidate: {got}   ({result.dtype})")
    return "\n".join(lines)


def _literal(x: np.ndarray) -> str:
    """A NumPy expression that gives back every bit; large arrays by their printed form."""
    x = np.asarray(x)
    if not np.array_equal(x, x):
        body = repr(x.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    else:
        body = repr(x.tolist()).replace("inf", "np.inf")
    if len(body) > 400:
        body = body[:360] + " ..."
    if x.size == 0:
        return f"np.zeros({x.shape}, {x.dtype.name!r})"
    return f"np.array({body})"


def _short(outputs) -> str:
    shown = " ; ".join(
        np.array2string(y, precision=9, threshold=12, separator=", ") for y in outputs
    )
    return " ".join(shown.split())[:200]


# -------------------------------------------------------------------------------------- JSON


def as_json(result: Result) -> str:
    """The report as JSON (NaN and infinity as text)."""
    worst = result.worst
    content: dict[str, Any] = {
        "formula": result.formula.name,
        "candidate": result.candidate,
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        "reason": result.reason,
        "gradients": result.gradients,
        "dtype": result.dtype,
        "arrays": result.library,
        "seconds": round(result.seconds, 3),
        "cases": len(result.judged),
        "failures": [_trial_json(t) for t in result.failures[:10]],
        "failed": len(result.failures),
        "covered": sorted(map(str, result.covered)),
        "refused": {str(feature): why for feature, why in result.refused.items()},
        "not_judged": sorted(map(str, result.not_judged)),
        "seconds_needed": round(result.seconds_needed, 1),
        "worst": None if worst is None else _trial_json(worst),
        "diagnosis": [e._asdict() for e in result.explanations],
        "power": {k: list(v) for k, v in result.power._asdict().items()},
        "notes": [note._asdict() for note in result.notes],
        "fixed": {k: repr(v) for k, v in result.fixed.items()},
        "not_taken": result.unnamed,
        "reproduction": None if result.shrunk is None else reproduction(result, result.shrunk),
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _trial_json(trial: Trial) -> dict[str, Any]:
    judgement, name = trial.worst
    return {
        "case": trial.plan.label,
        "output": name,
        "measure": judgement.measure,
        "ratio": _number(judgement.ratio),
        "measured": _number(judgement.measured),
        "bound": _number(judgement.bound),
        "where": list(judgement.where),
        "raised": trial.found.text if isinstance(trial.found, Refusal) else None,
    }


def _number(x: float) -> float | str:
    return float(x) if np.isfinite(x) else str(x)
