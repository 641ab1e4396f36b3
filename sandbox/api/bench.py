"""The bench itself: accounts, the clock, reset, and the stream of what happens.

The verbs are control.py's and what an account may be is settings.py's; here are only arguments and answers.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from starlette.responses import Response, StreamingResponse

from sandbox.api import event_stream, objects
from sandbox.api.operations import V1, ApiCall, Content, answer, operation
from sandbox.core.services import Listeners, Services
from sandbox.errors import Busy, Invalid, NotFound
from sandbox.http.access import Receive, Scope, Send
from sandbox.model import Account
from sandbox.objects import schema
from sandbox.objects.derive import Json
from sandbox.objects.schema import Schema
from sandbox.settings import KEYS, Key, account_from
from sandbox.values.fields import optional, required, usually
from sandbox.values.kinds import MAX_TIME_S, Choice, Name, PageCursor, Seconds, TextKind
from sandbox.wire.problems import quote

# Accounts ----------------------------------------------------------------------------------------------------------


def _setting(key: Key) -> Schema:
    made = {**key.kind.schema, "description": key.help}
    return schema.nullable(made) if key.default is None else made


_SETTINGS = {key.name: _setting(key) for key in KEYS if key.scope == "account"}


def _settings(required: Sequence[str], examples: Mapping[str, str]) -> Schema:
    shown = {name: {**_SETTINGS[name], "examples": [example]} for name, example in examples.items()}
    return schema.obj({**_SETTINGS, **shown}, optional=_SETTINGS.keys() - set(required))


NEW_ACCOUNT = _settings(("name", "token"), {"name": "team-2", "token": "a-token-of-team-2"})
ACCOUNT_CHANGES = _settings((), {"client_url": "http://127.0.0.1:8000/sms"})

NAME = required("name", Name(), "The account's name.", "default")


@operation(
    "GET",
    f"{V1}/accounts",
    group="Accounts",
    account="none",
    answers={200: schema.page("accounts", objects.ACCOUNT, last="always null: they come all at once")},
)
async def list_accounts(call: ApiCall) -> Response:
    """All accounts."""
    return answer({"accounts": [objects.account(each) for each in call.services.accounts.all()], "next": None})


@operation(
    "POST",
    f"{V1}/accounts",
    group="Accounts",
    account="none",
    body=NEW_ACCOUNT,
    answers={201: objects.ACCOUNT},
    errors={409: "There is an account of this name already."},
)
async def add_account(call: ApiCall) -> Response:
    """Add an account. A test gets one of its own, so that it sees nothing of the others."""
    return answer(objects.account(await call.services.control.add_account(account_from(call.body))), 201)


def _named(call: ApiCall) -> Account:
    account = call.services.accounts.get(call[NAME])
    if account is None:
        raise NotFound(f"There is no account {quote(call[NAME])}.")
    return account


@operation(
    "GET",
    f"{V1}/accounts/{{name}}",
    group="Accounts",
    account="none",
    places=(NAME,),
    answers={200: objects.ACCOUNT},
)
async def get_account(call: ApiCall) -> Response:
    """One account."""
    return answer(objects.account(_named(call)))


@operation(
    "PATCH",
    f"{V1}/accounts/{{name}}",
    group="Accounts",
    account="none",
    places=(NAME,),
    body=ACCOUNT_CHANGES,
    answers={200: objects.ACCOUNT},
)
async def change_account(call: ApiCall) -> Response:
    """Change what is named, and keep the rest; the name itself stays."""
    old = _named(call)
    if call.body.get("name", old.name) != old.name:
        raise Invalid(("name", "An account keeps its name. Add another account instead."))
    changes = {**call.body, "name": old.name}
    changed = await call.services.control.change_account(
        old.name, lambda present: account_from(changes, defaults=present)
    )
    return answer(objects.account(changed))


@operation(
    "DELETE",
    f"{V1}/accounts/{{name}}",
    group="Accounts",
    account="none",
    places=(NAME,),
    answers={204: None},
    errors={409: "It is the last one."},
)
async def remove_account(call: ApiCall) -> Response:
    """Remove an account, and everything recorded under its name."""
    await call.services.control.remove_account(_named(call).name)
    return Response(status_code=204)


# Clock and reset ---------------------------------------------------------------------------------------------------

ACTION = required("action", Choice(("freeze", "advance", "resume", "system")), "What the clock is to do.", "advance")
SECONDS = optional("seconds", Seconds(MAX_TIME_S), "How far to advance.", 3600)


async def _clock(services: Services) -> Json:
    return objects.clock(services.clock, await services.database.read(services.scheduler.next_timers(limit=10)))


@operation("GET", f"{V1}/clock", group="Clock", account="none", answers={200: objects.CLOCK})
async def get_clock(call: ApiCall) -> Response:
    """The sandbox's time, and what is due next."""
    return answer(await _clock(call.services))


def _check_clock(call: ApiCall) -> Iterable[tuple[str, str]]:
    if call[ACTION] is not None and (call[ACTION] == "advance") is (call[SECONDS] is None):
        yield "seconds", "seconds goes with advance, and advance needs it."


@operation(
    "PUT",
    f"{V1}/clock",
    group="Clock",
    account="none",
    body=(ACTION, SECONDS),
    check=_check_clock,
    answers={200: objects.MOVED_CLOCK},
)
async def set_clock(call: ApiCall) -> Response:
    """Freeze the clock, let it run again, advance it, or bring it back to the system's time.

    `advance` answers after everything that came due on the way has run to its end. `resume` lets the clock run from
    where it stands. With `system` it runs at the system's time, and what is planned keeps its distance: nothing comes
    due at once because of it.
    """
    control, moments = call.services.control, 0
    match call[ACTION]:
        case "freeze":
            await control.freeze()
        case "resume":
            await control.resume()
        case "system":
            await control.to_system()
        case _:
            moments = await control.advance(round((call[SECONDS] or 0) * 1000))
    return answer({**await _clock(call.services), "moments": moments})


SCOPE = optional("scope", TextKind(), "An account's name; `all`, or nothing, is everything.", "default")


@operation(
    "POST",
    f"{V1}/reset",
    group="Bench",
    account="any",
    body=(SCOPE,),
    answers={200: schema.obj({"reset": schema.text("The account's name, or `all`.", "default")})},
    errors={404: "There is no such account."},
)
async def reset(call: ApiCall) -> Response:
    """Forget messages, requests, handsets, webhook deliveries and everything that is due. Accounts stay.

    Of one account if `?account=` or `scope` names it, else of all; then the clock goes back to the system's time.
    """
    name = None if call[SCOPE] == "all" else call[SCOPE]
    if call.owner is not None:
        name = call.owner.name
    await call.services.control.reset(name)
    return answer({"reset": name or "all"})


# Events ------------------------------------------------------------------------------------------------------------


class _Stream(StreamingResponse):
    """An event stream that is counted for as long as it is open, however it ends."""

    def __init__(self, listeners: Listeners, content: AsyncIterator[bytes], **more: Any) -> None:
        super().__init__(content, **more)
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._listeners.count += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners.count -= 1


SINCE = optional(
    "after", PageCursor(), "Begin after this event, instead of now. The header `Last-Event-ID` says the same."
)
VIEW = usually("view", Choice(("full", "brief")), "full", "Whether an event carries what it is about, or its id alone.")


@operation(
    "GET",
    f"{V1}/events",
    group="Bench",
    account="any",
    query=(SINCE, VIEW),
    answers={
        200: (
            Content(
                media_type="text/event-stream",
                schema=schema.text("Server-sent events, without end; the data of each is a JSON object."),
                example='id: 12\nevent: message_submitted\ndata: {"seq": 12, "kind": "message_submitted", …}\n\n',
            ),
        )
    },
    errors={503: "Too many streams are open."},
)
async def stream_events(call: ApiCall) -> Response:
    """Everything that happens, as it happens: server-sent events.

    Of one account if `?account=` names it, else of all. An event's `id` is its number; after a connection that broke,
    `Last-Event-ID` goes on from there, and nothing is missed.
    """
    services, after = call.services, call[SINCE]
    last = call.request.headers.get("last-event-id", "")
    if last.isascii() and last.isdecimal() and len(last) < 19:
        after = int(last)
    if services.listeners.count >= services.settings.max_event_streams:
        raise Busy(
            f"{services.settings.max_event_streams} event streams are open, which is the limit. Close one first."
        )
    return _Stream(
        services.listeners,
        event_stream.events(
            services.database,
            services.bus,
            account=None if call.owner is None else call.owner.name,
            after=after,
            full=call[VIEW] == "full",
        ),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


OPERATIONS = (
    list_accounts,
    add_account,
    get_account,
    change_account,
    remove_account,
    get_clock,
    set_clock,
    reset,
    stream_events,
)
