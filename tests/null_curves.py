"""Curves for the tests of nulls: drawn from the mechanism, and tables of single ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bigbench_meta import build_curves
from bigbench_meta.inference.nulls.links import SHARE
from bigbench_meta.inference.nulls.mechanism import MechanismCurves

SCALES = 10.0 ** np.arange(6, 12)
SMOOTH = np.round(np.exp(-np.exp(1.0 - 0.3 * np.log(SCALES / 1e8))), 2)
JUMP = np.array([0.02, 0.03, 0.03, 0.04, 0.85, 0.9])


def observations(scores, metric="exact_str_match", *, task="t", n=200, **columns):
    """One curve."""
    size = len(scores)
    return pd.DataFrame(
        {
            "benchmark": "b", "task": task, "model_family": "f", "metric": metric,
            "model_name": [f"m{i}" for i in range(size)], "total_params": SCALES[:size],
            "score": np.asarray(scores, dtype=float), "n_examples": n,
        }
        | columns
    )  # fmt: skip


def curves_of(*frames):
    return build_curves(pd.concat(frames, ignore_index=True))


def ragged(lengths, *, sigma=0.2, n=200, seed=0, jump=0.0, alpha=0.2):
    """Arrays of curves of the mechanism, whose log loss falls by ``jump`` in their middle."""
    rng = np.random.default_rng(seed)
    y, x = [], []
    for length in lengths:
        log = np.sort(rng.uniform(18, 24, length))
        rise = np.where(np.arange(length) >= length // 2, -jump / 2, jump / 2)
        log_loss = rise - alpha * (log - log.mean()) + sigma * rng.standard_normal(length)
        y.append(rng.binomial(n, np.exp(-np.exp(log_loss))) / n)
        x.append(np.exp(log))
    offsets = np.cumsum([0, *lengths])
    return np.concatenate(y), np.concatenate(x), np.full(offsets[-1], float(n)), offsets


def mechanism_curves(lengths, *, floor=0.0, link=SHARE, known=np.nan, **options):
    """The same as curves, with what is known of them."""
    arrays = ragged(lengths, **options)
    return MechanismCurves.checked(*arrays, floor=floor, link=link, sigma=known)


def family_arrays(m, sigma, *, n=500, seed=0, spread=0.0):
    """Arrays of curves of one family of eight models, with a lognormal sigma."""
    rng = np.random.default_rng(seed)
    log = np.linspace(18, 24, 8)
    level, alpha = rng.uniform(-1, 1, (m, 1)), rng.uniform(0.05, 0.3, (m, 1))
    own = sigma * np.exp(spread * rng.standard_normal((m, 1)))
    log_loss = level - alpha * (log - log.mean()) + own * rng.standard_normal((m, 8))
    y = rng.binomial(n, np.exp(-np.exp(log_loss))) / n
    return y.ravel(), np.tile(np.exp(log), m), np.full(8 * m, float(n)), np.arange(m + 1) * 8
