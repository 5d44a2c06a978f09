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
from bigbench_meta.readers.detect import STORE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from bigbench_meta.store.places import Place

__all__ = ["FILES", "STORED", "Manifest", "Part", "PartWriter", "damage", "write_table"]

VERSION: Final = 5
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
        place: Where the store lies.
        parts: Its parts, oldest first.
        checked: Names of the Parquet files whose digest was compared with their content; None if
            none is to be.
        name: Name of the file that it was read from, empty if there is none yet.
    """

    place: Place
    parts: tuple[Part, ...] = ()
    checked: set[str] | None = None
    name: str = ""

    @classmethod
    def read(cls, place: Place, checked: set[str] | None = None) -> Self:
        """Read the newest manifest; a folder that is empty or absent is an empty store.

        Args:
            place: Where the store lies.
            checked: As in the class.

        Raises:
            StoreError: The folder holds something else, a damaged manifest or another version.
        """
        name, text = place.newest()
        where = place.named(name)
        if not name and place.holds_other():
            raise StoreError(
                "the folder is not empty and holds no store",
                where=str(place.path),
                hint="name a new folder",
            )
        if not name:
            return cls(place, checked=checked)
        try:
            content: dict[str, Any] = json.loads(text)
            found = (content["format"], content["version"])
            listed = content["parts"] if found == (STORE_FORMAT, VERSION) else []
            parts = tuple(Part(**part) for part in listed)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"damaged: {error}", where=where) from error
        missing = place.missing(_files_of(parts))
        if missing and place.newest() != (name, text):
            return cls.read(place, checked)  # another process has committed meanwhile
        if found != (STORE_FORMAT, VERSION):
            raise StoreError(
                f"{found[0]!r} version {found[1]}, but this program reads version {VERSION}",
                where=where,
                hint="bigbench-meta ingest RESULTS... --store NEW_FOLDER builds it anew",
            )
        if missing:
            raise StoreError(f"damaged: {missing[0]} is missing", where=where)
        if _digest(listed) != content.get("digest"):
            raise StoreError("damaged: its list of parts has changed", where=where)
        return cls(place, parts, checked, name)

    def update(self, change: Callable[[Manifest], tuple[Part, ...]]) -> Manifest:
        """Replace the parts by others, in one step, and return the new manifest.

        Args:
            change: Works out the new parts. It is called with this manifest and, whenever another
                process has committed meanwhile, again with what that one wrote.
        """
        manifest = self
        while True:
            name = ""
            try:
                parts = change(manifest)
                listed = [asdict(part) for part in parts]
                content = {
                    "format": STORE_FORMAT,
                    "version": VERSION,
                    "digest": _digest(listed),
                    "parts": listed,
                }
                text = json.dumps(content, indent=1) + "\n"
                name = self.place.commit(text.encode(), manifest.name, _files_of(parts))
            except StoreError:
                # What another process has replaced may have been deleted while it was read.
                if Manifest.read(self.place).name == manifest.name:
                    raise
            if name:
                return replace(manifest, parts=parts, name=name)
            manifest = Manifest.read(self.place, self.checked)

    def fetch(self, *kinds: str, parts: Iterable[Part] | None = None) -> None:
        """Bring the files of some kinds, of all parts or of some, to this machine, if they are not.

        Raises:
            StoreError: One is missing.
        """
        files = _files_of(self.parts if parts is None else parts)
        self.place.fetch([file for file in files if file[0] in kinds])

    def path(self, kind: str, name: str) -> Path:
        """Return the path of one Parquet file, its content compared with its digest once.

        Raises:
            StoreError: It is missing or damaged.
        """
        self.place.fetch([(kind, name)])
        path = self.place.at(kind, name)
        if self.checked is not None and name not in self.checked:
            if not _is_sound(path):
                self.place.fetch([(kind, name)], anew=True)
                if not _is_sound(path):
                    where = self.place.named(f"{kind}/{path.name}")
                    raise StoreError("damaged: its content has changed", where=where)
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

    def claim(self) -> Manifest:
        """Mark the folder as a store, before anything else is written to it or removed from it."""
        return self if self.name else self.update(lambda newest: newest.parts)

    def tidy(self) -> None:
        """Delete fetched copies of what the store no longer has."""
        self.place.tidy(_files_of(self.parts))

    def sweep(self) -> None:
        """Delete the files of killed ingests and replaced parts."""
        self.place.sweep(_files_of(self.parts))


def _files_of(parts: Iterable[Part]) -> list[tuple[str, str]]:
    """Return kind and name of all files that parts name."""
    return [(kind, name) for part in parts for kind in STORED if (name := getattr(part, kind))]


def _is_sound(path: Path) -> bool:
    """Return whether a file has the digest that its name ends with."""
    with damage(path), path.open("rb") as content:
        return file_digest(content, xxh3_128).hexdigest() == path.stem.rpartition("-")[2]


def _digest(listed: list[dict[str, Any]]) -> str:
    return xxh3_128_hexdigest(json.dumps(listed).encode())


@contextmanager
def damage(path: Path | str) -> Iterator[None]:
    """Raise what reading raises as damage of the store."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"damaged: {error}", where=str(path)) from error


def write_table(place: Place, kind: str, table: pa.Table) -> str:
    """Write a new Parquet file and return its name."""
    with PartWriter(place, kind) as writer:
        writer.write(table)
    return writer.name


class PartWriter:
    """Writes one new Parquet file, table after table; it counts only once a manifest names it.

    Attributes:
        name: Its name, with its digest once it is closed.
        n_rows: Rows so far.
    """

    def __init__(self, place: Place, kind: str) -> None:
        self.name = uuid.uuid4().hex
        self.n_rows = 0
        self._place, self._kind = place, kind
        self._path = place.at(kind, self.name)
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
            self._place.add(self._path, self._kind, self.name)
