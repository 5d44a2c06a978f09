"""Ways to spoil a file: its bytes, the values and keys of its JSON, the cells of its tables.

Each returns the new content and says in a few words what it did. All choices come from the random
generator that it is given.
"""

from __future__ import annotations

import copy
import gzip
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from fuzz_seeds import Seed

Mutated = tuple[bytes, str]

# --- Bytes ---

TOKENS = (
    b"NaN", b"null", b"true", b"-1", b"1e400", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\",
    b"\\ud800", b"\\u0000", b"\xff", b"\x00", b"\r", b"\n", b"9" * 30, b"-0", b"1.5", b" ", b"0",
    b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"-", b".", b"e", b'""', b"{}", b"[[[[", b"\x1b[31m",
)  # fmt: skip
LONGEST_SPAN = 60


def span(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(start + random.randint(1, LONGEST_SPAN), len(data))


def flip(data: bytes, random: Random) -> Mutated:
    at = random.randrange(len(data))
    byte = data[at] ^ (1 << random.randrange(8))
    return data[:at] + bytes([byte]) + data[at + 1 :], f"bit flipped at {at}"


def overwrite(data: bytes, random: Random) -> Mutated:
    start, stop = span(data, random)
    new = random.choice(TOKENS)
    return data[:start] + new + data[stop:], f"{start}:{stop} overwritten with {new!r}"


def insert(data: bytes, random: Random) -> Mutated:
    at, new = random.randrange(len(data) + 1), random.choice(TOKENS)
    return data[:at] + new + data[at:], f"{new!r} inserted at {at}"


def delete(data: bytes, random: Random) -> Mutated:
    start, stop = span(data, random)
    return data[:start] + data[stop:], f"{start}:{stop} deleted"


def truncate(data: bytes, random: Random) -> Mutated:
    at = random.randrange(len(data))
    return data[:at], f"cut at {at}"


def repeat(data: bytes, random: Random) -> Mutated:
    start, stop = random.choice(
        [span(data, random), sorted(random.randrange(len(data) + 1) for _ in range(2))]
    )
    at = random.choice([start, stop, random.randrange(len(data) + 1)])
    return data[:at] + data[start:stop] + data[at:], f"{start}:{stop} repeated at {at}"


def blank(data: bytes, random: Random) -> Mutated:
    start, stop = span(data, random)
    return data[:start] + bytes(stop - start) + data[stop:], f"{start}:{stop} zeroed"


BYTE_EDITS = (flip, flip, overwrite, insert, insert, delete, truncate, repeat, blank)


def mutate_bytes(data: bytes, random: Random, others: Sequence[bytes]) -> Mutated:
    """Spoil bytes in one to three places, or join them with those of another file."""
    changes = []
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        if not data:
            break
        if random.random() < 0.08:
            other = random.choice(others)
            at, since = random.randrange(len(data) + 1), random.randrange(len(other) + 1)
            data, what = data[:at] + other[since:], f"continued at {at} by another file"
        else:
            data, what = random.choice(BYTE_EDITS)(data, random)
        changes.append(what)
    return data, ", ".join(changes)


# --- JSON ---

DEEP = 100_000
# What json.dumps does not write: it is put in place of a text that stands for it.
RAW = (
    b"1e400", b"-1E400", b"9" * 400, b"9" * 5000, b"-0", b"-0.0", b"1E2", b"2.0", b"1e-400",
    b"123456789012345678901", b"-9223372036854775809", b"0.1000000000000000055511151231257827",
    b"[" * 60 + b"]" * 60, b"[" * 3000 + b"]" * 3000, b'{"a":' * DEEP + b"1" + b"}" * DEEP,
)  # fmt: skip
RAW_MARK = re.compile(rb'"@@raw:(\d+)@@"|@@raw:(\d+)@@')
TWICE_MARK = "@@twice@@"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.25, 1e308, 5e-324, 10**9 + 1, 10**18, 10**18 + 1,
    2**63, 10**30, 10**400, float("nan"), float("inf"), float("-inf"), "", " ", "x", "1", "0.5",
    "NaN", "\ud800", "a\udfffb", "\x00", "\x1b[31m", "é👧\u2028", "a" * 5000, [], {}, [[]], [1],
    [None], ["x"], {"a": 1}, {"": None}, {"\ud800": 1}, [[[[[[1]]]]]], {"a": {"b": {"c": []}}},
    *(f"@@raw:{number}@@" for number in range(len(RAW))),
)  # fmt: skip
KEYS = ("", " ", "x", "a,b", "acc,none", "\ud800", "\x00", "é", "name", "task", "scores", "results")

Path = tuple[Any, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every value in a document."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def any_value(document: Any, random: Random) -> Any:
    if random.random() < 0.2:
        return copy.deepcopy(at(document, random.choice(list(places(document)))))
    return copy.deepcopy(random.choice(VALUES))


def insert_key(holder: dict[str, Any], after: str, key: str, value: Any) -> None:
    """Insert a key behind another one."""
    items = list(holder.items())
    where = list(holder).index(after) + 1
    holder.clear()
    holder.update([*items[:where], (key, value), *items[where:]])


def edit(document: Any, path: Path, what: str, random: Random) -> Any:
    """Do one thing at one place of a document, and return the document."""
    new = any_value(document, random)
    if not path:
        return {"wrap": [document], "drop": None}.get(what, new)
    holder, key = at(document, path[:-1]), path[-1]
    if what == "drop":
        del holder[key]
    elif what == "rename" and isinstance(holder, dict):
        insert_key(holder, key, random.choice(KEYS), holder[key])
        del holder[key]
    elif what == "twice" and isinstance(holder, dict):
        insert_key(holder, key, TWICE_MARK + key, random.choice([new, holder[key]]))
    elif what == "twice":
        holder.insert(key, copy.deepcopy(holder[key]))
    elif what == "add" and isinstance(holder, dict):
        insert_key(holder, key, random.choice(KEYS), new)
    elif what == "add":
        holder.insert(key, new)
    elif what == "wrap":
        holder[key] = random.choice([[holder[key]], {"x": holder[key]}])
    else:
        holder[key] = new
    return document


JSON_EDITS = ("replace", "replace", "replace", "replace", "drop", "rename", "twice", "add", "wrap")


def edited(document: Any, random: Random) -> tuple[Any, str]:
    """Spoil a document in one or two places."""
    document, changes = copy.deepcopy(document), []
    for _ in range(random.choice([1, 1, 1, 2])):
        path = random.choice(list(places(document)))
        what = random.choice(JSON_EDITS)
        changes.append(f"{what} at {'.'.join(map(str, path)) or 'the top'}")
        document = edit(document, path, what, random)
    return document, ", ".join(changes)


def finished(data: bytes) -> bytes:
    """Put what no writer writes in place of what stands for it."""
    data = data.replace(TWICE_MARK.encode(), b"")
    return RAW_MARK.sub(lambda mark: RAW[int(mark[1] or mark[2])], data)


def mutate_json(document: Any, layout: Callable[[Any], bytes], random: Random) -> Mutated:
    document, changes = edited(document, random)
    return finished(layout(document)), changes


def mutate_lines(
    documents: list[Any], layout: Callable[[Any], bytes], random: Random
) -> Mutated:  # fmt: skip
    """Spoil a line of JSON, or the order of lines."""
    if random.random() < 0.15:
        order = random.choices(range(len(documents)), k=random.randint(0, 6))
        return layout([documents[number] for number in order]), f"lines {order}"
    number = random.randrange(len(documents))
    document, changes = edited(documents[number], random)
    changed = [*documents[:number], document, *documents[number + 1 :]]
    return finished(layout(changed)), f"line {number + 1}: {changes}"


# --- Tables ---

CELLS = (
    "", " ", "x", "NaN", "nan", "inf", "-inf", "1e400", "9" * 400, "1_000", "1,5", "٣", "0x10",
    "true", "TRUE", "1", "1.0", "-1", "1e18", "1e19", "9223372036854775808", "0.5", "-100", "NA",
    "-100.0", "None", "\x1b[31m", "é👧\u2028", "a\nb", 'a"b', "a\rb", "a,b", "=1+1", " 2 ", "+3",
    "5.", ".5", "1e5", "1d5", "infinity", "a" * 5000, "\ufeff", "nan(1)", "1 2", "alpha.json",
    *(f"@@raw:{number}@@" for number in range(8)),
)  # fmt: skip
RAW_CELLS = (b'"', b'"a', b'a"', b'"a"b', b'""', b"\x00", b"a\x00b", b"\xff")


def edit_row(rows: list[list[Any]], what: str, row: int, column: int, random: Random) -> None:
    """Do one thing to a row of a table."""
    if what == "drop row":
        del rows[row]
    elif what == "repeat row":
        rows.insert(random.randrange(len(rows)), list(rows[row]))
    elif what == "swap rows":
        other = random.randrange(len(rows))
        rows[row], rows[other] = rows[other], rows[row]
    elif what == "short row":
        del rows[row][column:]
    elif what == "long row":
        rows[row].insert(column, random.choice(CELLS))
    elif what == "blank row":
        rows.insert(row, random.choice([[], [" "], [""] * len(rows[0])]))
    elif column < len(rows[row]):
        rows[row][column] = random.choice(CELLS)


def edit_column(rows: list[list[Any]], what: str, column: int, other: int) -> None:
    """Do one thing to a column of a table, as far as its rows reach."""
    for cells in rows:
        if max(column, other) >= len(cells):
            continue
        if what == "drop column":
            del cells[column]
        elif what == "repeat column":
            cells.insert(other, cells[column])
        else:
            cells[column], cells[other] = cells[other], cells[column]


ROW_EDITS = ("cell", "cell", "cell", "cell", "drop row", "repeat row", "swap rows", "short row",
             "long row", "blank row")  # fmt: skip
COLUMN_EDITS = ("drop column", "repeat column", "swap columns")


def edit_table(rows: list[list[Any]], random: Random) -> str:
    """Do one thing to a table, whose first row is its header."""
    row, column = random.randrange(len(rows)), random.randrange(len(rows[0]))
    what = random.choice(ROW_EDITS + COLUMN_EDITS)
    if what in COLUMN_EDITS:
        edit_column(rows, what, column, random.randrange(len(rows[0])))
    else:
        edit_row(rows, what, row, column, random)
    return f"{what} at {row}, {column}"


def mutate_rows(
    rows: list[list[Any]], layout: Callable[[Any], bytes], random: Random
) -> Mutated:  # fmt: skip
    """Spoil a table in one or two places."""
    rows = [list(row) for row in rows]
    changes = edit_table(rows, random)
    if random.random() < 0.25 and rows and rows[0]:
        changes += f", {edit_table(rows, random)}"
    data = layout(rows)
    return RAW_MARK.sub(lambda mark: RAW_CELLS[int(mark[1] or mark[2])], data), changes


def retyped(cells: pa.Array, random: Random) -> tuple[str, pa.Array]:
    """Return a column of another type, its values kept where that is easy."""
    n, texts = len(cells), [None if value is None else str(value) for value in cells.to_pylist()]
    kind, make = random.choice(
        [
            ("text", lambda: pa.array(texts, pa.string())),
            ("large text", lambda: pa.array(texts, pa.large_string())),
            ("categories", lambda: pa.array(texts, pa.string()).dictionary_encode()),
            ("bytes", lambda: pa.array([b"\xff"] * n, pa.binary())),
            ("whole numbers", lambda: pa.array(range(n), pa.int8())),
            ("large numbers", lambda: pa.array([2**64 - 1] * n, pa.uint64())),
            ("reals", lambda: pa.array([0.5, float("nan"), None, 3.0, 1e300][:n], pa.float64())),
            ("half reals", lambda: pa.array([1.5] * n, pa.float32()).cast(pa.float16())),
            ("truth values", lambda: pa.array([True] * n)),
            ("nulls", lambda: pa.nulls(n)),
            ("null texts", lambda: pa.nulls(n, pa.string())),
            ("lists", lambda: pa.array([[value] for value in texts], pa.list_(pa.string()))),
            ("structs", lambda: pa.array([{"a": value} for value in texts])),
            ("maps", lambda: pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int64()))),
            ("times", lambda: pa.array([10**15] * n, pa.timestamp("us", tz="UTC"))),
            ("early times", lambda: pa.array([-(2**62)] * n, pa.timestamp("us"))),
            ("dates", lambda: pa.array([2**31 - 1] * n, pa.date32())),
            ("clock times", lambda: pa.array([1] * n, pa.time64("us"))),
            ("durations", lambda: pa.array([2**62] * n, pa.duration("ms"))),
            ("decimals", lambda: pa.array([7] * n).cast(pa.decimal128(38, 10))),
        ]
    )
    return kind, make()


def mutate_columns(
    columns: list[tuple[str, pa.Array]], layout: Callable[[Any], bytes], random: Random
) -> Mutated:  # fmt: skip
    """Give a column of a Parquet file another type, name or place, or some of its cells values."""
    columns = list(columns)
    number, what = random.randrange(len(columns)), random.choice(
        ["type", "type", "type", "drop", "rename", "repeat", "nulls", "rows", "cell"]
    )  # fmt: skip
    name, cells = columns[number]
    if what == "type":
        kind, cells = retyped(cells, random)
        what = f"made {kind}"
        columns[number] = name, cells
    elif what == "drop":
        del columns[number]
    elif what == "rename":
        columns[number] = random.choice([*KEYS[2:4], "é", "score", name.upper()]), cells
    elif what == "repeat":
        columns.insert(random.randrange(len(columns)), (name, cells))
    elif what == "rows":
        order = random.choices(range(len(cells)), k=random.randint(0, 6))
        columns = [(each, own.take(pa.array(order, pa.int64()))) for each, own in columns]
    else:
        texts = [None if value is None else str(value) for value in cells.to_pylist()]
        texts[random.randrange(len(texts))] = None if what == "nulls" else random.choice(CELLS[:-8])
        columns[number] = name, pa.array(texts, pa.string())
    return layout(columns), f"column {name}: {what}"


# --- Archives ---

MEMBER_NAMES = (
    "../scores_x.json", "/scores_x.json", "a/../../scores_x.json", "scores_.json", "x.json", "é",
    "a/results/scores_\x1b[31m.json", "run_spec.json", "x.zip", "x.json.gz", "scores_a.json.gz",
)  # fmt: skip


def mutate_members(
    members: list[tuple[str, bytes]],
    layout: Callable[[Any], bytes],
    random: Random,
    seeds: Sequence[Seed],
) -> Mutated:
    """Spoil a member of an archive, or what members there are."""
    members = list(members)
    number = random.randrange(len(members))
    name, data = members[number]
    what = random.choice(["content"] * 6 + ["drop", "repeat", "rename", "order", "add"])
    if what == "drop":
        del members[number]
    elif what == "repeat":
        members.insert(random.randrange(len(members)), members[number])
    elif what == "rename":
        members[number] = random.choice(MEMBER_NAMES), data
    elif what == "order":
        random.shuffle(members)
    elif what == "add":
        members.insert(number, (random.choice(MEMBER_NAMES), data))
    else:
        own = next((seed for seed in seeds if seed.name == name), None)
        if own is None or random.random() < 0.4:
            data, what = mutate_bytes(data, random, [data])
        else:
            data, what = mutate_document(own, random)
        members[number] = name, data
    return layout(members), f"member {name}: {what}"


# --- Any seed ---


def mutate_document(seed: Seed, random: Random, members: Sequence[Seed] = ()) -> Mutated:
    """Spoil what a file holds, and write it as its format wants it."""
    layout = random.choice(seed.layouts)
    ending = seed.name.rpartition(".")[2]
    if ending in {"zip", "gz"}:
        return mutate_members(seed.document, layout, random, members)
    how = {"json": mutate_json, "jsonl": mutate_lines, "csv": mutate_rows}
    return how.get(ending, mutate_columns)(seed.document, layout, random)


def compressed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)
