"""Evidence for frequencies scaled by powers of the factor: inputs, laws and closed forms."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import decreasing, geometric
from refimpl.position.rotary import rotary_embedding
from refimpl.position.scaling import (
    dynamic_ntk_frequencies,
    linear_scaled_frequencies,
    ntk_frequencies,
    proportional_frequencies,
    radix_frequencies,
)

_SIZES = {"h": Sizes(2, 1, 32)}

linear = Evidence(linear_scaled_frequencies, sizes={"h": Sizes(1, 1, 32)})
ntk = Evidence(ntk_frequencies, sizes=_SIZES)
dynamic = Evidence(
    dynamic_ntk_frequencies,
    sizes=_SIZES,
    options={"trained_length": (512, 4096)},
    fixed={"trained_length": 2048},
)
radix = Evidence(
    radix_frequencies,
    sizes=_SIZES,
    options={"exponent": (0.625, 0.0, 2.0)},
    combinations=({"kind": "old", "exponent": None}, {"kind": "fixed", "exponent": None}),
    fixed={"kind": "mixed", "exponent": 0.75},
)
proportional = Evidence(
    proportional_frequencies,
    sizes={"h": Sizes(1, 1, 32)},
    options={"fraction": (0.25, 0.3, 1.0)},
    fixed={"fraction": 0.5},
)
_BY_FACTOR = (linear, ntk, radix)


# ------------------------------------------------------------------------------------- regimes


def _lengths(rng, shape, low, high):
    return {"length": rng.integers(low, high, shape.batch)}


def usual_factors(rng, shape):
    """Frequencies of published bases, factors from 1.5 to 32"""
    return Case((geometric(rng, shape),), {"factor": rng.uniform(1.5, 32.0, shape.batch)})


def factors_next_to_one(rng, shape):
    """Factors next to 1, where little changes"""
    return Case((geometric(rng, shape),), {"factor": rng.uniform(1.02, 1.3, shape.batch)})


def no_powers_of_a_base(rng, shape):
    """Frequencies that are no powers of a base"""
    return Case((decreasing(rng, shape),), {"factor": rng.uniform(1.5, 64.0, shape.batch)})


for _of in _BY_FACTOR:
    _of.regime(usual_factors)
    _of.regime(factors_next_to_one, adversarial=True)
    _of.regime(no_powers_of_a_base, adversarial=True)


@dynamic.regime
def several_times_the_trained_length(rng, shape):
    """Sequences of 5000 to 60000 tokens"""
    case = usual_factors(rng, shape)
    return case.with_options(**_lengths(rng, shape, 5000, 60000))


@dynamic.regime(adversarial=True)
def short_sequences(rng, shape):
    """Sequences within the trained length: nothing changes"""
    case = usual_factors(rng, shape)
    return case.with_options(**_lengths(rng, shape, 1, 500))


@dynamic.regime(adversarial=True)
def just_beyond_the_trained_length(rng, shape):
    """Sequences of 2049 to 2080 tokens, frequencies of no base"""
    case = no_powers_of_a_base(rng, shape)
    return case.with_options(**_lengths(rng, shape, 2049, 2081))


@proportional.regime
def of_a_base(rng, shape):
    """Frequencies of published bases"""
    return Case((geometric(rng, shape),))


@proportional.regime(adversarial=True)
def of_no_base(rng, shape):
    """Frequencies that are no powers of a base"""
    return Case((decreasing(rng, shape),))


# ---------------------------------------------------------------------------------------- laws


def _theta(case):
    return wide(case.arrays[0])


def _factor(case):
    return wide(case.options["factor"])[..., None]


def _size(case):
    """The frequencies, times how much one rounding of an exponent grows."""
    return _theta(case) * (1.0 + np.log(_factor(case)))


def stays_between(f, case):
    """Frequencies lie between the plain ones and those over s"""
    scaled = wide(case.call(f))
    within = np.clip(scaled, _theta(case) / _factor(case), _theta(case))
    yield Claim(scaled, within, _size(case))


def factor_one_changes_nothing(f, case):
    """A factor of 1 gives the plain frequencies"""
    one = case.with_options(factor=0 * case.options["factor"] + 1.0)
    scaled = wide(one.call(f))
    yield Claim(scaled, np.broadcast_to(_theta(case), scaled.shape), _size(case))


def factors_multiply(f, case):
    """Scaling by s and then by t is scaling by s t"""
    s = case.options["factor"]
    once = case.with_options(factor=s * 1.5)
    twice = case.with_arrays(case.call(f)).with_options(factor=0 * s + 1.5)
    yield Claim(twice.call(f), once.call(f), _size(once))


def homogeneous(f, case):
    """The output is linear in the frequencies"""
    (theta,) = case.arrays
    other = theta[..., ::-1]
    left = case.with_arrays(2.0 * theta - 0.5 * other).call(f)
    right = 2.0 * wide(case.call(f)) - 0.5 * wide(case.with_arrays(other).call(f))
    yield Claim(left, right, 4.0 * np.abs(wide(theta)).max(axis=-1, keepdims=True))


for _of in (*_BY_FACTOR, dynamic, proportional):
    _of.law(homogeneous)
for _of in _BY_FACTOR:
    _of.law(factor_one_changes_nothing)
    _of.law(factors_multiply)
    _of.law(stays_between)


@linear.law
def positions_are_divided(f, case):
    """Rotating at m by the new frequencies is rotating at m/s by the plain ones"""
    theta, s = _theta(case), _factor(case)
    scaled = wide(case.call(f))
    m = np.arange(4.0)
    x = np.ones((4, 2 * theta.shape[-1]))
    new = rotary_embedding(x, m, pairing="half", frequencies=scaled)
    divided = rotary_embedding(x, m / s, pairing="half", frequencies=theta)
    yield Claim(new, divided, 8.0)


@ntk.law
def only_the_last_is_interpolated_whole(f, case):
    """The first frequency stays, the last one is divided by s"""
    scaled, theta = wide(case.call(f)), _theta(case)
    yield Claim(scaled[..., 0], np.broadcast_to(theta[..., 0], scaled.shape[:-1]), theta[..., 0])
    yield Claim(scaled[..., -1], theta[..., -1] / _factor(case)[..., 0], _size(case)[..., -1])


@ntk.law
def steps_shrink_by_one_ratio(f, case):
    """Each step from a pair to the next is s^(1/(h-1)) times what it was"""
    ratios = wide(case.call(f)) / _theta(case)
    root = _factor(case) ** (-1.0 / (ratios.shape[-1] - 1))
    yield Claim(ratios[..., 1:], ratios[..., :-1] * root, 1.0 + np.log(_factor(case)))


@dynamic.law
def is_ntk_by_the_stretch(f, case):
    """The base grows by (s L/L_0 - (s - 1))^(d/(d-2)): exponents i/(h-1) on the frequencies"""
    s, h = _factor(case), case.arrays[0].shape[-1]
    ratio = np.maximum(wide(case.options["length"]) / case.options["trained_length"], 1.0)
    stretch = s * ratio[..., None] - (s - 1.0)
    expected = np.exp(np.log(_theta(case)) - np.arange(h) / (h - 1) * np.log(stretch))
    yield Claim(case.call(f), expected, _theta(case) * (12.0 + s * ratio[..., None]))


@dynamic.law
def short_sequences_are_left_alone(f, case):
    """Up to the trained length the frequencies are the same bits"""
    length = np.minimum(wide(case.options["length"]), case.options["trained_length"])
    short = case.with_options(length=like(length, case.arrays[0]))
    scaled = wide(short.call(f))
    yield Claim(scaled, np.broadcast_to(_theta(case), scaled.shape), 0.0)


@radix.law
def ends_at_the_factor(f, case):
    """The last pair is interpolated whole; with kind 'old', short of it by s^(1/h)"""
    missing = 0.0
    if case.options["kind"] == "old":
        missing = 1.0 / case.arrays[0].shape[-1]
    s = _factor(case)[..., 0]
    expected = _theta(case)[..., -1] * s ** (missing - 1.0)
    yield Claim(wide(case.call(f))[..., -1], expected, _size(case)[..., -1])


@radix.law
def exponents_one_and_zero_are_known(f, case):
    """Mixed with b = 1 is a constant ratio from pair to pair, and with b = 0 division by s"""
    mixed = case.with_options(kind="mixed")
    h, s = case.arrays[0].shape[-1], _factor(case)
    ratios = wide(mixed.with_options(exponent=1.0).call(f)) / _theta(case)
    yield Claim(ratios, s ** (-(1.0 + np.arange(h)) / h), 1.0 + np.log(s))
    yield Claim(mixed.with_options(exponent=0.0).call(f), _theta(case) / s, _size(case))


@proportional.law
def turning_pairs_pass_and_the_others_stop(f, case):
    """The first pairs keep their frequency to the bit, and the others have none"""
    theta, kept = _theta(case), wide(case.call(f))
    h = theta.shape[-1]
    count = int(case.options["fraction"] * (2 * h) // 2)
    yield Claim(kept[..., :count], theta[..., :count], 0.0)
    yield Claim(kept[..., count:], 0.0 * theta[..., count:], 0.0)


@proportional.law
def features_without_frequency_are_not_rotated(f, case):
    """Rotation with half pairs leaves the features whose pair has no frequency"""
    kept = wide(case.call(f))
    h = kept.shape[-1]
    count = int(case.options["fraction"] * (2 * h) // 2)
    x = np.arange(1.0, 1.0 + 2 * h)[None]
    y = rotary_embedding(x, [5], pairing="half", frequencies=kept)
    for start in (0, h):
        still = np.broadcast_to(x[..., start + count : start + h], y[..., count:h].shape)
        yield Claim(y[..., start + count : start + h], still, 0.0)


# -------------------------------------------------------------------------------- closed forms


def _known(shape, theta, answer, **options):
    factor = options.pop("factor", None)
    if factor is not None:
        options["factor"] = np.full(shape.batch, float(factor))
    full = np.broadcast_to(np.asarray(theta, float), (*shape.batch, len(theta))).copy()
    return Case((full,), options), np.broadcast_to(answer, full.shape)


def _quarters(h):
    return 0.25 ** np.arange(h)


@linear.closed_form
def one_digit_on(rng, shape):
    """Of base 4^h, dividing by 4 moves every frequency to the next"""
    return _known(shape, _quarters(5), 0.25 ** np.arange(1, 6), factor=4)


@ntk.closed_form
def a_digit_in_two_steps(rng, shape):
    """Three pairs of quarters by factor 4: 1, 1/8, 1/64"""
    return _known(shape, _quarters(3), [1.0, 1 / 8, 1 / 64], factor=4)


@ntk.closed_form
def published_base(rng, shape):
    """Factor 8 and 128 features: the base 10000 becomes 82684.62264056221"""
    theta, answer = (b ** (-np.arange(64) / 64) for b in (10000.0, 82684.62264056221))
    return _known(shape, theta, answer, factor=8)


@dynamic.closed_form
def twice_the_length_by_two(rng, shape):
    """Factor 2 at twice the trained length stretches by 3: base 30527.7367488067"""
    theta, answer = (b ** (-np.arange(64) / 64) for b in (10000.0, 30527.7367488067))
    length = np.full(shape.batch, 4096)
    return _known(shape, theta, answer, factor=2, length=length, trained_length=2048)


@dynamic.closed_form
def at_the_trained_length(rng, shape):
    """The trained length itself changes nothing"""
    length = np.full(shape.batch, 2048)
    theta = _quarters(3)
    return _known(shape, theta, theta, factor=7, length=length, trained_length=2048)


@radix.closed_form
def fixed_halves(rng, shape):
    """Four pairs of quarters by 16: "fixed" divides pair m = 1, 2, 3, 4 by 2^m"""
    options = {"factor": 16, "kind": "fixed", "exponent": None}
    return _known(shape, _quarters(4), 0.5 * 0.125 ** np.arange(4), **options)


@radix.closed_form
def old_halves(rng, shape):
    """Four pairs of quarters by 16: "old" divides pair m = 1, 2, 3, 4 by 2^(m-1)"""
    options = {"factor": 16, "kind": "old", "exponent": None}
    return _known(shape, _quarters(4), 0.125 ** np.arange(4), **options)


@radix.closed_form
def mixed_squares(rng, shape):
    """Four pairs of ones by 16: "mixed" with b = 2 divides pair m by 2^(m^2/4)"""
    answer = 2.0 ** (-(np.arange(1, 5) ** 2) / 4)
    return _known(shape, np.ones(4), answer, factor=16, kind="mixed", exponent=2.0)


@radix.closed_form
def as_in_the_essay_s_code(rng, shape):
    """Factor 12, b = 0.75 and 128 features: exp(-a m^b) with a = 0.10981839641754"""
    answer = np.exp(-0.10981839641754 * np.arange(1, 65) ** 0.75)
    return _known(shape, np.ones(64), answer, factor=12, kind="mixed", exponent=0.75)


@proportional.closed_form
def a_quarter_of_eight(rng, shape):
    """A quarter of eight pairs: the first two"""
    theta = _quarters(8)
    return _known(shape, theta, [1.0, 0.25, *[0.0] * 6], fraction=0.25)
