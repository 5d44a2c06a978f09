"""Reader for BIG-bench full logs, ``full-log_<family>_<model>.json``.

The format is that of ``bigbench.api.results`` (BIG-bench 1.0.0): a score file with one more key,
``queries``, a list of calls of the model with their samples. The scores go to the reader of score
files; the samples become rows of :data:`SAMPLES`. A log may be larger than
memory: its queries pass through a window (:mod:`bigbench_meta.readers.formats.json_stream`).

What becomes of a sample: ``example_id`` is ``<query>/<sample>``, both counted from 0 within the
log. ``targets`` are the choices, or the targets of a generation. ``target_logprobs`` are the
``scores`` as the task got them, absolute or normalised as its ``absolute_normalization`` asked;
``absolute_scores`` and ``normalized_scores`` are skipped (one of them repeats ``scores``, and
normalised ones follow from absolute ones), as is ``raw_output``. ``correct`` is the sample's
own, or a generation's ``exact_str_match``; ``metrics`` holds the other metrics that have a value.
``subtask`` is the query's ``task``; it is null where the evaluator did not know it, which it says
as ``programmatic``, and so are ``shots`` where they are -1 or not stated.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from bigbench_meta.core.schema import SIZE_AXES
from bigbench_meta.readers.formats.bigbench import BENCHMARK
from bigbench_meta.readers.formats.full_log_samples import (
    LITERALS,
    Sample,
    SampleTables,
    ValueFaultError,
    decode_field,
    decode_sample,
    doubtful_samples,
    sample_list,
)
from bigbench_meta.readers.formats.json_stream import (
    WINDOW_BYTES,
    JsonDamageError,
    JsonStream,
    Seam,
)
from bigbench_meta.readers.formats.values import as_size

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from bigbench_meta.readers.formats.bigbench import ScoreFileReader
    from bigbench_meta.readers.formats.values import FileLog
    from bigbench_meta.readers.streams import ByteStream

__all__ = ["read_full_log"]

_FUNCTIONS: Final = ("generate_text", "cond_log_prob")
_PROGRAMMATIC: Final = "programmatic"
_NAMES: Final = {"task", "model"}
_HEAD: Final = {"scores", *_NAMES}
_MOST_SAMPLE: Final = 1 << 24
_MOST_FIELD: Final = 1 << 16
# The layout of json.dump(indent=2): where to begin guessing.
_QUERY_SEAM: Final = b'},\n    {\n      "function"'
_SAMPLE_SEAM: Final = b'},\n        {\n          "input"'
_LAST_SAMPLE_SEAM: Final = b'}\n      ],\n      "shots"'
_Shots = Annotated[int, msgspec.Meta(ge=-1, le=10**9)]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class _Query(msgspec.Struct, gc=False):
    function: str
    samples: list[Sample]
    shots: _Shots | None = None
    task: str | None = None


class _SkippedQuery(msgspec.Struct, gc=False):
    """A query of which nothing is wanted."""


class _Task(msgspec.Struct):
    task_name: _Name


class _Model(msgspec.Struct):
    model_family: _Name
    model_name: _Name


class _Head(msgspec.Struct):
    """What is the same for all samples of a log."""

    task: _Task
    model: _Model


# What is wanted of a query besides its samples.
_FIELDS: Final[dict[str, Any]] = {"function": str, "shots": _Shots | None, "task": str | None}
_query_list = msgspec.json.Decoder(list[_Query])
_skipped_list = msgspec.json.Decoder(list[_SkippedQuery])


def read_full_log(
    stream: ByteStream,
    log: FileLog,
    *,
    samples: bool,
    reader: ScoreFileReader,
    number: int = 0,
    on_samples: Callable[[pa.Table], None] | None = None,
    window_bytes: int = WINDOW_BYTES,
) -> int:
    """Read one full log.

    A damaged log gives what stands before the damage; a sample that is wrong in itself is left out
    and noted. Without ``samples``, reading ends as soon as the scores, the task and the model are
    known: in a log as BIG-bench writes it, before the first query.

    Args:
        stream: The log's content, decompressed.
        log: Where problems are noted.
        samples: Whether to read the samples.
        reader: Takes the scores.
        number: The log's number in the ``file`` column of the reader's table.
        on_samples: Called with one samples table after another, each of bounded size, rows in the
            order of the log. Needed for samples.
        window_bytes: How much of the log to hold at once.

    Returns:
        How many observations the reader got.

    Raises:
        InputError: The problem log is strict, and there is a problem.

    Examples:
        >>> from io import BytesIO
        >>> from bigbench_meta.readers.formats.bigbench import ScoreFileReader
        >>> from bigbench_meta.readers.formats.values import FileLog
        >>> from bigbench_meta.readers.problems import ProblemLog
        >>> text = b'''{"scores": [{"score_dict": {"exact_str_match": 1.0},
        ...     "preferred_score": "exact_str_match", "number_of_shots": 0, "low_score": 0.0,
        ...     "high_score": 1.0}], "task": {"task_name": "sums"},
        ...   "model": {"model_family": "F", "model_name": "1m", "total_params": 1000000,
        ...     "non_embedding_params": 1000000, "flop_matched_non_embedding_params": 1000000},
        ...   "queries": [{"function": "generate_text", "samples": [{"input": "1 + 1 = ",
        ...     "output": "2", "targets": {"2": {"exact_str_match": 1.0}}}], "shots": 0}]}'''
        >>> problems, tables = ProblemLog(), []
        >>> read_full_log(BytesIO(text), FileLog("full-log_F_1m.json", problems), samples=True,
        ...     reader=ScoreFileReader(problems), on_samples=tables.append)
        1
        >>> row, = tables[0].to_pylist()
        >>> row["example_id"], row["targets"], row["output"], row["correct"]
        ('0/0', ['2'], '2', 1.0)
    """
    window = JsonStream(stream, window_bytes=window_bytes)
    reading = _Reading(window, log)
    with ExitStack() as stack:
        if samples and on_samples is not None:
            reading.tables = SampleTables(on_samples, reading.note_mismatch)
            stack.callback(reading.tables.close)
        try:
            reading.document()
        except JsonDamageError as damage:
            reading.damage = damage
        return reading.finish(reader, number)


@dataclass
class _Reading:
    """One log being read.

    Attributes:
        tables: Takes the samples; None if they are not wanted.
        damage: Where reading had to end.
        stopped: Whether all that is wanted was known before the end.
        members: Keys of the log whose values have been passed.
        sound: How many of the recorded bytes they take: all of the log but its queries.
        in_queries: Whether the cursor is in the queries.
        n_queries: Queries passed.
        query: What has been read of the query at the cursor, None if it is in none.
        n_samples: Samples passed of the list of samples at the cursor, None if it is in none.
    """

    window: JsonStream
    log: FileLog
    tables: SampleTables | None = None
    damage: JsonDamageError | None = None
    stopped: bool = False
    members: set[str] = field(default_factory=set)
    sound: int = 0
    in_queries: bool = False
    n_queries: int = 0
    query: dict[str, bytes | None] | None = None
    n_samples: int | None = None
    _query_seam: Seam = field(default_factory=lambda: Seam(_QUERY_SEAM))
    _sample_seam: Seam = field(default_factory=lambda: Seam(_SAMPLE_SEAM, _LAST_SAMPLE_SEAM))

    def document(self) -> None:
        """Pass the whole log, or as much of it as is wanted."""
        window = self.window
        window.pass_prefix(b"\xef\xbb\xbf")
        window.recording = True
        for key in window.members():
            if key == "queries":
                self.stopped = self.tables is None and self.members >= _HEAD
                if self.stopped:
                    return
                self._pass_queries()
            else:
                window.skip()
            self.members.add(key)
            self.sound = len(window.recorded)
        if window.peek() != -1:
            raise window.damage("the end expected")

    def _pass_queries(self) -> None:
        """Read the value of ``queries``, and record a null in its place."""
        window = self.window
        window.recording, self.in_queries = False, True
        if "queries" in self.members:
            self.log.error("queries", "key given twice: only the first is read")
            window.skip()
        elif window.peek() == ord("["):
            self._each_query()
        elif window.take(_MOST_FIELD) != b"null":
            self.log.error("queries", "expected a list")
        window.recorded += b"null"
        window.recording, self.in_queries = True, False

    def _each_query(self) -> None:
        found = (
            self.window.elements(_skipped_list, self._query_seam)
            if self.tables is None
            else self.window.elements(_query_list, self._query_seam, doubtful=_doubtful_queries)
        )
        for batch in found:
            if self.tables is None:
                self._pass_some(batch)
                continue
            if batch is None:
                self._one_query()
                self.n_queries += 1
            for query in batch or ():
                self._add(query.samples, 0)
                self._end_query(query.function, query.shots, query.task)
                self.n_queries += 1
            if self.tables.full and (names := self._names()):
                self.tables.emit(names)

    def _pass_some(self, batch: list[Any] | None) -> None:
        if batch is None:
            self.window.skip()
        self.n_queries += 1 if batch is None else len(batch)

    def _one_query(self) -> None:
        """Read one query of any size."""
        window, where = self.window, f"queries[{self.n_queries}]"
        if window.peek() != ord("{"):
            window.skip()
            self.log.error(where, "expected an object")
            return
        self.query = {}
        for key in window.members():
            if key == "samples" and key not in self.query:
                self.query[key] = None
                self._each_sample(f"{where}.samples")
            elif key in _FIELDS:
                self.query[key] = window.take(_MOST_FIELD)
            else:
                self._check(window.take(_MOST_FIELD), f"{where}.{key}")
        if "samples" not in self.query:
            self.log.error(f"{where}.samples", "missing")
        self._end_query(*(self._field(key) for key in _FIELDS))

    def _check(self, text: bytes | None, where: str) -> None:
        """Note what is wrong with a value that is not wanted."""
        try:
            decode_field(b"null" if text is None else text, object)
        except ValueFaultError as error:
            self.log.warning(where, error.reason)

    def _field(self, key: str) -> Any:
        """Return a field of the query at the cursor, None if it is missing or wrong."""
        if self.query is None or key not in self.query:
            return None
        text = self.query[key]
        try:
            return decode_field(b"" if text is None else text, _FIELDS[key])
        except ValueFaultError as error:
            reason = f"more than {_MOST_FIELD} bytes" if text is None else error.reason
            place = f"queries[{self.n_queries}].{key}{error.path}"
            self.log.error(place, f"{reason}: left empty")
            return None

    def _end_query(self, function: str | None, shots: int | None, task: str | None) -> None:
        """Note what is known of the query that ends."""
        if function not in _FUNCTIONS:
            reason = "missing" if function is None else f"unknown function {function!r}"
            place = f"queries[{self.n_queries}].function"
            self.log.warning(place, f"{reason}: samples are read anyway")
        subtask = None if task in (None, "", _PROGRAMMATIC) else task
        if self.tables is not None:
            self.tables.end_query(self.n_queries, subtask, None if shots == -1 else shots)
        self.query = None

    def _each_sample(self, where: str) -> None:
        window = self.window
        if window.peek() != ord("["):
            window.skip()
            self.log.error(where, "expected a list")
            return
        self.n_samples = 0
        for batch in window.elements(sample_list, self._sample_seam, doubtful=doubtful_samples):
            found = self._one_sample(f"{where}[{self.n_samples}]") if batch is None else batch
            self._add(found, self.n_samples)
            self.n_samples += 1 if batch is None else len(batch)
        self.n_samples = None

    def _one_sample(self, where: str) -> list[Sample]:
        """Read the sample at the cursor; return none if it is wrong in itself."""
        text = self.window.take(_MOST_SAMPLE)
        if text is None:
            self.log.error(where, f"more than {_MOST_SAMPLE} bytes: not loaded")
            return []
        try:
            return [decode_sample(text)]
        except ValueFaultError as error:
            self.log.error(where + error.path, f"{error.reason}: sample not loaded")
            return []

    def _add(self, found: list[Sample], first: int) -> None:
        if self.tables is not None:
            self.tables.add(self.n_queries, first, found, self.window.offset)

    def note_mismatch(self, query: int, sample: int, n_scores: int, n_targets: int) -> None:
        """Note that log-probabilities and targets are not of one number."""
        place = f"queries[{query}].samples[{sample}].scores"
        reason = f"{n_scores} log-probabilities of {n_targets} targets"
        self.log.warning(place, reason)

    def _names(self) -> dict[str, str | int] | None:
        """Return what is the same on all rows, None as long as it is not known."""
        if not self.members >= _NAMES:
            return None
        try:
            head = decode_field(self._head(), _Head)
        except ValueFaultError:
            return None
        # By itself: what is no size must not take the names with it.
        model = json.loads(self._head())["model"]
        sizes = {axis: size for axis in SIZE_AXES if (size := as_size(model.get(axis))) is not None}
        return {
            "benchmark": BENCHMARK,
            "task": head.task.task_name,
            "model_family": head.model.model_family,
            "model_name": head.model.model_name,
            **sizes,
            "source": self.log.label,
        }

    def _head(self) -> bytes:
        """Return the log without its queries, up to where it is sound."""
        return bytes(self.window.recorded[: self.sound]) + b"}"

    def finish(self, reader: ScoreFileReader, number: int) -> int:
        """Hand over what is left; return how many observations the reader got."""
        if self.damage:
            self._note_damage(self.damage)
        if self.tables is not None and self.tables.n_rows:
            if names := self._names():
                self.tables.emit(names)
            else:
                reason = f"{self.tables.n_rows} samples not loaded: no task or no model is named"
                self.log.error("queries", reason)
        if not self.damage and not self.stopped:
            return reader.read(bytes(self.window.recorded), self.log.label, number)
        return reader.read(self._head(), self.log.label, number) if self.members >= _HEAD else 0

    def _note_damage(self, damage: JsonDamageError) -> None:
        where, lost = "", ""
        if self.in_queries:
            where = f"queries[{self.n_queries}]"
        if self.n_samples is not None:
            where += f".samples[{self.n_samples}]"
        if self.query is not None:
            unknown = [key for key in _FIELDS if key not in self.query]
            lost = f", the query's {', '.join(unknown)} included" if unknown else ""
            shots, task = self._field("shots"), self._field("task")
            self._end_query(_FUNCTIONS[0], shots, task)
        self.log.error(where, f"{damage}: nothing after it is loaded{lost}")


def _doubtful_queries(queries: list[_Query]) -> bool:
    """Return the same of queries and their samples."""
    return any(
        query.function in LITERALS or query.task in LITERALS or doubtful_samples(query.samples)
        for query in queries
    )
