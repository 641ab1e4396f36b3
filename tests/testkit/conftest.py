"""A sandbox for the tests of what tests are written with, and the words that they share."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox import testing
from sandbox.testing import ExpectationFailed, Handset, Sandbox, Server
from sandbox.testkit.transport import Refused
from tests.conftest import EXAMPLE, Receiver


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with testing.start() as it:
        yield it


@pytest.fixture(scope="module", autouse=True)
def no_idle_connections(nothing_is_left_behind: None, server: Server) -> Iterator[None]:
    """The connections that the server's client keeps for its next request are no module's."""
    yield
    server.client.close()


@pytest.fixture
def ninebits(server: Server) -> Iterator[Sandbox]:
    with server.account() as it:
        yield it


@pytest.fixture
def handset(ninebits: Sandbox) -> Handset:
    return ninebits.handset()


@pytest.fixture
def routed(ninebits: Sandbox, receiver: Receiver) -> Sandbox:
    """The account of `ninebits`, with `receiver` as its application."""
    ninebits.client_url = receiver.url
    return ninebits


def submit(ninebits: Sandbox, to: str, text: str, *, token: str | None = None, **changes: str) -> str:
    """What an application does. Returns the message's identifier."""
    body = {**EXAMPLE, "to": to, "message": text, **{name.rstrip("_"): value for name, value in changes.items()}}
    sent = ninebits.client.submit(body, token=token or ninebits.token)
    identifier: str = sent["reference_id"]
    return identifier


def refuse(ninebits: Sandbox, *, token: str | None = None) -> None:
    """A call that the gateway refuses."""
    with pytest.raises(Refused):
        submit(ninebits, "0802", "hello", token=token)


def failure(do: Callable[[], object]) -> str:
    """What an expectation that is not met says."""
    with pytest.raises(ExpectationFailed) as caught:
        do()
    return str(caught.value)


def survey(ninebits: Sandbox) -> Callable[..., Any]:
    """A small application, as WSGI."""
    answers = {"CINEMA": "Been to the cinema?", "yesterday": "Which film?", "Things Fall Apart": "thank you"}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        came = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        submit(ninebits, came["from"], answers[came["message"]], session_id=came["session_id"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    return app
