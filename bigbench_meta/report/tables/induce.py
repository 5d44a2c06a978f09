"""What choices of threshold, subset size and model sizes lead to, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigbench_meta.aggregate.induce import induced_sentences
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from bigbench_meta.aggregate.induce import Induced

__all__ = ["induced_tables"]


def induced_tables(induced: Induced) -> list[Table]:
    """Return the tables of what choices lead to.

    Args:
        induced: What :func:`bigbench_meta.induced_emergence` returns.

    Returns:
        ``induced`` (the sharpest choice of each curve, those that are not above the cut as they
        are and become sharpest first), ``induced_choices`` (all that was tried).
    """
    rows = induced.largest
    by = ["unscored", "choice", "above", "induced_sharpness"]
    ordered = rows.assign(unscored=rows["induced_sharpness"].isna()).sort_values(
        by, ascending=[True, False, True, False], kind="stable"
    )
    ordered = ordered.drop(columns="unscored").reset_index(drop=True)
    several = tuple(name for name in ("shots", "variant") if rows[name].notna().any())
    shown = (
        "n_scales", "sharpness", "choice", "value", "induced_n_scales", "induced_sharpness",
        "share_above", "chosen_sharpness", "held_out_sharpness",
    )  # fmt: skip
    return [
        Table(
            name="induced",
            caption=" ".join(induced_sentences(rows))
            + " Sharpness is E/(n-1), limited by the resolution of the test set where that is "
            "known; shares are of all thresholds, K or choices of sizes. The last two columns are "
            "medians over halves of the examples.",
            frame=ordered,
            columns=("subtask", "metric", "model_family", *several, *shown, "quantile",
                     "induced_emergence_score", "share_flagged", "above_from", "above_to", "models",
                     "basis", "n_examples", "reason"),
            brief=("subtask", "metric", *several, *shown),
        ),
        Table(
            name="induced_choices",
            caption="Every threshold, subset size and number of sizes kept that was tried.",
            frame=induced.tried,
        ),
    ]  # fmt: skip
