"""What happened, as a scenario, a test and a transcript: that both replays fit the very conversation they came from."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.model import (
    Attempt,
    DeliveryState,
    Direction,
    Message,
    MessageState,
    Msisdn,
    Outcome,
    OutcomeKind,
    RunState,
    Shortcode,
    Trigger,
)
from sandbox.rules.matching import Match, differences
from sandbox.scenario import engine, record, script
from sandbox.scenario.steps import Cursor, Expect, HandsetSpec, Reaction, Scenario, Send, Session, Text, When
from sandbox.wire.text import measure

NUMBER = Msisdn("2348020000000")
T0_MS = 1704239437000  # 2024-01-02T23:50:37Z


def message(direction: Direction, text: str, at_s: float = 0, session: str = "A", **more: Any) -> Message:
    measured = measure(text)
    mt = direction is Direction.MT
    values: dict[str, Any] = {
        "seq": 1,
        "account": "default",
        "direction": direction,
        "msisdn": NUMBER,
        "shortcode": Shortcode("48974"),
        "text": text,
        "session_id": session,
        "ref_id": None,
        "sent_date": "2024-01-02T23:50:37.000000Z",
        "at_ms": T0_MS + round(at_s * 1000),
        "telco": "mtn",
        "encoding": measured.encoding,
        "segments": measured.segments,
        "state": MessageState.ARRIVED if mt else DeliveryState.DELIVERED,
        "delivery_seq": None if mt else 1,
    }
    return Message(**{**values, **more})


def mt(text: str, at_s: float = 0, session: str = "A", **more: Any) -> Message:
    return message(Direction.MT, text, at_s, session, **more)


def mo(text: str, at_s: float = 0, session: str = "A", **more: Any) -> Message:
    return message(Direction.MO, text, at_s, session, **more)


def numbered(*messages: Message) -> list[Message]:
    return [replace(each, seq=seq) for seq, each in enumerate(messages, start=1)]


SURVEY = numbered(
    mo("CINEMA"),
    mt("When was the last time you went to the cinema?", 1),
    mo("yesterday", 3),
    mt("Which film did you see?", 4),
    mo("Things Fall Apart", 7204),
    mt("Thank you!", 7205),
)


def expectations(scenario: Scenario) -> list[Expect]:
    return [step for step in scenario.steps if isinstance(step, Expect)]


def sends(scenario: Scenario) -> list[Send]:
    return [step for step in scenario.steps if isinstance(step, Send)]


def match_of(text: str) -> Match:
    """What a recorded scenario asks of a message that was this."""
    (expectation,) = expectations(record.as_scenario([mt(text)]))
    return expectation.when.match


# As a scenario


def test_a_conversation_becomes_a_script() -> None:
    def expect(text: str) -> Expect:
        return Expect(when=When(match=Match(text=text), session=Session.SAME), within_ms=10_000)

    assert record.as_scenario(SURVEY, name="cinema") == Scenario(
        name="cinema",
        description="Recorded on 2024-01-02 between 2348020000000 and 48974.",
        handset=HandsetSpec(telco="mtn"),
        steps=(
            Send(texts=("CINEMA",), to=Shortcode("48974"), starts=True),
            expect("When was the last time you went to the cinema?"),
            Send(texts=("yesterday",)),
            expect("Which film did you see?"),
            Send(texts=("Things Fall Apart",), after_ms=7_200_000),
            expect("Thank you!"),
        ),
    )


@pytest.mark.parametrize(
    ("seconds", "after_ms"), [(0, 0), (2.9, 0), (3, 0), (3.1, 3_000), (4.6, 5_000), (7_199.9, 7_200_000)]
)
def test_a_handset_that_took_more_than_a_few_seconds_takes_as_long_again(seconds: float, after_ms: int) -> None:
    scenario = record.as_scenario(numbered(mt("a?"), mo("b", seconds)))
    assert sends(scenario)[0].after_ms == after_ms


@pytest.mark.parametrize(("seconds", "within_ms"), [(0, 10_000), (5, 10_000), (5.1, 11_000), (60, 120_000)])
def test_an_application_gets_ten_seconds_or_twice_what_it_took(seconds: float, within_ms: int) -> None:
    scenario = record.as_scenario(numbered(mo("a"), mt("b", seconds)))
    assert expectations(scenario)[0].within_ms == within_ms


def test_a_conversation_that_the_application_began_waits_for_ever_for_its_beginning() -> None:
    first, second = expectations(record.as_scenario(numbered(mt("a"), mt("b"))))
    assert (first.within_ms, second.within_ms) == (None, 10_000)


def test_a_text_in_a_session_that_nobody_has_seen_starts_one_and_any_other_is_a_reply() -> None:
    scenario = record.as_scenario(numbered(mt("a?"), mo("b"), mo("new", 1, "B"), mt("c?", 2, "B"), mo("d", 3, "B")))
    assert [(each.texts[0], each.starts, each.to) for each in sends(scenario)] == [
        ("b", False, None),
        ("new", True, "48974"),
        ("d", False, None),
    ]


def test_a_message_in_another_session_than_before_is_not_asked_to_be_in_the_same() -> None:
    scenario = record.as_scenario(numbered(mt("a", 0, "A"), mt("b", 1, "B"), mt("c", 2, "B")))
    assert [each.when.session for each in expectations(scenario)] == [None, None, Session.SAME]


def test_shortcodes_are_asked_for_when_there_are_several() -> None:
    other = Shortcode("33333")
    scenario = record.as_scenario(
        numbered(mt("a"), mt("b", 1, "B", shortcode=other), mo("c", 2, "A"), mo("d", 3, "B", shortcode=other))
    )
    assert [each.when.match.from_ for each in expectations(scenario)] == ["48974", "33333"]
    assert [each.to for each in sends(scenario)] == ["48974", "33333"]


def test_a_number_that_was_ported_is_ported_again() -> None:
    scenario = record.as_scenario(numbered(mt("a"), mo("b", telco="glo"), mo("c", telco="airtel")))
    assert scenario.handset.telco == "glo"
    assert [each.telco for each in sends(scenario)] == [None, "airtel"]


def test_a_code_that_the_handset_repeats_is_the_one_that_comes_in_the_replay() -> None:
    scenario = record.as_scenario(numbered(mt("Your code is 482913."), mo("my code {is} 482913!")))
    (expectation,) = expectations(scenario)
    assert expectation.when.match.pattern == r"^Your code is (\d{4,8})\.$"
    assert expectation.when.save == {"code": "1"}
    first = engine.arrived(scenario, Cursor(), mt("Your code is 7777."))
    assert [each.text for each in first.effects if isinstance(each, Text)] == ["my code {is} 7777!"]


@pytest.mark.parametrize("text", ["48291", "14829", "a4829"])
def test_a_text_that_only_contains_the_digits_of_a_code_does_not_repeat_it(text: str) -> None:
    scenario = record.as_scenario(numbered(mt("Your code is 4829."), mo(text)))
    assert expectations(scenario)[0].when.save == {}
    assert sends(scenario)[0].texts == (text,)


def test_of_a_very_long_conversation_the_newest_messages_count() -> None:
    scenario = record.as_scenario(numbered(*(mt(f"number {index}") for index in range(1_001))))
    assert len(scenario.steps) == 1_000
    assert expectations(scenario)[0].when.match.text == "number 1"


def test_no_conversation_is_a_scenario_without_steps() -> None:
    assert record.as_scenario([]).steps == ()


# What is asked of a text


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Your code is 482913", r"^Your code is \d{4,8}$"),
        ("PIN 4829, valid until 23:59.", r"^PIN \d{4,8}, valid until \d+:[\d:]+(?: ?[AaPp][Mm])?\.$"),
        ("Come at 8:30 pm", r"^Come at \d+:[\d:]+(?: ?[AaPp][Mm])?$"),
        ("Due 2024-01-02", r"^Due \d+-\d+-\d+$"),
        ("At 2024-01-02T23:50:37.000000Z", r"^At \d+-\d+-\d+[T ]\d+:\S+$"),
        ("Due 2/1/2024", r"^Due \d+[/.-]\d+[/.-]\d+$"),
        ("Due 2nd January, 2024", r"^Due \d+\w* \w+(?:,? \d+)?$"),
        ("Due Jan 2", r"^Due \w+ \d+\w*(?:,? \d+)?$"),
        ("Balance: ₦1,250.50", r"^Balance: ₦ ?[\d,.]+$"),
        ("Balance: NGN 7", r"^Balance: NGN ?[\d,.]+$"),
        ("It costs N500", r"^It costs N ?[\d,.]+$"),
        ("See https://example.org/?a=b&c=1", r"^See \S+$"),
        ("See www.example.org/x now", r"^See \S+ now$"),
        ("Order ab12cd34", r"^Order [A-Za-z\d-]+$"),
        ("Order 0b8ef6bc-6b57-4c0c-a0e4-3a6a0a8b1a6d.", r"^Order [A-Za-z\d-]+\.$"),
        ("Are you +2348020000000?", r"^Are you \+?\d+\?$"),
        ("(a+b) [x] {y} ^$ | \\ 4711", r"^\(a\+b\) \[x\] \{y\} \^\$ \| \\ \d{4,8}$"),
    ],
)
def test_what_varies_is_asked_for_by_its_shape(text: str, pattern: str) -> None:
    assert match_of(text) == Match(pattern=pattern)


@pytest.mark.parametrize(
    ("text", "glob"),
    [
        ("Thank you!", "Thank you!"),
        ("How was it, from 1 (poor) to 5 (great)?", "How was it, from 1 (poor) to 5 (great)?"),
        ("Text CINEMA to 48974", "Text CINEMA to 48974"),  # the account's own shortcode
        ("123", "123"),
        ("123456789 *", None),
        ("Press *", "Press [*]"),
        ("[menu]?", "[[]menu][?]"),
        ("{braces} \\ and 'quotes' \"of\" all kinds", "{braces} \\ and 'quotes' \"of\" all kinds"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_does_not_vary_is_asked_for_word_for_word(text: str, glob: str | None) -> None:
    assert match_of(text).text == glob


def test_a_text_too_long_for_a_pattern_becomes_a_glob() -> None:
    words = "lorem [ipsum] * " * 20
    match = match_of(f"{words}4711{words}")
    assert match.text is not None
    assert "4711" not in match.text
    assert not differences(match, mt(f"{words}9999{words}"))
    assert differences(match, mt(f"{words}9999"))


def test_a_text_longer_than_what_a_pattern_gets_to_see_becomes_a_glob() -> None:
    assert match_of(f"https://example.org/{'x' * 3_000} 4711") == Match(text="* *")


def test_what_took_the_place_of_a_code_is_another_code_and_nothing_else() -> None:
    match = match_of("Your code is 482913.")
    assert not differences(match, mt("Your code is 1234."))
    assert differences(match, mt("Your code is wrong."))
    assert differences(match, mt("Well. Your code is 1234."))


@pytest.mark.parametrize("each", record.VARYING, ids=lambda each: each.kind)
def test_no_kind_of_value_has_groups_of_its_own(each: record.Varying) -> None:
    assert re.compile(each.found).groups == re.compile(each.becomes).groups == 0


# As a test


def test_a_conversation_becomes_a_test() -> None:
    conversation = numbered(
        mt("Your code is 4711, it\u2019s secret"), mo("4711", 5), mt('Say "yes"', 25), mo("it's \\ yes", 26, "A")
    )
    assert record.as_pytest(conversation, name="my-bank") == (
        '"""Recorded on 2024-01-02 between 2348020000000 and 48974."""\n'
        "\n"
        "import re\n"
        "\n"
        "\n"
        "def test_my_bank(ninebits, handset):\n"
        '    # ninebits.client_url = "http://127.0.0.1:8000/sms"  # where your application takes replies\n'
        "    # Here your application has to send its first message, to handset.number.\n"
        '    message = handset.wait_for_message(pattern=r"^Your code is (\\d{4,8}), it’s secret$")\n'
        "    session_id = message.session_id\n"
        '    code = re.search(r"^Your code is (\\d{4,8}), it’s secret$", message.text)[1]\n'
        "    ninebits.clock.advance(5)\n"
        "    handset.reply(code)\n"
        "    message = handset.wait_for_message(text='Say \"yes\"', timeout=40)\n"
        "    assert message.session_id == session_id\n"
        '    handset.reply(r"it\'s \\ yes")\n'
    )


def test_a_conversation_that_the_handset_began_becomes_a_test_that_sends() -> None:
    assert 'handset.send("CINEMA", to="48974")\n' in record.as_pytest(SURVEY)
    assert "    ninebits.clock.advance(7200)\n" in record.as_pytest(SURVEY)
    assert "import re" not in record.as_pytest(SURVEY)


def test_no_conversation_is_a_test_that_compiles() -> None:
    compile(record.as_pytest([]), "test_recorded.py", "exec")


class Replay:
    """Stands for the fixture `handset`, and for an application that does again what it did."""

    number = NUMBER

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = iter(messages)

    def wait_for_message(self, *, timeout: float = 5, **filters: Any) -> Message:
        message = self._next(Direction.MT)
        assert list(differences(Match(**filters), message)) == []
        return message

    def send(self, text: str, *, to: str) -> None:
        message = self._next(Direction.MO)
        assert (text, to) == (message.text, message.shortcode)

    def reply(self, text: str) -> None:
        assert text == self._next(Direction.MO).text

    def _next(self, direction: Direction) -> Message:
        message = next(self._messages)
        assert message.direction is direction
        return message

    def over(self) -> bool:
        return next(self._messages, None) is None


def play_test(source: str, messages: Sequence[Message]) -> None:
    """Run what `as_pytest` wrote against the conversation that it came from."""
    module: dict[str, Any] = {}
    exec(compile(source, "test_recorded.py", "exec"), module)
    replay = Replay(messages)
    module["test_recorded"](SimpleNamespace(clock=SimpleNamespace(advance=lambda seconds: None)), replay)
    assert replay.over()


def play_scenario(scenario: Scenario, messages: Sequence[Message]) -> None:
    """Play a scenario against the conversation that it came from: everything fits, and is said again."""
    said: list[str] = []

    def follow(reaction: Reaction) -> Cursor:
        assert reaction.miss is None
        said.extend(each.text for each in reaction.effects if isinstance(each, Text))
        return reaction.cursor

    cursor = follow(engine.begin(scenario, Cursor()))
    for each in messages:
        if each.direction is Direction.MT:
            cursor = follow(engine.arrived(scenario, cursor, each))
        else:
            cursor = follow(engine.originated(scenario, cursor, each))
    if cursor.state is not RunState.FINISHED:  # the last text was given time to go
        cursor = follow(engine.window_passed(scenario, cursor, len(scenario.steps)))
    assert cursor.state is RunState.FINISHED
    assert said == [each.text for each in messages if each.direction is Direction.MO]


# Everything that a contract lets through, and plenty of what means something to Python, YAML, globs and patterns.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PIECES = st.sampled_from(
    [
        *"*?[]{}()\\'\"`$^|#:-,&!%@ \n\r\t\x1b\x7f\x85\xa0\u2028\u202e\u200d\ufeff\ufffe😀",
        '"""',
        "'''",
        "{code}",
        "{{",
        "\\N{DIGIT ONE}",
        "[a-z]",
        "- a: &b *c",
        "\r\n",
        "4711",
        "₦1,250.50",
        "https://example.org/?a=[b]",
        "2024-01-02 23:50",
        "ab12cd34",
        "+2348020000000",
    ]
)
TEXTS = st.lists(PIECES | st.text(CHARACTERS, max_size=5), min_size=1, max_size=30).map("".join).filter(bool)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    texts = draw(st.lists(TEXTS, min_size=1, max_size=5))
    at_s = 0
    messages: list[Message] = []
    for text in texts:
        direction = draw(st.sampled_from(list(Direction)))
        at_s += draw(st.sampled_from([0, 1, 5, 7200]))
        answer = draw(st.booleans()) and messages and messages[-1].direction is Direction.MT
        found = re.findall(r"\w+|\S+", messages[-1].text) if answer else []
        said = draw(st.sampled_from(found)) if found and direction is Direction.MO else text
        messages.append(message(direction, said, at_s, draw(st.sampled_from("AB"))))
    return numbered(*messages)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "it's",
        'say "yes"',
        'it\'s "both"',
        "a\\b",
        "ends in \\",
        'say "a\\b"',
        'it\'s "a\\b"',
        "\\\n",
        '"""',
        "\x1b\u202e\u2028\ufeff",
    ],
)
def test_a_recorded_test_says_word_for_word_what_was_said(text: str) -> None:
    messages = numbered(mt("?"), mo(text), mt(text), mo("{}" + text))
    play_test(record.as_pytest(messages), messages)


@settings(max_examples=300, deadline=None)
@given(conversations())
def test_a_recorded_test_compiles_and_passes_on_what_it_was_recorded_from(messages: list[Message]) -> None:
    source = record.as_pytest(messages)
    assert all(each.isprintable() or each == "\n" for each in source)
    play_test(source, messages)


@settings(max_examples=300, deadline=None)
@given(conversations())
def test_a_recorded_scenario_fits_what_it_was_recorded_from(messages: list[Message]) -> None:
    play_scenario(record.as_scenario(messages), messages)


@settings(max_examples=300, deadline=None)
@given(conversations())
def test_a_recorded_scenario_reads_as_it_was_written(messages: list[Message]) -> None:
    scenario = record.as_scenario(messages)
    assert script.read(script.write(scenario)) == scenario


def test_a_pause_of_years_is_as_long_as_a_scenario_may_say() -> None:
    scenario = record.as_scenario(numbered(mt("a?"), mo("b", 3 * 366 * 86_400), mt("c", 5 * 366 * 86_400)))
    assert script.read(script.write(scenario)) == scenario


@pytest.mark.parametrize("text", ["a\0b 4711", "\ud800", "4711 \udfff"])
def test_what_no_scenario_can_say_is_asked_for_as_any_message(text: str) -> None:
    messages = numbered(mt(text))
    assert match_of(text) == Match(text="*")
    play_scenario(record.as_scenario(messages), messages)
    play_test(record.as_pytest(messages), messages)


# As a transcript


def attempts_of(*outcomes: Outcome | None) -> Iterator[Attempt]:
    for number, outcome in enumerate(outcomes, start=1):
        yield Attempt(
            delivery_seq=1,
            number=number,
            trigger=Trigger.SCHEDULED,
            started_ms=T0_MS,
            offset_ms=(number - 1) * 30_000,
            outcome=outcome,
        )


def test_a_transcript_reads_like_a_conversation() -> None:
    messages = numbered(
        mt("When?"),
        mo("yesterday", 2),
        mt("Two\nlines", 60, state=MessageState.ACCEPTED),
        mo("?", 9 * 3600, "B", state=DeliveryState.PENDING),
    )
    attempts = attempts_of(
        Outcome(kind=OutcomeKind.TIMED_OUT, duration_ms=10_000.4, error="no answer within 10 s"),
        Outcome(kind=OutcomeKind.ANSWERED, duration_ms=12.2, status_code=200),
        None,
    )
    made = {1: list(attempts)}
    messages[3] = replace(messages[3], delivery_seq=4)
    assert record.as_text(messages, made).splitlines() == [
        "2024-01-02, 2348020000000 (mtn) and 48974, session A",
        "  23:50:37  application  When?",
        "  23:50:39  handset      yesterday",
        "                         [attempt 1 after 0 s: timed out in 10000 ms, no answer within 10 s]",
        "                         [attempt 2 after 30 s: answered 200 in 12 ms]",
        "                         [attempt 3 after 60 s: under way]",
        "  23:51:37  application  Two",
        "                         lines",
        "                         [accepted]",
        "",
        "2024-01-03, 2348020000000 (mtn) and 48974, session B",
        "  08:50:37  handset      ?",
        "                         [pending]",
    ]


def test_a_transcript_shows_what_would_hide_or_move_its_neighbours() -> None:
    text = record.as_text([mt("\x1b[2J\u202eabc\u2028\rd\x00\ud800", session="\x07")])
    assert r"\x1b[2J\u202eabc\u2028\rd\x00\ud800" in text
    assert r"session \x07" in text
    assert all(each.isprintable() or each == "\n" for each in text)


def test_a_transcript_leaves_scripts_and_emoji_whole() -> None:
    assert "👩🏾‍🎓 Ọjọ́ Ẹtì" in record.as_text([mt("👩🏾‍🎓 Ọjọ́ Ẹtì")])


def test_no_conversation_is_an_empty_transcript() -> None:
    assert record.as_text([]) == ""
