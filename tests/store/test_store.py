"""The store: what was ingested comes back, known files are skipped, a crash harms nothing."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import changed, entry, plain, score_file, tree_files, write_json, write_tree
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

import bigbench_meta as bm
from bigbench_meta.core.errors import InputError, StoreError
from bigbench_meta.core.schema import CURVE_KEY, OBSERVATIONS, PROBLEMS
from bigbench_meta.readers.batch import ReadOptions
from bigbench_meta.store import manifest as files
from bigbench_meta.store import store as module
from bigbench_meta.store.manifest import FILES, Manifest, write_table
from bigbench_meta.store.places import place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bigbench_meta.store.store import IngestSummary

KINDS = ("observations", "problems", "files")
FIRST = "tree/alpha/results/scores_Fam_1m.json"


def by_key(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows in an order that is no one's in particular."""
    return sorted(plain(frame), key=lambda row: repr(list(row.values())))


def counts(summary: IngestSummary) -> tuple[int, int, int, int, int]:
    return (
        summary.files,
        summary.loaded,
        summary.unchanged,
        summary.failed,
        summary.observations,
    )


def files_of(store: Path) -> set[str]:
    return {p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file()}


def check_tidy(store: Path) -> None:
    """Check that a store's folder holds what its manifest names and nothing else."""
    parts = json.loads((store / "manifest.json").read_text())["parts"]
    named = {f"{kind}/{part[kind]}.parquet" for kind in KINDS for part in parts if part[kind]}
    assert files_of(store) - {".lock"} == named | {"manifest.json"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Score files of two tasks at four sizes, two scores each."""
    write_tree(tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def store(tmp_path: Path, tree: Path) -> bm.Store:
    """A store of the tree."""
    store = bm.Store(tmp_path / "store")
    store.ingest(tree)
    return store


def test_first_ingest(tmp_path: Path, tree: Path) -> None:
    seen: list[tuple[int, int]] = []
    store = bm.Store(tmp_path / "deep" / "store")
    summary = store.ingest(tree, progress=lambda done, found: seen.append((done, found)))
    assert counts(summary) == (8, 8, 0, 0, 16)
    assert plain(summary.problems) == []
    assert seen[-1] == (8, 8)
    assert plain(store.observations()) == plain(bm.read_results(tree)[0])
    assert list(store.observations()) == OBSERVATIONS.names
    assert list(store.problems()) == PROBLEMS.names
    check_tidy(store.path)


def test_frames_are_those_of_reading(store: bm.Store, tree: Path) -> None:
    pd.testing.assert_frame_equal(
        store.observations().astype({"task": str, "source": str}),
        bm.read_results(tree)[0].astype({"task": str, "source": str}),
        check_categorical=False,
    )


def test_second_ingest_changes_nothing(store: bm.Store, tree: Path) -> None:
    before, files = plain(store.observations()), files_of(store.path)
    assert counts(store.ingest(tree)) == (8, 0, 8, 0, 0)
    assert plain(store.observations()) == before
    assert files_of(store.path) == files


def test_the_same_files_by_another_path_are_unchanged(
    store: bm.Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    assert counts(store.ingest([Path("alpha"), Path("../tree/beta/results")])) == (8, 0, 8, 0, 0)


def test_new_file_is_added(store: bm.Store, tree: Path) -> None:
    write_tree(tree, tree_files(["gamma"], {"1m": 10**6}))
    assert counts(store.ingest(tree)) == (9, 1, 8, 0, 2)
    assert by_key(store.observations()) == by_key(bm.read_results(tree)[0])
    check_tidy(store.path)


def test_changed_file_replaces_its_rows(store: bm.Store, tree: Path) -> None:
    document = score_file(task_name="alpha", score_dict={"bleu": 99.0}, preferred_score="bleu")
    write_json(tree.parent / FIRST, document)
    assert counts(store.ingest(tree)) == (8, 1, 7, 0, 1)
    assert by_key(store.observations()) == by_key(bm.read_results(tree)[0])
    mine = store.observations()[lambda rows: rows["source"] == FIRST]
    assert [(row["metric"], row["score"]) for row in plain(mine)] == [("bleu", 99.0)]
    check_tidy(store.path)


def test_many_changes_one_after_the_other(store: bm.Store, tree: Path) -> None:
    for value in (0.5, 0.75, 0.875):
        write_json(tree.parent / FIRST, score_file(score_dict={"exact_str_match": value}))
        store.ingest(tree)
        assert by_key(store.observations()) == by_key(bm.read_results(tree)[0])
        check_tidy(store.path)
    assert counts(store.ingest(tree)) == (8, 0, 8, 0, 0)


@pytest.mark.parametrize("content", ["{", "", "[]", '{"scores": []}', "null"])
def test_file_that_breaks_keeps_its_old_rows_and_is_reported(
    store: bm.Store, tree: Path, content: str
) -> None:
    before = plain(store.observations())
    (tree.parent / FIRST).write_text(content)
    for _ in range(3):  # every time anew, and once
        summary = store.ingest(tree)
        assert counts(summary) == (8, 0, 7, 1, 0)
        assert [problem["source"] for problem in plain(summary.problems)] == [FIRST]
        assert plain(store.problems()) == plain(summary.problems)
        assert by_key(store.observations()) == sorted(before, key=lambda r: repr(list(r.values())))
    check_tidy(store.path)


def test_samples_of_a_file_that_breaks_are_kept(store: bm.Store, tmp_path: Path) -> None:
    """Such a file has no observations, only samples."""
    given = {"benchmark": "B", "task": "t", "model_family": "F", "model_name": "1b"}
    path = tmp_path / "samples_x.parquet"
    pd.DataFrame(given | {"example_id": ["a", "b"]}).to_parquet(path)
    options = ReadOptions(samples=True)
    assert store.ingest(path, options=options).samples == 2
    path.write_bytes(b"PAR1 and nothing else")
    for _ in range(2):
        summary = store.ingest(path, options=options)
        assert (summary.failed, len(summary.problems)) == (1, 1)
        assert store.samples()["example_id"].tolist() == ["a", "b"]


def test_information_names_the_host_of_files_that_were_fetched(
    store: bm.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ["https://one.org/a/x.json", "https://two.org/x.json", "s3://bucket/x", "tree/a/x"]
    given = {"format": "bigbench", "n_rows": 1, "n_samples": 0, "size": 1, "ingested": "now"}
    monkeypatch.setattr(bm.Store, "files", lambda _: pd.DataFrame({"label": labels} | given))
    hosts = ["https://one.org", "https://two.org", "s3://bucket", "tree"]
    assert store.info()["source"].tolist() == hosts


def test_file_that_is_mended_is_no_longer_reported(store: bm.Store, tree: Path) -> None:
    (tree.parent / FIRST).write_text("{")
    store.ingest(tree)
    write_json(tree.parent / FIRST, score_file(score_dict={"exact_str_match": 0.5}))
    assert counts(store.ingest(tree)) == (8, 1, 7, 0, 1)
    assert plain(store.problems()) == []
    assert by_key(store.observations()) == by_key(bm.read_results(tree)[0])


def test_file_that_is_put_back_is_no_longer_reported(store: bm.Store, tree: Path) -> None:
    before, content = by_key(store.observations()), (tree.parent / FIRST).read_bytes()
    (tree.parent / FIRST).write_text("{")
    store.ingest(tree)
    (tree.parent / FIRST).write_bytes(content)
    store.ingest(tree)
    assert plain(store.problems()) == []
    assert by_key(store.observations()) == before


def test_file_that_is_broken_from_the_start(tmp_path: Path, tree: Path) -> None:
    (tree.parent / FIRST).write_text("{")
    store = bm.Store(tmp_path / "store")
    for n_unchanged, n_loaded in ((0, 7), (7, 0), (7, 0)):
        assert counts(store.ingest(tree)) == (8, n_loaded, n_unchanged, 1, 2 * n_loaded)
        assert [problem["source"] for problem in plain(store.problems())] == [FIRST]
    assert by_key(store.observations()) == by_key(bm.read_results(tree)[0])
    check_tidy(store.path)


def test_problems_of_a_file_that_loads_stay_with_it(tmp_path: Path) -> None:
    write_json(tmp_path / FIRST, score_file(total_params=0))
    store = bm.Store(tmp_path / "store")
    summary = store.ingest(tmp_path / "tree")
    assert [problem["field"] for problem in plain(summary.problems)] == ["model.total_params"]
    assert plain(store.ingest(tmp_path / "tree").problems) == []  # skipped
    assert plain(store.problems()) == plain(summary.problems)
    write_json(tmp_path / FIRST, score_file())
    store.ingest(tmp_path / "tree")
    assert plain(store.problems()) == []


def test_files_of_one_label_are_not_taken_for_one(tmp_path: Path) -> None:
    """Labels begin with the name of the folder that was named: two ingests can give the same."""
    folders = [tmp_path / parent / "tree" for parent in ("a", "b")]
    for folder, task in zip(folders, ("alpha", "beta"), strict=True):
        write_tree(folder, tree_files([task]))
        write_json(folder / "scores_bad.json", 5)
    store = bm.Store(tmp_path / "store")
    assert [store.ingest(folder).failed for folder in folders] == [1, 1]
    write_json(folders[0] / "scores_bad.json", score_file(task_name="gamma"))
    assert [store.ingest(folder).failed for folder in folders] == [0, 1]
    assert [problem["source"] for problem in plain(store.problems())] == ["tree/scores_bad.json"]


def test_table_is_ingested_too(store: bm.Store, tmp_path: Path) -> None:
    embedded = bm.load_embedded()[lambda rows: rows["task"] == "LAMBADA"]
    embedded.to_csv(tmp_path / "gpt3.csv", index=False)
    assert counts(store.ingest(tmp_path / "gpt3.csv")) == (1, 1, 0, 0, len(embedded))
    assert by_key(store.observations(benchmark="gpt3")) == by_key(embedded)
    assert len(store.observations()) == len(embedded) + 16


def test_a_store_inside_the_results_folder_does_not_ingest_itself(tree: Path) -> None:
    store = bm.Store(tree / "store")
    store.ingest(tree)
    before = plain(store.observations())
    summary = store.ingest(tree)
    assert counts(summary) == (8, 0, 8, 0, 0)
    assert plain(summary.problems) == []
    assert plain(store.observations()) == before


def test_contradiction_between_two_ingests(tmp_path: Path, tree: Path, store: bm.Store) -> None:
    other = changed(tree_files()[0], "scores[0].score_dict.bleu", 99.0)
    write_tree(tmp_path / "other", [other])
    summary = store.ingest(tmp_path / "other")
    together, problems = bm.read_results([tree, tmp_path / "other"])
    assert by_key(store.observations()) == by_key(together)
    assert len(problems) == 2  # a score that differs and one that is repeated
    # It is settled, but not in silence: this ingest says so, or the store does.
    reported = [*plain(summary.problems), *plain(store.problems())]
    assert [row for row in reported if "differ" in row["reason"]]


# What is asked for ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> bm.Store:
    """A store of two parts with several values in each column that can be asked for."""
    folder = tmp_path_factory.mktemp("varied")
    documents = [
        score_file(
            task_name=task,
            model_family=family,
            model_name=name,
            params=params,
            scores=[
                entry(number_of_shots=shots, subtask_description=subtask)
                for shots in (-1, 0, 3)
                for subtask in (task, f"{task}: b & c")
            ],
        )
        for task in ("α", "beta")
        for family in ("F", "G T=0")
        for name, params in (("1m", 10**6), ("8m", 8 * 10**6))
    ]
    write_tree(folder / "tree", documents)
    store = bm.Store(folder / "store")
    store.ingest(folder / "tree" / "α")
    store.ingest(folder / "tree")
    embedded = bm.load_embedded()
    embedded[embedded["task"] == "LAMBADA"].to_csv(folder / "gpt3.csv", index=False)
    store.ingest(folder / "gpt3.csv")
    return store


@pytest.fixture(scope="module")
def everything(varied: bm.Store) -> pd.DataFrame:
    return varied.observations()


def choice(*values: Any) -> st.SearchStrategy[Any]:
    """Nothing asked for, a value, or a list of values."""
    one = st.sampled_from(values)
    return st.one_of(st.none(), one, st.lists(one, max_size=3))


filters = st.fixed_dictionaries(
    {
        "benchmark": choice("BIG-bench", "gpt3", "none"),
        "task": choice("α", "beta", "LAMBADA", "", "α "),
        "subtask": choice("α", "beta: b & c", "LAMBADA"),
        "metric": choice("bleu", "exact_str_match", "acc", "BLEU"),
        "model_family": choice("F", "G T=0", "GPT-3"),
        "shots": choice(0, 3, 1, -1),
    }
)


@given(wanted=filters)
def test_filters_are_those_of_memory(
    varied: bm.Store, everything: pd.DataFrame, wanted: dict[str, Any]
) -> None:
    expected = everything
    for column, value in wanted.items():
        if value is not None:
            values = value if isinstance(value, list) else [value]
            expected = expected[expected[column].isin(values).fillna(value=False)]
    assert plain(varied.observations(**wanted)) == plain(expected)


def test_a_task_opens_no_file_without_it(
    varied: bm.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bm.Store(shutil.copytree(varied.path, tmp_path / "store"))
    expected = plain(varied.observations(task="LAMBADA"))
    opened: list[str] = []
    real = Manifest.path

    def path(manifest: Manifest, kind: str, name: str) -> Path:
        opened.append(kind)
        return real(manifest, kind, name)

    monkeypatch.setattr(Manifest, "path", path)
    for _ in range(2):
        opened.clear()
        assert plain(store.observations(task="LAMBADA")) == expected
        assert opened.count("observations") == 1
        store.compact()  # now all is in one part
    assert store.observations(task="nowhere").empty
    assert store.observations(task=[]).empty


def test_filters_together_leave_something(varied: bm.Store) -> None:
    rows = varied.observations(
        task=["α", "beta"], subtask="beta: b & c", metric="bleu", model_family="G T=0", shots=[0, 3]
    )
    assert len(rows) == 2 * 2
    assert set(rows["shots"]) == {0, 3}


def test_scores_from_a_store_are_those_from_the_folder(varied: bm.Store) -> None:
    folder = varied.path.parent
    observations, _ = bm.read_results([folder / "tree", folder / "gpt3.csv"])

    def scored(frame: pd.DataFrame) -> pd.DataFrame:
        scores = bm.score_curves(bm.build_curves(frame))
        plain_text = {c: str for c in scores if isinstance(scores[c].dtype, pd.CategoricalDtype)}
        return scores.astype(plain_text).sort_values([*CURVE_KEY], ignore_index=True)

    pd.testing.assert_frame_equal(scored(varied.observations()), scored(observations))


# Crashes --------------------------------------------------------------------------------------


class Crash(OSError):  # noqa: N818 - it is one
    """The machine dies here, as far as a test can make it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, holder: Any, name: str, at: int) -> list[int]:
    """Let the at-th call of a function raise; return where calls are counted."""
    function, calls = getattr(holder, name), [0]

    def crashing(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            raise Crash(28, "No space left on device")
        return function(*args, **kwargs)

    monkeypatch.setattr(holder, name, crashing)
    return calls


PLACES = {
    "fsync": (os, "fsync"),
    "replace": (Path, "replace"),
    "write_table": (pq.ParquetWriter, "write_table"),
    "unlink": (Path, "unlink"),
}


def crash_everywhere(
    monkeypatch: pytest.MonkeyPatch, place: str, prepare: Callable[[int], tuple[bm.Store, Path]]
) -> list[tuple[bm.Store, Path]]:
    """Crash at the first, second, ... call of a function in an ingest until none is left."""
    crashed = []
    for at in itertools.count(1):
        store, tree = prepare(at)
        with monkeypatch.context() as patch:
            calls = crash_at(patch, *PLACES[place], at)
            try:
                store.ingest(tree)
            except (Crash, StoreError):
                assert calls[0] >= at
        if calls[0] < at:
            return crashed
        crashed.append((store, tree))
    raise AssertionError


@pytest.mark.parametrize("place", PLACES)
def test_crash_while_a_store_changes(
    tmp_path: Path, store: bm.Store, tree: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = by_key(store.observations())
    write_json(tree.parent / FIRST, score_file(score_dict={"exact_str_match": 0.75}))
    write_tree(tree, tree_files(["gamma"], {"1m": 10**6}))
    new = by_key(bm.read_results(tree)[0])
    assert len({repr(old), repr(new)}) == 2

    def prepare(at: int) -> tuple[bm.Store, Path]:
        return bm.Store(shutil.copytree(store.path, tmp_path / f"copy {at}")), tree

    crashed = crash_everywhere(monkeypatch, place, prepare)
    assert crashed
    for copy, _ in crashed:
        assert by_key(bm.Store(copy.path).observations()) in (old, new)
        # What may not be deleted stays, until the next ingest.
        assert place == "unlink" or not [name for name in files_of(copy.path) if "tmp" in name]
        again = bm.Store(copy.path).ingest(tree)
        assert again.failed == 0
        assert by_key(copy.observations()) == new
        assert plain(copy.problems()) == []
        assert [name for name in files_of(copy.path) if "tmp" in name] == []


@pytest.mark.parametrize("place", [place for place in PLACES if place != "unlink"])
def test_crash_in_the_first_ingest(
    tmp_path: Path, tree: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = crash_everywhere(
        monkeypatch, place, lambda at: (bm.Store(tmp_path / f"store {at}"), tree)
    )
    assert crashed
    for store, _ in crashed:
        assert Manifest.read(place_of(store.path)).parts == ()
        assert counts(bm.Store(store.path).ingest(tree)) == (8, 8, 0, 0, 16)
        assert by_key(store.observations()) == by_key(bm.read_results(tree)[0])
        assert [name for name in files_of(store.path) if "tmp" in name] == []


def test_what_a_crash_left_is_cleared_away(
    store: bm.Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tree, tree_files(["gamma"], {"1m": 10**6}))
    with monkeypatch.context() as patch:
        crash_at(patch, Path, "replace", 1)
        with pytest.raises((Crash, StoreError)):
            store.ingest(tree)
    store.ingest(tree)
    check_tidy(store.path)


# What is no store -----------------------------------------------------------------------------


def manifest(**changes: Any) -> bytes:
    sound = {"format": "bigbench-meta store", "version": 5, "parts": []} | changes
    return json.dumps(sound | {"digest": digest(sound["parts"])}).encode()


def digest(parts: Any) -> str:
    return xxh3_128_hexdigest(json.dumps(parts).encode())


MANIFESTS = {
    "empty": (b"", "damaged"),
    "cut": (manifest()[:-2], "damaged"),
    "not UTF-8": (b"\xff", "damaged"),
    "null": (b"null", "damaged"),
    "list": (b"[]", "damaged"),
    "deep": (b"[" * 100_000, "damaged"),
    "no parts": (b'{"format": "bigbench-meta store", "version": 5}', "damaged: 'parts'"),
    "parts no list": (manifest(parts=5), "damaged"),
    "parts null": (manifest(parts=None), "damaged"),
    "parts of another kind": (manifest(parts=[5]), "damaged"),
    "parts text": (manifest(parts="abc"), "damaged"),
    "part that is not there": (manifest(parts=["0" * 32]), "damaged"),
    "without digest": (
        b'{"format": "bigbench-meta store", "version": 5, "parts": []}',
        "damaged: its list of parts has changed",
    ),
    "newer": (manifest(version=6), "version 6, but this program reads version 5"),
    "older": (
        manifest(version=3),
        "version 3, but this program reads version 5\n.*NEW_FOLDER builds it anew",
    ),
    "other program's": (manifest(format="other"), "'other' version 5, but"),
}


@pytest.mark.parametrize(("content", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifest_that_cannot_be_used(
    store: bm.Store, tree: Path, content: bytes, message: str
) -> None:
    (store.path / "manifest.json").write_bytes(content)
    for use in (bm.Store.observations, bm.Store.problems, lambda store: store.ingest(tree)):
        with pytest.raises(StoreError, match=message) as caught:
            use(bm.Store(store.path))
        assert str(store.path) in str(caught.value)


@pytest.mark.parametrize("damage", ["removed", "cut", "overwritten", "empty"])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_part(store: bm.Store, tree: Path, kind: str, damage: str) -> None:
    bad = tree / "gamma" / "results" / "scores_bad.json"
    bad.parent.mkdir(parents=True)
    bad.write_text("{")
    store.ingest(tree)
    part = max((store.path / kind).glob("*.parquet"), key=lambda path: path.stat().st_size)
    if damage == "removed":
        part.unlink()
    else:
        content = part.read_bytes()
        damaged = {"cut": content[:-9], "overwritten": b"x" * len(content), "empty": b""}[damage]
        part.write_bytes(damaged)
    write_json(tree.parent / FIRST, score_file(score_dict={"exact_str_match": 0.75}))
    uses: dict[str, Callable[[], Any]] = {
        "observations": store.observations,
        "problems": store.problems,
        "files": lambda: store.ingest(tree),
    }
    with pytest.raises(StoreError, match="damaged"):
        uses[kind]()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.write_text("x"), "is a file, not a store"),
        (
            lambda path: write_json(path / "notes.txt", 1),
            "the folder is not empty and holds no store\nHint: name a new folder",
        ),
    ],
    ids=["file", "folder of something else"],
)
def test_path_that_is_no_store(
    tmp_path: Path, prepare: Callable[[Path], Any], message: str
) -> None:
    path = tmp_path / "store"
    prepare(path)
    with pytest.raises(StoreError, match=message):
        bm.Store(path)
    assert not bm.Store.is_store(path)


OTHERS = {
    "names of a store": ("samples/run_1.jsonl", "files/b.parquet", "observations/c.parquet"),
    "folders in them": ("samples/deep/run.jsonl", "problems/deep/deeper/x"),
    "names like ours": (f"samples/{uuid.uuid4().hex}.parquet",),
    "manifest of something else": ("manifest.json", f"samples/{uuid.uuid4().hex}.parquet"),
}


@pytest.mark.parametrize("names", OTHERS.values(), ids=OTHERS)
def test_files_of_somebody_else_are_never_deleted(
    tmp_path: Path, tree: Path, names: tuple[str, ...]
) -> None:
    """Cases r01: folders of these names were taken for what a killed first ingest leaves."""
    for name in names:
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text('"mine"')
    before = files_of(tmp_path / "own")
    for what in (tree, tmp_path / "own" / "samples"):
        with pytest.raises(StoreError, match=r"holds no store|damaged"):
            bm.Store(tmp_path / "own").ingest(what)
    assert files_of(tmp_path / "own") == before


def test_files_beside_a_store_are_never_deleted(store: bm.Store, tree: Path) -> None:
    kept = {
        "notes.txt", "samples/mine.parquet", "samples/deep/x.jsonl", "observations/README",
        ".manifest.json.bak.tmp", f"files/{'0' * 32}.parquet", f"problems/{uuid.uuid4().hex}.csv",
    }  # fmt: skip
    for name in kept:
        (store.path / name).parent.mkdir(parents=True, exist_ok=True)
        (store.path / name).write_text("mine")
    write_json(tree / "alpha/results/scores_Fam_1m.json", score_file(score_dict={"bleu": 1.0}))
    store.ingest(tree)
    store.compact()
    store.remove("*alpha*")
    assert kept <= files_of(store.path)


def test_a_killed_first_ingest_goes_on(tmp_path: Path, tree: Path) -> None:
    store = bm.Store(tmp_path / "store")
    Manifest.read(place_of(store.path)).claim()
    write_table(place_of(store.path), "files", FILES.empty_table())
    store.ingest(tree)
    check_tidy(store.path)


def test_empty_folder_can_become_a_store(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "store").mkdir()
    assert counts(bm.Store(tmp_path / "store").ingest(tree)) == (8, 8, 0, 0, 16)


def test_nothing_ingested_yet(tmp_path: Path) -> None:
    store = bm.Store(tmp_path / "store")
    for use in (store.observations, store.problems):
        with pytest.raises(StoreError, match="store: no store here\nHint: ingest something first"):
            use()
    assert not store.path.exists()
    first, second = repr(store).splitlines()
    assert first == f"Store({str(tmp_path / 'store')!r})"
    assert second == "  empty  .ingest(results) reads result files into it"


def test_folder_that_cannot_be_made(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"):
        bm.Store(tmp_path / "file" / "store").ingest(tree)


def test_results_that_are_not_there_make_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        bm.Store(tmp_path / "store").ingest(tmp_path / "nowhere")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("names", [["alpha"], ["alpha", "beta"]])
def test_files_that_are_gone_from_a_folder_are_kept_and_named(
    store: bm.Store, tree: Path, names: list[str]
) -> None:
    before = by_key(store.observations())
    for name in names:
        shutil.rmtree(tree / name)
    for _ in range(2):
        summary = store.ingest(tree)
        assert (summary.files, summary.gone) == (8 - 4 * len(names), 4 * len(names))
        problems = plain(summary.problems)
        assert {row["source"].split("/")[1] for row in problems} == set(names)
        assert all(row["reason"].startswith("no longer there: its scores are ") for row in problems)
    assert by_key(store.observations()) == before
    assert len(store.problems()) == 0  # they may come back
    for row in problems:
        store.remove(row["source"])
    if names == ["alpha"]:
        assert counts(store.ingest(tree)) == (4, 0, 4, 0, 0)
        assert store.ingest(tree).gone == 0


def test_files_elsewhere_are_not_said_to_be_gone(store: bm.Store, tree: Path) -> None:
    (tree / "alpha").rename(tree.parent / "alpha")
    assert store.ingest(tree / "beta").gone == 0
    assert store.ingest([*(tree / "beta").rglob("*.json")]).gone == 0
    assert store.ingest(tree).gone == 4


@pytest.mark.parametrize("left", ["some", "all", "none", "damaged"])
def test_members_that_are_gone_from_an_archive_are_named(
    tmp_path: Path, tree: Path, left: str
) -> None:
    def write() -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(tree.rglob("*.json")):
                archive.write(file, file.relative_to(tree))

    path, store = tmp_path / "tree.zip", bm.Store(tmp_path / "store")
    write()
    assert store.ingest(path).gone == 0
    if left in {"some", "none"}:
        shutil.rmtree(tree / "alpha")
    if left == "none":
        shutil.rmtree(tree / "beta")
    write_json(tree / "new/results/scores_Fam_1m.json", score_file(score_dict={"bleu": 1.0}))
    if left == "none":
        shutil.rmtree(tree / "new")
    write()
    if left == "damaged":
        path.write_bytes(path.read_bytes()[:-9])
    summary = store.ingest(path)
    assert summary.gone == (4 if left == "some" else 0)
    assert len(store.files()) >= 8
    assert store.ingest(path).gone == summary.gone


def test_is_store(store: bm.Store, tree: Path) -> None:
    assert bm.Store.is_store(store.path)
    assert bm.Store.is_store(str(store.path))
    assert not bm.Store.is_store(tree)
    assert not bm.Store.is_store(store.path / "manifest.json")


def test_a_filter_of_another_type_is_refused(store: bm.Store) -> None:
    with pytest.raises(InputError, match="shots: 'three' is not of type int64"):
        store.observations(shots="three")


def test_traces_of_a_killed_commit_are_swept(store: bm.Store, tree: Path) -> None:
    (store.path / ".manifest.json.123.tmp").write_text("half")
    store.ingest(tree)
    check_tidy(store.path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_store_that_cannot_be_written(store: bm.Store, tree: Path) -> None:
    (store.path / ".lock").unlink(missing_ok=True)
    store.path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            store.ingest(tree)
    finally:
        store.path.chmod(0o700)


def test_folders_of_one_name_have_labels_of_their_own(tmp_path: Path) -> None:
    documents = tree_files()
    for place, score in (("a", 0.5), ("b", 0.25)):
        changed_files = [changed(d, "scores[0].score_dict.bleu", score) for d in documents]
        write_tree(tmp_path / place / "results", changed_files)
    store = bm.Store(tmp_path / "store")
    store.ingest([tmp_path / "a/results", tmp_path / "b/results"])
    assert {label.split("/")[0] for label in store.files()["label"]} == {"a", "b"}


def test_a_repetition_with_other_sizes_is_reported(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", [score_file()])
    other = changed(score_file(), "model.total_params", 7)
    write_json(tmp_path / "tree/alpha/results/scores_other.json", other)
    _, problems = bm.read_results(tmp_path / "tree")
    reasons = [row["reason"] for row in plain(problems)]
    assert any("with another total_params: that of the first counts" in r for r in reasons)
    assert not any("non_embedding_params" in r for r in reasons)


def test_a_link_to_a_folder_is_reported(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree")
    write_tree(tmp_path / "elsewhere", tree_files(["gamma"]))
    (tmp_path / "tree/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree/within").symlink_to(tmp_path / "tree/alpha")
    (tmp_path / "tree/up").symlink_to(tmp_path)
    observations, problems = bm.read_results(tmp_path / "tree")
    assert len(observations) == 16
    (problem,) = plain(problems)
    assert (problem["source"], problem["severity"]) == ("tree/link", "warning")


def test_computed_scores_are_kept_beside_those_reported(store: bm.Store, tree: Path) -> None:
    reported = store.observations()
    row = reported.iloc[[0]].assign(
        metric="mine>=0.5", score=0.25, source="log", is_preferred=None, low_score=None,
        high_score=None,
    )  # fmt: skip
    assert counts(store.keep(row)) == (1, 1, 0, 0, 1)
    assert len(store.observations()) == len(reported) + 1
    assert by_key(pd.concat(store.reported())) == by_key(reported)
    # Others for the same model replace them, others for another model join them.
    other = row.assign(model_name="other", total_params=5)
    store.keep(pd.concat([row.assign(score=0.75), other]))
    kept = store.observations(metric="mine>=0.5")
    assert sorted(kept["score"]) == [0.25, 0.75]
    assert store.conflicts().empty
    store.ingest(tree)
    assert len(store.observations(metric="mine>=0.5")) == 2


def test_samples_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bigbench_meta.generate.simulation import samples_table

    store = bm.Store(tmp_path / "store")
    samples = samples_table(n_examples=3, scales=[1e9, 1e10], n_choices=[2])
    Manifest.read(place_of(store.path)).claim()
    numbered = samples.append_column("file", pa.array([0] * len(samples), pa.int32()))
    name = write_table(place_of(store.path), "samples", numbered)
    listed = {name: [None] for name in FILES.names} | {"current": [True], "n_samples": [36]}
    part = files.Part(
        files=write_table(place_of(store.path), "files", pa.table(listed, schema=FILES)),
        samples=name,
    )
    Manifest.read(place_of(store.path)).update(lambda _: (part,))
    monkeypatch.setattr(module, "_BATCH_ROWS", 5)
    batches = list(store.sample_batches(["task", "output", "targets"]))
    assert max(batch.num_rows for batch in batches) <= 5
    whole = pa.concat_tables(batches).combine_chunks()
    assert whole.to_pylist() == samples.select(["task", "output", "targets"]).to_pylist()
    (task,) = {row["task"] for row in whole.slice(0, 1).to_pylist()}
    some = pa.concat_tables(store.sample_batches(["task"], task=task))
    assert set(some["task"].to_pylist()) == {task}


# Other programs -------------------------------------------------------------------------------


def test_other_programs_read_the_parquet_files_of_a_compact_store(
    store: bm.Store, tree: Path
) -> None:
    """The lines of docs/reading.md, after rows were replaced and removed."""
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    write_json(tree.parent / FIRST, score_file(task_name="alpha", score_dict={"bleu": 99.0}))
    store.ingest(tree)
    store.remove("*/beta/*_8m.json")
    store.compact()
    files = f"{store.path}/observations/*.parquet"
    by_duckdb = duckdb.sql(f"SELECT task, metric, score FROM '{files}'").fetchall()
    by_polars = polars.scan_parquet(files).select("task", "metric", "score").collect().rows()
    ours = [tuple(row.values()) for row in plain(store.observations()[["task", "metric", "score"]])]
    assert sorted(by_duckdb) == sorted(by_polars) == sorted(ours)
    assert ("alpha", "bleu", 99.0) in ours


@pytest.mark.parametrize("place", ["file_digest", "_files_of"])
def test_a_reader_is_not_disturbed_by_another_process(
    store: bm.Store, tree: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was read when the files are replaced: the manifest, or a part."""
    write_tree(tree, tree_files(["gamma"]))
    store.ingest(tree)
    rows = by_key(store.observations())
    function, compacted = getattr(files, place), []

    def interrupted(*args: Any) -> Any:
        if not compacted:
            compacted.append(None)
            assert bm.Store(store.path).compact() == 1
        return function(*args)

    monkeypatch.setattr(files, place, interrupted)
    assert by_key(bm.Store(store.path).observations()) == rows
    assert compacted
