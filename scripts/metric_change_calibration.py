"""How often the verdicts of ``metric_change`` are wrong, on pairs whose truth is known.

Every cell simulates pairs: expected scores of a smooth family, or of a real step, under two metrics
of the same answers; a test set drawn from them; and ``metric_change`` on its scores. One line of
JSON a cell is appended to ``--out``; what is there is not done again. ``--docs FILE`` writes the
tables between the markers of that file.

    python scripts/metric_change_calibration.py --out verdicts.jsonl --jobs 2    # half an hour
    python scripts/metric_change_calibration.py --out verdicts.jsonl --docs docs/metric_change.md
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.special import ndtri, softmax
from scipy.stats import binom
from simulated_cells import options_of, put_between, read, run_cells

from bigbench_meta.aggregate.metric_change import VERDICTS, metric_change
from bigbench_meta.curves.emergence import score_ragged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

THRESHOLD: Final = 100.0
LOW_CUT: Final = 3.0  # thrice as sharp as a straight line
SMOOTH: Final = (
    "exact match and edit distance", "exact match and per-token accuracy",
    "long exact match and edit distance", "exact match and edit distance, scattered",
    "multiple choice and Brier score", "multiple choice and chosen-option Brier",
)  # fmt: skip
STEPS: Final = (
    "step", "step under multiple choice and Brier score", "small step", "step at the largest model",
    "step with slopes, above the cut", "steep, below the cut",
)  # fmt: skip
POOL: Final = 4000  # questions that a test set of multiple choice is drawn from
DIFFICULTY: Final = 0.8  # correlation of the models' answers to one question


@dataclass(frozen=True)
class Cell:
    """What is simulated."""

    truth: str
    n_scales: int
    n_examples: int
    spacing: str = "uneven"
    source: str = "scores"
    cut: float | None = None

    @property
    def name(self) -> str:
        """Name, by which --cells chooses and --out remembers."""
        size = f"{self.spacing} scales={self.n_scales} n={self.n_examples}"
        return f"{self.source}: {self.truth}: {size}" + (f" cut={self.cut:g}" if self.cut else "")


@dataclass(frozen=True)
class Pair:
    """Expected scores of one pair, up or down as their metric is, and a drawn test set."""

    metrics: tuple[str, str]
    expected: tuple[Floats, Floats]
    n_steps: tuple[float, float]  # steps of one example in the unit of the score; NaN unlimited
    scores: tuple[Floats, Floats]
    stderr: tuple[Floats | float, Floats | float]
    examples: tuple[Floats, Floats] | None = None


def cells() -> Iterator[Cell]:
    """Yield the grid."""
    for truth, n_scales, n in product((*SMOOTH, *STEPS), (8, 12), (100, 500, 2000)):
        yield Cell(truth, n_scales, n, spacing="even" if n == 500 else "uneven")
    for truth, n_scales, n in product((SMOOTH[0], SMOOTH[2], *STEPS), (8, 12), (500, 2000)):
        yield Cell(truth, n_scales, n, cut=LOW_CUT)
    sampled = (SMOOTH[0], SMOOTH[1], SMOOTH[2], SMOOTH[4], "step", "small step", STEPS[4])
    for truth, n in product(sampled, (100, 400)):
        yield Cell(truth, 8, n, source="samples")


def token_probabilities(cell: Cell, rng: np.random.Generator) -> Floats:
    """Return the probability that a token is right, of each model."""
    n = cell.n_scales
    if "exact match" in cell.truth:
        gaps = rng.gamma(4.0, size=n - 1) if cell.spacing == "uneven" else np.ones(n - 1)
        place = np.concatenate([[0.0], gaps.cumsum()])
        log_size = np.log(10) * rng.uniform(1.5, 3.5) * (place / place[-1] - 0.5)
        log_loss = rng.uniform(np.log(0.14), np.log(2.7)) - rng.uniform(0.05, 0.34) * log_size
        if "long" in cell.truth:  # as in Fig. 3: at the floor, then a rise
            log_loss = rng.uniform(np.log(0.5), np.log(1.5)) - rng.uniform(0.3, 0.5) * log_size
        if "scattered" in cell.truth:
            log_loss += rng.uniform(0.02, 0.15) * rng.standard_t(3, size=n)
        return np.asarray(np.exp(-np.exp(log_loss)))
    first = n - 1 if "largest" in cell.truth else rng.integers(1, n)
    after = np.arange(n) >= first
    if "cut" in cell.truth:
        low, span = rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.65)
        ratio = rng.uniform(*((105, 300) if "above" in cell.truth else (40, 95)))
        slope = span / ratio
        return low + slope * (np.arange(n) - after) + after * (span - (n - 2) * slope)
    low = rng.uniform(0.3, 0.6) if "small" in cell.truth else rng.uniform(0.05, 0.4)
    high = low + (rng.uniform(0.05, 0.2) if "small" in cell.truth else rng.uniform(0.4, 0.55))
    return np.where(after, high, low)


def text_pair(cell: Cell, rng: np.random.Generator) -> Pair:
    """Return a pair of metrics of written answers of L tokens."""
    length, n = int(rng.integers(8 if "long" in cell.truth else 2, 11)), cell.n_examples
    if cell.truth in STEPS:
        length = int(rng.integers(1, 4)) + 1
    p = token_probabilities(cell, rng)
    share = "per-token" in cell.truth or (cell.truth in STEPS and rng.random() < 0.5)
    examples = None
    wrong = np.arange(length + 1)
    if cell.source == "samples":
        shared = rng.standard_normal((n, length))
        own = rng.standard_normal((cell.n_scales, n, length))
        latent = DIFFICULTY * shared + np.sqrt(1 - DIFFICULTY**2) * own
        n_wrong = (latent > ndtri(p)[:, None, None]).sum(axis=2)
        counts = np.stack([np.bincount(row, minlength=length + 1) for row in n_wrong])
        graded = 1 - n_wrong / length if share else n_wrong.astype(float)
        examples = (n_wrong == 0).astype(float), graded
    else:
        pmf = np.asarray(binom.pmf(wrong, length, 1 - p[:, None]))
        counts = rng.multinomial(n, pmf / pmf.sum(axis=1, keepdims=True))
    edits = counts @ wrong / n
    error = np.sqrt(np.maximum(counts @ wrong**2 / n - edits**2, 0) / (n - 1))
    exact, expected = counts[:, 0] / n, length * (1 - p)
    if share:
        return Pair(
            ("exact_str_match", "per_token_accuracy"), (p**length, p), (1.0, 1.0),
            (exact, 1 - edits / length), (np.nan, error / length), examples,
        )  # fmt: skip
    return Pair(
        ("exact_str_match", "token_edit_distance"), (p**length, expected), (1.0, np.nan),
        (exact, edits), (np.nan, error), examples,
    )  # fmt: skip


def choice_pair(cell: Cell, rng: np.random.Generator) -> Pair:
    """Return a pair of metrics of the probabilities of K options, of which one is right."""
    n, k = cell.n_examples, int(rng.choice([2, 4, 5]))
    rise = np.linspace(0, 1, cell.n_scales)
    if cell.spacing == "uneven":
        rise[1:-1] = np.sort(rng.uniform(0, 1, cell.n_scales - 2))
    boost = rng.uniform(0.0, 0.5) + rng.uniform(0.5, 3.0) * rise ** rng.uniform(0.5, 2.0)
    if cell.truth in STEPS:
        after = np.arange(cell.n_scales) >= rng.integers(1, cell.n_scales)
        boost = np.where(after, rng.uniform(2.0, 3.0), rng.uniform(0.0, 0.3))
    logits = np.broadcast_to(rng.standard_normal((POOL, k)), (cell.n_scales, POOL, k)).copy()
    logits[:, :, 0] += boost[:, None]
    p = softmax(rng.uniform(0.7, 1.5) * logits, axis=2)
    best = p.max(axis=2)
    grade = (p[:, :, 0] == best).astype(float)
    if "chosen" in cell.truth:
        smooth, name, step = (best - grade) ** 2, "chosen_option_brier", 1.0
    else:
        target = np.eye(k)[0]
        smooth, name, step = ((p - target) ** 2).sum(axis=2), "brier_score", 2.0
    if cell.source == "samples":  # all models answer the same questions
        drawn = np.broadcast_to(rng.integers(POOL, size=n), (cell.n_scales, n))
    else:
        drawn = rng.integers(POOL, size=(cell.n_scales, n))
    seen = [np.take_along_axis(values, drawn, axis=1) for values in (grade, smooth)]
    error = np.nan if "chosen" in cell.truth else seen[1].std(axis=1, ddof=1) / np.sqrt(n)
    return Pair(
        ("multiple_choice_grade", name), (grade.mean(axis=1), smooth.mean(axis=1)), (1.0, step),
        (seen[0].mean(axis=1), seen[1].mean(axis=1)), (np.nan, error),
        (seen[0], seen[1]) if cell.source == "samples" else None,
    )  # fmt: skip


def run_cell(cell: Cell, n_pairs: int, n_boot: int) -> dict[str, Any]:
    """Simulate a cell and return how often each verdict is given, and how often it is wrong."""
    begun = time.monotonic()
    rng = np.random.default_rng(list(cell.name.encode()))
    kind = choice_pair if "multiple choice" in cell.truth else text_pair
    pairs = [kind(cell, rng) for _ in range(n_pairs)]
    found = metric_change(
        observations(cell, pairs), samples=samples(cell, pairs), threshold=THRESHOLD, cut=cell.cut,
        n_boot=n_boot,
    )  # fmt: skip
    if found["task"].astype(str).tolist() != [f"task {i}" for i in range(n_pairs)]:
        raise RuntimeError("pairs are missing or in another order")
    verdict = found["verdict"].astype(str).to_numpy()
    (first, first_limited), (second, second_limited) = (
        true_sharpness(cell, pairs, side) for side in (0, 1)
    )
    both = np.array([not np.isnan(pair.n_steps[1]) for pair in pairs])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(both, second_limited / first_limited, second / first)
    ratio = np.where(np.isnan(ratio), 1.0, ratio)
    limit = THRESHOLD if cell.cut is None else cell.cut * (cell.n_scales - 1)
    wrong = {
        "evaporates": second >= limit * (1 - 1e-9),
        "persists": np.fmin(first_limited, second_limited) < limit,
        "weaker": ratio >= 1 - 1e-9,
        "sharper": ratio <= 1 + 1e-9,
    }
    row: dict[str, Any] = {"name": cell.name, "pairs": n_pairs, "boot": n_boot}
    row["verdicts"] = {name: int((verdict == name).sum()) for name in VERDICTS}
    row["wrong"] = {name: int(((verdict == name) & bad).sum()) for name, bad in wrong.items()}
    flags = found["flagged"].to_numpy(dtype=bool)
    row["flagged"] = int(flags.sum())
    row["flagged_open"] = int((flags & (verdict == "cannot tell")).sum())
    row["true_median"] = [float(np.median(first)), float(np.median(second))]
    low, high = found["log_ratio_low"].to_numpy(), found["log_ratio_high"].to_numpy()
    with np.errstate(divide="ignore"):
        truth = np.log(ratio)
    row["ratio_outside"] = int(((low > truth + 1e-9) | (high < truth - 1e-9)).sum())
    row["joint"] = int(found["joint"].sum())
    width = np.where(np.isinf(low) | np.isinf(high), np.inf, high - low)
    row["ratio_width"] = float(np.median(width))
    row["seconds"] = round(time.monotonic() - begun, 1)
    return row


def true_sharpness(cell: Cell, pairs: list[Pair], side: int) -> tuple[Floats, Floats]:
    """Return E of the expected scores without its sign, and the same limited by the resolution."""
    values = np.concatenate([pair.expected[side] for pair in pairs])
    offsets = np.arange(len(pairs) + 1) * cell.n_scales
    resolution = np.array([pair.n_steps[side] for pair in pairs]) / cell.n_examples
    scores = score_ragged(values, offsets, resolution=resolution)
    # Rounding makes tiny steps of none.
    scored = np.abs(scores.emergence_score)
    scored = np.where(scored > 1e9, np.inf, scored)
    limited = np.abs(scores.resolution_limited_score)
    return scored, np.where(np.isnan(resolution), scored, limited)


def observations(cell: Cell, pairs: list[Pair]) -> pd.DataFrame:
    """Return the drawn scores."""
    parts = []
    for number, pair in enumerate(pairs):
        for metric, score, stderr in zip(pair.metrics, pair.scores, pair.stderr, strict=True):
            parts.append(
                models(cell, number).assign(
                    metric=metric, score=score, stderr=stderr, n_examples=cell.n_examples
                )
            )
    return pd.concat(parts, ignore_index=True)


def samples(cell: Cell, pairs: list[Pair]) -> pd.DataFrame | None:
    """Return the drawn answers, if the cell has them."""
    if cell.source == "scores":
        return None
    parts = []
    for number, pair in enumerate(pairs):
        assert pair.examples is not None
        rows = models(cell, number)
        rows = rows.loc[rows.index.repeat(cell.n_examples)].reset_index(drop=True)
        values = zip(*(of.ravel().tolist() for of in pair.examples), strict=True)
        parts.append(
            rows.assign(
                example_id=np.tile(np.arange(cell.n_examples), cell.n_scales).astype(str),
                metrics=pd.Series([list(zip(pair.metrics, both, strict=True)) for both in values]),
            )
        )
    return pd.concat(parts, ignore_index=True)


def models(cell: Cell, number: int) -> pd.DataFrame:
    """Return one row per model of one task."""
    return pd.DataFrame(
        {
            "benchmark": "simulated", "task": f"task {number}", "model_family": "family",
            "model_name": [f"model {i}" for i in range(cell.n_scales)],
            "total_params": 10**6 * 2 ** np.arange(cell.n_scales),
        }
    )  # fmt: skip


WRONG: Final = ("evaporates", "persists", "weaker", "sharper")


def table(rows: list[tuple[Cell, dict[str, Any]]]) -> str:
    """Return a Markdown table: shares of verdicts, and of those that are wrong."""
    shown = ("evaporates", "persists", "weaker", "sharper", "cannot tell")
    header = ["truth", "scales", "examples", "true E", "other", "flagged", *shown,
              *(f"wrong: {name}" for name in WRONG)]  # fmt: skip
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for cell, row in rows:
        medians = ["∞" if np.isinf(value) else f"{value:.3g}" for value in row["true_median"]]
        counts = [row["flagged"], *(row["verdicts"][name] for name in shown),
                  *(row["wrong"][name] for name in WRONG)]  # fmt: skip
        place = [cell.truth, str(cell.n_scales), str(cell.n_examples), *medians]
        shares = [f"{count / row['pairs']:.3f}" for count in counts]
        lines.append("| " + " | ".join([*place, *shares]) + " |")
    return "\n".join(lines)


def grids() -> dict[str, list[Cell]]:
    """Return the cells of each table."""
    found: dict[str, list[Cell]] = {"scores": [], "cut": [], "samples": []}
    for cell in cells():
        found["cut" if cell.cut else cell.source].append(cell)
    return found


def write_docs(path: Path, done: dict[str, dict[str, Any]]) -> None:
    """Put the tables between the markers of a file."""
    text = path.read_text()
    for name, grid in grids().items():
        rows = [(cell, done[cell.name]) for cell in grid if cell.name in done]
        text = put_between(text, name, table(rows), path)
    path.write_text(text)


def summarise(done: dict[str, dict[str, Any]]) -> None:
    """Print the sums over the cells, and the cell with the most wrong verdicts of each kind."""
    for grid_name, grid in grids().items():
        rows = [done[cell.name] for cell in grid if cell.name in done]
        if not rows:
            continue
        total = sum(row["pairs"] for row in rows)
        said = {name: sum(row["verdicts"][name] for row in rows) / total for name in VERDICTS}
        listed = ", ".join(f"{name} {share:.1%}" for name, share in said.items() if share)
        print(f"{grid_name}: {total} pairs in {len(rows)} cells; {listed}")
        smooth = [done[c.name] for c in grid if c.name in done and c.truth in SMOOTH]
        n_flagged, n_open = (
            sum(row[name] for row in smooth) for name in ("flagged", "flagged_open")
        )
        share = n_open / max(n_flagged, 1)
        print(f"  of {n_flagged} flagged pairs of smooth families, cannot tell: {share:.1%}")
        for name in WRONG:
            worst = max(rows, key=lambda row: row["wrong"][name] / row["pairs"])
            share = sum(row["wrong"][name] for row in rows) / total
            most = worst["wrong"][name] / worst["pairs"]
            print(f"  wrong {name}: {share:.2%}, at most {most:.1%} of a cell ({worst['name']})")
        worst = max(rows, key=lambda row: row["ratio_outside"] / row["pairs"])
        most = worst["ratio_outside"] / worst["pairs"]
        print(f"  the ratio's interval misses the truth: at most {most:.1%} ({worst['name']})")


def main() -> None:
    """Run the cells that are not done yet, or write the tables of those that are."""
    options = options_of(__doc__, pairs=200, boot=299)
    done = read(options.out)
    if options.docs:
        write_docs(options.docs, done)
        summarise(done)
        return
    run_cells(cells(), run_cell, options.pairs, options.boot, options=options)
    summarise(read(options.out))


if __name__ == "__main__":
    main()
