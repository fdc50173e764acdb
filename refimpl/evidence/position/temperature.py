"""Evidence for the scale of queries that grows with their position."""

from __future__ import annotations

import numpy as np

from refimpl.backend import astype, namespace, to_host
from refimpl.evidence import Case, Claim, Evidence
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.position.temperature import position_query_scale

temperature = Evidence(
    position_query_scale,
    fixed={"counted_from": 1},
    options={"floor_scale": (100.0,), "attention_scale": (0.5,)},
    combinations=({"counted_from": 0, "floor_scale": 2.5},),
)


# ------------------------------------------------------------------------------------- regimes


@temperature.regime
def long_contexts(rng, shape):
    """Positions to 10 million, by their magnitude"""
    return Case((np.floor(10.0 ** rng.uniform(0.0, 7.0, shape.positions)),))


@temperature.regime(adversarial=True)
def ends_of_blocks(rng, shape):
    """The last positions of blocks and the first ones after, as in Llama 4"""
    blocks = rng.integers(1, 40, shape.positions)
    return Case((8192 * blocks - rng.integers(0, 3, shape.positions),))


@temperature.regime(adversarial=True)
def ends_of_blocks_from_zero(rng, shape):
    """The last positions of blocks and the first ones after, as in Ministral 3"""
    blocks = rng.integers(1, 40, shape.positions)
    at = 16384 * blocks - rng.integers(0, 3, shape.positions)
    return Case((at,), {"counted_from": 0, "floor_scale": 16384.0})


# ---------------------------------------------------------------------------------------- laws


def _number(case):
    """The number of each position, the length of a block, and the factor of the logarithm."""
    options = case.options
    number = to_host(case.arrays[0]).astype(np.float64) + options["counted_from"]
    return number, options.get("floor_scale", 8192.0), options.get("attention_scale", 0.1)


@temperature.law
def the_exponential_counts_blocks(f, case):
    """exp((s - 1)/beta) - 1 is the number of whole blocks before"""
    number, block, beta = _number(case)
    blocks = np.expm1((to_host(case.call(f)) - 1.0) / beta)
    # A rounding of s near 1 is 1/beta of one in the exponent.
    yield Claim(blocks, np.floor(number / block), (1.0 + number / block) * (2.0 / beta))


@temperature.law
def constant_within_a_block(f, case):
    """All positions of a block have the scale of its first one"""
    number, block, _ = _number(case)
    if block != int(block):
        return
    start = np.maximum(np.floor(number / block) * block - case.options["counted_from"], 0.0)
    positions = case.arrays[0]
    moved = namespace(positions).asarray(start)
    yield Claim(case.with_arrays(moved).call(f), case.call(f), 1.0)


@temperature.law
def the_first_block_is_not_scaled(f, case):
    """Queries of the first block stay as they are, whatever the factor"""
    number, block, _ = _number(case)
    value = to_host(case.with_options(attention_scale=7.0).call(f))
    yield Claim(np.where(number < block, value, 1.0), np.ones_like(value), 0.0)


@temperature.law
def counting_from_one_is_one_position_later(f, case):
    """Counting from 1 at a position is counting from 0 at the next one"""
    positions = astype(case.arrays[0], "float64")
    from_one = case.with_arrays(positions).with_options(counted_from=1).call(f)
    from_zero = case.with_arrays(positions + 1).with_options(counted_from=0).call(f)
    yield Claim(from_one, from_zero, 0.0)


# -------------------------------------------------------------------------------- closed forms


def _at(shape, position, answer, **options):
    case = Case((np.full(shape.positions, float(position)),), options)
    return case, np.full(shape.positions, answer)


@temperature.closed_form
def before_the_first_block_ends(rng, shape):
    """Llama 4 at 8190: 1"""
    return _at(shape, 8190, 1.0, counted_from=1)


@temperature.closed_form
def at_the_end_of_the_first_block(rng, shape):
    """Llama 4 at 8191: 1 + 0.1 log 2"""
    return _at(shape, 8191, 1.069314718055994530942, counted_from=1)


@temperature.closed_form
def at_the_end_of_the_second_block(rng, shape):
    """Llama 4 at 16383: 1 + 0.1 log 3"""
    return _at(shape, 16383, 1.109861228866810969140, counted_from=1)


@temperature.closed_form
def at_128k(rng, shape):
    """Llama 4 at 131071: 1 + 0.1 log 17"""
    return _at(shape, 131071, 1.283321334405621608024, counted_from=1)


@temperature.closed_form
def of_ministral(rng, shape):
    """Ministral 3 at 16383 is not scaled, with blocks of 16384"""
    return _at(shape, 16383, 1.0, counted_from=0, floor_scale=16384.0)


# ------------------------------------------------------------------------------------- mutants


wrong(
    temperature,
    "It counts from 0 where it should count from 1, or the reverse",
    options={"counted_from": lambda x: 1 - x},
)


def _terms(positions, *, counted_from, floor_scale=8192.0, attention_scale=0.1):
    blocks = (astype(positions, "float64") + counted_from) / floor_scale
    return {"begun": blocks, "whole": namespace(positions).floor(blocks), "beta": attention_scale}


def _scale(begun, whole, beta):
    return 1 + beta * namespace(whole).log1p(whole)


book = Textbook(temperature, _terms, _scale)
book.wrong("The floor is missing: the scale grows within a block", whole=lambda t: t.begun)
book.wrong(
    "Blocks are rounded to the nearest whole number",
    whole=lambda t: namespace(t.begun).floor(t.begun + 0.5),
)
book.wrong(
    "log of the block's number instead of log(1 + number), 0 in the first two blocks",
    whole=lambda t: namespace(t.whole).maximum(t.whole - 1.0, 0.0),
)
book.wrong("The logarithm has base 2", beta=lambda t: t.beta / np.log(2.0))
wrong(
    temperature,
    "The 1 before the logarithm is missing: queries of the first block are lost",
    output=lambda y: y - 1,
)
wrong(
    temperature,
    "The logits are divided by it: attention grows flatter, not sharper",
    output=lambda y: 1 / y,
)
wrong(
    temperature,
    "The logarithm of the position itself, without blocks",
    options={"floor_scale": 1.0},
)
