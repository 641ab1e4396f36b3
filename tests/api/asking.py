"""What the tests of the control API ask, and how they read the answers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver

NUMBER = "2348020000000"
RETRIES_S = (30, 60, 120, 240, 480, 960, 1920, 3600)


def invalid(response: requests.Response) -> list[str]:
    """The fields that a call was refused for, in order."""
    told = problem(response, 400)
    assert told["title"] == "The call is invalid"
    return [error["field"] for error in told["errors"]]


def problem(response: requests.Response, status: int) -> Any:
    """The problem details of an error, after a look at their shape."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    told = response.json()
    assert list(told)[:3] == ["title", "status", "detail"]
    assert told["status"] == status
    assert told["title"]
    assert told["detail"]
    for error in told.get("errors", []):
        assert list(error) == ["field", "message"]
    return told


def walk(bench: "Bench", path: str, plural: str, **query: str | int) -> list[str]:
    """The identifiers of all pages of a list, following its cursors."""
    found: list[str] = []
    cursor: dict[str, str | int] = {}
    while True:
        page = bench.get(path, **query, **cursor)
        found += [each["id"] for each in page[plural]]
        if page["next"] is None:
            return found
        cursor = {"next": page["next"]}


@contextmanager
def in_background(act: Callable[[], None]) -> Iterator[None]:
    """Do something beside the block; what goes wrong there is raised here."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result(10)


def later(moment: str, seconds: float) -> str:
    return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def owe(bench: "Bench", *, wait: object = True) -> str:
    """A new text from the handset. Returns the identifier of its webhook delivery."""
    done = bench.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "wait": wait})
    identifier: str = done["webhook_delivery"]["id"]
    return identifier


def delivery(bench: "Bench", identifier: str) -> Any:
    return bench.get(f"/webhook-deliveries/{identifier}")


def advance(bench: "Bench", seconds: float) -> Any:
    response = bench.call("PUT", "/clock", {"action": "advance", "seconds": seconds})
    assert response.status_code == 200, response.text
    return response.json()


def in_state(bench: "Bench", receiver: "Receiver", state: str) -> str:
    """A webhook delivery that is in `state`, with an application that answers 200 from now on."""
    match state:
        case "in_flight":
            receiver.hold()
        case "retrying" | "exhausted" | "cancelled":
            receiver.answer_with(500)
        case "rejected":
            receiver.answer_with(404)
    identifier = owe(bench, wait=state != "in_flight")
    match state:
        case "in_flight":
            receiver.wait_for(1)
        case "exhausted":
            advance(bench, 3600)
        case "cancelled":
            bench.post(f"/webhook-deliveries/{identifier}/cancel", status=200)
    receiver.answer_with(200)
    assert delivery(bench, identifier)["state"] == state
    return identifier
