"""Reader for results of EleutherAI's lm-evaluation-harness, old (to 0.3) and new (0.4).

An old file has ``results[task][metric]`` and ``results[task][metric + "_stderr"]``; a new one
writes ``"metric,filter"`` and ``"metric_stderr,filter"``, and says more about tasks and groups. The
formats are those of ``lm_eval.evaluator`` in 0.3.0 (old), 0.4.8 and 0.4.13 (new). How a file
becomes observations:

- ``metric`` is the plain metric, the one that the catalog knows. A filter other than ``none`` goes
  into ``variant``, after the checkpoint if there is one: ``step3000/strict-match``.
- A group with scores of its own is the ``task`` of its members, as is the outermost such group;
  its own row is the aggregate. A group without scores is a mere list of tasks.
- The model is what ``config.model_args`` names, else ``config.model``; where that is no name, or a
  place where a model is stored, the file's or its folder's name, with a warning.
  ``total_params`` is the number that the harness counted (``config.model_num_parameters``), else
  the one of the model-name rules; of a quantised model or one with an adapter, whose parameters it
  counts otherwise, the latter.
- ``settings`` are what the file says of the run: its checkpoint (``revision``), a limit on the
  examples, chat template, system prompt, precision, quantisation, adapter, further arguments of the
  model and of the generation, and of each task version, data, prompt, examples and scoring.
- Shots in the prompt itself (``metadata.num_fewshot``) count where the harness adds none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.readers.formats.runs import (
    at_checkpoint,
    key_columns,
    model_in_path,
    model_of_run,
    model_settings,
    named_settings,
    note_missing_size,
    settings_of_group,
    short_digest,
    to_table,
)
from bigbench_meta.readers.formats.values import (
    as_size,
    as_whole,
    clean,
    kind_of,
    show_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["Run", "decode", "parse", "read_run", "recognise", "run_of_file"]

BENCHMARK: Final = "lm-eval"

# mmlu nests three deep; a loop in a hostile file has no end.
_DEEPEST: Final = 8
# Found in new files only.
_NEW_KEYS: Final = {"configs", "group_subtasks", "n-shot", "n-samples", "higher_is_better"}
# In the order in which the harness itself looks for the model's name.
_NAME_ARGS: Final = ("pretrained", "model", "path", "engine")
# Values of config.model that name a way to run models, not a model.
_RUNNERS: Final = re.compile(
    r"(?:hf|vllm|local|openai|neox|sglang|huggingface)(?:-.*)?", re.IGNORECASE
)
_STDERR: Final = "_stderr"
# Of the configuration of a task: what stands in a prompt, how an answer is scored, and which
# examples stand before it.
_PROMPT: Final = (
    "doc_to_text", "doc_to_target", "doc_to_choice", "target_delimiter", "fewshot_delimiter",
    "gen_prefix", "use_prompt", "process_docs",
)  # fmt: skip
_SCORING: Final = ("metric_list", "filter_list", "process_results")
_FEWSHOT: Final = ("sampler", "split", "fewshot_indices", "samples")
# What a task has in addition to its scores: names and counts in 0.4.13, a blank in 0.4.8.
_NO_METRIC: Final = {"alias", "name", "sample_len", "sample_count", "samples", ""}
_FIRST_SCORE: Final = re.compile(
    rb'\s*\{\s*"results"\s*:\s*\{\s*"[^"]*"\s*:\s*\{\s*"[^"]*"\s*:\s*[-0-9"nNI]'
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluation of one model.

    Attributes:
        model: The model, at its checkpoint.
        results: The scores: task, then the key as the file spells it. Not yet checked.
        settings: What the file says of the run.
        task_settings: The same of each task.
        shots: In-context examples of each task, where stated.
        file_shots: The same for tasks that are not in ``shots``.
        group_of: The group that each member of one is filed under.
        n_samples: The value of ``n-samples`` for each task. Not yet checked.
        has_filters: Whether the keys of scores are ``"metric,filter"``.
    """

    model: ModelIdentity
    results: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    task_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shots: Mapping[str, int | None] = field(default_factory=dict)
    file_shots: int | None = None
    group_of: Mapping[str, str] = field(default_factory=dict)
    n_samples: Mapping[str, Any] = field(default_factory=dict)
    has_filters: bool = True

    def key(self, source: str, task: str, filter_name: str | None = None) -> dict[str, Any]:
        """Return the columns that say which model did which task, and how."""
        return key_columns(
            self.model,
            None if filter_name == "none" else filter_name,
            benchmark=BENCHMARK,
            task=self.group_of.get(task, task),
            subtask=task,
            shots=self.shots.get(task, self.file_shots),
            settings={**self.settings, **self.task_settings.get(task, {})},
            source=source,
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


def parse(data: bytes, log: FileLog, *, names: ModelNames) -> pa.Table | None:
    """Read one results file.

    Args:
        data: The file's content, decompressed.
        log: Where problems are noted; if the file names no model, the name that it has there does.
        names: Rules from model names to families and sizes.

    Returns:
        An observations table, one row per score; None if the file cannot be used at all.
        ``n_examples`` is the number left by ``limit``, null where not stated, as for old files.
    """
    run = read_run(data, log, names=names)
    if run is None:
        return None
    rows = [row for task in run.results for row in _task_rows(run, task, log)]
    if not rows:
        log.warning("results", "no scores")
    return to_table(rows, OBSERVATIONS)


def read_run(data: bytes, log: FileLog, *, names: ModelNames) -> Run | None:
    """Read the evaluation that a results file describes, for the samples in the same folder.

    Args:
        data: As for :func:`parse`.
        log: As for :func:`parse`.
        names: As for :func:`parse`.

    Returns:
        The evaluation, None if the file has no results or names no model.
    """
    document = decode(data, "", log)
    if document is None:
        return None
    own = document.get("results")
    if not isinstance(own, dict):
        reason = "missing" if own is None else f"expected an object, got {kind_of(own)}"
        log.error("results", reason)
        return None
    # Groups are repeated there; some versions wrote them there alone.
    groups = log.section(document, "groups")
    results = own | {group: scores for group, scores in groups.items() if group not in own}
    config = log.section(document, "config")
    named = run_of_file(log.label, names=names)
    model = _model(document, config, named, log, names=names)
    if model is None:
        log.error("config.model_args", "neither the file nor its name gives a model")
        return None
    members = _members(document, log)
    in_config = log.shots(config.get("num_fewshot"), "config.num_fewshot")
    return Run(
        model=model,
        results=results,
        settings=_settings(document, config, log),
        task_settings=_task_settings(document, results, config, members, log),
        shots=_task_shots(document, members, in_config, log),
        file_shots=named.file_shots if named and in_config is None else in_config,
        group_of=_groups(members, results, log),
        n_samples=log.section(document, "n-samples"),
        has_filters=not _NEW_KEYS.isdisjoint(document) or any(map(_has_filters, results.values())),
    )


def decode(data: bytes, where: str, log: FileLog) -> dict[str, Any] | None:
    """Return a JSON object, None if it is none; note why, and keys given twice.

    Args:
        data: The JSON.
        where: The place in the file that goes in front of messages: empty, or a line.
        log: Where problems are noted.
    """
    return log.decode(data, dict, what="a file of lm-evaluation-harness", where=where)


def _task_rows(run: Run, task: str, log: FileLog) -> Iterator[dict[str, Any]]:
    scores, where = run.results[task], f"results.{task}"
    if not isinstance(scores, dict) or not task.strip():
        got = "a task without a name" if isinstance(scores, dict) else kind_of(scores)
        log.error(where, f"expected the scores of a task, got {got}")
        return
    sizes, size = _sizes(run, task, scores, log)
    keys: dict[str, dict[str, Any]] = {}
    for key, value in scores.items():
        metric, comma, filter_name = key.partition(",") if run.has_filters else (key, "", "")
        beside = f"{metric}{_STDERR}{comma}{filter_name}"
        place = f"{where}.{key}"
        if not _is_score(key, metric, scores, place, run, log):
            continue
        score = log.score(value, place)
        if score is None:
            continue
        if filter_name not in keys:
            keys[filter_name] = run.key(log.label, task, filter_name)
        stderr = scores.get(beside)
        is_stated = stderr is not None and stderr != "N/A"
        yield keys[filter_name] | {
            "metric": clean(metric),
            "score": score,
            "stderr": log.stderr(stderr, f"{where}.{beside}") if is_stated else None,
            "n_examples": sizes.get(key, size),
        }


def _is_score(
    key: str, metric: str, scores: dict[str, Any], where: str, run: Run, log: FileLog
) -> bool:
    if run.has_filters and key.strip() in _NO_METRIC:
        return False
    if metric.endswith(_STDERR):
        if metric.removesuffix(_STDERR) + key.removeprefix(metric) not in scores:
            log.warning(where, "standard error without a score: ignored")
        return False
    if not metric.strip() or (run.has_filters and "," not in key):
        log.warning(where, "unknown key: ignored")
        return False
    if metric == "bypass":
        log.warning(where, "not a metric: marks a run that only predicts; ignored")
        return False
    return True


def _sizes(
    run: Run, task: str, scores: dict[str, Any], log: FileLog
) -> tuple[dict[str, int], int | None]:
    """Return the number of examples by metric where they differ, and that of the task."""
    stated = run.n_samples.get(task)
    size = stated.get("effective") if isinstance(stated, dict) else stated
    where, beside = f"n-samples.{task}.effective", f"results.{task}.sample_len"
    if size is None:
        size, where = scores.get("sample_len"), beside
    number = None if size is None else log.n_examples(size, where)
    log.agree(where, number, beside, as_whole(scores.get("sample_len")))
    counts = scores.get("sample_count")
    by_metric = counts if isinstance(counts, dict) else {}
    found = {
        key: log.n_examples(value, f"results.{task}.sample_count.{key}")
        for key, value in by_metric.items()
        if value is not None
    }
    return (
        {key: count for key, count in found.items() if count is not None},
        number,
    )


def _has_filters(scores: Any) -> bool:
    return isinstance(scores, dict) and any("," in key for key in scores)


def run_of_file(label: str, *, names: ModelNames) -> Run | None:
    """Return the evaluation that a file's name describes, None if it names no model.

    The harness puts its files into a folder that is named after the model.

    Args:
        label: For example ``"runs/pythia-1.4b-0shot-step143000.json"`` or
            ``"out/EleutherAI__pythia-70m/results_2026-01-31T00-00-00.000000.json"``.
        names: Rules from model names to families and sizes.
    """
    model, shots = model_in_path(label, names=names)
    if model is None or _runs_models(model.model_name):
        return None
    return Run(model=model, file_shots=shots)


def _model(
    document: dict[str, Any],
    config: dict[str, Any],
    named: Run | None,
    log: FileLog,
    *,
    names: ModelNames,
) -> ModelIdentity | None:
    args = _model_args(config.get("model_args"), log)
    # If the arguments are empty, the top-level model_name is a random word.
    candidates = [*(args.get(key) for key in _NAME_ARGS), config.get("model")]
    candidates += [] if config else [document.get("model_name")]
    stated = (None if _runs_models(name) else name for name in candidates)
    model = model_of_run(log, "config.model_args", *stated, names=names)
    if model is None:
        if named is None:
            return None
        log.warning("config.model_args", "names no model: taken from the file's name")
        model = named.model
    stated_none = args.get("revision") in (None, "", "None")
    model = at_checkpoint(model, config.get("model_revision") if stated_none else args["revision"])
    counted = config.get("model_num_parameters")
    own = model_settings(args)
    if own["quantisation"] or own["adapter"] or model.quantisation:
        # Packed weights are fewer than the parameters, and an adapter adds its own.
        counted = None
    return _sized(model, counted, log)


def _model_args(value: Any, log: FileLog) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        pairs = (part.partition("=") for part in value.split(","))
        return {key.strip(): text.strip() for key, _, text in pairs}
    if value is not None:
        log.warning("config.model_args", f"expected text, got {show_value(value)}: ignored")
    return {}


def _sized(model: ModelIdentity, counted: Any, log: FileLog) -> ModelIdentity:
    """Prefer the number of parameters that the harness counted in the loaded model."""
    if (number := as_size(counted)) is not None:
        known = model.total_params
        if known is not None and not 2 / 3 < number / known < 3 / 2:
            log.warning(
                "config.model_num_parameters",
                f"{number}, but {known} by the name {show_value(model.model_name)}",
            )
        return model if model.size_by_rule else replace(model, total_params=number)
    # -1 is the harness's own word for a model that cannot be counted.
    if counted is not None and counted != -1:
        log.warning("config.model_num_parameters", f"got {show_value(counted)}: ignored")
    note_missing_size(model, log)
    return model


def _settings(document: dict[str, Any], config: dict[str, Any], log: FileLog) -> dict[str, Any]:
    """Return what a file says of its run, but for its checkpoint."""
    args = _model_args(config.get("model_args"), log)
    multiturn = document.get("fewshot_as_multiturn")
    return {
        "backend": config.get("model") if _runs_models(config.get("model")) else None,
        **model_settings({"dtype": config.get("model_dtype"), **args}),
        **{
            name: document.get(f"{name}_sha") or short_digest(document.get(name))
            for name in ("chat_template", "system_instruction")
        },
        "fewshot_layout": "multiturn" if multiturn in (True, "True", "true") else None,
        "harness": document.get("lm_eval_version"),
    }  # fmt: skip


def _runs_models(name: Any) -> bool:
    return isinstance(name, str) and bool(_RUNNERS.fullmatch(name.strip()))


def _task_settings(
    document: dict[str, Any],
    results: dict[str, Any],
    config: dict[str, Any],
    members: dict[str, list[str]],
    log: FileLog,
) -> dict[str, dict[str, Any]]:
    """Return what a file says of how each task was set."""
    versions, sizes = log.section(document, "versions"), log.section(document, "n-samples")
    configs = log.section(document, "configs")
    limit, generation = config.get("limit"), config.get("gen_kwargs")
    if isinstance(generation, str):
        generation = dict(pair.partition("=")[::2] for pair in generation.split(","))
    found = {}
    for task in results:
        size = sizes.get(task)
        numbers = size if isinstance(size, dict) else {}
        effective, original = (as_whole(numbers.get(key)) for key in ("effective", "original"))
        cut = effective is not None and original is not None and effective < original
        if effective is not None and original is not None and effective > original:
            where = f"n-samples.{task}"
            log.agree(f"{where}.effective", effective, f"{where}.original", original)
        most = as_whole(limit)
        if effective is not None and most is not None and 1 < most < effective:
            log.agree(f"n-samples.{task}.effective", effective, "config.limit", most)
        version = versions.get(task)
        own = configs[task] if isinstance(configs.get(task), dict) else {}
        found[task] = {
            # A limit beyond the test set cuts nothing.
            "limit": effective if cut else None if effective is not None else _whole_limit(limit),
            "task_version": version if isinstance(version, int | float | str) else None,
            "answers": own.get("output_type"),
            **named_settings("generation", generation),
            **_set_of_members(configs, task, members),
            **_set(own),
        }
        if description := _old_description(config, task):
            found[task]["task.description"] = short_digest(description)
    return found


def _set_of_members(
    configs: dict[str, Any], group: str, members: dict[str, list[str]]
) -> dict[str, Any]:
    """Return what the configurations of the tasks of a group, and of the groups in it, say."""
    of_task: dict[str, dict[str, Any]] = {}
    rest = {group}
    for _ in range(_DEEPEST):
        rest = {name for one in rest for name in members.get(one, ())}
        of_task |= {n: _set(own) for n in rest if isinstance(own := configs.get(n), dict)}
    return settings_of_group(of_task)


def _set(own: dict[str, Any]) -> dict[str, Any]:
    """Return what a task's configuration says of its data, prompt, examples and scoring."""
    layout = own.get("fewshot_config")
    fewshot = {key: layout.get(key) for key in _FEWSHOT} if isinstance(layout, dict) else {}
    fewshot["split"] = fewshot.get("split") or own.get("fewshot_split")
    repeats = own.get("repeats")
    of_task = {
        "dataset_name": own.get("dataset_name"),
        "split": own.get("test_split") or own.get("validation_split"),
        "repeats": None if repeats == 1 else repeats,
        "description": short_digest(own.get("description")),
        "prompt": _digest_of_said(own, _PROMPT),
        "scoring": _digest_of_said(own, _SCORING),
        "fewshot": _digest_of_said(fewshot, fewshot),
    }
    return {
        **named_settings("task", of_task),
        # It holds what the run said of the generation.
        **named_settings("generation", own.get("generation_kwargs")),
    }


def _digest_of_said(values: Mapping[str, Any], names: Iterable[str]) -> str | None:
    said = {name: values[name] for name in names if values.get(name) not in (None, "default")}
    return short_digest(said)


def _old_description(config: dict[str, Any], task: str) -> Any:
    """Return the description that the harness put before a task to version 0.3."""
    by_task = config.get("description_dict")
    return by_task.get(task) if isinstance(by_task, dict) else None


def _whole_limit(limit: Any) -> Any:
    return as_whole(limit) if as_whole(limit) is not None else limit


def _members(document: dict[str, Any], log: FileLog) -> dict[str, list[str]]:
    members = {}
    for group, names in log.section(document, "group_subtasks").items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            log.warning(f"group_subtasks.{group}", "expected a list of names: ignored")
            continue
        members[group] = [name for name in names if name != group]
    return members


def _groups(members: dict[str, list[str]], results: dict[str, Any], log: FileLog) -> dict[str, str]:
    scored = {group for group in members if _has_filters(results.get(group))}
    parent: dict[str, str] = {}
    for group in sorted(members, key=lambda group: group not in scored):
        for name in members[group]:
            if parent.setdefault(name, group) != group and group in scored:
                log.warning(
                    f"group_subtasks.{group}",
                    f"{show_value(name)} is filed under {show_value(parent[name])} already",
                )
    group_of: dict[str, str] = {}
    for name in parent:
        above = name
        for _ in range(_DEEPEST):
            above = parent.get(above, name)
            if above == name:
                break
            if above in scored:
                group_of[name] = above
    return group_of


def _task_shots(
    document: dict[str, Any], members: dict[str, list[str]], of_run: int | None, log: FileLog
) -> dict[str, int | None]:
    """Return the shots of each task, and of a group whose members all have the same.

    A task whose own configuration fixes them differs from the run with good reason.
    """
    stated = log.section(document, "n-shot")
    configs = log.section(document, "configs")
    in_configs = {
        task: log.shots(own["num_fewshot"], f"configs.{task}.num_fewshot")
        for task, own in configs.items()
        if isinstance(own, dict) and "num_fewshot" in own
    }
    found = in_configs | {
        task: log.shots(value, f"n-shot.{task}") for task, value in stated.items()
    }
    for task in stated.keys() - members.keys() - in_configs.keys():
        log.agree(f"n-shot.{task}", found[task], "config.num_fewshot", of_run)
    for task, own in configs.items():
        metadata = own.get("metadata") if isinstance(own, dict) else None
        where = f"configs.{task}.metadata.num_fewshot"
        inside = metadata.get("num_fewshot") if isinstance(metadata, dict) else None
        inside = log.shots(inside, where)
        if inside and found.get(task) in (None, 0):
            found[task] = inside
        elif inside:
            log.agree(f"n-shot.{task}", found[task], where, inside)
        else:
            log.agree(
                f"n-shot.{task}", found.get(task), f"configs.{task}.num_fewshot",
                in_configs.get(task),
            )  # fmt: skip
    seen: dict[str, set[int | None]] = {task: {shots} for task, shots in found.items()}
    for _ in range(_DEEPEST):
        for group in members.keys() - found.keys():
            # Two different numbers say all: that no one number holds.
            below = {shots for name in members[group] for shots in seen.get(name, ())}
            seen[group] = set(list(below)[:2])
    mixed = {group: of for group, of in seen.items() if group not in found and of}
    return found | {group: of.pop() if len(of) == 1 else None for group, of in mixed.items()}
