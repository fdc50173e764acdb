"""Public implementations, in every precision: they agree, or it is known why not.

pip install -r tools/requirements/peers.txt
pip install --no-deps -r tools/requirements/peers-no-deps.txt
python -m pytest tests/peers -m peers
"""

from __future__ import annotations

import pytest

from refimpl.check.peers import PEERS, is_explained, loses_only_digits
from refimpl.check.trial import PASS
from refimpl.formula import find
from tests.table import FORMULAS

pytestmark = [
    pytest.mark.peers,
    # Their deprecations are not ours.
    pytest.mark.filterwarnings("ignore"),
]

RUNS = [(record, *run) for record in PEERS for run in record.runs()]
# Long axes take minutes: refimpl peers has them.
SHORT = 40
IDS = [f"{r.formula}-{r.name}-{dtype}{'-grad' * gradients}" for r, dtype, gradients in RUNS]


@pytest.mark.parametrize("record", PEERS, ids=[f"{r.formula}-{r.name}" for r in PEERS])
def test_is_installed(record):
    assert record.installed, f"needs {' and '.join(record.requires)}: see tools/requirements"


@pytest.mark.parametrize("record", PEERS, ids=[f"{r.formula}-{r.name}" for r in PEERS])
def test_is_an_adapter_of_a_formula_and_names_its_options(record):
    formula = find(record.formula)
    assert formula in FORMULAS
    assert record.options.keys() <= formula.options.keys()
    known = {f"{d}{suffix}" for d in record.dtypes for suffix in ("", " gradients")}
    assert record.because.keys() <= known


@pytest.mark.parametrize(("record", "dtype", "gradients"), RUNS, ids=IDS)
def test_agrees_or_it_is_known_why_not(record, dtype, gradients):
    result = record.check(dtype, gradients, longest=SHORT)
    found = [e.text for e in result.explanations]
    worst = result.worst.worst[0] if result.worst else None
    assert is_explained(record, dtype, gradients, result), (result.reason, worst, found)
    # A disagreement has a name, unless it is one of digits.
    assert result.verdict == PASS or found or loses_only_digits(record, result), worst
