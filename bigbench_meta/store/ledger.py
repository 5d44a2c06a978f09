"""The ledger of a store: the files it holds, and how newly read files change them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.schema import FILE
from bigbench_meta.readers.detect import SAMPLES_ONLY
from bigbench_meta.store.ingest import Readers, Work
from bigbench_meta.store.manifest import FILES, STORED, Manifest, Part, PartWriter, write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bigbench_meta.readers.batch import FileRecord, ReadOptions
    from bigbench_meta.readers.detect import SourceFile
    from bigbench_meta.store.ingest import Written

__all__ = ["Ledger", "commit", "compacted", "with_joined"]


Entry = tuple[str, int]
"""Part and row of an entry in a list of files."""


class Ledger:
    """The current files of a store, found by identity.

    What most ingests ask for is gathered at once, the rest when it is asked for.

    Attributes:
        stats: Size and time of the last change of every file that would be read today as it was.
        failed: Labels of files whose newest content gave nothing, by identity.
    """

    def __init__(self, manifest: Manifest, options: ReadOptions) -> None:
        self._manifest, self._options = manifest, options
        self._accept = cache(Readers(options).accept)
        self.stats: dict[str, tuple[int, int]] = {}
        self.failed: dict[str, str] = {}
        self._n_current = 0
        manifest.fetch("files")
        for part in manifest.parts:
            self._gather(part)

    def of(self, manifest: Manifest) -> Ledger:
        """Return the ledger of another state of the store."""
        return Ledger(manifest, self._options)

    def _gather(self, part: Part) -> None:
        """Gather the files of one part, column by column: there may be a hundred thousand."""
        table = self._manifest.current_files(
            part, ["identity", "size", "stamp", "n_rows", "n_samples", "reader", "format"]
        )
        identity, size, stamp = (table[name].to_pylist() for name in ("identity", "size", "stamp"))
        self._n_current += len(identity)
        stats = zip(size, stamp, strict=True)
        accepted = self._accepted(table)
        if all(accepted) and 0 not in stamp:
            self.stats.update(zip(identity, stats, strict=True))
        else:
            for key, stat, is_accepted in zip(identity, stats, accepted, strict=True):
                if is_accepted and stat[1]:
                    self.stats[key] = stat
                else:
                    self.stats.pop(key, None)
        for key in identity if self.failed else ():
            self.failed.pop(key, None)
        counts = (table[name].to_pylist() for name in ("n_rows", "n_samples"))
        if empty := [row for row, pair in enumerate(zip(*counts, strict=True)) if pair == (0, 0)]:
            labels = self._manifest.current_files(part, ["label"])["label"].to_pylist()
            self.failed |= {identity[row]: labels[row] for row in empty}

    def _accepted(self, table: pa.Table) -> list[bool]:
        """Return which files this version would read with the same result."""
        columns = (table[name].to_pylist() for name in ("reader", "format", "identity"))
        return [
            self._accept(reader, format_, "!" in identity)
            for reader, format_, identity in zip(*columns, strict=True)
        ]

    def _places(self, column: str) -> Iterator[tuple[Entry, str]]:
        """Yield place and a column of every current file, oldest first."""
        for part in self._manifest.parts:
            table = self._manifest.table("files", part.files, columns=[column, "current"])
            columns = (table[name].to_pylist() for name in (column, "current"))
            for row, (value, is_current) in enumerate(zip(*columns, strict=True)):
                if is_current:
                    yield (part.id, row), value

    @cached_property
    def _entries(self) -> dict[str, list[Entry]]:
        """Places of the entries of each identity, oldest first.

        There are several only where the newest content is unreadable: it keeps the last good rows.
        """
        entries: dict[str, list[Entry]] = {}
        for place, identity in self._places("identity"):
            entries.setdefault(identity, []).append(place)
        return entries

    @cached_property
    def _digests(self) -> dict[str, bytes]:
        """Digests of the files that this version would read with the same result, by identity."""
        digests: dict[str, bytes] = {}
        for part in self._manifest.parts:
            table = self._manifest.current_files(part, ["identity", "digest", "reader", "format"])
            columns = (table[name].to_pylist() for name in ("identity", "digest"))
            rows = zip(*columns, self._accepted(table), strict=True)
            for identity, digest, is_accepted in rows:
                if is_accepted:
                    digests[identity] = digest
                else:
                    digests.pop(identity, None)
        return digests

    @cached_property
    def _members(self) -> dict[str, list[str]]:
        """Identities of the members of each archive."""
        members: dict[str, list[str]] = {}
        for identity in self._entries:
            archive, _, member = identity.partition("!")
            if member:
                members.setdefault(archive, []).append(identity)
        return members

    def has(self, file: SourceFile) -> bool:
        """Return whether the store has a file, by its size and time of change."""
        stat = (file.size, file.stamp)
        if file.format == "archive":
            members = self._members.get(file.path, [])
            return bool(members) and all(self.stats.get(one) == stat for one in members)
        return self.stats.get(file.identity) == stat

    def members_of(self, file: SourceFile) -> list[str]:
        """Return the identities that a file of the store stands for."""
        return self._members[file.path] if file.format == "archive" else [file.identity]

    def work(self, files: list[SourceFile]) -> Work:
        """Return a batch with what the store has of its files."""
        if not self._manifest.parts:
            return Work(files)
        wanted = [
            one
            for file in files
            for one in (
                self._members.get(file.path, []) if file.format == "archive" else [file.identity]
            )
        ]
        return Work(
            files,
            {one: self._digests[one] for one in wanted if one in self._digests},
            frozenset(one for one in wanted if one in self._entries),
        )

    def places(self, file: SourceFile) -> list[Entry]:
        """Return the places of a file, oldest first."""
        return self._entries.get(file.identity, []) if self._entries else []

    def has_content(self, record: FileRecord) -> bool:
        """Return whether the store has a file with the content that it was found to have."""
        return self._digests.get(record.file.identity) == record.digest

    def gone(self, folders: list[str], seen: set[str], members: set[str]) -> Iterator[str]:
        """Yield the labels of files that gave something and are no longer in one of the folders.

        Args:
            folders: Absolute paths.
            seen: Identities that need not be looked for.
            members: Identities of members that their archives no longer have.
        """
        prefixes = tuple(f"{folder.rstrip(os.sep)}{os.sep}" for folder in folders)
        is_each_seen = self._n_current == len(self.stats) and self.stats.keys() <= seen
        if not members and (not prefixes or is_each_seen):
            return
        for part in self._manifest.parts:
            identities = self._manifest.current_files(part, ["identity"])["identity"].to_pylist()
            unseen = [row for row, identity in enumerate(identities) if identity not in seen]
            if not unseen:
                continue
            columns = ["identity", "label", "format", "n_rows", "n_samples"]
            table = self._manifest.current_files(part, columns).take(unseen)
            rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
            for identity, label, format_, *counts in rows:
                if identity in members:
                    is_gone = format_ not in SAMPLES_ONLY
                else:
                    paths = (identity, identity.partition("!")[0])
                    is_gone = identity.startswith(prefixes) and not any(map(os.path.exists, paths))
                if is_gone and any(counts) and identity not in seen:
                    seen.add(identity)
                    yield label

    def labels(self) -> Iterator[tuple[Entry, str]]:
        """Yield place and label of every current file."""
        return self._places("label")

    def without(self, places: Iterable[Entry]) -> tuple[Part, ...]:
        """Return the parts of the store without some entries."""
        return _rewritten(self._manifest, {place: _Change(gone=True) for place in places})


@dataclass(frozen=True)
class _Change:
    """What happens to an entry: it goes, or its file was touched but not changed."""

    gone: bool = False
    size: int = -1
    stamp: int = 0


def commit(manifest: Manifest, ledger: Ledger, batches: list[Written]) -> tuple[Manifest, Ledger]:
    """Add what batches gave, and remove what it replaces, in one step.

    Where another process has committed meanwhile, the files that it added are replaced too: what
    is committed later counts.

    Args:
        manifest: The store as it is.
        ledger: Its files.
        batches: What they gave.

    Returns:
        The store as it is then, and the ledger by which to commit the next batches.
    """

    def with_batches(newest: Manifest) -> tuple[Part, ...]:
        nonlocal ledger
        if newest is not manifest:
            ledger = ledger.of(newest)
        changes: dict[Entry, _Change] = {}
        new: list[Part] = []
        for written in batches:
            for record in written.records:
                changes |= _changes(newest, ledger, record)
            if written.unchanged < written.files:
                new.append(written.part)
        return (*_rewritten(newest, changes), *new)

    manifest = manifest.update(with_batches)
    return manifest, ledger


def _changes(manifest: Manifest, ledger: Ledger, record: FileRecord) -> dict[Entry, _Change]:
    """Return what a newly read file means for its entries."""
    places = ledger.places(record.file)
    if not places:
        return {}
    if record.unchanged:
        # Unless another process has replaced meanwhile what it was compared with.
        if not ledger.has_content(record):
            return {}
        return {places[-1]: _Change(size=record.file.size, stamp=record.file.stamp)}
    if record.n_rows or record.n_samples:
        return dict.fromkeys(places, _Change(gone=True))
    # Nothing came of it: what it replaces stays, unless that was nothing as well.
    return {} if _gave_rows(manifest, places[-1]) else {places[-1]: _Change(gone=True)}


def _gave_rows(manifest: Manifest, place: Entry) -> bool:
    """Return whether there are observations or samples of a file."""
    part = next(part for part in manifest.parts if part.id == place[0])
    files = manifest.table("files", part.files)
    return any(files[name][place[1]].as_py() for name in ("n_rows", "n_samples"))


def _rewritten(manifest: Manifest, changes: dict[Entry, _Change]) -> tuple[Part, ...]:
    """Return the parts with changed lists of files; a part without a current file is dropped."""
    by_part: dict[str, dict[int, _Change]] = {}
    for (number, row), change in changes.items():
        by_part.setdefault(number, {})[row] = change
    parts: list[Part] = []
    for part in manifest.parts:
        if part.id not in by_part:
            parts.append(part)
            continue
        table = _changed(manifest.table("files", part.files), by_part[part.id])
        n_gone = int(pc.sum(pc.invert(table["current"])).as_py())
        if n_gone < table.num_rows:
            parts.append(
                replace(part, files=write_table(manifest.place, "files", table), n_gone=n_gone)
            )
    return tuple(parts)


def _changed(table: pa.Table, changes: dict[int, _Change]) -> pa.Table:
    columns = {name: table[name].to_pylist() for name in ("current", "size", "stamp")}
    for row, change in changes.items():
        if change.gone:
            columns["current"][row] = False
        else:
            columns["size"][row], columns["stamp"][row] = change.size, change.stamp
    for name, values in columns.items():
        field_ = FILES.field(name)
        table = table.set_column(FILES.get_field_index(name), field_, pa.array(values, field_.type))
    return table


def compacted(manifest: Manifest, *, rows: int) -> list[tuple[list[Part], Part]]:
    """Join parts to ones of about so many rows that hold what is current, in its order.

    Returns:
        Each group of parts with what it was joined to.
    """
    joined = []
    for group in _groups(manifest, rows):
        manifest.fetch(*STORED, parts=group)
        names: dict[str, str | None] = {}
        files = [manifest.table("files", part.files) for part in group]
        shifts = np.cumsum([0, *(table.num_rows for table in files)])
        kept = pa.concat_tables(files)
        renumber = np.cumsum(kept["current"].to_numpy()) - 1
        tasks: set[str] = set()
        for kind in ("observations", "samples"):
            with PartWriter(manifest.place, kind) as writer:
                for part, shift in zip(group, shifts, strict=False):
                    if name := getattr(part, kind):
                        table = manifest.table(kind, name)
                        table = _renumbered(table, kept, int(shift), renumber)
                        writer.write(table)
                        if kind == "observations":
                            tasks.update(table["task"].unique().to_pylist())
            names[kind] = writer.name if writer.n_rows else None
        problems = pa.concat_tables([manifest.current_problems(part) for part in group])
        joined.append(
            (
                group,
                Part(
                    files=write_table(manifest.place, "files", kept.filter(kept["current"])),
                    observations=names["observations"],
                    samples=names["samples"],
                    problems=write_table(manifest.place, "problems", problems)
                    if problems.num_rows
                    else None,
                    tasks=[min(tasks), max(tasks)] if tasks else None,
                ),
            )
        )
    return joined


def with_joined(manifest: Manifest, joined: list[tuple[list[Part], Part]]) -> tuple[Part, ...]:
    """Return the parts, with groups replaced by what they were joined to.

    A group of which another process has changed or joined a part meanwhile stays as it is.
    """
    there = {part.id: part for part in manifest.parts}
    replaced: dict[str, Part | None] = {}
    for group, part in joined:
        if all(there.get(one.id) == one for one in group):
            replaced |= {one.id: None for one in group} | {group[0].id: part}
    parts = (replaced.get(part.id, part) for part in manifest.parts)
    return tuple(part for part in parts if part)


def _groups(manifest: Manifest, rows: int) -> Iterator[list[Part]]:
    group: list[Part] = []
    n_rows = 0
    for part in manifest.parts:
        group.append(part)
        n_rows += int(pc.sum(manifest.table("files", part.files)["n_rows"]).as_py() or 0)
        if n_rows >= rows:
            yield group
            group, n_rows = [], 0
    if group:
        yield group


def _renumbered(
    table: pa.Table,
    files: pa.Table,
    shift: int,
    renumber: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> pa.Table:
    number = table[FILE].to_numpy() + shift
    keep = files["current"].to_numpy()[number]
    column = pa.array(renumber[number[keep]].astype(np.int32))
    index = table.schema.get_field_index(FILE)
    return table.filter(pa.array(keep)).set_column(index, table.schema.field(FILE), column)
