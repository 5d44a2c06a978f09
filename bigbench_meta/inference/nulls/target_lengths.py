"""Inputs of the tests where it is not known how long the targets of an edit distance are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bigbench_meta.inference.nulls.inputs import NullInputs, null_inputs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bigbench_meta.curves.build import Curves

    Bools = NDArray[np.bool_]

__all__ = ["REACHES", "all_inputs"]

REACHES: Final = (1.0, 0.75, 0.5, 0.25)
"""Shares of the length of targets that the largest edit distance of a curve may be.

From a worst model that gets every token wrong to one that gets every fourth wrong. It takes the
place of a guess rate: of tokens of which a share g is guessed, 1 - g are wrong at worst.
"""


def all_inputs(
    curves: Curves, *, n_examples: ArrayLike | None = None, **options: Any
) -> NullInputs:
    """Return the rows of all curves, edit distances of unknown targets once for each reach.

    Args:
        curves: What :func:`bigbench_meta.build_curves` returns.
        n_examples: Size of the test set where the observations give none.
        options: Of :func:`bigbench_meta.inference.nulls.inputs.null_inputs`.
    """
    rows = null_inputs(curves, n_examples=n_examples, **options)
    open_ = (rows.floor_source == "length") & (rows.problem == "")
    if not open_.any():
        return rows
    place = np.flatnonzero(open_)
    own = options | dict.fromkeys(("chance", "n_choices"))  # edits have none
    size = n_examples
    if n_examples is not None and np.ndim(n_examples):
        size = np.asarray(n_examples)[open_]
    some = curves.select(open_)
    for reach in REACHES[1:]:
        more = null_inputs(some, n_examples=size, reach=reach, **own)
        rows = _joined(rows, replace(more, curve=place[more.curve]))
    return rows.take(np.argsort(rows.curve, kind="stable"))


def _joined(rows: NullInputs, more: NullInputs) -> NullInputs:
    """Return the rows of both, of curves that are those of the first."""
    return replace(
        rows,
        offsets=np.concatenate([rows.offsets, rows.offsets[-1] + more.offsets[1:]]),
        link=rows.link + more.link,
        **{
            name: np.concatenate([getattr(rows, name), getattr(more, name)])
            for name in ("curve", "y", "x", "trials", "floor")
        },
    )
