"""Reader for results of lighteval and of the first Open LLM Leaderboard, ``results_<date>.json``.

A file has ``config_general`` (the model and how it was run), ``results["suite|task|shots"]`` with
``metric`` and ``metric_stderr``, and ``config_tasks``. How it becomes observations:

- ``task`` is the middle of the key and ``shots`` the part behind it; the suite, which files since
  0.12 no longer name, is a setting of the run.
  ``all`` is a mean over tasks and left out. Where a task has a row ``task:_average``, that is the
  aggregate, and the other rows ``task:...`` are its subtasks.
- The model is what ``config_general`` names; where that is no name, or a place where a model is
  stored, what the path says, with a warning. ``settings`` are its precision,
  revision and other arguments, the chat template, the system prompt, a limit on the examples, and
  of each task version, data, prompt, examples and generation.
- ``n_examples`` is ``effective_num_docs`` of the task; -1 stands for not known.

The formats are those of lighteval 0.4 to 0.13 and of the leaderboard's results of 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.readers.formats.runs import (
    at_checkpoint,
    find_model,
    key_columns,
    model_of_run,
    model_settings,
    named_settings,
    note_missing_size,
    settings_of_group,
    short_digest,
    to_table,
)
from bigbench_meta.readers.formats.values import as_whole, clean, kind_of, show_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["Run", "parse", "read_run", "recognise", "run_of_folder"]

BENCHMARK: Final = "lighteval"

_ALL: Final = "all"
_AVERAGE: Final = ":_average"
# Folders that are not named after a model.
_NO_MODEL: Final = {"", ".", "..", "details", "results"}
_STDERR: Final = "_stderr"
# Of examples, until lighteval has counted them.
_NOT_KNOWN: Final = -1
# Of how and where a model ran, or read elsewhere.
_NO_SETTING: Final = {
    "model_name", "revision", "dtype", "generation_parameters", "generation_size", "batch_size",
    "device", "accelerator", "data_parallel_size", "tensor_parallel_size", "cache_dir", "seed",
    "system_prompt", "use_chat_template", "override_chat_template",
    "trust_remote_code", "skip_special_tokens", "pairwise_tokenization", "compile",
}  # fmt: skip
# Of the configuration of a task: its data, prompt, examples, generation and scoring.
_OF_TASK: Final = (
    "hf_subset", "hf_revision", "hf_filter", "evaluation_splits", "must_remove_duplicate_docs",
    "prompt_function", "few_shots_select", "few_shots_split", "truncate_fewshots",
    "generation_size", "generation_grammar", "stop_sequence", "num_samples", "metric", "metrics",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluation of one model.

    Attributes:
        model: The model, at its checkpoint.
        settings: What the file says of the run.
        max_samples: Examples of each task that were asked for, None for all.
        results: The scores: ``suite|task|shots``, then the metric. Not yet checked.
        tasks: How each task was set. Not yet checked.
        versions: The version of each task. Not yet checked.
    """

    model: ModelIdentity
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_samples: int | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    def key(self, name: str, where: str, log: FileLog) -> dict[str, Any] | None:
        """Return the columns that say which model did which task, and how.

        Args:
            name: The task: ``suite|task|shots``, or ``task|shots`` as since 0.12.
            where: The place of the name in the file.
            log: Where problems are noted.

        Returns:
            The columns, None after a note if the name is none of a task.
        """
        suite, task, rest = _parted(name)
        if not task.strip():
            log.error(where, f"expected suite|task|shots, got {show_value(name)}")
            return None
        stem, shots = task.partition(":")[0], rest.partition("|")[0]
        average = f"{name.removesuffix(f'{task}|{rest}')}{stem}{_AVERAGE}|{rest}"
        is_number = shots.isdecimal() and len(shots) < 10
        config = self.config(name)
        version = config.get("version", self.versions.get(name))
        return key_columns(
            self.model,
            benchmark=BENCHMARK,
            task=stem if average in self.results else task,
            subtask=task.removesuffix(_AVERAGE),
            shots=log.shots(int(shots) if is_number else shots, f"{where} shots".strip()),
            settings={
                **self.settings,
                "limit": self._limit(config),
                "task_version": version if isinstance(version, int | float | str) else None,
                "task.suite": suite,
                **(_set(config) if config else self._set_of_subtasks(name)),
            },
            source=log.label,
        )

    def config(self, name: str) -> Mapping[str, Any]:
        """Return what the file says of how a task was set."""
        own = self.tasks.get("|".join(name.split("|")[:2]), self.tasks.get(name))
        return own if isinstance(own, dict) else {}

    def _limit(self, config: Mapping[str, Any]) -> int | None:
        """Return how many examples of a task were used, None for all."""
        effective, original = (_docs(config, each) for each in ("effective", "original"))
        asked = self.max_samples
        used = asked if effective is None else effective
        if original is not None:
            return used if used is not None and used < original else None
        return used if used is not None and asked is not None and used >= asked else None

    def _set_of_subtasks(self, name: str) -> dict[str, Any]:
        """Return how the subtasks of an average were set."""
        stem = name.partition(_AVERAGE)[0]
        if stem == name:
            return {}
        of_task = {
            task: _set(own)
            for task, own in self.tasks.items()
            if task.startswith(f"{stem}:") and isinstance(own, dict)
        }
        return settings_of_group(of_task)


def _docs(config: Mapping[str, Any], which: str) -> int | None:
    """Return how many examples a task has (``original``) or were used (``effective``)."""
    number = as_whole(config.get(f"{which}_num_docs"))
    return None if number == _NOT_KNOWN else number


def _set(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a task's configuration says of its data, prompt, examples and scoring."""
    stops, numbers = config.get("stop_sequence"), config.get("num_samples")
    own = {name: config.get(name) for name in _OF_TASK} | {
        # A set, in an order that changes.
        "stop_sequence": sorted(map(str, stops)) if isinstance(stops, list) else stops,
        "num_samples": None if numbers == [1] else numbers,
    }
    return named_settings("task", own)


def _parted(name: str) -> tuple[str, str, str]:
    """Return suite, task, and what follows it; empty texts if the name is none of a task."""
    first, _, rest = name.partition("|")
    if rest.isdecimal():
        return "", first, rest
    task, bar, shots = rest.partition("|")
    return (first, task, shots) if bar else ("", "", "")


def recognise(head: bytes) -> bool:
    """Return whether a file that begins like this is a results file of lighteval.

    Args:
        head: The first bytes of the file; some hundred suffice.

    Examples:
        >>> recognise(b'{"config_general": {"lighteval_sha": "?", "model_name": "gpt2"')
        True
        >>> recognise(b'{"results": {"piqa": {"acc": 0.6')
        False
    """
    plain = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return plain.startswith(b"{") and b'"config_general"' in plain


def parse(data: bytes, log: FileLog, *, names: ModelNames) -> pa.Table | None:
    """Read one results file.

    Args:
        data: The file's content, decompressed.
        log: Where problems are noted.
        names: Rules from model names to families and sizes.

    Returns:
        An observations table, one row per score; None if the file cannot be used at all.
    """
    run = read_run(data, log, names=names)
    if run is None:
        return None
    note_missing_size(run.model, log)
    rows = [row for key in run.results if key != _ALL for row in _task_rows(run, key, log)]
    if not rows:
        log.warning("results", "no scores")
    return to_table(rows, OBSERVATIONS)


def read_run(data: bytes, log: FileLog, *, names: ModelNames) -> Run | None:
    """Read the evaluation that a results file describes, for the details of its examples.

    Args:
        data: As for :func:`parse`.
        log: As for :func:`parse`.
        names: As for :func:`parse`.

    Returns:
        The evaluation, None if the file has no results or names no model.
    """
    document = log.decode(data, dict, what="a file of lighteval")
    if document is None:
        return None
    results, general = document.get("results"), log.section(document, "config_general")
    if not isinstance(results, dict):
        reason = "missing" if results is None else f"expected an object, got {kind_of(results)}"
        log.error("results", reason)
        return None
    own = general.get("model_config")
    arguments: dict[str, Any] = own if isinstance(own, dict) else {}
    stated = general.get("model_name"), arguments.get("model_name")
    model = model_of_run(log, "config_general.model_name", *stated, names=names)
    if model is None:
        log.error("config_general.model_name", "neither the file nor its path names a model")
        return None
    return Run(
        model=at_checkpoint(model, arguments.get("revision", general.get("model_revision"))),
        settings=_settings(general, arguments),
        max_samples=as_whole(general.get("max_samples")),
        results=results,
        tasks=log.section(document, "config_tasks"),
        versions=log.section(document, "versions"),
    )


def run_of_folder(label: str, *, names: ModelNames) -> Run | None:
    """Return the evaluation that the folders of a details file name, None if they name no model.

    Args:
        label: For example ``"out/details/gpt2/2025-01-02T00-00-00/details_a|b|0_....parquet"``, or
            with the folder ``details_openai__gpt2`` of the leaderboard for the model.
        names: Rules from model names to families and sizes.
    """
    path = PurePosixPath(label.replace("\\", "/"))
    date = path.stem.rpartition("_")[2]
    folder = next((each.name for each in path.parents if each.name != date), "")
    if folder.lower() in _NO_MODEL:
        return None
    model = find_model(names, folder.removeprefix("details_").removesuffix("_private"))
    return None if model is None else Run(model=model)


def _settings(general: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    sha = general.get("lighteval_sha")
    precision = general.get("model_dtype") or arguments.get("dtype")
    generation = arguments.get("generation_parameters") or general.get("generation_parameters")
    template = arguments.get("use_chat_template") or general.get("use_chat_template") or None
    if isinstance(stated := arguments.get("override_chat_template"), bool):
        template = stated
    system = arguments.get("system_prompt") or general.get("system_prompt")
    return {
        **model_settings(
            {key: arguments[key] for key in arguments.keys() - _NO_SETTING} | {"dtype": precision}
        ),
        "chat_template": "yes" if template is True else "no" if template is False else None,
        "system_instruction": short_digest(system),
        "harness": sha if isinstance(sha, str) and sha != "?" else None,
        **named_settings("generation", generation, without={"seed"}),
    }


def _task_rows(run: Run, key: str, log: FileLog) -> Iterator[dict[str, Any]]:
    scores, where = run.results[key], f"results.{key}"
    if not isinstance(scores, dict):
        log.error(where, f"expected the scores of a task, got {kind_of(scores)}")
        return
    columns = run.key(key, where, log)
    if columns is None:
        return
    size = run.config(key).get("effective_num_docs")
    size = None if as_whole(size) == _NOT_KNOWN else size
    of_size = f"config_tasks.{'|'.join(key.split('|')[:2])}.effective_num_docs"
    n_examples = None if size is None else log.n_examples(size, of_size)
    for metric, value in scores.items():
        if metric.endswith(_STDERR) and metric.removesuffix(_STDERR) in scores:
            continue
        score = log.score(value, f"{where}.{metric}")
        if score is None or not metric.strip():
            continue
        stderr = scores.get(f"{metric}{_STDERR}")
        yield columns | {
            "metric": clean(metric),
            "score": score,
            "stderr": None if stderr is None else log.stderr(stderr, f"{where}.{metric}{_STDERR}"),
            "n_examples": n_examples,
        }
