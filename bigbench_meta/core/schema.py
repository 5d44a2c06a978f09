"""The tables of this package, each column declared once: name, Arrow type, unit and meaning.

Everything that produces scores emits :data:`OBSERVATIONS`; everything after it reads that table.
Tables are tidy pandas frames at the surface and Arrow inside; :func:`conform` and
:func:`to_frame` are the two crossings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from bigbench_meta.core.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

__all__ = [
    "CURVE_EVIDENCE",
    "CURVE_KEY",
    "CURVE_SCORES",
    "FALLING_AXES",
    "FILE",
    "OBSERVATIONS",
    "PROBLEMS",
    "ROW_KEY",
    "SAMPLES",
    "SCALE_AXES",
    "SETTINGS",
    "SIZE_AXES",
    "SIZE_BY_RULE",
    "UNEXPLAINED",
    "Column",
    "TableSchema",
    "conform",
    "to_frame",
]

_TEXT = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, kw_only=True)
class Column:
    """One stored column.

    Attributes:
        name: Column name, BIG-bench's own wherever BIG-bench has one.
        type: Arrow type; text columns are dictionary-encoded.
        meaning: One line for the documentation.
        unit: Unit or range, empty for names.
        required: Whether a table without the column is refused.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    required: bool = False


@dataclass(frozen=True)
class TableSchema:
    """A named table: its columns in order."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.schema([(column.name, column.type) for column in self.columns])

    @property
    def required(self) -> list[str]:
        """Names of the columns that a table cannot do without."""
        return [column.name for column in self.columns if column.required]

    def empty(self) -> pa.Table:
        """Return the table without rows."""
        # Not empty_table: like every pa.array of a list, it imports pandas.
        return pa.Table.from_batches([], self.arrow)


def _text(name: str, meaning: str, *, required: bool = False) -> Column:
    return Column(name=name, type=_TEXT, meaning=meaning, required=required)


def _real(name: str, meaning: str, unit: str, *, required: bool = False) -> Column:
    return Column(name=name, type=pa.float64(), meaning=meaning, unit=unit, required=required)


def _whole(name: str, meaning: str, unit: str) -> Column:
    return Column(name=name, type=pa.int64(), meaning=meaning, unit=unit)


def _test(name: str, null: str) -> tuple[Column, ...]:
    return (
        _real(f"{name}_p", f"p-value of a step under {null}", "0..1"),
        _real(f"{name}_q_bh", "the same, corrected: Benjamini-Hochberg", "0..1"),
        _real(f"{name}_q_by", "Benjamini-Yekutieli", "0..1"),
        _real(f"{name}_p_holm", "Holm", "0..1"),
        _whole(f"{name}_n_searched", "curves that were tested", "count"),
        _text(f"{name}_status", "ok, or why there is no test"),
    )


CURVE_KEY: tuple[str, ...] = (
    "benchmark", "task", "subtask", "metric", "model_family", "shots", "variant",
)  # fmt: skip
"""The columns whose values name one curve."""

ROW_KEY: tuple[str, ...] = (*CURVE_KEY, "model_name", "settings", "replicate")
"""The columns whose values name one observation."""

UNEXPLAINED = "unexplained"
"""Begins a ``replicate`` that no file names: scores of one run differ, and nothing says why."""

SETTINGS: dict[str, str] = {
    "checkpoint": "training step or revision of the model",
    "limit": "how many examples of the test set were used, where not all were",
    "epochs": "how often each example was asked, where more than once",
    "backend": "what ran the model: hf, vllm, neox, an API",
    "precision": "number format of the weights: float16, bfloat16, float32",
    "quantisation": "weights stored in fewer bits: 4bit, 8bit, gptq",
    "adapter": "adapter on top of the model",
    "chat_template": "digest of the chat template that wrapped the prompt",
    "system_instruction": "digest of the system prompt",
    "fewshot_layout": "how in-context examples were laid out, where not as plain text",
    "answers": "how an answer is made: multiple_choice, loglikelihood, generate_until",
    "task_version": "version of the task's definition",
    "harness": "version of the evaluation program",
}
"""What evaluation programs say of a run, by the names that the ``settings`` column uses.

A file's own names are kept for the rest: ``task.NAME`` for arguments of the task, ``model.NAME``
for arguments of the model, ``generation.NAME`` for how text was generated, ``scorer.NAME`` for
arguments of the scorer. All values are text; of a long one it is a digest.
"""

SIZE_BY_RULE = "size_by_rule"
"""Stands in ``settings`` where a user's rule gives the size of a model; it tells no runs apart."""

SCALE_AXES: tuple[str, ...] = (
    "flop_matched_non_embedding_params",
    "non_embedding_params",
    "total_params",
    "train_flops",
    "train_tokens",
    "pretraining_loss",
)
"""The columns that can be the x of a curve."""

SIZE_AXES: tuple[str, ...] = SCALE_AXES[:3]
"""Numbers of parameters: the axes that are tried by default, in this order."""

FALLING_AXES: frozenset[str] = frozenset({"pretraining_loss"})
"""Axes on which less is better: the points of a curve are ordered by falling x."""

FILE = "file"
"""Name of the inner column that says which file a row came from; never in a frame."""

OBSERVATIONS = TableSchema(
    "observations",
    (
        _text("benchmark", "collection the task belongs to", required=True),
        _text("task", "task name", required=True),
        _text("subtask", "subtask name; equal to task on an aggregate row"),
        _text("metric", "metric name, as the file spells it", required=True),
        _text("model_family", "models trained alike at several sizes", required=True),
        _text("model_name", "one model of the family", required=True),
        _whole("shots", "in-context examples; null where not applicable or not stated", "count"),
        _text("variant", "prompt type, temperature or checkpoint where a family has several"),
        _text("settings", "how the run was made, as a JSON object; see SETTINGS"),
        _text("replicate", "seed or run, where one model was scored several times"),
        _whole("total_params", "all parameters", "count"),
        _whole("non_embedding_params", "parameters without embeddings", "count"),
        _whole(
            "flop_matched_non_embedding_params",
            "dense equivalent of a sparse model's non-embedding parameters; BIG-bench's own x axis",
            "count",
        ),
        _real("train_flops", "training compute", "FLOP"),
        _real("train_tokens", "training tokens", "count"),
        _real("pretraining_loss", "loss on held-out text; lower is better", "nats per token"),
        _real("score", "the score, in the unit of the file", "see metric catalog", required=True),
        _real("stderr", "standard error of the score", "unit of score"),
        _whole("n_examples", "examples the score is a mean over", "count"),
        Column(
            name="is_preferred",
            type=pa.bool_(),
            meaning="whether the task's authors prefer this metric; null where not stated",
        ),
        _real("low_score", "poor or chance performance on the preferred metric", "unit of score"),
        _real("high_score", "very good performance on the preferred metric", "unit of score"),
        _text("source", "file within the source"),
    ),
)
"""One row is one score of one model on one (task, metric, shots)."""

PROBLEMS = TableSchema(
    "problems",
    (
        Column(name="source", type=pa.string(), meaning="file", required=True),
        Column(name="field", type=pa.string(), meaning="where in the file; empty for all of it"),
        Column(name="reason", type=pa.string(), meaning="what is wrong", required=True),
        Column(
            name="severity",
            type=pa.string(),
            meaning="error: something was not loaded; warning: loaded, but look",
            unit="error | warning",
            required=True,
        ),
    ),
)
"""What could not be read, or was read with a doubt."""

SAMPLES = TableSchema(
    "samples",
    (
        *(
            column
            for column in OBSERVATIONS.columns
            if column.name
            in {
                "benchmark",
                "task",
                "subtask",
                "model_family",
                "model_name",
                "shots",
                "variant",
                "settings",
                "replicate",
                *SCALE_AXES,
            }
        ),
        Column(
            name="example_id",
            type=pa.string(),
            meaning="number or name of the example, unique within file, subtask and shots",
            required=True,
        ),
        Column(
            name="input_hash",
            type=pa.string(),
            meaning="XXH3-128 of the prompt in UTF-8, in hexadecimal",
        ),
        Column(name="targets", type=pa.list_(pa.string()), meaning="right answers, or the choices"),
        Column(
            name="target_values",
            type=pa.list_(pa.float64()),
            meaning="worth of each target where they are choices",
        ),
        Column(
            name="target_logprobs",
            type=pa.list_(pa.float64()),
            meaning="log-probability of each target where the model scored them",
            unit="nats",
        ),
        Column(name="output", type=pa.string(), meaning="what the model wrote"),
        _real("correct", "score of the example, 1 where it is right and 0 where wrong", "0..1"),
        Column(
            name="metrics",
            type=pa.map_(pa.string(), pa.float64()),
            meaning="further metrics of the example",
        ),
        _text("source", "file within the source"),
    ),
)
"""One row is one example answered by one model; only read when asked for."""

CURVE_SCORES = TableSchema(
    "curve_scores",
    (
        *(column for column in OBSERVATIONS.columns if column.name in CURVE_KEY),
        _text("metric_type", "discontinuous, nonlinear, linear, continuous or unknown"),
        _text("scale", "column used as x"),
        _whole("n_scales", "points of the curve", "count"),
        _whole("n_missing", "models excluded because they lack an x or a finite score", "count"),
        _whole("n_tied", "observations averaged into another at the same x", "count"),
        _whole(
            "n_replicated",
            "points that average different scores of one model whose files do not say why",
            "count",
        ),
        _whole("n_same_size", "points that average models with different names", "count"),
        _real("scale_min", "smallest x", "unit of the axis"),
        _real("scale_max", "largest x", "unit of the axis"),
        _real("score_first", "score at the smallest x (of a loss the largest)", "unit of score"),
        _real("score_last", "score at the largest x (of a loss the smallest)", "unit of score"),
        _real("score_min", "smallest score", "unit of score"),
        _real("score_max", "largest score", "unit of score"),
        _text("orientation", "up if a higher score is better, else down"),
        _text("direction", "where the orientation comes from: catalog, low_high or assumed"),
        _real("emergence_score", "E, Schaeffer et al. 2023 eq. 1", "-inf..inf"),
        _real("linearity", "E with the mean in place of the median", "-(n-1)..n-1"),
        _real("relative_sharpness", "E / (n_scales - 1); 1 on a straight line", "-inf..inf"),
        _real("resolution", "smallest step the test set allows", "unit of score"),
        _real("resolution_limited_score", "E with its denominator at least the resolution", "real"),
        _text("status", "ok, zero_median, flat, too_few_scales or mixed_units"),
        Column(name="is_preferred", type=pa.bool_(), meaning="the task's preferred metric"),
        _whole("n_examples_min", "smallest test set on the curve", "count"),
    ),
)
"""One row is one curve."""


CURVE_EVIDENCE = TableSchema(
    "curve_evidence",
    (
        _text("noise", "where sampling errors come from: binomial, stderr, samples, mixed, none"),
        _real("emergence_low", "lower end of the 95% interval of E", "-inf..inf"),
        _real("emergence_high", "upper end", "-inf..inf"),
        _real("linearity_low", "lower end of the 95% interval of linearity", "-(n-1)..n-1"),
        _real("linearity_high", "upper end", "-(n-1)..n-1"),
        _real("sharpness_low", "lower end of the 95% interval of E/(n - 1)", "-inf..inf"),
        _real("sharpness_high", "upper end", "-inf..inf"),
        _real("p_above_threshold", "probability that E is above the threshold", "0..1"),
        _text("interval_status", "ok, or why there is no interval"),
        _whole("n_boot", "most bootstrap replicates of a test", "count"),
        *_test("mechanism", "the smooth mechanism"),
        _real("mechanism_alpha", "fitted exponent of the power law of the loss", "0.."),
        _text("mechanism_at_bound", "lower or upper where that is at its bound, else empty"),
        _real("mechanism_p_sharpness", "p-value of E/(n - 1) under it", "0..1"),
        _real("mechanism_p_fit", "p-value of its fit without variation between models", "0..1"),
        _real("mechanism_sigma", "variation between models beside that of scale", "log loss"),
        _real("step_from", "largest scale before the step tested", "unit of the axis"),
        _real("step_to", "smallest scale after it", "unit of the axis"),
        _real("step_size", "fall of the loss at the step, beyond the mechanism", "log loss"),
        *_test("family", "the smooth mechanism with the variation of the model family"),
        *_test("line", "a straight line plus noise"),
        _real("chance", "score that guessing gives", "unit of score"),
        _text("chance_source", "given, low_score, choices, floor or unknown"),
        _text("wei_emergent", "yes, no or cannot_tell: Wei et al. 2022"),
        _text("wei_reason", "why"),
        _whole("n_at_chance_before", "scales at chance before the first above it", "count"),
        _real("emergence_scale", "smallest scale above chance from which all are", "axis"),
        _real(
            "emergence_scale_low",
            "lower end of its 95% interval, where that predicts something",
            "axis",
        ),
        _real("emergence_scale_high", "upper end", "axis"),
        _real("share_below_resolution", "scales less than one example above chance", "0..1"),
        _text("flat_kind", "flat, not flat, or flat as far as the test set can show"),
        _text("convexity", "class of Hu et al. 2024: sub_scaling, scaling_law, super_scaling"),
        _real("convexity_p", "p-value of the task scaling law", "0..1"),
        _real("bend", "log(-log score) above its line at the middle size", "log loss"),
        _real("bend_low", "lower end of its 95% interval", "log loss"),
        _real("bend_high", "upper end", "log loss"),
        _text("convexity_status", "ok, or why there is no class"),
        _text("trend", "class of Lourie et al. 2025"),
        _text("best_shape", "shape with the largest weight"),
        _real("best_shape_weight", "its weight by BIC", "0..1"),
        _real(
            "forecast",
            "score predicted at the largest scale from the smaller",
            "unit of score",
        ),
        _real(
            "forecast_low",
            "lower end of its 95% interval, if that predicts anything",
            "unit of score",
        ),
        _real("forecast_high", "upper end", "unit of score"),
        Column(name="forecast_covered", type=pa.bool_(), meaning="whether it holds the score"),
        _real("forecast_skill", "1 - |error| / |error of no change|", "..1"),
        _real("forecast_surprise", "-log2 of the probability of a score so far out", "bits"),
        _text("forecast_status", "ok, not_predictable, or why there is no forecast"),
    ),
)
"""What is added to a curve's scores when inference is asked for."""


def conform(data: pd.DataFrame | pa.Table, schema: TableSchema = OBSERVATIONS) -> pa.Table:
    """Return data as an Arrow table of exactly the given schema, or say why it cannot be.

    Missing optional columns become null, further columns are left out, values are cast where
    nothing is lost (``1.0`` to ``1``, but not ``1.5``). A missing ``subtask`` is the task itself:
    an aggregate row.

    Args:
        data: A pandas frame or an Arrow table.
        schema: The table to conform to.

    Returns:
        The table with the schema's columns in order.

    Raises:
        SchemaError: A required column is missing or holds a null, or a value does not fit its type.

    Examples:
        >>> import pandas as pd
        >>> conform(pd.DataFrame({"task": ["t"]}))
        Traceback (most recent call last):
        ...
        bigbench_meta.core.errors.SchemaError: observations: missing column benchmark, metric, ...
    """
    names = data.column_names if isinstance(data, pa.Table) else list(map(str, data.columns))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SchemaError(f"column given twice: {', '.join(repeated)}", where=schema.name)
    if missing := [name for name in schema.required if name not in names]:
        raise SchemaError(
            f"missing column {', '.join(missing)}",
            where=schema.name,
            hint=f"needed: {', '.join(schema.required)}; found: {', '.join(names)}",
        )
    table = data if isinstance(data, pa.Table) else _from_pandas(data, schema)
    columns = {
        column.name: _conform_column(table, column, schema.name) for column in schema.columns
    }
    if schema is OBSERVATIONS or schema is SAMPLES:
        columns["subtask"] = _fill_subtask(columns["subtask"], columns["task"])
    return pa.table(columns, schema=schema.arrow)


def _from_pandas(frame: pd.DataFrame, schema: TableSchema) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for column in schema.columns:
        if column.name not in frame:
            continue
        try:
            # A map is a list of pairs in pandas, of which Arrow makes something else by itself.
            type_ = column.type if pa.types.is_map(column.type) else None
            columns[column.name] = pa.array(frame[column.name], type=type_, from_pandas=True)
        except (
            pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError,
        ) as error:  # fmt: skip
            values = frame[column.name]
            raise _misfit(values, column, schema.name, "a mixture of types") from error
    return pa.table(columns)


def _misfit(
    values: Iterable[Any], column: Column, where: str, otherwise: str, type_: Any = None
) -> SchemaError:
    """Return the error of a column whose values do not fit, with the first of them."""
    found = otherwise
    for row, value in enumerate(values):
        try:
            pa.array([value], type=type_, from_pandas=type_ is None).cast(column.type)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            found = f"value {value!r} in row {row}"
            break
    return SchemaError(
        f"{found} does not fit {column.type}",
        where=f"{where}.{column.name}",
        hint=f"{column.name} is: {column.meaning}",
    )


def _conform_column(table: pa.Table, column: Column, where: str) -> pa.ChunkedArray:
    if column.name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, column.type)])
    values = table.column(column.name)
    if values.type != column.type:
        values = _cast(values, column, where)
    # NaN in a required score is a statement (the evaluator wrote it); a null is a hole.
    if column.required and column.name != "score" and (nulls := _null_rows(values)):
        row = nulls[0]
        raise SchemaError(f"no value in row {row}", where=f"{where}.{column.name}")
    return values


def _null_rows(values: pa.ChunkedArray) -> list[int]:
    """Return the rows that are null, also where a dictionary holds the null."""
    inner = pa.types.is_dictionary(values.type) and any(
        chunk.dictionary.null_count for chunk in values.chunks
    )
    if not inner and not values.null_count:
        return []
    plain = values.cast(values.type.value_type) if inner else values
    return list(pc.indices_nonzero(pc.is_null(plain)).to_pylist())


def _cast(values: pa.ChunkedArray, column: Column, where: str) -> pa.ChunkedArray:
    plain = pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(values.type)
    try:
        if plain:
            return values.cast(pa.string()).dictionary_encode().cast(column.type)
        if pa.types.is_dictionary(values.type) and not pa.types.is_dictionary(column.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_integer(column.type) and pa.types.is_floating(values.type):
            # A pandas column of whole numbers with gaps arrives as floats with NaN.
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        return values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        plain_values = (value.as_py() for value in values)
        raise _misfit(plain_values, column, where, f"type {values.type}", values.type) from error


def _fill_subtask(subtask: pa.ChunkedArray, task: pa.ChunkedArray) -> pa.ChunkedArray:
    if subtask.null_count == 0:
        return subtask
    filled = pc.coalesce(subtask.cast(pa.string()), task.cast(pa.string()))
    return filled.dictionary_encode().cast(_TEXT)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a tidy pandas frame.

    Dictionary-encoded text becomes ``category``, whole numbers ``Int64`` and booleans ``boolean``,
    so that a missing value is ``<NA>`` and never a 0 or a rounded float.

    Args:
        table: Any table of this module.

    Returns:
        The frame, with a default index.
    """
    import pandas as pd

    nullable: dict[pa.DataType, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.unify_dictionaries().to_pandas(types_mapper=nullable.get)
    return frame
