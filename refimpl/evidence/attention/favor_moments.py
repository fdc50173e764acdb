"""Evidence for the exact moments of kernels estimated with random features."""

from __future__ import annotations

import numpy as np

from refimpl.attention.favor_moments import favor_moments
from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes

_KINDS = ("positive", "hyperbolic", "trigonometric", "fourier")

moments = Evidence(
    favor_moments,
    sizes={"d": Sizes(1, 1, 12)},
    fixed={"kind": "positive", "number": 8, "projections": "iid"},
    combinations=(
        *({"kind": kind, "projections": "chi", "number": 13} for kind in _KINDS),
        {"kind": "positive", "projections": "sqrt_d", "number": 13},
        {"number": 1},
    ),
    unchanged={"x and y are swapped": "it is symmetric"},
)


# ------------------------------------------------------------------------------------- regimes


def _pair(rng, shape, size):
    """Vectors whose lengths do not grow with d."""
    size = size / np.sqrt(shape.axes["d"])
    return tuple(
        size * rng.uniform(0.5, 1.5, s) * rng.choice([-1, 1], s) for s in (shape.x, shape.y)
    )


@moments.regime
def independent(rng, shape):
    """Independent projections, any kind"""
    options = {"kind": str(rng.choice(_KINDS)), "projections": "iid"}
    return Case(_pair(rng, shape, 0.8), options)


@moments.regime
def orthogonal(rng, shape):
    """Orthogonal projections in whole and broken blocks, any kind"""
    number = int(rng.integers(1, 3 * shape.axes["d"] + 1))
    options = {"kind": str(rng.choice(_KINDS)), "projections": "chi", "number": number}
    return Case(_pair(rng, shape, 0.8), options)


@moments.regime
def fixed_lengths(rng, shape):
    """Orthogonal projections of length sqrt d, which are biased"""
    return Case(_pair(rng, shape, 0.8), {"projections": "sqrt_d", "number": 6})


@moments.regime(adversarial=True)
def far_apart(rng, shape):
    """Vectors some units long: errors of the kinds differ by orders of magnitude"""
    projections = str(rng.choice(("iid", "chi")))
    kind = str(rng.choice(_KINDS))
    return Case(_pair(rng, shape, 1.2), {"kind": kind, "projections": projections, "number": 5})


@moments.regime(adversarial=True)
def short(rng, shape):
    """Short vectors, for which all errors are small"""
    projections = str(rng.choice(("iid", "chi")))
    kind = str(rng.choice(_KINDS))
    return Case(_pair(rng, shape, 0.1), {"kind": kind, "projections": projections, "number": 5})


# ---------------------------------------------------------------------------------------- laws


def _close(left, right, factor=16.0):
    for a, b in zip(left, right, strict=True):
        yield Claim(a, b, factor * abs(b))


@moments.law
def symmetric(f, case):
    """x and y may be exchanged, and turned or mirrored together"""
    x, y = case.arrays
    xp = namespace(x)
    value = case.call(f)
    yield from _close(case.with_arrays(y, x).call(f), value, 256.0)
    turned = case.with_arrays(*(-xp.flip(a, axis=-1) for a in (x, y)))
    yield from _close(turned.call(f), value, 256.0)


@moments.law
def twice_as_many(f, case):
    """Twice as many independent projections have half the error"""
    if case.options["projections"] == "iid":
        number = case.options.get("number", 8)
        mean, error = case.call(f)
        twice = case.with_options(number=2 * number).call(f)
        yield from _close(twice, (mean, error / 2))


@moments.law
def whole_blocks(f, case):
    """Twice as many whole blocks of orthogonal projections of random length have half the error"""
    if case.options["projections"] == "chi":
        d = case.arrays[0].shape[-1]
        mean, error = case.with_options(number=d).call(f)
        twice = case.with_options(number=2 * d).call(f)
        yield from _close(twice, (mean, error / 2), 256.0)


@moments.law
def one_projection_has_no_partner(f, case):
    """With one projection, orthogonal ones of random length are independent ones"""
    if case.options["projections"] == "chi":
        alone = case.with_options(number=1)
        independent_one = alone.with_options(projections="iid")
        yield from _close(alone.call(f), independent_one.call(f))


@moments.law
def orthogonality_never_hurts_exponentials(f, case):
    """The error of orthogonal exponentials is not above that of independent ones"""
    kind, projections = case.options["kind"], case.options["projections"]
    if projections == "chi" and kind in ("positive", "hyperbolic"):
        _, error = case.call(f)
        _, other = case.with_options(projections="iid").call(f)
        yield Claim(namespace(error).maximum(error, other), other, 64.0 * abs(other))


@moments.law
def hyperbolic_share(f, case):
    """Independent: the hyperbolic error is (1 - exp(-t))/2 of the positive one, t = |x + y|^2"""
    if case.options["projections"] == "iid" and case.options["kind"] == "hyperbolic":
        x, y = case.arrays
        share = -namespace(x).expm1(-((x + y) ** 2).sum(axis=-1)) / 2
        mean, error = case.with_options(kind="positive").call(f)
        yield from _close(case.call(f), (mean, share * error), 256.0)


@moments.law
def mirrored_key(f, case):
    """Cosines of (x, y) and exponentials of (x, -y): both errors are exact multiples of squares"""
    if case.options["projections"] != "iid" or case.options["kind"] != "trigonometric":
        return
    x, y = case.arrays
    xp = namespace(x)
    _, error = case.call(f)
    _, other = case.with_arrays(x, -y).with_options(kind="hyperbolic").call(f)
    total = (x * x).sum(axis=-1) + (y * y).sum(axis=-1)
    gap = ((x - y) ** 2).sum(axis=-1)
    # (1 - e^-D)^2 e^total and (e^D - 1)^2 e^-total differ by e^(2 total - 2 D).
    yield Claim(error, other * xp.exp(2 * (total - gap)), 256.0 * abs(error))


# -------------------------------------------------------------------------------- closed forms


@moments.closed_form
def opposite_vectors(rng, shape):
    """y = -x: positive features are exact"""
    x, _ = _pair(rng, shape, 1.0)
    mean = np.exp(-(x * x).sum(axis=-1))
    projections = str(rng.choice(("iid", "chi")))
    return Case((x, -x), {"projections": projections}), (mean, 0.0 * mean)


@moments.closed_form
def equal_vectors(rng, shape):
    """y = x: trigonometric features are exact"""
    x, _ = _pair(rng, shape, 1.0)
    mean = np.exp((x * x).sum(axis=-1))
    options = {"kind": "trigonometric", "projections": str(rng.choice(("iid", "chi")))}
    return Case((x, x.copy()), options), (mean, 0.0 * mean)


@moments.closed_form
def two_dimensions(rng, shape):
    """d = 2, else 1: 1F1(2; 1; z) = (1 + z) e^z; a row has no partner where d = 1"""
    x, y = _pair(rng, shape, 0.6)
    d = shape.axes["d"]
    t = ((x + y) ** 2).sum(axis=-1)
    c = np.exp(-(x * x).sum(axis=-1) - (y * y).sum(axis=-1))
    number, share = (4, 0.25) if d == 2 else (1, 0.0)
    pairs = (1 + t / 2) * np.exp(t / 2) - np.exp(t)
    error = c * (np.exp(t) * np.expm1(t) / number + share * pairs)
    answer = np.exp((x * y).sum(axis=-1)), error
    return Case((x, y), {"projections": "chi", "number": number}), answer


# ------------------------------------------------------------------------------------- mutants


@moments.mutant
def error_of_one_projection(x, y, /, **options):
    """the error is not divided by the number of projections"""
    mean, error = favor_moments(x, y, **options)
    return mean, error * options["number"]


@moments.mutant
def deviation(x, y, /, **options):
    """the root of the mean square error is returned"""
    mean, error = favor_moments(x, y, **options)
    return mean, np.sqrt(np.maximum(error, 0))


@moments.mutant
def orthogonality_ignored(x, y, /, **options):
    """orthogonal projections are taken for independent ones"""
    if options["projections"] == "chi":
        options = options | {"projections": "iid"}
    return favor_moments(x, y, **options)


@moments.mutant
def blocks_ignored(x, y, /, **options):
    """all rows count as orthogonal to each other, however many they are"""
    if options["projections"] != "chi":
        return favor_moments(x, y, **options)
    m, d = options["number"], x.shape[-1]
    mean, independent_error = favor_moments(x, y, **options | {"projections": "iid"})
    if d < 2:
        return mean, independent_error
    _, error = favor_moments(x, y, **options | {"number": d})
    _, alone = favor_moments(x, y, **options | {"number": d, "projections": "iid"})
    return mean, independent_error + (error - alone) / (1 - 1 / d) * (1 - 1 / m)


@moments.mutant
def fixed_lengths_unbiased(x, y, /, **options):
    """the mean with rows of length sqrt d is taken for exp(x.y)"""
    mean, error = favor_moments(x, y, **options)
    return (np.exp((x * y).sum(axis=-1)) if options["projections"] == "sqrt_d" else mean), error


@moments.mutant
def bias_left_out(x, y, /, **options):
    """the error about the mean is returned, without the square of the bias"""
    mean, error = favor_moments(x, y, **options)
    if options["projections"] != "sqrt_d":
        return mean, error
    return mean, error - (mean - np.exp((x * y).sum(axis=-1))) ** 2


@moments.mutant
def kinds_exchanged(x, y, /, **options):
    """positive and hyperbolic features are exchanged"""
    other = {"positive": "hyperbolic", "hyperbolic": "positive"}
    if options["projections"] != "sqrt_d":
        options = options | {"kind": other.get(options["kind"], options["kind"])}
    return favor_moments(x, y, **options)


@moments.mutant
def scaled_inside(x, y, /, **options):
    """x and y are divided by d^(1/4) first"""
    factor = x.shape[-1] ** -0.25
    return favor_moments(factor * x, factor * y, **options)


@moments.mutant
def relative_error(x, y, /, **options):
    """the error is relative to the square of the mean"""
    mean, error = favor_moments(x, y, **options)
    return mean, error / mean**2


@moments.mutant
def difference_for_sum(x, y, /, **options):
    """x - y and x + y are exchanged in the error"""
    mean, _ = favor_moments(x, y, **options)
    return mean, favor_moments(x, -y, **options)[1]
