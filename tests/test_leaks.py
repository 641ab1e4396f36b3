"""Nothing grows but what is kept: threads, tasks, descriptors and memory come back to what they were.

That no test leaves threads or descriptors behind is looked after in tests/conftest.py, module by module.
"""

import gc
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bench, Receiver
from tests.faulty import eventually, fail, first_of, request_of, tasks_of
from tests.leftovers import descriptors, threads
from tests.processes import Server, receiving, serving

pytestmark = pytest.mark.proof("T14")

HANDSET = "2348020000000"
MEGABYTE = 1_000_000
ROOM = 15 * MEGABYTE  # by how much memory may differ

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc to tell")

Serving = Callable[..., Any]
Sized = Callable[[int, int], int]
Figure = Callable[[str, object], None]


@contextmanager
def nothing_left() -> Iterator[None]:
    """The block leaves no thread and no descriptor behind."""
    gc.collect()
    before = threads(), descriptors()
    yield
    gc.collect()
    eventually(lambda: threads() <= before[0] and descriptors() <= before[1])


# A server in this process ------------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@needs_proc
def test_a_server_that_is_started_and_stopped_over_and_over_leaves_nothing(
    serving: Serving, tmp_path: Path, sized: Sized, record_property: Figure
) -> None:
    def once(number: int) -> None:
        db = ":memory:" if number % 2 else str(tmp_path / "sandbox.db")
        with serving(db=db) as running:
            assert first_of(running).submit().status_code == 200

    most = sized(50, 500)
    for number in range(10):  # what is imported and cached at first use
        once(number)
    before = resident()
    with nothing_left():
        for number in range(most):
            once(number)
    grown = resident() - before
    record_property("figure", f"{most} servers: {grown / MEGABYTE:+.1f} MB, 0 threads, 0 descriptors")
    assert grown < ROOM


@needs_proc
def test_a_stop_lets_go_of_everyone_who_waits(serving: Serving, receiver: Receiver) -> None:
    with nothing_left(), serving() as running, ExitStack() as stack:
        bench = first_of(running)
        bench.patch_account(client_url=receiver.url)
        receiver.hold()
        for path in ("/events", "/events?after=0", "/messages/wait?timeout=300&text=never"):
            sock = stack.enter_context(running.connect())
            sock.sendall(f"GET /_sandbox/v1{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        fail(bench, hold=True)
        stack.enter_context(running.connect()).sendall(request_of(bench))
        bench.post(f"/handsets/{HANDSET}/send", {"text": "hello", "to": "48974", "wait": False})
        receiver.wait_for(1)  # and is not answered before the stop
        stack.callback(receiver.release)


# A server that goes on ---------------------------------------------------------------------------------------------


def leave_events(bench: Bench, sock: socket.socket) -> None:
    sock.sendall(b"GET /_sandbox/v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert sock.recv(1000)


def leave_wait(bench: Bench, sock: socket.socket) -> None:
    sock.sendall(b"GET /_sandbox/v1/messages/wait?text=never&timeout=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")


def leave_held(bench: Bench, sock: socket.socket) -> None:
    fail(bench, hold=True)
    sock.sendall(request_of(bench))


def leave_delayed(bench: Bench, sock: socket.socket) -> None:
    fail(bench, delay_s=60)
    sock.sendall(request_of(bench))


def leave_half_a_request(bench: Bench, sock: socket.socket) -> None:
    sock.sendall(request_of(bench)[:-20])


def leave_export(bench: Bench, sock: socket.socket) -> None:
    sock.sendall(b"GET /_sandbox/v1/export HTTP/1.1\r\nHost: localhost\r\n\r\n")


LEAVES = (leave_events, leave_wait, leave_held, leave_delayed, leave_half_a_request, leave_export)


@needs_proc
@pytest.mark.parametrize("leave", LEAVES, ids=lambda leave: leave.__name__.removeprefix("leave_"))
def test_clients_that_leave_in_the_middle_leave_nothing_behind(
    serving: Serving, leave: Callable[[Bench, socket.socket], None]
) -> None:
    with serving() as running:
        bench = first_of(running)
        bench.sent()
        tasks = tasks_of(running)
        with nothing_left():
            for _ in range(20):
                with running.connect() as sock:
                    leave(bench, sock)
            bench.sent(message="the last") if leave is leave_half_a_request else None
            eventually(lambda: tasks_of(running) <= tasks)
            eventually(lambda: running.services.listeners.count == 0 and not running.services.bus._subscriptions)


@needs_proc
def test_webhooks_that_fail_in_every_way_leave_nothing_behind(serving: Serving, receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/sms"
    with serving(webhook_deadline_s=0.2) as running:
        bench = first_of(running)
        tasks = tasks_of(running)
        with nothing_left():
            for url in (refusing, receiver.url, "http://169.254.169.254/sms"):
                bench.patch_account(client_url=url)
                receiver.hold()
                for _ in range(8):
                    bench.post(f"/handsets/{HANDSET}/send", {"text": "hello", "to": "48974", "wait": False})
                bench.call("PUT", "/clock", {"action": "advance", "seconds": 0})
                receiver.release()
            bench.post("/reset", status=200)
        eventually(lambda: tasks_of(running) <= tasks)


# Memory ------------------------------------------------------------------------------------------------------------


TOGETHER = 20  # requests that are sent before their answers are read


def sms(server: Server, number: int) -> bytes:
    """A request to the gateway, as bytes."""
    fields = {
        "from": "48974",
        "to": f"23480200{number % 1000:05}",
        "message": f"text {number} " + "x" * 100,
        "session_id": "s",
        "sent_date": "2024-01-02T23:50:37.000000Z",
    }
    body = json.dumps(fields).encode()
    head = (
        f"POST /ng/v1/sendsms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def texts(server: Server, count: int) -> None:
    """So many MT messages, and an MO text after every hundred of them."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=30) as sock:
        for first in range(0, count, TOGETHER):
            sock.sendall(b"".join(sms(server, first + number) for number in range(TOGETHER)))
            answers = b""
            while answers.count(b"HTTP/1.1 ") < TOGETHER or not answers.endswith(b"}"):
                answers += sock.recv(65536)
            assert answers.count(b"HTTP/1.1 200") == TOGETHER
            if first % 100 == 0:
                assert server.reply(f"text {first}") is not None


@needs_proc
def test_memory_is_flat_over_many_messages_with_retention(
    tmp_path: Path, sized: Sized, record_property: Figure
) -> None:
    most = sized(5_000, 100_000)
    keep = most // 10
    with receiving() as receiver:
        flags = {"db": tmp_path / "sandbox.db", "client-url": receiver.url, "max-messages": keep}
        with serving(tmp_path, flags) as server:
            texts(server, keep)  # as many as are kept
            server.settle()
            before = server.resident()
            texts(server, most)
            server.settle()
            grown = server.resident() - before
            receiver.bodies.clear()
    record_property("figure", f"{most:,} messages, {keep:,} kept: {grown / MEGABYTE:+.1f} MB")
    assert grown < ROOM


@needs_proc
def test_memory_is_flat_over_an_hour_with_an_application_that_fails(
    tmp_path: Path, sized: Sized, record_property: Figure
) -> None:
    with Failing() as failing:
        flags = {"db": tmp_path / "sandbox.db", "client-url": failing.url, "clock": "virtual", "max-messages": 200}
        with serving(tmp_path, flags) as server:
            rounds = sized(4, 60)
            grown = 0
            for number in range(rounds + 1):
                for text in range(25):
                    assert server.reply(f"{number} {text}") is not None
                server.settle(3600 / rounds)
                if number == 0:  # what is opened and cached at first use
                    before = server.resident()
                grown = server.resident() - before
            server.settle(6 * 3600)  # each 429 slows them down, to one a second at last
            states = {each["state"] for each in server.exported("webhook_delivery")}
    record_property("figure", f"an hour of retries, {failing.calls:,} attempts: {grown / MEGABYTE:+.1f} MB")
    assert states == {"exhausted"}
    assert failing.calls > 25 * rounds * 5
    assert grown < ROOM


class Failing:
    """An application that answers in one bad way after the other: an error with a large body, garbage, a hung-up."""

    ANSWERS = (
        b"HTTP/1.1 500 Oops\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
        b"HTTP/1.1 503 Later\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        b"\x00\xff" * 5000,
        b"",
        b"HTTP/1.1 429 Slower\r\nRetry-After: nonsense\r\nContent-Length: 0\r\n\r\n",
    )

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(target=self._serve)
        self.calls = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/sms"

    def __enter__(self) -> "Failing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:  # closed
                return
            with client:
                try:
                    client.recv(65536)
                    client.sendall(self.ANSWERS[self.calls % len(self.ANSWERS)])
                except OSError:  # the sandbox had read enough
                    pass
            self.calls += 1
