"""Evidence for LongRoPE: sequences within the trained length and beyond, and its bugs."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import decreasing, factors_of_a_batch, full, geometric
from refimpl.position.longrope import longrope_frequencies

longrope = Evidence(
    longrope_frequencies,
    sizes={"h": Sizes(1, 1, 32)},
    options={"short_attention_factor": (1.05,), "long_attention_factor": (1.3,)},
    fixed={"trained_length": 4096},
)


# ------------------------------------------------------------------------------------- regimes


def _lists(rng, shape):
    """A short list next to 1, and a long one that grows to about s."""
    growing = np.sort(rng.uniform(1.0, 60.0, shape.long_factors), axis=-1)
    short = rng.uniform(1.0, 1.2, shape.short_factors)
    return {
        "short_factors": short,
        "long_factors": growing,
        "factor": factors_of_a_batch(rng, shape),
    }


@longrope.regime
def short_and_long_sequences(rng, shape):
    """Sequences of 1 to 8000 tokens, some of them beyond the 4096 of training"""
    length = rng.integers(1, 8001, shape.batch)
    return Case((geometric(rng, shape),), _lists(rng, shape) | {"length": length})


@longrope.regime(adversarial=True)
def around_the_trained_length(rng, shape):
    """Sequences of 4096 tokens exactly, the last that the short list is for, and of 4097"""
    length = 4096 + np.arange(int(np.prod(shape.batch))).reshape(shape.batch) % 2
    return Case((decreasing(rng, shape),), _lists(rng, shape) | {"length": length})


# ---------------------------------------------------------------------------------------- laws


@longrope.law
def one_list_for_each_sequence(f, case):
    """Sequences within the trained length use the short list, longer ones the long list"""
    theta = wide(case.arrays[0])
    scaled = wide(case.call(f)[0])
    names = ("short_factors", "long_factors")
    short, long = (np.broadcast_to(wide(case.options[name]), scaled.shape) for name in names)
    lengths = np.broadcast_to(wide(case.options["length"]), scaled.shape[:-1])
    expected = np.empty(scaled.shape)
    for index in np.ndindex(lengths.shape):
        used = long if lengths[index] > case.options["trained_length"] else short
        expected[index] = np.broadcast_to(theta, scaled.shape)[index] / used[index]
    yield Claim(scaled, expected, expected)


@longrope.law
def the_other_list_does_not_matter(f, case):
    """Other numbers in both lists change only the sequences that use them"""
    changed = case.with_options(long_factors=2.0 * case.options["long_factors"])
    before, after = wide(case.call(f)[0]), wide(changed.call(f)[0])
    is_long = np.broadcast_to(
        (wide(case.options["length"]) > case.options["trained_length"])[..., None], before.shape
    )
    yield Claim(after, np.where(is_long, before / 2.0, before), before)


@longrope.law
def logits_are_sharpened_by_the_root(f, case):
    """Where none is given, the squared attention factor is ln(s L_0) / ln L_0"""
    free = case.with_options(short_attention_factor=None, long_attention_factor=None)
    attention = wide(free.call(f)[1])
    length = case.options["trained_length"]
    expected = np.log(wide(case.options["factor"]) * length) / np.log(length)
    yield Claim(attention**2, np.broadcast_to(expected, attention.shape), 4.0)


# -------------------------------------------------------------------------------- closed forms


def _phi(shape, length, answer, attention, **options):
    """Two pairs with lists of their own, trained on 4096 tokens, by factor 32."""
    lists = {"short_factors": full(shape, [1.0, 1.25]), "long_factors": full(shape, [2.0, 50.0])}
    numbers = {"factor": np.full(shape.batch, 32.0), "length": np.full(shape.batch, length)}
    case = Case((full(shape, [1.0, 0.01]),), lists | numbers | {"trained_length": 4096} | options)
    return case, (full(shape, answer), np.full(shape.batch, attention))


@longrope.closed_form
def at_the_trained_length(rng, shape):
    """4096 tokens of 4096: the short list, and sqrt(17/12)"""
    return _phi(shape, 4096, [1.0, 0.008], (17 / 12) ** 0.5)


@longrope.closed_form
def one_token_more(rng, shape):
    """4097 tokens of 4096: the long list, and what is given for it"""
    return _phi(shape, 4097, [0.5, 0.0002], 1.25, long_attention_factor=1.25)


# ------------------------------------------------------------------------------------- mutants


@longrope.mutant(source="https://github.com/ggml-org/llama.cpp/issues/24823")
def list_of_the_longest_length(frequencies, **options):
    """The longest length s L_0 chooses the list, not that of the sequence: always the long one"""
    longest = options["factor"] * options["trained_length"] + 0 * options["length"]
    return longrope_frequencies(frequencies, **options | {"length": longest})


@longrope.mutant
def always_the_short_list(frequencies, **options):
    """The short list is used whatever the length is"""
    return longrope_frequencies(frequencies, **options | {"length": 0 * options["length"]})


@longrope.mutant(source="https://github.com/unslothai/unsloth/pull/10681")
def long_from_the_trained_length_on(frequencies, **options):
    """The trained length itself takes the long list already"""
    return longrope_frequencies(frequencies, **options | {"length": options["length"] + 1})


@longrope.mutant
def highest_position_for_length(frequencies, **options):
    """The highest position stands for the number of tokens, which is one more"""
    below = namespace(frequencies).maximum(options["length"] - 1, 0)
    return longrope_frequencies(frequencies, **options | {"length": below})


@longrope.mutant
def multiplied(frequencies, **options):
    """Frequencies are multiplied by the list instead of divided"""
    scaled, attention = longrope_frequencies(frequencies, **options)
    return frequencies**2 / scaled, attention


@longrope.mutant
def also_divided_by_the_factor(frequencies, **options):
    """Frequencies are divided by the list and by s"""
    scaled, attention = longrope_frequencies(frequencies, **options)
    return scaled / options["factor"][..., None], attention


@longrope.mutant
def rule_of_yarn(frequencies, **options):
    """The attention factor is that of YaRN, 0.1 ln s + 1"""
    scaled, attention = longrope_frequencies(frequencies, **options)
    return scaled, 0.1 * namespace(frequencies).log(options["factor"]) + 1 + 0 * attention


@longrope.mutant
def no_root(frequencies, **options):
    """The attention factor lacks the square root"""
    scaled, attention = longrope_frequencies(frequencies, **options)
    return scaled, attention**2


wrong(
    longrope,
    "Attention factors that are given for a list are ignored",
    options={"short_attention_factor": None, "long_attention_factor": None},
    source="https://github.com/lablup/mlxcel/issues/1358",
)


@longrope.mutant
def sharpened_only_when_long(frequencies, **options):
    """Short sequences get the attention factor 1"""
    scaled, attention = longrope_frequencies(frequencies, **options)
    is_long = options["length"] > options["trained_length"]
    return scaled, namespace(frequencies).where(is_long, attention, 1.0)


@longrope.mutant(gradient=True)
def longrope_gradient_unscaled(g, frequencies, **options):
    """The gradient forgets the list"""
    return g[0] + 0 * options["long_factors"], None, None, None


@longrope.mutant(gradient=True)
def gradient_by_the_short_list(g, frequencies, **options):
    """The gradient is divided by the short list whatever the length is"""
    return g[0] / options["short_factors"] + 0 * options["long_factors"], None, None, None
