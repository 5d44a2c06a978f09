from __future__ import annotations

import csv
import math

import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER, observation_rows, to_frame

from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.catalog.published import data_path
from bigbench_meta.core.schema import CURVE_SCORES, conform
from bigbench_meta.curves.build import build_curves
from bigbench_meta.inference.score import score_curves
from bigbench_meta.readers import load_embedded, read_results

INF, NAN = math.inf, math.nan
SCORED = (
    "n_scales", "emergence_score", "linearity", "relative_sharpness", "resolution_limited_score",
    "status",
)  # fmt: skip


def observations(scores, **columns):
    """One model a score, of sizes 1, 2, 3 and so on."""
    sizes = range(1, len(scores) + 1)
    return pd.DataFrame(
        {"benchmark": "b", "task": "t", "metric": "exact_str_match", "model_family": "f"}
        | {"model_name": [f"m{size}" for size in sizes], "total_params": sizes, "score": scores}
        | columns
    )


def scored(observations, **options):
    return score_curves(build_curves(observations), **options)


def one(frame):
    """Return the single row of a frame as a dict."""
    (row,) = frame.to_dict("records")
    return row


@pytest.fixture(scope="module")
def embedded():
    return scored(load_embedded())


# --- Against the naive version ---


def assert_scored(curves, scores, **options):
    resolution = scores["resolution"].to_numpy()
    found = scores[list(SCORED)].to_dict("records")
    for i, row in enumerate(found):
        y = curves.oriented[curves.offsets[i] : curves.offsets[i + 1]].tolist()
        expected = oracles.score(y, resolution=resolution[i], **options)
        expected = {name: expected[name] for name in SCORED}
        if curves.keys["mixed_units"].iloc[i]:
            assert y == []
            expected["status"] = "mixed_units"
        assert row.pop("status") == expected.pop("status")
        assert row == pytest.approx(expected, rel=1e-12, abs=0, nan_ok=True)


@FEWER
@given(observation_rows(), st.integers(1, 5))
def test_score_curves_equals_oracle(rows, min_scales):
    curves = build_curves(to_frame(rows))
    scores = score_curves(curves, min_scales=min_scales)
    assert len(scores) == len(curves)
    assert_scored(curves, scores, min_scales=min_scales)


@FEWER
@given(observation_rows())
def test_ends_and_extremes_are_those_of_the_points(rows):
    curves = build_curves(to_frame(rows))
    points = curves.points().groupby("curve")
    expected = pd.DataFrame(
        {
            "scale_min": points["x"].min(),
            "scale_max": points["x"].max(),
            "score_first": points["score"].first(),
            "score_last": points["score"].last(),
            "score_min": points["score"].min(),
            "score_max": points["score"].max(),
            "n_examples_min": points["n_examples"].min().astype("float64"),
        }
    ).reindex(range(len(curves)))
    found = score_curves(curves)[expected.columns].astype({"n_examples_min": "float64"})
    np.testing.assert_array_equal(found, expected)


def test_real_results_equal_oracle(shared):
    # BIG-G on 41 tasks, 12 sizes: everything but the reader against plain Python.
    observations, _ = read_results(shared / "samples" / "bigbench_results")
    curves = build_curves(observations)
    scores = score_curves(curves)
    assert scores["task"].nunique() == 41
    assert scores["n_scales"].max() == 12
    assert_scored(curves, scores)


# --- Columns ---


@FEWER
@given(observation_rows())
def test_columns_are_the_declared_ones(rows):
    scores = scored(to_frame(rows))
    assert list(scores.columns) == CURVE_SCORES.names
    assert conform(scores, CURVE_SCORES).num_rows == len(scores)


def test_no_curves():
    scores = scored(observations([1.0]).iloc[:0])
    assert list(scores.columns) == CURVE_SCORES.names
    assert len(scores) == 0


def test_a_curve_without_points_stands_among_others():
    tasks = {"t": [0.0, 1, 3], "u": [NAN, NAN], "v": [2.0, 5]}
    frames = [observations(y, task=task, metric="made_up") for task, y in tasks.items()]
    scores = scored(pd.concat(frames))
    assert scores["n_scales"].tolist() == [3, 0, 2]
    assert scores["n_missing"].tolist() == [0, 2, 0]
    assert scores["status"].tolist() == ["ok", "too_few_scales", "too_few_scales"]
    np.testing.assert_array_equal(scores["score_first"], [0, NAN, 2])
    np.testing.assert_array_equal(scores["score_last"], [3, NAN, 5])
    np.testing.assert_array_equal(scores["scale_max"], [3, NAN, 2])


def test_a_falling_curve_of_errors_rises():
    rows = observations([9 / 16, 6 / 16, 4 / 16, 1 / 16], metric="brier_score")
    row = one(scored(rows))
    # Upwards -9, -6, -4, -1 sixteenths: steps 3, 2, 3.
    assert (row["emergence_score"], row["orientation"], row["direction"]) == (
        8 / 3,
        "down",
        "catalog",
    )
    in_the_file = ("score_first", "score_last", "score_min", "score_max")
    assert [16 * row[name] for name in in_the_file] == [9, 1, 1, 9]


@pytest.mark.parametrize(
    ("metric", "bounds", "sign", "orientation", "direction"),
    [
        ("made_up", {}, 1, "up", "assumed"),
        ("made_up", {"low_score": 0.0, "high_score": 1.0}, 1, "up", "low_high"),
        ("made_up", {"low_score": 1.0, "high_score": 0.0}, -1, "down", "low_high"),
        ("brier_score", {}, -1, "down", "catalog"),
    ],
)
def test_orientation(metric, bounds, sign, orientation, direction):
    scores = [0.0, 1 / 16, 3 / 16, 13 / 16]
    row = one(scored(observations(scores, metric=metric, **bounds)))
    assert row["emergence_score"] == sign * 6.5
    assert (row["orientation"], row["direction"]) == (orientation, direction)


# --- Resolution: the catalog's step over the smallest test set ---


@pytest.mark.parametrize(
    ("metric", "n_examples", "resolution"),
    [
        ("exact_str_match", [200, 100, 400, 200], 0.01),  # a proportion moves by 1 / n
        ("exact_str_match", [200, None, 400, 200], 0.005),
        ("exact_str_match", None, NAN),
        ("made_up", 100, NAN),  # no step in the catalog
        ("brier_score", 100, 0.02),  # from 0 to 2
    ],
)
def test_resolution(metric, n_examples, resolution):
    counts = pd.array([n_examples] * 4 if not isinstance(n_examples, list) else n_examples, "Int64")
    row = one(scored(observations([0.0, 0, 0, 1], metric=metric, n_examples=counts)))
    assert row["resolution"] == pytest.approx(resolution, rel=1e-15, nan_ok=True)
    sign = -1 if row["orientation"] == "down" else 1
    assert row["emergence_score"] == sign * INF
    limited = sign / resolution
    assert row["resolution_limited_score"] == pytest.approx(limited, rel=1e-15, nan_ok=True)


def test_no_examples_at_all_is_no_resolution():
    row = one(scored(observations([0.0, 1, 3, 13], n_examples=0)))
    assert math.isnan(row["resolution"])
    assert math.isnan(row["resolution_limited_score"])


def test_resolution_of_an_own_catalog(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("metric,metric_type,higher_is_better,step\nm,linear,true,50\n", "utf-8")
    rows = observations([0.0, 0, 0, 1], metric="m", n_examples=100)
    row = one(score_curves(build_curves(rows, catalog=MetricCatalog.read(path))))
    assert (row["metric_type"], row["resolution"], row["resolution_limited_score"]) == (
        "linear", 0.5, 2.0,
    )  # fmt: skip


# --- Reference numbers: GPT-3 on 8 sizes, Brown et al. 2020, Table H.1 (data/gpt3_table_h1.csv) ---

REFERENCE = [
    # arithmetic 3D+, 50 shots: .15 .45 .30 .55 .75 .90 8.40 80.4 percent.
    # Steps .30 .15 .25 .20 .15 7.5 72, sorted .15 .15 .20 .25 .30 7.5 72: median .25.
    # E = (80.4 - .15) / .25 = 80.25 / .25.
    ("arithmetic 3D+", "acc", 50, 321.0, "ok"),
    # arithmetic 3D+, zero-shot: .10 .10 .05 .10 .10 .25 1.40 34.2.
    # Steps 0 .05 .05 0 .15 1.15 32.8, sorted 0 0 .05 .05 .15 1.15 32.8: median .05.
    # E = (34.2 - .05) / .05 = 34.15 / .05.
    ("arithmetic 3D+", "acc", 0, 683.0, "ok"),
    # LAMBADA perplexity, 1 shot: 165 11.6 8.29 6.46 5.53 4.61 4.06 3.35, lower is better.
    # Steps 153.4 3.31 1.83 .93 .92 .55 .71, sorted .55 .71 .92 .93 1.83 3.31 153.4: median .93.
    # E = (165 - 3.35) / .93 = 161.65 / .93.
    ("LAMBADA", "ppl", 1, 161.65 / 0.93, "ok"),
    # LAMBADA perplexity, 15 shots: 165 27.6 6.63 7.45 2.89 2.56 2.56 1.92.
    # Steps 137.4 20.97 .82 4.56 .33 0 .64, sorted 0 .33 .64 .82 4.56 20.97 137.4: median .82.
    # E = (165 - 1.92) / .82 = 163.08 / .82.
    ("LAMBADA", "ppl", 15, 163.08 / 0.82, "ok"),
    # arithmetic 5D+, zero-shot: 0 seven times, then .65. Six of seven steps are 0.
    ("arithmetic 5D+", "acc", 0, INF, "zero_median"),
    # arithmetic 5D+, 50 shots: 0 six times, .05, 9.30. Five of seven steps are 0.
    ("arithmetic 5D+", "acc", 50, INF, "zero_median"),
    # HellaSwag, zero-shot: 33.7 43.6 51.0 54.7 62.8 67.4 70.9 78.9.
    # Steps 9.9 7.4 3.7 8.1 4.6 3.5 8.0, sorted 3.5 3.7 4.6 7.4 8.0 8.1 9.9: median 7.4.
    # E = (78.9 - 33.7) / 7.4 = 45.2 / 7.4, below the 7 of a line.
    ("HellaSwag", "acc", 0, 45.2 / 7.4, "ok"),
]


@pytest.mark.parametrize(("task", "metric", "shots", "expected", "status"), REFERENCE)
def test_published_curve(embedded, task, metric, shots, expected, status):
    chosen = (embedded["task"] == task) & (embedded["metric"] == metric)
    row = one(embedded[chosen & (embedded["shots"] == shots)])
    assert row["emergence_score"] == pytest.approx(expected, rel=1e-11)
    assert row["status"] == status
    assert row["n_scales"] == 8
    assert row["relative_sharpness"] == pytest.approx(expected / 7, rel=1e-11)


def test_rounded_as_published(embedded):
    ppl = embedded[(embedded["metric"] == "ppl") & (embedded["shots"] == 1)]
    assert round(one(ppl)["emergence_score"], 3) == 173.817


def test_published_curve_limited_by_its_resolution(embedded):
    # arithmetic 5D+, zero-shot: one of 2,000 examples is 100 / 2000 = .05 percent.
    # (.65 - 0) / .05 = 13: thirteen questions, and the infinite score is gone.
    row = one(embedded[(embedded["task"] == "arithmetic 5D+") & (embedded["shots"] == 0)])
    assert row["resolution"] == pytest.approx(0.05, rel=1e-15)
    assert row["resolution_limited_score"] == pytest.approx(13, rel=1e-12)


def test_all_published_curves(embedded):
    # The whole table once more without the package: read as text, grouped by a dict.
    with data_path("gpt3_table_h1.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    curves = {}
    for row in rows:
        key = (row["task"], row["metric"], row["shots"])
        curves.setdefault(key, []).append((int(row["total_params"]), float(row["score"])))
    found = {}
    for row in embedded.to_dict("records"):
        shots = "" if pd.isna(row["shots"]) else str(row["shots"])
        found[row["task"], row["metric"], shots] = row["emergence_score"]
    assert len(rows) == 63 * 3 * 8
    assert len(found) == len(embedded) == 189
    assert found.keys() == curves.keys()
    for key, points in curves.items():
        sign = -1 if key[1] == "ppl" else 1
        y = [sign * score for _, score in sorted(points)]
        expected = oracles.score(y)["emergence_score"]
        assert found[key] == pytest.approx(expected, rel=1e-12, nan_ok=True), key


def test_flagged_published_curves(embedded):
    # Counted in the table above at E > 100: of acc, 2D+ and 2D- zero-shot; 3D+ and 3D- at all
    # three; 4D+ at 1 and 50 and 4D- at all three; 5D+ and 5D- at all three: 2 + 6 + 5 + 6 = 19.
    # Of ppl, 1 and 15 shots. Infinite: 3D- and 4D- zero-shot, and all six of 5D.
    flags = embedded[embedded["emergence_score"] > 100]
    assert flags["metric"].astype("str").value_counts().to_dict() == {"acc": 19, "ppl": 2}
    infinite = flags[np.isinf(flags["emergence_score"])]
    assert (infinite["status"] == "zero_median").all()
    assert infinite["task"].astype("str").value_counts().to_dict() == {
        "arithmetic 3D-": 1, "arithmetic 4D-": 1, "arithmetic 5D+": 3, "arithmetic 5D-": 3,
    }  # fmt: skip
    assert embedded["status"].value_counts().to_dict() == {"ok": 180, "zero_median": 8, "flat": 1}
