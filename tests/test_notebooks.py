"""The notebooks run from top to bottom and are committed without outputs."""

import json
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def score_file(task: str, model: str, size: int, score: float) -> dict:
    return {
        "scores": [
            {
                "score_dict": {"exact_str_match": score},
                "preferred_score": "exact_str_match",
                "number_of_shots": 0,
                "low_score": 0.0,
                "high_score": 1.0,
                "subtask_description": task,
            }
        ],
        "task": {"task_name": task},
        "model": {
            "model_family": "family",
            "model_name": model,
            "total_params": size,
            "non_embedding_params": size,
            "flop_matched_non_embedding_params": size,
        },
    }


@pytest.fixture
def own_results(tmp_path):
    folder = tmp_path / "own" / "task" / "results"
    folder.mkdir(parents=True)
    for size, score in ((1, 0.0), (2, 0.0), (4, 0.001), (8, 0.9)):
        file = folder / f"scores_family_{size}m.json"
        file.write_text(json.dumps(score_file("task", f"{size}m", size * 10**6, score)))
    return tmp_path / "own"


# What a notebook prints.
PRINTED = {
    "01_quickstart": [
        "21 of 189 curves have E above 100", "1 curves, 1 flagged, 0 problems",
    ],
    "02_how_sure": [
        "19 of 30 arithmetic curves have E above 100", "The odds ratio over all curves may be 1",
    ],
    "03_same_outputs_other_metrics": [
        "2 flags evaporate.", "The jump persists.",
        "Multiple-choice grade is the sharper one in 30 of 62 tasks.",
    ],
    "04_emergence_made_to_order": [
        "seeds of each size", "product of accuracies by position", "mean_squared_error: E = 22",
        "mean_squared_error<=0.025: E = 556",
    ],
    "05_paper": [
        "0 of 10 curves drawn in Fig. 2 have E above 100", "of 18 curves with the same outputs",
        "of 40 models 17 agree", "63 of 67 claims (94%)", "152 of 197 annotated tasks (77%)",
        "sharper of the two in 30 of 62 tasks",
    ],
}  # fmt: skip


def test_every_notebook_is_known():
    assert sorted(PRINTED) == [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


# Jupyter's own start-up warns of things that are not this project's.
@pytest.mark.full
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, own_results, tmp_path, monkeypatch):
    monkeypatch.setenv("BIGBENCH_RESULTS", str(own_results))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    for text in PRINTED[path.stem]:
        assert text in printed
