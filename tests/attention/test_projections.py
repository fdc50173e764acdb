"""Projections: their law, lengths against SciPy's quantiles, the bias of LAPACK's signs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi, kstest

from refimpl import favor_features, orthogonal_projections
from refimpl.attention.projections import sample_projections, stratified_lengths
from tests.shim import fakecupy

X = np.array([0.5, 0.0, 0.0, 0.0])


def _kernel(projections):
    """Estimates of exp(x.x) with positive features at x + x = e_1."""
    features = favor_features(X[None], projections, kind="positive")[..., 0, :]
    return (features * features).sum(axis=-1)


@pytest.mark.parametrize(("m", "d"), [(1, 1), (7, 1), (5, 16), (300, 64), (9, 512)])
def test_stratified_lengths_are_quantiles(m, d):
    expected = chi.ppf(np.arange(1, m + 1) / (m + 1), d)
    np.testing.assert_allclose(stratified_lengths(m, d), expected, rtol=2e-13)


@pytest.mark.parametrize(("m", "d"), [(3, 5), (5, 5), (12, 5)])
def test_sampled_rows_are_orthogonal_within_blocks(m, d):
    rng = np.random.default_rng(0)
    rows = sample_projections(rng, m, d, lengths="sqrt_d")
    assert rows.shape == (m, d)
    block = np.arange(m) // d
    gram = rows @ rows.T
    np.testing.assert_allclose(np.diag(gram), d, rtol=1e-13)
    within = (block[:, None] == block) & ~np.eye(m, dtype=bool)
    np.testing.assert_allclose(gram[within], 0.0, atol=1e-13)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_every_entry_of_rows_with_chi_lengths_is_normal(orthogonal):
    rng = np.random.default_rng(1)
    rows = np.stack([sample_projections(rng, 6, 4, orthogonal=orthogonal) for _ in range(3000)])
    for place in ((0, 0), (3, 3), (5, 1)):
        assert kstest(rows[(slice(None), *place)], "norm").pvalue > 1e-6


def test_the_mean_of_the_kernel_is_right_only_with_the_signs_fixed():
    """With LAPACK's signs it is (1 - erf(1/sqrt 2)/d) of the right one, here 0.829."""
    rng = np.random.default_rng(2)
    count, d = 40_000, 4
    blocks = rng.standard_normal((count, 1, d, d))
    lengths = np.sqrt(rng.chisquare(d, (count, d)))
    right = math.exp(0.25)
    ours = _kernel(orthogonal_projections(blocks, lengths))
    raw = _kernel(lengths[..., None] * np.linalg.qr(blocks[:, 0])[0])
    mirrored = favor_features(
        -X[None], lengths[..., None] * np.linalg.qr(blocks[:, 0])[0], kind="positive"
    )
    opposite = (mirrored[..., 0, :] ** 2).sum(axis=-1)
    expected = 1 - math.erf(math.sqrt(0.5)) / d
    assert expected == pytest.approx(0.829328, abs=1e-6)
    for estimates, factor in ((ours, 1.0), (raw, expected), (opposite, 2 - expected)):
        error = estimates.std() / math.sqrt(count)
        assert abs(estimates.mean() - factor * right) < 5 * error


def test_samples_are_reproducible_and_move_to_the_device():
    first, second = (sample_projections(np.random.default_rng(3), 5, 3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    cupy = fakecupy.install()
    try:
        there = sample_projections(
            np.random.default_rng(3), 5, 3, lengths="stratified", like=cupy.zeros(1)
        )
        assert type(there) is cupy.ndarray
    finally:
        fakecupy.uninstall()
    here = sample_projections(np.random.default_rng(3), 5, 3, lengths="stratified")
    np.testing.assert_allclose(there.get(), here, rtol=1e-14)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at most b d = 4 rows, got 5"):
        orthogonal_projections(np.ones((2, 2, 2)), np.ones(5))
    with pytest.raises(ValueError, match="lengths: expected one of"):
        sample_projections(np.random.default_rng(0), 2, 2, lengths="unit")
