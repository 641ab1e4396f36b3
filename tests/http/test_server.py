"""Servers that start and stop at once, and applications of either kind that are served in a thread."""

import asyncio
import functools
import json
import socket
import threading
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.errors import SandboxError
from sandbox.http import server as http_server
from tests.conftest import PATIENCE_S


def get(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=PATIENCE_S)


async def hello(_: Request) -> Response:
    return JSONResponse({"says": "hello"})


def starlette() -> Starlette:
    return Starlette(routes=[Route("/", hello)])


def wsgi(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"says": "hello"}).encode()]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    await starlette()(scope, receive, send)


class Wsgi:
    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        return wsgi(environ, start_response)


def old_asgi(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


ASGI = [starlette(), asgi, functools.partial(asgi), old_asgi]
WSGI = [wsgi, Wsgi(), functools.partial(wsgi)]


@pytest.mark.parametrize("app", ASGI)
def test_an_asgi_application_is_known_by_its_looks(app: Callable[..., Any]) -> None:
    assert http_server.is_asgi(app)


@pytest.mark.parametrize("app", WSGI)
def test_a_wsgi_application_is_known_by_its_looks(app: Callable[..., Any]) -> None:
    assert not http_server.is_asgi(app)


@pytest.mark.parametrize("app", [*ASGI, *WSGI])
def test_an_application_answers_until_the_block_ends(app: Callable[..., Any]) -> None:
    with http_server.application(app) as url:
        assert get(url).json() == {"says": "hello"}
    with pytest.raises(requests.ConnectionError):
        get(url)


def test_an_application_can_be_served_on_a_socket_of_ones_own() -> None:
    sock = http_server.listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    with http_server.application(starlette(), sock) as url:
        assert url == f"http://127.0.0.1:{port}"
        assert get(url).status_code == 200


def test_a_wsgi_application_answers_several_at_once() -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def waiting(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        both.wait()
        start_response("200 OK", [])
        return [b""]

    with http_server.application(waiting) as url:
        other = threading.Thread(target=get, args=(url,))
        other.start()
        assert get(url).status_code == 200
        other.join()


def test_a_wsgi_application_may_read_a_body_to_its_end() -> None:
    def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body]

    with http_server.application(echo) as url, requests.Session() as session:
        session.trust_env = False
        assert session.post(url, data=b"x" * 100_000, timeout=PATIENCE_S).content == b"x" * 100_000


def test_what_fails_in_the_lifespan_of_an_application_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with (
        pytest.raises(RuntimeError, match="the log of uvicorn says why"),
        http_server.application(failing),
    ):
        pass
    assert "no database" in caplog.text


def test_the_lifespan_of_an_application_runs_to_its_end() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            seen.append((await receive())["type"])
            await send({"type": f"{seen[-1]}.complete"})

    with http_server.application(app):
        assert seen == ["lifespan.startup"]
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


def test_a_stop_does_not_wait_for_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "TICK_S", 3600)
    with http_server.application(starlette()) as url:
        assert get(url).status_code == 200


def test_a_stop_does_not_wait_for_clients_that_keep_their_connection() -> None:
    with requests.Session() as session:
        session.trust_env = False
        with http_server.application(starlette()) as url:
            assert session.get(url, timeout=PATIENCE_S).status_code == 200
        with pytest.raises(requests.ConnectionError):
            session.get(url, timeout=PATIENCE_S)


def test_a_stop_lets_an_answer_under_way_go_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, stopping, answers = threading.Event(), threading.Event(), list[int]()
    whole = http_server.HttpServer.shutdown

    async def shutdown(self: http_server.HttpServer, sockets: list[socket.socket] | None = None) -> None:
        stopping.set()
        await whole(self, sockets)

    async def slow(_: Request) -> Response:
        asked.set()
        await asyncio.to_thread(stopping.wait, PATIENCE_S)
        return Response(status_code=204)

    monkeypatch.setattr(http_server.HttpServer, "shutdown", shutdown)
    with http_server.application(Starlette(routes=[Route("/", slow)])) as url:
        client = threading.Thread(target=lambda: answers.append(get(url).status_code))
        client.start()
        assert asked.wait(PATIENCE_S)
    client.join()
    assert answers == [204]


def test_a_stop_cancels_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "APP_GRACE_S", 0)
    asked, seen = threading.Event(), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                seen.append((await receive())["type"])
                await send({"type": f"{seen[-1]}.complete"})
            return
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    with http_server.application(app) as url, socket.socket() as client:
        host, _, port = url.removeprefix("http://").partition(":")
        client.connect((host, int(port)))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(PATIENCE_S)
    assert seen == ["lifespan.startup", "cancelled", "lifespan.shutdown"]


def test_answers_carry_the_date() -> None:
    with http_server.application(starlette()) as url:
        assert parsedate_to_datetime(get(url).headers["Date"])


def test_the_date_is_renewed_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "TICK_S", 0.001)
    ticks: list[int] = []
    enough = threading.Event()
    whole = http_server.HttpServer.on_tick

    async def on_tick(self: http_server.HttpServer, counter: int) -> bool:
        ticks.append(counter)
        if len(ticks) == 5:
            enough.set()
        return await whole(self, counter)

    monkeypatch.setattr(http_server.HttpServer, "on_tick", on_tick)
    with http_server.application(starlette()):
        assert enough.wait(PATIENCE_S)
    assert all(tick % 10 == 0 for tick in ticks), "uvicorn renews its headers with every tenth tick"


def test_what_goes_wrong_in_the_thread_is_raised_and_the_thread_ends() -> None:
    before = threading.active_count()

    async def serve(_: http_server.Started) -> None:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"), http_server.in_thread(serve, "failing"):
        pass
    assert threading.active_count() == before


def test_a_taken_port_is_an_error_and_leaves_no_socket_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        http_server.listen("127.0.0.1", taken.getsockname()[1])


def test_a_start_that_does_not_answer_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "START_S", 0.01)
    over = threading.Event()

    async def serve(_: http_server.Started) -> None:
        await asyncio.to_thread(over.wait)

    before = set(threading.enumerate())
    with pytest.raises(SandboxError, match=r"has not answered for 0\.01 s"), http_server.in_thread(serve, "hanging"):
        pass
    over.set()
    for each in set(threading.enumerate()) - before:
        each.join(PATIENCE_S)


def test_a_start_that_answers_too_late_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "START_S", 0.01)
    given_up, stopped = threading.Event(), threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for each in ("startup", "shutdown"):
            await receive()
            if each == "startup":
                await asyncio.to_thread(given_up.wait)
            await send({"type": f"lifespan.{each}.complete"})
        stopped.set()

    with pytest.raises(SandboxError), http_server.application(app):
        pass
    given_up.set()
    assert stopped.wait(PATIENCE_S)
