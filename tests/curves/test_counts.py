"""Numbers of examples that scores contradict, and those that fit."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.catalog.metrics import MetricCatalog
from bigbench_meta.core.errors import SchemaError
from bigbench_meta.curves.counts import contradicts, smallest_count

RNG = np.random.default_rng(1)
SEVEN = [3, 11, 42, 118, 303, 407, 461]


def observations(scores, **columns):
    names = [f"m{place}" for place in range(len(scores))]
    return pd.DataFrame(
        {"benchmark": "b", "task": "t", "metric": "acc", "model_family": "f", "model_name": names}
        | {"score": scores, "n_examples": 500, "source": "a.csv"}
        | columns
    )


def used(frame, **options):
    return bm.check_counts(frame, **options)[0]["n_examples"].notna().tolist()


def reasons(frame, **options):
    return bm.check_counts(frame, **options)[1]["reason"].tolist()


@given(text=st.decimals(0, 1, places=4), n=st.integers(1, 300))
def test_a_count_is_one_of_all_whole_numbers(text, n):
    """The oracle tries every k, in whole numbers: |score - k / n| <= half of the last digit."""
    score = Fraction(text)
    fits = any(abs(score * n - k) <= Fraction(n, 20_000) for k in range(n + 1))
    found = contradicts(np.array([float(text)]), np.array([0.5e-4]), np.array([float(n)]))
    assert found.tolist() == [not fits]


@given(
    counts=st.lists(st.integers(0, 80), min_size=5, max_size=9), n=st.integers(80, 200),
    decimals=st.sampled_from([3, 4, 16]),
)  # fmt: skip
def test_the_smallest_number_is_the_first_of_all(counts, n, decimals):
    share = np.round(np.array(counts) / n, decimals)
    rounding = np.full(len(share), max(0.5 * 10.0**-decimals, 1e-7))
    fits = [
        m
        for m in range(1, n + 1)
        if all(min(abs(s - k / m) for k in range(m + 1)) <= rounding[0] * (1 + 1e-6) for s in share)
    ]
    assert smallest_count(share, rounding) in {None, fits[0]}


@pytest.mark.parametrize(
    ("score", "n", "fits"),
    [
        (0.333, 3, True),
        (0.333, 4, False),
        (0.33333, 3, True),
        (1 / 3, 3, True),
        (1 / 3 + 1e-6, 3, False),
        (float(np.float32(1 / 3)), 3, True),
        (0.33333334, 3, True),
        (0.1 + 0.2, 10, True),
        (0.5, 7, False),
        (0.5, 12, True),
        (0.50001, 11, False),
        (0.125, 8, True),
        (0.12, 8, True),
        (0.0, 7, True),
        (1.0, 7, True),
        (0.7024, 500, False),
        (0.7024, 10_000, True),
    ],
)
def test_a_score_is_as_exact_as_it_is_written(score, n, fits):
    assert used(observations([score], n_examples=n)) == [fits]
    assert used(observations([score * 100], n_examples=n, benchmark="gpt3")) == [fits]


def test_percent_are_told_in_percent():
    rows = observations([70.25, 43.11], benchmark="gpt3", n_examples=374)
    (reason,) = reasons(rows)
    assert reason == (
        "2 of 2 scores are no count of right answers of 374 examples (70.25% x 374 = 262.735, m0): "
        "the number is not used"
    )


def test_a_wrong_number_is_dropped_for_all_scores_of_the_task_and_metric():
    wrong = observations([k / 477 for k in (0, *SEVEN)])
    other = wrong.assign(metric="ppl", score=3.3)
    found, problems = bm.check_counts(pd.concat([wrong, other], ignore_index=True))
    assert found["n_examples"].isna().tolist() == [True] * 8 + [False] * 8
    assert problems.to_dict("records") == [
        {
            "source": "a.csv", "field": "t, acc", "severity": "warning",
            "reason": "7 of 8 scores are no count of right answers of 500 examples "
            "(0.006289308176 x 500 = 3.144654, m1): the number is not used; 477 would fit",
        }
    ]  # fmt: skip


def test_what_would_fit_is_named():
    scores = [k / 1319 for k in (15, 114, 262, 436, 568, 704)]
    assert reasons(observations(scores))[0].endswith("the number is not used; 1,319 would fit")


def test_a_single_misprint_leaves_the_number_in_use():
    rows = observations([k / 500 for k in SEVEN] + [0.70312], metric="exact_str_match")
    assert used(rows) == [True] * 8
    (reason,) = reasons(rows)
    assert reason == (
        "1 of 8 scores are no count of right answers of 500 examples (0.70312 x 500 = 351.56, m7): "
        "the number fits the others and is used"
    )


def test_numbers_are_judged_one_by_one():
    rows = observations([0.25, 0.75, 0.3333, 0.6667], n_examples=[4, 4, 5, 5])
    assert used(rows) == [True, True, False, False]


def test_who_gave_the_number_is_named():
    _, problems = bm.check_counts(observations([0.70312]), where="--n-examples 500")
    assert problems["source"].tolist() == ["--n-examples 500"]


@pytest.mark.parametrize(
    "columns",
    [
        {"metric": "my own"},
        {"metric": "bleu"},
        {"metric": "token_edit_distance"},
        {"metric": "acc", "task": "truthfulqa_mc2"},
        {"metric": "pass@5"},
        # HELM's are means over trials.
        {"benchmark": "helm", "metric": "exact_match"},
        # Target scores of 0.5 and 0.9.
        {"benchmark": "BIG-bench", "metric": "multiple_choice_grade",
         "task": "swedish_to_german_proverbs"},
        # A mean over subtasks, in BIG-bench 1.0.0.
        {"benchmark": "BIG-bench", "metric": "multiple_choice_grade", "task": "bbq_lite_json"},
        {"n_examples": None},
        {"score": math.nan},
        {"score": 64.18},
    ],
)  # fmt: skip
def test_what_is_no_count_is_not_checked(columns):
    rows = observations([0.70312], **columns)
    found, problems = bm.check_counts(rows)
    pd.testing.assert_frame_equal(found, rows)
    assert problems.empty


def test_a_mean_over_subtasks_is_not_checked():
    parts = observations([0.25, 0.3], subtask=["t:1", "t:2"], n_examples=20)
    whole = observations([0.2751], n_examples=40)
    assert used(whole) == [False]
    assert used(pd.concat([whole, parts], ignore_index=True)) == [True] * 3
    elsewhere = parts.assign(benchmark="another")
    assert used(pd.concat([whole, elsewhere], ignore_index=True)) == [False, True, True]


def test_a_catalog_says_what_counts_answers(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "metric,low,high,step,binary,higher_is_better,metric_type\n"
        "mine,0,1,1,true,true,unknown\nacc,0,1,1,,true,unknown\n"
    )
    own = bm.metric_catalog().overridden_by(MetricCatalog.read(path))
    assert used(observations([0.70312], metric="mine"), catalog=own) == [False]
    assert used(observations([0.70312]), catalog=own) == [True]


@pytest.mark.parametrize("name", ["lamda", "trained", "trained_checkpoints", "paper"])
def test_embedded_sets_agree_with_their_numbers(name):
    assert bm.check_counts(bm.load_embedded(name))[1].empty


def test_misprints_of_gpt3s_table():
    """230 / 273 = 84.249%, 50 and 51 / 2000 = 2.50% and 2.55%, 161 / 374 = 43.048%."""
    rows = bm.load_embedded("gpt3")
    found, problems = bm.check_counts(rows)
    assert found["n_examples"].notna().sum() == rows["n_examples"].notna().sum()
    assert [(field, text[:7]) for field, text in problems[["field", "reason"]].to_numpy()] == [
        ("Winograd, acc", "2 of 24"),
        ("arithmetic 2D+, acc", "1 of 24"),
        ("SAT Analogies, acc", "1 of 24"),
    ]


# --- The smallest number that fits ---


def test_hints_are_the_numbers_that_were_left_out():
    rows = bm.load_embedded("lamda")
    found = bm.fitting_counts(rows.assign(n_examples=None))
    assert len(found) > 30
    right = rows.set_index(["task", "metric"])["n_examples"]
    for task, metric, n in found[["task", "metric", "n_examples"]].to_numpy():
        assert right[task, metric].iloc[0] == n
    assert bm.fitting_counts(rows).empty


@pytest.mark.parametrize(
    ("counts", "n", "decimals", "hint"),
    [
        (SEVEN, 1319, 16, 1319),
        (SEVEN, 14_042, 6, 14_042),
        ([2 * k for k in SEVEN], 2638, 16, 1319),  # a divisor
        (SEVEN, 1319, 2, None),  # too coarse
        (SEVEN, 1319, 3, None),
        (SEVEN[:4], 1319, 16, None),  # too few
        ([0, 0, *SEVEN[:4], 1319], 1319, 16, None),
        ([3] * 12, 1319, 16, None),
        (SEVEN, 1_000_003, 16, None),  # too large
    ],
)
def test_there_is_a_hint_only_where_chance_gives_none(counts, n, decimals, hint):
    rows = observations(np.round(np.array(counts) / n, decimals), n_examples=None)
    found = bm.fitting_counts(rows)
    assert found["n_examples"].tolist() == ([] if hint is None else [hint])
    assert found["n_scores"].tolist() == ([] if hint is None else [len(counts)])


@pytest.mark.parametrize("decimals", [2, 3, 4, 16])
def test_scores_of_no_test_set_rarely_give_a_hint(decimals):
    share = np.round(RNG.uniform(0.05, 0.95, (300, 8)), decimals)
    rounding = np.full(8, max(0.5 * 10.0**-decimals, 1e-7))
    assert sum(smallest_count(one, rounding) is not None for one in share) <= 2


def test_nothing_fits_no_scores():
    assert bm.fitting_counts(observations([]).astype({"score": float})).empty
    assert smallest_count(np.zeros(0), np.zeros(0)) is None


def test_tables_without_scores_are_refused():
    with pytest.raises(SchemaError):
        bm.check_counts(pd.DataFrame({"task": ["t"]}))
