"""Parser of the body of `POST /ng/v1/sendsms`: bytes -> `SendSms`, or all of its problems at once.

Pure: no account, no clock, no HTTP. Key names, examples and rules are those of the documented table [D] [R]; where the
pages are silent the rule is ours and marked [S].
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sandbox.model import MAX_OPAQUE, Msisdn, Problem, Shortcode
from sandbox.wire.nesting import MAX_DEPTH, too_deep
from sandbox.wire.numbers import NumberFault, parse_msisdn, parse_shortcode
from sandbox.wire.problems import problem, quote, unusable_character

EXAMPLE = (  # the documented one [D]
    '{"from": "48974", "to": "2348020000000", "message": "When was the last time you went to the cinema?", '
    '"session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)
KEYS = ("from", "to", "message", "session_id", "sent_date")  # the table of [D], all required in strict mode
_NAMES = (*KEYS, "ref_id")  # [R]
LENIENT = frozenset({"session_id", "sent_date"})  # may be missing in lenient mode [S]
TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(?:\.\d+)?"
    r"(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_KINDS = {
    "NoneType": "null",
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "list": "an array",
    "dict": "an object",
    "str": "a string",
}


class SendSms(NamedTuple):  # on the hot path: as frozen as a dataclass, and made in a third of the time
    """An MT message as the application handed it over. What lenient mode let it leave out is None."""

    shortcode: Shortcode
    msisdn: Msisdn
    text: str
    session_id: str | None
    sent_date: str | None
    ref_id: str | None
    extra: Mapping[str, object]
    warnings: tuple[str, ...]


class _Unusable(ValueError):
    """JSON that Python's parser would take, but that nobody should send."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Unusable(f"the key {quote(twice)} stands twice in one object")
    return made


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > 19:
        raise _Unusable("a number has more than 19 digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _Unusable("a number is out of range")
    return value


def _constant(name: str) -> float:
    raise _Unusable(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def decode_json(body: bytes) -> Any:
    """The JSON value in `body`; ValueError says in words what is wrong with it.

    Stricter than `json.loads`: UTF-8 only, no NaN, no duplicate keys, no number beyond 64 bits, at most 32 levels.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _Unusable(f"byte {error.start} is not UTF-8") from None
    if text.startswith("\ufeff"):  # "Implementations MUST NOT add a byte order mark" (RFC 8259, 8.1)
        raise _Unusable("it begins with a byte order mark")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if too_deep(text[: error.pos]):
            raise _Unusable(TOO_DEEP) from None
        raise _Unusable(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:  # as Python before 3.13 has it
        raise _Unusable(TOO_DEEP) from None
    if too_deep(text):
        raise _Unusable(TOO_DEEP)
    return value


def _unusable_anywhere(value: object) -> str | None:
    """As `unusable_character`, for all strings in a JSON value, keys included."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            found = unusable_character(each)
            if found:
                return found
        elif isinstance(each, dict):
            todo += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            todo += each
    return None


def parse(body: bytes, *, strict: bool, max_text: int) -> SendSms | tuple[Problem, ...]:
    """Read the body of a `sendsms` call. The answer is a message, or all problems in the order of the table [D]."""
    try:
        fields = decode_json(body)
    except ValueError as error:
        return (problem("invalid_json", reason=str(error)),)
    if type(fields) is not dict:
        return (problem("not_an_object", kind=_KINDS[type(fields).__name__]),)
    # NUL and unpaired surrogates can only come from \u escapes: raw ones are no UTF-8, or no JSON.
    escaped = b"\\u" in body
    problems: list[Problem] = []
    warnings: list[str] = []
    got: list[str | None] = []
    for name in _NAMES:
        value = fields.pop(name, None)
        if type(value) is not str or not value or escaped:
            found = _error(name, value, fields, strict=strict, warnings=warnings)
            if found is not None:
                problems.append(found)
                value = None
        got.append(value)
    sender, to, text, session_id, sent_date, ref_id = got

    shortcode = None if sender is None else parse_shortcode(sender)
    if isinstance(shortcode, NumberFault):
        problems.append(problem(shortcode, "from", value=quote(sender)))
    msisdn = None if to is None else parse_msisdn(to)
    if isinstance(msisdn, NumberFault):
        digits = (to or "").removeprefix("+").removeprefix("00")
        problems.append(problem(msisdn, "to", value=quote(to), length=len(digits)))
    if text is not None and len(text) > max_text:
        problems.append(problem("too_long", "message", length=len(text), limit=max_text))
    if session_id is not None and len(session_id) > MAX_OPAQUE:
        problems.append(problem("too_long", "session_id", length=len(session_id), limit=MAX_OPAQUE))
    if sent_date is not None and not is_instant(sent_date):
        problems.append(problem("date_malformed", "sent_date", value=quote(sent_date)))
    if ref_id is not None and len(ref_id) > MAX_OPAQUE:
        problems.append(problem("too_long", "ref_id", length=len(ref_id), limit=MAX_OPAQUE))

    if fields:
        if escaped and (character := _unusable_anywhere(fields)):
            problems.append(problem("unusable_character", None, field="an unknown key", character=character))
        warnings += [f"{quote(name)} is not a key of the contract; it was kept and ignored." for name in fields]
    if problems:
        order = (*_NAMES, None)
        return tuple(sorted(problems, key=lambda each: order.index(each.field)))
    # What is required and came without a problem is there and has passed; mypy cannot follow.
    return SendSms(shortcode, msisdn, text, session_id, sent_date, ref_id, fields, tuple(warnings))  # type: ignore[arg-type]


def _error(
    name: str, value: object, rest: Mapping[str, object], *, strict: bool, warnings: list[str]
) -> Problem | None:
    """Why `value` cannot be the string it should be; None if it can, or may be left out."""
    if value is None:
        if name == "ref_id":
            return None
        if name in LENIENT and not strict:
            warnings.append(f"{name} is missing; the sandbox filled it in because the account is lenient.")
            return None
        if name == "message":
            for key in ("content", "body"):
                if key in rest:
                    return problem("a2p_text", name, key=key)
        return problem("missing", name)
    if type(value) is not str:
        return problem("not_a_string", name, kind=_KINDS[type(value).__name__])
    if not value:
        return problem("empty", name)
    character = unusable_character(value)
    return problem("unusable_character", name, character=character) if character else None


def is_instant(text: str) -> bool:
    """Whether `text` is an RFC 3339 instant; the documented form is one of them [D], any is accepted [S]."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return False
    if match[1] == "60":  # a leap second, which datetime does not know
        text = f"{text[: match.start(1)]}59{text[match.end(1) :]}"
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True
