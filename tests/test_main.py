"""The command line, run in this process: what it prints and its exit codes."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import refimpl
from refimpl import golden
from refimpl.__main__ import main
from tests.table import FORMULAS, each_formula

RIGHT = """
import numpy as np

def attention(q, k, v, mask=None):
    scores = q @ k.swapaxes(-1, -2) * np.asarray(q.shape[-1] ** -0.5, q.dtype)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf).astype(q.dtype)
    peak = scores.max(axis=-1, keepdims=True)
    terms = np.exp(scores - np.where(np.isfinite(peak), peak, 0).astype(q.dtype))
    total = terms.sum(axis=-1, keepdims=True)
    return np.where(total > 0, terms / np.where(total > 0, total, 1), 0) @ v

def unscaled(q, k, v):
    return attention(q * np.asarray(q.shape[-1] ** 0.5, q.dtype), k, v)

def raises(q, k, v):
    raise RuntimeError("no kernel for this machine")
"""

PROGRAM = """
import sys
import numpy as np

given = np.load(sys.argv[1])
cov = given["cov"]
entropy = (np.linalg.slogdet(2 * np.pi * np.e * cov)[1]) / 2
np.savez(sys.argv[2], output0=entropy)
"""


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """The path of a file of candidates; importing it leaves no trace."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    path = tmp_path / "kernels_of_a_user.py"
    path.write_text(RIGHT)
    return path


def run_check(*words):
    return main(["check", "softmax_attention", *map(str, words)])


# ----------------------------------------------------------------------------- list and show


def test_list_names_every_formula(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [f.name for f in FORMULAS]


def test_list_of_a_topic_as_json(capsys):
    assert main(["list", "attention", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {entry["topic"] for entry in content} == {"attention"}
    assert {entry["name"] for entry in content} >= {"softmax_attention"}
    assert all(entry["signature"] and entry["source"] for entry in content)


@each_formula()
def test_show_gives_the_signature_the_laws_and_the_known_mistakes(formula, capsys):
    assert main(["show", formula.name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{formula.name} {formula.signature}")
    assert formula.source in text
    for title in ("Laws", "Closed forms", "Input regimes", "Known mistakes"):
        assert f"\n{title}\n  " in text


def test_unknown_name_gives_the_closest_ones(capsys):
    assert main(["show", "softmax_atention"]) == 3
    captured = capsys.readouterr()
    assert "softmax_attention" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("words", [[], ["nothing"], ["list", "alchemy"], ["check"]])
def test_words_that_make_no_command_are_refused(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code != 0
    assert "usage:" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- check


def test_check_of_a_right_implementation_exits_with_0(kernels, capsys):
    assert run_check(f"{kernels}:attention", "--dtype", "float32") == 0
    text = capsys.readouterr().out
    assert text.startswith("PASS  softmax_attention")
    assert "would have rejected" in text
    assert "not taken  bias" in text


def test_check_of_a_wrong_one_exits_with_1_and_says_why(kernels, capsys):
    assert run_check(f"{kernels}:unscaled") == 1
    text = capsys.readouterr().out
    assert text.startswith("FAIL  softmax_attention")
    assert "1/sqrt(d) is missing" in text
    assert "smallest failing case:" in text


def test_reproduction_of_a_report_runs(kernels, capsys):
    run_check(f"{kernels}:unscaled", "--json")
    report = json.loads(capsys.readouterr().out)
    exec(compile(report["reproduction"], "reproduction", "exec"), {})


def test_check_as_json(kernels, capsys):
    assert run_check(f"{kernels}:unscaled", "--json", "--option", "empty=nan") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "fail"
    assert report["exit_code"] == 1
    assert report["fixed"] == {"empty": "'nan'"}
    assert report["failed"] >= len(report["failures"]) > 0
    assert report["diagnosis"][0]["text"]
    assert any(report["power"].values())


def test_check_that_could_not_run_is_json_too(capsys):
    assert run_check("no_such_module:f", "--json") == 3
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "could not run"
    assert "no_such_module" in report["reason"]


def test_check_finds_a_function_of_a_module(capsys):
    assert run_check("refimpl:softmax_attention") == 0
    assert "mistakes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "either a candidate or --command"),
        (("refimpl:softmax_attention", "--command", "true"), "either a candidate or --command"),
        (("no_such_file.py:f",), "no file no_such_file.py"),
        (("refimpl:no_such_function",), "no_such_function"),
        (("refimpl.backend:__name__",), "not callable"),
        (("without_a_colon",), "module:function"),
        (("refimpl:softmax_attention", "--dtype", "float12"), "float12"),
        (("refimpl:softmax_attention", "--option", "colour=red"), "colour=red"),
        (("refimpl:softmax_attention", "--option", "softcap"), "NAME=VALUE"),
        (("refimpl:softmax_attention", "--option", "softcap=-1.0"), "softcap: expected a positive"),
        (("refimpl:softmax_attention", "--arrays", "pascal"), "pascal"),
        (("--command", "no-such-program-anywhere"), "no-such-program-anywhere"),
    ],
)
def test_what_could_not_run_exits_with_3_and_a_reason(words, reason, capsys):
    assert run_check(*words) == 3
    text = capsys.readouterr().out
    assert text.startswith("COULD NOT RUN")
    assert reason in text


def test_gradients_need_a_library_that_has_them(capsys):
    assert run_check("refimpl:softmax_attention", "--grad") == 3
    assert "--vjp" in capsys.readouterr().out


def test_a_candidate_that_always_raises_could_not_run(kernels, capsys):
    assert run_check(f"{kernels}:raises") == 3
    assert "no kernel for this machine" in capsys.readouterr().out


def test_check_of_a_vjp(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    path = tmp_path / "entropies_of_a_user.py"
    path.write_text(
        "import numpy as np\nimport refimpl\n"
        "def backward(g, cov):\n    return g[..., None, None] * np.linalg.inv(cov) / 2\n"
        "def doubled(g, cov):\n    return 2 * backward(g, cov)\n"
    )
    words = ["check", "gaussian_entropy", "refimpl:gaussian_entropy"]
    assert main([*words, "--vjp", f"{path}:backward"]) == 0
    assert main([*words, "--vjp", f"{path}:doubled"]) == 1
    assert "gradients of gaussian_entropy" in capsys.readouterr().out


def test_command_is_judged_through_files(tmp_path, capsys):
    program = tmp_path / "entropy.py"
    program.write_text(PROGRAM)
    words = ["check", "gaussian_entropy", "--command"]
    assert main([*words, f"{sys.executable} {program}"]) == 0
    program.write_text(PROGRAM.replace("np.e * ", ""))
    assert main([*words, f"{sys.executable} {program} {{input}} {{output}}"]) == 1
    text = capsys.readouterr().out
    assert "PASS" in text
    assert "FAIL" in text


def test_command_that_fails_could_not_run(tmp_path, capsys):
    program = tmp_path / "broken.py"
    program.write_text("raise SystemExit('out of order')")
    words = ["check", "gaussian_entropy", "--command", f"{sys.executable} {program}"]
    assert main(words) == 3
    assert "out of order" in capsys.readouterr().out


# ------------------------------------------------------------------------------------ golden


def test_golden_as_json_on_the_terminal_and_in_a_file(tmp_path, capsys):
    assert main(["golden", "softmax_attention"]) == 0
    printed = json.loads(capsys.readouterr().out)
    path = tmp_path / "golden.json"
    assert main(["golden", "softmax_attention", "--output", str(path)]) == 0
    assert json.loads(path.read_text()) == printed
    assert printed == golden.load_golden(refimpl.softmax_attention)


@each_formula()
def test_golden_as_npz_holds_every_case(formula, tmp_path):
    path = tmp_path / "golden.npz"
    assert main(["golden", formula.name, "--format", "npz", "--output", str(path)]) == 0
    content = golden.load_golden(formula)
    with np.load(path) as table:
        for index, case in enumerate(content["cases"]):
            arrays, options = golden.arguments(case)
            for argument, array in zip(formula.arguments, arrays, strict=True):
                stored = table[f"{index}_{argument.name}"]
                assert np.array_equal(stored, array, equal_nan=True)
            plain = json.loads(str(table[f"{index}_options"]))
            given = {k for k in options if f"{index}_{k}" in table.files}
            assert plain.keys() | given == options.keys()
            outputs = [k for k in table.files if k.rstrip("0123456789") == f"{index}_output"]
            assert len(outputs) == len(formula.signature.outputs)
            assert ("derivative" in case) == (f"{index}_derivative" in table.files)


def test_golden_as_npz_needs_a_file(capsys):
    assert main(["golden", "softmax_attention", "--format", "npz"]) == 3
    assert "--output" in capsys.readouterr().err


def test_golden_of_an_unknown_name(capsys):
    assert main(["golden", "no_such_formula"]) == 3
    assert "no_such_formula" in capsys.readouterr().err
