"""The readers on spoilt files: a few hundred of them here, and as many as one likes in the script.

What may come of a spoilt file is said by naive readers (``fuzz_oracles_*.py``), so these are tested
as well: they must know sound files, and must object to rows that are lost, changed or made up.
"""

from __future__ import annotations

import random

import pytest
from conftest import ROOT
from fuzz_cases import Folder, check, make
from fuzz_seeds import SEEDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KINDS = list(SEEDS)
SCRIPT = ROOT / "scripts" / "fuzz_readers.py"
few = settings(suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("kind", KINDS)
@few
@given(source=st.randoms(use_true_random=False))
def test_spoilt_files(folder: Folder, kind: str, source: random.Random) -> None:
    case = make(kind, source)
    outcome = check(case, folder)
    assert not outcome.complaints, case.change


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_files_in_frames(folder: Folder, kind: str) -> None:
    for number in range(3):
        case = make(kind, random.Random(f"{kind}/{number}"))
        assert check(case, folder, frames=True).complaints == []
