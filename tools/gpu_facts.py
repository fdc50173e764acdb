"""What real CuPy does where the strict fake rests on belief. Prints one line per fact; needs a GPU.

    python tools/gpu_facts.py

Whatever differs from the expectation after "believed" belongs into tests/shim/fakecupy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refimpl import backend as B

Fact = tuple[str, str, Callable[[Any], Any]]


def outcome(call: Callable[[], Any]) -> str:
    """The result of a call in a few words, or its exception."""
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 (whatever it raises is the fact)
        return f"{type(error).__name__}: {str(error)[:60]}"
    return " ".join(str(result).split())[:90]


def under_raise(function: Callable, *args: Any) -> Any:
    """The call with CuPy told to raise on failed factorisations."""
    import cupyx

    with cupyx.errstate(linalg="raise"):
        return function(*args)


def factorisation_facts(xp: Any) -> Iterator[Fact]:
    """What failed factorisations return, silently and when told to raise."""
    bad = {"2-d": -xp.eye(2), "batch": -xp.stack([xp.eye(2)] * 3)}
    for name, a in bad.items():
        yield f"cholesky(-1) {name}", "finite", lambda a=a: xp.linalg.cholesky(a).ravel()[:4]
        yield (
            f"cholesky(-1) {name}, raise",
            "LinAlgError",
            lambda a=a: under_raise(xp.linalg.cholesky, a),
        )
    for n in (2, 300):
        zero, batch, ones = xp.zeros((n, n)), xp.zeros((2, n, n)), xp.ones((2, n, 1))
        yield f"inv(0) n={n}", "no error", lambda a=zero: xp.linalg.inv(a)[0, 0]
        yield f"inv(0) n={n}, raise", "LinAlgError", lambda a=zero: under_raise(xp.linalg.inv, a)
        yield (
            f"solve(0, 1) batch n={n}, raise",
            "LinAlgError",
            lambda a=batch, b=ones: under_raise(xp.linalg.solve, a, b).ravel()[:2],
        )
    nan = xp.full((3, 3), xp.nan)
    for name in ("cholesky", "eigvalsh", "svd"):
        function = getattr(xp.linalg, name)
        yield f"{name}(nan), raise", "NaN or error", lambda f=function: under_raise(f, nan)


def residual_facts(xp: Any) -> Iterator[Fact]:
    """Residuals of batched factorisations, in units of eps, either side of the Jacobi limit."""
    for dtype in ("float32", "float64"):
        for n in (16, 32, 33, 64):
            host = np.random.default_rng(n).standard_normal((8, n, n))
            a = xp.asarray((host + host.swapaxes(1, 2)).astype(dtype))
            eps = np.finfo(dtype).eps

            def eigen(a=a, eps=eps):
                values, v = B.eigh(a)
                return float(abs(v * values[:, None] @ v.swapaxes(1, 2) - a).max()) / eps

            def singular(a=a, eps=eps):
                u, s, vh = B.svd(a)
                return float(abs(u * s[:, None] @ vh - a).max()) / eps

            yield f"eigh residual n={n} {dtype}", "< 300 eps", eigen
            yield f"svd residual n={n} {dtype}", "< 300 eps", singular


def arithmetic_facts(xp: Any) -> Iterator[Fact]:
    """Orders of summation, and last bits of elementary functions."""
    rng = np.random.default_rng(0)
    positive = rng.random(10_000_000, dtype="float32")
    on_device = xp.asarray(positive)
    yield (
        "cumsum of positives falls",
        "maybe",
        lambda: int((xp.diff(xp.cumsum(on_device)) < 0).sum()),
    )
    index = xp.zeros(1_000_000, dtype="int64")

    def added():
        return float(B.scatter_add(xp.zeros(1, "float32"), index, on_device[:1_000_000])[0])

    yield "add.at spread of 10 runs", "not 0", lambda: np.ptp([added() for _ in range(10)])
    grid = np.linspace(-5, 5, 100_001)
    for name in ("exp", "tanh", "expm1", "log1p", "sqrt"):
        x = np.abs(grid) if name in ("log1p", "sqrt") else grid

        def units(name=name, x=x):
            expected = getattr(np, name)(x)
            found = B.to_host(getattr(xp, name)(xp.asarray(x)))
            return float((np.abs(found - expected) / np.spacing(np.abs(expected))).max())

        yield f"{name} against NumPy, units", "< 3", units
    yield (
        "erf against NumPy",
        "< 1e-15",
        lambda: float(np.abs(B.to_host(B.erf(xp.asarray(grid))) - B.erf(grid)).max()),
    )


def index_facts(xp: Any) -> Iterator[Fact]:
    """Indices out of bounds, duplicates, ties."""
    x = xp.arange(4.0)
    outside = xp.asarray(np.array([5]))
    twice = xp.asarray(np.array([0, 0]))

    def written(index, values):
        y = xp.zeros(4)
        y[index] = xp.asarray(values)
        return y

    yield "take out of bounds", "wraps", lambda: xp.take(x, outside)
    yield "x[i] out of bounds", "wraps", lambda: x[outside]
    yield "x[i] = v out of bounds", "wraps", lambda: written(outside, [9.0])
    yield (
        "take_along_axis out of bounds",
        "wraps",
        lambda: xp.take_along_axis(x, outside, 0),
    )
    yield "duplicate assignment", "undefined", lambda: written(twice, [1.0, 2.0])
    ties = np.random.default_rng(0).integers(0, 5, (50, 200)).astype(float)
    ties[:, ::17] = np.nan
    yield (
        "topk with ties and NaN is NumPy's",
        "True",
        lambda: np.array_equal(B.to_host(B.topk(xp.asarray(ties), 40)), B.topk(ties, 40)),
    )
    keys = np.random.default_rng(1).integers(0, 4, (3, 1000))
    yield (
        "lexsort is NumPy's",
        "True",
        lambda: np.array_equal(
            B.to_host(B.lexsort([xp.asarray(key) for key in keys])), np.lexsort(keys)
        ),
    )


def mixture_facts(xp: Any) -> Iterator[Fact]:
    """The exceptions of mixtures, and triangular systems with a zero pivot."""
    x = xp.ones(2)
    yield "asarray([1.0, device])", "TypeError", lambda: xp.asarray([1.0, x.sum()])
    yield "x + [1.0]", "TypeError", lambda: x + [1.0, 1.0]
    yield "x + host", "TypeError", lambda: x + np.ones(2)
    yield "x == None", "TypeError", lambda: x == None  # noqa: E711
    yield "bool ** 2", "another type", lambda: ((x > 0) ** 2).dtype
    yield "from_dlpack to the host", "array", lambda: np.from_dlpack(x, device="cpu")
    yield "float -1.5 to uint32", "0", lambda: (-1.5 * x).astype("uint32")
    from cupyx.scipy.linalg import solve_triangular

    singular = xp.asarray([[1.0, 0.0], [1.0, 0.0]])
    yield "solve_triangular, zero pivot", "inf", lambda: solve_triangular(singular, x, lower=True)


def foreign_facts(xp: Any) -> Iterator[Fact]:
    """Tensors of torch on the GPU, where it is installed."""
    try:
        import torch
    except ImportError:
        return
    for name in ("float32", "bfloat16", "float8_e4m3fn"):
        yield (
            f"to_host(torch {name} on the GPU)",
            "[1. 1.]",
            lambda name=name: B.to_host(torch.ones(2).to(getattr(torch, name)).cuda()),
        )


def main() -> int:
    start = time.perf_counter()
    xp = B.cupy_or_none()
    if xp is None:
        print("no CuPy that computes on this machine")
        return 1
    print(f"cupy {xp.__version__}, NumPy {np.__version__}")
    print(f"first use: {time.perf_counter() - start:.1f} s")
    groups = [factorisation_facts, residual_facts, arithmetic_facts, index_facts]
    for group in [*groups, mixture_facts, foreign_facts]:
        print(f"\n{group.__doc__}")
        for name, believed, call in group(xp):
            print(f"  {name:38s} {outcome(call):60s} believed: {believed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
