"""Evidence for frequencies interpolated by parts: YaRN and Llama 3."""

from __future__ import annotations

import numpy as np

from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import decreasing, factors_of_a_batch, full, geometric
from refimpl.position.scaling_by_parts import (
    llama3_frequencies,
    yarn_frequencies,
)

_SIZES = {"h": Sizes(1, 1, 32)}

yarn = Evidence(
    yarn_frequencies,
    sizes=_SIZES,
    options={"attention_factor": (1.0, 1.25)},
    combinations=(
        {"mscale": 1.0, "mscale_all_dim": 0.707},
        {"mscale": 0.707, "mscale_all_dim": 0.0},
        {"slow": 2.0, "fast": 16.0},
    ),
    fixed={"ramp": "index", "base": 10000.0, "trained_length": 4096},
)
llama3 = Evidence(
    llama3_frequencies,
    sizes=_SIZES,
    options={"slow": (0.5,), "fast": (8.0,)},
    fixed={"trained_length": 8192},
)


# ------------------------------------------------------------------------------------- regimes


def _of_one_base(rng, shape, base):
    h = shape.axes["h"]
    return np.broadcast_to(base ** (-np.arange(h) / h), shape.frequencies).copy()


def _away_from_the_ends(rng, theta, ends):
    """A trained length for which no frequency turns almost as often as an end of the ramp."""
    lengths = np.exp(rng.uniform(np.log(500.0), np.log(20000.0), 32))
    turns = lengths[:, None, None] / (2 * np.pi) * theta.reshape(-1, 1) / np.array(ends)
    return float(np.rint(lengths[np.abs(np.log(turns)).min(axis=(1, 2)).argmax()]))


def _by_index(rng, shape, length):
    base = float(np.rint(10.0 ** rng.uniform(3.5, 6.0)))
    options = {"factor": factors_of_a_batch(rng, shape), "base": base, "trained_length": length}
    return Case((_of_one_base(rng, shape, base),), options)


@yarn.regime
def published_settings(rng, shape):
    """Bases about those of published models, trained on 2048 to 8192 tokens"""
    return _by_index(rng, shape, int(rng.integers(2048, 8193)))


@yarn.regime
def by_turns(rng, shape):
    """The ramp of the paper, linear in turns"""
    base = float(np.rint(10.0 ** rng.uniform(3.5, 6.0)))
    theta = _of_one_base(rng, shape, base)
    length = _away_from_the_ends(rng, theta, (1.0, 32.0, 2.0, 16.0))
    options = {"ramp": "turns", "base": base, "trained_length": length}
    return Case((theta,), options | {"factor": factors_of_a_batch(rng, shape)})


@yarn.regime(adversarial=True)
def trained_so_long_that_all_pairs_turn(rng, shape):
    """The ramp ends beyond the last pair: trained on 60000 tokens or more, by a base of 1000"""
    case = _by_index(rng, shape, int(rng.integers(60_000, 100_000)))
    return Case((_of_one_base(rng, shape, 1000.0),), case.options | {"base": 1000.0})


@yarn.regime(adversarial=True)
def by_turns_without_a_base(rng, shape):
    """The ramp of the paper on frequencies that are no powers of a base"""
    theta = decreasing(rng, shape)
    length = _away_from_the_ends(rng, theta, (1.0, 32.0, 2.0, 16.0))
    options = {"ramp": "turns", "base": None, "trained_length": length}
    return Case((theta,), options | {"factor": factors_of_a_batch(rng, shape)})


def _llama(rng, shape, theta):
    length = _away_from_the_ends(rng, theta, (1.0, 4.0, 0.5, 8.0))
    return Case((theta,), {"factor": factors_of_a_batch(rng, shape), "trained_length": length})


@llama3.regime
def usual_bases(rng, shape):
    """Frequencies of bases from 1000 to 10^7"""
    return _llama(rng, shape, geometric(rng, shape))


@llama3.regime(adversarial=True)
def no_base(rng, shape):
    """Frequencies that are no powers of a base"""
    return _llama(rng, shape, decreasing(rng, shape))


# ---------------------------------------------------------------------------------------- laws


def _parts(case):
    """The frequencies, the factor, and the turns over the trained length."""
    theta = wide(case.arrays[0])
    turns = theta * case.options["trained_length"] / (2 * np.pi)
    return theta, wide(case.options["factor"])[..., None], turns


def _ends(case, slow, fast):
    return case.options.get("slow", slow), case.options.get("fast", fast)


def _piecewise(theta, s, turns, slow, fast):
    """The three parts, written out."""
    t = (turns - slow) / (fast - slow)
    between = (1 - t) * theta / s + t * theta
    return np.where(turns < slow, theta / s, np.where(turns > fast, theta, between))


@yarn.law
def fast_pairs_stay_and_slow_ones_are_interpolated(f, case):
    """Beyond the ends of the ramp, frequencies are the plain ones, or those over s, to the bit"""
    theta, s, turns = _parts(case)
    slow, fast = _ends(case, 1.0, 32.0)
    scaled = wide(case.call(f)[0])
    one_pair = 1.0
    if case.options["ramp"] == "index":
        # Ends are rounded outwards, by up to one pair.
        one_pair = case.options["base"] ** (1.0 / theta.shape[-1])
    for far, expected in (
        (turns > 1.0001 * fast * one_pair, theta + 0 * s),
        (1.0001 * turns < slow / one_pair, theta / s),
    ):
        yield Claim(np.where(far, scaled, expected), expected, 0.0)


@yarn.law
def frequencies_stay_between(f, case):
    """Frequencies lie between the plain ones and those over s"""
    theta, s, _ = _parts(case)
    scaled = wide(case.call(f)[0])
    yield Claim(scaled, np.clip(scaled, theta / s, theta), theta)


@yarn.law
def three_parts_by_turns(f, case):
    """With the ramp "turns" it is the three parts of the paper"""
    if case.options["ramp"] == "turns":
        theta, s, turns = _parts(case)
        expected = _piecewise(theta, s, turns, *_ends(case, 1.0, 32.0))
        yield Claim(case.call(f)[0], expected, theta * (1.0 + np.abs(turns)))


@yarn.law
def ramp_by_index_is_a_line(f, case):
    """With the ramp "index" the interpolated part grows by equal steps from pair to pair"""
    theta, s, _ = _parts(case)
    if case.options["ramp"] == "index":
        part = (1 - wide(case.call(f)[0]) / theta) / (1 - 1 / s)
        inside = (part > 1e-9) & (part < 1 - 1e-9)
        steps = np.diff(part, axis=-1)
        both = inside[..., :-2] & inside[..., 1:-1] & inside[..., 2:]
        yield Claim(np.where(both, steps[..., 1:], 0), np.where(both, steps[..., :-1], 0), 8.0)


@yarn.law
def logits_are_sharpened_by_the_rule(f, case):
    """The attention factor is what is given, or the ratio of 0.1 m ln s + 1"""
    s = wide(case.options["factor"])
    over, under = (case.options.get(name) for name in ("mscale", "mscale_all_dim"))
    over, under = (1.0, 0.0) if over is None else (over, under)
    expected = (0.1 * over * np.log(s) + 1) / (0.1 * under * np.log(s) + 1)
    if case.options.get("attention_factor") is not None:
        expected = case.options["attention_factor"] + 0 * s
    found = case.call(f)[1]
    yield Claim(found, np.broadcast_to(expected, found.shape), 2.0)


@yarn.law
def without_a_factor_nothing_changes(f, case):
    """A factor of 1 gives the plain frequencies, and the attention factor 1"""
    one = case.with_options(factor=0 * case.options["factor"] + 1.0, attention_factor=None)
    scaled, attention = one.call(f)
    theta, _, _ = _parts(case)
    yield Claim(scaled, np.broadcast_to(theta, scaled.shape), theta)
    yield Claim(attention, np.ones(attention.shape), 1.0)


@llama3.law
def three_parts(f, case):
    """Pairs turn as before, s times slower, or at the mean of both by turns"""
    theta, s, turns = _parts(case)
    expected = _piecewise(theta, s, turns, *_ends(case, 1.0, 4.0))
    yield Claim(case.call(f), expected, theta * (1.0 + np.abs(turns)))


@llama3.law
def is_yarn_of_the_paper(f, case):
    """It is YaRN of the paper with alpha = slow, beta = fast and the attention factor 1"""
    slow, fast = _ends(case, 1.0, 4.0)
    scaled, attention = yarn_frequencies(
        *case.arrays,
        factor=case.options["factor"],
        trained_length=case.options["trained_length"],
        ramp="turns",
        slow=slow,
        fast=fast,
        attention_factor=1.0,
    )
    yield Claim(case.call(f), scaled, wide(case.arrays[0]))
    yield Claim(attention, np.ones(attention.shape), 0.0)


# -------------------------------------------------------------------------------- closed forms


def _halves(shape, part, attention, **options):
    """Frequencies 1, 1/2, 1/4, ... by factor 4, trained on 2 pi 2^4.5 tokens, ends 1 and 8."""
    theta = 0.5 ** np.arange(7.0)
    settings = {"trained_length": 2 * np.pi * 2.0**4.5, "slow": 1.0, "fast": 8.0, "base": 128.0}
    factor = np.full(shape.batch, 4.0)
    case = Case((full(shape, theta),), settings | {"factor": factor} | options)
    answer = theta * (1 - 0.75 * np.asarray(part))
    return case, (full(shape, answer), np.full(shape.batch, attention))


@yarn.closed_form
def halves_by_index(rng, shape):
    """Ends 1.5 and 4.5, rounded to 1 and 5: parts of a quarter, half, three quarters between"""
    part = [0, 0, 0.25, 0.5, 0.75, 1, 1]
    return _halves(shape, part, 1 + 0.2 * np.log(2), ramp="index")


@yarn.closed_form
def halves_by_index_not_rounded(rng, shape):
    """Ends 1.5 and 4.5 as they are: parts of 1/6, 1/2, 5/6 between"""
    part = [0, 0, 1 / 6, 0.5, 5 / 6, 1, 1]
    return _halves(shape, part, 1.5, ramp="index", truncate=False, attention_factor=1.5)


@yarn.closed_form
def halves_by_turns(rng, shape):
    """Turns 2^(4.5 - i): parts of 1 - (turns - 1)/7 between"""
    part = 1 - np.clip((2.0 ** (4.5 - np.arange(7)) - 1) / 7, 0, 1)
    return _halves(shape, part, 1.0, ramp="turns", mscale=0.5, mscale_all_dim=0.5)


@llama3.closed_form
def halves_of_llama(rng, shape):
    """Turns 2^(3.5 - i), ends 1 and 4, factor 8"""
    theta = 0.5 ** np.arange(6.0)
    keep = np.clip((2.0 ** (3.5 - np.arange(6)) - 1) / 3, 0, 1)
    options = {"trained_length": 2 * np.pi * 2.0**3.5, "factor": np.full(shape.batch, 8.0)}
    return Case((full(shape, theta),), options), full(shape, theta * (1 + 7 * keep) / 8)
