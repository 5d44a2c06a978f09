"""The study of the embedded results with everything that it can say, computed once a test run."""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bigbench_meta as bm
from bigbench_meta.core.schema import PROBLEMS, to_frame

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.study import Study

_LONGEST_WAIT = 900  # seconds, for another process that computes


@dataclass(frozen=True, kw_only=True)
class EmbeddedStudy:
    """What ``bigbench-meta analyze``, ``forecast`` and ``shapes`` compute without arguments.

    Every test is given the same objects: change none of them.

    Attributes:
        curves: The 189 curves.
        study: The study, with inference; its ``scores`` have the columns of both schemas.
        forecasts: What :func:`bigbench_meta.forecast_curves` returns.
        shapes: What :func:`bigbench_meta.curve_shapes` returns.
    """

    curves: Curves
    study: Study
    forecasts: pd.DataFrame
    shapes: pd.DataFrame

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of all curves with inference, in the order of the curves."""
        return self.study.scores


def compute() -> EmbeddedStudy:
    study = bm.run_study(bm.load_embedded(), to_frame(PROBLEMS.empty()), inference=True)
    return EmbeddedStudy(
        curves=study.curves,
        study=study,
        forecasts=bm.forecast_curves(study.curves),
        shapes=bm.curve_shapes(study.curves),
    )


def computed_once(folder: Path) -> EmbeddedStudy:
    """Compute it in the first process that asks, and read its result in all others.

    Args:
        folder: Of this test run, which all its processes have.
    """
    done, claim = folder / "embedded_study.pickle", folder / "embedded_study.claim"
    end = time.monotonic() + _LONGEST_WAIT
    while not done.exists() and time.monotonic() < end:
        try:
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            time.sleep(0.2)
            continue
        try:
            part = folder / "embedded_study.part"
            part.write_bytes(pickle.dumps(found := compute()))
            part.replace(done)
        finally:
            claim.unlink()  # after a failure the next process tries
        return found
    return pickle.loads(done.read_bytes())
