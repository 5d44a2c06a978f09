"""The files of a study: all that are listed, and a page that needs nothing but itself."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from helpers import SIZES, score_file, write_tree
from studies import HOSTILE, study_of

import bigbench_meta as bm
from bigbench_meta.aggregate.options import StudyOptions
from bigbench_meta.catalog.embedded import embedded_set
from bigbench_meta.catalog.known_issues import KnownIssues
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import PROBLEMS, to_frame
from bigbench_meta.readers import load_embedded
from bigbench_meta.report import files
from bigbench_meta.report import page as report
from bigbench_meta.report.folder import Run, write_files
from bigbench_meta.report.page import studies_files, study_files
from bigbench_meta.report.study import Study, run_study
from bigbench_meta.report.tables.table import Table

if TYPE_CHECKING:
    from pathlib import Path

TABLES = (
    "by_metric", "by_metric_type", "threshold_sweep", "claims_by_metric", "flagged_curves",
    "known_issues",
)  # fmt: skip
LISTINGS = ("curve_scores", "problems")
FIGURES = ("emergence_by_metric", "flagged_curves", "threshold_sweep", "claims_by_metric")
# Elements that load or run something, beside scripts.
ACTIVE = {"iframe", "img", "link", "object", "embed", "base", "form", "video", "audio"}


class Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            attributes, before = self.scripts.pop()
            self.scripts.append((attributes, before + data))
        elif self.inside != "style":
            self.text += data

    @property
    def policy(self) -> str:
        """What the page says that it may load and run."""
        return next(value for _, value in self.attributes if value.startswith("default-src"))

    def strange_scripts(self) -> list[str]:
        """Return scripts that are neither mere data nor what the page's policy names."""
        return [
            text or "empty"
            for attributes, text in self.scripts
            if attributes.get("type") != "text/plain"
            and f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" not in self.policy
        ]


RUN = Run(command="analyze")


def write_study(study: Study, folder: Path, *, sources: list[str]) -> list[Path]:
    return write_files(folder, study_files(study, sources), RUN)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study_of(tmp_path_factory.mktemp("plain"), ["alpha", "beta"])


@pytest.fixture(scope="module")
def written(
    study: Study, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Path], list[tuple[int, int]]]:
    """The study on disk: folder, files, and what progress was told."""
    folder = tmp_path_factory.mktemp("out") / "deep" / "study"
    told: list[tuple[int, int]] = []
    contents = study_files(study, ["results <of> A & B"])
    files = write_files(folder, contents, RUN, progress=lambda *done: told.append(done))
    return folder, files[:-1], told


@pytest.fixture(scope="module")
def page(written: tuple[Path, list[Path], Any]) -> str:
    return (written[0] / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    folder = tmp_path_factory.mktemp("hostile")
    study = study_of(folder, HOSTILE)
    write_study(study, folder / "out", sources=HOSTILE)
    return folder / "out", study


def test_files_are_those_listed(written: tuple[Path, list[Path], list[tuple[int, int]]]) -> None:
    folder, files, told = written
    assert [path for path in files if not path.stat().st_size] == []
    assert {*files, folder / "run.json"} == {p for p in folder.rglob("*") if p.is_file()}
    assert {path.relative_to(folder).as_posix() for path in files} == {
        "report.html",
        "citations.bib",
        *(f"tables/{name}{ending}" for name in TABLES
          for ending in (".csv", ".md", ".tex", ".parquet")),
        *(f"tables/{name}.{ending}" for name in LISTINGS for ending in ("csv", "parquet")),
        *(f"figures/{name}.{end}" for name in FIGURES
          for end in ("svg", "pdf", "png", "vl.json", "csv")),
    }  # fmt: skip
    assert told == [(n, len(files)) for n in range(1, len(files) + 1)]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_what_their_endings_say(written: tuple[Path, Any, Any], name: str) -> None:
    path = written[0] / "figures" / name
    png = path.with_suffix(".png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    svg = ET.fromstring(path.with_suffix(".svg").read_text(encoding="utf-8"))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    # 96 pixels of an SVG are an inch, and 300 of the PNG.
    assert width == pytest.approx(300 / 96 * float(svg.attrib["width"]), abs=2)
    assert height == pytest.approx(300 / 96 * float(svg.attrib["height"]), abs=2)
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    spec = json.loads((path.parent / f"{name}.vl.json").read_text(encoding="utf-8"))
    assert "vega-lite" in spec["$schema"]


@pytest.mark.parametrize("name", [*TABLES, *LISTINGS])
def test_tables_on_disk_are_those_of_the_study(
    study: Study, written: tuple[Path, Any, Any], name: str
) -> None:
    text = (written[0] / "tables" / f"{name}.csv").read_bytes().decode()
    assert text == study.tables[name].frame.to_csv(index=False, lineterminator="\n")
    if name in TABLES:
        markdown = (written[0] / "tables" / f"{name}.md").read_text(encoding="utf-8")
        assert markdown == study.tables[name].to_markdown()
        tex = (written[0] / "tables" / f"{name}.tex").read_text(encoding="utf-8")
        assert tex == study.tables[name].to_latex()


@pytest.mark.parametrize("name", FIGURES)
def test_data_of_figures(study: Study, written: tuple[Path, Any, Any], name: str) -> None:
    text = (written[0] / "figures" / f"{name}.csv").read_text(encoding="utf-8")
    read = pd.read_csv(io.StringIO(text))
    assert list(read) == list(study.figures[name].data)
    assert len(read) == len(study.figures[name].data) > 0


def loads(text: str) -> list[str]:
    """Return whatever in a page would be fetched from elsewhere, or run."""
    found = Page(text)
    references = [
        value
        for name, value in found.attributes
        if name in {"src", "href", "xlink:href", "data", "srcset", "action", "poster"}
        and not value.startswith(("#", "data:"))
    ]
    handlers = [name for name, _ in found.attributes if name.startswith("on")]
    styles = re.findall(r"@import[^;]*|url\((?!['\"]?(?:#|data:))[^)]*\)", text)
    active = sorted(ACTIVE & set(found.tags))
    return [*references, *handlers, *styles, *active, *found.strange_scripts()]


def test_page_needs_nothing_else(page: str) -> None:
    assert loads(page) == []
    assert page.count("<svg") == len(FIGURES)
    assert '<meta charset="utf-8">' in page


@pytest.mark.parametrize(
    "planted",
    [
        "<script src=x></script>",
        "<img src='https://x/y.png'>",
        "<script>x</script>",
        "<link rel=stylesheet href=//x>",
        "<style>@import 'x';</style>",
        "<p style='background: url(x.png)'>",
        "<svg onload=x>",
    ],
)
def test_the_check_for_that_would_notice(page: str, planted: str) -> None:
    assert loads(page.replace("</body>", f"{planted}</body>"))


def test_page_is_well_formed(page: str) -> None:
    class Balance(HTMLParser):
        open: list[str]

        def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
            if tag not in {"meta", "br"}:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    parser = Balance()
    parser.open = []
    parser.feed(page)
    assert parser.open == []


def test_page_has_the_numbers_of_the_tables(page: str, study: Study) -> None:
    text = Page(page).text
    for name in TABLES:
        for row in study.tables[name].text()[1]:
            assert [cell for cell in row if f"{cell}" not in text] == []
    for name in ("by_metric", "by_metric_type", "threshold_sweep", "claims_by_metric"):
        assert study.tables[name].to_html() in page
    facts = re.findall(r"<li><b>(.*?)</b><span>(.*?)</span></li>", page)
    assert facts == [
        ("4", "curves, level “task”"),
        ("4", "with an emergence score E"),
        ("2", "with E above 100"),
        ("2", "of those infinite"),
        ("0", "problems in the input"),
    ]


def test_contents_lead_to_the_sections(page: str, two_sets: tuple[Path, list[Path]]) -> None:
    for text in (page, (two_sets[0] / "report.html").read_text("utf-8")):
        found = Page(text)
        ids = [value for name, value in found.attributes if name == "id"]
        hrefs = [value for name, value in found.attributes if name == "href"]
        links = [value[1:] for value in hrefs if value.startswith("#")]
        assert len(links) >= 4
        assert len(set(ids)) == len(ids)
        assert set(links) <= set(ids)
        headings = re.findall(r'<h2 id="([\w-]+)">', text)
        assert headings == links


def test_page_carries_what_its_script_unpacks(page: str, study: Study) -> None:
    scripts = {a.get("id"): text for a, text in Page(page).scripts if a["type"] == "text/plain"}
    data = {
        str(name).removeprefix("packed-"): gzip.decompress(b64decode(text))
        for name, text in scripts.items()
    }
    assert set(data) == {"datatables", "vega", "tables", "figures", "curves"}
    assert b"DataTables" in data["datatables"]
    assert b"window.vegaEmbed=" in data["vega"]
    tables, figures = json.loads(data["tables"]), json.loads(data["figures"])
    by_metric = pd.read_csv(io.StringIO(tables["by_metric"]["csv"]))
    assert list(by_metric) == list(study.tables["by_metric"].columns or ())
    assert by_metric["n_flagged"].tolist() == study.tables["by_metric"].frame["n_flagged"].tolist()
    assert set(figures) == set(FIGURES)
    curves = json.loads(data["curves"])
    columns = {column["name"]: column for column in curves["columns"]}
    tasks = [columns["task"]["texts"][code] for code in columns["task"]["codes"]]
    assert tasks == study.scores["task"].astype(str).tolist()
    assert columns["emergence_score"]["numbers"].count("inf") == study.n_infinite == 2
    # The same outputs under two metrics have one number.
    assert len(set(curves["outputs"])) == 2 == len(curves["outputs"]) / 2
    assert curves["points"]["offsets"] == study.curves.offsets.tolist()
    assert curves["points"]["score"]["numbers"] == study.curves.y.tolist()


def test_long_tables_have_more_rows_inside_than_are_written_out() -> None:
    frame = pd.DataFrame({"task": [f"task {n}" for n in range(60)], "n_curves": range(60)})
    inside = report._Inside({})
    inside.table(Table(name="long", caption="c", frame=frame, most_rows=50))
    inside.table(Table(name="short", caption="c", frame=frame))
    cells = inside.tables["long"]["columns"]
    assert cells[0]["cells"] == frame["task"].tolist()
    assert cells[1] == {"cells": [str(n) for n in range(60)], "numbers": list(range(60))}
    assert inside.tables["long"]["csv"].count("\n") == 61
    assert "columns" in inside.tables["short"]
    inside.table(Table(name="all", caption="c", frame=frame, most_rows=60))
    assert "columns" not in inside.tables["all"]


def test_page_names_its_sources(page: str) -> None:
    assert "Emergence scores of results &lt;of&gt; A &amp; B." in page
    assert f"bigbench-meta {bm.__version__}." in page


def test_captions_are_on_the_page(page: str, study: Study) -> None:
    text = Page(page).text
    assert [name for name in FIGURES if study.figures[name].caption not in text] == []


def test_hostile_names_do_nothing_on_the_page(hostile: tuple[Path, Study]) -> None:
    text = (hostile[0] / "report.html").read_text(encoding="utf-8")
    assert loads(text) == []
    found = Page(text)
    assert {"b", "u"} & set(found.tags) == {"b"}  # the page's own, in its list of facts
    assert found.tags.count("b") == 5
    # Every name is there to be read: once in the first line, and in the tables.
    assert [name for name in HOSTILE if found.text.count(name) < 2] == []
    assert str(7654321 * 3) not in found.text


@pytest.mark.parametrize("name", FIGURES)
def test_hostile_names_do_nothing_in_figures(hostile: tuple[Path, Study], name: str) -> None:
    text = (hostile[0] / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    assert loads(text) == []
    svg = ET.fromstring(text)
    tags = {element.tag.rpartition("}")[2] for element in svg.iter()}
    assert not tags & (ACTIVE | {"script", "foreignObject", "a", "b", "u"})
    if name == "flagged_curves":
        # A long name is broken where its words are joined.
        drawn = "".join(element.text or "" for element in svg.iter()).replace(" ", "")
        assert [name for name in HOSTILE if name.replace(" ", "") not in drawn] == []


CONTROLS = ["\x00", "\x08", "\x1b[31m", "\x7f", "\u2028", "\ufffe"]


@pytest.mark.full
def test_characters_that_no_svg_can_hold(tmp_path: Path) -> None:
    """In a process of its own: a crash of the renderer would take the tests with it."""
    tasks = [f"a{character}b" for character in CONTROLS]
    study_of(tmp_path, tasks)
    code = "from bigbench_meta.cli.main import main; main()"
    command = [sys.executable, "-c", code, "analyze", "tree", "--out", "out", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:300]
    assert json.loads(done.stdout)["n_flagged"] == len(tasks)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not set(page) & {"\x00", "\x08", "\x1b"}
    # The tables have the names as they are.
    scores = (tmp_path / "out" / "tables" / "curve_scores.csv").read_text(encoding="utf-8")
    assert [task for task in tasks if task not in scores] == []


def test_known_issues_are_listed_with_their_sources(study: Study, tmp_path: Path) -> None:
    text = report._page(study, drawn(study), ["x"])
    assert "Known issues of the data" not in text
    path = tmp_path / "own.csv"
    path.write_text(
        "id,metric,level,effect,source\n"
        'found,ppl,scores,<u>bad</u>,https://example.org/?a&"b\n'
        "script,f1*,scores,worse,javascript:alert(1)\n"
        "other,none,scores,elsewhere,https://example.org/other\n",
        encoding="utf-8",
    )
    issues = KnownIssues.read(path)
    options = StudyOptions(issues=issues, exclude_known_issues=["script"])
    found = run_study(load_embedded(), study.problems, options)
    text = report._page(found, drawn(found), ["x"])
    page = Page(text)
    links = [v for name, v in page.attributes if name == "href" and not v.startswith("#")]
    assert links == ['https://example.org/?a&"b']
    assert "javascript:alert(1)" in page.text
    assert "<u>bad</u>" in page.text
    assert "u" not in page.tags
    assert "elsewhere" not in page.text
    assert re.search(r"Excluded for known issues: \d+ rows of .* script \(", page.text)
    assert set(page.tags) & ACTIVE == set()


def drawn(study: Study) -> dict[str, Any]:
    return {
        path: content
        for figure in study.figures.values()
        for path, content in files.figure_files(figure).items()
    }


def test_problems_are_listed_and_escaped(study: Study, page: str) -> None:
    rows = [("<i>.json", "scores[0]", 'got "<script>"', "error")]
    problems = pd.DataFrame(rows, columns=PROBLEMS.names)
    table = replace(study.tables["problems"], frame=problems)
    told = replace(study, problems=problems, tables=study.tables | {"problems": table})
    text = report._page(told, drawn(told), ["x"])
    assert loads(text) == []
    assert Page(text).tags.count("i") == Page(page).tags.count("i")
    assert 'got "<script>"' in Page(text).text
    assert "<i>.json" in Page(text).text
    assert "<b>1</b><span>problems in the input" in text


def test_nothing_flagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.vl_convert, "svg_to_png", lambda *_, **__: b"")
    study = study_of(tmp_path, ["alpha"], scores=(0.1, 0.2, 0.3, 0.4), threshold=50)
    assert set(study.figures) == {"emergence_by_metric", "threshold_sweep", "claims_by_metric"}
    written = write_study(study, tmp_path / "out", sources=["x"])
    assert not any(path.name.startswith("flagged_curves.svg") for path in written)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "No curve has an emergence score above 50." in page
    assert page.count("<svg") == 3
    assert (tmp_path / "out" / "tables" / "flagged_curves.csv").read_text().count("\n") == 1


def test_no_curve_has_a_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.vl_convert, "svg_to_png", lambda *_, **__: b"")
    study = study_of(tmp_path, ["alpha"], min_scales=9)
    write_study(study, tmp_path / "out", sources=["x"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<b>0</b><span>with an emergence score E</span>" in page


def test_assumed_directions_are_counted(tmp_path: Path) -> None:
    write_tree(
        tmp_path / "tree",
        [
            score_file(
                model_name=name, params=params, score_dict={"own metric": params / 1e9},
                preferred_score="own metric", low_score=0, high_score=0,
            )
            for name, params in SIZES.items()
        ],
    )  # fmt: skip
    study = run_study(*bm.read_results(tmp_path / "tree"))
    page = report._page(study, drawn(study), ["x"])
    assert "For 1 curve nothing says whether a higher score is better" in page


@pytest.mark.parametrize("taken", ["", "tables", "figures", "report.html"])
def test_place_that_is_taken(
    tmp_path: Path, study: Study, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.vl_convert, "vegalite_to_svg", lambda *_, **__: "<svg></svg>")
    monkeypatch.setattr(files.vl_convert, "svg_to_png", lambda *_, **__: b"")
    monkeypatch.setattr(files.vl_convert, "svg_to_pdf", lambda *_, **__: b"")
    folder = tmp_path / "out"
    if taken:
        folder.mkdir()
    if taken == "report.html":
        (folder / taken).mkdir()
    else:
        (folder / taken).write_text("x")
    reason = r"out/.*: (cannot be written: (File exists|Not a directory)|would be overwritten)"
    with pytest.raises(InputError, match=reason):
        write_study(study, folder, sources=["x"])


def test_study_without_problems_has_an_empty_table(written: tuple[Path, Any, Any]) -> None:
    text = (written[0] / "tables" / "problems.csv").read_text()
    assert text == ",".join(PROBLEMS.names) + "\n"
    assert list(to_frame(PROBLEMS.empty())) == PROBLEMS.names


# The overview of several sets --------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_sets(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """One study as evidence and as illustration, over an earlier study of results."""
    folder = tmp_path_factory.mktemp("two")
    write_study(study, folder, sources=["results"])
    (folder / "tables" / "mine.csv").write_text("kept")
    studies = {name: replace(study, embedded=embedded_set(name)) for name in ("lamda", "paper")}
    return folder, write_files(folder, studies_files(studies), RUN)[:-1]


def test_each_set_has_a_folder_of_its_own(
    two_sets: tuple[Path, list[Path]], written: tuple[Path, list[Path], Any]
) -> None:
    folder, files = two_sets
    of_one = {path.relative_to(written[0]).as_posix() for path in written[1]}
    own = {
        "report.html",
        "citations.bib",
        *(f"tables/sets.{ending}" for ending in ("csv", "md", "tex", "parquet")),
    }
    expected = own | {f"{name}/{path}" for name in ("lamda", "paper") for path in of_one}
    assert {path.relative_to(folder).as_posix() for path in files} == expected
    # The earlier study is gone; what somebody else put beside it is not.
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == expected | {"tables/mine.csv", "run.json"}
    for name in ("tables/by_metric.csv", "figures/flagged_curves.csv"):
        assert (folder / "lamda" / name).read_bytes() == (written[0] / name).read_bytes()


def test_overview_adds_nothing_up(two_sets: tuple[Path, list[Path]], study: Study) -> None:
    table = pd.read_csv(two_sets[0] / "tables" / "sets.csv").set_index("name")
    assert table["role"].to_dict() == {"lamda": "evidence", "paper": "illustration"}
    assert (table["n_flagged"] == study.n_flagged).all()
    # A share of curves that were chosen for their shape is no estimate.
    assert table["share_flagged"].isna().to_dict() == {"lamda": False, "paper": True}
    text = Page((two_sets[0] / "report.html").read_text("utf-8")).text
    assert text.count(study.headline) == 2
    assert text.count("An illustration.") == text.count("Evidence.") == 1
    assert study.tables["claims_by_metric"].caption in text


def test_pages_of_sets_link_to_each_other_and_load_nothing(
    two_sets: tuple[Path, list[Path]],
) -> None:
    folder = two_sets[0]
    links = loads((folder / "report.html").read_text("utf-8"))
    assert links == ["lamda/report.html", "paper/report.html"]
    assert all((folder / link).is_file() for link in links)
    for link in links:
        page = (folder / link).read_text("utf-8")
        assert loads(page) == ["../report.html"]
        shows = embedded_set(link.partition("/")[0]).shows
        assert shows in Page(page).text


def test_the_same_outputs_under_another_metric() -> None:
    observations = load_embedded("paper")
    observations = observations[observations["task"] == "logical_args"]
    problems = to_frame(PROBLEMS.empty())
    options = StudyOptions(threshold=10, level="subtask")
    study = run_study(observations, problems, options, inference=True, n_boot=99, yardstick=None)
    alone = bm.metric_change(observations, threshold=10, n_boot=99)
    assert study.pairs is not None
    pd.testing.assert_frame_equal(study.pairs, alone)
    assert study.figures["metric_change"].data["pair"].nunique() == len(alone) == 2
    page = Page(report._page(study, drawn(study), ["x"])).text
    assert study.pairs_sentence in page
    assert "Every pair as a table" in page
    one = observations[observations["metric"] == "brier_score"]
    without = run_study(one, problems, options, inference=True, n_boot=99, yardstick=None)
    assert "metric_change" not in without.figures
    assert without.tables["metric_change"].frame.empty
    page = Page(report._page(without, drawn(without), ["x"])).text
    assert "No two metrics score the same outputs." in page
    assert "Every pair as a table" not in page


def test_what_accounts_for_flags_is_not_asked_of_illustrations() -> None:
    observations = load_embedded("paper")
    observations = observations[observations["task"].isin(["logical_args", "periodic_elements"])]
    problems = to_frame(PROBLEMS.empty())
    entry = embedded_set("paper")
    study = run_study(observations, problems, embedded=entry, inference=True, n_boot=99)
    assert study.account is None
    assert "evidence_summary" in study.tables
    assert "flag_ratios" not in study.tables
    as_results = run_study(observations, problems, inference=True, n_boot=99)
    assert set(as_results.tables) > set(study.tables)
    assert as_results.account
