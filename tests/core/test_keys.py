from __future__ import annotations

import numpy as np
import oracles
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core import keys as _keys
from bigbench_meta.core.keys import column_codes, group_rows

COLUMNS = {
    "text": (pa.string(), st.sampled_from([None, "", "a", "b", "ü"])),
    "large": (pa.large_string(), st.sampled_from([None, "a", "b"])),
    "number": (pa.int64(), st.one_of(st.none(), st.integers(-2, 2))),
    "truth": (pa.bool_(), st.one_of(st.none(), st.booleans())),
    "one": (pa.string(), st.just("same")),
    "none": (pa.string(), st.none()),
}


def table_of(rows, *, encoded=()):
    """Return rows of values in the order of COLUMNS as an Arrow table, some columns encoded."""
    columns = {}
    for position, (name, (kind, _)) in enumerate(COLUMNS.items()):
        column = pa.chunked_array([pa.array([row[position] for row in rows], type=kind)])
        columns[name] = column.dictionary_encode() if name in encoded else column
    return pa.table(columns)


ROWS = st.lists(st.tuples(*(values for _, values in COLUMNS.values())), max_size=30)


def assert_groups(table, names, keys):
    group, first = group_rows(table, names)
    expected_group, expected_first = oracles.groups_of(keys)
    assert group.tolist() == expected_group
    assert first.tolist() == expected_first


@given(ROWS, st.lists(st.sampled_from(list(COLUMNS)), unique=True), st.data())
def test_group_rows_equals_a_dict(rows, names, data):
    encoded = data.draw(st.sets(st.sampled_from(["text", "number", "one"])))
    positions = [list(COLUMNS).index(name) for name in names]
    keys = [tuple(row[position] for position in positions) for row in rows]
    assert_groups(table_of(rows, encoded=encoded), names, keys)


@given(ROWS, st.integers(1, 40))
def test_renumbering_changes_nothing(rows, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_keys, "_RADIX_LIMIT", limit)
        assert_groups(table_of(rows), list(COLUMNS), rows)


def test_more_combinations_than_an_integer_can_number():
    # 12 columns of 255 values and null: 256**12 = 2**96. Without renumbering the first four columns
    # would be shifted out of an integer of 64 bits, and rows that differ in the first alone be one.
    rng = np.random.default_rng(0)
    rows = rng.permuted(np.tile(np.arange(255), (12, 1)), axis=1).T.tolist()
    rows += [[None, *row[1:]] for row in rows] + rows[::-1]
    names = [f"c{number}" for number in range(12)]
    table = pa.table(dict(zip(names, map(pa.array, zip(*rows, strict=True)), strict=True)))
    assert _keys._RADIX_LIMIT < 256**12
    assert_groups(table, names, [tuple(row) for row in rows])


@given(ROWS, ROWS)
def test_chunks_with_dictionaries_of_their_own(rows, more):
    # "b" may be 0 in one chunk and 1 in the other.
    tables = [table_of(some, encoded=["text", "number"]) for some in (rows, more)]
    assert_groups(pa.concat_tables(tables), list(COLUMNS), rows + more)


@pytest.mark.parametrize("names", [[], ["text"], list(COLUMNS)])
def test_no_rows(names):
    group, first = group_rows(table_of([]), names)
    assert len(group) == len(first) == 0


def test_no_columns_is_one_group():
    group, first = group_rows(pa.table({"a": [1, 2, 3]}), [])
    assert (group.tolist(), first.tolist()) == ([0, 0, 0], [0])


@pytest.mark.parametrize(
    ("values", "codes", "size"),
    [
        (["x", "y", "x"], [1, 2, 1], 3),
        ([None, "y", None], [0, 1, 0], 2),
        ([None, None], [0, 0], 1),
        ([], [], 1),
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_column_codes(values, codes, size, encoded):
    column = pa.chunked_array([pa.array(values, type=pa.string())])
    found, found_size = column_codes(column.dictionary_encode() if encoded else column)
    assert (found.tolist(), found_size) == (codes, size)
    assert found.dtype == np.int64


def test_a_column_without_chunks():
    column = pa.chunked_array([], type=pa.dictionary(pa.int32(), pa.string()))
    codes, size = column_codes(column)
    assert (len(codes), size) == (0, 1)


def test_a_null_within_the_dictionary_is_a_null():
    # Arrow allows both spellings.
    spelled = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["x", None]))
    table = pa.table({"a": spelled})
    assert_groups(table, ["a"], ["x", None, None])
