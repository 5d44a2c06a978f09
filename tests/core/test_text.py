"""Foreign texts in files that a spreadsheet opens."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.catalog.published import bigbench_tasks
from bigbench_meta.core.text import csv_text, did_you_mean, format_scale, inert

FORMULAS = (
    "=1+2", "=HYPERLINK(x)", "@SUM(A1)", "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "-A1",
    "+(1)", "\t=1", "\r=1", "\ufeff=1", "\0=1", " =1", "\uff1d1+2", "\uff0b1+2",
)  # fmt: skip
PLAIN = ("a", "arithmetic 2D+", "-1", "+5", "-1.5e-3", "-inf", "-9.12 [-455, -8.14]", "-5.2%", "",
         "1=2", "a@b", "'=1")  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text(text):
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("mark", ["\u202e", "\u200f", "\u061c"])
def test_controls_of_direction_are_written_out(mark):
    assert inert(f"a{mark}b") == f"a\\u{ord(mark):04x}b"


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_stay(text):
    assert inert(text) == text


def test_names_of_bigbench_stay():
    tasks = bigbench_tasks()
    names = {*tasks["task"], *tasks["subtask"], *tasks["metrics"]}
    assert [name for name in names if inert(name) != name] == []


@given(st.text())
def test_twice_is_once(text):
    assert inert(inert(text)) == inert(text)
    assert inert(text)[:1] not in {"=", "@", "\t", "\r"}


@pytest.mark.parametrize("dtype", ["object", "str", "category"])
def test_every_kind_of_column(dtype):
    frame = pd.DataFrame(
        {"=task": pd.Series(["=1", "b", None, "b"], dtype=dtype), "n": [1, 2, 3, 4]}
    )
    before = frame.copy()
    read = pd.read_csv(io.StringIO(csv_text(frame)))
    assert read["'=task"].tolist()[:2] == ["'=1", "b"]
    assert read["'=task"].isna().tolist() == [False, False, True, False]
    pd.testing.assert_frame_equal(frame, before)
    assert csv_text(frame[1:]) == frame[1:].rename(columns={"=task": "'=task"}).to_csv(
        index=False, lineterminator="\n"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lambada", "did you mean 'LAMBADA'? tasks: LAMBADA, PIQA, PIQA (ja)"),
        ("piqa", "did you mean 'PIQA' or 'PIQA (ja)'? tasks: LAMBADA, PIQA, PIQA (ja)"),
        ("zzz", "tasks: LAMBADA, PIQA, PIQA (ja)"),
        ("", "tasks: LAMBADA, PIQA, PIQA (ja)"),
    ],
)
def test_near_names_in_whatever_case(name, hint):
    assert did_you_mean(name, ["LAMBADA", "PIQA", "PIQA (ja)"], "tasks") == hint


def test_many_names_are_cut():
    hint = did_you_mean("z", [f"t{n}" for n in range(100)], "tasks")
    assert hint.endswith(", t29 and 70 more")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (5, "5"),
        (999, "999"),
        (1000, "1K"),
        (125e6, "125M"),
        (1.32e9, "1.32B"),
        (3_623_973_888, "3.62B"),
        (1.75e11, "175B"),
        (3.14e23, "3.14e+23"),
        # Rounded up to the next unit.
        (999.9, "1K"),
        (999_999, "1M"),
        (999_999_999, "1B"),
    ],
)
def test_format_scale(value: float, text: str) -> None:
    assert format_scale(value) == text
