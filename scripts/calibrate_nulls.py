"""How often the null of a smooth mechanism is rejected where it is true, and where it is not.

Every cell simulates families of models whose per-token loss is a power law of their size, by the
formulas of ``bigbench_meta.generate.mirage`` and not by those of the test, and hands the scores to
``null_tests`` as any other results. One line of JSON a cell is appended to ``--out``; what is there
is not done again. ``--docs FILE`` writes the tables between the markers of that file.
``--families N`` runs other cells instead: N whole families of curves each, how often any of their
curves survives a correction, and curves of a loss with an irreducible part.

    python scripts/calibrate_nulls.py --out calibration.jsonl --jobs 2   # hours
    python scripts/calibrate_nulls.py --out calibration.jsonl --families 200 --jobs 2   # hours
    python scripts/calibrate_nulls.py --out calibration.jsonl --docs docs/nulls.md
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd
from simulated_cells import put_between, read

from bigbench_meta import build_curves, score_curves
from bigbench_meta.generate.mirage import (
    expected_accuracy,
    per_token_loss,
    per_token_probability,
)
from bigbench_meta.generate.multiple_choice import (
    expected_multiple_choice_grade,
    grade_and_brier,
    sample_choices,
)
from bigbench_meta.inference.nulls.null_tests import null_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ALPHAS: Final = (0.05, 0.34)  # within the range that the test allows; each curve draws its own
SISTERS: Final = 0.2  # about what the curves of GPT-3 agree on, see docs/nulls.md
TASKS: Final = 20  # curves of one family of models
DECADES: Final = (1.5, 3.5)  # from the smallest to the largest model
EDITS: Final = 5  # tokens of a target whose edit distance is measured
STEP: Final = 3.0  # fall of the log loss between two models: a loss 20 times smaller
BREAK: Final = 2.0  # exponent beyond the break, in place of at most 0.34
FAMILY_BOOT: Final = 3999  # of whole families: a smallest p-value of 0.05 / 200
POWER_SHARE: Final = 0.5  # curves simulated for a power, as a share of those under the null
CHANGED: Final = 4  # every fourth of them has the change: its sisters in a family have none

METRICS: Final = (
    "exact match L=1", "exact match L=5", "exact match L=10", "multiple choice K=2",
    "multiple choice K=4", "Brier", "edit distance",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What is simulated."""

    grid: str
    metric: str
    n_scales: int
    n_examples: int
    sisters: float = SISTERS
    even: bool = False
    concentration: float | None = None
    alpha: float | None = None
    uneven_sisters: float = 0.0

    @property
    def name(self) -> str:
        """Name, by which --cells chooses and --out remembers."""
        parts = [self.grid, self.metric, f"scales={self.n_scales}", f"n={self.n_examples}"]
        if self.sisters != SISTERS:
            parts.append(f"sigma={self.sisters:g}")
        if self.even:
            parts.append("even")
        if self.concentration is not None:
            parts.append(f"kappa={self.concentration:g}")
        if self.alpha is not None:
            parts.append(f"alpha={self.alpha:g}")
        if self.uneven_sisters:
            parts.append(f"spread={self.uneven_sisters:g}")
        return " ".join(parts)


def cells() -> Iterator[Cell]:
    """Yield the grid of the issue and one of other settings."""
    for metric, n_scales, n_examples in product(METRICS, (5, 8, 12), (50, 200, 1000)):
        yield Cell("main", metric, n_scales, n_examples)
    other = [
        Cell("other", f"exact match L={length}", n_scales, n)
        for length, n_scales, n in [
            (3, 6, 100), (3, 20, 500), (20, 7, 2000), (20, 10, 500), (1, 20, 30), (36, 8, 1000),
        ]
    ]  # fmt: skip
    other += [
        Cell("other", f"multiple choice K={k}", n_scales, n, concentration=kappa)
        for k, n_scales, n, kappa in [
            (3, 6, 100, 1.0), (3, 10, 500, 100.0), (5, 7, 2000, 30.0), (2, 20, 500, 3.0),
            (2, 10, 500, 0.001), (10, 8, 300, 100.0),
        ]
    ]  # fmt: skip
    base = Cell("other", "exact match L=5", 8, 500)
    other += [
        Cell("other", "Brier", 7, 500), Cell("other", "edit distance", 10, 100),
        replace(base, alpha=0.05), replace(base, alpha=0.34), replace(base, even=True),
        replace(base, sisters=0.05), replace(base, sisters=0.5), replace(base, sisters=1.0),
        replace(base, uneven_sisters=0.5), replace(base, uneven_sisters=1.0),
        replace(base, n_examples=10_000), replace(base, n_scales=4),
        replace(base, alpha=0.5), replace(base, alpha=1.0),
    ]  # fmt: skip
    yield from other


def simulated(cell: Cell, kind: str, n_curves: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return observations of so many curves; ``kind`` is smooth, step or broken."""
    n_families = -(-n_curves // TASKS)
    m = n_families * TASKS
    gaps = np.ones((n_families, cell.n_scales - 1))
    if not cell.even:
        gaps = rng.gamma(4.0, size=gaps.shape)
    places = np.concatenate([np.zeros((n_families, 1)), gaps.cumsum(axis=1)], axis=1)
    decades = rng.uniform(*DECADES, (n_families, 1)) * places / places[:, -1:]
    sizes = np.rint(1e8 * 10**decades).repeat(TASKS, axis=0)
    log_size = np.log(sizes)
    alpha = np.full((m, 1), cell.alpha) if cell.alpha else rng.uniform(*ALPHAS, (m, 1))
    # A loss of one token between 0.14 and 2.7 in the middle of the axis, whatever the target.
    middle = log_size.mean(axis=1, keepdims=True)
    log_c = middle + rng.uniform(-2.0, 1.0, (m, 1)) / alpha
    losses = np.stack(
        [
            per_token_loss(size, alpha=-float(a), c=float(np.exp(c)))
            for size, a, c in zip(sizes, alpha[:, 0], log_c[:, 0], strict=True)
        ]
    )
    if kind != "smooth":
        losses *= np.exp(changed(m)[:, None] * change(kind, log_size, alpha, rng))
    spread = np.exp(cell.uneven_sisters * rng.standard_normal((m, 1)))
    losses *= np.exp(cell.sisters * spread * rng.standard_normal(losses.shape))
    scores, columns = drawn(cell, losses, rng)
    return frame(cell, sizes, scores, columns)


def changed(m: int) -> NDArray[np.bool_]:
    """Return which of m curves have a step or a break."""
    return np.asarray(np.arange(m) % CHANGED == 0)


def change(kind: str, log_size: Floats, alpha: Floats, rng: np.random.Generator) -> Floats:
    """Return what is added to the log loss: half of it above zero, so that the change shows."""
    m, n = log_size.shape
    place = rng.integers(1, n - 1, (m, 1))  # at least two models before, one after
    if kind == "step":
        return np.where(np.arange(n) > place, -STEP / 2, STEP / 2)
    beyond = np.maximum(log_size - np.take_along_axis(log_size, place, axis=1), 0.0)
    return np.asarray(1.0 - (BREAK - alpha) * beyond)


def drawn(cell: Cell, losses: Floats, rng: np.random.Generator) -> tuple[Floats, dict[str, object]]:
    """Return scores of test sets of the cell's size, and the columns that say what they are."""
    n = cell.n_examples
    if cell.metric.startswith("exact match"):
        length = int(cell.metric.rpartition("=")[2])
        right = expected_accuracy(losses, target_length=length)
        return rng.binomial(n, right) / n, {"metric": "exact_str_match", "low_score": 0.0}
    if cell.metric == "edit distance":
        wrong = rng.binomial(n * EDITS, 1 - per_token_probability(losses)) / n
        return wrong, {
            "metric": "token_edit_distance", "low_score": float(EDITS), "high_score": 0.0,
        }  # fmt: skip
    m = len(losses)
    kappa = np.exp(rng.uniform(0.0, np.log(100.0), (m, 1)))  # from 1 to 100
    if cell.concentration is not None:
        kappa = np.full((m, 1), cell.concentration)
    if cell.metric == "Brier":
        k = 4
        brier = [
            grade_and_brier(
                sample_choices(
                    float(loss), n_choices=k, n_examples=n, concentration=float(one),
                    chance_floor=True, seed=rng,
                )
            )[1].mean()
            for row, one in zip(losses, kappa[:, 0], strict=True)
            for loss in row
        ]  # fmt: skip
        columns: dict[str, object] = {
            "metric": "brier_score", "low_score": 1 - 1 / k, "high_score": 0.0,
        }  # fmt: skip
        return np.reshape(brier, losses.shape), columns
    k = int(cell.metric.rpartition("=")[2])
    right = expected_multiple_choice_grade(
        losses, n_choices=k, concentration=kappa, chance_floor=True
    )
    return rng.binomial(n, right) / n, {"metric": "multiple_choice_grade", "low_score": 1 / k}


def frame(cell: Cell, sizes: Floats, scores: Floats, columns: dict[str, object]) -> pd.DataFrame:
    """Return scores as observations."""
    m, n = scores.shape
    task = np.arange(m).repeat(n)
    model = np.tile(np.arange(n), m)
    family = task // TASKS
    return pd.DataFrame(
        {
            "benchmark": "simulated",
            "task": [f"task {i}" for i in task],
            "model_family": [f"family {i}" for i in family],
            "model_name": [f"model {f} {i}" for f, i in zip(family, model, strict=True)],
            "total_params": sizes.ravel(),
            "score": scores.ravel(),
            "n_examples": cell.n_examples,
            "high_score": 1.0,
            **columns,
        }
    )


# Whole families -------------------------------------------------------------------------------

GPT3: Final = (1.25e8, 3.56e8, 7.6e8, 1.32e9, 2.65e9, 6.66e9, 1.29e10, 1.75e11)
"""Sizes of GPT-3's eight models."""


@dataclass(frozen=True)
class FamilyCell:
    """Families that are simulated: exact match of one to five tokens, one test set.

    Attributes:
        grid: ``family``, of which whole families count, or ``irreducible``, of which curves do.
        label: What it is, in the words of the table.
        curves: Curves of a family.
        n_scales: Models; 0 for the sizes of GPT-3.
        sisters: Standard deviation of log loss between models, of the median curve.
        spread: Standard deviation of its logarithm over curves.
        tails: Degrees of freedom of the t by which models differ, scaled to its variance; 0 for
            normal.
        steps: Share of curves whose log loss falls by STEP at a random place.
        irreducible: Irreducible loss over the mean of the reducible one.
        alpha: Exponent; 0 for each curve its own.
        n_examples: Size of the test set.
    """

    grid: str
    label: str
    curves: int = 180
    n_scales: int = 0
    sisters: float = SISTERS
    spread: float = 0.0
    tails: float = 0.0
    steps: float = 0.0
    irreducible: float = 0.0
    alpha: float = 0.0
    n_examples: int = 2000

    @property
    def name(self) -> str:
        """Name, by which --cells chooses and --out remembers."""
        return f"{self.grid} {self.label}"


def family_cells() -> Iterator[FamilyCell]:
    """Yield the rows by which the family's null was made, and others."""
    for spread in (0.0, 0.3, 0.5, 0.7):
        yield FamilyCell("family", f"spread {spread:g}", spread=spread)
    yield FamilyCell("family", "t(5) models", tails=5)
    base = FamilyCell("family", "", spread=0.5)
    others: dict[str, dict[str, Any]] = {
        "spread 1": {"spread": 1.0},
        "spread 0.5, t(5) models": {"tails": 5},
        "t(3) models": {"tails": 3, "spread": 0.0},
        "spread 0.5, sd 0.05": {"sisters": 0.05},
        "spread 0.5, sd 0.5": {"sisters": 0.5},
        "spread 0.5, 6 sizes": {"n_scales": 6},
        "spread 0.5, 12 sizes": {"n_scales": 12},
        "spread 0.5, 200 examples": {"n_examples": 200},
        "spread 0.5, 20 curves": {"curves": 20},
        "spread 0.5, 5 curves": {"curves": 5},
        "spread 0.5, irreducible 1": {"irreducible": 1.0},
        "10% steps": {"steps": 0.1, "spread": 0.0},
        "10% steps, spread 0.5": {"steps": 0.1},
        "10% steps, spread 0.5, t(5) models": {"steps": 0.1, "tails": 5},
    }
    for label, other in others.items():
        yield replace(base, label=label, **other)
    base = FamilyCell(
        "irreducible", "", curves=TASKS, n_scales=10, sisters=0.1, alpha=0.34, n_examples=2500
    )
    others = {
        "none": {},
        "0.3": {"irreducible": 0.3},
        "1": {"irreducible": 1.0},
        "1, sd 0.05": {"irreducible": 1.0, "sisters": 0.05},
        "1, sd 0": {"irreducible": 1.0, "sisters": 0.0},
        "0.3, 8 sizes, 400 examples": {"irreducible": 0.3, "n_scales": 8, "n_examples": 400},
        "0.1, sd 0.05": {"irreducible": 0.1, "sisters": 0.05},
        "0.2, sd 0": {"irreducible": 0.2, "sisters": 0.0},
        "0.6, sd 0": {"irreducible": 0.6, "sisters": 0.0},
        "3, sd 0.05": {"irreducible": 3.0, "sisters": 0.05},
        "0.3, 5 sizes": {"irreducible": 0.3, "n_scales": 5},
        "none, t(3) models": {"tails": 3, "sisters": 0.15, "alpha": 0.3},
        "none, spread 0.7": {"spread": 0.7, "alpha": 0.2},
    }
    for label, other in others.items():
        yield replace(base, label=label, **other)


def simulated_family(cell: FamilyCell, seed: int) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return observations of one family, and which of its curves have a step."""
    rng = np.random.default_rng([seed, *cell.name.encode()])
    m = cell.curves
    sizes = np.array(GPT3)
    if cell.n_scales:
        places = np.concatenate([[0], rng.gamma(2.0, size=cell.n_scales - 1).cumsum()])
        if cell.grid == "irreducible":
            places = np.arange(float(cell.n_scales))
        sizes = np.rint(1e8 * 10 ** (3.5 * places / places[-1]))
    alpha = np.full(m, cell.alpha) if cell.alpha else rng.uniform(*ALPHAS, m)
    # A loss of one token between 0.15 and 2 in the middle of the axis.
    log_c = np.log(sizes).mean() + np.log(rng.uniform(0.15, 2.0, m)) / alpha
    losses = np.stack(
        [
            per_token_loss(sizes, alpha=-float(a), c=float(np.exp(c)))
            for a, c in zip(alpha, log_c, strict=True)
        ]
    )
    losses += cell.irreducible * losses.mean(axis=1, keepdims=True)
    sisters = cell.sisters * np.exp(cell.spread * rng.standard_normal((m, 1)))
    models = rng.standard_normal(losses.shape)
    if cell.tails:
        models = rng.standard_t(cell.tails, losses.shape) * np.sqrt(1 - 2 / cell.tails)
    stepped = rng.random(m) < cell.steps
    jump = change("step", np.log(sizes) + np.zeros((m, 1)), alpha, rng)
    losses *= np.exp(sisters * models + stepped[:, None] * jump)
    length = rng.integers(1, 6, (m, 1)) if cell.grid == "family" else 3
    right = np.exp(-length * losses)
    scores = rng.binomial(cell.n_examples, right) / cell.n_examples
    observations = frame(
        Cell(cell.grid, "", len(sizes), cell.n_examples), np.tile(sizes, (m, 1)), scores,
        {"metric": "exact_str_match", "low_score": 0.0},
    )  # fmt: skip
    names = [f"model {i}" for i in range(len(sizes))] * m
    return observations.assign(model_family="family", model_name=names), stepped


def run_families(cell: FamilyCell, n_families: int, n_boot: int) -> dict[str, object]:
    """Test families one by one and return how often anything survives."""
    begun = time.monotonic()
    if cell.grid == "irreducible":
        n_families, n_boot = n_families // 2, 99
    variations: tuple[Literal["curve", "family"], ...]
    variations = ("curve", "family") if cell.grid == "irreducible" else ("family",)
    tests: dict[str, list[pd.DataFrame]] = {name: [] for name in variations}
    for seed in range(n_families):
        observations, stepped = simulated_family(cell, seed)
        curves = build_curves(observations)
        task = curves.keys["task"].str.removeprefix("task ").astype(int).to_numpy()
        for variation in variations:
            found = null_tests(curves, n_boot=n_boot, goodness=False, variation=variation)
            found = found.assign(family=seed, stepped=stepped[task])
            tests[variation].append(found[found["status"] == "ok"])
    result: dict[str, object] = {
        "name": cell.name, **asdict(cell), "families": n_families, "boot": n_boot,
    }  # fmt: skip
    for source, frames in tests.items():
        every = pd.concat(frames)
        smooth, true = every[~every["stepped"]], every[every["stepped"]]
        result |= {
            f"{source}_{label}": float((smooth["p_step"] <= level).mean())
            for label, level in (("05", 0.05), ("01", 0.01), ("001", 0.001), ("0003", 0.0003))
        }
        for column in ("q_bh", "p_holm"):
            false = (smooth[column] <= 0.05).groupby(smooth["family"]).sum()
            result[f"{source}_any_{column}"] = float((false > 0).mean())
        result[f"{source}_most"] = int(
            (smooth["q_bh"] <= 0.05).groupby(smooth["family"]).sum().max()
        )
        called = (every["q_bh"] <= 0.05).groupby(every["family"]).sum().to_numpy()
        wrong = (smooth["q_bh"] <= 0.05).groupby(smooth["family"]).sum().to_numpy()
        result[f"{source}_false_share"] = float((wrong / np.maximum(called, 1)).mean())
        if len(true):
            result[f"{source}_power"] = float((true["p_step"] <= 0.05).mean())
            result[f"{source}_power_q"] = float((true["q_bh"] <= 0.05).mean())
    result["seconds"] = round(time.monotonic() - begun, 1)
    return result


FAMILY_COLUMNS: Final = {
    "label": "families", "families": "number", "curves": "curves each",
    "family_any_q_bh": "any q_bh", "family_any_p_holm": "any p_holm", "family_most": "most",
    "family_false_share": "false share", "family_05": "p ≤ 0.05", "family_001": "p ≤ 0.001",
    "family_0003": "p ≤ 0.0003", "family_power": "power", "family_power_q": "power, q_bh",
}  # fmt: skip
IRREDUCIBLE_COLUMNS: Final = {
    "label": "irreducible",
    "families": "families of 20",
    "curve_05": "own, p ≤ 0.05",
    "curve_01": "own, p ≤ 0.01",
    "family_05": "family, p ≤ 0.05",
    "family_01": "family, p ≤ 0.01",
}


def family_table(rows: list[dict[str, object]], columns: dict[str, str]) -> str:
    """Return a Markdown table; small rates with four digits."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        texts = []
        for key in columns:
            digits = 5 if key.endswith(("_001", "_0003")) else 3
            value = row.get(key, "")
            texts.append(f"{value:.{digits}f}" if isinstance(value, float) else str(value))
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)


def run_cell(cell: Cell, n_curves: int, n_boot: int) -> dict[str, object]:
    """Simulate a cell and return its rates."""
    begun = time.monotonic()
    seed = list(cell.name.encode())
    found: dict[str, object] = {
        "name": cell.name, **asdict(cell), "curves": n_curves, "boot": n_boot,
    }  # fmt: skip
    few = int(n_curves * POWER_SHARE)
    plan = [
        ("alike", "smooth", 0.0, n_curves),
        ("sisters", "smooth", cell.sisters, n_curves),
        ("step", "step", cell.sisters, few),
        ("broken", "broken", cell.sisters, few),
    ]
    for number, (label, kind, sisters, m) in enumerate(plan):
        rng = np.random.default_rng([number, *seed])
        curves = build_curves(simulated(replace(cell, sisters=sisters), kind, m, rng))
        # Tasks are ordered by name in curves.
        task = curves.keys["task"].str.removeprefix("task ").astype(int).to_numpy()
        chosen = np.ones(len(task), dtype=bool) if kind == "smooth" else changed(len(task))[task]
        own = curves[chosen]
        found |= rates(label, null_tests(own, n_boot=n_boot, goodness=False))
        found[f"{label}_raw"] = float((score_curves(own)["emergence_score"] > 100).mean())
        if label != "alike":
            pooled = null_tests(curves, n_boot=n_boot, goodness=False, variation="family")
            found |= rates(f"{label}_family", pooled[chosen])
    found["seconds"] = round(time.monotonic() - begun, 1)
    return found


def rates(label: str, tests: pd.DataFrame) -> dict[str, float]:
    """Return rejection rates at 0.05 among the curves that could be tested, and their share."""
    ok = tests["status"] == "ok"
    return {
        f"{label}_step": float((tests["p_step"][ok] <= 0.05).mean()),
        f"{label}_sharpness": float((tests["p_sharpness"][ok] <= 0.05).mean()),
        f"{label}_tested": float(ok.mean()),
    }


COLUMNS: Final = {
    "metric": "metric", "n_scales": "scales", "n_examples": "examples",
    "alike_step": "σ = 0", "sisters_step": "sisters", "sisters_family_step": "pooled",
    "sisters_sharpness": "sharpness", "alike_raw": "E > 100, σ = 0", "sisters_raw": "E > 100",
    "step_step": "step", "step_family_step": "step, pooled",
    "broken_step": "break", "broken_family_step": "break, pooled",
    "sisters_tested": "tested", "curves": "curves", "why": "why low",
}  # fmt: skip

LOW: Final = 0.03


def table(rows: list[dict[str, object]], first: dict[str, str]) -> str:
    """Return a Markdown table."""
    columns = first | {key: label for key, label in COLUMNS.items() if key not in first}
    if first:
        columns = {key: columns[key] for key in columns if key not in {"metric", "n_scales",
                                                                       "n_examples"}}  # fmt: skip
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        texts = [f"{v:.3f}" if isinstance(v := row[key], float) else str(v) for key in columns]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)


def why_low(row: dict[str, object]) -> str:
    """Return why a rate of rejection under the null is below LOW: docs/nulls.md has sentences."""
    alike, sisters, pooled = (
        float(str(row[key])) for key in ("alike_step", "sisters_step", "sisters_family_step")
    )
    if min(alike, sisters, pooled) >= LOW:
        return ""
    metric, general = str(row["metric"]), []
    if metric.startswith("multiple choice") or metric == "Brier":
        general.append("links")
    if float(str(row["sisters_tested"])) < 0.95:
        general.append("ties")
    few = int(str(row["n_scales"])) <= 5
    reasons = general + ["σ ≥ 0"] * (alike < LOW) + ["few scales"] * (few and sisters < LOW)
    reasons += ["fitted r"] * (min(sisters, pooled) < LOW)
    return ", ".join(reasons)


def write_docs(path: Path, done: dict[str, dict[str, object]]) -> None:
    """Put the tables between the markers of a file."""
    text = path.read_text()
    for grid in ("main", "other"):
        rows = [done[cell.name] for cell in cells() if cell.grid == grid and cell.name in done]
        for row in rows:
            row["setting"] = str(row["name"]).removeprefix(f"{grid} ")
            row["why"] = why_low(row)
        if rows:  # a table of which nothing was run stays
            body = table(rows, {"setting": "setting"} if grid == "other" else {})
            text = put_between(text, grid, body, path)
    for grid, columns in (("family", FAMILY_COLUMNS), ("irreducible", IRREDUCIBLE_COLUMNS)):
        rows = [done[c.name] for c in family_cells() if c.grid == grid and c.name in done]
        if rows:
            text = put_between(text, grid, family_table(rows, columns), path)
    path.write_text(text)


def main() -> None:
    """Run the cells that are wanted and not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--cells", default="", help="only cells whose name contains this")
    parser.add_argument(
        "--curves",
        type=int,
        default=2000,
        help=f"smooth curves a cell, rounded up to whole families of {TASKS}",
    )
    parser.add_argument(
        "--families", type=int, default=0,
        help="so many families a cell of whole families, and no other cells",
    )  # fmt: skip
    parser.add_argument("--boot", type=int, default=99, help="bootstrap replicates a curve")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--docs", type=Path, help="write the tables into this file and stop")
    options = parser.parse_args()
    done = read(options.out)
    if options.docs:
        write_docs(options.docs, done)
        return
    run: Callable[..., dict[str, object]] = run_cell
    every: Iterable[Cell | FamilyCell] = cells()
    numbers = (options.curves, options.boot)
    if options.families:
        run, every, numbers = run_families, family_cells(), (options.families, FAMILY_BOOT)
    wanted = [cell for cell in every if options.cells in cell.name and cell.name not in done]
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = [pool.submit(run, cell, *numbers) for cell in wanted]
        for number, task in enumerate(as_completed(tasks), start=1):
            row = task.result()
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            shown = {k: round(v, 4) for k, v in row.items() if isinstance(v, float)}
            print(f"{number}/{len(tasks)} {row['name']}: {shown}", flush=True)


if __name__ == "__main__":
    main()
