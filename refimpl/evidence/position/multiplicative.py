"""Evidence for encodings that multiply."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.position.multiplicative import (
    complex_order_encoding,
    complex_products,
    multiplicative_encoding,
)
from refimpl.position.rotary import rotary_embedding

product = Evidence(
    multiplicative_encoding,
    empty=("n", "d"),
    fixed={"parametrisation": "factor"},
)
order = Evidence(complex_order_encoding, sizes={"d": Sizes(1, 1, 16)}, empty=("n",))

products = Evidence(
    complex_products,
    sizes={"d": Sizes(1, 1, 8)},
    empty=("n", "m"),
    fixed={"conjugate": False},
)


# ------------------------------------------------------------------------------------- regimes


@product.regime
def normal(rng, shape):
    """Normal tokens and factors"""
    return Case((rng.standard_normal(shape.x), rng.standard_normal(shape.encoding)))


@product.regime(adversarial=True)
def small_deviations(rng, shape):
    """Factors close to 1"""
    small = 0.01 * rng.standard_normal(shape.encoding)
    return Case((rng.standard_normal(shape.x), small), {"parametrisation": "deviation"})


def _tokens(rng, shape):
    return (
        rng.standard_normal(shape.amplitudes),
        rng.uniform(-1.0, 1.0, shape.frequencies),
        rng.uniform(-np.pi, np.pi, shape.phases),
    )


@order.regime
def consecutive(rng, shape):
    """Positions 0, 1, 2, ..."""
    return Case((*_tokens(rng, shape), np.arange(shape.axes["n"])))


@order.regime
def of_a_batch(rng, shape):
    """Positions that differ along the batch"""
    return Case((*_tokens(rng, shape), rng.integers(0, 30, shape.positions)))


@order.regime(adversarial=True)
def far_and_slow(rng, shape):
    """Far positions of slowly turning tokens"""
    r, w, t = _tokens(rng, shape)
    return Case((r, w / 1024, t, rng.integers(2000, 4096, shape.axes["n"])))


# ---------------------------------------------------------------------------------------- laws


@product.law
def linear_in_the_tokens(f, case):
    """Twice the tokens give twice the result"""
    x, p = case.arrays
    yield Claim(case.with_arrays(2 * x, p).call(f), 2 * case.call(f), 0.0)


@product.law
def parametrisations_differ_by_one(f, case):
    """1 + p as a factor is the deviation p"""
    x, p = case.arrays
    deviation = case.with_options(parametrisation="deviation").call(f)
    factor = case.with_arrays(x, 1 + p).with_options(parametrisation="factor").call(f)
    yield Claim(factor, deviation, 0.0)


@product.law
def ones_change_nothing(f, case):
    """A factor of 1, or a deviation of 0, leaves the tokens"""
    x, p = case.arrays
    neutral = 0 * p + (1 if case.options["parametrisation"] == "factor" else 0)
    found = case.with_arrays(x, neutral).call(f)
    yield Claim(found, namespace(x).broadcast_to(x, found.shape), 0.0)


def _angle_size(case):
    """How much roundings of angles and amplitudes grow."""
    r, w, t, k = (np.abs(wide(x)).max(initial=1.0) for x in case.arrays)
    return 4.0 * float(r) * (1.0 + float(t) + float(w * k))


@order.law
def modulus_is_the_amplitude(f, case):
    """|f| = |r|"""
    real, imaginary = map(wide, case.call(f))
    r = wide(case.arrays[0])
    yield Claim(np.hypot(real, imaginary), np.abs(r) + 0 * real, 1.0 + np.abs(r))


@order.law
def a_step_multiplies(f, case):
    """Five positions later f is multiplied by exp(5 i omega), whatever the position"""
    r, w, t, k = case.arrays
    now, later = (
        wide(y[0]) + 1j * wide(y[1])
        for y in (case.call(f), case.with_arrays(r, w, t, k + 5).call(f))
    )
    turned = now * np.exp(5j * wide(w))
    size = 2.0 * _angle_size(case)
    yield Claim(later.real, turned.real, size)
    yield Claim(later.imag, turned.imag, size)


@order.law
def is_a_complex_exponential(f, case):
    """r exp(i (omega k + theta)) in complex numbers"""
    r, w, t, k = map(wide, case.arrays)
    expected = r * np.exp(1j * (w * k[..., None] + t))
    real, imaginary = case.call(f)
    yield Claim(real, expected.real, _angle_size(case))
    yield Claim(imaginary, expected.imag, _angle_size(case))


@order.law
def of_shared_frequencies_it_is_rotary(f, case):
    """Where all tokens share the frequencies it is a rotary embedding of (r cos t, r sin t)"""
    r, w, t, k = case.arrays
    if w.ndim > 2 or 0 in r.shape or k.ndim > 1 or r.ndim > 2 or t.ndim > 2:
        return
    xp = namespace(r)
    same = 0 * w + w[:1]
    found = case.with_arrays(r, same, t, k).call(f)
    start = xp.concatenate([r * xp.cos(t), r * xp.sin(t)], axis=-1)
    frequencies = w[0].astype("float64")
    turned = rotary_embedding(start, k, pairing="half", frequencies=frequencies)
    yield Claim(xp.concatenate(found, axis=-1), turned, _angle_size(case))


# -------------------------------------------------------------------------------- closed forms


@product.closed_form
def known_products(rng, shape):
    """2, 3 by deviations 1/2, 0: 3, 3"""
    case = Case((np.array([[2.0, 3.0]]), np.array([[0.5, 0.0]])), {"parametrisation": "deviation"})
    return case, np.array([[3.0, 3.0]])


@order.closed_form
def quarter_turns(rng, shape):
    """At frequency pi/2 and no phase: r, ir, -r, -ir"""
    ones = np.ones((4, 1))
    case = Case((3 * ones, np.pi / 2 * ones, 0 * ones, np.arange(4)))
    real, imaginary = np.array([[3.0, 0, -3, 0]]).T, np.array([[0, 3.0, 0, -3]]).T
    return case, (real, imaginary)


# ------------------------------------------------------------------------------------- mutants


@product.mutant
def the_other_parametrisation(x, p, *, parametrisation):
    """1 + p for p, or the reverse"""
    other = "factor" if parametrisation == "deviation" else "deviation"
    return multiplicative_encoding(x, p, parametrisation=other)


@product.mutant
def added(x, p, *, parametrisation):
    """It is added"""
    return x + p


@product.mutant
def factor_squared(x, p, *, parametrisation):
    """It is multiplied twice"""
    once = multiplicative_encoding(x, p, parametrisation=parametrisation)
    return multiplicative_encoding(once, p, parametrisation=parametrisation)


wrong(product, "Positions come in reverse order", arrays={"encoding": lambda x: x[..., ::-1, :]})


@product.mutant(gradient=True)
def gradient_of_a_sum(g, x, p, *, parametrisation):
    """The gradient of the tokens passes unchanged"""
    _, dp = multiplicative_encoding.vjp(g, x, p, parametrisation=parametrisation)
    return g + 0 * x, dp


wrong(
    order, "Positions count from 1, as in the released code", arrays={"positions": lambda x: x + 1}
)


@order.mutant
def turns_backwards(r, w, t, k):
    """The imaginary part has the wrong sign"""
    real, imaginary = complex_order_encoding(r, w, t, k)
    return real, -imaginary


@order.mutant
def parts_exchanged(r, w, t, k):
    """Real and imaginary parts are exchanged"""
    return complex_order_encoding(r, w, t, k)[::-1]


@order.mutant
def phase_times_position(r, w, t, k):
    """The position multiplies the phase too"""
    return complex_order_encoding(r, w + t, 0 * t, k)


@order.mutant
def cross_term_missing(r, w, t, k):
    """The imaginary part is 2 cos(omega k) sin(theta): one cross term twice, the other never"""
    xp = namespace(r)
    a, b = w * k[..., None], t
    real = complex_order_encoding(r, w, t, k)[0]
    return real, 2 * r * xp.cos(a) * xp.sin(b)


@order.mutant(gradient=True)
def amplitude_missing_in_the_phase(g, r, w, t, k):
    """The gradient of the phase lacks the amplitude"""
    dr, dw, dt = complex_order_encoding.vjp(g, r, w, t, k)
    one = complex_order_encoding.vjp(g, 0 * r + 1, w, t, k)
    return dr, dw, one[2]


@order.mutant(gradient=True)
def position_missing_in_the_frequency(g, r, w, t, k):
    """The gradient of the frequency lacks the position"""
    dr, _, dt = complex_order_encoding.vjp(g, r, w, t, k)
    return dr, dt + 0 * w, dt


# ------------------------------------------------------------------------------ complex products


def _parts(rng, shape):
    names = ("q_real", "q_imaginary", "k_real", "k_imaginary")
    return tuple(rng.standard_normal(getattr(shape, name)) for name in names)


@products.regime
def complex_normal(rng, shape):
    """Normal parts"""
    return Case(_parts(rng, shape))


@products.regime
def inner_products(rng, shape):
    """Normal parts, keys conjugated"""
    return Case(_parts(rng, shape), {"conjugate": True})


@products.output_terms
def _both_products(q, qi, k, ki, *, conjugate):
    """Each part is a sum of two products of rows, which may cancel."""
    longest = [
        float(np.sqrt((wide(x) ** 2 + wide(y) ** 2).sum(axis=-1)).max(initial=0.0))
        for x, y in ((q, qi), (k, ki))
    ]
    return [longest[0] * longest[1]] * 2


@products.regime(adversarial=True)
def almost_real(rng, shape):
    """Imaginary parts a hundredth as large"""
    a, b, c, d = _parts(rng, shape)
    return Case((a, b / 100, c, d / 100))


def _product_size(case):
    a, b, c, d = (np.abs(wide(x)).max(initial=0.0) for x in case.arrays)
    return 8.0 * case.arrays[0].shape[-1] * float((a + b) * (c + d))


@products.law
def is_a_product_of_complex_numbers(f, case):
    """(A + iB)(C + iD)^T in complex numbers"""
    a, b, c, d = map(wide, case.arrays)
    k = c + (-1j if case.options["conjugate"] else 1j) * d
    z = (a + 1j * b) @ np.swapaxes(k, -1, -2)
    real, imaginary = case.call(f)
    yield Claim(real, z.real, _product_size(case))
    yield Claim(imaginary, z.imag, _product_size(case))


@products.law
def a_common_turn(f, case):
    """Queries and keys times i: the conjugate product stays, the other changes its sign"""
    a, b, c, d = case.arrays
    sign = 1 if case.options["conjugate"] else -1
    turned, plain = case.with_arrays(-b, a, -d, c).call(f), case.call(f)
    for x, y in zip(turned, plain, strict=True):
        yield Claim(x, sign * y, _product_size(case))


@products.law
def real_numbers_have_real_products(f, case):
    """Without imaginary parts there is none in the product"""
    a, b, c, d = case.arrays
    real, imaginary = case.with_arrays(a, 0 * b, c, 0 * d).call(f)
    yield Claim(
        real, (wide(a) @ np.swapaxes(wide(c), -1, -2)) + 0 * wide(real), _product_size(case)
    )
    yield Claim(imaginary, 0 * imaginary, 0.0)


@products.closed_form
def known_complex(rng, shape):
    """(1 + 2i)(3 + 4i) = -5 + 10i"""
    parts = tuple(np.array([[x]]) for x in (1.0, 2.0, 3.0, 4.0))
    return Case(parts, {"conjugate": False}), (np.array([[-5.0]]), np.array([[10.0]]))


@products.closed_form
def known_conjugate(rng, shape):
    """(1 + 2i)(3 - 4i) = 11 + 2i"""
    parts = tuple(np.array([[x]]) for x in (1.0, 2.0, 3.0, 4.0))
    return Case(parts, {"conjugate": True}), (np.array([[11.0]]), np.array([[2.0]]))


@products.mutant
def one_cross_term_twice(a, b, c, d, *, conjugate):
    """The imaginary part has one cross term twice, as in the released language model"""
    real, _ = complex_products(a, b, c, d, conjugate=conjugate)
    return real, 2 * b @ c.swapaxes(-1, -2)


@products.mutant
def imaginary_parts_added(a, b, c, d, *, conjugate):
    """i^2 is 1"""
    real, imaginary = complex_products(a, b, c, d, conjugate=conjugate)
    return 2 * a @ c.swapaxes(-1, -2) - real, imaginary


@products.mutant
def imaginary_part_negated(a, b, c, d, *, conjugate):
    """The imaginary part has the wrong sign"""
    real, imaginary = complex_products(a, b, c, d, conjugate=conjugate)
    return real, -imaginary


@products.mutant(gradient=True)
def gradient_not_conjugated(g, a, b, c, d, *, conjugate):
    """The gradient of the queries has the keys where it needs their conjugates"""
    found = complex_products.vjp(g, a, b, c, d, conjugate=conjugate)
    other = complex_products.vjp(g, a, b, c, -d, conjugate=conjugate)
    return (*other[:2], *found[2:])


@products.mutant(gradient=True)
def gradient_of_the_real_part(g, a, b, c, d, *, conjugate):
    """No gradient passes through the imaginary part"""
    return complex_products.vjp((g[0], 0 * g[1]), a, b, c, d, conjugate=conjugate)
