"""Criteria for a departure from a smooth, predictable rise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bigbench_meta.aggregate.emergence_criteria import CRITERIA, evidence_summary, meets
from bigbench_meta.core.errors import InputError, SchemaError

NAN = float("nan")
SCORES = pd.DataFrame(
    {
        "emergence_score": [7.0, 150.0, np.inf, NAN, -np.inf],
        "resolution_limited_score": [7.0, 120.0, 90.0, NAN, NAN],
        "resolution": [0.01, 0.004, 0.01, NAN, NAN],
        "score_min": [0.1, 0.1, 0.0, 0.5, 0.1],
        "score_max": [0.2, 0.9, 0.9, 0.5, 0.4],
        "n_scales": [8, 8, 3, 8, 8],
        "emergence_low": [3.0, 99.0, np.inf, NAN, NAN],
        "line_q_bh": [0.6, 0.06, 0.02, NAN, 0.9],
        "mechanism_p": [0.5, 0.2, 0.04, NAN, NAN],
        "mechanism_q_bh": [0.6, 0.3, 0.04, NAN, NAN],
        "family_q_bh": [0.05, 0.3, 0.001, NAN, NAN],
        "score_last": [0.9, 0.9, 0.1, 0.5, 0.2],
        "forecast_low": [0.0, 0.3, 0.2, NAN, 0.1],
        "forecast_high": [1.0, 0.8, 0.3, NAN, 0.4],
        "orientation": ["up", "up", "down", "up", "up"],
        "mechanism_p_fit": [0.01, 0.3, 0.09, NAN, NAN],
        "wei_emergent": ["no", "yes", "cannot_tell", "cannot_tell", "no"],
        "trend": ["increasing", "breakthrough", "breakthrough", "too_few_points", "inverse"],
        "metric_type": ["linear", "nonlinear", "nonlinear", "linear", "unknown"],
    }
)
NO, YES, NONE = False, True, None
# Three models, or a range of few examples, cannot reach a threshold of 100.
OUT_OF_REACH = {"flagged": [2], "resolution_limited": [0, 2]}
EXPECTED = {
    "flagged": [NO, YES, YES, NONE, NO],
    "resolution_limited": [NO, YES, NO, NONE, NONE],
    "interval_above": [NO, NO, YES, NONE, NONE],
    "line_q_bh": [NO, NO, YES, NONE, NO],
    "mechanism_p": [NO, NO, YES, NONE, NONE],
    "mechanism_q_bh": [NO, NO, YES, NONE, NONE],
    "family_q_bh": [YES, NO, YES, NONE, NONE],
    "wei": [NO, YES, NONE, NONE, NO],
    "breakthrough": [NO, YES, YES, NONE, NO],
    "forecast_beaten": [NO, YES, YES, NONE, NO],
    "mechanism_misfit": [YES, NO, NO, NONE, NONE],
}


def test_every_criterion_is_expected_here():
    assert [one.name for one in CRITERIA] == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_criterion_holds_fails_or_cannot_be_decided(name: str):
    found = [None if pd.isna(one) else bool(one) for one in meets(SCORES, name)]
    assert found == EXPECTED[name]


def test_counts_are_those_of_each_group():
    table = evidence_summary(SCORES).set_index(["criterion", "group"])
    types = SCORES["metric_type"].tolist()
    flags = [bool(one) for one in EXPECTED["flagged"]]
    for name, expected in EXPECTED.items():
        groups = {
            "all": [True] * 5, "flagged": flags,
            **{kind: [one == kind for one in types] for kind in set(types)},
        }  # fmt: skip
        for group, members in groups.items():
            inside = [i for i, is_member in enumerate(members) if is_member]
            row = table.loc[(name, group)]
            assert row["observed"] == sum(expected[i] is True for i in inside)
            far = OUT_OF_REACH.get(name, [])
            assert row["decidable"] == sum(expected[i] is not None and i not in far for i in inside)
            assert row["n_curves"] == len(inside)


def test_rows_in_another_order_give_the_same():
    pd.testing.assert_frame_equal(evidence_summary(SCORES), evidence_summary(SCORES[::-1]))


def test_any_curve_can_reach_a_low_threshold():
    table = evidence_summary(SCORES, threshold=1.5).set_index(["criterion", "group"])
    assert table.loc[("flagged", "all"), "decidable"] == 4
    assert table.loc[("resolution_limited", "all"), "decidable"] == 3


def test_meanings_state_threshold_and_level():
    table = evidence_summary(SCORES, threshold=5, alpha=0.1)
    meaning = dict(zip(table["criterion"], table["meaning"], strict=True))
    assert meaning["flagged"] == "E is above 5"
    assert "p at most 0.1" in meaning["mechanism_p"]
    row = table.set_index(["criterion", "group"]).loc[("line_q_bh", "all")]
    assert row["observed"] == 2


def test_wrong_use():
    with pytest.raises(InputError, match="criterion: 'nonsense'"):
        meets(SCORES, "nonsense")
    with pytest.raises(InputError, match="alpha"):
        meets(SCORES, "wei", alpha=1.0)
    with pytest.raises(SchemaError, match="missing column 'trend'"):
        meets(SCORES.drop(columns="trend"), "breakthrough")
    with pytest.raises(SchemaError, match="missing column family"):
        evidence_summary(SCORES, by="family")
