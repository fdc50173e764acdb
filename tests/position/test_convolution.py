"""Convolutions that keep the length: what borders leak, SciPy, loops, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from refimpl.position.convolution import padded_convolution

PADDINGS = {"zeros": "constant", "circular": "wrap", "reflect": "mirror", "replicate": "nearest"}


def _one(x, kernel, padding):
    """Of one channel."""
    return padded_convolution(x[:, None], kernel[:, None, None], padding=padding)[:, 0]


# ---------------------------------------------------------------------------------------- borders


@pytest.mark.parametrize("width", [1, 3, 5, 9])
def test_constants_have_truncated_sums_at_the_borders(width):
    kernel, r, c = np.random.default_rng(width).standard_normal(width), width // 2, 1.5
    y = _one(np.full(20, c), kernel, "zeros")
    np.testing.assert_allclose(y[r : 20 - r], c * kernel.sum(), rtol=1e-12)
    for k in range(r):
        assert y[k] == pytest.approx(c * kernel[r - k :].sum(), rel=1e-12)
        assert y[-1 - k] == pytest.approx(c * kernel[: width - r + k].sum(), rel=1e-12)
    for padding in ("circular", "reflect", "replicate"):
        np.testing.assert_allclose(_one(np.full(20, c), kernel, padding), c * kernel.sum(), 1e-12)


@pytest.mark.parametrize(("layers", "r"), [(1, 1), (2, 2), (3, 1), (4, 3)])
def test_a_stack_leaks_exactly_as_far_as_its_windows(layers, r):
    """Of a constant L layers change the L r cells next to each end, and no other."""
    rng = np.random.default_rng(0)
    n = 2 * layers * r + 5
    y = x = np.ones((n, 1))
    for _ in range(layers):
        y = padded_convolution(y, rng.uniform(0.5, 1.5, (2 * r + 1, 1, 1)), padding="zeros")
    reach = layers * r
    inside = y[reach : n - reach]
    np.testing.assert_allclose(inside, inside[0, 0], rtol=1e-14)
    ends = np.concatenate([y[:reach], y[n - reach :]])
    assert np.abs(ends / inside[0, 0] - 1).min() > 1e-6
    # What is seen is the distance from the border: all positions up to there differ.
    assert len(np.unique(y[: reach + 1].round(12))) == reach + 1
    assert np.array_equal(x, np.ones((n, 1)))


def test_around_a_ring_nothing_is_leaked():
    rng = np.random.default_rng(0)
    x, kernels = rng.standard_normal((9, 2)), rng.standard_normal((3, 5, 2, 2))

    def stack(x, padding):
        for kernel in kernels:
            x = np.tanh(padded_convolution(x, kernel, padding=padding))
        return x

    for shift in (1, 4, -3):
        turned = stack(np.roll(x, shift, axis=0), "circular")
        np.testing.assert_allclose(turned, np.roll(stack(x, "circular"), shift, axis=0), atol=1e-13)
        other = stack(np.roll(x, shift, axis=0), "zeros")
        assert np.abs(other - np.roll(stack(x, "zeros"), shift, axis=0)).max() > 0.1


# ------------------------------------------------------------------------------- other definitions


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("n", "width"), [(10, 3), (10, 7), (4, 9), (2, 7), (1, 5)])
def test_another_library_agrees(padding, n, width):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(n), rng.standard_normal(width)
    expected = scipy.ndimage.correlate1d(x, kernel, mode=PADDINGS[padding])
    np.testing.assert_allclose(_one(x, kernel, padding), expected, rtol=0, atol=1e-13)


def test_zeros_are_correlations_of_the_same_length():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((12, 3)), rng.standard_normal((5, 3, 2))
    for o in range(2):
        expected = sum(
            scipy.signal.correlate(x[:, c], kernel[:, c, o], mode="same") for c in range(3)
        )
        found = padded_convolution(x, kernel, padding="zeros")[:, o]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
        # That of mathematics has the kernel reversed.
        flipped = padded_convolution(x, kernel[::-1], padding="zeros")[:, o]
        expected = sum(np.convolve(x[:, c], kernel[:, c, o], mode="same") for c in range(3))
        np.testing.assert_allclose(flipped, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
def test_torch_agrees(padding):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 9, 3)), rng.standard_normal((5, 3, 4))
    layer = torch.nn.Conv1d(3, 4, 5, padding=2, padding_mode=padding, bias=False).double()
    layer.weight.data = torch.tensor(kernel.transpose(2, 1, 0).copy())
    expected = layer(torch.tensor(x.swapaxes(1, 2).copy())).detach().numpy().swapaxes(1, 2)
    np.testing.assert_allclose(padded_convolution(x, kernel, padding=padding), expected, atol=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("n", "width"), [(6, 3), (2, 7), (1, 5)])
def test_gradients_are_the_transposed_map(padding, n, width):
    """As a matrix, column by column, of the input and of the kernel."""
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((n, 2)), rng.standard_normal((width, 2, 3))
    g = rng.standard_normal((n, 3))
    dx, dkernel = padded_convolution.vjp(g, x, kernel, padding=padding)
    by_x, by_kernel = np.zeros_like(x), np.zeros_like(kernel)
    for index in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[index] = 1.0
        by_x[index] = (g * padded_convolution(unit, kernel, padding=padding)).sum()
    for index in np.ndindex(kernel.shape):
        unit = np.zeros_like(kernel)
        unit[index] = 1.0
        by_kernel[index] = (g * padded_convolution(x, unit, padding=padding)).sum()
    np.testing.assert_allclose(dx, by_x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(dkernel, by_kernel, rtol=0, atol=1e-13)


# ------------------------------------------------------------------------------------------- input


def test_what_is_not_finite_stays_within_its_windows():
    """It does not come in by padding with zeros, though the row at hand there is the end's."""
    x = np.ones((8, 1))
    x[0] = np.nan
    kernel = np.ones((5, 1, 1))
    is_nan = np.isnan(padded_convolution(x, kernel, padding="zeros")[:, 0])
    np.testing.assert_array_equal(is_nan, [True, True, True] + [False] * 5)
    g = np.zeros((8, 1))
    g[0] = np.inf
    dx, _ = padded_convolution.vjp(g, np.ones((8, 1)), np.ones((5, 1, 1)), padding="zeros")
    np.testing.assert_array_equal(np.isinf(dx[:, 0]), [True, True, True] + [False] * 5)


def test_empty_sequences():
    for padding in PADDINGS:
        assert padded_convolution(
            np.zeros((3, 0, 2)), np.ones((5, 2, 4)), padding=padding
        ).shape == (
            3,
            0,
            4,
        )


def test_bad_input():
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="kernel: expected an odd width, got 4"):
        padded_convolution(x, np.zeros((4, 2, 2)), padding="zeros")
    with pytest.raises(ValueError, match="padding: expected one of .* got 'same'"):
        padded_convolution(x, np.zeros((3, 2, 2)), padding="same")
    with pytest.raises(TypeError, match="needs .*padding"):
        padded_convolution(x, np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="kernel axis 'c': expected 2 .* got 3"):
        padded_convolution(x, np.zeros((3, 3, 2)), padding="zeros")
