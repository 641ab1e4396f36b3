"""No file makes reading a scenario fail, or take long: whatever was done to its text, its bytes or its structure.

Either it is complained about at places that it has, or it is a scenario, which is written and read as itself.
"""

import copy
import json
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.scenario.script import MAX_BYTES, read, write
from sandbox.scenario.steps import Scenario
from tests.scenario.test_script_roundtrip import GOOD, SCENARIOS, VALIDATOR

HANGS_S = 10.0  # nobody would wait longer for a file to be read; it takes milliseconds

SNIPPETS = [
    *"\n\t :-,[]{}\"'#&*!|>%@`?=~0\0\x07\x85\u2028\ufeff\ud800₦👩",
    *(
        ": ",
        "- ",
        "  ",
        "---\n",
        "...\n",
        "<<: ",
        "*a",
        "&a ",
        "!!str ",
        "\\x00",
        "\\ud800",
        "\\UFFFFFFFF",
        "{a}",
        "{{",
    ),
    *("expect", "reply", "send", "fault", "handset", "rules:", "steps:", "when", "save", "text", "5s", "no", "null"),
    *(
        "[" * 30,
        "{a: " * 30,
        "- " * 30,
        "9" * 5000,
        "(a+)+$",
        "a{9999}",
        "%YAML 1.2\n",
        "%TAG ! a\n",
        "? ",
        "|\n",
        ">-\n",
    ),
]


# Files -------------------------------------------------------------------------------------------------------------


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A good file, changed in a few places."""
    source = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(source)))
        end = min(len(source), at + draw(st.integers(0, 12)))
        put = draw(st.sampled_from(SNIPPETS) | st.text(max_size=4) | st.just(source[at : at + 40]))
        source = source[:at] + put + source[end:]
    return source


@st.composite
def bytes_(draw: st.DrawFn) -> str:
    """A good file in which bytes were turned over, lost or doubled, as a program reads it that insists on nothing."""
    content = bytearray(draw(st.sampled_from(GOOD)).encode())
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                content[at] = draw(st.integers(0, 255))
            case 1:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                del content[at : at + draw(st.integers(1, 20))]
            case _:
                content[at:at] = content[at : at + draw(st.integers(1, 200))]
        if not content:
            return ""
    return bytes(content).decode("utf-8", draw(st.sampled_from(["surrogateescape", "replace", "ignore"])))


TREES = [yaml.load(each, yaml.BaseLoader) for each in GOOD]
LEAVES: st.SearchStrategy[Any] = (
    st.sampled_from(
        ["", "any", "same", "5s", "-1s", "9" * 30 + "h", "0", "1001", "true", "*", "[", "(a+)+$", "{x}", "{"]
    )
    | st.sampled_from(
        [None, True, -1, 10**30, 1.5, float("nan"), [], {}, [[]], {"text": "a"}, [{"reply": {"text": "a"}}]]
    )
    | st.text(max_size=20)
)
KEYS = st.sampled_from(
    [
        "scenario",
        "steps",
        "rules",
        "expect",
        "reply",
        "send",
        "fault",
        "handset",
        "when",
        "text",
        "pattern",
        "after",
        "to",
    ]
) | st.text(max_size=8)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every list and mapping in a tree, with each of its keys."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from places(tree[key])


@st.composite
def structures(draw: st.DrawFn) -> str:
    """A good file, of which parts were taken out, put elsewhere, renamed, nested, or replaced by something else."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    for _ in range(draw(st.integers(1, 4))):
        there = list(places(tree))
        if not there:
            break
        holder, key = draw(st.sampled_from(there))
        match draw(st.integers(0, 5)):
            case 0:
                del holder[key]
            case 1:
                holder[key] = copy.deepcopy(draw(LEAVES))
            case 2:
                other, its = draw(st.sampled_from(there))
                if its in other if isinstance(other, dict) else its < len(other):
                    holder[key] = copy.deepcopy(other[its])
            case 3:
                holder[key] = [holder[key]] * draw(st.integers(1, 3))
            case 4 if isinstance(holder, dict):
                holder[draw(KEYS)] = holder.pop(key)
            case _:
                for _ in range(draw(st.integers(1, 25))):
                    holder[key] = {draw(KEYS): holder[key]}
    if draw(st.booleans()):
        return json.dumps(tree)  # which is YAML as well
    written: str = yaml.safe_dump(tree, allow_unicode=draw(st.booleans()), default_flow_style=draw(st.booleans()))
    return written


FILES = (
    texts()
    | bytes_()
    | structures()
    | SCENARIOS.map(write)
    | st.text(max_size=100)
    | st.lists(st.sampled_from(SNIPPETS)).map("".join)
)


# What has to hold --------------------------------------------------------------------------------------------------


def hold(source: str) -> bool:
    """Any text is a scenario that can be written and read, or is complained about at places that it has. True if it is
    one."""
    begun = perf_counter()
    found = read(source)
    assert perf_counter() - begun < HANGS_S
    if isinstance(found, Scenario):
        assert read(write(found)) == found
        loader = yaml.CBaseLoader if hasattr(yaml, "CSafeLoader") else yaml.BaseLoader
        assert VALIDATOR.is_valid(yaml.load(source, loader))
        return True
    assert found
    lines = source.lstrip("\ufeff").split("\n")
    assert list(found) == sorted(found, key=lambda each: (each.line, each.column))
    for each in found:
        assert 1 <= each.column <= len(lines[each.line - 1]) + 1
        assert each.message.isprintable()
        assert len(each.message) < 1000
    return False


def play(most: int) -> tuple[int, int]:
    """Read so many files. How many there were, and how many of them were scenarios."""
    seen = [0, 0]

    @settings(
        max_examples=most,
        derandomize=most <= 1_000,  # on every push the same; else a failure prints how to see it again
        print_blob=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(FILES)
    def each(source: str) -> None:
        seen[hold(source)] += 1

    each()
    return sum(seen), seen[True]


@pytest.mark.proof("T8")
def test_no_file_makes_reading_fail(
    sized: Callable[[int, int], int], record_property: Callable[[str, object], None]
) -> None:
    files, good = play(sized(1_000, 100_000))
    record_property("figure", f"{files:,} files, {good:,} of them scenarios, 0 failures")


@pytest.mark.proof("T8")
def test_no_file_makes_reading_fail_where_libyaml_is_missing(
    sized: Callable[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    play(sized(200, 2_000))


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
BOMBS = {
    "a billion laughs": "a0: &a0 [lol]\n" + LAUGHS,
    "merged mappings": "a0: &a0 {a: b}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 5000)),
    "an anchor in itself": "steps: &a [*a]\n",
    "100,000 brackets": "[" * 100_000,
    "100,000 braces": "{a: " * 100_000,
    "100,000 dashes": "- " * 100_000,
    "100,000 question marks": "? " * 100_000,
    "100,000 documents": "---\n" * 100_000,
    "100,000 keys": "".join(f"key{n}: 1\n" for n in range(100_000)),
    "80,000 times the same key": "scenario: a\n" * 80_000,
    "40,000 steps": "scenario: a\nsteps:\n" + "  - expect: {text: a}\n" * 40_000,
    "100,000 quotes": "'" * 100_000,
    "a long indentation": " " * 100_000 + "a: 1",
    "an endless text": "scenario: a\ndescription: >\n" + "  a\n\n" * 100_000,
    "an endless escape": '"' + "\\u0041" * 100_000,
    "an endless tag": "!" + "a" * 500_000 + " b",
    "an endless anchor": "&" + "a" * 500_000 + " b",
    "endless comments": "# a\n" * 200_000,
    "10 MB": "scenario: a\n" * 900_000,
}


@pytest.mark.proof("T8")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_file_that_is_meant_to_do_harm_is_complained_about_at_once(bomb: str) -> None:
    assert not hold(bomb)
    assert len(read(bomb)) <= 101  # type: ignore[arg-type]


@pytest.mark.proof("T8")
def test_a_file_of_exactly_the_largest_size_is_read() -> None:
    good = GOOD[0].rstrip("\n") + "\n"
    filled = good + "#" * (MAX_BYTES - len(good.encode()))
    assert hold(filled)
    assert not hold(filled + "#")
