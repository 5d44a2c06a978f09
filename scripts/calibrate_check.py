"""How often a verdict on one claim is wrong, and how often there is none.

Claims are simulated by the formulas of Schaeffer et al. (2023), sec. 2, and not by those of the
check: a per-token loss that is a power law of 4 to 12 uneven sizes, smooth or with a loss 20 times
smaller from one of them on; exact match of 1 to 7 tokens or multiple choice of 2 to 5 options; 50
to 5,000 examples; models that differ by 0 to 0.3 in log loss. One line of JSON a cell is appended
to ``--out``; what is there is not done again. ``--docs FILE`` writes the tables.

    python scripts/calibrate_check.py --out check.jsonl --claims 1000
    python scripts/calibrate_check.py --out check.jsonl --docs docs/check.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from simulated_cells import options_of, put_between, read, run_cells

import bigbench_meta as bm
from bigbench_meta.core.binomial import clopper_pearson
from bigbench_meta.generate.multiple_choice import expected_multiple_choice_grade

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GPT3: Final = (125e6, 356e6, 760e6, 1.32e9, 2.65e9, 6.66e9, 12.9e9, 175e9)
CONCENTRATIONS: Final = (0.0, 1.0, 10.0, 100.0)  # 0: models know an answer or guess
SIZES: Final = {"4 to 6 sizes": (4, 6), "7 to 9 sizes": (7, 9), "10 to 12 sizes": (10, 12)}
EXAMPLES: Final = {
    "50 to 199 examples": (50, 199), "200 to 999 examples": (200, 999),
    "1,000 to 5,000 examples": (1000, 5000),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is simulated.

    Attributes:
        name: Its name.
        factor: By how much the loss falls at the step; 1 for smooth claims.
        sigma: Variation between models in log loss; each claim has one of them.
        spread: Standard deviation of log sigma over claims.
        tails: Degrees of freedom of Student's t instead of the normal distribution.
        irreducible: Irreducible loss, in units of the mean loss.
        alpha: Range of the exponent.
        sizes: Of the models, instead of uneven ones.
        among: Of how many smooth claims the one with the largest E is checked.
        told: Whether the check is told of how many.
        loss: Range of the loss per token at the mean log size.
    """

    name: str
    factor: float = 1.0
    sigma: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)
    spread: float = 0.0
    tails: int | None = None
    irreducible: float = 0.0
    alpha: tuple[float, float] = (0.05, 0.34)
    sizes: tuple[float, ...] | None = None
    among: int = 1
    told: bool = True
    loss: tuple[float, float] = (0.15, 2.0)


def cells() -> list[Cell]:
    """Return smooth and stepped claims, as the prior has them and otherwise."""
    others: dict[str, dict[str, Any]] = {
        "as above": {},
        "GPT-3's sizes": {"sizes": GPT3},
        "sigma 0.5": {"sigma": (0.5,)},
        "sigma 0.8": {"sigma": (0.8,)},
        "spread of log sigma 0.7": {"sigma": (0.2,), "spread": 0.7},
        "t(3) models, sigma 0.3": {"sigma": (0.3,), "tails": 3},
        "irreducible loss 0.5": {"irreducible": 0.5},
        "irreducible loss 2": {"irreducible": 2.0},
        "loss 2 to 8": {"loss": (2.0, 8.0)},
        "loss 4 to 20": {"loss": (4.0, 20.0)},
        "exponent 0.34, sigma 0.4, loss 5 to 10": {
            "alpha": (0.34, 0.34),
            "sigma": (0.4,),
            "loss": (5.0, 10.0),
        },
        "exponent 0.4 to 0.5": {"alpha": (0.4, 0.5)},
    }
    found = [
        Cell(name=f"{'step: ' if step else 'smooth: '}{name}", factor=20.0 if step else 1.0, **how)
        for name, how in others.items()
        for step in (False, True)
    ]
    found += [Cell(name=f"step: loss {f:g} times smaller", factor=f) for f in (5.0, 10.0, 100.0)]
    found.append(Cell(name="smooth: sharpest of 20, not told", among=20, told=False))
    found.append(Cell(name="smooth: sharpest of 20, told", among=20))
    return found


def claims(cell: Cell, m: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the observations of so many claims."""
    frames = []
    for number in range(m):
        n = len(cell.sizes) if cell.sizes else int(rng.integers(4, 13))
        places = np.concatenate([[0], rng.gamma(2.0, size=n - 1).cumsum()])
        decades = rng.uniform(1.5, 3.5) * places / places[-1]
        sizes = np.array(cell.sizes) if cell.sizes else np.rint(1e8 * 10**decades)
        log_size = np.log(sizes) - np.log(sizes).mean()
        loss = rng.uniform(*cell.loss) * np.exp(-rng.uniform(*cell.alpha) * log_size)
        loss += cell.irreducible * loss.mean()
        after = np.arange(n) >= rng.integers(1, n)
        loss *= np.where(after, cell.factor**-0.5, cell.factor**0.5)
        away = rng.standard_normal(n)
        if cell.tails:
            away = rng.standard_t(cell.tails, n) * np.sqrt((cell.tails - 2) / cell.tails)
        loss *= np.exp(rng.choice(cell.sigma) * np.exp(cell.spread * rng.standard_normal()) * away)
        n_examples = round(np.exp(rng.uniform(np.log(50), np.log(5000))))
        if rng.random() < 0.5:
            right, metric, low = np.exp(-int(rng.integers(1, 8)) * loss), "exact_str_match", 0.0
        else:
            choices, alike = int(rng.integers(2, 6)), float(rng.choice(CONCENTRATIONS))
            metric, low = "multiple_choice_grade", 1 / choices
            right = low + (1 - low) * np.exp(-loss)
            if alike:
                right = expected_multiple_choice_grade(
                    loss, n_choices=choices, concentration=alike, chance_floor=True
                )
        frames.append(
            pd.DataFrame(
                {"benchmark": "simulated", "task": f"{number:05d}", "metric": metric,
                 "model_family": "family", "model_name": sizes.astype(str), "total_params": sizes,
                 "score": rng.binomial(n_examples, np.clip(right, 0, 1)) / n_examples,
                 "n_examples": n_examples, "low_score": low, "high_score": 1.0}
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def run_cell(cell: Cell, n_claims: int) -> dict[str, Any]:
    """Return how many claims have each verdict, by sizes and examples."""
    rng = np.random.default_rng([*cell.name.encode()])
    curves = bm.build_curves(claims(cell, n_claims, rng))
    if (many := cell.among) > 1:
        score = bm.score_curves(curves)["emergence_score"].fillna(-np.inf).to_numpy()
        groups = np.arange(len(score) // many * many).reshape(-1, many)
        curves = curves[groups[np.arange(len(groups)), score[groups].argmax(axis=1)]]
    verdict = bm.claim_verdicts(curves, among=many if cell.told else 1)["verdict"]
    sizes, examples = curves.ragged.lengths, curves.n_examples[curves.offsets[:-1]]
    row: dict[str, Any] = {"name": cell.name, "claims": len(verdict), **_counts(verdict)}
    for name, (low, high) in SIZES.items():
        row[name] = _counts(verdict[(sizes >= low) & (sizes <= high)])
    for name, (low, high) in EXAMPLES.items():
        row[name] = _counts(verdict[(examples >= low) & (examples <= high)])
    return row


def _counts(verdict: pd.Series[str]) -> dict[str, int]:
    return {name: int((verdict == name).sum()) for name in ("explained", "sharper", "undecidable")}


def table(done: dict[str, dict[str, Any]]) -> str:
    """Return the verdicts by cell as a Markdown table."""
    rows = ["| claims | number | explained | sharper | undecidable | wrong |", "|---" * 6 + "|"]
    for cell in cells():
        if cell.name in done:
            row = done[cell.name]
            wrong = row["explained" if cell.name.startswith("step") else "sharper"]
            rows.append(_row(cell.name, row, row["claims"], wrong))
    return "\n".join(rows)


def table_of_undecidable(done: dict[str, dict[str, Any]]) -> str:
    """Return the share of claims without a verdict by sizes and examples."""
    rows = ["| | smooth: undecidable | step: undecidable |", "|---|---|---|"]
    for name in (*SIZES, *EXAMPLES):
        parts = [done[f"{kind}: as above"][name] for kind in ("smooth", "step")]
        shares = [part["undecidable"] / max(sum(part.values()), 1) for part in parts]
        rows.append(f"| {name} | {shares[0]:.2f} | {shares[1]:.2f} |")
    return "\n".join(rows)


def _row(name: str, row: dict[str, Any], n: int, wrong: int) -> str:
    high = clopper_pearson(np.array([wrong]), np.array([n]), confidence=0.98).high[0]
    shares = [f"{row[one] / n:.3f}" for one in ("explained", "sharper", "undecidable")]
    return f"| {name} | {n} | {' | '.join(shares)} | {wrong / n:.3f} (< {high:.3f}) |"


def main() -> None:
    """Run the cells that are missing, or write the tables."""
    options = options_of(__doc__ or "", claims=1000)
    if options.docs:
        text, done = options.docs.read_text(), read(options.out)
        text = put_between(text, "check", table(done), options.docs)
        text = put_between(text, "undecidable", table_of_undecidable(done), options.docs)
        options.docs.write_text(text)
        return
    run_cells(cells(), run_cell, options.claims, options=options)


if __name__ == "__main__":
    main()
