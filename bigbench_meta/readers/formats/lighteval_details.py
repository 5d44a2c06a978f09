"""Reader for lighteval's details, ``details_<suite>|<task>|<shots>_<date>.parquet``.

One row of the file is one example (``lighteval.logging.info_loggers.DetailsLogger``, 0.1 to 0.13,
and the details of the first Open LLM Leaderboard, whose columns vary). There are three layouts:

- ``doc``, ``model_response`` and ``metric``, structs, since 0.11;
- ``full_prompt``, ``example``, ``predictions``, ``choices``, ``gold_index``, ``gold`` and
  ``metrics``, lists and a struct, from 0.8 to 0.10 and in part before 0.4;
- the same columns as texts that ``str`` made of them, from 0.4 to 0.7 and in part before. The
  leaderboard has ``gold`` for ``gold_index``, and a column for each metric.

How a row becomes samples, by what lighteval asked of the model:

- log-likelihoods: ``targets`` are the choices, ``target_values`` 1 for a right one and else 0,
  ``target_logprobs`` the log-likelihoods, not normalised; those of the choices without their
  context are left out, and of one choice there are no values;
- generation: ``targets`` are the right answers and ``output`` is what the metrics saw, without the
  reasoning where lighteval cut it off. Of several answers to one example each is a row, its number
  the ``replicate``; what the file says of their scores is said of all of them together, and
  ``correct`` is null.

``example_id`` is the number of the row, counted from 1: what the file itself calls an example is
not unique, or not there.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from bigbench_meta.core.schema import SAMPLES
from bigbench_meta.readers.detect import DETAILS_NAME
from bigbench_meta.readers.formats.lighteval import Run, run_of_folder
from bigbench_meta.readers.formats.parquet_parts import open_table, parts
from bigbench_meta.readers.formats.runs import input_hash, share, to_table
from bigbench_meta.readers.formats.values import as_number, clean, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bigbench_meta.catalog.model_names import ModelNames
    from bigbench_meta.readers.formats.values import FileLog

    Notes = Counter[tuple[str, str]]

__all__ = ["read_details"]

# The score of an example that says right or wrong, the first that is there.
_CORRECT: Final = ("acc", "exact_match", "em", "extractive_match")
_STRUCTS: Final = ("doc", "metric", "model_response")
_NESTED: Final = [
    "doc.query", "doc.choices", "doc.gold_index", "metric", "model_response.input",
    "model_response.text", "model_response.text_post_processed", "model_response.logprobs",
]  # fmt: skip
_PROMPTS: Final = ("full_prompt", "example")
# What the leaderboard of 2023 scored, each a column.
_METRICS: Final = ("acc", "acc_norm", "mc1", "mc2", "em", "f1")
_FLAT: Final = [*_PROMPTS, "predictions", "choices", "gold_index", "gold", "metrics", *_METRICS]
# As rows of Python's own values: a text that a file holds once may stand in each of them.
_MOST_ROWS: Final = 1 << 10
# Longer texts are not taken apart: that takes a hundred times the memory.
_LONGEST: Final = 1 << 20
_MISFIT: Final = (pa.ArrowException, ValueError, OverflowError, TypeError)


class _Example(NamedTuple):
    """What a row says, whatever its layout; not yet checked."""

    prompts: tuple[Any, ...]
    choices: Any
    right: Any
    answers: Any
    predictions: Any
    metrics: Any


def read_details(
    source: pa.BufferReader | IO[bytes],
    log: FileLog,
    on_samples: Callable[[pa.Table], None],
    *,
    names: ModelNames,
    results: Run | None = None,
    max_bytes: int,
) -> None:
    """Read the details of one task.

    Args:
        source: The file, open for reading at any place.
        log: Where problems are noted; the task is read from the name that the file has there.
        on_samples: Called with each table of samples.
        names: Rules from model names to families and sizes.
        results: The run that its results file describes
            (:func:`bigbench_meta.readers.formats.lighteval.read_run`). Without it, the model is the
            one that the folder is named after.
        max_bytes: Leave out row groups that expand to more.
    """
    named = DETAILS_NAME.fullmatch(PurePosixPath(log.label).name)
    if named is None:
        log.error("", "the name has no task: expected details_<suite>|<task>|<shots>_<date>")
        return
    run = results or run_of_folder(log.label, names=names)
    if run is None:
        log.error("", "no results file of its run, and the folder is not named after a model")
        return
    key, file = run.key(named["task"], "", log), open_table(source, log)
    if key is None or file is None or (columns := _columns(file.schema_arrow, log)) is None:
        return
    read = _nested if columns is _NESTED else _flat
    notes: Notes = Counter()
    n_examples = 0
    for first, batch in parts(file, columns, log, max_bytes=max_bytes, most_rows=_MOST_ROWS):
        try:
            examples = batch.to_pylist()
        except _MISFIT as error:
            place = f"rows {first} to {first + batch.num_rows - 1}"
            log.error(place, f"cannot be read, left out: {error}")
            continue
        n_examples += len(examples)
        rows = [
            key | {"example_id": str(number)} | row
            for number, cells in enumerate(examples, first)
            for row in _rows(read(cells, notes), notes)
        ]
        on_samples(to_table(rows, SAMPLES))
    for (column, note), n in notes.items():
        log.warning(column, f"{n} of {n_examples} examples: {note}")
    if not n_examples:
        log.warning("", "no examples")


def _columns(schema: pa.Schema, log: FileLog) -> list[str] | None:
    """Return what is read of a file with these columns, None after a note if they are not ours."""
    if set(_STRUCTS) <= set(schema.names):
        for name in _STRUCTS:
            if not pa.types.is_struct(schema.field(name).type):
                log.error(name, f"expected a struct, got {schema.field(name).type}")
                return None
        return _NESTED
    if "predictions" in schema.names and not set(_PROMPTS).isdisjoint(schema.names):
        return [name for name in _FLAT if name in schema.names]
    expected = "predictions with full_prompt or example, nor doc, metric, model_response"
    log.error("", f"no details of lighteval: it has neither the columns {expected}")
    return None


def _nested(row: dict[str, Any], _: Notes) -> _Example:
    doc, response = row.get("doc") or {}, row.get("model_response") or {}
    texts = response.get("text_post_processed") or response.get("text")
    return _Example(
        prompts=(response.get("input"), doc.get("query")),
        choices=doc.get("choices"),
        right=doc.get("gold_index"),
        answers=None,
        predictions=texts or response.get("logprobs"),
        metrics=row.get("metric"),
    )


def _flat(row: dict[str, Any], notes: Notes) -> _Example:
    values = {name: _value(cell, name, notes) for name, cell in row.items() if name not in _PROMPTS}
    right, answers = values.get("gold_index"), values.get("gold")
    if right is None and values.get("choices") and _places(answers):
        right, answers = answers, None
    return _Example(
        prompts=tuple(row.get(name) for name in _PROMPTS),
        choices=values.get("choices"),
        right=right,
        answers=answers,
        predictions=values.get("predictions"),
        metrics=values.get("metrics", {name: values.get(name) for name in _METRICS}),
    )


def _value(cell: Any, name: str, notes: Notes) -> Any:
    """Return what a cell says; a text may be one that ``str`` made of a list or an object."""
    if not isinstance(cell, str) or not cell.startswith(("[", "(", "{")):
        return cell
    value = literal(cell) if len(cell) <= _LONGEST else None
    if value is None:
        too_long = f"more than {_LONGEST} characters" if len(cell) > _LONGEST else "no value"
        notes[name, f"{too_long}: left empty"] += 1
    return value


def _rows(example: _Example, notes: Notes) -> Iterator[dict[str, Any]]:
    metrics = _metrics(example.metrics)
    if not metrics:
        notes["metrics", "no numbers: left empty"] += 1
    prompt = next((text for text in example.prompts if isinstance(text, str)), None)
    correct = next((metrics[name] for name in _CORRECT if name in metrics), None)
    shared = {
        "input_hash": None if prompt is None else input_hash(clean(prompt)),
        "metrics": list(metrics.items()),
        "correct": share(correct),
    }
    texts, logprobs = _predicted(_listed(example.predictions))
    if not texts:
        yield shared | _likelihoods(example, logprobs, notes)
        return
    answers = _answers(example)
    if answers is None:
        notes["gold", "no right answer: targets left empty"] += 1
    for number, text in enumerate(texts, 1):
        several = {"correct": None, "replicate": str(number)} if len(texts) > 1 else {}
        yield shared | {"targets": answers, "output": clean(text)} | several


def _likelihoods(example: _Example, logprobs: list[float], notes: Notes) -> dict[str, Any]:
    choices = _texts(example.choices)
    if not choices:
        notes["choices", "neither choices nor an answer: targets left empty"] += 1
        return {}
    values = None
    if len(choices) > 1:
        right = set(_places(example.right))
        if right and 0 <= min(right) <= max(right) < len(choices):
            values = [float(place in right) for place in range(len(choices))]
        else:
            notes["gold_index", "none of the choices: target_values left empty"] += 1
    # The second half are the likelihoods of the choices without their context.
    known = len(logprobs) in (len(choices), 2 * len(choices))
    if not known:
        notes["predictions", "not a log-likelihood for each choice: left empty"] += 1
    return {
        "targets": choices,
        "target_values": values,
        "target_logprobs": logprobs[: len(choices)] if known else None,
    }


def _predicted(predictions: Iterable[Any]) -> tuple[list[str], list[float]]:
    """Return the texts and the log-likelihoods that a model gave.

    A log-likelihood may come with whether it is greedy, and a text with its logits.
    """
    texts: list[str] = []
    logprobs: list[float] = []
    for one in predictions:
        own = _listed(one)
        is_pair = isinstance(one, tuple) or (own and as_number(own[0]) is not None)
        for part in _listed(own[0]) if own and is_pair else own:
            if isinstance(part, str):
                texts.append(part)
            elif (number := as_number(part)) is not None:
                logprobs.append(number)
    return texts, logprobs


def _answers(example: _Example) -> list[str] | None:
    answers = _listed(example.answers)
    if not answers:
        choices = _listed(example.choices)
        places = _places(example.right)
        answers = [choices[place] for place in places if 0 <= place < len(choices)]
    # An answer may be a list of equivalent ones.
    flat = [text for answer in answers for text in _listed(answer)]
    return [clean(str(text)) for text in flat if text is not None] or None


def _places(value: Any) -> list[int]:
    """Return the whole numbers that a value is or holds, none if it holds anything else."""
    found = _listed(value)
    are_whole = all(isinstance(one, int) and not isinstance(one, bool) for one in found)
    return found if are_whole else []


def _texts(value: Any) -> list[str]:
    found = _listed(value)
    return [clean(one) for one in found] if all(isinstance(one, str) for one in found) else []


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _metrics(value: Any) -> dict[str, float]:
    """Return the metrics that are one number."""
    found = {}
    for name, score in value.items() if isinstance(value, dict) else ():
        number = float(score) if isinstance(score, bool) else as_number(score)
        if number is not None and isinstance(name, str):
            found[clean(name)] = number
    return found
