"""The fake of CuPy against mistakes that real CuPy punishes, and against idioms that it allows.

Each mistake is seeded code that runs, or would run, on NumPy. ``MISSED`` is the honest list of what
the fake cannot see; only a GPU shows those.
"""

from __future__ import annotations

import copy
import json
import sys

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.special
from numpy.linalg import LinAlgError

from tests.shim import fakecupy
from tests.shim.fakecupy import Silent, surface, transfers
from tools import gpu_facts

A = np.random.default_rng(0).standard_normal((5, 4))
S = A.T @ A + np.eye(4)
I = np.array([3, 1, 2])  # noqa: E741 (an index)
B = A > 0
SHUFFLED = np.arange(3001) * 1000 % 3001


@pytest.fixture
def xp():
    if "cupy" in sys.modules and sys.modules["cupy"] is not fakecupy.cupy:
        pytest.skip("the real CuPy is imported")
    yield fakecupy.install()
    fakecupy.uninstall()


def raises_not(error, function):
    """Fails, as a caller's test would, where the function does not raise the error it relies on."""
    try:
        function()
    except error:
        return
    raise AssertionError("accepted")


def insist(condition):
    """A caller's own assertion."""
    assert condition


def assign(x, key, value):
    x[key] = value
    return x


# name: (what CuPy does, the mistake as a function of the namespace and of the way there)
MISTAKES = {
    "host array in arithmetic": (TypeError, lambda xp, d: d(A) + np.ones(4)),
    "host array first": (TypeError, lambda xp, d: np.ones(4) * d(A)),
    "host array in place": (TypeError, lambda xp, d: d(A).__iadd__(np.ones(4))),
    "list in arithmetic": (TypeError, lambda xp, d: d(A) + [1, 2, 3, 4]),
    "none in arithmetic": (TypeError, lambda xp, d: d(A) + None),
    "host array in ufunc": (TypeError, lambda xp, d: xp.maximum(d(A), np.zeros(4))),
    "host array in function": (TypeError, lambda xp, d: xp.where(B, d(A), 0)),
    "host array in matmul": (TypeError, lambda xp, d: xp.matmul(d(A), S)),
    "list in ufunc": (TypeError, lambda xp, d: xp.exp([1.0])),
    "np.asarray": (TypeError, lambda xp, d: np.asarray(d(A))),
    "np.testing": (TypeError, lambda xp, d: np.testing.assert_allclose(d(A), d(A))),
    "np.array of list": (TypeError, lambda xp, d: np.array([d(A).sum()])),
    "device index on host": (TypeError, lambda xp, d: A[d(I)]),
    "where=": (TypeError, lambda xp, d: xp.sum(d(A), where=d(B))),
    "method where=": (TypeError, lambda xp, d: d(A).sum(where=d(B))),
    "ufunc where=": (TypeError, lambda xp, d: xp.log(d(A), where=d(B))),
    "initial=": (TypeError, lambda xp, d: xp.max(d(A), initial=0.0)),
    "method initial=": (TypeError, lambda xp, d: d(A).max(initial=0.0)),
    "correction=": (TypeError, lambda xp, d: xp.std(d(A), correction=1)),
    "cholesky upper=": (TypeError, lambda xp, d: xp.linalg.cholesky(d(S), upper=True)),
    "svd hermitian=": (TypeError, lambda xp, d: xp.linalg.svd(d(S), hermitian=True)),
    "pinv rtol=": (TypeError, lambda xp, d: xp.linalg.pinv(d(S), rtol=1e-9)),
    "lexsort of tuple": (AttributeError, lambda xp, d: xp.lexsort((d(A[:, 0]), d(A[:, 1])))),
    "searchsorted in list": (NotImplementedError, lambda xp, d: xp.searchsorted([1.0], d(A))),
    "packbits axis=": (NotImplementedError, lambda xp, d: xp.packbits(d(B), axis=-1)),
    "unpackbits count=": (
        TypeError,
        lambda xp, d: xp.unpackbits(d(np.packbits(B)), count=20),
    ),
    "take mode=": (TypeError, lambda xp, d: xp.take(d(A), d(I), axis=0, mode="clip")),
    "take_along_axis without axis": (
        TypeError,
        lambda xp, d: xp.take_along_axis(d(A), d(np.argsort(A))),
    ),
    "clip min=": (TypeError, lambda xp, d: xp.clip(d(A), min=0.0)),
    "einsum out=": (TypeError, lambda xp, d: xp.einsum("ij,ij->i", d(A), d(A), out=None)),
    "unique sorted=": (TypeError, lambda xp, d: xp.unique(d(I), sorted=False)),
    "argsort stable=": (TypeError, lambda xp, d: xp.argsort(d(A), stable=True)),
    "unstable sort": (NotImplementedError, lambda xp, d: xp.sort(d(A), kind="quicksort")),
    "zeros device=": (TypeError, lambda xp, d: xp.zeros(3, device="cpu")),
    "vector_norm": (AttributeError, lambda xp, d: xp.linalg.vector_norm(d(A))),
    "svdvals": (AttributeError, lambda xp, d: xp.linalg.svdvals(d(A))),
    "vecdot": (AttributeError, lambda xp, d: xp.vecdot(d(A), d(A))),
    "block": (AttributeError, lambda xp, d: xp.block([[d(S), d(S)]])),
    "insert": (AttributeError, lambda xp, d: xp.insert(d(I), 1, 5)),
    "np.insert": (TypeError, lambda xp, d: np.insert(d(I), 1, 5)),
    "generator.normal": (AttributeError, lambda xp, d: xp.random.default_rng(0).normal(size=3)),
    "generator.permutation": (
        AttributeError,
        lambda xp, d: xp.random.default_rng(0).permutation(3),
    ),
    "range of a maximum": (TypeError, lambda xp, d: range(xp.max(d(I)))),
    "shape from an array": (TypeError, lambda xp, d: xp.zeros(xp.max(d(I)))),
    "axis from an array": (TypeError, lambda xp, d: xp.sum(d(A), axis=d(I)[1])),
    "reshape by an array": (TypeError, lambda xp, d: d(A).reshape(d(I)[1], -1)),
    "list index": (TypeError, lambda xp, d: "ab"[d(I)[1]]),
    "round()": (TypeError, lambda xp, d: round(d(A)[0, 0])),
    "json": (TypeError, lambda xp, d: json.dumps({"m": xp.sum(d(A))})),
    "isinstance float": (
        AssertionError,
        lambda xp, d: insist(isinstance(xp.sum(d(A)), float)),
    ),
    "dict key": (TypeError, lambda xp, d: {xp.sum(d(I)): 1}[6]),
    "mixed list": (TypeError, lambda xp, d: xp.asarray([1.0, xp.sum(d(A))])),
    "concatenate host": (TypeError, lambda xp, d: xp.concatenate([d(I), np.arange(3)])),
    "concatenate list": (TypeError, lambda xp, d: xp.concatenate([d(I), [1, 2]])),
    "object dtype": (ValueError, lambda xp, d: d(A).astype(object)),
    "longdouble": (ValueError, lambda xp, d: d(A).astype(np.longdouble)),
    "longdouble upload": (ValueError, lambda xp, d: d(A.astype(np.longdouble))),
    "xp.longdouble": (AttributeError, lambda xp, d: xp.longdouble(1)),
    "float16 inverse": (TypeError, lambda xp, d: xp.linalg.inv(d(S.astype(np.float16)))),
    "host into slice": (ValueError, lambda xp, d: assign(d(A), slice(2), A[:2] + 1)),
    "SciPy solve_triangular": (
        TypeError,
        lambda xp, d: scipy.linalg.solve_triangular(d(S), d(A[:4])),
    ),
    "SciPy assignment": (TypeError, lambda xp, d: scipy.optimize.linear_sum_assignment(d(S))),
    "solve broadcasting": (
        ValueError,
        lambda xp, d: xp.linalg.solve(d(np.stack([S, S])), d(A[:4])),
    ),
    "linalg of host array": (AttributeError, lambda xp, d: xp.linalg.norm(A)),
    "subtract.at": (TypeError, lambda xp, d: xp.subtract.at(d(A[:, 0]), d(I), 1.0)),
    "multiply.reduceat": (
        NotImplementedError,
        lambda xp, d: xp.multiply.reduceat(d(A[:, 0]), d(I)),
    ),
    "maximum.reduce": (NotImplementedError, lambda xp, d: xp.maximum.reduce(d(A))),
    "np.maximum.accumulate": (NotImplementedError, lambda xp, d: np.maximum.accumulate(d(A))),
    "add.reduce where=": (TypeError, lambda xp, d: xp.add.reduce(d(A), where=d(B))),
    "maximum.at of float16": (
        TypeError,
        lambda xp, d: xp.maximum.at(d(A[:, 0].astype(np.float16)), d(I), d(I)),
    ),
    # From here on CuPy itself says nothing, and the fake must.
    "out-of-bounds take": (Silent, lambda xp, d: xp.take(d(A), d(I + 6), axis=0)),
    "out-of-bounds index": (Silent, lambda xp, d: d(A)[d(I + 6)]),
    "out-of-bounds column": (Silent, lambda xp, d: d(A)[:, d(I + 3)]),
    "out-of-bounds list": (Silent, lambda xp, d: d(A)[[9]]),
    "out-of-bounds along axis": (
        Silent,
        lambda xp, d: xp.take_along_axis(d(A), d(np.full((5, 1), 4)), 1),
    ),
    "out-of-bounds write": (Silent, lambda xp, d: assign(d(A), d(I + 6), 0.0)),
    "out-of-bounds scatter": (Silent, lambda xp, d: xp.add.at(d(A[:, 0]), d(I + 6), 1.0)),
    "duplicate write": (
        Silent,
        lambda xp, d: assign(d(A[:, 0]), d(np.array([0, 0])), d(np.array([1.0, 2.0]))),
    ),
    "relies on LinAlgError of cholesky": (
        AssertionError,
        lambda xp, d: raises_not(LinAlgError, lambda: xp.linalg.cholesky(d(-S))),
    ),
    "relies on LinAlgError of inv": (
        AssertionError,
        lambda xp, d: raises_not(LinAlgError, lambda: xp.linalg.inv(d(np.zeros((2, 2))))),
    ),
    "relies on RuntimeWarning": (
        AssertionError,
        lambda xp, d: raises_not(RuntimeWarning, lambda: xp.log(d(-S))),
    ),
    "negative float to unsigned": (
        Silent,
        lambda xp, d: d(np.array([-1.5], np.float32)).astype(np.uint32),
    ),
    "NaN to integer": (Silent, lambda xp, d: d(np.array([np.nan])).astype(np.int64)),
    "power of Booleans": (Silent, lambda xp, d: d(B) ** 2),
    "xp.power of Booleans": (Silent, lambda xp, d: xp.power(d(B), d(B))),
}

# Code that is right on NumPy and otherwise on CuPy; the fake's answer differs from NumPy's.
DIFFERENT = {
    "order in a partition": lambda xp, d: xp.argpartition(d(SHUFFLED), 700),
    "sign of qr": lambda xp, d: xp.linalg.qr(d(A))[0],
    "sign of eigenvectors": lambda xp, d: xp.linalg.eigh(d(S))[1],
    "sign of singular vectors": lambda xp, d: xp.linalg.svd(d(A), full_matrices=False)[0],
}

# Runs on the fake as on NumPy, and not so on a GPU.
MISSED = {
    "last bits of exp": lambda xp, d: xp.exp(d(A)),
    "order of atomic additions": lambda xp, d: xp.bincount(d(I % 2), weights=d(A[:3, 0])),
    "monotone cumsum": lambda xp, d: xp.cumsum(d(abs(A[:, 0]))),
    "memory order of a result": lambda xp, d: xp.exp(d(np.asfortranarray(A))),
}

VALID = {
    "np ufunc": lambda xp, d: np.exp(d(A)),
    "np function": lambda xp, d: np.linalg.norm(d(A), axis=1),
    "SciPy ufunc": lambda xp, d: scipy.special.erf(d(A)),
    "where": lambda xp, d: xp.where(d(B), d(A), 0.0),
    "np.where": lambda xp, d: np.where(d(B), d(A), 0.0),
    "einsum": lambda xp, d: xp.einsum("ij,kj->ik", d(A), d(A)),
    "slogdet": lambda xp, d: xp.linalg.slogdet(d(S)),
    "solve": lambda xp, d: xp.linalg.solve(d(S), d(A[:4])),
    "eigenvalues": lambda xp, d: xp.linalg.eigh(d(S))[0],
    "singular values": lambda xp, d: xp.linalg.svd(d(A), compute_uv=False),
    "cumsum": lambda xp, d: xp.cumsum(d(A), axis=1),
    "bincount": lambda xp, d: xp.bincount(d(I), minlength=5),
    "packbits": lambda xp, d: xp.packbits(d(B).ravel(), bitorder="little"),
    "bitwise_count": lambda xp, d: xp.bitwise_count(d(I)),
    "tril": lambda xp, d: xp.tril(d(S)),
    "searchsorted": lambda xp, d: xp.searchsorted(d(np.sort(I)), d(I), side="right"),
    "argsort": lambda xp, d: xp.argsort(d(A), axis=-1, kind="stable"),
    "take_along_axis": lambda xp, d: xp.take_along_axis(d(A), xp.argsort(d(A)), axis=-1),
    "fancy": lambda xp, d: d(A)[d(I)][:, d(B[0])],
    "host index": lambda xp, d: d(A)[I],
    "mask": lambda xp, d: d(A)[d(B)],
    "ellipsis": lambda xp, d: d(A)[..., d(I)],
    "new axis": lambda xp, d: d(A)[None, ..., 0],
    "mask write": lambda xp, d: assign(d(A), d(B), 0.0),
    "slice write": lambda xp, d: assign(d(A), slice(2), d(A[:2] + 1)),
    "in place": lambda xp, d: d(A).__iadd__(1.0),
    "methods": lambda xp, d: d(A).sum(axis=0).astype(np.float32).reshape(2, 2).T,
    "transpose": lambda xp, d: d(A[None]).transpose(0, 2, 1).copy(),
    "method clip": lambda xp, d: d(A).clip(0, None),
    "function clip": lambda xp, d: xp.clip(d(A), 0, None),
    "NumPy scalar": lambda xp, d: d(A) * np.float64(2),
    "NumPy scalar first": lambda xp, d: np.float64(2) * d(A),
    "Python scalar": lambda xp, d: 2.0 / (1 + abs(d(A))),
    "comparison": lambda xp, d: (d(A) > 0).any(),
    "fft": lambda xp, d: xp.fft.rfft(d(A)),
    "concatenate": lambda xp, d: xp.concatenate([d(A), d(A)]),
    "stack of 0-d": lambda xp, d: xp.stack([d(A).sum(), d(A).max()]),
    "list of 0-d": lambda xp, d: xp.asarray([d(A).sum(), d(A).max()]),
    "zeros": lambda xp, d: xp.zeros((2, 3), dtype=xp.float32),
    "median": lambda xp, d: xp.median(d(A)),
    "swapaxes": lambda xp, d: d(A).swapaxes(-1, -2) @ d(A),
    "tensordot": lambda xp, d: xp.tensordot(d(A), d(A), axes=(0, 0)),
    "out=": lambda xp, d: xp.exp(d(A), out=xp.zeros((5, 4))),
    "reduce": lambda xp, d: xp.add.reduce(d(A), axis=1),
    "accumulate": lambda xp, d: xp.multiply.accumulate(d(A), axis=1),
    "outer": lambda xp, d: xp.subtract.outer(d(I), d(I)),
    "no warning": lambda xp, d: xp.sqrt(d(abs(A))) / 1.0,
    "fitting cast": lambda xp, d: d(np.array([1.5, -2.5])).astype(np.int32),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_catches(xp, name):
    error, mistake = MISTAKES[name]
    with pytest.raises(error):
        mistake(xp, xp.asarray)


@pytest.mark.parametrize("name", DIFFERENT)
def test_differs_from_numpy(xp, name):
    expected = DIFFERENT[name](np, np.asarray)
    assert not np.array_equal(DIFFERENT[name](xp, xp.asarray).get(), expected)


@pytest.mark.parametrize("name", MISSED)
def test_cannot_see(xp, name):
    expected = MISSED[name](np, np.asarray)
    np.testing.assert_array_equal(MISSED[name](xp, xp.asarray).get(), expected)


@pytest.mark.parametrize("name", VALID)
def test_allows(xp, name):
    found = VALID[name](xp, xp.asarray)
    expected = VALID[name](np, np.asarray)
    many = isinstance(expected, tuple)
    pairs = zip(found, expected, strict=True) if many else [(found, expected)]
    for value, wanted in pairs:
        assert isinstance(value, fakecupy.ndarray)
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value.get(), wanted)


def test_scatter_adds_duplicates_through_numpy_too(xp):
    x = xp.zeros(3)
    np.add.at(x, xp.asarray(np.array([0, 0])), 1.0)
    xp.add.at(x, xp.asarray(np.array([2])), 5.0)
    assert x.tolist() == [2, 0, 5]


def test_failed_factorisations_raise_only_when_asked(xp):
    import cupyx

    singular = xp.zeros((2, 2))
    assert np.isfinite(xp.linalg.inv(singular).get()).all()
    assert len(xp.linalg.svd(xp.asarray(np.full((2, 2), np.nan)))) == 3
    with cupyx.errstate(linalg="raise"):
        with pytest.raises(LinAlgError):
            xp.linalg.inv(singular)
        with pytest.raises(LinAlgError):
            xp.linalg.cholesky(xp.asarray(-S))
        assert np.isnan(xp.linalg.cholesky(xp.asarray(np.full((2, 2), np.nan))).get()).all()
    assert np.isfinite(xp.linalg.cholesky(xp.asarray(-S)).get()).all()


def test_shape_errors_raise_always(xp):
    with pytest.raises(LinAlgError):
        xp.linalg.cholesky(xp.zeros((2, 3)))


def test_triangular_solver_is_strict_and_silent(xp):
    from cupyx.scipy.linalg import solve_triangular

    with pytest.raises(ValueError, match="batch"):
        solve_triangular(xp.asarray(np.stack([S, S])), xp.asarray(A[:4]))
    singular = xp.asarray(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert not np.isfinite(solve_triangular(singular, xp.ones(2), lower=True).get()).all()
    single = xp.asarray(np.eye(2, dtype=np.float32))
    assert solve_triangular(single, xp.ones(2)).dtype == np.float32


def test_transfers_are_counted(xp):
    x = xp.asarray(A)
    with transfers() as seen:
        for value in x[:, 0]:
            float(value)
        bool(x.any())
        x[I]
        xp.asarray(S)
        f"{x.sum():.3f}"
    assert (seen.uploads, seen.downloads) == (2, 7)


def test_results_of_reductions_are_arrays(xp):
    x = xp.asarray(A)
    for value in (x.sum(), xp.max(x), x[0, 0], (x > 0).any()):
        assert isinstance(value, fakecupy.ndarray)
        assert value.shape == ()


def test_device_memory_is_its_own(xp):
    host = A.copy()
    there = xp.asarray(host)
    host[0, 0] = 99
    assert there.get()[0, 0] != 99
    back = there.get()
    back[0, 0] = 77
    assert there.get()[0, 0] != 77


def test_install_and_uninstall(monkeypatch):
    if "cupy" in sys.modules:
        pytest.skip("a CuPy is imported")
    fakecupy.install()
    assert sys.modules["cupy"] is fakecupy.cupy
    assert sys.modules["cupyx"].scipy.special is sys.modules["cupyx.scipy.special"]
    fakecupy.uninstall()
    assert not [name for name in sys.modules if name.startswith("cupy")]
    monkeypatch.setitem(sys.modules, "cupy", copy)
    with pytest.raises(RuntimeError, match="real cupy"):
        fakecupy.install()


def test_the_facts_for_a_gpu_are_askable(xp):
    groups = [gpu_facts.factorisation_facts, gpu_facts.index_facts, gpu_facts.mixture_facts]
    for group in groups:
        for name, _, call in group(xp):
            found = gpu_facts.outcome(call)
            assert not found.startswith(("AttributeError", "NameError")), (name, found)


def test_frozen_signatures_are_read_right():
    assert surface.complaint("sum", 1, {"axis", "keepdims"}) is None
    assert "no keyword where" in surface.complaint("sum", 1, {"where"})
    assert "needs a_max, a_min" in surface.complaint("clip", 1, set())
    assert "takes 2 positional" in surface.complaint("broadcast_to", 3, set())
    assert surface.complaint("broadcast_to", 3, set(), starred=True) is None
    assert surface.complaint("min_scalar_type", 7, {"anything"}) is None
    assert surface.is_ufunc("exp") and not surface.is_ufunc("sum")
    assert surface.has("linalg.norm") and not surface.has("linalg.vector_norm")
