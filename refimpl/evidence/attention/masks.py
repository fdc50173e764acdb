"""Evidence for masks made of patterns."""

from __future__ import annotations

import numpy as np

from refimpl.attention.masks import attention_mask, band
from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence
from refimpl.evidence.mistakes import wrong

masks = Evidence(
    attention_mask,
    empty=("n", "m"),
    options={
        "dilation": (2, 3),
        "chunk": (4,),
    },
    combinations=(
        {"window": (2, 1)},
        {"window": (None, 2)},
        {"causal": True, "window": (3, 0)},
        {"causal": True, "prefix": 3},
        {"window": (4, 4), "dilation": 2},
    ),
)


# ------------------------------------------------------------------------------------- regimes


def _positions(rng, shape):
    n, m = shape.axes["n"], shape.axes["m"]
    queries = np.broadcast_to(np.arange(n), shape.query_positions).copy()
    return queries, np.broadcast_to(np.arange(m), shape.key_positions).copy()


@masks.regime
def in_order(rng, shape):
    """Queries and keys from position 0 on, a window"""
    return Case(_positions(rng, shape), {"window": (2, 1)})


@masks.regime
def after_a_cache(rng, shape):
    """Queries at the end of the keys, causal, with keys that all may see"""
    queries, keys = _positions(rng, shape)
    queries = queries + max(shape.axes["m"] - shape.axes["n"], 0)
    options = {"causal": True, "window": (2, 0), "global_keys": keys < 2}
    return Case((queries, keys), options)


@masks.regime(adversarial=True)
def documents(rng, shape):
    """Documents of different length in one sequence, causal, with a prefix"""
    queries, keys = _positions(rng, shape)
    segments = {"query_segments": queries // 5, "key_segments": keys // 5}
    return Case((queries, keys), segments | {"causal": True, "prefix": 2})


@masks.regime(adversarial=True)
def blocks_and_globals(rng, shape):
    """Random blocks, with global queries and keys"""
    queries, keys = _positions(rng, shape)
    extent = -(-max(shape.axes["n"], shape.axes["m"], 1) // 4)
    options = {
        "blocks": rng.random((*shape.batch, extent, extent)) < 0.5,
        "block_size": 4,
        "global_queries": rng.random(queries.shape) < 0.2,
        "global_keys": rng.random(keys.shape) < 0.2,
    }
    return Case((queries, keys), options)


@masks.regime(adversarial=True)
def out_of_order(rng, shape):
    """Positions in random order, chunks and a dilation"""
    queries, keys = _positions(rng, shape)
    queries, keys = rng.permuted(queries, axis=-1), rng.permuted(keys, axis=-1)
    return Case((queries, keys), {"chunk": 6, "dilation": 2})


# ---------------------------------------------------------------------------------------- laws


def _numbers(x):
    return x.astype("float64")


@masks.law
def moves_with_the_positions(f, case):
    """Without prefix, chunks and blocks only differences of positions matter"""
    q, k = case.arrays
    if any(case.options.get(name) for name in ("prefix", "chunk", "block_size")):
        return
    yield Claim(_numbers(case.with_arrays(q + 7, k + 7).call(f)), _numbers(case.call(f)), 0.0)


@masks.law
def follows_reordered_positions(f, case):
    """Reversed keys have reversed columns"""
    q, k = case.arrays
    options = {
        name: case.options[name][..., ::-1]
        for name in ("global_keys", "key_segments")
        if case.options.get(name) is not None
    }
    turned = case.with_arrays(q, k[..., ::-1]).with_options(**options).call(f)
    yield Claim(_numbers(turned)[..., ::-1], _numbers(case.call(f)), 0.0)


@masks.law
def causality_only_removes(f, case):
    """A causal mask keeps a part of what the same mask keeps without causality"""
    free = _numbers(case.with_options(causal=False).call(f))
    strict = _numbers(case.with_options(causal=True).call(f))
    yield Claim(strict * free, strict, 0.0)


@masks.law
def transposed(f, case):
    """Exchanging queries with keys, and the ends of the window, transposes a mask"""
    q, k = case.arrays
    if case.options.get("causal") or case.options.get("blocks") is not None:
        return
    window = case.options.get("window")
    swapped = {"window": None if window is None else window[::-1]}
    for a, b in (("query_segments", "key_segments"), ("global_queries", "global_keys")):
        swapped |= {a: case.options.get(b), b: case.options.get(a)}
    other = case.with_arrays(k, q).with_options(**swapped).call(f)
    yield Claim(_numbers(other).swapaxes(-1, -2), _numbers(case.call(f)), 0.0)


@masks.law
def a_window_is_a_band(f, case):
    """Windows and causality alone are the bands of softmax attention"""
    options = {
        k: v for k, v in case.options.items() if v is not None and k not in ("window", "causal")
    }
    q, k = case.arrays
    if options or q.ndim != 1:
        return
    xp = namespace(q)
    n, m = q.shape[-1], k.shape[-1]
    if bool((q != xp.arange(n)).any()) or bool((k != xp.arange(m)).any()):
        return
    strip = band(n, m, case.options.get("causal") or None, case.options.get("window"), 0)
    expected = strip.keep(xp, range(n), range(m))
    yield Claim(_numbers(case.call(f)), _numbers(expected), 0.0)


# -------------------------------------------------------------------------------- closed forms


def _answer(shape, keep):
    n, m = shape.axes["n"], shape.axes["m"]
    return np.broadcast_to(keep, (*shape.batch, n, m)).astype(float)


@masks.closed_form
def lower_triangle(rng, shape):
    """Causal: the lower triangle"""
    n, m = shape.axes["n"], shape.axes["m"]
    return Case(_positions(rng, shape), {"causal": True}), _answer(shape, np.tri(n, m))


@masks.closed_form
def diagonal_band(rng, shape):
    """A window of (1, 2): four diagonals"""
    n, m = shape.axes["n"], shape.axes["m"]
    keep = np.tri(n, m, 2) - np.tri(n, m, -2)
    return Case(_positions(rng, shape), {"window": (1, 2)}), _answer(shape, keep)


@masks.closed_form
def squares(rng, shape):
    """Documents of three: squares on the diagonal"""
    n, m = shape.axes["n"], shape.axes["m"]
    keep = np.kron(np.eye(max(n, m) // 3 + 1), np.ones((3, 3)))[:n, :m]
    queries, keys = _positions(rng, shape)
    return Case(
        (queries, keys), {"query_segments": queries // 3, "key_segments": keys // 3}
    ), _answer(shape, keep)


@masks.closed_form
def blocks_of_two(rng, shape):
    """Blocks of two that alternate: a checkerboard"""
    n, m = shape.axes["n"], shape.axes["m"]
    extent = max(n, m) // 2 + 1
    blocks = np.indices((extent, extent)).sum(axis=0) % 2 == 0
    keep = np.kron(blocks, np.ones((2, 2)))[:n, :m]
    return Case(_positions(rng, shape), {"blocks": blocks, "block_size": 2}), _answer(shape, keep)


# ------------------------------------------------------------------------------------- mutants


def _window(options, left, right):
    window = options.get("window")
    if window is None:
        return options
    a, b = window
    return options | {"window": (None if a is None else a + left, None if b is None else b + right)}


@masks.mutant(source="https://github.com/huggingface/transformers/issues/39408")
def window_counts_itself(q, k, /, **options):
    """the left end of the window counts the position itself: it is one key short"""
    return attention_mask(q, k, **_window(options, -1, 0))


@masks.mutant(source="https://github.com/allenai/longformer/issues/157")
def window_one_too_wide(q, k, /, **options):
    """the window has one key more on the left"""
    return attention_mask(q, k, **_window(options, 1, 0))


@masks.mutant
def window_turned_round(q, k, /, **options):
    """the ends of the window are exchanged"""
    window = options.get("window")
    return attention_mask(q, k, **options | {"window": None if window is None else window[::-1]})


@masks.mutant
def causal_without_the_diagonal(q, k, /, **options):
    """a causal query does not see its own position"""
    keep = attention_mask(q, k, **options)
    if not options.get("causal"):
        return keep
    return keep & (q[..., :, None] != k[..., None, :])


wrong(masks, "causal is ignored", options={"causal": False})
wrong(masks, "the dilation is ignored", options={"dilation": 1})


@masks.mutant
def window_in_dilated_steps(q, k, /, **options):
    """the window counts dilated steps"""
    step, window = options.get("dilation", 1), options.get("window")
    if window is None:
        return attention_mask(q, k, **options)
    wide = tuple(None if end is None else end * step for end in window)
    return attention_mask(q, k, **options | {"window": wide})


@masks.mutant
def globals_see_the_future(q, k, /, **options):
    """global keys are seen before their time"""
    keep = attention_mask(q, k, **options)
    if options.get("global_keys") is not None:
        keep = keep | options["global_keys"][..., None, :]
    return keep


@masks.mutant
def globals_in_one_direction(q, k, /, **options):
    """global keys are not seen by others, only global queries see all"""
    return attention_mask(q, k, **options | {"global_keys": None})


wrong(masks, "segments are ignored", options={"query_segments": None, "key_segments": None})
wrong(masks, "the prefix is ignored", options={"prefix": 0})


@masks.mutant
def prefix_crosses_documents(q, k, /, **options):
    """the prefix is seen from other documents too"""
    keep = attention_mask(q, k, **options)
    return keep | (k[..., None, :] < options.get("prefix", 0)) & (q[..., :, None] >= 0)


@masks.mutant
def chunks_see_the_one_before(q, k, /, **options):
    """positions see the chunk before their own too"""
    if options.get("chunk") is None:
        return attention_mask(q, k, **options)
    rest = options | {"chunk": None}
    near = (q[..., :, None] // options["chunk"] - k[..., None, :] // options["chunk"]) % 2**30 <= 1
    return attention_mask(q, k, **rest) & near


@masks.mutant
def blocks_transposed(q, k, /, **options):
    """the blocks are transposed"""
    blocks = options.get("blocks")
    return attention_mask(
        q, k, **options | {"blocks": None if blocks is None else blocks.swapaxes(-1, -2)}
    )


wrong(masks, "True drops", name="inverted", output=lambda y: ~y)
