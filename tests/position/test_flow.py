"""Encodings by a differential equation: sinusoids, orders, SciPy, both adjoints, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.flow import flow_encoding
from refimpl.position.recurrent import recurrent_encoding

PAPER = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}
METHODS = pytest.mark.parametrize("method", ["classical", "three_eighths"])


def _linear(matrix, constant=0.0):
    """A field A p + c."""
    d = len(matrix)
    return np.eye(d), np.zeros(d), np.zeros(d), matrix, np.zeros(d), np.full(d, constant)


def _any_field(d, s, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (s, d), (s,), (s,), (d, s), (d,), (d,)
    return tuple(rng.standard_normal(shape) / 2 for shape in shapes)


def _slope(field, t, p):
    w, wt, wb, v, vt, vb = field
    return v @ np.tanh(w @ p + wt * t + wb) + vt * t + vb


def _errors(f, counts=(8, 16, 32)):
    """Ratios of errors from one count of steps to the next."""
    errors = [f(count) for count in counts]
    return [coarse / fine for coarse, fine in itertools.pairwise(errors)]


def _turns(dim):
    theta = 10000.0 ** (-np.arange(0, dim, 2) / dim)
    return np.kron(np.diag(theta), [[0.0, 1.0], [-1.0, 0.0]])


# --------------------------------------------------------------------------------------- solutions


@METHODS
def test_sinusoids_solve_a_linear_equation(method):
    """16 steps for each position are right to 6e-7 at 5, and twice as many 16 times as good."""
    expected = sinusoidal_encoding(np.arange(6), dim=4, **PAPER)

    def error(steps):
        found = flow_encoding(
            [0.0, 1.0, 0.0, 1.0],
            *_linear(_turns(4)),
            length=6,
            interval=1.0,
            steps=steps,
            activation="identity",
            method=method,
        )
        return np.abs(found - expected).max()

    assert error(16) == pytest.approx(6.2e-7, rel=0.01)
    np.testing.assert_allclose(_errors(error), 16.0, rtol=0.02)


@METHODS
def test_linear_equations_have_exponentials(method):
    rng = np.random.default_rng(0)
    matrix, start = rng.standard_normal((3, 3)) / 2, rng.standard_normal(3)
    options = {"interval": 0.5, "steps": 64, "activation": "identity", "method": method}
    found = flow_encoding(start, *_linear(matrix), length=7, **options)
    exact = np.stack([scipy.linalg.expm(0.5 * k * matrix) @ start for k in range(7)])
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9)
    # The recurrence with the exponential of the interval is the same.
    other = recurrent_encoding(scipy.linalg.expm(0.5 * matrix), np.zeros(3), start, length=7)
    np.testing.assert_allclose(found, other, rtol=0, atol=1e-9)


@METHODS
def test_one_step_is_a_recurrence(method):
    """Linear and without time: the series of the exponential up to the fourth power."""
    matrix = np.random.default_rng(1).standard_normal((3, 3))
    power, series = np.eye(3), np.eye(3)
    for k in range(1, 5):
        power = power @ matrix / (4 * k)
        series = series + power
    options = {"interval": 0.25, "steps": 1, "activation": "identity", "method": method}
    found = flow_encoding(np.ones(3), *_linear(matrix), length=9, **options)
    np.testing.assert_allclose(
        found, recurrent_encoding(series, np.zeros(3), np.ones(3), length=9), rtol=1e-12
    )


@METHODS
def test_another_solver_agrees_on_bent_fields(method):
    field, start = _any_field(4, 6), np.array([1.0, -1.0, 0.5, 0.0])
    times = 0.7 * np.arange(6)
    exact = solve_ivp(
        lambda t, p: _slope(field, t, p),
        (0.0, times[-1]),
        start,
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        t_eval=times,
    ).y.T

    def error(steps):
        options = {"interval": 0.7, "steps": steps, "activation": "tanh", "method": method}
        return np.abs(flow_encoding(start, *field, length=6, **options) - exact).max()

    assert error(32) < 1e-7
    np.testing.assert_allclose(_errors(error, (16, 32)), 16.0, rtol=0.15)


def test_corners_of_relu_cost_the_order():
    """p' = max(t - 1/5, 0): 16 times the steps are 256 times as good, not 65536 times."""
    field = (np.zeros((1, 1)), np.ones(1), np.full(1, -1 / 5), np.ones((1, 1)), *np.zeros((2, 1)))
    options = {"length": 2, "interval": 1.0, "activation": "relu", "method": "classical"}

    def error(steps):
        return abs(flow_encoding([0.0], *field, steps=steps, **options)[1, 0] - 0.8**2 / 2)

    np.testing.assert_allclose(_errors(error, (1, 16, 256)), 256.0, rtol=1e-6)


def test_as_the_published_code_calls_it():
    """h of two layers, each with the time as its last input; five steps of three eighths."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 4, 5)) / 2
    biases, p = rng.standard_normal((2, 4)), rng.standard_normal(4)

    def h(t, x):
        inner = np.maximum(first @ np.append(x, t) + biases[0], 0.0)
        return second @ np.append(inner, t) + biases[1]

    found = flow_encoding(
        p,
        *(first[:, :-1], first[:, -1], biases[0], second[:, :-1], second[:, -1], biases[1]),
        length=4,
        interval=0.01,
        steps=5,
        activation="relu",
        method="three_eighths",
    )
    dt = 0.002
    for step in range(15):
        np.testing.assert_allclose(p, found[step // 5], rtol=1e-13) if step % 5 == 0 else None
        t = step * dt
        k1 = h(t, p)
        k2 = h(t + dt / 3, p + dt * k1 / 3)
        k3 = h(t + dt * 2 / 3, p + dt * (k2 - k1 / 3))
        k4 = h(t + dt, p + dt * (k1 - k2 + k3))
        p = p + (k1 + 3 * (k2 + k3) + k4) * dt / 8
    np.testing.assert_allclose(p, found[3], rtol=1e-13)


def test_time_is_not_rounded_to_the_type():
    """In half precision position 4097 is at a time of its own: the slope is that of 2049."""
    field = (np.zeros((1, 1)), np.zeros(1), np.zeros(1), np.zeros((1, 1)), np.ones(1))
    options = {"length": 3, "interval": 1.0, "steps": 1, "activation": "tanh"}
    shifted = [x.astype(np.float16) for x in (*field, np.zeros(1))]
    found = flow_encoding(np.zeros(1, np.float16), *shifted, method="classical", **options)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found.ravel(), [0.0, 0.5, 2.0])


# --------------------------------------------------------------------------------------- gradients


@METHODS
def test_start_of_a_linear_flow_gets_the_transposed_exponential(method):
    rng = np.random.default_rng(0)
    matrix, g = rng.standard_normal((3, 3)) / 2, rng.standard_normal((5, 3))
    options = {"interval": 0.5, "steps": 64, "activation": "identity", "method": method}
    found = flow_encoding.vjp(g, np.ones(3), *_linear(matrix), length=5, **options)[0]
    exact = sum(scipy.linalg.expm(0.5 * k * matrix).T @ g[k] for k in range(5))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9)


@METHODS
def test_the_discrete_adjoint_becomes_the_continuous_one(method):
    """abar' = -(dh/dp)^T abar backwards from the last position, and the field's as integrals."""
    field, start = _any_field(3, 4, seed=5), np.array([1.0, -1.0, 0.5])
    w, wt, wb, v, _, _ = field
    g, end = np.array([1.0, -2.0, 0.5]), 1.5
    tight = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-13}
    forward = solve_ivp(
        lambda t, p: _slope(field, t, p), (0, end), start, dense_output=True, **tight
    )

    def backwards(t, state):
        a, p = state[:3], forward.sol(t)
        hidden = np.tanh(w @ p + wt * t + wb)
        dinner = (v.T @ a) * (1 - hidden**2)
        parts = np.outer(dinner, p), t * dinner, dinner, np.outer(a, hidden), t * a, a
        return -np.concatenate([w.T @ dinner, *(x.ravel() for x in parts)])

    begin = np.concatenate([g, np.zeros(sum(x.size for x in field))])
    exact = solve_ivp(backwards, (end, 0), begin, **tight).y[:, -1]

    def error(steps):
        options = {"interval": end, "steps": steps, "activation": "tanh", "method": method}
        cotangents = np.stack([np.zeros(3), g])
        found = flow_encoding.vjp(cotangents, start, *field, length=2, **options)
        return np.abs(np.concatenate([x.ravel() for x in found]) - exact).max()

    assert error(64) < 1e-7
    np.testing.assert_allclose(_errors(error, (8, 16, 32)), 16.0, rtol=0.2)


@METHODS
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
def test_gradients_by_differences(method, activation):
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal(3), *_any_field(3, 4)
    g = rng.standard_normal((4, 3))
    options = {"length": 4, "interval": 0.8, "steps": 2, "activation": activation, "method": method}
    for which, gradient in enumerate(flow_encoding.vjp(g, *arrays, **options)):
        step = 1e-6 * rng.standard_normal(gradient.shape)
        ahead, behind = (
            (
                g
                * flow_encoding(
                    *(x + s * step if i == which else x for i, x in enumerate(arrays)), **options
                )
            ).sum()
            for s in (1, -1)
        )
        assert (gradient * step).sum() == pytest.approx((ahead - behind) / 2, rel=1e-6)


# ------------------------------------------------------------------------------------------- input


def test_leading_axes_of_any_array():
    start, field = np.random.default_rng(0).standard_normal((5, 1, 3)), list(_any_field(3, 4))
    options = {"interval": 0.5, "steps": 1, "activation": "tanh", "method": "classical"}
    field[5] = np.stack([field[5], -field[5]])
    found = flow_encoding(start, *field, length=3, **options)
    assert found.shape == (5, 2, 3, 3)
    alone = flow_encoding(start[4, 0], *field[:5], field[5][1], length=3, **options)
    np.testing.assert_allclose(found[4, 1], alone, rtol=1e-13)
    assert flow_encoding(start, *field, length=1, **options).shape == (5, 2, 1, 3)


def test_infinite_starts_stay_what_they_are():
    options = {"length": 2, "interval": 1.0, "steps": 1, "activation": "tanh"}
    found = flow_encoding([np.inf, 1.0], *_linear(np.eye(2)), method="classical", **options)
    np.testing.assert_array_equal(found[0], [np.inf, 1.0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"length": 0}, "length: expected a positive whole number, got 0"),
        ({"steps": 1.5}, "steps: expected a positive whole number, got 1.5"),
        ({"interval": 0.0}, "interval: expected a positive finite number, got 0.0"),
        ({"interval": np.nan}, "interval: expected a positive finite number, got nan"),
        ({"activation": "selu"}, "activation: expected .* got 'selu'"),
        ({"method": "rk4"}, "method: expected 'classical' or 'three_eighths', got 'rk4'"),
    ],
)
def test_bad_options(wrong, message):
    options = {"length": 2, "interval": 1.0, "steps": 1, "activation": "tanh"}
    with pytest.raises(ValueError, match=message):
        flow_encoding([1.0], *_any_field(1, 1), **{"method": "classical"} | options | wrong)


def test_choices_have_no_default():
    with pytest.raises(TypeError, match="needs .*method"):
        flow_encoding([1.0], *_any_field(1, 1), length=2, interval=1.0, steps=1, activation="tanh")
