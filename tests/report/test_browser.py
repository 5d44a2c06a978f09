"""Reports in a headless Chromium: what is sorted, searched, clicked, kept in the address, printed.

Needs playwright, and a Chromium of the system or of playwright; skipped where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pandas as pd
import pytest
from studies import HOSTILE, study_of

import bigbench_meta as bm
from bigbench_meta.catalog.embedded import embedded_set
from bigbench_meta.core.schema import PROBLEMS, to_frame
from bigbench_meta.readers import load_embedded
from bigbench_meta.report.page import study_files
from bigbench_meta.report.study import run_study

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog, FrameLocator, Locator, Page

PHONE = {"viewport": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def gpt3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an embedded set without inference."""
    problems = to_frame(PROBLEMS.empty())
    study = run_study(load_embedded("gpt3"), problems, embedded=embedded_set("gpt3"))
    return written(tmp_path_factory.mktemp("gpt3"), study_files(study, ["GPT-3"]))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    return written(folder, study_files(study_of(folder, HOSTILE), HOSTILE))


def written(folder: Path, contents: dict[str, str | bytes]) -> Path:
    path = folder / "report.html"
    path.write_text(str(contents["report.html"]), encoding="utf-8")
    return path


class Opened:
    """A page in a tab of its own, with what went wrong and what it asked for."""

    def __init__(self, browser: Browser, path: Path, fragment: str = "", **options: Any) -> None:
        self.page: Page = browser.new_context(**options).new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", self._told)
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(path.as_uri() + fragment)
        if options.get("java_script_enabled", True):
            self.page.wait_for_selector("html[data-ready]", state="attached")

    def _told(self, dialog: Dialog) -> None:
        self.wrong.append(dialog.message)
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "blob:", "data:")):
            self.wrong.append(url)

    def rows(self, selector: str, column: int) -> list[str]:
        return self.page.locator(f"{selector} tbody td:nth-child({column})").all_inner_texts()

    def sorted(self, head: Locator, order: str) -> None:
        """Wait until a table is sorted, which takes it a moment, by a column."""
        head.and_(self.page.locator(f"[aria-sort={order}]")).wait_for()

    @property
    def found(self) -> str:
        return self.page.inner_text("#curves .dt-info")

    @property
    def state(self) -> dict[str, list[str]]:
        return parse_qs(self.page.url.partition("#explorer?")[2])


def column(opened: Opened, box: str, label: str) -> int:
    heads = opened.page.locator(f"{box} thead th").all_inner_texts()
    return 1 + [head.strip() for head in heads].index(label)


def test_tables_are_sorted_filtered_and_downloaded(browser: Browser, gpt3: Path) -> None:
    opened = Opened(browser, gpt3)
    box = "[data-table=by_metric]"
    flagged = column(opened, box, "flagged")
    before = opened.rows(box, flagged)
    head = opened.page.locator(f"{box} thead th:nth-child({flagged})")
    head.click()
    opened.sorted(head, "ascending")
    assert opened.rows(box, flagged) == sorted(before, key=int)
    head.locator("[role=button]").press("Enter")
    opened.sorted(head, "descending")
    assert opened.rows(box, flagged) == sorted(before, key=int, reverse=True)
    opened.page.fill(f"{box} input[type=search]", "BLEU")
    assert sorted(opened.rows(box, 1)) == ["BLEU-mb", "BLEU-sb"]
    with opened.page.expect_download() as told:
        opened.page.click(f"{box} button")
    assert told.value.suggested_filename == "by_metric.csv"
    table = pd.read_csv(told.value.path())
    assert table.set_index("metric").loc["acc", "n_flagged"] == 19
    assert opened.wrong == []


def test_more_rows_than_are_written_out(browser: Browser, gpt3: Path) -> None:
    """Claims: 12 rows stand in the page's text, and 31 can be searched."""
    opened = Opened(browser, gpt3)
    box = "[data-table=claims_by_metric]"
    assert len(opened.rows(box, 1)) == 12
    assert opened.page.inner_text(f"{box} .dt-info") == "1 to 12 of 31 rows"
    opened.page.fill(f"{box} input[type=search]", "gender")
    assert len(opened.rows(box, 1)) == 2
    opened.page.fill(f"{box} input[type=search]", "")
    share = column(opened, box, "share of tasks")
    head = opened.page.locator(f"{box} thead th:nth-child({share})")
    head.click()
    opened.sorted(head, "ascending")
    shares = [float(text.rstrip("%")) for text in opened.rows(box, share)]
    assert shares == sorted(shares)
    assert opened.wrong == []


def test_curves_are_searched_filtered_and_kept_in_the_address(browser: Browser, gpt3: Path) -> None:
    opened = Opened(browser, gpt3)
    assert opened.found == "1 to 15 of 189 curves"
    opened.page.fill("#filters [name=q]", "arith 2d")
    assert opened.found == "1 to 9 of 9 curves (filtered from 189)"
    opened.page.select_option("#filters [name=shots]", "1")
    opened.page.fill("#filters [name=above]", "10")
    n, rows = opened.found, opened.rows("#curves", 1)
    assert set(rows) <= {"arithmetic 2D+", "arithmetic 2D-", "arithmetic 2Dx"}
    opened.page.locator("#curves th:first-child").click()
    opened.page.locator("#curves tbody button").first.press("Enter")
    opened.page.wait_for_selector("#chosen .plot svg")
    state = opened.state
    assert state.keys() == {"q", "shots", "above", "sort", "curve"}
    assert state["sort"] == ["task:asc"]
    # The address alone gives the same view.
    again = Opened(browser, gpt3, f"#{opened.page.url.partition('#')[2]}")
    again.page.wait_for_selector("#chosen .plot svg")
    assert (again.found, again.state) == (n, state)
    assert again.page.inner_text("#chosen h3 >> nth=0") == opened.page.inner_text(
        "#chosen h3 >> nth=0"
    )
    again.page.click("#filters button >> text=Clear")
    assert again.found == "1 to 15 of 189 curves"
    assert opened.wrong == again.wrong == []


def test_a_click_shows_the_curve_under_every_metric(browser: Browser, gpt3: Path) -> None:
    opened = Opened(browser, gpt3, "#explorer?q=BLEU-mb&sort=emergence_score:desc")
    opened.page.locator("#curves tbody tr").first.click()
    opened.page.wait_for_selector("#chosen section:nth-of-type(2) .plot svg")
    assert opened.page.locator("#chosen section h3").all_inner_texts() == ["BLEU-mb", "BLEU-sb"]
    point = opened.page.locator("#chosen section .mark-symbol path").last
    point.hover()
    tooltip = opened.page.wait_for_selector("#vg-tooltip-element.visible")
    assert tooltip.inner_text().split("\n")[:2] == ["model\t175B", "size\t175B"]
    with opened.page.expect_download() as told:
        opened.page.locator("#chosen section button >> text=CSV").first.click()
    points = pd.read_csv(told.value.path())
    assert len(points) == 8
    assert points["x"].is_monotonic_increasing
    assert opened.wrong == []


# What pages that show notebooks let run: all, and what VS Code's do (no blob).
NOTEBOOKS = {
    "jupyter": "",
    "vscode": "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src "
    "'unsafe-inline'; img-src https: http: data:; connect-src https:; child-src https: data:",
}


def in_a_notebook(
    browser: Browser, folder: Path, cells: str, policy: str = ""
) -> tuple[Opened, FrameLocator]:
    """Open a page with outputs of cells, one of them the explorer, and wait for its frame."""
    notebook = folder / "notebook.html"
    notebook.write_text(
        f'<!doctype html><html data-ready="yes"><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">{cells}',
        encoding="utf-8",
    )
    opened = Opened(browser, notebook)
    frame = opened.page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    return opened, frame


@pytest.mark.parametrize("policy", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_explorer_in_a_cell_of_a_notebook(browser: Browser, tmp_path: Path, policy: str) -> None:
    curves = bm.build_curves(load_embedded("gpt3"))
    scores = bm.score_curves(curves)
    cells = f"<p>Another cell</p>{bm.explore(curves, scores)._repr_html_()}"
    opened, frame = in_a_notebook(browser, tmp_path, cells, policy)
    info = frame.locator("#curves .dt-info")
    assert info.inner_text() == "1 to 8 of 189 curves"
    frame.locator("#filters [name=q]").fill("BLEU-mb")
    assert info.inner_text() == "1 to 8 of 18 curves (filtered from 189)"
    frame.locator("#curves tbody tr").first.click()
    frame.locator("#chosen section:nth-of-type(2) .plot svg").wait_for()
    assert frame.locator("#chosen section h3").all_inner_texts() == ["BLEU-mb", "BLEU-sb"]
    with opened.page.expect_download() as told:
        frame.locator("#filters button >> text=CSV").click()
    saved = pd.read_csv(told.value.path())
    assert len(saved) == 18
    expected = scores[scores["metric"] == "BLEU-mb"]["emergence_score"]
    assert sorted(saved["emergence_score"]) == pytest.approx(sorted(expected))
    # The frame is in a world of its own, and asks nothing of a network.
    assert frame.locator("html").evaluate("() => window.origin") == "null"
    assert all("blob:" in text for text in opened.wrong if policy)
    assert policy or opened.wrong == []


def test_hostile_names_in_a_cell(browser: Browser, tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", HOSTILE)
    cells = f"{study._repr_html_()}{bm.explore(study)._repr_html_()}"
    opened, frame = in_a_notebook(browser, tmp_path, cells)
    found = set(frame.locator("#curves tbody td:first-child").all_inner_texts())
    assert found
    assert found <= set(HOSTILE)
    frame.locator("#curves tbody tr").first.click()
    frame.locator("#chosen .plot svg").first.wait_for()
    assert frame.locator("img, iframe, object, embed, link, u, b").count() == 0
    assert opened.page.locator("img, object, embed, script, link, u").count() == 0
    assert opened.wrong == []


def test_figures_are_hovered_and_downloaded(browser: Browser, gpt3: Path) -> None:
    opened = Opened(browser, gpt3)
    figure = opened.page.locator("[data-figure=emergence_by_metric]")
    figure.scroll_into_view_if_needed()
    figure.locator(".vega-embed svg").wait_for()
    figure.locator(".mark-symbol path").first.hover(force=True)
    assert (
        "emergence_score"
        in opened.page.wait_for_selector("#vg-tooltip-element.visible").inner_text()
    )
    for kind, begins in (("SVG", b"<svg"), ("PNG", b"\x89PNG"), ("CSV", b"task,")):
        with opened.page.expect_download() as told:
            figure.get_by_text(kind, exact=True).click()
        assert told.value.path().read_bytes().startswith(begins)
    assert opened.wrong == []


def test_hostile_names_are_text_wherever_they_appear(browser: Browser, hostile: Path) -> None:
    opened = Opened(browser, hostile)
    page = opened.page
    assert sorted(set(opened.rows("#curves", 1))) == sorted(HOSTILE)
    for name in HOSTILE:
        page.fill("#filters [name=q]", name)
        assert set(opened.rows("#curves", 1)) >= {name}
        page.locator("#curves tbody tr", has_text=name).first.click()
        page.wait_for_selector("#chosen section:nth-of-type(2) .plot svg")
        assert name in page.inner_text("#chosen h3 >> nth=0")
        assert name in opened.state["curve"][0].replace('\\"', '"')
    page.click("summary")
    box = "[data-table=flagged_curves]"
    # Lists of types have a blank behind each semicolon, so that lines can break there.
    assert sorted(opened.rows(box, 1)) == sorted(n.replace(";", "; ").strip() for n in HOSTILE)
    page.fill(f"{box} input[type=search]", "<script>")
    assert opened.rows(box, 1) == ["<script>alert(1)</script>"]
    for figure in page.locator("[data-figure]").all():
        figure.scroll_into_view_if_needed()
    page.locator("[data-figure=flagged_curves] .mark-symbol path").first.hover(force=True)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert page.locator("img, iframe, object, embed, link, u").count() == 0
    assert page.locator("b").count() == 5  # the page's own, in its list of facts
    assert opened.wrong == []


def test_without_script_the_page_says_the_same(browser: Browser, gpt3: Path) -> None:
    opened = Opened(browser, gpt3, java_script_enabled=False)
    assert "21 of 189 curves look emergent" in opened.page.inner_text(".answer")
    assert opened.page.locator(".plot svg").count() == 4
    assert len(opened.rows("[data-table=by_metric]", 1)) == 8
    assert "needs a browser" in opened.page.inner_text("#explorer-app")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_both_colours(browser: Browser, gpt3: Path, scheme: Any) -> None:
    opened = Opened(browser, gpt3, color_scheme=scheme, **PHONE)
    opened.page.locator("#curves tbody tr").first.click()
    opened.page.wait_for_selector("#chosen .plot svg")
    for figure in opened.page.locator("[data-figure]").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".vega-embed svg").wait_for()
    # Columns that do not fit are hidden until asked for; text is within the page.
    cells = "[...document.querySelectorAll('td')].map((e) => e.getBoundingClientRect().right)"
    assert max(opened.page.evaluate(cells)) <= 391
    assert "E" in [head.split()[0] for head in opened.page.locator("#curves th").all_inner_texts()]
    opened.page.locator("#curves").get_by_role("button", name="All 10 columns").click()
    assert max(opened.page.evaluate(cells)) > 391
    opened.page.locator("#curves").get_by_role("button", name="Fewer columns").click()
    assert max(opened.page.evaluate(cells)) <= 391
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 390
    beyond = """[...document.querySelectorAll('p, li, caption, figcaption, h1, h2, h3, dd, label')]
        .filter((e) => e.getBoundingClientRect().right > 391).map((e) => e.textContent)"""
    assert opened.page.evaluate(beyond) == []
    ground, ink = opened.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    dark, light = sorted((ground, ink), key=lambda colour: int(colour[4:].split(",")[0]))
    assert (ground, ink) == ((light, dark) if scheme == "light" else (dark, light))
    turned = opened.page.evaluate("getComputedStyle(document.querySelector('.plot')).filter")
    assert turned.startswith("none" if scheme == "light" else "invert")
    assert opened.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_bars_the_way_of_a_screen_reader(
    browser: Browser, gpt3: Path, scheme: Any
) -> None:
    """What axe-core finds; its lesser findings are advice."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    opened = Opened(browser, gpt3, color_scheme=scheme, viewport={"width": 1280, "height": 900})
    opened.page.locator("#curves tbody tr").first.click()
    opened.page.wait_for_selector("#chosen .plot svg")
    found = axe.Axe().run(opened.page).response["violations"]
    assert [
        (one["id"], one["impact"], one["nodes"][0]["html"])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ] == []


def test_on_paper_nothing_is_hidden_or_cut(browser: Browser, gpt3: Path) -> None:
    # A4 less its margins, as pixels of CSS.
    opened = Opened(browser, gpt3, viewport={"width": 688, "height": 1000}, color_scheme="dark")
    page = opened.page
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details").count() == page.locator("details[open]").count() == 1
    assert page.evaluate(
        "[...document.querySelectorAll('table, .plot svg, p, caption')]"
        ".filter((e) => e.getBoundingClientRect().right > 690).length"
    ) == 0  # fmt: skip
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("button:visible, input:visible").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert opened.wrong == []
