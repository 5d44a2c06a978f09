"""The store: observations of many result files in one Parquet dataset, queried without loading.

A store is a folder with a manifest, which names its parts; nothing is ever deleted from a folder
without one, nor a file that this program did not write. It may be a folder of a bucket, such as
``s3://bucket/folder``; :mod:`bigbench_meta.store.places` says what differs there. A part is what
one batch of files gave: ``observations``, ``files``, ``problems`` and, if asked for, ``samples``,
each a Parquet file that is never changed. A commit writes new files, keeps the old ones, and then
replaces the manifest in one step. So a reader, and whoever looks after a crash, sees the state
before or after, and an ingest that was killed goes on where the last commit ended.

A row is current while its file is: replacing or removing a file rewrites the part's short list of
files, not its rows. :meth:`Store.compact` drops what is no longer current.

Rows are stored as the files have them. Where two files disagree is settled on reading, so it does
not depend on the order of ingests.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from xxhash import xxh3_128_hexdigest

from bigbench_meta.core.arrow import texts
from bigbench_meta.core.cards import Card, Carded
from bigbench_meta.core.errors import InputError, StoreError
from bigbench_meta.core.execute import Execution
from bigbench_meta.core.progress import progress_bar
from bigbench_meta.core.schema import FILE, PROBLEMS, ROW_KEY, SAMPLES, to_frame
from bigbench_meta.core.text import counted
from bigbench_meta.readers.batch import ReadOptions, batches
from bigbench_meta.readers.problems import ProblemLog
from bigbench_meta.readers.sources import (
    FileStats,
    discover,
    is_store,
    located,
    named_paths,
    require_found,
)
from bigbench_meta.store import ingest as _ingest
from bigbench_meta.store.groups import GROUP_ROWS, ObservationGroups
from bigbench_meta.store.ledger import Ledger, commit, compacted, with_joined
from bigbench_meta.store.manifest import STORED, Manifest, Part, damage, write_table
from bigbench_meta.store.places import place_of
from bigbench_meta.store.samples import StoredSamples, tasks_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from bigbench_meta.core.progress import Progress, Report
    from bigbench_meta.readers.detect import SourceFile
    from bigbench_meta.store.ledger import Entry

__all__ = ["IngestSummary", "Store"]

_COMPACT_ROWS: Final = 1 << 20
# Files whose numbers of rows are read to show a store.
_LOOKED_INTO: Final = 100
# Samples handed out at a time.
_BATCH_ROWS: Final = 1 << 16
# Scores that are compared with new ones at a time, as texts.
_COMPARED_ROWS: Final = 1 << 17
# Up to so many rows an ingest ends with a search for conflicts; beyond, `conflicts` is for that.
_SEARCHED_ROWS: Final = 1 << 18

_GONE: Final = "no longer there: its scores are kept (`bigbench-meta store remove` removes them)"

# What the source of a score begins with that was computed from samples.
_KEPT: Final = "rescored: "

Read = TypeVar("Read")
Filter = str | int | list[str] | list[int] | None


@dataclass(frozen=True)
class IngestSummary:
    """What an ingest did.

    Attributes:
        files: Files found.
        loaded: Files that gave rows.
        unchanged: Files skipped because the store has them as they are.
        failed: Files that gave no rows.
        observations: Rows added.
        samples: Samples added.
        gone: Files that the store keeps, but that are no longer in the folders and archives that
            were read.
    """

    files: int
    loaded: int
    unchanged: int
    failed: int
    gone: int
    observations: int
    samples: int
    _problems: pa.Table = field(repr=False)

    @cached_property
    def problems(self) -> pd.DataFrame:
        """Problems table of this ingest."""
        return to_frame(self._problems)


class Store(Carded):
    """A folder of observations, on this machine or in a bucket.

    Args:
        path: The folder, or a URL such as ``s3://bucket/folder``; it need not exist before the
            first ingest, but the bucket must. Credentials are those of the environment, see
            docs/how_to/object_stores.md.
        wait: Seconds to wait for another process that is writing to the folder. In a bucket
            processes write at once, and none waits.
        check: Compare each Parquet file with its digest before it is first read, so that a damaged
            one is reported and no score is silently wrong. It costs one reading of all bytes.

    Attributes:
        path: The folder, or the URL.

    Raises:
        StoreError: The folder holds something else, or a store of another version; or the URL
            cannot be reached.

    Examples:
        >>> import tempfile
        >>> from bigbench_meta.catalog.published import data_path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = Store(folder)
        ...     summary = store.ingest(data_path("gpt3_table_h1.csv"))
        ...     rows = store.observations(task="LAMBADA", metric="ppl")
        >>> summary.observations, len(rows)
        (1512, 24)
    """

    def __init__(self, path: str | Path, *, wait: float = 30.0, check: bool = True) -> None:
        self._place = place_of(path)
        self.path = self._place.path
        self.wait = wait
        self._checked: set[str] | None = set() if check else None
        self._read().tidy()

    @staticmethod
    def is_store(path: str | Path) -> bool:
        """Return whether a path or URL is a folder with a store's manifest, sound or damaged.

        Raises:
            InputError: It is a URL that cannot be reached.
        """
        return is_store(path)

    def state(self) -> tuple[str, str]:
        """Return the path or URL of the manifest, and its XXH3-128 digest in hexadecimal.

        The manifest holds the digests of all files, so this identifies what the store holds.

        Raises:
            StoreError: There is no store, or it is damaged.
        """
        name = self._manifest().name
        content = self._place.read(name) or b""
        return self._place.named(name), xxh3_128_hexdigest(content)

    def _card(self) -> Card:
        """Return what the manifest and, of a few files, their ends say: no row is read."""
        title = f"Store({str(self.path)!r})"
        try:
            parts = self._read().parts
            listed = [
                (kind, self._place.at(kind, name))
                for part in parts
                for kind in ("observations", "samples")
                if (name := getattr(part, kind))
            ]
            # Nothing is fetched from a bucket for this.
            is_here = all(path.exists() for _, path in listed)
            listed = listed if is_here else []
            n_bytes = sum(path.stat().st_size for _, path in listed)
            rows = dict.fromkeys(("observations", "samples"), 0)
            for kind, path in listed[:_LOOKED_INTO]:
                rows[kind] += pq.read_metadata(path).num_rows
        except (StoreError, OSError, pa.ArrowException) as error:
            return Card(title=title, facts={"fault": str(error)})
        if not parts:
            return Card(title=title, facts={"empty": ".ingest(results) reads result files into it"})
        more = len(listed) > _LOOKED_INTO or any(part.n_gone for part in parts)
        about = "about " if more else ""
        scale = len(listed) / min(len(listed), _LOOKED_INTO) if listed else 1
        ends = [task for part in parts for task in part.tasks or ()]
        counts = {kind: f"{about}{round(n * scale):,}" for kind, n in rows.items()}
        size = f"{max(n_bytes // 1000, 1):,} kB in " if is_here else ""
        return Card(
            title=title,
            facts={
                **(counts if is_here else {}),
                "tasks": f"from {min(ends)} to {max(ends)}" if ends else "not known",
                "on disk" if is_here else "in the bucket": f"{size}{counted(len(parts), 'part')}",
                "see": ".observations(task=...), .samples(), .problems(), .info()",
            },
        )

    def ingest(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        options: ReadOptions | None = None,
        execution: Execution | None = None,
        progress: Progress = None,
    ) -> IngestSummary:
        """Read result files into the store.

        A file that the store has is skipped if its size and time of change are the same, or else
        its content. A file that has changed replaces its rows. A changed file that cannot be read
        any more keeps its old rows and is reported; so is one that is no longer in a folder or
        archive that is read, until :meth:`remove` drops it. Each batch of files is committed when
        it is read, so an ingest that is killed loses at most some megabytes of reading.

        Args:
            paths: Files and folders, as for :func:`bigbench_meta.read_results`.
            options: How to read, see :class:`bigbench_meta.readers.ReadOptions`.
            execution: How the work is spread; ``keep`` has no effect, as batches are committed.
            progress: Whether to show a bar, or what to call with (files done, files found so far);
                by default a bar in terminals and notebooks.

        Returns:
            What was done.

        Raises:
            InputError: A path does not exist, or nothing that looks like results is found.
            StoreError: The store is damaged, or another process is writing to it.
        """
        named = named_paths(paths)
        # Before a folder is made for what cannot be read.
        roots = [path for path, _ in located(named) if Path(path).is_dir()]
        options, execution = options or ReadOptions(), execution or Execution()
        log = ProblemLog()
        with progress_bar("Reading", progress) as report, self._place.locked(self.wait):
            manifest = self._read().claim()
            manifest.sweep()
            ledger = Ledger(manifest, options)
            counts = _Counts(report)
            stats = FileStats(ledger.stats)
            found = discover(
                named, log, samples=options.samples, mapping=options.mapping, stats=stats
            )
            work = _changed(batches(found), ledger, stats, counts)
            for group in _every_second(_ingest.run(self._place, work, options, execution)):
                manifest, ledger = commit(manifest, ledger, group)
                for written in group:
                    counts.add(written)
            counts.skip(ledger, stats)
            counts.gone = list(ledger.gone(roots, counts.seen, counts.gone_members()))
            require_found(named, counts.found + len(counts.gone), log)
            self._keep_problems(manifest, log)
            self._read().sweep()
        return counts.summary(log, self._old_problems(counts), self._small_conflicts(counts))

    def keep(self, scores: pd.DataFrame) -> IngestSummary:
        """Keep scores that were computed from the stored samples.

        They lie in the store's folder ``rescored``, a file for each metric, and are read like any
        other file. Scores that were kept before for the same model, task and metric are replaced.
        Of two processes that keep scores of one metric at once, one may replace the other's file.

        Args:
            scores: Observations.

        Returns:
            What was read.

        Raises:
            StoreError: The store cannot be written, or another process is writing to it.
        """
        import pandas as pd

        if scores.empty:
            return _Counts(None).summary(ProblemLog())
        paths = []
        for metric, some in scores.groupby("metric", observed=True):
            name = f"rescored/{quote(str(metric), safe='')}.parquet"
            frame = some.assign(source=_KEPT + some["source"].astype("string").fillna(""))
            names = [name for name in ROW_KEY if name != "shots"]
            frame = frame.astype(dict.fromkeys(names, "string"))
            path = self._place.named(name)
            if (content := self._place.read(name)) is not None:
                with damage(path):
                    before = pd.read_parquet(BytesIO(content), page_checksum_verification=True)
                frame = pd.concat([frame, before]).drop_duplicates(list(ROW_KEY))
            self._place.write(name, frame.to_parquet(index=False, write_page_checksum=True))
            paths.append(path)
        return self.ingest(paths)

    def reported(self, *, metric: Filter = None) -> Iterator[pd.DataFrame]:
        """Yield the stored observations but for those of :meth:`keep`, some tasks at a time.

        Args:
            metric: A metric or a list of metrics to keep; None keeps all.
        """
        for frame in self.observation_groups(metric=metric, rows=_COMPARED_ROWS):
            yield frame[~frame["source"].astype(str).str.startswith(_KEPT)]

    def _old_problems(self, counts: _Counts) -> pa.Table:
        """Return the problems of files that failed before and have not changed."""
        if not counts.failed_before:
            return PROBLEMS.empty()
        problems = self._problems()
        return problems.filter(pc.is_in(problems["source"], pa.array(counts.failed_before)))

    def _small_conflicts(self, counts: _Counts) -> pa.Table:
        """Return conflicts after an ingest that changed something, unless the search is long."""
        if not counts.loaded or counts.observations > _SEARCHED_ROWS:
            return PROBLEMS.empty()
        if pc.sum(self._files(["n_rows"])["n_rows"]).as_py() > _SEARCHED_ROWS:
            return PROBLEMS.empty()
        return self._conflicts({})

    def _keep_problems(self, manifest: Manifest, log: ProblemLog) -> None:
        """Store what was noted of folders, unless it is known."""
        if not log.rows:
            return
        old = _row_set(self._problems()) if manifest.parts else {}
        if new := [row for row in _row_set(log.table()) if row not in old]:
            columns = [texts(column) for column in zip(*new, strict=True)]
            problems = write_table(
                self._place, "problems", pa.table(columns, schema=PROBLEMS.arrow)
            )
            files = write_table(self._place, "files", STORED["files"].empty_table())
            part = Part(files=files, problems=problems)
            manifest.update(lambda newest: (*newest.parts, part))

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
            Frame with the columns of :data:`bigbench_meta.core.schema.OBSERVATIONS`.

        Raises:
            InputError: A value is of another type than its column.
            StoreError: There is no store, or a part is damaged.
        """
        wanted = {
            "benchmark": benchmark, "task": task, "subtask": subtask, "metric": metric,
            "model_family": model_family, "shots": shots,
        }  # fmt: skip
        from bigbench_meta.readers.conflicts import resolve_conflicts

        return to_frame(resolve_conflicts(self._rows("observations", wanted)))

    def observation_groups(
        self,
        *,
        task: Filter = None,
        metric: Filter = None,
        model_family: Filter = None,
        rows: int = GROUP_ROWS,
    ) -> ObservationGroups:
        """Return the stored observations some tasks at a time, for more than fit into memory.

        Args:
            task: A task or a list of tasks to keep; None keeps all. So for the others.
            metric: Metrics.
            model_family: Model families.
            rows: Rows of a group; a task with more is a group by itself.

        Returns:
            Groups of whole tasks, each a frame like that of :meth:`observations`, to go through as
            often as needed; :func:`bigbench_meta.build_curves` takes them.

        Raises:
            StoreError: There is no store, or a part is damaged.

        Examples:
            >>> import tempfile
            >>> from bigbench_meta import build_curves
            >>> from bigbench_meta.catalog.published import data_path
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     store = Store(folder)
            ...     summary = store.ingest(data_path("gpt3_table_h1.csv"))
            ...     len(build_curves(store.observation_groups(rows=200)))
            189
        """
        wanted = {"task": task, "metric": metric, "model_family": model_family}
        manifest = self._manifest()

        def batches(columns: list[str]) -> Iterator[pa.Table]:
            for paths, clause in _scans(manifest, "observations", wanted):
                yield from _scan_batches(paths, "observations", clause, columns)

        def of_tasks(tasks: list[str]) -> pa.Table:
            scans = _scans(manifest, "observations", wanted | {"task": tasks})
            tables = [_scan(paths, "observations", clause) for paths, clause in scans]
            return pa.concat_tables([STORED["observations"].empty_table(), *tables])

        return ObservationGroups(batches, of_tasks, rows)

    def samples(
        self, *, task: Filter = None, model_family: Filter = None, shots: Filter = None
    ) -> pd.DataFrame:
        """Return the stored samples, or those with the given values.

        Args:
            task: A task or a list of tasks to keep; None keeps all. So for the others.
            model_family: Model families.
            shots: Numbers of shots.

        Returns:
            Frame with the columns of :data:`SAMPLES`; empty unless an ingest
            asked for samples.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        wanted = {"task": task, "model_family": model_family, "shots": shots}
        return to_frame(self._rows("samples", wanted))

    def sample_batches(
        self,
        columns: Sequence[str] | None = None,
        *,
        task: Filter = None,
        model_family: Filter = None,
        shots: Filter = None,
    ) -> Iterator[pa.Table]:
        """Yield the stored samples a bounded number at a time, for more than fit into memory.

        Args:
            columns: Read only these columns of :data:`SAMPLES`; all by default.
            task: A task or a list of tasks to keep; None keeps all. So for the others.
            model_family: Model families.
            shots: Numbers of shots.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        wanted = {"task": task, "model_family": model_family, "shots": shots}
        chosen = list(columns) if columns else SAMPLES.names
        manifest = self._manifest()
        # Part by part, so that what lies elsewhere is fetched as it is needed.
        of_parts = (replace(manifest, parts=(part,)) for part in manifest.parts)
        for paths, clause in chain.from_iterable(
            _scans(one, "samples", wanted) for one in of_parts
        ):
            yield from _scan_batches(paths, "samples", clause, chosen)

    def samples_by_task(self, *, model_family: Filter = None) -> StoredSamples:
        """Return the stored samples to read one task at a time, for more than fit into memory.

        Intervals from single examples take them in place of :meth:`samples`, with the same result:
        :func:`bigbench_meta.curve_intervals`, :func:`bigbench_meta.metric_change` and what calls
        them.

        Args:
            model_family: A model family or a list of them to keep; None keeps all.

        Raises:
            StoreError: There is no store.
        """
        families = None if model_family is None else tuple(map(str, _values(model_family)))
        self._manifest()
        return StoredSamples(str(self.path), self.state(), families, self._checked is not None)

    def problems(self) -> pd.DataFrame:
        """Return the problems of reading the current files.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        return to_frame(self._problems())

    def _problems(self) -> pa.Table:
        return _distinct(self._of_parts(Manifest.current_problems, "files", "problems"))

    def conflicts(
        self, *, task: Filter = None, metric: Filter = None, model_family: Filter = None
    ) -> pd.DataFrame:
        """Return where current files disagree about a score, or repeat it.

        Args:
            task: A task or a list of tasks to look at; None looks at all. So for the others.
            metric: Metrics.
            model_family: Model families.

        Returns:
            A problems table. Repetitions are dropped and conflicting scores kept as replicates
            whenever observations are read.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        wanted = {"task": task, "metric": metric, "model_family": model_family}
        return to_frame(self._conflicts(wanted))

    def _conflicts(self, wanted: dict[str, Filter]) -> pa.Table:
        from bigbench_meta.readers.conflicts import resolve_conflicts

        log = ProblemLog()
        resolve_conflicts(self._rows("observations", wanted), log)
        return log.table()

    def files(self) -> pd.DataFrame:
        """Return the current files, one row per file.

        Returns:
            Columns ``label, identity, format, size, n_rows, n_samples, reader, ingested``.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        columns = [
            "label", "identity", "format", "size", "n_rows", "n_samples", "reader", "ingested",
        ]  # fmt: skip
        return to_frame(self._files(columns))

    def _files(self, columns: list[str]) -> pa.Table:
        return self._of_parts(lambda manifest, part: manifest.current_files(part, columns), "files")

    def info(self) -> pd.DataFrame:
        """Return what came from each source: the folder, archive or file that was named.

        Returns:
            One row per source and format: ``source, format, files, failed, observations, samples,
            bytes, last_ingest``.

        Raises:
            StoreError: There is no store, or a part is damaged.
        """
        files = self.files()
        # The folder that was named; of a file that was named, all of its label.
        below = files["label"].str.replace(r"^((?:\w+://)?[^/]+)/.*", r"\1", regex=True)
        failed = (files["n_rows"] == 0) & (files["n_samples"] == 0)
        files = files.assign(source=below, failed=failed)
        return (
            files.groupby(["source", "format"], sort=True)
            .agg(
                files=("label", "size"),
                failed=("failed", "sum"),
                observations=("n_rows", "sum"),
                samples=("n_samples", "sum"),
                bytes=("size", "sum"),
                last_ingest=("ingested", "max"),
            )
            .reset_index()
        )

    def remove(self, pattern: str) -> int:
        """Remove files from the store; :meth:`compact` gives their space back.

        Args:
            pattern: Shell-style pattern over the labels of files, as ``files()`` lists them.

        Returns:
            How many files were removed.

        Raises:
            InputError: No file fits.
            StoreError: There is no store, it is damaged, or another process is writing to it.
        """
        entries: list[Entry] = []

        def without(newest: Manifest) -> tuple[Part, ...]:
            ledger = Ledger(newest, ReadOptions())
            entries[:] = [entry for entry, label in ledger.labels() if fnmatchcase(label, pattern)]
            if not entries:
                raise InputError("matches no file", where=pattern, hint="bigbench-meta store info")
            return ledger.without(entries)

        with self._place.locked(self.wait):
            self._manifest().update(without)
        return len(entries)

    def compact(self) -> int:
        """Join small parts and drop what is no longer current.

        Returns:
            How many parts the store has now.

        Raises:
            StoreError: There is no store, it is damaged, or another process is writing to it.
        """
        with self._place.locked(self.wait):
            joined = self._newest(lambda manifest: compacted(manifest, rows=_COMPACT_ROWS))
            manifest = self._manifest().update(lambda newest: with_joined(newest, joined))
            manifest.sweep()
        return len(manifest.parts)

    def _read(self) -> Manifest:
        return Manifest.read(self._place, self._checked)

    def _manifest(self) -> Manifest:
        manifest = self._read()
        if not manifest.parts:
            raise StoreError("no store here", where=str(self.path), hint="ingest something first")
        return manifest

    def _newest(self, read: Callable[[Manifest], Read]) -> Read:
        """Read the store, once more if another process has replaced its files meanwhile."""
        manifest = self._manifest()
        try:
            return read(manifest)
        except StoreError:
            if self._manifest().parts == manifest.parts:
                raise
            return self._newest(read)

    def _of_parts(self, read: Callable[[Manifest, Part], pa.Table], *kinds: str) -> pa.Table:
        def every(manifest: Manifest) -> pa.Table:
            manifest.fetch(*kinds)
            return pa.concat_tables(read(manifest, part) for part in manifest.parts)

        return self._newest(every)

    def _rows(self, kind: str, wanted: dict[str, Filter]) -> pa.Table:
        """Return the current rows that are wanted, without their file number."""

        def read(manifest: Manifest) -> pa.Table:
            scans = _scans(manifest, kind, wanted)
            tables = [_scan(paths, kind, clause) for paths, clause in scans]
            return pa.concat_tables([STORED[kind].empty_table(), *tables])

        rows = self._newest(read)
        return rows.drop_columns(FILE).unify_dictionaries()


def _every_second(items: Iterable[_ingest.Written]) -> Iterator[list[_ingest.Written]]:
    """Group what arrives within a second: at most that much is lost, and commits stay rare."""
    group: list[_ingest.Written] = []
    since = time.monotonic()
    for item in items:
        group.append(item)
        if time.monotonic() - since >= 1:
            yield group
            group, since = [], time.monotonic()
    if group:
        yield group


class _Counts:
    """Counts how the files of an ingest end."""

    def __init__(self, progress: Report) -> None:
        self.found = self.unchanged = self.loaded = self.failed = 0
        self.observations = self.samples = 0
        self.failed_before: list[str] = []
        self.seen: set[str] = set()
        self.gone: list[str] = []
        # Labels of archives that were read again, by the members that the store had of them.
        self._members: dict[str, str] = {}
        self._problems = [PROBLEMS.empty()]
        self._progress = progress

    def skip(self, ledger: Ledger, stats: FileStats) -> None:
        """Count the files that were skipped since the last call."""
        failed = [ledger.failed[path] for path in stats.skipped if path in ledger.failed]
        self.seen.update(stats.skipped)
        self.found += len(stats.skipped)
        self.unchanged += len(stats.skipped) - len(failed)
        self.failed += len(failed)
        self.failed_before += failed
        stats.skipped.clear()
        self._show()

    def start(self, work: _ingest.Work) -> None:
        """Count the files that will be read."""
        self.found += len(work.files)
        self.seen.update(file.identity for file in work.files)
        archives = {file.identity: file.label for file in work.files if file.format == "archive"}
        for identity in work.stored if archives else ():
            if label := archives.get(identity.partition("!")[0]):
                self._members[identity] = label

    def gone_members(self) -> set[str]:
        """Return the stored members that archives no longer have, as far as these are sound."""
        problems = pa.concat_tables(self._problems)
        # Not by pyarrow.compute: a scalar of Arrow's imports pandas.
        columns = (problems["source"].to_pylist(), problems["severity"].to_pylist())
        damaged = {source for source, severity in zip(*columns, strict=True) if severity == "error"}
        return {
            identity
            for identity, label in self._members.items()
            if identity not in self.seen and label not in damaged
        }

    def add(self, written: _ingest.Written) -> None:
        self.seen.update(record.file.identity for record in written.records if record.file.member)
        self.unchanged += written.unchanged
        self.loaded += written.loaded
        self.failed += written.files - written.loaded - written.unchanged
        self.observations += written.observations
        self.samples += written.samples
        self._problems.append(written.problems)
        self._show()

    def _show(self) -> None:
        if self._progress:
            self._progress(self.loaded + self.failed + self.unchanged, self.found)

    def summary(self, log: ProblemLog, *more: pa.Table) -> IngestSummary:
        return IngestSummary(
            files=self.loaded + self.failed + self.unchanged,
            loaded=self.loaded,
            unchanged=self.unchanged,
            failed=self.failed,
            gone=len(self.gone),
            observations=self.observations,
            samples=self.samples,
            _problems=_distinct(
                pa.concat_tables([*self._problems, log.table(), self._of_gone(), *more])
            ),
        )

    def _of_gone(self) -> pa.Table:
        """Return a problem for each file that is gone; it is not stored, for it may come back."""
        log = ProblemLog()
        for label in self.gone:
            log.warning(label, "", _GONE)
        return log.table()


def _row_set(table: pa.Table) -> dict[tuple[Any, ...], None]:
    """Return the rows of a table as the keys of a dict: without repetitions, in their order."""
    return dict.fromkeys(zip(*table.to_pydict().values(), strict=True))


def _distinct(problems: pa.Table) -> pa.Table:
    if problems.num_rows < 2:
        return problems
    columns = [texts(column) for column in zip(*_row_set(problems), strict=True)]
    return pa.table(columns, schema=PROBLEMS.arrow)


def _changed(
    found: Iterable[list[SourceFile]], ledger: Ledger, stats: FileStats, counts: _Counts
) -> Iterator[_ingest.Work]:
    """Yield batches without the files that the store has, by size and time of change."""
    for batch in found:
        changed = [file for file in batch if not ledger.has(file)] if ledger.stats else batch
        if len(changed) < len(batch):
            for file in batch:
                if ledger.has(file):
                    stats.skipped.extend(ledger.members_of(file))
        counts.skip(ledger, stats)
        if changed:
            work = ledger.work(changed)
            counts.start(work)
            yield work


def _scans(
    manifest: Manifest, kind: str, wanted: dict[str, Filter]
) -> Iterator[tuple[list[str], pc.Expression | None]]:
    """Yield the Parquet files of a kind that may have wanted rows, with what selects these."""
    where = _expression(wanted)
    given = wanted.get("task")
    tasks = None if given is None else _values(given)
    parts = [
        (part, name)
        for part in manifest.parts
        if (name := getattr(part, kind))
        and (tasks is None or kind != "observations" or part.may_have(tasks))
    ]
    manifest.fetch(kind, parts=[part for part, _ in parts])
    manifest.fetch("files", parts=[part for part, _ in parts if part.n_gone])
    whole: list[str] = []
    for part, name in parts:
        path = str(manifest.path(kind, name))
        if kind == "samples" and tasks is not None:
            first, last = tasks_of_file(manifest.path(kind, name))
            if not any(first <= task <= last for task in tasks):
                continue
        if part.n_gone:
            current = manifest.table("files", part.files)["current"].combine_chunks()
            gone = pc.field(FILE).isin(pc.indices_nonzero(pc.invert(current)).cast(pa.int32()))
            clause = ~gone if where is None else where & ~gone
            yield [path], clause
        else:
            whole.append(path)
    if whole:
        yield whole, where


def _scan(paths: list[str], kind: str, where: pc.Expression | None) -> pa.Table:
    with damage(Path(paths[0]).parent):
        return _dataset(paths, kind).to_table(filter=where).cast(STORED[kind])


def _scan_batches(
    paths: list[str], kind: str, where: pc.Expression | None, columns: list[str]
) -> Iterator[pa.Table]:
    schema = pa.schema([STORED[kind].field(name) for name in columns])
    with damage(Path(paths[0]).parent):
        dataset = _dataset(paths, kind)
        for fragment in dataset.get_fragments():
            # Some row groups at a time: a scanner reads ahead by a gigabyte of what a slow consumer
            # has not taken yet.
            for groups in _row_groups(fragment, where, dataset.schema):
                found = fragment.subset(row_group_ids=groups).to_table(
                    schema=dataset.schema, columns=columns, filter=where, batch_size=_BATCH_ROWS
                )
                for batch in found.to_batches():
                    if batch.num_rows:
                        yield pa.Table.from_batches([batch]).cast(schema)
                del found
                pa.default_memory_pool().release_unused()


def _row_groups(
    fragment: Any, where: pc.Expression | None, schema: pa.Schema
) -> Iterator[list[int]]:
    """Yield the row groups of a file that may have wanted rows, as many as make a batch."""
    some: list[int] = []
    n_rows = 0
    for group in fragment.split_by_row_group(where, schema=schema):
        (info,) = group.row_groups
        some.append(info.id)
        n_rows += info.num_rows
        if n_rows >= _BATCH_ROWS:
            yield some
            some, n_rows = [], 0
    if some:
        yield some


def _dataset(paths: list[str], kind: str) -> Any:
    # Imported here: it imports pandas, which an ingest does without until its end.
    import pyarrow.dataset as ds

    plain = pa.schema([(field.name, _plain_type(field.type)) for field in STORED[kind]])
    return ds.dataset(paths, schema=plain)


def _plain_type(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _values(value: str | int | list[str] | list[int]) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _expression(wanted: dict[str, Filter]) -> pc.Expression | None:
    expression = None
    for column, value in wanted.items():
        if value is None:
            continue
        values = _values(value)
        type_ = _plain_type(STORED["observations"].field(column).type)
        try:
            clause = pc.field(column).isin(pa.array(values, type_))
        except (pa.ArrowException, TypeError) as error:
            raise InputError(f"{value!r} is not of type {type_}", where=column) from error
        expression = clause if expression is None else expression & clause
    return expression
