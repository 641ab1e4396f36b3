"""HTTP servers that start and stop at once, in the foreground or in a thread: for the sandbox, and for what it serves.

Knows ASGI and WSGI, and is besides limits.py the only module that knows uvicorn.
"""

import asyncio
import inspect
import io
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from types import FrameType
from typing import Any, NoReturn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import uvicorn

from sandbox.clock import Clock, event_loop
from sandbox.errors import SandboxError
from sandbox.http.limits import ConnectionLimits
from sandbox.system import greenlets

START_S = 30.0  # for a server's start, with the lifespan startup of an application
APP_GRACE_S = 1  # how long the stop of an application waits for its answers under way
UNREAD_GRACE_S = 0.2  # how long a stop waits for clients to take what is written to them
TICK_S = 1.0  # how often the date header is renewed, and connections are looked over
SEND_BUFFER = 128 * 1024  # bytes; the kernel would hold 4 MiB for each client that does not read
POLL_S = 0.002  # between two looks at whether a connection that is being closed has gone

Asgi = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class HttpServer(uvicorn.Server):
    """uvicorn's server, except that it stops at once: uvicorn's own loops look ten times a second.

    `ready` is called when it answers, `end_streams` before it waits for the answers under way, at most `grace_s`. With
    `limits`, connections have its deadlines and limits.
    """

    def __init__(
        self,
        app: Asgi,
        *,
        ready: Callable[["HttpServer"], None],
        end_streams: Callable[[], None] = lambda: None,
        lifespan: bool = True,
        grace_s: int,
        limits: ConnectionLimits | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",  # uvicorn's guess would take a partial for the older kind
                log_config=None,
                access_log=False,
                lifespan="auto" if lifespan else "off",
                http=limits.protocol if limits else "auto",  # type: ignore[arg-type]  # all that is done is to call it
                ws="none",
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=grace_s,
                ssl_certfile=certfile,
                ssl_keyfile=keyfile,
            )
        )
        self._ready = ready
        self._end_streams = end_streams
        self._limits = limits
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """End what `serve` does; from any thread."""
        self.should_exit = True
        self._wake()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._wake()

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ending.set)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was obeyed is not raised again: who serves has still things to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if not self.started:  # uvicorn 0.46 returns where later ones exit
            raise SystemExit
        self._ready(self)

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            if self._limits is not None:
                self._limits.check_deadlines(self.server_state.connections)
            ticks += 10  # uvicorn counts tenths of a second, and renews its headers with every tenth
            try:
                async with asyncio.timeout(TICK_S):
                    await self._ending.wait()
            except TimeoutError:
                pass

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()  # else they would be waited for
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        unread = asyncio.get_running_loop().call_later(UNREAD_GRACE_S, self._drop_unread)
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                await Clock.pause(0)  # in which idle connections go
                while (state.connections or state.tasks) and not self.force_exit:
                    await Clock.pause(POLL_S)
        except TimeoutError:
            for task in state.tasks:
                task.cancel()
        unread.cancel()
        for connection in list(state.connections):  # the loop cannot be closed before they are
            connection.transport.abort()
        if not self.force_exit:
            await self.lifespan.shutdown()

    def _drop_unread(self) -> None:
        """Drop clients that do not take their answers, or under TLS the end of the connection: they would be
        waited for, and so would the loop."""
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport.get_write_buffer_size() or transport.is_closing():
                transport.abort()


def hang_up(send: Callable[[Any], Awaitable[None]]) -> None:
    """Close the connection of an ASGI `send` once what was written is out; its call may then return.

    ASGI has no message for it, and an exception would be logged as a mistake. `send` is a method of uvicorn's cycle of
    request and response, which knows its transport. The cycle would hear that the connection is lost, but not if
    another request had come behind this one, and would take a return without a whole answer for a mistake.
    """
    cycle = send.__self__  # type: ignore[attr-defined]
    cycle.transport.close()
    cycle.disconnected = True


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The event loop's factory: uvloop's, the fastest, or asyncio's own, which lets greenlets run while it waits."""
    if greenlets.replace_threads():
        return event_loop
    try:
        import uvloop
    except ImportError:  # there is none for this system
        return event_loop
    return uvloop.new_event_loop


Started = Callable[[HttpServer], None]


@contextmanager
def in_thread(serve: Callable[[Started], Coroutine[Any, Any, None]], name: str) -> Iterator[None]:
    """Run `serve(started)` in an event loop and a thread of its own while the block runs; the block's end stops it.

    `serve` calls `started` with its server once that answers. What goes wrong there is raised here, and a SandboxError
    if it does not answer within `START_S`.
    """
    greenlets.check(loop=True)
    ready = threading.Event()
    servers: list[HttpServer] = []
    errors: list[BaseException] = []

    def started(server: HttpServer) -> None:
        servers.append(server)
        if ready.is_set():  # too late
            server.stop()
        ready.set()

    def body() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(serve(started))
        except BaseException as error:
            errors.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    if not ready.wait(START_S):
        ready.set()
        raise SandboxError(
            f"What should be served here has not answered for {START_S:g} s. Serve it by itself; a sandbox "
            "that runs already is named with --ninebits-url."
        )
    try:
        if servers:
            yield
    finally:
        for server in servers:
            server.stop()
        thread.join()
        if errors:
            raise errors[0]


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # connections inherit it
        sock.bind((host, port))
        sock.listen(2048)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def is_asgi(app: Callable[..., Any]) -> bool:
    """Whether an application speaks ASGI rather than WSGI: it is asynchronous, or takes three arguments and not two."""
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004
        return True
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):  # it does not say
        return False
    given = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in given and each.default is each.empty for each in parameters) == 3


@contextmanager
def application(app: Callable[..., Any], sock: socket.socket | None = None) -> Iterator[str]:
    """Serve an ASGI or WSGI application in a thread of its own while the block runs; yields its address.

    Without a socket that listens already, it is served on a free port of 127.0.0.1.
    """
    sock = sock or listen("127.0.0.1", 0)
    host, port = sock.getsockname()[:2]
    with _asgi(app, sock) if is_asgi(app) else _wsgi(app, sock):
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _asgi(app: Asgi, sock: socket.socket) -> Iterator[None]:
    async def serve(started: Started) -> None:
        with sock:
            try:
                await HttpServer(app, ready=started, grace_s=APP_GRACE_S).serve(sockets=[sock])
            except SystemExit:  # uvicorn's word for it; what the application raised is in its log
                _fail_start()

    with in_thread(serve, "sandbox-application"):
        yield


def _fail_start() -> NoReturn:
    raise RuntimeError(
        "The application failed in its lifespan startup, so that it cannot be served; the log of uvicorn says why."
    )


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class _Body(io.RawIOBase):
    """The body of a request, which ends where it ends: `wsgi.input` "must simulate an end-of-file" there (PEP 3333)."""

    def __init__(self, stream: io.BufferedIOBase, length: int) -> None:
        self._stream = stream
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._stream.read(min(len(buffer), self._left))
        self._left -= len(taken)
        buffer[: len(taken)] = taken
        return len(taken)


def _bounded(app: Callable[..., Any]) -> Callable[..., Any]:
    """A WSGI application that may read its input to the end."""

    def bounded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        length = environ.get("CONTENT_LENGTH") or "0"
        body = _Body(environ["wsgi.input"], int(length) if length.isdecimal() else 0)
        return app({**environ, "wsgi.input": io.BufferedReader(body)}, start_response)

    return bounded


class _ThreadedWsgi(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextmanager
def _wsgi(app: Callable[..., Any], sock: socket.socket) -> Iterator[None]:
    greenlets.check(loop=False)
    sock.setblocking(True)
    server = _ThreadedWsgi(sock.getsockname()[:2], _QuietHandler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    server.server_name, server.server_port = sock.getsockname()[:2]  # WSGIServer would ask the network for a name
    server.setup_environ()
    server.set_app(_bounded(app))
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="sandbox-application", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
