"""Reader for results of EleutherAI's lm-evaluation-harness, old (to 0.3) and new (0.4).

An old file has ``results[task][metric]`` and ``results[task][metric + "_stderr"]``; a new one
writes ``"metric,filter"`` and ``"metric_stderr,filter"``, and says more about tasks and groups.
How it becomes observations:

- ``metric`` is the plain metric, the one that the catalog knows. A filter other than ``none`` goes
  into ``variant``, after the checkpoint if there is one: ``step3000/strict-match``.
- A group with scores of its own is the ``task`` of its members, as is the outermost such group;
  its own row is the aggregate. A group without scores is a mere list of tasks.
- The model is what ``config.model_args`` names, else ``config.model``, else the file's name; its
  checkpoint (``revision``) is a variant. ``total_params`` is the number that the harness counted
  (``config.model_num_parameters``), else what the model's name tells.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from bigbench_meta.core.schema import OBSERVATIONS, TableSchema, conform
from bigbench_meta.readers.decode import decode_json
from bigbench_meta.readers.formats.lm_eval_run import Run, clean, run_of_document
from bigbench_meta.readers.salvage import _kind, _number, _show, _whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["decode", "parse", "read_run", "recognise", "to_table"]

_STDERR: Final = "_stderr"
_MOST_EXAMPLES: Final = 10**18
# What stands beside the scores of a task: names and counts in 0.4.13, a blank in 0.4.8.
_NO_METRIC: Final = {"alias", "name", "sample_len", "sample_count", "samples", ""}
_FIRST_SCORE: Final = re.compile(
    rb'\s*\{\s*"results"\s*:\s*\{\s*"[^"]*"\s*:\s*\{\s*"[^"]*"\s*:\s*[-0-9"nNI]'
)


def recognise(head: bytes) -> bool:
    """Return whether a file that begins like this is a results file of the harness.

    Args:
        head: The first bytes of the file; some hundred suffice.

    Examples:
        >>> recognise(b'{"results": {"piqa": {"acc": 0.6')
        True
        >>> recognise(b'{"scores": [{"score_dict": {"acc": 0.6')
        False
    """
    plain = head.removeprefix(b"\xef\xbb\xbf")
    if _FIRST_SCORE.match(plain):
        return True
    # With its keys sorted, a file begins with config.
    return plain.lstrip().startswith(b"{") and all(
        key in plain for key in (b'"config"', b'"model_args"', b'"bootstrap_iters"')
    )


def parse(data: bytes, label: str, log: ProblemLog, *, names: ModelNames) -> pa.Table | None:
    """Read one results file.

    Args:
        data: The file's content, decompressed.
        label: Its name in tables and messages; if the file names no model, its name does.
        log: Where problems are noted.
        names: Rules that tell a model's family and size.

    Returns:
        An observations table, one row a score; None if the file cannot be used at all.
        ``n_examples`` is the number left by ``limit``, null where not stated, as for old files.
    """
    run = read_run(data, label, log, names=names)
    if run is None:
        return None
    rows = [row for task in run.results for row in _task_rows(run, task, label, log)]
    if not rows:
        log.warning(label, "results", "no scores")
    return to_table(rows, OBSERVATIONS)


def read_run(data: bytes, label: str, log: ProblemLog, *, names: ModelNames) -> Run | None:
    """Read what a results file says of its evaluation, for the samples beside it.

    Args:
        data: As for :func:`parse`.
        label: As for :func:`parse`.
        log: As for :func:`parse`.
        names: As for :func:`parse`.

    Returns:
        The evaluation, None if the file cannot be used at all.
    """
    document = decode(data, "", label, log)
    return None if document is None else run_of_document(document, label, log, names=names)


def decode(data: bytes, where: str, label: str, log: ProblemLog) -> dict[str, Any] | None:
    """Return a JSON object, None if it is none; note why, and keys given twice.

    Args:
        data: The JSON.
        where: The place in the file that goes in front of messages: empty, or a line.
        label: The file's name in messages.
        log: Where problems are noted.
    """
    what = "a file of lm-evaluation-harness"
    return decode_json(data, dict, label, log, where=where, what=what)


def to_table(rows: list[dict[str, Any]], schema: TableSchema) -> pa.Table:
    """Return rows as a table of the schema; what a row does not name is null."""
    plain = pa.schema(
        [
            (column.name, pa.string() if pa.types.is_dictionary(column.type) else column.type)
            for column in schema.columns
        ]
    )
    return conform(pa.Table.from_pylist(rows, schema=plain), schema)


def _task_rows(run: Run, task: str, label: str, log: ProblemLog) -> Iterator[dict[str, Any]]:
    scores, where = run.results[task], f"results.{task}"
    if not isinstance(scores, dict) or not task.strip():
        got = "a task without a name" if isinstance(scores, dict) else _kind(scores)
        log.error(label, where, f"expected the scores of a task, got {got}")
        return
    sizes, size = _sizes(run, task, scores, label, log)
    shared = {"total_params": run.model.total_params, "source": clean(label)}
    keys: dict[str, dict[str, Any]] = {}
    for key, value in scores.items():
        metric, comma, filter_name = key.partition(",") if run.has_filters else (key, "", "")
        beside = f"{metric}{_STDERR}{comma}{filter_name}"
        if not _is_score(key, metric, scores, f"{where}.{key}", run, label, log):
            continue
        score = _score(value, f"{where}.{key}", label, log)
        if score is None:
            continue
        if filter_name not in keys:
            keys[filter_name] = run.key(task, filter_name) | shared
        yield keys[filter_name] | {
            "metric": clean(metric),
            "score": score,
            "stderr": _stderr(scores.get(beside), f"{where}.{beside}", label, log),
            "n_examples": sizes.get(key, size),
        }


def _is_score(
    key: str, metric: str, scores: dict[str, Any], where: str, run: Run, label: str, log: ProblemLog
) -> bool:
    if run.has_filters and key.strip() in _NO_METRIC:
        return False
    if metric.endswith(_STDERR):
        if metric.removesuffix(_STDERR) + key.removeprefix(metric) not in scores:
            log.warning(label, where, "standard error without a score: ignored")
        return False
    if not metric.strip() or (run.has_filters and "," not in key):
        log.warning(label, where, "unknown key: ignored")
        return False
    if metric == "bypass":
        log.warning(label, where, "stands for no metric, in a run that only predicts: ignored")
        return False
    return True


def _score(value: Any, where: str, label: str, log: ProblemLog) -> float | None:
    number = _number(value)
    if number is None:
        log.error(label, where, f"expected a number, got {_show(value)}")
    elif not math.isfinite(number):
        log.warning(label, where, f"{number} is kept but never scored")
    return number


def _stderr(value: Any, where: str, label: str, log: ProblemLog) -> float | None:
    if value is None or value == "N/A":
        return None
    number = _number(value)
    if number is not None and math.isfinite(number) and number >= 0:
        return number
    log.warning(label, where, f"expected a standard error, got {_show(value)}: left empty")
    return None


def _sizes(
    run: Run, task: str, scores: dict[str, Any], label: str, log: ProblemLog
) -> tuple[dict[str, int], int | None]:
    """Return the number of examples by metric where they differ, and that of the task."""
    stated = run.n_samples.get(task)
    size = stated.get("effective") if isinstance(stated, dict) else stated
    where = f"n-samples.{task}.effective"
    if size is None:
        size, where = scores.get("sample_len"), f"results.{task}.sample_len"
    by_metric = scores.get("sample_count")
    found = {
        key: _count(value, f"results.{task}.sample_count.{key}", label, log)
        for key, value in (by_metric.items() if isinstance(by_metric, dict) else ())
    }
    return (
        {key: count for key, count in found.items() if count is not None},
        _count(size, where, label, log),
    )


def _count(value: Any, where: str, label: str, log: ProblemLog) -> int | None:
    number = _whole(value)
    if value is None or (number is not None and 0 < number <= _MOST_EXAMPLES):
        return number
    log.warning(label, where, f"expected a number of examples, got {_show(value)}: left empty")
    return None
