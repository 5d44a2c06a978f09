"""Finds out why a score file does not decode, and saves the parts that are sound.

Slow and careful, for the few files that the typed decoder refuses: each value is checked by hand,
and each fault becomes a problem with the place in the file.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["salvage"]

_MOST_SHOTS: Final = 10**9
_MOST_PARAMS: Final = 10**18
_SIZES: Final = ("total_params", "non_embedding_params", "flop_matched_non_embedding_params")
_KNOWN_MODEL: Final = {
    "model_family", "model_name", *_SIZES, "training_batch_size", "training_steps", "description",
    "decoding_params", "additional_details",
}  # fmt: skip
_KNOWN_ENTRY: Final = {
    "score_dict", "preferred_score", "number_of_shots", "low_score", "high_score",
    "subtask_description",
}  # fmt: skip


@dataclass
class _Entry:
    score_dict: dict[str, float]
    preferred_score: str | None
    number_of_shots: int
    low_score: float
    high_score: float
    subtask_description: str


@dataclass
class _Task:
    task_name: str


@dataclass
class _Model:
    model_family: str
    model_name: str
    total_params: int | None
    non_embedding_params: int | None
    flop_matched_non_embedding_params: int | None


@dataclass
class _ScoreFile:
    task: _Task
    model: _Model
    scores: list[_Entry] = field(default_factory=list)


class _FaultError(Exception):
    """A value that makes its whole surroundings useless."""


def salvage(data: bytes, source: str, log: ProblemLog) -> _ScoreFile | None:
    """Return what is sound in a score file, None if nothing is; note every fault.

    Args:
        data: The file's content.
        source: Its name in messages.
        log: Where faults are noted.

    Returns:
        An object with the attributes of a decoded file; sizes that cannot be used are None, low
        and high scores NaN.
    """
    try:
        return _Salvager(source, log).file(_parse(data, source, log))
    except _FaultError:
        return None


def _parse(data: bytes, source: str, log: ProblemLog) -> Any:
    if not data.strip(b" \t\r\n\0"):
        log.error(source, "", "the file is empty")
        raise _FaultError
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) < len(items):
            counts = Counter(key for key, _ in items)
            repeated.extend(sorted(key for key, count in counts.items() if count > 1))
        return result

    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)
    except UnicodeDecodeError as error:
        log.error(source, f"byte {error.start}", f"not UTF-8: {error.reason}")
    except json.JSONDecodeError as error:
        # A text without its end is blamed on its beginning.
        at_end = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        reason = "truncated JSON" if at_end else "malformed JSON"
        log.error(source, f"line {error.lineno} column {error.colno}", f"{reason}: {error.msg}")
    except RecursionError:
        log.error(source, "", "nested too deeply to be a score file")
    except ValueError as error:  # an integer of more digits than Python converts
        log.error(source, "", f"not readable as JSON: {error}")
    else:
        for key in repeated:
            log.warning(source, key, "key given twice in one object: the last one counts")
        return document
    raise _FaultError


class _Salvager:
    def __init__(self, source: str, log: ProblemLog) -> None:
        self.source = source
        self.log = log

    def file(self, document: Any) -> _ScoreFile | None:
        try:
            top = self._object(document, "")
            self._note_unknown(top, {"scores", "task", "model", "queries"}, "")
            task = self._task(self._get(top, "task", ""))
            model = self._model(self._get(top, "model", ""))
            entries = self._get(top, "scores", "")
            if not isinstance(entries, list):
                self._fail("scores", f"expected a list, got {_kind(entries)}")
        except _FaultError:
            return None
        if not entries:
            self.log.warning(self.source, "scores", "the list is empty: the file holds no scores")
        file = _ScoreFile(task, model)
        for number, entry in enumerate(entries):
            try:
                file.scores.append(self._entry(entry, f"scores[{number}]"))
            except _FaultError:
                continue
        return file

    def _task(self, value: Any) -> _Task:
        task = self._object(value, "task")
        self._note_unknown(task, {"task_name"}, "task")
        return _Task(self._name(task, "task_name", "task"))

    def _model(self, value: Any) -> _Model:
        model = self._object(value, "model")
        self._note_unknown(model, _KNOWN_MODEL, "model")
        sizes = [self._size(model, name) for name in _SIZES]
        return _Model(
            self._name(model, "model_family", "model"),
            self._name(model, "model_name", "model"),
            *sizes,
        )

    def _entry(self, value: Any, where: str) -> _Entry:
        entry = self._object(value, where)
        self._note_unknown(entry, _KNOWN_ENTRY, where)
        shots = _whole(self._get(entry, "number_of_shots", where))
        if shots is None or not -1 <= shots <= _MOST_SHOTS:
            self._fail(
                f"{where}.number_of_shots",
                f"expected a whole number, -1 or more, got {_show(entry['number_of_shots'])}",
            )
        scores = self._object(self._get(entry, "score_dict", where), f"{where}.score_dict")
        subtask = entry.get("subtask_description", "")
        if not isinstance(subtask, str) or not _is_unicode(subtask):
            self._fail(f"{where}.subtask_description", f"expected text, got {_show(subtask)}")
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
            number = _number(value)
            if not _is_unicode(metric):
                self.log.error(self.source, f"{where}.{metric}", "a name that is no Unicode text")
                continue
            if number is None:
                self.log.error(
                    self.source, f"{where}.{metric}", f"expected a number, got {_show(value)}"
                )
                continue
            if not math.isfinite(number):
                self.log.warning(
                    self.source, f"{where}.{metric}", f"{number} is kept but never scored"
                )
            sound[metric] = number
        return sound

    def _preferred(self, entry: dict[str, Any], where: str) -> str | None:
        value = entry.get("preferred_score")
        if isinstance(value, str) and _is_unicode(value):
            return value
        reason = "missing" if value is None else f"expected text, got {_show(value)}"
        self.log.warning(
            self.source, f"{where}.preferred_score", f"{reason}: no metric marked as preferred"
        )
        return None

    def _bound(self, entry: dict[str, Any], key: str, where: str) -> float:
        number = _number(entry.get(key))
        if number is not None and math.isfinite(number):
            return number
        reason = f"expected a finite number, got {_show(entry[key])}" if key in entry else "missing"
        self.log.warning(self.source, f"{where}.{key}", f"{reason}: left empty")
        return math.nan

    def _size(self, model: dict[str, Any], key: str) -> int | None:
        number = _whole(model.get(key))
        if number is not None and 0 < number <= _MOST_PARAMS:
            return number
        reason = (
            f"expected a positive whole number, got {_show(model[key])}"
            if key in model
            else "missing"
        )
        self.log.warning(self.source, f"model.{key}", f"{reason}: left empty")
        return None

    def _name(self, holder: dict[str, Any], key: str, where: str) -> str:
        value = self._get(holder, key, where)
        if not isinstance(value, str) or not value.strip() or not _is_unicode(value):
            self._fail(f"{where}.{key}", f"expected a name, got {_show(value)}")
        return str(value)

    def _get(self, holder: dict[str, Any], key: str, where: str) -> Any:
        if key not in holder:
            self._fail(f"{where}.{key}".lstrip("."), "missing")
        return holder[key]

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(where, f"expected an object, got {_kind(value)}")
        return dict(value)

    def _note_unknown(self, holder: dict[str, Any], known: set[str], where: str) -> None:
        for key in holder.keys() - known:
            place = f"{where}.{key}".lstrip(".")
            self.log.warning(self.source, place, "unknown key: ignored")

    def _fail(self, where: str, reason: str) -> NoReturn:
        self.log.error(self.source, where, reason)
        raise _FaultError


def _is_unicode(text: str) -> bool:
    """Return whether a text can be stored: half a surrogate pair, which JSON can escape, cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _whole(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")


def _show(value: Any) -> str:
    if isinstance(value, dict | list):
        return _kind(value)
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
