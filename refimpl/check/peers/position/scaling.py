"""Adapters of public implementations of scaled rotary frequencies."""

from __future__ import annotations

from refimpl.check.peers import peer

_DTYPES = ("float64", "float32")
_FLOAT32 = {"float64": "it computes in float32"}


def _base(frequencies):
    """The base of which the frequencies are the powers b^(-i/h): that is what a model has."""
    import torch

    if frequencies.ndim > 1:
        raise NotImplementedError("one list of frequencies")
    h = len(frequencies)
    base = float(frequencies[1]) ** -h if h > 1 else 10000.0
    powers = base ** (-torch.arange(h, dtype=torch.float64) / h)
    if not torch.allclose(frequencies, powers, rtol=1e-9, atol=0.0):
        raise NotImplementedError("frequencies that are powers of a base")
    return base


def _whole(length):
    if length != int(length):
        raise NotImplementedError("a whole number of tokens")
    return int(length)


def _transformers(kind, frequencies, length=None, longest=1_000_000, base=None, **parameters):
    """Frequencies and attention factor of a model with one head."""
    from transformers import LlamaConfig, logging
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {name: value for name, value in parameters.items() if value is not None}
    rope = {"rope_type": kind, "rope_theta": base or _base(frequencies)} | parameters
    verbosity = logging.get_verbosity()
    # It warns of lengths that are not factor times the trained one.
    logging.set_verbosity_error()
    try:
        config = LlamaConfig(
            hidden_size=2 * len(frequencies),
            num_attention_heads=1,
            max_position_embeddings=longest,
            rope_parameters=rope,
        )
    finally:
        logging.set_verbosity(verbosity)
    return ROPE_INIT_FUNCTIONS[kind](config, None, seq_len=length)


@peer(
    "linear_scaled_frequencies",
    "transformers ROPE_INIT_FUNCTIONS['linear']",
    "torch",
    ("torch", "transformers"),
    dtypes=_DTYPES,
    because=_FLOAT32,
)
def transformers_linear(frequencies, *, factor):
    return _transformers("linear", frequencies, factor=float(factor))[0]


@peer(
    "dynamic_ntk_frequencies",
    "transformers ROPE_INIT_FUNCTIONS['dynamic']",
    "torch",
    ("torch", "transformers"),
    dtypes=_DTYPES,
    because=_FLOAT32,
)
def transformers_dynamic(frequencies, *, factor, length, trained_length):
    found = _transformers("dynamic", frequencies, int(length), trained_length, factor=float(factor))
    return found[0]


@peer(
    "yarn_frequencies",
    "transformers ROPE_INIT_FUNCTIONS['yarn']",
    "torch",
    ("torch", "transformers"),
    dtypes=_DTYPES,
    options={"ramp": "index"},
    because={d: "an mscale_all_dim of 0 counts as none, and mscale is then 1" for d in _DTYPES},
)
def transformers_yarn(
    frequencies,
    *,
    factor,
    trained_length,
    base,
    slow=1.0,
    fast=32.0,
    truncate=True,
    attention_factor=None,
    mscale=None,
    mscale_all_dim=None,
):
    import torch

    scaled, attention = _transformers(
        "yarn",
        frequencies,
        base=base,
        factor=float(factor),
        original_max_position_embeddings=_whole(trained_length),
        beta_slow=slow,
        beta_fast=fast,
        truncate=truncate,
        attention_factor=attention_factor,
        mscale=mscale,
        mscale_all_dim=mscale_all_dim,
    )
    return scaled, torch.tensor(attention, dtype=torch.float64)


@peer(
    "llama3_frequencies",
    "transformers ROPE_INIT_FUNCTIONS['llama3']",
    "torch",
    ("torch", "transformers"),
    dtypes=_DTYPES,
    because=_FLOAT32,
)
def transformers_llama3(frequencies, *, factor, trained_length, slow=1.0, fast=4.0):
    found = _transformers(
        "llama3",
        frequencies,
        factor=float(factor),
        original_max_position_embeddings=_whole(trained_length),
        low_freq_factor=slow,
        high_freq_factor=fast,
    )
    return found[0]


@peer(
    "longrope_frequencies",
    "transformers ROPE_INIT_FUNCTIONS['longrope']",
    "torch",
    ("torch", "transformers"),
    dtypes=_DTYPES,
    because=_FLOAT32,
)
def transformers_longrope(
    frequencies, *, short_factors, long_factors, factor, length, trained_length
):
    import torch

    scaled, attention = _transformers(
        "longrope",
        frequencies,
        int(length),
        short_factor=short_factors.tolist(),
        long_factor=long_factors.tolist(),
        factor=float(factor),
        original_max_position_embeddings=_whole(trained_length),
    )
    return scaled, torch.tensor(attention, dtype=torch.float64)


@peer(
    "proportional_frequencies",
    "transformers ROPE_INIT_FUNCTIONS['proportional']",
    "torch",
    ("torch", "transformers"),
    dtypes=_DTYPES,
    because=_FLOAT32,
)
def transformers_proportional(frequencies, *, fraction):
    return _transformers("proportional", frequencies, partial_rotary_factor=fraction)[0]


@peer(
    "ntk_frequencies",
    "rotary-embedding-torch theta_rescale_factor",
    "torch",
    ("torch", "rotary_embedding_torch"),
    dtypes=_DTYPES,
    because=_FLOAT32,
)
def lucidrains_ntk(frequencies, *, factor):
    from rotary_embedding_torch import RotaryEmbedding

    base = _base(frequencies)
    return RotaryEmbedding(
        2 * len(frequencies), theta=base, theta_rescale_factor=float(factor)
    ).freqs.detach()


@peer(
    "ntk_frequencies",
    "x-transformers base_rescale_factor",
    "torch",
    ("torch", "x_transformers"),
    dtypes=_DTYPES,
    because=_FLOAT32,
)
def x_transformers_ntk(frequencies, *, factor):
    from x_transformers.x_transformers import RotaryEmbedding

    base = _base(frequencies)
    return RotaryEmbedding(
        2 * len(frequencies), base=base, base_rescale_factor=float(factor)
    ).inv_freq


@peer(
    "position_query_scale",
    "transformers Ministral 3 get_llama_4_attn_scale",
    "torch",
    ("torch", "transformers"),
    dtypes=_DTYPES,
    options={"counted_from": 0},
    because={"float64": "it computes in float32 where positions are whole"},
)
def transformers_query_scale(positions, *, floor_scale=8192.0, attention_scale=0.1):
    from transformers.models.ministral3.modeling_ministral3 import get_llama_4_attn_scale

    rows = positions.reshape((1, -1))
    scale = get_llama_4_attn_scale(rows, attention_scale, floor_scale)
    return scale.reshape(positions.shape)
