"""Which reader takes a file: by its name, or by how it begins."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["ARCHIVE_ENDINGS", "JSON_ENDINGS", "TABLE_ENDINGS", "Format", "by_content", "by_name"]

Format = Literal["bigbench", "table", "archive"]

JSON_ENDINGS: Final = (".json", ".json.gz")
TABLE_ENDINGS: Final = (".csv", ".csv.gz", ".parquet")
ARCHIVE_ENDINGS: Final = (".tar.gz", ".tgz", ".tar", ".zip")


def by_name(name: str) -> Format | None:
    """Return the format that a file name settles, None where the content must be looked at.

    Examples:
        >>> by_name("scores_GPT_8b.json"), by_name("results.json")
        ('bigbench', None)
    """
    lower = name.lower()
    if lower.endswith(JSON_ENDINGS):
        return "bigbench" if lower.startswith("scores_") else None
    if lower.endswith(TABLE_ENDINGS):
        return "table"
    return "archive" if lower.endswith(ARCHIVE_ENDINGS) else None


def by_content(head: bytes) -> Format | None:
    """Return the format that the first kilobytes of a JSON file look like, None if none.

    Args:
        head: The beginning of the file, decompressed.

    Examples:
        >>> by_content(b'{"scores": [{"score_dict": {')
        'bigbench'
    """
    return "bigbench" if b'"score_dict"' in head or b'"scores"' in head else None
