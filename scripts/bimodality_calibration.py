"""How often ``bimodality`` finds two modes where there is one, and where there are two.

Every cell simulates seeds at one scale: pass rates of one mode (uniform, skewed, at the ends of
their range, one rate for all) or of two, seen through a test set or as they are. One line of JSON a
cell is appended to ``--out``; what is there is not done again. ``--docs FILE`` writes the tables
between the markers of that file.

    python scripts/bimodality_calibration.py --out bimodality.jsonl --jobs 2    # minutes
    python scripts/bimodality_calibration.py --out bimodality.jsonl --docs docs/seeds.md
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from simulated_cells import options_of, put_between, read, run_cells

from bigbench_meta.inference.bimodality import dip_test, one_rate_p, two_modes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SPLITS: Final = 0.2  # share of the simulated sets that are split in two, which takes longer


@dataclass(frozen=True)
class Cell:
    """What is simulated: ``examples`` is 0 where rates are seen as they are."""

    rates: str
    seeds: int = 40
    examples: int = 100
    share: float = 0.0

    @property
    def name(self) -> str:
        """Name, by which --cells chooses and --out remembers."""
        return ", ".join(f"{key}={value}" for key, value in asdict(self).items())


ONE_MODE: Final = (
    "uniform 0..1", "uniform 0.2..0.4", "one rate 0.3", "one rate 0.01", "beta(2, 5)",
    "beta(0.5, 5)", "beta(1, 20)", "beta(20, 1)", "wide at one side",
)  # fmt: skip
TWO_MODES: Final = ("0.02 and 0.6", "0.2 and 0.5", "0.3 and 0.45", "0 and 0.3")


def cells() -> list[Cell]:
    """Return what is measured."""
    return [
        *(Cell(rates) for rates in ONE_MODE),
        *(Cell("uniform 0..1", seeds, n) for seeds in (10, 20, 80) for n in (100, 0)),
        *(Cell("uniform 0.2..0.4", seeds, n) for seeds in (20, 80) for n in (50, 1000)),
        *(Cell("beta(0.5, 5)", seeds, n) for seeds in (20, 80) for n in (100, 0)),
        *(Cell(rates, share=share) for rates, share in product(TWO_MODES, (0.2, 0.5))),
        *(Cell(rates, seeds, share=0.3) for rates, seeds in product(TWO_MODES[:2], (10, 20))),
    ]


def rates(cell: Cell, m: int, rng: np.random.Generator) -> Floats:
    """Return pass rates of shape (m, seeds), and of two modes those of a spread of 0.05 in each."""
    shape = (m, cell.seeds)
    kind, _, rest = cell.rates.partition(" ")
    if cell.share:
        low, high = (float(part) for part in cell.rates.split(" and "))
        centre = np.where(rng.random(shape) < cell.share, high, low)
        spread = 0.05 * np.sqrt(centre * (1 - centre)) * 2  # less near the ends of the range
        return np.asarray(np.clip(centre + spread * rng.standard_normal(shape), 0, 1))
    if kind == "uniform":
        low, high = (float(part) for part in rest.split(".."))
        return rng.uniform(low, high, shape)
    if kind == "one":
        return np.full(shape, float(rest.removeprefix("rate ")))
    if kind == "wide":  # a steep rise and a long slope, half a normal distribution each
        z = rng.standard_normal(shape)
        return np.asarray(np.clip(np.where(z < 0, 0.2 + 0.02 * z, 0.2 + 0.25 * z), 0, 1))
    a, b = (float(part) for part in cell.rates.removeprefix("beta(").rstrip(")").split(","))
    return rng.beta(a, b, shape)


def run_cell(cell: Cell, n_sets: int) -> dict[str, Any]:
    """Simulate a cell and return its rates."""
    rng = np.random.default_rng(list(cell.name.encode()))
    truth = rates(cell, n_sets, rng)
    n = cell.examples
    count = rng.binomial(n, truth) if n else truth
    score = count / n if n else truth
    usable = np.ptp(score, axis=1) > 0
    dips = [dip_test(one, resolution=1 / n if n else 0.0).p_value for one in score[usable]]
    row: dict[str, Any] = {
        "name": cell.name, "sets": n_sets, "tested": float(usable.mean()),
        "two": float((np.array(dips) <= 0.05).mean()),
    }  # fmt: skip
    few = int(n_sets * SPLITS)
    if n:
        examples = np.full(cell.seeds, n)
        differ = [one_rate_p(one, examples, n_draws=199, seed=1) for one in count[:few]]
        row["differ"] = float((np.array(differ) <= 0.05).mean())
    if cell.share:
        split = [two_modes(one, np.full(cell.seeds, n)) for one in score[usable][:few]]
        ends = np.array([(one.share_low, one.share_high) for one in split])
        low, high = (float(part) for part in cell.rates.split(" and "))
        row |= {
            "covered": float(((ends[:, 0] <= cell.share) & (cell.share <= ends[:, 1])).mean()),
            "width": float(np.median(ends[:, 1] - ends[:, 0])),
            "gap": float(np.median([one.upper - one.lower for one in split])),
            "true_gap": high - low,
        }
    return row


def table(rows: list[tuple[Cell, dict[str, Any]]], *, two: bool) -> str:
    """Return a Markdown table."""
    columns = {"two": "two modes", "differ": "rates differ", "tested": "tested"}
    if two:
        columns |= {"covered": "interval has share", "width": "its width", "gap": "gap",
                    "true_gap": "true gap"}  # fmt: skip
    names = ["rates", *(["share of upper"] if two else []), "seeds", "examples", *columns.values()]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for cell, row in rows:
        setting = [cell.rates, *([f"{cell.share:g}"] if two else []), str(cell.seeds)]
        setting.append(str(cell.examples) if cell.examples else "exact")
        shown = [f"{row[key]:.3f}" if key in row else "" for key in columns]
        lines.append("| " + " | ".join([*setting, *shown]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the cells that are not done yet, or write the tables of those that are."""
    options = options_of(__doc__, sets=1000)
    done = read(options.out)
    if options.docs:
        text = options.docs.read_text()
        for name, two in (("one mode", False), ("two modes", True)):
            rows = [
                (cell, done[cell.name])
                for cell in cells()
                if cell.name in done and bool(cell.share) == two
            ]
            text = put_between(text, name, table(rows, two=two), options.docs)
        options.docs.write_text(text)
        return
    run_cells(cells(), run_cell, options.sets, options=options)


if __name__ == "__main__":
    main()
