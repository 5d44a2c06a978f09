r"""Task files for lm-evaluation-harness: the arithmetic questions of the paper's section 3.

The paper asked GPT-3 for products of two 2-digit and sums of two 4-digit numbers, with two solved
examples in the prompt, and sorted the answers by the length of the right one. Here:

- Operands are whole numbers from 0 to 10^d - 1, each equally likely, as in GPT-3's own test (Brown
  et al. 2020, section 3.9.1), whose wording the prompt has. A token is a digit.
- A question is an ordered pair: 3 + 4 and 4 + 3 are two. The few-shot examples are drawn first,
  and neither order of their operands is ever asked.
- Each length of the right answer is a stratum and a task of its own. Its questions are a simple
  random sample, without replacement, of its held-out pairs, or all of them where there are no more
  than asked for.

The pairs of a stratum are never listed. Sum and product do not fall as the second operand grows,
so for each first operand the second ones with an answer of the given length are an interval; their
numbers give the size of the stratum, and a pair by its place in it.

References:
    Schaeffer, Miranda & Koyejo (2023), arXiv 2304.15004, section 3.
    Brown et al. (2020), arXiv 2005.14165, section 3.9.1.
    Gao et al., The Language Model Evaluation Harness, https://zenodo.org/records/12608602.
"""

from __future__ import annotations

import json
import operator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bigbench_meta.core.checks import seed_number, whole
from bigbench_meta.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Ints = NDArray[np.int64]
    Pair = tuple[int, int]

__all__ = [
    "ADDITION",
    "DEFAULT_QUESTIONS",
    "GROUP",
    "MAX_QUESTIONS",
    "MULTIPLICATION",
    "SHOTS",
    "LmEvalTasks",
    "Operation",
    "Stratum",
    "TaskSize",
    "draw_questions",
    "draw_shots",
    "lm_eval_tasks",
]

GROUP: Final = "schaeffer2023_section3"
"""Name of the group of all tasks, for ``lm_eval --tasks``."""

SHOTS: Final = 2
"""Solved examples in a prompt, as in the paper."""

DEFAULT_QUESTIONS: Final = 1000
"""Questions for each length of the answer. Ours: with 95% probability, a model that can answer 0.3%
of the questions is seen to answer one."""

MAX_QUESTIONS: Final = 100_000
"""Most questions for each length of the answer."""

# Of the prompt, the sampling and the scoring below, for the harness's own reports.
_VERSION: Final = "1.0"
# An answer has five digits at most; what follows it on the same line makes it wrong.
_MAX_TOKENS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An arithmetic operation on two operands with a maximum number of digits.

    Attributes:
        name: What it is called.
        word: What stands between the operands of a question.
        digits: Digits d of an operand, which is one of 0 to 10^d - 1.
        apply: The operation; it does not fall as either operand grows, and their order does not
            matter.
        partners: For all first operands, and the least and the greatest answer, the least and the
            greatest second operand; they may lie outside the range of operands.
    """

    name: str
    word: str
    digits: int
    apply: Callable[[int, int], int]
    partners: Callable[[Ints, int, int], tuple[Ints, Ints]]

    @property
    def group(self) -> str:
        """Name of the group of its tasks."""
        return f"schaeffer2023_{self.digits}_digit_{self.name}"

    @property
    def lengths(self) -> range:
        """Lengths of the answers, in digits."""
        largest = 10**self.digits - 1
        return range(1, len(str(self.apply(largest, largest))) + 1)


def _terms(first: Ints, least: int, greatest: int) -> tuple[Ints, Ints]:
    return least - first, greatest - first


def _factors(first: Ints, least: int, greatest: int) -> tuple[Ints, Ints]:
    divisor = np.maximum(first, 1)
    # Zero times anything is zero: every second operand, or none.
    of_zero = np.iinfo(np.int64).max if least == 0 else -1
    return -(-least // divisor), np.where(first == 0, of_zero, greatest // divisor)


MULTIPLICATION: Final = Operation(
    name="multiplication", word="times", digits=2, apply=operator.mul, partners=_factors
)
ADDITION: Final = Operation(
    name="addition", word="plus", digits=4, apply=operator.add, partners=_terms
)


class Stratum:
    """The ordered pairs of operands whose answer has one length, without a list of them.

    Args:
        operation: The operation.
        length: Digits of the answer, from 1 on; 0 has one.

    Attributes:
        n_pairs: Ordered pairs: questions.
        n_unordered_pairs: Unordered pairs.

    Examples:
        >>> sums = Stratum(ADDITION, 1)
        >>> sums.n_pairs, sums.n_unordered_pairs
        (55, 30)
        >>> sums.pairs([0, 1, 54])
        [(0, 0), (0, 1), (9, 0)]
    """

    def __init__(self, operation: Operation, length: int) -> None:
        self.operation = operation
        self.length = length
        operands = np.arange(10**operation.digits)
        least = 0 if length == 1 else 10 ** (length - 1)
        low, high = operation.partners(operands, least, 10**length - 1)
        self._low = np.maximum(low, 0)
        counts = np.maximum(np.minimum(high, operands[-1]) - self._low + 1, 0)
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self.n_pairs = int(self._ends[-1])
        n_equal = int(((self._low <= operands) & (operands < self._low + counts)).sum())
        self.n_unordered_pairs = (self.n_pairs + n_equal) // 2

    def pairs(self, places: ArrayLike) -> list[Pair]:
        """Return the pairs at the given places, in order of first and then second operand.

        Args:
            places: Whole numbers from 0 to ``n_pairs`` - 1, shape (k,).
        """
        at = np.asarray(places, dtype=np.int64)
        first = np.searchsorted(self._ends, at, side="right")
        second = self._low[first] + at - self._starts[first]
        return list(zip(first.tolist(), second.tolist(), strict=True))

    def __contains__(self, pair: Pair) -> bool:
        """Return whether the answer of a pair of operands has this length."""
        return len(str(self.operation.apply(*pair))) == self.length


def draw_shots(operation: Operation, *, seed: int = 0) -> list[Pair]:
    """Draw the operands of the few-shot examples: all pairs equally likely, no two alike.

    Args:
        operation: The operation.
        seed: Seed; each operation has a stream of its own.

    Returns:
        As many pairs as a prompt has examples, no two of them equal in either order.

    Examples:
        >>> draw_shots(MULTIPLICATION)
        [(22, 56), (53, 99)]
    """
    rng = _stream(seed, operation, 0)
    drawn: dict[Pair, Pair] = {}
    while len(drawn) < SHOTS:
        a, b = rng.integers(0, 10**operation.digits, size=2).tolist()
        drawn.setdefault((min(a, b), max(a, b)), (a, b))
    return list(drawn.values())


def draw_questions(stratum: Stratum, *, n: int = DEFAULT_QUESTIONS, seed: int = 0) -> list[Pair]:
    """Draw questions of one length of the answer: a simple random sample without replacement.

    Args:
        stratum: The pairs to draw from; those of the few-shot examples of the same seed are held
            back, in both orders.
        n: Questions to draw, 1 to 100,000.
        seed: Seed; each length of each operation has a stream of its own.

    Returns:
        ``n`` pairs in random order, or all that there are.

    Raises:
        InputError: ``n`` is out of its range.

    Examples:
        >>> len(draw_questions(Stratum(MULTIPLICATION, 1), n=1000))
        222
    """
    asked = int(whole(n, 1, "n"))
    if asked > MAX_QUESTIONS:
        raise InputError(f"{asked} questions are more than {MAX_QUESTIONS:,}", where="n")
    shots = _held_back(stratum, seed)
    size = min(asked + len(shots), stratum.n_pairs)
    rng = _stream(seed, stratum.operation, stratum.length)
    drawn = stratum.pairs(rng.choice(stratum.n_pairs, size=size, replace=False))
    return [pair for pair in drawn if pair not in shots][:asked]


def _held_back(stratum: Stratum, seed: int) -> set[Pair]:
    """Return the few-shot examples that belong to a stratum, in both orders."""
    shots = draw_shots(stratum.operation, seed=seed)
    return {pair for a, b in shots for pair in ((a, b), (b, a)) if pair in stratum}


def _stream(seed: int, operation: Operation, number: int) -> np.random.Generator:
    name = int.from_bytes(operation.group.encode())
    return np.random.default_rng(np.random.SeedSequence([seed_number(seed), name, number]))


@dataclass(frozen=True, kw_only=True)
class TaskSize:
    """How many questions a task asks, and how many are possible.

    Attributes:
        task: Name of the task.
        group: Name of the group that it belongs to.
        operation: The operation.
        digits: Digits of an operand, at most.
        length: Digits of the right answer.
        n_unordered_pairs: Pairs of operands with an answer of this length, in one order.
        n_pairs: The same in both orders: possible questions.
        n_held_out: Possible questions without those of the few-shot examples.
        n_questions: Questions asked.
    """

    task: str
    group: str
    operation: str
    digits: int
    length: int
    n_unordered_pairs: int
    n_pairs: int
    n_held_out: int
    n_questions: int


@dataclass(frozen=True, kw_only=True)
class LmEvalTasks:
    """Tasks for lm-evaluation-harness.

    Attributes:
        sizes: The tasks, each with its questions and the population that they are drawn from.
        files: Content of each file, by its path within the folder of the tasks.
    """

    sizes: list[TaskSize]
    files: dict[str, str]


def lm_eval_tasks(*, n: int = DEFAULT_QUESTIONS, seed: int = 0) -> LmEvalTasks:
    """Return section 3 of the paper as tasks for lm-evaluation-harness 0.4.

    Args:
        n: Questions for each length of the answer, 1 to 100,000; all where there are fewer.
        seed: Seed of the few-shot examples and the questions.

    Returns:
        One task for each operation and length of the answer, a group with an accuracy for each
        operation, and a group of all. The files are one YAML file for each task and group, one
        JSONL file of questions for each task, the function that the harness reads these with
        wherever the folder is, and a README that says how to run them.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> tasks = lm_eval_tasks(n=100)
        >>> [size.n_questions for size in tasks.sizes]
        [100, 100, 100, 100, 55, 100, 100, 100, 100]
        >>> print(tasks.files["schaeffer2023_4_digit_addition_length_1.jsonl"].splitlines()[0])
        {"id": "1 plus 1", "operands": [1, 1], "length": 1, "answer": "2"}
    """
    sizes, files = [], {}
    for operation in (MULTIPLICATION, ADDITION):
        for length in operation.lengths:
            stratum = Stratum(operation, length)
            questions = draw_questions(stratum, n=n, seed=seed)
            size = TaskSize(
                task=f"{operation.group}_length_{length}",
                group=operation.group,
                operation=operation.name,
                digits=operation.digits,
                length=length,
                n_unordered_pairs=stratum.n_unordered_pairs,
                n_pairs=stratum.n_pairs,
                n_held_out=stratum.n_pairs - len(_held_back(stratum, seed)),
                n_questions=len(questions),
            )
            sizes.append(size)
            files[f"{size.task}.yaml"] = _task_file(size, operation, seed)
            files[f"{size.task}.jsonl"] = "".join(
                json.dumps(_question(operation, pair)) + "\n" for pair in questions
            )
        members = [size.task for size in sizes if size.group == operation.group]
        files[f"{operation.group}.yaml"] = _group_file(operation.group, members) + _AGGREGATE
    groups = list(dict.fromkeys(size.group for size in sizes))
    files[f"{GROUP}.yaml"] = _group_file(GROUP, groups)
    files["questions.py"] = _LOADER
    files["README.md"] = _readme(sizes, n, seed)
    return LmEvalTasks(sizes=sizes, files=files)


def _question(operation: Operation, pair: Pair) -> dict[str, Any]:
    a, b = pair
    answer = str(operation.apply(a, b))
    return {
        "id": f"{a} {operation.word} {b}",
        "operands": [a, b],
        "length": len(answer),
        "answer": answer,
    }


_LOADER = '''\
"""How lm-evaluation-harness reads the questions: from the folder of this file."""

import json
from pathlib import Path

import datasets


def load(file, **_):
    """Return the questions in a JSONL file as the test split."""
    lines = Path(__file__).with_name(file).read_text("utf-8").splitlines()
    return {"test": datasets.Dataset.from_list([json.loads(line) for line in lines])}
'''


def _task_file(size: TaskSize, operation: Operation, seed: int) -> str:
    shots = [_question(operation, pair) for pair in draw_shots(operation, seed=seed)]
    # JSON is YAML, and says without doubt what is text and what is a number.
    samples = "\n".join(f"    - {json.dumps(shot)}" for shot in shots)
    metadata = "\n".join(
        f"  {name}: {json.dumps(value)}"
        for name, value in (asdict(size) | {"seed": seed}).items()
        if name not in {"task", "group"}
    )
    return f"""\
task: {size.task}
custom_dataset: !function questions.load
dataset_kwargs:
  file: {size.task}.jsonl
test_split: test
output_type: generate_until
doc_to_text: "Q: What is {{{{operands[0]}}}} {operation.word} {{{{operands[1]}}}}?\\nA:"
doc_to_target: "{{{{answer}}}}"
target_delimiter: " "
fewshot_delimiter: "\\n\\n"
num_fewshot: {SHOTS}
fewshot_config:
  sampler: first_n
  samples:
{samples}
generation_kwargs:
  until: ["\\n"]
  do_sample: false
  temperature: 0.0
  max_gen_toks: {_MAX_TOKENS}
filter_list:
  - name: strip
    filter:
      - function: remove_whitespace
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: {_VERSION}
{metadata}
"""


_AGGREGATE = """\
aggregate_metric_list:
  - metric: exact_match
    filter_list: [strip]
    aggregation: mean
    weight_by_size: true
"""


def _group_file(name: str, members: list[str]) -> str:
    listed = "\n".join(f"  - {member}" for member in members)
    return f"group: {name}\ntask:\n{listed}\nmetadata:\n  version: {_VERSION}\n"


def _readme(sizes: list[TaskSize], n: int, seed: int) -> str:
    rows = "\n".join(
        f"| {size.task} | {size.n_unordered_pairs:,} | {size.n_pairs:,} | {size.n_held_out:,} "
        f"| {size.n_questions:,} | {'all' if size.n_questions == size.n_held_out else 'sample'} |"
        for size in sizes
    )
    shots = "\n\n".join(
        f"Q: What is {a} times {b}?\nA: {a * b}" for a, b in draw_shots(MULTIPLICATION, seed=seed)
    )
    run = f"lm_eval --include_path . --tasks {GROUP} --log_samples --output_path results"
    return f"""\
# Arithmetic by length of the answer, for lm-evaluation-harness

{SHOTS}-shot products of 2-digit and sums of 4-digit numbers: the tasks of section 3 of Schaeffer,
Miranda & Koyejo (2023, arXiv 2304.15004). Made by
`bigbench-meta generate lm-eval-tasks --n {n} --seed {seed}` and tested with lm-evaluation-harness
0.4.13. The folder can be moved.

## Run
```sh
pip install 'lm-eval[hf]'  # or lm-eval[vllm], or lm-eval[api] for endpoints

{run} \\
  --model hf --model_args pretrained=EleutherAI/pythia-70m --batch_size auto

{run} \\
  --model vllm --model_args pretrained=EleutherAI/pythia-70m --batch_size auto

# Any server with OpenAI's completions endpoint; its key, if it wants one, in OPENAI_API_KEY.
URL=http://localhost:8000/v1/completions
{run} \\
  --model local-completions \\
  --model_args model=NAME,base_url=$URL,tokenizer_backend=None,num_concurrent=8
```
Run every size of a family with the same settings, into the same `--output_path`. Then:
```sh
bigbench-meta ingest results --store store --samples
```
`--limit 100` asks the first 100 questions of each task; they are in random order. After making the
tasks again with another seed or n, do not use `--cache_requests`: the harness would ask the old
questions.

## Questions
| task | unordered pairs | possible questions | held out | asked | |
|---|--:|--:|--:|--:|---|
{rows}

- Operands are whole numbers from 0 to 99 (products) or 9,999 (sums). A question is an ordered pair:
  3 plus 4 and 4 plus 3 are two.
- The few-shot examples are the same in all prompts of an operation, drawn from all pairs. Neither
  order of their operands is asked; "held out" counts what remains.
- The questions of a task are a simple random sample, without replacement, of those held out, or all
  of them. If all are asked, the choice of questions adds no sampling error to the accuracy. If a
  share f is asked, the standard error that the harness gives is too large by the factor
  1/sqrt(1 - f).
- Lengths are not asked in the proportions in which they occur. The accuracy of a group is the mean
  over its questions, not that of operands drawn at random.
- The seed is {seed}. Another one gives other examples and other questions.

A prompt of multiplication:
```text
{shots}

Q: What is 3 times 4?
A:
```
The answer is generated greedily up to the end of the line, at most {_MAX_TOKENS} tokens. White
space around it is removed, and it must equal the right one (`exact_match`). Each question has an
`id`, its `operands`, the `length` of the right answer in digits, and the `answer`; the sample logs
repeat them under `doc`.
"""
