"""What follows in a scenario's run when it begins, a message arrives or leaves, or a step's time is over.

Pure: where the run stands and what happened go in; where it stands now and what to do come out. Carrying effects out,
keeping the time and remembering: see core/scenario_runner.py.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import assert_never

from sandbox.model import Message, RunState
from sandbox.rules.matching import Difference, Match, captured, differences
from sandbox.scenario.steps import (
    Action,
    ChangeHandset,
    Cursor,
    Delayed,
    Effect,
    Expect,
    ExpectNone,
    MakeFault,
    Miss,
    Reaction,
    Scenario,
    Send,
    Session,
    Step,
    StepTimeout,
    Text,
    When,
)

GAP_MS = 100
"""Between the texts of one send, and between their webhooks when they come in the opposite order: time enough for a
quick application to have answered the one before, so that the order is defined on a clock that runs, too."""

_REACTING = (RunState.RUNNING, RunState.FINISHED)  # the rules go on for ever when a script has come to its end
_BRACES = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def begin(scenario: Scenario, cursor: Cursor) -> Reaction:
    """The run begins: everything happens that stands before the first step that waits for something."""
    return _play(scenario, cursor)


def arrived(scenario: Scenario, cursor: Cursor, message: Message) -> Reaction:
    """An MT message has arrived at the run's handset: it goes to the step whose turn it is, then to the rules in order.

    A step has its turn from the moment at which the step before it matched, even while texts between the two are still
    waiting to be sent. So an application that is quicker than the handset is understood, and `expect_none` forbids
    what comes from then on until its time is over.
    """
    if cursor.state not in _REACTING or cursor.paused:
        return Reaction(cursor=cursor)
    step = scenario.steps[cursor.step] if cursor.step < len(scenario.steps) else None
    if isinstance(step, ExpectNone) and not differences(step.match, message):
        return Reaction(cursor=_failed(cursor, f"{_forbidding(step)}, but {message.id} came: {_quoted(message.text)}."))
    misses = []
    for about, when, doing in _listening(scenario, cursor, step):
        found = _unlike(when, cursor, message)
        if found:
            misses.append(Miss(about=about, differences=found))
            continue
        moved = _moved(when, cursor, message)
        if doing is None:
            return _play(scenario, replace(moved, step=cursor.step + 1))
        effects, moved, _ = _done(doing, moved, 0)
        return Reaction(cursor=moved, effects=effects)
    # Which of them the message came closest to; of equals the step, then the first rule.
    return Reaction(cursor=cursor, miss=min(misses, key=lambda miss: len(miss.differences), default=None))


def originated(scenario: Scenario, cursor: Cursor, message: Message) -> Reaction:
    """An MO message has left the run's handset: the session that it carries is the one to go on in.

    Only so does a run know the session that a text of the handset opened. Without it, `session: same` accepts whatever
    comes first in a new dialogue.
    """
    if cursor.state not in _REACTING:
        return Reaction(cursor=cursor)
    return Reaction(cursor=replace(cursor, session_id=message.session_id, shortcode=message.shortcode))


def window_passed(scenario: Scenario, cursor: Cursor, step: int) -> Reaction:
    """The time that `step` had is over. Nothing follows if the run has moved on or ended meanwhile."""
    if cursor.state is not RunState.RUNNING or step != cursor.step:
        return Reaction(cursor=cursor)
    if step >= len(scenario.steps):  # the last text has gone
        return Reaction(cursor=replace(cursor, state=RunState.FINISHED))
    match scenario.steps[step]:
        case Expect(when=when, within_ms=within_ms):
            waited = "" if within_ms is None else f" within {_seconds(within_ms)}"
            return Reaction(cursor=_failed(cursor, f"expected a message{_wanted(when)}{waited}, but none came."))
        case ExpectNone():
            return _play(scenario, replace(cursor, step=step + 1))
        case Send() | MakeFault() | ChangeHandset():  # these wait for nothing, so that a run never stands at one
            return Reaction(cursor=cursor)
        case never:
            assert_never(never)


def filled(text: str, saved: Mapping[str, str]) -> str:
    """`text` with each `{name}` as it was saved, and `{{` and `}}` as the braces that they stand for.

    A name that was not saved yet stays as it is, so that a person who reads the message sees what was missing.
    """
    return _BRACES.sub(lambda found: saved.get(found[1], found[0]) if found[1] else found[0][0], text)


def _play(scenario: Scenario, cursor: Cursor) -> Reaction:
    """Carry out steps from the cursor's on, up to the next one that waits for something, or to the end."""
    if not scenario.steps:  # only rules: no script that could come to its end
        return Reaction(cursor=cursor)
    effects: list[Effect] = []
    moment_ms = 0  # from now: when the steps so far are done
    for index in range(cursor.step, len(scenario.steps)):
        step = scenario.steps[index]
        match step:
            case Expect() | ExpectNone():
                if step.within_ms is not None:
                    effects.append(StepTimeout(step=index, after_ms=moment_ms + step.within_ms))
                return Reaction(cursor=replace(cursor, step=index), effects=tuple(effects))
            case Send() | MakeFault() | ChangeHandset():
                asked_for, cursor, moment_ms = _done((step,), cursor, moment_ms)
                effects.extend(asked_for)
            case never:
                assert_never(never)
    cursor = replace(cursor, step=len(scenario.steps))
    if moment_ms:  # the script is done when its last text has gone, not before
        return Reaction(cursor=cursor, effects=(*effects, StepTimeout(step=cursor.step, after_ms=moment_ms)))
    return Reaction(cursor=replace(cursor, state=RunState.FINISHED), effects=tuple(effects))


def _done(doing: Iterable[Action], cursor: Cursor, moment_ms: int) -> tuple[tuple[Effect, ...], Cursor, int]:
    """The effects of these, one after the other from `moment_ms` on; the cursor after them, and when they are done."""
    effects: list[Effect] = []
    for each in doing:
        match each:
            case Send():
                moment_ms += each.after_ms
                effects.extend(_texts(each, cursor, moment_ms))
                last = len(each.texts) - 1
                moment_ms += GAP_MS * last * (2 if each.reversed_order else 1)
                if each.starts:  # the session that it opens is known when it has gone
                    cursor = replace(cursor, session_id=each.session_id, shortcode=each.to or cursor.shortcode)
            case MakeFault() | ChangeHandset():
                effects.append(Delayed(what=each, after_ms=moment_ms))
            case never:
                assert_never(never)
    return tuple(effects), cursor, moment_ms


def _texts(send: Send, cursor: Cursor, moment_ms: int) -> Iterator[Text]:
    last = len(send.texts) - 1
    for index, text in enumerate(send.texts):
        yield Text(
            text=filled(text, cursor.saved),
            after_ms=moment_ms + GAP_MS * index,
            to=send.to or cursor.shortcode,
            session_id=send.session_id or (None if send.starts else cursor.session_id),
            new=send.starts,
            duplicates=send.duplicates,
            # Texts go GAP_MS apart. Held for twice that per text that follows, so do their webhooks, the last first.
            hold_ms=2 * GAP_MS * (last - index) if send.reversed_order else 0,
            msisdn_format=send.msisdn_format,
            telco=send.telco,
        )


def _listening(
    scenario: Scenario, cursor: Cursor, step: Step | None
) -> Iterator[tuple[str, When, tuple[Action, ...] | None]]:
    """Who may take a message, in order: name, condition, and what a rule does (None: it is the step).

    Whoever wants another state than the run is in cannot take it. They are asked only if there is nobody else, to have
    a miss that says so.
    """
    everybody: list[tuple[str, When, tuple[Action, ...] | None]] = []
    if isinstance(step, Expect):
        everybody.append((f"step {cursor.step + 1}", step.when, None))
    everybody.extend((f"rule {number}", rule.when, rule.doing) for number, rule in enumerate(scenario.rules, start=1))
    in_state = [each for each in everybody if each[1].required_state in (None, cursor.named_state)]
    yield from in_state or everybody


def _unlike(when: When, cursor: Cursor, message: Message) -> tuple[Difference, ...]:
    """In what a message is not what `when` asks for, here and now; empty if it is."""
    found = list(differences(when.match, message))
    known, came = cursor.session_id, message.session_id
    if known is not None:  # nothing came before: any session is the same as none, and any is new
        if when.session is Session.SAME and came != known:
            found.append(Difference("session", f"the same as before, {known}", came))
        elif when.session is Session.NEW and came == known:
            found.append(Difference("session", f"another than before, {known}", came))
    if when.required_state not in (None, cursor.named_state):
        found.append(Difference("required_state", str(when.required_state), cursor.named_state))
    return tuple(found)


def _moved(when: When, cursor: Cursor, message: Message) -> Cursor:
    """The cursor after a message that fits: what it changes holds from this moment on, whatever is sent later."""
    saved = cursor.saved
    if when.save:
        groups = captured(when.match, message.text)
        saved = {**saved, **{name: groups.get(group, "") for name, group in when.save.items()}}
    return replace(
        cursor,
        named_state=when.new_state or cursor.named_state,
        saved=saved,
        session_id=message.session_id,
        shortcode=message.shortcode,
    )


def _failed(cursor: Cursor, reason: str) -> Cursor:
    return replace(cursor, state=RunState.FAILED, reason=f"Step {cursor.step + 1} {reason}")


def _forbidding(step: ExpectNone) -> str:
    return f"expected no message{_like(step.match)} for {_seconds(step.within_ms)}"


def _wanted(when: When) -> str:
    session = "" if when.session is None else f" in the {when.session} session"
    state = "" if when.required_state is None else f" in the state {_quoted(when.required_state)}"
    return _like(when.match) + session + state


def _like(match: Match) -> str:
    """What a match asks for, in words: ` with text '*cinema*'`."""
    asked = [(each.name.rstrip("_"), getattr(match, each.name)) for each in fields(match)]
    said = [f"{name} {_quoted(str(value))}" for name, value in asked if value not in (None, False)]
    return f" with {', '.join(said)}" if said else ""


def _quoted(text: str) -> str:
    """For a sentence: `repr` shows control characters as escapes."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"
