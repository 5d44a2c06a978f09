"""Autoencoders and LeNet: their parameters, what they learn, and that a seed decides everything."""

import gzip
import json

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.execute import Execution
from bigbench_meta.generate.trained.pictures import load_pictures
from bigbench_meta.generate.trained.plan import Profile, Unit, study_plan

PAPER = {
    "autoencoder": [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 196, 256, 384, 512, 768, 1024],
    "lenet": [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64],
}


@pytest.mark.parametrize("study", sorted(PAPER))
def test_widths_of_the_paper(study):
    """The full profile has the widths that the paper's numbers of parameters imply."""
    assert list(study_plan(study).full.sizes) == PAPER[study]
    assert set(study_plan(study).quick.sizes) <= set(PAPER[study])


def test_description_tells_sets_apart(tmp_path):
    """Another picture, or another label, is another set."""
    write_digits(tmp_path, np.random.default_rng(0), n=60)
    first = load_pictures("lenet", tmp_path).describe()
    assert first == load_pictures("lenet", tmp_path).describe()
    assert "44 + 4 + 12 pictures" in first
    write_digits(tmp_path, np.random.default_rng(0), n=60, shift=1)
    assert load_pictures("lenet", tmp_path).describe() != first


def write_digits(path, rng, *, n, shift=0):
    """Write idx files of digits that are easy to distinguish: a bright row each, and noise."""
    labels = np.arange(n) % 10
    pixels = rng.integers(60, size=(n, 28, 28), dtype=np.uint8)
    pixels[np.arange(n), 4 + 2 * labels] = 255
    for kind, magic, values in (
        ("images-idx3", (0x803, n, 28, 28), pixels),
        ("labels-idx1", (0x801, n), ((labels + shift) % 10).astype(np.uint8)),
    ):
        with gzip.open(path / f"t10k-{kind}-ubyte.gz", "wb") as file:
            file.write(np.array(magic, ">u4").tobytes() + values.tobytes())


def write_photographs(path, rng, *, n):
    """Write photographs of one shade each, with noise: a single unit can nearly tell them."""
    for part, count in (("train", n), ("test", n // 4)):
        folder = path / part / "thing"
        folder.mkdir(parents=True)
        for number in range(count):
            values = rng.uniform(40, 215) + rng.normal(scale=12, size=(32, 32, 3))
            Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")


# What follows trains.


def trained(study, path, *, size, steps=60):
    """Train one model on some pictures."""
    module = pytest.importorskip(f"bigbench_meta.generate.trained.{study}", reason="train")
    profile = Profile(sizes=(size,), seeds=1, steps=steps, batch=16, examples=50)
    return module.train(
        Unit(study=study, family=study, size=size, seed=0, profile=profile, data=str(path))
    )


@pytest.mark.full
@pytest.mark.parametrize("width", [1, 7])
def test_parameters(width):
    """Each family has the parameters that the paper's figures give for a width."""
    pytest.importorskip("jax")
    from bigbench_meta.generate.trained.autoencoder import Autoencoder
    from bigbench_meta.generate.trained.lenet import LeNet
    from bigbench_meta.generate.trained.training import n_parameters

    rng = np.random.default_rng(0)
    assert n_parameters(Autoencoder(width, rng=rng)) == 6145 * width + 3072
    assert n_parameters(LeNet(width, rng=rng)) == 6283 * width + 264


@pytest.mark.full
def test_convolution_is_the_textbook_one():
    """The network's logits are those of loops over pixels, offsets and channels."""
    pytest.importorskip("jax")
    from bigbench_meta.generate.trained.lenet import LeNet

    rng = np.random.default_rng(1)
    network = LeNet(2, rng=rng)
    pixels = rng.integers(256, size=(1, 28, 28), dtype=np.uint8)
    x = pixels[0, ..., None] / 255
    for kernel, bias in zip(network.kernels, network.biases, strict=True):
        weights = np.asarray(kernel, float).reshape(3, 3, x.shape[-1], -1)
        new = np.zeros((28, 28, weights.shape[-1]))
        for row, column, down, right in np.ndindex(28, 28, 3, 3):
            i, j = row + down - 1, column + right - 1
            if 0 <= i < 28 and 0 <= j < 28:
                new[row, column] += x[i, j] @ weights[down, right]
        x = np.tanh(new + np.asarray(bias))
    hidden = np.tanh(x.ravel() @ np.asarray(network.hidden, float))
    expected = hidden @ np.asarray(network.head, float)
    assert np.asarray(network(pixels))[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.full
def test_autoencoders_learn(tmp_path):
    """Errors fall during training to a third of those of the mean picture."""
    pytest.importorskip("jax")
    write_photographs(tmp_path, np.random.default_rng(2), n=600)
    for size in (1, 16):
        found = trained("autoencoder", tmp_path, size=size, steps=1500)
        errors = [dict(row)["mean_squared_error"] for row in found.samples["metrics"].to_pylist()]
        assert len(errors) == 50
        # A model that answers with the mean has 1; noise, which it cannot learn, has 0.055.
        assert 0.03 < np.mean(errors) < 0.35
        curve = [row["score"] for row in found.checkpoints if row["metric"] == "mean_squared_error"]
        assert curve[-1] == pytest.approx(np.mean(errors))
        assert curve[-1] < curve[0]
        assert len(found.validation) == 50
        [loss] = set(found.samples["pretraining_loss"].to_pylist())
        assert loss == pytest.approx(np.mean(found.validation))


@pytest.mark.full
def test_lenets_learn(tmp_path):
    """A wide one tells easy digits apart, one unit cannot tell ten of them."""
    pytest.importorskip("jax")
    write_digits(tmp_path, np.random.default_rng(3), n=300)
    scores = {}
    for size in (1, 32):
        samples = trained("lenet", tmp_path, size=size).samples.to_pylist()
        for row in samples:
            assert np.exp(row["target_logprobs"]).sum() == pytest.approx(1)
            chosen = int(np.argmax(row["target_logprobs"]))
            assert row["correct"] == row["target_values"][chosen]
            assert row["targets"] == [str(digit) for digit in range(10)]
        scores[size] = np.mean([row["correct"] for row in samples])
    assert scores[1] < 0.6 < 0.95 < scores[32]


@pytest.mark.full
def test_same_seed_gives_the_same_file(tmp_path, monkeypatch):
    """Two runs write the same bytes, and two seeds do not."""
    pytest.importorskip("jax")
    from bigbench_meta.generate.trained import families

    profile = Profile(sizes=(1, 3), seeds=2, steps=20, batch=16, examples=40)
    plan = msgspec.structs.replace(study_plan("lenet"), quick=profile)
    monkeypatch.setattr(families, "study_plan", lambda _: plan)
    data = tmp_path / "data"
    data.mkdir()
    write_digits(data, np.random.default_rng(4), n=200)
    runs = [
        families.train_families("lenet", tmp_path / name, data=data, execution=Execution(jobs=jobs))
        for name, jobs in (("one", 1), ("two", 2))
    ]
    files = [[file.read_bytes() for file in run.files] for run in runs]
    assert files[0] == files[1]
    assert len(set(files[0])) == 4
    assert runs[0].observations.equals(runs[1].observations)
    assert set(runs[0].observations["metric"]) == set(plan.metrics)


@pytest.mark.full
def test_thresholds_come_from_validation(tmp_path, monkeypatch):
    """Errors are cut at quantiles of the largest models' errors on validation pictures."""
    pytest.importorskip("jax")
    from bigbench_meta.generate.trained import families

    profile = Profile(sizes=(1, 4), seeds=2, steps=20, batch=16, examples=40)
    plan = msgspec.structs.replace(study_plan("autoencoder"), quick=profile)
    monkeypatch.setattr(families, "study_plan", lambda _: plan)
    write_photographs(tmp_path / "data", np.random.default_rng(5), n=60)
    found = families.train_families("autoencoder", tmp_path / "out", data=tmp_path / "data")
    errors, validation = {}, []
    for file in found.files:
        table = pq.read_table(file)
        errors[file.name] = [
            dict(row)["mean_squared_error"] for row in table["metrics"].to_pylist()
        ]
        if "width4" in file.name:
            validation += json.loads(table.schema.metadata[b"training"])["validation"]
    expected = [
        f"mean_squared_error<={np.quantile(validation, share):.2g}" for share in plan.thresholds
    ]
    cut = found.observations[found.observations["metric"] != "mean_squared_error"]
    assert set(cut["metric"]) == set(expected)
    for row in cut.itertuples():
        below = np.array(errors[row.source]) <= float(row.metric.partition("<=")[2])
        assert row.score == pytest.approx(below.mean())


@pytest.mark.full
def test_ten_classes(tmp_path):
    """Pictures of nine digits are refused: the output has ten."""
    pytest.importorskip("equinox", reason="needs the extra train")
    lenet = pytest.importorskip("bigbench_meta.generate.trained.lenet")
    write_digits(tmp_path, np.random.default_rng(6), n=9)
    with pytest.raises(InputError, match="9 classes, 10 expected"):
        lenet.describe(str(tmp_path))
