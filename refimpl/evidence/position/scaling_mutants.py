"""Wrong variants of frequencies scaled by powers of the factor."""

from __future__ import annotations

from refimpl.backend import like, namespace, to_host
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.scaling import dynamic, linear, ntk, proportional, radix
from refimpl.numerics import round_to
from refimpl.position.scaling import (
    dynamic_ntk_frequencies,
    linear_scaled_frequencies,
    ntk_frequencies,
    proportional_frequencies,
    radix_frequencies,
)


def _index(theta):
    """0, ..., h - 1, and h."""
    h = theta.shape[-1]
    return namespace(theta).arange(h, dtype="float64"), h


def _lowered(theta, factor, exponents):
    return theta * factor[..., None] ** -exponents


def ignored(frequencies, *, factor):
    """The factor is ignored: plain frequencies"""
    return frequencies + 0 * factor[..., None]


def inverted(frequencies, *, factor):
    """It multiplies where it should divide"""
    return frequencies * factor[..., None]


def rounded_to_bfloat16(frequencies, *, factor, of):
    exact = to_host(of(frequencies, factor=factor))
    return like(round_to(exact, "bfloat16"), frequencies)


# -------------------------------------------------------------------------------------- linear

linear.mutant(ignored, source="https://github.com/Blaizzy/mlx-vlm/pull/1710")
linear.mutant(inverted)


@linear.mutant
def applied_twice(frequencies, *, factor):
    """Both positions and frequencies are divided: the factor acts twice"""
    return frequencies / factor[..., None] ** 2


@linear.mutant
def only_the_slowest_pair(frequencies, *, factor):
    """It scales the base: only the last pair is divided by the whole factor"""
    i, h = _index(frequencies)
    return _lowered(frequencies, factor, i / max(h - 1, 1))


@linear.mutant(source="https://github.com/lablup/mlxcel/issues/1324")
def positions_doubled(frequencies, *, factor):
    """Positions are doubled, whatever the factor is"""
    return 2.0 * ignored(frequencies, factor=factor)


@linear.mutant(source="https://github.com/EleutherAI/gpt-neox/issues/1016")
def linear_rounded_to_bfloat16(frequencies, *, factor):
    """Frequencies are rounded to bfloat16"""
    return rounded_to_bfloat16(frequencies, factor=factor, of=linear_scaled_frequencies)


@linear.mutant(gradient=True)
def gradient_times_the_factor(g, frequencies, *, factor):
    """The gradient is multiplied by the factor instead of divided"""
    return g * factor[..., None], None


@linear.mutant(gradient=True)
def gradient_unscaled(g, frequencies, *, factor):
    """The gradient forgets the factor"""
    return g + 0 * factor[..., None], None


# ----------------------------------------------------------------------------------------- ntk

ntk.mutant(ignored, source="https://github.com/Blaizzy/mlx-vlm/pull/1710")


@ntk.mutant(source="https://github.com/Eyeline-Labs/CineScale/issues/7")
def base_times_the_factor(frequencies, *, factor):
    """The base is multiplied by s itself, without the exponent d/(d-2)"""
    i, h = _index(frequencies)
    return _lowered(frequencies, factor, i / h)


@ntk.mutant
def exponent_upside_down(frequencies, *, factor):
    """The exponent of s is (d-2)/d instead of d/(d-2)"""
    i, h = _index(frequencies)
    return _lowered(frequencies, factor, i * (h - 1) / h**2)


@ntk.mutant
def base_divided(frequencies, *, factor):
    """The base shrinks instead of growing"""
    return ntk_frequencies(frequencies, factor=factor) ** -1 * frequencies**2


@ntk.mutant
def all_pairs_divided(frequencies, *, factor):
    """Every pair is divided by s: position interpolation"""
    return frequencies / factor[..., None]


@ntk.mutant
def counted_from_one(frequencies, *, factor):
    """Pairs count from 1, so that the first frequency changes too"""
    i, h = _index(frequencies)
    return _lowered(frequencies, factor, (i + 1) / (h - 1))


@ntk.mutant(gradient=True)
def gradient_of_interpolation(g, frequencies, *, factor):
    """The gradient is divided by s for every pair"""
    return g / factor[..., None], None


@ntk.mutant(gradient=True)
def ntk_gradient_unscaled(g, frequencies, *, factor):
    """The gradient forgets the factor"""
    return g + 0 * factor[..., None], None


# ------------------------------------------------------------------------------------- dynamic


def _by_stretch(frequencies, stretch):
    i, h = _index(frequencies)
    return _lowered(frequencies, stretch, i / (h - 1))


def _ratio(length, trained_length):
    return namespace(length).maximum(length / trained_length, 1.0)


@dynamic.mutant
def length_ignored(frequencies, *, factor, length, trained_length):
    """Static: the base is scaled by s whatever the length is"""
    return _by_stretch(frequencies, factor + 0 * length)


@dynamic.mutant(source="https://github.com/vllm-project/vllm/issues/41236")
def longest_length_always(frequencies, *, factor, length, trained_length):
    """The longest length s L_0 stands for the current one: s^2 - (s - 1), a constant"""
    return _by_stretch(frequencies, factor**2 - (factor - 1) + 0 * length)


@dynamic.mutant(source="https://github.com/huggingface/transformers/pull/27227")
def never_reset(frequencies, *, factor, length, trained_length):
    """After a sequence of twice the trained length, shorter ones keep its base"""
    longest = namespace(length).maximum(length, 2 * trained_length)
    return dynamic_ntk_frequencies(
        frequencies, factor=factor, length=longest, trained_length=trained_length
    )


@dynamic.mutant(source="https://github.com/InternLM/lmdeploy/issues/536")
def in_powers_of_two(frequencies, *, factor, length, trained_length):
    """The stretch is 2^ceil(log2(L/L_0) + 1) - 1 beyond the trained length, and 1 within"""
    xp = namespace(length)
    ratio = _ratio(length, trained_length)
    steps = 2.0 ** xp.ceil(xp.log2(ratio) + 1) - 1
    return _by_stretch(frequencies, xp.where(ratio > 1, steps, 1.0) + 0 * factor)


@dynamic.mutant(source="https://github.com/vllm-project/vllm/issues/52665")
def short_sequences_shrink_the_base(frequencies, *, factor, length, trained_length):
    """Sequences below the trained length get a smaller base instead of the plain one"""
    stretch = factor * (length / trained_length) - (factor - 1)
    return _by_stretch(frequencies, namespace(length).maximum(stretch, 0.5))


@dynamic.mutant
def nothing_subtracted(frequencies, *, factor, length, trained_length):
    """The stretch is s L/L_0, without subtracting s - 1"""
    return _by_stretch(frequencies, factor * _ratio(length, trained_length))


@dynamic.mutant(source="https://github.com/ml-explore/mlx-lm/pull/1554")
def factor_of_two_always(frequencies, *, factor, length, trained_length):
    """The factor is ignored, 2 stands for it"""
    two = 0 * factor + 2.0
    return dynamic_ntk_frequencies(
        frequencies, factor=two, length=length, trained_length=trained_length
    )


@dynamic.mutant
def highest_position(frequencies, *, factor, length, trained_length):
    """The length is the highest position, one less than the number of tokens"""
    return dynamic_ntk_frequencies(
        frequencies, factor=factor, length=length - 1, trained_length=trained_length
    )


@dynamic.mutant
def without_the_exponent(frequencies, *, factor, length, trained_length):
    """The base is multiplied by the stretch itself, without the exponent d/(d-2)"""
    i, h = _index(frequencies)
    stretch = factor * _ratio(length, trained_length) - (factor - 1)
    return _lowered(frequencies, stretch, i / h)


@dynamic.mutant(gradient=True)
def gradient_at_the_trained_length(g, frequencies, *, factor, length, trained_length):
    """The gradient is that of a short sequence"""
    return g + 0 * factor[..., None], None


@dynamic.mutant(gradient=True)
def gradient_of_the_static_scale(g, frequencies, *, factor, length, trained_length):
    """The gradient scales the base by s whatever the length is"""
    return ntk_frequencies.vjp(g + 0 * factor[..., None], frequencies, factor=factor)


# --------------------------------------------------------------------------------------- radix


@radix.mutant
def radix_ignored(frequencies, *, factor, kind, exponent=None):
    """The factor is ignored: plain frequencies"""
    return ignored(frequencies, factor=factor)


@radix.mutant(source="https://github.com/bojone/rerope/issues/10")
def radix_inverted(frequencies, *, factor, kind, exponent=None):
    """The sign of a m^b is lost: frequencies are multiplied where they should be divided"""
    scaled = radix_frequencies(frequencies, factor=factor, kind=kind, exponent=exponent)
    return frequencies**2 / scaled


@radix.mutant
def pairs_from_zero(frequencies, *, factor, kind, exponent=None):
    """Pairs count from 0, so that the first frequency stays"""
    i, h = _index(frequencies)
    return _lowered(frequencies, factor, (i / h) ** (1.0 if exponent is None else exponent))


@radix.mutant
def whole_head_for_half(frequencies, *, factor, kind, exponent=None):
    """The number of features stands for the number of pairs: m/d instead of m/h"""
    i, h = _index(frequencies)
    m = i + (kind != "old")
    return _lowered(frequencies, factor, (m / (2 * h)) ** (1.0 if exponent is None else exponent))


@radix.mutant
def exponent_of_the_patch(frequencies, *, factor, kind, exponent=None):
    """The exponent b is 0.75 whatever is asked for"""
    exponent = None if exponent is None else 0.75
    return radix_frequencies(frequencies, factor=factor, kind=kind, exponent=exponent)


wrong(radix, "Every kind is computed as 'fixed'", options={"kind": "fixed", "exponent": None})


@radix.mutant(gradient=True)
def radix_gradient_unscaled(g, frequencies, *, factor, kind, exponent=None):
    """The gradient forgets the factor"""
    return g + 0 * factor[..., None], None


@radix.mutant(gradient=True)
def gradient_from_zero(g, frequencies, *, factor, kind, exponent=None):
    """The gradient counts pairs from 0"""
    i, h = _index(frequencies)
    e = (i / h) ** (1.0 if exponent is None else exponent)
    return _lowered(g, factor, e), None


# -------------------------------------------------------------------------------- proportional


@proportional.mutant(source="https://github.com/jagmarques/nexusquant/pull/12")
def all_pairs_turn(frequencies, *, fraction):
    """The fraction is ignored: all pairs turn"""
    return frequencies + 0.0


@proportional.mutant
def frequencies_of_the_part(frequencies, *, fraction):
    """The turning pairs get the frequencies of a head of their own size, as partial rotation"""
    count = max(int(fraction * frequencies.shape[-1]), 1)
    kept = proportional_frequencies(frequencies, fraction=fraction)
    xp = namespace(kept)
    return xp.where(kept > 0, frequencies ** (frequencies.shape[-1] / count), 0.0)


@proportional.mutant
def slowest_pairs_turn(frequencies, *, fraction):
    """The slowest pairs turn instead of the fastest"""
    return proportional_frequencies(frequencies[..., ::-1], fraction=fraction)[..., ::-1]


@proportional.mutant
def others_turn_with_the_last(frequencies, *, fraction):
    """The other pairs turn with the lowest frequency instead of standing still"""
    kept = proportional_frequencies(frequencies, fraction=fraction)
    return namespace(kept).where(kept > 0, kept, frequencies[..., -1:])


wrong(
    proportional,
    "The fraction of features is taken for a number of pairs: twice as many turn",
    options={"fraction": lambda x: min(2 * x, 1.0)},
)


@proportional.mutant
def rounded_up(frequencies, *, fraction):
    """The number of turning pairs is rounded up"""
    i, h = _index(frequencies)
    return frequencies * (i < fraction * h)


@proportional.mutant(gradient=True)
def gradient_of_all(g, frequencies, *, fraction):
    """The gradient reaches the pairs that stand still"""
    return (g + 0.0,)


@proportional.mutant(gradient=True)
def gradient_of_the_others(g, frequencies, *, fraction):
    """The gradient reaches only the pairs that stand still"""
    return (g - proportional_frequencies.vjp(g, frequencies, fraction=fraction)[0],)
