"""Reader for runs of HELM (stanford-crfm/helm): a folder with ``stats.json`` and ``run_spec.json``.

A stat is one metric over one set of examples: a split, a part of one, perturbed or not. How stats
become observations:

- ``task`` is the scenario, the part of the run's name before its arguments. ``subtask`` is the
  arguments that say what is asked, as the name has them (``subject=anatomy``), and the part of the
  split where there are several (``sub_split=toxic``); without either it is the task.
- ``variant`` is how it was asked, in the same spelling: the arguments that say so
  (``method=multiple_choice_joint``), after the checkpoint of the model if it has one. ``model``,
  ``max_train_instances``, ``eval_split`` and ``groups`` are left out, being told elsewhere. So runs
  of one suite share a key only where they ask the same of the same model: at another host, under
  another heading, or with other perturbed copies beside the plain examples.
- The split that is scored goes without saying: it is ``test``, or ``valid`` where a run has no
  ``test``, as in HELM's own tables. Others are variants: ``split=valid``.
- Plain examples are what counts; perturbed ones are variants:
  ``data_augmentation=canonical,perturbation=typos,prob=0.1``. Of a perturbation there is also
  ``computed_on=original``, the same examples without it, and ``computed_on=worst``, the smaller of
  the two scores of each example: the smaller even where small is good. ``robustness`` and
  ``fairness`` are the worst over all perturbations of that kind; where a run has none, they repeat
  the plain score, and a repetition is left out.
- ``score`` is the mean. ``count`` is the number of trials, each with its own in-context examples,
  and ``stddev`` their population standard deviation; neither tells how much the examples differ,
  so ``stderr`` is null. ``n_examples`` is the ``num_instances`` of the same set of examples.
- ``shots`` is the number asked for (``max_train_instances``).

What a run counts or costs is no score and is left out, as are what only describes the output
(``finish_reason_stop``, ``max_prob``), bounds of another score and coefficients of a fit.
``perplexity``, ``bits_per_byte`` and the like are left out unless the text was given (method
``language_modeling``): elsewhere they are those of the model's own output and say nothing of its
quality. Every other metric is loaded, known or not.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.schema import OBSERVATIONS
from bigbench_meta.readers.decode import decode_json
from bigbench_meta.readers.formats.helm_run import HelmRun, read_run
from bigbench_meta.readers.formats.lm_eval import to_table
from bigbench_meta.readers.formats.lm_eval_run import clean
from bigbench_meta.readers.salvage import _kind, _number, _show, _whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["BENCHMARK", "parse", "recognise"]

BENCHMARK: Final = "helm"

_MOST: Final = 10**18
_FIRST_STAT: Final = re.compile(
    rb'\s*\[\s*\{\s*"name"\s*:\s*\{\s*"name"\s*:\s*"[^\[\]]{0,2000}?\}\s*,\s*"count"\s*:\s*[0-9]'
)
# With its keys sorted, a stat begins with its count.
_FIRST_SORTED: Final = re.compile(
    rb'\s*\[\s*\{\s*"count"\s*:\s*[0-9][^\[\]{}]{0,2000}"name"\s*:\s*\{\s*"name"\s*:\s*"'
)
# From what the metrics of 0.5.16 say of themselves (MetricMetadata) and what they compute.
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
        return _show(self.metric)

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
    label: str,
    folder: str,
    log: ProblemLog,
    *,
    names: ModelNames,
) -> pa.Table | None:
    """Read the stats of one run.

    Args:
        data: The content of ``stats.json``, decompressed.
        run_spec: The content of ``run_spec.json`` beside it, None if there is none.
        label: The name of ``stats.json`` in tables and messages.
        folder: The name of the run's folder, which HELM calls by the name of the run.
        log: Where problems are noted.
        names: Rules that tell a model's family and size.

    Returns:
        An observations table, one row a score; None if the run cannot be used at all.
    """
    document = decode_json(data, list, label, log, where="", what="the stats of a HELM run")
    if document is None:
        return None
    run = read_run(run_spec, folder, label, log, names=names)
    if run is None:
        return None
    read = (_stat(item, f"[{number}]", label, log) for number, item in enumerate(document))
    rows = list(_rows(run, [stat for stat in read if stat], label, log))
    if not rows:
        log.warning(label, "", "no scores")
    return to_table(rows, OBSERVATIONS)


def _stat(item: Any, place: str, label: str, log: ProblemLog) -> _Stat | None:
    if not isinstance(item, dict):
        log.error(label, place, f"expected a stat, got {_kind(item)}")
        return None
    name = item.get("name")
    if not isinstance(name, dict):
        log.error(label, f"{place}.name", f"expected an object, got {_kind(name)}")
        return None
    metric = name.get("name")
    if not isinstance(metric, str) or not metric.strip():
        log.error(label, f"{place}.name.name", f"expected a metric, got {_show(metric)}")
        return None
    for key in ("split", "sub_split"):
        if not isinstance(name.get(key), str | None):
            got = f"{_show(metric)}: expected text, got {_show(name[key])}"
            log.error(label, f"{place}.name.{key}", got)
            return None
    perturbation = name.get("perturbation")
    known = _perturbation(perturbation)
    if perturbation is not None and known is None:
        got = f"{_show(metric)}: expected a named perturbation, got {_show(perturbation)}"
        log.error(label, f"{place}.name.perturbation", got)
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
    shown = {key: _show(other) for key, other in value.items() if isinstance(other, dict | list)}
    return _Perturbation(
        name=name,
        parameters=",".join(
            f"{key}={shown.get(key, other)}" for key, other in value.items() if key not in own
        ),
        computed_on=shown.get("computed_on", str(value.get("computed_on", "perturbed"))),
        kinds=tuple(kind for kind in _KINDS if value.get(kind)),
    )


def _rows(
    run: HelmRun, stats: list[_Stat], label: str, log: ProblemLog
) -> Iterator[dict[str, Any]]:
    sizes = _sizes(stats, label, log)
    scored = _scored_split(stats)
    shared = {
        "benchmark": BENCHMARK,
        "task": clean(run.name.scenario),
        "model_family": clean(run.model.model_family),
        "model_name": clean(run.model.model_name),
        "shots": run.shots,
        "total_params": run.model.total_params,
        "source": clean(label),
    }
    for stat in _scores(run, stats):
        score = _score(stat, label, log)
        if score is None:
            continue
        sub_split = f"sub_split={stat.sub_split}" if stat.sub_split else ""
        yield shared | {
            "subtask": clean(_joined(run.name.what, sub_split) or run.name.scenario),
            "metric": clean(stat.metric),
            "variant": clean(_variant(run, stat, scored)) or None,
            "score": score,
            "n_examples": sizes.get(_set_of_examples(stat)),
        }


def _scores(run: HelmRun, stats: list[_Stat]) -> Iterator[_Stat]:
    """Yield the stats that are scores and no repetitions."""
    scores = [stat for stat in stats if not _NO_SCORE.fullmatch(stat.metric)]
    others = [stat for stat in scores if stat.metric not in _LIKELIHOODS]
    # Without a run_spec.json the method may be unknown; likelihoods alone are language modelling.
    if run.method != "language_modeling" and (run.method or others):
        scores = others
    plain = {
        (stat.metric, stat.examples, _number(stat.values.get("mean")))
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
            key = stat.metric, stat.examples, _number(stat.values.get("mean"))
            if key in plain and (stat.perturbation.name, stat.examples) not in perturbed:
                continue
        yield stat


def _scored_split(stats: list[_Stat]) -> str | None:
    """Return the split that goes without saying."""
    splits = {stat.split for stat in stats if stat.split}
    usual = next((split for split in ("test", "valid") if split in splits), None)
    return usual or (splits.pop() if len(splits) == 1 else None)


def _variant(run: HelmRun, stat: _Stat, scored: str | None) -> str:
    split = f"split={stat.split}" if stat.split and stat.split != scored else ""
    perturbed = ""
    if stat.perturbation:
        perturbed = _joined(run.name.augmentation, stat.perturbation.text)
    how = _joined(run.name.how, split, perturbed)
    return "/".join(part for part in (run.model.variant, how) if part)


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
    stats: list[_Stat], label: str, log: ProblemLog
) -> dict[tuple[str | None, str | None, str | None], int | None]:
    sizes: dict[tuple[str | None, str | None, str | None], int | None] = {}
    for stat in stats:
        if stat.metric != "num_instances":
            continue
        mean = stat.values.get("mean")
        size, examples = _whole(mean), _set_of_examples(stat)
        if size is None or not 0 < size <= _MOST:
            size, got = None, f"expected a number of examples, got {_show(mean)}: left empty"
            log.warning(label, f"{stat.place}.mean", got)
        elif sizes.get(examples, size) != size:
            got = f"{size} examples, but {sizes[examples]} above: left empty"
            log.warning(label, f"{stat.place}.mean", got)
            size = None
        sizes[examples] = size
    return sizes


def _score(stat: _Stat, label: str, log: ProblemLog) -> float | None:
    mean, place = stat.values.get("mean"), f"{stat.place}.mean"
    number = _of_sum(stat, label, log) if mean is None else _number(mean)
    if mean is not None and number is None:
        log.error(label, place, f"{stat.shown}: expected a number, got {_show(mean)}")
    elif number is not None and not math.isfinite(number):
        log.warning(label, place, f"{stat.shown}: {number} is kept but never scored")
    return number


def _of_sum(stat: _Stat, label: str, log: ProblemLog) -> float | None:
    """Return the mean of a stat that does not state it."""
    count, total = _whole(stat.values.get("count")), _number(stat.values.get("sum"))
    if count == 0:
        log.warning(label, f"{stat.place}.count", f"{stat.shown}: of nothing, so no score")
        return None
    if count is None or total is None or not 0 < count <= _MOST:
        got = f"{stat.shown}: missing, and sum and count do not tell it"
        log.error(label, f"{stat.place}.mean", got)
        return None
    log.warning(label, f"{stat.place}.mean", f"{stat.shown}: missing, so sum / count")
    return total / count
