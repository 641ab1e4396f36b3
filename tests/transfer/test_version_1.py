"""Files of version 1, which sandboxes wrote before an export was made of API objects, still import."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.store import messages, outbox
from sandbox.store.database import Tx
from sandbox.transfer import imports
from sandbox.transfer.version_1 import translated
from tests.transfer.test_rows import anew, exported, import_into
from tests.transfer.test_rows import tx as tx  # the fixture

OLD = (Path(__file__).parent / "version_1.jsonl").read_text(encoding="utf-8").splitlines()
"""An export of a sandbox of version 1: every kind of line, and bytes, headers and a path that are no text."""

HANDSET = {"type": "handset", "msisdn": "2347030000000", "label": "Ben", "telco": "glo", "state": "off"}


def test_an_old_file_imports_and_is_recognised_when_it_comes_again(tx: Tx) -> None:
    progress = import_into(tx, OLD)
    assert progress.written == {
        "handsets": 1, "scenarios": 1, "messages": 5, "refusals": 3, "webhook_deliveries": 4, "attempts": 4,
    }  # fmt: skip
    assert (progress.lines, progress.of_lines) == (len(OLD), len(OLD))
    assert not import_into(tx, OLD).written
    assert not import_into(tx, exported(tx)).written  # nor when it comes as a new one


def test_what_an_old_file_says_is_exported_in_the_new_version(tx: Tx) -> None:
    import_into(tx, OLD)
    old, new = [json.loads(line) for line in OLD], [json.loads(line) for line in exported(tx)]

    def told(lines: list[Any], kind: str, *names: str) -> list[Any]:
        return [[each[name] for name in names] for each in lines if each["type"] == kind]

    for kind, names in (
        ("handset", ("msisdn", "label", "telco", "state")),
        ("scenario", ("name", "source")),
        (
            "message",
            ("direction", "from", "to", "text", "session_id", "ref_id", "sent_date", "at", "telco", "encoding"),
        ),
        ("message", ("segments", "extra", "warnings")),
        ("webhook_delivery", ("url", "body", "created_at", "edited")),
    ):
        assert told(new, kind, *names) == told(old, kind, *names), kind
    assert [each["state"] for each in new if each["type"] == "message"] == [
        "arrived", "accepted", "delivered", "cancelled", "unrouted",
    ]  # fmt: skip
    calls = [each for each in new if each["type"] == "request"]
    assert [each["status_code"] for each in calls] == [200, 200, 400, 415, 404]
    assert calls[3]["body_base64"] == "/wB7"
    assert {"name": "x-raw", "value": "\\xff"} in calls[3]["headers"]
    assert calls[4]["path"] == "/ng/\0"
    deliveries = [each for each in new if each["type"] == "webhook_delivery"]
    assert [len(each["attempts"]) for each in deliveries] == [1, 1, 1, 1]
    assert deliveries[0]["attempts"][0]["response_body_base64"] == "/wAgbm8gdGV4dA=="
    assert anew([json.dumps(new[0])]) == [{"type": "export", "version": 2}]


def test_the_numbers_of_an_old_file_tell_its_things_apart(tx: Tx) -> None:
    import_into(tx, OLD)
    replied = messages.page(tx, account="default", text="yesterday")[0]
    first, second, edited = outbox.of_message(tx, replied.seq)
    assert (second.redelivery_of, edited.redelivery_of) == (first.seq, first.seq)
    assert replied.delivery_seq == edited.seq


def changed(number: int, changes: dict[str, Any]) -> list[str]:
    """The old file with other values on a line, counted from 1."""
    line = json.dumps({**json.loads(OLD[number - 1]), **changes})
    return [*OLD[: number - 1], line, *OLD[number:]]


NUMBERS = {json.loads(line)["type"]: number for number, line in enumerate(OLD, 1)}
"""The last line of each kind."""


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("handset", {"state": "lost"}, 'state is "lost". It has to be one of on, off.'),
        ("handset", {"msisdn": None}, "msisdn is null. It has to be a string."),
        ("handset", {"labl": ""}, "labl is not known here. Did you mean label?"),
        ("message", {"request": 5}, "request is not known here."),
        ("message", {"text": None}, "text is null. It has to be a string."),
        ("refusal", {"body": {"base64": 5}}, "body is"),
        ("refusal", {"headers": [5]}, "headers[0] is 5. It has to be an object."),
        ("refusal", {"headers": 5}, "headers is 5. It has to be a list."),
        ("webhook_delivery", {"message_id": "m99"}, "message_id is m99"),
        ("attempt", {"number": 2}, "number is 2. The next attempt of w18 is 1."),
        ("attempt", {"webhook_delivery_id": ["w9"]}, "webhook_delivery_id is"),
        ("attempt", {"outcome": "lost"}, "outcome is"),
    ],
)
def test_an_error_in_an_old_file_is_told_with_its_line(kind: str, changes: dict[str, Any], words: str) -> None:
    found = imports.read(changed(NUMBERS[kind], changes))
    assert not isinstance(found, imports.Import)
    assert str(found[0]).startswith(f"line {NUMBERS[kind]}: {words}"), found


def test_an_attempt_has_a_line_of_its_own_in_an_old_file_alone() -> None:
    found = imports.read(['{"type": "export", "version": 2}', OLD[NUMBERS["attempt"] - 1]])
    assert [str(each) for each in found] == ['line 2: type is "attempt", which no export of version 2 knows.']  # type: ignore[union-attr]


def test_what_cannot_be_translated_is_left_as_it_is() -> None:
    assert list(translated({"type": "film"})) == [{"type": "film"}]
    assert list(translated(HANDSET)) == [{**HANDSET, "id": "2347030000000", "account": ""}]
    (message,) = translated({"type": "message", "state": "routed", "request": None})
    assert (message["state"], "request" in message) == ("unrouted", False)
