"""How often the intervals of emergence score and linearity contain the truth.

Every cell simulates curves by the formulas of ``generate.mirage`` or as plain shapes, draws
test sets, and hands the scores to ``curve_intervals`` as any other results. Percentile and BCa
intervals, which the literature would use, are computed here from the same replicates; they are not
in the package because they so seldom contain the truth. The truth is the statistic of the expected
scores. One line of JSON a cell is appended to ``--out``; what is there is not done again.
``--docs FILE`` writes the tables between the markers of that file, ``--example`` prints the
coverage of all three for a step and for a line.

    python scripts/interval_coverage.py --example
    python scripts/interval_coverage.py --out coverage.jsonl --jobs 2    # an hour
    python scripts/interval_coverage.py --out coverage.jsonl --docs docs/uncertainty.md
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr, ndtri
from scipy.stats import binom
from simulated_cells import put_between, read

from bigbench_meta import build_curves
from bigbench_meta.curves.emergence import score_ragged
from bigbench_meta.generate.mirage import (
    expected_accuracy,
    per_token_loss,
    per_token_probability,
)
from bigbench_meta.generate.multiple_choice import expected_multiple_choice_grade
from bigbench_meta.inference.resampling import of_curves, replicated_blocks
from bigbench_meta.inference.uncertainty import curve_intervals, sampling_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bigbench_meta import Curves
    from bigbench_meta.core.ragged import Ragged
    from bigbench_meta.inference.resampling import CurveReplicates, Denominator, PointNoise
    from bigbench_meta.inference.uncertainty import SamplingErrors

    Floats = NDArray[np.float64]

ALPHAS: Final = (0.05, 0.34)  # the loss is a power law of size; each curve draws its own exponent
DECADES: Final = (1.5, 3.5)  # from the smallest to the largest model
EDITS: Final = 5  # tokens of a target whose edit distance is measured
ROUGH: Final = 0.05  # true differences between sister models
DIFFICULTY: Final = 0.8  # correlation of the models' answers to one question
THRESHOLD: Final = 100.0
CHUNK: Final = 100  # curves with samples at a time
ROUNDING: Final = 1e-9  # scores of counts are often equal, but only up to rounding
STATISTICS: Final[tuple[tuple[str, Denominator], ...]] = (
    ("emergence", "median"), ("linearity", "mean"),
)  # fmt: skip

SHAPES: Final = (
    "exact match L=1", "exact match L=5", "exact match L=10", "multiple choice K=2",
    "multiple choice K=4", "edit distance", "step", "step and slopes", "line", "rough line",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What is simulated."""

    grid: str
    shape: str
    n_scales: int
    n_examples: int
    level: float = 0.95
    noise: str = "scores"  # or samples, or samples of so many clusters
    clusters: int = 0

    @property
    def name(self) -> str:
        """Name, by which --cells chooses and --out remembers."""
        parts = [self.grid, self.shape, f"scales={self.n_scales}", f"n={self.n_examples}"]
        if self.level != 0.95:
            parts.append(f"level={self.level:g}")
        if self.noise != "scores":
            parts.append(self.noise)
        if self.clusters:
            parts.append(f"clusters={self.clusters}")
        return " ".join(parts)


def cells() -> Iterator[Cell]:
    """Yield the grid of the issue and one of other settings."""
    for shape, n_scales, n in product(SHAPES, (5, 8, 12), (100, 200, 1000, 10_000)):
        yield Cell("main", shape, n_scales, n)
    base = Cell("other", "exact match L=5", 8, 200)
    for shape, n_scales, n in (
        ("exact match L=5", 4, 500), ("exact match L=20", 7, 2000), ("exact match L=3", 20, 500),
        ("multiple choice K=3", 6, 300), ("multiple choice K=10", 10, 3000),
        ("edit distance", 20, 50), ("line", 8, 30), ("step", 20, 500), ("rough line", 6, 30),
        ("rough line", 20, 2000), ("step", 4, 50), ("late rise", 8, 200), ("late rise", 8, 1000),
        ("late rise", 12, 5000),
    ):  # fmt: skip
        yield replace(base, shape=shape, n_scales=n_scales, n_examples=n)
    for shape, sizes in (("exact match L=5", (100, 200)), ("rough line", (200,))):
        yield replace(base, shape=shape, n_examples=1000, level=0.8)
        for noise in ("samples", "samples unused"):
            for n in sizes:
                yield replace(base, shape=shape, n_examples=n, noise=noise)
            yield replace(base, shape=shape, n_examples=500, noise=noise, clusters=100)


def expected(cell: Cell, m: int, rng: np.random.Generator) -> Floats:
    """Return expected scores of m curves, up being better; wrong tokens with a minus."""
    n = cell.n_scales
    if cell.shape in {"step", "step and slopes", "line", "rough line", "late rise"}:
        return plain(cell, m, rng)
    gaps = rng.gamma(4.0, size=(m, n - 1))
    places = np.concatenate([np.zeros((m, 1)), gaps.cumsum(axis=1)], axis=1)
    sizes = 1e8 * 10 ** (rng.uniform(*DECADES, (m, 1)) * places / places[:, -1:])
    alpha = rng.uniform(*ALPHAS, (m, 1))
    # A loss of one token between 0.14 and 2.7 in the middle of the axis, whatever the target.
    log_c = np.log(sizes).mean(axis=1, keepdims=True) + rng.uniform(-2.0, 1.0, (m, 1)) / alpha
    losses = np.stack(
        [
            per_token_loss(size, alpha=-float(a), c=float(np.exp(c)))
            for size, a, c in zip(sizes, alpha[:, 0], log_c[:, 0], strict=True)
        ]
    )
    kind, _, number = cell.shape.rpartition("=")
    if kind == "exact match L":
        return expected_accuracy(losses, target_length=int(number))
    if kind == "multiple choice K":
        kappa = np.exp(rng.uniform(0.0, np.log(100.0), (m, 1)))
        return expected_multiple_choice_grade(
            losses, n_choices=int(number), concentration=kappa, chance_floor=True
        )
    return np.asarray(-EDITS * (1 - per_token_probability(losses)))


def plain(cell: Cell, m: int, rng: np.random.Generator) -> Floats:
    """Return scores of steps and lines, not all of them within the power of the mechanism."""
    n, place = cell.n_scales, np.arange(cell.n_scales)
    low, high = rng.uniform(0.02, 0.3, (m, 1)), rng.uniform(0.5, 0.95, (m, 1))
    if cell.shape.startswith("step"):
        after = place >= rng.integers(1, n, (m, 1))
        slope = 0.0 if cell.shape == "step" else rng.uniform(0.0, 0.02, (m, n)).cumsum(axis=1)
        return np.clip(np.where(after, high, low) + slope, 0.0, 1.0)
    if cell.shape == "late rise":  # flat, then a logistic rise over a few scales
        middle, steepness = rng.uniform(0.5, 0.9, (m, 1)), rng.uniform(10.0, 20.0, (m, 1))
        return low + (high - low) * expit(steepness * (place / (n - 1) - middle))
    line = low + (high - low) * place / (n - 1)
    if cell.shape == "line":
        return line
    return np.asarray(np.clip(line + ROUGH * rng.standard_normal((m, n)), 0.005, 0.995))


def observations(cell: Cell, truth: Floats, rng: np.random.Generator) -> pd.DataFrame:
    """Return scores of test sets of the cell's size."""
    m, n = truth.shape
    columns: dict[str, Any] = {"metric": "exact_str_match"}
    if cell.shape == "edit distance":
        # How many of the targets have 0, 1, ... wrong tokens.
        pmf = np.asarray(binom.pmf(np.arange(EDITS + 1), EDITS, -truth[..., None] / EDITS))
        counts = rng.multinomial(cell.n_examples, pmf / pmf.sum(axis=-1, keepdims=True))
        wrong = np.arange(EDITS + 1)
        score = counts @ wrong / cell.n_examples
        variance = counts @ wrong**2 / cell.n_examples - score**2
        stderr = np.sqrt(variance / (cell.n_examples - 1))
        columns = {"metric": "token_edit_distance", "stderr": stderr.ravel()}
    else:
        score = rng.binomial(cell.n_examples, truth) / cell.n_examples
    if cell.shape.startswith("multiple choice"):
        columns = {"metric": "multiple_choice_grade"}
    return frame(m, n, {"score": score.ravel(), "n_examples": cell.n_examples, **columns})


def frame(m: int, n: int, columns: dict[str, Any]) -> pd.DataFrame:
    """Return one row for every model of every task."""
    model = np.tile(np.arange(n), m)
    return pd.DataFrame(
        {
            "benchmark": "simulated",
            "task": [f"task {i}" for i in np.arange(m).repeat(n)],
            "model_family": "family",
            "model_name": [f"model {i}" for i in model],
            "total_params": 10**6 * 2**model,
            **columns,
        }
    )


def with_samples(
    cell: Cell, truth: Floats, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return scores and the answers behind them: all models answer the same questions."""
    m, n = truth.shape
    size = cell.n_examples
    cluster = np.arange(size) % (cell.clusters or size)
    hard = rng.standard_normal((m, cell.clusters or size))[:, cluster]
    own = rng.standard_normal((m, n, size))
    latent = DIFFICULTY * hard[:, None] + np.sqrt(1 - DIFFICULTY**2) * own
    right = latent < ndtri(truth)[..., None]
    shape = {"metric": "exact_str_match"}
    scores = frame(m, n, {"score": right.mean(axis=2).ravel(), "n_examples": size, **shape})
    samples = frame(m, n, {}).loc[lambda rows: rows.index.repeat(size)].reset_index(drop=True)
    example = np.tile(np.arange(size), m * n)
    samples["example_id"] = example.astype(str)
    samples["correct"] = right.ravel().astype(float)
    if cell.clusters:
        samples["cluster"] = cluster[example]
    return scores, samples


def plain_intervals(
    errors: SamplingErrors, batch: Ragged, *, level: float, n_boot: int, seed: int
) -> dict[str, Floats]:
    """Return percentile and BCa intervals of every curve, NaN where it has no noise or is flat."""
    moving = batch.reduce(np.maximum, errors.values) > batch.reduce(np.minimum, errors.values)
    usable = moving & ~batch.any(np.isnan(errors.noise.error)) & (batch.lengths >= 3)
    ends = {
        f"{name}_{kind}_{end}": np.full(len(batch), np.nan)
        for name, _ in STATISTICS
        for kind in ("percentile", "bca")
        for end in ("low", "high")
    }
    for rows, block in replicated_blocks(
        errors.values, batch, errors.noise, np.flatnonzero(usable), size=n_boot, seed=seed,
        errors=errors.resampled,
    ):  # fmt: skip
        found, up = block.about(block.centre), block.sign > 0
        for name, denominator in STATISTICS:
            ascending = np.sort(found.ratio(denominator), axis=1)
            own = of_curves(block.scores).ratio(denominator)
            skewed = acceleration(block, denominator)
            for kind, (low, high) in (
                ("percentile", percentile(ascending, level)),
                ("bca", bca(ascending, own, skewed, level)),
            ):
                ends[f"{name}_{kind}_low"][rows] = np.where(up, low, -high)
                ends[f"{name}_{kind}_high"][rows] = np.where(up, high, -low)
    return ends


def percentile(ascending: Floats, level: float) -> tuple[Floats, Floats]:
    """Return order statistics of replicates, which may be infinite.

    Args:
        ascending: Replicates, shape (curves, B), ascending in each row; those without a value are
            NaN, at the end, and do not count.
        level: Confidence.

    References:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13.
    """
    tail = np.full(len(ascending), (1 - level) / 2)
    return ranked(ascending, tail), ranked(ascending, 1 - tail)


def bca(
    ascending: Floats, observed: Floats, acceleration: Floats, level: float
) -> tuple[Floats, Floats]:
    """Return bias-corrected and accelerated intervals.

    They do not depend on the scale of the statistic, so an infinite replicate is one like others.

    Args:
        ascending: As :func:`percentile`.
        observed: Observed statistic, shape (curves,); replicates equal to it count half.
        acceleration: Of each curve.
        level: Confidence.

    References:
        Efron (1987), doi:10.1080/01621459.1987.10478410.
    """
    size = np.maximum((~np.isnan(ascending)).sum(axis=1), 1)
    own = observed[:, None]
    finite = np.where(np.isfinite(own), own, 0.0)
    near = np.isfinite(own) & (np.abs(ascending - finite) <= ROUNDING * np.abs(finite))
    same = near | (ascending == own)
    below = ((~same & (ascending < own)).sum(axis=1) + same.sum(axis=1) / 2) / size
    bias = ndtri(np.clip(below, 1 / (size + 1), size / (size + 1)))
    ends = []
    for z in (ndtri((1 - level) / 2), ndtri((1 + level) / 2)):
        moved = bias + z
        # Beyond its pole the correction says nothing: the outermost replicate.
        room = 1 - acceleration * moved
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = np.where(room > 0, ndtr(bias + moved / room), np.where(moved > 0, 1.0, 0.0))
        ends.append(ranked(ascending, tail))
    return ends[0], ends[1]


def acceleration(block: CurveReplicates, denominator: Denominator) -> Floats:
    r"""Return the acceleration of each curve of a block.

    .. math:: a = \frac{\sum_i g_i^3 \mu_{3,i}}{6 (\sum_i g_i^2 \sigma_i^2)^{3/2}}

    with the derivatives g of the statistic by each independent point, whose second and third
    central moments are :math:`\sigma_i^2` and :math:`\mu_{3,i}`: a sixth of the skewness of the
    linear part. The derivative is that of 1 / E, which is finite, over half a standard error.

    Args:
        block: The curves.
        denominator: Of the statistic.

    References:
        DiCiccio & Efron (1996), doi:10.1214/ss/1032280214, sec. 6.
    """
    (m, n), centre = block.shape, block.centre
    move = np.eye(n) * (block.error / 2)[:, :, None]
    ends = []
    for moved in (centre[:, None] + move, centre[:, None] - move):
        with np.errstate(divide="ignore"):
            ends.append(1 / of_curves(moved.reshape(m * n, n)).ratio(denominator))
    slope = ((ends[1] - ends[0]).reshape(m, n)) / block.error
    third = (slope**3 * third_moment(block.noise).reshape(m, n)).sum(axis=1)
    second = (slope**2 * block.error**2).sum(axis=1)
    usable = np.isfinite(third) & (second > 0)
    return np.where(usable, third, 0.0) / np.where(usable, 6 * second**1.5, 1.0)


def ranked(ascending: Floats, tail: Floats) -> Floats:
    """Return the order statistic of each row at a share, NaN not counting."""
    size = np.maximum((~np.isnan(ascending)).sum(axis=1), 1)
    # Up to rounding: 0.025 * 1000 is the 25th, not the 26th.
    rank = np.ceil((size + 1) * tail - 1e-9).astype(np.int64) - 1
    picked = np.take_along_axis(ascending, np.clip(rank, 0, size - 1)[:, None], axis=1)
    return np.asarray(picked[:, 0])


def third_moment(noise: PointNoise) -> Floats:
    """Return the third central moment of each point, 0 where it is normal."""
    with np.errstate(invalid="ignore"):
        span = noise.high - noise.low
        rate = (noise.mean - noise.low) / span
        moment = span**3 * rate * (1 - rate) * (1 - 2 * rate) / noise.n_examples**2
    return np.where(np.isfinite(noise.n_examples), moment, 0.0)


def intervals(cell: Cell, truth: Floats, n_boot: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the intervals of every curve, in their order."""
    if cell.noise == "scores":
        return both(build_curves(observations(cell, truth, rng)), None, cell.level, n_boot)
    found = []
    for start in range(0, len(truth), CHUNK):
        scores, samples = with_samples(cell, truth[start : start + CHUNK], rng)
        used = samples if cell.noise == "samples" else None
        found.append(both(build_curves(scores), used, cell.level, n_boot))
    return pd.concat(found, ignore_index=True)


def both(curves: Curves, samples: pd.DataFrame | None, level: float, n_boot: int) -> pd.DataFrame:
    """Return the intervals of the package with percentile and BCa intervals."""
    found = curve_intervals(
        curves, samples=samples, level=level, threshold=THRESHOLD, n_boot=n_boot
    )
    # The seeds that curve_intervals draws from its own, 0: the replicates are the same ones.
    first, second = (int(seed) for seed in np.random.default_rng(0).integers(1 << 62, size=2))
    first = int(np.random.default_rng(first).integers(1 << 62, size=2)[0])
    errors = sampling_errors(curves, samples=samples, n_boot=n_boot, seed=second)
    plain = plain_intervals(errors, curves.ragged, level=level, n_boot=n_boot, seed=first)
    return found.assign(**plain)


def example() -> None:
    """Print how many of 200 intervals contain the truth, for a step and for a line."""
    rng, n = np.random.default_rng(1), 200
    step, line = np.repeat([0.1, 0.8], 4), np.linspace(0.1, 0.8, 8)
    for name, truth, statistic, true in (
        ("step", step, "emergence", np.inf), ("line", line, "linearity", 7.0),
    ):  # fmt: skip
        score = rng.binomial(n, truth, (200, 8)).ravel() / n
        columns = {"metric": "exact_str_match", "score": score, "n_examples": n}
        found = both(build_curves(frame(200, 8, columns)), None, 0.95, 499)
        for kind in ("_percentile", "_bca", ""):
            low, high = (found[f"{statistic}{kind}_{end}"].to_numpy() for end in ("low", "high"))
            share = rates(low, high, np.full(200, true))[0]
            print(f"{name}, {statistic}{kind.replace('_', ', ')}: {share:.0%}")


def run_cell(cell: Cell, n_curves: int, n_boot: int) -> dict[str, Any]:
    """Simulate a cell and return how often the truth is where."""
    begun = time.monotonic()
    rng = np.random.default_rng(list(cell.name.encode()))
    truth = expected(cell, n_curves, rng)
    found = intervals(cell, truth, n_boot, rng)
    ok = (found["interval_status"] == "ok").to_numpy()
    offsets = np.arange(n_curves + 1) * cell.n_scales
    scores = score_ragged(truth.ravel(), offsets)
    row: dict[str, Any] = {
        "name": cell.name, "curves": n_curves, "boot": n_boot, "ok": float(ok.mean()),
    }  # fmt: skip
    for name, true in (
        ("emergence", scores.emergence_score), ("linearity", scores.linearity),
    ):  # fmt: skip
        for kind in ("", "_percentile", "_bca"):
            low, high = (found[f"{name}{kind}_{end}"].to_numpy()[ok] for end in ("low", "high"))
            row[f"{name}{kind}"] = rates(low, high, true[ok])
    row["no_end"] = float(np.isinf(found["emergence_high"][ok]).mean())
    row["true_median"] = float(np.median(scores.emergence_score[ok]))
    sure: NDArray[np.bool_] = found["p_above_threshold"].to_numpy()[ok] > (1 + cell.level) / 2
    below: NDArray[np.bool_] = scores.emergence_score[ok] <= THRESHOLD
    row["falsely_sure"] = float(sure[below].sum() / max(below.sum(), 1))
    row["rightly_sure"] = float(sure[~below].sum() / max((~below).sum(), 1))
    row["above"] = float((~below).mean())
    row["seconds"] = round(time.monotonic() - begun, 1)
    return row


def rates(low: Floats, high: Floats, true: Floats) -> list[float]:
    """Return the shares of intervals that contain the truth, lie above it, and lie below it."""
    # A line over n points has n - 1 and its interval ends there, up to rounding.
    with np.errstate(invalid="ignore"):
        over = (low > true) & (low - true > 1e-9 * np.abs(true))
        under = (high < true) & (true - high > 1e-9 * np.abs(high))
    return [1 - float(over.mean()) - float(under.mean()), float(over.mean()), float(under.mean())]


COLUMNS: Final = {
    "emergence": "E", "emergence_percentile": "E, percentile", "emergence_bca": "E, BCa",
    "linearity": "linearity", "linearity_percentile": "percentile", "linearity_bca": "BCa",
    "no_end": "no upper end", "true_median": "median true E",
}  # fmt: skip


def table(rows: list[tuple[Cell, dict[str, Any]]]) -> str:
    """Return a Markdown table."""
    first = ["shape", "scales", "examples"]
    if any(cell.grid == "other" for cell, _ in rows):
        first = ["setting"]
    lines = [
        "| " + " | ".join([*first, *COLUMNS.values()]) + " |",
        "|" + "---|" * (len(first) + len(COLUMNS)),
    ]
    for cell, row in rows:
        place = [cell.shape, str(cell.n_scales), str(cell.n_examples)]
        if first == ["setting"]:
            place = [cell.name.removeprefix("other ")]
        values = [row[key][0] if isinstance(row[key], list) else row[key] for key in COLUMNS]
        texts = [f"{value:.3f}" for value in values[:-1]]
        texts.append("∞" if np.isinf(values[-1]) else f"{values[-1]:.3g}")
        lines.append("| " + " | ".join([*place, *texts]) + " |")
    return "\n".join(lines)


def write_docs(path: Path, done: dict[str, dict[str, Any]]) -> None:
    """Put the tables between the markers of a file."""
    text = path.read_text()
    for grid in ("main", "other"):
        rows = [
            (cell, done[cell.name]) for cell in cells() if cell.grid == grid and cell.name in done
        ]
        text = put_between(text, grid, table(rows), path)
    path.write_text(text)


def summarise(done: dict[str, dict[str, Any]]) -> None:
    """Print the extremes over the main grid, and the cells outside of 0.92 to 0.97."""
    rows = [done[cell.name] for cell in cells() if cell.grid == "main" and cell.name in done]
    for key in list(COLUMNS)[:6]:
        values = [row[key][0] for row in rows]
        few = sum(value < 0.92 for value in values)
        many = sum(value > 0.97 for value in values)
        print(f"{key}: {min(values):.3f} to {max(values):.3f}; {few} below 0.92, {many} above 0.97")
    print(f"falsely sure of E > {THRESHOLD:g}: at most {max(r['falsely_sure'] for r in rows):.3f}")


def main() -> None:
    """Run the cells that are wanted and not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON lines, appended to")
    parser.add_argument("--cells", default="", help="only cells whose name contains this")
    parser.add_argument("--curves", type=int, default=1000, help="curves a cell")
    parser.add_argument("--boot", type=int, default=299, help="bootstrap replicates a curve")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--docs", type=Path, help="write the tables into this file and stop")
    parser.add_argument("--summary", action="store_true", help="print the extremes and stop")
    parser.add_argument("--example", action="store_true", help="print a small example and stop")
    options = parser.parse_args()
    if options.example:
        example()
        return
    if options.out is None:
        parser.error("--out is needed")
    done = read(options.out)
    if options.docs or options.summary:
        if options.docs:
            write_docs(options.docs, done)
        summarise(done)
        return
    wanted = [cell for cell in cells() if options.cells in cell.name and cell.name not in done]
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = [pool.submit(run_cell, cell, options.curves, options.boot) for cell in wanted]
        for number, task in enumerate(as_completed(tasks), start=1):
            row = task.result()
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            shown = [[round(rate, 3) for rate in row[key]] for key in ("emergence", "linearity")]
            print(f"{number}/{len(tasks)} {row['name']}: {shown} {row['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
