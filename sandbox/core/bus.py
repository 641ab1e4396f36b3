"""Publish and subscribe in memory: events, as they are committed.

A slow subscriber is dropped, never waited for; it finds what it missed in the journal. No subscriber changes state.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from sandbox.model import Event

QUEUE = 256  # events that a subscription holds for its subscriber


class Subscription:
    """The events since it was made. Use it as a context manager, and `async for` over it.

    The loop ends when the bus is closed, or when the subscriber fell more than `QUEUE` events behind (`dropped`).
    """

    def __init__(self, bus: "Bus", wanted: Callable[[Event], bool] | None) -> None:
        self._bus = bus
        self._wanted = wanted
        self._events: deque[Event] = deque()
        self._woken = asyncio.Event()
        self._ended = False
        self.dropped = False

    def __enter__(self) -> "Subscription":
        self._bus._subscriptions.add(self)
        self._ended = self._bus.closed
        return self

    def __exit__(self, *_: object) -> None:
        self._bus._subscriptions.discard(self)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        await self.heard()
        if not self._events:
            raise StopAsyncIteration
        return self._events.popleft()

    @property
    def waiting(self) -> bool:
        """Whether there is an event to take, or there will be none."""
        return bool(self._events) or self._ended

    async def heard(self) -> None:
        """Return when there is an event to take, or there will be none."""
        while not self.waiting:
            self._woken.clear()
            await self._woken.wait()

    def _offer(self, events: Sequence[Event]) -> None:
        if self._ended:  # events after a gap would pass for all that there was
            return
        self._events.extend(events if self._wanted is None else filter(self._wanted, events))
        if len(self._events) > QUEUE:
            self._events.clear()
            self.dropped = True
            self._end()
        elif self._events:
            self._woken.set()

    def _end(self) -> None:
        self._ended = True
        self._woken.set()


class Bus:
    """Publishes committed events to all subscriptions. Publishing never waits."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self.closed = False

    def subscribe(self, wanted: Callable[[Event], bool] | None = None) -> Subscription:
        """Hear all events from now on, or only those that `wanted` says yes to."""
        return Subscription(self, wanted)

    def publish(self, events: Sequence[Event]) -> None:
        for subscription in tuple(self._subscriptions):
            subscription._offer(events)

    def close(self) -> None:
        """End every subscription after what it already holds; new ones end at once."""
        self.closed = True
        for subscription in tuple(self._subscriptions):
            subscription._end()
