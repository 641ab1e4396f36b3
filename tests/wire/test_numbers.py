"""Tables of numbers as callers write them, and phonenumbers' carrier data as an independent oracle for the ranges."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import carrier
from phonenumbers.carrierdata import CARRIER_DATA

from sandbox.model import Msisdn, MsisdnFormat
from sandbox.wire.numbers import (
    TELCOS,
    NumberFault,
    parse_msisdn,
    parse_shortcode,
    telco_of,
    wire_msisdn,
)

MSISDN = Msisdn("2348020000000")  # the documented example


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2348020000000", "2348020000000", id="plain"),
        pytest.param("+2348020000000", "2348020000000", id="plus"),
        pytest.param("002348020000000", "2348020000000", id="double zero"),
        pytest.param("1234567", "1234567", id="7 digits"),
        pytest.param("+123456789012345", "123456789012345", id="15 digits"),
        pytest.param("00123456789012345", "123456789012345", id="15 digits after double zero"),
    ],
)
def test_an_international_number_becomes_its_digits(text: str, expected: str) -> None:
    msisdn = parse_msisdn(text)
    assert not isinstance(msisdn, NumberFault)
    assert msisdn == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("", NumberFault.MSISDN_MALFORMED, id="empty"),
        pytest.param("+", NumberFault.MSISDN_MALFORMED, id="nothing after plus"),
        pytest.param("00", NumberFault.MSISDN_MALFORMED, id="nothing after double zero"),
        pytest.param("++2348020000000", NumberFault.MSISDN_MALFORMED, id="two pluses"),
        pytest.param("+002348020000000", NumberFault.MSISDN_MALFORMED, id="plus and double zero"),
        pytest.param("00+2348020000000", NumberFault.MSISDN_MALFORMED, id="double zero and plus"),
        pytest.param("00002348020000000", NumberFault.MSISDN_MALFORMED, id="double zero twice"),
        pytest.param("2348020000000\n", NumberFault.MSISDN_MALFORMED, id="newline at the end"),
        pytest.param(" 2348020000000", NumberFault.MSISDN_MALFORMED, id="space before"),
        pytest.param("234 802 000 0000", NumberFault.MSISDN_MALFORMED, id="spaces"),
        pytest.param("234-802-000-0000", NumberFault.MSISDN_MALFORMED, id="dashes"),
        pytest.param("2348O20000000", NumberFault.MSISDN_MALFORMED, id="letter O"),
        pytest.param("cinema", NumberFault.MSISDN_MALFORMED, id="a word"),
        pytest.param("٢٣٤٨٠٢٠٠٠٠٠٠٠", NumberFault.MSISDN_MALFORMED, id="Arabic digits"),
        pytest.param("２３４8020000000", NumberFault.MSISDN_MALFORMED, id="full-width digits"),
        pytest.param("234802000000²", NumberFault.MSISDN_MALFORMED, id="superscript"),
        pytest.param("08020000000", NumberFault.MSISDN_NOT_INTERNATIONAL, id="national"),
        pytest.param("+08020000000", NumberFault.MSISDN_NOT_INTERNATIONAL, id="national behind plus"),
        pytest.param("0008020000000", NumberFault.MSISDN_NOT_INTERNATIONAL, id="national behind double zero"),
        pytest.param("0802", NumberFault.MSISDN_NOT_INTERNATIONAL, id="national is told before length"),
        pytest.param("123456", NumberFault.MSISDN_LENGTH, id="6 digits"),
        pytest.param("00123456", NumberFault.MSISDN_LENGTH, id="6 digits after double zero"),
        pytest.param("1234567890123456", NumberFault.MSISDN_LENGTH, id="16 digits"),
        pytest.param("+1234567890123456", NumberFault.MSISDN_LENGTH, id="16 digits after plus"),
    ],
)
def test_a_text_that_is_no_msisdn_gets_the_fault_that_says_why(text: str, fault: NumberFault) -> None:
    assert parse_msisdn(text) is fault


@settings(derandomize=True, deadline=None)
@given(st.text(st.sampled_from("+012345² ٢a\n"), max_size=18) | st.text(max_size=18))
def test_whatever_is_parsed_is_a_valid_msisdn_and_parses_to_itself(text: str) -> None:
    msisdn = parse_msisdn(text)
    if not isinstance(msisdn, NumberFault):
        assert set(msisdn) <= set("0123456789")
        assert 7 <= len(msisdn) <= 15
        assert not msisdn.startswith("0")
        assert parse_msisdn(msisdn) == msisdn


@pytest.mark.parametrize("text", ["123", "48974", "007", "123456789012345"])
def test_a_shortcode_of_3_to_15_digits_is_kept_as_it_is(text: str) -> None:
    shortcode = parse_shortcode(text)
    assert not isinstance(shortcode, NumberFault)
    assert shortcode == text


@pytest.mark.parametrize(
    "text", ["", "12", "1234567890123456", "+48974", "48974\n", "48 974", "9bits", "٤٨٩٧٤", "489²"]
)
def test_anything_else_is_a_malformed_shortcode(text: str) -> None:
    assert parse_shortcode(text) is NumberFault.SHORTCODE_MALFORMED


@pytest.mark.parametrize(
    ("msisdn", "telco"),
    [
        pytest.param("2348030000000", "mtn", id="mtn range"),
        pytest.param("2348020000000", "airtel", id="airtel range, although the documented example says mtn"),
        pytest.param("2348050000000", "glo", id="glo range"),
        pytest.param("2348090000000", "9mobile", id="9mobile range"),
        pytest.param("2348040000000", "mtn", id="range of another operator"),
        pytest.param("23412345678", "mtn", id="fixed line"),
        pytest.param("233802000000", "mtn", id="another country"),
        pytest.param("8020000000", "mtn", id="a range's digits without 234"),
        pytest.param("2348020", "airtel", id="a range needs no full number"),
    ],
)
def test_the_telco_follows_the_number_range(msisdn: str, telco: str) -> None:
    assert telco_of(Msisdn(msisdn)) == telco


def test_the_documented_telco_stands_first() -> None:
    assert TELCOS == ("mtn", "airtel", "glo", "9mobile")


TELCO_BY_CARRIER = {"MTN": "mtn", "Airtel": "airtel", "Glo": "glo", "9mobile": "9mobile"}


def carrier_of(prefix: str) -> str:
    """The operator by phonenumbers, empty if it knows none, of a number whose first digits after 234 are `prefix`."""
    number = phonenumbers.parse(f"+234{prefix}".ljust(14, "0"))
    return carrier.name_for_number(number, "en")


# phonenumbers gives single blocks of 702 to other operators, and 7025 and 7026 to MTN, where our table has the whole
# of 702 for mtn. No restriction is needed: a range of another operator is mtn by our rule as well.
def test_every_nigerian_mobile_prefix_has_the_telco_that_phonenumbers_knows() -> None:
    prefixes = [str(digits) for digits in range(7000, 10000)]
    ours = {prefix: telco_of(Msisdn(f"234{prefix}000000")) for prefix in prefixes}
    theirs = {prefix: TELCO_BY_CARRIER.get(carrier_of(prefix), "mtn") for prefix in prefixes}
    assert {p: (ours[p], theirs[p]) for p in prefixes if ours[p] != theirs[p]} == {}


@pytest.mark.parametrize("name", TELCO_BY_CARRIER)
def test_the_oracle_still_knows_each_operator_by_the_prefixes_that_are_compared(name: str) -> None:
    """A renamed operator, or a prefix outside 7000 to 9999, would otherwise pass unseen as mtn."""
    known = [digits[3:] for digits, names in CARRIER_DATA.items() if digits.startswith("234") and names["en"] == name]
    assert known
    for prefix in known:
        assert prefix[0] in "789"
        assert len(prefix) in (3, 4)
        assert carrier_of(prefix) == name


@pytest.mark.parametrize(
    ("form", "turns"),
    [
        (MsisdnFormat.PLAIN, ["2348020000000", "2348020000000", "2348020000000"]),
        (MsisdnFormat.PLUS, ["+2348020000000", "+2348020000000", "+2348020000000"]),
        (MsisdnFormat.MIXED, ["2348020000000", "+2348020000000", "2348020000000"]),
    ],
)
def test_the_wire_form_is_plain_plus_or_alternating_from_plain(form: MsisdnFormat, turns: list[str]) -> None:
    assert [wire_msisdn(MSISDN, form, turn) for turn in range(3)] == turns
    assert all(parse_msisdn(text) == MSISDN for text in turns)
