"""Rotary embedding on several axes: rows and columns of images, and time, height, width."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import Choice, Items, Number, Pairing, Positive
from refimpl.position.rotary import joined, rotary_embedding, rotary_frequencies, single

_SIZE = Number(0, 2**24, whole=True)
Arrangement = Annotated[str, Choice(("contiguous", "interleaved"), ("Qwen2-VL", "Qwen3-VL"))]
Sections = Annotated[
    tuple[int, int, int], Items((_SIZE,), 3, "three numbers of pairs, of time, height and width")
]


@formula(
    "(n,d),(a,n)->(n,d)",
    source="kexue.fm/archives/8397; Heo et al. 2024 (arXiv:2403.13298), axial frequency",
    kinds={"positions": "exact"},
    differentiable=("x", "positions"),
)
def axial_rotary_embedding(
    x: Any,
    positions: Any,
    /,
    *,
    pairing: Pairing,
    split: Literal["features", "pairs"],
    base: Positive = 10000.0,
) -> Any:
    r"""Rotation by several coordinates, each of its own share of the features.

    Formula
    -------
    With a axes, d = a r, and the frequencies :math:`\theta_i = b^{-2i/r}` of one share, the share
    of axis k turns by the angles :math:`m_k \theta_i`:

    .. math:: R_{m} = \mathrm{diag}(R_{m_1}, \dots, R_{m_a}), \qquad
        R_m^T R_n = R_{n - m} \text{ on every axis}

    Parameters
    ----------
    x : (..., n, d) queries or keys; d is an even number times a.
    positions : (..., a, n) coordinates, integers or float64, one row for each axis.
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`.
    split : "features": each axis has a run of d/a features, which pair among themselves; or
        "pairs": each axis has a run of the d/2 pairs of the whole head. With interleaved pairs the
        two are the same.
    base : number > 0. b.

    Returns
    -------
    (..., n, d) of x's type.

    Raises
    ------
    ValueError
        d not an even multiple of a; an unknown pairing or split; positions not finite.
    TypeError
        No pairing or no split; positions in float16 or float32.

    Conventions
    -----------
    Frequencies are those of the share, d/a features, not of the head. With half pairs, "pairs" is
    the vision tower of Qwen2-VL, whose phases [height | width] are tiled twice. The order of the
    axes is that of the rows: height before width in Qwen, x before y in VisionLLaMA. Coordinates
    start at 1 in torchtune's vision tower. rotary-embedding-torch has frequencies of its own for
    pixels, pi linspace(1, f/2, d/2), and coordinates from -1 to 1; :func:`rotary_embedding` takes
    either.

    Breaks when
    -----------
    Distances are seen along the axes only: a diagonal neighbour is two turns, not one.

    References
    ----------
    https://kexue.fm/archives/8397, /10040; Heo et al. 2024 (arXiv:2403.13298);
    Tencent/ncnn issue 6833, huggingface/diffusers issue 12538.

    Examples
    --------
    >>> import refimpl
    >>> x, grid = [[1.0, 0.0, 1.0, 0.0]], [[1], [2]]
    >>> refimpl.axial_rotary_embedding(x, grid, pairing="interleaved", split="pairs").round(4)
    array([[ 0.5403,  0.8415, -0.4161,  0.9093]])
    """
    return _axial(x, positions, pairing, split, _axial_angles(x, positions, base))


@axial_rotary_embedding.form("textbook")
def axial_rotary_embedding_textbook(x, positions, /, *, pairing, split, base=10000.0):
    """diag(R_{m_1}, ..., R_{m_a}) x: each share is rotated alone, by its own coordinate."""
    xp, a, r = namespace(x), positions.shape[-2], _share_size(x, positions)
    by_pairs = pairing == "half" and split == "pairs"
    halves = xp.split(x, range(r // 2, a * r, r // 2), axis=-1)
    for k in range(a):
        # Both halves of the share of axis k: next to each other, or in both halves of the head.
        first, second = (k, k + a) if by_pairs else (2 * k, 2 * k + 1)
        share = xp.concatenate([halves[first], halves[second]], axis=-1)
        turned = rotary_embedding(share, positions[..., k, :], pairing=pairing, base=base)
        halves[first], halves[second] = turned[..., : r // 2], turned[..., r // 2 :]
    return xp.concatenate(halves, axis=-1)


@axial_rotary_embedding.defvjp
def axial_rotary_embedding_vjp(g, x, positions, /, *, pairing, split, base=10000.0):
    """As of rotation by given angles; the angle m_k theta_i has the slope theta_i in m_k."""
    angles = _axial_angles(x, positions, base)
    return _axial_vjp(g, x, positions, pairing, split, base, angles)


@axial_rotary_embedding.form("single_angles", loses="angles are rounded")
def axial_rotary_embedding_single_angles(x, positions, /, *, pairing, split, base=10000.0):
    """With angles in x's type, at least float32, as in most code."""
    angles = _axial_angles(x, positions, base, single(x))
    return _axial(x, positions, pairing, split, angles)


@axial_rotary_embedding.defvjp(form="single_angles")
def axial_rotary_embedding_single_angles_vjp(g, x, positions, /, *, pairing, split, base=10000.0):
    """The gradient at these angles."""
    angles = _axial_angles(x, positions, base, single(x))
    return _axial_vjp(g, x, positions, pairing, split, base, angles)


def _axial(x, positions, pairing, split, angles):
    order, back = _feature_order(x, positions, pairing, split)
    return turned(x[..., order], angles, pairing)[..., back]


def _axial_vjp(g, x, positions, pairing, split, base, angles):
    order, back = _feature_order(x, positions, pairing, split)
    dx, dangles = turned_vjp(g[..., order], x[..., order], angles, pairing)
    theta = _share_frequencies(x, positions, base, dangles.dtype)
    shares = dangles.reshape(*dangles.shape[:-1], positions.shape[-2], theta.shape[-1])
    return dx[..., back], (shares * theta).sum(axis=-1).swapaxes(-1, -2)


def _axial_angles(x, positions, base, dtype=None):
    """The angle of every pair of the head, (..., n, d/2): the shares one after another.

    In the type that is asked for, or that of the positions.
    """
    require_finite("positions", positions)
    dtype = dtype or result_type(positions)
    theta = _share_frequencies(x, positions, base, dtype)
    angles = astype(positions, dtype).swapaxes(-1, -2)[..., None] * theta
    return angles.reshape(*angles.shape[:-2], x.shape[-1] // 2)


def _share_frequencies(x, positions, base, dtype):
    base = namespace(x).asarray(float(base))
    return astype(rotary_frequencies(base, dim=_share_size(x, positions)), dtype)


def _share_size(x, positions):
    a, d = positions.shape[-2], x.shape[-1]
    if a == 0 or d % (2 * a) or d == 0:
        raise ValueError(f"x: expected an even number of features for each of {a} axes, got {d}")
    return d // a


def _feature_order(x, positions, pairing, split):
    """Features in the order in which pair p of the head is the p-th angle, and the way back."""
    a, d = positions.shape[-2], x.shape[-1]
    if pairing != "half" or split == "pairs":
        return slice(None), slice(None)
    half = d // (2 * a) if a else 0
    # Shares are first and second halves in turn: all first halves come to the front.
    index = namespace(x).arange(a * 2 * half).reshape(a, 2, half)
    return index.swapaxes(0, 1).reshape(-1), index.reshape(2, a, half).swapaxes(0, 1).reshape(-1)


@formula(
    "(n,d),(3,n)->(n,d)",
    source="Wang et al. 2024 (Qwen2-VL, arXiv:2409.12191), section 2.1; Qwen3-VL 2025",
    keywords={"frequencies": "(h?)"},
    kinds={"positions": "exact", "frequencies": "exact"},
    differentiable=("x", "positions", "frequencies"),
)
def multimodal_rotary_embedding(
    x: Any,
    positions: Any,
    /,
    *,
    pairing: Pairing,
    sections: Sections,
    arrangement: Arrangement,
    base: Positive = 10000.0,
    frequencies: Any = None,
) -> Any:
    r"""M-RoPE: time, height and width each turn some of the pairs of one spectrum.

    Formula
    -------
    .. math:: \phi_p = m_{k(p)}\, \theta_p, \qquad \theta_p = b^{-2p/d}, \quad 0 \le p < d/2

    turns pair p, where the axis k(p) is, with sections :math:`(s_t, s_h, s_w)` of sum d/2,

    - "contiguous": t for the first :math:`s_t` pairs, then h for :math:`s_h`, then w;
    - "interleaved": h where p mod 3 = 1 and p < 3 s_h, w where p mod 3 = 2 and p < 3 s_w, else t.

    Parameters
    ----------
    x : (..., n, d) queries or keys.
    positions : (..., 3, n) time, height and width, integers or float64.
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`; Qwen has "half".
    sections : three integers, how many pairs each axis has.
    arrangement : "contiguous" (Qwen2-VL, Qwen2.5-VL) or "interleaved" (Qwen3-VL).
    base : number > 0. b, where no frequencies are given: 1000000 in Qwen2-VL.
    frequencies : (..., d/2), optional. :math:`\theta`, float64.

    Returns
    -------
    (..., n, d) of x's type.

    Raises
    ------
    ValueError
        Sections that are not three numbers of sum d/2, or that do not fit interleaved; d odd;
        an unknown pairing or arrangement; positions not finite.
    TypeError
        No pairing, sections or arrangement; positions or frequencies in float16 or float32.

    Conventions
    -----------
    Configurations list the sections in pairs, [16, 24, 24] or [24, 20, 20] of 128 features; some
    code doubles them for tables of d columns. Text has t = h = w, and is then rotated as by
    :func:`rotary_embedding`. Positions are those of :func:`multimodal_positions`.

    Breaks when
    -----------
    Contiguous sections give time the fastest frequencies alone and width the slowest: distances
    along the width are told apart least. Interleaved ones spread all three.

    References
    ----------
    Wang et al. 2024 (arXiv:2409.12191); Hugging Face transformers, qwen2_vl and qwen3_vl;
    alibaba/MNN pull 4133, Blaizzy/mlx-vlm issue 576.

    Examples
    --------
    >>> import refimpl
    >>> options = {"pairing": "half", "sections": (1, 1, 1), "arrangement": "contiguous"}
    >>> x, at = [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]], [[0], [3], [0]]
    >>> refimpl.multimodal_rotary_embedding(x, at, **options, base=1.0).round(4)
    array([[ 1.    , -0.99  ,  1.    ,  0.    ,  0.1411,  0.    ]])
    """
    theta, chosen = _multimodal(x, positions, sections, arrangement, base, frequencies)
    return turned(x, chosen * theta[..., None, :], pairing)


@multimodal_rotary_embedding.form("textbook")
def multimodal_rotary_embedding_textbook(
    x, positions, /, *, pairing, sections, arrangement, base=10000.0, frequencies=None
):
    """x rotated by time, by height and by width, and each pair from the rotation by its axis."""
    xp, (time, height, width) = namespace(x), sections
    _check_sections(x, sections, arrangement, frequencies)
    p = xp.arange(x.shape[-1] // 2)
    if arrangement == "contiguous":
        is_height = (p >= time) & (p < time + height)
        is_width = p >= time + height
    else:
        is_height = (p % 3 == 1) & (p < 3 * height)
        is_width = (p % 3 == 2) & (p < 3 * width)
    by_time, by_height, by_width = (
        rotary_embedding(
            x, positions[..., k, :], pairing=pairing, base=base, frequencies=frequencies
        )
        for k in range(3)
    )
    of_height, of_width = joined(is_height, is_height, pairing), joined(is_width, is_width, pairing)
    return xp.where(of_height, by_height, xp.where(of_width, by_width, by_time))


@multimodal_rotary_embedding.defvjp
def multimodal_rotary_embedding_vjp(
    g, x, positions, /, *, pairing, sections, arrangement, base=10000.0, frequencies=None
):
    """As of rotation by given angles; the angle of pair p goes to its axis and its frequency."""
    theta, chosen = _multimodal(x, positions, sections, arrangement, base, frequencies)
    dx, dangles = turned_vjp(g, x, chosen * theta[..., None, :], pairing)
    dfrequencies = None if frequencies is None else (dangles * chosen).sum(axis=-2)
    return dx, _to_axes(dangles * theta[..., None, :], sections, arrangement), dfrequencies


def _to_axes(by_pair, sections, arrangement):
    """What pairs have (..., n, h), added up for each of the three axes (..., 3, n)."""
    xp = namespace(by_pair)
    axes = xp.asarray(multimodal_axes(sections, arrangement))
    return xp.stack([(by_pair * (axes == k)).sum(axis=-1) for k in range(3)], axis=-2)


@multimodal_rotary_embedding.form("single_angles", loses="angles are rounded")
def multimodal_rotary_embedding_single_angles(
    x, positions, /, *, pairing, sections, arrangement, base=10000.0, frequencies=None
):
    """With angles in x's type, at least float32, as in most code."""
    theta, chosen = _multimodal(x, positions, sections, arrangement, base, frequencies)
    angles = astype(chosen, single(x)) * astype(theta, single(x))[..., None, :]
    return turned(x, angles, pairing)


@multimodal_rotary_embedding.defvjp(form="single_angles")
def multimodal_rotary_embedding_single_angles_vjp(
    g, x, positions, /, *, pairing, sections, arrangement, base=10000.0, frequencies=None
):
    """The gradient at these angles."""
    theta, chosen = _multimodal(x, positions, sections, arrangement, base, frequencies)
    angles = astype(chosen, single(x)) * astype(theta, single(x))[..., None, :]
    dx, dangles = turned_vjp(g, x, angles, pairing)
    dfrequencies = None if frequencies is None else (dangles * chosen).sum(axis=-2)
    return dx, _to_axes(dangles * theta[..., None, :], sections, arrangement), dfrequencies


def _multimodal(x, positions, sections, arrangement, base, frequencies):
    """The frequencies (..., h), and the position of every pair (..., n, h)."""
    require_finite("positions", positions)
    axes = _check_sections(x, sections, arrangement, frequencies)
    xp = namespace(x)
    if frequencies is None:
        frequencies = rotary_frequencies(xp.asarray(float(base)), dim=x.shape[-1])
    return frequencies, positions[..., xp.asarray(axes), :].swapaxes(-1, -2)


def _check_sections(x, sections, arrangement, frequencies):
    """The axis of every pair; ValueError where they do not fit the features or the frequencies."""
    axes, d = multimodal_axes(sections, arrangement), x.shape[-1]
    if d != 2 * len(axes):
        raise ValueError(f"sections: expected a sum of d/2 for d = {d}, got {sections}")
    if frequencies is not None and frequencies.shape[-1] != len(axes):
        raise ValueError(f"frequencies: expected {len(axes)}, got {frequencies.shape[-1]}")
    return axes


def multimodal_axes(sections: tuple[int, int, int], arrangement: str) -> list[int]:
    """The axis of every pair: 0 for time, 1 for height, 2 for width."""
    if len(sections) != 3 or min(sections) < 0:
        raise ValueError(f"sections: expected three numbers of pairs, got {sections}")
    if arrangement == "contiguous":
        return [axis for axis, size in enumerate(sections) for _ in range(size)]
    axes = [p % 3 if p < 3 * sections[p % 3] else 0 for p in range(sum(sections))]
    if axes.count(1) != sections[1] or axes.count(2) != sections[2]:
        raise ValueError(f"sections: {sections} cannot be interleaved, time has too few")
    return axes


# ------------------------------------------------------------------------------ rotation by angles


def turned(x, angles, pairing):
    """x (..., n, 2h) rotated by angles (..., n, h): each token has frequencies of its own."""
    one, angles = namespace(x).ones(1), _exact(angles)
    turned = rotary_embedding(x[..., None, :], one, pairing=pairing, frequencies=angles)
    return turned[..., 0, :]


def turned_vjp(g, x, angles, pairing):
    """Gradients in x and in the angles, both with all leading axes."""
    xp = namespace(x)
    lead = g.shape[:-1]
    x = xp.broadcast_to(x, g.shape)
    angles = xp.broadcast_to(_exact(angles), (*lead, angles.shape[-1]))
    dx, _, dangles = rotary_embedding.vjp(
        g[..., None, :], x[..., None, :], xp.ones(1), pairing=pairing, frequencies=angles
    )
    return dx[..., 0, :], dangles


def _exact(angles):
    """Rounded angles as they are, in a type that rotation takes."""
    return astype(angles, namespace(angles).result_type(angles.dtype, "float64"))
