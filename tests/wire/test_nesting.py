"""How deep JSON is, by its text: brackets count, and none within a string."""

import json

import pytest

from sandbox.wire.nesting import MAX_DEPTH, too_deep

DEEP = "[" * MAX_DEPTH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]" * 1000,
        DEEP + "]" * MAX_DEPTH,
        '{"a":' * MAX_DEPTH,
        f"{DEEP}{'], [' * 1000}",
        json.dumps(["[" * 1000, "{" * 1000]),
        json.dumps(['"' + "[" * 1000, "\\" + "[" * 1000, "[" * 1000 + "\\"]),
        '["' + "[" * 1000,
    ],
)
def test_32_levels_are_not_too_deep(text: str) -> None:
    assert not too_deep(text)


@pytest.mark.parametrize(
    "text",
    [
        DEEP + "[",
        DEEP + "{",
        '{"a":' * MAX_DEPTH + "[",
        f'{DEEP}"]", [',
        f'{DEEP}"\\"]", [',
        f'{DEEP}"\\\\", [',
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_a_33rd_level_is_too_deep(text: str) -> None:
    assert too_deep(text)
