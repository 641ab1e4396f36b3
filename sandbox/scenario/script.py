"""A scenario's file: YAML text into a Scenario, or every error about it with line and column; and back into text.

The only module that knows YAML; it opens no file and knows no time. See grammar.py for what a file may say.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, assert_never

from sandbox.rules import matching
from sandbox.scenario.grammar import FILE, FOREVER, SCHEMA
from sandbox.scenario.shapes import MAX_ERRORS, ListNode, MapNode, Node, Reading, ScalarNode, Unread
from sandbox.scenario.steps import (
    Action,
    ChangeHandset,
    Expect,
    ExpectNone,
    MakeFault,
    Rule,
    Scenario,
    Send,
    Step,
    When,
)
from sandbox.settings import visible
from sandbox.values.kinds import span

__all__ = ["MAX_BYTES", "MAX_DEPTH", "SCHEMA", "SourceError", "read", "write"]

MAX_BYTES = 1024 * 1024  # as UTF-8
MAX_DEPTH = 20
TOO_DEEP = f"This is nested deeper than {MAX_DEPTH} levels. No scenario needs that."


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceError:
    """What is wrong at one place of a file, and what to do. Line and column count from 1, in characters."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{visible(self.file)}:{self.line}:{self.column}: {self.message}"


def read(source: str, *, name: str = "scenario.yaml") -> Scenario | tuple[SourceError, ...]:
    """The scenario that a file's text says, or all that is wrong with it, in the order of the file.

    `name` is that of the file, for errors. Never raises, whatever the text. What is no YAML at all, and what is
    beyond a limit, is one error: nobody can tell what comes after it.
    """
    source = source.lstrip("\ufeff")
    reading = Reading(source)
    scenario: Scenario | None = None
    try:
        _refuse_characters(source)
        root = _compose(source, reading)
        if root is None or (isinstance(root, ScalarNode) and not root.text):
            reading.add_error(0, f"There is nothing in it. Begin with: {FILE.example}")
        else:
            scenario = FILE.read(root, "The file", reading)
        errors = reading.errors
    except _Unreadable as unreadable:
        errors = unreadable.errors
    if scenario is not None and not errors:
        return scenario
    places = ((*_position(source, at), message) for at, message in errors)
    return tuple(SourceError(file=name, line=line, column=column, message=message) for line, column, message in places)


def _position(source: str, at: int) -> tuple[int, int]:
    """Line and column of an index, as editors count them."""
    return source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)


# YAML into nodes ---------------------------------------------------------------------------------------------------


class _Unreadable(Exception):
    """The text cannot be read any further: (index in the source, why)."""

    def __init__(self, *errors: tuple[int, str]) -> None:
        super().__init__(*errors)
        self.errors: Sequence[tuple[int, str]] = errors


# What YAML may not hold unless it is escaped (YAML 1.1, 5.1): control characters, surrogates and the like.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _refuse_characters(source: str) -> None:
    if len(source.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        within = source.encode("utf-8", "surrogatepass")[:MAX_BYTES].decode("utf-8", "ignore")
        raise _Unreadable((len(within), f"Here the file has {MAX_BYTES} bytes. Leave out the rest, or make it two."))
    found = islice(_FORBIDDEN.finditer(source), MAX_ERRORS)
    hint = "Leave it out; or, if it is part of a text, write it as an escape in double quotes."
    errors = [(each.start(), f"This is the character U+{ord(each[0]):04X}. {hint}") for each in found]
    if errors:
        raise _Unreadable(*errors)


def _compose(source: str, reading: Reading) -> Node | None:
    """The one document in the source as nodes; None if there is none. Raises _Unreadable.

    It is made from the stream of events, which knows no depth: composing recurses, and would follow aliases.
    """
    import yaml  # here, because a sandbox that plays nothing does without

    begun: list[tuple[int, bool, list[Node]]] = []  # collections that are not complete: start, is a mapping, nodes
    root: list[Node] = []
    documents = 0
    for event, at, end in _events(source):
        _refuse_references(event, at, reading)
        node: Node
        match event:
            case yaml.ScalarEvent():
                node = ScalarNode(at, end, event.value)
            case yaml.AliasEvent():
                node = Unread(at)
            case yaml.CollectionStartEvent():
                if len(begun) == MAX_DEPTH:
                    raise _Unreadable((at, TOO_DEEP))
                begun.append((at, isinstance(event, yaml.MappingStartEvent), []))
                continue
            case yaml.CollectionEndEvent():
                start, is_mapping, nodes = begun.pop()
                pairs = list(zip(nodes[::2], nodes[1::2], strict=True)) if is_mapping else []
                node = MapNode(start, pairs) if is_mapping else ListNode(start, nodes)
            case yaml.DocumentStartEvent():
                documents += 1
                if documents == 2:
                    raise _Unreadable((at, "A second document begins here. Write one scenario into a file."))
                continue
            case _:
                continue
        (begun[-1][2] if begun else root).append(node)
    return root[0] if root else None


_BRACKET = re.compile(r"[\[{]")  # with which alone a look ahead goes deeper


def _events(source: str) -> Iterator[tuple[Any, int, int]]:
    """What the YAML says, from where to where. Raises _Unreadable."""
    import yaml

    at = 0
    try:
        for event, at, end in _parsed(source):
            yield event, at, end
    except yaml.MarkedYAMLError as error:
        depth = _depth_before(source, error, at) if isinstance(error, yaml.scanner.ScannerError) else None
        raise _Unreadable(depth or _syntax(source, error, at)) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as an escape for what is no character
        raise _Unreadable((at, f"After this it is no YAML: {visible(str(error))[:200]}.")) from None


def _parsed(source: str) -> Iterator[tuple[Any, int, int]]:
    """The parser's events, from where to where. Raises what the parser raises."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is there: 15 times as fast
    events: Iterable[Any] = yaml.parse(source, Loader=loader)
    for event in events:
        at, end = event.start_mark.index, event.end_mark.index
        if at == end and isinstance(event, yaml.ScalarEvent):  # parsers differ about where nothing is
            while at > 0 and source[at - 1] == " ":
                at -= 1
        yield event, at, end


def _depth_before(source: str, error: Any, at: int) -> tuple[int, str] | None:
    """The error about depth, if what stands before a mistake of the scanner is nested too deep already.

    `at` is where the last thing begins that the parser has told us of.

    The scanner looks up to 1,024 characters ahead for the end of a key, and raises before the parser has told us what
    stands there. PyYAML 6.0.4 raises after 1,000 brackets, before it has told us of the 21st.
    """
    import yaml

    before = min(mark.index for mark in (error.context_mark, error.problem_mark) if mark)
    if not _BRACKET.search(source, at, before):
        return None
    depth = 0
    with suppress(yaml.YAMLError, ValueError, OverflowError):
        for event, at, _ in _parsed(source[:before]):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                return at, TOO_DEEP
    return None


def _refuse_references(event: Any, at: int, reading: Reading) -> None:
    """Complain about anchors, aliases and tags: what a scenario says stands where it is read."""
    if getattr(event, "anchor", None):
        is_alias = type(event).__name__ == "AliasEvent"
        what = "an alias. Write what it stands for" if is_alias else "an anchor. Leave it out"
        sign = "*" if is_alias else "&"
        reading.add_error(at, f'This is {what}; a text that begins with {sign} goes into quotes: "{sign}…".')
    if getattr(event, "tag", None):
        reading.add_error(at, "This is a tag. Leave it out; a text that begins with ! goes into quotes.")
    if getattr(event, "tags", None):
        reading.add_error(at, "This declares tags. Leave it out: everything is read as text.")


def _syntax(source: str, error: Any, at: int) -> tuple[int, str]:
    """Where a text is no YAML, and what is most likely to mend it."""
    what, context, mark = error.problem or "", error.context or "", error.problem_mark or error.context_mark
    at = mark.index if mark else at
    here = source[at : at + 1]
    if "start any token" in what:
        hint = "Indent with spaces." if here == "\t" else f"A text that begins with {visible(here)} goes into quotes."
    elif "alias" in context or "anchor" in context:
        hint = "A text that begins with * or & goes into quotes."
    elif "mapping values" in what:
        hint = "A text with a colon and a space in it goes into quotes; or the indentation is wrong."
    elif "quoted scalar" in context and "stream" in what:
        line, column = _position(source, error.context_mark.index)
        hint = f"The quote at line {line}, column {column} has no end."
    else:
        hint = "Check quotes, brackets and indentation."
    return at, f"This is no YAML: {visible(what or context)[:200]}. {hint}"


# A scenario into YAML ----------------------------------------------------------------------------------------------

_WIDTH = 100  # of a line, beyond which its keys get a line each
_JOINERS = "\u200c\u200d"  # scripts and emoji are written with them

# What may stand without quotes: no tool takes it for a truth value, for nothing, or for another number.
_WORD = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z][A-Za-z0-9_.-]*|[1-9][0-9]*(?:ms|[smhd]|mobile)?"
)
_SENTENCE = re.compile(r"[A-Za-z][A-Za-z0-9'(),.;?!/-]*(?: [A-Za-z0-9'(),.;?!/-]+)+")
_TEXTS = frozenset({"text", "pattern", "session_id", "body", "label"})  # keys whose values are quoted always
_TRUTHS = frozenset({"state", "ignore_case", "hold"})  # and never: on, off and true are what tools take them for


class _Bare(str):
    """A text that is written without quotes."""

    __slots__ = ()


def write(scenario: Scenario) -> str:
    """YAML text from which `read` makes an equal scenario, a line for each step that is short enough.

    For a scenario as `read` makes it: what no file can say is lost, such as a rule that replies, makes a fault and
    replies again.
    """
    lines = [f"scenario: {_flow(_word(scenario.name))}"]
    if scenario.description:
        plain = _SENTENCE.fullmatch(scenario.description)
        lines.append(f"description: {scenario.description if plain else _flow(scenario.description)}")
    if handset := _said(asdict(scenario.handset)):
        lines += _entry("handset", handset, "")
    for key, parts in (("steps", map(_step, scenario.steps)), ("rules", map(_rule, scenario.rules))):
        entries = [[line for name, value in part.items() for line in _entry(name, value, "    ")] for part in parts]
        if entries:
            lines.append(f"{key}:")
        for first, *rest in entries:
            lines += [f"  - {first.lstrip()}", *rest]
    return "\n".join(lines) + "\n"


def _entry(key: str, value: object, indent: str) -> Iterator[str]:
    """A key and its value on one line, or on one for each of the value's own keys or entries."""
    line = f"{indent}{_key(key)}: {_flow(value)}"
    if len(line) <= _WIDTH or isinstance(value, str) or not value:
        yield line
        return
    yield f"{indent}{_key(key)}:"
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _entry(name, each, indent + "  ")
    elif isinstance(value, Sequence):
        for each in value:
            yield f"{indent}  - {_flow(each)}"


def _flow(value: object) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    text = str(value)
    return text if isinstance(value, _Bare) else f'"{"".join(map(_escaped, text))}"'


def _key(key: str) -> str:
    return key if key == "on" else _flow(_word(key))  # what fails reads better without quotes


def _word(value: object) -> str:
    """For words rather than texts: without quotes where every tool takes it for a text, or for the same number."""
    text = str(value)
    return _Bare(text) if _WORD.fullmatch(text) else text


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable() or character in _JOINERS:
        return character
    code = ord(character)
    wide = f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, wide)


def _said(values: Mapping[str, object]) -> dict[str, Any]:
    """Keys and what is written there, without what goes without saying."""
    return {key: _written(key, value) for key, value in values.items() if value or value == ""}


def _written(key: str, value: object) -> object:
    match value:
        case Mapping() | list() | tuple():
            return value
        case _ if key in _TEXTS:
            return str(value)
        case _ if key in _TRUTHS:
            return _Bare("true" if value is True else value)
    return _word(value)


def _step(step: Step) -> dict[str, object]:
    match step:
        case Expect(when=when, within_ms=within_ms):
            return {"expect": {**_when(when), **_said({"within": within_ms and span(within_ms)})}}
        case ExpectNone(match=match, within_ms=within_ms):
            return {"expect_none": {**_said(matching.to_mapping(match)), **_said({"within": span(within_ms)})}}
        case _:
            return dict((_doing(step),))


def _rule(rule: Rule) -> dict[str, object]:
    by_key: dict[str, list[object]] = {}
    for key, value in map(_doing, rule.doing):
        by_key.setdefault(key, []).append(value)
    return {"when": _when(rule.when), **{key: many if len(many) > 1 else many[0] for key, many in by_key.items()}}


def _when(when: When) -> dict[str, object]:
    like = matching.to_mapping(when.match)
    more = {
        "session": when.session or like.pop("session_id", None),
        "save": {name: _word(group) for name, group in when.save.items()},
        "required_state": when.required_state,
        "new_state": when.new_state,
    }
    return _said({**like, **more})


def _doing(doing: Action) -> tuple[str, object]:
    said: dict[str, object]
    match doing:
        case Send(texts=texts):
            said = {
                "text": texts[0] if len(texts) == 1 else texts,
                "to": doing.to,
                "after": doing.after_ms and span(doing.after_ms),
                "duplicates": doing.duplicates,
                "order": "reversed" if doing.reversed_order else None,
                "format": doing.msisdn_format,
                "telco": doing.telco,
                "session": doing.session_id,
            }
            return "send" if doing.starts else "reply", _said(said)
        case MakeFault(effect=effect, times=times):
            said = {
                "on": doing.on,
                "times": FOREVER if times is None else times if times > 1 else None,
                "match": _said(doing.match),
                **asdict(effect),
                "delay_s": None,
                "delay": effect.delay_s and span(round(effect.delay_s * 1000)),
            }
            return "fault", _said(said)
        case ChangeHandset(state=state, telco=telco):
            return "handset", _said({"state": state, "telco": telco})
        case never:
            assert_never(never)
