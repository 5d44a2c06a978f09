"""Laws of the loss by R, statsmodels and scipy are those of this package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

SCRIPT = ROOT / "scripts" / "compare_loss_laws.py"


@pytest.mark.full
@pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the folder `scripts`")
def test_programs_agree(tmp_path):
    rng = np.random.default_rng(0)
    sizes = np.array([500, 1700, 3700, 6500, 14_000, 25_000])
    rows = [
        {"model_family": family, "replicate": f"seed {seed}", "non_embedding_params": size,
         "pretraining_loss": (constant + 20 * size**-0.5) * np.exp(0.1 * rng.standard_normal())}
        for family, constant in (("straight", 0.0), ("bent", 0.3))
        for seed in range(4) for size in sizes.tolist()
    ]  # fmt: skip
    scores = tmp_path / "scores.csv"
    pd.DataFrame(rows).to_csv(scores, index=False)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(scores)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("statsmodels, scipy") >= 4
    assert "largest difference" in done.stdout
