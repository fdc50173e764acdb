"""Wrong variants of frequencies interpolated by parts: the bugs of public code."""

from __future__ import annotations

import math
from types import SimpleNamespace

from refimpl.backend import namespace
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.scaling_by_parts import llama3, yarn
from refimpl.position.scaling_by_parts import llama3_frequencies, yarn_frequencies


def _keep(frequencies, options):
    """The part that is not interpolated: by a factor of 2, theta' = theta (gamma + 1)/2."""
    return 2 * yarn_frequencies(frequencies, **options | {"factor": 2.0})[0] / frequencies - 1


def _keep_by_index(t, *, last=None, pairs=None, turn=2 * math.pi):
    """The ramp by index with another last pair, number of pairs, or angle of a turn."""
    if t.ramp == "turns":
        return t.keep
    xp, h, options = namespace(t.theta), t.theta.shape[-1], vars(t)
    pairs, last = pairs or h, 2 * h - 1 if last is None else last

    def pair(times):
        turns = options["trained_length"] / (turn * times)
        return pairs * math.log(turns) / math.log(options["base"])

    start, end = pair(options.get("fast", 32.0)), pair(options.get("slow", 1.0))
    if options.get("truncate", True):
        start, end = math.floor(start), math.ceil(end)
    start, end = max(start, 0), min(end, last)
    end += 0.001 * (start == end)
    return 1 - xp.clip((xp.arange(h, dtype="float64") - start) / (end - start), 0, 1)


def _terms(frequencies, **options):
    attention = yarn_frequencies(frequencies, **options)[1]
    s = options["factor"][..., None]
    return {"theta": frequencies, "keep": _keep(frequencies, options), "s": s, "a": attention}


def _whole(theta, keep, s, a):
    return theta * (keep + (1 - keep) / s), a


book = Textbook(yarn, _terms, _whole)


def _sharpened(attention, frequencies, options):
    """YaRN with another attention factor."""
    scaled, right = yarn_frequencies(frequencies, **options)
    return scaled, attention + 0 * right


# ------------------------------------------------------------------------------- YaRN: the ramp


@yarn.mutant(source="https://github.com/jquesnelle/yarn/issues/60")
def other_ramp(frequencies, **options):
    """The ramp is linear in turns where it should be in the index, or the reverse"""
    other = "turns" if options["ramp"] == "index" else "index"
    if options.get("base") is None:
        return yarn_frequencies(frequencies, **options)
    return yarn_frequencies(frequencies, **options | {"ramp": other})


@yarn.mutant(source="https://github.com/jquesnelle/yarn/issues/24")
def wavelengths_blended(frequencies, **options):
    """It takes the mean of the wavelengths instead of the mean of the frequencies"""
    keep = _keep(frequencies, options)
    attention = yarn_frequencies(frequencies, **options)[1]
    return frequencies / (keep + (1 - keep) * options["factor"][..., None]), attention


@yarn.mutant(source="https://github.com/vllm-project/vllm/issues/27722")
def ends_always_rounded(frequencies, **options):
    """The ends of the ramp are rounded to whole pairs also where they should not be"""
    return yarn_frequencies(frequencies, **options | {"truncate": True})


@yarn.mutant(source="https://github.com/keras-team/keras-hub/pull/2981")
def ends_never_rounded(frequencies, **options):
    """The ends of the ramp are not rounded to whole pairs"""
    return yarn_frequencies(frequencies, **options | {"truncate": False})


book.wrong(
    "The upper end of the ramp is clipped to d/2 - 1 instead of d - 1",
    name="clipped_to_the_last_pair",
    keep=lambda t: _keep_by_index(t, last=t.theta.shape[-1] - 1),
    source="https://github.com/jingyaogong/minimind/issues/602",
)
book.wrong(
    "The ends of the ramp are swapped: fast pairs are interpolated and slow ones stay",
    name="ends_swapped",
    keep=lambda t: 1 - t.keep,
    source="https://github.com/pytorch/torchtitan/pull/3787",
)
book.wrong(
    "The ends of the ramp are counted in features, twice the pairs",
    keep=lambda t: _keep_by_index(t, pairs=2 * t.theta.shape[-1]),
)


@yarn.mutant
def radians_for_turns(frequencies, **options):
    """The ends of the ramp are taken in radians, without 2 pi"""
    if options["ramp"] == "index":
        t = SimpleNamespace(**options, theta=frequencies)
        return _whole(**_terms(frequencies, **options) | {"keep": _keep_by_index(t, turn=1.0)})
    longer = options["trained_length"] * 2 * math.pi
    return yarn_frequencies(frequencies, **options | {"trained_length": longer})


wrong(yarn, "The fast end of the ramp is at 4 turns, as in Llama 3", options={"fast": 4.0})
book.wrong("All pairs are divided by the factor, the fast ones too", keep=0.0)
book.wrong("No pair is divided by the factor", keep=1.0)


# ------------------------------------------------------------------- YaRN: the attention factor


@yarn.mutant(source="https://github.com/ml-explore/mlx-lm/pull/1507")
def given_attention_factor_ignored(frequencies, **options):
    """A given attention factor is ignored in favour of the rule"""
    return yarn_frequencies(frequencies, **options | {"attention_factor": None})


wrong(yarn, "The attention factor is always 1", options={"attention_factor": 1.0})
book.wrong(
    "The attention factor is applied twice",
    name="attention_factor_squared",
    a=lambda t: t.a**2,
    source="https://github.com/sgl-project/sglang/pull/33558",
)


@yarn.mutant(source="https://github.com/NVIDIA/TensorRT-LLM/pull/16379")
def attention_factor_through_the_rule_again(frequencies, **options):
    """A given attention factor is taken for m of the rule 0.1 m ln s + 1"""
    given = options.get("attention_factor")
    if given is None:
        return yarn_frequencies(frequencies, **options)
    again = 0.1 * given * namespace(frequencies).log(options["factor"]) + 1
    return _sharpened(again, frequencies, options)


book.wrong(
    "The attention factor has the decimal logarithm of s",
    a=lambda t: 0.1 * namespace(t.s).log10(t.factor) + 1 + 0 * t.a,
)


@yarn.mutant(source="https://github.com/turboderp-org/exllamav3/issues/259")
def mscale_alone(frequencies, **options):
    """The ratio of mscale and mscale_all_dim is not taken: mscale alone counts"""
    return yarn_frequencies(frequencies, **options | {"mscale_all_dim": 0.0, "mscale": 1.0})


@yarn.mutant
def mscales_swapped(frequencies, **options):
    """The ratio of mscale and mscale_all_dim is upside down"""
    pair = {"mscale": options.get("mscale_all_dim"), "mscale_all_dim": options.get("mscale")}
    return yarn_frequencies(frequencies, **options | pair)


@yarn.mutant(gradient=True)
def gradient_without_the_ramp(g, frequencies, **options):
    """The gradient forgets that the ramp depends on the frequencies"""
    keep = _keep(frequencies, options)
    return g[0] * (keep + (1 - keep) / options["factor"][..., None]), None


@yarn.mutant(gradient=True)
def gradient_unscaled(g, frequencies, **options):
    """The gradient forgets the interpolation"""
    return g[0] + 0 * options["factor"][..., None], None


# --------------------------------------------------------------------------------------- Llama 3


def _turns(frequencies, options):
    return frequencies * options["trained_length"] / (2 * math.pi)


@llama3.mutant(source="https://github.com/felafax/felafax/issues/59")
def not_scaled(frequencies, **options):
    """The scaling is missing: plain frequencies"""
    return frequencies + 0 * options["factor"][..., None]


@llama3.mutant(source="https://github.com/ml-explore/mlx-examples/pull/907")
def blended_by_wavelength(frequencies, **options):
    """Between the ends wavelengths are blended, linearly in the wavelength"""
    xp = namespace(frequencies)
    slow, fast = options.get("slow", 1.0), options.get("fast", 4.0)
    wavelength = 1.0 / _turns(frequencies, options)
    part = xp.clip((wavelength - 1 / fast) / (1 / slow - 1 / fast), 0, 1)
    return frequencies / (1 - part + part * options["factor"][..., None])


@llama3.mutant
def no_blend(frequencies, **options):
    """There is no blend: pairs slower than the slow end are divided, all others stay"""
    is_slow = _turns(frequencies, options) < options.get("slow", 1.0)
    s = options["factor"][..., None]
    return namespace(frequencies).where(is_slow, frequencies / s, frequencies)


@llama3.mutant
def blend_reversed(frequencies, **options):
    """Between the ends the weights of the plain and the divided frequency are swapped"""
    slow, fast = options.get("slow", 1.0), options.get("fast", 4.0)
    turns, s = _turns(frequencies, options), options["factor"][..., None]
    t = (turns - slow) / (fast - slow)
    mean = t * frequencies / s + (1 - t) * frequencies
    between = (turns > slow) & (turns < fast)
    right = llama3_frequencies(frequencies, **options)
    return namespace(frequencies).where(between, mean, right)


@llama3.mutant
def everything_divided(frequencies, **options):
    """All pairs are divided by the factor"""
    return frequencies / options["factor"][..., None]


wrong(llama3, "The fast end is at 32 turns, as in YaRN", options={"fast": 32.0})
wrong(
    llama3,
    "The wavelength is 1 / theta, without 2 pi",
    options={"trained_length": lambda x: x * 2 * math.pi},
)


@llama3.mutant(gradient=True)
def llama_gradient_without_the_ramp(g, frequencies, **options):
    """The gradient forgets that the weights depend on the frequencies"""
    scaled = llama3_frequencies(frequencies, **options)
    return g * scaled / frequencies, None


@llama3.mutant(gradient=True)
def llama_gradient_unscaled(g, frequencies, **options):
    """The gradient forgets the scaling"""
    return g + 0 * options["factor"][..., None], None
