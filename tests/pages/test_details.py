"""What an unfolded bubble says of an answer, of the time between, and of an edited payload: words as tables."""

import json
from dataclasses import replace

import pytest

from sandbox.model import (
    Attempt,
    DeliveryState,
    Outcome,
    OutcomeKind,
    WebhookDelivery,
)
from sandbox.pages.details import DOCUMENTED, Effect, in_order, oddities
from sandbox.pages.formatting import spelled
from tests import samples

TEXT = replace(samples.MO, seq=5, state="delivered")
ATTEMPT = replace(samples.ATTEMPT, delivery_seq=5)
DELIVERY = WebhookDelivery(
    seq=9,
    message_seq=5,
    account="default",
    msisdn=TEXT.msisdn,
    shortcode=TEXT.shortcode,
    url="http://127.0.0.1:8000/sms",
    body=b"{}",
    state=DeliveryState.DELIVERED,
    created_ms=TEXT.at_ms,
    redelivery_of=5,
    edited=True,
)


def effect(late_ms: int = 48, attempt: Attempt = ATTEMPT, *, first: bool = True) -> Effect:
    return Effect(text=TEXT, message=replace(TEXT, seq=9, at_ms=TEXT.at_ms + late_ms), attempt=attempt, first=first)


@pytest.mark.parametrize(
    ("late_ms", "words"),
    [(48, "48 ms after"), (1500, "1.5 s after"), (61_900, "1 min 1 s after"), (0, "after"), (-5, "after")],
)
def test_the_time_between_is_told_where_there_was_one(late_ms: int, words: str) -> None:
    assert effect(late_ms).after == words


@pytest.mark.parametrize(
    ("kind", "status", "where", "words"),
    [
        (OutcomeKind.ANSWERED, 200, None, "answered 200 after 12 ms and "),
        (OutcomeKind.ANSWERED, 503, (5, 3), "answered 503 after 12 ms (attempt 3) and "),
        (OutcomeKind.ANSWERED, 200, (8, 1), "answered 200 after 12 ms (w8, attempt 1) and "),
        (OutcomeKind.TIMED_OUT, None, None, "did not answer (timed out) but "),
    ],
)
def test_the_answer_names_its_attempt_unless_it_was_the_first(
    kind: OutcomeKind, status: int | None, where: tuple[int, int] | None, words: str
) -> None:
    outcome = Outcome(kind=kind, duration_ms=12, status_code=status)
    delivery_seq, number = where or (5, 1)
    attempt = replace(ATTEMPT, outcome=outcome, delivery_seq=delivery_seq, number=number)
    assert effect(attempt=attempt, first=where is None).answer == words


def test_an_attempt_under_way_has_no_answer_to_tell() -> None:
    assert effect().answer == ""


def test_attempts_of_several_webhook_deliveries_stand_as_they_began() -> None:
    later = replace(ATTEMPT, started_ms=ATTEMPT.started_ms + 5)
    again, by_hand = replace(ATTEMPT, delivery_seq=8), replace(ATTEMPT, number=2)
    assert in_order([later, again, by_hand, ATTEMPT]) == [ATTEMPT, by_hand, again, later]


WHOLE = dict.fromkeys(DOCUMENTED, "x")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (json.dumps(WHOLE), []),
        (json.dumps({**WHOLE, "more": 1}), []),
        (json.dumps({**WHOLE, "message": 5}), ["Not a string: message. 9bits sends these keys as strings."]),
        (
            json.dumps(dict.fromkeys(DOCUMENTED[2:], "x")),
            ["Without type and telco, which 9bits always sends."],
        ),
        ("[]", ["This is JSON, but not an object. 9bits always posts an object."]),
        ("no", ["This is not JSON: Expecting value at line 1, column 1. 9bits always posts a JSON object."]),
        ("[" * 60_000, ["This is not JSON: it is nested deeper than 32 levels. 9bits always posts a JSON object."]),
    ],
)
def test_what_is_odd_about_an_edited_payload_is_said(body: str, words: list[str]) -> None:
    assert list(oddities(replace(DELIVERY, body=body.encode()))) == words


def test_a_payload_that_nobody_edited_has_nothing_odd() -> None:
    assert oddities(replace(DELIVERY, edited=False, body=b"no")) == ()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"message": "a\u202eb\u0085"}', '{"message": "a\\u202eb\\u0085"}'),
        ('{"message": "₦ <b>"}', '{"message": "₦ <b>"}'),
        ("no JSON \u202e", "no JSON \u202e"),
    ],
)
def test_json_to_be_copied_has_escapes_for_what_hides(body: str, shown: str) -> None:
    assert spelled(body.encode()) == shown
