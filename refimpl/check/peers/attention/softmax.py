"""Adapters of public implementations of attention."""

from __future__ import annotations

from refimpl.check.peers import ALL, peer


@peer("softmax_attention", "torch scaled_dot_product_attention", "torch", dtypes=ALL, gradients=ALL)
def torch_attention(q, k, v, *, mask=None, bias=None, scale=None, causal=None):
    import torch
    from torch.nn.attention.bias import causal_lower_right
    from torch.nn.functional import scaled_dot_product_attention

    if causal and mask is None and bias is None:
        if causal == "bottom_right" and q.shape[-2] <= k.shape[-2]:
            lower_right = causal_lower_right(q.shape[-2], k.shape[-2])
            return scaled_dot_product_attention(q, k, v, attn_mask=lower_right, scale=scale)
        if causal != "bottom_right":
            return scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    if causal:
        start = k.shape[-2] - q.shape[-2] if causal == "bottom_right" else 0
        seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(start)
        mask = seen if mask is None else mask & seen
    if bias is not None and mask is not None:
        bias = torch.where(mask, bias, -torch.inf)
    attn_mask = mask if bias is None else bias.to(q.dtype)
    return scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, scale=scale)


def four_axes(x):
    """(batch, heads, n, d) from any leading axes."""
    return (
        x.reshape((-1, *x.shape[-3:])) if x.ndim > 3 else x.reshape((1,) * (4 - x.ndim) + x.shape)
    )


_JAX_ROWS = "a row whose biases are all -inf is NaN, while a row masked throughout is a mean"


@peer(
    "softmax_attention",
    "jax.nn.dot_product_attention",
    "jax",
    dtypes=ALL,
    gradients=("float32", "bfloat16"),
    options={"empty": "mean"},
    because={d: _JAX_ROWS for d in (*ALL, *(f"{d} gradients" for d in ALL))}
    | {"float64": "it computes its softmax in float32 whatever the inputs are"},
)
def jax_attention(q, k, v, *, mask=None, bias=None, scale=None, causal=None):
    import jax
    import jax.numpy as jnp

    if causal == "bottom_right":
        raise NotImplementedError("JAX aligns at the top left")

    def scores_like(x):
        return None if x is None else four_axes(jnp.broadcast_to(x, (*q.shape[:-1], k.shape[-2])))

    found = jax.nn.dot_product_attention(
        *(four_axes(x).swapaxes(1, 2) for x in (q, k, v)),
        bias=scores_like(bias),
        mask=scores_like(mask),
        scale=scale,
        is_causal=bool(causal),
    )
    return found.swapaxes(1, 2).reshape((*q.shape[:-1], v.shape[-1]))


@peer(
    "softmax_attention",
    "onnx reference Attention",
    "numpy",
    ("onnx",),
    dtypes=("float64", "float32", "float16"),
    because={"float64": "its scale attribute is a float32"},
)
def onnx_attention(q, k, v, *, mask=None, bias=None, scale=None, causal=None, softcap=None):
    import numpy as np
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    if causal == "bottom_right":
        raise NotImplementedError("ONNX aligns at the top left without a cache")
    lead = q.shape[:-2]
    inputs = {"Q": four_axes(q), "K": four_axes(k), "V": four_axes(v)}
    if bias is not None:
        inputs["M"] = bias if mask is None else np.where(mask, bias, -np.inf).astype(q.dtype)
    elif mask is not None:
        inputs["M"] = mask
    if "M" in inputs:
        inputs["M"] = four_axes(np.broadcast_to(inputs["M"], (*lead, *inputs["M"].shape[-2:])))
    attributes = {"is_causal": int(bool(causal)), "softcap": float(softcap or 0.0)}
    if scale is not None:
        attributes["scale"] = float(scale)
    kinds = {name: helper.np_dtype_to_tensor_dtype(x.dtype) for name, x in inputs.items()}
    node = helper.make_node("Attention", list(inputs), ["Y"], **attributes)
    values = [helper.make_tensor_value_info(n, kind, None) for n, kind in kinds.items()]
    result = helper.make_tensor_value_info("Y", kinds.get("V", TensorProto.FLOAT), None)
    graph = helper.make_graph([node], "attention", values, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    (found,) = ReferenceEvaluator(model).run(None, inputs)
    return found.reshape((*lead, *found.shape[-2:]))


_NAN_GRADIENTS = "its gradient of a row that sees no key is NaN"


@peer(
    "attention_logsumexp",
    "torch.logsumexp of the logits",
    "torch",
    dtypes=ALL,
    gradients=ALL,
    because={f"{d} gradients": _NAN_GRADIENTS for d in ALL}
    | {
        f"{d} gradients": f"{_NAN_GRADIENTS}; its weights come from a log-sum-exp that was rounded"
        for d in ("float16", "bfloat16")
    },
    loses=("huge",),
)
def torch_logsumexp(q, k, *, mask=None, bias=None, scale=None):
    import torch

    logits = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    logits = logits if bias is None else logits + bias
    return torch.logsumexp(
        logits if mask is None else logits.masked_fill(~mask, -torch.inf), dim=-1
    )


@peer(
    "attention_weights",
    "torch.softmax of the logits",
    "torch",
    dtypes=ALL,
    gradients=ALL,
    options={"empty": "nan"},
    because={f"{d} gradients": _NAN_GRADIENTS for d in ALL},
)
def torch_weights(q, k, *, mask=None, bias=None, scale=None):
    import torch

    logits = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    logits = logits if bias is None else logits + bias
    return torch.softmax(logits if mask is None else logits.masked_fill(~mask, -torch.inf), dim=-1)
