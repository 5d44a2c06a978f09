"""Shapes and trends of curves as tables: keys, units, weights, and what is fitted."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from shape_oracle import value

from bigbench_meta import build_curves, load_embedded
from bigbench_meta.core.schema import CURVE_KEY
from bigbench_meta.curves.proportions import proportions
from bigbench_meta.inference.shapes.curve_shapes import curve_shapes, shape_fits
from bigbench_meta.inference.shapes.inputs import binomial_variance, fit_input
from bigbench_meta.inference.shapes.shape_fits import SHAPE_PARAMETERS, SHAPES


def test_rows_and_keys(embedded_study):
    chosen = np.flatnonzero(np.arange(len(embedded_study.curves)) % 18 == 0)
    some = embedded_study.curves[np.isin(np.arange(len(embedded_study.curves)), chosen)]
    table, fits = embedded_study.shapes.iloc[chosen].reset_index(drop=True), shape_fits(some)
    pd.testing.assert_frame_equal(table[[*CURVE_KEY]], some.keys[[*CURVE_KEY]])
    assert len(fits) == len(some) * len(SHAPES)
    assert fits["shape"].tolist() == list(SHAPES) * len(some)
    weights = table[[f"weight_{name}" for name in SHAPES]].to_numpy()
    np.testing.assert_array_equal(weights.ravel(), fits["bic_weight"])
    assert weights.sum(axis=1) == pytest.approx(1)
    assert (table["best_weight"] == weights.max(axis=1)).all()
    by_aicc = curve_shapes(some, criterion="aicc")
    np.testing.assert_array_equal(
        by_aicc[[f"weight_{name}" for name in SHAPES]].to_numpy().ravel(), fits["weight"]
    )
    assert (by_aicc["best_shape"] != table["best_shape"]).any()
    assert not pd.isna(by_aicc["trend"]).any()


def test_parameters_are_in_the_unit_of_the_file():
    curves = build_curves(load_embedded())
    chosen = curves[(curves.keys["task"] == "LAMBADA").to_numpy(dtype=bool)]
    for _, row in shape_fits(chosen).iterrows():
        same = chosen.keys[["metric", "shots"]] == row[["metric", "shots"]]
        at = np.flatnonzero(same.all(axis=1))
        points = slice(chosen.offsets[at[0]], chosen.offsets[at[0] + 1])
        shape = row["shape"]
        fitted = value(shape, chosen.x[points], row[list(SHAPE_PARAMETERS[shape])])
        residual = np.corrcoef(fitted, chosen.y[points])[0, 1] if shape != "constant" else 1
        assert residual > 0.5
        spread = np.ptp(chosen.y[points])
        assert abs(np.mean(fitted - chosen.y[points])) < 0.25 * spread


def test_what_is_fitted():
    curves = build_curves(load_embedded())
    data, share = fit_input(curves), proportions(curves)
    yes = data.is_share[curves.ragged.curve]
    np.testing.assert_array_equal(data.y[yes], share.proportion[yes])
    np.testing.assert_array_equal(data.y[~yes], curves.y[~yes])
    back = data.zero[curves.ragged.curve] + data.unit[curves.ragged.curve] * data.y
    assert back == pytest.approx(curves.y)
    binomial = (data.weighting == "binomial")[curves.ragged.curve]
    n, p = data.n_examples[binomial], data.y[binomial]
    assert data.variance[binomial] == pytest.approx(binomial_variance(p, n))
    assert np.isnan(data.n_examples[~binomial]).all()


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("n_examples", [100] * 5, "binomial"),
        ("n_examples", [100, 100, None, 100, 100], "equal"),
        ("stderr", [0.01] * 5, "stderr"),
        ("stderr", [0.01, 0.0, 0.01, 0.01, 0.01], "equal"),
        ("stderr", [0.01, math.inf, 0.01, 0.01, 0.01], "equal"),
    ],
)
def test_weighting(column, values, expected):
    frame = pd.DataFrame({
        "benchmark": "b", "task": "t", "metric": "exact_str_match", "model_family": "f",
        "model_name": list("abcde"), "total_params": [10**i for i in range(1, 6)],
        "score": [0.0, 0.1, 0.2, 0.4, 0.5], column: values,
    })  # fmt: skip
    table = curve_shapes(build_curves(frame))
    assert table["weighting"].tolist() == [expected]
    json.dumps(table.drop(columns=list(CURVE_KEY)).to_dict("records"))


def test_no_curves():
    nothing = build_curves(load_embedded().head(0))
    assert len(curve_shapes(nothing)) == 0 == len(shape_fits(nothing))
