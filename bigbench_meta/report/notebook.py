"""The explorer of a report in a cell of a notebook."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from bigbench_meta.aggregate.by_metric import DEFAULT_THRESHOLD
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.text import counted
from bigbench_meta.curves.build import Curves
from bigbench_meta.report.explorer import Explored
from bigbench_meta.report.page import explorer_page

if TYPE_CHECKING:
    import pandas as pd

    from bigbench_meta.report.study import Study

__all__ = ["ExplorerView", "explore"]


@dataclass(frozen=True, kw_only=True)
class ExplorerView:
    """The explorer of some curves, which Jupyter shows.

    Attributes:
        html: A page that needs nothing from a network.
        n_curves: Number of curves.
        height: Of the cell's output, in pixels.
    """

    html: str = field(repr=False)
    n_curves: int
    height: int

    def _repr_html_(self) -> str:
        """Return a frame with the page inside. It may run its script and see nothing around it."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="Explorer of '
            f'{counted(self.n_curves, "curve")}" sandbox="allow-scripts allow-downloads" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


def explore(
    study: Study | Curves,
    scores: pd.DataFrame | None = None,
    *,
    threshold: float | None = None,
    height: int = 640,
) -> ExplorerView:
    """Show the curves of a study in a notebook: to search, filter, sort and look at.

    It is the explorer of the study's ``report.html``. A chosen curve is drawn under every metric of
    the same outputs, with sampling errors, the nearest smooth law and the forecast where the study
    has inference. All of it is in the output of the cell (about 0.8 MB, and 1 MB more for 10,000
    curves), so that it works without a network and in a saved notebook.

    Args:
        study: A study, or curves.
        scores: With curves, what :func:`bigbench_meta.score_curves` returned for them, with or
            without inference; by default they are scored without.
        threshold: With curves, the emergence score above which one is flagged; 100 by default.
        height: Of the output, in pixels.

    Returns:
        What Jupyter shows; ``html`` is the page itself, to be kept as a file.

    Raises:
        InputError: ``scores`` or a threshold are given with a study, or are not of these curves.

    Examples:
        >>> from bigbench_meta import build_curves, load_embedded
        >>> explore(build_curves(load_embedded()))
        ExplorerView(n_curves=189, height=640)
    """
    if not isinstance(study, Curves):
        if scores is not None or threshold is not None:
            raise InputError("a study has its own", where="scores or threshold")
        page = explorer_page(study)
        return ExplorerView(html=page, n_curves=len(study.curves), height=height)
    if scores is None:
        from bigbench_meta.inference.score import score_curves

        scores = score_curves(study)
    if len(scores) != len(study):
        raise InputError(
            f"{counted(len(scores), 'row')}, not one for each of {counted(len(study), 'curve')}",
            where="scores", hint="as score_curves(curves) returns them",
        )  # fmt: skip
    explored = Explored(
        curves=study,
        scores=scores.reset_index(drop=True),
        threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
    )
    return ExplorerView(html=explorer_page(explored), n_curves=len(study), height=height)
