"""Wrong variants of linear attention with a decaying state."""

from __future__ import annotations

import numpy as np

from refimpl.attention.recurrent import gated_linear_attention, retention, state_space_duality
from refimpl.evidence.attention.recurrent import dual, gated, retained
from refimpl.evidence.attention.shared import unscaled
from refimpl.evidence.mistakes import wrong, wrong_gradients

# --------------------------------------------------------------------------------------- gated


@gated.mutant
def own_key_decays(q, k, v, log_decay, /, **options):
    """the decay of a position applies to its own key too: it comes after the write"""
    return gated_linear_attention(q, k * np.exp(log_decay), v, log_decay, **options)


def _summed_over_features(log_decay):
    total = np.cumsum(log_decay, axis=-1)
    return np.diff(total, axis=-2, prepend=0.0 * total[..., :1, :])


wrong(gated, "nothing decays", arrays={"log_decay": lambda x: 0.0 * x})
wrong(
    gated,
    "the decays are one position late",
    arrays={"log_decay": lambda x: np.roll(x, 1, axis=-2)},
)
wrong(gated, "the decays are powers of 2", arrays={"log_decay": lambda x: np.log(2.0) * x})
wrong(
    gated,
    "the logarithms of the decays are summed over the features instead of the positions",
    arrays={"log_decay": _summed_over_features},
    source="https://github.com/fla-org/flash-linear-attention/issues/850",
)
wrong(gated, "the state before the first position is ignored", options={"state": None})
wrong(gated, "the queries are not divided by sqrt d", options=unscaled)


@gated.mutant
def state_does_not_decay(q, k, v, log_decay, /, **options):
    """the state before the first position does not decay"""
    state = options.get("state")
    output, last = gated_linear_attention(q, k, v, log_decay, **options | {"state": None})
    if state is None:
        return output, last
    kept = gated_linear_attention(q, 0.0 * k, v, 0.0 * log_decay, **options)
    return output + kept[0], last + kept[1]


@gated.mutant
def own_position_hidden(q, k, v, log_decay, /, **options):
    """a position reads the state before it writes"""
    output, state = gated_linear_attention(q, k, v, log_decay, **options)
    scale = options.get("scale")
    factor = q.shape[-1] ** -0.5 if scale is None else np.asarray(scale)[..., None, None]
    return output - factor * (q * k).sum(axis=-1, keepdims=True) * v, state


@wrong_gradients(gated)
def gradient_of_state_ignored(found, g, arrays, options):
    """the cotangent of the last state is ignored"""
    return gated_linear_attention.vjp((g[0], 0.0 * g[1]), *arrays, **options)


@wrong_gradients(gated)
def gradient_of_a_factor(found, g, arrays, options):
    """the gradient in the decays is that in their exponentials"""
    return [*found[:3], found[3] * np.exp(-arrays[3]), *found[4:]]


@wrong_gradients(gated)
def gradient_without_decay(found, g, arrays, options):
    """the gradients in keys and values ignore the decay"""
    free = gated_linear_attention.vjp(g, *arrays[:3], 0.0 * arrays[3], **options)
    return [found[0], free[1], free[2], *found[3:]]


# ------------------------------------------------------------------------------------ retention


@retained.mutant
def one_power_more(q, k, v, decay, /, **options):
    """the weights are gamma^(i - j + 1)"""
    factor = np.asarray(decay)[..., None, None]
    output, state = retention(q, factor * k, v, decay, **options)
    return output, state


wrong(retained, "the decay is 1 - gamma", arrays={"decay": lambda x: np.maximum(1.0 - x, 1e-3)})
wrong(retained, "nothing decays", arrays={"decay": np.ones_like})


@retained.mutant(source="https://github.com/cpcp1998/PermuteFormer/issues/2")
def powers_apart_in_half_precision(q, k, v, decay, /, **options):
    """the powers gamma^i and gamma^-j are formed apart, in half precision, where they overflow"""
    n = q.shape[-2]
    powers = np.asarray(decay)[..., None] ** np.arange(n)
    with np.errstate(all="ignore"):
        up, down = (x.astype(np.float16).astype(float) for x in (powers, 1 / powers))
        wrong = gated_linear_attention(
            q * up[..., None], k * down[..., None], v, np.zeros((n, 1)), scale=options.get("scale")
        )[0]
    state = options.get("state")
    right, last = retention(q, k, v, decay, **options)
    return (wrong if state is None else right), last


@retained.mutant
def rows_divided(q, k, v, decay, /, **options):
    """the rows are divided by the root of the sum of their powers of gamma"""
    output, state = retention(q, k, v, decay, **options)
    n = q.shape[-2]
    powers = np.asarray(decay)[..., None] ** np.arange(n)
    return output / np.sqrt(np.cumsum(powers, axis=-1))[..., None], state


wrong(retained, "the queries are not divided by sqrt d", options=unscaled)
wrong(retained, "the state before the first position is ignored", options={"state": None})


@wrong_gradients(retained)
def gradient_in_the_logarithm(found, g, arrays, options):
    """the gradient in the decay is that in its logarithm"""
    return [*found[:3], found[3] * arrays[3], *found[4:]]


@wrong_gradients(retained)
def gradient_of_last_state_ignored(found, g, arrays, options):
    """the cotangent of the last state is ignored"""
    return retention.vjp((g[0], 0.0 * g[1]), *arrays, **options)


# --------------------------------------------------------------------------------- state spaces


@dual.mutant
def step_not_on_the_input(x, step, rate, b, c, /, **options):
    """the input is not multiplied by the step"""
    skip = options.pop("skip", None)
    output, state = state_space_duality(x / step[..., None], step, rate, b, c, **options)
    return (output if skip is None else output + np.asarray(skip)[..., None, None] * x), state


@dual.mutant
def step_not_on_the_rate(x, step, rate, b, c, /, **options):
    """the rate is not multiplied by the step"""
    skip = options.pop("skip", None)
    ones, inputs = np.ones_like(step), step[..., None] * x
    output, state = state_space_duality(inputs, ones, rate, b, c, **options)
    return (output if skip is None else output + np.asarray(skip)[..., None, None] * x), state


wrong(dual, "the input and the output map are exchanged", arrays={"b": "c", "c": "b"})
wrong(dual, "the skip connection is left out", options={"skip": None})


@dual.mutant
def euler_steps(x, step, rate, b, c, /, **options):
    """the decay is 1 + step rate instead of its exponential"""
    decay = np.log(np.maximum(1.0 + step * np.asarray(rate)[..., None], 1e-6))
    skip = options.pop("skip", None)
    output, state = gated_linear_attention(
        c, b, step[..., None] * x, decay[..., None], scale=1.0, **options
    )
    return (output if skip is None else output + np.asarray(skip)[..., None, None] * x), state


wrong(dual, "the output carries a factor 1/sqrt s", arrays={"c": lambda c: c * c.shape[-1] ** -0.5})


@wrong_gradients(dual)
def gradient_of_the_step_through_the_input(found, g, arrays, options):
    """the gradient in the steps lacks that through the decays"""
    x, step, rate, b, c = arrays
    options = {k: v for k, v in options.items() if k != "skip"}
    gates = (step * np.asarray(rate)[..., None])[..., None]
    dvalues = gated_linear_attention.vjp(g, c, b, step[..., None] * x, gates, scale=1.0, **options)
    return [found[0], (dvalues[2] * x).sum(axis=-1), *found[2:]]


wrong(
    dual,
    "the gradients in the two maps are exchanged",
    gradient=lambda found, arrays, options: (*found[:3], found[4], found[3], *found[5:]),
)
