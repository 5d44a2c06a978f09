"""Every variant against the same pipeline by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bigbench_meta as bm
from bigbench_meta.aggregate.attribution.account import flag_estimates
from bigbench_meta.aggregate.attribution.estimates import STATUSES
from bigbench_meta.aggregate.attribution.flags import flag_curves
from bigbench_meta.aggregate.attribution.pairs import paired_counts
from bigbench_meta.aggregate.attribution.scale_deletion import (
    leave_one_scale_out,
    scale_deletion_shares,
)
from bigbench_meta.aggregate.attribution.sensitivity import (
    NO_DIFFERENCE,
    Variant,
    normalised,
    sensitivity,
    sensitivity_summary,
    variants,
)
from bigbench_meta.catalog.known_issues import check_known_issues
from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.core.errors import InputError


def made(n_tasks=8, *, families=("F", "G"), subtasks=False, seed=0):
    """Observations of tasks with two sharp metrics and a smooth one, some of them stepping."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n_tasks):
        for family in families:
            for metric in ("exact_str_match", "multiple_choice_grade", "top_choice_brier_score"):
                y = np.sort(rng.random(7)).round(2)
                falls = "brier" in metric
                chance = math.nan if falls else 0.25 if "choice" in metric else 0.0
                if rng.random() < (0.3 if falls else 0.6):
                    y = np.array([0.1, 0.101, 0.102, 0.103, 0.104, 0.104, 0.9])
                for size, score in enumerate(1 - y if falls else y, start=1):
                    rows.append(
                        {
                            "benchmark": "b", "task": f"t{number}", "metric": metric,
                            "model_family": family, "model_name": f"{family}{size}", "shots": 0,
                            "total_params": 10.0**size, "train_flops": 10.0 ** (9 - size),
                            "score": score, "low_score": chance,
                            "high_score": math.nan if falls else 1.0, "n_examples": 50 + number,
                            "is_preferred": metric == "exact_str_match",
                        }
                    )  # fmt: skip
    frame = pd.DataFrame(rows)
    if subtasks:
        parts = [frame.assign(subtask=frame["task"])]
        parts += [frame.assign(subtask=frame["task"] + f":{part}") for part in range(2)]
        frame = pd.concat(parts, ignore_index=True)
    return frame


def scores_of(observations, *, scale=None, min_scales=3):
    return bm.score_curves(bm.build_curves(observations, scale=scale), min_scales=min_scales)


def rows_of(table, analysis, setting):
    part = table[(table["analysis"] == analysis) & (table["setting"] == setting)]
    return part.drop(columns=["analysis", "setting"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def observations():
    return made()


@pytest.fixture(scope="module")
def table(observations):
    return sensitivity(observations, bm.StudyOptions(threshold=20))


def same(one, two):
    pd.testing.assert_frame_equal(one, two, check_dtype=False)


BY_HAND = {
    ("base", ""): lambda obs: flag_curves(scores_of(obs), threshold=20),
    ("threshold", "5"): lambda obs: flag_curves(scores_of(obs), threshold=5),
    ("threshold", "inf"): lambda obs: flag_curves(scores_of(obs), threshold=math.inf),
    ("scale_axis", "train_flops"): lambda obs: flag_curves(
        scores_of(obs, scale="train_flops"), threshold=20
    ),
    ("min_scales", "6"): lambda obs: flag_curves(scores_of(obs, min_scales=6), threshold=20),
    ("flat_curves", "not flagged"): lambda obs: flag_curves(
        scores_of(obs), threshold=20, flat="not_flagged"
    ),
    ("metrics", "preferred only"): lambda obs: flag_curves(
        scores_of(obs[obs["is_preferred"]]), threshold=20
    ),
    ("leave_one_metric_out", "without exact_str_match"): lambda obs: flag_curves(
        scores_of(obs[obs["metric"] != "exact_str_match"]), threshold=20
    ),
    ("leave_one_family_out", "without G"): lambda obs: flag_curves(
        scores_of(obs[obs["model_family"] != "G"]), threshold=20
    ),
    ("leave_one_scale_out", "without the smallest scale"): lambda obs: flag_curves(
        scores_of(obs[obs["total_params"] > 10]).assign(resolution_limited_score=np.nan),
        threshold=20,
    ),
    ("leave_one_scale_out", "without the largest scale"): lambda obs: flag_curves(
        scores_of(obs[obs["total_params"] < 1e7]).assign(resolution_limited_score=np.nan),
        threshold=20,
    ),
    ("normalisation", "clipped at chance"): lambda obs: flag_curves(
        scores_of(obs.assign(score=np.fmax(obs["score"], obs["low_score"]))), threshold=20
    ),
}


@pytest.mark.parametrize("key", BY_HAND)
def test_variant_by_hand(observations, table, key):
    expected = flag_estimates(BY_HAND[key](observations))
    found = rows_of(table, *key)
    # Dividing by the range changes the last digits only.
    same(found.drop(columns="message"), expected.drop(columns="message"))


def test_every_choice_is_there_once(table):
    tried = table[["analysis", "setting"]].drop_duplicates()
    settings = tried.groupby("analysis")["setting"].apply(list).to_dict()
    assert settings["threshold"] == ["5", "10", "50", "100", "200", "300", "600", "inf"]
    assert settings["min_scales"] == ["4", "5", "6"]
    assert settings["leave_one_family_out"] == ["without F", "without G"]
    assert len(settings["leave_one_metric_out"]) == 3
    assert settings["scale_axis"] == [
        "flop_matched_non_embedding_params", "non_embedding_params", "total_params", "train_flops",
        "train_tokens", "pretraining_loss",
    ]  # fmt: skip
    assert settings["normalisation"] == ["known range", "clipped at chance"]
    assert settings["known_issues"] == ["left out"]
    assert "level" not in settings
    assert "unknown_types" not in settings
    n_statistics = len(rows_of(table, "base", ""))
    counts = table.groupby(["analysis", "setting"]).size()
    assert set(counts[~counts.index.get_level_values(1).str.startswith("dropped")]) == {
        n_statistics
    }


def test_the_total_axis_is_the_default_one(table):
    same(rows_of(table, "scale_axis", "total_params"), rows_of(table, "base", ""))


def test_a_known_range_changes_no_score(table):
    same(
        rows_of(table, "normalisation", "known range").drop(columns="message"),
        rows_of(table, "base", "").drop(columns="message"),
    )


def test_an_axis_that_no_model_has_leaves_no_curve(table):
    rows = rows_of(table, "scale_axis", "train_tokens")
    assert rows["estimate"].isna().all()
    assert set(rows["status"]) == {"no_data"}
    assert (rows["message"] != "").all()


def test_statuses_are_known_and_nothing_is_a_silent_number(table):
    assert set(table["status"]) <= set(STATUSES)
    silent = ~table["status"].isin(["ok", "sparse"])
    assert (table.loc[silent, "message"] != "").all()
    assert table.loc[table["status"] == "ok", "estimate"].notna().all()


def test_order_of_rows_does_not_matter(observations, table):
    shuffled = observations.sample(frac=1, random_state=1, ignore_index=True)
    same(sensitivity(shuffled, bm.StudyOptions(threshold=20)), table)


@pytest.mark.parametrize("level", ["task", "subtask"])
def test_levels(level):
    observations = made(3, subtasks=True)
    other = {"task": "subtask", "subtask": "task"}[level]
    table = sensitivity(observations, bm.StudyOptions(threshold=20, level=level), thresholds=[])
    for setting, its in (("", level), (other, other)):
        expected = flag_estimates(flag_curves(scores_of(observations), threshold=20, level=its))
        same(rows_of(table, "level" if setting else "base", setting), expected)


def test_unknown_types_count_as_either_class():
    observations = made(4)
    observations["metric"] = observations["metric"].replace("multiple_choice_grade", "made up")
    table = sensitivity(observations, bm.StudyOptions(threshold=20), thresholds=[])
    for kind in ("sharp", "smooth"):
        expected = flag_curves(scores_of(observations), threshold=20, unknown=kind)
        same(rows_of(table, "unknown_types", f"as {kind}"), flag_estimates(expected))


def test_known_issues_both_ways():
    observations = bm.load_embedded()
    kept, findings = check_known_issues(observations, exclude=True)
    assert findings.n_curves_excluded == 6
    without = flag_estimates(flag_curves(scores_of(kept)))
    table = sensitivity(observations, thresholds=[])
    same(rows_of(table, "known_issues", "left out"), without)
    table = sensitivity(observations, bm.StudyOptions(exclude_known_issues=True), thresholds=[])
    same(rows_of(table, "base", ""), without)
    same(
        rows_of(table, "known_issues", "kept"), flag_estimates(flag_curves(scores_of(observations)))
    )
    one = tuple(findings.affected["id"].tolist()[:1])
    part, _ = check_known_issues(observations, exclude=one)
    curves = Variant(exclude_known_issues=one).normalised_curves(observations)
    assert len(curves) == len(bm.build_curves(part))


def test_a_resolution_limited_score_flags_no_more(observations):
    base = Variant(threshold=5)
    curves = base.normalised_curves(observations)
    plain = base.flags(curves).frame
    limited = replace(base, limited=True).flags(curves).frame
    assert (limited["flagged"] <= plain["flagged"]).all()
    scores = bm.score_curves(curves)
    has = scores["resolution_limited_score"].notna()
    assert has.any()
    expected = scores["resolution_limited_score"].where(has, scores["emergence_score"])
    assert limited["emergence_score"].tolist() == pytest.approx(expected.tolist())
    assert limited["relative_sharpness"].tolist() == pytest.approx((expected / 6).tolist())


@pytest.mark.parametrize("deletion", ["lowest", "highest"])
def test_extreme_scores_without_a_scale(observations, deletion):
    variant = Variant(threshold=20, deletion=deletion)
    curves = variant.normalised_curves(observations)
    table = leave_one_scale_out(curves, threshold=20)
    flags = variant.flags(curves).frame
    assert flags["emergence_score"].tolist() == pytest.approx(table[deletion].tolist())
    assert flags["relative_sharpness"].tolist() == pytest.approx((table[deletion] / 5).tolist())
    enough = table["n_deletions"] if deletion == "lowest" else 1
    assert flags["flagged"].tolist() == (table["n_flagged_any"] >= enough).tolist()


def test_curves_that_cannot_lose_a_scale_are_counted():
    observations = made(2)
    short = (observations["task"] == "t0") & (observations["total_params"] > 1e3)
    variant = Variant(deletion="lowest")
    flags = variant.flags(variant.normalised_curves(observations[~short]))
    assert flags.left_out == {"too few scales": 6}
    assert len(flags.frame) == 6


def test_shares_of_deletions_are_appended(observations, table):
    curves = bm.build_curves(observations)
    expected = scale_deletion_shares(leave_one_scale_out(curves, threshold=20))
    found = table[table["statistic"].str.match("stay_|become_")]
    assert len(found) == len(expected)
    assert found["estimate"].tolist() == pytest.approx(expected["estimate"].tolist(), nan_ok=True)
    assert (found["status"] == "no_data").tolist() == (expected["n"] == 0).tolist()


def test_progress_is_told(observations):
    told = []
    sensitivity(
        observations[observations["task"].isin(["t0", "t1"])],
        thresholds=[7, 7, 100],
        progress=lambda done, total: told.append((done, total)),
    )
    n = told[-1][1]
    assert told == [(i, n) for i in range(1, n + 1)]


def test_base_is_not_repeated_as_a_variant(observations):
    base = Variant(threshold=50, scale="train_flops", min_scales=4)
    tried = variants(base.normalised_curves(observations), base, thresholds=[50, 60, 60])
    assert tried[0] == base
    changed = [replace(one, analysis="base", setting="") for one in tried]
    assert len({repr(one) for one in changed}) == len(tried)


def test_thresholds_are_checked(observations):
    with pytest.raises(InputError, match="threshold"):
        sensitivity(observations, thresholds=[math.nan])


# --- Normalisation ---


def test_normalised_scores_by_hand():
    observations = made(1)
    curves = bm.build_curves(observations)
    found = normalised(curves, metric_catalog())
    low = curves.keys["low_score"].fillna(0).to_numpy()[curves.ragged.curve]
    assert found.y.tolist() == pytest.approx(((curves.y - low) / (1 - low)).tolist())
    assert bm.score_curves(found)["emergence_score"].tolist() == pytest.approx(
        bm.score_curves(curves)["emergence_score"].tolist()
    )
    clipped = normalised(curves, metric_catalog(), clip=True)
    assert clipped.y.tolist() == pytest.approx(np.maximum(found.y, 0).tolist())
    assert (clipped.y != found.y).any()


def test_a_range_that_is_turned_is_turned_back():
    observations = made(2).assign(low_score=1.0, high_score=0.0)
    curves = bm.build_curves(observations)
    one, two = bm.score_curves(curves), bm.score_curves(normalised(curves, metric_catalog()))
    assert two["emergence_score"].tolist() == pytest.approx(one["emergence_score"].tolist())


def test_without_a_known_range_curves_are_left_out_or_kept_as_they_are():
    observations = made(1).assign(metric="made up", low_score=np.nan, high_score=np.nan)
    curves = bm.build_curves(observations.drop_duplicates(["model_family", "model_name"]))
    assert len(normalised(curves, metric_catalog())) == 0
    kept = normalised(curves, metric_catalog(), clip=True)
    assert kept.y.tolist() == curves.y.tolist()


# --- Summary ---


def test_summary_by_looping(table):
    summary = sensitivity_summary(table)
    assert set(summary["statistic"]) == set(NO_DIFFERENCE)
    for row in summary.to_dict("records"):
        part = [
            one for one in table.to_dict("records")
            if (one["statistic"], one["method"]) == (row["statistic"], row["method"])
        ]  # fmt: skip
        values = [one["estimate"] for one in part if not math.isnan(one["estimate"])]
        null = NO_DIFFERENCE[row["statistic"]]
        assert row["n_variants"] == len(part)
        assert row["n_estimated"] == len(values)
        assert row["n_above"] == sum(one["low"] > null for one in part)
        assert row["n_below"] == sum(one["high"] < null for one in part)
        intervals = [one for one in part if not math.isnan(one["low"])]
        assert row["n_intervals"] == len(intervals)
        if values:
            assert row["lowest"] == min(values)
            assert row["highest"] == max(values)
            first = next(one for one in part if one["estimate"] == row["lowest"])
            assert row["lowest_at"] == f"{first['analysis']} {first['setting']}".strip()
        base = next(one for one in part if one["analysis"] == "base")
        assert row["base"] == pytest.approx(base["estimate"], nan_ok=True)


def test_summary_of_what_was_never_estimated():
    observations = made(2)
    table = sensitivity(observations[observations["metric"] == "exact_str_match"], thresholds=[5])
    summary = sensitivity_summary(table)
    assert (summary["n_estimated"] == 0).all()
    assert summary[["base", "lowest", "highest"]].isna().all(axis=None)
    assert set(summary["lowest_at"]) == {""}
    assert set(table[table["statistic"] == "odds_ratio"]["status"]) <= {"one_class", "no_data"}


def test_pairs_lose_a_scale_together(observations):
    variant = Variant(deletion="without_largest")
    flags = variant.flags(variant.normalised_curves(observations))
    assert paired_counts(flags)["n_pairs"] == 8 * 2 * 2
    assert paired_counts(flags)["n_unequal"] == 0
