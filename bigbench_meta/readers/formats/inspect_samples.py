"""Reader for the samples in logs of Inspect AI.

One row is one sample in one epoch. ``example_id`` is the id of the sample, with the epoch where
there are several: ``17_epoch_2``. ``input_hash`` is that of the sample's input as the dataset has
it, before solvers put anything around it; of several messages, their texts with an empty line
between. ``targets`` are the right answers, letters where the sample is multiple choice, and
``output`` is what the model wrote last. ``correct`` is the value of the first scorer that gives a
single value, as Inspect itself turns it into a number (C is 1, P is 0.5, I and N are 0), null
outside 0..1. ``metrics`` holds the values of all scorers: ``match``, or ``quality/fluency`` where a
scorer gives several.

An ``.eval`` log is read some samples at a time; a JSON document is read whole, as Inspect does.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from bigbench_meta.core.schema import SAMPLES
from bigbench_meta.core.text import shown
from bigbench_meta.readers.formats.inspect_files import LogFaultError, LogFile, read_samples
from bigbench_meta.readers.formats.runs import input_hash, share, to_table
from bigbench_meta.readers.formats.values import as_number, clean

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd
    import pyarrow as pa

    from bigbench_meta.readers.formats.values import FileLog

__all__ = ["parse_samples"]

# So many samples, or bytes of them, are in memory at once, of an .eval log.
_BATCH_SAMPLES: Final = 512
_BATCH_BYTES: Final = 1 << 25
_TABLE_ROWS: Final = 4096
# To find one takes some ten attempts.
_MOST_FAULTS: Final = 500
# The texts that inspect_ai.scorer.value_to_float turns into numbers. It makes 0 of any other.
_LETTERS: Final = {"C", "I", "P", "N"}
_WORDS: Final = {"yes", "true", "no", "false"}


def parse_samples(
    file: LogFile,
    key: dict[str, Any],
    epochs: int,
    log: FileLog,
    *,
    on_samples: Callable[[pa.Table], None],
) -> None:
    """Read the samples of one log.

    Args:
        file: The log.
        key: The columns that say which model did which task, and how.
        epochs: How often each sample was asked.
        log: Where problems are noted. A sample that cannot be read is an error of its own in an
            ``.eval`` log, and spoils all samples of a JSON document.
        on_samples: Takes tables of samples, each of bounded size.
    """
    notes, seen, faults = Counter[str](), set[str](), list[str]()
    n_rows = 0
    for frame in _frames(file, notes, faults, log):
        for start in range(0, len(frame), _TABLE_ROWS):
            rows = [
                key | _row(sample, epochs, notes, seen)
                for sample in frame["sample"].iloc[start : start + _TABLE_ROWS]
            ]
            n_rows += len(rows)
            on_samples(to_table(rows, SAMPLES))
    for note, count in notes.items():
        if count:
            log.warning("samples", f"{count} of {n_rows} samples: {note}")
    if not n_rows and not faults:
        log.warning("samples", "no samples")


def _frames(
    file: LogFile, notes: Counter[str], faults: list[str], log: FileLog
) -> Iterator[pd.DataFrame]:
    """Yield frames of samples; where a batch cannot be read, find out which samples spoil it."""
    pending = list(_batches(file.members))[::-1]
    while pending:
        members = pending.pop()
        columns = _Columns()
        try:
            frame = read_samples(file, members, columns)
        except LogFaultError as fault:
            if len(members) > 1:
                middle = len(members) // 2
                pending += [members[middle:], members[:middle]]
                continue
            faults.append(shown(members[0].filename) if members else "")
            log.error(f"{faults[-1]}: {fault.where}".strip(": ") or "samples", fault.reason)
            if len(faults) >= _MOST_FAULTS and pending:
                left = sum(map(len, pending))
                reason = f"{len(faults)} samples cannot be read: the {left} after them are left out"
                log.error("samples", reason)
                return
        else:
            notes["given more than once, the first counts"] += columns.n_read - len(frame)
            yield frame


def _batches(
    members: Sequence[zipfile.ZipInfo] | None,
) -> Iterator[Sequence[zipfile.ZipInfo]]:
    if members is None:
        yield []
        return
    start = size = 0
    for place, member in enumerate(members):
        if place > start and (
            place - start >= _BATCH_SAMPLES or size + member.file_size > _BATCH_BYTES
        ):
            yield members[start:place]
            start, size = place, 0
        size += member.file_size
    if start < len(members):
        yield members[start:]


class _Columns:
    """Makes the column that holds what is wanted of a sample, and counts samples.

    Attributes:
        n_read: Samples that Inspect has read. Its frame leaves out those whose id it has seen.
    """

    def __init__(self) -> None:
        self.n_read = 0

    def __call__(self, analysis: Any) -> list[Any]:
        """Return the columns, given the module ``inspect_ai.analysis``."""
        to_float = import_module("inspect_ai.scorer").value_to_float()

        def sample(found: Any) -> dict[str, Any]:
            self.n_read += 1
            return _extract(found, to_float)

        return [analysis.SampleColumn("sample", path=sample, full=True)]


def _extract(sample: Any, to_float: Callable[[Any], float]) -> dict[str, Any]:
    """Return what is wanted of an EvalSample; a dataframe of Inspect holds it as JSON.

    As JSON, because names, numbers and texts can be what a column of Arrow cannot hold.
    """
    prompt = _prompt(sample.input)
    scores = {name: score.value for name, score in (sample.scores or {}).items()}
    single = [value for value in scores.values() if not isinstance(value, dict | list)]
    metrics = {
        clean(name): number
        for name, value in _flat(scores)
        if (number := _to_number(value, to_float)) is not None
    }
    return {
        "id": clean(str(sample.id)),
        "epoch": sample.epoch,
        "input_hash": None if prompt is None else input_hash(prompt),
        "targets": _targets(sample.target),
        "output": clean(sample.output.completion) if sample.output.choices else None,
        "correct": _to_number(single[0], to_float) if single else None,
        "metrics": metrics,
        "error": sample.error is not None,
        "n_values": sum(1 for _ in _flat(scores)),
    }


def _prompt(messages: Any) -> str | None:
    """Return the text of an input, None if it is not text alone."""
    if isinstance(messages, str):
        return clean(messages)
    for message in messages:
        content = message.content
        if not isinstance(content, str) and any(part.type != "text" for part in content):
            return None
    return clean("\n\n".join(message.text for message in messages))


def _targets(target: str | list[str]) -> list[str] | None:
    texts = [target] if isinstance(target, str) else target
    # What Inspect writes where a sample has no target.
    return None if texts in ([], [""]) else [clean(text) for text in texts]


def _flat(scores: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in scores.items():
        if isinstance(value, dict):
            yield from ((f"{name}/{key}", part) for key, part in value.items())
        elif isinstance(value, list):
            yield from ((f"{name}/{place}", part) for place, part in enumerate(value, 1))
        else:
            yield name, value


def _to_number(value: Any, to_float: Callable[[Any], float]) -> float | None:
    """Return the number that stands for a score's value, None where none does or it is NaN."""
    if isinstance(value, str):
        is_known = value in _LETTERS or value.lower() in _WORDS or _is_finite(value)
        number = to_float(value) if is_known else None
    else:
        number = float(value) if isinstance(value, bool) else as_number(value)
    return None if number is None or math.isnan(number) else number


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _row(text: Any, epochs: int, notes: Counter[str], seen: set[str]) -> dict[str, Any]:
    sample = json.loads(text)
    epoch = sample["epoch"]
    name = f"{sample['id']}_epoch_{epoch}" if epochs > 1 or epoch != 1 else sample["id"]
    notes["ended in an error"] += sample["error"]
    notes["the input is not text alone: input_hash left empty"] += sample["input_hash"] is None
    notes["values of scorers that are not numbers: left out"] += (
        len(sample["metrics"]) < sample["n_values"]
    )
    notes["given more than once"] += name in seen
    seen.add(name)
    return {
        "example_id": name,
        "input_hash": sample["input_hash"],
        "targets": sample["targets"],
        "output": sample["output"],
        "correct": share(sample["correct"]),
        "metrics": list(sample["metrics"].items()),
    }
