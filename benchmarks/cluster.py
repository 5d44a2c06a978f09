"""``analyze`` in one process, in two, and on a Dask cluster of two workers: times and tables.

    python benchmarks/cluster.py --curves 10000
    python benchmarks/cluster.py --curves 100000 --only processes    # the whole, once

Runs the command on the simulated curves of ``benchmarks/inference.py`` and compares the folders of
tables that it wrote byte by byte. ``--kills 10`` kills a worker of the cluster at so many random
moments of that run. The overhead of a chunk is measured with tasks that do nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from inference import observations

from bigbench_meta.core.execute import Execution, execute, kept_workers

WAYS = {
    "serial": ["--jobs", "1"],
    "processes": ["--jobs", "2"],
    "dask": ["--jobs", "2", "--cluster", "local"],
}


def analyze(file: Path, out: Path, options: list[str], kills: int) -> float:
    """Run the command and return the seconds that it took."""
    command = [sys.executable, "-m", "bigbench_meta", "analyze", str(file), "--out", str(out)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    if kills:
        threading.Thread(target=kill_workers, args=(process, kills), daemon=True).start()
    if process.wait():
        raise RuntimeError(f"analyze ended with {process.returncode}")
    return time.perf_counter() - start


def kill_workers(process: subprocess.Popen[bytes], kills: int) -> None:
    """Kill one of the processes that the command has started, at random moments."""
    rng, killed = random.Random(0), 0
    while process.poll() is None and killed < kills:
        time.sleep(rng.uniform(2, 20))
        for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
            workers = [
                int(pid) for pid in task.read_text().split()
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]  # fmt: skip
            if workers and killed < kills:
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed += 1
                print(f"  killed {killed} of {kills}", flush=True)


def digest(tables: Path) -> str:
    """Return one digest of the names and bytes of all tables."""
    found = hashlib.sha256()
    for file in sorted(tables.iterdir()):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def overhead(execution: Execution, n: int = 200) -> float:
    """Return the milliseconds that a chunk costs that has nothing to do."""
    with kept_workers(execution):
        list(execute(abs, range(20), execution))
        start = time.perf_counter()
        list(execute(abs, range(n), execution))
        return (time.perf_counter() - start) / n * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--curves", type=int, default=10_000)
    parser.add_argument("--only", choices=WAYS, action="append")
    parser.add_argument("--kills", type=int, default=0, help="of workers of the cluster")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, times, digests = Path(folder, "curves.parquet"), {}, {}
        observations(given.curves, np.random.default_rng(0)).to_parquet(file)
        for name, options in WAYS.items():
            if given.only and name not in given.only:
                continue
            kills = given.kills if name == "dask" else 0
            times[name] = analyze(file, Path(folder, name), options, kills)
            digests[name] = digest(Path(folder, name, "tables"))
            speed = f", {times['serial'] / times[name]:.2f} x" if "serial" in times else ""
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
            print(
                f"{name}: {times[name]:.0f} s{speed}, tables {digests[name]}, largest process so "
                f"far {peak} MB", flush=True,
            )  # fmt: skip
    if len(set(digests.values())) > 1:
        raise SystemExit("the tables differ")
    print(f"a chunk of no work in two processes: {overhead(Execution(jobs=2)):.1f} ms")
    dask = overhead(Execution(jobs=2, cluster="local"))
    print(f"on a cluster of two workers: {dask:.1f} ms")


if __name__ == "__main__":
    main()
