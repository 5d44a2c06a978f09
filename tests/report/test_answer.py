"""The answer in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
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
    (most, n_most), (least, n_least) = by.items()
    of_most, of_least = (int((study.counted["metric"] == name).sum()) for name in (most, least))
    assert metrics == (
        f"By metric: {n_most} of {of_most} curves under {most} and {n_least} of {of_least} curves "
        f"under {least}; the test sets of these have {low} to {high} questions."
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
        "By metric: 4 of 19 curves under exact_str_match and 2 of 66 curves under "
        "multiple_choice_grade."
    )
    none = replace(study, counted=unknown.assign(emergence_score=1.0), threshold=5000.0)
    assert none.summary == [none.headline]


def test_more_than_three_metrics_are_counted(study: Study) -> None:
    metrics = ["a", "b", "b", "c", "c", "c", "d", "e"]
    some = study.counted.head(8).assign(
        metric=metrics, emergence_score=200.0, n_examples_min=pd.array([7, *[pd.NA] * 7], "Int64")
    )
    assert replace(study, counted=some).summary[1] == (
        "By metric: 3 of 3 curves under c, 2 of 2 curves under b, 1 of 1 curve under a and 2 under "
        "2 other metrics; the test sets of these have 7 questions where that is known."
    )


@pytest.mark.parametrize(
    ("emergence", "said"),
    [
        ([200.0, np.inf],
         ("2 of 2 curves look emergent: their emergence score is above 100, and infinite for 1, "
         "where most steps are exactly zero.")),
        ([1.0, np.inf],
         ("1 of 2 curves looks emergent: its emergence score is above 100, and infinite because "
         "most of its steps are exactly zero.")),
        ([np.nan, np.nan],
         ("None of 2 curves has an emergence score, because too few models have both a scale and a "
         "score.")),
        ([1.0, np.nan],
         ("None of 2 curves looks emergent: no emergence score is above 100. 1 curve has no score, "
         "because too few models have both a scale and a score.")),
    ],
)  # fmt: skip
def test_headline(study: Study, emergence: list[float], said: str) -> None:
    status = ["ok" if not np.isnan(one) else "too_few_scales" for one in emergence]
    some = study.counted.head(2).assign(emergence_score=emergence, status=status)
    assert replace(study, counted=some).headline == said


def test_published_claims() -> None:
    assert claims_sentence() == (
        "63 of the 67 BIG-bench tasks that are claimed to show emergence (94%) have "
        "multiple_choice_grade or exact_str_match as their preferred metric; so do 89 of the 130 "
        "other annotated tasks (68%)."
    )
