"""Adapters of public implementations of relative positions: biases of logits, and buckets."""

from __future__ import annotations

from types import SimpleNamespace

from refimpl.check.peers import ALL, peer
from refimpl.check.peers.attention.softmax import four_axes

_TRANSFORMERS = ("torch", "transformers")
_X_TRANSFORMERS = ("torch", "x_transformers")


# ----------------------------------------------------------------------------------------- ALiBi


@peer(
    "alibi_slopes",
    "transformers BLOOM build_alibi_tensor",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"rule": "split"},
    because={"float64": "it computes in float32"},
)
def bloom_slopes(alibi_bias_max, *, heads):
    import torch
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    return _slopes_of_the_paper(build_alibi_tensor, alibi_bias_max, heads, torch.float32)


@peer(
    "alibi_slopes",
    "transformers Falcon build_alibi_tensor",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"rule": "split"},
    because={d: "it rounds slopes to bfloat16" for d in ("float64", "float32")},
)
def falcon_slopes(alibi_bias_max, *, heads):
    import torch
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    return _slopes_of_the_paper(build_alibi_tensor, alibi_bias_max, heads, torch.float32)


def _slopes_of_the_paper(build, maximum, heads, dtype):
    """The bias of the key 1."""
    import torch

    if maximum.ndim or maximum != 8:
        raise NotImplementedError("a maximum of 8")
    return build(torch.ones(1, 2), heads, dtype)[:, 0, 1]


@peer(
    "alibi_slopes",
    "transformers MPT build_mpt_alibi_tensor",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"rule": "split"},
    because={"float64": "it computes in float32"},
)
def mpt_slopes(alibi_bias_max, *, heads):
    """The last key has 0, the one before it minus the slope."""
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    if alibi_bias_max.ndim:
        raise NotImplementedError("one maximum")
    return -build_mpt_alibi_tensor(heads, 2, float(alibi_bias_max))[:, 0, 0]


@peer(
    "alibi_slopes",
    "x-transformers AlibiPositionalBias._get_slopes",
    "torch",
    _X_TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"rule": "split"},
)
def x_transformers_slopes(alibi_bias_max, *, heads):
    import torch
    from x_transformers.x_transformers import AlibiPositionalBias

    if alibi_bias_max.ndim or alibi_bias_max != 8:
        raise NotImplementedError("a maximum of 8")
    return torch.tensor(AlibiPositionalBias._get_slopes(heads), dtype=torch.float64)


@peer(
    "alibi_bias",
    "x-transformers AlibiPositionalBias",
    "torch",
    _X_TRANSFORMERS,
    dtypes=("float64", "float32"),
    options={"sides": "symmetric"},
    because={"float64": "its slopes are in float32"},
)
def x_transformers_alibi(slopes, query_positions, key_positions):
    import torch
    from x_transformers.x_transformers import AlibiPositionalBias

    if slopes.ndim > 1 or query_positions.ndim > 1 or key_positions.ndim > 1:
        raise NotImplementedError("one list of slopes and of positions")
    module = AlibiPositionalBias(len(slopes), slopes=slopes.tolist())
    with torch.no_grad():
        return module.forward_custom_pos(query_positions, key_positions)


# -------------------------------------------------------------------------------------------- T5


def _after_a_cache(query_positions, key_positions):
    """The position of the first query, where keys are 0, 1, 2, ... and queries consecutive."""
    import torch

    q, k = query_positions, key_positions
    if q.ndim > 1 or k.ndim > 1 or not len(q) or not len(k):
        raise NotImplementedError("consecutive positions")
    start = int(q[0])
    if not (torch.equal(k, torch.arange(len(k))) and torch.equal(q, start + torch.arange(len(q)))):
        raise NotImplementedError("consecutive positions")
    return start


@peer(
    "t5_buckets",
    "transformers T5Attention._relative_position_bucket",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64",),
)
def t5_bucket(query_positions, key_positions, *, bidirectional, buckets=32, max_distance=128):
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = key_positions[..., None, :] - query_positions[..., :, None]
    return T5Attention._relative_position_bucket(distances, bidirectional, buckets, max_distance)


@peer(
    "t5_buckets",
    "x-transformers RelativePositionBias._relative_position_bucket",
    "torch",
    _X_TRANSFORMERS,
    dtypes=("float64",),
)
def x_transformers_bucket(
    query_positions, key_positions, *, bidirectional, buckets=32, max_distance=128
):
    from x_transformers.x_transformers import RelativePositionBias

    distances = key_positions[..., None, :] - query_positions[..., :, None]
    return RelativePositionBias._relative_position_bucket(
        distances, causal=not bidirectional, num_buckets=buckets, max_distance=max_distance
    )


@peer(
    "t5_bias",
    "transformers T5Attention.compute_bias",
    "torch",
    _TRANSFORMERS,
    dtypes=ALL,
    gradients=("float64", "float32"),
)
def t5_compute_bias(table, query_positions, key_positions, *, bidirectional, max_distance=128):
    from torch.nn.functional import embedding
    from transformers.models.t5.modeling_t5 import T5Attention

    start = _after_a_cache(query_positions, key_positions)
    if table.ndim > 2:
        raise NotImplementedError("one table")
    layer = SimpleNamespace(
        is_decoder=not bidirectional,
        relative_attention_num_buckets=len(table),
        relative_attention_max_distance=max_distance,
        relative_attention_bias=lambda index: embedding(index, table),
        _relative_position_bucket=T5Attention._relative_position_bucket,
    )
    n, m = len(query_positions), len(key_positions)
    return T5Attention.compute_bias(layer, n, m, device=table.device, past_seen_tokens=start)[0]


@peer(
    "t5_bias",
    "x-transformers RelativePositionBias",
    "torch",
    _X_TRANSFORMERS,
    dtypes=("float64", "float32", "bfloat16"),
)
def x_transformers_t5(table, query_positions, key_positions, *, bidirectional, max_distance=128):
    """Its scale, by which it multiplies the table, is 1. Its queries are the last ones of as many
    keys: others are left out."""
    import torch
    from x_transformers.x_transformers import RelativePositionBias

    start = _after_a_cache(query_positions, key_positions)
    n, m = len(query_positions), len(key_positions)
    if table.ndim > 2:
        raise NotImplementedError("one table")
    every = max(start + n, m)
    module = RelativePositionBias(1.0, not bidirectional, len(table), max_distance, table.shape[-1])
    module.relative_attention_bias.weight = torch.nn.Parameter(table)
    with torch.no_grad():
        return module(every - start, every)[:, :n, :m]


# --------------------------------------------------------------------------------------- DeBERTa


@peer(
    "deberta_log_buckets",
    "transformers DeBERTa-v2 make_log_bucket_position",
    "torch",
    _TRANSFORMERS,
    dtypes=("float64",),
    because={"float64": "it does not clip distances first"},
)
def deberta_bucket(query_positions, key_positions, *, bucket_size=256, max_position=512):
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    distances = query_positions[..., :, None] - key_positions[..., None, :]
    return make_log_bucket_position(distances, bucket_size, max_position).long()


@peer(
    "disentangled_logits",
    "transformers DeBERTa-v2 disentangled_attention_bias",
    "torch",
    _TRANSFORMERS,
    dtypes=ALL,
    gradients=("float32",),
    options={"p2c_index": "code"},
    because={"float64": "its divisor sqrt(3 d) is in float32"},
)
def deberta_logits(
    q,
    k,
    position_queries,
    position_keys,
    query_positions,
    key_positions,
    *,
    log_buckets=False,
    max_position=512,
):
    """The bias of two terms, and here the products of the contents."""
    import torch
    from transformers.models.deberta_v2.modeling_deberta_v2 import (
        DisentangledSelfAttention,
        make_log_bucket_position,
        scaled_size_sqrt,
    )

    if q.ndim > 2 or query_positions.ndim > 1 or key_positions.ndim > 1:
        raise NotImplementedError("one sequence")
    if not torch.equal(query_positions, key_positions):
        raise NotImplementedError("queries and keys at the same positions: others raise")
    buckets = len(position_keys) // 2
    distances = query_positions[:, None] - key_positions[None, :]
    if log_buckets:
        distances = make_log_bucket_position(distances, buckets, max_position)
    layer = SimpleNamespace(
        pos_ebd_size=buckets,
        share_att_key=False,
        pos_att_type=("c2p", "p2c"),
        num_attention_heads=1,
        position_buckets=buckets if log_buckets else -1,
        max_relative_positions=max_position,
        pos_key_proj=lambda table: position_keys[None],
        pos_query_proj=lambda table: position_queries[None],
    )
    layer.transpose_for_scores = lambda x, heads: DisentangledSelfAttention.transpose_for_scores(
        layer, x, heads
    )
    bias = DisentangledSelfAttention.disentangled_attention_bias(
        layer, q[None], k[None], distances, position_keys, 3
    )
    return q @ (k.T / scaled_size_sqrt(q, 3).to(q.dtype)) + bias[0]


# ----------------------------------------------------------------------------------------- XLNet


@peer(
    "relative_shift",
    "transformers XLNet rel_shift_bnij",
    "torch",
    _TRANSFORMERS,
    dtypes=ALL,
    gradients=("float64", "float32"),
    options={"variant": "xlnet"},
)
def xlnet_shift(x):
    from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

    keys = x.shape[-1] - x.shape[-2]
    if keys < 0:
        raise NotImplementedError("more distances than queries")
    found = XLNetRelativeAttention.rel_shift_bnij(four_axes(x), keys)
    return found.reshape((*x.shape[:-1], keys))


# ------------------------------------------------------------------------------------------ CoPE


@peer(
    "contextual_bias",
    "x-transformers CoPE",
    "torch",
    _X_TRANSFORMERS,
    dtypes=ALL,
    gradients=("float64", "float32"),
    because={
        f"{d} gradients": "no gradient passes to gates where a position is a whole number"
        for d in ("float64", "float32")
    },
)
def x_transformers_cope(q, gate_logits, table, *, mask=None):
    """Where attention has masked the logits before."""
    import torch
    from x_transformers.x_transformers import CoPE

    if table.ndim > 2:
        raise NotImplementedError("one table")
    if mask is not None:
        gate_logits = gate_logits.masked_fill(~mask, -torch.inf)
    layer = SimpleNamespace(
        talking_heads=None, soft_onehot=False, max_pos=len(table), pos_emb=table
    )
    return CoPE.forward(layer, four_axes(q), four_axes(gate_logits)).reshape(gate_logits.shape)
