"""Reader for samples tables: Parquet files ``samples*.parquet`` with the columns of ``SAMPLES``.

Any program can write one; a row is the answer of a model to an example. Some megabytes of a row
group are decoded at a time, so that a file of any size takes little memory. What is damaged or does
not fit is left out and reported, as in tidy tables. Rows are counted from 1.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.arrow import codes, maps, numbers
from bigbench_meta.core.schema import SAMPLES, SCALE_AXES, Column, conform
from bigbench_meta.readers.formats.parquet_parts import open_table, parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.readers.formats.values import FileLog

    Bools = NDArray[np.bool_]

__all__ = ["read_samples"]

_KEY: Final = [
    "benchmark", "task", "subtask", "model_family", "model_name", "shots", "variant", "settings",
    "replicate",
    "example_id",
]  # fmt: skip
_NOT_STATED: Final = -1  # as shots in BIG-bench's files
# Problems of one kind in one column are listed for the first rows only.
_MOST_ROWS: Final = 5
_MISFIT: Final = (pa.ArrowInvalid, pa.ArrowTypeError)


def read_samples(
    source: pa.BufferReader | IO[bytes],
    log: FileLog,
    on_samples: Callable[[pa.Table], None],
    *,
    max_bytes: int,
) -> None:
    """Read a samples table.

    A row without a required value is left out and reported, and so is one whose example was given
    before for the same model, task, subtask, shots, variant and replicate. Another value that does
    not fit its column is left empty and reported. ``metrics`` may be a struct of numbers, which is
    how pandas writes dicts.

    Args:
        source: The file, open for reading at any place.
        log: Where problems are noted; its name for the file is the ``source`` of rows without one.
        on_samples: Called with each table of samples.
        max_bytes: Leave out row groups that expand to more.
    """
    file = open_table(source, log)
    if file is None:
        return
    names = file.schema_arrow.names
    if missing := [name for name in SAMPLES.required if name not in names]:
        hint = "; a table of scores must not be named samples*.parquet" * ("score" in names)
        log.error(", ".join(missing), f"required column missing{hint}")
        return
    for name in sorted(set(names) - set(SAMPLES.names)):
        log.warning(name, "unknown column: ignored")
    if not file.metadata.num_rows:
        log.warning("", "the table has no rows")
    checks = _Checks(log)
    columns = [name for name in SAMPLES.names if name in names]
    for first, batch in parts(file, columns, log, max_bytes=max_bytes):
        if (samples := checks.samples(batch, first)).num_rows:
            on_samples(samples)
    checks.finish()


@dataclass
class _Checks:
    """Checks the parts of one file, one after the other."""

    log: FileLog
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _seen: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """Sorted hashes of the keys of the rows so far."""

    def samples(self, batch: pa.RecordBatch, first: int) -> pa.Table:
        """Return the sound samples in a part of the file, whose first row has a number."""
        columns = {
            column.name: self._column(batch.column(column.name), column, first)
            for column in SAMPLES.columns
            if column.name in batch.schema.names
        }
        kept = np.ones(batch.num_rows, dtype=bool)
        for name in SAMPLES.required:
            empty = _flags(columns[name].is_null())
            self._note(empty & kept, "no value: row left out", name, first)
            kept &= ~empty
        stated = columns.get("source", pa.nulls(batch.num_rows, pa.string()))
        columns["source"] = pc.fill_null(stated, self.log.label)
        samples = conform(pa.table(columns).filter(pa.array(kept)), SAMPLES)
        again = np.zeros(batch.num_rows, dtype=bool)
        again[kept] = self._again(samples)
        reason = f"given before with the same {', '.join(_KEY[:-1])}: row left out"
        self._note(again, reason, "example_id", first, columns["example_id"])
        return samples.filter(pa.array(~again[kept])) if again.any() else samples

    def finish(self) -> None:
        """Say how many rows have problems that were not listed."""
        for (name, reason), count in self._counts.items():
            if count > _MOST_ROWS:
                self.log.error(name, f"{count - _MOST_ROWS} more rows: {reason}")

    def _note(
        self, wrong: Bools, reason: str, name: str, first: int, values: pa.Array | None = None
    ) -> None:
        rows = np.flatnonzero(wrong)
        for row in rows[: max(_MOST_ROWS - self._counts[name, reason], 0)].tolist():
            shown = "" if values is None else f"{reprlib.repr(values[row].as_py())} "
            self.log.error(f"row {row + first}, {name}", f"{shown}{reason}")
        self._counts[name, reason] += len(rows)

    def _column(self, values: pa.Array, column: Column, first: int) -> pa.Array:
        """Return a column in the type of the samples table, texts not yet encoded."""
        wanted = pa.string() if pa.types.is_dictionary(column.type) else column.type
        try:
            given = _plain(values, wanted)
            found, misfits = _cast(given, wanted)
        except (*_MISFIT, pa.ArrowNotImplementedError):
            # All of them: said once, whatever the number of rows.
            reason = f"{values.type} does not fit {wanted}: left empty"
            if values.null_count < len(values) and not self._counts[column.name, reason]:
                self.log.error(column.name, reason)
                self._counts[column.name, reason] = 1
            return pa.nulls(len(values), wanted)
        self._note(misfits, f"does not fit {wanted}: left empty", column.name, first, given)
        if pa.types.is_floating(wanted):
            found = pc.if_else(pc.is_nan(found), pa.scalar(None, wanted), found)
        if column.name == "shots":
            found = pc.if_else(pc.equal(found, _NOT_STATED), pa.scalar(None, wanted), found)
        if pa.types.is_string(wanted) and column.name != "output":
            found = pc.if_else(pc.equal(found, ""), pa.scalar(None, wanted), found)
        wrong = _impossible(found, column.name)
        if wrong.any():
            what = "has an empty item" if pa.types.is_list(wanted) else "is out of range"
            self._note(wrong, f"{what}: left empty", column.name, first, given)
            found = pc.if_else(pa.array(wrong), pa.scalar(None, wanted), found)
        return found

    def _again(self, samples: pa.Table) -> Bools:
        """Return which samples were given before."""
        # With 64 bits, two of ten million rows have one hash with a probability of 3e-6.
        hashes = pd.util.hash_pandas_object(samples.select(_KEY).to_pandas(), index=False)
        found, rows = np.unique(hashes.to_numpy(), return_index=True)
        places = np.searchsorted(self._seen, found)
        known = np.zeros(len(found), dtype=bool)
        inside = places < len(self._seen)
        known[inside] = self._seen[places[inside]] == found[inside]
        self._seen = np.insert(self._seen, places[~known], found[~known])
        again = np.ones(samples.num_rows, dtype=bool)
        again[rows[~known]] = False
        return again


def _plain(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Return values such that a cast takes them for what they say."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_temporal(values.type):  # a number of seconds is no number of parameters
        return values.cast(pa.string())
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if pa.types.is_map(wanted) and pa.types.is_struct(values.type):
        return _struct_as_map(values)
    if pa.types.is_string(values.type) and not pa.types.is_string(wanted):
        empty = pc.equal(pc.utf8_trim_whitespace(values), "")
        return pc.if_else(empty, pa.scalar(None, pa.string()), values)
    if pa.types.is_integer(wanted) and pa.types.is_floating(values.type):
        # A pandas column of whole numbers with gaps arrives as floats with NaN.
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    if pa.types.is_floating(wanted) and pa.types.is_integer(values.type):
        return values.cast(wanted, safe=False)  # 10^18 FLOP, rounded as any other double
    return values


def _struct_as_map(values: pa.StructArray) -> pa.MapArray:
    names = [each.name for each in values.type]
    table = np.full((len(values), len(names)), np.nan)
    for place in range(len(names)):
        own = pc.struct_field(values, [place]).cast(pa.float64())
        table[:, place] = own.to_numpy(zero_copy_only=False)
    known = ~np.isnan(table)
    keys = codes(np.nonzero(known)[1].astype(np.int32), names).cast(pa.string())
    return maps(keys, numbers(table[known]), known.sum(axis=1))


def _cast(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, Bools]:
    """Return values in the type wanted, null where they do not fit, and which do not."""
    misfits = np.zeros(len(values), dtype=bool)
    try:
        return values.cast(wanted), misfits
    except _MISFIT:
        found = []
    for row in range(len(values)):
        try:
            # Not a slice: of a list, its cast would look at the items of all rows.
            found.append(values.take(pa.array([row])).cast(wanted))
        except _MISFIT:
            misfits[row] = True
            found.append(pa.nulls(1, wanted))
    return pa.concat_arrays(found), misfits


def _impossible(values: pa.Array, name: str) -> Bools:
    """Return which values cannot be."""
    wrong = np.zeros(len(values), dtype=bool)
    if name == "targets":
        items = pc.list_flatten(values)
        wrong[pc.list_parent_indices(values).filter(items.is_null()).to_numpy()] = True
    elif name in SCALE_AXES:
        wrong = _flags(pc.less_equal(values, 0))
        if pa.types.is_floating(values.type):  # no whole number is infinite
            wrong |= _flags(pc.equal(values, float("inf")))
    elif name == "shots":
        wrong = _flags(pc.less(values, 0))
    elif name == "correct":
        wrong = _flags(pc.or_(pc.less(values, 0), pc.greater(values, 1)))
    return wrong


def _flags(values: pa.Array) -> Bools:
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=bool)
