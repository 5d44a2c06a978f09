"""Reader for wide tables: one row a run, one column a metric, columns named as somebody liked.

A :class:`~bigbench_meta.readers._mapping.Mapping` says what the columns mean. Columns that name
things are worked on by their distinct values, columns of scores as arrays, so that time goes by
the cells and not by the rows of Python.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
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
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bigbench_meta.readers._mapping import ColumnRule, Mapping, MetricRule, Value
    from bigbench_meta.readers._problems import ProblemLog

__all__ = ["ModelNames", "parse_wide"]

# Problems of one kind in one column are told for the first ones only.
_MOST_LINES: Final = 5
_MOST_VALUES: Final = 20
# A row of a CSV file must fit in a block.
_BLOCK: Final = 1 << 24
# The numbers that Arrow reads; Python would also take 1_000 and other scripts' digits.
_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
_WHOLE: Final = re.compile(r"[+-]?\d{1,30}", re.ASCII)


class ModelNames(Protocol):
    """What knows models by their names."""

    def lookup(self, name: str) -> Any:
        """Return an object with ``model_family, model_name, total_params, variant, reason``."""


@dataclass(frozen=True)
class _File:
    """The columns of a table that the mapping names.

    Attributes:
        columns: By name.
        n_rows: Rows.
        label: Its name in tables and messages.
        first: What to add to a row's number to tell it: a line of a CSV file, else a row from 1.
        unit: ``line`` or ``row``.
    """

    columns: dict[str, pa.ChunkedArray]
    n_rows: int
    label: str
    first: NDArray[np.int64]
    unit: str

    def place(self, row: int, column: str) -> str:
        return f"{self.unit} {row + 1}, {column}"


@dataclass(frozen=True)
class _Coded:
    """A column as codes of its distinct values; -1 where there is none."""

    codes: NDArray[np.int32]
    values: list[Any]
