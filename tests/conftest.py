from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded import EmbeddedStudy
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# No deadline: the first call of a test imports pandas. Under CI a failure must be repeatable. A
# property is tried on 10 examples, so that the suite takes minutes; .ci/full tries more.
settings.register_profile(
    "bigbench-meta",
    deadline=None,
    max_examples=int(os.environ.get("BIGBENCH_META_EXAMPLES", "10")),
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
settings.load_profile("bigbench-meta")


# xdist gives its processes the width of its own terminal, which tables would be fitted to.
os.environ.pop("COLUMNS", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Start no processes for a single file or test, which would take longer than to run it."""
    if len(config.args) == 1 and not Path(config.args[0]).is_dir():
        return 0
    return min(os.cpu_count() or 1, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what needs the embedded study first, where one process gets it all and none waits."""
    items.sort(key=lambda item: "embedded_study" not in getattr(item, "fixturenames", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason why tests were skipped, not one for each test."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, n in sorted(Counter(report.longrepr[2] for report in skipped).items()):
        terminalreporter.line(f"{n} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of other people's data beside the checkout, which is never committed."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder `shared` beside the checkout")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    with sync_api.sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync_api.Error:
            pytest.skip("needs a Chromium")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def embedded_study(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedStudy:
    """Curves, scores with inference, forecasts and shapes of the embedded results.

    Each part is computed when it is first asked for, in one process of a run.
    """
    from embedded import EmbeddedStudy

    several = "PYTEST_XDIST_WORKER" in os.environ
    return EmbeddedStudy(tmp_path_factory.getbasetemp().parent if several else None)
