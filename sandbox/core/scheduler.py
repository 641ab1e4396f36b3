"""Job scheduler: runs timers when they are due, in real or in virtual time, with limits for each queue.

What is due later is a row in `timers`, what is due now is held in memory alone. A timer's handler runs inside the
transaction that takes the timer; the job that it returns, if any, runs after the commit. What the timers mean is known
to the handlers alone.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, takewhile

from sandbox.clock import LAST_MS, Clock
from sandbox.errors import StorageError
from sandbox.model import Timer, TimerKind
from sandbox.store import outbox
from sandbox.store.database import Database, Dropped, Due, Queries, TimerChange, Tx

FOLLOW_UPS = 256
"""Timers beyond those that were due when a moment began, after which it is over all the same: others may be busy."""
AGAIN_S = 1.0
"""Real seconds after which the store is asked again that refused something."""
POSTPONED_MS = 60_000
"""How much later a timer is tried again whose handler broke a promise."""

FIRSTS = 8
"""So many times `concurrency` is the most jobs at once when each of those beyond it is the only one of its queue."""

FinishStep = Callable[[], Awaitable[None]]
Job = Callable[[], Awaitable[FinishStep | None]]
"""Coroutine started after the commit. It may return a second one (finish step), which leaves the queue's limit to the
next; `advance` waits for both."""
Handler = Callable[[Tx, Timer], Job | None]
Chore = Callable[[Tx, int], int]
"""What has to be done again and again: gets the present moment in `_ms`, returns that at which it is due next."""

log = logging.getLogger(__name__)


class _Queue:
    """Timers that share a limit: which are due now, when the next row is due, how many run, and their rate limit."""

    __slots__ = ("finishing", "jobs", "not_before_ms", "per_second", "ready", "row_ms")

    def __init__(self) -> None:
        self.row_ms: int | None = None  # when the earliest of those that have a row is due
        self.ready: OrderedDict[int, Timer] = OrderedDict()  # by subject: those that have none, the earliest first
        self.not_before_ms = 0
        self.per_second: float | None = None
        self.jobs = 0  # that have not ended
        self.finishing = 0  # those of them whose finish step is under way

    @property
    def ready_ms(self) -> int | None:
        return next((it.due_ms for it in self.ready.values()), None)

    @property
    def next_ms(self) -> int | None:
        """When the next timer may start."""
        due_ms = min((ms for ms in (self.row_ms, self.ready_ms) if ms is not None), default=None)
        return None if due_ms is None else max(due_ms, self.not_before_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TimerBatch:
    """Timers of one queue to take in one write, at `most` so many: those in `ready`, or else rows that are due by
    `until_ms`; and if there is room, those that the same transaction made and that are due before."""

    queue: str
    most: int
    ready: Sequence[Timer]
    until_ms: int


class Scheduler:
    """Runs timers when they are due: at most `concurrency` jobs at once, `per_queue` of them in one queue.

    The first job of a queue has room even so, up to `FIRSTS` times as many: queues whose jobs hang delay no other.
    Until their finish step has ended, jobs count for the double of these limits.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        concurrency: int = 32,
        per_queue: int = 4,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handlers: dict[TimerKind, Handler] = {}
        self._chores: dict[str, Chore] = {}  # by the queue that is theirs alone
        self._concurrency = concurrency
        self._per_queue = per_queue
        self._queues: dict[str, _Queue] = {}
        self._begun = 0  # timers taken so far, each with its number
        self._running: dict[int, str] = {}  # number of the timer -> account, of the jobs under way
        self._finishing = 0  # those of them whose finish step is under way
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

    def added(self, changes: Sequence[TimerChange]) -> None:
        """Hear of committed timers. The database calls this in the order of its commits."""
        for each in changes:
            match each:
                case Timer():
                    self._queue(each.queue).ready[each.subject] = each
                case Due(queue=name, due_ms=due_ms, exact=exact):
                    queue = self._queue(name)
                    if exact or (due_ms is not None and (queue.row_ms is None or due_ms < queue.row_ms)):
                        queue.row_ms = due_ms
                case Dropped():
                    self._drop(each)
        self.wake()

    def _drop(self, dropped: Dropped) -> None:
        for queue in self._queues.values():
            if dropped.subject is not None:
                queue.ready.pop(dropped.subject, None)
            else:
                for timer in [it for it in queue.ready.values() if dropped.account in (None, it.account)]:
                    del queue.ready[timer.subject]

    def wake(self) -> None:
        """Look at the queues again: a timer came, the clock was moved, or a job ended."""
        self._idle.clear()
        self._woken.set()

    def rate_limit(self, queue: str, change: Callable[[float | None], float | None]) -> None:
        """Set how many timers of a queue may start in a second, from how many it was; None means as many as come."""
        it = self._queue(queue)
        before, it.per_second = it.per_second, change(it.per_second)
        if it.per_second is None:
            it.not_before_ms = 0
        elif it.per_second != before:
            it.not_before_ms = max(it.not_before_ms, self._clock.now_ms() + round(1000 / it.per_second))

    def forget(self) -> None:
        """Know of no row any more, hold no queue back, and end an advance: for when everything was forgotten."""
        for name, queue in self._queues.items():
            queue.row_ms = self._clock.now_ms() if name in self._chores else None
            queue.per_second = None
            queue.not_before_ms = 0
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
        for name, queue in self._queues.items():
            if name in self._chores:  # which go by the moments of what is recorded, and those stay as they are
                queue.row_ms = self._clock.now_ms()
            elif queue.row_ms is not None:
                queue.row_ms += by_ms
            for timer in list(queue.ready.values()):
                queue.ready[timer.subject] = replace(timer, due_ms=timer.due_ms + by_ms)
            if queue.not_before_ms:
                queue.not_before_ms += by_ms
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

    def starts_ms(self, queue: str, due_ms: int) -> int:
        """When a timer of the queue may start: when it is due, or when the queue's rate limit allows it."""
        return max(due_ms, self._queues[queue].not_before_ms) if queue in self._queues else due_ms

    def next_timers(self, *, limit: int) -> Callable[[Queries], Sequence[Timer]]:
        """What is due next, earliest first, with the moments at which it may start: a function for `database.read`."""
        ready = [it for queue in self._queues.values() for it in islice(queue.ready.values(), limit)]

        def read(db: Queries) -> Sequence[Timer]:
            timers = sorted([*outbox.timers(db, limit=limit), *ready], key=lambda it: it.due_ms)[:limit]
            starting = [replace(it, due_ms=self.starts_ms(it.queue, it.due_ms)) for it in timers]
            return sorted(starting, key=lambda it: it.due_ms)

        return read

    def ready(self, account: str) -> Sequence[Timer]:
        """Those timers of an account that are due now and have no row."""
        return [it for queue in self._queues.values() for it in queue.ready.values() if it.account == account]

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
                self.added([Due(queue, due_ms) for queue, due_ms in await self._database.read(outbox.queues)])
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
        due += sum(len(queue.ready) for queue in self._queues.values())
        enough = self._begun + due + FOLLOW_UPS
        while not (self._idle.is_set() or self._stopping or self._begun >= enough):
            await self._step.wait()
        last = self._begun
        while not self._stopping and any(number <= last for number in self._running):
            await self._step.wait()

    def _next_after(self, now_ms: int) -> int | None:
        """When the next timer may start that has to wait for the clock; what is due already only waits for room."""
        return min(
            (due for queue in self._queues.values() if (due := queue.next_ms) is not None and due > now_ms),
            default=None,
        )

    def _stepped(self) -> None:
        step, self._step = self._step, asyncio.Event()
        step.set()

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue()
        return queue

    def _wake_at_ms(self) -> int | None:
        """The moment of the next timer whose queue has room; a full queue wakes the scheduler when a job leaves it."""
        running = len(self._running) - self._finishing
        return min(
            (due for it in self._queues.values() if (due := it.next_ms) is not None and self._room(it, running)),
            default=None,
        )

    def _room(self, queue: _Queue, running: int) -> int:
        """How many more jobs of a queue may start, with so many running in all."""
        unended = 2 * self._per_queue - queue.jobs
        if running + self._finishing >= FIRSTS * self._concurrency or unended <= 0:
            return 0
        here = queue.jobs - queue.finishing
        room = min(self._concurrency - running, self._per_queue - here, unended)
        return room if room > 0 else int(here == 0)

    async def _start_due(self, jobs: asyncio.TaskGroup) -> bool:
        """Take what is due, as far as there is room, and start its jobs. True if there was anything to take."""
        now_ms = self._clock.now_ms()
        running = len(self._running) - self._finishing
        wanted: list[_TimerBatch] = []
        for name, queue in list(self._queues.items()):
            due_ms = queue.next_ms
            if due_ms is None:
                if queue.jobs == 0 and queue.per_second is None:
                    del self._queues[name]
                continue
            take = self._room(queue, running)
            if due_ms > now_ms or not take:
                continue
            if queue.per_second is not None:
                take = 1
                queue.not_before_ms = now_ms + round(1000 / queue.per_second)
            wanted.append(self._batch(name, take))
            running += take
        if not wanted:
            return False
        try:
            self._start(jobs, await self._database.write(partial(self._take, wanted)))
        except Exception:  # whoever it was, the others must not wait for it
            await self._start_singly(jobs, [each.queue for each in wanted])
        for each in wanted:  # to the end of the line, so that no queue keeps the room for itself
            self._queues[each.queue] = self._queues.pop(each.queue)
        self._stepped()
        return True

    def _batch(self, name: str, most: int) -> _TimerBatch:
        """The earliest timers of a queue: either rows or those without one, whichever come first."""
        queue = self._queue(name)
        row_ms, ready_ms = queue.row_ms, queue.ready_ms
        ready = list(islice(takewhile(lambda it: row_ms is None or it.due_ms < row_ms, queue.ready.values()), most))
        until_ms = row_ms if ready else ready_ms
        return _TimerBatch(queue=name, most=most, ready=ready, until_ms=LAST_MS if until_ms is None else until_ms)

    async def _start_singly(self, jobs: asyncio.TaskGroup, queues: Sequence[str]) -> None:
        """Take one timer of each queue, each for itself. One whose handler broke a promise is postponed."""
        refused: StorageError | None = None
        for name in queues:
            batch = self._batch(name, 1)
            try:
                self._start(jobs, await self._database.write(partial(self._take, [batch])))
            except StorageError as error:  # of the machine, not of the timer
                refused = error
            except Exception:
                log.exception("A timer of the queue %s failed, and has to wait for a minute", name)
                with suppress(StorageError):  # it is due again at once, and may be postponed then
                    await self._database.write(partial(self._postpone, batch))
        if refused is not None:
            log.error("Timers have to wait: %s", refused)
            await self._clock.pause(AGAIN_S)

    def _start(self, jobs: asyncio.TaskGroup, taken: Sequence[tuple[Timer, Job | None]]) -> None:
        for timer, job in taken:
            queue = self._queue(timer.queue)
            if queue.ready.get(timer.subject) is timer:  # and none that came after it
                del queue.ready[timer.subject]
            self._begun += 1
            if job is not None:
                queue.jobs += 1
                self._running[self._begun] = timer.account
                jobs.create_task(self._perform(self._begun, timer.queue, job))

    def _take(self, batches: Sequence[_TimerBatch], tx: Tx) -> Sequence[tuple[Timer, Job | None]]:
        now_ms = self._clock.now_ms()
        taken: list[tuple[Timer, Job | None]] = []
        for each in batches:
            if each.queue in self._chores:
                tx.due.append(Due(each.queue, self._chores[each.queue](tx, now_ms), exact=True))
                continue
            timers = each.ready or outbox.take_due(tx, each.queue, min(now_ms, each.until_ms), each.most)
            made = (it for it in tx.due if isinstance(it, Timer) and it.queue == each.queue)
            timers = list(islice(chain(timers, (it for it in made if it.due_ms < each.until_ms)), each.most))
            taken += [(timer, self._handlers[timer.kind](tx, timer)) for timer in timers]
        return taken

    def _postpone(self, batch: _TimerBatch, tx: Tx) -> None:
        now_ms = self._clock.now_ms()
        for it in batch.ready:  # of which there is one
            outbox.set_timer(tx, replace(it, due_ms=now_ms + POSTPONED_MS))
            tx.due.append(Dropped(subject=it.subject))
        if not batch.ready:
            outbox.postpone(tx, batch.queue, min(now_ms, batch.until_ms), now_ms + POSTPONED_MS)

    async def _perform(self, number: int, queue: str, job: Job) -> None:
        try:
            finish = await job()
            if finish is not None:
                await self._finish(queue, finish)
        except Exception:  # one broken job must not stop the others; its delivery is found at the next start
            log.exception("A job of the queue %s failed", queue)
        finally:
            self._queue(queue).jobs -= 1
            del self._running[number]
            self._stepped()
            self.wake()

    async def _finish(self, queue: str, finish: FinishStep) -> None:
        it = self._queue(queue)
        it.finishing += 1
        self._finishing += 1
        self.wake()
        try:
            await finish()
        finally:
            self._finishing -= 1
            it.finishing -= 1
