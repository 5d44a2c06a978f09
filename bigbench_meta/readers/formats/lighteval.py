"""Reader for results of lighteval and of the first Open LLM Leaderboard, ``results_<date>.json``.

A file has ``config_general`` (the model and how it was run), ``results["suite|task|shots"]`` with
``metric`` and ``metric_stderr``, and ``config_tasks``. How it becomes observations:

- ``task`` is the middle of the key and ``shots`` its last part; the suite is a setting of the run.
  ``all`` is a mean over tasks and left out. Where a task has a row ``task:_average``, that is the
  aggregate, and the other rows ``task:...`` are its subtasks.
- The model is what ``config_general`` names; where that is no name, or a place where a model is
  stored, what the path says, with a warning. ``settings`` are its precision,
  revision and other arguments, the chat template, the system prompt, a limit on the examples and
  the task's version.
- ``n_examples`` is ``effective_num_docs`` of the task.

The formats are those of lighteval 0.6 to 0.10 and of the leaderboard's results of 2023.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.schema import OBSERVATIONS
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
from bigbench_meta.readers.formats.values import as_whole, clean, kind_of, show_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["parse", "recognise"]

BENCHMARK: Final = "lighteval"

_ALL: Final = "all"
_AVERAGE: Final = ":_average"
_STDERR: Final = "_stderr"
# Of how and where a model ran, or read elsewhere.
_NO_SETTING: Final = {
    "model_name", "revision", "dtype", "generation_parameters", "generation_size", "batch_size",
    "device", "accelerator", "data_parallel_size", "tensor_parallel_size", "cache_dir", "seed",
    "max_model_length", "system_prompt", "use_chat_template", "override_chat_template",
    "trust_remote_code", "skip_special_tokens", "pairwise_tokenization", "compile",
}  # fmt: skip


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
        An observations table, one row a score; None if the file cannot be used at all.
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
    model = at_checkpoint(model, arguments.get("revision", general.get("model_revision")))
    note_missing_size(model, log)
    settings = _settings(general, arguments)
    rows = [
        row
        for key in results
        if key != _ALL
        for row in _task_rows(document, key, model, settings, log)
    ]
    if not rows:
        log.warning("results", "no scores")
    return to_table(rows, OBSERVATIONS)


def _settings(general: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    sha = general.get("lighteval_sha")
    precision = general.get("model_dtype") or arguments.get("dtype")
    generation = arguments.get("generation_parameters") or general.get("generation_parameters")
    template = arguments.get("use_chat_template") or general.get("use_chat_template")
    system = arguments.get("system_prompt") or general.get("system_prompt")
    return {
        **model_settings(
            {key: arguments[key] for key in arguments.keys() - _NO_SETTING} | {"dtype": precision}
        ),
        "chat_template": "yes" if template is True else None,
        "system_instruction": short_digest(system),
        "harness": sha if isinstance(sha, str) and sha != "?" else None,
        **named_settings("generation", generation, without={"seed"}),
    }


def _task_rows(
    document: dict[str, Any],
    key: str,
    model: ModelIdentity,
    settings: dict[str, Any],
    log: FileLog,
) -> Iterator[dict[str, Any]]:
    results, where = document["results"], f"results.{key}"
    scores, parts = results[key], key.split("|")
    if not isinstance(scores, dict):
        log.error(where, f"expected the scores of a task, got {kind_of(scores)}")
        return
    if len(parts) < 3 or not parts[1].strip():
        log.error(where, f"expected suite|task|shots, got {show_value(key)}")
        return
    suite, name = parts[0], parts[1]
    stem = name.partition(":")[0]
    average = "|".join([suite, stem + _AVERAGE, *parts[2:]])
    size, settings_of_task = _task(document, "|".join(parts[:2]), key, log)
    columns = key_columns(
        model,
        benchmark=BENCHMARK,
        task=stem if average in results else name,
        subtask=name.removesuffix(_AVERAGE),
        shots=log.shots(int(parts[2]) if parts[2].isdecimal() else parts[2], f"{where} shots"),
        settings={**settings, **settings_of_task, "task.suite": suite},
        source=log.label,
    )
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
            "n_examples": size,
        }


def _task(
    document: dict[str, Any], name: str, key: str, log: FileLog
) -> tuple[int | None, dict[str, Any]]:
    """Return the number of examples of a task, and what the file says of how it was set."""
    configs, versions = log.section(document, "config_tasks"), log.section(document, "versions")
    own = configs.get(name, configs.get(key))
    config: dict[str, Any] = own if isinstance(own, dict) else {}
    effective, original = (
        as_whole(config.get(field)) for field in ("effective_num_docs", "original_num_docs")
    )
    version = config.get("version", versions.get(key))
    size = config.get("effective_num_docs")
    cut = effective is not None and original is not None and effective < original
    return (
        None if size is None else log.n_examples(size, f"config_tasks.{name}.effective_num_docs"),
        {
            "limit": effective if cut else None,
            "task_version": version if isinstance(version, int | float | str) else None,
        },
    )
