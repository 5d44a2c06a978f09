"""What a page carries inside: programs of well-kept packages, and data as compressed columns.

A browser unpacks both (``templates/page.js``), so that a page needs nothing from a network.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import platformdirs

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import drawable
from bigbench_meta.report.folder import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

__all__ = ["datatables", "numbers", "packed", "texts", "vega"]

_MISSING: Final = "–"


def packed(content: Any) -> str:
    """Return bytes, or what JSON can say, as base64 of gzip: no text of a file can end a script.

    Examples:
        >>> gzip.decompress(base64.b64decode(packed({"task": ["</script>"]})))
        b'{"task":["</script>"]}'
    """
    if not isinstance(content, bytes):
        content = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def numbers(values: ArrayLike, *, digits: int = 7) -> dict[str, Any]:
    """Return a column of numbers for :func:`packed`, rounded; missing is null, infinite a text.

    Examples:
        >>> numbers([1, 2.123456789, float("inf"), None])
        {'numbers': [1, 2.123457, 'inf', None]}
    """
    column = pd.to_numeric(pd.Series(values)).to_numpy(dtype=float, na_value=np.nan)
    return {"numbers": [_number(value, digits) for value in column.tolist()]}


def _number(value: float, digits: int) -> float | str | None:
    if math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(
            f"{value:.{digits}g}"
        )  # fmt: skip
    return None if math.isnan(value) else str(value)


def texts(values: Iterable[Any]) -> dict[str, Any]:
    """Return a column of texts for :func:`packed`: those that occur, in order, and which is where.

    Examples:
        >>> texts(["b", None, "a", "b"])
        {'texts': ['a', 'b', '–'], 'codes': [1, 2, 0, 1]}
    """
    column = pd.Series(values, dtype=object)
    codes, found = pd.factorize(column, sort=True)
    named = [drawable(str(value)) for value in found]
    if (codes < 0).any():
        codes = np.where(codes < 0, len(named), codes)
        named.append(_MISSING)
    return {"texts": named, "codes": codes.tolist()}


@cache
def datatables() -> str:
    """Return DataTables, as ``itables`` carries it, packed."""
    from itables.options import dt_bundle

    return packed(Path(dt_bundle).read_bytes())


@cache
def vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed, as ``vl_convert`` carries them, packed.

    To put them together takes seconds, so they are kept in the user's cache.
    """
    import vl_convert

    folder = platformdirs.user_cache_path("bigbench-meta")
    kept = folder / f"vega-{version('vl-convert-python')}.js.gz.txt"
    with suppress(OSError, ValueError):
        found = kept.read_text(encoding="ascii")
        gzip.decompress(base64.b64decode(found, validate=True))
        return found
    # Without a snippet of ours it names Vega-Embed for the page; the stub knows no default.
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    found = packed(bundle.encode())
    with suppress(InputError):
        write_whole(kept, found.encode("ascii"))
    return found
