"""A kind of value, said once: it reads JSON or text, says what it accepts, and gives its JSON Schema; and what was most
likely meant by a name that nobody knows.

Whoever asks for a value (a setting, an argument, a key of a file, a field of a form, an option) picks one and adds the
name and the place to what is wrong. Nothing here knows either.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from sandbox.errors import NotFound
from sandbox.model import MAX_OPAQUE, MAX_PAYLOAD
from sandbox.wire.problems import quote, unusable_character

T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S", bound=str)

Schema = dict[str, Any]

MAX_WAIT_S = 300.0
MAX_TIME_S = 366 * 24 * 3600
NAME = "[a-z0-9][a-z0-9_.-]{0,63}"
"""What an account or a scenario may be called, as a regular expression."""

NAME_IS = "1 to 64 of a-z 0-9 _ . - with a letter or a digit first"

_LETTERS = "mrwfs"  # identifiers begin with one: message, request, webhook delivery, fault, scenario's run
_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}  # in milliseconds, largest first
_SIZES = {"MiB": 1024**2, "KiB": 1024, "": 1}
_PART = r"[0-9]{1,9}(?:\.[0-9]{1,6})? ?(?:ms|[smhd])"
DURATION = rf"[0-9]{{1,15}}(?:\.[0-9]{{1,6}})?|{_PART}(?: ?{_PART})*"
"""A time as text, as a regular expression: seconds, or numbers with their units."""


class InvalidValue(ValueError):
    """Why a kind cannot read a value: the rest of a sentence that begins with the value's name, and what to do."""


def shown(value: object) -> str:
    """What arrived, short and harmless: text in quotes, anything else as JSON."""
    if value is None or value == "":
        return "missing" if value is None else "empty"
    return quote(value) if isinstance(value, str) else quote(json.dumps(value, default=str))[1:-1]


def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """`Did you mean limit?`; if nothing comes close, `otherwise`, or what there is."""
    from difflib import get_close_matches  # here, because most values are right

    by_key = {each.lower(): each for each in known}
    many = otherwise is None and len(by_key) > 12  # too many to name them all
    if near := get_close_matches(name[:64].lower(), by_key, n=1, cutoff=0 if many else 0.6):
        return f"Did you mean {by_key[near[0]]}?"
    return f"Use one of: {', '.join(known)}." if otherwise is None else otherwise


def no_such(name: str, known: Iterable[str], where: str = "here") -> str:
    """What is wrong with a name that is not `known`, and what was most likely meant."""
    return f"There is no {quote(name)} {where}. {nearest(name, known)}"


def unknown(given: Iterable[str], known: Collection[str]) -> list[tuple[str, str]]:
    """What is wrong with each name that is not `known`: (the name, harmless; what was most likely meant)."""
    strange = [name for name in given if name not in known]
    wrong = [(quote(name)[1:-1], no_such(name, known)) for name in strange[:20]]
    if len(strange) > 20:  # finding the nearest is slow, and a body may hold 100,000 of them
        wrong[-1] = (wrong[-1][0], f"{wrong[-1][1]} There are {len(strange) - 20} more unknown names.")
    return wrong


class Kind(Generic[T_co]):
    """What a value may be: its JSON Schema, and in words what is `wanted`, to stand after `Use`.

    Kinds never change. They are plain classes because every command imports them, and dataclasses are slow to make.
    """

    def __init__(self, schema: Schema, wanted: str) -> None:
        self.schema = schema
        self.wanted = wanted

    def read(self, value: Any) -> T_co:
        """The value, from JSON. Raises InvalidValue."""
        raise NotImplementedError

    def from_text(self, text: str) -> T_co:
        """The value, from a query, a form, the environment, the command line or a file. Raises InvalidValue."""
        return self.read(text)

    def invalid(self, value: object) -> InvalidValue:
        return InvalidValue(f"is {shown(value)}. Use {self.wanted}.")


class TextKind(Kind[str]):
    """A string that can be stored and sent: so many characters, and as UTF-8 so many bytes."""

    def __init__(self, longest: int | None = MAX_OPAQUE, *, least: int = 0, most_bytes: int | None = None) -> None:
        schema = {"type": "string"} if longest is None else {"type": "string", "maxLength": longest}
        super().__init__(schema, f"{least} to {longest} characters" if least else "a string")
        self._longest, self._least, self._most_bytes = longest, least, most_bytes

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) < self._least:
            raise self.invalid(value)
        if self._longest is not None and len(value) > self._longest:
            raise InvalidValue(f"has {len(value)} characters. At most {self._longest} are accepted.")
        if bad := unusable_character(value):
            raise InvalidValue(f"holds {bad}. Leave it out.")
        if self._most_bytes is not None and (size := len(value.encode())) > self._most_bytes:
            raise InvalidValue(f"has {size:,} bytes as UTF-8. At most {self._most_bytes:,} are accepted.")
        return value


class Payload(Kind[bytes]):
    """Any text that UTF-8 can carry, as its bytes: JSON or not."""

    def __init__(self) -> None:
        super().__init__({"type": "string", "maxLength": MAX_PAYLOAD}, "a string")

    def read(self, value: Any) -> bytes:
        return TextKind(None, most_bytes=MAX_PAYLOAD).read(value).encode()


class Fitting(Kind[str]):
    """A printable text that a regular expression fits."""

    def __init__(self, pattern: str, wanted: str) -> None:
        super().__init__({"type": "string", "pattern": f"^{pattern}$"}, wanted)
        self._pattern = pattern

    def read(self, value: Any) -> str:
        if isinstance(value, str) and value.isprintable() and re.fullmatch(self._pattern, value):
            return value
        raise self.invalid(value)


class Url(Kind[str]):
    """An HTTP address with a host, in which no two parsers can see different ones."""

    def __init__(self) -> None:
        wanted = "http:// or https:// and a host; no space, backslash, #fragment; at most 2048 characters"
        super().__init__({"type": "string"}, wanted)

    def read(self, value: Any) -> str:
        # Parsers may disagree about a backslash, and about what one of them strips, so they do not get to see any.
        text = value if isinstance(value, str) and value.isprintable() and not re.search(r"[ \\#]", value) else ""
        try:
            parts = urlsplit(text)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and len(text) <= 2048:
                return text
        except ValueError:  # brackets around no IPv6 address, or a port that is no number up to 65535
            pass
        raise self.invalid(value)


class Name(Kind[str]):
    """The name of a thing, in a path: any text, because what is no name just names nothing."""

    def __init__(self) -> None:
        super().__init__({"type": "string", "pattern": f"^{NAME}$"}, NAME_IS)

    def read(self, value: Any) -> str:
        return str(value)


class Choice(Kind[S]):
    """One of a few words; the member, where they are those of an enumeration."""

    def __init__(self, choices: Iterable[S]) -> None:
        self.choices = tuple(choices)
        words = [str(each) for each in self.choices]
        super().__init__({"type": "string", "enum": words}, f"one of: {', '.join(words)}")

    def read(self, value: Any) -> S:
        word = str(value) if type(value) is int else value  # a file may hold `revision = 2025`
        for each in self.choices:
            if each == word:
                return each
        near = nearest(word, self.choices, "") if isinstance(word, str) and word else ""
        raise InvalidValue(f"{self.invalid(value)} {near}".rstrip())


class Flag(Kind[bool]):
    """True or false; as text one of these words, or one of `words` in any case."""

    def __init__(self, words: Mapping[str, bool] | None = None) -> None:
        super().__init__({"type": "boolean"}, "true or false")
        self._words = words

    def read(self, value: Any) -> bool:
        if self._words and type(value) is int:  # a file may hold `strict = 1`
            value = self._words.get(str(value), value)
        if not isinstance(value, bool):
            raise self.invalid(value)
        return value

    def from_text(self, text: str) -> bool:
        words, word = (self._words, text.lower()) if self._words else ({"true": True, "false": False}, text)
        return self.read(words.get(word, text))


class Whole(Kind[int]):
    """A whole number; to JSON, 5.0 is as whole as 5."""

    def __init__(self, least: int, most: int) -> None:
        schema = {"type": "integer", "minimum": least, "maximum": most}
        super().__init__(schema, f"a whole number from {least} to {most}")
        self._least, self._most = least, most

    def read(self, value: Any) -> int:
        if type(value) in (int, float) and self._least <= value <= self._most and value % 1 == 0:
            return int(value)
        raise self.invalid(value)

    def from_text(self, text: str) -> int:
        return self.read(int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text)


class Size(Kind[int]):
    """A number of bytes, which may have the unit KiB or MiB."""

    def __init__(self, least: int, most: int) -> None:
        wanted = f"a size from {size(least)} to {size(most)}: 65536, 64KiB or 1MiB"
        super().__init__({"type": ["integer", "string"]}, wanted)
        self._least, self._most = least, most

    def read(self, value: Any) -> int:
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(MiB|KiB|)", str(value))
        number = float(found[1]) * _SIZES[found[2]] if found else -1
        if not self._least <= number <= self._most or number % 1:
            raise self.invalid(value)
        return int(number)


class Seconds(Kind[float]):
    """A time in seconds: a number of them, or text such as `500ms`, `90s`, `2m`, `1h30m`, `1d`."""

    def __init__(self, most: float = MAX_TIME_S, least: float = 0) -> None:
        more_than_nothing = "(?=.*[1-9])" if least else ""
        text = {"type": ["number", "string"], "pattern": f"^{more_than_nothing}(?:{DURATION})$"}
        examples = "90, 1.5, 500ms, 5s, 2m, 1h30m or 1d"
        wanted = f"a time from {span(least * 1000)} to {span(most * 1000)}: {examples}"
        super().__init__({**text, "minimum": least, "maximum": most}, wanted)
        self._least, self._most = least, most

    def read(self, value: Any) -> float:
        if isinstance(value, str):
            return self.from_text(value)
        if type(value) not in (int, float) or not self._least <= value <= self._most:  # NaN lies between nothing
            raise self.invalid(value)
        return float(value)

    def from_text(self, text: str) -> float:
        number = -1.0
        if re.fullmatch(DURATION, text) and not text[-1].isdigit():
            parts = re.findall("([0-9.]+) ?([a-z]+)", text)
            number = sum(float(digits) * _UNITS[unit] for digits, unit in parts) / 1000
        elif text.isascii() and not re.search(r"[_\s]", text):
            with suppress(ValueError):
                number = float(text)
        if not self._least <= number <= self._most:
            raise self.invalid(text)
        return number


def span(ms: float) -> str:
    """A time as text, in the largest unit that is exact."""
    return _in_units(ms, _UNITS) if ms else "0s"


def size(number: int) -> str:
    """A number of bytes as text, in the largest unit that is exact."""
    return _in_units(number, _SIZES)


def _in_units(number: float, units: Mapping[str, int]) -> str:
    fitting = (f"{int(number // size)}{unit}" for unit, size in units.items() if number % size == 0)
    return next(fitting, f"{number:g}")


class Wait(Kind[float | None]):
    """Whether to wait, and at most how many seconds: true is the usual time, false is None."""

    def __init__(self, usual_s: float) -> None:
        self._seconds, self._usual_s = Seconds(MAX_WAIT_S), usual_s
        schema = {**self._seconds.schema, "type": ["boolean", "number", "string"], "default": True}
        super().__init__(schema, f"true, false, or {self._seconds.wanted}")

    def read(self, value: Any) -> float | None:
        if isinstance(value, bool):
            return self._usual_s if value else None
        return self._seconds.read(value)


class PageCursor(Kind[int]):
    """The number of whatever has one, with or without the letter before it."""

    def __init__(self) -> None:
        pattern = f"^[{_LETTERS}]?[0-9]{{1,18}}$"
        schema = {"type": ["string", "integer"], "pattern": pattern, "minimum": 0, "maximum": 10**18 - 1}
        super().__init__(schema, "an identifier such as m12, or a cursor from `next`")

    def read(self, value: Any) -> int:
        if type(value) in (int, float) and value % 1 == 0:
            value = str(int(value))
        if isinstance(value, str) and (found := re.fullmatch(f"[{_LETTERS}]?([0-9]{{1,18}})", value)):
            return int(found[1])
        raise self.invalid(value)


class Identifier(Kind[int]):
    """The number in an identifier of one letter. What is none names nothing, so that the error is NotFound."""

    def __init__(self, letter: str) -> None:
        schema = {"type": "string", "pattern": f"^{letter}[0-9]{{1,18}}$"}
        super().__init__(schema, f"an identifier such as {letter}12")
        self._letter = letter

    def read(self, value: Any) -> int:
        if found := re.fullmatch(f"{self._letter}([0-9]{{1,18}})", value):
            return int(found[1])
        raise NotFound(f"There is no {quote(value)}; an identifier looks like {self._letter}12.")


class Each(Kind[tuple[Any, ...]]):
    """A list of values of one kind; as text, separated by commas."""

    def __init__(self, kind: Kind[Any]) -> None:
        super().__init__({"type": "array", "items": kind.schema}, f"a list, each of which is {kind.wanted}")
        self._kind = kind

    def read(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [each.strip() for each in value.split(",")] if value.strip() else []
        entries = value if isinstance(value, list | tuple) else [value]
        return tuple(self._kind.from_text(each) if isinstance(each, str) else self._kind.read(each) for each in entries)
