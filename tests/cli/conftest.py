from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from helpers import entry, jumps, score_file, write_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Results of two tasks, alpha and beta, that all models fail but the largest."""
    write_tree(tmp_path / "tree", jumps("alpha", "beta"))
    return tmp_path / "tree"


@pytest.fixture
def broken(tree: Path) -> Path:
    """The same with one file that cannot be read."""
    (tree / "alpha" / "results" / "scores_Fam_0m.json").write_text("{")
    return tree


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds that it takes to draw; the tests of the charts look at what is drawn."""
    monkeypatch.setattr("vl_convert.svg_to_png", lambda *_, **__: b"\x89PNG")
    monkeypatch.setattr("vl_convert.svg_to_pdf", lambda *_, **__: b"%PDF")
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda *_, **__: "<svg/>")


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A sharp metric with its loss beside it, a straight line, and a subtask of the line."""
    sizes = {name: 10**place for name, place in zip("abcdefg", range(1, 8), strict=True)}
    losses = [1.5 * 0.6**place for place in range(7)]
    tasks: dict[str, list[dict[str, float]]] = {
        "pair": [
            {"exact_str_match": round(math.exp(-5 * v), 6), "cross_entropy": v} for v in losses
        ],
        "line": [{"multiple_choice_grade": 0.1 * place} for place in range(1, 8)],
    }
    write_tree(
        tmp_path / "results",
        [
            score_file(
                task_name=task, model_name=name, params=size,
                scores=[
                    entry(score_dict=scores, preferred_score=next(iter(scores)),
                          subtask_description=subtask)
                    for subtask in ([task, "part"] if task == "line" else [task])
                ],
            )
            for task, rows in tasks.items()
            for (name, size), scores in zip(sizes.items(), rows, strict=True)
        ],
    )  # fmt: skip
    return tmp_path / "results"
