"""Adapters of public implementations of absolute positions: sinusoids, tables, counting."""

from __future__ import annotations

from types import SimpleNamespace

from refimpl.check.peers import ALL, peer
from refimpl.check.peers.position.embedding import table_length

_TRANSFORMERS = ("torch", "transformers")
_TABLES = {"float64": "its table is in float32"}


# ------------------------------------------------------------------------- sinusoids and tables


def _whole(positions):
    """Positions as integers, where they are whole."""
    if bool((positions != positions.round()).any()):
        raise NotImplementedError("its table has the positions 0, 1, 2, ...")
    return positions.long()


def _whole_of_a_short_table(positions, dim):
    """The same, and the length of their table, where that is quickly made."""
    positions = _whole(positions)
    length = table_length(positions)
    if length * dim > 100_000:
        raise NotImplementedError("a table that is quickly made")
    return positions, length


@peer(
    "sinusoidal_encoding",
    "transformers MarianSinusoidalPositionalEmbedding",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"order": "sin_first", "layout": "half", "frequencies": "paper"},
    because=_TABLES,
)
def marian_sinusoids(positions, *, dim):
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

    positions, length = _whole_of_a_short_table(positions, dim)
    return MarianSinusoidalPositionalEmbedding(length, dim).create_weight()[positions]


@peer(
    "sinusoidal_encoding",
    "transformers XLM create_sinusoidal_embeddings",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"order": "sin_first", "layout": "interleaved", "frequencies": "paper"},
    because=_TABLES,
)
def xlm_sinusoids(positions, *, dim):
    import torch
    from transformers.models.xlm.modeling_xlm import create_sinusoidal_embeddings

    positions, length = _whole_of_a_short_table(positions, dim)
    return create_sinusoidal_embeddings(length, dim, torch.empty(length, dim))[positions]


@peer(
    "sinusoidal_encoding",
    "transformers M2M100SinusoidalPositionalEmbedding",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"order": "sin_first", "layout": "half", "frequencies": "t2t"},
    because={"float64": "it computes its angles in float32"},
)
def m2m100_sinusoids(positions, *, dim):
    from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding

    positions = _whole(positions)
    table = M2M100SinusoidalPositionalEmbedding.get_embedding(table_length(positions), dim)
    return table[positions]


@peer(
    "sinusoidal_encoding",
    "x-transformers ScaledSinusoidalEmbedding",
    "torch",
    ("torch", "x_transformers"),
    dtypes=("float64", "float32"),
    options={"order": "sin_first", "layout": "half", "frequencies": "paper"},
    because={"float64": "it computes its angles in float32"},
)
def x_transformers_sinusoids(positions, *, dim, base=10000.0):
    """Its trained factor is 1."""
    import torch
    from x_transformers.x_transformers import ScaledSinusoidalEmbedding

    if dim % 2:
        raise NotImplementedError("an even width")
    module = ScaledSinusoidalEmbedding(dim, theta=base)
    with torch.no_grad():
        module.scale.fill_(1.0)
        flat = positions.reshape(-1).float()
        return module(flat[None], pos=flat).reshape((*positions.shape, dim))


@peer(
    "learned_encoding",
    "transformers OPTLearnedPositionalEmbedding",
    "torch",
    _TRANSFORMERS,
    dtypes=ALL,
    options={"offset": 2},
)
def opt_table(table, positions):
    import torch
    from transformers.models.opt.modeling_opt import OPTLearnedPositionalEmbedding

    if table.ndim > 2:
        raise NotImplementedError("one table")
    module = OPTLearnedPositionalEmbedding(len(table) - 2, table.shape[-1])
    module.weight = torch.nn.Parameter(table)
    with torch.no_grad():
        return module(None, position_ids=positions)


@peer(
    "interpolated_encoding",
    "transformers ViT interpolate_pos_encoding",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32", "bfloat16"),
    gradients=("float64", "float32"),
    options={"align_corners": False, "kernel": "cubic", "cubic": -0.75},
)
def vit_table(table, *, length):
    """A square table that is the same in every column, stretched along the rows."""
    from transformers.models.vit.modeling_vit import ViTEmbeddings

    return _stretched(ViTEmbeddings, table, length, patch_size=1)


@peer(
    "interpolated_encoding",
    "transformers DINOv2 interpolate_pos_encoding",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32", "bfloat16"),
    options={"align_corners": False, "kernel": "cubic", "cubic": -0.75},
    because={"float64": "it interpolates in float32"},
)
def dinov2_table(table, *, length):
    from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings

    patches = SimpleNamespace(patch_size=(1, 1))
    return _stretched(Dinov2Embeddings, table, length, patch_embeddings=patches)


def _stretched(model, table, length, **parts):
    import torch

    if table.ndim > 2:
        raise NotImplementedError("one table")
    rows, d = table.shape
    grid = table[:, None].expand(rows, rows, d).reshape(1, -1, d)
    weights = torch.cat([table.new_zeros(1, 1, d), grid], dim=1)
    embeddings = table.new_zeros(1, 1 + length * rows, d)
    model_like = SimpleNamespace(position_embeddings=weights, **parts)
    found = model.interpolate_pos_encoding(model_like, embeddings, length, rows)
    return found[0, 1:].reshape(length, rows, d)[:, 0]


@peer(
    "token_positions",
    "transformers RoBERTa create_position_ids_from_input_ids",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64",),
    options={"convention": "fairseq"},
)
def roberta_positions(mask, *, padding_index=1):
    import torch
    from transformers.models.roberta.modeling_roberta import RobertaEmbeddings

    rows = mask.reshape((-1, mask.shape[-1]))
    tokens = torch.where(rows, padding_index + 100, padding_index)
    found = RobertaEmbeddings.create_position_ids_from_input_ids(tokens, padding_index)
    return found.reshape(mask.shape)


# ----------------------------------------------------------------------- grids and convolutions


@peer(
    "grid_sinusoidal_encoding",
    "transformers ViT-MAE build_2d_sinusoidal_position_embedding",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64",),
    options={
        "first": "rows",
        "order": "sin_first",
        "layout": "half",
        "frequencies": "paper",
    },
)
def vit_mae_grid(rows, columns, *, dim, base=10000.0):
    import torch
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    if dim % 4:
        raise NotImplementedError("a width that 4 divides")
    rows, columns = torch.broadcast_tensors(_whole(rows), _whole(columns))
    height, width = table_length(rows), table_length(columns)
    if height * width * dim > 1_000_000:
        raise NotImplementedError("a grid that is quickly made")
    grid = build_2d_sinusoidal_position_embedding(height, width, dim, base, dtype=torch.float64)
    return grid.reshape(height, width, dim)[rows, columns]


@peer(
    "padded_convolution",
    "torch pad and conv1d",
    "torch",
    dtypes=ALL,
    gradients=("float64", "float32"),
)
def torch_convolution(x, kernel, *, padding):
    import torch
    from torch.nn.functional import conv1d, pad

    if kernel.ndim > 3:
        raise NotImplementedError("one kernel")
    (n, _), radius = x.shape[-2:], len(kernel) // 2
    if n < radius + (padding == "reflect") or x.numel() == 0:
        raise NotImplementedError("a sequence that is longer than its padding")
    channels = x.reshape((-1, *x.shape[-2:])).mT
    mode = {"mode": "constant" if padding == "zeros" else padding}
    found = conv1d(pad(channels, (radius, radius), **mode), torch.permute(kernel, (2, 1, 0)))
    return found.mT.reshape((*x.shape[:-1], kernel.shape[-1]))
