"""Evidence for sinusoidal encodings."""

from __future__ import annotations

import numpy as np

from refimpl.evidence import Case, Claim, Evidence, wide
from refimpl.evidence.position.shared import farthest, largest_row
from refimpl.position.absolute import sinusoidal_encoding

PAPER = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}

sinusoids = Evidence(
    sinusoidal_encoding,
    empty=("n",),
    fixed={"dim": 8} | PAPER,
    options={
        "base": (1000.0,),
        "dim": (2, 7, 64),
    },
    combinations=(
        {"layout": "half", "frequencies": "t2t", "dim": 9},
        {"layout": "half", "order": "cos_first", "dim": 5},
        {"frequencies": "t2t", "dim": 4, "order": "cos_first"},
    ),
)


# ------------------------------------------------------------------------------------- regimes


@sinusoids.regime
def consecutive(rng, shape):
    """Positions 0, 1, 2, ... as floats, which have a gradient"""
    return Case((np.arange(shape.axes["n"], dtype=float),))


@sinusoids.regime
def of_a_batch(rng, shape):
    """Positions that differ along the batch"""
    return Case((rng.integers(0, 64, shape.positions),))


@sinusoids.regime(adversarial=True)
def long_positions(rng, shape):
    """Positions 1000 to 8191, which neither float16 nor bfloat16 can tell apart"""
    return Case((rng.integers(1000, 8192, shape.axes["n"]),))


@sinusoids.regime(adversarial=True)
def fractional_and_negative(rng, shape):
    """Fractions and negative positions, an odd width, cosines first"""
    return Case((rng.uniform(-50.0, 50.0, shape.axes["n"]),), {"dim": 7, "order": "cos_first"})


@sinusoids.output_terms
def _angles_from_rounded_frequencies(positions, **options):
    """Frequencies are powers of the base, which honest codes round differently."""
    return [farthest(positions)]


@sinusoids.gradient_terms
def _slopes_at_these_angles(g, positions, **options):
    return {"positions": farthest(positions) * largest_row(g)}


# ---------------------------------------------------------------------------------------- laws


def _columns(case):
    """Frequencies of the sines and cosines, and their columns, from the definition."""
    d, options = case.options["dim"], case.options
    base = options.get("base", 10000.0)
    pairs = d // 2
    if options["frequencies"] == "t2t":
        count, theta = pairs, [base ** (-i / (pairs - 1)) for i in range(pairs)]
    else:
        count = d - pairs
        theta = [base ** (-2 * i / d) for i in range(count)]
    half = options["layout"] == "half"
    first = [(i if half else 2 * i) for i in range(count)]
    second = [(count + i if half else 2 * i + 1) for i in range(pairs)]
    return np.array(theta), first, second


def _angle_size(case):
    return 2.0 + np.abs(wide(case.arrays[0])).max(initial=0.0)


def _split(f, case):
    """Sines, cosines, and frequencies of whole pairs."""
    theta, first, second = _columns(case)
    y = wide(case.call(f))
    pairs = len(second)
    a, b = y[..., first[:pairs]], y[..., second]
    return (*((a, b) if case.options["order"] == "sin_first" else (b, a)), theta[:pairs])


@sinusoids.law
def every_pair_lies_on_a_circle(f, case):
    """Squares of a sine and its cosine add up to 1"""
    sine, cosine, _ = _split(f, case)
    yield Claim(sine**2 + cosine**2, np.ones(sine.shape), 1.0)


@sinusoids.law
def moving_on_is_a_rotation(f, case):
    """A position later every pair has turned by its frequency"""
    (positions,) = case.arrays
    sine, cosine, theta = _split(f, case)
    later_sine, later_cosine, _ = _split(f, case.with_arrays(positions + 1))
    c, s = np.cos(theta), np.sin(theta)
    size = _angle_size(case)
    yield Claim(later_sine, c * sine + s * cosine, size)
    yield Claim(later_cosine, c * cosine - s * sine, size)


@sinusoids.law
def products_see_the_distance(f, case):
    """The product of two encodings is the sum of cosines of the distance: a Toeplitz matrix"""
    (positions,) = case.arrays
    sine, cosine, theta = _split(f, case)
    found = sine @ np.swapaxes(sine, -1, -2) + cosine @ np.swapaxes(cosine, -1, -2)
    k = wide(positions)
    distance = k[..., :, None] - k[..., None, :]
    expected = np.cos(distance[..., None] * theta).sum(axis=-1)
    yield Claim(found, expected, 4.0 * len(theta) * _angle_size(case))


@sinusoids.law
def backwards_only_sines_turn(f, case):
    """At -k the cosines are the same and the sines have the other sign"""
    (positions,) = case.arrays
    sine, cosine, _ = _split(f, case)
    back_sine, back_cosine, _ = _split(f, case.with_arrays(-positions))
    yield Claim(back_sine, -sine, 0.0)
    yield Claim(back_cosine, cosine, 0.0)


@sinusoids.law
def every_column_written_out(f, case):
    """Each column by its definition, and zeros in a column that has none"""
    theta, first, second = _columns(case)
    (positions,) = map(wide, case.arrays)
    angles = positions[..., None] * theta
    waves = np.sin(angles), np.cos(angles)
    if case.options["order"] == "cos_first":
        waves = waves[::-1]
    expected = np.zeros((*positions.shape, case.options["dim"]))
    expected[..., first] = waves[0]
    expected[..., second] = waves[1][..., : len(second)]
    yield Claim(case.call(f), expected, _angle_size(case))


# -------------------------------------------------------------------------------- closed forms


@sinusoids.closed_form
def published(rng, shape):
    """Width 4, positions 1 and 3, by mpmath"""
    answer = [
        [0.841470984807897, 0.54030230586814, 0.00999983333416666, 0.999950000416665],
        [0.141120008059867, -0.989992496600445, 0.0299955002024957, 0.999550033748988],
    ]
    return Case((np.array([1, 3]),), {"dim": 4} | PAPER), np.array(answer)


@sinusoids.closed_form
def ends_of_t2t(rng, shape):
    """Base 4 and width 6: frequencies 1, 1/2, 1/4"""
    k = np.array([2.0, 4.0])[:, None] * np.array([1.0, 0.5, 0.25])
    options = {"dim": 6, "order": "sin_first", "layout": "half", "frequencies": "t2t", "base": 4.0}
    return Case((np.array([2, 4]),), options), np.concatenate([np.sin(k), np.cos(k)], axis=-1)
