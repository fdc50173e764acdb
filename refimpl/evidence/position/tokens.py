"""Evidence for the positions of the tokens of padded sequences."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence
from refimpl.evidence.mistakes import wrong
from refimpl.position.tokens import token_positions

tokens = Evidence(
    token_positions,
    empty=("n",),
    fixed={"convention": "count"},
    combinations=({"convention": "fairseq", "padding_index": 0},),
)


@tokens.regime
def left_padding(rng, shape):
    """Padding before the tokens, of its own length in each sequence"""
    padding = rng.integers(0, shape.axes["n"] + 1, (*shape.batch, 1))
    return Case((np.arange(shape.axes["n"]) >= padding,))


@tokens.regime
def right_padding(rng, shape):
    """Padding after the tokens, by the rule of fairseq"""
    length = rng.integers(0, shape.axes["n"] + 1, (*shape.batch, 1))
    return Case((np.arange(shape.axes["n"]) < length,), {"convention": "fairseq"})


@tokens.regime(adversarial=True)
def in_patches(rng, shape):
    """Padding between tokens"""
    return Case((rng.random(shape.mask) < 0.6,))


@tokens.regime(adversarial=True)
def patches_of_fairseq(rng, shape):
    """Padding between tokens, by the rule of fairseq, with another index of padding"""
    options = {"convention": "fairseq", "padding_index": 3}
    return Case((rng.random(shape.mask) < 0.6,), options)


def _first(case):
    """The position of the first token."""
    fairseq = case.options["convention"] == "fairseq"
    return case.options.get("padding_index", 1) + 1 if fairseq else 0


@tokens.law
def padding_before_changes_nothing(f, case):
    """More padding on the left leaves the positions as they are"""
    (mask,) = case.arrays
    xp = namespace(mask)
    more = xp.concatenate([xp.zeros_like(mask), mask], axis=-1)
    longer = case.with_arrays(more).call(f)
    yield Claim(longer[..., mask.shape[-1] :], case.call(f), 0.0)


@tokens.law
def without_padding_they_are_consecutive(f, case):
    """Tokens alone have consecutive positions"""
    (mask,) = case.arrays
    xp = namespace(mask)
    every = case.with_arrays(mask | ~mask).call(f)
    places = xp.arange(mask.shape[-1]) + _first(case)
    yield Claim(every, xp.broadcast_to(places, every.shape), 0.0)


@tokens.law
def every_token_is_one_further(f, case):
    """A token has one more than as many as there are tokens before it"""
    (mask,) = case.arrays
    xp = namespace(mask)
    pairs = xp.tril(xp.ones((mask.shape[-1],) * 2), -1)
    before = (pairs * mask[..., None, :]).sum(axis=-1)
    found = case.call(f)
    yield Claim(xp.where(mask, found, 0), xp.where(mask, before + _first(case), 0), 0.0)


@tokens.closed_form
def counted(rng, shape):
    """Padding, padding, three tokens, padding"""
    mask = np.array([False, False, True, True, True, False])
    return Case((mask,), {"convention": "count"}), np.array([0, 0, 0, 1, 2, 2])


@tokens.closed_form
def of_roberta(rng, shape):
    """The same in fairseq: 1, 1, 2, 3, 4, 1"""
    mask = np.array([False, False, True, True, True, False])
    return Case((mask,), {"convention": "fairseq"}), np.array([1, 1, 2, 3, 4, 1])


@tokens.mutant(source="https://github.com/tloen/alpaca-lora/issues/315")
def padding_counted(mask, *, convention, padding_index=1):
    """Padding is counted: positions are places"""
    xp = namespace(mask)
    return token_positions(mask | ~mask, convention=convention, padding_index=padding_index) + 0 * (
        xp.arange(mask.shape[-1])
    )


@tokens.mutant
def counts_from_one(mask, *, convention, padding_index=1):
    """Tokens count from one too many"""
    value = token_positions(mask, convention=convention, padding_index=padding_index)
    return value + mask


wrong(
    tokens,
    "Tokens are counted from the end",
    arrays={"mask": lambda x: x[..., ::-1]},
    output=lambda y: y[..., ::-1],
)
wrong(
    tokens,
    "fairseq for counting, or the reverse",
    options={"convention": lambda x: "count" if x == "fairseq" else "fairseq"},
)
