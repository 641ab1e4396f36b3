"""Typed values of the control API's answers, and what a message's text holds."""

from typing import Any

import pytest

from sandbox.objects.derive import from_json
from sandbox.objects.messages import Message, Request, Waited
from sandbox.objects.webhooks import Attempt

MESSAGE: dict[str, Any] = {
    "id": "m2",
    "seq": 2,
    "direction": "mt",
    "from": "48974",
    "to": "2348020000000",
    "text": "When was the last time you went to the cinema?",
    "session_id": "67543uhn3",
    "ref_id": None,
    "sent_date": "2024-01-02T23:50:37.000000Z",
    "at": "2024-01-02T23:50:37.000000Z",
    "telco": "mtn",
    "encoding": "GSM-7",
    "segments": 1,
    "state": "arrived",
    "webhook_delivery_id": None,
    "warnings": ["one"],
}


def message(text: str = "", **changes: object) -> Message:
    return from_json(Message, {**MESSAGE, "text": text, **changes})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Your code is 123456.", "123456"),
        ("123 456 is your code", "123456"),
        ("G-123-456", "123456"),
        ("Use 4821, valid until 2024-01-02", "4821"),
        ("Pay ₦5000 with PIN 1234", "1234"),
        ("Call +2348020000000 or send 9876", "9876"),
        ("Order 12 of 1,250.00: 55512", "55512"),
        ("0042", "0042"),
        ("Code:7777", "7777"),
        ("A 12345678901 is no code, but 1111 is", "1111"),
    ],
)
def test_a_code_is_the_first_number_of_its_length_that_stands_alone(text: str, code: str) -> None:
    assert message(text).code() == code


@pytest.mark.parametrize("text", ["", "no digits", "12", "+2348020000000", "2024-01-02", "١٢٣٤"])
def test_a_text_without_a_code_says_so(text: str) -> None:
    with pytest.raises(AssertionError, match="no code of 4 to 8 digits"):
        message(text).code()


def test_the_length_of_a_code_may_be_another() -> None:
    assert message("Room 12, code 123").code(least=3, most=3) == "123"


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("See https://example.org/a?b=c&d=1#e.", ["https://example.org/a?b=c&d=1#e"]),
        ("(http://a.example), <HTTPS://b.example/x>!", ["http://a.example", "HTTPS://b.example/x"]),
        ("ftp://example.org and www.example.org", []),
    ],
)
def test_links_are_found_without_the_punctuation_behind_them(text: str, links: list[str]) -> None:
    assert message(text).links() == links


def test_a_message_knows_its_handset_in_either_direction() -> None:
    assert (message().handset, message().shortcode) == ("2348020000000", "48974")
    reply = message(direction="mo", **{"from": "2348020000000", "to": "48974"})
    assert (reply.handset, reply.shortcode) == ("2348020000000", "48974")


def test_keys_of_a_newer_sandbox_are_left_out_and_lists_are_tuples() -> None:
    made = message(colour="red")
    assert not hasattr(made, "colour")
    assert made.warnings == ("one",)
    assert made.from_ == "48974"


def test_what_was_waited_for_is_true_if_it_came() -> None:
    near = {"message": MESSAGE, "differences": [{"field": "text", "wanted": "*a*", "found": "b"}]}
    found = from_json(Waited, {"satisfied": False, "messages": [MESSAGE], "near_misses": [near], "seq": 7})
    assert not found
    assert found.messages[0].id == "m2"
    assert found.near_misses[0].differences[0].wanted == "*a*"
    assert from_json(Waited, {"satisfied": True, "messages": [], "near_misses": [], "seq": 7})


def test_an_attempt_that_is_under_way_has_no_outcome() -> None:
    made = from_json(
        Attempt, {"number": 1, "trigger": "scheduled", "offset_s": 0, "started_at": "", "response_body": ""}
    )
    assert (made.status_code, made.outcome, made.warnings) == (None, None, ())


@pytest.mark.parametrize(("code", "by_fault"), [("fault", True), ("missing", False)])
def test_a_refusal_that_was_asked_for_is_told_apart(code: str, by_fault: bool) -> None:
    problem = {"field": None, "code": code, "message": "", "hint": ""}
    assert from_json(Request, {"id": "r1", "seq": 1, "problems": [problem]}).by_fault is by_fault
