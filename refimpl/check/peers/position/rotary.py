"""More adapters of rotary embedding: x-transformers, torchtune, fla and ONNX; several axes."""

from __future__ import annotations

import functools
import importlib.util

from refimpl.check.peers import ALL, peer
from refimpl.check.peers.position.embedding import flattened, table_length

_FLOAT32_ANGLES = {"float64": "it computes its angles in float32"}
_IN_FLOAT32 = {"float64": "it computes in float32 whatever the inputs are"}


# --------------------------------------------------------------------------------- x-transformers


@peer(
    "rotary_embedding",
    "x-transformers apply_rotary_pos_emb",
    "torch",
    ("torch", "x_transformers"),
    dtypes=ALL,
    gradients=("float32",),
    options={"pairing": "interleaved"},
    because=_FLOAT32_ANGLES,
)
def x_transformers_rotary(x, positions, *, base=10000.0, rotary_dim=None, attention_factor=1.0):
    from x_transformers.x_transformers import RotaryEmbedding, apply_rotary_pos_emb

    if (rotary_dim or x.shape[-1]) == 2:
        raise NotImplementedError("two features: its constructor divides by dim - 2")
    tokens, positions = flattened(x, positions)
    if not len(tokens):
        raise NotImplementedError("no tokens: it takes the largest position")
    angles, _ = RotaryEmbedding(rotary_dim or x.shape[-1], base=base)(positions)
    return apply_rotary_pos_emb(tokens[None], angles, attention_factor)[0].reshape(x.shape)


@peer(
    "xpos_embedding",
    "x-transformers RotaryEmbedding(use_xpos=True)",
    "torch",
    ("torch", "x_transformers"),
    dtypes=("float64", "float32", "bfloat16"),
    options={"pairing": "interleaved", "centre": 300.0},
    because={
        "float64": "it computes its angles and powers in float32",
        "float32": "its powers are those of a base that is rounded to float32",
    },
)
def x_transformers_xpos(x, positions, *, role, scale_base=512.0, base=10000.0):
    """A first token at 600, so that half of the longest position is the centre."""
    import torch
    from x_transformers.x_transformers import RotaryEmbedding, apply_rotary_pos_emb

    if x.shape[-1] == 2:
        raise NotImplementedError("two features: its constructor divides by dim - 2")
    tokens, positions = flattened(x, positions)
    if len(tokens) and positions.max() > 600:
        raise NotImplementedError("positions up to 600")
    rotary = RotaryEmbedding(x.shape[-1], use_xpos=True, scale_base=scale_base, base=base)
    angles, powers = rotary(torch.cat([positions.new_full((1,), 600), positions]))
    if not len(tokens):
        raise NotImplementedError("no tokens")
    powers = powers if role == "query" else powers**-1
    return apply_rotary_pos_emb(tokens[None], angles, powers)[0].reshape(x.shape)


# -------------------------------------------------------------------------------------- torchtune


@functools.cache
def _torchtune(path):
    """One file of torchtune, whose package does not import without all that trains models."""
    folder = importlib.util.find_spec("torchtune").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location(f"torchtune:{path}", f"{folder}/{path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@peer(
    "rotary_embedding",
    "torchtune RotaryPositionalEmbeddings",
    "torch",
    ("torch", "torchtune"),
    dtypes=ALL,
    gradients=("float32", "bfloat16"),
    options={"pairing": "interleaved"},
    because=_IN_FLOAT32,
)
def torchtune_rotary(x, positions, *, base=10000.0):
    module = _torchtune("modules/position_embeddings.py")
    tokens, positions = flattened(x, positions)
    rotary = module.RotaryPositionalEmbeddings(x.shape[-1], table_length(positions), base)
    return rotary(tokens[None, :, None, :], input_pos=positions[None]).reshape(x.shape)


@peer(
    "llama3_frequencies",
    "torchtune Llama3ScaledRoPE.apply_scaling",
    "torch",
    ("torch", "torchtune"),
    dtypes=("float64", "float32"),
)
def torchtune_llama3(frequencies, *, factor, trained_length, slow=1.0, fast=4.0):
    if frequencies.ndim > 1:
        raise NotImplementedError("one list of frequencies")
    module = _torchtune("models/llama3_1/_position_embeddings.py")
    return module.Llama3ScaledRoPE.apply_scaling(
        None, frequencies, float(factor), slow, fast, trained_length
    )


@peer(
    "axial_rotary_embedding",
    "torchtune VisionRotaryPositionalEmbeddings",
    "torch",
    ("torch", "torchtune"),
    dtypes=("float32", "bfloat16"),
    options={"pairing": "interleaved"},
    because={d: "its coordinates count from 1" for d in ("float32", "bfloat16")},
)
def torchtune_axial(x, positions, *, base=10000.0):
    """Each token at its place in a tile of its own, which is zero elsewhere."""
    import torch

    module = _torchtune("modules/position_embeddings.py")
    tokens, column = flattened(x, positions[..., 0, :])
    _, row = flattened(x, positions[..., 1, :])
    width = max(table_length(column), table_length(row))
    if len(tokens) * width**2 > 100_000:
        raise NotImplementedError("no tiles as large as this")
    rotary = module.VisionRotaryPositionalEmbeddings(
        patch_size=1, tile_size=width, max_num_tiles=1, dim=x.shape[-1] // 2, base=base
    )
    place = row * width + column
    index = torch.arange(len(tokens))
    tiles = x.new_zeros((len(tokens), width**2 + 1, 1, x.shape[-1]))
    tiles[index, place, 0] = tokens
    return rotary(tiles)[index, place, 0].reshape(x.shape)


# ------------------------------------------------------------------------- flash-linear-attention


@peer(
    "rotary_embedding",
    "fla rotary_embedding_ref",
    "torch",
    ("torch", "fla"),
    dtypes=ALL,
    because=_FLOAT32_ANGLES,
)
def fla_rotary(x, positions, *, pairing, base=10000.0, rotary_dim=None):
    from fla.modules.rotary import RotaryEmbedding, rotary_embedding_ref

    tokens, positions = flattened(x, positions)
    tables = RotaryEmbedding(rotary_dim or x.shape[-1], base=base)
    tables._update_cos_sin_cache(table_length(positions), dtype=x.dtype)
    cos, sin = tables._cos_cached[positions], tables._sin_cached[positions]
    rotated = rotary_embedding_ref(tokens[:, None], cos, sin, pairing == "interleaved")
    return rotated.reshape(x.shape)


@peer(
    "xpos_embedding",
    "fla RotaryEmbedding(scale_base)",
    "torch",
    ("torch", "fla"),
    dtypes=("float64", "float32", "bfloat16"),
    options={"centre": 300.0},
    because={"float64": "it computes its angles and powers in float32"},
)
def fla_xpos(x, positions, *, pairing, role, scale_base=512.0, base=10000.0):
    """A table for 601 tokens, whose centre is half of that."""
    from fla.modules.rotary import RotaryEmbedding, rotary_embedding_ref

    tokens, positions = flattened(x, positions)
    if table_length(positions) > 601 or scale_base < 10.0:
        raise NotImplementedError("positions below 601, whose powers float32 holds")
    tables = RotaryEmbedding(x.shape[-1], base=base, scale_base=scale_base)
    tables._update_cos_sin_cache(601, dtype=x.dtype)
    cos, sin = (
        (tables._cos_cached, tables._sin_cached)
        if role == "query"
        else (tables._cos_k_cached, tables._sin_k_cached)
    )
    rotated = rotary_embedding_ref(
        tokens[:, None], cos[positions], sin[positions], pairing == "interleaved"
    )
    return rotated.reshape(x.shape)


# ------------------------------------------------------------------------------------------- ONNX


@peer(
    "rotary_embedding",
    "onnx reference RotaryEmbedding",
    "numpy",
    ("onnx",),
    dtypes=("float64", "float32", "float16"),
)
def onnx_rotary(
    x,
    positions,
    *,
    pairing,
    base=10000.0,
    frequencies=None,
    rotary_dim=None,
    attention_factor=1.0,
):
    """The tables are inputs of the operator: here a row for each token."""
    import numpy as np
    from onnx.reference.ops.op_rotary_embedding import RotaryEmbedding

    r = x.shape[-1] if rotary_dim is None else rotary_dim
    if frequencies is None:
        frequencies = base ** (-np.arange(0, r, 2) / r)
    angles = np.broadcast_to(positions, x.shape[:-1]).reshape(-1)[None, :, None] * frequencies
    (rotated,) = RotaryEmbedding._run(
        None,
        x.reshape((1, 1, -1, x.shape[-1])),
        (attention_factor * np.cos(angles)).astype(x.dtype),
        (attention_factor * np.sin(angles)).astype(x.dtype),
        interleaved=int(pairing == "interleaved"),
        rotary_embedding_dim=2 * frequencies.shape[-1],
    )
    return rotated.reshape(x.shape)


# ---------------------------------------------------------------------------------- several axes


@peer(
    "multimodal_rotary_embedding",
    "transformers Qwen2-VL apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=("float64", "float32", "bfloat16"),
    options={"pairing": "half", "arrangement": "contiguous"},
    because=_FLOAT32_ANGLES,
)
def qwen2_vl(x, positions, *, sections, base=10000.0):
    from transformers.models.qwen2_vl.modeling_qwen2_vl import (
        Qwen2VLRotaryEmbedding,
        apply_rotary_pos_emb,
    )

    return _multimodal(Qwen2VLRotaryEmbedding, apply_rotary_pos_emb, x, positions, sections, base)


@peer(
    "multimodal_rotary_embedding",
    "transformers Qwen3-VL apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=("float64", "float32", "bfloat16"),
    options={"pairing": "half", "arrangement": "interleaved"},
    because=_FLOAT32_ANGLES,
)
def qwen3_vl(x, positions, *, sections, base=10000.0):
    from transformers.models.qwen3_vl.modeling_qwen3_vl import (
        Qwen3VLTextRotaryEmbedding,
        apply_rotary_pos_emb,
    )

    return _multimodal(
        Qwen3VLTextRotaryEmbedding, apply_rotary_pos_emb, x, positions, sections, base
    )


def _multimodal(embedding, apply, x, positions, sections, base):
    """(3, batch, sequence) of positions and (batch, heads, sequence, d) of queries there."""
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig

    positions = positions.expand((*x.shape[:-2], *positions.shape[-2:]))
    positions = positions.reshape((-1, *positions.shape[-2:])).transpose(0, 1)
    rope = {"rope_type": "default", "rope_theta": base, "mrope_section": list(sections)}
    config = Qwen2VLTextConfig(hidden_size=x.shape[-1], num_attention_heads=1, rope_parameters=rope)
    cos, sin = embedding(config)(x, positions)
    queries = x.reshape((-1, 1, *x.shape[-2:]))
    return apply(queries, queries, cos, sin)[0].reshape(x.shape)


@peer(
    "axial_rotary_embedding",
    "transformers Qwen2-VL apply_rotary_pos_emb_vision",
    "torch",
    ("torch", "transformers"),
    dtypes=("float64", "float32", "bfloat16"),
    options={"pairing": "half", "split": "pairs"},
    because=_IN_FLOAT32,
)
def qwen2_vl_vision(x, positions, *, base=10000.0):
    import torch
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import (
        Qwen2VLVisionRotaryEmbedding,
        apply_rotary_pos_emb_vision,
    )

    if positions.shape[-2] != 2:
        raise NotImplementedError("two axes")
    rope = {"rope_type": "axial", "rope_theta": base}
    config = Qwen2VLVisionConfig(embed_dim=x.shape[-1], num_heads=1, rope_parameters=rope)
    coordinates = torch.stack([flattened(x, at)[1] for at in positions.unbind(-2)], dim=-1)
    cos, sin = Qwen2VLVisionRotaryEmbedding(config)(x, coordinates)
    tokens = x.reshape((-1, 1, x.shape[-1]))
    return apply_rotary_pos_emb_vision(tokens, tokens, cos, sin)[0].reshape(x.shape)


@peer(
    "multimodal_positions",
    "transformers Qwen2-VL get_rope_index",
    "torch",
    ("torch", "transformers"),
    dtypes=("float64",),
    because={"float64": "text after a video starts at c + max(H, W), however many frames it has"},
)
def qwen2_vl_positions(start, *, segments):
    """As many tokens of text as the start says come first, and are left out again."""
    import itertools
    from types import SimpleNamespace

    import torch
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

    if start.ndim or start != start.round() or start < 0:
        raise NotImplementedError("one whole start")
    kinds = [0 if isinstance(s, int) else 1 + (s[0] > 1) for s in segments]
    if any(a and b for a, b in itertools.pairwise(kinds)):
        raise NotImplementedError("text between grids")
    sizes = [s if isinstance(s, int) else s[0] * s[1] * s[2] for s in segments]
    types = torch.tensor([0] * int(start)).long()
    types = torch.cat([types, torch.tensor(kinds).repeat_interleave(torch.tensor(sizes))])
    grids = {
        kind: torch.tensor([(t, 2 * h, 2 * w) for t, h, w in _of_kind(segments, kinds, kind)])
        for kind in (1, 2)
    }
    model = SimpleNamespace(
        config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2)),
    )
    model.get_vision_position_ids = functools.partial(Qwen2VLModel.get_vision_position_ids, model)
    found, _ = Qwen2VLModel.get_rope_index(
        model, types[None], types[None], image_grid_thw=grids[1], video_grid_thw=grids[2]
    )
    return found[:, 0, int(start) :].double()


def _of_kind(segments, kinds, kind):
    return [s for s, k in zip(segments, kinds, strict=True) if k == kind]
