"""What may stand in those of our columns that a mapping fills."""

from __future__ import annotations

import math
from typing import Final

import pyarrow as pa

from bigbench_meta.core.schema import OBSERVATIONS

__all__ = ["FILLABLE", "REQUIRED", "Value", "expected", "fitting", "is_finite"]

Value = str | int | float

REQUIRED: Final = ("benchmark", "task", "model_family", "model_name")
"""Columns that a mapping must fill, each from a column or a constant."""

# These come from [metrics], and from the file itself.
_NOT_FILLABLE: Final = {
    "metric", "score", "stderr", "is_preferred", "low_score", "high_score", "source",
}  # fmt: skip
FILLABLE: Final = {c.name: c.type for c in OBSERVATIONS.columns if c.name not in _NOT_FILLABLE}
"""Arrow types of the columns that a mapping may fill, by name."""

_MOST_SHOTS: Final = 10**9
_MOST_WHOLE: Final = 10**18


def fitting(column: str, value: object) -> Value | None:
    """Return a value as one of our columns stores it, None if it does not fit.

    Args:
        column: The column.
        value: Text for a column of names, a number for the others.

    Examples:
        >>> fitting("task", " rhymes "), fitting("shots", 2.0), fitting("shots", -1)
        ('rhymes', 2, None)
    """
    kind = FILLABLE[column]
    if pa.types.is_dictionary(kind):
        return (value.strip() or None) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        return None
    if pa.types.is_floating(kind):
        return float(value) if value > 0 else None
    lowest, highest = (0, _MOST_SHOTS) if column == "shots" else (1, _MOST_WHOLE)
    return int(value) if lowest <= value <= highest and value == int(value) else None


def expected(column: str) -> str:
    """Return what :func:`fitting` takes, in words.

    Examples:
        >>> expected("shots")
        'a whole number from 0'
    """
    kind = FILLABLE[column]
    if pa.types.is_dictionary(kind):
        return "a text"
    if pa.types.is_floating(kind):
        return "a positive number"
    return f"a whole number from {0 if column == 'shots' else 1}"


def is_finite(value: float) -> bool:
    """Return whether a number is one of the finite floats, or an integer among them."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False
