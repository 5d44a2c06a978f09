"""The documentation site: what it lists and where it leads; in .ci/full, how it is when built."""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import PAGES, ROOT

import bigbench_meta as bm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

DOCS = ROOT / "docs"
BUILT = DOCS / "_build" / "html"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OTHERS = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/SOURCES.md")
]

_TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^(`{3,}).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|<(?:img|a)\s[^>]*(?:src|href)=\"([^\"]+)\"")


def text_of(page: Path) -> str:
    text = page.read_text("utf-8")
    if page.suffix == ".md":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"]
                       if cell["cell_type"] == "markdown")  # fmt: skip


def entries(page: Path) -> Iterator[str]:
    """Yield the pages that a page lists, as paths from the checkout without an ending."""
    for block in _TOCTREE.findall(page.read_text("utf-8")):
        for line in block.splitlines():
            name = re.sub(r".*<(.+)>$", r"\1", line.strip())
            if name and not name.startswith(":"):
                folder = page.parent.relative_to(ROOT).as_posix()
                yield posixpath.normpath(f"{folder}/{name}")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as a Git host makes them."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub(lambda found: found[0].strip("`"), text_of(page)),
                          re.MULTILINE)  # fmt: skip
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_listed_once():
    listed: list[str] = []
    waiting = ["docs/index"]
    while waiting:
        name = waiting.pop()
        listed.append(name)
        page = ROOT / f"{name}.md"
        if page.is_file():
            waiting += entries(page)
        else:
            assert (ROOT / f"{name}.ipynb").is_file(), f"{name} is listed and not there"
    assert len(listed) == len(set(listed))
    every = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (*PAGES, *NOTEBOOKS)}
    assert every - set(listed) == set()


@pytest.mark.parametrize(
    "page", [*PAGES, *NOTEBOOKS, *OTHERS], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(page: Path):
    lost = []
    for link in (one or other for one, other in _LINK.findall(_CODE.sub("", text_of(page)))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_public_name_is_in_the_reference_once():
    text = (DOCS / "reference" / "api.md").read_text("utf-8")
    blocks = re.findall(r"^```\{eval-rst\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = re.findall(r"^(?:   |\.\. py:data:: )(\w+)$", "\n".join(blocks), re.MULTILINE)
    assert sorted(names) == sorted(set(bm.__all__) - {"__version__"})


# The built site ------------------------------------------------------------------------------

_LOADED = re.compile(r"<(?:script|img|iframe|source|video)\b[^>]*\ssrc=\"(?:https?:)?//[^\"]*"
                     r"|<link\b[^>]*\srel=\"(?:stylesheet|preload|icon)\"[^>]*\"(?:https?:)?//[^\"]*"
                     )  # fmt: skip


@pytest.fixture(scope="module")
def built() -> Path:
    if not (BUILT / "index.html").is_file():
        pytest.skip("needs the built site")
    return BUILT


@pytest.mark.full
def test_no_page_loads_anything_from_elsewhere(built: Path):
    pages = list(built.rglob("*.html"))
    assert len(pages) > len(PAGES) + len(NOTEBOOKS)
    found = {page.name: _LOADED.findall(page.read_text("utf-8")) for page in pages}
    assert {name: links for name, links in found.items() if links} == {}


def opened(browser: Browser, path: Path, width: int) -> tuple[Page, list[str]]:
    """Return a page, and what went wrong on it."""
    page = browser.new_context(viewport={"width": width, "height": 844}).new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            wrong.append(request.url)

    page.on("request", asked)
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return page, wrong


@pytest.mark.full
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "name",
    [
        "docs/index", "docs/sliders", "docs/trained", "docs/how_to/own_table", "docs/reference/cli",
        "docs/reference/api", "docs/reference/api/bigbench_meta.emergence_score",
        "docs/reference/metric_catalog", "docs/reference/tables", "notebooks/01_quickstart",
    ],
)  # fmt: skip
def test_pages_fit_the_screen_and_ask_for_nothing(
    browser: Browser, built: Path, name: str, width: int
):
    page, wrong = opened(browser, built / f"{name}.html", width)
    assert wrong == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.full
@pytest.mark.parametrize("width", [390, 1280])
def test_a_slider_moves_curve_and_score(browser: Browser, built: Path, width: int):
    samples = bm.load_embedded_samples("trained").to_pandas()
    ours = samples[samples["model_family"] == "shallow autoencoders"]
    errors = [dict(metrics)["mean_squared_error"] for metrics in ours["metrics"]]
    by_size = ours.assign(error=errors).groupby("total_params")["error"]
    page, wrong = opened(browser, built / "docs" / "sliders.html", width)
    chart = page.locator(".vega-chart").first
    slider = chart.locator("input[type=range]")
    for c in (0.3, 0.05):
        slider.fill(str(c))
        slider.dispatch_event("input")
        share = by_size.apply(lambda error, c=c: np.mean(error <= c)).to_numpy()
        score = np.ptp(share) / np.median(np.abs(np.diff(share)))
        chart.get_by_text(f"E = {score:.0f}", exact=True).wait_for(timeout=5000)
    assert wrong == []
