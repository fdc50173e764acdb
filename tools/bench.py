"""The measurements of the project's targets: ``python -m tools.bench [--quick]``, on one thread.

Ratios below 1 mean that we are faster than torch. A star marks the form that is taken at that size.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from refimpl.check import bench
from refimpl.formula import find

ATTENTION = (512, 1024, 2048)
OTHERS = (
    ("rotary_embedding", {"n": 4096, "d": 128}, ()),
    ("gaussian_kl", {"d": 8}, (10_000,)),
    ("gaussian_kl", {"d": 64}, (512,)),
)
IMPORT = "import time, numpy; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def import_seconds(statement: str) -> float:
    """What a statement costs in a fresh process that has NumPy already, in the median."""
    command = [sys.executable, "-c", IMPORT.format(statement)]
    return statistics.median(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(9)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the smallest attention")
    quick = parser.parse_args().quick
    if any(os.environ.get(name) != value for name, value in bench.THREADS.items()):
        # BLAS reads its number of threads once, when NumPy is imported.
        command = [sys.executable, "-m", "tools.bench", *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | bench.THREADS, check=False).returncode
    print("import refimpl: {:.1f} ms beyond NumPy's".format(1e3 * import_seconds("import refimpl")))
    first = import_seconds("import refimpl; refimpl.softmax_attention")
    print(f"with its first formula: {1e3 * first:.1f} ms")
    for name in ("softmax_attention", "gaussian_kl"):
        seconds = bench.overhead(find(name))
        print(f"checking the arguments of {name}: {1e6 * seconds:.1f} us")
    print(bench.HEADING)
    attention = find("softmax_attention")
    for n in ATTENTION[:1] if quick else ATTENTION:
        for dtype in ("float32", "float64"):
            for gradients in (False, True):
                axes = {"n": n, "d": 64, "m": n, "v": 64}
                _print(bench.rows(attention, axes, (8,), dtype, gradients))
    for name, axes, batch in OTHERS:
        for dtype in ("float32", "float64"):
            _print(bench.rows(find(name), axes, batch, dtype))
    return 0


def _print(lines) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
