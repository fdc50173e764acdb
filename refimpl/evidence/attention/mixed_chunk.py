"""Evidence for the mixed chunk attention of FLASH."""

from __future__ import annotations

import numpy as np

from refimpl.attention.gated_unit import squared_relu_attention
from refimpl.attention.mixed_chunk import mixed_chunk_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.laws import linear_in
from refimpl.evidence.mistakes import wrong

_SMALL = Sizes(1, 1, 6)
_DIVISORS = ("length_and_width", "length_squared")
_LINEAR_DIVISORS = ("seen", "length", "chunk")

mixed = Evidence(
    mixed_chunk_attention,
    sizes={"n": Sizes(1, 1, 17), "s": _SMALL, "v": _SMALL},
    empty=("n",),
    fixed={"chunk": 3, "divisor": "length_and_width", "linear_divisor": "seen", "causal": True},
    options={
        "chunk": (1, 4),
    },
    ties=({"v": "s"},),
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape, size=1.0):
    queries_and_keys = (shape.q, shape.k, shape.q_linear, shape.k_linear)
    return *(size * rng.standard_normal(s) for s in queries_and_keys), rng.standard_normal(shape.v)


@mixed.regime
def normal(rng, shape):
    """Standard normal queries, keys and values"""
    return Case(_arrays(rng, shape))


@mixed.regime
def any_options(rng, shape):
    """Any chunk, divisors and causality"""
    options = {
        "chunk": int(rng.integers(1, 7)),
        "divisor": str(rng.choice(_DIVISORS)),
        "linear_divisor": str(rng.choice(_LINEAR_DIVISORS)),
        "causal": bool(rng.random() < 0.6),
    }
    return Case(_arrays(rng, shape), options)


@mixed.regime(adversarial=True)
def ramp(rng, shape):
    """Values that grow along the sequence, so that a wrong position shows"""
    *rest, v = _arrays(rng, shape)
    return Case((*rest, v + np.arange(shape.axes["n"])[:, None]), {"causal": rng.random() < 0.5})


@mixed.regime(adversarial=True)
def large(rng, shape):
    """Products of several tens, which no softmax divides"""
    return Case(_arrays(rng, shape, 3.0), {"causal": rng.random() < 0.5})


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    arrays = [np.asarray(to_host(x), dtype=float) for x in case.arrays]
    q, k, q_linear, k_linear, v = (np.abs(x).max(initial=1.0) for x in arrays)
    n, s = arrays[0].shape[-2:]
    return 8.0 * v * max(n, 1) * ((1.0 + s * q * k) ** 2 + s * q_linear * k_linear)


mixed.law(linear_in(-1, "values", _size))


@mixed.law
def two_parts(f, case):
    """It is squared-relu attention with a mask of chunks, plus products with a mask of others"""
    q, k, q_linear, k_linear, v = case.arrays
    xp, n, options = namespace(q), q.shape[-2], case.options
    chunk, causal = options["chunk"], options["causal"]
    of = xp.arange(n) // chunk
    mask = of[:, None] == of[None, :]
    near = squared_relu_attention(
        q, k, v, divisor=options["divisor"], mask=mask, causal="top_left" if causal else None
    )
    power = 1 if options["divisor"] == "length_and_width" else 2
    products = (q_linear @ k_linear.swapaxes(-1, -2)) / max(n, 1)
    if causal:
        earlier = of[:, None] > of[None, :]
        below = {
            "seen": xp.maximum(earlier.sum(axis=-1, keepdims=True), 1),
            "length": max(n, 1),
            "chunk": chunk,
        }
        factor = earlier * max(n, 1) / below[options["linear_divisor"]]
        products = products * factor.astype(q.dtype)
    yield Claim(case.call(f), near * (n / chunk) ** power + products @ v, _size(case))


@mixed.law
def nothing_from_later_positions(f, case):
    """If causal, the first half of the outputs is that of the first half of the sequence"""
    if not case.options["causal"] or case.options["linear_divisor"] == "length":
        return
    half = case.arrays[0].shape[-2] // 2
    first = case.with_arrays(*(x[..., :half, :] for x in case.arrays)).call(f)
    yield Claim(case.call(f)[..., :half, :], first, _size(case))


# -------------------------------------------------------------------------------- closed forms


@mixed.closed_form
def ones(rng, shape):
    """Queries and keys of one: s/c times the values of the chunk, s/n times all values"""
    v = rng.standard_normal(shape.v)
    n, s = shape.axes["n"], shape.axes["s"]
    arrays = *(np.ones(x) for x in (shape.q, shape.k, shape.q_linear, shape.k_linear)), v
    of = np.arange(n) // 3
    near = (of[:, None] == of).astype(float) @ v
    answer = s / 3 * near + s / max(n, 1) * v.sum(axis=-2, keepdims=True)
    answer = np.broadcast_to(answer, (*shape.batch, n, v.shape[-1]))
    return Case(arrays, {"chunk": 3, "causal": False}), answer


@mixed.closed_form
def a_chunk_for_each(rng, shape):
    """Chunks of one position, all ones, causal: s times (own value + mean of the earlier ones)"""
    v = rng.standard_normal(shape.v)
    n, s = shape.axes["n"], shape.axes["s"]
    arrays = *(np.ones(x) for x in (shape.q, shape.k, shape.q_linear, shape.k_linear)), v
    earlier = np.cumsum(v, axis=-2) - v
    answer = s * (v + earlier / np.maximum(np.arange(n), 1)[:, None])
    return Case(arrays, {"chunk": 1}), np.broadcast_to(answer, (*shape.batch, *v.shape[-2:]))


# ------------------------------------------------------------------------------------- mutants


def _parts(q, k, q_linear, k_linear, v, options):
    """What chunks and what the rest of the sequence contribute."""
    nothing = 0.0 * q
    near = mixed_chunk_attention(q, k, nothing, nothing, v, **options)
    return near, mixed_chunk_attention(nothing, nothing, q_linear, k_linear, v, **options)


wrong(
    mixed,
    "the divisor within chunks is the other one",
    options={"divisor": lambda asked: _DIVISORS[_DIVISORS[0] == asked]},
)
wrong(
    mixed,
    "between chunks, the divisor is that of linear_divisor='length'",
    options={"linear_divisor": lambda asked: "length" if asked != "length" else "chunk"},
)
wrong(
    mixed,
    "between chunks, the divisor is that of linear_divisor='seen'",
    options={"linear_divisor": lambda asked: "seen" if asked != "seen" else "chunk"},
)


@mixed.mutant
def own_chunk_twice(q, k, q_linear, k_linear, v, /, **options):
    """the linear part includes the own chunk, and so later positions"""
    whole = mixed_chunk_attention(q, k, q_linear, k_linear, v, **options)
    if not options["causal"]:
        return whole
    n, chunk = q.shape[-2], options["chunk"]
    of = np.arange(n) // chunk
    below = {"seen": np.maximum(of * chunk, 1), "length": max(n, 1), "chunk": chunk}
    own = (of[:, None] == of) / np.reshape(below[options["linear_divisor"]], (-1, 1))
    return whole + (own * (q_linear @ k_linear.swapaxes(-1, -2))) @ v


@mixed.mutant
def own_chunk_left_out(q, k, q_linear, k_linear, v, /, **options):
    """without causality, the linear part leaves the own chunk out"""
    whole = mixed_chunk_attention(q, k, q_linear, k_linear, v, **options)
    if options["causal"]:
        return whole
    of = np.arange(q.shape[-2]) // options["chunk"]
    own = (of[:, None] == of) / max(q.shape[-2], 1)
    return whole - (own * (q_linear @ k_linear.swapaxes(-1, -2))) @ v


@mixed.mutant
def chunks_not_causal(q, k, q_linear, k_linear, v, /, **options):
    """within a chunk, positions see later ones"""
    near, _ = _parts(q, k, q_linear, k_linear, v, options | {"causal": False})
    return near + _parts(q, k, q_linear, k_linear, v, options)[1]


@mixed.mutant
def between_chunks_not_causal(q, k, q_linear, k_linear, v, /, **options):
    """between chunks, positions see later ones"""
    near, _ = _parts(q, k, q_linear, k_linear, v, options)
    return near + _parts(q, k, q_linear, k_linear, v, options | {"causal": False})[1]


@mixed.mutant
def chunks_alone(q, k, q_linear, k_linear, v, /, **options):
    """there is no linear part"""
    return _parts(q, k, q_linear, k_linear, v, options)[0]


@mixed.mutant
def linear_part_alone(q, k, q_linear, k_linear, v, /, **options):
    """there is no part within chunks"""
    return _parts(q, k, q_linear, k_linear, v, options)[1]


@mixed.mutant
def queries_exchanged(q, k, q_linear, k_linear, v, /, **options):
    """the queries within chunks and between them are exchanged"""
    return mixed_chunk_attention(q_linear, k, q, k_linear, v, **options)


wrong(
    mixed,
    "the derivative of the square lacks its factor 2",
    gradient={"q": lambda x: x / 2, "k": lambda x: x / 2},
)


@mixed.mutant(gradient=True)
def gradient_of_values_within_chunks(g, q, k, q_linear, k_linear, v, /, **options):
    """the values get the gradient of their own chunk alone"""
    found = mixed_chunk_attention.vjp(g, q, k, q_linear, k_linear, v, **options)
    near = mixed_chunk_attention.vjp(g, q, k, 0.0 * q_linear, k_linear, v, **options)
    return *found[:4], near[4]
