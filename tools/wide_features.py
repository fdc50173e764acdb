"""Vector instructions beyond AVX2 that NumPy found here, as NPY_DISABLE_CPU_FEATURES takes them.

NPY_DISABLE_CPU_FEATURES="$(python -m tools.wide_features)" python -m pytest
"""

from __future__ import annotations

import numpy as np


def wide_features() -> list[str]:
    """Names that NumPy dispatches on, of AVX-512 and its successors; none elsewhere than on x86."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return [name for name in found if name.startswith(("AVX512", "X86_V4"))]


if __name__ == "__main__":
    print(" ".join(wide_features()))
