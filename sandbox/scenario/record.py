"""A conversation that happened, as a scenario, as a Python test against the pytest fixtures, or as a transcript.

Pure, and wary: texts come from the wire, and what is written here is meant to be run. A value that is likely to be
another the next time (`VARYING`) is asked for by its shape, everything else word for word.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from types import MappingProxyType
from typing import NamedTuple

from sandbox.clock import to_iso
from sandbox.model import Attempt, DeliveryState, Direction, Message, MessageState
from sandbox.rules.matching import Match, check, differences, exactly
from sandbox.scenario.steps import Expect, HandsetSpec, Scenario, Send, Session, Step, When

MOST = 1_000
"""Messages of which a scenario or a test is made, the newest: a scenario has no more steps."""

A_FEW_SECONDS_MS = 3_000
"""A handset that took longer to answer takes as long in the replay."""

PATIENCE_MS = 10_000
"""How long the application may take in the replay, unless it took long in the conversation."""

_LONGEST_MS = 366 * 86_400_000  # no scenario may say more


class Varying(NamedTuple):
    """A kind of value that is another the next time: how one is found in a text, and the pattern that replaces it."""

    kind: str
    found: str
    becomes: str


_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"

VARYING: tuple[Varying, ...] = (  # at one place in a text, the first that fits counts
    Varying("link", r"(?:https?://|www\.)\S+", r"\S+"),
    Varying("moment", r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*", r"\d+-\d+-\d+[T ]\d+:\S+"),
    Varying("date", r"\b\d{4}-\d\d-\d\d\b", r"\d+-\d+-\d+"),
    Varying("date", r"\b\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b", r"\d+[/.-]\d+[/.-]\d+"),
    Varying("date", rf"\b\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}(?:,? \d{{4}})?\b", r"\d+\w* \w+(?:,? \d+)?"),
    Varying("date", rf"\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b", r"\w+ \d+\w*(?:,? \d+)?"),
    Varying("time", r"\b\d{1,2}:\d\d(?::\d\d)?(?: ?[AaPp][Mm])?\b", r"\d+:[\d:]+(?: ?[AaPp][Mm])?"),
    Varying("amount", r"(?:(?<=[₦$€£])|(?<=\bN)|(?<=\bNGN)) ?\d[\d,]*(?:\.\d+)?", r" ?[\d,.]+"),
    Varying("id", r"\b(?=[A-Za-z-]*\d)(?=[\d-]*[A-Za-z])[A-Za-z\d][A-Za-z\d-]{4,62}[A-Za-z\d]\b", r"[A-Za-z\d-]+"),
    Varying("number", r"\+?\b\d{9,}\b", r"\+?\d+"),  # above all that of the handset
    Varying("code", r"\b\d{4,8}\b", r"\d{4,8}"),
)
_varying = re.compile("|".join(f"(?P<v{index}>{each.found})" for index, each in enumerate(VARYING)))

_JOINERS = "\u200c\u200d"  # scripts and emoji are written with them
_ANY = Match(text="*")
_CODE = "code"  # the name under which a message's value is kept that the handset's next text repeats


# As a scenario ------------------------------------------------------------------------------------------------------


def as_scenario(messages: Sequence[Message], *, name: str = "recorded") -> Scenario:
    """The conversation as a script: what the application sent is expected, what the handset sent is sent.

    `messages` are of one handset, oldest first. A text of the handset that repeats a value of the message before (a
    code, mostly) repeats the one that comes in the replay.
    """
    turns = _turns(messages)
    telco = next((turn.message.telco for turn in turns if turn.message.direction is Direction.MO), None)
    return Scenario(
        name=name,
        description=_description(messages),
        handset=HandsetSpec(telco=telco),
        steps=tuple(_step(turn, telco) for turn in turns),
    )


def _step(turn: "_Turn", telco: str | None) -> Step:
    message = turn.message
    if message.direction is Direction.MT:
        when = When(
            match=turn.match,
            session=Session.SAME if turn.same_session else None,
            save={_CODE: "1"} if turn.saves else {},
        )
        return Expect(when=when, within_ms=None if turn.first else _patience_ms(turn.gap_ms))
    said = ("{" + _CODE + "}" if part is None else part.replace("{", "{{").replace("}", "}}") for part in turn.parts)
    return Send(
        texts=("".join(said),),
        after_ms=_pause_ms(turn.gap_ms),
        to=message.shortcode if turn.starts else None,
        starts=turn.starts,
        telco=None if message.telco == telco else message.telco,
    )


# As a test ----------------------------------------------------------------------------------------------------------


def as_pytest(messages: Sequence[Message], *, name: str = "recorded") -> str:
    """The conversation as a Python module with one test for the fixtures `ninebits` and `handset`.

    It is valid Python whatever the texts hold, and every literal in it is printable.
    """
    turns = _turns(messages)
    sent = [turn.message for turn in turns if turn.message.direction is Direction.MT]
    alike = [(one.seq, other.seq) for one, other in pairwise(sent) if one.session_id == other.session_id]
    kept, compared = {one for one, _ in alike}, {other for _, other in alike}
    lines = [f'"""{_description(messages)}"""', ""]
    if any(turn.saves for turn in turns):
        lines += ["import re", ""]
    lines += [
        "",
        f"def test_{re.sub('[^0-9A-Za-z_]', '_', name)}(ninebits, handset):",
        '    # ninebits.client_url = "http://127.0.0.1:8000/sms"  # where your application takes replies',
    ]
    if not turns:
        lines.append("    assert handset.messages() == []")
    elif turns[0].message.direction is Direction.MT:
        lines.append("    # Here your application has to send its first message, to handset.number.")
    for turn in turns:
        message = turn.message
        if message.direction is Direction.MO:
            if pause_ms := _pause_ms(turn.gap_ms):
                lines.append(f"    ninebits.clock.advance({pause_ms // 1000})")
            said = " + ".join(_CODE if part is None else _literal(part) for part in turn.parts)
            starts = f", to={_literal(message.shortcode)}" if turn.starts else ""
            lines.append(f"    handset.{'send' if turn.starts else 'reply'}({said}{starts})")
            continue
        lines.append(f"    message = handset.wait_for_message({_filters(turn)})")
        if message.seq in compared:
            lines.append("    assert message.session_id == session_id")
        elif message.seq in kept:
            lines.append("    session_id = message.session_id")
        if turn.saves:
            lines.append(f"    {_CODE} = re.search({_literal(turn.match.pattern or '')}, message.text)[1]")
    return "\n".join(lines) + "\n"


def _filters(turn: "_Turn") -> str:
    asked = (("text", turn.match.text), ("pattern", turn.match.pattern), ("from_", turn.match.from_))
    said = [f"{name}={_literal(value)}" for name, value in asked if value is not None]
    if turn.gap_ms > A_FEW_SECONDS_MS:
        said.append(f"timeout={_patience_ms(turn.gap_ms) // 1000}")
    return ", ".join(said)


def _literal(text: str) -> str:
    """`text` as Python writes it, in double quotes where that is as good, and raw where that saves backslashes."""
    if text.isprintable() and '"' not in text and "\\" in text and not text.endswith("\\"):
        return f'r"{text}"'
    written = repr(text)
    return f'"{written[1:-1]}"' if written[0] == "'" and '"' not in text else written


# As a transcript ----------------------------------------------------------------------------------------------------


def as_text(messages: Sequence[Message], attempts: Mapping[int, Sequence[Attempt]] = MappingProxyType({})) -> str:
    """The conversation for people: a line per message under a heading per day and session, times in UTC.

    `attempts` are those of webhook deliveries, by the delivery's number; they stand under the text that they were for.
    Control characters are shown as escapes.
    """
    lines: list[str] = []
    heading = ""
    for message in messages:
        day, _, time = to_iso(message.at_ms).partition("T")
        mt = message.direction is Direction.MT
        now = f"{day}, {message.msisdn} ({_visible(message.telco)}) and {message.shortcode}, session "
        now += _visible(message.session_id)
        if now != heading:
            lines += [*([""] if lines else []), now]
            heading = now
        first, *more = message.text.split("\n")
        lines.append(f"  {time[:8]}  {'application' if mt else 'handset':<11}  {_visible(first)}".rstrip())
        lines += [f"{'':25}{_visible(line)}".rstrip() for line in more]
        made = attempts.get(message.delivery_seq, ()) if message.delivery_seq is not None else ()
        lines += [f"{'':25}[{_visible(_attempt_words(each))}]" for each in made]
        if not made and message.state != (MessageState.ARRIVED if mt else DeliveryState.DELIVERED):
            lines.append(f"{'':25}[{_visible(message.state)}]")
    return "".join(line + "\n" for line in lines)


def _attempt_words(attempt: Attempt) -> str:
    words = f"attempt {attempt.number} after {attempt.offset_ms / 1000:g} s: "
    outcome = attempt.outcome
    if outcome is None:
        return words + "under way"
    what = f"answered {outcome.status_code}" if outcome.status_code is not None else outcome.kind.replace("_", " ")
    error = f", {outcome.error}" if outcome.error else ""
    return f"{words}{what} in {outcome.duration_ms:.0f} ms{error}"


def _visible(text: str) -> str:
    """`text` with every character that nobody would see, or that would move others, as an escape."""
    return "".join(
        each if each.isprintable() or each in _JOINERS else each.encode("unicode_escape").decode() for each in text
    )


# What both replays are made of --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """A message, and what a replay has to know of it."""

    message: Message
    first: bool
    gap_ms: int  # since the message before
    match: Match = _ANY  # MT: what one has to be like that takes its place
    saves: bool = False  # MT: group 1 of the match's pattern is repeated by the handset
    same_session: bool = False  # MT: as the message before
    starts: bool = False  # MO: it opens a session, or goes elsewhere than the last
    parts: tuple[str | None, ...] = ()  # MO: its text; None stands for what the message before saved


def _turns(messages: Sequence[Message]) -> list[_Turn]:
    messages = messages[-MOST:]
    several = len({message.shortcode for message in messages}) > 1
    sessions: set[str] = set()
    turns: list[_Turn] = []
    repeated: str | None = None  # the value of the last MT that the handset repeats
    before: Message | None = None
    for index, message in enumerate(messages):
        gap_ms = 0 if before is None else max(0, message.at_ms - before.at_ms)
        turn = _Turn(message=message, first=before is None, gap_ms=gap_ms)
        if message.direction is Direction.MT:
            answers = takewhile(lambda each: each.direction is Direction.MO, messages[index + 1 :])
            match, repeated = _likeness(message, [each.text for each in answers])
            turn = replace(
                turn,
                match=replace(match, from_=message.shortcode) if several else match,
                saves=repeated is not None,
                same_session=before is not None and before.session_id == message.session_id,
            )
        else:
            elsewhere = before is None or before.shortcode != message.shortcode
            turn = replace(
                turn,
                starts=elsewhere or message.session_id not in sessions,
                parts=_parts(message.text, repeated),
            )
        turns.append(turn)
        sessions.add(message.session_id)
        before = message
    return turns


def _likeness(message: Message, answers: Sequence[str]) -> tuple[Match, str | None]:
    """What a message has to be like to take this one's place, and the value that its first group catches because one
    of the answers repeats it.

    What varies is asked for by a pattern; where that would be too long, by a glob.
    """
    pieces = list(_pieces(message))
    repeated = next(
        (piece.text for piece in pieces if piece.shape and any(_repetition(piece.text, each) for each in answers)), None
    )
    by_pattern, by_glob = Match(pattern=_pattern(pieces, repeated)), Match(text=_glob(pieces))
    for match in (by_pattern, by_glob) if any(piece.shape for piece in pieces) else (by_glob,):
        if not check(match) and not differences(match, message):
            return match, repeated if match is by_pattern else None
    return _ANY, None  # nothing that a scenario could say fits the text


def _pattern(pieces: Iterable["_Piece"], repeated: str | None) -> str:
    """A pattern that the whole text has to fit, with a group where `repeated` stands."""
    pattern = ""
    for piece in pieces:
        if piece.shape is None:
            pattern += re.sub(r"[\\^$.|?*+()\[\]{}]", r"\\\g<0>", piece.text)
        elif piece.text == repeated:
            pattern += f"({piece.shape})"
        else:
            pattern += piece.shape
    return f"^{pattern}$"


def _glob(pieces: Iterable["_Piece"]) -> str:
    """A glob that the whole text has to fit. A question mark fits itself, so it stays readable where nothing else is
    special."""
    special = any(character in piece.text for piece in pieces for character in "*[" if piece.shape is None)
    return "".join("*" if piece.shape else exactly(piece.text) if special else piece.text for piece in pieces)


class _Piece(NamedTuple):
    """A part of a text, and if it varies, the pattern of what may stand there instead."""

    text: str
    shape: str | None


def _pieces(message: Message) -> Iterator[_Piece]:
    text, done = message.text, 0
    for found in _varying.finditer(text):
        if found[0] == message.shortcode:  # the account's own address is the same the next time
            continue
        if found.start() > done:
            yield _Piece(text[done : found.start()], None)
        yield _Piece(found[0], VARYING[int((found.lastgroup or "")[1:])].becomes)
        done = found.end()
    if done < len(text):
        yield _Piece(text[done:], None)


def _repetition(value: str, text: str) -> re.Match[str] | None:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text)


def _parts(text: str, repeated: str | None) -> tuple[str | None, ...]:
    found = _repetition(repeated, text) if repeated else None
    if found is None:
        return (text,)
    return tuple(part for part in (text[: found.start()], None, text[found.end() :]) if part != "")


def _pause_ms(gap_ms: int) -> int:
    return min(round(gap_ms / 1000) * 1000, _LONGEST_MS) if gap_ms > A_FEW_SECONDS_MS else 0


def _patience_ms(gap_ms: int) -> int:
    return min(max(PATIENCE_MS, math.ceil(2 * gap_ms / 1000) * 1000), _LONGEST_MS)


def _description(messages: Sequence[Message]) -> str:
    if not messages:
        return "Recorded when there were no messages."
    shortcodes = " and ".join(dict.fromkeys(message.shortcode for message in messages))
    return f"Recorded on {to_iso(messages[0].at_ms)[:10]} between {messages[0].msisdn} and {shortcodes}."
