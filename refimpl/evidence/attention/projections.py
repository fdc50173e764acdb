"""Evidence for orthogonal projections."""

from __future__ import annotations

import numpy as np

from refimpl.attention.projections import orthogonal_projections
from refimpl.backend import like, namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.mistakes import wrong

# So that there are always as many rows in the blocks as are asked for.
orthogonal = Evidence(
    orthogonal_projections,
    sizes={"b": Sizes(2, 1, 3, 4), "d": Sizes(3, 1, 6, 33), "m": Sizes(1, 1, 6, 65)},
    unchanged={"gaussians is taken as 2 times itself": "rows are scaled to the given lengths"},
)


# ------------------------------------------------------------------------------------- regimes


def _blocks(rng, shape, spread):
    """Random orthogonal matrices times upper triangular ones that are not near singular."""
    basis, _ = np.linalg.qr(rng.standard_normal(shape))
    d = shape[-1]
    signs = rng.choice([-1.0, 1.0], (*shape[:-2], 1, d))
    triangle = np.triu(spread * rng.standard_normal(shape), 1) + np.eye(d)
    return (basis * signs) @ triangle


@orthogonal.regime
def normal(rng, shape):
    """Blocks of moderate condition, random lengths"""
    return Case((_blocks(rng, shape.gaussians, 0.3), rng.uniform(1.0, 4.0, shape.lengths)))


@orthogonal.regime
def fixed_lengths(rng, shape):
    """All rows of length sqrt d"""
    lengths = np.full(shape.lengths, shape.axes["d"] ** 0.5)
    return Case((_blocks(rng, shape.gaussians, 0.5), lengths))


@orthogonal.regime(adversarial=True)
def skewed(rng, shape):
    """Columns of very different length, and a length of 0"""
    blocks = _blocks(rng, shape.gaussians, 0.3)
    blocks = blocks * 8.0 ** rng.integers(-1, 2, blocks.shape[-1])
    lengths = rng.uniform(1.0, 4.0, shape.lengths)
    lengths[..., -1] = 0.0
    return Case((blocks, lengths))


# ---------------------------------------------------------------------------------------- laws


def _unit(f, case):
    """All whole blocks that are used, as squares of unit rows."""
    gaussians, lengths = case.arrays
    xp = namespace(gaussians)
    d = gaussians.shape[-1]
    whole = lengths.shape[-1] // d
    if whole == 0:
        return None, None
    ones = xp.ones((*lengths.shape[:-1], whole * d), dtype=lengths.dtype)
    rows = f(gaussians, ones)
    return gaussians[..., :whole, :, :], rows.reshape((*rows.shape[:-2], whole, d, d))


@orthogonal.law(slack=256.0)
def rows_are_orthonormal(f, case):
    """Within a block, rows of length 1 are orthonormal"""
    _, rows = _unit(f, case)
    if rows is not None:
        identity = like(np.eye(rows.shape[-1]).astype(rows.dtype), rows)
        yield Claim(rows @ rows.swapaxes(-1, -2), identity + 0.0 * rows, 1.0)


@orthogonal.law(slack=256.0)
def rest_is_triangular_with_a_positive_diagonal(f, case):
    """Q^T X is upper triangular, and its diagonal is not negative"""
    blocks, rows = _unit(f, case)
    if rows is not None:
        xp = namespace(rows)
        triangle = rows.swapaxes(-1, -2) @ blocks
        size = xp.sqrt((blocks * blocks).sum(axis=-2, keepdims=True))
        yield Claim(xp.tril(triangle, -1), 0.0 * triangle, size + 0.0 * triangle)
        diagonal = xp.diagonal(triangle, axis1=-2, axis2=-1)
        yield Claim(abs(diagonal), diagonal, 0.0)


@orthogonal.law(slack=256.0)
def lengths_are_those_asked_for(f, case):
    """Every row has its length"""
    lengths = case.arrays[1]
    rows = case.call(f)
    yield Claim((rows * rows).sum(axis=-1), lengths * lengths, lengths * lengths)


@orthogonal.law(slack=1024.0)
def orthogonal_matrices_pass_through(f, case):
    """Reordering the rows of every block reorders the rows of the result: the law is uniform"""
    gaussians, lengths = case.arrays
    d = gaussians.shape[-1]
    if lengths.shape[-1] >= d:
        xp = namespace(gaussians)
        ones = xp.ones((*lengths.shape[:-1], d), dtype=lengths.dtype)
        turned = f(xp.flip(gaussians, axis=-2), ones)
        yield Claim(turned, xp.flip(f(gaussians, ones), axis=-2), 1.0)


# -------------------------------------------------------------------------------- closed forms


@orthogonal.closed_form
def upper_triangular_blocks(rng, shape):
    """Upper triangular blocks of positive or negative diagonal: unit vectors of that sign"""
    b, d, m = (shape.axes[axis] for axis in ("b", "d", "m"))
    signs = rng.choice([-1.0, 1.0], (*shape.batch, b, d))
    blocks = np.triu(rng.uniform(-0.5, 0.5, shape.gaussians), 1) + signs[..., None] * np.eye(d)
    lengths = rng.uniform(1.0, 2.0, shape.lengths)
    rows = (np.eye(d) * signs[..., None, :]).reshape((*shape.batch, b * d, d))[..., :m, :]
    return Case((blocks, lengths)), lengths[..., None] * rows


@orthogonal.closed_form
def permutations(rng, shape):
    """Scaled permutation matrices: themselves, without the scale"""
    b, d, m = (shape.axes[axis] for axis in ("b", "d", "m"))
    order = rng.permuted(np.broadcast_to(np.arange(d), (*shape.batch, b, d)), axis=-1)
    blocks = np.eye(d)[order]
    scale = rng.choice([0.5, 2.0, 4.0], (*shape.batch, b, 1, d))
    rows = blocks.reshape((*shape.batch, b * d, d))[..., :m, :]
    lengths = rng.uniform(1.0, 2.0, shape.lengths)
    return Case((blocks * scale, lengths)), lengths[..., None] * rows


# ------------------------------------------------------------------------------------- mutants


def _rows(blocks, lengths):
    d = blocks.shape[-1]
    rows = blocks.reshape((*blocks.shape[:-3], -1, d))[..., : lengths.shape[-1], :]
    return lengths[..., None] * rows


@orthogonal.mutant(source="https://github.com/google-research/google-research/issues/436")
def signs_of_lapack(gaussians, lengths, /):
    """Q is taken with the signs that LAPACK gives it"""
    return _rows(np.linalg.qr(gaussians)[0], lengths)


@orthogonal.mutant
def signs_on_rows(gaussians, lengths, /):
    """the signs of the diagonal of R multiply the rows of Q, as in xformers, not the columns"""
    basis, triangle = np.linalg.qr(gaussians)
    signs = np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))
    return _rows(basis * signs[..., :, None], lengths)


@orthogonal.mutant
def columns_for_rows(gaussians, lengths, /):
    """the rows are the columns of Q"""
    d = gaussians.shape[-1]
    ones = np.ones(gaussians.shape[-3] * d)
    basis = orthogonal_projections(gaussians, ones).reshape(gaussians.shape)
    return _rows(basis.swapaxes(-1, -2), lengths)


@orthogonal.mutant
def not_orthogonal(gaussians, lengths, /):
    """the rows are normalised but not made orthogonal"""
    sizes = np.sqrt((gaussians * gaussians).sum(axis=-1, keepdims=True))
    return _rows(gaussians / sizes, lengths)


@orthogonal.mutant
def lengths_of_the_gaussians(gaussians, lengths, /):
    """the lengths are those of the rows that were made orthogonal, as in fast-transformers"""
    sizes = np.sqrt((gaussians * gaussians).sum(axis=-1))
    sizes = sizes.reshape((*sizes.shape[:-2], -1))[..., : lengths.shape[-1]]
    return orthogonal_projections(gaussians, sizes)


wrong(orthogonal, "all rows have length 1", arrays={"lengths": np.ones_like})


@orthogonal.mutant
def one_block_repeated(gaussians, lengths, /):
    """every block is the first one"""
    return orthogonal_projections(
        np.broadcast_to(gaussians[..., :1, :, :], gaussians.shape), lengths
    )
