"""Scores and bootstrap replicates of ragged curves against their floor and their peers.

    python benchmarks/scoring.py [--curves 100000 1000000] [--repeats 5] [--bootstrap 10000 1000]

Curves have 5 to 12 scales. The floor of a score is to add up the arrays and to sort the squared
differences once; the floor of a bootstrap is to draw one uniform number a point and replicate. The
peers are what an analyst writes first: pandas ``groupby.apply`` (on a sample of the curves, scaled
up: it is linear in them) and a loop over curves in numpy. All of them, and ours, give the same
numbers, which is checked. Every measurement runs in a process of its own, all in turn, and the best
of the repeats counts; times are those of the processor, which others on the machine disturb least
(nothing here has a second thread), without the start of the interpreter, imports and the making of
the curves. Peak memory is with them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent.parent))

Arrays = dict[str, Any]
LOOPED, APPLIED, SEARCHED = 100_000, 2_000, 1_000  # curves at most that these do, scaled up
N_EXAMPLES = 1000
BLOCK = 100  # curves whose replicates the floor draws at a time


def curves(m: int, *, counts: bool) -> Arrays:
    """Make curves: rising, with noise; as shares of examples where they will be drawn anew."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 13, m)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    values = 1 / (1 + np.exp(6 - place + rng.standard_normal(len(place))))
    if counts:
        values = rng.binomial(N_EXAMPLES, values) / N_EXAMPLES
    return {"values": values, "offsets": offsets}


def one(y: np.ndarray) -> float:
    """Emergence score of one curve, as the paper writes it."""
    rise = y.max() - y.min()
    median = np.sqrt(np.median(np.diff(y) ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sign(y.argmax() - y.argmin()) * rise / median)


def score_floor(data: Arrays) -> float:
    values = data["values"]
    return float(values.sum() + data["offsets"].sum() + np.sort(np.diff(values) ** 2)[-1])


def score_ours(data: Arrays) -> float:
    from bigbench_meta.curves.emergence import score_ragged

    return total(score_ragged(data["values"], data["offsets"]).emergence_score)


def score_loop(data: Arrays) -> float:
    values, offsets = data["values"], data["offsets"]
    return total(
        [one(values[a:b]) for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    )


def score_apply(data: Arrays) -> float:
    import pandas as pd

    lengths = np.diff(data["offsets"])
    frame = pd.DataFrame({"curve": np.arange(len(lengths)).repeat(lengths), "y": data["values"]})
    return total(frame.groupby("curve")["y"].apply(lambda y: one(y.to_numpy())).to_numpy())


def total(scores: Any) -> float:
    """Return one number that says whether two have the same scores."""
    return float(np.arctan(np.asarray(scores)).sum())


def boot_floor(data: Arrays) -> float:
    rng = np.random.default_rng(0)
    last = 0.0
    for first in range(0, len(data["offsets"]) - 1, BLOCK):
        ends = data["offsets"][[first, min(first + BLOCK, len(data["offsets"]) - 1)]]
        last = float(rng.random((ends[1] - ends[0], data["size"]))[-1, -1])
    return last


def noise_of(values: np.ndarray) -> Any:
    from bigbench_meta.inference.resampling import PointNoise

    full = np.ones_like(values)
    return PointNoise.of(values, N_EXAMPLES * full, np.nan * full, 0 * full, full)


def boot_ours(data: Arrays) -> float:
    from bigbench_meta.core.ragged import Ragged
    from bigbench_meta.inference.resampling import replicated_blocks

    y, batch = data["values"], Ragged(data["offsets"])
    changing = np.flatnonzero(batch.reduce(np.maximum, y) > batch.reduce(np.minimum, y))
    lows = np.full(len(batch), np.nan)
    for rows, block in replicated_blocks(
        y, batch, noise_of(y), changing, size=data["size"], seed=0
    ):
        ascending = np.sort(block.about(block.centre).ratio("median"), axis=1)
        low, high = ascending[:, low_rank(data["size"])], ascending[:, -1 - low_rank(data["size"])]
        lows[rows] = np.where(block.sign > 0, low, -high)
    return medians(lows)


def low_rank(size: int) -> int:
    """Return the place of the lower end of a 95% percentile interval among sorted replicates."""
    return round((size + 1) * 0.025) - 1


def boot_search(data: Arrays) -> float:
    """Compute the intervals by inversion of tests that ``curve_intervals`` returns."""
    from bigbench_meta.inference.inversion import inverted_intervals

    y = data["values"]
    found = inverted_intervals(y, data["offsets"], noise_of(y), n_boot=data["size"])
    return medians(found.emergence[:, 0])


def boot_loop(data: Arrays) -> float:
    """Draw, score and sort the replicates of one curve after another, vectorised over these."""
    rng = np.random.default_rng(0)
    values, offsets, size = data["values"], data["offsets"], data["size"]
    lows = np.empty(len(offsets) - 1)
    for curve, (a, b) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        rate = (values[a:b] * N_EXAMPLES + 0.5) / (N_EXAMPLES + 1)
        y = rng.binomial(N_EXAMPLES, rate, (size, b - a)) / N_EXAMPLES
        rise = y.max(axis=1) - y.min(axis=1)
        median = np.sqrt(np.median(np.diff(y, axis=1) ** 2, axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = np.sign(y.argmax(axis=1) - y.argmin(axis=1)) * rise / median
        lows[curve] = np.sort(scores)[low_rank(size)]
    return medians(lows)


def medians(lows: np.ndarray) -> float:
    return float(np.nanmedian(lows))


SCORES: dict[str, Callable[[Arrays], float]] = {
    "floor": score_floor, "ours": score_ours, "loop": score_loop, "apply": score_apply,
}  # fmt: skip
BOOTSTRAPS: dict[str, Callable[[Arrays], float]] = {
    "floor": boot_floor, "ours": boot_ours, "loop": boot_loop, "search": boot_search,
}  # fmt: skip


def child(kind: str, name: str, m: str, size: str) -> None:
    """Run one measurement and print it; what a process of its own does."""
    if name in {"ours", "search"}:
        import bigbench_meta.curves.emergence

        if kind == "bootstrap":
            import bigbench_meta.inference.inversion  # noqa: F401
    elif name == "apply":
        import pandas  # noqa: ICN001, F401
    data = curves(int(m), counts=kind == "bootstrap") | {"size": int(size)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    run = (SCORES if kind == "scores" else BOOTSTRAPS)[name]
    start = time.process_time()
    check = run(data)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"seconds": seconds, "check": check, "peak_mb": peak, "before_mb": before}
    print(json.dumps(result))


def measure(kind: str, name: str, m: int, size: int = 0) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", kind, name, str(m), str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def in_turn(
    kind: str, plan: dict[str, int], size: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Measure all in turn and keep the best of each; plan says of how many curves."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in plan}
    for _ in range(repeats):
        for name, m in plan.items():
            runs[name].append(measure(kind, name, m, size))
    return {name: min(found, key=lambda run: run["seconds"]) for name, found in runs.items()}


def report(title: str, found: dict[str, dict[str, float]], plan: dict[str, int], m: int) -> None:
    print(f"\n{title}")
    floor = found["floor"]["seconds"]
    ours = found["ours"]["seconds"]
    for name, run in found.items():
        seconds = run["seconds"] * m / plan[name]
        scaled = "" if plan[name] == m else f" (scaled up from {plan[name]:,} curves)"
        print(
            f"  {name:6} {seconds:9.3f} s {seconds / floor:8.2f} x floor {seconds / ours:8.2f} x "
            f"ours {run['peak_mb']:6.0f} MB, {run['before_mb']:.0f} before{scaled}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--bootstrap", type=int, nargs=2, default=[10_000, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for name, m in (("apply", APPLIED), ("loop", LOOPED)):
        peer, own = measure("scores", name, m), measure("scores", "ours", m)
        if abs(peer["check"] - own["check"]) > 1e-6:
            raise SystemExit(f"scores differ: {own} and {peer}")
    for m in options.curves:
        plan = {"floor": m, "ours": m, "loop": min(m, LOOPED), "apply": min(m, APPLIED)}
        report(f"scores of {m:,} curves", in_turn("scores", plan, 0, options.repeats), plan, m)
    m, size = options.bootstrap
    plan = {"floor": m, "ours": m, "loop": m, "search": min(m, SEARCHED)}
    found = in_turn("bootstrap", plan, size, min(options.repeats, 3))
    if abs(found["ours"]["check"] / found["loop"]["check"] - 1) > 0.01:
        raise SystemExit(f"replicates differ: {found}")
    report(f"{size:,} replicates of {m:,} curves, percentile intervals", found, plan, m)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
