"""The table of all formulas: how they get into it, and how they are found."""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator

from refimpl.formula.record import Formula

TOPICS = ("attention", "position", "gaussian", "sketch", "critic", "language")

TABLE: dict[str, Formula] = {}
"""Every registered formula by name."""

BROKEN: dict[str, Exception] = {}
"""Topic files that could not be imported, with what they raised."""

ALIASES = {
    "sdpa": "softmax_attention",
    "scaled_dot_product_attention": "softmax_attention",
    "flash": "softmax_attention",
    "flash_attention": "softmax_attention",
    "mha": "softmax_attention",
    "swa": "softmax_attention",
    "sliding_window": "softmax_attention",
    "gqa": "grouped_query_attention",
    "mqa": "grouped_query_attention",
    "mla": "latent_attention",
    "gla": "gated_linear_attention",
    "ssd": "state_space_duality",
    "mamba2": "state_space_duality",
    "retnet": "retention",
    "gau": "gated_attention_unit",
    "flash_gau": "mixed_chunk_attention",
    "deltanet": "delta_rule",
    "lsh_attention": "hashed_attention",
    "reformer": "hashed_attention",
    "favor": "favor_features",
    "performer": "performer_attention",
    "nystromformer": "nystrom_attention",
    "lse": "attention_logsumexp",
    "rope": "rotary_embedding",
    "mrope": "multimodal_rotary_embedding",
    "xpos": "xpos_embedding",
    "yarn": "yarn_frequencies",
    "ntk": "ntk_frequencies",
    "alibi": "alibi_bias",
    "t5": "t5_bias",
    "deberta": "disentangled_logits",
    "cope": "contextual_bias",
    "floater": "flow_encoding",
    "kl": "gaussian_kl",
    "kl_divergence": "gaussian_kl",
    "nll": "gaussian_log_density",
    "mvn": "gaussian_log_density",
    "fid": "frechet_distance",
    "bures": "bures_squared",
    "w2": "wasserstein_distance",
    "bc": "bhattacharyya_coefficient",
    "hellinger": "hellinger_squared",
    "mmd": "gaussian_mmd_squared",
    "js": "geometric_jensen_shannon",
    "tv": "total_variation_univariate",
}
"""What the field calls a formula, in small letters."""


def formula(signature: str, *, source: str, **declaration) -> Callable[[Callable], Formula]:
    """Register a function as a formula. Its options are declared by its own annotations.

    Parameters
    ----------
    signature : str
        gufunc signature of the positional arrays and the outputs (see :mod:`refimpl.signature`).
    source : str
        Paper and equation, essay.
    keywords : mapping, optional
        Core axes of arrays that are passed by keyword, e.g. ``{"mask": "(n|1,m|1)"}``.
    kinds : mapping, optional
        What an array may hold where it is not ``"real"``: ``"boolean"``, ``"index"``, or
        ``"exact"`` (integers or float64, for positions and angles).
    differentiable : tuple of str or bool
        Arrays with a gradient; by default all real ones. False needs a ``reason``.
    returns : str
        "boolean" for outputs that select, "index" for whole numbers (int64); "real" by default.
    """

    def register(body: Callable) -> Formula:
        record = Formula(body, signature, source=source, **declaration)
        if record.name in TABLE and TABLE[record.name].module != record.module:
            raise ValueError(
                f"two formulas named {record.name}: {TABLE[record.name].module}, {record.module}"
            )
        TABLE[record.name] = record
        return record

    return register


def load_table() -> dict[str, Formula]:
    """Import every topic file of the library, so that the table is whole, and return the table.

    A file that cannot be imported is left out, so that it does not take the others with it; see
    :data:`BROKEN`.
    """
    _import_topics()
    return TABLE


@functools.cache
def _import_topics() -> None:
    package = importlib.import_module("refimpl")
    for topic in pkgutil.iter_modules(package.__path__, "refimpl."):
        if topic.name.rpartition(".")[2] in TOPICS:
            path = importlib.import_module(topic.name).__path__
            for file in pkgutil.iter_modules(path, topic.name + "."):
                _import_file(file.name)


def _import_file(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 (whatever a file under work raises)
        BROKEN[name] = error


def formulas(topic: str | None = None) -> Iterator[Formula]:
    """All registered formulas, by topic and name."""
    for record in sorted(load_table().values(), key=lambda f: (f.topic, f.name)):
        if topic in (None, record.topic):
            yield record


def find(name: str) -> Formula:
    """The formula of that name, or that the field calls so; KeyError names the closest ones."""
    table = load_table()
    known = name if name in table else ALIASES.get(name.lower().replace("-", "_"), name)
    if known in table:
        return table[known]
    close = difflib.get_close_matches(name, table, n=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(close)}?" if close else ""
    raise KeyError(f"no formula {name!r}{hint}{_what_is_broken()}")


def _what_is_broken() -> str:
    if not BROKEN:
        return ""
    shown = (f"{name}: {type(error).__name__}: {error}" for name, error in BROKEN.items())
    return f" (not imported: {'; '.join(shown)})"


def search(word: str) -> Iterator[Formula]:
    """Formulas with the word in their name, aliases, summary or conventions, in this order."""
    wanted = word.lower()
    aliases = {name for alias, name in ALIASES.items() if wanted in alias}
    records = list(formulas())
    texts: list[Callable[[Formula], str]] = [
        lambda f: f.name,
        lambda f: wanted if f.name in aliases else "",
        lambda f: f.summary.lower(),
        lambda f: f.documentation.lower(),
    ]
    seen = set()
    for text in texts:
        for record in records:
            if record.name not in seen and wanted in text(record):
                seen.add(record.name)
                yield record
