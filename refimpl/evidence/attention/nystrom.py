"""Evidence for segment means and Nystrom attention."""

from __future__ import annotations

import numpy as np

from refimpl.attention.nystrom import nystrom_attention, segment_means
from refimpl.attention.softmax import softmax_attention
from refimpl.backend import namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes, inputs
from refimpl.evidence.attention.shared import largest
from refimpl.evidence.laws import linear_in

SEGMENTS = segment_means.declared["segments"].values

means = Evidence(
    segment_means,
    sizes={"n": Sizes(3, 1, 33), "d": Sizes(1, 1, 6)},
    fixed={"landmarks": 3},
    options={"landmarks": (1, 2)},
)
attention = Evidence(
    nystrom_attention,
    sizes={"n": Sizes(3, 1, 17), "m": Sizes(3, 1, 17), "d": Sizes(1, 1, 6), "v": Sizes(1, 1, 6)},
    fixed={"landmarks": 3},
    options={"landmarks": (1,), "steps": (1,)},
    combinations=({"inverse": "exact", "rcond": 0.3},),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
    budget=Budget(k=6.0, floor=8.0),
)


# ------------------------------------------------------------------------------------- regimes


@means.regime
def normal(rng, shape):
    """Standard normal entries"""
    return Case((rng.standard_normal(shape.x),))


@means.regime
def ramp(rng, shape):
    """Entries that grow along the sequence, so that a wrong position shows"""
    x = rng.standard_normal(shape.x) + np.arange(shape.axes["n"])[:, None]
    return Case((x,), {"segments": str(rng.choice(SEGMENTS))})


@means.regime(adversarial=True)
def masked(rng, shape):
    """A random mask; the last segment has no position in some heads"""
    mask = rng.random(shape.mask) < 0.6
    n = shape.axes["n"]
    mask[..., n - n // 3 :] &= rng.random(shape.batch)[..., None] < 0.5
    x = 8.0 + rng.standard_normal(shape.x)
    return Case((x,), {"mask": mask, "segments": str(rng.choice(SEGMENTS))})


@means.regime(adversarial=True)
def nan_under_mask(rng, shape):
    """Positions that are masked hold NaN"""
    x = rng.standard_normal(shape.x)
    keep = np.arange(shape.axes["n"]) % 4 != 1
    x[..., ~keep, :] = np.nan
    return Case((x,), {"mask": np.broadcast_to(keep, shape.mask).copy()})


@attention.regime
def ordinary(rng, shape):
    """Standard normal queries, keys and values, with a convolution where n = m"""
    options = {}
    if shape.axes["n"] == shape.axes["m"]:
        options["convolution"] = 0.5 * rng.standard_normal((*shape.batch, 5))
    return Case(inputs.attention(rng, shape), options)


@attention.regime
def masked_keys_and_queries(rng, shape):
    """Random masks over keys and over queries, and a scale"""
    options = {
        "mask": rng.random(shape.mask) < 0.7,
        "query_mask": rng.random(shape.query_mask) < 0.7,
        "scale": rng.uniform(0.2, 1.0, shape.scale),
    }
    return Case(inputs.attention(rng, shape), options)


@attention.regime
def exact_inverse(rng, shape):
    """Two halves of opposite queries and keys, and the exact inverse"""
    q, k, v = inputs.attention(rng, shape, 0.2)
    side = [np.where(np.arange(x.shape[-2]) < x.shape[-2] // 2, 1.0, -1.0)[:, None] for x in (q, k)]
    return Case((q + side[0], k + side[1], v), {"inverse": "exact", "landmarks": 2})


@attention.regime(adversarial=True)
def hidden_segment(rng, shape):
    """The last third of the keys, and of the queries, is hidden in some heads"""
    options = {}
    for name, size in (("mask", shape.axes["m"]), ("query_mask", shape.axes["n"])):
        keep = rng.random(shape.batch)[..., None] < 0.5
        options[name] = keep | (np.arange(size) < size - size // 3)
    return Case(inputs.attention(rng, shape), options)


@attention.regime(adversarial=True)
def sharp(rng, shape):
    """Logits of several units"""
    return Case(inputs.attention(rng, shape, 2.0))


@attention.regime(adversarial=True)
def heads_of_different_size(rng, shape):
    """Heads whose logits differ by a factor of 8"""
    q, k, v = inputs.attention(rng, shape)
    size = 2.0 ** rng.integers(-2, 2, shape.batch)[..., None, None]
    return Case((size * q, k, v))


@attention.regime(adversarial=True, advisory=True)
def nan_under_masks(rng, shape):
    """Keys, values and queries that are masked hold NaN"""
    q, k, v = inputs.attention(rng, shape)
    keys = np.arange(shape.axes["m"]) % 4 != 1
    queries = np.arange(shape.axes["n"]) % 5 != 2
    k[..., ~keys, :] = v[..., ~keys, :] = np.nan
    q[..., ~queries, :] = np.nan
    masks = {
        "mask": np.broadcast_to(keys, shape.mask).copy(),
        "query_mask": np.broadcast_to(queries, shape.query_mask).copy(),
    }
    return Case((q, k, v), masks)


# --------------------------------------------------------------------------------- laws: means


@means.law
def constant_sequence(f, case):
    """A constant sequence has that mean, but for padding and segments without a position"""
    if case.options.get("segments", "uneven").endswith("padded"):
        return
    (x,) = case.arrays
    found = case.with_arrays(namespace(x).full(x.shape, 2.5, dtype=x.dtype)).call(f)
    yield Claim(found * (found - 2.5), 0.0 * found, 6.25)


@means.law
def linear(f, case):
    """The means are linear in the sequence"""
    (x,) = case.arrays
    other = namespace(x).flip(x, axis=-1)
    left = case.with_arrays(x - 0.5 * other).call(f)
    right = case.call(f) - 0.5 * case.with_arrays(other).call(f)
    yield Claim(left, right, 4.0 * largest(x))


@means.law
def total(f, case):
    """One landmark is the mean of everything that is kept"""
    (x,) = case.arrays
    xp = namespace(x)
    mask = case.options.get("mask")
    keep = xp.ones(x.shape[:-1], dtype=bool) if mask is None else mask
    kept = xp.where(keep[..., None], x, 0.0).sum(axis=-2, keepdims=True)
    count = xp.maximum(keep.sum(axis=-1), 1).astype(x.dtype)
    one = case.with_options(landmarks=1).call(f)
    yield Claim(one, kept / count[..., None, None], 8.0 * largest(x))


@means.law
def all_positions(f, case):
    """As many landmarks as positions are the positions"""
    (x,) = case.arrays
    mask = case.options.get("mask")
    kept = x if mask is None else namespace(x).where(mask[..., None], x, 0.0)
    found = case.with_options(landmarks=x.shape[-2]).call(f)
    yield Claim(found, kept, largest(x))


# ----------------------------------------------------------------------------- laws: attention


def _size(case) -> float:
    q, k, v = case.arrays
    condition = 64.0 if case.options.get("inverse") == "exact" else 16.0
    logit = largest(q) * largest(k) * q.shape[-1] ** 0.5
    return (
        condition * largest(v) * (1.0 + logit) * (1.0 + largest(case.options.get("convolution", 0)))
    )


attention.law(linear_in(2, "values", _size))


@attention.law
def one_landmark(f, case):
    """One landmark: every output is the attention of the mean query, whatever the inverse"""
    if case.options.get("convolution") is not None:
        return
    q, k, v = case.arrays
    xp = namespace(q)
    mask, query_mask = case.options.get("mask"), case.options.get("query_mask")
    mean = segment_means(q, landmarks=1, mask=query_mask)
    options = {"scale": case.options.get("scale")}
    if mask is not None:
        options["mask"] = mask[..., None, :]
    output = case.with_options(landmarks=1, segments="uneven").call(f)
    one = softmax_attention(mean, k, v, **options)
    expected = xp.broadcast_to(one, output.shape)
    if query_mask is not None:
        expected = xp.where(query_mask[..., None], expected, 0.0)
    if case.options.get("inverse") == "none" or mask is None and query_mask is None:
        yield Claim(output, expected, _size(case))


@attention.law
def key_shift(f, case):
    """One vector added to every key changes nothing, but where segments are padded"""
    if case.options.get("segments", "uneven").endswith("padded"):
        return
    q, k, v = case.arrays
    shifted = case.with_arrays(q, k + 0.5, v)
    yield Claim(shifted.call(f), case.call(f), 4.0 * _size(shifted))


@attention.law
def order_of_features(f, case):
    """Reordering the features of queries and keys changes nothing"""
    q, k, v = case.arrays
    xp = namespace(q)
    turned = case.with_arrays(*(xp.flip(x, axis=-1) for x in (q, k)), v)
    yield Claim(turned.call(f), case.call(f), 4.0 * _size(case))


# ------------------------------------------------------------------------------- closed forms


@means.closed_form
def whole_numbers(rng, shape):
    """Positions 0, 1, 2, ...: every mean of a segment is that of its ends"""
    n = shape.axes["n"]
    x = np.broadcast_to(np.arange(n, dtype=float)[:, None], shape.x).copy()
    short, rest = divmod(n, 3)
    stops = np.cumsum([short] * (3 - rest) + [short + 1] * rest)
    starts = stops - np.diff(np.concatenate([[0], stops]))
    answer = np.broadcast_to(((starts + stops - 1) / 2)[:, None], (*shape.batch, 3, x.shape[-1]))
    return Case((x,)), answer


@means.closed_form
def ones_with_padding(rng, shape):
    """A sequence of ones: padding lowers the mean of the last, or the first, segment"""
    n = shape.axes["n"]
    size = -(-n // 3)
    filled = np.clip(n - size * np.arange(3), 0, size) / size
    name = str(rng.choice(("zero_padded", "front_padded")))
    answer = filled if name == "zero_padded" else filled[::-1]
    answer = np.broadcast_to(answer[:, None], (*shape.batch, 3, shape.axes["d"]))
    return Case((np.ones(shape.x),), {"segments": name}), answer


@attention.closed_form
def equal_keys(rng, shape):
    """Equal keys average the values, with nothing between the softmaxes"""
    q, k, v = inputs.attention(rng, shape)
    k = np.broadcast_to(k[..., :1, :], k.shape).copy()
    answer = np.broadcast_to(
        v.mean(axis=-2, keepdims=True), (*shape.batch, q.shape[-2], v.shape[-1])
    )
    return Case((q, k, v), {"inverse": "none"}), answer


@attention.closed_form
def step_sequences(rng, shape):
    """Queries and keys of +-1 in two halves: the exact inverse gives softmax attention itself"""
    n, m = shape.axes["n"], shape.axes["m"]
    sides = [np.where(np.arange(s) < s // 2, 1.0, -1.0)[:, None] for s in (n, m)]
    q, k = (np.broadcast_to(x, s).copy() for x, s in zip(sides, (shape.q, shape.k), strict=True))
    v = rng.standard_normal(shape.v)
    d = shape.axes["d"]
    weights = np.exp(sides[0] * sides[1].T * d**0.5)
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return Case((q, k, v), {"inverse": "exact", "landmarks": 2}), weights @ v
