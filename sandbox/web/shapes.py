"""Model -> the JSON objects of the control API and the event stream: names, order and units that users depend on.

Identifiers are strings, times ISO 8601 in UTC, durations carry their unit. Secrets are masked here and nowhere later.
"""

import base64
from collections.abc import Sequence
from typing import Any

from sandbox.clock import to_iso
from sandbox.config import mask, mask_url
from sandbox.model import (
    Account,
    Attempt,
    Direction,
    Handset,
    Message,
    RecordedRequest,
    Timer,
    WebhookDelivery,
)

Shape = dict[str, Any]


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_iso(at_ms)


def text_or_base64(name: str, body: bytes) -> Shape:
    """Bytes from the wire: as text if they are UTF-8, else in base64 beside a readable likeness."""
    try:
        return {name: body.decode()}
    except UnicodeDecodeError:
        return {name: body.decode("utf-8", "replace"), f"{name}_base64": base64.b64encode(body).decode()}


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
        "next_attempt_at": _iso(it.next_attempt_ms),
        "redelivery_of": None if it.redelivery_of is None else f"w{it.redelivery_of}",
        "body": it.body.decode(),
        "attempts": it.attempts if attempts is None else [attempt(each) for each in attempts],
    }


def handset(it: Handset) -> Shape:
    return {
        "id": it.msisdn,
        "account": it.account,
        "msisdn": it.msisdn,
        "label": it.label,
        "telco": it.telco,
        "state": it.state,
    }


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


def timer(it: Timer) -> Shape:
    return {"due_at": to_iso(it.due_ms), "kind": it.kind, "account": it.account, "subject": it.subject}
