"""Memory and time of a store that is larger than memory: observations and samples by the million.

    python benchmarks/larger_than_memory.py [--observations 10000000] [--samples 10000000]
        [--layouts tasks models] [--steps score analyze rescore] [--folder DIR]

A made store has 200 tasks with subtasks, six metrics, three families of 12 to 20 sizes and four
numbers of shots. In the layout ``tasks`` every file holds one task of one model, as in BIG-bench;
in ``models`` every file holds all tasks of one model. Its parts are written by the store's own
writer, without result files. Every step runs in a process of its own; its peak memory is that which
the operating system reports, of a step with several processes that of the largest. The folder is
deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))

TASKS = 200
METRICS = (
    "exact_str_match", "multiple_choice_grade", "normalized_aggregate_score", "bleu", "rougeLsum",
    "calibration_multiple_choice_brier_score",
)  # fmt: skip
SHOTS = (0, 1, 2, 3)
SIZES = {"BIG-G T=0": 12, "BIG-G sparse": 16, "GPT": 20}
PART_ROWS = 1 << 18
REPEATED = 5  # samples of a problem


def models() -> list[tuple[str, str, int]]:
    """Return family, name and parameters of each model."""
    return [
        (family, f"{family.split()[0]}-{round(size)}m{'s' * ('sparse' in family)}", int(size * 1e6))
        for family, n in SIZES.items()
        for size in np.unique(np.geomspace(2, 200_000, n).round())
    ]


# Making a store -------------------------------------------------------------------------------


def make(folder: Path, n_observations: int, n_samples: int, layout: str) -> None:
    """Write a store of about so many rows."""
    from bigbench_meta.store.manifest import Manifest
    from bigbench_meta.store.places import place_of

    known = models()
    parts = []
    if n_observations:
        each = len(METRICS) * len(SHOTS)  # rows of a subtask and model
        n_subtasks = max(1, round(n_observations / (TASKS * len(known) * each)))
        pairs = [(task, model) for task in range(TASKS) for model in range(len(known))]
        if layout == "models":
            pairs.sort(key=lambda pair: pair[1])
        held = max(1, PART_ROWS // (n_subtasks * each))
        for begin in range(0, len(pairs), held):
            some = np.array(pairs[begin : begin + held])
            parts.append(write_observations(folder, some, n_subtasks, layout))
    if n_samples:
        n_problems = max(1, round(n_samples / (TASKS * len(known) * REPEATED)))
        parts += [write_samples(folder, task, n_problems) for task in range(TASKS)]
    Manifest(place_of(folder)).update(lambda _: tuple(parts))


def texts(names: list[str], place: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), pa.array(names))


def task_names() -> list[str]:
    return [f"task_{number:03}" for number in range(TASKS)]


def write_observations(folder: Path, pairs: np.ndarray, n_subtasks: int, layout: str) -> Any:
    """Write all scores of some pairs of a task and a model as a part."""
    import pyarrow as pa

    known = models()
    rng = np.random.default_rng(int(pairs[0, 0] * 1000 + pairs[0, 1]))
    each = n_subtasks * len(METRICS) * len(SHOTS)
    n = len(pairs) * each
    pair = np.repeat(np.arange(len(pairs)), each)
    subtask, metric, shots = (
        np.tile(axis.ravel(), len(pairs))
        for axis in np.meshgrid(
            np.arange(n_subtasks), np.arange(len(METRICS)), np.arange(len(SHOTS)), indexing="ij"
        )
    )
    task, model = pairs[pair, 0], pairs[pair, 1]
    params = np.array([size for _, _, size in known])[model]
    ability = (np.log10(params) - 9 + (task % 7) / 3 + shots / 5) * (1 + subtask % 3)
    n_examples = 50 + 10 * (task % 40)
    right = rng.binomial(n_examples, 1 / (1 + np.exp(-ability)))
    graded = metric >= 2
    score = right / n_examples
    score = np.where(graded, score + 0.01 * rng.standard_normal(n), score).clip(0, 1)
    score[metric >= 3] *= 100
    score[metric == 5] /= 100
    subtasks = [
        name if number == 0 else f"{name}:{number:03}"
        for name in task_names()
        for number in range(n_subtasks)
    ]
    files = [
        f"tree/{task_names()[t]}/results/scores_{known[m][1]}.json"
        if layout == "tasks"
        else f"tree/{known[m][1]}.json"
        for t, m in pairs.tolist()
    ]
    sources = list(dict.fromkeys(files))
    source = np.array([sources.index(name) for name in files])[pair]
    whole = np.zeros(n, dtype=np.int32)
    columns = {
        "benchmark": texts(["BIG-bench"], whole),
        "task": texts(task_names(), task),
        "subtask": texts(subtasks, task * n_subtasks + subtask),
        "metric": texts(list(METRICS), metric),
        "model_family": texts(
            list(SIZES), np.array([list(SIZES).index(f) for f, _, _ in known])[model]
        ),
        "model_name": texts([name for _, name, _ in known], model),
        "shots": pa.array(np.array(SHOTS)[shots]),
        "total_params": pa.array((params * 1.1).astype(np.int64)),
        "non_embedding_params": pa.array(params),
        "flop_matched_non_embedding_params": pa.array(params),
        "score": pa.array(score),
        "n_examples": pa.array(n_examples),
        "is_preferred": pa.array(metric == task % len(METRICS)),
        "low_score": pa.array(np.zeros(n)),
        "high_score": pa.array(np.where((metric >= 3) & (metric < 5), 100.0, 1.0)),
        "source": texts(sources, source),
    }
    counts = np.bincount(source, minlength=len(sources))
    return write_part(folder, "observations", columns, source, sources, counts, "n_rows")


def write_samples(folder: Path, task: int, n_problems: int) -> Any:
    """Write the samples of a task, and the scores that they make, as a part."""
    import pyarrow as pa

    known = models()
    rng = np.random.default_rng(task)
    model, replicate, problem = (
        axis.ravel()
        for axis in np.meshgrid(
            np.arange(len(known)), np.arange(REPEATED), np.arange(n_problems), indexing="ij"
        )
    )
    n = len(model)
    params = np.array([size for _, _, size in known])
    ability = np.log10(params)[model] - 9 + (task % 7) / 3
    correct = rng.random(n) < 1 / (1 + np.exp(-ability))
    target = rng.integers(0, 10 ** rng.integers(1, 8, n_problems))
    output = np.where(correct, target[problem], target[problem] + rng.integers(1, 99, n))
    whole = np.zeros(n, dtype=np.int32)
    name = task_names()[task]
    sources = [f"tree/{name}/results/full-log_{model_name}.json" for _, model_name, _ in known]
    family = np.array([list(SIZES).index(f) for f, _, _ in known])
    of_model = {
        "benchmark": texts(["BIG-bench"], whole),
        "task": texts([name], whole),
        "subtask": texts([name], whole),
        "model_family": texts(list(SIZES), family[model]),
        "model_name": texts([name for _, name, _ in known], model),
        "shots": pa.array(np.zeros(n, dtype=np.int64)),
        "total_params": pa.array((params * 1.1).astype(np.int64)[model]),
        "non_embedding_params": pa.array(params[model]),
        "flop_matched_non_embedding_params": pa.array(params[model]),
        "source": texts(sources, model),
    }
    targets = pa.array(target.astype(str).tolist()).take(pa.array(problem))
    columns = of_model | {
        "replicate": texts([str(number) for number in range(REPEATED)], replicate),
        "example_id": pa.array(np.arange(n_problems).astype(str).tolist()).take(pa.array(problem)),
        "input_hash": pa.array([f"{task:08x}{one:024x}" for one in range(n_problems)]).take(
            pa.array(problem)
        ),
        "targets": pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32)), targets),
        "output": pa.array(output).cast(pa.string()),
        "correct": pa.array(correct.astype(float)),
    }
    first = np.arange(len(known)) * REPEATED * n_problems
    scores = {key: column.take(pa.array(first)) for key, column in of_model.items()} | {
        "metric": texts(["exact_str_match"], np.zeros(len(known), dtype=np.int32)),
        "score": pa.array(np.bincount(model, correct) / (REPEATED * n_problems)),
        "n_examples": pa.array(np.full(len(known), REPEATED * n_problems)),
    }
    ones = np.arange(len(known))
    part = write_part(folder, "observations", scores, ones, sources, np.ones(len(ones)), "n_rows")
    more = write_part(
        folder, "samples", columns, model, sources, np.full(len(ones), n // len(ones)), "n_samples",
        files=part.files,
    )  # fmt: skip
    return replace(part, samples=more.samples, files=more.files)


def write_part(
    folder: Path, kind: str, columns: dict[str, pa.Array], file: np.ndarray, sources: list[str],
    counts: np.ndarray, counted: str, files: str | None = None,
) -> Any:  # fmt: skip
    """Write one Parquet file and the list of its files."""
    import pyarrow as pa

    from bigbench_meta.core.schema import FILE
    from bigbench_meta.store.manifest import FILES, STORED, Part, PartWriter, write_table
    from bigbench_meta.store.places import place_of

    schema = STORED[kind]
    n = len(file)
    columns = columns | {FILE: pa.array(file.astype(np.int32))}
    table = pa.table(
        [
            columns[field.name].cast(field.type)
            if field.name in columns
            else pa.nulls(n, field.type)
            for field in schema
        ],
        schema,
    )
    with PartWriter(place_of(folder), kind) as writer:
        for begin in range(0, n, 1 << 17):
            writer.write(table.slice(begin, 1 << 17))
    listed = len(sources)
    numbers = {"n_rows": np.zeros(listed), "n_samples": np.zeros(listed)} | {counted: counts}
    if files is not None:
        import pyarrow.parquet as pq

        old = pq.read_table(folder / "files" / f"{files}.parquet")
        numbers["n_rows"] = old["n_rows"].to_numpy()
    rows = pa.table(
        {
            "identity": [f"/{source}" for source in sources],
            "label": sources,
            "format": ["bigbench" if kind == "observations" else "full_log"] * listed,
            "size": [1] * listed,
            "stamp": [1] * listed,
            "digest": [b""] * listed,
            **{name: values.astype(np.int64) for name, values in numbers.items()},
            "reader": ["made"] * listed,
            "ingested": ["2000-01-01T00:00:00+00:00"] * listed,
            "current": [True] * listed,
        }
    ).cast(FILES)
    tasks = [str(name) for name in table["task"].unique().to_pylist()]
    return Part(
        files=write_table(place_of(folder), "files", rows),
        tasks=[min(tasks), max(tasks)],
        **{kind: writer.name},
    )


# Steps ----------------------------------------------------------------------------------------


def command(*words: str) -> Callable[[Path], Any]:
    """Return a step that runs the command line in this process."""

    def run(store: Path) -> None:
        from bigbench_meta.cli.main import main

        main([str(store) if word == "STORE" else word for word in words], standalone_mode=False)

    return run


def frame(store: Path) -> int:
    import bigbench_meta as bm

    return len(bm.Store(store).observations())


def curves(store: Path) -> int:
    import bigbench_meta as bm

    return len(bm.build_curves(bm.Store(store).observation_groups()))


def whole_curves(store: Path) -> int:
    import bigbench_meta as bm

    return len(bm.build_curves(bm.Store(store).observations()))


def rescored(metrics: list[str], jobs: int, **options: Any) -> Callable[[Path], int]:
    def run(store: Path) -> int:
        import bigbench_meta as bm
        from bigbench_meta.core.execute import Execution
        from bigbench_meta.metrics.rescore import Rescoring

        scoring = Rescoring(metrics, **options)
        scoring.add_batches(
            bm.Store(store).sample_batches(scoring.columns), execution=Execution(jobs=jobs)
        )
        return len(scoring.result()[0])

    return run


OF_TEXTS = ["exact_str_match", "token_edit_distance"]
STEPS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "frame": ("observations", frame),
    "whole_curves": ("observations", whole_curves),
    "curves": ("observations", curves),
    "score": ("observations", command("score", "STORE")),
    "analyze": ("observations", command("analyze", "STORE", "--no-inference")),
    "rescore": ("samples", rescored(OF_TEXTS, 1)),
    "rescore_2_jobs": ("samples", rescored(OF_TEXTS, 2)),
    "by_length": ("samples", rescored(OF_TEXTS, 1, by_length=True)),
    "pass_at_2": ("samples", rescored(["pass@2", "mean_log_pass_rate"], 1)),
    "intervals": (
        "samples",
        command("score", "STORE", "--inference", "--with-samples", "--replicates", "99"),
    ),
    "rescore_command": ("samples", command("rescore", "STORE", "--metric", "token_edit_distance")),
}


def child(name: str, store: str) -> None:
    """Run one step and print its time and memory; what a process of its own does."""
    _, run = STEPS[name]
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    start, used = time.perf_counter(), time.process_time()
    run(Path(store))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (
        resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]  # fmt: skip
    found = {"seconds": seconds, "cpu": used, "peak_mb": peaks[0], "peak_mb_children": peaks[1]}
    print(json.dumps(found), file=sys.__stdout__)


def measure(name: str, store: Path) -> dict[str, float] | str:
    done = subprocess.run(
        [sys.executable, __file__, "--child", name, str(store)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def stores(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str, int, Path]]:
    """Make the stores one after another, each before its steps."""
    plan = [("observations", layout, options.observations) for layout in options.layouts]
    for kind, layout, n in [*plan, ("samples", "tasks", options.samples)]:
        if n and any(STEPS[step][0] == kind for step in options.steps):
            path = folder / f"{kind}_{layout}_{n}"
            if not path.exists():
                counts = (n, 0) if kind == "observations" else (0, n)
                make(path, *counts, layout)
            yield kind, layout, n, path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--observations", type=int, default=10_000_000)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--layouts", nargs="*", default=["tasks", "models"])
    parser.add_argument("--steps", nargs="*", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--folder", type=Path, help="keep the stores here")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        for kind, layout, n, path in stores(options, folder):
            on_disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            print(f"\n{n:,} {kind}, layout {layout}: {on_disk / 1e6:.0f} MB on disk", flush=True)
            for step in options.steps:
                if STEPS[step][0] != kind:
                    continue
                found = measure(step, path)
                if isinstance(found, str):
                    print(f"  {step:16} {found}", flush=True)
                    continue
                millions = n / 1e6
                print(
                    f"  {step:16} {found['seconds']:7.1f} s ({found['cpu']:.1f} s of the "
                    f"processor) {found['peak_mb']:7.0f} MB, largest other process "
                    f"{found['peak_mb_children']:.0f} MB; {found['seconds'] / millions:.2f} s a "
                    "million rows",
                    flush=True,
                )
    finally:
        if not options.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
