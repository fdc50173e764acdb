"""How arrays and options of any formula may come: leading axes of each array, scalars of NumPy."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from refimpl.backend import unbroadcast
from refimpl.evidence import evidence
from tests.table import FORMULAS

BATCH = (2, 3)
# What of the leading axes an array has: all, none, one of them, or size 1.
PARTS = (np.s_[:, :], np.s_[0, 0], np.s_[0], np.s_[:1], np.s_[:, :1], np.s_[:1, :1])

each_regime = pytest.mark.parametrize(
    ("formula", "regime"),
    [(f, regime) for f in FORMULAS for regime in evidence(f).regimes],
    ids=lambda x: getattr(x, "name", x),
)


def _tuple(x):
    return x if isinstance(x, tuple) else (x,)


def _case(formula, regime, batch, seed=0):
    """Arrays by name, keyword arrays included, and other options."""
    of = evidence(formula)
    case = of.sample(regime, of.fit(dict.fromkeys(formula.axes, 3)), batch, seed)
    given = {k: v for k, v in case.options.items() if isinstance(v, np.ndarray)}
    others = {k: v for k, v in case.options.items() if k not in given}
    return formula.by_name(case.arrays, given), others


def _call(f, formula, arrays, options):
    count = len(formula.arguments)
    positional, keywords = list(arrays)[:count], list(arrays)[count:]
    return f(*(arrays[k] for k in positional), **{k: arrays[k] for k in keywords}, **options)


@contextlib.contextmanager
def _belonging_together():
    """Matrices of one case may not be definite with those of another."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("seed", range(2))
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

    with _belonging_together():
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
    with _belonging_together():
        found = gradients(arrays)
    by_loop = {index: gradients(one, index) for index, one in ones.items()}
    for k, name in enumerate(names):
        every = np.stack([by_loop[index][k] for index in ones])
        total = every.reshape((*batch, *every.shape[1:]))
        expected = unbroadcast(total, arrays[name].shape)
        scale = np.nanmax(np.abs(total), initial=0.0)
        np.testing.assert_allclose(found[k], expected, rtol=1e-8, atol=1e-12 + 1e-9 * scale)


@each_regime
def test_options_may_be_scalars_of_numpy(formula, regime):
    """They are not weak in NumPy's arithmetic, as Python's numbers are, and change no type."""
    arrays, options = _case(formula, regime, ())
    kinds = {a.name: a.kind for a in (*formula.arguments, *formula.keywords.values())}
    arrays = {k: x.astype("float32") if kinds[k] == "real" else x for k, x in arrays.items()}
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
