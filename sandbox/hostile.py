"""A server on 127.0.0.1 for tests that misbehaves as it is told to, each kind of misbehaviour on a port of its own.

The ports, the thread, and what is recorded. See testkit/misbehaviour.py for the behaviours. Nothing of the sandbox is
known here.
"""

import asyncio
import os
import socket
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TypeVar, assert_never

from sandbox.clock import Clock, event_loop
from sandbox.errors import NotFound
from sandbox.system import greenlets
from sandbox.testkit.misbehaviour import BEHAVIOURS, OK, Accepting, Connection, ReceivedRequest, Variant, answers
from sandbox.values.kinds import nearest

T = TypeVar("T")

HEALTHY = "healthy"
"""The behaviour that is none."""
KEPT = 20_000  # requests that are remembered, the newest

_HOST = "127.0.0.1"


@lru_cache(maxsize=1)
def _certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Nobody trusts it: it names itself as its issuer, and a host that cannot exist. So nothing is secret about its key.
    context.load_cert_chain(os.path.join(os.path.dirname(__file__), "hostile.pem"))
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(ReceivedRequest):
    """A request that came in, and where. `connection` numbers the connections to one behaviour and variant, from 1."""

    behaviour: str
    variant: str
    connection: int


class HostileEndpoint:
    """A server that misbehaves while the `with` block runs, each behaviour on a port of its own.

    `pause_s`: real seconds between two bytes that dribble, and between two looks for connections that are accepted
    late. `received` are the requests that could be read, in order, `connections` and `sent` count the connections and
    the bytes written, both by (behaviour, variant). The end of the block closes every connection at once.
    """

    behaviours: Mapping[str, str] = {name: each.sentence for name, each in BEHAVIOURS.items()}
    """What there is, with a sentence each."""

    def __init__(self, *, pause_s: float = 1.0) -> None:
        self.pause_s = pause_s
        self.received: deque[Received] = deque(maxlen=KEPT)
        self.connections: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self._urls: dict[tuple[str, str], str] = {}
        self._opening = threading.Lock()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hostile-endpoint", daemon=True)
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop: asyncio.AbstractEventLoop
        self._tasks: asyncio.TaskGroup
        self._ended: asyncio.Event
        self._failure: BaseException | None = None

    @staticmethod
    def variants(behaviour: str) -> Sequence[str]:
        """The variants of a behaviour; the first is meant where none is named. Raises NotFound."""
        return tuple(_find(BEHAVIOURS, behaviour, "behaviour").variants)

    def url(self, behaviour: str, variant: str | None = None) -> str:
        """The URL of a behaviour and variant. Raises NotFound with the nearest name."""
        variants = _find(BEHAVIOURS, behaviour, "behaviour").variants
        name = next(iter(variants)) if variant is None else variant
        return self._open(behaviour, name, _find(variants, name, f"variant of {behaviour}"))

    @property
    def healthy_url(self) -> str:
        """The URL of an application that answers as it should: to compare with, and the target of redirects."""
        return self._urls[HEALTHY, ""]

    def received_by(self, behaviour: str, variant: str | None = None) -> Sequence[Received]:
        """The requests that could be read there, in order; `healthy` is a behaviour, too."""
        return [each for each in list(self.received) if each.behaviour == behaviour and variant in (None, each.variant)]

    def __enter__(self) -> "HostileEndpoint":
        greenlets.check(loop=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is None:
            self._open(HEALTHY, "", Variant(play=answers(OK)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):  # its loop has ended by itself, which is told below
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    # Inside, all but `_open` in the thread of the endpoint

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)  # what clients do to a hostile server is not reported
        async with asyncio.TaskGroup() as self._tasks:
            self._ready.set()
            await self._ended.wait()
            for server in self._servers:
                server.close()
            for sock in self._sockets:
                sock.close()
            for writer in self._writers:
                writer.transport.abort()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        await Clock.pause(0)  # in which the transports close their sockets

    def _open(self, behaviour: str, name: str, variant: Variant) -> str:
        """Open the port of a variant, unless it is open."""
        key = behaviour, name
        with self._opening:
            if key not in self._urls:
                sock = socket.socket()
                self._sockets.append(sock)
                sock.bind((_HOST, 0))
                port = sock.getsockname()[1]
                if variant.accepting is not Accepting.REFUSED:
                    sock.listen(512)
                asyncio.run_coroutine_threadsafe(self._let_in(sock, key, variant), self._loop).result()
                self._urls[key] = f"{variant.scheme}://{_HOST}:{port}/{'/'.join(filter(None, key))}"
            return self._urls[key]

    async def _let_in(self, sock: socket.socket, key: tuple[str, str], variant: Variant) -> None:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._tasks.create_task(self._play(key, variant, reader, writer))

        sock.setblocking(False)
        match variant.accepting:
            case Accepting.AT_ONCE | Accepting.TLS:
                self._servers.append(await asyncio.start_server(connected, sock=sock))
            case Accepting.LATE:
                self._tasks.create_task(self._let_in_late(sock, connected))
            case Accepting.NEVER | Accepting.REFUSED:
                pass
            case _:
                assert_never(variant.accepting)

    async def _let_in_late(
        self, sock: socket.socket, connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
    ) -> None:
        while True:
            await Clock.pause(self.pause_s)
            for client in _waiting(sock):
                with suppress(OSError):  # it has left meanwhile
                    connected(*await asyncio.open_connection(sock=client))

    async def _play(
        self, key: tuple[str, str], variant: Variant, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections[key] += 1
        number = self.connections[key]

        def received(it: ReceivedRequest) -> None:
            self.received.append(
                Received(
                    behaviour=key[0],
                    variant=key[1],
                    connection=number,
                    method=it.method,
                    target=it.target,
                    headers=it.headers,
                    body=it.body,
                )
            )

        def sent(count: int) -> None:
            self.sent[key] += count

        connection = Connection(
            reader, writer, pause_s=self.pause_s, healthy_url=self.healthy_url, received=received, sent=sent
        )
        self._writers.add(writer)
        try:
            if variant.accepting is Accepting.TLS:
                await writer.start_tls(_certificate())
            await variant.play(connection)
        except (OSError, EOFError, asyncio.LimitOverrunError):  # the other side has had enough
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def _waiting(sock: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait to be accepted."""
    while True:
        try:
            client, _ = sock.accept()
        except BlockingIOError:
            return
        yield client


def _find(known: Mapping[str, T], name: str, what: str) -> T:
    if name in known:
        return known[name]
    raise NotFound(f"There is no {what} {name!r}. {nearest(name, known)}")
