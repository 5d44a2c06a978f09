"""docs/trained.md holds what scripts/trained_page.py computes from the embedded set."""

from __future__ import annotations

import pytest
from helpers import loaded_script


@pytest.mark.full
def test_the_page_is_current():
    with loaded_script("trained_page") as script:
        text = script.PAGE.read_text("utf-8")
        assert script.page(text) == text, "run `python scripts/trained_page.py`"
