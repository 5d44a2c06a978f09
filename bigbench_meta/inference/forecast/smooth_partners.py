"""Which smooth metric goes with which sharp one: same task, models and shots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.inference.forecast import rows as rows_of
from bigbench_meta.inference.forecast.links import LINKS, Link
from bigbench_meta.inference.proportions import proportions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.catalog.metrics import MetricCatalog
    from bigbench_meta.curves.build import Curves
    from bigbench_meta.inference.shapes.inputs import FitInput

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = ["Partners", "smooth_partners"]

# What a sharp metric asks for, by its type.
_ANSWERS = {"nonlinear": "text", "discontinuous": "choice"}


@dataclass(frozen=True, kw_only=True)
class Partners:
    """The smooth partner of each curve.

    Attributes:
        smooth: Of each point of the sharp curve, the probability of a unit or the number of wrong
            units that the partner has for the same scale; NaN for none.
        variance: Sampling variance of ``smooth`` by the partner's standard error, of each point;
            NaN where that is not given.
        n_examples: Examples behind the partner's score, of each point; NaN where not given.
        counts: Whether the partner counts wrong units, of each curve.
        share: Whether it is a share, or a number, of units that are right or not.
        metric: Its name, missing for none.
        curve_of_point: Curve of each point.
        status: Index into ``FORECAST_STATUSES``: ``ok``, ``not_a_proportion``, ``no_pair`` or
            ``no_choices``.
    """

    smooth: Floats
    variance: Floats
    n_examples: Floats
    counts: NDArray[np.bool_]
    share: NDArray[np.bool_]
    metric: NDArray[np.object_]
    curve_of_point: Ints
    status: NDArray[np.int8]


def smooth_partners(curves: Curves, data: FitInput, catalog: MetricCatalog | None) -> Partners:
    """Find the smooth partner of each curve."""
    keys = curves.keys
    metric = keys["metric"].astype(object).to_numpy()
    wanted = keys["metric_type"].astype(object).map(_ANSWERS).to_numpy(dtype=object).copy()
    wanted[np.isin(metric, list(LINKS))] = None
    partner = _partner(keys, metric, wanted)
    found = partner >= 0
    chance = proportions(curves, catalog=catalog).chance
    with np.errstate(divide="ignore"):
        choices = np.where(chance > 0, 1 / chance, np.nan)
    smooth, variance = np.full((2, len(curves.x)), np.nan)
    counts, share = np.zeros((2, len(curves)), dtype=bool)
    scores, errors, n_examples = _aligned(curves, partner)
    name_of = np.full(len(keys), None, dtype=object)
    name_of[found] = metric[partner[found]]
    for name, link in LINKS.items():
        rows = name_of == name
        if rows.any():
            chosen = rows[curves.curve_of_point]
            k = choices[curves.curve_of_point][chosen]
            with np.errstate(all="ignore"):
                smooth[chosen] = link.value(scores[chosen], k)
                variance[chosen] = (_slope(link, scores[chosen], k) * errors[chosen]) ** 2
            counts[rows], share[rows] = link.counts, link.share
    lost = np.bincount(curves.curve_of_point[np.isnan(smooth) & ~np.isnan(scores)],
                       minlength=len(curves)) > 0  # fmt: skip
    status = np.select(
        [~data.is_share, ~found, lost & np.isnan(choices)],
        [rows_of.NOT_A_PROPORTION, rows_of.NO_PAIR, rows_of.NO_CHOICES],
        rows_of.OK,
    )
    # A standard error of 0 says that all examples agree, not that nothing is left to chance.
    variance = np.where((variance > 0) & np.isfinite(variance), variance, np.nan)
    return Partners(
        smooth=smooth, variance=variance, n_examples=n_examples, counts=counts, share=share,
        metric=name_of, curve_of_point=curves.curve_of_point, status=status.astype(np.int8),
    )  # fmt: skip


def _slope(link: Link, score: Floats, choices: Floats) -> Floats:
    """Return the derivative of the probability by the score."""
    step = 1e-5 * np.maximum(np.abs(score), 1e-3)
    return np.asarray(
        (link.value(score + step, choices) - link.value(score - step, choices)) / (2 * step)
    )


def _partner(keys: pd.DataFrame, metric: NDArray[np.object_], wanted: NDArray[np.object_]) -> Ints:
    """Return the row of each curve's partner, -1 for none."""
    shared = [name for name in CURVE_KEY if name != "metric"]
    group = keys[[*shared, "scale"]].groupby(
        [*shared, "scale"], dropna=False, observed=True, sort=False
    ).ngroup()  # fmt: skip
    rank = {name: place for place, name in enumerate(LINKS)}
    smooth = pd.DataFrame({"group": group, "row": np.arange(len(keys)), "metric": metric})
    smooth = smooth[smooth["metric"].isin(list(LINKS))]
    smooth = smooth.assign(
        answers=smooth["metric"].map({name: link.answers for name, link in LINKS.items()}),
        rank=smooth["metric"].map(rank),
    )
    first = smooth.sort_values("rank", kind="stable").drop_duplicates(["group", "answers"])
    sharp = pd.DataFrame({"group": group, "answers": wanted})
    merged = sharp.merge(first[["group", "answers", "row"]], how="left", on=["group", "answers"])
    return merged["row"].fillna(-1).to_numpy(dtype=np.int64)


def _aligned(curves: Curves, partner: Ints) -> tuple[Floats, Floats, Floats]:
    """Return the partner's score, standard error and examples at each point's scale, or NaN."""
    curve = curves.curve_of_point
    points = pd.DataFrame({"curve": partner[curve], "x": curves.x})
    values = {"score": curves.y, "stderr": curves.stderr, "n_examples": curves.n_examples}
    scores = pd.DataFrame({"curve": curve, "x": curves.x, **values})
    merged = points.merge(scores, how="left", on=["curve", "x"])
    score, stderr, n_examples = merged[[*values]].to_numpy(dtype=np.float64).T
    return score, stderr, n_examples
