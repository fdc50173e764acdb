"""The program that decides on a GPU, tried on the imitation of CuPy."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.formula import find
from tests.shim import fakecupy
from tools import gpu_check

NAMES = ("softmax_attention", "rotary_embedding", "gaussian_kl", "wasserstein_squared")


@pytest.fixture
def fake(monkeypatch):
    xp = fakecupy.install()
    monkeypatch.setattr(gpu_check.backend, "cupy_or_none", lambda: xp)
    yield xp
    fakecupy.uninstall()


def test_right_formulas_pass_every_round(fake):
    result = gpu_check.run([find(name) for name in NAMES], 5.0, lambda text: None)
    assert result["wrong"] == []
    assert result["asked"] > 5 * len(NAMES)
    assert result["not reached"] == []


def test_a_wrong_body_is_found(fake, monkeypatch):
    formula = find("gaussian_entropy")
    plain = formula.forms["plain"]

    def only_right_on_the_host(cov):
        return plain.body(cov) + (0.0 if type(cov) is np.ndarray else 1.0)

    wrong = plain._replace(body=only_right_on_the_host)
    monkeypatch.setitem(formula.forms, "plain", wrong)
    result = gpu_check.run([formula], 5.0, lambda text: None)
    assert result["wrong"]


def test_what_is_not_reached_is_listed(fake):
    result = gpu_check.run([find("gaussian_kl")], -1.0, lambda text: None)
    assert len(result["not reached"]) == 5
    assert result["asked"] == 0
