"""The edge over raw sockets: deadlines, limits, what is no request; and who does nothing wrong notices nothing."""

import json
import logging
import select
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import requests

from sandbox.clock import stopwatch
from sandbox.http import limits
from sandbox.http import server as http_server
from sandbox.http.access import MAX_HEADERS, MAX_TARGET
from tests.conftest import EXAMPLE, PATIENCE_S, read_reply

if TYPE_CHECKING:
    from tests.conftest import Bench, Reply, Running

DEADLINE_S = 0.2
HOST = b"Host: localhost\r\n"
GATEWAY = b"POST /ng/v1/sendsms HTTP/1.1\r\n" + HOST
TOKEN = b"Authorization: Bearer sandbox-token\r\n"
JSON = b"Content-Type: application/json\r\n"
SMS = json.dumps(EXAMPLE).encode()
LENGTH = b"Content-Length: %d\r\n" % len(SMS)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CONTROL = b"POST /_sandbox/v1/reset HTTP/1.1\r\n" + HOST + JSON
PAGE = b"POST /settings/reset HTTP/1.1\r\n" + HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
STREAM = b"GET /_sandbox/v1/events HTTP/1.1\r\n" + HOST + b"\r\n"


def wait(timeout_s: float, count: int = 1) -> bytes:
    """A long poll that nothing ends before its time-out."""
    return b"GET /_sandbox/v1/messages/wait?count=%d&timeout=%g HTTP/1.1\r\n%s\r\n" % (count, timeout_s, HOST)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, start_sandbox: Callable[..., "Bench"]) -> Callable[..., "Running"]:
    """Starts a sandbox with short deadlines, which looks at its connections often enough for them."""
    monkeypatch.setattr(http_server, "TICK_S", 0.02)
    deadlines = {"header_deadline_s": DEADLINE_S, "body_deadline_s": DEADLINE_S}
    return lambda **settings: start_sandbox(**{**deadlines, **settings}).sandbox


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch, start_sandbox: Callable[..., "Bench"]) -> "Running":
    """A sandbox that has the usual deadlines, and looks often."""
    monkeypatch.setattr(http_server, "TICK_S", 0.02)
    return start_sandbox().sandbox


def said(reply: "Reply") -> str:
    """What an answer tells people, in whichever shape."""
    told = json.loads(reply.body)
    if "message" in told:
        assert reply.header("content-type") == "application/json"
        assert (told["status_code"], told["errors"]) == (reply.status, [])
        return str(told["message"])
    assert reply.header("content-type") == "application/problem+json"
    assert reply.header("content-security-policy") is not None
    assert told["status"] == reply.status
    return str(told["detail"])


def of_gateway(reply: "Reply") -> bool:
    return "message" in json.loads(reply.body)


def ends(sock: socket.socket) -> bytes:
    """What comes until the other side closes."""
    came = b""
    try:
        while piece := sock.recv(65536):
            came += piece
    except ConnectionResetError:
        pass
    return came


@contextmanager
def dribbling(sock: socket.socket, byte: bytes) -> Iterator[None]:
    """Sends a byte every 20 ms until there is something to read."""
    while not select.select([sock], [], [], 0.02)[0]:
        sock.sendall(byte)
    yield


def data_packets(sock: socket.socket) -> int:
    """How many packets with data have come, as the system counts them."""
    counted: int = struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160), 152)[0]
    return counted


# Answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts the packets of a connection")
@pytest.mark.parametrize("request_", [LIVEZ, GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS, CONTROL + b"\r\n"])
def test_head_and_body_of_an_answer_are_one_packet(watchful: "Running", request_: bytes) -> None:
    with watchful.connect() as sock:
        sock.sendall(request_)
        assert read_reply(sock).body
        assert data_packets(sock) == 1


def test_the_answer_to_head_is_a_head_alone(watchful: "Running") -> None:
    head = LIVEZ.replace(b"GET", b"HEAD").removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
    with watchful.connect() as sock:
        sock.sendall(head)
        came = ends(sock)
    assert came.startswith(b"HTTP/1.1 200 OK\r\n")
    assert came.endswith(b"\r\n\r\n")


# Deadlines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begun", "to_gateway"),
    [
        pytest.param(b"P", False, id="one byte"),
        pytest.param(b"POST /ng/v1/sen", False, id="half a target, of which the parser knows"),
        pytest.param(b"POST /ng/v1/sendsms HTTP/1.1\r\nHost: loc", True, id="half a header"),
        pytest.param(GATEWAY + TOKEN, True, id="all headers but no end"),
        pytest.param(GATEWAY + TOKEN + JSON + LENGTH + b"\r\n", True, id="no body"),
        pytest.param(GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS[:-1], True, id="half a body"),
        pytest.param(GATEWAY + TOKEN + JSON + CHUNKED + b"\r\n5\r\n{", True, id="half a chunk"),
        pytest.param(CONTROL + LENGTH + b"\r\n{", False, id="half a body for the control API"),
        pytest.param(PAGE + LENGTH + b"\r\nscope=", False, id="half a form"),
    ],
)
def test_a_request_that_does_not_come_in_whole_is_answered_408_by_its_deadline(
    hasty: Callable[..., "Running"], begun: bytes, to_gateway: bool
) -> None:
    begun_s = stopwatch()
    reply = hasty().raw(begun)
    assert (reply.status, reply.closed) == (408, True)
    assert "deadline" in said(reply)
    assert of_gateway(reply) == (to_gateway or begun.startswith(b"POST /ng/"))
    assert stopwatch() - begun_s > DEADLINE_S


@pytest.mark.parametrize(
    ("begun", "byte"),
    [
        pytest.param(b"GET /", b"x", id="target"),
        pytest.param(b"GET /livez HTTP/1.1\r\nX: ", b"x", id="header"),
        pytest.param(GATEWAY + TOKEN + JSON + b"Content-Length: 60000\r\n\r\n", b" ", id="body"),
    ],
)
def test_a_request_that_dribbles_in_gains_no_time_by_it(
    hasty: Callable[..., "Running"], begun: bytes, byte: bytes
) -> None:
    with hasty().connect() as sock:
        sock.sendall(begun)
        with dribbling(sock, byte):
            assert read_reply(sock).status == 408


def test_headers_and_body_have_deadlines_of_their_own(hasty: Callable[..., "Running"]) -> None:
    running = hasty(header_deadline_s=60)
    assert running.raw(GATEWAY + TOKEN + JSON + LENGTH + b"\r\n").status == 408
    running = hasty(body_deadline_s=60)
    assert running.raw(GATEWAY + TOKEN + JSON + LENGTH).status == 408


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_a_connection_without_a_request_is_closed_without_a_word(hasty: Callable[..., "Running"], begun: bytes) -> None:
    with hasty().connect() as sock:
        sock.sendall(begun)
        assert ends(sock) == b""


def test_a_call_whose_body_never_came_leaves_no_record(hasty: Callable[..., "Running"]) -> None:
    running = hasty()
    assert running.raw(GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS[:-1]).status == 408
    assert running.request("GET", "/_sandbox/v1/requests").json()["requests"] == []


def test_a_long_poll_outlasts_the_deadlines(hasty: Callable[..., "Running"]) -> None:
    with hasty().connect() as sock:
        begun_s = stopwatch()
        sock.sendall(wait(5 * DEADLINE_S))
        reply = read_reply(sock)
        assert (reply.status, json.loads(reply.body)["satisfied"]) == (200, False)
        assert stopwatch() - begun_s >= 5 * DEADLINE_S
        sock.sendall(LIVEZ)
        assert read_reply(sock).status == 200


def test_an_event_stream_on_which_nothing_happens_outlasts_the_deadlines(hasty: Callable[..., "Running"]) -> None:
    running = hasty()
    with running.connect() as stream, running.connect() as sock:
        stream.sendall(STREAM)
        sock.sendall(wait(5 * DEADLINE_S))
        assert read_reply(sock).status == 200
        assert running.raw(GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS).status == 200
        came = b""
        while b"message_submitted" not in came:
            came += stream.recv(65536)


def test_an_answer_that_a_fault_holds_back_outlasts_the_deadlines(hasty: Callable[..., "Running"]) -> None:
    running = hasty()
    fault = {"on": "sendsms", "effect": {"delay_s": 5 * DEADLINE_S}}
    assert running.request("POST", "/_sandbox/v1/faults", json=fault).status_code == 201
    begun_s = stopwatch()
    assert running.raw(GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS).status == 200
    assert stopwatch() - begun_s >= 5 * DEADLINE_S


def test_a_client_that_does_not_take_its_answer_is_dropped(
    hasty: Callable[..., "Running"], caplog: pytest.LogCaptureFixture
) -> None:
    running = hasty()
    for _ in range(20):  # some 2 MB of page with what follows
        body = json.dumps({**EXAMPLE, "message": "😀" * 1600}).encode()
        assert running.plain("POST", "/ng/v1/sendsms", *HEADERS, body=body).status == 200
    with socket.socket() as sock, caplog.at_level(logging.WARNING):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE_S)
        sock.connect(("127.0.0.1", running.address.port))
        sock.sendall(b"GET /_sandbox/v1/messages HTTP/1.1\r\n" + HOST + b"\r\n" + LIVEZ)
        for _ in range(20):
            sock.sendall(b"GET /_sandbox/v1/export HTTP/1.1\r\n" + HOST + b"\r\n")
        with running.connect() as other:
            while "an answer that was not read" not in caplog.text:
                running.ask(other, wait(0.1))
        assert not ends(sock).endswith(b"}\n")


HEADERS = ("Host: localhost", "Authorization: Bearer sandbox-token", "Content-Type: application/json")


def test_a_connection_is_kept_for_a_pool_and_not_for_ever(watchful: "Running", monkeypatch: pytest.MonkeyPatch) -> None:
    with watchful.connect() as pooled, watchful.connect() as other:
        assert watchful.ask(pooled, LIVEZ).status == 200
        watchful.ask(other, wait(0.3))
        assert watchful.ask(pooled, LIVEZ).status == 200
        monkeypatch.setattr(limits, "KEEP_ALIVE_S", 0.1)
        assert ends(pooled) == b""
    assert limits.KEEP_ALIVE_S < 1 < 60, "patience is tested above; what it is, is documented"


# How many ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "to_gateway"), [(GATEWAY + TOKEN + b"\r\n", True), (LIVEZ, False), (CONTROL + b"\r\n", False)]
)
def test_one_connection_too_many_is_answered_in_the_shape_of_what_it_asks_for(
    start_sandbox: Callable[..., "Bench"], request_: bytes, to_gateway: bool
) -> None:
    running = start_sandbox(max_connections=3).sandbox
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running.connect())
        reply = running.raw(request_)
    assert (reply.status, reply.closed, of_gateway(reply)) == (503, True, to_gateway)
    assert int(reply.header("retry-after") or 0) > 0
    assert "max_connections" in said(reply)


def test_connections_far_beyond_the_limit_are_answered_before_they_ask(
    start_sandbox: Callable[..., "Bench"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SPARE", 2)
    running = start_sandbox(max_connections=1).sandbox
    with ExitStack() as stack:
        waiting = [stack.enter_context(running.connect()) for _ in range(3)]
        with running.connect() as sock:
            assert read_reply(sock).status == 503
        replies = [running.ask(sock, LIVEZ) for sock in waiting]
    assert [reply.status for reply in replies] == [200, 503, 503]


def test_a_connection_too_many_is_heard_once_there_is_room(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox(max_connections=1).sandbox
    with running.connect() as first, running.connect() as second:
        assert running.ask(first, LIVEZ).status == 200
        first.sendall(LIVEZ.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert read_reply(first).closed
        assert running.ask(second, LIVEZ).status == 200


def test_a_connection_that_idles_makes_room_the_longest_one_first(hasty: Callable[..., "Running"]) -> None:
    running = hasty(max_connections=3)
    with ExitStack() as stack:
        busy, first, second = [stack.enter_context(running.connect()) for _ in range(3)]
        busy.sendall(STREAM)
        assert busy.recv(1)
        for sock in (first, second):
            assert running.ask(sock, wait(0.1)).status == 200  # in which the other is seen to be idle
        assert running.raw(LIVEZ).status == 200
        assert ends(first) == b""
        assert running.ask(second, LIVEZ).status == 200
        assert busy.recv(1)


# How much ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begun", "more", "status"),
    [
        pytest.param(b"GET /", b"x" * 4096, 414, id="target"),
        pytest.param(b"GET /ng/", b"x" * 4096, 414, id="target at the gateway"),
        pytest.param(b"GET http://localhost/ng/", b"x" * 4096, 414, id="whole URL"),
        pytest.param(b"GET /livez HTTP/1.1\r\nX: ", b"x" * 4096, 431, id="value"),
        pytest.param(b"GET /livez HTTP/1.1\r\nX", b"x" * 4096, 431, id="name"),
        pytest.param(b"GET /livez HTTP/1.1\r\n", b"X: x\r\n" * 512, 431, id="number"),
        pytest.param(GATEWAY + TOKEN + JSON + CHUNKED + b"\r\n1;", b"x" * 4096, 413, id="chunk extension"),
        pytest.param(GATEWAY + TOKEN + JSON + CHUNKED + b"\r\n0\r\nX: ", b"x" * 4096, 413, id="trailer"),
        pytest.param(GATEWAY + TOKEN + JSON + CHUNKED + b"\r\n0\r\n", b"X: x\r\n" * 512, 413, id="trailers"),
        pytest.param(GATEWAY + TOKEN + JSON + CHUNKED + b"\r\n", b"1\r\nx\r\n" * 512, 413, id="small chunks"),
    ],
)
def test_what_has_no_end_is_refused_before_it_is_stored(
    sandbox_server: "Running", begun: bytes, more: bytes, status: int
) -> None:
    sent = 0
    with sandbox_server.connect() as sock:
        sock.sendall(begun)
        with suppress(OSError):  # the server has closed it already, and the answer is here
            while not select.select([sock], [], [], 0)[0]:
                sock.sendall(more)
                sent += len(more)
        reply = read_reply(sock)
    assert (reply.status, of_gateway(reply)) == (status, b"/ng/" in begun)
    assert sent < 16 * 1024**2, "the kernel's buffers hold some of it"


def test_headers_and_target_may_come_byte_by_byte_and_be_as_large_as_the_limits(sandbox_server: "Running") -> None:
    target = b"/livez?" + b"x" * (MAX_TARGET - 7)
    value = b"x" * (MAX_HEADERS - len("hostlocalhostx-x") - 2 * 4)
    request = b"GET %s HTTP/1.1\r\n%sX-X: %s\r\n\r\n" % (target, HOST, value)
    with sandbox_server.connect() as sock:
        for at in range(0, len(request), 61):
            sock.send(request[at : at + 61])
        assert read_reply(sock).status == 200


# What is no request ------------------------------------------------------------------------------------------------


def head(*lines: bytes, first: bytes = b"POST /ng/v1/sendsms HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: localhost", TOKEN.strip(), JSON.strip(), *lines, b"", b""])


BROKEN = {
    "two lengths": head(b"Content-Length: 3", b"Content-Length: 3") + b"abc",
    "two lengths that differ": head(b"Content-Length: 3", b"Content-Length: 4") + b"abc",
    "lengths in a list": head(b"Content-Length: 3, 3") + b"abc",
    "negative length": head(b"Content-Length: -1"),
    "length with a plus": head(b"Content-Length: +3") + b"abc",
    "length that overflows": head(b"Content-Length: 99999999999999999999999"),
    "length that is none": head(b"Content-Length: "),
    "length and chunks": head(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunks and length": head(b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"0\r\n\r\n",
    "not chunked": head(b"Transfer-Encoding: gzip"),
    "chunked twice": head(b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked but not last": head(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "chunked in disguise": head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "chunk without a size": head(b"Transfer-Encoding: chunked") + b"zz\r\n",
    "negative chunk": head(b"Transfer-Encoding: chunked") + b"-1\r\nabc",
    "chunk that overflows": head(b"Transfer-Encoding: chunked") + b"f" * 17 + b"\r\nabc",
    "chunk longer than said": head(b"Transfer-Encoding: chunked") + b"3\r\nabcd\r\n0\r\n\r\n",
    "bare line feeds in chunks": head(b"Transfer-Encoding: chunked") + b"3\nabc\n0\n\n",
    "folded header": head(b"X: a", b" b"),
    "NUL in a value": head(b"X: a\x00b"),
    "control character in a value": head(b"X: a\x01b"),
    "carriage return in a value": head(b"X: a\rb"),
    "NUL in a name": head(b"X\x00: a"),
    "blank before the colon": head(b"X : a"),
    "no name": head(b": a"),
    "no colon": head(b"just words"),
    "bare line feeds": head().replace(b"\r\n", b"\n"),
    "bare carriage returns": head().replace(b"\r\n", b"\r"),
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": head(first=b"POST /ng/v1/sendsms HTTP/3.0"),
    "another protocol": head(first=b"POST /ng/v1/sendsms SIP/2.0"),
    "a method in lower case": head(first=b"post /ng/v1/sendsms HTTP/1.1"),
    "an unknown method": head(first=b"SENDSMS /ng/v1/sendsms HTTP/1.1"),
    "a proxy's method": head(first=b"CONNECT example.com:443 HTTP/1.1"),
    "no target": head(first=b"POST HTTP/1.1"),
    "a target that is no path": head(first=b"POST ng/v1/sendsms HTTP/1.1"),
    "a target without a path": head(first=b"POST http://localhost HTTP/1.1"),
    "a target of bytes": head(first=b"POST /ng/\xff HTTP/1.1"),
    "NUL in a target": head(first=b"POST /ng/\x00 HTTP/1.1"),
    "two blanks in the target": head(first=b"POST /ng/ / HTTP/1.1"),
    "no request at all": b"EHLO localhost\r\n",
    "noise": bytes(range(256)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_http_is_told_so_in_our_own_words(
    sandbox_server: "Running", name: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = sandbox_server.raw(BROKEN[name])
    assert (reply.status, reply.closed) == (400, True)
    assert said(reply).endswith(".")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", [b"/ng/v1/sendsms", b"http://localhost/ng/v1/sendsms", b"/livez", b"/_sandbox/v1/"])
def test_what_is_no_http_is_told_so_in_the_shape_of_what_it_asks_for(sandbox_server: "Running", path: bytes) -> None:
    reply = sandbox_server.raw(b"GET %s HTTP/1.1\r\n%sX: \x00\r\n\r\n" % (path, HOST))
    assert of_gateway(reply) == (b"/ng/" in path)


def test_a_refused_head_request_gets_no_body(sandbox_server: "Running") -> None:
    with sandbox_server.connect() as sock:
        sock.sendall(b"HEAD /livez HTTP/1.1\r\n%sX: \x00\r\n\r\n" % HOST)
        assert ends(sock).endswith(b"\r\n\r\n")


def test_a_client_that_speaks_tls_is_named_in_the_log(watchful: "Running", caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), watchful.connect() as sock:
        with pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        with watchful.connect() as other:
            watchful.ask(other, wait(0.1))
    assert "The client speaks TLS. Use http://" in caplog.text


def test_a_flood_of_refusals_is_one_line_of_the_log_and_not_one_each(
    start_sandbox: Callable[..., "Bench"], caplog: pytest.LogCaptureFixture
) -> None:
    running = start_sandbox().sandbox
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            assert running.raw(b"junk\r\n").status == 400
    assert len(caplog.messages) < 5


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
@pytest.mark.parametrize("framing", ["length", "chunks", "pieces"])
def test_a_request_that_asks_for_another_protocol_is_answered_in_this_one(
    sandbox_server: "Running", protocol: bytes, framing: str
) -> None:
    asking = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n" % protocol
    if framing == "chunks":
        pieces = [GATEWAY + TOKEN + JSON + asking + CHUNKED + b"\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(SMS), SMS)]
    else:
        pieces = [GATEWAY + TOKEN + JSON + asking + LENGTH + b"\r\n", SMS]
    with sandbox_server.connect() as sock:
        for _ in range(2):
            for piece in pieces if framing == "pieces" else [b"".join(pieces)]:
                sock.sendall(piece)
            assert read_reply(sock).status == 200


def test_a_client_may_ask_to_go_on_before_it_sends_its_body(sandbox_server: "Running") -> None:
    with sandbox_server.connect() as sock:
        sock.sendall(GATEWAY + TOKEN + JSON + LENGTH + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(SMS)
        assert read_reply(sock).status == 200


@pytest.mark.parametrize("name", [b"Authorization: Bearer sandbox-token", b"Content-Type: application/json"])
def test_a_trailer_is_no_header(sandbox_server: "Running", name: bytes) -> None:
    """RFC 9110, section 6.5.1."""
    headers = GATEWAY + (TOKEN + JSON).replace(name + b"\r\n", b"") + CHUNKED
    with sandbox_server.connect() as sock:
        sock.sendall(headers + b"\r\n%x\r\n" % len(SMS) + SMS[:5])
        sock.sendall(SMS[5:] + b"\r\n0\r\n" + name + b"\r\n\r\n")
        assert read_reply(sock).status in (401, 415)


def test_the_asterisk_and_whole_urls_are_targets(sandbox_server: "Running") -> None:
    assert sandbox_server.raw(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n").status == 404
    assert sandbox_server.raw(b"GET http://localhost/livez HTTP/1.1\r\n" + HOST + b"\r\n").status == 200


# One behind the other ----------------------------------------------------------------------------------------------


def statuses(sock: socket.socket, number: int) -> list[int]:
    """The answers to requests that were sent in one go."""
    found = []
    with sock.makefile("rb") as stream:
        for _ in range(number):
            found.append(int(stream.readline().split()[1]))
            lengths = [line for line in iter(stream.readline, b"\r\n") if line.lower().startswith(b"content-length:")]
            stream.read(int(lengths[0].split(b":")[1]))
    return found


def test_requests_in_one_go_are_answered_in_order(sandbox_server: "Running") -> None:
    whole = GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS
    missing = b"GET /ng/v1/nowhere HTTP/1.1\r\n" + HOST + TOKEN + b"\r\n"
    with sandbox_server.connect() as sock:
        sock.sendall(wait(0.1, 1000) + whole + missing + LIVEZ + whole)
        assert statuses(sock, 5) == [200, 200, 404, 200, 200]


def test_a_body_that_comes_while_another_request_is_answered_is_waited_for(hasty: Callable[..., "Running"]) -> None:
    with hasty().connect() as sock:
        sock.sendall(wait(3 * DEADLINE_S) + GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS[:9])
        sock.sendall(SMS[9:] + LIVEZ)
        assert statuses(sock, 3) == [200, 200, 200]


@pytest.mark.parametrize(
    "broken",
    [
        b"JUNK\r\n\r\n",
        GATEWAY + b"X: \x00\r\n\r\n",
        GATEWAY + TOKEN + JSON + CHUNKED + b"\r\nzz\r\n",
        b"CONNECT a:80 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_came_before_a_broken_request_is_answered_before_it(sandbox_server: "Running", broken: bytes) -> None:
    with sandbox_server.connect() as sock:
        sock.sendall(wait(0.1, 1000) + LIVEZ + broken + LIVEZ)
        assert statuses(sock, 3) == [200, 200, 400]
        assert ends(sock) == b""


def test_only_so_many_requests_may_wait_on_a_connection(sandbox_server: "Running") -> None:
    with sandbox_server.connect() as sock:
        sock.sendall(wait(0.1, 1000) + LIVEZ * (limits.MOST_WAITING + 5))
        found = statuses(sock, limits.MOST_WAITING + 2)
    assert found == [200] * (limits.MOST_WAITING + 1) + [429]


def test_a_stream_with_a_request_behind_it_ends_as_it_should_when_its_client_leaves(
    start_sandbox: Callable[..., "Bench"], caplog: pytest.LogCaptureFixture
) -> None:
    running = start_sandbox(max_event_streams=1).sandbox
    with running.connect() as sock:
        sock.sendall(STREAM + LIVEZ)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    for _ in range(200):  # what is written to a client that has left tells that it has
        assert running.raw(GATEWAY + TOKEN + JSON + LENGTH + b"\r\n" + SMS).status == 200
        if running.services.listeners.count == 0:
            break
    with running.connect() as sock:
        sock.sendall(STREAM)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    assert caplog.messages == [], "it ended by writing to a connection that is no more"


def test_what_is_broken_behind_an_answer_without_end_ends_it(hasty: Callable[..., "Running"]) -> None:
    with hasty().connect() as sock:
        sock.sendall(STREAM + b"JUNK\r\n\r\n")
        assert ends(sock).startswith(b"HTTP/1.1 200")


def test_nothing_of_this_disturbs_a_client_that_keeps_its_connection(hasty: Callable[..., "Running"]) -> None:
    running = hasty()
    with requests.Session() as session:
        session.trust_env = False
        until = stopwatch() + 4 * DEADLINE_S
        while stopwatch() < until:
            assert session.get(f"{running.url}/livez", timeout=PATIENCE_S).status_code == 200
