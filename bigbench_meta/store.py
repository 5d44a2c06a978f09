"""The store: observations of many result files in one Parquet dataset, queryable without loading.

A store is a folder. ``manifest.json`` names its parts; a part is what one ingest added, three
Parquet files that are never changed. An ingest writes a new part beside the old ones and then
replaces the manifest in one step, so that a reader, and whoever looks after a crash, sees the old
state or the new one.

Rows are stored as the files have them. What two files say of the same thing is settled on reading
(:func:`bigbench_meta.readers.resolve_conflicts`), so it does not depend on the order of ingests.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bigbench_meta.errors import StoreError
from bigbench_meta.readers import ProblemLog, read_tables, resolve_conflicts
from bigbench_meta.schema import FILE, OBSERVATIONS, PROBLEMS, to_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

    from bigbench_meta.readers import FileRecord, ReadResult

__all__ = ["IngestSummary", "Store"]

_FORMAT: Final = "bigbench-meta store"
_VERSION: Final = 1
_MANIFEST: Final = "manifest.json"
_FILES: Final = pa.schema(
    [("path", pa.string()), ("label", pa.string()), ("digest", pa.string()), ("n_rows", pa.int64())]
)
_STORED: Final = OBSERVATIONS.arrow.append(pa.field(FILE, pa.int32()))
# Rows arrive clustered by task, so a group of this size holds few tasks and is skipped by the rest.
_ROW_GROUP: Final = 1 << 17

Filter = str | int | list[str] | list[int] | None


@dataclass(frozen=True)
class IngestSummary:
    """What an ingest did.

    Attributes:
        files: Files found.
        loaded: Files that gave rows.
        unchanged: Files passed over because the store has them as they are.
        failed: Files that gave no rows.
        observations: Rows added.
        problems: Problems table of this ingest.
    """

    files: int
    loaded: int
    unchanged: int
    failed: int
    observations: int
    problems: pd.DataFrame


class Store:
    """A folder of observations.

    Args:
        path: The folder; it need not exist before the first ingest.

    Raises:
        StoreError: The folder holds something else, or a store of another version.

    Examples:
        >>> import tempfile
        >>> from bigbench_meta.catalog import data_path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = Store(folder)
        ...     summary = store.ingest(data_path("gpt3_table_h1.csv"))
        ...     rows = store.observations(task="LAMBADA", metric="ppl")
        >>> summary.observations, len(rows)
        (1512, 24)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise StoreError("is a file, not a store", where=str(path))
        self._parts()

    @staticmethod
    def is_store(path: str | Path) -> bool:
        """Return whether a path is a folder with a store's manifest."""
        return (Path(path) / _MANIFEST).is_file()

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Store({str(self.path)!r})"

    def ingest(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> IngestSummary:
        """Read result files into the store.

        A file that the store has, byte for byte, is passed over; a file that has changed replaces
        its rows. A changed file that cannot be read any more keeps its old rows and is reported.

        Args:
            paths: Files and folders, as for :func:`bigbench_meta.read_results`.
            progress: Called with (files done, files found).

        Returns:
            What was done.

        Raises:
            InputError: A path does not exist, or nothing that looks like results is found.
            StoreError: The store is damaged.
        """
        result = read_tables(paths, progress=progress, known=self._known())
        resolve_conflicts(result.observations.drop_columns(FILE), result.log)
        loaded = [record for record in result.files if record.n_rows]
        if loaded or result.log.rows:
            self._commit(result)
        unchanged = sum(record.unchanged for record in result.files)
        return IngestSummary(
            files=len(result.files),
            loaded=len(loaded),
            unchanged=unchanged,
            failed=len(result.files) - len(loaded) - unchanged,
            observations=result.observations.num_rows,
            problems=to_frame(result.log.table()),
        )

    def observations(
        self,
        *,
        benchmark: Filter = None,
        task: Filter = None,
        subtask: Filter = None,
        metric: Filter = None,
        model_family: Filter = None,
        shots: Filter = None,
    ) -> pd.DataFrame:
        """Return the stored observations, or those with the given values.

        Only the parts of the files that can hold such rows are read.

        Args:
            benchmark: A value or a list of values to keep; None keeps all. So for the others.
            task: Task names.
            subtask: Subtask names.
            metric: Metric names.
            model_family: Model families.
            shots: Numbers of shots.

        Returns:
            Frame with the columns of :data:`bigbench_meta.schema.OBSERVATIONS`.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        wanted = {
            "benchmark": benchmark, "task": task, "subtask": subtask, "metric": metric,
            "model_family": model_family, "shots": shots,
        }  # fmt: skip
        table = self._read("observations", _STORED, _expression(wanted))
        return to_frame(resolve_conflicts(table.drop_columns(FILE), ProblemLog()))

    def problems(self) -> pd.DataFrame:
        """Return the problems of the ingests whose files are still in force.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        return to_frame(self._read("problems", PROBLEMS.arrow, None))

    def _known(self) -> dict[str, str]:
        if not self._parts():
            return {}
        files = self._read("files", _FILES, pc.field("n_rows") > 0)
        return dict(zip(files["path"].to_pylist(), files["digest"].to_pylist(), strict=True))

    def _parts(self) -> list[str]:
        manifest = self.path / _MANIFEST
        if not manifest.exists():
            if self.path.is_dir() and any(self.path.glob("[!.]*")):
                raise StoreError(
                    "the folder is not empty and holds no store",
                    where=str(self.path),
                    hint="name a new folder",
                )
            return []
        try:
            content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
            found, version, parts = content["format"], content["version"], content["parts"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"damaged: {error}", where=str(manifest)) from error
        if (found, version) != (_FORMAT, _VERSION):
            raise StoreError(
                f"{found!r} version {version}, but this program reads version {_VERSION}",
                where=str(manifest),
                hint="ingest the result files into a new store",
            )
        return list(parts)

    def _read(self, kind: str, schema: pa.Schema, where: pc.Expression | None) -> pa.Table:
        if not (parts := self._parts()):
            raise StoreError("no store here", where=str(self.path), hint="ingest something first")
        files = [str(self._file(kind, part)) for part in parts]
        plain = pa.schema([(field.name, _plain_type(field.type)) for field in schema])
        try:
            table = ds.dataset(files, schema=plain).to_table(filter=where)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"damaged: {error}", where=str(self.path)) from error
        return table.cast(schema)

    def _commit(self, result: ReadResult) -> None:
        """Write the new part, rewrite older ones without what it replaces, switch the manifest."""
        new = {
            "observations": result.observations,
            "problems": result.log.table(),
            "files": _files_table(result.files),
        }
        old = self._parts()
        kept = [left for part in old if (left := self._without(part, result.files))]
        content = {"format": _FORMAT, "version": _VERSION, "parts": [*kept, self._write(new)]}
        with _atomic(self.path / _MANIFEST) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        for name in set(old) - set(kept):
            for kind in new:
                self._file(kind, name).unlink(missing_ok=True)

    def _without(self, part: str, records: list[FileRecord]) -> str | None:
        """Return the name of a part without the files just read, None if nothing is left of it.

        Rows go only where there are new ones; problems go with every file that was read again.
        """
        files = pq.read_table(self._file("files", part))
        read_again = {r.path: r for r in records if not r.unchanged}
        again = [read_again.get(path) for path in files["path"].to_pylist()]
        if not any(again):
            return part
        replaced = pa.array([bool(record and record.n_rows) for record in again])
        gone = pa.array(range(len(again)), pa.int32()).filter(replaced)
        labels = pa.array([record.label for record in read_again.values()])
        rows = pq.read_table(self._file("observations", part))
        problems = pq.read_table(self._file("problems", part))
        # File numbers stay valid: a replaced file keeps its place, with no rows and no digest.
        left = {
            "observations": rows.filter(pc.invert(pc.is_in(rows[FILE], gone))),
            "problems": problems.filter(pc.invert(pc.is_in(problems["source"], labels))),
            "files": files.set_column(
                files.schema.get_field_index("n_rows"),
                "n_rows",
                pc.if_else(replaced, 0, files["n_rows"]),
            ),
        }
        nothing = not left["observations"].num_rows and not left["problems"].num_rows
        return None if nothing else self._write(left)

    def _write(self, tables: dict[str, pa.Table]) -> str:
        part = uuid.uuid4().hex
        for kind, table in tables.items():
            path = self._file(kind, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            with _atomic(path) as temporary:
                pq.write_table(
                    table,
                    temporary,
                    compression="zstd",
                    row_group_size=_ROW_GROUP,
                    # A stored dictionary schema keeps readers from skipping row groups.
                    store_schema=False,
                )
        return part

    def _file(self, kind: str, part: str) -> Path:
        return self.path / kind / f"{part}.parquet"


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path and put it in place, complete and on disk, if nothing was raised."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _files_table(records: list[FileRecord]) -> pa.Table:
    return pa.table(
        {name: [getattr(record, name) for record in records] for name in _FILES.names},
        schema=_FILES,
    )


def _plain_type(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _expression(wanted: dict[str, Filter]) -> pc.Expression | None:
    expression = None
    for column, value in wanted.items():
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        clause = pc.field(column).isin(values)
        expression = clause if expression is None else expression & clause
    return expression
