"""What a full log holds, as types to decode into; and the careful decoding of single values.

After ``bigbench.api.results`` (BIG-bench 1.0.0). Only what is wanted is named: the rest is passed
over.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

import msgspec

from bigbench_meta.readers.formats.json_window import REFUSED, decode, decode_quoting

__all__ = [
    "FIELDS",
    "Head",
    "Metrics",
    "Number",
    "Sample",
    "ValueFaultError",
    "decode_field",
    "decode_sample",
    "doubtful_queries",
    "doubtful_samples",
    "passed_list",
    "query_list",
    "sample_list",
]

# The texts are the literals of json.dump once they are in quotes, and Protobuf's JSON has them so.
Number = float | Literal["NaN", "Infinity", "-Infinity"]
Metrics = dict[str, Number | None]
_LITERALS: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_Shots = Annotated[int, msgspec.Meta(ge=-1, le=10**9)]
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class Sample(msgspec.Struct, gc=False):
    """One sample of any kind of query."""

    input: str
    targets: list[str] | dict[str, Metrics | None] | None = None
    output: str | None = None
    scores: list[Number] | None = None
    target_values: dict[str, Number | None] | None = None
    correct: Number | None = None
    metrics: Metrics | None = None


class _Query(msgspec.Struct, gc=False):
    function: str
    samples: list[Sample]
    shots: _Shots | None = None
    task: str | None = None


class _Passed(msgspec.Struct, gc=False):
    """A query of which nothing is wanted."""


class _Task(msgspec.Struct):
    task_name: _Name


class _Model(msgspec.Struct):
    model_family: _Name
    model_name: _Name


class Head(msgspec.Struct):
    """What is the same for all samples of a log."""

    task: _Task
    model: _Model


FIELDS: Final[dict[str, Any]] = {"function": str, "shots": _Shots | None, "task": str | None}
"""What is wanted of a query besides its samples."""

query_list = msgspec.json.Decoder(list[_Query])
passed_list = msgspec.json.Decoder(list[_Passed])
sample_list = msgspec.json.Decoder(list[Sample])
_sample = msgspec.json.Decoder(Sample)


class ValueFaultError(Exception):
    """A value cannot be used.

    Args:
        reason: What is wrong.
        path: Where in the value, such as ``.scores[1]``.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}")


def decode_sample(text: bytes) -> Sample:
    """Decode one sample.

    Raises:
        ValueFaultError: It is none.

    Examples:
        >>> decode_sample(b'{"input": "1 + 1 =", "scores": [-Infinity, "-1.5"]}')
        Traceback (most recent call last):
        ...
        bigbench_meta...ValueFaultError: .scores[1]: Invalid enum value '-1.5'
    """
    try:
        return decode(_sample, text)
    except REFUSED:
        quoted = decode_quoting(_sample, text)
    if quoted is not None and not doubtful_samples([quoted]):
        return quoted
    sample: Sample = decode_field(text, Sample)
    return sample


def doubtful_samples(samples: list[Sample]) -> bool:
    """Return whether a text may be a literal that was put in quotes, and so no text at all."""
    return any(
        sample.input in _LITERALS
        or sample.output in _LITERALS
        or not _LITERALS.isdisjoint(sample.targets or ())
        for sample in samples
    )


def doubtful_queries(queries: list[_Query]) -> bool:
    """Return the same of queries and their samples."""
    return any(
        query.function in _LITERALS or query.task in _LITERALS or doubtful_samples(query.samples)
        for query in queries
    )


def decode_field(text: bytes, type_: Any) -> Any:
    """Decode a value by the standard library, which takes more than others, and say why not.

    Raises:
        ValueFaultError: It is not of the type.
    """
    try:
        value = msgspec.convert(_named(json.loads(text.decode()), type_), type_)
        msgspec.json.encode(value)
    except msgspec.ValidationError as error:
        # The message ends in the place, as in: Expected `float`, got `str` - at `$.scores[1]`
        reason, _, path = str(error).partition(" - at `$")
        raise ValueFaultError(reason, path.rstrip("`")) from error
    except UnicodeEncodeError as error:
        raise ValueFaultError("a text with half of a surrogate pair") from error
    except json.JSONDecodeError as error:
        raise ValueFaultError(f"malformed JSON: {error.msg}") from error
    except ValueError as error:  # no UTF-8, or a whole number of thousands of digits
        raise ValueFaultError(f"not readable as JSON: {error}") from error
    except RecursionError as error:
        raise ValueFaultError("nested too deeply") from error
    return value


def _named(value: Any, type_: Any) -> Any:
    """Return a value with the members that a type names: any other key may be no UTF-8."""
    if not (
        isinstance(value, dict) and isinstance(type_, type) and issubclass(type_, msgspec.Struct)
    ):
        return value
    fields = msgspec.structs.fields(type_)
    return {each.name: _named(value[each.name], each.type) for each in fields if each.name in value}
