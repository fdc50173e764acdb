"""Tensors of torch, JAX and every other DLPack producer, seen from NumPy; imports none of them."""

from __future__ import annotations

from typing import Any

import numpy as np

_CPU = 1
_WITHOUT_NUMPY_TYPE = ("bfloat16", "float8_", "float6_", "float4_")


def dtype_name(x: Any) -> str:
    """The name of x's element type in any library: "bfloat16", "float32", "longdouble", "int64"."""
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    name = str(dtype).rpartition(".")[2]
    return "longdouble" if name in ("float96", "float128") else name


def lacks_numpy_type(x: Any) -> bool:
    """Whether the elements are of a narrow float type that NumPy itself does not know."""
    return dtype_name(x).startswith(_WITHOUT_NUMPY_TYPE)


def view_of_foreign(x: Any) -> np.ndarray:
    """A read-only NumPy view of a DLPack tensor; a copy from a device or a narrow type."""
    if hasattr(x, "detach"):
        x = x.detach()
    if hasattr(x, "resolve_conj"):
        x = x.resolve_conj().resolve_neg()
    if lacks_numpy_type(x):
        x = x.float() if hasattr(x, "float") else x.astype("float32")
    if int(x.__dlpack_device__()[0]) != _CPU:
        x = x.cpu() if hasattr(x, "cpu") else np.asarray(x)
    view = np.from_dlpack(x).view()
    # torch would see our writes: its tensors share this memory and NumPy calls it writeable.
    view.flags.writeable = False
    return view
