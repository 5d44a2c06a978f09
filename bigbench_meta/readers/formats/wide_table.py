"""Reader for wide tables: one row for each run, one column for each metric, named freely.

A :class:`Mapping` says what the columns mean. Columns of names are worked on by their distinct
values and columns of scores as arrays, so that no Python runs per row.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, replace
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.errors import BigbenchMetaError
from bigbench_meta.core.schema import OBSERVATIONS, conform
from bigbench_meta.core.text import counted
from bigbench_meta.readers.formats.mapping import EXPECTED, REQUIRED, fitting, shown
from bigbench_meta.readers.formats.runs import note_missing_size, settings_text
from bigbench_meta.readers.formats.values import refuse_other_encodings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.formats.mapping import ColumnRule, Mapping, MetricRule, Value
    from bigbench_meta.readers.formats.values import FileLog

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = ["parse_wide"]

# Python would also read 1_000, and the digits of other scripts.
_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
_WHOLE: Final = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
_KINDS: Final = {column.name: column.type for column in OBSERVATIONS.columns}
# What files raise that cannot be read, and values that cannot be made Python's: dates after the
# year 9999, for example.
_UNREADABLE: Final = (
    OSError, EOFError, ValueError, OverflowError, KeyError, csv.Error, pa.ArrowException,
)  # fmt: skip
# What a column of scores may say of itself.
_OWN: Final = ("task", "subtask", "variant", "shots", "n_examples")
# Problems of one kind in one column are listed for the first lines and values only.
_MOST_LINES: Final = 5
_MOST_VALUES: Final = 20
# A row of a CSV file must fit in one block.
_BLOCK: Final = 1 << 24


def parse_wide(
    data: bytes, name: str, log: FileLog, mapping: Mapping, *, names: ModelNames
) -> pa.Table | None:
    r"""Read one wide table.

    A cell of scores that is empty or holds a missing code gives no row, and one warning for each
    metric counts them. A cell that is no number is reported and gives no row; one that is not
    finite is kept and reported. A row without a benchmark, task, model family or model name is
    left out and reported; any other value that does not fit is left empty and reported.

    Args:
        data: The file's content, decompressed.
        name: Its file name: Parquet if it ends in ``.parquet``, else CSV in UTF-8.
        log: Where problems are noted.
        mapping: What the columns mean.
        names: The model-name rules, for columns where the mapping says ``rules = true``.

    Returns:
        An observations table, row by row and within a row in the mapping's order of metrics; None
        if the file cannot be used at all.

    Raises:
        SchemaError: The table lacks a column that the mapping names.

    Examples:
        >>> from bigbench_meta.catalog.model_names import model_names
        >>> from bigbench_meta.readers.formats.mapping import Mapping
        >>> from bigbench_meta.readers.formats.values import FileLog
        >>> from bigbench_meta.readers.problems import ProblemLog
        >>> mapping = Mapping.parse('''
        ... missing = [-100]
        ... metrics = ["acc", "f1"]
        ... constants = {benchmark = "mine", model_family = "GPT-2"}
        ... columns = {task = "dataset", model_name = "model"}
        ... ''')
        >>> log = FileLog("wide.csv", ProblemLog())
        >>> data = b"dataset,model,acc,f1\nrhymes,gpt2,0.5,-100\n"
        >>> table = parse_wide(data, "wide.csv", log, mapping, names=model_names())
        >>> table["score"].to_pylist()
        [0.5]
        >>> log.problems.rows
        [('wide.csv', 'f1', '1 cell holds the missing value -100: no row', 'warning')]
    """
    found = _read(data, name, log, mapping)
    if found is None:
        return None
    file, mapping = found
    if mapping.last_of is not None:
        file = _last_rows(file, mapping.last_of)
    if not file.n_rows:
        log.warning("", "the table has no rows")
    keys = _keys(file, mapping, names)
    needed = [keys[name].is_valid() for name in (*REQUIRED, "metric") if name in keys]
    usable = np.logical_and.reduce(needed)
    _compare_with_catalog(file, mapping, keys, usable)
    rules = list(mapping.metrics.items())
    score = np.empty((file.n_rows, len(rules)))
    given = np.empty(score.shape, dtype=bool)
    stderr = np.full(score.shape, math.nan) if any(rule.stderr for _, rule in rules) else None
    for number, (source, rule) in enumerate(rules):
        missing = mapping.missing if rule.missing is None else rule.missing
        score[:, number], given[:, number] = _scores(file, source, rule, missing)
        if stderr is not None and rule.stderr is not None:
            stderr[:, number] = _stderrs(file, rule.stderr, rule, missing)
    given &= usable[:, np.newaxis]
    n_given, seen = given.sum(axis=1), given.any(axis=0)
    kept = n_given > 0
    if not kept.size or not kept.all():
        keys = {name: _filtered(column, kept) for name, column in keys.items()}
    row = pa.array(np.repeat(np.arange(np.count_nonzero(kept)), n_given[kept]))
    metric = pa.array(np.broadcast_to(np.cumsum(seen, dtype=np.int32) - 1, given.shape)[given])
    metrics = [rules[number][1] for number in np.flatnonzero(seen)]
    columns = {name: column.take(row) for name, column in keys.items()}
    columns = _with_own(columns, metric, metrics, log, names)
    columns["score"] = pa.array(score[given])
    if stderr is not None:
        columns["stderr"] = pa.array(stderr[given], from_pandas=True)
    for name in ("low_score", "high_score", "is_preferred"):
        notes = pa.array([getattr(rule, name) for rule in metrics], _KINDS[name])
        columns[name] = notes.take(metric)
    return conform(pa.table(columns))


def _with_own(
    columns: dict[str, pa.Array],
    metric: pa.Array,
    metrics: list[MetricRule],
    log: FileLog,
    names: ModelNames,
) -> dict[str, pa.Array]:
    """Return columns with what the columns of scores say of themselves in place of what rows say.

    Args:
        columns: Our columns, one entry a score.
        metric: Number of the rule of each score.
        metrics: The rules.
        log: Where problems are noted.
        names: The model-name rules.
    """
    said: dict[str, list[Value | None]] = {
        "metric": [rule.name for rule in metrics],
        **{name: [getattr(rule, name) for rule in metrics] for name in _OWN},
    }
    if any(rule.model for rule in metrics):
        models = [names.lookup(rule.model) if rule.model else None for rule in metrics]
        for model in models:
            if model is not None:
                note_missing_size(model, log)
        for name in ("model_family", "model_name", "total_params", "settings"):
            said[name] = [None if one is None else _of_identity(one, name) for one in models]
    result = dict(columns)
    for name, values in said.items():
        if any(value is not None for value in values) or (name == "metric" and not values):
            result[name] = _over(result.get(name), _recoded(metric, values, _KINDS[name]))
    if "subtask" not in result:
        result["subtask"] = result["task"]  # an aggregate row
    elif result["subtask"].null_count:
        result["subtask"] = _over(result["task"], result["subtask"])
    return result


def _over(below: pa.Array | None, above: pa.Array) -> pa.Array:
    """Return an array with another's values where it has none."""
    if below is None or not above.null_count:
        return above
    plain = [
        each.cast(each.type.value_type) if pa.types.is_dictionary(each.type) else each
        for each in (above, below)
    ]
    joined = pc.coalesce(*plain)
    return joined.dictionary_encode() if pa.types.is_dictionary(above.type) else joined


def _last_rows(file: _File, last_of: list[str]) -> _File:
    """Return the last row of each combination of values of some columns."""
    keys = [pd.Series(_texts(file.columns[name]).to_pylist()) for name in last_of]
    number = pd.Series(np.arange(file.n_rows))
    if keys:
        kept = number.groupby(keys, dropna=False, sort=False).max().sort_values().to_numpy()
    else:
        kept = number.tail(1).to_numpy()
    rows = pa.array(kept.astype(np.int64))
    columns = {name: column.take(rows) for name, column in file.columns.items()}
    return replace(file, columns=columns, numbers=file.numbers[kept])


def _filtered(column: pa.Array, kept: Mask) -> pa.Array:
    """Return some rows of a column, without names that none of them has."""
    column = column.filter(pa.array(kept))
    if not pa.types.is_dictionary(column.type):
        return column
    used = pc.unique(column.indices).drop_null().sort()
    if len(used) == len(column.dictionary):
        return column
    codes = pc.index_in(column.indices, used)
    return pa.DictionaryArray.from_arrays(codes, column.dictionary.take(used))


# --- The file ---


@dataclass(frozen=True)
class _File:
    """The columns of a table that the mapping names.

    Attributes:
        columns: The columns, by the name that the file gives them; none is dictionary-encoded.
        log: Where problems are noted.
        numbers: The number of each row in messages.
        unit: What the numbers count: ``line`` or ``row``.
    """

    columns: dict[str, pa.ChunkedArray]
    log: FileLog
    numbers: NDArray[np.int64]
    unit: str

    @property
    def n_rows(self) -> int:
        return len(self.numbers)

    def place(self, row: int, column: str) -> str:
        return f"{self.unit} {self.numbers[row]}, {column}"

    def note_rows(self, wrong: Mask, column: str, reason: Callable[[int], str]) -> None:
        """Note an error for each of the first wrong rows, and how many more there are."""
        rows = np.flatnonzero(wrong)
        for row in rows[:_MOST_LINES]:
            self.log.error(self.place(row, column), reason(int(row)))
        if more := len(rows[_MOST_LINES:]):
            self.log.error(column, f"{counted(more, 'more row')} of this kind")

    def note_cells(self, wrong: Mask, column: str, reason: str) -> None:
        """Note an error for each of the first wrong cells, and how many more there are."""
        cells = self.columns[column]
        self.note_rows(
            wrong, column, lambda row: f"{shown(cells[row].cast(pa.string()).as_py())} {reason}"
        )


def _without(cells: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    """Return cells with null for those that hold a text."""
    return pc.if_else(pc.equal(cells, text), pa.scalar(None, cells.type), cells)


def _read(data: bytes, name: str, log: FileLog, mapping: Mapping) -> tuple[_File, Mapping] | None:
    """Return what the mapping names of a file, and the mapping for its columns.

    None after a note if the file cannot be used at all.
    """
    is_parquet = name.lower().endswith(".parquet")
    try:
        if is_parquet:
            parquet = pq.ParquetFile(pa.BufferReader(data))
            found = parquet.schema_arrow.names
        else:
            found = _csv_header(data, mapping.delimiter)
        if not found:
            log.error("", "the file is empty")
            return None
        mapping = mapping.for_table(found)
        sources = list(mapping.sources)
        twice = [source for source in sources if found.count(source) > 1]
        for source in twice:
            log.error(source, "column given twice: the file cannot be used")
        if twice:
            return None
        if not is_parquet:
            return _read_csv(data, sources, mapping.delimiter, log), mapping
        table = parquet.read(columns=sources)
        # Text that is not UTF-8 would fail much later, and as something else.
        table.validate(full=True)
    except BigbenchMetaError:
        raise
    except _UNREADABLE as error:
        log.error("", f"cannot be read as {'Parquet' if is_parquet else 'CSV'}: {error}")
        return None
    columns = {}
    for source in sources:
        column = table.column(source)
        is_coded = pa.types.is_dictionary(column.type)
        columns[source] = column.cast(column.type.value_type) if is_coded else column
    return _File(columns, log, np.arange(1, table.num_rows + 1), "row"), mapping


def _csv_header(data: bytes, delimiter: str) -> list[str]:
    """Return the header, an empty list if there is none.

    Raises:
        UnicodeDecodeError: Anything in the file is not UTF-8; Arrow would fail in a callback.
        csv.Error: The header is no CSV.
    """
    refuse_other_encodings(data)
    text = TextIOWrapper(BytesIO(data), encoding="utf-8-sig", newline="")
    return next((row for row in csv.reader(text, delimiter=delimiter) if row), [])


def _read_csv(data: bytes, sources: list[str], delimiter: str, log: FileLog) -> _File:
    """Return the columns as text; rows with a wrong number of cells are noted."""
    skipped: list[int] = []

    def skip(row: Any) -> str:
        skipped.append(row.number)
        return "skip"

    # Arrow takes a lone header for nothing without a line end, and numbers rows in one thread only.
    content = BytesIO(data if b"\n" in data else data + b"\n")
    for threads in (True, False):
        content.seek(0)
        skipped.clear()
        table = pa_csv.read_csv(
            content,
            read_options=pa_csv.ReadOptions(use_threads=threads, block_size=_BLOCK),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(sources, pa.string()),
                include_columns=sources,
                strings_can_be_null=False,
            ),
        )
        if not skipped:
            break
    # Records count from 1, the header's number. They are lines if no record takes several and none
    # is blank.
    n_records = 1 + table.num_rows + len(skipped)
    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    unit, shift = ("line", 0) if n_lines == n_records else ("row", 1)
    for number in skipped[:_MOST_LINES]:
        log.error(f"{unit} {number - shift}", "not as many cells as columns: row left out")
    if more := len(skipped[_MOST_LINES:]):
        log.error("", f"{counted(more, 'more row')} with a different number of cells: left out")
    numbers = np.setdiff1d(np.arange(2, n_records + 1), skipped) - shift
    return _File({source: table.column(source) for source in sources}, log, numbers, unit)


# --- Columns of names and settings ---


def _keys(file: _File, mapping: Mapping, names: ModelNames) -> dict[str, pa.Array]:
    """Build our columns from theirs, except those of the metrics; null where there is no value."""
    texts: dict[str, pa.DictionaryArray] = {}
    for source in dict.fromkeys(s for rule in mapping.columns.values() for s in rule.sources):
        column = file.columns[source]
        try:
            texts[source] = _texts(column)
        except _UNREADABLE:
            reason = f"names cannot be read from type {column.type}: left empty"
            file.log.error(source, reason)
            texts[source] = pa.nulls(file.n_rows, pa.string()).dictionary_encode()
    keys = {}
    for name, rule in mapping.columns.items():
        missing = mapping.missing if rule.missing is None else rule.missing
        keys[name] = _key(file, mapping, name, rule, _given(file, rule, texts, missing), names)
    named = mapping.columns.get("model_name")
    if named is not None and named.rules and not keys.keys() & {"variant", "settings"}:
        # The rules have cut the checkpoint off.
        missing = mapping.missing if named.missing is None else named.missing
        given = _given(file, named, texts, missing)
        keys["settings"] = _key(file, mapping, "settings", named, given, names)
    for name, value in {**mapping.constants, "source": file.log.label}.items():
        zeros = pa.array(np.zeros(file.n_rows, dtype=np.int32))
        keys[name] = _recoded(zeros, [value], _KINDS[name])
    return keys


def _given(
    file: _File, rule: ColumnRule, texts: dict[str, pa.DictionaryArray], missing: list[Value]
) -> pa.DictionaryArray:
    """Return the texts that a rule starts from, null where a part is missing."""
    if rule.file:
        zeros = pa.array(np.zeros(file.n_rows, dtype=np.int32))
        return _recoded(zeros, [file.log.label], _TEXT)
    return _joined(rule, texts, missing)


def _texts(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return values as texts without blanks around, null where there is none."""
    if not len(column) or pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string()).dictionary_encode()
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if is_text:
        column = pc.utf8_trim_whitespace(column)
    coded = column.dictionary_encode().combine_chunks()
    distinct = coded.dictionary.to_pylist()
    if is_text and "" not in distinct:
        return coded
    return _recoded(coded.indices, [_text(value) for value in distinct], _TEXT)


def _text(value: object) -> str | None:
    """Return a value as text, a whole number without the point that a float gives it."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer() and abs(value) < 2**53:
            value = int(value)
    return str(value).strip() or None


def _recoded(codes: pa.Array, values: Sequence[Value | None], kind: pa.DataType) -> pa.Array:
    """Return the values that codes stand for, None for no value, as an array of a type."""
    if not pa.types.is_dictionary(kind):
        return pa.array(values, kind).take(codes)
    coded = pa.array(values, kind.value_type).dictionary_encode()
    return pa.DictionaryArray.from_arrays(coded.indices.take(codes), coded.dictionary)


def _joined(
    rule: ColumnRule, texts: dict[str, pa.DictionaryArray], missing: list[Value]
) -> pa.DictionaryArray:
    """Return the texts that a rule starts from, null where a part is missing."""
    codes = {code.strip() for code in missing if isinstance(code, str)}
    numbers = {math.nan if code != code else code for code in missing if not isinstance(code, str)}
    parts = []
    for literal, source in rule.parts:
        parts.append(pa.scalar(literal, pa.large_string()))
        if source is not None:
            given = [
                None if text in codes or _number(text) in numbers else text
                for text in texts[source].dictionary.to_pylist()
            ]
            if rule.source is not None:
                return _recoded(texts[source].indices, given, _TEXT)
            parts.append(pa.array(given, pa.large_string()).take(texts[source].indices))
    joined = pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))
    return _texts(pa.chunked_array([joined]))


def _key(
    file: _File,
    mapping: Mapping,
    column: str,
    rule: ColumnRule,
    texts: pa.DictionaryArray,
    names: ModelNames,
) -> pa.Array:
    """Return one of our columns, by the steps of its rule on each distinct text."""
    distinct = texts.dictionary.to_pylist()
    left, faults = _stepped(pd.Series(distinct, dtype=object), rule, mapping)
    values: dict[int, Value | None] = dict(zip(left.index.tolist(), left.tolist(), strict=True))
    if rule.rules or rule.map is not None or not pa.types.is_dictionary(_KINDS[column]):
        for number, text in zip(values, left, strict=True):
            values[number], fault = _meaning(text, column, rule, names)
            if fault:
                faults[number] = fault
    stored, kind = [values.get(number) for number in range(len(distinct))], _KINDS[column]
    is_same = stored == distinct and texts.type == kind
    result = texts if is_same else _recoded(texts.indices, stored, kind)
    codes = texts.indices.fill_null(-1).to_numpy()
    if faults:
        _note_faults(file, column, codes, distinct, faults)
    if column in REQUIRED:
        empty = np.array(result.is_null()) & ~np.isin(codes, list(faults))
        file.note_rows(empty, column, lambda _: "no value: row left out")
    return result


def _stepped(
    texts: pd.Series[str], rule: ColumnRule, mapping: Mapping
) -> tuple[pd.Series[str], dict[int, str]]:
    """Return what a rule's steps make of texts, and what is wrong with those they lead nowhere."""
    faults: dict[int, str] = {}

    def without(wrong: pd.Series[bool], reason: str) -> pd.Series[str]:
        faults.update(dict.fromkeys(texts.index[wrong], reason))
        return texts[~wrong]

    if rule.regex is not None:
        regex = mapping.regexes[rule.regex]
        group = next(iter(regex.groupindex), 1)
        found = [match and match[group] for match in map(regex.search, texts)]
        texts = pd.Series(found, index=texts.index, dtype=object)
        texts = without(texts.isna(), "does not match the regular expression")
    if rule.remove is not None:
        texts = texts.map(mapping.regexes[rule.remove].remove)
    if rule.strip_suffix:
        texts = texts.str.removesuffix(rule.strip_suffix)
    for old, new in rule.replace.items():
        texts = texts.str.replace(old, new, regex=False)
    if rule.regex or rule.remove or rule.strip_suffix or rule.replace:
        texts = texts.str.strip()
        texts = without(texts == "", "has nothing left in it")
    if rule.map is not None and rule.default is None and rule.unmapped != "keep":
        texts = without(~texts.isin(list(rule.map)), "is not in the map")
    return texts, faults


def _meaning(
    text: str, column: str, rule: ColumnRule, names: ModelNames
) -> tuple[Value | None, str | None]:
    """Return what a text stands for in one of our columns, None and why if there is nothing."""
    value: object = (rule.map or {}).get(text, rule.default)
    if rule.rules:
        identity = names.lookup(text)
        value = _of_identity(identity, column)
        if value is None:
            because = f" ({identity.reason})" if identity.reason else ""
            reason = f"has no {column} by the model-name rules{because}"
            # Most models have no variant or checkpoint.
            return None, None if column in {"variant", "settings"} else reason
    elif value is None:
        value = text if pa.types.is_dictionary(_KINDS[column]) else _number(text)
    if rule.multiply != 1 and isinstance(value, int | float):
        value = value * rule.multiply
        if pa.types.is_integer(_KINDS[column]) and math.isfinite(value):
            value = round(value)
    result = fitting(column, value)
    return result, f"is not {EXPECTED[column]}" if result is None else None


def _of_identity(identity: ModelIdentity, column: str) -> Value | None:
    """Return what one of our columns holds of a model."""
    if column == "settings":
        return settings_text(identity.settings)
    if column == "variant":
        said = {"checkpoint": None, "variant": identity.variant, **identity.settings}
        return "/".join(filter(None, said.values())) or None
    value: Value | None = getattr(identity, column)
    return value


def _note_faults(
    file: _File, column: str, codes: NDArray[np.int32], distinct: list[str], faults: dict[int, str]
) -> None:
    """Note what is wrong with each of the first texts that cannot be used, and count the others."""
    n_rows = np.bincount(codes + 1)[1:]
    is_required = column in REQUIRED
    outcome = "left out" if is_required else "left empty"
    note = file.log.error if is_required else file.log.warning
    order = sorted(faults)  # distinct texts are in order of first appearance
    for number in order[:_MOST_VALUES]:
        place = file.place(int(np.argmax(codes == number)), column)
        rows = counted(n_rows[number], "row")
        note(place, f"{shown(distinct[number])} {faults[number]}: {outcome} ({rows})")
    if rest := order[_MOST_VALUES:]:
        rows = counted(n_rows[rest].sum(), "row")
        note(column, f"{counted(len(rest), 'more value')}: {outcome} ({rows})")


def _number(text: str) -> int | float | None:
    """Return the number that a text is, None if it is none.

    Examples:
        >>> _number("-1"), _number(".5"), _number("1_000")
        (-1, 0.5, None)
    """
    if text[0] not in "+-.0123456789nNiI":  # most names, quickly
        return None
    if _WHOLE.fullmatch(text):
        return int(text)
    number = float(text) if _NUMBER.fullmatch(text) else None
    return math.nan if number != number else number  # a set holds one NaN, not any


# --- Scores ---


def _scores(
    file: _File, source: str, rule: MetricRule, missing: list[Value]
) -> tuple[Floats, Mask]:
    """Return the scores of a metric, NaN where there is none, and which of them make a row."""
    values, usable, bad, held = _cells(file, source, rule, missing)
    file.note_cells(bad, source, "is not a number: no row")
    parts = [f"{counted(n, 'cell')} hold{'s' * (n == 1)} {what}" for what, n in held.items() if n]
    if parts:
        rows = "no row" if sum(held.values()) == 1 else "no rows"
        file.log.warning(source, f"{', '.join(parts)}: {rows}")
    if n_infinite := int(np.count_nonzero(usable & ~np.isfinite(values))):
        reason = f"{counted(n_infinite, 'cell')} not finite: kept but never scored"
        file.log.warning(source, reason)
    return values, usable


def _stderrs(file: _File, source: str, rule: MetricRule, missing: list[Value]) -> Floats:
    """Return the standard errors of a metric, NaN where there is none."""
    values, _, bad, _ = _cells(file, source, rule, missing)
    wrong = bad | (values < 0) | np.isinf(values)
    file.note_cells(wrong, source, "is not a standard error: left empty")
    return np.where(wrong, math.nan, values)


def _cells(
    file: _File, source: str, rule: MetricRule, missing: list[Value]
) -> tuple[Floats, Mask, Mask, dict[str, int]]:
    """Return a column as numbers, times the rule's factor.

    Returns:
        The numbers, NaN where there is none; which cells hold one, and which hold something else,
        each of shape (rows,); and what the others hold instead, with the number of cells.
    """
    cells, kind = file.columns[source], file.columns[source].type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    try:
        cells = cells.cast(pa.float64() if is_number else pa.large_string(), safe=False)
        cells = cells if is_number else _without(pc.utf8_trim_whitespace(cells), "")
    except pa.ArrowException:
        file.log.error(source, f"numbers cannot be read from type {kind}: left out")
        none = np.zeros(file.n_rows, dtype=bool)
        return np.full(file.n_rows, math.nan), none, none, {}
    n_empty = cells.null_count
    held: dict[str, int] = {}
    codes = dict.fromkeys(missing)  # each once
    for code in codes:
        if isinstance(code, str) and not is_number:
            n_null = cells.null_count
            cells = _without(cells, code.strip())
            held[f"the missing value {code!r}"] = cells.null_count - n_null
    numbers = cells if is_number else _numbers(cells)
    values, usable = np.array(numbers.to_numpy()), np.array(numbers.is_valid())
    bad = np.array(cells.is_valid()) & ~usable
    for code in codes:
        if not isinstance(code, str):
            hit = usable & (np.isnan(values) if code != code else values == code)
            held[f"the missing value {code!r}"] = int(np.count_nonzero(hit))
            usable &= ~hit
    values[~usable] = math.nan
    with np.errstate(over="ignore"):
        values *= rule.multiply
    return values, usable, bad, held | {"nothing": n_empty}


def _numbers(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts as numbers, null where they are none."""
    try:
        numbers = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        pass
    else:
        if not pc.any(pc.is_nan(numbers)).as_py():  # Arrow takes what others do not: nan(1)
            return numbers
    fits = pc.match_substring_regex(texts, f"(?i)^(?:{_NUMBER.pattern})$")
    return pc.if_else(fits, texts, pa.scalar(None, texts.type)).cast(pa.float64())


def _compare_with_catalog(
    file: _File, mapping: Mapping, keys: dict[str, pa.Array], usable: Mask
) -> None:
    """Note a warning where a mapping and the metric catalog disagree on direction or unit."""
    said = {
        source: rule
        for source, rule in mapping.metrics.items()
        if rule.higher_is_better is not None or rule.unit is not None
    }
    if not said or not usable.any():
        return
    none = pa.nulls(len(usable), pa.string())
    pairs = pa.table(
        {name: keys.get(name, none).filter(pa.array(usable)) for name in ("benchmark", "task")}
    )
    tasks = pairs.to_pandas().drop_duplicates()
    for source, rule in said.items():
        own = {"metric": rule.name or "", **({"task": rule.task} if rule.task else {})}
        known = metric_catalog().lookup(tasks.assign(**own))
        theirs, up = known["higher_is_better"].dropna(), rule.higher_is_better
        has_bounds = rule.low_score is not None and rule.high_score is not None
        reasons = []
        if up is not None and (theirs != up).any():
            word = "down" if up else "up"
            reasons.append(f"says that {word} is better, and the analysis follows it")
        if up is False and len(theirs) < len(known) and not has_bounds:
            reasons.append(
                "does not know the direction: give low_score above high_score, or analyse with a "
                "catalog of your own"
            )
        for reason in reasons:
            file.log.warning(f"metrics.{source}", f"the metric catalog {reason}")
        units = known.loc[~known["unit"].isin(["", "unknown", rule.unit]), "unit"].dropna()
        if rule.unit is not None and units.size:
            reason = f"the unit is {rule.unit!r} here and {units.iloc[0]!r} in the metric catalog"
            file.log.warning(f"metrics.{source}", reason)
