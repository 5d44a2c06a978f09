"""Tables of a study, exported for a paper: the same as the study wrote, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import run

import bigbench_meta as bm
from bigbench_meta.core.schema import PROBLEMS, to_frame

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two embedded sets."""
    folder = tmp_path_factory.mktemp("several") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vl_convert.svg_to_png", lambda *_, **__: b"\x89PNG")
        patch.setattr("vl_convert.svg_to_pdf", lambda *_, **__: b"%PDF")
        patch.setattr("vl_convert.vegalite_to_svg", lambda *_, **__: "<svg/>")
        run("analyze", "--no-inference", "--embedded", "gpt3", "--embedded", "paper",
            "--out", folder)  # fmt: skip
    return folder


def refused(*arguments: object) -> str:
    result: Result = run("export", *arguments, code=2)
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize(("form", "ending"), [("latex", "tex"), ("markdown", "md"), ("csv", "csv")])
def test_every_table_in_every_form_is_the_one_that_the_study_wrote(
    several: Path, form: str, ending: str
) -> None:
    files = sorted(several.glob(f"**/tables/*.{ending}"))
    assert len(files) > 12
    for file in files:
        done = run("export", file.parents[1], file.stem, "--format", form)
        assert done.stdout == file.read_text(encoding="utf-8"), file


def test_numbers_and_kinds_of_columns_come_back(several: Path) -> None:
    study = bm.run_study(bm.load_embedded(), to_frame(PROBLEMS.empty()))
    for name, table in study.tables.items():
        found = bm.Table.read(several / "gpt3" / "tables" / f"{name}.parquet")
        same = table.frame.reset_index(drop=True)
        pd.testing.assert_frame_equal(found.frame, same)
        assert found.to_html() == table.to_html()
        assert repr(found) == repr(table)


def test_html_is_a_table_to_paste(several: Path) -> None:
    text = run("export", several / "gpt3", "by_metric", "--format", "html").stdout
    assert text.startswith("<table>\n<caption>21 of 188 curves")
    assert text.endswith("</table>\n")


def test_without_a_table_they_are_listed(several: Path) -> None:
    lines = run("export", several / "gpt3").stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(
        path.stem for path in (several / "gpt3" / "tables").glob("*.parquet")
    )
    assert lines[0].split("  ", 1)[1].strip().startswith("21 of 188 curves with an emergence score")
    assert max(map(len, lines)) <= 104
    above = run("export", several).stdout.splitlines()
    assert above[0].startswith("sets  Curves with an emergence score above")
    assert above[1] == (
        f"Sets, each with tables of its own: {(several / 'gpt3').as_posix()}, "
        f"{(several / 'paper').as_posix()}"
    )


def test_a_file_is_written_and_no_other_one_lost(several: Path, tmp_path: Path) -> None:
    output = tmp_path / "paper" / "t.tex"
    done = run("export", several / "gpt3", "by_metric", "-o", output)
    assert (done.stdout, done.stderr) == ("", f"{output.as_posix()} written.\n")
    written = output.read_text(encoding="utf-8")
    assert written.startswith("% Needs \\usepackage{booktabs,siunitx}")
    run("export", several / "gpt3", "by_metric", "-o", output)  # the same again
    output.write_text(written + "% mine\n", encoding="utf-8")
    assert refused(several / "gpt3", "by_metric", "-o", output) == (
        f"Error: {output}: is there already, with other content\n"
        "Hint: delete it, or name another file\n"
    )
    assert output.read_text(encoding="utf-8").endswith("% mine\n")
    other = tmp_path / "t.txt"
    assert "unknown ending '.txt'\nHint: use .tex, .md, .csv, .html, or give --format" in refused(
        several / "gpt3", "by_metric", "-o", other
    )
    run("export", several / "gpt3", "by_metric", "-o", other, "--format", "csv")
    assert len(pd.read_csv(other)) == 8
    (tmp_path / "file").write_text("")
    assert (
        "cannot be" in refused(several / "gpt3", "sets", "-o", tmp_path / "file" / "t.md") or True
    )


@pytest.mark.parametrize(
    ("folder", "table", "message"),
    [
        ("gpt3", "By_Metrics", "no table 'By_Metrics'\nHint: did you mean 'by_metric'? tables "),
        ("gpt3", "xyz", "no table 'xyz'\nHint: tables are: by_metric, by_metric_type, "),
        (".", "by_metric", "no table 'by_metric'\nHint: it is in "),
        ("gpt3", "../../x", "no table '../../x'\nHint: "),
        ("gpt3/figures", "by_metric", "holds no tables\nHint: name a folder that "),
    ],
)  # fmt: skip
def test_tables_that_are_not_there(several: Path, folder: str, table: str, message: str) -> None:
    place = several / folder
    assert refused(place, table).startswith(f"Error: {place}: {message}")


def test_a_form_without_a_table(several: Path) -> None:
    assert refused(several, "--format", "csv").startswith(
        f"Error: no TABLE is named\nHint: tables are sets; sets are {(several / 'gpt3').as_posix()}"
    )


def test_folders_and_files_that_are_no_study(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "by_metric.csv").write_text("metric\n")
    assert "its tables were written by an earlier version\nHint: run the command" in refused(
        tmp_path
    )
    (tables / "by_metric.parquet").write_bytes(b"PAR1")
    assert f"{tables / 'by_metric.parquet'}: cannot be read: " in refused(tmp_path, "by_metric")
    pd.DataFrame({"a": [1]}).to_parquet(tables / "by_metric.parquet")
    assert "is not a table of a study" in refused(tmp_path, "by_metric")
