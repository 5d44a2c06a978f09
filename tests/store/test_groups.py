"""Groups of whole tasks give what all observations give at once, and few rows at a time."""

from __future__ import annotations

import itertools
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import run_json
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEWER, observation_rows

import bigbench_meta as bm
from bigbench_meta.aggregate.options import StudyOptions
from bigbench_meta.catalog.known_issues import KnownIssue, KnownIssues
from bigbench_meta.cli import loading
from bigbench_meta.cli.examples import looked_through
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import FILE, OBSERVATIONS, conform
from bigbench_meta.store.groups import ObservationGroups
from bigbench_meta.store.manifest import FILES, STORED, Manifest, Part, write_table
from bigbench_meta.store.places import place_of

POINTS = ("offsets", "x", "y", "spread", "stderr", "n_examples", "model_name")
SETTINGS = [None, {"checkpoint": "step1"}, {"checkpoint": "step2"}, {"limit": "5"},
            {"backend": "hf"}, {"backend": "vllm", "checkpoint": "step1"}]  # fmt: skip
SPOILED = KnownIssues(
    (
        KnownIssue(id="first", task="t", where="positive", effect="wrong"),
        KnownIssue(id="second", metric="made*", model_family="g", effect="wrong"),
    )
)


def write_store(folder, parts):
    """Write observations as parts of a store, each row of the file that its source says."""
    written, place = [], place_of(folder)
    for rows in parts:
        table = conform(rows)
        sources = table["source"].cast(pa.string()).fill_null("none").to_pylist()
        files = list(dict.fromkeys(sources))
        number = pa.array([files.index(source) for source in sources], pa.int32())
        columns = {
            "identity": [f"/{name}" for name in files], "label": files,
            "format": ["table"] * len(files), "n_rows": [sources.count(name) for name in files],
            "n_samples": [0] * len(files), "current": [not name.startswith("gone")
                                                       for name in files],
        }  # fmt: skip
        zeros = {"size": [1], "stamp": [1], "digest": [b""], "reader": [""], "ingested": [""]}
        columns |= {name: value * len(files) for name, value in zeros.items()}
        listed = pa.table([pa.array(columns[f.name], f.type) for f in FILES], FILES)
        stored = table.append_column(FILE, number).cast(STORED["observations"])
        tasks = sorted(set(table["task"].to_pylist()))
        written.append(
            Part(
                files=write_table(place, "files", listed),
                observations=write_table(place, "observations", stored),
                n_gone=sum(not is_current for is_current in columns["current"]),
                tasks=[tasks[0], tasks[-1]] if tasks else None,
            )
        )
    Manifest(place).update(lambda _: tuple(written))
    return bm.Store(folder)


@contextmanager
def store_of(rows, n_parts):
    """Give a store of rows in some parts."""
    frame = pd.DataFrame(rows, columns=OBSERVATIONS.names)
    with tempfile.TemporaryDirectory() as folder:
        ends = np.linspace(0, len(frame), n_parts + 1).astype(int)
        parts = [frame.iloc[a:b] for a, b in itertools.pairwise(ends)]
        yield write_store(Path(folder), parts)


@st.composite
def stored_rows(draw):
    """Rows of several files, tasks, settings and spellings; some repeat or contradict others."""
    rows = draw(observation_rows(max_size=24))
    settings = draw(st.lists(st.sampled_from(SETTINGS), min_size=1, max_size=3))
    found = []
    for row in rows:
        said = draw(st.sampled_from(settings))
        name = draw(st.sampled_from([row["model_name"], row["model_name"].upper()]))
        found.append(
            row | {
                "settings": None if said is None else json.dumps(said), "model_name": name,
                "source": draw(st.sampled_from(["a", "b", "c", "gone"])),
            }
        )  # fmt: skip
    for row in draw(st.lists(st.sampled_from(found), max_size=6)) if found else []:
        score = draw(st.sampled_from([row["score"], 0.25]))
        size = draw(st.sampled_from([row["total_params"], 7]))
        found.append(row | {"source": "d", "score": score, "total_params": size})
    return draw(st.permutations(found))


def assert_same_curves(one, other):
    pd.testing.assert_frame_equal(one.keys, other.keys)
    for name in POINTS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


@FEWER
@given(stored_rows(), st.integers(1, 4), st.integers(1, 30), st.sampled_from(["all", "last"]))
def test_groups_have_the_curves_of_all_observations(rows, n_parts, most, checkpoint):
    with store_of(rows, n_parts) as store:
        groups = store.observation_groups(rows=most)
        whole = store.observations()
        assert_same_curves(
            bm.build_curves(groups, checkpoint=checkpoint),
            bm.build_curves(whole, checkpoint=checkpoint),
        )
        again = pd.concat([whole.head(0), *groups]).sort_index().reset_index(drop=True)
        # What was dropped as a repetition keeps its place among the labels of replicates alone.
        replicate = again.pop("replicate"), whole["replicate"]
        pd.testing.assert_frame_equal(again, whole.drop(columns="replicate"))
        assert replicate[0].astype(str).tolist() == replicate[1].astype(str).tolist()


@FEWER
@given(stored_rows(), st.integers(1, 4), st.integers(1, 30), st.sampled_from(["all", "last"]),
       st.sampled_from([(), ("400",)]))  # fmt: skip
def test_groups_have_the_problems_of_all_observations(rows, n_parts, most, checkpoint, counts):
    options = {"checkpoint": checkpoint, "example_counts": counts}
    with store_of(rows, n_parts) as store:
        groups = store.observation_groups(rows=most)
        streamed, problems = looked_through(groups, options, None, is_published=False)
        whole, expected = looked_through(store.observations(), options, None, is_published=False)
        for one, other in zip(problems, [*expected[:3], store.conflicts()], strict=True):
            pd.testing.assert_frame_equal(one, other)
        numbers = pd.concat([whole.head(0), *streamed]).sort_index()["n_examples"]
        assert numbers.astype("Int64").tolist() == whole["n_examples"].astype("Int64").tolist()


@FEWER
@given(stored_rows(), st.integers(1, 30), st.sampled_from([True, False, ["second"]]))
def test_groups_have_the_known_issues_of_all_observations(rows, most, exclude):
    options = StudyOptions(issues=SPOILED, exclude_known_issues=exclude)
    with store_of(rows, 2) as store:
        if not len(store.observations()):
            return
        curves, findings = options.curves(store.observation_groups(rows=most))
        expected, found = options.curves(store.observations())
        assert_same_curves(curves, expected)
        pd.testing.assert_frame_equal(findings.affected, found.affected)
        assert findings.summary == found.summary


@FEWER
@given(stored_rows(), st.integers(1, 30))
def test_groups_of_what_is_selected(rows, most):
    wanted = {"task": ["u"], "metric": ["bleurt", "made_up"], "model_family": "f"}
    with store_of(rows, 2) as store:
        groups = store.observation_groups(**wanted, rows=most)
        whole = store.observations(**wanted)
        assert_same_curves(bm.build_curves(groups), bm.build_curves(whole))
        assert groups.names("metric") == [str(name) for name in whole["metric"].unique()]


def rows_of(n_tasks, n_models, *, order="tasks"):
    """Rows of tasks, models and three metrics, one task after another or one model."""
    rows = [
        {"benchmark": "b", "task": f"t{task:03}", "metric": metric, "model_family": "f",
         "model_name": f"m{model}", "total_params": 10**6 * (1 + model),
         "score": task * model / 999, "source": f"{model}.json", "n_examples": 100}
        for task in range(n_tasks) for model in range(n_models)
        for metric in ("acc", "bleu", "made_up")
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row["model_name"]) if order == "models" else rows


@pytest.mark.parametrize("order", ["tasks", "models"])
def test_a_group_holds_whole_tasks_and_no_more_rows_than_asked_for(tmp_path, order):
    store = write_store(tmp_path / "s", [pd.DataFrame(rows_of(40, 6, order=order))])
    groups = store.observation_groups(rows=100)
    sizes = [len(group) for group in groups]
    tasks = [set(group["task"]) for group in groups]
    assert max(sizes) <= 100
    assert sum(sizes) == len(groups) == 40 * 6 * 3
    assert sum(map(len, tasks)) == len(set().union(*tasks)) == 40
    assert [len(group) for group in store.observation_groups(rows=10)] == [18] * 40


@pytest.mark.parametrize("order", ["tasks", "models"])
def test_a_group_is_all_that_is_in_memory(tmp_path, order):
    rows = rows_of(300, 30, order=order)
    store = write_store(tmp_path / "s", [pd.DataFrame(rows)])
    groups = store.observation_groups(rows=len(rows) // 20)
    whole = conform(store.observations()).nbytes
    del rows
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    assert max(pool.bytes_allocated() - before for _ in groups) < whole / 4


def test_groups_can_be_gone_through_again(tmp_path):
    store = write_store(tmp_path / "s", [pd.DataFrame(rows_of(4, 3))])
    groups = store.observation_groups(rows=20)
    assert isinstance(groups, ObservationGroups)
    assert repr(groups) == "ObservationGroups(36 rows in 2 groups)"
    for one, two in zip(groups, groups, strict=True):
        pd.testing.assert_frame_equal(one, two)


def test_no_model_of_any_group_has_the_checkpoint(tmp_path):
    said = [row | {"settings": '{"checkpoint": "step1"}'} for row in rows_of(3, 3)]
    store = write_store(tmp_path / "s", [pd.DataFrame(said)])
    with pytest.raises(InputError, match="no model has the checkpoint 'x'"):
        bm.build_curves(store.observation_groups(rows=10), checkpoint="x")


@pytest.mark.parametrize(
    "command",
    [
        ["score"],
        pytest.param(
            ["score", "--task", "t001", "--task", "t002", "--exclude-known-issues"],
            marks=pytest.mark.full,
        ),
        pytest.param(["score", "--signal-to-noise", "--n-examples", "50"], marks=pytest.mark.full),
        ["analyze", "--no-inference", "--level", "all"],
        pytest.param(["accounts", "--level", "all"], marks=pytest.mark.full),
    ],
    ids=" ".join,
)
def test_commands_do_not_show_that_a_store_came_in_groups(tmp_path, monkeypatch, command):
    rows = pd.DataFrame(rows_of(6, 5, order="models"))
    other = rows.assign(source="other.json", score=rows["score"] + (rows["task"] == "t003") / 9)
    store = write_store(tmp_path / "s", [rows, other])
    name, *options = command
    whole = run_json(name, store.path, *options)
    monkeypatch.setattr(loading, "_MOST_IN_MEMORY", 0)
    defaults = bm.Store.observation_groups.__kwdefaults__
    monkeypatch.setitem(defaults, "rows", 40)
    assert run_json(name, store.path, *options) == whole
