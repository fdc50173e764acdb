"""Second definition: positions of tokens, counted one by one."""

from __future__ import annotations

import numpy as np

from tools.golden import golden


def _cases():
    left = np.array([False, False, True, True, True])
    patches = np.random.default_rng(1904).random(20) < 0.6
    return {
        "left padding": ((left,), {"convention": "count"}),
        "left padding, fairseq": ((left,), {"convention": "fairseq"}),
        "right padding": ((left[::-1].copy(),), {"convention": "count"}),
        "patches": ((patches,), {"convention": "count"}),
        "patches, fairseq": ((patches,), {"convention": "fairseq", "padding_index": 4}),
    }


@golden("token_positions", cases=_cases)
def token_positions(mask, *, convention, padding_index=1):
    found, count = [], 0
    for is_token in mask:
        count += bool(is_token)
        if convention == "fairseq":
            found.append(padding_index + count if is_token else padding_index)
        else:
            found.append(count - 1 if count else 0)
    return found
