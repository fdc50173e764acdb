"""Convolution that keeps the length, whose padding tells positions how far the border is."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import astype, namespace
from refimpl.core import gather_rows, scatter_rows
from refimpl.formula import formula


@formula(
    "(n,c),(w,c,o)->(n,o)",
    source="Islam et al. 2020 (arXiv:2001.08248), section 3; kexue.fm/archives/8130",
)
def padded_convolution(
    x, kernel, /, *, padding: Literal["zeros", "circular", "reflect", "replicate"]
):
    r"""A convolution of odd width with as many outputs as inputs.

    Formula
    -------
    .. math:: y_k = \sum_{u=-r}^{r} x_{k+u}\, W_u

    where the positions beyond the ends, k + u < 0 or >= n, have

    .. math:: 0\ \text{(zeros)}, \qquad x_{(k+u) \bmod n}\ \text{(circular)}, \qquad
        x_{-k-u} \text{ or } x_{2n-2-k-u}\ \text{(reflect)}, \qquad
        x_0 \text{ or } x_{n-1}\ \text{(replicate)}

    Parameters
    ----------
    x : (..., n, c) c channels at n positions.
    kernel : (..., w, c, o) W, w = 2r + 1: from u = -r on.
    padding : "zeros", "circular", "reflect" or "replicate".

    Returns
    -------
    (..., n, o).

    Raises
    ------
    ValueError
        A kernel of even width; an unknown padding.
    TypeError
        No ``padding``.

    Conventions
    -----------
    This is a correlation, which all frameworks call convolution; that of mathematics has the kernel
    reversed. "zeros" is "same" in TensorFlow, Keras and JAX and the default of torch, whose kernels
    are (o, c, w). torch has the same four names, and refuses r >= n (reflect) or r > n (circular);
    here sequences are repeated as often as needed, as numpy.pad does. Early versions of it padded
    circularly by half the width only. Even widths have no centre: frameworks pad them to one side
    more. There is no bias.

    Breaks when
    -----------
    Zeros leak positions: a constant input gives a constant except at the r positions next to each
    end, and after L layers L r of them. What is seen is the distance from the border, so the middle
    of a long sequence sees none. With circular padding nothing is: it commutes with shifts.

    References
    ----------
    Islam et al. 2020 (arXiv:2001.08248); https://kexue.fm/archives/8130; pytorch/pytorch issue
    20981 (circular); keras-team/keras issue 3015 (reversed).

    Examples
    --------
    >>> import refimpl
    >>> ones, sums = [[1.0]] * 5, [[[1.0]]] * 3
    >>> refimpl.padded_convolution(ones, sums, padding="zeros").ravel()
    array([2., 3., 3., 3., 2.])
    """
    padded, n = _padded(x, kernel, padding), x.shape[-2]
    return sum(padded[..., u : u + n, :] @ kernel[..., u, :, :] for u in range(kernel.shape[-3]))


@padded_convolution.defvjp
def padded_convolution_vjp(g, x, kernel, /, *, padding):
    """Each offset passes g back by its matrix, to the row that it saw; paddings add up there."""
    xp, padded, n = namespace(x), _padded(x, kernel, padding), x.shape[-2]
    rows, is_seen = _sources(x, kernel, padding)
    dx, dkernel = xp.zeros_like(x), []
    for u in range(kernel.shape[-3]):
        passed = g @ kernel[..., u, :, :].swapaxes(-1, -2)
        passed = astype(xp.where(is_seen[u : u + n, None], passed, 0), g.dtype)
        dx = dx + scatter_rows(passed, rows[u : u + n], n)
        dkernel.append(padded[..., u : u + n, :].swapaxes(-1, -2) @ g)
    return dx, xp.stack(dkernel, axis=-3)


def _padded(x, kernel, padding):
    """x with r rows more at both ends, (..., n + 2r, c)."""
    rows, is_seen = _sources(x, kernel, padding)
    return astype(namespace(x).where(is_seen[:, None], gather_rows(x, rows), 0), x.dtype)


def _sources(x, kernel, padding):
    """For positions -r ... n + r - 1 the row that they have, and whether they have any."""
    n, width = x.shape[-2], kernel.shape[-3]
    if width % 2 == 0:
        raise ValueError(f"kernel: expected an odd width, got {width}")
    xp = namespace(x)
    k = xp.arange(-(width // 2), n + width // 2) if n else xp.arange(0)
    is_seen = (k >= 0) & (k < n) | (padding != "zeros")
    if padding == "circular":
        return k % max(n, 1), is_seen
    if padding == "reflect":
        period = max(2 * n - 2, 1)
        return xp.minimum(k % period, period - k % period), is_seen
    return xp.clip(k, 0, max(n - 1, 0)), is_seen
