"""The API reference page: every operation as it is declared, with an example of a call and of its answer.

A template of ours, without JavaScript. See api/operations.py for how an operation is declared.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.api import openapi
from sandbox.api.openapi import GROUPS, OPERATIONS
from sandbox.api.operations import Content, Operation
from sandbox.http.request import services_of
from sandbox.objects.schema import Schema
from sandbox.pages.formatting import shell_word
from sandbox.pages.render import environment


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldEntry:
    """One argument of an operation, in words."""

    name: str
    place: str
    required: bool
    kind: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationEntry:
    """One operation, as the page shows it."""

    method: str
    path: str
    name: str
    summary: str
    description: Sequence[str]
    arguments: Sequence[FieldEntry]
    curl: str
    answers: Sequence[tuple[int, str]]
    errors: Sequence[tuple[int, str]]  # in words where they are this operation's own


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectEntry:
    name: str
    anchor: str
    about: str
    operations: Sequence[OperationEntry]


async def docs(request: Request) -> Response:
    base = str(request.base_url).rstrip("/")
    guarded = services_of(request).control_token is not None
    entries: dict[str, list[OperationEntry]] = {}
    for each in OPERATIONS:
        entries.setdefault(each.group, []).append(_entry(each, base, guarded=guarded))
    html = (
        environment()
        .get_template("api.html")
        .render(
            root=request.scope.get("root_path", ""),
            marked=_marked,
            rules=_paragraphs(openapi.ABOUT),
            groups=[
                SubjectEntry(name=name, anchor=name.lower().replace(" ", "-"), about=about, operations=entries[name])
                for name, about in GROUPS.items()
                if name in entries
            ],
        )
    )
    return Response(html, headers={"Cache-Control": "no-store"}, media_type="text/html")


def _entry(it: Operation, base: str, *, guarded: bool) -> OperationEntry:
    errors = openapi.errors_of(it)
    return OperationEntry(
        method=it.method,
        path=it.path,
        name=it.name,
        summary=it.summary,
        description=_paragraphs(it.description),
        arguments=list(_rows(it)),
        curl=_curl(it, base, guarded=guarded),
        answers=list(openapi.example_answers(it)),
        errors=[(status, it.errors.get(status, "").rstrip(".")) for status in sorted(errors)],
    )


def _marked(text: str) -> Any:
    """Words of ours as markup, where what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped in this line


def _paragraphs(text: str) -> Sequence[str]:
    return [" ".join(each.split()) for each in text.split("\n\n") if each.strip()]


def _rows(it: Operation) -> Iterator[FieldEntry]:
    for each in it.places:
        yield _row(each.name, each.schema, "path", required=True)
    for each in it.query:
        yield _row(each.name, each.schema, "query", required=each.required)
    if it.account in openapi.ACCOUNT_IS:
        about = {"type": "string", "description": openapi.ACCOUNT_IS[it.account]}
        yield _row("account", about, "query", required=False)
    match openapi.body_of(it):
        case Content(media_type=media, schema=schema):
            yield FieldEntry(name="", place="body", required=True, kind=media, help=schema.get("description", ""))
        case dict(body):
            yield from _in_body(body)


def _in_body(body: Schema, within: str = "") -> Iterator[FieldEntry]:
    for name, each in body.get("properties", {}).items():
        yield _row(within + name, each, "body", required=name in body.get("required", ()))
        yield from _in_body(each, f"{within}{name}.")


def _row(name: str, schema: Schema, place: str, *, required: bool) -> FieldEntry:
    return FieldEntry(
        name=name, place=place, required=required, kind=in_words(schema), help=schema.get("description", "")
    )


def in_words(schema: Schema) -> str:
    """A schema in words: `a whole number from 1 to 500, usually 50`."""
    usual = schema.get("default")
    words = _kinds(schema)
    if isinstance(usual, float):
        usual = round(usual) if usual.is_integer() else usual
    return f"{words}, usually {json.dumps(usual)}" if usual is not None else words


_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
}


def _kinds(schema: Schema) -> str:
    match schema:
        case {"enum": words}:
            return "one of " + ", ".join(str(each) for each in words if each is not None)
        case {"anyOf": parts}:
            return " or ".join(dict.fromkeys(_kinds(each) for each in parts if each != {"type": "null"}))
        case {"type": [*kinds], "maximum": most} if "number" in kinds and "string" in kinds:
            before = "true or false, or " if "boolean" in kinds else ""
            return f"{before}seconds from 0 to {most:g}, or a time such as 2m"
        case {"type": "array", "items": each} if each:
            return f"an array: {_kinds(each)}"
        case {"type": kind}:
            kinds = [kind] if isinstance(kind, str) else kind
            words = " or ".join(_KINDS[each] for each in kinds if each != "null")
            return words + _bounds(schema, kinds)
        case _:
            return "anything"


def _bounds(schema: Mapping[str, object], kinds: Sequence[str]) -> str:
    match schema:
        case {"minimum": least, "maximum": most} if "string" not in kinds:
            return f" from {least:g} to {most:g}"
        case {"maxLength": most}:
            return f" of at most {most} characters"
        case _:
            return ""


def _curl(it: Operation, base: str, *, guarded: bool) -> str:
    target, body = openapi.example_call(it)
    method = "" if it.method == "GET" else f"-X {it.method} "
    lines = [f"curl {method}{shell_word(base + target)}"]
    if guarded:
        lines.append('-H "Authorization: Bearer $CONTROL_TOKEN"')
    if body is not None:
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d {shell_word(text)}"]
    return " \\\n  ".join(lines)
