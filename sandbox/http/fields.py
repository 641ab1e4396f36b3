"""What an argument may be, said once: a kind reads a value or complains about it, and gives its JSON Schema.

Arguments of calls and fields of forms alike; which call has which arguments is said where the operations are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sandbox.core.control import DEFAULT_WAIT_S
from sandbox.errors import Invalid, NotFound
from sandbox.model import MAX_PAYLOAD, Msisdn, Shortcode
from sandbox.objects import schema as schemas
from sandbox.objects.schema import Schema
from sandbox.wire.numbers import NumberFault, parse_msisdn, parse_shortcode
from sandbox.wire.problems import problem, quote
from sandbox.wire.requests import MAX_OPAQUE, unusable_character

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
S = TypeVar("S", bound=str)

MAX_WAIT_S = 300.0
MAX_ADVANCE_S = 366 * 24 * 3600
LETTERS = "mrwfs"
"""Identifiers begin with one of these: message, request, webhook delivery, fault, scenario's run."""

_MSISDN = r"(\+|00)?[1-9][0-9]{6,14}"
_SHORTCODE = r"[0-9]{3,15}"


class Kind(Generic[T_co]):
    """What a value may be."""

    __slots__ = ()

    @property
    def schema(self) -> Schema:
        raise NotImplementedError

    def written(self, text: str) -> object:
        """The JSON value that a text stands for, in a query or a form; the text itself if it stands for none."""
        return text

    def read(self, name: str, value: Any) -> T_co:
        """The value, from JSON. Raises Invalid with what was wrong and what would be accepted."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class TextKind(Kind[str]):
    """A string that can be stored and sent."""

    longest: int | None = MAX_OPAQUE

    @property
    def schema(self) -> Schema:
        return schemas.text() if self.longest is None else schemas.text(maxLength=self.longest)

    def read(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise Invalid((name, f"{name} is {quote(value)}. Send it as a string."))
        if self.longest is not None and len(value) > self.longest:
            raise Invalid((name, f"{name} has {len(value)} characters. At most {self.longest} are accepted."))
        if bad := unusable_character(value):
            raise Invalid((name, f"{name} holds {bad}. Leave it out."))
        return value


_TEXT = TextKind()


class Payload(Kind[bytes]):
    """Any text that UTF-8 can carry, as its bytes: JSON or not."""

    @property
    def schema(self) -> Schema:
        return schemas.text(maxLength=MAX_PAYLOAD)

    def read(self, name: str, value: Any) -> bytes:
        body = TextKind(None).read(name, value).encode()
        if len(body) > MAX_PAYLOAD:
            raise Invalid((name, f"{name} has {len(body):,} bytes as UTF-8. At most {MAX_PAYLOAD:,} are accepted."))
        return body


@dataclass(frozen=True, slots=True)
class Choice(Kind[S]):
    """One of a few words; the member, where they are those of an enumeration."""

    choices: Sequence[S]

    @property
    def schema(self) -> Schema:
        return schemas.choice(self.choices)

    def read(self, name: str, value: Any) -> S:
        word = _TEXT.read(name, value)
        for each in self.choices:
            if each == word:
                return each
        raise Invalid((name, f"{name} is {quote(word)}. Send one of: {', '.join(self.choices)}."))


@dataclass(frozen=True, slots=True)
class Seconds(Kind[float]):
    most: float

    @property
    def schema(self) -> Schema:
        return schemas.number(minimum=0, maximum=self.most)

    def written(self, text: str) -> object:
        try:
            return float(text) if text.isascii() and "_" not in text else text
        except ValueError:
            return text

    def read(self, name: str, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= self.most:
            raise Invalid((name, f"{name} has to be a number of seconds from 0 to {self.most:.15g}."))
        return float(value)


@dataclass(frozen=True, slots=True)
class Whole(Kind[int]):
    least: int
    most: int

    @property
    def schema(self) -> Schema:
        return schemas.integer(minimum=self.least, maximum=self.most)

    def written(self, text: str) -> object:
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text

    def read(self, name: str, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():  # to JSON, 5.0 is as whole as 5
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise Invalid((name, f"{name} has to be a whole number from {self.least} to {self.most}."))
        return value


class Flag(Kind[bool]):
    @property
    def schema(self) -> Schema:
        return schemas.boolean()

    def written(self, text: str) -> object:
        return {"true": True, "false": False}.get(text, text)

    def read(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Invalid((name, f"{name} is {quote(value)}. Send true or false."))
        return value


class PageCursor(Kind[int]):
    """The number of whatever has one, with or without the letter before it."""

    @property
    def schema(self) -> Schema:
        pattern = f"^[{LETTERS}]?[0-9]{{1,18}}$"
        return {"type": ["string", "integer"], "pattern": pattern, "minimum": 0, "maximum": 10**18 - 1}

    def read(self, name: str, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        given = _TEXT.read(name, value)
        digits = given[1:] if given[:1] in tuple(LETTERS) else given
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
            raise Invalid((name, f"{name} is {quote(given)}. Send an identifier such as m12, or a cursor from `next`."))
        return int(digits)


class Wait(Kind[float | None]):
    """Whether to wait, and at most how many seconds: true is the usual time, false is None."""

    @property
    def schema(self) -> Schema:
        return {"type": ["boolean", "number"], "minimum": 0, "maximum": MAX_WAIT_S, "default": True}

    def read(self, name: str, value: Any) -> float | None:
        match value:
            case True:
                return DEFAULT_WAIT_S
            case False:
                return None
            case _:
                return Seconds(MAX_WAIT_S).read(name, value)


class Phone(Kind[Msisdn]):
    """An MSISDN in any accepted form."""

    @property
    def schema(self) -> Schema:
        return schemas.text(pattern=f"^{_MSISDN}$")

    def read(self, name: str, value: Any) -> Msisdn:
        given = _TEXT.read(name, value)
        parsed = parse_msisdn(given)
        if isinstance(parsed, NumberFault):
            digits = given.removeprefix("+").removeprefix("00")
            found = problem(parsed, name, value=quote(given), length=len(digits))
            raise Invalid((name, f"{found.message.replace('to is', f'{name} is', 1)} {found.hint}"))
        return parsed


class Short(Kind[Shortcode]):
    """A shortcode."""

    @property
    def schema(self) -> Schema:
        return schemas.text(pattern=f"^{_SHORTCODE}$")

    def read(self, name: str, value: Any) -> Shortcode:
        parsed = parse_shortcode(_TEXT.read(name, value))
        if isinstance(parsed, NumberFault):
            raise Invalid((name, f"{name} is {quote(value)}. Send the shortcode as 3 to 15 digits."))
        return parsed


class AnyNumber(Kind[str]):
    """A number to look for: an MSISDN in any accepted form, or a shortcode."""

    @property
    def schema(self) -> Schema:
        return schemas.text(pattern=f"^({_MSISDN}|{_SHORTCODE})$")

    def read(self, name: str, value: Any) -> str:
        given = _TEXT.read(name, value)
        for parse in (parse_msisdn, parse_shortcode):
            parsed = parse(given)
            if not isinstance(parsed, NumberFault):
                return parsed
        raise Invalid((name, f"{name} is {quote(given)}. Send an MSISDN or a shortcode; it is compared exactly."))


@dataclass(frozen=True, slots=True)
class Identifier(Kind[int]):
    """The number in an identifier of one letter. What is none names nothing, so that the complaint is NotFound."""

    letter: str

    @property
    def schema(self) -> Schema:
        return schemas.text(pattern=f"^{self.letter}[0-9]{{1,18}}$")

    def read(self, name: str, value: Any) -> int:
        digits = value[1:]
        if value[:1] == self.letter and digits.isascii() and digits.isdecimal() and len(digits) < 19:
            return int(digits)
        raise NotFound(f"There is no {quote(value)}; an identifier looks like {self.letter}12.")


class Name(Kind[str]):
    """The name of a thing, in a path: any text, because what is no name just names nothing."""

    @property
    def schema(self) -> Schema:
        return schemas.text(pattern="^[a-z0-9][a-z0-9_.-]{0,63}$")

    def read(self, name: str, value: Any) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Argument(Generic[T]):
    """One argument of a call: its name, what it may be, and what it is for. `example` stands in the example call."""

    name: str
    kind: Kind[Any]
    help: str
    required: bool = False
    absent: Any = None  # its value when it is not given
    example: object = None

    @property
    def schema(self) -> Schema:
        """As it stands in a query or a path; in a body it may be null as well, unless it is required."""
        made = {**self.kind.schema, "description": self.help}
        if self.absent is not None and "default" not in made and isinstance(self.absent, str | int | float):
            made["default"] = self.absent
        if self.example is not None:
            made["examples"] = [self.example]
        return made


def required(name: str, kind: Kind[T], help: str, example: object = None) -> Argument[T]:
    return Argument(name=name, kind=kind, help=help, required=True, example=example)


def optional(name: str, kind: Kind[T], help: str, example: object = None) -> Argument[T | None]:
    return Argument(name=name, kind=kind, help=help, example=example)


def usually(name: str, kind: Kind[T], absent: T, help: str, example: object = None) -> Argument[T]:
    """An argument that has a value even when it is not given."""
    return Argument(name=name, kind=kind, help=help, absent=absent, example=example)


class Given:
    """What was given, by argument. What was wrong is None, whatever its type: only complaints are made of it."""

    def __init__(self, values: Mapping[Argument[Any], Any]) -> None:
        self._values = values

    def __getitem__(self, argument: Argument[T]) -> T:
        value: T = self._values[argument]
        return value


class Fields:
    """Values by name, taken one by one; `done` complains about all that were wrong or not known, at once.

    They are texts from a query or a form, or with `json` the values of an object. None and "" count as not given.
    """

    def __init__(self, given: Mapping[str, Any], *, json: bool = False, within: str = "") -> None:
        self._left = dict(given)
        self._json = json
        self._within = within  # the name of the object that they are in, and a point
        self.complaints: dict[str, str] = {}

    def wrong(self, name: str, reason: str) -> None:
        """Complain about an argument; what was said of it first stands."""
        self.complaints.setdefault(self._within + name, reason)

    def take(self, argument: Argument[T]) -> T:
        """The value of an argument; None if there is something wrong with it."""
        value = self._left.pop(argument.name, None)
        if value is None or value == "":
            if argument.required:
                self.wrong(argument.name, f"{argument.name} is missing or empty. {_wanted(argument.kind.schema)}")
            absent: T = argument.absent
            return absent
        read: T = self._read(argument.name, argument.kind, value)
        return read

    def values(self, arguments: Iterable[Argument[Any]]) -> dict[Argument[Any], Any]:
        return {each: self.take(each) for each in arguments}

    def _read(self, name: str, kind: Kind[Any], value: Any) -> Any:
        if isinstance(value, str) and not self._json:
            value = kind.written(value)
        try:
            return kind.read(name, value)
        except Invalid as error:
            for about, reason in error.fields:
                self.wrong(about, reason)
            return None

    def text(self, name: str, *, required: bool = False, longest: int = MAX_OPAQUE) -> str | None:
        return self.take(Argument(name=name, kind=TextKind(longest), help="", required=required))

    def choice(self, name: str, choices: Sequence[S]) -> S | None:
        return self.take(optional(name, Choice(choices), ""))

    def seconds(self, name: str, most: float) -> float | None:
        return self.take(optional(name, Seconds(most), ""))

    def cursor(self, name: str) -> int | None:
        return self.take(optional(name, PageCursor(), ""))

    def shortcode(self, name: str, *, required: bool = False) -> Shortcode | None:
        return self.take(Argument(name=name, kind=Short(), help="", required=required))

    def msisdn(self, name: str, value: str | None) -> Msisdn | None:
        """A number that is called `name`, whatever was given under that name."""
        return None if value is None else self._read(name, Phone(), value)

    def unknown(self) -> None:
        """Complain about what is left."""
        for name in list(self._left)[:20]:  # a body may hold 100,000 of them
            self.wrong(quote(name)[1:-1], f"{quote(name)} is not an argument of this call.")

    def done(self) -> None:
        self.unknown()
        if self.complaints:
            raise Invalid(*self.complaints.items())


def _wanted(schema: Schema) -> str:
    """What to send, of something that was not."""
    match schema:
        case {"enum": [*words]}:
            return f"Send one of: {', '.join(words)}."
        case {"type": "object"}:
            return "Send it as an object."
        case {"type": "number" | "integer"}:
            return "Send it as a number."
        case _:
            return "Send it as a string."


@dataclass(frozen=True, slots=True)
class ObjectKind(Kind[Given]):
    """An object with arguments of its own. Complaints name them with the object's name before: `match.pattern`."""

    arguments: Sequence[Argument[Any]]

    @property
    def schema(self) -> Schema:
        return body_schema(self.arguments)

    def read(self, name: str, value: Any) -> Given:
        if not isinstance(value, dict):
            raise Invalid((name, f"{name} is {quote(value)}. Send it as an object."))
        inner = Fields(value, json=True, within=f"{name}.")
        given = Given(inner.values(self.arguments))
        inner.done()
        return given


def body_schema(arguments: Iterable[Argument[Any]]) -> Schema:
    """The object that holds these arguments. One that is not required may be null as well."""
    arguments = tuple(arguments)
    return schemas.obj(
        {each.name: each.schema if each.required else schemas.nullable(each.schema) for each in arguments},
        optional=[each.name for each in arguments if not each.required],
    )
