"""Model -> the JSON objects of the control API and the event stream: names, order and units that users depend on.

Identifiers are strings, times ISO 8601 in UTC, durations carry their unit. Secrets are masked here and nowhere later.
The schema of an object stands below the function that makes it; tests hold real answers against it.
"""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sandbox.clock import Clock, to_iso
from sandbox.core.waits import Waited
from sandbox.http.schema import (
    Schema,
    array,
    choice,
    flag,
    mapping,
    moment,
    nullable,
    number,
    record,
    seldom,
    text,
    thing,
    whole,
)
from sandbox.model import (
    EXPORTED,
    Account,
    Attempt,
    CallbackAuth,
    DeliveryState,
    Direction,
    Encoding,
    Handset,
    HandsetState,
    Message,
    MessageState,
    MsisdnFormat,
    Order,
    OutcomeKind,
    RecordedRequest,
    Timer,
    TimerKind,
    Trigger,
    WebhookDelivery,
)
from sandbox.settings import RETRY_PRESETS, mask_url
from sandbox.wire.problems import mask

if TYPE_CHECKING:  # which a start can do without
    from sandbox.transfer.rows import Progress

Shape = dict[str, Any]


def iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_iso(at_ms)


def text_or_base64(name: str, body: bytes) -> Shape:
    """Bytes from the wire: as text if they are UTF-8, else in base64 beside a readable likeness."""
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {name: body.decode("utf-8", "replace"), f"{name}_base64": base64.b64encode(body).decode()}


def bytes_schema(name: str, description: str, example: str) -> dict[str, Schema]:
    """The properties that `text_or_base64` makes; the second is there if the bytes are not UTF-8."""
    return {
        name: text(description, example),
        f"{name}_base64": text("The same bytes exactly, where they are not UTF-8.", contentEncoding="base64"),
    }


def identifier(letter: str, what: str) -> Schema:
    return text(what, f"{letter}12", pattern=f"^{letter}[0-9]+$")


SEQ = whole("Its number, which grows with everything that happens.", 12)
ACCOUNT_NAME = text("The account that it belongs to.", "default")
_WARNINGS = array(text(), "What is accepted, but would better be otherwise.")
_HEADERS = array(record({"name": text(example="content-type"), "value": text(example="application/json")}))


def message(it: Message) -> Shape:
    mt = it.direction is Direction.MT
    return {
        "id": it.id,
        "seq": it.seq,
        "account": it.account,
        "direction": it.direction,
        "from": it.shortcode if mt else it.msisdn,
        "to": it.msisdn if mt else it.shortcode,
        "text": it.text,
        "session_id": it.session_id,
        "ref_id": it.ref_id,
        "sent_date": it.sent_date,
        "at": to_iso(it.at_ms),
        "telco": it.telco,
        "encoding": it.encoding,
        "segments": it.segments,
        "state": it.state,
        "webhook_delivery_id": None if it.delivery_seq is None else f"w{it.delivery_seq}",
        "request_id": f"r{it.seq}" if mt else None,
        "extra": dict(it.extra),
        "warnings": list(it.warnings),
    }


# A routed message has the state of its latest webhook delivery.
MESSAGE_STATES = (*(str(each) for each in MessageState if each is not MessageState.ROUTED), *map(str, DeliveryState))
MESSAGE = thing(
    "Message",
    "One SMS: `mt` from the application to a handset, or `mo` from a handset to the application.",
    {
        "id": identifier("m", "The message."),
        "seq": SEQ,
        "account": ACCOUNT_NAME,
        "direction": choice(Direction),
        "from": text("Shortcode of an MT message, MSISDN of an MO message.", "48974"),
        "to": text("MSISDN of an MT message, shortcode of an MO message; digits alone.", "2348020000000"),
        "text": text(example="When was the last time you went to the cinema?"),
        "session_id": text("Ties the messages of one dialogue together.", "67543uhn3"),
        "ref_id": seldom(text("As the application gave it, in the later revision.")),
        "sent_date": text("MT: as the application wrote it; MO: when it was sent.", "2024-01-02T23:50:37.000000Z"),
        "at": moment("When the sandbox got it."),
        "telco": text("Operator of the handset.", "mtn"),
        "encoding": choice(Encoding),
        "segments": whole("How many SMS it takes.", 1, minimum=1),
        "state": choice(
            MESSAGE_STATES,
            "MT: accepted or arrived; MO: unrouted, or the state of its latest webhook delivery.",
            "arrived",
        ),
        "webhook_delivery_id": seldom(identifier("w", "MO: its latest webhook delivery.")),
        "request_id": nullable(identifier("r", "MT: the call that it came in.")),
        "extra": mapping(True, "MT: keys that the contract does not know."),
        "warnings": _WARNINGS,
    },
)


def waited(it: Waited) -> Shape:
    return {
        "satisfied": it.satisfied,
        "messages": [message(each) for each in it.messages],
        "near_misses": [
            {"message": message(near.message), "differences": [each._asdict() for each in near.differences]}
            for near in it.near_misses
        ],
        "seq": it.seq,
    }


DIFFERENCE = record(
    {
        "field": text("What of it is different.", "text"),
        "wanted": text(example="*cinema?*"),
        "found": text(example="Which film?"),
    }
)
WAITED = thing(
    "Waited",
    "What came of waiting or verifying.",
    {
        "satisfied": flag("Whether as many messages match as should.", True),
        "messages": array(MESSAGE, "Those that match, the oldest first."),
        "near_misses": array(
            record({"message": MESSAGE, "differences": array(DIFFERENCE)}),
            "If not satisfied: the messages that come closest, and in what they differ.",
        ),
        "seq": whole("Everything up to this number was looked at; another wait may go on `after` it.", 12),
    },
)


def request(it: RecordedRequest) -> Shape:
    return {
        "id": it.id,
        "seq": it.seq,
        "account": it.account,
        "at": to_iso(it.at_ms),
        "verdict": it.verdict,
        "status_code": it.status_code,
        "method": it.method,
        "path": it.path,
        "client": it.client,
        "problems": [
            {"field": each.field, "code": each.code, "message": each.message, "hint": each.hint} for each in it.problems
        ],
        "warnings": list(it.warnings),
        "message_id": f"m{it.seq}" if it.verdict == "accepted" else None,
        "headers": [{"name": name, "value": value} for name, value in it.headers],
        **text_or_base64("body", it.body),
        **text_or_base64("answer", it.answer),
    }


_PROBLEM_OF_CALL = record(
    {
        "field": nullable(text("Null: the call as a whole.")),
        "code": text("Stable, for machines.", "missing"),
        "message": text("What was wrong, in words."),
        "hint": text("What would be accepted."),
    }
)
REQUEST = thing(
    "Request",
    "One call to the gateway, accepted or refused.",
    {
        "id": identifier("r", "The call."),
        "seq": SEQ,
        "account": nullable(text("The account whose token it carried; null if no account owns the token.", "default")),
        "at": moment(),
        "verdict": choice(("accepted", "refused")),
        "status_code": whole("The status that it was answered with; 0: a fault took the answer.", 200),
        "method": text(example="POST"),
        "path": text(example="/ng/v1/sendsms"),
        "client": text("Address of the caller.", "127.0.0.1"),
        "problems": array(_PROBLEM_OF_CALL, "Everything that was wrong with it."),
        "warnings": _WARNINGS,
        "message_id": nullable(identifier("m", "The message that came of it, if it was accepted.")),
        "headers": {**_HEADERS, "description": "Secrets are masked."},
        **bytes_schema("body", "As it came.", "{}"),
        **bytes_schema("answer", "As it was given.", "{}"),
    },
    optional=("body_base64", "answer_base64"),
)


def attempt(it: Attempt) -> Shape:
    outcome = it.outcome
    return {
        "number": it.number,
        "trigger": it.trigger,
        "offset_s": it.offset_ms / 1000,
        "started_at": to_iso(it.started_ms),
        "duration_ms": None if outcome is None else round(outcome.duration_ms, 3),
        "outcome": None if outcome is None else outcome.kind,
        "status_code": None if outcome is None else outcome.status_code,
        "error": None if outcome is None else outcome.error or None,
        "response_headers": []
        if outcome is None
        else [{"name": name, "value": value} for name, value in outcome.headers],
        **text_or_base64("response_body", b"" if outcome is None else outcome.body),
        "warnings": list(it.warnings),
    }


ATTEMPT = thing(
    "Attempt",
    "One POST of a webhook delivery.",
    {
        "number": whole(example=1, minimum=1),
        "trigger": choice(Trigger),
        "offset_s": number("Seconds since the first failure; 0 for the attempts before it.", 0),
        "started_at": moment(),
        "duration_ms": nullable(number("Real milliseconds. Null, like what follows, while it is under way.", 12.5)),
        "outcome": nullable(choice(OutcomeKind)),
        "status_code": nullable(whole("Of the application's answer.", 200)),
        "error": seldom(text("What went wrong, in words.")),
        "response_headers": _HEADERS,
        **bytes_schema("response_body", "The first 16 KiB of the application's answer.", "{}"),
        "warnings": _WARNINGS,
    },
    optional=("response_body_base64",),
)


def delivery(it: WebhookDelivery, attempts: Sequence[Attempt] | None = None) -> Shape:
    """`attempts` is how many were begun, or if they are given, they themselves."""
    return {
        "id": it.id,
        "seq": it.seq,
        "account": it.account,
        "message_id": f"m{it.message_seq}",
        "url": mask_url(it.url),
        "state": it.state,
        "created_at": to_iso(it.created_ms),
        "next_attempt_at": iso(it.next_attempt_ms),
        "redelivery_of": None if it.redelivery_of is None else f"w{it.redelivery_of}",
        "edited": it.edited,
        "body": it.body.decode(),
        "attempts": it.attempts if attempts is None else [attempt(each) for each in attempts],
    }


_DELIVERY = {
    "id": identifier("w", "The webhook delivery."),
    "seq": SEQ,
    "account": ACCOUNT_NAME,
    "message_id": identifier("m", "The message that it carries."),
    "url": text("Where it is posted; user, password and query are masked.", "http://127.0.0.1:8000/sms"),
    "state": choice(DeliveryState, example="delivered"),
    "created_at": moment(),
    "next_attempt_at": seldom(moment("When it is tried next; null if that is not planned.")),
    "redelivery_of": seldom(identifier("w", "The webhook delivery whose bytes it repeats.")),
    "edited": flag("Whether somebody wrote the body anew for this redelivery, or for the one that it repeats."),
    "body": text("What is posted, byte for byte, by every attempt.", "{}"),
}
DELIVERY = thing(
    "WebhookDelivery",
    "One payload owed to the application, with its attempts.",
    {**_DELIVERY, "attempts": array(ATTEMPT, "The first one first.")},
)
LISTED_DELIVERY = thing(
    "ListedWebhookDelivery",
    "One payload owed to the application, as it stands in a list.",
    {**_DELIVERY, "attempts": whole("How many were begun.", 1, minimum=0)},
)


_TEXTED = {"message": nullable(MESSAGE), "webhook_delivery": nullable(DELIVERY)}
TEXTED = thing("Texted", "A handset's text, and its webhook delivery if the account has a client_url.", _TEXTED)
PLANNED = thing(
    "Planned",
    "A text that a handset sends later.",
    {"message": {"type": "null"}, "webhook_delivery": {"type": "null"}, "due_at": moment("When it is sent.")},
)


def handset(it: Handset) -> Shape:
    return {
        "id": it.msisdn,
        "account": it.account,
        "msisdn": it.msisdn,
        "label": it.label,
        "telco": it.telco,
        "state": it.state,
    }


HANDSET = thing(
    "Handset",
    "One handset. Every number has one; it need not be made.",
    {
        "id": text("Its number.", "2348020000000"),
        "account": ACCOUNT_NAME,
        "msisdn": text("Its number, digits alone.", "2348020000000"),
        "label": text("A name for people; empty without one.", ""),
        "telco": text("Its operator.", "mtn"),
        "state": choice(HandsetState, "Messages wait for a handset that is off, and it sends nothing."),
    },
)


def account(it: Account) -> Shape:
    return {
        "id": it.name,
        "name": it.name,
        "token": mask(it.token),
        "shortcodes": list(it.shortcodes),
        "client_url": None if it.client_url is None else mask_url(it.client_url),
        "callback_auth": it.callback_auth,
        "msisdn_format": it.msisdn_format,
        "revision": it.revision,
        "strict": it.strict,
        "success_body": it.success_body,
        "retry": list(it.retry_s),
        "order": it.order,
    }


ACCOUNT = thing(
    "Account",
    "The unit of isolation: a token, its shortcodes, where replies go, and everything recorded under its name.",
    {
        "id": text(example="default"),
        "name": text(example="default"),
        "token": text("Its API token, masked.", "sand…"),
        "shortcodes": array(text(), "Those it may send from; none means any."),
        "client_url": seldom(text("Where replies are posted; user, password and query are masked.")),
        "callback_auth": choice(CallbackAuth),
        "msisdn_format": choice(MsisdnFormat),
        "revision": choice(("2024", "2025")),
        "strict": flag("Whether a message needs session_id and sent_date.", True),
        "success_body": seldom(text("JSON that an accepted message is answered with, with {placeholders}.")),
        "retry": {
            **array(whole(), "Offsets of the retries, in seconds after the first failure."),
            "examples": [list(RETRY_PRESETS["documented"])],
        },
        "order": choice(Order),
    },
)


def timer(it: Timer) -> Shape:
    return {"due_at": to_iso(it.due_ms), "kind": it.kind, "account": it.account, "subject": it.subject}


TIMER = thing(
    "Timer",
    "Something that is due later.",
    {
        "due_at": moment(),
        "kind": choice(TimerKind),
        "account": ACCOUNT_NAME,
        "subject": whole("The number of what it is about.", 15),
    },
)


def clock(it: Clock, due: Sequence[Timer]) -> Shape:
    """`due`: with the moments at which they may start."""
    return {
        "now": to_iso(it.now_ms()),
        "frozen": it.frozen,
        "ahead_s": it.ahead_ms / 1000,
        "due": [timer(each) for each in due],
    }


_CLOCK = {
    "now": moment(),
    "frozen": flag("Whether it stands still until it is advanced.", True),
    "ahead_s": number("How far it is ahead of the system's clock; negative if it is behind.", 0),
    "due": array(TIMER, "What is due next, of all accounts; ten at most."),
}
CLOCK = thing("Clock", "The sandbox's time.", _CLOCK)
MOVED_CLOCK = thing(
    "MovedClock",
    "The sandbox's time, after it was changed.",
    {**_CLOCK, "moments": whole("At how many moments something came due on the way.", 9)},
)


# What is not made of the model: errors, and the answer of the probes.


def imported(it: "Progress") -> Shape:
    return {
        **{name: it.written[name] for name in EXPORTED},
        "already_there": {name: it.already_there[name] for name in EXPORTED},
        "left": {name: it.left[name] for name in EXPORTED},
        "lines": it.lines,
        "of_lines": it.of_lines,
    }


_COUNTS = record({name: whole(example=0, minimum=0) for name in EXPORTED})
IMPORTED = thing(
    "Imported",
    "How far an import came: how much of each was written, was there already, and is left.",
    {
        **{name: whole("How many were written.", 0, minimum=0) for name in EXPORTED},
        "already_there": {**_COUNTS, "description": "How many the account had before; they were left alone."},
        "left": {**_COUNTS, "description": "How many come after the line where it stopped; 0 when it is done."},
        "lines": whole("The file is in up to this line, counted from 1.", 3, minimum=0),
        "of_lines": whole("How many lines the file has, without blank ones at its end.", 3, minimum=0),
    },
)
PROBLEM = thing(
    "Problem",
    "RFC 9457 problem details.",
    {
        "title": text(example="The call is invalid"),
        "status": whole(example=400),
        "detail": text("What happened, and what to do about it.", "limit: limit has to be a whole number …"),
        "errors": array(
            record(
                {
                    "field": text("The argument; `match.pattern` is one in an object.", "limit"),
                    "message": text("What was wrong, and what would be accepted."),
                    "line": whole("Where it stands in a scenario's source, from 1."),
                    "column": whole("From 1."),
                },
                optional=("line", "column"),
            ),
            "Every argument that was wrong.",
        ),
        "imported": IMPORTED,
    },
    optional=("errors", "imported"),
)
FAILURE = thing(
    "Failure",
    "What the gateway answers to a call that it refuses.",
    {
        "status_code": whole(example=400),
        "message": text(example="2 fields are invalid"),
        "errors": array(_PROBLEM_OF_CALL),
    },
)
STATUS = record({"status": choice(("ok",))})
