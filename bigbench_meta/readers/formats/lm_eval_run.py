"""What a results file of lm-evaluation-harness says beside its scores: model, shots, groups.

Scores and samples of one evaluation need the same facts, so both readers get them here. The formats
are those of ``lm_eval.evaluator`` in 0.3.0 (old), 0.4.8 and 0.4.13 (new).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.salvage import _kind, _show, _whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["BENCHMARK", "Run", "clean", "run_of_document", "run_of_file"]

BENCHMARK: Final = "lm-eval"

_MOST_PARAMS: Final = 10**18
_MOST_SHOTS: Final = 10**9
# mmlu nests three deep; a loop in a hostile file has no end.
_DEEPEST: Final = 8
# Found in new files only.
_NEW_KEYS: Final = {"configs", "group_subtasks", "n-shot", "n-samples", "higher_is_better"}
# In the order in which the harness itself looks for the model's name.
_NAME_ARGS: Final = ("peft", "delta", "pretrained", "model", "path", "engine")
# Values of config.model that name a way to run models, not a model.
_RUNNERS: Final = re.compile(
    r"(?:hf|vllm|local|openai|neox|sglang|huggingface)(?:-.*)?", re.IGNORECASE
)
_SHOTS_IN_NAME: Final = re.compile(r"[-_](\d{1,3})-?shot", re.IGNORECASE | re.ASCII)
# GPT-NeoX adds _eval_results_<date>, the harness _<date>.
_DATE_IN_NAME: Final = re.compile(r"_(?:eval_results(?=_)|\d{4}-\d\d-\d\dT\d).*", re.ASCII)
_NO_MODEL: Final = re.compile(r"(?:(?:eval_)?results|samples)(?:_.*)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One evaluation of one model.

    Attributes:
        model: The model; its variant is the checkpoint.
        results: The scores: task, then the key as the file spells it. Not yet checked.
        shots: In-context examples of each task, where stated.
        file_shots: The same for tasks that are not in ``shots``.
        group_of: The group that each member of one is filed under.
        n_samples: What ``n-samples`` says of each task. Not yet checked.
        has_filters: Whether the keys of scores are ``"metric,filter"``.
    """

    model: ModelIdentity
    results: Mapping[str, Any] = field(default_factory=dict)
    shots: Mapping[str, int | None] = field(default_factory=dict)
    file_shots: int | None = None
    group_of: Mapping[str, str] = field(default_factory=dict)
    n_samples: Mapping[str, Any] = field(default_factory=dict)
    has_filters: bool = True

    def key(self, task: str, filter_name: str | None = None) -> dict[str, Any]:
        """Return the columns that say which model did which task, and how."""
        parts = (self.model.variant, None if filter_name == "none" else filter_name)
        return {
            "benchmark": BENCHMARK,
            "task": clean(self.group_of.get(task, task)),
            "subtask": clean(task),
            "model_family": clean(self.model.model_family),
            "model_name": clean(self.model.model_name),
            "shots": self.shots.get(task, self.file_shots),
            "variant": clean("/".join(part for part in parts if part)) or None,
        }


def clean(text: str) -> str:
    r"""Return text without lone surrogates (``\ud800`` in JSON), which no UTF-8 table can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def run_of_document(
    document: dict[str, Any], label: str, log: ProblemLog, *, names: ModelNames
) -> Run | None:
    """Return what a results file says of its evaluation.

    Args:
        document: The decoded file.
        label: Its name in messages; if the file names no model, its name does.
        log: Where problems are noted.
        names: Rules that tell a model's family and size.

    Returns:
        The evaluation, None if the file has no results or names no model.
    """
    own = document.get("results")
    if not isinstance(own, dict):
        reason = "missing" if own is None else f"expected an object, got {_kind(own)}"
        log.error(label, "results", reason)
        return None
    # Groups are repeated there; some versions wrote them there alone.
    groups = _section(document, "groups", label, log)
    results = own | {group: scores for group, scores in groups.items() if group not in own}
    config = _section(document, "config", label, log)
    named = run_of_file(label, names=names)
    model = _model(document, config, named, label, log, names=names)
    if model is None:
        log.error(label, "config.model_args", "the file names no model, nor does its name")
        return None
    members = _members(document, label, log)
    in_config = _shots(config.get("num_fewshot"), "config.num_fewshot", label, log)
    return Run(
        model=model,
        results=results,
        shots=_task_shots(document, members, label, log),
        file_shots=named.file_shots if named and in_config is None else in_config,
        group_of=_groups(members, results, label, log),
        n_samples=_section(document, "n-samples", label, log),
        has_filters=not _NEW_KEYS.isdisjoint(document) or any(map(_has_filters, results.values())),
    )


def _has_filters(scores: Any) -> bool:
    return isinstance(scores, dict) and any("," in key for key in scores)


def run_of_file(label: str, *, names: ModelNames) -> Run | None:
    """Return what a file's name says of its evaluation, None if it names no model.

    The harness puts its files into a folder that is named after the model.

    Args:
        label: For example ``"runs/pythia-1.4b-0shot-step143000.json"`` or
            ``"out/EleutherAI__pythia-70m/results_2026-01-31T00-00-00.000000.json"``.
        names: Rules that tell a model's family and size.
    """
    path = PurePosixPath(label.replace("\\", "/"))
    stem = re.sub(r"(?:\.jsonl?)?(?:\.gz)?$", "", path.name, flags=re.IGNORECASE)
    stem = _DATE_IN_NAME.sub("", stem)
    if _NO_MODEL.fullmatch(stem):
        stem = path.parent.name
    if _NO_MODEL.fullmatch(stem):
        return None
    shots = _SHOTS_IN_NAME.search(stem)
    model = _first_model([_SHOTS_IN_NAME.sub("", stem).strip(" .").rstrip("-_")], names)
    if model is None:
        return None
    return Run(model=model, file_shots=int(shots[1]) if shots else None)


def _section(holder: dict[str, Any], key: str, label: str, log: ProblemLog) -> dict[str, Any]:
    value = holder.get(key)
    if isinstance(value, dict):
        return value
    if value is not None:
        log.warning(label, key, f"expected an object, got {_kind(value)}: ignored")
    return {}


def _model(
    document: dict[str, Any],
    config: dict[str, Any],
    named: Run | None,
    label: str,
    log: ProblemLog,
    *,
    names: ModelNames,
) -> ModelIdentity | None:
    args = _model_args(config.get("model_args"), label, log)
    # Beside empty arguments, the top-level model_name is a random word.
    candidates = [*(args.get(key) for key in _NAME_ARGS), config.get("model")]
    candidates += [] if config else [document.get("model_name")]
    model = _first_model(candidates, names)
    if model is None:
        if named is None:
            return None
        log.warning(label, "config.model_args", "names no model: taken from the file's name")
        model = named.model
    model = replace(model, variant=_variant(model, args, config))
    return _sized(model, config.get("model_num_parameters"), label, log)


def _first_model(candidates: list[Any], names: ModelNames) -> ModelIdentity | None:
    for name in candidates:
        if isinstance(name, str) and not _RUNNERS.fullmatch(name.strip()):
            try:
                return names.lookup(name)
            except InputError:
                continue
    return None


def _model_args(value: Any, label: str, log: ProblemLog) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        pairs = (part.partition("=") for part in value.split(","))
        return {key.strip(): text.strip() for key, _, text in pairs}
    if value is not None:
        log.warning(label, "config.model_args", f"expected text, got {_show(value)}: ignored")
    return {}


def _variant(model: ModelIdentity, args: dict[str, Any], config: dict[str, Any]) -> str | None:
    revision = args.get("revision", config.get("model_revision"))
    stated = revision.strip() if isinstance(revision, str) else ""
    parts = (model.variant, None if stated in {"", "main", "None"} else stated)
    return "/".join(dict.fromkeys(part for part in parts if part)) or None


def _sized(model: ModelIdentity, counted: Any, label: str, log: ProblemLog) -> ModelIdentity:
    """Prefer the number of parameters that the harness counted in the loaded model."""
    number = _whole(counted)
    if number is not None and 0 < number <= _MOST_PARAMS:
        known = model.total_params
        if known is not None and not 2 / 3 < number / known < 3 / 2:
            log.warning(
                label,
                "config.model_num_parameters",
                f"{number}, but {known} by the name {_show(model.model_name)}",
            )
        return replace(model, total_params=number)
    # -1 is the harness's own word for a model that cannot be counted.
    if counted is not None and number != -1:
        log.warning(label, "config.model_num_parameters", f"got {_show(counted)}: ignored")
    if model.total_params is None:
        shown = _show(model.model_name)
        log.warning(label, "total_params", f"left empty for {shown}: {model.reason}")
    return model


def _members(document: dict[str, Any], label: str, log: ProblemLog) -> dict[str, list[str]]:
    members = {}
    for group, names in _section(document, "group_subtasks", label, log).items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            log.warning(label, f"group_subtasks.{group}", "expected a list of names: ignored")
            continue
        members[group] = [name for name in names if name != group]
    return members


def _groups(
    members: dict[str, list[str]], results: dict[str, Any], label: str, log: ProblemLog
) -> dict[str, str]:
    scored = {group for group in members if _has_filters(results.get(group))}
    parent: dict[str, str] = {}
    for group in sorted(members, key=lambda group: group not in scored):
        for name in members[group]:
            if parent.setdefault(name, group) != group and group in scored:
                log.warning(
                    label,
                    f"group_subtasks.{group}",
                    f"{_show(name)} is filed under {_show(parent[name])} already",
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
    document: dict[str, Any], members: dict[str, list[str]], label: str, log: ProblemLog
) -> dict[str, int | None]:
    """Return the shots of each task, and of a group whose members all have the same."""
    stated = _section(document, "n-shot", label, log)
    configs = _section(document, "configs", label, log)
    found = {
        task: _shots(own["num_fewshot"], f"configs.{task}.num_fewshot", label, log)
        for task, own in configs.items()
        if isinstance(own, dict) and "num_fewshot" in own
    }
    found |= {task: _shots(value, f"n-shot.{task}", label, log) for task, value in stated.items()}
    seen: dict[str, set[int | None]] = {task: {shots} for task, shots in found.items()}
    for _ in range(_DEEPEST):
        for group in members.keys() - found.keys():
            # Two different numbers say all: that no one number holds.
            below = {shots for name in members[group] for shots in seen.get(name, ())}
            seen[group] = set(list(below)[:2])
    mixed = {group: of for group, of in seen.items() if group not in found and of}
    return found | {group: of.pop() if len(of) == 1 else None for group, of in mixed.items()}


def _shots(value: Any, where: str, label: str, log: ProblemLog) -> int | None:
    number = _whole(value)
    if value is None or (number is not None and 0 <= number <= _MOST_SHOTS):
        return number
    log.warning(label, where, f"expected a whole number, got {_show(value)}: left empty")
    return None
