"""Curve scores by hand and at random, for the tests of what accounts for the flags."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

TYPES = ("discontinuous", "nonlinear", "linear", "continuous", "unknown")
CLASS = {
    "discontinuous": "sharp", "nonlinear": "sharp", "linear": "smooth", "continuous": "smooth",
    "unknown": "unknown",
}  # fmt: skip


def curve(**fields: Any) -> dict[str, Any]:
    """Return one row of curve scores; the status and the sharpnesses follow from the score."""
    row: dict[str, Any] = {
        "benchmark": "b", "task": "t", "metric": "m", "metric_type": "nonlinear",
        "model_family": "f", "shots": 0, "variant": None, "n_scales": 8, "n_examples_min": 100,
        "emergence_score": 5.0, "resolution": math.nan,
    } | fields  # fmt: skip
    row.setdefault("subtask", row["task"])
    score = row["emergence_score"]
    flat = math.isnan(score)
    row.setdefault("status", "flat" if flat else "zero_median" if math.isinf(score) else "ok")
    row.setdefault("relative_sharpness", score / (row["n_scales"] - 1))
    row.setdefault("resolution_limited_score", math.nan)
    return row


def curve_scores(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return curve scores with the types that :func:`score_curves` gives them."""
    frame = pd.DataFrame([curve(**row) for row in rows], columns=list(curve()))
    whole = ("shots", "n_examples_min")
    texts = ("benchmark", "task", "subtask", "metric", "model_family", "variant")
    kinds = dict.fromkeys(whole, "Int64") | dict.fromkeys(texts, "category")
    return frame.astype(kinds)


def made_of(cells: dict[str, tuple[int, int]], n_tasks: int = 8) -> pd.DataFrame:
    """Return scores of so many curves of a class (flagged, not), dealt out to tasks in turn."""
    kinds = {"sharp": "nonlinear", "smooth": "linear", "unknown": "unknown"}
    made = [
        {"metric_type": kinds[name], "emergence_score": score}
        for name, (hits, others) in cells.items()
        for score in [300.0] * hits + [3.0] * others
    ]
    return curve_scores(
        [row | {"task": f"t{i % n_tasks}", "metric": f"m{i}"} for i, row in enumerate(made)]
    )


SCORES = st.sampled_from([math.inf, -math.inf, math.nan, -200.0, 3.0, 90.0, 100.0, 101.0, 450.0])


@st.composite
def random_scores(draw: st.DrawFn, *, most: int = 24) -> pd.DataFrame:
    """Draw curve scores with every kind of score, of few tasks, each key once."""
    keys = draw(
        st.lists(
            st.tuples(
                st.sampled_from("abcd"),
                st.sampled_from(range(5)),
                st.sampled_from("FG"),
                st.sampled_from([0, 1, None]),
            ),
            unique=True,
            max_size=most,
        )
    )
    return curve_scores(
        [
            {
                "task": task, "metric": f"m{kind}", "metric_type": TYPES[kind],
                "model_family": family, "shots": shots, "emergence_score": draw(SCORES),
            }
            for task, kind, family, shots in keys
        ]
    )  # fmt: skip


def simulated_scores(
    seed: int,
    *,
    n_tasks: int = 40,
    odds_ratio: float = 3.0,
    chance: float = 0.25,
    within: bool = True,
    agreement: float = 0.3,
) -> pd.DataFrame:
    """Simulate curves whose flags have a known odds ratio, and which agree within tasks.

    Args:
        seed: Of the random numbers.
        n_tasks: Number of tasks.
        odds_ratio: Of being flagged, sharp over smooth metrics, over all curves.
        chance: That a curve of a smooth metric is flagged.
        within: Whether each task has both classes of metric; else two thirds have sharp ones.
        agreement: Correlation of the flags of a task and class.
    """
    rng = np.random.default_rng(seed)
    odds = odds_ratio * chance / (1 - chance)
    chances = {"nonlinear": odds / (1 + odds), "continuous": chance}
    size = (1 - agreement) / agreement
    rows = []
    for task in range(n_tasks):
        for kind, p in chances.items():
            if not within and (kind == "nonlinear") != (task % 3 > 0):
                continue
            its_chance = rng.beta(p * size, (1 - p) * size)
            for number in range(rng.integers(1, 8)):
                score = 150.0 if rng.random() < its_chance else 5.0
                rows.append(
                    {
                        "task": f"task {task}", "metric": f"{kind} {number}", "metric_type": kind,
                        "emergence_score": score, "n_examples_min": 50 + task,
                    }
                )  # fmt: skip
    return curve_scores(rows)
