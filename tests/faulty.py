"""Words in which tests ask for failures, and look at what came of them.

Shared by the tests of faults on calls and on webhooks; nothing in here is a test.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from sandbox.core.gateway import PATH
from tests.conftest import PATIENCE_S, Bench, Running

T = TypeVar("T")

HANDSET = "2348020000000"
EXAMPLE = (
    b'{"from": "48974", "to": "2348020000000", "message": "When was the last time you went to the cinema?", '
    b'"session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)


def first_of(running: Running) -> Bench:
    """The first account of a sandbox that was just started."""
    account = running.services.settings.accounts[0]
    return Bench(sandbox=running, account=account.name, token=account.token)


def fail(
    bench: Bench,
    on: str = "sendsms",
    *,
    times: int | None = 1,
    match: dict[str, object] | None = None,
    **effect: object,
) -> str:
    """Ask for a failure. Returns the fault's identifier."""
    made: str = bench.post("/faults", {"on": on, "times": times, "match": match, "effect": effect})["id"]
    return made


def lift(bench: Bench, fault: str | None = None) -> None:
    """Remove one fault of the account, or all."""
    assert bench.call("DELETE", "/faults" if fault is None else f"/faults/{fault}").status_code == 204


def used(bench: Bench, fault: str) -> int:
    """How often a fault struck."""
    count: int = bench.get(f"/faults/{fault}")["used"]
    return count


def statuses(bench: Bench, calls: int) -> list[int]:
    """What so many calls, one after the other, are answered with."""
    return [bench.submit().status_code for _ in range(calls)]


def last_request(bench: Bench) -> Any:
    return bench.get("/requests", limit=1)["requests"][0]


def eventually(look: Callable[[], T]) -> T:
    """What `look` finds, as soon as it finds something."""
    until = monotonic() + PATIENCE_S
    while not (found := look()):
        assert monotonic() < until, "it did not come about"
    return found


# Over a socket -----------------------------------------------------------------------------------------------------


def request_of(bench: Bench, body: bytes = EXAMPLE) -> bytes:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bench.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def rest_of(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def seen(bench: Bench, body: bytes = EXAMPLE) -> bytes:
    """All that an application sees of a connection on which it makes one call."""
    with bench.sandbox.connect() as sock:
        sock.sendall(request_of(bench, body))
        return rest_of(sock)


# Inside the sandbox ------------------------------------------------------------------------------------------------


def in_loop(running: Running, work: Coroutine[Any, Any, T]) -> T:
    """Run something where the sandbox runs."""
    loop = running.services.database._loop
    assert loop is not None
    return asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_S)


async def _tasks() -> int:
    return len(asyncio.all_tasks())


def tasks_of(running: Running) -> int:
    """How many tasks the sandbox has."""
    return in_loop(running, _tasks())


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A call that a fault keeps waiting."""

    bench: Bench
    fault: str
    sock: socket.socket
    tasks: int  # of the sandbox, before the call

    def is_open(self) -> bool:
        """Whether neither a byte nor the end of the connection has come."""
        self.sock.setblocking(False)
        try:
            self.sock.recv(1)
        except BlockingIOError:
            return True
        finally:
            self.sock.settimeout(PATIENCE_S)
        return False

    def nobody_waits(self) -> bool:
        """Whether the sandbox has no more tasks than before the call."""
        return tasks_of(self.bench.sandbox) <= self.tasks


@contextmanager
def held(bench: Bench, **effect: object) -> Iterator[Held]:
    """Make a call that a fault keeps waiting; it is recorded when the block begins."""
    fault = fail(bench, **(effect or {"hold": True}))  # type: ignore[arg-type]
    tasks = tasks_of(bench.sandbox)
    with bench.sandbox.connect() as sock:
        sock.sendall(request_of(bench))
        eventually(lambda: bench.get("/requests")["requests"])
        yield Held(bench=bench, fault=fault, sock=sock, tasks=tasks)
