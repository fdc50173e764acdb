"""The command line: ``refimpl list | find | show | check | peers | golden | bench``."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
import traceback
from collections.abc import Iterator

import numpy as np

import refimpl
from refimpl.formula import BROKEN, TOPICS, Formula, find, formulas, search

COULD_NOT_RUN = 3


class _Parser(argparse.ArgumentParser):
    """Exits with 3 on wrong usage: argparse's own 2 would read as a verdict."""

    def error(self, message: str):
        self.print_usage(sys.stderr)
        self.exit(COULD_NOT_RUN, f"{self.prog}: error: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; whatever goes wrong on our side ends in 3, never in a verdict."""
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that cannot print a letter of a name must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    chosen = _parser().parse_args(arguments)
    try:
        code = chosen.run(chosen)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Who reads has left. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COULD_NOT_RUN
    except (LookupError, OSError) as error:
        _complain(error.args[0] if isinstance(error, LookupError) else str(error))
        return COULD_NOT_RUN
    except Exception:  # noqa: BLE001 (a traceback's own exit code, 1, would read as FAIL)
        _complain(f"internal error, please report it:\n{traceback.format_exc()}")
        return COULD_NOT_RUN


def _complain(text: str) -> None:
    if sys.stderr is not None:
        print(f"refimpl: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="refimpl", description="The reference oracle.")
    parser.add_argument("--version", action="version", version=f"refimpl {refimpl.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, text: str, **more) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, **more)
        added.set_defaults(run=run)
        return added

    added = command("list", _list, "all formulas")
    added.add_argument("topic", nargs="?", choices=TOPICS)
    added.add_argument("--json", action="store_true")
    added = command("find", _find, "formulas by a word: their names, other names, what they say")
    added.add_argument("word", help="e.g. gqa, rope, fid, sliding")
    added = command("show", _show, "one formula: statement, conventions, laws, known mistakes")
    added.add_argument("name")
    description = "Exit code: 0 pass, 1 fail, 2 no evidence, 3 could not run."
    _check_arguments(command("check", _check, "is this right?", description=description))
    text = "check every known public implementation that is installed"
    added = command("peers", _peers, text)
    added.add_argument("names", nargs="*", help="formulas (default: all)")
    added.add_argument("--json", action="store_true")
    text = "inputs and answers of 50 digits, for suites in any language"
    added = command("golden", _golden, text)
    added.add_argument("name")
    added.add_argument("--format", choices=("json", "npz"), default="json")
    text = "file (needed for npz; JSON goes to the terminal by default)"
    added.add_argument("--output", help=text)
    added = command("bench", _bench, "time a formula's forms")
    added.add_argument("names", nargs="*", help="formulas (default: all with several forms)")
    added.add_argument("--size", type=int, default=512)
    return parser


def _check_arguments(added: argparse.ArgumentParser) -> None:
    def option(name: str, text: str, **more) -> None:
        added.add_argument(name, help=text, **more)

    option("name", "formula, e.g. softmax_attention")
    option("candidate", "package.module:function or file.py:function", nargs="?")
    option("--command", "a program: gets an input and an output .npz file")
    option("--dtype", "precision of the inputs (default float64)", default="float64")
    option("--arrays", "numpy, torch, jax or cupy (default: inferred)", default="")
    more = {"action": "append", "default": [], "metavar": "NAME=VALUE"}
    option("--option", "fix an option of the formula", **more)
    more = {"nargs": "+", "action": "extend", "default": [], "metavar": "AXIS=SIZE"}
    option("--sizes", "what an axis may be: d=64 n=128,256", **more)
    option("--multiple", "what the size of an axis is a multiple of: n=64", **more)
    option("--same", "axes of one length: m=n", **more | {"metavar": "AXIS=AXIS"})
    option("--layout", "order of the axes of four: bhsd (as ours) or bshd", default="")
    more = {"nargs": "+", "action": "extend", "default": [], "metavar": "THEIRS=OURS"}
    option("--rename", "its own names of options: is_causal=causal", **more)
    option("--longest", "the largest size to try (260 where the formula allows it)", type=int)
    option("--grad", "check gradients (torch, JAX, or --vjp)", action="store_true")
    option("--vjp", "module:function(g, *arrays, **options), implies --grad", default="")
    option("--strict", "only the most accurate form sets the bound", action="store_true")
    added.add_argument("--seed", type=int, default=0)
    text = "time for trials: less than all need is no pass, more is for random cases"
    option("--seconds", text, type=float)
    added.add_argument("--json", action="store_true")


# ----------------------------------------------------------------------- list, find and show


def _list(chosen) -> int:
    records = list(formulas(chosen.topic))
    for name, error in BROKEN.items():
        _complain(f"{name} cannot be imported: {type(error).__name__}: {error}")
    if chosen.json:
        content = [
            {"name": f.name, "topic": f.topic, "signature": str(f.signature), "source": f.source}
            for f in records
        ]
        print(json.dumps(content, indent=1))
        return 0
    if not records:
        _complain(f"{chosen.topic} has no formulas yet")
    _print_lines(records)
    return 0


def _find(chosen) -> int:
    records = list(search(chosen.word))
    if not records:
        raise LookupError(f"nothing says {chosen.word!r}; try another word, or refimpl list")
    _print_lines(records)
    return 0


def _print_lines(records: list[Formula]) -> None:
    for f in records:
        print(f"{f.topic:10} {f.name:24} {str(f.signature):28} {f.summary}")


def _show(chosen) -> int:
    from refimpl.evidence import evidence

    record = find(chosen.name)
    print(f"{record.name} {record.signature}   ({record.module})\n")
    if "textbook" in record.forms:
        print("As textbooks write it:\n")
        print(inspect.getsource(record.forms["textbook"].body))
    print(record.documentation)
    print(f"\nSource: {record.source}")
    print(f"Arrays: {', '.join(f'{k}{v}' for k, v in record.describe_arrays().items())}")
    print(f"Forms: {', '.join(record.forms)}")
    print(f"Gradients: {', '.join(record.differentiable) or 'none: ' + record.reason}")
    print("\n".join(_options_table(record)))
    of = evidence(record)
    for title, entries in (
        ("Laws", of.laws),
        ("Closed forms", of.closed_forms),
        ("Input regimes", of.regimes),
        ("Known mistakes", of.mutants),
    ):
        print(f"\n{title}")
        for entry in entries.values():
            source = getattr(entry, "source", "")
            print(f"  {entry.name}: {entry.statement}" + (f" [{source}]" if source else ""))
    return 0


def _options_table(record: Formula) -> Iterator[str]:
    """Each option with its default and what it may be."""
    if record.declared:
        yield "\nOptions"
    for name, option in record.declared.items():
        owners = [form for form, f in record.forms.items() if name in f.options]
        default = "needed" if option.is_required else f"default {option.default!r}"
        form = f", form {owners[0]!r}" if name not in record.options else ""
        yield f"  {name}: {option.expected} ({default}{form})"


# ------------------------------------------------------------------------------------- check


def _check(chosen) -> int:
    from refimpl.check import candidate as candidates
    from refimpl.check import check, report
    from refimpl.check.trial import Result
    from refimpl.numerics import unit_roundoff

    record = find(chosen.name)
    try:
        unit_roundoff(chosen.dtype)
        if bool(chosen.candidate) == bool(chosen.command):
            raise candidates.CannotRun("give either a candidate or --command")
        if chosen.command:
            found = candidates.command(chosen.command, record)
        else:
            found = candidates.load_candidate(
                chosen.candidate,
                chosen.arrays,
                chosen.vjp,
                layout=chosen.layout,
                rename=_renamed(record, chosen.rename),
            )
        options = _options(record, chosen.option)
        axes = _axes(record, chosen)
    except (candidates.CannotRun, ValueError, TypeError) as error:
        result = Result(record, chosen.candidate or chosen.command or "", chosen.dtype, "")
        result.reason = str(error)
        print(report.as_json(result) if chosen.json else report.text(result))
        return result.exit_code
    result = check(
        record,
        found,
        dtype=chosen.dtype,
        options=options,
        gradients=chosen.grad or bool(chosen.vjp),
        strict=chosen.strict,
        seed=chosen.seed,
        seconds=chosen.seconds,
        longest=chosen.longest,
        progress=_progress(),
        **axes,
    )
    if _has_terminal():
        print("\r\033[K", end="", file=sys.stderr)
    print(report.as_json(result) if chosen.json else report.text(result))
    return result.exit_code


def _has_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _progress():
    """Progress on a terminal's standard error; nothing in a pipe."""
    if not _has_terminal():
        return lambda text: None
    return lambda text: print(f"\r\033[K{text[:78]}", end="", file=sys.stderr, flush=True)


def _options(record: Formula, texts: list[str]) -> dict:
    """``name=value`` as the option's declaration reads it; arrays are lists of numbers."""
    options = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or name not in record.options:
            raise ValueError(
                f"--option: expected NAME=VALUE, NAME in {', '.join(record.options)}; got {text!r}"
            )
        if name in record.declared:
            option = record.declared[name]
            try:
                options[name] = option.take(option.parse(value))
            except (TypeError, ValueError) as error:
                raise ValueError(f"--option {error}") from None
        else:
            options[name] = np.asarray(json.loads(value.replace("True", "true")))
    return options


def _renamed(record: Formula, texts: list[str]) -> dict[str, str]:
    """The candidate's names of options, by ours."""
    found = {}
    for text in texts:
        theirs, _, ours = text.partition("=")
        if ours not in record.options:
            known = ", ".join(record.options)
            raise ValueError(f"--rename: expected THEIRS=OURS, OURS in {known}; got {text!r}")
        found[ours] = theirs
    return found


def _axes(record: Formula, chosen) -> dict:
    """What ``--sizes``, ``--multiple`` and ``--same`` say, by axis."""

    def by_axis(name: str, read) -> dict:
        found = {}
        for text in getattr(chosen, name):
            axis, _, value = text.partition("=")
            try:
                found[axis] = read(value)
            except ValueError:
                value = ""
            if not value or axis not in record.axes:
                axes = ", ".join(record.axes)
                raise ValueError(f"--{name}: expected AXIS=VALUE, AXIS in {axes}; got {text!r}")
        return found

    def sizes(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(",")))

    def axis(text: str) -> str:
        return text if text in record.axes else ""

    return {
        "sizes": by_axis("sizes", sizes),
        "multiples": by_axis("multiple", int),
        "same": by_axis("same", axis),
    }


# ------------------------------------------------------------------- peers, golden and bench


def _peers(chosen) -> int:
    from refimpl.check import peers

    return peers.main([find(name).name for name in chosen.names], as_json=chosen.json)


def _golden(chosen) -> int:
    from refimpl import golden

    record = find(chosen.name)
    content = golden.load_golden(record)
    if chosen.format == "json":
        text = golden.as_text(content)
        if chosen.output:
            with open(chosen.output, "w", encoding="utf-8") as file:
                file.write(text + "\n")
        else:
            print(text)
        return 0
    if not chosen.output:
        _complain("--format npz needs --output FILE")
        return COULD_NOT_RUN
    np.savez(chosen.output, **golden.as_arrays(record, content))
    return 0


def _bench(chosen) -> int:
    from refimpl.check import bench

    return bench.main([find(name).name for name in chosen.names], chosen.size)


if __name__ == "__main__":
    raise SystemExit(main())
