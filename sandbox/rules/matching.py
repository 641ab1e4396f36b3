"""Which messages somebody means, and what is different about those that come close.

One matcher for waits, verification, faults and scenarios, pure. Numbers match exactly, `text` is a glob over the whole
text, `pattern` a regular expression that is looked for in it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sandbox.model import MAX_OPAQUE, DeliveryState, Direction, Encoding, Message, MessageState
from sandbox.values.fields import Given, optional, with_default
from sandbox.values.kinds import Choice, Flag, InvalidValue, Kind, TextKind, Whole, unknown
from sandbox.values.numbers import AnyNumber
from sandbox.wire.problems import quote

if TYPE_CHECKING:
    import regex

MAX_GLOB = 5_000
"""Characters of a glob: room for the longest text with every `*`, `?` and `[` written as a set of one."""

MAX_PATTERN = 200
"""Characters of a pattern."""

MAX_COPIES = 4_000
"""Parts that the counts of a pattern make of it: `regex` compiles `a{1000}` into a thousand of them, and a count of a
group into as many groups, so that 30 characters could take all memory there is."""

SEEN = 2 * 1024
"""Characters of a text that a pattern gets to see."""

PATTERN_S = 0.05
"""Time that a pattern has for one text."""

_PATIENCE = 20  # texts on which a pattern may take too long; after that it is not tried any more
_COMPARED = 100  # messages whose text `nearest` compares
_ALIKE = 80  # characters of a text that it compares; difflib takes the square of that in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What a message has to be like; None asks nothing. `from_` and `to` are as on the wire, so that they depend on
    the direction; numbers are without `+`, as in a message."""

    from_: str | None = None
    to: str | None = None
    session_id: str | None = None
    direction: str | None = None
    text: str | None = None
    pattern: str | None = None
    ignore_case: bool = False
    state: str | None = None
    segments: int | None = None
    encoding: str | None = None


class Difference(NamedTuple):
    """What one field should be and what it is; both may hold any character that a message may."""

    field: str
    wanted: str
    found: str


class NearMiss(NamedTuple):
    """A message that is not meant, and in what it differs."""

    message: Message
    differences: Sequence[Difference]


# Messages ----------------------------------------------------------------------------------------------------------


def differences(match: Match, message: Message) -> Sequence[Difference]:
    """In what a message is not what was wanted; empty if it is.

    Never raises: a pattern that cannot be used, or takes longer than `PATTERN_S`, is a difference that says so.
    """
    found = []
    mt = message.direction is Direction.MT
    for name, wanted, is_ in (
        ("from", match.from_, message.shortcode if mt else message.msisdn),
        ("to", match.to, message.msisdn if mt else message.shortcode),
        ("session_id", match.session_id, message.session_id),
        ("direction", match.direction, message.direction),
        ("state", match.state, message.state),
        ("segments", match.segments, message.segments),
        ("encoding", match.encoding, message.encoding),
    ):
        if wanted is not None and wanted != is_:
            found.append(Difference(name, str(wanted), str(is_)))
    if match.text is not None and not _fits(match.text, match.ignore_case, message.text):
        found.append(Difference("text", match.text, message.text))
    if match.pattern is not None:
        searched = _pattern(match.pattern, match.ignore_case).search(message.text)
        if searched is None:
            found.append(Difference("pattern", match.pattern, message.text))
        elif isinstance(searched, str):
            found.append(Difference("pattern", match.pattern, searched))
    return found


def nearest(match: Match, found: Iterable[Message], most: int = 3) -> Sequence[NearMiss]:
    """The messages that come closest: fewest differences, then the text that is most alike, then the newest.

    Those that fit are left out. Of equally many differences, only the newest 100 are compared by their texts.
    """
    misses = [NearMiss(each, unlike) for each in found if (unlike := differences(match, each))]
    misses.sort(key=lambda miss: (len(miss.differences), -miss.message.seq))
    if len(misses) > most:
        alike = _alike(match)
        misses = misses[:_COMPARED]
        misses.sort(key=lambda miss: (len(miss.differences), -alike(miss.message.text), -miss.message.seq))
    return misses[:most]


def _alike(match: Match) -> Callable[[str], int]:
    """How many characters of the wanted text another one has as well, in runs that no accident makes."""
    wanted = (match.text or match.pattern or "").replace("*", "")[:_ALIKE].casefold()
    matcher = SequenceMatcher(None, "", wanted, autojunk=False)

    def alike(text: str) -> int:
        matcher.set_seq1(text[:_ALIKE].casefold())
        return sum(block.size for block in matcher.get_matching_blocks() if block.size > 2)

    return alike if wanted else lambda text: 0


def captured(match: Match, text: str) -> Mapping[str, str]:
    """The groups of the pattern in a text that it fits, by number and by name; "0" is the whole.

    A group that took no part is empty. Without a pattern the whole is the text; a text that does not fit has none.
    """
    if match.pattern is None:
        return {"0": text}
    found = _pattern(match.pattern, match.ignore_case).search(text)
    if found is None or isinstance(found, str):
        return {}
    numbered = {str(number): value or "" for number, value in enumerate((found[0], *found.groups()))}
    return {**numbered, **{name: value or "" for name, value in found.groupdict().items()}}


def groups(match: Match) -> frozenset[str]:
    """The keys that `captured` has for a text that fits."""
    if match.pattern is None:
        return frozenset({"0"})
    compiled = _pattern(match.pattern, match.ignore_case).compiled
    if compiled is None:
        return frozenset()
    return frozenset({*map(str, range(compiled.groups + 1)), *compiled.groupindex})


# Globs -------------------------------------------------------------------------------------------------------------


def exactly(text: str) -> str:
    """The glob that only this text fits."""
    return re.sub(r"[*?\[]", r"[\g<0>]", text)


# SQLite takes the two noncharacters for what stands where no character could be read.
_ONE_IN_SQLITE = {0xFFFE: 0xFFFD, 0xFFFF: 0xFFFD}
_NEVER = "(?!)"  # as a regular expression; a glob's own characters are escaped, and cannot make it


def _fits(glob: str, ignore_case: bool, text: str) -> bool:
    return _glob(glob, ignore_case).fullmatch(text.translate(_ONE_IN_SQLITE)) is not None


@lru_cache(maxsize=512)
def _glob(glob: str, ignore_case: bool) -> re.Pattern[str]:
    """What SQLite's GLOB does, so that a list and a wait find the same: `*`, `?` and sets such as `[a-f]`, `[^0-9]`."""
    glob = glob.translate(_ONE_IN_SQLITE)
    pieces = [""]  # of the regular expression, a `*` between each two
    at = 0
    while at < len(glob):
        character, at = glob[at], at + 1
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "."
        elif character == "[":
            end, members = _set(glob, at)
            pieces[-1] += members
            at = end
        else:
            pieces[-1] += re.escape(character)
    first, *middle = pieces
    last = f".*{middle.pop()}" if middle else ""
    # The first place that fits is as good as any later one (atomic), so that no glob takes more than the product of its
    # length and the text's.
    expression = first + "".join(f"(?>.*?{piece})" for piece in middle) + last
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _set(glob: str, at: int) -> tuple[int, str]:
    """Where the set that begins before `at` is over, and the regular expression of its members."""
    negated = glob.startswith("^", at)
    at += negated
    members: list[tuple[str, str]] = []  # from, to
    before = ""  # what a `-` would make the start of a range
    if glob.startswith("]", at):
        members.append(("]", "]"))
        at += 1
    while at < len(glob) and glob[at] != "]":
        if glob[at] == "-" and before and glob[at + 1 : at + 2] not in ("", "]"):
            members.append((before, glob[at + 1]))
            before, at = "", at + 2
        else:
            before, at = glob[at], at + 1
            members.append((before, before))
    if at >= len(glob):  # it has no end, and fits nothing
        return at, _NEVER
    ranges = (f"{re.escape(low)}-{re.escape(high)}" for low, high in members if low <= high)
    return at + 1, f"[{'^' if negated else ''}{''.join(ranges)}]"


# Patterns ----------------------------------------------------------------------------------------------------------


class _Pattern:
    """A compiled pattern, or why there is none in `error`, and how often it took too long."""

    __slots__ = ("compiled", "error", "too_long")

    def __init__(self, compiled: "regex.Pattern[str] | None", error: str = "") -> None:
        self.compiled = compiled
        self.error = error
        self.too_long = 0

    def search(self, text: str) -> "regex.Match[str] | str | None":
        """What fits, or None, or in words why nobody knows."""
        if self.compiled is None:
            return self.error
        if self.too_long < _PATIENCE:  # a thousand messages or rules would stall the loop all the same
            try:
                return self.compiled.search(text[:SEEN], timeout=PATTERN_S, concurrent=True)
            except TimeoutError:
                self.too_long += 1
        return f"nobody knows: the pattern takes longer than {PATTERN_S * 1000:g} ms; write it more simply"


@lru_cache(maxsize=128)
def _pattern(pattern: str, ignore_case: bool) -> _Pattern:
    if len(pattern) > MAX_PATTERN:
        return _Pattern(None, f"pattern has {len(pattern)} characters. At most {MAX_PATTERN} are accepted.")
    if _copies(pattern) > MAX_COPIES:
        return _Pattern(None, "pattern repeats too much. Use smaller counts, or none within a group that has one.")
    import regex  # here, because few need it and it costs 20 ms

    try:
        return _Pattern(regex.compile(pattern, regex.IGNORECASE if ignore_case else 0, cache_pattern=False))
    except Exception as error:  # regex.error; or, as its parser is in Python, whatever a pattern may do to one
        reason = quote(str(error) or type(error).__name__, 100)[1:-1]
        return _Pattern(None, f"pattern is no regular expression: {reason}. Mend it, or use text.")


_COUNT = re.compile(r"(?s:(.?))\{([0-9]+)")
_PROPERTY = re.compile(r"\\[pP]\{[^0-9{}][^{}]*\}")
_VERBOSE = re.compile(r"\(\?[A-Za-z0-9-]*x")


def _copies(pattern: str) -> int:
    """Of how many parts the pattern is made once its counts are written out; rather too many than too few.

    A count makes copies of one part, but one that stands after a group makes copies of everything that may be in it.
    """
    verbose = _VERBOSE.search(pattern) is not None  # then anything may stand between a group and its count
    parts, times = len(pattern), 1
    for before, digits in _COUNT.findall(_PROPERTY.sub("p", pattern)):
        if verbose or before in (")", "}", "?", "*", "+"):
            times *= max(1, int(digits))
        else:
            parts += int(digits)
    return parts * times


# What people write -------------------------------------------------------------------------------------------------

STATES = (*(str(each) for each in MessageState if each is not MessageState.ROUTED), *map(str, DeliveryState))
"""The states that a message is said to be in."""

TO = optional("to", AnyNumber(), "The receiver's number, exactly: an MSISDN for MT, a shortcode for MO.")
FROM = optional("from", AnyNumber(), "The sender's number, exactly: a shortcode for MT, an MSISDN for MO.")
SESSION_ID = optional("session_id", TextKind(), "The dialogue, exactly.")
DIRECTION = optional("direction", Choice(tuple(Direction)), "From the application (mt), or from a handset (mo).")
TEXT = optional("text", TextKind(), "A glob over the whole text: `*`, `?`, `[…]`.", "*cinema?*")
PATTERN = optional(
    "pattern", TextKind(), "A regular expression that is looked for in the text; 200 characters at most."
)
IGNORE_CASE = with_default("ignore_case", Flag(), False, "Whether `text` and `pattern` take A for a.")
STATE = optional("state", Choice(STATES), "The state, as it is now.")
SEGMENTS = optional("segments", Whole(1, 1_000), "How many SMS the text takes.")
ENCODING = optional("encoding", Choice(tuple(Encoding)), "The encoding that the text needs.")
FILTERS = (TO, FROM, SESSION_ID, DIRECTION, TEXT, PATTERN, IGNORE_CASE, STATE, SEGMENTS, ENCODING)
"""The fields of a Match as arguments of a call, where what is empty asks nothing."""

KINDS: Mapping[str, Kind[Any]] = {
    **{each.name: each.kind for each in FILTERS},
    "session_id": TextKind(MAX_OPAQUE, least=1),
    "text": TextKind(MAX_GLOB, least=1),
    "pattern": TextKind(MAX_PATTERN, least=1),
    "state": Choice(tuple(dict.fromkeys(map(str, (*MessageState, *DeliveryState))))),
}
"""What `from_mapping` reads, by names as on the wire."""

_ATTRIBUTES = {each.name.rstrip("_"): each.name for each in fields(Match)}  # by their names on the wire


def match_of(given: Given) -> Match:
    """The match that a call's FILTERS ask for; `check` says whether it makes sense."""
    return Match(
        from_=given[FROM],
        to=given[TO],
        session_id=given[SESSION_ID],
        direction=given[DIRECTION],
        text=given[TEXT],
        pattern=given[PATTERN],
        ignore_case=bool(given[IGNORE_CASE]),
        state=given[STATE],
        segments=given[SEGMENTS],
        encoding=given[ENCODING],
    )


def check(match: Match) -> list[tuple[str, str]]:
    """What is wrong with a match: (field as on the wire, what arrived and what to do), all at once."""
    found = from_mapping(to_mapping(match))
    if not isinstance(found, Match):
        return found
    odd = to_mapping(match).items() - to_mapping(found).items()  # numbers that are not as messages have them
    return [(name, f"{name} {KINDS[name].invalid(value)}") for name, value in odd]


def from_mapping(given: Mapping[str, object]) -> Match | list[tuple[str, str]]:
    """What `given` asks for, or all that is wrong with it as `check` says it.

    Keys are as on the wire. Values are as JSON has them, or texts that say the same; None asks nothing. Numbers may
    have a leading + or 00.
    """
    wrong = unknown(given, KINDS)
    values: dict[str, Any] = {}
    for name, kind in KINDS.items():
        value = given.get(name)
        if value is not None:
            try:
                values[_ATTRIBUTES[name]] = kind.from_text(value) if isinstance(value, str) else kind.read(value)
            except InvalidValue as error:
                wrong.append((name, f"{name} {error}"))
    match = Match(**values)
    if match.text is not None and _NEVER in _glob(match.text, match.ignore_case).pattern:
        hint = "Write [[] for the character itself."
        wrong.append(("text", f"text has a [ that begins a set, and no ] that ends it. {hint}"))
    if match.pattern is not None and (reason := _pattern(match.pattern, match.ignore_case).error):
        wrong.append(("pattern", reason))
    return wrong or match


def to_mapping(match: Match) -> dict[str, object]:
    """What `from_mapping` reads as the same match: keys as on the wire, and only what is asked."""
    values = {name: getattr(match, attribute) for name, attribute in _ATTRIBUTES.items()}
    return {name: value for name, value in values.items() if value not in (None, False)}
