"""Formatting of steps, runs, faults and timers for pages.

Pure functions of the model, as in formatting.py; what a step or a fault means is decided elsewhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from sandbox.model import Drop, Fault, FaultEffect, FaultOn, RunState, TimerKind
from sandbox.pages.formatting import Status, span
from sandbox.rules.matching import Match, to_mapping
from sandbox.scenario.steps import ChangeHandset, Expect, ExpectNone, MakeFault, Send, Session, Step, When
from sandbox.store.scenarios import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A step in words: what it does in one word, the texts that it is about, and the rest."""

    verb: str
    texts: tuple[str, ...] = ()
    rest: str = ""


# Steps --------------------------------------------------------------------------------------------------------------


def step_line(step: Step) -> Line:
    match step:
        case Expect(when=when, within_ms=within_ms):
            return _expecting(when, *_within(within_ms))
        case ExpectNone(match=match, within_ms=within_ms):
            return Line(verb="expect none", texts=_wanted(match), rest=", ".join([*_asked(match), *_within(within_ms)]))
        case Send():
            return Line(verb="send" if step.starts else "reply", texts=step.texts, rest=", ".join(_how_sent(step)))
        case MakeFault(on=on, effect=effect, times=times, match=match):
            said = [_on(on), effect_words(effect, on), *_only(match), times_words(times)]
            return Line(verb="fault", rest=", ".join(said))
        case ChangeHandset(state=state, telco=telco):
            told = [f"is switched {state}" if state else "", f"moves to {telco}" if telco else ""]
            return Line(verb="handset", rest=" and ".join(filter(None, told)))
        case never:
            assert_never(never)


def _expecting(when: When, *within: str) -> Line:
    said = list(_asked(when.match))
    if when.session is not None:
        said.append("in the same session" if when.session is Session.SAME else "in a new session")
    said += within
    if when.save:
        said.append(f"keeps {', '.join(when.save)}")
    if when.required_state is not None:
        said.append(f"in state {when.required_state}")
    if when.new_state is not None:
        said.append(f"then state {when.new_state}")
    return Line(verb="expect", texts=_wanted(when.match), rest=", ".join(said))


def _wanted(match: Match) -> tuple[str, ...]:
    return tuple(each for each in (match.text, match.pattern) if each is not None)


def _asked(match: Match) -> Iterator[str]:
    """The filters of a match besides the text, in words."""
    if match.pattern is not None:
        yield "as a pattern"
    if match.ignore_case:
        yield "in any case"
    for name, value in to_mapping(match).items():
        if name not in ("text", "pattern", "ignore_case"):
            yield f"{name} {value}"


def _within(ms: int | None) -> Iterator[str]:
    if ms is not None:
        yield f"within {_time(ms)}"


def _how_sent(step: Send) -> Iterator[str]:
    if step.to is not None:
        yield f"to {step.to}"
    if step.after_ms:
        yield f"after {_time(step.after_ms)}"
    if step.session_id is not None:
        yield f"session {step.session_id}"
    if step.duplicates:
        yield "its webhook comes twice" if step.duplicates == 1 else f"its webhook comes {step.duplicates + 1} times"
    if step.reversed_order:
        yield "webhooks in the opposite order"
    if step.msisdn_format is not None:
        yield f"number written {step.msisdn_format}"
    if step.telco is not None:
        yield f"telco {step.telco}"


def _time(ms: int) -> str:
    return span(ms) if ms >= 1000 else f"{ms} ms"


# Faults ------------------------------------------------------------------------------------------------------------


def effect_words(effect: FaultEffect, on: FaultOn) -> str:
    """The effect of a fault in words, for a list of them."""
    webhook = on is FaultOn.WEBHOOK
    if effect.hold:
        what = "counts as timed out" if webhook else "held without an answer"
    elif effect.status is not None:
        what = f"counts as answered {effect.status}" if webhook else f"answered {effect.status}"
    else:
        match effect.drop:
            case None:
                what = "posted late" if webhook else "answered late"
            case Drop.REFUSED:
                what = "connection refused" if webhook else "connection closed, nothing accepted"
            case Drop.ACCEPTED:
                what = "posted, the answer is lost" if webhook else "accepted, the answer is lost"
            case Drop.BODY:
                what = "accepted, the answer is cut off"
            case never:
                assert_never(never)
    return f"{what} after {effect.delay_s:g} s" if effect.delay_s else what


def times_words(times: int | None) -> str:
    return "until it is removed" if times is None else "once" if times == 1 else f"{times} times"


def left_words(fault: Fault) -> str:
    """The number of times that a fault still strikes, in words."""
    if fault.left is None:
        return f"{fault.used} so far, until it is removed"
    if fault.left == 0:
        return "used up" if fault.used == 1 else f"used up, {fault.used} times"
    return f"{fault.left} of {fault.times} left"


def _on(on: FaultOn) -> str:
    return "webhook" if on is FaultOn.WEBHOOK else "call to the gateway"


def _only(match: Mapping[str, object]) -> Iterator[str]:
    if match:
        yield f"only if {only_words(match)}"


def only_words(match: Mapping[str, object]) -> str:
    """The calls that a fault strikes, in words."""
    return ", ".join(f"{name} is {value}" for name, value in match.items())


# Runs --------------------------------------------------------------------------------------------------------------


def run_status(run: Run) -> Status:
    """The state of a run, with the step that has its turn."""
    match run.state:
        case RunState.RUNNING if not run.is_script:
            return Status("clock", "reacts to messages", "wait")
        case RunState.RUNNING:
            step = run.cursors[0].cursor.step if run.cursors else 0
            done = step >= run.steps
            return Status("clock", "its last texts go out" if done else f"step {step + 1} of {run.steps}", "wait")
        case RunState.FINISHED:
            return Status("ticks", "finished, its rules go on" if run.listening else "finished", "good")
        case RunState.FAILED:
            return Status("cross", "failed", "bad")
        case RunState.STOPPED:
            return Status("stop", "stopped", "calm")
        case never:
            assert_never(never)


# Timers ------------------------------------------------------------------------------------------------------------


def due_words(kind: TimerKind) -> str:
    """A timer in words; what it is about is named beside it."""
    match kind:
        case TimerKind.WEBHOOK | TimerKind.WEBHOOK_MANUAL:
            return "attempt of"
        case TimerKind.ORIGINATE:
            return "a planned text"
        case TimerKind.WINDOW:
            return "end of a step's time in"
        case TimerKind.LATER:
            return "a fault, or a change of the handset, by"
        case never:
            assert_never(never)
