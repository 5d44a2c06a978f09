"""Fit the laws of held-out loss by other programs too, and measure how often theirs and ours err.

    python scripts/compare_loss_laws.py FOLDER/scores.csv     # ours, R, statsmodels and scipy
    python scripts/compare_loss_laws.py --simulate 200        # half an hour

The first takes the scores that ``bigbench-meta generate arithmetic --out FOLDER`` writes. It ends
with exit code 1 if an exponent, a constant or a p-value differs by more than ``TOLERANCE``. R is
used where ``Rscript`` is installed (on Debian: r-base-core).
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.optimize import curve_fit
from scipy.stats import f as f_distribution

from bigbench_meta.aggregate.loss_law import LAWS, fit_loss_law, lack_of_fit, loss_law

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOLERANCE: Final = 1e-3
_COLUMNS: Final = ["exponent", "coefficient", "constant", "residual", "p_equal"]
_SIZES: Final = np.array([500, 1700, 3700, 6500, 14_000, 25_000, 100_000, 300_000])


def models_of(scores: Path, scale: str) -> pd.DataFrame:
    """Return size and loss of the models of seeds that have every size."""
    frame = pd.read_csv(scores)
    columns = ["model_family", "replicate", scale, "pretraining_loss"]
    frame = frame[columns].dropna().drop_duplicates()
    frame.columns = pd.Index(["family", "seed", "x", "loss"])
    n_sizes = frame.groupby("family")["x"].transform("nunique")
    complete = frame.groupby(["family", "seed"])["x"].transform("nunique") == n_sizes
    return frame[complete]


def by_us(models: pd.DataFrame) -> pd.DataFrame:
    """Fit by this package."""
    rows = []
    for family, own in models.groupby("family"):
        for law in LAWS:
            found = fit_loss_law(own["x"], own["loss"], law=law)
            p_value = lack_of_fit(own["x"], own["loss"], law=law).p_equal
            values = [found.exponent, found.coefficient, found.constant, found.residual, p_value]
            rows.append([family, law, *values])
    return pd.DataFrame(rows, columns=["family", "law", *_COLUMNS])


def by_r(models: pd.DataFrame) -> pd.DataFrame:
    """Fit by R."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "models.csv"
        models.to_csv(file, index=False)
        done = subprocess.run(
            ["Rscript", "--vanilla", str(Path(__file__).with_name("loss_law.R")), str(file)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return pd.read_csv(io.StringIO(done.stdout))


def by_scipy(models: pd.DataFrame) -> pd.DataFrame:
    """Fit the power law by statsmodels, and that with a constant by scipy within bounds."""
    rows = []
    for family, own in models.groupby("family"):
        x, y = np.log(own["x"]).to_numpy(), np.log(own["loss"]).to_numpy()
        line = sm.OLS(y, sm.add_constant(x)).fit()
        saturated = sm.OLS(y, pd.get_dummies(own["x"]).to_numpy(dtype=float)).fit()
        a, slope = line.params
        p_value = saturated.compare_f_test(line)[1]
        rows.append([family, LAWS[0], -slope, np.exp(a), 0.0, line.ssr, p_value])
        u = x - x.mean()

        def curve(u: Floats, base: float, alpha: float, constant: float) -> Floats:
            return np.asarray(np.log(np.exp(base - alpha * u) + constant))

        start = [y.mean(), -slope, 0.5 * own["loss"].min()]
        p, _ = curve_fit(
            curve, u, y, start, bounds=([-np.inf, -np.inf, 0], np.inf), x_scale="jac",
            ftol=1e-12, xtol=1e-12, gtol=1e-12, max_nfev=10_000,
        )  # fmt: skip
        residual = float(np.sum((curve(u, *p) - y) ** 2))
        free, of_law = saturated.df_resid, own["x"].nunique() - 3
        f = (residual - saturated.ssr) / of_law / (saturated.ssr / free)
        p_value = f_distribution.sf(f, of_law, free)
        coefficient = np.exp(p[0] + p[1] * x.mean())
        rows.append([family, LAWS[1], p[1], coefficient, p[2], residual, p_value])
    return pd.DataFrame(rows, columns=["family", "law", *_COLUMNS])


def compare(scores: Path, scale: str) -> bool:
    """Print all fits, and return whether they agree."""
    models = models_of(scores, scale)
    programs = {"bigbench-meta": by_us, "statsmodels, scipy": by_scipy}
    if shutil.which("Rscript"):
        programs["R"] = by_r
    else:
        print("Rscript is not installed: compared with statsmodels and scipy alone")
    found = {name: fit(models).set_index(["family", "law"]) for name, fit in programs.items()}
    table = pd.concat(found, names=["program"]).reorder_levels([1, 2, 0]).sort_index()
    print(table.to_string(float_format=lambda value: f"{value:.6g}"))
    ours = found.pop("bigbench-meta")
    checked = ["exponent", "constant", "p_equal"]
    apart = max(np.abs((ours - other)[checked].to_numpy()).max() for other in found.values())
    print(f"largest difference of {', '.join(checked)}: {apart:.2g}")
    return bool(apart <= TOLERANCE)


def simulate(n: int) -> None:
    """Print how often intervals hold the exponent, and how often a true law is rejected."""
    rng = np.random.default_rng(0)
    print("seeds | spreads | law | interval holds exponent | p_equal <= .05 | p_unequal <= .05")
    for n_seeds in (3, 5, 10):
        for unequal in (False, True):
            spread = np.linspace(0.02, 0.5, len(_SIZES)) if unequal else np.full(len(_SIZES), 0.15)
            for law, constant in zip(LAWS, (0.0, 0.1), strict=True):
                expected = constant + 20 * _SIZES**-0.4
                held, equal, own = 0, 0, 0
                for number in range(n):
                    noise = rng.standard_normal((n_seeds, len(_SIZES)))
                    frame = pd.DataFrame({
                        "benchmark": "b", "task": "t", "metric": "m", "model_family": "f",
                        "score": 0.0, "replicate": np.repeat(np.arange(n_seeds), len(_SIZES)),
                        "model_name": np.tile(_SIZES.astype(str), n_seeds),
                        "total_params": np.tile(_SIZES, n_seeds),
                        "pretraining_loss": (expected * np.exp(spread * noise)).ravel(),
                    }).astype({"replicate": str})  # fmt: skip
                    row = loss_law(
                        frame, scale="total_params", laws=[law], n_boot=199, seed=number
                    ).fits.iloc[0]
                    held += row["exponent_low"] <= 0.4 <= row["exponent_high"]
                    equal += row["p_equal"] <= 0.05
                    own += row["p_unequal"] <= 0.05
                kind = "unequal" if unequal else "equal"
                shares = " | ".join(f"{count / n:.3f}" for count in (held, equal, own))
                print(f"{n_seeds} | {kind} | {law} | {shares}", flush=True)


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scores", nargs="?", type=Path, help="scores.csv of trained families")
    parser.add_argument("--scale", default="non_embedding_params", help="what loss is a power of")
    parser.add_argument("--simulate", type=int, metavar="N", help="simulate N families a cell")
    options = parser.parse_args()
    if options.simulate:
        simulate(options.simulate)
    elif options.scores is None:
        parser.error("give scores.csv or --simulate N")
    elif not compare(options.scores, options.scale):
        sys.exit(1)


if __name__ == "__main__":
    main()
