"""Telephone numbers on the wire: text into `Msisdn` and `Shortcode`, an MSISDN's operator, and its form in a payload.

`+` and `00` are dropped here: the rest of the sandbox knows digits only. No sentences (see problems.py), and no number
portability: only the user can say whose number it really is.
"""

import re
from enum import StrEnum
from typing import assert_never

from sandbox.model import Msisdn, MsisdnFormat, Shortcode


class NumberFault(StrEnum):
    """Error code for a text that is no number, as on the wire. It is a `str` too: test for it with `isinstance`."""

    MSISDN_MALFORMED = "msisdn_malformed"  # empty, two prefixes, or something else than ASCII digits after one
    MSISDN_NOT_INTERNATIONAL = "msisdn_not_international"  # 0802…: the country is missing
    MSISDN_LENGTH = "msisdn_length"
    SHORTCODE_MALFORMED = "shortcode_malformed"


# International, with or without a leading "+" [D] or "00" [A]. No country code begins with 0 (ITU-T E.164), which has
# 15 digits at most and sets no minimum: 7 is ours [S]. [0-9], because \d and str.isdigit() take other scripts' digits.
MSISDN = r"(\+|00)?[1-9][0-9]{6,14}"
SHORTCODE = r"[0-9]{3,15}"  # [S]: the documented one is 48974

_international = re.compile(MSISDN).fullmatch
_shortcode = re.compile(SHORTCODE).fullmatch

# The first three digits of a Nigerian mobile number after 234; the tests compare them with phonenumbers' carrier data.
# Only mtn is documented [D], so it stands first and takes whatever is not listed [S].
_RANGES = {
    "mtn": "702 703 704 706 707 803 806 810 813 814 816 903 906 910 913 916",
    "airtel": "701 708 802 808 812 901 902 904 907 911 912",
    "glo": "705 805 807 811 815 905 915",
    "9mobile": "809 817 818 908 909",
}
_TELCO_BY_RANGE = {f"234{digits}": telco for telco, ranges in _RANGES.items() for digits in ranges.split()}

TELCOS: tuple[str, ...] = tuple(_RANGES)


def parse_msisdn(text: str) -> Msisdn | NumberFault:
    """The digits of an international number of 7 to 15 digits, or what is wrong with `text`."""
    if match := _international(text):
        return Msisdn(text[len(match[1] or "") :])
    digits = text[1:] if text.startswith("+") else text.removeprefix("00")
    if not (digits.isascii() and digits.isdecimal()) or digits.startswith("00"):
        return NumberFault.MSISDN_MALFORMED
    if digits.startswith("0"):
        return NumberFault.MSISDN_NOT_INTERNATIONAL
    return NumberFault.MSISDN_LENGTH


def parse_shortcode(text: str) -> Shortcode | NumberFault:
    """3 to 15 ASCII digits [S], kept as they are."""
    return Shortcode(text) if _shortcode(text) else NumberFault.SHORTCODE_MALFORMED


def telco_of(msisdn: Msisdn) -> str:
    """One of `TELCOS`, by number range [S]; mtn for foreign numbers and for the ranges of other operators.

    The documented example pairs 2348020000000, a number of an Airtel range, with mtn [D]: numbers are portable.
    """
    return _TELCO_BY_RANGE.get(msisdn[:6], TELCOS[0])


def wire_msisdn(msisdn: Msisdn, form: MsisdnFormat, turn: int) -> str:
    """`msisdn` as a payload shows it, "with or without a leading `+`" [D]; `turn` counts the payloads of MIXED."""
    match form:
        case MsisdnFormat.PLAIN:
            return msisdn
        case MsisdnFormat.PLUS:
            return f"+{msisdn}"
        case MsisdnFormat.MIXED:
            return f"+{msisdn}" if turn % 2 else msisdn
        case _:
            assert_never(form)
