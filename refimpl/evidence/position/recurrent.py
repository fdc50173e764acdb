"""Evidence for encodings by a recurrence."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.position.recurrent import recurrent_encoding

recurrent = Evidence(
    recurrent_encoding,
    sizes={"d": Sizes(1, 1, 8)},
    fixed={"length": 5},
    options={
        "length": (1, 2, 8),
    },
)


def _vectors(rng, shape):
    return rng.standard_normal(shape.offset), rng.standard_normal(shape.start)


@recurrent.regime
def contracting(rng, shape):
    """A matrix of norm about a half, an offset"""
    matrix = rng.standard_normal(shape.matrix) / (4.0 * np.sqrt(shape.axes["d"]))
    return Case((matrix, *_vectors(rng, shape)))


@recurrent.regime
def by_tanh(rng, shape):
    """A matrix of norm about two, through tanh"""
    matrix = rng.standard_normal(shape.matrix) / np.sqrt(shape.axes["d"])
    return Case((matrix, *_vectors(rng, shape)), {"activation": "tanh"})


@recurrent.regime(adversarial=True)
def turning(rng, shape):
    """An orthogonal matrix, which neither grows nor shrinks"""
    matrix, _ = np.linalg.qr(rng.standard_normal(shape.matrix))
    return Case((matrix, *_vectors(rng, shape)), {"length": 9})


@recurrent.gradient_terms
def _steps_that_cancel(g, *arrays, **options):
    """Rows that come near 0 do so from the largest, whose roundings they keep."""
    found = recurrent_encoding.vjp(g, *map(wide, arrays), **options)
    names = (argument.name for argument in recurrent_encoding.arguments)
    return {k: float(np.abs(x).max(initial=0.0)) for k, x in zip(names, found, strict=True)}


def _size(case):
    """How large states and roundings of them may grow, step by step."""
    matrix, offset, start = map(wide, case.arrays)
    norm = 1.0 + np.abs(matrix).sum(axis=-1).max(initial=0.0)
    vectors = np.abs(start).max(initial=1.0) + np.abs(offset).max(initial=0.0)
    return 8.0 * float(vectors) * float(norm) ** case.options["length"]


@recurrent.law
def begins_at_the_start(f, case):
    """Position 0 is the start"""
    start = case.arrays[2]
    first = case.call(f)[..., 0, :]
    yield Claim(first, namespace(start).broadcast_to(start, first.shape), 0.0)


@recurrent.law
def every_step_is_the_same(f, case):
    """From position 1 on it is the recurrence that starts there"""
    matrix, offset, _ = case.arrays
    value = case.call(f)
    if case.options["length"] > 2:
        rest = case.with_arrays(matrix, offset, value[..., 1, :])
        rest = rest.with_options(length=case.options["length"] - 1)
        yield Claim(rest.call(f), value[..., 1:, :], _size(case))


@recurrent.law
def powers_of_the_matrix(f, case):
    """Without activation p_k = A^k s + (A^{k-1} + ... + 1) b, by powers"""
    if case.options.get("activation", "identity") != "identity":
        return
    matrix, offset, start = map(wide, case.arrays)
    value = wide(case.call(f))
    power, total = np.eye(matrix.shape[-1]) + 0 * matrix, 0 * matrix
    for k in range(case.options["length"]):
        expected = (power @ start[..., None] + total @ offset[..., None])[..., 0]
        yield Claim(value[..., k, :], expected, _size(case))
        power, total = matrix @ power, total + power


@recurrent.law
def one_step_written_out(f, case):
    """Each position is f(A p + b) of the one before"""
    matrix, offset, _ = map(wide, case.arrays)
    value = wide(case.call(f))
    inner = np.einsum("...ij,...kj->...ki", matrix, value[..., :-1, :]) + offset[..., None, :]
    is_tanh = case.options.get("activation") == "tanh"
    yield Claim(value[..., 1:, :], np.tanh(inner) if is_tanh else inner, _size(case))


@recurrent.closed_form
def sinusoids(rng, shape):
    """A rotation by 1 from (0, 1): sine and cosine"""
    c, s = np.cos(1.0), np.sin(1.0)
    case = Case((np.array([[c, s], [-s, c]]), np.zeros(2), np.array([0.0, 1.0])), {"length": 7})
    return case, np.stack([np.sin(np.arange(7)), np.cos(np.arange(7))], axis=-1)


@recurrent.closed_form
def doubling(rng, shape):
    """p -> 2 p + 1 from 0: 2^k - 1"""
    case = Case((np.array([[2.0]]), np.ones(1), np.zeros(1)), {"length": 6})
    return case, np.array([[0.0, 1.0, 3.0, 7.0, 15.0, 31.0]]).T


wrong(
    recurrent,
    "The matrix is transposed, as for rows",
    arrays={"matrix": lambda x: x.swapaxes(-1, -2)},
)
wrong(
    recurrent,
    "The first position is a step after the start",
    options={"length": lambda x: x + 1},
    output=lambda y: y[..., 1:, :],
)


@recurrent.mutant
def offset_outside(a, b, s, *, length, activation="identity"):
    """The offset is added to the positions, not inside the recurrence"""
    value = recurrent_encoding(a, 0 * b, s, length=length, activation=activation)
    return value + b[..., None, :]


@recurrent.mutant
def differences(a, b, s, *, length, activation="identity"):
    """A p + b is added to p: a step of an ODE"""
    d = a.shape[-1]
    more = a + namespace(a).eye(d, dtype=a.dtype)
    return recurrent_encoding(more, b, s, length=length, activation=activation)


@recurrent.mutant(gradient=True)
def of_the_last_step_only(g, a, b, s, *, length, activation="identity"):
    """Cotangents do not pass through earlier steps: the start gets its own only"""
    found = recurrent_encoding.vjp(g, a, b, s, length=length, activation=activation)
    return (*found[:2], g[..., 0, :])


wrong(
    recurrent,
    "The gradient of the matrix is transposed",
    gradient={"matrix": lambda x: x.swapaxes(-1, -2)},
)


@recurrent.mutant(gradient=True)
def activation_without_slope(g, a, b, s, *, length, activation="identity"):
    """The slope of the activation is missing"""
    return recurrent_encoding.vjp(g, a, b, s, length=length)
