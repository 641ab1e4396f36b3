"""Timers in virtual and in real time: when each runs, how many at once, and what one of them may do to the others."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec

import pytest

from sandbox.clock import Clock
from sandbox.core.scheduler import FOLLOW_UPS, FinishStep, Job, Scheduler
from sandbox.errors import StorageError
from sandbox.model import Timer, TimerKind
from sandbox.store import outbox
from sandbox.store.database import Database, Dropped, Tx

P = ParamSpec("P")
HOUR_MS = 3_600_000


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


class Bench:
    """A scheduler whose jobs note when they ran: `ran` holds (seconds since the start, subject)."""

    def __init__(self, database: Database, clock: Clock, scheduler: Scheduler) -> None:
        self.database = database
        self.clock = clock
        self.scheduler = scheduler
        self.ran: list[tuple[float, int]] = []
        self.gates: dict[str, asyncio.Event] = {}  # a queue's jobs end when its gate is open
        self.work: dict[int, Job] = {}  # what a subject's job does beside
        self.at_once: dict[str, int] = {}
        self.most_at_once: dict[str, int] = {}
        self.changed = asyncio.Event()
        self.begun_ms = clock.now_ms()

    def handle(self, tx: Tx, timer: Timer) -> Job | None:
        return partial(self._perform, timer)

    async def _perform(self, timer: Timer) -> FinishStep | None:
        self.ran.append(((self.clock.now_ms() - self.begun_ms) / 1000, timer.subject))
        for each in (timer.queue, "all"):
            self.at_once[each] = self.at_once.get(each, 0) + 1
            self.most_at_once[each] = max(self.most_at_once.get(each, 0), self.at_once[each])
        self.changed.set()
        try:
            if timer.queue in self.gates:
                await self.gates[timer.queue].wait()
            return await self.work[timer.subject]() if timer.subject in self.work else None
        finally:
            for each in (timer.queue, "all"):
                self.at_once[each] -= 1

    @property
    def subjects(self) -> list[int]:
        return [subject for _, subject in self.ran]

    async def set(self, *timers: tuple[float, int, str]) -> None:
        """Set timers (seconds since the start, subject, queue) in one transaction."""

        def write(tx: Tx) -> None:
            for after_s, subject, queue in timers:
                due_ms = self.begun_ms + round(after_s * 1000)
                outbox.set_timer(tx, replace(self.timer(subject, queue), due_ms=due_ms))

        await self.database.write(write)

    async def due(self, after_s: float, *subjects: int, queue: str = "queue") -> None:
        await self.set(*((after_s, each, queue) for each in subjects))

    async def due_now(self, *subjects: int, queue: str = "queue") -> None:
        """Timers without a row, in one transaction."""

        def write(tx: Tx) -> None:
            tx.due += [self.timer(each, queue) for each in subjects]

        await self.database.write(write)

    def timer(self, subject: int, queue: str = "queue") -> Timer:
        due_ms = self.clock.now_ms()
        return Timer(due_ms=due_ms, kind=TimerKind.WEBHOOK, queue=queue, account="default", subject=subject)

    async def planned(self) -> list[tuple[float, int]]:
        """What is due next: (seconds since the start, subject)."""
        timers = await self.database.read(self.scheduler.next_timers(limit=9))
        return [((it.due_ms - self.begun_ms) / 1000, it.subject) for it in timers]

    async def until(self, reached: Callable[[], bool]) -> None:
        """Return when jobs have begun that make it true."""
        while not reached():
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def running(
    path: Path | str = ":memory:", *, clock: Clock | None = None, concurrency: int = 32, per_queue: int = 4
) -> AsyncIterator[Bench]:
    clock = clock or Clock.virtual()
    database = Database(str(path))
    scheduler = Scheduler(database, clock, concurrency=concurrency, per_queue=per_queue)
    database.committed = lambda _, due: scheduler.added(due)
    database.open()
    bench = Bench(database, clock, scheduler)
    for kind in TimerKind:
        scheduler.on(kind, bench.handle)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(scheduler.run())
            try:
                yield bench
            finally:
                scheduler.stop()
                for gate in bench.gates.values():
                    gate.set()
    finally:
        await database.close()


# Virtual time ------------------------------------------------------------------------------------------------------


@in_loop
async def test_one_advance_runs_every_timer_at_exactly_its_moment() -> None:
    async with running() as bench:
        for after_s in (60, 0.001, 30, 3600, 59.999):
            await bench.due(after_s, 1)
        await bench.scheduler.advance(HOUR_MS)
        assert bench.ran == [(0.001, 1), (30, 1), (59.999, 1), (60, 1), (3600, 1)]


@in_loop
async def test_timers_of_different_queues_run_in_order_of_their_moments() -> None:
    async with running() as bench:
        await bench.due(3, 3, queue="c")
        await bench.due(1, 1, queue="a")
        await bench.due(2, 2, queue="b")
        await bench.due(4, 4, queue="a")
        await bench.scheduler.advance(10_000)
        assert bench.ran == [(1, 1), (2, 2), (3, 3), (4, 4)]


@in_loop
async def test_timers_of_one_moment_and_queue_run_in_the_order_they_were_set() -> None:
    async with running(per_queue=1) as bench:
        await bench.due(1, *range(10))
        await bench.scheduler.advance(1000)
        assert bench.subjects == list(range(10))


@in_loop
async def test_a_timer_does_not_run_before_its_moment() -> None:
    async with running() as bench:
        await bench.due(30, 1)
        await bench.scheduler.advance(29_999)
        assert bench.ran == []


@in_loop
async def test_a_timer_runs_when_its_moment_is_the_end_of_the_advance() -> None:
    async with running() as bench:
        await bench.due(30, 1)
        await bench.scheduler.advance(30_000)
        assert bench.ran == [(30, 1)]


@in_loop
async def test_a_timer_that_is_due_already_runs_without_an_advance() -> None:
    async with running() as bench:
        await bench.due(0, 1)
        await bench.scheduler.settled()
        assert bench.ran == [(0, 1)]


@pytest.mark.parametrize("by_ms", [0, 1, 1234, HOUR_MS])
@in_loop
async def test_an_advance_moves_the_clock_by_exactly_that_much(by_ms: int) -> None:
    async with running() as bench:
        await bench.due(1, 1)
        before = bench.clock.now_ms()
        await bench.scheduler.advance(by_ms)
        assert bench.clock.now_ms() - before == by_ms


@in_loop
async def test_an_advance_says_how_many_moments_had_something_to_do() -> None:
    async with running() as bench:
        await bench.due(1, 1, 2, 3)
        await bench.due(2, 4)
        await bench.due(9, 5)
        assert await bench.scheduler.advance(5000) == 2


@in_loop
async def test_a_moment_whose_timer_was_dropped_meanwhile_is_no_moment() -> None:
    async with running() as bench:
        await bench.due(1, 1)
        await bench.due(2, 2)
        await bench.database.write(partial(outbox.drop_timers, subject=1, kind=TimerKind.WEBHOOK))
        assert await bench.scheduler.advance(5000) == 1


@in_loop
async def test_an_advance_ends_where_the_clock_is_when_everything_is_forgotten() -> None:
    async with running() as bench:
        bench.gates["queue"] = asyncio.Event()
        await bench.due(1, 1)
        async with asyncio.TaskGroup() as tasks:
            advancing = tasks.create_task(bench.scheduler.advance(HOUR_MS))
            await bench.until(lambda: bench.subjects == [1])
            bench.scheduler.forget()
            bench.gates["queue"].set()
        assert advancing.result() == 1
        assert bench.clock.now_ms() - bench.begun_ms == 1000


@pytest.mark.parametrize("first", ["its own moment", "another advance"])
@in_loop
async def test_a_jump_of_a_clock_that_stands_still_ends_when_it_is_resumed(first: str) -> None:
    async with running() as bench:
        bench.gates["queue"] = asyncio.Event()
        await bench.due(1, 1)
        async with asyncio.TaskGroup() as tasks:
            if first == "another advance":
                tasks.create_task(bench.scheduler.advance(1000))
            tasks.create_task(bench.scheduler.advance_to(bench.begun_ms + HOUR_MS))
            await bench.until(lambda: bench.subjects == [1])
            bench.clock.resume()
            bench.gates["queue"].set()
        assert bench.clock.now_ms() - bench.begun_ms < HOUR_MS


@in_loop
async def test_a_chore_is_done_at_once_and_then_whenever_it_says() -> None:
    async with running() as bench:
        moments: list[int] = []

        def chore(tx: Tx, now_ms: int) -> int:
            moments.append(now_ms - bench.begun_ms)
            return now_ms + 1000

        bench.scheduler.add_chore("chore", chore)
        await bench.scheduler.settled()
        assert await bench.scheduler.advance(2500) == 0  # it is no timer, and does not count as one
        assert moments == [0, 1000, 2000]


@in_loop
async def test_an_advance_runs_what_its_own_jobs_set() -> None:
    async with running() as bench:

        async def again() -> None:
            await bench.due(len(bench.ran) * 10, 1)

        bench.work[1] = again
        await bench.due(1, 1)
        await bench.scheduler.advance(35_000)
        assert bench.ran == [(1, 1), (10, 1), (20, 1), (30, 1)]


@in_loop
async def test_what_a_job_sets_for_a_moment_that_has_passed_runs_at_once() -> None:
    async with running() as bench:

        async def overdue() -> None:
            await bench.due(2, 2)

        bench.work[1] = overdue
        await bench.due(5, 1)
        await bench.scheduler.advance(5000)
        assert bench.ran == [(5, 1), (5, 2)]


@in_loop
async def test_an_advance_waits_for_each_job_to_end_before_time_goes_on() -> None:
    async with running() as bench:
        bench.gates["slow"] = asyncio.Event()
        await bench.due(1, 1, queue="slow")
        await bench.due(2, 2)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.scheduler.advance(5000))
            await bench.until(lambda: bench.subjects == [1])
            await bench.database.write(lambda tx: None)  # gives it every chance to go on
            assert bench.ran == [(1, 1)]
            bench.gates["slow"].set()
        assert bench.ran == [(1, 1), (2, 2)]


async def waits_in_its_finish_step(until: asyncio.Event) -> FinishStep:
    async def rest() -> None:
        await until.wait()

    return rest


@in_loop
async def test_the_finish_step_of_a_job_leaves_its_queue_to_the_next_but_time_waits_for_it() -> None:
    async with running(per_queue=1) as bench:
        ended = asyncio.Event()

        bench.work[1] = partial(waits_in_its_finish_step, ended)
        await bench.due(1, 1, 2)
        await bench.due(2, 3)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.scheduler.advance(5000))
            await bench.until(lambda: bench.subjects == [1, 2])
            await bench.database.write(lambda tx: None)  # gives it every chance to go on
            assert bench.scheduler.busy("default")
            assert bench.subjects == [1, 2]
            ended.set()
        assert bench.ran == [(1, 1), (1, 2), (2, 3)]
        assert not bench.scheduler.busy("default")


@in_loop
async def test_a_queue_waits_when_as_many_finish_steps_are_under_way_as_may_run_in_it() -> None:
    async with running(per_queue=2) as bench:
        ended = asyncio.Event()

        bench.work = dict.fromkeys(range(50), partial(waits_in_its_finish_step, ended))
        await bench.due(1, *range(50))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.scheduler.advance(5000))
            await bench.until(lambda: len(bench.ran) >= 2)
            for _ in range(20):
                await bench.database.write(lambda tx: None)  # gives it every chance to go on
            assert len(bench.ran) <= 4
            ended.set()
        assert len(bench.ran) == 50


@in_loop
async def test_advances_that_are_asked_for_together_come_one_after_the_other() -> None:
    async with running() as bench:
        before = bench.clock.now_ms()
        for after_s in (5, 15, 25):
            await bench.due(after_s, 1)
        await asyncio.gather(bench.scheduler.advance(10_000), bench.scheduler.advance(20_000))
        assert (bench.clock.now_ms() - before, bench.ran) == (30_000, [(5, 1), (15, 1), (25, 1)])


@in_loop
async def test_an_advance_works_on_a_clock_that_runs() -> None:
    async with running(clock=Clock.system()) as bench:
        await bench.due(3000, 1)
        await bench.scheduler.advance(HOUR_MS)
        assert bench.subjects == [1]


@in_loop
async def test_an_advance_without_timers_ends() -> None:
    async with running() as bench:
        assert await bench.scheduler.advance(HOUR_MS) == 0


# Real time ---------------------------------------------------------------------------------------------------------


@in_loop
async def test_on_a_running_clock_a_timer_runs_when_its_moment_comes() -> None:
    async with running(clock=Clock.system()) as bench:
        await bench.due(0.03, 1)
        await bench.until(lambda: bench.subjects == [1])
        assert bench.ran[0][0] >= 0.03


@in_loop
async def test_an_earlier_timer_overtakes_the_one_that_is_waited_for() -> None:
    async with running(clock=Clock.system()) as bench:
        await bench.due(3600, 1)
        await bench.due(0.01, 2)
        await bench.until(lambda: bench.subjects == [2])


@in_loop
async def test_a_timer_waits_for_a_frozen_clock_to_be_resumed() -> None:
    async with running(clock=Clock.virtual()) as bench:
        await bench.due(0.01, 1)
        bench.clock.resume()
        bench.scheduler.wake()
        await bench.until(lambda: bench.subjects == [1])


class HostTime:
    """The host's clock, which somebody sets; the monotonic one goes on as it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._off_ms = 0
        real = Clock.system_ms
        monkeypatch.setattr(Clock, "system_ms", staticmethod(lambda: real() + self._off_ms))

    def set_on(self, by_ms: int) -> None:
        self._off_ms += by_ms


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, 5 * HOUR_MS])
@in_loop
async def test_what_is_planned_keeps_its_distance_when_the_hosts_clock_is_set(
    jump_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = HostTime(monkeypatch)
    async with running(clock=Clock.system()) as bench:
        await bench.due(0.1, 1)
        await bench.due(50, 2, queue="another")
        host.set_on(jump_ms)
        await bench.until(lambda: bench.subjects == [1])  # set back, it would wait for an hour
        [timer] = await bench.database.read(bench.scheduler.next_timers(limit=9))
        assert bench.clock.now_ms() - bench.begun_ms >= jump_ms
        assert 40_000 < timer.due_ms - bench.clock.now_ms() <= 50_000
        assert abs(bench.clock.ahead_ms) < 1000


@in_loop
async def test_a_chore_goes_by_the_time_to_which_the_hosts_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    host, loop = HostTime(monkeypatch), asyncio.get_running_loop()
    moments: asyncio.Queue[int] = asyncio.Queue()

    def chore(tx: Tx, now_ms: int) -> int:
        loop.call_soon_threadsafe(moments.put_nowait, now_ms)
        return now_ms + HOUR_MS

    async with running(clock=Clock.system()) as bench, asyncio.timeout(10):
        bench.scheduler.add_chore("chore", chore)
        first_ms = await moments.get()
        host.set_on(5 * HOUR_MS)
        assert await moments.get() - first_ms > 4 * HOUR_MS  # the two clocks are read to the millisecond, not at once


@in_loop
async def test_a_clock_that_is_brought_to_the_systems_brings_what_is_planned_along() -> None:
    async with running(clock=Clock.virtual()) as bench:
        await bench.due(4000, 1)
        await bench.scheduler.advance(3_990_000)  # ten seconds before
        shift = partial(bench.scheduler.shift, by_ms=-bench.clock.ahead_ms, change=lambda _: bench.clock.reset())
        await bench.database.write(shift, alone=True)
        assert abs(bench.clock.ahead_ms) < 1000
        await bench.scheduler.advance(9_000)
        assert bench.subjects == []
        await bench.scheduler.advance(2_000)
        assert bench.subjects == [1]


# Limits ------------------------------------------------------------------------------------------------------------


@in_loop
async def test_one_queue_runs_so_many_jobs_at_once() -> None:
    async with running(per_queue=3) as bench:
        bench.gates["queue"] = asyncio.Event()
        await bench.due(0, *range(20))
        await bench.until(lambda: len(bench.ran) >= 3)
        bench.gates["queue"].set()
        await bench.scheduler.settled()
        assert (bench.most_at_once["queue"], len(bench.ran)) == (3, 20)


@in_loop
async def test_all_queues_together_run_so_many_jobs_at_once_and_the_first_of_each_queue() -> None:
    async with running(concurrency=5, per_queue=2) as bench:
        for queue in "abcdef":
            bench.gates[queue] = asyncio.Event()
            await bench.due(0, 1, 2, 3, queue=queue)
        await bench.until(lambda: len(bench.ran) >= 8)
        for gate in bench.gates.values():
            gate.set()
        await bench.scheduler.settled()
        assert (bench.most_at_once["all"], len(bench.ran)) == (8, 18)


@in_loop
async def test_queues_whose_jobs_hang_delay_no_other_however_many_they_are() -> None:
    async with running(concurrency=8, per_queue=4) as bench:
        for queue in "abcdefgh":
            bench.gates[queue] = asyncio.Event()
            await bench.due(0, *range(10), queue=queue)
        await bench.until(lambda: sum(bench.at_once.get(queue, 0) for queue in "abcdefgh") >= 8)
        await bench.due(0, *range(1000, 1050), queue="healthy")
        await bench.until(lambda: set(range(1000, 1050)) <= set(bench.subjects))
        assert bench.most_at_once["healthy"] == 1


@in_loop
async def test_the_first_jobs_of_very_many_queues_wait_their_turn() -> None:
    async with running(concurrency=1) as bench:
        for number in range(20):
            bench.gates[str(number)] = asyncio.Event()
            await bench.due(0, number, queue=str(number))
        await bench.until(lambda: len(bench.ran) >= 8)
        for gate in bench.gates.values():
            gate.set()
        await bench.scheduler.settled()
        assert (bench.most_at_once["all"], len(bench.ran)) == (8, 20)


@in_loop
async def test_a_queue_whose_jobs_hang_delays_no_other() -> None:
    async with running(per_queue=4) as bench:
        bench.gates["hanging"] = asyncio.Event()
        await bench.due(0, *range(100), queue="hanging")
        await bench.due(0, *range(1000, 1050), queue="healthy")
        await bench.until(lambda: set(range(1000, 1050)) <= set(bench.subjects))
        assert bench.at_once["hanging"] == 4


@in_loop
async def test_a_queue_goes_on_when_its_jobs_no_longer_hang() -> None:
    async with running(per_queue=2) as bench:
        bench.gates["queue"] = asyncio.Event()
        await bench.due(0, *range(10))
        await bench.until(lambda: len(bench.ran) == 2)
        bench.gates["queue"].set()
        await bench.scheduler.settled()
        assert sorted(bench.subjects) == list(range(10))


@in_loop
async def test_queues_that_want_all_the_room_take_turns() -> None:
    async with running(concurrency=1, per_queue=1) as bench:
        await bench.set((0, 1, "a"), (0, 2, "a"), (0, 3, "a"), (0, 4, "b"))
        await bench.scheduler.settled()
        assert bench.subjects in ([1, 4, 2, 3], [4, 1, 2, 3])


# Pace --------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_paced_queue_starts_so_many_timers_a_second() -> None:
    async with running() as bench:
        bench.scheduler.rate_limit("queue", lambda _: 2.0)
        await bench.due(0, 1, 2, 3, 4)
        await bench.scheduler.advance(10_000)
        assert bench.ran == [(0.5, 1), (1.0, 2), (1.5, 3), (2.0, 4)]


@in_loop
async def test_pacing_one_queue_leaves_the_others_alone() -> None:
    async with running() as bench:
        bench.scheduler.rate_limit("slow", lambda _: 1.0)
        await bench.due(0, 1, 2, queue="slow")
        await bench.due(0, 3, 4, queue="quick")
        await bench.scheduler.settled()
        assert bench.subjects == [3, 4]


@in_loop
async def test_a_queue_that_is_no_longer_paced_runs_as_timers_come() -> None:
    async with running() as bench:
        bench.scheduler.rate_limit("queue", lambda _: 1.0)
        await bench.due(0, 1, 2, 3)
        bench.scheduler.rate_limit("queue", lambda _: None)
        bench.scheduler.wake()
        await bench.scheduler.settled()
        assert bench.ran == [(0, 1), (0, 2), (0, 3)]


@in_loop
async def test_a_change_of_pace_is_told_what_the_pace_was() -> None:
    told: list[float | None] = []

    def change(rate: float | None) -> float:
        told.append(rate)
        return (rate or 8.0) / 2

    async with running() as bench:
        for _ in range(3):
            bench.scheduler.rate_limit("queue", change)
    assert told == [None, 4.0, 2.0]


@in_loop
async def test_a_paced_timer_is_not_late_when_its_moment_is_further_off_than_the_pace_asks() -> None:
    async with running() as bench:
        bench.scheduler.rate_limit("queue", lambda _: 1.0)
        await bench.due(30, 1)
        await bench.due(60, 2)
        await bench.scheduler.advance(60_000)
        assert bench.ran == [(30, 1), (60, 2)]


# Due now -----------------------------------------------------------------------------------------------------------


@in_loop
async def test_timers_without_a_row_keep_the_limit_and_the_order_of_their_queue() -> None:
    async with running(per_queue=3) as bench:
        bench.gates["queue"] = asyncio.Event()
        await bench.due_now(*range(20))
        await bench.until(lambda: bench.at_once.get("queue", 0) == 3)
        bench.gates["queue"].set()
        await bench.scheduler.settled()
        assert (bench.most_at_once["queue"], bench.subjects) == (3, list(range(20)))


@pytest.mark.parametrize("is_limited", [True, False])
@in_loop
async def test_timers_with_and_without_a_row_start_in_the_order_of_their_moments(is_limited: bool) -> None:
    async with running() as bench:
        bench.scheduler.rate_limit("queue", lambda _: 0.1)  # the first one after ten seconds
        await bench.due(1, 1)
        await bench.due(3, 3)
        for subject in (0, 2, 4):
            await bench.due_now(subject)
            await bench.scheduler.advance(2000)
        assert await bench.planned() == [(10, each) for each in range(5)]
        if is_limited:
            await bench.scheduler.advance(60_000)
            assert bench.ran == [(10, 0), (20, 1), (30, 2), (40, 3), (50, 4)]
        else:  # all of them at once
            bench.scheduler.rate_limit("queue", lambda _: None)
            await bench.scheduler.advance(0)
            assert bench.ran == [(6, each) for each in range(5)]


@in_loop
async def test_what_is_due_now_is_dropped_before_it_has_started() -> None:
    async with running() as bench:
        bench.scheduler.rate_limit("queue", lambda _: 1.0)
        await bench.due_now(1, 2, 3)
        await bench.database.write(lambda tx: tx.due.append(Dropped(subject=2)))
        assert await bench.planned() == [(1, 1), (1, 3)]
        await bench.database.write(lambda tx: tx.due.append(Dropped(account="another")))
        assert await bench.planned() == [(1, 1), (1, 3)]
        await bench.database.write(lambda tx: tx.due.append(Dropped(account="default")))
        assert await bench.planned() == []


@in_loop
async def test_what_is_due_now_keeps_its_distance_when_the_clock_is_brought_back() -> None:
    async with running() as bench:
        await bench.scheduler.advance(HOUR_MS)
        bench.scheduler.rate_limit("queue", lambda _: 1.0)
        await bench.due_now(1)
        back = partial(bench.scheduler.shift, by_ms=-HOUR_MS, change=lambda _: bench.clock.reset())
        await bench.database.write(back, alone=True)
        [(due_s, subject)] = await bench.planned()
        assert subject == 1
        assert abs(due_s) < 60
        await bench.scheduler.advance(60_000)
        assert bench.subjects == [1]


@in_loop
async def test_what_is_due_now_is_tried_again_after_a_minute_when_its_handler_breaks_a_promise() -> None:
    async with running() as bench:
        broken = [1]

        def handle(tx: Tx, timer: Timer) -> Job | None:
            if timer.subject in broken:
                raise ValueError("a handler's own fault")
            return bench.handle(tx, timer)

        bench.scheduler.on(TimerKind.WEBHOOK, handle)
        await bench.due_now(1, 2)
        await bench.scheduler.settled()
        assert (bench.ran, await bench.planned()) == ([(0, 2)], [(60, 1)])
        broken.clear()
        await bench.scheduler.advance(60_000)
        assert bench.ran == [(0, 2), (60, 1)]


@in_loop
async def test_what_is_due_now_stays_so_while_the_store_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as bench:
        failures, paused = [StorageError("the disk is full")] * 4, []

        async def at_once(seconds: float) -> None:
            paused.append(await bench.planned())

        def handle(tx: Tx, timer: Timer) -> Job | None:
            if failures:
                raise failures.pop()
            return bench.handle(tx, timer)

        monkeypatch.setattr(Clock, "pause", staticmethod(at_once))
        bench.scheduler.on(TimerKind.WEBHOOK, handle)
        await bench.due_now(1)
        await bench.scheduler.settled()
        assert (paused, bench.ran) == ([[(0, 1)]] * 2, [(0, 1)])


@in_loop
async def test_what_is_made_in_the_commit_that_takes_others_is_taken_in_it_as_far_as_there_is_room() -> None:
    async with running(per_queue=3) as bench, asyncio.TaskGroup() as tasks:
        commits: dict[int, Tx] = {}

        def handle(tx: Tx, timer: Timer) -> Job | None:
            commits[timer.subject] = tx
            return bench.handle(tx, timer)

        def go_on() -> None:  # before the scheduler hears of the first one
            tasks.create_task(bench.database.write(second))

        def first(tx: Tx) -> None:
            tx.due.append(bench.timer(1))
            tx.then.append(go_on)

        def second(tx: Tx) -> None:
            commits[0] = tx
            tx.due += [*(bench.timer(each) for each in (2, 3, 4)), bench.timer(5, "another")]

        bench.scheduler.on(TimerKind.WEBHOOK, handle)
        await bench.database.write(first)
        await bench.until(lambda: len(bench.ran) == 5)
        assert [subject for subject in range(1, 6) if commits[subject] is commits[0]] == [1, 2, 3]
        assert sorted(bench.subjects) == [1, 2, 3, 4, 5]


@in_loop
async def test_one_that_is_due_again_while_it_is_taken_is_not_lost() -> None:
    async with running() as bench:
        again = [1]

        def handle(tx: Tx, timer: Timer) -> Job | None:
            if again:
                tx.due.append(bench.timer(again.pop()))
                return None
            return bench.handle(tx, timer)

        bench.scheduler.on(TimerKind.WEBHOOK, handle)
        await bench.due_now(1)
        await bench.scheduler.settled()
        assert bench.ran == [(0, 1)]


# Failures ----------------------------------------------------------------------------------------------------------


async def fail() -> None:
    raise ValueError("a job's own fault")


@in_loop
async def test_a_job_that_raises_does_not_stop_the_others() -> None:
    async with running() as bench:
        bench.work[1] = fail
        await bench.due(1, 1, 2)
        await bench.due(2, 3)
        await bench.scheduler.advance(5000)
        assert bench.subjects == [1, 2, 3]


@in_loop
async def test_jobs_that_raise_leave_their_room_to_others() -> None:
    async with running(concurrency=2, per_queue=1) as bench:
        for subject in range(1, 9):
            bench.work[subject] = fail
        await bench.due(0, *range(1, 9))
        await bench.due(1, 9)
        await bench.scheduler.advance(2000)
        assert bench.subjects[-1] == 9


def test_a_job_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def play() -> None:
        async with running() as bench:
            bench.work[1] = fail
            await bench.due(0, 1)
            await bench.scheduler.settled()

    with caplog.at_level(logging.ERROR):
        play()
    assert [(each.exc_info or [None])[0] for each in caplog.records] == [ValueError]


def test_timers_wait_while_the_store_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float) -> None:
        return None

    monkeypatch.setattr(Clock, "pause", staticmethod(at_once))
    failures = 3

    @in_loop
    async def play() -> None:
        async with running() as bench:

            def handle(tx: Tx, timer: Timer) -> Job | None:
                nonlocal failures
                failures -= 1
                if failures >= 0:
                    raise StorageError("the disk is full")
                return bench.handle(tx, timer)

            bench.scheduler.on(TimerKind.WEBHOOK, handle)
            await bench.due(1, 1)
            await bench.scheduler.advance(2000)
            assert bench.ran == [(1, 1)]

    play()


@in_loop
async def test_a_timer_is_gone_once_it_was_carried_out() -> None:
    async with running() as bench:
        await bench.due(1, 1)
        await bench.scheduler.advance(2000)
        assert await bench.database.read(outbox.timers) == []


# Stopping and starting again ---------------------------------------------------------------------------------------


@in_loop
async def test_timers_survive_a_restart(tmp_path: Path) -> None:
    clock = Clock.virtual()
    async with running(tmp_path / "sandbox.db", clock=clock) as bench:
        await bench.due(60, 1)
        await bench.due(30, 2, queue="another")
    async with running(tmp_path / "sandbox.db", clock=clock) as bench:
        await bench.scheduler.advance(HOUR_MS)
        assert bench.ran == [(30, 2), (60, 1)]


@in_loop
async def test_what_came_due_while_nothing_ran_runs_at_the_start(tmp_path: Path) -> None:
    clock = Clock.virtual()
    async with running(tmp_path / "sandbox.db", clock=clock) as bench:
        await bench.due(60, 1)
    clock.move_to(clock.now_ms() + HOUR_MS)
    async with running(tmp_path / "sandbox.db", clock=clock) as bench:
        await bench.scheduler.settled()
        assert bench.subjects == [1]


@in_loop
async def test_stopping_lets_jobs_under_way_end() -> None:
    ended: list[int] = []
    async with running() as bench:

        async def end() -> None:
            ended.append(1)

        bench.gates["queue"] = asyncio.Event()
        bench.work[1] = end
        await bench.due(0, 1)
        await bench.until(lambda: bench.subjects == [1])
        bench.scheduler.stop()
        assert ended == []
    assert ended == [1]


@in_loop
async def test_after_stopping_nothing_more_starts() -> None:
    async with running() as bench:
        bench.scheduler.stop()
        await bench.due(0, 1)
        await bench.scheduler.advance(1000)
        assert bench.ran == []


@in_loop
async def test_stopping_ends_an_advance_that_waits_for_a_job() -> None:
    async with running() as bench:
        bench.gates["queue"] = asyncio.Event()
        await bench.due(1, 1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.scheduler.advance(HOUR_MS))
            await bench.until(lambda: bench.subjects == [1])
            bench.scheduler.stop()
        assert bench.at_once["queue"] == 1


@in_loop
async def test_a_moment_ends_although_others_always_have_something_due() -> None:
    async with running() as bench:

        async def again() -> None:  # the traffic of somebody else: whenever it is done, the next is due
            await bench.due(0, 1, queue="others")

        bench.work[1] = again
        await bench.due(0, 1, queue="others")
        await bench.due(10, 2, queue="mine")

        assert await bench.scheduler.advance(20_000) == 1

        assert (10, 2) in bench.ran
        assert bench.clock.now_ms() - bench.begun_ms == 20_000
        bench.work.clear()


@in_loop
async def test_a_job_of_a_moment_ends_before_the_clock_moves_on_whatever_the_others_do() -> None:
    async with running() as bench:

        async def again() -> None:
            await bench.due(0, 1, queue="others")
            if len(bench.ran) > 2 * FOLLOW_UPS:
                bench.gates["mine"].set()

        bench.work[1] = again
        bench.gates["mine"] = asyncio.Event()
        ended: list[int] = []

        async def end() -> None:
            ended.append(bench.clock.now_ms() - bench.begun_ms)

        bench.work[2] = end
        await bench.due(10, 2, queue="mine")
        await bench.due(0, 1, queue="others")

        await bench.scheduler.advance(20_000)

        assert ended == [10_000]
        bench.work.clear()
