"""Scenarios, their runs, faults and findings."""

from collections.abc import Mapping

from sandbox.model import Drop, FaultOn, RunState
from sandbox.objects.derive import account_name, api_object, described, event_number, identifier, part, timestamp
from sandbox.objects.messages import Difference


@api_object
class ScenarioObject:
    """How a handset reacts by itself."""

    id: str = described("Its name.", "happy-survey")
    name: str = described(example="happy-survey")
    description: str = described("For people.", "Answers a survey.")
    origin: str = described(choices=("built-in", "own"))
    steps: int = described("Of a script, which is followed once.", 4, minimum=0)
    rules: int = described("Of a persona, which reacts for ever.", 0, minimum=0)


@api_object
class ScenarioWithSource(ScenarioObject):
    """How a handset reacts by itself, with its file."""

    source: str = described("YAML.", "scenario: happy-survey\n…")


@part
class Miss:
    """A message that a scenario's run had no use for: the step or rule that it came closest to, and why."""

    message_id: str = identifier("m", "The message that did not fit.")
    about: str = described("The step or rule that it came closest to.", "step 2")
    differences: tuple[Difference, ...]


@part
class CursorObject:
    """Where a run stands for one handset."""

    msisdn: str | None = described("Null: it has no handset yet.", "2348020000000")
    state: str = described("Running, or how it ended.", choices=RunState)
    step: int = described("Index of the step whose turn it is; `steps` when all are done.", 1, minimum=0)
    named_state: str = described("As its rules and steps name it.", "start")
    saved: Mapping[str, str] = described("What was kept of messages, by name.")
    session_id: str | None = described("Of the last message that fitted.", "67543uhn3")
    paused: str = described("Why it reacts to nothing for now, in words; else empty.", "")


@api_object
class RunObject:
    """A scenario that is or was played."""

    id: str = identifier("s", "The run.")
    seq: int = event_number()
    account: str = account_name()
    scenario: str = described("Its name.", "happy-survey")
    msisdn: str | None = described("The handset that it plays; null: any, or none yet.", "2348020000000")
    state: str = described("Running, or how it ended.", choices=RunState)
    step: int = described("Index of the step whose turn it is; `steps` when all are done.", 1, minimum=0)
    steps: int = described("How many there are; 0 is a persona.", 4, minimum=0)
    named_state: str = described("As its rules and steps name it.", "start")
    saved: Mapping[str, str] = described("What was kept of messages, by name.")
    reason: str = described("Why it failed, in words; else empty.", "")
    misses: tuple[Miss, ...] = described("Messages that it did not know what to do with, the newest first.")
    started_at: str = timestamp()
    ended_at: str | None = timestamp("Null while it is running.", None)
    cursors: tuple[CursorObject, ...] = described(
        "Where it stands, for each handset; those that moved last, the latest first."
    )


@part
class FaultEffectObject:
    """What a fault does to a call, or to a webhook."""

    status: int | None = described("The status that is answered instead.", 503)
    body: str | None = described("The body of that answer.", None)
    delay_s: float = described("Real seconds before a call is answered, or a webhook posted.", 0)
    drop: str | None = described("Where the connection ends.", None, choices=Drop)
    hold: bool = described("Whether no answer comes at all.")


@api_object
class Fault:
    """A failure that someone asked for."""

    id: str = identifier("f", "The fault.")
    account: str = account_name()
    on: str = described(choices=FaultOn)
    match: Mapping[str, object] = described("Which calls it strikes; empty: every one.", {"to": "2348020000000"})
    times: int | None = described("How many calls; null: until it is removed.", 2)
    used: int = described("How many it struck.", 0, minimum=0)
    left: int | None = described("How many it still strikes; null: until it is removed.", 2, minimum=0)
    effect: Mapping[str, object] = described(shape=FaultEffectObject)


@api_object
class Finding:
    """Something in the record of an application that is worth a look."""

    code: str = described("Stable, for machines.", "follow_up_twice")
    message: str = described("What the record shows.")
    hint: str = described("What to do about it.")
    at: str = timestamp()
    message_ids: tuple[str, ...] = described(
        "The messages that it is about.", each={"pattern": "^m[0-9]+$", "examples": ["m12"]}
    )
    webhook_delivery_id: str | None = identifier("w", "The webhook delivery that it is about.")
