"""LongRoPE: published attention factors, the change of the list, gradients, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.longrope import longrope_frequencies
from refimpl.position.rotary import rotary_frequencies

THETA = rotary_frequencies(10000.0, dim=128)
PHI = {"short_factors": np.full(64, 1.05), "long_factors": np.linspace(1.0, 64.0, 64)}


@pytest.mark.parametrize(
    ("length", "factor", "attention"),
    [(4096, 32, 1.1902380714238083), (8192, 16, 1.1435437497937313)],
)
def test_published_attention_factors_of_longrope(length, factor, attention):
    for tokens in (1, length, length + 1):
        _, found = longrope_frequencies(
            THETA, **PHI, factor=factor, length=tokens, trained_length=length
        )
        assert found == pytest.approx(attention, rel=1e-15)


def test_the_list_changes_after_the_trained_length():
    at, beyond = (
        longrope_frequencies(THETA, **PHI, factor=32, length=n, trained_length=4096)[0]
        for n in (4096, 4097)
    )
    np.testing.assert_array_equal(at, THETA / PHI["short_factors"])
    np.testing.assert_array_equal(beyond, THETA / PHI["long_factors"])


def test_sequences_of_a_batch_choose_each_for_itself():
    lengths = np.array([10, 5000])
    together, _ = longrope_frequencies(THETA, **PHI, factor=32, length=lengths, trained_length=4096)
    np.testing.assert_array_equal(together[0], THETA / PHI["short_factors"])
    np.testing.assert_array_equal(together[1], THETA / PHI["long_factors"])


def test_unused_list_has_no_gradient():
    g = (np.ones(64), 0.0)
    options = {"factor": np.array(32.0), "trained_length": 4096}
    for length, unused in ((4096, 2), (4097, 1)):
        gradients = longrope_frequencies.vjp(g, THETA, **PHI, **options, length=length)
        assert not gradients[unused].any()
        assert gradients[3 - unused].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long_factors": np.zeros(64)}, "long_factors: expected positive numbers"),
        ({"short_factors": np.full(64, np.nan)}, "short_factors: expected positive numbers"),
        ({"length": -1}, "length: expected numbers of tokens"),
        ({"trained_length": 1}, "trained_length: expected a finite number above 1"),
        ({"long_factors": np.ones(63)}, "long_factors axis 'h': expected 64"),
    ],
)
def test_wrong_options_of_longrope(options, message):
    options = PHI | {"factor": 32, "length": 10, "trained_length": 4096} | options
    with pytest.raises(ValueError, match=message):
        longrope_frequencies(THETA, **options)
