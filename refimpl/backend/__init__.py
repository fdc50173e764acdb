"""The array-backend shim: everything in this project that knows CuPy exists.

Formulas compute in one of two namespaces, NumPy or, when the caller's arrays are CuPy's, CuPy. The
namespace is inferred from the arguments; CuPy is never imported merely because it is installed.
Host and device never mix: :func:`like` is the only upload, :func:`to_host` and :func:`scalar` are
the only downloads. Arrays of other libraries (torch, JAX, anything with DLPack) enter only through
:func:`to_host`.

Everything that NumPy and CuPy do differently is evened out here; whatever is not here, formulas
call as ``xp.name``. Rooms: ``place`` (where an array lives), ``linalg``, ``index`` (order, bits,
indices).
"""

from __future__ import annotations

from refimpl.backend.index import (
    argsort,
    erf,
    lexsort,
    packbits,
    popcount,
    scatter_add,
    sort,
    take,
    take_along_axis,
    topk,
    unpackbits,
    windows,
)
from refimpl.backend.linalg import (
    cholesky,
    eigh,
    eigvalsh,
    logdet_from_cholesky,
    qr,
    solve,
    solve_triangular,
    strict_linalg,
    svd,
    svdvals,
)
from refimpl.backend.place import (
    as_array,
    astype,
    cupy_or_none,
    draw,
    finfo,
    is_array,
    like,
    namespace,
    quiet,
    result_type,
    scalar,
    spread,
    to_host,
    unbroadcast,
    weak,
)
from refimpl.foreign import dtype_name

__all__ = [
    "argsort",
    "as_array",
    "astype",
    "cholesky",
    "cupy_or_none",
    "draw",
    "dtype_name",
    "eigh",
    "eigvalsh",
    "erf",
    "finfo",
    "is_array",
    "lexsort",
    "like",
    "logdet_from_cholesky",
    "namespace",
    "packbits",
    "popcount",
    "qr",
    "quiet",
    "result_type",
    "scalar",
    "scatter_add",
    "solve",
    "solve_triangular",
    "sort",
    "spread",
    "strict_linalg",
    "svd",
    "svdvals",
    "take",
    "take_along_axis",
    "to_host",
    "topk",
    "unbroadcast",
    "unpackbits",
    "weak",
    "windows",
]
