"""Stored observations in groups of whole tasks: what disagrees about a score is in one group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from bigbench_meta.core.schema import FILE, OBSERVATIONS, to_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from bigbench_meta.readers.problems import Notes

    Ints = NDArray[np.int64]

__all__ = ["GROUP_ROWS", "INDEXED", "ObservationGroups"]

GROUP_ROWS: Final = 1 << 19
"""Rows of a group: with what curves are made of, some 500 megabytes."""

INDEXED: Final = [field.name for field in OBSERVATIONS.arrow if pa.types.is_dictionary(field.type)]
"""The columns of names, which are numbered alike in all groups."""

_PLACE: Final = "place"


@dataclass
class _Index:
    """What a first look at the names says.

    Attributes:
        names: The names in each column, in the order of their first appearance.
        starts: Where each run of rows of one task begins.
        tasks: Its task, as a number of its name.
        n_rows: Number of all rows.
    """

    names: dict[str, pa.Array]
    starts: Ints
    tasks: Ints
    n_rows: int


@dataclass(repr=False)
class ObservationGroups:
    """The observations of a store, some whole tasks at a time.

    They can be gone through again and again. In each group they are as in
    :meth:`bigbench_meta.Store.observations`: without repetitions, different scores for one key as
    replicates. All groups have the same categories. A store that is compacted meanwhile cannot be
    read on: ask it for new groups.

    Attributes:
        most: Rows of a group; a task with more is a group by itself.
    """

    _batches: Callable[[list[str]], Iterable[pa.Table]]
    _rows: Callable[[list[str]], pa.Table]
    most: int = GROUP_ROWS
    _index: _Index | None = field(default=None, init=False)

    def __repr__(self) -> str:
        """Return how many rows there are, and in how many groups."""
        return f"ObservationGroups({len(self):,} rows in {len(self._groups())} groups)"

    def __len__(self) -> int:
        """Return the number of stored rows, repeated ones included."""
        return self._looked_through().n_rows

    def names(self, column: str) -> list[str]:
        """Return the names in a column, in the order of their first appearance."""
        found: list[str] = self._looked_through().names[column].to_pylist()
        return found

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield frames; their index is the place of each row among all stored rows."""
        return self.noting(None)

    def noting(self, notes: Notes | None) -> Iterator[pd.DataFrame]:
        """Yield the groups.

        Args:
            notes: Where repetitions and conflicts are noted.
        """
        from bigbench_meta.readers.conflicts import resolve_some

        index = self._looked_through()
        lengths = np.diff(index.starts, append=index.n_rows)
        tasks = index.names["task"]
        for group in self._groups():
            own = np.isin(index.tasks, group)
            first, n = index.starts[own], lengths[own]
            places = np.arange(n.sum()) + np.repeat(first - np.cumsum(n) + n, n)
            table = self._rows(tasks.take(pa.array(group)).to_pylist()).drop_columns(FILE)
            columns = {
                name: _numbered(table[name], index.names[name]) if name in index.names
                else table[name]
                for name in table.column_names
            }  # fmt: skip
            table = pa.table(columns | {_PLACE: places})
            table = resolve_some(table, places, notes)
            frame = to_frame(table.drop_columns(_PLACE))
            frame.index = np.asarray(table[_PLACE])
            del table, columns
            pa.default_memory_pool().release_unused()
            yield frame

    def _groups(self) -> list[Ints]:
        """Return the numbers of the tasks of each group."""
        index = self._looked_through()
        lengths = np.diff(index.starts, append=index.n_rows)
        n_rows = np.bincount(index.tasks, lengths, len(index.names["task"]))
        groups: list[list[int]] = []
        size = self.most
        for task, n in enumerate(n_rows.tolist()):
            if size + n > self.most and (not groups or groups[-1]):
                groups.append([])
                size = 0
            groups[-1].append(task)
            size += n
        # Without any row there is one group, which has the columns.
        return [np.array(group, dtype=np.int64) for group in groups or [[]]]

    def _looked_through(self) -> _Index:
        if self._index is None:
            self._index = self._look()
        return self._index

    def _look(self) -> _Index:
        seen: dict[str, dict[str, None]] = {name: {} for name in INDEXED}
        number: dict[str, int] = {}
        starts, tasks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        n_rows, last = 0, -1
        for table in self._batches(INDEXED):
            for name in INDEXED:
                seen[name].update(dict.fromkeys(table[name].unique().drop_null().to_pylist()))
            encoded = table["task"].unify_dictionaries().combine_chunks()
            own = [number.setdefault(name, len(number)) for name in encoded.dictionary.to_pylist()]
            task = np.array(own, dtype=np.int64)[encoded.indices.to_numpy()]
            begins = np.flatnonzero(np.diff(task, prepend=last))
            starts.append(begins + n_rows)
            tasks.append(task[begins])
            n_rows, last = n_rows + len(task), int(task[-1])
        names = {name: pa.array(list(found), pa.string()) for name, found in seen.items()}
        names["task"] = pa.array(list(number), pa.string())
        return _Index(names, np.concatenate(starts), np.concatenate(tasks), n_rows)


def _numbered(column: pa.ChunkedArray, names: pa.Array) -> pa.ChunkedArray:
    """Return names by their number among those of all groups."""
    chunks: list[Any] = []
    for chunk in column.chunks:
        number = pa.compute.index_in(chunk.dictionary, names).cast(pa.int32())
        chunks.append(pa.DictionaryArray.from_arrays(number.take(chunk.indices), names))
    return pa.chunked_array(chunks, type=column.type)
