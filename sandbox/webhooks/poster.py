"""HTTP client for webhooks: one POST to a `client_url` gives one `Outcome`; no failure of the other side raises.

Nothing is decided or recorded here. No redirects, no proxies, no decompression, no second try: one POST is one POST.
HTTP/1.1 is spoken directly, on asyncio and the parser that uvicorn brings along; docs/architecture.md says why.
"""

import asyncio
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast
from urllib.parse import quote, urlsplit

import httptools

from sandbox.clock import stopwatch
from sandbox.model import ANSWER_KEPT, Outcome, OutcomeKind
from sandbox.settings import mask_url
from sandbox.webhooks import lookup
from sandbox.webhooks.lookup import Address

HEAD_LIMIT = 64 * 1024  # status line and headers of an answer, the interim ones (1xx) before it included
HEADERS_KEPT = 64
HEADER_CHARS_KEPT = 8 * 1024
FRAMING_ALLOWANCE = 8  # so many times the answer limit may come over the wire for a body in the smallest of chunks
PROBATION_S = 0.005  # some servers close after an answer without having said so; by then it has come to light
IDLE_S = 1.0  # well below the patience of servers (gunicorn 2 s, uvicorn and Node 5 s), so that they never close first

_Ending = tuple[OutcomeKind, str]  # how a POST ended, and what to tell people when it went wrong
_Key = tuple[Address, int, str | None]  # what a connection is good for: address, port, and the name if it is TLS

_LABEL = "[a-z0-9_-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?|[0-9a-f.]*:[0-9a-f:.]*")
_UNQUOTED = "!$%&'()*+,-./:;=?@[]_~"  # the percent sign too: what is encoded already stays as it is
# fe80::/10 and 169.254.0.0/16, where every cloud has its metadata service, are refused as a whole
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("fd20:ce::254")})  # AWS, Google

_CUT_OFF = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
_START_OR_CORRECT = (
    "Start the application, or correct client_url; inside a container, localhost is the container itself."
)
_WRITE_HTTP = "If the application speaks no TLS, write http:// in client_url."


@dataclass(frozen=True, slots=True)
class _Target:
    """A `client_url` without its user info, taken apart by the only parser that looks at it."""

    host: str  # ASCII, lower case, an IPv6 address without its brackets
    port: int
    tls: bool
    path: str  # with the query, percent-encoded
    literal: Address | None  # the host, where it is an address and no name

    @property
    def place(self) -> str:
        """`host:port`, which is all that people are told about the URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header: the port is left out where it is the scheme's own (RFC 9110, section 4.2)."""
        return self.place.removesuffix(":443" if self.tls else ":80")


@dataclass(slots=True)
class _Response:
    """What is known so far of a POST under way and its answer."""

    waiting: str = ""  # what has not happened yet, in words
    advice: str = ""  # what to do if it never does
    status_code: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)


class Poster:
    """HTTP client of one event loop with a pool of idle connections, each kept for `IDLE_S`.

    `deadline_s` covers everything: lookup, connection, TLS, request and answer. Of an answer's body `answer_limit`
    bytes are kept; the connection of a longer one is dropped. `own_addresses` says where the sandbox itself listens,
    as (host, port); it is never posted to.
    """

    def __init__(
        self,
        *,
        deadline_s: float = 10.0,
        answer_limit: int = ANSWER_KEPT,
        own_addresses: Callable[[], Collection[tuple[str, int]]] = tuple,
    ) -> None:
        self._deadline_s = deadline_s
        self._answer_limit = answer_limit
        self._own_addresses = own_addresses
        self._connections: set[_PooledConnection] = set()
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, authorization: str | None) -> Outcome:
        """POST `body` as JSON, with `authorization` as the header of that name, and say what came of it.

        User info in `url` is not sent and appears in no error. After a cut-off answer, headers and body are what came.
        """
        begun = stopwatch()
        answer = _Response()
        try:
            async with asyncio.timeout(self._deadline_s):
                kind, error = await self._post(url, body, authorization, answer)
        except TimeoutError:
            kind = OutcomeKind.TIMED_OUT
            error = f"{answer.waiting} within {self._deadline_s:g} s. {answer.advice}"
        return Outcome(
            kind=kind,
            duration_ms=(stopwatch() - begun) * 1000,
            status_code=answer.status_code if kind is OutcomeKind.ANSWERED else None,
            headers=_cut(answer.headers),
            body=bytes(answer.body),
            error=error,
        )

    async def close(self) -> None:
        """Close every connection. Posts are to have ended, or been cancelled, before."""
        closing = [connection.drop() for connection in list(self._connections)]
        if closing:
            await asyncio.wait(closing)

    async def _post(self, url: str, body: bytes, authorization: str | None, answer: _Response) -> _Ending:
        target = _parse(url)
        if isinstance(target, str):
            return OutcomeKind.FORBIDDEN, target
        if authorization and not authorization.isprintable():
            return OutcomeKind.FORBIDDEN, "The token holds a control character, which no header can carry. Change it."
        answer.waiting = f"The address of {target.host} could not be looked up"
        answer.advice = "Correct client_url, or look after the name server."
        try:
            addresses = await _resolve(target)
        except OSError:
            return OutcomeKind.UNRESOLVED, f"The name {target.host} has no address. {answer.advice}"
        own = self._own_addresses()
        for address in addresses:
            if reason := _refusal(address, target, own):
                return OutcomeKind.FORBIDDEN, reason
        answer.waiting = f"No connection to {target.place} came about"
        answer.advice = _WRITE_HTTP if target.tls else _START_OR_CORRECT
        connection = await self._connection(target, addresses)
        if not isinstance(connection, _PooledConnection):
            return connection
        answer.waiting = f"{target.place} did not answer"
        answer.advice = "Let the application answer first and work afterwards."
        reading = _ResponseReader(target, answer, self._answer_limit)
        return await connection.exchange(_request(target, body, authorization), reading)

    async def _connection(self, target: _Target, addresses: list[Address]) -> "_PooledConnection | _Ending":
        """A connection to one of the checked addresses: an idle one, else the first that can be made."""
        name = target.host if target.tls else None
        keys = [(address, target.port, name) for address in addresses]
        for connection in self._connections:
            if connection.idle and connection.key in keys:
                return connection
        if target.tls and self._tls is None:  # 40 ms of reading certificates, for which the loop need not wait
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        ending = OutcomeKind.UNRESOLVED, f"The name {target.host} has no address."
        for key in keys:
            try:  # an address that swallows packets must leave time for the next one
                async with asyncio.timeout(None if key is keys[-1] else self._deadline_s / len(keys)):
                    return await self._connect(key)
            except OSError as error:
                if target.tls and isinstance(error, (ssl.SSLError, *_CUT_OFF)):
                    return OutcomeKind.TLS_FAILED, _tls_failure(target, error)
                ending = OutcomeKind.UNREACHABLE, _connect_failure(target, error)
        return ending

    async def _connect(self, key: _Key) -> "_PooledConnection":
        """Connect to exactly the address in `key`; certificate and SNI go by the name."""
        address, port, name = key
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _PooledConnection(key, self._connections),
            str(address),
            port,
            ssl=self._tls if name else None,
            server_hostname=name.removesuffix(".") if name else None,
        )
        return connection


class _PooledConnection(asyncio.Protocol):
    """One connection to one checked address. It carries one exchange at a time, and between two it is idle."""

    _transport: asyncio.Transport
    _reading: "_ResponseReader | None" = None
    _timer: asyncio.TimerHandle | None = None
    _early = b""
    _proven = False  # the server has left it open after an answer

    def __init__(self, key: _Key, connections: "set[_PooledConnection]") -> None:
        self.key = key
        self.idle = False
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()

    async def exchange(self, request: bytes, reading: "_ResponseReader") -> _Ending:
        """Send `request`, let `reading` have what comes, and say how it ended. Cancelled, it drops the connection."""
        self._stop_timer()
        self._reading = reading
        try:
            if self._early:
                reading.feed(self._early)
            if self._closed.done():
                reading.cut_off(None)
            else:
                self._transport.write(request)
            return await reading.ending
        finally:
            reading.release()
            # Who answers before anything was asked may well do so again, and the answer would count for the next POST.
            if self._early or not reading.reusable or self._transport.is_closing():
                self.drop()
            elif self._proven:
                self._rest()
            else:
                self._proven = True
                self._timer = self._loop.call_later(PROBATION_S, self._rest)

    def _rest(self) -> None:
        self.idle = True
        self._timer = self._loop.call_later(IDLE_S, self.drop)

    def drop(self) -> asyncio.Future[None]:
        """Close at once, whatever is under way. The future is done when the socket is closed."""
        self._stop_timer()
        self._transport.abort()
        return self._closed

    def _stop_timer(self) -> None:
        self.idle = False
        if self._timer is not None:
            self._timer.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are none by inheritance
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._reading is None:  # a server that speaks first; it is not HTTP, and `exchange` will say so
            self._early += data
        elif self._reading.ending.done():  # more than was asked for
            self.drop()
        else:
            self._reading.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._connections.discard(self)
        self._closed.set_result(None)
        if self._reading is not None:
            self._reading.cut_off(error)


class _ResponseReader:
    """One answer as it comes in: fills `answer` and, once, sets `ending`. The `on_...` are the parser's callbacks."""

    def __init__(self, target: _Target, answer: _Response, limit: int) -> None:
        self.ending: asyncio.Future[_Ending] = asyncio.get_running_loop().create_future()
        self.reusable = False  # whether the connection is good for another exchange
        self._target = target
        self._answer = answer
        self._limit = limit
        self._received = 0
        self._interim = False
        self._ends_with_connection = True
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)  # a one-line server made with nc

    def feed(self, data: bytes) -> None:
        """Read some more of the answer."""
        self._received += len(data)
        place = self._target.place
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # 101: whatever follows is another protocol
            self.reusable = False
            self._end(OutcomeKind.ANSWERED)
        except httptools.HttpParserError as error:  # its texts are the parser's own, with nothing of the answer in them
            self.reusable = False
            tls = data.startswith(b"\x15")  # a TLS alert (RFC 8446, section 5.1)
            advice = "It speaks TLS: write https:// in client_url" if tls else "Look which program listens there"
            self._end(OutcomeKind.BROKEN, f"{place} answered something that is not HTTP: {error}. {advice}.")
        if self._answer.status_code is None and self._received > HEAD_LIMIT:
            self._end(OutcomeKind.BROKEN, f"{place} answered with more than {HEAD_LIMIT // 1024} KiB of headers.")
        elif self._received > HEAD_LIMIT + FRAMING_ALLOWANCE * self._limit:
            self._end(OutcomeKind.ANSWERED)

    def cut_off(self, error: Exception | None) -> None:
        """The connection has ended; for an answer that says no length this is how it ends well (RFC 9112, 6.3)."""
        place, status = self._target.place, self._answer.status_code
        if status is None:
            self._end(
                OutcomeKind.BROKEN,
                f"{place} closed the connection without an answer. Look into the application's log: it may have "
                f"crashed{'' if self._target.tls else ', or expect https://'}.",
            )
        elif error is None and self._ends_with_connection:
            self._end(OutcomeKind.ANSWERED)
        else:
            self._end(
                OutcomeKind.BROKEN, f"{place} closed the connection in the middle of its answer, status {status}."
            )

    def release(self) -> None:
        """Drop the parser, which holds the callbacks: a reference cycle that only the garbage collector would break."""
        del self._parser

    def _end(self, kind: OutcomeKind, error: str = "") -> None:
        if not self.ending.done():
            self.ending.set_result((kind, error))

    def on_message_begin(self) -> None:
        self.reusable = False  # also when a second answer follows the one that was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer.status_code is not None:  # a trailer
            return
        self._answer.headers.append((name.decode("latin-1"), value.decode("latin-1")))
        lower = name.lower()
        if lower == b"content-length" or (lower == b"transfer-encoding" and b"chunked" in value.lower()):
            self._ends_with_connection = False

    def on_headers_complete(self) -> None:
        if self.ending.done():
            return
        status = self._parser.get_status_code()
        # "A client MUST be able to parse one or more 1xx responses received prior to a final response" (RFC 9110, 15.2)
        self._interim = 100 <= status < 200 and status != 101
        if self._interim:
            self._answer.headers.clear()
            self._ends_with_connection = True
        else:
            self._answer.status_code = status
            self._answer.waiting = f"{self._target.place} answered with status {status}, but did not finish the answer"

    def on_body(self, data: bytes) -> None:
        if self.ending.done():
            return
        left = self._limit - len(self._answer.body)
        self._answer.body += data[:left]
        if len(data) > left:
            self._end(OutcomeKind.ANSWERED)

    def on_message_complete(self) -> None:
        if not self._interim and not self.ending.done():
            self.reusable = self._parser.should_keep_alive()
            self._end(OutcomeKind.ANSWERED)


@lru_cache(maxsize=256)
def _parse(url: str) -> _Target | str:
    """The parts of `url`, or why nothing can be posted to it."""
    example = "Write it like http://127.0.0.1:8000/webhook."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        path = quote(parts.path, safe=_UNQUOTED) or "/"
        if parts.query:
            path += "?" + quote(parts.query, safe=_UNQUOTED)
    except ValueError:  # a port, a bracket, a character that cannot be
        return f"client_url is not a URL. {example}"
    if parts.scheme not in ("http", "https"):
        return f"client_url must begin with http:// or https://. {example}"
    if not _HOST.fullmatch(host) or port == 0:
        return f"client_url names no host and port that can be connected to. {example}"
    tls = parts.scheme == "https"
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    return _Target(host, port or (443 if tls else 80), tls, path, literal)


async def _resolve(target: _Target) -> list[Address]:
    """Every address of the host, in the order in which to try them. Raises OSError if it has none."""
    if target.literal is not None:
        return [target.literal]
    return await lookup.addresses(target.host, target.port)


def _refusal(address: Address, target: _Target, own: Collection[tuple[str, int]]) -> str | None:
    """Why the sandbox does not post to `address`; None if it may.

    Loopback and private ranges are allowed: the application under test lives there.
    """
    what = _never(address)
    if any(port == target.port and _covers(host, address) for host, port in own):
        what = "the sandbox itself"
    if what is None:
        return None
    where = f"{target.place} is" if target.literal else f"{target.place} resolves to {address}, which is"
    return f"{where} {what}. Change client_url to the address of your application."


@lru_cache(maxsize=1024)
def _never(address: Address) -> str | None:
    """What `address` is, if it is nothing that an application can be reached at."""
    plain = _plain(address)
    if plain.is_link_local or plain in _METADATA:
        return "in the range where clouds keep credentials"
    if plain.is_unspecified:
        return "an address to listen on, not one to post to"
    return "a group of machines, not one" if plain.is_multicast else None


def _plain(address: Address) -> Address:
    """::ffff:169.254.169.254 reaches 169.254.169.254, and is judged by it."""
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _covers(listening: str, address: Address) -> bool:
    """Whether a server that listens on the host `listening` is reached at `address`."""
    address = _plain(address)
    try:
        host = ipaddress.ip_address(listening)
    except ValueError:  # a name such as localhost, or "" for every address
        return address.is_loopback
    return address.is_loopback if host.is_unspecified or host.is_loopback else host == address


def _request(target: _Target, body: bytes, authorization: str | None) -> bytes:
    """The request as it goes over the wire. Headers: "Content-Type: application/json", "Authorization" [D]."""
    head = (
        f"POST {target.path} HTTP/1.1\r\n"
        f"Host: {target.authority}\r\n"
        "User-Agent: ninebits-sandbox\r\n"
        "Accept: */*\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    if authorization:
        head += f"Authorization: {authorization}\r\n"
    return head.encode() + b"\r\n" + body


def _cut(headers: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The first of `headers`, as many as are kept, and as they may be recorded."""
    kept: list[tuple[str, str]] = []
    left = HEADER_CHARS_KEPT
    for name, value in headers[:HEADERS_KEPT]:
        left -= len(name) + len(value)
        if left < 0:
            break
        kept.append((name, _without_secret(name.lower(), value)))
    return tuple(kept)


def _without_secret(name: str, value: str) -> str:
    """Of a cookie its name alone, of an address no user, password and query: whoever reads the record needs no more."""
    if name == "set-cookie":
        cookie, equals, _ = value.partition("=")
        return f"{cookie}=…" if equals else "…"
    return mask_url(value) if name == "location" else value


def _connect_failure(target: _Target, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        said = f"Connection refused: nothing listens on {target.place}."
    elif isinstance(error, TimeoutError):
        said = f"{target.place} does not answer."
    else:
        said = f"{target.place} cannot be reached: {os.strerror(error.errno) if error.errno else 'no connection'}."
    return f"{said} {_START_OR_CORRECT}"


def _tls_failure(target: _Target, error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {target.place} is not accepted: {error.verify_message.rstrip('.')}. Use a name it was "
            "issued for, put its issuer into the file that SSL_CERT_FILE names, or use http:// on this machine."
        )
    return f"{target.place} did not complete the TLS handshake. {_WRITE_HTTP}"
