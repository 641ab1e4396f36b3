"""The JSON of the API objects, made of the nouns of model.py; secrets are masked here and nowhere later.

A field that is called as in the model is taken from there.
"""

import base64
from collections.abc import Sequence, Sized
from typing import Protocol

from sandbox.clock import to_iso
from sandbox.model import Account, Attempt, Direction, Handset, Message, RecordedRequest, WebhookDelivery
from sandbox.objects import accounts, messages, scenarios, webhooks
from sandbox.objects.derive import Json, json_from
from sandbox.settings import mask_url
from sandbox.wire.problems import mask


class Described(Protocol):
    """What a scenario's own words and parts are, however it was read."""

    @property
    def description(self) -> str: ...
    @property
    def steps(self) -> Sized: ...
    @property
    def rules(self) -> Sized: ...


def iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_iso(at_ms)


def identifier(letter: str, seq: int | None) -> str | None:
    return None if seq is None else f"{letter}{seq}"


def _text_and_base64(body: bytes) -> tuple[str, str | None]:
    """Bytes from the wire: as text if they are UTF-8, else as a readable likeness, with base64 beside it."""
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace"), base64.b64encode(body).decode()


def _headers(pairs: Sequence[tuple[str, str]]) -> Sequence[Json]:
    return [{"name": name, "value": value} for name, value in pairs]


def message(it: Message) -> Json:
    mt = it.direction is Direction.MT
    return json_from(
        messages.Message,
        it,
        from_=it.shortcode if mt else it.msisdn,
        to=it.msisdn if mt else it.shortcode,
        at=to_iso(it.at_ms),
        webhook_delivery_id=identifier("w", it.delivery_seq),
        request_id=f"r{it.seq}" if mt else None,
    )


def request(it: RecordedRequest) -> Json:
    body, body_base64 = _text_and_base64(it.body)
    answer, answer_base64 = _text_and_base64(it.answer)
    return json_from(
        messages.Request,
        it,
        at=to_iso(it.at_ms),
        message_id=f"m{it.seq}" if it.verdict == "accepted" else None,
        headers=_headers(it.headers),
        body=body,
        body_base64=body_base64,
        answer=answer,
        answer_base64=answer_base64,
    )


def attempt(it: Attempt) -> Json:
    outcome = it.outcome
    body, body_base64 = _text_and_base64(b"" if outcome is None else outcome.body)
    return json_from(
        webhooks.Attempt,
        it,
        offset_s=it.offset_ms / 1000,
        started_at=to_iso(it.started_ms),
        duration_ms=None if outcome is None else round(outcome.duration_ms, 3),
        outcome=None if outcome is None else outcome.kind,
        status_code=None if outcome is None else outcome.status_code,
        error=None if outcome is None else outcome.error or None,
        response_headers=[] if outcome is None else _headers(outcome.headers),
        response_body=body,
        response_body_base64=body_base64,
    )


def delivery(it: WebhookDelivery, attempts: Sequence[Attempt] | None = None) -> Json:
    """`attempts` is how many were begun, or if they are given, they themselves."""
    return json_from(
        webhooks.ListedWebhookDelivery if attempts is None else webhooks.WebhookDeliveryObject,
        it,
        message_id=f"m{it.message_seq}",
        url=mask_url(it.url),
        created_at=to_iso(it.created_ms),
        next_attempt_at=iso(it.next_attempt_ms),
        redelivery_of=identifier("w", it.redelivery_of),
        body=it.body.decode(),
        attempts=it.attempts if attempts is None else list(map(attempt, attempts)),
    )


def handset(it: Handset) -> Json:
    return json_from(accounts.HandsetObject, it, id=it.msisdn)


def account(it: Account) -> Json:
    client_url = None if it.client_url is None else mask_url(it.client_url)
    retry = list(it.retry_s)
    return json_from(accounts.AccountObject, it, id=it.name, token=mask(it.token), client_url=client_url, retry=retry)


def scenario(name: str, it: Described | None, *, own: bool, source: str | None = None) -> Json:
    """`it` is None for a source that can no longer be read; with `source` the file is among the keys."""
    said: Json = {
        "id": name,
        "name": name,
        "description": "" if it is None else it.description,
        "origin": "own" if own else "built-in",
        "steps": 0 if it is None else len(it.steps),
        "rules": 0 if it is None else len(it.rules),
    }
    if source is None:
        return json_from(scenarios.ScenarioObject, **said)
    return json_from(scenarios.ScenarioWithSource, **said, source=source)
