"""At what loss do models leave chance, and is it one loss for models of all sizes?

Du et al. (2024) plot scores of models of several sizes, with their checkpoints, against pretraining
loss: the curves fall together, and on some tasks all leave chance at one loss. Whether they do is a
comparison of intervals, one for each family.

References:
    Du, Zeng, Dong & Tang (2024), "Understanding Emergent Abilities of Language Models from the Loss
    Perspective", arXiv 2403.15796.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import one_a_curve, probability, within
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.core.schema import CURVE_KEY, FALLING_AXES
from bigbench_meta.curves.build import build_curves
from bigbench_meta.inference.wei import wei_points

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pyarrow as pa
    from numpy.typing import ArrayLike

    from bigbench_meta.catalog.metrics import MetricCatalog

__all__ = ["common_departure", "leaving_chance"]

_QUESTION: Final = ["benchmark", "task", "subtask", "metric", "shots"]


def leaving_chance(
    observations: pd.DataFrame | pa.Table,
    *,
    scale: str = "pretraining_loss",
    effect: float = 0.05,
    chance: ArrayLike | None = None,
    n_examples: ArrayLike | None = None,
    alpha: float = 0.05,
    catalog: MetricCatalog | None = None,
) -> pd.DataFrame:
    """Return between which losses each curve leaves chance.

    A score has left chance where it is shown to be above chance plus ``effect``, and has not where
    it is shown to be below that. Between the last that has not and the first after it that has, the
    curve leaves chance.

    Args:
        observations: Observations table; a family is, for example, the checkpoints of one model.
        scale: Axis, see :func:`bigbench_meta.build_curves`.
        effect: How far above chance is above, as a proportion.
        chance: Chance level in the unit of the score where the observations have no ``low_score``,
            a number or one a curve.
        n_examples: Size of the test set where the observations give none, likewise.
        alpha: Probability that any of a task's scores, over all families, is placed on the wrong
            side.
        catalog: Metric catalog; the packaged one by default.

    Returns:
        One row per curve: the key columns, ``scale``, ``n_scales``, ``chance``, ``first_score`` and
        ``last_score``; ``low`` and ``high``, between which x it leaves chance. On an axis that
        falls, ``low`` is 0 where no score has left after the last that has not, and ``high``
        infinite where there is no score that has not; on a rising axis it is the other way round.
        Both are missing where there is no test: chance or the number of examples is unknown, or the
        metric is no proportion. ``leaves`` says whether it has left at the end.

    Raises:
        InputError: ``scale`` is not a scale axis, or an option is out of its range.
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> import pandas as pd
        >>> observations = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "acc", "model_family": "190M",
        ...     "model_name": list("abcde"), "pretraining_loss": [4.0, 3.5, 3.0, 2.8, 2.6],
        ...     "score": [0.25, 0.26, 0.24, 0.4, 0.5], "n_examples": 2000,
        ...     "low_score": 0.25, "high_score": 1.0,
        ... })
        >>> row = leaving_chance(observations).iloc[0]
        >>> float(row.low), float(row.high), bool(row.leaves)
        (2.8, 3.0, True)
    """
    within(effect, 0, 1, "effect")
    probability(alpha, "alpha")
    curves = build_curves(observations, scale=scale, catalog=catalog)
    given = {
        name: np.full(len(curves), np.nan) if value is None else
        one_a_curve(value, len(curves), name)
        for name, value in (("chance", chance), ("n_examples", n_examples))
    }  # fmt: skip
    question = curves.keys.groupby(_QUESTION, sort=False, observed=True, dropna=False).ngroup()
    rows: dict[int, list[Any]] = {}
    for number in question.unique():
        chosen = (question == number).to_numpy()
        points = wei_points(
            curves[chosen], catalog=catalog,
            alpha=2 * alpha / max(int(curves.ragged.lengths[chosen].sum()), 2),
            **{name: value[chosen] for name, value in given.items()},
        )  # fmt: skip
        own = np.flatnonzero(chosen)[points["curve"]]
        for curve in np.unique(own).tolist():
            (key,) = curves.keys.iloc[[curve]].to_dict("records")
            rows[curve] = _departure(points[own == curve], key, effect)
    columns = ["n_scales", "chance", "first_score", "last_score", "low", "high", "leaves"]
    found = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    table = curves.keys[[*CURVE_KEY, "scale"]].reset_index(drop=True).join(found)
    return table.assign(
        n_scales=table["n_scales"].fillna(0).astype("int64"),
        leaves=table["leaves"].astype("boolean"),
    )


def _departure(points: pd.DataFrame, key: dict[Hashable, Any], effect: float) -> list[Any]:
    """Return where one curve leaves chance, from the intervals of its points in order."""
    x, score = points["x"].to_numpy(dtype=float), points["score"].to_numpy(dtype=float)
    chance = points["chance"].to_numpy(dtype=float)
    up = bool(key["higher_is_better"])
    # One example can change a proportion by its whole range over n: that range is the unit.
    level = chance + (effect if up else -effect) * float(key["step"])
    low, high = points["low"].to_numpy(dtype=float), points["high"].to_numpy(dtype=float)
    left, not_yet = (low > level, high < level) if up else (high < level, low > level)
    described = [len(x), chance[0], score[0], score[-1]]
    if not (np.isfinite(level) & np.isfinite(low)).any():
        return [*described, np.nan, np.nan, None]
    last = int(np.flatnonzero(not_yet).max(initial=-1))
    later = np.flatnonzero(left & (np.arange(len(x)) > last))
    # What is not known lies beyond the first or the last x.
    before, after = (np.inf, 0.0) if key["scale"] in FALLING_AXES else (0.0, np.inf)
    ends = [x[last] if last >= 0 else before, x[later[0]] if len(later) else after]
    return [*described, min(ends), max(ends), len(later) > 0]


def common_departure(table: pd.DataFrame) -> pd.DataFrame:
    """Say of each task whether one loss is within the intervals of all families.

    Args:
        table: What :func:`leaving_chance` returns.

    Returns:
        One row per benchmark, task, subtask, metric and number of shots: ``n_families`` with an
        interval, of which ``n_leave`` have left chance at the end; ``low`` and ``high``, between
        which a loss is within the intervals of all of them (missing where there is none);
        ``answer``: ``one`` (such a loss exists, which does not show that they leave at it),
        ``different`` (there is none), or ``cannot_tell`` (fewer than two families leave chance
        within their range); and ``reason``, in words.

    Raises:
        SchemaError: A column is missing.
    """
    if missing := [
        name for name in (*_QUESTION, "model_family", "low", "high", "leaves") if name not in table
    ]:
        raise SchemaError(
            f"missing column {', '.join(missing)}", where="table", hint="pass leaving_chance's"
        )
    rows: list[dict[str, Any]] = []
    for key, families in table.groupby(_QUESTION, sort=False, observed=True, dropna=False):
        known = families[families["low"].notna()]
        low, high = known["low"].max(), known["high"].min()
        n_leave = int(known["leaves"].sum())
        bounded = int((np.isfinite(known["high"]) & (known["low"] > 0)).sum())
        agree = bool(low <= high)
        answer = (
            "different" if len(known) and not agree else "one" if bounded > 1 else "cannot_tell"
        )
        reason = {
            "cannot_tell": "fewer than two families are seen to leave chance",
            "one": "the intervals of all families share a value",
            "different": "the intervals of "
            f"{_name(known, 'low', 'idxmax')} and {_name(known, 'high', 'idxmin')} are apart",
        }[answer]
        rows.append(
            dict(zip(_QUESTION, key, strict=True))
            | {
                "n_families": len(known), "n_leave": n_leave,
                "low": low if agree else np.nan, "high": high if agree else np.nan,
                "answer": answer, "reason": reason,
            }
        )  # fmt: skip
    columns = [*_QUESTION, "n_families", "n_leave", "low", "high", "answer", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _name(families: pd.DataFrame, column: str, which: str) -> str:
    """Return the family with the largest or smallest end of its interval."""
    if families.empty:
        return ""
    return str(families.loc[getattr(families[column], which)(), "model_family"])
