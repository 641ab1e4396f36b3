"""The OpenAPI document: valid, complete, true to what is served, and made only when somebody asks for it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema_rs import Draft202012Validator, meta
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from starlette.routing import Route

from sandbox.api import openapi
from sandbox.api import routes as api_routes
from sandbox.api.accounts import ACCOUNT_CHANGES, NEW_ACCOUNT
from sandbox.api.operations import Content, Operation
from sandbox.objects.schema import Schema, example_of
from sandbox.settings import KEYS
from sandbox.wire.problems import CATALOGUE
from tests.api.asking import invalid

if TYPE_CHECKING:
    from tests.conftest import Bench, Running

DOCUMENT = openapi.document()
BY_NAME = {each.name: each for each in openapi.OPERATIONS}


def described() -> Iterator[tuple[str, str, Schema]]:
    """(path, method, operation) of everything in the document."""
    for path, item in DOCUMENT["paths"].items():
        for method, each in item.items():
            yield path, method, each


def resolved(response: Schema) -> Any:
    reference = response.get("$ref")
    return DOCUMENT["components"]["responses"][reference.rpartition("/")[2]] if reference else response


# The document ------------------------------------------------------------------------------------------------------


def test_the_document_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)


def schemas_in(value: Any) -> Iterator[Schema]:
    if isinstance(value, list):
        for each in value:
            yield from schemas_in(each)
    elif isinstance(value, dict):
        if isinstance(value.get("schema"), dict):
            yield value["schema"]
        for each in value.values():
            yield from schemas_in(each)


def test_every_schema_in_it_is_a_valid_one() -> None:
    for each in [*schemas_in(DOCUMENT["paths"]), *DOCUMENT["components"]["schemas"].values()]:
        meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **each})


def test_the_document_is_served_as_it_is_made(sandbox_server: "Running") -> None:
    response = sandbox_server.request("GET", "/_sandbox/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT == json.loads(json.dumps(DOCUMENT))


def test_what_has_a_name_stands_once() -> None:
    for component in DOCUMENT["components"]["schemas"].values():
        assert "title" in component
    inline = json.dumps([DOCUMENT["paths"], DOCUMENT["components"]["responses"]])
    for name in DOCUMENT["components"]["schemas"]:
        assert f'"title": "{name}"' not in inline


def test_every_route_is_described_and_nothing_else() -> None:
    routes: set[tuple[str, str]] = set()
    for route in (*api_routes.routes(), *openapi.routes()):
        assert isinstance(route, Route)
        routes |= {(route.path, method.lower()) for method in route.methods or () if method != "HEAD"}
    others = {("/ng/v1/sendsms", "post"), ("/livez", "get"), ("/readyz", "get")}
    assert {(path, method) for path, method, _ in described()} == routes | others


def test_operations_have_names_of_their_own_words_and_a_group() -> None:
    names = [each["operationId"] for _, _, each in described()]
    assert len(names) == len(set(names))
    groups = {each["name"] for each in DOCUMENT["tags"]}
    for _, _, each in described():
        assert set(each["tags"]) <= groups
        assert each["summary"].endswith(".")
        assert "\n" not in each["summary"]
    assert groups == {tag for _, _, each in described() for tag in each["tags"]}


@pytest.mark.parametrize("it", openapi.OPERATIONS, ids=list(BY_NAME))
def test_the_arguments_in_a_path_are_those_that_are_declared(it: Operation) -> None:
    assert re.findall(r"\{(\w+)\}", it.path) == [each.name for each in it.places]


# What may be answered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("it", openapi.OPERATIONS, ids=list(BY_NAME))
def test_every_operation_says_what_may_go_wrong(it: Operation) -> None:
    answers = DOCUMENT["paths"][it.path][it.method.lower()]["responses"]
    wanted = {"400", "401", "403", "405", "414", "431", "503"}
    if it.method in ("POST", "PUT", "PATCH"):
        wanted |= {"413", "415"}
    if it.places or it.account != "none":
        wanted |= {"404"}
    assert wanted <= answers.keys()
    assert [status for status in answers if status < "300"]
    assert "500" not in answers
    for status, answer in answers.items():
        found = resolved(answer)
        assert found["description"]
        assert status < "300" or "application/problem+json" in found["content"]


def test_the_gateway_answers_what_the_contract_says() -> None:
    gateway = DOCUMENT["paths"]["/ng/v1/sendsms"]["post"]
    by_contract = {str(status) for status, _, _ in CATALOGUE.values()}
    assert by_contract | {"200", "429", "5XX", "414", "431"} == gateway["responses"].keys()
    assert {"400", "401", "403", "405", "413", "415"} <= by_contract
    for code, (status, _, _) in CATALOGUE.items():
        assert f"`{code}`" in gateway["responses"][str(status)]["description"]
    assert gateway["security"] == [{"apiToken": []}]


def test_the_example_of_the_gateway_is_accepted(bench: "Bench") -> None:
    body = DOCUMENT["paths"]["/ng/v1/sendsms"]["post"]["requestBody"]["content"]["application/json"]
    Draft202012Validator(body["schema"]).validate(body["example"])
    headers = {"Authorization": f"Bearer {bench.token}"}
    assert bench.sandbox.request("POST", "/ng/v1/sendsms", json=body["example"], headers=headers).status_code == 200


def test_a_token_is_asked_for_by_everything_but_the_probes() -> None:
    for path, _, each in described():
        if path in ("/livez", "/readyz"):
            assert each["security"] == []
        elif path.startswith("/_sandbox/"):
            assert {"controlToken": []} in each["security"]


# Examples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("it", openapi.OPERATIONS, ids=list(BY_NAME))
def test_the_example_of_an_answer_fits_its_schema(it: Operation) -> None:
    for answer in it.answers.values():
        if isinstance(answer, dict):
            Draft202012Validator(answer, validate_formats=True).validate(example_of(answer))


CALLABLE = [each for each in openapi.OPERATIONS if each.name != "stream_events"]


@pytest.mark.parametrize("it", CALLABLE, ids=[each.name for each in CALLABLE])
def test_the_example_of_a_call_makes_sense_to_the_server(start_sandbox: Callable[..., "Bench"], it: Operation) -> None:
    target, body = openapi.example_call(it)
    sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    response = start_sandbox().sandbox.request(
        it.method,
        target,
        data=None if body is None else sent,
        headers={} if body is None else {"Content-Type": "application/json"},
    )
    assert str(response.status_code) in DOCUMENT["paths"][it.path][it.method.lower()]["responses"]
    assert response.status_code not in (400, 405, 413, 415), response.text


def test_examples_of_bodies_fit_their_schemas() -> None:
    for it in openapi.OPERATIONS:
        made = openapi.body_of(it)
        if made is not None and not isinstance(made, Content):
            Draft202012Validator(made).validate(openapi.example_call(it)[1])


# Accounts: read by the settings, described here --------------------------------------------------------------------

FITTING: dict[str, list[object]] = {
    "name": [],
    "token": ["another-token-than-before"],
    "shortcodes": [["48974", "48975"], []],
    "client_url": ["http://127.0.0.1:8000/sms", None],
    "callback_auth": ["bearer", "none"],
    "msisdn_format": ["plain", "plus", "mixed"],
    "revision": ["2024", "2025"],
    "strict": [True, False],
    "success_body": ["{}", None],
    "retry": ["documented", "documented-gaps", "fast", [1, 5], []],
    "order": ["free", "conversation"],
}
WRONG: dict[str, object] = {
    "name": "No Capitals",
    "token": "with a blank",
    "shortcodes": ["cinema"],
    "client_url": 5,
    "callback_auth": "digest",
    "msisdn_format": "hex",
    "revision": "2023",
    "strict": "perhaps",
    "success_body": 5,
    "retry": "slow",
    "order": "random",
}


def test_every_setting_of_an_account_is_described() -> None:
    settings = {key.name for key in KEYS if key.scope == "account"}
    assert settings == NEW_ACCOUNT["properties"].keys() == FITTING.keys() == WRONG.keys()
    assert NEW_ACCOUNT["required"] == ["name", "token"]


@pytest.mark.parametrize("name", FITTING)
def test_what_fits_the_schema_of_an_account_is_accepted_and_what_does_not_is_not(bench: "Bench", name: str) -> None:
    schema = Draft202012Validator(ACCOUNT_CHANGES)
    for value in FITTING[name]:
        schema.validate({name: value})
        bench.patch_account(**{name: value})
    assert not schema.is_valid({name: WRONG[name]})
    assert invalid(bench.call("PATCH", f"/accounts/{bench.account}", {name: WRONG[name]})) == [name]


# Start-up ----------------------------------------------------------------------------------------------------------


def test_the_application_is_imported_without_what_it_may_not_need() -> None:
    code = (
        "import sys, sandbox.asgi.app\n"
        "from sandbox.api import openapi\n"
        "assert openapi._written.cache_info().currsize == 0\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"yaml", "regex", "jinja2", "importlib.metadata", "sandbox.scenario.script", "sandbox.transfer.rows"}
    heavy |= {
        "sandbox.asgi.api_reference",
        "sandbox.rules.findings",
        "sandbox.scenario.record",
        "sandbox.webhooks.doctor",
    }
    assert heavy & set(done.stdout.split()) == set()


def test_the_document_needs_no_server_and_no_parser() -> None:
    code = "import sys; from sandbox.api import openapi; openapi.document(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"yaml", "regex", "jinja2", "uvicorn", "sandbox.server"} & set(done.stdout.split()) == set()


def test_the_schema_of_a_scenarios_file_is_served(sandbox_server: "Running") -> None:
    from sandbox.scenario import script

    response = sandbox_server.request("GET", "/_sandbox/scenario-schema.json")
    assert response.headers["Content-Type"] == "application/schema+json"
    assert response.json() == script.SCHEMA
    meta.validate(response.json())
