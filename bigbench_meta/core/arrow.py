"""Build Arrow arrays from plain values as ``pa.array`` does, but without importing pandas.

``pa.array`` imports pandas whenever it is installed, to see whether it was given any of it. That
takes a quarter of a second and fifty megabytes, in every process that reads result files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

__all__ = ["blobs", "codes", "flags", "lists", "maps", "numbers", "reals", "texts"]

_MOST: Final = np.iinfo(np.int32).max


def numbers(
    values: NDArray[np.number[Any]], *, missing: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return numbers as an array of their own type.

    Args:
        values: The numbers, shape (n,).
        missing: Which of them are null, shape (n,); none by default.

    Examples:
        >>> numbers(np.array([1, 2]), missing=np.array([False, True])).to_pylist()
        [1, None]
    """
    buffers = [_validity(missing), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def flags(values: NDArray[np.bool_], *, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return truth values as an array.

    Args:
        values: As for :func:`numbers`.
        missing: As for :func:`numbers`.

    Examples:
        >>> flags(np.array([True, False])).to_pylist()
        [True, False]
    """
    return pa.Array.from_buffers(pa.bool_(), len(values), [_validity(missing), _bits(values)])


def reals(values: Collection[float | None]) -> pa.Array:
    """Return numbers, None where they are missing, as an array of doubles.

    Examples:
        >>> reals([1, None, 0.5]).to_pylist()
        [1.0, None, 0.5]
    """
    found = np.fromiter(values, np.float64, len(values))
    if not np.isnan(found).any():
        return numbers(found)
    # NumPy takes None for NaN.
    return numbers(found, missing=np.array([value is None for value in values]))


def texts(values: Collection[str | None]) -> pa.Array:
    """Return texts, None where they are missing, as an array.

    Examples:
        >>> texts(["a", "", "é", None]).to_pylist()
        ['a', '', 'é', None]
    """
    missing = None
    try:
        joined = "".join(cast("Collection[str]", values))
        plain = cast("Collection[str]", values)
    except TypeError:
        missing = np.array([value is None for value in values])
        plain = [value or "" for value in values]
        joined = "".join(plain)
    if joined.isascii():  # then a character is a byte
        sizes = np.fromiter(map(len, plain), np.int64, len(plain))
    else:
        lengths = [len(text) if text.isascii() else len(text.encode()) for text in plain]
        sizes = np.array(lengths, np.int64)
    return _of_bytes(joined.encode(), sizes, pa.string(), missing)


def lists(
    values: pa.Array, sizes: NDArray[np.integer[Any]], *, missing: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Return an array of lists.

    Args:
        values: The items of all lists, one list after the other.
        sizes: How many items each list has, shape (n,); 0 for one that is null.
        missing: Which lists are null, shape (n,); none by default.

    Examples:
        >>> lists(texts(["a", "b", "c"]), np.array([2, 0, 1])).to_pylist()
        [['a', 'b'], [], ['c']]
    """
    buffers = [_validity(missing), pa.py_buffer(_ends(sizes))]
    return pa.Array.from_buffers(pa.list_(values.type), len(sizes), buffers, children=[values])


def maps(keys: pa.Array, values: pa.Array, sizes: NDArray[np.integer[Any]]) -> pa.Array:
    """Return an array of maps.

    Args:
        keys: The keys of all maps, one map after the other.
        values: Their values.
        sizes: How many keys each map has, shape (n,).
    """
    return pa.MapArray.from_arrays(numbers(_ends(sizes)), keys, values)


def blobs(values: Collection[bytes]) -> pa.Array:
    """Return byte strings as an array."""
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    return _of_bytes(b"".join(values), sizes, pa.binary(), None)


def codes(
    values: NDArray[np.int32],
    names: Collection[str],
    *,
    missing: NDArray[np.bool_] | None = None,
) -> pa.DictionaryArray:
    """Return dictionary-encoded texts.

    Args:
        values: Place of each text in ``names``, shape (n,).
        names: The texts.
        missing: Which of them are null, shape (n,); none by default.

    Examples:
        >>> codes(np.array([1, 0, 1], dtype=np.int32), ["a", "b"]).to_pylist()
        ['b', 'a', 'b']
    """
    return pa.DictionaryArray.from_arrays(numbers(values, missing=missing), texts(names))


def _of_bytes(
    data: bytes,
    sizes: NDArray[np.int64],
    type_: pa.DataType,
    missing: NDArray[np.bool_] | None,
) -> pa.Array:
    buffers = [_validity(missing), pa.py_buffer(_ends(sizes)), pa.py_buffer(data)]
    return pa.Array.from_buffers(type_, len(sizes), buffers)


def _ends(sizes: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    # Arrow counts in 32 bits here.
    if ends[-1] > _MOST:
        raise OverflowError(f"{ends[-1]} bytes or items in one column")
    return ends.astype(np.int32)


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _validity(missing: NDArray[np.bool_] | None) -> pa.Buffer | None:
    return None if missing is None else _bits(~missing)
