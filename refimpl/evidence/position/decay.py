"""Evidence for remote decay: sums of cosines, their integrals and bounds, interactions."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.position.decay import (
    abel_decay_bound,
    remote_decay_integral,
    sinusoid_inner_product,
)

_SIZES = {"n": Sizes(1, 1, 12), "h": Sizes(1, 1, 24)}

product = Evidence(sinusoid_inner_product, sizes=_SIZES, empty=("n",))
abel = Evidence(abel_decay_bound, sizes=_SIZES, empty=("n",))
integral = Evidence(
    remote_decay_integral,
    sizes={"n": Sizes(1, 1, 12)},
    empty=("n",),
    options={"parameter": (1000.0, 1.5)},
    combinations=(
        {"family": "power", "parameter": 0.5},
        {"family": "power", "parameter": 1.0},
        {"family": "power", "parameter": 3.0},
    ),
    fixed={"family": "exponential", "parameter": 10000.0},
)


# ------------------------------------------------------------------------------------- regimes


def powers(rng, shape):
    """Frequencies of bases from 100 to 10^6, one for each batch entry."""
    base = 10.0 ** rng.uniform(2.0, 6.0, (*shape.batch, 1))
    h = shape.axes["h"]
    return base ** (-np.arange(h) / h)


def _in_a_sentence(rng, shape):
    """Distances up to 40, in both directions"""
    return Case((rng.integers(-40, 41, shape.distances), powers(rng, shape)))


def _with_any_frequencies(rng, shape):
    """Fractional distances, and frequencies in no order"""
    theta = rng.uniform(0.001, 2.0, shape.frequencies)
    return Case((rng.uniform(-30.0, 30.0, shape.distances), theta))


def _far(rng, shape):
    """Distances from 500 to 5000"""
    return Case((rng.integers(500, 5001, shape.distances), powers(rng, shape)))


for _of in (product, abel):
    _of.regime(_in_a_sentence)
    _of.regime(_with_any_frequencies, adversarial=True)
    _of.regime(_far, adversarial=True)


def _sizes_of_terms(distances, frequencies):
    """Every angle is rounded once, which errors are the size of the angle."""
    farthest = np.abs(wide(distances)).max(initial=0.0)
    return [float((1.0 + farthest * np.abs(wide(frequencies))).sum(axis=-1).max(initial=0.0))]


product.output_terms(_sizes_of_terms)
abel.output_terms(_sizes_of_terms)


@integral.regime
def exponential_in_a_sentence(rng, shape):
    """Exponential frequencies, distances up to 100 in both directions"""
    return Case((rng.integers(-100, 101, shape.distances).astype(float),))


@integral.regime
def power_in_a_sentence(rng, shape):
    """Frequencies t^alpha with alpha from 1/4 to 4, fractional distances up to 30"""
    alpha = float(rng.uniform(0.25, 4.0))
    distances = rng.uniform(-30.0, 30.0, shape.distances)
    return Case((distances,), {"family": "power", "parameter": alpha})


@integral.regime(adversarial=True)
def exponential_across_the_zero(rng, shape):
    """Distances about the base, where the real part crosses zero: x/b is small, 1 and large"""
    return Case((50.0 * 10.0 ** rng.uniform(-2.0, 2.0, shape.distances),), {"parameter": 50.0})


@integral.regime(adversarial=True)
def about_the_change_of_method(rng, shape):
    """Distances from 3.5 to 4.5, and 0"""
    distances = rng.uniform(3.5, 4.5, shape.distances)
    distances[..., :1] = 0.0
    return Case((distances,), {"family": "power", "parameter": 2.0})


@integral.output_terms
def _sizes_of_integrals(distances, *, family, parameter):
    return [1.0 + float(np.abs(wide(distances)).max(initial=0.0))] * 2


# --------------------------------------------------------------------------------- laws of sums


def _angles(case):
    x, theta = map(wide, case.arrays)
    return x[..., :, None] * theta[..., None, :]


def _size(case):
    return (1.0 + np.abs(_angles(case))).sum(axis=-1)


def _even(f, case):
    """The sign of the distance does not matter"""
    x, theta = case.arrays
    yield Claim(case.call(f), case.with_arrays(-x, theta).call(f), _size(case))


def _time_and_frequency(f, case):
    """Half the distances at twice the frequencies are the same"""
    x, theta = case.arrays
    yield Claim(case.with_arrays(x / 2.0, 2.0 * theta).call(f), case.call(f), _size(case))


for _of in (product, abel):
    _of.law(_even)
    _of.law(_time_and_frequency)


def _sinusoids(positions, theta):
    """Sines and cosines of every position, in halves."""
    angles = wide(positions)[..., :, None] * wide(theta)[..., None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


@product.law
def is_the_product_of_two_encodings(f, case):
    """It is the inner product of two sinusoidal encodings at this distance, wherever they are"""
    x, theta = map(wide, case.arrays)
    p = _sinusoids(17.0 + x, theta)
    q = _sinusoids(np.full(x.shape, 17.0), theta)
    scale = (1.0 + (34.0 + np.abs(x))[..., None] * np.abs(theta)[..., None, :]).sum(axis=-1)
    yield Claim(case.call(f), (p * q).sum(axis=-1), scale)


@product.law
def gram_matrices_are_positive(f, case):
    """The matrix over all pairs of five positions is symmetric positive semidefinite"""
    theta = case.arrays[1]
    m = np.arange(0.0, 15.0, 3.0)
    differences = like((m[:, None] - m[None, :]).reshape(-1), theta)
    gram = wide(case.with_arrays(differences, theta).call(f))
    gram = gram.reshape(*gram.shape[:-1], 5, 5)
    h = theta.shape[-1]
    yield Claim(gram, gram.swapaxes(-1, -2), 20.0 * h)
    lowest = np.linalg.eigvalsh(gram)[..., 0]
    yield Claim(np.minimum(lowest, 0.0), np.zeros(lowest.shape), 100.0 * h)


@product.law
def pairs_add(f, case):
    """The sum over some pairs and over the others is that over all"""
    x, theta = case.arrays
    cut = theta.shape[-1] // 2
    parts = (case.with_arrays(x, part) for part in (theta[..., :cut], theta[..., cut:]))
    yield Claim(sum(wide(part.call(f)) for part in parts), case.call(f), _size(case))


@abel.law
def bounds_every_product(f, case):
    """Summation by parts: |sum z_i e^(i x theta_i)| is at most the largest step of z times h f"""
    rng = np.random.default_rng(8265)
    h = case.arrays[1].shape[-1]
    curve = wide(case.call(f))
    for _ in range(3):
        z = rng.standard_normal(h) + 1j * rng.standard_normal(h)
        product_ = np.abs((z * np.exp(1j * _angles(case))).sum(axis=-1))
        step = np.abs(np.diff(np.append(z, 0.0))).max()
        excess = np.maximum(product_ - step * h * curve, 0.0)
        yield Claim(excess, np.zeros(excess.shape), 10.0 * h * _size(case))


@abel.law
def steps_are_partial_sums(f, case):
    """The last pair adds |S_h| to h times the mean"""
    x, theta = case.arrays
    h = theta.shape[-1]
    if h > 1:
        without = wide(case.with_arrays(x, theta[..., :-1]).call(f))
        whole = np.abs(np.exp(1j * _angles(case)).sum(axis=-1))
        yield Claim(h * wide(case.call(f)), (h - 1) * without + whole, h * _size(case))


# ---------------------------------------------------------------------------- laws of integrals


def _both(f, case):
    real, imaginary = case.call(f)
    return wide(real) + 1j * wide(imaginary)


def _moment(k, family, parameter):
    """The mean of the k-th power of the frequencies."""
    if family == "power":
        return 1.0 / (parameter * k + 1.0)
    return (1.0 - parameter**-k) / (k * np.log(parameter)) if k else 1.0


def _parameters(case):
    return case.options["family"], case.options["parameter"]


@integral.law
def series_of_moments(f, case):
    """Up to distance 12 it is the power series in the moments of the frequencies"""
    x = wide(case.arrays[0])
    near = np.abs(x) <= 12.0
    term, total = np.ones(x.shape, complex), np.zeros(x.shape, complex)
    for k in range(80):
        total += term * _moment(k, *_parameters(case))
        term = term * 1j * np.where(near, x, 0.0) / (k + 1)
    found = _both(f, case)
    scale = np.exp(np.minimum(np.abs(x), 12.0))
    for part in (np.real, np.imag):
        yield Claim(np.where(near, part(found), 0.0), np.where(near, part(total), 0.0), scale)


@integral.law
def conjugate_at_the_other_side(f, case):
    """The real part is even in the distance, and the imaginary part odd"""
    (x,) = case.arrays
    real, imaginary = case.call(f)
    mirrored, turned = case.with_arrays(-x).call(f)
    yield Claim(mirrored, real, 0.0)
    yield Claim(wide(turned) + wide(imaginary), np.zeros(x.shape), 0.0)


@integral.law
def a_mean_of_turns_is_at_most_one(f, case):
    """No mean of numbers on the unit circle is beyond it"""
    excess = np.maximum(np.abs(_both(f, case)) - 1.0, 0.0)
    yield Claim(excess, np.zeros(excess.shape), 4.0)


@integral.law
def sums_of_pairs_are_near(f, case):
    """The mean over 4096 pairs differs by at most |x|/4096 in both parts"""
    family, parameter = _parameters(case)
    x = wide(case.arrays[0])
    t = np.arange(4096) / 4096
    theta = parameter**-t if family == "exponential" else t**parameter
    mean = np.exp(1j * x[..., None] * theta).mean(axis=-1) if x.size else x + 0j
    for part in (np.real, np.imag):
        gap = np.abs(part(mean) - part(_both(f, case)))
        excess = np.maximum(gap - np.abs(x) / 4096 - 1e-12, 0.0)
        yield Claim(excess, np.zeros(excess.shape), 0.0)


# -------------------------------------------------------------------------------- closed forms


def _sums(shape, distances, theta, answer):
    def full(values):
        return np.broadcast_to(np.asarray(values), (*shape.batch, len(values))).copy()

    return Case((full(distances), full(theta))), full(answer)


def _transformer(h):
    return 10000.0 ** (-np.arange(h) / h)


@product.closed_form
def published_products(rng, shape):
    """128 features, base 10000: the values of the essay's curve"""
    answer = [64.0, 62.0936838057676, 57.3818605528238, 45.7205140669877, 30.5200590081035]
    return _sums(shape, [0, 1, 2, 8, 64], _transformer(64), answer)


@product.closed_form
def geometric_kernel(rng, shape):
    """Whole frequencies 1 to h: the Dirichlet kernel, (sin((h + 1/2) x)/sin(x/2) - 1)/2"""
    x = np.array([1.0, 2.0, -5.0])
    answer = (np.sin(7.5 * x) / np.sin(x / 2) - 1) / 2
    return _sums(shape, x, np.arange(1.0, 8.0), answer)


@abel.closed_form
def published_curve(rng, shape):
    """128 features, base 10000: the values of the essay's curve"""
    answer = [32.5, 31.538166142658085, 17.954137137084835, 12.629452488319242]
    return _sums(shape, [0, 1, 10, 50], _transformer(64), answer)


@abel.closed_form
def equal_frequencies(rng, shape):
    """Equal frequencies never cancel: (h + 1)/2 at every distance"""
    return _sums(shape, [0.0, 3.0, 70.0], np.full(5, 0.25), np.full(3, 3.0))


@abel.closed_form
def opposite_pairs(rng, shape):
    """Half turns between pairs: partial sums are 1, 0, 1, 0"""
    return _sums(shape, [1.0], np.pi * np.arange(4.0), [0.5])


def _integrals(shape, x, real, imaginary, **options):
    def full(values):
        return np.broadcast_to(np.asarray(values, float), (*shape.batch, len(values))).copy()

    return Case((full(x),), options), (full(real), full(imaginary))


@integral.closed_form
def linear_frequencies(rng, shape):
    """t: sin(x)/x and (1 - cos x)/x"""
    x = np.array([0.25, 3.0, 4.0, 17.0, -40.0])
    return _integrals(shape, x, np.sin(x) / x, (1 - np.cos(x)) / x, family="power", parameter=1.0)


@integral.closed_form
def root_frequencies(rng, shape):
    """sqrt t: 2 [sin(x)/x + (cos x - 1)/x^2] and 2 [sin(x)/x^2 - cos(x)/x]"""
    x = np.array([0.5, 3.0, 9.0, -30.0])
    real = 2 * (np.sin(x) / x + (np.cos(x) - 1) / x**2)
    imaginary = 2 * (np.sin(x) / x**2 - np.cos(x) / x)
    return _integrals(shape, x, real, imaginary, family="power", parameter=0.5)


@integral.closed_form
def published_integrals(rng, shape):
    """Base 10000: real parts at 0, 1, 16, 128 by mpmath"""
    real = [1.0, 0.97396277120982116, 0.63475791323662154, 0.41114768243683966]
    imaginary = [0.0, 0.10270880685859682, 0.17694267558842859, 0.16974020241444504]
    options = {"family": "exponential", "parameter": 10000.0}
    return _integrals(shape, [0, 1, 16, 128], real, imaginary, **options)
