"""Patterns of users, which end in time."""

from __future__ import annotations

import pickle
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigbench_meta.core.errors import PatternError, SchemaError
from bigbench_meta.core.patterns import TimedPattern

PATTERNS = ["a+", "(a|b)*c?", r"(?P<size>\d+)m", r"(?i)A.c", r"^a|b$", r"(?!ab)[a-c]{2}", r"(.)\1"]


@given(st.sampled_from(PATTERNS), st.text("abc1m", max_size=8))
def test_a_timed_pattern_matches_as_re_does(pattern, text):
    timed, plain = TimedPattern(pattern, where="x"), re.compile(pattern)
    for ours, theirs in ((timed.fullmatch, plain.fullmatch), (timed.search, plain.search)):
        found, expected = ours(text), theirs(text)
        assert (found and (found.span(), found.groups())) == (
            expected and (expected.span(), expected.groups())
        )
    assert timed.remove(text) == plain.sub("", text)
    assert (timed.groups, dict(timed.groupindex)) == (plain.groups, dict(plain.groupindex))


@pytest.mark.parametrize("method", ["fullmatch", "search", "remove"])
def test_none_can_hang(method):
    pattern = TimedPattern("(x|xx)+y", where="my.csv, line 7")
    started = time.process_time()
    with pytest.raises(PatternError, match="takes too long on 'xxxx") as caught:
        getattr(pattern, method)("x" * 500)
    assert time.process_time() - started < 5
    assert caught.value.where == "my.csv, line 7"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_many_quick_matches_are_no_slow_one():
    pattern = TimedPattern("[a-z]+-(?P<size>[0-9]+m)", where="x")
    assert all(pattern.fullmatch(f"owl-{number}m") for number in range(300_000))


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("(", "bad regular expression '\\(': missing"), ("a" * 10_001, "more than 10000 characters"),
     (r"\p{L}", "bad escape"), ("(" * 2000 + ")" * 2000, "bad regular expression")],
)  # fmt: skip
def test_what_is_no_pattern(pattern, reason):
    with pytest.raises(SchemaError, match=reason):
        TimedPattern(pattern, where="x")
