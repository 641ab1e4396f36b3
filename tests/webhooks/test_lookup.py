"""Look-ups of names, which may hang for as long as a name server is silent, on both event loops."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox.clock import Clock
from sandbox.model import OutcomeKind
from sandbox.webhooks import lookup
from sandbox.webhooks.lookup import Address
from sandbox.webhooks.poster import Poster
from tests.conftest import PATIENCE_S

SILENT = 40  # more than an event loop has threads for all that blocks


@dataclass(slots=True)
class NameServers:
    """What stands in for the system's resolver: `silent…` hangs until the test is over, all else is 127.0.0.1."""

    asked: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked[host] += 1
        if host.startswith("silent"):
            self.over.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServers]:
    it = NameServers()
    monkeypatch.setattr(socket, "getaddrinfo", it.getaddrinfo)
    yield it
    it.over.set()


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not there():
            await Clock.pause(0.001)


@pytest.fixture(params=["asyncio", "uvloop"])
def factory(request: pytest.FixtureRequest) -> Any:
    return None if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop


def test_silent_name_servers_keep_nothing_waiting_but_the_posts_to_their_hosts(
    factory: Any, name_servers: NameServers
) -> None:
    async def main() -> tuple[str, OutcomeKind]:
        poster = Poster(deadline_s=PATIENCE_S)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]  # where nobody listens in a moment
        async with asyncio.TaskGroup() as tasks:
            posts = [tasks.create_task(poster.post(f"http://silent-{each}/", b"", None)) for each in range(SILENT)]
            try:
                await until(lambda: len(name_servers.asked) == SILENT)
                other = await asyncio.wait_for(asyncio.to_thread(lambda: "done"), PATIENCE_S)
                outcome = await poster.post(f"http://healthy:{port}/", b"", None)
            finally:
                name_servers.over.set()
                for each in posts:
                    each.cancel()
        return other, outcome.kind

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == ("done", OutcomeKind.UNREACHABLE)


def test_those_who_want_the_same_name_at_the_same_time_share_a_lookup(name_servers: NameServers) -> None:
    async def main() -> None:
        poster = Poster(deadline_s=0.05)
        await asyncio.gather(*(poster.post("http://silent/", b"", None) for _ in range(5)))
        await poster.post("http://silent/", b"", None)  # the first five were given up; their look-up goes on
        name_servers.over.set()
        await until(lambda: not lookup.under_way())
        await poster.post("http://silent/", b"", None)

    asyncio.run(main())
    assert name_servers.asked["silent"] == 2


def test_lookups_are_limited_in_number_and_who_waits_for_one_has_a_deadline(
    name_servers: NameServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "MOST", 2)

    async def main() -> list[OutcomeKind]:
        poster = Poster(deadline_s=0.05)
        names = ("silent-1", "silent-2", "healthy")
        outcomes = await asyncio.gather(*(poster.post(f"http://{name}:1/", b"", None) for name in names))
        name_servers.over.set()
        await until(lambda: not lookup.under_way())
        later = await Poster(deadline_s=PATIENCE_S).post("http://healthy:1/", b"", None)
        return [each.kind for each in (*outcomes, later)]

    assert asyncio.run(main()) == [OutcomeKind.TIMED_OUT] * 3 + [OutcomeKind.UNREACHABLE]
    assert name_servers.asked["healthy"] == 1


def test_a_stop_does_not_wait_for_a_silent_name_server(name_servers: NameServers) -> None:
    def whole() -> None:
        asyncio.run(Poster(deadline_s=0.01).post("http://silent/", b"", None))

    loop = threading.Thread(target=whole)
    loop.start()
    loop.join(PATIENCE_S)
    stopped = not loop.is_alive()
    name_servers.over.set()
    loop.join()
    assert stopped


def test_where_no_thread_can_be_had_the_host_is_unreachable_and_looked_up_again(
    name_servers: NameServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def no_more(thread: threading.Thread) -> None:
        if thread.name == "sandbox-lookup":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> tuple[list[Address], int]:
        monkeypatch.setattr(threading.Thread, "start", no_more)
        for _ in range(lookup.MOST + 1):
            with pytest.raises(OSError, match="can't start new thread"):
                await lookup.addresses("healthy", 80)
        monkeypatch.setattr(threading.Thread, "start", start)
        return await lookup.addresses("healthy", 80), lookup.under_way()

    found, under_way = asyncio.run(main())
    assert ([str(each) for each in found], under_way) == (["127.0.0.1"], 0)
