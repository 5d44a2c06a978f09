"""Analyses in chunks: the same results in one process and in two, kept, and failures reported."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bigbench_meta import Execution, build_curves, curve_evidence, load_embedded
from bigbench_meta.aggregate import metric_change
from bigbench_meta.core.errors import InputError, KilledError
from bigbench_meta.inference import chunks
from bigbench_meta.inference.chunks import Analysis, analyse
from bigbench_meta.inference.forecast import forecast_curves
from bigbench_meta.inference.resolution import resolution
from bigbench_meta.inference.shapes import curve_shapes


@pytest.fixture(scope="module")
def curves():
    return build_curves(load_embedded("gpt3"))


def test_chunks_give_what_all_curves_give(curves, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 50)
    found = analyse({"resolution": Analysis(function=resolution)}, curves)["resolution"]
    pd.testing.assert_frame_equal(found, resolution(curves).reset_index(drop=True))


def test_a_chunk_does_not_carry_the_names_of_all_curves(curves):
    """It would be as large as the study, and so would all that is found, for each chunk."""
    some = chunks.part_of(curves, np.array([3, 5])).curves
    assert some.keys["task"].cat.categories.tolist() == sorted({*some.keys["task"]})
    pd.testing.assert_frame_equal(some.keys, curves[np.array([3, 5])].keys, check_categorical=False)
    found = chunks.restored(some.keys.assign(other_metric=some.keys["metric"]), curves)
    for name in ("task", "metric", "model_family"):
        assert found[name].dtype == curves.keys[name].dtype
    assert found["other_metric"].dtype == curves.keys["metric"].dtype


def test_no_curves(curves):
    none = curves[np.zeros(len(curves), dtype=bool)]
    found = analyse({"resolution": Analysis(function=resolution)}, none)["resolution"]
    assert len(found) == 0
    assert list(found) == list(resolution(none))


def no_rows(some):
    return resolution(some).assign(name=pd.Categorical(["a"] * len(some))).iloc[:0]


def test_a_chunk_without_rows_keeps_its_types_when_it_was_kept(curves, tmp_path):
    execution = Execution(keep=tmp_path)
    first, again = (
        chunks.run_chunks(
            [Analysis(function=no_rows).chunk("none", part) for part in chunks.parts_of(curves)],
            execution,
        )[0]
        for _ in range(2)
    )
    assert len(list(tmp_path.iterdir())) == 3
    assert pa.Table.from_pandas(first).schema == pa.Table.from_pandas(again).schema
    names = pa.Table.from_pandas(again).schema.field("name").type
    assert pa.types.is_large_string(names.value_type)


def test_options_of_curves_and_samples_go_with_their_chunk(curves, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 10)
    samples = pd.DataFrame({"task": ["PIQA", "LAMBADA", "nowhere"], "score": [1, 2, 3]})
    seen = []

    def of_chunk(some, *, number, shared, samples):
        tasks = set(some.keys["task"].astype(str))
        assert set(samples["task"]) == tasks & {"PIQA", "LAMBADA"}
        seen.append(len(some))
        return pd.DataFrame({"sum": np.array(number) + shared})

    numbers = np.arange(len(curves))
    analysis = Analysis(
        function=of_chunk, options={"shared": 0.5}, of_curves={"number": numbers}, samples=samples,
    )  # fmt: skip
    calls = []
    found = analyse(
        {"sums": analysis}, curves, progress=lambda done, total: calls.append((done, total))
    )["sums"]
    assert found["sum"].tolist() == (numbers + 0.5).tolist()
    assert sum(seen) == len(curves)
    assert 1 <= min(seen) <= max(seen) <= 10
    assert calls[-1] == (len(curves), len(curves))


def test_chunks_are_of_one_length_and_metric_where_there_are_enough(curves):
    sizes = {len(part.curves) for part in chunks.parts_of(curves)}
    assert sizes == {123, 57, 9}  # accuracies, and two lots of others, all of one length
    lengths = [2] * 10 + [3] * 30 + [4] * 20 + [5] * 20
    rows = [
        {"benchmark": "b", "task": f"t{number}", "metric": "exact_str_match", "model_family": "f",
         "model_name": f"m{size}", "total_params": 10.0**size, "score": 0.1 * size}
        for number, length in enumerate(lengths) for size in range(1, length + 1)
    ]  # fmt: skip
    some = build_curves(pd.DataFrame(rows))
    parts = chunks.parts_of(some)
    assert [sorted(set(chunk.curves.ragged.lengths)) for chunk in parts] == [[2, 3], [4], [5]]
    assert sorted(np.concatenate([chunk.place for chunk in parts])) == list(range(80))


def test_a_failing_chunk_is_named_and_the_others_are_kept(curves, monkeypatch):
    task = str(curves.keys["task"].iloc[60])
    seen = []

    def fails(some):
        seen.append(len(some))
        if task in set(some.keys["task"].astype(str)):
            raise ZeroDivisionError("no")
        return resolution(some)

    monkeypatch.setattr(chunks, "CHUNK", 50)
    analyses = {"shape": Analysis(function=fails)}
    with pytest.raises(InputError, match=r"shape failed in 1 of its chunks.*ZeroDivisionError: no"):
        analyse(analyses, curves)
    assert sum(seen) == len(curves)


def test_an_error_that_explains_itself_is_not_called_a_failure(curves):
    def killed(_):
        raise KilledError("was killed", where="a process", hint="try fewer --jobs")

    with pytest.raises(KilledError, match="try fewer"):
        analyse({"shape": Analysis(function=killed)}, curves)


def test_a_failing_chunk_without_curves(curves):
    with pytest.raises(InputError, match="the first has 0 curves: ZeroDivisionError"):
        analyse({"shape": Analysis(function=lambda some: 1 / len(some))}, curves[:0])


@pytest.mark.parametrize(
    ("module", "analysis"),
    [
        (chunks, curve_shapes.curve_shapes),
        (chunks, forecast_curves.forecast_curves),
        (metric_change, metric_change.metric_change),
    ],
)
def test_smaller_chunks_give_the_same(curves, monkeypatch, module, analysis):
    some = curves[curves.keys["task"].isin(["LAMBADA", "PIQA", "SuperGLUE"])]
    whole = analysis(some)
    monkeypatch.setattr(module, "CHUNK", 4)
    calls = []
    parts = analysis(some, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) >= len(some) // 8
    assert calls[-1][0] == calls[-1][1]
    # Fits of another batch end in other last digits.
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-6)


def test_processes_compare_metrics_alike(curves, tmp_path):
    one = metric_change.metric_change(curves, n_boot=19)
    execution = Execution(jobs=2, keep=tmp_path)
    two = metric_change.metric_change(curves, n_boot=19, execution=execution)
    assert len(one) > 20
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert list(tmp_path.glob("*.arrow"))


@pytest.mark.full
def test_one_and_two_processes_give_the_same_evidence(curves, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 16)
    some = curves[np.arange(len(curves)) % 8 == 0]  # two chunks
    one = curve_evidence(some, n_boot=19)
    two = curve_evidence(some, n_boot=19, execution=Execution(jobs=2, keep=tmp_path))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    files = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert len(files) == 10 * 2
    # One is missing: it alone is computed again.
    next(tmp_path.iterdir()).unlink()
    again = curve_evidence(some, n_boot=19, execution=Execution(keep=tmp_path))
    pd.testing.assert_frame_equal(one, again, check_exact=True)
    now = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert set(now) == set(files)
    assert sum(now[name] != files[name] for name in files) == 1
