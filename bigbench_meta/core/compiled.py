"""Compile numerical loops, so that plain scalar code for one curve runs at the speed of C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function of numbers and arrays when it is first called, and keep the code on disk.

    Operations are those of IEEE arithmetic in the order in which they are written, so results do
    not depend on what is computed beside them: a division by zero is infinite or NaN, as in arrays.

    Args:
        function: A function of a module. It may call others that are compiled.

    Examples:
        >>> @compiled
        ... def total(values):
        ...     found = 0.0
        ...     for value in values:
        ...         found += value
        ...     return found
        >>> import numpy as np
        >>> float(total(np.array([1.0, 2.5])))
        3.5
    """
    options: dict[str, Any] = {"error_model": "numpy", "nogil": True}
    try:
        return cast("F", numba.njit(function, cache=True, **options))
    except RuntimeError:  # no folder to keep it in: not a file, or nothing that can be written to
        return cast("F", numba.njit(function, **options))
