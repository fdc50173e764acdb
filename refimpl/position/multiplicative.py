"""Encodings that multiply: elementwise factors, and the complex ones of Complex Order."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite
from refimpl.formula import formula


@formula("(n,d),(n,d)->(n,d)", source="kexue.fm/archives/8130, section on multiplication")
def multiplicative_encoding(x, encoding, /, *, parametrisation: Literal["factor", "deviation"]):
    r"""Embeddings of tokens multiplied by those of their positions, entry by entry.

    Formula
    -------
    .. math:: y_k = x_k \odot p_k \quad\text{or}\quad y_k = x_k \odot (1 + p_k)

    for ``parametrisation="factor"`` and ``"deviation"``.

    Parameters
    ----------
    x : (..., n, d) tokens; encoding : (..., n, d) p, of their positions.
    parametrisation : "factor" or "deviation".

    Returns
    -------
    (..., n, d).

    Raises
    ------
    ValueError
        Unknown parametrisation; shapes that do not fit.
    TypeError
        No parametrisation.

    Conventions
    -----------
    The survey multiplies by p. bert4keras (``merge_mode="mul"``) multiplies by 1 + p, with p of
    zeros at first: the same functions, from another start.

    Breaks when
    -----------
    Factors of 0 lose the token.

    References
    ----------
    https://kexue.fm/archives/8130; bojone/bert4keras.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.multiplicative_encoding([[2.0, 3.0]], [[0.5, 0.0]], parametrisation="deviation")
    array([[3., 3.]])
    """
    return x * _factors(encoding, parametrisation)


@multiplicative_encoding.defvjp
def multiplicative_encoding_vjp(g, x, encoding, /, *, parametrisation):
    """dx = g times the factors, dp = g x."""
    return g * _factors(encoding, parametrisation), g * x


def _factors(encoding, parametrisation):
    return encoding if parametrisation == "factor" else 1 + encoding


@formula(
    "(n,d),(n,d),(n,d),(n)->(n,d),(n,d)",
    source="Wang et al. 2020 (Complex Order, arXiv:1912.12333), eq. 5; kexue.fm/archives/8130",
    kinds={"positions": "exact"},
)
def complex_order_encoding(amplitudes, frequencies, phases, positions, /):
    r"""The complex embedding of a token that turns with its position.

    Formula
    -------
    .. math:: f_k = r_k \odot e^{\mathrm i (\omega_k k + \theta_k)}

    for a token at position k with its own amplitude r, frequency :math:`\omega` and phase
    :math:`\theta` in every feature. A step of n multiplies by :math:`e^{\mathrm i \omega n}`,
    wherever it begins.

    Parameters
    ----------
    amplitudes : (..., n, d) r; frequencies : (..., n, d) :math:`\omega`, radians per position;
        phases : (..., n, d) :math:`\theta`. Each a row of a table of the vocabulary.
    positions : (..., n) k, integers or float64.

    Returns
    -------
    real, imaginary : (..., n, d) each, of the type of the first three.

    Raises
    ------
    ValueError
        Positions that are not finite; shapes that do not fit.
    TypeError
        Positions in float16 or float32.

    Conventions
    -----------
    Released code counts tokens from 1, with 0 for padding, and leaves the phase out in its
    classifiers. Layers above it are complex: (A + iB)(x + iy) = (Ax - By) + i(Bx + Ay); its
    language model lacks one of the two cross terms of queries and keys.

    Breaks when
    -----------
    Angles are computed in float64, but frequencies have the precision they come in: an error of
    :math:`k\,\omega\,2^{-24}` in float32.

    References
    ----------
    Wang et al. 2020 (arXiv:1912.12333); https://kexue.fm/archives/8130; iclr-complex-order.

    Examples
    --------
    >>> import refimpl
    >>> real, imaginary = refimpl.complex_order_encoding([[2.0]], [[0.5]], [[0.25]], [3])
    >>> float(real[0, 0]).__round__(6), float(imaginary[0, 0]).__round__(6)
    (-0.356492, 1.967972)
    """
    cos, sin, _ = _turns(amplitudes, frequencies, phases, positions)
    return tuple(astype(amplitudes * wave, amplitudes.dtype) for wave in (cos, sin))


@complex_order_encoding.defvjp
def complex_order_encoding_vjp(g, amplitudes, frequencies, phases, positions, /):
    """g_re + i g_im turned back by the angle: its real part is dr, r times the other dtheta."""
    cos, sin, k = _turns(amplitudes, frequencies, phases, positions)
    real, imaginary = (astype(x, cos.dtype) for x in g)
    dphases = amplitudes * (imaginary * cos - real * sin)
    found = real * cos + imaginary * sin, k * dphases, dphases
    return tuple(astype(x, amplitudes.dtype) for x in found)


def _turns(amplitudes, frequencies, phases, positions):
    """Cosine and sine of the angles, in at least float64, and the positions beside them."""
    require_finite("positions", positions)
    xp = namespace(amplitudes)
    dtype = xp.result_type(amplitudes.dtype, result_type(positions))
    k = astype(positions, dtype)[..., None]
    angles = astype(frequencies, dtype) * k + astype(phases, dtype)
    return xp.cos(angles), xp.sin(angles), k


@formula(
    "(n,d),(n,d),(m,d),(m,d)->(n,m),(n,m)",
    source="Wang et al. 2020 (Complex Order, arXiv:1912.12333), section 3.3",
)
def complex_products(q_real, q_imaginary, k_real, k_imaginary, /, *, conjugate: bool):
    r"""Products of complex queries with complex keys, as real and imaginary parts.

    Formula
    -------
    .. math:: z_{ij} = \sum_c q_{ic} k_{jc} \quad\text{or}\quad \sum_c q_{ic} \overline{k_{jc}}

    so without ``conjugate`` :math:`\mathrm{Re}\, z = A C^T - B D^T` and
    :math:`\mathrm{Im}\, z = A D^T + B C^T` for q = A + iB and k = C + iD.

    Parameters
    ----------
    q_real, q_imaginary : (..., n, d) A, B; k_real, k_imaginary : (..., m, d) C, D.
    conjugate : bool. Whether keys are conjugated (an inner product).

    Returns
    -------
    real, imaginary : (..., n, m) each, not scaled.

    Raises
    ------
    ValueError
        Shapes that do not fit.
    TypeError
        No ``conjugate``.

    Conventions
    -----------
    Complex Order does not conjugate, and takes a softmax of the modulus. Only the conjugate product
    of :func:`complex_order_encoding` sees the distance of two tokens: phases of the position add up
    in the other. Its released language model has twice the same cross term in the imaginary part.

    Breaks when
    -----------
    Never.

    References
    ----------
    Wang et al. 2020 (arXiv:1912.12333); iclr-complex-order, complex_mem_transformer.py.

    Examples
    --------
    >>> import refimpl
    >>> parts = [[1.0]], [[2.0]], [[3.0]], [[4.0]]
    >>> refimpl.complex_products(*parts, conjugate=False)
    (array([[-5.]]), array([[10.]]))
    """
    d = -k_imaginary if conjugate else k_imaginary
    c, d = k_real.swapaxes(-1, -2), d.swapaxes(-1, -2)
    return q_real @ c - q_imaginary @ d, q_real @ d + q_imaginary @ c


@complex_products.defvjp
def complex_products_vjp(g, q_real, q_imaginary, k_real, k_imaginary, /, *, conjugate):
    """With g = g_re + i g_im: dq = g times the conjugate of the keys, dk that of the queries."""
    sign = -1 if conjugate else 1
    d = sign * k_imaginary
    real, imaginary = g
    back = real.swapaxes(-1, -2), imaginary.swapaxes(-1, -2)
    return (
        real @ k_real + imaginary @ d,
        imaginary @ k_real - real @ d,
        back[0] @ q_real + back[1] @ q_imaginary,
        sign * (back[1] @ q_real - back[0] @ q_imaginary),
    )
