#!/usr/bin/env bash
# The test suite on a machine with an NVIDIA GPU. A test that cannot run on CuPy fails.
#
#   tools/gpu.sh [arguments for pytest ...]
#
# CUDA 13 by default; for an older driver: EXTRA=cuda12 tools/gpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."

extra="${EXTRA:-cuda13}"
export CUPY_CACHE_DIR="${CUPY_CACHE_DIR:-$(mktemp -d)}"
export REFIMPL_REQUIRE_GPU=1

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
python -m pip install --quiet --editable ".[$extra,test]"
python tools/gpu_facts.py
python -m pytest "$@"
