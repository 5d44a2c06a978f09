from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from strategies import FEWER, observation_rows
from strategies import to_frame as frame_of

from bigbench_meta.core.errors import SchemaError
from bigbench_meta.core.schema import (
    CURVE_KEY,
    CURVE_SCORES,
    OBSERVATIONS,
    PROBLEMS,
    SAMPLES,
    SCALE_AXES,
    conform,
    to_frame,
)

TABLES = (OBSERVATIONS, PROBLEMS, CURVE_SCORES)
TEXT = pa.dictionary(pa.int32(), pa.string())
REQUIRED = ("benchmark", "task", "metric", "model_family", "model_name", "score")


def observations(**columns):
    return pd.DataFrame(
        {"benchmark": "b", "task": ["t", "u", "t"], "metric": "acc", "model_family": "f"}
        | {"model_name": ["S", "M", "L"], "score": [0.25, 0.5, 1.0]}
        | columns
    )


def conformed(name, values):
    """Return what becomes of values in a column of observations, None for a null."""
    return conform(observations(**{name: values}))[name].to_pylist()


# --- The declarations ---


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_declared_in_full(table):
    assert len(set(table.names)) == len(table.names)
    assert all(column.name and column.meaning for column in table.columns)
    assert table.arrow.names == table.names
    assert table.empty().schema == table.arrow
    assert table.empty().num_rows == 0
    # A number is a number of something, names and truths have no unit.
    for column in table.columns:
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            assert column.unit, column.name


def test_key_and_axes_are_columns():
    assert set(CURVE_KEY) < set(OBSERVATIONS.names)
    assert set(CURVE_KEY) < set(CURVE_SCORES.names)
    assert set(SCALE_AXES) < set(OBSERVATIONS.names)
    assert tuple(OBSERVATIONS.required) == REQUIRED


# --- Columns ---


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_required_column(name):
    with pytest.raises(SchemaError, match=rf"^observations: missing column {name}(\n|$)"):
        conform(observations().drop(columns=name))


def test_all_missing_columns_are_named():
    with pytest.raises(SchemaError, match="missing column benchmark, score"):
        conform(observations().drop(columns=["score", "benchmark"]))


@pytest.mark.parametrize("table", [PROBLEMS, CURVE_SCORES], ids=lambda table: table.name)
def test_missing_column_of_another_table(table):
    with pytest.raises(SchemaError, match=rf"^{table.name}: missing column {table.required[0]}"):
        conform(pd.DataFrame({"unrelated": [1]}), table)


def test_optional_columns_become_null():
    table = conform(observations())
    assert table.schema == OBSERVATIONS.arrow
    absent = [name for name in OBSERVATIONS.names if name not in (*REQUIRED, "subtask")]
    assert all(table[name].null_count == 3 for name in absent)


def test_further_columns_are_left_out():
    assert conform(observations(extra=[1, 2, 3])).schema == OBSERVATIONS.arrow


def test_further_columns_may_hold_anything():
    assert conform(observations(extra=[1, "a", {}])).schema == OBSERVATIONS.arrow


def test_the_index_is_no_column():
    indexed = observations().set_index(pd.Index([9, 8, 7], name="shots"))
    assert conform(indexed)["shots"].null_count == 3


def test_column_given_twice_in_arrow():
    table = pa.Table.from_pandas(observations(), preserve_index=False)
    with pytest.raises(SchemaError, match=r"^observations: column given twice: task"):
        conform(table.append_column("task", table["task"]))


def test_column_given_twice_in_pandas():
    twice = pd.concat([observations(), observations()[["task"]]], axis=1)
    with pytest.raises(SchemaError, match="column given twice: task"):
        conform(twice)


@pytest.mark.parametrize("subtask", [None, ["t", None, "t"], [None, None, None]])
def test_a_missing_subtask_is_the_task(subtask):
    frame = observations() if subtask is None else observations(subtask=subtask)
    assert conform(frame)["subtask"].to_pylist() == ["t", "u", "t"]


def test_a_given_subtask_stays():
    assert conformed("subtask", ["t:a", None, "t"]) == ["t:a", "u", "t"]


# --- Values ---


@pytest.mark.parametrize("name", ["benchmark", "task", "metric", "model_family", "model_name"])
@pytest.mark.parametrize(
    ("values", "row"),
    [(["x", None, None], 1), ([np.nan, "x", "y"], 0), ([None] * 3, 0), (["x", "y", pd.NA], 2)],
)
def test_null_in_a_required_column(name, values, row):
    with pytest.raises(SchemaError, match=rf"^observations.{name}: no value in row {row}"):
        conform(observations(**{name: values}))


def test_null_in_a_category():
    values = pd.Categorical(["x", "y", None])
    with pytest.raises(SchemaError, match=r"observations.task: no value in row 2"):
        conform(observations(task=values))


def test_null_within_a_dictionary():
    table = pa.Table.from_pandas(observations(), preserve_index=False)
    spelled = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["t", None]))
    table = table.set_column(table.column_names.index("task"), "task", spelled)
    with pytest.raises(SchemaError, match=r"observations.task: no value in row 1"):
        conform(table)


@pytest.mark.parametrize("score", [None, math.nan, pd.NA])
def test_a_score_may_be_missing(score):
    found = conformed("score", [0.5, score, 1.0])
    assert found[1] is None or math.isnan(found[1])
    assert (found[0], found[2]) == (0.5, 1.0)


def test_not_a_number_as_whole_number_is_null_in_arrow():
    table = pa.Table.from_pandas(observations(), preserve_index=False)
    found = conform(table.append_column("shots", pa.array([1.0, math.nan, None])))["shots"]
    assert found.to_pylist() == [1, None, None]


def test_not_a_number_stays_in_arrow():
    table = pa.Table.from_pandas(observations(), preserve_index=False)
    scores = pa.array([math.nan, None, 1.0])
    found = conform(table.set_column(table.column_names.index("score"), "score", scores))["score"]
    assert math.isnan(found[0].as_py())
    assert found.null_count == 1


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("total_params", [1.0, 2.0, 3.0], [1, 2, 3]),
        ("total_params", [1.0, math.nan, 3.0], [1, None, 3]),
        ("total_params", pd.array([2**53 + 1, None, 3], dtype="Int64"), [2**53 + 1, None, 3]),
        ("total_params", np.array([1, 2, 3], dtype="uint8"), [1, 2, 3]),
        ("total_params", ["1", "2", None], [1, 2, None]),
        ("shots", pd.Categorical([0, 3, None]), [0, 3, None]),
        ("score", [1, 2, 3], [1.0, 2.0, 3.0]),
        ("score", ["0.5", "1e-3", "2"], [0.5, 0.001, 2.0]),
        ("score", np.array([0.5, 0.25, 2], dtype="float32"), [0.5, 0.25, 2.0]),
        ("score", [True, False, True], [1.0, 0.0, 1.0]),
        ("train_flops", [1e23, math.inf, 3e23], [1e23, math.inf, 3e23]),
        ("variant", ["x", None, "y"], ["x", None, "y"]),
        ("variant", pd.Categorical(["x", None, "y"]), ["x", None, "y"]),
        ("variant", pd.Categorical(["y", "x", "y"], ordered=True), ["y", "x", "y"]),
        ("variant", [1, 2, 1], ["1", "2", "1"]),
        ("variant", pd.Categorical([1, 2, 1]), ["1", "2", "1"]),
        ("is_preferred", [True, None, False], [True, None, False]),
        ("is_preferred", ["true", None, "false"], [True, None, False]),
    ],
)
def test_values_are_cast_where_nothing_is_lost(name, values, expected):
    found = conformed(name, values)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("total_params", [1.0, 1.5, 3.0], "value 1.5 in row 1 does not fit int64"),
        ("total_params", [1.0, math.nan, 2.5], "value 2.5 in row 2 does not fit int64"),
        ("total_params", [math.inf, 1.0, 2.0], "value inf in row 0 does not fit int64"),
        ("total_params", [1.0, 2.0, 3e20], r"value 3e\+20 in row 2 does not fit int64"),
        ("total_params", ["1", "2.5", "3"], "value '2.5' in row 1 does not fit int64"),
        ("n_examples", ["many", "2", "3"], "value 'many' in row 0 does not fit int64"),
        ("score", ["0.5", "0.6", "n/a"], "value 'n/a' in row 2 does not fit double"),
        ("score", [0, 2**53 + 1, 1], "value 9007199254740993 in row 1 does not fit double"),
        ("stderr", pd.Categorical(["0.1", "x", "0.1"]), "value 'x' in row 1 does not fit double"),
        ("is_preferred", ["true", "maybe", None], "value 'maybe' in row 1 does not fit bool"),
        ("score", pd.to_datetime(["2022-01-01"] * 3), "in row 0 does not fit double"),
    ],
)
def test_value_that_does_not_fit(name, values, message):
    with pytest.raises(SchemaError, match=rf"^observations.{name}: .*{message}\n.*{name} is"):
        conform(observations(**{name: values}))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("score", [0.5, "n/a", 1.0], "value 'n/a' in row 1 does not fit double"),
        ("score", [[1], [2], [3]], r"value \[1\] in row 0 does not fit double"),
        ("total_params", [1, 2.0, 3.5], "value 3.5 in row 2 does not fit int64"),
        ("task", ["t", "u", 3], "value 3 in row 2 does not fit"),
        ("variant", [{}, "x", "y"], "value {} in row 0 does not fit"),
        ("total_params", [1, 2**70, 3], f"value {2**70} in row 1 does not fit int64"),
    ],
)
def test_mixed_values_that_do_not_fit(name, values, message):
    with pytest.raises(SchemaError, match=rf"^observations.{name}: {message}"):
        conform(observations(**{name: pd.Series(values, dtype=object)}))


def test_row_is_counted_over_chunks():
    good = pa.Table.from_pandas(observations(total_params=[1.0, 2.0, 3.0]), preserve_index=False)
    bad = pa.Table.from_pandas(observations(total_params=[1.0, 2.5, 3.0]), preserve_index=False)
    with pytest.raises(SchemaError, match=r"total_params: value 2.5 in row 4"):
        conform(pa.concat_tables([good, bad]))


@pytest.mark.parametrize("schema", TABLES, ids=lambda table: table.name)
def test_empty_conforms(schema):
    assert conform(schema.empty(), schema) == schema.empty()
    assert conform(to_frame(schema.empty()), schema).schema == schema.arrow


# --- Frames ---


@FEWER
@given(observation_rows())
def test_there_and_back(rows):
    table = conform(frame_of(rows))
    frame = to_frame(table)
    again = conform(frame)
    # A null score comes back as a null: pandas has NaN for both.
    assert again.to_pylist() == [
        row | {"score": None if row["score"] != row["score"] else row["score"]}
        for row in table.to_pylist()
    ]
    pd.testing.assert_frame_equal(to_frame(again), frame)


@FEWER
@given(observation_rows())
def test_conform_keeps_what_was_given(rows):
    found = conform(frame_of(rows)).to_pylist()
    assert len(found) == len(rows)
    for row, given_row in zip(found, rows, strict=True):
        for name, value in given_row.items():
            if name == "subtask" and value is None:
                assert row["subtask"] == given_row["task"]
            elif isinstance(value, float) and math.isnan(value):
                assert row[name] is None
            else:
                assert row[name] == value


def test_missing_whole_numbers_stay_missing():
    shots = pd.array([3, None, 2**53 + 1], dtype="Int64")
    frame = to_frame(conform(observations(shots=shots, is_preferred=[True, None, False])))
    assert str(frame["shots"].dtype) == "Int64"
    assert frame["shots"].isna().tolist() == [False, True, False]
    assert frame["shots"].iloc[2] == 2**53 + 1
    assert str(frame["is_preferred"].dtype) == "boolean"
    assert frame["is_preferred"].isna().tolist() == [False, True, False]
    assert isinstance(frame["task"].dtype, pd.CategoricalDtype)
    assert frame["score"].dtype == np.float64
    assert frame.index.tolist() == [0, 1, 2]


def test_text_columns_are_encoded():
    table = conform(observations())
    assert [table.schema.field(name).type for name in CURVE_KEY if name != "shots"] == [TEXT] * 6


def test_chunks_with_dictionaries_of_their_own():
    tables = [conform(observations(variant=values)) for values in (list("abc"), list("cab"))]
    frame = to_frame(pa.concat_tables(tables))
    assert frame["variant"].tolist() == list("abccab")


def test_a_frame_of_samples_is_a_table_of_samples_again():
    shared = {"benchmark": "b", "task": "t", "model_family": "f", "model_name": "m"}
    rows = [
        shared | {"example_id": str(place), "targets": targets, "metrics": metrics}
        for place, (targets, metrics) in enumerate(
            [(["a", "b"], [("x", 1.0)]), (None, []), (["c"], None)]
        )
    ]
    fields = [field for field in SAMPLES.arrow if field.name in rows[0]]
    whole = conform(pa.Table.from_pylist(rows, schema=pa.schema(fields)), SAMPLES)
    assert conform(to_frame(whole), SAMPLES).to_pylist() == whole.to_pylist()
