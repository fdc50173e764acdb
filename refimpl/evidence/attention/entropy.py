"""Evidence for the entropy of attention and the scale that keeps it."""

from __future__ import annotations

import math

import numpy as np

from refimpl.attention.entropy import attention_entropy, log_length_scale
from refimpl.attention.softmax import attention_logsumexp, attention_weights
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.mistakes import wrong

entropy = Evidence(
    attention_entropy,
    sizes={"d": Sizes(1, 1, 8)},
    empty=("n", "m"),
    options={"softcap": (1.5,), "scale": (0.3,)},
    combinations=({"window": (2, 1), "offset": 0}, {"causal": True, "offset": 2}),
    ties=({"m": "n"},),
)
lengths = Evidence(
    log_length_scale,
    fixed={"width": 64},
    options={"trained_length": (128,), "width": (32,)},
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape, size=1.0):
    return tuple(size * rng.standard_normal(s) for s in (shape.q, shape.k))


@entropy.regime
def normal(rng, shape):
    """Standard normal queries and keys"""
    return Case(_arrays(rng, shape))


@entropy.regime
def masked(rng, shape):
    """A random mask and a random bias"""
    options = {"mask": rng.random(shape.mask) < 0.6, "bias": rng.standard_normal(shape.bias)}
    return Case(_arrays(rng, shape), options)


@entropy.regime
def scaled(rng, shape):
    """A scale of each head's own"""
    return Case(_arrays(rng, shape), {"scale": np.exp(rng.standard_normal(shape.scale))})


@entropy.regime(adversarial=True)
def rows_without_keys(rng, shape):
    """Queries whose mask hides every key"""
    mask = rng.random(shape.mask) < 0.7
    mask[..., ::3, :] = False
    return Case(_arrays(rng, shape), {"mask": mask})


@entropy.regime(adversarial=True)
def sharp(rng, shape):
    """Logits of several units, so that few keys share a row"""
    return Case(_arrays(rng, shape, 2.0))


@lengths.regime
def ordinary(rng, shape):
    """Lengths of 2 to 10000"""
    return Case((rng.integers(2, 10_000, shape.length),))


@lengths.regime(adversarial=True)
def around_the_trained_length(rng, shape):
    """Lengths from 1, and close to 512"""
    return Case((rng.choice([1, 2, 511, 512, 513, 1 << 40], shape.length),))


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    q, k = (np.abs(np.asarray(to_host(x), dtype=float)).max(initial=1.0) for x in case.arrays)
    return 8.0 * float(1.0 + q * k * case.arrays[0].shape[-1]) ** 2


@entropy.law
def is_the_sum_over_the_weights(f, case):
    """H = -sum P log P, with the weights of softmax attention"""
    weights = case.call(attention_weights)
    xp = namespace(weights)
    safe = xp.where(weights > 0, weights, 1)
    yield Claim(case.call(f), -(weights * xp.log(safe)).sum(axis=-1), _size(case))


@entropy.law
def lies_between_zero_and_the_number_of_keys(f, case):
    """0 <= H <= log of the number of keys"""
    value = case.call(f)
    xp = namespace(value)
    largest = math.log(max(case.arrays[1].shape[-2], 1))
    yield Claim(xp.clip(value, 0.0, largest), value, 8.0)


@entropy.law
def every_key_twice_adds_log_two(f, case):
    """Every key twice adds log 2, where any key is seen"""
    if any(case.options.get(name) is not None for name in ("causal", "window")):
        return
    q, k = case.arrays
    xp = namespace(q)
    twice = {
        n: xp.concatenate([case.options[n]] * 2, axis=-1)
        for n in ("mask", "bias")
        if case.options.get(n) is not None
    }
    more = case.with_arrays(q, xp.concatenate([k, k], axis=-2)).with_options(**twice).call(f)
    sees = attention_logsumexp(q, k, **case.options) > -xp.inf
    expected = case.call(f) + xp.where(sees, math.log(2.0), 0.0)
    yield Claim(more, expected, _size(case))


@lengths.law
def powers_of_the_trained_length(f, case):
    """The scale of n^2 is twice that of n, without clipping"""
    (length,) = case.arrays
    small = length % 30_000 + 1
    if not case.options.get("clip"):
        once, twice = case.with_arrays(small).call(f), case.with_arrays(small * small).call(f)
        yield Claim(twice, 2.0 * once, 4.0)


@lengths.law
def never_below_when_clipped(f, case):
    """Clipped, the scale is the larger one of two"""
    free, clipped = (case.with_options(clip=c).call(f) for c in (False, True))
    xp = namespace(free)
    least = case.options.get("width", 64) ** -0.5
    yield Claim(clipped, xp.maximum(free, least), 1.0)


# -------------------------------------------------------------------------------- closed forms


@entropy.closed_form
def equal_logits(rng, shape):
    """Queries of zero: log of the number of keys"""
    q, k = _arrays(rng, shape)
    answer = math.log(max(shape.axes["m"], 1))
    return Case((0.0 * q, k)), np.full((*shape.batch, shape.axes["n"]), answer)


@entropy.closed_form
def two_keys(rng, shape):
    """Two visible keys whose logits differ by log 3: log 4 - (3/4) log 3"""
    n, m, d = (shape.axes[axis] for axis in "nmd")
    k = np.zeros(shape.k)
    if m:
        k[..., 0, 0] = math.log(3.0) * d**0.5
    q = np.zeros(shape.q)
    q[..., 0] = 1.0
    value = math.log(4.0) - 0.75 * math.log(3.0) if m >= 2 else 0.0
    mask = np.broadcast_to(np.arange(m) < 2, (n, m)).copy()
    return Case((q, k), {"mask": mask}), np.full((*shape.batch, n), value)


@lengths.closed_form
def powers(rng, shape):
    """512^a at width 64: a/8"""
    a = rng.integers(0, 5, shape.length)
    return Case((512**a,)), a / 8.0


@lengths.closed_form
def powers_of_two(rng, shape):
    """2^a, trained at 4, width 16: a/8"""
    a = rng.integers(0, 40, shape.length)
    return Case((2**a,), {"trained_length": 4, "width": 16}), a / 8.0


# ------------------------------------------------------------------------------------- mutants


@entropy.mutant
def log_sum_exp(q, k, /, **options):
    """it is the log-sum-exp, without the mean logit"""
    return np.nan_to_num(attention_logsumexp(q, k, **options), neginf=0.0)


@entropy.mutant
def relative_to_the_largest(q, k, /, **options):
    """it is divided by the log of the number of keys"""
    return attention_entropy(q, k, **options) / max(math.log(max(k.shape[-2], 2)), 1e-9)


@entropy.mutant
def quadratic_entropy(q, k, /, **options):
    """it is 1 - sum P^2"""
    weights = attention_weights(q, k, **options)
    return weights.sum(axis=-1) - (weights * weights).sum(axis=-1)


wrong(entropy, "the logits are not scaled", options={"scale": 1.0})


@entropy.mutant(gradient=True)
def gradient_without_the_mean(g, q, k, /, **options):
    """the gradient lacks the entropy itself: -P log P"""
    found = attention_entropy.vjp(g, q, k, **options)
    value = attention_entropy(q, k, **options)
    weights = attention_weights(q, k, **options)
    scale = q.shape[-1] ** -0.5 if options.get("scale") is None else options["scale"]
    extra = (g * value)[..., None] * weights
    return found[0] + np.asarray(scale)[..., None, None] * (extra @ np.nan_to_num(k)), *found[1:]


wrong(
    entropy,
    "the gradients have the wrong sign",
    gradient=lambda found, arrays, options: [-x for x in found],
)


@lengths.mutant
def natural_logarithm(length, /, *, width, trained_length=512, clip=False):
    """the logarithm is not divided by that of the trained length"""
    found = log_length_scale(length, width=width, trained_length=trained_length, clip=clip)
    return found * math.log(trained_length)


@lengths.mutant
def ratio_of_lengths(length, /, *, width, trained_length=512, clip=False):
    """it is the log of the ratio of the lengths"""
    ratio = np.log(length / trained_length) + 1.0
    return (np.maximum(ratio, 1.0) if clip else ratio) * width**-0.5


@lengths.mutant
def width_left_out(length, /, *, width, trained_length=512, clip=False):
    """it lacks 1/sqrt(d)"""
    return (
        log_length_scale(length, width=width, trained_length=trained_length, clip=clip) * width**0.5
    )


wrong(lengths, "the length is one more", arrays={"length": lambda x: x + 1})
