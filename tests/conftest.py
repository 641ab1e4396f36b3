"""Fixtures that start real parts: a sandbox in a thread of its own, and the application that it posts to.

`sandbox_server` is one sandbox for the whole run, and `bench` an account of the test's own on it, so that tests do not
see each other. A test that wants other settings, or changes what all accounts share, uses `start_sandbox`.
"""

import http.client
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest
import requests

from sandbox import server
from sandbox.clock import Clock
from sandbox.core.services import Services
from sandbox.settings import Settings
from tests.leftovers import Leftovers

PATIENCE_S = 10.0  # how long a test waits for what should come at once

EXAMPLE: Mapping[str, str] = {  # the documented example [D]
    "from": "48974",
    "to": "2348020000000",
    "message": "When was the last time you went to the cinema?",
    "session_id": "67543uhn3",
    "sent_date": "2024-01-02T23:50:37.000000Z",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long forms of the proofs; see tests/proof.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The modules that take longest come first: then no processor waits for another at the end."""
    long = {item.path for item in items if item.get_closest_marker("browser") or item.get_closest_marker("proof")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def sized(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How much of a proof to run: `sized(short, long)` is the first on every push, the second with --long."""
    return lambda short, long: long if request.config.getoption("--long") else short


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer as it came over a socket; `closed`: the server then closed the connection."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    closed: bool

    def header(self, name: str) -> str | None:
        """The header's value; a header that stands twice is an error."""
        values = [value for each, value in self.headers if each.lower() == name.lower()]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sandbox that serves in a thread of this process."""

    address: server.Address
    services: Services

    @property
    def url(self) -> str:
        return self.address.url

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """A call through `requests`, but not through a proxy that this machine may have."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, timeout=PATIENCE_S, **options)

    @contextmanager
    def connect(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.address.port), timeout=PATIENCE_S) as sock:
            yield sock

    @staticmethod
    def ask(sock: socket.socket, request: bytes, method: str = "GET") -> Reply:
        """Send a request over a connection that is there already, and read its answer."""
        sock.sendall(request)
        return read_reply(sock, method=method)

    def raw(self, *pieces: bytes, method: str = "GET") -> Reply:
        """Send bytes as they are and read one answer; `method` says whether the answer may have a body."""
        with self.connect() as sock:
            try:
                for piece in pieces:
                    sock.sendall(piece)
            except OSError:  # the server answered and closed before it had taken everything
                pass
            return read_reply(sock, method=method)

    def plain(self, method: str, path: str, *headers: str, body: bytes = b"") -> Reply:
        """A request with exactly these headers, `Name: value` each; Content-Length follows if there is a body."""
        lines = [f"{method} {path} HTTP/1.1", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body, method=method)


def read_reply(sock: socket.socket, *, method: str = "GET") -> Reply:
    """Read one answer from a socket, and the end of the connection if the answer announces it."""
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        body = response.read()
        closing = (response.getheader("connection") or "").lower() == "close"
        headers = tuple(response.getheaders())
    finally:
        response.close()
    if closing:
        try:
            closed = sock.recv(1) == b""
        except ConnectionResetError:  # closed too, with something of ours unread
            closed = True
    else:
        closed = False
    return Reply(status=response.status, headers=headers, body=body, closed=closed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An account on a running sandbox, and the calls that a test makes for it."""

    sandbox: Running
    account: str
    token: str = field(repr=False)

    def call(self, method: str, path: str, body: object = None, **query: str | int) -> requests.Response:
        """A call of the control API for this account; `body` is sent as JSON."""
        options: dict[str, Any] = {"params": {"account": self.account, **query}}
        if method in ("POST", "PUT", "PATCH"):
            options["json"] = {} if body is None else body
        return self.sandbox.request(method, f"/_sandbox/v1{path}", **options)

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON of a GET that succeeds."""
        response = self.call("GET", path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path: str, body: object = None, *, status: int = 201) -> Any:
        """The JSON of a POST that is answered with `status`."""
        response = self.call("POST", path, body)
        assert response.status_code == status, response.text
        return response.json()

    def patch_account(self, **changes: object) -> None:
        response = self.call("PATCH", f"/accounts/{self.account}", changes)
        assert response.status_code == 200, response.text

    def submit(self, **changes: object) -> requests.Response:
        """The documented example, sent with this account's token; `from_` changes the key `from`, None leaves out."""
        fields: dict[str, object] = {**EXAMPLE, **{name.rstrip("_"): value for name, value in changes.items()}}
        sent = {name: value for name, value in fields.items() if value is not None}
        return self.sandbox.request(
            "POST", "/ng/v1/sendsms", json=sent, headers={"Authorization": f"Bearer {self.token}"}
        )

    def sent(self, **changes: object) -> str:
        """Submit a message that is accepted. Returns its identifier."""
        response = self.submit(**changes)
        assert response.status_code == 200, response.text
        identifier: str = response.json()["reference_id"]
        return identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as the application got it."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]  # in the order in which they came
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)


class Receiver:
    """The application under test: a real HTTP server that records what it gets and answers what it is told."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._next: deque[tuple[int, bytes]] = deque()
        self._always = (200, b"{}")
        self._came = threading.Condition()
        self._open = threading.Event()
        self._open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = receiver._take(
                    Received(method=self.command, path=self.path, headers=tuple(self.headers.items()), body=body)
                )
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False  # closing joins them
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:  # the sandbox was stopped while it waited for an answer
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/sms"

    def answer_with(self, status: int, body: bytes = b"{}") -> None:
        """Answer everything from now on like this."""
        self._always = (status, body)

    def answer_next(self, *statuses: int) -> None:
        """Answer the next requests with these, then as before."""
        self._next.extend((status, b"{}") for status in statuses)

    def hold(self) -> None:
        """Take requests, but answer none before `release`."""
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def wait_for(self, number: int) -> list[Received]:
        """The requests so far, once there are `number` of them."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.received) >= number, PATIENCE_S), (
                f"{len(self.received)} of {number} requests came"
            )
            return list(self.received)

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, request: Received) -> tuple[int, bytes]:
        with self._came:
            self.received.append(request)
            answer = self._next.popleft() if self._next else self._always
            self._came.notify_all()
        self._open.wait()
        return answer


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    it = Receiver()
    yield it
    it.close()


@contextmanager
def _running(**settings: Any) -> Iterator[Running]:
    chosen = Settings(**{"port": 0, "db": ":memory:", "clock": "virtual", **settings})
    with server.in_thread(chosen) as (address, services):
        yield Running(address=address, services=services)


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[Running]]:
    """`with serving(**settings)`: a sandbox in memory, on a free port, with a clock that stands still."""
    return _running


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[Running]:
    """One sandbox for all tests."""
    with _running() as running:
        yield running


_numbers = count(1)


@pytest.fixture
def bench(sandbox_server: Running) -> Iterator[Bench]:
    """An account of this test's own, on the sandbox that all share."""
    name = f"account-{next(_numbers)}"
    it = Bench(sandbox=sandbox_server, account=name, token=f"token-of-{name}")
    created = sandbox_server.request("POST", "/_sandbox/v1/accounts", json={"name": name, "token": it.token})
    assert created.status_code == 201, created.text
    yield it
    sandbox_server.request("DELETE", f"/_sandbox/v1/accounts/{name}")


@pytest.fixture
def routed(bench: Bench, receiver: Receiver) -> Bench:
    """The account of `bench`, with `receiver` as its application."""
    bench.patch_account(client_url=receiver.url)
    return bench


@pytest.fixture
def start_sandbox() -> Iterator[Callable[..., Bench]]:
    """Start a sandbox of this test's own, with other settings; it ends with the test. Gives its first account."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Bench:
            running = stack.enter_context(_running(**settings))
            first = running.services.settings.accounts[0]
            return Bench(sandbox=running, account=first.name, token=first.token)

        yield start


@dataclass
class SystemTime:
    """The machine's clocks as the sandboxes of this process see them: the real ones, and what a test lets pass."""

    passed_ms: int = 0

    def passes(self, seconds: float) -> None:
        self.passed_ms += round(seconds * 1000)


@pytest.fixture
def system_time(monkeypatch: pytest.MonkeyPatch) -> SystemTime:
    made, system_ms, monotonic_ms = SystemTime(), Clock.system_ms, Clock._monotonic_ms
    monkeypatch.setattr(Clock, "system_ms", staticmethod(lambda: system_ms() + made.passed_ms))
    monkeypatch.setattr(Clock, "_monotonic_ms", staticmethod(lambda: monotonic_ms() + made.passed_ms))
    return made


# Nothing is left behind --------------------------------------------------------------------------------------------

_leftovers = pytest.StashKey[Leftovers]()


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # where pytest-xdist deals out modules: in the order of this file
    config.stash[_leftovers] = it = Leftovers()
    config.pluginmanager.register(it)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    """The threads that a module's tests started have ended, and what they opened is closed."""
    leftovers = pytestconfig.stash[_leftovers]
    leftovers.begin()
    yield
    assert leftovers.still_left() == "", "left behind"
