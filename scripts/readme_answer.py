"""The answer on the first screen of README.md, from the studies of the published results.

    python scripts/readme_answer.py    # a minute; rewrites the answer in README.md

A test of .ci/full holds README.md to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from simulated_cells import put_between

import bigbench_meta as bm
from bigbench_meta.catalog.embedded import embedded_set
from bigbench_meta.core.schema import PROBLEMS, to_frame
from bigbench_meta.report.answer import claims_sentence
from bigbench_meta.report.study import run_study

README: Final = Path(__file__).parents[1] / "README.md"
SETS: Final = ("gpt3", "lamda")


def answer() -> str:
    """Return the answer as a list in Markdown: flags, metrics, expected flags and limits a set."""
    found = []
    for name in SETS:
        study = run_study(
            bm.load_embedded(name), to_frame(PROBLEMS.empty()), embedded=embedded_set(name),
            inference=True,
        )  # fmt: skip
        flags, metrics, *_, limits = study.summary
        sentences = [flags, metrics, study.yardstick_sentences[0], limits]
        found.append(f"- **{embedded_set(name).title}.** {' '.join(sentences)}")
    found.append(f"- **Published claims.** {claims_sentence()}")
    return "\n".join(found)


if __name__ == "__main__":
    page = README.read_text("utf-8")
    README.write_text(put_between(page, "answer", answer(), README), "utf-8")
