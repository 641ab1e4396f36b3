"""Everything that is due later: timers taken from the store when their moment comes, in real or in virtual time.

A timer's handler runs inside the transaction that removes the timer; the job that it returns, if any, runs after the
commit. What the timers mean is known to the handlers alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from sandbox.clock import Clock
from sandbox.errors import StorageError
from sandbox.model import Timer, TimerKind
from sandbox.store import outbox
from sandbox.store.database import Database, Due, Tx

FOLLOW_UPS = 256
"""Timers beyond those that were due when a moment began, after which it is over all the same: others may be busy."""

Job = Callable[[], Awaitable[None]]
Handler = Callable[[Tx, Timer], Job | None]

log = logging.getLogger(__name__)


class _Lane:
    """Timers that share a limit: how many of them run, when the next is due, and how fast they may start."""

    __slots__ = ("due_ms", "not_before_ms", "per_second", "running")

    def __init__(self) -> None:
        self.due_ms: int | None = None
        self.not_before_ms = 0
        self.per_second: float | None = None
        self.running = 0

    @property
    def next_ms(self) -> int | None:
        """When the next timer may start."""
        return None if self.due_ms is None else max(self.due_ms, self.not_before_ms)


class Scheduler:
    """Runs timers when they are due: at most `concurrency` jobs at once, `per_lane` of them in one lane."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        concurrency: int = 32,
        per_lane: int = 4,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handlers: dict[TimerKind, Handler] = {}
        self._concurrency = concurrency
        self._per_lane = per_lane
        self._lanes: dict[str, _Lane] = {}
        self._begun = 0  # timers taken so far, each with its number
        self._running: dict[int, str] = {}  # number of the timer -> account, of the jobs under way
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._step = asyncio.Event()  # set, and replaced by another, whenever a job ends or there is nothing to do
        self._advancing = asyncio.Lock()
        self._stopping = False

    def on(self, kind: TimerKind, handler: Handler) -> None:
        """Say what carries out the timers of a kind."""
        self._handlers[kind] = handler

    def added(self, due: Sequence[Due]) -> None:
        """Hear of committed timers. The database calls this in the order of its commits."""
        for each in due:
            lane = self._lane(each.lane)
            if each.exact or (each.due_ms is not None and (lane.due_ms is None or each.due_ms < lane.due_ms)):
                lane.due_ms = each.due_ms
        self.wake()

    def wake(self) -> None:
        """Look at the lanes again: a timer came, the clock was moved, or a job ended."""
        self._idle.clear()
        self._woken.set()

    def pace(self, lane: str, change: Callable[[float | None], float | None]) -> None:
        """Set how many timers of a lane may start in a second, from how many it was; None means as many as come."""
        it = self._lane(lane)
        before, it.per_second = it.per_second, change(it.per_second)
        if it.per_second is None:
            it.not_before_ms = 0
        elif it.per_second != before:
            it.not_before_ms = max(it.not_before_ms, self._clock.now_ms() + round(1000 / it.per_second))

    def forget_pace(self) -> None:
        """Hold no lane back any more, for a clock that went back to before the moments until which they were held."""
        for lane in self._lanes.values():
            lane.per_second = None
            lane.not_before_ms = 0
        self.wake()

    def starts_ms(self, lane: str, due_ms: int) -> int:
        """When a timer of the lane may start: when it is due, or when the lane's pace allows it."""
        return max(due_ms, self._lanes[lane].not_before_ms) if lane in self._lanes else due_ms

    def busy(self, account: str) -> bool:
        """Whether a job of the account is under way."""
        return account in self._running.values()

    async def run(self) -> None:
        """Load what the store holds, then run timers until `stop`, or until cancelled."""
        for lane, due_ms in await self._database.read(outbox.lanes):
            self.added([Due(lane, due_ms)])
        async with asyncio.TaskGroup() as jobs:
            while not self._stopping:
                self._woken.clear()
                if await self._start_due(jobs):
                    continue
                if self._woken.is_set():
                    continue
                if not self._running:
                    self._idle.set()
                    self._stepped()
                await self._clock.wait(self._woken, self._wake_at_ms())

    def stop(self) -> None:
        """Start nothing more. `run` returns when the jobs under way have ended."""
        self._stopping = True
        self._woken.set()
        self._idle.set()
        self._stepped()

    async def settled(self) -> None:
        """Return when everything due by now has run to its end."""
        while not (self._idle.is_set() or self._stopping):
            await self._idle.wait()

    async def advance(self, by_ms: int) -> int:
        """Move the clock on by `by_ms`, from due timer to due timer, each run to its end at exactly its moment.

        Returns how many moments had something to do. Only one caller at a time advances; others wait their turn. While
        other accounts keep the scheduler busy, a moment is over when what was due at its beginning has ended.
        """
        async with self._advancing:
            return await self._advance(self._clock.now_ms() + by_ms)

    async def advance_to(self, until_ms: int) -> int:
        """`advance` to a moment; nothing happens if somebody else moved the clock there in the meantime."""
        async with self._advancing:
            return await self._advance(until_ms) if until_ms > self._clock.now_ms() else 0

    async def _advance(self, until_ms: int) -> int:
        moments = 0
        while True:
            await self._end_of_moment()
            due_ms = self._next_after(self._clock.now_ms())
            if due_ms is None or due_ms > until_ms or self._stopping:
                break
            self._clock.move_to(due_ms)
            self.wake()
            moments += 1
        self._clock.move_to(until_ms)
        self.wake()
        await self._end_of_moment()
        return moments

    async def _end_of_moment(self) -> None:
        if self._idle.is_set():
            return
        due = await self._database.read(partial(outbox.count_due, now_ms=self._clock.now_ms()))
        enough = self._begun + due + FOLLOW_UPS
        while not (self._idle.is_set() or self._stopping or self._begun >= enough):
            await self._step.wait()
        last = self._begun
        while not self._stopping and any(number <= last for number in self._running):
            await self._step.wait()

    def _next_after(self, now_ms: int) -> int | None:
        """When the next timer may start that has to wait for the clock; what is due already only waits for room."""
        return min(
            (due for lane in self._lanes.values() if (due := lane.next_ms) is not None and due > now_ms), default=None
        )

    def _stepped(self) -> None:
        step, self._step = self._step, asyncio.Event()
        step.set()

    def _lane(self, name: str) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
        return lane

    def _wake_at_ms(self) -> int | None:
        """The moment of the next timer whose lane has room; a full lane wakes the scheduler when a job ends."""
        if len(self._running) >= self._concurrency:
            return None
        return min(
            (
                due
                for lane in self._lanes.values()
                if (due := lane.next_ms) is not None and lane.running < self._per_lane
            ),
            default=None,
        )

    async def _start_due(self, jobs: asyncio.TaskGroup) -> bool:
        """Take what is due, as far as there is room, and start its jobs. True if there was anything to take."""
        now_ms = self._clock.now_ms()
        room = self._concurrency - len(self._running)
        wanted: list[tuple[str, int]] = []
        for name, lane in list(self._lanes.items()):
            due_ms = lane.next_ms
            if due_ms is None:
                if lane.running == 0 and lane.per_second is None:
                    del self._lanes[name]
                continue
            take = min(room, self._per_lane - lane.running)
            if due_ms > now_ms or take <= 0:
                continue
            if lane.per_second is not None:
                take = 1
                lane.not_before_ms = now_ms + round(1000 / lane.per_second)
            wanted.append((name, take))
            room -= take
        if not wanted:
            return False
        try:
            taken = await self._database.write(partial(self._take, wanted, now_ms))
        except StorageError as error:
            log.error("Timers have to wait: %s", error)
            await self._clock.pause(1)
            return True
        except Exception:  # a handler broke a promise: its timer stays, and the server with it
            log.exception("Timers have to wait")
            await self._clock.pause(1)
            return True
        for name, _ in wanted:  # to the end of the queue, so that no lane keeps the room for itself
            self._lanes[name] = self._lanes.pop(name)
        for timer, job in taken:
            self._begun += 1
            if job is not None:
                self._lane(timer.lane).running += 1
                self._running[self._begun] = timer.account
                jobs.create_task(self._perform(self._begun, timer.lane, job))
        self._stepped()
        return True

    def _take(self, wanted: Sequence[tuple[str, int]], now_ms: int, tx: Tx) -> Sequence[tuple[Timer, Job | None]]:
        return [
            (timer, self._handlers[timer.kind](tx, timer))
            for lane, most in wanted
            for timer in outbox.take_due(tx, lane, now_ms, most)
        ]

    async def _perform(self, number: int, lane: str, job: Job) -> None:
        try:
            await job()
        except Exception:  # one broken job must not stop the others; what it owed is found at the next start
            log.exception("A job of the lane %s failed", lane)
        finally:
            self._lane(lane).running -= 1
            del self._running[number]
            self._stepped()
            self.wake()
