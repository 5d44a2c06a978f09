r"""Curves as smooth improvement would give them, drawn from all loss laws that fit the scores.

A curve's scores tell its loss law, the level a, the exponent alpha, the irreducible part and the
variation between models sigma of :mod:`inference.nulls.mechanism`, only roughly, and its link and
guess rate may not be known either. Every law that fits is used as often as it is probable, with
flat priors of a and alpha, and of the values tried of sigma and of the irreducible part. One best
fit would not do: a curve with a single right answer may as well come from a law that gives none or
three.

References:
    Schaeffer et al. (2023), arXiv 2304.15004, sec. 2. Rubin (1984), posterior predictive checks,
    doi:10.1214/aos/1176346785.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import pandas as pd

from bigbench_meta.core.checks import one_of
from bigbench_meta.inference.nulls.mechanism import (
    ALPHA_RANGE,
    Design,
    information_sums,
    pieces,
)
from bigbench_meta.inference.nulls.mechanism_fit import fit_mechanism
from bigbench_meta.inference.nulls.mechanism_loops import log_likelihoods_of, numbers
from bigbench_meta.inference.nulls.monte_carlo import is_flat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bigbench_meta.core.ragged import Ragged
    from bigbench_meta.inference.nulls.inputs import NullInputs

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "IRREDUCIBLE",
    "SIGMAS",
    "VARIATIONS",
    "SharedVariation",
    "SmoothLaws",
    "SmoothVariation",
    "drawn_scores",
    "law_grid",
]

SmoothVariation = Literal["curve", "family", "zero"]

VARIATIONS: Final = get_args(SmoothVariation)
"""Where the variation between models comes from.

``curve``: from the curve's own scatter. ``family``: from the distribution that it has over the
curves of the model family. ``zero``: models of one size are alike.
"""

SIGMAS: Final = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
"""Variation between models, in log loss, that is tried for each curve."""

IRREDUCIBLE: Final = np.array([0.0, 0.3, 1.0])
"""Irreducible loss over the reducible one in the middle of a curve's axis, that is tried."""

# Exponents and levels that are tried with each, and how far about the best fit, in standard errors.
_ALPHAS: Final = 6
_LEVELS: Final = 9
_WIDTH: Final = 2.8
_MOST_LEVEL_ERROR: Final = 2.0
_MOST_ALPHA_ERROR: Final = 1.0
# Laws so much less likely than the best one of their curve and sigma are left out.
_LEAST_LIKELY: Final = 8.0
_EM_ROUNDS: Final = 30
_TINY: Final = 1e-12
_NONE: Final[dict[str, NDArray[Any]]] = {
    "row": np.empty(0, dtype=np.int64), "level": np.empty(0), "alpha": np.empty(0),
    "irreducible": np.empty(0), "sigma": np.empty(0, dtype=np.int64),
    "log_likelihood": np.empty(0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SharedVariation:
    """How much of the variation between models the curves of one model have in common.

    Attributes:
        model: Share of the variance that is the same for all curves of a model, in [0, 1].
        task: Further share that is the same for all curves of a model and a task.
    """

    model: float = 0.0
    task: float = 0.0

    @classmethod
    def of(cls, residual: Floats, full: Floats, model: Ints, task: Ints) -> SharedVariation:
        """Estimate the shares by moments.

        Args:
            residual: Standardised residual of each point.
            full: Its standard deviation from variation between models alone.
            model: Number of its model.
            task: Number of its task.

        Examples:
            >>> rng = np.random.default_rng(0)
            >>> model, task = np.tile(np.arange(500), 20), np.repeat(np.arange(20), 500)
            >>> common = rng.standard_normal(500)[model]
            >>> residual = 0.8**0.5 * common + 0.2**0.5 * rng.standard_normal(10_000)
            >>> found = SharedVariation.of(residual, np.ones(10_000), model, task)
            >>> round(found.model, 1), found.task
            (0.8, 0.0)
        """
        cells = pd.DataFrame({"model": model, "task": task, "z": residual, "s": full})
        cells = cells.assign(zz=cells["z"] ** 2, ss=cells["s"] ** 2)
        of_task = cells.groupby(["model", "task"]).sum()
        of_model = (
            of_task[["z", "s"]].assign(zz=of_task["z"] ** 2, ss=of_task["s"] ** 2)
        ).groupby("model").sum()  # fmt: skip

        def share(sums: pd.DataFrame) -> float:
            """Return the share from sums and sums of squares, whose difference is that of pairs."""
            pairs = (sums[["z", "s"]] ** 2).sum() - sums[["zz", "ss"]].sum().to_numpy()
            return float(np.clip(pairs["z"] / pairs["s"], 0, 1)) if pairs["s"] > _TINY else 0.0

        by_model = share(of_model)
        return cls(model=by_model, task=max(share(of_task) - by_model, 0.0))


@dataclass(frozen=True, kw_only=True)
class SmoothLaws:
    """Loss laws that fit some curves; arrays have one entry a law, those of a curve side by side.

    Attributes:
        inputs: The curves, with their nuisance settings.
        curve: Number of the curve, ascending. Curves that cannot be tested have no laws.
        row: Row of the inputs, which says link and guess rate.
        level: Log of the reducible loss at the curve's mean log scale.
        alpha: Exponent of the power law.
        irreducible: Irreducible loss over the reducible one there.
        sigma: Variation between models, as a position in :data:`SIGMAS`.
        log_likelihood: Of the curve's scores, plus the log of the range of parameters that the law
            stands for.
        peak: Share of the law itself in what it stands for: 1, but for :meth:`peaks`.
    """

    inputs: NullInputs
    curve: Ints
    row: Ints
    level: Floats
    alpha: Floats
    irreducible: Floats
    sigma: Ints
    log_likelihood: Floats
    peak: Floats

    @classmethod
    def fit(
        cls, inputs: NullInputs, *, alpha_range: tuple[float, float] = ALPHA_RANGE
    ) -> SmoothLaws:
        """Find the laws that fit each curve.

        About the best fit with each sigma, a grid of exponents and levels is tried. Scores are
        beta-binomial with the mechanism's mean and variance.

        Args:
            inputs: What :func:`bigbench_meta.inference.nulls.inputs.null_inputs` returns.
            alpha_range: Bounds of the exponent.

        Examples:
            >>> from bigbench_meta import build_curves, load_embedded
            >>> from bigbench_meta.inference.nulls.inputs import null_inputs
            >>> curves = build_curves(load_embedded())
            >>> sums = curves[curves.keys["task"] == "arithmetic 3D+"]
            >>> laws = SmoothLaws.fit(null_inputs(sums))
            >>> drawn = laws.draw(0, laws.probabilities("zero"), 4, np.random.default_rng(0))
            >>> drawn.shape, bool((drawn <= 100).all())
            ((4, 8), True)
        """
        parts = [
            law_grid(rows, y, design, alpha_range) for rows, y, design, _ in inputs.rows.blocks()
        ]
        found = {name: np.concatenate([part[name] for part in parts or [_NONE]]) for name in _NONE}
        curve, likelihood = inputs.curve[found["row"]], found["log_likelihood"]
        group = curve * len(SIGMAS) + found["sigma"]
        best = np.full(int(group.max(initial=-1)) + 1, -np.inf)
        np.maximum.at(best, group, likelihood)
        likely = np.flatnonzero(likelihood > best[group] - _LEAST_LIKELY)
        order = likely[np.argsort(curve[likely], kind="stable")]
        return cls(
            inputs=inputs, curve=curve[order], peak=np.ones(len(order)),
            **{name: values[order] for name, values in found.items()},
        )  # fmt: skip

    def peaks(self) -> SmoothLaws:
        """Return the most probable law of each curve and sigma, which stands for all of them."""
        group = self.curve * len(SIGMAS) + self.sigma
        given = self.given_sigma()
        order = np.lexsort((-given, group))  # stable: the first of those alike
        best = order[np.unique(group[order], return_index=True)[1]]
        # Their sum is that of all that they stand for.
        whole = self.log_likelihood[best] - np.log(given[best])
        some = {name: getattr(self, name)[best] for name in ("curve", *_NONE)}
        return SmoothLaws(
            inputs=self.inputs, peak=given[best], **(some | {"log_likelihood": whole})
        )

    @property
    def curves(self) -> Ints:
        """Numbers of the curves that have laws."""
        return np.unique(self.curve)

    def probabilities(
        self, variation: SmoothVariation, family: Ints | None = None, shares: Floats | None = None
    ) -> Floats:
        """Return the probability of each law among those of its curve.

        Args:
            variation: Where the variation between models comes from, see :data:`VARIATIONS`. That
                of a family does not depend on the curve's own scatter, so that a step, which is
                scatter too, cannot explain itself.
            family: Number of each curve's model family, shape (m,), from 0 on; for ``family``.
            shares: What :meth:`sigma_of_families` returned for more curves than these.

        Raises:
            InputError: No such variation.
        """
        one_of(variation, VARIATIONS, "variation")
        if variation == "zero":
            likely = np.where(self.sigma == 0, self.log_likelihood, -np.inf)
            return _shares(likely, self.curve)
        if variation == "curve" or family is None:
            return _shares(self.log_likelihood, self.curve)
        shares = self.sigma_of_families(family) if shares is None else shares
        return self.given_sigma() * shares[family[self.curve], self.sigma]

    def given_sigma(self) -> Floats:
        """Return the probability of each law among those of its curve with the same sigma."""
        return _shares(self.log_likelihood, self.curve * len(SIGMAS) + self.sigma)

    def sigma_of_families(self, family: Ints) -> Floats:
        """Return how sigma is distributed over the curves of each family, by the EM algorithm.

        The distribution of greatest likelihood, held off zero by one curve of each sigma.

        Args:
            family: Number of each curve's model family, shape (m,), from 0 on.

        Returns:
            Probability of each value of :data:`SIGMAS`, shape (families, 6).
        """
        own = np.zeros((len(family), len(SIGMAS)))
        np.add.at(own, (self.curve, self.sigma), _shares(self.log_likelihood, self.curve))
        found = np.empty((int(family.max(initial=-1)) + 1, len(SIGMAS)))
        for number in range(len(found)):
            likelihood = own[(family == number) & own.any(axis=1)]
            share = np.full(len(SIGMAS), 1 / len(SIGMAS))
            for _ in range(_EM_ROUNDS):
                likely = likelihood * share
                likely /= likely.sum(axis=1, keepdims=True)
                share = (likely.sum(axis=0) + 1 / len(SIGMAS)) / (len(likelihood) + 1)
            found[number] = share
        return found

    def shared_variation(
        self, probability: Floats, models: Ragged, model: Ints, task: Ints
    ) -> SharedVariation:
        """Return how much of the variation between models is shared by the curves of a model.

        By the products of two curves' standardised residuals at one model, each curve with its most
        probable law, compared with what they would be if all variation were shared.

        Args:
            probability: What :meth:`probabilities` returned.
            models: Where each curve lies in the array of models.
            model: Number of the model of each point.
            task: Number of each curve's task.
        """
        value = probability * self.peak
        order = np.lexsort((-value, self.curve))  # stable: the first of those alike
        best = order[np.unique(self.curve[order], return_index=True)[1]]
        law_of_row = np.full(len(self.inputs.curve), -1)
        law_of_row[self.row[best]] = best
        residual, full = np.zeros(models.n_points), np.zeros(models.n_points)
        known = np.zeros(models.n_points, dtype=bool)
        for numbers_of_rows, y, block, _ in self.inputs.rows.blocks():
            column = np.flatnonzero(law_of_row[numbers_of_rows] >= 0)
            law = law_of_row[numbers_of_rows[column]]
            design = replace(block.take(column), irreducible=self.irreducible[law])
            log_loss = self.level[law] + design.law(self.alpha[law])[0]
            sigma = SIGMAS[self.sigma[law]]
            found = pieces(y[:, column], log_loss, sigma, design)
            unit, point = np.sqrt(found.weight), models.offsets[self.curve[law]]
            # Level and exponent, which are fitted, take two of n dimensions.
            left = np.sqrt(max(1 - 2 / len(y), 0.0))
            points = point + np.arange(len(y))[:, None]
            residual[points], known[points] = found.residual * unit, True
            full[points] = sigma * np.abs(found.slope) * unit * left
        return SharedVariation.of(
            residual[known], full[known], model[known], task[models.curve[known]]
        )

    def draw(
        self,
        curve: int,
        probability: Floats,
        size: int,
        rng: np.random.Generator,
        deviation: Floats | None = None,
    ) -> Floats:
        """Draw the scores of one curve.

        Args:
            curve: Its number.
            probability: What :meth:`probabilities` returned.
            size: Number of draws.
            rng: Source of randomness.
            deviation: Standard normal deviation of each model in each draw, shape (size, n); drawn
                here by default.

        Returns:
            Scores in the unit of the file, shape (size, n).
        """
        begin, end = np.searchsorted(self.curve, [curve, curve + 1]).tolist()
        reached = np.cumsum(probability[begin:end])
        law = begin + np.searchsorted(reached, rng.random(size) * reached[-1], side="right")
        law = np.minimum(law, end - 1)
        rows = self.inputs.rows
        found = np.empty((0, 0))
        for row in np.unique(self.row[law]).tolist():
            own = np.flatnonzero(self.row[law] == row)
            points = slice(rows.ragged.offsets[row], rows.ragged.offsets[row + 1])
            x, chosen = np.log(rows.x[points])[:, None], law[own]
            if not found.size:
                found = np.empty((size, len(x)))
            away = rng.standard_normal((len(own), len(x))) if deviation is None else deviation[own]
            found[own] = drawn_scores(
                self.inputs, row, x - x.mean(), rows.trials[points], self.level[chosen],
                self.alpha[chosen], self.irreducible[chosen],
                SIGMAS[self.sigma[chosen], None] * away, rng,
            )  # fmt: skip
        return found


def drawn_scores(
    inputs: NullInputs, row: int, x: Floats, trials: Floats, level: Floats, alpha: Floats,
    irreducible: Floats, away: Floats, rng: np.random.Generator,
) -> Floats:  # fmt: skip
    """Draw scores from laws of one row, in the unit of the file, shape (k, n).

    Args:
        inputs: The rows.
        row: Number of the row, which says link, guess rate and unit.
        x: Log size of each model, less that for which the levels are, shape (n, 1).
        trials: Right-or-wrong examples of each model, rounded to whole numbers, shape (n,).
        level: Of each law, shape (k,).
        alpha: Likewise.
        irreducible: Likewise.
        away: What is added to the log loss of each model, shape (k, n).
        rng: Source of randomness.
    """
    rows, whole = inputs.rows, np.maximum(np.rint(trials), 1.0)
    design = Design(
        x=x, trials=whole[:, None], floor=rows.floor[[row]], link=rows.link[row],
        irreducible=irreducible,
    )  # fmt: skip
    share, _ = design.link((level + design.law(alpha)[0]).T + away)
    chance = np.clip(design.floor + design.span * share, 0.0, 1.0)
    return inputs.unit[row].scores(rng.binomial(whole.astype(np.int64), chance) / whole, whole)


def _shares(log_weight: Floats, group: Ints) -> Floats:
    """Return weights, given by their logarithms, as shares of their group; NaN-free."""
    top = np.full(int(group.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(top, group, log_weight)
    weight = np.exp(log_weight - np.where(np.isfinite(top), top, 0.0)[group])
    total = np.bincount(group, weights=weight)
    return np.asarray(weight / np.maximum(total, _TINY)[group])


def law_grid(
    rows: Ints, y: Floats, design: Design, alpha_range: tuple[float, float],
    offset: Floats | None = None,
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Return what describes the laws of a block of curves, see :class:`SmoothLaws`.

    Args:
        rows: Number of each curve.
        y: Scores as proportions, shape (n, m).
        design: The curves.
        alpha_range: Bounds of the exponent.
        offset: Added to the log loss of every law, shape (n, m).
    """
    settings = len(SIGMAS) * len(IRREDUCIBLE)
    of_column = np.repeat(np.arange(y.shape[1]), settings)
    number = np.tile(np.arange(settings), y.shape[1])
    sigma, ends = SIGMAS[number % len(SIGMAS)], IRREDUCIBLE[number // len(SIGMAS)]
    y, design = y[:, of_column], replace(design.take(of_column), irreducible=ends)
    offset = None if offset is None else offset[:, of_column]
    around = _off_the_ends(y, design)
    fit = fit_mechanism(around, design, alpha_range=alpha_range, sigma=sigma, offset=offset)
    log_loss = fit.log_loss(design)
    found = pieces(around, log_loss if offset is None else log_loss + offset, sigma, design)
    lean = design.law(fit.alpha)[1]
    s0, s1, _, determinant = information_sums(found.slope**2 * found.weight, lean)
    error = np.minimum(1 / np.sqrt(np.maximum(s0, _TINY)), _MOST_LEVEL_ERROR)
    wide = _WIDTH * np.minimum(np.sqrt(s0 / determinant), _MOST_ALPHA_ERROR)
    low = np.maximum(fit.alpha - wide, alpha_range[0])
    high = np.minimum(fit.alpha + wide, alpha_range[1])
    step = 2 * _WIDTH / _LEVELS
    width = np.log(np.maximum(high - low, _TINY) / _ALPHAS) + np.log(step * error)
    place = (np.arange(_ALPHAS)[:, None] + 0.5) / _ALPHAS
    alpha = low + place * (high - low)
    middle = fit.level + s1 / np.maximum(s0, _TINY) * (alpha - fit.alpha)
    shift = (np.arange(_LEVELS)[:, None] - (_LEVELS - 1) / 2) * step
    level = middle[:, None] + shift * error
    likelihood = width + log_likelihoods_of(
        numbers(y), design.arrays(offset), numbers(alpha), numbers(level), numbers(sigma)
    )
    kept = likelihood > likelihood.max(axis=(0, 1)) - _LEAST_LIKELY
    of_alpha, _, column = np.nonzero(kept)
    return {
        "row": rows[of_column[column]], "level": level[kept], "alpha": alpha[of_alpha, column],
        "irreducible": ends[column], "sigma": number[column] % len(SIGMAS),
        "log_likelihood": likelihood[kept],
    }  # fmt: skip


def _off_the_ends(y: Floats, design: Design) -> Floats:
    """Return scores with half an answer more, or less, at the last point of flat curves.

    A curve without a right answer has no best fit, but laws that fit it: those that hardly give
    one.
    """
    flat, half = is_flat(y), 0.5 / design.trials[-1]
    moved = y.copy()
    moved[-1] = np.where(flat, np.where(y[-1] < 0.5, y[-1] + half, y[-1] - half), y[-1])
    return moved
