"""What is trained: sizes, seeds and steps, as ``data/trained_families.toml`` fixes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import msgspec

from bigbench_meta.catalog.published import data_path
from bigbench_meta.core.checks import one_of

__all__ = ["PROFILES", "STUDIES", "Crowd", "Profile", "StudyPlan", "Unit", "study_plan"]

ProfileName: TypeAlias = Literal["quick", "full"]

STUDIES = ("arithmetic", "autoencoder", "lenet", "omniglot")
"""Names of the studies, each a module of this folder."""

PROFILES = ("quick", "full")


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much is trained.

    Attributes:
        sizes: Widths of the models, each a size of the family.
        seeds: Models of each size.
        steps: Optimiser steps.
        batch: Examples a step.
        examples: Most test examples.
        crowd: Seeds of the one size that :class:`Crowd` chooses, 0 for no more than the others.
    """

    sizes: tuple[int, ...]
    seeds: int
    steps: int
    batch: int
    examples: int
    crowd: int = 0


class Crowd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which size gets many more seeds: its mean score on the last subtask is nearest a value.

    Attributes:
        metric: The score.
        variant: Of which answers.
        near: The value.
    """

    metric: str
    variant: str
    near: float


class StudyPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan of a study.

    Attributes:
        metrics: What the outputs are scored under, see :func:`bigbench_meta.rescore`.
        quick: A profile for minutes.
        full: A profile for hours.
        tokens: How texts are split into tokens.
        crowd: Which size gets many more seeds, if one does.
        thresholds: Quantiles of the validation scores of the largest models at which a metric is
            cut.
    """

    metrics: tuple[str, ...]
    quick: Profile
    full: Profile
    tokens: str = "words"
    crowd: Crowd | None = None
    thresholds: tuple[float, ...] = ()

    def profile(self, name: str) -> Profile:
        """Return a profile by name."""
        one_of(name, PROFILES, "profile")
        return self.quick if name == "quick" else self.full


class _Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    arithmetic: StudyPlan
    autoencoder: StudyPlan
    lenet: StudyPlan
    omniglot: StudyPlan


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One model to train.

    Attributes:
        study: The study.
        family: The family in it.
        size: Width of the model.
        seed: Seed of the weights and batches; the data are the same for all.
        profile: Steps, batch and examples.
        data: The user's file or folder of pictures, empty for the packaged ones.
    """

    study: str
    family: str
    size: int
    seed: int
    profile: Profile
    data: str = ""

    @property
    def file(self) -> str:
        """Name of the file of its outputs."""
        return f"samples_{self.family}_width{self.size}_seed{self.seed}.parquet"

    @property
    def columns(self) -> dict[str, str]:
        """What the tables say of every model."""
        return {
            "benchmark": "trained",
            "model_name": f"width {self.size}",
            "replicate": f"seed {self.seed}",
            "source": self.file,
        }


@cache
def study_plan(study: str) -> StudyPlan:
    """Return the plan of a study.

    Raises:
        InputError: There is none of that name.

    Examples:
        >>> study_plan("arithmetic").full.seeds
        5
    """
    one_of(study, STUDIES, "study")
    text = data_path("trained_families.toml").read_bytes()
    plan = msgspec.toml.decode(text, type=_Plan)
    found: StudyPlan = getattr(plan, study)
    return found
