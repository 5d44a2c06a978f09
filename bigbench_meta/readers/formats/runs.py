"""Shared by the readers of evaluation runs: models by name, key columns, rows as tables."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from bigbench_meta.catalog.model_names import checkpoint_name
from bigbench_meta.core.errors import InputError
from bigbench_meta.core.schema import conform
from bigbench_meta.readers.formats.values import clean, show_value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bigbench_meta.catalog.model_names import ModelIdentity, ModelNames
    from bigbench_meta.core.schema import TableSchema
    from bigbench_meta.readers.formats.values import FileLog

__all__ = [
    "at_checkpoint",
    "find_model",
    "input_hash",
    "key_columns",
    "model_in_path",
    "model_of_run",
    "model_settings",
    "named_settings",
    "note_missing_size",
    "settings_of_group",
    "settings_text",
    "share",
    "short_digest",
    "to_table",
]

_ENDING: Final = r"(?:\.jsonl?|\.eval)?(?:\.gz)?$"
_SHOTS_IN_NAME: Final = re.compile(r"[-_](\d{1,3})-?shot", re.IGNORECASE | re.ASCII)
# GPT-NeoX adds _eval_results_<date>, the harness _<date>.
_DATE_IN_NAME: Final = re.compile(r"_(?:eval_results(?=_)|\d{4}-\d\d-\d\dT\d).*", re.ASCII)
# Named by programs after the date and the task, or after nothing.
_NO_MODEL: Final = re.compile(
    r"(?:(?:eval_)?results|samples)(?:_.*)?|\d{4}-\d\d-\d\dT\d.*|", re.IGNORECASE | re.ASCII
)
_ADAPTERS: Final = ("peft", "delta")
# Of more arguments than this the rest has one digest, and a longer value one of its own.
_MOST_ARGUMENTS: Final = 30
_LONGEST: Final = 60
# GPT-NeoX passes the whole configuration of its training, names of log files included.
_OF_TRAINING: Final = "hidden_size"
# In place of a function that it cannot write, a program writes where it lay in memory.
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+", re.IGNORECASE | re.ASCII)
_SIZE: Final = re.compile(
    r"(?<![a-z0-9.])\d+(?:[._]\d+)?[mbt]\d?(?![a-z0-9])", re.IGNORECASE | re.ASCII
)
_NAMES: Final = ("pretrained", "model", "path", "engine", "model_path")
_FORMATS: Final = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32"}
# Arguments of a model that say where and how fast it ran, or are read elsewhere.
_NO_SETTING: Final = {
    *_ADAPTERS, *_NAMES, "revision",
    "tokenizer", "tokenizer_path", "device", "device_map", "device_map_option", "parallelize",
    "use_accelerate", "batch_size", "max_batch_size", "trust_remote_code", "low_cpu_mem_usage",
    "max_memory_per_gpu", "max_cpu_memory", "offload_folder", "gpu_memory_utilization",
    "tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "gpus",
    "num_concurrent", "max_retries", "timeout", "base_url", "tokenizer_backend",
    "tokenized_requests", "use_fast_tokenizer", "cache_dir", "swap_space", "max_num_seqs",
    "enforce_eager", "seed", "dtype", "precision", "load_in_8bit", "load_in_4bit",
    "quantization", "gptq", "autogptq", "gptqmodel", "iteration",
}  # fmt: skip


def find_model(names: ModelNames, *candidates: Any) -> ModelIdentity | None:
    """Return the model that the first usable candidate names, None if there is none.

    Args:
        names: Rules from model names to families and sizes.
        candidates: Names, and what stands where a name should.
    """
    for name in candidates:
        if isinstance(name, str):
            try:
                return names.lookup(name)
            except InputError:
                continue
    return None


def model_in_path(label: str, *, names: ModelNames) -> tuple[ModelIdentity | None, int | None]:
    """Return the model that a file's name says, else that its folder's does, and the shots.

    Args:
        label: For example ``"runs/pythia-1.4b-0shot-step143000.json"`` or
            ``"out/EleutherAI__pythia-70m/results_2026-01-31T00-00-00.000000.json"``.
        names: Rules from model names to families and sizes.

    Returns:
        The model, if need be one that no rule knows, None where nothing can be one; and the number
        of in-context examples that stands beside it.
    """
    *folders, name = PurePosixPath(label.replace("\\", "/")).parts or ("",)
    stem = _DATE_IN_NAME.sub("", re.sub(_ENDING, "", name, flags=re.IGNORECASE))
    folder, above = "".join(folders[-1:]), "".join(folders[-2:-1])
    model: ModelIdentity | None = None
    shots: int | None = None
    texts = [pair for pair in ((stem, folder), (folder, above)) if not _NO_MODEL.fullmatch(pair[0])]
    for number, (text, before) in enumerate(texts):
        if shots is None and (stated := _SHOTS_IN_NAME.search(text)):
            shots = int(stated[1])
        plain = _SHOTS_IN_NAME.sub("", text).strip(" .").rstrip("-_")
        # A size alone belongs to the folder above.
        found = find_model(names, f"{before}/{plain}") if plain else None
        if found is not None and found.is_known:
            return found, shots
        if number == 0:
            model = find_model(names, plain)
    return model, shots


def model_of_run(
    log: FileLog, where: str, *candidates: Any, names: ModelNames
) -> ModelIdentity | None:
    """Return the model that a file names; where that says nothing, the one that its name does.

    A place such as ``/scratch/ckpt``, and a size alone, say nothing of the model that is there. The
    file's or its folder's name counts only where the rules know it, and a warning names both.

    Args:
        log: Where the warning is noted; its label is the path.
        where: The place in the file that names the model.
        candidates: What stands there: names, and what stands where a name should.
        names: Rules from model names to families and sizes.

    Returns:
        The model, None if nothing names one.
    """
    stated = find_model(names, *candidates)
    if stated is not None and stated.is_known:
        return stated
    found, _ = model_in_path(log.label, names=names)
    if found is None or not found.is_known:
        return stated
    if stated is None:
        log.warning(where, "names no model: taken from the file's name")
        return found
    begins = found.model_name.lower().startswith(f"{stated.model_name.lower()}-")
    if not (begins or stated.is_vague):
        return stated
    log.warning(
        where,
        f"{show_value(stated.model_name)} does not say which model: "
        f"{show_value(found.model_name)} is taken from the file's name",
    )
    return replace(
        found,
        checkpoint=stated.checkpoint or found.checkpoint,
        quantisation=stated.quantisation or found.quantisation,
        precision=stated.precision or found.precision,
    )


def at_checkpoint(model: ModelIdentity, revision: Any) -> ModelIdentity:
    """Return a model at the checkpoint that a run states, if it states one other than ``main``."""
    stated = checkpoint_name(revision) if isinstance(revision, str) else ""
    return model if stated in {"", "main", "None"} else replace(model, checkpoint=stated)


def settings_text(settings: Mapping[str, Any]) -> str | None:
    """Return settings as the column ``settings`` stores them, None if there are none.

    Args:
        settings: By name, see :data:`bigbench_meta.core.schema.SETTINGS`; None, False and empty
            texts say nothing and are left out.

    Examples:
        >>> settings_text({"limit": 10, "precision": "float16", "adapter": None})
        '{"limit": "10", "precision": "float16"}'
    """
    said = {
        clean(name): clean(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
        for name, value in settings.items()
        if not _says_nothing(value)
    }
    return json.dumps(said, sort_keys=True, ensure_ascii=False) if said else None


def model_settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the arguments of a model say of how it was run.

    Args:
        arguments: By name, as evaluation programs pass them to ``transformers`` or ``vllm``.

    Examples:
        >>> settings_text(model_settings({"dtype": "torch.bfloat16", "load_in_4bit": "True"}))
        '{"precision": "bfloat16", "quantisation": "4bit"}'
    """
    precision = arguments.get("dtype") or arguments.get("precision")
    others = {key: arguments[key] for key in arguments.keys() - _NO_SETTING}
    if _OF_TRAINING in arguments:
        others = {}
    elif len(others) > _MOST_ARGUMENTS:
        others = {"arguments": short_digest(others)}
    return {
        "precision": _precision(precision),
        "quantisation": _quantisation(arguments),
        "adapter": next((arguments[key] for key in _ADAPTERS if arguments.get(key)), None),
        "model.tokenizer": _tokenizer(arguments),
        **named_settings("model", others),
    }


def named_settings(group: str, values: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return values as settings ``group.name``, of long ones a digest; nothing of no object."""
    if not isinstance(values, dict):
        return {}
    named = {str(name).strip(): value for name, value in values.items()}
    return {
        f"{group}.{name}": text if len(text := _written(value)) <= _LONGEST else short_digest(text)
        for name, value in named.items()
        if name not in without and not _says_nothing(value)
    }


def settings_of_group(of_task: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return settings of a mean over tasks: what all share, else a digest of what each has.

    Args:
        of_task: Settings of each task, see :func:`settings_text`.
    """
    found: dict[str, Any] = {}
    for name in sorted({name for own in of_task.values() for name in own}):
        values = {task: own.get(name) for task, own in of_task.items()}
        first = next(iter(values.values()))
        is_same = all(value == first for value in values.values())
        found[name] = first if is_same else short_digest(values)
    return found


def short_digest(value: Any) -> str | None:
    """Return a short digest of a value, None if it says nothing.

    Where functions lay in memory, which the next process says otherwise, does not count.
    """
    return None if _says_nothing(value) else input_hash(_written(value))[:12]


def _written(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return clean(_ADDRESS.sub("", text))


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value in ("", {}, [])


def _tokenizer(arguments: Mapping[str, Any]) -> str | None:
    """Return the tokenizer where it is not the model's own, without the size in its name.

    So models that each have the tokenizer of their own size were run in the same way.
    """
    given = arguments.get("tokenizer") or arguments.get("tokenizer_path")
    if not isinstance(given, str):
        return None

    def plain(path: str) -> str:
        return re.sub(r"[\W_]+", "-", _SIZE.sub("", PurePosixPath(path).name.lower())).strip("-")

    own = {plain(name) for key in _NAMES if isinstance(name := arguments.get(key), str)}
    return None if plain(given) in own else plain(given)


def _precision(value: Any) -> str | None:
    """Return a number format by its plain name; ``auto`` says nothing."""
    if not isinstance(value, str) or value in {"auto", ""}:
        return None
    plain = value.removeprefix("torch.").lower()
    return _FORMATS.get(plain, plain)


def _quantisation(arguments: Mapping[str, Any]) -> str | None:
    """Return how the weights were packed, None if they were not."""
    for key, name in (("load_in_4bit", "4bit"), ("load_in_8bit", "8bit")):
        if str(arguments.get(key, False)).lower() == "true":
            return name
    for key in ("quantization", "gptq", "autogptq", "gptqmodel"):
        value = arguments.get(key)
        if value and str(value).lower() not in {"false", "none"}:
            return str(value) if key == "quantization" else key
    return None


def note_missing_size(model: ModelIdentity, log: FileLog) -> None:
    """Note a warning if the size of a model is not known."""
    if model.total_params is None:
        shown = show_value(model.model_name)
        log.warning("total_params", f"left empty for {shown}: {model.reason}")


def key_columns(
    model: ModelIdentity,
    *variants: str | None,
    benchmark: str,
    task: str,
    subtask: str,
    shots: int | None,
    settings: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """Return the columns that say which model did which task, and how.

    Args:
        model: The model, at its checkpoint.
        variants: What goes into ``variant`` after that of the model; what is empty is left out.
        benchmark: The benchmark.
        task: The task.
        subtask: The subtask; the task itself on an aggregate row.
        shots: In-context examples, None if not known.
        settings: What the file says of the run, see :func:`settings_text`.
        source: The file.
    """
    return {
        "benchmark": benchmark,
        "task": clean(task),
        "subtask": clean(subtask),
        "model_family": clean(model.model_family),
        "model_name": clean(model.model_name),
        "total_params": model.total_params,
        "shots": shots,
        "variant": clean("/".join(part for part in (model.variant, *variants) if part)) or None,
        # What the file says of the run goes before the model's name.
        "settings": settings_text(
            {**settings, **{n: settings.get(n) or v for n, v in model.settings.items()}}
        ),
        "source": clean(source),
    }


def to_table(rows: list[dict[str, Any]], schema: TableSchema) -> pa.Table:
    """Return rows as a table of the schema; what a row does not name is null."""
    plain = pa.schema(
        [
            (column.name, pa.string() if pa.types.is_dictionary(column.type) else column.type)
            for column in schema.columns
        ]
    )
    return conform(pa.Table.from_pylist(rows, schema=plain), schema)


def input_hash(prompt: str) -> str:
    """Return the ``input_hash`` of a prompt: XXH3-128 of its UTF-8, in hexadecimal digits."""
    return xxh3_128_hexdigest(prompt.encode())


def share(value: float | None) -> float | None:
    """Return a value as ``correct`` of a sample, None if it is outside 0..1."""
    return value if value is not None and 0 <= value <= 1 else None
