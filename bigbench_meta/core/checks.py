"""Argument checks: each returns the checked value, or raises an error that names the wrong one."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

__all__ = [
    "at_least",
    "check_shape",
    "checked_loss",
    "one_a_curve",
    "one_of",
    "probability",
    "reject",
    "seed_number",
    "whole",
    "within",
]


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
        relation = "above" if strict else "of at least"
        raise InputError(
            f"{array[~good][0]:g} is not a finite number {relation} {lowest:g}", where=where
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
        raise InputError(
            f"{array[~good][0]:g} is not a whole number of at least {lowest}", where=where
        )
    return array


def within(
    values: ArrayLike, least: float, most: float, where: str, *, open_: bool = False
) -> Floats:
    """Return values as floats if all are in a range; NaN is allowed and stays.

    Args:
        values: Numbers of any shape.
        least: Lower end of the range.
        most: Upper end of the range.
        where: Name of the argument, for the message.
        open_: Whether the ends are out of range themselves.

    Raises:
        InputError: Not numbers, or one is out of range.
    """
    array = _numbers(values, where)
    wrong = (array <= least) | (array >= most) if open_ else (array < least) | (array > most)
    if np.any(wrong):
        range_ = f"({least:g}, {most:g})" if open_ else f"[{least:g}, {most:g}]"
        raise InputError(f"{array[wrong].flat[0]:g}, not in {range_}", where=where)
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


def one_a_curve(values: ArrayLike, n_curves: int, where: str) -> Floats:
    """Return one float for each curve; a single number applies to all curves.

    Raises:
        InputError: Not numbers, or of another shape than () and (n_curves,).
    """
    array = _numbers(values, where)
    if array.shape not in {(), (n_curves,)}:
        raise InputError(f"shape {array.shape}, not () or ({n_curves},)", where=where)
    return np.broadcast_to(array, (n_curves,))


def check_shape(values: ArrayLike, shape: tuple[int, ...], where: str) -> None:
    """Check the shape of an array.

    Raises:
        InputError: It has another one.
    """
    if np.shape(values) != shape:
        raise InputError(f"shape {np.shape(values)}, not {shape}", where=where)


def reject(values: Floats, wrong: Bools, problem: str, where: str) -> None:
    """Raise an error that names the first wrong value of a flat array, if there is one.

    Args:
        values: The values, shape (n,).
        wrong: Which of them are wrong.
        problem: What is wrong with them, after "is".
        where: Name of the argument, for the message.

    Raises:
        InputError: A value is wrong.
    """
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{values[first]} at position {first} is {problem}", where=where)


def one_of(value: str, allowed: Iterable[str], where: str) -> None:
    """Check that an option is one of the allowed values.

    Raises:
        InputError: It is another; the hint lists those that exist.
    """
    names = tuple(allowed)
    if value not in names:
        raise InputError(f"{value!r}", where=where, hint=f"one of {', '.join(names)}")


def probability(value: float, where: str) -> float:
    """Return a number strictly between 0 and 1, such as a confidence level.

    Raises:
        InputError: It is not between them, or not a number.

    Examples:
        >>> probability(0.95, "confidence")
        0.95
    """
    if not 0 < value < 1:
        raise InputError(f"{value} is not between 0 and 1", where=where)
    return value


def seed_number(seed: Any) -> int:
    """Return a whole number to seed further streams from; a generator gives one draw.

    Raises:
        InputError: Neither a whole number of at least 0 nor a generator.

    Examples:
        >>> seed_number(7)
        7
    """
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise InputError(f"{seed!r} is not a whole number of at least 0", where="seed")
    return int(seed)


def _numbers(values: ArrayLike, where: str) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"not numbers: {error}", where=where) from error
