"""JSON Schema 2020-12 in few words: what an answer or an argument looks like, and an example of it.

A schema with a title is a component of the OpenAPI document, wherever it is used. What the objects are is said beside
the functions that make or read them, never here.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

Schema = dict[str, Any]


def component(
    title: str, description: str, properties: Mapping[str, Schema], *, optional: Collection[str] = ()
) -> Schema:
    """A named object that has all of these properties, except that it may lack the optional ones, and no other."""
    return {"title": title, "description": description, **obj(properties, optional=optional)}


def obj(properties: Mapping[str, Schema], *, optional: Collection[str] = ()) -> Schema:
    """An object without a name; otherwise as `component`."""
    made: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required := [name for name in properties if name not in optional]:
        made["required"] = required
    return made


def page(plural: str, each: Schema, *, last: str = "null on the last page") -> Schema:
    """What a list answers."""
    following = nullable(text(f"Goes on from here as the argument `next`; {last}.", "41"))
    return obj({plural: array(each), "next": following})


def text(description: str = "", example: str | None = None, **more: Any) -> Schema:
    return _typed("string", description, example, more)


def integer(description: str = "", example: int | None = None, **more: Any) -> Schema:
    return _typed("integer", description, example, more)


def number(description: str = "", example: float | None = None, **more: Any) -> Schema:
    return _typed("number", description, example, more)


def boolean(description: str = "", example: bool | None = None) -> Schema:
    return _typed("boolean", description, example, {})


def choice(values: Iterable[str], description: str = "", example: str | None = None) -> Schema:
    return _typed("string", description, example, {"enum": [str(each) for each in values]})


def timestamp(description: str = "", example: str = "2024-01-02T23:50:37.000000Z") -> Schema:
    return text(description, example, format="date-time")


def array(each: Schema, description: str = "") -> Schema:
    return {"type": "array", **({"description": description} if description else {}), "items": each}


def mapping(each: Schema | bool, description: str = "", example: Mapping[str, object] | None = None) -> Schema:
    """An object with any keys."""
    return _typed("object", description, example, {"additionalProperties": each})


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "title" in schema or "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = schema["type"]
    made = {**schema, "type": [*([kinds] if isinstance(kinds, str) else kinds), "null"]}
    if "enum" in schema:
        made["enum"] = [*schema["enum"], None]
    return made


def _typed(kind: str, description: str, example: object, more: Mapping[str, Any]) -> Schema:
    made: Schema = {"type": kind}
    if description:
        made["description"] = description
    made |= more
    if example is not None:
        made["examples"] = [example]
    return made


def example_of(schema: Schema) -> Any:
    """A value that fits: the schema's own example, else one made of its parts."""
    match schema:
        case {"examples": [first, *_]} | {"default": first} | {"enum": [first, *_]} | {"const": first}:
            return first
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
            return example_of(first)
        case {"properties": properties}:
            return {name: example_of(each) for name, each in properties.items()}
        case {"type": "array", "items": each}:
            return [example_of(each)]
        case {"type": [str(), *_] as types} if "null" in types:
            return None
        case {"type": "string"}:
            return ""
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 0)
        case {"type": "boolean"}:
            return False
        case {"type": "object"}:
            return {}
        case _:
            return None
