"""The time, and waiting for it. This is the only file that looks at the system's clock or sleeps on it.

Times are integer milliseconds since 1970 in UTC (`_ms`). Durations of real work (how long an answer took) are measured
with `stopwatch`, which no virtual clock touches.

A test may stop the time of its process, by freezegun, time-machine or a patch. That is the application's time, and none
of the sandbox's, which serves in a thread of the same process.
"""

import asyncio
import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import time
else:  # a `time` of our own, so that what a test puts in place of the functions of everybody's is not called here
    _spec = importlib.util.find_spec("time")
    time = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(time)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LAST_MS = 253_402_300_799_999
"""The end of the year 9999: ISO 8601 and Python know no later moment without an agreement."""

JUMP_MS = 1000
"""The system's clock is followed when it is off by this much: somebody set it, or the machine slept."""
LOOK_S = 1.0
"""Real seconds after which a running clock is looked at again, in case the system's has jumped."""

stopwatch = time.perf_counter
"""Real seconds as a float, for durations only."""


def _time_ns() -> int:
    """Nanoseconds since 1970. time-machine changes what the functions themselves do, and offers a way around that."""
    time_machine: Any = sys.modules.get("time_machine")
    if time_machine is not None:
        try:
            return int(time_machine.escape_hatch.time.time_ns())
        except (AttributeError, ValueError):  # it is being imported, or nobody travels
            pass
    return time.time_ns()


def event_loop() -> asyncio.AbstractEventLoop:
    """An event loop of asyncio's own, whose timers are in real seconds; it would ask everybody's `time.monotonic`."""
    loop = asyncio.new_event_loop()
    loop.time = time.monotonic  # type: ignore[method-assign]
    return loop


class Clock:
    """A clock that runs with the system's, or stands still until it is moved.

    `Clock.system()` runs; `Clock.virtual()` is frozen from the start. Either may be frozen, moved on and resumed at run
    time; it goes back only by `shift` and `reset`.

    A running clock counts with the machine's monotonic clock, so that what is waited for keeps its distance when the
    system's clock is set or the machine sleeps. It follows such a jump (`jump_ms`) by `shift`, together with everything
    that is planned: see `Scheduler.shift`.
    """

    def __init__(self, *, frozen: bool) -> None:
        self._base_ms = self.system_ms() - self._monotonic_ms()
        self._ahead_ms = 0
        self._frozen_at_ms: int | None = self.system_ms() if frozen else None

    @classmethod
    def system(cls) -> "Clock":
        return cls(frozen=False)

    @classmethod
    def virtual(cls) -> "Clock":
        return cls(frozen=True)

    @staticmethod
    def system_ms() -> int:
        """The system's time."""
        return _time_ns() // 1_000_000

    @staticmethod
    def _monotonic_ms() -> int:
        return time.monotonic_ns() // 1_000_000

    @property
    def frozen(self) -> bool:
        return self._frozen_at_ms is not None

    @property
    def ahead_ms(self) -> int:
        """How far this clock is ahead of the system's; negative when it is behind."""
        return self.now_ms() - self.system_ms()

    def now_ms(self) -> int:
        if self._frozen_at_ms is not None:
            return self._frozen_at_ms
        return self._base_ms + self._monotonic_ms() + self._ahead_ms

    def freeze(self) -> None:
        """Stand still at the present moment; a frozen clock stays as it is."""
        self._frozen_at_ms = self.now_ms()

    def resume(self) -> None:
        """Run on from the present moment; a running clock stays as it is."""
        if self._frozen_at_ms is not None:
            self._ahead_ms = self.ahead_ms
            self._base_ms = self.system_ms() - self._monotonic_ms()
            self._frozen_at_ms = None

    def move_to(self, at_ms: int) -> None:
        """Jump forward to `at_ms`; a moment that has passed changes nothing."""
        now = self.now_ms()
        if at_ms <= now:
            return
        if self._frozen_at_ms is not None:
            self._frozen_at_ms = at_ms
        else:
            self._ahead_ms += at_ms - now

    def jump_ms(self) -> int:
        """How far the system's clock has jumped since a running clock last followed it; 0 if by less than `JUMP_MS`."""
        if self._frozen_at_ms is not None:
            return 0
        off = self.system_ms() - self._monotonic_ms() - self._base_ms
        return off if abs(off) >= JUMP_MS else 0

    def follow(self, by_ms: int) -> None:
        """Go along with a jump of the system's clock."""
        self._base_ms += by_ms

    def reset(self) -> None:
        """Show the system's time, wherever this clock was; a frozen one stands there. What was planned by another time
        has to be forgotten or moved along."""
        self._base_ms = self.system_ms() - self._monotonic_ms()
        self._ahead_ms = 0
        if self._frozen_at_ms is not None:
            self._frozen_at_ms = self.system_ms()

    async def wait(self, woken: asyncio.Event, until_ms: int | None) -> None:
        """Return when `woken` is set, or when this clock reaches `until_ms` (never, if None or frozen before it). While
        the clock runs, return after `LOOK_S` in any case, to look for a jump."""
        if self.frozen and (until_ms is None or until_ms > self.now_ms()):
            await woken.wait()
            return
        seconds = LOOK_S if until_ms is None else min(LOOK_S, (until_ms - self.now_ms()) / 1000)
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass

    @staticmethod
    async def pause(seconds: float) -> None:
        """Let real time pass, whatever the clock: for trying again what the machine itself refused."""
        await asyncio.sleep(seconds)


def to_iso(at_ms: int) -> str:
    """`2024-01-02T23:50:37.000000Z`: UTC, ISO 8601, six fractional digits, `Z` [D].

    >>> to_iso(1704239437000)
    '2024-01-02T23:50:37.000000Z'
    """
    return us_to_iso(at_ms * 1000)


def us_to_iso(at_us: int) -> str:
    """The same of microseconds since 1970.

    >>> us_to_iso(1704239437000001)
    '2024-01-02T23:50:37.000001Z'
    """
    return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
