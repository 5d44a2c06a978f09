"""Fuzz the readers with a fixed budget of spoilt files.

Small sound files of every format are spoilt, one at a time: their bytes, their JSON, their tables,
their archives (``tests/fuzz_mutations.py``). Each is read among sound files, and what came of it is
compared with what a naive reader sees (``tests/fuzz_cases.py``): no crash, no hang, every file is
loaded or a problem, and what was not touched is as ever.

A case is known by its format, the seed and its number, and these make it again. The readers work in
processes of their own: one that is silent for too long, or that dies, is a fault of the file at
hand, and another one goes on behind it. The exit code is 1 if there is any fault, else 0.

Examples:
    python scripts/fuzz_readers.py --files 1000
    python scripts/fuzz_readers.py --formats "helm stats" zip --seed 7 --jobs 2 --keep faults
    python scripts/fuzz_readers.py --formats zip --seed 7 --case 1234 --keep faults
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.context import SpawnProcess

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

# Hostile sizes must end in an error, not in the machine's memory.
MOST_MEMORY = 8 << 30
# Frames and strict reading cost as much as many cases.
FRAMES_EVERY = 40
PROGRESS_SECONDS = 10.0
# How often the limit a case may wait for, without working, before it counts as hung.
WAITS = 20
MOST_SHOWN = 2000


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        formats: Kinds of files, in turn.
        seed: What the cases are made of, beside format and number.
        numbers: The cases.
        jobs: Processes.
        limit: Seconds of the processor that a case may take.
        keep: Where to save the files of faults.
    """

    formats: Sequence[str]
    seed: int
    numbers: range
    jobs: int
    limit: float
    keep: Path | None

    def kind(self, number: int) -> str:
        """Return the format of a case."""
        return self.formats[number % len(self.formats)]

    def make(self, number: int) -> Any:
        """Return a case."""
        kind = self.kind(number)
        source = random.Random(f"{self.seed}/{kind}/{number}")
        return import_module("fuzz_cases").make(kind, source)


@dataclass(frozen=True)
class Done:
    """What came of a case: the result, what is wrong with it, and how long it took."""

    number: int
    result: str
    faults: tuple[str, ...]
    seconds: float


@dataclass
class Tally:
    """Counts of one format."""

    results: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0
    n_faults: int = 0

    def add(self, done: Done) -> None:
        """Count a case."""
        self.results[done.result] += 1
        self.seconds += done.seconds
        self.slowest = max(self.slowest, done.seconds)
        self.n_faults += bool(done.faults)


# --- Working ---


def work(plan: Plan, numbers: Sequence[int], connection: Connection) -> None:
    """Read cases and tell what came of each; what a worker process runs."""
    limit_memory()
    warnings.simplefilter("error")
    cases = import_module("fuzz_cases")
    with tempfile.TemporaryDirectory() as root:
        folder = cases.Folder(Path(root))
        for seeds in cases.SEEDS.values():  # the sound files are read first, and take no time later
            for seed in seeds:
                cases.sounds_of(seed, folder)
        connection.send(None)
        for number in numbers:
            case, start = plan.make(number), time.monotonic()
            outcome = cases.check(case, folder, frames=number % FRAMES_EVERY == 0)
            seconds = time.monotonic() - start
            connection.send(Done(number, outcome.result, tuple(outcome.complaints), seconds))


def limit_memory() -> None:
    """Make allocations fail that the machine could not bear; where that is possible."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, most))


class Worker:
    """A process that works on cases, and the watch over it.

    Args:
        plan: What to do.
        numbers: The cases of this process.
    """

    def __init__(self, plan: Plan, numbers: Sequence[int]) -> None:
        self.plan, self.left = plan, list(reversed(numbers))
        self.process: SpawnProcess | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (self.plan, self.left[::-1], theirs)
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.since, self.used, self.is_ready = time.monotonic(), 0.0, False

    def take(self) -> Done | None:
        """Return the news of the process: a case that is done, or that has ended it."""
        try:
            done: Done | None = self.connection.recv()
        except EOFError:
            return self._failed("died")
        self.since, self.used = time.monotonic(), processor_seconds(self.process)
        if done is None:
            self.is_ready = True
        else:
            self.left.pop()
        return done

    def check(self) -> Done | None:
        """Return the case at hand if it takes too long, and go on behind it."""
        limit, waited = self.plan.limit, time.monotonic() - self.since
        # A machine that is busy with other things stops a process for longer than any file does.
        is_busy = waited > limit and processor_seconds(self.process) - self.used > limit
        return self._failed("hung") if is_busy or waited > WAITS * limit else None

    def _failed(self, result: str) -> Done:
        if self.process is not None:
            self.process.kill()
            self.process.join()
        if not self.is_ready or not self.left:
            raise SystemExit(f"a worker {result} before its first case, or after its last one")
        code = self.process.exitcode if self.process else None
        seconds = time.monotonic() - self.since
        done = Done(self.left.pop(), result, (f"the reader {result}: exit code {code}",), seconds)
        self._start()
        return done

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()


def processor_seconds(process: SpawnProcess | None) -> float:
    """Return how much time of the processor a process has taken, 0 where nobody tells."""
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text() if process else ""
        # The name of the program stands in brackets, and may hold blanks.
        ticks = text.rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") if ticks else 0.0
    except (OSError, ValueError):
        return 0.0


def run(plan: Plan) -> Iterator[Done]:
    """Run all cases; yield what came of each, in no order."""
    workers = [Worker(plan, plan.numbers[first :: plan.jobs]) for first in range(plan.jobs)]
    busy = [worker for worker in workers if worker.left]
    try:
        while busy:
            ready = wait([worker.connection for worker in busy], timeout=1)
            for worker in busy:
                done = worker.take() if worker.connection in ready else worker.check()
                if done is not None:
                    yield done
            busy = [worker for worker in busy if worker.left]
    finally:
        for worker in workers:
            worker.stop()


# --- Reporting ---


def save(plan: Plan, done: Done) -> Path | None:
    """Save the file of a fault, with what was done to it and what came of it."""
    if plan.keep is None:
        return None
    case = plan.make(done.number)
    folder = plan.keep / f"{plan.kind(done.number)}-{plan.seed}-{done.number}".replace(" ", "_")
    files = case.seed.beside | {case.name: case.data}
    for name, content in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    text = "\n\n".join([describe(plan, done), *done.faults])
    (folder / "fault.txt").write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return folder


def describe(plan: Plan, done: Done) -> str:
    """Return what tells a case from others, and what was done to its file."""
    case = plan.make(done.number)
    how = "named" if case.named else "found in a folder"
    where = f"{plan.kind(done.number)}, seed {plan.seed}, case {done.number}"
    return f"{where}: {case.name}, {how}: {case.change}"


def show_fault(plan: Plan, done: Done) -> None:
    """Print a fault, and save its file."""
    folder = save(plan, done)
    print(f"FAULT {describe(plan, done)}", f"(saved in {folder})" if folder else "")
    for fault in done.faults:
        shown = fault if len(fault) <= MOST_SHOWN else f"...{fault[-MOST_SHOWN:]}"
        print("   ", shown.replace("\n", "\n    "))
    sys.stdout.flush()


def show_table(tallies: dict[str, Tally]) -> None:
    """Print the counts by format and result."""
    results = [*import_module("fuzz_cases").OUTCOMES, "crash", "hung", "died"]
    head = ["format", "files", *results, "faults", "ms/file", "slowest s"]
    rows = [head]
    for kind, tally in tallies.items():
        total = tally.results.total()
        counts = [total, *(tally.results[result] for result in results), tally.n_faults]
        per_file = f"{1000 * tally.seconds / max(total, 1):.1f}"
        rows.append([kind, *map(str, counts), per_file, f"{tally.slowest:.1f}"])
    sums = [str(sum(int(row[n]) for row in rows[1:])) for n in range(1, len(results) + 3)]
    for name, *cells in [*rows, ["all", *sums]]:
        print(f"{name:18}", *(f"{cell:>9}" for cell in cells))


def arguments() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    formats = list(import_module("fuzz_seeds").SEEDS)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--case", type=int, help="this one only, of the one format named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", choices=formats, default=formats, metavar="FORMAT",
                        help=f"some of: {', '.join(formats)}")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--limit", type=float, default=30.0,
                        help="seconds of the processor for a file (%(default)s)")  # fmt: skip
    parser.add_argument("--keep", type=Path, help="folder to save the files of faults in")
    return parser.parse_args()


def main() -> int:
    """Run the cases, report what came of them, and return the exit code."""
    given = arguments()
    numbers = range(given.first, given.first + given.files)
    if given.case is not None:
        numbers = range(given.case, given.case + 1)
    plan = Plan(given.formats, given.seed, numbers, given.jobs, given.limit, given.keep)
    tallies = {kind: Tally() for kind in plan.formats}
    start = last = time.monotonic()
    for count, done in enumerate(run(plan), 1):
        tallies[plan.kind(done.number)].add(done)
        if done.faults:
            show_fault(plan, done)
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            print(f"{count} of {len(numbers)} files, {last - start:.0f} s", file=sys.stderr)
    show_table(tallies)
    n_faults = sum(tally.n_faults for tally in tallies.values())
    print(f"{len(numbers)} files, seed {plan.seed}: {n_faults} faults,",
          f"{time.monotonic() - start:.0f} s")  # fmt: skip
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
