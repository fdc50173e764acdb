"""Adapters of public implementations of rotary embedding."""

from __future__ import annotations

import functools

from refimpl.check.peers import ALL, peer

_FLOAT32_ANGLES = {"float64": "it computes its angles in float32"}
_IN_FLOAT32 = {"float64": "it computes in float32 whatever the inputs are"}
_LONGEST = 16384


def table_length(positions):
    """How long a table must be to have these positions; NotImplementedError where none has."""
    if positions.dtype.is_floating_point or positions.numel() == 0 or int(positions.min()) < 0:
        raise NotImplementedError("its table has the positions 0, 1, 2, ...")
    if int(positions.max()) >= _LONGEST:
        raise NotImplementedError(f"a table of at most {_LONGEST} positions")
    return int(positions.max()) + 1


def flattened(x, positions):
    """x as (tokens, d) and positions as (tokens,)."""
    positions = positions.expand(x.shape[:-1])
    return x.reshape((-1, x.shape[-1])), positions.reshape(-1)


# ---------------------------------------------------------------------------------- transformers


def head_config(x, base, **parameters):
    """A configuration of one head as wide as x."""
    from transformers import LlamaConfig

    rope = {"rope_type": "default", "rope_theta": base} | parameters
    return LlamaConfig(hidden_size=x.shape[-1], num_attention_heads=1, rope_parameters=rope)


def _partial_config(x, base, rotary_dim):
    r = x.shape[-1] if rotary_dim is None else rotary_dim
    return head_config(x, base, partial_rotary_factor=r / x.shape[-1])


@peer(
    "rotary_embedding",
    "transformers Llama apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    gradients=("float32", "bfloat16"),
    options={"pairing": "half"},
    because=_FLOAT32_ANGLES,
)
def transformers_llama(x, positions, *, base=10000.0):
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    cos, sin = LlamaRotaryEmbedding(head_config(x, base))(x, positions)
    return apply_rotary_pos_emb(x[None], x[None], cos, sin, unsqueeze_dim=0)[0][0]


@peer(
    "rotary_embedding",
    "transformers GPT-NeoX apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    options={"pairing": "half"},
    because=_FLOAT32_ANGLES,
)
def transformers_neox(x, positions, *, base=10000.0, rotary_dim=None):
    from transformers.models.gpt_neox.modeling_gpt_neox import (
        GPTNeoXRotaryEmbedding,
        apply_rotary_pos_emb,
    )

    cos, sin = GPTNeoXRotaryEmbedding(_partial_config(x, base, rotary_dim))(x, positions)
    return apply_rotary_pos_emb(x[None], x[None], cos, sin, unsqueeze_dim=0)[0][0]


@peer(
    "rotary_embedding",
    "transformers GLM apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    options={"pairing": "interleaved"},
    because=_FLOAT32_ANGLES,
)
def transformers_glm(x, positions, *, base=10000.0, rotary_dim=None):
    from transformers.models.glm.modeling_glm import GlmRotaryEmbedding, apply_rotary_pos_emb

    cos, sin = GlmRotaryEmbedding(_partial_config(x, base, rotary_dim))(x, positions)
    return apply_rotary_pos_emb(x[None], x[None], cos, sin, unsqueeze_dim=0)[0][0]


@peer(
    "rotary_embedding",
    "transformers DeepSeek-V3 apply_rotary_pos_emb_interleave",
    "torch",
    ("torch", "transformers"),
    dtypes=("float32", "float16", "bfloat16"),
    options={"pairing": "interleaved"},
    because={
        d: "its output has the first members of all pairs first"
        for d in ("float32", "float16", "bfloat16")
    },
)
def transformers_deepseek(x, positions, *, base=10000.0):
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
        DeepseekV3RotaryEmbedding,
        apply_rotary_pos_emb_interleave,
    )

    cos, sin = DeepseekV3RotaryEmbedding(head_config(x, base))(x, positions)
    return apply_rotary_pos_emb_interleave(x[None], x[None], cos, sin, unsqueeze_dim=0)[0][0]


@peer(
    "rotary_embedding",
    "transformers Llama 4 apply_rotary_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    options={"pairing": "interleaved"},
    because=_IN_FLOAT32,
)
def transformers_llama4(x, positions, *, base=10000.0):
    from transformers.models.llama4.modeling_llama4 import (
        Llama4TextRotaryEmbedding,
        apply_rotary_emb,
    )

    tokens, positions = flattened(x, positions)
    turns = Llama4TextRotaryEmbedding(head_config(x, base))(x, positions[None])
    tokens = tokens[None, :, None, :]
    return apply_rotary_emb(tokens, tokens, turns)[0].reshape(x.shape)


@peer(
    "rotary_embedding",
    "transformers GPT-J apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    options={"pairing": "interleaved"},
    because=_FLOAT32_ANGLES,
)
def transformers_gptj(x, positions):
    from transformers.models.gptj.modeling_gptj import (
        apply_rotary_pos_emb,
        create_sinusoidal_positions,
    )

    tokens, positions = flattened(x, positions)
    table = create_sinusoidal_positions(table_length(positions), x.shape[-1]).to(x.dtype)
    sin, cos = table[positions][None].chunk(2, dim=-1)
    return apply_rotary_pos_emb(tokens[None, :, None, :], sin, cos).reshape(x.shape)


@peer(
    "rotary_embedding",
    "transformers RoFormer apply_rotary_position_embeddings",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    options={"pairing": "interleaved"},
    because={"float64": "it has cosines and sines in float32"},
)
def transformers_roformer(x, positions):
    from transformers.models.roformer.modeling_roformer import RoFormerSelfAttention

    table = _roformer_table(table_length(positions), x.shape[-1]).to(x.dtype)
    return RoFormerSelfAttention.apply_rotary_position_embeddings(table[positions], x, x)[0]


@functools.lru_cache(maxsize=4)
def _roformer_table(length, dim):
    from transformers.models.roformer.modeling_roformer import RoFormerSinusoidalPositionalEmbedding

    return RoFormerSinusoidalPositionalEmbedding(length, dim).create_weight()


# -------------------------------------------------------------------------- rotary-embedding-torch


@peer(
    "rotary_embedding",
    "rotary-embedding-torch rotate_queries_or_keys",
    "torch",
    ("torch", "rotary_embedding_torch"),
    dtypes=ALL,
    gradients=("float32",),
    options={"pairing": "interleaved"},
    because=_FLOAT32_ANGLES
    | {d: f"it counts positions in the type of the queries: {d}" for d in ("float16", "bfloat16")}
    | {"float32 gradients": "given frequencies are copied into a module: they get no gradient"},
)
def lucidrains_rotary(
    x, positions, *, base=10000.0, frequencies=None, rotary_dim=None, attention_factor=1.0
):
    """One token after the other, as in decoding, so that positions may have gaps."""
    import torch
    from rotary_embedding_torch import RotaryEmbedding

    dim = 2 * frequencies.shape[-1] if frequencies is not None else rotary_dim or x.shape[-1]
    if dim == 2:
        raise NotImplementedError("two features: its constructor divides by dim - 2")
    if frequencies is not None:
        frequencies = frequencies.float()
    rotary = RotaryEmbedding(dim, custom_freqs=frequencies, theta=base, cache_if_possible=False)
    tokens, positions = flattened(x, positions)
    rotated = [
        rotary.rotate_queries_or_keys(token[None], offset=int(m), scale=attention_factor)
        for token, m in zip(tokens, positions, strict=True)
    ]
    return torch.cat(rotated).reshape(x.shape) if rotated else x


_PIXELS = {"max_freq": 4.0, "pairs": 2}


def _pixel_frequencies():
    """pi to 2 pi in two steps: what it has for max_freq = 4."""
    import numpy as np

    return np.pi * np.linspace(1.0, _PIXELS["max_freq"] / 2, _PIXELS["pairs"])


@peer(
    "rotary_embedding",
    "rotary-embedding-torch freqs_for='pixel'",
    "torch",
    ("torch", "rotary_embedding_torch"),
    dtypes=("float64", "float32"),
    options={"pairing": "interleaved", "frequencies": _pixel_frequencies()},
    because=_FLOAT32_ANGLES,
)
def lucidrains_pixel(x, positions):
    from rotary_embedding_torch import RotaryEmbedding, apply_rotary_emb

    rotary = RotaryEmbedding(
        2 * _PIXELS["pairs"],
        freqs_for="pixel",
        max_freq=_PIXELS["max_freq"],
        cache_if_possible=False,
    )
    tokens, positions = flattened(x, positions)
    return apply_rotary_emb(rotary(positions), tokens).reshape(x.shape)


@peer(
    "axial_rotary_embedding",
    "rotary-embedding-torch get_axial_freqs",
    "torch",
    ("torch", "rotary_embedding_torch"),
    dtypes=("float64", "float32", "bfloat16"),
    gradients=("float32",),
    options={"pairing": "interleaved"},
    because=_FLOAT32_ANGLES,
)
def lucidrains_axial(x, positions, *, base=10000.0):
    from rotary_embedding_torch import RotaryEmbedding, apply_rotary_emb

    axes = positions.shape[-2]
    if x.shape[-1] == 2 * axes:
        raise NotImplementedError("two features an axis: its constructor divides by dim - 2")
    rotary = RotaryEmbedding(x.shape[-1] // axes, theta=base, cache_if_possible=False)
    coordinates = [flattened(x, at)[1] for at in positions.unbind(-2)]
    grid = rotary.get_axial_freqs(*(table_length(at) for at in coordinates))
    return apply_rotary_emb(grid[tuple(coordinates)], flattened(x, coordinates[0])[0]).reshape(
        x.shape
    )


# ------------------------------------------------------------------------------------------- xPos

_CENTRE = 300.0
_XPOS = {"centre": _CENTRE, "pairing": "interleaved"}
"""Theirs is half the length of the sequence: with one of 601 tokens it is this."""


def _in_a_sequence(x, positions, scale_base):
    """Each token alone in its own sequence of 601, which is zero elsewhere."""
    import torch

    length = int(2 * _CENTRE) + 1
    tokens, positions = flattened(x, positions)
    if table_length(positions) > length or scale_base < 10.0:
        raise NotImplementedError(f"positions below {length}, whose powers float32 holds")
    rows = torch.arange(len(tokens))
    padded = x.new_zeros((len(tokens), length, x.shape[-1])).index_put((rows, positions), tokens)
    return padded, rows, positions


@peer(
    "xpos_embedding",
    "rotary-embedding-torch rotate_queries_and_keys",
    "torch",
    ("torch", "rotary_embedding_torch"),
    dtypes=("float64", "float32", "bfloat16"),
    gradients=("float32",),
    options=_XPOS,
    because={
        d: "it computes its angles and powers in float32" for d in ("float64", "float32 gradients")
    }
    | {"bfloat16": "it counts positions in the type of the queries: bfloat16"},
)
def lucidrains_xpos(x, positions, *, role, scale_base=512.0, base=10000.0):
    padded, rows, positions = _in_a_sequence(x, positions, scale_base)
    both = _lucidrains_xpos(x, base, scale_base).rotate_queries_and_keys(padded, padded)
    return both[role == "key"][rows, positions].reshape(x.shape)


def _lucidrains_xpos(x, base, scale_base):
    from rotary_embedding_torch import RotaryEmbedding

    if x.shape[-1] == 2:
        raise NotImplementedError("two features: its constructor divides by dim - 2")
    return RotaryEmbedding(
        x.shape[-1],
        theta=base,
        use_xpos=True,
        xpos_scale_base=scale_base,
        cache_if_possible=False,
    )


@peer(
    "xpos_embedding",
    "rotary-embedding-torch rotate_queries_with_cached_keys",
    "torch",
    ("torch", "rotary_embedding_torch"),
    dtypes=("float32",),
    options=_XPOS | {"role": "query"},
    because={"float32": "the centre of queries is half their own number, 0 in decoding"},
)
def lucidrains_xpos_decoding(x, positions, *, scale_base=512.0, base=10000.0):
    """One query after the other, each the last of as many keys as its position needs."""
    import torch

    rotary = _lucidrains_xpos(x, base, scale_base)
    tokens, positions = flattened(x, positions)
    table_length(positions)
    found = []
    for token, at in zip(tokens, positions, strict=True):
        keys = x.new_zeros((int(at) + 1, x.shape[-1]))
        found.append(rotary.rotate_queries_with_cached_keys(token[None], keys)[0])
    return torch.cat(found).reshape(x.shape)


@peer(
    "xpos_embedding",
    "local-attention apply_rotary_pos_emb",
    "torch",
    ("torch", "local_attention"),
    dtypes=("float64", "float32", "bfloat16"),
    options={"centre": _CENTRE, "pairing": "half"},
    because={"float64": "it computes its angles and powers in float32"},
)
def local_attention_xpos(x, positions, *, role, scale_base=512.0, base=10000.0):
    from local_attention.rotary import SinusoidalEmbeddings, apply_rotary_pos_emb

    padded, rows, positions = _in_a_sequence(x, positions, scale_base)
    tables = SinusoidalEmbeddings(x.shape[-1], scale_base, use_xpos=True, theta=base)
    both = apply_rotary_pos_emb(padded, padded, *tables(padded))
    return both[role == "key"][rows, positions].reshape(x.shape).to(x.dtype)
