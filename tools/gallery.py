"""Pictures of position encodings: ``python -m tools.gallery [--out FOLDER] [NAME ...]``.

What is drawn comes from functions of its own, which need no matplotlib and are tested.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.bias import alibi_bias, kerple_bias
from refimpl.position.decay import (
    abel_decay_bound,
    remote_decay_integral,
    sinusoid_inner_product,
)
from refimpl.position.grid import grid_sinusoidal_encoding
from refimpl.position.rotary import rotary_frequencies
from refimpl.position.sandwich import sandwich_bias
from refimpl.position.scaling import (
    dynamic_ntk_frequencies,
    linear_scaled_frequencies,
    ntk_frequencies,
    radix_frequencies,
)
from refimpl.position.scaling_by_parts import llama3_frequencies, yarn_frequencies

Curves = dict[str, np.ndarray]

_FAMILIES = {
    r"$10000^{-t}$": ("exponential", 10000.0),
    r"$1000^{-t}$": ("exponential", 1000.0),
    r"$\sqrt{t}$": ("power", 0.5),
    r"$t$": ("power", 1.0),
    r"$t^2$": ("power", 2.0),
}
_DIM = 128

# ---------------------------------------------------------------------------- what is drawn


def decay_curves(distances: np.ndarray) -> Curves:
    """Mean cosines of infinitely many pairs, for families of frequencies."""
    return {
        label: remote_decay_integral(distances, family=family, parameter=parameter)[0]
        for label, (family, parameter) in _FAMILIES.items()
    }


def sum_and_integral(distances: np.ndarray) -> Curves:
    """Sinusoids of width 128, their limit, and the bound of rotary embedding by partial sums."""
    theta = rotary_frequencies(10000.0, dim=_DIM)
    (limit, _) = remote_decay_integral(distances, family="exponential", parameter=10000.0)
    return {
        "mean of 64 cosines": sinusoid_inner_product(distances, theta) / theta.size,
        "integral": limit,
        "mean partial sum, relative": abel_decay_bound(distances, theta)
        / abel_decay_bound(np.zeros(1), theta),
    }


def gram_matrices() -> Curves:
    """Inner products of encodings of 128 places, or of the cells of a grid of 12 x 12."""
    options = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}
    tables = {
        f"sinusoids, base {base}": sinusoidal_encoding(
            np.arange(128), dim=_DIM, base=float(base), **options
        )
        for base in (10000, 100)
    }
    tables["sinusoids in a grid, base 100"] = grid_sinusoidal_encoding(
        *np.indices((12, 12)).reshape(2, -1), dim=_DIM, first="rows", base=100.0, **options
    )
    return {label: table @ table.T for label, table in tables.items()}


def scaled_spectra(factor: float = 8.0, trained_length: int = 4096) -> Curves:
    """Scaled frequencies over plain ones, pair by pair: 1 stays, 1/factor is interpolation."""
    theta = rotary_frequencies(10000.0, dim=_DIM)
    yarn = {"factor": factor, "trained_length": trained_length, "base": 10000.0}
    scaled = {
        "interpolation": linear_scaled_frequencies(theta, factor=factor),
        "NTK-aware": ntk_frequencies(theta, factor=factor),
        "dynamic NTK of factor 2": dynamic_ntk_frequencies(
            theta, factor=2.0, length=factor * trained_length, trained_length=trained_length
        ),
        "mixed radix, b = 0.625": radix_frequencies(
            theta, factor=factor, kind="mixed", exponent=0.625
        ),
        "YaRN, ramp in the index": yarn_frequencies(theta, ramp="index", **yarn)[0],
        "YaRN, ramp in turns": yarn_frequencies(theta, ramp="turns", **yarn)[0],
        "Llama 3": llama3_frequencies(theta, factor=factor, trained_length=trained_length),
    }
    return {label: found / theta for label, found in scaled.items()}


def bias_curves(distances: np.ndarray) -> Curves:
    """What is added to the logit of a key so many tokens back."""
    here = np.zeros(1)

    def of(bias, *parameters, **options):
        return bias(*(np.array([p]) for p in parameters), here, -distances, **options)[0, 0]

    return {
        "ALiBi, slope 1/16": of(alibi_bias, 1 / 16, sides="causal"),
        "ALiBi, slope 1/256": of(alibi_bias, 1 / 256, sides="causal"),
        "KERPLE, logarithm": of(kerple_bias, 2.0, 0.5, kernel="log"),
        "KERPLE, power 1/2": of(kerple_bias, 0.5, 0.5, kernel="power"),
        "Sandwich, head 8 of 8": sandwich_bias(
            rotary_frequencies(10000.0, dim=_DIM), here, -distances, heads=8, centred=True
        )[-1, 0],
    }


# --------------------------------------------------------------------------------- pictures


def _lines(axes, x, curves: Curves, **labels) -> None:
    for label, y in curves.items():
        axes.plot(x, y, label=label, linewidth=1.2)
    if labels.get("yscale") != "log":
        axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.set(**labels)
    axes.legend(fontsize="small")


def draw_decay(figure) -> None:
    near, far, sums = figure.subplots(1, 3)
    x = np.linspace(0.0, 128.0, 1025)
    _lines(near, x, decay_curves(x), xlabel="distance", title="mean cosine, near")
    x = np.geomspace(1.0, 1e5, 2000)
    _lines(far, x, decay_curves(x), xlabel="distance", xscale="log", title="and far")
    x = np.arange(512)
    _lines(sums, x, sum_and_integral(x), xlabel="distance", title="64 pairs and their limit")


def draw_gram(figure) -> None:
    matrices = gram_matrices()
    for axes, (label, matrix) in zip(figure.subplots(1, 3), matrices.items(), strict=True):
        figure.colorbar(axes.imshow(matrix, cmap="viridis"), ax=axes, shrink=0.8)
        axes.set(title=label)


def draw_spectra(figure) -> None:
    spectra = scaled_spectra()
    _lines(
        figure.subplots(),
        np.arange(_DIM // 2),
        spectra,
        xlabel="pair",
        yscale="log",
        title="scaled over plain frequency, 8 times the trained length of 4096",
    )


def draw_biases(figure) -> None:
    x = np.arange(256)
    _lines(figure.subplots(), x, bias_curves(x), xlabel="tokens back", title="added to the logit")


PICTURES: dict[str, tuple[Callable, tuple[float, float]]] = {
    "decay": (draw_decay, (15.0, 4.5)),
    "gram": (draw_gram, (14.0, 4.5)),
    "spectra": (draw_spectra, (7.0, 5.0)),
    "biases": (draw_biases, (7.0, 5.0)),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[*PICTURES, []], help="all by default"
    )
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder for the pictures")
    options = parser.parse_args(arguments)
    # The figure itself, not pyplot: no window system is asked for.
    from matplotlib.figure import Figure

    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or PICTURES:
        draw, size = PICTURES[name]
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(options.out / f"{name}.png", dpi=150)
        print(options.out / f"{name}.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
