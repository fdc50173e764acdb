"""Evidence for exact softmax attention: inputs, laws and closed forms."""

from __future__ import annotations

import numpy as np

from refimpl.attention.masks import band
from refimpl.attention.softmax import attention_logsumexp, attention_weights, softmax_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence
from refimpl.evidence.laws import linear_in

OPTIONS = {
    "softcap": (1.5, 30.0),
    "scale": (0.3,),
    "sink": (0.0, 1.5),
}
COMBINATIONS = (
    {"window": (2, 1), "offset": 0},
    {"window": (3, 0)},
    {"causal": "top_left", "window": (2, None)},
    {"causal": "bottom_right", "window": (1, None)},
    {"causal": True, "offset": 2},
)
# Fused kernels often want values as wide as keys, or as many queries as keys.
_TIES = ({"v": "d"}, {"m": "n"}, {"v": "d", "m": "n"})
_PROBES = {
    "empty": ("n", "m"),
    "options": OPTIONS,
    "combinations": COMBINATIONS,
    "ties": _TIES[1:2],
}

attention = Evidence(softmax_attention, **_PROBES | {"ties": _TIES})
weights = Evidence(attention_weights, **_PROBES)
logsumexp = Evidence(attention_logsumexp, **_PROBES)
ALL = (attention, weights, logsumexp)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape, magnitude=1.0):
    """Normal q and k, and values where the formula takes them."""
    names = [name for name in ("q", "k", "v") if hasattr(shape, name)]
    return tuple(
        (1.0 if name == "v" else magnitude) * rng.standard_normal(getattr(shape, name))
        for name in names
    )


def normal(rng, shape):
    """Standard normal queries, keys and values"""
    return Case(_arrays(rng, shape))


def masked(rng, shape):
    """A random mask and a random bias"""
    return Case(
        _arrays(rng, shape),
        {"mask": rng.random(shape.mask) < 0.6, "bias": rng.standard_normal(shape.bias)},
    )


def empty_rows(rng, shape):
    """Queries whose mask hides every key"""
    mask = rng.random(shape.mask) < 0.7
    mask[..., ::3, :] = False
    return Case(_arrays(rng, shape), {"mask": mask})


def rows_of_infinite_bias(rng, shape):
    """Keys, and for some queries all keys, with a bias of -inf"""
    bias = np.where(rng.random(shape.bias) < 0.3, -np.inf, 0.0)
    bias[..., 1::3, :] = -np.inf
    return Case(_arrays(rng, shape), {"bias": bias})


def capped_and_masked(rng, shape):
    """Large one-sided logits under a soft cap, with masked keys of large value"""
    case = masked(rng, shape)
    arrays = [3.0 * np.abs(case.arrays[0]), 3.0 * np.abs(case.arrays[1]), *case.arrays[2:]]
    if len(arrays) == 3:
        arrays[2] = arrays[2] + 8.0
    return Case(tuple(arrays), case.options | {"softcap": 5.0})


def sharp(rng, shape):
    """Logits of several tens, so that few keys share a row"""
    return Case(_arrays(rng, shape, magnitude=4.0))


def huge(rng, shape):
    """Logits up to 5000: an exponential without the row maximum overflows"""
    size = np.sqrt(5000.0 / np.sqrt(max(shape.axes["d"], 1)))
    arrays = _arrays(rng, shape)
    return Case((size * np.sign(arrays[0]), size * np.sign(arrays[1]), *arrays[2:]))


def ties(rng, shape):
    """Equal logits in every row"""
    q, k, *rest = _arrays(rng, shape)
    return Case((q, np.broadcast_to(k[..., :1, :], k.shape).copy(), *rest))


def scaled(rng, shape):
    """A scale and a sink of each head's own"""
    scale, sink = np.exp(rng.standard_normal(shape.scale)), rng.standard_normal(shape.sink)
    return Case(_arrays(rng, shape), {"scale": scale, "sink": sink})


def sink_above_logits(rng, shape):
    """A sink far above every logit, so that it must enter the maximum"""
    return Case(_arrays(rng, shape), {"sink": 20.0 + rng.standard_normal(shape.sink)})


def nan_under_mask(rng, shape):
    """Keys and values that are masked everywhere hold NaN"""
    q, k, *rest = _arrays(rng, shape)
    hidden = np.zeros(k.shape[-2], bool)
    hidden[1::4] = True
    k[..., hidden, :] = np.nan
    for v in rest:
        v[..., hidden, :] = np.nan
    return Case((q, k, *rest), {"mask": np.broadcast_to(~hidden, shape.mask).copy()})


ADVERSARIAL = (
    empty_rows,
    rows_of_infinite_bias,
    capped_and_masked,
    sharp,
    huge,
    ties,
    sink_above_logits,
)
for of in ALL:
    of.regime(normal)
    of.regime(masked)
    of.regime(scaled)
    for sampler in ADVERSARIAL:
        of.regime(sampler, adversarial=True)
    of.regime(nan_under_mask, adversarial=True, advisory=True)


# ---------------------------------------------------------------------------------------- laws


def _condition(case) -> float:
    """How much an error of one rounding in the logits grows: at least 1."""
    q, k = (np.nan_to_num(np.asarray(to_host(x), dtype=float)) for x in case.arrays[:2])
    longest = np.sqrt(np.square(q).sum(-1).max(initial=0.0) * np.square(k).sum(-1).max(initial=0.0))
    scale = case.options.get("scale")
    return 1.0 + float(longest) * (1.0 if scale is None else float(np.abs(to_host(scale)).max()))


def _size(case) -> float:
    """The scale of rounding errors in the output: values, or weights and sums of order 1."""
    values = np.nan_to_num(np.asarray(to_host(case.arrays[-1]), dtype=float))
    largest = float(np.abs(values).max(initial=1.0)) if len(case.arrays) == 3 else 1.0
    return largest * _condition(case)


def _has(case, *names) -> bool:
    return any(case.options.get(name) is not None for name in names)


@attention.law
def constant_values(f, case):
    """Where all values are equal so is the output, unless nothing is seen: weights sum to one"""
    if _has(case, "sink"):
        return
    q, k, v = case.arrays
    output = case.with_arrays(q, k, namespace(v).full(v.shape, 2.5, dtype=v.dtype)).call(f)
    yield Claim(output * (output - 2.5), 0.0 * output, 6.25 * _condition(case))


@attention.law
def convex_hull(f, case):
    """No output exceeds the largest value in its column"""
    v = case.arrays[2]
    if v.shape[-2] == 0:
        return
    output = case.call(f)
    xp = namespace(output)
    largest = xp.max(xp.where(xp.isfinite(v), xp.abs(v), 0.0), axis=-2, keepdims=True)
    excess = xp.maximum(xp.abs(output) - largest, 0.0)
    yield Claim(excess, 0.0 * excess, _size(case))


attention.law(linear_in(2, "values", _size))


def what_no_query_sees_is_inert(f, case):
    """Keys that the mask hides from every query may hold anything, NaN too"""
    mask, (_, k, *_) = case.options.get("mask"), case.arrays
    if mask is None or mask.shape[-1] != k.shape[-2]:
        return
    xp = namespace(k)
    hidden = ~mask.any(axis=tuple(range(mask.ndim - 1)))[:, None]

    def holding(value):
        q, *others = case.arrays
        filled = (xp.where(hidden, value, x).astype(x.dtype) for x in others)
        return case.with_arrays(q, *filled).call(f)

    yield Claim(holding(xp.nan), holding(0.0), _size(case))


for of in ALL:
    of.law(what_no_query_sees_is_inert)


def key_permutation(columns):
    """The law for a formula in whose output reversed keys show as ``columns`` of it."""

    def key_permutation(f, case):
        """Reordering keys, values and mask columns together changes nothing"""
        if _has(case, "causal", "window"):
            return
        q, *rest = case.arrays
        masks = {n: case.options[n][..., ::-1] for n in ("mask", "bias") if _has(case, n)}
        turned = case.with_arrays(q, *(x[..., ::-1, :] for x in rest)).with_options(**masks)
        yield Claim(case.call(f), columns(turned.call(f)), _size(case))

    return key_permutation


def query_alone(last):
    """The law for a formula in whose output ``last`` takes the last query."""

    def query_alone(f, case):
        """Each query is answered as if it were alone"""
        q, *rest = case.arrays
        if _has(case, "causal", "window") or q.shape[-2] == 0:
            return
        masks = {n: case.options[n][..., -1:, :] for n in ("mask", "bias") if _has(case, n)}
        alone = case.with_arrays(q[..., -1:, :], *rest).with_options(**masks)
        yield Claim(last(case.call(f)), last(alone.call(f)), _size(case))

    return query_alone


def key_shift(f, case):
    """One vector added to every key changes no weight"""
    if _has(case, "softcap", "sink"):
        return
    q, k, *rest = case.arrays
    shifted = case.with_arrays(q, k + 0.5, *rest)
    yield Claim(case.call(f), shifted.call(f), _size(shifted))


for of in (attention, weights):
    of.law(query_alone(lambda output: output[..., -1:, :]))
    of.law(key_shift)
logsumexp.law(query_alone(lambda output: output[..., -1:]))
attention.law(key_permutation(lambda output: output))
weights.law(key_permutation(lambda output: output[..., ::-1]))
logsumexp.law(key_permutation(lambda output: output))


@weights.law
def rows_sum_to_one(f, case):
    """The weights of a row sum to one, or to nothing where nothing is seen"""
    if _has(case, "sink"):
        return
    total = case.call(f).sum(axis=-1)
    yield Claim(total * (total - 1.0), 0.0 * total, 4.0)


@logsumexp.law
def doubled_keys(f, case):
    """Every key twice adds log 2"""
    if _has(case, "causal", "window", "sink"):
        return
    q, k = case.arrays
    xp = namespace(q)
    twice = {
        n: xp.concatenate([case.options[n]] * 2, axis=-1) for n in ("mask", "bias") if _has(case, n)
    }
    left = case.with_arrays(q, xp.concatenate([k, k], axis=-2)).with_options(**twice).call(f)
    yield Claim(left, case.call(f) + 0.6931471805599453, _condition(case))


# -------------------------------------------------------------------------------- closed forms


@attention.closed_form
def equal_logits(rng, shape):
    """Queries of zero average the values"""
    q, k, v = _arrays(rng, shape)
    mean = (
        v.mean(axis=-2, keepdims=True)
        if shape.axes["m"]
        else np.zeros((*v.shape[:-2], 1, v.shape[-1]))
    )
    return Case((0.0 * q, k, v)), np.broadcast_to(
        mean, (*shape.batch, shape.axes["n"], shape.axes["v"])
    )


@attention.closed_form
def zero_sink(rng, shape):
    """Equal logits with a sink of the same height divide by m + 1"""
    q, k, v = _arrays(rng, shape)
    total = v.sum(axis=-2, keepdims=True) / (shape.axes["m"] + 1)
    answer = np.broadcast_to(total, (*shape.batch, shape.axes["n"], shape.axes["v"]))
    return Case((0.0 * q, k, v), {"sink": np.zeros(shape.sink)}), answer


@attention.closed_form
def single_visible_key(rng, shape):
    """A query that sees one key returns its value"""
    q, k, v = _arrays(rng, shape)
    n, m = shape.axes["n"], shape.axes["m"]
    if m == 0:
        return Case((q, k, v)), np.zeros((*shape.batch, n, shape.axes["v"]))
    visible = rng.integers(m, size=n)
    mask = np.arange(m) == visible[:, None]
    return Case((q, k, v), {"mask": mask}), v[..., visible, :]


@weights.closed_form
def two_keys(rng, shape):
    """Over two visible keys the weights are sigmoids of the logit difference"""
    q, k = _arrays(rng, shape)
    n, m, d = (shape.axes[axis] for axis in "nmd")
    answer = np.zeros((*shape.batch, n, m))
    mask = np.arange(m) < 2
    if m == 1:
        answer[...] = 1.0
    if m >= 2:
        difference = (q * (k[..., :1, :] - k[..., 1:2, :])).sum(-1) / np.sqrt(d)
        answer[..., 0] = 1.0 / (1.0 + np.exp(-difference))
        answer[..., 1] = 1.0 / (1.0 + np.exp(difference))
    return Case((q, k), {"mask": np.broadcast_to(mask, (n, m)).copy()}), answer


@logsumexp.closed_form
def log_of_the_number_of_keys(rng, shape):
    """Zero logits give log m"""
    q, k = _arrays(rng, shape)
    m = shape.axes["m"]
    answer = np.log(m) if m else -np.inf
    return Case((0.0 * q, k)), np.full((*shape.batch, shape.axes["n"]), answer)


@logsumexp.closed_form
def single_key(rng, shape):
    """One visible key gives its logit"""
    q, k = _arrays(rng, shape)
    n, m, d = (shape.axes[axis] for axis in "nmd")
    mask = np.broadcast_to(np.arange(m) == 0, (n, m)).copy()
    answer = np.full((*shape.batch, n), -np.inf)
    if m:
        answer = (q * k[..., :1, :]).sum(-1) / np.sqrt(d)
    return Case((q, k), {"mask": mask}), answer


# ------------------------------------------------------------------------------ sizes of terms


def parts_of(arrays, options):
    """Plain logits, scale, band and mask of a call, for mutants that combine them wrongly."""
    q, k = arrays[:2]
    scale = options.get("scale")
    scale = q.shape[-1] ** -0.5 if scale is None else np.asarray(scale)[..., None, None]
    n, m = q.shape[-2], k.shape[-2]
    allowed = band(n, m, *(options.get(name) for name in ("causal", "window", "offset")))
    keep = allowed.keep(np, range(n), range(m))
    if options.get("mask") is not None:
        keep = keep & options["mask"]
    bias = 0.0 if options.get("bias") is None else options["bias"]
    return q @ k.swapaxes(-1, -2), scale, keep, bias


def visible(keep, bias):
    return keep & (bias != -np.inf)


def largest(x) -> float:
    return float(np.abs(np.where(np.isfinite(x), x, 0.0)).max(initial=0.0))


def _output_sizes(*arrays, **options):
    """An error of one rounding in the largest logit is the same relative error in a weight."""
    inner, scale, keep, bias = parts_of(arrays, options)
    size = largest(np.where(visible(keep, bias), inner * scale, 0.0))
    return (size * (largest(arrays[2]) if len(arrays) == 3 else 1.0),)


for of in (attention, weights):
    of.output_terms(_output_sizes)


def _term_sizes(g, *arrays, **options):
    """Each gradient is a sum over dS = P (dP - <P, dP>), whose difference may vanish."""
    q, k = arrays[:2]
    through_values = len(arrays) == 3
    size = largest(g) * (largest(arrays[2]) * arrays[2].shape[-1] ** 0.5 if through_values else 1.0)
    tau = largest(parts_of((q, k), options)[1])
    return {"q": tau * size * largest(k), "k": tau * size * largest(q)}


for of in ALL:
    of.gradient_terms(_term_sizes)
