"""Group the rows of an Arrow table by the values of several columns, without building strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["column_codes", "group_rows"]

# Codes of several columns are joined into one number; it is renumbered before it can overflow.
_RADIX_LIMIT = 1 << 62


def column_codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """Return a number for each value of a column and how many numbers there are; null is 0."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if any(chunk.dictionary.null_count for chunk in column.chunks):
        # Arrow lets a null be an index that is null or an index of a null; take both as the first.
        column = column.cast(column.type.value_type).dictionary_encode()
    combined = pa.chunked_array(column, type=column.type).unify_dictionaries().combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # an empty column has no chunk to combine
        return np.zeros(0, np.int64), 1
    indices = combined.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(-1)
    return np.add(indices.to_numpy(), 1, dtype=np.int64), len(combined.dictionary) + 1


def group_rows(
    table: pa.Table, columns: Iterable[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the rows of a table by their values in some columns.

    Args:
        table: The table.
        columns: Names of the columns that together are the key; a null equals a null.

    Returns:
        The group of each row, dense from 0 in order of first appearance, and the first row of each
        group.
    """
    joined = np.zeros(table.num_rows, np.int64)
    cardinality = 1
    for name in columns:
        if table.column(name).null_count == table.num_rows:
            continue  # null in every row
        codes, size = column_codes(table.column(name))
        if cardinality * size > _RADIX_LIMIT:
            joined, cardinality = _renumbered(joined)
        joined = joined * size + codes
        cardinality *= size
    group, n_groups = _renumbered(joined)
    first = np.empty(n_groups, np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]  # of rows of one group the last written stays
    return group, first


def _renumbered(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return numbers from 0 on for codes, in order of first appearance, and how many there are."""
    encoded = pa.array(codes).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)
