"""Sandwich: the products of sinusoidal encodings as a bias of attention logits."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.formula import formula
from refimpl.formula.options import Count
from refimpl.position.bias import over_pairs
from refimpl.position.decay import sinusoid_inner_product
from refimpl.position.distances import signed_distances


@formula(
    "(f),(n),(m)->(h,n,m)",
    source="Chi et al. 2023 (Sandwich, arXiv:2212.10356), section 5 and appendix",
    kinds={"frequencies": "exact", "query_positions": "exact", "key_positions": "exact"},
    differentiable=("frequencies",),
)
def sandwich_bias(frequencies, query_positions, key_positions, /, *, heads: Count, centred: bool):
    r"""The bias of Sandwich: how alike the sinusoids of query and key are, less in later heads.

    Formula
    -------
    With H = ``heads`` and h = 1, ..., H

    .. math:: b_{hij} = \frac{H}{8 h} \Bigl(\sum_{p} \cos((i - j)\, \theta_p) - c\Bigr)

    where c is 0, or the number of frequencies where the bias is ``centred``.

    Parameters
    ----------
    frequencies : (..., f) :math:`\theta` in radians per position, float64: in the paper
        :func:`rotary_frequencies` of base 10000 and dim 128, whatever the width of heads is.
    query_positions : (..., n) i; key_positions : (..., m) j. Integers or float64.
    heads : int >= 1. H.
    centred : bool. Whether the bias is 0 at distance 0, see Conventions.

    Returns
    -------
    (..., heads, n, m), float64: the ``bias`` of :func:`softmax_attention`. Not masked: mask in the
    softmax.

    Raises
    ------
    ValueError
        ``heads`` < 1; positions that are not finite.
    TypeError
        No ``heads``, no ``centred``; frequencies or positions in float16 or float32.

    Conventions
    -----------
    The code in the paper is not centred. NeMo's is, by half its width d, and has other frequencies,
    b^(-2p/d) for p = 1, ..., d/2 instead of 0, ..., d/2 - 1. Centring moves each head by a number,
    which the softmax does not see. The sum is :func:`sinusoid_inner_product`.

    Breaks when
    -----------
    The decay is a trend: sums of few cosines oscillate, and far beyond the longest period all do.

    References
    ----------
    Chi et al. 2023 (arXiv:2212.10356); NVIDIA NeMo, sandwich_relative_position_embedding.py;
    attention-gym, mods/sandwich.py.

    Examples
    --------
    >>> import refimpl
    >>> theta = refimpl.rotary_frequencies(10000.0, dim=128)
    >>> refimpl.sandwich_bias(theta, [64], [64, 63, 0], heads=2, centred=True).round(4)
    array([[[ 0.    , -0.4766, -8.37  ]],
    <BLANKLINE>
           [[ 0.    , -0.2383, -4.185 ]]])
    """
    distances, scales = _sandwich_parts(frequencies, query_positions, key_positions, heads)
    similarity = sinusoid_inner_product(_flat(distances), frequencies)
    similarity = similarity.reshape(*similarity.shape[:-1], *distances.shape[-2:])
    return scales * (similarity - frequencies.shape[-1] * bool(centred))[..., None, :, :]


@sandwich_bias.form("textbook")
def sandwich_bias_textbook(frequencies, query_positions, key_positions, /, *, heads, centred):
    """The sum of cosines for every query and key, times H/(8 h) for head h."""
    xp = namespace(frequencies)
    distances = signed_distances(query_positions, key_positions, frequencies)
    cosines = xp.cos(distances[..., None] * frequencies[..., None, None, :])
    similarity = cosines.sum(axis=-1) - (frequencies.shape[-1] if centred else 0)
    h = xp.arange(1, heads + 1, dtype=distances.dtype)[:, None, None]
    return heads / (8 * h) * similarity[..., None, :, :]


@sandwich_bias.defvjp
def sandwich_bias_vjp(g, frequencies, query_positions, key_positions, /, *, heads, centred):
    """As of the inner product, for the sum over heads."""
    distances, scales = _sandwich_parts(frequencies, query_positions, key_positions, heads)
    by_pair = _flat((scales * g).sum(axis=-3))
    return (sinusoid_inner_product.vjp(by_pair, _flat(distances), frequencies)[1],)


def _sandwich_parts(frequencies, query_positions, key_positions, heads):
    """i - j, (..., n, m), and H/(8 h), (h, 1, 1)."""
    distances = signed_distances(query_positions, key_positions, frequencies)
    numbers = namespace(frequencies).arange(1, heads + 1, dtype=distances.dtype)
    return distances, over_pairs(heads / (8 * numbers))


def _flat(matrix):
    """(..., n m) of (..., n, m)."""
    return matrix.reshape(*matrix.shape[:-2], matrix.shape[-2] * matrix.shape[-1])
