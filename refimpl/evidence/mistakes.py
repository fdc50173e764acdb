"""Wrong variants: those that every formula has from its registration, and verbs for special ones.

Nobody writes the general ones: a sign, a factor, an option ignored, arguments exchanged, a matrix
transposed, a gradient missing. :func:`general` makes them. What is special to a formula is said in
one line by :func:`wrong`, or as a changed term of a :class:`Textbook`; a public bug with code of
its own is a decorated function.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from refimpl.formula import Formula, as_tuple
from refimpl.formula.arguments import Argument


class Mutant(NamedTuple):
    """A named wrong variant; ``source`` is the thread of the public bug that it repeats, if any.

    ``body`` has the parameters of the formula, ``g`` first where it is of the gradient. A ``vague``
    one is reported only where no sharper one fits as well. ``about`` is the array whose gradient
    alone is wrong.
    """

    name: str
    statement: str
    body: Callable
    source: str = ""
    gradient: bool = False
    vague: int = 0
    about: str = ""


def slug(sentence: str) -> str:
    """A sentence as a name."""
    return re.sub(r"[^a-z0-9]+", "_", sentence.lower()).strip("_")


def general(formula: Formula) -> Iterator[Mutant]:
    """The mistakes that can be made with any formula of this registration.

    Some of them change nothing in some formulas: evidence declares those.
    """
    for sentence, body in _outputs(formula):
        yield Mutant(slug(sentence), sentence, body, vague=1)
    for sentence, body in _inputs(formula):
        yield Mutant(slug(sentence), sentence, body)
    for sentence, body, about in _gradients(formula):
        yield Mutant(slug(sentence), sentence, body, gradient=True, about=about)


def wrong(
    of: Any,
    says: str,
    *,
    name: str = "",
    source: str = "",
    options: Mapping[str, Any] | Callable | None = None,
    arrays: Mapping[str, Any] | None = None,
    output: Callable | None = None,
    gradient: Mapping[str, Callable] | Callable | None = None,
) -> None:
    """Register a mistake of one line, on one evidence or several: the formula itself, but ...

    ``options``: values that are taken whatever is asked, or functions of what is asked, where
    anything is; or one function (options, arrays) -> options. ``arrays``: functions of the array,
    or the name of another that stands for it. ``output``: a function of each output. ``gradient``:
    functions of gradients by name, or one function (gradients, arrays, options) -> gradients.
    Anything longer is a function of its own, see :meth:`Evidence.mutant`.
    """
    for each in of if isinstance(of, tuple) else (of,):
        body = (
            _wrong_gradient(each.formula, gradient)
            if gradient is not None
            else _wrong_value(each.formula, options, arrays or {}, output)
        )
        body.__name__, body.__doc__ = name or slug(says), says
        each.mutant(body, source=source, gradient=gradient is not None)


def wrong_gradients(of: Any) -> Callable:
    """Decorator: ``body(found, g, arrays, options)`` changes a list of the right gradients."""

    def register(body: Callable) -> Callable:
        def mutant(g, *arrays, **options):
            found = list(of.formula.vjp(g, *arrays, **options))
            return tuple(body(found, g, arrays, options))

        mutant.__name__, mutant.__doc__ = body.__name__, body.__doc__
        return of.mutant(mutant, gradient=True)

    return register


class Textbook(NamedTuple):
    """A formula as a paper prints it: named terms of its arguments, and the whole made of them.

    ``terms(*arrays, **options)`` gives the terms by name, ``whole(**terms)`` the output.
    """

    of: Any
    terms: Callable[..., Mapping[str, Any]]
    whole: Callable

    def wrong(self, says: str, *, name: str = "", source: str = "", **changes: Any) -> None:
        """Register the mistake that some terms are others: values, or functions of what is given.

        Such a function gets the arrays, the options and the right terms as attributes of one
        object: ``trace=lambda t: t.trace / t.d``.
        """

        def body(*arrays, **options):
            terms = dict(self.terms(*arrays, **options))
            given = SimpleNamespace(**self.of.formula.by_name(arrays, options) | terms)
            taken = {
                k: change(given) if callable(change) else change for k, change in changes.items()
            }
            return self.whole(**terms | taken)

        body.__name__, body.__doc__ = name or slug(says), says
        self.of.mutant(body, source=source)


def _wrong_value(formula: Formula, options, arrays, output) -> Callable:
    names = [a.name for a in formula.arguments]

    def body(*given, **asked):
        by_name = dict(zip(names, given, strict=True))
        changed = [
            by_name[change] if isinstance(change, str) else change(by_name[name]) if change else x
            for name, x in by_name.items()
            for change in [arrays.get(name)]
        ]
        taken = options(asked, given) if callable(options) else _taken(asked, options or {})
        result = formula(*changed, **taken)
        return formula.packed(tuple(map(output, as_tuple(result)))) if output else result

    return body


def _taken(asked: dict, changes: Mapping[str, Any]) -> dict:
    taken = dict(asked)
    for name, change in changes.items():
        if not callable(change):
            taken[name] = change
        elif asked.get(name) is not None:
            taken[name] = change(asked[name])
    return taken


def _wrong_gradient(formula: Formula, gradient) -> Callable:
    if not callable(gradient):
        return _with_gradients(formula, gradient)

    def body(g, *arrays, **options):
        return tuple(gradient(formula.vjp(g, *arrays, **options), arrays, options))

    return body


# ------------------------------------------------------------------------------------- values

_OUTPUTS: dict[str, dict[str, Callable]] = {
    "real": {
        "the output has the opposite sign": np.negative,
        "the output is 2 times the right one": lambda y: 2.0 * y,
        "the output is 1/2 times the right one": lambda y: 0.5 * y,
        "the output is 1/log 2 times the right one, in bits": lambda y: y / np.log(2.0),
        "the output is log 2 times the right one": lambda y: y * np.log(2.0),
        "the output is the root of the right one": lambda y: np.sqrt(np.abs(y)),
        "the output is the square of the right one": np.square,
    },
    "boolean": {"the output is the opposite": np.logical_not},
    "index": {
        "the output is one too many": lambda y: y + 1,
        "the output is one too few": lambda y: y - 1,
    },
}
_ARRAYS: dict[str, Callable] = {
    "zero": np.zeros_like,
    "2 times itself": lambda x: 2.0 * x,
    "its negative": np.negative,
}
_MATRICES: dict[str, Callable] = {
    "2 times itself": lambda x: 2.0 * x,
    "its transpose": lambda x: x.swapaxes(-1, -2),
    "its diagonal alone": lambda x: x * np.eye(x.shape[-1], dtype=x.dtype),
    "its square": lambda x: x @ x,
    "its inverse": np.linalg.inv,
}


def _outputs(formula: Formula) -> Iterator[tuple[str, Callable]]:
    for sentence, change in _OUTPUTS[formula.returns].items():
        yield sentence, _with_outputs(formula, change)
    if any(len(core) >= 2 for core in formula.signature.outputs):
        yield "the output is transposed", _with_outputs(formula, lambda y: y.swapaxes(-1, -2))


def _inputs(formula: Formula) -> Iterator[tuple[str, Callable]]:
    for sentence, options in _options(formula):
        yield sentence, _with_options(formula, options)
    for name, argument in formula.inputs.items():
        if argument.kind != "real":
            continue
        for what, change in (_MATRICES if _is_square(argument) else _ARRAYS).items():
            yield f"{name} is taken as {what}", _with_arrays(formula, name, change)
    for a, b in _alike(formula):
        yield f"{a} and {b} are swapped", _with_swapped(formula, {a: b, b: a})
        yield f"{a} stands for {b} too", _with_swapped(formula, {b: a})
        yield f"{b} stands for {a} too", _with_swapped(formula, {a: b})


def _options(formula: Formula) -> Iterator[tuple[str, dict[str, Any]]]:
    """An option ignored, and each value of a convention whatever is asked for."""
    for name, option in formula.declared.items():
        if name not in formula.options:
            continue
        if option.is_convention:
            for value in option.values:
                yield f"{name} is {value!r}, whatever is asked for", {name: value}
        elif not option.is_required:
            yield f"{name} is ignored", {name: option.default}
    for name in formula.keywords:
        if formula.options[name] is None:
            yield f"{name} is ignored", {name: None}


def _is_square(argument: Argument) -> bool:
    core = argument.core
    return len(core) == 2 and core[0].name == core[1].name


def _alike(formula: Formula) -> Iterator[tuple[str, str]]:
    """Pairs of positional arrays that could be exchanged: of one kind and one core."""
    for a, b in itertools.combinations(formula.arguments, 2):
        if a.kind == b.kind and len(a.core) == len(b.core):
            yield a.name, b.name


def _with_outputs(formula: Formula, change: Callable) -> Callable:
    def changed(*arrays, **options):
        result = formula(*arrays, **options)
        return formula.packed(tuple(map(change, as_tuple(result))))

    return changed


def _with_options(formula: Formula, given: Mapping[str, Any]) -> Callable:
    def changed(*arrays, **options):
        return formula(*arrays, **options | given)

    return changed


def _with_arrays(formula: Formula, name: str, change: Callable) -> Callable:
    names = [a.name for a in formula.arguments]

    def changed(*arrays, **options):
        if name not in names:
            given = options.get(name)
            changed = {} if given is None else {name: change(np.asarray(given, dtype=float))}
            return formula(*arrays, **options | changed)
        arrays = [change(x) if n == name else x for n, x in zip(names, arrays, strict=True)]
        return formula(*arrays, **options)

    return changed


def _with_swapped(formula: Formula, places: Mapping[str, str]) -> Callable:
    names = [a.name for a in formula.arguments]

    def changed(*arrays, **options):
        given = dict(zip(names, arrays, strict=True))
        return formula(*(given[places.get(name, name)] for name in names), **options)

    return changed


# ---------------------------------------------------------------------------------- gradients

_GRADIENTS: dict[str, Callable] = {
    "has the opposite sign": np.negative,
    "is zero": np.zeros_like,
    "is 1/2 times the right one": lambda g: 0.5 * g,
    "is 2 times the right one": lambda g: 2.0 * g,
}


def _gradients(formula: Formula) -> Iterator[tuple[str, Callable, str]]:
    for name in formula.differentiable:
        for what, change in _GRADIENTS.items():
            wrong = _with_gradients(formula, {name: change})
            yield f"the gradient of {name} {what}", wrong, name
    arguments = [formula.inputs[name] for name in formula.differentiable]
    for a, b in itertools.combinations(arguments, 2):
        if a.core == b.core and not {a.name, b.name} & formula.keywords.keys():
            sentence = f"the gradients of {a.name} and {b.name} are swapped"
            yield sentence, _with_swapped_gradients(formula, a.name, b.name), ""


def _with_gradients(formula: Formula, changes: Mapping[str, Callable]) -> Callable:
    def changed(g, *arrays, **options):
        gradients = formula.vjp(g, *arrays, **options)
        pairs = zip(formula.pulled(options), gradients, strict=True)
        return tuple(changes.get(name, lambda x: x)(x) for name, x in pairs)

    return changed


def _with_swapped_gradients(formula: Formula, a: str, b: str) -> Callable:
    def changed(g, *arrays, **options):
        names = formula.pulled(options)
        found = dict(zip(names, formula.vjp(g, *arrays, **options), strict=True))
        found[a], found[b] = found[b], found[a]
        return tuple(found[name] for name in names)

    return changed
