"""Waiting for messages and verifying them: long polls that events wake.

Nothing here changes what is recorded. Time-outs are real seconds, because the application's own clock is real; on a
clock that stands still a wait lets it jump to the account's next timer as soon as nothing else can happen.
"""

import asyncio
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sandbox.clock import Clock, stopwatch
from sandbox.core.bus import Bus, Subscription
from sandbox.core.faults import LiveFaults
from sandbox.core.scheduler import Scheduler
from sandbox.errors import NotFound
from sandbox.model import Event, EventType, Message, TimerKind
from sandbox.rules import matching
from sandbox.rules.matching import Match, NearMiss
from sandbox.store import journal, messages, outbox
from sandbox.store.database import Database, Queries

T = TypeVar("T")

QUIET_S = 0.01  # without an event of the account, before a clock that stands still may jump
MOST = 10_000  # messages that a search goes through
NEAR = 3  # near misses in an answer
LOOKED_AT = 200  # newest messages among which they are looked for

_GONE = (EventType.RESET, EventType.ACCOUNT_REMOVED)
_COMING = frozenset({EventType.MESSAGE_SUBMITTED, EventType.MESSAGE_ARRIVED, EventType.MESSAGE_ORIGINATED, *_GONE})
_CHANGING = frozenset(  # the state of a message
    {EventType.ATTEMPT_BEGUN, EventType.ATTEMPT_MADE, EventType.DELIVERY_REDELIVERED, EventType.DELIVERY_CANCELLED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """What came of it. `messages` are those that fit, oldest first; `seq` is the journal's number up to which all was
    looked at, from where another wait may go on."""

    satisfied: bool
    messages: Sequence[Message]
    near_misses: Sequence[NearMiss]
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How often something should be there."""

    at_least: int = 1
    at_most: int | None = None

    def met(self, count: int) -> bool:
        return self.at_least <= count and (self.at_most is None or count <= self.at_most)


class Watch:
    def __init__(self, database: Database, clock: Clock, scheduler: Scheduler, bus: Bus, faults: LiveFaults) -> None:
        self._database = database
        self._clock = clock
        self._scheduler = scheduler
        self._bus = bus
        self._faults = faults

    async def wait_for(
        self, account: str, match: Match, *, count: int = 1, timeout_s: float = 5.0, after: int = 0
    ) -> Waited:
        """Return when `count` messages with a number above `after` fit, or when `timeout_s` real seconds are over.

        Raises NotFound if the account is removed meanwhile.
        """
        return await self._watch(account, match, Times(at_least=count), timeout_s, after, early=True)

    async def verify(
        self, account: str, match: Match, times: Times, *, within_s: float = 0.0, after: int = 0
    ) -> Waited:
        """Say whether as many messages fit as `times` wants, or come to do so within real seconds.

        What has an upper bound has to stay below it until then.
        """
        return await self._watch(account, match, times, within_s, after, early=times.at_most is None)

    async def hear(self, account: str, events: Subscription, wanted: Callable[[Event], bool], timeout_s: float) -> None:
        """Return when an event is `wanted`, or none will come any more, or after `timeout_s` real seconds."""
        await self._next_wanted(account, events, wanted, stopwatch() + timeout_s, wanting=True)

    async def _watch(
        self, account: str, match: Match, times: Times, timeout_s: float, after: int, *, early: bool
    ) -> Waited:
        """Look, and look again with each event, until it is decided; `early`: enough is enough."""
        end = stopwatch() + timeout_s
        kinds = _COMING if match.state is None else _COMING | _CHANGING
        dropped = True
        while dropped:  # more events than a subscription holds: subscribe anew, and look again
            with self._bus.subscribe(partial(_concerns, account)) as events:
                while True:
                    likely, seq = await self._database.read(partial(_likely, account, match, after))
                    found = await _aside(match, partial(_fitting, match, likely))
                    wanting = len(found) < times.at_least
                    too_many = times.at_most is not None and len(found) > times.at_most
                    if (
                        too_many
                        or (early and not wanting)
                        or not await self._next_wanted(account, events, partial(_tells, kinds), end, wanting)
                    ):
                        break
            dropped = events.dropped
        if times.met(len(found)):
            return Waited(satisfied=True, messages=found, near_misses=(), seq=seq)
        newest = await self._database.read(
            lambda db: messages.page(db, account=account, after=after, before=seq + 1, limit=LOOKED_AT)
        )
        near = await _aside(match, partial(matching.nearest, match, newest, NEAR))
        return Waited(satisfied=False, messages=found, near_misses=near, seq=seq)

    async def _next_wanted(
        self, account: str, events: Subscription, telling: Callable[[Event], bool], end: float, wanting: bool
    ) -> bool:
        """Return True when an event is `telling`, False when the time is over.

        While somebody is `wanting` more, a clock that stands still jumps as soon as the account is quiet.
        """
        quiet_since, in_flight = stopwatch(), False
        while (now := stopwatch()) < end and not self._bus.closed:
            jumping = wanting and self._clock.frozen
            event = await _next(events, min(end - now, QUIET_S) if jumping else end - now)
            if event is not None:
                if telling(event):
                    return True
                quiet_since = stopwatch()
            elif events.dropped:
                return False
            elif jumping:
                was_in_flight = in_flight
                in_flight = self._scheduler.busy(account) or self._faults.delaying(account)
                if in_flight or was_in_flight:  # no event tells that an answer went out late, to which one may react
                    quiet_since = stopwatch()
                else:
                    await self._jump(account, events, end, stopwatch() - quiet_since)
        return False

    async def _jump(self, account: str, events: Subscription, end: float, quiet_s: float) -> None:
        """Let the clock jump to the account's next timer.

        The time that a scenario's step gives is the application's, so that it is over only after as much real time.
        """
        timers = list(await self._database.read(lambda db: outbox.next_of_account(db, account)))
        timers += [(it.queue, it.kind, it.due_ms) for it in self._scheduler.ready(account)]
        if not timers or events.waiting:
            return
        due_ms, kind = min((self._scheduler.starts_ms(queue, due_ms), kind) for queue, kind, due_ms in timers)
        if kind is TimerKind.WINDOW and due_ms - self._clock.now_ms() > quiet_s * 1000:
            return
        # Whoever is called now may take longer than there is time, and what is waited for may come before that ends.
        try:
            async with asyncio.timeout(end - stopwatch()), asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(_interrupt(events))
                await self._scheduler.advance_to(due_ms)
                hearing.cancel()
        except TimeoutError:
            pass
        except BaseExceptionGroup as group:  # of one: whichever came first cancelled the other
            if not isinstance(group.exceptions[0], _Heard):
                raise group.exceptions[0] from None


class _Heard(Exception):
    """There is an event."""


async def _interrupt(events: Subscription) -> None:
    await events.heard()
    raise _Heard


async def _aside(match: Match, work: Callable[[], Sequence[T]]) -> Sequence[T]:
    """Do what a pattern may make long in another thread, where it holds up neither the loop nor the store."""
    return work() if match.pattern is None else await asyncio.to_thread(work)


def _tells(kinds: Set[EventType], event: Event) -> bool:
    if event.kind is EventType.ACCOUNT_REMOVED:
        raise NotFound(f"The account {event.account} was removed.")
    return event.kind in kinds


def _concerns(account: str, event: Event) -> bool:
    return event.account == account or (event.account is None and event.kind in _GONE)


async def _next(events: Subscription, seconds: float) -> Event | None:
    """The next event, or None if none came in time, or none will."""
    try:
        async with asyncio.timeout(seconds):
            return await anext(events)
    except (TimeoutError, StopAsyncIteration):
        return None


def _likely(account: str, match: Match, after: int, db: Queries) -> tuple[Sequence[Message], int]:
    """The messages that may fit, by what the store can tell, oldest first; and the number up to which was looked."""
    seq = journal.last_seq(db)
    page = messages.page(
        db,
        account=account,
        to=match.to,
        from_=match.from_,
        session_id=match.session_id,
        direction=match.direction,
        state=match.state,
        text=None if match.ignore_case else match.text,
        after=max(after, messages.beyond(db, account, most=MOST)),
        limit=MOST,
    )
    return page[::-1], seq  # of too many the newest, among which is what has just come


def _fitting(match: Match, likely: Sequence[Message]) -> Sequence[Message]:
    return [each for each in likely if not matching.differences(match, each)]
