"""Reader for logs of Inspect AI, ``.json`` and ``.eval``, through the package ``inspect_ai``.

How a log becomes observations:

- ``benchmark`` is the package that the task comes from, ``inspect`` where it comes from none:
  ``inspect_evals/mmlu_0_shot`` is the task ``mmlu_0_shot`` of ``inspect_evals``.
- ``metric`` is the name in the log (``accuracy``, ``mean``). It does not tell what was averaged, so
  ``variant`` names the scorer, after the checkpoint if there is one: ``match``. A scorer of several
  values adds the name of the value: ``quality/fluency``. A way to reduce epochs other than the mean
  comes last: ``match/pass_at_5``.
- A metric that is computed by group (``grouped``) has a row for each group, which is its
  ``subtask``; the row over all groups is the aggregate, unless the scorer has that metric without
  groups too. Any other metric of several values is named ``metric/value``.
- ``stderr`` is the metric of that name, else ``bootstrap_stderr``, beside ``accuracy`` or ``mean``,
  the two that it is the standard error of. Without them it is a metric of its own.
- ``n_examples`` is the number of samples that the scorer scored, after the epochs of a sample were
  reduced to one (``scored_samples``). Logs from before July 2025 do not say it; there it is the
  number of samples completed without error, divided by the epochs, and null if that leaves a rest.
  It is null for a group.
- The model is named without its provider: ``openai/gpt-4o`` is ``gpt-4o``, ``hf/local`` what the
  argument ``model_path`` names. ``shots`` are null unless an argument of the task tells them.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.core.text import shown
from bigbench_meta.readers.formats.inspect_frames import LogFaultError, open_log, read_header
from bigbench_meta.readers.formats.inspect_run import HEADER, InspectRun, run_of_header
from bigbench_meta.readers.formats.lm_eval import to_table
from bigbench_meta.readers.formats.lm_eval_run import clean
from bigbench_meta.readers.salvage import _number, _show, _whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["parse", "recognise"]

_HEAD: Final = re.compile(
    rb'\s*\{\s*"version"\s*:\s*\d{1,9}\s*,\s*"status"\s*:\s*'
    rb'"(?:started|success|cancelled|error)"\s*,\s*"eval"\s*:\s*\{'
)
_RESULTS: Final = {
    "status": "status",
    "error": "error.message",
    "invalidated": "invalidated",
    "completed": "results.completed_samples",
}
_MOST_EXAMPLES: Final = 10**18
_LONGEST: Final = 200
_STDERRS: Final = ("stderr", "bootstrap_stderr")
_MEANS: Final = ("accuracy", "mean")


class _Value(NamedTuple):
    """One value of a metric, with its place in the log."""

    metric: str
    group: str | None
    value: float | None
    where: str


class _Grouping(NamedTuple):
    """What the parameters of a metric computed by group say."""

    metric: str
    by: str
    group: str
    is_all: bool


def recognise(head: bytes) -> bool:
    """Return whether a JSON file that begins like this is a log of Inspect.

    Args:
        head: The first bytes of the file; some hundred suffice.

    Examples:
        >>> recognise(b'{"version": 2, "status": "success", "eval": {"task": "sums"')
        True
        >>> recognise(b'{"results": {"piqa": {"acc": 0.6')
        False
    """
    return _HEAD.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def parse(
    data: bytes,
    name: str,
    label: str,
    log: ProblemLog,
    *,
    names: ModelNames,
    max_bytes: int,
    samples: bool = False,
    on_samples: Callable[[pa.Table], None] | None = None,
) -> pa.Table | None:
    """Read one log.

    Args:
        data: The file's content: of an ``.eval`` log as it is on disk, else decompressed.
        name: The file's name, whose ending tells the format.
        label: Its name in tables and messages.
        log: Where problems are noted.
        names: Rules that tell a model's family and size.
        max_bytes: Refuse an ``.eval`` log that expands to more.
        samples: Whether to read the samples.
        on_samples: Takes tables of samples of bounded size. Needed for samples.

    Returns:
        An observations table, one row a score; None if there are no scores to be had, be it that
        the log cannot be used, or that the evaluation ended before there were any.
    """
    from bigbench_meta.readers.formats.inspect_samples import parse_samples

    try:
        with open_log(data, name, max_bytes=max_bytes) as file:
            header = read_header(file, _columns)
            run = run_of_header(header, label, log, names=names)
            if run is None:
                return None
            table = _observations(header, run, label, log)
            if samples and on_samples is not None:
                parse_samples(file, run, label, log, on_samples=on_samples)
            return table
    except LogFaultError as fault:
        log.error(label, fault.where, fault.reason)
        return None


def _columns(analysis: Any) -> list[Any]:
    plain = {**HEADER, **_RESULTS}.items()
    return [
        *(analysis.EvalColumn(name, path=path) for name, path in plain),
        analysis.EvalColumn("scores", path=_scores),
    ]


def _scores(log: Any) -> list[dict[str, Any]] | None:
    """Return the scores of an EvalLog; a dataframe of Inspect holds them as JSON.

    The column type that Inspect has for this, ``score_*_*``, writes scorer and metric into one
    name, from which they cannot be told apart again.
    """
    if log.results is None:
        return None
    return [
        {
            "name": score.name,
            "scorer": score.scorer,
            "reducer": score.reducer,
            "scored": score.scored_samples,
            "metrics": {
                key: {
                    "name": metric.name,
                    "set": metric.group,
                    "value": metric.value,
                    "params": metric.params,
                }
                for key, metric in score.metrics.items()
            },
        }
        for score in log.results.scores
    ]


def _observations(
    header: dict[str, Any], run: InspectRun, label: str, log: ProblemLog
) -> pa.Table | None:
    scores = json.loads(header["scores"] or "[]")
    reducers = {score["reducer"] for score in scores} - {None}
    rows = []
    for number, score in enumerate(scores):
        where = f"results.scores.{number}"
        shared = {
            "total_params": run.model.total_params,
            "n_examples": _size(score, header["completed"], run.epochs, where, label, log),
            "source": clean(label),
        }
        for row in _score_rows(score, f"{where}.metrics", label, log):
            variants = _variants(score, row["metric"], names_mean=len(reducers) > 1)
            rows.append(run.key(*variants) | shared | row)
    if header["invalidated"]:
        log.warning(label, "invalidated", "samples of this log were declared invalid")
    return to_table(rows, OBSERVATIONS) if _has_scores(header, rows, label, log) else None


def _has_scores(
    header: dict[str, Any], rows: list[dict[str, Any]], label: str, log: ProblemLog
) -> bool:
    """Return whether an evaluation got as far as scores, which a successful one always did."""
    status = header["status"]
    if status == "success":
        if not rows:
            log.warning(label, "results", "no scores")
        return True
    if rows:
        log.warning(label, "status", f"{status}: the scores are of an unfinished evaluation")
        return True
    said = str(header["error"] or "").strip().partition("\n")[0]
    reason = f"{status}: the evaluation has no scores"
    log.error(label, "status", f"{reason} ({shown(said)[:_LONGEST]})" if said else reason)
    return False


def _size(
    score: dict[str, Any], completed: Any, epochs: int, where: str, label: str, log: ProblemLog
) -> int | None:
    """Return how many samples a score is a mean over."""
    number, where = _whole(score["scored"]), f"{where}.scored_samples"
    if number is None:
        number, where = _whole(completed), _RESULTS["completed"]
        if number is None:
            return None
        if number % epochs:
            reason = f"{number} samples completed in {epochs} epochs: number of examples left empty"
            log.warning(label, where, reason)
            return None
        number //= epochs
    if 0 <= number <= _MOST_EXAMPLES:
        return number or None
    log.warning(label, where, f"expected a number of samples, got {_show(number)}: left empty")
    return None


def _variants(score: dict[str, Any], metric: str, *, names_mean: bool) -> list[str | None]:
    scorer, name, reducer = score["scorer"], score["name"], score["reducer"]
    return [
        scorer if scorer != metric else None,
        name if name != scorer else None,
        reducer if names_mean or reducer != "mean" else None,
    ]


def _score_rows(
    score: dict[str, Any], where: str, label: str, log: ProblemLog
) -> Iterator[dict[str, Any]]:
    values = _values(score["metrics"], where)
    has_mean = {value.group for value in values if value.metric in _MEANS}
    errors: dict[str | None, _Value] = {}
    for kind in _STDERRS:
        for value in values:
            if value.metric == kind and value.group in has_mean:
                errors.setdefault(value.group, value)
    for value in values:
        if value is errors.get(value.group):
            continue
        if not value.metric.strip() or (value.group is not None and not value.group.strip()):
            log.error(label, value.where, "a metric or a group without a name")
            continue
        if value.value is None or not math.isfinite(value.value):
            log.warning(label, value.where, f"{value.value} is kept but never scored")
        stderr = errors.get(value.group) if value.metric in _MEANS else None
        own = {} if value.group is None else {"subtask": clean(value.group), "n_examples": None}
        yield own | {
            "metric": clean(value.metric),
            "score": value.value,
            "stderr": None if stderr is None else _stderr(stderr, label, log),
        }


def _values(metrics: dict[str, Any], where: str) -> list[_Value]:
    groupings = {key: found for key in metrics if (found := _grouping(metrics[key]))}
    several = len({found.by for found in groupings.values()}) > 1
    plain = metrics.keys() - groupings.keys()
    names_all = not plain.isdisjoint(found.metric for found in groupings.values())
    values = []
    for key, metric in metrics.items():
        name = f"{metric['set']}/{metric['name']}" if metric["set"] else key
        group = None
        if key in groupings:
            name, by, group, is_all = groupings[key]
            group = f"{by}/{group}" if several else None if is_all and not names_all else group
        values.append(_Value(name, group, _number(metric["value"]), f"{where}.{key}.value"))
    return values


def _grouping(metric: dict[str, Any]) -> _Grouping | None:
    params = metric["params"]
    inner = params.get("metric")
    name = inner.get("name") if isinstance(inner, dict) else None
    if "group_key" not in params or not isinstance(name, str):
        return None
    # A metric of another package than Inspect's is named with its package.
    return _Grouping(
        metric=name.rpartition("/")[2],
        by=str(params["group_key"]),
        group=metric["name"],
        is_all=metric["name"] == params.get("all_label", "all"),
    )


def _stderr(error: _Value, label: str, log: ProblemLog) -> float | None:
    if error.value is not None and math.isfinite(error.value) and error.value >= 0:
        return error.value
    log.warning(label, error.where, f"expected a standard error, got {error.value}: left empty")
    return None
