"""What is printed: JSON, tables, problems, progress, and names that no form of output bends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from helpers import jumps, run, write_json

from bigbench_meta.cli import console
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "[bold]plain[/bold]", "[/]", "[link=x]", ":smile:", "a|b", "R&D_50%", "α → β", "$x$ #1 ~^\\{}",
    "<script>alert(1)</script>", "*star*", "`code`", "日本語", "-", "001", "1e5", "nan",
    "x" * 90,
]  # fmt: skip


def test_names_survive_the_console(tmp_path: Path) -> None:
    for number, one in enumerate(jumps(*NAMES)):
        write_json(tmp_path / "tree" / f"{number}.json", one)
    text = run("score", tmp_path / "tree", "--metric", "exact_str_match").stdout
    lines = [line.split(" exact_str_match ") for line in text.splitlines()]
    found = [line[0].strip() for line in lines if len(line) == 2]
    assert sorted(found) == sorted(NAMES)


def test_numbers_are_not_cut_beside_long_names(tmp_path: Path) -> None:
    for number, one in enumerate(jumps("long " * 50 + "end", model_family="family " * 20)):
        write_json(tmp_path / "tree" / f"{number}.json", one)
    text = run("score", tmp_path / "tree").stdout
    assert "…" not in text
    assert "zero_median" in text


def test_control_characters_do_not_reach_a_terminal(tmp_path: Path) -> None:
    for number, one in enumerate(jumps("\x1b[31mred\x1b]0;title\x07")):
        write_json(tmp_path / "tree" / f"{number}.json", one)
    assert "\x1b" not in run("score", tmp_path / "tree").stdout


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1"), (float("inf"), "∞"), (None, "–"), (-0.5, "-0.5")]
)
def test_print_table(value: float | None, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"metric": ["m"], "x": [value]}).astype({"x": float})
    console.print_table(Table(name="t", caption="c", frame=frame))
    assert capsys.readouterr().out.split()[-2:] == ["m", shown]


def test_records() -> None:
    """What is missing is None, but a number that is not finite stays a number."""
    frame = pd.DataFrame(
        {
            "text": pd.array(["a", None], "string"),
            "count": pd.array([1, None], "Int64"),
            "truth": pd.array([True, None], "boolean"),
            "real": [float("nan"), float("-inf")],
        }
    )
    first, second = console.records(frame)
    assert (first["text"], first["count"], first["truth"]) == ("a", 1, True)
    assert (second["text"], second["count"], second["truth"]) == (None, None, None)
    assert str(first["real"]) == "nan"
    assert second["real"] == float("-inf")


def test_json_of_numbers_that_are_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    inf = float("inf")
    console.print_json({"x": [inf, -inf, inf - inf, 1.5], "y": {2: (None, True, "é")}})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "".join(out.split()) == (
        r'{"x":["inf","-inf","nan",1.5],"y":{"2":[null,true,"\u00e9"]}}'
    )


def test_many_problems_of_one_kind_are_one_line(tree: Path) -> None:
    folder = tree / "alpha" / "results"
    for number in range(10):
        (folder / f"scores_{number:02}.json").write_text("{")
    assert len(run("score", tree).stderr.splitlines()) == 10
    for number in range(10, 30):
        (folder / f"scores_{number:02}.json").write_text("{")
    (folder / "notes.json").write_text("")
    lines = run("score", tree).stderr.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("(and 29 more like this)")


def test_only_the_first_kinds_of_problems_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = [f"of kind {'abcdefghijkl'[number]}" for number in range(12)]
    rows = [("f", "", reason, "warning") for reason in reasons]
    rows += [("f", "", "1 scores kept as replicates", "warning"), ("f", "", "broken", "error")]
    console.print_problems(pd.DataFrame(rows, columns=["source", "field", "reason", "severity"]))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "error: f: broken"
    assert lines[1] == "warning: f: 1 scores kept as replicates"
    assert lines[-1] == "... and 4 more problems"


def test_a_terminal_gets_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with console.progress("Reading") as step:
        assert step is not None
        step(1, 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    with console.progress("Reading") as step:
        assert step is None


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json"])
def test_a_table_is_written_or_the_reason_is_told(ending: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stderr = run("score", "-o", tmp_path / "file" / f"s{ending}", code=2).stderr
    assert "cannot be written: " in stderr
    assert "director" in stderr or "exist" in stderr
    made = tmp_path / "new" / "folder" / f"s{ending}"
    run("score", "-o", made)
    assert made.stat().st_size
