"""Evidence for TUPE, whose contents and positions are correlated apart."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.position.untied import untied_logits

untied = Evidence(
    untied_logits,
    sizes={"d": Sizes(1, 1, 8)},
    empty=("n", "m"),
    options={"scale": (0.3,)},
    combinations=({"from_first": 0.5, "to_first": -1.5},),
)


def _arrays(rng, shape):
    names = ("q", "k", "position_queries", "position_keys")
    return tuple(rng.standard_normal(getattr(shape, name)) for name in names)


@untied.regime
def normal(rng, shape):
    """Normal contents and positions"""
    return Case(_arrays(rng, shape))


@untied.regime
def with_a_bias(rng, shape):
    """A bias of relative positions, and a first token of its own"""
    options = {"bias": rng.standard_normal(shape.bias)}
    options |= {"from_first": np.array(0.75), "to_first": np.array(-1.25)}
    return Case(_arrays(rng, shape), options)


@untied.regime(adversarial=True)
def numbers_of_a_batch(rng, shape):
    """Numbers of the first token and scales that differ along the batch"""
    names = ("from_first", "to_first")
    options = {name: rng.standard_normal(getattr(shape, name)) for name in names}
    options["scale"] = rng.uniform(0.2, 1.5, shape.scale)
    return Case(_arrays(rng, shape), options)


@untied.regime(adversarial=True)
def large_positions(rng, shape):
    """Positions of a large size beside contents of a small one"""
    q, k, a, b = _arrays(rng, shape)
    return Case((q / 8, k / 8, 4 * a, 4 * b), {"bias": rng.standard_normal(shape.bias)})


# ---------------------------------------------------------------------------------------- laws


def _size(case):
    q, k, a, b = (np.abs(wide(x)).max(initial=1.0) for x in case.arrays)
    extra = sum(
        np.abs(wide(np.asarray(to_host(x)))).max(initial=0.0)
        for name, x in case.options.items()
        if x is not None and name != "scale"
    )
    return 16.0 * (case.arrays[0].shape[-1] * float(q * k + a * b) + float(extra))


def _tau(case):
    scale = case.options.get("scale")
    width = case.arrays[0].shape[-1]
    return (
        (2 * width) ** -0.5 if scale is None else wide(np.asarray(to_host(scale)))[..., None, None]
    )


@untied.law
def joined_features_are_plain_attention(f, case):
    """Without a first token: products of contents and positions joined to vectors of 2 d"""
    if case.options.get("from_first") is not None:
        return
    q, k, a, b = map(wide, case.arrays)
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in (q, k, a, b)))
    q, k, a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (q, k, a, b))
    left, right = np.concatenate([q, a], axis=-1), np.concatenate([k, b], axis=-1)
    bias = case.options.get("bias")
    expected = _tau(case) * (left @ np.swapaxes(right, -1, -2))
    expected = expected if bias is None else expected + wide(bias)
    yield Claim(case.call(f), expected, _size(case))


@untied.law
def without_positions_it_is_plain(f, case):
    """Positions of zeros leave contents, and what is added to them"""
    q, k, a, b = case.arrays
    plain = case.with_options(from_first=None, to_first=None, bias=None)
    found = plain.with_arrays(q, k, 0 * a, 0 * b).call(f)
    expected = _tau(case) * (wide(q) @ np.swapaxes(wide(k), -1, -2))
    yield Claim(found, np.broadcast_to(expected, found.shape), _size(case))


@untied.law
def contents_and_positions_are_alike(f, case):
    """Without a first token contents and positions may be exchanged"""
    q, k, a, b = case.arrays
    plain = case.with_options(from_first=None, to_first=None)
    yield Claim(plain.with_arrays(a, b, q, k).call(f), plain.call(f), _size(case))


@untied.law
def the_first_token_has_no_position(f, case):
    """With contents of zero the first row has one number, and the rest of the column another"""
    if case.options.get("from_first") is None:
        return
    q, k, a, b = case.arrays
    found = wide(case.with_arrays(0 * q, k, a, b).call(f))
    one, two = (
        wide(np.asarray(to_host(case.options[name])))[..., None]
        for name in ("from_first", "to_first")
    )
    yield Claim(found[..., :1, :], one[..., None] + 0 * found[..., :1, :], _size(case))
    yield Claim(found[..., 1:, :1], two[..., None] + 0 * found[..., 1:, :1], _size(case))


@untied.law
def other_tokens_keep_theirs(f, case):
    """The other rows and columns are as without a first token"""
    plain = case.with_options(from_first=None, to_first=None)
    yield Claim(case.call(f)[..., 1:, 1:], plain.call(f)[..., 1:, 1:], _size(case))


@untied.closed_form
def two_tokens(rng, shape):
    """Contents 1 and positions 1, 2, the first token apart: 11, 11, 21, 5"""
    one, places = np.ones((2, 1)), np.array([[1.0], [2.0]])
    options = {"scale": np.array(1.0), "from_first": np.array(10.0), "to_first": np.array(20.0)}
    return Case((one, one, places, places), options), np.array([[11.0, 11.0], [21.0, 5.0]])


@untied.closed_form
def scaled_by_two_terms(rng, shape):
    """Width 2, all ones: 4/sqrt 4 = 2"""
    one = np.ones((3, 2))
    return Case((one, one, one, one)), np.full((3, 3), 2.0)


# ------------------------------------------------------------------------------------- mutants


@untied.mutant
def scaled_by_one_term(q, *rest, scale=None, **options):
    """The scale is 1/sqrt(d), without the 2"""
    tau = q.shape[-1] ** -0.5 if scale is None else scale
    tau = tau if hasattr(tau, "shape") else namespace(q).asarray(tau)
    return untied_logits(q, *rest, scale=tau, **options)


@untied.mutant
def tied(q, k, a, b, **options):
    """Contents and positions are added first: all four terms are there"""
    return untied_logits(q + a, k + b, 0 * a, 0 * b, **options)


@untied.mutant
def numbers_exchanged(*arrays, from_first=None, to_first=None, **options):
    """The numbers of the first row and of the first column are exchanged"""
    return untied_logits(*arrays, from_first=to_first, to_first=from_first, **options)


@untied.mutant
def corner_of_the_column(*arrays, from_first=None, to_first=None, **options):
    """The corner has the number of the first column"""
    value = untied_logits(*arrays, from_first=from_first, to_first=to_first, **options)
    if from_first is None:
        return value
    xp = namespace(value)
    row, column = (xp.arange(size)[:, None] == 0 for size in value.shape[-2:])
    return value + xp.where(row & column[:, 0], (to_first - from_first)[..., None, None], 0)


wrong(untied, "The first token keeps its position", options={"from_first": None, "to_first": None})


@untied.mutant
def bias_scaled(*arrays, bias=None, scale=None, **options):
    """The bias is scaled like the products"""
    q = arrays[0]
    tau = (2 * q.shape[-1]) ** -0.5 if scale is None else scale
    tau = tau[..., None, None] if hasattr(tau, "shape") else tau
    return untied_logits(*arrays, bias=None if bias is None else tau * bias, scale=scale, **options)


@untied.mutant
def bias_added_to_the_first_token(*arrays, bias=None, **options):
    """The bias is added to the first token too"""
    value = untied_logits(*arrays, **options)
    return value if bias is None else value + bias


@untied.mutant(gradient=True)
def first_token_moves_positions(g, *arrays, **options):
    """Positions get the cotangents of the first row and column too"""
    found = untied_logits.vjp(g, *arrays, **options)
    plain = {name: x for name, x in options.items() if name not in ("from_first", "to_first")}
    other = untied_logits.vjp(g, *arrays, **plain)
    return (*found[:2], *other[2:4], *found[4:])


wrong(
    untied,
    "The scale is missing in the gradients of contents",
    gradient={"q": lambda x: 2 * x, "k": lambda x: 2 * x},
)
