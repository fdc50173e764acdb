"""Adapters for public implementations of grouped, linear, recurrent and approximate attention."""

from __future__ import annotations

from refimpl.check.peers import ALL, peer
from refimpl.check.peers.attention.softmax import four_axes

_IN_FLOAT32 = "it computes in float32 whatever the inputs are"
_NO_DOUBLE = ("float32", "bfloat16")


# ------------------------------------------------------------------------------- grouped heads


@peer(
    "grouped_query_attention",
    "torch scaled_dot_product_attention",
    "torch",
    dtypes=ALL,
    gradients=ALL,
    because={f"{d} gradients": "its gradient of a row that sees no key is NaN" for d in ALL},
)
def torch_grouped(q, k, v, *, mask=None, bias=None, scale=None):
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    if bias is not None and mask is not None:
        bias = torch.where(mask, bias, -torch.inf)
    attn_mask = mask if bias is None else bias.to(q.dtype)
    if scale is not None and not isinstance(scale, float):
        q, scale = q * scale[..., None, None, None], 1.0
    return scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, scale=scale, enable_gqa=True)


@peer(
    "grouped_query_attention",
    "jax.nn.dot_product_attention",
    "jax",
    dtypes=("float32", "bfloat16"),
    options={"empty": "mean"},
)
def jax_grouped(q, k, v, *, mask=None, scale=None):
    import jax
    import jax.numpy as jnp

    if mask is not None:
        mask = four_axes(jnp.broadcast_to(mask, (*q.shape[:-1], k.shape[-2])))
    if scale is not None and not isinstance(scale, float):
        q, scale = q * scale[..., None, None, None], 1.0
    arrays = (four_axes(x).swapaxes(1, 2) for x in (q, k, v))
    found = jax.nn.dot_product_attention(*arrays, mask=mask, scale=scale)
    return found.swapaxes(1, 2).reshape((*q.shape[:-1], v.shape[-1]))


# ------------------------------------------------------------------------------------- Performer


def _performer(q, k, v, projections, eps, causal):
    import torch
    from performer_pytorch.performer_pytorch import (
        causal_linear_attention_noncuda,
        linear_attention,
        softmax_kernel,
    )

    if projections.ndim > 2:
        raise NotImplementedError("one set of projections")
    qf, kf = (
        softmax_kernel(four_axes(x), projection_matrix=projections, is_query=is_query, eps=eps)
        for x, is_query in ((q, True), (k, False))
    )
    if causal:
        if q.shape[-2] != k.shape[-2]:
            raise NotImplementedError("as many keys as queries")
        found = causal_linear_attention_noncuda(qf, kf, four_axes(v), eps=0.0)
    else:
        found = linear_attention(qf, kf, four_axes(v))
    return torch.reshape(found, (*q.shape[:-1], v.shape[-1]))


_COLLAPSE = "it adds 1e-4 to every feature, which drowns small ones"


@peer(
    "performer_attention",
    "performer-pytorch, eps = 0",
    "torch",
    ("torch", "performer_pytorch"),
    dtypes=("float64", "float32"),
    gradients=("float64", "float32"),
    options={"kind": "positive"},
    because={
        d: "keys share one maximum: features of keys before a far longer one vanish"
        for d in ("float64", "float32", "float64 gradients", "float32 gradients")
    },
)
def performer_without_eps(q, k, v, projections, *, causal=None):
    if causal == "bottom_right":
        raise NotImplementedError("it aligns at the top left")
    return _performer(q, k, v, projections, 0.0, causal)


@peer(
    "performer_attention",
    "performer-pytorch",
    "torch",
    ("torch", "performer_pytorch"),
    dtypes=("float64", "float32"),
    options={"kind": "positive"},
    because={d: _COLLAPSE for d in ("float64", "float32")},
)
def performer_with_eps(q, k, v, projections):
    return _performer(q, k, v, projections, 1e-4, None)


# ----------------------------------------------------------------------------- efficient attention


@peer(
    "efficient_attention",
    "linear-attention-transformer linear_attn",
    "torch",
    ("torch", "linear_attention_transformer"),
    dtypes=("float64", "float32"),
    because={d: "its output carries a factor 1/sqrt(d)" for d in ("float64", "float32")},
)
def linear_attention_transformer(q, k, v, *, mask=None):
    import torch
    from linear_attention_transformer.linear_attention_transformer import linear_attn

    if q.shape[-1] != v.shape[-1]:
        raise NotImplementedError("values as wide as keys")
    if mask is not None:
        mask = torch.broadcast_to(mask, k.shape[:-1])
        mask = mask.reshape((-1, mask.shape[-1]))
    # Heads are no batch there: its mask has none.
    arrays = (x.reshape((-1, 1, *x.shape[-2:])).clone() for x in (q, k, v))
    return linear_attn(*arrays, kv_mask=mask).reshape((*q.shape[:-1], v.shape[-1]))


@peer(
    "causal_efficient_attention",
    "linear-attention-transformer causal_linear_attn",
    "torch",
    ("torch", "linear_attention_transformer"),
    dtypes=("float64", "float32"),
    options={"version": "kernel"},
    because={
        d: "it clamps denominators at 1e-3, and exp(k) overflows" for d in ("float64", "float32")
    },
)
def linear_attention_transformer_causal(q, k, v):
    from linear_attention_transformer.linear_attention_transformer import causal_linear_attn

    if q.shape[-1] != v.shape[-1]:
        raise NotImplementedError("values as wide as keys")
    arrays = (x.reshape((-1, 1, *x.shape[-2:])) for x in (q, k, v))
    return causal_linear_attn(*arrays, bucket_size=1).reshape((*q.shape[:-1], v.shape[-1]))


# ------------------------------------------------------------------------------- Nystromformer


@peer(
    "iterated_inverse",
    "nystrom-attention moore_penrose_iter_pinv",
    "torch",
    ("torch", "nystrom_attention"),
    dtypes=("float64", "float32"),
    because={d: "its divisor is the largest over the batch" for d in ("float64", "float32")},
)
def lucidrains_inverse(matrix, *, steps=6):
    from nystrom_attention.nystrom_attention import moore_penrose_iter_pinv

    return moore_penrose_iter_pinv(matrix, steps)


@peer(
    "nystrom_attention",
    "nystrom-attention",
    "torch",
    ("torch", "nystrom_attention"),
    dtypes=("float64", "float32"),
    options={"segments": "front_padded"},
    because={
        d: "it starts the inverse from one divisor for the batch, and attends to its padding"
        for d in ("float64", "float32")
    },
)
def lucidrains_nystrom(q, k, v, *, landmarks):
    """Queries, keys and values side by side through projections that only pick them."""
    import torch
    from nystrom_attention import NystromAttention

    d = q.shape[-1]
    if k.shape != q.shape or v.shape != q.shape:
        raise NotImplementedError("self-attention, values as wide as keys")
    module = NystromAttention(3 * d, d, heads=1, num_landmarks=landmarks, residual=False).to(
        q.dtype
    )
    with torch.no_grad():
        module.to_qkv.weight.copy_(torch.eye(3 * d))
        module.to_out[0].weight.copy_(torch.eye(3 * d, d))
        module.to_out[0].bias.zero_()
    x = torch.cat([q, k, v], dim=-1).reshape((-1, q.shape[-2], 3 * d))
    return module(x)[..., :d].reshape(q.shape)


@peer(
    "iterated_inverse",
    "transformers NystromformerSelfAttention.iterative_inv",
    "torch",
    ("torch", "transformers"),
    dtypes=("float64", "float32"),
    because={d: "its divisor is the largest over the batch" for d in ("float64", "float32")},
)
def transformers_inverse(matrix, *, steps=6):
    from transformers import NystromformerConfig
    from transformers.models.nystromformer.modeling_nystromformer import (
        NystromformerSelfAttention,
    )

    config = NystromformerConfig(hidden_size=2, num_attention_heads=1)
    found = NystromformerSelfAttention(config).iterative_inv(four_axes(matrix), steps)
    return found.reshape(matrix.shape)


@peer(
    "nystrom_attention",
    "transformers NystromformerSelfAttention",
    "torch",
    ("torch", "transformers"),
    dtypes=("float64", "float32"),
    options={"landmarks": 2},
    because={
        d: "it starts the inverse from the largest column sum over the batch"
        for d in ("float64", "float32")
    },
)
def transformers_nystrom(q, k, v, *, landmarks):
    """Queries, keys and values side by side through projections that only pick them."""
    import torch
    from transformers import NystromformerConfig
    from transformers.models.nystromformer.modeling_nystromformer import (
        NystromformerSelfAttention,
    )

    n, d = q.shape[-2:]
    if k.shape != q.shape or v.shape != q.shape:
        raise NotImplementedError("self-attention, values as wide as keys")
    if n % landmarks or n == landmarks:
        raise NotImplementedError("a length that the landmarks divide")
    config = NystromformerConfig(
        hidden_size=3 * d,
        num_attention_heads=3,
        num_landmarks=landmarks,
        segment_means_seq_len=n,
    )
    module = NystromformerSelfAttention(config).eval()
    module.num_attention_heads, module.all_head_size, module.conv_kernel_size = 1, d, None
    for index, name in enumerate(("query", "key", "value")):
        layer = torch.nn.Linear(3 * d, d)
        with torch.no_grad():
            layer.weight.copy_(torch.eye(3 * d)[index * d : (index + 1) * d])
            layer.bias.zero_()
        setattr(module, name, layer)
    x = torch.cat([q, k, v], dim=-1).reshape((-1, n, 3 * d))
    with torch.no_grad():
        return module.to(q.dtype)(x)[0].reshape(q.shape)


# ----------------------------------------------------------------------------------- recurrences


def _sequences_first(x):
    """(batch, sequence, heads, width), the layout of fla."""
    return four_axes(x).transpose(1, 2)


@peer(
    "gated_linear_attention",
    "fla naive_recurrent_gla",
    "torch",
    ("torch", "fla"),
    dtypes=("float64", *_NO_DOUBLE),
    gradients=("float32",),
    because={"float64": _IN_FLOAT32},
)
def fla_gated(q, k, v, log_decay, *, state=None):
    import torch
    from fla.ops.gla.naive import naive_recurrent_gla

    gates = torch.broadcast_to(log_decay, q.shape)
    arrays = map(_sequences_first, (q, k, v, gates))
    first = None if state is None else four_axes(state)
    output, last = naive_recurrent_gla(*arrays, first, output_final_state=True)
    lead = q.shape[:-2]
    output = output.transpose(1, 2).reshape((*q.shape[:-1], v.shape[-1]))
    return output, last.reshape((*lead, q.shape[-1], v.shape[-1])).to(q.dtype)


@peer(
    "delta_rule",
    "fla naive_recurrent_gated_delta_rule",
    "torch",
    ("torch", "fla"),
    dtypes=("float64", *_NO_DOUBLE),
    gradients=("float32",),
    because={"float64": _IN_FLOAT32},
)
def fla_delta(q, k, v, beta, *, log_decay=None, state=None):
    import torch
    from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule

    gates = (
        torch.zeros_like(beta) if log_decay is None else torch.broadcast_to(log_decay, beta.shape)
    )
    arrays = [_sequences_first(x) for x in (q, k, v)]
    arrays += [_sequences_first(x[..., None])[..., 0] for x in (beta, gates)]
    first = None if state is None else four_axes(state)
    output, last = naive_recurrent_gated_delta_rule(
        *arrays, initial_state=first, output_final_state=True
    )
    lead = q.shape[:-2]
    output = output.transpose(1, 2).reshape((*q.shape[:-1], v.shape[-1]))
    return output.to(q.dtype), last.reshape((*lead, q.shape[-1], v.shape[-1])).to(q.dtype)


def _onnx_linear(rule, q, k, v, state, scale, **more):
    """ONNX LinearAttention: (batch, sequence, heads * width), here with one head per sequence."""
    import numpy as np
    from onnx.reference.ops.op_linear_attention import LinearAttention

    def rows(x):
        return np.reshape(x, (-1, *x.shape[-2:]))

    arrays = {name: rows(x) for name, x in more.items() if x is not None}
    past = None if state is None else np.reshape(state, (-1, 1, *state.shape[-2:]))
    output, last = LinearAttention._run(
        None,
        rows(q),
        rows(k),
        rows(v),
        past_state=past,
        q_num_heads=1,
        kv_num_heads=1,
        scale=None if scale is None else float(scale),
        update_rule=rule,
        **arrays,
    )
    lead = q.shape[:-2]
    return output.reshape((*q.shape[:-1], v.shape[-1])), last.reshape(
        (*lead, q.shape[-1], v.shape[-1])
    )


@peer(
    "gated_linear_attention",
    "onnx reference LinearAttention",
    "numpy",
    ("onnx",),
    dtypes=("float64", "float32", "float16"),
    because={"float64": _IN_FLOAT32},
)
def onnx_gated(q, k, v, log_decay, *, state=None):
    return _onnx_linear("gated", q, k, v, state, None, decay=log_decay)


@peer(
    "delta_rule",
    "onnx reference LinearAttention",
    "numpy",
    ("onnx",),
    dtypes=("float64", "float32", "float16"),
    because={"float64": _IN_FLOAT32},
)
def onnx_delta(q, k, v, beta, *, log_decay=None, state=None):
    decay = None if log_decay is None else log_decay[..., None]
    rule = "delta" if log_decay is None else "gated_delta"
    return _onnx_linear(rule, q, k, v, state, None, decay=decay, beta=beta[..., None])
