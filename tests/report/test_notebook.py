"""The explorer for a cell of a notebook: what it takes, and that it is a page by itself."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from studies import study_of

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

CURVES = bm.build_curves(bm.load_embedded()).sel(task=["LAMBADA", "PIQA"])
SCORES = bm.score_curves(CURVES)


def test_the_frame_holds_the_page() -> None:
    view = bm.explore(CURVES, height=300)
    assert repr(view) == f"ExplorerView(n_curves={len(CURVES)}, height=300)"
    (found,) = re.findall(r'<iframe srcdoc="([^"]*)"', view._repr_html_())
    assert html.unescape(found) == view.html
    assert "height: 300px" in view._repr_html_()
    assert not re.search(r'(src|href)="', view.html)  # nothing is loaded


def test_the_page_is_the_explorer_of_the_report_alone(tmp_path: Path) -> None:
    study = study_of(tmp_path, ["t", "u"])
    page = bm.explore(study).html
    assert 'id="explorer-app"' in page
    for other in ("<h1>", "<footer>", "<nav", "data-figure=", "data-table="):
        assert other not in page.partition("<script")[0]


def test_scores_that_are_given_are_shown() -> None:
    sure = bm.score_curves(CURVES, inference=True, n_boot=99)
    assert len(bm.explore(CURVES, sure).html) > len(bm.explore(CURVES).html) + 100
    assert bm.explore(CURVES, SCORES, threshold=5).html != bm.explore(CURVES, SCORES).html
    assert bm.explore(CURVES, SCORES).html == bm.explore(CURVES).html


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scores: 2 rows, not one for each of 9 curves"):
        bm.explore(CURVES, SCORES[:2])
    with pytest.raises(InputError, match="scores or threshold: a study has its own"):
        bm.explore(study_of(tmp_path, ["t"]), SCORES)
