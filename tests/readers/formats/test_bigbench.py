"""Sound score files: every layout, every field, and a naive reader to compare with."""

from __future__ import annotations

import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    PARAMS,
    SIZES,
    entry,
    expected_rows,
    plain,
    score_file,
    tree_files,
    write_bytes,
    write_json,
    write_tree,
)
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import OBSERVATIONS, PROBLEMS


def read(*paths: Path) -> list[dict[str, Any]]:
    """Read paths without a problem."""
    observations, problems = bm.read_results(paths)
    assert plain(problems) == []
    return plain(observations)


def by_key(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows in an order that is not the reader's, without their source."""
    return sorted(
        (tuple(value for name, value in row.items() if name != "source") for row in rows), key=repr
    )


def labels(folder: str, ending: str = ".json") -> list[str]:
    return [
        f"{folder}/{task}/results/scores_Fam_{size}{ending}"
        for task in ("alpha", "beta")
        for size in sorted(SIZES)
    ]


def test_tree(tmp_path: Path) -> None:
    documents = tree_files()
    paths = write_tree(tmp_path / "tree", documents)
    expected = [
        row
        for path, document in sorted(zip(paths, documents, strict=True), key=lambda pair: pair[0])
        for row in expected_rows(document, path.relative_to(tmp_path).as_posix())
    ]
    assert read(tmp_path / "tree") == expected
    assert [row["source"] for row in expected[::2]] == labels("tree")


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".JSON"])
def test_endings(tmp_path: Path, ending: str) -> None:
    documents = tree_files()
    write_tree(tmp_path / "tree", documents, ending=ending)
    rows = read(tmp_path / "tree")
    assert by_key(rows) == by_key([row for one in documents for row in expected_rows(one, "")])
    assert [row["source"] for row in rows[::2]] == labels("tree", ending)


@pytest.mark.parametrize("name", ["scores_Fam_1m.json", "anything.json", "anything.json.gz"])
def test_single_file_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = write_json(tmp_path / name, score_file())
    assert read(path) == expected_rows(score_file(), path.as_posix())


def test_one_path_as_text(tmp_path: Path) -> None:
    path = write_json(tmp_path / "one.json", score_file())
    assert plain(bm.read_results(str(path))[0]) == read(path)


def test_mixture(tmp_path: Path) -> None:
    first, second, third, fourth = tree_files(["alpha"])
    write_tree(tmp_path / "tree", [first])
    write_tree(tmp_path / "packed", [second], ending=".json.gz")
    single = write_json(tmp_path / "third.json", third)
    table = tmp_path / "fourth.csv"
    observations, _ = bm.read_results(write_json(tmp_path / "fourth.json", fourth))
    observations.to_csv(table, index=False)
    rows = read(tmp_path / "packed", single, tmp_path / "tree", table)
    # In the order in which they were named.
    assert [row["model_name"] for row in rows[::2]] == ["8m", "64m", "1m", "512m"]
    assert by_key(rows) == by_key(
        [row for one in tree_files(["alpha"]) for row in expected_rows(one, "")]
    )


@pytest.mark.parametrize("twice", ["file and file", "file and folder", "folder and folder", "link"])
def test_a_file_named_twice_is_read_once(tmp_path: Path, twice: str) -> None:
    paths = write_tree(tmp_path / "tree")
    if twice == "link":
        (tmp_path / "link.json").symlink_to(paths[0])
    named = {
        "file and file": [paths[0], paths[0].parent / ".." / "results" / paths[0].name],
        "file and folder": [tmp_path / "tree", *paths],
        "folder and folder": [tmp_path / "tree" / "alpha", tmp_path / "tree"],
        "link": [tmp_path / "link.json", paths[0]],
    }[twice]
    distinct = 1 if twice in {"file and file", "link"} else len(paths)
    assert len(read(*named)) == 2 * distinct


def test_labels_of_a_folder_name_no_parent_of_it(tmp_path: Path, monkeypatch: Any) -> None:
    write_tree(tmp_path / "tree")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for folder in (tmp_path / "tree", Path("../tree"), tmp_path / "elsewhere" / ".." / "tree"):
        assert [row["source"] for row in read(folder)[::2]] == labels("tree")
    monkeypatch.chdir(tmp_path / "tree")
    assert [row["source"] for row in read(Path())[::2]] == labels("tree")


def test_order_is_that_of_the_names_not_of_the_disk(tmp_path: Path) -> None:
    documents = tree_files()
    write_tree(tmp_path / "a" / "tree", documents)
    write_tree(tmp_path / "b" / "tree", reversed(documents))
    assert read(tmp_path / "a" / "tree") == read(tmp_path / "b" / "tree")


@pytest.mark.parametrize(("in_file", "shots"), [(-1, None), (0, 0), (3, 3), (10**9, 10**9)])
def test_shots(tmp_path: Path, in_file: int, shots: int | None) -> None:
    path = write_json(tmp_path / "one.json", score_file(number_of_shots=in_file))
    assert [row["shots"] for row in read(path)] == [shots, shots]


def test_every_metric_is_a_row_and_one_is_preferred(tmp_path: Path) -> None:
    scores = {"z": 1.0, "a b": -2.5, "rouge1/f": 1e-300, "–": 1e300}
    document = score_file(score_dict=scores, preferred_score="a b", low_score=-9, high_score=7.5)
    rows = read(write_json(tmp_path / "one.json", document))
    assert {row["metric"]: row["score"] for row in rows} == scores
    assert {row["metric"] for row in rows if row["is_preferred"]} == {"a b"}
    assert {r["metric"]: (r["low_score"], r["high_score"]) for r in rows} == {
        "z": (None, None),
        "a b": (-9.0, 7.5),
        "rouge1/f": (None, None),
        "–": (None, None),
    }


def test_aggregate_row_and_subtask_rows(tmp_path: Path) -> None:
    subtasks = ["", "alpha", "alpha:part one", "teil zwei"]
    # The task's own row can stand anywhere, and only once for each number of shots.
    entries = [entry(subtask_description=s, number_of_shots=n) for n, s in enumerate(subtasks)]
    rows = read(write_json(tmp_path / "one.json", score_file(scores=entries)))
    assert [row["subtask"] for row in rows[::2]] == [
        "alpha",
        "alpha",
        "alpha:part one",
        "teil zwei",
    ]
    assert {row["task"] for row in rows} == {"alpha"}


def test_missing_subtask_description_is_the_task(tmp_path: Path) -> None:
    one = entry()
    del one["subtask_description"]
    rows = read(write_json(tmp_path / "one.json", score_file(task_name="beta", scores=[one])))
    assert [row["subtask"] for row in rows] == ["beta", "beta"]


@pytest.mark.parametrize("token", ["1e9", "1000000000.0", "1000000000"])
def test_whole_numbers_may_be_written_as_floats(tmp_path: Path, token: str) -> None:
    text = json.dumps(score_file(params=10**9, number_of_shots=3))
    text = text.replace("1000000000", token).replace(": 3,", ": 3.0,")
    rows = read(write_bytes(tmp_path / "one.json", text.encode()))
    assert [(row["shots"], *(row[name] for name in PARAMS)) for row in rows] == [
        (3, *[10**9] * 3)
    ] * 2


def test_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(score_file()).encode()
    path = write_bytes(tmp_path / "one.json", content)
    assert read(path) == expected_rows(score_file(), path.as_posix())


@pytest.mark.parametrize(
    "field", ["training_batch_size", "training_steps", "description", "decoding_params"]
)
def test_fields_of_no_table_may_hold_anything(tmp_path: Path, field: str) -> None:
    for value in (None, 1.5, "text", [1], {"deep": {"er": []}}):
        document = score_file(**{field: value})
        path = write_json(tmp_path / "one.json", document)
        assert read(path) == expected_rows(document, path.as_posix()), value


def test_three_sizes_are_kept_apart(tmp_path: Path) -> None:
    sizes = dict(zip(PARAMS, (3, 2, 10**18), strict=True))
    rows = read(write_json(tmp_path / "one.json", score_file(**sizes)))
    assert [{name: row[name] for name in PARAMS} for row in rows] == [sizes, sizes]


def test_a_full_log_named_outright_gives_its_scores(tmp_path: Path) -> None:
    query = {"function": "generate_text", "samples": [{"input": "1+1", "output": "2"}] * 100}
    path = write_json(tmp_path / "full-log_Fam_1m.json", score_file(queries=[query]))
    assert read(path) == expected_rows(score_file(), path.as_posix())


@pytest.mark.parametrize(
    "beside",
    [
        "alpha/task.json",
        "alpha/results/README.md",
        "alpha/results/plot_of_scores.png",
        "alpha/scores.txt",
        "notes.csv",
    ],
)
def test_other_files_beside_results_are_skipped(tmp_path: Path, beside: str) -> None:
    write_tree(tmp_path / "tree")
    before = read(tmp_path / "tree")
    write_bytes(tmp_path / "tree" / beside, b'{"name": "alpha", "examples": []}')
    assert read(tmp_path / "tree") == before


def test_a_json_file_that_is_no_score_file_is_told(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    before = read(tmp_path / "tree")
    write_json(tmp_path / "tree" / "package.json", {"name": "x"})
    observations, problems = bm.read_results(tmp_path / "tree")
    assert plain(observations) == before
    assert plain(problems) == [
        {
            "source": "tree/package.json",
            "field": "",
            "reason": "ignored: does not look like a results file (top keys name)",
            "severity": "warning",
        }
    ]


def test_a_score_file_of_another_name_is_found_by_its_content(tmp_path: Path) -> None:
    write_json(tmp_path / "tree" / "sub" / "GPT 1m.json", score_file())
    write_json(tmp_path / "tree" / "sub" / "GPT 9b.json.gz", score_file(model_name="9b"))
    assert [row["source"] for row in read(tmp_path / "tree")[::2]] == [
        "tree/sub/GPT 1m.json",
        "tree/sub/GPT 9b.json.gz",
    ]


def test_frames_have_the_declared_columns(tmp_path: Path) -> None:
    observations, problems = bm.read_results(write_json(tmp_path / "one.json", score_file()))
    assert list(observations) == OBSERVATIONS.names
    assert list(problems) == PROBLEMS.names
    assert {str(observations[name].dtype) for name in ("shots", *PARAMS, "n_examples")} == {"Int64"}
    assert str(observations["is_preferred"].dtype) == "boolean"
    assert str(observations["task"].dtype) == "category"


def test_the_garbage_collector_is_left_as_it_was(tmp_path: Path) -> None:
    path = write_json(tmp_path / "full-log_Fam_1m.json", score_file())
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            read(path)
            assert gc.isenabled() is enabled
        finally:
            gc.enable()


def test_progress_counts_every_file(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    seen: list[tuple[int, int]] = []
    bm.read_results(tmp_path / "tree", progress=lambda done, found: seen.append((done, found)))
    assert seen[-1] == (8, 8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", r"nowhere: no such file or folder\nHint: name result files, or a folder"),
        ("empty", r"empty: no result files found\nHint: BIG-bench score files are named"),
        ("other", r"other: 1 file looked at, none recognised: .*package"),
        ("notes.txt", r"notes\.txt: format not recognised from the name\nHint: known endings"),
    ],
)
def test_paths_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    write_json(tmp_path / "other" / "package.json", {"name": "x"})
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=message):
        bm.read_results(tmp_path / name)


def test_one_bad_path_among_good_ones_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    seen: list[int] = []
    with pytest.raises(InputError, match="nowhere: no such file"):
        bm.read_results(
            [tmp_path / "tree", tmp_path / "nowhere"], progress=lambda done, _: seen.append(done)
        )
    assert seen == []


# Any text that a file in UTF-8 can hold and that is not blank.
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
scores = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 2**53 + 1, 1e22, 1e23]),
)
bounds = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-100, 100))


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    score_dict = draw(st.dictionaries(names, scores, min_size=1, max_size=4))
    return entry(
        score_dict=score_dict,
        preferred_score=draw(st.sampled_from(sorted(score_dict))),
        number_of_shots=draw(st.integers(-1, 3)),
        low_score=draw(bounds),
        high_score=draw(bounds),
        subtask_description=draw(st.one_of(st.just(""), names)),
    )


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    task = draw(names)

    def key(one: dict[str, Any]) -> tuple[str, int]:
        # Keys of an entry; a second one would be a conflict, which is tested elsewhere.
        return one["subtask_description"] or task, one["number_of_shots"]

    return score_file(
        task_name=task,
        model_family=draw(names),
        model_name=draw(names),
        **{name: draw(st.integers(1, 10**18)) for name in PARAMS},
        description=draw(st.text(st.characters(codec="utf-8"), max_size=5)),
        scores=draw(st.lists(entries(), min_size=1, max_size=3, unique_by=key)),
    )


def model_of(document: dict[str, Any]) -> tuple[str, ...]:
    model = document["model"]
    return document["task"]["task_name"], model["model_family"], model["model_name"]


@given(
    files=st.lists(documents(), min_size=1, max_size=3, unique_by=model_of), packed=st.booleans()
)
def test_round_trip_against_naive_reader(
    tmp_path_factory: pytest.TempPathFactory, files: list[dict[str, Any]], packed: bool
) -> None:
    folder = tmp_path_factory.mktemp("round_trip")
    ending = ".json.gz" if packed else ".json"
    sources = [f"tree/{n}/results/scores_{n}{ending}" for n in range(len(files))]
    for source, document in zip(sources, files, strict=True):
        write_json(folder / source, document)
    # Files that disagree on preferred_score and the like are reported, yet nothing is changed.
    observations, problems = bm.read_results(folder / "tree")
    expected = [
        row
        for source, document in zip(sources, files, strict=True)
        for row in expected_rows(document, source)
    ]
    assert plain(observations) == expected
    assert all("_score of " in problem["field"] for problem in plain(problems))
    # Bit by bit, which == does not see of a zero's sign.
    signs = [math.copysign(1, row["score"]) for row in plain(observations)]
    assert signs == [math.copysign(1, row["score"]) for row in expected]
