"""The tables of induced emergence."""

from __future__ import annotations

from dataclasses import replace

import bigbench_meta as bm
from bigbench_meta.aggregate.induce import induced_emergence, induced_sentences
from bigbench_meta.report.tables.induce import induced_tables


def test_curves_that_need_the_choice_come_first() -> None:
    found = induced_emergence(bm.load_embedded("paper"))
    sharpest, every = induced_tables(found)
    assert sharpest.caption.startswith(induced_sentences(found.largest)[0])
    assert (len(sharpest.frame), len(every.frame)) == (len(found.largest), len(found.tried))
    assert sharpest.frame["induced_sharpness"].isna().is_monotonic_increasing
    scored = sharpest.frame[sharpest.frame["induced_sharpness"].notna()]
    sizes = scored[scored["choice"] == "sizes kept"]
    assert sizes["above"].is_monotonic_increasing
    first = sizes.iloc[0]
    assert (first["subtask"], first["metric"], first["value"]) == ("MNIST LeNet", "accuracy", 4)
    assert "214.11" in replace(sharpest, most_rows=999).to_markdown()
    assert sharpest.to_latex()
    assert sharpest.to_html()
