"""The behaviours of a hostile server as a table: 26 of them, each a function of one connection, in several variants.

Nothing of ports, threads and certificates: see hostile.py. Bytes are written rather than HTTP, because no HTTP server
would send most of this.
"""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache, partial

from sandbox.clock import Clock

GIB = 1 << 30
BODY_KEPT = 1 << 20  # bytes of a request's body that are read

_RETRY_AFTER = {
    "absent": None,
    "seconds": "120",
    "date": "Wed, 21 Oct 2099 07:28:00 GMT",
    "negative": "-30",
    "garbage": "soon, maybe",
    "control": "\x07",
    "huge": "9" * 30,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """A request as it came in."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


# What happens on a connection --------------------------------------------------------------------------------------


class Connection:
    """One connection, with the operations of which the behaviours are made.

    `received` and `sent` hear of requests that could be read, and of bytes that were written.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        pause_s: float,
        healthy_url: str,
        received: Callable[[ReceivedRequest], None],
        sent: Callable[[int], None],
    ) -> None:
        self.pause_s = pause_s
        self.healthy_url = healthy_url
        self._reader = reader
        self._writer = writer
        self._received = received
        self._sent = sent

    async def head(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The request line and the headers of the next request."""
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        return first, tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))

    async def request(self) -> ReceivedRequest:
        """The next request: read, and told. A body is read only where Content-Length says how long it is."""
        first, headers = await self.head()
        length = next((value for name, value in headers if name.lower() == "content-length"), "0")
        body = await self._reader.readexactly(min(int(length), BODY_KEPT) if length.isdecimal() else 0)
        method, _, rest = first.partition(" ")
        request = ReceivedRequest(method=method, target=rest.rpartition(" ")[0], headers=headers, body=body)
        self._received(request)
        return request

    async def something(self) -> None:
        """Whatever comes first, of whatever protocol."""
        await self._reader.read(65_536)

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self._sent(len(data))

    async def pause(self, times: float = 1.0) -> None:
        await Clock.pause(self.pause_s * times)

    async def left(self) -> None:
        """Return when the other side has closed the connection."""
        while await self._reader.read(65_536):
            pass

    def reset(self) -> None:
        """End the connection with a RST instead of a FIN."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Play = Callable[[Connection], Awaitable[None]]


def answers(answer: bytes) -> Play:
    """Every request on the connection is answered like this, and the connection stays open."""

    async def play(it: Connection) -> None:
        while True:
            await it.request()
            await it.say(answer)

    return play


def _answers_once(answer: bytes, *, close: bool) -> Play:
    """One request is answered, nothing after it; the connection is closed then, or stays open until the client leaves.

    `answer` may be no whole answer, or none at all.
    """

    async def play(it: Connection) -> None:
        await it.request()
        if answer:
            await it.say(answer)
        if not close:
            await it.left()

    return play


def _floods(start: bytes, chunk: bytes) -> Play:
    """After a request, a GiB of `chunk`s, or as much of it as the client takes."""

    async def play(it: Connection) -> None:
        await it.request()
        await it.say(start)
        many = chunk * max(1, 65_536 // len(chunk))
        for _ in range(GIB // len(many)):
            await it.say(many)

    return play


def _dribbles(answer: bytes, at_once: int = 0) -> Play:
    """An answer, all but the first bytes of it one by one, with a pause after each."""

    async def play(it: Connection) -> None:
        await it.request()
        await it.say(answer[:at_once])
        for place in range(at_once, len(answer)):
            await it.say(answer[place : place + 1])
            await it.pause()

    return play


def _says_first(data: bytes) -> Play:
    """Speaks before anything was asked, and then only listens."""

    async def play(it: Connection) -> None:
        await it.say(data)
        await it.left()

    return play


async def _listens(it: Connection) -> None:
    await it.left()


async def _resets(it: Connection) -> None:
    it.reset()


async def _resets_after_request(it: Connection) -> None:
    await it.request()
    it.reset()


async def _resets_in_answer(it: Connection) -> None:
    await it.request()
    await it.say(_answer(200, b"{}" * 50, length=1000))
    await it.pause(0.02)  # so that the beginning is read before the reset overtakes it
    it.reset()


async def _answers_before_request(it: Connection) -> None:
    await it.say(OK)
    while True:
        await it.request()


async def _answers_after_head(it: Connection) -> None:
    await it.head()
    await it.say(_answer(413, b"{}", "Connection: close"))


async def _speaks_plainly(it: Connection) -> None:
    await it.something()
    await it.say(_answer(400, b"Client sent an HTTPS request to an HTTP server.\n", "Connection: close"))


async def _closes_late(it: Connection) -> None:
    await it.request()
    await it.say(OK)
    await it.pause(0.02)


async def _closes_on_the_next(it: Connection) -> None:
    await it.request()
    await it.say(OK)
    await it.request()


# What is said ------------------------------------------------------------------------------------------------------


def _answer(status: int, body: bytes = b"{}", *headers: str, length: int | None = None) -> bytes:
    """An answer in HTTP/1.1; `length` is what Content-Length claims."""
    lines = [
        f"HTTP/1.1 {status} {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _lengths(*lengths: str, body: bytes = b"{}") -> bytes:
    """An answer with these headers Content-Length."""
    headers = "".join(f"Content-Length: {each}\r\n" for each in lengths)
    return f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + body


def _chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + body


OK = _answer(200)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


@lru_cache(maxsize=2)
def _bomb(mib: int) -> bytes:
    """A gzip stream of a few KiB that becomes so many MiB, in steps of ten, of zeros."""
    return gzip.compress(bytes(10 << 20), mtime=0) * (mib // 10)


def _explodes(mib: int) -> Play:
    async def play(it: Connection) -> None:
        answer = _answer(200, _bomb(mib), "Content-Encoding: gzip")
        while True:
            await it.request()
            await it.say(answer)

    return play


def _redirects(status: int, *, to_itself: bool = False) -> Play:
    """Redirects every request: to the path that it came to, or to the healthy application."""

    async def play(it: Connection) -> None:
        while True:
            request = await it.request()
            target = request.target if to_itself else it.healthy_url
            await it.say(_answer(status, b"{}", f"Location: {target}"))

    return play


async def _answers_at_length(it: Connection) -> None:
    answer = _answer(200, json.dumps(["x" * 1000] * 5000).encode())
    while True:
        await it.request()
        await it.say(answer)


def _too_many(retry_after: str | None) -> Play:
    return answers(_answer(429, b"{}", *([] if retry_after is None else [f"Retry-After: {retry_after}"])))


# The behaviours ----------------------------------------------------------------------------------------------------


class Accepting(Enum):
    """How a variant accepts connections."""

    AT_ONCE = auto()
    TLS = auto()
    LATE = auto()  # now and then
    NEVER = auto()  # they stay in the queue of the listening socket
    REFUSED = auto()  # nobody listens


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    play: Play = _listens
    accepting: Accepting = Accepting.AT_ONCE
    scheme: str = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    sentence: str
    variants: Mapping[str, Variant]  # the first is meant where none is named


def _each(sentence: str, **variants: Play) -> Behaviour:
    """A behaviour whose variants differ in what is said; `in_words` stands for the name in-words."""
    named = {name.replace("_", "-").removeprefix("-"): Variant(play=play) for name, play in variants.items()}
    return Behaviour(sentence=sentence, variants=named)


def _statuses(sentence: str, play: Callable[[int], Play], *statuses: int) -> Behaviour:
    return Behaviour(sentence=sentence, variants={str(each): Variant(play=play(each)) for each in statuses})


def _always(status: int) -> Play:
    return answers(_answer(status))


BEHAVIOURS: Mapping[str, Behaviour] = {
    "refuses": Behaviour(
        sentence="Nobody listens: the connection is refused.", variants={"port": Variant(accepting=Accepting.REFUSED)}
    ),
    "resets": _each("The connection is accepted, and reset at once.", at_once=_resets),
    "resets_after_request": _each(
        "The request is read, and the connection reset before an answer, or in the middle of one.",
        before_answer=_resets_after_request,
        in_answer=_resets_in_answer,
    ),
    "hangs": Behaviour(
        sentence="The request is taken and never answered; over TLS not even the handshake is.",
        variants={
            "plain": Variant(play=_answers_once(b"", close=False)),
            "tls": Variant(scheme="https"),
        },
    ),
    "hangs_after_headers": _each(
        "Status and headers come, and nothing after them.",
        length=_answers_once(_answer(200, b"", length=2), close=False),
        chunked=_answers_once(_chunked(b""), close=False),
        half_way=_answers_once(_answer(200, b'{"status": ', length=100), close=False),
    ),
    "dribbles": _each(
        "The answer comes byte by byte, with a second after each.",
        status=_dribbles(OK),
        body=_dribbles(_answer(200, b'{"status": "ok"}' * 40), at_once=90),
    ),
    "endless_headers": _each(
        "The headers never end: there are very many, or one is very long.",
        many=_floods(b"HTTP/1.1 200 OK\r\n", b"X-Header: y\r\n"),
        long=_floods(b"HTTP/1.1 200 OK\r\nX-Header: ", b"y"),
    ),
    "endless_body": _each(
        "The body is a GiB, whichever way its length is told.",
        length=_floods(_answer(200, b"", length=GIB), b"0123456789abcdef"),
        chunked=_floods(_chunked(b""), b"400\r\n" + b"x" * 1024 + b"\r\n"),
        small_chunks=_floods(_chunked(b""), b"1\r\nx\r\n"),
        close=_floods(b"HTTP/1.1 200 OK\r\n\r\n", b"0123456789abcdef"),
    ),
    "gzip_bomb": _each(
        "Content-Encoding is gzip: 10 KiB that would become 10 MiB, or 1 MiB that would become a GiB.",
        small=_explodes(10),
        large=_explodes(1020),
    ),
    "redirects": _statuses("Redirects to another host, a healthy one.", _redirects, 301, 302, 303, 307, 308),
    "redirect_loop": _statuses(
        "Redirects to itself, for ever.", partial(_redirects, to_itself=True), 301, 302, 307, 308
    ),
    "too_many_requests": Behaviour(
        sentence="Answers 429, with every form of Retry-After.",
        variants={name: Variant(play=_too_many(value)) for name, value in _RETRY_AFTER.items()},
    ),
    "server_errors": _statuses("Answers 5xx.", _always, 500, 502, 503, 504, 599),
    "client_errors": _statuses("Answers 4xx.", _always, 400, 401, 403, 404, 410, 413, 422, 451),
    "body_after_204": _each(
        "Answers 204, which has no body, with a body.",
        length=answers(_answer(204, b'{"status": "ok"}')),
        chunked=answers(_chunked(b"2\r\n{}\r\n0\r\n\r\n").replace(b"200 OK", b"204 No Content")),
    ),
    "interim_flood": _each(
        "Interim answers (1xx) come without end, or many of them before the answer, or one that changes the protocol.",
        _100=_floods(b"", _CONTINUE),
        _103=_floods(b"", _HINTS),
        many=answers((_CONTINUE + _HINTS) * 20 + OK),
        _101=_answers_once(
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x81\x02hi", close=False
        ),
    ),
    "bad_chunks": _each(
        "A chunked body whose chunks are not as long as they say.",
        letters=answers(_chunked(b"zz\r\n{}\r\n0\r\n\r\n")),
        negative=answers(_chunked(b"-2\r\n{}\r\n0\r\n\r\n")),
        huge=answers(_chunked(b"fffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        overflow=answers(_chunked(b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        too_long=answers(_chunked(b"2\r\n{}{}{}\r\n0\r\n\r\n")),
        cut=_answers_once(_chunked(b"2\r\n{}\r\n"), close=True),
    ),
    "wrong_length": _each(
        "Content-Length is wrong: too large, too small, twice, or no number.",
        too_large=_answers_once(_lengths("100"), close=True),
        too_large_open=_answers_once(_lengths("100"), close=False),
        too_small=answers(_lengths("2", body=b'{}, "more": "than was announced"}')),
        two=answers(_lengths("2", "20")),
        list=answers(_lengths("2, 20")),
        garbage=answers(_lengths("two")),
        negative=answers(_lengths("-2")),
        huge=answers(_lengths("9" * 30)),
        and_chunks=answers(_chunked(b"2\r\n{}\r\n0\r\n\r\n").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1)),
    ),
    "bad_status_line": _each(
        "The answer does not begin as one of HTTP/1.1 does.",
        http_0_9=_answers_once(b"<html>It works!</html>\n", close=True),
        version=answers(OK.replace(b"HTTP/1.1", b"HTTP/3.7")),
        letters=answers(OK.replace(b" 200 ", b" two hundred ")),
        digits=answers(OK.replace(b" 200 ", b" 20000000000 ")),
        lines=_floods(b"", b"\r\n"),
    ),
    "not_http": _each(
        "Another protocol is spoken there: SSH, mail, TLS, or none that is known.",
        ssh=_says_first(b"SSH-2.0-OpenSSH_9.6\r\n"),
        mail=_says_first(b"220 mail.invalid ESMTP\r\n"),
        tls_hello=_says_first(b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + bytes(35)),
        tls_alert=_answers_once(b"\x15\x03\x01\x00\x02\x02\x46", close=True),
        bytes=_says_first(bytes(range(256))),
    ),
    "bad_certificate": Behaviour(
        sentence="https:// with a certificate that nobody trusts and that names another host.",
        variants={"self-signed": Variant(play=answers(OK), accepting=Accepting.TLS, scheme="https")},
    ),
    "plain_on_https": Behaviour(
        sentence="https:// where plain HTTP is spoken.",
        variants={"answers": Variant(play=_speaks_plainly, scheme="https")},
    ),
    "closes_silently": _each(
        "A connection that seems to be kept alive is closed: at once, a little later, or when it is used again.",
        at_once=_answers_once(OK, close=True),
        late=_closes_late,
        on_use=_closes_on_the_next,
    ),
    "answers_first": _each(
        "The answer comes before the request was read: before anything was asked, or after its headers.",
        before_request=_answers_before_request,
        after_headers=_answers_after_head,
    ),
    "strange_answers": _each(
        "A 200 whose body is no JSON object: other JSON, broken JSON, 5 MB of it, or none.",
        string=answers(_answer(200, b'"ok"')),
        null=answers(_answer(200, b"null")),
        nan=answers(_answer(200, b'{"status": NaN}')),
        truncated=answers(_answer(200, b'{"status": "o')),
        invalid_utf_8=answers(_answer(200, b'{"status": "\xff\xfe"}')),
        utf_16=answers(_answer(200, '{"status": "ok"}'.encode("utf-16"))),
        deep=answers(_answer(200, b"[" * 5000 + b"]" * 5000)),
        large=_answers_at_length,
        html=answers(_answer(200, b"<html>It works!</html>\n")),
        hostile=answers(_answer(200, "<script>alert(1)</script>\x00\x1b[2J\u202eevil".encode())),
        empty=answers(_answer(200, b"")),
    ),
    "accepts_late": Behaviour(
        sentence="Connections are accepted only now and then, or never.",
        variants={
            "late": Variant(play=answers(OK), accepting=Accepting.LATE),
            "never": Variant(accepting=Accepting.NEVER),
        },
    ),
}
