"""Detect the format of a source file from its name or its first bytes."""

from __future__ import annotations

import posixpath
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from bigbench_meta.core.text import printable

__all__ = [
    "ARCHIVE_ENDINGS",
    "JSON_ENDINGS",
    "SAMPLES_ONLY",
    "TABLE_ENDINGS",
    "Format",
    "SourceFile",
    "by_content",
    "by_name",
    "by_place",
    "paired_name",
]

Format = Literal[
    "bigbench",
    "full_log",
    "lm_eval",
    "lm_eval_samples",
    "lighteval",
    "helm",
    "inspect",
    "samples_table",
    "table",
    "archive",
    "paired",
]
"""``paired``: a file that is read with another one, never by itself."""

JSON_ENDINGS: Final = (".json", ".json.gz")
TABLE_ENDINGS: Final = (".csv", ".csv.gz", ".parquet")
ARCHIVE_ENDINGS: Final = (".tar.gz", ".tgz", ".tar", ".zip")

SAMPLES_ONLY: Final = {"lm_eval_samples", "samples_table"}
"""Formats of files that hold nothing but samples: skipped unless samples are asked for."""


class SourceFile(NamedTuple):
    """A file to read.

    Attributes:
        path: Absolute path or URL; of the archive, for a member of one.
        label: How tables and messages name it: the path below the folder that the user named, with
            that folder's own name in front, so that no machine's layout gets into a table.
        format: Which reader takes it.
        size: Bytes, -1 where not known.
        stamp: Time of the last change in nanoseconds, 0 where not known.
        member: Name inside an archive.
    """

    path: str
    label: str
    format: Format
    size: int = -1
    stamp: int = 0
    member: str = ""

    @property
    def identity(self) -> str:
        """A key that identifies this file, now and at the next ingest."""
        return printable(f"{self.path}!{self.member}" if self.member else self.path)


@lru_cache(maxsize=4096)  # models recur from task to task, and so do their files' names
def by_name(name: str) -> Format | None:
    """Return the format that a file name settles, None where the content must be looked at.

    Examples:
        >>> by_name("scores_GPT_8b.json"), by_name("full-log_GPT_8b.json"), by_name("results.json")
        ('bigbench', 'full_log', None)
    """
    lower = name.lower()
    if lower in ("run_spec.json", "run_spec.json.gz"):
        return "paired"
    if lower.endswith(JSON_ENDINGS):
        if lower.startswith("full-log_"):
            return "full_log"
        return "bigbench" if lower.startswith("scores_") else None
    if lower.endswith(".eval"):
        return "inspect"
    if lower.startswith("samples_") and lower.endswith(".jsonl"):
        return "lm_eval_samples"
    if lower.startswith("samples") and lower.endswith(".parquet"):
        return "samples_table"
    if lower.endswith(TABLE_ENDINGS):
        return "table"
    return "archive" if lower.endswith(ARCHIVE_ENDINGS) else None


def by_place(name: str) -> Format | None:
    """Return the format that a JSON file should have by its name and folder, None if by neither.

    So a file that is too damaged to be recognised is not skipped, but read and reported.

    Args:
        name: The file's name with that of its folder.

    Examples:
        >>> by_place("alpha/results/8b.json"), by_place("run/stats.json"), by_place("a/task.json")
        ('bigbench', 'helm', None)
    """
    folder, _, base = name.lower().replace("\\", "/").rpartition("/")
    if base in ("stats.json", "stats.json.gz"):
        return "helm"
    if base.startswith("results_"):
        return "lm_eval"
    return "bigbench" if folder.rpartition("/")[2] == "results" else None


def by_content(head: bytes) -> Format | None:
    """Return the format that the first kilobytes of a JSON file look like, None if none.

    Args:
        head: The beginning of the file, decompressed.

    Examples:
        >>> by_content(b'{"scores": [{"score_dict": {')
        'bigbench'
    """
    from bigbench_meta.readers.formats import helm as _helm
    from bigbench_meta.readers.formats import inspect as _inspect
    from bigbench_meta.readers.formats import lighteval as _lighteval
    from bigbench_meta.readers.formats import lm_eval as _lm_eval

    if _lighteval.recognise(head):
        return "lighteval"
    if _lm_eval.recognise(head):
        return "lm_eval"
    if _helm.recognise(head):
        return "helm"
    if _inspect.recognise(head):
        return "inspect"
    return "bigbench" if b'"score_dict"' in head or b'"scores"' in head else None


def paired_name(file: SourceFile) -> str:
    """Return the name of the file in the same folder that a file is read with, empty if none.

    Examples:
        >>> paired_name(SourceFile("/a/samples_x_2024-05-01T10-00-00.json", "a", "lm_eval_samples"))
        'results_2024-05-01T10-00-00.json'
    """
    if file.format == "bigbench":  # most files are
        return ""
    name = posixpath.basename(file.member or file.path)
    if file.format == "lm_eval_samples":
        stem = name.removesuffix(".jsonl").removesuffix(".json")
        return f"results_{stem.rpartition('_')[2]}.json"
    return name.replace("stats", "run_spec") if file.format == "helm" else ""
