"""The checker itself: garbage gets the right verdict and exit code, and never a traceback."""

from __future__ import annotations

import json

import numpy as np
import pytest

import refimpl
from refimpl.check import check, report
from refimpl.check.candidate import Candidate, CannotRun, guess_library, load_candidate
from refimpl.formula import find

ATTENTION = find("softmax_attention")


def good(q, k, v, mask=None):
    return refimpl.softmax_attention(q, k, v, mask=mask)


def _verdict(f, dtype="float64", formula=ATTENTION, **settings):
    result = check(formula, Candidate(f.__name__, f, "numpy"), dtype=dtype, **settings)
    json.loads(report.as_json(result))
    assert result.verdict.upper() in report.text(result)
    return result


def all_nan(q, k, v):
    return np.full((*q.shape[:-1], v.shape[-1]), np.nan)


def nan_in_one_place(q, k, v):
    found = good(q, k, v)
    found[(0,) * found.ndim] = np.nan
    return found


def infinite(q, k, v):
    return good(q, k, v) + np.inf


def zeros(q, k, v):
    return 0.0 * good(q, k, v)


def constant(q, k, v):
    return 0.0 * good(q, k, v) + 0.3


def echo(q, k, v):
    return v if q.shape[-2] == v.shape[-2] else good(q, k, v)


def wrong_shape(q, k, v):
    return good(q, k, v)[..., :1]


def transposed(q, k, v):
    return good(q, k, v).swapaxes(-1, -2)


def scalar(q, k, v):
    return np.float64(0.5)


def empty(q, k, v):
    return np.zeros(0)


def nothing(q, k, v):
    return None


def text(q, k, v):
    return "attention"


def complex_numbers(q, k, v):
    return good(q, k, v) + 0j


def integers(q, k, v):
    return np.round(good(q, k, v)).astype(int)


def objects(q, k, v):
    return good(q, k, v).astype(object)


def noise(q, k, v, rng=np.random.default_rng(0)):  # noqa: B008
    return rng.standard_normal((*q.shape[:-1], v.shape[-1]))


def shuffled(q, k, v):
    return np.flip(good(q, k, v), axis=-2)


def wrong_beyond_two_tiles(q, k, v):
    found = good(q, k, v)
    if q.shape[-2] > 256:
        found[..., 256:, :] = 0.0
    return found


def wrong_for_many_heads(q, k, v):
    found = good(q, k, v)
    if q.ndim == 4 and q.shape[0] > 8:
        found[8:] = 0.0
    return found


def wrong_for_one_query(q, k, v):
    return good(q, k, v) * (0.5 if q.shape[-2] == 1 < k.shape[-2] else 1.0)


def wrong_where_strided(q, k, v):
    return good(np.frombuffer(np.array(q).tobytes(), q.dtype).reshape(q.shape), k, v) * (
        1.0 if k.flags.c_contiguous else 0.5
    )


def same_scratch(q, k, v, scratch={}):  # noqa: B006
    shape = (*np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2]), q.shape[-2])
    found = scratch.setdefault((*shape, v.shape[-1]), np.empty((*shape, v.shape[-1]), v.dtype))
    found[...] = good(q, k, v)
    return found


def kept_by_identity(q, k, v, kept={}):  # noqa: B006
    if id(q) not in kept:
        kept[id(q)] = q, good(q, k, v)
    return kept[id(q)][1]


def overwrites_the_mask(q, k, v, mask=None):
    found = good(q, k, v, mask)
    if mask is not None:
        mask[...] = True
    return found


def wrong_on_ragged_sizes(q, k, v):
    found = good(q, k, v)
    if k.shape[-2] == 17:
        found[..., -1, :] += 1e-3
    return found


def one_row_off(q, k, v, mask=None):
    found = good(q, k, v, mask)
    found[..., 0, :] *= 1.0 + 1e-4
    return found


def a_tenth_of_a_percent(q, k, v, mask=None):
    return 1.001 * good(q, k, v, mask)


def overwrites(q, k, v):
    found = good(q, k, v)
    q *= 2.0
    return found


def right_every_other_time(q, k, v, calls=[0]):  # noqa: B006
    calls[0] += 1
    return good(q, k, v) * (1.0 + calls[0] % 2)


REJECTED = [
    all_nan,
    nan_in_one_place,
    infinite,
    zeros,
    constant,
    echo,
    wrong_shape,
    transposed,
    scalar,
    empty,
    integers,
    noise,
    shuffled,
    wrong_on_ragged_sizes,
    one_row_off,
    a_tenth_of_a_percent,
    overwrites,
    right_every_other_time,
    wrong_beyond_two_tiles,
    wrong_for_many_heads,
    wrong_for_one_query,
    wrong_where_strided,
    same_scratch,
    kept_by_identity,
    overwrites_the_mask,
]


@pytest.mark.parametrize("f", REJECTED, ids=[f.__name__ for f in REJECTED])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.nightly)])
def test_garbage_is_rejected(f, dtype):
    result = _verdict(f, dtype)
    assert result.verdict == "fail"
    assert result.exit_code == 1


def always_raises(q, k, v):
    raise RuntimeError("no kernel image")


def takes_too_few(q, k):
    return q


NOT_RUN = [nothing, text, objects, complex_numbers, always_raises, takes_too_few]


@pytest.mark.parametrize("f", NOT_RUN, ids=[f.__name__ for f in NOT_RUN])
def test_what_never_returns_real_numbers_could_not_run(f):
    result = _verdict(f)
    assert result.verdict == "could not run"
    assert result.exit_code == 3
    assert result.reason


def test_honest_candidates_pass_with_their_limits_noted():
    def only_matrices(q, k, v):
        if q.ndim != 2:
            raise ValueError("expected 2-D")
        return good(q, k, v)

    def without_empty_axes(q, k, v):
        if 0 in (*q.shape, *k.shape):
            raise ValueError("empty")
        return good(q, k, v)

    def as_wide_as_keys(q, k, v):
        if v.shape[-1] != q.shape[-1]:
            raise ValueError("head sizes differ")
        return good(q, k, v)

    def with_extras(q, k, v):
        return good(q, k, v), np.zeros(3)

    def not_implemented(q, k, v, window=None):
        if window is not None:
            raise NotImplementedError("no window")
        return good(q, k, v)

    for f, word in (
        (only_matrices, "takes at most 0 leading axes"),
        (without_empty_axes, "empty axis"),
        (as_wide_as_keys, "needs v = d"),
        (with_extras, "the first 1 are judged"),
    ):
        result = _verdict(f)
        assert result.verdict == "pass", (f.__name__, result.reason)
        assert any(word in note.text for note in result.notes), result.notes
    result = _verdict(not_implemented)
    assert result.verdict == "pass"
    assert {f.name for f in result.refused} == {"window"}


def test_sizes_that_it_does_not_take_are_learnt_and_listed():
    def tiles_of_64(q, k, v):
        if q.shape[-1] != 64 or q.shape[-2] % 64 or k.shape[-2] % 64 or q.ndim != 4:
            raise RuntimeError("head width 64, lengths in multiples of 64")
        return good(q, k, v)

    def wrong_beyond_one_tile(q, k, v):
        found = tiles_of_64(q, k, v)
        if k.shape[-2] > 128:
            found[..., 0] *= 1.01
        return found

    result = _verdict(tiles_of_64, "float32")
    assert result.verdict == "pass"
    sizes = [{f.value for f in result.covered if f.name == axis} for axis in "nd"]
    assert sizes == [{64, 128, 256}, {64}]
    assert {17, 65, 257} <= {f.value for f in result.refused if f.name == "n"}
    assert _verdict(wrong_beyond_one_tile, "float32").verdict == "fail"


def test_what_may_be_asked_can_be_said_beforehand():
    def square(q, k, v):
        assert q.shape[-1] in (32, 64)
        assert q.shape[-2] == k.shape[-2]
        assert q.shape[-2] % 8 == 0
        return good(q, k, v)

    said = {"sizes": {"d": (32, 64)}, "multiples": {"n": 8}, "same": {"m": "n"}}
    result = _verdict(square, "float32", **said)
    assert (result.verdict, result.refused) == ("pass", {})
    with pytest.raises(ValueError, match="no axis 'heads': softmax_attention has n, d, m, v"):
        _verdict(square, sizes={"heads": (2,)})


def test_a_layout_and_names_of_its_own():
    def kernel(q, k, v, is_causal=False):
        q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
        corner = "top_left" if is_causal else None
        return refimpl.softmax_attention(q, k, v, causal=corner).swapaxes(1, 2)

    def backward(g, q, k, v):
        arrays = (x.swapaxes(1, 2) for x in (g, q, k, v))
        return tuple(x.swapaxes(1, 2) for x in refimpl.softmax_attention.vjp(*arrays))

    theirs = {"layout": "b s h d", "rename": {"causal": "is_causal"}}
    mine = Candidate("kernel", kernel, "numpy", backward, **theirs)
    result = check(ATTENTION, mine, options={"causal": "top_left"})
    assert (result.verdict, "causal" in result.unnamed) == ("pass", False)
    assert check(ATTENTION, mine, gradients=True).verdict == "pass"
    as_ours = Candidate("kernel", kernel, "numpy", rename=theirs["rename"])
    assert check(ATTENTION, as_ours).verdict == "fail"
    with pytest.raises(CannotRun, match="expected 'b h n d'"):
        Candidate("kernel", kernel, layout="thd")


def test_a_plain_function_and_a_name_are_enough():
    result = check("softmax_attention", good, longest=9)
    assert (result.verdict, result.candidate) == ("pass", "good")
    with pytest.raises(ValueError, match="dtype: expected one of"):
        check("softmax_attention", good, dtype="float7")
    with pytest.raises(KeyError, match="did you mean softmax_attention"):
        check("softmax_atention", good)


def test_a_refusal_by_values_is_a_failure():
    def refuses_large_logits(q, k, v):
        if np.abs(q @ k.swapaxes(-1, -2)).max(initial=0.0) > 1e3:
            raise RuntimeError("overflow")
        return good(q, k, v)

    assert _verdict(refuses_large_logits).verdict == "fail"


def test_a_candidate_that_ends_the_program_does_not_pass():
    def leaves(q, k, v):
        raise SystemExit(0)

    calls = []

    def leaves_later(q, k, v):
        calls.append(q.shape)
        if len(calls) > 1:
            raise SystemExit(0)
        return refimpl.softmax_attention(q, k, v)

    def leaves_backward(g, q, k, v):
        raise SystemExit(0)

    assert _verdict(leaves).verdict == "could not run"
    assert _verdict(leaves_later).verdict == "fail"
    backward = Candidate("leaves", refimpl.softmax_attention, "numpy", leaves_backward)
    assert check(ATTENTION, backward, gradients=True).verdict == "could not run"


def test_an_array_with_an_arithmetic_of_its_own_is_judged_by_its_numbers():
    class AlwaysEqual(np.ndarray):
        def __sub__(self, other):
            return np.zeros(self.shape)

        __rsub__ = __sub__

    def wrong(q, k, v):
        return np.zeros(q.shape[:-1] + v.shape[-1:]).view(AlwaysEqual)

    assert _verdict(wrong).verdict == "fail"


def test_an_implementation_may_be_for_inputs_of_one_kind():
    slopes = find("alibi_slopes")

    def of_the_paper(alibi_bias_max, *, heads, rule):
        if alibi_bias_max.ndim or alibi_bias_max != 8:
            raise NotImplementedError("a maximum of 8")
        return refimpl.alibi_slopes(8, heads=heads, rule=rule)

    def never(alibi_bias_max, *, heads, rule):
        raise NotImplementedError("nothing")

    assert _verdict(of_the_paper, formula=slopes).verdict == "pass"
    assert _verdict(never, formula=slopes).verdict == "could not run"


def test_a_wider_output_type_is_noted_and_a_narrower_one_fails():
    def wider(q, k, v):
        return good(*(x.astype(np.float64) for x in (q, k, v)))

    def narrower(q, k, v):
        return good(*(x.astype(np.float32) for x in (q, k, v)))

    result = _verdict(wider, "float32")
    assert result.verdict == "pass"
    assert result.noted("type") == ["returns float64 for float32 inputs"]
    result = _verdict(narrower)
    assert result.verdict == "fail"
    assert [e.text for e in result.explanations] == ["it computes in float32"]


def test_random_and_inconsistent_candidates_are_called_so():
    assert _verdict(noise).noted("random")


def test_fixed_options_are_not_passed_to_candidates_that_lack_them():
    def always_causal(q, k, v):
        return refimpl.softmax_attention(q, k, v, causal="top_left")

    assert _verdict(always_causal).verdict == "fail"
    result = _verdict(always_causal, options={"causal": "top_left"})
    assert result.verdict == "pass"
    assert "causal" in result.unnamed


def test_a_boolean_flag_is_given_booleans():
    def flag(q, k, v, causal=False):
        assert isinstance(causal, bool)
        return refimpl.softmax_attention(q, k, v, causal="top_left" if causal else None)

    assert _verdict(flag).verdict == "pass"
    assert _verdict(flag, options={"causal": "top_left"}).verdict == "pass"
    assert _verdict(flag, options={"causal": "bottom_right"}).verdict == "fail"


def test_the_smallest_case_is_small_and_its_reproduction_runs():
    result = _verdict(shuffled)
    case = result.shrunk.problem.case
    assert max(x.size for x in case.arrays) <= 4
    namespace: dict = {}
    exec(report.reproduction(result, result.shrunk), namespace)  # noqa: S102
    assert namespace["q"].shape == case.arrays[0].shape


def test_no_evidence_where_nothing_wrong_would_be_seen(monkeypatch):
    """A run whose trials tell nothing must not pass."""
    from refimpl.check import run
    from refimpl.check.trial import Power

    monkeypatch.setattr(run, "power", lambda *_: Power((), ("zeros",), ()))
    result = _verdict(good)
    assert result.verdict == "no evidence"
    assert result.exit_code == 2


def test_digits_that_most_code_loses_are_a_remark_and_a_failure_where_strict():
    rotary = find("rotary_embedding")

    def float32_angles(x, positions, *, pairing, inverse=False):
        return rotary(x, positions, pairing=pairing, inverse=inverse, form="single_angles")

    settings = {"formula": rotary, "dtype": "float32"}
    found = _verdict(float32_angles, **settings)
    assert found.verdict == "pass"
    (remark,) = found.noted("loss")
    assert "passes only as code does whose angles are rounded" in remark
    assert _verdict(float32_angles, strict=True, **settings).verdict == "fail"
    exact = _verdict(
        lambda x, positions, *, pairing: rotary(x, positions, pairing=pairing), **settings
    )
    assert (exact.verdict, exact.noted("loss")) == ("pass", [])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "expected module:function"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("no_such_file.py:f", "no file"),
        ("math:pi", "not callable"),
        ("math:no_such", "AttributeError"),
    ],
)
def test_candidates_that_cannot_be_found(path, message):
    with pytest.raises(CannotRun, match=message):
        load_candidate(path)


def test_the_library_of_a_function_is_its_own_or_the_only_one_it_imports(tmp_path):
    assert guess_library(np.sin) == "numpy"
    assert load_candidate("math:sqrt").library == "numpy"
    file = tmp_path / "kernels.py"
    file.write_text("import numpy as np\ndef f(q, k, v):\n    return q\n")
    assert load_candidate(f"{file}:f").library == "numpy"


def test_gradients_by_a_function_of_ones_own():
    def doubled(g, q, k, v, **options):
        return tuple(2.0 * x for x in ATTENTION.vjp(g, q, k, v, **options))

    right = Candidate("right", ATTENTION, "numpy", ATTENTION.vjp)
    assert check(ATTENTION, right, gradients=True).verdict == "pass"
    result = check(ATTENTION, Candidate("doubled", ATTENTION, "numpy", doubled), gradients=True)
    assert result.verdict == "fail"
    assert "2 times" in result.explanations[0].text
    result = check(ATTENTION, Candidate("none", good, "numpy"), gradients=True)
    assert result.verdict == "could not run"
    assert "torch or JAX" in result.reason


def test_an_option_that_the_user_fixes_is_kept_even_where_evidence_gives_the_same():
    rotary = find("rotary_embedding")

    def interleaved_only(x, positions, *, pairing):
        if pairing != "interleaved":
            raise RuntimeError(f"was asked for {pairing}")
        return rotary(x, positions, pairing=pairing)

    result = _verdict(interleaved_only, formula=rotary, options={"pairing": "interleaved"})
    assert result.verdict == "pass", result.reason
    assert {t.problem.case.options["pairing"] for t in result.trials} == {"interleaved"}


def test_a_case_that_lost_the_option_that_makes_it_is_not_run():
    result = _verdict(lambda q, k, v: ATTENTION(q, k, v))
    regimes = {t.plan.regime for t in result.trials}
    assert "normal" in regimes
    assert not regimes & {"masked", "empty_rows", "rows_of_infinite_bias", "sink_above_logits"}
    assert all(not t.problem.case.options.keys() & {"mask", "bias"} for t in result.trials)


def test_power_counts_what_can_differ():
    result = _verdict(lambda q, k, v: ATTENTION(q, k, v))
    assert "softcap_after_bias" in result.power.out_of_reach
    assert len(result.power.rejected) >= 10
    assert "need options that it does not take" in report.text(result)
    everything = _verdict(lambda q, k, v, **options: ATTENTION(q, k, v, **options))
    assert everything.power.out_of_reach == ()
