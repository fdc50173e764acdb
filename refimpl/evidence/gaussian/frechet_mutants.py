"""Wrong variants of the Frechet distance: what FID code really did."""

from __future__ import annotations

from refimpl.backend import eigvalsh, namespace, svdvals
from refimpl.evidence.gaussian.frechet import frechet
from refimpl.evidence.gaussian.shared import trace
from refimpl.gaussian.frechet import frechet_distance


def _factor(samples, ddof):
    centred = samples - samples.mean(axis=-2, keepdims=True)
    return centred.swapaxes(-1, -2) * (samples.shape[-2] - ddof) ** -0.5


def _distance(factor_x, factor_y, delta):
    squares = (factor_x**2).sum(axis=(-2, -1)) + (factor_y**2).sum(axis=(-2, -1))
    nuclear = svdvals(factor_x.swapaxes(-1, -2) @ factor_y).sum(axis=-1)
    return (delta * delta).sum(axis=-1) + squares - 2 * nuclear


def _gap(x, y):
    return x.mean(axis=-2) - y.mean(axis=-2)


def _covariances(x, y, ddof):
    return (s @ s.swapaxes(-1, -2) for s in (_factor(x, ddof), _factor(y, ddof)))


@frechet.mutant(source="https://github.com/tqch/ddpm-torch/issues/11")
def other_divisor(x, y, /, *, ddof):
    """the covariances have the other divisor: n for n - 1, or n - 1 for n"""
    return _distance(_factor(x, 1 - ddof), _factor(y, 1 - ddof), _gap(x, y))


@frechet.mutant(source="https://github.com/lucidrains/denoising-diffusion-pytorch/issues/213")
def rows_for_columns(x, y, /, *, ddof):
    """samples are taken for variables: traces of the covariances of the transposed arrays"""
    xp = namespace(x)
    turned = (_factor(s.swapaxes(-1, -2), 0) for s in (x, y))
    deviations = [xp.sqrt((s * s).sum(axis=(-2, -1))) for s in turned]
    return (_gap(x, y) ** 2).sum(axis=-1) + (deviations[0] - deviations[1]) ** 2


@frechet.mutant(source="https://github.com/toshas/torch-fidelity/issues/46")
def eigenvalues_of_half_the_product(x, y, /, *, ddof):
    """a solver for symmetric matrices gets S_x S_y, which is not, and reads one triangle of it"""
    xp = namespace(x)
    cov_x, cov_y = _covariances(x, y, ddof)
    roots = xp.sqrt(xp.maximum(eigvalsh(cov_x @ cov_y), 0)).sum(axis=-1)
    return (_gap(x, y) ** 2).sum(axis=-1) + trace(cov_x) + trace(cov_y) - 2 * roots


@frechet.mutant
def not_centred(x, y, /, *, ddof):
    """second moments about the origin stand for the covariances"""
    raw = (s.swapaxes(-1, -2) * (s.shape[-2] - ddof) ** -0.5 for s in (x, y))
    return _distance(*raw, _gap(x, y))


@frechet.mutant
def pooled_mean(x, y, /, *, ddof):
    """both sets are centred at their common mean"""
    total = x.sum(axis=-2) + y.sum(axis=-2)
    mean = (total / (x.shape[-2] + y.shape[-2]))[..., None, :]
    factors = ((s - mean).swapaxes(-1, -2) * (s.shape[-2] - ddof) ** -0.5 for s in (x, y))
    return _distance(*factors, _gap(x, y))


@frechet.mutant(source="https://github.com/PythonOT/POT/pull/649")
def means_missing(x, y, /, *, ddof):
    """the means are ignored"""
    return _distance(_factor(x, ddof), _factor(y, ddof), 0 * _gap(x, y))


@frechet.mutant
def mean_not_squared(x, y, /, *, ddof):
    """the distance of the means is not squared"""
    xp = namespace(x)
    gap = _gap(x, y)
    shape = _distance(_factor(x, ddof), _factor(y, ddof), 0 * gap)
    return xp.sqrt((gap * gap).sum(axis=-1)) + shape


@frechet.mutant
def mean_averaged(x, y, /, *, ddof):
    """the squared difference of the means is averaged over the dimensions, not summed"""
    return _distance(_factor(x, ddof), _factor(y, ddof), _gap(x, y) * x.shape[-1] ** -0.5)


@frechet.mutant
def diagonals_only(x, y, /, *, ddof):
    """only the variances of the dimensions are used"""
    xp = namespace(x)
    deviations = (xp.sqrt((_factor(s, ddof) ** 2).sum(axis=-1)) for s in (x, y))
    return (_gap(x, y) ** 2).sum(axis=-1) + ((next(deviations) - next(deviations)) ** 2).sum(
        axis=-1
    )


@frechet.mutant
def cross_term_missing(x, y, /, *, ddof):
    """the trace of the root is missing"""
    squares = ((_factor(s, ddof) ** 2).sum(axis=(-2, -1)) for s in (x, y))
    return (_gap(x, y) ** 2).sum(axis=-1) + next(squares) + next(squares)


@frechet.mutant
def two_missing(x, y, /, *, ddof):
    """the trace of the root lacks its factor 2"""
    full = _distance(_factor(x, ddof), _factor(y, ddof), _gap(x, y))
    return (full + cross_term_missing(x, y, ddof=ddof)) / 2


@frechet.mutant(source="https://github.com/mseitzer/pytorch-fid/issues/29")
def offset(x, y, /, *, ddof):
    """0.01 is added to the variances before the root, as the fallback for singular products does"""
    xp = namespace(x)
    d = x.shape[-1]
    cov_x, cov_y = _covariances(x, y, ddof)
    wide = [
        xp.concatenate([s, xp.broadcast_to(0.1 * xp.eye(d, dtype=s.dtype), (*s.shape[:-1], d))], -1)
        for s in (_factor(x, ddof), _factor(y, ddof))
    ]
    roots = svdvals(wide[0].swapaxes(-1, -2) @ wide[1]).sum(axis=-1)
    return (_gap(x, y) ** 2).sum(axis=-1) + trace(cov_x) + trace(cov_y) - 2 * roots


# --------------------------------------------------------------------------------- gradient mutants


@frechet.mutant(gradient=True)
def gradient_of_the_means_only(g, x, y, /, *, ddof):
    """the gradients are those of the means alone"""
    xp = namespace(x)
    gap = 2 * g[..., None, None] * _gap(x, y)[..., None, :]
    return (
        xp.broadcast_to(gap / x.shape[-2], (*gap.shape[:-2], *x.shape[-2:])),
        xp.broadcast_to(-gap / y.shape[-2], (*gap.shape[:-2], *y.shape[-2:])),
    )


@frechet.mutant(gradient=True)
def gradient_not_averaged(g, x, y, /, *, ddof):
    """the gradients lack the division by the number of samples"""
    dx, dy = frechet_distance.vjp(g, x, y, ddof=ddof)
    return x.shape[-2] * dx, y.shape[-2] * dy


@frechet.mutant(gradient=True)
def gradient_without_means(g, x, y, /, *, ddof):
    """the gradients are those of the covariances alone"""
    dx, dy = frechet_distance.vjp(g, x, y, ddof=ddof)
    return tuple(d - d.mean(axis=-2, keepdims=True) for d in (dx, dy))


@frechet.mutant(gradient=True)
def gradient_swapped_signs(g, x, y, /, *, ddof):
    """the gradients have the wrong sign"""
    return tuple(-d for d in frechet_distance.vjp(g, x, y, ddof=ddof))
