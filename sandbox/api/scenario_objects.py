"""Scenarios, runs, faults and findings -> the JSON objects of the control API, each above its schema.

As in objects.py, which has the objects that messages and webhooks are made of.
"""

from typing import TYPE_CHECKING

from sandbox.api.objects import ACCOUNT_NAME, DIFFERENCE, SEQ, Shape, identifier, iso
from sandbox.clock import to_iso
from sandbox.http.schema import (
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
from sandbox.model import Drop, Fault, FaultOn, RunState
from sandbox.scenario.steps import Cursor, Scenario
from sandbox.store.scenarios import Run

if TYPE_CHECKING:  # which a start can do without
    from sandbox.rules.findings import Finding
    from sandbox.scenario.script import Complaint
    from sandbox.webhooks.doctor import Report


def scenario(name: str, it: Scenario | None, *, own: bool) -> Shape:
    """`it` is None for a source that can no longer be read."""
    return {
        "id": name,
        "name": name,
        "description": "" if it is None else it.description,
        "origin": "own" if own else "built-in",
        "steps": 0 if it is None else len(it.steps),
        "rules": 0 if it is None else len(it.rules),
    }


_SCENARIO = {
    "id": text("Its name.", "happy-survey"),
    "name": text(example="happy-survey"),
    "description": text("For people.", "Answers a survey."),
    "origin": choice(("built-in", "own")),
    "steps": whole("Of a script, which is followed once.", 4, minimum=0),
    "rules": whole("Of a persona, which reacts for ever.", 0, minimum=0),
}
SCENARIO = thing("Scenario", "How a handset reacts by itself.", _SCENARIO)
SCENARIO_WITH_SOURCE = thing(
    "ScenarioWithSource",
    "How a handset reacts by itself, with its file.",
    {**_SCENARIO, "source": text("YAML.", "scenario: happy-survey\n…")},
)


def complaint(it: "Complaint") -> Shape:
    return {"field": "source", "message": it.message, "line": it.line, "column": it.column}


def run(it: Run) -> Shape:
    """A script's own state is that of its one cursor; a persona has a cursor for each handset."""
    first = it.cursors[0].cursor if it.is_script and it.cursors else Cursor()
    return {
        "id": it.id,
        "seq": it.seq,
        "account": it.account,
        "scenario": it.scenario,
        "msisdn": it.msisdn,
        "state": it.state,
        "step": first.step,
        "steps": it.steps,
        "named_state": first.named_state,
        "saved": dict(first.saved),
        "reason": it.reason,
        "misses": [
            {
                "message_id": f"m{each.message_seq}",
                "about": each.miss.about,
                "differences": [difference._asdict() for difference in each.miss.differences],
            }
            for each in it.misses
        ],
        "started_at": to_iso(it.started_ms),
        "ended_at": iso(it.ended_ms),
        "cursors": [
            {
                "msisdn": each.msisdn,
                "state": each.cursor.state,
                "step": each.cursor.step,
                "named_state": each.cursor.named_state,
                "saved": dict(each.cursor.saved),
                "session_id": each.cursor.session_id,
                "paused": each.cursor.paused,
            }
            for each in it.cursors
        ],
    }


_STANDS = {
    "state": choice(RunState, "Running, or how it ended."),
    "step": whole("Index of the step whose turn it is; `steps` when all are done.", 1, minimum=0),
    "named_state": text("As its rules and steps name it.", "start"),
    "saved": mapping(text(), "What was kept of messages, by name."),
}
RUN = thing(
    "Run",
    "A scenario that is or was played.",
    {
        "id": identifier("s", "The run."),
        "seq": SEQ,
        "account": ACCOUNT_NAME,
        "scenario": text("Its name.", "happy-survey"),
        "msisdn": nullable(text("The handset that it plays; null: any, or none yet.", "2348020000000")),
        **_STANDS,
        "steps": whole("How many there are; 0 is a persona.", 4, minimum=0),
        "reason": text("Why it failed, in words; else empty.", ""),
        "misses": array(
            record(
                {
                    "message_id": identifier("m", "The message that did not fit."),
                    "about": text("The step or rule that it came closest to.", "step 2"),
                    "differences": array(DIFFERENCE),
                }
            ),
            "Messages that it did not know what to do with, the newest first.",
        ),
        "started_at": moment(),
        "ended_at": seldom(moment("Null while it is running.")),
        "cursors": array(
            record(
                {
                    "msisdn": nullable(text("Null: it has no handset yet.", "2348020000000")),
                    **_STANDS,
                    "session_id": nullable(text("Of the last message that fitted.", "67543uhn3")),
                    "paused": text("Why it reacts to nothing for now, in words; else empty.", ""),
                }
            ),
            "Where it stands, for each handset; those that moved last, the latest first.",
        ),
    },
)


def fault(it: Fault) -> Shape:
    return {
        "id": it.id,
        "account": it.account,
        "on": it.on,
        "match": dict(it.match),
        "times": it.times,
        "used": it.used,
        "left": it.left,
        "effect": {
            "status": it.effect.status,
            "body": it.effect.body,
            "delay_s": it.effect.delay_s,
            "drop": it.effect.drop,
            "hold": it.effect.hold,
        },
    }


FAULT = thing(
    "Fault",
    "A failure that someone asked for.",
    {
        "id": identifier("f", "The fault."),
        "account": ACCOUNT_NAME,
        "on": choice(FaultOn),
        "match": mapping(True, "Which calls it strikes; empty: every one.", {"to": "2348020000000"}),
        "times": nullable(whole("How many calls; null: until it is removed.", 2)),
        "used": whole("How many it struck.", 0, minimum=0),
        "left": nullable(whole("How many it still strikes; null: until it is removed.", 2, minimum=0)),
        "effect": record(
            {
                "status": nullable(whole("The status that is answered instead.", 503)),
                "body": seldom(text("The body of that answer.")),
                "delay_s": number("Real seconds before a call is answered, or a webhook posted.", 0),
                "drop": seldom(choice(Drop, "Where the connection ends.")),
                "hold": flag("Whether no answer comes at all."),
            }
        ),
    },
)


def finding(it: "Finding") -> Shape:
    return {
        "code": it.code,
        "message": it.message,
        "hint": it.hint,
        "at": to_iso(it.at_ms),
        "message_ids": [f"m{seq}" for seq in it.message_seqs],
        "webhook_delivery_id": None if it.delivery_seq is None else f"w{it.delivery_seq}",
    }


FINDING = thing(
    "Finding",
    "Something in the record of an application that is worth a look.",
    {
        "code": text("Stable, for machines.", "follow_up_twice"),
        "message": text("What the record shows."),
        "hint": text("What to do about it."),
        "at": moment(),
        "message_ids": array(identifier("m", ""), "The messages that it is about."),
        "webhook_delivery_id": nullable(identifier("w", "The webhook delivery that it is about.")),
    },
)


def report(it: "Report") -> Shape:
    return {
        "url": it.url,
        "ok": it.ok,
        "checks": [
            {
                "name": each.name,
                "ok": each.ok,
                "detail": each.detail,
                "hint": each.hint,
                "duration_ms": each.duration_ms,
            }
            for each in it.checks
        ],
    }


REPORT = thing(
    "Report",
    "What stands in the way of webhooks, if anything does.",
    {
        "url": nullable(text("What was examined; user, password and query are masked.", "http://127.0.0.1:8000/sms")),
        "ok": flag("Whether nothing is wrong, as far as was looked.", True),
        "checks": array(
            record(
                {
                    "name": choice(("url", "dns", "tcp", "tls", "http", "json")),
                    "ok": nullable(flag("Null: it was not tried.", True)),
                    "detail": text("What was found."),
                    "hint": text("What to do; empty if there is nothing."),
                    "duration_ms": number("Real milliseconds.", 0.5, minimum=0),
                }
            ),
            "In turn; what comes after one that failed is not tried.",
        ),
    },
)
