"""Simulated observations and samples: what is in them, and that they are each other's means."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from helpers import plain
from oracles import levenshtein

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES, conform
from bigbench_meta.generate import mirage
from bigbench_meta.generate.multiple_choice import (
    expected_brier_score,
    expected_multiple_choice_grade,
)
from bigbench_meta.generate.simulation import (
    DEFAULT_SCALES,
    MAX_EXAMPLES,
    ROUGE_DRAWS,
    samples_table,
    simulate,
    simulate_samples,
)

SMALL = {
    "target_lengths": [1, 4],
    "n_choices": [2, 3],
    "concentrations": [5.0, math.inf],
    "rouge_lengths": [4],
    "n_references": [1, 3],
}
SCALES = [2e9, 8e9, 3e10]


def series(observations, task, metric):
    rows = observations[(observations["task"] == task) & (observations["metric"] == metric)]
    return rows.sort_values("total_params")["score"].tolist()


# --- Expected ---


def test_expected_scores_are_those_of_the_formulas():
    observations = simulate(scales=SCALES, alpha=-0.7, c=5e9, **SMALL)
    loss = mirage.per_token_loss(SCALES, alpha=-0.7, c=5e9)
    expected = {
        ("next token", "cross_entropy"): loss,
        ("next token", "token_accuracy"): mirage.per_token_probability(loss),
    }
    for length, name in ((1, "1 token"), (4, "4 tokens")):
        accuracy = mirage.expected_accuracy(loss, target_length=length)
        distance = mirage.expected_token_edit_distance(loss, target_length=length)
        expected |= {(name, "exact_str_match"): accuracy, (name, "token_edit_distance"): distance}
    for k in (2, 3):
        for kappa in (5.0, math.inf):
            options = {"n_choices": k, "concentration": kappa}
            name = f"{k} choices, concentration {kappa:g}"
            grade = expected_multiple_choice_grade(loss, **options)
            expected[name, "multiple_choice_grade"] = grade
            expected[name, "brier_score"] = expected_brier_score(loss, **options)
    found = {key: series(observations, *key) for key in expected}
    assert found == {key: values.tolist() for key, values in expected.items()}
    others = observations[observations["metric"] != "rougeLsum"]
    assert len(others) == len(SCALES) * len(expected)
    assert others[["stderr", "n_examples", "replicate"]].isna().all(axis=None)
    assert set(observations["variant"]) == {"expected"}


def test_expected_rouge_is_a_mean_over_many():
    observations = simulate(scales=SCALES, target_lengths=[], n_choices=[], **{
        name: SMALL[name] for name in ("rouge_lengths", "n_references")
    })  # fmt: skip
    rouge = observations[observations["metric"] == "rougeLsum"]
    assert rouge["task"].unique().tolist() == [
        "4 tokens, 1 reference", "4 tokens, best of 3 references", "4 tokens, all of 3 references",
    ]  # fmt: skip
    assert rouge["n_examples"].eq(ROUGE_DRAWS).all()
    loss = mirage.per_token_loss(SCALES)
    p = np.exp(-loss)
    for task, expected in (
        ("4 tokens, 1 reference", 100 * p),
        ("4 tokens, all of 3 references", 50 * (1 - (1 - p) ** 3)),
    ):
        rows = rouge[rouge["task"] == task]
        # Wrong tokens agree by chance about once in ten thousand.
        distance = (rows["score"].to_numpy() - expected) / rows["stderr"].to_numpy()
        assert np.abs(distance).max() < 4.5
    for task in rouge["task"].unique():
        assert all(low <= high for low, high in pairwise(series(rouge, task, "rougeLsum")))


def test_columns():
    observations = simulate(scales=[1e9, 2.5e10], target_lengths=[4], n_choices=[4])
    assert observations.columns.tolist() == OBSERVATIONS.names
    assert set(observations["benchmark"]) == {"simulation"}
    assert set(observations["model_family"]) == {"alpha = -1, c = 10000000000"}
    models = observations[["model_name", "total_params"]].drop_duplicates()
    assert models.to_numpy().tolist() == [["1e+09", 10**9], ["2.5e+10", 25 * 10**9]]
    first = observations.drop_duplicates("metric").set_index("metric")
    assert first[["low_score", "high_score"]].to_dict("index") == {
        "cross_entropy": {"low_score": pytest.approx(math.nan, nan_ok=True), "high_score": 0},
        "token_accuracy": {"low_score": 0, "high_score": 1},
        "exact_str_match": {"low_score": 0, "high_score": 1},
        "token_edit_distance": {"low_score": 4, "high_score": 0},
        "multiple_choice_grade": {"low_score": 0.25, "high_score": 1},
        "brier_score": {"low_score": 0.75, "high_score": 0},
    }


def test_the_catalog_knows_every_metric():
    observations = simulate(**SMALL)
    known = bm.metric_catalog().lookup(
        observations[["benchmark", "task", "metric"]].astype("str").drop_duplicates()
    )
    assert known["higher_is_better"].notna().all()
    assert "unknown" not in set(known["metric_type"])


def test_chance_floor():
    observations = simulate(scales=[1.0, 1e10], n_choices=[4], chance_floor=True)
    name = "4 choices, concentration 100, from chance"
    assert series(observations, name, "multiple_choice_grade")[0] == 0.25
    assert series(observations, name, "brier_score")[0] == pytest.approx(0.75 + 0.75 / 101)


def test_models_of_like_size_have_names_of_their_own():
    observations = simulate(scales=[1e9, 1e9 + 1, 1e9 + 2], target_lengths=[1], n_choices=[])
    assert observations["model_name"].nunique() == 3


# --- Sampled ---


def test_sampled_scores_are_means_of_the_samples():
    options = {"scales": SCALES, "n_examples": 37, "seed": 11, **SMALL}
    observations = simulate(**options)
    examples = {}
    for row in samples_table(**options).to_pylist():
        for metric, value in row["metrics"]:
            cell = examples.setdefault((row["task"], metric, row["model_name"]), [])
            cell.append(value)
    sampled = observations[observations["task"] != "next token"]
    assert len(sampled) == len(examples)
    for row in sampled.itertuples():
        values = examples[row.task, row.metric, row.model_name]
        assert len(values) == 37
        assert row.score == pytest.approx(statistics.fmean(values), rel=1e-12)
        spread = statistics.stdev(values) / math.sqrt(37)
        assert row.stderr == pytest.approx(spread, rel=1e-9, abs=1e-15)
    assert set(sampled["n_examples"]) == {37}
    assert set(sampled["variant"]) == {"37 examples"}
    assert set(sampled["replicate"]) == {"seed 11"}


@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_scores_are_near_the_expected_ones(seed):
    """All z-scores at once: none above 5, and their mean square near 1."""
    setting = {"target_lengths": [1, 2, 5], "n_choices": [2, 4], "concentrations": [1.0, 20.0]}
    sampled = simulate(n_examples=20_000, seed=seed, **setting)
    expected = simulate(**setting)
    joined = sampled.merge(expected, on=["task", "metric", "total_params"], suffixes=("", "_of"))
    # A score near its end has a skew distribution, and one at its end no standard error.
    inner = joined[joined["stderr"] > 0.002]
    z = (inner["score"] - inner["score_of"]) / inner["stderr"]
    assert len(z) > 30
    assert z.abs().max() < 5
    assert 0.5 < (z**2).mean() < 1.6


def test_one_example_has_no_standard_error():
    observations = simulate(n_examples=1, target_lengths=[2], n_choices=[])
    assert observations["stderr"].isna().all()
    assert set(observations[observations["metric"] == "exact_str_match"]["score"]) <= {0.0, 1.0}


def test_the_premise_is_never_sampled():
    observations = simulate(n_examples=5, target_lengths=[2], n_choices=[])
    premise = observations[observations["task"] == "next token"]
    assert set(premise["variant"]) == {"expected"}
    assert premise["n_examples"].isna().all()


def test_a_score_does_not_depend_on_what_else_is_simulated():
    options = {"n_examples": 40, "seed": 3}
    everything = simulate(scales=SCALES, **options, **SMALL)
    alone = simulate(scales=SCALES[1:2], **options, target_lengths=[4], n_choices=[])
    other = simulate(
        scales=SCALES[::-1], **options, target_lengths=[9, 4], n_choices=[7, 3],
        concentrations=[math.inf, 5.0],
    )  # fmt: skip
    key = ["task", "metric", "total_params"]
    for some in (alone, other):
        both = everything.merge(some, on=key, suffixes=("", "_of"))
        assert len(both) >= 4
        assert both["score"].tolist() == both["score_of"].tolist()


def test_first_examples_do_not_depend_on_how_many_follow():
    def strings(n):
        samples = simulate_samples(n_examples=n, scales=[1e10], target_lengths=[5], n_choices=[3])
        return samples.groupby("task", observed=True).head(20)["target_logprobs"].map(list).tolist()

    assert strings(20) == strings(90)


def test_memory_blocks_leave_no_trace(monkeypatch):
    options = {"n_examples": 50, "scales": [1e10], "target_lengths": [7], "n_choices": []}
    whole = simulate_samples(**options)
    monkeypatch.setattr("bigbench_meta.generate.simulation._BLOCK", 30)
    parts = simulate_samples(**options)
    assert whole["output"].tolist() == parts["output"].tolist()
    assert parts["example_id"].tolist() == [str(number) for number in range(50)]


def test_seeds():
    def scores(seed):
        return simulate(n_examples=50, seed=seed, target_lengths=[3])["score"].tolist()

    assert scores(2) == scores(2) == scores(np.int64(2)) != scores(3)
    assert scores(np.random.default_rng(2)) == scores(np.random.default_rng(2))
    rng = np.random.default_rng(2)
    assert scores(rng) != scores(rng)


def test_huge_seeds_differ():
    """They must not pass through floats."""
    first, second = (
        simulate(n_examples=50, seed=2**60 + more)["score"].tolist() for more in (0, 1)
    )
    assert first != second


# --- Samples ---


def test_samples_conform():
    table = samples_table(n_examples=3, scales=SCALES, **SMALL)
    assert table.schema.equals(SAMPLES.arrow)
    assert conform(table, SAMPLES).equals(table)
    samples = simulate_samples(n_examples=3, scales=SCALES, **SMALL)
    key = ["task", "model_name", "example_id"]
    assert len(samples) == 3 * len(SCALES) * samples["task"].nunique()
    assert not samples.duplicated(key).any()


def test_strings_can_be_scored_again():
    samples = samples_table(n_examples=30, scales=[9e9], target_lengths=[1, 5], n_choices=[])
    assert set(samples.column("correct").to_pylist()) == {0.0, 1.0}
    for row in samples.to_pylist():
        (target,), output = row["targets"], row["output"]
        distance = levenshtein(tuple(target.split()), tuple(output.split()))
        assert dict(row["metrics"]) == {
            "exact_str_match": float(target == output), "token_edit_distance": distance,
        }  # fmt: skip
        assert row["correct"] == (target == output)
        loss = mirage.per_token_loss(9e9)
        assert row["target_logprobs"] == pytest.approx([-loss * len(target.split())])


def test_choices_can_be_scored_again():
    samples = samples_table(
        n_examples=30, scales=[9e9], target_lengths=[], n_choices=[3], concentrations=[2.0]
    )
    for row in samples.to_pylist():
        masses = np.exp(row["target_logprobs"])
        worth = np.array(row["target_values"])
        assert worth.tolist() == [1, 0, 0]
        assert row["correct"] == worth[masses.argmax()]
        assert dict(row["metrics"]) == {
            "multiple_choice_grade": row["correct"],
            "brier_score": pytest.approx(((masses - worth) ** 2).sum()),
        }


def test_rouge_can_be_scored_again():
    scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="needs rouge-score")
    rouge = scorer.RougeScorer(["rougeLsum"])
    samples = samples_table(
        n_examples=10, scales=[9e9], target_lengths=[], n_choices=[], rouge_lengths=[6],
        n_references=[3],
    )  # fmt: skip
    for row in samples.to_pylist():
        lines, output = list(row["targets"]), row["output"]
        readings = {
            "6 tokens, best of 3 references": rouge.score_multi(lines, output),
            "6 tokens, all of 3 references": rouge.score("\n".join(lines), output),
        }
        expected = 100 * readings[row["task"]]["rougeLsum"].fmeasure
        assert dict(row["metrics"]) == {"rougeLsum": pytest.approx(expected)}
        assert row["correct"] is None


# --- The rest of the package takes them ---


def test_curves_and_scores():
    observations = simulate()
    curves = bm.build_curves(observations)
    scores = bm.score_curves(curves)
    assert scores["n_scales"].eq(len(DEFAULT_SCALES)).all()
    assert scores["direction"].eq("catalog").all()
    loss = mirage.per_token_loss(DEFAULT_SCALES)
    found = scores.set_index(["task", "metric"])["emergence_score"]
    assert found["next token", "cross_entropy"] == pytest.approx(bm.emergence_score(-loss))
    for length in (5, 36):
        accuracy = mirage.expected_accuracy(loss, target_length=length)
        assert found[f"{length} tokens", "exact_str_match"] == bm.emergence_score(accuracy)
        # An edit distance is a straight function of the per-token probability.
        distance = found[f"{length} tokens", "token_edit_distance"]
        assert distance == pytest.approx(found["next token", "token_accuracy"], rel=1e-9)


def test_resolution_limits_sampled_scores():
    scores = bm.score_curves(bm.build_curves(simulate(n_examples=100, seed=1)))
    row = scores[(scores["task"] == "20 tokens") & (scores["metric"] == "exact_str_match")].iloc[0]
    assert (row["status"], row["emergence_score"]) == ("zero_median", math.inf)
    assert row["resolution"] == 0.01
    assert row["resolution_limited_score"] == pytest.approx(100 * row["score_max"])


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_read_back(tmp_path, ending):
    observations = simulate(n_examples=9, scales=SCALES, **SMALL)
    path = tmp_path / f"observations.{ending}"
    getattr(observations, f"to_{ending}")(path, index=False)
    found, problems = bm.read_results(path)
    assert problems.empty
    left_out = {"source"}  # the reader says which file
    assert plain(found.drop(columns=left_out)) == plain(observations.drop(columns=left_out))


# --- What cannot be ---


def test_progress():
    seen = []
    simulate(n_examples=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 7) for number in range(1, 8)]


def test_nothing_but_the_premise():
    observations = simulate(target_lengths=[], n_choices=[])
    assert observations["task"].unique().tolist() == ["next token"]
    assert samples_table(n_examples=1, target_lengths=[], n_choices=[]).num_rows == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": []}, "scales: no model size"),
        ({"scales": [0.4]}, "scales: 0.4 is not a finite number of at least 1"),
        ({"scales": [1e9, 1e9 + 0.2]}, "scales: two models of 1,000,000,000 parameters"),
        ({"scales": [1e16]}, r"scales: 1e\+16 is more than 2\^53 parameters"),
        ({"scales": ["a"]}, "scales: not numbers"),
        ({"alpha": 1.0}, "alpha: 1.0 is not a negative number"),
        ({"c": -1.0}, "c: -1 is not a finite number above 0"),
        ({"target_lengths": [0]}, "target_lengths: 0 is not a whole number of at least 1"),
        ({"target_lengths": [10**6]}, "target_lengths: 1,000,000 is more than 10,000"),
        ({"n_choices": [1]}, "n_choices: 1 is not a whole number of at least 2"),
        ({"concentrations": [0.0]}, "concentration: 0 is not between"),
        ({"rouge_lengths": [2000]}, "rouge_lengths: 2,000 is more than 1,000"),
        ({"n_references": [101]}, "n_references: 101 is more than 100"),
        ({"n_examples": 0}, "n_examples: 0 is not a whole number of at least 1"),
        ({"n_examples": MAX_EXAMPLES + 1}, "n_examples: 1,000,001 is more than 1,000,000"),
        ({"seed": -1}, "seed: -1 is neither a generator nor a whole number"),
        ({"seed": 1.5}, "seed: 1.5 is neither a generator nor a whole number"),
        ({"seed": None}, "seed: None is neither a generator nor a whole number"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        simulate(**options)
    with pytest.raises(InputError, match=message):
        simulate_samples(**({"n_examples": 1} | options))


def test_too_many_samples():
    with pytest.raises(InputError, match="n_examples: samples of 80,000,000 tokens and choices"):
        samples_table(n_examples=1_000_000, target_lengths=[10], n_choices=[])
