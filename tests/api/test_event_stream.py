"""The event stream: its iterator by itself, and over a real socket, where listeners come back, dawdle or stay away."""

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
)
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import pytest
import requests

from sandbox.api import event_stream
from sandbox.clock import stopwatch
from sandbox.core.bus import QUEUE, Bus
from sandbox.model import EventType
from sandbox.store import journal
from sandbox.store.database import Database, Tx

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver, Running

P = ParamSpec("P")
PATIENCE_S = 10.0
STILL_HERE = b": still here\n\n"


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Database, Bus]]:
    """A store whose news goes to a bus, as in a sandbox."""
    bus = Bus()
    database = Database(":memory:", committed=lambda news, _: bus.publish(news))
    database.open()
    try:
        yield database, bus
    finally:
        await database.close()


async def happen(database: Database, number: int = 1, *, account: str | None = "default") -> list[int]:
    """So many events in one commit. Returns their numbers."""

    def write(tx: Tx) -> list[int]:
        return [journal.record(tx, EventType.HANDSET_CHANGED, at_ms=0, account=account) for _ in range(number)]

    return await database.write(write)


def ids(chunk: bytes) -> list[int]:
    return [int(line[4:]) for line in chunk.split(b"\n") if line.startswith(b"id: ")]


def listen(
    database: Database, bus: Bus, *, account: str | None = None, after: int | None = None, full: bool = True
) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """The stream of a listener, which leaves at the end of the block."""
    stream = event_stream.events(database, bus, account=account, after=after, full=full)
    assert isinstance(stream, AsyncGenerator)
    return aclosing(stream)


async def come_up_to_date(stream: AsyncIterator[bytes]) -> None:
    """Read until there is no more in the journal, and the stream waits for news."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_stream, "HEARTBEAT_S", 0)
        while await anext(stream) != STILL_HERE:
            pass


async def read(stream: AsyncIterator[bytes], number: int) -> list[int]:
    """The numbers of the next so many events."""
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < number:
            found += ids(await anext(stream))
    return found


async def read_to_the_end(stream: AsyncIterator[bytes]) -> list[int]:
    async with asyncio.timeout(PATIENCE_S):
        return [each async for chunk in stream for each in ids(chunk)]


# The iterator ------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_listener_hears_what_happens_from_now_on() -> None:
    async with opened() as (database, bus):
        await happen(database, 3)
        async with listen(database, bus) as stream:
            assert await anext(stream) == b"retry: 1000\n: connected at %d\n\n" % await database.read(journal.last_seq)
            later = await happen(database, 2)
            assert await read(stream, 2) == later


@in_loop
async def test_a_listener_that_comes_back_hears_what_it_missed_and_then_what_happens() -> None:
    async with opened() as (database, bus):
        seen, *missed = await happen(database, 5)
        async with listen(database, bus, after=seen) as stream:
            assert await read(stream, 4) == missed
            await come_up_to_date(stream)
            later = await happen(database)
            assert await read(stream, 1) == later


@in_loop
async def test_what_happens_while_the_past_is_read_is_heard_once() -> None:
    async with opened() as (database, bus):
        past = await happen(database, 2)
        async with listen(database, bus, after=past[0] - 1) as stream:
            await anext(stream)  # it listens from here on, and has read nothing of the past
            present = await happen(database, 3)
            assert await read(stream, 5) == past + present
            await come_up_to_date(stream)
            future = await happen(database, 1)
            assert await read(stream, 1) == future


@in_loop
async def test_a_long_past_is_heard_page_by_page_and_whole() -> None:
    async with opened() as (database, bus):
        past = await happen(database, 1201)
        async with listen(database, bus, after=past[0] - 1) as stream:
            assert await read(stream, 1201) == past


@in_loop
async def test_a_listener_hears_of_its_account_and_of_what_belongs_to_none() -> None:
    async with opened() as (database, bus):
        past = [*await happen(database, account="mine"), *await happen(database, account=None)]
        await happen(database, account="other")
        async with listen(database, bus, account="mine", after=past[0] - 1) as stream:
            assert await read(stream, 2) == past
            await come_up_to_date(stream)
            await happen(database, account="other")
            future = [*await happen(database, account="mine"), *await happen(database, account=None)]
            assert await read(stream, 2) == future


@in_loop
async def test_a_listener_may_fall_as_far_behind_as_its_queue_is_long() -> None:
    async with opened() as (database, bus), listen(database, bus) as stream:
        await come_up_to_date(stream)
        later = await happen(database, QUEUE)
        assert await read(stream, QUEUE) == later


@in_loop
async def test_a_listener_that_falls_further_behind_is_cut_off_and_resumes_without_loss() -> None:
    async with opened() as (database, bus):
        async with listen(database, bus) as stream:
            await come_up_to_date(stream)
            first = await happen(database)
            assert await read(stream, 1) == first
            missed = await happen(database, QUEUE + 1)
            assert await read_to_the_end(stream) == []
        async with listen(database, bus, after=first[0]) as stream:
            assert await read(stream, QUEUE + 1) == missed


@in_loop
async def test_a_slow_listener_does_not_cut_off_another() -> None:
    async with opened() as (database, bus), listen(database, bus) as slow, listen(database, bus) as quick:
        await come_up_to_date(slow)
        await come_up_to_date(quick)
        for _ in range(QUEUE + 10):
            now = await happen(database)
            assert await read(quick, 1) == now


@in_loop
async def test_a_listener_that_leaves_is_forgotten() -> None:
    async with opened() as (database, bus):
        async with listen(database, bus) as stream:
            await anext(stream)
            assert len(bus._subscriptions) == 1
        assert not bus._subscriptions


@in_loop
async def test_a_stream_ends_with_the_bus_after_what_it_holds() -> None:
    async with opened() as (database, bus), listen(database, bus) as stream:
        await anext(stream)
        last = await happen(database, 2)
        bus.close()
        assert await read_to_the_end(stream) == last


@in_loop
async def test_a_stream_of_a_closed_bus_ends_after_the_past() -> None:
    async with opened() as (database, bus):
        past = await happen(database, 2)
        bus.close()
        async with listen(database, bus, after=past[0] - 1) as stream:
            assert await read_to_the_end(stream) == past


@in_loop
async def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0)
    async with opened() as (database, bus), listen(database, bus) as stream:
        await anext(stream)
        assert [await anext(stream) for _ in range(3)] == [STILL_HERE] * 3
        now = await happen(database, 2)
        assert await read(stream, 2) == now


@pytest.mark.parametrize("full", [True, False])
@in_loop
async def test_an_event_is_an_id_a_kind_and_one_line_of_json(full: bool) -> None:
    async with opened() as (database, bus):
        (seq,) = await happen(database)
        async with listen(database, bus, after=seq - 1, full=full) as stream:
            await anext(stream)
            lines = (await anext(stream)).decode().split("\n")
    assert lines[:2] == [f"id: {seq}", "event: handset_changed"]
    assert lines[3:] == ["", ""]
    assert json.loads(lines[2].removeprefix("data: ")) == {
        "seq": seq,
        "at": "1970-01-01T00:00:00.000000Z",
        "kind": "handset_changed",
        "account": "default",
        "msisdn": None,
    }


# Over a real socket ------------------------------------------------------------------------------------------------


class Listener:
    """A client of the event stream that reads when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.response = http.client.HTTPResponse(sock, method="GET")
        self.response.begin()
        if self.response.status == 200:  # it listens from the comment on, not from the headers on
            assert self.response.readline() == b"retry: 1000\n"
            assert self.response.readline().startswith(b": connected at ")
        self.last: int | None = None

    def next(self) -> Any:
        """The data of the next event, or None if the stream has ended as it should."""
        identifier, kind = None, None
        while True:
            line = self.response.readline()
            if not line:
                assert self.response.isclosed(), "the connection ended in the middle of the stream"
                return None
            name, _, value = line.decode().rstrip("\n").partition(": ")
            match name:
                case "id":
                    identifier = int(value)
                case "event":
                    kind = value
                case "data":
                    data = json.loads(value)
                    assert (data["seq"], data["kind"]) == (identifier, kind)
                    self.last = identifier
                    return data

    def wait_for(self, kind: str) -> Any:
        """The data of the next event of a kind."""
        while (data := self.next()) is not None:
            if data["kind"] == kind:
                return data
        raise AssertionError(f"the stream ended without {kind}")

    def rest(self) -> list[Any]:
        """The data of all events up to the end of the stream."""
        found = []
        while (data := self.next()) is not None:
            found.append(data)
        return found


@contextmanager
def listening(
    running: "Running", query: str = "", *headers: str, receive_buffer: int | None = None
) -> Iterator[Listener]:
    with socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE_S)
        sock.connect(("127.0.0.1", running.address.port))
        lines = [f"GET /_sandbox/v1/events{query} HTTP/1.1", "Host: localhost", *headers, "", ""]
        sock.sendall("\r\n".join(lines).encode())
        listener = Listener(sock)
        try:
            yield listener
        finally:
            listener.response.close()


def test_the_stream_says_what_it_is_and_that_nobody_may_keep_it(bench: "Bench") -> None:
    with listening(bench.sandbox) as listener:
        assert listener.response.status == 200
        assert listener.response.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert listener.response.getheader("cache-control") == "no-store"


def test_a_message_is_heard_as_the_control_api_shows_it(bench: "Bench") -> None:
    with listening(bench.sandbox, f"?account={bench.account}") as listener:
        message = bench.sent(message="₦1\r\n\r\ndata: {}\u2028\x1b")
        heard = listener.wait_for("message_submitted")
    assert heard["message"] == bench.get(f"/messages/{message}")
    assert (heard["account"], heard["msisdn"], heard["message_id"]) == (bench.account, "2348020000000", message)


def test_a_refused_call_is_heard(bench: "Bench") -> None:
    with listening(bench.sandbox, f"?account={bench.account}") as listener:
        refused = bench.submit(to="0802").headers["ninebits-sandbox-request"]
        heard = listener.wait_for("message_refused")
    assert heard["request_id"] == refused
    assert heard["request"] == bench.get(f"/requests/{refused}")


def test_the_life_of_a_webhook_delivery_is_heard(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_next(500)
    with listening(routed.sandbox, f"?account={routed.account}") as listener:
        done = routed.post("/handsets/2348020000000/send", {"text": "CINEMA", "to": "48974"})
        owed = done["webhook_delivery"]["id"]
        routed.post(f"/webhook-deliveries/{owed}/attempt", status=200)
        again = routed.post(f"/webhook-deliveries/{owed}/redeliver")["id"]
        heard = [listener.next() for _ in range(8)]
    assert [each["kind"] for each in heard] == [
        "message_originated",
        "attempt_begun",
        "attempt_made",
        "attempt_begun",
        "attempt_made",
        "delivery_redelivered",
        "attempt_begun",
        "attempt_made",
    ]
    assert [each.get("webhook_delivery_id") for each in heard] == [None, *[owed] * 4, *[again] * 3]
    assert heard[-1]["webhook_delivery"] == routed.get(f"/webhook-deliveries/{again}")


def test_the_life_of_a_fault_is_heard(bench: "Bench") -> None:
    with listening(bench.sandbox, f"?account={bench.account}") as listener:
        fault = bench.post("/faults", {"on": "sendsms", "effect": {"status": 503}})
        assert listener.wait_for("fault_changed")["fault"] == fault
        bench.submit()
        assert listener.wait_for("fault_changed")["fault"] == bench.get(f"/faults/{fault['id']}")
        bench.call("DELETE", f"/faults/{fault['id']}")
        heard = listener.wait_for("fault_changed")
    assert (heard["fault_id"], heard["fault"]) == (fault["id"], None)


def test_the_life_of_a_scenarios_run_is_heard(bench: "Bench") -> None:
    with listening(bench.sandbox, f"?account={bench.account}") as listener:
        run = bench.post("/scenarios/happy-survey/runs", {"msisdn": "2348020000000"})["id"]
        assert listener.wait_for("run_started")["run_id"] == run
        bench.sent(message="It knows nothing of this one.")
        assert listener.wait_for("run_missed")["run"]["misses"]
        stopped = bench.post(f"/scenarios/happy-survey/runs/{run}/stop", status=200)
        assert listener.wait_for("run_ended")["run"] == stopped


def test_a_brief_stream_names_things_and_does_not_show_them(bench: "Bench") -> None:
    with listening(bench.sandbox, f"?account={bench.account}&view=brief") as listener:
        message = bench.sent()
        heard = listener.wait_for("message_submitted")
    assert heard["message_id"] == message
    assert "message" not in heard


def test_a_listener_resumes_from_the_last_event_that_it_names(bench: "Bench") -> None:
    query = f"?account={bench.account}"
    with listening(bench.sandbox, query) as listener:
        first = bench.sent()
        assert listener.wait_for("message_submitted")["message_id"] == first
        last = listener.last
    missed = [bench.sent() for _ in range(3)]
    with listening(bench.sandbox, query, f"Last-Event-ID: {last}") as listener:
        assert [listener.next()["message_id"] for _ in range(3)] == missed
        now = bench.sent()
        assert listener.next()["message_id"] == now


def test_the_last_event_counts_more_than_the_address(bench: "Bench") -> None:
    first, second = bench.sent(), bench.sent()
    query = f"?account={bench.account}&after=0"
    with listening(bench.sandbox, query, f"Last-Event-ID: {first[1:]}") as listener:
        assert listener.next()["message_id"] == second


def test_a_stream_can_begin_after_a_message(bench: "Bench") -> None:
    first, second = bench.sent(), bench.sent()
    with listening(bench.sandbox, f"?account={bench.account}&after={first}") as listener:
        assert listener.next()["message_id"] == second


@pytest.mark.parametrize("last", ["", "x", "-1", "1.5", "m1", "9" * 30, "0x1"])
def test_a_last_event_that_is_none_is_passed_over(bench: "Bench", last: str) -> None:
    bench.sent()
    with listening(bench.sandbox, f"?account={bench.account}", f"Last-Event-ID: {last}") as listener:
        now = bench.sent()
        assert listener.next()["message_id"] == now


def test_wrong_arguments_of_the_stream_are_named_all_at_once(bench: "Bench") -> None:
    response = bench.call("GET", "/events", after="x", view="long", kind="message_submitted")
    assert response.status_code == 400
    assert [each["field"] for each in response.json()["errors"]] == ["after", "view", "kind"]


def test_a_listener_hears_nothing_of_another_account(bench: "Bench") -> None:
    with listening(bench.sandbox, "?account=default") as listener:
        bench.sent()
        headers = {"Authorization": "Bearer sandbox-token"}
        refused = bench.sandbox.request("POST", "/ng/v1/sendsms", json={}, headers=headers)
        assert listener.next()["request_id"] == refused.headers["ninebits-sandbox-request"]


def flood(url: str, token: str, number: int) -> list[str]:
    """Send messages whose events are as large as can be, about 20 kB each. Returns their identifiers."""
    body = {
        "from": "48974",
        "to": "2348020000000",
        "message": "😀" * 1600,
        "session_id": "1",
        "sent_date": "2024-01-02T23:50:37.000000Z",
    }
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        answers = [session.post(f"{url}/ng/v1/sendsms", json=body, timeout=PATIENCE_S) for _ in range(number)]
    return [each.json()["reference_id"] for each in answers]


def test_a_listener_that_does_not_read_is_cut_off_and_resumes_without_loss(bench: "Bench") -> None:
    query = f"?account={bench.account}"
    with listening(bench.sandbox, query, receive_buffer=4096) as listener:
        sent = flood(bench.sandbox.url, bench.token, 3 * QUEUE)  # 15 MB, more than buffers and queue hold
        heard = [each["message_id"] for each in listener.rest()]
        last = listener.last
    assert 0 < len(heard) < len(sent)
    with listening(bench.sandbox, query, f"Last-Event-ID: {last}") as listener:
        heard += [listener.next()["message_id"] for _ in range(len(sent) - len(heard))]
    assert heard == sent


def test_a_stop_ends_streams_at_once_and_as_it_should(
    serving: Callable[..., AbstractContextManager["Running"]],
) -> None:
    with ExitStack() as stack:
        with serving() as running:
            listeners = [stack.enter_context(listening(running)) for _ in range(5)]
            begun = stopwatch()
        taken_s = stopwatch() - begun
        assert [listener.rest() for listener in listeners] == [[]] * 5
    assert taken_s < 2.5, "it waited for a stream that does not end by itself"


def test_a_stop_does_not_wait_for_a_listener_that_does_not_read(
    serving: Callable[..., AbstractContextManager["Running"]],
) -> None:
    with ExitStack() as stack:
        with serving() as running:
            stack.enter_context(listening(running, receive_buffer=4096))
            flood(running.url, "sandbox-token", 2 * QUEUE)
            begun = stopwatch()
        taken_s = stopwatch() - begun
    assert taken_s < 2.5, "it waited for a client that takes nothing"


def test_there_are_so_many_streams_at_once_and_no_more(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox(max_event_streams=2).sandbox
    with listening(running), listening(running), listening(running) as third:
        assert third.response.status == 503
        assert int(third.response.getheader("retry-after") or 0) > 0
