"""Wrong variants of rotary embedding: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import numpy as np

from refimpl.backend import astype, like, namespace, to_host, unbroadcast
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.rotary import embedding
from refimpl.evidence.position.shared import OTHER, in_bfloat16
from refimpl.numerics import round_to
from refimpl.position.rotary import rotary_embedding, rotary_frequencies

# ------------------------------------------------------------------------ embedding: mutants


def _theta(x, base=10000.0, frequencies=None, rotary_dim=None, **_):
    """The frequencies of a call, next to x."""
    if frequencies is not None:
        return frequencies
    return like(rotary_frequencies(float(base), dim=rotary_dim or x.shape[-1]), x)


def _at(x, positions, theta, options):
    """The formula with other frequencies."""
    return rotary_embedding(x, positions, **options | {"frequencies": theta, "rotary_dim": None})


def _by_angles(x, angles, options):
    """The formula with any angles (..., n, h): each token gets frequencies of its own."""
    one = namespace(x).ones(1)
    return _at(x[..., None, :], one, angles, options)[..., 0, :]


def _tables(x, positions, *, attention_factor=1.0, inverse=False, **options):
    """Cosine and sine (..., n, h)."""
    xp, theta = namespace(x), _theta(x, **options)
    angles = positions[..., None] * theta[..., None, :]
    return attention_factor * xp.cos(angles), (1 - 2 * inverse) * attention_factor * xp.sin(angles)


def _spread(table, pairing):
    """A table (..., h) over 2h features: each entry repeated, or the whole tiled."""
    xp = namespace(table)
    if pairing == "interleaved":
        return xp.repeat(table, 2, axis=-1)
    return xp.concatenate([table, table], axis=-1)


def _quarter(x, pairing):
    """J x: (a, b) becomes (-b, a) in every pair."""
    theta = namespace(x).full(x.shape[-1] // 2, np.pi / 2)
    return rotary_embedding(x, namespace(x).ones(x.shape[-2]), pairing=pairing, frequencies=theta)


def _from_tables(x, cos, sin, pairing):
    """cos * x + sin * J x, as most codes have it, with tables (..., n, r) for r features."""
    xp, r = namespace(x), cos.shape[-1]
    rotated = cos * x[..., :r] + sin * _quarter(x[..., :r], pairing)
    tail = xp.broadcast_to(x[..., r:], (*rotated.shape[:-1], x.shape[-1] - r))
    return astype(xp.concatenate([rotated, tail], axis=-1), x.dtype)


@embedding.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def other_pairing(x, positions, *, pairing, **options):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    return rotary_embedding(x, positions, pairing=OTHER[pairing], **options)


@embedding.mutant(source="https://github.com/facebookresearch/vjepa2/issues/15")
def table_of_the_other_pairing(x, positions, *, pairing, **options):
    """Its cosines and sines are tiled where its pairs need them repeated, or the reverse"""
    cos, sin = _tables(x, positions, **options)
    return _from_tables(x, _spread(cos, OTHER[pairing]), _spread(sin, OTHER[pairing]), pairing)


@embedding.mutant(source="https://github.com/huggingface/transformers/issues/39687")
def left_permuted(x, positions, *, pairing, **options):
    """It returns the features in the order of the other pairing, which logits do not show"""
    y = rotary_embedding(x, positions, pairing=pairing, **options)
    r = 2 * _theta(x, **options).shape[-1]
    even_first = [*range(0, r, 2), *range(1, r, 2)]
    order = even_first if pairing == "interleaved" else np.argsort(even_first).tolist()
    return y[..., namespace(x).asarray([*order, *range(r, x.shape[-1])])]


@embedding.mutant
def turns_backwards(x, positions, *, inverse=False, **options):
    """The sign of the sine is wrong: it rotates by -m instead of m"""
    return rotary_embedding(x, positions, inverse=not inverse, **options)


@embedding.mutant
def reflects(x, positions, *, pairing, **options):
    """Both members of a pair get the sine with the same sign: a reflection, no rotation"""
    cos, sin = (_spread(table, pairing) for table in _tables(x, positions, **options))
    r = cos.shape[-1]
    first = _from_tables(x, cos, sin, pairing)
    second = _from_tables(x, cos, -sin, pairing)
    is_first = namespace(x).arange(x.shape[-1])
    is_first = is_first % 2 == 0 if pairing == "interleaved" else is_first < r // 2
    return namespace(x).where(is_first, first, second)


@embedding.mutant(source="https://github.com/NVIDIA/TensorRT-LLM/issues/16378")
def rotated_twice(x, positions, **options):
    """It rotates twice"""
    return rotary_embedding(rotary_embedding(x, positions, **options), positions, **options)


wrong(
    embedding,
    "Positions are one too large: they count from 1",
    arrays={"positions": lambda x: x + 1},
)


@embedding.mutant(source="https://github.com/tloen/alpaca-lora/issues/315")
def positions_ignored(x, positions, **options):
    """Positions are ignored: tokens count from 0"""
    return rotary_embedding(x, namespace(x).arange(x.shape[-2]), **options)


@embedding.mutant(source="https://github.com/unslothai/unsloth/issues/4078")
def positions_of_the_first_sequence(x, positions, **options):
    """Every sequence of the batch gets the positions of the first one"""
    first = positions.reshape(-1, positions.shape[-1])[:1] if positions.size else positions
    return rotary_embedding(x, first[0] if first.size else first, **options)


wrong(
    embedding,
    "Every token gets the position of the last one",
    arrays={"positions": lambda x: x[..., -1:] + 0 * x},
)


@embedding.mutant(source="https://github.com/facebookresearch/xformers/issues/841")
def positions_along_the_heads(x, positions, **options):
    """Positions run along the axis before the sequence, the heads: wrong layout"""
    if x.ndim < 3:
        return rotary_embedding(x, positions, **options)
    heads = namespace(x).arange(x.shape[-3])[:, None]
    return rotary_embedding(x, heads + 0 * positions, **options)


@embedding.mutant
def exponent_without_two(x, positions, **options):
    """The exponents of the frequencies are -i/r instead of -2i/r"""
    return _at(x, positions, _theta(x, **options) ** 0.5, options)


@embedding.mutant(source="https://github.com/bkitano/llama-from-scratch/issues/8")
def exponent_one_lower(x, positions, **options):
    """The exponents of the frequencies are -2(i - 1)/r with i from 0: the first exceeds 1"""
    theta = _theta(x, **options)
    base = options.get("base", 10000.0)
    return _at(x, positions, theta * base ** (1.0 / theta.shape[-1]), options)


@embedding.mutant(source="https://github.com/pie-project/pie/issues/602")
def exponent_from_the_head(x, positions, **options):
    """Frequencies come from the whole head size, not from the rotary part of it"""
    theta = _theta(x, **options | {"rotary_dim": None})
    return _at(x, positions, theta[..., : _theta(x, **options).shape[-1]], options)


@embedding.mutant(source="https://github.com/apple/coreai-models/issues/66")
def pairs_across_the_head(x, positions, **options):
    """With partial rotation, feature i pairs with i + d/2 instead of i + r/2"""
    theta = _theta(x, **options)
    still = namespace(x).zeros((*theta.shape[:-1], x.shape[-1] // 2 - theta.shape[-1]))
    return _at(x, positions, namespace(x).concatenate([theta, still], axis=-1), options)


@embedding.mutant
def last_features_rotate(x, positions, **options):
    """It rotates the last features instead of the first (DeepSeek's order)"""
    tail = x.shape[-1] - 2 * _theta(x, **options).shape[-1]
    moved = namespace(x).roll(x, -tail, axis=-1)
    return namespace(x).roll(rotary_embedding(moved, positions, **options), tail, axis=-1)


@embedding.mutant
def base_of_llama_3(x, positions, **options):
    """The base is 500000 where 10000 is asked for, or the reverse"""
    base = 10000.0 if options.get("base") == 500000.0 else 500000.0
    return rotary_embedding(x, positions, **options | {"base": base})


wrong(embedding, "The base is 1000", options={"base": 1000.0})


@embedding.mutant
def frequencies_reversed(x, positions, **options):
    """Frequencies grow with the feature index instead of falling"""
    return _at(x, positions, _theta(x, **options)[..., ::-1], options)


@embedding.mutant(source="https://github.com/NVIDIA/Megatron-LM/issues/535")
def angles_in_float16(x, positions, **options):
    """Positions, frequencies and angles are computed in float16"""
    theta = to_host(_theta(x, **options)).astype(np.float16)
    with np.errstate(over="ignore"):
        angles = to_host(positions).astype(np.float16)[..., None] * theta[..., None, :]
    return _by_angles(x, like(angles.astype(np.float64), x), options)


wrong(
    embedding,
    "Positions are rounded to bfloat16: from 257 on they collide",
    name="positions_in_bfloat16",
    arrays={"positions": in_bfloat16},
    source="https://github.com/huggingface/transformers/issues/29285",
)


@embedding.mutant(source="https://github.com/EleutherAI/gpt-neox/issues/1016")
def frequencies_in_bfloat16(x, positions, **options):
    """Frequencies are rounded to bfloat16, as by model.bfloat16()"""
    return _at(x, positions, in_bfloat16(_theta(x, **options)), options)


@embedding.mutant(source="https://github.com/KellerJordan/modded-nanogpt/issues/39")
def tables_in_bfloat16(x, positions, *, pairing, **options):
    """Cosines and sines are kept in bfloat16"""
    tables = (round_to(to_host(table), "bfloat16") for table in _tables(x, positions, **options))
    return _from_tables(x, *(_spread(like(table, x), pairing) for table in tables), pairing)


@embedding.mutant(source="https://github.com/vllm-project/vllm/issues/48351")
def attention_factor_ignored(x, positions, **options):
    """The attention factor is ignored"""
    return rotary_embedding(x, positions, **options | {"attention_factor": 1.0})


wrong(
    embedding, "The attention factor is applied twice", options={"attention_factor": lambda x: x**2}
)


@embedding.mutant
def attention_factor_on_all_features(x, positions, *, attention_factor=1.0, **options):
    """The attention factor multiplies the features that do not rotate, too"""
    return astype(attention_factor * rotary_embedding(x, positions, **options), x.dtype)


@embedding.mutant(gradient=True)
def gradient_rotates_forward(g, x, positions, **options):
    """The gradient is rotated by m, like x, instead of back by -m"""
    _, *rest = rotary_embedding.vjp(g, x, positions, **options)
    return unbroadcast(rotary_embedding(g, positions, **options), x.shape), *rest


@embedding.mutant(gradient=True, source="https://github.com/Dao-AILab/flash-attention/pull/569")
def gradient_with_the_other_pairing(g, x, positions, *, pairing, **options):
    """The backward pass pairs features in the other way"""
    _, *rest = rotary_embedding.vjp(g, x, positions, pairing=pairing, **options)
    return rotary_embedding.vjp(g, x, positions, pairing=OTHER[pairing], **options)[0], *rest


@embedding.mutant(gradient=True)
def gradient_without_attention_factor(g, x, positions, **options):
    """The backward pass forgets the attention factor"""
    return rotary_embedding.vjp(g, x, positions, **options | {"attention_factor": 1.0})
