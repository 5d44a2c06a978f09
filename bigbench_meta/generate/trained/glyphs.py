"""Draw letters of five scripts from the fonts that matplotlib ships, for studies of Omniglot.

A class is a letter and a drawer is a face, as a character of Omniglot is drawn by twenty persons.
Each drawing is distorted by an affine map of its own. The outlines are read from the font files
and distorted before anything is painted. So the pictures do not depend on FreeType's version, but
only on the fonts and on how Pillow fills polygons.

The letters are those that all the faces have and that differ in shape: of letters that look alike
when they are scaled to one size, within or between scripts, the first was kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from fontTools.pens.basePen import BasePen
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["FACES", "LETTERS", "draw_glyphs"]

LETTERS: Final = {
    "Latin": "ABCDEHIJKLMNPQSUVWXYZabdefgkmnr",
    "Greek": "ΞΣΦΨΩαβζηλμνςτω",
    "Cyrillic": "ДЖЗЦЧЩЪЫЮЯкл",
    "Armenian": "ԲԳԵԶԸԹԺԻԽԾԿՀՂՃՄՆՇՊՌՎՔՖթխծկճնշչպֆ",
    "Georgian": "დეზკლორფქ",
}
"""The classes, by script."""

FACES: Final = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSans-Oblique", "DejaVuSerif-BoldItalic",
)  # fmt: skip
"""The drawers. The last three are held out: each has a family and a style that others have too."""

_SIDE: Final = 28
_FINE: Final = 4
"""Pictures are painted this much larger, in black and white, and averaged."""
_EM: Final = 20.0
"""Pixels of the em before scaling: a capital has 15."""
_MOST: Final = 26.0
"""Pixels; a wider or higher glyph is shrunk to it."""
_ROTATION: Final = np.deg2rad(20)
_SHEAR: Final = 0.4
_LOG_SCALE: Final = 0.3
_SHIFT: Final = 1.0
_T: Final = np.linspace(0, 1, 9)[1:, None]
_BERNSTEIN: Final = np.hstack([(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3])
"""A cubic Bezier curve becomes eight straight lines: its corners, in terms of its four points."""


def draw_glyphs(
    n_drawings: int = 8, *, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int16]]:
    """Return distorted letters of many scripts, the ink bright.

    Args:
        n_drawings: Of each letter in each face. Each is rotated by up to 20 degrees, sheared by up
            to 0.4, scaled by up to e^0.3 either way and moved by up to a pixel, uniformly.
        seed: Of the random generator.

    Returns:
        Pictures, uint8 of shape (n, 28, 28); the class of each, a number into the letters of
        :data:`LETTERS` one script after another; its drawer, a number into :data:`FACES`. They come
        by letter, face and drawing.

    Examples:
        >>> pictures, letters, faces = draw_glyphs(1)
        >>> pictures.shape, int(letters.max()), int(faces.max())
        ((1188, 28, 28), 98, 11)
    """
    import matplotlib as mpl

    letters = "".join(LETTERS.values())
    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    outlines = [_outlines(folder / f"{face}.ttf", letters) for face in FACES]
    shape = (len(letters), len(FACES), n_drawings)
    uniform = np.random.default_rng(seed).uniform(-1, 1, (*shape, 5))
    pictures = np.empty((*shape, _SIDE, _SIDE), np.uint8)
    for place in np.ndindex(shape):
        letter, face, _ = place
        pictures[place] = _painted(outlines[face][letters[letter]], uniform[place])
    numbers = np.indices(shape, np.int16).reshape(3, -1)
    return pictures.reshape(-1, _SIDE, _SIDE), numbers[0], numbers[1]


class _Contours(BasePen):
    """The closed polygons of a glyph, in units of the font."""

    def __init__(self, glyphs: Any) -> None:
        super().__init__(glyphs)
        self.polygons: list[list[Points]] = []

    def _moveTo(self, point: tuple[float, float]) -> None:  # noqa: N802
        self.polygons.append([np.array(point, np.float64)[None]])

    def _lineTo(self, point: tuple[float, float]) -> None:  # noqa: N802
        self.polygons[-1].append(np.array(point, np.float64)[None])

    def _curveToOne(self, *points: tuple[float, float]) -> None:  # noqa: N802
        # Quadratic curves come here too, as the cubic ones that they are.
        given = np.array([self._getCurrentPoint(), *points], np.float64)
        self.polygons[-1].append(_BERNSTEIN @ given)


def _outlines(font: Path, letters: str) -> dict[str, list[tuple[Points, bool]]]:
    """Return the polygons of letters, in ems, and whether each is ink or a hole.

    Each letter is centred on its box. A hole comes after what it is in, which is larger.
    """
    with TTFont(font, lazy=True) as opened:
        names, glyphs, em = opened.getBestCmap(), opened.getGlyphSet(), opened["head"].unitsPerEm
        found = {}
        for letter in letters:
            pen = _Contours(glyphs)
            glyphs[names[ord(letter)]].draw(pen)
            polygons = [np.concatenate(parts) / em for parts in pen.polygons]
            corners = np.concatenate(polygons)
            middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
            sized = [(_area(polygon), polygon - middle) for polygon in polygons]
            sized.sort(key=lambda each: -abs(each[0]))
            # TrueType draws what is filled clockwise, and holes counterclockwise.
            found[letter] = [(polygon, area < 0) for area, polygon in sized]
    return found


def _area(polygon: Points) -> float:
    """Return the area of a polygon, negative if its corners go clockwise."""
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _painted(outline: list[tuple[Points, bool]], uniform: Points) -> NDArray[np.uint8]:
    """Return a picture of an outline, distorted as five numbers from -1 to 1 say."""
    angle, shear, scale, *shift = uniform * [_ROTATION, _SHEAR, _LOG_SCALE, _SHIFT, _SHIFT]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine = _EM * np.exp(scale) * turn @ np.array([[1, shear], [0, 1]])
    polygons = [polygon @ affine.T for polygon, _ in outline]
    corners = np.concatenate(polygons)
    low, high = corners.min(axis=0), corners.max(axis=0)
    fit = min(1.0, _MOST / (high - low).max())
    picture = Image.new("L", (_SIDE * _FINE,) * 2)
    painter = ImageDraw.Draw(picture)
    for polygon, (_, is_ink) in zip(polygons, outline, strict=True):
        placed = ((polygon - (low + high) / 2) * fit + shift) * [1, -1] + _SIDE / 2
        painter.polygon((placed * _FINE - 0.5).ravel().tolist(), fill=255 * is_ink)
    return np.asarray(picture.reduce(_FINE))
