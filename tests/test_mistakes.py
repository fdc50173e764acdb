"""What the general mistakes are, by example, and the verbs for special ones."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from refimpl import formula as registration
from refimpl.evidence import RECORDS, Case, Evidence
from refimpl.evidence.mistakes import general, slug, wrong, wrong_gradients
from refimpl.formula import formula
from refimpl.formula.options import Positive


@pytest.fixture
def form():
    """x^T A y, times a factor, plus a shift: a formula with one of everything."""

    @formula("(d),(d,d),(d)->()", source="a test", keywords={"shift": "()"})
    def bilinear(x, a, y, /, *, sign: Literal["plus", "minus"], factor: Positive = 1.0, shift=None):
        total = factor * ((x[..., None, :] @ a)[..., 0, :] * y).sum(axis=-1)
        return (total if sign == "plus" else -total) + (0.0 if shift is None else shift)

    @bilinear.defvjp
    def bilinear_vjp(g, x, a, y, /, *, sign, factor=1.0, shift=None):
        g = g * (factor if sign == "plus" else -factor)
        dx = g[..., None] * (a @ y[..., None])[..., 0]
        dy = g[..., None] * (x[..., None, :] @ a)[..., 0, :]
        return dx, g[..., None, None] * x[..., :, None] * y[..., None, :], dy, g / factor

    yield bilinear
    del registration.TABLE["bilinear"]
    RECORDS.pop("bilinear", None)


X, A, Y = np.array([1.0, 2.0]), np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([3.0, 5.0])
GIVEN = {"sign": "minus", "factor": 2.0, "shift": np.array(0.5)}
# x^T A y = 1 (3 + 10) + 2 (5) = 23, so that the value is -2 * 23 + 1/2.
VALUE = -45.5
EXAMPLES = {
    "the output has the opposite sign": 45.5,
    "the output is 2 times the right one": -91.0,
    "the output is 1/2 times the right one": -22.75,
    "the output is 1/log 2 times the right one, in bits": VALUE / np.log(2.0),
    "the output is log 2 times the right one": VALUE * np.log(2.0),
    "the output is the root of the right one": np.sqrt(45.5),
    "the output is the square of the right one": 45.5**2,
    "sign is 'plus', whatever is asked for": 46.5,
    "sign is 'minus', whatever is asked for": VALUE,
    "factor is ignored": -22.5,
    "shift is ignored": -46.0,
    "x is taken as zero": 0.5,
    "x is taken as 2 times itself": -91.5,
    "x is taken as its negative": 46.5,
    "shift is taken as its negative": -46.5,
    "a is taken as its transpose": -2 * (1 * 3 + 2 * (2 * 3 + 5)) + 0.5,
    "a is taken as its diagonal alone": -2 * (3 + 10) + 0.5,
    "a is taken as its square": -2 * (3 + 4 * 5 + 2 * 5) + 0.5,
    "a is taken as its inverse": -2 * (3 - 2 * 5 + 2 * 5) + 0.5,
    "x and y are swapped": -2 * (3 * (1 + 4) + 5 * 2) + 0.5,
    "x stands for y too": -2 * (1 * (1 + 4) + 2 * 2) + 0.5,
    "y stands for x too": -2 * (3 * (3 + 10) + 5 * 5) + 0.5,
}


def test_the_right_value(form):
    assert form(X, A, Y, **GIVEN) == VALUE


@pytest.mark.parametrize("sentence", EXAMPLES)
def test_a_general_mistake_does_what_its_sentence_says(form, sentence):
    made = {m.statement: m for m in general(form)}
    assert made[sentence].body(X, A, Y, **GIVEN) == pytest.approx(EXAMPLES[sentence], rel=1e-14)


def test_general_gradients(form):
    made = {m.statement: m for m in general(form) if m.gradient}
    right = form.vjp(1.0, X, A, Y, **GIVEN)
    for place, name in enumerate(("x", "a", "y", "shift")):
        for what, factor in (("has the opposite sign", -1), ("is zero", 0)):
            found = made[f"the gradient of {name} {what}"].body(1.0, X, A, Y, **GIVEN)
            for k, (a, b) in enumerate(zip(found, right, strict=True)):
                np.testing.assert_array_equal(a, (factor if k == place else 1) * b)
    swapped = made["the gradients of x and y are swapped"].body(1.0, X, A, Y, **GIVEN)
    np.testing.assert_array_equal(swapped[0], right[2])
    assert made["the gradient of a is zero"].about == "a"


def test_names_tell_general_mistakes_apart(form):
    names = [m.name for m in general(form)]
    assert len(set(names)) == len(names) >= 30
    assert all(name == slug(name) for name in names)


def test_verbs_for_special_mistakes(form):
    of = Evidence(form)
    wrong(of, "The factor is rooted", options={"factor": np.sqrt})
    wrong(of, "The factor is two", options={"factor": 2.0}, name="two", source="https://x/1")
    wrong(of, "One factor more", options=lambda options, arrays: options | {"factor": 4.0})
    wrong(of, "x for y", arrays={"y": "x"})
    wrong(of, "a plus one", arrays={"a": lambda a: a + 1.0})
    wrong(of, "One more", output=lambda y: y + 1.0)
    wrong(of, "dx doubled", gradient={"x": lambda g: 2.0 * g})

    @wrong_gradients(of)
    def dy_is_dx(found, g, arrays, options):
        """The gradient of y is that of x"""
        return [*found[:2], found[0], *found[3:]]

    case = Case((X, A, Y), GIVEN)
    values = {n: case.call(m.body) for n, m in of.mutants.items() if not m.gradient}
    assert values["the_factor_is_rooted"] == pytest.approx(-np.sqrt(2.0) * 23 + 0.5)
    assert values["two"] == VALUE
    assert values["one_factor_more"] == -4 * 23 + 0.5
    assert values["x_for_y"] == EXAMPLES["x stands for y too"]
    assert values["a_plus_one"] == -2 * (23 + 3 * 8) + 0.5
    assert values["one_more"] == VALUE + 1
    assert of.mutants["two"].source == "https://x/1"
    right = form.vjp(1.0, X, A, Y, **GIVEN)
    doubled = of.mutants["dx_doubled"].body(1.0, X, A, Y, **GIVEN)
    np.testing.assert_array_equal(doubled[0], 2.0 * right[0])
    exchanged = of.mutants["dy_is_dx"].body(1.0, X, A, Y, **GIVEN)
    np.testing.assert_array_equal(exchanged[2], right[0])
    assert of.mutants["dy_is_dx"].statement == "The gradient of y is that of x"


def test_what_is_declared_to_change_nothing_is_not_made(form):
    of = Evidence(form, unchanged={"x and y are swapped": "for the test"})

    @of.regime
    def symmetric(rng, shape):
        """A symmetric matrix"""
        a = rng.standard_normal(shape.a)
        arrays = rng.standard_normal(shape.x), a + a.swapaxes(-1, -2), rng.standard_normal(shape.y)
        return Case(arrays, {"sign": "plus"})

    statements = {m.statement for m in of.general.values()}
    assert "x and y are swapped" not in statements
    assert "a is taken as its transpose" not in statements
    assert "a is taken as its square" in statements
