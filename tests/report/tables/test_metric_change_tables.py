"""The tables of pairs of metrics."""

from __future__ import annotations

import pytest

import bigbench_meta as bm
from bigbench_meta.aggregate.metric_change import VERDICTS, change_sentence
from bigbench_meta.report.tables.metric_change import metric_change_tables


@pytest.mark.parametrize("options", [{}, {"metric": "token_edit_distance"}])
def test_pairs_by_verdict_and_their_counts(options) -> None:
    pairs = bm.metric_change(bm.load_embedded("paper"), n_boot=19, **options)
    every, verdicts = metric_change_tables(pairs)
    assert every.caption.startswith(change_sentence(pairs))
    order = [VERDICTS.index(name) for name in every.frame["verdict"]]
    assert order == sorted(order)
    assert len(every.frame) == len(pairs)
    assert set(pairs) == set(every.frame)
    counts = verdicts.frame.set_index("verdict")
    assert counts["n_pairs"].sum() == len(pairs)
    assert counts["n_flagged"].sum() == pairs["flagged"].sum()
    assert ("forecast_hit" in every.text()[0] or "forecast hit" in every.text()[0]) is bool(options)
    assert "token_edit_distance" in every.to_markdown()
    assert every.to_latex()
    assert every.to_html()
