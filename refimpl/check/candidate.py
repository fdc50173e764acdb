"""Other people's implementations: found by name, called with their own kind of arrays.

A candidate is a Python path (``package.module:function`` or ``file.py:function``) that takes NumPy,
torch, JAX or CuPy arrays, or any command that reads and writes ``.npz`` files. It gets the
formula's arrays positionally and, as keywords, those options of the run that its own signature
names.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from refimpl import backend
from refimpl.check.budget import Problem, real_names
from refimpl.formula import Formula
from refimpl.numerics import ROUNDED_FORMATS
from refimpl.signature import Core

LIBRARIES = ("numpy", "torch", "jax", "cupy")
TIMEOUT = 60.0


class CannotRun(Exception):
    """The candidate could not be found, imported or given its arrays: there is nothing to judge."""


class Answer(NamedTuple):
    """What a candidate returned: values in float64, the names of their types, and remarks.

    A remark is a kind and a text, see :mod:`refimpl.check.trial`. ``read_again`` reads the same
    result once more, where it was kept.
    """

    outputs: tuple[np.ndarray, ...]
    dtypes: tuple[str, ...]
    notes: tuple[tuple[str, str], ...] = ()
    read_again: Callable[[], Answer] | None = None

    def same_numbers(self, other: Answer) -> bool:
        pairs = zip(self.outputs, other.outputs, strict=True)
        return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


FINDINGS = (Exception, SystemExit)
"""Whatever a candidate raises is a finding about it; its exit must not become our exit code."""


class Refusal(NamedTuple):
    """What a candidate raised instead."""

    error: BaseException

    @property
    def text(self) -> str:
        message = str(self.error).strip().splitlines()
        return f"{type(self.error).__name__}: {message[0] if message else ''}"[:300]


class Candidate:
    """A callable under test, the library of its arrays, and the options that it names.

    ``layout`` is "bnhd" where heads come after positions, in arrays of two leading axes;
    ``rename`` are its own names of options, by ours.
    """

    def __init__(
        self,
        name: str,
        function: Callable,
        library: str = "",
        gradient: Callable | None = None,
        *,
        layout: str = "",
        rename: Mapping[str, str] | None = None,
    ):
        self.name = name
        self.function = function
        self.heads_after = _heads_after(layout)
        self.rename = dict(rename or {})
        self.library = library or guess_library(function)
        self.inferred = not library
        self.gradient_function = gradient
        self.parameters = _keyword_parameters(function)
        self.memories = _MEMORIES[self.library]
        self._keeps = False
        self._buffers: list | None = None
        self._reuses = False

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Results of calls in here are kept, to be read once more."""
        self._keeps = True
        try:
            yield
        finally:
            self._keeps, self._buffers = False, None

    @contextlib.contextmanager
    def reusing(self, buffers: bool) -> Iterator[None]:
        """Calls in here are given the arrays of the call before, with other numbers in them."""
        self._reuses = buffers and self.library != "jax"
        try:
            yield
        finally:
            self._reuses = False

    def layouts(self, gradients: bool) -> tuple[str, ...]:
        """How its arrays may lie, beside contiguous ones of full shape."""
        if gradients and self.library == "torch" and self.gradient_function is None:
            return (*self.memories, TWO_FORWARDS)
        return self.memories

    def names(self, option: str) -> bool:
        """Whether the candidate takes this option."""
        return self.rename.get(option, option) in self.parameters or "**" in self.parameters

    def accepts(self, option: str, value: Any) -> bool:
        """Whether it names the option and its default, if any, is of the value's kind."""
        default = self._default(option)
        if not self.names(option):
            return False
        if isinstance(default, bool):
            return isinstance(value, (bool, type(None)))
        if isinstance(default, str):
            return isinstance(value, str)
        return True

    def _default(self, option: str) -> Any:
        return self.parameters.get(self.rename.get(option, option))

    def call(self, arrays: list, keywords: dict) -> Any:
        """The function's own result, with its own names of options."""
        return self.function(*arrays, **{self.rename.get(k, k): v for k, v in keywords.items()})

    def turned(self, x, core: Core):
        """From our order of heads and positions to the candidate's, or back."""
        return x.swapaxes(-3, -2) if self.heads_after and x.ndim == 4 and len(core) == 2 else x

    def turned_back(self, answer: Answer, cores: Iterable[Core]) -> Answer:
        """The answer in our order of heads and positions."""
        pairs = zip(answer.outputs, cores, strict=True)
        return answer._replace(outputs=tuple(self.turned(y, core) for y, core in pairs))

    def prepare(self, problem: Problem, memory: str = "") -> tuple[list, dict]:
        """Positional arrays and keywords in the candidate's own kind of arrays."""
        formula, case = problem.formula, problem.case
        real = real_names(formula)

        def convert(x: np.ndarray, dtype: str | None):
            return _laid_out(x, memory, lambda y: CONVERTERS[self.library](y, dtype))

        arrays = [
            convert(self.turned(x, a.core), problem.dtype if a.name in real else None)
            for a, x in zip(formula.arguments, case.arrays, strict=True)
        ]
        keywords = {}
        for name, value in case.options.items():
            if not self.names(name):
                continue
            if isinstance(value, np.ndarray):
                value = convert(value, problem.dtype if name in real else None)
            elif isinstance(self._default(name), bool):
                value = bool(value)
            keywords[name] = value
        return arrays, keywords

    def __call__(self, problem: Problem, memory: str = "") -> Answer | Refusal:
        arrays, keywords = self.prepare(problem, memory)
        if self._reuses and self._buffers is not None:
            arrays = [_refilled(old, x) for old, x in zip(self._buffers, arrays, strict=True)]
        given = problem.formula.by_name(arrays, keywords)
        before = {n: _snapshot(given[n]) for n in problem.formula.inputs if n in given}
        before = {n: x for n, x in before.items() if x.ndim or n not in keywords}
        cores = problem.formula.signature.outputs
        try:
            with silence():
                result = self.call(arrays, keywords)
            answer = self.turned_back(read(result, len(cores)), cores)
        except CannotRun:
            raise
        except FINDINGS as error:
            return Refusal(error)
        if self._keeps:
            self._buffers = arrays
            answer = answer._replace(
                read_again=lambda: self.turned_back(read(result, len(cores)), cores)
            )
        changed = [n for n, old in before.items() if not _same_bits(_snapshot(given[n]), old)]
        if changed:
            note = ("overwrites", f"overwrites its input {changed[0]}")
            answer = answer._replace(notes=(*answer.notes, note))
        return answer


def _heads_after(layout: str) -> bool:
    """Whether a layout has positions before heads, and CannotRun where it is none that is known."""
    name = layout.replace(" ", "").lower().replace("s", "n").replace("t", "n")
    if name in ("", "bhnd"):
        return False
    if name == "bnhd":
        return True
    raise CannotRun(
        f"layout: expected 'b h n d' (bhsd) or 'b n h d' (bshd), got {layout!r}; another one is "
        "a function of a few lines around the kernel"
    )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """A candidate's warnings are not the report's: what matters shows in its output."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


TWO_FORWARDS = "two forwards"
"""Another forward comes between a forward and its backward."""
_MEMORIES = {
    "numpy": ("strided", "transposed", "read-only", "broadcast"),
    "torch": ("strided", "transposed", "broadcast"),
    "cupy": ("strided", "transposed", "broadcast"),
    # Its arrays have no layout that a function could see.
    "jax": ("broadcast",),
}


def _laid_out(x: np.ndarray, memory: str, convert: Callable):
    """The array as one of the library, in this layout where it has axes enough."""
    if memory == "strided" and x.ndim:
        return convert(np.repeat(x, 2, axis=-1))[..., ::2]
    if memory == "transposed" and x.ndim > 1:
        return convert(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    array = convert(x)
    if memory == "read-only":
        array.flags.writeable = False
    return array


def _refilled(buffer, x):
    """The buffer with the numbers of x, or x where it does not fit."""
    if tuple(buffer.shape) != tuple(x.shape) or buffer.dtype != x.dtype:
        return x
    buffer[...] = x
    return buffer


def _snapshot(x) -> np.ndarray:
    return np.array(backend.to_host(x), copy=True)


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def read(result: Any, count: int) -> Answer:
    """A candidate's return value as host arrays in float64."""
    notes = ()
    if isinstance(result, (tuple, list)) and not (isinstance(result, list) and count == 1):
        values = list(result)
    else:
        values = [result]
    if len(values) > count:
        notes = (("extra", f"returns {len(values)} values; the first {count} are judged"),)
        values = values[:count]
    if len(values) < count:
        raise TypeError(f"returned {len(values)} value(s), the formula has {count} outputs")
    hosts = [backend.to_host(value) for value in values]
    names = tuple(
        backend.dtype_name(v) if hasattr(v, "dtype") else h.dtype.name
        for v, h in zip(values, hosts, strict=True)
    )
    for host in hosts:
        if host.dtype.kind not in "fiub":
            raise TypeError(f"returned {host.dtype}, expected real numbers")
    # A subclass brings its own arithmetic: what is judged is its numbers.
    return Answer(tuple(h.astype(np.float64, subok=False) for h in hosts), names, notes)


# -------------------------------------------------------------------------------- libraries


def guess_library(function: Callable) -> str:
    """The library of a function's arrays: its own package, else the only one its file imports."""
    root = (getattr(function, "__module__", "") or "").partition(".")[0]
    if root in LIBRARIES:
        return root
    if root in ("jaxlib",):
        return "jax"
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    roots = {
        value.__name__.partition(".")[0]
        for value in list(scope.values())
        if isinstance(value, ModuleType)
    }
    found = [library for library in ("torch", "jax", "cupy") if library in roots]
    return found[0] if len(found) == 1 else "numpy"


def _to_numpy(x: np.ndarray, dtype: str | None):
    if dtype in ROUNDED_FORMATS:
        try:
            import ml_dtypes
        except ImportError:
            raise CannotRun(
                f"NumPy has no {dtype}: install ml_dtypes, or use torch or JAX arrays"
            ) from None
        return np.array(x.astype(getattr(ml_dtypes, dtype)), order="C")
    return np.array(x, dtype=dtype or x.dtype, order="C")


def _to_torch(x: np.ndarray, dtype: str | None):
    import torch

    tensor = torch.from_numpy(np.array(x, order="C"))
    return tensor if dtype is None else tensor.to(getattr(torch, dtype))


def _to_jax(x: np.ndarray, dtype: str | None):
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    return jnp.asarray(x, dtype=None if dtype is None else getattr(jnp, dtype))


def _to_cupy(x: np.ndarray, dtype: str | None):
    import cupy

    if dtype in ROUNDED_FORMATS:
        raise CannotRun(f"CuPy has no {dtype}")
    return cupy.asarray(x, dtype=dtype)


CONVERTERS = {"numpy": _to_numpy, "torch": _to_torch, "jax": _to_jax, "cupy": _to_cupy}


# ---------------------------------------------------------------------------------- loading


def load_candidate(
    path: str,
    library: str = "",
    gradient: str = "",
    *,
    layout: str = "",
    rename: Mapping[str, str] | None = None,
) -> Candidate:
    """A candidate from ``module:function`` or ``file.py:function``."""
    if library and library not in LIBRARIES:
        raise CannotRun(f"arrays: expected one of {', '.join(LIBRARIES)}, got {library!r}")
    backward = _resolve(gradient) if gradient else None
    return Candidate(path, _resolve(path), library, backward, layout=layout, rename=rename)


def _resolve(path: str) -> Callable:
    place, separator, attribute = path.rpartition(":")
    if not separator or not place or not attribute:
        raise CannotRun(f"candidate: expected module:function or file.py:function, got {path!r}")
    try:
        found = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
        for part in attribute.split("."):
            found = getattr(found, part)
    except CannotRun:
        raise
    except BaseException as error:  # importing a file runs it, so anything may come
        if isinstance(error, KeyboardInterrupt):
            raise
        raise CannotRun(f"{path}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise CannotRun(f"{path} is not callable")
    return found


def _import_module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CannotRun(f"no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _keyword_parameters(function: Callable) -> dict[str, Any]:
    """Names that can be passed by keyword, with their defaults; ``**`` where any name can."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    found = {
        p.name: p.default for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        found["**"] = None
    return found


# --------------------------------------------------------------------------------- commands


def command(text: str, formula: Formula) -> Candidate:
    """A candidate in any language: a command that is given the names of two ``.npz`` files.

    ``{input}`` and ``{output}`` in the text stand for the files; without them both are appended.
    The input holds the arrays by their names and, as JSON text under ``options``, everything else;
    the output is read in the order of the formula's outputs, from ``output0``, ``output1``, ... or
    from the only array there is.
    """
    names = [a.name for a in formula.arguments]

    def run(*arrays, **keywords):
        with tempfile.TemporaryDirectory() as folder:
            files = {"input": f"{folder}/input.npz", "output": f"{folder}/output.npz"}
            plain = {k: v for k, v in keywords.items() if not isinstance(v, np.ndarray)}
            keyed = {k: v for k, v in keywords.items() if isinstance(v, np.ndarray)}
            np.savez(
                files["input"],
                options=json.dumps(plain),
                **dict(zip(names, arrays, strict=True)),
                **keyed,
            )
            _execute(text, files)
            with np.load(files["output"]) as stored:
                keys = sorted(stored.files)
                return tuple(stored[key] for key in keys)

    candidate = Candidate(text, run, "numpy")
    candidate.parameters = {"**": None}
    candidate.memories = ("broadcast",)
    return candidate


def _execute(text: str, files: dict[str, str]) -> None:
    words = shlex.split(text)
    if not any("{input}" in word or "{output}" in word for word in words):
        words += ["{input}", "{output}"]
    words = [
        w.replace("{input}", files["input"]).replace("{output}", files["output"]) for w in words
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        raise CannotRun(f"no command {words[0]!r}") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"took longer than {TIMEOUT:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise RuntimeError(f"exit code {done.returncode}: {last[0] if last else ''}")
    if not Path(files["output"]).is_file():
        raise RuntimeError("wrote no output file")
