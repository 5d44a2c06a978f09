"""Leave-one-scale-out: does a flag depend on a single model?

References:
    Schaeffer et al. (2023), arXiv 2304.15004, sec. 2: a sharp rise may come of "too few models",
    an axis of scale that is not sampled densely enough. Here single models are taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from bigbench_meta.aggregate.attribution.clusters import cluster_share, cluster_sums
from bigbench_meta.aggregate.attribution.flags import TASK, class_of
from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD, flagged
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.emergence import MIN_SCALES, score_ragged
from bigbench_meta.inference.score import score_curves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.curves.build import Curves

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["DELETIONS", "leave_one_scale_out", "scale_deletion_shares", "scores_without_each"]

DELETIONS: Final = ("any", "smallest", "inner", "largest")
"""Which scales are taken out, each by itself."""

_BLOCK: Final = 1 << 18
"""Scores gathered at a time."""


def scores_without_each(
    values: Floats, offsets: Ints, *, min_scales: int = MIN_SCALES
) -> tuple[Floats, NDArray[np.bool_]]:
    """Score every curve again without each of its points.

    Args:
        values: Finite scores of all curves, shape (total,), up is better, ascending scale in each.
        offsets: Where each curve begins and the last ends, shape (m + 1,), from 0 to total.
        min_scales: Points that a curve needs to be scored, after one was taken out.

    Returns:
        Two arrays of shape (total,), an entry for each point that is taken out: the emergence score
        of the rest of the curve, infinite for a step, NaN if the rest is flat or has too few
        points; and whether it has enough, so that a flat rest is known to be flat.

    Raises:
        InputError: The offsets do not fit the values.

    Examples:
        >>> import numpy as np
        >>> scores_without_each(np.array([0.0, 0.0, 0.1, 1.0]), np.array([0, 4]))[0].round(2)
        array([1.56, 1.56, 1.41, 1.41])
    """
    values = np.asarray(values, dtype=np.float64)
    batch = Ragged.of(offsets, values=values)
    shortest = 1 + max(min_scales, 2)
    result = np.full(len(values), np.nan)
    for block in batch.blocks(lambda n: max(1, _BLOCK // n**2), shortest=shortest):
        n = block.length
        # Row i names the points that are left without point i.
        left = np.array([np.delete(np.arange(n), i) for i in range(n)])
        rest = values[block.points[:, left]]
        ends = np.arange(block.points.size + 1, dtype=np.int64) * (n - 1)
        scores = score_ragged(rest.ravel(), ends, min_scales=min_scales)
        result[block.points] = scores.emergence_score.reshape(-1, n)
    return result, np.repeat(batch.lengths >= shortest, batch.lengths)


def leave_one_scale_out(
    curves: Curves, *, threshold: float = DEFAULT_THRESHOLD, min_scales: int = MIN_SCALES
) -> pd.DataFrame:
    """Drop each scale of each curve in turn and score the rest again.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        threshold: A curve with an emergence score above it is flagged.
        min_scales: Points that a curve needs to be scored, also after one was taken out.

    Returns:
        One row per curve, in their order: its key, ``metric_class``, ``n_scales``,
        ``emergence_score``, ``flagged``; ``n_deletions``, the scales whose loss leaves enough to
        score (0 or ``n_scales``), and for each of :data:`DELETIONS` but ``any`` the number after
        which the rest is flagged: ``n_flagged_smallest``, ``n_flagged_inner``,
        ``n_flagged_largest``, ``n_flagged_any`` being their sum; the emergence score
        ``without_smallest`` and ``without_largest`` scale, and the ``lowest`` and ``highest`` one
        over all deletions, in which a flat rest, that has no score, counts as 0: it does not rise;
        and ``stays_flagged`` (flagged, and so without any one scale) and ``becomes_flagged`` (not
        flagged, but without some scale), missing without deletions.

    Raises:
        InputError: The threshold is NaN.

    References:
        Schaeffer et al. (2023), arXiv 2304.15004, sec. 2.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> table = leave_one_scale_out(build_curves(load_embedded()))
        >>> int(table["flagged"].sum()), int(table["stays_flagged"].sum())
        (21, 5)
    """
    scores = score_curves(curves, min_scales=min_scales)
    without, enough = scores_without_each(curves.oriented, curves.offsets, min_scales=min_scales)
    batch, point = curves.ragged, curves.ragged.curve
    is_flag = flagged(scores, threshold)
    hits = flagged(pd.DataFrame({"emergence_score": without}), threshold).to_numpy(dtype=bool)
    without = np.where(enough & np.isnan(without), 0.0, without)
    position = np.arange(len(point)) - curves.offsets[point]
    last = batch.lengths[point] - 1
    where = {
        "smallest": position == 0,
        "inner": (position > 0) & (position < last),
        "largest": position == last,
    }
    by_place = {f"n_flagged_{name}": batch.count(hits & chosen) for name, chosen in where.items()}
    n_hits, n_deletions = batch.count(hits), batch.count(enough)
    known = pd.Series(n_deletions > 0)
    table = scores[[*CURVE_KEY, "n_scales", "emergence_score"]].assign(
        flagged=is_flag, n_deletions=n_deletions, **by_place, n_flagged_any=n_hits,
        without_smallest=batch.at(without, np.zeros(len(batch))),
        without_largest=batch.at(without, np.full(len(batch), -1)),
        lowest=batch.reduce(np.fmin, without),
        highest=batch.reduce(np.fmax, without),
        stays_flagged=(is_flag & (n_hits == n_deletions)).astype("boolean").where(known),
        becomes_flagged=(~is_flag & (n_hits > 0)).astype("boolean").where(known),
    )  # fmt: skip
    table.insert(len(CURVE_KEY), "metric_class", class_of(scores["metric_type"]))
    return table


def scale_deletion_shares(table: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Summarise how often a flag depends on a single scale.

    Args:
        table: What :func:`leave_one_scale_out` returns, or a selection of its rows.
        confidence: Of the intervals, whose units are tasks (see
            :func:`bigbench_meta.aggregate.attribution.account.class_shares`).

    Returns:
        For each class of metric and all together (``all``), and each of :data:`DELETIONS`, two
        rows: ``statistic`` ``stay_flagged``, the share of flagged curves that stay flagged
        whichever of these scales is taken out, and ``become_flagged``, that of scored curves not
        flagged that become so for some; ``estimate``, ``low``, ``high``, ``n`` (curves that can be
        scored without a scale; ``inner`` ones have at least three), ``n_tasks``.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> shares = scale_deletion_shares(leave_one_scale_out(build_curves(load_embedded())))
        >>> shares[(shares["metric_class"] == "all") & (shares["deleted"] == "any")][
        ...     ["statistic", "estimate", "n"]
        ... ].round(3).values.tolist()
        [['stay_flagged', 0.238, 21], ['become_flagged', 0.006, 167]]
    """
    usable = table[(table["n_deletions"] > 0) & table["emergence_score"].notna()]
    groups = usable.groupby([usable[name] for name in TASK], observed=True, sort=False)
    task = np.asarray(groups.ngroup(), dtype=np.int64)
    found = []
    for name in ("all", "sharp", "smooth", "unknown"):
        chosen = (usable["metric_class"] == name) | (name == "all")
        for deleted in DELETIONS:
            stays, becomes = _changes(usable, deleted)
            for statistic, hit, among in (
                ("stay_flagged", stays, usable["flagged"]),
                ("become_flagged", becomes, ~usable["flagged"]),
            ):
                rows = (chosen & among).to_numpy(dtype=bool)
                found.append(
                    {
                        "metric_class": name,
                        "deleted": deleted,
                        "statistic": statistic,
                        **_share(hit[rows], task[rows], confidence),
                    }
                )
    return pd.DataFrame(found)


def _changes(usable: pd.DataFrame, deleted: str) -> tuple[Bools, Bools]:
    """Return which curves are flagged after every deletion of a kind, and after some."""
    n_of_kind = usable["n_deletions"] if deleted == "any" else 1
    if deleted == "inner":
        n_of_kind = usable["n_deletions"] - 2
    hits = usable[f"n_flagged_{deleted}"]
    return (hits == n_of_kind).to_numpy(dtype=bool), (hits > 0).to_numpy(dtype=bool)


def _share(hit: Bools, task: Ints, confidence: float) -> dict[str, float]:
    sums = cluster_sums(task, hit.astype(np.float64), np.ones(len(hit)))
    share, low, high, _ = cluster_share(sums[:, 0], sums[:, 1], confidence=confidence)
    return {"estimate": share, "low": low, "high": high, "n": len(hit), "n_tasks": len(sums)}
