"""500 clients that dawdle, at once: they are closed by their deadlines or resume, and everybody else is answered."""

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.clock import Clock, stopwatch
from tests.conftest import EXAMPLE
from tests.processes import Server, serving

DEADLINE_S = 1.0  # for headers, for bodies, and for a client to take what is written to it
LATE_S = 6.0  # at the latest a client is closed so long after its deadline, on a machine that has other things to do
PACE_S = 0.2  # between two bytes of a slow client
UNREAD = 100  # streams that are not read
UNREAD_S = 4.0  # for so long a stream is not read
PATIENCE_S = 30.0
FLAT = 15 * 1024**2
HEAD = b"POST /ng/v1/sendsms HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sandbox-token\r\n"


@dataclass(slots=True)
class Seen:
    """What happened to whom."""

    over: bool = False  # nobody begins anything more
    closed_s: list[float] = field(default_factory=list)  # after what time slow clients were closed
    told: int = 0  # of them, how many were told why
    dropped: int = 0  # streams that were not read
    resumed: int = 0
    took_s: list[float] = field(default_factory=list)  # by the requests of a good client
    heard: list[int] = field(default_factory=list)  # events, by a stream that is read


async def slow(port: int, begin: bytes, seen: Seen) -> None:
    """Send a request a byte at a time, for ever, and again once that has been ended."""
    while not seen.over:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun, came = stopwatch(), b""
        try:
            writer.write(begin)
            while not came and stopwatch() - begun < DEADLINE_S + LATE_S:
                with suppress(TimeoutError):
                    async with asyncio.timeout(PACE_S):
                        came = await reader.read(4096) or b"nothing"
                writer.write(b"x")
        except ConnectionError:
            came = b"nothing"
        finally:
            writer.close()
        assert came, "it goes on beyond its deadline"
        assert came == b"nothing" or came.startswith(b"HTTP/1.1 408 "), came
        seen.closed_s.append(stopwatch() - begun)
        seen.told += came != b"nothing"


async def stream(port: int, after: int, *, buffer: int = 4096) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An event stream of which the client takes little at a time."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=64 * 1024**2 if buffer > 4096 else buffer)
    writer.write(b"GET /_sandbox/v1/events?after=%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % after)
    return reader, writer


def ids(came: bytes) -> list[int]:
    """The events that came in whole."""
    return [int(event[4:].split(b"\n", 1)[0]) for event in came.split(b"\n\n")[:-1] if event.startswith(b"id: ")]


def unchunked(came: bytes) -> bytes:
    """What is left of an answer without its head and the frames of its chunks; the last may be cut off."""
    rest, body = came.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size or b"0", 16)]
        rest = rest[int(size or b"0", 16) + 2 :]
    return body


def holds(came: bytes, event: int) -> bool:
    """Whether an event has come, and in whole."""
    at = came.rfind(b"\nid: %d\n" % event)
    return at >= 0 and came.find(b"\n\n", at) >= 0


async def unread(port: int, seen: Seen) -> None:
    """Open a stream, do not read it, and find it cut off, if much happened; then hear the rest from another."""
    while not seen.over:
        first = seen.heard[-1]
        reader, writer = await stream(port, first)
        await Clock.pause(UNREAD_S)
        last = seen.heard[-1]
        came, whole = b"", last == first
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not whole and (piece := await reader.read(65536)):
                    came += piece
                    whole = holds(came, last)
        except ConnectionError:
            pass
        finally:
            writer.close()
        seen.dropped += not whole
        heard = ids(unchunked(came))
        if not whole:
            reader, writer = await stream(port, heard[-1] if heard else first, buffer=65536)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    came = await reader.readuntil(b"\nid: %d\n" % last) + await reader.readuntil(b"\n\n")
            finally:
                writer.close()
            heard += ids(unchunked(came))
            seen.resumed += 1
        assert heard == [each for each in seen.heard if first < each <= heard[-1]], "something is missing"


async def listen(port: int, seen: Seen, started: asyncio.Event) -> None:
    """Hear everything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /_sandbox/v1/events?after=0&view=brief HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        while line := await reader.readline():
            if line.startswith(b"id: "):
                seen.heard.append(int(line[4:]))
                started.set()
    finally:
        writer.close()


async def good(port: int, seen: Seen, text: str, *, once: bool = False) -> None:
    """Send messages one after the other, for ever; each is accepted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({**EXAMPLE, "message": text}).encode()
    request = HEAD + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    try:
        while True:
            begun = stopwatch()
            writer.write(request)
            async with asyncio.timeout(PATIENCE_S):
                answer = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            seen.took_s.append(stopwatch() - begun)
            if once:
                return
            await Clock.pause(0.05)
    finally:
        writer.close()


BEGINNINGS = {
    "headers": (b"GET /ng/v1/sendsms HTTP/1.1\r\nX: ", b"POST /_sandbox/v1/reset HTTP/1.1\r\nX: "),
    "bodies": (
        HEAD + b"Content-Length: 60000\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 1000\r\n\r\n",
    ),
}


async def crowd(server: Server, seconds: float, seen: Seen) -> int:
    """All of them at once, for so long, and for three rounds of the unread streams however slow this machine is.

    Returns how many bytes the server has grown by since two rounds were over: nothing new happens after them.
    """
    port = int(server.url.rpartition(":")[2])
    until = stopwatch() + seconds
    started = asyncio.Event()
    async with asyncio.TaskGroup() as clients:
        listener = clients.create_task(listen(port, seen, started))
        await good(port, seen, "x", once=True)
        await started.wait()
        async with asyncio.TaskGroup() as crowd:
            sending = crowd.create_task(good(port, seen, "😀" * 1600))
            for begin in BEGINNINGS["headers"] + BEGINNINGS["bodies"]:
                for _ in range(100):
                    crowd.create_task(slow(port, begin, seen))
            for _ in range(UNREAD):
                crowd.create_task(unread(port, seen))
            await resumed(seen, 2)
            before = server.resident()
            await resumed(seen, 3)
            await Clock.pause(max(0.0, until - stopwatch()))
            seen.over = True
            await Clock.pause(LATE_S / 2)  # what the last streams do not read is still sent
            sending.cancel()
        listener.cancel()
    return server.resident() - before


async def resumed(seen: Seen, rounds: int) -> None:
    """Wait until the unread streams were cut off and resumed so often."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while seen.resumed < rounds * UNREAD:
            await Clock.pause(0.1)


@pytest.mark.proof("T10")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of another process is read from /proc")
def test_slow_clients_keep_nobody_waiting(
    tmp_path: Path, sized: Callable[[int, int], int], record_property: Callable[[str, object], None]
) -> None:
    seen = Seen()
    flags = {"header-deadline": DEADLINE_S, "body-deadline": DEADLINE_S, "max-messages": 2_000}
    flags |= {
        "max-connections": 700,
        "max-event-streams": 300,
    }  # those who come again may be there before they have left
    with serving(tmp_path, flags) as server:
        grown = asyncio.run(crowd(server, sized(11, 600), seen))
    assert min(seen.closed_s) >= DEADLINE_S
    assert seen.told > len(seen.closed_s) / 2
    assert seen.dropped == seen.resumed >= UNREAD
    assert grown < FLAT, f"{grown / 1024**2:.1f} MiB more at the end than after two rounds"
    record_property(
        "figure",
        f"{len(seen.closed_s):,} slow requests closed after {quantile(seen.closed_s, 0.5):.1f} s (at most "
        f"{max(seen.closed_s):.1f} s) of {DEADLINE_S:g} s; {seen.dropped:,} unread streams dropped, all resumed "
        f"without loss; a good client's {len(seen.took_s):,} requests all answered, p99 "
        f"{quantile(seen.took_s, 0.99) * 1000:.0f} ms; memory {grown / 1024**2:+.1f} MiB",
    )


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]
