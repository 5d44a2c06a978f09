"""A folder of results: own files are replaced, those of others never."""

from __future__ import annotations

import errno
import json
import os
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.errors import InputError
from bigbench_meta.report import folder as module
from bigbench_meta.report.folder import Run, digest_of_file, prepare_folder, write_files

if TYPE_CHECKING:
    from pathlib import Path

RUN = Run(command="analyze", line="bigbench-meta analyze x", options={"seed": 3}, inputs={"x": "d"})
OTHER = Run(command="metric-change")


def found(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("run")
    }


def test_what_is_written_and_told(tmp_path):
    seen = []
    contents = {"a.txt": "α\n", "deep/er/b.bin": b"\x00\xff"}
    written = write_files(tmp_path, contents, RUN, progress=lambda *done: seen.append(done))
    assert written == [tmp_path / "a.txt", tmp_path / "deep/er/b.bin", tmp_path / "run.json"]
    assert (tmp_path / "a.txt").read_bytes() == "α\n".encode()
    assert (tmp_path / "deep/er/b.bin").read_bytes() == b"\x00\xff"
    assert seen == [(1, 2), (2, 2)]


def test_the_record(tmp_path):
    write_files(tmp_path, {"a.txt": "1"}, RUN)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["command"] == "bigbench-meta analyze x"
    assert record["seed"] == 3
    assert record["options"] == {"seed": 3}
    assert record["inputs"] == [{"path": "x", "xxh3_128": "d"}]
    digest = digest_of_file(tmp_path / "a.txt")
    assert record["outputs"] == [{"path": "a.txt", "xxh3_128": digest}]
    assert {"bigbench-meta", "python", "numpy", "scipy"} <= set(record["versions"])
    assert "replaces" not in record


def test_what_the_earlier_run_wrote_goes_and_nothing_else(tmp_path):
    write_files(tmp_path, {"tables/old.csv": "1", "tables/both.csv": "1", "x/y/old": "1"}, RUN)
    (tmp_path / "tables" / "mine.csv").write_text("mine")
    write_files(tmp_path, {"tables/both.csv": "2"}, RUN)
    assert found(tmp_path) == {"tables/both.csv": "2", "tables/mine.csv": "mine"}
    assert not (tmp_path / "x").exists()  # empty folders go with their files
    write_files(tmp_path, {}, RUN)
    assert found(tmp_path) == {"tables/mine.csv": "mine"}


def test_a_file_of_somebody_else_stays(tmp_path):
    (tmp_path / "b.txt").write_text("mine")
    with pytest.raises(InputError, match=r"b\.txt: would be overwritten, and this program did not"):
        write_files(tmp_path, {"a.txt": "1", "b.txt": "2"}, RUN)
    assert found(tmp_path) == {"b.txt": "mine"}
    assert not (tmp_path / "run.json").exists()
    with pytest.raises(InputError, match=r"b\.txt: would be overwritten"):
        prepare_folder(tmp_path, "analyze", sure="b.txt")
    write_files(tmp_path, {"b.txt": "mine"}, RUN)  # nothing is lost where the content is the same


def test_a_changed_file_stays(tmp_path):
    write_files(tmp_path, {"a.txt": "1", "b.txt": "1"}, RUN)
    (tmp_path / "b.txt").write_text("corrected for the paper")
    with pytest.raises(InputError, match=r"b\.txt: was changed after this program wrote it"):
        prepare_folder(tmp_path, "analyze")
    with pytest.raises(InputError, match=r"b\.txt: would be overwritten"):
        write_files(tmp_path, {"b.txt": "2"}, RUN)
    # Even if the run does not write it any more.
    write_files(tmp_path, {"a.txt": "2"}, RUN)
    assert found(tmp_path) == {"a.txt": "2", "b.txt": "corrected for the paper"}


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").write_text("1")
    (tmp_path / "out" / "a.txt").symlink_to(tmp_path / "mine")
    write_files(tmp_path / "out", {"a.txt": "1"}, RUN)
    write_files(tmp_path / "out", {"a.txt": "2"}, RUN)
    assert (tmp_path / "mine").read_text() == "1"


def test_commands_share_a_folder(tmp_path):
    write_files(tmp_path, {"report.html": "1", "tables/pairs.csv": "1"}, RUN)
    write_files(tmp_path, {"tables/pairs.csv": "2", "tables/more.csv": "2"}, OTHER)
    prepare_folder(tmp_path, "metric-change", sure="tables/pairs.csv")
    write_files(tmp_path, {"tables/more.csv": "3"}, OTHER)
    assert found(tmp_path) == {"report.html": "1", "tables/more.csv": "3"}
    assert (tmp_path / "run_metric-change.json").is_file()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[" * 100_000,
        '{"program": "mine", "outputs": []}',
        '{"program": "bigbench-meta", "outputs": [{"path": "../mine", "xxh3_128": "D"}]}',
        '{"program": "bigbench-meta", "outputs": [{"path": "/mine", "xxh3_128": "D"}]}',
        '{"program": "bigbench-meta", "outputs": [{"path": "a/../../mine", "xxh3_128": "D"}]}',
        '{"program": "bigbench-meta", "outputs": [{"path": 1, "xxh3_128": "D"}]}',
    ],
)
def test_a_record_of_somebody_else(tmp_path, content):
    mine, out = tmp_path / "mine", tmp_path / "out"
    mine.write_text("mine")
    out.mkdir()
    text = content.replace("D", digest_of_file(mine))
    (out / "run.json").write_text(text)
    reason = r"run\.json: (would be overwritten, and is not a record|was changed after)"
    with pytest.raises(InputError, match=reason):
        prepare_folder(out, "analyze")
    with pytest.raises(InputError, match=reason):
        write_files(out, {"a": "1"}, RUN)
    assert mine.read_text() == "mine"
    assert (out / "run.json").read_text() == text
    write_files(out, {"a": "1"}, OTHER)  # which writes no such file


@given(
    runs=st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "t/c", "t/d"]), st.text("xy", max_size=2)),
        min_size=2, max_size=4,
    ),
    stop=st.integers(0, 12),
)  # fmt: skip
def test_a_run_that_is_stopped_is_followed_by_another(tmp_path_factory, runs, stop):
    """Stopped at any write or deletion, every file is old or new, and the next run succeeds."""
    folder = tmp_path_factory.mktemp("out")
    write_files(folder, runs[0], RUN)
    before, steps = found(folder), count()

    def stopping(function):
        def stopped(*arguments):
            if next(steps) == stop:
                raise KeyboardInterrupt
            return function(*arguments)

        return stopped

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_whole", "_delete"):
            patch.setattr(module, name, stopping(getattr(module, name)))
        try:
            for contents in runs[1:]:
                write_files(folder, contents, RUN)
        except KeyboardInterrupt:
            possible = [before, *runs]
            for name, text in found(folder).items():
                assert text in {one.get(name) for one in possible}
    prepare_folder(folder, "analyze")
    write_files(folder, runs[-1], RUN)
    assert found(folder) == runs[-1]


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        write_files(tmp_path / "file", {"a.txt": ""}, RUN)
    (tmp_path / "folder" / "a.txt").mkdir(parents=True)
    (tmp_path / "folder" / "b").write_text("")
    for name in ("a.txt", "b/c"):
        with pytest.raises(
            InputError, match=f"{name}: (would be overwritten|cannot be written: Not)"
        ):
            write_files(tmp_path / "folder", {"first": "", name: ""}, RUN)
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder", "a.txt", "b"}


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path, monkeypatch):
    write_files(tmp_path, {"a": "1"}, RUN)
    record = (tmp_path / "run.json").read_text()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_files(tmp_path, {"a": "2"}, RUN)
    assert found(tmp_path) == {"a": "1"}
    assert (tmp_path / "run.json").read_text() == record


def test_a_record_that_was_edited_stays(tmp_path):
    write_files(tmp_path, {"a": "1"}, RUN)
    record = tmp_path / "run.json"
    edited = json.dumps({"note": "for the paper", **json.loads(record.read_text())})
    record.write_text(edited)
    with pytest.raises(InputError, match=r"run\.json: was changed after this program wrote it"):
        prepare_folder(tmp_path, "analyze")
    with pytest.raises(InputError, match=r"run\.json: was changed"):
        write_files(tmp_path, {"a": "2"}, RUN)
    assert record.read_text() == edited
    assert found(tmp_path) == {"a": "1"}


def test_what_another_command_wrote_as_well_stays(tmp_path):
    write_files(tmp_path, {"tables/both.csv": "1", "tables/own.csv": "1"}, RUN)
    write_files(tmp_path, {"tables/both.csv": "1"}, OTHER)
    write_files(tmp_path, {}, RUN)
    assert found(tmp_path) == {"tables/both.csv": "1"}


def test_links_of_somebody_else_stay(tmp_path):
    mine, out = tmp_path / "mine.txt", tmp_path / "out"
    mine.write_text("mine")
    out.mkdir()
    (out / ".run.json.part").symlink_to(mine)
    (out / "b").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="b: would be overwritten"):
        write_files(out, {"b": "1"}, RUN)
    write_files(out, {"a": "1"}, RUN)
    assert mine.read_text() == "mine"
    assert (out / ".run.json.part").is_symlink()


@pytest.mark.parametrize("name", ["a", "run.json", "run_old.json"])
def test_what_is_no_file_is_never_opened(tmp_path, name):
    """A pipe without a writer would be waited for, for ever."""
    os.mkfifo(tmp_path / name)
    if name == "run_old.json":
        write_files(tmp_path, {"a": "1"}, RUN)
    else:
        with pytest.raises(InputError, match=rf"{name}: would be overwritten"):
            write_files(tmp_path, {"a": "1"}, RUN)
        with pytest.raises(InputError, match=rf"{name}: would be overwritten"):
            prepare_folder(tmp_path, "analyze", sure="a")
    assert (tmp_path / name).is_fifo()


def test_a_folder_is_prepared_or_refused(tmp_path):
    prepare_folder(tmp_path / "a" / "b", "analyze")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        prepare_folder(tmp_path / "file" / "below", "analyze")
