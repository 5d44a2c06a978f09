"""Decodes JSON that others wrote, and says what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bigbench_meta.readers.salvage import _kind

if TYPE_CHECKING:
    from bigbench_meta.readers.problems import ProblemLog

__all__ = ["decode_json"]

# Of a key in a message.
_LONGEST: Final = 60
_Document = TypeVar("_Document", dict[str, Any], list[Any])


def decode_json(
    data: bytes, expected: type[_Document], label: str, log: ProblemLog, *, where: str, what: str
) -> _Document | None:
    """Return a JSON object or list, None if it is none; note why, and keys given twice.

    Args:
        data: The JSON, with or without a byte order mark.
        expected: ``dict`` or ``list``.
        label: The file's name in messages.
        log: Where problems are noted.
        where: The place in the file that goes in front of messages; empty for all of it.
        what: What the JSON should be, for a message.
    """
    repeated: set[str] = set()

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) < len(items):
            counts = Counter(key for key, _ in items)
            repeated.update(key for key, count in counts.items() if count > 1)
        return result

    try:
        document = json.loads(data.decode("utf-8-sig").rstrip(), object_pairs_hook=pairs)
    except UnicodeDecodeError as error:
        log.error(label, f"{where} byte {error.start}".lstrip(), f"not UTF-8: {error.reason}")
    except json.JSONDecodeError as error:
        # A text without its end is blamed on its beginning.
        at_end = error.pos >= len(error.doc) or error.msg.startswith("Unterminated")
        line = f"line {error.lineno} " if "\n" in error.doc or not where else ""
        place = f"{where} {line}column {error.colno}".lstrip()
        log.error(label, place, f"{'truncated' if at_end else 'malformed'} JSON: {error.msg}")
    except RecursionError:
        log.error(label, where, f"nested too deeply to be {what}")
    except ValueError as error:  # an integer of more digits than Python converts
        log.error(label, where, f"not readable as JSON: {error}")
    else:
        for key in sorted(key[:_LONGEST] for key in repeated):
            log.warning(label, where or key, f"{key!r} given twice in one object: the last counts")
        if isinstance(document, expected):
            return document
        log.error(label, where, f"expected {_kind(expected())}, got {_kind(document)}")
    return None
