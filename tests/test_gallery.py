"""What the gallery draws: published values, and limits that can be read off a picture."""

from __future__ import annotations

import numpy as np
import pytest

from tools import gallery


def test_curves_of_decay_begin_at_one_and_have_published_values():
    curves = gallery.decay_curves(np.array([0, 64, 128]))
    assert all(y[0] == 1.0 for y in curves.values())
    found = {label: y[1:] for label, y in curves.items()}
    np.testing.assert_allclose(found[r"$10000^{-t}$"], [0.487335381933, 0.411147682437])
    np.testing.assert_allclose(found[r"$1000^{-t}$"][1], 0.215450199144)
    powers = [found[label][0] for label in (r"$\sqrt{t}$", r"$t$", r"$t^2$")]
    np.testing.assert_allclose(powers, [0.0284538689819, 0.0143754068468, 0.0854946284385])


def test_sums_have_the_published_bound_and_lie_about_their_limit():
    curves = gallery.sum_and_integral(np.array([0, 10, 128]))
    np.testing.assert_allclose(
        32.5 * curves["mean partial sum, relative"], [32.5, 17.954137137085, 9.272902724638]
    )
    gap = curves["mean of 64 cosines"] - curves["integral"]
    assert np.all(np.abs(gap) <= np.array([0.0, 10.0, 128.0]) / 64)


def test_gram_matrices_fall_from_the_diagonal():
    for matrix in gallery.gram_matrices().values():
        assert np.ptp(np.diag(matrix)) < 1e-9
        assert np.all(matrix <= matrix[0, 0] * (1 + 1e-12))


def test_spectra_lie_between_interpolation_and_none():
    spectra = gallery.scaled_spectra(factor=8.0)
    whole = spectra.pop("interpolation")
    np.testing.assert_allclose(whole, 1 / 8)
    del spectra["dynamic NTK of factor 2"]
    for label, ratio in spectra.items():
        assert np.all(np.diff(ratio) <= 1e-12), label
        assert ratio[-1] == pytest.approx(1 / 8), label


def test_biases_begin_at_zero_and_fall():
    for y in gallery.bias_curves(np.arange(5)).values():
        assert y[0] == 0
        assert np.all(np.diff(y) < 0)


def test_pictures_have_names():
    with pytest.raises(SystemExit):
        gallery.main(["no such picture"])
