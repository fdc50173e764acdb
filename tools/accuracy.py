"""The tables of exactness in tools/README.md: ``python -m tools.accuracy`` writes them.

Distances of Gaussians and logits of rotated vectors by this library and by public code, on the
same numbers, beside the exact answer. ``--check`` computes our column anew, which needs no other
library, and compares it with what the page says.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import mpmath
import numpy as np

from refimpl.check.peers.gaussian import divergence, transport
from refimpl.check.peers.position import embedding
from refimpl.formula import find
from tools import golden
from tools.index import between

PAGE = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- exactness: begin -->\n", "<!-- exactness: end -->\n"
D = 6
DIGITS = 80
OURS = "refimpl"
SLACK, FLOOR = 4.0, 4e-15
"""Another BLAS rounds differently: our error may be this many times what is printed, or this."""


class Way(NamedTuple):
    """How a library computes a distance, and what it needs to be installed."""

    requires: tuple[str, ...]
    function: Callable


class Table(NamedTuple):
    """A quantity, the cases that it is computed on, and the ways of others."""

    title: str
    formula: str
    module: str
    options: dict
    cases: Callable[[], dict[str, tuple]]
    others: dict[str, Way]
    number: Callable = itemgetter(0)
    """What is compared, of all entries of an answer."""
    floor: float = FLOOR


class Row(NamedTuple):
    """A case: its exact value, and what each library makes of it, as text."""

    case: str
    value: mpmath.mpf
    found: dict[str, str]


# ------------------------------------------------------------------------------------- inputs


def _covariance(rng, d: int = D) -> np.ndarray:
    factor = rng.standard_normal((d, d))
    return factor @ factor.T + np.eye(d)


def _near(rng, cov: np.ndarray, difference: float) -> np.ndarray:
    """A covariance that differs from this one by ``difference``, in its own units."""
    factor = np.linalg.cholesky(cov)
    change = factor @ _covariance(rng, len(cov)) @ factor.T / len(cov)
    return cov + difference * (change + change.T) / 2


def _regular() -> dict[str, tuple]:
    """Pairs of means and covariances; the means differ as much as the covariances do."""
    rng = np.random.default_rng(0)
    mean, base = rng.standard_normal(D), _covariance(rng)
    step, units = rng.standard_normal(D), rng.permutation(np.geomspace(1, 1e-6, D))
    scale = np.outer(units, units)
    cases = {"generic": (mean + step, _covariance(rng), mean, base)}
    for difference in (1e-4, 1e-8):
        near = _near(rng, base, difference)
        cases[f"differ by {_short(difference)}"] = (mean + difference * step, near, mean, base)
    far = _covariance(rng)
    cases["condition 1e12"] = (units * (mean + step), far * scale, units * mean, base * scale)
    near = _near(rng, base, 1e-8) * scale
    shifted = units * (mean + 1e-8 * step)
    cases["condition 1e12, differ by 1e-8"] = (shifted, near, units * mean, base * scale)
    cases["the same twice"] = (mean, base, mean, base)
    return cases


def _centred() -> dict[str, tuple]:
    """Pairs without means, which would hide the covariances; singular ones, in whole numbers."""
    zero = np.zeros(D)
    cases = {name: (zero, p, zero, q) for name, (_, p, _, q) in _regular().items()}
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-3, 4, (D, 3)).astype(float) for _ in range(2))
    turn = np.array([[1.0, 0, 0], [1, 1, 0], [0, 2, 1]])
    first, last = np.eye(D)[:, :3], np.eye(D)[:, 3:]
    pairs = {
        "singular, equal ranges": (a, a @ turn),
        "singular, nested ranges": (a[:, :2], a @ turn),
        "singular, ranges that meet in 0": (a, b),
        "singular, orthogonal ranges": (first @ a[:3], last @ b[:3]),
        "singular, the same twice": (a, a),
    }
    for name, (p, q) in pairs.items():
        cases[name] = (zero, p @ p.T, zero, q @ q.T)
    return cases


def _samples() -> dict[str, tuple]:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 20, D))
    few, others = rng.standard_normal((2, 4, D))
    step = rng.standard_normal((20, D))
    return {
        "20 and 20 samples": (x, y * np.linspace(0.5, 2, D)),
        "samples differ by 1e-4": (x + 1e-4 * step, x),
        "samples differ by 1e-8": (x + 1e-8 * step, x),
        "units from 1 to 1e-6": (x * np.geomspace(1, 1e-6, D), y * np.geomspace(1, 1e-6, D)),
        "far from the origin, by 1e6": (x + 1e6, y + 1e6),
        "4 and 4 samples": (few, others),
        "4 and 4 samples, differ by 1e-8": (few + 1e-8 * step[:4], few),
        "the same samples twice": (x, x),
        "the same 4 samples twice": (few, few),
    }


def _far() -> dict[str, tuple]:
    """A query three tokens after its key: the logit is the same wherever they are."""
    vectors = np.random.default_rng(3).standard_normal((2, 128)).astype("float32")
    places = (100, 4096, 32768, 131072, 1_000_000)
    return {f"position {m}": (vectors, np.array([m, m - 3])) for m in places}


def _product(entries):
    """The logit of the first row and the second."""
    half = len(entries) // 2
    return sum(a * b for a, b in zip(entries[:half], entries[half:], strict=True))


# ------------------------------------------------------------------------------ ways of others


def _on_torch(function: Callable) -> Callable:
    def call(*arrays):
        import torch

        return function(*map(torch.from_numpy, map(np.array, arrays))).numpy()

    return call


def _neighbours_are_pairs(x, positions):
    """Pairs are neighbours there: with features in that order products are the same."""
    return embedding.lucidrains_rotary(x.unflatten(-1, (2, -1)).mT.flatten(-2), positions)


def _pot_squared(*arrays) -> float:
    return float(transport.pot_wasserstein(*arrays)) ** 2


def _pytorch_fid_of_samples(x, y) -> float:
    moments = (m for s in (x, y) for m in (s.mean(axis=0), np.cov(s, rowvar=False)))
    return float(transport.pytorch_fid(*moments))


def _torchmetrics_of_samples(x, y) -> float:
    """The metric itself, with the identity in place of the network."""
    import torch

    network = torch.nn.Identity()
    network.num_features = x.shape[-1]
    metric = transport.formula_of("torchmetrics.image.fid", "FrechetInceptionDistance")(
        feature=network
    )
    metric.update(torch.from_numpy(x), real=True)
    metric.update(torch.from_numpy(y), real=False)
    return float(metric.compute())


TABLES = (
    Table(
        "Kullback-Leibler divergence",
        "gaussian_kl",
        "gaussian.divergence",
        {},
        _regular,
        {"torch.distributions": Way(("torch",), _on_torch(divergence.torch_kl))},
    ),
    Table(
        "Squared Wasserstein-2 (Bures) distance",
        "wasserstein_squared",
        "gaussian.transport",
        {},
        _centred,
        {
            "POT": Way(("ot",), _pot_squared),
            "pytorch-fid (SciPy's sqrtm)": Way(
                ("pytorch_fid", "scipy", "torch"), transport.pytorch_fid
            ),
            "torchmetrics": Way(("torchmetrics", "torch"), _on_torch(transport.torchmetrics_fid)),
        },
    ),
    Table(
        "Frechet distance of samples",
        "frechet_distance",
        "gaussian.frechet",
        {"ddof": 1},
        _samples,
        {
            "pytorch-fid (SciPy's sqrtm)": Way(
                ("pytorch_fid", "scipy", "torch"), _pytorch_fid_of_samples
            ),
            "torchmetrics": Way(("torchmetrics", "torch"), _torchmetrics_of_samples),
        },
    ),
    Table(
        "Logit of rotated vectors in float32",
        "rotary_embedding",
        "position.rotary",
        {"pairing": "half"},
        _far,
        {
            "transformers (Llama)": Way(
                ("torch", "transformers"), _on_torch(embedding.transformers_llama)
            ),
            "rotary-embedding-torch": Way(
                ("torch", "rotary_embedding_torch"), _on_torch(_neighbours_are_pairs)
            ),
        },
        number=_product,
        floor=1e-6,
    ),
)


def missing() -> list[str]:
    """The packages that the ways of others need and that are not installed."""
    needed = {name for table in TABLES for way in table.others.values() for name in way.requires}
    return sorted(name for name in needed if importlib.util.find_spec(name) is None)


# ----------------------------------------------------------------------------------- measuring


def rows(table: Table, others: bool) -> Iterator[Row]:
    """Every case of a table, by us and, if wanted, by the others."""
    importlib.import_module(f"tools.golden.{table.module}")
    definition, formula = golden.TABLE[table.formula], find(table.formula)
    ways = {OURS: lambda *arrays: formula(*arrays, **table.options)}
    if others:
        ways |= {name: way.function for name, way in table.others.items()}
    for case, arrays in table.cases().items():
        with mpmath.workdps(DIGITS):
            (entries,) = golden.evaluate(definition, arrays, table.options)
            value = table.number(entries)
        # What is 0 comes out of mpmath as a rounding error of its own.
        value = mpmath.mpf(0) if abs(value) < 1e-30 else value
        found = {name: _error(table, way, arrays, value) for name, way in ways.items()}
        yield Row(case, value, found)


def _error(table: Table, way: Callable, arrays: tuple, value) -> str:
    """The relative error; where the answer is 0, what was found instead; or why nothing was."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            entries = np.ravel(way(*(array.copy() for array in arrays))).astype(float)
            found = float(table.number(entries))
        except (ValueError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
            return f"raises {type(error).__name__}"
    if not math.isfinite(found):
        return str(found)
    if value == 0 and found != 0:
        return f"finds {_short(found)}"
    with mpmath.workdps(DIGITS):
        error = float(abs(mpmath.mpf(found) - value) / (abs(value) or 1))
    return _short(error) + (", negative" if found < 0 <= value else "")


def _short(x: float) -> str:
    """One digit and the exponent, without its zeros."""
    digit, _, exponent = f"{x:.0e}".partition("e")
    return f"{digit}e{int(exponent)}" if x else "0"


# ------------------------------------------------------------------------------------- the text


def text() -> str:
    """All tables as Markdown."""
    return "\n".join("\n".join(_lines(table)) + "\n" for table in TABLES)


def _lines(table: Table) -> Iterator[str]:
    names = [OURS, *table.others]
    yield f"**{table.title}** (`{table.formula}`)\n"
    yield f"| case | exact | {' | '.join(names)} |"
    yield "|---|---|" + "---|" * len(names)
    for row in rows(table, others=True):
        cells = " | ".join(row.found[name] for name in names)
        yield f"| {row.case} | {_value(row)} | {cells} |"


def _value(row: Row) -> str:
    return mpmath.nstr(row.value, 3).removesuffix(".0") if row.value else "0"


def printed(readme: str) -> dict[tuple[str, str], tuple[str, str]]:
    """What the page says: the exact value and our error, by formula and case."""
    _, inside, _ = between(readme, BEGIN, END)
    found, formula = {}, ""
    for line in inside.splitlines():
        if line.startswith("**"):
            formula = line.split("`")[1]
        elif line.startswith("| ") and not line.startswith("| case"):
            case, exact, ours = (cell.strip() for cell in line.split("|")[1:4])
            found[formula, case] = exact, ours
    return found


def disagreements(readme: str) -> Iterator[str]:
    """Where our column does not hold: another case, another answer, or a larger error."""
    says = printed(readme)
    for table in TABLES:
        for row in rows(table, others=False):
            exact, ours = says.pop((table.formula, row.case), ("nothing", "nothing"))
            value = _value(row)
            if exact != value:
                yield f"{table.formula}, {row.case}: the value is {value}, not {exact}"
            elif not _holds(row.found[OURS], ours, table.floor):
                yield f"{table.formula}, {row.case}: our error is {row.found[OURS]}, not {ours}"
    for formula, case in says:
        yield f"{formula}, {case}: there is no such case"


def _holds(found: str, says: str, floor: float = FLOOR) -> bool:
    try:
        return float(found) <= max(SLACK * float(says), floor)
    except ValueError:
        return found == says


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit code 1 where ours is not so")
    readme = PAGE.read_text(encoding="utf-8")
    if parser.parse_args().check:
        found = list(disagreements(readme))
        print("\n".join(found), end="\n" if found else "")
        return 1 if found else 0
    if missing():
        print(f"not installed, so that their columns cannot be written: {', '.join(missing())}")
        return 1
    before, _, after = between(readme, BEGIN, END)
    tables = text()
    print(tables)
    PAGE.write_text(before + BEGIN + tables + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
