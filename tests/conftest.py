"""Hypothesis profiles, and the ``backend`` fixture: NumPy, the strict fake of CuPy, CuPy itself.

With a usable GPU the fake stays out, since both answer to the name ``cupy``. Under
REFIMPL_REQUIRE_GPU=1 a test that cannot run on CuPy fails instead of being skipped.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

# Two workers on two cores: threads of their own would only stand in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from refimpl.backend import cupy_or_none
from tests.shim import fakecupy

_SHARED = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("ci", derandomize=True, database=None, max_examples=10, **_SHARED)
settings.register_profile("nightly", max_examples=1000, **_SHARED)

_REQUIRE_GPU = os.environ.get("REFIMPL_REQUIRE_GPU") == "1"
_PROBE = "import sys; from refimpl.backend import cupy_or_none; sys.exit(cupy_or_none() is None)"


def _usable_cupy() -> Any:
    """CuPy if it computes here. A child finds out: a useless import would keep the fake out."""
    if importlib.util.find_spec("cupy") is None:
        return None
    probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False)
    return cupy_or_none() if probe.returncode == 0 else None


_CUPY = _usable_cupy()


class Backend:
    """A place to compute in: ``xp`` its module, ``array`` the way there, ``host`` the way back."""

    def __init__(self, name: str, xp: Any) -> None:
        self.name = name
        self.xp = xp

    def __repr__(self) -> str:
        return self.name

    def array(self, host: Any) -> Any:
        """A NumPy array or nested list, there."""
        return self.xp.asarray(host)

    def host(self, array: Any) -> np.ndarray:
        """An array from there, as NumPy's."""
        return np.asarray(array) if self.xp is np else array.get()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="many random examples per property")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("nightly" if config.getoption("--nightly") else "ci")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``nightly`` run only with ``--nightly``."""
    if config.getoption("--nightly"):
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    items[:] = [item for item in items if item not in left_out]
    if left_out:
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(params=["numpy", "fake", "cupy"])
def xp_name(request: pytest.FixtureRequest) -> str:
    """The name of each backend in turn."""
    return request.param


@pytest.fixture
def backend(xp_name: str):
    """Each backend in turn; skips those that this machine lacks."""
    if xp_name == "numpy":
        yield Backend("numpy", np)
    elif xp_name == "cupy":
        yield Backend("cupy", _cupy_or_skip())
    elif _CUPY is not None:
        pytest.skip("the real CuPy is here")
    else:
        yield from _fake_backend()


def _fake_backend():
    yield Backend("fake", fakecupy.install())
    fakecupy.uninstall()


def _cupy_or_skip() -> Any:
    if _CUPY is not None:
        return _CUPY
    if _REQUIRE_GPU:
        pytest.fail("REFIMPL_REQUIRE_GPU=1, but CuPy does not compute on this machine")
    return pytest.skip("no CuPy that computes")
