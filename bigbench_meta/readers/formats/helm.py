"""Reader for runs of HELM (stanford-crfm/helm): a folder with ``stats.json`` and ``run_spec.json``.

A stat is one metric over one set of examples: a split, a part of one, perturbed or not. How stats
become observations:

- ``task`` is the scenario, the part of the run's name before its arguments. ``subtask`` is the
  arguments that say what is asked, as the name has them (``subject=anatomy``), and the part of the
  split where there are several (``sub_split=toxic``); without either it is the task.
- ``variant`` is how it was asked, in the same spelling: the arguments that say so
  (``method=multiple_choice_joint``). ``model``, ``max_train_instances``, ``eval_split`` and
  ``groups`` are left out: other columns hold them. So runs of one suite share a key only where they
  ask the same of the same model: under another heading, or with other perturbed copies in addition
  to the plain examples.
- ``settings`` are what the adapter says in addition: who served the model, how many examples were
  evaluated, digests of the instructions and of the prompt's layout, and how text was generated.
- The split that is scored is not named in the variant: it is ``test``, or ``valid`` where a run has
  no ``test``, as in HELM's own tables. Others are variants: ``split=valid``.
- Plain examples are what counts; perturbed ones are variants:
  ``data_augmentation=canonical,perturbation=typos,prob=0.1``. Of a perturbation there is also
  ``computed_on=original``, the same examples without it, and ``computed_on=worst``, the smaller of
  the two scores of each example: the smaller even where small is good. ``robustness`` and
  ``fairness`` are the worst over all perturbations of that kind; where a run has none, they repeat
  the plain score, and a repetition is left out.
- ``score`` is the mean. ``count`` is the number of trials, each with its own in-context examples,
  and ``stddev`` their population standard deviation; neither says how much the examples differ,
  so ``stderr`` is null. ``n_examples`` is the ``num_instances`` of the same set of examples.
- ``shots`` is the number asked for (``max_train_instances``).

The name of a run is HELM's own key: a suite has no two runs of one name, and the run's folder is
called by it. ``mmlu:subject=anatomy,method=multiple_choice_joint,model=openai_davinci`` is a
scenario with arguments. Some say *what* is asked (``subject``), some *how* (``method``), and some
are found elsewhere (``model``). The arguments in ``run_spec.json`` itself do not distinguish runs:
they hold defaults as well, and ``commonsense:dataset=hellaswag`` has been a scenario with an
argument in one version of HELM and a scenario without any in another.

What a run counts or costs is no score and is left out, as are what only describes the output
(``finish_reason_stop``, ``max_prob``), bounds of another score and coefficients of a fit.
``perplexity``, ``bits_per_byte`` and the like are left out unless the text was given (method
``language_modeling``): elsewhere they are those of the model's own output and say nothing of its
quality. Every other metric is loaded, known or not.

The formats are those of ``helm.benchmark.runner`` in 0.1.0, 0.2.4, 0.4.0 and 0.5.16.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.readers.formats.runs import (
    find_model,
    key_columns,
    note_missing_size,
    short_digest,
    to_table,
)
from bigbench_meta.readers.formats.values import (
    as_number,
    as_whole,
    clean,
    kind_of,
    show_value,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["parse", "read_name", "recognise"]

BENCHMARK: Final = "helm"

_MOST_TRIALS: Final = 10**18
_FIRST_STAT: Final = re.compile(
    rb'\s*\[\s*\{\s*"name"\s*:\s*\{\s*"name"\s*:\s*"[^\[\]]{0,2000}?\}\s*,\s*"count"\s*:\s*[0-9]'
)
# With its keys sorted, a stat begins with its count.
_FIRST_SORTED: Final = re.compile(
    rb'\s*\[\s*\{\s*"count"\s*:\s*[0-9][^\[\]{}]{0,2000}"name"\s*:\s*\{\s*"name"\s*:\s*"'
)
# From the metadata of the metrics of 0.5.16 (MetricMetadata) and from what they compute.
_NO_SCORE: Final = re.compile(
    r"""
    (?:max_)?num_.*                                      # counts
    | batch_size | prompt_length | .*_num_tokens_cost
    | inference_.* | training_.* | (?:.*_)?runtime       # costs
    | finish_reason_.* | prompt_truncated | .*_annotator_success
    | max_prob | predicted_index | ref\d+_rank           # of the output, right or wrong
    | summarization_(?:compression|coverage|density)
    | toxic_prompt_.*                                    # of the prompt
    | .*_ci_(?:low|high) | platt_coef | platt_intercept
    """,
    re.VERBOSE,
)
_LIKELIHOODS: Final = {"logprob", "logprob_per_byte", "perplexity", "bits_per_byte"}
_KINDS: Final = ("robustness", "fairness")
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
# Columns of their own hold these, or each stat. A group is a heading of HELM's tables.
_ELSEWHERE: Final = {"model", "model_deployment", "max_train_instances", "eval_split", "groups"}
# Of AdapterSpec.
_LAYOUT: Final = (
    "global_prefix", "global_suffix", "input_prefix", "input_suffix", "reference_prefix",
    "reference_suffix", "output_prefix", "output_suffix", "instance_prefix", "substitutions",
)  # fmt: skip
_GENERATION: Final = (
    "temperature",
    "max_tokens",
    "num_outputs",
    "stop_sequences",
    "reeval_parameters",
)
_AUGMENTATION: Final = "data_augmentation"
# Of RunSpec: what scores the answers.
_OF_SPEC: Final = ("metric_specs", "annotators")


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
class _Run:
    """One run: one model on one scenario.

    Attributes:
        name: The run's name.
        model: The model, at its checkpoint.
        shots: In-context examples asked for; HELM gives fewer where the prompt gets too long.
        method: The adapter's method, for example ``"language_modeling"``; None if not stated.
        settings: What the specification says of the run.
    """

    name: RunName
    model: ModelIdentity
    shots: int | None
    method: str | None
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Perturbation:
    """How examples were changed: its text, what it was computed on, and the kinds it belongs to."""

    name: str
    parameters: str
    computed_on: str
    kinds: tuple[str, ...]

    @property
    def text(self) -> str:
        computed_on = "" if self.computed_on == "perturbed" else f"computed_on={self.computed_on}"
        return ",".join(filter(None, (f"perturbation={self.name}", self.parameters, computed_on)))

    @property
    def is_summary(self) -> bool:
        """Whether it is the worst over all perturbations of a kind."""
        return self.name in _KINDS and self.computed_on == "worst"


@dataclass(frozen=True, kw_only=True)
class _Stat:
    """One stat; ``place`` is where in the file it is, ``values`` all that it holds."""

    place: str
    metric: str
    split: str | None
    sub_split: str | None
    perturbation: _Perturbation | None
    values: dict[str, Any]

    @property
    def shown(self) -> str:
        return show_value(self.metric)

    @property
    def examples(self) -> tuple[str | None, str | None]:
        return self.split, self.sub_split


def recognise(head: bytes) -> bool:
    """Return whether a file that begins like this is the ``stats.json`` of a HELM run.

    Args:
        head: The first bytes of the file; some hundred suffice.

    Examples:
        >>> recognise(b'[{"name": {"name": "exact_match", "split": "test"}, "count": 1, "sum": 0')
        True
        >>> recognise(b'[{"instance_id": "id1", "stats": [{"name": {"name": "exact_match"')
        False
    """
    plain = head.removeprefix(b"\xef\xbb\xbf")
    return bool(_FIRST_STAT.match(plain) or _FIRST_SORTED.match(plain))


def parse(
    data: bytes,
    run_spec: bytes | None,
    folder: str,
    log: FileLog,
    *,
    names: ModelNames,
) -> pa.Table | None:
    """Read the stats of one run.

    Args:
        data: The content of ``stats.json``, decompressed.
        run_spec: The content of ``run_spec.json`` in the same folder, None if there is none.
        folder: The name of the run's folder, which HELM calls by the name of the run.
        log: Where problems are noted, under the name of ``stats.json``.
        names: Rules from model names to families and sizes.

    Returns:
        An observations table, one row per score; None if the run cannot be used at all.
    """
    document = log.decode(data, list, what="the stats of a HELM run")
    if document is None:
        return None
    run = _read_run(run_spec, folder, log, names=names)
    if run is None:
        return None
    read = (_stat(item, f"[{number}]", log) for number, item in enumerate(document))
    rows = list(_rows(run, [stat for stat in read if stat], log))
    if not rows:
        log.warning("", "no scores")
    return to_table(rows, OBSERVATIONS)


def _stat(item: Any, place: str, log: FileLog) -> _Stat | None:
    if not isinstance(item, dict):
        log.error(place, f"expected a stat, got {kind_of(item)}")
        return None
    name = item.get("name")
    if not isinstance(name, dict):
        log.error(f"{place}.name", f"expected an object, got {kind_of(name)}")
        return None
    metric = name.get("name")
    if not isinstance(metric, str) or not metric.strip():
        log.error(f"{place}.name.name", f"expected a metric, got {show_value(metric)}")
        return None
    for key in ("split", "sub_split"):
        if not isinstance(name.get(key), str | None):
            got = f"{show_value(metric)}: expected text, got {show_value(name[key])}"
            log.error(f"{place}.name.{key}", got)
            return None
    perturbation = name.get("perturbation")
    known = _perturbation(perturbation)
    if perturbation is not None and known is None:
        got = f"{show_value(metric)}: expected a named perturbation, got {show_value(perturbation)}"
        log.error(f"{place}.name.perturbation", got)
        return None
    return _Stat(
        place=place,
        metric=metric,
        split=name.get("split"),
        sub_split=name.get("sub_split"),
        perturbation=known,
        values=item,
    )


def _perturbation(value: Any) -> _Perturbation | None:
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name.strip():
        return None
    own = {"name", "computed_on", *_KINDS}
    shown = {
        key: show_value(other) for key, other in value.items() if isinstance(other, dict | list)
    }
    return _Perturbation(
        name=name,
        parameters=",".join(
            f"{key}={shown.get(key, other)}" for key, other in value.items() if key not in own
        ),
        computed_on=shown.get("computed_on", str(value.get("computed_on", "perturbed"))),
        kinds=tuple(kind for kind in _KINDS if value.get(kind)),
    )


def _rows(run: _Run, stats: list[_Stat], log: FileLog) -> Iterator[dict[str, Any]]:
    sizes = _sizes(stats, log)
    scored = _scored_split(stats)
    for stat in _scores(run, stats):
        score = _score(stat, log)
        if score is None:
            continue
        sub_split = f"sub_split={stat.sub_split}" if stat.sub_split else ""
        key = key_columns(
            run.model,
            _how(run, stat, scored),
            benchmark=BENCHMARK,
            task=run.name.scenario,
            subtask=_joined(run.name.what, sub_split) or run.name.scenario,
            shots=run.shots,
            settings=run.settings,
            source=log.label,
        )
        yield key | {
            "metric": clean(stat.metric),
            "score": score,
            "n_examples": sizes.get(_set_of_examples(stat)),
        }


def _scores(run: _Run, stats: list[_Stat]) -> Iterator[_Stat]:
    """Yield the stats that are scores and no repetitions."""
    scores = [stat for stat in stats if not _NO_SCORE.fullmatch(stat.metric)]
    others = [stat for stat in scores if stat.metric not in _LIKELIHOODS]
    # Without a run_spec.json the method may be unknown; likelihoods alone are language modelling.
    if run.method != "language_modeling" and (run.method or others):
        scores = others
    plain = {
        (stat.metric, stat.examples, as_number(stat.values.get("mean")))
        for stat in scores
        if stat.perturbation is None
    }
    perturbed = {
        (kind, stat.examples)
        for stat in stats
        if stat.perturbation and not stat.perturbation.is_summary
        for kind in stat.perturbation.kinds
    }
    for stat in scores:
        if stat.perturbation and stat.perturbation.is_summary:
            key = stat.metric, stat.examples, as_number(stat.values.get("mean"))
            if key in plain and (stat.perturbation.name, stat.examples) not in perturbed:
                continue
        yield stat


def _scored_split(stats: list[_Stat]) -> str | None:
    """Return the default split, which the variant does not name."""
    splits = {stat.split for stat in stats if stat.split}
    usual = next((split for split in ("test", "valid") if split in splits), None)
    return usual or (splits.pop() if len(splits) == 1 else None)


def _how(run: _Run, stat: _Stat, scored: str | None) -> str:
    """Return how the model was asked, as a part of the variant."""
    split = f"split={stat.split}" if stat.split and stat.split != scored else ""
    perturbed = ""
    if stat.perturbation:
        perturbed = _joined(run.name.augmentation, stat.perturbation.text)
    return _joined(run.name.how, split, perturbed)


def _joined(*parts: str) -> str:
    return ",".join(part for part in parts if part)


def _set_of_examples(stat: _Stat) -> tuple[str | None, str | None, str | None]:
    """Return what names the examples of a stat among those of ``num_instances``.

    What is computed on the original of an example, or the worse of it and its perturbed copy, has
    as many examples as have such a copy. Every example has a worst over all perturbations.
    """
    changed = stat.perturbation
    if changed is None or changed.is_summary:
        return *stat.examples, None
    return *stat.examples, _joined(changed.name, changed.parameters)


def _sizes(
    stats: list[_Stat], log: FileLog
) -> dict[tuple[str | None, str | None, str | None], int | None]:
    sizes: dict[tuple[str | None, str | None, str | None], int | None] = {}
    for stat in stats:
        if stat.metric != "num_instances":
            continue
        where, examples = f"{stat.place}.mean", _set_of_examples(stat)
        size = log.n_examples(stat.values.get("mean"), where)
        if size is not None and sizes.get(examples, size) != size:
            log.warning(where, f"{size} examples, but {sizes[examples]} above: left empty")
            size = None
        sizes[examples] = size
    return sizes


def _score(stat: _Stat, log: FileLog) -> float | None:
    """Return the mean of a stat, or sum / count if the mean is not stated."""
    where, mean = f"{stat.place}.mean", stat.values.get("mean")
    if mean is None:
        count, total = as_whole(stat.values.get("count")), as_number(stat.values.get("sum"))
        if count == 0:
            log.warning(f"{stat.place}.count", f"{stat.shown}: no trials, so no score")
            return None
        if count is None or total is None or not 0 < count <= _MOST_TRIALS:
            log.error(where, f"{stat.shown}: missing, and sum and count do not give it")
            return None
        log.warning(where, f"{stat.shown}: missing, so sum / count")
        mean = total / count
    return log.score(mean, where, stat.shown)


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


def _read_run(
    run_spec: bytes | None, folder: str, log: FileLog, *, names: ModelNames
) -> _Run | None:
    """Return what a run is.

    Args:
        run_spec: The content of ``run_spec.json``, None if there is none.
        folder: The name of the run's folder; it counts where ``run_spec`` says nothing.
        log: Where problems are noted.
        names: Rules from model names to families and sizes.

    Returns:
        The run, None if nothing names its scenario or its model.
    """
    spec = _spec(run_spec, log)
    name = read_name(folder if spec is None else _name(spec, folder, log))
    adapter = {} if spec is None else _adapter(spec, log)
    # The deployment is who serves the model: one model may have several.
    model = find_model(names, adapter.get("model"), adapter.get("model_deployment"))
    if model is None:
        # In the name, HELM writes _ for the slash after the organisation.
        model = find_model(names, name.arguments.get("model", "").replace("_", "/", 1))
        if model and spec is not None:
            got = (
                f"names no model, got {show_value(adapter.get('model'))}: taken from the run's name"
            )
            log.warning("run_spec.json adapter_spec.model", got)
    if model is None or not name.scenario:
        missing = "model" if name.scenario else "scenario"
        log.error("run_spec.json", f"neither the file nor the folder's name gives a {missing}")
        return None
    note_missing_size(model, log)
    method = adapter.get("method", name.arguments.get("method"))
    return _Run(
        name=name,
        model=model,
        shots=_shots(adapter, name, log),
        method=method if isinstance(method, str) else None,
        settings=_settings(spec or {}, adapter),
    )


def _settings(spec: dict[str, Any], adapter: dict[str, Any]) -> dict[str, Any]:
    layout = [adapter.get(key) or "" for key in _LAYOUT]
    thought, trials = adapter.get("chain_of_thought_prefix"), adapter.get("num_train_trials")
    return {
        "backend": _server(adapter.get("model_deployment"), adapter.get("model")),
        "limit": adapter.get("max_eval_instances"),
        "system_instruction": short_digest(adapter.get("instructions")),
        "fewshot_layout": short_digest("|".join(map(str, layout))) if any(layout) else None,
        **{f"generation.{key}": adapter.get(key) for key in _GENERATION},
        "task.chain_of_thought": short_digest([thought, adapter.get("chain_of_thought_suffix")])
        if thought
        else None,
        "task.multi_label": adapter.get("multi_label"),
        # What is usual is not said.
        "task.sample_train": "no" if adapter.get("sample_train") is False else None,
        "task.num_train_trials": None if trials == 1 else trials,
        **{f"task.{key}": short_digest(_classes(spec.get(key))) for key in _OF_SPEC},
    }


def _server(deployment: Any, model: Any) -> Any:
    """Return who serves a model, and what its name there adds to its own.

    ``huggingface/pythia-1b`` and ``huggingface/pythia-6.9b`` are served alike.
    """
    if not isinstance(deployment, str):
        return deployment
    host, _, served = deployment.rpartition("/")
    name = model.rpartition("/")[2] if model and isinstance(model, str) else served
    before, found, after = served.lower().partition(name.lower() or "/")
    if not found:
        return deployment
    return "/".join(filter(None, (host, before.strip("-_"), after.strip("-_"))))


def _classes(specs: Any) -> Any:
    """Return classes with their arguments, without the modules that they are in by version."""
    if not isinstance(specs, list):
        return specs
    return [
        [str(one.get("class_name")).rpartition(".")[2], one.get("args")]
        if isinstance(one, dict)
        else one
        for one in specs
    ]


def _spec(run_spec: bytes | None, log: FileLog) -> dict[str, Any] | None:
    reason = "missing"
    if run_spec is not None:
        what = "the specification of a HELM run"
        spec = log.decode(run_spec, dict, what=what, where="run_spec.json")
        if spec is not None:
            return spec
        reason = "not usable"
    log.warning("run_spec.json", f"{reason}: the run is read from the folder's name")
    return None


def _name(spec: dict[str, Any], folder: str, log: FileLog) -> str:
    name = spec.get("name")
    if isinstance(name, str) and name.strip():
        return name
    got = f"expected the run's name, got {show_value(name)}: the folder's name counts"
    log.warning("run_spec.json name", got)
    return folder


def _adapter(spec: dict[str, Any], log: FileLog) -> dict[str, Any]:
    adapter = spec.get("adapter_spec")
    if isinstance(adapter, dict):
        return adapter
    got = f"expected an object, got {kind_of(adapter)}: ignored"
    log.warning("run_spec.json adapter_spec", got)
    return {}


def _shots(adapter: dict[str, Any], name: RunName, log: FileLog) -> int | None:
    text = name.arguments.get("max_train_instances", "")
    named = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
    stated, where = adapter.get("max_train_instances"), "run_spec.json adapter_spec"
    if stated is None:
        return named
    shots = log.shots(stated, f"{where}.max_train_instances")
    log.agree(f"{where}.max_train_instances", shots, "the run's name", named)
    return shots
