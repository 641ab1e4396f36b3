"""What goes over the wire, byte for byte, beside the documented examples."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.model import Account, Msisdn, MsisdnFormat, Shortcode
from sandbox.wire.payloads import PLACEHOLDERS, failure, success, to_json, two_way_sms
from sandbox.wire.problems import problem
from sandbox.wire.requests import SendSms
from sandbox.wire.text import measure


def webhook(
    *,
    telco: str = "mtn",
    text: str = "…",
    session_id: str = "67543uhn3",
    ref_id: str = "",
    revision: str = "2024",
    form: MsisdnFormat = MsisdnFormat.PLAIN,
    turn: int = 0,
) -> bytes:
    """The documented example, with changes."""
    return two_way_sms(
        telco=telco,
        msisdn=Msisdn("2348020000000"),
        shortcode=Shortcode("48974"),
        text=text,
        session_id=session_id,
        sent_date="2024-01-02T23:50:37.000000Z",
        ref_id=ref_id,
        revision=revision,
        form=form,
        turn=turn,
    )


DOCUMENTED = (
    b'{"type": "two-way sms", "telco": "mtn", "from": "2348020000000", "to": "48974", '
    b'"message": "\xe2\x80\xa6", "session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)


def test_the_webhook_is_the_documented_one_byte_for_byte() -> None:
    assert webhook() == DOCUMENTED


def test_the_first_revision_leaves_ref_id_out() -> None:
    assert webhook(ref_id="873ghf8749956778gf5") == DOCUMENTED


def test_the_later_revision_ends_with_ref_id() -> None:
    assert webhook(ref_id="873ghf8749956778gf5", revision="2025") == (
        DOCUMENTED[:-1] + b', "ref_id": "873ghf8749956778gf5"}'
    )


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        (MsisdnFormat.PLAIN, ["2348020000000"] * 4),
        (MsisdnFormat.PLUS, ["+2348020000000"] * 4),
        (MsisdnFormat.MIXED, ["2348020000000", "+2348020000000"] * 2),
    ],
)
def test_the_number_comes_plain_or_with_plus_or_by_turns(form: MsisdnFormat, numbers: list[str]) -> None:
    assert [json.loads(webhook(form=form, turn=turn))["from"] for turn in range(4)] == numbers


def test_only_the_number_of_the_handset_gets_a_plus() -> None:
    assert json.loads(webhook(form=MsisdnFormat.PLUS))["to"] == "48974"


@pytest.mark.parametrize(
    ("text", "on_the_wire"),
    [
        pytest.param('say "yes"', rb"say \"yes\"", id="quotes"),
        pytest.param("C:\\new", rb"C:\\new", id="backslash"),
        pytest.param("one\ntwo\r\n\tthree", rb"one\ntwo\r\n\tthree", id="line breaks"),
        pytest.param("\x00\x1b\x1f", rb"\u0000\u001b\u001f", id="control characters"),
        pytest.param("₦500 😀", b"\xe2\x82\xa6500 \xf0\x9f\x98\x80", id="UTF-8, not escaped"),
        pytest.param("a/b", b"a/b", id="slash"),
    ],
)
def test_a_text_is_escaped_as_json_wants_and_no_further(text: str, on_the_wire: bytes) -> None:
    assert b'"message": "' + on_the_wire + b'", "session_id"' in webhook(text=text)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(), st.text(), st.text())
def test_whatever_the_texts_are_the_webhook_is_their_json(text: str, session_id: str, ref_id: str) -> None:
    body = webhook(text=text, session_id=session_id, ref_id=ref_id, revision="2025")
    assert body == json.dumps(json.loads(body), ensure_ascii=False).encode()
    assert list(json.loads(body).items()) == [
        ("type", "two-way sms"),
        ("telco", "mtn"),
        ("from", "2348020000000"),
        ("to", "48974"),
        ("message", text),
        ("session_id", session_id),
        ("sent_date", "2024-01-02T23:50:37.000000Z"),
        ("ref_id", ref_id),
    ]


# The answer to an accepted message ---------------------------------------------------------------------------------


def answer(template: str | None, ref_id: str | None = "873ghf8749956778gf5") -> bytes:
    sms = SendSms(
        shortcode=Shortcode("48974"),
        msisdn=Msisdn("2348020000000"),
        text="x" * 161,
        session_id="67543uhn3",
        sent_date="2024-01-02T23:50:37.000000Z",
        ref_id=ref_id,
        extra={},
        warnings=(),
    )
    account = Account(name="default", token="sandbox-token", success_body=template)
    return success(account, 12, sms, measure(sms.text))


def test_the_default_success_body_names_the_message() -> None:
    assert answer(None) == b'{"status_code": 200, "message": "Message accepted", "reference_id": "m12"}'


@pytest.mark.parametrize(
    ("placeholder", "value"),
    [
        ("message_id", "m12"),
        ("from", "48974"),
        ("to", "2348020000000"),
        ("session_id", "67543uhn3"),
        ("ref_id", "873ghf8749956778gf5"),
        ("sent_date", "2024-01-02T23:50:37.000000Z"),
        ("encoding", "GSM-7"),
        ("segments", 2),
    ],
)
def test_a_placeholder_alone_takes_the_type_of_its_fact(placeholder: str, value: object) -> None:
    assert json.loads(answer(f'{{"x": "{{{placeholder}}}"}}')) == {"x": value}


def test_every_placeholder_can_be_used_in_one_text() -> None:
    template = json.dumps({"all": " ".join(f"{{{name}}}" for name in PLACEHOLDERS)})
    assert json.loads(answer(template)) == {
        "all": "m12 48974 2348020000000 67543uhn3 873ghf8749956778gf5 2024-01-02T23:50:37.000000Z GSM-7 2"
    }


def test_a_ref_id_that_did_not_come_is_null_alone_and_nothing_in_a_text() -> None:
    assert json.loads(answer('{"alone": "{ref_id}", "inside": "ref={ref_id};"}', ref_id=None)) == {
        "alone": None,
        "inside": "ref=;",
    }


def test_a_template_keeps_its_shape_and_what_is_no_text() -> None:
    template = '{"b": [1, 2.5, true, null, {"{to}": "{to}"}], "a": {}}'
    assert answer(template) == b'{"b": [1, 2.5, true, null, {"{to}": "2348020000000"}], "a": {}}'


@pytest.mark.parametrize("text", ["{}", "{1}", "{nobody}", "{ to }", "{{", "{To}", "{to", "{to.real}"])
def test_braces_that_name_no_fact_stay_as_they_are(text: str) -> None:
    assert json.loads(answer(json.dumps({"x": text, "y": f"-{text}-"}))) == {"x": text, "y": f"-{text}-"}


def test_a_fact_is_not_taken_for_a_template() -> None:
    assert json.loads(answer('{"x": "{ref_id} {to}"}', ref_id="{to}")) == {"x": "{to} 2348020000000"}


# The answer to a refused one ---------------------------------------------------------------------------------------


def test_a_refusal_holds_status_one_line_and_every_problem() -> None:
    missing = problem("missing", "message")
    assert json.loads(failure(400, [missing])) == {
        "status_code": 400,
        "message": "message is missing.",
        "errors": [
            {
                "field": "message",
                "code": "missing",
                "message": "message is missing.",
                "hint": "Send message, the text of the SMS.",
            }
        ],
    }


def test_the_keys_of_a_refusal_stand_in_the_order_of_the_contract() -> None:
    told = json.loads(failure(400, [problem("missing", "message")]))
    assert [*told, *told["errors"][0]] == ["status_code", "message", "errors", "field", "code", "message", "hint"]


def test_several_fields_are_counted_in_one_line() -> None:
    told = json.loads(failure(400, [problem("missing", "from"), problem("missing", "to")]))
    assert told["message"] == "2 fields are invalid"
    assert [each["field"] for each in told["errors"]] == ["from", "to"]


def test_a_problem_of_the_whole_request_has_no_field() -> None:
    (error,) = json.loads(failure(401, [problem("no_authorization")]))["errors"]
    assert error["field"] is None


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1, None, True], "b": "₦"}, b'{"a": [1, null, true], "b": "\xe2\x82\xa6"}'),
        ([], b"[]"),
        ("\u2028", b'"\xe2\x80\xa8"'),
    ],
)
def test_json_is_written_as_on_the_documentation_pages(value: object, written: bytes) -> None:
    assert to_json(value) == written
