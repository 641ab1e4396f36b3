"""What holds for every operation of the control API: methods, paths, bodies, arguments, and one shape of errors."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request
from starlette.routing import Route

from sandbox.api import openapi, operations, routes
from sandbox.api.operations import V1, Operation
from sandbox.clock import Clock
from sandbox.errors import Busy, Conflict, Invalid, NotFound, StorageError, StorageFull
from sandbox.http.access import Disconnected
from sandbox.http.request import while_connected
from tests.api.asking import NUMBER, invalid, problem

if TYPE_CHECKING:
    from tests.conftest import Bench, Running


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def allowed() -> dict[str, set[str]]:
    """Path -> the methods that it has, with something in place of its parameters."""
    found: dict[str, set[str]] = {}
    for route in routes.routes():
        assert isinstance(route, Route)
        path = route.path.replace("{msisdn}", NUMBER).replace("{id}", "w1").replace("{name}", "default")
        found.setdefault(path, set()).update(route.methods or ())
    return found


ALLOWED = {path: methods for path, methods in allowed().items() if "{" not in path}


@pytest.mark.parametrize("path", ALLOWED)
def test_another_method_is_answered_405_with_all_that_are_allowed(sandbox_server: "Running", path: str) -> None:
    for method in METHODS:
        if method not in ALLOWED[path]:
            options: dict[str, Any] = {"json": {}} if method in ("POST", "PUT", "PATCH") else {}
            response = sandbox_server.request(method, path, **options)
            assert response.status_code == 405
            assert {each.strip() for each in response.headers["Allow"].split(",")} == ALLOWED[path]
            if method != "HEAD":
                problem(response, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/_sandbox/",
        "/_sandbox/v1",
        "/_sandbox/v1/",
        "/_sandbox/v1/nowhere",
        "/_sandbox/v2/messages",
        f"/_sandbox/v1/handsets/{NUMBER}/call",
        "/_sandbox/v1/webhook-deliveries/w1/forget",
        "/_sandbox/v1/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_is_answered_404(sandbox_server: "Running", method: str, path: str) -> None:
    options: dict[str, Any] = {"json": {}} if method == "POST" else {}
    problem(sandbox_server.request(method, path, **options), 404)


@pytest.mark.parametrize(
    "identifier", ["0", "m", "m0", "m-1", "m1x", "M1", "x1", "m" + "9" * 25, "m%00", "m١", "%ff", "m1%20", "m1%2F"]
)
def test_what_is_no_identifier_is_answered_404(bench: "Bench", identifier: str) -> None:
    for path, letter in (("/messages", "m"), ("/requests", "r"), ("/webhook-deliveries", "w")):
        problem(bench.call("GET", f"{path}/{identifier.replace('m', letter, 1)}"), 404)


def test_the_letter_of_an_identifier_has_to_be_the_right_one(bench: "Bench") -> None:
    number = bench.sent()[1:]
    problem(bench.call("GET", f"/messages/r{number}"), 404)
    problem(bench.call("GET", f"/requests/m{number}"), 404)
    problem(bench.call("GET", f"/webhook-deliveries/w{number}"), 404)


BODIES = [
    pytest.param(b"{", id="cut off"),
    pytest.param(b"\xff\xfe{\x00}\x00", id="UTF-16"),
    pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
    pytest.param(b"[" * 100_000, id="100,000 brackets"),
    pytest.param(b'{"a":' * 33 + b"1" + b"}" * 33, id="33 levels"),
    pytest.param(b'{"n": ' + b"1" * 5000 + b"}", id="number of 5,000 digits"),
    pytest.param(b'{"n": NaN}', id="NaN"),
    pytest.param(b'{"n": 1e999}', id="1e999"),
    pytest.param(b'{"n": 1, "n": 2}', id="key twice"),
    pytest.param(b"[]", id="array"),
    pytest.param(b"null", id="null"),
    pytest.param(b'"text"', id="string"),
    pytest.param(b"a=b", id="form"),
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/handsets/{NUMBER}/reply"),
        ("POST", f"/handsets/{NUMBER}/send"),
        ("PATCH", f"/handsets/{NUMBER}"),
        ("POST", "/accounts"),
        ("PATCH", "/accounts/default"),
        ("PUT", "/clock"),
        ("POST", "/reset"),
        ("POST", "/verify"),
        ("POST", "/faults"),
        ("PUT", "/scenarios/cinema"),
        ("POST", "/scenarios/happy-survey/runs"),
        ("POST", "/doctor"),
    ],
)
def test_a_body_that_is_no_json_object_is_answered_400(bench: "Bench", method: str, path: str, body: bytes) -> None:
    response = bench.sandbox.request(
        method, f"/_sandbox/v1{path}", data=body, headers={"Content-Type": "application/json"}
    )
    assert invalid(response) == ["body"]


@pytest.mark.parametrize("name", ["\ud800", "\0", "\x1b[2J", "\u202e", "{0}", "x" * 10_000])
def test_an_unknown_argument_is_named_harmlessly(bench: "Bench", name: str) -> None:
    for method, path in (("POST", "/reset"), ("PUT", "/clock"), ("PATCH", f"/accounts/{bench.account}")):
        response = bench.call(method, path, {name: 1})
        problem(response, 400)
        assert "\x1b" not in response.text
        assert len(response.content) < 25_000


@pytest.mark.parametrize("it", routes.OPERATIONS, ids=[each.name for each in routes.OPERATIONS])
def test_an_argument_in_the_query_that_nobody_knows_is_complained_about(bench: "Bench", it: Operation) -> None:
    path, _ = openapi.example_call(it)
    response = bench.call(it.method, path.removeprefix(V1).partition("?")[0], colour="red")
    assert "colour" in invalid(response)


@pytest.mark.parametrize("path", ["/accounts", "/clock"])
def test_what_is_about_no_account_may_be_told_one_all_the_same(bench: "Bench", path: str) -> None:
    assert bench.get(path, account="nobody")


def test_not_every_one_of_a_flood_of_unknown_arguments_is_named(bench: "Bench") -> None:
    flood = {f"x{number}": 1 for number in range(50_000)}
    for method, path in (("POST", "/reset"), ("PATCH", f"/accounts/{bench.account}")):
        response = bench.call(method, path, flood)
        assert 0 < len(invalid(response)) < 30
        assert len(response.content) < 10_000


def test_an_empty_body_is_an_empty_object(bench: "Bench") -> None:
    response = bench.sandbox.request(
        "POST", f"/_sandbox/v1/reset?account={bench.account}", headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200


def test_head_is_answered_like_get_without_a_body(bench: "Bench") -> None:
    response = bench.call("HEAD", "/messages")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Invalid(("to", "to is missing.")), 400, None),
        (NotFound("There is no account nobody."), 404, None),
        (Conflict("w1 was delivered."), 409, None),
        (Busy("The backlog is full."), 503, "5"),
        (StorageError("The database cannot be used."), 503, "5"),
        (StorageFull("There is no room left."), 503, "5"),
        (RuntimeError("secrets of the services"), 500, None),
    ],
)
def test_every_kind_of_error_has_its_status(error: Exception, status: int, retry_after: str | None) -> None:
    answer = operations.error_answer(error)
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["status"], answer.headers.get("retry-after")) == (status, status, retry_after)
    assert "secrets" not in told["detail"]


# Long calls --------------------------------------------------------------------------------------------------------


def request(*messages: str) -> Request:
    """A request of which these messages are received, one after the other, and then never another."""
    left = list(messages)

    async def receive() -> dict[str, str]:
        if not left:
            await asyncio.Event().wait()
        return {"type": left.pop(0)}

    return Request({"type": "http"}, receive)


def test_what_takes_long_is_given_up_when_nobody_waits_for_it_any_more() -> None:
    ended: list[str] = []

    async def take_long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    with pytest.raises(Disconnected):
        asyncio.run(while_connected(request("http.request", "http.disconnect"), take_long()))
    assert ended == ["cancelled"]


def test_what_comes_to_its_end_is_answered_and_no_longer_listened_for() -> None:
    async def take_a_moment() -> str:
        await Clock.pause(0)
        return "done"

    assert asyncio.run(while_connected(request("http.request"), take_a_moment())) == "done"


def test_what_goes_wrong_is_raised_as_it_is() -> None:
    async def fail() -> None:
        await Clock.pause(0)
        raise NotFound("It is gone.")

    with pytest.raises(NotFound, match="gone"):
        asyncio.run(while_connected(request("http.request"), fail()))
