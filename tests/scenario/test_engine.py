"""The scenario engine as a playbook: this happens -> these effects."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from sandbox.model import (
    Direction,
    Encoding,
    FaultEffect,
    FaultOn,
    HandsetState,
    Message,
    MessageState,
    Msisdn,
    MsisdnFormat,
    RunState,
    Shortcode,
)
from sandbox.rules.matching import Difference, Match
from sandbox.scenario import engine
from sandbox.scenario.engine import GAP_MS
from sandbox.scenario.steps import (
    START,
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
    Rule,
    Scenario,
    Send,
    Session,
    Step,
    StepTimeout,
    Text,
    When,
)

SHORTCODE = Shortcode("48974")
OFF = ChangeHandset(state=HandsetState.OFF)
OUTAGE = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503))


class Playbook:
    """A run of a scenario for one handset, told what happens; it answers with the effects."""

    def __init__(self, *steps: Step, rules: Sequence[Rule] = ()) -> None:
        self.scenario = Scenario(name="playbook", steps=steps, rules=tuple(rules))
        self.cursor = Cursor()
        self.miss: Miss | None = None
        self._numbers = count(1)

    def begins(self) -> list[Effect]:
        return self._follow(engine.begin(self.scenario, self.cursor))

    def arrives(self, text: str, session: str = "A", shortcode: str = SHORTCODE) -> list[Effect]:
        """The application's message is on the handset."""
        return self._follow(
            engine.arrived(self.scenario, self.cursor, self._message(Direction.MT, text, session, shortcode))
        )

    def leaves(self, text: str, session: str, shortcode: str = SHORTCODE) -> list[Effect]:
        """The handset's text is on its way."""
        message = self._message(Direction.MO, text, session, shortcode)
        return self._follow(engine.originated(self.scenario, self.cursor, message))

    def passes(self, step: int) -> list[Effect]:
        """The window of a step, counted from 0, is over."""
        return self._follow(engine.window_passed(self.scenario, self.cursor, step))

    def _follow(self, reaction: Reaction) -> list[Effect]:
        self.cursor, self.miss = reaction.cursor, reaction.miss
        return list(reaction.effects)

    def _message(self, direction: Direction, text: str, session: str, shortcode: str) -> Message:
        return Message(
            seq=next(self._numbers),
            account="default",
            direction=direction,
            msisdn=Msisdn("2348020000000"),
            shortcode=Shortcode(shortcode),
            text=text,
            session_id=session,
            ref_id=None,
            sent_date="2024-01-02T23:50:37.000000Z",
            at_ms=0,
            telco="mtn",
            encoding=Encoding.GSM7,
            segments=1,
            state=MessageState.ARRIVED,
        )


def when(text: str | None = None, *, pattern: str | None = None, **more: Any) -> When:
    return When(match=Match(text=text, pattern=pattern), **more)


def expect(text: str | None = None, *, within_ms: int | None = None, **more: Any) -> Expect:
    return Expect(when=when(text, **more), within_ms=within_ms)


def reply(*texts: str, **more: Any) -> Send:
    return Send(texts=texts, **more)


def send(*texts: str, **more: Any) -> Send:
    return Send(texts=texts, to=SHORTCODE, starts=True, **more)


def rule(condition: When, *doing: Action) -> Rule:
    return Rule(when=condition, doing=doing)


def replied(text: str, **more: Any) -> Text:
    return replace(Text(text=text, to=SHORTCODE, session_id="A"), **more)


# From step to step


def test_the_documented_survey_from_beginning_to_end() -> None:
    run = Playbook(
        expect("*cinema?*", within_ms=5_000),
        reply("yesterday", after_ms=2_000),
        expect("*which film*", session=Session.SAME),
        reply("Things Fall Apart", after_ms=7_200_000, duplicates=1),
        OUTAGE,
        expect("*thank you*", within_ms=10_000),
        ExpectNone(within_ms=1_000),
    )
    assert run.begins() == [StepTimeout(step=0, after_ms=5_000)]
    assert run.arrives("When were you at the cinema?") == [replied("yesterday", after_ms=2_000)]
    assert run.arrives("And which film did you see?") == [
        replied("Things Fall Apart", after_ms=7_200_000, duplicates=1),
        Delayed(what=OUTAGE, after_ms=7_200_000),
        StepTimeout(step=5, after_ms=7_210_000),
    ]
    assert run.arrives("Well, thank you!") == [StepTimeout(step=6, after_ms=1_000)]
    assert (run.cursor.state, run.cursor.step) == (RunState.RUNNING, 6)
    assert run.passes(6) == []
    assert (run.cursor.state, run.cursor.step) == (RunState.FINISHED, 7)


def test_a_run_begins_with_everything_before_the_first_step_that_waits() -> None:
    run = Playbook(OUTAGE, send("CINEMA", after_ms=1_000), OFF, expect("*", within_ms=500), reply("never yet"))
    assert run.begins() == [
        Delayed(what=OUTAGE),
        Text(text="CINEMA", after_ms=1_000, to=SHORTCODE, new=True),
        Delayed(what=OFF, after_ms=1_000),
        StepTimeout(step=3, after_ms=1_500),
    ]
    assert run.cursor.step == 3


def test_delays_after_a_match_add_up_and_count_anew_from_the_next() -> None:
    run = Playbook(
        expect("one"),
        reply("a", after_ms=100),
        reply("b", after_ms=20),
        expect("two"),
        reply("c", after_ms=3),
        expect(),
    )
    run.begins()
    assert run.arrives("one") == [replied("a", after_ms=100), replied("b", after_ms=120)]
    assert run.arrives("two") == [replied("c", after_ms=3)]


def test_the_time_of_an_expectation_counts_from_when_the_texts_before_it_have_gone() -> None:
    run = Playbook(expect("one"), reply("a", "b", after_ms=1_000), expect("two", within_ms=5_000))
    run.begins()
    assert run.arrives("one")[-1] == StepTimeout(step=2, after_ms=1_000 + GAP_MS + 5_000)


def test_the_cursor_and_the_named_state_move_when_the_message_matches_not_after_the_delay() -> None:
    run = Playbook(expect("one", new_state="asked"), reply("a", after_ms=60_000), expect("two"))
    run.begins()
    run.arrives("one")
    assert (run.cursor.step, run.cursor.named_state) == (2, "asked")
    assert run.arrives("two") == []  # long before the text has gone
    assert run.miss is None


def test_a_script_is_finished_when_its_last_step_has_matched() -> None:
    run = Playbook(expect("one"), OFF)
    run.begins()
    assert run.arrives("one") == [Delayed(what=OFF)]
    assert (run.cursor.state, run.cursor.step) == (RunState.FINISHED, 2)


def test_a_script_that_ends_with_a_text_is_finished_when_that_has_gone() -> None:
    run = Playbook(expect("one"), reply("a", after_ms=7_200_000))
    run.begins()
    assert run.arrives("one") == [replied("a", after_ms=7_200_000), StepTimeout(step=2, after_ms=7_200_000)]
    assert (run.cursor.state, run.cursor.step) == (RunState.RUNNING, 2)
    assert run.passes(2) == []
    assert run.cursor.state is RunState.FINISHED


def test_a_script_of_one_text_at_once_is_finished_at_once() -> None:
    run = Playbook(send("CINEMA"))
    assert run.begins() == [Text(text="CINEMA", to=SHORTCODE, new=True)]
    assert run.cursor.state is RunState.FINISHED


def test_a_persona_without_steps_never_comes_to_an_end() -> None:
    run = Playbook(rules=[rule(when("*"), reply("yes"))])
    assert run.begins() == []
    assert run.arrives("one") == [replied("yes")]
    assert run.cursor.state is RunState.RUNNING


# What passes, what fails


def test_an_expectation_whose_time_passes_fails_the_run_and_says_what_was_wanted() -> None:
    run = Playbook(OFF, expect("*film*", within_ms=5_000, session=Session.SAME))
    run.begins()
    assert run.passes(1) == []
    assert run.cursor.state is RunState.FAILED
    assert (
        run.cursor.reason
        == "Step 2 expected a message with text '*film*' in the same session within 5 s, but none came."
    )


def test_a_window_of_a_step_that_matched_in_time_changes_nothing() -> None:
    run = Playbook(expect("one", within_ms=5_000), expect("two"))
    run.begins()
    run.arrives("one")
    before = run.cursor
    assert run.passes(0) == []
    assert run.cursor == before


def test_silence_lets_the_script_go_on_when_its_time_is_over() -> None:
    run = Playbook(ExpectNone(within_ms=1_000), send("CINEMA"), expect("*", within_ms=3_000))
    assert run.begins() == [StepTimeout(step=0, after_ms=1_000)]
    assert run.passes(0) == [Text(text="CINEMA", to=SHORTCODE, new=True), StepTimeout(step=2, after_ms=3_000)]


def test_a_message_where_silence_was_expected_fails_the_run_and_is_quoted() -> None:
    run = Playbook(ExpectNone(within_ms=1_500))
    run.begins()
    assert run.arrives("Hello\x1b[2J\u202e") == []
    assert run.cursor.state is RunState.FAILED
    assert run.cursor.reason == r"Step 1 expected no message for 1.5 s, but m1 came: 'Hello\x1b[2J\u202e'."


def test_a_long_message_is_quoted_in_part() -> None:
    run = Playbook(ExpectNone(within_ms=1_500))
    run.begins()
    run.arrives("x" * 1_600)
    assert run.cursor.reason.endswith("came: '" + "x" * 79 + "…'.")


def test_silence_with_a_match_forbids_only_what_fits() -> None:
    run = Playbook(ExpectNone(within_ms=1_000, match=Match(text="*reminder*")))
    run.begins()
    run.arrives("The weather is fine")
    assert (run.cursor.state, run.miss) == (RunState.RUNNING, None)
    run.arrives("A reminder for you")
    assert run.cursor.state is RunState.FAILED
    assert run.cursor.reason.startswith("Step 1 expected no message with text '*reminder*' for 1 s, but m2 came")


def test_silence_that_does_not_mean_a_message_leaves_it_to_the_rules() -> None:
    run = Playbook(
        ExpectNone(within_ms=1_000, match=Match(text="*reminder*")), rules=[rule(when("*code*"), reply("1234"))]
    )
    run.begins()
    assert run.arrives("Your code?") == [replied("1234")]
    assert run.arrives("The weather is fine") == []
    assert run.miss is not None
    assert run.miss.about == "rule 1"


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.STOPPED])
def test_a_run_that_has_ended_so_reacts_to_nothing(state: RunState) -> None:
    run = Playbook(expect("*", within_ms=100), rules=[rule(when("*"), reply("yes"))])
    run.cursor = before = Cursor(state=state)
    assert [*run.arrives("one"), *run.passes(0), *run.leaves("x", "B")] == []
    assert (run.cursor, run.miss) == (before, None)


def test_a_run_that_is_paused_answers_nothing_until_it_goes_on() -> None:
    run = Playbook(rules=[rule(when("*"), reply("yes"))])
    run.cursor = before = Cursor(paused="paused: too many texts")
    assert ([*run.arrives("one")], run.cursor, run.miss) == ([], before, None)
    run.cursor = Cursor()
    assert len([*run.arrives("one")]) == 1


# Rules


def test_a_message_goes_to_the_step_first_and_then_to_the_rules_in_order() -> None:
    run = Playbook(
        expect("one"),
        reply("step"),
        expect("never"),
        rules=[rule(when("o*"), reply("first rule")), rule(when("*"), reply("second rule"))],
    )
    run.begins()
    assert run.arrives("one") == [replied("step")]
    assert run.arrives("one") == [replied("first rule")]
    assert run.arrives("two") == [replied("second rule")]
    assert run.cursor.step == 2  # a rule moves no script


def test_a_rule_does_everything_it_has_one_after_the_other() -> None:
    run = Playbook(rules=[rule(when("*"), reply("a", after_ms=1_000), OFF, OUTAGE, reply("b", after_ms=500))])
    run.begins()
    assert run.arrives("one") == [
        replied("a", after_ms=1_000),
        Delayed(what=OFF, after_ms=1_000),
        Delayed(what=OUTAGE, after_ms=1_000),
        replied("b", after_ms=1_500),
    ]


def test_rules_still_react_when_the_script_is_finished() -> None:
    run = Playbook(expect("one"), rules=[rule(when("*stop*"), reply("STOP"))])
    run.begins()
    run.arrives("one")
    assert run.cursor.state is RunState.FINISHED
    assert run.arrives("text stop to stop") == [replied("STOP")]
    assert run.cursor.state is RunState.FINISHED


def test_a_persona_goes_from_state_to_state() -> None:
    run = Playbook(
        rules=[
            rule(when("*PIN?*", required_state=START, new_state="wrong once"), reply("0000")),
            rule(when("*PIN?*", required_state="wrong once", new_state="done"), reply("1234")),
        ]
    )
    run.begins()
    assert run.arrives("Your PIN?") == [replied("0000")]
    assert run.arrives("Wrong. Your PIN?") == [replied("1234")]
    assert run.arrives("Your PIN?") == []
    assert run.cursor.named_state == "done"


# What is kept, and filled in


def test_what_was_saved_is_filled_into_later_texts() -> None:
    run = Playbook(
        expect(pattern=r"code is (\d+)", save={"code": "1"}),
        expect(pattern=r"dear (?P<who>\w+)", save={"name": "who", "all": "0"}),
        reply("{code} by {name}, {{literally}} {all}"),
        expect(),
    )
    run.begins()
    run.arrives("Your code is 4711.")
    assert run.arrives("Enter it, dear Ada.") == [replied("4711 by Ada, {literally} dear Ada")]
    assert run.cursor.saved == {"code": "4711", "name": "Ada", "all": "dear Ada"}


def test_a_rule_saves_too_and_the_newest_counts() -> None:
    run = Playbook(rules=[rule(when(pattern=r"code (\d+)", save={"code": "1"}), reply("{code}"))])
    run.begins()
    assert run.arrives("code 1") == [replied("1")]
    assert run.arrives("code 2") == [replied("2")]


def test_a_group_that_took_no_part_is_saved_as_nothing() -> None:
    run = Playbook(expect(pattern="a(b)?", save={"b": "1"}), reply("<{b}>"))
    run.begins()
    assert run.arrives("a")[0] == replied("<>")


@pytest.mark.parametrize(
    ("text", "comes_out"),
    [
        ("plain", "plain"),
        ("{name}", "Ada"),
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{Ada}"),
        ("{name}{name}", "AdaAda"),
        ("{other}", "{other}"),
        ("{", "{"),
        ("}", "}"),
        ("{}", "{}"),
        ("{{", "{"),
        ("}}", "}"),
        ("{name.__class__} {0} {name!r}", "{name.__class__} {0} {name!r}"),
        ("{braces}", "{name}"),  # what was saved is text, and filled in once
        ("%s $name \\1", "%s $name \\1"),
    ],
)
def test_names_in_braces_are_all_there_is_to_a_text(text: str, comes_out: str) -> None:
    assert engine.filled(text, {"name": "Ada", "braces": "{name}"}) == comes_out


# Sessions and shortcodes


def test_a_reply_goes_to_the_shortcode_and_in_the_session_of_the_last_message_that_fitted() -> None:
    run = Playbook(expect("one"), expect("two"), reply("yes"))
    run.begins()
    run.arrives("one", "A", "48974")
    run.arrives("stray", "C", "33333")
    assert run.arrives("two", "B", "55555")[0] == Text(text="yes", to=Shortcode("55555"), session_id="B")


def test_a_reply_may_name_its_session_and_a_text_that_the_handset_starts_opens_one() -> None:
    run = Playbook(expect("one"), reply("late", session_id="old"), send("CINEMA"))
    run.begins()
    assert run.arrives("one")[:2] == [
        replied("late", session_id="old"),
        Text(text="CINEMA", to=SHORTCODE, new=True),
    ]


def test_a_reply_to_silence_goes_on_where_the_handset_texted_last() -> None:
    run = Playbook(expect("one"), ExpectNone(within_ms=1_000), reply("well?"), expect())
    run.begins()
    run.arrives("one", "A", "48974")
    run.leaves("hello", "B", "55555")
    assert run.passes(1) == [Text(text="well?", to=Shortcode("55555"), session_id="B")]


def test_a_reply_right_after_a_text_that_opens_a_session_goes_to_the_same_shortcode() -> None:
    run = Playbook(expect("one"), replace(send("CINEMA"), to=Shortcode("55555")), reply("hello?"), expect())
    run.begins()
    assert run.arrives("one", "A", "48974")[1] == Text(text="hello?", to=Shortcode("55555"))


@pytest.mark.parametrize(
    ("session", "came", "wanted"),
    [
        (Session.SAME, "A", None),
        (Session.SAME, "B", "the same as before, A"),
        (Session.NEW, "B", None),
        (Session.NEW, "A", "another than before, A"),
        (None, "B", None),
    ],
)
def test_a_session_is_compared_with_that_of_the_message_before(
    session: Session | None, came: str, wanted: str | None
) -> None:
    run = Playbook(expect("one"), expect("two", session=session), expect("three"))
    run.begins()
    run.arrives("one", "A")
    run.arrives("stray", "C")  # fits nothing, so it is not the message before
    run.arrives("two", came)
    if wanted is None:
        assert run.cursor.step == 2
    else:
        assert run.miss == Miss(about="step 2", differences=(Difference("session", wanted, came),))


@pytest.mark.parametrize("session", [Session.SAME, Session.NEW])
def test_the_first_message_of_a_run_may_have_any_session(session: Session) -> None:
    run = Playbook(expect("one", session=session), expect("two"))
    run.begins()
    run.arrives("one", "A")
    assert run.cursor.step == 1


def test_the_session_that_a_text_of_the_handset_opened_is_the_one_to_go_on_in() -> None:
    run = Playbook(expect("one"), send("CINEMA", after_ms=10), expect("two", session=Session.SAME), expect("three"))
    run.begins()
    run.arrives("one", "A")
    assert run.leaves("CINEMA", "opened") == []
    run.arrives("two", "A")
    assert run.miss == Miss(about="step 3", differences=(Difference("session", "the same as before, opened", "A"),))
    run.arrives("two", "opened")
    assert run.cursor.step == 3


def test_a_session_that_a_text_opened_unseen_is_not_compared_with_the_one_before() -> None:
    run = Playbook(expect("one"), send("CINEMA"), expect("two", session=Session.SAME), expect("three"))
    run.begins()
    run.arrives("one", "A")
    run.arrives("two", "opened")
    assert run.cursor.step == 3


# Several texts


def test_several_texts_go_one_after_the_other() -> None:
    run = Playbook(expect("one"), reply("a", "b", "c", after_ms=1_000), expect())
    run.begins()
    assert run.arrives("one") == [
        replied("a", after_ms=1_000),
        replied("b", after_ms=1_000 + GAP_MS),
        replied("c", after_ms=1_000 + 2 * GAP_MS),
    ]


def test_reversed_texts_are_sent_in_order_but_their_webhooks_come_in_the_opposite_one() -> None:
    run = Playbook(expect("one"), reply("a", "b", "c", after_ms=1_000, reversed_order=True), expect(within_ms=500))
    run.begins()
    *texts, window = run.arrives("one")
    sent = [(each.text, each.after_ms, each.after_ms + each.hold_ms) for each in texts if isinstance(each, Text)]
    assert [text for text, _, _ in sorted(sent, key=lambda each: each[1])] == ["a", "b", "c"]
    assert [text for text, _, _ in sorted(sent, key=lambda each: each[2])] == ["c", "b", "a"]
    last_webhook_ms = max(each[2] for each in sent)
    assert window == StepTimeout(step=2, after_ms=last_webhook_ms + 500)


def test_a_single_text_is_held_back_by_no_order() -> None:
    run = Playbook(send("a", reversed_order=True))
    assert run.begins() == [Text(text="a", to=SHORTCODE, new=True)]


def test_what_a_text_asks_for_of_its_webhook_goes_along() -> None:
    run = Playbook(expect("one"), reply("a", duplicates=2, msisdn_format=MsisdnFormat.PLUS, telco="glo"))
    run.begins()
    assert run.arrives("one") == [replied("a", duplicates=2, msisdn_format=MsisdnFormat.PLUS, telco="glo")]


# Misses


def text_differs(wanted: str, found: str) -> tuple[Difference, ...]:
    return (Difference("text", wanted, found),)


def test_what_fits_nothing_is_a_miss_and_changes_nothing() -> None:
    run = Playbook(expect("one", within_ms=5_000))
    run.begins()
    before = run.cursor
    assert run.arrives("two") == []
    assert run.cursor == before
    assert run.miss == Miss(about="step 1", differences=text_differs("one", "two"))


def test_a_miss_is_about_the_step_or_rule_that_came_closest() -> None:
    run = Playbook(
        expect("one", session=Session.SAME),
        rules=[rule(When(match=Match(text="two", segments=3))), rule(when("three"))],
    )
    run.begins()
    run.cursor = replace(run.cursor, session_id="A")
    run.arrives("four", "B")
    assert run.miss == Miss(about="rule 2", differences=text_differs("three", "four"))


def test_of_two_that_came_as_close_the_miss_is_about_the_step() -> None:
    run = Playbook(expect("one"), rules=[rule(when("two"))])
    run.begins()
    run.arrives("three")
    assert run.miss == Miss(about="step 1", differences=text_differs("one", "three"))


def test_a_rule_for_another_state_is_no_near_miss_beside_those_for_this_one() -> None:
    run = Playbook(rules=[rule(when("one", required_state="later")), rule(when("two", session=Session.NEW))])
    run.begins()
    run.cursor = replace(run.cursor, session_id="A")
    run.arrives("one", "A")
    assert run.miss is not None
    assert run.miss.about == "rule 2"


def test_where_only_another_state_would_do_the_miss_says_so() -> None:
    run = Playbook(expect("one", required_state="asked"))
    run.begins()
    run.arrives("one")
    assert run.miss == Miss(about="step 1", differences=(Difference("required_state", "asked", START),))


def test_a_message_after_the_end_of_a_script_without_rules_is_no_miss() -> None:
    run = Playbook(expect("one"))
    run.begins()
    run.arrives("one")
    assert run.arrives("two") == []
    assert run.miss is None
