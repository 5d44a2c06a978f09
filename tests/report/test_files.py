"""Tables and figures to files."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET

import altair as alt
import numpy as np
import pandas as pd
import pytest

from bigbench_meta.report.charts.figure import Figure
from bigbench_meta.report.files import figure_files, table_files
from bigbench_meta.report.tables.table import Table

FRAME = pd.DataFrame({"metric": ["a", "b"], "emergence_score": [1.25, float("inf")]})


def test_a_figure_in_every_form():
    chart = alt.Chart(FRAME[:1]).mark_point().encode(x="emergence_score:Q")
    files = figure_files(Figure(name="f", caption="c", chart=chart, data=FRAME))
    assert list(files) == [f"figures/f.{end}" for end in ("svg", "pdf", "png", "vl.json", "csv")]
    assert files["figures/f.svg"].startswith("<svg")
    assert files["figures/f.png"].startswith(b"\x89PNG")
    assert files["figures/f.pdf"].startswith(b"%PDF")
    assert json.loads(files["figures/f.vl.json"])["mark"]["type"] == "point"
    read = pd.read_csv(io.StringIO(files["figures/f.csv"]))
    pd.testing.assert_frame_equal(read, FRAME, check_dtype=False)


@pytest.mark.parametrize(("width", "inches"), [("column", 3.25), ("page", 6.75)])
@pytest.mark.parametrize("pixels", [50, 2000])
def test_a_figure_has_the_width_of_a_column_or_a_page(width, inches, pixels):
    chart = alt.Chart(FRAME[:1]).mark_point().encode(x="emergence_score:Q")
    drawn = Figure(
        name="f", caption='"<b>" & more', chart=chart.properties(width=pixels), data=FRAME,
        width=width,
    )  # fmt: skip
    files = figure_files(drawn)
    root = ET.fromstring(files["figures/f.svg"])
    assert float(root.get("width")) == inches * 96
    left, top, right, _ = map(float, root.get("viewBox").split())
    assert (top, left + right / 2) == (0, pytest.approx((pixels + 10) / 2, abs=40))
    ratio = float(root.get("width")) / float(root.get("height"))
    dots = np.frombuffer(files["figures/f.png"][16:24], ">u4")
    assert dots[0] == pytest.approx(inches * 300, abs=1)
    assert dots[0] / dots[1] == pytest.approx(ratio, rel=0.02)
    box = re.search(rb"/MediaBox ?\[0 0 ([\d.]+) ", files["figures/f.pdf"])
    assert float(box[1]) == pytest.approx(inches * 72, abs=0.5)
    # The caption is the alternative text.
    assert root.get("aria-label") == drawn.caption
    assert json.loads(files["figures/f.vl.json"])["description"] == drawn.caption


def test_a_table_in_every_form():
    table = Table(name="t", caption="What it is.", frame=FRAME)
    files = table_files(table)
    assert files == {
        "tables/t.csv": table.to_csv(),
        "tables/t.md": table.to_markdown(),
        "tables/t.tex": table.to_latex(),
        "tables/t.parquet": table.to_parquet(),
    }


def test_control_characters_are_replaced_before_they_end_the_process():
    frame = FRAME.assign(metric=["\x1b[31mred", "b\x00"])
    chart = (
        alt.Chart(frame[:1], title="t\x07").mark_point().encode(x="emergence_score:Q", y="metric")
    )
    files = figure_files(Figure(name="f", caption="c", chart=chart, data=frame))
    assert "\x1b" not in files["figures/f.svg"]
    assert files["figures/f.png"].startswith(b"\x89PNG")
    assert pd.read_csv(io.StringIO(files["figures/f.csv"]))["metric"][0] == "\x1b[31mred"
