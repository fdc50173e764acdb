"""Pseudo-inverses: exact, and by the matrix iterations that stand in for it on accelerators."""

from __future__ import annotations

from typing import Annotated, Literal

from refimpl.backend import finfo, namespace, svd
from refimpl.formula import formula
from refimpl.formula.options import NonNegative, Number


@formula("(n,m)->(m,n)", source="Penrose 1955; Golub & Pereyra 1973 (gradient)")
def pseudo_inverse(matrix, /, *, rcond: NonNegative | None = None):
    r"""Moore-Penrose inverse, with singular values below a cut-off taken for 0.

    Formula
    -------
    .. math:: A = U \operatorname{diag}(s) V^T, \qquad A^+ = V \operatorname{diag}(s^+) U^T,
        \quad s_i^+ = 1/s_i \text{ where } s_i > r\, s_1, \text{ else } 0

    Parameters
    ----------
    matrix : (..., n, m)
    rcond : float, optional. r, the cut-off relative to the largest singular value; by default
        max(n, m) eps of the type.

    Returns
    -------
    (..., m, n)

    Raises
    ------
    ValueError
        rcond < 0.
    numpy.linalg.LinAlgError
        NaN or infinity.

    Conventions
    -----------
    The default cut-off is that of torch, JAX and MATLAB; ``numpy.linalg.pinv`` has 1e-15 unless
    ``rtol`` is given. The gradient is that at constant rank: across a change of rank there is none.

    Breaks when
    -----------
    Errors grow with the square of the condition number of what is kept.

    References
    ----------
    Penrose 1955; Golub & Pereyra, The differentiation of pseudo-inverses, 1973.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.pseudo_inverse([[2.0, 0.0], [0.0, 0.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    if 0 in matrix.shape[-2:]:
        return matrix.swapaxes(-1, -2) + 0
    u, _, vh, inverse = _inverted_values(matrix, rcond)
    return (vh.swapaxes(-1, -2) * inverse[..., None, :]) @ u.swapaxes(-1, -2)


def _inverted_values(matrix, rcond):
    """The singular value decomposition, and the inverses of the singular values that are kept."""
    xp = namespace(matrix)
    if rcond is None:
        rcond = max(matrix.shape[-2:]) * float(finfo(matrix).eps)
    u, s, vh = svd(matrix)
    is_kept = s > rcond * s[..., :1]
    return u, s, vh, xp.where(is_kept, 1 / xp.where(is_kept, s, 1), 0.0).astype(s.dtype)


@pseudo_inverse.defvjp
def pseudo_inverse_vjp(g, matrix, /, *, rcond=None):
    """Where nothing is cut off: -Z^T g Z^T + (I - A Z) g^T Z Z^T + Z^T Z g^T (I - Z A).

    Directions that are kept also turn against those that are cut off, by s_i/(s_i^2 - s_j^2).
    """
    if 0 in matrix.shape[-2:]:
        return (0 * matrix,)
    xp = namespace(matrix)
    u, s, vh, h = _inverted_values(matrix, rcond)
    g, v = g.swapaxes(-1, -2), vh.swapaxes(-1, -2)
    inner = u.swapaxes(-1, -2) @ g @ v
    other = inner.swapaxes(-1, -2)
    one, two = s[..., :, None], s[..., None, :]
    gains = h[..., :, None], h[..., None, :]
    is_across = (gains[0] == 0) != (gains[1] == 0)
    gap = xp.where(is_across, abs(one * one - two * two), 1)
    turned = inner * xp.maximum(one, two) + other * xp.minimum(one, two)
    turned = (gains[0] + gains[1]) * turned / gap
    core = u @ xp.where(is_across, turned, -gains[0] * gains[1] * other) @ vh
    squares = (h * h)[..., None, :]
    beside = ((g @ v - u @ inner) * squares) @ vh
    below = (u * squares) @ (u.swapaxes(-1, -2) @ g - inner @ vh)
    return (core + beside + below,)


@formula(
    "(m,m)->(m,m)",
    keywords={"divisor": "()"},
    source="Xiong et al. 2021 (arXiv:2102.03902), eq. 11; kexue.fm/archives/8180",
)
def iterated_inverse(
    matrix,
    /,
    *,
    steps: Annotated[int, Number(0, 10_000, whole=True)] = 6,
    iteration: Literal["nystromformer", "hyperpower", "newton_schulz"] = "nystromformer",
    divisor=None,
):
    r"""What a few steps of a matrix iteration make of the pseudo-inverse: a spectral filter.

    Formula
    -------
    .. math:: Z_0 = A^T / c, \qquad X = A Z, \qquad
        Z' = \tfrac14 Z\,(13 I - X(15 I - X(7 I - X)))

    "hyperpower" has :math:`Z' = Z(3I - X(3I - X))` and "newton_schulz" :math:`Z' = Z(2I - X)`. In
    the singular value decomposition :math:`A = U \operatorname{diag}(s) V^T` every step acts on
    numbers (``form="spectral"``):

    .. math:: Z = V \operatorname{diag}\bigl((1 - e)/s\bigr) U^T, \qquad e_0 = 1 - s^2/c, \qquad
        e' = e^3 (3 + e)/4 \;\text{ or }\; e^3 \;\text{ or }\; e^2

    Parameters
    ----------
    matrix : (..., m, m)
    steps : int >= 0, 6 in Nystromformer.
    iteration : "nystromformer", "hyperpower" or "newton_schulz".
    divisor : number or (...,), optional. c; by default |A|_1 |A|_inf of each matrix, the largest
        sums of absolute values over columns and over rows.

    Returns
    -------
    (..., m, m)

    Raises
    ------
    ValueError
        steps < 0; an unknown iteration; a divisor that is not positive.

    Conventions
    -----------
    The divisor is that of each matrix. Nystromformer's first code, Hugging Face's default and
    nystrom-attention take the largest over the batch and the heads, so that results depend on the
    neighbours in a batch; some code leaves out the row sums, which are 1 after a softmax. The
    gradient includes that of the default divisor.

    Breaks when
    -----------
    It converges where c > s_1^2/3, but slowly at first: e falls by a factor of 13/4 a step, so that
    six steps invert only s above 0.03 sqrt c. Rounding errors in null directions grow by that
    factor and never stop: 20 steps in float32 or 36 in float64 on a singular matrix diverge.

    References
    ----------
    Xiong et al. 2021 (arXiv:2102.03902); Razavi et al. 2014; https://kexue.fm/archives/8180;
    mlpen/Nystromformer issues 3 and 6 (divisor).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.iterated_inverse([[2.0, 0.0], [0.0, 4.0]], steps=8).round(6).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    z = matrix.swapaxes(-1, -2) / _divisor(matrix, steps, iteration, divisor)[..., None, None]
    for _ in range(steps):
        z = z @ _correction(matrix @ z, iteration)[-1]
    return z


def _divisor(matrix, steps, iteration, divisor):
    xp = namespace(matrix)
    if divisor is None:
        sizes = xp.abs(matrix)
        divisor = sizes.sum(axis=-2).max(axis=-1) * sizes.sum(axis=-1).max(axis=-1)
        # A matrix of zeros is its own inverse.
        return xp.where(divisor == 0, 1.0, divisor).astype(matrix.dtype)
    if not bool((divisor > 0).all()):
        raise ValueError("divisor: expected positive numbers")
    return divisor


def _correction(x, iteration):
    """What Z is multiplied with, after the inner factors that it is nested from."""
    xp = namespace(x)
    identity = xp.eye(x.shape[-1], dtype=x.dtype)
    if iteration == "newton_schulz":
        return (2 * identity - x,)
    if iteration == "hyperpower":
        inner = 3 * identity - x
        return inner, 3 * identity - x @ inner
    first = 7 * identity - x
    second = 15 * identity - x @ first
    return first, second, (13 * identity - x @ second) / 4


@iterated_inverse.form("spectral")
def spectral_iterated_inverse(matrix, /, *, steps=6, iteration="nystromformer", divisor=None):
    """The same filter, applied to singular values: no rounding error grows."""
    xp = namespace(matrix)
    c = _divisor(matrix, steps, iteration, divisor)[..., None]
    u, s, vh = svd(matrix)
    e = 1 - s * s / c
    for _ in range(steps):
        e = {"nystromformer": e**3 * (3 + e) / 4, "hyperpower": e**3, "newton_schulz": e**2}[
            iteration
        ]
    gain = xp.where(s > 0, (1 - e) / xp.where(s > 0, s, 1), 0.0).astype(s.dtype)
    return (vh.swapaxes(-1, -2) * gain[..., None, :]) @ u.swapaxes(-1, -2)


@iterated_inverse.defvjp
def iterated_inverse_vjp(g, matrix, /, *, steps=6, iteration="nystromformer", divisor=None):
    """The steps backwards; then Z_0 = A^T/c, with c's own gradient where it is the default."""
    xp = namespace(matrix)
    c = _divisor(matrix, steps, iteration, divisor)
    start = matrix.swapaxes(-1, -2) / c[..., None, None]
    path = [start]
    for _ in range(steps):
        path.append(path[-1] @ _correction(matrix @ path[-1], iteration)[-1])
    da, dz = xp.zeros_like(g), g
    for z in reversed(path[:-1]):
        x = matrix @ z
        factors = _correction(x, iteration)
        dx = _correction_vjp(z.swapaxes(-1, -2) @ dz, x, factors, iteration)
        dz = dz @ factors[-1].swapaxes(-1, -2) + matrix.swapaxes(-1, -2) @ dx
        da = da + dx @ z.swapaxes(-1, -2)
    dc = -(dz * start).sum(axis=(-1, -2)) / c
    da = da + dz.swapaxes(-1, -2) / c[..., None, None]
    if divisor is None:
        da = da + dc[..., None, None] * _divisor_gradient(matrix)
    return da, dc


def _correction_vjp(g, x, factors, iteration):
    """The gradient in X of the correction, from the outermost of its nested factors inwards."""
    if iteration == "nystromformer":
        g = g / 4
    xt = x.swapaxes(-1, -2)
    dx = 0
    for inner in reversed(factors[:-1]):
        dx = dx - g @ inner.swapaxes(-1, -2)
        g = -xt @ g
    return dx - g


def _divisor_gradient(matrix):
    """d(|A|_1 |A|_inf)/dA: signs in the column and the row of the largest sums."""
    xp = namespace(matrix)
    sizes, signs = xp.abs(matrix), xp.sign(matrix)
    columns, rows = sizes.sum(axis=-2, keepdims=True), sizes.sum(axis=-1, keepdims=True)
    column_norm, row_norm = columns.max(axis=-1, keepdims=True), rows.max(axis=-2, keepdims=True)
    in_column, in_row = _first(columns, -1), _first(rows, -2)
    return signs * (in_column * row_norm + in_row * column_norm)


def _first(sums, axis):
    """1 at the first largest entry along an axis, else 0."""
    xp = namespace(sums)
    place = xp.arange(sums.shape[axis])
    place = place[:, None] if axis == -2 else place
    largest = xp.expand_dims(xp.argmax(sums, axis=axis), axis)
    return (place == largest).astype(sums.dtype)


@formula("(a,a),(a,c),(r,a)->(r,c)", source="Williams & Seeger 2001; kexue.fm/archives/8180")
def nystrom_completion(corner, columns, rows, /, *, rcond: NonNegative | None = None):
    r"""The block of a matrix that follows from the others where their rank is that of the corner.

    Formula
    -------
    .. math:: \begin{pmatrix} A & B \\ C & D \end{pmatrix}, \qquad D \approx C A^+ B,

    exact where the whole matrix has the rank of A.

    Parameters
    ----------
    corner : A, (..., a, a); columns : B, (..., a, c); rows : C, (..., r, a).
    rcond : as in :func:`pseudo_inverse`.

    Returns
    -------
    (..., r, c)

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`pseudo_inverse`.

    Conventions
    -----------
    Nystromformer takes its name from this, but its blocks are softmaxes of their own, no parts of
    one matrix: see :func:`nystrom_attention`.

    Breaks when
    -----------
    As :func:`pseudo_inverse`.

    References
    ----------
    Williams & Seeger, Using the Nystrom method to speed up kernel machines, 2001;
    https://kexue.fm/archives/8180.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.nystrom_completion([[2.0]], [[4.0, 6.0]], [[3.0]]).round(12).tolist()
    [[6.0, 9.0]]
    """
    return rows @ (pseudo_inverse.__wrapped__(corner, rcond=rcond) @ columns)


@nystrom_completion.defvjp
def nystrom_completion_vjp(g, corner, columns, rows, /, *, rcond=None):
    """Through the product, and through the pseudo-inverse."""
    inverse = pseudo_inverse.__wrapped__(corner, rcond=rcond)
    inner = inverse @ columns
    dinner = rows.swapaxes(-1, -2) @ g
    (dcorner,) = pseudo_inverse_vjp(dinner @ columns.swapaxes(-1, -2), corner, rcond=rcond)
    return dcorner, inverse.swapaxes(-1, -2) @ dinner, g @ inner.swapaxes(-1, -2)
