"""Observed and expected numbers as drawn."""

from __future__ import annotations

import pandas as pd
import pytest
from figures import check_valid, rows

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError

CURVES = bm.build_curves(bm.load_embedded())
SUMS = CURVES[CURVES.keys["task"].str.startswith("arithmetic")]
EXPECTED = bm.expected_if_smooth(SUMS, bm.score_curves(SUMS), n_studies=19)


def test_each_criterion_is_a_panel_with_the_numbers_of_the_table() -> None:
    figure = bm.plot_expected(EXPECTED)
    check_valid(figure)
    assert figure.name == "expected_if_smooth"
    of_all = EXPECTED[EXPECTED["group"] == "all"].reset_index(drop=True)
    pd.testing.assert_frame_equal(figure.data, of_all[list(figure.data)])
    drawn = pd.DataFrame(rows(figure))
    assert drawn["expected"].tolist() == of_all["expected"].tolist()
    assert figure.to_dict()["facet"]["sort"] == [
        "E is above 100", "E is above 100 with steps of at least one example",
    ]  # fmt: skip
    assert figure.caption.startswith("If all models improved smoothly, about ")


def test_a_group() -> None:
    figure = bm.plot_expected(EXPECTED, group="nonlinear")
    assert figure.name == "expected_if_smooth_nonlinear"
    with pytest.raises(InputError, match="nothing to draw of 'linear'"):
        bm.plot_expected(EXPECTED, group="linear")
