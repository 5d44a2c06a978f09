"""Keep the runs of a model apart: scores of different settings are never replicates.

The settings of each run stand whole in the observations. Only where one model was run with several
does a setting tell curves apart: it is then part of ``variant``, for all curves of that model
family. A run on some of the examples is left out where there is one on all of them.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import CURVE_KEY, PROBLEMS, SETTINGS, UNEXPLAINED, conform, to_frame
from bigbench_meta.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "ALL",
    "Runs",
    "family_hint",
    "replicated_sentence",
    "run_problems",
    "separate_runs",
    "unexplained",
]

ALL: Final = "all"
LAST: Final = "last"

_FAMILY: Final = ["benchmark", "model_family"]
_RANK: Final = {name: place for place, name in enumerate(SETTINGS)}
_LIMITED: Final = (
    "{n} scores of runs on some of the examples are left out: the same runs on all are there"
)
_MOST_NAMED: Final = 4
# In the name of a family: a size, a release date, a version at the end, how it is stored.
_OF_A_MODEL: Final = re.compile(
    r"(?<![a-z0-9.])(?:\d+(?:[._]\d+)?[kmbt]\d?|20\d\d-\d\d(?:-\d\d)?|\d{4}|\d{6}|\d{8}"
    r"|v\d+(?:\.\d+)*$|hf|final|latest|tiny|mini|small|base|medium|large|xl|xxl)(?![a-z0-9])",
    re.ASCII,
)
_UNEXPLAINED: Final = rf"(?:^|, ){UNEXPLAINED} \d+$"

Settings = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Observations whose curves are of one run each.

    Attributes:
        table: The observations; ``variant`` names the settings that tell curves apart.
        kept: Which of the given rows they are.
        n_limited: Scores left out because the same run on all examples is there.
        n_other_checkpoints: Scores left out because another checkpoint was asked for.
    """

    table: pa.Table
    kept: Bools
    n_limited: int
    n_other_checkpoints: int


def separate_runs(table: pa.Table, *, checkpoint: str = ALL) -> Runs:
    """Tell the runs of each model apart.

    Args:
        table: Observations.
        checkpoint: ``all`` (each that a model was scored at several times is a variant), ``last``
            (of each model), or the name of one.

    Raises:
        InputError: No model has the checkpoint.

    Examples:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "acc", "model_family": "f",
        ...     "model_name": ["1b", "1b", "7b"], "total_params": [1, 1, 7], "score": [0.1, 0.2, 1],
        ...     "settings": [None, '{"precision": "4bit"}', None],
        ... })
        >>> separate_runs(conform(rows)).table["variant"].to_pylist()
        [None, 'precision=4bit', None]
    """
    whole = np.ones(table.num_rows, dtype=bool)
    if table["settings"].null_count == table.num_rows:
        if checkpoint not in {ALL, LAST}:
            raise _no_checkpoint(checkpoint, [])
        return Runs(table=table, kept=whole, n_limited=0, n_other_checkpoints=0)
    combos, combo = _combinations(table)
    wanted = _at_checkpoint(combos, checkpoint)
    if checkpoint != ALL:
        # One is chosen of each model: which one tells no curves apart.
        plain = [{n: v for n, v in said.items() if n != "checkpoint"} for said in combos["said"]]
        combos["said"] = pd.Series(plain, index=combos.index, dtype=object)
    limited = wanted & _limited(combos, wanted)
    kept = (wanted & ~limited)[combo]
    variant = _variants(combos, np.flatnonzero(wanted & ~limited))
    table, combo_kept = table.filter(pa.array(kept)), combo[kept]
    place = table.schema.get_field_index("variant")
    field = table.schema.field(place)
    values = pa.array(variant, pa.string()).take(pa.array(combo_kept))
    encoded = values.dictionary_encode().cast(field.type)
    return Runs(
        table=table.set_column(place, field, encoded),
        kept=kept,
        n_limited=int(limited[combo].sum()),
        n_other_checkpoints=int((~wanted)[combo].sum()),
    )


def unexplained(table: pa.Table) -> Bools:
    """Return which observations are scores of one run that differ, and no file says why."""
    found = pc.match_substring_regex(table["replicate"].cast(pa.string()), _UNEXPLAINED)
    return np.asarray(pc.fill_null(found, fill_value=False).to_numpy(), dtype=bool)


def run_problems(observations: pd.DataFrame | pa.Table, *, checkpoint: str = ALL) -> pd.DataFrame:
    """Return what a user should know of the runs behind curves.

    Args:
        observations: Observations table.
        checkpoint: See :func:`separate_runs`.

    Returns:
        Problems table: a row for each family whose runs on some of the examples were left out, and
        for each whose models of different size were run with different settings.

    Raises:
        SchemaError: ``observations`` is no observations table.
    """
    table = conform(observations)
    runs = separate_runs(table, checkpoint=checkpoint)
    rows: list[tuple[str, str, str, str]] = []
    left_out = to_frame(table.select([*_FAMILY, "settings"]).filter(pa.array(~runs.kept)))
    if runs.n_limited:
        limited = left_out["settings"].astype(str).map(lambda text: "limit" in _decoded(text))
        counts = left_out[limited].groupby(_FAMILY, observed=True, sort=False).size()
        rows += [
            (str(benchmark), str(family), _LIMITED.format(n=n), "warning")
            for benchmark, family, n in counts.reset_index().itertuples(index=False)
        ]
    rows += _mixed_settings(runs.table)
    return to_frame(conform(pd.DataFrame(rows, columns=PROBLEMS.names), PROBLEMS))


def family_hint(observations: pd.DataFrame | pa.Table) -> str:
    """Return a sentence where families of one model each have names that look like one family's.

    They look alike if their names differ in a size, a release date, a version at the end or ``-hf``
    alone. Nothing is joined: another date is another training, unless someone says otherwise.

    Args:
        observations: Observations table.

    Returns:
        The sentence, empty if there are no such families.

    Raises:
        SchemaError: ``observations`` is no observations table.

    Examples:
        >>> rows = pd.DataFrame({
        ...     "benchmark": "b", "task": "t", "metric": "acc", "score": 0.5,
        ...     "model_family": ["owl-0424", "owl-1124"], "model_name": ["owl-1b", "owl-7b"],
        ... })
        >>> print(family_hint(rows))
        2 families of one model each look like one family: owl-0424, owl-1124. They are kept apart;
        a rule of --names or {model_family} in --path can join them.
    """
    table = conform(observations)
    _, first = group_rows(table, [*_FAMILY, "model_name"])
    models = to_frame(table.select(_FAMILY).take(pa.array(first))).astype(str)
    alike: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for benchmark, family in models.drop_duplicates(keep=False).itertuples(index=False):
        plain = re.sub(r"[^a-z0-9.]+", "-", _OF_A_MODEL.sub("", family.lower())).strip("-.")
        alike[benchmark, plain].append(family)
    groups = {key: families for key, families in alike.items() if len(families) > 1}
    if not groups:
        return ""
    families = next(iter(groups.values()))
    more = f" and {len(families) - _MOST_NAMED} more" if len(families) > _MOST_NAMED else ""
    rest = sum(map(len, groups.values())) - len(families)
    others = f"; {rest} others look alike, too" if rest else ""
    return (
        f"{len(families)} families of one model each look like one family: "
        f"{', '.join(families[:_MOST_NAMED])}{more}{others}. They are kept apart; a rule of "
        "--names or {model_family} in --path can join them."
    )


def replicated_sentence(scores: pd.DataFrame) -> str:
    """Return what to say first where curves average scores that nothing explains; else nothing.

    Args:
        scores: Scores of curves, with ``n_replicated``.
    """
    n = int((scores["n_replicated"] > 0).sum())
    if not n:
        return ""
    return (
        f"{n} of {len(scores)} curves average different scores of one model whose files do not say "
        "how they differ; --path tells files apart by their folders or names."
    )


def _combinations(table: pa.Table) -> tuple[pd.DataFrame, Ints]:
    """Return one row for each curve, model and settings, and the row of each observation."""
    columns = [*CURVE_KEY, "model_name", "settings"]
    combo, first = group_rows(table, columns)
    frame = to_frame(table.select(columns).take(pa.array(first)))
    frame = frame.astype(dict.fromkeys(frame, object)).where(frame.notna(), None)
    texts = frame["settings"].tolist()
    decoded = {text: _decoded(text) for text in set(texts)}
    said = pd.Series([decoded[text] for text in texts], index=frame.index, dtype=object)
    return frame.assign(said=said), combo


def _texts(frame: pd.DataFrame, names: Iterable[str]) -> list[pd.Series[str]]:
    """Return columns as texts, of which None is one."""
    return [frame[name].map(str) for name in names]


def _groups(combos: pd.DataFrame) -> list[Ints]:
    """Return the places of the rows of each curve."""
    groups = combos.groupby(_texts(combos, CURVE_KEY), sort=False)
    return [np.asarray(places, dtype=np.int64) for places in groups.indices.values()]


def _decoded(text: str | None) -> Settings:
    """Return settings by name; what is no JSON object is one setting without a name."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return {"": text}
    return {str(name): str(value) for name, value in found.items()}


# Checkpoints and limits -----------------------------------------------------------------------


def _at_checkpoint(combos: pd.DataFrame, checkpoint: str) -> Bools:
    """Return which rows are of the checkpoint that counts."""
    if checkpoint == ALL:
        return np.ones(len(combos), dtype=bool)
    at = [said.get("checkpoint") for said in combos["said"]]
    if checkpoint != LAST:
        chosen = np.array([name == checkpoint for name in at], dtype=bool)
        if not chosen.any():
            raise _no_checkpoint(checkpoint, sorted({name for name in at if name}))
        return chosen
    rest = combos["said"].map(lambda said: _text(said, without="checkpoint"))
    step = pd.Series([_step(name) for name in at])
    keys = [*_texts(combos, [*_FAMILY, "model_name"]), rest]
    return np.asarray(step == step.groupby(keys).transform("max"), dtype=bool)


def _no_checkpoint(name: str, known: list[str]) -> InputError:
    listed = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
    return InputError(
        f"no model has the checkpoint {name!r}",
        where="checkpoint",
        hint=f"there are {listed}" if known else "no file names a checkpoint",
    )


def _step(checkpoint: str | None) -> float:
    """Return the training step in a checkpoint's name; a model without one is the final one."""
    found = re.search(r"(\d+)(k?)", checkpoint or "", re.IGNORECASE)
    if found is None:
        return math.inf
    return int(found[1]) * (1000.0 if found[2] else 1.0)


def _limited(combos: pd.DataFrame, wanted: Bools) -> Bools:
    """Return which rows are of a run on some examples while the same on all of them is there."""
    has_limit = np.array(["limit" in said for said in combos["said"]], dtype=bool)
    if not has_limit.any():
        return has_limit
    rest = combos["said"].map(lambda said: _text(said, without="limit"))
    keys = [*_texts(combos, [*CURVE_KEY, "model_name"]), rest]
    full = pd.Series(wanted & ~has_limit).groupby(keys).transform("any")
    return np.asarray(has_limit & full.to_numpy(dtype=bool))


def _text(said: Settings, *, without: str) -> str:
    return json.dumps({name: said[name] for name in sorted(said) if name != without})


# Labels -----------------------------------------------------------------------------------------


def _variants(combos: pd.DataFrame, rows: Ints) -> list[str | None]:
    """Return the variant of each row: its own, and the settings that tell its curve apart."""
    variant: list[str | None] = combos["variant"].tolist()
    chosen = combos.iloc[rows]
    if not chosen.duplicated([*CURVE_KEY, "model_name"]).any():
        return variant  # each model was run once
    said = combos["said"].tolist()
    members = [rows[places] for places in _groups(chosen)]
    family_of = list(zip(*_texts(combos, _FAMILY), strict=True))
    model: list[str] = combos["model_name"].tolist()
    telling: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for places in members:
        by_model: defaultdict[str, list[Settings]] = defaultdict(list)
        for row in places.tolist():
            by_model[model[row]].append(said[row])
        for runs in by_model.values():
            telling[family_of[places[0]]] |= _differing(runs)
    for places in members:
        names = telling[family_of[places[0]]]
        if not names:
            continue
        here = [said[row] for row in places.tolist()]
        told = _fewest(here, names & _differing(here))
        for row in places.tolist():
            variant[row] = _labelled(variant[row], said[row], told)
    return variant


def _differing(runs: list[Settings]) -> set[str]:
    """Return the settings that are not the same in all of some runs."""
    if len(runs) < 2:
        return set()
    names = set().union(*runs)
    return {name for name in names if len({run.get(name) for run in runs}) > 1}


def _fewest(runs: list[Settings], names: set[str]) -> list[str]:
    """Return names, the most telling first, without those that tell no more runs apart."""

    def rank(name: str) -> tuple[int, bool, str]:
        return _RANK.get(name, len(_RANK)), not all(name in run for run in runs), name

    chosen: list[str] = []
    apart = 1
    for name in sorted(names, key=rank):
        now = len({tuple(run.get(other) for other in [*chosen, name]) for run in runs})
        if now > apart:
            chosen.append(name)
            apart = now
    return chosen


def _labelled(variant: str | None, said: Settings, names: Iterable[str]) -> str | None:
    """Return a variant with settings: the checkpoint before it, the others behind it."""
    checkpoint, others = None, []
    for name in names:
        if name not in said:
            continue
        # A value that could be taken for a further setting is quoted.
        value = json.dumps(said[name]) if set(said[name]) & set(',=/"') else said[name]
        if name == "checkpoint":
            checkpoint = value
        else:
            others.append(f"{name.rpartition('.')[2]}={value}" if name else value)
    return "/".join(filter(None, [checkpoint, variant, ",".join(others)])) or None


def _mixed_settings(table: pa.Table) -> list[tuple[str, str, str, str]]:
    """Return a problem for each family with curves whose models were run differently."""
    combos, _ = _combinations(table)
    said: list[Settings] = combos["said"].tolist()
    n_curves: defaultdict[tuple[str, str, tuple[str, ...]], int] = defaultdict(int)
    for places in _groups(combos):
        names = tuple(sorted(_differing([said[row] for row in places.tolist()])))
        if names:
            first = combos.iloc[places[0]]
            n_curves[str(first["benchmark"]), str(first["model_family"]), names] += 1
    return [
        (
            benchmark,
            family,
            f"{counted(n, 'curve joins', 'curves join')} models that were run differently: "
            + ", ".join(names),
            "warning",
        )
        for (benchmark, family, names), n in n_curves.items()
    ]
