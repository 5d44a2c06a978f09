"""The embedded sets: what is declared of them, and that it is true of their files."""

from __future__ import annotations

import pytest

import bigbench_meta as bm
from bigbench_meta.catalog.embedded import EMBEDDED_SETS, STUDIED_SETS, embedded_set
from bigbench_meta.catalog.published import data_path
from bigbench_meta.core.errors import InputError


def test_names_and_roles():
    assert {entry.name: entry.role for entry in EMBEDDED_SETS} == {
        "lamda": "evidence",
        "gpt3": "evidence",
        "paper": "illustration",
        "trained": "experiment",
        "trained_checkpoints": "experiment",
        "wei2022_chain_of_thought": "illustration",
    }
    assert [entry.name for entry in EMBEDDED_SETS][: len(STUDIED_SETS)] == list(STUDIED_SETS)


def test_every_table_of_observations_is_of_one_set():
    folder = data_path("SOURCES.md").parent
    tables = {
        path.name
        for path in folder.glob("*.csv")
        if path.read_text(encoding="utf-8").startswith("benchmark,task,subtask,metric,model_family")
    }
    files = {entry.file for entry in EMBEDDED_SETS if entry.file.endswith(".csv")}
    assert files == tables


@pytest.mark.parametrize("entry", EMBEDDED_SETS, ids=lambda entry: entry.name)
def test_each_set_is_named_by_its_file_as_well(entry):
    stem = entry.file.partition(".")[0]
    assert embedded_set(stem) is embedded_set(entry.name) is entry
    assert bm.load_embedded(stem).equals(bm.load_embedded(entry.name))
    for text in (entry.shows, entry.limits):
        assert text.endswith(".")


def test_what_the_sets_say_of_themselves():
    lamda = bm.load_embedded("lamda")
    assert (lamda["task"].nunique(), lamda["model_name"].nunique()) == (85, 12)
    gpt3 = bm.load_embedded("gpt3").drop_duplicates(["task", "metric"])
    assert len(gpt3) == 63
    per_task = gpt3.groupby("task", observed=True).size()
    assert (len(per_task), int((per_task > 1).sum())) == (52, 11)
    prompts = bm.load_embedded("wei2022_chain_of_thought")
    sizes = prompts.dropna(subset="total_params").groupby(
        ["task", "model_family"], observed=True
    )["total_params"].nunique()  # fmt: skip
    assert sizes.max() == 5


def test_by_default_the_results_of_gpt3():
    assert bm.load_embedded().equals(bm.load_embedded("gpt3"))


@pytest.mark.parametrize("name", ["", "GPT3", "gpt3.csv", "metrics"])
def test_another_name(name):
    with pytest.raises(InputError, match=r"no embedded set .*\nHint: one of lamda, gpt3, paper"):
        embedded_set(name)


def test_outputs_are_those_that_were_scored():
    samples = bm.load_embedded_samples("trained")
    scores = bm.load_embedded("trained")
    keys = ["model_family", "model_name", "subtask", "replicate"]
    scored = set(scores[keys].astype(str).itertuples(index=False, name=None))
    given = samples.select(keys).to_pandas().drop_duplicates().astype(str)
    assert set(given["replicate"]) == {"seed 0"}
    assert set(given.itertuples(index=False, name=None)) <= scored


@pytest.mark.parametrize("name", ["lamda", "wei2022_chain_of_thought"])
def test_a_set_without_outputs(name):
    with pytest.raises(InputError, match="has no outputs"):
        bm.load_embedded_samples(name)
