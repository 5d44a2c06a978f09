"""Reader for logs of Inspect AI, ``.json`` and ``.eval``, through the package ``inspect_ai``.

How a log becomes observations:

- ``benchmark`` is the package that the task comes from, ``inspect`` where it comes from none:
  ``inspect_evals/mmlu_0_shot`` is the task ``mmlu_0_shot`` of ``inspect_evals``.
- ``metric`` is the name in the log (``accuracy``, ``mean``). It does not say what was averaged, so
  ``variant`` names the scorer: ``match``. A scorer of several
  values adds the name of the value: ``quality/fluency``. A way to reduce epochs other than the mean
  comes last: ``match/pass_at_5``.
- A metric that is computed by group (``grouped``) has a row for each group, which is its
  ``subtask``; the row over all groups is the aggregate, unless the scorer has that metric without
  groups too. Any other metric of several values is named ``metric/value``.
- ``std`` and ``var`` say how much samples differ; they are no scores and left out.
- ``stderr`` is the metric of that name, else ``bootstrap_stderr``, with ``accuracy`` or ``mean``,
  the two that it is the standard error of. Without them it is a metric of its own.
- ``n_examples`` is the number of samples that the scorer scored, after the epochs of a sample were
  reduced to one (``scored_samples``). Logs from before July 2025 do not say it; there it is the
  number of samples completed without error, divided by the epochs, and null if that leaves a rest.
  It is null for a group.
- The model is named without its provider: ``openai/gpt-4o`` is ``gpt-4o``, ``hf/local`` what the
  argument ``model_path`` names. ``shots`` are null unless an argument of the task gives them.
- ``settings`` are the other arguments of the task, those of the model, the generation and the
  scorer, the solvers, other models that took part, limits on samples and on what they may take, and
  the task's version.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.core.text import shown
from bigbench_meta.readers.formats.inspect_files import LogFaultError, open_log, read_header
from bigbench_meta.readers.formats.runs import (
    at_checkpoint,
    key_columns,
    model_of_run,
    model_settings,
    named_settings,
    note_missing_size,
    short_digest,
    to_table,
)
from bigbench_meta.readers.formats.values import as_number, as_whole, clean, show_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["parse", "recognise"]

# The benchmark of a task that belongs to no package.
_BENCHMARK: Final = "inspect"

_HEAD: Final = re.compile(
    rb'\s*\{\s*"version"\s*:\s*\d{1,9}\s*,\s*"status"\s*:\s*'
    rb'"(?:started|success|cancelled|error)"\s*,\s*"eval"\s*:\s*\{'
)
# Columns and their places in the log.
_HEADER: Final = {
    "task": "eval.task",
    "task_args": "eval.task_args",
    "model": "eval.model",
    "model_args": "eval.model_args",
    "epochs": "eval.config.epochs",
    "limit": "eval.config.limit",
    "config": "eval.config",
    "roles": "eval.model_roles",
    "plan": "plan",
    "dataset": "eval.dataset.name",
    "n_dataset": "eval.dataset.samples",
    "generation": "eval.model_generate_config",
    "solver": "eval.solver",
    "solver_args": "eval.solver_args",
    "task_version": "eval.task_version",
}
_RESULTS: Final = {
    "status": "status",
    "error": "error.message",
    "invalidated": "invalidated",
    "completed": "results.completed_samples",
}
_SHOTS: Final = ("fewshot", "num_fewshot", "n_fewshot", "few_shot", "shots", "num_shots", "n_shots")
# Of the configuration of an evaluation: how much a sample may take.
_LIMITS: Final = (
    "message_limit", "token_limit", "token_limit_type", "turn_limit", "time_limit",
    "working_limit", "cost_limit",
)  # fmt: skip
# Of how often, when and how fast a model was asked, and a seed.
_NO_GENERATION: Final = {
    "max_retries", "timeout", "attempt_timeout", "max_connections", "seed", "cache", "batch",
    "adaptive_connections",
}  # fmt: skip
# Providers that load a model from disk name it so, and the folder in an argument.
_LOCAL: Final = "local"
_LONGEST: Final = 200
_STDERRS: Final = ("stderr", "bootstrap_stderr")
_MEANS: Final = ("accuracy", "mean")
# How much samples differ is no performance.
_DISPERSION: Final = {"std", "var"}


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One evaluation of one model on one task.

    Attributes:
        benchmark: The package that the task comes from.
        task: The task, without its package.
        model: The model, at its checkpoint.
        shots: In-context examples, where the arguments of the task say so.
        settings: What the log says of the run.
        epochs: How often each sample was asked.
    """

    benchmark: str
    task: str
    model: ModelIdentity
    shots: int | None
    settings: dict[str, Any]
    epochs: int

    def key(
        self, source: str, *variants: str | None, scorer: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the columns that say which model did which task, and how it was scored."""
        return key_columns(
            self.model,
            *variants,
            benchmark=self.benchmark,
            task=self.task,
            subtask=self.task,
            shots=self.shots,
            settings={**self.settings, **named_settings("scorer", scorer)},
            source=source,
        )


class _Value(NamedTuple):
    """One value of a metric, with its place in the log."""

    metric: str
    group: str | None
    value: float | None
    where: str


class _Grouping(NamedTuple):
    """The parameters of a metric computed by group."""

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
    log: FileLog,
    *,
    names: ModelNames,
    max_bytes: int,
    samples: bool = False,
    on_samples: Callable[[pa.Table], None] | None = None,
) -> pa.Table | None:
    """Read one log.

    Args:
        data: The file's content: of an ``.eval`` log as it is on disk, else decompressed.
        name: The file's name, whose ending gives the format.
        log: Where problems are noted.
        names: Rules from model names to families and sizes.
        max_bytes: Refuse an ``.eval`` log that expands to more.
        samples: Whether to read the samples.
        on_samples: Takes tables of samples of bounded size. Needed for samples.

    Returns:
        An observations table, one row per score; None if the log cannot be used, or the evaluation
        ended before there were any scores.
    """
    from bigbench_meta.readers.formats.inspect_samples import parse_samples

    try:
        with open_log(data, name, max_bytes=max_bytes) as file:
            header = read_header(file, _columns)
            run = _run(header, log, names=names)
            if run is None:
                return None
            table = _observations(header, run, log)
            if samples and on_samples is not None:
                key = run.key(log.label)
                parse_samples(file, key, run.epochs, log, on_samples=on_samples)
            return table
    except LogFaultError as fault:
        log.error(fault.where, fault.reason)
        return None


def _run(header: dict[str, Any], log: FileLog, *, names: ModelNames) -> _Run | None:
    """Return the evaluation that a log describes, None if it names no task or no model."""
    package, slash, task = clean(str(header["task"])).strip().partition("/")
    if not (package.strip() and task.strip()):
        package, task = _BENCHMARK, f"{package}{slash}{task}"
    model = _model(header, log, names=names)
    if not task.strip("/ "):
        log.error(_HEADER["task"], f"expected a name, got {show_value(header['task'])}")
        return None
    if model is None:
        log.error(_HEADER["model"], f"expected a name, got {show_value(header['model'])}")
        return None
    epochs = as_whole(header["epochs"])
    return _Run(
        benchmark=package,
        task=task,
        model=model,
        shots=_shots(_arguments(header["task_args"]), log),
        settings=_settings(header),
        epochs=epochs if epochs is not None and epochs > 0 else 1,
    )


def _arguments(text: Any) -> dict[str, Any]:
    """Return arguments, which a dataframe of Inspect holds as JSON."""
    value = json.loads(text) if isinstance(text, str) else None
    return value if isinstance(value, dict) else {}


def _settings(header: dict[str, Any]) -> dict[str, Any]:
    limit, n_samples = header["limit"], as_whole(header["n_dataset"])
    config, plan = _arguments(header["config"]), _arguments(header["plan"])
    chosen = config.get("sample_id")
    if chosen is not None:
        chosen = chosen if isinstance(chosen, list) else [chosen]
        limit = len(chosen)
    if (number := as_whole(limit)) is not None and n_samples is not None:
        limit = number if number < n_samples else None
    if limit and chosen is not None:
        limit = f"{limit} ({short_digest(chosen)})"
    # The plan has the generation of the task, which goes before that of the model.
    generation = [_arguments(header["generation"]), plan.get("config") or {}]
    epochs = as_whole(header["epochs"])
    provider, slash, _ = str(header["model"]).strip().partition("/")
    return {
        "limit": limit,
        "backend": provider if slash else None,
        "epochs": epochs if epochs != 1 else None,
        "task_version": header["task_version"],
        "task.dataset": header["dataset"],
        "task.solver": header["solver"],
        **named_settings("solver", _arguments(header["solver_args"])),
        **named_settings("task", _arguments(header["task_args"]), without=_SHOTS),
        **model_settings(_arguments(header["model_args"])),
        "task.solvers": _solvers(plan),
        **named_settings("task", {name: config.get(name) for name in _LIMITS}),
        **{f"task.{role}": _role(model) for role, model in _arguments(header["roles"]).items()},
        **{
            name: value
            for own in generation
            for name, value in named_settings("generation", own, without=_NO_GENERATION).items()
        },
    }


def _solvers(plan: dict[str, Any]) -> str | None:
    """Return the steps of a plan, with a digest of what was passed to each; None for the usual."""
    steps = [*(plan.get("steps") or []), plan.get("finish")]
    told = []
    for step in filter(None, steps):
        passed = short_digest(step.get("params_passed", step.get("params")))
        told.append(f"{step.get('solver')}({passed})" if passed else str(step.get("solver")))
    return None if told == ["generate"] else "+".join(told)


def _role(model: Any) -> Any:
    """Return the model of a role, with a digest of how it was set."""
    if not isinstance(model, dict):
        return model
    how = short_digest({key: model[key] for key in ("config", "args") if model.get(key)})
    return f"{model.get('model')} ({how})" if how else model.get("model")


def _model(header: dict[str, Any], log: FileLog, *, names: ModelNames) -> ModelIdentity | None:
    arguments = _arguments(header["model_args"])
    whole = str(header["model"]).strip()
    # Inspect puts the provider in front, even of names with an organisation of their own.
    name = whole.partition("/")[2] or whole
    folder = arguments.get("model_path")
    if name == _LOCAL and isinstance(folder, str) and folder.strip():
        name = folder
    model = model_of_run(log, _HEADER["model"], name, names=names)
    if model is None:
        return None
    note_missing_size(model, log)
    return at_checkpoint(model, arguments.get("revision"))


def _shots(arguments: dict[str, Any], log: FileLog) -> int | None:
    key = next((key for key in _SHOTS if arguments.get(key) is not None), None)
    return None if key is None else log.shots(arguments[key], f"{_HEADER['task_args']}.{key}")


def _columns(analysis: Any) -> list[Any]:
    plain = {**_HEADER, **_RESULTS}.items()
    return [
        *(analysis.EvalColumn(name, path=path) for name, path in plain),
        analysis.EvalColumn("scores", path=_scores),
    ]


def _scores(log: Any) -> list[dict[str, Any]] | None:
    """Return the scores of an EvalLog; a dataframe of Inspect holds them as JSON.

    The column type that Inspect has for this, ``score_*_*``, writes scorer and metric into one
    name, which cannot be split again.
    """
    if log.results is None:
        return None
    return [
        {
            "name": score.name,
            "scorer": score.scorer,
            "reducer": score.reducer,
            "params": score.params,
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


def _observations(header: dict[str, Any], run: _Run, log: FileLog) -> pa.Table | None:
    scores = json.loads(header["scores"] or "[]")
    reducers = {score["reducer"] for score in scores} - {None}
    limit = as_whole(header["limit"])
    rows = []
    for number, score in enumerate(scores):
        where = f"results.scores.{number}"
        n_examples = _size(score, header["completed"], run.epochs, where, log, limit=limit)
        size = {"n_examples": n_examples}
        for row in _score_rows(score, f"{where}.metrics", log):
            variants = _variants(score, row["metric"], names_mean=len(reducers) > 1)
            key = run.key(log.label, *variants, scorer=score["params"])
            rows.append(key | size | row)
    if header["invalidated"]:
        log.warning("invalidated", "samples of this log were declared invalid")
    return to_table(rows, OBSERVATIONS) if _has_scores(header, rows, log) else None


def _has_scores(header: dict[str, Any], rows: list[dict[str, Any]], log: FileLog) -> bool:
    """Return whether an evaluation got as far as scores, which a successful one always did."""
    status = header["status"]
    if status == "success":
        if not rows:
            log.warning("results", "no scores")
        return True
    if rows:
        log.warning("status", f"{status}: the scores are of an unfinished evaluation")
        return True
    said = str(header["error"] or "").strip().partition("\n")[0]
    reason = f"{status}: the evaluation has no scores"
    log.error("status", f"{reason} ({shown(said)[:_LONGEST]})" if said else reason)
    return False


def _size(
    score: dict[str, Any],
    completed: Any,
    epochs: int,
    where: str,
    log: FileLog,
    *,
    limit: int | None,
) -> int | None:
    """Return how many samples a score is a mean over."""
    number, where = as_whole(score["scored"]), f"{where}.scored_samples"
    if number is None:
        number, where = as_whole(completed), _RESULTS["completed"]
        if number is None:
            return None
        if number % epochs:
            reason = f"{number} samples completed in {epochs} epochs: number of examples left empty"
            log.warning(where, reason)
            return None
        number //= epochs
    n_examples = log.n_examples(number, where) if number else None
    if n_examples and limit and n_examples > limit:
        log.agree(where, n_examples, _HEADER["limit"], limit)
    return n_examples


def _variants(score: dict[str, Any], metric: str, *, names_mean: bool) -> list[str | None]:
    scorer, name, reducer = score["scorer"], score["name"], score["reducer"]
    return [
        scorer if scorer != metric else None,
        name if name != scorer else None,
        reducer if names_mean or reducer != "mean" else None,
    ]


def _score_rows(score: dict[str, Any], where: str, log: FileLog) -> Iterator[dict[str, Any]]:
    values = _values(score["metrics"], where)
    has_mean = {value.group for value in values if value.metric in _MEANS}
    errors: dict[str | None, _Value] = {}
    for kind in _STDERRS:
        for value in values:
            if value.metric == kind and value.group in has_mean:
                errors.setdefault(value.group, value)
    for value in values:
        if value is errors.get(value.group) or value.metric in _DISPERSION:
            continue
        if not value.metric.strip() or (value.group is not None and not value.group.strip()):
            log.error(value.where, "a metric or a group without a name")
            continue
        if value.value is None or not math.isfinite(value.value):
            log.warning(value.where, f"{value.value} is kept but never scored")
        stderr = errors.get(value.group) if value.metric in _MEANS else None
        own = {} if value.group is None else {"subtask": clean(value.group), "n_examples": None}
        yield own | {
            "metric": clean(value.metric),
            "score": value.value,
            "stderr": None if stderr is None else log.stderr(stderr.value, stderr.where),
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
        values.append(_Value(name, group, as_number(metric["value"]), f"{where}.{key}.value"))
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
