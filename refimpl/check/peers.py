"""Adapters for public implementations, and the conformance matrix over those that are installed.

Each adapter is a few lines that translate layout and argument names; the options that it names are
those that the implementation has. Where one disagrees with the formula, ``because`` says which
convention or limitation of theirs explains it, by precision ("float64", or "float64 gradients").
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from refimpl.check import check
from refimpl.check.candidate import Candidate
from refimpl.check.run import FAIL, PASS, Result
from refimpl.formula import find

ALL = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Peer:
    """A public implementation of a formula."""

    formula: str
    name: str
    function: Callable
    library: str
    requires: tuple[str, ...]
    dtypes: tuple[str, ...]
    gradients: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    because: dict[str, str] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        return all(importlib.util.find_spec(name) for name in self.requires)

    def check(self, dtype: str, gradients: bool = False, seconds: float = 6.0) -> Result:
        candidate = Candidate(self.name, self.function, self.library)
        return check(
            find(self.formula),
            candidate,
            dtype=dtype,
            options=dict(self.options),
            gradients=gradients,
            seconds=seconds,
        )

    def runs(self):
        """(precision, whether of the gradients) to check."""
        return [*((d, False) for d in self.dtypes), *((d, True) for d in self.gradients)]


PEERS: list[Peer] = []


def peer(
    formula: str, name: str, library: str, requires: tuple[str, ...] = (), **record
) -> Callable:
    """Decorator: an adapter that is called like the formula."""

    def register(function: Callable) -> Callable:
        PEERS.append(Peer(formula, name, function, library, requires or (library,), **record))
        return function

    return register


# --------------------------------------------------------------------------------- attention


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


def _four(x):
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
        return None if x is None else _four(jnp.broadcast_to(x, (*q.shape[:-1], k.shape[-2])))

    found = jax.nn.dot_product_attention(
        *(_four(x).swapaxes(1, 2) for x in (q, k, v)),
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
    inputs = {"Q": _four(q), "K": _four(k), "V": _four(v)}
    if bias is not None:
        inputs["M"] = bias if mask is None else np.where(mask, bias, -np.inf).astype(q.dtype)
    elif mask is not None:
        inputs["M"] = mask
    if "M" in inputs:
        inputs["M"] = _four(np.broadcast_to(inputs["M"], (*lead, *inputs["M"].shape[-2:])))
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
    because={f"{d} gradients": _NAN_GRADIENTS for d in ALL},
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


# ---------------------------------------------------------------------------------- rotary


def _tables(positions, dim, base, dtype):
    """cos and sin of Hugging Face's Llama: float32 angles, each frequency twice, halves tiled."""
    import torch

    frequencies = 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    angles = positions.to(torch.float32)[..., None] * frequencies
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


@peer(
    "rotary_embedding",
    "transformers Llama apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    gradients=("float32", "bfloat16"),
    options={"pairing": "half"},
    because={"float64": "it computes its angles in float32"},
)
def transformers_llama(x, positions, *, base=10000.0):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    cos, sin = _tables(positions, x.shape[-1], base, x.dtype)
    return apply_rotary_pos_emb(x[None], x[None], cos, sin, unsqueeze_dim=0)[0][0]


@peer(
    "rotary_embedding",
    "transformers GPT-J apply_rotary_pos_emb",
    "torch",
    ("torch", "transformers"),
    dtypes=ALL,
    options={"pairing": "interleaved"},
    because={"float64": "it computes its angles in float32"},
)
def transformers_gptj(x, positions, *, base=10000.0):
    import torch
    from transformers.models.gptj.modeling_gptj import rotate_every_two

    cos, sin = _tables(positions, x.shape[-1], base, x.dtype)
    half = x.shape[-1] // 2
    cos, sin = (torch.repeat_interleave(t[..., :half], 2, dim=-1) for t in (cos, sin))
    return x * cos + rotate_every_two(_four(x)).reshape(x.shape) * sin


# --------------------------------------------------------------------------------- Gaussian


_NO_HALF = ("float64", "float32")


@peer(
    "gaussian_kl", "torch.distributions.kl_divergence", "torch", dtypes=_NO_HALF, gradients=_NO_HALF
)
def torch_kl(mean_p, cov_p, mean_q, cov_q):
    from torch.distributions import MultivariateNormal, kl_divergence

    return kl_divergence(MultivariateNormal(mean_p, cov_p), MultivariateNormal(mean_q, cov_q))


@peer(
    "gaussian_log_density",
    "torch MultivariateNormal.log_prob",
    "torch",
    dtypes=_NO_HALF,
    gradients=_NO_HALF,
)
def torch_log_density(x, mean, cov):
    from torch.distributions import MultivariateNormal

    return MultivariateNormal(mean, cov).log_prob(x)


@peer(
    "gaussian_entropy",
    "torch MultivariateNormal.entropy",
    "torch",
    dtypes=_NO_HALF,
    gradients=_NO_HALF,
)
def torch_entropy(cov):
    from torch.distributions import MultivariateNormal

    return MultivariateNormal(cov.new_zeros(cov.shape[:-1]), cov).entropy()


@peer(
    "gaussian_log_density",
    "scipy multivariate_normal.logpdf",
    "numpy",
    ("scipy",),
    dtypes=("float64",),
)
def scipy_log_density(x, mean, cov):
    from scipy.stats import multivariate_normal

    if cov.ndim > 2 or mean.ndim > 1 or x.ndim > 1:
        raise NotImplementedError("SciPy takes one distribution at a time")
    return multivariate_normal(mean, cov).logpdf(x)


@peer(
    "gaussian_entropy",
    "scipy multivariate_normal.entropy",
    "numpy",
    ("scipy",),
    dtypes=("float64",),
)
def scipy_entropy(cov):
    from scipy.stats import multivariate_normal

    if cov.ndim > 2:
        raise NotImplementedError("SciPy takes one distribution at a time")
    return multivariate_normal(cov=cov).entropy()


@peer(
    "gaussian_log_density",
    "jax multivariate_normal.logpdf",
    "jax",
    dtypes=_NO_HALF,
    gradients=_NO_HALF,
)
def jax_log_density(x, mean, cov):
    from jax.scipy.stats import multivariate_normal

    return multivariate_normal.logpdf(x, mean, cov)


# ------------------------------------------------------------------------------- the matrix


def matrix(names: list[str] | None = None, seconds: float = 6.0):
    """(peer, precision, gradients, result) for every installed peer of the named formulas."""
    for record in PEERS:
        if record.installed and (not names or record.formula in names):
            for dtype, gradients in record.runs():
                yield record, dtype, gradients, record.check(dtype, gradients, seconds)


def reason(record: Peer, dtype: str, gradients: bool) -> str:
    """The known reason for a disagreement in this precision, of values or of gradients."""
    return record.because.get(f"{dtype} gradients" if gradients else dtype, "")


def is_explained(record: Peer, dtype: str, gradients: bool, result: Result) -> bool:
    """It passes, or it fails for the reason that is known."""
    return (
        result.verdict == PASS or result.verdict == FAIL and bool(reason(record, dtype, gradients))
    )


def main(names: list[str], as_json: bool = False) -> int:
    """Print the conformance matrix; exit code 1 where a disagreement is not explained."""
    lines, worst = [], 0
    for record, dtype, gradients, result in matrix(names):
        explained = is_explained(record, dtype, gradients, result)
        worst = max(worst, 0 if explained else 1)
        line = {
            "formula": record.formula,
            "peer": record.name,
            "dtype": dtype,
            "gradients": gradients,
            "verdict": result.verdict,
            "diagnosis": [e.text for e in result.explanations],
            "because": "" if result.verdict == PASS else reason(record, dtype, gradients),
            "reason": result.reason,
            "notes": result.notes,
            "options": {k: str(v) for k, v in record.options.items()},
        }
        lines.append(line)
        if not as_json:
            print(_row(line), flush=True)
    if as_json:
        print(json.dumps(lines, indent=1))
    elif not lines:
        print("no public implementation is installed: pip install 'refimpl[peers]'")
    return worst


def _row(line: dict) -> str:
    kind = line["dtype"] + (" grad" if line["gradients"] else "")
    head = f"{line['verdict'].upper():14} {line['formula']:22} {line['peer']:42} {kind:14}"
    why = line["because"] or "; ".join(line["diagnosis"]) or line["reason"]
    options = ", ".join(f"{k}={v}" for k, v in line["options"].items())
    return " ".join(x for x in (head, f"[{options}]" if options else "", why) if x)
