"""How options and sizes of positions may come: whole numbers, whole floats, no features."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.buckets import deberta_log_buckets, t5_buckets
from refimpl.position.recurrent import recurrent_encoding
from refimpl.position.relative import disentangled_logits, relative_attention_logits
from refimpl.position.segments import multimodal_positions
from refimpl.position.tables import interpolated_encoding, learned_encoding
from refimpl.position.tokens import token_positions
from refimpl.position.transformer_xl import transformer_xl_logits
from refimpl.position.untied import untied_logits

ONE, TWO, NO_FEATURES = np.ones((1, 1)), np.ones((2, 1)), np.ones((1, 0))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: learned_encoding(TWO, [0], offset=x), "offset"),
        (lambda x: token_positions([True], convention="fairseq", padding_index=x), "padding_index"),
        (
            lambda x: transformer_xl_logits(ONE, ONE, [0.0], [0.0], TWO, [0], [0], lowest=x),
            "lowest",
        ),
        (lambda x: t5_buckets([0], [0], bidirectional=False, buckets=x), "buckets"),
        (lambda x: t5_buckets([0], [0], bidirectional=False, max_distance=x), "max_distance"),
        (lambda x: deberta_log_buckets([0], [0], bucket_size=x), "bucket_size"),
        (lambda x: deberta_log_buckets([0], [0], max_position=x), "max_position"),
    ],
)
@pytest.mark.parametrize("value", [0.5, 1.5, 300.5, np.nan, np.inf])
def test_whole_numbers_are_not_made_by_cutting_digits_off(call, name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a .*whole number.*, got {value}"):
        call(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, **s: relative_attention_logits(x, x, x, [0], [0], order="k_minus_q", **s),
        lambda x, **s: transformer_xl_logits(x, x, x[0], x[0], x, [0], [0], **s),
        lambda x, **s: untied_logits(x, x, x, x, **s),
        lambda x, **s: disentangled_logits(
            x, x, np.ones((2, 0)), np.ones((2, 0)), [0], [0], p2c_index="code", **s
        ),
    ],
)
def test_logits_of_no_features_need_a_scale(call):
    with pytest.raises(ValueError, match="scale: there is no default for d = 0, give it"):
        call(NO_FEATURES)
    assert call(NO_FEATURES, scale=1.0).tolist() == [[0.0]]


def test_a_recurrence_of_no_features():
    encoded = recurrent_encoding(np.ones((0, 0)), np.ones(0), np.ones(0), length=3)
    assert encoded.shape == (3, 0)
    gradients = recurrent_encoding.vjp(
        encoded, np.ones((0, 0)), np.ones(0), np.ones(0), length=np.float64(3)
    )
    assert [x.shape for x in gradients] == [(0, 0), (0,), (0,)]


def test_sizes_may_be_whole_floats():
    choices = {"order": "sin_first", "layout": "half", "frequencies": "t2t"}
    for size in (4.0, np.float64(4), np.int64(4)):
        np.testing.assert_array_equal(
            sinusoidal_encoding([3], dim=size, **choices),
            sinusoidal_encoding([3], dim=4, **choices),
        )
        assert interpolated_encoding(TWO, length=size, align_corners=True).shape == (4, 1)
    segments = (np.int64(2), (np.int64(1), 2, 2))
    np.testing.assert_array_equal(
        multimodal_positions(0, segments=segments),
        multimodal_positions(0, segments=(2, (1, 2, 2))),
    )
