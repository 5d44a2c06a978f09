"""Reader for wide tables: one row a run, one column a metric, columns named as somebody liked.

A :class:`~bigbench_meta.readers._mapping.Mapping` says what the columns mean. Columns of names are
worked on by their distinct values and columns of scores as arrays, so that no Python runs per row.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from dataclasses import dataclass, field
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bigbench_meta.catalog import metric_catalog
from bigbench_meta.errors import InputError
from bigbench_meta.readers._mapping import REQUIRED, expected, fitting, template_parts
from bigbench_meta.schema import OBSERVATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bigbench_meta.readers._mapping import ColumnRule, Mapping, MetricRule, Value
    from bigbench_meta.readers._problems import ProblemLog

    Codes = NDArray[np.int32]
    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ["ModelNames", "parse_wide"]

# Problems of one kind in one column are told for the first ones only.
_MOST_LINES: Final = 5
_MOST_VALUES: Final = 20
# A row of a CSV file must fit in one block.
_BLOCK: Final = 1 << 24
# Python would also read 1_000, and the digits of other scripts.
_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
_WHOLE: Final = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_KINDS: Final = {column.name: column.type for column in OBSERVATIONS.columns}
_NAMES: Final = frozenset(c for c, kind in _KINDS.items() if pa.types.is_dictionary(kind))


class ModelNames(Protocol):
    """Whatever knows models by their names."""

    def lookup(self, name: str) -> Any:
        """Return an object with ``model_family, model_name, total_params, variant, reason``."""


@dataclass(frozen=True)
class _File:
    """The columns of a table that the mapping names; ``numbers`` tell its rows in messages."""

    columns: dict[str, pa.ChunkedArray]
    label: str
    log: ProblemLog
    numbers: NDArray[np.int64]
    unit: str

    @property
    def n_rows(self) -> int:
        return len(self.numbers)

    def place(self, row: int, column: str) -> str:
        return f"{self.unit} {self.numbers[row]}, {column}"

    def note_rows(self, wrong: Mask, column: str, reason: Callable[[int], str]) -> None:
        rows = np.flatnonzero(wrong)
        for row in rows[:_MOST_LINES]:
            self.log.error(self.label, self.place(row, column), reason(int(row)))
        if more := len(rows[_MOST_LINES:]):
            self.log.error(self.label, column, f"{_count(more, 'more row')} of this kind")


@dataclass(frozen=True)
class _Coded:
    """A column as codes of its distinct values, -1 where there is none."""

    codes: Codes
    distinct: list[Any]


class _FaultError(Exception):
    """A value that cannot be used; the message goes on after the value."""


def parse_wide(
    data: bytes,
    name: str,
    label: str,
    log: ProblemLog,
    mapping: Mapping,
    *,
    names: ModelNames | None = None,
) -> pa.Table | None:
    r"""Read one wide table.

    A cell of scores that is empty or holds a missing code gives no row, and one warning for each
    metric counts them. A cell that is no number is reported and gives no row; one that is not
    finite is kept and reported. A row without a benchmark, task, model family or model name is
    left out and reported; any other value that does not fit is left empty and reported.

    Args:
        data: The file's content, decompressed.
        name: Its file name: Parquet if it ends in ``.parquet``, else CSV in UTF-8.
        label: Its name in tables and messages.
        log: Where problems are noted.
        mapping: What the columns mean.
        names: The model-name rules, needed where the mapping says ``rules = true``.

    Returns:
        An observations table, row by row and within a row in the mapping's order of metrics; None
        if the file cannot be used at all.

    Raises:
        SchemaError: The table lacks a column that the mapping names.
        InputError: The mapping needs ``names``.

    Examples:
        >>> from bigbench_meta.readers._mapping import Mapping
        >>> from bigbench_meta.readers._problems import ProblemLog
        >>> mapping = Mapping.parse('''
        ... missing = [-100]
        ... metrics = ["acc", "f1"]
        ... constants = {benchmark = "mine", model_family = "GPT-2"}
        ... columns = {task = "dataset", model_name = "model"}
        ... ''')
        >>> log = ProblemLog()
        >>> data = b"dataset,model,acc,f1\nrhymes,gpt2,0.5,-100\n"
        >>> parse_wide(data, "wide.csv", "wide.csv", log, mapping)["score"].to_pylist()
        [0.5]
        >>> log.rows
        [('wide.csv', 'f1', '1 cell holds the missing value -100: no row', 'warning')]
    """
    if names is None and mapping.uses_rules:
        raise InputError(
            "the mapping says `rules = true`, but there are no model-name rules",
            where=mapping.where,
            hint="pass names=, or give a map",
        )
    read = _read_parquet if name.lower().endswith(".parquet") else _read_csv
    file = read(data, label, log, mapping)
    if file is None:
        return None
    if not file.n_rows:
        log.warning(label, "", "the table has no rows")
    keys = _KeyColumns(file, mapping, names).all()
    usable = np.ones(file.n_rows, dtype=bool)
    for column in REQUIRED:
        usable &= keys[column].codes >= 0
    _check_catalog(file, mapping, keys, usable)
    return _assemble(file, mapping, keys, usable)


def _read_parquet(data: bytes, label: str, log: ProblemLog, mapping: Mapping) -> _File | None:
    try:
        parquet = pq.ParquetFile(pa.BufferReader(data))
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        log.error(label, "", f"cannot be read as Parquet: {error}")
        return None
    if not _is_clear(parquet.schema_arrow.names, label, log, mapping):
        return None
    try:
        table = parquet.read(columns=mapping.source_columns)
        # Text that is not UTF-8 would fail much later, and as something else.
        table.validate(full=True)
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        log.error(label, "", f"cannot be read as Parquet: {error}")
        return None
    columns = {source: table.column(source) for source in mapping.source_columns}
    return _File(columns, label, log, np.arange(1, table.num_rows + 1), "row")


def _read_csv(data: bytes, label: str, log: ProblemLog, mapping: Mapping) -> _File | None:
    try:
        found = _csv_header(data, mapping.delimiter)
    except (csv.Error, UnicodeDecodeError) as error:
        log.error(label, "", f"cannot be read as CSV: {error}")
        return None
    if not found:
        log.error(label, "", "the file is empty")
        return None
    if not _is_clear(found, label, log, mapping):
        return None
    try:
        table, skipped = _parse_csv(data, mapping)
    except (KeyError, pa.ArrowException) as error:
        log.error(label, "", f"cannot be read as CSV: {error}")
        return None
    # Records count from 1, the header's number. They are lines if no record takes several and none
    # is blank.
    numbers = np.setdiff1d(np.arange(2, table.num_rows + len(skipped) + 2), skipped)
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    is_line = n_lines == 1 + table.num_rows + len(skipped)
    unit, shift = ("line", 0) if is_line else ("row", 1)
    for number in skipped[:_MOST_LINES]:
        log.error(label, f"{unit} {number - shift}", "not as many cells as columns: row left out")
    if more := len(skipped[_MOST_LINES:]):
        log.error(label, "", f"{_count(more, 'more row')} with another number of cells: left out")
    columns = {source: table.column(source) for source in mapping.source_columns}
    return _File(columns, label, log, numbers - shift, unit)


def _csv_header(data: bytes, delimiter: str) -> list[str]:
    """Return the header, an empty list if there is none.

    Raises:
        UnicodeDecodeError: Anything in the file is not UTF-8; Arrow would fail in a callback.
        csv.Error: The header is no CSV.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _BLOCK):
        decoder.decode(data[start : start + _BLOCK])
    decoder.decode(b"", final=True)
    text = TextIOWrapper(BytesIO(data), encoding="utf-8-sig", newline="")
    return next((row for row in csv.reader(text, delimiter=delimiter) if row), [])


def _parse_csv(data: bytes, mapping: Mapping) -> tuple[pa.Table, list[int]]:
    """Return the columns as text, and the numbers of records with a wrong number of cells."""
    columns = mapping.source_columns
    for threads in (True, False):
        skipped: list[int | None] = []

        def skip(row: Any, skipped: list[int | None] = skipped) -> str:
            skipped.append(row.number)
            return "skip"

        table = pa_csv.read_csv(
            BytesIO(data),
            read_options=pa_csv.ReadOptions(use_threads=threads, block_size=_BLOCK),
            parse_options=pa_csv.ParseOptions(
                delimiter=mapping.delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=columns,
                strings_can_be_null=False,
            ),
        )
        # Rows are numbered only by a single thread.
        if not skipped:
            break
    return table, [number for number in skipped if number is not None]


def _is_clear(found: list[str], label: str, log: ProblemLog, mapping: Mapping) -> bool:
    mapping.check_columns(found)
    twice = [source for source in mapping.source_columns if found.count(source) > 1]
    for source in twice:
        log.error(label, source, "column given twice: the file cannot be used")
    return not twice


@dataclass
class _KeyColumns:
    """Makes our columns out of theirs."""

    file: _File
    mapping: Mapping
    names: ModelNames | None
    _texts: dict[str, _Coded] = field(default_factory=dict)

    def all(self) -> dict[str, _Coded]:
        n_rows = self.file.n_rows
        keys = {
            column: _Coded(np.zeros(n_rows, np.int32), [value])
            for column, value in self.mapping.constants.items()
        }
        for column, rule in self.mapping.columns.items():
            keys[column] = self.column(column, rule)
        keys["subtask"] = _filled(keys.get("subtask"), keys["task"])
        keys["source"] = _Coded(np.zeros(n_rows, np.int32), [self.file.label])
        return keys

    def column(self, column: str, rule: ColumnRule) -> _Coded:
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
        elif column not in _NAMES:
            value = _number(text)
        result = fitting(column, value)
        if result is None:
            raise _FaultError(f"is not {expected(column)}")
        return result

    def _note_faults(self, column: str, texts: _Coded, faults: dict[int, str]) -> None:
        file, required = self.file, column in REQUIRED
        codes = texts.codes
        n_rows = np.bincount(codes[codes >= 0], minlength=len(texts.distinct))
        first = np.zeros(len(texts.distinct) + 1, dtype=np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]  # the first row is written last
        outcome = "left out" if required else "left empty"
        note = file.log.error if required else file.log.warning
        order = sorted(faults, key=lambda number: first[number])
        for number in order[:_MOST_VALUES]:
            shown = _show(texts.distinct[number])
            rows = _count(int(n_rows[number]), "row")
            place = file.place(int(first[number]), column)
            note(file.label, place, f"{shown} {faults[number]}: {outcome} ({rows})")
        if rest := order[_MOST_VALUES:]:
            rows = _count(int(n_rows[rest].sum()), "row")
            note(file.label, column, f"{_count(len(rest), 'more value')}: {outcome} ({rows})")

    def _text(self, source: str) -> _Coded:
        """Return a column of theirs as text without blanks around it."""
        if source not in self._texts:
            column = _plain(self.file.columns[source])
            try:
                self._texts[source] = _encoded(column)
            except pa.ArrowException:
                reason = f"names cannot be read from type {column.type}: left empty"
                self.file.log.error(self.file.label, source, reason)
                self._texts[source] = _Coded(np.full(self.file.n_rows, -1, np.int32), [])
        return self._texts[source]

    def _joined(self, template: str, missing: list[Value]) -> _Coded:
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


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_coded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column


def _encoded(column: pa.ChunkedArray) -> _Coded:
    """Return a column as codes of its distinct texts; an empty one is none."""
    if not len(column) or pa.types.is_null(column.type):
        return _Coded(np.full(len(column), -1, np.int32), [])
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text:
        column = pc.utf8_trim_whitespace(column)
    chunks = column.dictionary_encode().unify_dictionaries().chunks
    codes = np.concatenate([pc.fill_null(chunk.indices, -1).to_numpy() for chunk in chunks])
    distinct = chunks[0].dictionary.to_pylist()
    if is_text and "" not in distinct:
        return _Coded(codes, distinct)
    return _recoded(codes, [_text_of(value) for value in distinct])


def _text_of(value: object) -> str | None:
    """Return a value as text, a whole number without the point that a float gives it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value).strip() or None


def _number(text: str) -> int | float | None:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def _is_missing(text: str, codes: list[Value]) -> bool:
    for code in codes:
        if isinstance(code, str):
            if code.strip() == text:
                return True
        # What begins with a letter is no number but nan or inf.
        elif text[0] in "+-.0123456789nNiI":
            number = _number(text)
            if number == code or (number is not None and number != number and code != code):
                return True
    return False


def _recoded(codes: Codes, values: list[Value | None]) -> _Coded:
    """Return codes of the values in place of codes of what the values came from."""
    if None not in values and len(set(values)) == len(values):
        return _Coded(codes, values)
    number: dict[Value, int] = {}
    # The last item is what code -1 picks.
    table = [-1 if v is None else number.setdefault(v, len(number)) for v in values] + [-1]
    return _Coded(np.array(table, dtype=np.int32)[codes], list(number))


def _filled(subtask: _Coded | None, task: _Coded) -> _Coded:
    """Return the subtask, the task itself where there is none: an aggregate row."""
    if subtask is None:
        return task
    own = len(subtask.distinct)
    codes = np.where(
        (subtask.codes < 0) & (task.codes >= 0), task.codes + np.int32(own), subtask.codes
    )
    return _recoded(codes, [*subtask.distinct, *task.distinct])


@dataclass(frozen=True)
class _Cells:
    """A column of numbers, NaN where ``usable`` is false."""

    numbers: Floats
    usable: Mask
    empty: Mask
    bad: Mask
    coded: dict[Value, int]


def _cells(file: _File, source: str, missing: list[Value]) -> _Cells | None:
    """Return a column as numbers, None after a note if its type has none."""
    column = _plain(file.columns[source])
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return _coded_cells(column, column.is_null(), missing, {})
        text = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    except pa.ArrowException:
        file.log.error(file.label, source, f"numbers cannot be read from type {kind}: left out")
        return None
    counts: dict[Value, int] = {}
    empty = pc.or_(pc.is_null(text), pc.fill_null(pc.equal(text, ""), fill_value=True))
    for code in missing:
        if isinstance(code, str) and code.strip():
            hit = pc.fill_null(pc.equal(text, code.strip()), fill_value=False)
            counts[code] = pc.sum(hit).as_py() or 0
            text = pc.if_else(hit, pa.scalar(None, text.type), text)
    text = pc.if_else(empty, pa.scalar(None, text.type), text)
    return _coded_cells(text, empty, missing, counts)


def _coded_cells(
    column: pa.ChunkedArray, empty: pa.ChunkedArray, missing: list[Value], counts: dict[Value, int]
) -> _Cells:
    given = column.is_valid().to_numpy()
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        # Some cell is no number: keep those that are.
        pattern = f"(?i)^{_NUMBER.pattern}$"
        fits = pc.match_substring_regex(column, pattern)
        none = pa.scalar(None, column.type)
        numbers = pc.if_else(fits, column, none).cast(pa.float64())
    bad = given & numbers.is_null().to_numpy()
    values = np.array(pc.fill_null(numbers, math.nan).to_numpy(), dtype=np.float64)
    usable = given & ~bad
    for code in missing:
        if not isinstance(code, str):
            hit = usable & (np.isnan(values) if code != code else values == code)
            counts[code] = int(np.count_nonzero(hit))
            usable &= ~hit
    values[~usable] = math.nan
    return _Cells(values, usable, empty.to_numpy(), bad, counts)


def _scores(
    file: _File, source: str, rule: MetricRule, missing: list[Value]
) -> tuple[Floats, Mask]:
    """Return the scores of a metric, and which of them make a row."""
    cells = _cells(file, source, missing)
    if cells is None:
        return np.full(file.n_rows, math.nan), np.zeros(file.n_rows, dtype=bool)
    _note_bad(file, source, cells.bad, "is not a number: no row")
    parts = [(n, f"the missing value {code!r}") for code, n in cells.coded.items() if n]
    if n_empty := int(np.count_nonzero(cells.empty)):
        parts.append((n_empty, "nothing"))
    if parts:
        told = [f"{_count(n, 'cell')} {'holds' if n == 1 else 'hold'} {what}" for n, what in parts]
        rows = "no row" if sum(n for n, _ in parts) == 1 else "no rows"
        file.log.warning(file.label, source, f"{', '.join(told)}: {rows}")
    with np.errstate(over="ignore"):
        values = cells.numbers * rule.multiply
    if n_infinite := int(np.count_nonzero(cells.usable & ~np.isfinite(values))):
        reason = f"{_count(n_infinite, 'cell')} not finite: kept but never scored"
        file.log.warning(file.label, source, reason)
    return values, cells.usable


def _stderrs(file: _File, rule: MetricRule, missing: list[Value]) -> Floats:
    """Return the standard errors of a metric, NaN where there is none."""
    cells = None if rule.stderr is None else _cells(file, rule.stderr, missing)
    if cells is None or rule.stderr is None:
        return np.full(file.n_rows, math.nan)
    values = np.array(cells.numbers * rule.multiply)
    wrong = cells.bad | (values < 0) | np.isinf(values)
    _note_bad(file, rule.stderr, wrong, "is no standard error: left empty")
    values[wrong] = math.nan
    return values


def _note_bad(file: _File, source: str, bad: Mask, reason: str) -> None:
    column = file.columns[source]
    file.note_rows(bad, source, lambda row: f"{_show(column[row].as_py())} {reason}")


def _assemble(file: _File, mapping: Mapping, keys: dict[str, _Coded], usable: Mask) -> pa.Table:
    """Return the observations: a row for each usable cell of a usable row."""
    rules = list(mapping.metrics.items())
    has_stderr = any(rule.stderr is not None for _, rule in rules)
    scores = np.empty((file.n_rows, len(rules)))
    stderrs = np.full((file.n_rows, len(rules)), math.nan) if has_stderr else None
    given = np.zeros(scores.shape, dtype=bool)
    for number, (source, rule) in enumerate(rules):
        missing = mapping.missing if rule.missing is None else rule.missing
        scores[:, number], given[:, number] = _scores(file, source, rule, missing)
        if stderrs is not None:
            stderrs[:, number] = _stderrs(file, rule, missing)
    given &= usable[:, np.newaxis]
    n_given = given.sum(axis=1)
    kept = np.flatnonzero(n_given)
    row = pa.array(np.repeat(np.arange(len(kept)), n_given[kept]))
    metric = np.broadcast_to(np.arange(len(rules), dtype=np.int32), given.shape)[given]
    columns = {
        column: _column_of(_Coded(coded.codes[kept], coded.distinct), column).take(row)
        for column, coded in keys.items()
    }
    names = [rule.name or source for source, rule in rules]
    columns["metric"] = _column_of(_Coded(metric, names), "metric")
    columns["score"] = pa.array(scores[given])
    if stderrs is not None:
        columns["stderr"] = pa.array(stderrs[given], from_pandas=True)
    for column in ("low_score", "high_score", "is_preferred"):
        of_metric = pa.array([getattr(rule, column) for _, rule in rules], _KINDS[column])
        columns[column] = of_metric.take(pa.array(metric))
    for column in _KINDS.keys() - columns.keys():
        columns[column] = pa.nulls(len(row), _KINDS[column])
    return pa.table(columns).select(OBSERVATIONS.names).cast(OBSERVATIONS.arrow)


def _column_of(coded: _Coded, column: str) -> pa.Array:
    kind = _KINDS[column]
    if column in _NAMES:
        return _dictionary(coded, kind.value_type)
    codes = pa.array(coded.codes, mask=coded.codes < 0)
    return pa.array(coded.distinct, kind).take(codes)


def _dictionary(coded: _Coded, kind: pa.DataType) -> pa.DictionaryArray:
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


def _check_catalog(file: _File, mapping: Mapping, keys: dict[str, _Coded], usable: Mask) -> None:
    """Compare what a mapping says of its metrics with the catalog, which the analysis goes by."""
    said = {
        source: rule
        for source, rule in mapping.metrics.items()
        if rule.higher_is_better is not None or rule.unit is not None
    }
    if not said or not usable.any():
        return
    benchmark, task = keys["benchmark"], keys["task"]
    pair = np.unique(
        benchmark.codes[usable].astype(np.int64) * len(task.distinct) + task.codes[usable]
    )
    tasks = pd.DataFrame(
        {
            "benchmark": [benchmark.distinct[number // len(task.distinct)] for number in pair],
            "task": [task.distinct[number % len(task.distinct)] for number in pair],
        }
    )
    for source, rule in said.items():
        known = metric_catalog().lookup(tasks.assign(metric=rule.name or source))
        for reason in _disagreements(rule, known):
            file.log.warning(file.label, f"metrics.{source}", reason)


def _disagreements(rule: MetricRule, known: pd.DataFrame) -> list[str]:
    reasons = []
    up = rule.higher_is_better
    theirs = known["higher_is_better"].dropna()
    if up is not None and (theirs != up).any():
        word = "down" if up else "up"
        reasons.append(
            f"the metric catalog says that {word} is better, and the analysis follows it"
        )
    bounds_tell = rule.low_score is not None and rule.high_score is not None
    if up is False and len(theirs) < len(known) and not bounds_tell:
        reasons.append(
            "the metric catalog does not know the direction: give low_score above high_score, or "
            "analyse with a catalog of your own"
        )
    units = known.loc[~known["unit"].isin(["", "unknown"]), "unit"].dropna()
    if rule.unit is not None and (other := units[units != rule.unit]).size:
        reasons.append(
            f"the unit is {rule.unit!r} here and {other.iloc[0]!r} in the metric catalog"
        )
    return reasons


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
