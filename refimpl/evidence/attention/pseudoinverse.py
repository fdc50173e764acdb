"""Evidence for pseudo-inverses and the matrix iterations that stand in for them."""

from __future__ import annotations

import numpy as np

from refimpl.attention.pseudoinverse import (
    iterated_inverse,
    nystrom_completion,
    pseudo_inverse,
)
from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes

_SMALL = Sizes(1, 1, 8)
ITERATIONS = iterated_inverse.declared["iteration"].values

exact = Evidence(
    pseudo_inverse,
    sizes={"n": _SMALL, "m": _SMALL},
    empty=("n", "m"),
    budget=Budget(k=6.0, floor=16.0, fibre=2),
)
iterated = Evidence(
    iterated_inverse,
    sizes={"m": _SMALL},
    options={"steps": (0, 2)},
    budget=Budget(k=6.0, floor=16.0, fibre=2),
)
completion = Evidence(
    nystrom_completion,
    sizes={"a": Sizes(1, 1, 6), "c": _SMALL, "r": _SMALL},
    empty=("c", "r"),
    options={"rcond": (0.3,)},
    budget=Budget(k=6.0, floor=16.0),
)


# ------------------------------------------------------------------------------------- regimes


def _with_values(rng, shape, low, high):
    """Matrices with random singular vectors and singular values between low and high."""
    u, _, vh = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    values = rng.uniform(low, high, (*shape[:-2], u.shape[-1]))
    return (u * values[..., None, :]) @ vh


def _stochastic(rng, shape):
    """Softmax matrices of landmarks that resemble themselves most."""
    logits = rng.standard_normal(shape) + 2.5 * np.eye(shape[-1])
    weights = np.exp(logits)
    return weights / weights.sum(axis=-1, keepdims=True)


@exact.regime
def well_conditioned(rng, shape):
    """Tall, wide or square, singular values of 1 to 3"""
    return Case((_with_values(rng, shape.matrix, 1.0, 3.0),))


@exact.regime
def tall_columns(rng, shape):
    """Orthogonal columns, or rows, of different length"""
    n, m = shape.axes["n"], shape.axes["m"]
    base = np.eye(n, m) * 2.0 ** rng.integers(-1, 3, max(n, m))[:m]
    return Case((np.broadcast_to(base, shape.matrix) * rng.choice([-1.0, 1.0], shape.matrix),))


@exact.regime(adversarial=True)
def cut_off(rng, shape):
    """Singular values of 1 to 2 and some of 1/64, below a cut-off of 1/8"""
    n, m = shape.axes["n"], shape.axes["m"]
    u, _, vh = np.linalg.svd(rng.standard_normal(shape.matrix), full_matrices=False)
    values = np.where(np.arange(min(n, m)) % 2 == 0, 1.0 + rng.random((*shape.batch, 1)), 1 / 64)
    return Case(((u * values[..., None, :]) @ vh,), {"rcond": 0.125})


@iterated.regime
def softmax_matrix(rng, shape):
    """Rows that sum to one or less, the largest weight on the diagonal"""
    # Rows of one sum would all have the largest: there the default divisor has a kink.
    kept = np.linspace(0.75, 1.0, shape.axes["m"])[:, None]
    return Case((kept * _stochastic(rng, shape.matrix),))


@iterated.regime
def general(rng, shape):
    """Singular values of 1/4 to 2, entries of both signs"""
    return Case((_with_values(rng, shape.matrix, 0.25, 2.0),))


@iterated.regime
def with_divisor(rng, shape):
    """A divisor that is given"""
    divisor = rng.uniform(2.0, 4.0, shape.divisor)
    return Case((_with_values(rng, shape.matrix, 0.25, 1.5),), {"divisor": divisor})


@iterated.regime(adversarial=True)
def slow(rng, shape):
    """Small singular values, which six steps hardly invert"""
    matrix = _with_values(rng, shape.matrix, 0.02, 0.2)
    return Case((matrix + np.eye(shape.axes["m"]) * (np.arange(shape.axes["m"]) == 0),))


@iterated.regime(adversarial=True)
def batch_of_sizes(rng, shape):
    """Matrices of very different size side by side"""
    size = 4.0 ** rng.integers(-2, 3, shape.batch)[..., None, None]
    return Case((size * _with_values(rng, shape.matrix, 0.5, 2.0),))


def _blocks(rng, shape):
    return (
        _with_values(rng, shape.corner, 1.0, 3.0),
        rng.standard_normal(shape.columns),
        rng.standard_normal(shape.rows),
    )


@completion.regime
def normal(rng, shape):
    """A well-conditioned corner"""
    return Case(_blocks(rng, shape))


@completion.regime
def of_low_rank(rng, shape):
    """Blocks of a matrix of the rank of its corner"""
    left = rng.standard_normal(shape.rows)
    right = rng.standard_normal(shape.columns)
    corner = _with_values(rng, shape.corner, 1.0, 3.0)
    return Case((corner, corner @ right, left @ corner))


@completion.regime(adversarial=True)
def graded_corner(rng, shape):
    """A corner of condition 64"""
    corner, columns, rows = _blocks(rng, shape)
    size = 2.0 ** -rng.integers(0, 7, shape.axes["a"])
    return Case((corner * size, columns, rows))


# ---------------------------------------------------------------------------------------- laws


def swapped(x):
    return x.swapaxes(-1, -2)


@exact.law(slack=256.0)
def penrose(f, case):
    """A Z A = A, Z A Z = Z, and A Z and Z A are symmetric"""
    (a,) = case.arrays
    if case.options.get("rcond") is not None:
        return
    z = case.call(f)
    yield Claim(a @ z @ a, a, 1.0 + abs(a).sum())
    yield Claim(z @ a @ z, z, 1.0 + abs(z).sum())
    yield Claim(a @ z, swapped(a @ z), 1.0)
    yield Claim(z @ a, swapped(z @ a), 1.0)


@exact.law(slack=256.0)
def transposed(f, case):
    """The inverse of the transpose is the transpose of the inverse; that of 2A is half of it"""
    (a,) = case.arrays
    z = case.call(f)
    size = 1.0 + abs(z).sum()
    yield Claim(case.with_arrays(swapped(a)).call(f), swapped(z), size)
    yield Claim(case.with_arrays(2.0 * a).call(f), 0.5 * z, size)


@exact.law(slack=512.0)
def inverse_of_the_inverse(f, case):
    """(A^+)^+ = A where nothing is cut off"""
    (a,) = case.arrays
    if case.options.get("rcond") is None:
        yield Claim(f(case.call(f)), a, 1.0 + abs(a).sum())


@iterated.law(slack=256.0)
def residual_of_one_more_step(f, case):
    """With E = I - Z A, one more step makes E^3 (3 + E)/4, E^3 or E^2 of it"""
    (a,) = case.arrays
    steps = case.options.get("steps", 6)
    identity = like(np.eye(a.shape[-1]).astype(a.dtype), a)
    now, then = (identity - case.with_options(steps=s).call(f) @ a for s in (steps, steps + 1))
    cube = now @ now @ now
    expected = {
        "nystromformer": cube @ (3 * identity + now) / 4,
        "hyperpower": cube,
        "newton_schulz": now @ now,
    }[case.options.get("iteration", "nystromformer")]
    size = abs(case.call(f)).sum(axis=(-1, -2)) * abs(a).sum(axis=(-1, -2)) + 1.0
    yield Claim(then, expected, size[..., None, None] + 0.0 * a)


@iterated.law(slack=256.0)
def order_of_landmarks(f, case):
    """Reordering rows and columns reorders the result; a transpose transposes it"""
    (a,) = case.arrays
    xp = namespace(a)
    z = case.call(f)
    size = (1.0 + abs(z).sum()) * (1.0 + abs(a).sum())
    turned = case.with_arrays(xp.flip(a, axis=-1)).call(f)
    yield Claim(turned, xp.flip(z, axis=-2), size)
    yield Claim(case.with_arrays(swapped(a)).call(f), swapped(z), size)


@iterated.law(slack=64.0)
def halved_by_doubling(f, case):
    """The result for 2A is half of that for A, with four times the divisor"""
    (a,) = case.arrays
    divisor = case.options.get("divisor")
    doubled = case.with_arrays(2.0 * a)
    if divisor is not None:
        doubled = doubled.with_options(divisor=4.0 * divisor)
    z = case.call(f)
    yield Claim(doubled.call(f), 0.5 * z, abs(z))


@completion.law(slack=256.0)
def linear_in_the_blocks(f, case):
    """Doubled columns double the result; a multiple of the corner divides it"""
    corner, columns, rows = case.arrays
    value = case.call(f)
    size = 1.0 + abs(value).sum()
    yield Claim(f(corner, 2.0 * columns, rows), 2.0 * value, size)
    yield Claim(f(4.0 * corner, columns, rows), 0.25 * value, size)


@completion.law(slack=256.0)
def corner_completes_to_itself(f, case):
    """With the corner for the columns the rows come back, with it for the rows the columns"""
    corner, columns, rows = case.arrays
    size = 64.0 * (1.0 + abs(rows).sum() + abs(columns).sum())
    yield Claim(f(corner, corner, rows), rows, size)
    yield Claim(f(corner, columns, corner), columns, size)


# -------------------------------------------------------------------------------- closed forms


@exact.closed_form
def outer_product(rng, shape):
    """u v^T of integers: v u^T / (|u|^2 |v|^2)"""
    u = rng.integers(1, 4, (*shape.batch, shape.axes["n"])).astype(float)
    v = rng.integers(1, 4, (*shape.batch, shape.axes["m"])).astype(float)
    size = (u * u).sum(axis=-1) * (v * v).sum(axis=-1)
    answer = v[..., :, None] * u[..., None, :] / np.where(size == 0, 1, size)[..., None, None]
    return Case((u[..., :, None] * v[..., None, :],)), answer


@exact.closed_form
def diagonal(rng, shape):
    """Powers of two, and a 0, on the diagonal"""
    n, m = shape.axes["n"], shape.axes["m"]
    values = 2.0 ** rng.integers(-2, 3, max(n, m, 1))
    values[-1] = 0.0
    inverse = np.where(values == 0, 0.0, 1 / np.where(values == 0, 1.0, values))
    matrix = np.broadcast_to(np.eye(n, m) * values[:m], shape.matrix).copy()
    return Case((matrix,)), np.broadcast_to(np.eye(m, n) * inverse[:n], (*shape.batch, m, n))


@iterated.closed_form
def steps_on_numbers(rng, shape):
    """A diagonal matrix: e_0 = 1 - s^2/c, e' = e^3 (3 + e)/4, and (1 - e)/s"""
    m = shape.axes["m"]
    s = rng.uniform(0.25, 1.0, (*shape.batch, m))
    c = (s * s).max(axis=-1, keepdims=True)
    e = 1.0 - s * s / c
    steps = int(rng.integers(0, 5))
    for _ in range(steps):
        e = e**3 * (3.0 + e) / 4.0
    return Case((s[..., None] * np.eye(m),), {"steps": steps}), ((1 - e) / s)[..., None] * np.eye(m)


@iterated.closed_form
def multiple_of_a_permutation(rng, shape):
    """4 times a permutation is inverted by the start, Z_0 = A^T/16"""
    m = shape.axes["m"]
    matrix = np.broadcast_to(4.0 * np.eye(m)[rng.permutation(m)], shape.matrix).copy()
    iteration = str(rng.choice(ITERATIONS))
    return Case((matrix,), {"iteration": iteration}), matrix.swapaxes(-1, -2) / 16.0


@completion.closed_form
def product_of_integers(rng, shape):
    """B = A X and C = Y A: the missing block is Y A X"""
    a = shape.axes["a"]
    corner = np.broadcast_to(2.0 * np.eye(a) + np.eye(a, k=1), shape.corner).copy()
    x = rng.integers(-2, 3, shape.columns).astype(float)
    y = rng.integers(-2, 3, shape.rows).astype(float)
    return Case((corner, corner @ x, y @ corner)), y @ corner @ x
