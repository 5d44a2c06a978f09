"""What may come of spoilt tables, by naive readers: csv.reader, the cells of Parquet, and loops."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_expected import ANY, FREE, MISSING, REPORTED, SURE, Expected, Item, Row
from fuzz_oracles_json import MODEL
from fuzz_seeds import WIDE_MAPPING

from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fuzz_expected import Sound

NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
TRUTH = {"true": True, "1": True, "false": False, "0": False}
KINDS = {column.name: column.type for column in OBSERVATIONS.columns}


# What cannot be zero or less, and what cannot be less than zero; none of it can be infinite.
POSITIVE = (
    "total_params", "non_embedding_params", "flop_matched_non_embedding_params", "train_flops",
    "train_tokens", "pretraining_loss", "n_examples",
)  # fmt: skip
NOT_NEGATIVE = ("shots", "stderr")


@dataclass
class Records:
    """The cells of a table as texts.

    Attributes:
        header: Names of columns.
        rows: Cells of each record, by column; ANY where their type says nothing.
        widths: How many cells each record has.
        odd: Whether readers may disagree on what the cells are.
    """

    header: list[str]
    rows: list[Row]
    widths: list[int]
    odd: bool = False


def csv_records(data: bytes) -> Records | None:
    """Read a CSV file by the standard library, None if it is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error:
        # Quotes where none belong: each reader has its own way with them.
        return Records([], [], [], odd=True)
    if not lines:
        return None
    header = lines[0]
    # A line of blanks is a header to some readers, and nothing to others.
    odd = "\0" in text or len(set(header)) < len(header) or not "".join(header).strip()
    rows = [dict(zip(header, line, strict=False)) for line in lines[1:]]
    return Records(header, rows, [len(line) for line in lines[1:]], odd)


def parquet_records(data: bytes, wanted: Collection[str] | None = None) -> Records | None:
    """Read a Parquet file, or some of its columns, as the format's own library does.

    Returns:
        The records, None if there are none to be read.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = [name for name in file.schema_arrow.names if wanted is None or name in wanted]
        table = file.read(columns=None if wanted is None else names)
        table.validate(full=True)
    except (OSError, ValueError, EOFError, pa.ArrowException):
        return None
    if len(set(names)) < len(names):
        return Records([], [], [], odd=True)
    columns = [legible(table.column(name)) for name in names]
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return Records(names, rows, [len(names)] * len(rows))


def legible(column: pa.ChunkedArray) -> list[Any]:
    """Return cells that are texts, finite numbers, truth values or nothing; ANY for others."""
    try:
        cells = column.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):  # times that Python does not have
        return [ANY] * len(column)
    is_legible = all(
        cell is None or isinstance(cell, str | bool | int)
        or (isinstance(cell, float) and math.isfinite(cell))
        for cell in cells
    )  # fmt: skip
    return cells if is_legible else [ANY] * len(cells)


def text_of(cell: Any) -> Any:
    return cell if cell is ANY else "" if cell is None else str(cell).strip()


def expect_table(data: bytes, label: str, *, is_parquet: bool) -> Expected:
    records = parquet_records(data) if is_parquet else csv_records(data)
    if records is None:
        return Expected(faulty=True)
    if records.odd:
        return Expected(unknown=True)
    if not set(OBSERVATIONS.required) <= set(records.header):
        return Expected(faulty=True)
    expected = Expected()
    for record, width in zip(records.rows, records.widths, strict=True):
        cells = {name: text_of(cell) for name, cell in record.items()}
        if width == 1 and not is_parquet and not any(cells.values()):
            expected.doubtful = True  # a line of blanks is a row or none
            continue
        # A record that is too long makes the whole file doubtful.
        expected.may_refuse |= width > len(records.header)
        item, is_faulty = table_item(cells, label)
        expected.faulty |= is_faulty
        expected.items += [item] if item else []
    return expected


def table_item(cells: Row, label: str) -> tuple[Item | None, bool]:
    """Return the row of a record, None if it names no task or no model; whether it has faults."""
    values, presence, is_faulty = {}, SURE, False
    for name, kind in KINDS.items():
        text = cells.get(name, "")
        if text is ANY:
            values[name], presence = ANY, REPORTED
        elif pa.types.is_dictionary(kind):
            values[name] = text or None
        else:
            values[name], is_fault = cell_value(text, name)
            is_faulty |= is_fault
    required = [values[name] for name in OBSERVATIONS.required if name != "score"]
    if None in required:
        return None, True
    values["subtask"] = values["subtask"] or values["task"]
    values["source"] = values["source"] or label
    return Item(values, presence), is_faulty


def cell_value(text: str, name: str) -> tuple[Any, bool]:
    """Return what a cell holds, and whether that is a fault."""
    kind = KINDS[name]
    if pa.types.is_boolean(kind) and text:
        return TRUTH.get(text.lower()), text.lower() not in TRUTH
    if not text or text.lower() == "nan":
        return None, False
    if not NUMBER.fullmatch(text):
        # Something like 1_000, which may be a number to somebody.
        return ANY, False
    value: float = float(text)
    if pa.types.is_integer(kind):
        if value % 1 != 0 or abs(value) >= 2**63:
            return None, True
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else int(value)
    if name == "shots" and value == -1:
        return None, False
    impossible = (name in POSITIVE and value <= 0) or (name in NOT_NEGATIVE and value < 0)
    if impossible or (name in POSITIVE + NOT_NEGATIVE and value == math.inf):
        return None, True
    return value, False


# --- Samples tables ---

SAMPLE_KINDS = {column.name: column.type for column in SAMPLES.columns}
SAMPLE_KEY = ("benchmark", "task", "subtask", "model_family", "model_name", "shots", "variant",
              "settings", "replicate", "example_id")  # fmt: skip


def expect_samples_table(data: bytes, label: str) -> Expected:
    """Say what may come of a samples table; of one that is damaged, any of what can be read."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        schema = {field.name: field.type for field in file.schema_arrow}
    except (OSError, ValueError, EOFError, pa.ArrowException):
        return Expected(faulty=True)
    if len(set(names)) < len(names) or not set(SAMPLES.required) <= set(names):
        return Expected(faulty=True)
    try:
        table = file.read(columns=[name for name in SAMPLES.names if name in names])
        table.validate(full=True)
    except (OSError, ValueError, EOFError, pa.ArrowException):
        return Expected(unknown=True, faulty=True)
    columns = [
        column.to_pylist() if schema[name] == SAMPLE_KINDS[name] else legible(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    expected, seen = Expected(faulty=counts_differ(file)), set()
    for cells_of_row in zip(*columns, strict=True):
        row = dict(zip(table.column_names, cells_of_row, strict=True))
        cells = {name: sample_cell(row, name, schema) for name in SAMPLES.names}
        values = {name: value for name, (value, _) in cells.items()}
        expected.faulty |= any(is_fault for _, is_fault in cells.values())
        if any(values[name] is None for name in SAMPLES.required):
            expected.faulty = True
            continue
        values["subtask"] = values["subtask"] or values["task"]
        values["source"] = values["source"] or label
        key = tuple(values[name] for name in SAMPLE_KEY)
        if ANY not in key and key in seen:
            expected.faulty = True
            continue
        seen.add(key)
        expected.items.append(Item(values, REPORTED if ANY in values.values() else SURE))
    return expected


def counts_differ(file: pq.ParquetFile) -> bool:
    """Return whether the footer, which counts rows twice, says two numbers: it is damaged."""
    meta = file.metadata
    in_groups = (meta.row_group(number).num_rows for number in range(meta.num_row_groups))
    return bool(sum(in_groups) != meta.num_rows)


def sample_cell(row: Row, name: str, schema: dict[str, pa.DataType]) -> tuple[Any, bool]:
    """Return what a cell holds, and whether that is a fault.

    It is ANY where its column is of another type than that of samples.
    """
    cell, kind = row.get(name), SAMPLE_KINDS[name]
    if cell is None:
        return None, False
    given, wanted = (each.value_type if pa.types.is_dictionary(each) else each
                     for each in (schema[name], kind))  # fmt: skip
    if given != wanted:
        return ANY, False
    if name == "shots":
        return (cell, False) if cell >= 0 else (None, cell != -1)
    if name in POSITIVE and (math.isnan(cell) or not 0 < cell < math.inf):
        return None, not math.isnan(cell)
    if name == "correct" and not 0 <= cell <= 1:
        return None, not math.isnan(cell)
    if name == "targets" and None in cell:
        return None, True
    return (None, False) if cell == "" and name != "output" else (cell, False)


# --- Details of lighteval ---

DETAILS = ("doc", "metric", "model_response")
LEAVES = ("doc.query", "doc.choices", "doc.gold_index", "metric", "model_response.input",
          "model_response.text", "model_response.logprobs")  # fmt: skip
FLAT_DETAILS = ("acc", "choices", "example", "full_prompt", "gold", "gold_index", "metrics",
                "predictions")  # fmt: skip
UNREAD = "model_response.input_tokens"
MOST_ANSWERS = 4


def expect_details(data: bytes, label: str, sound: Sound, *, same_run: bool = True) -> Expected:
    """Say what may come of details: of a row as it was its samples, of any other at least one."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        schema = file.schema_arrow
    except (OSError, ValueError, EOFError, pa.ArrowException):
        return Expected(faulty=True)
    names = set(schema.names)
    is_nested = names >= set(DETAILS)
    is_ours = is_nested or ("predictions" in names and names & {"example", "full_prompt"})
    if len(names) < len(schema.names) or not is_ours:
        return Expected(faulty=True)
    if is_nested and not all(pa.types.is_struct(schema.field(name).type) for name in DETAILS):
        return Expected(faulty=True)
    try:
        wanted = LEAVES if is_nested else [name for name in FLAT_DETAILS if name in names]
        table = file.read(columns=list(wanted))
        table.validate(full=True)
        rows = [what_is_read(row) for row in table.to_pylist()]
    except (OSError, ValueError, EOFError, OverflowError, pa.ArrowException):
        return Expected(unknown=True, faulty=True)
    before = {name: cells.to_pylist() for name, cells in sound.document or ()
              if name in DETAILS + FLAT_DETAILS}  # fmt: skip
    was = [dict(zip(before, cells, strict=True)) for cells in zip(*before.values(), strict=True)]
    known: dict[str, list[Row]] = {}
    for number, row in enumerate(was, 1):
        own = [one for one in sound.samples if one["example_id"] == str(number)]
        known[what_is_read(row)] = own
    run = {} if same_run else dict.fromkeys(("task", "subtask", *MODEL), ANY)
    expected = Expected(faulty=counts_differ(file))
    for number, text in enumerate(rows, 1):
        own_values = {"example_id": str(number), "source": label}
        loose = dict.fromkeys(SAMPLES.names, ANY) | own_values
        expected.items += [Item(one | run | own_values) for one in known.get(text, ())]
        if text not in known:
            expected.items += [Item(loose), *[Item(loose, FREE)] * MOST_ANSWERS]
    return expected


def what_is_read(row: Row) -> str:
    """Return a row of details as a text, without what lies in structs and is not read."""
    flat = {
        f"{name}.{part}": value
        for name, cell in row.items()
        for part, value in (cell.items() if isinstance(cell, dict) else [("", cell)])
    }
    return repr(sorted(item for item in flat.items() if item[0] not in ("doc.id", UNREAD)))


# --- Wide tables, with the mapping of the seeds ---

WIDE_COLUMNS = ("file", "model", "k", "m1", "se", "m 2")
WIDE_SIZES = {"gpt-1": 100, "gpt-2": 200}
FACTORS = {"acc": 0.5, "f1": 1.0}
if "gpt-1 = 100" not in WIDE_MAPPING or "default = 7" not in WIDE_MAPPING:
    raise ValueError("expect_wide is for another mapping")


def expect_wide(data: bytes, label: str, *, is_parquet: bool) -> Expected:
    records = parquet_records(data, WIDE_COLUMNS) if is_parquet else csv_records(data)
    if records is None:
        return Expected(faulty=True)
    if records.odd:
        return Expected(unknown=True)
    if not set(WIDE_COLUMNS) <= set(records.header):
        return Expected(faulty=True)
    expected = Expected()
    for record, width in zip(records.rows, records.widths, strict=True):
        if width != len(records.header):
            expected.faulty = True
            continue
        cells = {name: text_of(record[name]) for name in WIDE_COLUMNS}
        # A float that is whole has no point in a name.
        short = {name: re.sub(r"\.0$", "", cells[name]) for name in ("file", "model", "k")
                 if isinstance(record[name], float)}  # fmt: skip
        items, is_faulty = wide_items(cells | short, label)
        expected.items += items
        expected.faulty |= is_faulty
    return expected


def wide_number(text: Any, codes: Sequence[Any] = (-100, "NA")) -> Any:
    """Return the number in a cell, None if it holds none, MISSING if it says so."""
    value = float(text) if NUMBER.fullmatch(text) else None
    return MISSING if not text or text in codes or value in codes else value


def wide_items(cells: Row, label: str) -> tuple[list[Item], bool]:
    """Return the rows of a record, and whether something of it is lost."""
    if ANY in cells.values():
        values = dict.fromkeys(OBSERVATIONS.names, ANY) | {"source": label}
        return [Item(values, FREE), Item(values, FREE)], False
    names = {name: "" if wide_number(cells[name]) is MISSING else cells[name]
             for name in ("file", "model")}  # fmt: skip
    task, model = names["file"].removesuffix(".json").strip(), names["model"]
    family = re.search("^([a-z]+)", model)
    if not (task and model and family):
        return [], True
    shots, stderr = wide_number(cells["k"], (-1, "")), wide_number(cells["se"])
    is_count = isinstance(shots, float) and 0 <= shots <= 10**9 and shots % 1 == 0
    n_shots = int(shots) if is_count else None
    error = stderr * 0.5 if isinstance(stderr, float) and 0 <= stderr < math.inf else None
    shared = {
        "benchmark": "b", "task": task, "subtask": task, "model_family": family[1],
        "model_name": model, "total_params": WIDE_SIZES.get(model, 7), "shots": n_shots,
        "source": label,
    }  # fmt: skip
    own = {"acc": {"stderr": error, "low_score": 0.0, "high_score": 1.0}, "f1": {}}
    values = {"acc": wide_number(cells["m1"]), "f1": wide_number(cells["m 2"])}
    items = [
        Item(shared | own[metric] | {"metric": metric, "score": value * FACTORS[metric]})
        for metric, value in values.items()
        if isinstance(value, float)
    ]
    is_odd = (shots is not MISSING and n_shots is None) or (
        isinstance(stderr, float) and error is None and not math.isnan(stderr)
    )
    return items, is_odd or None in (stderr, *values.values())
