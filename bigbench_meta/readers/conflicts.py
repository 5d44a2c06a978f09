"""Rows that repeat or contradict each other: they are reported, never resolved by guessing.

An exact repetition is dropped. Different scores for one key are all kept, each with a ``replicate``
of its own, so that a curve averages them and keeps their spread. Files of one task that disagree
on its preferred metric or that metric's low or high score are reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import ROW_KEY, SCALE_AXES, UNEXPLAINED, to_frame
from bigbench_meta.readers.problems import Notes, ProblemLog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["resolve_conflicts", "resolve_some"]


_SUBTASK_KEY: Final = ["benchmark", "task", "subtask"]
# In this order problems are told: what files disagree on, sizes, repetitions, conflicts.
_SIZES: Final = 3
_REPEATED: Final = _SIZES + len(SCALE_AXES) + 1
_DIFFERING: Final = _REPEATED + 1


def resolve_conflicts(table: pa.Table, log: ProblemLog | None = None) -> pa.Table:
    """Return observations without repetitions and with conflicting scores as replicates.

    Args:
        table: Observations.
        log: Where repetitions and conflicts are noted; None where they have been before.

    Returns:
        The table, its rows in their order; the same object if there is nothing to resolve.
    """
    if log is None:
        return resolve_some(table, np.arange(table.num_rows))
    notes = Notes()
    resolved = resolve_some(table, np.arange(table.num_rows), notes)
    notes.tell(log)
    return resolved


def resolve_some(table: pa.Table, places: Ints, notes: Notes | None = None) -> pa.Table:
    """Return some observations without repetitions and with conflicting scores as replicates.

    Args:
        table: All observations of some tasks; further columns are kept.
        places: The place of each row among all observations.
        notes: Where repetitions and conflicts are noted.

    Returns:
        As :func:`resolve_conflicts`.
    """
    if notes is not None:
        _note_disagreement(table, places, notes)
    group, first = group_rows(table, ROW_KEY)
    if len(first) == table.num_rows:
        return table
    in_conflict = np.flatnonzero(np.bincount(group)[group] > 1)
    rows = to_frame(table.take(in_conflict)).astype({"source": str, "replicate": object})
    rows = rows.assign(group=group[in_conflict], row=in_conflict, place=places[in_conflict])
    repeated = rows.duplicated(["group", "score", "stderr"])
    rows["first_source"] = rows.groupby("group")["source"].transform("first")
    sizes = rows[[*SCALE_AXES, "n_examples"]].astype(float)
    first_sizes = sizes.groupby([rows["group"], rows["score"], rows["stderr"]], dropna=False)
    # first() looks for the first that is there; a row's own sizes may be missing without conflict.
    differs = (sizes != first_sizes.transform("first")) & sizes.notna()
    kept = rows[~repeated].copy()
    number = kept.groupby("group").cumcount()
    if notes is not None:
        for section, name in enumerate(sizes, _SIZES):
            reason = f"another {name}: that of the first counts"
            reason = f"{{n}} score(s) of {{first}} repeated with {reason}"
            _note(rows[repeated & differs[name]], notes, section, reason)
        own_log = _is_log_of(rows["source"], rows["first_source"])
        dropped = "{n} score(s) repeat those of {first}: dropped"
        _note(rows[repeated & ~own_log], notes, _REPEATED, dropped)
        reason = "{n} score(s) differ from those of {first} for the same model: kept as replicates"
        _note(kept[number > 0], notes, _DIFFERING, reason)
    several = kept.groupby("group")["row"].transform("size") > 1
    labelled = kept[several].assign(number=number[several] + 1)
    keep = np.ones(table.num_rows, dtype=bool)
    keep[rows.loc[repeated, "row"]] = False
    return _label_replicates(table, labelled).filter(pa.array(keep))


def _is_log_of(one: pd.Series, other: pd.Series) -> pd.Series:
    """Return where one source is the full log of the other, whose scores it repeats by design."""
    alike = [
        source.str.replace(r"(?:^|(?<=/))full-log_([^/]*)$", r"scores_\1", regex=True)
        for source in (one, other)
    ]
    return (alike[0] == alike[1]) & (one != other)


def _note(rows: pd.DataFrame, notes: Notes, section: int, reason: str) -> None:
    for (source, first), part in rows.groupby(["source", "first_source"], sort=False):
        row = part.iloc[0]
        shots = "" if pd.isna(row["shots"]) else f", {row['shots']} shots"
        where = f"{row['subtask']}, {row['metric']}, {row['model_name']}{shots}"
        other = "the same file" if first == source else str(first)
        notes.add(
            section, int(row["place"]), str(source), where, reason, key=(source, first),
            n=len(part), first=other,
        )  # fmt: skip


def _label_replicates(table: pa.Table, rows: pd.DataFrame) -> pa.Table:
    labels = table.column("replicate").cast(pa.string()).to_numpy(zero_copy_only=False).copy()
    for row, given, number in zip(rows["row"], rows["replicate"], rows["number"], strict=True):
        own = f"{UNEXPLAINED} {number}"
        labels[row] = own if pd.isna(given) else f"{given}, {own}"
    column = table.schema.get_field_index("replicate")
    field = table.schema.field(column)
    encoded = pa.array(labels, pa.string()).dictionary_encode().cast(field.type)
    return table.set_column(column, field, encoded)


def _note_disagreement(table: pa.Table, places: Ints, notes: Notes) -> None:
    """Report subtasks whose files name different preferred metrics, low or high scores."""
    chosen = pc.fill_null(table.column("is_preferred"), fill_value=False)
    preferred, own = table.filter(chosen), places[chosen.to_numpy()]
    columns = [*_SUBTASK_KEY, "metric", "low_score", "high_score", "source"]
    rows = to_frame(preferred.select(columns)).astype({"metric": str, "source": str})
    rows = rows.assign(place=own)
    for section, (column, field) in enumerate(
        (
            ("metric", "preferred_score"),
            ("low_score", "low_score"),
            ("high_score", "high_score"),
        )
    ):
        key = _SUBTASK_KEY if column == "metric" else [*_SUBTASK_KEY, "metric"]
        known = rows.dropna(subset=[column])
        groups = known.groupby(key, observed=True, sort=False, dropna=False)[column]
        for _, part in known[groups.transform("nunique") > 1].groupby(
            key, observed=True, sort=False, dropna=False
        ):
            _note_values(part, column, field, notes, section)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _note_values(part: pd.DataFrame, column: str, field: str, notes: Notes, section: int) -> None:
    usual = part[column].mode().iloc[0]
    other = part.loc[part[column] == usual, "source"].iloc[0]
    for (source, value), rows in part[part[column] != usual].groupby(
        ["source", column], sort=False
    ):
        notes.add(
            section, int(part["place"].iloc[0]), str(source),
            f"{field} of {rows['subtask'].iloc[0]}", "{value}, but {usual} in {other}",
            value=_shown(value), usual=_shown(usual), other=other,
        )  # fmt: skip
