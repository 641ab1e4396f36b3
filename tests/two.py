"""Two who call the same sandbox at the same moment: both requests are on their way before either is answered.

Shared by the tests of pairs and of two random users; nothing in here is a test.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

from sandbox.core.gateway import PATH
from tests.conftest import PATIENCE_S, Bench

V1 = "/_sandbox/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request: `form` is what a page's form sends, else `body` is JSON, of the control API or the gateway."""

    method: str
    path: str
    body: object = None
    form: Mapping[str, str] | None = None
    query: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Two:
    """Two connections to a sandbox, for one account. `calls` counts the requests."""

    def __init__(self, bench: Bench, first: HTTPConnection, second: HTTPConnection) -> None:
        self.calls = 0
        self._account, self._token = bench.account, bench.token
        self._connections = (first, second)
        self._turn = 0

    def at_once(self, first: Ask, second: Ask) -> tuple[Told, Told]:
        """Send both requests, then read both answers. They take turns in who is the first."""
        self._turn += 1
        pairs = list(zip(self._connections, (first, second), strict=True))
        for connection, each in pairs[:: 1 if self._turn % 2 else -1]:
            self._send(connection, each)
        one, another = map(_read, self._connections)
        return one, another

    def both(self, first: Ask, second: Ask) -> tuple[Told, Told]:
        """`at_once`, for what is done both times."""
        told = self.at_once(first, second)
        assert {each.status for each in told} <= {200, 201, 204, 303}, told
        return told

    def ask(self, asked: Ask) -> Told:
        """One of them alone."""
        self._send(self._connections[0], asked)
        return _read(self._connections[0])

    def _send(self, connection: HTTPConnection, asked: Ask) -> None:
        self.calls += 1
        path = asked.path if asked.form is not None or asked.path == PATH else V1 + asked.path
        sent = urlencode(asked.form) if asked.form is not None else json.dumps(asked.body or {})
        kind = "application/x-www-form-urlencoded" if asked.form is not None else "application/json"
        query = urlencode({"account": self._account, **asked.query})
        headers = {"Content-Type": kind, "Authorization": f"Bearer {self._token}"}
        connection.request(asked.method, f"{path}?{query}", None if asked.method == "GET" else sent, headers)


def _read(connection: HTTPConnection) -> Told:
    answer = connection.getresponse()
    return Told(status=answer.status, body=answer.read())


@contextmanager
def two_of(bench: Bench) -> Iterator[Two]:
    with ExitStack() as stack:
        made = [HTTPConnection("127.0.0.1", bench.sandbox.address.port, timeout=PATIENCE_S) for _ in range(2)]
        first, second = (stack.enter_context(closing(each)) for each in made)
        yield Two(bench, first, second)
