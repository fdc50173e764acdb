"""Evidence for merging partial attention; chunked forms share that of softmax attention."""

from __future__ import annotations

import numpy as np

from refimpl.attention.online import merge_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes

merge = Evidence(merge_attention, sizes={"p": Sizes(1, 1, 8)}, empty=("n", "v"))


@merge.regime
def normal(rng, shape):
    """Normal outputs, log-sum-exps of order 1"""
    return Case((rng.standard_normal(shape.outputs), rng.standard_normal(shape.logsumexps)))


@merge.regime(adversarial=True)
def empty_parts(rng, shape):
    """Parts without keys: -inf and zero; some rows are empty in every part"""
    outputs, logsumexps = normal(rng, shape).arrays
    hidden = rng.random(logsumexps.shape) < 0.4
    hidden[..., ::3] = True
    return Case((np.where(hidden[..., None], 0.0, outputs), np.where(hidden, -np.inf, logsumexps)))


@merge.regime(adversarial=True)
def nan_in_empty_parts(rng, shape):
    """The output of a part without keys is NaN (0/0)"""
    outputs, logsumexps = empty_parts(rng, shape).arrays
    return Case((np.where(logsumexps[..., None] == -np.inf, np.nan, outputs), logsumexps))


@merge.regime(adversarial=True)
def huge(rng, shape):
    """Log-sum-exps of several hundreds: their exponentials overflow"""
    outputs, logsumexps = normal(rng, shape).arrays
    return Case((outputs, 300.0 * logsumexps + 500.0))


@merge.regime
def close(rng, shape):
    """Parts of about equal weight"""
    outputs, logsumexps = normal(rng, shape).arrays
    return Case((outputs + 3.0, 0.01 * logsumexps))


def _size(case) -> float:
    outputs, logsumexps = (np.asarray(x, dtype=float) for x in case.map(to_host).arrays)
    finite = np.where(np.isfinite(logsumexps), np.abs(logsumexps), 0.0).max(initial=1.0)
    return float(finite * np.nan_to_num(np.abs(outputs)).max(initial=1.0))


@merge.law
def order_does_not_matter(f, case):
    """The merge is commutative"""
    outputs, logsumexps = case.arrays
    left = f(outputs, logsumexps)
    right = f(outputs[..., ::-1, :, :], logsumexps[..., ::-1, :])
    for a, b in zip(left, right, strict=True):
        yield Claim(a, b, _size(case))


@merge.law
def merging_twice(f, case):
    """The merge is associative: a merged prefix stands for its parts"""
    outputs, logsumexps = case.arrays
    if outputs.shape[-3] < 2:
        return
    xp = namespace(outputs)
    head, head_logsumexp = f(outputs[..., :-1, :, :], logsumexps[..., :-1, :])
    again = f(
        xp.stack([head, outputs[..., -1, :, :]], axis=-3),
        xp.stack([head_logsumexp, logsumexps[..., -1, :]], axis=-2),
    )
    for a, b in zip(f(outputs, logsumexps), again, strict=True):
        yield Claim(a, b, _size(case))


@merge.law
def an_empty_part_changes_nothing(f, case):
    """(0, -inf) is the identity"""
    outputs, logsumexps = case.arrays
    xp = namespace(outputs)
    more = f(
        xp.concatenate([outputs, xp.zeros_like(outputs[..., :1, :, :])], axis=-3),
        xp.concatenate([logsumexps, xp.full_like(logsumexps[..., :1, :], -xp.inf)], axis=-2),
    )
    for a, b in zip(f(outputs, logsumexps), more, strict=True):
        yield Claim(a, b, _size(case))


@merge.law
def what_an_empty_part_holds_is_inert(f, case):
    """A part that saw no key may hold anything, NaN too"""
    outputs, logsumexps = case.arrays
    xp = namespace(outputs)
    is_empty = (logsumexps == -xp.inf)[..., None]
    filled = (xp.where(is_empty, x, outputs).astype(outputs.dtype) for x in (xp.nan, 0.0))
    for a, b in zip(*(f(x, logsumexps) for x in filled), strict=True):
        yield Claim(a, b, 0.0)


@merge.closed_form
def a_part_with_itself(rng, shape):
    """Equal parts keep the output and add log p"""
    p = shape.axes["p"]
    outputs = np.broadcast_to(rng.standard_normal(shape.outputs)[..., :1, :, :], shape.outputs)
    logsumexps = np.broadcast_to(
        rng.standard_normal(shape.logsumexps)[..., :1, :], shape.logsumexps
    )
    answer = outputs[..., 0, :, :], logsumexps[..., 0, :] + np.log(p)
    return Case((outputs.copy(), logsumexps.copy())), answer


@merge.closed_form
def one_part_holds_all(rng, shape):
    """A part beside empty ones is returned as it is"""
    outputs = rng.standard_normal(shape.outputs)
    logsumexps = np.full(shape.logsumexps, -np.inf)
    logsumexps[..., -1, :] = rng.standard_normal(logsumexps[..., -1, :].shape)
    return Case((outputs, logsumexps)), (outputs[..., -1, :, :], logsumexps[..., -1, :])


@merge.mutant
def plain_average(outputs, logsumexps, /):
    """The parts are averaged without weights"""
    return outputs.mean(axis=-3), merge_attention(outputs, logsumexps)[1]


@merge.mutant
def not_normalised(outputs, logsumexps, /):
    """The weighted outputs are not divided by the total weight"""
    merged, logsumexp = merge_attention(outputs, logsumexps)
    return merged * np.exp(logsumexp)[..., None], logsumexp


@merge.mutant
def base_two(outputs, logsumexps, /):
    """The log-sum-exps are taken as base-2 logarithms"""
    merged, logsumexp = merge_attention(outputs, logsumexps * np.log(2.0))
    return merged, logsumexp / np.log(2.0)


@merge.mutant
def maximum_of_logsumexps(outputs, logsumexps, /):
    """The merged log-sum-exp is only the largest one"""
    return merge_attention(outputs, logsumexps)[0], logsumexps.max(axis=-2)


@merge.mutant
def weights_from_maximum(outputs, logsumexps, /):
    """The last part wins: outputs are not rescaled by their log-sum-exp"""
    return outputs[..., -1, :, :], merge_attention(outputs, logsumexps)[1]


@merge.mutant(source="https://github.com/flashinfer-ai/flashinfer/pull/4401")
def nan_from_two_empty_parts(outputs, logsumexps, /):
    """exp(-inf - -inf): rows that are empty in every part become NaN"""
    merged, logsumexp = merge_attention(outputs, logsumexps)
    return np.where(logsumexp[..., None] == -np.inf, np.nan, merged), logsumexp


@merge.mutant(source="https://github.com/Dao-AILab/flash-attention/pull/978")
def empty_is_plus_infinity(outputs, logsumexps, /):
    """The log-sum-exp of an empty row is +inf instead of -inf"""
    merged, logsumexp = merge_attention(outputs, logsumexps)
    return merged, np.where(logsumexp == -np.inf, np.inf, logsumexp)


@merge.mutant(gradient=True)
def merged_output_not_subtracted(g, outputs, logsumexps, /):
    """The gradient of the log-sum-exps lacks the term -<g, O>"""
    d_outputs, d_logsumexps = merge_attention.vjp(g, outputs, logsumexps)
    merged, _ = merge_attention(outputs, logsumexps)
    mean = (g[0] * merged).sum(axis=-1)[..., None, :]
    weights = np.where(
        np.isfinite(logsumexps),
        np.exp(logsumexps - merge_attention(outputs, logsumexps)[1][..., None, :]),
        0.0,
    )
    return d_outputs, d_logsumexps + weights * mean
