"""The shipped scenarios: each reads without error, passes with an application that is right, and not with one that
makes the mistake it is about. The network, the gateway and the application are pretended here, in 150 lines."""

import heapq
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import assert_never

import pytest

from sandbox.clock import to_iso
from sandbox.demo.survey import Survey
from sandbox.model import (
    Direction,
    Drop,
    FaultEffect,
    FaultOn,
    Message,
    MessageState,
    Msisdn,
    MsisdnFormat,
    RunState,
    Shortcode,
)
from sandbox.scenario import engine, script
from sandbox.scenario.catalogue import built_in
from sandbox.scenario.steps import ChangeHandset, Cursor, Delayed, MakeFault, Reaction, Scenario, StepTimeout, Text
from sandbox.wire.text import measure

NAMES = (
    "dropped-connection",
    "duplicate-webhook",
    "gateway-401",
    "gateway-429",
    "gateway-503-then-recovery",
    "handset-starts",
    "happy-survey",
    "late-reply",
    "long-ucs2-reply",
    "messy-human-input",
    "opt-out",
    "plus-and-no-plus",
    "ported-number",
    "reordered-replies",
    "silence",
    "slow-gateway",
    "webhook-outage-and-recovery",
    "webhook-rejected",
    "wrong-then-right-answer",
)
RETRIES_S = (30, 60, 120)  # the first ones of the contract [W]


def scenario_of(name: str) -> Scenario:
    scenario = script.read(built_in()[name], name=f"{name}.yaml")
    assert isinstance(scenario, Scenario), [str(error) for error in scenario]
    return scenario


# What pretends to be the rest of the world


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the webhook brings, and when."""

    phone: str
    telco: str
    text: str
    session_id: str
    sent_ms: int
    came_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    text: str
    session_id: str
    after_ms: int = 1


class Application:
    """An application that is right: the sample survey, as `sandbox.demo.survey` calls it."""

    patience_ms = 10_000  # how long it waits for the gateway

    def __init__(self) -> None:
        self.survey = Survey()

    def answer(self, reply: Reply) -> list[Sent]:
        text = self.survey.answer(self.phone_of(reply), self.text_of(reply), reply.session_id, to_iso(reply.sent_ms))
        return [] if text is None else [Sent(text=text, session_id=self.session_of(reply))]

    def phone_of(self, reply: Reply) -> str:
        return reply.phone.lstrip("+")

    def text_of(self, reply: Reply) -> str:
        return reply.text

    def session_of(self, reply: Reply) -> str:
        return reply.session_id

    def failed(self) -> None:
        """The gateway did not take a message."""


@dataclass(slots=True)
class World:
    """Handset, gateway and time, with what a scenario's effects do to them."""

    scenario: Scenario
    application: Application
    cursor: Cursor = field(default_factory=Cursor)
    now_ms: int = 0
    telco: str = "mtn"
    faults: list[MakeFault] = field(default_factory=list)
    due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def play(self) -> Cursor:
        """Play the scenario to its end. Where it waits for the application to begin, a person texts CINEMA."""
        self.follow(engine.begin(self.scenario, self.cursor))
        begun = self.cursor.step
        for _ in range(5):
            while self.due and self.cursor.state is RunState.RUNNING:
                self.now_ms, _, happen = heapq.heappop(self.due)
                happen()
            if self.cursor.step == begun and self.cursor.state is RunState.RUNNING:
                self.leaves(Text(text="CINEMA", to=Shortcode("48974"), new=True))
        return self.cursor

    def later(self, after_ms: int, happen: Callable[[], None]) -> None:
        heapq.heappush(self.due, (self.now_ms + after_ms, next(self.numbers), happen))

    def follow(self, reaction: Reaction) -> None:
        self.cursor = reaction.cursor
        for effect in reaction.effects:
            match effect:
                case Text():
                    self.later(effect.after_ms, partial(self.leaves, effect))
                case StepTimeout(step=step):
                    self.later(effect.after_ms, partial(self.passes, step))
                case Delayed(what=what):
                    self.later(effect.after_ms, partial(self.changes, what))
                case never:
                    assert_never(never)

    def passes(self, step: int) -> None:
        self.follow(engine.window_passed(self.scenario, self.cursor, step))

    def changes(self, what: MakeFault | ChangeHandset) -> None:
        if isinstance(what, MakeFault):
            self.faults.append(what)
        else:
            self.telco = what.telco or self.telco

    def fault(self, on: FaultOn) -> FaultEffect | None:
        for index, each in enumerate(self.faults):
            if each.on is on and each.times:
                self.faults[index] = replace(each, times=each.times - 1)
                return each.effect
        return None

    def leaves(self, text: Text) -> None:
        """The handset sends a text, and its webhooks are owed."""
        opened = f"session-{next(self.numbers)}" if text.new else self.cursor.session_id
        message = self.message(Direction.MO, text.text, text.session_id or opened or "?")
        self.follow(engine.originated(self.scenario, self.cursor, message))
        sent_ms = self.now_ms
        for _ in range(1 + text.duplicates):
            self.later(text.hold_ms, partial(self.post, text, message, sent_ms, 0))

    def post(self, text: Text, message: Message, first_ms: int, retries: int) -> None:
        """One attempt of a webhook delivery."""
        fault = self.fault(FaultOn.WEBHOOK)
        if fault is not None:
            if fault.status == 503:
                wait_ms = first_ms + RETRIES_S[retries] * 1000 - self.now_ms
                self.later(wait_ms, partial(self.post, text, message, first_ms, retries + 1))
            return
        plus = "+" if text.msisdn_format is MsisdnFormat.PLUS else ""
        reply = Reply(
            phone=plus + message.msisdn,
            telco=self.telco,
            text=message.text,
            session_id=message.session_id,
            sent_ms=message.at_ms,
            came_ms=self.now_ms,
        )
        for each in self.application.answer(reply):
            self.later(each.after_ms, partial(self.submit, each))

    def submit(self, sent: Sent) -> None:
        """The application calls the gateway."""
        fault = self.fault(FaultOn.SENDSMS)
        if fault is not None and (fault.status is not None or fault.drop is Drop.REFUSED):
            self.application.failed()
            return
        delay_ms = 0 if fault is None else round(fault.delay_s * 1000)
        if delay_ms > self.application.patience_ms:
            self.later(self.application.patience_ms, partial(self.submit, sent))
        self.later(delay_ms, partial(self.arrives, sent))

    def arrives(self, sent: Sent) -> None:
        message = self.message(Direction.MT, sent.text, sent.session_id)
        self.follow(engine.arrived(self.scenario, self.cursor, message))

    def message(self, direction: Direction, text: str, session_id: str) -> Message:
        measured = measure(text)
        return Message(
            seq=next(self.numbers),
            account="default",
            direction=direction,
            msisdn=Msisdn("2348020000000"),
            shortcode=Shortcode("48974"),
            text=text,
            session_id=session_id,
            ref_id=None,
            sent_date=to_iso(self.now_ms),
            at_ms=self.now_ms,
            telco=self.telco,
            encoding=measured.encoding,
            segments=measured.segments,
            state=MessageState.ARRIVED,
        )


# Applications that make one mistake each


class Nags(Application):
    def answer(self, reply: Reply) -> list[Sent]:
        sent = super().answer(reply)
        return [*sent, *(replace(each, text=f"Reminder: {each.text}", after_ms=2_000) for each in sent)]


class SaysNothingMore(Application):
    def answer(self, reply: Reply) -> list[Sent]:
        return [each for each in super().answer(reply) if each.text.startswith("When")]


class ForgetsOverTime(Application):
    """After an hour, and for every reply that took more than half a minute to come."""

    last_ms = 0

    def answer(self, reply: Reply) -> list[Sent]:
        fresh = reply.came_ms - reply.sent_ms <= 30_000 and reply.sent_ms - self.last_ms <= 3_600_000
        self.last_ms = reply.sent_ms
        return super().answer(reply) if fresh else []


class HasSessionsOfItsOwn(Application):
    def session_of(self, reply: Reply) -> str:
        return f"own-{reply.sent_ms}"


class TakesAnything(Application):
    def text_of(self, reply: Reply) -> str:
        return "5" if reply.text == "great!" else reply.text


class AnswersTwice(Application):
    def answer(self, reply: Reply) -> list[Sent]:
        self.survey._seen.clear()
        return super().answer(reply)


class DropsWhatIsOlder(Application):
    newest_ms = 0

    def answer(self, reply: Reply) -> list[Sent]:
        if reply.sent_ms < self.newest_ms:
            return []
        self.newest_ms = reply.sent_ms
        return super().answer(reply)


class TakesThePlusForPartOfTheNumber(Application):
    def phone_of(self, reply: Reply) -> str:
        return reply.phone

    def answer(self, reply: Reply) -> list[Sent]:
        return [each for each in super().answer(reply) if "begin" not in each.text]


class TakesTheTelcoForPartOfTheNumber(TakesThePlusForPartOfTheNumber):
    def phone_of(self, reply: Reply) -> str:
        return reply.telco + super().phone_of(reply)


class ReadsPlainTextOnly(Application):
    def answer(self, reply: Reply) -> list[Sent]:
        return super().answer(reply) if reply.text.isascii() else []


class TakesWordsLiterally(Application):
    def answer(self, reply: Reply) -> list[Sent]:
        return super().answer(reply) if re.fullmatch(r"\w+", reply.text) else []


class GivesUpAfterAFailure(Application):
    broken = False

    def failed(self) -> None:
        self.broken = True

    def answer(self, reply: Reply) -> list[Sent]:
        return [] if self.broken else super().answer(reply)


class IsImpatient(Application):
    patience_ms = 1_000


MISTAKES = {
    "dropped-connection": GivesUpAfterAFailure,
    "duplicate-webhook": AnswersTwice,
    "gateway-401": GivesUpAfterAFailure,
    "gateway-429": GivesUpAfterAFailure,
    "gateway-503-then-recovery": GivesUpAfterAFailure,
    "handset-starts": HasSessionsOfItsOwn,
    "happy-survey": Nags,
    "late-reply": ForgetsOverTime,
    "long-ucs2-reply": ReadsPlainTextOnly,
    "messy-human-input": TakesWordsLiterally,
    "opt-out": Nags,
    "plus-and-no-plus": TakesThePlusForPartOfTheNumber,
    "ported-number": TakesTheTelcoForPartOfTheNumber,
    "reordered-replies": DropsWhatIsOlder,
    "silence": Nags,
    "slow-gateway": IsImpatient,
    "webhook-outage-and-recovery": ForgetsOverTime,
    "webhook-rejected": SaysNothingMore,
    "wrong-then-right-answer": TakesAnything,
}


def test_the_catalogue_holds_what_is_promised() -> None:
    assert tuple(built_in()) == NAMES == tuple(MISTAKES)


def test_the_catalogue_is_read_once_and_cannot_be_changed() -> None:
    assert built_in() is built_in()
    with pytest.raises(TypeError):
        built_in()["mine"] = "scenario: mine"  # type: ignore[index]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_is_called_as_its_file(name: str) -> None:
    assert scenario_of(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_says_in_a_sentence_what_it_asks_of_the_application(name: str) -> None:
    assert re.fullmatch(r"Does the application [^?]+\?", scenario_of(name).description)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_says_how_to_use_it(name: str) -> None:
    comments = [line for line in built_in()[name].splitlines() if line.startswith("#")]
    assert f"#   ninebits-sandbox scenario run {name}" in comments
    assert f'#   @pytest.mark.ninebits(scenario="{name}")' in comments
    assert comments[0] != "#"


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_finishes_with_an_application_that_is_right(name: str) -> None:
    cursor = World(scenario_of(name), Application()).play()
    assert (cursor.state, cursor.reason) == (RunState.FINISHED, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_does_not_finish_with_an_application_that_makes_the_mistake(name: str) -> None:
    cursor = World(scenario_of(name), MISTAKES[name]()).play()
    assert cursor.state is not RunState.FINISHED


def test_the_long_reply_is_one_of_several_ucs2_segments() -> None:
    scenario = scenario_of("long-ucs2-reply")
    sent = engine.arrived(scenario, Cursor(), World(scenario, Application()).message(Direction.MT, "Well?", "A"))
    (measured,) = [measure(each.text) for each in sent.effects if isinstance(each, Text)]
    assert (measured.encoding, measured.segments) == ("UCS-2", 3)
