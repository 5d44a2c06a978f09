"""Thresholds, subset sizes and choices of model sizes, against plain Python."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from itertools import combinations

import numpy as np
import oracles
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FEWER

import bigbench_meta as bm
from bigbench_meta.aggregate.induce import (
    CHOICES,
    InduceOptions,
    induced_emergence,
    induced_sentences,
    kept_sizes,
    shares_reaching,
)
from bigbench_meta.core.errors import InputError

LENET = [0.1884, 0.3462, 0.5236, 0.7776, 0.831, 0.8696, 0.9026, 0.917, 0.944, 0.9402, 0.95, 0.958,
         0.9592, 0.958]  # fmt: skip
FOUR = [0, 1, 2, 13]


def samples_of(values, metric, **columns):
    """A samples table of scores, shape (models, examples)."""
    n_models, n = values.shape
    frame = pd.DataFrame(
        {
            "benchmark": "b", "task": "t", "model_family": "f",
            "model_name": np.repeat([f"m{i}" for i in range(n_models)], n),
            "total_params": np.repeat(10**6 * 2 ** np.arange(n_models), n),
            "example_id": np.tile(np.arange(n), n_models).astype(str), **columns,
        }
    )  # fmt: skip
    return frame.assign(metrics=[[(metric, float(value))] for value in values.ravel()])


def observed(samples):
    """The scores of these samples: means over examples."""
    names = ["benchmark", "task", "model_family", "model_name", "total_params"]
    metric = samples["metrics"].iloc[0][0][0]
    frame = samples.assign(score=[entry[0][1] for entry in samples["metrics"]])
    found = frame.groupby(names, sort=False)["score"].agg(["mean", "size"]).reset_index()
    return found.rename(columns={"mean": "score", "size": "n_examples"}).assign(metric=metric)


def only(choice, **fields):
    return InduceOptions(choices=(choice,), **fields)


# --- Thresholds ---


@given(
    scores=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=9),
    thresholds=st.sets(st.integers(-4, 4), min_size=1),
)
def test_shares_are_counts_and_fall_with_the_threshold(scores, thresholds):
    at = sorted(thresholds)
    found = shares_reaching(scores, at)
    expected = [[sum(row[j] >= c for row in scores) / len(scores) for j in range(3)] for c in at]
    np.testing.assert_allclose(found, expected)
    assert (np.diff(found, axis=0) <= 0).all()
    twice = shares_reaching(scores, at, weights=np.full((2, len(scores)), 2.0))
    np.testing.assert_allclose(twice, [found, found])


def naive_thresholds(values, *, up):
    """E, limited sharpness, the share that misses and the mass of every threshold."""
    n_models, n = values.shape
    pooled = values.ravel().tolist()
    rows = {}
    for c in set(pooled):
        reached = [
            [(v >= c) if up else (v <= c) for v in values[j].tolist()] for j in range(n_models)
        ]
        y = [float(Fraction(sum(own), n)) for own in reached]
        found = oracles.score(y, resolution=1 / n)
        missed = sum((v < c) if up else (v > c) for v in pooled) / len(pooled)
        rows[c] = (
            found["emergence_score"], found["resolution_limited_score"] / (n_models - 1), missed,
            pooled.count(c) / len(pooled),
        )  # fmt: skip
    return rows


@FEWER
@given(seed=st.integers(0, 10**6), metric=st.sampled_from(["edit_distance", "correct_prob_mass"]))
def test_every_threshold_is_tried(seed, metric):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, (5, 12)) / 5
    samples = samples_of(values, metric)
    found = induced_emergence(observed(samples), samples=samples, options=only("threshold"))
    expected = naive_thresholds(values, up=metric != "edit_distance")
    assert sorted(found.tried["value"]) == pytest.approx(sorted(expected))
    for row in found.tried.itertuples():
        own = next(v for c, v in expected.items() if math.isclose(c, row.value))
        assert (row.emergence_score, row.sharpness, row.quantile, row.share) == pytest.approx(
            own, nan_ok=True
        )
    best = found.largest.iloc[0]
    known = [own for own in expected.values() if not math.isnan(own[1])]
    assert best["induced_sharpness"] == pytest.approx(max(own[1] for own in known))
    wide = sum(own[3] for own in known if own[1] > 100 / 4)
    flagged = sum(own[3] for own in known if own[0] > 100)
    assert (best["share_above"], best["share_flagged"]) == pytest.approx((wide, flagged))
    assert found.tried["quantile"].is_monotonic_increasing
    assert found.tried["share"].sum() == pytest.approx(1)


def test_a_threshold_is_a_metric_that_rescore_knows():
    rng = np.random.default_rng(0)
    outputs = ["".join(rng.choice(list("1x"), 4, p=[p, 1 - p])) for p in (0.2, 0.4, 0.7, 0.8, 0.9)
               for _ in range(60)]  # fmt: skip
    frame = samples_of(np.zeros((5, 60)), "x").drop(columns="metrics")
    frame = frame.assign(targets=[["1111"]] * 300, output=outputs)
    scores, _ = bm.rescore(frame, ["token_edit_distance"])
    found = induced_emergence(scores, samples=frame, options=only("threshold"))
    names = found.tried["induced_metric"].tolist()
    again, _ = bm.rescore(frame, names)
    own = bm.score_curves(bm.build_curves(again)).set_index("metric")
    for row in found.tried.itertuples():
        assert own.loc[row.induced_metric, "emergence_score"] == pytest.approx(
            row.emergence_score, nan_ok=True
        )
    assert names[-1] == "token_edit_distance<=0.0"


def test_many_scores_are_cut_at_their_quantiles():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5, 400)) + np.arange(5)[:, None]
    samples = samples_of(values, "bleurt")
    few, every = (
        induced_emergence(observed(samples), samples=samples,
                          options=only("threshold", n_thresholds=n))
        for n in (50, 5000)
    )  # fmt: skip
    assert (len(few.tried), len(every.tried)) == (50, 2000)
    assert set(few.tried["value"]) <= set(every.tried["value"])
    np.testing.assert_allclose(few.tried["share"], 1 / 50, atol=1 / 1000)
    one, other = (found.largest.iloc[0] for found in (few, every))
    assert one["induced_sharpness"] <= other["induced_sharpness"]


def test_alike_examples_make_every_threshold_a_step():
    """Where all examples of a model have nearly one error, a cut between two models is a step."""
    error = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])[:, None]
    jitter = np.linspace(-0.1, 0.1, 200)[None, :]
    alike, spread = (
        induced_emergence(observed(s), samples=s, options=only("threshold")).largest.iloc[0]
        for s in (samples_of(error + scale * jitter, "edit_distance") for scale in (1, 40))
    )
    assert alike["sharpness"] == pytest.approx(4.5 / 5)
    assert spread["sharpness"] == pytest.approx(4.5 / 5)
    assert alike["share_above"] > 0.8
    assert spread["share_above"] < 0.1


# --- Subset sizes ---


@given(
    right=st.lists(st.integers(0, 9), min_size=4, max_size=6).filter(lambda r: len(set(r)) > 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=8)
def test_all_of_k_counts_the_subsets(right, seed):
    n = 9
    rng = np.random.default_rng(seed)
    values = np.array([rng.permutation([1.0] * r + [0.0] * (n - r)) for r in right])
    samples = samples_of(values, "exact_str_match")
    found = induced_emergence(observed(samples), samples=samples, options=only("subset size"))
    assert found.tried["value"].tolist() == list(range(1, n + 1))
    for row in found.tried.itertuples():
        k = int(row.value)
        subsets = [*combinations(range(n), k)]
        y = [
            float(Fraction(sum(all(own[i] for i in chosen) for chosen in subsets), len(subsets)))
            for own in values
        ]
        own = oracles.score(y, resolution=k / n)
        assert row.sharpness * (len(right) - 1) == pytest.approx(
            own["resolution_limited_score"], nan_ok=True
        )
    first = found.tried.iloc[0]
    whole = found.largest.iloc[0]
    assert first["emergence_score"] == pytest.approx(whole["emergence_score"], nan_ok=True)
    assert first["sharpness"] == pytest.approx(whole["sharpness"], nan_ok=True)
    assert whole["basis"] == "examples"
    # The same from counts of right answers alone.
    counted = induced_emergence(observed(samples), options=only("subset size"))
    assert counted.largest.iloc[0]["basis"] == "counts"
    pd.testing.assert_series_equal(counted.tried["sharpness"], found.tried["sharpness"])


def test_without_a_number_of_examples_a_score_is_raised_to_the_power():
    frame = observed(samples_of(np.zeros((14, 1)), "exact_str_match")).assign(score=LENET)
    found = induced_emergence(frame.drop(columns="n_examples"), options=only("subset size"))
    for k, e in ((1, 28.5), (6, 17.6), (8, 13.6), (10, 11.2)):
        assert found.tried["emergence_score"][k - 1] == pytest.approx(e, abs=0.05)
        assert found.tried["emergence_score"][k - 1] == pytest.approx(
            bm.emergence_score(np.array(LENET) ** k)
        )
    assert found.largest.iloc[0]["basis"] == "scores"


def test_all_of_k_are_examples_of_one_group_where_groups_are_stated():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(8), 4)
    # Whole groups are right or wrong: then all of 2 are right as often as one.
    values = (rng.uniform(size=(5, 8)) < np.linspace(0.1, 0.9, 5)[:, None])[:, group].astype(float)
    samples = samples_of(values, "exact_str_match", cluster=np.tile(group, 5).astype(str))
    grouped = induced_emergence(observed(samples), samples=samples, options=only("subset size"))
    assert grouped.tried["value"].tolist() == [1, 2, 3, 4]
    first = grouped.tried["emergence_score"][0]
    assert grouped.tried["emergence_score"].tolist() == pytest.approx([first] * 4)
    alone = induced_emergence(
        observed(samples), samples=samples.drop(columns="cluster"), options=only("subset size")
    )
    assert alone.tried["emergence_score"][1] != pytest.approx(alone.tried["emergence_score"][0])


# --- Sizes kept ---


def naive_sizes(y, m, *, keep_ends):
    inner = range(1, len(y) - 1) if keep_ends else range(len(y))
    free = m - 2 if keep_ends else m
    ways = [((0, *c, len(y) - 1) if keep_ends else c) for c in combinations(inner, free)]
    return {way: oracles.score([y[i] for i in way])["emergence_score"] for way in ways}


@given(
    y=st.lists(st.integers(0, 30), min_size=4, max_size=7).filter(lambda y: len(set(y)) > 1),
    keep_ends=st.booleans(),
)
@FEWER
def test_every_choice_of_sizes_is_tried(y, keep_ends):
    table = kept_sizes(y, options=InduceOptions(keep_ends=keep_ends))
    assert table["value"].tolist() == list(range(3, len(y) + 1))
    for row in table.itertuples():
        expected = naive_sizes([float(v) for v in y], row.value, keep_ends=keep_ends)
        known = [e for e in expected.values() if not math.isnan(e)]
        assert row.n_ways == row.n_tried == len(expected)
        flags = sum(e > 100 for e in known) / len(expected)
        assert row.share_flagged == pytest.approx(flags)
        if known:
            assert row.emergence_score == pytest.approx(max(known))
            assert row.emergence_score == pytest.approx(expected[row.places])
            assert row.median_score == pytest.approx(statistics.median_low(known))
    full = table.iloc[-1]
    assert full["emergence_score"] == pytest.approx(bm.emergence_score(y), nan_ok=True)
    assert not table["sharpness"].max() < full["sharpness"]


@given(
    steps=st.lists(st.floats(0, 1), min_size=3, max_size=12).filter(lambda s: sum(s) > 1e-3),
)
def test_a_curve_that_never_falls_has_at_least_half_a_size_each(steps):
    y = np.cumsum([0.0, *steps])
    for row in kept_sizes(y, options=InduceOptions(most_subsets=50)).itertuples():
        k = row.value - 1
        least = (k + 1) / 2 if k % 2 else min(k / math.sqrt(2), k / 2 + 1)
        assert row.median_score >= least - 1e-9
        assert row.value > 3 or row.emergence_score <= 2 + 1e-9


def test_a_straight_line_is_as_sharp_over_any_evenly_spaced_sizes():
    table = kept_sizes(np.arange(9.0)).set_index("value")
    assert table.loc[9, "emergence_score"] == 8
    # Uneven choices of a line are sharper than 1, and none of three sizes is.
    assert table.loc[3, "sharpness"] == pytest.approx(1)
    assert table.loc[5, "sharpness"] > 1


def test_lenet_jumps_because_four_of_fourteen_sizes_are_kept():
    y = np.array(LENET)
    drawn = {6: [0, 0.0019, 0.0328, 0.7764], 8: [0, 0.0003, 0.0121, 0.7116],
             10: [0, 0, 0.0054, 0.657]}  # fmt: skip
    for k, e, whole in ((6, 25.1, 17.6), (8, 60.3, 13.6), (10, 121.7, 11.2)):
        assert bm.emergence_score(drawn[k]) == pytest.approx(e, abs=0.05)
        assert bm.emergence_score(y**k) == pytest.approx(whole, abs=0.05)
    table = kept_sizes(y**10).set_index("value")
    assert table.loc[14, "emergence_score"] == pytest.approx(11.2, abs=0.05)
    four = naive_sizes((y**10).tolist(), 4, keep_ends=True)
    assert len(four) == table.loc[4, "n_ways"] == 66
    assert sum(e > four[tuple(FOUR)] for e in four.values()) == 1
    assert sum(e > 100 for e in four.values()) == 3
    assert table.loc[4, "share_flagged"] == pytest.approx(3 / 66)
    assert table.loc[4, "median_score"] == pytest.approx(4.15, abs=0.05)


def test_a_sample_of_choices_where_there_are_too_many():
    y = np.random.default_rng(2).uniform(size=30).cumsum()
    table = kept_sizes(y, options=InduceOptions(most_subsets=200), seed=5)
    middle = table[table["value"] == 15].iloc[0]
    assert middle["n_ways"] == math.comb(28, 13)
    assert 190 <= middle["n_tried"] <= 200
    again = kept_sizes(y, options=InduceOptions(most_subsets=200), seed=5)
    pd.testing.assert_frame_equal(table, again)
    assert middle["places"][0] == 0
    assert middle["places"][-1] == 29


# --- The choice on one half, its sharpness on the other ---


def test_a_choice_among_noise_is_smaller_on_the_other_half():
    """Sixty equally good thresholds: the best of one half owes its lead to chance."""
    gains = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        values = rng.beta(1.2, 1.2, (8, 200)) + np.linspace(0, 0.8, 8)[:, None]
        samples = samples_of(values, "bleurt")
        row = induced_emergence(
            observed(samples), samples=samples, options=only("threshold", n_thresholds=60)
        ).largest.iloc[0]
        assert row["n_halves"] == 20
        gains.append(row["chosen_sharpness"] / row["held_out_sharpness"])
    assert min(gains) > 1
    assert np.median(gains) > 1.2


def test_groups_are_those_of_the_task():
    """Examples of two tasks may have the same names."""
    values = (np.random.default_rng(4).uniform(size=(5, 12)) < 0.5).astype(float)
    tasks = [samples_of(values, "exact_str_match", cluster=np.tile(group, 5).astype(str))
             for group in (np.arange(12) // 6, np.arange(12) // 3)]  # fmt: skip
    both = pd.concat([tasks[0], tasks[1].assign(task="u")], ignore_index=True)
    frame = pd.concat([observed(tasks[0]), observed(tasks[1]).assign(task="u")])
    found = induced_emergence(frame, samples=both, options=only("subset size")).tried
    assert found.groupby("task", observed=True)["value"].max().to_dict() == {"t": 6, "u": 3}


def test_a_graded_score_with_a_known_test_set_is_limited_by_it():
    frame = observed(samples_of(np.zeros((5, 200)), "exact_str_match"))
    frame = frame.assign(score=[0.1, 0.2011, 0.4013, 0.5017, 0.8])
    found = induced_emergence(frame.assign(n_examples=20), options=only("subset size"))
    assert found.largest.iloc[0]["basis"] == "scores"
    assert found.tried["value"].max() == 20
    scaled = [0.1**9, 0.2011**9, 0.4013**9, 0.5017**9, 0.8**9]
    expected = oracles.score(scaled, resolution=9 / 20)["resolution_limited_score"]
    assert found.tried["sharpness"][8] == pytest.approx(expected / 4)


def test_halves_have_whole_groups():
    """Copies of an example in both halves would let the choice see what it is tested on."""
    group = np.repeat(np.arange(40), 5)
    ratio = {"grouped": [], "split": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        values = (rng.beta(1.2, 1.2, (8, 40)) + np.linspace(0, 0.8, 8)[:, None])[:, group]
        samples = samples_of(values, "bleurt", cluster=np.tile(group, 8).astype(str))
        for name, some in (("grouped", samples), ("split", samples.drop(columns="cluster"))):
            row = induced_emergence(
                observed(samples), samples=some, options=only("threshold", n_thresholds=60)
            ).largest.iloc[0]
            ratio[name].append(row["chosen_sharpness"] / row["held_out_sharpness"])
    assert np.median(ratio["grouped"]) > 1.2 * np.median(ratio["split"])
    few = samples_of(values[:, :15], "bleurt", cluster=np.tile(group[:15], 8).astype(str))
    row = induced_emergence(observed(few), samples=few, options=only("threshold")).largest.iloc[0]
    assert row["n_halves"] == 0  # three groups cannot be halved
    assert math.isnan(row["held_out_sharpness"])


def test_examples_that_a_model_lacks_are_left_out_and_counted():
    values = np.random.default_rng(0).normal(size=(4, 30)) + np.arange(4)[:, None]
    samples = samples_of(values, "bleurt").drop(index=[3, 40])
    found = induced_emergence(observed(samples), samples=samples)
    row = found.largest[found.largest["choice"] == "threshold"].iloc[0]
    assert (row["n_examples"], row["n_left_out"]) == (28, 2)


# --- All together ---


def test_what_cannot_be_tried_has_a_reason():
    graded = samples_of(np.random.default_rng(0).uniform(size=(4, 9)), "bleurt")
    found = induced_emergence(observed(graded)).largest.set_index("choice")
    assert "needs scores of single examples" in found.loc["threshold", "reason"]
    assert found.loc["subset size", "reason"] == "not a share of right answers"
    assert found.loc["sizes kept", "reason"] == ""
    with_them = induced_emergence(observed(graded), samples=graded).largest.set_index("choice")
    assert with_them.loc["subset size", "reason"] == "scores of examples are graded"
    binary = samples_of((np.arange(36).reshape(4, 9) % 5 > 1).astype(float), "exact_str_match")
    found = induced_emergence(observed(binary), samples=binary).largest.set_index("choice")
    assert found.loc["threshold", "reason"] == "scores of examples are not graded"
    assert math.isnan(found.loc["threshold", "induced_sharpness"])
    few = induced_emergence(observed(graded)[:2]).largest
    assert (few["reason"] == "fewer than 3 model sizes").all()
    three = induced_emergence(observed(graded)[:3], options=only("sizes kept")).largest
    assert three["reason"].tolist() == ["too few model sizes to leave any out"]
    none = induced_emergence(observed(graded)[:0])
    assert (len(none.tried), len(none.largest)) == (0, 0)
    assert induced_sentences(none.largest) == []


@settings(max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_the_sharpest_choice_is_at_least_as_sharp_as_the_curve(seed):
    rng = np.random.default_rng(seed)
    values = (rng.uniform(size=(6, 40)) < np.sort(rng.uniform(size=6))[:, None]).astype(float)
    samples = samples_of(values, "exact_str_match")
    found = induced_emergence(observed(samples), samples=samples, seed=seed).largest
    scored = found[found["induced_sharpness"].notna() & found["sharpness"].notna()]
    assert (scored["induced_sharpness"] >= scored["sharpness"] - 1e-9).all()
    assert found["share_above"].dropna().between(0, 1).all()
    above = found["share_above"].fillna(0) > 0
    assert (found["above_from"].notna() == above).all()


def test_embedded_curves_and_their_sentences():
    found = induced_emergence(bm.load_embedded("paper"))
    assert set(found.largest["choice"]) == set(CHOICES)
    of_lenet = (found.largest["task"] == "MNIST LeNet") & (found.largest["metric"] == "accuracy")
    lenet = found.largest[of_lenet].set_index("choice")
    assert lenet.loc["subset size", "value"] == 1  # no K makes all fourteen sizes sharper
    assert lenet.loc["sizes kept", "value"] == 4
    threshold, subset, sizes = induced_sentences(found.largest)
    assert threshold.startswith("Threshold on single examples: no curve could be tried (needs")
    assert subset.startswith("All of K right: 34 of 40 curves are above the cut at some K, 8 with")
    assert "with 4 of 14 sizes (width 1, width 32, width 48, width 64)" in sizes
    assert "0.3% of its choices are above the cut" in sizes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InduceOptions(choices=("colour",)), "choices"),
        (lambda: InduceOptions(n_thresholds=1), "n_thresholds"),
        (lambda: InduceOptions(largest_subset=0), "largest_subset"),
        (lambda: InduceOptions(n_splits=-1), "n_splits"),
        (lambda: induced_emergence(bm.load_embedded("paper"), threshold=0.0), "threshold"),
        (lambda: induced_emergence(bm.load_embedded("paper"), cut=math.nan), "cut"),
        (lambda: kept_sizes([0.1, math.nan, 0.3]), "y"),
        (lambda: kept_sizes([[0.1, 0.2, 0.3]]), "y"),
    ],
)
def test_wrong_options_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
