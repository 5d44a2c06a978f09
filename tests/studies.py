"""Studies of a few made-up tasks, for the tests of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helpers import SIZES, score_file, write_json

import bigbench_meta as bm
from bigbench_meta.aggregate.options import StudyOptions
from bigbench_meta.report.study import Study, run_study

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</svg><iframe src=//x>",
    "{{ 7654321 * 3 }}",
    "]]><b>",
    "&lt;u&gt;",
    "' onload='alert(3)",
]
"""Names that would do something on a page that took them for HTML, script or a template."""


def study_of(
    folder: Path, tasks: list[str], *, scores: tuple[float, ...] = (0, 0, 0, 0.9), **options: Any
) -> Study:
    """Return a study of two curves for each task, one of which is flagged."""
    for task in range(len(tasks)):
        for number, (name, params) in enumerate(SIZES.items()):
            document = score_file(
                task_name=tasks[task],
                model_name=name,
                params=params,
                score_dict={"exact_str_match": scores[number], tasks[task]: float(number)},
            )
            write_json(folder / "tree" / str(task) / "results" / f"scores_{name}.json", document)
    observations, problems = bm.read_results(folder / "tree")
    return run_study(observations, problems, StudyOptions(**options))
