"""The table as pytest parameters."""

from __future__ import annotations

import pytest
from hypothesis import settings

from refimpl.evidence import evidence
from refimpl.formula import formulas

FORMULAS = list(formulas())
DIFFERENTIABLE = [f for f in FORMULAS if f.differentiable]


def each_formula(records=None):
    """Parametrise ``formula`` over the table."""
    records = FORMULAS if records is None else records
    return pytest.mark.parametrize("formula", records, ids=[f.name for f in records])


def each(kind: str):
    """Parametrise ``formula`` and ``entry`` over regimes, laws, closed_forms or mutants."""
    pairs = [(f, entry) for f in FORMULAS for entry in getattr(evidence(f), kind).values()]
    ids = [f"{f.name}-{entry.name}" for f, entry in pairs]
    return pytest.mark.parametrize(("formula", "entry"), pairs, ids=ids)


def examples_on(backend) -> settings:
    """A fifth of the examples on the imitation of CuPy, where every operation is slow.

    What is exact there is so on NumPy: the imitation only refuses what CuPy would.
    """
    share = 5 if backend.name == "fake" else 1
    return settings(max_examples=settings.default.max_examples // share)
