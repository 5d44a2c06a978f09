"""What a log of Inspect says beside its scores: model, task, shots, epochs.

Scores and samples of one log need the same facts, so both readers get them here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.formats.lm_eval_run import clean
from bigbench_meta.readers.salvage import _show, _whole

if TYPE_CHECKING:
    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["HEADER", "InspectRun", "run_of_header"]

BENCHMARK: Final = "inspect"
"""The benchmark of a task that belongs to no package."""

HEADER: Final = {
    "task": "eval.task",
    "task_args": "eval.task_args",
    "model": "eval.model",
    "model_args": "eval.model_args",
    "epochs": "eval.config.epochs",
}
"""Columns and their places in the log."""

_MOST_SHOTS: Final = 10**9
_SHOTS: Final = ("fewshot", "num_fewshot", "n_fewshot", "few_shot", "shots", "num_shots", "n_shots")
# Providers that load a model from disk name it so, and the folder in an argument.
_LOCAL: Final = "local"


@dataclass(frozen=True, kw_only=True)
class InspectRun:
    """One evaluation of one model on one task.

    Attributes:
        benchmark: The package that the task comes from.
        task: The task, without its package.
        model: The model; its variant is the checkpoint.
        shots: In-context examples, where the arguments of the task say so.
        epochs: How often each sample was asked.
    """

    benchmark: str
    task: str
    model: ModelIdentity
    shots: int | None
    epochs: int

    def key(self, *variants: str | None) -> dict[str, Any]:
        """Return the columns that say which model did which task, and how.

        Args:
            variants: What goes into ``variant`` after the checkpoint.
        """
        parts = (self.model.variant, *variants)
        return {
            "benchmark": self.benchmark,
            "task": self.task,
            "subtask": self.task,
            "model_family": clean(self.model.model_family),
            "model_name": clean(self.model.model_name),
            "shots": self.shots,
            "variant": clean("/".join(part for part in parts if part)) or None,
        }


def run_of_header(
    header: dict[str, Any], label: str, log: ProblemLog, *, names: ModelNames
) -> InspectRun | None:
    """Return what a log says of its evaluation.

    Args:
        header: The columns :data:`HEADER` of the log.
        label: Its name in messages.
        log: Where problems are noted.
        names: Rules that tell a model's family and size.

    Returns:
        The evaluation, None if the log names no task or no model.
    """
    package, slash, task = clean(str(header["task"])).strip().partition("/")
    if not (package.strip() and task.strip()):
        package, task = BENCHMARK, f"{package}{slash}{task}"
    model = _model(header, label, log, names=names)
    if not task.strip("/ "):
        log.error(label, HEADER["task"], f"expected a name, got {_show(header['task'])}")
        return None
    if model is None:
        log.error(label, HEADER["model"], f"expected a name, got {_show(header['model'])}")
        return None
    epochs = _whole(header["epochs"])
    return InspectRun(
        benchmark=package,
        task=task,
        model=model,
        shots=_shots(_arguments(header["task_args"]), label, log),
        epochs=epochs if epochs is not None and epochs > 0 else 1,
    )


def _arguments(text: Any) -> dict[str, Any]:
    """Return arguments, which a dataframe of Inspect holds as JSON."""
    value = json.loads(text) if isinstance(text, str) else None
    return value if isinstance(value, dict) else {}


def _model(
    header: dict[str, Any], label: str, log: ProblemLog, *, names: ModelNames
) -> ModelIdentity | None:
    arguments = _arguments(header["model_args"])
    whole = str(header["model"]).strip()
    # Inspect puts the provider in front, even of names with an organisation of their own.
    name = whole.partition("/")[2] or whole
    folder = arguments.get("model_path")
    if name == _LOCAL and isinstance(folder, str) and folder.strip():
        name = folder
    try:
        model = names.lookup(name)
    except InputError:
        return None
    revision = arguments.get("revision")
    stated = revision.strip() if isinstance(revision, str) else ""
    parts = (model.variant, None if stated in {"", "main"} else stated)
    variant = "/".join(dict.fromkeys(part for part in parts if part)) or None
    if model.total_params is None:
        shown = _show(model.model_name)
        log.warning(label, "total_params", f"left empty for {shown}: {model.reason}")
    return replace(model, variant=variant)


def _shots(arguments: dict[str, Any], label: str, log: ProblemLog) -> int | None:
    key = next((key for key in _SHOTS if arguments.get(key) is not None), None)
    if key is None:
        return None
    number = _whole(arguments[key])
    if number is not None and 0 <= number <= _MOST_SHOTS:
        return number
    where = f"{HEADER['task_args']}.{key}"
    log.warning(label, where, f"expected a whole number, got {_show(arguments[key])}: left empty")
    return None
