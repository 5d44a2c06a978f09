"""Which model did which task, and how: our columns of names and sizes out of those of a wide table.

Columns are worked on by their distinct values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.readers.formats.mapping_rules import template_parts
from bigbench_meta.readers.formats.mapping_values import REQUIRED, expected, fitting
from bigbench_meta.readers.formats.wide_codes import (
    NAMES,
    UNREADABLE,
    Coded,
    dictionary,
    encoded,
    is_missing,
    number_of,
    plain_column,
    recoded,
)
from bigbench_meta.readers.formats.wide_file import counted, shown

if TYPE_CHECKING:
    from bigbench_meta.readers.formats.mapping import Mapping
    from bigbench_meta.readers.formats.mapping_rules import ColumnRule
    from bigbench_meta.readers.formats.mapping_values import Value
    from bigbench_meta.readers.formats.wide_file import WideFile

__all__ = ["ModelNames", "key_columns"]

# Problems of one column are told for so many of its values.
_MOST_VALUES: Final = 20


class ModelNames(Protocol):
    """Whatever knows models by their names."""

    def lookup(self, name: str) -> Any:
        """Return an object with ``model_family, model_name, total_params, variant, reason``."""


class _FaultError(Exception):
    """A value that cannot be used; the message goes on after the value."""


def key_columns(file: WideFile, mapping: Mapping, names: ModelNames | None) -> dict[str, Coded]:
    """Make our columns out of theirs, all but those of the metrics.

    Args:
        file: Their columns; problems go to its log.
        mapping: What the columns mean.
        names: The model-name rules, needed where the mapping says ``rules = true``.

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
    keys["source"] = Coded(np.zeros(file.n_rows, np.int32), [file.label])
    return keys


@dataclass
class _KeyColumns:
    file: WideFile
    mapping: Mapping
    names: ModelNames | None
    _texts: dict[str, Coded] = field(default_factory=dict)

    def column(self, column: str, rule: ColumnRule) -> Coded:
        missing = self.mapping.missing if rule.missing is None else rule.missing
        if rule.format is not None:
            texts = self._joined(rule.format, missing)
        else:
            texts = self._text(rule.sources[0])
        values: list[Value | None] = []
        faults: dict[int, str] = {}
        is_plain = column in NAMES and _is_plain(rule)
        for number, text in enumerate(texts.distinct):
            value: Value | None = None
            if not is_missing(text, missing):
                try:
                    value = text if is_plain else self._value(text, column, rule)
                except _FaultError as fault:
                    faults[number] = str(fault)
            values.append(value)
        result = recoded(texts.codes, values)
        if faults:
            self._note_faults(column, texts, faults)
        if column in REQUIRED:
            told = np.zeros(len(texts.distinct) + 1, dtype=bool)
            told[list(faults)] = True
            empty = (result.codes < 0) & ~told[texts.codes]
            self.file.note_rows(empty, column, lambda _: "no value: row left out")
        return result

    def _value(self, text: str, column: str, rule: ColumnRule) -> Value | None:
        text = _transformed(text, rule)
        value: object = text
        if rule.rules and self.names is not None:
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
        elif column not in NAMES:
            value = number_of(text)
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
            note(file.label, place, f"{value} {faults[number]}: {outcome} ({rows})")
        if rest := order[_MOST_VALUES:]:
            rows = counted(int(n_rows[rest].sum()), "row")
            note(file.label, column, f"{counted(len(rest), 'more value')}: {outcome} ({rows})")

    def _text(self, source: str) -> Coded:
        """Return a column of theirs as text without blanks around it."""
        if source not in self._texts:
            column = plain_column(self.file.columns[source])
            try:
                self._texts[source] = encoded(column)
            except UNREADABLE:
                reason = f"names cannot be read from type {column.type}: left empty"
                self.file.log.error(self.file.label, source, reason)
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
                None if is_missing(text, missing) else text for text in texts.distinct
            ]
            clean = recoded(texts.codes, usable)
            parts.append(dictionary(clean, pa.large_string()).cast(pa.large_string()))
        joined = pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))
        return encoded(pa.chunked_array([joined]))


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
    return recoded(codes, [*subtask.distinct, *task.distinct])
