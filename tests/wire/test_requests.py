"""Tables of bodies as callers write them, hostile ones included, and Hypothesis for those that nobody thought of."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox.model import MAX_OPAQUE, Problem
from sandbox.wire import payloads
from sandbox.wire.nesting import MAX_DEPTH
from sandbox.wire.requests import KEYS, SendSms, decode_json, is_instant, parse

MAX_TEXT = 1600

EXAMPLE: Mapping[str, str] = {  # the documented example [D], with the later revision's key [R]
    "from": "48974",
    "to": "2348020000000",
    "message": "When was the last time you went to the cinema?",
    "session_id": "67543uhn3",
    "sent_date": "2024-01-02T23:50:37.000000Z",
    "ref_id": "873ghf8749956778gf5",
}
ALL = tuple(EXAMPLE)


def to_body(fields: object) -> bytes:
    return json.dumps(fields).encode()


def accepted(body: bytes, *, strict: bool = True) -> SendSms:
    parsed = parse(body, strict=strict, max_text=MAX_TEXT)
    assert isinstance(parsed, SendSms), parsed
    return parsed


def refused(body: bytes, *, strict: bool = True) -> tuple[Problem, ...]:
    parsed = parse(body, strict=strict, max_text=MAX_TEXT)
    assert not isinstance(parsed, SendSms), parsed
    assert parsed
    return parsed


def errors(changes: Mapping[str, object], *, strict: bool = True) -> list[tuple[str | None, str]]:
    """(field, code) of every problem of the example with `changes`."""
    return [(each.field, each.code) for each in refused(to_body({**EXAMPLE, **changes}), strict=strict)]


def reason(body: bytes) -> str:
    """What a body that is no JSON is told."""
    (problem,) = refused(body)
    assert (problem.field, problem.code) == (None, "invalid_json")
    return problem.message


# The documented table ----------------------------------------------------------------------------------------------


def test_the_documented_example_is_read_as_it_is_meant() -> None:
    assert accepted(to_body({name: EXAMPLE[name] for name in KEYS})) == SendSms(
        shortcode="48974",  # type: ignore[arg-type]  # NewTypes of str
        msisdn="2348020000000",  # type: ignore[arg-type]
        text="When was the last time you went to the cinema?",
        session_id="67543uhn3",
        sent_date="2024-01-02T23:50:37.000000Z",
        ref_id=None,
        extra={},
        warnings=(),
    )


def test_the_later_revisions_ref_id_is_read() -> None:
    assert accepted(to_body(EXAMPLE)).ref_id == "873ghf8749956778gf5"


def test_the_keys_may_stand_in_any_order() -> None:
    assert accepted(to_body({name: EXAMPLE[name] for name in reversed(ALL)})) == accepted(to_body(EXAMPLE))


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_the_table_may_not_be_missing(name: str) -> None:
    fields = {key: value for key, value in EXAMPLE.items() if key != name}
    assert [(each.field, each.code) for each in refused(to_body(fields))] == [(name, "missing")]


@pytest.mark.parametrize("name", KEYS)
def test_null_is_as_good_as_missing(name: str) -> None:
    assert errors({name: None}) == [(name, "missing")]


def test_ref_id_may_be_null() -> None:
    assert accepted(to_body({**EXAMPLE, "ref_id": None})).ref_id is None


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_no_key_may_be_empty(name: str, strict: bool) -> None:
    assert errors({name: ""}, strict=strict) == [(name, "empty")]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        pytest.param(48974, "a number", id="integer"),
        pytest.param(1.5, "a number", id="fraction"),
        pytest.param(True, "a boolean", id="true"),
        pytest.param(False, "a boolean", id="false"),
        pytest.param(["48974"], "an array", id="array"),
        pytest.param([], "an array", id="empty array"),
        pytest.param({"number": "48974"}, "an object", id="object"),
        pytest.param({}, "an object", id="empty object"),
    ],
)
@pytest.mark.parametrize("name", ALL)
def test_every_key_has_to_be_a_string(name: str, value: object, kind: str) -> None:
    (problem,) = refused(to_body({**EXAMPLE, name: value}))
    assert (problem.field, problem.code) == (name, "not_a_string")
    assert problem.message == f"{name} is {kind}, not a string."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("message", "x" * MAX_TEXT, id="message"),
        pytest.param("message", "😀" * MAX_TEXT, id="message, counted in characters"),
        pytest.param("session_id", "s" * MAX_OPAQUE, id="session_id"),
        pytest.param("ref_id", "r" * MAX_OPAQUE, id="ref_id"),
        pytest.param("from", "1" * 15, id="from"),
        pytest.param("to", "+" + "1" * 15, id="to"),
    ],
)
def test_a_value_may_be_as_long_as_the_limit(name: str, value: str) -> None:
    accepted(to_body({**EXAMPLE, name: value}))


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        pytest.param("message", "x" * (MAX_TEXT + 1), "too_long", id="message"),
        pytest.param("session_id", "s" * (MAX_OPAQUE + 1), "too_long", id="session_id"),
        pytest.param("ref_id", "r" * (MAX_OPAQUE + 1), "too_long", id="ref_id"),
        pytest.param("from", "1" * 16, "shortcode_malformed", id="from"),
        pytest.param("to", "1" * 16, "msisdn_length", id="to"),
    ],
)
def test_a_value_may_not_be_longer_than_the_limit(name: str, value: str, code: str) -> None:
    assert errors({name: value}) == [(name, code)]


def test_a_error_about_length_says_how_long_it_was_and_how_long_it_may_be() -> None:
    (problem,) = refused(to_body({**EXAMPLE, "message": "x" * 1601}))
    assert problem.message == "message has 1601 characters, more than 1600."
    assert problem.hint == "Send at most 1600 characters."


def test_all_problems_come_at_once_in_the_order_of_the_table() -> None:
    wrong = {
        "ref_id": "",
        "sent_date": "yesterday",
        "session_id": ["67543uhn3"],
        "message": "x" * 1601,
        "to": "0802",
        "from": "cinema",
    }
    assert errors(wrong) == [
        ("from", "shortcode_malformed"),
        ("to", "msisdn_not_international"),
        ("message", "too_long"),
        ("session_id", "not_a_string"),
        ("sent_date", "date_malformed"),
        ("ref_id", "empty"),
    ]


def test_an_empty_object_lacks_the_whole_table() -> None:
    assert [(each.field, each.code) for each in refused(b"{}")] == [(name, "missing") for name in KEYS]


# Lenient mode ------------------------------------------------------------------------------------------------------


def test_lenient_mode_does_without_session_id_and_sent_date_and_says_so() -> None:
    fields = {name: EXAMPLE[name] for name in ("from", "to", "message")}
    sms = accepted(to_body(fields), strict=False)
    assert (sms.session_id, sms.sent_date) == (None, None)
    assert [warning.split(" ", 1)[0] for warning in sms.warnings] == ["session_id", "sent_date"]


def test_lenient_mode_keeps_what_is_there() -> None:
    assert accepted(to_body(EXAMPLE), strict=False) == accepted(to_body(EXAMPLE), strict=True)


@pytest.mark.parametrize("name", ["from", "to", "message"])
def test_lenient_mode_still_needs_numbers_and_text(name: str) -> None:
    assert errors({name: None}, strict=False) == [(name, "missing")]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"sent_date": "yesterday"}, "date_malformed"), ({"session_id": 5}, "not_a_string")],
)
def test_lenient_mode_is_not_lenient_about_what_is_wrong(changes: dict[str, object], code: str) -> None:
    assert errors(changes, strict=False) == [(*changes, code)]


# Unknown keys ------------------------------------------------------------------------------------------------------


def test_unknown_keys_are_kept_with_a_warning_for_each() -> None:
    sms = accepted(to_body({"Priority": 1, **EXAMPLE, "meta": {"campaign": ["cinema", None]}}))
    assert sms.extra == {"Priority": 1, "meta": {"campaign": ["cinema", None]}}
    assert [warning.split(" ", 1)[0] for warning in sms.warnings] == ['"Priority"', '"meta"']


def test_a_key_in_another_case_is_another_key() -> None:
    assert errors({"to": None, "To": "2348020000000"}) == [("to", "missing")]


def test_a_warning_shows_an_unknown_key_harmlessly() -> None:
    (warning,) = accepted(to_body({**EXAMPLE, "\x1b[2J\u202e" + "k" * 100: 1})).warnings
    assert warning.isprintable()  # neither control nor bidi characters
    assert len(warning) < 120


# Numbers and dates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["2348020000000", "+2348020000000", "002348020000000"])
def test_a_number_may_come_plain_with_plus_or_with_00(to: str) -> None:
    assert accepted(to_body({**EXAMPLE, "to": to})).msisdn == "2348020000000"


@pytest.mark.parametrize(
    ("to", "code", "message"),
    [
        ("08020000000", "msisdn_not_international", 'to is "08020000000", a national number.'),
        ("+08020000000", "msisdn_not_international", 'to is "+08020000000", a national number.'),
        ("cinema", "msisdn_malformed", 'to is "cinema", which is not a phone number.'),
        ("234 802 000 0000", "msisdn_malformed", 'to is "234 802 000 0000", which is not a phone number.'),
        ("123456", "msisdn_length", 'to is "123456", which has 6 digits.'),
        ("+123456", "msisdn_length", 'to is "+123456", which has 6 digits.'),
        ("00123456", "msisdn_length", 'to is "00123456", which has 6 digits.'),
        ("1234567890123456", "msisdn_length", 'to is "1234567890123456", which has 16 digits.'),
    ],
)
def test_a_number_that_is_none_is_told_why(to: str, code: str, message: str) -> None:
    (problem,) = refused(to_body({**EXAMPLE, "to": to}))
    assert (problem.field, problem.code, problem.message) == ("to", code, message)


@pytest.mark.parametrize("shortcode", ["48", "4897x", "+48974", "-4897", " 48974", "４８９７４"])
def test_a_shortcode_is_3_to_15_digits(shortcode: str) -> None:
    assert errors({"from": shortcode}) == [("from", "shortcode_malformed")]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2024-01-02T23:50:37.000000Z", id="documented"),
        pytest.param("2024-01-02T23:50:37Z", id="without fraction"),
        pytest.param("2024-01-02T23:50:37.1Z", id="one digit of fraction"),
        pytest.param("2024-01-02T23:50:37.123456789Z", id="nanoseconds"),
        pytest.param("2024-01-03T00:50:37+01:00", id="offset"),
        pytest.param("2024-01-02T18:20:37.000-05:30", id="negative offset"),
        pytest.param("2024-01-02T23:50:37-00:00", id="offset unknown"),
        pytest.param("2024-01-02T23:50:37+23:59", id="largest offset"),
        pytest.param("2024-01-02t23:50:37z", id="lower case"),
        pytest.param("2024-01-02 23:50:37Z", id="blank between"),
        pytest.param("2024-02-29T00:00:00Z", id="leap day"),
        pytest.param("2016-12-31T23:59:60Z", id="leap second"),
        pytest.param("2016-12-31T23:59:60.5Z", id="leap second with fraction"),
        pytest.param("0001-01-01T00:00:00Z", id="first year"),
        pytest.param("9999-12-31T23:59:59-23:59", id="last moment"),
    ],
)
def test_an_rfc_3339_instant_is_accepted_and_kept_as_it_was_written(text: str) -> None:
    assert accepted(to_body({**EXAMPLE, "sent_date": text})).sent_date == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("yesterday", id="a word"),
        pytest.param("1704239437", id="seconds since 1970"),
        pytest.param("2024-01-02", id="date alone"),
        pytest.param("23:50:37Z", id="time alone"),
        pytest.param("2024-01-02T23:50:37", id="no zone"),
        pytest.param("2024-01-02T23:50Z", id="no seconds"),
        pytest.param("20240102T235037Z", id="basic format"),
        pytest.param("2024-W01-2T23:50:37Z", id="week date"),
        pytest.param("2024-01-02T23:50:37+0100", id="offset without colon"),
        pytest.param("2024-01-02T23:50:37+01", id="offset without minutes"),
        pytest.param("2024-01-02T23:50:37+24:00", id="offset of a day"),
        pytest.param("2024-01-02T23:50:37+01:60", id="offset of 60 minutes"),
        pytest.param("2024-01-02T23:50:37.Z", id="empty fraction"),
        pytest.param("2024-01-02T23:50:37,5Z", id="comma"),
        pytest.param("2023-02-29T00:00:00Z", id="no leap year"),
        pytest.param("2024-13-01T00:00:00Z", id="month 13"),
        pytest.param("2024-01-02T24:00:00Z", id="hour 24"),
        pytest.param("2024-01-02T23:60:00Z", id="minute 60"),
        pytest.param("2024-01-02T23:50:61Z", id="second 61"),
        pytest.param("2024-01-02T23:50:37Z\n", id="newline at the end"),
        pytest.param(" 2024-01-02T23:50:37Z", id="blank before"),
        pytest.param("２０２４-01-02T23:50:37Z", id="full-width digits"),
        pytest.param("2024-01-02_23:50:37Z", id="underscore between"),
        pytest.param("2024-01-02T23:50:37 Z", id="blank before the zone"),
    ],
)
def test_what_is_no_rfc_3339_instant_is_refused(text: str) -> None:
    assert not is_instant(text)


def test_a_wrong_date_is_told_what_is_wanted() -> None:
    (problem,) = refused(to_body({**EXAMPLE, "sent_date": "2024-01-02T23:50:37"}))
    assert (problem.field, problem.code) == ("sent_date", "date_malformed")
    assert '"2024-01-02T23:50:37"' in problem.message
    assert "2024-01-02T23:50:37.000000Z" in problem.hint


# The neighbouring contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["content", "body"])
def test_a_body_of_the_a2p_contract_is_recognised(key: str) -> None:
    fields = {"from": "48974", "to": "2348020000000", key: "Hello", "delivery_report": True}
    problems = {each.field: each for each in refused(to_body(fields))}
    assert problems["message"].code == "a2p_text"
    assert problems["message"].message == f"message is missing; the text stands under {key}."
    assert "A2P" in problems["message"].hint


def test_message_beside_content_is_the_two_way_contract() -> None:
    assert accepted(to_body({**EXAMPLE, "content": "Hello"})).extra == {"content": "Hello"}


def test_an_array_of_numbers_as_in_the_a2p_contract_is_refused() -> None:
    assert errors({"to": ["2348020000000"]}) == [("to", "not_a_string")]


# Hostile bodies ----------------------------------------------------------------------------------------------------

GOOD = to_body(EXAMPLE)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(b"", "line 1, column 1", id="empty"),
        pytest.param(b" \r\n\t", "line 2, column 2", id="blank"),
        pytest.param(b"hello", "line 1, column 1", id="a word"),
        pytest.param(GOOD[:-1], "Expecting", id="cut off"),
        pytest.param(GOOD + b"}", "Extra data", id="one bracket too many"),
        pytest.param(GOOD + GOOD, "Extra data", id="twice"),
        pytest.param(GOOD.replace(b'"from"', b"from"), "double quotes", id="key without quotes"),
        pytest.param(GOOD.replace(b'"', b"'"), "double quotes", id="single quotes"),
        pytest.param(GOOD[:-1] + b",}", "line 1, column", id="comma at the end"),
        pytest.param(b"from=48974&to=2348020000000", "line 1, column 1", id="a form"),
        pytest.param(GOOD.replace(b"cinema", b"cine\x00ma"), "control character", id="raw NUL"),
        pytest.param(GOOD.replace(b"cinema", b"cine\nma"), "control character", id="raw newline in a string"),
        pytest.param(GOOD.replace(b"cinema", rb"cine\xma"), "escape", id="unknown escape"),
        pytest.param(GOOD.replace(b"cinema", b"cine\xffma"), "byte 96 is not UTF-8", id="no UTF-8"),
        pytest.param(GOOD.replace(b"cinema", b"\xc0\xae"), "is not UTF-8", id="overlong UTF-8"),
        pytest.param(GOOD.replace(b"cinema", b"\xed\xa0\x80"), "is not UTF-8", id="surrogate in UTF-8"),
        pytest.param(GOOD.decode().encode("utf-16"), "byte 0 is not UTF-8", id="UTF-16 with BOM"),
        pytest.param(GOOD.decode().encode("utf-16-le"), "line 1, column 2", id="UTF-16-LE without BOM"),
        pytest.param(GOOD.decode().encode("utf-16-be"), "line 1, column 1", id="UTF-16-BE without BOM"),
        pytest.param(GOOD.decode().encode("utf-32"), "byte 0 is not UTF-8", id="UTF-32 with BOM"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, "byte order mark", id="UTF-8 with BOM"),
        pytest.param(b'{"n": NaN}', "NaN is not JSON", id="NaN"),
        pytest.param(b'{"n": Infinity}', "Infinity is not JSON", id="Infinity"),
        pytest.param(b'{"n": -Infinity}', "-Infinity is not JSON", id="-Infinity"),
        pytest.param(b'{"n": 1e999}', "out of range", id="1e999"),
        pytest.param(b'{"n": -1e999}', "out of range", id="-1e999"),
        pytest.param(b'{"n": %s}' % (b"1" * 5000), "more than 19 digits", id="number of 5,000 digits"),
        pytest.param(b'{"n": -%s}' % (b"1" * 5000), "more than 19 digits", id="negative one of 5,000 digits"),
        pytest.param(b'{"n": %s.5}' % (b"1" * 5000), "out of range", id="fraction of 5,000 digits"),
        pytest.param(b'{"n": 012}', "Expecting", id="octal"),
        pytest.param(b'{"n": 0x12}', "Expecting", id="hexadecimal"),
        pytest.param(b'{"n": +1}', "Expecting", id="plus sign"),
        pytest.param(b'{"n": .5}', "Expecting", id="no digit before the point"),
        pytest.param(b"[" * 100_000, "deeper than 32", id="100,000 brackets"),
        pytest.param(b"[" * 50_000 + b"]" * 50_000, "deeper than 32", id="100,000 brackets, closed"),
        pytest.param(b'{"a":' * 20_000, "deeper than 32", id="20,000 objects"),
        pytest.param(b"[" * 33, "deeper than 32", id="33 brackets, cut off"),
        pytest.param(b"[" * 32, "Expecting", id="32 brackets, cut off"),
        pytest.param(b"{'n': " + b"[" * 33, "double quotes", id="33 brackets after a mistake"),
        pytest.param(b'{"n": "' + b"[" * 33, "Unterminated", id="33 brackets in a string, cut off"),
        pytest.param(b'{"n": "\\"' + b"[" * 33 + b'", }', "line 1, column", id="33 brackets in a string"),
        pytest.param(GOOD[:-1] + b', "to": "2348020000001"}', 'key "to" stands twice', id="key twice"),
        pytest.param(GOOD[:-1] + b', "\\u0074o": "1"}', 'key "to" stands twice', id="key twice, once escaped"),
        pytest.param(b'{"a": {"b": 1, "b": 2}}', 'key "b" stands twice', id="key twice, further down"),
    ],
)
def test_what_is_no_json_is_told_where_and_why(body: bytes, told: str) -> None:
    assert told in reason(body)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"null", "null", id="null"),
        pytest.param(b"true", "a boolean", id="boolean"),
        pytest.param(b"42", "a number", id="integer"),
        pytest.param(b"-0.5", "a number", id="fraction"),
        pytest.param(b'"SMS"', "a string", id="string"),
        pytest.param(b"[]", "an array", id="empty array"),
        pytest.param(b"[" + GOOD + b"]", "an array", id="array of messages"),
    ],
)
def test_json_that_is_no_object_is_told_what_it_is(body: bytes, kind: str) -> None:
    (problem,) = refused(body)
    assert (problem.field, problem.code) == (None, "not_an_object")
    assert problem.message == f"The body is JSON, but {kind}, not an object."


NESTS = [
    pytest.param("[", "", "]", id="arrays, the innermost empty"),
    pytest.param("[", "1", "]", id="arrays around a number"),
    pytest.param('{"a":', "1", "}", id="objects around a number"),
    pytest.param('{"a":', "{}", "}", id="objects, the innermost empty"),
    pytest.param('[1,[],"x",', "[1]", "]", id="the deepest one last"),
]


def nest(open_: str, inner: str, close: str, levels: int) -> str:
    """JSON of exactly so many levels."""
    own = inner.count("[") + inner.count("{")
    return open_ * (levels - own) + inner + close * (levels - own)


@pytest.mark.parametrize(("open_", "inner", "close"), NESTS)
def test_32_levels_are_accepted(open_: str, inner: str, close: str) -> None:
    deep = nest(open_, inner, close, MAX_DEPTH - 1)  # the body's own object is the first
    assert accepted(GOOD[:-1] + b', "deep": ' + deep.encode() + b"}").extra == {"deep": json.loads(deep)}


@pytest.mark.parametrize(("open_", "inner", "close"), NESTS)
@pytest.mark.parametrize("levels", [33, 34, 100, 900])
def test_more_than_32_levels_are_refused(open_: str, inner: str, close: str, levels: int) -> None:
    deep = nest(open_, inner, close, levels - 1)
    assert "nested deeper than 32 levels" in reason(GOOD[:-1] + b', "deep": ' + deep.encode() + b"}")


def test_many_brackets_beside_each_other_are_not_deep() -> None:
    wide: list[object] = [[] for _ in range(5_000)]
    assert accepted(to_body({**EXAMPLE, "wide": wide})).extra == {"wide": wide}


def test_brackets_in_a_text_are_not_deep() -> None:
    assert accepted(to_body({**EXAMPLE, "message": "[{" * 800})).text == "[{" * 800


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", "1e308", "-0"])
def test_numbers_in_range_are_kept(number: str) -> None:
    assert decode_json(number.encode()) == json.loads(number)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("escape", "character"),
    [
        pytest.param(r"\u0000", "the character NUL", id="NUL"),
        pytest.param(r"\ud83d", r"the unpaired surrogate \ud83d", id="lone high surrogate"),
        pytest.param(r"\uDE00", r"the unpaired surrogate \ude00", id="lone low surrogate"),
        pytest.param(r"\ude00\ud83d", r"the unpaired surrogate \ude00", id="pair the wrong way round"),
    ],
)
def test_nul_and_unpaired_surrogates_are_refused_in_every_field(name: str, escape: str, character: str) -> None:
    value = EXAMPLE[name]
    (problem,) = refused(GOOD.replace(f'"{value}"'.encode(), f'"{value}{escape}"'.encode()))
    assert (problem.field, problem.code) == (name, "unusable_character")
    assert character in problem.message


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(rb'"note": "\u0000"', id="value"),
        pytest.param(rb'"note": {"a": [1, ["\ud800"]]}', id="value, further down"),
        pytest.param(rb'"no\ud800te": 1', id="key"),
        pytest.param(rb'"note": {"\u0000": 1}', id="key, further down"),
    ],
)
def test_nul_and_unpaired_surrogates_are_refused_in_unknown_keys(extra: bytes) -> None:
    (problem,) = refused(GOOD[:-1] + b", " + extra + b"}")
    assert (problem.field, problem.code) == (None, "unusable_character")
    assert problem.message.startswith("an unknown key holds ")


def test_the_problem_of_an_unknown_key_stands_last() -> None:
    body = to_body({"note": "\0", "from": ""})
    assert [each.field for each in refused(body)] == [*KEYS, None]


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert accepted(GOOD.replace(b"cinema", rb"cinema \ud83d\ude00")).text.endswith("cinema 😀?")


@pytest.mark.parametrize("text", [" ", "\t", "₦", "\x1b[2J", "\u202e", "\u2028", "\x7f", "x\ny"])
def test_any_other_character_is_a_text(text: str) -> None:
    assert accepted(to_body({**EXAMPLE, "message": text})).text == text


# What nobody thought of --------------------------------------------------------------------------------------------

every_text = st.text(st.characters(exclude_categories=()), max_size=40)  # surrogates too
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | every_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(every_text, inner, max_size=4),
    max_leaves=20,
)
nearly_right = st.fixed_dictionaries(
    {},
    optional={name: st.just(value) | st.text(max_size=30) | json_values for name, value in EXAMPLE.items()}
    | {"content": json_values, "body": json_values, "note": json_values},
)


def check(body: bytes, strict: bool) -> None:
    """Every body is either a message that can be stored, or has problems that can be told."""
    parsed = parse(body, strict=strict, max_text=MAX_TEXT)
    if isinstance(parsed, SendSms):
        assert 1 <= len(parsed.text) <= MAX_TEXT
        for text in (parsed.text, parsed.session_id or "", parsed.ref_id or "", *parsed.warnings):
            assert "\0" not in text
            text.encode()
        json.dumps(parsed.extra, ensure_ascii=False, allow_nan=False).encode()
    else:
        told = json.loads(payloads.failure(400, parsed))
        assert len(told["errors"]) == len(parsed) >= 1
        assert all(each["message"] and each["hint"] for each in told["errors"])


@settings(derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200), st.booleans())
@example(b'{"from": "\xf4\x90\x80\x80"}', True)
def test_arbitrary_bytes_are_a_message_or_have_problems(body: bytes, strict: bool) -> None:
    check(body, strict)


@settings(derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(json_values | nearly_right, st.booleans(), st.booleans())
def test_arbitrary_json_is_a_message_or_has_problems(value: object, strict: bool, ascii_only: bool) -> None:
    check(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), strict)
