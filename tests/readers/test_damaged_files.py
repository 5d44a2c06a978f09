"""Damaged score files: what is sound loads, what is not is reported, and no file harms another."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from helpers import (
    MISSING,
    PARAMS,
    changed,
    entry,
    expected_rows,
    plain,
    score_file,
    tree_files,
    write_json,
    write_tree,
)
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.cli.main import main
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

Rows = list[dict[str, Any]]

GOOD = tree_files(["alpha"], {"1m": 10**6, "8m": 8 * 10**6})
# The damaged file: an entry to break and a second one that must survive.
DOCUMENT = score_file(
    task_name="gamma",
    model_name="bad",
    scores=[
        entry(subtask_description="gamma"),
        entry(subtask_description="gamma", number_of_shots=1),
    ],
)
TEXT = json.dumps(DOCUMENT)
RAW = TEXT.encode()
NAME = "scores_Fam_bad.json"
BAD = f"tree/gamma/results/{NAME}"
SOUND = expected_rows(DOCUMENT, BAD)  # 2 entries x (exact_str_match, bleu)
HUGE = "1" + "0" * 400
"""An integer beyond what a float holds."""


def put(folder: Path, content: bytes, name: str = NAME) -> Path:
    """Write good files and beside them one with this very content; return their folder."""
    write_tree(folder / "tree", GOOD)
    path = folder / "tree" / "gamma" / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return folder / "tree"


def read_beside_good(tree: Path, source: str = BAD) -> tuple[Rows, Rows]:
    """Return rows and problems of one file; the good rows must be as if it were not there."""
    observations, problems = bm.read_results(tree)
    rows, reported = plain(observations), plain(problems)
    good = [
        row
        for document in GOOD
        for row in expected_rows(
            document, f"tree/alpha/results/scores_Fam_{document['model']['model_name']}.json"
        )
    ]
    assert [row for row in rows if row["source"] != source] == good
    assert {problem["source"] for problem in reported} <= {source}
    return [row for row in rows if row["source"] == source], reported


def check_reported(problems: Rows, field: str, reason: str) -> None:
    """Check that a problem names this field and gives a reason with these words."""
    assert any(
        problem["field"] == field and re.search(reason, problem["reason"]) for problem in problems
    ), problems


def check_strict(tree: Path, source: str = BAD) -> None:
    with pytest.raises(InputError, match=re.escape(source)):
        bm.read_results(tree, strict=True)


def ingest(tree: Path, *options: str) -> int:
    command = ["ingest", str(tree), "--store", str(tree.parent / "store"), *options]
    return CliRunner().invoke(main, command).exit_code


def check_exit_code(tree: Path) -> None:
    assert ingest(tree, "--strict") == 1


# A file that is of no use as a whole ----------------------------------------------------------

DEEP = b"[" * 100_000 + b"]" * 100_000
WHOLE = {
    "empty": (b"", "", "the file is empty"),
    "whitespace": (b" \r\n\t ", "", "the file is empty"),
    "zeros of a lost disk block": (bytes(512), "", "the file is empty"),
    "cut after a comma": (RAW[: RAW.index(b'"bleu"')], "line 1 column", "truncated JSON"),
    "cut after a colon": (RAW[: RAW.index(b" 0.25")], "line 1 column", "truncated JSON"),
    "last bracket missing": (RAW[:-1], "line 1 column", "truncated JSON"),
    "text": (b"404: Not Found", "line 1 column", "malformed JSON"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "line 1 column", "malformed"),
    "merge conflict": (
        b"{\n<<<<<<< HEAD\n" + RAW[1:],
        "line 2 column 1",
        "malformed JSON: Expecting property name",
    ),
    "two documents": (RAW + RAW, f"line 1 column {len(RAW) + 1}", "malformed JSON: Extra data"),
    "single quotes": (TEXT.replace('"', "'").encode(), "line 1 column", "malformed JSON"),
    "Python's True": (RAW.replace(b"0.25", b"True"), "line 1 column", "malformed JSON"),
    "invalid UTF-8 first": (b"\xff" + RAW, "byte 0", "not UTF-8: invalid start byte"),
    "invalid UTF-8 inside": (
        RAW.replace(b'"gamma"', b'"gam\xe9a"'),
        f"byte {RAW.index(b'gamma') + 3}",
        "not UTF-8: invalid continuation byte",
    ),
    "UTF-16": (TEXT.encode("utf-16"), "byte 0", "not UTF-8"),
    "list": (b"[]", "", "expected an object, got a list"),
    "list of files": (b"[" + RAW + b"]", "", "expected an object, got a list"),
    "number": (b"5", "", "expected an object, got a number"),
    "text in quotes": (b'"scores"', "", "expected an object, got text"),
    "boolean": (b"true", "", "expected an object, got a boolean"),
    "null": (b"null", "", "expected an object, got null"),
    "deep": (DEEP, "", "nested too deeply"),
    "deep and open": (b"[" * 100_000, "", "nested too deeply"),
    "deep objects": (b'{"scores":' * 100_000, "", "nested too deeply"),
    "deep in an ignored field": (
        RAW.replace(b'{"max_decode_steps": 32}', DEEP),
        "",
        "nested too deeply",
    ),
    "integer of 5,000 digits": (
        RAW.replace(b"0.25", b"9" * 5000),
        "",
        "not readable as JSON: a number of more",
    ),
    "empty object": (b"{}", "task", "missing"),
}


@pytest.mark.parametrize(("content", "field", "reason"), WHOLE.values(), ids=WHOLE)
def test_file_of_no_use(tmp_path: Path, content: bytes, field: str, reason: str) -> None:
    tree = put(tmp_path, content)
    rows, problems = read_beside_good(tree)
    assert rows == []
    (problem,) = problems
    assert problem["severity"] == "error"
    assert problem["field"].startswith(field)
    assert bool(problem["field"]) == bool(field)
    assert re.search(reason, problem["reason"])
    check_strict(tree)
    check_exit_code(tree)


def test_problems_are_no_failure_unless_strict(tmp_path: Path) -> None:
    tree = put(tmp_path, b"{")
    assert ingest(tree) == 0
    assert ingest(tree, "--strict") == 1
    (tree / "gamma" / "results" / NAME).write_bytes(RAW)
    assert ingest(tree, "--strict") == 0


PACKED = {
    "not gzip": (RAW, "cannot be read: Not a gzipped file"),
    "cut": (gzip.compress(RAW)[:-20], "cannot be read: Compressed file ended before"),
    "wrong checksum": (gzip.compress(RAW)[:-8] + bytes(8), "cannot be read: CRC check failed"),
    "broken in the middle": (
        gzip.compress(RAW)[:12] + b"\xff" * 40 + gzip.compress(RAW)[52:],
        "cannot be read: ",
    ),
    "empty": (b"", "the file is empty"),
    "of nothing": (gzip.compress(b""), "the file is empty"),
}


@pytest.mark.parametrize(("content", "reason"), PACKED.values(), ids=PACKED)
def test_damaged_gzip(tmp_path: Path, content: bytes, reason: str) -> None:
    tree = put(tmp_path, content, f"{NAME}.gz")
    rows, problems = read_beside_good(tree, f"{BAD}.gz")
    assert rows == []
    (problem,) = problems
    assert (problem["field"], problem["severity"]) == ("", "error")
    assert reason in problem["reason"]
    check_strict(tree, f"{BAD}.gz")
    check_exit_code(tree)


def test_cut_at_many_lengths(tmp_path: Path) -> None:
    """No prefix of a file is taken for a file, and each is reported as a broken one."""
    lengths = range(1, len(RAW), 5)
    for length in lengths:
        put(tmp_path, RAW[:length], f"scores_{length:05}.json")
    observations, problems = bm.read_results(tmp_path / "tree")
    assert plain(observations) == [row for row in plain(observations) if row["task"] == "alpha"]
    assert [problem["source"] for problem in plain(problems)] == [
        f"tree/gamma/results/scores_{length:05}.json" for length in lengths
    ]
    assert all("JSON" in problem["reason"] for problem in plain(problems))


@pytest.mark.parametrize(("inside", "rest"), {"text": b"amma", "key": b"referred"}.items())
def test_cut_is_called_truncated_wherever_it_is(tmp_path: Path, inside: str, rest: bytes) -> None:
    end = RAW.index(rest)
    assert RAW[:end].count(b'"') % 2, inside
    _, problems = read_beside_good(put(tmp_path, RAW[:end]))
    check_reported(problems, problems[0]["field"], "truncated JSON")


def test_too_large_for_a_score_file(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW + b" " * 4000)
    (tree / "gamma" / "results" / f"{NAME}.gz").write_bytes(gzip.compress(RAW + b" " * 4_000_000))
    observations, problems = bm.read_results(tree, max_bytes=3000)
    assert {row["task"] for row in plain(observations)} == {"alpha"}
    assert [(p["source"], p["reason"]) for p in plain(problems)] == [
        (BAD, "holds more than 3000 bytes (--max-bytes)"),
        (f"{BAD}.gz", "holds more than 3000 bytes (--max-bytes)"),
    ]


# One value of the wrong kind ------------------------------------------------------------------


def with_token(place: str, token: str) -> bytes:
    """Return the damaged file's text with any JSON, or what passes for it, at a place."""
    if token == "missing":
        return json.dumps(changed(DOCUMENT, place, MISSING)).encode()
    return json.dumps(changed(DOCUMENT, place, "@@")).replace('"@@"', token).encode()


def lost_file(_: Rows) -> Rows:
    return []


def lost_entry(rows: Rows) -> Rows:
    return rows[2:]


def lost_score(rows: Rows) -> Rows:
    return rows[1:]


def nothing_lost(rows: Rows) -> Rows:
    return rows


def emptied(column: str, n_rows: int = 4) -> Callable[[Rows], Rows]:
    def apply(rows: Rows) -> Rows:
        return [r | {column: None} if i < n_rows else r for i, r in enumerate(rows)]

    return apply


def scored(value: float | None) -> Callable[[Rows], Rows]:
    return lambda rows: [rows[0] | {"score": value}, *rows[1:]]


def preferred(value: bool | None) -> Callable[[Rows], Rows]:
    change = {"is_preferred": value, "low_score": None, "high_score": None}
    return lambda rows: [rows[0] | change, rows[1] | change, *rows[2:]]


def cases() -> list[Any]:
    """Return (place, token, reason, effect on the rows) for each field and each wrong kind."""
    wrong = {
        **{t: t for t in ("null", "true", "false", "NaN", "Infinity", '"x"', '"1"', '""')},
        **{t: t for t in ("5", "-5", "0", "-2", "1.5")},
        "[]": "a list", "{}": "an object", "1e999": "Infinity", "-1e999": "-Infinity",
        HUGE: "1000000", str(10**19): "1000000",
    }  # fmt: skip
    kinds = {"null": "null", "true": "a boolean", "5": "a number", '"x"': "text", "[]": "a list"}
    found: list[Any] = []

    def add(place: str, tokens: str, expected: str, effect: Any, kind: dict[str, str]) -> None:
        found.append((place, "missing", "missing", effect))
        found.extend((place, t, f"{expected}, got {kind[t]}", effect) for t in tokens.split())

    for place in ("task", "model"):
        add(place, 'null true 5 "x" []', "expected an object", lost_file, kinds)
    add("scores", 'null true 5 "x"', "expected a list", lost_file, kinds)
    for place in ("task.task_name", "model.model_family", "model.model_name"):
        tokens = 'null 5 ""' if place.startswith("model") else 'null true 5 1.5 "" [] {} NaN'
        add(place, tokens, "expected a name", lost_file, wrong)
    for name in PARAMS:
        tokens = f'null true 0 -5 1.5 "1" [] {{}} NaN 1e999 {HUGE} {10**19}'
        if name != PARAMS[0]:  # one check for all three
            tokens = 'null -5 "1"'
        add(f"model.{name}", tokens, "expected a positive whole number", emptied(name), wrong)
    add("scores[0].score_dict", 'null true 5 "x" []', "expected an object", lost_entry, kinds)
    tokens = f'null true -2 1.5 "1" [] {{}} NaN 1e999 {HUGE} {10**19}'
    expected = "expected a whole number, -1 or more"
    add("scores[0].number_of_shots", tokens, expected, lost_entry, wrong)
    for side in ("low_score", "high_score"):
        tokens = f'null true "1" [] {{}} NaN Infinity -1e999 {HUGE}'
        effect = emptied(side, n_rows=1)
        add(f"scores[0].{side}", tokens, "expected a finite number", effect, wrong)
    score = "scores[0].score_dict.exact_str_match"
    tokens = "true 5 1.5 [] {} NaN"
    add("scores[0].preferred_score", tokens, "expected text", preferred(None), wrong)
    return [
        *found,
        *(("scores[0]", t, f"expected an object, got {kinds[t]}", lost_entry) for t in kinds),
        *(
            ("scores[0].subtask_description", t, f"expected text, got {wrong[t]}", lost_entry)
            for t in ("null", "true", "5", "[]", "{}")
        ),
        *(
            (score, t, f"expected a number, got {wrong[t]}", lost_score)
            for t in ("null", "true", "false", '"1"', "[]", "{}")
        ),
        *(
            (score, token, f"{value} is kept but never scored",
             scored(None if math.isnan(value) else value))
            for token, value in {
                "NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "1e999": math.inf,
                "-1e999": -math.inf, HUGE: math.inf, f"-{HUGE}": -math.inf,
            }.items()
        ),
        ("scores[0].preferred_score", "null", "missing: no metric marked", preferred(None)),
        ("scores[0].preferred_score", '"x"', "'x' is not in score_dict", preferred(False)),
        ("scores", "[]", "the list is empty", lost_file),
        *(
            (f"{level}extra", "1", "unknown key: ignored", nothing_lost)
            for level in ("", "task.", "model.", "scores[0].")
        ),
    ]  # fmt: skip


CASES = cases()
IDS = [f"{place}={token[:12]}" for place, token, *_ in CASES]


@pytest.mark.parametrize(("place", "token", "reason", "effect"), CASES, ids=IDS)
def test_one_wrong_value(
    tmp_path: Path, place: str, token: str, reason: str, effect: Callable[[Rows], Rows]
) -> None:
    tree = put(tmp_path, with_token(place, token))
    rows, problems = read_beside_good(tree)
    assert rows == effect(SOUND)
    check_reported(problems, place, re.escape(reason))
    # An empty list of scores is sound JSON of the right type: odd, but nothing is lost.
    lost = len(rows) < len(SOUND) and (place, token) != ("scores", "[]")
    assert any(problem["severity"] == "error" for problem in problems) == lost


# One of the cases of each place: to be strict is to look only at whether there are problems.
ONE_OF_EACH = {place: token for place, token, *_ in reversed(CASES)}


@pytest.mark.parametrize(("place", "token"), ONE_OF_EACH.items())
def test_one_wrong_value_when_strict(tmp_path: Path, place: str, token: str) -> None:
    tree = put(tmp_path, with_token(place, token))
    check_strict(tree)
    check_exit_code(tree)


def test_every_fault_of_a_file_is_reported(tmp_path: Path) -> None:
    document = changed(DOCUMENT, "model.total_params", -1)
    document = changed(document, "scores[0].low_score", None)
    document = changed(document, "scores[1].score_dict.bleu", "high")
    document["scores"].append(5)
    rows, problems = read_beside_good(put(tmp_path, json.dumps(document).encode()))
    assert [problem["field"] for problem in problems] == [
        "model.total_params",
        "scores[0].low_score",
        "scores[1].score_dict.bleu",
        "scores[2]",
    ]
    assert len(rows) == 3


def test_a_thousand_faults_of_a_file_are_cut(tmp_path: Path) -> None:
    document = DOCUMENT | {"scores": [*DOCUMENT["scores"], *range(1000)]}
    rows, problems = read_beside_good(put(tmp_path, json.dumps(document).encode()))
    assert rows == SOUND
    assert len(problems) == 101
    assert problems[-1]["reason"] == "900 more problems in this file"


def test_key_given_twice_in_a_broken_file(tmp_path: Path) -> None:
    text = TEXT.replace('"bleu": 12.5', '"bleu": 12.5, "bleu": 13.5', 1)
    content = text.replace('"low_score": 0.0', '"low_score": null', 1).encode()
    rows, problems = read_beside_good(put(tmp_path, content))
    check_reported(problems, "bleu", "given twice in one object: the last counts")
    check_reported(problems, "scores[0].low_score", "left empty")
    assert [row["score"] for row in rows] == [0.25, 13.5, 0.25, 12.5]


@pytest.mark.parametrize("name", ["None", "nan", "", "-1"])
def test_metric_whose_name_looks_like_nothing(tmp_path: Path, name: str) -> None:
    """Beside an entry without a preferred metric, which is nothing."""
    one = entry(score_dict={name: 0.5}, preferred_score=name, subtask_description="gamma")
    two = entry(number_of_shots=1, subtask_description="gamma")
    del two["preferred_score"]
    content = json.dumps(DOCUMENT | {"scores": [one, two]}).encode()
    rows, problems = read_beside_good(put(tmp_path, content))
    assert [(row["metric"], row["is_preferred"]) for row in rows] == [
        (name, True),
        ("exact_str_match", None),
        ("bleu", None),
    ]
    assert [problem["field"] for problem in problems] == ["scores[1].preferred_score"]


SURROGATES = {
    "task": (b'"task_name": "gamma"', b'"task_name": "\\ud800"'),
    "subtask": (b'"subtask_description": "gamma"', b'"subtask_description": "\\ud800"'),
    "metric": (b'"bleu"', b'"\\udfff"'),
    "model": (b'"model_name": "bad"', b'"model_name": "b\\ud800d"'),
    "unknown key": (b'"low_score"', b'"low\\ud800score"'),
    "ignored text": (b'"a model"', b'"\\ud800"'),
}


@pytest.mark.parametrize(("old", "new"), SURROGATES.values(), ids=SURROGATES)
def test_half_a_surrogate_pair_which_no_table_can_hold(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    tree = put(tmp_path, RAW.replace(old, new))
    _, problems = read_beside_good(tree)
    if old != b'"a model"':
        assert problems
        check_strict(tree)


# What is no ordinary file ---------------------------------------------------------------------


def test_folder_with_the_name_of_a_file(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW)
    (tree / "gamma" / "results" / NAME).unlink()
    (tree / "gamma" / "results" / NAME).mkdir()
    rows, problems = read_beside_good(tree)
    assert rows == []
    check_reported(problems, "", "a folder with the name of a JSON file")
    check_strict(tree)
    check_exit_code(tree)


def test_link_to_itself(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW)
    (tree / "gamma" / "results" / NAME).unlink()
    (tree / "gamma" / "results" / NAME).symlink_to(NAME)
    rows, problems = read_beside_good(tree)
    assert rows == []
    check_reported(problems, "", "cannot be read")
    check_strict(tree)
    check_exit_code(tree)


def test_link_to_nowhere(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW)
    (tree / "gamma" / "results" / NAME).unlink()
    (tree / "gamma" / "results" / NAME).symlink_to("gone.json")
    rows, problems = read_beside_good(tree)
    assert rows == []
    check_reported(problems, "", "cannot be read: .*No such file")
    check_strict(tree)


def test_folder_that_contains_itself(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW)
    (tree / "gamma" / "results" / "up").symlink_to("..")
    assert read_beside_good(tree) == (SOUND, [])


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by a patch: permissions do not stop the superuser, who runs tests in containers."""
    tree = put(tmp_path, RAW)
    opened = os.open

    def refuse(path: str, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith(NAME):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    rows, problems = read_beside_good(tree)
    assert rows == []
    check_reported(problems, "", "cannot be read: .*Permission denied")
    check_strict(tree)
    check_exit_code(tree)


def test_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = put(tmp_path, RAW)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "gamma":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    rows, problems = read_beside_good(tree, "tree/gamma")
    assert rows == []
    check_reported(problems, "", "cannot be read: .*Permission denied")


def test_reasons_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW, f"{NAME}.gz")
    (tree / "gamma" / "results" / "scores_gone.json").symlink_to("gone.json")
    problems = plain(bm.read_results(tree)[1])
    assert len(problems) == 2
    assert [problem for problem in problems if str(tmp_path) in problem["reason"]] == []


def test_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW)
    old = tree / "gamma" / "results" / NAME
    new = os.fsencode(old.parent) + b"/scores_\xff.json"
    try:
        os.rename(old, new)  # noqa: PTH104 - a name in bytes
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    rows = [r for r in plain(bm.read_results(tree)[0]) if r["task"] == "gamma"]
    assert [row["score"] for row in rows] == [row["score"] for row in SOUND]


# Repetitions and contradictions ---------------------------------------------------------------


def test_entry_twice_in_a_file(tmp_path: Path) -> None:
    one, two = DOCUMENT["scores"]
    tree = put(tmp_path, json.dumps(DOCUMENT | {"scores": [one, two, one]}).encode())
    rows, problems = read_beside_good(tree)
    assert rows == SOUND
    check_reported(
        problems,
        "gamma, exact_str_match, bad, 0 shots",
        re.escape("2 score(s) repeat those of the same file: dropped"),
    )
    check_strict(tree)
    check_exit_code(tree)


@pytest.mark.parametrize("copies", [1, 2])
def test_same_file_copied(tmp_path: Path, copies: int) -> None:
    tree = put(tmp_path, RAW)
    names = [f"tree/zeta {number}/results/{NAME}" for number in range(copies)]
    for name in names:
        write_json(tmp_path / name, DOCUMENT)
    observations, problems = bm.read_results(tree)
    assert [row for row in plain(observations) if row["task"] == "gamma"] == SOUND
    assert {(p["source"], p["reason"], p["severity"]) for p in plain(problems)} == {
        (name, f"4 score(s) repeat those of {BAD}: dropped", "warning") for name in names
    }
    check_strict(tree, names[0])
    check_exit_code(tree)


def test_same_key_another_score_is_kept_as_replicate(tmp_path: Path) -> None:
    tree = put(tmp_path, RAW)
    name = f"tree/zeta/results/{NAME}"
    other = changed(DOCUMENT, "scores[0].score_dict.exact_str_match", 0.5)
    write_json(tmp_path / name, other)
    observations, problems = bm.read_results(tree)
    rows = [row for row in plain(observations) if row["task"] == "gamma"]
    expected = [
        SOUND[0] | {"replicate": "unexplained 1"},
        *SOUND[1:],
        SOUND[0] | {"score": 0.5, "source": name, "replicate": "unexplained 2"},
    ]
    assert rows == expected
    assert {problem["reason"] for problem in plain(problems)} == {
        f"1 score(s) differ from those of {BAD} for the same model: kept as replicates",
        f"3 score(s) repeat those of {BAD}: dropped",
    }
    check_strict(tree, name)
    check_exit_code(tree)


def test_three_scores_of_one_key_two_of_them_equal(tmp_path: Path) -> None:
    scores = [0.25, 0.5, 0.25, 0.75]
    entries = [entry(score_dict={"m": s}, preferred_score="m") for s in scores]
    write_json(tmp_path / "one.json", score_file(scores=entries))
    rows = plain(bm.read_results(tmp_path / "one.json")[0])
    assert [(row["replicate"], row["score"]) for row in rows] == [
        ("unexplained 1", 0.25),
        ("unexplained 2", 0.5),
        ("unexplained 3", 0.75),
    ]


def test_order_of_files_does_not_change_what_is_kept(tmp_path: Path) -> None:
    other = changed(DOCUMENT, "scores[0].score_dict.exact_str_match", 0.5)
    paths = [write_json(tmp_path / f"{n}.json", d) for n, d in enumerate((DOCUMENT, other))]
    found = [
        sorted((row["metric"], row["shots"], row["score"]) for row in plain(observations))
        for observations, _ in (bm.read_results(paths), bm.read_results(paths[::-1]))
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 5


@pytest.mark.parametrize(
    ("field", "usual", "odd", "reason"),
    [
        ("preferred_score", "exact_str_match", "bleu", "'bleu', but 'exact_str_match' in {usual}"),
        ("low_score", 0.0, 0.5, "0.5, but 0.0 in {usual}"),
        ("high_score", 1.0, 100.0, "100.0, but 1.0 in {usual}"),
    ],
)
def test_files_that_disagree(tmp_path: Path, field: str, usual: Any, odd: Any, reason: str) -> None:
    values = {"1m": usual, "8m": odd, "64m": usual}
    documents = [
        score_file(task_name="gamma", model_name=name, **{field: value})
        for name, value in values.items()
    ]
    write_tree(tmp_path / "tree", documents)
    observations, problems = bm.read_results(tmp_path / "tree")
    source = "tree/gamma/results/scores_Fam_{}.json".format
    assert plain(problems) == [
        {
            "source": source("8m"),
            "field": f"{field} of gamma",
            "reason": reason.format(usual=source("1m")),
            "severity": "warning",
        }
    ]
    # Nothing is changed: each file's rows are as the file says.
    expected = [
        row
        for name in sorted(values)
        for document in documents
        if document["model"]["model_name"] == name
        for row in expected_rows(document, source(name))
    ]
    assert plain(observations) == expected
    check_strict(tmp_path / "tree", source("8m"))
    check_exit_code(tmp_path / "tree")


def test_subtasks_may_differ_in_what_they_prefer(tmp_path: Path) -> None:
    entries = [
        entry(subtask_description="a", low_score=0.0),
        entry(subtask_description="b", preferred_score="bleu", low_score=3.0, high_score=90.0),
    ]
    _, problems = bm.read_results(write_json(tmp_path / "one.json", score_file(scores=entries)))
    assert plain(problems) == []


# Anything at all ------------------------------------------------------------------------------

TOKENS = [
    b"NaN", b"null", b"true", b"-1", b"1e400", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\ud800",
    b"\\u0000", b"\xff", b"\x00", b"\\", b"9" * 30, b"-0", b"1.5", b"\xef\xbb\xbf", b" ", b"",
]  # fmt: skip
edits = st.lists(
    st.tuples(
        st.integers(0, len(RAW)),  # where
        st.integers(0, 8),  # how many bytes go
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3)),  # what comes
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def damaged_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("mutated"), RAW)


@given(edits=edits)
def test_no_mutation_harms_the_files_beside(
    damaged_tree: Path, edits: list[tuple[int, int, bytes]]
) -> None:
    content = bytearray(RAW)
    for where, length, new in edits:
        content[where : where + length] = new
    (damaged_tree / "gamma" / "results" / NAME).write_bytes(content)
    rows, problems = read_beside_good(damaged_tree)
    assert len(rows) <= 2 * len(SOUND)
    # Whatever is missing from the four rows is reported, unless the document says so soundly.
    if len(rows) < len(SOUND) and not problems:
        document = json.loads(content)
        assert sum(len(one["score_dict"]) for one in document["scores"]) == len(rows)
