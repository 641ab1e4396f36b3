"""What somebody asks for as a fault: an object from a call, a scenario's file or the command line -> MakeFault.

Everything that is wrong is told at once. How a fault is counted, and when it strikes, is said elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sandbox.errors import Invalid
from sandbox.model import Drop, FaultEffect, FaultOn
from sandbox.rules import matching
from sandbox.rules.matching import FILTERS, STATE, Match
from sandbox.scenario.steps import MakeFault
from sandbox.values.fields import Argument, Fields, Given, ObjectKind, body_schema, optional, required
from sandbox.values.kinds import Choice, Flag, Kind, Seconds, TextKind, Whole

MOST_TIMES = 10_000
MOST_DELAY_S = 300
MOST_BODY = 16 * 1024  # bytes of the body that a fault answers, in UTF-8


class MatchKind(Kind[Match]):
    """What a message has to be like before it has a state."""

    def __init__(self) -> None:
        schema = body_schema(each for each in FILTERS if each is not STATE)
        super().__init__(schema, 'an object such as {"to": "2348020000000"}')

    def read(self, value: Any) -> Match:
        """Raises Invalid as well, by the names of the filters."""
        if not isinstance(value, Mapping):
            raise self.invalid(value)
        found = matching.from_mapping(value)
        if not isinstance(found, Match):
            raise Invalid(*found)
        if found.state is not None:
            raise Invalid(("state", "A fault strikes before a message has a state. Leave state out."))
        return found


STATUS = optional("status", Whole(400, 599), "The status that is answered instead.", 503)
BODY = optional(
    "body",
    TextKind(None, most_bytes=MOST_BODY),
    "The body of that answer; without it, the usual one of a failure.",
    empty=True,
)
DELAY_S = optional("delay_s", Seconds(MOST_DELAY_S), "Real seconds before a call is answered, or a webhook posted.")
DROP = optional(
    "drop",
    Choice(tuple(Drop)),
    "The connection is closed: before anything was accepted or posted; after it, so that the answer is lost; or in the "
    "middle of the answer's body.",
)
HOLD = optional(
    "hold", Flag(), "No answer at all, until the fault is removed, the account is reset, or the client leaves."
)
ON = required("on", Choice(tuple(FaultOn)), "What fails: calls to the gateway, or webhooks.", "sendsms")
MATCH = optional(
    "match", MatchKind(), "Only calls with such a message, as a filter of messages; without it, every call."
)
TIMES = optional("times", Whole(1, MOST_TIMES), "How many calls, 1 if it is left out; null: until it is removed.", 2)
_EFFECTS: Sequence[Argument[Any]] = (STATUS, BODY, DELAY_S, DROP, HOLD)
EFFECT = required(
    "effect",
    ObjectKind(_EFFECTS),
    "What happens: one of status, drop and hold; a delay may go with any.",
    {"status": 503},
)
FAULT = (ON, MATCH, TIMES, EFFECT)


def fault_from(given: Mapping[str, object]) -> MakeFault:
    """The fault that `{on, match, times, effect: {status, body, delay_s, drop, hold}}` asks for.

    `times` is 1 if it is left out, and null until the fault is removed. Raises Invalid, which lists every wrong field;
    a field of `effect` or `match` is named like `effect.status`.
    """
    fields = Fields(given, json=True)
    on, times, match, effect = fields.take(ON), fields.take(TIMES), fields.take(MATCH) or Match(), fields.take(EFFECT)
    natural = "mo" if on == FaultOn.WEBHOOK else "mt"
    if match.direction not in (None, natural):
        never = f"All messages of {on} are {natural}, so this fault never strikes. Leave direction out."
        fields.wrong("match.direction", never)
    values: dict[str, Any] = {}
    if effect is not None:
        for name, reason in _at_odds(effect, on):
            fields.wrong(f"effect.{name}", reason)
        values = {each.name: effect[each] for each in _EFFECTS if effect[each] is not None}
    fields.done()
    if times is None and given.get("times", 1) is not None:
        times = 1
    return MakeFault(on=on, effect=FaultEffect(**values), times=times, match=matching.to_mapping(match))


def _at_odds(effect: Given, on: FaultOn) -> Iterator[tuple[str, str]]:
    """What is wrong between the fields of an effect."""
    if effect[BODY] is not None and effect[STATUS] is None:
        yield "body", "body is the body of a failure. Send its status too."
    if effect[DROP] == Drop.BODY and on == FaultOn.WEBHOOK:
        yield "drop", "The sandbox receives the answer to a webhook and cannot cut it off. Send drop: accepted."
    exclusive: Sequence[Argument[Any]] = (STATUS, DROP, HOLD)
    asked = [each.name for each in exclusive if effect[each] not in (None, False)]
    if len(asked) > 1:
        for name in asked:
            yield name, f"{' and '.join(asked)} exclude each other. Keep one of them; only delay_s goes with any."
    if not asked and not effect[DELAY_S]:
        yield "status", "The fault has no effect. Send at least one of: status, delay_s, drop, hold."
