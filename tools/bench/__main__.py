"""The measurements of the project's targets: ``python -m tools.bench [--quick]``, on one thread.

Ratios below 1 mean that we are faster. What is not installed is named and left out. The whole takes
about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

import tools.bench
from refimpl.check import bench
from refimpl.formula import find
from tools.bench import HEADING, attention, gaussian, position

PARTS = {
    "attention": attention.softmax,
    "linear": attention.linear,
    "performer": attention.performer,
    "nystrom": attention.nystrom,
    "small": gaussian.small,
    "large": gaussian.large,
    "rotary": position.rotary,
    "biases": position.biases,
}
ROTARY = {"n": 4096, "d": 128}
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
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}, overheads; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="the smallest size of each, one turn: does it run?"
    )
    given = parser.parse_args()
    unknown = set(given.parts) - {*PARTS, "overheads"}
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}")
    if any(os.environ.get(name) != value for name, value in bench.THREADS.items()):
        # BLAS reads its number of threads once, when NumPy is imported.
        command = [sys.executable, "-m", "tools.bench", *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | bench.THREADS, check=False).returncode
    if given.quick:
        tools.bench.SECONDS = bench.SECONDS = 0.0
    if not given.parts or "overheads" in given.parts:
        _overheads()
    print(HEADING)
    for name, lines in PARTS.items():
        if not given.parts or name in given.parts:
            for line in lines(given.quick):
                print(line, flush=True)
    return 0


def _overheads() -> None:
    print("import refimpl: {:.1f} ms beyond NumPy's".format(1e3 * import_seconds("import refimpl")))
    first = import_seconds("import refimpl; refimpl.softmax_attention")
    print(f"with its first formula: {1e3 * first:.1f} ms")
    for name in ("softmax_attention", "gaussian_kl"):
        seconds = bench.overhead(find(name))
        print(f"checking the arguments of {name}: {1e6 * seconds:.1f} us")
    print(f"\n{bench.HEADING}")
    for dtype in ("float32", "float64"):
        for line in bench.rows(find("rotary_embedding"), ROTARY, (), dtype):
            print(line, flush=True)
    print()


if __name__ == "__main__":
    raise SystemExit(main())
