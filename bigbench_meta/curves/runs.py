"""Keep the runs of a model apart: scores of different settings are never replicates.

The settings of each run stand whole in the observations. Only where one model was run with several
does a setting tell curves apart: it is then part of ``variant``, for all curves of that model
family. A run on some of the examples is left out where there is one on all of them.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.errors import InputError
from bigbench_meta.core.keys import group_rows
from bigbench_meta.core.schema import (
    CURVE_KEY,
    OBSERVATIONS,
    PROBLEMS,
    SETTINGS,
    SIZE_AXES,
    SIZE_BY_RULE,
    UNEXPLAINED,
    conform,
    to_frame,
)
from bigbench_meta.core.text import counted
from bigbench_meta.curves.survey import Survey, survey_of
from bigbench_meta.curves.units import is_score, spelled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = [
    "ALL",
    "Runs",
    "differing_settings",
    "doubtful_counts",
    "doubtful_sentences",
    "family_hint",
    "run_problems",
    "separate_runs",
    "settings_of",
    "training_moment",
    "unexplained",
]

ALL: Final = "all"
LAST: Final = "last"

_FAMILY: Final = ["benchmark", "model_family"]
_RANK: Final = {name: place for place, name in enumerate(SETTINGS)}
_LIMITED: Final = (
    "{n} scores of runs on some of the examples are left out: the same runs on all are there"
)
_NOT_LAST: Final = (
    "{model}: the names of its checkpoints do not say which is the last ({names}): each has a curve"
)
_EARLIER: Final = "{model}: {names} counts as the last checkpoint of {runs}, but {last} is later"
# What can be another training run; all else says how a model was evaluated.
_TRAINED: Final = ("backend", "adapter")
_MOST_NAMED: Final = 4
# In the name of a family: a size, a release date, a version at the end, how it is stored.
_OF_A_MODEL: Final = re.compile(
    r"(?<![a-z0-9.])(?:\d+(?:[._]\d+)?[kmbt]\d?|20\d\d-\d\d(?:-\d\d)?|\d{4}|\d{6}|\d{8}"
    r"|v\d+(?:\.\d+)*$|hf|final|latest|tiny|mini|small|base|medium|large|xl|xxl)(?![a-z0-9])",
    re.ASCII,
)
_UNEXPLAINED: Final = rf"(?:^|, ){UNEXPLAINED} \d+$"

# Where training stood: steps (step143000, iter_1000, checkpoint-500, step-50k), else tokens
# (100B-tokens, tokens1T), both within a stage where there are several (stage2-step1000).
_STAGE: Final = re.compile(r"stage[-_]?(\d+)", re.IGNORECASE | re.ASCII)
_STEP: Final = re.compile(
    r"(?:step|iter|iteration|ckpt|checkpoint)s?[-_]?(\d+(?:\.\d+)?)([kmb]?)(?![a-z0-9])",
    re.IGNORECASE | re.ASCII,
)
_TOKENS: Final = re.compile(
    r"tokens?[-_]?(\d+(?:\.\d+)?)([kmbt])(?![a-z0-9])"
    r"|(?<![a-z0-9.])(\d+(?:\.\d+)?)([kmbt])[-_]?tokens?(?![a-z0-9])",
    re.IGNORECASE | re.ASCII,
)
_TIMES: Final = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}

Settings = dict[str, str]
# The variant that a file gives, and the settings that are named beside it.
Named = tuple[str | None, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Observations whose curves are of one run each.

    Attributes:
        table: The observations; ``variant`` names the settings that tell curves apart.
        kept: Which of the given rows they are.
        n_limited: Scores left out because the same run on all examples is there.
        n_other_checkpoints: Scores left out because another checkpoint was asked for.
        unordered: Benchmark, family and a sentence for each model whose last checkpoint is not
            known, as the names of its checkpoints do not say in what order they were.
        earlier: The same for each model with training runs, by backend, adapter or variant, that
            ended at another checkpoint than its last: of each run the last one counts.
        at_earlier: Which rows of the table are of such a run.
        survey: The rows of the survey that are kept like those of the table, if there is one.
        left_out: Those that are not.
    """

    table: pa.Table
    kept: Bools
    n_limited: int
    n_other_checkpoints: int
    unordered: tuple[tuple[str, str, str], ...] = ()
    earlier: tuple[tuple[str, str, str], ...] = ()
    at_earlier: Bools
    survey: Survey | None = None
    left_out: Survey | None = None


def separate_runs(table: pa.Table, *, checkpoint: str = ALL, survey: Survey | None = None) -> Runs:
    """Tell the runs of each model apart.

    Args:
        table: Observations.
        checkpoint: ``all`` (each that a model was scored at several times is a variant), ``last``
            (of each model; where the names of its checkpoints do not say which that is, each is a
            variant), or the name of one.
        survey: What all observations say of the models, if these are those of some tasks.

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
    n = table.num_rows
    if survey is not None:
        table = pa.concat_tables([table, survey.table]).unify_dictionaries()
    whole = np.ones(table.num_rows, dtype=bool)
    if table["settings"].null_count == table.num_rows:
        if checkpoint not in {ALL, LAST}:
            raise _no_checkpoint(checkpoint, [])
        return _runs(table, n, survey, kept=whole, at_earlier=~whole)
    combos, combo = _combinations(table)
    wanted, is_chosen = _at_checkpoint(combos, checkpoint)
    unordered = _unordered(combos, wanted & ~is_chosen) if checkpoint == LAST else ()
    at_earlier, earlier = _earlier(combos, wanted & is_chosen & (checkpoint == LAST))
    # Where one is chosen of a model, which one tells no curves apart.
    plain = [
        {n: v for n, v in said.items() if not (chosen and n == "checkpoint")}
        for said, chosen in zip(combos["said"], is_chosen.tolist(), strict=True)
    ]
    combos["said"] = pd.Series(plain, index=combos.index, dtype=object)
    limited, scoreless = _limited(combos, wanted)
    counts = wanted & ~limited & ~scoreless
    kept = counts[combo]
    variant = _variants(combos, np.flatnonzero(counts))
    place = table.schema.get_field_index("variant")
    field = table.schema.field(place)
    values = pa.array(variant, pa.string()).take(pa.array(combo))
    return _runs(
        table.set_column(place, field, _of_kept(values, kept[:n], field.type)), n, survey,
        kept=kept, at_earlier=at_earlier[combo],
        n_limited=int(limited[combo][:n].sum()),
        n_other_checkpoints=int((~wanted)[combo][:n].sum()),
        unordered=unordered, earlier=earlier,
    )  # fmt: skip


def _of_kept(values: pa.Array, kept: Bools, type_: pa.DataType) -> pa.DictionaryArray:
    """Return texts by their number, those of kept rows, which come first, in their order."""
    kept = np.concatenate([kept, np.zeros(len(values) - len(kept), dtype=bool)])
    known = values.filter(pa.array(kept)).unique().drop_null()
    names = pa.concat_arrays([known, values]).unique().drop_null()
    return pa.DictionaryArray.from_arrays(pc.index_in(values, names), names).cast(type_)


def _runs(
    table: pa.Table, n: int, survey: Survey | None, *, kept: Bools, at_earlier: Bools,
    n_limited: int = 0, n_other_checkpoints: int = 0, **more: Any,
) -> Runs:  # fmt: skip
    """Return the kept ones of the first rows of a table, and of the survey behind them."""
    own, others, left_out = kept[:n], None, None
    if survey is not None:
        told = replace(survey, table=table.slice(n))
        others, left_out = told.filter(kept[n:]), told.filter(~kept[n:])
    return Runs(
        table=table.slice(0, n).filter(pa.array(own)), kept=own, n_limited=n_limited,
        n_other_checkpoints=n_other_checkpoints, at_earlier=at_earlier[:n][own], survey=others,
        left_out=left_out, **more,
    )  # fmt: skip


def unexplained(table: pa.Table) -> Bools:
    """Return which observations are scores of one run that differ, and no file says why."""
    found = pc.match_substring_regex(table["replicate"].cast(pa.string()), _UNEXPLAINED)
    return np.asarray(pc.fill_null(found, fill_value=False).to_numpy(), dtype=bool)


def run_problems(
    observations: pd.DataFrame | pa.Table | Survey, *, checkpoint: str = ALL
) -> pd.DataFrame:
    """Return what a user should know of the runs behind curves.

    Args:
        observations: Observations table, or a survey of one.
        checkpoint: See :func:`separate_runs`.

    Returns:
        Problems table: a row for each family whose runs on some of the examples were left out, for
        each model whose last checkpoint is not known or is not that of all its runs, for each
        family whose models of different size were run with different settings, and for each model
        that only some scores give a size.

    Raises:
        SchemaError: ``observations`` is no observations table.
    """
    runs = separate_runs(OBSERVATIONS.empty(), checkpoint=checkpoint, survey=_survey(observations))
    rows: list[tuple[str, str, str, str]] = []
    if runs.left_out is not None and runs.survey is not None:
        left_out = to_frame(runs.left_out.table.select([*_FAMILY, "settings"]))
        limited = np.array(["limit" in settings_of(str(one)) for one in left_out["settings"]], bool)
        counts = (
            left_out.assign(n=runs.left_out.n_rows)[limited]
            .groupby(_FAMILY, observed=True, sort=False)["n"]
            .sum()
        )
        rows += [
            (str(benchmark), str(family), _LIMITED.format(n=n), "warning")
            for benchmark, family, n in counts.reset_index().itertuples(index=False)
        ]
        rows += [(*told, "warning") for told in (*runs.unordered, *runs.earlier)]
        rows += _mixed_settings(runs.survey, checkpoint=checkpoint) + _without_size(runs.survey)
    return to_frame(conform(pd.DataFrame(rows, columns=PROBLEMS.names), PROBLEMS))


def _survey(observations: pd.DataFrame | pa.Table | Survey) -> Survey:
    """Return the survey of observations, each row in the place that it has there."""
    return observations if isinstance(observations, Survey) else survey_of([conform(observations)])


def family_hint(observations: pd.DataFrame | pa.Table | Survey) -> str:
    """Return a sentence where families of one model each have names that look like one family's.

    They look alike if their names differ in a size, a release date, a version at the end or ``-hf``
    alone. Nothing is joined: another date is another training, unless someone says otherwise.

    Args:
        observations: Observations table, or a survey of one.

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
    table = _survey(observations).table
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


def doubtful_counts(keys: pd.DataFrame) -> dict[str, int]:
    """Return how many curves are not of one run, one unit and one model a size.

    Args:
        keys: Keys of curves, see :class:`bigbench_meta.curves.build.Curves`.

    Returns:
        ``n_replicated``, ``n_same_size``, ``n_run_differently``, ``n_earlier_checkpoint``,
        ``n_mixed_units`` and ``n_unit_questions``.
    """
    return {
        "n_replicated": int((keys["n_replicated"] > 0).sum()),
        "n_same_size": int((keys["n_same_size"] > 0).sum()),
        "n_run_differently": int((keys["run_differently"] != "").sum()),
        "n_earlier_checkpoint": int(keys["earlier_checkpoint"].sum()),
        "n_mixed_units": int(keys["mixed_units"].sum()),
        "n_unit_questions": int(keys["asks_unit"].sum()),
    }


def doubtful_sentences(keys: pd.DataFrame) -> list[str]:
    """Return what to say first of curves that are not of one run, one unit, one model a size.

    Args:
        keys: As for :func:`doubtful_counts`.
    """
    lists = keys["run_differently"][keys["run_differently"] != ""].astype(str)
    names = [name for name, _ in Counter(", ".join(lists).split(", ")).most_common()]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    reasons = {
        "n_replicated": "average different scores of one model whose files do not say how they "
        "differ; --path tells files apart by their folders or names.",
        "n_same_size": "average different models of one size; a rule of --names or {model_family} "
        "in --path tells them apart.",
        "n_run_differently": "join models that were run differently "
        f"({', '.join(names[:_MOST_NAMED])}{more}).",
        "n_earlier_checkpoint": "have a model at an earlier checkpoint than its last, where "
        "another training of it, by backend, adapter or variant, went on.",
        "n_mixed_units": "have scores in two units, and no emergence score.",
        "n_unit_questions": "may have scores in two units; an entry of the metric in a catalog "
        "(--catalog) settles that.",
    }
    numbers = doubtful_counts(keys)
    return [f"{n} of {len(keys)} curves {reasons[name]}" for name, n in numbers.items() if n]


def _combinations(table: pa.Table) -> tuple[pd.DataFrame, Ints]:
    """Return one row for each curve, model and settings, and the row of each observation."""
    columns = [*CURVE_KEY, "model_name", "settings"]
    combo, first = group_rows(table, columns)
    frame = to_frame(table.select(columns).take(pa.array(first)))
    of_row = pc.fill_null(pc.coalesce(*(table[name] for name in SIZE_AXES)).cast("float64"), np.nan)
    size = pd.Series(np.full(len(first), np.nan))
    np.fmax.at(size.to_numpy(), combo, of_row.to_numpy())
    frame = frame[columns].astype(dict.fromkeys(columns, object))
    frame = frame.where(frame.notna(), None)
    texts = frame["settings"].tolist()
    decoded = {text: settings_of(text) for text in set(texts)}
    said = pd.Series([decoded[text] for text in texts], index=frame.index, dtype=object)
    # Spelling makes no two models of one: Owl-7B and owl_7b.
    spelling = {name: spelled(name) for name in set(frame["model_name"].tolist())}
    model = frame["model_name"].map(spelling)
    has_score = np.bincount(combo, weights=is_score(table), minlength=len(first)) > 0
    # Nor are two models of one size two points.
    size = size.groupby([*_texts(frame, _FAMILY), model]).transform("max")
    place = size.map(str).where(size.notna(), model)
    return frame.assign(said=said, model=model, place=place, has_score=has_score), combo


def _texts(frame: pd.DataFrame, names: Iterable[str]) -> list[pd.Series[str]]:
    """Return columns as texts, of which None is one."""
    return [frame[name].map(str) for name in names]


def _groups(combos: pd.DataFrame) -> list[Ints]:
    """Return the places of the rows of each curve."""
    groups = combos.groupby(_texts(combos, CURVE_KEY), sort=False)
    return [np.asarray(places, dtype=np.int64) for places in groups.indices.values()]


def settings_of(text: str | None) -> Settings:
    """Return settings by name; what is no JSON object is one setting without a name.

    Examples:
        >>> settings_of('{"checkpoint": "step1000"}'), settings_of("fast"), settings_of(None)
        ({'checkpoint': 'step1000'}, {'': 'fast'}, {})
    """
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return {"": text}
    return {str(name): str(value) for name, value in found.items() if name != SIZE_BY_RULE}


# Checkpoints and limits -----------------------------------------------------------------------


def _at_checkpoint(combos: pd.DataFrame, checkpoint: str) -> tuple[Bools, Bools]:
    """Return which rows are of a checkpoint that counts, and of models with one such alone."""
    if checkpoint == ALL:
        return np.ones(len(combos), dtype=bool), np.zeros(len(combos), dtype=bool)
    at: list[str | None] = [said.get("checkpoint") for said in combos["said"]]
    if checkpoint != LAST:
        chosen = np.array([name == checkpoint for name in at], dtype=bool)
        if not chosen.any():
            raise _no_checkpoint(checkpoint, sorted({name for name in at if name}))
        return chosen, np.ones(len(combos), dtype=bool)
    trained = combos["said"].map(lambda said: str([said.get(name) for name in _TRAINED]))
    keys = [*_texts(combos, [*_FAMILY, "model", "variant"]), trained]
    run = combos.groupby(keys, sort=False).ngroup().tolist()
    names: defaultdict[int, set[str | None]] = defaultdict(set)
    for number, name in zip(run, at, strict=True):
        names[number].add(name)
    last = {number: _last(found) for number, found in names.items()}
    return (
        np.array([name in last[number] for number, name in zip(run, at, strict=True)], dtype=bool),
        np.array([len(last[number]) == 1 for number in run], dtype=bool),
    )


def _last(names: set[str | None]) -> set[str | None]:
    """Return the last of some checkpoints; several where their names do not say which it is."""
    if None in names:
        return {None}  # a model without a checkpoint is the final one
    order = {name: training_moment(name or "") for name in names}
    moments = set(order.values())
    if len(names) > 1 and (
        None in moments or len({moment[:2] for moment in moments if moment}) > 1
    ):
        return names
    latest = max((moment for moment in moments if moment), default=None)
    return {name for name, moment in order.items() if moment == latest}


def _no_checkpoint(name: str, known: list[str]) -> InputError:
    listed = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
    return InputError(
        f"no model has the checkpoint {name!r}",
        where="checkpoint",
        hint=f"there are {listed}" if known else "no file names a checkpoint",
    )


def training_moment(checkpoint: str) -> tuple[bool, bool, float, float] | None:
    """Return where in training a checkpoint is by its name, None where that does not say.

    Those whose names count differently, in steps or tokens, with stages or without, have no order.

    Returns:
        Whether tokens are counted, whether there is no stage, the stage, and the steps or tokens:
        the first two of checkpoints that have an order are equal.

    Examples:
        >>> training_moment("stage2-step50k"), training_moment("early")
        ((False, False, 2.0, 50000.0), None)
    """
    found = _STEP.search(checkpoint)
    counted = found or _TOKENS.search(checkpoint)
    if counted is None:
        return None
    stage = _STAGE.search(checkpoint)
    number, unit = (part for part in counted.groups() if part is not None)
    amount = float(number) * _TIMES[unit.lower()]
    return found is None, stage is None, float(stage[1]) if stage else 0.0, amount


def _unordered(combos: pd.DataFrame, chosen: Bools) -> tuple[tuple[str, str, str], ...]:
    """Return a sentence for each model of which several checkpoints could be the last."""
    names: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    columns = combos.loc[chosen, [*_FAMILY, "model_name", "said"]]
    for benchmark, family, model, said in columns.itertuples(index=False):
        names[str(benchmark), str(family), str(model)].add(said["checkpoint"])
    return tuple(
        (
            benchmark,
            family,
            _NOT_LAST.format(model=model, names=", ".join(sorted(found)[:_MOST_NAMED])),
        )
        for (benchmark, family, model), found in names.items()
    )


def _earlier(combos: pd.DataFrame, chosen: Bools) -> tuple[Bools, tuple[tuple[str, str, str], ...]]:
    """Return which rows are of a run that ended before the model's last checkpoint.

    And a sentence for each model that has such a run.
    """
    runs: defaultdict[tuple[str, str, str], dict[str | None, set[str]]] = defaultdict(dict)
    columns = combos.loc[chosen, [*_FAMILY, "model", "variant", "said"]]
    for benchmark, family, model, variant, said in columns.itertuples(index=False):
        run = [f"{name}={said[name]}" for name in _TRAINED if name in said]
        told = ", ".join(filter(None, [variant, *run])) or "the runs without a backend"
        at = runs[str(benchmark), str(family), str(model)]
        at.setdefault(said.get("checkpoint"), set()).add(told)
    names: dict[str, str] = {}
    for model, name in zip(combos["model"], combos["model_name"], strict=True):
        names.setdefault(model, name)
    rows = []
    lasts: dict[tuple[str, str, str], set[str | None]] = {}
    for (benchmark, family, model), at in runs.items():
        last = lasts[benchmark, family, model] = _last(set(at))
        for name in sorted(set(at) - last, key=str):
            shown = sorted(at[name])
            more = f" and {len(shown) - _MOST_NAMED} more" if len(shown) > _MOST_NAMED else ""
            reason = _EARLIER.format(
                model=names[model], names=name, runs=", ".join(shown[:_MOST_NAMED]) + more,
                last=next(iter(last)) or "the model without one",
            )  # fmt: skip
            rows.append((benchmark, family, reason))
    at_earlier = chosen.copy()
    at_earlier[chosen] = [
        said.get("checkpoint") not in lasts[str(benchmark), str(family), str(model)]
        for benchmark, family, model, _, said in columns.itertuples(index=False)
    ]
    return at_earlier, tuple(rows)


def _limited(combos: pd.DataFrame, wanted: Bools) -> tuple[Bools, Bools]:
    """Return which rows give way to the same run on more or fewer examples.

    Those on some of the examples where one on all of them has a score, and those on all of them
    without a score where one on some has one.
    """
    has_limit = np.array(["limit" in said for said in combos["said"]], dtype=bool)
    if not has_limit.any():
        return has_limit, has_limit
    rest = combos["said"].map(
        lambda said: json.dumps({name: said[name] for name in sorted(said) if name != "limit"})
    )
    keys = [*_texts(combos, [*CURVE_KEY, "model"]), rest]
    has_score = wanted & combos["has_score"].to_numpy(dtype=bool)
    full, part = (
        pd.Series(has_score & which).groupby(keys).transform("any").to_numpy(dtype=bool)
        for which in (~has_limit, has_limit)
    )
    return wanted & has_limit & full, wanted & ~has_limit & ~full & part


# Labels -----------------------------------------------------------------------------------------


def _variants(combos: pd.DataFrame, rows: Ints) -> list[str | None]:
    """Return the variant of each row: its own, and the settings that tell its curve apart."""
    variant: list[str | None] = combos["variant"].tolist()
    chosen = combos.iloc[rows]
    if not chosen.duplicated([*CURVE_KEY, "place"]).any():
        return variant  # each model was run once
    said = combos["said"].tolist()
    members = [rows[places] for places in _groups(chosen)]
    family_of = list(zip(*_texts(combos, _FAMILY), strict=True))
    model: list[str] = combos["place"].tolist()
    telling: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for places in members:
        by_model: defaultdict[str, list[Settings]] = defaultdict(list)
        for row in places.tolist():
            by_model[model[row]].append(said[row])
        for runs in by_model.values():
            telling[family_of[places[0]]] |= _differing(runs)
    named: dict[int, Named] = {}
    of_family: defaultdict[tuple[str, ...], set[Named]] = defaultdict(set)
    for places in members:
        here = [said[row] for row in places.tolist()]
        told = _fewest(here, telling[family_of[places[0]]] & _differing(here))
        for row in places.tolist():
            settings = tuple((name, said[row][name]) for name in told if name in said[row])
            named[row] = variant[row], settings
            of_family[family_of[row]].add(named[row])
    labels = {family: _labels(runs) for family, runs in of_family.items()}
    for row, run in named.items():
        variant[row] = labels[family_of[row]][run]
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


def _labels(runs: set[Named]) -> dict[Named, str | None]:
    """Return the variants of the curves of a family, no two of them the same."""
    names = {name for _, settings in runs for name, _ in settings}
    n_short = Counter(name.rpartition(".")[2] for name in names)
    # A short name that two settings have says not which.
    shown = {
        name: short if n_short[short := name.rpartition(".")[2]] == 1 else name for name in names
    }
    labels: dict[Named, str | None] = {}
    taken: set[str | None] = set()
    # What a file calls a variant keeps its name.
    for run in sorted(runs, key=lambda run: (bool(run[1]), run[0] or "", run[1])):
        label = plain = _labelled(run, shown)
        number = 1
        while label in taken:
            number += 1
            label = f"{plain or 'settings'} ({number})"
        labels[run] = label
        taken.add(label)
    return labels


def _labelled(run: Named, shown: dict[str, str]) -> str | None:
    """Return a variant with settings: the checkpoint before it, the others behind it."""
    variant, settings = run
    checkpoint, others = None, []
    for name, text in settings:
        # A value that could be taken for a further setting is quoted.
        value = json.dumps(text) if set(text) & set(',=/"') else text
        if name == "checkpoint":
            checkpoint = value
        else:
            others.append(f"{shown[name]}={value}" if name else value)
    return "/".join(filter(None, [checkpoint, variant, ",".join(others)])) or None


def differing_settings(
    table: pa.Table, curve: Ints, n_curves: int, *, checkpoint: str = ALL
) -> list[tuple[str, ...]]:
    """Return the settings that are not the same for all models of each curve.

    Args:
        table: Observations whose runs are apart, see :func:`separate_runs`.
        curve: The curve of each row.
        n_curves: The number of curves.
        checkpoint: The choice with which the curves were built. If one was chosen, it may differ.
    """
    if table["settings"].null_count == table.num_rows:
        return [()] * n_curves
    combos, combo = _combinations(table)
    of_combo = np.zeros(len(combos), dtype=np.int64)
    of_combo[combo] = curve
    runs: list[list[Settings]] = [[] for _ in range(n_curves)]
    scored = combos["has_score"].tolist()
    for number, said, has_score in zip(of_combo.tolist(), combos["said"], scored, strict=True):
        if has_score:
            runs[number].append(said)
    chosen = set() if checkpoint == ALL else {"checkpoint"}
    return [tuple(sorted(_differing(of_curve) - chosen)) for of_curve in runs]


def _mixed_settings(survey: Survey, *, checkpoint: str) -> list[tuple[str, str, str, str]]:
    """Return a problem for each family with curves whose models were run differently."""
    table = survey.table
    curve, first = group_rows(table, CURVE_KEY)
    families = to_frame(table.select(_FAMILY).take(pa.array(first))).astype(str)
    n_curves: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    found = differing_settings(table, curve, len(first), checkpoint=checkpoint)
    numbers = survey.n_curves[first].tolist()
    for (benchmark, family), names, n in zip(
        families.itertuples(index=False), found, numbers, strict=True
    ):
        if names:
            n_curves[benchmark, family, names] += n
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


def _without_size(survey: Survey) -> list[tuple[str, str, str, str]]:
    """Return a problem for each model of which some scores have a size and others have none."""
    columns, table = [*_FAMILY, "model_name"], survey.table
    group, first = group_rows(table, columns)
    has_size = pc.is_valid(pc.coalesce(*(table[name] for name in SIZE_AXES))).to_numpy()
    n_all = np.bincount(group, survey.n_rows, len(first))
    n_without = np.bincount(group, np.where(has_size, 0, survey.n_rows), len(first))
    some = np.flatnonzero((n_without > 0) & (n_without < n_all))
    models = to_frame(table.select(columns).take(pa.array(first[some]))).astype(str)
    return [
        (
            benchmark,
            family,
            f"{n:.0f} scores of {model} have no size, others of it have one: not used on that axis",
            "warning",
        )
        for (benchmark, family, model), n in zip(
            models.itertuples(index=False), n_without[some].tolist(), strict=True
        )
    ]
