"""Linear algebra in plain array operations, for what LAPACK or NumPy lack.

Triangular substitution in any type, and Cholesky, LU, eigen-, singular-value and QR decompositions
in ``longdouble``. Loops run over rows, columns or rounds; every step is vectorised over leading
batch axes. The names and conventions are those of ``numpy.linalg``; real matrices only, apart from
substitution.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.linalg import LinAlgError

_LEAF = 16
_MANY = 32
"""Number of systems from which on they are worth turning."""
_CACHED = 2**16
"""Number of entries that stay in the cache."""
_MOST_SWEEPS = 60


# ---------------------------------------------------------------------------- triangular systems


def solve_triangular(
    a: np.ndarray, b: np.ndarray, *, lower: bool = True, transpose: bool = False
) -> np.ndarray:
    """x (..., n, m) with a x = b or a^T x = b, for a (..., n, n); leading axes must agree."""
    if transpose:
        return _substitute(a.swapaxes(-1, -2), b, not lower)
    return _substitute(a, b, lower)


def _substitute(a: np.ndarray, b: np.ndarray, lower: bool) -> np.ndarray:
    """Halves the triangle until it is small, so that nearly all the work is matrix products."""
    n = a.shape[-1]
    if n <= _LEAF:
        return _substitute_rows(a, b, lower)
    top, bottom = slice(None, n // 2), slice(n // 2, None)
    first, second = (top, bottom) if lower else (bottom, top)
    x = b.copy()
    x[..., first, :] = _substitute(a[..., first, first], b[..., first, :], lower)
    rest = b[..., second, :] - a[..., second, first] @ x[..., first, :]
    x[..., second, :] = _substitute(a[..., second, second], rest, lower)
    return x


def _substitute_rows(a: np.ndarray, b: np.ndarray, lower: bool) -> np.ndarray:
    x = b.copy()
    if b.size == 0 or b.size < _MANY * b.shape[-2] * b.shape[-1]:
        first = (-2, -1, *range(b.ndim - 2))
        _eliminate(a.transpose(first), x.transpose(first), lower)
        return x
    # Loops over many small systems are fast where these are the last axis, and in the cache.
    systems, answers = a.reshape(-1, *a.shape[-2:]), x.reshape(-1, *x.shape[-2:])
    count = max(1, _CACHED // max(answers[0].size, 1))
    for start in range(0, len(answers), count):
        part = slice(start, start + count)
        turned = answers[part].transpose(1, 2, 0).copy()
        _eliminate(systems[part].transpose(1, 2, 0).copy(), turned, lower)
        answers[part] = turned.transpose(2, 0, 1)
    return x


def _eliminate(a: np.ndarray, x: np.ndarray, lower: bool) -> None:
    """Solve a (n, n, ...) for x (n, m, ...) in place."""
    n = len(x)
    for i in range(n) if lower else reversed(range(n)):
        x[i] /= a[i, i]
        rest = slice(i + 1, None) if lower else slice(None, i)
        x[rest] -= a[rest, i, None] * x[i]


def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x (..., n, m) with a x = b, by elimination with row pivoting."""
    n = a.shape[-1]
    system = np.concatenate([a, b], axis=-1)
    for j in range(n):
        pivot = j + np.argmax(np.abs(system[..., j:, j]), axis=-1)[..., None, None]
        upper = np.take_along_axis(system, pivot, axis=-2)
        if (upper[..., 0, j] == 0).any():
            raise LinAlgError("Singular matrix")
        np.put_along_axis(system, pivot, system[..., j : j + 1, :].copy(), axis=-2)
        system[..., j : j + 1, :] = upper
        factor = system[..., j + 1 :, j, None] / upper[..., j, None]
        system[..., j + 1 :, :] -= factor * upper
    return _substitute(system[..., :n], system[..., n:], lower=False)


def cholesky(a: np.ndarray) -> np.ndarray:
    """The lower factor of (..., n, n), column by column. LinAlgError where a pivot is not > 0."""
    factor = np.tril(a)
    n = a.shape[-1]
    for j in range(n):
        left = factor[..., :, :j]
        column = factor[..., j:, j] - (left[..., j:, :] @ left[..., j, :, None])[..., 0]
        if not (column[..., 0] > 0).all():
            raise LinAlgError("Matrix is not positive definite")
        factor[..., j:, j] = column / np.sqrt(column[..., :1])
    return factor


# ---------------------------------------------------------------------------- orthogonal factors


def qr(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduced q (..., m, k) and r (..., k, n) by Householder reflections."""
    m, n = a.shape[-2:]
    k = min(m, n)
    r = a.copy()
    normals = []
    for j in range(k):
        normal = _householder_normal(r[..., j:, j])
        normals.append(normal)
        _reflect(r[..., j:, j:], normal)
    q = np.zeros(a.shape[:-1] + (k,), dtype=a.dtype)
    q[..., np.arange(k), np.arange(k)] = 1
    for j in reversed(range(k)):
        _reflect(q[..., j:, j:], normals[j])
    return q, np.triu(r[..., :k, :])


def _householder_normal(x: np.ndarray) -> np.ndarray:
    """The unit normal of the mirror that sends x (..., n) to the first axis; zero where x is."""
    largest = np.abs(x).max(axis=-1, keepdims=True)
    normal = x / np.where(largest > 0, largest, 1)
    length = np.sqrt((normal * normal).sum(axis=-1))
    # The sign of the first entry, so that nothing cancels in this sum.
    normal[..., 0] += np.copysign(length, normal[..., 0])
    length = np.sqrt((normal * normal).sum(axis=-1, keepdims=True))
    return normal / np.where(length > 0, length, 1)


def _reflect(x: np.ndarray, normal: np.ndarray) -> None:
    """Reflects the columns of x (..., n, m), in place, in the mirror with this normal (..., n)."""
    x -= 2 * normal[..., :, None] * (normal[..., None, :] @ x)


# ------------------------------------------------------- eigenvalues and singular values (Jacobi)


def eigh(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending eigenvalues, and eigenvectors, of the symmetric matrix with a's lower triangle."""
    _require_finite(a)
    n = a.shape[-1]
    below = np.tril(a, -1)
    work = np.tril(a) + below.swapaxes(-1, -2)
    vectors = np.broadcast_to(np.eye(n, dtype=a.dtype), a.shape).copy()
    scale = np.sqrt((work * work).sum(axis=(-2, -1)))
    negligible = np.finfo(a.dtype).eps / 8 * scale
    for _ in range(_MOST_SWEEPS):
        off = work - work * np.eye(n, dtype=bool)
        if (np.sqrt((off * off).sum(axis=(-2, -1))) <= negligible).all():
            break
        for p, q in _round_robin(n):
            cosine, sine = _rotation(work[..., p, p], work[..., q, q], work[..., p, q])
            _rotate_columns(work, p, q, cosine, sine)
            _rotate_columns(work.swapaxes(-1, -2), p, q, cosine, sine)
            work[..., p, q] = work[..., q, p] = 0
            _rotate_columns(vectors, p, q, cosine, sine)
    else:
        raise LinAlgError("Eigenvalues did not converge")
    values = np.diagonal(work, axis1=-2, axis2=-1)
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(vectors, order[..., None, :], axis=-1)
    return np.take_along_axis(values, order, axis=-1), ordered


def eigvalsh(a: np.ndarray) -> np.ndarray:
    """Ascending eigenvalues of the symmetric matrix whose lower triangle is a's."""
    return eigh(a)[0]


def svd(a: np.ndarray, *, full_matrices: bool = False, compute_uv: bool = True):
    """Reduced u, s, vh (or s alone) by rotating the columns of a until they are orthogonal."""
    if full_matrices:
        raise NotImplementedError("svd: only the reduced form")
    _require_finite(a)
    if a.shape[-2] < a.shape[-1]:
        flipped = svd(a.swapaxes(-1, -2), compute_uv=compute_uv)
        if not compute_uv:
            return flipped
        u, s, vh = flipped
        return vh.swapaxes(-1, -2), s, u.swapaxes(-1, -2)
    columns, v = _orthogonal_columns(a)
    lengths = np.sqrt((columns * columns).sum(axis=-2))
    order = np.argsort(-lengths, axis=-1)[..., None, :]
    # QR divides orthogonal columns by their lengths, and completes the basis where one is zero.
    u, r = qr(np.take_along_axis(columns, order, axis=-1))
    diagonal = np.diagonal(r, axis1=-2, axis2=-1)
    u = u * np.copysign(1, diagonal)[..., None, :]
    s = np.abs(diagonal)
    if not compute_uv:
        return s
    return u, s, np.take_along_axis(v, order, axis=-1).swapaxes(-1, -2)


def _orthogonal_columns(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a v and the orthogonal v that makes its columns orthogonal."""
    n = a.shape[-1]
    largest = np.abs(a).max(axis=(-2, -1), keepdims=True, initial=0)
    columns = a / np.where(largest > 0, largest, 1)
    v = np.broadcast_to(np.eye(n, dtype=a.dtype), a.shape[:-2] + (n, n)).copy()
    negligible = np.finfo(a.dtype).eps * np.sqrt(a.dtype.type(n))
    for _ in range(_MOST_SWEEPS):
        worst = 0
        for p, q in _round_robin(n):
            x, y = columns[..., p], columns[..., q]
            xx, yy, xy = (x * x).sum(-2), (y * y).sum(-2), (x * y).sum(-2)
            size = np.sqrt(xx) * np.sqrt(yy)
            # A column far below the rounding errors of the largest is noise: no angle settles it.
            matters = np.abs(xy) > negligible * np.maximum(size, negligible * negligible)
            worst = max(worst, np.count_nonzero(matters))
            cosine, sine = _rotation(xx, yy, np.where(matters, xy, 0))
            _rotate_columns(columns, p, q, cosine, sine)
            _rotate_columns(v, p, q, cosine, sine)
        if worst == 0:
            return columns * largest, v
    raise LinAlgError("SVD did not converge")


def _rotation(pp: np.ndarray, qq: np.ndarray, pq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of the smaller rotation that diagonalises [[pp, pq], [pq, qq]]."""
    safe = np.where(pq == 0, 1, pq)
    slope = (qq - pp) / (2 * safe)
    tangent = np.copysign(1, slope) / (np.abs(slope) + np.hypot(slope, 1))
    tangent = np.where(pq == 0, 0, tangent)
    cosine = 1 / np.hypot(tangent, 1)
    return cosine, tangent * cosine


def _rotate_columns(
    x: np.ndarray, p: np.ndarray, q: np.ndarray, cosine: np.ndarray, sine: np.ndarray
) -> None:
    """Rotates the column pairs (p[i], q[i]) of x (..., m, n) in place."""
    c, s = cosine[..., None, :], sine[..., None, :]
    left, right = x[..., p], x[..., q]
    x[..., p] = c * left - s * right
    x[..., q] = s * left + c * right


def _round_robin(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs p < q of 0 ... n - 1 in rounds of disjoint pairs, as in a chess tournament."""
    seats = list(range(n + n % 2))
    for _ in range(len(seats) - 1):
        half = len(seats) // 2
        games = zip(seats[:half], reversed(seats[half:]), strict=True)
        pairs = [sorted(pair) for pair in games if max(pair) < n]
        if pairs:
            p, q = np.array(pairs).T
            yield p, q
        seats[1:] = [seats[-1], *seats[1:-1]]


def _require_finite(a: np.ndarray) -> None:
    if not np.isfinite(a).all():
        raise LinAlgError("matrix is not finite")
