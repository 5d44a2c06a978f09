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
    codes = combined.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return codes + 1, len(combined.dictionary) + 1


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
        codes, size = column_codes(table.column(name))
        if cardinality * size > _RADIX_LIMIT:
            _, joined = np.unique(joined, return_inverse=True)
            cardinality = int(joined.max(initial=0)) + 1
        joined = joined * size + codes
        cardinality *= size
    _, first, group = np.unique(joined, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[group], first[order]
