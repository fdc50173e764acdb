"""Adapters of public implementations of position encodings."""

from __future__ import annotations

from refimpl.check.peers import ALL, peer
from refimpl.check.peers.attention import four_axes


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
    return x * cos + rotate_every_two(four_axes(x)).reshape(x.shape) * sin
