"""Reader for sample logs of lm-evaluation-harness 0.4, ``samples_<task>_<date>.jsonl``.

One line is one document under one filter (``lm_eval.evaluator`` and ``lm_eval.result_schema``,
0.4.8 and 0.4.13). How it becomes samples, by what the harness asked of the model:

- multiple choice: ``targets`` are the choices, ``target_values`` 1 for a right one and else 0,
  ``target_logprobs`` the log-likelihoods, not normalised;
- the likelihood of one continuation, or of the document itself: the same with that one text, and no
  ``target_values``;
- generation: ``targets`` are the right answers and ``output`` is what the filter left of the
  response, which is what the metrics saw. The filter is part of ``variant``, as in observations.
"""

from __future__ import annotations

import re
from collections import Counter
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.schema import SAMPLES
from bigbench_meta.readers.formats.lm_eval import Run, decode, run_of_file
from bigbench_meta.readers.formats.runs import input_hash, share, to_table
from bigbench_meta.readers.formats.values import as_number, clean, literal

if TYPE_CHECKING:
    import pyarrow as pa

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["parse_samples"]

# The score of an example that says right or wrong, the first that is there.
_CORRECT: Final = ("acc", "exact_match", "em")
# 0.4.2 has neither filter nor a list of metrics.
_NO_METRIC: Final = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
}  # fmt: skip
_TASK_IN_NAME: Final = re.compile(
    r"samples_(.+?)(?:_\d{4}-\d\d-\d\dT[-.\d]+)?\.jsonl?(?:\.gz)?", re.ASCII
)
# Longer texts are no list of answers that str() wrote.
_LONGEST_LIST: Final = 10_000


def parse_samples(
    data: bytes, log: FileLog, *, names: ModelNames, results: Run | None = None
) -> pa.Table | None:
    """Read one sample log.

    Args:
        data: The file's content, decompressed.
        log: Where problems are noted; the task is read from the name that the file has there.
        names: Rules from model names to families and sizes.
        results: The run that the results file of the same evaluation describes
            (:func:`read_run`). Without it, the model is the one
            that the folder is named after, and the shots are null.

    Returns:
        A samples table, one row per document and filter; None if the file cannot be used at all.
        ``correct`` is ``acc``, else ``exact_match``, and null where both are missing or not within
        0..1; ``metrics`` holds every metric that is one number.
    """
    named = _TASK_IN_NAME.fullmatch(PurePosixPath(log.label).name)
    if named is None:
        log.error("", "the name has no task: expected samples_<task>_<date>.jsonl")
        return None
    run = results or run_of_file(log.label, names=names)
    if run is None:
        log.error("", "no results file in its folder, and the folder is not named after a model")
        return None
    rows, notes, seen = [], Counter[str](), set()
    for number, line in enumerate(BytesIO(data), 1):
        where = f"line {number}"
        sample = decode(line, where, log) if line.strip() else None
        if sample is None:
            continue
        row = run.key(log.label, named[1], _text(sample.get("filter")))
        row |= _row(sample, number, notes)
        identity = (row["variant"], row["example_id"])
        notes["given more than once"] += identity in seen
        seen.add(identity)
        rows.append(row)
    for note, count in notes.items():
        if count:
            log.warning("", f"{count} of {len(rows)} examples: {note}")
    if not rows:
        log.warning("", "no examples")
    return to_table(rows, SAMPLES)


def _row(sample: dict[str, Any], number: int, notes: Counter[str]) -> dict[str, Any]:
    doc_id = sample.get("doc_id")
    if isinstance(doc_id, bool) or not isinstance(doc_id, int | str):
        doc_id = f"line {number}"
        notes["no doc_id: named after the line"] += 1
    metrics = _metrics(sample)
    correct = next((metrics[name] for name in _CORRECT if name in metrics), None)
    requests = _requests(sample.get("arguments"))
    prompt = requests[0][0] if requests else None
    if prompt is None:
        notes["no arguments: prompt and targets left empty"] += 1
    return _answer(sample, requests, notes) | {
        "example_id": clean(str(doc_id)),
        "input_hash": None if prompt is None else input_hash(prompt),
        "correct": share(correct),
        "metrics": list(metrics.items()),
    }


def _answer(
    sample: dict[str, Any], requests: list[tuple[str, Any]], notes: Counter[str]
) -> dict[str, Any]:
    responses = sample.get("filtered_resps")
    if not requests or not isinstance(responses, list):
        return {}
    continuations = [asked for _, asked in requests]
    if all(asked is None for asked in continuations):
        texts = [prompt for prompt, _ in requests]
        return {"targets": texts, "target_logprobs": _logprobs(responses, len(texts), notes)}
    if all(isinstance(asked, str) for asked in continuations):
        return _likelihoods(sample, requests, responses, notes)
    output = responses[0] if responses else None
    if isinstance(output, list) and len(output) == 1:
        output = output[0]
    if not isinstance(output, str):
        notes["the filtered response is not one text: output left empty"] += 1
    return {"targets": _answers(sample.get("target")), "output": _text(output)}


def _likelihoods(
    sample: dict[str, Any], requests: list[tuple[str, Any]], responses: list[Any],
    notes: Counter[str],
) -> dict[str, Any]:  # fmt: skip
    if "acc_mutual_info" in sample:
        # The second half asks for the choices without their context.
        requests = requests[: len(requests) // 2]
        responses = responses[: len(requests)]
    choices = [asked for _, asked in requests]
    if len(choices) > 1 and len(set(choices)) == 1:
        # WinoGrande: the choices differ in the context, the continuation is one.
        choices = [prompt for prompt, _ in requests]
    values = None
    if len(choices) > 1:
        right = _right(sample.get("target"), choices)
        if right:
            values = [float(place in right) for place in range(len(choices))]
        else:
            notes["target is none of the choices: target_values left empty"] += 1
    return {
        "targets": choices,
        "target_values": values,
        "target_logprobs": _logprobs(responses, len(choices), notes),
    }


def _requests(arguments: Any) -> list[tuple[str, Any]]:
    """Return (prompt, continuation or settings or None) of each request, empty if unusable."""
    if isinstance(arguments, dict):
        arguments = list(arguments.values())
    if not isinstance(arguments, list):
        return []
    requests = []
    for each in arguments:
        parts = list(each.values()) if isinstance(each, dict) else each
        if not isinstance(parts, list) or not parts or not isinstance(parts[0], str):
            return []
        asked = parts[1] if len(parts) > 1 else None
        requests.append((clean(parts[0]), clean(asked) if isinstance(asked, str) else asked))
    return requests


def _logprobs(responses: list[Any], n_choices: int, notes: Counter[str]) -> list[float] | None:
    """Return the log-likelihoods; the harness writes each as text, with whether it is greedy."""
    found: list[float] = []
    for response in responses:
        value = response[0] if isinstance(response, list) and response else response
        try:
            number = float(value) if isinstance(value, str) else as_number(value)
        except ValueError:
            number = None
        if number is not None:
            found.append(number)
    if len(found) == n_choices == len(responses):
        return found
    notes["log-likelihoods missing or not numbers: left empty"] += 1
    return None


def _right(target: Any, choices: list[str]) -> set[int]:
    """Return the places of the right choices, empty if the target does not say."""
    places = _listed(target) or [target]
    texts = [choice.strip() for choice in choices]
    found: set[int] = set()
    for place in places:
        text = str(place).strip()
        if text.isdecimal() and len(text) < 10:
            found.add(int(text))
        elif text in texts:
            found.add(texts.index(text))
        else:
            return set()
    return found if all(place < len(choices) for place in found) else set()


def _answers(target: Any) -> list[str] | None:
    listed = _listed(target)
    if listed and all(isinstance(answer, str) for answer in listed):
        return [clean(answer) for answer in listed]
    return None if target is None else [clean(str(target))]


def _listed(target: Any) -> list[Any] | None:
    """Return the list that the harness turned into text with ``str``, None if it is no list."""
    if isinstance(target, list):
        return target
    if not isinstance(target, str) or len(target) > _LONGEST_LIST:
        return None
    if not (target.startswith("[") and target.endswith("]")):
        return None
    value = literal(target)
    return value if isinstance(value, list) else None


def _metrics(sample: dict[str, Any]) -> dict[str, float]:
    """Return the metrics that are one number; perplexity and others are pairs."""
    listed = sample.get("metrics")
    names = listed if isinstance(listed, list) else [key for key in sample if key not in _NO_METRIC]
    found = {}
    for name in names:
        value = sample.get(name) if isinstance(name, str) else None
        number = float(value) if isinstance(value, bool) else as_number(value)
        if number is not None:
            found[clean(name)] = number
    return found


def _text(value: Any) -> str | None:
    return clean(value) if isinstance(value, str) else None
