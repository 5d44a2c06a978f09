"""The page of a study of many curves, as a browser meets it.

    python benchmarks/report_page.py [--curves 20000] [--repeats 3]

Curves are simulated: tasks under several metrics with 0 and 3 shots, eight models each. A page is
written and opened in a headless Chromium, each time in a new one. Measured are its size; the time
from the request until everything can be used; from a key pressed in the search field, a choice in
a list and a click on a heading until the table shows what it should; and from a click on a curve
until its charts are there. The best of the repeats counts. Needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))

METRICS = ("exact_str_match", "multiple_choice_grade", "normalized_aggregate_score", "bleu", "own")
N_MODELS = 8
# Waits until the table has been drawn, and for the paint after that.
TIMED = """
async (act) => {
  const paint = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const start = performance.now();
  new Function("document", act)(document);
  await paint();
  return performance.now() - start;
}
"""
ACTIONS = {
    "search": "const q = document.querySelector('#filters [name=q]'); q.value = 'task 77';"
    "q.dispatchEvent(new Event('input'))",
    "search on": "const q = document.querySelector('#filters [name=q]'); q.value = 'task 7';"
    "q.dispatchEvent(new Event('input'))",
    "choose a metric": "const m = document.querySelector('#filters [name=metric]');"
    "m.selectedIndex = 2; m.dispatchEvent(new Event('input'))",
    "clear": "document.querySelector('#filters button').click()",
    "sort by task": "document.querySelector('#curves th .dt-column-order').click()",
}


def page(n_curves: int) -> str:
    """Return the page of a study of simulated curves."""
    from bigbench_meta.core.schema import PROBLEMS, to_frame
    from bigbench_meta.report.page import study_files
    from bigbench_meta.report.study import run_study

    rng = np.random.default_rng(0)
    curve = np.repeat(np.arange(n_curves), N_MODELS)
    model = np.tile(np.arange(N_MODELS), n_curves)
    task = curve // (2 * len(METRICS))
    middle = rng.uniform(-2, N_MODELS + 4, n_curves)[curve]
    share = 1 / (1 + np.exp(2 * (middle - model)))
    observations = pd.DataFrame(
        {
            "benchmark": "simulated",
            "task": [f"task {number} of the simulation" for number in task],
            "metric": np.array(METRICS)[curve % len(METRICS)],
            "model_family": "family",
            "model_name": [f"model {number}" for number in model],
            "shots": 3 * (curve // len(METRICS) % 2),
            "total_params": np.rint(10.0 ** (7 + model / 2)).astype(np.int64),
            "score": rng.binomial(500, share) / 500,
            "n_examples": 500,
        }
    ).assign(subtask=lambda frame: frame["task"])
    study = run_study(observations, to_frame(PROBLEMS.empty()))
    assert len(study.curves) == n_curves, len(study.curves)
    return str(study_files(study, ["simulated curves"])["report.html"])


def measured(path: Path) -> dict[str, float]:
    """Return milliseconds of what a reader does, in a new browser."""
    from playwright.sync_api import sync_playwright

    found: dict[str, Any] = {}
    with sync_playwright() as play:
        system = Path("/usr/bin/chromium")
        browser = play.chromium.launch(
            executable_path=str(system) if system.exists() else None, args=["--no-sandbox"]
        )
        # Our own measuring code is text too, which the page's policy would not run.
        tab = browser.new_context(bypass_csp=True).new_page()
        start = time.perf_counter()
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready]", state="attached")
        found["open"] = 1000 * (time.perf_counter() - start)
        for name, action in ACTIONS.items():
            found[name] = tab.evaluate(TIMED, action)
        start = time.perf_counter()
        tab.click("#curves tbody button")
        tab.wait_for_selector("#chosen svg")
        found["click a curve"] = 1000 * (time.perf_counter() - start)
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        start = time.process_time()
        path.write_text(page(options.curves), encoding="utf-8")
        made = time.process_time() - start
        runs = [measured(path) for _ in range(options.repeats)]
        size = path.stat().st_size / 1e6
    best = {name: round(min(run[name] for run in runs)) for name in runs[0]}
    document = {
        "curves": options.curves,
        "megabytes": round(size, 2),
        "seconds to make": round(made, 1),
    }
    print(json.dumps(document | {f"{name} (ms)": value for name, value in best.items()}, indent=1))


if __name__ == "__main__":
    main()
