"""Reading an exported file: whatever cannot be is complained about, with the number of its line."""

import json
import re
from typing import Any

import pytest

from sandbox.transfer import imports
from sandbox.transfer.imports import Import, Limits, LineError
from tests.transfer.test_rows import (
    ALL,
    ATTEMPT,
    CALL,
    DELIVERY,
    HANDSET,
    HEADER,
    MO,
    MT,
    OWED,
    PAYLOAD,
    REFUSAL,
    SCENARIO,
    file_of,
)


def errors(*lines: Any, limits: Limits | None = None) -> list[str]:
    found = imports.read(file_of(*lines), limits or Limits())
    assert not isinstance(found, Import), "no complaint"
    return [str(each) for each in found]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", None),
        ("{", "line 2: This is not JSON: Expecting property name"),
        ("[]", "line 2: This is JSON, but not an object."),
        ("[" * 100_000, "line 2: This is not JSON: it is nested deeper than 32 levels"),
        ('{"type": NaN}', "line 2: This is not JSON: NaN is not JSON"),
        ('{"type": "handset", "type": "message"}', "line 2: This is not JSON: the key"),
        ("\udcff", "line 2: This is not JSON: byte 0 is not UTF-8"),
        ('{"type": "handset", "label": "\\ud800"}', "line 2: The line holds the unpaired surrogate \\ud800"),
        ('{"type": "handset", "\\u0000": ""}', "line 2: The line holds the character NUL"),
        ("{}", 'line 2: type is "None"'),
        ('{"type": "\\u001b[2J"}', 'line 2: type is "\\x1b[2J"'),
        (HEADER, "line 2: Here another export begins."),
        ("x" * (8 * 1024 * 1024 + 1), "line 2: The line is longer than 8388608 bytes"),
    ],
)
def test_a_line_that_is_none_is_complained_about(line: str, words: str | None) -> None:
    found = imports.read([HEADER, line])
    if words is None:
        assert isinstance(found, Import)
        assert found.entries == []
        return
    assert not isinstance(found, Import)
    assert str(found[0]).startswith(words)
    assert str(found[0]).isprintable()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "The file is empty."),
        ([""], "The file is empty."),
        ([b"SQLite format 3\x00"], "This is not JSON"),
        ([json.dumps(MT)], "This is no export of a sandbox."),
        (['{"type": "export", "version": 3}'], "The export is of version 3; this sandbox reads versions 1 to 2."),
        (['{"type": "export", "version": 0}'], "version is 0. It has to be 1 or more."),
        (['{"type": "export", "version": 2, "versoin": 2}'], "versoin is not known here. Did you mean version?"),
        (['{"type": "export"}'], "version is missing."),
        (['{"type": "export", "version": true}'], "version is"),
    ],
)  # fmt: skip
def test_what_is_no_export_is_one_complaint(given: list[Any], words: str) -> None:
    found = imports.read([*given, *[json.dumps(MT)] * bool(given and given[0])])
    assert not isinstance(found, Import)
    assert len(found) == 1
    assert found[0].message.startswith(words)


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (HANDSET, {"msisdn": "0802"}, 'msisdn is "0802". It has to be a phone number'),
    (HANDSET, {"state": "lost"}, 'state is "lost". It has to be one of on, off.'),
    (HANDSET, {"label": "x" * 81}, "label is"),
    (HANDSET, {"labl": ""}, "labl is not known here. Did you mean label?"),
    (MT, {"id": "w7"}, 'id is "w7". It has to be an identifier such as m12.'),
    (MT, {"id": "m٣"}, "id is"),
    (MT, {"id": "m" + "9" * 5000}, "id is"),
    (MT, {"direction": "up"}, "direction is"),
    (MT, {"to": 5}, "to is 5. It has to be a string."),
    (MT, {"to": "5"}, 'to is "5". It has to be a phone number'),
    (MT, {"from": "no"}, 'from is "no". It has to be a shortcode'),
    (MT, {"text": "x" * 1601}, "text is"),
    (MT, {"text": None}, "text is null. It has to be a string."),
    (MT, {"session_id": ""}, "session_id is"),
    (MT, {"session_id": "x" * 256}, "session_id is"),
    (MT, {"sent_date": "x" * 65_537}, "sent_date has 65537 characters. At most 65536 are accepted."),
    (MT, {"at": "yesterday"}, "at is"),
    (MT, {"at": "1969-12-31T23:59:59Z"}, "at is"),
    (MT, {"at": "9999-12-31T23:59:59-01:00"}, "at is"),
    (MT, {"at": "2024-01-02T23:59:60Z"}, "at is"),
    (MT, {"state": "delivered"}, 'state is "delivered". It has to be one of accepted, arrived.'),
    (MT, {"extra": []}, "extra is"),
    (MT, {"warnings": [1]}, "warnings[0] is 1. It has to be a string."),
    (MT, {"occurrence": 0}, "occurrence is"),
    (CALL, {"body_base64": "*"}, "body_base64 is"),
    (CALL, {"body": "x" * 65_537}, "body is"),
    (CALL, {"body_base64": "AAAA" * 21_846}, "body_base64 is"),
    (CALL, {"headers": {}}, "headers is"),
    (CALL, {"headers": [1]}, "headers[0] is 1. It has to be an object."),
    (CALL, {"headers": [{"name": "a", "value": "b\nc"}]}, "headers[0].value is"),
    (CALL, {"headers": [{"name": "a: b", "value": ""}]}, "headers[0].name is"),
    (CALL, {"message_id": None}, "message_id is null, which is no message on a line before that lacks a call."),
    (CALL, {"message_id": "m8"}, "message_id is m8, which is no message"),
    (MO, {"webhook_delivery_id": "w99"}, "webhook_delivery_id is w99, which no line gives to it."),
    (DELIVERY, {"message_id": "m7"}, "message_id is m7, which is no message of a handset on a line before."),
    (DELIVERY, {"message_id": "m99"}, "message_id is m99"),
    (DELIVERY, {"url": "ftp://127.0.0.1/"}, "url is"),
    (DELIVERY, {"url": "//[::1"}, "url is"),
    (DELIVERY, {"body": "{}"}, "body is"),
    (DELIVERY, {"body": "[]"}, "body is"),
    (DELIVERY, {"body": PAYLOAD.replace('"Yesterday"', "5")}, "body is"),
    (DELIVERY, {"body": {"base64": ""}}, "body is"),
    (DELIVERY, {"redelivery_of": "w99"}, "redelivery_of is w99"),
    (DELIVERY, {"edited": "no"}, 'edited is "no". It has to be true or false.'),
    (DELIVERY, {"edited": True, "body": "₦" * 21_846}, "body is"),
    (REFUSAL, {"status_code": 1000}, "status_code is"),
    (REFUSAL, {"problems": [{"code": "x"}]}, "problems[0].field is missing."),
    *((DELIVERY, {"attempts": [{**ATTEMPT, **changes}]}, f"{words}") for changes, words in (
        ({"number": 2}, "number is 2. The next attempt of w8 is 1."),
        ({"number": 0}, "attempts[0].number is 0. It has to be 1 or more."),
        ({"outcome": "lost"}, 'attempts[0].outcome is "lost". It has to be one of answered,'),
        ({"status_code": 20}, "attempts[0].status_code is"),
        ({"status_code": None}, "attempts[0].status_code is"),
        ({"status_code": True}, "attempts[0].status_code is true. It has to be a whole number or null."),
        ({"outcome": "timed_out"}, 'attempts[0].status_code is "200". It has to be null where nothing was answered.'),
        ({"duration_ms": -1}, "attempts[0].duration_ms is"),
        ({"offset_s": 1e300}, "attempts[0].offset_s is"),
        ({"response_body": "x" * 16_385}, "attempts[0].response_body is"),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "words"), WRONG)
def test_a_value_that_cannot_be_is_complained_about_with_its_line(
    kind: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    lines = [{**each, **changes} if each is kind else each for each in ALL]
    [first, *_] = errors(*lines)
    assert first.startswith(f"line {2 + ALL.index(kind)}: {words}"), first
    assert first.isprintable()


def test_everything_that_is_wrong_with_a_line_is_told_at_once() -> None:
    assert errors({**HANDSET, "state": "lost", "telco": 5, "labl": ""}) == [
        "line 2: telco is 5. It has to be a string.",
        'line 2: state is "lost". It has to be one of on, off.',
        "line 2: labl is not known here. Did you mean label?",
    ]
    assert [each.split(" is ")[0] for each in errors({**MT, "text": "x" * 1601, "at": "", "ref_id": "x" * 256})] == [
        "line 2: text", "line 2: at", "line 2: ref_id",
    ]  # fmt: skip


def test_every_line_that_is_wrong_is_named_up_to_a_limit() -> None:
    wrong = {**HANDSET, "state": "lost"}
    assert [each.split(":")[0] for each in errors(HANDSET, wrong, MT, wrong)] == ["line 3", "line 5"]
    assert len(errors(*[wrong] * 100)) == imports.MOST_ERRORS


def test_the_same_identifier_twice_is_complained_about() -> None:
    assert errors(MT, CALL, CALL) == [
        "line 4: message_id is m7, which is no message on a line before that lacks a call."
    ]
    assert errors(MT, MT) == ["line 3: id is m7, as on line 2. Each message has one."]
    assert errors(MO, OWED, OWED) == ["line 4: id is w8, as on a line before. Each webhook delivery has one."]


def test_the_limits_of_the_sandbox_hold_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    two = [MT, {**MT, "id": "m8"}]
    assert isinstance(imports.read(file_of(*two), Limits(messages=2)), Import)
    [only] = errors(*two, REFUSAL, REFUSAL, REFUSAL, limits=Limits(messages=2))
    assert only.startswith("line 4: There are more than 2 messages and refused calls")
    assert errors(MT, limits=Limits(text=10))[0].startswith("line 2: text is")
    assert errors(REFUSAL, limits=Limits(body=0))[0].startswith("line 2: body is")
    monkeypatch.setattr(imports, "MOST_LINES", 3)
    [only] = errors(HANDSET, HANDSET, HANDSET, HANDSET)
    assert only.startswith("line 4: There are more than 3 lines")


def test_a_message_with_a_thousand_attempts_is_too_much_for_one_transaction() -> None:
    attempts = [{**ATTEMPT, "number": number} for number in range(1, 1001)]
    assert isinstance(imports.read(file_of(MO, {**OWED, "attempts": attempts[:998]})), Import)
    assert errors(MO, {**OWED, "attempts": attempts})[0] == (
        "line 3: m8 has more than 1000 webhook deliveries and attempts. Leave some out."
    )


def test_a_complaint_changes_nothing_and_says_its_line() -> None:
    assert str(LineError(3, "text is missing.")) == "line 3: text is missing."
    assert re.match(r"line \d+: ", errors({})[0])


def test_a_scenario_that_cannot_be_read_is_complained_about() -> None:
    assert errors({**SCENARIO, "name": "../etc"})[0].startswith('line 2: name is "../etc".')
    assert errors({**SCENARIO, "source": "rules: ["})[0].startswith("line 2: The scenario cannot be read: mine.yaml:")
