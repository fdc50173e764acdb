"""Registration and calling: what is checked once for every formula, and what the messages say."""

from __future__ import annotations

import numpy as np
import pytest

import refimpl
from refimpl import formula as registration
from refimpl.backend import namespace
from refimpl.formula import Formula, find, formula

RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal(s) for s in ((3, 4), (5, 4), (5, 2)))


@pytest.fixture
def scaled_sum():
    """A formula of one's own, taken out of the table afterwards."""

    @formula("(n),(n)->()", source="a test", keywords={"shift": "()"}, kinds={})
    def scaled_sum(x, y, /, *, factor, shift=None):
        total = (x * y).sum(axis=-1) * factor
        return total if shift is None else total + shift

    @scaled_sum.defvjp
    def scaled_sum_vjp(g, x, y, /, *, factor, shift=None):
        wide = factor * g[..., None]
        return wide * y, wide * x, g

    yield scaled_sum
    del registration.TABLE["scaled_sum"]


def test_a_project_can_register_its_own(scaled_sum):
    assert isinstance(scaled_sum, Formula)
    assert find("scaled_sum") is scaled_sum
    assert scaled_sum([1.0, 2.0], [3.0, 4.0], factor=2.0) == 22.0
    assert scaled_sum.differentiable == ("x", "y", "shift")


def test_gradients_of_the_arrays_that_are_given_in_their_own_shapes(scaled_sum):
    x, y = RNG.standard_normal((2, 1, 3)), RNG.standard_normal((4, 3))
    g = np.ones((2, 4))
    dx, dy = scaled_sum.vjp(g, x, y, factor=1.0)
    assert dx.shape == x.shape
    assert dy.shape == y.shape
    np.testing.assert_allclose(dx, np.broadcast_to(y.sum(axis=0), x.shape))
    assert len(scaled_sum.vjp(g, x, y, factor=1.0, shift=0.5)) == 2, "a number is a constant"
    *_, dshift = scaled_sum.vjp(g, x, y, factor=1.0, shift=np.zeros(4))
    np.testing.assert_array_equal(dshift, [2.0, 2.0, 2.0, 2.0])


def test_an_option_without_default_must_be_given(scaled_sum):
    with pytest.raises(TypeError, match="needs .*factor"):
        scaled_sum([1.0], [1.0])


def test_two_formulas_cannot_share_a_name(scaled_sum):
    def clash(x, y, /, *, factor, shift=None):
        return x

    clash.__name__, clash.__module__ = "scaled_sum", "elsewhere"
    with pytest.raises(ValueError, match="two formulas named scaled_sum"):
        formula("(n),(n)->()", source="a test")(clash)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"signature": "(n)->()"}, "parameters"),
        ({"signature": "(n),(n)->()", "keywords": {"z": "()"}}, "are not parameters"),
        ({"signature": "(n),(n)->()", "kinds": {"x": "complex"}}, "unknown kind"),
    ],
)
def test_wrong_declarations(declaration, message):
    def body(x, y, /):
        return x

    signature = declaration.pop("signature")
    with pytest.raises(TypeError, match=message):
        formula(signature, source="a test", **declaration)(body)


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        ((Q, K), {}, TypeError, r"softmax_attention takes 3 arrays \(q, k, v\), got 2"),
        (
            (Q, K[:, :3], V),
            {},
            ValueError,
            r"softmax_attention: k axis 'd': expected 4 \(from q\), got 3",
        ),
        ((Q, K, V[:4]), {}, ValueError, "v axis 'm': expected 5 .from k., got 4"),
        ((Q[0], K, V), {}, ValueError, "q needs at least 2 axes"),
        ((Q + 0j, K, V), {}, TypeError, "q: expected real numbers .*, got complex128"),
        ((Q.astype(object), K, V), {}, TypeError, "q: expected real numbers"),
        ((Q > 0, K, V), {}, TypeError, "mask="),
        (
            (Q, K, V),
            {"mask": np.ones((3, 5))},
            TypeError,
            "mask: expected booleans, got float64 .*bias=",
        ),
        ((Q, K, V), {"mask": np.ones((2, 5), bool)}, ValueError, "mask axis 'n': expected 3"),
        ((Q, K, V), {"bias": np.ones((3, 4))}, ValueError, "bias axis 'm': expected 5"),
        (
            (Q, K, V),
            {"causal": True},
            ValueError,
            "3 queries and 5 keys can be aligned in two ways",
        ),
        ((Q, K, V), {"window": (1, 1)}, ValueError, "can be aligned in two ways"),
        ((Q, K, V), {"causal": "left"}, ValueError, "causal: expected"),
        ((Q, K, V), {"causal": "top_left", "offset": 1}, ValueError, "already says the offset"),
        ((Q, K, V), {"softcap": 0.0}, ValueError, "softcap: expected a positive finite number"),
        ((Q, K, V), {"empty": "one"}, ValueError, "empty: expected one of"),
        ((Q, K, V), {"form": "fast"}, ValueError, "form: expected one of"),
        ((Q, K, V), {"key_block": 8}, TypeError, "'key_block' belongs to form='online'"),
        ((Q, K, V), {"dropout": 0.1}, TypeError, "no option 'dropout'"),
        (
            (Q, K, V),
            {"form": "online", "key_block": 0},
            ValueError,
            "key_block: expected a positive",
        ),
        ((np.ones((2, 3, 4)), np.ones((5, 5, 4)), V), {}, ValueError, "leading axes of k"),
        ((Q, K, np.ma.array(V)), {}, TypeError, "MaskedArray"),
    ],
)
def test_bad_input_raises_and_says_what_was_expected(arrays, options, error, message):
    with pytest.raises(error, match=message):
        refimpl.softmax_attention(*arrays, **options)


def test_cotangents_are_checked_too():
    with pytest.raises(ValueError, match=r"g: expected the output's shape \(3, 2\), got \(2, 2\)"):
        refimpl.softmax_attention.vjp(np.ones((2, 2)), Q, K, V)
    with pytest.raises(TypeError, match="g: expected a tuple of 2 cotangents"):
        refimpl.merge_attention.vjp(np.ones((4, 2)), np.ones((3, 4, 2)), np.ones((3, 4)))


def test_integers_become_float64_and_python_numbers_take_the_arrays_type():
    assert refimpl.softmax_attention([[1]], [[2]], [[3]]).dtype == np.float64
    low = [x.astype(np.float16) for x in (Q, K, V)]
    assert refimpl.softmax_attention(*low, scale=0.3, sink=1.0).dtype == np.float16
    assert refimpl.softmax_attention(low[0], K, V).dtype == np.float64


def test_oracle_upcasts_exactly_and_takes_any_array():
    low = [x.astype(np.float16) for x in (Q, K, V)]
    expected = refimpl.softmax_attention(*(x.astype(np.float64) for x in low))
    found = refimpl.softmax_attention.oracle(*low)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)
    g = np.ones((3, 2), np.float16)
    assert all(x.dtype == np.float64 for x in refimpl.softmax_attention.oracle_vjp(g, *low))


def test_large_inputs_take_the_chunked_form():
    bound = refimpl.softmax_attention.prepare((Q, K, V), {})[2]
    assert refimpl.softmax_attention.choose(None, bound, {}).name == "plain"
    large = bound._replace(axes=bound.axes | {"n": 4096, "m": 4096})
    assert refimpl.softmax_attention.choose(None, large, {}).name == "rows"


@pytest.mark.parametrize("form", ["online", "rows"])
def test_the_chunked_forms_need_no_quadratic_memory(form):
    import tracemalloc

    n = 2048
    q, k, v = (RNG.standard_normal((n, 8)).astype(np.float32) for _ in range(3))
    tracemalloc.start()
    refimpl.softmax_attention(q, k, v, form=form)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.25 * n * n * 4


def test_names_are_found_lazily_and_typos_get_a_hint():
    assert "softmax_attention" in dir(refimpl)
    assert refimpl.backend.namespace is namespace
    with pytest.raises(AttributeError, match="did you mean .*softmax_attention"):
        refimpl.softmax_atention  # noqa: B018
    with pytest.raises(AttributeError):
        refimpl._private  # noqa: B018


def test_backends_do_not_mix(backend):
    if backend.name == "numpy":
        return
    with pytest.raises(TypeError, match="NumPy and CuPy"):
        refimpl.softmax_attention(backend.array(Q), K, backend.array(V))
    out = refimpl.softmax_attention(backend.array(Q), backend.array(K), V.tolist(), scale=0.5)
    assert type(out) is type(backend.array(Q))


def test_optional_arrays_of_the_tensor_libraries_are_refused_with_a_hint():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="softmax_attention: q: .*to_host"):
        refimpl.softmax_attention(torch.ones(3, 4), K, V)
    found = refimpl.softmax_attention.oracle(torch.ones(3, 4, dtype=torch.bfloat16), K, V)
    np.testing.assert_allclose(found, refimpl.softmax_attention(np.ones((3, 4)), K, V))


def test_a_formula_is_looked_up_once():
    """Later accesses are those of any attribute: looking up takes half a millisecond."""
    first = refimpl.softmax_attention
    assert vars(refimpl)["softmax_attention"] is first
