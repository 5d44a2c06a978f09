"""How likely the scores are under smooth loss laws, and under laws with a step at each place.

That a test finds no step says little where it could not have found one. So the two are compared:
the laws of the smooth mechanism, and the same laws with a log loss that falls by a given amount
between two sizes besides. The likelihood of each is the mean over all laws that fit, with the
priors of :mod:`inference.nulls.smooth_curves`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bigbench_meta.core.checks import at_least
from bigbench_meta.inference.nulls.mechanism import ALPHA_RANGE
from bigbench_meta.inference.nulls.smooth_curves import IRREDUCIBLE, SIGMAS, law_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.core.ragged import Ragged
    from bigbench_meta.inference.nulls.inputs import NullInputs

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["StepEvidence"]


@dataclass(frozen=True, kw_only=True)
class StepEvidence:
    """Log likelihoods of curves, for each value of :data:`SIGMAS`.

    Attributes:
        curve: Number of the curve of each point, shape (points,).
        smooth: Of each curve under a smooth law, shape (m, 6); NaN where none can be computed.
        stepped: Of each curve under a law with a step after a point, by that point, shape
            (points, 6); NaN likewise, and at the last point of a curve.
    """

    curve: Ints
    smooth: Floats
    stepped: Floats

    @classmethod
    def of(
        cls,
        inputs: NullInputs,
        step: float,
        ragged: Ragged,
        *,
        alpha_range: tuple[float, float] = ALPHA_RANGE,
        places: Bools | None = None,
    ) -> StepEvidence:
        r"""Compute the likelihoods.

        Args:
            inputs: What :func:`bigbench_meta.inference.nulls.inputs.null_inputs` returns. The
                nuisance settings of a curve are equally probable.
            step: Fall of the log loss, above 0: log 20 is a loss 20 times smaller.
            ragged: Where the m curves lie in the array of points.
            alpha_range: Bounds of the exponent.
            places: Points after which a step is tried, shape (points,); all by default.

        References:
            Kass & Raftery (1995), Bayes factors, doi:10.1080/01621459.1995.10476572.

        Examples:
            >>> from bigbench_meta import build_curves, load_embedded
            >>> from bigbench_meta.inference.nulls.inputs import null_inputs
            >>> curves = build_curves(load_embedded())
            >>> some = curves[(curves.keys.task == "arithmetic 3D-") & (curves.keys.shots == 50)]
            >>> evidence = StepEvidence.of(null_inputs(some), np.log(20), some.ragged)
            >>> odds = evidence.log_odds(np.full(6, 1 / 6))
            >>> some.x[np.nanargmax(odds)]  # models above this size are 20 times better
            np.float64(12850000000.0)
        """
        at_least(step, 0, "step", strict=True)
        rows = inputs.rows
        first, m = ragged.offsets, len(ragged)
        smooth = np.full((m, len(SIGMAS)), np.nan)
        stepped = np.full((ragged.n_points, len(SIGMAS)), np.nan)
        wanted = np.ones(ragged.n_points, dtype=bool) if places is None else places
        for of_row, y, design, _ in rows.blocks():
            n, k = y.shape
            curve = inputs.curve[of_row]
            _add(smooth, curve, _marginal(law_grid(np.arange(k), y, design, alpha_range), k))
            place, column = (each.ravel() for each in np.indices((n - 1, k)))
            tried = wanted[first[curve[column]] + place]
            place, column = place[tried], column[tried]
            # Half of it before and half after, so that the level keeps its meaning.
            offset = step * (0.5 - (np.arange(n)[:, None] > place))
            laws = law_grid(
                np.arange(len(column)), y[:, column], design.take(column), alpha_range, offset
            )
            _add(stepped, first[curve[column]] + place, _marginal(laws, len(column)))
        settings = np.log(np.maximum(np.bincount(inputs.curve, minlength=m), 1))[:, None]
        stepped -= settings[ragged.curve]
        return cls(curve=ragged.curve, smooth=smooth - settings, stepped=stepped)

    def log_odds(self, weight: Floats) -> Floats:
        """Return the log of the likelihood ratio of a step after each point to none, (points,).

        Args:
            weight: Prior probability of each value of :data:`SIGMAS`, shape (6,).
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            prior = np.log(weight)
            smooth = np.logaddexp.reduce(self.smooth + prior, axis=1)
            stepped = np.logaddexp.reduce(self.stepped + prior, axis=1)
            return np.asarray(stepped - smooth[self.curve])


def _add(total: Floats, at: Ints, log: Floats) -> None:
    """Add likelihoods, given by their logarithms, to those in some rows."""
    total[at] = np.where(np.isnan(total[at]), -np.inf, total[at])
    np.logaddexp.at(total, at, log)


def _marginal(laws: dict[str, NDArray[Any]], m: int) -> Floats:
    """Return the log of the mean likelihood over the laws of each curve and sigma, (m, 6)."""
    group = laws["row"] * len(SIGMAS) + laws["sigma"]
    likelihood, size = laws["log_likelihood"], m * len(SIGMAS)
    top = np.full(size, -np.inf)
    np.maximum.at(top, group, likelihood)
    total = np.bincount(group, weights=np.exp(likelihood - top[group]), minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = top + np.log(total / len(IRREDUCIBLE))
    return np.asarray(np.where(total > 0, found, -np.inf).reshape(m, len(SIGMAS)))
