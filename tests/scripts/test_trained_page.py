"""docs/trained.md holds what scripts/trained_page.py computes from the embedded set."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from conftest import ROOT


@pytest.mark.full
def test_the_page_is_current():
    path = ROOT / "scripts" / "trained_page.py"
    if not path.is_file():
        pytest.skip("needs the folder `scripts`")
    spec = importlib.util.spec_from_file_location("trained_page", path)
    loaded = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        patch.setitem(sys.modules, "trained_page", loaded)
        spec.loader.exec_module(loaded)
        text = loaded.PAGE.read_text("utf-8")
        assert loaded.page(text) == text, "run `python scripts/trained_page.py`"
