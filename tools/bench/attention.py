"""Softmax attention beside torch's, linear attention, Performer and Nystrom beside their codes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import refimpl
from tools.bench import Job, Rival, contest, on_torch, ours, torch_peak

D = 64
HEADS = {512: 8, 1024: 8, 2048: 8, 4096: 2, 8192: 1}
"""Sequence lengths, with fewer heads where one takes long."""
LONG = (1024, 8192)
WIDTH = 8 * D
DTYPES = ("float32", "float64")


def softmax(quick: bool) -> Iterator[str]:
    """Forward, and forward with backward, of the form that is taken by default."""
    for n in list(HEADS)[: 1 if quick else None]:
        for dtype in DTYPES:
            for causal in (None, "top_left"):
                # torch has its fast kernels for four axes alone.
                q, k, v, g = _normal(4, (1, HEADS[n], n, D), dtype)
                size = f"n={n},d={D},heads={HEADS[n]}"
                name = "attention" + (" causal" if causal else "")
                yield from _forward(Job(name, size, dtype), q, k, v, causal)
                job = Job(f"{name} fwd+bwd", size, dtype)
                yield from _forward_and_backward(job, q, k, v, g, causal)


def _normal(count: int, shape: tuple[int, ...], dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(count)]


def _forward(job: Job, q, k, v, causal) -> Iterator[str]:
    attention = refimpl.softmax_attention

    def torch_forward():
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        with torch.no_grad():
            return scaled_dot_product_attention(*on_torch(q, k, v), is_causal=bool(causal))

    rival = Rival("torch scaled_dot_product_attention", ("torch",), torch_forward, torch_peak)
    answer = (attention.oracle(q, k, v, causal=causal),)
    entry = ours(lambda: attention(q, k, v, causal=causal))
    yield from contest(job, [entry], [rival], answer, memory=True)


def _forward_and_backward(job: Job, q, k, v, g, causal) -> Iterator[str]:
    """Our gradients recompute what they need; who wants the output too calls the formula first."""
    attention = refimpl.softmax_attention

    def both():
        return attention(q, k, v, causal=causal), *attention.vjp(g, q, k, v, causal=causal)

    def torch_both():
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        *inputs, seed = on_torch(q, k, v, g)
        inputs = [x.detach().requires_grad_(True) for x in inputs]
        output = scaled_dot_product_attention(*inputs, is_causal=bool(causal))
        return output.detach(), *torch.autograd.grad(output, inputs, seed)

    rival = Rival("torch scaled_dot_product_attention", ("torch",), torch_both, torch_peak)
    answer = (
        attention.oracle(q, k, v, causal=causal),
        *attention.oracle_vjp(g, q, k, v, causal=causal),
    )
    yield from contest(job, [ours(both)], [rival], answer, memory=True)


# ---------------------------------------------------------------------------- linear attention


def linear(quick: bool) -> Iterator[str]:
    """Causal, of given features: rivals start from them, and add 1e-6 or 1e-10 to their sums."""
    for n in LONG[: 1 if quick else None]:
        for dtype in DTYPES:
            heads = HEADS[n]
            q, k, v = _normal(3, (heads, n, D), dtype)
            q, k = np.abs(q), np.abs(k)

            def performer(q=q, k=k, v=v):
                from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda

                return causal_linear_attention_noncuda(*on_torch(q[None], k[None], v[None]))[0]

            def fla(q=q, k=k, v=v):
                from fla.ops.linear_attn.naive import naive_chunk_linear_attn

                inputs = (x.transpose(0, 1)[None] for x in on_torch(q, k, v))
                return naive_chunk_linear_attn(*inputs, normalize=True)[0].transpose(0, 1)

            def call(q=q, k=k, v=v):
                return refimpl.linear_attention(q, k, v, features="identity", causal="top_left")

            rivals = [
                Rival("performer-pytorch, causal without CUDA", ("performer_pytorch",), performer),
                Rival("flash-linear-attention naive, chunked", ("fla",), fla),
            ]
            job = Job("linear attention causal", f"n={n},d={D},heads={heads}", dtype)
            yield from contest(job, [ours(call)], rivals)


def performer(quick: bool) -> Iterator[str]:
    """Both with the same 256 projections; theirs without the number that they add to features."""
    for n in LONG[: 1 if quick else None]:
        for dtype in DTYPES:
            heads = HEADS[n]
            q, k, v = _normal(3, (heads, n, D), dtype)
            (w,) = _normal(1, (256, D), dtype)

            def theirs(q=q, k=k, v=v, w=w):
                from performer_pytorch.performer_pytorch import linear_attention, softmax_kernel

                q, k, v, w = on_torch(q[None], k[None], v[None], w)
                q, k = (
                    softmax_kernel(x, projection_matrix=w, is_query=is_query, eps=0.0)
                    for x, is_query in ((q, True), (k, False))
                )
                return linear_attention(q, k, v)[0]

            def call(q=q, k=k, v=v, w=w):
                return refimpl.performer_attention(q, k, v, w, kind="positive")

            rivals = [Rival("performer-pytorch", ("performer_pytorch",), theirs)]
            job = Job("Performer, 256 features", f"n={n},d={D},heads={heads}", dtype)
            yield from contest(job, [ours(call)], rivals)


def nystrom(quick: bool) -> Iterator[str]:
    """With the projections before and after, because nystrom-attention is a module with them."""
    for n in LONG[: 1 if quick else None]:
        for dtype in DTYPES:
            (x,) = _normal(1, (n, WIDTH), dtype)
            into, out = (
                w / np.asarray(WIDTH**0.5, dtype)
                for w in (
                    _normal(1, (WIDTH, 3 * WIDTH), dtype)[0],
                    *_normal(1, (WIDTH,) * 2, dtype),
                )
            )
            landmarks = 64 if n <= LONG[0] else 256
            module = {}

            def theirs(x=x, into=into, out=out, landmarks=landmarks, module=module):
                import torch

                if not module:
                    module["of"] = _nystrom_module(into, out, landmarks)
                with torch.no_grad():
                    return module["of"](on_torch(x)[0][None])[0]

            def call(x=x, into=into, out=out, landmarks=landmarks):
                parts = (x @ into).reshape(len(x), 3, WIDTH // D, D).transpose(1, 2, 0, 3)
                found = refimpl.nystrom_attention(*parts, landmarks=landmarks)
                return found.transpose(1, 0, 2).reshape(len(x), WIDTH) @ out

            rivals = [Rival("nystrom-attention module", ("nystrom_attention",), theirs)]
            job = Job(f"Nystrom, {landmarks} landmarks", f"n={n},d={D},heads={WIDTH // D}", dtype)
            yield from contest(job, [ours(call)], rivals)


def _nystrom_module(into, out, landmarks: int):
    """nystrom-attention with these projections, without its convolution."""
    import torch
    from nystrom_attention import NystromAttention

    width = len(out)
    module = NystromAttention(
        dim=width, dim_head=D, heads=width // D, num_landmarks=landmarks, residual=False
    ).to(torch.from_numpy(out).dtype)
    with torch.no_grad():
        module.to_qkv.weight.copy_(torch.from_numpy(into.T))
        module.to_out[0].weight.copy_(torch.from_numpy(out.T))
        module.to_out[0].bias.zero_()
    return module.eval()
