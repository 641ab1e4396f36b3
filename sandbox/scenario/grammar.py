"""Which keys a scenario's file may have, what each of them means, and the nouns that come of it.

Tables, and what has to be right between their values. See shapes.py for how a value is read, and script.py for how a
file becomes nodes.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import chain

from sandbox.errors import Invalid
from sandbox.model import MAX_OPAQUE, Drop, Encoding, FaultOn, HandsetState, MsisdnFormat
from sandbox.rules import matching
from sandbox.rules.matching import MAX_GLOB, MAX_PATTERN, Match
from sandbox.scenario.fault_spec import BODY, MOST_BODY, MOST_DELAY_S, MOST_TIMES, TIMES, fault_from
from sandbox.scenario.shapes import (
    MSISDN_OR_ANY,
    SHORTCODE,
    Got,
    Names,
    Parts,
    Reading,
    Record,
    Said,
    Several,
    Shape,
    Word,
    choice,
    duration,
    either,
    free,
    whole,
    word,
)
from sandbox.scenario.steps import (
    START,
    ChangeHandset,
    Expect,
    ExpectNone,
    HandsetSpec,
    MakeFault,
    Rule,
    Scenario,
    Send,
    Session,
    Step,
    When,
)
from sandbox.values.kinds import NAME, NAME_IS, Fitting, Flag, InvalidValue, Schema, nearest
from sandbox.values.numbers import AnyNumber
from sandbox.wire.numbers import TELCOS
from sandbox.wire.problems import quote

MAX_TEXT = 10_000  # characters that a handset sends at once: more than any can, and less than hurts
FOREVER = "forever"
"""As often as there is reason to, in the words of a file."""

Keys = Mapping[str, tuple[Shape, str]]

# What a message is like --------------------------------------------------------------------------------------------

_OPAQUE = free(MAX_OPAQUE)
_NUMBER = word(AnyNumber(), "integer")
_SEGMENTS = whole(1, 1_000, "[1-9][0-9]{0,2}|1000")
_STATE = word(Fitting("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "at most 64 letters, digits and _ . -"), "number")
_GROUP = word(
    Fitting(r"(?:[0-9]{1,3}|[^\s0-9]\S{0,199})", "the number or the name of a group of the pattern"), "integer"
)

_LIKE: Keys = {
    "text": (
        free(MAX_GLOB),
        "A glob over the whole text: * is anything, ? one character, [a-z] one of several.",
    ),
    "pattern": (free(MAX_PATTERN), "A regular expression that is looked for in the text."),
    "ignore_case": (
        Word(Flag().from_text, {"enum": ["true", "false", True, False]}),
        "Whether text and pattern take A for a.",
    ),
    "segments": (_SEGMENTS, "How many SMS the text takes."),
    "encoding": (choice(Encoding), "The encoding that the text needs."),
}
_LIKE_MT: Keys = {**_LIKE, "from": (SHORTCODE, "The shortcode that it comes from, exactly.")}
_LIKE_ANY: Keys = {
    **_LIKE,
    "from": (_NUMBER, "The number that it comes from, exactly: for sendsms the shortcode, for webhook the handset's."),
    "to": (_NUMBER, "The number that it goes to, exactly."),
    "session_id": (_OPAQUE, "The dialogue, exactly."),
}
_WHEN: Keys = {
    **_LIKE_MT,
    "session": (
        Word(lambda text: Session(text) if text in tuple(Session) else _OPAQUE.convert(text), _OPAQUE.schema),
        "same is that of the message before, new is another; or a session_id.",
    ),
    "save": (
        Names(_GROUP, "save: {code: 1}"),
        "What later texts name in braces: a name for a group of the pattern, by number or name; 0 is the whole.",
    ),
    "required_state": (_STATE, f"Only in this state; it is {START} in the beginning."),
    "new_state": (_STATE, "The state from then on."),
}


def _match(got: Got, reading: Reading) -> Match:
    asked = {key: value for key, value in got.values.items() if key in _LIKE_ANY}
    found = matching.from_mapping(asked)
    if isinstance(found, Match):
        return found
    for key, error in found:
        reading.add_error(got.where[key], error)
    return Match()


def _when(got: Got, reading: Reading) -> When:
    match, session = _match(got, reading), got("session")
    if session is not None and not isinstance(session, Session):
        match, session = replace(match, session_id=session), None
    save = {}
    groups = matching.groups(match)
    for name, (group, at) in got("save", {}).items():
        save[name] = group
        reading.saved.add(name)
        if "pattern" not in got.where and group != "0":
            reading.add_error(at, "Without a pattern there is only group 0, the whole text. Write 0, or add a pattern.")
        elif match.pattern is not None and group not in groups:  # else it was complained about
            reading.add_error(at, f"The pattern has no group {quote(group)}. It has: {', '.join(sorted(groups))}.")
    if "required_state" in got.values:
        reading.required_states.append((got.where["required_state"], got("required_state")))
    if "new_state" in got.values:
        reading.states.add(got("new_state"))
    return When(
        match=match, session=session, save=save, required_state=got("required_state"), new_state=got("new_state")
    )


# What is done ------------------------------------------------------------------------------------------------------

_SENDING: Keys = {
    "text": (
        Several(shape=Said(free(MAX_TEXT))),
        "The text, or a list of texts. {name} is what was saved under that name; {{ and }} are braces.",
    ),
    "after": (duration(), "How long the handset waits before it sends."),
    "duplicates": (whole(0, 5, "[0-5]"), "How many times more the webhook comes, byte for byte."),
    "order": (choice(("given", "reversed")), "In which order the webhooks of several texts come."),
    "format": (choice((MsisdnFormat.PLAIN, MsisdnFormat.PLUS)), "How the webhook writes the handset's number."),
    "telco": (choice(TELCOS), "The operator that the webhook names."),
}


def _reply_session(text: str) -> str:
    if text == Session.SAME:
        raise InvalidValue("is same, which a reply carries anyway. Leave it out.")
    if text == Session.NEW:
        raise InvalidValue('is "new". A text that begins a session is no reply. Write send: {text: …, to: …}.')
    session: str = _OPAQUE.convert(text)
    return session


def _send(starts: bool, got: Got, reading: Reading) -> Send:
    texts = got("text", ())
    if got("order") == "reversed" and len(texts) == 1:
        reading.add_error(got.where["order"], "One text has no order. Write a list of texts, or leave order out.")
    return Send(
        texts=texts,
        after_ms=got("after", 0),
        to=got("to"),
        starts=starts,
        session_id=got("session"),
        duplicates=got("duplicates", 0),
        reversed_order=got("order") == "reversed",
        msisdn_format=got("format"),
        telco=got("telco"),
    )


_EFFECT: Keys = {
    "status": (whole(400, 599, "[45][0-9]{2}"), "Answered instead: the status of a failure."),
    "body": (
        word(BODY.kind, "number", "boolean", maxLength=MOST_BODY),
        "Answered with the status.",
    ),
    "delay": (duration(1, MOST_DELAY_S * 1000), "Real time before anything else happens; it goes with all others."),
    "drop": (choice(Drop), "Where the connection ends: refused, accepted, or (sendsms) in the middle of the body."),
    "hold": (choice(("true",), True), "No answer until the fault is removed."),
}


def _fault(got: Got, reading: Reading) -> MakeFault | None:
    if got.strange or len(got.values) < len(got.where) or "on" not in got.where:  # more would only confuse
        return None
    effect = {key: value for key, value in got.values.items() if key in _EFFECT}
    if "delay" in effect:
        effect["delay_s"] = effect.pop("delay") / 1000
    if "hold" in effect:
        effect["hold"] = True
    times = got("times", 1)
    asked = {"on": got("on"), "match": got("match"), "times": None if times == FOREVER else times, "effect": effect}
    try:
        return fault_from(asked)
    except Invalid as invalid:
        wrong = {error: name.removeprefix("effect.") for name, error in invalid.fields}  # once, at the last
        for error, key in wrong.items():
            reading.add_error(got.where.get(key, got.at), error.replace("delay_s", "delay"))
        return None


def _change(got: Got, reading: Reading) -> ChangeHandset:
    if not got.keys and not got.strange:
        reading.add_error(got.at, "Nothing changes. Write state: on, state: off, or telco and the operator.")
    return ChangeHandset(state=got("state"), telco=got("telco"))


_TIMES = whole(1, MOST_TIMES, "[1-9][0-9]{0,3}|10000")
_REPLY = Record(
    build=partial(_send, False),
    keys={
        **_SENDING,
        "session": (Word(_reply_session, {**_OPAQUE.schema, "not": {"enum": [*Session]}}), "Another session_id."),
    },
    required=("text",),
    example='reply: {text: "yesterday", after: 2s}',
)
_SEND = Record(
    build=partial(_send, True),
    keys={
        "text": _SENDING["text"],
        "to": (SHORTCODE, "The application's shortcode."),
        **_SENDING,
        "session": (_OPAQUE, "The session_id that it begins; without it, one that nobody had before."),
    },
    required=("text", "to"),
    example='send: {text: "CINEMA", to: 48974}',
)
_FAULT = Record(
    build=_fault,
    keys={
        "on": (choice(FaultOn), "What fails: calls to the gateway, or webhooks."),
        "times": (
            Word(either(FOREVER, TIMES.kind), {**_TIMES.schema, "pattern": f"^(?:{FOREVER}|[1-9][0-9]{{0,3}}|10000)$"}),
            f"How often: a number, or {FOREVER}; once, if nothing is said.",
        ),
        "match": (
            Record(
                build=lambda got, reading: matching.to_mapping(_match(got, reading)),
                keys=_LIKE_ANY,
                example='match: {text: "*cinema*"}',
            ),
            "What the message is like that fails; any, if nothing is said.",
        ),
        **_EFFECT,
    },
    required=("on",),
    example="fault: {on: sendsms, times: 2, status: 503}",
    more={
        "anyOf": [{"required": [key]} for key in ("status", "delay", "drop", "hold")],
        "allOf": [{"not": {"required": [*pair]}} for pair in (("status", "drop"), ("status", "hold"), ("drop", "hold"))]
        + [
            {
                "if": {"required": ["on", "drop"], "properties": {"on": {"const": "webhook"}}},
                "then": {"properties": {"drop": {"enum": ["refused", "accepted"]}}},
            }
        ],
        "dependentRequired": {"body": ["status"]},
    },
)
_CHANGE = Record(
    build=_change,
    keys={
        "state": (choice(HandsetState, True, False), "Messages to a handset that is off wait until it is on."),
        "telco": (choice(TELCOS), "The operator that it moves to."),
    },
    example="handset: {state: off}",
    more={"minProperties": 1},
)
_DOING: Mapping[str, tuple[Record, str]] = {
    "reply": (_REPLY, "What the handset answers."),
    "send": (_SEND, "A text with which the handset begins a session."),
    "fault": (_FAULT, "A failure of the gateway, or of a webhook."),
    "handset": (_CHANGE, "The handset is switched on or off, or changes its operator."),
}


# The file ----------------------------------------------------------------------------------------------------------


def _expect_none(got: Got, reading: Reading) -> ExpectNone:
    return ExpectNone(within_ms=got("within", 0), match=_match(got, reading))


def _step(got: Got, reading: Reading) -> Step | None:
    said = list(got.keys)
    if len(said) != 1 and not got.strange:
        at = got.keys[said[1]] if said else got.at
        found = f"This one says {' and '.join(said)}" if said else "This one says nothing"
        reading.add_error(at, f"A step says one thing. {found}; begin a new step with a hyphen and a space.")
    reading.begun |= bool(got.strange) or "expect" in said or "send" in said
    if "reply" in said and not reading.begun:
        hint = "Put an expect before it, or let the handset begin with send: {text: …, to: …}."
        reading.add_error(got.keys["reply"], f"There is nothing to reply to yet. {hint}")
        reading.begun = True  # once is enough
    return next(iter(got.values.values()), None)


def _rule(got: Got, reading: Reading) -> Rule:
    doing = chain.from_iterable(got(key, ()) for key in got.keys if key in _DOING)
    return Rule(when=got("when", When(match=Match())), doing=tuple(doing))


def _spec(got: Got, reading: Reading) -> HandsetSpec:
    msisdn = got("msisdn")
    return HandsetSpec(msisdn=None if msisdn == "any" else msisdn, telco=got("telco"), label=got("label"))


def _scenario(got: Got, reading: Reading) -> Scenario:
    parts = [got(key, None if key in got.keys else ()) for key in ("steps", "rules")]  # None is what is no list
    if parts == [(), ()] and not reading.parts and not got.strange:
        example = 'steps: [{expect: {text: "*"}}]'
        reading.add_error(got.at, f"The scenario has neither steps nor rules. Add some, for example {example}")
    for at, state in reading.required_states:
        if state not in reading.states:
            some = ", ".join(sorted(reading.states)[:10])
            near = "" if reading.full else nearest(state, reading.states, f"There is: {some}.")
            reading.add_error(at, f"No new_state leads to {quote(state)}. {near}")
    return Scenario(
        name=got("scenario", ""),
        description=got("description", ""),
        handset=got("handset", HandsetSpec()),
        steps=got("steps", ()),
        rules=got("rules", ()),
    )


_STEP = Record(
    build=_step,
    keys={
        "expect": (
            Record(
                build=lambda got, reading: Expect(when=_when(got, reading), within_ms=got("within")),
                keys={**_WHEN, "within": (duration(1), "How long the application may take; without it, for ever.")},
                example='expect: {text: "*cinema?*", within: 5s}',
            ),
            "The next message from the application.",
        ),
        "expect_none": (
            Record(
                build=_expect_none,
                keys={**_LIKE_MT, "within": (duration(1), "How long.")},
                required=("within",),
                example="expect_none: {within: 1s}",
            ),
            "That no message comes, or none that is like this.",
        ),
        **_DOING,
    },
    example='- expect: {text: "*cinema?*"}',
    more={"minProperties": 1, "maxProperties": 1},
)
_RULE = Record(
    build=_rule,
    keys={
        "when": (Record(build=_when, keys=_WHEN, example='when: {text: "STOP"}'), "What a message is like."),
        **{key: (Several(shape=record), meaning) for key, (record, meaning) in _DOING.items()},
    },
    required=("when",),
    example='- when: {pattern: "(?i)stop"}',
)
FILE = Record(
    build=_scenario,
    keys={
        "scenario": (
            word(Fitting(NAME, NAME_IS)),
            "The scenario's name.",
        ),
        "description": (free(2_000), "What it is good for."),
        "handset": (
            Record(
                build=_spec,
                keys={
                    "msisdn": (MSISDN_OR_ANY, "Its number; any is the one of the run, or that gets the first message."),
                    "telco": (choice(TELCOS), "Its operator; without it, that of the number's range."),
                    "label": (free(80), "What pages call it."),
                },
                example="handset: {msisdn: any, telco: mtn}",
            ),
            "The handset that is played.",
        ),
        "steps": (Parts(shape=_STEP, noun="step"), "A script that has to be followed, in order."),
        "rules": (Parts(shape=_RULE, noun="rule"), "What the handset does whenever a message fits, for ever."),
    },
    required=("scenario",),
    example="scenario: cinema-survey",
    more={
        "anyOf": [{"required": [key], "properties": {key: {"minItems": 1}}} for key in ("steps", "rules")],
    },
)
SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A scenario of the ninebits-sandbox",
    **FILE.schema,
}
