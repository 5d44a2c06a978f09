"""How often ``convexity`` is wrong, on pass rates whose class is known.

Every cell simulates curves of pass counts: by the task scaling law, or by the two mechanisms with
which Hu et al. (2024), sec. 6, explain the other classes (steps that must all succeed, whose losses
add up: sub-scaling; the best of two circuits: super-scaling), with models that differ from their
law. Sizes are uneven, and the variation between models is of other forms than that of the test as
well. One line of JSON a cell is appended to ``--out``; what is there is not done again.
``--docs FILE`` writes the table between the markers of that file.

    python scripts/convexity_calibration.py --out convexity.jsonl --jobs 2    # half an hour
    python scripts/convexity_calibration.py --out convexity.jsonl --docs docs/seeds.md
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from simulated_cells import options_of, put_between, read, run_cells

from bigbench_meta.inference.convexity import CLASSES, convexity_ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DECADES: Final = (1.5, 3.5)  # from the smallest to the largest model
ALPHAS: Final = (0.1, 1.0)
LEVELS: Final = (-1.0, 1.5)  # log(-log PU) in the middle: rates from 0.69 to 0.011
MOST_SAMPLES: Final = 100_000  # of a sample until r passes


@dataclass(frozen=True)
class Cell:
    """What is simulated.

    ``until`` is r of a sample until r passes, 0 for a fixed number of samples. ``form`` is the
    distribution of the variation between models, or where it acts.
    """

    truth: str = "law"
    n_sizes: int = 8
    seeds: int = 1
    samples: int = 200
    sigma: float = 0.2
    form: str = "normal"
    until: int = 0

    @property
    def name(self) -> str:
        """Name, by which --cells chooses and --out remembers."""
        return ", ".join(f"{key}={value}" for key, value in asdict(self).items())


def cells() -> list[Cell]:
    """Return what is measured."""
    return [
        *(Cell(sigma=sigma, samples=n) for sigma in (0.0, 0.2, 0.5) for n in (50, 1000)),
        *(Cell(n_sizes=n_sizes) for n_sizes in (4, 5, 6, 12)),
        Cell(n_sizes=5, sigma=0.5),
        Cell(form="t with 3 df"),
        Cell(form="logit", sigma=0.3),
        Cell(form="larger at small sizes", sigma=0.2),
        Cell(until=2),
        Cell(until=10),
        *(Cell(n_sizes=n, seeds=5) for n in (3, 5, 8)),
        Cell(n_sizes=5, seeds=5, sigma=0.5),
        *(Cell(truth=truth, n_sizes=n, seeds=seeds)
          for truth in ("steps", "circuits") for n, seeds in ((5, 1), (8, 1), (12, 1), (5, 5))),
        *(Cell(truth=truth, sigma=0.5) for truth in ("steps", "circuits")),
    ]  # fmt: skip


def losses(cell: Cell, x: Floats, rng: np.random.Generator) -> Floats:
    """Return log(-log PU) of the law, or of one of the two mechanisms, at log sizes (m, n)."""
    m = len(x)
    alpha, level = rng.uniform(*ALPHAS, (m, 1)), rng.uniform(*LEVELS, (m, 1))
    if cell.truth == "law":
        return np.asarray(level - alpha * x)
    # Two power laws that cross near the middle, one five times as steep.
    across = rng.uniform(-0.2, 0.2, (m, 1)) * np.ptp(x, axis=1, keepdims=True)
    flat, steep = (level - slope * (x - across) for slope in (alpha / 4, alpha * 5 / 4))
    worse, better = np.logaddexp(flat, steep), np.minimum(flat, steep)
    return np.asarray(worse if cell.truth == "steps" else better)


def varied(cell: Cell, log_loss: Floats, x: Floats, rng: np.random.Generator) -> Floats:
    """Return the pass rate of each model, which differs from that of its size."""
    normal = rng.standard_normal(x.shape)
    if cell.form == "logit":
        rate = np.clip(np.exp(-np.exp(log_loss)), 1e-300, 1 - 1e-15)
        odds = rate / (1 - rate) * np.exp(cell.sigma * normal)
        return np.asarray(odds / (1 + odds))
    if cell.form == "t with 3 df":
        normal = rng.standard_t(3, x.shape) / 3**0.5
    elif cell.form == "larger at small sizes":
        place = (x - x.min(axis=1, keepdims=True)) / np.ptp(x, axis=1, keepdims=True)
        normal = normal * (2 - 1.5 * place)
    return np.asarray(np.exp(-np.exp(log_loss + cell.sigma * normal)))


def simulated(cell: Cell, m: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return passes, samples and log sizes of m curves, shape (m, points)."""
    x = np.sort(rng.uniform(0, 1, (m, cell.n_sizes)), axis=1)
    x[:, 0], x[:, -1] = 0, 1
    x = (x - 0.5) * np.log(10) * rng.uniform(*DECADES, (m, 1))
    x = np.repeat(x, cell.seeds, axis=1)
    log_loss = losses(cell, x, rng)
    rate = varied(cell, log_loss, x, rng)
    if not cell.until:
        return rng.binomial(cell.samples, rate).astype(float), np.full(x.shape, cell.samples), x
    tries = rng.negative_binomial(cell.until, np.maximum(rate, 1e-9)) + cell.until
    capped = np.minimum(tries, MOST_SAMPLES)
    stopped = rng.binomial(MOST_SAMPLES, rate, x.shape)  # of those that never came to r
    passes = np.where(tries <= MOST_SAMPLES, cell.until, np.minimum(stopped, cell.until - 1))
    return passes.astype(float), capped.astype(float), x


def run_cell(cell: Cell, n_curves: int, n_boot: int) -> dict[str, Any]:
    """Simulate a cell and return its rates among the curves that could be tested."""
    rng = np.random.default_rng(list(cell.name.encode()))
    passes, samples, x = simulated(cell, n_curves, rng)
    found = convexity_ragged(
        passes.ravel(), samples.ravel(), np.exp(x - x.min()).ravel(),
        np.arange(n_curves + 1) * x.shape[1], n_boot=n_boot,
    )  # fmt: skip
    ok = found.status == 0
    row: dict[str, Any] = {"name": cell.name, "curves": n_curves, "tested": float(ok.mean())}
    row |= {name: float((found.verdict[ok] == i).mean()) for i, name in enumerate(CLASSES)}
    return row | {"width": float(np.median((found.high - found.low)[ok]))}


def table(rows: list[tuple[Cell, dict[str, Any]]]) -> str:
    """Return a Markdown table."""
    names = ["truth", "sizes", "seeds", "samples", "σ", "variation", "tested", "sub", "law",
             "super", "cannot tell", "interval"]  # fmt: skip
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for cell, row in rows:
        samples = f"until {cell.until} pass" if cell.until else str(cell.samples)
        setting = [cell.truth, cell.n_sizes, cell.seeds, samples, f"{cell.sigma:g}", cell.form]
        shares = [f"{row[name]:.3f}" for name in ("tested", *CLASSES)]
        lines.append("| " + " | ".join([*map(str, setting), *shares, f"{row['width']:.2g}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the cells that are not done yet, or write the table of those that are."""
    options = options_of(__doc__, curves=400, boot=199)
    done = read(options.out)
    if options.docs:
        rows = [(cell, done[cell.name]) for cell in cells() if cell.name in done]
        text = options.docs.read_text()
        options.docs.write_text(put_between(text, "convexity", table(rows), options.docs))
        return
    run_cells(cells(), run_cell, options.curves, options.boot, options=options)


if __name__ == "__main__":
    main()
