"""Distances of Gaussians: many small pairs at once, and Frechet distances of 2048 features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import refimpl
from refimpl.check.peers.gaussian import divergence, transport
from tools.bench import Job, Rival, contest, on_torch, ours

SMALL = 8
LARGE = 2048
SAMPLES = 500
SCIPY = "pytorch-fid (SciPy's sqrtm)"


def small(quick: bool) -> Iterator[str]:
    """Pairs of d = 8 in one call; POT takes one pair a call, so it gets fewer."""
    count = 10_000 if quick else 100_000
    for dtype in ("float32", "float64"):
        pair = _pairs(count, SMALL, dtype)
        size = f"{count} pairs,d={SMALL}"
        for name, formula, label, function in (
            ("KL", refimpl.gaussian_kl, "torch.distributions", divergence.torch_kl),
            ("Bhattacharyya", refimpl.bhattacharyya_distance, "torch, textbook", _bhattacharyya),
            ("W2 squared", refimpl.wasserstein_squared, "torch, eigvalsh of L' S L", _wasserstein),
        ):
            rival = Rival(label, ("torch",), lambda f=function, pair=pair: f(*on_torch(*pair)))
            entry = ours(lambda f=formula, pair=pair: f(*pair))
            yield from contest(Job(name, size, dtype), [entry], [rival])
    yield from _few(_pairs(200, SMALL, "float64"))


def _few(pair) -> Iterator[str]:
    job = Job("W2 squared", f"{len(pair[0])} pairs,d={SMALL}", "float64")

    def one_by_one(function):
        return lambda: np.array([float(function(*each)) for each in zip(*pair, strict=True)])

    def pot(*each):
        return transport.pot_wasserstein(*each) ** 2

    rivals = [
        Rival("POT, pair by pair", ("ot",), one_by_one(pot)),
        Rival(f"{SCIPY}, pair by pair", _FID, one_by_one(transport.pytorch_fid)),
        Rival("torchmetrics, pair by pair", _METRICS, one_by_one(_torchmetrics)),
    ]
    yield from contest(job, [ours(lambda: refimpl.wasserstein_squared(*pair))], rivals)


_FID = ("pytorch_fid", "scipy", "torch")
_METRICS = ("torchmetrics", "torch")


def large(quick: bool) -> Iterator[str]:
    """From moments, by the form that keeps all digits and by the fast one; and from samples."""
    d = LARGE // 4 if quick else LARGE
    pair = [x[0] for x in _pairs(1, d, "float64")]
    formula = refimpl.wasserstein_squared
    entries = [
        ours(lambda: formula(*pair)),
        ours(lambda: formula(*pair, form="textbook"), "refimpl form=textbook"),
    ]
    rivals = [
        Rival("POT", ("ot",), lambda: transport.pot_wasserstein(*pair) ** 2),
        Rival(SCIPY, _FID, lambda: transport.pytorch_fid(*pair)),
        Rival("torchmetrics (eigvals)", _METRICS, lambda: _torchmetrics(*pair)),
    ]
    job = Job("Frechet distance of moments", f"d={d}", "float64")
    yield from contest(job, entries, rivals, seconds=0.0, rounds=3 if quick else 1)
    yield from _of_samples(d, 3 if quick else 1)


def _of_samples(d: int, rounds: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, SAMPLES, d)) * rng.uniform(0.5, 1.5, (2, 1, d))

    def of_moments(function):
        moments = (m for s in (x, y) for m in (s.mean(axis=0), np.cov(s, rowvar=False)))
        return function(*moments)

    rivals = [
        Rival(SCIPY, _FID, lambda: of_moments(transport.pytorch_fid)),
        Rival("torchmetrics (eigvals)", _METRICS, lambda: of_moments(_torchmetrics)),
    ]
    job = Job("Frechet distance of samples", f"n={SAMPLES}+{SAMPLES},d={d}", "float64")
    entry = ours(lambda: refimpl.frechet_distance(x, y, ddof=1))
    yield from contest(job, [entry], rivals, seconds=0.0, rounds=rounds)


def _pairs(count: int, d: int, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = []
    for _ in range(2):
        factor = rng.standard_normal((count, d, d)) / d**0.5
        arrays += [rng.standard_normal((count, d)), factor @ factor.swapaxes(-1, -2) + np.eye(d)]
    return [x.astype(dtype) for x in arrays]


# ------------------------------------------------------------------ what people write in torch


def _torchmetrics(*moments):
    return transport.torchmetrics_fid(*on_torch(*moments))


def _bhattacharyya(mean_p, cov_p, mean_q, cov_q):
    import torch

    middle = (cov_p + cov_q) / 2
    gap = (mean_p - mean_q)[..., None]
    distance = (gap.mT @ torch.linalg.solve(middle, gap))[..., 0, 0] / 8
    of_p, of_q, of_middle = (torch.linalg.slogdet(c).logabsdet for c in (cov_p, cov_q, middle))
    return distance + of_middle / 2 - (of_p + of_q) / 4


def _wasserstein(mean_p, cov_p, mean_q, cov_q):
    import torch

    factor = torch.linalg.cholesky(cov_p)
    squares = torch.linalg.eigvalsh(factor.mT @ cov_q @ factor).clamp(min=0)
    traces = cov_p.diagonal(dim1=-2, dim2=-1).sum(-1) + cov_q.diagonal(dim1=-2, dim2=-1).sum(-1)
    return ((mean_p - mean_q) ** 2).sum(-1) + traces - 2 * squares.sqrt().sum(-1)
