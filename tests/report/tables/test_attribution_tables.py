"""Tables of an account and of a sensitivity analysis: they hold what was computed."""

from __future__ import annotations

import pandas as pd
import pytest
from account_scores import curve_scores, random_scores, simulated_scores
from hypothesis import given

import bigbench_meta as bm
from bigbench_meta.aggregate.attribution.account import account_for_flags
from bigbench_meta.aggregate.attribution.sensitivity import sensitivity, sensitivity_summary
from bigbench_meta.report.tables.attribution import account_tables, sensitivity_tables

NAMES = [
    "flags_by_class", "flag_ratios", "flag_models", "flag_models_left_out", "paired_tests",
    "pairs_by_metric",
]  # fmt: skip


@pytest.fixture(scope="module")
def account():
    return account_for_flags(simulated_scores(0))


def by_name(tables):
    return {table.name: table for table in tables}


def test_tables_hold_the_frames_of_the_account(account):
    tables = by_name(account_tables(account))
    assert list(tables) == NAMES
    assert tables["flags_by_class"].frame is account.shares
    assert tables["flag_ratios"].frame is account.ratios
    assert tables["paired_tests"].frame is account.paired
    assert tables["pairs_by_metric"].frame is account.by_metric
    models = tables["flag_models"].frame
    assert models["model"].unique().tolist() == ["gee"]
    assert models["term"].tolist() == [term.name for term in account.model.fit.terms]


def test_what_the_models_leave_out(account):
    frame = by_name(account_tables(account))["flag_models_left_out"].frame
    found = set(frame[["model", "left_out", "reason"]].itertuples(index=False, name=None))
    model = account.model
    expected = {("gee", "curves", reason) for reason in model.left_out}
    expected |= {("gee", name, reason) for name, reason in model.dropped.items()}
    assert found == expected
    assert len(found) >= 3
    counts = frame[frame["left_out"] == "curves"]["n_curves"]
    assert counts.tolist() == [*model.left_out.values()]
    assert frame[frame["left_out"] != "curves"]["n_curves"].isna().all()


def test_captions_say_what_was_counted(account):
    tables = by_name(account_tables(account))
    assert "score above 100" in tables["flags_by_class"].caption
    counts = account.pair_counts
    caption = tables["paired_tests"].caption
    assert f"In {counts['n_sharp_only']} of {counts['n_pairs']} matched pairs of a" in caption
    assert f"in {counts['n_both']} both and in {counts['n_neither']} neither" in caption
    account = account_for_flags(simulated_scores(0), threshold=12.5)
    assert "above 12.5" in account_tables(account)[0].caption


@pytest.mark.full
@given(random_scores())
def test_tables_of_any_curves_can_be_printed(scores):
    for table in account_tables(account_for_flags(scores)):
        header, rows, _ = table.text()
        assert all(len(row) == len(header) for row in rows)
        assert table.to_csv().count("\n") == len(table.frame) + 1
        assert table.to_markdown()
        assert table.to_latex()


def test_tables_of_nothing():
    tables = by_name(account_tables(account_for_flags(curve_scores([]))))
    assert list(tables) == NAMES
    assert tables["pairs_by_metric"].frame.empty
    assert set(tables["flag_ratios"].frame["status"]) == {"no_data"}


def test_tables_of_a_sensitivity_analysis():
    table = sensitivity(bm.load_embedded(), thresholds=[10])
    tables = by_name(sensitivity_tables(table))
    assert list(tables) == ["sensitivity_summary", "scale_deletion", "sensitivity"]
    pd.testing.assert_frame_equal(tables["sensitivity_summary"].frame, sensitivity_summary(table))
    assert tables["sensitivity"].frame is table
    deletion = tables["scale_deletion"].frame
    # All three classes and `all`; none of the smooth or unknown ones is flagged, so none can stay.
    assert len(deletion) == 4 * (2 + 2 + 1 + 1)
    assert (deletion["n"] > 0).all()
    assert deletion["setting"].str.startswith("dropped: ").all()
    for one in tables.values():
        assert one.to_markdown()
