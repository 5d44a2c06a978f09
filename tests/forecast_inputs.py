"""Curves to be forecast: lists of scores at growing sizes, and rising ones drawn at random."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bigbench_meta import build_curves


def observations(*curves, n_examples=1000, metric="exact_str_match", x=None, family="f"):
    """A table of curves, each a list of scores at growing sizes."""
    rows = []
    for number, scores in enumerate(curves):
        for place, score in enumerate(scores):
            if score is not None:
                rows.append({
                    "benchmark": "b", "task": f"t{number}", "metric": metric,
                    "model_family": family,
                    "model_name": f"m{place}", "score": score, "n_examples": n_examples,
                    "total_params": int(10**8 * 10 ** (place / 2)) if x is None else x[place],
                })  # fmt: skip
    return pd.DataFrame(rows)


def curves_of(*curves, **options):
    return build_curves(observations(*curves, **options))


def rising(seed=0, n=9, m=1):
    rng = np.random.default_rng(seed)
    u = np.linspace(0, 1, n)
    mean = 0.05 + 0.8 / (1 + np.exp(-8 * (u - rng.uniform(0.4, 0.9, (m, 1)))))
    return rng.binomial(1000, mean) / 1000


def one_row(frame):
    assert len(frame) == 1
    return frame.iloc[0]
