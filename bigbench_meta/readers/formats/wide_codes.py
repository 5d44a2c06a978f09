"""Columns of wide tables as codes of their distinct values, and what the text of a cell says.

What is done to names is done to each distinct one, so that no Python runs per row.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.schema import OBSERVATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.readers.formats.mapping_values import Value

    Codes = NDArray[np.int32]

__all__ = [
    "KINDS", "NAMES", "NUMBER", "UNREADABLE", "Coded", "dictionary", "encoded", "is_missing",
    "number_of", "plain_column", "recoded", "stored",
]  # fmt: skip

KINDS: Final = {column.name: column.type for column in OBSERVATIONS.columns}
"""Arrow types of our columns, by name."""

NAMES: Final = frozenset(c for c, kind in KINDS.items() if pa.types.is_dictionary(kind))
"""Those of our columns that hold names."""

# Python would also read 1_000, and the digits of other scripts.
NUMBER: Final = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
"""What counts as a number in a cell of text."""

UNREADABLE: Final = (pa.ArrowException, ValueError, OverflowError)
"""What values raise that cannot be made Python's: dates after the year 9999, for example."""

_WHOLE: Final = re.compile(r"[+-]?\d{1,30}", re.ASCII)


@dataclass(frozen=True)
class Coded:
    """A column as codes of its distinct values.

    Attributes:
        codes: The position in ``distinct`` of each row's value, -1 where there is none.
        distinct: The values.
    """

    codes: Codes
    distinct: list[Any]


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with its values in place of a dictionary of them."""
    is_coded = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column


def encoded(column: pa.ChunkedArray) -> Coded:
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
    return recoded(codes, [_text_of(value) for value in distinct])


def _text_of(value: object) -> str | None:
    """Return a value as text, a whole number without the point that a float gives it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value).strip() or None


def recoded(codes: Codes, values: list[Value | None]) -> Coded:
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
    if column in NAMES:
        return dictionary(coded, kind.value_type)
    codes = pa.array(coded.codes, mask=coded.codes < 0)
    return pa.array(coded.distinct, kind).take(codes)


def dictionary(coded: Coded, kind: pa.DataType) -> pa.DictionaryArray:
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


def number_of(text: str) -> int | float | None:
    """Return the number that a text is, None if it is none.

    Examples:
        >>> number_of("-1"), number_of(".5"), number_of("1_000")
        (-1, 0.5, None)
    """
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else None


def is_missing(text: str, codes: list[Value]) -> bool:
    """Return whether a text is one of the values that say that there is none.

    Examples:
        >>> is_missing("-100.0", [-100]), is_missing("NA", [-100])
        (True, False)
    """
    for code in codes:
        if isinstance(code, str):
            if code.strip() == text:
                return True
        # What begins with a letter is no number but nan or inf.
        elif text[0] in "+-.0123456789nNiI":
            number = number_of(text)
            if number == code or (number is not None and number != number and code != code):
                return True
    return False
