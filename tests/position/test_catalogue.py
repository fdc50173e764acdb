"""The public bugs of position encodings: each has a wrong variant that dies, or a test here.

The kill matrix rejects the variants; rows that need a cache or a state are asked below.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from refimpl.check import check
from refimpl.check.candidate import Candidate
from refimpl.evidence import evidence
from refimpl.formula import find, formulas
from refimpl.numerics import round_to
from refimpl.position.longrope import longrope_frequencies
from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.scaling import dynamic_ntk_frequencies

CATALOGUE = {
    "pairing": "rotary_embedding: other_pairing table_of_the_other_pairing left_permuted "
    "rotated_twice",
    "angles in half precision": "rotary_embedding: angles_in_float16 positions_in_bfloat16 "
    "frequencies_in_bfloat16 tables_in_bfloat16",
    "centre of cached keys in xPos": "xpos_embedding: keys_have_their_own_centre",
    "centre that moves in xPos": "xpos_embedding: centre_of_the_sequence "
    "centre_of_the_highest_position",
    "rotation along the heads": "rotary_embedding: positions_along_the_heads",
    "base that is never reset": "dynamic_ntk_frequencies: never_reset longest_length_always",
    "frequencies of a part": "rotary_embedding: exponent_from_the_head pairs_across_the_head",
    "proportional for partial": "proportional_frequencies: frequencies_of_the_part all_pairs_turn",
    "split of axes": "axial_rotary_embedding: other_split axes_swapped",
    "ramp of YaRN": "yarn_frequencies: other_ramp wavelengths_blended",
    "ends of the ramp": "yarn_frequencies: ends_always_rounded ends_never_rounded "
    "clipped_to_the_last_pair ends_swapped",
    "attention factor": "yarn_frequencies: given_attention_factor_ignored attention_factor_squared "
    "attention_factor_through_the_rule_again mscale_alone",
    "attention factor unused": "rotary_embedding: attention_factor_ignored",
    "scaling of Llama 3": "llama3_frequencies: not_scaled blended_by_wavelength",
    "list of LongRoPE": "longrope_frequencies: list_of_the_longest_length "
    "long_from_the_trained_length_on",
    "slopes of ALiBi": "alibi_slopes: the_other_rule counts_from_zero",
    "places in ALiBi": "alibi_bias: one_too_far queries_from_zero keys_by_their_place "
    "key_index_for_all",
    "ALiBi of Falcon": "alibi_bias: scaled_like_the_logits rounded_to_bfloat16",
    "buckets of T5": "t5_buckets: logarithms_in_bfloat16 decoding_step_off_by_one "
    "sign_of_the_distance",
    "index of DeBERTa": "disentangled_logits: the_other_index both_indices_turned",
    "shift without a mask": "transformer_xl_logits: later_keys_by_the_shift",
    "slice of the shift": "relative_shift: last_row_dropped",
    "columns of sinusoids": "sinusoidal_encoding: the_other_layout column_as_index "
    "last_column_of_odd_width_missing",
    "left padding": "token_positions: padding_counted",
    "rows before the table": "learned_encoding: offset_ignored",
    "sections of M-RoPE": "multimodal_rotary_embedding: other_arrangement",
    "interpolated tables": "interpolated_encoding: the_other_corners by_a_rounded_factor",
    "backward pass": "rotary_embedding: gradient_with_the_other_pairing",
}
# Seen in code or by running it; nobody has filed them.
WITHOUT_A_THREAD = {
    "unequal lengths in DeBERTa": "deberta_log_buckets: sizes_exchanged",
    "queries of a cache in DeBERTa": "disentangled_logits: queries_of_a_cache_from_zero",
    "text after a video": "multimodal_positions: frames_forgotten",
    "complex products": "complex_products: one_cross_term_twice",
}


def _mutants(row):
    name, _, mutants = row.partition(": ")
    return [evidence(find(name)).mutants[mutant] for mutant in mutants.split()]


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=CATALOGUE)
def test_a_public_bug_is_a_mutant_with_a_thread(row):
    assert any(mutant.source for mutant in _mutants(row))


@pytest.mark.parametrize("row", WITHOUT_A_THREAD.values(), ids=WITHOUT_A_THREAD)
def test_a_bug_that_was_only_seen_is_a_mutant(row):
    assert not any(mutant.source for mutant in _mutants(row))


# ---------------------------------------------------------------------- bugs that need a state

THETA = rotary_frequencies(10000.0, dim=16)


def _dynamic(length):
    return dynamic_ntk_frequencies(THETA, factor=4.0, length=length, trained_length=8), 1.0


def _longrope(length):
    lists = {"short_factors": np.ones(8), "long_factors": np.linspace(1.0, 8.0, 8)}
    return longrope_frequencies(THETA, **lists, length=length, factor=2.0, trained_length=8)


@pytest.mark.parametrize("frequencies", [_dynamic, _longrope])
def test_keys_that_were_rotated_before_the_frequencies_changed_are_wrong(frequencies):
    """huggingface/transformers issue 25104 and ggml-org/llama.cpp issue 24875.

    A cache must keep keys as they are, and rotate all of them by the frequencies of the moment.
    """
    n = 16
    q, k = np.random.default_rng(0).standard_normal((2, n, 16))

    def rotated(x, at, length):
        theta, factor = frequencies(length)
        return rotary_embedding(x, at, pairing="half", frequencies=theta, attention_factor=factor)

    prefill = rotated(q, range(n), n) @ rotated(k, range(n), n).T
    query = rotated(q[-1:], [n - 1], n)
    unrotated_cache = rotated(k, range(n), n)
    np.testing.assert_allclose(query @ unrotated_cache.T, prefill[-1:], rtol=1e-12)
    rotated_cache = np.stack([rotated(k[[i]], [i], i + 1)[0] for i in range(n)])
    assert np.abs(query @ rotated_cache.T - prefill[-1]).max() > 0.1


class _Cached:
    """Tables of the first call, in its precision, serve all later ones."""

    def __init__(self):
        self.positions = None

    def __call__(self, x, positions):
        if self.positions is None:
            self.positions = round_to(np.arange(10_000.0), "bfloat16")
        return rotary_embedding(x, self.positions[positions], pairing="half")


def test_tables_that_a_first_call_left_in_bfloat16_are_seen_in_float32():
    """rotary-embedding-torch at 8bb4643 builds positions in the type of the query, and keeps them.

    A fresh object passes in bfloat16, which cannot tell; the same object fails in float32 then.
    """
    poisoned = _Cached()
    x = np.random.default_rng(0).standard_normal((300, 16))
    poisoned(x, np.arange(300))
    options = {"pairing": "half"}
    candidate = Candidate("cached tables", poisoned, "numpy")
    result = check(rotary_embedding, candidate, dtype="float32", options=options)
    assert result.verdict == "fail"
    assert any("bfloat16" in e.text for e in result.explanations)


POSITIONS = [
    (formula, argument.name)
    for formula in formulas("position")
    for argument in formula.arguments
    if argument.kind in ("exact", "index")
]


@pytest.mark.parametrize(
    ("formula", "name"), POSITIONS, ids=[f"{f.name}-{name}" for f, name in POSITIONS]
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_positions_that_lost_their_digits_are_refused(formula, name, dtype):
    """Of every formula: which 256 tokens have the position 256 cannot be told any more."""
    record = evidence(formula)
    axes = dict.fromkeys(formula.axes, 4)
    case = record.sample(next(iter(record.regimes)), axes)
    arrays = [
        x.astype(getattr(ml_dtypes, dtype, dtype)) if a.name == name else x
        for a, x in zip(formula.arguments, case.arrays, strict=True)
    ]
    with pytest.raises(TypeError, match=f"{name}: expected integers.*got {dtype}"):
        case.with_arrays(*arrays).call(formula)
