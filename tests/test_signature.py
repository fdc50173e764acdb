"""The signature parser, and shape errors that name formula, argument, axis, expected and got."""

from __future__ import annotations

import pytest

from refimpl.signature import Axis, Signature, bind, format_core, parse_core


def shapes(signature: str, *shapes, names=("a", "b", "c")):
    cores = Signature.parse(signature).inputs
    return bind("f", names[: len(cores)], cores, shapes)


@pytest.mark.parametrize(
    "text",
    ["(n,d),(m,d),(m,v)->(n,v)", "()->(h)", "(3),(3)->(3)", "(m?,n),(n,p?)->(m?,p?)", "(n|1)->()"],
)
def test_parse_and_print_are_inverse(text):
    assert str(Signature.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["(n", "(n)->(m)->(k)", "(n)", "n->m", "(n-1)->()", "(n),x->()", "(n??)->()"]
)
def test_malformed_signatures_are_refused(text):
    with pytest.raises(ValueError):
        Signature.parse(text)


def test_axes_and_leading_axes_are_bound():
    bound = shapes("(n,d),(m,d)->(n,m)", (2, 1, 3, 4), (5, 6, 4))
    assert bound.axes == {"n": 3, "d": 4, "m": 6}
    assert bound.batch == (2, 5)
    assert bound.shape(parse_core("(n,m)")) == (2, 5, 3, 6)


def test_optional_axes_are_absent_everywhere():
    cores = Signature.parse("(m?,n),(n,p?)->(m?,p?)")
    bound = shapes("(m?,n),(n,p?)->(m?,p?)", (4,), (4, 5))
    assert bound.shape(cores.outputs[0]) == (5,)
    assert shapes("(m?,n),(n,p?)->(m?,p?)", (2, 4), (4,)).shape(cores.outputs[0]) == (2,)


def test_fixed_sizes_and_stretching_axes():
    assert shapes("(3),(n|1),(n)->()", (3,), (1,), (7,)).axes == {"n": 7}
    with pytest.raises(ValueError, match="expected 3, got 2"):
        shapes("(3),(3)->(3)", (2,), (3,))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ((6, 5), r"f: b axis 'd': expected 4 \(from a\), got 5"),
        ((4,), r"f: b needs at least 2 axes"),
        ((3, 6, 4), r"f: leading axes of b: expected \(2,\) \(from a\).*got \(3,\)"),
    ],
)
def test_messages(second, message):
    with pytest.raises(ValueError, match=message):
        shapes("(n,d),(m,d)->(n,m)", (2, 3, 4), second)


def test_axis_text():
    assert (
        format_core((Axis("n", stretches=True), Axis("d", optional=True), Axis("2", size=2)))
        == "(n|1,d?,2)"
    )
