"""The JSON of every object of the control API: that of the model's nouns is made in objects/from_model.py, the rest,
of what the store, the rules and the core know, here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sandbox.clock import Clock, to_iso
from sandbox.core.waits import Waited
from sandbox.model import EXPORTED, Fault, Timer
from sandbox.objects import accounts, messages, problems, scenarios, webhooks
from sandbox.objects.derive import Json, json_from, schema_of
from sandbox.objects.from_model import account as account
from sandbox.objects.from_model import attempt as attempt
from sandbox.objects.from_model import delivery as delivery
from sandbox.objects.from_model import handset as handset
from sandbox.objects.from_model import identifier, iso
from sandbox.objects.from_model import message as message
from sandbox.objects.from_model import request as request
from sandbox.objects.from_model import scenario as scenario
from sandbox.objects.schema import component, nullable, timestamp
from sandbox.scenario.steps import Cursor
from sandbox.store.scenarios import Run

if TYPE_CHECKING:  # which a start can do without
    from sandbox.rules.findings import Finding
    from sandbox.scenario.script import SourceError
    from sandbox.transfer.imports import Progress
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


def waited(it: Waited) -> Json:
    near_misses = [json_from(messages.NearMiss, each, message=message(each.message)) for each in it.near_misses]
    return json_from(messages.Waited, it, messages=list(map(message, it.messages)), near_misses=near_misses)


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
        ended_at=iso(it.ended_ms),
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
        webhook_delivery_id=identifier("w", it.delivery_seq),
    )


def error_in_source(it: "SourceError") -> Json:
    return json_from(problems.ArgumentError, it, field="source", line=it.line, column=it.column)


def report(it: "Report") -> Json:
    return json_from(webhooks.ReportObject, it)
