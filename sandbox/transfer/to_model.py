"""Objects of the control API read back from a file, strictly, and the nouns of the model that they describe.

Nothing that a file says is believed before it was checked: the sandbox's own limits hold, secrets are masked once more,
and no URL in it leads anywhere. Numbers are those of the file, and accounts are empty.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from sandbox import model
from sandbox.objects.accounts import HandsetObject
from sandbox.objects.derive import errors, from_json
from sandbox.objects.messages import Header, Message, Request
from sandbox.objects.scenarios import ScenarioWithSource
from sandbox.objects.webhooks import Attempt, WebhookDeliveryObject
from sandbox.settings import mask_url
from sandbox.store.scenarios import OwnScenario
from sandbox.wire.credentials import mask_authorization
from sandbox.wire.numbers import NumberFault, parse_msisdn, parse_shortcode
from sandbox.wire.problems import quote, strike_of
from sandbox.wire.requests import decode_json, is_instant
from sandbox.wire.text import measure

T = TypeVar("T")

MOST_LINE = 8 * 1024 * 1024  # bytes: a scenario of 1 MiB, with every letter escaped

NO_PLACE = "imported:"
"""Stands before the URL of an imported webhook delivery: it says where the bytes were posted, and nothing connects to
it. They belong to another sandbox's application."""

UNDER_WAY = "The attempt was under way when this was exported. Whether the application received it is not known."

_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})  # in headers
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_300_799_999  # the last moment that ISO 8601 can write
_PAYLOAD_KEYS = ("telco", "from", "to", "message", "session_id", "sent_date")  # whoever attempts it relies on them [D]


class InvalidLine(ValueError):
    """What is wrong with a line, and what would be accepted: a sentence for each error, in `args`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The sandbox's own limits, which hold for a file as well."""

    messages: int = 10_000  # refused calls the same
    text: int = 1_600  # characters
    body: int = 64 * 1024  # bytes of a call


def read(kind: type[T], value: Mapping[str, Any], limits: Limits) -> T:
    """The object of `kind` that JSON describes. Raises InvalidLine with every error."""
    if found := errors(kind, value):
        raise InvalidLine(*(f"{each.field} {each.message}" for each in found))
    it = from_json(kind, value)
    if broken := list(_broken(it, limits, "")):
        raise InvalidLine(*broken)
    return it


def masked(name: str, value: str) -> str:
    """A header's value as a file may hold it; what was masked already stays as it is."""
    return value if name.lower() not in _SECRET or value.endswith("…") else mask_authorization(value)


# What the schema of an object does not say -------------------------------------------------------------------------


class Constraint(NamedTuple):
    """What holds for a value that can be imported, and in words what would be accepted."""

    holds: Callable[[Any], object]
    wanted: str


def _is_moment(value: str) -> bool:
    try:
        return is_instant(value) and 0 <= _ms(value) <= _LATEST_MS
    except ValueError:  # a leap second
        return False


def _is_payload(value: str) -> bool:
    try:
        found = decode_json(value.encode())
        return all(isinstance(found[key], str) for key in _PAYLOAD_KEYS)
    except (ValueError, TypeError, LookupError):
        return False


def _is_base64(most: int, value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) <= most
    except ValueError:
        return False


_MOMENT = Constraint(_is_moment, "a moment such as 2024-01-02T23:50:37.000000Z")
_MSISDN = Constraint(lambda it: not isinstance(parse_msisdn(it), NumberFault), "a phone number in international form")
_SHORTCODE = Constraint(lambda it: not isinstance(parse_shortcode(it), NumberFault), "a shortcode of 3 to 15 digits")
_NAME = Constraint(
    re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}").fullmatch, "1 to 64 of: a-z, 0-9, point, hyphen, underscore"
)
_HEADER_NAME = Constraint(re.compile(r"[^\s:\x00-\x1f]{1,255}").fullmatch, "the name of a header")
_URL = Constraint(re.compile(r"https?://").match, "an address that begins with http:// or https://")
_MT_STATE = Constraint(("accepted", "arrived").__contains__, "one of accepted, arrived")
_PAYLOAD = Constraint(_is_payload, "the JSON of a two-way SMS as a string")
_STATUS = Constraint(lambda it: it is not None and 100 <= it <= 599, "a whole number from 100 to 599")
_NULL = Constraint(lambda it: it is None, "null where nothing was answered")


def _text(most: int, least: int = 0) -> Constraint:
    return Constraint(lambda it: it is None or least <= len(it) <= most, f"a string of {least} to {most} characters")


def _within(least: float, most: float) -> Constraint:
    return Constraint(lambda it: it is None or least <= it <= most, f"a number from {least:g} to {most:g}")


def _bytes(most: int) -> Constraint:
    return Constraint(lambda it: len(it.encode()) <= most, f"a string of at most {most} bytes")


def _body(it: object, name: str, most: int) -> Mapping[str, Constraint]:
    """A body from the wire, which is exactly what stands beside it in base64, if anything does."""
    in_base64 = f"{name}_base64"
    if getattr(it, in_base64) is None:
        return {name: _bytes(most)}
    return {in_base64: Constraint(partial(_is_base64, most), f"base64 of at most {most} bytes")}


def _rules(it: object, limits: Limits) -> Mapping[str, Constraint]:
    """What holds for the attributes of an object."""
    match it:
        case HandsetObject():
            return {"msisdn": _MSISDN, "label": _text(80), "telco": _text(40, 1)}
        case ScenarioWithSource():
            return {"name": _NAME}
        case Message(direction="mt"):
            return {"from_": _SHORTCODE, "to": _MSISDN, "state": _MT_STATE} | _message_rules(limits)
        case Message():
            return {"from_": _MSISDN, "to": _SHORTCODE} | _message_rules(limits)
        case Request():
            sizes = {**_body(it, "body", limits.body), **_body(it, "answer", MOST_LINE)}
            # 0: a fault let nothing be answered
            return {"at": _MOMENT, "status_code": _within(0, 599), "client": _text(255), **sizes}
        case Header():
            return {"name": _HEADER_NAME, "value": Constraint(lambda it: "\n" not in it, "without a line break")}
        case WebhookDeliveryObject():
            body = _bytes(model.MAX_PAYLOAD) if it.edited else _PAYLOAD
            return {"url": _URL, "created_at": _MOMENT, "body": body}
        case Attempt():
            return {
                "started_at": _MOMENT,
                "offset_s": _within(0, 1e10),
                "duration_ms": _within(0, 1e12),
                "status_code": _STATUS if it.outcome == model.OutcomeKind.ANSWERED else _NULL,
                **_body(it, "response_body", model.ANSWER_KEPT),
            }
        case _:
            return {}


def _message_rules(limits: Limits) -> dict[str, Constraint]:
    opaque = {"session_id": _text(model.MAX_OPAQUE, 1), "ref_id": _text(model.MAX_OPAQUE)}
    return {"text": _text(limits.text), "at": _MOMENT, "telco": _text(40, 1), **opaque}


def _broken(it: object, limits: Limits, at: str) -> Iterator[str]:
    """Every rule that an object, or a part of it, breaks."""
    for name, (holds, wanted) in _rules(it, limits).items():
        value = getattr(it, name)
        if not holds(value):
            yield f"{at}{name.rstrip('_')} is {quote(value)}. It has to be {wanted}."
    for name in ("headers", "attempts"):
        for number, each in enumerate(getattr(it, name, ())):
            yield from _broken(each, limits, f"{at}{name}[{number}].")


# Nouns ---------------------------------------------------------------------------------------------------------------


def _ms(instant: str) -> int:
    return (datetime.fromisoformat(instant.upper()) - _EPOCH) // timedelta(milliseconds=1)


def _seq(identifier: str | None) -> int | None:
    return None if identifier is None else int(identifier[1:])


def _bytes_of(text: str, in_base64: str | None) -> bytes:
    return text.encode() if in_base64 is None else base64.b64decode(in_base64)


def _headers(given: tuple[Header, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((each.name, masked(each.name, each.value)) for each in given)


def _noun(kind: type[T], it: object, /, **given: object) -> T:
    """What is given, and else the attributes of the API object that are called as in the model."""
    same = (each.name for each in fields(cast(Any, kind)) if each.name not in given and hasattr(it, each.name))
    return kind(**{name: getattr(it, name) for name in same}, **given)


def handset(it: HandsetObject) -> model.Handset:
    return _noun(model.Handset, it, account="", msisdn=parse_msisdn(it.msisdn), state=model.HandsetState(it.state))


def scenario(it: ScenarioWithSource) -> OwnScenario:
    """Raises InvalidLine if its source cannot be read."""
    from sandbox.scenario import script  # brings a YAML parser along, which few files need

    found = script.read(it.source, name=f"{it.name}.yaml")
    if isinstance(found, tuple):
        raise InvalidLine(f"The scenario cannot be read: {found[0]}")
    return OwnScenario(account="", name=it.name, source=it.source, changed_ms=0)


def message(it: Message) -> model.Message:
    """One that has webhook deliveries learns of them later. Encoding and segments follow from its text."""
    is_mt, measured = it.direction == model.Direction.MT, measure(it.text)
    return _noun(
        model.Message,
        it,
        seq=_seq(it.id),
        account="",
        direction=model.Direction(it.direction),
        msisdn=parse_msisdn(it.handset),
        at_ms=_ms(it.at),
        encoding=measured.encoding,
        segments=measured.segments,
        state=model.MessageState(it.state) if is_mt else model.MessageState.UNROUTED,
        delivery_seq=None if is_mt else _seq(it.webhook_delivery_id),
    )


def request(it: Request) -> model.RecordedRequest:
    return _noun(
        model.RecordedRequest,
        it,
        seq=_seq(it.id),
        account=None,
        at_ms=_ms(it.at),
        headers=_headers(it.headers),
        body=_bytes_of(it.body, it.body_base64),
        answer=_bytes_of(it.answer, it.answer_base64),
        problems=tuple(_noun(model.Problem, each) for each in it.problems),
    )


def delivery(it: WebhookDeliveryObject, of: model.Message) -> model.WebhookDelivery:
    """Without its attempts. What is open is cancelled: it is owed by another sandbox."""
    state = model.DeliveryState(it.state)
    return model.WebhookDelivery(
        seq=int(it.id[1:]),
        message_seq=of.seq,
        account="",
        msisdn=of.msisdn,
        shortcode=of.shortcode,
        url=NO_PLACE + mask_url(it.url),
        body=it.body.encode(),
        state=model.DeliveryState.CANCELLED if state.open else state,
        created_ms=_ms(it.created_at),
        redelivery_of=_seq(it.redelivery_of),
        edited=it.edited,
    )


def attempted(it: model.WebhookDelivery, attempts: Sequence[model.Attempt]) -> model.WebhookDelivery:
    """A webhook delivery as its attempts left it: they tell the retries, and since when it failed if it did."""
    if not attempts:
        return it
    scheduled = [each for each in attempts if each.trigger is model.Trigger.SCHEDULED]
    failed_ms = max(0, attempts[-1].started_ms - attempts[-1].offset_ms)
    return replace(
        it,
        attempts=len(attempts),
        retries_used=max(0, len(scheduled) - 1),
        first_failed_ms=None if it.state is model.DeliveryState.DELIVERED else failed_ms,
    )


def attempt(it: Attempt, delivery_seq: int) -> model.Attempt:
    """One that was under way when it was exported counts as interrupted."""
    outcome = model.Outcome(kind=model.OutcomeKind.INTERRUPTED, duration_ms=0, error=UNDER_WAY)
    if it.outcome is not None:
        fault_seq, withheld = strike_of((*it.warnings, it.error or ""))
        outcome = _noun(
            model.Outcome,
            it,
            kind=model.OutcomeKind(it.outcome),
            duration_ms=it.duration_ms or 0,
            headers=_headers(it.response_headers),
            body=_bytes_of(it.response_body, it.response_body_base64),
            error=it.error or "",
            fault_seq=fault_seq,
            withheld=withheld,
        )
    return _noun(
        model.Attempt,
        it,
        delivery_seq=delivery_seq,
        trigger=model.Trigger(it.trigger),
        started_ms=_ms(it.started_at),
        offset_ms=round(it.offset_s * 1000),
        outcome=outcome,
    )
