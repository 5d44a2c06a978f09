"""Detect the format of a source file from its name or its first bytes."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from bigbench_meta.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ARCHIVE_ENDINGS",
    "DETAILS_NAME",
    "JSON_ENDINGS",
    "OF_A_STORE",
    "SAMPLES_ONLY",
    "STORE_FORMAT",
    "TABLE_ENDINGS",
    "UNREAD",
    "WITH_OTHER_JSON",
    "Format",
    "SourceFile",
    "by_content",
    "by_name",
    "by_place",
    "newest_manifest",
    "paired_names",
]

Format = Literal[
    "bigbench",
    "full_log",
    "lm_eval",
    "lm_eval_samples",
    "lighteval",
    "lighteval_details",
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

DETAILS_NAME: Final = re.compile(
    r"details_(?P<task>(?:[^|]+\|){1,3}\d+)_"
    r"(?P<date>\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\d(?:\.\d+)?)\.parquet",
    re.ASCII,
)
"""What lighteval calls the details of a task: ``details_<suite>|<task>|<shots>_<date>.parquet``."""

UNREAD: Final = re.compile(
    r".+\.(?:(?:jsonl?|ndjson|csv|tsv|parquet|eval)(?:\.(?:gz|bz2|xz|zst|lz4|br|7z))?"
    r"|xlsx|7z|rar|tar\.(?:bz2|xz|zst)|tbz2?|txz|zip|tar|tgz|tar\.gz)",
    re.IGNORECASE,
)
"""Names of files that may hold results, of whatever kind: what is not read of them is told."""

WITH_OTHER_JSON: Final = {"task.json", "task.py", "run_spec.json"}
"""Folders with such a file also hold JSON files that are not results."""

STORE_FORMAT: Final = "bigbench-meta store"
"""What the manifest of a store says of itself."""

OF_A_STORE: Final = re.compile(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}(-[0-9a-f]{32})?")
"""Names of a store's Parquet files: what uuid4().hex gives, with a digest once it is complete."""

_MANIFEST: Final = re.compile(r"manifest(-\d{9})?\.json")

SAMPLES_ONLY: Final = {"lm_eval_samples", "lighteval_details", "samples_table"}
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
    if DETAILS_NAME.fullmatch(name):
        return "lighteval_details"
    if lower.startswith("samples") and lower.endswith(".parquet"):
        return "samples_table"
    if lower.endswith(TABLE_ENDINGS):
        return "table"
    return "archive" if lower.endswith(ARCHIVE_ENDINGS) else None


def newest_manifest(names: Iterable[str]) -> str:
    """Return the name of a store's newest manifest, empty if none of the names is one.

    A bucket's manifests are numbered, see :mod:`bigbench_meta.store.places`; one without a number
    is that of a folder that was copied there.

    Examples:
        >>> newest_manifest(["manifest.json", "manifest-000000012.json", "manifest-000000009.json"])
        'manifest-000000012.json'
    """
    found = [name for name in names if _MANIFEST.fullmatch(name)]
    return max(found, key=lambda name: (len(name), name), default="")


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


def paired_names(file: SourceFile) -> list[str]:
    """Return where a file may be that a file is read with, as seen from its folder, best first.

    lighteval writes the details of a run into ``details/<model>/<date>`` and its results into
    ``results/<model>``; on the Hub, results lie in the folder above or in that of the details.

    Examples:
        >>> paired_names(SourceFile("/a/samples_x_2024-05-01.jsonl", "a", "lm_eval_samples"))
        ['results_2024-05-01.json']
    """
    if file.format == "bigbench":  # most files are
        return []
    folder, name = posixpath.split(file.member or file.path)
    if file.format == "lm_eval_samples":
        stem = name.removesuffix(".jsonl").removesuffix(".json")
        return [f"results_{stem.rpartition('_')[2]}.json"]
    if file.format == "lighteval_details":
        results = f"results_{name.removesuffix('.parquet').rpartition('_')[2]}.json"
        parts = folder.split("/")
        if "details" not in parts[:-1]:
            return [results, f"../{results}"]
        own = parts[len(parts) - parts[::-1].index("details") : -1]
        return [
            results,
            f"../{results}",
            "/".join([*[".."] * (len(own) + 2), "results", *own, results]),
        ]
    return [name.replace("stats", "run_spec")] if file.format == "helm" else []
