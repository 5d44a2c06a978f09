"""Ingest against its floor and its peers, on a corpus of BIG-bench's size and on ten of them.

    python benchmarks/ingest.py [--copies 1 10] [--repeats 3] [--corpus FOLDER] [--official PATH]

The floor reads every file and calls ``orjson.loads`` on it, nothing else. Every measurement runs in
a process of its own, floor and ours in turn, and the best of the repeats counts; times are without
the start of the interpreter and imports, but with the start of worker processes. ``--official``
takes the ``bigbench`` 1.0.0 source distribution and adds its loader plus flattening into rows, one
dict each with the columns that ours have; it takes 8 GB on ten copies. orjson is needed here,
though not by the package: ``python -m pip install orjson``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Result = dict[str, dict[str, float]]

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]


def files_below(root: str) -> list[str]:
    return [os.path.join(d, name) for d, _, names in os.walk(root) for name in names]


def run_floor(root: str, _: str) -> int:
    import orjson

    count = 0
    for path in files_below(root):
        with open(path, "rb") as file:
            data = file.read()
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError:
            json.loads(data)  # NaN is not JSON; the floor must read it all the same
        count += 1
    return count


def run_read(root: str, _: str) -> int:
    count = 0
    for path in files_below(root):
        with open(path, "rb") as file:
            file.read()
        count += 1
    return count


def _ingest(root: str, store: str, jobs: int) -> int:
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.store.store import Store

    return Store(store).ingest(root, execution=Execution(jobs=jobs)).observations


def run_one_job(root: str, store: str) -> int:
    return _ingest(root, store, 1)


def run_two_jobs(root: str, store: str) -> int:
    return _ingest(root, store, 2)


def run_again(root: str, store: str) -> int:
    from bigbench_meta.store.store import Store

    summary = Store(store).ingest(root)
    if summary.unchanged != summary.files:
        raise SystemExit(f"{summary} should be unchanged")
    return summary.unchanged


def run_one_task(root: str, store: str) -> int:
    """Read one task out of the store."""
    return len(one_task(root, store))


def one_task(root: str, store: str) -> pd.DataFrame:
    from bigbench_meta.store.store import Store

    tasks = sorted(os.listdir(root))
    return Store(store).observations(task=tasks[len(tasks) // 2])


def run_answer(_: str, store: str) -> int:
    """Read a Parquet file that holds this task and nothing else."""
    import pandas as pd

    return len(pd.read_parquet(f"{store}.answer"))


def run_official(root: str, store: str) -> int:
    """Load with the official loader, flatten, and write what an ingest leaves: zstd Parquet."""
    import pandas as pd
    from official import load_official

    with tempfile.TemporaryDirectory() as folder:
        results = load_official(Path(folder)).results
    rows = [
        {
            "task": file.task.task_name,
            "subtask": entry.subtask_description,
            "metric": metric,
            "model_family": file.model.model_family,
            "model_name": file.model.model_name,
            "shots": entry.number_of_shots,
            "total_params": file.model.total_params,
            "non_embedding_params": file.model.non_embedding_params,
            "flop_matched": file.model.flop_matched_non_embedding_params,
            "score": score,
            "is_preferred": metric == entry.preferred_score,
            "low_score": entry.low_score,
            "high_score": entry.high_score,
        }
        for file in results.load_results_files(root)
        for entry in file.scores
        for metric, score in entry.score_dict.items()
    ]
    frame = pd.DataFrame(rows)
    frame.to_parquet(f"{store}.parquet", compression="zstd")
    return len(frame)


def run_df_loc(root: str, _: str) -> int:
    """Append 2,000 rows one at a time, as a first script does."""
    import pandas as pd

    frame = pd.DataFrame(columns=["task", "model", "metric", "score"])
    for path in files_below(root):
        content = json.loads(Path(path).read_bytes())
        for entry in content["scores"]:
            for metric, score in entry["score_dict"].items():
                row = [content["task"]["task_name"], content["model"]["model_name"], metric, score]
                frame.loc[len(frame)] = row
                if len(frame) == 2000:
                    return 2000
    return len(frame)


RUNS = {
    "floor": run_floor, "read": run_read, "one_job": run_one_job, "two_jobs": run_two_jobs,
    "again": run_again, "one_task": run_one_task, "answer": run_answer, "official": run_official,
    "df_loc": run_df_loc,
}  # fmt: skip
_STORE = ["bigbench_meta.store.store"]
IMPORTED = {
    "one_job": _STORE, "two_jobs": _STORE, "again": _STORE, "answer": ["pandas"],
    "one_task": ["pyarrow.dataset", "bigbench_meta.readers.conflicts", *_STORE],
    "official": ["pandas"], "df_loc": ["pandas"],
}  # fmt: skip


def child(name: str, root: str, store: str) -> None:
    """Run one measurement and print it; what a process of its own does."""
    for module in IMPORTED.get(name, ()):
        importlib.import_module(module)
    start = time.perf_counter()
    count = RUNS[name](root, store)
    seconds = time.perf_counter() - start
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024
    print(json.dumps({"seconds": seconds, "count": count, "peak_mb": peak}))


def measure(name: str, root: Path, store: Path, *, keep: bool = False) -> dict[str, float]:
    if not keep:
        shutil.rmtree(store, ignore_errors=True)
    command = [sys.executable, __file__, "--child", name, str(root), str(store)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def best(runs: list[dict[str, float]]) -> dict[str, float]:
    return min(runs, key=lambda run: run["seconds"])


def study(root: Path, work: Path, repeats: int, official: str | None) -> Result:
    names = ["floor", "one_job", "two_jobs", "read"]
    kept = ["again", "one_task", "answer"]  # these need a store
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in [*names, *kept]}
    for _ in range(repeats):
        for name in names:
            runs[name].append(measure(name, root, work / "store"))
            if name == "one_job":
                one_task(str(root), str(work / "store")).to_parquet(work / "store.answer")
                for other in kept:
                    runs[other].append(measure(other, root, work / "store", keep=True))
    result = {name: best(found) for name, found in runs.items()}
    if official:
        os.environ["BIGBENCH_SDIST"] = official
        result["official"] = measure("official", root, work / "store")
    return result


def report(title: str, result: dict[str, dict[str, float]]) -> None:
    floor = result["floor"]["seconds"]
    files, rows = result["floor"]["count"], result["one_job"]["count"]
    print(f"\n{title}: {files:,.0f} files, {rows:,.0f} rows, floor {floor:.2f} s")
    for name, run in result.items():
        ratio = run["seconds"] / floor
        print(f"  {name:10} {run['seconds']:8.2f} s {ratio:7.2f} x floor {run['peak_mb']:7.0f} MB")
    again = result["again"]["seconds"] / result["read"]["seconds"]
    print(f"  again, unchanged: {again:.2f} x reading the bytes")
    one, answer = (result[name]["seconds"] for name in ("one_task", "answer"))
    print(f"  one task of the store: {one / answer:.1f} x a file of that task alone")
    if "official" in result:
        ratios = [result["official"]["seconds"] / result[name]["seconds"]
                  for name in ("one_job", "two_jobs")]  # fmt: skip
        print("  official loader, flattened, to Parquet: "
              "{:.1f} x one job, {:.1f} x two".format(*ratios))  # fmt: skip


def main() -> None:
    import corpus

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, nargs="*", default=[1, 10])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--corpus", type=Path, help="keep the corpora here and use them again")
    parser.add_argument("--official", help="bigbench 1.0.0 source distribution")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        base = options.corpus or work
        for copies in options.copies:
            root = base / f"x{copies}"
            if not root.exists():
                corpus.write(root, copies=copies)
            result = study(root, work, options.repeats, options.official)
            report(f"{copies}x", result)
        single, damaged = base / "x1", base / "x1_nan"
        if not single.exists():
            corpus.write(single, copies=1)
        if not damaged.exists():
            corpus.write(damaged, nan_share=0.01)
        pairs = [
            [measure("one_job", root, work / "s") for root in (single, damaged)]
            for _ in range(options.repeats)
        ]
        clean, with_nan = (best(list(runs)) for runs in zip(*pairs, strict=True))
        print(f"\n1% of files with NaN: {with_nan['seconds'] / clean['seconds']:.2f} x without")
        rows = measure("df_loc", single, work / "s")
        ours = clean["seconds"] / clean["count"]
        ratio = rows["seconds"] / rows["count"] / ours
        print(f"one df.loc row at a time: {ratio:,.0f} x one job, a row")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
