"""The paper's mechanism in numbers: the emergence score of smooth models under each metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Unpack

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.checks import at_least, whole
from bigbench_meta.core.errors import InputError
from bigbench_meta.curves.build import build_curves
from bigbench_meta.generate.simulation import DEFAULT_SCALES, Setting, simulate
from bigbench_meta.inference.score import score_curves

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULT_N_SCALES", "mechanism_grid", "mechanism_table"]

DEFAULT_N_SCALES: Final = (5, 8, 12)
"""Numbers of models: GPT-3 has 8 sizes, BIG-G on BIG-bench 12; 5, for a small family, is ours."""

_COLUMNS: Final = [
    "task", "metric", "metric_type", "n_scales", "straight_line", "emergence_score",
    "relative_sharpness", "status", "flagged",
]  # fmt: skip


def mechanism_table(
    *,
    n_scales: Sequence[int] = DEFAULT_N_SCALES,
    smallest: float = DEFAULT_SCALES[0],
    largest: float = DEFAULT_SCALES[-1],
    threshold: float = DEFAULT_THRESHOLD,
    **setting: Unpack[Setting],
) -> pd.DataFrame:
    """Return the emergence score of expected scores, for several numbers of models.

    The models lie at equal distances of log N from the smallest to the largest, and their loss is a
    power law: nothing in them emerges. Any score above that of a straight line is made by metric,
    target length and choice of models.

    Args:
        n_scales: Numbers of models, each from 3 on.
        smallest: Smallest model, in parameters.
        largest: Largest model, in parameters.
        threshold: Curves with a score above it are flagged.
        **setting: As of :func:`bigbench_meta.simulate`.

    Returns:
        One row per task, metric and number of models: ``straight_line`` is the score of a straight
        line over as many, ``flagged`` whether E is above the threshold; the others as in
        :func:`bigbench_meta.score_curves`.

    Raises:
        InputError: An argument is out of its range.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, section 2 and eq. 1.

    Examples:
        >>> table = mechanism_table(n_scales=[8], target_lengths=[1, 5, 10], n_choices=[])
        >>> exact = table[table["metric"] == "exact_str_match"]
        >>> exact[["task", "straight_line", "emergence_score", "flagged"]].round(1).values.tolist()
        [['1 token', 7, 6.7, False], ['5 tokens', 7, 23.0, False], ['10 tokens', 7, 491.8, True]]
    """
    low, high = float(at_least(smallest, 1, "smallest")), float(at_least(largest, 1, "largest"))
    if low >= high:
        raise InputError(f"{low:g} is not below {high:g}", where="smallest, largest")
    parts = []
    for count in np.unique(whole(n_scales, 3, "n_scales")).astype(int):
        scales = np.geomspace(low, high, int(count))
        scores = score_curves(build_curves(simulate(scales=scales, **setting)))
        flags = flagged(scores, threshold)
        parts.append(scores.assign(straight_line=scores["n_scales"] - 1, flagged=flags)[_COLUMNS])
    if not parts:
        raise InputError("no number of models", where="n_scales")
    return pd.concat(parts, ignore_index=True)


def mechanism_grid(table: pd.DataFrame) -> pd.DataFrame:
    """Return a mechanism table with one row per task and metric and one column a number of models.

    Args:
        table: What :func:`mechanism_table` returns.

    Returns:
        Columns ``metric``, ``task``, ``E of n = 5`` (say) for each number of models, and
        ``flagged_at``, those numbers at which E is above the threshold. The first row is that of a
        straight line; the others are in order of metrics.

    Examples:
        >>> table = mechanism_table(n_scales=[5, 8], target_lengths=[1, 20], n_choices=[])
        >>> grid = mechanism_grid(table[table["metric"] == "exact_str_match"])
        >>> grid.drop(columns="metric").round(1).values.tolist()
        [['straight line', 4.0, 7.0, ''], ['1 token', 3.5, 6.7, ''],
         ['20 tokens', 106.8, 241280.4, '5, 8']]
    """
    counts = sorted(set(table["n_scales"]))
    names = {count: f"E of n = {count}" for count in counts}
    rows: list[dict[str, object]] = [
        {"metric": "", "task": "straight line"}
        | {names[count]: count - 1.0 for count in counts}
        | {"flagged_at": ""}
    ]
    text = table.assign(metric=table["metric"].astype(str), task=table["task"].astype(str))
    for metric in dict.fromkeys(text["metric"]):
        of_metric = text[text["metric"] == metric]
        for task in dict.fromkeys(of_metric["task"]):
            cells = of_metric[of_metric["task"] == task].set_index("n_scales")
            scores = {names[n]: cells["emergence_score"].get(n, np.nan) for n in counts}
            flags = ", ".join(str(n) for n in counts if cells["flagged"].get(n, False))
            rows.append({"metric": metric, "task": task} | scores | {"flagged_at": flags})
    return pd.DataFrame(rows)
