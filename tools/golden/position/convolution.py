"""Second definition in plain mpmath: a convolution as the double sum over offsets and channels."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2001)

    def case(n, w, c, o, padding):
        return (rng.standard_normal((n, c)), rng.standard_normal((w, c, o))), {"padding": padding}

    return {
        "zeros": case(6, 3, 2, 3, "zeros"),
        "circular": case(6, 5, 2, 2, "circular"),
        "reflect": case(6, 5, 1, 2, "reflect"),
        "replicate": case(6, 7, 2, 1, "replicate"),
        "width 1": case(4, 1, 2, 2, "zeros"),
        "shorter than the window": case(2, 7, 1, 1, "zeros"),
        "many times around": case(2, 11, 1, 1, "circular"),
        "to and fro": case(3, 11, 1, 1, "reflect"),
    }


@golden("padded_convolution", cases=_cases)
def padded_convolution(x, kernel, *, padding):
    n, r, channels = len(x), len(kernel) // 2, len(x[0])

    def row(k):
        """The row at k, by going back inside one turn at a time."""
        while not 0 <= k < n:
            if padding == "zeros":
                return [mpmath.mpf(0)] * channels
            if padding == "circular":
                k = k + n if k < 0 else k - n
            elif padding == "reflect":
                k = -k if k < 0 else 2 * (n - 1) - k
            else:
                k = 0 if k < 0 else n - 1
        return x[k]

    return [
        [
            mpmath.fsum(
                row(k + u)[c] * kernel[u + r][c][o]
                for u in range(-r, r + 1)
                for c in range(channels)
            )
            for o in range(len(kernel[0][0]))
        ]
        for k in range(n)
    ]
