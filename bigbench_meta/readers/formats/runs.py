"""Shared by the readers of evaluation runs: models by name, key columns, rows as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import conform
from bigbench_meta.readers.formats.values import clean, show_value

if TYPE_CHECKING:
    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.core.schema import TableSchema
    from bigbench_meta.readers.formats.values import FileLog

__all__ = [
    "at_checkpoint",
    "find_model",
    "input_hash",
    "key_columns",
    "note_missing_size",
    "share",
    "to_table",
]


def find_model(names: ModelNames, *candidates: Any) -> ModelIdentity | None:
    """Return the model that the first usable candidate names, None if there is none.

    Args:
        names: Rules from model names to families and sizes.
        candidates: Names, and what stands where a name should.
    """
    for name in candidates:
        if isinstance(name, str):
            try:
                return names.lookup(name)
            except InputError:
                continue
    return None


def at_checkpoint(model: ModelIdentity, revision: Any) -> ModelIdentity:
    """Return a model with its checkpoint in the variant, except ``main``."""
    stated = revision.strip() if isinstance(revision, str) else ""
    parts = (model.variant, "" if stated in {"main", "None"} else stated)
    return replace(model, variant="/".join(dict.fromkeys(part for part in parts if part)) or None)


def note_missing_size(model: ModelIdentity, log: FileLog) -> None:
    """Note a warning if the size of a model is not known."""
    if model.total_params is None:
        shown = show_value(model.model_name)
        log.warning("total_params", f"left empty for {shown}: {model.reason}")


def key_columns(
    model: ModelIdentity,
    *variants: str | None,
    benchmark: str,
    task: str,
    subtask: str,
    shots: int | None,
    source: str,
) -> dict[str, Any]:
    """Return the columns that say which model did which task, and how.

    Args:
        model: The model; its variant is the checkpoint.
        variants: What goes into ``variant`` after the checkpoint; what is empty is left out.
        benchmark: The benchmark.
        task: The task.
        subtask: The subtask; the task itself on an aggregate row.
        shots: In-context examples, None if not known.
        source: The file.
    """
    return {
        "benchmark": benchmark,
        "task": clean(task),
        "subtask": clean(subtask),
        "model_family": clean(model.model_family),
        "model_name": clean(model.model_name),
        "total_params": model.total_params,
        "shots": shots,
        "variant": clean("/".join(part for part in (model.variant, *variants) if part)) or None,
        "source": clean(source),
    }


def to_table(rows: list[dict[str, Any]], schema: TableSchema) -> pa.Table:
    """Return rows as a table of the schema; what a row does not name is null."""
    plain = pa.schema(
        [
            (column.name, pa.string() if pa.types.is_dictionary(column.type) else column.type)
            for column in schema.columns
        ]
    )
    return conform(pa.Table.from_pylist(rows, schema=plain), schema)


def input_hash(prompt: str) -> str:
    """Return the ``input_hash`` of a prompt: XXH3-128 of its UTF-8, in hexadecimal digits."""
    return xxh3_128_hexdigest(prompt.encode())


def share(value: float | None) -> float | None:
    """Return a value as ``correct`` of a sample, None if it is outside 0..1."""
    return value if value is not None and 0 <= value <= 1 else None
