"""Checks of numbers that a caller passed: the message says which one was wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["at_least", "checked_loss", "whole"]


def at_least(values: ArrayLike, lowest: float, where: str, *, strict: bool = False) -> Floats:
    """Return values as floats if all are finite and not below a limit.

    Args:
        values: Numbers of any shape.
        lowest: The limit.
        where: Name of the argument, for the message.
        strict: Whether the limit itself is too low.

    Raises:
        InputError: A value is not a number, not finite or too low.
    """
    array = _numbers(values, where)
    good = np.isfinite(array) & ((array > lowest) if strict else (array >= lowest))
    if not good.all():
        relation = "above" if strict else "from"
        raise InputError(
            f"{array[~good][0]:g} is no finite number {relation} {lowest:g}", where=where
        )
    return array


def whole(values: ArrayLike, lowest: int, where: str) -> Floats:
    """Return values as floats if all are whole numbers and not below a limit.

    Args:
        values: Numbers of any shape.
        lowest: The limit.
        where: Name of the argument, for the message.

    Raises:
        InputError: A value is not a whole number or too low.
    """
    array = _numbers(values, where)
    good = np.isfinite(array) & (array >= lowest) & (array == np.floor(array))
    if not good.all():
        raise InputError(f"{array[~good][0]:g} is no whole number from {lowest} on", where=where)
    return array


def checked_loss(loss: ArrayLike) -> Floats:
    """Return losses as floats; an infinite one is a model that is never right, NaN stays.

    Args:
        loss: Cross entropies in nats, of any shape.

    Raises:
        InputError: A loss is negative or not a number.
    """
    array = _numbers(loss, "loss")
    if (low := array < 0).any():
        raise InputError(f"{array[low][0]:g} is negative", where="loss")
    return array


def _numbers(values: ArrayLike, where: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"not numbers: {error}", where=where) from error
