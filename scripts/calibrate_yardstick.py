"""How often the yardstick finds more flags than smooth improvement explains, where all is smooth.

Every cell simulates studies of 40 curves of one model family by the formulas of Schaeffer et al.
(2023), sec. 2, and not by those of the yardstick, and asks ``expected_if_smooth`` of each. One line
of JSON a cell is appended to ``--out``; what is there is not done again. ``--every N`` runs other
cells instead: N studies each of which is analysed whole, as is one simulated study for each, and
all criteria are counted. ``--docs FILE`` writes the tables between the markers of that file.

    python scripts/calibrate_yardstick.py --out yardstick.jsonl --studies 1000   # two hours
    python scripts/calibrate_yardstick.py --out yardstick.jsonl --every 100      # an hour
    python scripts/calibrate_yardstick.py --out yardstick.jsonl --docs docs/yardstick.md
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from simulated_cells import options_of, put_between, read, run_cells

import bigbench_meta as bm
from bigbench_meta.aggregate.emergence_criteria import CRITERIA, meets
from bigbench_meta.aggregate.yardstick import SmoothStudies
from bigbench_meta.core.binomial import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CURVES: Final = 40
SIMULATED: Final = 199  # studies with which each is compared
GPT3: Final = (125e6, 356e6, 760e6, 1.32e9, 2.65e9, 6.66e9, 12.9e9, 175e9)
EVEN: Final = tuple(np.geomspace(2e6, 1.3e11, 12).round().tolist())
STEP: Final = 3.0  # fall of the log loss between two models: a loss 20 times smaller


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is simulated.

    Attributes:
        name: Its name.
        sizes: Of the models.
        n: Test examples.
        sigma: Variation between models in log loss, median over tasks.
        spread: Standard deviation of log sigma over tasks.
        tails: Degrees of freedom of Student's t instead of the normal distribution.
        shared: Part of the variance between models that all tasks share.
        choices: Choices of a question, for multiple choice instead of exact match.
        longest: Longest target, in tokens; lengths are 1 to it.
        irreducible: Irreducible loss, in units of the mean loss.
        steps: Share of curves with a step.
    """

    name: str
    sizes: tuple[float, ...] = GPT3
    n: int = 2000
    sigma: float = 0.2
    spread: float = 0.0
    tails: int | None = None
    shared: float = 0.0
    choices: int | None = None
    longest: int = 5
    irreducible: float = 0.0
    steps: float = 0.0


CELLS: Final = (
    Cell(name="GPT-3's sizes"),
    Cell(name="12 even sizes, 200 examples", sizes=EVEN, n=200),
    Cell(name="50 examples, targets of 1 to 10 tokens", n=50, longest=10),
    Cell(name="models alike (sigma 0)", sigma=0.0),
    Cell(name="sigma 0.5", sigma=0.5),
    Cell(name="spread of log sigma 0.7", spread=0.7),
    Cell(name="t(5) models", tails=5),
    Cell(name="models shared by tasks (0.8)", shared=0.8),
    Cell(name="irreducible loss", irreducible=0.5),
    Cell(name="multiple choice, 4 options, 200 examples", choices=4, n=200),
    Cell(name="10% true steps", steps=0.1),
    Cell(name="10% true steps, sigma 0.1", steps=0.1, sigma=0.1),
    Cell(name="25% true steps", steps=0.25),
    Cell(name="10% true steps, 12 even sizes", steps=0.1, sizes=EVEN),
)


def study(cell: Cell, rng: np.random.Generator) -> pd.DataFrame:
    """Return the observations of one study."""
    sizes = np.array(cell.sizes)
    m, n = CURVES, len(sizes)
    log_size = np.log(sizes) - np.log(sizes).mean()
    alpha = rng.uniform(0.05, 0.34, (m, 1))
    loss = rng.uniform(0.15, 2.0, (m, 1)) * np.exp(-alpha * log_size)
    loss += cell.irreducible * loss.mean(axis=1, keepdims=True)
    own = rng.standard_normal((m, n))
    if cell.tails:
        own = rng.standard_t(cell.tails, (m, n)) * np.sqrt((cell.tails - 2) / cell.tails)
    away = np.sqrt(1 - cell.shared) * own + np.sqrt(cell.shared) * rng.standard_normal(n)
    sigma = cell.sigma * np.exp(cell.spread * rng.standard_normal((m, 1)))
    loss *= np.exp(sigma * away)
    has_step = rng.random((m, 1)) < cell.steps
    after = np.arange(n) >= rng.integers(2, n - 1, (m, 1))
    loss *= np.where(has_step, np.exp(np.where(after, -STEP / 2, STEP / 2)), 1.0)
    if cell.choices:
        right = 1 / cell.choices + (1 - 1 / cell.choices) * np.exp(-loss)
        metric, low = "multiple_choice_grade", 1 / cell.choices
    else:
        right = np.exp(-loss * rng.integers(1, cell.longest + 1, (m, 1)))
        metric, low = "exact_str_match", 0.0
    return pd.DataFrame(
        {
            "benchmark": "simulated", "task": np.repeat([f"task {i}" for i in range(m)], n),
            "metric": metric, "model_family": "family",
            "model_name": np.tile(sizes, m).astype(str), "total_params": np.tile(sizes, m),
            "score": rng.binomial(cell.n, right).ravel() / cell.n, "n_examples": cell.n,
            "low_score": low, "high_score": 1.0,
        }
    )  # fmt: skip


def run_cell(cell: Cell, n_studies: int) -> dict[str, Any]:
    """Return how often the count of flags is above what is expected, and by how much."""
    found = []
    for number in range(n_studies):
        rng = np.random.default_rng([number, *cell.name.encode()])
        curves = bm.build_curves(study(cell, rng))
        found.append(
            bm.expected_if_smooth(curves, bm.score_curves(curves), n_studies=SIMULATED, seed=number)
        )
    every = pd.concat(found)
    every = every[every["group"] == "all"]
    return {"name": cell.name, "n_studies": n_studies} | {
        f"{criterion} {sigma}": {
            "rejected": int((rows["p_value"] <= 0.05).sum()),
            "observed": round(float(rows["observed"].mean()), 3),
            "expected": round(float(rows["expected"].mean()), 3),
        }
        for (criterion, sigma), rows in every.groupby(["criterion", "sigma"])
    }


# Every criterion ------------------------------------------------------------------------------

EVERY: Final = "every criterion, "
WHOLE: Final = {
    "GPT-3's sizes": "GPT-3's sizes",
    "12 even sizes, 200 examples": "12 even sizes",
    "spread of log sigma 0.7": "spread 0.7",
    "multiple choice, 4 options, 200 examples": "multiple choice",
    "10% true steps": "10% true steps",
}
VARIATIONS: Final = ("curve", "family")


def run_whole(cell: Cell, n_studies: int) -> dict[str, Any]:
    """Return how many curves meet each criterion in each study, and in one simulated for each."""
    counts: dict[str, list[int]] = {}
    for number in range(n_studies):
        rng = np.random.default_rng([number, *cell.name.encode()])
        curves = bm.build_curves(study(cell, rng))
        smooth = SmoothStudies.of(curves, seed=number)
        has_laws = np.isin(np.arange(len(curves)), smooth.laws.curves)
        drawn = {name: next(smooth.studies(name, 1)) for name in VARIATIONS}
        for name, one in {"observed": curves[has_laws], **drawn}.items():
            scores = bm.score_curves(one, inference=True, seed=number)
            for criterion in CRITERIA:
                met = meets(scores, criterion.name).sum()
                counts.setdefault(f"{criterion.name} {name}", []).append(int(met))
    return {"name": cell.name, "n_studies": n_studies, **counts}


def table_of_criteria(done: dict[str, dict[str, Any]]) -> str:
    """Return what the criteria count as a Markdown table."""
    some = {short: done[EVERY + name] for name, short in WHOLE.items() if EVERY + name in done}
    heads = ["criterion", "σ", *some, "any smooth: p ≤ 0.05"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for criterion in CRITERIA:
        for variation in VARIATIONS:
            cells, rejected, n = [], 0, 0
            for short, one in some.items():
                observed = np.array(one[f"{criterion.name} observed"])
                drawn = np.array(one[f"{criterion.name} {variation}"])
                as_many = (drawn >= observed[:, None]).sum(axis=1)
                k = int(((1 + as_many) / (1 + len(drawn)) <= 0.05).sum())
                cells.append(f"{observed.mean():.2f} / {drawn.mean():.2f}, {k / len(observed):.2f}")
                if "steps" not in short:
                    rejected, n = rejected + k, n + len(observed)
            rows.append(
                f"| `{criterion.name}` | {variation} | {' | '.join(cells)} | {_rate(rejected, n)} |"
            )
    return "\n".join(rows)


# The tables -----------------------------------------------------------------------------------


def table(done: dict[str, dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    sigmas = ("curve", "family", "zero")
    heads = [
        "studies of 40 curves", "flags", "expected: own σ", "family's", "σ = 0",
        "p ≤ 0.05: own σ", "family's", "σ = 0", "by resolution-limited E: own σ", "family's",
        "σ = 0", "studies",
    ]  # fmt: skip
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for cell in CELLS:
        if cell.name not in done:
            continue
        one = done[cell.name]
        flags = [one[f"flagged {sigma}"] for sigma in sigmas]
        limited = [one[f"resolution_limited {sigma}"] for sigma in sigmas]
        n = one["n_studies"]
        cells = [
            f"{flags[0]['observed']:.2f}", *(f"{of['expected']:.2f}" for of in flags),
            *(_rate(of["rejected"], n) for of in (*flags, *limited)), str(n),
        ]  # fmt: skip
        rows.append(f"| {cell.name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _rate(k: int, n: int) -> str:
    high = clopper_pearson(np.array([k]), np.array([n]), confidence=0.98).high[0]
    return f"{k / n:.3f} (< {high:.3f})"


def main() -> None:
    """Run the cells that are missing, or write the table."""
    options = options_of(__doc__ or "", studies=1000, every=0)
    if options.docs:
        text, done = options.docs.read_text(), read(options.out)
        text = put_between(text, "yardstick", table(done), options.docs)
        text = put_between(text, "criteria", table_of_criteria(done), options.docs)
        options.docs.write_text(text)
        return
    if options.every:
        whole = [replace(cell, name=EVERY + cell.name) for cell in CELLS if cell.name in WHOLE]
        run_cells(whole, run_whole, options.every, options=options)
        return
    run_cells(CELLS, run_cell, options.studies, options=options)


if __name__ == "__main__":
    main()
