"""What objects say of themselves: short, safe, quick, and never an error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from helpers import SIZES, score_file, write_json
from studies import HOSTILE, study_of

import bigbench_meta as bm
from bigbench_meta.catalog.known_issues import KnownIssue, KnownIssues, known_issues
from bigbench_meta.catalog.published import data_path
from bigbench_meta.core.cards import Card, Carded
from bigbench_meta.core.text import drawable
from bigbench_meta.store import store as module

if TYPE_CHECKING:
    from pathlib import Path

GPT3 = bm.build_curves(bm.load_embedded())
SCORES = bm.score_curves(GPT3)
ACCOUNT = bm.account_for_flags(SCORES)


@pytest.fixture(scope="module")
def study() -> bm.Study:
    return bm.run_study(bm.load_embedded(), pd.DataFrame(columns=["source", "field", "reason",
                                                                  "severity"]))  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> bm.Study:
    return study_of(tmp_path_factory.mktemp("hostile"), [*HOSTILE, "\x1b[31mred", "a\nb" * 99])


@pytest.fixture
def store(tmp_path: Path) -> bm.Store:
    found = bm.Store(tmp_path / "store")
    found.ingest(data_path("gpt3_table_h1.csv"))
    return found


def html_of(one: Any) -> str:
    found = one._repr_html_()
    assert isinstance(found, str)
    return found


def tags(html: str) -> set[str]:
    return set(re.findall(r"<(\w+)", html))


OWN = {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "svg", "polyline"}


def test_curves() -> None:
    assert repr(GPT3).splitlines() == [
        "189 curves of 1,512 points",
        "  tasks     52: HellaSwag, LAMBADA, StoryCloze, NQs, ...",
        "  metrics   8: acc, ppl, BLEU-mb, BLEU-sb, ...",
        "  families  1: GPT-3",
        "  shots     13: 0, 1, 5, 7, ...",
        "  models    8 a curve",
        "  scale     total_params: 125M to 175B",
        "  see       curves[...], curves.sel(task=...), curves.points()",
    ]
    html = html_of(GPT3)
    assert html.count("<polyline") == 5
    assert "The first 5 of 189." in html
    assert tags(html) == OWN - {"ul", "li"}
    none = GPT3[:0]
    assert repr(none).startswith("0 curves of 0 points\n  tasks     none\n")
    assert "<svg" not in html_of(none)
    assert "0 to 19 a curve" in repr(bm.build_curves(bm.load_embedded("paper")))


def test_many_curves_take_no_more_room() -> None:
    many = GPT3[list(range(189)) * 700]
    assert repr(many).startswith("132,300 curves of 1,058,400 points\n")
    assert repr(many).splitlines()[1:] == repr(GPT3).splitlines()[1:]
    assert len(html_of(many)) < len(html_of(GPT3)) + 20


def test_study(study: bm.Study) -> None:
    title, facts = repr(study).split("\n  tables", 1)
    assert " ".join(title.split()) == study.headline
    rest = facts.splitlines()
    assert any("bm.explore(study)" in line for line in rest)
    assert len(rest) < 15
    html = html_of(study)
    for sentence in study.summary:
        assert sentence in html
    assert "flag ratio" in html
    assert html.count("<svg") == 1


def test_account() -> None:
    lines = repr(ACCOUNT).splitlines()
    assert lines[0] == "Account of 21 flags among 188 curves"
    assert "  sharp    21 of 176 curves (49 tasks) flagged: 12%, by task 5% to 23%" in lines
    assert lines[-1] == f"  - and {len(ACCOUNT.limitations) - 3} more"
    html = html_of(ACCOUNT)
    for sentence in ACCOUNT.limitations:
        assert sentence in html


def test_table_and_figure(study: bm.Study) -> None:
    table, figure = study.tables["curve_scores"], study.figures["threshold_sweep"]
    assert repr(table) == "Table 'curve_scores', 189 rows: Emergence score of every curve."
    html = html_of(table)
    assert html.count("<tr>") == 21
    assert "The first 20 of 189." in html
    assert repr(figure).startswith("Figure 'threshold_sweep': ")
    assert len(repr(figure)) == 100
    assert len(repr(study.tables).splitlines()) == 1


def test_known_issues() -> None:
    issues = known_issues()
    assert repr(issues).startswith(f"{len(issues.ids)} known issues\n")
    html = html_of(issues)
    assert all(name in html for name in issues.ids)
    assert repr(KnownIssues(())).splitlines()[:2] == ["0 known issues", "  ids  none"]


def test_store_answers_without_reading_rows(
    store: bm.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("read")

    monkeypatch.setattr(module, "_scan", refuse)
    monkeypatch.setattr(module.Manifest, "table", refuse)
    monkeypatch.setattr(module.Manifest, "path", refuse)  # which compares digests of whole files
    lines = repr(store).splitlines()
    assert lines[:3] == [
        f"Store({str(store.path)!r})", "  observations  1,512", "  samples       0",
    ]  # fmt: skip
    assert lines[3] == "  tasks         from ANLI R1 to word_scramble Symbol Insertion"
    assert "1,512" in html_of(store)


def test_of_many_parts_some_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bm.Store(tmp_path / "store")
    for number, (name, params) in enumerate(SIZES.items()):
        file = tmp_path / str(number) / f"scores_{name}.json"
        document = score_file(task_name="t", model_name=name, params=params, score_dict={"a": 0.5})
        write_json(file, document)
        store.ingest(file)
    monkeypatch.setattr(module, "_LOOKED_INTO", 2)
    assert f"observations  about {len(store.observations())}" in repr(store)
    monkeypatch.undo()
    assert f"observations  {len(store.observations())}" in repr(store)


def test_rows_that_are_no_longer_current_are_not_counted_exactly(
    tmp_path: Path,
) -> None:
    for name, params in SIZES.items():
        document = score_file(task_name="t", model_name=name, params=params, score_dict={"a": 0.5})
        write_json(tmp_path / "tree" / "t" / "results" / f"scores_{name}.json", document)
    store = bm.Store(tmp_path / "store")
    store.ingest(tmp_path / "tree")
    store.remove(store.files()["label"][0])
    assert f"observations  about {len(SIZES)}" in repr(store)
    store.compact()
    assert f"observations  {len(SIZES) - 1}" in repr(store)


def test_a_damaged_store_says_so(store: bm.Store) -> None:
    (store.path / "manifest.json").write_text("{")
    lines = repr(store).splitlines()
    assert lines[0] == f"Store({str(store.path)!r})"
    assert "damaged" in " ".join(lines[1:])
    assert "damaged" in html_of(store)


def test_names_are_text(hostile: bm.Study) -> None:
    """No name becomes HTML, steers the terminal or makes a line of its own."""
    issue = KnownIssue(id="x", task="<script>alert(1)</script>", effect="<img src=x>")
    shown = [hostile.curves, bm.account_for_flags(hostile.scores), KnownIssues((issue,)),
             hostile.tables["flagged_curves"], hostile]  # fmt: skip
    for one in shown:
        html = html_of(one)
        if one is hostile:  # its figure has elements of Vega's
            html = re.sub("<svg.*?</svg>", "", html, flags=re.DOTALL)
        assert tags(html) <= OWN
        assert drawable(html) == html
        assert "\x1b" not in repr(one)
        assert max(map(len, repr(one).splitlines())) <= 110
    assert "&lt;script&gt;alert(1)" in html_of(hostile.curves)


class Broken(Carded):
    def _card(self) -> Card:
        raise KeyError("\x1b[31mgone")


def test_what_cannot_be_said_is_no_error() -> None:
    assert repr(Broken()) == "<Broken: KeyError: '\\x1b[31mgone'>"
    assert Broken()._repr_html_() is None
    half = object.__new__(bm.Study)  # as a debugger meets it within __init__
    assert repr(half).startswith("<Study: AttributeError")
    assert half._repr_html_() is None
    lost = bm.Table(name="t", caption="c", frame=pd.DataFrame({"a": [1]}), columns=("b",))
    assert repr(lost) == "Table 't', 1 row: c"
    assert lost._repr_html_() is None
