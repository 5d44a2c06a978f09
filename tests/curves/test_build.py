from __future__ import annotations

import math

import numpy as np
import oracles
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from strategies import AXES, FEWER, METRICS, observation_rows, to_frame

from bigbench_meta.catalog.metrics import MetricCatalog, metric_catalog
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.schema import CURVE_KEY, OBSERVATIONS, conform
from bigbench_meta.curves.build import Curves, build_curves
from bigbench_meta.inference.score import score_curves

INF, NAN = math.inf, math.nan

# What the packaged catalog says of the metrics that the strategy draws; it knows no made-up one.
DIRECTIONS = {"bleurt": True, "brier_score": False}
POINT = ("x", "y", "spread", "stderr", "n_examples")


def observations(**columns):
    """Three models of one curve unless told otherwise."""
    return pd.DataFrame(
        {"benchmark": "b", "task": "t", "metric": "acc", "model_family": "f"}
        | {"model_name": ["L", "S", "M"], "total_params": [300, 100, 200]}
        | {"score": [0.9, 0.1, 0.2]}
        | columns
    )


def at_one_scale(scores, **columns):
    """As many models of one size on one curve."""
    names = [f"m{number}" for number in range(len(scores))]
    return observations(model_name=names, total_params=7, score=scores, **columns)


def key_of(row):
    return tuple(None if pd.isna(row[name]) else row[name] for name in CURVE_KEY)


def as_dicts(curves: Curves):
    """Return curves by key, as the oracle does."""
    result = {}
    for i, row in enumerate(curves.keys.to_dict("records")):
        part = slice(curves.offsets[i], curves.offsets[i + 1])
        columns = [getattr(curves, name)[part].tolist() for name in POINT]
        result[key_of(row)] = {
            "scale": row["scale"],
            "n_missing": row["n_missing"],
            "n_tied": row["n_tied"],
            "is_preferred": None if pd.isna(row["is_preferred"]) else row["is_preferred"],
            "higher_is_better": row["higher_is_better"],
            "direction": row["direction"],
            "points": [
                dict(zip(POINT, point, strict=True)) for point in zip(*columns, strict=True)
            ],
        }
    assert len(result) == len(curves)
    return result


def names_of(curves: Curves):
    return {
        key_of(row): curves.model_name[curves.offsets[i] : curves.offsets[i + 1]].tolist()
        for i, row in enumerate(curves.keys.to_dict("records"))
    }


def assert_curves(found, expected):
    assert list(found) == list(expected)
    for key, want in expected.items():
        got_points, want_points = found[key].pop("points"), want.pop("points")
        assert found[key] == want, key
        assert len(got_points) == len(want_points)
        for got, wanted in zip(got_points, want_points, strict=True):
            assert got == pytest.approx(wanted, rel=1e-12, abs=0, nan_ok=True), key


# --- Against the naive version ---


def test_catalog_says_what_the_oracle_is_told():
    keys = pd.DataFrame({"benchmark": "b", "task": "t", "metric": METRICS})
    found = metric_catalog().lookup(keys)["higher_is_better"]
    assert [None if pd.isna(up) else up for up in found] == [DIRECTIONS.get(m) for m in METRICS]


@FEWER
@given(observation_rows())
def test_default_axis_equals_oracle(rows):
    assert_curves(as_dicts(build_curves(to_frame(rows))), oracles.curves(rows, AXES, DIRECTIONS))


@FEWER
@given(observation_rows(), st.sampled_from(AXES))
def test_given_axis_equals_oracle(rows, axis):
    found = build_curves(to_frame(rows), scale=axis)
    assert_curves(as_dicts(found), oracles.curves(rows, (axis,), DIRECTIONS))


@FEWER
@given(st.data())
def test_order_of_rows_does_not_matter(data):
    # Exactly: observations at one x are added up in order of their scores.
    rows = data.draw(observation_rows())
    shuffled = data.draw(st.permutations(rows))
    straight, other = build_curves(to_frame(rows)), build_curves(to_frame(shuffled))
    np.testing.assert_equal(as_dicts(other), as_dicts(straight))
    assert names_of(other) == names_of(straight)


@FEWER
@given(observation_rows())
def test_structure(rows):
    curves = build_curves(to_frame(rows))
    assert curves.offsets[0] == 0
    assert curves.offsets[-1] == len(curves.x)
    assert all(len(getattr(curves, name)) == len(curves.x) for name in (*POINT, "model_name"))
    for i in range(len(curves)):
        x = curves.x[curves.offsets[i] : curves.offsets[i + 1]]
        assert np.all(np.diff(x) > 0)
    assert np.isfinite(curves.x).all()
    assert np.isfinite(curves.y).all()
    known = np.diff(curves.offsets) + curves.keys["n_tied"] + curves.keys["n_missing"]
    assert (known <= len(rows)).all()


# --- Ties ---


@pytest.mark.parametrize(
    ("scores", "mean", "spread"),
    [
        ([0.25, 0.75], 0.5, math.sqrt(0.125)),  # deviations 1/4, one degree of freedom
        ([3.0, 0.0, 0.0], 1.0, math.sqrt(3)),  # (4 + 1 + 1) / 2
        ([0.5], 0.5, NAN),
    ],
)
def test_ties_are_averaged_and_their_spread_kept(scores, mean, spread):
    curves = build_curves(at_one_scale(scores))
    assert curves.x.tolist() == [7]
    assert curves.y.tolist() == [mean]
    assert curves.spread[0] == pytest.approx(spread, rel=1e-15, nan_ok=True)
    assert curves.keys["n_tied"].tolist() == [len(scores) - 1]
    assert curves.keys["n_missing"].tolist() == [0]


@pytest.mark.parametrize("score", [0.1, 1 / 3, -0.7, 1e-300, 1e300])
@pytest.mark.parametrize("times", [2, 3, 7, 10])
def test_mean_of_equal_scores_is_that_score(score, times):
    # A plain mean does not do: (0.1 + 0.1 + 0.1) / 3 = 0.10000000000000002.
    curves = build_curves(at_one_scale([score] * times))
    assert curves.y.tolist() == [score]
    assert curves.spread.tolist() == [0]


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ([0.3, 0.4], 0.25),  # sqrt(0.09 + 0.16) / 2
        ([0.3], 0.3),
        ([0.3, None], NAN),
    ],
)
def test_standard_error_of_a_mean(stderr, expected):
    curves = build_curves(at_one_scale([0.5] * len(stderr), stderr=stderr))
    assert curves.stderr.tolist() == pytest.approx([expected], rel=1e-15, nan_ok=True)


@pytest.mark.parametrize(
    ("n_examples", "expected"),
    [([30, 20], 20), ([None, 20], 20), ([None, None], NAN)],
)
def test_fewest_examples_count(n_examples, expected):
    curves = build_curves(at_one_scale([0.1, 0.2], n_examples=pd.array(n_examples, dtype="Int64")))
    np.testing.assert_array_equal(curves.n_examples, [expected])


def test_replicates_of_a_model_are_ties():
    replicates = observations(
        model_name=["S", "S", "M"], replicate=["1", "2", None], total_params=[1, 1, 2],
        score=[0.25, 0.75, 0.5],
    )  # fmt: skip
    curves = build_curves(replicates)
    assert curves.y.tolist() == [0.5, 0.5]
    assert curves.model_name.tolist() == ["S", "M"]
    assert curves.keys["n_tied"].tolist() == [1]


def test_name_of_a_tied_point_does_not_depend_on_the_order_of_rows():
    # The lowest score first, then the first name.
    rows = at_one_scale([0.5, 0.25, 0.25])
    assert build_curves(rows).model_name.tolist() == ["m1"]
    assert build_curves(rows[::-1]).model_name.tolist() == ["m1"]


# --- Models left out ---


@pytest.mark.parametrize("axis", ["total_params", "train_flops"])
@pytest.mark.parametrize("x", [None, 0, -5])
def test_a_model_without_a_positive_scale_is_left_out(axis, x):
    column = pd.array([x, 100, 200], dtype="Int64" if axis == "total_params" else "Float64")
    curves = build_curves(observations(**{axis: column}), scale=axis)
    assert curves.model_name.tolist() == ["S", "M"]
    assert curves.keys["n_missing"].tolist() == [1]


@pytest.mark.parametrize("x", [NAN, INF, -INF])
def test_a_model_without_a_finite_scale_is_left_out(x):
    curves = build_curves(observations(train_flops=[x, 1e20, 2e20]), scale="train_flops")
    assert curves.x.tolist() == [1e20, 2e20]
    assert curves.keys["n_missing"].tolist() == [1]


@pytest.mark.parametrize("score", [None, NAN, INF, -INF])
def test_a_model_without_a_finite_score_is_left_out(score):
    curves = build_curves(observations(score=[0.9, score, 0.2]))
    assert curves.model_name.tolist() == ["M", "L"]
    assert curves.keys["n_missing"].tolist() == [1]


def test_models_are_counted_not_rows():
    rows = observations(model_name=["A", "A", "B"], score=[NAN, NAN, 0.5])
    assert build_curves(rows).keys["n_missing"].tolist() == [1]


def test_a_model_with_one_good_replicate_is_not_missing():
    rows = observations(model_name=["A", "A", "B"], total_params=[1, 1, 2], score=[NAN, 0.5, 0.7])
    curves = build_curves(rows)
    assert curves.keys["n_missing"].tolist() == [0]
    assert curves.keys["n_tied"].tolist() == [0]
    assert curves.y.tolist() == [0.5, 0.7]


def test_models_of_another_curve_are_not_missing():
    rows = pd.concat([observations(), observations(task="u", model_name=["X", "Y", "Z"])])
    assert build_curves(rows).keys["n_missing"].tolist() == [0, 0]


def test_a_curve_without_any_point_stays():
    curves = build_curves(observations(score=NAN), scale="total_params")
    assert len(curves) == 1
    assert curves.offsets.tolist() == [0, 0]
    assert curves.keys["n_missing"].tolist() == [3]


# --- The axis ---


@pytest.mark.parametrize(
    ("flop_matched", "non_embedding", "total", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], [1, 2, 3], "flop_matched_non_embedding_params"),
        ([1, 2, None], [1, 2, 3], [1, 2, 3], "non_embedding_params"),
        ([1, 2, None], [1, None, 3], [1, 2, 3], "total_params"),
        # None has all: the one that most have, and the first of those.
        ([1, None, None], [1, 2, None], [None, None, 3], "non_embedding_params"),
        ([1, None, None], [None, 2, 3], [1, 2, None], "non_embedding_params"),
        ([None, None, None], [None, None, None], [1, None, None], "total_params"),
        # What cannot be a scale does not count.
        ([1, 2, 0], [1, 2, -1], [1, 2, 3], "total_params"),
        ([None] * 3, [None] * 3, [None] * 3, "flop_matched_non_embedding_params"),
    ],
)
def test_default_axis(flop_matched, non_embedding, total, expected):
    columns = zip(AXES, (flop_matched, non_embedding, total), strict=True)
    rows = observations(**{axis: pd.array(x, dtype="Int64") for axis, x in columns})
    assert build_curves(rows).keys["scale"].tolist() == [expected]


def test_default_axis_is_chosen_curve_by_curve():
    rows = pd.concat([observations(non_embedding_params=[3, 1, 2]), observations(task="u")])
    assert build_curves(rows).keys["scale"].tolist() == ["non_embedding_params", "total_params"]


def test_the_axis_that_most_models_have_whatever_their_number_of_rows():
    # Three rows have total_params, but all of one model.
    rows = observations(
        model_name=["A", "B", "C", "C", "C"],
        non_embedding_params=pd.array([1, 2, None, None, None], dtype="Int64"),
        total_params=pd.array([None, None, 3, 3, 3], dtype="Int64"),
        score=[0.1, 0.2, 0.3, 0.3, 0.3],
    )
    assert build_curves(rows).keys["scale"].tolist() == ["non_embedding_params"]


@pytest.mark.parametrize("axis", ["train_flops", "train_tokens", "non_embedding_params"])
def test_axis_asked_for(axis):
    curves = build_curves(observations(**{axis: [1, 2, 3]}), scale=axis)
    assert curves.keys["scale"].tolist() == [axis]
    assert curves.model_name.tolist() == ["L", "S", "M"]


def test_a_loss_orders_models_from_high_to_low():
    rows = observations(pretraining_loss=[3.5, 2.5, 3.0], score=[0.1, 0.9, 0.2])
    curves = build_curves(rows, scale="pretraining_loss")
    assert curves.x.tolist() == [3.5, 3.0, 2.5]
    assert curves.y.tolist() == [0.1, 0.2, 0.9]
    assert (np.diff(curves.rising_x) > 0).all()
    # As along any other axis in that order.
    sized = observations(total_params=[1, 3, 2], score=[0.1, 0.9, 0.2])
    by_size = build_curves(sized)
    assert by_size.y.tolist() == curves.y.tolist()
    assert by_size.rising_x.tolist() == by_size.x.tolist() == [1, 2, 3]
    found, expected = (score_curves(one).iloc[0] for one in (curves, by_size))
    assert found["emergence_score"] == expected["emergence_score"]
    assert (found["scale_min"], found["scale_max"]) == (2.5, 3.5)
    assert (found["score_first"], found["score_last"]) == (0.1, 0.9)


@pytest.mark.parametrize("scale", ["params", "", "score"])
def test_no_axis(scale):
    with pytest.raises(InputError, match=rf"scale: '{scale}' is not a scale axis\n.*train_flops"):
        build_curves(observations(), scale=scale)


# --- The key ---


@pytest.mark.parametrize(
    "others",
    [
        {"shots": [None, 0, 3]},
        {"variant": [None, "standard", "chain_of_thought"]},
        {"subtask": [None, "t:a", "t:b"]},
        {"benchmark": ["b", "c", "d"]},
        {"task": ["t", "u", "v"]},
        {"metric": ["acc", "em", "Acc"]},
        {"model_family": ["f", "g", "h"]},
    ],
)
def test_what_tells_curves_apart(others):
    ((name, values),) = others.items()
    dtype = "Int64" if name == "shots" else "str"
    curves = build_curves(observations(**{name: pd.array(values, dtype=dtype)}))
    assert len(curves) == 3
    assert curves.y.tolist() == [0.9, 0.1, 0.2]
    filled = ["t" if name == "subtask" and value is None else value for value in values]
    assert [None if pd.isna(value) else value for value in curves.keys[name]] == filled


@pytest.mark.parametrize("column", ["replicate", "source"])
def test_what_does_not(column):
    assert len(build_curves(observations(**{column: ["1", "2", None]}))) == 1


def test_null_equals_null():
    shots = pd.array([None, None, None], dtype="Int64")
    assert len(build_curves(observations(shots=shots, variant=None))) == 1


def test_a_missing_subtask_is_the_task_itself():
    curves = build_curves(observations(subtask=[None, "t", None]))
    assert curves.keys["subtask"].tolist() == ["t"]


def test_curves_come_in_order_of_first_appearance():
    rows = pd.concat([observations(task=task) for task in ("z", "a", "m")])
    assert build_curves(rows).keys["task"].tolist() == ["z", "a", "m"]
    assert build_curves(rows[::-1]).keys["task"].tolist() == ["m", "a", "z"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([None, None, None], None),
        ([False, None, None], False),
        ([False, True, None], True),
        ([None, None, True], True),
    ],
)
def test_preferred_where_any_row_says_so(given, expected):
    curves = build_curves(observations(is_preferred=pd.array(given, dtype="boolean")))
    found = curves.keys["is_preferred"].iloc[0]
    assert (None if pd.isna(found) else found) == expected


# --- The direction ---


@pytest.mark.parametrize(
    ("metric", "low", "high", "up", "direction"),
    [
        ("acc", 0.0, 1.0, True, "catalog"),
        ("acc", 1.0, 0.0, True, "catalog"),  # the catalog goes first
        ("brier_score", 0.0, 1.0, False, "catalog"),
        ("made_up", 0.0, 1.0, True, "low_high"),
        ("made_up", 1.0, 0.0, False, "low_high"),
        ("made_up", 0.5, 0.5, True, "assumed"),
        ("made_up", None, 1.0, True, "assumed"),
        ("made_up", 1.0, None, True, "assumed"),
        ("made_up", INF, 0.0, True, "assumed"),
        ("made_up", None, None, True, "assumed"),
        ("difference_score", 1.0, 0.0, False, "low_high"),  # in the catalog, but without direction
    ],
)
def test_orientation(metric, low, high, up, direction):
    bounds = {"low_score": pd.array([low] * 3, dtype="Float64"), "high_score": high}
    curves = build_curves(observations(metric=metric, **bounds))
    assert curves.keys["higher_is_better"].tolist() == [up]
    assert curves.keys["direction"].tolist() == [direction]
    assert curves.y.tolist() == [0.1, 0.2, 0.9]
    assert curves.oriented.tolist() == ([0.1, 0.2, 0.9] if up else [-0.1, -0.2, -0.9])


def test_one_row_that_knows_is_enough():
    low, high = [None, 1.0, 5.0], [None, 0.0, None]
    curves = build_curves(observations(metric="made_up", low_score=low, high_score=high))
    assert curves.keys["direction"].tolist() == ["low_high"]
    assert curves.keys[["low_score", "high_score"]].to_numpy().tolist() == [[1.0, 0.0]]


def test_own_catalog(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "metric,metric_type,higher_is_better,step\nmade_up,linear,false,2\n", encoding="utf-8"
    )
    own = MetricCatalog.read(path)
    rows = pd.concat([observations(metric="made_up"), observations()])
    columns = ["metric_type", "step", "higher_is_better", "direction"]
    expected = [["linear", 2.0, False, "catalog"], ["unknown", NAN, True, "assumed"]]
    np.testing.assert_equal(
        build_curves(rows, catalog=own).keys[columns].to_numpy().tolist(), expected
    )
    both = build_curves(rows, catalog=metric_catalog().overridden_by(own)).keys
    assert both["metric_type"].tolist() == ["linear", "discontinuous"]


# --- Types that go in ---

CONVERSIONS = {
    "category": lambda frame: frame.astype(
        dict.fromkeys(("task", "metric", "model_name"), "category")
    ),
    "object": lambda frame: frame.astype(dict.fromkeys(("task", "metric", "model_name"), object)),
    "string": lambda frame: frame.astype(dict.fromkeys(("task", "metric", "model_name"), "string")),
    "floats": lambda frame: frame.astype({"total_params": float}),
    "nullable": lambda frame: frame.astype({"total_params": "Int64", "score": "Float64"}),
    "small": lambda frame: frame.astype({"total_params": "int16"}),
    "arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "conformed": conform,
    "index": lambda frame: frame.set_axis([5, 5, 5]),
    "chunks": lambda frame: pa.concat_tables([conform(frame[i : i + 1]) for i in range(3)]),
    "more columns": lambda frame: frame.assign(note="x", when=pd.Timestamp("2022-01-01")),
    "columns turned": lambda frame: frame[frame.columns[::-1]],
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_types_do_not_matter(name):
    frame = observations(task=["t", "u", "t"], shots=pd.array([None, 0, None], dtype="Int64"))
    converted = build_curves(CONVERSIONS[name](frame))
    expected = build_curves(frame)
    np.testing.assert_equal(as_dicts(converted), as_dicts(expected))
    assert converted.model_name.tolist() == expected.model_name.tolist()
    assert converted.keys.dtypes.equals(expected.keys.dtypes)


def test_observations_are_left_alone():
    rows = observations()
    build_curves(rows)
    pd.testing.assert_frame_equal(rows, observations())


@pytest.mark.parametrize("column", ["benchmark", "task", "metric", "model_name", "score"])
def test_no_observations(column):
    with pytest.raises(SchemaError, match=rf"observations: missing column {column}(\n|$)"):
        build_curves(observations().drop(columns=column))


# --- Empty, selected, as points ---


@pytest.mark.parametrize("empty", [OBSERVATIONS.empty(), observations().iloc[:0]])
def test_no_rows(empty):
    curves = build_curves(empty)
    assert len(curves) == 0
    assert curves.offsets.tolist() == [0]
    assert [len(getattr(curves, name)) for name in POINT] == [0] * 5
    assert len(curves.points()) == len(curves.oriented) == 0
    assert len(curves[np.zeros(0, bool)]) == 0
    assert curves.keys.columns.equals(build_curves(observations()).keys.columns)


@FEWER
@given(observation_rows(), st.data())
def test_select(rows, data):
    curves = build_curves(to_frame(rows))
    mask = data.draw(st.lists(st.booleans(), min_size=len(curves), max_size=len(curves)))
    chosen = curves[np.array(mask, dtype=bool)]
    everything = as_dicts(curves)
    kept = [key for key, wanted in zip(everything, mask, strict=True) if wanted]
    np.testing.assert_equal(as_dicts(chosen), {key: everything[key] for key in kept})
    assert chosen.keys.index.tolist() == list(range(len(kept)))


def test_select_curves_of_different_lengths():
    rows = pd.concat([observations(), observations(task="u")[:1], observations(task="v")[1:]])
    chosen = build_curves(rows)[np.array([False, True, True])]
    assert chosen.keys["task"].tolist() == ["u", "v"]
    assert chosen.offsets.tolist() == [0, 1, 3]
    assert chosen.model_name.tolist() == ["L", "S", "M"]
    assert chosen.y.tolist() == [0.9, 0.1, 0.2]


def test_select_by_a_series_goes_by_position():
    curves = build_curves(pd.concat([observations(), observations(task="u")]))
    mask = curves.keys["task"] == "u"
    assert curves[mask.sort_index(ascending=False)[::-1]].keys["task"].tolist() == ["u"]


@pytest.mark.parametrize("mask", [[True], [True, False, True], [[True, False]], True])
def test_mask_of_another_shape(mask):
    curves = build_curves(pd.concat([observations(), observations(task="u")]))
    with pytest.raises(InputError, match=r"mask: shape \(.*\), not \(2,\)"):
        curves[np.array(mask)]


def several():
    """Four curves of two tasks, under two metrics and with two numbers of shots."""
    return build_curves(
        pd.concat(
            [observations(task="t", metric=metric, shots=shots) for metric in ("acc", "bleu")
             for shots in (0, 5)] + [observations(task="Üb<er", shots=0)]
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("which", "places"),
    [
        (slice(None, 2), [0, 1]), (slice(None, None, -2), [4, 2, 0]), (3, [3]), (-1, [4]),
        ([4, 0, 0], [4, 0, 0]), ([], []), (np.array([1, -1]), [1, 4]), (np.int8(2), [2]),
        (pd.Series([True, None, False, None, True], dtype="boolean"), [0, 4]),
        (pd.Series([2, 1], index=[7, 8]), [2, 1]), ([True, False, False, False, True], [0, 4]),
    ],
)  # fmt: skip
def test_curves_by_position(which, places):
    curves = several()
    chosen = curves[which]
    assert isinstance(chosen, Curves)
    for name in ("x", "y", "model_name"):
        parts = [getattr(curves, name)[slice(*curves.offsets[i : i + 2])] for i in places]
        assert getattr(chosen, name).tolist() == [value for part in parts for value in part]
    pd.testing.assert_frame_equal(chosen.keys, curves.keys.iloc[places].reset_index(drop=True))


def test_curves_one_by_one():
    assert [one.keys["shots"].tolist() for one in several()] == [[0], [5], [0], [5], [0]]


@pytest.mark.parametrize("which", ["t", 1.5, [0.5], [[0, 1]], None, {"a": 1}])
def test_no_position(which):
    with pytest.raises(
        InputError, match=r"curves\[...\]: neither a mask nor positions: .*\nHint: .sel"
    ):
        several()[which]


@pytest.mark.parametrize(("place", "named"), [(5, 5), (-6, -6), ([0, 9], 9)])
def test_a_position_that_is_not_there(place, named):
    with pytest.raises(IndexError, match=f"position {named} of 5 curves"):
        several()[place]


@pytest.mark.parametrize(
    ("names", "places"),
    [
        ({}, [0, 1, 2, 3, 4]), ({"task": "t", "shots": 5}, [1, 3]), ({"metric": ["bleu"]}, [2, 3]),
        ({"task": ("Üb<er", "t"), "metric": {"acc"}}, [0, 1, 4]),
        ({"shots": [0, 5]}, [0, 1, 2, 3, 4]),
        ({"metric_type": "linear", "benchmark": "b", "model_family": "f"}, []), ({"task": []}, []),
        ({"subtask": "t", "shots": np.int64(0)}, [0, 2]),
    ],
)  # fmt: skip
def test_curves_by_name(names, places):
    curves = several()
    if "metric_type" in names:
        names["metric_type"] = curves.keys["metric_type"][2]
        places = [2, 3]
    pd.testing.assert_frame_equal(
        curves.sel(**names).keys, curves.keys.iloc[places].reset_index(drop=True)
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"task": "T"}, "task: no curve of 'T'\nHint: did you mean 't'?"),
        ({"metric": ["bleu", "BLUE"]}, "metric: no curve of 'BLUE'\nHint: did you mean 'bleu'?"),
        ({"shots": "0"}, "shots: no curve of '0'\nHint: did you mean '0'?"),
        ({"shots": 7}, "shots: no curve of 7\nHint: there are: 0, 5"),
        ({"variant": "cot"}, "variant: no curve of 'cot'\nHint: there are: none"),
        ({"task": "Üb<er", "shots": [5]},
         "shots: no curve of 'Üb<er' has 5\nHint: these have: 0"),
    ],
)  # fmt: skip
def test_names_that_no_curve_has(names, message):
    with pytest.raises(InputError) as caught:
        several().sel(**names)
    assert str(caught.value) == message


def test_intervals_of_points():
    """Of counts, of a standard error, or why there is none."""
    rows = observations(
        metric=["exact_str_match"] * 3, n_examples=[100, 100, None], stderr=[None, 0.01, 0.02],
        score=[0.0, 0.5, 0.3],
    )  # fmt: skip
    points = build_curves(pd.concat([rows, observations(metric="?", task="u", score=[3.0, 1, 2])]))
    found = points.points(confidence=0.9)
    assert found["interval"].tolist() == ["exact", "normal", "exact"] + ["not_a_proportion"] * 3
    exact = binomtest(50, 100).proportion_ci(0.9)
    assert found["low"].tolist() == pytest.approx([exact.low, 0.3 - 1.6449 * 0.02, 0] + [NAN] * 3,
                                                  abs=1e-5, nan_ok=True)  # fmt: skip
    none = binomtest(0, 100).proportion_ci(0.9)
    assert found["high"].tolist() == pytest.approx(
        [exact.high, 0.3 + 1.6449 * 0.02, none.high] + [NAN] * 3, abs=1e-5, nan_ok=True
    )


@pytest.mark.parametrize(
    ("columns", "interval"),
    [
        ({"metric": "exact_str_match"}, "n_unknown"),
        ({"metric": "bleurt", "stderr": 2.0}, "normal"),
        ({"metric": "acc", "score": [90.0, 10, 20], "n_examples": 10}, "score_out_of_range"),
        ({"metric": "acc", "score": [90.0, 10, 20], "stderr": 2.0}, "normal"),
        ({"metric": "exact_str_match", "stderr": 0.0}, "n_unknown"),
    ],
)  # fmt: skip
def test_where_an_interval_comes_from(columns, interval):
    points = build_curves(observations(**columns)).points()
    assert set(points["interval"]) == {interval}
    assert points[["low", "high"]].notna().all(axis=None) == (interval == "normal")
    with pytest.raises(InputError, match="confidence"):
        build_curves(observations(**columns)).points(confidence=1.5)


def test_points():
    rows = observations(
        task=["t", "t", "u"], total_params=[2, 1, 5], n_examples=pd.array([10, None, 7], "Int64"),
        stderr=[0.1, 0.2, None],
    )  # fmt: skip
    points = build_curves(rows).points()
    columns = ["curve", "task", "scale", "model_name", "x", "score", "stderr", "n_examples"]
    assert list(points.columns) == [
        *CURVE_KEY, "scale", "curve", "model_name", "x", "score", "spread", "stderr", "n_examples",
        "low", "high", "interval",
    ]  # fmt: skip
    expected = [
        [0, "t", "total_params", "S", 1.0, 0.1, 0.2, None],
        [0, "t", "total_params", "L", 2.0, 0.9, 0.1, 10],
        [1, "u", "total_params", "M", 5.0, 0.2, None, 7],
    ]
    found = points[columns].astype(object)
    assert found.where(found.notna(), None).to_numpy().tolist() == expected
    assert str(points["n_examples"].dtype) == "Int64"


@FEWER
@given(observation_rows())
def test_points_are_the_arrays(rows):
    curves = build_curves(to_frame(rows))
    points = curves.points()
    np.testing.assert_array_equal(points["x"], curves.x)
    np.testing.assert_array_equal(points["score"], curves.y)
    np.testing.assert_array_equal(points["curve"], curves.ragged.curve)
    tasks = curves.keys["task"].astype(object).to_numpy()
    assert points["task"].tolist() == tasks[curves.ragged.curve].tolist()


@FEWER
@given(observation_rows())
def test_observations_that_are_not_averaged_are_points_of_their_own(rows):
    averaged, apart = build_curves(to_frame(rows)), build_curves(to_frame(rows), average=False)
    assert not apart.keys["n_tied"].any()
    assert len(apart.x) == len(averaged.x) + averaged.keys["n_tied"].sum()
    assert np.isnan(apart.spread).all()
    means = pd.DataFrame({"curve": apart.ragged.curve, "x": apart.x, "y": apart.y})
    means = means.groupby(["curve", "x"], sort=False)["y"].mean()
    np.testing.assert_allclose(means, averaged.y, rtol=1e-9, atol=1e-12)
