"""How arrays and options may come: leading axes of any array, scalars of NumPy, no features."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.backend import unbroadcast
from refimpl.evidence import evidence
from refimpl.formula import formulas
from refimpl.position.absolute import (
    interpolated_encoding,
    learned_encoding,
    sinusoidal_encoding,
)
from refimpl.position.axial import multimodal_positions
from refimpl.position.buckets import deberta_log_buckets, t5_buckets
from refimpl.position.recurrent import recurrent_encoding
from refimpl.position.relative import disentangled_logits, relative_attention_logits
from refimpl.position.tokens import token_positions
from refimpl.position.transformer_xl import transformer_xl_logits
from refimpl.position.untied import untied_logits

BATCH = (2, 3)
# What of the leading axes an array has: all, none, one of them, or size 1.
PARTS = (np.s_[:, :], np.s_[0, 0], np.s_[0], np.s_[:1], np.s_[:, :1], np.s_[:1, :1])

each_regime = pytest.mark.parametrize(
    ("formula", "regime"),
    [(f, regime) for f in formulas("position") for regime in evidence(f).regimes],
    ids=lambda x: getattr(x, "name", x),
)


def _tuple(x):
    return x if isinstance(x, tuple) else (x,)


def _case(formula, regime, batch, seed=0):
    """Arrays by name, keyword arrays included, and other options."""
    of = evidence(formula)
    case = of.sample(regime, of.fit(dict.fromkeys(formula.axes, 3)), batch, seed)
    arrays = dict(zip([a.name for a in formula.arguments], case.arrays, strict=True))
    given = {k: v for k, v in case.options.items() if isinstance(v, np.ndarray)}
    return arrays | given, {k: v for k, v in case.options.items() if k not in given}


def _call(f, formula, arrays, options):
    count = len(formula.arguments)
    positional, keywords = list(arrays)[:count], list(arrays)[count:]
    return f(*(arrays[k] for k in positional), **{k: arrays[k] for k in keywords}, **options)


@pytest.mark.parametrize("seed", range(3))
@each_regime
def test_each_array_may_have_leading_axes_of_its_own(formula, regime, seed):
    """Outputs have them all, and are those of a loop; gradients are sums over the loop."""
    rng = np.random.default_rng(seed)
    arrays, options = _case(formula, regime, BATCH, seed)
    arguments = {a.name: a for a in (*formula.arguments, *formula.keywords.values())}
    ranks = {name: len(arguments[name].core) for name in arrays}
    for name, x in arrays.items():
        full = np.broadcast_to(x, (*BATCH, *x.shape[x.ndim - ranks[name] :]))
        arrays[name] = np.asarray(full[PARTS[rng.integers(len(PARTS))]])
    leading = (x.shape[: x.ndim - ranks[name]] for name, x in arrays.items())
    batch = np.broadcast_shapes(*leading)

    def alone(index):
        full = {
            k: np.broadcast_to(x, (*batch, *x.shape[x.ndim - ranks[k] :]))
            for k, x in arrays.items()
        }
        return {k: np.asarray(x[index]) for k, x in full.items()}

    outputs = _tuple(_call(formula, formula, arrays, options))
    ones = {index: alone(index) for index in np.ndindex(*batch)}
    for index, one in ones.items():
        for whole, single in zip(
            outputs, _tuple(_call(formula, formula, one, options)), strict=True
        ):
            assert whole.shape == (*batch, *single.shape)
            np.testing.assert_allclose(whole[index], single, rtol=1e-9, atol=1e-10)
    if not formula.differentiable:
        return
    g = tuple(np.where(np.isfinite(y), rng.standard_normal(y.shape), 0.0) for y in outputs)

    def gradients(arrays, index=()):
        cotangents = tuple(x[index] for x in g)
        packed = cotangents if len(cotangents) > 1 else cotangents[0]
        return _call(lambda *a, **k: formula.vjp(packed, *a, **k), formula, arrays, options)

    names = [name for name in formula.differentiable if name in arrays]
    found = gradients(arrays)
    by_loop = {index: gradients(one, index) for index, one in ones.items()}
    for k, name in enumerate(names):
        every = np.stack([by_loop[index][k] for index in ones])
        total = every.reshape((*batch, *every.shape[1:]))
        expected = unbroadcast(total, arrays[name].shape)
        scale = np.abs(total).max(initial=0.0)
        np.testing.assert_allclose(found[k], expected, rtol=1e-8, atol=1e-12 + 1e-9 * scale)


@each_regime
def test_options_may_be_scalars_of_numpy(formula, regime):
    """They are not weak in NumPy's arithmetic, as Python's numbers are, and change no type."""
    arrays, options = _case(formula, regime, ())
    kinds = {a.name: a.kind for a in (*formula.arguments, *formula.keywords.values())}
    arrays = {k: x.astype("float16") if kinds[k] == "real" else x for k, x in arrays.items()}
    scalars = {
        k: {float: np.float64, int: np.int64}.get(type(v), lambda v: v)(v)
        for k, v in options.items()
    }
    for form in formula.forms:
        plain, other = (
            _tuple(_call(formula, formula, arrays, given | {"form": form}))
            for given in (options, scalars)
        )
        for a, b in zip(plain, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


ONE, TWO, NO_FEATURES = np.ones((1, 1)), np.ones((2, 1)), np.ones((1, 0))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: learned_encoding(TWO, [0], offset=x), "offset"),
        (lambda x: token_positions([True], convention="fairseq", padding_index=x), "padding_index"),
        (
            lambda x: transformer_xl_logits(ONE, ONE, [0.0], [0.0], TWO, [0], [0], lowest=x),
            "lowest",
        ),
        (lambda x: t5_buckets([0], [0], bidirectional=False, buckets=x), "buckets"),
        (lambda x: t5_buckets([0], [0], bidirectional=False, max_distance=x), "max_distance"),
        (lambda x: deberta_log_buckets([0], [0], bucket_size=x), "bucket_size"),
        (lambda x: deberta_log_buckets([0], [0], max_position=x), "max_position"),
    ],
)
@pytest.mark.parametrize("value", [0.5, 1.5, 300.5, np.nan, np.inf])
def test_whole_numbers_are_not_made_by_cutting_digits_off(call, name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a whole number, got {value}"):
        call(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, **s: relative_attention_logits(x, x, x, [0], [0], order="k_minus_q", **s),
        lambda x, **s: transformer_xl_logits(x, x, x[0], x[0], x, [0], [0], **s),
        lambda x, **s: untied_logits(x, x, x, x, **s),
        lambda x, **s: disentangled_logits(
            x, x, np.ones((2, 0)), np.ones((2, 0)), [0], [0], p2c_index="code", **s
        ),
    ],
)
def test_logits_of_no_features_need_a_scale(call):
    with pytest.raises(ValueError, match="scale: there is no default for d = 0, give it"):
        call(NO_FEATURES)
    assert call(NO_FEATURES, scale=1.0).tolist() == [[0.0]]


def test_a_recurrence_of_no_features():
    encoded = recurrent_encoding(np.ones((0, 0)), np.ones(0), np.ones(0), length=3)
    assert encoded.shape == (3, 0)
    gradients = recurrent_encoding.vjp(
        encoded, np.ones((0, 0)), np.ones(0), np.ones(0), length=np.float64(3)
    )
    assert [x.shape for x in gradients] == [(0, 0), (0,), (0,)]


def test_sizes_may_be_whole_floats():
    choices = {"order": "sin_first", "layout": "half", "frequencies": "t2t"}
    for size in (4.0, np.float64(4), np.int64(4)):
        np.testing.assert_array_equal(
            sinusoidal_encoding([3], dim=size, **choices),
            sinusoidal_encoding([3], dim=4, **choices),
        )
        assert interpolated_encoding(TWO, length=size, align_corners=True).shape == (4, 1)
    segments = (np.int64(2), (np.int64(1), 2, 2))
    np.testing.assert_array_equal(
        multimodal_positions(0, segments=segments),
        multimodal_positions(0, segments=(2, (1, 2, 2))),
    )
