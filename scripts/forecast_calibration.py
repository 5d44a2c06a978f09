"""How often forecast intervals hold where smooth laws and known departures from them made the data.

Curves of exact match or multiple choice are drawn from a power law of the loss per token, with
sizes that are even, GPT-3's or drawn at random, scatter between models, an irreducible loss or a
break of the law. The largest size is forecast from all others. Flagged curves (E above 100) are
counted apart: what selects them is a jump, often the last one. One line of JSON a cell is appended
to ``--out``; what is there is not done again. ``--docs FILE`` writes the tables between the markers
of that file.

    python scripts/forecast_calibration.py --out calibration.jsonl
    python scripts/forecast_calibration.py --out calibration.jsonl --docs docs/forecast.md
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from simulated_cells import options_of, put_between, read, run_cells

from bigbench_meta import build_curves, flagged, score_curves
from bigbench_meta.generate.multiple_choice import grade_and_brier, sample_choices
from bigbench_meta.inference.forecast.forecast_curves import forecast_curves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]

GPT3: Final = (1.25e8, 3.56e8, 7.6e8, 1.32e9, 2.65e9, 6.66e9, 1.29e10, 1.75e11)
ALPHAS: Final = (0.05, 0.34)
LOSSES: Final = (0.15, 2.0)  # per token, at the mean log size
BROKEN: Final = 1.5  # exponent beyond the break
COUNTS: Final = (
    "judged", "covered", "above_unflagged", "above_flagged", "judged_flagged", "covered_flagged",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What is simulated.

    Attributes:
        grid: Table in which it stands.
        sizes: ``even``, ``GPT-3`` or ``random`` ones.
        n_scales: Models, with the largest.
        n_examples: Questions.
        sigma: Standard deviation of log loss between models.
        length: Tokens of a target; 0 for 1 to 8, drawn for each curve.
        choices: Of multiple choice; 0 for exact match.
        tails: Degrees of freedom of the scatter; 0 for normal.
        rest: Irreducible loss as a share of the mean one.
        law: ``power law``, ``broken`` (flat, then falling fast) or ``logistic`` (of the score).
    """

    grid: str
    sizes: str
    n_scales: int = 8
    n_examples: int = 2000
    sigma: float = 0.1
    length: int = 0
    choices: int = 0
    tails: float = 0.0
    rest: float = 0.0
    law: str = "power law"

    @property
    def name(self) -> str:
        """Name, by which --cells chooses and --out remembers."""
        metric = f"choice of {self.choices}" if self.choices else (
            f"exact match L={self.length}" if self.length else "exact match"
        )  # fmt: skip
        parts = [self.grid, f"{self.sizes} sizes", f"{self.n_scales}", metric, self.law]
        parts += [f"n={self.n_examples}", f"sigma={self.sigma:g}"]
        if self.tails:
            parts.append(f"t({self.tails:g})")
        if self.rest:
            parts.append(f"rest={self.rest:g}")
        return ", ".join(parts)


def cells() -> Iterator[Cell]:
    """Yield the cells of s21, others on which nothing was tuned, and those of the GPT-4 rule."""
    for sizes, sigma in product(("even", "GPT-3"), (0.0, 0.1, 0.2)):
        yield Cell("smooth", sizes, sigma=sigma)
    base = Cell("other", "GPT-3", sigma=0.2)
    yield from (
        replace(base, tails=5.0), replace(base, sigma=0.4), replace(base, sigma=0.1, rest=0.5),
        replace(base, sigma=0.1, n_examples=100), replace(base, length=1),
        replace(base, sizes="random", n_scales=6, n_examples=400, sigma=0.1),
        replace(base, sizes="random", n_examples=400, sigma=0.3),
        replace(base, sizes="random", n_scales=12, n_examples=1000, sigma=0.1),
        replace(base, sizes="random", n_scales=20, n_examples=500, tails=5.0),
        replace(base, choices=4, n_examples=400, sigma=0.1),
        replace(base, sizes="random", choices=2, n_examples=400),
        replace(base, sigma=0.1, law="broken"),
        replace(base, sizes="even", sigma=0.1, law="broken"),
        replace(base, sigma=0.1, law="logistic"),
        replace(base, sizes="random", sigma=0.1, n_examples=400, law="logistic"),
    )  # fmt: skip
    for sizes, sigma, n in product(("even", "GPT-3"), (0.0, 0.1, 0.2), (400, 2500)):
        yield Cell("rule", sizes, sigma=sigma, n_examples=n, length=7)


def draw(cell: Cell, m: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return sizes and scores of m curves, both of shape (m, n_scales)."""
    if cell.sizes == "GPT-3":
        x = np.tile(GPT3, (m, 1))
    else:
        random = cell.sizes == "random"
        gaps = rng.exponential(size=(m, cell.n_scales - 1)) + 0.15 if random else 1.0
        place = np.cumsum(np.broadcast_to(gaps, (m, cell.n_scales - 1)), axis=1)
        place = np.pad(place / place[:, -1:], ((0, 0), (1, 0)))
        x = np.round(GPT3[0] * (GPT3[-1] / GPT3[0]) ** place)
    log_x = np.log(x) - np.log(x).mean(axis=1, keepdims=True)
    z = rng.standard_t(cell.tails, x.shape) / np.sqrt(cell.tails / (cell.tails - 2)) \
        if cell.tails else rng.standard_normal(x.shape)  # fmt: skip
    if cell.law == "logistic":
        middle = rng.uniform(-1.6, 1.6, (m, 1))
        p = 0.01 + 0.85 / (1 + np.exp(-(log_x - middle) / 0.7))
        p = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + cell.sigma * z)))
        return x, rng.binomial(cell.n_examples, p) / cell.n_examples
    level, exponent = rng.uniform(*LOSSES, (m, 1)), rng.uniform(*ALPHAS, (m, 1))
    loss = level * np.exp(-exponent * log_x)
    if cell.law == "broken":
        place = rng.uniform(0, 1, (m, 1)) * log_x[:, -1:]
        loss = np.minimum(loss, loss * np.exp(-BROKEN * (log_x - place)))
    loss = loss + cell.rest * loss.mean(axis=1, keepdims=True)
    loss = loss * np.exp(cell.sigma * z)
    if cell.choices:
        scores = [
            float(np.mean(grade_and_brier(sample_choices(
                one, n_choices=cell.choices, n_examples=cell.n_examples, concentration=3.0,
                chance_floor=True, seed=rng,
            ))[0]))
            for one in loss.ravel()
        ]  # fmt: skip
        return x, np.reshape(scores, x.shape)
    length = cell.length or rng.integers(1, 9, (m, 1))
    return x, rng.binomial(cell.n_examples, np.exp(-length * loss)) / cell.n_examples


def simulated(cell: Cell, m: int) -> Curves:
    """Return the curves of a cell."""
    seed = [ord(letter) for letter in cell.name]
    x, score = draw(cell, m, np.random.default_rng(seed))
    low = 1 / cell.choices if cell.choices else 0.0
    return build_curves(pd.DataFrame({
        "benchmark": "simulated", "task": np.repeat([f"t{i}" for i in range(m)], x.shape[1]),
        "metric": "multiple_choice_grade" if cell.choices else "exact_str_match",
        "model_family": np.repeat([f"f{i}" for i in range(m)], x.shape[1]),
        "model_name": np.tile([f"m{i}" for i in range(x.shape[1])], m),
        "total_params": x.ravel().astype(np.int64), "score": score.ravel(),
        "n_examples": cell.n_examples, "low_score": low, "high_score": 1.0,
    }))  # fmt: skip


def run_cell(cell: Cell, n_curves: int) -> dict[str, Any]:
    """Forecast the largest size of each curve of a cell."""
    curves = simulated(cell, n_curves)
    begin = time.process_time()
    if cell.grid == "rule":
        found = forecast_curves(
            curves, k="last", forecasters=("log_pass_rate",), adjust="jeffreys"
        )  # fmt: skip
        zero = (curves.y.reshape(len(curves), -1)[:, :-1] == 0).any(axis=1)[found["curve"]]
        covered = found["covered"]
        return {"name": cell.name} | {
            f"{name}_{what}": int(getattr(covered[own], how)())
            for name, own in (("zero", zero), ("none", ~zero))
            for what, how in (("made", "count"), ("covered", "sum"))
        }
    found = forecast_curves(curves, k="last")
    seconds = time.process_time() - begin
    flags = flagged(score_curves(curves)).to_numpy()[found["curve"]]
    judged = found["covered"].notna()
    above = judged & (found["observed"] > found["upper"])
    masks = (
        judged, found["covered"].fillna(value=False), above & ~flags, above & flags,
        judged & flags, found["covered"].fillna(value=False) & flags,
    )  # fmt: skip
    held = (found["lower"] <= found["observed"]) & (found["observed"] <= found["upper"])
    return {
        "name": cell.name, "n_curves": len(found), "n_flagged": int(flags.sum()),
        **{name: int(mask.sum()) for name, mask in zip(COUNTS, masks, strict=True)},
        "held": int(held.sum()),
        "width": float(found.loc[judged, "width"].median()),
        "milliseconds": 1e3 * seconds / n_curves,
    }  # fmt: skip


def smooth_table(done: dict[str, dict[str, Any]]) -> str:
    """Return the table of the mixture."""
    lines = [
        "| curves | hold | unpredictable | width | above, unflagged | above, flagged | all hold |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in cells():
        row = done.get(cell.name)
        if row is None or cell.grid == "rule":
            continue
        n, of_flagged = row["judged"], row["judged_flagged"]
        values = [
            cell.name.partition(", ")[2],
            f"{row['covered'] / n:.3f}",
            f"{1 - n / row['n_curves']:.0%}",
            f"{row['width']:.2f}",
            f"{row['above_unflagged'] / (n - of_flagged):.3f}",
            f"{row['above_flagged'] / of_flagged:.3f} ({of_flagged})" if of_flagged else "–",
            f"{row['held'] / row['n_curves']:.3f}",
        ]
        lines.append("| " + " | ".join(values) + " |")
    return "\n".join(lines)


def rule_table(done: dict[str, dict[str, Any]]) -> str:
    """Return the table of the GPT-4 rule with Jeffreys' adjustment."""
    lines = ["| curves | no fitted score is 0 | some are 0 |", "|---|---|---|"]
    for cell in cells():
        row = done.get(cell.name)
        if row is None or cell.grid != "rule":
            continue
        shares = [
            f"{row[f'{name}_covered'] / row[f'{name}_made']:.3f} ({row[f'{name}_made']})"
            if row[f"{name}_made"] else "–"
            for name in ("none", "zero")
        ]  # fmt: skip
        lines.append("| " + " | ".join([cell.name.partition(", ")[2], *shares]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the cells that are left, or write the tables."""
    options = options_of(__doc__ or "", curves=1500)
    if options.docs is None:
        run_cells(cells(), run_cell, options.curves, options=options)
        return
    done = read(options.out)
    text = options.docs.read_text()
    for grid, table in (("smooth", smooth_table(done)), ("rule", rule_table(done))):
        text = put_between(text, grid, table, options.docs)
    options.docs.write_text(text)


if __name__ == "__main__":
    main()
