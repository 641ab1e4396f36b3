"""Nesting depth of JSON, counted in its text, because the depth that a parser can take depends on Python's version."""

import re

MAX_DEPTH = 32  # arrays and objects in each other [S]

# A bracket, or a string, whose brackets do not count.
_MARK = re.compile(r'[\[\]{}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def too_deep(text: str) -> bool:
    """Whether JSON, or the beginning of it, nests arrays and objects more than `MAX_DEPTH` deep."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for found in _MARK.finditer(text):
        mark = text[found.start()]
        depth += 1 if mark in "[{" else -1 if mark in "]}" else 0
        if depth > MAX_DEPTH:
            return True
    return False
