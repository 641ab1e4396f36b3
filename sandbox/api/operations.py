"""An operation of the control API, declared once: from it derive its route, the reading of its arguments and its place
in the OpenAPI document.

What an operation does stands where it is declared; here is how a request becomes a `ApiCall`, and an error an answer.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.core.services import Services
from sandbox.errors import Busy, Conflict, Invalid, NotFound, SandboxError, StorageError
from sandbox.http.access import problem_json, read_body
from sandbox.http.request import account_of, query_of, services_of
from sandbox.model import Account
from sandbox.objects.schema import Schema
from sandbox.values.fields import Argument, Fields, Given
from sandbox.wire.payloads import to_json
from sandbox.wire.requests import decode_json

T = TypeVar("T")

V1 = "/_sandbox/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an operation answers or takes, where that is not JSON."""

    media_type: str
    schema: Schema
    example: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """A request to an operation, with its arguments read: `call[ARGUMENT]` is the value of one."""

    request: Request
    services: Services
    owner: Account | None  # the account that the call is about; None: all of them, or none
    given: Given
    body: Mapping[str, Any]  # the JSON object as it came; empty if it is none
    raw: bytes

    def __getitem__(self, argument: Argument[T]) -> T:
        return self.given[argument]

    @property
    def account(self) -> Account:
        assert self.owner is not None, "the operation is not declared to be about one account"
        return self.owner


Handler = Callable[[ApiCall], Awaitable[Response]]
Check = Callable[[ApiCall], Iterable[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    method: str
    path: str  # with the names of `places` in braces
    name: str
    group: str
    summary: str
    description: str
    handler: Handler
    account: Literal["one", "any", "none"]  # what it is about: one account, all unless one is named, no account
    places: Sequence[Argument[Any]]  # arguments in the path
    query: Sequence[Argument[Any]]
    body: Sequence[Argument[Any]] | Schema | Content | None  # the last three are read by the handler itself
    check: Check | None  # complains about what concerns several arguments, or the settings
    answers: Mapping[int, Schema | Sequence[Content] | None]  # None: without a body
    errors: Mapping[int, str]  # when: beyond those that every operation, or one with such arguments, may have


def operation(
    method: str,
    path: str,
    *,
    group: str,
    answers: Mapping[int, Schema | Sequence[Content] | None],
    account: Literal["one", "any", "none"] = "one",
    places: Sequence[Argument[Any]] = (),
    query: Sequence[Argument[Any]] = (),
    body: Sequence[Argument[Any]] | Schema | Content | None = None,
    check: Check | None = None,
    errors: Mapping[int, str] | None = None,
) -> Callable[[Handler], Operation]:
    """Declare the operation that a function carries out. Name and words are the function's own name and docstring."""

    def declared(handler: Handler) -> Operation:
        summary, _, description = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        return Operation(
            method=method,
            path=path,
            name=getattr(handler, "__name__", ""),
            group=group,
            summary=summary,
            description=description.strip(),
            handler=handler,
            account=account,
            places=tuple(places),
            query=tuple(query),
            body=() if body is None and method in ("POST", "PUT", "PATCH") else body,
            check=check,
            answers=answers,
            errors=errors or {},
        )

    return declared


def routes(operations: Iterable[Operation]) -> Sequence[Route]:
    return [Route(each.path, partial(_serve, each), methods=[each.method], name=each.name) for each in operations]


async def _serve(operation: Operation, request: Request) -> Response:
    return await operation.handler(await _call(operation, request))


async def _call(operation: Operation, request: Request) -> ApiCall:
    """Read everything that an operation is to be given; complain about all of it at once, as far as it can be read."""
    services = services_of(request)
    named = operation.account == "any" and "account" in request.query_params
    owner = account_of(request) if named or operation.account == "one" else None
    path = Fields(request.path_params, json=True)
    places = path.values(operation.places)
    path.done()
    raw, body = b"", dict[str, Any]()
    if operation.body is not None:
        raw = await _body(request)
        if not isinstance(operation.body, Content):
            body = _json(raw)
    query, content = query_of(request), Fields(body, json=True)
    values = places | query.values(operation.query)
    if isinstance(operation.body, Sequence):
        values |= content.values(operation.body)
    call = ApiCall(request=request, services=services, owner=owner, given=Given(values), body=body, raw=raw)
    if operation.check is not None:
        for name, reason in operation.check(call):
            content.wrong(name, reason)
    query.unknown()
    if isinstance(operation.body, Sequence):
        content.unknown()
    if errors := query.errors | content.errors:
        raise Invalid(*errors.items())
    return call


async def _body(request: Request) -> bytes:
    limit = services_of(request).settings.max_control_body
    body, over = await read_body(request.scope, request.receive, limit)
    if over:
        raise HTTPException(413, f"The body is larger than {limit} bytes.", {"Connection": "close"})
    return body


def _json(body: bytes) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object."""
    if not body:
        return {}
    try:
        value = decode_json(body)
    except ValueError as error:
        raise Invalid(("body", f"The body is not valid JSON: {error}. Send one JSON object as UTF-8.")) from None
    if not isinstance(value, dict):
        raise Invalid(("body", "The body is JSON, but not an object. Send one JSON object."))
    return value


# Answers -----------------------------------------------------------------------------------------------------------


class InvalidDetailed(Invalid):
    """Arguments that make no sense, where there is more to say of each than a name and a reason."""

    def __init__(self, *errors: Mapping[str, object]) -> None:
        self.errors = errors
        super().__init__(*((str(each["field"]), str(each["message"])) for each in errors))


class Unfinished(SandboxError):
    """A call that was stopped in the middle by `error`; `members` of its answer say how far it came, `remedy` what to
    do about it."""

    def __init__(self, error: StorageError, remedy: str, **members: object) -> None:
        self.error = error
        self.members = members
        super().__init__(f"{error} {remedy}")


def answer(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


def listed(plural: str, things: Sequence[Any], shape: Callable[[Any], object], limit: int) -> Response:
    """A page of things that have a number; the next one begins after the last."""
    following = f"{things[-1].seq}" if len(things) == limit else None
    return answer({plural: [shape(each) for each in things], "next": following})


def error_answer(error: Exception) -> Response:
    """Every error of this surface, in its one shape."""
    status, title, headers = 500, "The sandbox failed", dict[str, str]()
    errors: Sequence[Mapping[str, object]] = ()
    detail = "This is a fault of the sandbox, not of the call; its log says more."
    more: Mapping[str, object] = {}
    match error:
        case HTTPException():
            status, title, detail = error.status_code, error.detail, error.detail
            headers = dict(error.headers or {})
        case Invalid():
            status, title, detail = 400, "The call is invalid", str(error)
            errors = [{"field": name, "message": reason} for name, reason in error.fields]
            if isinstance(error, InvalidDetailed):
                errors = error.errors
        case NotFound():
            status, title, detail = 404, "Not found", str(error)
        case Conflict():
            status, title, detail = 409, "Not in this state", str(error)
        case Busy() | StorageError() | Unfinished():
            status, title, detail, headers = 503, "Try again later", str(error), {"Retry-After": "5"}
            more = error.members if isinstance(error, Unfinished) else {}
    body = problem_json(status, title, detail, [dict(each) for each in errors], **more)
    return Response(body, status, headers, media_type="application/problem+json")
