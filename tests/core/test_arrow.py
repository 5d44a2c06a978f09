"""Arrays of plain values equal those of ``pa.array``, and need no pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from helpers import write_tree
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bigbench_meta.core import arrow as _arrow
from bigbench_meta.core.arrow import blobs, codes, flags, lists, maps, numbers, reals, texts

VALUES = st.one_of(
    hnp.arrays(dtype, st.integers(0, 20), elements={"allow_nan": False} if dtype == "f8" else None)
    for dtype in ("f8", "i8", "i4")
)
MASKS = st.lists(st.booleans(), min_size=20, max_size=20).map(np.array)


@given(VALUES, st.none() | MASKS)
def test_numbers(values, mask):
    missing = None if mask is None else mask[: len(values)]
    array = numbers(values, missing=missing)
    array.validate(full=True)
    assert array.equals(pa.array(values, mask=missing))


@given(VALUES)
def test_numbers_of_a_strided_array(values):
    assert numbers(values[::2]).equals(pa.array(values[::2]))


@given(hnp.arrays(bool, st.integers(0, 20)), st.none() | MASKS)
def test_flags(values, mask):
    missing = None if mask is None else mask[: len(values)]
    array = flags(values, missing=missing)
    array.validate(full=True)
    assert array.equals(pa.array(values, mask=missing))


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
REAL = st.none() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)


@given(st.lists(REAL))
def test_reals(values):
    array = reals(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.float64()))


@given(st.lists(st.none() | st.lists(TEXT)))
def test_lists(values):
    sizes = np.array([len(value or ()) for value in values], dtype=np.int64)
    missing = np.array([value is None for value in values], dtype=bool)
    array = lists(texts([item for value in values for item in value or ()]), sizes, missing=missing)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.list_(pa.string())))


@given(st.lists(st.dictionaries(TEXT, st.floats(allow_nan=False))))
def test_maps(values):
    keys, items = ([x for value in values for x in f(value)] for f in (dict.keys, dict.values))
    array = maps(texts(keys), reals(items), np.array([len(value) for value in values], np.int64))
    array.validate(full=True)
    assert array.to_pylist() == [list(value.items()) for value in values]


@given(st.lists(st.none() | TEXT))
def test_texts(values):
    array = texts(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.string()))


@given(st.lists(st.binary()))
def test_blobs(values):
    assert blobs(values).equals(pa.array(values, pa.binary()))


@given(st.lists(st.sampled_from(["a", "b", "ü"])))
def test_codes(values):
    names = ["b", "ü", "a"]
    array = codes(np.array([names.index(value) for value in values], dtype=np.int32), names)
    array.validate(full=True)
    assert array.to_pylist() == values


def test_more_text_than_a_column_holds_is_refused(monkeypatch):
    monkeypatch.setattr(_arrow, "_MOST", 10)
    with pytest.raises(OverflowError, match="12 bytes or items in one column"):
        texts(["abcdef"] * 2)


def test_an_ingest_does_without_pandas(tmp_path):
    write_tree(tmp_path / "tree")
    code = (
        "import sys; from bigbench_meta.store.store import Store; "
        f"Store({str(tmp_path / 'store')!r}).ingest({str(tmp_path / 'tree')!r}); "
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # A small ingest looks for conflicts, which takes pandas; reading again does not.
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), again.stdout.strip()) == ("True", "False")
