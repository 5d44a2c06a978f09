"""An ingest that is killed, at whatever moment, and run again, ends where one ends that was not.

``BIGBENCH_META_KILLS=50`` kills as often; by default it is a handful.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from helpers import plain, tree_files, write_tree

import bigbench_meta as bm
from bigbench_meta.store.manifest import Manifest
from bigbench_meta.store.places import place_of

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("BIGBENCH_META_KILLS", "4"))

# Small batches, each committed at once: more moments to be killed at.
INGEST = """
import sys
from bigbench_meta.readers import batch as _batch
import bigbench_meta.store.store as store
_batch._BATCH_FILES = 4
store._every_second = lambda items: ([item] for item in items)
print("ready", flush=True)
store.Store(sys.argv[1]).ingest(sys.argv[2])
"""


def started(store: Path, tree: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", INGEST, str(store), str(tree)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as ready:
        ready.readline()
    return process


def content(store: bm.Store) -> list[dict[str, Any]]:
    return sorted(plain(store.observations()), key=repr)


def test_killed_and_resumed(tmp_path: Path) -> None:
    tasks = [f"task{number}" for number in range(30)]
    write_tree(tmp_path / "tree", tree_files(tasks, {f"{k}m": k * 10**6 for k in (1, 2, 4, 8)}))
    process = started(tmp_path / "whole", tmp_path / "tree")
    begin = time.monotonic()
    assert process.wait() == 0
    duration = time.monotonic() - begin
    whole = content(bm.Store(tmp_path / "whole"))
    assert len(whole) == 240
    rng = random.Random(0)
    interrupted = 0
    for number in range(KILLS):
        store = tmp_path / f"killed {number}"
        process = started(store, tmp_path / "tree")
        # The first one at once: whatever the load of the machine, one is interrupted.
        time.sleep(rng.uniform(0, duration) if number else 0)
        process.send_signal(signal.SIGKILL)
        interrupted += process.wait() != 0
        if bm.Store.is_store(store) and Manifest.read(place_of(store)).parts:
            # readable at any moment, and nothing in it is wrong
            assert [row for row in content(bm.Store(store)) if row not in whole] == []
        bm.Store(store).ingest(tmp_path / "tree")
        assert content(bm.Store(store)) == whole
        again = bm.Store(store).ingest(tmp_path / "tree")
        assert (again.unchanged, again.loaded, again.failed) == (120, 0, 0)
    assert interrupted
