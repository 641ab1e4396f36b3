"""uvicorn's HTTP protocol with deadlines, size limits and a limit on connections.

It extends the protocol on httptools. See access.py for who may come in; paths and answers are not known here.
"""

import logging
import math
from asyncio import AbstractEventLoop, BaseTransport, Transport
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from typing import Any, assert_never, cast

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from sandbox.clock import stopwatch

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75  # as nginx; after uvicorn's 5 s, who comes back to a pooled connection finds it closed
PIECE = 16 * 1024  # so much is parsed at a time, which is what a head may be over its limit before that is seen
FRAMING = 1024  # method, version and line ends of a head; the limits are on what stands between them
MOST_WAITING = 100  # requests on one connection that wait for the answer to the one before
SPARE = 64  # connections beyond the limit that are heard, so that they get an answer in the shape they understand

Refusal = Callable[[bytes, int, str], tuple[Sequence[tuple[bytes, bytes]], bytes]]
"""Headers and body of an answer: from the target as far as it is known, the status, and the reason ("": the usual)."""


class ConnectionLimits:
    """The limits that the connections of one server share, and counts of what was refused since the last look.

    Sizes are in bytes. `max_body` is the largest body that any route takes; `body_deadline_s` holds for a body to come
    in, and for a client to take some of an answer.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        max_headers: int,
        max_target: int,
        max_body: int,
        header_deadline_s: float,
        body_deadline_s: float,
        refusal: Refusal,
    ) -> None:
        self.max_connections = max_connections
        self.max_target = max_target
        self.max_head = max_target + max_headers + FRAMING
        self.max_unbroken = max_body + 4 * PIECE  # what comes before and around it included
        self.header_deadline_s = header_deadline_s
        self.body_deadline_s = body_deadline_s
        self.refusal = refusal
        self.refused: Counter[str] = Counter()

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> "HttpConnection":
        """Make the protocol of a new connection: uvicorn gets this in place of a class."""
        return HttpConnection(self, config, server_state, app_state, _loop)

    def check_deadlines(self, connections: Collection[object]) -> None:
        """Once a second: close what has taken too long, and say in one line what was refused."""
        now = stopwatch()
        for connection in list(connections):
            assert isinstance(connection, HttpConnection)
            connection.check_deadlines(now)
        if self.refused:
            log.warning("Refused: %s", "; ".join(f"{count} x {what}" for what, count in self.refused.items()))
            self.refused.clear()

    @staticmethod
    def make_room(connections: Collection[object]) -> bool:
        """Close the connection that has been idle for longest; False if none is."""
        idle = [each for each in connections if isinstance(each, HttpConnection) and each.idle]
        if not idle:
            return False
        min(idle, key=HttpConnection.idle_since).transport.close()
        return True


class ConnectionState(Enum):
    """The state of a connection: what it waits for."""

    FRESH = "its first request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWER = "our answer"
    IDLE = "its next request"


class _HeadRefused(Exception):
    """Raised in a callback of the parser, because nothing else stops it."""

    def __init__(self, status: int, reason: str = "") -> None:
        self.status = status
        self.reason = reason


class _Flow(FlowControl):
    """uvicorn's flow control, except that nothing is read while it is `held`, whoever resumes it."""

    held = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.held:
            super().resume_reading()

    def hold(self) -> None:
        self.held = True
        self.pause_reading()


class _AnswerTransport:
    """What uvicorn takes for the transport of one answer: it keeps the head back until the body begins, as ASGI has it,
    so that most answers are one packet, and one call of the system."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None  # b"" once it is written

    def write(self, data: bytes) -> None:
        if self._head:
            self._transport.write(self._head + data)
            self._head = b""
        elif self._head is None and not data.startswith(b"HTTP/1.1 100 "):
            self._head = data
        else:
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HttpConnection(HttpToolsProtocol):
    """One connection. No request sets a timer: `check_deadlines` compares the state with that of the last look."""

    flow: _Flow

    def __init__(self, limits: ConnectionLimits, *uvicorns: Any) -> None:
        super().__init__(*uvicorns)
        self._limits = limits
        self._over = False  # it is one connection too many
        self._refusal: tuple[int, str] | None = None  # what is answered once everything before it has been
        self._count = 0  # bytes of a head, or since a chunk began, that came after its first piece
        self._plain: bytes | None = None  # the head of a request that asks for another protocol, without asking
        self._ahead: Any = None  # where requests wait, the one that is being answered
        self.since = 0.0  # when the state below was first seen
        self._state = ConnectionState.FRESH
        self._seen: object = None
        self._unsent = 0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        self.flow = _Flow(self.transport)
        self.since = stopwatch()
        excess = len(self.connections) - self._limits.max_connections
        if excess > 0:
            self._over = not self._limits.make_room(self.connections)
            if self._over and excess > SPARE:
                self.refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._ahead is not None and not self._ahead.response_complete:  # uvicorn tells only the last in the queue
            self._ahead.disconnected = True
            self._ahead.message_event.set()
        self.pipeline.clear()

    # What comes in ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if len(data) <= PIECE:
            self._feed(data)
        else:
            for at in range(0, len(data), PIECE):
                self._feed(data[at : at + PIECE])

    def _feed(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        before = self.scope
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_plainly(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            ours = error.__context__
            if isinstance(ours, _HeadRefused):
                self.refuse(ours.status, ours.reason)
            elif before is None and data.startswith(b"\x16\x03"):  # a TLS handshake (RFC 8446, section 5.1)
                self.refuse(400, "The client speaks TLS. Use http:// to call this sandbox, or give it a certificate.")
            else:
                self.refuse(400, f"This is not HTTP/1.1: {error if ours is None else 'invalid target'}.")
            return
        if self.scope is not before:
            self._count = 0
        elif before is not None:
            self._add(len(data))

    def _add(self, size: int) -> None:
        """Count on a message that came in part before: a head and trailers have limits, and a chunk has one."""
        self._count += size
        match self._waiting_for():
            case ConnectionState.HEAD:
                if len(self.url) > self._limits.max_target:
                    self.refuse(414)
                elif self._count > self._limits.max_head:
                    self.refuse(431)
            case ConnectionState.BODY:
                if self._count > self._limits.max_unbroken:
                    self.refuse(413)
            case _:
                pass

    def on_headers_complete(self) -> None:
        if self._over and len(self.connections) > self._limits.max_connections:
            raise _HeadRefused(503)
        if self.parser.should_upgrade():
            self._plain = self._without_upgrade()
            return
        if len(self.pipeline) >= MOST_WAITING:
            raise _HeadRefused(429, f"{MOST_WAITING} requests wait on this connection. Read some answers first.")
        ahead = self.cycle
        super().on_headers_complete()
        if self.scope["method"] != "HEAD":  # to which a head is the whole answer
            self.cycle.transport = cast(Transport, _AnswerTransport(self.transport))
        self.headers = []  # else trailers would become headers of the request (RFC 9110, section 6.5.1)
        if self.pipeline:
            if len(self.pipeline) == 1:
                self._ahead = ahead
            self.flow.hold()

    def on_message_complete(self) -> None:
        if self._plain is None:
            super().on_message_complete()

    def on_chunk_header(self) -> None:
        self._count = 0

    def _without_upgrade(self) -> bytes:
        """The head of this request without the wish for another protocol, which a server may ignore (RFC 9110, 7.8)."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise _HeadRefused(400, "CONNECT asks for a proxy, and this is none.")
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _go_on_plainly(self, rest: bytes) -> None:
        """Read a request that asked for another protocol again, because the parser has left out its body.

        Java's HttpClient asks for HTTP/2 in this way with every first request, as does `curl --http2`.
        """
        assert self._plain is not None
        head, self._plain = self._plain, None
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self._feed(head + rest)

    # What goes out ---------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._ahead = self.pipeline[-1][0]
            if len(self.pipeline) == 1 and self._refusal is None:
                self.flow.held = False  # the rest of it may still have to be read
            super().on_response_complete()
            return
        # Without uvicorn's timer, which is set anew for every answer: `check_deadlines` closes idle connections.
        self.server_state.total_requests += 1
        if self._refusal is not None:
            self._say(*self._refusal)
        elif not self.transport.is_closing():
            self.flow.resume_reading()

    def refuse(self, status: int, reason: str = "") -> None:
        """Read no more; answer what was asked before, then this, and close."""
        self._limits.refused[f"{status} {reason}".rstrip()] += 1
        self._refusal = status, reason
        self.flow.hold()
        cycle = self.cycle
        if cycle is None:
            self._say(status, reason)
        elif cycle.scope is self.scope and cycle.more_body:  # it is this very request that is broken
            if self.pipeline:
                self.pipeline.popleft()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
            else:
                self._say(status, reason)
        elif cycle.response_complete:
            self._say(status, reason)

    def _say(self, status: int, reason: str) -> None:
        if self.transport.is_closing():
            return
        target = self.url if self.scope is not None else b""
        headers, body = self._limits.refusal(target, status, reason)
        lines = [*self.server_state.default_headers, *headers, (b"content-length", b"%d" % len(body))]
        head = b"".join(b"%s: %s\r\n" % line for line in (*lines, (b"connection", b"close")))
        self.transport.write(STATUS_LINE[status] + head + b"\r\n")
        if self.parser.get_method() != b"HEAD":
            self.transport.write(body)
        self.transport.close()

    # Once a second ---------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return self._waiting_for() is ConnectionState.IDLE and not self.transport.is_closing()

    def idle_since(self) -> float:
        """When an idle connection was first seen to be idle; the latest of moments if nobody has looked."""
        return self.since if self._state is ConnectionState.IDLE and self._seen is self.scope else math.inf

    def _waiting_for(self) -> ConnectionState:
        if self.scope is None:
            return ConnectionState.FRESH
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return ConnectionState.HEAD
        if cycle.more_body:
            return ConnectionState.BODY
        return ConnectionState.IDLE if cycle.response_complete else ConnectionState.ANSWER

    def check_deadlines(self, now: float) -> None:
        """Close the connection if it waits for the other side, and for too long; `now` is the stopwatch's.

        As a state begins for us when it is first seen, a deadline is kept to within two looks, and never too early.
        """
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            if not self._unsent or unsent < self._unsent:
                self.since = now
            elif now - self.since > self._limits.body_deadline_s:
                self._limits.refused["an answer that was not read"] += 1
                self.transport.abort()
            self._unsent, self._seen = unsent, None
            return
        self._unsent = 0
        state = self._waiting_for()
        if self._seen is not self.scope or self._state is not state:
            self._seen, self._state, self.since = self.scope, state, now
        elif self._refusal is not None:  # behind an answer that has no end, perhaps
            if now - self.since > self._limits.body_deadline_s:
                self.transport.close()
        elif not self.flow.read_paused and not self.transport.is_closing():  # else it is us who do not read
            self._end_if_late(state, now - self.since)

    def _end_if_late(self, state: ConnectionState, waited_s: float) -> None:
        match state:
            case ConnectionState.FRESH if waited_s > self._limits.header_deadline_s:
                self.transport.close()
            case ConnectionState.HEAD if waited_s > self._limits.header_deadline_s:
                self.refuse(408)
            case ConnectionState.BODY if waited_s > self._limits.body_deadline_s:
                self.refuse(408)
            case ConnectionState.IDLE if waited_s > KEEP_ALIVE_S:
                self.transport.close()
            case (
                ConnectionState.FRESH
                | ConnectionState.HEAD
                | ConnectionState.BODY
                | ConnectionState.IDLE
                | ConnectionState.ANSWER
            ):
                pass
            case _:
                assert_never(state)
