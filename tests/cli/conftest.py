from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers import jumps, write_tree

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
    monkeypatch.setattr("vl_convert.vegalite_to_png", lambda *_, **__: b"\x89PNG")
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda *_, **__: "<svg/>")
