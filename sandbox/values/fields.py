"""Arguments by name: declared with what each may be, and taken from a query, a form or a JSON object.

Everything that is wrong is complained about at once.

Which call has which arguments is said where the calls are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sandbox.errors import Invalid
from sandbox.model import MAX_OPAQUE, Msisdn, Shortcode
from sandbox.values.kinds import Choice, InvalidValue, Kind, PageCursor, Schema, Seconds, TextKind, unknown
from sandbox.values.numbers import Phone, Short

T = TypeVar("T")
S = TypeVar("S", bound=str)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Argument(Generic[T]):
    """One argument of a call: its name, what it may be, and what it is for. `example` stands in the example call."""

    name: str
    kind: Kind[Any]
    help: str
    required: bool = False
    empty: bool = False  # whether the empty text is a value, and not the same as none
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


def optional(
    name: str, kind: Kind[T], help: str = "", example: object = None, *, empty: bool = False
) -> Argument[T | None]:
    return Argument(name=name, kind=kind, help=help, example=example, empty=empty)


def with_default(name: str, kind: Kind[T], absent: T, help: str, example: object = None) -> Argument[T]:
    """An argument that has a value even when it is not given."""
    return Argument(name=name, kind=kind, help=help, absent=absent, example=example)


class Given:
    """What was given, by argument. What was wrong is None, whatever its type: only errors are made of it."""

    def __init__(self, values: Mapping[Argument[Any], Any]) -> None:
        self._values = values

    def __getitem__(self, argument: Argument[T]) -> T:
        value: T = self._values[argument]
        return value


class Fields:
    """Values by name, taken one by one; `done` complains about all that were wrong or not known, at once.

    They are texts from a query or a form, or with `json` the values of an object. None and "" count as not given.
    """

    def __init__(self, given: Mapping[str, Any], *, json: bool = False) -> None:
        self._given = given
        self._json = json
        self._known: list[str] = []
        self.errors: dict[str, str] = {}

    def wrong(self, name: str, reason: str) -> None:
        """Complain about an argument; what was said of it first stands."""
        self.errors.setdefault(name, reason)

    def take(self, argument: Argument[T]) -> T:
        """The value of an argument; None if there is something wrong with it."""
        self._known.append(argument.name)
        value = self._given.get(argument.name)
        if value is None or (value == "" and not argument.empty):
            if argument.required:
                self.wrong(argument.name, f"{argument.name} is missing or empty. Use {argument.kind.wanted}.")
            absent: T = argument.absent
            return absent
        read: T = self._read(argument.name, argument.kind, value)
        return read

    def values(self, arguments: Iterable[Argument[Any]]) -> dict[Argument[Any], Any]:
        return {each: self.take(each) for each in arguments}

    def _read(self, name: str, kind: Kind[Any], value: Any) -> Any:
        try:
            return kind.from_text(value) if isinstance(value, str) and not self._json else kind.read(value)
        except InvalidValue as error:
            self.wrong(name, f"{name} {error}")
        except Invalid as error:  # of an object's own values
            for about, reason in error.fields:
                self.wrong(f"{name}.{about}", reason)
        return None

    def text(self, name: str, *, longest: int = MAX_OPAQUE) -> str | None:
        return self.take(optional(name, TextKind(longest)))

    def choice(self, name: str, choices: Sequence[S]) -> S | None:
        return self.take(optional(name, Choice(choices)))

    def seconds(self, name: str, most: float) -> float | None:
        return self.take(optional(name, Seconds(most)))

    def cursor(self, name: str) -> int | None:
        return self.take(optional(name, PageCursor()))

    def shortcode(self, name: str, *, required: bool = False) -> Shortcode | None:
        return self.take(Argument(name=name, kind=Short(), help="", required=required))

    def msisdn(self, name: str, value: str | None) -> Msisdn | None:
        """A number that is called `name`, whatever was given under that name."""
        return None if value is None else self._read(name, Phone(), value)

    def unknown(self) -> None:
        """Complain about what nobody took."""
        for name, reason in unknown(self._given, self._known):
            self.wrong(name, reason)

    def done(self) -> None:
        self.unknown()
        if self.errors:
            raise Invalid(*self.errors.items())


class ObjectKind(Kind[Given]):
    """An object with arguments of its own. Complaints name them with the object's name before: `match.pattern`."""

    def __init__(self, arguments: Sequence[Argument[Any]]) -> None:
        super().__init__(body_schema(arguments), f"an object of: {', '.join(each.name for each in arguments)}")
        self._arguments = arguments

    def read(self, value: Any) -> Given:
        """Raises Invalid as well, by the names of the arguments."""
        if not isinstance(value, Mapping):
            raise self.invalid(value)
        inner = Fields(value, json=True)
        given = Given(inner.values(self._arguments))
        inner.done()
        return given


def body_schema(arguments: Iterable[Argument[Any]]) -> Schema:
    """The object that holds these arguments. One that is not required may be null as well."""
    arguments = tuple(arguments)
    properties = {each.name: each.schema if each.required else _nullable(each.schema) for each in arguments}
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    needed = [each.name for each in arguments if each.required]
    return {**made, "required": needed} if needed else made


def _nullable(schema: Schema) -> Schema:
    kinds = schema["type"]
    made = {**schema, "type": [*([kinds] if isinstance(kinds, str) else kinds), "null"]}
    return {**made, "enum": [*schema["enum"], None]} if "enum" in schema else made
