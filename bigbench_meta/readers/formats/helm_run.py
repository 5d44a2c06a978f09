"""What a HELM run is: which scenario, which model, and how the model was asked.

The name of a run is HELM's own key: a suite has no two runs of one name, and the run's folder is
called by it. ``mmlu:subject=anatomy,method=multiple_choice_joint,model=openai_davinci`` is a
scenario with arguments. Some say *what* is asked (``subject``), some *how* (``method``), and some
are told elsewhere (``model``). The arguments in ``run_spec.json`` itself are not used to tell runs
apart: they hold defaults as well, and ``commonsense:dataset=hellaswag`` has been a scenario with an
argument in one version of HELM and a scenario without any in another.

The formats are those of ``helm.benchmark.runner`` in 0.1.0, 0.2.4, 0.4.0 and 0.5.16.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.errors import InputError
from bigbench_meta.readers.decode import decode_json
from bigbench_meta.readers.salvage import _kind, _show, _whole

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["HelmRun", "RunName", "read_name", "read_run"]

_MOST_SHOTS: Final = 10**9
# A comma within a value is none that a further argument follows.
_BETWEEN: Final = re.compile(r",(?=[\w-]+=)")
# Fields of AdapterSpec, the run expanders of 0.5.16, and what run specs call the like.
_HOW: Final = {
    "add_to_stop", "amazon-nova", "anthropic", "chatml", "claude_3", "device",
    "follow_format_instructions", "format_prompt", "global_prefix", "idefics_instruct",
    "increase_max_tokens", "increase_temperature", "instructions", "k", "llava",
    "max_eval_instances", "max_tokens", "method", "newline", "num_logprobs", "num_output_tokens",
    "num_outputs", "num_train_trials", "num_trials", "open_flamingo", "output_format_instructions",
    "process_output", "prompt", "prompt_answer_choices", "prompt_id", "prompt_style", "prompt_type",
    "sample_train", "seed", "stop", "temperature", "use_chain_of_thought", "use_few_shot",
    "use_official_examples",
}  # fmt: skip
# Told by columns of their own, or by each stat. A group is a heading of HELM's tables.
_ELSEWHERE: Final = {"model", "model_deployment", "max_train_instances", "eval_split", "groups"}
_AUGMENTATION: Final = "data_augmentation"


@dataclass(frozen=True, kw_only=True)
class RunName:
    """A run's name, taken apart.

    Attributes:
        scenario: What stands before the arguments.
        what: The arguments that say what is asked, as in the name.
        how: The arguments that say how the model was asked, as in the name.
        augmentation: The argument that says which perturbed copies of the examples were added.
        arguments: All arguments.
    """

    scenario: str
    what: str
    how: str
    augmentation: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class HelmRun:
    """One run: one model on one scenario.

    Attributes:
        name: The run's name.
        model: The model; its variant is the checkpoint.
        shots: In-context examples asked for; HELM gives fewer where the prompt gets too long.
        method: The adapter's method, for example ``"language_modeling"``; None if not told.
    """

    name: RunName
    model: ModelIdentity
    shots: int | None
    method: str | None


def read_name(text: str) -> RunName:
    """Take a run's name apart.

    Args:
        text: For example ``"mmlu:subject=anatomy,method=multiple_choice_joint,model=openai_ada"``.

    Examples:
        >>> name = read_name("wikifact:k=5,subject=capital,model=openai_ada")
        >>> name.scenario, name.what, name.how
        ('wikifact', 'subject=capital', 'k=5')
    """
    head, _, tail = text.partition(":")
    # A scenario without arguments of its own once was "legal_support,method=...:model=...".
    scenario, *arguments = _BETWEEN.split(head)
    arguments += _BETWEEN.split(tail)
    pairs = [argument.rstrip(",").partition("=") for argument in arguments]
    of = {key.strip(): value.strip() for key, _, value in pairs if key.strip()}

    def joined(keys: Collection[str]) -> str:
        return ",".join(f"{key}={value}" for key, value in of.items() if key in keys)

    return RunName(
        scenario=scenario.strip(),
        what=joined(of.keys() - _HOW - _ELSEWHERE - {_AUGMENTATION}),
        how=joined(_HOW),
        augmentation=joined({_AUGMENTATION}),
        arguments=of,
    )


def read_run(
    run_spec: bytes | None, folder: str, label: str, log: ProblemLog, *, names: ModelNames
) -> HelmRun | None:
    """Return what a run is.

    Args:
        run_spec: The content of ``run_spec.json``, None if there is none.
        folder: The name of the run's folder; it counts where ``run_spec`` does not tell.
        label: The name of ``stats.json`` in messages.
        log: Where problems are noted.
        names: Rules that tell a model's family and size.

    Returns:
        The run, None if nothing names its scenario or its model.
    """
    spec = _spec(run_spec, label, log)
    name = read_name(folder if spec is None else _name(spec, folder, label, log))
    adapter = {} if spec is None else _adapter(spec, label, log)
    model = _stated_model(adapter, names)
    if model is None:
        model = _named_model(name, names)
        if model and spec is not None:
            got = f"names no model, got {_show(adapter.get('model'))}: taken from the run's name"
            log.warning(label, "run_spec.json adapter_spec.model", got)
    if model is None or not name.scenario:
        missing = "model" if name.scenario else "scenario"
        log.error(label, "run_spec.json", f"names no {missing}, nor does the folder's name")
        return None
    if model.total_params is None:
        shown = _show(model.model_name)
        log.warning(label, "total_params", f"left empty for {shown}: {model.reason}")
    method = adapter.get("method", name.arguments.get("method"))
    return HelmRun(
        name=name,
        model=model,
        shots=_shots(adapter, name, label, log),
        method=method if isinstance(method, str) else None,
    )


def _spec(run_spec: bytes | None, label: str, log: ProblemLog) -> dict[str, Any] | None:
    reason = "missing"
    if run_spec is not None:
        what = "the specification of a HELM run"
        spec = decode_json(run_spec, dict, label, log, where="run_spec.json", what=what)
        if spec is not None:
            return spec
        reason = "not usable"
    log.warning(label, "run_spec.json", f"{reason}: the folder's name says what the run is")
    return None


def _name(spec: dict[str, Any], folder: str, label: str, log: ProblemLog) -> str:
    name = spec.get("name")
    if isinstance(name, str) and name.strip():
        return name
    got = f"expected the run's name, got {_show(name)}: the folder's name counts"
    log.warning(label, "run_spec.json name", got)
    return folder


def _adapter(spec: dict[str, Any], label: str, log: ProblemLog) -> dict[str, Any]:
    adapter = spec.get("adapter_spec")
    if isinstance(adapter, dict):
        return adapter
    got = f"expected an object, got {_kind(adapter)}: ignored"
    log.warning(label, "run_spec.json adapter_spec", got)
    return {}


def _stated_model(adapter: dict[str, Any], names: ModelNames) -> ModelIdentity | None:
    # The deployment is who serves the model: one model may have several.
    stated = (_lookup(adapter.get(key), names) for key in ("model", "model_deployment"))
    return next((model for model in stated if model), None)


def _named_model(name: RunName, names: ModelNames) -> ModelIdentity | None:
    # In the name, HELM writes _ for the slash after the organisation.
    return _lookup(name.arguments.get("model", "").replace("_", "/", 1), names)


def _lookup(name: Any, names: ModelNames) -> ModelIdentity | None:
    if not isinstance(name, str):
        return None
    try:
        return names.lookup(name)
    except InputError:
        return None


def _shots(adapter: dict[str, Any], name: RunName, label: str, log: ProblemLog) -> int | None:
    stated = adapter.get("max_train_instances")
    if stated is None:
        named = name.arguments.get("max_train_instances", "")
        return int(named) if re.fullmatch(r"[0-9]{1,9}", named) else None
    number = _whole(stated)
    if number is not None and 0 <= number <= _MOST_SHOTS:
        return number
    log.warning(
        label,
        "run_spec.json adapter_spec.max_train_instances",
        f"expected a whole number, got {_show(stated)}: left empty",
    )
    return None
