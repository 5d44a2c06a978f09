"""Tables in LaTeX: in one column or across two, never shrunk."""

from __future__ import annotations

import re

import pytest

from bigbench_meta.report.tables.latex import PREAMBLE, latex_table, latex_text


def made(
    header: list[str], rows: list[list[str]], alignment: list[str] | None = None,
    caption: str = "A finding.",
) -> str:  # fmt: skip
    return latex_table(
        header, rows, alignment or ["left"] * len(header), caption=caption, label="x"
    )


def spec(text: str) -> str:
    (found,) = re.findall(r"\\begin\{tabular\}\{(.*)\}$", text, flags=re.MULTILINE)
    return str(found)


def test_a_narrow_table_stands_in_one_column() -> None:
    text = made(["task", "curves"], [["sums", "12"]], ["left", "right"])
    assert text.startswith(f"% Needs {PREAMBLE} in the preamble.\n\\begin{{table}}\n")
    assert spec(text) == "lr"
    assert "resizebox" not in text
    assert r"\small" not in text.replace(r"\smallskip", "")


def test_a_wide_table_stands_across_both_and_breaks_its_longest_texts() -> None:
    long = "a step exceeds the smooth mechanism with the variation between models of its family"
    text = made(["criterion", *"abcdef"], [[long, *["1,234/5,678"] * 6]])
    assert r"\begin{table*}" in text
    assert re.fullmatch(r">\{\\raggedright\\arraybackslash\}p\{\d+pt\}l{6}", spec(text))


def test_titles_are_broken_into_lines() -> None:
    text = made(["task", "share of all curves"], [["sums", "1.5%"]], ["left", "right"])
    assert r"\begin{tabular}[b]{@{}r@{}}share of\\all\\curves\end{tabular}" in text


def test_numbers_are_aligned_at_their_points() -> None:
    text = made(["E", "n"], [["12.5", "3"], ["-3.25", "14"], ["∞", "5"], ["–", "6"]],
                ["right", "right"])  # fmt: skip
    assert spec(text) == "S[table-format=2.2]r"
    cells = [line.split(" & ")[0].strip() for line in text.splitlines() if " & " in line]
    assert cells == ["{E}", "12.5", "-3.25", r"{\ensuremath{\infty}}", r"{{\textendash}}"]


@pytest.mark.parametrize(
    ("caption", "first", "note"),
    [
        ("Found by Wei et al. (2022). The rest. And more.", "Found by Wei et al. (2022).",
         "The rest. And more."),
        ("Of 3 curves, 1.5% are.", "Of 3 curves, 1.5\\% are.", ""),
        ("See App. A of it. Then.", "See App. A of it.", "Then."),
    ],
)  # fmt: skip
def test_the_first_sentence_is_the_caption(caption: str, first: str, note: str) -> None:
    text = made(["a"], [["b"]], caption=caption)
    assert rf"\caption{{{first}}}" in text
    assert (r"\parbox" in text) == bool(note)
    assert note in text


def test_a_table_without_rows_has_its_titles() -> None:
    assert "task & curves" in made(["task", "curves"], [], ["left", "right"])


def test_names_may_be_broken_where_words_are_joined() -> None:
    name = "_".join(["word"] * 30)
    text = made(["task", *"abcd"], [[name, *["12345678901234"] * 4]])
    assert text.count(r"\allowbreak") == 29
    assert latex_text("a_b") == r"a\_b"
