"""Primitives that several topics share."""

from __future__ import annotations

import math

from numpy.linalg import LinAlgError

from refimpl.backend import (
    astype,
    cholesky,
    eigvalsh,
    finfo,
    namespace,
    scatter_add,
    solve_triangular,
    take_along_axis,
)

# ------------------------------------------------------------------------------------- softmax


def highest(x):
    """The maximum along the last axis, which stays with size 1; -inf where there is nothing."""
    xp = namespace(x)
    if x.shape[-1] == 0:
        return xp.full((*x.shape[:-1], 1), -xp.inf, dtype=x.dtype)
    return xp.max(x, axis=-1, keepdims=True)


def softmax(x, axis: int):
    """exp(x) / sum exp(x) along an axis; all-0 where every entry is -inf."""
    xp = namespace(x)
    peak = xp.max(x, axis=axis, keepdims=True)
    # exp(-inf - -inf) is NaN: where nothing is left, 0 is the shift and 1 the divisor.
    exponentials = xp.exp(x - xp.where(peak == -xp.inf, 0, peak))
    total = exponentials.sum(axis=axis, keepdims=True)
    return exponentials / xp.where(total == 0, 1, total)


def softmax_vjp(g, weights, axis: int):
    """The gradient in x of <g, softmax(x)>, from the weights."""
    return weights * (g - (g * weights).sum(axis=axis, keepdims=True))


def softmax_terms(scores, keep, sink=None, empty: str = "zero"):
    """Weights, log-sum-exp and the sink's weight of scores (..., n, m), over the last axis.

    ``keep`` says which entries take part; the others weigh nothing whatever their scores are. The
    sink is one more entry without a place in the result. A row that keeps nothing follows
    ``empty``: weights ``"zero"``, ``"nan"``, or ``"mean"`` (1/m on every entry, masked ones
    included).
    """
    xp = namespace(scores)
    scores, column = _with_sink_column(xp, xp.where(keep, scores, -xp.inf), sink)
    entries = xp.concatenate([scores, column], axis=-1)
    peak = xp.max(entries, axis=-1, keepdims=True)
    # exp(-inf - -inf) is NaN: a row without entries is shifted by 0 instead of by its maximum.
    shift = xp.where(peak == -xp.inf, 0.0, peak)
    exponentials = xp.exp(entries - shift)
    total = xp.sum(exponentials, axis=-1, keepdims=True)
    is_empty = ~xp.any(keep, axis=-1, keepdims=True) & (total == 0.0)
    weights = xp.where(is_empty, empty_weight(empty, keep.shape[-1]), exponentials / total)
    logsumexp = shift + xp.log(total)
    return weights[..., :-1], logsumexp[..., 0], weights[..., -1]


def empty_weight(empty: str, m: int) -> float:
    """The weight of every entry of a row that keeps none."""
    return {"zero": 0.0, "nan": float("nan"), "mean": 1.0 / max(m, 1)}[empty]


def _with_sink_column(xp, scores, sink):
    """The scores, and the column that the sink adds to them: -inf where there is none."""
    column = xp.full((*scores.shape[:-1], 1), -xp.inf, dtype=scores.dtype)
    if sink is None:
        return scores, column
    _, column = xp.broadcast_arrays(column, sink[..., None, None])
    return xp.broadcast_to(scores, (*column.shape[:-1], scores.shape[-1])), column


def weighted_sum(weights, values):
    """weights @ values, where an entry of weight 0 is absent even if its value is not finite."""
    xp = namespace(weights, values)
    finite = xp.isfinite(values)
    if bool(finite.all()):
        return weights @ values
    total = weights @ xp.where(finite, values, 0.0).astype(values.dtype)
    # 0 * NaN is NaN, so what is not finite is summed apart, only where its weight is not 0.
    for row in range(values.shape[-2]):
        weight, value = weights[..., :, row, None], values[..., row, None, :]
        present = (weight != 0) & ~xp.isfinite(value)
        total = total + xp.where(present, weight * value, 0.0).astype(total.dtype)
    return total


def broadcast_shape(shapes) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to; they are known to fit."""
    length = max(map(len, shapes))
    padded = [(1,) * (length - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((n for n in extents if n != 1), 1) for extents in zip(*padded, strict=True))


def gather_rows(table, index):
    """Rows (..., i, d) of a table (..., r, d) at indices (..., i). IndexError outside it."""
    xp = namespace(table, index)
    batch = broadcast_shape((table.shape[:-2], index.shape[:-1]))
    table = xp.broadcast_to(table, (*batch, *table.shape[-2:]))
    index = xp.broadcast_to(index[..., None], (*batch, index.shape[-1], table.shape[-1]))
    return take_along_axis(table, index, axis=-2)


def scatter_rows(rows, index, count: int):
    """The adjoint of :func:`gather_rows`: rows (..., i, d) added up at (..., i), (..., count, d).

    Rows of one index are added in float64, or in longdouble where they are that.
    """
    xp = namespace(rows, index)
    *batch, size, d = (*broadcast_shape((rows.shape[:-2], index.shape[:-1])), *rows.shape[-2:])
    tables = math.prod(batch)
    total = xp.zeros((tables * count, d), dtype=xp.result_type(rows.dtype, "float64"))
    first = count * xp.arange(tables).reshape((*batch, 1))
    place = xp.broadcast_to(first + index, (*batch, size)).reshape(tables * size)
    spread = xp.broadcast_to(rows, (*batch, size, d)).reshape(tables * size, d)
    scatter_add(total, place, astype(spread, total.dtype))
    return astype(total.reshape((*batch, count, d)), rows.dtype)


# -------------------------------------------------------- symmetric positive definite matrices


def require_finite(name: str, x) -> None:
    """ValueError, naming the argument, where x has NaN or infinite entries."""
    if not bool(namespace(x).isfinite(x).all()):
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")


def require_positive(name: str, x) -> None:
    """ValueError, naming the argument, where x has entries that are not positive and finite."""
    require_finite(name, x)
    if not bool((x > 0).all()):
        raise ValueError(f"{name}: expected positive numbers, got {float(x.min()):.3g}")


def require_nonnegative(name: str, x) -> None:
    """ValueError, naming the argument, where x has entries that are negative or not finite."""
    require_finite(name, x)
    if not bool((x >= 0).all()):
        raise ValueError(f"{name}: expected no negative numbers, got {float(x.min()):.3g}")


def symmetric(name: str, matrix):
    """(S + S^T)/2 of (..., d, d); ValueError unless finite, and symmetric up to rounding."""
    xp = namespace(matrix)
    if matrix.shape[-1] == 0:
        raise ValueError(f"{name}: expected at least one dimension, got shape {matrix.shape}")
    require_finite(name, matrix)
    largest_gap = xp.abs(matrix - matrix.swapaxes(-1, -2)).max(axis=(-2, -1))
    tolerance = max(1e-10, 8 * float(finfo(matrix).eps))
    if bool((largest_gap > tolerance * xp.abs(matrix).max(axis=(-2, -1))).any()):
        worst = float(largest_gap.max())
        raise ValueError(f"{name}: expected a symmetric matrix, but |S - S^T| reaches {worst:.3g}")
    return symmetric_part(matrix)


def symmetric_part(matrix):
    """(X + X^T)/2 of (..., d, d)."""
    mirrored = matrix.swapaxes(-1, -2)
    # Halving before adding cannot overflow, but rounds subnormals: equal entries stay as they are.
    return namespace(matrix).where(matrix == mirrored, matrix, matrix / 2 + mirrored / 2)


def positive_definite_factor(name: str, matrix):
    """The lower Cholesky factor of a symmetric matrix; LinAlgError, naming it, without one."""
    try:
        return cholesky(matrix)
    except LinAlgError as error:
        raise LinAlgError(f"{name}: {error}") from None


def factor_where_definite(matrix):
    """The Cholesky factor, and where there is one (...): any other matrix gets the identity."""
    xp = namespace(matrix)
    try:
        return cholesky(matrix), xp.ones(matrix.shape[:-2], dtype=bool)
    except LinAlgError:
        if matrix.ndim > 2:
            pairs = [factor_where_definite(each) for each in matrix]
            return tuple(map(xp.stack, zip(*pairs, strict=True)))
        return xp.eye(matrix.shape[-1], dtype=matrix.dtype), xp.zeros((), dtype=bool)


def semidefinite_factor(name: str, matrix):
    """The Cholesky factor, and where there is one (...): a singular matrix gets the identity.

    LinAlgError where an eigenvalue is negative by more than rounding.
    """
    factor, is_definite = factor_where_definite(matrix)
    if not bool(is_definite.all()):
        eigenvalues = eigvalsh(matrix)
        tolerance = matrix.shape[-1] * finfo(matrix).eps * abs(eigenvalues[..., -1])
        if bool((~is_definite & (eigenvalues[..., 0] < -tolerance)).any()):
            positive_definite_factor(name, matrix)
    return factor, is_definite


def whiten(left, matrix, right, *, transpose: bool = False):
    """A^{-1} X B^{-T} for lower triangular A (left) and B; with ``transpose``, A^{-T} X B^{-1}."""
    half = solve_triangular(left, matrix, transpose=transpose)
    return solve_triangular(right, half.swapaxes(-1, -2), transpose=transpose).swapaxes(-1, -2)


def x_minus_log1p(x):
    """x - log(1 + x), accurate relative to itself also near 0, in every precision."""
    xp = namespace(x)
    # log1p(x) = 2 artanh(s) and x - 2 s = x s leave no difference of near equals.
    s = x / (2 + x)
    tail = xp.zeros_like(s)
    for k in reversed(range(13)):
        # Dividing an array keeps the coefficient exact beyond float64.
        tail = tail * s * s + xp.ones_like(s) / (2 * k + 3)
    return xp.where(xp.abs(x) < 0.25, x * s - 2 * s * s * s * tail, x - xp.log1p(x))


def ratio_minus_log(numerator, denominator):
    """t - 1 - log t of the ratio t of two positive numbers, accurate relative to itself."""
    xp = namespace(numerator)
    excess = (numerator - denominator) / denominator
    # Where the ratio overflows the result does so too, without a difference of infinities.
    ratio = xp.minimum(numerator / denominator, finfo(excess).max)
    return xp.where(xp.abs(excess) < 0.25, x_minus_log1p(excess), excess - xp.log(ratio))


def expm1_minus(x):
    """exp(x) - 1 - x, accurate relative to itself also near 0, in every precision."""
    xp = namespace(x)
    tail = xp.ones_like(x)
    for k in reversed(range(3, 19)):
        tail = 1 + x * tail / k
    return xp.where(xp.abs(x) < 0.5, x * x * tail / 2, xp.expm1(x) - x)


def sigmoid(x):
    """1/(1 + exp(-x)), accurate relative to itself at both ends."""
    xp = namespace(x)
    # The exponential that does not overflow.
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + small), small / (1 + small))


def log_sigmoid(x):
    """The logarithm of :func:`sigmoid`, accurate relative to itself at both ends."""
    xp = namespace(x)
    return -xp.logaddexp(xp.zeros_like(x), -x)


def outer(x, y):
    """x y^T, shape (..., n, m), of vectors (..., n) and (..., m)."""
    return x[..., :, None] * y[..., None, :]


def matvec(matrix, x):
    """A x, shape (..., n), of a matrix (..., n, m) and a vector (..., m)."""
    return (matrix @ x[..., None])[..., 0]


def inverse_from_cholesky(factor):
    """(L L^T)^{-1} = L^{-T} L^{-1}, exactly symmetric and positive definite by its form."""
    root = solve_triangular(factor, namespace(factor).eye(factor.shape[-1], dtype=factor.dtype))
    return symmetric_part(root.swapaxes(-1, -2) @ root)
