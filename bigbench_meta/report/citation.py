"""What to cite for a study: this software, and the papers behind its numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bigbench_meta.catalog.published import data_path

if TYPE_CHECKING:
    from bigbench_meta.report.study import Study

__all__ = ["bibtex"]

# Of every study: the scores, linearity, and the hand-annotated claims.
_ALWAYS: Final = (
    "bigbenchmeta", "schaeffer2023mirage", "srivastava2023bigbench", "wei2022emergent",
)  # fmt: skip
# Of its inference: the bounds of the exponent, and the false discovery rate.
_INFERENCE: Final = ("hoffmann2022chinchilla", "benjamini1995fdr")
_OF_SETS: Final = {
    "lamda": ("srivastava2023bigbench",),
    "gpt3": ("brown2020gpt3",),
    "paper": ("schaeffer2023mirage", "hendrycks2021mmlu"),
}


def bibtex(*studies: Study) -> str:
    """Return BibTeX of the software and of the papers behind the numbers of studies.

    Args:
        studies: The studies.
    """
    keys = [*_ALWAYS]
    for study in studies:
        if "evidence_summary" in study.tables:
            keys += _INFERENCE
        if study.embedded:
            keys += _OF_SETS.get(study.embedded.name, ())
    entries = re.split(r"\n(?=@)", data_path("papers.bib").read_text(encoding="utf-8").strip())
    by_key = {entry[entry.index("{") + 1 : entry.index(",")]: entry.strip() for entry in entries}
    return "\n\n".join(by_key[key] for key in dict.fromkeys(keys)) + "\n"
