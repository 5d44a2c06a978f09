"""Pairs of metrics of the same outputs: which pairs there are, their sharpness, their verdicts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER

import bigbench_meta as bm
from bigbench_meta.aggregate.metric_change import (
    VERDICTS,
    change_counts,
    change_sentence,
    metric_change,
    pair_points,
)
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.core.errors import InputError

KEY = ["benchmark", "task", "subtask", "model_family", "shots", "variant"]
SIDE = ["emergence_score", "emergence_low", "emergence_high", "status", "flagged",
        "relative_sharpness", "sharpness", "sharpness_low", "sharpness_high", "noise"]  # fmt: skip


def scores(metric, y, *, task="t", names=None, **columns):
    """One row per model."""
    n = len(y)
    names = names or [f"m{i}" for i in range(n)]
    sizes = [10**6 * 4 ** int(name[1:]) for name in names]
    return pd.DataFrame(
        {"benchmark": "b", "task": task, "metric": metric, "model_family": "f",
         "model_name": names, "total_params": sizes, "score": y, **columns}
    )  # fmt: skip


SHARP = [0.01, 0.02, 0.01, 0.02, 0.01, 0.02, 0.02, 0.9]
SMOOTH = [4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 0.4]


def both(sharp=SHARP, smooth=SMOOTH, stderr=0.01, n=2000, **columns):
    return pd.concat(
        [
            scores("exact_str_match", sharp, n_examples=n, **columns),
            scores("token_edit_distance", smooth, n_examples=n, stderr=stderr, **columns),
        ]
    )


@pytest.fixture(scope="module")
def lamda():
    return metric_change(bm.load_embedded("lamda"), n_boot=99)


@pytest.fixture(scope="module")
def paper():
    return metric_change(bm.load_embedded("paper"), n_boot=199)


def test_lamda_has_66_pairs_of_which_four_are_one_metric(lamda):
    assert len(lamda) == 66
    assert set(lamda["metric"]) == {"multiple_choice_grade"}
    assert set(lamda["other_metric"]) == {"chosen_option_brier"}
    same = lamda[lamda["verdict"] == "same metric"]
    named = {"color", "emoji_movie", "geometric_shapes", "unit_conversion"}
    assert set(same["task"].astype(str)) == named
    counted = lamda[lamda["verdict"] != "same metric"]
    higher = counted["emergence_score"] > counted["other_emergence_score"]
    assert (higher.sum(), len(counted)) == (25, 62)
    assert change_counts(lamda)["same metric"] == 4
    assert (lamda["n_scales"] == 12).all()


def test_figure_6_and_figure_3_are_those_of_the_paper(paper):
    brier = paper[paper["other_metric"] == "brier_score"].sort_values("emergence_score")
    assert len(brier) == 8
    found = list(zip(brier["emergence_score"].round(1), brier["other_emergence_score"].round(1),
                     strict=True))  # fmt: skip
    # Read from a raster to 0.003: the paper's 6.2 to 4.2, 4.6 to 8.4 and 3.9 to -4.4.
    for near, to in ((6.2, 4.2), (4.6, 8.4), (3.9, -4.4)):
        assert any(abs(a - near) < 0.2 and abs(b - to) < 0.4 for a, b in found), found
    assert (brier["verdict"] == "point values only").all()
    longest = paper[(paper["subtask"] == "4-digit addition: length 4")]
    row = longest[longest["variant"] == "temperature 0.0"].iloc[0]
    assert (row["metric"], row["other_metric"]) == ("accuracy", "token_edit_distance")
    assert row["emergence_score"] == pytest.approx(238, abs=1)
    assert row["other_emergence_score"] == pytest.approx(3.5, abs=0.1)
    assert row["verdict"] == "evaporates"
    # With one token, accuracy is one less the edit distance: as precisely as the figure was read.
    one = paper[paper["subtask"] == "mathematical model: length 1"].iloc[0]
    assert one["verdict"] == "same metric"


def test_pairs_are_every_two_metrics_of_one_key():
    rng = np.random.default_rng(1)
    frame = pd.concat(
        [
            scores(metric, rng.uniform(size=5), task=task, shots=shots)
            for task, metrics in {"a": ("exact_str_match", "bleu", "rouge1"), "b": ("bleu",),
                                  "c": ("x", "y")}.items()
            for metric in metrics
            for shots in (0, 1)
        ]
    )  # fmt: skip
    found = metric_change(frame, n_boot=19)
    expected = sorted(
        (task, shots, *sorted(pair))
        for (task, shots), rows in frame.groupby(["task", "shots"])
        for pair in itertools.combinations(sorted(set(rows["metric"])), 2)
    )
    listed = sorted(
        (str(row.task), int(row.shots), *sorted((str(row.metric), str(row.other_metric))))
        for row in found.itertuples()
    )
    assert listed == expected


def test_written_answers_are_not_paired_with_choices():
    frame = pd.concat(
        [scores(name, SHARP) for name in ("exact_str_match", "multiple_choice_grade",
                                          "brier_score", "token_edit_distance", "home_made")]
    )  # fmt: skip
    pairs = {
        frozenset(map(str, pair))
        for pair in metric_change(frame, n_boot=19)[["metric", "other_metric"]].to_numpy()
    }
    assert len(pairs) == 10 - 4
    assert frozenset(("exact_str_match", "multiple_choice_grade")) not in pairs
    assert frozenset(("exact_str_match", "home_made")) in pairs


def test_the_sharper_type_comes_first_then_the_flagged_one_unless_one_matters():
    row = metric_change(both(), n_boot=19).iloc[0]
    assert (row["metric"], row["other_metric"]) == ("exact_str_match", "token_edit_distance")
    flat = np.linspace(0.1, 0.9, 8)
    alike = pd.concat([scores("a", flat), scores("b", SHARP)])
    assert metric_change(alike, n_boot=19).iloc[0]["metric"] == "a"
    assert metric_change(alike, n_boot=19, threshold=20).iloc[0]["metric"] == "b"
    turned = metric_change(both(), n_boot=19, metric="token_edit_distance").iloc[0]
    assert turned["metric"] == "token_edit_distance"
    for name in SIDE:
        assert str(turned[name]) == str(row[f"other_{name}"])
        assert str(turned[f"other_{name}"]) == str(row[name])
    assert turned["log_ratio"] == -row["log_ratio"]
    assert turned["log_ratio_low"] == -row["log_ratio_high"]


def test_models_under_one_metric_alone_are_left_out_and_counted():
    whole = both()
    part = pd.concat([whole, scores("exact_str_match", [0.5], names=["m9"], n_examples=2000)])
    a, b = (metric_change(frame, n_boot=19).iloc[0] for frame in (whole, part))
    assert (a["n_unshared"], b["n_unshared"]) == (0, 1)
    assert b["n_scales"] == 8
    assert a["emergence_score"] == b["emergence_score"]
    few = pd.concat([scores("exact_str_match", SHARP), scores("bleu", SHARP[:2])])
    row = metric_change(few, n_boot=19).iloc[0]
    assert (row["n_scales"], row["verdict"]) == (2, "cannot tell")
    assert "shared model sizes" in row["reason"]


@pytest.mark.parametrize(
    ("frame", "options", "verdict"),
    [
        (both(), {}, "weaker"),
        (both(n=50, stderr=0.3), {}, "cannot tell"),
        (both(), {"threshold": 50}, "evaporates"),
        (both(), {"threshold": 50, "metric": "token_edit_distance"}, "sharper"),
        (both(), {"threshold": 50, "cut": 1.0}, "weaker"),
        (both(smooth=[4.0, 3.98, 3.97, 3.95, 3.94, 3.92, 3.91, 0.1], stderr=0.001),
         {"threshold": 20}, "persists"),
        (both(smooth=np.linspace(4, 1, 8) ** 2, stderr=np.nan).assign(n_examples=None),
         {}, "point values only"),
        # The largest model makes no error.
        (both(sharp=[*SHARP[:-1], 1.0], smooth=np.linspace(3.5, 0, 8),
              stderr=[0.02] * 7 + [0.0]), {}, "weaker"),
        (both(smooth=[1 - y for y in SHARP]), {}, "same metric"),
        (both(smooth=[2.0] * 8), {}, "cannot tell"),
    ],
)  # fmt: skip
def test_verdicts(frame, options, verdict):
    row = metric_change(frame, n_boot=199, **options).iloc[0]
    assert row["verdict"] == verdict, row.to_dict()


def test_one_right_answer_is_not_smoother_than_a_line_of_edits():
    """A limit of one token under edit distance would say so: E is infinite under exact match."""
    frame = both(sharp=[0.0] * 11 + [0.01], smooth=np.linspace(9, 3, 12), n=100, stderr=0.2)
    row = metric_change(frame, n_boot=199).iloc[0]
    assert row["other_emergence_score"] == pytest.approx(11)
    assert row["verdict"] == "cannot tell"
    entries = bm.metric_catalog().entries.copy()
    entries.loc[entries["metric"] == "token_edit_distance", "step"] = 1.0
    limited = metric_change(frame, n_boot=199, catalog=MetricCatalog(entries)).iloc[0]
    assert (limited["emergence_score"], limited["verdict"]) == (np.inf, "sharper")


def naive_verdict(row):
    """The rules of docs/metric_change.md, one pair at a time."""
    cut, steps = row["cut"], row["n_scales"] - 1
    known = [not math.isnan(row[name]) for name in ("sharpness_low", "other_sharpness_low")]
    largest = max(abs(row["other_emergence_low"]), abs(row["other_emergence_high"]))
    if row["flagged"] and known[1] and largest / steps < cut:
        return "evaporates"
    if not all(known):
        return "point values only"
    if row["sharpness_low"] > cut and row["other_sharpness_low"] > cut:
        return "persists"
    if row["log_ratio_high"] < 0:
        return "weaker"
    return "sharper" if row["log_ratio_low"] > 0 else "cannot tell"


def test_verdicts_follow_the_rules(lamda, paper):
    for table in (lamda, paper):
        scored = table[
            (table["verdict"] != "same metric")
            & table["status"].isin(["ok", "zero_median"])
            & table["other_status"].isin(["ok", "zero_median"])
        ]
        assert [naive_verdict(row) for _, row in scored.iterrows()] == scored["verdict"].tolist()
    assert {*lamda["verdict"], *paper["verdict"]} <= set(VERDICTS)


def test_sharpness_is_e_over_steps_with_the_resolution_as_least_step(lamda):
    whole = bm.score_curves(bm.build_curves(bm.load_embedded("lamda"))).set_index(
        ["task", "metric"]
    )
    for row in lamda.itertuples():
        for metric, found, e in ((row.metric, row.sharpness, row.emergence_score),
                                 (row.other_metric, row.other_sharpness,
                                  row.other_emergence_score)):  # fmt: skip
            own = whole.loc[(row.task, metric)]
            assert e == own["emergence_score"]
            assert found == pytest.approx(own["resolution_limited_score"] / 11)


def test_ends_are_in_order_and_the_limited_ones_no_larger(lamda):
    for before in ("", "other_"):
        low, high, most = (
            lamda[before + name].to_numpy(dtype=float)
            for name in ("sharpness_low", "sharpness_high", "emergence_high")
        )
        assert (low <= high).all()
        assert (np.abs(high) <= np.abs(most) / 11 + 1e-9)[high > 0].all()
    assert (lamda["log_ratio_low"] <= lamda["log_ratio_high"]).all()


def test_only_flagged_is_a_part_of_all():
    frame = pd.concat([both(), both(sharp=np.linspace(0.1, 0.8, 8)).assign(task="smooth")])
    whole = metric_change(frame, n_boot=49, threshold=50)
    part = metric_change(frame, n_boot=49, threshold=50, only_flagged=True)
    flagged = whole[whole["flagged"] | whole["other_flagged"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, flagged, check_categorical=False)
    none = metric_change(frame, n_boot=49, threshold=1e9, only_flagged=True)
    assert (len(none), list(none)) == (0, list(whole))
    assert change_sentence(none) == "No two metrics score the same outputs."


@pytest.mark.full
@FEWER
@given(seed=st.integers(0, 10**6), unit=st.sampled_from([0.001, 0.5, 7.0, 1000.0]))
def test_order_of_rows_and_unit_do_not_matter(seed, unit):
    rng = np.random.default_rng(seed)
    smooth = np.sort(rng.uniform(0, 5, 8))[::-1]
    frame = both(sharp=np.round(np.sort(rng.uniform(0, 1, 8)), 3), smooth=smooth, stderr=0.1)
    here = metric_change(frame, n_boot=19)
    graded = frame["metric"] == "token_edit_distance"
    for column in ("score", "stderr"):
        frame[column] = frame[column].where(~graded, frame[column] * unit)
    other = metric_change(frame.sample(frac=1, random_state=seed), n_boot=19)
    pd.testing.assert_frame_equal(here, other, check_categorical=False, rtol=1e-6)


@FEWER
@given(
    y=st.lists(st.integers(0, 400), min_size=4, max_size=12).filter(lambda y: len(set(y)) > 2),
    slope=st.sampled_from([-3.0, -1.0, 0.01, 2.0]),
    shift=st.floats(-5, 5),
    seed=st.integers(0, 1000),
)
def test_an_affine_function_of_a_metric_is_the_same_metric(y, slope, shift, seed):
    values = np.array(y) / 400
    one = scores("exact_str_match", values, n_examples=400)
    alike = pd.concat([one, scores("mine", shift + slope * values)])
    assert metric_change(alike, n_boot=19)["verdict"].tolist() == ["same metric"]
    bent = shift + slope * values
    bent[np.random.default_rng(seed).integers(len(y))] += 0.5 * np.ptp(bent)
    row = metric_change(pd.concat([one, scores("mine", bent)]), n_boot=19).iloc[0]
    # One point off the line: others on it must be at three or more different values.
    rest = np.sort(np.unique(values))
    assert row["verdict"] != "same metric" or len(rest) <= 3


def test_a_smooth_partner_forecasts_the_metric_that_matters():
    p = np.exp(-2.0 * (4.0 ** np.arange(8)) ** -0.2)
    frame = both(sharp=np.round(p**5, 4), smooth=5 * (1 - p), stderr=0.01)
    row = metric_change(frame, n_boot=19, metric="exact_str_match").iloc[0]
    assert row["forecast_status"] == "ok"
    assert row["forecast_low"] <= row["observed"] <= row["forecast_high"]
    assert row["forecast_hit"]
    jump = both(sharp=np.r_[np.round(p**5, 4)[:-1], 0.0], smooth=5 * (1 - p), stderr=0.01)
    assert not metric_change(jump, n_boot=19, metric="exact_str_match").iloc[0]["forecast_hit"]
    unlinked = pd.concat([scores("exact_str_match", SHARP), scores("mine", SMOOTH)])
    row = metric_change(unlinked, n_boot=19, metric="exact_str_match").iloc[0]
    assert row["forecast_status"] == "no_pair"


def test_examples_are_drawn_anew_where_samples_are_given():
    rng = np.random.default_rng(0)
    n, length = 150, 4
    p = np.linspace(0.4, 0.9, 6)
    wrong = rng.binomial(length, 1 - p[:, None], (6, n))
    frame = both(sharp=(wrong == 0).mean(axis=1), smooth=wrong.mean(axis=1), n=n, stderr=np.nan)
    rows = scores("x", p).drop(columns=["metric", "score"])
    rows = rows.loc[rows.index.repeat(n)].reset_index(drop=True)
    samples = rows.assign(
        example_id=np.tile(np.arange(n), 6).astype(str),
        metrics=[
            [("exact_str_match", float(w == 0)), ("token_edit_distance", float(w))]
            for w in wrong.ravel()
        ],
    )
    without = metric_change(frame, n_boot=99).iloc[0]
    assert (without["noise"], without["other_noise"]) == ("binomial", "none")
    row = metric_change(frame, samples=samples, n_boot=99).iloc[0]
    assert (row["noise"], row["other_noise"]) == ("samples", "samples")
    assert row["log_ratio_low"] < row["log_ratio"] < row["log_ratio_high"]


def test_examples_are_scored_where_samples_have_outputs():
    rng = np.random.default_rng(1)
    n, target = 200, "1234"
    p = np.linspace(0.3, 0.95, 6)
    right = rng.uniform(size=(6, n, 4)) < p[:, None, None]
    outputs = ["".join(np.where(row, list(target), "x")) for row in right.reshape(-1, 4)]
    rows = scores("x", p).drop(columns=["metric", "score"])
    rows = rows.loc[rows.index.repeat(n)].reset_index(drop=True)
    samples = rows.assign(
        example_id=np.tile(np.arange(n), 6).astype(str), targets=[[target]] * len(rows),
        output=outputs,
    )  # fmt: skip
    frame, problems = bm.rescore(samples, ["exact_str_match", "per_token_accuracy"])
    assert problems.empty
    row = metric_change(frame, samples=samples, n_boot=499).iloc[0]
    assert (row["noise"], row["other_noise"], row["joint"]) == ("samples", "samples", True)
    assert row["sharpness"] == pytest.approx(
        bm.relative_sharpness(right.all(axis=2).mean(axis=1)), rel=0.5
    )
    alone = metric_change(frame, n_boot=499).iloc[0]
    assert (alone["noise"], alone["other_noise"], alone["joint"]) == ("binomial", "stderr", False)
    width = row["log_ratio_high"] - row["log_ratio_low"]
    assert width < alone["log_ratio_high"] - alone["log_ratio_low"]


@pytest.mark.parametrize("subtask", [None, "easy"])
def test_examples_of_one_length_are_drawn_anew_for_its_curves(subtask):
    rng = np.random.default_rng(2)
    n, p = 120, np.linspace(0.3, 0.95, 6)
    targets = [["12"] if i % 3 else ["1234"] for i in range(n)]
    outputs = [
        "".join(c if rng.random() < rate else "x" for c in target)
        for rate in p
        for (target,) in targets
    ]
    rows = scores("x", p).drop(columns=["metric", "score"])
    rows = rows.loc[rows.index.repeat(n)].reset_index(drop=True)
    samples = rows.assign(
        subtask=subtask, example_id=np.tile(np.arange(n), 6).astype(str), targets=targets * 6,
        output=outputs,
    )  # fmt: skip
    names = ["exact_str_match", "token_edit_distance"]
    parts = [bm.rescore(samples, names, by_length=split)[0] for split in (False, True)]
    found = metric_change(pd.concat(parts), samples=samples, n_boot=99).set_index("subtask")
    whole = subtask or "t"
    assert set(found.index) == {whole, f"{whole}: length 2", f"{whole}: length 4"}
    assert found["joint"].all()
    assert (found["other_noise"] == "samples").all()
    # As if the samples of one length were all that there is.
    few = samples[samples["targets"].str[0].str.len() == 4].assign(subtask=f"{whole}: length 4")
    alone = metric_change(bm.rescore(few, names)[0], samples=few, n_boot=99).iloc[0]
    for name in ("sharpness_low", "other_sharpness_high", "log_ratio_low", "log_ratio_high"):
        assert found.loc[f"{whole}: length 4", name] == alone[name]
    # Lengths in other tokens are other examples, whose scores are not those of the curve.
    words = metric_change(parts[1], samples=samples, tokens="words", n_boot=99)
    assert not words["joint"].any()


def test_points_of_pairs_are_the_scores_on_their_own_range(paper):
    observations = bm.load_embedded("paper")
    points = pair_points(bm.build_curves(observations), paper)
    for label, pair in paper[paper["n_scales"] > 1].iterrows():
        for metric, e in ((pair["metric"], pair["emergence_score"]),
                          (pair["other_metric"], pair["other_emergence_score"])):  # fmt: skip
            own = points[(points["pair"] == label) & (points["metric"] == metric)]
            assert len(own) == pair["n_scales"]
            assert (own["height"].min(), own["height"].max()) == (0, 1)
            assert bm.emergence_score(own["height"]) == pytest.approx(e, rel=1e-6)
    known = observations.set_index(["subtask", "metric", "shots", "variant", "model_name"])
    one = points[(points["pair"] == 19) & points["low"].notna()].iloc[1]
    pair = paper.loc[19]
    source = known.loc[(pair["subtask"], one["metric"], 2, pair["variant"], one["model_name"])]
    assert one["score"] == source["score"].item()
    own = points[(points["pair"] == 19) & (points["metric"] == one["metric"])]["score"]
    half = 2 * source["stderr"].item() / np.ptp(own)
    assert one["high"] - one["height"] == pytest.approx(half)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "level"),
        ({"threshold": math.nan}, "threshold"),
        ({"cut": -1.0}, "cut"),
        ({"cut": math.nan}, "cut"),
        ({"metric": "bleu"}, "'bleu'"),
        ({"metrics": ["exact_str_match", "bleu"]}, "'bleu'"),
        ({"n_boot": 3}, "n_boot"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        metric_change(both(), **options)


def test_sentence_counts_what_was_found(paper):
    assert change_sentence(paper) == (
        "Of 40 pairs, 6 evaporate, 1 is weaker under the other metric, 1 cannot be decided and 32 "
        "have point values only; 12 are flagged under their first metric. 1 more pair is not "
        "counted: its metrics differ in unit only."
    )
    assert "Of 0 pairs, none is counted; 0 are" in change_sentence(
        paper[paper["verdict"] == "same metric"]
    )


def test_along_a_loss_pairs_are_those_along_size():
    sizes = 10.0 ** np.arange(7, 13)
    accuracy = np.array([0.0, 0.01, 0.02, 0.3, 0.5, 0.9])
    shared = {
        "benchmark": "b", "task": "t", "model_family": "f", "model_name": list("abcdef"),
        "total_params": sizes, "pretraining_loss": 1e7 / sizes, "n_examples": 200,
    }  # fmt: skip
    both = pd.concat([
        pd.DataFrame(shared | {"metric": "exact_str_match", "score": accuracy}),
        pd.DataFrame(shared | {"metric": "token_edit_distance", "score": 5 * (1 - accuracy**0.2),
                               "stderr": 0.02}),
    ])  # fmt: skip
    along_loss = metric_change(both, scale="pretraining_loss", n_boot=99).iloc[0]
    by_size = metric_change(both, n_boot=99).iloc[0]
    for name in ("emergence_score", "other_emergence_score", "sharpness_low", "verdict"):
        assert along_loss[name] == by_size[name]
