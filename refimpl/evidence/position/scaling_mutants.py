"""Wrong variants of frequencies scaled by powers of the factor."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.scaling import dynamic, linear, ntk, proportional, radix
from refimpl.evidence.position.shared import in_bfloat16
from refimpl.position.scaling import (
    dynamic_ntk_frequencies,
    ntk_frequencies,
    proportional_frequencies,
    radix_frequencies,
)


def _index(theta):
    """0, ..., h - 1, and h."""
    h = theta.shape[-1]
    return namespace(theta).arange(h, dtype="float64"), h


def _whole(theta, stretch, exponents, **_):
    return theta * stretch[..., None] ** -exponents


def _book(of, exponents):
    """Frequencies times the factor, or the stretch, to the power of minus the exponents."""

    def terms(frequencies, *, factor, length=None, trained_length=None, **options):
        i, h = _index(frequencies)
        found = {"theta": frequencies, "stretch": factor, "i": i, "h": h}
        if length is not None:
            ratio = namespace(length).maximum(length / trained_length, 1.0)
            found |= {"ratio": ratio, "stretch": factor * ratio - (factor - 1)}
        return found | {"exponents": exponents(i, h, **options)}

    return Textbook(of, terms, _whole)


def _of_pair(i, h, *, kind, exponent=None, pairs=None, first=None):
    """(m/h)^b."""
    m = i + (kind != "old" if first is None else first)
    return (m / (pairs or h)) ** (1.0 if exponent is None else exponent)


by_linear = _book(linear, lambda i, h: 1.0 + 0 * i)
by_ntk = _book(ntk, lambda i, h: i / (h - 1))
by_stretch = _book(dynamic, lambda i, h: i / (h - 1))
by_radix = _book(radix, _of_pair)


def _radix(t, **changes):
    return _of_pair(t.i, t.h, kind=t.kind, exponent=vars(t).get("exponent"), **changes)


# -------------------------------------------------------------------------------------- linear

by_linear.wrong(
    "The factor is ignored: plain frequencies",
    exponents=0.0,
    source="https://github.com/Blaizzy/mlx-vlm/pull/1710",
)
by_linear.wrong("It multiplies where it should divide", exponents=-1.0)
by_linear.wrong("Both positions and frequencies are divided: the factor acts twice", exponents=2.0)
by_linear.wrong(
    "It scales the base: only the last pair is divided by the whole factor",
    exponents=lambda t: t.i / max(t.h - 1, 1),
)
by_linear.wrong(
    "Positions are doubled, whatever the factor is",
    theta=lambda t: 2.0 * t.theta,
    exponents=0.0,
    source="https://github.com/lablup/mlxcel/issues/1324",
)
wrong(
    linear,
    "Frequencies are rounded to bfloat16",
    output=in_bfloat16,
    source="https://github.com/EleutherAI/gpt-neox/issues/1016",
)


@linear.mutant(gradient=True)
def gradient_times_the_factor(g, frequencies, *, factor):
    """The gradient is multiplied by the factor instead of divided"""
    return g * factor[..., None], None


@linear.mutant(gradient=True)
def gradient_unscaled(g, frequencies, *, factor):
    """The gradient forgets the factor"""
    return g + 0 * factor[..., None], None


# ----------------------------------------------------------------------------------------- ntk

by_ntk.wrong(
    "The factor is ignored: plain frequencies",
    exponents=0.0,
    source="https://github.com/Blaizzy/mlx-vlm/pull/1710",
)
by_ntk.wrong(
    "The base is multiplied by s itself, without the exponent d/(d-2)",
    exponents=lambda t: t.i / t.h,
    source="https://github.com/Eyeline-Labs/CineScale/issues/7",
)
by_ntk.wrong(
    "The exponent of s is (d-2)/d instead of d/(d-2)", exponents=lambda t: t.i * (t.h - 1) / t.h**2
)
by_ntk.wrong("The base shrinks instead of growing", exponents=lambda t: -t.exponents)
by_ntk.wrong("Every pair is divided by s: position interpolation", exponents=1.0)
by_ntk.wrong(
    "Pairs count from 1, so that the first frequency changes too",
    exponents=lambda t: (t.i + 1) / (t.h - 1),
)


@ntk.mutant(gradient=True)
def gradient_of_interpolation(g, frequencies, *, factor):
    """The gradient is divided by s for every pair"""
    return g / factor[..., None], None


@ntk.mutant(gradient=True)
def ntk_gradient_unscaled(g, frequencies, *, factor):
    """The gradient forgets the factor"""
    return g + 0 * factor[..., None], None


# ------------------------------------------------------------------------------------- dynamic


def _in_powers_of_two(t):
    xp = namespace(t.ratio)
    return xp.where(t.ratio > 1, 2.0 ** xp.ceil(xp.log2(t.ratio) + 1) - 1, 1.0) + 0 * t.factor


def _unclipped(t):
    stretch = t.factor * (t.length / t.trained_length) - (t.factor - 1)
    return namespace(t.length).maximum(stretch, 0.5)


by_stretch.wrong(
    "Static: the base is scaled by s whatever the length is",
    stretch=lambda t: t.factor + 0 * t.length,
)
by_stretch.wrong(
    "The longest length s L_0 stands for the current one: s^2 - (s - 1), a constant",
    name="longest_length_always",
    stretch=lambda t: t.factor**2 - (t.factor - 1) + 0 * t.length,
    source="https://github.com/vllm-project/vllm/issues/41236",
)


@dynamic.mutant(source="https://github.com/huggingface/transformers/pull/27227")
def never_reset(frequencies, *, factor, length, trained_length):
    """After a sequence of twice the trained length, shorter ones keep its base"""
    longest = namespace(length).maximum(length, 2 * trained_length)
    return dynamic_ntk_frequencies(
        frequencies, factor=factor, length=longest, trained_length=trained_length
    )


by_stretch.wrong(
    "The stretch is 2^ceil(log2(L/L_0) + 1) - 1 beyond the trained length, and 1 within",
    stretch=_in_powers_of_two,
    source="https://github.com/InternLM/lmdeploy/issues/536",
)
by_stretch.wrong(
    "Sequences below the trained length get a smaller base instead of the plain one",
    stretch=_unclipped,
    source="https://github.com/vllm-project/vllm/issues/52665",
)
by_stretch.wrong(
    "The stretch is s L/L_0, without subtracting s - 1", stretch=lambda t: t.factor * t.ratio
)
wrong(
    dynamic,
    "The factor is ignored, 2 stands for it",
    options={"factor": lambda x: 0 * x + 2.0},
    source="https://github.com/ml-explore/mlx-lm/pull/1554",
)
wrong(
    dynamic,
    "The length is the highest position, one less than the number of tokens",
    options={"length": lambda x: x - 1},
)
by_stretch.wrong(
    "The base is multiplied by the stretch itself, without the exponent d/(d-2)",
    exponents=lambda t: t.i / t.h,
)


@dynamic.mutant(gradient=True)
def gradient_at_the_trained_length(g, frequencies, *, factor, length, trained_length):
    """The gradient is that of a short sequence"""
    return g + 0 * factor[..., None], None


@dynamic.mutant(gradient=True)
def gradient_of_the_static_scale(g, frequencies, *, factor, length, trained_length):
    """The gradient scales the base by s whatever the length is"""
    return ntk_frequencies.vjp(g + 0 * factor[..., None], frequencies, factor=factor)


# --------------------------------------------------------------------------------------- radix


by_radix.wrong("The factor is ignored: plain frequencies", exponents=0.0)
by_radix.wrong(
    "Pairs count from 0, so that the first frequency stays", exponents=lambda t: _radix(t, first=0)
)
by_radix.wrong(
    "The number of features stands for the number of pairs: m/d instead of m/h",
    exponents=lambda t: _radix(t, pairs=2 * t.h),
)
wrong(radix, "The exponent b is 0.75 whatever is asked for", options={"exponent": lambda x: 0.75})
wrong(radix, "Every kind is computed as 'fixed'", options={"kind": "fixed", "exponent": None})


@radix.mutant(source="https://github.com/bojone/rerope/issues/10")
def radix_inverted(frequencies, **options):
    """The sign of a m^b is lost: frequencies are multiplied where they should be divided"""
    return frequencies**2 / radix_frequencies(frequencies, **options)


@radix.mutant(gradient=True)
def radix_gradient_unscaled(g, frequencies, *, factor, kind, exponent=None):
    """The gradient forgets the factor"""
    return g + 0 * factor[..., None], None


@radix.mutant(gradient=True)
def gradient_from_zero(g, frequencies, *, factor, kind, exponent=None):
    """The gradient counts pairs from 0"""
    i, h = _index(frequencies)
    return _whole(g, factor, _of_pair(i, h, kind=kind, exponent=exponent, first=0)), None


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
