"""Tables and figures to files."""

from __future__ import annotations

import io
import json

import altair as alt
import pandas as pd

from bigbench_meta.report.charts.figure import Figure
from bigbench_meta.report.files import figure_files, table_files
from bigbench_meta.report.tables.table import Table

FRAME = pd.DataFrame({"metric": ["a", "b"], "emergence_score": [1.25, float("inf")]})


def test_a_figure_in_every_form():
    chart = alt.Chart(FRAME[:1]).mark_point().encode(x="emergence_score:Q")
    files = figure_files(Figure(name="f", caption="c", chart=chart, data=FRAME))
    assert list(files) == [f"figures/f.{end}" for end in ("svg", "png", "vl.json", "csv")]
    assert files["figures/f.svg"].startswith("<svg")
    assert files["figures/f.png"].startswith(b"\x89PNG")
    assert json.loads(files["figures/f.vl.json"])["mark"]["type"] == "point"
    read = pd.read_csv(io.StringIO(files["figures/f.csv"]))
    pd.testing.assert_frame_equal(read, FRAME, check_dtype=False)


def test_a_table_in_every_form():
    table = Table(name="t", caption="What it is.", frame=FRAME)
    files = table_files(table)
    assert files == {
        "tables/t.csv": table.to_csv(),
        "tables/t.md": table.to_markdown(),
        "tables/t.tex": table.to_latex(),
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
