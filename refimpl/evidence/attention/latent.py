"""Evidence for multi-head latent attention, and its wrong variants."""

from __future__ import annotations

import numpy as np

from refimpl.attention.latent import latent_attention
from refimpl.attention.softmax import softmax_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.mistakes import wrong

_SMALL = Sizes(1, 1, 6)

latent = Evidence(
    latent_attention,
    sizes={axis: _SMALL for axis in "drcv"} | {axis: Sizes(1, 1, 9) for axis in "nm"},
    empty=("n", "m"),
    options={"scale": (0.3,)},
    combinations=({"causal": True, "offset": 2},),
    ties=({"m": "n"},),
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape, size=1.0):
    names = ("q", "q_rotary", "latents", "k_rotary", "key_up", "value_up")
    q, q_rotary, latents, k_rotary, key_up, value_up = (
        rng.standard_normal(getattr(shape, name)) for name in names
    )
    c = shape.axes["c"]
    return size * q, size * q_rotary, latents, k_rotary, key_up / c**0.5, value_up / c**0.5


@latent.regime
def normal(rng, shape):
    """Standard normal arrays"""
    return Case(_arrays(rng, shape))


@latent.regime
def masked(rng, shape):
    """A mask and a scale"""
    options = {"mask": rng.random(shape.mask) < 0.7, "scale": rng.uniform(0.2, 1.0, shape.scale)}
    return Case(_arrays(rng, shape), options)


@latent.regime(adversarial=True)
def sharp(rng, shape):
    """Logits of several tens"""
    return Case(_arrays(rng, shape, 6.0))


@latent.regime(adversarial=True)
def one_cache_for_all_heads(rng, shape):
    """A cache and rotated keys with a single leading axis of size 1"""
    q, q_rotary, latents, k_rotary, key_up, value_up = _arrays(rng, shape)
    if shape.batch:
        latents, k_rotary = latents[..., :1, :, :], k_rotary[..., :1, :, :]
    return Case((q, q_rotary, latents, k_rotary, key_up, value_up))


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    sizes = [np.abs(np.asarray(to_host(x), dtype=float)).max(initial=1.0) for x in case.arrays]
    q, q_rotary, c, k_rotary, up, down = sizes
    width = case.arrays[2].shape[-1]
    logits = q * c * up * width * case.arrays[0].shape[-1] + q_rotary * k_rotary * 6.0
    return float(8.0 * c * down * width * (1.0 + logits))


@latent.law
def is_attention_to_projected_keys(f, case):
    """Without rotated parts it is softmax attention to the keys and values of the cache"""
    q, q_rotary, latents, k_rotary, key_up, value_up = case.arrays
    scale = case.options.get("scale")
    xp = namespace(q)
    if scale is None:
        scale = xp.asarray((q.shape[-1] + q_rotary.shape[-1]) ** -0.5, dtype=q.dtype)
    options = {n: case.options.get(n) for n in ("mask", "causal", "offset")}
    expected = softmax_attention(q, latents @ key_up, latents @ value_up, scale=scale, **options)
    plain = case.with_arrays(q, 0.0 * q_rotary, latents, k_rotary, key_up, value_up)
    yield Claim(plain.call(f), expected, _size(case))


@latent.law
def coordinates_of_the_cache(f, case):
    """Reordering the cache's coordinates with the rows of both projections changes nothing"""
    q, q_rotary, latents, k_rotary, key_up, value_up = case.arrays
    turned = case.with_arrays(
        q, q_rotary, latents[..., ::-1], k_rotary, key_up[..., ::-1, :], value_up[..., ::-1, :]
    )
    yield Claim(turned.call(f), case.call(f), _size(case))


@latent.law
def linear_in_the_value_projection(f, case):
    """The output is linear in the projection of the values"""
    *arrays, value_up = case.arrays
    doubled = case.with_arrays(*arrays, 2.0 * value_up)
    yield Claim(doubled.call(f), 2.0 * case.call(f), 2.0 * _size(case))


# -------------------------------------------------------------------------------- closed forms


@latent.closed_form
def equal_logits(rng, shape):
    """Queries of zero average the cache"""
    _, _, latents, k_rotary, key_up, value_up = _arrays(rng, shape)
    mean = latents.sum(axis=-2, keepdims=True) / max(shape.axes["m"], 1) @ value_up
    arrays = np.zeros(shape.q), np.zeros(shape.q_rotary), latents, k_rotary, key_up, value_up
    answer = np.broadcast_to(mean, (*shape.batch, shape.axes["n"], shape.axes["v"]))
    return Case(arrays), answer


@latent.closed_form
def one_position(rng, shape):
    """A query that sees one position returns its value"""
    arrays = _arrays(rng, shape)
    n, m = shape.axes["n"], shape.axes["m"]
    values = arrays[2] @ arrays[5]
    first = values[..., :1, :] if m else np.zeros((1, shape.axes["v"]))
    mask = np.broadcast_to(np.arange(m) == 0, (n, m)).copy()
    return Case(arrays, {"mask": mask}), np.broadcast_to(first, (*shape.batch, n, shape.axes["v"]))


# ------------------------------------------------------------------------------------- mutants


def _scaled(arrays, options, width):
    if options.get("scale") is None:
        options["scale"] = np.asarray(max(width, 1) ** -0.5)
    return latent_attention(*arrays, **options)


@latent.mutant(source="https://github.com/NVIDIA/Megatron-LM/issues/1429")
def scale_without_the_rotated_part(*arrays, **options):
    """the scale is 1/sqrt(d), without the width of the rotated part"""
    return _scaled(arrays, options, arrays[0].shape[-1])


@latent.mutant
def scale_of_the_cache(*arrays, **options):
    """the absorbed form scales by the width of the cache"""
    return _scaled(arrays, options, arrays[2].shape[-1] + arrays[1].shape[-1])


wrong(latent, "the rotated parts are left out of the logits", arrays={"q_rotary": np.zeros_like})
wrong(latent, "the logits come from the rotated parts alone", arrays={"q": np.zeros_like})
wrong(
    latent,
    "the rotated parts count twice in the logits",
    arrays={"q_rotary": lambda x: 2.0 * x},
)
wrong(latent, "the mask is ignored", options={"mask": None})


@latent.mutant(gradient=True)
def gradient_of_the_cache_through_values(g, *arrays, **options):
    """the gradient in the cache comes through the values alone"""
    found = list(latent_attention.vjp(g, *arrays, **options))
    q, q_rotary, latents, k_rotary, key_up, value_up = arrays
    # The same attention from a cache whose first part makes the keys, the second the values.
    keys, values = latents @ key_up, latents + 0.0 * (latents @ key_up)[..., :1]
    wide = np.concatenate([keys, values], axis=-1)
    d, c = key_up.shape[-1], latents.shape[-1]
    of_keys = np.concatenate([np.eye(d), np.zeros((c, d))], axis=0)
    nothing = 0.0 * value_up[..., :1, :] + np.zeros((d, 1))
    of_values = np.concatenate([nothing, value_up], axis=-2)
    split = latent_attention.vjp(g, q, q_rotary, wide, k_rotary, of_keys, of_values, **options)
    found[2] = split[2][..., d:]
    return tuple(found)


wrong(
    latent,
    "the projections are taken for constants",
    gradient={"key_up": lambda x: 0.0 * x, "value_up": lambda x: 0.0 * x},
)
