"""What people typed into a form, into values for a verb; errors are `Invalid`, by the name of the field.

Forms are urlencoded, never multipart. A page that complains shows again what was typed, so the typed text is kept.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from sandbox.errors import Invalid
from sandbox.http.access import read_body
from sandbox.http.request import services_of
from sandbox.model import (
    Account,
    Drop,
    FaultOn,
    HandsetState,
    Msisdn,
    Shortcode,
    TextRequest,
)
from sandbox.scenario import fault_spec
from sandbox.scenario.steps import ChangeHandset, MakeFault
from sandbox.values.fields import Fields, optional, required
from sandbox.values.kinds import MAX_TIME_S, PageCursor, Payload, Whole
from sandbox.wire.numbers import TELCOS
from sandbox.wire.problems import quote

MAX_FIELDS = 32
MAX_LABEL = 80


@dataclass(frozen=True, slots=True)
class Form:
    """A form as a page shows it: what was typed, and what is wrong with it. The empty form complains about nothing."""

    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, otherwise: str = "") -> str:
        return self.typed.get(name, otherwise)

    def error(self, name: str) -> str:
        return self.errors.get(name, "")


def with_errors(typed: Mapping[str, str], error: Invalid) -> Form:
    return Form(typed, dict(error.fields))


async def typed_by(request: Request) -> dict[str, str]:
    """The fields of an urlencoded body. Line ends are what an SMS knows: one line feed."""
    limit = services_of(request).settings.max_control_body
    body, over = await read_body(request.scope, request.receive, limit)
    if over:
        raise HTTPException(413, f"The form is larger than {limit} bytes.", {"Connection": "close"})
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise HTTPException(400, "The body is not a form that a browser would send.") from None
    return {name: value.replace("\r\n", "\n").replace("\r", "\n") for name, value in pairs}


def fields(typed: Mapping[str, str], *names: str) -> Fields:
    return Fields({name: typed[name] for name in names if name in typed})


def _bare(number: str) -> str:
    """A number without the blanks and signs with which people write it."""
    return re.sub(r"[\s()./-]", "", number)


def _own(given: Fields, account: Account, shortcode: Shortcode | None) -> None:
    if shortcode is not None and account.shortcodes and shortcode not in account.shortcodes:
        owned = ", ".join(account.shortcodes)
        given.wrong("shortcode", f"The shortcode {shortcode} is not one of the account's: {owned}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHandset:
    """What the form for a new handset asks for; the number may be one that is there already."""

    msisdn: Msisdn
    change: ChangeHandset  # what was typed; what was left as it came is no change
    shortcode: Shortcode  # that it talks to
    texting: TextRequest | None  # its first text


def to_add(typed: Mapping[str, str], account: Account, *, max_text: int) -> NewHandset:
    """Raises Invalid."""
    given = fields({**typed, "shortcode": _bare(typed.get("shortcode", ""))}, "label", "telco", "shortcode", "text")
    number = _bare(typed.get("number", ""))
    if not number:
        given.wrong("number", "A handset needs a number, for example 2348020000000.")
    msisdn = given.msisdn("number", number or None)
    label = (given.text("label", longest=MAX_LABEL) or "").strip()
    telco = given.choice("telco", TELCOS)
    shortcode = given.shortcode("shortcode", required=True)
    text = given.text("text", longest=max_text)
    _own(given, account, shortcode)
    given.done()
    assert msisdn is not None
    assert shortcode is not None
    texting = (
        TextRequest(account=account.name, msisdn=msisdn, text=text, shortcode=shortcode, new=True) if text else None
    )
    change = ChangeHandset(label=label or None, telco=telco)
    return NewHandset(msisdn=msisdn, change=change, shortcode=shortcode, texting=texting)


def to_session(typed: Mapping[str, str]) -> int | None:
    """The number of a message in the earlier session that was chosen, None if none was. Raises Invalid."""
    if typed.get("session") != "earlier":
        return None
    given = fields(typed, "earlier")
    chosen = given.take(required("earlier", PageCursor(), ""))
    given.done()
    return chosen


def to_text(
    typed: Mapping[str, str],
    account: Account,
    shortcode: Shortcode,
    msisdn: Msisdn,
    *,
    session_id: str | None = None,
    max_text: int,
) -> TextRequest:
    """A text typed in a conversation, or the one on the button that was pressed (`quick`): a reply in the last session
    or in `session_id`, or the start of a new one. Raises Invalid."""
    given = fields({**typed, "text": typed.get("quick") or typed.get("text", "")}, "text", "session")
    session = given.choice("session", ("last", "new", "earlier"))
    text = given.text("text", longest=max_text)
    if text is None and not typed.get("text") and not typed.get("quick"):
        given.wrong("text", "There is nothing to send yet. Type a text.")
    _own(given, account, shortcode)
    given.done()
    assert text is not None
    return TextRequest(
        account=account.name,
        msisdn=msisdn,
        text=text,
        shortcode=shortcode,
        session_id=session_id,
        new=session == "new",
    )


def to_redeliver(typed: Mapping[str, str]) -> tuple[bytes | None, int | None, int | None]:
    """The bytes to redeliver instead, None for the same ones, and the place in the conversation to go back to: before
    which number its page is, or around which. Raises Invalid."""
    given = fields(typed, "body", "before", "at")
    edited = given.take(optional("body", Payload(), empty=True))
    place = given.cursor("before"), given.cursor("at")
    given.done()
    return edited, *place


def to_change(typed: Mapping[str, str]) -> tuple[ChangeHandset, int | None, int | None]:
    """What a form changes of a handset, and the place to go back to, as above. Raises Invalid.

    A form sends all of its fields. One that still says what the page showed, `shown_label` or `shown_telco`, is no
    change: somebody else may have changed it meanwhile.
    """
    given = fields(typed, "label", "telco", "state", "before", "at")
    label = given.text("label", longest=MAX_LABEL)
    telco = given.choice("telco", TELCOS)
    state = given.choice("state", tuple(HandsetState))
    place = given.cursor("before"), given.cursor("at")
    given.done()
    change = ChangeHandset(
        label=(label or "").strip() if _is_typed(typed, "label") else None,
        telco=telco if _is_typed(typed, "telco") else None,
        state=HandsetState(state) if state else None,
    )
    return change, *place


def _is_typed(typed: Mapping[str, str], name: str) -> bool:
    return name in typed and typed[name] != typed.get(f"shown_{name}")


def to_advance(typed: Mapping[str, str], now_ms: int) -> int:
    """How far the clock is to be moved, in `_ms`: by `seconds`, or up to the moment `until`. Raises Invalid."""
    given = fields(typed, "seconds", "until")
    seconds = given.seconds("seconds", MAX_TIME_S)
    until_ms = given.take(optional("until", Whole(0, now_ms + MAX_TIME_S * 1000), ""))
    given.done()
    if until_ms is not None:
        return max(0, until_ms - now_ms)
    if not seconds:
        raise Invalid(("seconds", "How many seconds? Type a number above 0."))
    return round(seconds * 1000)


def to_page(typed: Mapping[str, str], root: str) -> str:
    """The page on which a button stood, as the link `here`: below the root path, on this server. Raises Invalid."""
    here = typed.get("here", "")
    if re.match(f"{re.escape(root)}/(?!/)", here) is None:
        raise Invalid(("here", f"here is {quote(here)}. The path of a page of this sandbox is wanted."))
    return here


def to_play(typed: Mapping[str, str]) -> Msisdn | None:
    """The handset that a scenario is to play; None is any. Raises Invalid."""
    given = Fields({})
    msisdn = given.msisdn("msisdn", _bare(typed.get("msisdn", "")) or None)
    given.done()
    return msisdn


EFFECTS = ("status", *Drop, "hold", "delay")
"""What a fault's form offers; a delay goes with any of them."""


def to_fault(typed: Mapping[str, str]) -> MakeFault:
    """The fault that a form asks for. Raises Invalid, with the names of the form's fields."""
    given = fields(typed, "on", "effect", "status", "delay", "times")
    on = given.choice("on", tuple(FaultOn)) or FaultOn.SENDSMS
    chosen = given.choice("effect", EFFECTS)
    status = given.take(fault_spec.STATUS)
    delay_s = given.seconds("delay", fault_spec.MOST_DELAY_S)
    times = given.take(fault_spec.TIMES)
    handset = given.msisdn("handset", _bare(typed.get("handset", "")) or None)
    if chosen == "status" and status is None:
        given.wrong("status", "Which status? Type one from 400 to 599.")
    if chosen == "delay" and not delay_s:
        given.wrong("delay", "How late? Type seconds above 0.")
    given.done()
    effect: dict[str, object] = {"delay_s": delay_s or 0}
    match chosen:
        case None | "status":
            effect["status"] = status
        case "hold":
            effect["hold"] = True
        case "delay":
            pass
        case drop:
            effect["drop"] = drop
    match = {} if handset is None else {"to" if on is FaultOn.SENDSMS else "from": handset}
    try:
        return fault_spec.fault_from({"on": on, "times": times, "match": match, "effect": effect})
    except Invalid as error:  # what fits together is known there
        raise Invalid(*((_FIELDS.get(name, "effect"), reason) for name, reason in error.fields)) from None


_FIELDS = {"on": "on", "times": "times", "effect.status": "status", "effect.delay_s": "delay"}


def known(value: str, choices: tuple[str, ...], what: str) -> str:
    """One of the choices that a page's own buttons send. Raises Invalid."""
    if value not in choices:
        raise Invalid((what, f"{what} is {quote(value)}. One of {', '.join(choices)} is wanted."))
    return value
