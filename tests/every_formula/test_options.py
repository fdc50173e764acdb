"""Declared options: what is taken, what is refused, what the messages say, for every formula."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Annotated, Literal

import numpy as np
import pytest

import refimpl
from refimpl.evidence import evidence
from refimpl.formula.options import (
    Causal,
    Choice,
    Count,
    Even,
    Natural,
    Number,
    Positive,
    Window,
    declared,
)
from tests.table import FORMULAS, each_formula

NONSENSE = (
    *("", "x", "false", b"ab", 1j, [], [1, 2], (), {}, {1: 2}, len, object, float("nan")),
    *(np.array([1, 2]), np.array("x"), np.ma.masked, Ellipsis),
)
NUMBERS = (-1, 0, 1, 2, 3, 0.5, 1.5, -0.0, 1e300, 2**70, -(2**70), float("inf"), float("-inf"))
LOGIC = (True, False, None, np.True_)


def _sample(formula):
    of = evidence(formula)
    regime = next(iter(of.regimes))
    return of.sample(regime, of.axes())


def test_every_option_of_the_library_is_declared():
    missing = [
        f"{f.module}: {f.name}: {name}"
        for f in FORMULAS
        for name, option in f.declared.items()
        if not option.kinds
    ]
    assert not missing, "annotate these parameters, see refimpl.formula.options"


@each_formula([f for f in FORMULAS if f.declared])
def test_what_is_no_value_of_an_option_is_refused_by_name(formula):
    """Whatever comes, a call returns, or raises an error that names formula and option."""
    case = _sample(formula)
    for name, option in formula.declared.items():
        form = next(n for n, f in formula.forms.items() if name in f.options)
        for value in (*NONSENSE, *NUMBERS, *LOGIC):
            options = case.options | {name: value}
            try:
                option.take(value)
                is_one = True
            except (TypeError, ValueError):
                is_one = False
            try:
                formula(*case.arrays, form=form, **options)
            except (TypeError, ValueError, IndexError, np.linalg.LinAlgError) as error:
                assert str(error).startswith((f"{formula.name}:", f"{formula.name} ")), error
                assert is_one or f"{name}: expected" in str(error), error
            else:
                assert is_one, f"{formula.name}: {name} takes {value!r}"


@each_formula([f for f in FORMULAS if f.declared])
def test_flags_take_booleans_alone(formula):
    for option in formula.declared.values():
        if repr(option.values) == "(True, False)":
            for value in (*NONSENSE, *NUMBERS, None):
                with pytest.raises((TypeError, ValueError)):
                    option.take(value)
            assert option.take(np.True_) is True


@each_formula([f for f in FORMULAS if f.required])
def test_all_that_is_missing_is_named_at_once(formula):
    case = _sample(formula)
    with pytest.raises(TypeError) as caught:
        formula(*case.arrays)
    assert all(name in str(caught.value) for name in formula.required)


@each_formula()
def test_errors_of_arrays_and_cotangents_begin_with_the_formula(formula):
    case = _sample(formula)
    for value in (None, "x", object(), 1j):
        with pytest.raises((TypeError, ValueError), match=f"^{formula.name}"):
            formula(value, *case.arrays[1:], **case.options)
        if formula.differentiable:
            g = (value,) * len(formula.signature.outputs)
            with pytest.raises((TypeError, ValueError), match=f"^{formula.name}"):
                formula.vjp(formula.packed(g), *case.arrays, **case.options)


@each_formula([f for f in FORMULAS if f.differentiable])
def test_a_cotangent_of_another_shape_is_refused(formula):
    case = _sample(formula)
    outputs = formula.outputs(case)
    g = tuple(np.ones((*y.shape, 3)) for y in outputs)
    with pytest.raises(ValueError, match=f"^{formula.name}: g: expected the output's shape"):
        formula.vjp(formula.packed(g), *case.arrays, **case.options)


# ----------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 16}, r"window: expected a pair .*, got 16 \(sliding_window=16 .* is window"),
        ({"is_causal": True}, "no option 'is_causal' .causal='top_left' is torch's"),
        ({"sliding_window": 4}, r"no option 'sliding_window' .*window=\(W - 1, 0\)"),
        ({"casual": True}, r"no option 'casual' \(did you mean causal\?\)"),
        ({"causal": "false"}, "causal: expected one of .*the text 'false' is no False"),
        ({"dropout_p": 0.1}, "no option .*compare with dropout off"),
        ({"mask": np.ones((3, 3), int)}, "mask: expected booleans, got int64 .*mask != 0"),
        ({"softcap": float("inf")}, "softcap: expected a positive finite number or None"),
        ({"offset": float("nan")}, "offset: expected a whole number or None, got nan"),
        ({"offset": [1, 2]}, "offset: expected a whole number or None"),
        ({"offset": 1.5}, "offset: expected a whole number or None"),
        ({"form": ["rows"]}, "form: expected one of"),
        ({"q": 1}, "q is an array and positional"),
    ],
)
def test_errors_teach(options, message):
    q = np.ones((3, 2))
    with pytest.raises((TypeError, ValueError), match=f"^softmax_attention: {message}"):
        refimpl.softmax_attention(q, q, q, **options)


def test_arrays_by_name_get_told_that_they_are_positional():
    q = np.ones((3, 2))
    with pytest.raises(TypeError, match="positional, pass q, k, v without a name"):
        refimpl.softmax_attention(q=q, k=q, v=q)


def test_unsigned_positions_do_not_wrap():
    window = {"window": (1, 0)}
    queries, keys = [0, 1], [0, 1, 2]
    expected = refimpl.attention_mask(queries, keys, **window)
    for dtype in ("uint8", "uint64"):
        arrays = (np.array(x, dtype) for x in (queries, keys))
        np.testing.assert_array_equal(refimpl.attention_mask(*arrays, **window), expected)


# ----------------------------------------------------------------------------- the declaration


def _body(x, /, *, a: Causal = None, b: Positive | None = 1.0, c: Count = 2, d: bool = False):
    return x


def test_kinds_are_read_from_annotations():
    options = declared(_body, ())
    assert options["a"].values == ("top_left", "bottom_right", True, False, None)
    assert options["b"].take(np.float32(2.0)) == 2.0
    assert options["b"].take(None) is None
    assert options["c"].take(np.array(3)) == 3
    assert type(options["c"].take(4.0)) is int
    assert options["d"].expected == "True or False"
    assert [o.is_convention for o in options.values()] == [True, False, False, True]


def test_what_declares_nothing_is_refused_at_registration():
    def body(x, /, *, size: int = 1):
        return x

    with pytest.raises(TypeError, match="size: .*int.* declares no option"):
        declared(body, ())


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Causal, "true", True),
        (Causal, "none", None),
        (Causal, "top_left", "top_left"),
        (bool, "FALSE", False),
        (Literal["iterated", "none"], "none", "none"),
        (Positive, "1e-3", 1e-3),
        (Window, "(2, None)", (2, None)),
        (Window, "[2, 0]", (2, 0)),
    ],
)
def test_text_is_read_as_the_declaration_says(annotation, text, value):
    def body(x, /, *, option=None):
        return x

    body.__annotations__["option"] = annotation
    (option,) = declared(body, ()).values()
    assert option.take(option.parse(text)) == value


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "expected"),
    [
        (Count, 1, 0, "a positive whole number"),
        (Natural, 0, -1, "a whole number from 0 on"),
        (Even, 2, 3, "an even number from 2 on"),
        (Positive, 1e-300, 0.0, "a positive finite number"),
        (Annotated[int, Number(1, 150, whole=True)], 150, 151, "at most 150"),
        (Annotated[int, Choice((1, 0), ("A", "B"))], 0, 2, r"1 \(A\) or 0 \(B\)"),
    ],
)
def test_ranges(kind, right, wrong, expected):
    def body(x, /, *, option=None):
        return x

    body.__annotations__["option"] = kind
    (option,) = declared(body, ()).values()
    assert option.take(right) == right
    with pytest.raises(ValueError, match=f"option: expected {expected}, got {wrong}"):
        option.take(wrong)


# ------------------------------------------------------------------------------- the record


@each_formula()
def test_a_formula_can_be_sent_to_another_process(formula):
    assert pickle.loads(pickle.dumps(formula)) is formula
    assert copy.deepcopy(formula) is formula


def test_without_docstrings_everything_works():
    code = (
        "import sys; from refimpl.__main__ import main; "
        "sys.exit(main(['check', 'gaussian_entropy', 'refimpl:gaussian_entropy']))"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS")


def test_help_begins_with_the_call():
    assert refimpl.softmax_attention.__doc__.startswith("softmax_attention(q, k, v, /, *, mask=")


def test_one_broken_topic_file_leaves_the_others_standing(monkeypatch):
    from refimpl.formula import table

    monkeypatch.setattr(table, "BROKEN", {})
    table._import_file("refimpl.no_such_file")
    assert list(table.BROKEN) == ["refimpl.no_such_file"]
    with pytest.raises(KeyError, match="not imported: refimpl.no_such_file: ModuleNotFoundError"):
        table.find("nothing_like_it")


def test_no_topic_file_is_broken():
    from refimpl.formula import BROKEN, load_table

    load_table()
    assert BROKEN == {}


def test_names_of_the_field_are_known():
    from refimpl.formula import find, search
    from refimpl.formula.table import ALIASES

    assert all(find(alias).name == name for alias, name in ALIASES.items())
    assert find("GQA").name == "grouped_query_attention"
    assert next(search("fid")).name == "frechet_distance"
    with pytest.raises(AttributeError, match="gqa is called grouped_query_attention here"):
        refimpl.gqa  # noqa: B018
