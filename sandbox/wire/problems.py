"""Error codes of the gateway, each with its sentence, and a hint that says what would be accepted instead.

9bits documents neither its error codes nor their wording, so all of it is ours [S]. The JSON shape of a failure is made
in payloads.py; nothing here knows HTTP beyond the status that a code implies.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from sandbox.model import Problem

_EXAMPLE_MSISDN = "2348020000000"

CATALOGUE: dict[str, tuple[int, str, str]] = {
    # code: (status, sentence, hint); {…} are facts of the call
    "method_not_allowed": (405, "{method} is not allowed here.", "Send an SMS with POST."),
    "not_found": (404, "There is no {path} on the gateway.", "Send an SMS with POST /ng/v1/sendsms."),
    "body_too_large": (413, "The body is larger than {limit} bytes.", "Send one message per call."),
    "content_type": (
        415,
        "The content type is {value}.",
        "Send the header Content-Type: application/json; a charset parameter is fine if it is utf-8.",
    ),
    "no_authorization": (
        401,
        "The call has no Authorization header.",
        "Send the header Authorization: Bearer <api token>.",
    ),
    "not_bearer": (
        401,
        "The Authorization header is not of the form “Bearer <api token>”.",
        "Send the header Authorization: Bearer <api token>: one word Bearer, one space, the token.",
    ),
    "unknown_token": (
        401,
        "No account has the token {masked}.",
        "Use the token of one of this sandbox's accounts; the start-up banner and the page Settings name them.",
    ),
    "foreign_shortcode": (
        403,
        "The shortcode {shortcode} does not belong to the account {account}.",
        "Send from one of: {shortcodes}; or add the shortcode to the account's settings.",
    ),
    "invalid_json": (400, "The body is not valid JSON: {reason}.", "Send one JSON object, encoded as UTF-8."),
    "not_an_object": (
        400,
        "The body is JSON, but {kind}, not an object.",
        'Send one object: {{"from": …, "to": …, "message": …}}.',
    ),
    "missing": (400, "{field} is missing.", "Send {field}, {wanted}."),
    "a2p_text": (
        400,
        "message is missing; the text stands under {key}.",
        "{key} is the key of the one-way A2P contract. Two-way SMS calls the text message.",
    ),
    "not_a_string": (400, "{field} is {kind}, not a string.", "Send {field} as a JSON string, {wanted}."),
    "empty": (400, "{field} is empty.", "Send {field}, {wanted}."),
    "too_long": (400, "{field} has {length} characters, more than {limit}.", "Send at most {limit} characters."),
    "unusable_character": (
        400,
        "{field} holds {character}, which cannot be stored or sent.",
        "Leave out NUL and unpaired surrogates.",
    ),
    "shortcode_malformed": (
        400,
        "from is {value}, which is not a shortcode.",
        'Send the shortcode as 3 to 15 digits, for example "48974".',
    ),
    "msisdn_malformed": (
        400,
        "to is {value}, which is not a phone number.",
        f'Send digits only, with or without a leading + or 00, for example "{_EXAMPLE_MSISDN}".',
    ),
    "msisdn_not_international": (
        400,
        "to is {value}, a national number.",
        f'Send the number with its country code and without the 0: "{_EXAMPLE_MSISDN}", not "08020000000".',
    ),
    "msisdn_length": (
        400,
        "to is {value}, which has {length} digits.",
        "An international number has 7 to 15 digits.",
    ),
    "date_malformed": (
        400,
        "sent_date is {value}, which is not a moment in time.",
        'Send ISO 8601 with a time zone, in UTC with microseconds: "2024-01-02T23:50:37.000000Z".',
    ),
    "fault": (
        503,  # unless the fault names another
        "The fault {fault} asked for this, {count}: {effect}.",
        "Nothing is wrong with the call. Remove {fault}, or let it be used up, and the gateway answers as usual.",
    ),
    "storage": (503, "The message could not be stored: {reason}", "Nothing was recorded; send it again."),
}

WANTED: dict[str, str] = {
    "from": 'the shortcode, for example "48974"',
    "to": f'the phone number in international form, for example "{_EXAMPLE_MSISDN}"',
    "message": "the text of the SMS",
    "session_id": 'an opaque string that ties the dialogue together, for example "67543uhn3"',
    "sent_date": 'ISO 8601 in UTC with microseconds, for example "2024-01-02T23:50:37.000000Z"',
    "ref_id": 'an opaque string, for example "873ghf8749956778gf5"',
}
"""What a field should hold, in words, from the documented table [D] [R]."""


def problem(code: str, about: str | None = None, /, **facts: object) -> Problem:
    """The problem `code` of the field `about`, with its sentence and hint filled in from `facts`."""
    _, sentence, hint = CATALOGUE[code]
    if about is not None:
        facts = {"field": about, "wanted": WANTED.get(about, "a string"), **facts}
    return Problem(field=about, code=code, message=sentence.format(**facts), hint=hint.format(**facts))


_FAULT = re.compile(r"The fault f([0-9]{1,18}) asked for this, [^:]*: (.*)\.")
WITHHELD = "nothing was posted"  # ends the effect of a fault that kept a webhook from being posted


class FaultStrike(NamedTuple):
    """The fault that the sentence of the problem `fault` names, and its effect in words."""

    fault_seq: int
    effect: str


def fault_strikes(sentences: Iterable[str]) -> list[FaultStrike]:
    """Those of the sentences that are of the problem `fault`, taken apart, so that a page can say it in fewer words."""
    found = (_FAULT.fullmatch(each) for each in sentences)
    return [FaultStrike(int(each[1]), each[2]) for each in found if each is not None]


def strike_of(sentences: Iterable[str]) -> tuple[int | None, bool]:
    """`fault_seq` and `withheld` of an outcome that has nothing but sentences, as in an older database or an exported
    file."""
    strike = next(iter(fault_strikes(sentences)), None)
    return (None, False) if strike is None else (strike.fault_seq, strike.effect.endswith(WITHHELD))


def status_of(code: str) -> int:
    """The HTTP status that a problem of this code implies."""
    return CATALOGUE[code][0]


def quote(value: object, most: int = 40) -> str:
    """A value from the wire, short and harmless enough to stand in a sentence."""
    text = ascii(value)[1:-1] if isinstance(value, str) else ascii(value)
    return f'"{text[:most]}…"' if len(text) > most else f'"{text}"'


def mask(secret: str) -> str:
    """The first 4 characters of a secret of 12 or more, then `…`; nothing of a shorter one."""
    return f"{secret[:4]}…" if len(secret) >= 12 else "…"


def unusable_character(text: str) -> str | None:
    """The first character of `text` that databases and wires refuse, in words: NUL or an unpaired surrogate."""
    for character in text:
        if character == "\0":
            return "the character NUL"
        if "\ud800" <= character <= "\udfff":
            return f"the unpaired surrogate \\u{ord(character):04x}"
    return None
