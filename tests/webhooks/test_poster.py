"""The poster against applications that behave, misbehave and attack, over real sockets of the loopback interface."""

import asyncio
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.model import Outcome, OutcomeKind
from sandbox.webhooks import poster as module
from sandbox.webhooks.poster import Poster

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Behaviour = Callable[["Application", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BODY = b'{"message": "Yesterday"}'
HEAD = b"HTTP/1.1 200 OK\r\n"
OK = HEAD + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GIB = 1 << 30


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    runner: Run = asyncio.run if request.param == "asyncio" else pytest.importorskip("uvloop").run
    return runner


class Application:
    """What listens at `client_url`: every connection is given to `behaviour`, and closed when that returns."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.port = self.connections = self.sent = 0
        self.requests: list[bytes] = []
        self.asked, self.left = asyncio.Event(), asyncio.Event()  # a request has come; a connection has ended

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.behaviour(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.left.set()


@asynccontextmanager
async def application(behaviour: Behaviour, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[Application]:
    app = Application(behaviour)
    async with await asyncio.start_server(app.handle, host, options.pop("port", 0), **options) as server:
        app.port = server.sockets[0].getsockname()[1]
        yield app


@asynccontextmanager
async def posting(deadline_s: float = 5.0, **settings: Any) -> AsyncIterator[Poster]:
    poster = Poster(deadline_s=deadline_s, **settings)
    try:
        yield poster
    finally:
        await poster.close()


async def post_to(
    behaviour: Behaviour,
    url: str = "http://127.0.0.1:{port}/webhook",
    *,
    body: bytes = BODY,
    token: str | None = None,
    times: int = 1,
    **settings: Any,
) -> tuple[Outcome, Application]:
    """Post to an application of that behaviour, and check that its connection ends. Returns the last outcome."""
    async with application(behaviour) as app, posting(**settings) as poster:
        for _ in range(times):
            outcome = await poster.post(url.replace("{port}", str(app.port)), body, token)
        if app.connections and behaviour is not keeps_alive:
            await asyncio.wait_for(app.left.wait(), 2)
        return outcome, app


def says(start: bytes, *, hang: bool = False, flood: bytes = b"") -> Behaviour:
    """Read a request, write `start`, then close; or wait for the other side to leave; or write `flood` without end."""

    async def behave(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        app.requests.append(head + await reader.readexactly(int(length[1])))
        app.asked.set()
        writer.write(start)
        await writer.drain()
        while flood and app.sent < GIB:
            writer.write(flood)
            await writer.drain()
            app.sent += len(flood)
        if hang:
            await reader.read()

    return behave


async def keeps_alive(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await says(OK)(app, reader, writer)


async def swallows(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    app.asked.set()
    while await reader.read(1024):
        pass


async def resets(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def speaks_first(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.invalid ESMTP\r\n")
    await swallows(app, reader, writer)


async def answers_before_the_body(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


def names(monkeypatch: pytest.MonkeyPatch, **addresses: list[str]) -> list[str]:
    """Let `<name>.invalid` have `addresses`; returns a list of what is looked up from now on."""
    looked_up: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        looked_up.append(host)
        found = addresses.get(host.removesuffix(".invalid"))
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


# --- what is sent -------------------------------------------------------------------------------------------------


def test_the_request_is_these_bytes_and_no_proxy_gets_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    url, body = "http://user:pa55@127.0.0.1:{port}/hook?a=1", bytes(range(256))
    outcome, app = run(post_to(says(OK), url, body=body, token="Bearer t0ken"))
    assert (outcome.kind, outcome.status_code, outcome.body) == (OutcomeKind.ANSWERED, 200, b"{}")
    assert (outcome.headers, outcome.error) == ((("Content-Length", "2"),), "")
    assert 0 < outcome.duration_ms < 5000
    assert app.requests == [
        b"POST /hook?a=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: ninebits-sandbox\r\nAccept: */*\r\n"
        b"Content-Type: application/json\r\nContent-Length: 256\r\nAuthorization: Bearer t0ken\r\n\r\n"
        % app.port
        + body
    ]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", b"/"),
        ("?a=b", b"/?a=b"),
        ("/a b/é?ü=%2F#part", b"/a%20b/%C3%A9?%C3%BC=%2F"),
        ("/a\r\nX-Evil: 1", b"/aX-Evil:%201"),
        ("//x\\y", b"//x%5Cy"),
    ],
)
def test_the_path_is_percent_encoded_once(run: Run, path: str, target: bytes) -> None:
    _, app = run(post_to(says(OK), "http://127.0.0.1:{port}" + path))
    assert app.requests[0].startswith(b"POST " + target + b" HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization" not in app.requests[0]


def test_a_token_that_would_break_out_of_its_header_is_not_sent(run: Run) -> None:
    outcome, app = run(post_to(says(OK), token="Bearer a\r\nX-Evil: 1"))
    assert (outcome.kind, app.connections) == (OutcomeKind.FORBIDDEN, 0)


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "status", "body"),
    [
        (says(b"HTTP/1.0 200 OK\r\n\r\nhello"), 200, b"hello"),  # ended by the connection
        (says(HEAD + b"\r\nhello"), 200, b"hello"),
        (says(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}"), 200, b"{}"),
        (says(OK.replace(b"\r", b"")), 200, b"{}"),
        (says(CHUNKED + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\nX: 1\r\n\r\n"), 200, b"{}"),
        (says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK), 200, b"{}"),
        (says(b"HTTP/1.1 101 Hm\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0"), 101, b""),
        (says(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, b""),
        (says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), 302, b""),
        (says(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\0"), 200, b"\x1f\x8b\x08\0"),
        (says(OK + OK), 200, b"{}"),
        (answers_before_the_body, 413, b""),
    ],
)
def test_an_answer_counts(run: Run, behaviour: Behaviour, status: int, body: bytes) -> None:
    outcome, app = run(post_to(behaviour))
    assert (outcome.kind, outcome.status_code, outcome.body) == (OutcomeKind.ANSWERED, status, body)
    assert app.connections == 1


def test_headers_are_latin_1_in_order_and_limited_in_number_and_size(run: Run) -> None:
    outcome, _ = run(post_to(says(HEAD + b"B: caf\xe9\r\nA: 1\r\nb: 2\r\n\r\n")))
    assert outcome.headers == (("B", "café"), ("A", "1"), ("b", "2"))
    outcome, _ = run(post_to(says(HEAD + b"X: 1\r\n" * 500 + b"\r\n")))
    assert (outcome.status_code, len(outcome.headers)) == (200, 64)
    outcome, _ = run(post_to(says(HEAD + b"A: 1\r\nB: " + b"x" * 9000 + b"\r\n\r\n")))
    assert (outcome.status_code, outcome.headers) == (200, (("A", "1"),))


@pytest.mark.parametrize(("size", "flood"), [(16384, b""), (16385, b""), (GIB, b"x" * 65536)])
def test_16_kib_of_an_answer_are_kept_and_a_longer_one_is_not_downloaded(run: Run, size: int, flood: bytes) -> None:
    start = HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * min(size, 20_000)
    outcome, app = run(post_to(says(start, flood=flood)))
    assert (outcome.kind, outcome.status_code, len(outcome.body)) == (OutcomeKind.ANSWERED, 200, 16384)
    assert app.sent < GIB / 16  # what the buffers of both sides hold


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (says(HEAD, flood=b"X: " + b"y" * 65536 + b"\r\n"), OutcomeKind.BROKEN),
        (says(HEAD + b"X: ", flood=b"y" * 65536), OutcomeKind.BROKEN),
        (says(b"", flood=b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 1000), OutcomeKind.BROKEN),
        (says(CHUNKED + b"1;", flood=b"y" * 65536), OutcomeKind.ANSWERED),
        (says(CHUNKED + b"0\r\n", flood=b"X: y\r\n" * 10000), OutcomeKind.ANSWERED),
    ],
    ids=["headers", "one header", "interim answers", "chunk extension", "trailers"],
)
def test_a_flood_ends_early(run: Run, behaviour: Behaviour, kind: OutcomeKind) -> None:
    outcome, app = run(post_to(behaviour))
    assert outcome.kind is kind
    assert len(outcome.headers) <= 64
    assert app.sent < GIB / 16


# --- no answer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (says(b""), "closed the connection without an answer"),
        (says(b"HTTP/1.1 100 Continue\r\n\r\n"), "closed the connection without an answer"),
        (says(HEAD + b"Content-Le"), "closed the connection without an answer"),
        (resets, "closed the connection without an answer"),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "answered something that is not HTTP: Expected HTTP/"),
        (says(b"\x00\x01\xffgarbage\r\n\r\n"), "answered something that is not HTTP"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "It speaks TLS: write https://"),
        (speaks_first, "answered something that is not HTTP"),
        (says(HEAD + b"X: a\x00b\r\n\r\n"), "is not HTTP: Invalid header value char"),
        (says(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), "answered something that is not HTTP"),
        (says(CHUNKED + b"zz\r\n"), "answered something that is not HTTP"),
        (says(HEAD + b"Content-Length: 9\r\n\r\n{"), "in the middle of its answer, status 200"),
        (says(CHUNKED + b"9\r\n{"), "in the middle of its answer, status 200"),
    ],
)
def test_what_is_no_complete_answer_is_broken(run: Run, behaviour: Behaviour, words: str) -> None:
    outcome, app = run(post_to(behaviour))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.BROKEN, None)
    assert outcome.error.startswith(f"127.0.0.1:{app.port} ")
    assert words in outcome.error


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (says(b"", hang=True), "did not answer within 0.1 s"),
        (says(HEAD + b"Conte", hang=True), "did not answer within 0.1 s"),
        (says(HEAD + b"Content-Length: 9\r\n\r\n{", hang=True), "answered with status 200, but did not finish"),
    ],
)
def test_the_deadline_ends_an_answer_that_does_not_come_and_frees_the_connection(
    run: Run, behaviour: Behaviour, words: str
) -> None:
    outcome, _ = run(post_to(behaviour, deadline_s=0.1))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.TIMED_OUT, None)
    assert words in outcome.error
    assert outcome.duration_ms >= 99


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cancelling_frees_the_connection(run: Run, scheme: str) -> None:
    async def main() -> None:
        async with application(swallows) as app, posting() as poster:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(poster.post(f"{scheme}://127.0.0.1:{app.port}/", BODY, None))
                await app.asked.wait()
                task.cancel()
            await asyncio.wait_for(app.left.wait(), 2)
            assert task.cancelled()

    run(main())


def test_a_refused_connection_is_unreachable_and_says_what_to_do(run: Run) -> None:
    async def main() -> Outcome:
        async with application(says(OK)) as gone:
            pass
        async with posting() as poster:
            return await poster.post(f"http://127.0.0.1:{gone.port}/", BODY, None)

    outcome = run(main())
    assert outcome.kind is OutcomeKind.UNREACHABLE
    assert re.match(r"Connection refused: nothing listens on 127.0.0.1:\d+. Start the application,", outcome.error)


# --- names and addresses ------------------------------------------------------------------------------------------


def test_a_name_is_looked_up_once_and_its_addresses_are_tried_in_turn(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        looked_up = names(monkeypatch, app=["::1", "127.0.0.1"])
        outcome, app = await post_to(says(OK), "http://APP.invalid:{port}/")
        assert (outcome.status_code, looked_up) == (200, ["app.invalid"])
        assert b"\r\nHost: app.invalid:%d\r\n" % app.port in app.requests[0]

    run(main())


def test_a_name_without_address_is_unresolved(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        names(monkeypatch)
        outcome, _ = await post_to(says(OK), "http://nope.invalid/")
        assert outcome.kind is OutcomeKind.UNRESOLVED
        assert outcome.error.startswith("The name nope.invalid has no address.")

    run(main())


def test_a_lookup_that_hangs_is_inside_the_deadline(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    async def main() -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
        try:
            outcome, _ = await post_to(says(OK), "http://app.invalid/", deadline_s=0.1)
        finally:
            over.set()
        assert outcome.kind is OutcomeKind.TIMED_OUT
        assert outcome.error.startswith("The address of app.invalid could not be looked up within 0.1 s.")

    run(main())


@pytest.mark.parametrize(
    "url",
    [
        "", "/webhook", "ftp://127.0.0.1/", "http://", "http:///x", "http://[::1", "http://a b/", "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/", "http://x%0d%0ay/", "http://a..b/", "http://\udcff/", "http://127.0.0.1/\udcff",
        "http://169.254.169.254/latest", "http://169.254.1.1/", "http://[fd00:ec2::254]/", "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/", "http://0.0.0.0:8000/", "http://[::]:8000/", "http://[::ffff:0.0.0.0]/",
        "http://224.0.0.1/", "http://[ff02::1]/", "http://meta.invalid/", "http://2852039166/", "http://0xa9fea9fe/",
    ],
)  # fmt: skip
def test_what_may_not_be_posted_to_is_forbidden(run: Run, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    async def main() -> None:
        metadata = {name: ["127.0.0.1", "169.254.169.254"] for name in ("meta", "2852039166", "0xa9fea9fe")}
        names(monkeypatch, **metadata)  # one forbidden address is enough
        outcome, _ = await post_to(says(OK), url)
        assert outcome.kind is OutcomeKind.FORBIDDEN
        assert "client_url" in outcome.error

    run(main())


@pytest.mark.parametrize(
    ("listening", "host", "forbidden"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("", "127.0.0.1", True),
        ("localhost", "[::ffff:127.0.0.1]", True),
        ("192.0.2.1", "127.0.0.1", False),
    ],
)
def test_the_sandbox_itself_is_not_posted_to(run: Run, listening: str, host: str, forbidden: bool) -> None:
    async def main() -> None:
        async with application(says(OK)) as app:
            for port, refused in ((app.port, forbidden), (app.port + 1, False)):
                async with posting(own_addresses=lambda port=port: [(listening, port)]) as poster:
                    outcome = await poster.post(f"http://{host}:{app.port}/", BODY, None)
                assert (outcome.kind is OutcomeKind.FORBIDDEN) is refused
                assert ("the sandbox itself" in outcome.error) is refused

    run(main())


def test_no_error_gives_away_a_password_a_query_or_a_token(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        names(monkeypatch)
        for place in ("127.0.0.1:{port}", "127.0.0.1:1", "nope.invalid", "0.0.0.0", "[s3cret", "x:s3cret"):
            for scheme in ("http", "https", "s3cret"):
                for behaviour in (resets, says(b"s3cret"), says(HEAD + b"X: s3cret\r\n\r\ns3cret", hang=True)):
                    url = f"{scheme}://s3cret:s3cret@{place}/s3cret?s3cret#s3cret"
                    outcome, _ = await post_to(behaviour, url, token="Bearer s3cret", deadline_s=0.05)
                    assert outcome.error
                    assert "s3cret" not in outcome.error

    run(main())


# --- connections that are kept ------------------------------------------------------------------------------------


def test_a_connection_is_used_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBATION_S", 0)
    outcome, app = run(post_to(keeps_alive, times=10))
    assert (outcome.status_code, len(app.requests)) == (200, 10)
    assert app.connections < 5


def test_a_server_that_closes_after_each_answer_without_a_word_costs_no_attempt(run: Run) -> None:
    outcome, app = run(post_to(says(OK), times=100))
    assert (outcome.status_code, len(app.requests)) == (200, 100)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_an_idle_connection_is_closed_after_a_while_and_nothing_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.01)

    async def main() -> None:
        async with application(keeps_alive) as app, posting() as poster:
            tasks, descriptors = asyncio.all_tasks(), len(os.listdir("/proc/self/fd"))
            for _ in range(2):
                app.left.clear()
                await poster.post(f"http://127.0.0.1:{app.port}/", BODY, None)
                await asyncio.wait_for(app.left.wait(), 2)
            await poster.close()
            assert asyncio.all_tasks() <= tasks
            assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the application closes its end a little later

    run(main())


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for app.invalid, and a server's context with it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "app.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=app.invalid"
    options += f" -addext subjectAltName=DNS:app.invalid -keyout {path}.key -out {path}"
    subprocess.run([openssl, *options.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, f"{path}.key")
    return path, context


@pytest.mark.parametrize(
    ("trusted", "host", "words"),
    [
        (True, "app.invalid", ""),
        (False, "app.invalid", "self-signed certificate"),
        (True, "other.invalid", "Hostname mismatch"),
        (True, "127.0.0.1", "IP address mismatch"),
    ],
)
def test_only_a_trusted_certificate_for_the_name_is_posted_to(
    run: Run, monkeypatch: pytest.MonkeyPatch, tls: tuple[Path, ssl.SSLContext], trusted: bool, host: str, words: str
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
    asked_for: list[str | None] = []
    tls[1].sni_callback = lambda _, name, __: asked_for.append(name)

    async def main() -> None:
        names(monkeypatch, app=["127.0.0.1"], other=["127.0.0.1"])
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's view of a failed handshake
        async with application(says(OK), ssl=tls[1]) as app, posting() as poster:
            outcome = await poster.post(f"https://{host}:{app.port}/", BODY, None)
        assert (outcome.kind, len(app.requests)) == (
            (OutcomeKind.TLS_FAILED, 0) if words else (OutcomeKind.ANSWERED, 1)
        )
        assert words in outcome.error
        assert asked_for == [None if host == "127.0.0.1" else host]

    run(main())


def test_a_server_without_tls_fails_and_the_error_says_so(run: Run) -> None:
    async def plain(_: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    outcome, _ = run(post_to(plain, "https://127.0.0.1:{port}/"))
    assert outcome.kind is OutcomeKind.TLS_FAILED
    assert "write http://" in outcome.error


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    run: Run, monkeypatch: pytest.MonkeyPatch, tls: tuple[Path, ssl.SSLContext]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))

    async def main() -> None:
        names(monkeypatch, app=["127.0.0.2", "127.0.0.1"])
        async with application(says(OK), ssl=tls[1]) as app, posting(deadline_s=0.6) as poster:
            try:
                async with application(swallows, "127.0.0.2", port=app.port):
                    outcome = await poster.post(f"https://app.invalid:{app.port}/", BODY, None)
            except OSError:
                pytest.skip("this system has no second loopback address")
        assert outcome.status_code == 200
        assert outcome.duration_ms >= 299

    run(main())
