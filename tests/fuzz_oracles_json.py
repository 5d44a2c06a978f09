"""What may come of spoilt JSON, by naive readers: json.loads and loops.

For each format it is said which facts of a file are those of all its rows.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from fuzz_expected import (
    ANY,
    FREE,
    MALFORMED,
    MISSING,
    REPORTED,
    SURE,
    Expected,
    Item,
    Object,
    OrNull,
    Row,
    Sound,
    canonical,
    is_text,
    number,
    of,
    parse_json,
    to_object,
    whole,
)
from xxhash import xxh3_128_hexdigest

from bigbench_meta.core.schema import OBSERVATIONS, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# --- BIG-bench score files ---

SIZES = ("total_params", "non_embedding_params", "flop_matched_non_embedding_params")


def expect_scores(data: bytes, label: str, sound: Sound) -> Expected:
    read = parse_json(data)
    if read.document is MALFORMED:
        # A decoder that skips what nobody wants may not look at all of it.
        return Expected([Item(row | {"source": label}) for row in sound.rows]).loosened(REPORTED)
    expected = score_items(read.document, label)
    expected.may_refuse |= read.strict
    return expected


def score_items(document: Any, label: str) -> Expected:
    task = of(document, "task", "task_name")
    family, model = (of(document, "model", key) for key in ("model_family", "model_name"))
    entries = of(document, "scores")
    if not all(is_text(name) and name for name in (task, family, model)):
        return Expected(faulty=True)
    if not isinstance(entries, list):
        return Expected(faulty=True)
    sizes = {size: whole(of(document, "model", size), 1, 10**18) for size in SIZES}
    expected = Expected(faulty=None in sizes.values())
    # A name of blanks is refused only by a reader that looks.
    expected.may_refuse = not all(name.strip() for name in (task, family, model))
    whole_file = {"benchmark": "BIG-bench", "task": task, "model_family": family,
                  "model_name": model, "source": label} | sizes  # fmt: skip
    for entry in entries:
        items = entry_items(entry, task)
        expected.faulty |= items is None or any(item is None for item in items)
        expected.items += [Item(whole_file | item) for item in items or () if item is not None]
    return expected


def entry_items(entry: Any, task: str) -> list[Row | None] | None:
    """Return the rows of an entry, None in place of those that are no good."""
    shots = whole(of(entry, "number_of_shots"), -1, 10**9)
    scores, preferred = of(entry, "score_dict"), of(entry, "preferred_score")
    subtask = entry.get("subtask_description", "") if isinstance(entry, dict) else None
    if shots is None or not isinstance(scores, dict) or not is_text(subtask):
        return None
    rows: list[Row | None] = []
    for metric, value in scores.items():
        if not is_text(metric) or number(value) is None:
            rows.append(None)
            continue
        row = {"subtask": subtask or task, "metric": metric, "score": number(value),
               "shots": None if shots == -1 else shots}  # fmt: skip
        if is_text(preferred):
            row["is_preferred"] = metric == preferred
            for side in ("low_score", "high_score") if metric == preferred else ():
                bound = number(of(entry, side))
                row[side] = bound if bound is not None and math.isfinite(bound) else None
        rows.append(row)
    return rows


# --- BIG-bench full logs ---


# An integer of more digits than Python converts is a number all the same.
LENIENT = json.JSONDecoder(
    object_pairs_hook=to_object,
    parse_int=lambda text: int(text) if len(text) < 4000 else math.inf,
)


def expect_log(data: bytes, label: str) -> Expected:
    """Return what may come of the scores of a full log, whose end may never have been read."""
    read = parse_json(data)
    if read.document is not MALFORMED:
        expected = score_items(read.document, label)
        expected.doubtful = not isinstance(of_or_null(read.document, "queries"), list | None)
        # What stands behind the head may be malformed for a careful reader, and is.
        expected.may_refuse |= read.strict or (isinstance(read.document, Object) and (
            read.document.twice
        ))  # fmt: skip
        return expected
    text = data.decode("utf-8-sig", "replace")
    found = {key: list(values_of(text, key)) for key in ("scores", "task", "model")}
    items = [
        item
        for scores in found["scores"]
        for task in found["task"]
        for model in found["model"]
        for item in score_items({"scores": scores, "task": task, "model": model}, label).items
    ]
    return Expected(items).loosened(FREE)


def values_of(text: str, key: str) -> Iterator[Any]:
    """Yield every value of a key that can be read anywhere in a text."""
    for match in re.finditer(rf'"{key}"\s*:\s*', text):
        try:
            yield LENIENT.raw_decode(text, match.end())[0]
        except (ValueError, RecursionError):
            continue


def expect_log_samples(data: bytes, label: str, sound: Sound) -> Expected:
    read = parse_json(data)
    if read.document is MALFORMED or read.strict:
        return scattered_samples(data.decode("utf-8-sig", "replace"), label)
    document, expected = read.document, Expected()
    names = {"task": of(document, "task", "task_name")}
    names |= {key: of(document, "model", key) for key in ("model_family", "model_name")}
    if not all(is_text(name) and name for name in names.values()):
        return expected
    sizes = {size: whole(of(document, "model", size), 1, 10**18) for size in SIZES}
    shared = names | sizes | {"benchmark": "BIG-bench", "source": label}
    known = {
        canonical(sample): row
        for sample, row in zip(all_samples(sound.document), sound.samples, strict=True)
    }
    for queries in document.all("queries") if document.twice else [document.get("queries")]:
        if not isinstance(queries, list):
            expected.faulty |= queries is not None
            continue
        for q, query in enumerate(queries):
            expected.items += query_items(query, q, shared, known)
            is_twice = isinstance(query, Object) and query.twice
            expected.faulty |= not is_twice and not isinstance(of(query, "samples"), list)
            expected.doubtful |= not is_sound_query(query)
    return expected.loosened(FREE) if document.twice else expected


def all_samples(document: Any) -> list[Any]:
    queries = of(document, "queries")
    return [sample for query in queries for sample in query["samples"]] if queries else []


def query_items(query: Any, q: int, shared: Row, known: dict[str, Row]) -> list[Item]:
    if not isinstance(query, Object):
        return []
    shots, task = query.get("shots"), query.get("task")
    own = {"shots": ANY, "subtask": ANY}
    if not query.twice:
        n = whole(shots, -1, 10**9)
        own["shots"] = None if n == -1 else OrNull(n) if isinstance(shots, float) else n
        subtask = task if is_text(task) and task not in {"", "programmatic"} else None
        own["subtask"] = subtask
    items = []
    for samples in query.all("samples"):
        for s, sample in enumerate(samples if isinstance(samples, list) else ()):
            row, presence = known.get(canonical(sample)), SURE
            if row is None or (isinstance(sample, Object) and sample.twice):
                row, presence = sample_row(sample), REPORTED
            presence = FREE if query.twice else presence
            items.append(Item(row | shared | own | {"example_id": f"{q}/{s}"}, presence))
    return items


def is_sound_query(query: Any) -> bool:
    """Return whether all that is wanted of a query, besides its samples, is as it should be."""
    if not isinstance(query, Object) or query.twice or not is_text(query.get("function")):
        return False
    shots, task = query.get("shots"), query.get("task")
    return (shots is None or (type(shots) is int and whole(shots, -1, 10**9) is not None)) and (
        task is None or is_text(task)
    )


OWN = ("input_hash", "targets", "target_values", "target_logprobs", "output", "correct", "metrics")


def sample_row(sample: Any) -> Row:
    """Return what a naive reader sees of a sample that is not as it was."""
    row = dict.fromkeys(OWN, ANY)
    if not isinstance(sample, Object) or sample.twice or not is_text(sample.get("input")):
        return row
    row["input_hash"] = xxh3_128_hexdigest(sample["input"].encode())
    if "output" not in sample or is_text(sample["output"]):
        row["output"] = sample.get("output")
    targets, scores = sample.get("targets"), sample.get("scores")
    if isinstance(targets, list | dict) and all(map(is_text, targets)):
        row["targets"] = list(targets)
    if isinstance(scores, list) and None not in map(number, scores):
        row["target_logprobs"] = [number(score) for score in scores]
    return row


def scattered_samples(text: str, label: str) -> Expected:
    """Return samples that can be read anywhere in a broken log, in no order."""
    items = []
    for brace in re.finditer(r"\{", text):
        if '"input"' not in text[brace.start() : brace.start() + 2000]:
            continue  # nested too deeply to try them all
        try:
            value = LENIENT.raw_decode(text, brace.start())[0]
        except (ValueError, RecursionError):
            continue
        if "input" in value:
            values = dict.fromkeys(SAMPLES.names, ANY) | sample_row(value) | {"source": label}
            items.append(Item(values, FREE))
    return Expected(items, scattered=True)


# --- lm-evaluation-harness ---

MODEL = ("model_family", "model_name", "total_params", "variant", "settings", "shots")
# What a file says of its run, but for the model and the number of examples.
OF_THE_RUN = (
    "versions", "n-samples", "lm_eval_version", "chat_template", "chat_template_sha",
    "system_instruction", "system_instruction_sha", "fewshot_as_multiturn",
)  # fmt: skip


def scored_tasks(document: Any) -> Row:
    """Return what is said of each task; some versions list groups elsewhere."""
    results, groups = of(document, "results"), of(document, "groups")
    if not isinstance(results, dict):
        return {}
    further = groups.items() if isinstance(groups, dict) else ()
    return results | {task: own for task, own in further if task not in results}


def pairs_of(document: Any) -> list[tuple[str, str, Any]]:
    """Return (task, key, value) of all that may be scores."""
    return [
        (task, key, value)
        for task, own in scored_tasks(document).items()
        if isinstance(own, dict)
        for key, value in own.items()
    ]


def is_score(key: str, value: Any) -> bool:
    return number(value) is not None and not key.partition(",")[0].endswith("_stderr")


def expect_results(data: bytes, label: str, sound: Sound) -> Expected:
    read = parse_json(data)
    if not isinstance(of(read.document, "results"), dict):
        return Expected(faulty=True)
    was, now = sound.document, read.document
    same = {key: canonical(of_or_null(was, key)) == canonical(of_or_null(now, key))
            for key in (*keys_of(was), *keys_of(now))}  # fmt: skip
    loose = loose_columns(same, now, was) | {"source": label}
    scores = ((task, key) for task, key, value in pairs_of(was) if is_score(key, value))
    known = dict(zip(scores, sound.rows, strict=True))
    no_model = not (same.get("config", True) and same.get("model_name", True))
    tasks, before = scored_tasks(now), scored_tasks(was)
    expected = Expected(may_refuse=read.strict or no_model)
    expected.faulty = not all(isinstance(own, dict) and task.strip() for task, own in tasks.items())
    # With filters, a key without one is no score, and the other way round.
    certain = SURE if has_filters(was) == has_filters(now) else REPORTED
    for task, key, value in pairs_of(now):
        row = known.get((task, key))
        if row is not None and is_score(key, value):
            own = row | siblings(key, tasks[task], before[task]) | {"score": number(value)}
            presence = certain if canonical(value) == canonical(before[task][key]) else REPORTED
        else:
            own = dict.fromkeys(OBSERVATIONS.names, ANY)
            own["score"] = ANY if number(value) is None else number(value)
            presence = FREE if row is None else REPORTED
        expected.items.append(Item(own | loose, presence))
    return expected


def keys_of(document: Any) -> Iterable[str]:
    return document if isinstance(document, dict) else ()


def of_or_null(document: Any, key: str) -> Any:
    value = of(document, key)
    return None if value is MISSING else value


def has_filters(document: Any) -> bool:
    new = {"configs", "group_subtasks", "n-shot", "n-samples", "higher_is_better"}
    return not new.isdisjoint(keys_of(document)) or any(
        "," in key for _, key, _ in pairs_of(document)
    )


def loose_columns(same: dict[str, bool], document: Any, was: Any) -> Row:
    """Return the columns of all rows that hang on a part of the file that is not as it was."""
    columns: list[str] = []
    if not (same.get("config", True) and same.get("model_name", True)):
        columns += MODEL
    if not all(same.get(key, True) for key in ("n-shot", "configs", "group_subtasks")):
        columns += ["shots"]
    if not same.get("n-samples", True):
        columns += ["n_examples"]
    if not all(same.get(key, True) for key in OF_THE_RUN):
        columns += ["settings"]
    # A group that is not scored is none, and shots are those of its members.
    groups = {key: [task for task, name, _ in pairs_of(one) if "," in name]
              for key, one in (("was", was), ("now", document))}  # fmt: skip
    if not same.get("group_subtasks", True) or set(groups["was"]) != set(groups["now"]):
        columns += ["task", "shots"]
    return dict.fromkeys(columns, ANY)


def siblings(key: str, now: Any, before: Any) -> Row:
    """Return the columns of a row that hang on the keys beside its own."""
    metric, comma, rule = key.partition(",")
    loose: Row = {}
    beside = f"{metric}_stderr{comma}{rule}"
    if canonical(of_or_null(now, beside)) != canonical(of_or_null(before, beside)):
        stderr = number(of_or_null(now, beside))
        loose["stderr"] = None if stderr is None else OrNull(stderr)
    counts = ("sample_len", "sample_count")
    if any(canonical(of_or_null(now, n)) != canonical(of_or_null(before, n)) for n in counts):
        loose["n_examples"] = ANY
    return loose


def expect_samples(
    data: bytes, label: str, sound: Sound, *, same_run: bool = True
) -> Expected:  # fmt: skip
    """Return what may come of a sample log, line by line."""
    known = {
        canonical(line): row for line, row in zip(sound.document or (), sound.samples, strict=True)
    }
    run = {} if same_run else dict.fromkeys(("task", *MODEL), ANY)
    expected = Expected(may_refuse=not same_run)
    for line in data.split(b"\n"):
        read = parse_json(line)
        if not line.strip():
            continue
        row = known.get(canonical(read.document)) if isinstance(read.document, Object) else None
        if not isinstance(read.document, Object):
            expected.faulty = True
        elif row is not None and not read.document.twice:
            presence = REPORTED if read.strict else SURE
            expected.items.append(Item(row | run | {"source": label}, presence))
        else:
            values = dict.fromkeys(SAMPLES.names, ANY) | {"source": label}
            expected.items.append(Item(values, REPORTED))
    return expected


# --- lighteval ---


LIGHTEVAL_KEY = re.compile(r"[^|]*\|[^|]*[^|\s][^|]*\||[^|]*[^|\s][^|]*\|\d+$")


def expect_lighteval(data: bytes, label: str, sound: Sound) -> Expected:
    """Return what may come of a file whose keys are ``suite|task|shots``."""
    read = parse_json(data)
    was, now = sound.document, read.document
    before, results = of(was, "results"), of(now, "results")
    if not isinstance(results, dict):
        return Expected(faulty=True)
    before = before if isinstance(before, dict) else {}
    changed = {key for key in ("config_general", "config_tasks", "versions")
               if canonical(of_or_null(was, key)) != canonical(of_or_null(now, key))}  # fmt: skip
    loose: Row = {"source": label}
    loose |= dict.fromkeys(MODEL[:-1] if "config_general" in changed else (), ANY)
    loose |= dict.fromkeys(("n_examples", "settings") if changed else (), ANY)
    # Only where a task has an average are its rows those of subtasks.
    averages = {key for key in before if ":_average" in key} ^ {
        key for key in results if ":_average" in key
    }
    loose |= dict.fromkeys(("task", "subtask") if averages else (), ANY)
    known = dict(zip(lighteval_scores(before), sound.rows, strict=True))
    expected = Expected(may_refuse=read.strict or "config_general" in changed)
    for key, scores in results.items():
        if key == "all":
            continue
        if not isinstance(scores, dict) or not LIGHTEVAL_KEY.match(key):
            expected.faulty = True
            continue
        for metric, value in scores.items():
            row, beside = known.get((key, metric)), f"{metric}_stderr"
            if row is None:
                own = dict.fromkeys(OBSERVATIONS.names, ANY)
                own["score"] = ANY if number(value) is None else number(value)
                expected.items.append(Item(own | loose, FREE))
                continue
            if canonical(of_or_null(scores, beside)) != canonical(of_or_null(before[key], beside)):
                stderr = number(of_or_null(scores, beside))
                row = row | {"stderr": None if stderr is None else OrNull(stderr)}
            if number(value) is not None:
                row = row | {"score": number(value)}
            same = canonical(value) == canonical(before[key][metric])
            expected.items.append(Item(row | loose, SURE if same else REPORTED))
    return expected


def lighteval_scores(results: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (key, metric)
        for key, scores in results.items()
        for metric in scores
        if key != "all" and metric.removesuffix("_stderr") not in scores.keys() - {metric}
    ]


# --- HELM ---


def expect_helm(data: bytes, label: str, sound: Sound, *, same_run: bool = True) -> Expected:
    """Return what may come of a run; a score repeats another, and tells its split, among all."""
    read = parse_json(data)
    if not isinstance(read.document, list):
        return Expected(faulty=True)
    was, now = sound.document or [], read.document
    known = known_stats(was, sound.rows)
    columns = ["n_examples"] if sizes_of(was) != sizes_of(now) else []
    columns += ["variant"] if splits_of(was) != splits_of(now) else []
    columns += [] if same_run else ["task", "subtask", *MODEL]
    loose = dict.fromkeys(columns, ANY) | {"source": label}
    is_same = [canonical(stat) for stat in was] == [canonical(stat) for stat in now]
    expected = Expected(may_refuse=read.strict or not same_run)
    for stat in now:
        row = known.get(canonical(stat))
        if row is not None:
            # The worst over perturbations may repeat a score or not, which is then left out.
            is_worst = of(stat, "name", "perturbation", "computed_on") == "worst"
            presence = SURE if is_same or not is_worst else FREE
            expected.items.append(Item(row | loose, presence))
            continue
        values = dict.fromkeys(OBSERVATIONS.names, ANY) | {"source": label}
        mean = number(of(stat, "mean"))
        values["score"] = ANY if mean is None else mean
        metric = of(stat, "name", "name")
        broken = not isinstance(metric, str) or not metric.strip()
        expected.faulty |= broken
        expected.items.append(Item(values, FREE))
    return expected


def known_stats(stats: list[Any], rows: list[Row]) -> dict[str, Row]:
    """Return the row of each stat that has one: its name and its mean tell it."""
    known, left = {}, list(rows)
    for stat in stats:
        if left and (left[0]["metric"], left[0]["score"]) == (stat["name"]["name"], stat["mean"]):
            known[canonical(stat)] = left.pop(0)
    if left:
        raise ValueError(f"rows of no stat: {left}")
    return known


def sizes_of(stats: list[Any]) -> list[str]:
    return [canonical(stat) for stat in stats if of(stat, "name", "name") == "num_instances"]


def splits_of(stats: list[Any]) -> set[str]:
    return {canonical(split) for stat in stats if (split := of(stat, "name", "split"))
            is not MISSING}  # fmt: skip
