"""Pseudo-inverses: rank, cut-off, the scalar law of the iterations, where they fail."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import iterated_inverse, nystrom_completion, pseudo_inverse

RNG = np.random.default_rng(8180)


def _of_rank(n, m, rank):
    return RNG.standard_normal((n, rank)) @ RNG.standard_normal((rank, m))


@pytest.mark.parametrize(
    ("n", "m", "rank"), [(5, 3, 2), (3, 5, 1), (4, 4, 3), (4, 4, 4), (6, 2, 2)]
)
def test_agrees_with_numpy_at_every_rank(n, m, rank):
    a = _of_rank(n, m, rank)
    expected = np.linalg.pinv(a, rcond=1e-13)
    np.testing.assert_allclose(pseudo_inverse(a), expected, atol=1e-12 * np.abs(expected).max())


def test_gradient_at_constant_rank_is_that_of_golub_and_pereyra():
    a, g = _of_rank(5, 4, 2), RNG.standard_normal((4, 5))
    z = pseudo_inverse(a)
    left, right = np.eye(5) - a @ z, np.eye(4) - z @ a
    expected = -z.T @ g @ z.T + left @ g.T @ z @ z.T + z.T @ z @ g.T @ right
    (found,) = pseudo_inverse.vjp(g, a)
    np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())


def test_cut_off():
    a = np.diag([4.0, 1.0, 0.25])
    np.testing.assert_allclose(pseudo_inverse(a, rcond=0.1), np.diag([0.25, 1.0, 0.0]))
    np.testing.assert_allclose(pseudo_inverse(a, rcond=0.3), np.diag([0.25, 0.0, 0.0]))
    with pytest.raises(ValueError, match="rcond: expected a finite number from 0 on"):
        pseudo_inverse(a, rcond=-1.0)


def test_zeros_and_empty_matrices():
    np.testing.assert_array_equal(pseudo_inverse(np.zeros((3, 2))), np.zeros((2, 3)))
    assert pseudo_inverse(np.zeros((2, 0, 3))).shape == (2, 3, 0)
    np.testing.assert_array_equal(iterated_inverse(np.zeros((2, 2))), np.zeros((2, 2)))


@pytest.mark.parametrize("iteration", ["nystromformer", "hyperpower", "newton_schulz"])
@pytest.mark.parametrize("steps", [0, 1, 6, 12])
def test_spectral_form(iteration, steps):
    a = RNG.standard_normal((3, 8, 8))
    options = {"iteration": iteration, "steps": steps}
    expected = iterated_inverse(a, form="spectral", **options)
    np.testing.assert_allclose(iterated_inverse(a, **options), expected, atol=1e-11)


def test_residuals_fall_as_e_cubed_three_plus_e_over_four():
    s, c = np.array([1.0, 0.5, 0.1]), 2.0
    e = 1 - s**2 / c
    for steps in range(8):
        found = np.diag(iterated_inverse(np.diag(s), steps=steps, divisor=c))
        np.testing.assert_allclose(1 - found * s, e, atol=1e-14)
        e = e**3 * (3 + e) / 4


@pytest.mark.parametrize(("ratio", "converges"), [(0.34, True), (0.32, False), (10.0, True)])
def test_it_converges_where_the_divisor_exceeds_a_third_of_the_largest_square(ratio, converges):
    found = iterated_inverse(np.eye(1), steps=40, divisor=ratio)
    assert (abs(found[0, 0] - 1) < 1e-9) == converges


def test_six_steps_invert_what_is_above_three_percent_of_the_root_of_the_divisor():
    """1 - e grows by 13/4 a step while it is small: 3.25^6 = 1178."""
    for s, inverted in ((0.1, True), (0.01, False)):
        gain = iterated_inverse(np.diag([1.0, s]), divisor=1.0)[1, 1] * s
        assert (gain > 0.9) == inverted
    small = 1e-4
    gain = iterated_inverse(np.diag([1.0, small]), divisor=1.0)[1, 1] * small
    assert gain == pytest.approx(3.25**6 * small**2, rel=1e-3)


def test_more_steps_diverge_on_a_singular_matrix():
    a = RNG.random((16, 5)) @ RNG.random((5, 16))
    a = a / a.sum(axis=1, keepdims=True)
    right = iterated_inverse(a, steps=12)
    assert np.abs(iterated_inverse(a, steps=60, form="spectral")).max() < 1e3
    assert not np.abs(iterated_inverse(a, steps=60)).max() < 1e3 * np.abs(right).max()


def test_completion_is_exact_at_the_rank_of_the_corner():
    whole = _of_rank(9, 8, 3)
    found = nystrom_completion(whole[:4, :4], whole[:4, 4:], whole[4:, :4], rcond=1e-12)
    np.testing.assert_allclose(found, whole[4:, 4:], atol=1e-11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps: expected a whole number from 0"),
        ({"steps": 1.5}, "steps: expected a whole number from 0"),
        ({"iteration": "newton"}, "iteration: expected one of"),
        ({"divisor": 0.0}, "divisor: expected positive numbers"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        iterated_inverse(np.eye(2), **options)
