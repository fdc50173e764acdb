"""The record of one formula: calling it, its gradient, and its equal algorithms."""

from __future__ import annotations

import functools
import importlib
import inspect
import numbers
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from refimpl import backend
from refimpl.formula.arguments import EXPECTED, Argument, Arguments
from refimpl.formula.options import Option, declared, name_elsewhere
from refimpl.signature import Core, Extents, Signature, format_core, parse_core


class Form(NamedTuple):
    """One algorithm of a formula; all forms of a formula are equal in exact arithmetic.

    ``loses`` says what costs it digits that the formula does not need to lose, in a clause.
    """

    name: str
    body: Callable
    vjp: Callable | None
    beyond: Callable[[Extents], bool] | None
    options: dict[str, Option]
    loses: str = ""


class Formula:
    """A callable formula with its gradient, its forms, and what is known about them.

    Attributes
    ----------
    name, topic, source : str
    signature : Signature
    arguments : tuple of Argument, the positional arrays
    keywords : dict of Argument, the arrays that are passed by keyword
    inputs : dict of Argument, both of them by name
    options : dict, every keyword option with its default (arrays included)
    required : tuple of str, options and keyword arrays without a default
    declared : dict of Option, those that are no arrays, with the options of its forms
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
        empty = inspect.Parameter.empty
        self.required = tuple(n for n, default in self.options.items() if default is empty)
        kinds = dict(kinds or {})
        cores = {name: parse_core(core) for name, core in (keywords or {}).items()}
        _check_declaration(self.name, names, self.signature, self.options, cores, kinds)
        self.arguments = tuple(
            Argument(name, core, kinds.get(name, "real"))
            for name, core in zip(names, self.signature.inputs, strict=True)
        )
        self.keywords = {
            name: Argument(name, core, kinds.get(name, "real")) for name, core in cores.items()
        }
        self.inputs = {a.name: a for a in self.arguments} | self.keywords
        self.declared = declared(body, self.keywords)
        self._arguments = Arguments(self.name, self.inputs)
        if differentiable is True:
            differentiable = tuple(a.name for a in self.inputs.values() if a.kind == "real")
        self.differentiable = differentiable or ()
        self.forms = {"plain": Form("plain", body, None, None, dict(self.declared))}
        self.__signature__ = _call_signature(body)
        # help() prints no signature of an object that is no function, only its text.
        self.__doc__ = f"{self.name}{self.__signature__}\n\n{self.documentation}"

    def __reduce__(self):
        return _registered, (self.module, self.name)

    def __repr__(self) -> str:
        return f"<formula {self.name} {self.signature}>"

    @property
    def module(self) -> str:
        return self.__wrapped__.__module__

    @property
    def topic(self) -> str:
        """The folder of the formula's file, e.g. ``attention``."""
        return self.module.split(".")[-2] if "." in self.module else self.module

    @property
    def documentation(self) -> str:
        """The docstring of the body; nothing where Python was told to drop docstrings."""
        return inspect.getdoc(self.__wrapped__) or ""

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return self.documentation.partition("\n")[0]

    # ------------------------------------------------------------------------------- calling

    def __call__(self, *arrays, form: str | None = None, **options):
        arrays, options, extents = self.prepare(arrays, options)
        chosen = self.choose(form, extents, options)
        with backend.quiet():
            try:
                result = chosen.body(*arrays, **options)
            except (ValueError, TypeError, IndexError) as error:
                raise self._named(error) from None
        if isinstance(result, tuple):
            outputs = zip(result, self.signature.outputs, strict=True)
            return tuple([_in_batch(y, core, extents.batch) for y, core in outputs])
        return _in_batch(result, self.signature.outputs[0], extents.batch)

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
        # Beforehand: a number is an array once it is prepared.
        pulled = self.pulled(options)
        arrays, options, extents = self.prepare(arrays, options)
        chosen = self.choose(form, extents, options)
        body, taken = chosen.vjp, options
        if body is None:
            body = self.forms["plain"].vjp
            taken = {k: v for k, v in options.items() if k in self.options}
        with backend.quiet():
            try:
                g = self._cotangents(g, arrays, options, extents, chosen)
                gradients = body(g, *arrays, **taken)
            except (ValueError, TypeError, IndexError) as error:
                raise self._named(error) from None
        given = self.by_name(arrays, options)
        return tuple(
            backend.unbroadcast(gradient, given[name].shape)
            for name, gradient in zip(self.differentiable, gradients, strict=True)
            if name in pulled
        )

    def oracle_vjp(self, g, *arrays, **options) -> tuple:
        """:meth:`vjp` with every float input, the cotangent included, upcast to float64."""
        g = tuple(map(upcast, g)) if isinstance(g, tuple) else upcast(g)
        return self.vjp(g, *map(upcast, arrays), **{k: upcast(v) for k, v in options.items()})

    # -------------------------------------------- the same with all outputs and gradients named

    def outputs(self, case, form: str | None = None) -> tuple:
        """The outputs for ``case.arrays`` and ``case.options``, as a tuple also where it is one."""
        return as_tuple(self(*case.arrays, form=form, **case.options))

    def pull(self, g: tuple, case, form: str | None = None) -> dict[str, Any]:
        """Name -> gradient of the arrays that have one in this case, for a tuple of cotangents."""
        gradients = self.vjp(self.packed(g), *case.arrays, form=form, **case.options)
        return dict(zip(self.pulled(case.options), gradients, strict=True))

    def pulled(self, options: Mapping) -> tuple[str, ...]:
        """Names of the arrays that have a gradient under these options, in the gradients' order."""
        constant = (numbers.Number, type(None))
        return tuple(
            name
            for name in self.differentiable
            if name not in self.keywords or not isinstance(options.get(name), constant)
        )

    def by_name(self, arrays, options: Mapping) -> dict[str, Any]:
        """The positional arrays by name, and the options beside them."""
        return dict(zip([a.name for a in self.arguments], arrays, strict=True)) | options

    def packed(self, outputs: tuple):
        """What the formula takes as its cotangent, or returns: a tuple only of several outputs."""
        return outputs if len(self.signature.outputs) > 1 else outputs[0]

    # ------------------------------------------------------------------ checking the arguments

    def prepare(self, arrays: tuple, options: dict) -> tuple[tuple, dict, Extents]:
        """Arguments as arrays of one backend and one float type, their shapes bound to the axes."""
        if len(arrays) != len(self.arguments):
            self._refuse_arrays(arrays, options)
        options = self._taken(options)
        names, values = [a.name for a in self.arguments], list(arrays)
        for name in self.keywords:
            if options.get(name) is not None:
                names.append(name)
                values.append(options[name])
        values, extents = self._arguments.take(names, values)
        count = len(arrays)
        if len(names) > count:
            options |= zip(names[count:], values[count:], strict=True)
        return tuple(values[:count]), options, extents

    def _taken(self, options: dict) -> dict:
        """Options as the body gets them, each checked against its declaration."""
        taken = {}
        for name, value in options.items():
            option = self.declared.get(name)
            if option is not None:
                try:
                    taken[name] = option.take(value)
                except (TypeError, ValueError) as error:
                    raise self._named(error) from None
            elif name in self.keywords:
                taken[name] = value
            else:
                self._refuse_option(name)
        if missing := [n for n in self.required if n not in options]:
            self._refuse_missing(missing)
        return taken

    def _refuse_arrays(self, arrays: tuple, options: dict):
        names = ", ".join(a.name for a in self.arguments)
        named = [a.name for a in self.arguments if a.name in options]
        raise TypeError(
            f"{self.name} takes {len(self.arguments)} arrays ({names}), got {len(arrays)}"
            + (f": they are positional, pass {', '.join(named)} without a name" if named else "")
        )

    def _refuse_option(self, name: str):
        if name in self.inputs:
            raise TypeError(f"{self.name}: {name} is an array and positional: pass it by its place")
        elsewhere = name_elsewhere(name, self.options)
        raise TypeError(
            f"{self.name}: no option {name!r}"
            + (f" ({elsewhere})" if elsewhere else "")
            + (f"; options are {', '.join(self.options)}" if self.options else "; it has none")
        )

    def _refuse_missing(self, missing: list[str]):
        parts = []
        for name in missing:
            option = self.declared.get(name)
            if option is None:
                parts.append(f"{name} (an array)")
            elif option.is_convention:
                parts.append(f"{name} ({option.expected}: the field disagrees)")
            else:
                parts.append(f"{name} ({option.expected})" if option.kinds else name)
        raise TypeError(f"{self.name} needs {', '.join(parts)}; see help(refimpl.{self.name})")

    def _named(self, error: Exception) -> Exception:
        """The error with the formula's name in front, which a body does not know."""
        text = str(error)
        if not text.startswith((f"{self.name}:", f"{self.name} ")):
            error.args = (f"{self.name}: {text}",)
        return error

    def _cotangents(self, g, arrays, options, extents: Extents, chosen: Form):
        cores = self.signature.outputs
        several = len(cores) > 1
        if several and not (isinstance(g, tuple) and len(g) == len(cores)):
            raise TypeError(f"{self.name}: g: expected a tuple of {len(cores)} cotangents")
        given = self.by_name(arrays, options)
        given = {n: given[n] for n in self.inputs if given.get(n) is not None}
        real = [v for n, v in given.items() if self.inputs[n].kind == "real"]
        dtype = backend.result_type(*(real or list(given.values())[:1]))
        shapes = self._output_shapes(arrays, options, extents, chosen)
        cotangents = []
        for value, shape in zip(g if several else (g,), shapes, strict=True):
            value = self._arguments.cotangent(value, next(iter(given.values())), dtype)
            if tuple(value.shape) != shape:
                raise ValueError(
                    f"{self.name}: g: expected the output's shape {shape}, got {value.shape}"
                )
            cotangents.append(value)
        return self.packed(tuple(cotangents))

    def _output_shapes(self, arrays, options, extents: Extents, chosen: Form) -> list[tuple]:
        """Shapes of the outputs; where the arrays do not fix them, those of the outputs."""
        cores = self.signature.outputs
        known = extents.axes
        if all(a.size is not None or a.optional or a.name in known for c in cores for a in c):
            return [extents.shape(core) for core in cores]
        outputs = as_tuple(chosen.body(*arrays, **options))
        return [
            extents.batch + y.shape[y.ndim - len(core) :]
            for y, core in zip(outputs, cores, strict=True)
        ]

    # --------------------------------------------------------------------------------- forms

    def choose(self, form: str | None, extents: Extents, options: Mapping) -> Form:
        """The form to run: the named one; else the plain one, or a fast one beyond its size."""
        if form is None:
            fast = (f for f in self.forms.values() if f.beyond is not None and f.beyond(extents))
            chosen = next(fast, self.forms["plain"])
        elif isinstance(form, str) and form in self.forms:
            chosen = self.forms[form]
        else:
            raise ValueError(f"{self.name}: form: expected one of {list(self.forms)}, got {form!r}")
        if foreign := options.keys() - self.options.keys() - chosen.options.keys():
            name = min(foreign)
            owners = [f.name for f in self.forms.values() if name in f.options]
            raise TypeError(
                f"{self.name}: option {name!r} belongs to form={owners[0]!r}, not {chosen.name!r}"
            )
        return chosen

    def form(
        self, name: str, *, beyond: Callable[[Extents], bool] | None = None, loses: str = ""
    ) -> Callable:
        """Decorator: register an equal algorithm; ``beyond(extents)`` says when it is preferred.

        One that loses digits by design says what it loses them by (``loses="large terms cancel"``):
        a candidate that is only as exact as this one passes with a remark.
        """

        def register(body: Callable) -> Callable:
            parameters = inspect.signature(body).parameters.values()
            own = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
            takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
            if not takes_all and not self.options.keys() <= own:
                raise TypeError(f"{self.name}: form {name!r} lacks {self.options.keys() - own}")
            more = {k: v for k, v in declared(body, self.keywords).items() if k not in self.options}
            options = self.forms["plain"].options | more
            self.forms[name] = Form(name, body, None, beyond, options, loses)
            self.declared |= more
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
        extents = Extents(dict(axes), tuple(batch))
        known = {
            a.name: extents.shape(a.core)
            for a in self.inputs.values()
            if all(axis.size is not None or axis.name in axes for axis in a.core)
        }
        return SimpleNamespace(**known, axes=extents.axes, batch=extents.batch)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of all input axes that can vary, in order of appearance."""
        names = (axis.name for core in self.signature.inputs for axis in core if axis.size is None)
        return tuple(dict.fromkeys(names))

    def describe_arrays(self) -> dict[str, str]:
        """Argument name -> its core axes as text, keyword arrays included."""
        return {name: format_core(a.core) for name, a in self.inputs.items()}


def as_tuple(result) -> tuple:
    """What a function returned as a tuple: one output is one entry."""
    return result if isinstance(result, tuple) else (result,)


def upcast(value: Any) -> Any:
    """A float array in at least float64, exactly; foreign tensors move to NumPy."""
    if hasattr(value, "__dlpack__") and not backend.is_array(value):
        value = backend.to_host(value)
    if backend.is_array(value) and value.dtype.kind == "f" and value.dtype.itemsize < 8:
        return backend.astype(value, "float64")
    return value


def _in_batch(output, core: Core, batch: tuple[int, ...]):
    """The output with all leading axes, whichever array they come from."""
    lead = output.ndim - len(core)
    if output.shape[:lead] == batch:
        return output
    return backend.spread(output, batch + output.shape[lead:])


def _call_signature(body: Callable) -> inspect.Signature:
    """The body's signature with the choice of a form."""
    own = inspect.signature(body)
    form = inspect.Parameter("form", inspect.Parameter.KEYWORD_ONLY, default=None)
    return own.replace(parameters=[*own.parameters.values(), form])


def _registered(module: str, name: str) -> Formula:
    """The formula that a pickle names."""
    return getattr(importlib.import_module(module), name)


def _check_declaration(name, names, signature, options, cores, kinds):
    if len(names) != len(signature.inputs):
        raise TypeError(
            f"{name}: {len(signature.inputs)} arrays in the signature, parameters {names}"
        )
    if not cores.keys() <= options.keys():
        raise TypeError(
            f"{name}: keyword arrays {cores.keys() - options.keys()} are not parameters"
        )
    if not kinds.keys() <= {*names, *cores} or not set(kinds.values()) <= EXPECTED.keys():
        raise TypeError(f"{name}: kinds {kinds} name no array, or an unknown kind")
