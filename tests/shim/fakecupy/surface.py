"""CuPy's frozen surface, from tools/cupy_surface.py by way of surface.json; does a call fit it?"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FROZEN = json.loads(Path(__file__).with_name("surface.json").read_text())
VERSION = _FROZEN["version"]
FUNCTIONS = _FROZEN["functions"]
VALUES = frozenset(_FROZEN["values"])
ARRAY_ATTRIBUTES = frozenset(_FROZEN["ndarray"])

UFUNC_KEYWORDS = frozenset({"out", "dtype", "casting"})
# Methods of ufuncs that CuPy has for some only (all have outer), and the types that "at" takes.
UFUNC_METHODS = {
    "reduce": frozenset({"add", "multiply"}),
    "accumulate": frozenset({"add", "multiply"}),
    "reduceat": frozenset({"add"}),
}
SCATTER_TYPES = {
    "add": "iIlLqQefd",
    "subtract": "iI",
    "maximum": "iIlLqQfd",
    "minimum": "iIlLqQfd",
    "bitwise_and": "iIlLqQ",
    "bitwise_or": "iIlLqQ",
    "bitwise_xor": "iIlLqQ",
}
# Where CuPy takes **kwargs and then refuses most of them.
TRUE_KEYWORDS = {"einsum": frozenset({"dtype", "optimize"})}


class Signature(NamedTuple):
    """What a function accepts: positional names with their need, keywords, and the open ends."""

    positional: tuple[str, ...]
    required: frozenset[str]
    keywords: frozenset[str]
    any_positional: bool
    any_keyword: bool


def has(name: str) -> bool:
    """Whether CuPy has the dotted name, as "linalg.norm", "float32" or "add"."""
    return name in FUNCTIONS or name in VALUES or name in ("linalg", "fft")


def is_ufunc(name: str) -> bool:
    """Whether the name is a ufunc."""
    return FUNCTIONS.get(name, "").startswith("ufunc")


def has_method(ufunc: str, method: str) -> bool:
    """Whether the ufunc has the method, as "add" has "at"."""
    if method == "at":
        return ufunc in SCATTER_TYPES
    return method == "outer" or ufunc in UFUNC_METHODS.get(method, ())


@cache
def signature(name: str) -> Signature | None:
    """The signature of a function, or None where CuPy gives none."""
    entry = FUNCTIONS[name]
    if entry == "builtin":
        return None
    if is_ufunc(name):
        inputs, outputs = map(int, entry.split()[1:])
        names = tuple(f"x{i}" for i in range(inputs + outputs))
        return Signature(names, frozenset(names[:inputs]), UFUNC_KEYWORDS, False, False)
    positional, required, keywords = [], set(), set()
    any_positional = any_keyword = keyword_only = False
    for word in entry.split(", ") if entry else []:
        parameter = word.strip("*=")
        if word == "/":
            keywords.clear()
        elif word.startswith("**"):
            any_keyword = True
        elif word.startswith("*"):
            any_positional = any_positional or word != "*"
            keyword_only = True
        else:
            keywords.add(parameter)
            positional += [] if keyword_only else [parameter]
            required |= set() if word.endswith("=") else {parameter}
    if name in TRUE_KEYWORDS:
        keywords, any_keyword = TRUE_KEYWORDS[name], False
    return Signature(
        tuple(positional), frozenset(required), frozenset(keywords), any_positional, any_keyword
    )


def complaint(name: str, count: int, keywords: set[str], *, starred: bool = False) -> str | None:
    """What is wrong with a call with ``count`` positional arguments and these keywords, or None.

    ``starred``: the call also unpacks arguments that cannot be counted.
    """
    known = signature(name)
    if known is None:
        return None
    unknown = keywords - known.keywords
    if unknown and not known.any_keyword:
        return f"{name}() has no keyword {', '.join(sorted(unknown))} in CuPy"
    if starred or known.any_positional:
        return None
    if count > len(known.positional):
        return f"{name}() takes {len(known.positional)} positional arguments in CuPy, not {count}"
    missing = known.required - set(known.positional[:count]) - keywords
    if missing:
        return f"{name}() needs {', '.join(sorted(missing))} in CuPy"
    return None
