"""The command line: ``refimpl list | show | check | peers | golden | bench``."""

from __future__ import annotations

import argparse
import ast
import json
import sys

import numpy as np

from refimpl.formula import TOPICS, find, formulas


class _Parser(argparse.ArgumentParser):
    """Exits with 3 on wrong usage: argparse's own 2 would read as a verdict."""

    def error(self, message: str):
        self.print_usage(sys.stderr)
        self.exit(3, f"{self.prog}: error: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        return chosen.run(chosen)
    except (KeyError, LookupError) as error:
        print(f"refimpl: {error.args[0]}", file=sys.stderr)
        return 3


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="refimpl", description="The reference oracle.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="all formulas")
    command.add_argument("topic", nargs="?", choices=TOPICS)
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "show", help="one formula: statement, conventions, laws, known mistakes"
    )
    command.add_argument("name")
    command.set_defaults(run=_show)

    command = commands.add_parser(
        "check",
        help="is this implementation right?",
        description="Exit code: 0 pass, 1 fail, 2 no evidence, 3 could not run.",
    )
    command.add_argument("name", help="formula, e.g. softmax_attention")
    command.add_argument("candidate", nargs="?", help="package.module:function or file.py:function")
    command.add_argument("--command", help="a program: gets an input and an output .npz file")
    command.add_argument(
        "--dtype", default="float64", help="precision of the inputs (default float64)"
    )
    command.add_argument(
        "--arrays", default="", help="numpy, torch, jax or cupy (default: inferred)"
    )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix an option of the formula",
    )
    command.add_argument(
        "--grad", action="store_true", help="check gradients (torch, JAX, or --vjp)"
    )
    command.add_argument(
        "--vjp", default="", help="module:function(g, *arrays, **options), implies --grad"
    )
    command.add_argument(
        "--strict", action="store_true", help="only the most accurate form sets the bound"
    )
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--seconds", type=float, default=4.0, help="time for trials (default 4)")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=_check)

    command = commands.add_parser(
        "peers", help="check every known public implementation that is installed"
    )
    command.add_argument("names", nargs="*", help="formulas (default: all)")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=_peers)

    command = commands.add_parser(
        "golden", help="inputs and answers of 50 digits, for suites in any language"
    )
    command.add_argument("name")
    command.add_argument("--format", choices=("json", "npz"), default="json")
    command.add_argument(
        "--output", help="file (needed for npz; JSON goes to the terminal by default)"
    )
    command.set_defaults(run=_golden)

    command = commands.add_parser("bench", help="time a formula's forms")
    command.add_argument("names", nargs="*", help="formulas (default: all with several forms)")
    command.add_argument("--size", type=int, default=512)
    command.set_defaults(run=_bench)
    return parser


# ----------------------------------------------------------------------------- list and show


def _list(chosen) -> int:
    records = list(formulas(chosen.topic))
    if chosen.json:
        content = [
            {"name": f.name, "topic": f.topic, "signature": str(f.signature), "source": f.source}
            for f in records
        ]
        print(json.dumps(content, indent=1))
        return 0
    for record in records:
        print(
            f"{record.topic:10} {record.name:24} {str(record.signature):28} {_first_line(record)}"
        )
    return 0


def _first_line(record) -> str:
    return record.summary


def _show(chosen) -> int:
    from refimpl.evidence import evidence

    record = find(chosen.name)
    print(f"{record.name} {record.signature}   ({record.module})\n")
    print(record.documentation)
    print(f"\nSource: {record.source}")
    print(f"Arrays: {', '.join(f'{k}{v}' for k, v in record.describe_arrays().items())}")
    print(f"Forms: {', '.join(record.forms)}")
    print(f"Gradients: {', '.join(record.differentiable) or 'none: ' + record.reason}")
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


# ------------------------------------------------------------------------------------- check


def _check(chosen) -> int:
    from refimpl.check import candidate as candidates
    from refimpl.check import check, report
    from refimpl.check.run import COULD_NOT_RUN, EXIT_CODES, Result
    from refimpl.numerics import unit_roundoff

    record = find(chosen.name)
    try:
        unit_roundoff(chosen.dtype)
        if bool(chosen.candidate) == bool(chosen.command):
            raise candidates.CannotRun("give either a candidate or --command")
        if chosen.command:
            found = candidates.command(chosen.command, record)
        else:
            found = candidates.load(chosen.candidate, chosen.arrays, chosen.vjp)
        options = _options(record, chosen.option)
    except (candidates.CannotRun, ValueError) as error:
        result = Result(record, chosen.candidate or chosen.command or "", chosen.dtype, "")
        result.verdict, result.reason = COULD_NOT_RUN, str(error)
        print(report.as_json(result) if chosen.json else report.text(result))
        return EXIT_CODES[COULD_NOT_RUN]
    result = check(
        record,
        found,
        dtype=chosen.dtype,
        options=options,
        gradients=chosen.grad or bool(chosen.vjp),
        strict=chosen.strict,
        seed=chosen.seed,
        seconds=chosen.seconds,
        progress=_progress(),
    )
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(report.as_json(result) if chosen.json else report.text(result))
    return result.exit_code


def _progress():
    """Progress on a terminal's standard error; nothing in a pipe."""
    if not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f"\r\033[K{text[:78]}", end="", file=sys.stderr, flush=True)


def _options(record, texts: list[str]) -> dict:
    """``name=value`` with Python literals; a word that is no literal is text."""
    options = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or name not in record.options:
            raise ValueError(
                f"--option: expected NAME=VALUE, NAME in {', '.join(record.options)}; got {text!r}"
            )
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
        if isinstance(options[name], list):
            options[name] = np.asarray(options[name])
    return options


# ------------------------------------------------------------------- peers, golden and bench


def _peers(chosen) -> int:
    from refimpl.check import peers

    for name in chosen.names:
        find(name)
    return peers.main(chosen.names, as_json=chosen.json)


def _golden(chosen) -> int:
    from refimpl import golden

    record = find(chosen.name)
    content = golden.load(record)
    if chosen.format == "json":
        text = json.dumps(content, indent=1)
        if chosen.output:
            with open(chosen.output, "w", encoding="utf-8") as file:
                file.write(text + "\n")
        else:
            print(text)
        return 0
    if not chosen.output:
        print("refimpl: --format npz needs --output FILE", file=sys.stderr)
        return 3
    np.savez(chosen.output, **golden.as_arrays(record, content))
    return 0


def _bench(chosen) -> int:
    from refimpl.check import bench

    return bench.main(chosen.names, chosen.size)


if __name__ == "__main__":
    raise SystemExit(main())
