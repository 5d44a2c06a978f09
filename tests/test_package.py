"""The package as a whole: imports go one way, names resolve, nothing heavy at start-up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bigbench_meta

PACKAGE = Path(bigbench_meta.__file__).parent

# Each layer imports only from those above it; modules of one line may import each other's siblings.
LAYERS = [
    ["errors", "_arrow", "_text", "_version"],
    ["_validate"],
    ["_choices", "_rouge"],
    ["mirage"],
    ["_simulated_tasks"],
    ["schema"],
    ["_simulation_plan"],
    ["simulation"],
    ["_planes"],
    ["_keys", "emergence"],
    ["catalog"],
    ["model_names", "_git", "_issue_rows", "example_counts"],
    ["_issue_table"],
    ["known_issues"],
    ["download"],
    ["readers._problems", "readers._streams"],
    ["readers._salvage", "readers._tables", "readers._conflicts", "readers._json_cursor"],
    ["readers._mapping_values", "readers._mapping_rules"],
    ["readers._mapping_checks"],
    ["readers._mapping", "readers._lm_eval_run", "readers._json_window", "readers._decode"],
    ["readers._wide_file", "readers._wide_codes"],
    ["readers._wide_keys", "readers._wide_scores", "readers._wide_catalog"],
    ["readers._wide", "readers._lm_eval", "readers._full_log_types", "readers._helm_run"],
    ["readers._helm", "readers._inspect_json", "readers._inspect_zip", "readers._inspect_run"],
    ["readers._inspect_frames"],
    ["readers._inspect_samples"],
    ["readers._inspect"],
    ["readers._lm_eval_samples", "readers._formats", "readers._full_log_rows"],
    ["readers._remote", "readers._bigbench", "readers._full_log_tables"],
    ["readers._sources", "readers._full_log"],
    ["readers._archives", "readers._options"],
    ["readers._companions", "readers._parse"],
    ["readers._batch"],
    ["readers"],
    ["_manifest"],
    ["_ingest"],
    ["_commit"],
    ["store"],
    ["curves"],
    ["inference", "inference._binomial", "inference._draws"],
    ["inference.intervals", "inference._replicates"],
    ["inference._worlds"],
    ["inference._inversion"],
    ["inference._plain_intervals"],
    ["inference.flatness", "inference._proportions", "inference.bootstrap"],
    ["inference.power", "inference._states", "inference._sample_errors"],
    ["inference._verdicts"],
    ["inference.wei", "inference.uncertainty"],
    ["shapes._models", "shapes._criteria"],
    ["shapes._coefficients"],
    ["shapes._fits"],
    ["shapes._frame", "shapes._input"],
    ["shapes._batch", "shapes._trends"],
    ["shapes"],
    ["forecast._links", "forecast._predictive", "forecast._rows", "forecast._target_length"],
    ["forecast._between_models", "forecast._shape_forecasts", "forecast._smooth_partners"],
    ["forecast._link_forecasts"],
    ["forecast._summary"],
    ["forecast"],
    ["nulls._parts", "nulls._tally", "nulls.links"],
    ["nulls._candidates", "nulls.mechanism", "nulls.line_null"],
    ["nulls._batch", "nulls._inputs", "nulls.mechanism_fit"],
    ["nulls.family_sigma", "nulls.fit_test", "nulls._lengths", "nulls.mechanism_null"],
    ["nulls._hardest"],
    ["nulls"],
    ["evidence"],
    ["analysis"],
    ["aggregate"],
    ["accounts._estimates"],
    ["accounts._clusters", "accounts._odds_ratios"],
    ["accounts._curve_flags", "accounts._logit"],
    ["accounts._conditional_logit", "accounts._flag_ratios", "accounts.paired"],
    ["accounts._flag_models", "accounts._paired_tests", "accounts.scale_deletion"],
    ["accounts._limitations", "accounts._variants"],
    ["accounts"],
    ["accounts.sensitivity"],
    ["mirage_table"],
    ["_chart_style", "criteria"],
    ["charts", "tables"],
    ["accounts.tables", "charts_accounts", "charts_mirage", "outputs"],
    ["charts_evidence", "charts_forecast", "forecast.tables", "shapes.tables"],
    ["study_tables"],
    ["study"],
    ["report"],
    ["cli._console", "cli._option"],
    ["cli._load"],
    ["cli._study", "cli._store", "cli._download", "cli._power", "cli._simulate"],
    ["cli._accounts", "cli._forecast", "cli._shapes"],
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bigbench_meta"):
            inside = node.module.removeprefix("bigbench_meta").lstrip(".")
            for alias in node.names:
                full = f"{inside}.{alias.name}".lstrip(".")
                found.add(full if full in LEVEL else inside)
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("bigbench_meta")}
    return found


MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if module_name(p) not in {"", "__main__"}]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_go_one_way(path):
    name = module_name(path)
    assert name in LEVEL, "place the new module in LAYERS"
    wrong = [other for other in imports_of(path) if LEVEL[other] >= LEVEL[name]]
    assert not wrong


@pytest.mark.parametrize("name", bigbench_meta.__all__)
def test_public_name_resolves_and_is_documented(name):
    value = getattr(bigbench_meta, name)
    if callable(value):
        assert value.__doc__
    assert name in dir(bigbench_meta)


def test_all_is_sorted_and_homes_are_complete():
    assert sorted(bigbench_meta.__all__) == list(bigbench_meta.__all__)
    assert set(bigbench_meta._HOME) | {"__version__"} == set(bigbench_meta.__all__)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bigbench_meta.nonsense


def test_import_loads_nothing_heavy():
    code = "import sys, bigbench_meta; print({'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_only_readers_store_report_and_cli_touch_files():
    allowed = {
        "readers._archives", "readers._batch", "readers._mapping", "readers._remote",
        "readers._inspect_frames", "readers._inspect_zip",
        "readers._sources", "readers._tables", "_manifest", "_ingest", "_commit", "store",
        "_git", "download", "report", "outputs", "cli._console", "catalog", "example_counts",
    }  # fmt: skip
    opening = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir"}
    for path in MODULES:
        calls = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        assert module_name(path) in allowed or not calls & opening
