"""Everything that is due later: timers taken from the store when their moment comes, in real or in virtual time.

A timer's handler runs inside the transaction that removes the timer; the job that it returns, if any, runs after the
commit. What the timers mean is known to the handlers alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from sandbox.clock import Clock
from sandbox.errors import StorageError
from sandbox.model import Timer, TimerKind
from sandbox.store import outbox
from sandbox.store.database import Database, Due, Queries, Tx

FOLLOW_UPS = 256
"""Timers beyond those that were due when a moment began, after which it is over all the same: others may be busy."""
AGAIN_S = 1.0
"""Real seconds after which the store is asked again that refused something."""
POSTPONED_MS = 60_000
"""How much later a timer is tried again whose handler broke a promise."""

FIRSTS = 8
"""So many times `concurrency` is the most jobs at once when each of those beyond it is the only one of its lane."""

FinishStep = Callable[[], Awaitable[None]]
Job = Callable[[], Awaitable[FinishStep | None]]
"""What is to be done after the commit. The rest of it, if any, runs outside the lane's limit, but time waits for it."""
Handler = Callable[[Tx, Timer], Job | None]
Chore = Callable[[Tx, int], int]
"""What has to be done again and again: gets the present moment in `_ms`, returns that at which it is due next."""

log = logging.getLogger(__name__)


class _Lane:
    """Timers that share a limit: how many of them run, when the next is due, and how fast they may start."""

    __slots__ = ("due_ms", "jobs", "not_before_ms", "per_second", "resting")

    def __init__(self) -> None:
        self.due_ms: int | None = None
        self.not_before_ms = 0
        self.per_second: float | None = None
        self.jobs = 0  # that have not ended
        self.resting = 0  # those of them whose rest is under way

    @property
    def next_ms(self) -> int | None:
        """When the next timer may start."""
        return None if self.due_ms is None else max(self.due_ms, self.not_before_ms)


class Scheduler:
    """Runs timers when they are due: at most `concurrency` jobs at once, `per_lane` of them in one lane.

    The first job of a lane has room even so, up to `FIRSTS` times as many: lanes whose jobs hang delay no other lane.
    Until their rest has ended, jobs count for the double of these limits.
    """

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
        self._chores: dict[str, Chore] = {}  # by the lane that is theirs alone
        self._concurrency = concurrency
        self._per_lane = per_lane
        self._lanes: dict[str, _Lane] = {}
        self._begun = 0  # timers taken so far, each with its number
        self._running: dict[int, str] = {}  # number of the timer -> account, of the jobs under way
        self._resting = 0  # those of them whose rest is under way
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._step = asyncio.Event()  # set, and replaced by another, whenever a job ends or there is nothing to do
        self._advancing = asyncio.Lock()
        self._until_ms: int | None = None  # where the advance that is under way ends; None ends it
        self._stopping = False

    def on(self, kind: TimerKind, handler: Handler) -> None:
        """Say what carries out the timers of a kind."""
        self._handlers[kind] = handler

    def add_chore(self, name: str, chore: Chore) -> None:
        """Do a chore at once, and then whenever it says. It is not a timer, so nobody sees it or waits for it."""
        self._chores[name] = chore
        self.added([Due(name, self._clock.now_ms())])

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

    def forget(self) -> None:
        """Know of no timer any more, hold no lane back, and end an advance: for when everything was forgotten."""
        for name, lane in self._lanes.items():
            lane.due_ms = self._clock.now_ms() if name in self._chores else None
            lane.per_second = None
            lane.not_before_ms = 0
        self._until_ms = None
        self.wake()

    def shift(self, tx: Tx, by_ms: int, change: Callable[[int], None]) -> None:
        """Let the clock jump by `by_ms` milliseconds, either way, by calling `change` with it after the commit;
        everything that is planned goes along, so that it keeps its distance and nothing comes due by it.

        The write has to be `alone`.
        """
        outbox.shift(tx, by_ms)
        tx.then.append(partial(self._shifted, by_ms, change))

    def _shifted(self, by_ms: int, change: Callable[[int], None]) -> None:
        change(by_ms)
        for name, lane in self._lanes.items():
            if name in self._chores:  # which go by the moments of what is recorded, and those stay as they are
                lane.due_ms = self._clock.now_ms()
            elif lane.due_ms is not None:
                lane.due_ms += by_ms
            if lane.not_before_ms:
                lane.not_before_ms += by_ms
        if self._until_ms is not None:
            self._until_ms += by_ms
        self.wake()

    async def _follow_system(self) -> None:
        """Go along when the system's clock was set, or the machine slept."""
        try:
            await self._database.write(lambda tx: self.shift(tx, self._clock.jump_ms(), self._clock.follow), alone=True)
        except StorageError as error:
            log.error("Cannot follow the system's clock yet: %s", error)
            await self._clock.pause(AGAIN_S)

    def starts_ms(self, lane: str, due_ms: int) -> int:
        """When a timer of the lane may start: when it is due, or when the lane's pace allows it."""
        return max(due_ms, self._lanes[lane].not_before_ms) if lane in self._lanes else due_ms

    def next_timers(self, db: Queries, *, limit: int) -> Sequence[Timer]:
        """What is due next, earliest first, with the moments at which it may start."""
        timers = [replace(it, due_ms=self.starts_ms(it.lane, it.due_ms)) for it in outbox.timers(db, limit=limit)]
        return sorted(timers, key=lambda it: (it.due_ms, it.id))

    def busy(self, account: str) -> bool:
        """Whether a job of the account is under way."""
        return account in self._running.values()

    async def run(self) -> None:
        """Load what the store holds, then run timers until `stop`, or until cancelled."""
        await self._load()
        async with asyncio.TaskGroup() as jobs:
            while not self._stopping:
                self._woken.clear()
                if self._clock.jump_ms():
                    await self._follow_system()
                    continue
                if await self._start_due(jobs):
                    continue
                if self._woken.is_set():
                    continue
                if not self._running:
                    self._idle.set()
                    self._stepped()
                await self._clock.wait(self._woken, self._wake_at_ms())

    async def _load(self) -> None:
        while not self._stopping:
            try:
                self.added([Due(lane, due_ms) for lane, due_ms in await self._database.read(outbox.lanes)])
                return
            except StorageError as error:
                log.error("Timers have to wait: %s", error)
                await self._clock.pause(AGAIN_S)

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

        Returns at how many moments a timer was carried out. Only one caller at a time advances; others wait their turn.
        While other accounts keep the scheduler busy, a moment is over when what was due at its beginning has ended.
        """
        async with self._advancing:
            return await self._advance(self._clock.now_ms() + by_ms)

    async def advance_to(self, until_ms: int) -> int:
        """`advance` a clock that stands still to a moment, and no further once it runs; nothing happens if somebody
        else moved it there in the meantime."""
        async with self._advancing:
            if not self._clock.frozen or until_ms <= self._clock.now_ms():
                return 0
            return await self._advance(until_ms, while_frozen=True)

    async def _advance(self, until_ms: int, *, while_frozen: bool = False) -> int:
        self._until_ms, moments = until_ms, 0
        try:
            await self._end_of_moment()
            while self._until_ms is not None and not self._stopping:
                if while_frozen and not self._clock.frozen:
                    break
                due_ms, begun = self._next_after(self._clock.now_ms()), self._begun
                if due_ms is None or due_ms > self._until_ms:
                    await self._move_to(self._until_ms)
                    break
                await self._move_to(due_ms)
                moments += self._begun > begun
        finally:
            self._until_ms = None
        return moments

    async def _move_to(self, at_ms: int) -> None:
        self._clock.move_to(at_ms)
        self.wake()
        await self._end_of_moment()

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
        """The moment of the next timer whose lane has room; a full lane wakes the scheduler when a job leaves it."""
        running = len(self._running) - self._resting
        return min(
            (due for lane in self._lanes.values() if (due := lane.next_ms) is not None and self._room(lane, running)),
            default=None,
        )

    def _room(self, lane: _Lane, running: int) -> int:
        """How many more jobs of a lane may start, with so many running in all."""
        unended = 2 * self._per_lane - lane.jobs
        if running + self._resting >= FIRSTS * self._concurrency or unended <= 0:
            return 0
        here = lane.jobs - lane.resting
        room = min(self._concurrency - running, self._per_lane - here, unended)
        return room if room > 0 else int(here == 0)

    async def _start_due(self, jobs: asyncio.TaskGroup) -> bool:
        """Take what is due, as far as there is room, and start its jobs. True if there was anything to take."""
        now_ms = self._clock.now_ms()
        running = len(self._running) - self._resting
        wanted: list[tuple[str, int]] = []
        for name, lane in list(self._lanes.items()):
            due_ms = lane.next_ms
            if due_ms is None:
                if lane.jobs == 0 and lane.per_second is None:
                    del self._lanes[name]
                continue
            take = self._room(lane, running)
            if due_ms > now_ms or not take:
                continue
            if lane.per_second is not None:
                take = 1
                lane.not_before_ms = now_ms + round(1000 / lane.per_second)
            wanted.append((name, take))
            running += take
        if not wanted:
            return False
        try:
            self._start(jobs, await self._database.write(partial(self._take, wanted)))
        except Exception:  # whoever it was, the others must not wait for it
            await self._start_singly(jobs, [lane for lane, _ in wanted])
        for name, _ in wanted:  # to the end of the queue, so that no lane keeps the room for itself
            self._lanes[name] = self._lanes.pop(name)
        self._stepped()
        return True

    async def _start_singly(self, jobs: asyncio.TaskGroup, lanes: Sequence[str]) -> None:
        """Take one timer of each lane, each for itself. One whose handler broke a promise is postponed."""
        refused: StorageError | None = None
        for lane in lanes:
            try:
                self._start(jobs, await self._database.write(partial(self._take, [(lane, 1)])))
            except StorageError as error:  # of the machine, not of the timer
                refused = error
            except Exception:
                log.exception("A timer of the lane %s failed, and has to wait for a minute", lane)
                with suppress(StorageError):  # it is due again at once, and may be postponed then
                    await self._database.write(partial(self._postpone, lane))
        if refused is not None:
            log.error("Timers have to wait: %s", refused)
            await self._clock.pause(AGAIN_S)

    def _start(self, jobs: asyncio.TaskGroup, taken: Sequence[tuple[Timer, Job | None]]) -> None:
        for timer, job in taken:
            self._begun += 1
            if job is not None:
                self._lane(timer.lane).jobs += 1
                self._running[self._begun] = timer.account
                jobs.create_task(self._perform(self._begun, timer.lane, job))

    def _take(self, wanted: Sequence[tuple[str, int]], tx: Tx) -> Sequence[tuple[Timer, Job | None]]:
        now_ms = self._clock.now_ms()
        taken: list[tuple[Timer, Job | None]] = []
        for lane, most in wanted:
            if lane in self._chores:
                tx.due.append(Due(lane, self._chores[lane](tx, now_ms), exact=True))
                continue
            taken += [
                (timer, self._handlers[timer.kind](tx, timer)) for timer in outbox.take_due(tx, lane, now_ms, most)
            ]
        return taken

    def _postpone(self, lane: str, tx: Tx) -> None:
        now_ms = self._clock.now_ms()
        outbox.postpone(tx, lane, now_ms, now_ms + POSTPONED_MS)

    async def _perform(self, number: int, lane: str, job: Job) -> None:
        try:
            rest = await job()
            if rest is not None:
                await self._perform_rest(lane, rest)
        except Exception:  # one broken job must not stop the others; what it owed is found at the next start
            log.exception("A job of the lane %s failed", lane)
        finally:
            self._lane(lane).jobs -= 1
            del self._running[number]
            self._stepped()
            self.wake()

    async def _perform_rest(self, lane: str, rest: FinishStep) -> None:
        it = self._lane(lane)
        it.resting += 1
        self._resting += 1
        self.wake()
        try:
            await rest()
        finally:
            self._resting -= 1
            it.resting -= 1
