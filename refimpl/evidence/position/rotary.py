"""Evidence for rotary embeddings: inputs, laws, closed forms, and the bugs that public code had."""

from __future__ import annotations

import numpy as np

from refimpl.backend import astype, like, namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import in_bfloat16, row_norms
from refimpl.position.rotary import rotary_embedding, rotary_frequencies

embedding = Evidence(
    rotary_embedding,
    sizes={"d": Sizes(2, 2, 32)},
    empty=("n",),
    options={
        "pairing": ("interleaved", "half"),
        "base": (500000.0,),
        "attention_factor": (1.2,),
    },
    combinations=(
        {"rotary_dim": 2},
        {"pairing": "half", "rotary_dim": 4},
        {"pairing": "half", "inverse": True, "attention_factor": 0.8},
    ),
    fixed={"pairing": "interleaved"},
)
frequencies = Evidence(
    rotary_frequencies,
    options={"dim": (2, 6, 96, 128)},
    fixed={"dim": 64},
)


# ------------------------------------------------------------------------ embedding: regimes


def _normal(rng, shape):
    return rng.standard_normal(shape.x)


@embedding.regime
def consecutive(rng, shape):
    """Positions 0, 1, 2, ..."""
    return Case((_normal(rng, shape), np.arange(shape.axes["n"])))


@embedding.regime
def continued(rng, shape):
    """Consecutive positions after a cache of some tokens"""
    return Case((_normal(rng, shape), int(rng.integers(1, 200)) + np.arange(shape.axes["n"])))


@embedding.regime
def repeated_and_unordered(rng, shape):
    """Positions in any order, some of them twice, as in packed sequences"""
    return Case((_normal(rng, shape), rng.integers(0, 64, shape.axes["n"])))


@embedding.regime(adversarial=True)
def long_positions(rng, shape):
    """Positions 1000 to 8191, which neither float16 nor bfloat16 can tell apart"""
    return Case((_normal(rng, shape), rng.integers(1000, 8192, shape.axes["n"])))


@embedding.regime(adversarial=True)
def far_positions(rng, shape):
    """Positions about one million, where float32 angles are off by some hundredths"""
    return Case((_normal(rng, shape), 1_000_000 + rng.integers(-500, 500, shape.axes["n"])))


@embedding.regime(adversarial=True)
def left_padding(rng, shape):
    """Positions that differ along the batch, as after left padding"""
    padding = rng.integers(0, shape.axes["n"] + 1, (*shape.batch, 1))
    return Case((_normal(rng, shape), np.maximum(np.arange(shape.axes["n"]) - padding, 0)))


@embedding.regime(adversarial=True)
def partial(rng, shape):
    """Only the first features rotate: about half of them"""
    rotary_dim = max(2, shape.axes["d"] // 4 * 2)
    positions = 5 + np.arange(shape.axes["n"])
    return Case((_normal(rng, shape), positions), {"rotary_dim": rotary_dim})


@embedding.regime(adversarial=True)
def given_frequencies(rng, shape):
    """Frequencies that are no powers of a base, and an attention factor, as in scaled variants"""
    theta = np.sort(rng.uniform(0.001, 1.0, max(1, shape.axes["d"] // 2)))[::-1].copy()
    positions = 3 + 2 * np.arange(shape.axes["n"])
    return Case((_normal(rng, shape), positions), {"frequencies": theta, "attention_factor": 1.3})


@embedding.regime(adversarial=True)
def wide_magnitude(rng, shape):
    """Features from a thousandth to a thousand in one token"""
    x = _normal(rng, shape) * 10.0 ** rng.uniform(-3.0, 3.0, shape.x)
    return Case((x, rng.integers(0, 500, shape.axes["n"])))


@embedding.regime(adversarial=True, advisory=True)
def fractional_and_negative(rng, shape):
    """Positions that no table holds: fractions, as after interpolation, and negative ones"""
    return Case((_normal(rng, shape), rng.uniform(-50.0, 50.0, shape.axes["n"])))


# --------------------------------------------------------------------------- embedding: laws


def _parts(case):
    """x and positions on the host in float64, and the number of features that rotate."""
    x, positions = map(wide, case.arrays)
    given = case.options.get("frequencies")
    r = case.options.get("rotary_dim") if given is None else 2 * given.shape[-1]
    return x, positions, x.shape[-1] if r is None else r


def _factor(case) -> float:
    return case.options.get("attention_factor", 1.0)


def _angle_size(case) -> float:
    """How much one rounding of an angle grows: 1 + the largest position."""
    return 1.0 + np.abs(wide(case.arrays[1])).max(initial=0.0)


def _next_to(case, y):
    """An output as an input of the same kind as x."""
    return astype(like(y, case.arrays[0]), case.arrays[0].dtype)


def _obeys(f, case, **options) -> bool:
    """Whether f takes these options: an implementation that lacks them answers as before."""
    before, after = case.call(f), case.with_options(**options).call(f)
    return before.shape != after.shape or bool((before != after).any())


@embedding.law
def norms_are_kept(f, case):
    """Rotation keeps the norm of the rotated features, times the attention factor"""
    x, _, r = _parts(case)
    y = wide(case.call(f))
    norms = np.broadcast_to(row_norms(x[..., :r]), (*y.shape[:-1], 1))
    yield Claim(row_norms(y[..., :r]), _factor(case) * norms, (1.0 + _factor(case)) * norms)


@embedding.law
def rotations_add(f, case):
    """Rotating by m and then by n is rotating by m + n"""
    x, positions = case.arrays
    later = positions[..., ::-1]
    once = case.with_arrays(x, positions + later)
    twice = case.with_arrays(_next_to(case, case.call(f)), later)
    left, right = wide(twice.call(f)), wide(once.call(f))
    right[..., : _parts(case)[2]] *= _factor(case)
    yield Claim(left, right, (1.0 + _factor(case)) ** 2 * row_norms(x) * _angle_size(once))


@embedding.law
def only_distances_matter(f, case):
    """Inner products of rotated queries and keys do not change if all positions shift"""
    x, positions = case.arrays
    keys, key_positions = x[..., ::-1, :], positions[..., ::-1]

    def products(shift):
        q = case.with_arrays(x, positions + shift).call(f)
        k = case.with_arrays(keys, key_positions + shift).call(f)
        return (wide(q) * wide(k)).sum(axis=-1)

    size = (row_norms(x) * row_norms(keys))[..., 0]
    scale = (1.0 + _factor(case)) ** 2 * size * (7.0 + _angle_size(case))
    yield Claim(products(0), products(7), scale)


@embedding.law
def is_a_block_diagonal_matrix(f, case):
    """The output is x times a matrix of 2 x 2 rotations, written out entry by entry"""
    x, positions, r = _parts(case)
    options = case.options
    theta = options.get("frequencies")
    if theta is None:
        theta = np.array([options.get("base", 10000.0) ** (-2.0 * i / r) for i in range(r // 2)])
    matrix = np.zeros((*positions.shape, x.shape[-1], x.shape[-1]))
    sign = -1.0 if options.get("inverse") else 1.0
    for i in range(r // 2):
        a, b = (2 * i, 2 * i + 1) if options["pairing"] == "interleaved" else (i, i + r // 2)
        angle = sign * positions * wide(theta)[..., None, i]
        matrix[..., a, a] = matrix[..., b, b] = _factor(case) * np.cos(angle)
        matrix[..., b, a] = _factor(case) * np.sin(angle)
        matrix[..., a, b] = -matrix[..., b, a]
    for j in range(r, x.shape[-1]):
        matrix[..., j, j] = 1.0
    expected = np.einsum("...ab,...b->...a", matrix, x)
    yield Claim(case.call(f), expected, (1.0 + _factor(case)) * row_norms(x) * _angle_size(case))


@embedding.law
def linear(f, case):
    """The output is linear in x"""
    x, positions = case.arrays
    other = 0.5 * x[..., ::-1, :]
    left = wide(case.with_arrays(x - other, positions).call(f))
    right = wide(case.call(f)) - wide(case.with_arrays(other, positions).call(f))
    size = row_norms(x) + row_norms(other)
    yield Claim(left, right, (1.0 + _factor(case)) * size)


@embedding.law
def position_zero_is_the_identity(f, case):
    """A token at position 0 is only scaled by the attention factor"""
    x, positions = case.arrays
    left = wide(case.with_arrays(x, 0 * positions).call(f))
    right = np.broadcast_to(wide(x), left.shape).copy()
    right[..., : _parts(case)[2]] *= _factor(case)
    yield Claim(left, right, (1.0 + _factor(case)) * row_norms(x))


@embedding.law
def other_features_pass(f, case):
    """Features beyond the rotary ones are the same bits as in x"""
    x, _, r = _parts(case)
    y = wide(case.call(f))[..., r:]
    yield Claim(y, np.broadcast_to(x[..., r:], y.shape), 0.0)


@embedding.law
def inverse_undoes(f, case):
    """Rotating back gives x, times the square of the attention factor"""
    back = not case.options.get("inverse", False)
    if not _obeys(f, case, inverse=back):
        return
    x, positions = case.arrays
    turned = case.with_arrays(_next_to(case, case.call(f)), positions)
    left = wide(turned.with_options(inverse=back).call(f))
    right = np.broadcast_to(wide(x), left.shape).copy()
    right[..., : _parts(case)[2]] *= _factor(case) ** 2
    yield Claim(left, right, (1.0 + _factor(case)) ** 2 * row_norms(right))


@embedding.law
def pairings_are_permutations(f, case):
    """With even features before odd ones, half is interleaved"""
    x, positions = case.arrays
    r = _parts(case)[2]
    interleaved = case.with_options(pairing="interleaved")
    if r == 2 or not _obeys(f, interleaved, pairing="half"):
        return
    order = [*range(0, r, 2), *range(1, r, 2), *range(r, x.shape[-1])]
    order = namespace(x).asarray(order)
    half = case.with_arrays(x[..., order], positions).with_options(pairing="half")
    scale = (1.0 + _factor(case)) * row_norms(x)
    yield Claim(half.call(f), interleaved.call(f)[..., order], scale)


# ------------------------------------------------------------------- embedding: closed forms


@embedding.closed_form
def one_pair(rng, shape):
    """The pair (1, 0) becomes (cos m, sin m)"""
    m = np.arange(shape.axes["n"])
    x = np.broadcast_to([1.0, 0.0], (*shape.batch, *m.shape, 2)).copy()
    answer = np.broadcast_to(np.stack([np.cos(m), np.sin(m)], axis=-1), x.shape)
    return Case((x, m), {"pairing": "interleaved"}), answer


@embedding.closed_form
def one_pair_back(rng, shape):
    """The pair (cos m, sin m) turns back to (1, 0)"""
    m = np.arange(shape.axes["n"])
    answer = np.broadcast_to([1.0, 0.0], (*shape.batch, *m.shape, 2))
    x = np.broadcast_to(np.stack([np.cos(m), np.sin(m)], axis=-1), answer.shape).copy()
    return Case((x, m), {"pairing": "interleaved", "inverse": True}), answer


@embedding.closed_form
def start_of_the_sequence(rng, shape):
    """Position 0 leaves x as it is"""
    x = _normal(rng, shape)
    return Case((x, np.zeros(shape.axes["n"], int)), {"pairing": "interleaved"}), x


@embedding.closed_form
def one_hot_pairs(rng, shape):
    """At position 3, pair i turns from (1, 0) to cosine and sine of 3 / 10000^(2i/d)"""
    d = shape.axes["d"]
    x = np.zeros((*shape.batch, d // 2, d))
    answer = np.zeros_like(x)
    for i in range(d // 2):
        angle = 3.0 / 10000.0 ** (2 * i / d)
        x[..., i, 2 * i] = 1.0
        answer[..., i, 2 * i], answer[..., i, 2 * i + 1] = np.cos(angle), np.sin(angle)
    return Case((x, np.full(d // 2, 3)), {"pairing": "interleaved"}), answer


def _known(pairing, answer):
    return Case((np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([3])), {"pairing": pairing}), answer


@embedding.closed_form
def known_interleaved(rng, shape):
    """(1, 2, 3, 4) at position 3 in interleaved pairs, by mpmath"""
    answer = [-1.27223251272018, -1.83886498514102, 2.87866810043698, 4.08818663560344]
    return _known("interleaved", np.array([answer]))


@embedding.closed_form
def known_half(rng, shape):
    """(1, 2, 3, 4) at position 3 in half pairs, by mpmath"""
    answer = [-1.41335252078005, 1.87911806668799, -2.82885748174147, 4.05819113540094]
    return _known("half", np.array([answer]))


@embedding.closed_form
def quarter_turns(rng, shape):
    """At frequency pi/2, token m turns m quarters: (a, b), (-b, a), (-a, -b), (b, -a)"""
    x = _normal(rng, shape)
    h = shape.axes["d"] // 2
    a, b = x[..., :h], x[..., h:]
    turned = [np.concatenate(y, axis=-1) for y in ((a, b), (-b, a), (-a, -b), (b, -a))]
    m = np.arange(shape.axes["n"])
    answer = np.choose(m[:, None] % 4, turned)
    return Case((x, m), {"pairing": "half", "frequencies": np.full(h, np.pi / 2)}), answer


# -------------------------------------------------------------------------------- frequencies


@frequencies.regime
def usual_bases(rng, shape):
    """The bases of published models, and some between them"""
    return Case((10.0 ** rng.uniform(3.0, 7.0, shape.base),))


@frequencies.regime(adversarial=True)
def extreme_bases(rng, shape):
    """Bases from a thousandth to 10^15"""
    return Case((10.0 ** rng.uniform(-3.0, 15.0, shape.base),))


def _exponent_size(case):
    """How much one rounding of an exponent grows: 1 + |log base|."""
    return 1.0 + np.abs(np.log(wide(case.arrays[0])))[..., None]


@frequencies.law
def first_is_one(f, case):
    """The first pair turns by one radian per position"""
    first = wide(case.call(f))[..., 0]
    yield Claim(first, np.ones(first.shape))


@frequencies.law
def geometric(f, case):
    """Each frequency is the geometric mean of its neighbours"""
    theta = wide(case.call(f))
    middle = theta[..., 1:-1] ** 2
    yield Claim(middle, theta[..., :-2] * theta[..., 2:], middle * _exponent_size(case))


@frequencies.law
def last_reaches_the_base(f, case):
    """One step beyond the last frequency is 1 / base"""
    theta = wide(case.call(f))
    h = theta.shape[-1]
    if h > 1:
        # log turns the h-th power, which would overflow, into a product.
        power = np.log(theta[..., -1]) * h / (h - 1)
        yield Claim(power, -np.log(wide(case.arrays[0])), _exponent_size(case)[..., 0])


@frequencies.law
def reciprocal_bases(f, case):
    """The frequencies of 1 / base are one over those of the base"""
    (base,) = case.arrays
    theta = wide(case.call(f))
    reciprocal = wide(case.with_arrays(1.0 / base).call(f))
    yield Claim(theta * reciprocal, np.ones(theta.shape), _exponent_size(case))


@frequencies.closed_form
def powers_of_four(rng, shape):
    """Base 2^dim gives 4^-i"""
    answer = np.broadcast_to(0.25 ** np.arange(5), (*shape.batch, 5))
    return Case((np.full(shape.base, 2.0**10),), {"dim": 10}), answer


@frequencies.closed_form
def powers_of_a_tenth(rng, shape):
    """Base 10000 and dim 8 give 1, 1/10, 1/100, 1/1000"""
    answer = np.broadcast_to([1.0, 0.1, 0.01, 0.001], (*shape.batch, 4))
    return Case((np.full(shape.base, 10000.0),), {"dim": 8}), answer


@frequencies.mutant
def one_based(base, *, dim):
    """Pairs count from 1: exponents are -2(i + 1)/dim"""
    return rotary_frequencies(base, dim=dim) / base[..., None] ** (2.0 / dim)


@frequencies.mutant(source="https://github.com/bkitano/llama-from-scratch/issues/8")
def one_lower(base, *, dim):
    """Exponents are -2(i - 1)/dim with i from 0"""
    return rotary_frequencies(base, dim=dim) * base[..., None] ** (2.0 / dim)


@frequencies.mutant
def ends_at_the_base(base, *, dim):
    """Exponents are -i/(dim/2 - 1), as in tensor2tensor: the last frequency is 1 / base"""
    exponents = namespace(base).arange(dim // 2, dtype="float64") / max(dim // 2 - 1, 1)
    return base[..., None] ** -exponents


wrong(frequencies, "Exponents are 2i/dim without the minus", output=lambda y: 1.0 / y)
wrong(
    frequencies,
    "Frequencies are rounded to bfloat16",
    output=in_bfloat16,
    source="https://github.com/EleutherAI/gpt-neox/issues/1016",
)


@frequencies.mutant(gradient=True)
def gradient_without_lowered_exponent(g, base, *, dim):
    """The derivative keeps the exponent -2i/dim instead of lowering it by one"""
    return (rotary_frequencies.vjp(g, base, dim=dim)[0] * base,)
