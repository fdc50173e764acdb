"""The static check finds names and keywords that CuPy lacks, and leaves valid code alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.static_cupy_check import check_source, main

BAD = {
    "xp.vecdot(a, b)": "does not exist",
    "xp.linalg.vector_norm(a)": "does not exist",
    "xp.linalg.svdvals(a)": "does not exist",
    "xp.spacing(a)": "does not exist",
    "xp.longdouble(1)": "does not exist",
    "f(xp.insert)": "does not exist",
    "namespace(a).block([[a]])": "does not exist",
    "backend.namespace(a).block([[a]])": "does not exist",
    "space = namespace(a)\nspace.nanquantile(a, 0.5)": "does not exist",
    "xp.sum(a, where=b)": "where",
    "xp.max(a, initial=0.0)": "initial",
    "xp.exp(a, where=b)": "where",
    "xp.clip(a, min=0.0)": "min",
    "xp.linalg.cholesky(a, upper=True)": "upper",
    "xp.linalg.svd(a, hermitian=True)": "hermitian",
    "xp.linalg.pinv(a, rtol=1e-9)": "rtol",
    "xp.zeros(3, device=d)": "device",
    "xp.argsort(a, stable=True)": "stable",
    "xp.take(a, i, axis=0, mode='clip')": "mode",
    "xp.einsum('ij->i', a, out=None)": "out",
    "xp.unpackbits(a, count=20)": "count",
    "xp.std(a, correction=1)": "correction",
    "xp.take_along_axis(a, i)": "needs axis",
    "xp.where()": "needs condition",
    "xp.exp(a, b, c)": "positional",
    "xp.random.default_rng(0)": "host",
    "xp.add.scatter(a, b)": "does not exist",
    "xp.maximum.reduce(a)": "does not exist",
    "xp.multiply.at(a, i, 2.0)": "does not exist",
}

GOOD = [
    "xp.where(b, a, 0.0)",
    "xp.einsum('ij,kj->ik', a, a, optimize=True)",
    "xp.linalg.svd(a, full_matrices=False)",
    "xp.linalg.LinAlgError",
    "xp.zeros((2, 3), dtype=xp.float32)",
    "xp.argsort(a, axis=-1, kind='stable')",
    "xp.add.at(a, i, 1.0)",
    "xp.stack(*args)",
    "xp.sum(a, **options)",
    "xp.finfo(a.dtype).eps",
    "xp.concatenate([a, a], axis=-1)",
    "xp.nan, xp.inf, xp.pi, xp.newaxis",
    "xp.fft.rfft(a)",
    "xp.__name__",
    "other.vecdot(a, b)",
    "xp.maximum(a, 0, out=a)",
    "xp.matmul(a, b, out=c)",
    "namespace(a).cumsum(a, axis=1)",
]


@pytest.mark.parametrize("source", BAD)
def test_finds(source):
    found = check_source(source, "refimpl/backend.py")
    assert len(found) == 1
    assert BAD[source] in found[0].message
    assert found[0].line == source.count("\n") + 1


@pytest.mark.parametrize("source", GOOD)
def test_leaves_alone(source):
    assert check_source(source, "refimpl/attention/masks.py") == []


@pytest.mark.parametrize(
    "source", ["import numpy as np", "from numpy import exp", "import cupy", "import scipy.linalg"]
)
def test_topics_import_no_array_library(source):
    assert check_source(source, "refimpl/attention/masks.py")
    assert check_source(source, "/anywhere/refimpl/core.py")
    assert not check_source(source, "refimpl/numerics.py")
    assert not check_source(source, "refimpl/evidence/attention/masks.py")


def test_topics_may_import_the_exception():
    assert not check_source("from numpy.linalg import LinAlgError", "refimpl/core.py")


def test_unexecuted_code_is_checked_too():
    source = "def f(xp, a):\n    if False:\n        return xp.insert(a, 0, 1)\n"
    assert str(check_source(source, "x.py")[0]).startswith("x.py:3: xp.insert does not exist")


def test_exit_status(tmp_path, capsys):
    file = tmp_path / "module.py"
    file.write_text("xp.insert(a)\n")
    assert main([str(tmp_path)]) == 1
    assert f"{file}:1: " in capsys.readouterr().out
    file.write_text("xp.exp(a)\n")
    assert main([str(file)]) == 0
    assert capsys.readouterr().out == ""


def test_the_library_passes():
    package = Path(__file__).parents[2] / "refimpl"
    assert main([str(package)]) == 0
