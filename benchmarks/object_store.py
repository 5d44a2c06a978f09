"""A store in a bucket against one on the local disk: ingest, and scoring from it.

    python benchmarks/object_store.py [--tasks 209 2] [--repeats 3] [--corpus FOLDER]

Starts an S3 server (moto) on this machine, which answers a request in some ten milliseconds, as
long as a near bucket does, and reads the first tasks of the corpus into a store there and one
here: 209 tasks are 0.86 million rows. Then curves are scored from both, by Python and by
``bigbench-meta score``, each time by a process of its own. Cold is with an empty mirror, warm with
one that was filled before. Times of Python are without imports of this package, but with those of
s3fs; times of the command are all of it. The best of the repeats counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]

_INGEST = """
import sys, time
import bigbench_meta.store.store as store
import pandas
begin = time.perf_counter()
store.Store(sys.argv[1]).ingest(sys.argv[2])
print(time.perf_counter() - begin)
"""

_SCORE = """
import sys, time
import bigbench_meta as bm
bm.Store, bm.build_curves, bm.score_curves
import pandas, pyarrow.dataset
begin = time.perf_counter()
bm.score_curves(bm.build_curves(bm.Store(sys.argv[1]).observations()))
print(time.perf_counter() - begin)
"""

_COMMAND = "from bigbench_meta.cli.main import main; main(['score', {!r}, '--json'])"


def seconds(code: str, *arguments: str) -> float:
    """Run a program that prints its time."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def command_seconds(store: str) -> float:
    """Run a command and return the time that it takes as a whole."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _COMMAND.format(store)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return time.perf_counter() - begin


def measure(folder: Path, corpus: Path, repeats: int) -> dict[str, tuple[float, float, float]]:
    """Return local, cold and warm seconds of each thing that is done."""
    local, url = str(folder / "store"), "s3://bucket/store"
    cache = folder / "cache"

    def cold(run: object, *arguments: str) -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return run(*arguments)  # type: ignore[operator]

    here = seconds(_INGEST, local, str(corpus))
    there = seconds(_INGEST, url, str(corpus))
    found: dict[str, tuple[float, float, float]] = {"ingest": (here, there, float("nan"))}
    todo = {
        "score, Python": lambda store: seconds(_SCORE, store),
        "score, command": command_seconds,
    }
    for name, run in todo.items():
        times = [(run(local), cold(run, url), run(url)) for _ in range(repeats)]
        found[name] = tuple(map(min, zip(*times, strict=True)))  # type: ignore[assignment]
    return found


def main() -> None:
    import corpus
    from s3_server import served

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[209, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--corpus", type=Path, help="kept for the next time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        whole = given.corpus or Path(scratch, "corpus")
        if not whole.exists():
            corpus.write(whole)
        print("tasks  what             local s  cold / local  warm / local")
        for n_tasks in given.tasks:
            folder = Path(scratch, str(n_tasks))
            for task in sorted(whole.iterdir())[:n_tasks]:
                shutil.copytree(task, folder / "results" / task.name, copy_function=os.link)
            with served() as server:
                os.environ.update(server.environment(), XDG_CACHE_HOME=str(folder / "cache"))
                server.request("PUT", "/bucket")
                found = measure(folder, folder / "results", given.repeats)
            for name, (local, cold, warm) in found.items():
                ratios = f"{cold / local:12.2f}  {warm / local:12.2f}"
                print(f"{n_tasks:5}  {name:15}  {local:7.2f}  {ratios}", flush=True)


if __name__ == "__main__":
    main()
