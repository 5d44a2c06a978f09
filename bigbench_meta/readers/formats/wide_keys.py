"""Build our key columns (task, model, sizes, settings) from the columns of a wide table.

A column is worked on as codes of its distinct values: what is done to names is done to each
distinct one, so that no Python runs per row.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.readers.formats.mapping import REQUIRED, expected, fitting, template_parts
from bigbench_meta.readers.formats.wide_file import NUMBER, UNREADABLE, counted, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.formats.mapping import ColumnRule, Mapping, Value
    from bigbench_meta.readers.formats.wide_file import WideFile

    Codes = NDArray[np.int32]

__all__ = ["KINDS", "Coded", "key_columns", "stored"]

KINDS: Final = {column.name: column.type for column in OBSERVATIONS.columns}
"""Arrow types of our columns, by name."""

_NAMES: Final = frozenset(c for c, kind in KINDS.items() if pa.types.is_dictionary(kind))

_WHOLE: Final = re.compile(r"[+-]?\d{1,30}", re.ASCII)
# Problems of one column are listed for so many of its values.
_MOST_VALUES: Final = 20


@dataclass(frozen=True)
class Coded:
    """A column as codes of its distinct values.

    Attributes:
        codes: The position in ``distinct`` of each row's value, -1 where there is none.
        distinct: The values.
    """

    codes: Codes
    distinct: list[Any]


class _FaultError(Exception):
    """A value that cannot be used; the message goes on after the value."""


def key_columns(file: WideFile, mapping: Mapping, names: ModelNames) -> dict[str, Coded]:
    """Build our columns from theirs, except those of the metrics.

    Args:
        file: Their columns; problems go to its log.
        mapping: What the columns mean.
        names: The model-name rules, for columns where the mapping says ``rules = true``.

    Returns:
        Each column that the mapping fills, and ``subtask`` and ``source``; with a value for each
        row of the file, or code -1.
    """
    maker = _KeyColumns(file, mapping, names)
    keys = {
        column: Coded(np.zeros(file.n_rows, np.int32), [value])
        for column, value in mapping.constants.items()
    }
    for column, rule in mapping.columns.items():
        keys[column] = maker.column(column, rule)
    keys["subtask"] = _filled(keys.get("subtask"), keys["task"])
    keys["source"] = Coded(np.zeros(file.n_rows, np.int32), [file.log.label])
    return keys


@dataclass
class _KeyColumns:
    file: WideFile
    mapping: Mapping
    names: ModelNames
    _texts: dict[str, Coded] = field(default_factory=dict)

    def column(self, column: str, rule: ColumnRule) -> Coded:
        missing = self.mapping.missing if rule.missing is None else rule.missing
        if rule.format is not None:
            texts = self._joined(rule.format, missing)
        else:
            texts = self._text(rule.sources[0])
        values: list[Value | None] = []
        faults: dict[int, str] = {}
        is_plain = column in _NAMES and _is_plain(rule)
        for number, text in enumerate(texts.distinct):
            value: Value | None = None
            if not _is_missing(text, missing):
                try:
                    value = text if is_plain else self._value(text, column, rule)
                except _FaultError as fault:
                    faults[number] = str(fault)
            values.append(value)
        result = _recoded(texts.codes, values)
        if faults:
            self._note_faults(column, texts, faults)
        if column in REQUIRED:
            is_noted = np.zeros(len(texts.distinct) + 1, dtype=bool)
            is_noted[list(faults)] = True
            empty = (result.codes < 0) & ~is_noted[texts.codes]
            self.file.note_rows(empty, column, lambda _: "no value: row left out")
        return result

    def _value(self, text: str, column: str, rule: ColumnRule) -> Value | None:
        text = _transformed(text, rule)
        value: object = text
        if rule.rules:
            identity = self.names.lookup(text)
            value = getattr(identity, column, None)
            if value is None and column != "variant":
                reason = getattr(identity, "reason", None)
                because = f" ({reason})" if reason else ""
                raise _FaultError(f"has no {column} by the model-name rules{because}")
            if value is None:  # most models have no variant
                return None
        elif rule.map is not None and text in rule.map:
            value = rule.map[text]
        elif rule.default is not None:
            value = rule.default
        elif rule.map is not None and rule.unmapped != "keep":
            raise _FaultError("is not in the map")
        elif column not in _NAMES:
            value = _number_of(text)
        result = fitting(column, value)
        if result is None:
            raise _FaultError(f"is not {expected(column)}")
        return result

    def _note_faults(self, column: str, texts: Coded, faults: dict[int, str]) -> None:
        file, required = self.file, column in REQUIRED
        codes = texts.codes
        n_rows = np.bincount(codes[codes >= 0], minlength=len(texts.distinct))
        first = np.zeros(len(texts.distinct) + 1, dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]  # the first row is written last
        outcome = "left out" if required else "left empty"
        note = file.log.error if required else file.log.warning
        order = sorted(faults, key=lambda number: first[number])
        for number in order[:_MOST_VALUES]:
            value = shown(texts.distinct[number])
            rows = counted(int(n_rows[number]), "row")
            place = file.place(int(first[number]), column)
            note(place, f"{value} {faults[number]}: {outcome} ({rows})")
        if rest := order[_MOST_VALUES:]:
            rows = counted(int(n_rows[rest].sum()), "row")
            note(column, f"{counted(len(rest), 'more value')}: {outcome} ({rows})")

    def _text(self, source: str) -> Coded:
        """Return a column of theirs as text without blanks around it."""
        if source not in self._texts:
            column = self.file.columns[source]
            try:
                self._texts[source] = _encoded(column)
            except UNREADABLE:
                reason = f"names cannot be read from type {column.type}: left empty"
                self.file.log.error(source, reason)
                self._texts[source] = Coded(np.full(self.file.n_rows, -1, np.int32), [])
        return self._texts[source]

    def _joined(self, template: str, missing: list[Value]) -> Coded:
        """Return the texts of a format; there is none where a part is missing."""
        parts: list[Any] = []
        for literal, name in template_parts(template):
            parts.append(pa.scalar(literal, pa.large_string()))
            if name is None:
                continue
            texts = self._text(name)
            usable: list[Value | None] = [
                None if _is_missing(text, missing) else text for text in texts.distinct
            ]
            clean = _recoded(texts.codes, usable)
            parts.append(_dictionary(clean, pa.large_string()).cast(pa.large_string()))
        joined = pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))
        return _encoded(pa.chunked_array([joined]))


def _is_plain(rule: ColumnRule) -> bool:
    steps = (rule.regex, rule.remove, rule.strip_suffix, rule.replace, rule.rules)
    return rule.map is None and not any(steps)


def _transformed(text: str, rule: ColumnRule) -> str:
    if rule.regex is not None:
        regex = re.compile(rule.regex)
        found = regex.search(text)
        inner: str | None = found[next(iter(regex.groupindex), 1)] if found else None
        if inner is None:
            raise _FaultError("does not match the regular expression")
        text = inner
    if rule.remove is not None:
        text = re.sub(rule.remove, "", text)
    text = text.removesuffix(rule.strip_suffix)
    for old, new in rule.replace.items():
        text = text.replace(old, new)
    if not text.strip():
        raise _FaultError("has nothing left in it")
    return text.strip()


def _filled(subtask: Coded | None, task: Coded) -> Coded:
    """Return the subtask, the task itself where there is none: an aggregate row."""
    if subtask is None:
        return task
    own = len(subtask.distinct)
    codes = np.where(
        (subtask.codes < 0) & (task.codes >= 0), task.codes + np.int32(own), subtask.codes
    )
    return _recoded(codes, [*subtask.distinct, *task.distinct])


def _encoded(column: pa.ChunkedArray) -> Coded:
    """Return a column as codes of its distinct texts, without blanks around; an empty one is none.

    Raises:
        pa.ArrowException, ValueError, OverflowError: The column has a type, or holds values, that
            are no names.
    """
    if not len(column) or pa.types.is_null(column.type):
        return Coded(np.full(len(column), -1, np.int32), [])
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text:
        column = pc.utf8_trim_whitespace(column)
    chunks = column.dictionary_encode().unify_dictionaries().chunks
    codes = np.concatenate([pc.fill_null(chunk.indices, -1).to_numpy() for chunk in chunks])
    distinct = chunks[0].dictionary.to_pylist()
    if is_text and "" not in distinct:
        return Coded(codes, distinct)
    return _recoded(codes, [_text_of(value) for value in distinct])


def _text_of(value: object) -> str | None:
    """Return a value as text, a whole number without the point that a float gives it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value).strip() or None


def _recoded(codes: Codes, values: list[Value | None]) -> Coded:
    """Return codes of the values in place of codes of what the values came from.

    Args:
        codes: Positions in ``values``, or -1.
        values: What each code stands for; None for no value. They need not differ.
    """
    if None not in values and len(set(values)) == len(values):
        return Coded(codes, values)
    number: dict[Value, int] = {}
    # The last item is what code -1 picks.
    table = [-1 if v is None else number.setdefault(v, len(number)) for v in values] + [-1]
    return Coded(np.array(table, dtype=np.int32)[codes], list(number))


def stored(coded: Coded, column: str) -> pa.Array:
    """Return a coded column as one of our columns."""
    kind = KINDS[column]
    if column in _NAMES:
        return _dictionary(coded, kind.value_type)
    codes = pa.array(coded.codes, mask=coded.codes < 0)
    return pa.array(coded.distinct, kind).take(codes)


def _dictionary(coded: Coded, kind: pa.DataType) -> pa.DictionaryArray:
    """Return a dictionary array without values that no row has."""
    used = np.zeros(len(coded.distinct) + 1, dtype=bool)
    used[coded.codes] = True
    used[-1] = False  # code -1
    position = np.full(len(used), -1, dtype=np.int32)
    position[used] = np.arange(np.count_nonzero(used))
    codes = position[coded.codes]
    values = pa.array(
        [value for value, is_used in zip(coded.distinct, used, strict=False) if is_used], kind
    )
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), values)


def _number_of(text: str) -> int | float | None:
    """Return the number that a text is, None if it is none.

    Examples:
        >>> _number_of("-1"), _number_of(".5"), _number_of("1_000")
        (-1, 0.5, None)
    """
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else None


def _is_missing(text: str, codes: list[Value]) -> bool:
    """Return whether a text is one of the values that say that there is none.

    Examples:
        >>> _is_missing("-100.0", [-100]), _is_missing("NA", [-100])
        (True, False)
    """
    for code in codes:
        if isinstance(code, str):
            if code.strip() == text:
                return True
        # What begins with a letter is no number but nan or inf.
        elif text[0] in "+-.0123456789nNiI":
            number = _number_of(text)
            if number == code or (number is not None and number != number and code != code):
                return True
    return False
