"""The shim on real CuPy without a GPU: does every function get as far as the device?

A real ``cupy.ndarray`` can be laid over host memory. Its metadata, views, dispatch and argument
errors are CuPy's own, and only launching a kernel fails. So each shim function must end in success,
in CUDARuntimeError, or in the ImportError of a missing CUDA library; anything else is our bug.
Never where a device exists: a kernel would get the host's pointer. The calls run in a child,
because the fake cannot be installed beside the real CuPy.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from refimpl import backend as B
from tests.shim.test_fake import MISTAKES, VALID

HERE = "tests.shim.test_real_cupy_without_gpu"
MATRIX = 2 * np.eye(3) + 1
INTEGERS = np.array([2, 0, 1])

CASES = {
    "like": lambda up: B.like(np.ones(2), up(MATRIX)),
    "as_array scalar": lambda up: B.as_array(1.0, like=up(MATRIX)),
    "as_array": lambda up: B.as_array(up(MATRIX)),
    "to_host": lambda up: B.to_host(up(MATRIX)),
    "scalar": lambda up: B.scalar(up(np.array(1.0))),
    "dtype_name": lambda up: B.dtype_name(up(MATRIX)),
    "astype": lambda up: B.astype(up(MATRIX), "float32"),
    "astype same": lambda up: B.astype(up(MATRIX), "float64"),
    "result_type": lambda up: B.result_type(up(MATRIX), 1.0),
    "finfo": lambda up: B.finfo(up(MATRIX)),
    "unbroadcast": lambda up: B.unbroadcast(up(MATRIX), (1, 3)),
    "draw": lambda up: B.draw(np.random.default_rng(0), "normal", (2,), like=up(MATRIX)),
    "cholesky": lambda up: B.cholesky(up(MATRIX)),
    "cholesky float16": lambda up: B.cholesky(up(MATRIX.astype("float16"))),
    "solve": lambda up: B.solve(up(np.stack([MATRIX, MATRIX])), up(MATRIX)),
    "solve vector": lambda up: B.solve(up(np.stack([MATRIX, MATRIX])), up(MATRIX[0])),
    "solve_triangular": lambda up: B.solve_triangular(up(np.stack([MATRIX])), up(MATRIX)),
    "eigh": lambda up: B.eigh(up(MATRIX)),
    "eigvalsh": lambda up: B.eigvalsh(up(MATRIX)),
    "svd": lambda up: B.svd(up(MATRIX)),
    "svdvals": lambda up: B.svdvals(up(MATRIX)),
    "qr": lambda up: B.qr(up(MATRIX)),
    "logdet_from_cholesky": lambda up: B.logdet_from_cholesky(up(MATRIX)),
    "sort": lambda up: B.sort(up(MATRIX)),
    "argsort": lambda up: B.argsort(up(MATRIX), 0),
    "lexsort": lambda up: B.lexsort((up(INTEGERS), up(INTEGERS))),
    "topk": lambda up: B.topk(up(MATRIX), 2),
    "packbits": lambda up: B.packbits(up(MATRIX > 1)),
    "unpackbits": lambda up: B.unpackbits(up(INTEGERS.astype("uint8")), count=9),
    "popcount": lambda up: B.popcount(up(INTEGERS.astype("uint8"))),
    "take": lambda up: B.take(up(MATRIX), up(INTEGERS), 1),
    "take list": lambda up: B.take(up(MATRIX), [0], 1),
    "take_along_axis": lambda up: B.take_along_axis(up(MATRIX), up(INTEGERS[None]), 0),
    "scatter_add": lambda up: B.scatter_add(up(MATRIX), up(INTEGERS), up(MATRIX)),
    "erf": lambda up: B.erf(up(MATRIX)),
}

# The same once every download is answered "fine": what follows a check must get to the device too.
BEYOND_CHECKS = [
    *("cholesky", "cholesky float16", "solve_triangular", "eigh", "eigvalsh", "svd", "svdvals"),
    *("take", "take_along_axis", "scatter_add"),
]


def hollow(array):
    """A real cupy.ndarray over the memory of a host array."""
    import cupy

    array = np.asarray(array, order="C")
    memory = cupy.cuda.UnownedMemory(array.ctypes.data, array.nbytes, array, device_id=0)
    return cupy.ndarray(array.shape, array.dtype, cupy.cuda.MemoryPointer(memory, 0))


def outcome(call) -> str:
    """ "ok", or the kind of the exception with its message."""
    try:
        call(hollow)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the result)
        return f"{type(error).__name__}: {error}"
    return "ok"


def kind_of(call) -> str:
    """The outcome of code that takes the namespace and the way there."""
    import cupy

    return outcome(lambda up: call(cupy, up))


def outcomes() -> dict[str, str]:
    """Every case's outcome, and those beyond the checks with the checks passed by decree."""
    import cupy

    if cupy.is_available():
        return {}
    found = {name: outcome(call) for name, call in CASES.items()}
    found["namespace"] = B.namespace(hollow(MATRIX)).__name__
    found["mixture"] = outcome(lambda up: B.namespace(up(MATRIX), MATRIX))
    found["cupy_or_none"] = str(B.cupy_or_none())
    found |= {f"mistake {name}": kind_of(entry[1]) for name, entry in MISTAKES.items()}
    found |= {f"valid {name}": kind_of(call) for name, call in VALID.items()}
    B.linalg._require_finite = lambda a: None
    B.index._checked_index = lambda index, x, size, name: index
    B.linalg._zero_on_diagonal = lambda a: False
    found.update({f"beyond {name}": outcome(CASES[name]) for name in BEYOND_CHECKS})
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    environment = os.environ | {"CUPY_CACHE_DIR": str(tmp_path_factory.mktemp("cupy"))}
    command = [sys.executable, "-m", HERE]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result = json.loads(child.stdout)
    if not result:
        pytest.skip("a device is here: the suite itself runs on it")
    return result


def acceptable(text: str) -> bool:
    if text.startswith("ImportError"):
        return "Failure finding" in text
    return text == "ok" or text.startswith("CUDARuntimeError")


@pytest.mark.parametrize("name", [*CASES, *(f"beyond {name}" for name in BEYOND_CHECKS)])
def test_gets_as_far_as_the_device(found, name):
    assert acceptable(found[name]), found[name]


@pytest.mark.parametrize("name", VALID)
def test_cupy_allows_what_the_fake_allows(found, name):
    assert acceptable(found[f"valid {name}"]), found[f"valid {name}"]


@pytest.mark.parametrize("name", MISTAKES)
def test_cupy_raises_what_the_fake_raises(found, name):
    """Only where CuPy gets to the error at all: without a device most calls end before it."""
    real = found[f"mistake {name}"]
    believed = MISTAKES[name][0].__name__
    assert acceptable(real) or real.startswith(believed), real


def test_real_cupy_is_recognised(found):
    assert found["namespace"] == "cupy"
    assert found["mixture"].startswith("TypeError: NumPy and CuPy arrays")
    assert found["cupy_or_none"] == "None"


def test_the_frozen_surface_is_that_of_the_installed_cupy(found):
    command = [sys.executable, "tools/cupy_surface.py", "--check"]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr


if __name__ == "__main__":
    print(json.dumps(outcomes()))
