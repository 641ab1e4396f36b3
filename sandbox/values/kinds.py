"""A kind of value, said once: it reads JSON or text, says what it accepts, and gives its JSON Schema; and what was most
likely meant by a name that nobody knows.

Whoever asks for a value (a setting, an argument, a key of a file, a field of a form, an option) picks one and adds the
name and the place to what is wrong. Nothing here knows either.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar
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
    """What a value may be."""

    __slots__ = ()

    @property
    def schema(self) -> Schema:
        raise NotImplementedError

    @property
    def wanted(self) -> str:
        """What is accepted, to stand after `Use`."""
        raise NotImplementedError

    def read(self, value: Any) -> T_co:
        """The value, from JSON. Raises InvalidValue."""
        raise NotImplementedError

    def from_text(self, text: str) -> T_co:
        """The value, from a query, a form, the environment, the command line or a file. Raises InvalidValue."""
        return self.read(text)

    def invalid(self, value: object) -> InvalidValue:
        return InvalidValue(f"is {shown(value)}. Use {self.wanted}.")


@dataclass(frozen=True, slots=True)
class TextKind(Kind[str]):
    """A string that can be stored and sent: so many characters, and as UTF-8 so many bytes."""

    longest: int | None = MAX_OPAQUE
    least: int = 0
    most_bytes: int | None = None

    @property
    def schema(self) -> Schema:
        return {"type": "string"} if self.longest is None else {"type": "string", "maxLength": self.longest}

    @property
    def wanted(self) -> str:
        return f"{self.least} to {self.longest} characters" if self.least else "a string"

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) < self.least:
            raise self.invalid(value)
        if self.longest is not None and len(value) > self.longest:
            raise InvalidValue(f"has {len(value)} characters. At most {self.longest} are accepted.")
        if bad := unusable_character(value):
            raise InvalidValue(f"holds {bad}. Leave it out.")
        if self.most_bytes is not None and (size := len(value.encode())) > self.most_bytes:
            raise InvalidValue(f"has {size:,} bytes as UTF-8. At most {self.most_bytes:,} are accepted.")
        return value


class Payload(Kind[bytes]):
    """Any text that UTF-8 can carry, as its bytes: JSON or not."""

    schema: ClassVar[Schema] = {"type": "string", "maxLength": MAX_PAYLOAD}
    wanted = "a string"

    def read(self, value: Any) -> bytes:
        return TextKind(None, most_bytes=MAX_PAYLOAD).read(value).encode()


@dataclass(frozen=True, slots=True)
class Fitting(Kind[str]):
    """A printable text that a regular expression fits."""

    pattern: str
    wanted: str

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{self.pattern}$"}

    def read(self, value: Any) -> str:
        if isinstance(value, str) and value.isprintable() and re.fullmatch(self.pattern, value):
            return value
        raise self.invalid(value)


class Url(Kind[str]):
    """An HTTP address with a host, in which no two parsers can see different ones."""

    schema: ClassVar[Schema] = {"type": "string"}
    wanted = "http:// or https:// and a host; no space, backslash, #fragment; at most 2048 characters"

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

    schema: ClassVar[Schema] = {"type": "string", "pattern": f"^{NAME}$"}
    wanted = "a name"

    def read(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Choice(Kind[S]):
    """One of a few words; the member, where they are those of an enumeration."""

    choices: Sequence[S]

    @property
    def schema(self) -> Schema:
        return {"type": "string", "enum": [str(each) for each in self.choices]}

    @property
    def wanted(self) -> str:
        return f"one of: {', '.join(self.choices)}"

    def read(self, value: Any) -> S:
        word = str(value) if type(value) is int else value  # a file may hold `revision = 2025`
        for each in self.choices:
            if each == word:
                return each
        near = nearest(word, self.choices) if isinstance(word, str) and word else ""
        raise InvalidValue(f"{self.invalid(value)}{f' {near}' if near.endswith('?') else ''}")


@dataclass(frozen=True, slots=True)
class Flag(Kind[bool]):
    """True or false; as text one of these words, or one of `words` in any case."""

    words: Mapping[str, bool] | None = None

    schema: ClassVar[Schema] = {"type": "boolean"}
    wanted = "true or false"

    def read(self, value: Any) -> bool:
        if self.words and type(value) is int:  # a file may hold `strict = 1`
            value = self.words.get(str(value), value)
        if not isinstance(value, bool):
            raise self.invalid(value)
        return value

    def from_text(self, text: str) -> bool:
        if self.words:
            return self.read(self.words.get(text.lower(), text))
        return self.read({"true": True, "false": False}.get(text, text))


@dataclass(frozen=True, slots=True)
class Whole(Kind[int]):
    """A whole number; to JSON, 5.0 is as whole as 5."""

    least: int
    most: int

    @property
    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    @property
    def wanted(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

    def read(self, value: Any) -> int:
        if type(value) in (int, float) and self.least <= value <= self.most and value % 1 == 0:
            return int(value)
        raise self.invalid(value)

    def from_text(self, text: str) -> int:
        return self.read(int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text)


@dataclass(frozen=True, slots=True)
class Size(Kind[int]):
    """A number of bytes, which may have the unit KiB or MiB."""

    least: int
    most: int

    schema: ClassVar[Schema] = {"type": ["integer", "string"]}

    @property
    def wanted(self) -> str:
        return f"a size from {size(self.least)} to {size(self.most)}: 65536, 64KiB or 1MiB"

    def read(self, value: Any) -> int:
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(MiB|KiB|)", str(value))
        number = float(found[1]) * _SIZES[found[2]] if found else -1
        if not self.least <= number <= self.most or number % 1:
            raise self.invalid(value)
        return int(number)


@dataclass(frozen=True, slots=True)
class Seconds(Kind[float]):
    """A time in seconds: a number of them, or text such as `500ms`, `90s`, `2m`, `1h30m`, `1d`."""

    most: float = MAX_TIME_S
    least: float = 0

    @property
    def schema(self) -> Schema:
        more_than_nothing = "(?=.*[1-9])" if self.least else ""
        text = {"type": ["number", "string"], "pattern": f"^{more_than_nothing}(?:{DURATION})$"}
        return {**text, "minimum": self.least, "maximum": self.most}

    @property
    def wanted(self) -> str:
        return f"a time from {span(self.least * 1000)} to {span(self.most * 1000)}: 90, 1.5, 500ms, 5s, 2m, 1h30m or 1d"

    def read(self, value: Any) -> float:
        if isinstance(value, str):
            return self.from_text(value)
        if type(value) not in (int, float) or not self.least <= value <= self.most:  # NaN lies between nothing
            raise self.invalid(value)
        return float(value)

    def from_text(self, text: str) -> float:
        if re.fullmatch(DURATION, text) and not text[-1].isdigit():
            parts = re.findall("([0-9.]+) ?([a-z]+)", text)
            number = sum(float(digits) * _UNITS[unit] for digits, unit in parts) / 1000
        else:
            try:
                number = float(text) if text.isascii() and not re.search(r"[_\s]", text) else -1
            except ValueError:
                number = -1
        if not self.least <= number <= self.most:
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


@dataclass(frozen=True, slots=True)
class Wait(Kind[float | None]):
    """Whether to wait, and at most how many seconds: true is the usual time, false is None."""

    usual_s: float

    schema: ClassVar[Schema] = {**Seconds(MAX_WAIT_S).schema, "type": ["boolean", "number", "string"], "default": True}
    wanted = f"true, false, or {Seconds(MAX_WAIT_S).wanted}"

    def read(self, value: Any) -> float | None:
        if isinstance(value, bool):
            return self.usual_s if value else None
        return Seconds(MAX_WAIT_S).read(value)


class PageCursor(Kind[int]):
    """The number of whatever has one, with or without the letter before it."""

    schema: ClassVar[Schema] = {
        "type": ["string", "integer"],
        "pattern": f"^[{_LETTERS}]?[0-9]{{1,18}}$",
        "minimum": 0,
        "maximum": 10**18 - 1,
    }
    wanted = "an identifier such as m12, or a cursor from `next`"

    def read(self, value: Any) -> int:
        if type(value) in (int, float) and value % 1 == 0:
            value = str(int(value))
        if isinstance(value, str) and (found := re.fullmatch(f"[{_LETTERS}]?([0-9]{{1,18}})", value)):
            return int(found[1])
        raise self.invalid(value)


@dataclass(frozen=True, slots=True)
class Identifier(Kind[int]):
    """The number in an identifier of one letter. What is none names nothing, so that the error is NotFound."""

    letter: str

    @property
    def schema(self) -> Schema:
        return {"type": "string", "pattern": f"^{self.letter}[0-9]{{1,18}}$"}

    @property
    def wanted(self) -> str:
        return f"an identifier such as {self.letter}12"

    def read(self, value: Any) -> int:
        if found := re.fullmatch(f"{self.letter}([0-9]{{1,18}})", value):
            return int(found[1])
        raise NotFound(f"There is no {quote(value)}; an identifier looks like {self.letter}12.")


@dataclass(frozen=True, slots=True)
class Each(Kind[tuple[Any, ...]]):
    """A list of values of one kind; as text, separated by commas."""

    kind: Kind[Any]

    @property
    def schema(self) -> Schema:
        return {"type": "array", "items": self.kind.schema}

    @property
    def wanted(self) -> str:
        return f"a list, each of which is {self.kind.wanted}"

    def read(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            return self.from_text(value)
        entries = value if isinstance(value, list | tuple) else [value]
        return tuple(self.kind.from_text(each) if isinstance(each, str) else self.kind.read(each) for each in entries)

    def from_text(self, text: str) -> tuple[Any, ...]:
        return tuple(self.kind.from_text(each.strip()) for each in text.split(",")) if text.strip() else ()
