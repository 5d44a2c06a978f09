"""A model trained again gives the scores that are committed, for one small member of each family.

On a machine of the same kind and with the same packages they are equal. Other processors and
versions sum in another order, which thousands of steps of training magnify: some models then come
out as with another seed. So shares may differ by 0.05 (or by two examples, where there are few) and
losses, errors and edit distances by a tenth, or all by three times the range over the committed
seeds of that model.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

import bigbench_meta as bm
from bigbench_meta.core.execute import execute
from bigbench_meta.generate.trained import families
from bigbench_meta.generate.trained.plan import Unit, study_plan

SMALL = [
    ("arithmetic", "addition", 4),
    ("arithmetic", "multiplication", 4),
    ("autoencoder", "autoencoder", 1),
    ("lenet", "lenet", 1),
    ("omniglot", "picture", 2),
]
NOT_SHARES = {
    "mean_squared_error", "cross_entropy", "log_likelihood", "token_edit_distance", "brier_score",
}  # fmt: skip
KEY = ["model_family", "model_name", "replicate", "subtask", "metric", "variant"]


@pytest.mark.full
@pytest.mark.parametrize(("study", "family", "size"), SMALL)
def test_trained_again(study, family, size, tmp_path):
    pytest.importorskip("jax", reason="needs the extra train")
    pytest.importorskip("optax", reason="needs the extra train")
    plan = study_plan(study)
    chosen = plan.profile("full")
    assert size == min(chosen.sizes)
    unit = Unit(study=study, family=family, size=size, seed=0, profile=chosen)
    train = partial(families._train_one, tmp_path)
    (outcome,) = execute(train, [unit], environment=families._ENVIRONMENT)
    assert outcome.error is None
    samples = pq.read_table(tmp_path / unit.file)
    committed = bm.load_embedded("trained").astype(dict.fromkeys(KEY, "str"))
    own = {name: set(samples[name].to_pylist()) for name in KEY[:3]}
    model = [name for name in KEY if name != "replicate"]
    committed = committed[committed[KEY[0]].isin(own[KEY[0]]) & committed[KEY[1]].isin(own[KEY[1]])]
    of_seeds = committed.groupby(model)[["score", "pretraining_loss"]].agg(np.ptp)
    committed = committed.join(of_seeds.add_prefix("range_of_"), on=model)
    committed = committed[committed[KEY[2]].isin(own[KEY[2]])]
    cut = sorted(name for name in set(committed["metric"]) if "<=" in name)
    again, _ = bm.rescore(
        samples, [*plan.metrics, *(f"logged:{name}" for name in cut)], tokens=plan.tokens
    )
    again = again.astype(dict.fromkeys(KEY, "str"))
    both = committed.merge(again, on=KEY, how="outer", suffixes=("", "_again"), indicator=True)
    assert len(both) >= 3
    assert set(both["_merge"]) == {"both"}
    assert (both["n_examples"] == both["n_examples_again"]).all()
    difference = (both["score_again"] - both["score"]).abs()
    few = 2 / both["n_examples"].astype(float)
    is_share = ~both["metric"].isin(NOT_SHARES)
    allowed = few.clip(lower=0.05).where(is_share, (0.1 * both["score"].abs()).clip(lower=few))
    assert (difference <= allowed.clip(lower=3 * both["range_of_score"]) + 1e-9).all()
    loss, again = both["pretraining_loss"], both["pretraining_loss_again"]
    most = (0.1 * loss).clip(lower=3 * both["range_of_pretraining_loss"])
    assert ((again - loss).abs() <= most).all()
