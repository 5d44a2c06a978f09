"""The shapes of curves in the scale itself, by the formulas of the table in the documentation."""

from __future__ import annotations

import numpy as np

from bigbench_meta.inference.shapes.shape_fits import SHAPE_PARAMETERS


def value(shape, x, parameters):
    """A shape in the scale itself, from the parameters that are reported."""
    q = dict(zip(SHAPE_PARAMETERS[shape], parameters, strict=True))
    ratio = x / x[0]
    match shape:
        case "constant":
            return np.full(len(x), q["level"])
        case "log_linear":
            return q["first"] + q["slope"] * np.log(ratio)
        case "power_law":
            return q["limit"] + (q["first"] - q["limit"]) * ratio ** -q["exponent"]
        case "step":
            return np.where(x < q["step_scale"], q["below"], q["above"])
        case "logistic":
            share = 1 / (1 + (x / q["midpoint"]) ** -q["steepness"])
            return q["lower"] + (q["upper"] - q["lower"]) * share
        case _:
            bend = 1 + (x / q["break_scale"]) ** (1 / q["width"])
            power = (bend / bend[0]) ** -(q["bend"] * q["width"])
            return q["limit"] + q["amplitude"] * ratio ** -q["exponent"] * power
