"""What to cite."""

from __future__ import annotations

import re

import bigbench_meta as bm
from bigbench_meta.catalog.embedded import embedded_set
from bigbench_meta.catalog.published import data_path
from bigbench_meta.core.schema import PROBLEMS, to_frame
from bigbench_meta.report import citation
from bigbench_meta.report.citation import bibtex
from bigbench_meta.report.study import run_study


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),$", text, flags=re.MULTILINE)


def test_a_study_cites_the_software_its_scores_and_its_data() -> None:
    observations = bm.load_embedded("gpt3")
    study = run_study(
        observations[observations["task"] == "PIQA"], to_frame(PROBLEMS.empty()),
        embedded=embedded_set("gpt3"),
    )  # fmt: skip
    found = keys(bibtex(study))
    assert found[:2] == ["bigbenchmeta", "schaeffer2023mirage"]
    assert "brown2020gpt3" in found
    assert "benjamini1995fdr" not in found  # without inference
    assert keys(bibtex(study, study)) == found


def test_every_key_is_in_the_file_and_every_entry_is_used() -> None:
    known = keys(data_path("papers.bib").read_text(encoding="utf-8"))
    used = {*citation._ALWAYS, *citation._INFERENCE, *sum(citation._OF_SETS.values(), ())}
    assert sorted(known) == sorted(used)
    assert len(known) == len(set(known))
