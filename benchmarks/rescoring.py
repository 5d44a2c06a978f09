"""Rescoring of samples against its floor and against loops over rows.

    python benchmarks/rescoring.py [--samples 1000000] [--repeats 3]

Samples are half sums with an answer of one to seven digits, half multiple choice with two to five
options; they lie in one Parquet file. The floor is to read the columns that the metrics need and to
compute the edit distances by one call of rapidfuzz. The peers are loops over rows, as one would
write them first; they do a part of the samples and are scaled up. All give the same scores, which
is checked. Every measurement runs in a process of its own, all in turn; times are those of the
processor, and the best of the repeats counts. Peak memory is with them.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent.parent))

OF_TEXTS = ("exact_str_match", "token_edit_distance", "per_token_accuracy")
OF_CHOICES = ("normalized_log_likelihood", "brier_score")
COLUMNS = ["output", "targets", "target_logprobs", "target_values", "example_id"]
LOOPED = 50_000  # samples that the loops do
BATCH = 1 << 16

Scores = dict[str, float]


def write(path: Path, n: int) -> None:
    """Write samples of six models on two tasks."""
    from bigbench_meta.core.schema import SAMPLES

    rng = np.random.default_rng(0)
    half = n // 2
    right = rng.integers(0, 10 ** rng.integers(1, 8, half))
    wrong = np.where(rng.random(half) < 0.5, right, right + rng.integers(-99, 99, half))
    options = rng.integers(2, 6, n - half)
    ends = np.concatenate([[0], np.cumsum(options)])
    values = np.zeros(ends[-1])
    values[ends[:-1] + rng.integers(0, options)] = 1.0
    none = pa.nulls(half, pa.list_(pa.float64()))
    offsets = pa.array(ends.astype(np.int32))
    lists = (
        pa.ListArray.from_arrays(offsets, pa.array([f"option {i % 5}" for i in range(ends[-1])])),
        pa.ListArray.from_arrays(offsets, pa.array(rng.normal(-9, 2, ends[-1]))),
        pa.ListArray.from_arrays(offsets, pa.array(values)),
    )
    answers = pa.ListArray.from_arrays(
        pa.array(np.arange(half + 1, dtype=np.int32)), pa.array(right.astype(str).tolist())
    )
    columns: dict[str, Any] = {
        "benchmark": ["made"] * n,
        "task": ["sums"] * half + ["choices"] * (n - half),
        "subtask": ["sums"] * half + ["choices"] * (n - half),
        "model_family": ["f"] * n,
        "model_name": [f"{i % 6}b" for i in range(n)],
        "example_id": [str(i) for i in range(n)],
        "output": pa.concat_arrays(
            [pa.array(wrong.astype(str).tolist()), pa.nulls(n - half, pa.string())]
        ),
        "targets": pa.concat_arrays([answers, lists[0]]),
        "target_logprobs": pa.concat_arrays([none, lists[1]]),
        "target_values": pa.concat_arrays([none, lists[2]]),
    }
    full = {name: columns.get(name, pa.nulls(n)) for name in SAMPLES.names}
    table = pa.table(full)
    schema = pa.schema(
        [
            (c.name, c.type.value_type if pa.types.is_dictionary(c.type) else c.type)
            for c in SAMPLES.columns
        ]
    )
    # Parquet has no map of nulls alone.
    pq.write_table(table.cast(schema), path, row_group_size=BATCH, store_schema=False)


def floor(path: Path, _: int) -> Scores:
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    total = count = 0
    for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=COLUMNS):
        some = batch.filter(batch["output"].is_valid())
        if some.num_rows:
            right = some["targets"].flatten().to_pylist()
            found = cpdist(some["output"].to_pylist(), right, scorer=Levenshtein.distance)
            total, count = total + float(found.sum()), count + len(found)
    return {"token_edit_distance": total / count}


def ours(path: Path, n: int) -> Scores:
    from bigbench_meta.core.schema import SAMPLES
    from bigbench_meta.metrics.rescore import Rescoring

    scoring = Rescoring([*OF_TEXTS, *OF_CHOICES])
    left = n
    names = [c.name for c in SAMPLES.columns if pa.types.is_dictionary(c.type)]
    file = pq.ParquetFile(path, read_dictionary=names)
    for batch in file.iter_batches(BATCH, columns=scoring.columns):
        scoring.add(pa.Table.from_batches([batch]))
        left -= batch.num_rows
    scores, _ = scoring.result()
    weighted = scores.assign(total=scores["score"] * scores["n_examples"]).groupby("metric")
    return dict((weighted["total"].sum() / weighted["n_examples"].sum()).items())


def loop(path: Path, n: int) -> Scores:
    """One row at a time: a part from the beginning and one from the end."""
    from rapidfuzz.distance import Levenshtein

    table = pq.read_table(path, columns=COLUMNS)
    chosen = pa.concat_tables([table.slice(0, n // 2), table.slice(table.num_rows - n // 2)])
    sums: dict[str, list[float]] = {name: [] for name in (*OF_TEXTS, *OF_CHOICES)}
    for row in chosen.to_pylist():
        if (output := row["output"]) is not None:
            (target,) = row["targets"]
            sums["exact_str_match"].append(float(output == target))
            sums["token_edit_distance"].append(Levenshtein.distance(output, target))
            hits = sum(a == b for a, b in zip(output, target, strict=False))
            sums["per_token_accuracy"].append(hits / len(target))
        else:
            top = max(row["target_logprobs"])
            weights = [math.exp(p - top) for p in row["target_logprobs"]]
            p = [weight / sum(weights) for weight in weights]
            right = row["target_values"].index(max(row["target_values"]))
            sums["normalized_log_likelihood"].append(math.log(p[right]))
            sums["brier_score"].append(
                sum((q - v) ** 2 for q, v in zip(p, row["target_values"], strict=True))
            )
    return {name: math.fsum(values) / len(values) for name, values in sums.items()}


RUNS: dict[str, Callable[[Path, int], Scores]] = {"floor": floor, "ours": ours, "loop": loop}


def child(name: str, path: str, n: str) -> None:
    if name == "write":
        write(Path(path), int(n))
        print("{}")
        return
    import rapidfuzz.process  # noqa: F401

    import bigbench_meta.metrics.rescore

    del bigbench_meta
    start = time.process_time()
    scores = RUNS[name](Path(path), int(n))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "scores": scores, "peak_mb": peak}))


def measure(name: str, path: Path, n: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, str(path), str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.parquet"
        measure("write", path, options.samples)
        small = Path(folder) / "small.parquet"
        measure("write", small, LOOPED)
        expected, found = measure("loop", small, LOOPED), measure("ours", small, LOOPED)
        for name, value in expected["scores"].items():
            if not math.isclose(value, found["scores"][name], rel_tol=1e-9):
                raise SystemExit(f"{name}: {found['scores'][name]}, in a loop {value}")
        plan = {"floor": options.samples, "ours": options.samples, "loop": LOOPED}
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in plan}
        for _ in range(options.repeats):
            for name, n in plan.items():
                runs[name].append(measure(name, path, n))
    best = {name: min(of, key=lambda run: run["seconds"]) for name, of in runs.items()}
    print(f"{options.samples:,} samples, {len(OF_TEXTS) + len(OF_CHOICES)} metrics")
    for name, run in best.items():
        seconds = run["seconds"] * options.samples / plan[name]
        print(
            f"  {name:6} {seconds:8.2f} s {seconds / best['floor']['seconds']:7.2f} x floor "
            f"{run['peak_mb']:6.0f} MB"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
