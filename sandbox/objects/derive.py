"""What derives from the class of an API object: its JSON, its JSON Schema with an example, and its value read back.

A class is a frozen dataclass that is made with `api_object` or `part`; `described` says about a field what its type
does not. Identifiers are strings, times ISO 8601 in UTC, durations carry their unit. The key of `from_` is `from`.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from functools import cache, partial
from types import NoneType
from typing import Any, NamedTuple, TypeVar, cast, dataclass_transform, get_args, get_origin, get_type_hints

from sandbox.objects.schema import Schema, nullable

T = TypeVar("T")
Json = dict[str, Any]

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def described(
    description: str = "",
    example: object = MISSING,
    *,
    optional: bool = False,
    hashed: bool = True,
    choices: Iterable[str] = (),
    shape: type | None = None,
    each: Mapping[str, object] | None = None,
    **words: object,
) -> Any:
    """A field: what it is, an example (None: it is null in examples), and more words of JSON Schema.

    A key that is `optional` is left out where it is None. `each` is what holds for the items of an array; `shape`: the
    class whose keys a mapping has. What is not `hashed` counts when objects are compared, but not for their hash.
    """
    said: Json = {"description": description} if description else {}
    if choices:
        said["enum"] = [str(choice) for choice in choices]
    said |= words
    if example is not MISSING:
        said["examples"] = [example]
    metadata = {"said": said, "each": each or {}, "shape": shape, "optional": optional}
    return (
        field(default=None, metadata=metadata) if optional else field(hash=None if hashed else False, metadata=metadata)
    )


def identifier(letter: str, description: str = "", **words: Any) -> Any:
    """A field with an identifier, such as `m12`."""
    return described(description, **{"example": f"{letter}12", "pattern": f"^{letter}[0-9]+$", **words})


def timestamp(description: str = "", example: str | None = "2024-01-02T23:50:37.000000Z") -> Any:
    """A field with a moment."""
    return described(description, example, format="date-time")


def event_number() -> Any:
    return described("Its number, which grows with everything that happens.", 12)


def account_name() -> Any:
    return described("The account that it belongs to.", "default")


def base64_of() -> Any:
    """A field beside a text from the wire, for bytes that are not UTF-8."""
    return described("The same bytes exactly, where they are not UTF-8.", optional=True, contentEncoding="base64")


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(described, identifier, timestamp, event_number, account_name, base64_of),
)
def api_object(made: type[T]) -> type[T]:
    """A component of the OpenAPI document: its title is the class's name, less `Object`; its docstring describes it."""
    title, description = made.__name__.removesuffix("Object"), inspect.getdoc(made) or ""
    made.__component__ = {"title": title, "description": description.partition("\n\n")[0].replace("\n", " ")}  # type: ignore[attr-defined]
    return cast("type[T]", dataclass(frozen=True, slots=True, kw_only=True)(made))


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(described, identifier, timestamp, event_number, account_name, base64_of),
)
def part(made: type[T]) -> type[T]:
    """A part of other objects, which has no name of its own in the OpenAPI document."""
    made.__component__ = {}  # type: ignore[attr-defined]
    return cast("type[T]", dataclass(frozen=True, slots=True, kw_only=True)(made))


class _Field(NamedTuple):
    name: str
    key: str
    hint: Any
    said: Json
    each: Mapping[str, object]
    shape: type | None
    optional: bool


@cache
def _fields(kind: type) -> tuple[_Field, ...]:
    hints = get_type_hints(kind)
    return tuple(
        _Field(
            each.name,
            each.name.rstrip("_"),
            hints[each.name],
            each.metadata.get("said", {}),
            each.metadata.get("each", {}),
            each.metadata.get("shape"),
            each.metadata.get("optional", False),
        )
        for each in fields(cast(Any, kind))
    )


def _without_null(hint: Any) -> tuple[Any, bool]:
    """A type without None, and whether None was allowed."""
    others = [each for each in get_args(hint) if each is not NoneType]
    return (others[0], True) if NoneType in get_args(hint) else (hint, False)


# JSON Schema -------------------------------------------------------------------------------------------------------


@cache
def schema_of(kind: type) -> Schema:
    """The JSON Schema of an object; with a title, if it is a component."""
    known = _fields(kind)
    made: Schema = {**cast(Any, kind).__component__, "type": "object"}
    made["properties"] = {each.key: _property(each) for each in known}
    made["additionalProperties"] = False
    if required := [each.key for each in known if not each.optional]:
        made["required"] = required
    return made


def _property(it: _Field) -> Schema:
    hint, may_be_null = _without_null(it.hint)
    made = _of_type(it.shape or hint, it.said, it.each)
    if may_be_null and not it.optional:
        made = nullable(made)
        if it.said.get("examples") == [None]:
            made["examples"] = [None]
    return made


def _of_type(hint: Any, said: Json, each: Mapping[str, object]) -> Schema:
    if hasattr(hint, "__component__"):
        return {**schema_of(hint), **{name: value for name, value in said.items() if name != "examples"}}
    if get_origin(hint) is tuple:
        return {"type": "array", **said, "items": _of_type(get_args(hint)[0], dict(each), {})}
    if hint in _TYPES:
        return {"type": _TYPES[hint], **said}
    values = get_args(hint)[1]
    return {"type": "object", **said, "additionalProperties": True if values is object else _of_type(values, {}, {})}


# JSON --------------------------------------------------------------------------------------------------------------


def json_from(kind: type, noun: object = None, **given: object) -> Json:
    """The JSON of an object of `kind`: the fields that are given, as JSON, and else the attributes of `noun` that are
    called the same. Raises AttributeError for a field that neither has, and TypeError for one that `kind` has not."""
    made: Json = {}
    for name, key, write, optional in _written(kind):
        if name in given:
            value = given.pop(name)
        else:
            value = getattr(noun, name, None) if optional else getattr(noun, name)
            if write is not None and value is not None:
                value = write(value)
        if value is not None or not optional:
            made[key] = value
    if given:
        raise TypeError(f"{kind.__name__} has no {', '.join(given)}")
    return made


def to_json(value: object) -> Json:
    """The JSON of an API object."""
    return json_from(type(value), value)


@cache
def _written(kind: Any) -> tuple[tuple[str, str, Callable[[Any], Any] | None, bool], ...]:
    return tuple((each.name, each.key, _write(_without_null(each.hint)[0]), each.optional) for each in _fields(kind))


def _write(hint: Any) -> Callable[[Any], Any] | None:
    """What turns a value into one that JSON has; None if it is one."""
    if hasattr(hint, "__component__"):
        return partial(json_from, hint)
    if get_origin(hint) is tuple:
        one = _write(get_args(hint)[0])
        return list if one is None else lambda values: [one(each) for each in values]
    return None if hint in _TYPES else dict


# Values read back --------------------------------------------------------------------------------------------------


def from_json(kind: type[T], value: Mapping[str, Any]) -> T:
    """The object that JSON of a sandbox describes. Keys that a newer sandbox adds are left out."""
    made = {name: read(value.get(key)) for name, key, read in _reader(cast(Any, kind))}
    return kind(**made)


@cache
def _reader(kind: type) -> tuple[tuple[str, str, Callable[[Any], Any]], ...]:
    return tuple((each.name, each.key, _read(_without_null(each.hint)[0])) for each in _fields(kind))


def _read(hint: Any) -> Callable[[Any], Any]:
    if hasattr(hint, "__component__"):
        return lambda value: None if value is None else from_json(hint, value)
    if get_origin(hint) is tuple:
        one = _read(get_args(hint)[0])
        return lambda values: tuple(one(each) for each in values or ())
    return lambda value: value


class Error(NamedTuple):
    """What is wrong with a value: where (`attempts[0].number`; "" is the whole), and what would be accepted."""

    field: str
    message: str


def errors(kind: type, value: object) -> list[Error]:
    """Everything that keeps a JSON value from being an object of `kind`."""
    return list(_errors(schema_of(kind), value, ""))


def _errors(wanted: Schema, value: object, at: str) -> Iterator[Error]:
    if "anyOf" in wanted:
        if value is None:
            return
        yield from _errors(wanted["anyOf"][0], value, at)
        return
    types = wanted["type"] if isinstance(wanted["type"], list) else [wanted["type"]]
    if not any(_is(value, each) for each in types):
        yield Error(at, f"is {_quoted(value)}. It has to be {' or '.join(_WORDS[each] for each in types)}.")
    elif "enum" in wanted and value not in wanted["enum"]:
        allowed = [str(each) for each in wanted["enum"] if each is not None]
        yield Error(at, f"is {_quoted(value)}. It has to be one of {', '.join(allowed)}.{_nearest(value, allowed)}")
    elif isinstance(value, str) and "pattern" in wanted and not _is_identifier(value, wanted["pattern"]):
        yield Error(at, f"is {_quoted(value)}. It has to be an identifier such as {wanted['pattern'][1]}12.")
    elif isinstance(value, dict) and "properties" in wanted:
        known = wanted["properties"]
        for key in wanted.get("required", ()):
            if key not in value:
                yield Error(_below(at, key), "is missing.")
        for key, each in value.items():
            if key in known:
                yield from _errors(known[key], each, _below(at, key))
            else:
                yield Error(_below(at, key), f"is not known here.{_nearest(key, known)}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _errors(wanted["items"], each, f"{at}[{number}]")
    elif isinstance(value, int | float) and value < wanted.get("minimum", value):
        yield Error(at, f"is {value}. It has to be {wanted['minimum']} or more.")


_WORDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (NoneType,),
}


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _PYTHON[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _is_identifier(value: str, pattern: str) -> bool:
    return len(value) <= 19 and re.fullmatch(pattern, value) is not None  # its number has 63 bits


def _below(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _quoted(value: object) -> str:
    from sandbox.wire.problems import quote  # which those who only read answers need not load

    return json.dumps(value) if value is None or isinstance(value, int | float) else quote(value)


def _nearest(word: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(word)[:64], list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""
