"""How long the inference on a curve takes, and the yardstick of a study.

    python benchmarks/inference.py --curves 1000

Simulates curves of 12 sizes under exact match and multiple choice by the formulas of Schaeffer et
al. (2023), sec. 2, and measures the time of one processor: for all evidence on a curve, with as
many replicates as the search needs, and for the simulated studies of the yardstick.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

import bigbench_meta as bm
from bigbench_meta.inference.curve_evidence import curve_evidence, default_replicates

TASKS = 20  # of a model family
EXAMPLES = 400


def observations(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return scores of n curves: half exact match of three tokens, half of three choices."""
    gaps = rng.exponential(1.0, (n // TASKS + 1, 11)) + 0.15
    places = np.concatenate([np.zeros((len(gaps), 1)), gaps.cumsum(axis=1)], axis=1)
    sizes = np.rint(1e8 * 10 ** (3.5 * places / places[:, -1:])).repeat(TASKS, axis=0)[:n]
    log_size = np.log(sizes) - np.log(sizes).mean(axis=1, keepdims=True)
    loss = rng.uniform(0.15, 2.0, (n, 1)) * np.exp(-rng.uniform(0.05, 0.34, (n, 1)) * log_size)
    loss *= np.exp(0.1 * rng.standard_normal(loss.shape))
    choice = np.arange(n)[:, None] % 2 == 1
    right = np.where(choice, 1 / 3 + 2 / 3 * np.exp(-loss), np.exp(-3 * loss))
    family = np.arange(n) // TASKS
    return pd.DataFrame(
        {
            "benchmark": "simulated",
            "task": np.repeat([f"task {i}" for i in range(n)], 12),
            "metric": np.repeat(
                np.where(choice[:, 0], "multiple_choice_grade", "exact_str_match"), 12
            ),
            "model_family": np.repeat([f"family {i}" for i in family], 12),
            "model_name": sizes.ravel().astype(str),
            "total_params": sizes.ravel(),
            "score": rng.binomial(EXAMPLES, right).ravel() / EXAMPLES,
            "n_examples": EXAMPLES,
            "low_score": np.repeat(np.where(choice[:, 0], 1 / 3, 0.0), 12),
            "high_score": 1.0,
        }
    )


def curves(n: int, rng: np.random.Generator) -> bm.Curves:
    """Return these curves."""
    return bm.build_curves(observations(n, rng))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--curves", type=int, default=1000)
    n = parser.parse_args().curves
    some = curves(n, np.random.default_rng(0))
    curve_evidence(curves(TASKS, np.random.default_rng(1)), n_boot=99)  # imports, tables
    start = time.process_time()
    curve_evidence(some)
    each = (time.process_time() - start) / n
    print(f"evidence: {1000 * each:.1f} ms a curve, {default_replicates(n):,} replicates at most")
    print(f"100,000 curves on two processors: about {each * 1e5 / 2 / 60:.0f} minutes")
    start = time.process_time()
    found = bm.expected_if_smooth(some, bm.score_curves(some))
    each = (time.process_time() - start) / n
    studies = int(found["n_studies"].iloc[0])
    print(f"yardstick: {1000 * each:.1f} ms a curve, {studies} studies")


if __name__ == "__main__":
    main()
