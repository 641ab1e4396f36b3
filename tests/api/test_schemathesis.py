"""Calls that Schemathesis makes up from the OpenAPI document: whatever is asked, the answer is one that it promises."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sandbox.api import openapi
from tests.conftest import Bench, Receiver, Running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDLESS = "stream_events"  # an answer without end; test_live.py listens to it
SHORT_S = 0.01  # for whatever waits
PATIENCE_S = 10.0

SCHEMA = schemathesis.openapi.from_dict(openapi.document())
OPERATIONS: Mapping[str, Any] = {
    each.definition.raw["operationId"]: each
    for each in (result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok))
    if each.definition.raw["operationId"] != ENDLESS
}


def takes_anything(name: str) -> bool:
    raw = OPERATIONS[name].definition.raw
    return "parameters" in raw or "requestBody" in raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A sandbox of these tests' own, since some operations change it as a whole, and its application."""

    running: Running
    application: Receiver


@pytest.fixture(scope="module")
def place(serving: Callable[..., AbstractContextManager[Running]]) -> Iterator[Place]:
    application = Receiver()
    with serving() as running:
        yield Place(running=running, application=application)
    application.close()


_numbers = count(1)


def furnished(place: Place) -> tuple[Bench, Mapping[str, str]]:
    """A new account that has one of everything, and the name of each by the path that leads to it."""
    name = f"asked-{next(_numbers)}"
    bench = Bench(sandbox=place.running, account=name, token=f"token-of-{name}")
    bench.post("/accounts", {"name": name, "token": bench.token, "client_url": place.application.url})
    message = bench.sent()
    owed = bench.post("/handsets/2348020000000/reply", {"text": "yesterday"})["webhook_delivery"]["id"]
    effect = {"match": {"text": "nobody says this"}, "effect": {"status": 503}}
    fault = bench.post("/faults", {"on": "sendsms", **effect})["id"]
    run = bench.post("/scenarios/happy-survey/runs", {"msisdn": "2348030000001"})["id"]
    return bench, {
        "/messages/{id}": message,
        "/requests/{id}": message.replace("m", "r"),
        "/webhook-deliveries/{id}": owed,
        "/faults/{id}": fault,
        "/runs/{id}": run,
        "/scenarios/{name}": "happy-survey",
        "/accounts/{name}": name,
        "{msisdn}": "2348020000000",
    }


def ask(place: Place, name: str, mode: GenerationMode, *, examples: int, derandomize: bool) -> None:
    """Call an operation with arguments that fit, or do not, and look at every answer."""
    bench, there = furnished(place)
    path = OPERATIONS[name].path
    session = requests.Session()
    session.trust_env = False
    limits = settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    @limits
    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode), home=st.booleans())
    def each(case: Any, home: bool) -> None:
        if home:  # about something that is there; made-up names lead nowhere, most of the time
            case.query = {**(case.query or {}), "account": bench.account}
            for end, known in there.items():
                if end in path:
                    case.path_parameters[end.partition("{")[2].rstrip("}")] = known
        if name == "wait_for_messages":
            case.query = {**(case.query or {}), "timeout": SHORT_S}
        if name == "verify_messages" and isinstance(case.body, dict) and "within" in case.body:
            case.body["within"] = SHORT_S
        response = case.call(base_url=place.running.url, session=session, timeout=PATIENCE_S)
        case.validate_response(response, checks=CHECKS)
        if name == "add_fault" and response.status_code == 201:  # which might hold the next call for ever
            bench.call("DELETE", f"/faults/{response.json()['id']}", account=response.json()["account"])

    with session:
        each()


@pytest.mark.proof("T7")
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_answer_to_what_fits_is_a_documented_one(place: Place, name: str) -> None:
    ask(place, name, GenerationMode.POSITIVE, examples=20, derandomize=True)


@pytest.mark.proof("T7")
@pytest.mark.parametrize("name", [each for each in OPERATIONS if takes_anything(each)])
def test_an_answer_to_what_does_not_fit_is_a_documented_one(place: Place, name: str) -> None:
    ask(place, name, GenerationMode.NEGATIVE, examples=20, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("name", [each for each in OPERATIONS if takes_anything(each)])
def test_an_answer_to_much_that_is_made_up_is_a_documented_one(place: Place, name: str, mode: GenerationMode) -> None:
    ask(place, name, mode, examples=300, derandomize=False)
