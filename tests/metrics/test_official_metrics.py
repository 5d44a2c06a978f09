"""Our metrics against BIG-bench's own functions, on random and on adversarial samples.

Deliberate differences, each shown by a test:

- an option without worth does not count in ``weighted_log_probabilities``, where BIG-bench makes
  0 times minus infinity a NaN that spoils the score of the whole task;
- a number matches a negative answer if it is near it, where BIG-bench divides by the answer itself
  and lets every number match;
- options that all have probability 0 have no score, where BIG-bench has NaN for the whole task.

BLEU is compared with sacreBLEU in test_texts.py, called as BIG-bench calls it; ROUGE with the
package that BIG-bench calls, but for its median of bootstrapped means, which is random.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from official import load_official

from bigbench_meta.metrics.rescore import rescore

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore:Warning. Target scores")]

LOG_PROB = st.one_of(
    st.floats(-80, 0), st.sampled_from([-1.0, -2.0, -1e-300, -745.0, -0.0, -1000.0])
)
CHOICES = st.lists(
    st.tuples(LOG_PROB, st.sampled_from([0.0, 1.0, 0.5, 0.25])), min_size=1, max_size=6
)
TEXT = st.text(st.sampled_from("aB1 .é-"), max_size=4)
NUMBER = st.one_of(
    TEXT,
    st.floats(-200, 200).map(str),
    st.integers(-200, 200).map(str),
    st.sampled_from(["nan", "inf"]),
)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return load_official(tmp_path_factory.mktemp("bigbench_api")).task_metrics


def score(rows, metric):
    frame = pd.DataFrame(rows).assign(
        benchmark="b", task="t", model_family="f", model_name="m",
        example_id=[str(i) for i in range(len(rows))],
    )  # fmt: skip
    found, _ = rescore(frame, [metric])
    return found["score"].iloc[0]


def as_theirs(examples):
    return [
        {
            "choice": [str(i) for i in range(len(one))],
            "target_scores": {str(i): value for i, (_, value) in enumerate(one)},
            "log_prob": [p for p, _ in one],
            "absolute_log_prob": [p for p, _ in one],
        }
        for one in examples
    ]


def as_ours(examples):
    return [
        {
            "targets": [str(i) for i in range(len(one))],
            "target_values": [value for _, value in one],
            "target_logprobs": [p for p, _ in one],
        }
        for one in examples
    ]


OF_CHOICES = {
    "multiple_choice_grade": "measure_multiple_choice_grade",
    "calibration_multiple_choice_brier_score": "measure_calibration_multiple_choice_brier_score",
    "weighted_log_probabilities": "measure_weighted_log_probabilities",
    "weighted_probabilities": "measure_weighted_probabilities",
}


@pytest.mark.parametrize("metric", OF_CHOICES)
@given(examples=st.lists(CHOICES, min_size=1, max_size=6))
def test_metrics_of_choices(official, metric, examples):
    theirs = getattr(official, OF_CHOICES[metric])(as_theirs(examples))
    assert score(as_ours(examples), metric) == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@given(
    examples=st.lists(
        st.lists(
            st.tuples(LOG_PROB, TEXT.filter(lambda t: bool(t.split()))), min_size=1, max_size=3
        ),
        min_size=1,
        max_size=5,
    )
)
def test_log_likelihood(official, examples):
    theirs = official.log_likelihood_fn(
        [[p for p, _ in one] for one in examples], [[t for _, t in one] for one in examples]
    )["log_likelihood"]
    ours = [
        {"targets": [t for _, t in one], "target_logprobs": [p for p, _ in one]} for one in examples
    ]
    assert score(ours, "log_likelihood") == pytest.approx(theirs, rel=1e-9, abs=1e-9)


OF_TEXTS = {
    "exact_str_match": "exact_str_match_fn",
    "case_insensitive_str_match": "case_insensitive_str_match_fn",
}


@pytest.mark.parametrize("metric", OF_TEXTS)
@given(
    examples=st.lists(
        st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3)), min_size=1, max_size=8
    )
)
def test_metrics_of_texts(official, metric, examples):
    theirs = getattr(official, OF_TEXTS[metric])([t for _, t in examples], [o for o, _ in examples])
    ours = [{"output": output, "targets": targets} for output, targets in examples]
    assert score(ours, metric) == pytest.approx(theirs[metric], rel=1e-12)


@given(examples=st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=6))
def test_numeric_match(official, examples):
    metric = "numeric_match_with_0_1_relative_error"
    ours = [{"output": output, "targets": [target]} for output, target in examples]
    expected = 0
    for output, target in examples:
        their = official.check_if_numeric_value_is_within_relative_error(output, [target], 0.1)
        try:
            answer, given_ = float(target), float(output)
        except ValueError:
            answer = given_ = math.nan
        if answer < 0:  # the deliberate difference
            their = abs(given_ - answer) / -answer <= 0.1
        expected += bool(their)
    assert score(ours, metric) == pytest.approx(expected / len(examples))


def test_deliberate_differences(official):
    one = [[(-1.0, 1.0), (-math.inf, 0.0)]]
    with np.errstate(invalid="ignore"):
        assert math.isnan(official.measure_weighted_log_probabilities(as_theirs(one)))
    assert score(as_ours(one), "weighted_log_probabilities") == -1.0
    near = official.check_if_numeric_value_is_within_relative_error
    assert near("50", ["-100"], 0.1)
    row = [{"output": "50", "targets": ["-100"]}]
    assert score(row, "numeric_match_with_0_1_relative_error") == 0
