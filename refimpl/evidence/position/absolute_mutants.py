"""Wrong variants of sinusoidal encodings."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.absolute import sinusoids
from refimpl.evidence.position.shared import OTHER, in_bfloat16
from refimpl.position.absolute import sinusoidal_encoding


@sinusoids.mutant(source="https://github.com/tatp22/multidim-positional-encoding/issues/20")
def the_other_layout(k, *, layout, **options):
    """Halves for interleaved columns, or the reverse"""
    other = "half" if layout == "interleaved" else "interleaved"
    return sinusoidal_encoding(k, layout=other, **options)


wrong(sinusoids, "Cosine first for sine first, or the reverse", options={"order": OTHER.get})


@sinusoids.mutant(source="https://github.com/tensorflow/tensor2tensor/issues/1423")
def the_other_frequencies(k, *, frequencies, **options):
    """Frequencies of tensor2tensor for those of the paper, or the reverse"""
    other = "paper" if frequencies == "t2t" else "t2t"
    if options["dim"] < 4:
        return sinusoidal_encoding(k, frequencies=frequencies, **options)
    return sinusoidal_encoding(k, frequencies=other, **options)


@sinusoids.mutant(source="https://github.com/shenweichen/DeepCTR/issues/379")
def column_as_index(k, *, dim, order, layout, frequencies, base=10000.0):
    """The column, not half of it, is in the exponent: sine and cosine have their own frequencies"""
    xp = namespace(k)
    column = xp.arange(dim)
    angles = k[..., None] * base ** (-2.0 * column / dim)
    second = column % 2 == 1 if layout == "interleaved" else column >= dim - dim // 2
    is_sine = second if order == "cos_first" else ~second
    return xp.where(is_sine, xp.sin(angles), xp.cos(angles))


@sinusoids.mutant
def half_the_exponent(k, *, base=10000.0, **options):
    """The 2 of the exponent is missing: the base is its root"""
    return sinusoidal_encoding(k, base=base**0.5, **options)


wrong(sinusoids, "Positions count from 1", arrays={"positions": lambda x: x + 1})
wrong(sinusoids, "Positions are rounded to bfloat16", arrays={"positions": in_bfloat16})


@sinusoids.mutant
def last_column_of_odd_width_missing(k, *, dim, **options):
    """For an odd width the last column stays zero, or has what it should not"""
    y = sinusoidal_encoding(k, dim=dim, **options)
    if dim % 2 == 0:
        return y
    xp = namespace(k)
    filled = xp.cos(1.0 * k)[..., None] if options["frequencies"] == "t2t" else 0.0 * y[..., -1:]
    return xp.concatenate([y[..., :-1], filled], axis=-1)


@sinusoids.mutant(gradient=True)
def gradient_without_frequencies(g, k, *, dim, base=10000.0, **options):
    """The gradient lacks the factor of the frequency"""
    (total,) = sinusoidal_encoding.vjp(g, k, dim=dim, base=base, **options)
    return (total + 0.1 * g.sum(axis=-1),)
