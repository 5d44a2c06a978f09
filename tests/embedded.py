"""The embedded results with everything that is computed of them, each part once a test run."""

from __future__ import annotations

import os
import pickle
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import bigbench_meta as bm
from bigbench_meta.core.schema import PROBLEMS, to_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from bigbench_meta.curves.build import Curves
    from bigbench_meta.report.study import Study

_LONGEST_WAIT = 900  # seconds, for another process that computes


class EmbeddedStudy:
    """What ``bigbench-meta analyze``, ``forecast`` and ``shapes`` compute without arguments.

    Every test is given the same objects: change none of them.

    Args:
        folder: Of this test run, which all its processes have; None if there is only one.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @cached_property
    def curves(self) -> Curves:
        """The 189 curves."""
        return bm.build_curves(bm.load_embedded())

    @cached_property
    def study(self) -> Study:
        """The study, with inference: half a minute's work."""
        problems = to_frame(PROBLEMS.empty())
        return self._once(
            "study", lambda: bm.run_study(bm.load_embedded(), problems, inference=True)
        )

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of all curves with inference, in the order of the curves."""
        return self.study.scores

    @cached_property
    def forecasts(self) -> pd.DataFrame:
        """What :func:`bigbench_meta.forecast_curves` returns."""
        return self._once("forecasts", lambda: bm.forecast_curves(self.curves))

    @cached_property
    def shapes(self) -> pd.DataFrame:
        """What :func:`bigbench_meta.curve_shapes` returns."""
        return self._once("shapes", lambda: bm.curve_shapes(self.curves))

    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        """Compute in the first process that asks, and read its result in all others."""
        if self._folder is None:
            return compute()
        done, claim = self._folder / f"{name}.pickle", self._folder / f"{name}.claim"
        end = time.monotonic() + _LONGEST_WAIT
        while not done.exists() and time.monotonic() < end:
            try:
                os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                time.sleep(0.2)
                continue
            try:
                part = self._folder / f"{name}.part"
                part.write_bytes(pickle.dumps(found := compute()))
                part.replace(done)
            finally:
                claim.unlink()  # after a failure the next process tries
            return found
        return pickle.loads(done.read_bytes())
