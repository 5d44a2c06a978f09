"""Every score, low and high score equals that of the official loader, whose x 100 is undone."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from helpers import SIZES, plain, score_file, write_tree
from official import load_official

import bigbench_meta as bm

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import ModuleType

SAMPLE_FILES = 492
# What the official loader multiplies by 100 (bigbench/api/results.py, RENORMALIZED_METRICS).
N_RENORMALIZED = 8


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load_official(tmp_path_factory.mktemp("bigbench_api"))


@pytest.fixture
def tree(tmp_path: Path, official: ModuleType) -> Path:
    """Tasks with subtasks, several shots and every renormalised metric, as the evaluator writes."""
    metrics = [*official.RENORMALIZED_METRICS, "bleu", "custom score"]
    documents = []
    for number, (name, params) in enumerate(SIZES.items()):
        for preferred in metrics:
            subtasks = ["first part", "second → part"] if preferred != "bleu" else ["t bleu"]
            scores = [
                official.task_api.ScoreData(
                    score_dict={
                        m: (k + 1) / (7 + number) + len(subtask) * shots / 13
                        for k, m in enumerate(metrics)
                    },
                    preferred_score=preferred,
                    number_of_shots=shots,
                    low_score=0.1 + len(subtask) / 30,
                    high_score=1.7,
                    subtask_description=subtask,
                )
                for shots in (-1, 0, 3)
                for subtask in subtasks
            ]
            all_scores = official.add_aggregate_scores(task_name=f"t {preferred}", scores=scores)
            documents.append(
                score_file(
                    task_name=f"t {preferred}",
                    model_name=name,
                    params=params,
                    scores=[dataclasses.asdict(one) for one in all_scores],
                )
            )
    write_tree(tmp_path / "tree", documents)
    return tmp_path / "tree"


Values = tuple[float, bool, float | None, float | None]


def theirs(official: ModuleType, folder: Path, **options: bool) -> dict[tuple[Any, ...], Values]:
    """Score, preferred or not, low and high by key, as the official loader has them."""
    found: dict[tuple[Any, ...], Values] = {}
    for path in sorted(folder.glob("*/results/scores_*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        data = official.ResultsFileData.fromdict(document, **options)
        for one in data.scores:
            for metric, score in one.score_dict.items():
                preferred = metric == one.preferred_score
                found[
                    data.task.task_name,
                    one.subtask_description,
                    metric,
                    data.model.model_family,
                    data.model.model_name,
                    one.number_of_shots,
                ] = (
                    score,
                    preferred,
                    one.low_score if preferred else None,
                    one.high_score if preferred else None,
                )
    return found


def ours(folder: Path, *, times_100: Iterable[str] = ()) -> dict[tuple[Any, ...], Values]:
    observations, problems = bm.read_results(folder)
    assert plain(problems) == []

    def value(row: dict[str, Any], column: str) -> Any:
        # The same product as the official one, so that equality can be exact.
        is_scaled = row["metric"] in times_100 and row[column] is not None
        return row[column] * 100 if is_scaled else row[column]

    found = {
        (
            row["task"],
            row["subtask"],
            row["metric"],
            row["model_family"],
            row["model_name"],
            -1 if row["shots"] is None else row["shots"],
        ): (
            value(row, "score"),
            row["is_preferred"],
            value(row, "low_score"),
            value(row, "high_score"),
        )
        for row in plain(observations)
    }
    assert len(found) == len(observations)
    return found


def test_samples(official: ModuleType, shared: Path) -> None:
    folder = shared / "samples" / "bigbench_results"
    assert len(official.load_results_files(str(folder))) == SAMPLE_FILES
    expected = theirs(official, folder)
    found = ours(folder, times_100=official.RENORMALIZED_METRICS)
    assert found == expected
    assert ours(folder) != expected  # the factor is really undone


def test_generated_tree(official: ModuleType, tree: Path) -> None:
    assert len(official.RENORMALIZED_METRICS) == N_RENORMALIZED
    expected = theirs(official, tree)
    preferred = {key[2] for key, values in expected.items() if values[1]}
    assert preferred >= set(official.RENORMALIZED_METRICS)
    assert {key[5] for key in expected} == {-1, 0, 3}
    assert ours(tree, times_100=official.RENORMALIZED_METRICS) == expected


def test_without_renormalization(official: ModuleType, tree: Path) -> None:
    assert ours(tree) == theirs(official, tree, normalize=False)


def test_task_results_by_params(official: ModuleType, tree: Path) -> None:
    """The official grouping, [subtask][metric][family][shots] -> (params, score) by params."""
    grouped: dict[tuple[Any, ...], list[tuple[int, float]]] = defaultdict(list)
    for row in plain(bm.read_results(tree)[0]):
        factor = 100 if row["metric"] in official.RENORMALIZED_METRICS else 1
        shots = -1 if row["shots"] is None else row["shots"]
        key = (row["task"], row["subtask"], row["metric"], row["model_family"], shots)
        point = (row["flop_matched_non_embedding_params"], row["score"] * factor)
        grouped[key].append(point)
    n_series = 0
    for task, results in official.load_results(str(tree)).items():
        for subtask, by_metric in results.data.items():
            for metric, by_family in by_metric.items():
                for family, by_shots in by_family.items():
                    for shots, samples in by_shots.items():
                        n_series += 1
                        expected = [(sample.params, sample.score) for sample in samples]
                        assert sorted(grouped[task, subtask, metric, family, shots]) == expected
    assert n_series == len(grouped)
