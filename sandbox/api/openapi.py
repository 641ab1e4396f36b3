"""The OpenAPI 3.1 document: the operations of the control API as they are declared, the gateway as the contract says.

Made when somebody asks for it, never at start; what an operation takes and answers stands where it is declared.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response
from starlette.routing import Route

from sandbox.api import operations
from sandbox.api.operations import ApiCall, Content, Operation, operation
from sandbox.api.routes import OPERATIONS as CONTROL
from sandbox.core.gateway import PATH
from sandbox.objects import schema
from sandbox.objects.problems import FAILURE, PROBLEM, STATUS
from sandbox.objects.schema import Schema, example_of
from sandbox.values.fields import Argument, body_schema
from sandbox.wire.payloads import to_json
from sandbox.wire.problems import CATALOGUE, WANTED
from sandbox.wire.requests import EXAMPLE, KEYS

JSON, PROBLEM_JSON, PLAIN = "application/json", "application/problem+json", "text/plain"

GROUPS = {
    "Messages": "What was sent, either way: listed, waited for, verified.",
    "Requests": "Every call to the gateway, refused ones with everything that was wrong with them.",
    "Handsets": "The phones: what they say, and how they stand.",
    "Webhook deliveries": "What is owed to the application, attempt by attempt.",
    "Scenarios": "Handsets that react by themselves.",
    "Faults": "Failures that someone asks for.",
    "Accounts": "Each sees nothing of the others.",
    "Clock": "Time that stands still, and an hour that passes at once.",
    "Bench": "Everything about the sandbox as a whole.",
    "Gateway": "What the application talks to, as 9bits documents it.",
    "Probes": "Whether the sandbox is there. They need no token and hold no data.",
}

ABOUT = """\
The control API of a ninebits-sandbox, for tests in any language, and the gateway that it imitates.

A list answers `{"<plural>": […], "next": cursor or null}`; a single thing answers itself; an error is RFC 9457 problem
details, whose `errors` name every wrong field at once. Times are ISO 8601 in UTC; durations carry their unit. Whatever
changes something is sent as `application/json`. What is null or empty counts as not given, and what is not an argument
is complained about.
"""

# What every operation may answer, or every one with such arguments.
_ERRORS = {
    400: "Arguments are wrong or not known: `errors` names all of them. Or the request is none that HTTP allows.",
    401: "This sandbox asks for its control token.",
    403: "The request is not one for this sandbox's own address: Host, Origin or Sec-Fetch-Site say so.",
    404: "There is no such thing.",
    405: "The path is used with other methods: `Allow` names them.",
    413: "The body is larger than the limit, 1 MiB unless the settings say otherwise.",
    414: "The target is longer than 8 KiB.",
    415: "The content type is not `application/json`.",
    431: "The headers are larger than 16 KiB.",
    503: "A limit is reached, or the database cannot be used: it was not done, or not to its end.",
}
_HEADERS: Mapping[int, tuple[str, Schema]] = {
    401: ("WWW-Authenticate", schema.text("Always `Bearer`.", "Bearer")),
    405: ("Allow", schema.text("The methods that the path has.", "GET, HEAD")),
    503: ("Retry-After", schema.text("Seconds after which to try again.", "5")),
}


@operation("GET", "/_sandbox/openapi.json", group="Bench", account="none", answers={200: schema.mapping(True)})
async def get_openapi(call: ApiCall) -> Response:
    """This document."""
    return Response(_written(call.request.scope.get("root_path", "")), media_type=JSON)


@operation(
    "GET",
    "/_sandbox/scenario-schema.json",
    group="Scenarios",
    account="none",
    answers={200: (Content(media_type="application/schema+json", schema=schema.mapping(True)),)},
)
async def get_scenario_schema(call: ApiCall) -> Response:
    """The JSON Schema of a scenario's file, for editors that check what is typed."""
    from sandbox.scenario.script import SCHEMA  # brings a YAML parser along, which a start can do without

    return Response(to_json(SCHEMA), media_type="application/schema+json")


OPERATIONS: Sequence[Operation] = (*CONTROL, get_openapi, get_scenario_schema)


def routes() -> Sequence[Route]:
    return operations.routes((get_openapi, get_scenario_schema))


@cache
def _written(root: str) -> bytes:
    return json.dumps(document(root), ensure_ascii=False, indent=1).encode()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # 6 ms, which a start can do without

    try:
        return version("ninebits-sandbox")
    except PackageNotFoundError:  # a checkout that is not installed, or a file system that a test has replaced
        return "unknown"


def document(root: str = "") -> Schema:
    """The whole document, as a JSON value; `root` is the path prefix that everything is below."""
    components: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    paths |= _others()
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "ninebits-sandbox",
            "version": _version(),
            "summary": "A local mock of the 9bits two-way SMS gateway.",
            "description": ABOUT,
        },
        "servers": [{"url": root or "/"}],
        "tags": [{"name": name, "description": words} for name, words in GROUPS.items()],
        "paths": paths,
        "components": {
            "responses": {str(status): _error(status, words) for status, words in _ERRORS.items()},
            "securitySchemes": {
                "controlToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The control token: needed if the sandbox has one, as it has beyond loopback.",
                },
                "apiToken": {"type": "http", "scheme": "bearer", "description": "The API token of an account."},
            },
        },
    }
    shared: Schema = _shared(made, components)
    shared["components"]["schemas"] = dict(sorted(components.items()))
    return shared


def _shared(value: Any, components: dict[str, Schema]) -> Any:
    """The same, where every schema that has a title is a reference to one component."""
    if isinstance(value, list):
        return [_shared(each, components) for each in value]
    if not isinstance(value, dict):
        return value
    title = value.get("title")
    if not isinstance(title, str) or "type" not in value:
        return {name: _shared(each, components) for name, each in value.items()}
    if title not in components:
        components[title] = {}  # it may hold itself
        components[title] = {name: _shared(each, components) for name, each in value.items()}
    return {"$ref": f"#/components/schemas/{title}"}


# Operations --------------------------------------------------------------------------------------------------------

ACCOUNT_IS = {
    "one": "The account that it is about; without it, the one that is called `default`, else the first.",
    "any": "The one account that it is about; without it, all of them.",
}


def _operation(it: Operation) -> Schema:
    made: Schema = {"operationId": it.name, "tags": [it.group], "summary": it.summary}
    if it.description:
        made["description"] = it.description
    parameters = [_parameter(each, "path") for each in it.places] + [_parameter(each, "query") for each in it.query]
    if it.account in ACCOUNT_IS:
        about = schema.text(pattern="^[a-z0-9][a-z0-9_.-]{0,63}$")
        parameters.append({"name": "account", "in": "query", "description": ACCOUNT_IS[it.account], "schema": about})
    if parameters:
        made["parameters"] = parameters
    if it.body is not None:
        made["requestBody"] = _body(it.body)
    made["responses"] = {
        **{str(status): _answer(it, status) for status in it.answers},
        **{str(status): _or_shared(status, words) for status, words in sorted(errors_of(it).items())},
    }
    made["security"] = [{}, {"controlToken": []}]
    return made


def _parameter(argument: Argument[Any], place: str) -> Schema:
    made = dict(argument.schema)
    about: Schema = {"name": argument.name, "in": place, "description": made.pop("description")}
    if place == "path" or argument.required:
        about["required"] = True
    examples = made.pop("examples", None)
    if examples:
        about["example"] = examples[0]
    return {**about, "schema": made}


def body_of(it: Operation) -> Schema | Content | None:
    """What an operation takes in its body."""
    if isinstance(it.body, Sequence):
        return body_schema(it.body)
    return it.body


def _body(body: Sequence[Argument[Any]] | Schema | Content) -> Schema:
    if isinstance(body, Content):
        return {"required": True, "content": {body.media_type: {"schema": body.schema, "example": body.example}}}
    made = body_schema(body) if isinstance(body, Sequence) else body
    content: Schema = {"schema": made}
    if example := _given(made):
        content["example"] = example
    return {"required": "required" in made, "content": {JSON: content}}


def _given(body: Schema) -> Mapping[str, object]:
    """An example of a body: the arguments that have one."""
    properties: Mapping[str, Schema] = body.get("properties", {})
    return {name: each["examples"][0] for name, each in properties.items() if "examples" in each}


def _answer(it: Operation, status: int) -> Schema:
    found = it.answers[status]
    words = {200: "Done.", 201: "Made.", 202: "Planned.", 204: "Gone."}[status]
    if found is None:
        return {"description": words}
    if isinstance(found, dict):
        return {"description": words, "content": {JSON: {"schema": found}}}
    media = {
        each.media_type: {"schema": each.schema, **({"example": each.example} if each.example else {})}
        for each in found
    }
    return {"description": words, "content": media}


def errors_of(it: Operation) -> Mapping[int, str]:
    """Every error that an operation may answer, and when."""
    found = [400, 401, 403, 405, 414, 431, 503]
    if it.places or it.account != "none":
        found.append(404)
    if it.body is not None:
        found += [413, 415]
    return {**{status: _ERRORS[status] for status in found}, **it.errors}


def _or_shared(status: int, words: str) -> Schema:
    if _ERRORS.get(status) == words:
        return {"$ref": f"#/components/responses/{status}"}
    return _error(status, words)


def _error(status: int, words: str) -> Schema:
    content: Schema = {PROBLEM_JSON: {"schema": PROBLEM}}
    if status in (400, 503):  # what the server itself says to what is no HTTP, and to a connection too many
        content[PLAIN] = {"schema": schema.text()}
    made: Schema = {"description": words, "content": content}
    if status in _HEADERS:
        name, header = _HEADERS[status]
        made["headers"] = {name: {"schema": header}}
    return made


# Examples ----------------------------------------------------------------------------------------------------------


def example_call(it: Operation) -> tuple[str, Mapping[str, object] | str | None]:
    """Target and body of a call that makes sense."""
    places = {each.name: quote(str(example_of(each.schema))) for each in it.places}
    query = urlencode({each.name: each.example for each in it.query if each.example is not None}, safe="*")
    target = it.path.format(**places) + (f"?{query}" if query else "")
    match body_of(it):
        case None:
            return target, None
        case Content(example=example):
            return target, example
        case body:
            return target, _given(body)


def example_answers(it: Operation) -> Iterator[tuple[int, str]]:
    """What an operation answers when all is well: status and text of the body."""
    for status, found in it.answers.items():
        if found is None:
            yield status, ""
        elif isinstance(found, dict):
            yield status, json.dumps(example_of(found), indent=2, ensure_ascii=False)
        else:
            yield status, found[0].example or json.dumps(example_of(found[0].schema), indent=2)


# The gateway and the probes ----------------------------------------------------------------------------------------


def _sendsms() -> Schema:
    """As wire/ says it: what is accepted, and every status with the codes that imply it."""
    strict = schema.obj({name: schema.text(WANTED[name]) for name in (*KEYS, "ref_id")}, optional=("ref_id",))
    strict["properties"]["message"] |= {"minLength": 1, "maxLength": 1600}
    strict["properties"]["sent_date"] |= {"format": "date-time"}
    accepted = {
        "type": "object",
        "properties": {
            "status_code": schema.integer(example=200),
            "message": schema.text(example="Message accepted"),
            "reference_id": schema.text("The message.", "m12"),
        },
        "description": "An account may answer something else: its setting `success_body`.",
    }
    by_status: dict[int, list[str]] = {}
    for code, (status, _, _) in CATALOGUE.items():
        by_status.setdefault(status, []).append(code)
    record = {"Ninebits-Sandbox-Request": {"schema": schema.text("The record that explains the verdict.", "r12")}}
    refused: Schema = {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in codes),
            "headers": record | ({_HEADERS[status][0]: {"schema": _HEADERS[status][1]}} if status in _HEADERS else {}),
            "content": {JSON: {"schema": FAILURE}},
        }
        for status, codes in sorted(by_status.items())
    }
    doors = {
        str(status): {"description": _ERRORS[status], "content": {JSON: {"schema": FAILURE}}} for status in (414, 431)
    }
    asked = {"description": "Only if a fault or a scenario asks for it.", "content": {JSON: {"schema": {}}}}
    refused["503"]["content"][PLAIN] = {"schema": schema.text()}
    return {
        "operationId": "sendsms",
        "tags": ["Gateway"],
        "summary": "Send an SMS: a message from the application to a handset.",
        "description": "The imitated gateway. A lenient account takes it without session_id and sent_date as well.",
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {**strict, "additionalProperties": True}, "example": json.loads(EXAMPLE)},
            },
        },
        "responses": {
            "200": {
                "description": "Accepted, and durable.",
                "headers": record,
                "content": {JSON: {"schema": accepted}},
            },
            **refused,
            **doors,
            "429": asked,
            "5XX": asked,
        },
        "security": [{"apiToken": []}],
    }


def _probe(name: str, words: str, *statuses: int) -> Schema:
    return {
        "operationId": name,
        "tags": ["Probes"],
        "summary": words,
        "responses": {
            "200": {"description": "It does.", "content": {JSON: {"schema": STATUS}}},
            **{
                str(status): {"$ref": f"#/components/responses/{status}"}
                for status in sorted((400, 403, 405, 414, 431, *statuses))
            },
        },
        "security": [],
    }


def _others() -> Mapping[str, Schema]:
    return {
        PATH: {"post": _sendsms()},
        "/livez": {"get": _probe("livez", "Whether the process answers.")},
        "/readyz": {"get": _probe("readyz", "Whether the database answers too.", 503)},
    }
