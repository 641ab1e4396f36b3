"""What somebody asks for as a fault: an object from a call, a scenario's file or the command line -> MakeFault.

Every wrong field is complained about at once. Counting a fault, and letting it strike, are other rooms' affair.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from sandbox.errors import Invalid
from sandbox.model import Drop, FaultEffect, FaultOn
from sandbox.rules import matching
from sandbox.rules.matching import Match
from sandbox.scenario.steps import MakeFault
from sandbox.wire.problems import quote, unusable_character

MOST_TIMES = 10_000
MOST_DELAY_S = 300
MOST_BODY = 16 * 1024  # bytes of the body that a fault answers, in UTF-8


def fault_from(given: Mapping[str, object]) -> MakeFault:
    """The fault that `{on, match, times, effect: {status, body, delay_s, drop, hold}}` asks for.

    `times` is 1 if it is left out, and null until the fault is removed. Raises Invalid, which lists every wrong field;
    a field of `effect` or `match` is named like `effect.status`.
    """
    wrong: list[tuple[str, str]] = []
    wrong += _strangers(given, ("on", "match", "times", "effect"), "")
    on = given.get("on")
    if on not in tuple(FaultOn):
        wrong.append(("on", f"on {_is(on)}. Say what fails: {' or '.join(FaultOn)}."))
    times = given.get("times", 1)
    if times is not None and not _is_whole(times, 1, MOST_TIMES):
        wrong.append(
            ("times", f"times {_is(times)}. Send how often, from 1 to {MOST_TIMES}, or null until it is removed.")
        )
    match = _match_from(given.get("match"), on)
    if not isinstance(match, Match):
        wrong += match
    effect = given.get("effect")
    if not isinstance(effect, Mapping):
        wrong.append(("effect", f'effect {_is(effect)}. Send an object such as {{"status": 503}}.'))
    else:
        wrong += [(f"effect.{name}", complaint) for name, complaint in _wrong_effect(effect, on)]
    if wrong:
        raise Invalid(*wrong)
    assert isinstance(effect, Mapping)  # else it would be among the wrong ones
    assert isinstance(match, Match)
    assert times is None or isinstance(times, int)
    values: dict[str, Any] = {name: value for name, value in effect.items() if value is not None}
    if "drop" in values:
        values["drop"] = Drop(values["drop"])
    return MakeFault(on=FaultOn(str(on)), effect=FaultEffect(**values), times=times, match=matching.to_mapping(match))


def _match_from(given: object, on: object) -> Match | Sequence[tuple[str, str]]:
    if given is None:
        return Match()
    if not isinstance(given, Mapping):
        return [("match", f'match {_is(given)}. Send an object such as {{"to": "2348020000000"}}.')]
    found = matching.from_mapping(given)
    if not isinstance(found, Match):
        return [(f"match.{name}", complaint) for name, complaint in found]
    wrong: list[tuple[str, str]] = []
    if found.state is not None:
        wrong.append(("match.state", "A fault strikes before a message has a state. Leave state out."))
    natural = "mo" if on == FaultOn.WEBHOOK else "mt"
    if found.direction not in (None, natural):
        never = f"All messages of {on} are {natural}, so this fault never strikes. Leave direction out."
        wrong.append(("match.direction", never))
    return wrong or found


def _wrong_effect(effect: Mapping[str, object], on: object) -> Sequence[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    wrong += _strangers(effect, ("status", "body", "delay_s", "drop", "hold"), "effect.")
    status, body, drop = effect.get("status"), effect.get("body"), effect.get("drop")
    delay_s = 0 if effect.get("delay_s") is None else effect["delay_s"]
    hold = False if effect.get("hold") is None else effect["hold"]
    if status is not None and not _is_whole(status, 400, 599):
        wrong.append(("status", f"status {_is(status)}. Send the status of a failure, from 400 to 599."))
    if body is not None:
        wrong += [("body", complaint) for complaint in _wrong_body(body, status)]
    if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s <= MOST_DELAY_S:
        wrong.append(("delay_s", f"delay_s {_is(delay_s)}. Send real seconds, from 0 to {MOST_DELAY_S}."))
    if drop is not None and drop not in tuple(Drop):
        wrong.append(("drop", f"drop {_is(drop)}. Send one of: {', '.join(Drop)}."))
    elif drop == Drop.BODY and on == FaultOn.WEBHOOK:
        wrong.append(
            ("drop", "The sandbox receives the answer to a webhook and cannot cut it off. Send drop: accepted.")
        )
    if not isinstance(hold, bool):
        wrong.append(("hold", f"hold {_is(hold)}. Send true or false."))
    asked = [name for name, value in (("status", status), ("drop", drop), ("hold", hold or None)) if value is not None]
    if len(asked) > 1:
        together = " and ".join(asked)
        wrong += [
            (name, f"{together} exclude each other. Keep one of them; only delay_s goes with any.") for name in asked
        ]
    if not asked and delay_s == 0:
        wrong.append(("status", "The fault has no effect. Send at least one of: status, delay_s, drop, hold."))
    return wrong


def _wrong_body(body: object, status: object) -> Sequence[str]:
    if not isinstance(body, str):
        return [f"body {_is(body)}. Send it as a string, which is answered as it is."]
    if bad := unusable_character(body):
        return [f"body holds {bad}. Leave it out."]
    if (size := len(body.encode())) > MOST_BODY:
        return [f"body has {size} bytes. At most {MOST_BODY} are accepted."]
    return ["body is the body of a failure. Send its status too."] if status is None else []


def _strangers(given: Mapping[str, object], known: Sequence[str], path: str) -> Sequence[tuple[str, str]]:
    """A complaint for each key that nobody knows, with the nearest that is known."""
    wrong: list[tuple[str, str]] = []
    strange = [name for name in given if name not in known]
    for name in strange[:20]:  # finding the nearest is slow, and a body may hold 100,000 strange names
        nearest = get_close_matches(name[:64], known, n=1, cutoff=0)[0]
        shown = quote(name)[1:-1]
        wrong.append((shown, f"There is no {path}{shown}; the nearest is {nearest}."))
    return wrong


def _is(value: object) -> str:
    return "is missing" if value is None else f"is {quote(value)}"


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
