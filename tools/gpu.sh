#!/usr/bin/env bash
# The library on a machine with an NVIDIA GPU, the most telling part first.
#
#   tools/gpu.sh                  facts about CuPy, then every formula on it: under 8 minutes
#   tools/gpu.sh --all [ARGS]     afterwards the whole suite, ARGS for pytest; a skip is a failure
#
# Installs only what is missing (CUDA 13; for an older driver EXTRA=cuda12), so that a machine that
# reaches no registry and has CuPy, NumPy, pytest, Hypothesis and mpmath needs nothing. What it found
# is in OUTPUT, by default gpu_result.json.
set -euo pipefail
cd "$(dirname "$0")/.."

extra="${EXTRA:-cuda13}"
output="${OUTPUT:-gpu_result.json}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export CUPY_CACHE_DIR="${CUPY_CACHE_DIR:-$(mktemp -d)}"

say() { echo "== $* (after $SECONDS s)"; }

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv || say "no nvidia-smi"
missing=$(python - "$extra" <<'PYTHON'
import importlib.util, sys
wanted = {"numpy": "numpy>=2.1", "cupy": f"cupy-{sys.argv[1]}x[ctk]>=14", "mpmath": "mpmath>=1.3"}
wanted |= {"pytest": "pytest>=8", "hypothesis": "hypothesis>=6.100"}
print("\n".join(p for name, p in wanted.items() if importlib.util.find_spec(name) is None))
PYTHON
)
if [ -n "$missing" ]; then
    say "installing what is missing: $missing"
    echo "$missing" | xargs -d '\n' python -m pip install --quiet
fi

say "facts"
python tools/gpu_facts.py
say "every formula"
code=0
python -m tools.gpu_check --minutes "${MINUTES:-7}" --output "$output" || code=$?
say "done with exit code $code"

if [ "${1:-}" = "--all" ]; then
    shift
    say "the whole suite"
    # Without the options of setup.cfg: pytest-xdist may be missing, and one process owns the device.
    REFIMPL_REQUIRE_GPU=1 python -m pytest -o addopts="--strict-markers" -m "not peers" "$@"
fi
exit "$code"
