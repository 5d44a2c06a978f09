"""Stored samples, read one task at a time where they are needed, also in another process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from bigbench_meta.core.errors import StoreError
from bigbench_meta.core.schema import SAMPLES, to_frame

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.store.store import Store

__all__ = ["StoredSamples", "tasks_of_file"]


@dataclass(frozen=True)
class StoredSamples:
    """The samples of a store, of which those of one task are in memory.

    Attributes:
        path: The store, a folder or a URL.
        state: Name and digest of its manifest: with other samples results are others.
        model_family: Model families that count; None for all.
        check: See :class:`bigbench_meta.Store`.
    """

    path: str
    state: tuple[str, str]
    model_family: tuple[str, ...] | None
    check: bool

    def of_task(self, task: str, *, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the samples of a task, as :meth:`bigbench_meta.Store.samples` does.

        Args:
            task: Its name.
            columns: Only these columns of :data:`SAMPLES`; all by default.

        Raises:
            StoreError: The store is damaged, or has changed since.
        """
        names = SAMPLES.names if columns is None else list(columns)
        families = None if self.model_family is None else list(self.model_family)
        store = _opened(self.path, self.check)
        if store.state() != self.state:
            raise StoreError("has changed while its samples were read", where=self.path)
        batches = store.sample_batches(names, task=task, model_family=families)
        frame = to_frame(pa.concat_tables([SAMPLES.empty().select(names), *batches]))
        pa.default_memory_pool().release_unused()
        return frame


@lru_cache(maxsize=1)
def _opened(path: str, check: bool) -> Store:
    """Return a store that remembers which of its files are sound."""
    from bigbench_meta.store.store import Store

    return Store(path, check=check)


@lru_cache(maxsize=1 << 12)
def tasks_of_file(path: Path) -> tuple[str, str]:
    """Return the first and the last task by name of a Parquet file, which never changes."""
    metadata = pq.read_metadata(path)
    ends: list[Any] = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = (group.column(place) for place in range(group.num_columns))
        known = next(column for column in columns if column.path_in_schema == "task").statistics
        if known is None or not known.has_min_max:
            return "", "\U0010ffff"
        ends += [known.min, known.max]
    return min(ends, default=""), max(ends, default="")
