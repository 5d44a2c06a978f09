"""Curves in flat arrays: where they lie, checks of their arrays, and blocks of one length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.ragged import Ragged

LENGTHS = st.lists(st.integers(0, 6), max_size=12).map(lambda n: np.array(n, dtype=np.int64))


@given(LENGTHS)
def test_what_is_said_of_curves_against_lists(lengths):
    batch = Ragged.of_lengths(lengths)
    values = np.arange(1.0, lengths.sum() + 1)
    curves = np.split(values, np.cumsum(lengths))[: len(lengths)]
    assert (len(batch), batch.n_points) == (len(lengths), len(values))
    assert batch.lengths.tolist() == lengths.tolist()
    assert batch.curve.tolist() == [i for i, n in enumerate(lengths) for _ in range(n)]
    odd = values % 2 == 1
    assert batch.count(odd).tolist() == [sum(y % 2 == 1) for y in curves]
    assert batch.any(odd).tolist() == [any(y % 2 == 1) for y in curves]
    missing = [np.nan] * len(lengths)
    np.testing.assert_array_equal(
        batch.reduce(np.add, values),
        [sum(y) if len(y) else nan for y, nan in zip(curves, missing, strict=True)],
    )
    for position in (0, 1, -1, -2):
        needed = position + 1 if position >= 0 else -position
        np.testing.assert_array_equal(
            batch.at(values, np.full(len(lengths), position)),
            [y[position] if len(y) >= needed else np.nan for y in curves],
        )
    assert np.isnan(batch.at(values, np.full(len(lengths), np.nan))).all()


@given(LENGTHS, st.data())
def test_points_of_some_curves(lengths, data):
    batch = Ragged.of_lengths(lengths)
    values = np.arange(lengths.sum())
    pick = st.lists(st.integers(0, len(lengths) - 1), max_size=8) if len(lengths) else st.just([])
    chosen = np.array(data.draw(pick), dtype=np.int64)
    first = np.array([data.draw(st.integers(0, int(lengths[i]))) for i in chosen], dtype=np.int64)
    for n in (None, first):
        points, some = batch.take(chosen, n)
        counts = lengths[chosen] if n is None else n
        expected = [values[batch.offsets[i] :][:k] for i, k in zip(chosen, counts, strict=True)]
        assert values[points].tolist() == [value for part in expected for value in part]
        assert some.lengths.tolist() == counts.tolist()


@given(LENGTHS, st.integers(1, 4), st.integers(1, 3), st.booleans(), st.booleans())
def test_blocks_hold_every_curve_once(lengths, size, shortest, by_mask, by_length):
    batch = Ragged.of_lengths(lengths)
    values = np.arange(float(lengths.sum()))
    even = np.arange(len(lengths)) % 2 == 0
    blocks = list(
        batch.blocks(
            (lambda length: size + length) if by_length else size,
            shortest=shortest,
            among=even if by_mask else np.flatnonzero(even),
        )
    )
    found = [curve for block in blocks for curve in block.curves.tolist()]
    order = sorted(np.flatnonzero(even & (lengths >= shortest)).tolist(), key=lambda i: lengths[i])
    assert found == order
    for block in blocks:
        assert 1 <= len(block.curves) <= size + block.length * by_length
        assert set(lengths[block.curves]) == {block.length}
        rows = [values[batch.offsets[i] : batch.offsets[i + 1]] for i in block.curves]
        np.testing.assert_array_equal(values[block.points], rows)
        np.testing.assert_array_equal(block.by_scale(values), np.transpose(rows))
        assert block.by_scale(values).flags.c_contiguous


def test_blocks_of_all_curves_by_default():
    batch = Ragged.of_lengths(np.array([3, 0, 70_000, 3, 3]))
    assert [b.curves.tolist() for b in batch.blocks(2)] == [[0, 3], [4], [2]]
    assert list(Ragged.of_lengths(np.array([], dtype=np.int64)).blocks(2)) == []


@pytest.mark.parametrize(
    ("offsets", "arrays", "message"),
    [
        ([], {"y": [1.0, 2]}, "offsets: must run from 0 to the number of points, 2"),
        ([1, 2], {"y": [1.0, 2]}, "offsets: must run from 0 to the number of points, 2"),
        ([0, 1], {"y": [1.0, 2]}, "offsets: must run from 0 to the number of points, 2"),
        ([[0, 2]], {"y": [1.0, 2]}, "offsets: must run from 0 to the number of points, 2"),
        ([0, 2, 1, 2], {"y": [1.0, 2]}, "offsets: must not decrease"),
        ([0, 2], {"y": [1.0, 2], "x": [1.0]}, r"x: shape \(1,\), not \(2,\)"),
        ([0, 2], {"y": [[1.0, 2]]}, r"y: shape \(1, 2\), not \(2,\)"),
    ],
)
def test_arrays_that_do_not_fit(offsets, arrays, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        Ragged.of(offsets, **{name: np.array(values) for name, values in arrays.items()})


def test_checks_of_curves_and_scales():
    batch = Ragged.of([0, 2, 2, 4], x=np.array([1.0, 2, 1, 3]))
    batch.check_curves(chance=[0.0, 0.5, 1.0])
    with pytest.raises(InputError, match=r"^chance: shape \(\), not \(3,\)$"):
        batch.check_curves(chance=0.5)
    batch.check_scales(np.array([1.0, 2, 1, 3]))
    for x, message in (
        ([1.0, 1, 1, 3], "x: 1.0 at position 1 is not above the scale before"),
        ([1.0, 2, 0, 3], "x: 0.0 at position 2 is not a positive number"),
        ([1.0, 2, 1, np.inf], "x: inf at position 3 is not a positive number"),
    ):
        with pytest.raises(InputError, match=f"^{message}$"):
            batch.check_scales(np.array(x))
