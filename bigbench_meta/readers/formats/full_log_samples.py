"""The samples of a BIG-bench full log: their fields, and their rows of the samples table.

BIG-bench writes the shots of a query after its samples, and a log may name its task and its model
after all queries. So rows wait until it is known whose they are, in a temporary file when there
are many. Until then a column ``query``, the number of the query in its log, stands in for what the
query and the log say.
"""

from __future__ import annotations

import json
import tempfile
from itertools import chain, groupby
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_128_digest

from bigbench_meta.core.arrow import codes, lists, maps, numbers, reals, texts
from bigbench_meta.core.schema import SAMPLES
from bigbench_meta.readers.formats.json_stream import REFUSED, decode, decode_quoting
from bigbench_meta.readers.formats.values import TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "LITERALS",
    "Sample",
    "SampleTables",
    "ValueFaultError",
    "decode_field",
    "decode_sample",
    "doubtful_samples",
    "sample_list",
]

# The texts are the literals of json.dump once they are in quotes, and Protobuf's JSON has them so.
_Number = float | Literal["NaN", "Infinity", "-Infinity"]
_Metrics = dict[str, _Number | None]
LITERALS: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_EXACT: Final = "exact_str_match"

_QUERY: Final = "query"
# Columns of the samples table that follow from a sample alone.
_OWN_COLUMNS: Final = (
    "example_id", "input_hash", "targets", "target_values", "target_logprobs", "output", "correct",
    "metrics",
)  # fmt: skip
# Schema of the batches.
_ROWS: Final = pa.schema(
    [pa.field(_QUERY, pa.int32()), *(SAMPLES.arrow.field(name) for name in _OWN_COLUMNS)]
)
# Samples are turned into rows when they have taken so many bytes of the log.
_BATCH_BYTES: Final = 1 << 22
# A table has at least one of these, unless it is the last one of its log.
_TABLE_ROWS: Final = 1 << 16
_TABLE_BYTES: Final = 1 << 23
_SPOOL_BYTES: Final = 1 << 23


class Sample(msgspec.Struct, gc=False):
    """One sample of any kind of query."""

    input: str
    targets: list[str] | dict[str, _Metrics | None] | None = None
    output: str | None = None
    scores: list[_Number] | None = None
    target_values: dict[str, _Number | None] | None = None
    correct: _Number | None = None
    metrics: _Metrics | None = None


sample_list = msgspec.json.Decoder(list[Sample])
_sample = msgspec.json.Decoder(Sample)


class ValueFaultError(Exception):
    """A value cannot be used.

    Args:
        reason: What is wrong.
        path: Where in the value, such as ``.scores[1]``.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}")


def decode_sample(text: bytes) -> Sample:
    """Decode one sample.

    Raises:
        ValueFaultError: It is none.

    Examples:
        >>> decode_sample(b'{"input": "1 + 1 =", "scores": [-Infinity, "-1.5"]}')
        Traceback (most recent call last):
        ...
        bigbench_meta...ValueFaultError: .scores[1]: Invalid enum value '-1.5'
    """
    try:
        return decode(_sample, text)
    except REFUSED:
        quoted = decode_quoting(_sample, text)
    if quoted is not None and not doubtful_samples([quoted]):
        return quoted
    sample: Sample = decode_field(text, Sample)
    return sample


def doubtful_samples(samples: list[Sample]) -> bool:
    """Return whether a text may be a literal that was put in quotes, and so no text at all."""
    return any(
        sample.input in LITERALS
        or sample.output in LITERALS
        or not LITERALS.isdisjoint(sample.targets or ())
        for sample in samples
    )


def decode_field(text: bytes, type_: Any) -> Any:
    """Decode a value by the standard library, which takes more than others, and say why not.

    Raises:
        ValueFaultError: It is not of the type.
    """
    try:
        value = msgspec.convert(_named(json.loads(text.decode()), type_), type_)
        msgspec.json.encode(value)
    except msgspec.ValidationError as error:
        # The message ends in the place, as in: Expected `float`, got `str` - at `$.scores[1]`
        reason, _, path = str(error).partition(" - at `$")
        raise ValueFaultError(reason, path.rstrip("`")) from error
    except UnicodeEncodeError as error:
        raise ValueFaultError("a text with half of a surrogate pair") from error
    except json.JSONDecodeError as error:
        raise ValueFaultError(f"malformed JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueFaultError(f"not readable as JSON: {error}") from error
    except ValueError as error:
        raise ValueFaultError(f"not readable as JSON: {TOO_LONG}") from error
    except RecursionError as error:
        raise ValueFaultError("nested too deeply") from error
    return value


def _named(value: Any, type_: Any) -> Any:
    """Return a value with the members that a type names: any other key may be no UTF-8."""
    if not (
        isinstance(value, dict) and isinstance(type_, type) and issubclass(type_, msgspec.Struct)
    ):
        return value
    fields = msgspec.structs.fields(type_)
    return {each.name: _named(value[each.name], each.type) for each in fields if each.name in value}


class SampleTables:
    """Gathers the samples of one log.

    Args:
        on_samples: Takes the tables.
        on_mismatch: Called with the query, the sample, the number of log-probabilities and that of
            targets where these differ.
    """

    def __init__(
        self,
        on_samples: Callable[[pa.Table], None],
        on_mismatch: Callable[[int, int, int, int], None],
    ) -> None:
        self._on_samples = on_samples
        self._on_mismatch = on_mismatch
        self._rows = _RowBuilder()
        self._spool = _Spool()
        self._batched = 0
        self._known: dict[int, tuple[str | None, int | None]] = {}

    @property
    def n_rows(self) -> int:
        """Samples in hand."""
        return self._rows.n_rows + self._spool.n_rows

    @property
    def full(self) -> bool:
        """Whether there is enough for a table."""
        return self._spool.n_rows >= _TABLE_ROWS or self._spool.n_bytes >= _TABLE_BYTES

    def add(self, query: int, first: int, samples: list[Sample], offset: int) -> None:
        """Add samples that follow each other in one query.

        Args:
            query: Number of the query in the log.
            first: Number of the first sample in the query.
            samples: The samples.
            offset: How much of the log has been read, in bytes.
        """
        if samples:
            self._rows.add(query, first, samples)
        if offset - self._batched >= _BATCH_BYTES:
            self._batched = offset
            self._batch()

    def end_query(self, query: int, subtask: str | None, shots: int | None) -> None:
        """Note what is known of a query."""
        self._known[query] = subtask, shots

    def emit(self, whole: Mapping[str, str | int]) -> None:
        """Hand over all rows; all their queries must have ended.

        Args:
            whole: What is the same on all rows, by column.
        """
        self._batch()
        batches: list[pa.RecordBatch] = []
        n_rows = n_bytes = 0
        for batch in self._spool.clear():
            batches.append(batch)
            n_rows += batch.num_rows
            n_bytes += batch.nbytes
            if n_rows >= _TABLE_ROWS or n_bytes >= _TABLE_BYTES:
                self._on_samples(_complete(batches, whole, self._known))
                batches, n_rows, n_bytes = [], 0, 0
        if batches:
            self._on_samples(_complete(batches, whole, self._known))
        self._known = {}

    def close(self) -> None:
        """Throw away what is in hand."""
        self._spool.close()

    def _batch(self) -> None:
        if self._rows.n_rows:
            batch = self._rows.build()
            self._compare_lengths(batch)
            self._spool.put(batch)

    def _compare_lengths(self, batch: pa.RecordBatch) -> None:
        if batch.column("target_logprobs").null_count == batch.num_rows:
            return
        targets, scores = (
            pc.list_value_length(batch.column(name)) for name in ("targets", "target_logprobs")
        )
        for row in pc.indices_nonzero(pc.not_equal(targets, scores)).to_pylist():
            query, sample = map(int, batch.column("example_id")[row].as_py().split("/"))
            self._on_mismatch(query, sample, scores[row].as_py(), targets[row].as_py())


class _Spool:
    """Holds record batches in memory, and beyond a limit in a temporary file.

    Attributes:
        n_rows: Rows held.
        n_bytes: Bytes of them in memory.
    """

    def __init__(self) -> None:
        self.n_rows = self.n_bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def put(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        self._batches.append(batch)
        self.n_rows += batch.num_rows
        self.n_bytes += batch.nbytes
        if self.n_bytes > _SPOOL_BYTES:
            self._spill()

    def clear(self) -> Iterator[pa.RecordBatch]:
        """Yield all batches in their order, and hold none any more."""
        batches, file, writer = self._batches, self._file, self._writer
        self._batches, self._file, self._writer = [], None, None
        self.n_rows = self.n_bytes = 0
        if file is not None:
            with file:
                writer.close()
                file.seek(0)
                yield from pa.ipc.open_stream(file)
        yield from batches

    def close(self) -> None:
        """Throw away what is held."""
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._writer = pa.ipc.new_stream(self._file, _ROWS)
        for batch in self._batches:
            self._writer.write_batch(batch)
        self._batches = []
        self.n_bytes = 0


def _complete(
    batches: Sequence[pa.RecordBatch],
    whole: Mapping[str, str | int],
    queries: Mapping[int, tuple[str | None, int | None]],
) -> pa.Table:
    """Return batches as a samples table.

    Args:
        batches: From :class:`_RowBuilder`.
        whole: What is the same on all rows, by column.
        queries: Subtask and shots of each query.

    Returns:
        A table of schema :data:`bigbench_meta.core.schema.SAMPLES`.
    """
    table = pa.Table.from_batches(batches)
    query = np.concatenate([np.from_dlpack(chunk) for chunk in table.column(_QUERY).chunks])
    present, code = np.unique(query, return_inverse=True)
    subtasks, shots = zip(*(queries[number] for number in present.tolist()), strict=True)
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        name: table.column(name) for name in _OWN_COLUMNS
    }
    names = list(dict.fromkeys(name for name in subtasks if name is not None))
    place = np.array([names.index(name) if name in names else -1 for name in subtasks], np.int32)
    columns["subtask"] = codes(place[code], names, missing=place[code] < 0)
    known = np.array([-1 if value is None else value for value in shots], np.int64)[code]
    columns["shots"] = numbers(known, missing=known < 0)
    for name, value in whole.items():
        columns[name] = (
            codes(np.zeros(table.num_rows, np.int32), [value])
            if isinstance(value, str)
            else numbers(np.full(table.num_rows, value, np.int64))
        )
    return pa.table(
        [columns.get(c.name, pa.nulls(table.num_rows, c.type)) for c in SAMPLES.columns],
        schema=SAMPLES.arrow,
    )


class _RowBuilder:
    """Gathers samples and turns them into rows.

    Samples are taken apart as soon as they come, while they are in the processor's cache.

    Attributes:
        n_rows: Samples in hand.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        # Query, number of the first sample, number of samples.
        self._runs: list[tuple[int, int, int]] = []
        self._digests: list[bytes] = []
        self._lists: dict[str, list[Any]] = {name: [] for name in _OWN_COLUMNS[2:]}

    def add(self, query: int, first: int, samples: list[Sample]) -> None:
        """Add samples that follow each other in one query.

        Args:
            query: Number of the query in the log.
            first: Number of the first sample in the query.
            samples: The samples.
        """
        self.n_rows += len(samples)
        self._runs.append((query, first, len(samples)))
        self._digests += [xxh3_128_digest(sample.input.encode()) for sample in samples]
        start = 0
        # A query has samples of one kind, unless the file has been changed.
        for kind, group in groupby([type(sample.targets) for sample in samples]):
            part = samples[start : start + len(list(group))]
            start += len(part)
            columns = _generations(part) if kind is dict else _choices(part)
            for name, column in columns.items():
                self._lists[name] += column

    def build(self) -> pa.RecordBatch:
        """Return the rows in hand, and begin anew."""
        columns = {
            **self._numbers(),
            "input_hash": self._hashes(),
            "targets": _lists(self._lists["targets"], texts),
            "target_values": _lists(self._lists["target_values"], _reals),
            "target_logprobs": _lists(self._lists["target_logprobs"], _reals),
            "output": texts(self._lists["output"]),
            "correct": _reals(self._lists["correct"]),
            "metrics": _maps(self._lists["metrics"]),
        }
        _RowBuilder.__init__(self)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=_ROWS)

    def _numbers(self) -> dict[str, pa.Array]:
        queries, _, sizes = (np.array(column) for column in zip(*self._runs, strict=True))
        query = numbers(np.repeat(queries.astype(np.int32), sizes))
        sample = np.concatenate([np.arange(first, first + size) for _, first, size in self._runs])
        identity = (query.cast(pa.string()), numbers(sample).cast(pa.string()))
        slash = texts(["/"])[0]
        return {_QUERY: query, "example_id": pc.binary_join_element_wise(*identity, slash)}

    def _hashes(self) -> pa.Array:
        text = b"".join(self._digests).hex().encode()
        offsets = np.arange(self.n_rows + 1, dtype=np.int32) * 32
        return pa.StringArray.from_buffers(self.n_rows, pa.py_buffer(offsets), pa.py_buffer(text))


def _generations(samples: list[Sample]) -> dict[str, list[Any]]:
    """Return the columns of ``generate_text`` samples, whose targets are marked each.

    ``correct`` and ``metrics`` are the best over the targets (all metrics of BIG-bench's
    generations are better when higher, and its exact match is right if the output equals any
    target); a metric of the sample itself goes before those of its targets.
    """
    targets: list[Any] = [sample.targets for sample in samples]
    columns: dict[str, list[Any]] = {
        "targets": list(map(list, targets)),
        "target_values": [None] * len(samples),
        "target_logprobs": [sample.scores for sample in samples],
        "output": [sample.output for sample in samples],
        "correct": [sample.correct for sample in samples],
        "metrics": [sample.metrics for sample in samples],
    }
    own = any(columns["metrics"]) or columns["correct"].count(None) < len(samples)
    exact = None if own else _only_exact(targets)
    if exact is not None:
        return columns | {"correct": exact, "metrics": [None] * len(samples)}
    metrics = [_best(marks.values()) for marks in targets]
    for best, more in zip(metrics, columns["metrics"], strict=True):
        best |= _best([more])
    correct = [
        best.pop(_EXACT, None) if right is None else right
        for best, right in zip(metrics, columns["correct"], strict=True)
    ]
    return columns | {"correct": correct, "metrics": metrics}


def _only_exact(targets: list[dict[str, Any]]) -> list[Any] | None:
    """Return the best exact match of each sample, or None if there may be other metrics with it.

    The official evaluator computes nothing else, and nulls hold the other metrics' places.
    """
    marks = list(chain.from_iterable(map(dict.values, targets)))
    if not all(targets) or not all(marks):
        return None
    try:
        exact = [one[_EXACT] for one in marks]
    except KeyError:
        return None
    values = list(chain.from_iterable(map(dict.values, marks)))
    if len(values) - values.count(None) != len(exact) or None in exact:
        return None
    if len(marks) == len(targets):
        return exact
    starts = np.cumsum([0, *map(len, targets)])[:-1]
    best: list[float] = np.fmax.reduceat(np.array(exact, np.float64), starts).tolist()
    return best


def _choices(samples: list[Sample]) -> dict[str, list[Any]]:
    """Return the columns of ``cond_log_prob`` samples."""
    targets: list[Any] = [sample.targets for sample in samples]
    values = [
        # The official evaluator takes both from one dict.
        None
        if worth is None or names is None
        else list(worth.values() if list(worth) == names else map(worth.get, names))
        for worth, names in zip([sample.target_values for sample in samples], targets, strict=True)
    ]
    metrics: list[Any] = [sample.metrics for sample in samples]
    return {
        "targets": targets,
        "target_values": values,
        "target_logprobs": [sample.scores for sample in samples],
        "output": [sample.output for sample in samples],
        "correct": [sample.correct for sample in samples],
        "metrics": [_best([own]) for own in metrics] if any(metrics) else metrics,
    }


def _best(marks: Iterable[_Metrics | None]) -> dict[str, _Number]:
    best: dict[str, _Number] = {}
    for metrics in marks:
        for name, value in metrics.items() if metrics else ():
            if value is not None:
                known = best.get(name)
                # Literals are texts here. Like fmax, NaN gives way to any number.
                if known is None or float(value) > float(known) or float(known) != float(known):
                    best[name] = value
    return best


def _maps(given: list[dict[str, _Number] | None]) -> pa.Array:
    sizes = np.array([len(one) if one else 0 for one in given])
    filled = [one for one in given if one]
    values = _reals([value for one in filled for value in one.values()])
    return maps(texts(list(chain.from_iterable(filled))), values, sizes)


def _lists(given: list[Any], array: Callable[[list[Any]], pa.Array]) -> pa.Array:
    """Return an array of lists, null where a list is None; ``array`` makes that of their items."""
    try:
        sizes = np.fromiter(map(len, given), np.int64, len(given))
        missing = None
    except TypeError:
        missing = np.array([one is None for one in given])
        given = [one or () for one in given]
        sizes = np.fromiter(map(len, given), np.int64, len(given))
    return lists(array(list(chain.from_iterable(given))), sizes, missing=missing)


def _reals(values: list[Any]) -> pa.Array:
    try:
        return reals(values)
    except ValueError:
        return reals(_plain(values))


def _plain(values: list[Any]) -> list[float | None]:
    """Return numbers for the literals' texts."""
    return [float(value) if isinstance(value, str) else value for value in values]
