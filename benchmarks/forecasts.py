"""Time forecasts, shapes and trends of synthetic curves, in seconds of one core.

Example:
    python benchmarks/forecasts.py --curves 10000
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from bigbench_meta.curves.build import build_curves
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves
from bigbench_meta.inference.shapes.curve_shapes import curve_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bigbench_meta.curves.build import Curves

WITHOUT_BROKEN = ("constant", "log_linear", "power_law", "step", "logistic")


def synthetic_curves(m: int, seed: int = 0) -> Curves:
    """Return logistic curves of 5 to 12 scales, scored on 100 or 1,000 examples."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 13, m)
    place = np.concatenate([np.arange(n) for n in lengths])
    u = np.concatenate([np.linspace(0, 1, n) for n in lengths])
    middle, steepness = rng.uniform(0.3, 1, m), rng.uniform(1, 15, m)
    p = 0.05 + 0.85 * expit(np.repeat(steepness, lengths) * (u - np.repeat(middle, lengths)))
    p = expit(logit(p) + rng.normal(0, 0.1, len(p)))
    n = np.repeat(rng.choice([100, 1000], m), lengths)
    table = pd.DataFrame({
        "benchmark": "synthetic", "task": np.repeat([f"t{i}" for i in range(m)], lengths),
        "metric": "exact_str_match", "model_family": "f", "model_name": [f"m{i}" for i in place],
        "total_params": (10 ** (8 + 0.5 * place)).astype(np.int64),
        "score": rng.binomial(n, p) / n, "n_examples": n,
    })  # fmt: skip
    return build_curves(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each task."""
    parser = argparse.ArgumentParser(description="Time forecasts and shapes.")
    parser.add_argument("--curves", type=int, default=10_000)
    options = parser.parse_args(arguments)
    curves = synthetic_curves(options.curves)
    tasks: dict[str, Callable[[], pd.DataFrame]] = {
        "shapes": lambda: curve_shapes(curves),
        "shapes but broken power laws": lambda: curve_shapes(curves, shapes=WITHOUT_BROKEN),
        "forecasts of the last scale": lambda: forecast_curves(curves, k="last"),
        "all forecasts": lambda: forecast_curves(curves, k="every"),
    }
    for name, task in tasks.items():
        begin = time.process_time()
        rows = len(task())
        seconds = time.process_time() - begin
        print(f"{name}: {rows:,} rows, {seconds:.1f} s, {len(curves) / seconds:,.0f} curves/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
