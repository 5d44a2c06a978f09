"""Time and memory of reading full logs, against the least that any reader could do.

The floor is to read all bytes and to decode each file by one `orjson.loads`. The logs are made on
the spot, always the same, with samples of the sizes that BIG-bench's own evaluator writes. Run it
with nothing else running, from a checkout:

    python benchmarks/full_logs.py --gb 1 --repeats 3

Needs orjson. Takes twice the named size of disk space in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = 16
POOL = 500
SAMPLES_PER_QUERY = 1500
TEXT = (
    "the of and in to a is was for that by on with as it from at his an were are which be this had "
    "has also not or its one their but first two have been all who new more when time would into "
    "only some could these about question"
)
WORDS = TEXT.split()
# Most prompts are English in ASCII; some have a typographic quote, and a few an emoji.
SPECIAL = ["it’s", "café", "👧"]

# Kind, letters of the prompt, number of targets. The first four are, in this order, the means of
# social_iqa, penguins_in_a_table, object_counting and disfl_qa, 0 to 3 shots, as BIG-bench 1.0.0
# logs them with its dummy model; the last is a task whose prompts hold a longer text.
SHAPES = [
    ("choice", 570, 3),
    ("choice", 660, 5),
    ("generation", 310, 2),
    ("generation", 2440, 1),
    ("choice", 1500, 4),
]


# --- The logs ---


def text(order: random.Random, letters: float) -> str:
    words, size = [], order.uniform(0.6, 1.4) * letters
    if order.random() < 0.1:
        words.append(order.choices(SPECIAL, [10, 10, 1])[0])
    while size > 0:
        words.append(order.choice(WORDS) + ("\n" if order.random() < 0.03 else ""))
        size -= len(words[-1]) + 1
    return " ".join(words)


def choice(order: random.Random, letters: int, n_targets: int) -> dict[str, Any]:
    targets = [f"{text(order, 20)} {number}" for number in range(n_targets)]
    scores = [-30 * order.random() for _ in targets]
    return {
        "input": text(order, letters),
        "targets": targets,
        "scores": scores,
        "target_values": {target: int(number == 0) for number, target in enumerate(targets)},
        "correct": float(order.random() < 0.5),
        "absolute_scores": scores,
        "normalized_scores": [score + 1.25 for score in scores],
        "metrics": {},
    }


def generation(order: random.Random, letters: int, n_targets: int) -> dict[str, Any]:
    output = text(order, 40)
    marks = {"bleu": None, "exact_str_match": 0.0, "rouge": None}
    return {
        "input": text(order, letters),
        "output": output,
        "targets": {f"{text(order, 20)} {number}": marks for number in range(n_targets)},
        "raw_output": output + text(order, 300),
        "metrics": {},
    }


def rendered(value: Any, indent: int | None, depth: int) -> str:
    break_ = "\n" + " " * ((indent or 0) * depth)
    return json.dumps(value, indent=indent).replace("\n", break_)


def log_pieces(seed: int, size: int, layout: str) -> Iterator[str]:
    """Yield a log of about `size` bytes: `official`, on one line, or with its queries first."""
    order = random.Random(seed)
    indent = None if layout == "one line" else 2
    kind, letters, n_targets = SHAPES[seed % len(SHAPES)]
    make = choice if kind == "choice" else generation
    function = "cond_log_prob" if kind == "choice" else "generate_text"
    pool = [rendered(make(order, letters, n_targets), indent, 4) for _ in range(POOL)]
    space, gap = (lambda depth: "\n" + " " * (2 * depth), ",") if indent else (lambda _: "", ", ")
    head = rendered(head_of(f"task{seed}"), indent, 0)[1:-1].rstrip()
    yield "{" + ("" if layout == "queries first" else head + gap)
    yield f'{space(1)}"queries": ['
    written, shots = 0, 0
    while written < size:
        yield (gap if shots else "") + f'{space(2)}{{{space(3)}"function": "{function}"{gap}'
        yield f'{space(3)}"samples": ['
        samples = order.choices(pool, k=SAMPLES_PER_QUERY)
        body = (gap + space(4)).join(samples)
        yield f"{space(4)}{body}{space(3)}]{gap}"
        yield f'{space(3)}"shots": {shots}{gap}{space(3)}"task": "task{seed}"{space(2)}}}'
        written += len(body)
        shots += 1
    yield f"{space(1)}]" + (gap + head if layout == "queries first" else "") + f"{space(0)}}}\n"


def head_of(task: str) -> dict[str, Any]:
    sizes = ("total_params", "non_embedding_params", "flop_matched_non_embedding_params")
    score = {
        "score_dict": {"exact_str_match": 0.25},
        "preferred_score": "exact_str_match",
        "number_of_shots": 0,
        "low_score": 0.0,
        "high_score": 1.0,
        "subtask_description": task,
    }
    return {
        "scores": [score],
        "task": {"task_name": task},
        "model": {"model_family": "F", "model_name": "1m", **dict.fromkeys(sizes, 10**6)},
    }


def write_log(path: Path, seed: int, size: int, layout: str = "official") -> Path:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(log_pieces(seed, size, layout))
    return path


# --- What is timed ---


def read_floor(paths: list[Path]) -> int:
    import orjson

    for path in paths:
        orjson.loads(path.read_bytes())
    return 0


def ingest(paths: list[Path], *, samples: bool = True, jobs: int = 1) -> int:
    """Ingest logs into a new store, as the command line does; return the number of samples."""
    from bigbench_meta.core.execute import Execution
    from bigbench_meta.readers import ReadOptions
    from bigbench_meta.store.store import Store

    with tempfile.TemporaryDirectory() as folder:
        options = ReadOptions(samples=samples)
        summary = Store(Path(folder, "store")).ingest(
            paths, options=options, execution=Execution(jobs=jobs)
        )
    if summary.loaded != len(paths) or len(summary.problems):
        raise RuntimeError(f"{summary} of logs that have no problems")
    return summary.samples


def timed(run: Callable[[], int]) -> tuple[float, float, int]:
    """Return seconds on the clock, seconds of processor time, and what the run returns."""
    cpu, clock = sum(os.times()[:4]), time.perf_counter()
    result = run()
    return time.perf_counter() - clock, sum(os.times()[:4]) - cpu, result


def compare(paths: list[Path], repeats: int) -> None:
    runs: dict[str, Callable[[], int]] = {
        "floor: read + orjson.loads": lambda: read_floor(paths),
        "ingest --samples, 1 job": lambda: ingest(paths),
        "ingest --samples, 2 jobs": lambda: ingest(paths, jobs=2),
        "ingest, scores only, 1 job": lambda: ingest(paths, samples=False),
    }
    taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in runs}
    # Imports are no part of it.
    read_floor(paths[:1])
    ingest(paths[:1])
    for _ in range(repeats):
        for name, run in runs.items():
            taken[name].append(timed(run))
    floor = taken["floor: read + orjson.loads"]
    print(f"{'':28} seconds  x floor (clock)  x floor (processor)")
    for name, times in taken.items():
        # Each repeat against the floor of the same repeat: the machine is not always as fast.
        clock = statistics.median(one[0] / base[0] for one, base in zip(times, floor, strict=True))
        cpu = statistics.median(one[1] / base[1] for one, base in zip(times, floor, strict=True))
        seconds = statistics.median(one[0] for one in times)
        print(f"{name:28} {seconds:7.2f}  {clock:15.3f}  {cpu:19.3f}  {times[0][2] or '':>8}")


def peak_of(path: Path | None, what: str) -> float:
    """Return the peak memory in MB of a process that reads one file, or only imports."""
    command = [sys.executable, __file__, "--child", what, str(path or "")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def child(what: str, path: Path) -> None:
    if what == "floor":
        read_floor([path])
    elif what == "samples":
        ingest([path])
    else:
        import bigbench_meta.store.store  # noqa: F401
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # kilobytes on Linux


def show_memory(folder: Path, size: int) -> None:
    path = folder / "full-log_F_1.json"
    print(f"Peak memory of a process that only imports the store: {peak_of(None, 'no'):.0f} MB")
    for layout in ("official", "one line", "queries first"):
        write_log(path, 1, size, layout)
        clock = time.perf_counter()
        peak, seconds = peak_of(path, "samples"), time.perf_counter() - clock
        written = path.stat().st_size / 1e9
        print(f"one log, {written:.2f} GB, {layout:14} {peak:5.0f} MB, {seconds:.1f} s")
    print(f"the last by orjson.loads:       {peak_of(path, 'floor'):5.0f} MB\n")
    path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=1.0, help="size of all logs, and of the one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    size = int(options.gb * 1e9)
    with tempfile.TemporaryDirectory() as name:
        # First of all: a process begins with the peak of the one that starts it.
        show_memory(Path(name), size)
        paths = [
            write_log(Path(name, f"full-log_F_{n}.json"), n, size // FILES) for n in range(FILES)
        ]
        total = sum(path.stat().st_size for path in paths) / 1e9
        print(f"{FILES} logs, {total:.2f} GB; medians of {options.repeats} repeats")
        compare(paths, options.repeats)


if __name__ == "__main__":
    main()
