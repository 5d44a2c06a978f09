"""Reader for BIG-bench score files, ``<task>/results/scores_<family>_<model>.json``.

The format is that of ``bigbench.api.results`` (BIG-bench 1.0.0): ``scores``, a list of entries for
one (subtask, shots) each with a ``score_dict`` of metrics; ``task``; ``model``. Well-formed files
are decoded straight into typed structs. A file that does not decode is salvaged: each value is
checked by hand, each fault becomes a problem with its place in the file, and what is sound is kept.
"""

from __future__ import annotations

import math
from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, UnsetType

from bigbench_meta.core.arrow import codes, flags, numbers
from bigbench_meta.core.schema import FILE, OBSERVATIONS, SCALE_AXES
from bigbench_meta.readers.contradictions import compare_shots_with_name, compare_size_with_name
from bigbench_meta.readers.formats.values import (
    MOST_PARAMS,
    FileLog,
    as_number,
    as_size,
    as_whole,
    kind_of,
    show_value,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["BENCHMARK", "ScoreFileReader"]

BENCHMARK: Final = "BIG-bench"

_MOST_SHOTS: Final = 10**9
_SIZES: Final = ("total_params", "non_embedding_params", "flop_matched_non_embedding_params")
# Positive and within int64; anything else is for the salvager to judge.
_Size = Annotated[int, msgspec.Meta(gt=0, le=MOST_PARAMS)]
_Ignored = msgspec.Raw | UnsetType


class _Entry(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    score_dict: dict[str, float]
    preferred_score: str
    number_of_shots: Annotated[int, msgspec.Meta(ge=-1, le=_MOST_SHOTS)]
    low_score: float
    high_score: float
    subtask_description: str = ""


class _Task(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    task_name: Annotated[str, msgspec.Meta(min_length=1)]


class _Model(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    model_family: Annotated[str, msgspec.Meta(min_length=1)]
    model_name: Annotated[str, msgspec.Meta(min_length=1)]
    total_params: _Size
    non_embedding_params: _Size
    flop_matched_non_embedding_params: _Size
    training_batch_size: _Ignored = UNSET
    training_steps: _Ignored = UNSET
    description: _Ignored = UNSET
    decoding_params: _Ignored = UNSET
    additional_details: _Ignored = UNSET


class _ScoreFile(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    scores: Annotated[list[_Entry], msgspec.Meta(min_length=1)]
    task: _Task
    model: _Model
    queries: _Ignored = UNSET


_SCORE_DICT, _SUBTASK, _SHOTS, _LOW, _HIGH, _PREFERRED = map(
    attrgetter,
    (
        "score_dict", "subtask_description", "number_of_shots", "low_score", "high_score",
        "preferred_score",
    ),
)  # fmt: skip

_decoder = msgspec.json.Decoder(_ScoreFile)


class _Codes(dict[Any, int]):
    """Numbers texts in order of first appearance; the other half of a dictionary encoding."""

    def __missing__(self, value: Any) -> int:
        code = self[value] = len(self)
        return code


@dataclass
class ScoreFileReader:
    """Gathers the rows of many score files in columns.

    What is said once a file or once an entry is stored once and repeated only in :meth:`table`;
    the metric names of an entry are one interned tuple. So a row costs its score and little else.

    Attributes:
        log: Where problems are noted.
    """

    log: ProblemLog
    n_rows: int = 0
    _texts: dict[str, _Codes] = field(
        default_factory=lambda: {
            name: _Codes()
            for name in ("task", "subtask", "metric", "model_family", "model_name", "source")
        }
    )
    # One item a file: four text codes, its number, the sizes of SCALE_AXES; the number of entries.
    _files: list[tuple[int | None, ...]] = field(default_factory=list)
    _entries_in_file: list[int] = field(default_factory=list)
    # One item an entry.
    _subtask: list[int] = field(default_factory=list)
    _shots: list[int] = field(default_factory=list)
    _low: array[float] = field(default_factory=lambda: array("d"))
    _high: array[float] = field(default_factory=lambda: array("d"))
    _preferred: list[int] = field(default_factory=list)
    _preferred_names: _Codes = field(default_factory=_Codes)  # None where the file has none
    _metric_sets: _Codes = field(default_factory=_Codes)
    _metric_set: list[int] = field(default_factory=list)
    # One item a row.
    _score: array[float] = field(default_factory=lambda: array("d"))

    def read(self, data: bytes, source: str, number: int = 0) -> int:
        """Add the rows of one file.

        Args:
            data: The file's content.
            source: Its name in tables and messages.
            number: Its number in the ``file`` column of :meth:`table`.

        Returns:
            How many rows were added.
        """
        try:
            file: Any = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            file = _Salvager(FileLog(source, self.log)).file(data)
        if file is None:
            return 0
        before = self.n_rows
        self._add(file, source, number)
        return self.n_rows - before

    def _add(self, file: Any, source: str, number: int) -> None:
        task, model, texts = file.task.task_name, file.model, self._texts
        self._files.append(
            (
                texts["task"][task],
                texts["model_family"][model.model_family],
                texts["model_name"][model.model_name],
                texts["source"][source],
                number,
                model.flop_matched_non_embedding_params,
                model.non_embedding_params,
                model.total_params,
            )
        )
        if f"_{model.model_name}" not in source:  # as BIG-bench names its files
            size = model.total_params or model.non_embedding_params
            compare_size_with_name(FileLog(source, self.log), [(model.model_name, size)])
        if "shot" in source.rpartition("/")[2]:  # none of BIG-bench's own files
            shots = (
                None if entry.number_of_shots < 0 else entry.number_of_shots
                for entry in file.scores
            )
            compare_shots_with_name(FileLog(source, self.log), shots)
        self._add_entries(file.scores, task)
        named = map(dict.__contains__, map(_SCORE_DICT, file.scores), map(_PREFERRED, file.scores))
        if not all(named):
            self._note_unnamed(file.scores, source)

    def _note_unnamed(self, entries: list[Any], source: str) -> None:
        for position, entry in enumerate(entries):
            preferred = entry.preferred_score
            if preferred not in entry.score_dict and preferred is not None:
                where = f"scores[{position}].preferred_score"
                self.log.warning(source, where, f"{preferred!r} is not in score_dict")

    def _add_entries(self, entries: list[Any], task: str) -> None:
        # Iterators that run in C, a column at a time: a third of the time of a loop over entries.
        texts = self._texts
        score_dicts = list(map(_SCORE_DICT, entries))
        self._entries_in_file.append(len(entries))
        self._subtask.extend(
            map(texts["subtask"].__getitem__, [s or task for s in map(_SUBTASK, entries)])
        )
        self._shots.extend(map(_SHOTS, entries))
        self._low.extend(map(_LOW, entries))
        self._high.extend(map(_HIGH, entries))
        self._preferred.extend(map(self._preferred_names.__getitem__, map(_PREFERRED, entries)))
        self._metric_set.extend(map(self._metric_sets.__getitem__, map(tuple, score_dicts)))
        self._score.extend(chain.from_iterable(map(dict.values, score_dicts)))
        self.n_rows += sum(map(len, score_dicts))

    def table(self) -> pa.Table:
        """Return all rows read so far as observations with one more column, ``file``."""
        metric_code = self._texts["metric"]
        set_codes = np.array(
            [metric_code[name] for names in self._metric_sets for name in names], dtype=np.int32
        )
        set_sizes = np.array([len(names) for names in self._metric_sets], dtype=np.int64)
        metric_set = _whole(self._metric_set)
        rows_in_entry = set_sizes[metric_set]
        entry_of_row = np.repeat(np.arange(len(rows_in_entry)), rows_in_entry)
        # The place of a row in its entry's metric set, then in the flat list of all sets.
        within = np.arange(len(entry_of_row)) - _starts(rows_in_entry)[entry_of_row]
        metric = set_codes[_starts(set_sizes)[metric_set][entry_of_row] + within]
        entries_in_file = _whole(self._entries_in_file)
        file_of_row = np.repeat(np.arange(len(entries_in_file)), entries_in_file)[entry_of_row]
        columns = self._file_columns(file_of_row) | self._entry_columns(entry_of_row, metric)
        n_rows = len(metric)
        columns["benchmark"] = codes(np.zeros(n_rows, np.int32), [BENCHMARK])
        columns["score"] = numbers(_reals(self._score))
        file_number = columns.pop(FILE)
        table = pa.table(
            [columns.get(c.name, pa.nulls(n_rows, c.type)) for c in OBSERVATIONS.columns],
            schema=OBSERVATIONS.arrow,
        )
        return table.append_column(FILE, file_number)

    def _file_columns(self, file_of_row: NDArray[np.int64]) -> dict[str, pa.Array]:
        names = ("task", "model_family", "model_name", "source")
        by_column = list(zip(*self._files, strict=True)) or [()] * (len(names) + 4)
        columns: dict[str, pa.Array] = {}
        for name, values in zip(names, by_column, strict=False):
            code = np.array(values, dtype=np.int32)[file_of_row]
            columns[name] = codes(code, self._texts[name])
        number = np.array(by_column[len(names)], dtype=np.int32)
        columns[FILE] = numbers(number[file_of_row])
        for name, values in zip(SCALE_AXES, by_column[len(names) + 1 :], strict=False):
            missing = np.array([value is None for value in values], dtype=bool)
            size = _whole([value or 0 for value in values])
            columns[name] = numbers(size[file_of_row], missing=missing[file_of_row])
        return columns

    def _entry_columns(
        self, entry_of_row: NDArray[np.int64], metric: NDArray[np.int32]
    ) -> dict[str, pa.Array]:
        shots = _whole(self._shots)[entry_of_row]
        # As codes of metrics: -1 where the file has none, -2 for one that has no score anywhere.
        preferred_code = [
            -1 if name is None else self._texts["metric"].get(name, -2)
            for name in self._preferred_names
        ]
        preferred = _whole(preferred_code)[_whole(self._preferred)][entry_of_row]
        is_preferred = preferred == metric
        subtask = _whole(self._subtask)[entry_of_row].astype(np.int32)
        # low_score and high_score describe the preferred metric alone.
        low, high = (_reals(side)[entry_of_row] for side in (self._low, self._high))
        return {
            "subtask": codes(subtask, self._texts["subtask"]),
            "metric": codes(metric, self._texts["metric"]),
            "shots": numbers(shots, missing=shots < 0),
            "is_preferred": flags(is_preferred, missing=preferred == -1),
            "low_score": numbers(low, missing=~is_preferred | np.isnan(low)),
            "high_score": numbers(high, missing=~is_preferred | np.isnan(high)),
        }


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(sizes) - sizes


def _whole(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _reals(values: array[float]) -> NDArray[np.float64]:
    # A copy: an array cannot grow while NumPy holds its buffer.
    return np.frombuffer(values, dtype=np.float64).copy()


class _FaultError(Exception):
    """A value that makes its whole surroundings useless."""


class _Salvager:
    """Finds out why a score file does not decode, and keeps what is sound.

    Sizes and preferred metrics that cannot be used are None, low and high scores NaN: a struct
    checks only what it decodes.
    """

    def __init__(self, log: FileLog) -> None:
        self.log = log

    def file(self, data: bytes) -> _ScoreFile | None:
        """Return the sound part of a file, None if there is none; note every fault."""
        document = self.log.decode(data, dict, what="a score file")
        if document is None:
            return None
        try:
            self._note_unknown(document, _ScoreFile, "")
            file = _ScoreFile(
                scores=[],
                task=self._task(self._get(document, "task", "")),
                model=self._model(self._get(document, "model", "")),
            )
            entries = self._get(document, "scores", "")
            if not isinstance(entries, list):
                self._fail("scores", f"expected a list, got {kind_of(entries)}")
        except _FaultError:
            return None
        if not entries:
            self.log.warning("scores", "the list is empty: the file holds no scores")
        for number, entry in enumerate(entries):
            with suppress(_FaultError):
                file.scores.append(self._entry(entry, f"scores[{number}]"))
        return file

    def _task(self, value: Any) -> _Task:
        task = self._object(value, "task", _Task)
        return _Task(self._name(task, "task_name", "task"))

    def _model(self, value: Any) -> _Model:
        model = self._object(value, "model", _Model)
        sizes: dict[str, Any] = {name: self._size(model, name) for name in _SIZES}
        return _Model(
            model_family=self._name(model, "model_family", "model"),
            model_name=self._name(model, "model_name", "model"),
            **sizes,
        )

    def _entry(self, value: Any, where: str) -> _Entry:
        entry = self._object(value, where, _Entry)
        given = self._get(entry, "number_of_shots", where)
        shots = as_whole(given)
        if shots is None or not -1 <= shots <= _MOST_SHOTS:
            reason = f"expected a whole number, -1 or more, got {show_value(given)}"
            self._fail(f"{where}.number_of_shots", reason)
        scores = self._object(self._get(entry, "score_dict", where), f"{where}.score_dict")
        subtask = entry.get("subtask_description", "")
        if not _is_text(subtask):
            self._fail(f"{where}.subtask_description", f"expected text, got {show_value(subtask)}")
        return _Entry(
            score_dict=self._scores(scores, f"{where}.score_dict"),
            preferred_score=self._preferred(entry, where),
            number_of_shots=shots,
            low_score=self._bound(entry, "low_score", where),
            high_score=self._bound(entry, "high_score", where),
            subtask_description=subtask,
        )

    def _scores(self, scores: dict[str, Any], where: str) -> dict[str, float]:
        sound: dict[str, float] = {}
        for metric, value in scores.items():
            if not _is_text(metric):
                self.log.error(f"{where}.{metric}", "a name that is not valid Unicode")
            elif (number := self.log.score(value, f"{where}.{metric}")) is not None:
                sound[metric] = number
        return sound

    def _preferred(self, entry: dict[str, Any], where: str) -> Any:
        value = entry.get("preferred_score")
        if _is_text(value):
            return value
        reason = "missing" if value is None else f"expected text, got {show_value(value)}"
        self.log.warning(f"{where}.preferred_score", f"{reason}: no metric marked as preferred")
        return None

    def _bound(self, entry: dict[str, Any], key: str, where: str) -> float:
        number = as_number(entry.get(key))
        if number is not None and math.isfinite(number):
            return number
        self._note_empty(entry, key, where, "a finite number")
        return math.nan

    def _size(self, model: dict[str, Any], key: str) -> int | None:
        if (number := as_size(model.get(key))) is not None:
            return number
        self._note_empty(model, key, "model", "a positive whole number")
        return None

    def _name(self, holder: dict[str, Any], key: str, where: str) -> str:
        value = self._get(holder, key, where)
        if not _is_text(value) or not value.strip():
            self._fail(f"{where}.{key}", f"expected a name, got {show_value(value)}")
        return str(value)

    def _get(self, holder: dict[str, Any], key: str, where: str) -> Any:
        if key not in holder:
            self._fail(f"{where}.{key}".lstrip("."), "missing")
        return holder[key]

    def _object(
        self, value: Any, where: str, kind: type[msgspec.Struct] | None = None
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(where, f"expected an object, got {kind_of(value)}")
        if kind is not None:
            self._note_unknown(value, kind, where)
        return value

    def _note_unknown(self, holder: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
        for key in holder.keys() - set(kind.__struct_fields__):
            self.log.warning(f"{where}.{key}".lstrip("."), "unknown key: ignored")

    def _note_empty(self, holder: dict[str, Any], key: str, where: str, expected: str) -> None:
        got = f"expected {expected}, got {show_value(holder[key])}" if key in holder else "missing"
        self.log.warning(f"{where}.{key}", f"{got}: left empty")

    def _fail(self, where: str, reason: str) -> NoReturn:
        self.log.error(where, reason)
        raise _FaultError


def _is_text(value: Any) -> bool:
    """Return whether a value is text that can be stored: no half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
