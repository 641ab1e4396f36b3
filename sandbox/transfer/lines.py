"""A line of an exported file: how it is written, and how its values are taken, one by one, with a complaint for each.

What kinds of lines there are is the business of rows.py, which writes them, and imports.py, which reads them.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from sandbox.model import MAX_PAYLOAD, Msisdn, Shortcode
from sandbox.wire.credentials import mask_authorization
from sandbox.wire.numbers import NumberFault, parse_msisdn, parse_shortcode
from sandbox.wire.problems import quote, unusable_character
from sandbox.wire.requests import decode_json, is_instant

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

MOST_LINE = 8 * 1024 * 1024  # bytes: a scenario of 1 MiB, with every letter escaped
MOST_CHARS = 64 * 1024  # of texts that have no limit of their own

_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})  # in headers
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_300_799_999  # the last moment that ISO 8601 can write


# How bytes and headers are written ----------------------------------------------------------------------------------


def line(kind: str, **values: object) -> str:
    """One line of a file, with its break."""
    # ASCII, so that a line is one line for every reader, and harmless in every terminal.
    return json.dumps({"type": kind, **values}) + "\n"


def wire(body: bytes | None) -> object:
    """Bytes as text if they are text, else in base64."""
    try:
        text = (body or b"").decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"base64": base64.b64encode(body or b"").decode()} if "\0" in text else text


def headers(lines: bytes | None) -> Sequence[object]:
    """Headers as `messages.header_lines` keeps them, taken apart."""
    pairs = (each.partition(b": ") for each in (lines or b"").split(b"\n") if each)
    return [{"name": name.decode("latin-1"), "value": wire(value)} for name, _, value in pairs]


def written_path(path: str) -> str:
    """The path of a call as a file holds it: without NUL, the one thing in a record that no import takes."""
    return path.replace("\0", "\\0")


def masked(name: str, value: str) -> str:
    """A header's value as a file may hold it; what was masked already stays as it is."""
    return value if name.lower() not in _SECRET or value.endswith("…") else mask_authorization(value)


# How values are taken ---------------------------------------------------------------------------------------------


class Wrong(ValueError):
    """What is wrong with a line, and what would be accepted."""


def values_of(text: bytes) -> dict[str, Any]:
    """The JSON object in a line, which holds nothing that cannot be stored. Raises Wrong."""
    if len(text) > MOST_LINE:
        raise Wrong(f"The line is longer than {MOST_LINE} bytes, which no line of an export is.")
    try:
        value = decode_json(text)
    except ValueError as error:
        raise Wrong(f"This is not JSON: {error}. Each line has to be one JSON object.") from None
    if not isinstance(value, dict):
        raise Wrong("This is JSON, but not an object. Each line has to be one JSON object.")
    if b"\\u" in text:  # raw ones are no JSON, or no UTF-8
        for each in _strings(value):
            if character := unusable_character(each):
                raise Wrong(f"The line holds {character}, which cannot be stored. Leave it out.")
    return value


def _strings(value: object) -> Iterator[str]:
    """All strings in a JSON value, keys included."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            todo += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            todo += each


class LineFields:
    """The values of a line, taken one by one; `done` complains about those that nobody took."""

    def __init__(self, given: Mapping[str, object], place: str = "") -> None:
        self._left = dict(given)
        self._place = place
        self._known: list[str] = []

    def __call__(self, name: str, wanted: str, read: Callable[[Any], T]) -> T:
        """The value called `name` as `read` understands it; a ValueError of it says that it is not `wanted`."""
        self._known.append(name)
        value = self._left.pop(name, None)
        try:
            return read(value)
        except Wrong:
            raise
        except (ValueError, TypeError, AttributeError, LookupError):
            is_ = "is missing" if value is None else f"is {quote(value)}"
            raise Wrong(f"{self._place}{name} {is_}. It has to be {wanted}.") from None

    def text(self, name: str, most: int, *, least: int = 0) -> str:
        def read(value: object) -> str:
            if not isinstance(value, str) or not least <= len(value) <= most:
                raise ValueError
            return value

        return self(name, f"a string of {least} to {most} characters", read)

    def choice(self, name: str, of: type[E]) -> E:
        return self(name, f"one of: {', '.join(of)}", of)

    def whole(self, name: str, least: int, most: int) -> int:
        def read(value: object) -> int:
            if type(value) is not int or not least <= value <= most:
                raise ValueError
            return value

        return self(name, f"a whole number from {least} to {most}", read)

    def number(self, name: str, most: float) -> float:
        def read(value: object) -> float:
            if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
                raise ValueError
            return float(value)  # type: ignore[arg-type]

        return self(name, f"a number from 0 to {most:g}", read)

    def moment(self, name: str) -> int:
        return self(name, "a moment such as 2024-01-02T23:50:37.000000Z", _moment)

    def identifier(self, name: str, letter: str) -> int:
        def read(value: str) -> int:
            if not re.fullmatch(f"{letter}[0-9]{{1,18}}", value):
                raise ValueError
            return int(value[1:])

        return self(name, f"an identifier such as {letter}12", read)

    def wire(self, name: str, most: int) -> bytes:
        return self(name, f'a string, or an object {{"base64": "…"}}, of at most {most} bytes', partial(_unwire, most))

    def flag(self, name: str) -> bool:
        """True or false; what is left out is false."""

        def read(value: object) -> bool:
            if value not in (None, True, False):
                raise ValueError
            return bool(value)

        return self(name, "true or false", read)

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """What `read` makes of the value called `name`; None if there is none."""
        if self._left.get(name) is None:
            self._known.append(name)
            self._left.pop(name, None)
            return None
        return read(name)

    def each(self, name: str, read: Callable[["LineFields"], T]) -> tuple[T, ...]:
        """A list of objects, each read by `read`; one that is left out is empty."""
        found = []
        for each in self(name, "a list of objects", _list):
            if not isinstance(each, dict):
                raise Wrong(f"{self._place}{name} holds {quote(each)}. It has to be a list of objects.")
            fields = LineFields(each, f"{self._place}{name}: ")
            found.append(read(fields))
            fields.done()
        return tuple(found)

    def texts(self, name: str) -> tuple[str, ...]:
        def read(value: object) -> tuple[str, ...]:
            found = _list(value)
            if not all(isinstance(each, str) for each in found):
                raise ValueError
            return tuple(found)

        return self(name, "a list of strings", read)

    def __bool__(self) -> bool:
        return bool(self._left)

    def done(self) -> None:
        for name in self._left:
            near = get_close_matches(name, self._known, n=1)
            raise Wrong(
                f"{self._place}{quote(name)} is not known here{f'; the nearest is {near[0]}' if near else ''}. "
                "Leave it out."
            )


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError
    return value


def _moment(value: str) -> int:
    if not is_instant(value):
        raise ValueError
    at_ms = (datetime.fromisoformat(value.upper()) - _EPOCH) // timedelta(milliseconds=1)
    if not 0 <= at_ms <= _LATEST_MS:
        raise ValueError
    return at_ms


def _unwire(most: int, value: object) -> bytes:
    """The bytes that `wire` wrote down."""
    if isinstance(value, dict) and value.keys() == {"base64"}:
        try:
            body = base64.b64decode(value["base64"], validate=True)
        except binascii.Error as error:
            raise ValueError from error
    elif isinstance(value, str):
        body = value.encode()
    else:
        raise ValueError
    if len(body) > most:
        raise ValueError
    return body


def mapping(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError
    return value


def nothing(value: object) -> None:
    if value is not None:
        raise ValueError


def msisdn(value: str) -> Msisdn:
    found = parse_msisdn(value)
    if isinstance(found, NumberFault):
        raise ValueError
    return found


def shortcode(value: str) -> Shortcode:
    found = parse_shortcode(value)
    if isinstance(found, NumberFault):
        raise ValueError
    return found


def scenario_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", value):
        raise ValueError
    return value


def header_name(value: str) -> str:
    if not re.fullmatch(r"[^\s:\x00-\x1f]{1,255}", value):
        raise ValueError
    value.encode("latin-1")
    return value


def http_url(value: str) -> str:
    if not re.match(r"https?://", value) or len(value) > MOST_CHARS:
        raise ValueError
    return value


def edited_payload(value: str) -> bytes:
    """The body of a webhook delivery that somebody wrote, whatever it says."""
    body = value.encode()
    if len(body) > MAX_PAYLOAD:
        raise ValueError
    return body


def payload(value: str) -> bytes:
    """The frozen body of a webhook delivery: whoever attempts it relies on these keys [D]."""
    body = value.encode()
    found = decode_json(body)
    if not all(isinstance(found[key], str) for key in ("telco", "from", "to", "message", "session_id", "sent_date")):
        raise ValueError
    return body
