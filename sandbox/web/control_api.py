"""The control API under `/_sandbox/v1`, for tests in any language: unpack, call one verb or read the store, pack.

A list answers `{"<plural>": […], "next": cursor or null}`, newest first; a single thing answers itself; an error is
RFC 9457 problem details that name every wrong field at once.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sandbox.clock import to_iso
from sandbox.config import account_from
from sandbox.contract.numbers import TELCOS, NumberFault, parse_msisdn, parse_shortcode
from sandbox.contract.payloads import to_json
from sandbox.contract.problems import problem, quote
from sandbox.contract.requests import MAX_OPAQUE, decode_json, unusable_character
from sandbox.control import DEFAULT_WAIT_S
from sandbox.errors import Busy, Conflict, Invalid, NotFound, StorageError
from sandbox.model import Account, DeliveryState, HandsetState, Msisdn, Shortcode
from sandbox.network import Texting, handset_of
from sandbox.store import messages, outbox
from sandbox.web import live, shapes
from sandbox.web.access import Receive, Scope, Send, problem_json, read_body
from sandbox.web.house import House
from sandbox.web.shapes import Shape

MAX_PAGE = 500
MAX_WAIT_S = 300.0
MAX_ADVANCE_S = 366 * 24 * 3600


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


def answer(value: Shape, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


def error_answer(error: Exception) -> Response:
    """Every error of this surface, in its one shape."""
    status, title, headers = 500, "The sandbox failed", dict[str, str]()
    errors: list[dict[str, object]] = []
    detail = "This is a fault of the sandbox, not of the call; its log says more."
    match error:
        case HTTPException():
            status, title, detail = error.status_code, error.detail, error.detail
            headers = dict(error.headers or {})
        case Invalid():
            status, title, detail = 400, "The call is invalid", str(error)
            errors = [{"field": name, "message": reason} for name, reason in error.fields]
        case NotFound():
            status, title, detail = 404, "Not found", str(error)
        case Conflict():
            status, title, detail = 409, "Not in this state", str(error)
        case Busy() | StorageError():
            status, title, detail, headers = 503, "Try again later", str(error), {"Retry-After": "5"}
    return Response(problem_json(status, title, detail, errors), status, headers, media_type="application/problem+json")


class Fields:
    """The arguments of a call, taken one by one; `done` complains about all that were wrong or not known, at once."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._left = dict(given)
        self._wrong: dict[str, str] = {}

    def wrong(self, name: str, reason: str) -> None:
        """Complain about an argument; what was said of it first stands."""
        self._wrong.setdefault(name, reason)

    def text(self, name: str, *, required: bool = False, longest: int = MAX_OPAQUE) -> str | None:
        value = self._left.pop(name, None)
        if value is None or value == "":
            if required:
                self.wrong(name, f"{name} is missing or empty. Send it as a string.")
            return None
        if not isinstance(value, str):
            self.wrong(name, f"{name} is {quote(value)}. Send it as a string.")
        elif len(value) > longest:
            self.wrong(name, f"{name} has {len(value)} characters. At most {longest} are accepted.")
        elif bad := unusable_character(value):
            self.wrong(name, f"{name} holds {bad}. Leave it out.")
        else:
            return value
        return None

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            self.wrong(name, f"{name} is {quote(value)}. Send one of: {', '.join(choices)}.")
            return None
        return value

    def seconds(self, name: str, most: float) -> float | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if isinstance(value, str):  # from a query string
            try:
                value = float(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            self.wrong(name, f"{name} has to be a number of seconds from 0 to {most:g}.")
            return None
        return float(value)

    def whole(self, name: str, least: int, most: int) -> int | None:
        """A whole number, from a query string."""
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) < 19 and least <= int(value) <= most):
            self.wrong(name, f"{name} has to be a whole number from {least} to {most}.")
            return None
        return int(value)

    def cursor(self, name: str) -> int | None:
        """The number of a message, request or webhook delivery, with or without the letter before it."""
        value = self.text(name)
        if value is None:
            return None
        number = value[1:] if value[:1] in ("m", "r", "w") else value
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            self.wrong(name, f"{name} is {quote(value)}. Send an identifier such as m12, or a cursor from `next`.")
            return None
        return int(number)

    def wait(self) -> float | None:
        """`wait`: true, the default, waits; false does not; a number waits that many seconds at most."""
        value = self._left.get("wait")
        if value is None or value is True:
            self._left.pop("wait", None)
            return DEFAULT_WAIT_S
        if value is False:
            self._left.pop("wait")
            return None
        return self.seconds("wait", MAX_WAIT_S)

    def msisdn(self, name: str, value: str | None) -> Msisdn | None:
        if value is None:
            return None
        parsed = parse_msisdn(value)
        if isinstance(parsed, NumberFault):
            digits = value.removeprefix("+").removeprefix("00")
            found = problem(parsed, name, value=quote(value), length=len(digits))
            self.wrong(name, f"{found.message.replace('to is', f'{name} is', 1)} {found.hint}")
            return None
        return parsed

    def shortcode(self, name: str, *, required: bool = False) -> Shortcode | None:
        value = self.text(name, required=required)
        if value is None:
            return None
        parsed = parse_shortcode(value)
        if isinstance(parsed, NumberFault):
            self.wrong(name, f"{name} is {quote(value)}. Send the shortcode as 3 to 15 digits.")
            return None
        return parsed

    def number(self, name: str) -> str | None:
        """A number to filter by: an MSISDN in any accepted form, or a shortcode."""
        value = self.text(name)
        if value is None:
            return None
        parsed = parse_msisdn(value)
        if not isinstance(parsed, NumberFault):
            return parsed
        short = parse_shortcode(value)
        if isinstance(short, NumberFault):
            self.wrong(name, f"{name} is {quote(value)}. Send an MSISDN or a shortcode; it is compared exactly.")
            return None
        return short

    def done(self) -> None:
        for name in list(self._left)[:20]:  # a body may hold 100,000 of them
            self.wrong(quote(name)[1:-1], f"{quote(name)} is not an argument of this call.")
        if self._wrong:
            raise Invalid(*self._wrong.items())


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object."""
    limit = house_of(request).settings.max_control_body
    body, over = await read_body(request.scope, request.receive, limit)
    if over:
        raise HTTPException(413, f"The body is larger than {limit} bytes.", {"Connection": "close"})
    if not body:
        return {}
    try:
        value = decode_json(body)
    except ValueError as error:
        raise Invalid(("body", f"The body is not valid JSON: {error}. Send one JSON object as UTF-8.")) from None
    if not isinstance(value, dict):
        raise Invalid(("body", "The body is JSON, but not an object. Send one JSON object."))
    return value


def query_of(request: Request) -> Fields:
    """The query's arguments, without `account`."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name != "account":
            given[name] = value
    return Fields(given)


def account_of(request: Request) -> Account:
    """The account that `?account=` names; `default` without it, or the first of the settings."""
    accounts = house_of(request).accounts
    name = request.query_params.get("account")
    if name is None:
        first = house_of(request).settings.accounts[0].name
        return accounts.get("default") or accounts.get(first) or accounts.all()[0]
    account = accounts.get(name)
    if account is None:
        raise NotFound(f"There is no account {quote(name)}.")
    return account


def seq_of(request: Request, letter: str) -> int:
    """The number in the path's identifier."""
    given: str = request.path_params["id"]
    if given[:1] == letter and given[1:].isascii() and given[1:].isdecimal() and len(given) < 20:
        return int(given[1:])
    raise NotFound(f"There is no {quote(given)}; an identifier looks like {letter}12.")


def listed(plural: str, things: Sequence[Any], shape: Any, limit: int) -> Response:
    following = f"{things[-1].seq}" if len(things) == limit else None
    return answer({plural: [shape(each) for each in things], "next": following})


# Messages and requests ---------------------------------------------------------------------------------------------


async def list_messages(request: Request) -> Response:
    account, given = account_of(request), query_of(request)
    limit = given.whole("limit", 1, MAX_PAGE) or 50
    wanted = {
        "to": given.number("to"),
        "from_": given.number("from"),
        "session_id": given.text("session_id"),
        "direction": given.choice("direction", ("mt", "mo")),
        "text": given.text("text"),
        "state": given.text("state"),
        "after": given.cursor("after"),
        "before": given.cursor("next"),
    }
    given.done()
    page = await house_of(request).database.read(
        lambda db: messages.page(db, account=account.name, limit=limit, **wanted)  # type: ignore[arg-type]
    )
    return listed("messages", page, shapes.message, limit)


async def get_message(request: Request) -> Response:
    account, seq = account_of(request), seq_of(request, "m")
    found = await house_of(request).database.read(lambda db: messages.get(db, seq))
    if found is None or found.account != account.name:
        raise NotFound(f"There is no message m{seq} in the account {account.name}.")
    return answer(shapes.message(found))


async def list_requests(request: Request) -> Response:
    account, given = account_of(request), query_of(request)
    limit = given.whole("limit", 1, MAX_PAGE) or 50
    verdict = given.choice("verdict", ("accepted", "refused"))
    before = given.cursor("next")
    given.done()
    page = await house_of(request).database.read(
        lambda db: messages.requests_page(db, account=account.name, verdict=verdict, before=before, limit=limit)
    )
    return listed("requests", page, shapes.request, limit)


async def get_request(request: Request) -> Response:
    account, seq = account_of(request), seq_of(request, "r")
    found = await house_of(request).database.read(lambda db: messages.get_request(db, seq))
    if found is None or found.account not in (None, account.name):
        raise NotFound(f"There is no request r{seq} in the account {account.name}.")
    return answer(shapes.request(found))


# Handsets ----------------------------------------------------------------------------------------------------------


def path_msisdn(request: Request) -> Msisdn:
    given = Fields({})
    msisdn = given.msisdn("msisdn", request.path_params["msisdn"])
    given.done()
    assert msisdn is not None
    return msisdn


async def list_handsets(request: Request) -> Response:
    account, given = account_of(request), query_of(request)
    limit = given.whole("limit", 1, MAX_PAGE) or 50
    after = given.text("next") or ""
    given.done()
    found = await house_of(request).database.read(
        lambda db: [
            handset_of(db, account.name, msisdn)
            for msisdn in messages.handset_numbers(db, account=account.name, after=after, limit=limit)
        ]
    )
    following = found[-1].msisdn if len(found) == limit else None
    return answer({"handsets": [shapes.handset(each) for each in found], "next": following})


async def get_handset(request: Request) -> Response:
    account, msisdn = account_of(request), path_msisdn(request)
    found = await house_of(request).database.read(lambda db: handset_of(db, account.name, msisdn))
    return answer(shapes.handset(found))


async def patch_handset(request: Request) -> Response:
    house, account, msisdn = house_of(request), account_of(request), path_msisdn(request)
    body = await body_of(request)
    given = Fields(body)
    label = given.text("label", longest=80)
    telco = given.choice("telco", TELCOS)
    state = given.choice("state", tuple(HandsetState))
    given.done()
    old = await house.database.read(lambda db: handset_of(db, account.name, msisdn))
    new = replace(
        old,
        label=(label or "") if "label" in body else old.label,
        telco=telco or old.telco,
        state=HandsetState(state) if state else old.state,
    )
    await house.network.change_handset(new)
    return answer(shapes.handset(new))


async def text_from(request: Request, *, new: bool) -> Response:
    """`reply` and `send`: a text from a handset, answered after its first attempt has ended."""
    house, account, msisdn = house_of(request), account_of(request), path_msisdn(request)
    given = Fields(await body_of(request))
    text = given.text("text", required=True, longest=house.settings.max_text)
    shortcode = given.shortcode("to", required=new)
    session_id = given.text("session_id")
    delay_s = given.seconds("delay_s", MAX_ADVANCE_S)
    wait_s = given.wait()
    given.done()
    assert text is not None
    if shortcode is not None and account.shortcodes and shortcode not in account.shortcodes:
        owned = ", ".join(account.shortcodes)
        raise Invalid(("to", f"The shortcode {shortcode} is not one of the account's: {owned}."))
    texting = Texting(
        account=account.name, msisdn=msisdn, text=text, shortcode=shortcode, session_id=session_id, new=new
    )
    done = await house.control.text(texting, delay_ms=round((delay_s or 0) * 1000), wait_s=wait_s)
    made: Shape = {
        "message": None if done.message is None else shapes.message(done.message),
        "webhook_delivery": None if done.delivery is None else await delivery_shape(house, done.delivery.seq),
    }
    if done.due_ms is not None:
        made["due_at"] = to_iso(done.due_ms)
    return answer(made, 202 if done.due_ms is not None else 201)


# Webhook deliveries ------------------------------------------------------------------------------------------------


async def delivery_shape(house: House, seq: int) -> Shape | None:
    def read(db: Any) -> Shape | None:
        found = outbox.get(db, seq)
        return None if found is None else shapes.delivery(found, outbox.attempts(db, seq))

    return await house.database.read(read)


async def list_deliveries(request: Request) -> Response:
    account, given = account_of(request), query_of(request)
    limit = given.whole("limit", 1, MAX_PAGE) or 50
    state = given.choice("state", tuple(DeliveryState))
    before = given.cursor("next")
    given.done()
    page = await house_of(request).database.read(
        lambda db: outbox.page(db, account=account.name, state=state, before=before, limit=limit)
    )
    return listed("webhook_deliveries", page, shapes.delivery, limit)


async def own_delivery(request: Request) -> int:
    """The number of the path's webhook delivery, which has to be the account's."""
    account, seq = account_of(request), seq_of(request, "w")
    found = await house_of(request).database.read(lambda db: outbox.get(db, seq))
    if found is None or found.account != account.name:
        raise NotFound(f"There is no webhook delivery w{seq} in the account {account.name}.")
    return seq


async def get_delivery(request: Request) -> Response:
    seq = await own_delivery(request)
    shape = await delivery_shape(house_of(request), seq)
    if shape is None:
        raise NotFound(f"There is no webhook delivery w{seq}.")
    return answer(shape)


async def act_on_delivery(request: Request, *, verb: str) -> Response:
    """`attempt`, `redeliver` and `cancel`."""
    control, seq = house_of(request).control, await own_delivery(request)
    given = Fields(await body_of(request))
    wait_s = None if verb == "cancel" else given.wait()
    given.done()
    match verb:
        case "attempt":
            done = await control.attempt(seq, wait_s=wait_s)
        case "redeliver":
            done = await control.redeliver(seq, wait_s=wait_s)
        case _:
            done = await control.cancel(seq)
    shape = await delivery_shape(house_of(request), done.seq)
    return answer(shape or shapes.delivery(done, ()), 201 if verb == "redeliver" else 200)


# Accounts ----------------------------------------------------------------------------------------------------------


async def list_accounts(request: Request) -> Response:
    given = query_of(request)
    given.done()
    found = house_of(request).accounts.all()
    return answer({"accounts": [shapes.account(each) for each in found], "next": None})


async def add_account(request: Request) -> Response:
    account = await house_of(request).control.add_account(account_from(await body_of(request)))
    return answer(shapes.account(account), 201)


def path_account(request: Request) -> Account:
    name = request.path_params["name"]
    account = house_of(request).accounts.get(name)
    if account is None:
        raise NotFound(f"There is no account {quote(name)}.")
    return account


async def get_account(request: Request) -> Response:
    return answer(shapes.account(path_account(request)))


async def patch_account(request: Request) -> Response:
    old, body = path_account(request), await body_of(request)
    if body.get("name", old.name) != old.name:
        raise Invalid(("name", "An account keeps its name. Add another account instead."))
    changes = {**body, "name": old.name}
    account = await house_of(request).control.change_account(
        old.name, lambda present: account_from(changes, defaults=present)
    )
    return answer(shapes.account(account))


async def delete_account(request: Request) -> Response:
    await house_of(request).control.remove_account(path_account(request).name)
    return Response(status_code=204)


# Clock, reset, events ----------------------------------------------------------------------------------------------


async def clock_shape(house: House) -> Shape:
    due = await house.database.read(lambda db: outbox.timers(db, limit=10))
    return {
        "now": to_iso(house.clock.now_ms()),
        "frozen": house.clock.frozen,
        "ahead_s": house.clock.ahead_ms / 1000,
        "due": [shapes.timer(each) for each in due],
    }


async def get_clock(request: Request) -> Response:
    return answer(await clock_shape(house_of(request)))


async def put_clock(request: Request) -> Response:
    house = house_of(request)
    given = Fields(await body_of(request))
    action = given.choice("action", ("freeze", "advance", "resume"))
    seconds = given.seconds("seconds", MAX_ADVANCE_S)
    if action is None:
        given.wrong("action", "action is missing or unknown. Send one of: freeze, advance, resume.")
    elif (action == "advance") is (seconds is None):
        given.wrong("seconds", "seconds goes with advance, and advance needs it.")
    given.done()
    moments = 0
    match action:
        case "freeze":
            await house.control.freeze()
        case "resume":
            await house.control.resume()
        case _:
            moments = await house.control.advance(round((seconds or 0) * 1000))
    return answer({**await clock_shape(house), "moments": moments})


async def reset(request: Request) -> Response:
    """Of one account if `?account=` or `scope` names it, else of all."""
    given = Fields(await body_of(request))
    scope = given.text("scope")
    given.done()
    name = request.query_params.get("account") or (None if scope in (None, "all") else scope)
    await house_of(request).control.reset(name)
    return answer({"reset": name or "all"})


class _Stream(StreamingResponse):
    """An event stream that is counted for as long as it is open, however it ends."""

    def __init__(self, listeners: live.Listeners, content: AsyncIterator[bytes], **more: Any) -> None:
        super().__init__(content, **more)
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._listeners.count += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners.count -= 1


async def stream(request: Request) -> Response:
    house, given = house_of(request), query_of(request)
    after = given.cursor("after")
    full = given.choice("view", ("full", "brief")) != "brief"
    given.done()
    last = request.headers.get("last-event-id", "")
    if last.isascii() and last.isdecimal() and len(last) < 19:
        after = int(last)
    account = account_of(request).name if "account" in request.query_params else None
    if house.listeners.count >= house.settings.max_event_streams:
        raise Busy(f"{house.settings.max_event_streams} event streams are open, which is the limit. Close one first.")
    return _Stream(
        house.listeners,
        live.events(house.database, house.bus, account=account, after=after, full=full),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def routes() -> Sequence[Route]:
    v1 = "/_sandbox/v1"
    handset, delivery, account = (
        f"{v1}/handsets/{{msisdn}}",
        f"{v1}/webhook-deliveries/{{id}}",
        f"{v1}/accounts/{{name}}",
    )
    return [
        Route(f"{v1}/messages", list_messages),
        Route(f"{v1}/messages/{{id}}", get_message),
        Route(f"{v1}/requests", list_requests),
        Route(f"{v1}/requests/{{id}}", get_request),
        Route(f"{v1}/handsets", list_handsets),
        Route(handset, get_handset),
        Route(handset, patch_handset, methods=["PATCH"]),
        Route(f"{handset}/reply", partial(text_from, new=False), methods=["POST"]),
        Route(f"{handset}/send", partial(text_from, new=True), methods=["POST"]),
        Route(f"{v1}/webhook-deliveries", list_deliveries),
        Route(delivery, get_delivery),
        *(
            Route(f"{delivery}/{verb}", partial(act_on_delivery, verb=verb), methods=["POST"])
            for verb in ("attempt", "redeliver", "cancel")
        ),
        Route(f"{v1}/accounts", list_accounts),
        Route(f"{v1}/accounts", add_account, methods=["POST"]),
        Route(account, get_account),
        Route(account, patch_account, methods=["PATCH"]),
        Route(account, delete_account, methods=["DELETE"]),
        Route(f"{v1}/clock", get_clock),
        Route(f"{v1}/clock", put_clock, methods=["PUT"]),
        Route(f"{v1}/reset", reset, methods=["POST"]),
        Route(f"{v1}/events", stream),
    ]
