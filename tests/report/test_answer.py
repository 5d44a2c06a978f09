"""The answer in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import bigbench_meta as bm
from bigbench_meta.core.schema import PROBLEMS, to_frame
from bigbench_meta.report.answer import claims_sentence
from bigbench_meta.report.study import run_study

if TYPE_CHECKING:
    from bigbench_meta.report.study import Study


@pytest.fixture(scope="module")
def study() -> Study:
    observations = bm.load_embedded("lamda")
    return run_study(observations, to_frame(PROBLEMS.empty()))


def test_flags_their_metrics_and_their_questions(study: Study) -> None:
    flags = study.counted[bm.flagged(study.counted)]
    first, metrics, resolution = study.summary
    assert first == study.headline
    by = flags["metric"].astype(str).value_counts()
    low, high = flags["n_examples_min"].min(), flags["n_examples_min"].max()
    assert len(by) == 2
    (most, n_most), (least, n_least) = by.items()
    assert metrics == (
        f"Of the flagged curves {n_most} are under {most} and {n_least} under {least}; "
        f"their test sets have {low} to {high} questions."
    )
    reach = (study.counted["score_max"] - study.counted["score_min"]) / study.counted["resolution"]
    largest = flags["resolution_limited_score"].max()
    assert resolution == (
        f"If each step counts as at least one question, none of the {int((reach > 100).sum())} "
        f"curves that could have E above 100 has it; the largest of the flagged curves is at "
        f"{largest:.0f}."
    )


def test_what_is_not_known_is_not_said(study: Study) -> None:
    unknown = study.counted.assign(
        n_examples_min=pd.NA, resolution=float("nan"), resolution_limited_score=float("nan")
    )
    first, metrics = replace(study, counted=unknown).summary
    assert first == study.headline
    assert metrics == (
        "Of the flagged curves 4 are under exact_str_match and 2 under multiple_choice_grade."
    )
    none = replace(study, counted=unknown.assign(emergence_score=1.0), threshold=5000.0)
    assert none.summary == [none.headline]


def test_more_than_three_metrics_are_counted(study: Study) -> None:
    metrics = ["a", "b", "b", "c", "c", "c", "d", "e"]
    some = study.counted.head(8).assign(
        metric=metrics, emergence_score=200.0, n_examples_min=pd.array([7, *[pd.NA] * 7], "Int64")
    )
    assert replace(study, counted=some).summary[1] == (
        "Of the flagged curves 3 are under c, 2 under b, 1 under a and 2 under 2 other metrics; "
        "their test sets have 7 questions where that is known."
    )


def test_published_claims() -> None:
    assert claims_sentence() == (
        "Of 67 published claims of emergence on BIG-bench, 63 are on tasks that prefer one of two "
        "metrics; so do 152 of the 197 annotated tasks."
    )
