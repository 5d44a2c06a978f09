"""Rescoring against a loop over samples, in one batch and in many, and what it says of gaps."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.execute import Execution
from bigbench_meta.core.ragged import Ragged
from bigbench_meta.core.schema import SAMPLES, conform
from bigbench_meta.metrics import rescore as module
from bigbench_meta.metrics.definitions import METRICS, named_metrics
from bigbench_meta.metrics.rescore import Rescoring, rescore
from bigbench_meta.metrics.texts import bleu, bleu_statistics


def sample(model="1b", example="1", **more):
    return {
        "benchmark": "mine", "task": "sums", "subtask": "sums", "model_family": "f",
        "model_name": model, "total_params": 10**9, "example_id": example, "targets": ["12"],
        "source": "run.json",
    } | more  # fmt: skip


def table(rows):
    rows = list(rows)
    columns = {name for row in rows for name in row}
    return conform(pd.DataFrame(rows, columns=sorted(columns)), SAMPLES)


SAMPLE = st.builds(
    lambda model, example, output, targets: sample(model, example, output=output, targets=targets),
    st.sampled_from(["1b", "2b"]),
    st.sampled_from("abcd"),
    st.one_of(st.none(), st.text(st.sampled_from("12"), max_size=3)),
    st.one_of(st.none(), st.lists(st.text(st.sampled_from("12"), max_size=3), max_size=2)),
)


def answer_length(row):
    return len(row["output"]) if row["output"] is not None else None


@pytest.mark.parametrize("by_length", [False, True])
def test_processes_give_the_same_scores(monkeypatch, by_length):
    monkeypatch.setattr(module, "_BATCH_ROWS", 7)
    rng = np.random.default_rng(0)
    rows = table(
        sample(
            f"{model}b", str(number), output=rng.choice(["12", "12", "1", "x", None]),
            targets=[["12"], ["1"], None][number % 3],
            total_params=None if number < 10 else model,
        )
        for number in range(30) for model in (1, 2)
    )  # fmt: skip
    metrics = dict.fromkeys(
        ["exact_str_match", "token_edit_distance", "bleu", "exact_str_match>=0.5", "pass@1"]
    )
    metrics["length"] = answer_length
    one = rescore(rows, metrics, by_length=by_length)
    two = rescore(rows, metrics, by_length=by_length, execution=Execution(jobs=2))
    assert one[0]["total_params"].notna().all()
    for here, there in zip(one, two, strict=True):
        assert len(here)
        pd.testing.assert_frame_equal(here, there, check_exact=True)


@given(rows=st.lists(SAMPLE, min_size=1, max_size=20), size=st.integers(1, 7))
def test_a_mean_over_examples(rows, size):
    expected = defaultdict(list)
    for row in rows:
        if row["output"] is not None and row["targets"]:
            expected[row["model_name"]].append(float(row["output"] in row["targets"]))
    whole = table(rows)
    batches = [whole.slice(begin, size) for begin in range(0, len(rows), size)]
    scores, problems = rescore(batches, ["exact_str_match"])
    found = scores.set_index("model_name")
    assert set(found.index) == set(expected)
    for model, values in expected.items():
        one = found.loc[model]
        assert one["score"] == pytest.approx(statistics.mean(values))
        assert one["n_examples"] == len(values)
        if len(values) > 1:
            error = statistics.stdev(values) / math.sqrt(len(values))
            assert one["stderr"] == pytest.approx(error, abs=1e-9)
        else:
            assert math.isnan(one["stderr"])
    n_lacking = len(rows) - sum(map(len, expected.values()))
    told = [int(re.search(r"\d+", reason)[0]) for reason in problems["reason"]]
    assert sum(told) == n_lacking


def test_everything_is_named_and_carried_over():
    rows = [
        sample(output="12", shots=2, variant="v", replicate="s1", train_flops=1e20),
        sample(example="2", output="13", shots=2, variant="v", replicate="s1"),
    ]
    scores, problems = rescore(pd.DataFrame(rows), "exact_str_match")
    assert problems.empty
    (row,) = scores.to_dict("records")
    assert (row["task"], row["subtask"], row["model_family"]) == ("sums", "sums", "f")
    assert (row["shots"], row["variant"]) == (2, "v")
    assert (row["total_params"], row["train_flops"], row["replicate"]) == (10**9, 1e20, "s1")
    assert (row["metric"], row["score"], row["source"]) == ("exact_str_match", 0.5, "run.json")


def test_what_is_missing_is_named_and_never_a_zero():
    rows = [sample(output="12"), sample(example="2", output=None)]
    scores, problems = rescore(table(rows), ["exact_str_match", "brier_score"])
    assert scores["metric"].tolist() == ["exact_str_match"]
    assert scores["n_examples"].tolist() == [1]
    assert problems[["field", "severity"]].values.tolist() == [
        ["exact_str_match", "warning"], ["brier_score", "error"],
    ]  # fmt: skip
    assert problems["reason"].tolist() == [
        "1 of 2 samples of 1b on sums lack output or targets",
        "all 2 samples of sums lack targets or target_logprobs or target_values",
    ]


def test_a_metric_that_does_not_apply_to_a_task_is_one_problem():
    rows = [sample(model, output="12") for model in ("1b", "2b", "4b")]
    choice = {"targets": ["a", "b"], "target_logprobs": [-1.0, -2.0], "target_values": [1.0, 0.0]}
    rows += [sample(model, task="choices", **choice) for model in ("1b", "2b", "4b")]
    scores, problems = rescore(table(rows), ["exact_str_match", "brier_score"])
    assert len(scores) == 6
    assert problems[["reason", "severity"]].values.tolist() == [
        ["all 3 samples of choices lack output or targets", "warning"],
        ["all 3 samples of sums lack targets or target_logprobs or target_values", "warning"],
    ]


def test_lists_that_do_not_fit_each_other_are_missing():
    rows = [
        sample(targets=["a", "b"], target_logprobs=[-1.0, -2.0], target_values=[1.0, 0.0]),
        sample(example="2", targets=["a", "b"], target_logprobs=[-1.0], target_values=[1.0, 0.0]),
    ]
    scores, problems = rescore(table(rows), ["multiple_choice_grade"])
    assert scores["n_examples"].tolist() == [1]
    assert len(problems) == 1


def test_bleu_and_its_error():
    texts = [("a b c d e", "a b c d f"), ("x y z w", "x y z w"), ("q r s t u v", "q r s t o v")]
    rows = [sample(example=str(i), output=o, targets=[t]) for i, (o, t) in enumerate(texts * 40)]
    (row,) = rescore(table(rows), ["bleu"])[0].to_dict("records")
    outputs, targets = [o for o, _ in texts * 40], [t for _, t in texts * 40]
    each = bleu_statistics(outputs, targets, Ragged.of_lengths(np.ones(120, dtype=np.int64)))
    assert row["score"] == pytest.approx(bleu(each.sum(axis=0)))
    rng = np.random.default_rng(0)
    drawn = [bleu(each[rng.integers(120, size=120)].sum(axis=0)) for _ in range(2000)]
    assert row["stderr"] == pytest.approx(np.std(drawn), rel=0.1)


def test_bigbenchs_brier_score_weighs_options():
    """Sum over all options by their number: not a mean over examples."""
    rows = [
        sample(targets=["a", "b"], target_logprobs=[0.0, 0.0], target_values=[1.0, 0.0]),
        sample(example="2", targets=list("abcd"), target_logprobs=[0.0] * 4,
               target_values=[1.0, 0, 0, 0]),
    ]  # fmt: skip
    (row,) = rescore(table(rows), ["calibration_multiple_choice_brier_score"])[0].to_dict("records")
    two, four = 2 * 0.5**2, 0.75**2 + 3 * 0.25**2
    assert row["score"] == pytest.approx((two + four) / 6)


def test_samples_of_a_problem_are_judged_together():
    rows = [
        sample(model, example, replicate=str(n), correct=float(right))
        for model, pattern in {"1b": ("1000", "0000"), "2b": ("1100", "1110")}.items()
        for example, drawn in zip("ab", pattern, strict=True)
        for n, right in enumerate(map(int, drawn))
    ]
    scores, _ = rescore(table(rows), ["pass@2", "mean_log_pass_rate", "subset_accuracy_2"])
    found = scores[scores["replicate"].isna()].set_index(["metric", "model_name"])
    assert found.loc[("pass@2", "1b"), "score"] == pytest.approx((0.5 + 0) / 2)
    assert found.loc[("pass@2", "2b"), "score"] == pytest.approx((5 / 6 + 1) / 2)
    # Only problem a is solved by both.
    assert found.loc[("mean_log_pass_rate", "1b"), "score"] == pytest.approx(math.log(1 / 4))
    assert found.loc[("mean_log_pass_rate", "2b"), "score"] == pytest.approx(math.log(2 / 4))
    assert found["n_examples"].tolist() == [2, 2, 1, 1]


def test_every_length_can_be_a_subtask():
    rows = [
        sample(example=str(i), targets=[target], output=target[:1])
        for i, target in enumerate(["1", "22", "33", "444"])
    ] + [sample(example="9", targets=None, output="1")]
    scores, _ = rescore(table(rows), ["token_edit_distance"], by_length=True)
    assert dict(zip(scores["subtask"], scores["score"], strict=True)) == {
        "sums: length 1": 0, "sums: length 2": 1, "sums: length 3": 2,
    }  # fmt: skip
    # A task without subtasks names its lengths itself.
    whole, _ = rescore(table(rows).drop_columns("subtask"), ["exact_str_match"], by_length=True)
    assert sorted(whole["subtask"]) == [f"sums: length {length}" for length in (1, 2, 3)]


def test_a_metric_cut_at_a_threshold():
    rows = [
        sample(example=str(i), targets=["a", "b"], target_logprobs=np.log([p, 1 - p]).tolist(),
               target_values=[1.0, 0.0])
        for i, p in enumerate([0.2, 0.5, 0.9, 0.6])
    ]  # fmt: skip
    scores, _ = rescore(table(rows), ["correct_probability>=0.55", "brier_score<=0.1"])
    assert scores["score"].tolist() == [0.5, 0.25]


LOGGED = st.one_of(
    st.none(),
    st.lists(
        st.tuples(
            st.sampled_from(["mse", "acc,none"]),
            st.one_of(st.none(), st.floats(-2, 2), st.just(math.nan)),
        ),
        max_size=3,
    ),
)


@given(logged=st.lists(LOGGED, min_size=1, max_size=12), size=st.integers(1, 5))
def test_a_metric_that_the_samples_have(logged, size):
    rows = [sample(example=str(i), metrics=one) for i, one in enumerate(logged)]
    found = [dict(one or []).get("mse") for one in logged]
    values = [value for value in found if value is not None and not math.isnan(value)]
    whole = table(rows)
    batches = [whole.slice(begin, size) for begin in range(0, len(rows), size)]
    scores, problems = rescore(batches, ["logged:mse", "logged:mse<=0.5", "logged:mse>=0.5"])
    missing = len(rows) - len(values)
    some = f"{missing} of {len(rows)} samples of 1b on sums lack mse in metrics"
    reason = some if values else f"all {missing} samples of sums lack mse in metrics"
    assert set(problems["reason"]) == ({reason} if missing else set())
    if not values:
        assert scores.empty
        return
    expected = {
        "mse": values,
        "mse<=0.5": [float(value <= 0.5) for value in values],
        "mse>=0.5": [float(value >= 0.5) for value in values],
    }
    assert scores["metric"].tolist() == list(expected)
    for row, own in zip(scores.to_dict("records"), expected.values(), strict=True):
        assert row["score"] == pytest.approx(statistics.fmean(own))
        assert row["n_examples"] == len(own)
        if len(own) > 1:
            error = statistics.stdev(own) / math.sqrt(len(own))
            assert row["stderr"] == pytest.approx(error, abs=1e-9)


def test_a_logged_metric_has_its_direction_and_its_step_from_the_catalog():
    from bigbench_meta import build_curves, score_curves

    rows = [
        sample(f"{size}b", str(i), total_params=size * 10**9,
               metrics=[("mean_squared_error", 0.1 * (i + 1) / size)])
        for size in (1, 2, 4, 8) for i in range(5)
    ]  # fmt: skip
    names = ["logged:mean_squared_error", "logged:mean_squared_error<=0.089"]
    scores, _ = rescore(table(rows), names)
    curves = score_curves(build_curves(scores)).set_index("metric")
    assert set(curves["direction"]) == {"catalog"}
    assert curves["orientation"].to_dict() == {
        "mean_squared_error": "down", "mean_squared_error<=0.089": "up",
    }  # fmt: skip
    assert curves["metric_type"].to_dict() == {
        "mean_squared_error": "continuous", "mean_squared_error<=0.089": "discontinuous",
    }  # fmt: skip
    assert curves.loc["mean_squared_error<=0.089", "resolution"] == pytest.approx(1 / 5)
    assert math.isnan(curves.loc["mean_squared_error", "resolution"])


def test_a_function_of_ones_own():
    rows = [sample(output="12"), sample(example="2", output="1"), sample(example="3", output=None)]

    def half(one):
        return None if one["output"] is None else len(one["output"]) / 2

    scores, problems = rescore(table(rows), {"half": half, "exact_str_match": None})
    assert scores.set_index("metric")["score"].to_dict() == {"half": 0.75, "exact_str_match": 0.5}
    assert "half" in problems["field"].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "metrics: names no metric"),
        ((["nonsense"],), "metrics: 'nonsense' is not a metric"),
        ((["bleu>=3"],), "'bleu>=3' is not a mean metric with a numeric threshold"),
        ((["brier_score>=x"],), "'brier_score>=x' is not a mean metric with a numeric threshold"),
        ((["pass@0"],), "'pass@0' is not a metric"),
        ((["logged:"],), "'logged:' is not a metric"),
        ((["logged:mse<=x"],), "'mse<=x' is not a mean metric with a numeric threshold"),
        ((["correct", "logged:correct"],), "two metrics called 'correct'"),
        (({"mse": len, "logged:mse": None},), "two metrics called 'mse'"),
    ],
)
def test_what_is_no_metric_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        rescore(table([sample(output="1")]), *arguments)


def test_what_are_no_samples_is_refused():
    with pytest.raises(SchemaError, match="missing column"):
        rescore(pd.DataFrame({"output": ["1"]}), ["exact_str_match"])
    with pytest.raises(InputError, match="tokens: 'bytes' is none of"):
        Rescoring(["exact_str_match"], tokens="bytes")


def test_memory_is_bounded_by_batches(monkeypatch):
    """Every batch is scored apart, so a table of any length takes as much as one of them."""
    monkeypatch.setattr(module, "_BATCH_ROWS", 3)
    rows = [sample(example=str(i), output=str(i % 4)) for i in range(10)]
    scores, _ = rescore(table(rows), list(METRICS)[9:15])
    monkeypatch.undo()
    again, _ = rescore(table(rows), list(METRICS)[9:15])
    pd.testing.assert_frame_equal(scores, again, rtol=1e-12)


def test_every_metric_has_an_entry_in_the_catalog():
    from bigbench_meta.catalog.metrics import metric_catalog

    names = [*METRICS, "pass@3", "subset_accuracy_5", "mean_log_pass_rate", "brier_score<=0.1"]
    keys = pd.DataFrame({"benchmark": "mine", "task": "t", "metric": names})
    found = metric_catalog().lookup(keys).assign(metric=names).set_index("metric")
    known = found.drop("correct")
    assert known["higher_is_better"].notna().all()
    assert (known["metric_type"] != "unknown").all()
    assert named_metrics(names)


def test_the_length_of_the_answers_is_the_worst_edit_distance():
    """The null takes it for the worst score, in place of trying several lengths."""
    rows = [
        sample(f"{size}b", str(i), total_params=size * 10**9, targets=["1234"], output=output)
        for size, outputs in ((1, ["9", "8"]), (2, ["1", "12"]), (4, ["1239", "1234"]))
        for i, output in enumerate(outputs)
    ]
    metrics = ["token_edit_distance", "exact_str_match"]
    scores, _ = rescore(table(rows), metrics)
    edits = scores[scores["metric"] == "token_edit_distance"]
    assert edits[["low_score", "high_score"]].drop_duplicates().to_numpy().tolist() == [[4, 0]]
    assert scores.loc[scores["metric"] == "exact_str_match", "low_score"].isna().all()
    # A long output is further away than the answer is long.
    rows.append(sample("1b", "3", total_params=10**9, targets=["1234"], output="x" * 30))
    scores, _ = rescore(table(rows), metrics)
    assert scores["low_score"].isna().all()


def test_the_null_knows_the_length_of_the_answers():
    from bigbench_meta import build_curves, null_tests
    from bigbench_meta.generate.simulation import samples_table

    sizes = np.geomspace(3e9, 1e11, 6).round()
    samples = samples_table(n_examples=100, scales=sizes, target_lengths=[4], n_choices=[])
    scores, _ = rescore(samples, ["token_edit_distance"], tokens="words")
    known = null_tests(build_curves(scores), n_boot=19).iloc[0]
    unknown = build_curves(scores.assign(low_score=np.nan, high_score=np.nan))
    assert (known["status"], known["floor_source"]) == ("ok", "low_score")
    assert null_tests(unknown, n_boot=19)["floor_source"].tolist() == ["length"]


@pytest.mark.parametrize("metric", [*METRICS, "pass@1", "brier_score>=0.3"])
def test_the_columns_that_a_metric_names_are_all_that_it_reads(metric):
    choice = {"targets": ["a", "b"], "target_logprobs": [-1.0, -2.0], "target_values": [0.0, 1.0]}
    rows = [sample(output=output, correct=1.0, **choice) for output in ("a", "b")]
    scoring = Rescoring([metric])
    scoring.add(table(rows).select(scoring.columns))
    (found,), (expected,) = scoring.result()[0]["score"], rescore(table(rows), [metric])[0]["score"]
    assert found == expected
