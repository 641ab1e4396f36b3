"""The objects of the control API, made of what the store and the rules know; secrets are masked here and nowhere later.

What each object has is said in sandbox/objects/: a field that is called as in the model is taken from there.
"""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sandbox.clock import Clock, to_iso
from sandbox.core.waits import Waited
from sandbox.model import (
    EXPORTED,
    Account,
    Attempt,
    Direction,
    Fault,
    Handset,
    Message,
    RecordedRequest,
    Timer,
    WebhookDelivery,
)
from sandbox.objects import accounts, messages, problems, scenarios, webhooks
from sandbox.objects.derive import Json, json_from, schema_of
from sandbox.objects.schema import component, nullable, timestamp
from sandbox.scenario.steps import Cursor, Scenario
from sandbox.settings import mask_url
from sandbox.store.scenarios import Run
from sandbox.wire.problems import mask

if TYPE_CHECKING:  # which a start can do without
    from sandbox.rules.findings import Finding
    from sandbox.scenario.script import SourceError
    from sandbox.transfer.rows import Progress
    from sandbox.webhooks.doctor import Report


# The schema of each object, and of the few answers that are none.
MESSAGE = schema_of(messages.Message)
WAITED = schema_of(messages.Waited)
REQUEST = schema_of(messages.Request)
DELIVERY = schema_of(webhooks.WebhookDeliveryObject)
LISTED_DELIVERY = schema_of(webhooks.ListedWebhookDelivery)
REPORT = schema_of(webhooks.ReportObject)
HANDSET = schema_of(accounts.HandsetObject)
ACCOUNT = schema_of(accounts.AccountObject)
CLOCK = schema_of(accounts.ClockObject)
MOVED_CLOCK = schema_of(accounts.MovedClock)
SCENARIO = schema_of(scenarios.ScenarioObject)
SCENARIO_WITH_SOURCE = schema_of(scenarios.ScenarioWithSource)
RUN = schema_of(scenarios.RunObject)
FAULT = schema_of(scenarios.Fault)
FINDING = schema_of(scenarios.Finding)
TEXTED = component(
    "Texted",
    "A handset's text, and its webhook delivery if the account has a client_url.",
    {"message": nullable(MESSAGE), "webhook_delivery": nullable(DELIVERY)},
)
PLANNED = component(
    "Planned",
    "A text that a handset sends later.",
    {"message": {"type": "null"}, "webhook_delivery": {"type": "null"}, "due_at": timestamp("When it is sent.")},
)


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_iso(at_ms)


def _id(letter: str, seq: int | None) -> str | None:
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
        webhook_delivery_id=_id("w", it.delivery_seq),
        request_id=f"r{it.seq}" if mt else None,
    )


def waited(it: Waited) -> Json:
    near_misses = [json_from(messages.NearMiss, each, message=message(each.message)) for each in it.near_misses]
    return json_from(messages.Waited, it, messages=list(map(message, it.messages)), near_misses=near_misses)


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
        next_attempt_at=_iso(it.next_attempt_ms),
        redelivery_of=_id("w", it.redelivery_of),
        body=it.body.decode(),
        attempts=it.attempts if attempts is None else list(map(attempt, attempts)),
    )


def handset(it: Handset) -> Json:
    return json_from(accounts.HandsetObject, it, id=it.msisdn)


def account(it: Account) -> Json:
    client_url = None if it.client_url is None else mask_url(it.client_url)
    retry = list(it.retry_s)
    return json_from(accounts.AccountObject, it, id=it.name, token=mask(it.token), client_url=client_url, retry=retry)


def clock(it: Clock, due: Sequence[Timer], moments: int | None = None) -> Json:
    """`due`: with the moments at which they may start; `moments`: on the way, if the clock was changed."""
    timers = [json_from(accounts.TimerObject, each, due_at=to_iso(each.due_ms)) for each in due]
    said = {"now": to_iso(it.now_ms()), "ahead_s": it.ahead_ms / 1000, "due": timers}
    if moments is None:
        return json_from(accounts.ClockObject, it, **said)
    return json_from(accounts.MovedClock, it, **said, moments=moments)


def imported(it: "Progress") -> Json:
    return {
        **{name: it.written[name] for name in EXPORTED},
        "already_there": {name: it.already_there[name] for name in EXPORTED},
        "left": {name: it.left[name] for name in EXPORTED},
        "lines": it.lines,
        "of_lines": it.of_lines,
    }


# Scenarios, faults and findings --------------------------------------------------------------------------------------


def scenario(name: str, it: Scenario | None, *, own: bool, source: str | None = None) -> Json:
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


def run(it: Run) -> Json:
    """A script's own state is that of its one cursor; a persona has a cursor for each handset."""
    first = it.cursors[0].cursor if it.is_script and it.cursors else Cursor()
    return json_from(
        scenarios.RunObject,
        it,
        step=first.step,
        named_state=first.named_state,
        saved=dict(first.saved),
        misses=[json_from(scenarios.Miss, each.miss, message_id=f"m{each.message_seq}") for each in it.misses],
        started_at=to_iso(it.started_ms),
        ended_at=_iso(it.ended_ms),
        cursors=[json_from(scenarios.CursorObject, each.cursor, msisdn=each.msisdn) for each in it.cursors],
    )


def fault(it: Fault) -> Json:
    return json_from(scenarios.Fault, it, effect=json_from(scenarios.FaultEffectObject, it.effect))


def finding(it: "Finding") -> Json:
    return json_from(
        scenarios.Finding,
        it,
        at=to_iso(it.at_ms),
        message_ids=[f"m{seq}" for seq in it.message_seqs],
        webhook_delivery_id=_id("w", it.delivery_seq),
    )


def error_in_source(it: "SourceError") -> Json:
    return json_from(problems.ArgumentError, it, field="source", line=it.line, column=it.column)


def report(it: "Report") -> Json:
    return json_from(webhooks.ReportObject, it)
