"""Wrong variants of xPos."""

from __future__ import annotations

from refimpl.backend import to_host
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import OTHER, in_bfloat16
from refimpl.evidence.position.xpos import xpos
from refimpl.position.rotary import rotary_embedding
from refimpl.position.xpos import xpos_embedding

wrong(xpos, "Queries decay and keys grow", options={"role": OTHER.get})


@xpos.mutant(source="https://github.com/Dao-AILab/flash-attention/issues/522")
def centre_of_the_sequence(x, positions, **options):
    """The centre is half the length of the sequence at hand, whatever is given"""
    return xpos_embedding(x, positions, **options | {"centre": float(x.shape[-2] // 2)})


@xpos.mutant(source="https://github.com/lucidrains/x-transformers/issues/233")
def centre_of_the_highest_position(x, positions, **options):
    """The centre is half the number of positions up to the highest, whatever is given"""
    highest = float(to_host(positions).max(initial=0.0))
    return xpos_embedding(x, positions, **options | {"centre": (highest + 1) // 2})


@xpos.mutant(source="https://github.com/lucidrains/rotary-embedding-torch/pull/27")
def keys_have_their_own_centre(x, positions, **options):
    """Keys are centred by their number, queries by what is given: decoding is not prefill"""
    if options["role"] == "query":
        return xpos_embedding(x, positions, **options)
    return xpos_embedding(x, positions, **options | {"centre": float(x.shape[-2])})


@xpos.mutant(source="https://github.com/lucidrains/rotary-embedding-torch/pull/27")
def queries_are_their_own_centre(x, positions, **options):
    """The centre of queries is half their own number, 0 in decoding, where keys have another"""
    centre = 0.0 if options["role"] == "query" else options["centre"]
    return xpos_embedding(x, positions, **options | {"centre": centre})


wrong(
    xpos,
    "Positions are rounded to bfloat16: from 257 on they collide",
    arrays={"positions": in_bfloat16},
)


@xpos.mutant
def rotated_from_the_centre(x, positions, **options):
    """Angles count from the centre, too"""
    moved = xpos_embedding(x, positions - options["centre"], **options | {"centre": 0.0})
    return moved


@xpos.mutant
def without_decay(x, positions, *, pairing, base=10000.0, **options):
    """The decay is missing: plain rotary embedding"""
    return rotary_embedding(x, positions, pairing=pairing, base=base)


@xpos.mutant
def twice_the_decay(x, positions, *, scale_base=512.0, **options):
    """The exponent is 2n/B instead of n/B"""
    return xpos_embedding(x, positions, scale_base=scale_base / 2, **options)


wrong(xpos, "gamma is 0.5 whatever is asked for", options={"gamma": 0.5})


@xpos.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def xpos_of_the_other_pairing(x, positions, **options):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    return xpos_embedding(x, positions, **options | {"pairing": OTHER[options["pairing"]]})


@xpos.mutant(gradient=True)
def gradient_of_the_other_role(g, x, positions, **options):
    """The backward pass scales by the power of the other role"""
    return xpos_embedding.vjp(g, x, positions, **options | {"role": OTHER[options["role"]]})


@xpos.mutant(gradient=True)
def gradient_without_the_power(g, x, positions, *, pairing, base=10000.0, **options):
    """The backward pass is that of plain rotation"""
    return rotary_embedding.vjp(g, x, positions, pairing=pairing, base=base)
