"""Damage to the files of a store: it is reported, and no score changes in silence."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from helpers import plain, score_file, tree_files, write_json, write_tree

import bigbench_meta as bm
from bigbench_meta.core.errors import StoreError
from bigbench_meta.readers import ReadOptions
from bigbench_meta.store import manifest as module
from bigbench_meta.store.manifest import Manifest
from bigbench_meta.store.places import place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

SAMPLES = [
    {"input": f"{n} + 1 = ", "output": "2", "targets": {"2": {"exact_str_match": n % 2}}}
    for n in range(20)
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bm.Store:
    """A store of everything: several parts, rows that are no longer current, samples, problems."""
    folder = tmp_path_factory.mktemp("sound")
    tree = folder / "tree"
    store = bm.Store(folder / "store")
    write_tree(tree, tree_files([f"task{n}" for n in range(5)]))
    store.ingest(tree)
    write_json(
        tree / "task0/results/scores_Fam_1m.json",
        score_file(task_name="task0", score_dict={"bleu": 99.0}, preferred_score="bleu"),
    )
    (tree / "task1/results/scores_Fam_1m.json").write_text("{")
    log = score_file(model_name="logged") | {
        "queries": [{"function": "generate_text", "samples": SAMPLES, "shots": 0, "task": "alpha"}]
    }
    write_json(tree / "alpha/results/full-log_Fam_1m.json", log)
    store.ingest(tree, options=ReadOptions(samples=True))
    store.remove("*/task2/*")
    return store


def flipped(content: bytearray, order: random.Random) -> None:
    content[order.randrange(len(content))] ^= 1 << order.randrange(8)


def zeroed(content: bytearray, order: random.Random) -> None:
    start = order.randrange(len(content))
    content[start : start + 64] = bytes(len(content[start : start + 64]))


def truncated(content: bytearray, order: random.Random) -> None:
    del content[order.randrange(len(content)) :]


def lengthened(content: bytearray, _: random.Random) -> None:
    content += b"garbage"


def replaced(content: bytearray, order: random.Random) -> None:
    content[order.randrange(len(content))] = order.choice(b'0123456789abcdef",')


DAMAGES = [flipped, flipped, zeroed, truncated, lengthened, replaced]

READS: dict[str, Callable[[bm.Store], Any]] = {
    "observations": lambda store: plain(store.observations()),
    "a task": lambda store: plain(store.observations(task="task3")),
    "samples": lambda store: store.samples().astype(str).to_dict("records"),
    "problems": lambda store: plain(store.problems()),
    "files": lambda store: plain(store.files()),
}


@pytest.mark.parametrize("count", [40, pytest.param(240, marks=pytest.mark.full)])
def test_no_damage_changes_a_score_in_silence(sound: bm.Store, tmp_path: Path, count: int) -> None:
    expected = {name: read(sound) for name, read in READS.items()}
    assert all(expected.values())
    files = sorted(path for path in sound.path.rglob("*") if path.suffix in {".parquet", ".json"})
    order = random.Random(count)
    reported = 0
    for number in range(count):
        copy = shutil.copytree(sound.path, tmp_path / f"{number}")
        path = copy / order.choice(files).relative_to(sound.path)
        content = bytearray(path.read_bytes())
        order.choice(DAMAGES)(content, order)
        harmless = bytes(content) == path.read_bytes()
        path.write_bytes(content)
        found: dict[str, Any] = {}
        for name, read in READS.items():
            try:
                found[name] = read(bm.Store(copy))
            except StoreError:
                reported += 1
        assert found == {name: expected[name] for name in found}, (number, path)
        # Nor is the damage taken over into new files.
        try:
            bm.Store(copy).compact()
        except StoreError:
            assert not harmless
        else:
            assert {name: read(bm.Store(copy)) for name, read in READS.items()} == expected
        shutil.rmtree(copy)
    assert reported >= count / 2


def misnamed(store: bm.Store, folder: Path) -> Path:
    """Copy a store, one of its Parquet files under the digest of another content."""
    copy = shutil.copytree(store.path, folder / "copy")
    manifest = Manifest.read(place_of(copy))
    part = manifest.parts[0]
    assert part.observations
    name = part.observations.rpartition("-")[0] + "-" + "0" * 32
    path = manifest.path("observations", part.observations)
    path.rename(path.with_stem(name))
    manifest.update(lambda old: (replace(part, observations=name), *old.parts[1:]))
    return copy


def test_digests_are_compared_unless_switched_off(sound: bm.Store, tmp_path: Path) -> None:
    copy = misnamed(sound, tmp_path)
    with pytest.raises(StoreError, match="damaged: its content has changed"):
        bm.Store(copy).observations()
    rows = bm.Store(copy, check=False).observations()
    assert plain(rows) == plain(sound.observations())


def test_each_file_is_compared_once(sound: bm.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    file_digest, compared = module.file_digest, []

    def noted(file: Any, kind: Any) -> Any:
        compared.append(file.name)
        return file_digest(file, kind)

    monkeypatch.setattr(module, "file_digest", noted)
    store = bm.Store(sound.path)
    store.observations()
    names = list(compared)
    assert names
    store.observations(task="task3")
    assert compared == names
    store.samples()
    assert len(compared) > len(names)
    assert len(compared) == len(set(compared))


def test_kept_scores_that_are_damaged_are_not_taken_over(sound: bm.Store, tmp_path: Path) -> None:
    store = bm.Store(shutil.copytree(sound.path, tmp_path / "copy"))
    row = store.observations().iloc[[0]].assign(
        metric="mine", score=0.123456789, source="log", is_preferred=None, low_score=None,
        high_score=None,
    )  # fmt: skip
    store.keep(row)
    (path,) = (store.path / "rescored").iterdir()
    content = path.read_bytes()
    score = bytes(memoryview(row["score"].to_numpy()).cast("B"))
    assert score in content
    path.write_bytes(content.replace(score, bytes([score[0] ^ 1]) + score[1:]))
    with pytest.raises(StoreError, match="damaged"):
        store.keep(row.assign(model_name="other"))
