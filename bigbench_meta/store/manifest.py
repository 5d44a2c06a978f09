"""The files of a store, written so that a crash leaves the old state or the new one.

The name of a Parquet file ends with the digest of its bytes, and the manifest holds a digest of the
names that it lists, so that no damage goes unseen.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import file_digest
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_128, xxh3_128_hexdigest

from bigbench_meta.core.errors import StoreError
from bigbench_meta.core.schema import FILE, OBSERVATIONS, PROBLEMS, SAMPLES
from bigbench_meta.readers.detect import OF_A_STORE, STORE_FORMAT
from bigbench_meta.readers.sources import is_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["FILES", "STORED", "Manifest", "Part", "PartWriter", "atomic", "damage", "write_table"]

VERSION: Final = 5
_NAME: Final = "manifest.json"
# Columns to select by: their range in a row group says whether to read it.
_KEYS: Final = ["benchmark", "task", "subtask", "metric", "model_family", "shots"]
_UNIQUE: Final = {"score", "example_id", "input_hash", "output", "identity", "label", "digest"}
# Rows arrive clustered by task, so a group of this size holds few tasks and the rest is skipped.
_ROW_GROUP: Final = 1 << 15

FILES: Final = pa.schema(
    [
        ("identity", pa.string()),  # absolute path or URL, with "!member" inside an archive
        ("label", pa.string()),
        ("format", pa.string()),
        ("size", pa.int64()),
        ("stamp", pa.int64()),
        ("digest", pa.binary()),
        ("n_rows", pa.int64()),
        ("n_samples", pa.int64()),
        ("reader", pa.string()),  # version and options of the reader
        ("ingested", pa.string()),
        ("current", pa.bool_()),  # false once it was replaced or removed
    ]
)


def _numbered(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field(FILE, pa.int32()))


STORED: Final[dict[str, pa.Schema]] = {
    "observations": _numbered(OBSERVATIONS.arrow),
    "samples": _numbered(SAMPLES.arrow),
    "problems": PROBLEMS.arrow,
    "files": FILES,
}
"""Schema of each kind of file; in observations and samples ``file`` is a row number in files."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The result of one batch: the names of its Parquet files, None where there is nothing.

    Attributes:
        id: Stays when the list of files is rewritten.
        files: List of files.
        observations: Rows.
        samples: Samples.
        problems: Problems.
        n_gone: How many of its files are no longer current.
        tasks: The first and the last task of its rows by name, so that a search for a task need not
            open the others; None if not known.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    files: str
    observations: str | None = None
    samples: str | None = None
    problems: str | None = None
    n_gone: int = 0
    tasks: list[str] | None = None

    def may_have(self, tasks: Collection[str]) -> bool:
        """Return whether some of its rows may be of one of the tasks."""
        return self.tasks is None or any(self.tasks[0] <= task <= self.tasks[1] for task in tasks)


@dataclass(frozen=True)
class Manifest:
    """The parts of a store.

    Attributes:
        folder: The store.
        parts: Its parts, oldest first.
        checked: Names of the Parquet files whose digest was compared with their content; None if
            none is to be.
    """

    folder: Path
    parts: tuple[Part, ...] = ()
    checked: set[str] | None = None

    @classmethod
    def read(cls, folder: Path, checked: set[str] | None = None) -> Self:
        """Read the manifest of a folder; a folder that is empty or absent is an empty store.

        Args:
            folder: The store.
            checked: As in the class.

        Raises:
            StoreError: The folder holds something else, a damaged manifest or another version.
        """
        path = folder / _NAME
        if not is_store(folder):
            # A store's folder holds a manifest from the first; hidden files are the system's.
            if any(folder.glob("[!.]*")):
                raise StoreError(
                    "the folder is not empty and holds no store",
                    where=str(folder),
                    hint="name a new folder",
                )
            return cls(folder, checked=checked)
        try:
            text = path.read_text(encoding="utf-8")
            content: dict[str, Any] = json.loads(text)
            found = (content["format"], content["version"])
            listed = content["parts"] if found == (STORE_FORMAT, VERSION) else []
            parts = tuple(Part(**part) for part in listed)
            missing = [path for path in _files_of(folder, parts) if not path.exists()]
            if missing and path.read_text(encoding="utf-8") != text:
                return cls.read(folder, checked)  # another process has committed meanwhile
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"damaged: {error}", where=str(path)) from error
        if found != (STORE_FORMAT, VERSION):
            raise StoreError(
                f"{found[0]!r} version {found[1]}, but this program reads version {VERSION}",
                where=str(path),
                hint="bigbench-meta ingest RESULTS... --store NEW_FOLDER builds it anew",
            )
        if missing:
            raise StoreError(f"damaged: {missing[0].name} is missing", where=str(path))
        if _digest(listed) != content.get("digest"):
            raise StoreError("damaged: its list of parts has changed", where=str(path))
        return cls(folder, parts, checked)

    def write(self, parts: tuple[Part, ...]) -> Manifest:
        """Replace the parts by others, in one step, and return the new manifest."""
        listed = [asdict(part) for part in parts]
        content = {
            "format": STORE_FORMAT, "version": VERSION, "digest": _digest(listed), "parts": listed,
        }  # fmt: skip
        with atomic(self.folder / _NAME) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return replace(self, parts=parts)

    def path(self, kind: str, name: str) -> Path:
        """Return the path of one Parquet file, its content compared with its digest once.

        Raises:
            StoreError: It is missing or damaged.
        """
        path = self.folder / kind / f"{name}.parquet"
        if self.checked is not None and name not in self.checked:
            with damage(path), path.open("rb") as content:
                found = file_digest(content, xxh3_128).hexdigest()
            if found != name.rpartition("-")[2]:
                raise StoreError("damaged: its content has changed", where=str(path))
            self.checked.add(name)
        return path

    def table(self, kind: str, name: str, *, columns: list[str] | None = None) -> pa.Table:
        """Read one Parquet file, or some of its columns.

        Raises:
            StoreError: It is missing or damaged.
        """
        path = self.path(kind, name)
        with damage(path):
            # Not read_table: it makes a dataset of every single file.
            with pq.ParquetFile(path) as file:
                table = file.read(columns)
            return table.cast(pa.schema([STORED[kind].field(name) for name in table.column_names]))

    def current_files(self, part: Part, columns: list[str]) -> pa.Table:
        """Return some columns of the files of a part that are current."""
        if not part.n_gone:
            return self.table("files", part.files, columns=columns)
        table = self.table("files", part.files, columns=[*columns, "current"])
        return table.filter(table["current"]).select(columns)

    def current_problems(self, part: Part) -> pa.Table:
        """Return the problems of a part, without those of files that are no longer current."""
        if not part.problems:
            return PROBLEMS.empty()
        table = self.table("problems", part.problems)
        files = self.table("files", part.files, columns=["label", "current"])
        gone = files.filter(pc.invert(files["current"]))["label"]
        kept = files.filter(files["current"])["label"]  # another file of that label
        of_gone = pc.and_not(pc.is_in(table["source"], gone), pc.is_in(table["source"], kept))
        return table.filter(pc.invert(of_gone))

    def claim(self) -> None:
        """Mark the folder as a store, before anything else is written to it or removed from it."""
        if not (self.folder / _NAME).exists():
            self.write(self.parts)

    def sweep(self) -> None:
        """Delete the files of killed ingests and replaced parts.

        Only in a folder that holds a manifest, and only files under names that this module gives;
        whatever else somebody keeps in the folder stays.
        """
        if not (self.folder / _NAME).exists():
            return
        named = set(_files_of(self.folder, self.parts))
        for kind in STORED:
            for path in (self.folder / kind).glob("*.parquet"):
                if OF_A_STORE.fullmatch(path.stem) and path not in named and path.is_file():
                    path.unlink(missing_ok=True)
        for path in self.folder.glob(f".{_NAME}.*.tmp"):
            if path.suffixes[-2][1:].isdecimal() and path.is_file():
                path.unlink(missing_ok=True)


def _files_of(folder: Path, parts: tuple[Part, ...]) -> list[Path]:
    """Return the paths of all files that parts name."""
    return [
        folder / kind / f"{name}.parquet"
        for part in parts
        for kind in STORED
        if (name := getattr(part, kind))
    ]


def _digest(listed: list[dict[str, Any]]) -> str:
    return xxh3_128_hexdigest(json.dumps(listed).encode())


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Raise what reading raises as damage of the store."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"damaged: {error}", where=str(path)) from error


def write_table(folder: Path, kind: str, table: pa.Table) -> str:
    """Write a new Parquet file and return its name."""
    with PartWriter(folder, kind) as writer:
        writer.write(table)
    return writer.name


class PartWriter:
    """Writes one new Parquet file, table after table; it counts only once a manifest names it.

    Attributes:
        name: Its name, with its digest once it is closed.
        n_rows: Rows so far.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.name = uuid.uuid4().hex
        self.n_rows = 0
        self._path = folder / kind / f"{self.name}.parquet"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            self._path,
            STORED[kind],
            compression="zstd",
            # Scores hardly repeat; their dictionary would be built in vain.
            use_dictionary=[name for name in STORED[kind].names if name not in _UNIQUE],
            write_statistics=[name for name in _KEYS if name in STORED[kind].names],
            # A stored dictionary schema keeps readers from skipping row groups.
            store_schema=False,
        )

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        self._writer.write_table(table, row_group_size=_ROW_GROUP)
        self.n_rows += table.num_rows

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file and name it by its content; delete it if anything was raised."""
        self._writer.close()
        if kind:
            self._path.unlink(missing_ok=True)
        else:
            with self._path.open("rb") as written:
                os.fsync(written.fileno())
                self.name += f"-{file_digest(written, xxh3_128).hexdigest()}"
            self._path.replace(self._path.with_stem(self.name))


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path and put it in place, complete and on disk, if nothing was raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
