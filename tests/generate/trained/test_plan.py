"""The plan of what is trained."""

from __future__ import annotations

import pytest

from bigbench_meta.core.errors import InputError
from bigbench_meta.generate.trained.plan import PROFILES, STUDIES, Unit, study_plan
from bigbench_meta.metrics.definitions import named_metrics


@pytest.mark.parametrize("study", STUDIES)
def test_plans(study):
    plan = study_plan(study)
    assert named_metrics(plan.metrics)
    for name in PROFILES:
        profile = plan.profile(name)
        assert list(profile.sizes) == sorted(set(profile.sizes))
        assert len(profile.sizes) >= 5
        assert profile.seeds >= 3
    assert set(plan.quick.sizes) <= set(plan.full.sizes)


def test_widths_of_the_paper():
    # Figs. 7 and 11: 19 autoencoders and 14 LeNets.
    assert len(study_plan("autoencoder").full.sizes) == 19
    assert study_plan("lenet").full.sizes == (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64)


def test_enough_seeds_for_two_modes():
    plan = study_plan("arithmetic")
    assert plan.crowd is not None
    assert plan.full.crowd >= 40


def test_unknown_names():
    with pytest.raises(InputError, match="arithmetic"):
        study_plan("resnet")
    with pytest.raises(InputError, match="quick, full"):
        study_plan("lenet").profile("slow")


def test_files_are_named_after_their_model():
    unit = Unit(study="lenet", family="lenet", size=4, seed=2, profile=study_plan("lenet").quick)
    assert unit.file == "samples_lenet_width4_seed2.parquet"
