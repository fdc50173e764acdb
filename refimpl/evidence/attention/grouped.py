"""Evidence for grouped-query attention, and its wrong variants."""

from __future__ import annotations

import numpy as np

from refimpl.attention.grouped import grouped_query_attention
from refimpl.attention.softmax import softmax_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, inputs
from refimpl.evidence.mistakes import wrong

# Two heads of keys, so that tiling shows; any number of query heads that two divides.
grouped = Evidence(
    grouped_query_attention,
    sizes={
        "h": Sizes(4, 2, 8, 16),
        "g": Sizes(2, 1, 2, 2),
        "n": Sizes(1, 1, 9),
        "m": Sizes(1, 1, 9),
        "d": Sizes(1, 1, 6),
        "v": Sizes(1, 1, 6),
    },
    empty=("n", "m"),
    options={"softcap": (1.5,), "scale": (0.3,)},
    combinations=({"causal": True, "offset": 2}, {"window": (2, 1), "offset": 0}),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
)


# ------------------------------------------------------------------------------------- regimes


@grouped.regime
def normal(rng, shape):
    """Standard normal arrays"""
    return Case(inputs.attention(rng, shape))


@grouped.regime
def heads_masked_apart(rng, shape):
    """A mask, a bias and a sink of each query head"""
    options = {
        "mask": rng.random(shape.mask) < 0.7,
        "bias": rng.standard_normal(shape.bias),
        "sink": rng.standard_normal(shape.sink),
    }
    return Case(inputs.attention(rng, shape), options)


@grouped.regime
def one_mask_for_all(rng, shape):
    """One mask and bias for all heads, and a scale"""
    options = {
        "mask": rng.random(shape.mask)[..., :1, :, :] < 0.7,
        "bias": rng.standard_normal(shape.bias)[..., :1, :, :],
        "scale": rng.uniform(0.2, 1.0, shape.scale),
    }
    return Case(inputs.attention(rng, shape), options)


@grouped.regime(adversarial=True)
def different_heads(rng, shape):
    """Heads of keys whose values are far apart"""
    q, k, v = inputs.attention(rng, shape)
    return Case((q, k, v + 10.0 * np.arange(shape.axes["g"])[:, None, None]))


@grouped.regime(adversarial=True)
def sharp(rng, shape):
    """Logits of several tens, and rows that see nothing"""
    mask = rng.random(shape.mask) < 0.7
    mask[..., ::3, :] = False
    return Case(inputs.attention(rng, shape, 4.0), {"mask": mask})


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    q, k, v = (np.abs(np.asarray(to_host(x), dtype=float)).max(initial=1.0) for x in case.arrays)
    scale = case.options.get("scale")
    scale = 1.0 if scale is None else float(np.abs(to_host(scale)).max())
    return float(v * (1.0 + q * k * scale * case.arrays[0].shape[-1]))


def _of_head(case, a):
    """The arguments of query head ``a``, with the head of keys that it shares."""
    q, k, v = case.arrays
    b = a * k.shape[-3] // q.shape[-3]
    options = dict(case.options)
    for name in ("mask", "bias"):
        if options.get(name) is not None:
            x = options[name]
            options[name] = x[..., min(a, x.shape[-3] - 1), :, :]
    if options.get("sink") is not None:
        options["sink"] = options["sink"][..., a]
    return Case((q[..., a, :, :], k[..., b, :, :], v[..., b, :, :]), options)


@grouped.law
def every_head_is_attention(f, case):
    """Each head of queries is softmax attention to the head of keys that its group shares"""
    output = case.call(f)
    for a in (0, output.shape[-3] - 1):
        yield Claim(output[..., a, :, :], _of_head(case, a).call(softmax_attention), _size(case))


@grouped.law
def repeated_keys_are_plain_heads(f, case):
    """With the keys and values repeated, group by group, nothing changes"""
    q, k, v = case.arrays
    xp = namespace(q)
    times = q.shape[-3] // k.shape[-3]
    wide = (xp.repeat(x, times, axis=-3) for x in (k, v))
    yield Claim(case.with_arrays(q, *wide).call(f), case.call(f), _size(case))


# -------------------------------------------------------------------------------- closed forms


@grouped.closed_form
def means_of_shared_values(rng, shape):
    """Queries of zero: each head averages the values of its group"""
    q, k, v = inputs.attention(rng, shape)
    h, g, n, m = (shape.axes[axis] for axis in ("h", "g", "n", "m"))
    mean = v.sum(axis=-2, keepdims=True) / max(m, 1)
    answer = np.repeat(mean, h // g, axis=-3)
    return Case((0.0 * q, k, v)), np.broadcast_to(answer, (*shape.batch, h, n, v.shape[-1]))


@grouped.closed_form
def sinks_of_heads(rng, shape):
    """Queries of zero with sinks log a: the sum of the values over m + a"""
    q, k, v = inputs.attention(rng, shape)
    h, g, n, m = (shape.axes[axis] for axis in ("h", "g", "n", "m"))
    extra = 1.0 + np.arange(h)
    total = np.repeat(v.sum(axis=-2, keepdims=True), h // g, axis=-3)
    answer = total / (m + extra)[:, None, None]
    options = {"sink": np.broadcast_to(np.log(extra), shape.sink).copy()}
    return Case((0.0 * q, k, v), options), np.broadcast_to(
        answer, (*shape.batch, h, n, v.shape[-1])
    )


# ------------------------------------------------------------------------------------- mutants


def _tiled(x, heads):
    """Heads of keys repeated as a whole: h0 h1 h0 h1."""
    return np.concatenate([x] * (heads // x.shape[-3]), axis=-3)


@grouped.mutant(source="https://github.com/onnx/onnx/pull/7274")
def heads_tiled(q, k, v, /, **options):
    """heads of keys are repeated as a whole, h0 h1 h0 h1, not one by one"""
    heads = q.shape[-3]
    return grouped_query_attention(q, _tiled(k, heads), _tiled(v, heads), **options)


@grouped.mutant
def values_tiled(q, k, v, /, **options):
    """keys are repeated one by one, but values as a whole"""
    times = q.shape[-3] // k.shape[-3]
    keys = np.repeat(k, times, axis=-3)
    return grouped_query_attention(q, keys, _tiled(v, q.shape[-3]), **options)


@grouped.mutant
def first_head_for_all(q, k, v, /, **options):
    """all queries share the first head of keys"""
    return grouped_query_attention(q, k[..., :1, :, :], v[..., :1, :, :], **options)


@grouped.mutant
def masks_of_the_first_head(q, k, v, /, **options):
    """the mask of the first head serves all"""
    mask = options.get("mask")
    options["mask"] = None if mask is None else mask[..., :1, :, :]
    return grouped_query_attention(q, k, v, **options)


wrong(grouped, "the sinks are left out", options={"sink": None})


@grouped.mutant
def sinks_in_another_order(q, k, v, /, **options):
    """the sinks belong to the heads in reverse order"""
    sink = options.get("sink")
    options["sink"] = None if sink is None else sink[..., ::-1]
    return grouped_query_attention(q, k, v, **options)


@grouped.mutant
def scale_of_all_heads(q, k, v, /, **options):
    """the scale is 1/sqrt(h d)"""
    if options.get("scale") is None:
        options["scale"] = (q.shape[-3] * q.shape[-1]) ** -0.5
    return grouped_query_attention(q, k, v, **options)


@grouped.mutant(gradient=True)
def gradient_of_the_first_of_a_group(g, q, k, v, /, **options):
    """the gradients of keys and values come from the first head of each group alone"""
    times = q.shape[-3] // k.shape[-3]
    first = (np.arange(q.shape[-3]) % times == 0)[:, None, None]
    found = grouped_query_attention.vjp(g, q, k, v, **options)
    alone = grouped_query_attention.vjp(np.where(first, g, 0.0), q, k, v, **options)
    return found[0], alone[1], alone[2], *found[3:]


@grouped.mutant(gradient=True)
def gradient_averaged_over_a_group(g, q, k, v, /, **options):
    """the gradients of keys and values are means over their group"""
    times = q.shape[-3] // k.shape[-3]
    found = grouped_query_attention.vjp(g, q, k, v, **options)
    return found[0], found[1] / times, found[2] / times, *found[3:]
