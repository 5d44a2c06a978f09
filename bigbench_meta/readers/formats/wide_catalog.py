"""What a mapping says of its metrics, against the metric catalog, which the analysis goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bigbench_meta.catalog.metrics import metric_catalog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.readers.formats.mapping import Mapping
    from bigbench_meta.readers.formats.mapping_rules import MetricRule
    from bigbench_meta.readers.formats.wide_codes import Coded
    from bigbench_meta.readers.formats.wide_file import WideFile

__all__ = ["compare_with_catalog"]


def compare_with_catalog(
    file: WideFile, mapping: Mapping, keys: dict[str, Coded], usable: NDArray[np.bool_]
) -> None:
    """Note a warning where a mapping and the metric catalog disagree on direction or unit.

    Args:
        file: The table, to whose log the warnings go.
        mapping: What its columns mean.
        keys: Our columns; ``benchmark`` and ``task`` are looked at.
        usable: Which rows count.
    """
    said = {
        source: rule
        for source, rule in mapping.metrics.items()
        if rule.higher_is_better is not None or rule.unit is not None
    }
    if not said or not usable.any():
        return
    tasks = _tasks(keys["benchmark"], keys["task"], usable)
    for source, rule in said.items():
        known = metric_catalog().lookup(tasks.assign(metric=rule.name or source))
        for reason in _disagreements(rule, known):
            file.log.warning(file.label, f"metrics.{source}", reason)


def _tasks(benchmark: Coded, task: Coded, usable: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the distinct tasks of the usable rows."""
    pair = np.unique(
        benchmark.codes[usable].astype(np.int64) * len(task.distinct) + task.codes[usable]
    )
    return pd.DataFrame(
        {
            "benchmark": [benchmark.distinct[number // len(task.distinct)] for number in pair],
            "task": [task.distinct[number % len(task.distinct)] for number in pair],
        }
    )


def _disagreements(rule: MetricRule, known: pd.DataFrame) -> list[str]:
    reasons = []
    up = rule.higher_is_better
    theirs = known["higher_is_better"].dropna()
    if up is not None and (theirs != up).any():
        word = "down" if up else "up"
        reasons.append(
            f"the metric catalog says that {word} is better, and the analysis follows it"
        )
    bounds_tell = rule.low_score is not None and rule.high_score is not None
    if up is False and len(theirs) < len(known) and not bounds_tell:
        reasons.append(
            "the metric catalog does not know the direction: give low_score above high_score, or "
            "analyse with a catalog of your own"
        )
    units = known.loc[~known["unit"].isin(["", "unknown"]), "unit"].dropna()
    if rule.unit is not None and (other := units[units != rule.unit]).size:
        reasons.append(
            f"the unit is {rule.unit!r} here and {other.iloc[0]!r} in the metric catalog"
        )
    return reasons
