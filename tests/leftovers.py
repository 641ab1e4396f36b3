"""What is open in this process: threads and descriptors, beyond what lasts for the whole run.

tests/conftest.py looks after every module whether its tests left anything behind; nothing in here is a test.
"""

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from sandbox.http import server as http_server

_DESCRIPTORS = Path("/proc/self/fd")
_OF_LOOPS = ("asyncio_", "uvloop_", "Trio thread")  # threads that an event loop keeps for what blocks
_MOST_OF_LOOPS = 32


def descriptors() -> int:
    """How many descriptors this process has open; 0 where nobody can tell."""
    return len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else 0


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


class Leftovers:
    """Knows what was open when a module's tests began. A plugin, so that it hears of the fixtures of the whole run."""

    def __init__(self) -> None:
        http_server.loop_factory()().close()  # the first one opens what the process keeps
        self.begin()

    def begin(self) -> None:
        self._threads, self._descriptors = threads(), descriptors()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: "pytest.FixtureDef[Any]") -> Iterator[Any]:
        """What a fixture of the whole run opens is no module's."""
        if fixturedef.scope not in ("session", "package"):
            return (yield)
        before = threads(), descriptors()
        try:
            return (yield)
        finally:
            self._threads |= threads() - before[0]
            self._descriptors += descriptors() - before[1]

    def left(self) -> str:
        """What is open beyond that, in words; empty if nothing is."""
        new = threads() - self._threads
        named = sorted(each.name for each in new if not each.name.startswith(_OF_LOOPS))
        more = descriptors() - self._descriptors
        if not named and more <= 0 and len(new) <= _MOST_OF_LOOPS:
            return ""
        return f"threads {named}, {max(0, more)} descriptors"

    def still_left(self) -> str:
        """The same, when what closes a moment later is closed, and what nobody holds any more is gone."""
        until = monotonic() + 2.0
        if self.left():
            gc.collect()
        while (left := self.left()) and monotonic() < until:
            sleep(0.005)
        return left
