"""Scores of problems from all their samples, by difficulty, against loops over samples."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import SAMPLES, conform
from bigbench_meta.metrics.pass_rates import DifficultyBuckets
from bigbench_meta.metrics.rescore import Rescoring, rescore


def samples(drawn, **more):
    """Return samples from patterns: {model: {problem: "1001"}}."""
    rows = [
        {
            "benchmark": "mine", "task": "code", "model_family": "f", "model_name": model,
            "example_id": problem, "replicate": str(n), "correct": float(right), "source": "log",
        } | more
        for model, problems in drawn.items()
        for problem, pattern in problems.items()
        for n, right in enumerate(pattern)
    ]  # fmt: skip
    return conform(pd.DataFrame(rows), SAMPLES)


def scores_of(found):
    return {
        (row["subtask"], row["model_name"]): (round(row["score"], 12), row["n_examples"])
        for row in found.to_dict("records")
    }


DRAWN = {
    "tiny": {"a": "1111", "b": "1100", "c": "0100", "d": "0001", "e": "0000", "f": "0000"},
    "small": {"a": "1111", "b": "1110", "c": "1000", "d": "0011", "e": "0000", "f": "1110"},
    "large": {"a": "1111", "b": "1111", "c": "1100", "d": "0000", "e": "0011", "f": "1111"},
}
EXCLUDED = (
    "{} problems of {} are excluded, which not every model of f solves; {} solves the fewest, 1"
)
DIVIDED = (
    "{} of the {} limits between the buckets of code lie between problems of equal pass rate, "
    "which are divided in the order of example_id"
)
LOG = [math.log(i) if i else -math.inf for i in (0, 1 / 4, 2 / 4, 3 / 4, 1)]


def test_buckets_are_subtasks_without_the_reference_model():
    table = samples(DRAWN)
    difficulty = DifficultyBuckets(models=["tiny"], n_buckets=2)
    found, problems = rescore(table, ["mean_log_pass_rate", "pass@1"], difficulty=difficulty)
    logs = scores_of(found[found["metric"] == "mean_log_pass_rate"])
    easy, hard = "code: difficulty 1 of 2", "code: difficulty 2 of 2"
    unsolved = "code: solved by no reference model"
    assert logs == {
        (easy, "small"): (round((LOG[4] + LOG[3]) / 2, 12), 2), (easy, "large"): (0, 2),
        (hard, "small"): (round(LOG[1], 12), 1), (hard, "large"): (round(LOG[2], 12), 1),
        (unsolved, "small"): (round(LOG[3], 12), 1), (unsolved, "large"): (0, 1),
    }  # fmt: skip
    rates = scores_of(found[found["metric"] == "pass@1"])
    assert rates[hard, "small"] == (3 / 8, 2)
    assert rates[unsolved, "large"] == (3 / 4, 2)
    assert found["replicate"].isna().all()
    assert set(found["task"]) == {"code"}
    assert problems[["field", "reason", "severity"]].values.tolist() == [
        [
            "mean_log_pass_rate",
            EXCLUDED.format("1 of 2", label, weakest),
            "warning",
        ]
        for label, weakest in ((hard, "large"), (unsolved, "small"))
    ]


def test_other_metrics_stay_as_they_are():
    table = samples(DRAWN)
    difficulty = DifficultyBuckets(models="tiny", n_buckets=2)
    found, _ = rescore(table, ["correct", "pass@1"], difficulty=difficulty)
    expected, _ = rescore(table, ["correct"])
    assert scores_of(found[found["metric"] == "correct"]) == scores_of(expected)


PATTERNS = st.text(st.sampled_from("01"), min_size=1, max_size=3)
MODELS = st.fixed_dictionaries(
    {m: st.dictionaries(st.sampled_from("abcdef"), PATTERNS, min_size=1) for m in ("r", "s", "x")},
    optional={m: st.dictionaries(st.sampled_from("abcdef"), PATTERNS) for m in ("y",)},
)


def in_plain_python(drawn, reference, k):
    """Return mean log pass rates by bucket, rank by rank."""
    share = {m: {p: s.count("1") / len(s) for p, s in own.items()} for m, own in drawn.items()}
    known = set.intersection(*(set(share[m]) for m in reference))
    rate = {p: round(statistics.mean(share[m][p] for m in reference), 9) for p in known}
    ranked = sorted((p for p in known if rate[p]), key=lambda p: (-rate[p], p))
    if len(ranked) < k or not known:
        return {}
    buckets = defaultdict(list)
    for rank, problem in enumerate(ranked):
        buckets[f"code: difficulty {1 + rank * k // len(ranked)} of {k}"].append(problem)
    buckets["code: solved by no reference model"] = [p for p in known if not rate[p]]
    curve = {m: own for m, own in share.items() if m not in reference and own}
    found = {}
    for label, problems in buckets.items():
        solved = [p for p in problems if all(own.get(p, 0) > 0 for own in curve.values())]
        for model, own in curve.items():
            if solved:
                found[label, model] = statistics.mean(math.log(own[p]) for p in solved)
    return found


@given(
    drawn=MODELS, reference=st.sampled_from([("r",), ("r", "s")]), k=st.integers(1, 3),
    size=st.integers(1, 9),
)  # fmt: skip
def test_buckets_against_a_loop_in_batches(drawn, reference, k, size):
    table = samples(drawn)
    batches = [table.slice(begin, size) for begin in range(0, table.num_rows, size)]
    difficulty = DifficultyBuckets(models=reference, n_buckets=k)
    found, problems = rescore(batches, ["mean_log_pass_rate"], difficulty=difficulty)
    scores = {key: score for key, (score, _) in scores_of(found).items()}
    assert scores == pytest.approx(in_plain_python(drawn, reference, k))
    if not scores:
        assert "error" in problems["severity"].tolist()


def test_what_is_in_no_bucket_and_what_ties_is_said():
    drawn = {
        "r": {"a": "11", "b": "10", "c": "01", "d": "10"},
        "x": {"a": "11", "b": "11", "c": "11", "d": "1", "e": "11"},
    }
    difficulty = DifficultyBuckets(models=["r"], n_buckets=2)
    found, problems = rescore(samples(drawn), ["pass@2"], difficulty=difficulty)
    assert found["n_examples"].tolist() == [2, 1]
    assert problems["reason"].tolist() == [
        "1 of 5 problems of code are in no bucket: no samples of r",
        DIVIDED.format(1, 1),
        "1 of 2 problems have too few samples: x on code: difficulty 2 of 2",
    ]


def test_a_task_without_reference_or_with_too_few_problems_has_no_scores():
    tables = [samples(DRAWN), samples({"large": {"a": "11"}}, task="more", shots=2)]
    difficulty = DifficultyBuckets(models=["tiny"], n_buckets=5)
    found, problems = rescore(tables, ["pass@1"], difficulty=difficulty)
    assert found.empty
    assert problems[["reason", "severity"]].values.tolist() == [
        ["the reference models solve 4 problems of code: too few for 5 buckets", "error"],
        ["1 of 1 problems of more are in no bucket: no samples of tiny", "error"],
    ]


def test_no_problem_that_all_models_solve_is_said():
    drawn = {"x": {"a": "10", "b": "00"}, "y": {"a": "00", "b": "11"}}
    found, problems = rescore(samples(drawn), ["mean_log_pass_rate"])
    assert found.empty
    assert problems[["reason", "severity"]].values.tolist() == [
        [
            EXCLUDED.format("2 of 2", "code", "x"),
            "error",
        ]
    ]


def test_sums_can_be_read_before_all_samples_are_there():
    scoring = Rescoring(["pass@1"])
    scoring.add(samples({"x": {"a": "10"}}))
    assert scoring.result()[0]["score"].tolist() == [0.5]
    scoring.add(samples({"x": {"a": "11", "b": "0"}}))
    (row,) = scoring.result()[0].to_dict("records")
    assert row["score"] == pytest.approx(np.mean([3 / 4, 0]))
    assert row["n_examples"] == 2


@pytest.mark.parametrize(
    ("metrics", "options", "message"),
    [
        (["pass@1"], {"models": []}, "difficulty: names no reference model"),
        (["pass@1"], {"models": ["tiny"], "n_buckets": 0}, "difficulty: n_buckets: 0 is below 1"),
        (["pass@1"], {"models": ["huge"]}, "'huge' has no samples\nHint: .*large, small, tiny"),
        (["correct"], {"models": ["tiny"]}, "no metric that judges several samples of a problem"),
    ],
)
def test_refusals(metrics, options, message):
    with pytest.raises(InputError, match=message):
        rescore(samples(DRAWN), metrics, difficulty=DifficultyBuckets(**options))


def test_samples_without_a_subtask_are_of_the_task():
    found, _ = rescore(samples(DRAWN), ["correct", "pass@1"])
    assert set(found["subtask"]) == {"code"}
