"""Evidence for the continuous position bias, a network of signed distances."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.position.continuous import continuous_position_bias

continuous = Evidence(
    continuous_position_bias,
    sizes={"h": Sizes(1, 1, 5, 17), "s": Sizes(1, 1, 8), "a": Sizes(2, 1, 3, 3)},
    empty=("n", "m"),
    fixed={"distance": "log", "limit": None},
    options={"limit": (16.0,)},
    combinations=({"distance": "log8", "limit": 16.0},),
)


# ------------------------------------------------------------------------------------- regimes


def _weights(rng, shape, size=1.0):
    shapes = shape.hidden_weights, shape.hidden_biases, shape.output_weights, shape.output_biases
    first, *others = (rng.standard_normal(s) for s in shapes)
    return size * first, *others


def _cells(count, axes, start=0):
    """Cells of a grid three wide, the last axis fastest."""
    n = np.arange(count)
    return start + np.stack([n // 3 ** (axes - 1 - k) % 3 for k in range(axes)])


def _grids(shape, start=0):
    axes = shape.axes["a"]
    return tuple(_cells(shape.axes[name], axes, start) for name in "nm")


@continuous.regime
def cells_of_a_window(rng, shape):
    """Cells of a window, logarithms"""
    return Case((*_weights(rng, shape), *_grids(shape)))


@continuous.regime
def as_in_swin(rng, shape):
    """Scaled coordinates, logarithms of base 8, and the limit 16"""
    options = {"distance": "log8", "limit": 16.0}
    queries, keys = (8.0 * at / 2.0 for at in _grids(shape))
    return Case((*_weights(rng, shape), queries, keys), options)


@continuous.regime(adversarial=True)
def linear_anywhere(rng, shape):
    """Coordinates between -3 and 3 that differ along the batch, as they are"""
    positions = (rng.uniform(-3.0, 3.0, s) for s in (shape.query_positions, shape.key_positions))
    return Case((*_weights(rng, shape), *positions), {"distance": "linear"})


@continuous.regime(adversarial=True)
def far_apart(rng, shape):
    """Distances of thousands in any order, with a small limit"""
    positions = (rng.integers(0, 8192, s) for s in (shape.query_positions, shape.key_positions))
    return Case((*_weights(rng, shape, 0.3), *positions), {"limit": 0.5})


# ---------------------------------------------------------------------------------------- laws


def _hidden_size(arrays, distance):
    """The largest distance that goes into the network, and argument of its maximum."""
    w, u, _, _, queries, keys = map(wide, arrays)
    far = np.abs(queries).max(initial=0.0) + np.abs(keys).max(initial=0.0)
    far = far if distance == "linear" else 1.0 + np.log1p(far)
    return far, np.abs(w).sum(axis=-2).max() * far + np.abs(u).max()


def _size(case):
    _, _, v, b, *_ = map(wide, case.arrays)
    _, hidden = _hidden_size(case.arrays, case.options["distance"])
    size = 4.0 + 4.0 * float(hidden * np.abs(v).max() * v.shape[-2] + np.abs(b).max())
    return size * max(1.0, case.options["limit"] or 0.0)


@continuous.gradient_terms
def _sizes_of_terms(g, *arrays, distance, limit):
    """Pairs add up; and where a sigmoid is close to 1 its slope, a difference from 1, is rounded
    as 1 is."""
    far, hidden = _hidden_size(arrays, distance)
    size = (limit or 1.0) * float(np.sqrt(np.square(wide(g)).sum(axis=(-2, -1)).max(initial=0.0)))
    through = size * np.abs(wide(arrays[2])).max()
    return {
        "hidden_weights": through * far,
        "hidden_biases": through,
        "output_weights": size * hidden,
        "output_biases": size,
    }


@continuous.law
def distance_alone_matters(f, case):
    """Moving all coordinates by a vector changes nothing"""
    *weights, queries, keys = case.arrays
    moved = case.with_arrays(*weights, queries + 64, keys + 64)
    is_whole = all(x.dtype.kind in "iu" for x in (queries, keys))
    yield Claim(moved.call(f), case.call(f), _size(case) * (1.0 if is_whole else 2.0**8))


@continuous.law
def one_query_at_a_time(f, case):
    """The last query alone has the last row of all"""
    *weights, queries, keys = case.arrays
    if queries.shape[-1]:
        alone = case.with_arrays(*weights, queries[..., -1:], keys).call(f)
        yield Claim(alone, case.call(f)[..., -1:, :], _size(case))


@continuous.law
def mirrored_positions_and_weights(f, case):
    """Query and key exchanged, with opposite weights of the distance, transpose the matrix"""
    w, u, v, b, queries, keys = case.arrays
    turned = case.with_arrays(-w, u, v, b, keys, queries).call(f)
    yield Claim(turned.swapaxes(-1, -2), case.call(f), _size(case))


@continuous.law
def axes_and_neurons_in_any_order(f, case):
    """Axes may be exchanged with their weights, and neurons among themselves"""
    w, u, v, b, queries, keys = case.arrays
    other = case.with_arrays(
        w[..., ::-1, ::-1],
        u[..., ::-1],
        v[..., ::-1, :],
        b,
        queries[..., ::-1, :],
        keys[..., ::-1, :],
    )
    yield Claim(other.call(f), case.call(f), _size(case))


@continuous.law
def written_out(f, case):
    """Neuron by neuron and axis by axis"""
    w, u, v, b, queries, keys = map(wide, case.arrays)
    delta = queries[..., :, :, None] - keys[..., :, None, :]
    distance, limit = case.options["distance"], case.options["limit"]
    if distance != "linear":
        base = 8.0 if distance == "log8" else np.e
        delta = np.where(delta < 0, -1.0, 1.0) * np.log(1.0 + np.abs(delta)) / np.log(base)
    total = b[..., :, None, None]
    for s in range(w.shape[-1]):
        hidden = (w[..., :, s, None, None] * delta).sum(axis=-3) + u[..., s, None, None]
        total = total + v[..., s, :, None, None] * np.maximum(hidden, 0.0)[..., None, :, :]
    if limit is not None:
        total = limit / (1.0 + np.exp(-total))
    yield Claim(case.call(f), total, _size(case))


@continuous.law
def limits_hold(f, case):
    """With a limit the bias lies between 0 and it; b and -b add up to it"""
    limit = 3.0
    w, u, v, b, *positions = case.arrays
    limited = case.with_options(limit=limit)
    value = wide(limited.call(f))
    yield Claim(np.clip(value, 0.0, limit), value, limit)
    opposite = wide(limited.with_arrays(w, u, -v, -b, *positions).call(f))
    yield Claim(value + opposite, np.full_like(value, limit), _size(limited))


# -------------------------------------------------------------------------------- closed forms


def _passing(positions, **options):
    """A network of one neuron that passes the sum of its inputs where it is positive."""
    axes = len(positions[0])
    weights = np.ones((axes, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)
    return Case((*weights, *map(np.array, positions)), options)


@continuous.closed_form
def whole_logarithms(rng, shape):
    """Distances 7, 63 and -7 are 1, 2 and -1 in base 8"""
    positions = [[63.0]], [[56.0, 0.0, 70.0]]
    return _passing(positions, distance="log8", limit=None), np.array([[[1.0, 2.0, 0.0]]])


@continuous.closed_form
def two_axes(rng, shape):
    """log 4 of rows and -log 2 of columns leave log 2"""
    positions = [[3], [0]], [[0], [1]]
    return _passing(positions, distance="log", limit=None), np.full((1, 1, 1), np.log(2.0))


@continuous.closed_form
def half_of_the_limit(rng, shape):
    """A network that gives 0 has half of the limit"""
    positions = [[0, 1], [0, 0]], [[5], [2]]
    return _passing(positions, distance="linear", limit=16.0), np.full((1, 2, 1), 8.0)


# ------------------------------------------------------------------------------------- mutants


wrong(continuous, "Distances are key minus query", arrays={"hidden_weights": lambda x: -x})


@continuous.mutant
def sign_lost(*arrays, **options):
    """Distances have no sign: rows and columns ahead look like those behind"""
    w, u, v, b, queries, keys = arrays
    xp = namespace(w)
    parts = []
    for i in range(queries.shape[-1]):
        at = queries[..., i : i + 1]
        parts.append(continuous_position_bias(w, u, v, b, at, at - abs(at - keys), **options))
    empty = continuous_position_bias(w, u, v, b, queries[..., :0], keys, **options)
    return xp.concatenate([empty, *parts], axis=-2)


wrong(
    continuous,
    "Distances are linear where they should be logarithms, or the reverse",
    options={"distance": lambda x: "log" if x == "linear" else "linear"},
)


@continuous.mutant
def other_base(*arrays, **options):
    """The logarithm has another base: e for 8 or 8 for e"""
    other = {"log": "log8", "log8": "log", "linear": "log"}[options["distance"]]
    return continuous_position_bias(*arrays, **options | {"distance": other})


@continuous.mutant
def limit_ignored(*arrays, **options):
    """The limit is ignored, or 16 where there is none"""
    limit = 16.0 if options["limit"] is None else None
    return continuous_position_bias(*arrays, **options | {"limit": limit})


wrong(
    continuous, "Rows are taken for columns", arrays={"hidden_weights": lambda x: x[..., ::-1, :]}
)


@continuous.mutant
def first_axis_only(*arrays, **options):
    """The first axis alone counts"""
    arrays = list(arrays)
    w = arrays[0]
    first = namespace(w).arange(w.shape[-2])[:, None] == 0
    arrays[0] = (w * first).astype(w.dtype)
    return continuous_position_bias(*arrays, **options)


@continuous.mutant
def no_rectifier(*arrays, **options):
    """The network has no maximum with 0: it is linear"""
    w, u, v, b, *positions = arrays
    plain = options | {"limit": None}
    value = continuous_position_bias(w, u, v, b, *positions, **plain)
    value = value - continuous_position_bias(-w, -u, v, 0 * b, *positions, **plain)
    if options["limit"] is None:
        return value
    return options["limit"] / (1 + namespace(w).exp(-value))


wrong(
    continuous,
    "The biases of the hidden layer are missing",
    arrays={"hidden_biases": lambda x: 0 * x},
)
wrong(continuous, "The biases of the output are missing", arrays={"output_biases": lambda x: 0 * x})


@continuous.mutant(gradient=True)
def rectifier_passes_all(*arrays, **options):
    """The gradient passes the maximum everywhere"""
    g, w, u, v, b, *positions = arrays
    found = continuous_position_bias.vjp(g, w, u, v, b, *positions, **options)
    other = continuous_position_bias.vjp(g, -w, -u, v, b, *positions, **options)
    return found[0] + other[0], found[1] + other[1], *found[2:]


@continuous.mutant(gradient=True)
def limit_without_slope(*arrays, **options):
    """The slope of the sigmoid is missing in the gradients"""
    return continuous_position_bias.vjp(*arrays, **options | {"limit": None})


@continuous.mutant(gradient=True)
def hidden_gradient_of_linear_distances(*arrays, **options):
    """The gradient of the weights has distances of the wrong kind"""
    other = "log" if options["distance"] == "linear" else "linear"
    found = continuous_position_bias.vjp(*arrays, **options)
    changed = continuous_position_bias.vjp(*arrays, **options | {"distance": other})
    return changed[0], *found[1:]
