"""News to whoever listens: in order, never waited for, and ended in good order."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec

from sandbox.core.bus import QUEUE, Bus, Subscription
from sandbox.model import Event, EventType

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


def entry(seq: int, account: str = "default") -> Event:
    return Event(seq, 0, EventType.ATTEMPT_MADE, account, seq, None)


def entries(first: int, last: int) -> Sequence[Event]:
    return [entry(seq) for seq in range(first, last + 1)]


async def rest(subscription: Subscription) -> list[int]:
    """The numbers of all news until the subscription ends."""
    return [each.seq async for each in subscription]


@in_loop
async def test_a_listener_hears_all_news_in_order() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        bus.publish(entries(1, 3))
        bus.publish(entries(4, 5))
        bus.close()
        assert await rest(news) == [1, 2, 3, 4, 5]


@in_loop
async def test_a_listener_that_waits_is_woken_by_news() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        asyncio.get_running_loop().call_soon(bus.publish, entries(1, 1))
        assert (await anext(news)).seq == 1


@in_loop
async def test_every_listener_hears_the_same_news() -> None:
    bus = Bus()
    with bus.subscribe() as one, bus.subscribe() as other:
        bus.publish(entries(1, 2))
        bus.close()
        assert (await rest(one), await rest(other)) == ([1, 2], [1, 2])


@in_loop
async def test_a_listener_hears_only_what_it_wants() -> None:
    bus = Bus()
    with bus.subscribe(lambda each: each.account == "mine") as news:
        bus.publish([entry(1, "mine"), entry(2, "another"), entry(3, "mine")])
        bus.close()
        assert await rest(news) == [1, 3]


@in_loop
async def test_a_listener_does_not_hear_what_came_before_it() -> None:
    bus = Bus()
    bus.publish(entries(1, 2))
    with bus.subscribe() as news:
        bus.close()
        assert await rest(news) == []


@in_loop
async def test_a_listener_that_has_left_hears_no_more() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        pass
    bus.publish(entries(1, 2))
    bus.close()
    with bus.subscribe() as later:
        assert await rest(later) == []
    assert not news.dropped


@in_loop
async def test_a_listener_may_fall_behind_as_far_as_its_queue_reaches() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        bus.publish(entries(1, QUEUE))
        bus.close()
        assert await rest(news) == list(range(1, QUEUE + 1))


@in_loop
async def test_a_listener_that_falls_further_behind_is_dropped() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        for seq in range(1, QUEUE + 2):
            bus.publish([entry(seq)])
        assert (await rest(news), news.dropped) == ([], True)


@in_loop
async def test_what_a_listener_does_not_want_does_not_fill_its_queue() -> None:
    bus = Bus()
    with bus.subscribe(lambda each: each.account == "mine") as news:
        bus.publish(entries(1, 10 * QUEUE))
        bus.publish([entry(5000, "mine")])
        assert (await anext(news)).seq == 5000


@in_loop
async def test_a_slow_listener_costs_the_others_nothing() -> None:
    bus = Bus()
    heard: list[int] = []
    with bus.subscribe() as slow, bus.subscribe() as quick:
        for seq in range(1, 3 * QUEUE + 1):
            bus.publish([entry(seq)])
            heard.append((await anext(quick)).seq)
        assert slow.dropped
    assert heard == list(range(1, 3 * QUEUE + 1))


@in_loop
async def test_a_dropped_listener_hears_nothing_after_the_gap() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        bus.publish(entries(1, QUEUE + 1))
        bus.publish(entries(QUEUE + 2, QUEUE + 3))
        assert await rest(news) == []


@in_loop
async def test_news_after_the_end_is_not_heard() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        bus.close()
        bus.publish(entries(1, 1))
        assert await rest(news) == []


@in_loop
async def test_closing_ends_the_listener_that_waits() -> None:
    bus = Bus()
    with bus.subscribe() as news:
        asyncio.get_running_loop().call_soon(bus.close)
        assert await rest(news) == []


@in_loop
async def test_listening_to_a_closed_bus_ends_at_once() -> None:
    bus = Bus()
    bus.close()
    with bus.subscribe() as news:
        assert await rest(news) == []
