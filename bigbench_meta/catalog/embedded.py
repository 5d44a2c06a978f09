"""The sets of published scores that come with the package, and what each of them can show.

A set has a role, because scores that were chosen for their shape say nothing of how frequent that
shape is. Flags, corrections and charts are never pooled over sets, and only evidence enters counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    Role = Literal["evidence", "illustration", "experiment"]

__all__ = ["EMBEDDED_SETS", "STUDIED_SETS", "EmbeddedSet", "embedded_set"]


_CAUTIONS: Final = {
    "evidence": "",
    "illustration": "An illustration: its curves were chosen to show the effect.",
    "experiment": "An experiment: its tasks, sizes and metrics are of our choice.",
}


@dataclass(frozen=True, kw_only=True)
class EmbeddedSet:
    """One set of published scores.

    Attributes:
        name: What ``load_embedded`` and ``--embedded`` call it.
        title: What it is, for headings.
        role: ``evidence``: scores not chosen for their shape. ``illustration``: chosen by
            authors to show an effect. ``experiment``: models and tasks made by us.
        file: Name of the observations in ``data/``.
        samples: Name of the outputs in ``data/``, where there are some.
        level: Which of a task's rows count by default, see :func:`bigbench_meta.select_level`.
        reading_error: Standard error of reading scores from a drawing, in their unit.
        source: Where the scores come from.
        shows: What they can show, as one sentence.
        limits: What they cannot tell, and why, to stand behind these words.
    """

    name: str
    title: str
    role: Role
    file: str
    samples: str = ""
    level: Literal["task", "subtask"] = "task"
    reading_error: float = 0.0
    source: str
    shows: str
    limits: str

    @property
    def caution(self) -> str:
        """Why its curves are not counted, empty for evidence."""
        return _CAUTIONS[self.role]


EMBEDDED_SETS: Final = (
    EmbeddedSet(
        name="lamda",
        title="BIG-bench, LaMDA at 12 sizes (LASS project)",
        role="evidence",
        file="bigbench_lamda.csv",
        source="BIG-bench's published logs, measured by the LASS project (Schellaert et al.)",
        shows="On 85 tasks of BIG-bench, how often the score that the task's authors prefer "
        "jumps, and whether the same answers jump under the chosen-option Brier score.",
        limits="whether the jumps are in the models or in the metric: that takes the error per "
        "token, which is not published; and the only smooth metric, the Brier score of the chosen "
        "option, can reward wrong probabilities. All curves are of one model family.",
    ),
    EmbeddedSet(
        name="gpt3",
        title="GPT-3's published results (Brown et al. 2020, Table H.1)",
        role="evidence",
        file="gpt3_table_h1.csv",
        source="Brown et al. 2020, arXiv 2005.14165, Table H.1",
        shows="How often any of GPT-3's 63 published results, at 8 sizes and 3 prompt settings, "
        "jumps with scale.",
        limits="whether the jumps are in the models or in the metric: that takes the error per "
        "token, and arithmetic was published as accuracy alone (11 of the 52 tasks have a second "
        "metric). All curves are of one model family.",
    ),
    EmbeddedSet(
        name="paper",
        title="Figures of Schaeffer et al. 2023",
        role="illustration",
        file="schaeffer2023_figures.csv",
        level="subtask",  # in Fig. 3 each target length is a curve of its own
        reading_error=1.3e-4,  # of accuracies in Fig. 3, the only ones with an error bar
        source="Schaeffer et al. 2023, arXiv 2304.15004, read from the figures of the NeurIPS "
        "version; MMLU of GPT-3 from Hendrycks et al. 2021, arXiv 2009.03300, Table 1",
        shows="Whether the paper's own curves do what its text says: which jump, and what "
        "becomes of the jump under another metric.",
        limits="how frequent the effect is: the curves were chosen to show it, and none of them "
        "enters a count.",
    ),
    EmbeddedSet(
        name="trained",
        title="Model families trained here",
        role="experiment",
        file="trained.csv",
        samples="samples_trained.parquet",
        level="subtask",  # each target length is a curve of its own
        source="trained with `bigbench-meta generate`; sizes, seeds and steps were fixed "
        "beforehand in data/trained_families.toml",
        shows="Whether models of known loss jump under one metric and not under another on the "
        "same outputs, and how much that depends on the seed.",
        limits="how frequent jumps are in large language models: tasks, sizes and metrics are of "
        "our choice, and the models are tiny.",
    ),
    EmbeddedSet(
        name="trained_checkpoints",
        title="Model families trained here, during their training",
        role="experiment",
        file="trained_checkpoints.parquet",
        level="subtask",
        source="trained with `bigbench-meta generate`, as the set `trained`",
        shows="How scores change along the training of one model, which is a family of its own.",
        limits="which small steps are real: each score rests on 100 examples of each length.",
    ),
    EmbeddedSet(
        name="wei2022_chain_of_thought",
        title="Chain-of-thought prompting (Wei et al. 2022)",
        role="illustration",
        file="wei2022_chain_of_thought.csv",
        source="Wei et al. 2022, arXiv 2201.11903, Tables 2-5",
        shows="How standard and chain-of-thought prompting compare over 3 to 5 model sizes.",
        limits="how sharp the rises are: with so few sizes hardly any curve can have a high "
        "emergence score, and all scores are accuracies.",
    ),
)
"""Every set, in the order in which they are shown."""

STUDIED_SETS: Final = ("lamda", "gpt3", "paper")
"""Names of the sets that ``bigbench-meta analyze`` shows without arguments.

The others are loaded by name only: our own experiments have a page of their own, and
chain-of-thought prompting is about prompts and not about metrics.
"""


def embedded_set(name: str) -> EmbeddedSet:
    """Return a set by its name or by the name of its file.

    Args:
        name: For example ``"gpt3"`` or ``"gpt3_table_h1"``.

    Returns:
        The set.

    Raises:
        InputError: There is none of that name.

    Examples:
        >>> embedded_set("lamda").role, embedded_set("schaeffer2023_figures").name
        ('evidence', 'paper')
    """
    for entry in EMBEDDED_SETS:
        if name in (entry.name, entry.file.partition(".")[0]):
            return entry
    known = ", ".join(entry.name for entry in EMBEDDED_SETS)
    raise InputError(f"no embedded set {name!r}", where="name", hint=f"one of {known}")
