"""What the lint says about the record of an application, and beside each finding the innocent record next to it."""

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.demo.survey import Survey
from sandbox.model import (
    Attempt,
    DeliveryState,
    Direction,
    Message,
    MessageState,
    Msisdn,
    Outcome,
    OutcomeKind,
    Shortcode,
    Trigger,
    WebhookDelivery,
)
from sandbox.rules.findings import AttemptRecord, Code, Finding, findings, is_opt_out
from sandbox.wire.text import measure

ADA, BEN, CHI = Msisdn("2348020000000"), Msisdn("2347030000000"), Msisdn("2348090000000")
SHORT = Shortcode("48974")
QUESTION, AGAIN, THANKS = "Which film did you see?", "Please answer with a digit.", "Thank you!"


class Record:
    """A record as the journal would have it, written down line by line. The clock stands still unless it is moved."""

    def __init__(self, *, numbered: bool = True) -> None:
        self.messages: list[Message] = []
        self.tried: list[AttemptRecord] = []
        self.now_ms = 1_000
        self._numbered = numbered
        self._number = 0
        self._begun: dict[int, int] = {}  # attempts, by webhook delivery

    def number(self) -> int:
        self._number += 1
        return self._number

    def later(self, seconds: float) -> "Record":
        self.now_ms += int(seconds * 1000)
        return self

    def _message(self, direction: Direction, text: str, session: str, msisdn: Msisdn) -> Message:
        measured = measure(text)
        message = Message(
            seq=self.number(),
            account="default",
            direction=direction,
            msisdn=msisdn,
            shortcode=SHORT,
            text=text,
            session_id=session,
            ref_id=None,
            sent_date="2024-01-02T23:50:37.000000Z",
            at_ms=self.now_ms,
            telco="mtn",
            encoding=measured.encoding,
            segments=measured.segments,
            state=MessageState.ARRIVED,
        )
        self.messages.append(message)
        return message

    def mt(self, text: str, session: str = "s1", *, to: Msisdn = ADA) -> Message:
        return self._message(Direction.MT, text, session, to)

    def mo(self, text: str, session: str = "s1", *, from_: Msisdn = ADA, routed: bool = True) -> Message:
        """A text from a handset, whose webhook was answered 200 at once unless it is not `routed`."""
        message = self._message(Direction.MO, text, session, from_)
        if routed:
            self.attempt(message)
        return message

    def attempt(
        self,
        message: Message,
        status: int | None = 200,
        *,
        kind: OutcomeKind = OutcomeKind.ANSWERED,
        again: bool = False,
        body: bytes = b"{}",
        duration_ms: float = 3,
        **others: Any,
    ) -> AttemptRecord:
        """One more attempt of the message's webhook delivery, or with `again` the first of a new one."""
        self.messages = [replace(it, delivery_seq=it.seq) if it.seq == message.seq else it for it in self.messages]
        mine = [each.delivery.seq for each in self.tried if each.delivery.message_seq == message.seq]
        seq = self.number() if again else max(mine, default=message.seq)
        number = self._begun[seq] = self._begun.get(seq, 0) + 1
        answered = kind is OutcomeKind.ANSWERED
        outcome = Outcome(
            kind=kind,
            duration_ms=duration_ms,
            status_code=status if answered else None,
            body=body if answered else b"",
            fault_seq=others.pop("fault_seq", None),
            withheld=others.pop("withheld", False),
        )
        tried = AttemptRecord(
            delivery=WebhookDelivery(
                seq=seq,
                message_seq=message.seq,
                account="default",
                msisdn=message.msisdn,
                shortcode=message.shortcode,
                url="http://127.0.0.1/",
                body=b"",
                state=DeliveryState.DELIVERED,
                created_ms=message.at_ms,
                attempts=number,
                redelivery_of=mine[0] if again and mine else None,
            ),
            attempt=Attempt(
                delivery_seq=seq,
                number=number,
                trigger=Trigger.SCHEDULED,
                started_ms=self.now_ms,
                offset_ms=0,
                outcome=outcome,
                **others,
            ),
            begun_seq=self.number() if self._numbered else None,
        )
        self.tried.append(tried)
        return tried

    def found(self, **settings: Any) -> list[Finding]:
        return list(findings(self.messages, self.tried, **settings))

    def codes(self, **settings: Any) -> list[Code]:
        return [each.code for each in self.found(**settings)]


@pytest.fixture
def record() -> Record:
    return Record()


# --- the follow-up twice ------------------------------------------------------------------------------------------


def test_a_redelivered_webhook_that_is_followed_up_twice_is_found(record: Record) -> None:
    record.mt(QUESTION)
    reply = record.mo("Titanic")
    one = record.mt(THANKS)
    again = record.attempt(reply, again=True)
    two = record.mt(THANKS)
    (found,) = record.found()
    assert found.code is Code.FOLLOW_UP_TWICE
    assert found.message_seqs == (reply.seq, one.seq, two.seq)
    assert found.delivery_seq == again.delivery.seq
    assert found.message.startswith(f"The application sent its follow-up twice: {one.id} and {two.id} ")
    assert f"as {reply.id.replace('m', 'w')} and once more as {again.delivery.id}." in found.message
    assert "at least once" in found.hint


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ({"kind": OutcomeKind.TIMED_OUT}, "as attempt 1, which timed out, and as attempt 2"),
        ({"kind": OutcomeKind.BROKEN}, "as attempt 1, whose answer was lost, and as attempt 2"),
        ({"kind": OutcomeKind.INTERRUPTED}, "as attempt 1, whose answer was lost, and as attempt 2"),
        ({"status": 503}, "as attempt 1, which it answered with 503, and as attempt 2"),
    ],
)
def test_a_retry_that_is_followed_up_once_more_is_found(record: Record, ending: dict[str, Any], words: str) -> None:
    reply = record.mo("Titanic", routed=False)
    record.attempt(reply, **ending)
    record.mt(THANKS)
    record.later(30).attempt(reply)
    record.mt(THANKS)
    (found,) = [each for each in record.found() if each.code is Code.FOLLOW_UP_TWICE]
    assert words in found.message


def test_nine_attempts_that_are_all_followed_up_are_one_finding(record: Record) -> None:
    reply = record.mo("Titanic", routed=False)
    for _ in range(9):
        record.later(30).attempt(reply, 500)
        record.mt(THANKS)
    (found,) = record.found()
    assert "its follow-up 9 times: m3, m5, m7, m9, m11 and 4 more say" in found.message
    assert len(found.message_seqs) == 10


def dealt_with_once(record: Record) -> None:
    reply = record.mo("Titanic")
    record.mt(THANKS)
    record.attempt(reply, again=True)


def two_follow_ups_of_one_attempt(record: Record) -> None:
    reply = record.mo("Titanic")
    record.mt(THANKS)
    record.mt(THANKS)  # the application's own affair, with no second webhook between
    record.attempt(reply, again=True)


def another_text(record: Record) -> None:
    reply = record.mo("Titanic")
    record.mt(THANKS)
    record.attempt(reply, again=True)
    record.mt("You said that before.")


def another_session(record: Record) -> None:
    reply = record.mo("Titanic")
    record.mt(THANKS)
    record.attempt(reply, again=True)
    record.mt(THANKS, "s2")


def another_handset(record: Record) -> None:
    reply = record.mo("Titanic")
    record.mt(THANKS)
    record.attempt(reply, again=True)
    record.mt(THANKS, to=BEN)


def two_replies_that_get_the_same_answer(record: Record) -> None:
    reply = record.mo("good")
    record.mt(AGAIN)
    record.attempt(reply, again=True)  # ignored
    record.mo("very good")
    record.mt(AGAIN)


def two_replies_that_are_answered_late(record: Record) -> None:
    record.mo("good")
    reply = record.mo("very good")
    record.mt(AGAIN)  # to the first
    record.attempt(reply, again=True)  # ignored
    record.mt(AGAIN)  # to the second


def three_replies_that_are_answered_late(record: Record) -> None:
    reply = record.mo("good")
    record.mt(AGAIN)
    record.attempt(reply, again=True)  # ignored
    record.mo("HELP")
    record.mo("very good")
    record.mt("Call us.")
    record.mt(AGAIN)


def a_reminder_and_the_same_answer_to_another_reply(record: Record) -> None:
    reply = record.mo("good")
    record.mt(AGAIN)
    record.attempt(reply, again=True)  # ignored
    record.mt("Do not forget us.")
    record.mo("very good")
    record.mt(AGAIN)


def a_reminder_long_after(record: Record) -> None:
    reply = record.mo("good")
    record.mt(AGAIN)
    record.attempt(reply, again=True)  # ignored
    record.later(3600).mt(AGAIN)


def a_retry_after_nobody_listened(record: Record) -> None:
    record.mt(AGAIN)
    reply = record.mo("good", routed=False)
    record.attempt(reply, kind=OutcomeKind.UNREACHABLE)
    record.mt(AGAIN)  # by itself: nobody had got the reply
    record.later(30).attempt(reply)
    record.mt(AGAIN)


def a_retry_after_a_fault_that_posted_nothing(record: Record) -> None:
    reply = record.mo("good", routed=False)
    record.attempt(reply, 503, fault_seq=12, withheld=True)
    record.mt(AGAIN)
    record.later(30).attempt(reply)
    record.mt(AGAIN)


@pytest.mark.parametrize(
    "innocent",
    [
        dealt_with_once, two_follow_ups_of_one_attempt, another_text, another_session, another_handset,
        two_replies_that_get_the_same_answer, two_replies_that_are_answered_late,
        three_replies_that_are_answered_late, a_reminder_and_the_same_answer_to_another_reply, a_reminder_long_after,
        a_retry_after_nobody_listened, a_retry_after_a_fault_that_posted_nothing,
    ],
)  # fmt: skip
def test_a_follow_up_that_may_be_right_is_not_found(record: Record, innocent: Any) -> None:
    innocent(record)
    assert Code.FOLLOW_UP_TWICE not in record.codes()


def test_an_answered_question_before_does_not_hide_a_follow_up_sent_twice(record: Record) -> None:
    record.mo("hello")
    record.mt(QUESTION)
    reply = record.mo("Titanic")
    record.mt(THANKS)
    record.attempt(reply, again=True)
    record.mt(THANKS)
    assert record.codes() == [Code.FOLLOW_UP_TWICE]


@pytest.mark.parametrize(("seconds", "codes"), [(1, [Code.FOLLOW_UP_TWICE]), (0, [])])
def test_without_the_journal_only_times_that_differ_say_what_came_first(seconds: int, codes: list[Code]) -> None:
    record = Record(numbered=False)
    reply = record.mo("Titanic")
    record.later(seconds).mt(THANKS)
    record.later(seconds).attempt(reply, again=True)
    record.later(seconds).mt(THANKS)
    assert record.codes() == codes


# --- sessions -----------------------------------------------------------------------------------------------------


def test_an_answer_with_a_session_of_its_own_making_is_found(record: Record) -> None:
    reply = record.mo("CINEMA", "s1")
    answer = record.mt(QUESTION, "s2")
    (found,) = record.found()
    assert (found.code, found.message_seqs) == (Code.SESSION_UNKNOWN, (reply.seq, answer.seq))
    assert '"s2"' in found.message
    assert '"s1"' in found.message


def answered_first(record: Record) -> None:
    record.mo("Titanic", "s1")
    record.mt(THANKS, "s1")
    record.mt("A new survey.", "s2")


def nobody_waits(record: Record) -> None:
    record.mt(QUESTION, "s1")
    record.mt("A new survey.", "s2")


def long_after_a_farewell(record: Record) -> None:
    record.mo("bye", "s1")
    record.later(60).mt("A new survey.", "s2")


def the_webhook_came_later(record: Record) -> None:
    reply = record.mo("CINEMA", "s1", routed=False)
    record.mt("A new survey.", "s2")
    record.attempt(reply)
    record.mt(QUESTION, "s1")


def nobody_got_the_webhook(record: Record) -> None:
    reply = record.mo("CINEMA", "s1", routed=False)
    record.attempt(reply, kind=OutcomeKind.UNREACHABLE)
    record.mt("A new survey.", "s2")


@pytest.mark.parametrize(
    "innocent",
    [answered_first, nobody_waits, long_after_a_farewell, the_webhook_came_later, nobody_got_the_webhook],
)
def test_a_session_that_begins_something_new_is_not_found(record: Record, innocent: Any) -> None:
    innocent(record)
    assert record.codes() == []


def test_an_answer_in_another_handsets_session_is_found(record: Record) -> None:
    record.mo("CINEMA", "ada", from_=ADA)
    reply = record.mo("CINEMA", "ben", from_=BEN)
    answer = record.mt(QUESTION, "ada", to=BEN)
    (found,) = record.found()
    assert (found.code, found.message_seqs) == (Code.SESSION_CROSSED, (reply.seq, answer.seq))
    assert f"to {BEN}" in found.message
    assert f"the conversation with {ADA}" in found.message


def test_an_answer_to_the_wrong_handset_is_found(record: Record) -> None:
    record.mt(QUESTION, "ada", to=ADA)
    record.mo("Titanic", "ada", from_=ADA)
    answer = record.mt(THANKS, "ada", to=BEN)
    assert [(each.code, each.message_seqs) for each in record.found()] == [(Code.SESSION_CROSSED, (answer.seq,))]


def a_session_for_everybody(record: Record) -> None:
    for msisdn in (ADA, BEN, CHI):
        record.mt(QUESTION, "survey-7", to=msisdn)
        record.mo("Titanic", "survey-7", from_=msisdn)


def a_session_for_everybody_by_name(record: Record) -> None:
    record.mt("Dear Ada, will you come?", "party", to=ADA)
    record.mt("Dear Ben, will you come?", "party", to=BEN)
    record.mo("yes", "party", from_=ADA)
    record.mt("Dear Chi, will you come?", "party", to=CHI)


def a_session_each(record: Record) -> None:
    for msisdn, session in ((ADA, "a"), (BEN, "b")):
        record.mo("CINEMA", session, from_=msisdn)
    for msisdn, session in ((ADA, "a"), (BEN, "b")):
        record.mt(QUESTION, session, to=msisdn)


@pytest.mark.parametrize("innocent", [a_session_for_everybody, a_session_for_everybody_by_name, a_session_each])
def test_a_session_that_is_nobodys_alone_is_not_found(record: Record, innocent: Any) -> None:
    innocent(record)
    assert record.codes() == []


def test_an_answer_in_a_session_that_the_handset_has_left_is_found(record: Record) -> None:
    record.mt(QUESTION, "old")
    record.mo("Titanic", "old")
    record.mt(THANKS, "old")
    reply = record.mo("CINEMA", "new")
    answer = record.mt(QUESTION, "old")
    (found,) = record.found()
    assert (found.code, found.message_seqs) == (Code.SESSION_STALE, (reply.seq, answer.seq))
    assert '"old"' in found.message
    assert '"new"' in found.message


def a_late_answer_in_the_old_session(record: Record) -> None:
    record.mo("Titanic", "old")
    record.mo("CINEMA", "new")
    record.mt(THANKS, "old")
    record.mt(QUESTION, "new")


def the_new_session_was_answered(record: Record) -> None:
    record.mt(QUESTION, "old")
    record.mo("HELP", "new")
    record.mt("Call us.", "new")
    record.mt("Do not forget: " + QUESTION, "old")


def the_application_opened_both(record: Record) -> None:
    record.mt(QUESTION, "old")
    record.mt("Will you come?", "new")
    record.mo("yes", "new")
    record.mt("Do not forget: " + QUESTION, "old")


@pytest.mark.parametrize(
    "innocent", [a_late_answer_in_the_old_session, the_new_session_was_answered, the_application_opened_both]
)
def test_two_dialogues_side_by_side_are_not_found(record: Record, innocent: Any) -> None:
    innocent(record)
    assert record.codes() == []


def test_a_session_from_before_the_record_is_known(record: Record) -> None:
    record.mo("CINEMA", "new")
    record.mt(QUESTION, "before")
    assert record.codes() == [Code.SESSION_UNKNOWN]
    assert record.codes(earlier=[(ADA, SHORT, "before")]) == [Code.SESSION_STALE]
    assert record.codes(earlier=[(ADA, SHORT, "before"), (ADA, SHORT, "new")]) == []
    assert record.codes(earlier=[(BEN, SHORT, "before")]) == [Code.SESSION_CROSSED]


# --- answers to webhooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "codes", "words"),
    [
        ({"duration_ms": 10_001}, [Code.WEBHOOK_LATE], "was answered 200 after 10 s; the limit is 10 s."),
        ({"duration_ms": 9_999}, [], ""),
        ({"duration_ms": 12_000, "status": 503}, [], ""),  # refused, however late
        (
            {"duration_ms": 10_000, "kind": OutcomeKind.TIMED_OUT},
            [Code.WEBHOOK_TIMED_OUT],
            "had no answer after 10 s",
        ),
        ({"duration_ms": 0, "kind": OutcomeKind.TIMED_OUT, "fault_seq": 12, "withheld": True}, [], ""),
        ({"kind": OutcomeKind.UNREACHABLE}, [], ""),
    ],
)
def test_an_answer_after_the_deadline_is_found(
    record: Record, attempt: dict[str, Any], codes: list[Code], words: str
) -> None:
    reply = record.mo("Titanic", routed=False)
    tried = record.attempt(reply, **attempt)
    found = record.found()
    assert [each.code for each in found] == codes
    for each in found:
        assert (each.message_seqs, each.delivery_seq) == ((reply.seq,), tried.delivery.seq)
        assert words in each.message


def test_the_deadline_is_the_one_that_is_given(record: Record) -> None:
    record.attempt(record.mo("Titanic", routed=False), duration_ms=2_000)
    assert record.codes(deadline_ms=1_500) == [Code.WEBHOOK_LATE]
    assert record.codes(deadline_ms=2_000) == []


def test_a_webhook_that_is_late_more_than_once_is_one_finding(record: Record) -> None:
    reply = record.mo("Titanic", routed=False)
    for _ in range(3):
        record.later(30).attempt(reply, kind=OutcomeKind.TIMED_OUT, duration_ms=10_000)
    (found,) = record.found()
    assert found.message.endswith("So were 2 more.")


@pytest.mark.parametrize(
    ("status", "body", "wrong"),
    [
        (200, b"OK", True),
        (200, b"", True),
        (204, b"", True),
        (200, b"<html>", True),
        (200, b"[" * 10_000, True),
        (200, b"\xff", True),
        (200, b"null", False),
        (200, b'{"status": "ok"}', False),
        (200, b"x" * 16 * 1024, False),  # cut off: nobody knows
        (500, b"OK", False),
    ],
)
def test_a_2xx_answer_without_json_is_found(record: Record, status: int, body: bytes, wrong: bool) -> None:
    record.attempt(record.mo("Titanic", routed=False), status, body=body)
    assert record.codes() == ([Code.ANSWER_NOT_JSON] if wrong else [])


def test_answers_without_json_are_one_finding_and_hostile_ones_are_made_visible(record: Record) -> None:
    replies = [record.mo("Titanic", routed=False) for _ in range(3)]
    for reply in replies:
        tried = record.attempt(reply, body=b"\x1b[2J\xe2\x80\xae" + b"x" * 100)
    (found,) = record.found()
    assert found.message_seqs == tuple(each.seq for each in replies)
    assert found.delivery_seq == tried.delivery.seq
    assert found.message.startswith(f"The webhooks of 3 messages were answered without JSON; {tried.delivery.id} got")
    assert "\\u001b[2J\\u202exxx" in found.message
    assert found.message.isprintable()


# --- segments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Your balance is ₦500. " + "x" * 100, "instead of 1, because GSM-7 cannot carry ₦ (U+20A6) NAIRA SIGN."),
        ("It’s ‘here’ " + "x" * 150, "’ (U+2019) RIGHT SINGLE QUOTATION MARK ×2, ‘ (U+2018)"),
        ("a\u200bb" + "x" * 100, "cannot carry U+200B ZERO WIDTH SPACE."),
        ("Well done 👍 " + "x" * 100, "👍 (U+1F44D) THUMBS UP SIGN."),
        ("₦ " + "x" * 69, None),  # more than 70 characters, so that it takes 2
        ("₦ " + "x" * 60, None),  # one segment either way
        ("Kí ni orúkọ rẹ? Ẹ jọ̀ọ́, ẹ dá mi lóhùn ní kíákíá o. " * 2, None),  # another language
        ("Спасибо за ваш ответ! " * 5, None),
        ("₦" * 5 + "x" * 30 + "₦" * 5 + "x" * 40, None),  # more than a tenth of the text
        ("x" * 200, None),  # GSM-7 already
    ],
)
def test_few_characters_that_cost_segments_are_named(record: Record, text: str, words: str | None) -> None:
    sent = record.mt(text)
    found = record.found()
    if text.startswith("₦ x" + "x" * 68):
        assert [each.code for each in found] == [Code.SEGMENTS]
    elif words is None:
        assert found == []
    else:
        (advice,) = found
        assert (advice.code, advice.message_seqs) == (Code.SEGMENTS, (sent.seq,))
        assert words in advice.message


def test_the_advice_says_what_to_write_and_the_same_text_counts_once(record: Record) -> None:
    for msisdn in (ADA, BEN, CHI):
        record.mt("You paid ₦500 – thank you…" + "x" * 60, to=msisdn)
    (found,) = record.found()
    assert found.message.startswith("m1, m2 and m3 take 2 segments instead of 1")
    assert found.hint.endswith('Write ₦ (U+20A6) as "NGN ", – (U+2013) as "-", … (U+2026) as "...".')


def test_a_text_that_would_be_as_long_without_is_not_found(record: Record) -> None:
    record.mt("₦" + "x" * 134)  # 3 segments of 67
    assert record.codes(segments=2) == [Code.SEGMENTS]
    assert record.codes(segments=3) == []
    other = Record()
    other.mt("₦" + "[" * 80)  # 2 segments either way: brackets take two septets
    assert other.codes() == []


def test_what_a_handset_writes_is_nobodys_fault(record: Record) -> None:
    record.mo("Good 👍 " + "x" * 100)
    assert record.codes() == []


# --- opt-out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("STOP", True), ("stop", True), (" Stop.\n", True), ("STOP!", True), ("UNSUBSCRIBE", True), ("Opt-out", True),
        ("STOP  ALL", True), ("STOPALL", True), ("STOP 12345", False), ("stop by at noon", False), ("do stop", False),
        ("STOPPED", False), ("END", False), ("CANCEL", False), ("", False), ("?", False),
    ],
)  # fmt: skip
def test_only_a_whole_text_opts_out(text: str, meant: bool) -> None:
    assert is_opt_out(text) is meant


def a_next_question(record: Record) -> None:
    record.mo("STOP")
    record.mt("And how old are you?")


def the_same_question(record: Record) -> None:
    record.mt(AGAIN)
    record.mo("STOP")
    record.mt(AGAIN)


def more_after_the_confirmation(record: Record) -> None:
    record.mo("STOP")
    record.mt("You will get no more messages.")
    record.later(3600).mt("Buy now!")


@pytest.mark.parametrize("ignoring", [a_next_question, the_same_question, more_after_the_confirmation])
def test_a_follow_up_after_stop_is_found(record: Record, ignoring: Any) -> None:
    ignoring(record)
    (found,) = record.found()
    stop = next(each for each in record.messages if each.direction is Direction.MO)
    assert (found.code, found.message_seqs) == (Code.OPT_OUT_IGNORED, (stop.seq, record.messages[-1].seq))
    assert f'sent "STOP" ({stop.id})' in found.message


def test_a_thousand_messages_after_stop_are_one_finding(record: Record) -> None:
    stop = record.mo("STOP")
    record.mt("You will get no more messages.")
    sent = [record.later(60).mt(f"Offer {number}") for number in range(1000)]
    (found,) = record.found()
    assert found.message_seqs == (stop.seq, *(each.seq for each in sent))
    assert "and 995 more" in found.message


def confirmed(record: Record) -> None:
    record.mt(QUESTION)
    record.mo("STOP")
    record.mt("You will get no more messages. Text CINEMA to come back.")


def confirmed_in_another_language(record: Record) -> None:
    record.mo("STOP")
    record.mt("Ba za ku sake samun saƙo ba.")


def confirmed_with_a_question(record: Record) -> None:
    record.mo("STOP")
    record.mt("You are unsubscribed. Was it something we said?")


def confirmed_each_time(record: Record) -> None:
    for _ in range(2):
        record.mo("STOP")
        record.mt("You will get no more messages.")


def come_back(record: Record) -> None:
    record.mo("STOP")
    record.mt("You will get no more messages.")
    record.mo("CINEMA")
    record.mt(QUESTION)
    record.mt(AGAIN)


def no_opt_out(record: Record) -> None:
    record.mo("STOP 12345")
    record.mt(QUESTION)
    record.mt(AGAIN)


def sent_before_the_webhook_came(record: Record) -> None:
    stop = record.mo("STOP", routed=False)
    record.mt(QUESTION)
    record.mt(AGAIN)
    record.attempt(stop)
    record.mt("You will get no more messages.")


def an_answer_that_was_on_its_way(record: Record) -> None:
    record.mt(QUESTION)
    record.mo("Titanic")
    record.mo("STOP")
    record.mt("And how was it?")
    record.mt("You will get no more messages.")


def another_handset_goes_on(record: Record) -> None:
    record.mo("STOP")
    record.mt(QUESTION, to=BEN)
    record.mt(AGAIN, to=BEN)


def confirmed_for_each_webhook(record: Record) -> None:
    stop = record.mo("STOP")
    record.mt("You will get no more messages.")
    record.attempt(stop, again=True)
    record.mt("You will get no more messages.")  # found, but as a follow-up sent twice


@pytest.mark.parametrize(
    "innocent",
    [
        confirmed, confirmed_in_another_language, confirmed_with_a_question, confirmed_each_time, come_back, no_opt_out,
        sent_before_the_webhook_came, an_answer_that_was_on_its_way, another_handset_goes_on,
        confirmed_for_each_webhook,
    ],
)  # fmt: skip
def test_what_respects_an_opt_out_is_not_found(record: Record, innocent: Any) -> None:
    innocent(record)
    assert Code.OPT_OUT_IGNORED not in record.codes()


# --- a sound application ------------------------------------------------------------------------------------------

_acts = st.lists(
    st.tuples(
        st.sampled_from([ADA, BEN]),
        st.sampled_from(["CINEMA", "yesterday", "3", "9", "STOP", "again", "retry", "answer", "wait"]),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(_acts)
def test_a_sound_application_is_never_complained_about(acts: list[tuple[Msisdn, str, bool]]) -> None:
    """The sample survey, which answers each reply once and in its session: at once, or later from a queue; whatever
    comes twice, and on a clock that stands still for the most part."""
    record, survey = Record(), Survey()
    queue: deque[tuple[str, str, Msisdn]] = deque()
    sessions: dict[Msisdn, str] = {}
    last: Message | None = None

    def got(message: Message) -> None:
        text = survey.answer(message.msisdn, message.text, message.session_id, f"{message.seq}")
        if text is not None:
            queue.append((text, message.session_id, message.msisdn))

    def send() -> None:
        while queue:
            text, session, to = queue.popleft()
            record.mt(text, session, to=to)
            sessions[to] = session

    for msisdn, act, flag in acts:
        match act:
            case "wait":
                record.later(1)
            case "answer":
                send()
            case "again" | "retry":
                if last is not None:
                    record.attempt(last, 200 if flag else 503, again=act == "again")
                    got(last)
            case text:
                session = sessions.get(msisdn) if flag else None
                last = record.mo(text, session or f"new-{len(record.messages)}", from_=msisdn)
                got(last)
                if flag:
                    send()
    send()
    assert record.found() == []


# --- all together -------------------------------------------------------------------------------------------------


def test_findings_are_newest_first_and_nothing_is_found_in_nothing(record: Record) -> None:
    assert record.found() == []
    record.mo("CINEMA", "s1")
    record.mt(QUESTION, "s2")
    record.later(60).mo("STOP", "s2")
    record.mt("And how old are you?", "s2")
    assert record.codes() == [Code.OPT_OUT_IGNORED, Code.SESSION_UNKNOWN]


def hostile(record: Record) -> None:
    """The longest work for each finding: all duplicated, in one conversation, at one moment, one session for all."""
    for number in range(500):
        reply = record.mo("\u202e\x00" * 20, f"s{number}")
        record.mt("x\u200b" * 40)
        record.attempt(reply, again=True)
        record.mt("x\u200b" * 40)
        record.mt("y", "everybody", to=Msisdn(f"23480{number:08}"))


def test_a_large_and_hostile_record_is_gone_through(record: Record) -> None:
    hostile(record)
    codes = record.codes()  # in less than a second; a loop too many takes minutes
    assert {*codes} == {Code.FOLLOW_UP_TWICE, Code.SESSION_UNKNOWN, Code.SESSION_STALE}
