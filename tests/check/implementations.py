"""Implementations written in other people's ways, right and wrong: what the checker is judged by.

The right ones differ from the library in algorithm and rounding; each wrong one has a bug that
public code had, and the words that its diagnosis must contain.
"""

from __future__ import annotations

import numpy as np

RIGHT: dict[str, list] = {}
WRONG: dict[str, list] = {}


def right(formula, **options):
    def register(f):
        RIGHT.setdefault(formula, []).append((f, options))
        return f

    return register


def wrong(formula, *words, **options):
    def register(f):
        WRONG.setdefault(formula, []).append((f, words, options))
        return f

    return register


def _wide(*arrays):
    """Accumulate as tensor cores do: in float32, or in float64 for float64."""
    return [
        np.asarray(x, dtype=np.result_type(np.float32, x) if x.dtype.kind == "f" else np.float32)
        for x in arrays
    ]


def _softmax(scores):
    peak = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    terms = np.exp(scores - np.where(np.isfinite(peak), peak, 0.0).astype(scores.dtype))
    total = terms.sum(axis=-1, keepdims=True)
    return np.where(total > 0, terms / np.where(total > 0, total, 1), 0).astype(scores.dtype)


def _scores(q, k, scale=None):
    return (q @ k.swapaxes(-1, -2)) * np.asarray(
        q.shape[-1] ** -0.5 if scale is None else scale, q.dtype
    )


# --------------------------------------------------------------------------- attention, right


@right("softmax_attention")
def in_wide_precision(q, k, v, mask=None, bias=None, scale=None):
    dtype = v.dtype
    q, k, v = _wide(q, k, v)
    scores = _scores(q, k, None if scale is None else np.asarray(scale, np.float64))
    if bias is not None:
        scores = scores + bias.astype(scores.dtype)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf).astype(scores.dtype)
    return (_softmax(scores) @ v).astype(dtype)


@right("softmax_attention")
def weights_rounded_before_the_values(q, k, v, causal=None):
    dtype = v.dtype
    wide = _scores(*_wide(q, k))
    if causal:
        offset = k.shape[-2] - q.shape[-2] if causal == "bottom_right" else 0
        wide = np.where(np.tri(q.shape[-2], k.shape[-2], offset, dtype=bool), wide, -np.inf)
    weights = _softmax(wide).astype(dtype)
    return np.matmul(*_wide(weights, v)).astype(dtype)


@right("softmax_attention")
def scale_split_on_both(q, k, v):
    root = np.float32(q.shape[-1] ** -0.25) if q.dtype != np.float64 else q.shape[-1] ** -0.25
    dtype = v.dtype
    q, k, v = _wide(q, k, v)
    return (_softmax((q * root) @ (k * root).swapaxes(-1, -2)) @ v).astype(dtype)


@right("softmax_attention")
def base_two_exponentials(q, k, v, sink=None, softcap=None):
    dtype = v.dtype
    q, k, v = _wide(q, k, v)
    scores = _scores(q, k)
    if softcap is not None:
        scores = (softcap * np.tanh(scores / softcap)).astype(scores.dtype)
    scores = scores * np.asarray(np.log2(np.e), scores.dtype)
    peak = scores.max(axis=-1, keepdims=True)
    extra = 0.0
    if sink is not None:
        height = (np.asarray(sink, scores.dtype) * np.log2(np.e)).astype(scores.dtype)[
            ..., None, None
        ]
        peak = np.maximum(peak, height)
        extra = np.exp2(height - peak)
    terms = np.exp2(scores - peak)
    return ((terms / (terms.sum(axis=-1, keepdims=True) + extra)).astype(v.dtype) @ v).astype(dtype)


@right("softmax_attention")
def two_passes_over_halves(q, k, v):
    """Split keys, merged by their log-sum-exps."""
    dtype = v.dtype
    q, k, v = _wide(q, k, v)
    half = max(k.shape[-2] // 2, 1)
    outputs, sums = [], []
    for part in (slice(0, half), slice(half, None)):
        if k[..., part, :].shape[-2] == 0:
            continue
        scores = _scores(q, k[..., part, :])
        peak = scores.max(axis=-1, keepdims=True)
        terms = np.exp(scores - peak)
        total = terms.sum(axis=-1, keepdims=True)
        outputs.append(terms / total @ v[..., part, :])
        sums.append(peak + np.log(total))
    whole = np.logaddexp.reduce(sums)
    merged = sum(np.exp(s - whole) * o for s, o in zip(sums, outputs, strict=True))
    return merged.astype(dtype)


@right("attention_logsumexp")
def logsumexp_by_scipys_trick(q, k, mask=None):
    scores = _scores(*_wide(q, k))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    peak = scores.max(axis=-1, initial=-np.inf)
    finite = np.where(np.isfinite(peak), peak, 0.0)
    return np.log(np.exp(scores - finite[..., None]).sum(axis=-1)) + finite


# --------------------------------------------------------------------------- attention, wrong


@wrong("softmax_attention", "1/sqrt(d) is missing")
def no_scale(q, k, v):
    return _softmax(q @ k.swapaxes(-1, -2)) @ v


@wrong("softmax_attention", "divided by d")
def scaled_by_d(q, k, v):
    return _softmax(q @ k.swapaxes(-1, -2) / np.asarray(q.shape[-1], q.dtype)) @ v


@wrong("softmax_attention", "value dimension")
def scaled_by_value_dimension(q, k, v):
    return _softmax(_scores(q, k, v.shape[-1] ** -0.5)) @ v


@wrong("softmax_attention", "soft cap is applied after the mask")
def cap_after_mask(q, k, v, mask=None, softcap=None):
    scores = _scores(q, k)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    return _softmax(scores.astype(q.dtype)) @ v


@wrong("softmax_attention", "opposite polarity")
def mask_drops(q, k, v, mask=None):
    scores = _scores(q, k)
    if mask is not None:
        scores = np.where(mask, -np.inf, scores).astype(q.dtype)
    return _softmax(scores) @ v


@wrong("softmax_attention", "added as 0/1")
def mask_is_added(q, k, v, mask=None):
    return _softmax(_scores(q, k) + (0 if mask is None else mask.astype(q.dtype))) @ v


@wrong("softmax_attention", "mask is ignored")
def forgets_the_mask(q, k, v, mask=None):
    return _softmax(_scores(q, k)) @ v


@wrong("softmax_attention", "other corner")
def causal_corner_swapped(q, k, v, causal=None):
    scores = _scores(q, k)
    if causal:
        offset = 0 if causal == "bottom_right" else k.shape[-2] - q.shape[-2]
        seen = np.tri(q.shape[-2], k.shape[-2], offset, dtype=bool)
        scores = np.where(seen, scores, -np.inf).astype(q.dtype)
    return _softmax(scores) @ v


@wrong("softmax_attention", "bottom_right", causal="top_left")
def causal_at_bottom_right(q, k, v):
    seen = np.tri(q.shape[-2], k.shape[-2], k.shape[-2] - q.shape[-2], dtype=bool)
    return _softmax(np.where(seen, _scores(q, k), -np.inf).astype(q.dtype)) @ v


@wrong("softmax_attention", "hides the diagonal", causal="top_left")
def causal_without_the_diagonal(q, k, v):
    seen = np.tri(q.shape[-2], k.shape[-2], -1, dtype=bool)
    return _softmax(np.where(seen, _scores(q, k), -np.inf).astype(q.dtype)) @ v


@wrong("softmax_attention", "empty is 'nan'")
def nan_in_empty_rows(q, k, v, mask=None):
    scores = _scores(q, k)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    terms = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (terms / terms.sum(axis=-1, keepdims=True)).astype(q.dtype) @ v


@wrong("softmax_attention", "empty is 'mean'")
def finite_sentinel(q, k, v, mask=None):
    scores = _scores(q, k)
    if mask is not None:
        scores = np.where(mask, scores, np.finfo(q.dtype).min / 2).astype(q.dtype)
    return _softmax(scores) @ v


@wrong("softmax_attention", "counts the key at the query's own position")
def window_off_by_one(q, k, v, window=None, offset=None):
    scores = _scores(q, k)
    i, j = np.arange(q.shape[-2])[:, None] + (offset or 0), np.arange(k.shape[-2])
    if window is not None:
        left, right_ = (10**6 if w is None else w for w in window)
        seen = (j > i - max(left, 1)) & (j <= i + right_)
        scores = np.where(seen, scores, -np.inf).astype(q.dtype)
    return _softmax(scores) @ v


@wrong("softmax_attention", "sink is ignored")
def forgets_the_sink(q, k, v, sink=None):
    return _softmax(_scores(q, k)) @ v


@wrong("softmax_attention", "over the queries")
def softmax_over_the_wrong_axis(q, k, v):
    return _softmax(_scores(q, k).swapaxes(-1, -2)).swapaxes(-1, -2) @ v


@wrong("softmax_attention", "maximum is not subtracted")
def overflows(q, k, v):
    terms = np.exp(_scores(q, k))
    return (terms / terms.sum(axis=-1, keepdims=True)) @ v


@wrong("attention_logsumexp", "in bits")
def logsumexp_in_bits(q, k):
    return logsumexp_by_scipys_trick(q, k) / np.log(2.0)


@wrong("attention_logsumexp", "+inf instead of -inf")
def plus_infinity_when_empty(q, k, mask=None):
    found = logsumexp_by_scipys_trick(q, k, mask)
    return np.where(found == -np.inf, np.inf, found)


# ------------------------------------------------------------------------------------- rotary


def _angles(positions, dim, base):
    wide = np.float64
    return positions[..., None].astype(wide) * base ** (-np.arange(0, dim, 2, dtype=wide) / dim)


@right("rotary_embedding")
def rotate_half_and_interleaved(x, positions, pairing="interleaved", base=10000.0):
    angles = _angles(positions, x.shape[-1], base)
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    y = np.empty_like(x)
    if pairing == "half":
        h = x.shape[-1] // 2
        a, b = x[..., :h], x[..., h:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    a, b = x[..., 0::2], x[..., 1::2]
    y[..., 0::2], y[..., 1::2] = a * cos - b * sin, a * sin + b * cos
    return y


@right("rotary_embedding")
def as_complex_numbers(x, positions):
    turns = np.exp(1j * _angles(positions, x.shape[-1], 1e4))
    wide = x.astype(np.float64)
    z = (wide[..., 0::2] + 1j * wide[..., 1::2]) * turns
    return np.stack([z.real, z.imag], axis=-1).reshape(x.shape).astype(x.dtype)


@right("rotary_embedding", pairing="half")
def hugging_face_style(x, positions):
    single = np.float64 if x.dtype == np.float64 else np.float32
    frequencies = (1.0 / 10000.0 ** (np.arange(0, x.shape[-1], 2) / x.shape[-1])).astype(single)
    angles = positions[..., None].astype(single) * frequencies
    angles = np.concatenate([angles, angles], axis=-1)
    h = x.shape[-1] // 2
    turned = np.concatenate([-x[..., h:], x[..., :h]], axis=-1)
    return x * np.cos(angles).astype(x.dtype) + turned * np.sin(angles).astype(x.dtype)


@wrong("rotary_embedding", "pairing is 'half'")
def halves_instead_of_neighbours(x, positions):
    return rotate_half_and_interleaved(x, positions, "half")


@wrong("rotary_embedding", "sign")
def sine_has_the_wrong_sign(x, positions):
    return rotate_half_and_interleaved(x, -positions)


@wrong("rotary_embedding", "1")
def positions_from_one(x, positions):
    return rotate_half_and_interleaved(x, positions + 1)


@wrong("rotary_embedding", "bfloat16")
def positions_in_bfloat16(x, positions):
    from refimpl.numerics import round_to

    return rotate_half_and_interleaved(x, round_to(positions.astype(np.float64), "bfloat16"))


@wrong("rotary_embedding", "-i/r instead of -2i/r")
def exponent_halved(x, positions):
    angles = positions[..., None] * 1e4 ** (-np.arange(x.shape[-1] // 2) / x.shape[-1])
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    a, b = x[..., 0::2], x[..., 1::2]
    return np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)


# ----------------------------------------------------------------------------------- Gaussian


def _solve(a, b):
    return np.linalg.solve(a, b[..., None])[..., 0]


def _logdet(a):
    return np.linalg.slogdet(a)[1]


def _narrow(f):
    """Half precision in, float32 inside, half precision out, as linear algebra libraries do."""

    def narrowed(*arrays):
        dtype = np.asarray(arrays[0]).dtype
        return np.asarray(f(*_wide(*arrays))).astype(dtype)

    narrowed.__name__ = f.__name__
    return narrowed


@right("gaussian_kl")
@_narrow
def kl_by_solve_and_slogdet(mp, sp, mq, sq):
    d = mq - mp
    trace = np.trace(np.linalg.solve(sq, sp), axis1=-2, axis2=-1)
    return 0.5 * (trace + (d * _solve(sq, d)).sum(-1) - d.shape[-1] + _logdet(sq) - _logdet(sp))


@right("gaussian_kl")
@_narrow
def kl_by_inverse(mp, sp, mq, sq):
    precision = np.linalg.inv(sq)
    d = mq - mp
    quadratic = np.einsum("...i,...ij,...j->...", d, precision, d)
    trace = np.einsum("...ij,...ji->...", precision, sp)
    return (trace + quadratic - mp.shape[-1] + _logdet(sq) - _logdet(sp)) / 2


@right("gaussian_kl")
@_narrow
def kl_by_cholesky(mp, sp, mq, sq):
    lp, lq = np.linalg.cholesky(sp), np.linalg.cholesky(sq)
    m, z = np.linalg.solve(lq, lp), _solve(lq, mp - mq)
    half = np.log(np.diagonal(lq, axis1=-2, axis2=-1) / np.diagonal(lp, axis1=-2, axis2=-1)).sum(-1)
    return half + 0.5 * ((m**2).sum((-1, -2)) + (z**2).sum(-1) - mp.shape[-1])


@wrong("gaussian_kl", "swapped")
def kl_reversed(mp, sp, mq, sq):
    return kl_by_solve_and_slogdet(mq, sq, mp, sp)


@wrong("gaussian_kl", "2 times")
def kl_doubled(mp, sp, mq, sq):
    return 2 * kl_by_solve_and_slogdet(mp, sp, mq, sq)


@wrong("gaussian_kl", "d")
def kl_without_dimension(mp, sp, mq, sq):
    return kl_by_solve_and_slogdet(mp, sp, mq, sq) + mp.shape[-1] / 2


@wrong("gaussian_kl", "log")
def kl_wrong_sign_of_logdet(mp, sp, mq, sq):
    return kl_by_solve_and_slogdet(mp, sp, mq, sq) + _logdet(sp) - _logdet(sq)


@wrong("gaussian_kl", "standard deviation")
def kl_of_standard_deviations(mp, sp, mq, sq):
    return kl_by_solve_and_slogdet(mp, sp @ sp, mq, sq @ sq)


@right("gaussian_log_density")
@_narrow
def log_density_by_solve(x, mean, cov):
    d = x - mean
    n = d.shape[-1]
    return -0.5 * ((d * _solve(cov, d)).sum(-1) + _logdet(cov) + n * np.log(2 * np.pi))


@wrong("gaussian_log_density", "2 pi")
def log_density_without_constant(x, mean, cov):
    return log_density_by_solve(x, mean, cov) + 0.5 * x.shape[-1] * np.log(2 * np.pi)


@wrong("gaussian_log_density", "log")
def density_itself(x, mean, cov):
    return np.exp(log_density_by_solve(x, mean, cov))


@right("gaussian_entropy")
@_narrow
def entropy_by_slogdet(cov):
    return 0.5 * (cov.shape[-1] * (1 + np.log(2 * np.pi)) + _logdet(cov))


@wrong("gaussian_entropy", "base 2")
def entropy_in_bits(cov):
    return entropy_by_slogdet(cov) / np.log(2)
