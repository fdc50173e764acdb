"""Evidence for convolutions that keep the length."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.position.convolution import padded_convolution

# An odd width is no multiple of anything: it is fixed here, and others are in the closed forms.
convolution = Evidence(
    padded_convolution,
    sizes={"c": Sizes(1, 1, 5), "w": Sizes(5, 1, 5), "o": Sizes(1, 1, 5)},
    empty=("n",),
    fixed={"padding": "zeros"},
)


def _arrays(rng, shape):
    return rng.standard_normal(shape.x), rng.standard_normal(shape.kernel)


@convolution.regime
def normal(rng, shape):
    """Normal numbers, zeros beyond the ends"""
    return Case(_arrays(rng, shape))


@convolution.regime
def around(rng, shape):
    """Normal numbers around a ring"""
    return Case(_arrays(rng, shape), {"padding": "circular"})


@convolution.regime(adversarial=True)
def large_ends(rng, shape):
    """Ends many times as large as the middle, reflected"""
    x, kernel = _arrays(rng, shape)
    x[..., :2, :] *= 64.0
    x[..., -1:, :] *= -32.0
    return Case((x, kernel), {"padding": "reflect"})


@convolution.regime(adversarial=True)
def nearly_constant(rng, shape):
    """A constant with a little noise, whose ends go on"""
    x, kernel = _arrays(rng, shape)
    return Case((1.0 + x / 64, kernel), {"padding": "replicate"})


# ---------------------------------------------------------------------------------------- laws


def _size(case):
    x, kernel = (np.abs(wide(x)) for x in case.arrays)
    taps = kernel.sum(axis=(-3, -2)).max(initial=0.0)
    return 4.0 * (1.0 + float(x.max(initial=0.0)) * float(taps))


_NUMPY = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}


@convolution.law
def padded_by_numpy(f, case):
    """Each row by its window, of what numpy.pad makes of the input"""
    x, kernel = map(wide, case.arrays)
    n, r = x.shape[-2], kernel.shape[-3] // 2
    if n == 0:
        return
    ends = [(0, 0)] * (x.ndim - 2) + [(r, r), (0, 0)]
    padded = np.pad(x, ends, mode=_NUMPY[case.options["padding"]])
    found = case.call(f)
    for k in range(n):
        window = padded[..., k : k + 2 * r + 1, :]
        row = np.einsum("...wc,...wco->...o", window, kernel)
        yield Claim(found[..., k, :], row, _size(case))


@convolution.law
def constants_show_the_border(f, case):
    """Of a constant each position has the sum of the kernel, or of the part within the ends"""
    x, kernel = case.arrays
    one = 0 * x + 1
    found = case.with_arrays(one, kernel).call(f)
    n, taps = x.shape[-2], wide(kernel).sum(axis=-2)
    r = taps.shape[-2] // 2
    for k in range(n):
        seen = [u for u in range(-r, r + 1) if case.options["padding"] != "zeros" or 0 <= k + u < n]
        row = taps[..., [u + r for u in seen], :].sum(axis=-2)
        yield Claim(found[..., k, :], row + 0 * wide(found[..., k, :]), _size(case))


@convolution.law
def rings_turn(f, case):
    """Around a ring it commutes with shifts"""
    x, kernel = case.arrays
    ring = case.with_options(padding="circular")
    xp = namespace(x)
    turned = ring.with_arrays(xp.roll(x, 2, axis=-2), kernel).call(f)
    yield Claim(turned, xp.roll(ring.call(f), 2, axis=-2), _size(case))


@convolution.law
def mirrored(f, case):
    """Input and kernel reversed give the output reversed"""
    x, kernel = case.arrays
    turned = case.with_arrays(x[..., ::-1, :], kernel[..., ::-1, :, :]).call(f)
    yield Claim(turned[..., ::-1, :], case.call(f), _size(case))


@convolution.law
def the_centre_is_a_matrix(f, case):
    """A kernel that is its centre alone multiplies each position"""
    x, kernel = case.arrays
    r = kernel.shape[-3] // 2
    centre = namespace(x).arange(kernel.shape[-3])[:, None, None] == r
    expected = wide(x) @ wide(kernel)[..., r, :, :]
    yield Claim(case.with_arrays(x, kernel * centre).call(f), expected, _size(case))


@convolution.law
def one_offset_is_a_shift(f, case):
    """A kernel that is its last offset alone reads r positions further on, if there is one"""
    x, kernel = case.arrays
    r, n = kernel.shape[-3] // 2, x.shape[-2]
    last = namespace(x).arange(kernel.shape[-3])[:, None, None] == 2 * r
    found = case.with_arrays(x, kernel * last).call(f)
    expected = wide(x)[..., r:, :] @ wide(kernel)[..., 2 * r, :, :]
    yield Claim(found[..., : max(n - r, 0), :], expected, _size(case))


@convolution.law
def paddings_agree_inside(f, case):
    """Further than r from both ends no padding is seen"""
    n, r = case.arrays[0].shape[-2], case.arrays[1].shape[-3] // 2
    inside = slice(r, max(n - r, r))
    plain = case.with_options(padding="zeros").call(f)
    yield Claim(case.call(f)[..., inside, :], plain[..., inside, :], _size(case))


@convolution.law
def sums_go_through(f, case):
    """It is linear in the input: the input and its mirror image add up"""
    x, kernel = case.arrays
    other = x[..., ::-1, :]
    total = case.with_arrays(x + other, kernel).call(f)
    parts = case.call(f) + case.with_arrays(other, kernel).call(f)
    yield Claim(total, parts, 2.0 * _size(case))


# -------------------------------------------------------------------------------- closed forms


@convolution.closed_form
def sums_of_three(rng, shape):
    """Sums of three of 1, 2, 4, 8 with zeros at the ends: 3, 7, 14, 12"""
    x = np.array([[1.0], [2.0], [4.0], [8.0]])
    return Case((x, np.ones((3, 1, 1))), {"padding": "zeros"}), [[3.0], [7.0], [14.0], [12.0]]


@convolution.closed_form
def what_lies_beyond(rng, shape):
    """Two further on in 1, 2, 4, 8, beyond the end by each padding"""
    beyond = {"zeros": (0, 0), "circular": (1, 2), "reflect": (4, 2), "replicate": (8, 8)}
    padding = str(rng.choice(list(beyond)))
    x, kernel = np.array([[1.0], [2.0], [4.0], [8.0]]), np.zeros((5, 1, 1))
    kernel[4] = 1.0
    answer = np.array([4.0, 8.0, *beyond[padding]])[:, None]
    return Case((x, kernel), {"padding": padding}), answer


@convolution.closed_form
def a_single_one(rng, shape):
    """A single 1 shows the kernel reversed"""
    x, kernel = np.zeros((5, 1)), np.arange(1.0, 4.0)[:, None, None]
    x[2] = 1.0
    padding = str(rng.choice(list(_NUMPY)))
    answer = np.array([[0.0], [3.0], [2.0], [1.0], [0.0]])
    return Case((x, kernel), {"padding": padding}), answer


# --------------------------------------------------------------------------------------- mutants


@convolution.mutant(source="https://github.com/keras-team/keras/issues/3015")
def kernel_reversed(x, kernel, *, padding):
    """The kernel is reversed: the convolution of mathematics, and of Theano"""
    return padded_convolution(x, kernel[..., ::-1, :, :], padding=padding)


@convolution.mutant
def only_what_came_before(x, kernel, *, padding):
    """The window ends at the position, as in causal convolutions"""
    r = kernel.shape[-3] // 2
    longer = namespace(x).concatenate([kernel, 0 * kernel[..., : 2 * r, :, :]], axis=-3)
    return padded_convolution(x, longer, padding=padding)


@convolution.mutant
def one_off_centre(x, kernel, *, padding):
    """The window is a position too late"""
    longer = namespace(x).concatenate([0 * kernel[..., :2, :, :], kernel], axis=-3)
    return padded_convolution(x, longer, padding=padding)


wrong(
    convolution,
    "Zeros for another padding, or the ends go on where zeros should be",
    options={"padding": lambda x: "replicate" if x == "zeros" else "zeros"},
)


@convolution.mutant
def the_end_itself_is_reflected(x, kernel, *, padding):
    """Reflected or circular padding repeats the end itself"""
    if padding in ("zeros", "replicate"):
        return padded_convolution(x, kernel, padding=padding)
    host, r = to_host(x), kernel.shape[-3] // 2
    ends = [(0, 0)] * (host.ndim - 2) + [(r, r), (0, 0)]
    if host.shape[-2] == 0:
        return padded_convolution(x, kernel, padding=padding)
    padded = like(np.pad(host, ends, mode="symmetric"), x)
    n = x.shape[-2]
    return sum(padded[..., u : u + n, :] @ kernel[..., u, :, :] for u in range(2 * r + 1))


@convolution.mutant
def ends_of_the_wrong_side(x, kernel, *, padding):
    """Around a ring the positions before the first are the first ones, not the last"""
    if padding != "circular":
        return padded_convolution(x, kernel, padding=padding)
    r, n = kernel.shape[-3] // 2, x.shape[-2]
    if n < r:
        return 0 * padded_convolution(x, kernel, padding=padding)
    padded = namespace(x).concatenate([x[..., :r, :], x, x[..., n - r :, :]], axis=-2)
    return sum(padded[..., u : u + n, :] @ kernel[..., u, :, :] for u in range(2 * r + 1))


@convolution.mutant
def divided_by_what_is_seen(x, kernel, *, padding):
    """The sum is divided by the part of the window within the ends, as in partial convolutions"""
    y = padded_convolution(x, kernel, padding=padding)
    ones = padded_convolution(0 * x[..., :1] + 1, 0 * kernel[..., :1, :1] + 1, padding="zeros")
    return y * kernel.shape[-3] / ones


@convolution.mutant
def divided_by_the_width(x, kernel, *, padding):
    """The sum is divided by the width: a mean"""
    return padded_convolution(x, kernel, padding=padding) / kernel.shape[-3]


@convolution.mutant
def every_other_position(x, kernel, *, padding):
    """Offsets are twice as far: a dilation of 2"""
    xp = namespace(x)
    spread = xp.stack([kernel, 0 * kernel], axis=-3)
    spread = spread.reshape(*kernel.shape[:-3], 2 * kernel.shape[-3], *kernel.shape[-2:])
    return padded_convolution(x, spread[..., :-1, :, :], padding=padding)


@convolution.mutant(gradient=True)
def passes_forward(g, x, kernel, *, padding):
    """The gradient of the input goes through the kernel in its own direction"""
    turned = kernel[..., ::-1, :, :]
    dx = padded_convolution.vjp(g, x, turned, padding=padding)[0]
    return dx, padded_convolution.vjp(g, x, kernel, padding=padding)[1]


@convolution.mutant(gradient=True)
def paddings_pass_nothing(g, x, kernel, *, padding):
    """What padding repeats passes no gradient to the input; of zeros, to the ends"""
    other = "replicate" if padding == "zeros" else "zeros"
    dx = padded_convolution.vjp(g, x, kernel, padding=other)[0]
    return dx, padded_convolution.vjp(g, x, kernel, padding=padding)[1]


wrong(
    convolution,
    "The gradient of the kernel is reversed",
    gradient={"kernel": lambda x: x[..., ::-1, :, :]},
)
