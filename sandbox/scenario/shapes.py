"""What may stand at one place of a scenario's file: shapes that read a node, or complain about it, and say the same as
JSON Schema.

They know words, lists and mappings. See grammar.py for the keys of a scenario, and what they mean.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sandbox.scenario.steps import START
from sandbox.values.kinds import (
    MAX_TIME_S,
    Choice,
    InvalidValue,
    Kind,
    Schema,
    Seconds,
    TextKind,
    Whole,
    nearest,
    no_such,
    shown,
)
from sandbox.values.numbers import Phone, Short
from sandbox.wire.numbers import MSISDN
from sandbox.wire.problems import quote

MAX_PARTS = 1_000  # steps and rules together
MAX_ERRORS = 100
MAX_LIST = 100  # texts of one reply, things of one kind that one rule does

NAME = "[A-Za-z_][A-Za-z0-9_]{0,63}"
"""What a saved text may be called, as a regular expression."""


# Nodes -------------------------------------------------------------------------------------------------------------


class ScalarNode(NamedTuple):
    at: int  # index in the source, as everywhere here
    end: int
    text: str


class ListNode(NamedTuple):
    at: int
    items: "Sequence[Node]"


class MapNode(NamedTuple):
    at: int
    pairs: "Sequence[tuple[Node, Node]]"


class Unread(NamedTuple):
    """Something that was complained about already."""

    at: int


Node = ScalarNode | ListNode | MapNode | Unread


def _what(node: Node) -> str:
    match node:
        case ScalarNode(text=text):
            return shown(text)
        case ListNode():
            return "a list"
        case _:
            return "a mapping"


class Reading:
    """One reading of a file: what was complained about so far, and what later parts have to know of earlier ones."""

    __slots__ = ("_errors", "begun", "parts", "required_states", "saved", "source", "states")

    def __init__(self, source: str) -> None:
        self.source = source
        self._errors: list[tuple[int, str]] = []
        self.parts = 0  # steps and rules so far
        self.begun = False  # whether a step before has begun a conversation
        self.saved: set[str] = set()
        self.states = {START}
        self.required_states: list[tuple[int, str]] = []

    def add_error(self, at: int, message: str) -> None:
        self._errors.append((at, message))

    @property
    def errors(self) -> Sequence[tuple[int, str]]:
        """(index in the source, what is wrong), in the order of the file; no more than anybody reads."""
        found = sorted(self._errors)
        if len(found) > MAX_ERRORS:
            at, more = found[MAX_ERRORS][0], len(found) - MAX_ERRORS
            found[MAX_ERRORS:] = [(at, f"From here on there are {more} more errors. Mend those above first.")]
        return found

    @property
    def full(self) -> bool:
        """Whether nobody reads any more; finding what was meant is slow, and a file may hold 100,000 strange words."""
        return len(self._errors) >= MAX_ERRORS


# Shapes ------------------------------------------------------------------------------------------------------------


class Shape(Protocol):
    """What may stand at one place of a file."""

    @property
    def schema(self) -> Schema: ...

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        """The value of `node`, which errors call `name`; None after an error."""


@dataclass(frozen=True, slots=True)
class Word:
    """A scalar. `convert` raises InvalidValue."""

    convert: Callable[[str], Any]
    schema: Schema

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        match node:
            case ScalarNode(at=at, text=text):
                try:
                    return self.convert(text)
                except InvalidValue as error:
                    reading.add_error(at, f"{name} {error}")
            case ListNode(at=at) | MapNode(at=at):
                hint = "Write one value; a text that begins with { or [ goes into quotes."
                reading.add_error(at, f"{name} is {_what(node)}. {hint}")
        return None


@dataclass(frozen=True, slots=True)
class Said:
    """A text that a handset sends. What it names in braces has to be saved before."""

    word: Word

    @property
    def schema(self) -> Schema:
        return self.word.schema

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        text = self.word.read(node, name, reading)
        if text is not None and isinstance(node, ScalarNode):
            for brace, at in _braces(node, reading.source):
                if len(brace) == 1:
                    hint = f"Write {brace * 2} for the character, or {{name}} for what was saved."
                    reading.add_error(at, f"A single {brace} means nothing. {hint}")
                elif brace[1:-1] not in reading.saved:
                    hint = "To save a group of a pattern, write save: {name: 1} into an expect or a when before."
                    near = "" if reading.full else nearest(brace[1:-1], reading.saved, hint)
                    reading.add_error(at, f"Nothing before saves {quote(brace)[1:-1]}. {near}")
        return text


_BRACES = re.compile(r"\{\{|\}\}|\{\w+\}|[{}]")  # as the engine reads them, and single ones, which it would leave


def _braces(node: ScalarNode, source: str) -> Iterator[tuple[str, int]]:
    """Names in braces and single braces, and where they are written; the text's start, if escapes hide that."""
    said = _BRACES.findall(node.text)
    written = list(_BRACES.finditer(source, node.at, node.end))
    plain = said == [each[0] for each in written]
    for index, brace in enumerate(said):
        if brace not in ("{{", "}}"):
            yield brace, written[index].start() if plain else node.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """One or more of a kind: a list, or one without a list around it."""

    shape: Shape

    @property
    def schema(self) -> Schema:
        listed = {"type": "array", "items": self.shape.schema, "minItems": 1, "maxItems": MAX_LIST}
        return {"anyOf": [self.shape.schema, listed]}

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        if not isinstance(node, ListNode):
            value = self.shape.read(node, name, reading)
            return None if value is None else (value,)
        if not node.items:
            reading.add_error(node.at, f"{name} is an empty list. Write what belongs there.")
        elif len(node.items) > MAX_LIST:
            message = f"{name} has more than {MAX_LIST} entries. Leave out what begins here."
            reading.add_error(node.items[MAX_LIST].at, message)
        found = [self.shape.read(each, name, reading) for each in node.items[:MAX_LIST]]
        return tuple(each for each in found if each is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The steps or the rules of a file."""

    shape: Shape
    noun: str

    @property
    def schema(self) -> Schema:
        return {"type": "array", "items": self.shape.schema, "maxItems": MAX_PARTS}

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        if not isinstance(node, ListNode):
            if not isinstance(node, Unread):
                hint = f"Begin each {self.noun} on a line of its own, with a hyphen and a space."
                reading.add_error(node.at, f"{name} is {_what(node)}, no list. {hint}")
            return None
        found = []
        for each in node.items:
            reading.parts += 1
            if reading.parts > MAX_PARTS:
                message = f"These are more than {MAX_PARTS} steps and rules. Leave out what begins here."
                reading.add_error(each.at, message)
                break
            found.append(self.shape.read(each, self.noun, reading))
        return tuple(each for each in found if each is not None)


class Got(NamedTuple):
    """What a mapping says, by key and in the order of the file: where keys and values begin, and the good values."""

    at: int
    keys: Mapping[str, int]
    where: Mapping[str, int]
    values: Mapping[str, Any]
    strange: Sequence[str]  # keys that it may not have: something else may be missing because of one

    def __call__(self, key: str, otherwise: Any = None) -> Any:
        return self.values.get(key, otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A mapping of known keys. `build` makes a noun of it, and complains about what is wrong between its values."""

    build: Callable[[Got, Reading], Any]
    keys: Mapping[str, tuple[Shape, str]]  # what may stand there, and what for; read in this order
    example: str
    required: Sequence[str] = ()
    more: Schema = field(default_factory=dict)  # of the schema

    @property
    def schema(self) -> Schema:
        keys = {key: {**shape.schema, "description": meaning} for key, (shape, meaning) in self.keys.items()}
        made: Schema = {"type": "object", "properties": keys, "additionalProperties": False, **self.more}
        return {**made, "required": list(self.required)} if self.required else made

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        if not isinstance(node, MapNode):
            if not isinstance(node, Unread):
                reading.add_error(node.at, f"{name} is {_what(node)}. Write it like this: {self.example}")
            return None
        keys, nodes, strange = _by_key(node, name, reading, self.keys)
        for key in self.required:
            if key not in nodes and not nearest(key, strange[:20], ""):
                reading.add_error(node.at, f"{name} has no {key}. Write it like this: {self.example}")
        values = {key: shape.read(nodes[key], key, reading) for key, (shape, _) in self.keys.items() if key in nodes}
        good = {key: values[key] for key in nodes if values[key] is not None}
        where = {key: each.at for key, each in nodes.items()}
        return self.build(Got(node.at, keys, where, good, strange), reading)


@dataclass(frozen=True, slots=True)
class Names:
    """A mapping of free names: name -> (value, where it is written)."""

    word: Word
    example: str

    @property
    def schema(self) -> Schema:
        values = self.word.schema
        return {"type": "object", "propertyNames": {"pattern": f"^{NAME}$"}, "additionalProperties": values}

    def read(self, node: Node, name: str, reading: Reading) -> Any:
        if not isinstance(node, MapNode):
            if not isinstance(node, Unread):
                reading.add_error(node.at, f"{name} is {_what(node)}. Write it like this: {self.example}")
            return None
        keys, nodes, _ = _by_key(node, name, reading, None)
        found = {}
        for key, each in nodes.items():
            value = self.word.read(each, quote(key)[1:-1], reading)
            if not re.fullmatch(NAME, key):
                hint = "Use letters, digits and underscores, at most 64, and no digit first."
                reading.add_error(keys[key], f"{quote(key)} is no name. {hint}")
            elif value is not None:
                found[key] = (value, each.at)
        return found


def _by_key(
    node: MapNode, name: str, reading: Reading, known: Iterable[str] | None
) -> tuple[dict[str, int], dict[str, Node], list[str]]:
    """Where a mapping's keys begin, their values, and the keys that it may not have; `known` None: it may any."""
    keys: dict[str, int] = {}
    nodes: dict[str, Node] = {}
    strange: list[str] = []
    for key, value in node.pairs:
        match key:
            case ListNode(at=at) | MapNode(at=at):
                reading.add_error(at, f"A key of {name} is {_what(key)}. Write one word before the colon.")
                strange.append("")
            case ScalarNode(at=at, text="<<"):
                reading.add_error(at, "This would merge another mapping in. Write its keys here instead.")
                strange.append("<<")
            case ScalarNode(at=at, text=text) if text in keys:
                reading.add_error(at, f"{name} has {quote(text)[1:-1]} twice. Keep one of them.")
            case ScalarNode(at=at, text=text) if known is not None and text not in known:
                reading.add_error(at, "" if reading.full else no_such(text, known, f"in {name.lower()}"))
                strange.append(text[:64])
            case ScalarNode(at=at, text=text):
                keys[text], nodes[text] = at, value
    return keys, nodes, strange


# Words -------------------------------------------------------------------------------------------------------------


def word(kind: Kind[Any], *types: str, **schema: Any) -> Word:
    """A scalar of one kind. Other tools may take it for one of `types`; the rest is more of its schema."""
    return Word(kind.from_text, {**kind.schema, "type": ["string", *types], **schema})


def free(most: int) -> Word:
    """Any text of so many characters, which other tools may take for anything."""
    return word(TextKind(most, least=1), "number", "boolean", minLength=1)


def choice(choices: Iterable[str], *typed: object) -> Word:
    """One of a few words; other tools may take one for one of `typed`."""
    kind = Choice(tuple(choices))
    return Word(kind.from_text, {"enum": [*map(str, kind.choices), *typed]})


def whole(least: int, most: int, pattern: str) -> Word:
    """A whole number; `pattern` says the same as the bounds."""
    return word(Whole(least, most), "integer", pattern=f"^(?:{pattern})$")


def duration(least_ms: int = 0, most_ms: int = MAX_TIME_S * 1000) -> Word:
    """A time, in milliseconds."""
    kind = Seconds(most_ms / 1000, least_ms / 1000)
    return Word(lambda text: round(kind.from_text(text) * 1000), kind.schema)


def either(other: str, kind: Kind[Any]) -> Callable[[str], Any]:
    """What reads a text of some kind, or one word more."""

    def convert(text: str) -> Any:
        try:
            return text if text == other else kind.from_text(text)
        except InvalidValue as error:
            raise InvalidValue(f"{error} Or use {other}.") from None

    return convert


MSISDN_OR_ANY = Word(
    either("any", Phone()), {"type": ["string", "integer"], "pattern": f"^(?:any|{MSISDN})$", "minimum": 10**6}
)
SHORTCODE = word(Short(), "integer", minimum=100)
