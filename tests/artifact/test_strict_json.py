"""JSON that kills or misleads lenient parsers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact.strict_json import StrictJsonError, loads

WITHOUT_FRACTIONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(alphabet='ab"\\[]{}é\n')),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text('a"\\['), inner)),
)


@given(WITHOUT_FRACTIONS, st.integers(0, 2))
def test_value_is_read_as_it_was_written(value: object, indent: int) -> None:
    assert loads(json.dumps(value, indent=indent or None).encode()) == value


@pytest.mark.parametrize("text", ['"[[[[{{{{"', '"\\"[["', '"\\\\"', '"\\\\\\"["', '"]}"'])
def test_brackets_in_many_strings_are_not_nesting(text: str) -> None:
    assert loads(f"[{','.join([text] * 500)}]".encode()) == [json.loads(text)] * 500


def test_long_flat_lists_are_read() -> None:
    assert loads(b"[" + b"[[]]," * 100_000 + b"[]]") == [[[]]] * 100_000 + [[]]


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[[]," * 100_000,
        b'["\\\\",' * 100_000,
        b'["\\"",' * 100_000,
    ],
    ids=["open", "balanced", "objects", "with siblings", "with backslashes", "with quotes"],
)
def test_deep_nesting_is_refused_even_without_a_recursion_limit(text: bytes) -> None:
    program = (
        "import sys; sys.setrecursionlimit(10**9)\n"
        "from ml.artifact.strict_json import StrictJsonError, loads\n"
        "try: loads(sys.stdin.buffer.read())\n"
        "except StrictJsonError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=text,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, b"its JSON is nested too deeply\n")


@pytest.mark.parametrize("value", [b"[]", b"{}", b"[[[]]]"])
def test_values_that_take_much_more_memory_than_the_text_are_refused(value: bytes) -> None:
    with pytest.raises(StrictJsonError, match="too many lists or objects for its size"):
        loads(b"[" + b",".join([value] * 1_000_001) + b"]")


def test_deep_caller_gets_our_own_error() -> None:
    def call(depth: int) -> object:
        return call(depth - 1) if depth else loads(b"[" * 150 + b"]" * 150)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(stack_depth() + 200)
    try:
        with pytest.raises(StrictJsonError, match="nested too deeply"):
            call(100)
    finally:
        sys.setrecursionlimit(limit)


def stack_depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
