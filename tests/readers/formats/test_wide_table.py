"""Wide tables: mapping files, transforms, missing values, hostile files, and a published table."""

import csv
import datetime as dt
import io
import math
import re
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from helpers import plain
from hypothesis import given
from hypothesis import strategies as st

import bigbench_meta as bm
from bigbench_meta.catalog.metrics import metric_catalog
from bigbench_meta.catalog.model_names import model_names
from bigbench_meta.core.errors import BigbenchMetaError, InputError, PatternError, SchemaError
from bigbench_meta.core.schema import OBSERVATIONS, conform, to_frame
from bigbench_meta.readers.formats.mapping import Mapping
from bigbench_meta.readers.formats.values import FileLog
from bigbench_meta.readers.formats.wide_table import parse_wide
from bigbench_meta.readers.problems import ProblemLog

NAMES = model_names()
EXAMPLE = ROOT / "docs" / "examples" / "on_emergence.toml"
PAGE = ROOT / "docs" / "wide_tables.md"

NAMED = 'constants = {benchmark = "b", model_family = "f", model_name = "m"}\n'
WHOLE = 'metrics = ["acc"]\n' + NAMED


def mapping_of(columns='task = "t"', *, metrics='["acc"]', top="", constants=NAMED):
    text = f"{top}\nmetrics = {metrics}\n{constants}[columns]\n{columns}\n"
    return Mapping.parse(text, where="map.toml")


def csv_bytes(rows, *, delimiter=","):
    file = io.StringIO()
    # All quoted: the standard library does not quote a carriage return that is no line end of its.
    csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        rows
    )
    return file.getvalue().encode()


def read(data, mapping, *, name="wide.csv", names=NAMES):
    log = ProblemLog()
    table = parse_wide(data, name, FileLog(name, log), mapping, names=names)
    return table, log


def column(table, name):
    return table.column(name).to_pylist()


# --- The mapping file ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = t", "Invalid value (at line 1, column 8)"),
        ("task = 't'\ntask = 'u'", "Cannot overwrite a value"),
        ("x = " + "[" * 5000, "maximum recursion depth exceeded"),
        ("x = " + "9" * 5000, "Exceeds the limit (4300 digits)"),
    ],
)
def test_mapping_that_is_not_toml(text, message):
    expected = re.escape(f"map.toml: not TOML: {message}")
    with pytest.raises(InputError, match=rf"^{expected}.*\nHint: texts need quotation marks$"):
        Mapping.parse(text, where="map.toml")


BAD_MAPPINGS = [
    # the whole
    ('metics = ["acc"]', "map.toml: unknown key 'metics'\nHint: did you mean 'metrics'? known"),
    (NAMED, "map.toml: metrics: nothing gives a score"),
    ("metrics = []\n" + NAMED, "map.toml: metrics: nothing gives a score"),
    ("metrics = 3\n" + NAMED, "map.toml: metrics: expected table | array, got whole number"),
    (WHOLE, "map.toml: nothing gives 'task'\nHint: [columns] task = "),
    ('metrics = ["acc"]\ncolumns = {task = "t"}', "map.toml: nothing gives 'benchmark'"),
    (
        WHOLE + 'columns = {task = "t", benchmark = "x"}',
        "map.toml: 'benchmark' is both a column and a constant",
    ),
    ("missing = -100\n" + WHOLE, "map.toml: missing: expected array, got whole number"),
    ("missing = [true]\n" + WHOLE, "map.toml: missing: expected numbers and texts, got True"),
    ("missing = [[1]]\n" + WHOLE, "map.toml: missing: expected numbers and texts, got an array"),
    (f"missing = [1{'0' * 400}]\n" + WHOLE, "map.toml: missing: expected numbers and texts, got 1"),
    ('delimiter = ";;"\n' + WHOLE, "map.toml: delimiter: expected one character, got ';;'"),
    ("delimiter = '\"'\n" + WHOLE, "map.toml: delimiter: expected one character, got '\"'"),
    ("delimiter = 1\n" + WHOLE, "map.toml: delimiter: expected text, got whole number"),
    # constants
    (
        'constants = {benchmrk = "b"}',
        (
            "map.toml: constants: unknown column 'benchmrk'\nHint: did "
            "you mean 'benchmark'? columns to fill: "
        ),
    ),
    ("constants = {score = 1}", "map.toml: constants: unknown column 'score'"),
    ("constants = {stderr = 1}", "map.toml: constants: unknown column 'stderr'"),
    ("constants = {task = 1}", "map.toml: constants.task: expected a text, got 1"),
    ('constants = {task = " "}', "map.toml: constants.task: expected a text, got ' '"),
    ("constants = {shots = -1}", "constants.shots: expected a whole number from 0, got -1"),
    ("constants = {shots = 1.5}", "constants.shots: expected a whole number from 0, got 1.5"),
    ("constants = {shots = true}", "constants.shots: expected a whole number from 0, got True"),
    ("constants = {n_examples = 0}", "constants.n_examples: expected a whole number from 1, got 0"),
    (f"constants = {{n_examples = 1{'0' * 400}}}", "constants.n_examples: expected a whole num"),
    ("constants = {train_flops = inf}", "constants.train_flops: expected a positive number"),
    ('constants = {train_flops = "1"}', "constants.train_flops: expected a positive number"),
    ("constants = 3", "map.toml: constants: expected table, got whole number"),
]

BAD_COLUMNS = [
    ('taks = "t"', "map.toml: columns: unknown column 'taks'\nHint: did you mean 'task'?"),
    ('stderr = "t"', "map.toml: columns: unknown column 'stderr'"),
    ("task = 3", "map.toml: columns.task: expected a column's name or a table, got 3"),
    ("task = [1]", "map.toml: columns.task: expected a column's name or a table, got an array"),
    ("task = {}", "map.toml: columns.task: expected either `from` or `format`"),
    ('task = {from = "a", format = "{b}"}', "columns.task: expected either `from` or `format`"),
    ("task = {from = 3}", "map.toml: columns.task.from: expected text, got whole number"),
    ("task = {from = 1979-05-27}", "map.toml: columns.task.from: expected text, got date"),
    (
        'task = {from = "a", regx = "b"}',
        (
            "map.toml: columns.task: unknown key 'regx'\nHint: did "
            "you mean 'regex'? known keys: from, format, file, missing, regex, "
        ),
    ),
    ('task = {from = "a", regex = "("}', "columns.task.regex: bad regular expression '(': missing"),
    ('task = {from = "a", regex = "a"}', "map.toml: columns.task.regex: 'a' has no group\nHint: "),
    ('task = {from = "a", regex = "(?P<x>.)(?P<y>.)"}', "regex: more than one named group: x, y"),
    ('task = {from = "a", remove = "["}', "columns.task.remove: bad regular expression '['"),
    ('task = {format = "{b"}', "map.toml: columns.task.format: '{b': expected '}'"),
    ('task = {format = "b}"}', "map.toml: columns.task.format: 'b}': Single '}'"),
    ('task = {format = "b"}', "map.toml: columns.task.format: 'b' names no column"),
    ('task = {format = "{}"}', "format: '{}': expected a column's name and nothing else"),
    ('task = {format = "{b:>9}"}', "format: '{b:>9}': expected a column's name and nothing else"),
    ('task = {format = "{b!r}"}', "format: '{b!r}': expected a column's name and nothing else"),
    ('task = {from = "a", missing = [{}]}', "task.missing: expected numbers and texts, got a tab"),
    ('task = {from = "a", replace = {"" = "b"}}', "replace: an empty text cannot be replaced"),
    ('task = {from = "a", replace = {a = 1}}', "columns.task.replace: expected text, got whole"),
    ('task = {from = "a", strip_suffix = 1}', "columns.task.strip_suffix: expected text, got who"),
    ('task = {from = "a", map = {b = 3}}', "map.toml: columns.task.map.b: expected a text, got 3"),
    ('task = {from = "a", map = "b"}', "map.toml: columns.task.map: expected table, got text"),
    ('total_params = {from = "a", map = {b = "x"}}', "map.b: expected a whole number from 1, got"),
    (
        'total_params = {from = "a", map = {b = -5}}',
        "map.b: expected a whole number from 1, got -5",
    ),
    (
        'total_params = {from = "a", map = {b = 1.5}}',
        "map.b: expected a whole number from 1, got 1",
    ),
    ('task = {from = "a", unmapped = "keep"}', "columns.task: `unmapped` without a `map`"),
    ('task = {from = "a", default = "x"}', "columns.task: `default` without a `map`"),
    (
        'task = {from = "a", map = {}, unmapped = "drop"}',
        "unmapped: expected 'empty' or 'keep', got",
    ),
    ('task = {from = "a", map = {}, unmapped = "keep", default = "x"}', "exclude each other"),
    ('task = {from = "a", map = {}, default = 1}', "columns.task.default: expected a text, got 1"),
    (
        'task = {from = "a", rules = true}',
        (
            "columns.task.rules: the model-name rules do not give "
            "'task'\nHint: they give model_family, model_name, total_params, variant"
        ),
    ),
    ('variant = {from = "a", rules = true, map = {}}', "variant: `map` and `rules` exclude each"),
    ('variant = {from = "a", rules = "yes"}', "variant.rules: expected true or false, got text"),
]

BAD_METRICS = [
    ("[1]", "map.toml: metrics[0]: expected text, got whole number"),
    ('[""]', "map.toml: metrics.: the metric's name is empty"),
    ('["a", "a"]', "map.toml: metrics.a: a second column gives the metric 'a'"),
    ('{a = "x", b = " x "}', "map.toml: metrics.b: a second column gives the metric 'x'"),
    ("{a = 1}", "map.toml: metrics.a: expected a metric's name or a table, got 1"),
    ("{a = {nme = 'x'}}", "map.toml: metrics.a: unknown key 'nme'\nHint: did you mean 'name'?"),
    ("{a = {name = ' '}}", "map.toml: metrics.a: the metric's name is empty"),
    ("{a = {stderr = 1}}", "map.toml: metrics.a.stderr: expected text, got whole number"),
    ("{a = {multiply = '2'}}", "map.toml: metrics.a.multiply: expected number, got text"),
    ("{a = {multiply = 0}}", "map.toml: metrics.a.multiply: expected a positive number, got 0.0"),
    ("{a = {multiply = -1}}", "map.toml: metrics.a.multiply: expected a positive number, got -1.0"),
    ("{a = {multiply = inf}}", "map.toml: metrics.a.multiply: expected a positive number, got inf"),
    ("{a = {missing = 1}}", "map.toml: metrics.a.missing: expected array, got whole number"),
    ("{a = {missing = [{}]}}", "map.toml: metrics.a.missing: expected numbers and texts, got a t"),
    ("{a = {low_score = inf}}", "map.toml: metrics.a.low_score: expected a finite number, got inf"),
    ("{a = {high_score = nan}}", "map.toml: metrics.a.high_score: expected a finite number, got n"),
    (
        "{a = {is_preferred = 1}}",
        "metrics.a.is_preferred: expected true or false, got whole number",
    ),
    ("{a = {higher_is_better = 'no'}}", "a.higher_is_better: expected true or false, got text"),
    ("{a = {unit = 1}}", "map.toml: metrics.a.unit: expected text, got whole number"),
    (
        "{a = {low_score = 1, high_score = 0, higher_is_better = true}}",
        ("map.toml: metrics.a: low_score 1.0 and high_score 0.0 contradict higher_is_better"),
    ),
    (
        "{a = {low_score = 0, high_score = 1, higher_is_better = false}}",
        ("map.toml: metrics.a: low_score 0.0 and high_score 1.0 contradict higher_is_better"),
    ),
]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *BAD_MAPPINGS,
        *((f"{WHOLE}[columns]\n{columns}", message) for columns, message in BAD_COLUMNS),
        *((f"metrics = {metrics}\n{NAMED}", message) for metrics, message in BAD_METRICS),
    ],
)
def test_mapping_error_names_file_key_and_choice(text, message):
    with pytest.raises(SchemaError) as caught:
        Mapping.parse(text, where="map.toml")
    assert str(caught.value).startswith("map.toml")
    assert message in str(caught.value)


def test_mapping_file_reads_like_its_text(tmp_path):
    path = tmp_path / "map.toml"
    text = WHOLE + 'columns = {task = "t"}'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert Mapping.read(path) == Mapping.parse(text, where=str(path))
    assert list(Mapping.read(str(path)).sources) == ["t", "acc"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: "),
        (b"\xff", "cannot be read: byte 0 is not UTF-8: "),
        (b"x = 1 # " + b" " * (1 << 24), "holds more than 16 MiB"),
    ],
)
def test_mapping_file_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "map.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {message}')}"):
        Mapping.read(path)


# --- Mapping and table together ---


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            mapping_of('task = "tsak"'),
            (
                "map.toml: columns.task: the table has no column 'tsak'\n"
                "Hint: did you mean 'task'? columns found: task, model, accuracy"
            ),
        ),
        (mapping_of('task = "task"'), "map.toml: metrics.acc: the table has no column 'acc'"),
        (
            mapping_of('task = "task"\nvariant = {format = "{task}{T}"}', metrics='["accuracy"]'),
            "map.toml: columns.variant: the table has no column 'T'",
        ),
        (
            mapping_of('task = "task"', metrics='{accuracy = {stderr = "se"}}'),
            "map.toml: metrics.accuracy.stderr: the table has no column 'se'",
        ),
    ],
)
@pytest.mark.parametrize("name", ["wide.csv", "wide.parquet"])
def test_column_that_is_not_there(mapping, message, name):
    frame = pd.DataFrame({"task": ["a"], "model": ["m"], "accuracy": [0.5]})
    data = frame.to_parquet() if name.endswith("parquet") else frame.to_csv(index=False).encode()
    with pytest.raises(SchemaError, match=f"^{re.escape(message)}"):
        read(data, mapping, name=name)


def test_hint_does_not_list_a_thousand_columns():
    header = [f"c{number}" for number in range(1000)]
    with pytest.raises(SchemaError, match=r"c29 and 970 more$"):
        read(csv_bytes([header]), mapping_of('task = "task"'))


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ('"t"', " a b ", "a b"),
        ('{from = "t"}', "a", "a"),
        ('{from = "t", regex = "^([^/]+)/"}', "a/b/task.json", "a"),
        ('{from = "t", regex = "(.)/(?P<x>.)"}', "a/b/task.json", "b"),
        ('{from = "t", remove = "-[0-9]+b"}', "gpt-6b-v1-7b", "gpt-v1"),
        ('{from = "t", strip_suffix = "/task.json"}', "a/b/task.json", "a/b"),
        ('{from = "t", strip_suffix = "/task.json"}', "a/b.json", "a/b.json"),
        ('{from = "t", replace = {"/" = ":", "_" = " "}}', "a_b/c_d", "a b:c d"),
        ('{from = "t", map = {a = "A"}}', "a", "A"),
        ('{from = "t", map = {a = "A"}, unmapped = "keep"}', "b", "b"),
        ('{from = "t", map = {a = "A"}, default = "other"}', "b", "other"),
        # all steps, in their order
        (
            (
                '{from = "t", regex = "/(.*)", remove = "^x", strip_suffix = "-hf", '
                'replace = {o = "a"}, map = {faa = "done"}}'
            ),
            "a/xfoo-hf",
            "done",
        ),
        ('{format = "{t}"}', "a", "a"),
        ('{format = "{t}, T={u}"}', "a", "a, T=0.01"),
        ('{format = "{u}{{{t}}}{u}", replace = {"0.01" = "-"}}', "a", "-{a}-"),
    ],
)
def test_transform(rule, text, expected):
    data = csv_bytes([["t", "u", "acc"], [text, "0.01", "0.5"]])
    table, log = read(data, mapping_of(f"task = {rule}"))
    assert column(table, "task") == [expected]
    assert log.rows == []


@pytest.mark.parametrize(
    ("rule", "text", "reason"),
    [
        ('{from = "t", regex = "(x)"}', "a", "'a' does not match the regular expression"),
        ('{from = "t", regex = "(x)|a"}', "a", "'a' does not match the regular expression"),
        ('{from = "t", remove = "a"}', "a", "'a' has nothing left in it"),
        ('{from = "t", map = {b = "B"}}', "a", "'a' is not in the map"),
        ('{from = "t", map = {b = "B"}, unmapped = "empty"}', "a", "'a' is not in the map"),
        ('{from = "t", map = {}}', "a" * 100, f"'{'a' * 36}... is not in the map"),
    ],
)
@pytest.mark.parametrize(
    ("target", "outcome", "severity", "n_rows"),
    [("task", "left out", "error", 0), ("variant", "left empty", "warning", 2)],
)
def test_value_that_comes_to_nothing(rule, text, reason, target, outcome, severity, n_rows):
    other = 'task = {from = "u"}\n' if target != "task" else ""
    mapping = mapping_of(f"{other}{target} = {rule}")
    data = csv_bytes([["t", "u", "acc"], [text, "x", "0.5"], [text, "x", "1"]])
    table, log = read(data, mapping)
    assert table.num_rows == n_rows
    assert column(table, "variant") == [None] * n_rows
    assert log.rows == [
        ("wide.csv", f"line 2, {target}", f"{reason}: {outcome} (2 rows)", severity)
    ]


def test_faults_are_told_once_a_value_and_then_counted():
    data = csv_bytes([["t", "acc"], *([f"m{n % 25}", "1"] for n in range(50))])
    table, log = read(data, mapping_of('task = "t"\ntotal_params = {from = "t", map = {m0 = 7}}'))
    assert column(table, "total_params") == [7, *[None] * 24] * 2
    assert [row[1] for row in log.rows] == [
        *(f"line {n}, total_params" for n in range(3, 23)),
        "total_params",
    ]
    assert log.rows[0][2] == "'m1' is not in the map: left empty (2 rows)"
    assert log.rows[-1][2:] == ("4 more values: left empty (8 rows)", "warning")


@pytest.mark.parametrize(
    ("target", "text", "value"),
    [
        ("shots", "5", 5),
        ("shots", "5.0", 5),
        ("shots", "+5", 5),
        ("shots", "0", 0),
        ("shots", "1e3", 1000),
        ("shots", "-1", None),
        ("shots", "2.5", None),
        ("shots", "five", None),
        ("shots", "1_0", None),
        ("shots", "٣", None),
        ("shots", "nan", None),
        ("shots", "inf", None),
        ("shots", "1000000001", None),
        ("n_examples", "1", 1),
        ("n_examples", "0", None),
        # beyond 2**53, where a float would round
        ("total_params", "9007199254740993", 9007199254740993),
        ("total_params", "1000000000000000001", None),
        ("total_params", "9" * 5000, None),
        ("train_flops", "3.14e23", 3.14e23),
        ("train_flops", "1e400", None),
        ("train_tokens", "-3", None),
    ],
)
def test_number_of_a_column(target, text, value):
    mapping = mapping_of(f'task = "t"\n{target} = "n"')
    table, log = read(csv_bytes([["t", "n", "acc"], ["a", text, "0.5"]]), mapping)
    assert column(table, target) == [value]
    assert len(log.rows) == (value is None)
    for source, where, reason, severity in log.rows:
        assert (source, where, severity) == ("wide.csv", f"line 2, {target}", "warning")
        assert re.search(r" is not (a whole|a positive) number.*: left empty \(1 row\)$", reason)


def test_constants_fill_every_row():
    constants = (
        '[constants]\nbenchmark = "b"\nmodel_family = "f"\nmodel_name = "m"\ntask = "t"\n'
        'subtask = "t:1"\nshots = 3\ntotal_params = 125\ntrain_flops = 1e20\nreplicate = "r"\n'
    )
    mapping = mapping_of('variant = "v"', constants=constants)
    table, log = read(csv_bytes([["v", "acc"], ["x", "0.5"], ["y", "0.25"]]), mapping)
    both = {"subtask": "t:1", "shots": 3, "total_params": 125, "train_flops": 1e20}
    for name, value in both.items():
        assert column(table, name) == [value, value]
    assert column(table, "source") == ["wide.csv", "wide.csv"]
    assert log.rows == []


def test_subtask_is_the_task_where_there_is_none():
    data = csv_bytes([["t", "s", "acc"], ["a", "", "1"], ["a", "a:x", "1"], ["a:x", "", "1"]])
    table, _ = read(data, mapping_of('task = "t"\nsubtask = "s"'))
    assert column(table, "subtask") == ["a", "a:x", "a:x"]
    table, _ = read(data, mapping_of())
    assert column(table, "subtask") == ["a", "a", "a:x"]


# --- Model-name rules ---


@dataclass
class Identity:
    model_family: object
    model_name: object
    total_params: object = None
    checkpoint: object = None
    variant: object = None
    reason: str = ""

    @property
    def settings(self):
        return {"checkpoint": self.checkpoint} if self.checkpoint else {}


class Names:
    def lookup(self, name):
        known = {
            "gpt2-xl": Identity("GPT-2", "XL", 1557611200),
            "gpt-4": Identity("GPT-4", "GPT-4", reason="size not published"),
            "step9": Identity("Pythia", "70m", 70426624, "step9"),
            "odd": Identity(3, "x", -1, variant=" "),
        }
        return known.get(name) or Identity(None, None)


RULED = "\n".join(
    ['task = "t"']
    + [
        f'{name} = {{from = "m", rules = true}}'
        for name in ("model_family", "model_name", "total_params", "variant")
    ]
)


def test_model_name_rules():
    mapping = mapping_of(RULED, constants='constants = {benchmark = "b"}\n')
    models = ["gpt2-xl", "gpt-4", "step9", "nobody", "odd", ""]
    data = csv_bytes([["t", "m", "acc"], *(["a", model, "1"] for model in models)])
    table, log = read(data, mapping, names=Names())
    assert column(table, "model_family") == ["GPT-2", "GPT-4", "Pythia"]
    assert column(table, "model_name") == ["XL", "GPT-4", "70m"]
    assert column(table, "total_params") == [1557611200, None, 70426624]
    assert column(table, "variant") == [None, None, "step9"]
    told = {(where, reason) for _, where, reason, severity in log.rows if severity == "error"}
    rules = "by the model-name rules: left out (1 row)"
    assert told == {
        ("line 5, model_family", f"'nobody' has no model_family {rules}"),
        ("line 5, model_name", f"'nobody' has no model_name {rules}"),
        ("line 6, model_family", "'odd' is not a text: left out (1 row)"),
        ("line 7, model_family", "no value: row left out"),
        ("line 7, model_name", "no value: row left out"),
    }
    assert (
        "wide.csv",
        "line 3, total_params",
        (
            "'gpt-4' has no total_params by the model-name rules (size not published): left empty "
            "(1 row)"
        ),
        "warning",
    ) in log.rows


# --- Scores ---


@pytest.mark.parametrize(
    ("codes", "cells", "kept", "warning"),
    [
        (
            "[-100]",
            ["-100", "-100.0", "-1e2", "0.5"],
            [0.5],
            "3 cells hold the missing value -100: no rows",
        ),
        ("[-100]", ["-100", "0.5"], [0.5], "1 cell holds the missing value -100: no row"),
        ("[]", ["-100", "0.5"], [-100, 0.5], None),
        ("[]", ["", " ", "0.5"], [0.5], "2 cells hold nothing: no rows"),
        (
            '["n/a", -1]',
            ["n/a", " n/a ", "-1", "", "2"],
            [2],
            (
                "2 cells hold the missing value 'n/a', 1 cell holds the missing value -1, "
                "1 cell holds nothing: no rows"
            ),
        ),
        ('["-1"]', ["-1", "-1.0"], [-1], "1 cell holds the missing value '-1': no row"),
        ("[nan]", ["nan", "NaN", "1"], [1], "2 cells hold the missing value nan: no rows"),
        (
            "[inf]",
            ["inf", "-inf", "1"],
            [-math.inf, 1],
            "1 cell holds the missing value inf: no row",
        ),
        ('[""]', ["", "1"], [1], "1 cell holds nothing: no row"),
        ("[-1, -1.0]", ["-1", "2"], [2], "1 cell holds the missing value -1: no row"),
    ],
)
def test_missing_codes(codes, cells, kept, warning):
    data = csv_bytes([["t", "acc"], *(["a", cell] for cell in cells)])
    for mapping in (
        mapping_of(top=f"missing = {codes}"),
        mapping_of(metrics=f"{{acc = {{missing = {codes}}}}}", top="missing = [0.5, 2, 1]"),
    ):
        table, log = read(data, mapping)
        assert column(table, "score") == kept
        told = [row for row in log.rows if "not finite" not in row[2]]
        assert told == ([("wide.csv", "acc", warning, "warning")] if warning else [])


def test_missing_codes_of_other_columns():
    columns = (
        'task = "t"\nreplicate = "r"\nvariant = {format = "{r}/{n}"}\n'
        'shots = {from = "n", missing = [-1]}\nn_examples = "n"'
    )
    rows = [
        ["a", "7", "2", "1"],
        ["a", "None", "2", "1"],
        ["a", "7", "-1", "1"],
        ["a", "7", "-100", "1"],
        ["None", "7", "2", "1"],
    ]
    mapping = mapping_of(columns, top='missing = [-100, "None"]')
    table, log = read(csv_bytes([["t", "r", "n", "acc"], *rows]), mapping)
    assert column(table, "replicate") == ["7", None, "7", "7"]
    assert column(table, "variant") == ["7/2", None, "7/-1", None]
    assert column(table, "shots") == [2, 2, None, None]
    assert column(table, "n_examples") == [2, 2, None, None]
    assert [row[1:3] for row in log.rows] == [
        ("line 6, task", "no value: row left out"),
        ("line 5, shots", "'-100' is not a whole number from 0: left empty (1 row)"),
        ("line 4, n_examples", "'-1' is not a whole number from 1: left empty (1 row)"),
    ]


@pytest.mark.parametrize(
    ("codes", "texts", "kept"),
    [
        ("[nan]", ["nan", "NaN", "1"], [None, None, "1"]),
        ("[]", ["nan", "NaN", "1"], ["nan", "NaN", "1"]),
        ("[1]", ["1.0", "+1", "one"], [None, None, "one"]),
        ('["1"]', [" 1 ", "1.0", "+1"], [None, "1.0", "+1"]),
        ("[inf]", ["Infinity", "-inf", "info"], [None, "-inf", "info"]),
    ],
)
def test_missing_codes_of_a_name(codes, texts, kept):
    mapping = mapping_of(f'task = "t"\nreplicate = {{from = "r", missing = {codes}}}')
    table, log = read(csv_bytes([["t", "r", "acc"], *(["a", x, "1"] for x in texts)]), mapping)
    assert column(table, "replicate") == kept
    assert log.rows == []


def test_bad_scores_are_told_for_the_first_lines_and_then_counted():
    cells = ["0.5", *["bad"] * 7, "1_0", "0x1", "true", "1,5", "0.25"]
    data = csv_bytes([["t", "acc", "f1"], *(["a", cell, "1"] for cell in cells)])
    table, log = read(data, mapping_of(metrics='["acc", "f1"]'))
    assert column(table, "score") == [0.5, *[1.0] * 12, 0.25, 1.0]
    assert log.rows == [
        *(
            ("wide.csv", f"line {line}, acc", "'bad' is not a number: no row", "error")
            for line in range(3, 8)
        ),
        ("wide.csv", "acc", "6 more rows of this kind", "error"),
    ]


def test_scores_that_are_not_finite_are_kept():
    data = csv_bytes([["t", "acc"], *(["a", cell] for cell in ("nan", "-Infinity", "1e400", "1"))])
    table, log = read(data, mapping_of())
    np.testing.assert_array_equal(column(table, "score"), [math.nan, -math.inf, math.inf, 1])
    assert table.column("score").null_count == 0
    assert log.rows == [("wide.csv", "acc", "3 cells not finite: kept but never scored", "warning")]


def test_scores_keep_their_unit_unless_the_mapping_multiplies():
    data = csv_bytes([["t", "acc", "se"], ["a", "37.5", "2.5"], ["a", "-100", "-100"]])
    metrics = '{acc = {name = "accuracy", stderr = "se"MORE}}'
    for more, score, stderr in (("", 37.5, 2.5), (", multiply = 0.5", 18.75, 1.25)):
        table, _ = read(
            data, mapping_of(metrics=metrics.replace("MORE", more), top="missing = [-100]")
        )
        assert column(table, "metric") == ["accuracy"]
        assert column(table, "score") == [score]
        assert column(table, "stderr") == [stderr]


def test_standard_errors():
    cells = ["0.5", "", "-100", "-0.5", "inf", "nan", "bad"]
    data = csv_bytes([["t", "acc", "se", "f1"], *(["a", "1", cell, "2"] for cell in cells)])
    metrics = '{acc = {stderr = "se"}, f1 = {}}'
    table, log = read(data, mapping_of(metrics=metrics, top="missing = [-100]"))
    assert column(table, "stderr") == [0.5, *[None] * 13]
    assert column(table, "score") == [1.0, 2.0] * 7
    assert log.rows == [
        ("wide.csv", f"line {line}, se", f"'{cell}' is not a standard error: left empty", "error")
        for line, cell in ((5, "-0.5"), (6, "inf"), (8, "bad"))
    ]


def test_a_factor_can_lead_beyond_the_floats():
    metrics = '{acc = {stderr = "se", multiply = 1e308}}'
    data = csv_bytes([["t", "acc", "se"], ["a", "20", "20"], ["a", "1", "1"]])
    table, log = read(data, mapping_of(metrics=metrics))
    assert column(table, "score") == [math.inf, 1e308]
    assert column(table, "stderr") == [None, 1e308]
    assert [row[1:3] for row in log.rows] == [
        ("acc", "1 cell not finite: kept but never scored"),
        ("line 2, se", "'20' is not a standard error: left empty"),
    ]


def test_notes_of_a_metric_go_to_each_of_its_rows():
    metrics = "{acc = {low_score = 0.25, high_score = 1, is_preferred = true}, f1 = 'F1'}"
    data = csv_bytes([["t", "acc", "f1"], ["a", "1", "2"], ["a", "3", "4"]])
    table, log = read(data, mapping_of(metrics=metrics))
    assert column(table, "metric") == ["acc", "F1", "acc", "F1"]
    assert column(table, "low_score") == [0.25, None, 0.25, None]
    assert column(table, "high_score") == [1, None, 1, None]
    assert column(table, "is_preferred") == [True, None, True, None]
    assert log.rows == []


UP = "the metric catalog says that up is better, and the analysis follows it"
DOWN = "the metric catalog says that down is better, and the analysis follows it"
SILENT = "the metric catalog does not know the direction: give low_score above high_score, or "


@pytest.mark.parametrize(
    ("rule", "reasons"),
    [
        ('{name = "exact_match_accuracy", higher_is_better = true, unit = "proportion"}', []),
        ('{name = "exact_match_accuracy", higher_is_better = false}', [UP]),
        ('{name = "edit_distance", higher_is_better = true}', [DOWN]),
        ('{name = "edit_distance", higher_is_better = false, unit = "characters"}', []),
        (
            '{name = "edit_distance", unit = "words"}',
            ["the unit is 'words' here and 'characters' in the metric catalog"],
        ),
        ('{name = "of my own", higher_is_better = true, unit = "words"}', []),
        ('{name = "of my own", higher_is_better = false}', [SILENT]),
        ('{name = "of my own", higher_is_better = false, low_score = 1, high_score = 0}', []),
    ],
)
def test_notes_are_compared_with_the_catalog(rule, reasons):
    data = csv_bytes([["t", "acc"], ["a", "1"], ["b", "1"]])
    table, log = read(data, mapping_of(metrics=f"{{acc = {rule}}}"))
    assert table.num_rows == 2
    assert [row[1] for row in log.rows] == ["metrics.acc"] * len(reasons)
    assert all(row[2].startswith(reason) for row, reason in zip(log.rows, reasons, strict=True))


# --- Files ---


def test_rows_left_out_for_want_of_a_name():
    rows = [["", "1"], ["a", "1"], *[["", "1"]] * 6]
    table, log = read(csv_bytes([["t", "acc"], *rows]), mapping_of())
    assert table.num_rows == 1
    assert log.rows == [
        *(
            ("wide.csv", f"line {line}, task", "no value: row left out", "error")
            for line in (2, 4, 5, 6, 7)
        ),
        ("wide.csv", "task", "2 more rows of this kind", "error"),
    ]


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (b"t,acc\na,1\na,x\n", ["line 3, acc"]),
        (b"t,acc\r\na,1\r\na,x", ["line 3, acc"]),
        (b"t,acc\na,1,1\na,x\na\na,1\na,x\n", ["line 2", "line 4", "line 3, acc", "line 6, acc"]),
        # A blank line or a line break in a cell, and lines cannot be told any more.
        (b"t,acc\n\na,1\na,x\n", ["row 2, acc"]),
        (b't,acc\n"a\nb",1\na,x\n', ["row 2, acc"]),
        (b't,acc\n\n"a\nb",1\na\na,x\n', ["row 2", "row 3, acc"]),
    ],
)
def test_place_of_a_row(data, places):
    table, log = read(data, mapping_of())
    assert [row[1] for row in log.rows] == places
    assert table.num_rows == data.count(b",1\r\n") + data.count(b",1\n") - data.count(b",1,1\n")


def test_rows_of_another_length_are_counted():
    data = b"t,acc\n" + b"a\n" * 8 + b"a,1\n"
    table, log = read(data, mapping_of())
    assert table.num_rows == 1
    reason = "not as many cells as columns: row left out"
    assert log.rows == [
        *(("wide.csv", f"line {line}", reason, "error") for line in range(2, 7)),
        ("wide.csv", "", "3 more rows with a different number of cells: left out", "error"),
    ]


@pytest.mark.parametrize("name", ["wide.csv", "wide.csv.gz", "WIDE.CSV"])
def test_kinds_of_csv(name):
    for delimiter, start in product([",", ";", "\t"], [b"", b"\xef\xbb\xbf"]):
        data = start + csv_bytes([["t", "acc"], ['a,b;c\td\n"e"', "0.5"]], delimiter=delimiter)
        mapping = mapping_of(top=f"delimiter = '{delimiter}'")
        table, log = read(data, mapping, name=name)
        assert column(table, "task") == ['a,b;c\td\n"e"'], (delimiter, start)
        assert log.rows == []


def parquet_bytes(table):
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


BAD_UTF8 = pa.StringArray.from_buffers(
    1, pa.py_buffer(np.array([0, 1], np.int32).tobytes()), pa.py_buffer(b"\xff")
)


@pytest.mark.parametrize(
    ("name", "data", "where", "reason"),
    [
        ("x.csv", b"", "", "the file is empty"),
        ("x.csv", b"\n\n", "", "the file is empty"),
        ("x.csv", b"\xff\xfet\x00", "", "cannot be read as CSV: "),
        ("x.csv", b"t,acc\n\xff,1\n", "", "cannot be read as CSV: "),
        ("x.csv", b"x" * 200_000, "", "cannot be read as CSV: "),
        ("x.csv", b"t,acc\n" + b"a" * (1 << 25) + b",1\n", "", "cannot be read as CSV: "),
        ("x.csv", b"t,t,acc\na,b,1\n", "t", "column given twice: the file cannot be used"),
        ("x.parquet", b"", "", "cannot be read as Parquet: "),
        ("x.parquet", b"PAR1" * 10, "", "cannot be read as Parquet: "),
        (
            "x.parquet",
            parquet_bytes(pa.table({"t": ["a"], "acc": [1.0]}))[:-20],
            "",
            "cannot be read as Parquet: ",
        ),
        (
            "x.parquet",
            parquet_bytes(pa.table({"t": BAD_UTF8, "acc": [1.0]})),
            "",
            "cannot be read as Parquet: ",
        ),
        (
            "x.parquet",
            parquet_bytes(pa.table([["a"], ["a"], [1.0]], names=["t", "t", "acc"])),
            "t",
            "column given twice: the file cannot be used",
        ),
    ],
)
def test_file_that_cannot_be_used(name, data, where, reason):
    table, log = read(data, mapping_of(), name=name)
    assert table is None
    [(source, told_where, told, severity)] = log.rows
    assert (source, told_where, severity) == (name, where, "error")
    assert told.startswith(reason)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.csv", b"t,acc\n"),
        ("x.csv", b"t,acc"),
        ("x.parquet", parquet_bytes(pa.table({"t": pa.array([], pa.string()), "acc": []}))),
    ],
)
def test_table_without_rows(name, data):
    metrics = "{acc = {stderr = 'acc', unit = 'words'}}"
    columns = 'task = "t"\nshots = "t"\nvariant = {format = "{t}-{t}"}'
    table, log = read(data, mapping_of(columns, metrics=metrics), name=name)
    assert table is not None
    assert table.schema == OBSERVATIONS.arrow
    assert table.num_rows == 0
    assert log.rows == [(name, "", "the table has no rows", "warning")]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1, None, 3]), ["1", None, "3"]),
        (pa.array([2266.0, math.nan, 0.01]), ["2266", None, "0.01"]),
        (pa.array(["a", None, " "]), ["a", None, None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a", None, "b"], pa.large_string()), ["a", None, "b"]),
        (pa.array([True, None, False]), ["True", None, "False"]),
        (pa.array([dt.date(2024, 5, 1), None, None]), ["2024-05-01", None, None]),
        (pa.nulls(3), [None, None, None]),
    ],
)
def test_parquet_types_of_a_name(values, texts):
    data = parquet_bytes(pa.table({"t": ["x"] * 3, "r": values, "acc": [1, 2, 3]}))
    table, log = read(data, mapping_of('task = "t"\nreplicate = "r"'), name="x.parquet")
    assert column(table, "replicate") == texts
    assert log.rows == []


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 2, None, -100], pa.int64()),
        pa.array([1, 2, None, -100], pa.int8()),
        pa.array([1, 2, None, -100], pa.float32()),
        pa.array([1, 2, None, -100]).cast(pa.decimal128(21, 2)),
        pa.array(["1", "2", None, "-100"]),
        pa.array(["1", "2", "", "-100"], pa.large_string()),
        pa.array([1.0, 2.0, None, -100.0]).dictionary_encode(),
        pa.array(["1", "2", None, "-100"]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_parquet_types_of_a_score(values):
    data = parquet_bytes(pa.table({"t": ["x"] * 4, "acc": values}))
    table, log = read(data, mapping_of(top="missing = [-100]"), name="x.parquet")
    assert column(table, "score") == [1, 2]
    reason = "1 cell holds the missing value -100, 1 cell holds nothing: no rows"
    assert log.rows == [("x.parquet", "acc", reason, "warning")]


def test_parquet_types_that_hold_neither_names_nor_scores():
    nested = pa.array([[1], [2]])
    data = parquet_bytes(
        pa.table({"t": ["x", "y"], "r": nested, "acc": nested, "on": [True, False], "f.1": [1, 2]})
    )
    mapping = mapping_of('task = "t"\nreplicate = "r"', metrics='["acc", "on", "f.1"]')
    table, log = read(data, mapping, name="x.parquet")
    assert column(table, "score") == [1, 2]
    assert column(table, "metric") == ["f.1", "f.1"]
    assert [(where, severity) for _, where, _, severity in log.rows] == [
        ("r", "error"),
        ("acc", "error"),
        ("row 1, on", "error"),
        ("row 2, on", "error"),
    ]
    assert log.rows[0][2].startswith("names cannot be read from type list<")
    assert log.rows[1][2].startswith("numbers cannot be read from type list<")
    assert log.rows[2][2] == "'true' is not a number: no row"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"t,acc\na,\n", "wide.csv: acc: 1 cell holds nothing: no row"),
        (b"t,acc\na\n", "wide.csv: line 2: not as many cells as columns: row left out"),
        (b"t,t,acc\n", "wide.csv: t: column given twice: the file cannot be used"),
        (b"\xff", "wide.csv: cannot be read as CSV: "),
    ],
)
def test_strict_log_raises_at_the_first_problem(data, message):
    log = FileLog("wide.csv", ProblemLog(strict=True))
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        parse_wide(data, "wide.csv", log, mapping_of(), names=NAMES)


# --- Against a naive reader ---

ORACLE_MAPPING = """
missing = [-100, "NA"]
constants = {benchmark = "b", train_tokens = 3e11}
[metrics]
m1 = {name = "acc", stderr = "se", multiply = 0.5, low_score = 0, high_score = 1}
m2 = {missing = ["NA"]}
"m 3" = "f1"
[columns]
task = {from = "file", strip_suffix = ".json"}
subtask = "sub"
model_name = "model"
model_family = {from = "model", regex = "^([a-z]+)"}
total_params = {from = "model", map = {gpt-1 = 100, gpt-2 = 200}}
shots = {from = "k", missing = [-1]}
variant = {format = "{prompt}, T={T}"}
replicate = "seed"
"""

NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)


def oracle_number(text):
    return float(text) if NUMBER.fullmatch(text) else None


def oracle_cell(text, codes=(-100, "NA")):
    """Return the text of a cell, None if it is missing."""
    text = (text or "").strip()
    number = oracle_number(text)
    is_code = any(text == c if isinstance(c, str) else number == c for c in codes)
    return None if not text or is_code else text


def oracle(text):
    """Read the text of a CSV file with ORACLE_MAPPING: two loops."""
    rows = []
    for line in csv.DictReader(io.StringIO(text, newline="")):
        cell = {name: oracle_cell(value) for name, value in line.items()}
        task, model = cell["file"] and cell["file"].removesuffix(".json").strip(), cell["model"]
        family = model and re.search("^([a-z]+)", model)
        if not (task and model and family):
            continue
        k = oracle_cell(line["k"], (-1,))
        shots = None if k is None else oracle_number(k)
        given = {
            "benchmark": "b",
            "task": task,
            "subtask": cell["sub"] or task,
            "model_family": family[1],
            "model_name": model,
            "total_params": {"gpt-1": 100, "gpt-2": 200}.get(model),
            "shots": shots if shots is not None and 0 <= shots <= 1e9 and shots % 1 == 0 else None,
            "variant": f"{cell['prompt']}, T={cell['T']}" if cell["prompt"] and cell["T"] else None,
            "replicate": cell["seed"],
            "train_tokens": 3e11,
            "source": "wide.csv",
        }
        for source, metric, codes in (
            ("m1", "acc", (-100, "NA")),
            ("m2", "m2", ("NA",)),
            ("m 3", "f1", (-100, "NA")),
        ):
            score = oracle_number(oracle_cell(line[source], codes) or "")
            if score is None:
                continue
            row = dict.fromkeys(OBSERVATIONS.names) | given | {"metric": metric, "score": score}
            if metric == "acc":
                stderr = oracle_number(cell["se"] or "")
                usable = stderr is not None and 0 <= stderr < math.inf
                row |= {"score": score * 0.5, "stderr": stderr * 0.5 if usable else None}
                row |= {"low_score": 0.0, "high_score": 1.0}
            rows.append(row)
    return rows


NAMES = st.sampled_from(["a.json", "b", " b ", "", "NA", ".json", "x,y", 'q"r', "l\nm", "é"])
MODELS = st.sampled_from(["gpt-1", "gpt-2", "gpt-3", "lm", "3x", "", "NA", "-100"])
CELLS = st.one_of(
    st.sampled_from(
        ["", "NA", "-100", "-100.0", "nan", "inf", "-1", "x", "1_0", " 2 ", "+3", ".5"]
    ),
    st.floats(width=32).map(repr),
    st.integers(-100, 100).map(str),
    st.text(max_size=3).filter(lambda text: "\0" not in text),
)
HEADER = ["file", "unused", "sub", "model", "k", "prompt", "T", "seed", "m1", "se", "m2", "m 3"]
ROWS = st.tuples(NAMES, CELLS, NAMES, MODELS, CELLS, NAMES, CELLS, CELLS, *[CELLS] * 4)


def same_rows(actual, expected):
    """Compare rows of plain values; NaN as pandas shows it is None."""
    clean = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in expected
    ]
    assert actual == clean


@given(st.lists(ROWS, max_size=12))
def test_csv_against_dict_reader(rows):
    data = csv_bytes([HEADER, *rows])
    table, _ = read(data, Mapping.parse(ORACLE_MAPPING))
    assert table.schema == OBSERVATIONS.arrow
    pd.testing.assert_frame_equal(to_frame(conform(table)), to_frame(table))
    same_rows(plain(to_frame(table)), oracle(data.decode()))


@given(st.lists(ROWS, min_size=1, max_size=12))
def test_parquet_of_texts_is_read_like_csv(rows):
    mapping = Mapping.parse(ORACLE_MAPPING)
    columns = dict(zip(HEADER, zip(*rows, strict=True), strict=True))
    from_csv, _ = read(csv_bytes([HEADER, *rows]), mapping)
    data = parquet_bytes(pa.table({name: list(values) for name, values in columns.items()}))
    from_parquet, _ = read(data, mapping, name="wide.parquet")
    frames = [to_frame(table).drop(columns="source") for table in (from_csv, from_parquet)]
    pd.testing.assert_frame_equal(*frames)


@given(st.lists(ROWS, max_size=12), st.permutations(range(len(HEADER))))
def test_order_of_columns_does_not_matter(rows, order):
    lines = [HEADER, *rows]
    mapping = Mapping.parse(ORACLE_MAPPING)
    shuffled = csv_bytes([[line[number] for number in order] for line in lines])
    first, first_log = read(csv_bytes(lines), mapping)
    second, second_log = read(shuffled, mapping)
    pd.testing.assert_frame_equal(to_frame(first), to_frame(second))
    assert first_log.rows == second_log.rows


@given(st.lists(ROWS, max_size=12))
def test_every_cell_of_a_metric_is_a_row_or_accounted_for(rows):
    table, log = read(
        csv_bytes([HEADER, *rows]),
        mapping_of(
            'task = {from = "unused", map = {}, default = "t"}',
            metrics='["m1"]',
            top="missing = [-100]",
        ),
    )
    named = [row for row in rows if oracle_cell(row[1], (-100,)) is not None]
    counts = [int(n) for row in log.rows for n in re.findall(r"(\d+) cells? hold", row[2])]
    missing = sum(oracle_cell(row[8], (-100,)) is None for row in rows)
    bad = sum(
        (cell := oracle_cell(row[8], (-100,))) is not None and oracle_number(cell) is None
        for row in named
    )
    assert sum(counts) == missing
    missing_in_named = sum(oracle_cell(row[8], (-100,)) is None for row in named)
    assert table.num_rows == len(named) - missing_in_named - bad


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    for name, start in (("x.csv", b"t,acc\n"), ("x.parquet", b"PAR1")):
        table, log = read(start + content, mapping_of(), name=name)
        assert (table is None) <= bool(log.rows)


@given(st.text(max_size=300))
def test_any_text_is_a_mapping_or_an_error(text):
    try:
        mapping = Mapping.parse(WHOLE + '[columns]\ntask = "t"\n' + text)
    except (InputError, SchemaError) as error:
        told = str(error)
    else:
        told = mapping.where
    assert told.startswith("mapping")


# --- The documented example and the published table ---


def test_page_shows_the_example_and_it_is_short():
    example = EXAMPLE.read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    assert f"```toml\n{example}```" in page
    assert len(example.splitlines()) <= 30


# --- What a column of scores, or the file's name, says ---


def rows_of(table, *names):
    """Return some columns, row by row, in their order."""
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


SAID = """
constants = {benchmark = "b", model_family = "f"}
columns = {model_name = "m", total_params = {from = "size", multiply = 1e9}}
[metrics]
"""
TWO_TASKS = [
    ["m", "size", "sums_2_acc", "sums_0_acc", "rhymes_0_bleu", "note"],
    ["a", "0.5", "0.1", "0.2", "3", "x"],
    ["b", "6.7", "0.3", "", "4", "y"],
]


def test_columns_of_scores_say_task_and_shots():
    mapping = Mapping.parse(
        SAID
        + """
        sums_2_acc = {name = "acc", task = "sums", shots = 2, n_examples = 50}
        sums_0_acc = {name = "acc", task = "sums", subtask = "sums: easy", variant = "cot"}
        rhymes_0_bleu = {name = "bleu", task = "rhymes", shots = 0}
        """
    )
    table, log = read(csv_bytes(TWO_TASKS), mapping)
    names = ("task", "subtask", "metric", "shots", "variant", "n_examples", "score")
    assert rows_of(table, *names) == [
        ("sums", "sums", "acc", 2, None, 50, 0.1),
        ("sums", "sums: easy", "acc", None, "cot", None, 0.2),
        ("rhymes", "rhymes", "bleu", 0, None, None, 3.0),
        ("sums", "sums", "acc", 2, None, 50, 0.3),
        ("rhymes", "rhymes", "bleu", 0, None, None, 4.0),
    ]
    assert column(table, "total_params") == [500_000_000] * 3 + [6_700_000_000] * 2
    assert [reason for _, _, reason, _ in log.rows] == ["1 cell holds nothing: no row"]


def test_one_form_stands_for_many_columns():
    mapping = Mapping.parse(SAID + '"{task}_{shots}_{metric}" = {low_score = 0, high_score = 1}')
    table, _ = read(csv_bytes(TWO_TASKS), mapping)
    found = set(rows_of(table, "task", "shots", "metric", "high_score"))
    assert found == {("sums", 2, "acc", 1), ("sums", 0, "acc", 1), ("rhymes", 0, "bleu", 1)}
    # A column that is named outright is not taken a second time; what a rule says goes first.
    named = '"{task}_{shots}_{metric}" = {task = "all"}\nrhymes_0_bleu = {name = "b", task = "r"}'
    table, _ = read(csv_bytes(TWO_TASKS), Mapping.parse(SAID + named))
    assert set(rows_of(table, "task", "metric")) == {("all", "acc"), ("r", "b")}


def test_models_as_columns():
    mapping = Mapping.parse(
        """
        constants = {benchmark = "b"}
        columns = {task = "dataset", metric = "kind"}
        metrics."{model}-hf" = {multiply = 0.01}
        """
    )
    data = csv_bytes([
        ["dataset", "kind", "pythia-70m-hf", "pythia-1b-step3-hf", "gpt-4-hf"],
        ["sums", "acc", "25", "50", "75"], ["rhymes", "bleu", "", "12", ""],
        ["odd", "", "1", "", ""],
    ])  # fmt: skip
    table, log = read(data, mapping)
    assert rows_of(table, "task", "metric", "model_name", "total_params", "score") == [
        ("sums", "acc", "pythia-70m", 70426624, 0.25),
        ("sums", "acc", "pythia-1b", 1011781632, 0.5),
        ("sums", "acc", "gpt-4", None, 0.75),
        ("rhymes", "bleu", "pythia-1b", 1011781632, 0.12),
    ]
    assert column(table, "model_family") == ["pythia", "pythia", "OpenAI", "pythia"]
    step = '{"checkpoint": "step3"}'
    assert column(table, "settings") == [None, step, None, step]
    assert any("gpt-4" in reason for _, field, reason, _ in log.rows if field == "total_params")


RUN_LOG = [["step", "run", "acc"], ["1", "a", "0.1"], ["2", "a", "0.2"], ["1", "b", "0.3"]]


@pytest.mark.parametrize(
    ("last_of", "scores"), [(None, [0.1, 0.2, 0.3]), ([], [0.3]), (["run"], [0.2, 0.3])]
)
def test_the_last_row_of_a_file_or_group(last_of, scores):
    top = "" if last_of is None else f"last_of = {last_of}"
    columns = 'task = "run"\nmodel_name = {file = true, regex = "([0-9]+M)"}'
    mapping = mapping_of(
        columns, top=top, constants='constants = {benchmark="b", model_family="f"}\n'
    )
    table, log = read(csv_bytes(RUN_LOG), mapping, name="runs/190M-1xC.csv")
    assert column(table, "score") == scores
    assert set(column(table, "model_name")) == {"190M"}
    assert log.rows == []


def test_a_name_that_the_path_lacks_costs_the_row():
    mapping = mapping_of(
        'model_name = {file = true, regex = "([0-9]+M)"}',
        constants='constants = {benchmark = "b", task = "t", model_family = "f"}\n',
    )
    table, log = read(csv_bytes(RUN_LOG), mapping, name="last.csv")
    assert table.num_rows == 0
    assert "'last.csv' does not match the regular expression: left out (3 rows)" in log.rows[0][2]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ('"{task}_x" = {}', "metrics.{task}_x: no column of the table is of this form"),
        ('"{task}_{task}" = {}', "metrics.{task}_{task}: a name in braces stands twice"),
        ('"{task}_{n}" = {}', "metrics.{task}_{n}: unknown name 'n' in braces\nHint: one of"),
        ('a = {task = ""}', "metrics.a.task: expected a text, got ''"),
        ('a = {task = "t", shots = -1}', "metrics.a.shots: expected a whole number from 0, got -1"),
        ('a = {name = "x", task = "t"}\nb = {name = "x", task = "t"}',
         "metrics.b: a second column gives the metric 'x'\nHint: 'a' gives it too; `task`"),
        ('a = {name = "x"}', "nothing gives 'task'"),
    ],
)  # fmt: skip
def test_bad_columns_of_scores(metrics, message):
    def used():
        Mapping.parse(SAID + metrics, where="map.toml").for_table(["m", "size", "acc"])

    with pytest.raises(SchemaError) as caught:
        used()
    assert f"map.toml: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('{from = "a", multiply = 0}', "multiply: expected a positive number, got 0"),
        ('{from = "a", file = true}', "expected either `from` or `format` or `file`"),
        ("{file = false}", "expected either `from` or `format` or `file`"),
    ],
)
def test_bad_rules_of_columns(rule, message):
    with pytest.raises(SchemaError) as caught:
        mapping_of(f'task = "t"\ntotal_params = {rule}')
    assert message in str(caught.value)
    with pytest.raises(SchemaError, match="'variant' holds texts, which cannot be multiplied"):
        mapping_of('task = "t"\nvariant = {from = "a", multiply = 2}')


def test_page_names_every_key():
    page = PAGE.read_text(encoding="utf-8")
    with pytest.raises(SchemaError) as top:
        Mapping.parse("nonsense = 1")
    keys = [top.value.hint]
    for text in ("columns = {task = {nonsense = 1}}", "metrics = {a = {nonsense = 1}}"):
        with pytest.raises(SchemaError) as inner:
            Mapping.parse(text)
        keys.append(inner.value.hint)
    for key in ", ".join(hint.removeprefix("known keys: ") for hint in keys).split(", "):
        assert f"`{key}`" in page or f"`[{key}]`" in page


def test_example_names_metrics_of_the_catalog():
    mapping = Mapping.read(EXAMPLE)
    entries = metric_catalog().entries
    assert {rule.name for rule in mapping.metrics.values()} <= set(entries["metric"])


def published(shared):
    data = (shared / "samples" / "on_emergence_scores.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))
    table, log = read(data, Mapping.read(EXAMPLE), name="on_emergence_scores.csv")
    return rows, table, log


def test_published_table_row_by_row(shared):
    rows, table, _ = published(shared)
    metrics = list(Mapping.read(EXAMPLE).metrics)
    cells = [(row, m) for row in rows for m in metrics if float(row[m]) != -100]
    assert table.num_rows == len(cells)
    elsewhere = {"gsm8k": "GSM8K", "commonsense_qa": "CommonsenseQA"}
    for (row, metric), ours in zip(cells, plain(to_frame(table)), strict=True):
        task = row["filename"].split("/")[0]
        expected = {
            "benchmark": elsewhere.get(task, "BIG-bench"),
            "task": task,
            "subtask": task,
            "metric": metric,
            "model_name": row["model"],
            "shots": int(row["number_of_shots"]),
            "variant": f"{row['prompt_type']}, temperature {row['temperature']}",
            "replicate": None if row["seed"] == "None" else row["seed"],
            "score": float(row[metric]),
            "n_examples": int(row["number_of_data"]),
            "source": "on_emergence_scores.csv",
        }
        assert {name: ours[name] for name in expected} == expected


def test_published_table_problems(shared):
    rows, _, log = published(shared)
    sizes = Mapping.read(EXAMPLE).columns["total_params"].map
    unknown = dict.fromkeys(row["model"] for row in rows if row["model"] not in sizes)
    told = [row[2] for row in log.rows if row[1].endswith("total_params")]
    assert told == [
        f"'{model}' is not in the map: left empty "
        f"({sum(row['model'] == model for row in rows)} rows)"
        for model in unknown
    ]
    others = {row[1]: row[2] for row in log.rows if not row[1].endswith("total_params")}
    missing = {
        metric: sum(float(row[metric]) == -100 for row in rows)
        for metric in Mapping.read(EXAMPLE).metrics
    }
    assert others == {
        metric: f"{n:,} cells hold the missing value -100: no rows"
        for metric, n in missing.items()
        if n
    }
    assert log.n_errors == 0


def test_published_models_have_their_family_and_size(shared):
    _, table, _ = published(shared)
    frame = to_frame(table)
    families = frame.groupby("model_family", observed=True)["model_name"].agg(
        lambda names: sorted(set(names))
    )
    assert families["gpt2"] == ["gpt2", "gpt2-xl"]
    assert families["t5"] == ["t5-large", "t5-small"]
    assert families["google/flan-t5"] == ["google/flan-t5-large", "google/flan-t5-small"]
    assert families["chavinlo/alpaca"] == ["chavinlo/alpaca-13b", "chavinlo/alpaca-native"]
    assert families["tiiuae/falcon"] == ["tiiuae/falcon-40b", "tiiuae/falcon-7b"]
    assert families["models--llama"] == [f"models--llama/{size}B" for size in (13, 30, 7)]
    assert len(families) == 15
    api = frame[frame["model_family"].isin(["gpt-4", "davinci", "code", "text-davinci-003"])]
    assert api["total_params"].isna().all()


def parameters(
    *,
    vocabulary,
    width,
    ff,
    layers,
    gated=False,
    heads=0,
    t5=False,
    inner=None,
    positions=0,
    untied=False,
):
    """Count the weights of a transformer from its published shape."""
    inner = inner or width
    attention, mlp = 4 * width * inner, (3 if gated else 2) * width * ff
    total = vocabulary * width * (2 if untied else 1) + positions * width
    if t5:  # RMS norms, relative position biases of 32 buckets, an encoder and a decoder
        encoder = layers * (attention + mlp + 2 * width) + 32 * heads + width
        decoder = layers * (2 * attention + mlp + 3 * width) + 32 * heads + width
        return total + encoder + decoder
    if gated:  # LLaMA: RMS norms, no biases
        return total + layers * (attention + mlp + 2 * width) + width
    biases = 4 * width + ff + width
    return total + layers * (attention + mlp + biases + 4 * width) + 2 * width


GPT2 = {"vocabulary": 50257, "positions": 1024}
T5 = {"vocabulary": 32128, "t5": True}
LLAMA = {"vocabulary": 32000, "gated": True, "untied": True}


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ("gpt2", GPT2 | {"width": 768, "ff": 3072, "layers": 12}),
        ("gpt2-xl", GPT2 | {"width": 1600, "ff": 6400, "layers": 48}),
        ("t5-small", T5 | {"width": 512, "ff": 2048, "layers": 6, "heads": 8}),
        ("t5-large", T5 | {"width": 1024, "ff": 4096, "layers": 24, "heads": 16}),
        (
            "google/flan-t5-small",
            T5
            | {
                "width": 512,
                "ff": 1024,
                "layers": 8,
                "heads": 6,
                "inner": 384,
                "gated": True,
                "untied": True,
            },
        ),
        (
            "google/flan-t5-large",
            T5
            | {"width": 1024, "ff": 2816, "layers": 24, "heads": 16, "gated": True, "untied": True},
        ),
        ("models--llama/7B", LLAMA | {"width": 4096, "ff": 11008, "layers": 32}),
        ("models--llama/13B", LLAMA | {"width": 5120, "ff": 13824, "layers": 40}),
        ("models--llama/30B", LLAMA | {"width": 6656, "ff": 17920, "layers": 60}),
    ],
)
def test_sizes_of_the_example_follow_from_the_architectures(model, shape):
    assert Mapping.read(EXAMPLE).columns["total_params"].map[model] == parameters(**shape)


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".csv", ";"), (".parquet", ",")])
def test_below_a_folder_tables_with_the_columns_of_the_mapping_are_read(
    tmp_path, ending, delimiter
):
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        f'delimiter = "{delimiter}"\nmetrics = ["acc"]\n{NAMED}[columns]\ntask = "t"\n'
    )
    tables = {"a/wide": ["t", "acc"], "b/c/wide": ["x", "acc", "t"], "other": ["t", "f1"]}
    for number, (name, columns) in enumerate(tables.items()):
        path = tmp_path / "tree" / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if ending == ".csv":
            path.write_bytes(
                csv_bytes([columns, [str(number)] * len(columns)], delimiter=delimiter)
            )
        else:
            path.write_bytes(parquet_bytes(pa.table({column: [str(number)] for column in columns})))
    observations, problems = bm.read_results(tmp_path / "tree", mapping=mapping)
    assert sorted(observations["source"]) == [f"tree/a/wide{ending}", f"tree/b/c/wide{ending}"]
    assert problems.empty
    with pytest.raises(InputError, match="3 files looked at, none recognised: tree/other"):
        bm.read_results(tmp_path / "tree")


# --- Patterns that would hang ---


@pytest.mark.parametrize("key", ["regex", "remove"])
def test_a_pattern_of_a_mapping_cannot_hang(key):
    column = f'model_name = {{from = "m", {key} = "((?:a|aa)+)!"}}'
    mapping = Mapping.parse(
        f'metrics = ["acc"]\n[constants]\nbenchmark = "b"\ntask = "t"\nmodel_family = "f"\n'
        f"[columns]\n{column}\n",
        where="my.toml",
    )
    data = csv_bytes([["m", "acc"], ["a" * 200, "1"]])
    with pytest.raises(PatternError, match="takes too long on 'aaaa") as caught:
        read(data, mapping)
    assert caught.value.where == f"my.toml: columns.model_name.{key}"


def test_the_form_of_a_column_cannot_hang():
    form = "{task}_{subtask}_{variant}_{model}_{shots}_{metric}!"
    mapping = Mapping.parse(
        f'[constants]\nbenchmark = "b"\n[metrics]\n"{form}" = {{}}\n', where="my.toml"
    )
    with pytest.raises(BigbenchMetaError) as caught:
        read(csv_bytes([["a_" * 2000, "b"], ["1", "2"]]), mapping)
    assert str(caught.value).startswith(f"my.toml: metrics.{form}: ")
