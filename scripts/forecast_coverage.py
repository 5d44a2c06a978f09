"""Simulate how often forecast intervals hold the next score; fill the table of docs/forecast.md.

Curves of a known shape are drawn at k scales and one beyond, their scores counted on n examples,
and the last one is forecast from the others. A cell is one true shape, k, n and scatter between
sister models (a standard deviation on the logit scale). A finished cell is a line of the file
``--out``, and is not run again.

Example:
    python scripts/forecast_coverage.py --out coverage.csv
    python scripts/forecast_coverage.py --out coverage.csv --table docs/forecast.md
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import astuple, dataclass, fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from bigbench_meta.curves.build import build_curves
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Truth = Callable[[Floats, int, np.random.Generator], Floats]

BEGIN: Final = "<!-- coverage: begin -->"
END: Final = "<!-- coverage: end -->"
K: Final = (5, 7, 11)
NOISE: Final = ((100, 0.0), (1000, 0.0), (1000, 0.1))
# Exact match by the mechanism, with the loss per token beside it, or the token edit distance.
BY_LOSS, BY_EDITS = "exact_match", "exact_match_by_edits"
MECHANISMS: Final = (BY_LOSS, BY_EDITS)
# Noise of the loss as it is measured, as a part of it.
LOSS_NOISE: Final = 0.01


@dataclass(frozen=True)
class Cell:
    """What one cell simulates."""

    truth: str
    k: int
    n_examples: int
    scatter: float

    @property
    def seed(self) -> int:
        """A seed that depends on the cell alone."""
        number = [*TRUTHS].index(self.truth)
        return int(number * 10**8 + self.k * 10**6 + self.n_examples * 10 + self.scatter * 100)


@dataclass(frozen=True)
class Result:
    """How one forecaster did in a cell: forecasts with an interval, and intervals that hold."""

    forecaster: str
    n_curves: int
    n_interval: int
    n_covered: int


def _between(rng: np.random.Generator, m: int, low: float, high: float) -> Floats:
    return rng.uniform(low, high, (m, 1))


def _constant(u: Floats, m: int, rng: np.random.Generator) -> Floats:
    return _between(rng, m, 0.05, 0.9) + 0 * u


def _log_linear(u: Floats, m: int, rng: np.random.Generator) -> Floats:
    first, last = _between(rng, m, 0.05, 0.4), _between(rng, m, 0.5, 0.9)
    return np.asarray(first + (last - first) * u / u[-1])


def _power_law(u: Floats, m: int, rng: np.random.Generator) -> Floats:
    first, limit = _between(rng, m, 0.05, 0.4), _between(rng, m, 0.6, 0.95)
    return np.asarray(limit + (first - limit) * np.exp(-_between(rng, m, 0.5, 3) * u))


def _step(u: Floats, m: int, rng: np.random.Generator) -> Floats:
    place = u[rng.integers(1, len(u) - 2, (m, 1))]
    return np.where(u <= place, _between(rng, m, 0.01, 0.3), _between(rng, m, 0.5, 0.9))


def _logistic(u: Floats, m: int, rng: np.random.Generator) -> Floats:
    lower, upper = _between(rng, m, 0.01, 0.2), _between(rng, m, 0.6, 0.95)
    share = expit(_between(rng, m, 4, 12) * (u - _between(rng, m, 0.3, 1.0)))
    return np.asarray(lower + (upper - lower) * share)


def _broken_power_law(u: Floats, m: int, rng: np.random.Generator) -> Floats:
    slow, fast, place = (_between(rng, m, *e) for e in ((0.02, 0.3), (1, 6), (0.3, 0.9)))
    bend = 0.1 * (np.logaddexp(0, (u - place) / 0.1) - np.logaddexp(0, -place / 0.1))
    return np.asarray(1 - _between(rng, m, 0.7, 0.98) * np.exp(-slow * u - fast * bend))


def _loss(u: Floats, m: int, rng: np.random.Generator) -> Floats:
    """Return a loss per token that is a power law of scale."""
    return np.asarray(_between(rng, m, 0.5, 2) * np.exp(-_between(rng, m, 0.5, 3) * u))


TRUTHS: Final[Mapping[str, Truth]] = {
    "constant": _constant,
    "log_linear": _log_linear,
    "power_law": _power_law,
    "step": _step,
    "logistic": _logistic,
    "broken_power_law": _broken_power_law,
    BY_LOSS: _loss,
    BY_EDITS: _loss,
}
"""The true score of m curves at u, which is 0 at the first fitted scale and 1 at the last."""


def observations(cell: Cell, n_curves: int) -> pd.DataFrame:
    """Return simulated scores: exact match and, where it has a mechanism, a smooth metric."""
    rng = np.random.default_rng(cell.seed)
    u = np.arange(cell.k + 1) / (cell.k - 1)
    truth = TRUTHS[cell.truth](u, n_curves, rng)
    tables = {}
    if cell.truth in MECHANISMS:
        if cell.truth == BY_LOSS:
            tables["cross_entropy"] = truth * np.exp(rng.normal(0, LOSS_NOISE, truth.shape))
        length = rng.integers(1, 9, (n_curves, 1))
        if cell.truth == BY_EDITS:
            wrong = rng.binomial(cell.n_examples * length, -np.expm1(-truth))
            tables["token_edit_distance"] = wrong / cell.n_examples
        truth = np.exp(-truth * length)
    p = expit(logit(truth) + rng.normal(0, cell.scatter, truth.shape))
    tables["exact_str_match"] = rng.binomial(cell.n_examples, p) / cell.n_examples
    size = 10 ** (8 + 0.5 * np.arange(cell.k + 1))
    return pd.concat(
        [
            pd.DataFrame({
                "benchmark": "simulated",
                "task": np.repeat([f"t{i}" for i in range(n_curves)], len(size)),
                "metric": metric,
                "model_family": "f",
                "model_name": np.tile([f"m{i}" for i in range(len(size))], n_curves),
                "total_params": np.tile(size, n_curves).astype(np.int64),
                "score": score.ravel(),
                "n_examples": cell.n_examples if metric != "cross_entropy" else None,
            })
            for metric, score in tables.items()
        ],
        ignore_index=True,
    )  # fmt: skip


def run(cell: Cell, n_curves: int) -> list[Result]:
    """Forecast the last score of each curve of a cell, in several ways."""
    curves = build_curves(observations(cell, n_curves))
    curves = curves[curves.keys["metric"] == "exact_str_match"] \
        if cell.truth not in MECHANISMS else curves  # fmt: skip
    plans: dict[str, dict[str, Any]] = {
        "mixture": {"forecasters": ("mixture",)},
        "mechanism": {"forecasters": ("mechanism",)},
        "log_pass_rate": {"forecasters": ("log_pass_rate",), "adjust": "jeffreys"},
    }
    own = "smooth_pair" if cell.truth in MECHANISMS else cell.truth
    plans["own"] = {"forecasters": (own,)}
    found = []
    for name, options in plans.items():
        frame = forecast_curves(curves, k="last", **options)
        covered = frame.loc[frame["metric"] == "exact_str_match", "covered"].dropna()
        found.append(Result(name, n_curves, len(covered), int(covered.sum())))
    return found


def read(path: Path) -> dict[Cell, dict[str, Result]]:
    """Return the cells that are done."""
    done: dict[Cell, dict[str, Result]] = {}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                cell = Cell(
                    row["truth"], int(row["k"]), int(row["n_examples"]), float(row["scatter"])
                )
                counts = (int(row[name]) for name in ("n_curves", "n_interval", "n_covered"))
                done.setdefault(cell, {})[row["forecaster"]] = Result(row["forecaster"], *counts)
    return done


def append(path: Path, cell: Cell, results: Sequence[Result]) -> None:
    """Add a cell to the file."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow([field.name for kind in (Cell, Result) for field in fields(kind)])
        writer.writerows([*astuple(cell), *astuple(result)] for result in results)


def table(done: Mapping[Cell, Mapping[str, Result]]) -> str:
    """Return the share of intervals that hold, as a Markdown table."""
    names = ["own", "mixture", "mechanism", "log_pass_rate"]
    lines = [
        "| truth | k | n | scatter | own shape | mixture | mechanism | log pass rate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell in sorted(done, key=_order):
        shares = [_share(done[cell][name]) for name in names]
        head = (cell.truth.replace("_", " "), cell.k, cell.n_examples, cell.scatter)
        lines.append("| " + " | ".join(map(str, [*head, *shares])) + " |")
    return "\n".join(lines)


def _order(cell: Cell) -> tuple[int, int, int, float]:
    return [*TRUTHS].index(cell.truth), cell.k, cell.n_examples, cell.scatter


def _share(result: Result) -> str:
    """Return the coverage, with the share of curves that have an interval where not all have."""
    if not result.n_interval:
        return "–"
    text = f"{result.n_covered / result.n_interval:.3f}"
    made = result.n_interval / result.n_curves
    return text if f"{made:.0%}" == "100%" else f"{text} ({made:.0%})"


def fill(page: Path, text: str) -> None:
    """Put a table between the two markers of a page."""
    before, found, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        message = f"{page}: no {BEGIN} and {END}"
        raise ValueError(message)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cells that are missing and, if asked, fill the table."""
    parser = argparse.ArgumentParser(description="Simulate the coverage of forecast intervals.")
    parser.add_argument("--out", type=Path, required=True, help="CSV of the cells that are done")
    parser.add_argument("--curves", type=int, default=2000, help="curves a cell (default: 2000)")
    parser.add_argument("--only", choices=TRUTHS, help="one true shape")
    parser.add_argument("--table", type=Path, help="page whose table is filled, nothing being run")
    options = parser.parse_args(arguments)
    if options.table:
        fill(options.table, table(read(options.out)))
        return 0
    for truth, k, (n_examples, scatter) in product(TRUTHS, K, NOISE):
        cell = Cell(truth, k, n_examples, scatter)
        if cell not in read(options.out) and options.only in {None, truth}:
            results = run(cell, options.curves)
            append(options.out, cell, results)
            print(cell, results, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
