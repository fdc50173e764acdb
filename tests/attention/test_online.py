"""The chunked forms equal the plain one for every block size, and parts merge into the whole."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import attention_logsumexp, merge_attention, softmax_attention

RNG = np.random.default_rng(1)
Q, K, V = (RNG.standard_normal((2, 1, 13, 4)) for _ in range(3))
K, V = RNG.standard_normal((3, 17, 4)), RNG.standard_normal((2, 3, 17, 5))
MASK = RNG.random((13, 17)) < 0.5
MASK[:, 8:12] = False
MASK[6] = False
OPTIONS = [
    {},
    {"mask": MASK},
    {"mask": MASK, "empty": "mean"},
    {"causal": "bottom_right", "window": (3, None)},
    {"causal": "top_left", "bias": RNG.standard_normal((3, 1, 17)), "softcap": 2.0},
    {"sink": np.array([0.3, -np.inf, 5.0]), "mask": MASK, "scale": np.array([[0.5], [2.0]])},
]


@pytest.mark.parametrize("options", OPTIONS, ids=[",".join(o) or "none" for o in OPTIONS])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 5), (13, 4), (128, 512), (5, 17)])
def test_every_block_size(options, rows, columns):
    blocks = {"form": "online", "query_block": rows, "key_block": columns}
    np.testing.assert_allclose(
        softmax_attention(Q, K, V, **blocks, **options),
        softmax_attention(Q, K, V, **options),
        atol=1e-13,
    )
    g = RNG.standard_normal((2, 3, 13, 5))
    for a, b in zip(
        softmax_attention.vjp(g, Q, K, V, **blocks, **options),
        softmax_attention.vjp(g, Q, K, V, **options),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-12)
    options = {k: v for k, v in options.items() if k != "empty"}
    np.testing.assert_allclose(
        attention_logsumexp(Q, K, **blocks, **options),
        attention_logsumexp(Q, K, **options),
        rtol=1e-13,
    )


def test_a_nan_policy_reaches_the_chunked_form():
    out = softmax_attention(Q, K, V, mask=MASK, empty="nan", form="online", key_block=4)
    assert np.isnan(out[..., 6, :]).all()
    assert np.isfinite(np.delete(out, 6, axis=-2)).all()


@pytest.mark.parametrize("cuts", [[5], [1, 2, 16], [4, 9, 13]])
def test_attention_over_parts_merges_into_attention_over_all(cuts):
    edges = [0, *cuts, 17]
    outputs, levels = [], []
    for start, stop in zip(edges, edges[1:], strict=False):
        part = slice(start, stop)
        options = {"mask": MASK[:, part]}
        outputs.append(softmax_attention(Q, K[:, part], V[:, :, part], **options))
        levels.append(attention_logsumexp(Q, K[:, part], **options))
    levels = [np.broadcast_to(x, (2, 3, 13)) for x in levels]
    merged, level = merge_attention(np.stack(outputs, axis=-3), np.stack(levels, axis=-2))
    np.testing.assert_allclose(merged, softmax_attention(Q, K, V, mask=MASK), atol=1e-13)
    np.testing.assert_allclose(
        level, np.broadcast_to(attention_logsumexp(Q, K, mask=MASK), level.shape)
    )


def test_a_sink_enters_one_part():
    halves = slice(0, 8), slice(8, 17)
    sinks = 0.7, None
    outputs = [
        softmax_attention(Q, K[:, p], V[:, :, p], sink=s)
        for p, s in zip(halves, sinks, strict=True)
    ]
    levels = [attention_logsumexp(Q, K[:, p], sink=s) for p, s in zip(halves, sinks, strict=True)]
    merged, _ = merge_attention(np.stack(outputs, axis=-3), np.stack(levels, axis=-2))
    np.testing.assert_allclose(merged, softmax_attention(Q, K, V, sink=0.7), atol=1e-13)


def test_nothing_to_merge():
    with pytest.raises(ValueError, match="no part to merge"):
        merge_attention(np.zeros((0, 2, 3)), np.zeros((0, 2)))
