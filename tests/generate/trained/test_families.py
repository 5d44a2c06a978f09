"""Families are trained one file a model: killed, continued, never mixed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256

import filelock
import msgspec
import pandas as pd
import pytest
from helpers import run

from bigbench_meta import Execution, read_results
from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.trained import families
from bigbench_meta.generate.trained.plan import Profile, study_plan


def _has_train():
    try:
        import equinox  # noqa: F401
        import optax  # noqa: F401
    except ImportError:
        return False
    return True


needs_train = pytest.mark.skipif(not _has_train(), reason="needs the extra train")
KILLS = int(os.environ.get("BIGBENCH_META_KILLS", "3"))


def tiny_plan():
    plan = study_plan("arithmetic")
    quick = Profile(sizes=(4, 8), seeds=1, steps=20, batch=8, examples=20, crowd=2)
    return msgspec.structs.replace(plan, quick=quick)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(families, "study_plan", lambda _: tiny_plan())


def digests(folder):
    return {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != ".lock" and not path.name.endswith(".part")
    }


@pytest.mark.skipif(_has_train(), reason="the extra train is installed")
def test_without_the_extra(tmp_path):
    message = run("generate", "lenet", "--out", tmp_path / "x", code=2).stderr
    assert "pip install 'bigbench-meta[train]'" in message
    assert not (tmp_path / "x").exists()


@needs_train
@pytest.mark.full
@pytest.mark.usefixtures("tiny")
def test_scores_and_files(tmp_path):
    calls = []
    found = families.train_families(
        "arithmetic", tmp_path, progress=lambda done, total: calls.append((done, total))
    )
    # Two sizes of two families, and a second seed at one size of each.
    assert len(found.files) == len(found.seconds) == 6
    assert calls[0] == (0, 6)
    assert calls[-1] == (6, 6)
    scores, problems = read_results(tmp_path / "scores.csv")
    assert problems.empty
    assert len(scores) == len(found.observations)
    key = ["model_family", "model_name", "replicate", "subtask", "metric", "variant"]
    assert not scores.duplicated(key).any()
    crowd = scores.groupby(["model_family", "model_name"], observed=True)["replicate"].nunique()
    assert sorted(crowd.tolist()) == [1, 1, 2, 2]
    assert set(scores["metric"]) == {
        name.removeprefix("logged:") for name in study_plan("arithmetic").metrics
    }
    checkpoints = pd.read_csv(tmp_path / "checkpoints.csv")
    assert checkpoints["model_name"].nunique() == 10
    before = digests(tmp_path)
    again = families.train_families("arithmetic", tmp_path, execution=Execution())
    assert again.seconds == {}
    assert digests(tmp_path) == before
    pd.testing.assert_frame_equal(again.observations, found.observations)


@needs_train
@pytest.mark.full
@pytest.mark.usefixtures("tiny")
def test_a_folder_is_never_mixed(tmp_path):
    with pytest.raises(InputError, match="arithmetic takes no data"):
        families.train_families("arithmetic", tmp_path / "data", data="x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        families.train_families("arithmetic", other)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]
    filled = tmp_path / "filled"
    filled.mkdir()
    about = {"study": "arithmetic", "profile": "full", "code": 0}
    (filled / "plan.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="filled with another code, data, packages, plan"):
        families.train_families("arithmetic", filled)
    (filled / "plan.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        families.train_families("arithmetic", filled)
    (filled / "plan.json").unlink()
    with filelock.FileLock(filled / ".lock"), pytest.raises(InputError, match="another process"):
        families.train_families("arithmetic", filled)


@needs_train
@pytest.mark.full
def test_killed_and_continued(tmp_path):
    code = (
        "import sys; sys.path[:0] = [sys.argv[2]]\n"
        "import test_families as t\n"
        "t.families.study_plan = lambda _: t.tiny_plan()\n"
        "if __name__ == '__main__':\n"
        "    t.families.train_families('arithmetic', sys.argv[1])\n"
    )
    script = tmp_path / "tiny.py"
    script.write_text(code)
    here = os.path.dirname(__file__)  # noqa: PTH120
    helpers = os.path.dirname(os.path.dirname(here))  # noqa: PTH120
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), helpers])
    }

    def start(folder):
        return subprocess.Popen([sys.executable, script, folder, here], env=environment)

    whole = tmp_path / "whole"
    began = time.monotonic()
    assert start(whole).wait() == 0
    took = time.monotonic() - began
    killed = tmp_path / "killed"
    moments = random.Random(1)
    for _ in range(KILLS):
        process = start(killed)
        try:
            process.wait(moments.uniform(0.05, 0.9) * took)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert start(killed).wait() == 0
    assert digests(killed) == digests(whole)
    assert not [*killed.glob("*.part")]
