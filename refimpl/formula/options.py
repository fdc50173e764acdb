"""Declared options: what an option may be is said once, by the annotation of its parameter.

    def softmax_attention(q, k, v, /, *, causal: Causal = None, softcap: Positive | None = None)

From this one line come the check and its message, the command line's reading of ``causal=true``,
the types of the stub, and the values that evidence and checker try without being told. The kinds
are ``bool``, ``Literal[...]``, ``None`` in a union, and the aliases below;
``Annotated[base, kind]`` makes another one.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from refimpl.backend import is_array, weak

# The largest whole number that every backend computes with.
_LARGEST = 2**62
# What an axis can have, and how often a loop is let run: a slip must not hang the caller.
_LONGEST = 2**24
_MOST_LOOPS = 100_000
# A bound that is only there against slips is named to those alone whom it stops.
_LEAST_LIMIT = 1000


class Choice(NamedTuple):
    """One of a few values: names, booleans, numbers or None, with notes on who means which."""

    values: tuple
    notes: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        noted = zip(self.values, self.notes or ("",) * len(self.values), strict=True)
        shown = [f"{v!r} ({note})" if note else repr(v) for v, note in noted]
        if len(shown) <= 2:
            return " or ".join(shown)
        return f"one of {', '.join(shown[:-1])} or {shown[-1]}"

    def take(self, value):
        for known in self.values:
            if type(value) is type(known) and value == known:
                return known
        raise (ValueError if type(value) in map(type, self.values) else TypeError)


class Number(NamedTuple):
    """A finite real number from ``low`` to ``high``; ends are excluded where they are ``open``."""

    low: float = -np.inf
    high: float = np.inf
    open: bool = False
    whole: bool = False
    even: bool = False

    @property
    def expected(self) -> str:
        kind = "even" if self.even else "whole" if self.whole else "finite"
        article = "an" if self.even else "a"
        if (self.low, self.open) == (0, True) or (self.low, kind) == (1, "whole"):
            return f"a positive {kind} number"
        if self.low <= -_LARGEST:
            return f"{article} {kind} number"
        start = f"{article} {kind} number {'above' if self.open else 'from'} {self.low}"
        return start + (f" to {self.high}" if self.high < _LEAST_LIMIT else " on" * (not self.open))

    def take(self, value):
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real | np.floating):
            raise TypeError
        if not self.low <= value < np.inf or self.open and value == self.low or value == -np.inf:
            raise ValueError
        if value > self.high:
            raise ValueError(f"at most {self.high}")
        if not self.whole:
            return value if isinstance(value, (int, float, np.floating)) else float(value)
        if value != int(value) or self.even and int(value) % 2:
            raise ValueError
        return int(value)


class Items(NamedTuple):
    """A tuple or list of things of a kind: exactly ``length`` of them, or any number."""

    kinds: tuple
    length: int | None
    expected: str
    empty: bool = False

    def take(self, value):
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise TypeError
        if len(value) != (len(value) if self.length is None else self.length):
            raise ValueError
        if not value and not self.empty:
            raise ValueError
        return tuple(_first_that_takes(self.kinds, weak(item)) for item in value)


def _first_that_takes(kinds: tuple, value):
    """The value as the first kind takes it; ValueError where it has the type of one of them."""
    refused: Exception = TypeError()
    for kind in kinds:
        try:
            return kind.take(value)
        except ValueError as error:
            refused = error
        except TypeError:
            continue
    raise refused


# ------------------------------------------------------------------------- names for declarations

Finite = Annotated[float, Number()]
Positive = Annotated[float, Number(0, open=True)]
NonNegative = Annotated[float, Number(0)]
FromOne = Annotated[float, Number(1)]
AboveOne = Annotated[float, Number(1, open=True)]
Fraction = Annotated[float, Number(0, 1)]
Whole = Annotated[int, Number(-_LARGEST, _LARGEST, whole=True)]
Natural = Annotated[int, Number(0, _LONGEST, whole=True)]
Count = Annotated[int, Number(1, _LONGEST, whole=True)]
Even = Annotated[int, Number(2, _LONGEST, whole=True, even=True)]
Loops = Annotated[int, Number(1, _MOST_LOOPS, whole=True)]
"""How often something is repeated, one after another."""
Distance = Annotated[int, Number(1, _LARGEST, whole=True)]
"""A distance between positions, or a length that nothing is made as long as."""

Causal = Literal["top_left", "bottom_right", True, False] | None
"""Which keys a query sees; True where queries and keys are as many, or ``offset`` is given."""
Empty = Literal["zero", "nan", "mean"]
"""What a row that sees nothing gives."""
Pairing = Annotated[
    str,
    Choice(
        ("interleaved", "half"),
        (
            "features 2i and 2i+1: GPT-J, Llama weights from Meta, rotary-embedding-torch, "
            "torchtune",
            "features i and i + r/2: Hugging Face Llama, GPT-NeoX",
        ),
    ),
]
"""Which two features rotate together."""

_EXTENT = (Number(-_LARGEST, _LARGEST, whole=True), Choice((None,)))
Window = Annotated[
    tuple[int | None, int | None],
    Items(
        _EXTENT, 2, "a pair (left, right) of whole numbers of keys, each None where it has no end,"
    ),
]
"""How many keys before and after its own a query sees; negative is None, as in flash-attention."""

# ------------------------------------------------------------------------------------ the record


class Option(NamedTuple):
    """One declared option. Without kinds it is not checked: a formula of one's own may leave it."""

    name: str
    default: Any
    kinds: tuple
    declaration: str

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def is_convention(self) -> bool:
        """Whether it is a choice between names or two ways, and not a size or a number."""
        return bool(self.kinds) and all(isinstance(kind, Choice) for kind in self.kinds)

    @property
    def expected(self) -> str:
        return " or ".join(kind.expected for kind in self.kinds)

    @property
    def values(self) -> tuple:
        """All values of a convention, and None or names that stand beside a number."""
        return tuple(v for kind in self.kinds if isinstance(kind, Choice) for v in kind.values)

    def take(self, value):
        """The value as the body gets it; TypeError or ValueError say what was expected."""
        if value is self.default or not self.kinds:
            return weak(value)
        plain = weak(value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value)
        try:
            return _first_that_takes(self.kinds, plain)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{self.name}: expected {str(error) or self.expected}, got {_shown(value)}"
                + _hint(self.name, plain)
            ) from None

    def parse(self, text: str):
        """The value that a command line's text means: ``true``, ``none``, numbers, lists, names."""
        if text in [v for v in self.values if isinstance(v, str)]:
            return text
        words = {"true": True, "false": False, "none": None}
        if text.lower() in words:
            return words[text.lower()]
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text


def _shown(value) -> str:
    if is_array(value):
        return f"an array of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def declared(body: Callable, arrays: typing.Container[str]) -> dict[str, Option]:
    """The options of a function: its keyword-only parameters that are no arrays."""
    parameters = inspect.signature(body).parameters.values()
    return {
        p.name: Option(p.name, p.default, _kinds_of(body, p), _declaration(p))
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.name not in arrays
    }


def _declaration(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _kinds_of(body: Callable, parameter: inspect.Parameter) -> tuple:
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return ()
    if isinstance(annotation, str):
        annotation = eval(annotation, body.__globals__)  # noqa: S307 (the function's own source)
    try:
        return _kinds(annotation)
    except TypeError:
        raise TypeError(
            f"{body.__name__}: {parameter.name}: {annotation!r} declares no option; use bool, "
            "Literal, None, or a name of refimpl.formula.options"
        ) from None


def _kinds(annotation) -> tuple:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        found = [kind for part in typing.get_args(annotation) for kind in _kinds(part)]
        choices = tuple(v for kind in found if isinstance(kind, Choice) for v in kind.values)
        others = [kind for kind in found if not isinstance(kind, Choice)]
        return (*others, Choice(choices)) if choices else tuple(others)
    if origin is Annotated:
        return tuple(annotation.__metadata__)
    if origin is Literal:
        return (Choice(typing.get_args(annotation)),)
    if annotation is bool:
        return (Choice((True, False)),)
    if annotation in (None, type(None)):
        return (Choice((None,)),)
    raise TypeError


# --------------------------------------------------------------------- what other libraries call it

_ELSEWHERE = {
    "is_causal": ("causal", "causal='top_left' is torch's and JAX's is_causal=True"),
    "attn_mask": ("mask", "mask= takes booleans that keep, bias= numbers to add"),
    "attention_mask": ("mask", "mask= takes booleans that keep, bias= numbers to add"),
    "key_padding_mask": ("mask", "mask= takes booleans, True where keys are kept (torch: hidden)"),
    "attn_bias": ("bias", "it is bias= here"),
    "sliding_window": ("window", "Hugging Face's sliding_window=W is window=(W - 1, 0) here"),
    "window_size": ("window", "it is window=(left, right) here"),
    "local_window_size": ("window", "it is window=(left, right) here"),
    "softmax_scale": ("scale", "it is scale= here"),
    "sm_scale": ("scale", "it is scale= here"),
    "scaling": ("scale", "it is scale= here"),
    "logits_soft_cap": ("softcap", "it is softcap= here"),
    "soft_cap": ("softcap", "it is softcap= here"),
    "attn_logit_softcapping": ("softcap", "it is softcap= here"),
    "s_aux": ("sink", "it is sink= here"),
    "enable_gqa": ("", "grouped_query_attention has heads that share keys"),
    "alibi_slopes": ("bias", "pass bias=refimpl.alibi_bias(...)"),
    "dropout": ("", "nothing here draws random numbers: compare with dropout off"),
    "dropout_p": ("", "nothing here draws random numbers: compare with dropout off"),
    "rope_theta": ("base", "it is base= here"),
    "theta": ("base", "it is base= here"),
    "is_neox_style": ("pairing", "pairing='half' is GPT-NeoX's style"),
    "interleaved": ("pairing", "pairing='interleaved' or 'half'"),
    "traditional": ("pairing", "pairing='interleaved' is MLX's traditional=True"),
    "unbiased": ("ddof", "ddof=1 is unbiased"),
    "correction": ("ddof", "it is ddof= here"),
    "head_first": ("", "heads are a leading axis here: (..., heads, positions, features)"),
    "dtype": ("", "a formula computes in the type of its arrays: convert them"),
    "axis": ("", "all leading axes are a batch here: move axes first"),
    "out": ("", "nothing is written in place here"),
}


def name_elsewhere(name: str, known: typing.Collection[str]) -> str:
    """What an unknown option means here: another library's spelling, or a slip of the pen."""
    target, text = _ELSEWHERE.get(name, ("", ""))
    if text and (not target or target in known):
        return text
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _hint(name: str, value) -> str:
    if name == "window" and isinstance(value, int) and not isinstance(value, bool):
        return f" (sliding_window={value} of Hugging Face is window=({value - 1}, 0) here)"
    if isinstance(value, str) and value.lower() in ("true", "false", "none"):
        return f" (the text {value!r} is no {value.capitalize()})"
    return ""
