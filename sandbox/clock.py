"""The time, and waiting for it. This is the only file that looks at the system's clock or sleeps on it.

Times are integer milliseconds since 1970 in UTC (`_ms`). Durations of real work (how long an answer took) are measured
with `stopwatch`, which no virtual clock touches.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LAST_MS = 253_402_300_799_999
"""The end of the year 9999: ISO 8601 and Python know no later moment without an agreement."""

stopwatch = time.perf_counter
"""Real seconds as a float, for durations only."""


class Clock:
    """A clock that runs with the system's, or stands still until it is moved.

    `Clock.system()` runs; `Clock.virtual()` is frozen from the start. Either may be frozen, moved on and resumed at run
    time; time never goes back but by `reset`.
    """

    def __init__(self, *, frozen: bool) -> None:
        self._ahead_ms = 0
        self._frozen_at_ms: int | None = self._real_ms() if frozen else None

    @classmethod
    def system(cls) -> "Clock":
        return cls(frozen=False)

    @classmethod
    def virtual(cls) -> "Clock":
        return cls(frozen=True)

    @staticmethod
    def _real_ms() -> int:
        return time.time_ns() // 1_000_000

    @property
    def frozen(self) -> bool:
        return self._frozen_at_ms is not None

    @property
    def ahead_ms(self) -> int:
        """How far this clock is ahead of the system's."""
        return self.now_ms() - self._real_ms()

    def now_ms(self) -> int:
        if self._frozen_at_ms is not None:
            return self._frozen_at_ms
        return self._real_ms() + self._ahead_ms

    def freeze(self) -> None:
        """Stand still at the present moment; a frozen clock stays as it is."""
        self._frozen_at_ms = self.now_ms()

    def resume(self) -> None:
        """Run on from the present moment; a running clock stays as it is."""
        if self._frozen_at_ms is not None:
            self._ahead_ms = self._frozen_at_ms - self._real_ms()
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

    def reset(self) -> None:
        """Back to the system's time, for when nothing is left that remembers another; a frozen clock stands there."""
        self._ahead_ms = 0
        if self._frozen_at_ms is not None:
            self._frozen_at_ms = self._real_ms()

    async def wait(self, woken: asyncio.Event, until_ms: int | None) -> None:
        """Return when `woken` is set, or when this clock reaches `until_ms` (never, if None or frozen before it)."""
        if until_ms is None or (self.frozen and until_ms > self.now_ms()):
            await woken.wait()
            return
        seconds = (until_ms - self.now_ms()) / 1000
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
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
