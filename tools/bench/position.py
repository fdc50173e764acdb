"""Rotary embedding beside torch's codes, tables and biases beside those of Hugging Face."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

import refimpl
from tools.bench import Job, Rival, contest, on_torch, ours

HEADS, D = 8, 64
LENGTHS = (512, 4096, 16384)
DTYPES = ("float32", "float64")


def rotary(quick: bool) -> Iterator[str]:
    """Queries of eight heads at their positions, with the tables that this takes."""
    for n in LENGTHS[: 1 if quick else None]:
        for dtype in DTYPES:
            x = np.random.default_rng(0).standard_normal((1, HEADS, n, D)).astype(dtype)
            for pairing, rivals in (("interleaved", _interleaved), ("half", _half)):
                job = Job(f"rotary, {pairing}", f"n={n},d={D},heads={HEADS}", dtype)
                yield from _rotated(job, x, pairing, rivals(x))


def _rotated(job: Job, x, pairing: str, rivals: list[Rival]) -> Iterator[str]:
    positions = np.arange(x.shape[-2])

    def formula():
        return refimpl.rotary_embedding(x, positions, pairing=pairing)

    answer = (refimpl.rotary_embedding.oracle(x, positions, pairing=pairing),)
    yield from contest(job, [ours(formula)], rivals, answer)


def _frequencies(dtype):
    import torch

    return 10000.0 ** (-torch.arange(0, D, 2, dtype=dtype) / D)


def _interleaved(x) -> list[Rival]:
    def complex_of_llama():
        import torch

        (t,) = on_torch(x)
        n = x.shape[-2]
        angles = torch.outer(torch.arange(n, dtype=t.dtype), _frequencies(t.dtype))
        turns = torch.polar(torch.ones_like(angles), angles)
        pairs = torch.view_as_complex(t.reshape(*t.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns).flatten(3)

    def rotary_embedding_torch():
        (t,) = on_torch(x)
        return _module(t.dtype).rotate_queries_or_keys(t)

    return [
        Rival("torch complex, as Llama of Meta", ("torch",), complex_of_llama),
        Rival("rotary-embedding-torch", ("rotary_embedding_torch",), rotary_embedding_torch),
    ]


@functools.cache
def _module(dtype):
    """One module for all calls: it keeps its tables, which is what users time."""
    from rotary_embedding_torch import RotaryEmbedding

    return RotaryEmbedding(dim=D, cache_max_seq_len=2 * LENGTHS[-1]).to(dtype)


def _half(x) -> list[Rival]:
    def hugging_face():
        import torch
        from transformers.models.llama.modeling_llama import rotate_half

        (t,) = on_torch(x)
        positions = torch.arange(x.shape[-2], dtype=t.dtype)
        angles = torch.outer(positions, _frequencies(t.dtype))
        angles = torch.cat((angles, angles), dim=-1)
        return t * angles.cos() + rotate_half(t) * angles.sin()

    return [Rival("transformers rotate_half", ("torch", "transformers"), hugging_face)]


# -------------------------------------------------------------------------------------- biases


def biases(quick: bool) -> Iterator[str]:
    """The biases of T5 for eight heads."""
    for n in (512, 2048)[: 1 if quick else None]:
        table = np.random.default_rng(0).standard_normal((32, HEADS)).astype("float32")
        at = np.arange(n)

        def formula(table=table, at=at):
            return refimpl.t5_bias(table, at, at, bidirectional=True)

        def hugging_face(table=table, n=n):
            import torch

            module = _t5()
            with torch.no_grad():
                module.relative_attention_bias.weight.copy_(*on_torch(table))
                return module.compute_bias(n, n)[0]

        rival = Rival("transformers T5", ("torch", "transformers"), hugging_face)
        yield from contest(
            Job("T5 bias", f"n={n},heads={HEADS}", "float32"), [ours(formula)], [rival]
        )


@functools.cache
def _t5():
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    config = T5Config(num_heads=HEADS, d_kv=D, d_model=HEADS * D)
    return T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
