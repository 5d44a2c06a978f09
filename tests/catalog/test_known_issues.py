"""The registry of known issues: what it says, what it touches, and what it excludes."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.catalog.known_issues import (
    CONDITIONS,
    NAMES,
    KnownIssue,
    KnownIssues,
    affected,
    check_known_issues,
    exclude_known_issues,
    known_issues,
)
from bigbench_meta.catalog.published import bigbench_tasks, data_path
from bigbench_meta.cli.main import main
from bigbench_meta.core.errors import InputError, SchemaError
from bigbench_meta.core.schema import CURVE_KEY, OBSERVATIONS, SAMPLES, conform, to_frame
from bigbench_meta.readers import load_embedded

HEADER = "id,task,level,where,effect"


def scores(*rows, **common):
    """Return an observations table of a row each, with what is needed filled in."""
    filled = {
        "benchmark": "BIG-bench", "task": "t", "metric": "m", "model_family": "f",
        "model_name": "1b", "score": 0.5,
    }  # fmt: skip
    return pd.DataFrame([filled | common | row for row in rows])


def samples(*rows, **common):
    """Return a samples table, with the types that the store gives."""
    filled = {"benchmark": "BIG-bench", "task": "t", "model_family": "f", "model_name": "1b"}
    plain = [filled | {"example_id": str(number)} | common | row for number, row in enumerate(rows)]
    return to_frame(pa.Table.from_pylist(plain, schema=SAMPLES.arrow))


def registry(*issues):
    texts = ({"id": f"i{number}", "effect": "e"} | issue for number, issue in enumerate(issues))
    return KnownIssues(tuple(KnownIssue(**text) for text in texts))


def touched(table, issue, level="scores"):
    """Return the positions of the rows that are left out for one issue."""
    numbered = table.set_axis(range(len(table)))
    own = registry({"level": level} | issue)
    kept, _ = exclude_known_issues(numbered, issues=own, level=level)
    return sorted(set(range(len(table))) - set(kept.index))


@pytest.fixture
def read(tmp_path):
    def read_lines(*lines, encoding="utf-8"):
        path = tmp_path / "own.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return KnownIssues.read(path)

    return read_lines


# --- The packaged registry ---

PACKAGED = known_issues().issues


def test_packaged_registry_is_in_order():
    ids = known_issues().ids
    assert list(ids) == sorted(set(ids))
    assert {
        "arithmetic-one-target-duplicates", "context-definition-alignment-zeros",
        "high-low-game-sign", "logs-without-targets", "periodic-elements-query-counts",
    } <= set(ids)  # fmt: skip


def test_packaged_issues_say_what_where_and_how_they_were_checked():
    for issue in PACKAGED:
        assert re.fullmatch(r"https://\S+", issue.source), issue.id
        assert issue.checked, issue.id
        assert issue.effect.endswith("."), issue.id
        assert issue.benchmark, issue.id
        assert issue.task, issue.id


def test_packaged_patterns_fit_names_that_exist():
    tasks = bigbench_tasks()
    names_of = {
        "BIG-bench": {
            "task": set(tasks["task"]),
            # Programs name their subtasks themselves.
            "subtask": {*tasks["subtask"], "Evidence of BIG-bench git commit hashes in training"},
            "metric": {*tasks["metrics"].str.split(";").explode(), "full", "relative_score",
                       "recall", "precision", "one_player", "one_player_third_person", "0", "100"},
        },
        "gpt3": {"task": set(load_embedded()["task"])},
        "lm-eval": {"task": {"drop"}},
    }  # fmt: skip
    for issue in PACKAGED:
        named = names_of[issue.benchmark]
        for name, patterns in issue.patterns.items():
            for pattern in patterns if name in named else ():
                assert [one for one in named[name] if fnmatchcase(one, pattern)], (
                    issue.id,
                    pattern,
                )


def test_packaged_file_is_what_is_read():
    frame = pd.read_csv(data_path("known_issues.csv"), dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(known_issues().to_frame(), frame)


BIG_BENCH = {"benchmark": "BIG-bench", "model_family": "BIG-G T=0"}


@pytest.mark.parametrize(
    ("name", "spoiled", "sound"),
    [
        (
            "arc-human-zero",
            {"task": "abstraction_and_reasoning_corpus", "model_family": "Human", "score": 0.0},
            [{"model_family": "BIG-G T=0"}, {"score": 0.1}],
        ),
        (
            "context-definition-alignment-zeros",
            {"task": "context_definition_alignment", "score": 0.0},
            [{"score": 0.14}, {"score": float("nan")}, {"task": "arithmetic"}],
        ),
        ("date-understanding-wrong-keys", {"task": "date_understanding"}, [{"task": "x"}]),
        (
            "gpt3-piqa-contamination",
            {"benchmark": "gpt3", "task": "PIQA"},
            [{"benchmark": "lm-eval"}, {"task": "RACE h"}],
        ),
        (
            "gpt3-winograd-contamination",
            {"benchmark": "gpt3", "task": "Winograd"},
            [{"task": "Winogrande"}],
        ),
        (
            "high-low-game-distances",
            {"task": "high_low_game", "metric": "37", "score": 5.0},
            [{"metric": "full", "score": -5.0}],
        ),
        (
            "high-low-game-sign",
            {"task": "high_low_game", "metric": "full", "score": 25.0},
            [{"score": -25.0}, {"score": 0.0}],
        ),
        (
            "list-functions-shot-baselines",
            {"task": "list_functions", "subtask": "list_functions:03_shot_baseline"},
            [{"subtask": "list_functions:c001"}],
        ),
        ("list-functions-shot-baselines", {"task": "list_functions"}, []),
        (
            "lm-eval-drop-full-stop",
            {"benchmark": "lm-eval", "task": "drop", "metric": "f1"},
            [{"benchmark": "gpt3"}],
        ),
        (
            "roots-third-person-undivided",
            {"task": "roots_optimization_and_games", "metric": "one_player"},
            [{"metric": "poly_1"}],
        ),
        ("self-evaluation-courtroom-one-case", {"task": "self_evaluation_courtroom"}, []),
        (
            "simple-arithmetic-undivided",
            {"task": "simple_arithmetic", "score": 7.0, "high_score": 1.0},
            [{"score": 1.0}, {"high_score": None}],
        ),
        (
            "spelling-bee-repeats",
            {"task": "spelling_bee", "metric": "relative_score"},
            [{"metric": "num_incorrect"}],
        ),
        (
            "training-on-test-set-hashes",
            {
                "task": "training_on_test_set",
                "subtask": "Evidence of BIG-bench git commit hashes in training data.",
                "score": float("-inf"),
            },
            [{"score": -1.2}, {"subtask": "Evidence of BIG-bench canary guid in training data."}],
        ),
    ],
)
def test_packaged_issue_touches_what_is_spoiled_and_no_more(name, spoiled, sound):
    issue = known_issues().select([name])
    assert affected(scores(BIG_BENCH | spoiled), issues=issue)["id"].tolist() == [name]
    for change in sound:
        assert affected(scores(BIG_BENCH | spoiled | change), issues=issue).empty, change


CHOICES = {"targets": ["1", "2", "11"], "target_values": [0.0, 0.0, 1.0], "correct": 1.0}


@pytest.mark.parametrize(
    ("name", "spoiled", "sound"),
    [
        (
            "arithmetic-one-target-duplicates",
            {"task": "arithmetic", "targets": ["11"], "target_values": [1.0], "correct": 0.0},
            # A generation has one target too, of no stated worth.
            [CHOICES, {"target_values": None}, {"task": "x"}],
        ),
        (
            "context-definition-alignment-zeros",
            {"task": "context_definition_alignment", "correct": 0.0},
            [{"correct": 1.0}, {"correct": None}],
        ),
        ("date-understanding-wrong-keys", {"task": "date_understanding"} | CHOICES, []),
        ("logs-without-targets", {"task": "sudoku", "targets": []}, [{"targets": ["4"]}]),
        ("logs-without-targets", {"task": "sudoku", "targets": None}, [{"task": "arithmetic"}]),
        ("periodic-elements-query-counts", {"task": "periodic_elements"}, []),
        (
            "physics-questions-empty-item",
            {"task": "physics_questions", "targets": [""]},
            [{"targets": ["9.8"]}, {"targets": []}, {"targets": None}],
        ),
    ],
)
def test_packaged_issue_touches_spoiled_samples_and_no_more(name, spoiled, sound):
    issue = known_issues().select([name])
    found = affected(samples(BIG_BENCH | spoiled), issues=issue, level="samples")
    assert found["id"].tolist() == [name]
    for change in sound:
        table = samples(BIG_BENCH | spoiled | change)
        assert affected(table, issues=issue, level="samples").empty, change


@pytest.mark.parametrize(
    "name",
    [issue.id for issue in PACKAGED if issue.level == "samples"],
)
def test_an_issue_of_samples_leaves_scores_alone(name):
    """The doubled questions of arithmetic, say, are not in its scores."""
    (issue,) = known_issues().select([name]).issues
    tables = [scores({"task": task}) for task in issue.task.split(";")]
    kept, left_out = exclude_known_issues(pd.concat(tables), issues=[name])
    assert len(kept) == len(tables)
    assert left_out.empty


def test_embedded_scores():
    left_out = exclude_known_issues(load_embedded())[1]
    assert left_out[["id", "n_rows", "n_curves"]].to_numpy().tolist() == [
        ["gpt3-piqa-contamination", 24, 3],  # 8 models, 3 numbers of shots
        ["gpt3-winograd-contamination", 24, 3],
    ]


# --- Claims that BIG-bench's source distribution can prove ---


@pytest.fixture(scope="module")
def tasks_folder():
    setting = os.environ.get("BIGBENCH_SDIST", "")
    roots = [Path(setting), *sorted(Path(setting).glob("bigbench-*"))] if setting else []
    for root in roots:
        if (folder := root / "bigbench" / "benchmark_tasks").is_dir():
            return folder
    pytest.skip("BIGBENCH_SDIST names no extracted bigbench 1.0.0")


def examples(folder, *place):
    return json.loads(folder.joinpath(*place, "task.json").read_text(encoding="utf-8"))["examples"]


@pytest.mark.full
def test_dates_that_are_wrong(tasks_folder):
    questions = examples(tasks_folder, "date_understanding")
    today = {"2015 is coming": "12/30/2014", "US Thanksgiving of 2001": "11/22/2001",
             "5-year anniversary": "01/02/1963"}  # fmt: skip
    wrong = [
        one
        for one in questions
        for story, date in today.items()
        if story in one["input"]
        # Every answer of a story is off by as much as that to "the date today".
        and date not in _right_answers(questions, story)
    ]
    assert (len(wrong), len(questions)) == (27, 369)


def _right_answers(questions, story):
    (first,) = [q for q in questions if story in q["input"] and " date today " in q["input"]]
    return [answer for answer, worth in first["target_scores"].items() if worth]


@pytest.mark.full
def test_physics_question_that_is_empty(tasks_folder):
    questions = examples(tasks_folder, "physics_questions")
    empty = [n for n, one in enumerate(questions) if not one["input"] and not one["target"]]
    assert empty == [0]
    assert len(questions) == 54


@pytest.mark.full
def test_examples_inside_the_prompts_of_list_functions(tasks_folder):
    folders = sorted((tasks_folder / "list_functions").glob("*_shot_baseline"))
    inside = {len(re.findall("A:", one["input"])) for one in examples(folders[3])}
    assert (len(folders), folders[3].name, inside) == (11, "03_shot_baseline", {3})
    assert len(list((tasks_folder / "list_functions").glob("c[0-9]*"))) == 250


@pytest.mark.full
def test_tasks_without_targets_are_programs(tasks_folder):
    (issue,) = known_issues().select(["logs-without-targets"]).issues
    tasks = issue.task.split(";")
    assert len(tasks) == 22
    assert [one for one in tasks if not (tasks_folder / one / "task.py").is_file()] == []


@pytest.mark.full
def test_level_of_guessing_in_context_definition_alignment(tasks_folder):
    for path in sorted((tasks_folder / "context_definition_alignment").glob("CoDA-*.json")):
        groups = json.loads(path.read_text(encoding="utf-8"))
        for kind in ("n", "v"):
            guessing = np.mean([1 / len(group["candidates"]) for group in groups[kind]])
            assert 0.135 < guessing < 0.165


# --- A user's own registry ---


def test_least_registry(read):
    own = read(HEADER, "mine,t*,scores,,bad")
    assert own.issues == (KnownIssue(id="mine", task="t*", level="scores", effect="bad"),)
    assert own.ids == ("mine",)


def test_blank_lines_and_spaces_are_skipped(read):
    own = read(HEADER, "", " a-1 , x ; y;; ,samples, zero , bad ", ",,,,", "b,x,both,,bad", "")
    assert own.ids == ("a-1", "b")
    assert own.issues[0].patterns == {"task": ("x", "y")}
    assert own.issues[0].where == "zero"


def test_byte_order_mark_of_a_spreadsheet(read):
    assert read(HEADER, "a,t,scores,,bad", encoding="utf-8-sig").ids == ("a",)


def test_empty_registry(read):
    own = read(HEADER)
    assert own.ids == ()
    assert list(own.to_frame()) == list(known_issues().to_frame())
    assert affected(load_embedded(), issues=own).empty


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.replace("id,", ""), "t,scores,,e"], "own.csv: missing column id\nHint: the col"),
        (["name"], "own.csv: missing column id, level, effect"),
        ([HEADER + ",metrics", "a,t,scores,,e,m"], "own.csv: unknown column 'metrics'\nHint: .*id"),
        ([HEADER + ",task", "a,t,scores,,e,u"], r"own.csv: unknown column 'task.1'"),
        (
            [HEADER, "", "A,t,scores,,e"],
            "line 3: id: 'A' is not a name of an issue\n.*small",
        ),
        ([HEADER, ",t,scores,,e"], "own.csv, line 2: id: '' is not a name"),
        ([HEADER, "all,t,scores,,e"], "own.csv, line 2: id: 'all' is not a name"),
        ([HEADER, "a--b,t,scores,,e"], "own.csv, line 2: id: 'a--b' is not a name"),
        (
            [HEADER, "a,t,scores,,e", "b,t,scores,,e", "a,u,scores,,e"],
            "own.csv, line 4: id: 'a' twice",
        ),
        (
            [HEADER, "a,t,score,,e"],
            "own.csv, line 2: level: 'score' is not a level\nHint: one of scores, samples, both",
        ),
        (
            [HEADER, "a,t,scores,one_choice,e"],
            "own.csv, line 2: where: 'one_choice' is not a condition on scores\nHint: .*positive",
        ),
        (
            [HEADER, "a,t,both,positive,e"],
            "where: 'positive' is not a condition on scores and samples\n.* or one of zero$",
        ),
        (
            [HEADER + ",metric", "a,t,both,,e,acc"],
            "own.csv, line 2: metric: samples have no metric\nHint: leave it empty",
        ),
        ([HEADER, "a,t,scores,,"], "own.csv, line 2: effect: must not be empty"),
        ([HEADER, "a,;,scores,,e"], "own.csv, line 2: task: this entry touches everything\n.*task"),
        ([HEADER, 'a,t,scores,,"e', 'f"'], r"line 2: effect: not one line of plain text: 'e\\nf'"),
        ([HEADER, "a,t,scores,,\x1b[31m"], r"effect: not one line of plain text: '\\x1b"),
        ([HEADER, "a,t,scores,,e,f", "b,t,scores,,e,f"], "own.csv, line 2: more values than col"),
    ],
)
def test_bad_registry(read, lines, message):
    with pytest.raises(InputError, match=message):
        read(*lines)


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        ([], "utf-8"),
        ([HEADER, "a,t,scores,,e", "b,t,scores,,e,too,many"], "utf-8"),
        ([HEADER, "a,ä,scores,,e"], "latin-1"),
    ],
)
def test_unreadable_registry(read, lines, encoding):
    with pytest.raises(InputError, match=r"own.csv: cannot be read( as CSV)?: ."):
        read(*lines, encoding=encoding)


@pytest.mark.parametrize("name", ["none.csv", ".", "a\0b", "n" * 5000])
def test_no_such_registry(tmp_path, name):
    with pytest.raises(InputError, match="cannot be read: "):
        KnownIssues.read(tmp_path / name)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_any_text_is_read_or_refused(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "own.csv"
    path.write_bytes("\n".join([HEADER, *lines]).encode("utf-8", "surrogatepass"))
    with suppress(InputError):
        assert isinstance(KnownIssues.read(path), KnownIssues)


def test_select():
    both = registry({}, {}, {})
    assert both.select(["i2", "i0", "i2"]).ids == ("i0", "i2")
    assert both.select("i1").ids == ("i1",)
    assert both.select([]).ids == ()


@pytest.mark.parametrize("function", [affected, exclude_known_issues])
def test_unknown_ids(function):
    every = re.escape(", ".join(known_issues().ids))
    with pytest.raises(InputError, match=f"no known issue 'x', 'y'\nHint: known are {every}$"):
        function(load_embedded(), issues=["x", "high-low-game-sign", "y"])


def test_unknown_ids_of_an_own_registry():
    with pytest.raises(InputError, match=r"no known issue 'i7'\nHint: known are i0$"):
        check_known_issues(scores({}), issues=registry({}), exclude=["i7"])
    with pytest.raises(InputError, match=r"Hint: known are none$"):
        check_known_issues(scores({}), issues=registry(), exclude=["i7"])


@pytest.mark.parametrize("level", ["score", "", "both", None])
def test_unknown_level(level):
    with pytest.raises(InputError, match=r"level: .* is not a level\nHint: one of scores, samples"):
        affected(scores({}), level=level)


# --- Which rows ---


@pytest.mark.parametrize(
    ("issue", "expected"),
    [
        ({"task": "tea"}, [0, 1, 4]),
        ({"task": "t*"}, [0, 1, 2, 4]),
        ({"task": "T*"}, []),  # patterns mind case
        ({"task": "[tc]*"}, [0, 1, 2, 3, 4]),
        ({"task": "coffee; toast"}, [2, 3]),
        ({"task": "t*", "metric": "acc"}, [0, 2]),
        ({"task": "t*", "metric": "acc;ppl", "model_family": "g"}, [1]),
        ({"benchmark": "other"}, [4]),
        ({"subtask": "tea:*"}, [1]),
        ({"subtask": "tea"}, [0, 4]),
        ({"benchmark": "none", "task": "tea"}, []),
    ],
)
@pytest.mark.parametrize("dtype", ["object", "category", "str", "dictionary"])
def test_patterns(issue, expected, dtype):
    table = scores(
        {"task": "tea", "metric": "acc"},
        {"task": "tea", "subtask": "tea:green", "metric": "ppl", "model_family": "g"},
        {"task": "toast", "metric": "acc"},
        {"task": "coffee", "metric": "f1"},
        {"task": "tea", "benchmark": "other", "metric": "f1"},
    )
    names = {name: table[name] for name in NAMES}
    if dtype == "dictionary":
        arrow = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
        coded = {n: pa.array(c, from_pandas=True).dictionary_encode() for n, c in names.items()}
        names = {n: pd.Series(pd.array(c.cast(arrow.pyarrow_dtype), dtype=arrow))
                 for n, c in coded.items()}  # fmt: skip
    else:
        names = {name: column.astype(dtype) for name, column in names.items()}
    assert touched(table.assign(**names), issue) == expected


NAME = st.sampled_from(["a", "ab", "b", "A", "a[1]", ""])
PATTERN = st.sampled_from(["", "a", "a*", "?b", "[ab]", "*", "x", "a;b", "A;x"])


@given(
    st.lists(st.tuples(NAME, NAME, NAME, st.none() | NAME), max_size=8),
    st.lists(st.tuples(PATTERN, PATTERN, PATTERN, PATTERN), min_size=1, max_size=3),
)
def test_equals_a_loop_over_rows(rows, issues):
    columns = ("task", "metric", "model_family", "subtask")
    table = pd.DataFrame(rows, columns=list(columns)).assign(
        benchmark="b", model_name="m", score=0.0, subtask=lambda f: f["subtask"].astype(object)
    )
    own = registry(*(dict(zip(columns, issue, strict=True)) for issue in issues))
    # An empty subtask is the task itself.
    named = table.assign(subtask=table["subtask"].fillna(table["task"]))

    def fits(row, issue):
        return all(
            not getattr(issue, name)
            or any(fnmatchcase(row[name], part) for part in getattr(issue, name).split(";"))
            for name in columns
        )

    hit = [[fits(row, issue) for row in named.to_dict("records")] for issue in own.issues]
    kept, found = exclude_known_issues(table, issues=own)
    expected = [not any(of_row) for of_row in zip(*hit, strict=True)] if rows else []
    assert kept.index.tolist() == [n for n, keep in enumerate(expected) if keep]
    keys = named[["task", "metric", "model_family", "subtask"]].to_numpy().tolist()
    assert found[["id", "n_rows", "n_curves"]].to_numpy().tolist() == [
        [issue.id, sum(its), len({tuple(key) for key, one in zip(keys, its, strict=True) if one})]
        for issue, its in zip(own.issues, hit, strict=True)
        if any(its)
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ("positive", [0, 1, 4, 5]),
        ("zero", [2]),
        # 1 is above 0.9, and 0, 2 and 4 are of its family; 5 has no declared high score.
        ("above_high_in_family", [0, 1, 2, 4]),
        ("infinite_in_family", [3, 5]),
    ],
)
def test_conditions_on_scores(where, expected):
    table = scores(
        {"score": 0.5, "high_score": 0.9},
        {"score": 1.5, "high_score": 0.9},
        {"score": 0.0, "high_score": 0.9},
        {"score": float("nan"), "high_score": 0.9, "model_family": "g"},
        {"score": 0.1, "high_score": None, "metric": "other"},
        {"score": float("inf"), "high_score": None, "model_family": "g"},
        {"score": 9.0, "high_score": 1.0, "task": "another"},
    )
    assert set(CONDITIONS["scores"]) >= {where} - {""}
    assert touched(table, {"task": "t", "where": where}) == expected


def test_a_family_of_another_task_or_benchmark_is_not_drawn_in():
    table = scores(
        {"score": 2.0}, {"score": 0.1}, {"score": 0.2, "task": "u"},
        {"score": 0.3, "benchmark": "c"}, high_score=1.0,
    )  # fmt: skip
    assert touched(table, {"where": "above_high_in_family"}) == [0, 1]


def test_a_condition_needs_no_column_that_may_be_missing():
    assert touched(scores({"score": 7.0}), {"task": "t", "where": "above_high_in_family"}) == []
    bare = samples({}).drop(columns=["targets", "target_values", "correct", "metrics"])
    assert touched(bare, {"task": "t", "where": "one_choice"}, "samples") == []
    assert touched(bare, {"task": "t", "where": "no_targets"}, "samples") == [0]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("one_choice", [1]),
        ("no_targets", [3, 4]),
        ("empty_target", [5, 6]),
        ("zero", [1, 6]),
    ],
)
@pytest.mark.parametrize("form", ["arrays", "lists"])
def test_conditions_on_samples(where, expected, form):
    table = samples(
        {"targets": ["1", "2"], "target_values": [0.0, 1.0], "correct": 1.0},
        {"targets": ["1"], "target_values": [1.0], "correct": 0.0},
        {"targets": ["1"], "target_values": None, "correct": None},
        {"targets": []},
        {"targets": None},
        {"targets": [" "]},
        {"targets": ["", "\t"], "correct": 0.0},
        {"targets": ["", "x"], "metrics": [("f1", 0.5)]},
    )
    if form == "lists":
        for name in ("targets", "target_values"):
            table[name] = [None if one is None else list(one) for one in table[name]]
    assert touched(table, {"task": "t", "where": where}, "samples") == expected


def test_condition_of_each_level():
    """One entry for both tables looks at the score of one and at the mark of the other."""
    own = {"task": "t", "level": "both", "where": "zero"}
    assert touched(scores({"score": 0.0}, {"score": 1.0}), own) == [0]
    assert touched(samples({"correct": 1.0}, {"correct": 0.0}), own, "samples") == [1]


def test_a_missing_subtask_is_the_task():
    issue = {"subtask": "*"}
    assert touched(scores({"subtask": None}, {"subtask": "s"}), issue) == [0, 1]
    both = issue | {"level": "both"}
    assert touched(samples({"subtask": None}, {"subtask": "s"}), both, "samples") == [0, 1]


# --- What is found and what is kept ---


def test_counts_of_rows_and_curves():
    sizes = [{"model_name": name} for name in "123"]
    table = pd.concat(
        [
            scores(*sizes, metric="acc"),
            scores(*sizes, metric="acc", subtask="t"),  # the same curve: its aggregate, named
            scores(*sizes, metric="f1", shots=1),
            scores(*sizes, metric="f1", shots=2),
            scores(*sizes, metric="f1", task="u"),
        ]
    )
    own = registry({"task": "t"}, {"metric": "f1"}, {"task": "v"})
    found = affected(table, issues=own)
    assert list(found) == ["id", "task", "n_rows", "n_curves", "effect", "source"]
    assert found.to_numpy().tolist() == [["i0", "t", 12, 3, "e", ""], ["i1", "", 9, 3, "e", ""]]
    findings = check_known_issues(table, issues=own)[1]
    assert (findings.n_rows, findings.n_curves, findings.n_all_curves) == (15, 4, 4)
    assert len(bm.build_curves(table.assign(total_params=1)).keys) == 4


def test_samples_are_counted_without_the_metric():
    table = samples({}, {}, {"shots": 1}, {"task": "u"})
    found = affected(table, issues=registry({"task": "t", "level": "samples"}), level="samples")
    assert found[["n_rows", "n_curves"]].to_numpy().tolist() == [[3, 2]]
    assert "metric" in CURVE_KEY


def test_what_is_left_keeps_its_types_and_index():
    table = to_frame(conform(load_embedded(), OBSERVATIONS))
    table = table.set_axis(range(1000, 1000 + len(table)))
    kept, left_out = exclude_known_issues(table)
    pd.testing.assert_frame_equal(kept, table[~table["task"].isin(["PIQA", "Winograd"])])
    assert left_out["n_rows"].sum() == len(table) - len(kept) == 48


def test_the_table_that_was_given_stays_as_it_was():
    table = scores({}, {"task": "u"})
    before = table.copy()
    for exclude in (False, True):
        kept, _ = check_known_issues(table, issues=registry({"task": "t"}), exclude=exclude)
        kept["score"] = -1.0
        pd.testing.assert_frame_equal(table, before)


def test_excluding_some():
    table = scores({}, {"task": "u"}, {"task": "v"})
    own = registry({"task": "t"}, {"task": "u;v"}, {"task": "w"})
    kept, findings = check_known_issues(table, issues=own, exclude=["i0"])
    assert kept["task"].tolist() == ["u", "v"]
    assert findings.affected["excluded"].tolist() == [True, False]
    assert (findings.n_rows, findings.n_rows_excluded) == (3, 1)
    assert (findings.n_curves, findings.n_curves_excluded, findings.n_curves_left) == (3, 1, 2)
    assert findings.excluded


def test_asking_in_vain():
    kept, findings = check_known_issues(scores({}), issues=registry({"task": "x"}), exclude=True)
    assert (len(kept), findings.excluded, findings.summary) == (1, True, "")


EXCLUDED = "excluded for known issues: "
FURTHER = "1 further known issue touches 1 of 3 curves"


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (False, "2 known issues touch 2 of 3 curves"),
        (["i0"], f"{EXCLUDED}1 row of 1 of 3 curves: i0 (1 row, 1 curve); {FURTHER}"),
        (["i1"], f"{EXCLUDED}2 rows of 2 of 3 curves: i1 (2 rows, 2 curves)"),
        (
            True,
            f"{EXCLUDED}2 rows of 2 of 3 curves: i0 (1 row, 1 curve), i1 (2 rows, 2 curves)",
        ),
    ],
)
def test_summary(exclude, expected):
    table = scores({}, {"task": "u"}, {"task": "v"})
    own = registry({"task": "t"}, {"task": "t;u"})
    assert check_known_issues(table, issues=own, exclude=exclude)[1].summary == expected


def test_summary_of_one():
    findings = check_known_issues(scores({}), issues=registry({"task": "t"}))[1]
    assert findings.summary == "1 known issue touches 1 of 1 curve"


@pytest.mark.parametrize("level", ["scores", "samples"])
def test_nothing_at_all(level):
    table = to_frame({"scores": OBSERVATIONS, "samples": SAMPLES}[level].empty())
    kept, left_out = exclude_known_issues(table, level=level)
    assert len(kept) == len(left_out) == 0
    assert list(kept) == list(table)
    assert list(left_out) == ["id", "task", "n_rows", "n_curves", "effect", "source"]


@pytest.mark.parametrize(
    ("table", "level", "message"),
    [
        (scores({}).drop(columns="task"), "scores", "observations: missing column task"),
        (scores({}), "samples", "samples: missing column example_id"),
        (samples({}), "scores", "observations: missing column metric, score"),
        (scores({"score": "high"}), "scores", "observations.score: .*'high'"),
        (
            pd.concat([scores({}), scores({})[["task"]]], axis=1),
            "scores",
            "observations: column given twice: task",
        ),
    ],
)
def test_no_such_table(table, level, message):
    with pytest.raises(SchemaError, match=message):
        affected(table, level=level)


# --- The study and the command line ---


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result


TOUCHED = "2 known issues touch 6 of 189 curves; see --exclude-known-issues\n"
PIQA = "gpt3-piqa-contamination"


COMMANDS = {
    "score": ["score"],
    "analyze": ["analyze", "--no-inference", "--embedded", "gpt3"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_names_issues_without_being_asked(command):
    result = run(*COMMANDS[command], "--json")
    found = json.loads(result.stdout)
    assert found["n_curves"] == 189
    issues = found["known_issues"]
    assert {name: value for name, value in issues.items() if name != "affected"} == {
        "excluded": False, "n_rows": 48, "n_curves": 6, "n_rows_excluded": 0,
        "n_curves_excluded": 0,
    }  # fmt: skip
    expected = affected(load_embedded()).to_dict("records")
    assert issues["affected"] == [row | {"excluded": False} for row in expected]
    assert result.stderr == run(*COMMANDS[command]).stderr == TOUCHED


@pytest.mark.parametrize(
    ("command", "switch"),
    [("score", ""), ("score", "=all"), ("analyze", "")],
)
def test_command_excludes(command, switch):
    result = run(*COMMANDS[command], f"--exclude-known-issues{switch}", "--json")
    found = json.loads(result.stdout)
    assert found["n_curves"] == 183
    assert found["known_issues"]["excluded"]
    assert found["known_issues"]["n_curves_excluded"] == 6
    assert [row["excluded"] for row in found["known_issues"]["affected"]] == [True, True]
    assert "excluded for known issues: 48 rows of 6 of 189 curves: gpt3-piqa" in result.stderr
    assert "see --exclude" not in result.stderr


def test_left_out_curves_are_not_scored():
    every = {c["task"] for c in json.loads(run("score", "--json").stdout)["curves"]}
    some = json.loads(run("score", f"--exclude-known-issues={PIQA}", "--json").stdout)
    assert every - {c["task"] for c in some["curves"]} == {"PIQA"}
    assert [row["excluded"] for row in some["known_issues"]["affected"]] == [True, False]


def test_switch_before_the_results(tmp_path):
    path = tmp_path / "scores.csv"
    scores({"task": "date_understanding"}, {}).to_csv(path, index=False)
    for order in ([path, "--exclude-known-issues"], ["--exclude-known-issues", path]):
        found = json.loads(run("score", *order, "--json").stdout)
        assert [curve["task"] for curve in found["curves"]] == ["t"]


@pytest.mark.parametrize("command", ["score", "analyze"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--exclude-known-issues=x"], "Error: no known issue 'x'\nHint: known are arc-human"),
        ([f"--exclude-known-issues={PIQA},x"], "Error: no known issue 'x'\n"),
        (["--exclude-known-issues=" + "n" * 5000], "Error: no known issue 'nnn"),
        (["--exclude-known-issues= , "], "Error: --exclude-known-issues: names no issue"),
        (["--known-issues", "none.csv"], "Error: none.csv: cannot be read: "),
    ],
)
def test_bad_options(command, options, message):
    result = run(*COMMANDS[command], *options, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_own_registry_in_place_of_the_packaged_one(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(f"{HEADER}\nreading,RACE*,scores,,bad\n", encoding="utf-8")
    found = json.loads(run("score", "--known-issues", path, "--json").stdout)["known_issues"]
    assert [row["id"] for row in found["affected"]] == ["reading"]
    left = run("score", "--known-issues", path, "--exclude-known-issues=reading").stderr
    assert left.startswith("excluded for known issues: 48 rows of 6 of 189 curves: reading (")
    run("score", "--known-issues", path, f"--exclude-known-issues={PIQA}", code=2)


def test_study_of_what_is_left():
    problems = pd.DataFrame(columns=["source", "field", "reason", "severity"])
    study = bm.run_study(load_embedded(), problems, bm.StudyOptions(exclude_known_issues=True))
    assert len(study.curves.keys) == 183
    assert study.tables["known_issues"].frame["excluded"].tolist() == [True, True]
    assert study.known_issues.n_curves_excluded == 6


def test_study_of_nothing_that_is_left():
    table = scores({"model_name": "1b", "total_params": 1}, {"model_name": "2b"})
    options = bm.StudyOptions(issues=registry({"task": "t"}), exclude_known_issues=True)
    with pytest.raises(InputError, match=r"none of 0 curves .*\nHint: excluded for known issues"):
        bm.run_study(table, table[[]], options)
