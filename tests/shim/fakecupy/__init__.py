"""A strict stand-in for CuPy: NumPy's arithmetic under CuPy's rules, for machines without a GPU.

It accepts only names and keywords that CuPy has (surface.json), refuses what CuPy refuses, and
raises :class:`Silent` where CuPy would be wrong without a word. Failed factorisations return finite
garbage unless ``cupyx.errstate(linalg="raise")``, factorisations come in another gauge than
NumPy's, and transfers are counted.

It cannot see: rounding, the order of atomic additions, speed, memory and streams, missing CUDA
libraries, and whatever is wrong in our belief about CuPy. Those need ``tools/gpu.sh``.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np

from tests.shim.fakecupy import functions, surface
from tests.shim.fakecupy.array import Silent, counts, ndarray, transfers

__all__ = ["Silent", "counts", "cupy", "install", "ndarray", "transfers", "uninstall"]


class _Namespace(types.ModuleType):
    """A module whose names are those of the frozen surface below a prefix."""

    def __init__(self, name: str, prefix: str) -> None:
        super().__init__(name)
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        dotted = self._prefix + name
        if surface.is_ufunc(dotted):
            return functions.Ufunc(dotted)
        if dotted in surface.FUNCTIONS:
            return lambda *args, **keywords: functions.call(dotted, args, keywords)
        if dotted in surface.VALUES:
            return functions.numpy_function(dotted)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _asnumpy(x: Any, *args: Any, **keywords: Any) -> np.ndarray:
    return x.get() if isinstance(x, ndarray) else np.asarray(x)


def _get_array_module(*args: Any) -> types.ModuleType:
    return cupy if any(isinstance(x, ndarray) for x in args) else np


def _modules() -> dict[str, types.ModuleType]:
    root = _Namespace("cupy", "")
    root.ndarray = ndarray
    root.__version__ = surface.VERSION
    root.asnumpy = _asnumpy
    root.get_array_module = _get_array_module
    root.linalg = _Namespace("cupy.linalg", "linalg.")
    root.fft = _Namespace("cupy.fft", "fft.")
    extra = types.ModuleType("cupyx")
    extra.errstate = functions.errstate
    extra.scipy = types.ModuleType("cupyx.scipy")
    extra.scipy.special = _Namespace("cupyx.scipy.special", "cupyx.scipy.special.")
    extra.scipy.linalg = types.ModuleType("cupyx.scipy.linalg")
    extra.scipy.linalg.solve_triangular = functions.solve_triangular
    modules = [root, root.linalg, root.fft, extra, extra.scipy]
    modules += [extra.scipy.special, extra.scipy.linalg]
    return {module.__name__: module for module in modules}


_installed = _modules()
cupy = _installed["cupy"]


def install() -> types.ModuleType:
    """Registers the fake as ``cupy`` and ``cupyx``; refuses where the real one is imported."""
    present = sys.modules.get("cupy")
    if present is not None and present is not cupy:
        raise RuntimeError("the real cupy is imported: run the tests on it, not on the fake")
    sys.modules.update(_installed)
    return cupy


def uninstall() -> None:
    """Takes the fake out of sys.modules again."""
    for name, module in _installed.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
