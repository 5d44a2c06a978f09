"""Transformers over sequences of pictures: their convolutions, and models trained on few steps."""

from __future__ import annotations

import math
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("equinox", reason="needs the extra train")
pytest.importorskip("optax", reason="needs the extra train")
pytest.importorskip("fontTools", reason="needs the extra train")

import jax

from bigbench_meta import rescore
from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.trained import omniglot
from bigbench_meta.generate.trained.families import _train_one
from bigbench_meta.generate.trained.omniglot import LENGTH, Network
from bigbench_meta.generate.trained.plan import Profile, Unit

pytestmark = pytest.mark.full

N = 200
SIZES = (4, 16)


def unit(size, steps=200):
    profile = Profile(sizes=SIZES, seeds=1, steps=steps, batch=32, examples=N)
    return Unit(study="omniglot", family="picture", size=size, seed=1, profile=profile)


@pytest.fixture(scope="module")
def trained():
    return {size: omniglot.train(unit(size)) for size in SIZES}


def test_patches_make_the_convolution():
    rng = np.random.default_rng(0)
    for side in (28, 14, 7):
        x, kernel = rng.normal(size=(2, side, side, 3)), rng.normal(size=(27, 5))
        wanted = jax.lax.conv_general_dilated(
            x, kernel.reshape(3, 3, 3, 5), (2, 2), ((0, 1 + side % 2),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        assert np.allclose(omniglot._patches(x) @ kernel, wanted[:, : -(-side // 2)], atol=1e-4)


def test_later_pictures_and_labels_change_nothing():
    rng = np.random.default_rng(0)
    network = Network(50, 8, rng=rng)
    pixels = rng.integers(256, size=(3, LENGTH, 28, 28), dtype=np.uint8)
    labels = rng.integers(50, size=(3, LENGTH))
    before = network(pixels, labels)
    for place in range(LENGTH):
        other_labels, other_pixels = labels.copy(), pixels.copy()
        other_labels[:, place] = (labels[:, place] + 1) % 50
        other_pixels[:, place] = 255 - pixels[:, place]
        # A label comes after its picture, for which it is predicted.
        after = network(pixels, other_labels)
        assert np.allclose(after[:, : place + 1], before[:, : place + 1], atol=1e-5)
        assert place == LENGTH - 1 or not np.allclose(after, before, atol=1e-3)
        after = network(other_pixels, labels)
        assert np.allclose(after[:, :place], before[:, :place], atol=1e-5)
        assert not np.allclose(after[:, place], before[:, place], atol=1e-3)


def test_test_pictures_are_by_other_drawers():
    pictures = omniglot._pictures("")
    parts = [pictures.train, pictures.validation, pictures.test]
    drawers = [set(part.drawers.tolist()) for part in parts]
    assert sum(map(len, drawers)) == len(set.union(*drawers))
    test = omniglot._sequences(pictures.test, 2000, distorted=False)
    assert test.pixels.shape == (2000, LENGTH, 28, 28)
    known = dict(zip(map(bytes, parts[2].pixels), parts[2].labels.tolist(), strict=True))
    used = [bytes(pixels) for pixels in test.pixels.reshape(-1, 28, 28)]
    assert [known[pixels] for pixels in used] == test.labels.ravel().tolist()
    counts = np.unique(used, return_counts=True)[1]
    assert counts.max() - counts.min() <= 1
    # Of glyphs each occurrence is distorted in a way of its own.
    distorted = omniglot._sequences(pictures.test, 2000, distorted=True)
    assert np.array_equal(distorted.labels, test.labels)
    assert len({bytes(pixels) for pixels in distorted.pixels.reshape(-1, 28, 28)}) > 9_990


def test_distorted_copies_keep_the_picture():
    pixels, labels = omniglot._distorted("")
    train = omniglot._pictures("").train
    copies = len(pixels) // len(train)
    assert copies == round(2**16 / len(train)) > 1
    assert np.array_equal(pixels[: len(train)], train.pixels)
    assert np.array_equal(labels, np.tile(train.labels, copies))
    ink = pixels.mean(axis=(1, 2)).reshape(copies, -1)
    likeness = np.corrcoef(ink)[0, 1:]
    assert (likeness > 0.8).all()
    assert not np.array_equal(pixels[len(train) : 2 * len(train)], train.pixels)


def test_parameters_and_compute(trained):
    n_classes = len(omniglot._pictures("").class_names)
    for size, found in trained.items():
        (row,) = found.samples.slice(0, 1).to_pylist()
        convolutions = (9 * 8, 9 * 8 * 16, 9 * 16 * 16)
        layer = 12 * size**2 + 3 * size  # with the norms
        inside = sum(convolutions) + 8 + 16 + 16 + 256 * size + layer + n_classes * size
        assert row["non_embedding_params"] == inside
        assert row["total_params"] == inside + n_classes * size + 9 * size
        maps = 196 * convolutions[0] + 49 * convolutions[1] + 16 * convolutions[2]
        sequence = 5 * (maps + 256 * size + n_classes * size) + 9 * layer
        assert row["train_flops"] == 6 * sequence * 200 * 32
        assert row["train_tokens"] == 200 * 32 * 9


def test_outputs_fit_together(trained):
    rows = trained[16].samples.to_pylist()
    assert len(rows) == N * LENGTH
    names = omniglot._pictures("").class_names
    for index, row in enumerate(rows):
        length, number = index // N + 1, index % N + 1
        assert row["subtask"] == f"{row['task']}: length {length}"
        assert row["example_id"] == f"sequence {number}"
        (whole,) = rows[-N:][number - 1]["targets"]
        assert row["targets"] == [" ".join(whole.split()[:length])]
        assert len(row["output"].split()) == length
        assert set(row["output"].split()) <= set(names)
        loss = dict(row["metrics"])["cross_entropy"]
        assert row["target_logprobs"] == pytest.approx([-loss * length])


def test_larger_models_learn_more_than_chance(trained):
    samples = pa.concat_tables([found.samples for found in trained.values()])
    metrics = ["exact_str_match", "per_token_accuracy", "logged:cross_entropy"]
    scores, problems = rescore(samples, metrics, tokens="words")
    assert problems.empty
    by_metric = scores.set_index(["metric", "model_name", "subtask"])["score"].unstack()
    chance = 1 / len(omniglot._pictures("").class_names)
    exact = by_metric.loc["exact_str_match"]
    assert (exact.iloc[:, 0] > 3 * chance).all()
    assert (exact.loc["width 16"] >= exact.loc["width 4"]).all()
    assert (np.diff(exact, axis=1) <= 0).all()
    assert (by_metric.loc["per_token_accuracy"].loc["width 16"] > 0.3).all()
    for found in trained.values():
        losses = [row["score"] for row in found.checkpoints if row["metric"] == "cross_entropy"]
        assert losses[-1] < losses[0] < math.log(1 / chance) + 0.5
        assert losses[-1] == found.samples["pretraining_loss"][0].as_py()


def test_a_seed_gives_the_same_file(tmp_path):
    digests = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        _train_one(tmp_path / name, unit(4, steps=20))
        (file,) = (tmp_path / name).iterdir()
        assert pq.read_metadata(file).num_rows == N * LENGTH
        digests.add(sha256(file.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_what_the_pictures_are(tmp_path):
    assert omniglot.describe("").startswith("glyphs of DejaVu fonts: 7128 + ")
    with pytest.raises(InputError, match="no drawings such as"):
        omniglot.describe(str(tmp_path))
