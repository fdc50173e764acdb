"""Registration: one decorator turns a plain function into a checked, listed and testable formula.

``@formula("(n,d),(m,d)->(n,m)", source=...)`` files a :class:`Formula` in the table. Calling it
checks the arguments once, uniformly over the library, and then runs the body, which is pure
mathematics. A project of one's own can register formulas in the same way and list, test and check
them like ours.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import numbers
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from types import SimpleNamespace
from typing import Any, NamedTuple

from refimpl import backend
from refimpl.signature import Bound, Core, Signature, bind, format_core, parse_core

TOPICS = ("attention", "position", "gaussian", "sketch", "critic", "language")

TABLE: dict[str, Formula] = {}
"""Every registered formula by name."""

_MISSING_KIND = "real"
_EXPECTED = {
    "real": "real numbers (float or integer)",
    "exact": "integers or float64 (lower precisions cannot hold large values exactly)",
    "boolean": "booleans",
    "index": "integers",
}
_HINTS = {
    ("boolean", "f"): "a float mask is added, not selected: pass it as bias=, or compare it with 0",
    ("real", "b"): "booleans select, they are not numbers: pass a boolean mask as mask=",
}


class Form(NamedTuple):
    """One algorithm of a formula; all forms of a formula are equal in exact arithmetic."""

    name: str
    body: Callable
    vjp: Callable | None
    beyond: Callable[[Bound], bool] | None
    options: frozenset[str]


class Argument(NamedTuple):
    """One array of a formula: its core axes, and what its values may be."""

    name: str
    core: Core
    kind: str = _MISSING_KIND


class Formula:
    """A callable formula with its gradient, its forms, and what is known about them.

    Attributes
    ----------
    name, topic, source : str
    signature : Signature
    arguments : tuple of Argument, the positional arrays
    keywords : dict of Argument, the arrays that are passed by keyword
    options : dict, every keyword option with its default (arrays included)
    differentiable : tuple of str, names of the arrays that have a gradient
    reason : str, why there is none where there is none
    returns : str, "real", "boolean" or "index", what the outputs hold
    forms : dict of Form, the plain one first
    """

    def __init__(
        self,
        body: Callable,
        signature: str,
        *,
        source: str,
        keywords: Mapping[str, str] | None = None,
        kinds: Mapping[str, str] | None = None,
        differentiable: tuple[str, ...] | bool = True,
        reason: str = "",
        returns: str = "real",
    ):
        functools.update_wrapper(self, body)
        self.name = body.__name__
        self.source = source
        self.signature = Signature.parse(signature)
        self.reason = reason
        self.returns = returns
        parameters = inspect.signature(body).parameters.values()
        names = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        self.options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        kinds = dict(kinds or {})
        cores = {name: parse_core(core) for name, core in (keywords or {}).items()}
        _check_declaration(self.name, names, self.signature, self.options, cores, kinds)
        self.arguments = tuple(
            Argument(name, core, kinds.get(name, _MISSING_KIND))
            for name, core in zip(names, self.signature.inputs, strict=True)
        )
        self.keywords = {
            name: Argument(name, core, kinds.get(name, _MISSING_KIND))
            for name, core in cores.items()
        }
        if differentiable is True:
            everything = (*self.arguments, *self.keywords.values())
            differentiable = tuple(a.name for a in everything if a.kind == "real")
        self.differentiable = differentiable or ()
        # The same shapes come again and again, and a formula's own work may be microseconds.
        self._bind = functools.lru_cache(maxsize=1024)(self._bind_shapes)
        self.forms = {"plain": Form("plain", body, None, None, frozenset(self.options))}

    @property
    def module(self) -> str:
        return self.__wrapped__.__module__

    @property
    def topic(self) -> str:
        """The folder of the formula's file, e.g. ``attention``."""
        return self.module.split(".")[-2] if "." in self.module else self.module

    @property
    def required(self) -> tuple[str, ...]:
        """Options without a default: conventions on which the field disagrees."""
        return tuple(n for n, default in self.options.items() if default is inspect.Parameter.empty)

    def __repr__(self) -> str:
        return f"<formula {self.name} {self.signature}>"

    # ------------------------------------------------------------------------------- calling

    def __call__(self, *arrays, form: str | None = None, **options):
        arrays, options, bound = self.prepare(arrays, options)
        chosen = self.choose(form, bound, options)
        with backend.quiet():
            result = chosen.body(*arrays, **options)
        if isinstance(result, tuple):
            return tuple(map(self._in_batch, result, self.signature.outputs, repeat(bound.batch)))
        return self._in_batch(result, self.signature.outputs[0], bound.batch)

    def _in_batch(self, output, core: Core, batch: tuple[int, ...]):
        """The output with all leading axes, whichever array they come from."""
        lead = output.ndim - len(core)
        if output.shape[:lead] == batch:
            return output
        return backend.spread(output, batch + output.shape[lead:])

    def oracle(self, *arrays, **options):
        """The same call with every float input upcast exactly to float64; takes torch, JAX too."""
        return self(*map(upcast, arrays), **{k: upcast(v) for k, v in options.items()})

    def vjp(self, g, *arrays, form: str | None = None, **options) -> tuple:
        """Gradients of <g, f(arrays)>: one for each differentiable array that is given.

        ``g`` is the cotangent (a tuple of them where the formula has several outputs). Gradients
        come in the order of the signature, positional arrays first, each with its own array's
        shape. A keyword given as a Python number is a constant and has none.
        """
        if not self.differentiable:
            raise TypeError(f"{self.name} has no gradient: {self.reason}")
        constants = {
            n for n in self.keywords if isinstance(options.get(n), (numbers.Number, type(None)))
        }
        arrays, options, bound = self.prepare(arrays, options)
        chosen = self.choose(form, bound, options)
        body = chosen.vjp
        if body is None:
            body = self.forms["plain"].vjp
            options = {k: v for k, v in options.items() if k in self.options}
        g = self._cotangents(g, arrays, options, bound)
        with backend.quiet():
            gradients = body(g, *arrays, **options)
        given = dict(zip([a.name for a in self.arguments], arrays, strict=True)) | options
        return tuple(
            backend.unbroadcast(gradient, given[name].shape)
            for name, gradient in zip(self.differentiable, gradients, strict=True)
            if name not in constants
        )

    def oracle_vjp(self, g, *arrays, **options) -> tuple:
        """:meth:`vjp` with every float input, the cotangent included, upcast to float64."""
        g = tuple(map(upcast, g)) if isinstance(g, tuple) else upcast(g)
        return self.vjp(g, *map(upcast, arrays), **{k: upcast(v) for k, v in options.items()})

    # ------------------------------------------------------------------- checking the arguments

    def prepare(self, arrays: tuple, options: dict) -> tuple[tuple, dict, Bound]:
        """Arguments as arrays of one backend and one float type, their shapes bound to the axes."""
        if len(arrays) != len(self.arguments):
            names = ", ".join(a.name for a in self.arguments)
            raise TypeError(
                f"{self.name} takes {len(self.arguments)} arrays ({names}), got {len(arrays)}"
            )
        used = list(self.arguments)
        values = list(arrays)
        for name, argument in self.keywords.items():
            if options.get(name) is not None:
                used.append(argument)
                values.append(options[name])
        like = next((v for v in values if backend.is_array(v)), None)
        weak = [isinstance(v, (int, float)) for v in values]
        values = [self._as_array(a, v, like) for a, v in zip(used, values, strict=True)]
        values = self._with_one_type(used, values, weak)
        bound = self._bind(tuple([a.name for a in used]), tuple([v.shape for v in values]))
        count = len(arrays)
        options = {name: backend.weak(value) for name, value in options.items()}
        if len(used) > count:
            keyword_values = zip(used[count:], values[count:], strict=True)
            options |= {a.name: v for a, v in keyword_values}
        return tuple(values[:count]), options, bound

    def _bind_shapes(self, names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> Bound:
        cores = {a.name: a.core for a in (*self.arguments, *self.keywords.values())}
        return bind(self.name, names, tuple(cores[name] for name in names), shapes)

    def _as_array(self, argument: Argument, value, like):
        try:
            return backend.as_array(value, like)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name}: {argument.name}: {error}") from None

    def _with_one_type(self, used: list[Argument], values: list, weak: list[bool]) -> list:
        """Check the kinds, make integers float64, and bring all real arrays to one float type.

        Python numbers are weak: they take the type of the arrays beside them, as in NumPy.
        """
        dtype = None
        uniform = True
        for index, (argument, value) in enumerate(zip(used, values, strict=True)):
            kind = value.dtype.kind
            if argument.kind == "real":
                if kind in "iu":
                    value = values[index] = backend.astype(value, "float64")
                elif kind != "f":
                    self._refuse(argument, value)
                if dtype is None:
                    dtype = value.dtype
                elif value.dtype != dtype:
                    uniform = False
            elif argument.kind == "exact":
                if kind not in "iu" and not (kind == "f" and value.dtype.itemsize >= 8):
                    self._refuse(argument, value)
            elif kind not in {"boolean": "b", "index": "iu"}[argument.kind]:
                self._refuse(argument, value)
        if not uniform:
            pairs = [(v, w) for a, v, w in zip(used, values, weak, strict=True) if a.kind == "real"]
            strong = [v for v, w in pairs if not w]
            dtype = backend.result_type(*(strong or [v for v, _ in pairs]))
            values = [
                backend.astype(v, dtype) if a.kind == "real" else v
                for a, v in zip(used, values, strict=True)
            ]
        return values

    def _refuse(self, argument: Argument, value):
        hint = _HINTS.get((argument.kind, value.dtype.kind), "")
        raise TypeError(
            f"{self.name}: {argument.name}: expected {_EXPECTED[argument.kind]}, got {value.dtype}"
            + (f" ({hint})" if hint else "")
        )

    def _cotangents(self, g, arrays, options, bound: Bound):
        several = len(self.signature.outputs) > 1
        if several and not (isinstance(g, tuple) and len(g) == len(self.signature.outputs)):
            raise TypeError(
                f"{self.name}: g: expected a tuple of {len(self.signature.outputs)} cotangents"
            )
        given = (*arrays, *(options[n] for n in self.keywords if options.get(n) is not None))
        kinds = (
            *self.arguments,
            *(a for n, a in self.keywords.items() if options.get(n) is not None),
        )
        real = [v for a, v in zip(kinds, given, strict=True) if a.kind == "real"] or list(given[:1])
        dtype = backend.result_type(*real)
        cotangents = []
        for value, core in zip(g if several else (g,), self.signature.outputs, strict=True):
            value = backend.as_array(value, like=given[0])
            backend.namespace(value, given[0])
            if value.dtype.kind not in "fiu":
                raise TypeError(f"{self.name}: g: expected real numbers, got {value.dtype}")
            known = all(a.size is not None or a.name in bound.axes for a in core)
            if known and tuple(value.shape) != bound.shape(core):
                raise ValueError(
                    f"{self.name}: g: expected the output's shape {bound.shape(core)}, "
                    f"got {value.shape}"
                )
            cotangents.append(backend.astype(value, dtype))
        return tuple(cotangents) if several else cotangents[0]

    # --------------------------------------------------------------------------------- forms

    def choose(self, form: str | None, bound: Bound, options: Mapping) -> Form:
        """The form to run: the named one; else the plain one, or a fast one beyond its size."""
        if form is None:
            fast = (f for f in self.forms.values() if f.beyond is not None and f.beyond(bound))
            chosen = next(fast, self.forms["plain"])
        elif form in self.forms:
            chosen = self.forms[form]
        else:
            raise ValueError(f"{self.name}: form: expected one of {list(self.forms)}, got {form!r}")
        if not options.keys() <= chosen.options:
            self._refuse_options(options.keys() - chosen.options, chosen)
        missing = [name for name in self.required if name not in options]
        if missing:
            raise TypeError(
                f"{self.name}: {missing[0]} has no default, because the field disagrees on it; "
                f"see help(refimpl.{self.name})"
            )
        return chosen

    def _refuse_options(self, unknown: set[str], chosen: Form):
        name = sorted(unknown)[0]
        owners = [f.name for f in self.forms.values() if name in f.options]
        if owners:
            raise TypeError(
                f"{self.name}: option {name!r} belongs to form={owners[0]!r}, not {chosen.name!r}"
            )
        raise TypeError(f"{self.name}: no option {name!r}; options are {', '.join(self.options)}")

    def form(self, name: str, *, beyond: Callable[[Bound], bool] | None = None) -> Callable:
        """Decorator: register an equal algorithm; ``beyond(bound)`` says when it is preferred."""

        def register(body: Callable) -> Callable:
            parameters = inspect.signature(body).parameters.values()
            options = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
            if any(p.kind is p.VAR_KEYWORD for p in parameters):
                options |= self.options.keys()
            if not self.options.keys() <= options:
                raise TypeError(f"{self.name}: form {name!r} lacks {self.options.keys() - options}")
            self.forms[name] = Form(name, body, None, beyond, options)
            return body

        return register

    def defvjp(self, body: Callable | None = None, *, form: str = "plain") -> Callable:
        """Decorator: the closed-form gradient, cotangent first; ``form=`` for that of another form.

        The body returns one gradient per name in ``differentiable``, None for an array not given;
        sums over broadcast axes are done for it.
        """
        if body is None:
            return functools.partial(self.defvjp, form=form)
        self.forms[form] = self.forms[form]._replace(vjp=body)
        return body

    # -------------------------------------------------------------------- shapes, for samplers

    def shapes(self, axes: Mapping[str, int], batch: tuple[int, ...] = ()) -> SimpleNamespace:
        """Full shapes by argument name, and the axes themselves under ``axes`` and ``batch``.

        A keyword array with an axis of its own has no entry.
        """
        bound = Bound(dict(axes), tuple(batch))
        arguments = (*self.arguments, *self.keywords.values())
        known = {
            a.name: bound.shape(a.core)
            for a in arguments
            if all(axis.size is not None or axis.name in axes for axis in a.core)
        }
        return SimpleNamespace(**known, axes=bound.axes, batch=bound.batch)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of all input axes that can vary, in order of appearance."""
        names = (axis.name for core in self.signature.inputs for axis in core if axis.size is None)
        return tuple(dict.fromkeys(names))


def formula(signature: str, *, source: str, **declaration) -> Callable[[Callable], Formula]:
    """Register a function as a formula.

    Parameters
    ----------
    signature : str
        gufunc signature of the positional arrays and the outputs (see :mod:`refimpl.signature`).
    source : str
        Paper and equation, essay.
    keywords : mapping, optional
        Core axes of arrays that are passed by keyword, e.g. ``{"mask": "(n|1,m|1)"}``.
    kinds : mapping, optional
        What an array may hold where it is not ``"real"``: ``"boolean"``, ``"index"``, or
        ``"exact"`` (integers or float64, for positions and angles).
    differentiable : tuple of str or bool
        Arrays with a gradient; by default all real ones. False needs a ``reason``.
    returns : str
        "boolean" for outputs that select, "index" for whole numbers (int64); "real" by default.
    """

    def register(body: Callable) -> Formula:
        record = Formula(body, signature, source=source, **declaration)
        if record.name in TABLE and TABLE[record.name].module != record.module:
            raise ValueError(
                f"two formulas named {record.name}: {TABLE[record.name].module}, {record.module}"
            )
        TABLE[record.name] = record
        return record

    return register


def _check_declaration(name, names, signature, options, cores, kinds):
    if len(names) != len(signature.inputs):
        raise TypeError(
            f"{name}: {len(signature.inputs)} arrays in the signature, parameters {names}"
        )
    if not cores.keys() <= options.keys():
        raise TypeError(
            f"{name}: keyword arrays {cores.keys() - options.keys()} are not parameters"
        )
    if not kinds.keys() <= {*names, *cores} or not set(kinds.values()) <= _EXPECTED.keys():
        raise TypeError(f"{name}: kinds {kinds} name no array, or an unknown kind")


def upcast(value: Any) -> Any:
    """A float array in at least float64, exactly; foreign tensors move to NumPy."""
    if hasattr(value, "__dlpack__") and not backend.is_array(value):
        value = backend.to_host(value)
    if backend.is_array(value) and value.dtype.kind == "f" and value.dtype.itemsize < 8:
        return backend.astype(value, "float64")
    return value


def load() -> dict[str, Formula]:
    """Import every topic file of the library, so that the table is whole, and return the table."""
    _import_topics()
    return TABLE


@functools.cache
def _import_topics() -> None:
    package = importlib.import_module("refimpl")
    for topic in pkgutil.iter_modules(package.__path__, "refimpl."):
        if topic.name.rpartition(".")[2] not in TOPICS:
            continue
        for file in pkgutil.iter_modules(
            importlib.import_module(topic.name).__path__, topic.name + "."
        ):
            importlib.import_module(file.name)


def formulas(topic: str | None = None) -> Iterator[Formula]:
    """All registered formulas, by topic and name."""
    for record in sorted(load().values(), key=lambda f: (f.topic, f.name)):
        if topic in (None, record.topic):
            yield record


def find(name: str) -> Formula:
    """The formula of that name; KeyError names the closest ones."""
    table = load()
    if name in table:
        return table[name]
    import difflib

    close = difflib.get_close_matches(name, table, n=3, cutoff=0.4)
    raise KeyError(
        f"no formula {name!r}" + (f"; did you mean {', '.join(close)}?" if close else "")
    )


def describe_arrays(record: Formula) -> dict[str, str]:
    """Argument name -> its core axes as text, keyword arrays included."""
    return {a.name: format_core(a.core) for a in (*record.arguments, *record.keywords.values())}
