"""Rules that find what is suspicious in an application's record: follow-ups sent twice, wrong sessions, slow answers …

Pure: plain values in, findings out. See store/findings.py for how they are read. A finding says what the record shows;
where an innocent explanation is possible as well, nothing is reported.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from sandbox.model import (
    ANSWER_KEPT,
    Attempt,
    Direction,
    Encoding,
    Message,
    Msisdn,
    OutcomeKind,
    Shortcode,
    WebhookDelivery,
)
from sandbox.rules import retry
from sandbox.rules.correlation import may_have_reached
from sandbox.settings import visible
from sandbox.wire.text import forcing, measure

FOLLOW_UP_MS = 60_000  # after this long, a message no longer counts as the answer to a webhook
DIALOGUE_MS = 30_000  # after this long without an answer, a message may well begin something new
FEW = 5  # different characters that are worth naming; a text with more of them is in another script


class Code(StrEnum):
    FOLLOW_UP_TWICE = "follow_up_twice"
    SESSION_UNKNOWN = "session_unknown"
    SESSION_CROSSED = "session_crossed"
    SESSION_STALE = "session_stale"
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_TIMED_OUT = "webhook_timed_out"
    ANSWER_NOT_JSON = "answer_not_json"
    SEGMENTS = "segments"
    OPT_OUT_IGNORED = "opt_out_ignored"
    LOOP = "loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One suspicious thing: what the record shows, what to do about it, and the messages concerned."""

    code: Code
    message: str
    hint: str
    at_ms: int
    message_seqs: tuple[int, ...]
    delivery_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """An attempt with its webhook delivery. `begun_seq` is the journal's number of its beginning, None if the journal
    no longer has it; then the times alone say what came first."""

    delivery: WebhookDelivery
    attempt: Attempt
    begun_seq: int | None = None


class Paused(NamedTuple):
    """A run that was paused for a handset because it and the application kept answering each other; `seq` is the
    journal's."""

    seq: int
    at_ms: int
    msisdn: Msisdn


Attempts = Mapping[int, Sequence[AttemptRecord]]
"""By the number of the MO message, in the order in which they began."""


def findings(
    messages: Sequence[Message],
    tried: Iterable[AttemptRecord],
    *,
    earlier: Iterable[tuple[Msisdn, Shortcode, str]] = (),
    paused: Iterable[Paused] = (),
    deadline_ms: int = 10_000,
    segments: int = 1,
) -> Sequence[Finding]:
    """All findings about the messages of one account (oldest first) and the attempts of their webhooks, newest first.

    `earlier` are sessions of conversations from before the first of the messages, `paused` the runs that were paused
    since, `deadline_ms` is what an application has to answer a webhook, `segments` how many an MT message may take
    before its characters are worth a word.
    """
    in_order = sorted(tried, key=_begun)
    attempts: dict[int, list[AttemptRecord]] = defaultdict(list)
    for each in in_order:
        attempts[each.delivery.message_seq].append(each)
    conversations: dict[tuple[Msisdn, Shortcode], list[Message]] = defaultdict(list)
    for message in messages:
        conversations[message.msisdn, message.shortcode].append(message)
    found = [*_slow(in_order, deadline_ms), *_wordless(in_order), *_costly(messages, segments)]
    found += _wrong_sessions(messages, attempts, earlier)
    found += _loops(messages, paused)
    for conversation in conversations.values():
        found += _sent_twice(conversation, attempts)
        found += _opt_outs_ignored(conversation, attempts)
    return sorted(found, key=lambda it: (it.at_ms, it.message_seqs), reverse=True)


def _begun(it: AttemptRecord) -> tuple[int, int, int, int]:
    return it.attempt.started_ms, it.begun_seq or 0, it.delivery.seq, it.attempt.number


def _follows(message: Message, it: AttemptRecord) -> bool:
    """Whether the message came after the attempt had begun. On a clock that stands still only the journal can say."""
    if it.begun_seq is not None:
        return message.seq > it.begun_seq
    return message.at_ms > it.attempt.started_ms


def _reached(attempts: Attempts, message: Message) -> Sequence[AttemptRecord]:
    """The attempts by which the application may have read an MO message."""
    return [each for each in attempts.get(message.seq, ()) if may_have_reached(each.attempt)]


def _acknowledged(it: AttemptRecord) -> bool:
    outcome = it.attempt.outcome
    return outcome is not None and outcome.status_code is not None and 200 <= outcome.status_code < 300


# The application's follow-ups ---------------------------------------------------------------------------------------


def _sent_twice(conversation: Sequence[Message], attempts: Attempts) -> Iterable[Finding]:
    """The same text in the same session after one webhook that came more than once."""
    replies = [message for message in conversation if message.direction is Direction.MO]
    sent, came = _story(conversation, sorted((it for each in replies for it in _reached(attempts, each)), key=_begun))
    places: dict[int, list[int]] = defaultdict(list)  # by MO message, where its attempts stand in `came`
    for place, each in enumerate(came):
        places[each.tried.delivery.message_seq].append(place)
    for reply in replies:
        mine = places.get(reply.seq, ())
        if len(mine) < 2:
            continue
        reached = [came[place].tried for place in mine]
        begin = bisect_right(sent, mine[0], key=_place)
        copies: dict[tuple[str, str], list[tuple[int, _Sent]]] = defaultdict(list)
        for number, it in enumerate(sent[begin:], 1):
            turn = bisect_left(mine, it.place)  # which of the attempts it follows, from 1
            if it.message.at_ms - reached[turn - 1].attempt.started_ms > FOLLOW_UP_MS:
                continue
            same = copies[it.message.text, it.message.session_id]
            first = came[mine[0]]
            webhooks = first.waiting + came[it.place - 1].different - first.different + 1
            # The same text twice may be two answers: to as many webhooks, or to one that came after all other answers.
            alone = all(each.tried.delivery.message_seq == reply.seq for each in came[it.unanswered : it.place])
            if not same or (turn > same[0][0] and number > webhooks and alone):
                same.append((turn, it))
        for same in copies.values():
            if len(same) > 1:
                yield _twice(reply, [it.message for _, it in same], reached, same[1][0])


class _Sent(NamedTuple):
    """An MT message: how many webhooks had arrived before it, and how many before the latest other one before it."""

    message: Message
    place: int
    unanswered: int


class _Came(NamedTuple):
    """A webhook that arrived: number of distinct deliveries so far, number of earlier ones still unanswered."""

    tried: AttemptRecord
    different: int
    waiting: int


def _story(conversation: Iterable[Message], tried: Sequence[AttemptRecord]) -> tuple[Sequence[_Sent], Sequence[_Came]]:
    """The MT messages of a conversation (another is one with another text or session), and the webhooks that came."""
    sent: list[_Sent] = []
    came: list[_Came] = []
    known: set[int] = set()
    waiting: deque[AttemptRecord] = deque()

    def come(it: AttemptRecord) -> None:
        while waiting and it.attempt.started_ms - waiting[0].attempt.started_ms > DIALOGUE_MS:
            waiting.popleft()
        new = it.delivery.message_seq not in known
        known.add(it.delivery.message_seq)
        came.append(_Came(it, len(known), len(waiting)))
        if new:
            waiting.append(it)

    for message in conversation:
        if message.direction is Direction.MO:
            continue
        while len(came) < len(tried) and _follows(message, tried[len(came)]):
            come(tried[len(came)])
        if waiting:
            waiting.popleft()
        last = sent[-1] if sent else None
        if last is None:
            unanswered = 0
        elif (last.message.text, last.message.session_id) == (message.text, message.session_id):
            unanswered = last.unanswered
        else:
            unanswered = last.place
        sent.append(_Sent(message, len(came), unanswered))
    for each in tried[len(came) :]:
        come(each)
    return sent, came


def _place(it: _Sent) -> int:
    return it.place


def _twice(reply: Message, copies: Sequence[Message], reached: Sequence[AttemptRecord], turn: int) -> Finding:
    first, again = reached[turn - 2], reached[turn - 1]
    if again.delivery.seq != first.delivery.seq:
        how = f"as {first.delivery.id} and once more as {again.delivery.id}"
    else:
        how = f"as attempt {first.attempt.number}, {_ending(first)}, and as attempt {again.attempt.number}"
    often = "twice" if len(copies) == 2 else f"{len(copies)} times"
    return Finding(
        code=Code.FOLLOW_UP_TWICE,
        message=f"The application sent its follow-up {often}: {_named(copies)} say the same in the same session. "
        f"It had got the webhook of {reply.id} more than once: {how}.",
        hint="9bits delivers at least once. Remember which webhooks were dealt with (from, session_id, sent_date and "
        "message tell them apart) before the follow-up is sent, and answer 200 to one that came before.",
        at_ms=copies[-1].at_ms,
        message_seqs=(reply.seq, *(each.seq for each in copies)),
        delivery_seq=again.delivery.seq,
    )


def _ending(it: AttemptRecord) -> str:
    """How an attempt ended, as part of a sentence."""
    outcome = it.attempt.outcome
    if outcome is None:
        return "which is under way"
    if outcome.kind is OutcomeKind.ANSWERED:
        return f"which it answered with {outcome.status_code}"
    return "which timed out" if outcome.kind is OutcomeKind.TIMED_OUT else "whose answer was lost"


def _named(messages: Sequence[Message], most: int = 5) -> str:
    names = [each.id for each in messages]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


# Sessions -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _SessionRecord:
    """What is known of a conversation so far: its sessions, and the MO messages that wait for an answer in them."""

    first: dict[str, Message | None] = field(default_factory=dict)  # of each session; None: from before the record
    waiting: dict[str, Message] = field(default_factory=dict)  # the latest in each session


def _wrong_sessions(
    messages: Iterable[Message], attempts: Attempts, earlier: Iterable[tuple[Msisdn, Shortcode, str]]
) -> Iterable[Finding]:
    """Answers that carry another session than the one that they answer."""
    conversations: dict[tuple[Msisdn, Shortcode], _SessionRecord] = defaultdict(_SessionRecord)
    owners: dict[str, list[tuple[Msisdn, _SessionRecord]]] = defaultdict(list)  # of a session
    for msisdn, shortcode, session in earlier:
        conversations[msisdn, shortcode].first[session] = None
        owners[session].append((msisdn, conversations[msisdn, shortcode]))
    for message in messages:
        here, session = conversations[message.msisdn, message.shortcode], message.session_id
        if message.direction is Direction.MO:
            if _reached(attempts, message):
                here.waiting.pop(session, None)  # so that the latest stands last
                here.waiting[session] = message
        elif here.waiting.pop(session, None) is None:
            unanswered = _unanswered(message, here, attempts)
            strangers = [(msisdn, it) for msisdn, it in owners[session] if msisdn != message.msisdn]
            found: Finding | None = None
            if session in here.first:
                if unanswered is not None and unanswered is here.first[unanswered.session_id]:
                    found = _stale(message, unanswered)
            elif strangers:
                if unanswered is not None or (len(strangers) == 1 and _belongs(message, strangers[0][1], attempts)):
                    found = _crossed(message, strangers[-1][0], unanswered)
            elif unanswered is not None:
                found = _unknown(message, unanswered)
            if found is not None:
                if unanswered is not None:  # it was answered, if in the wrong session
                    del here.waiting[unanswered.session_id]
                yield found
        if session not in here.first:
            here.first[session] = message
            owners[session].append((message.msisdn, here))


def _unanswered(message: Message, here: _SessionRecord, attempts: Attempts) -> Message | None:
    """The latest MO message that the application had got a moment ago and not answered yet."""
    for waiting in reversed(here.waiting.values()):
        for each in _reached(attempts, waiting):
            if _follows(message, each) and message.at_ms - each.attempt.started_ms <= DIALOGUE_MS:
                return waiting
    return None


def _belongs(message: Message, owner: _SessionRecord, attempts: Attempts) -> bool:
    """Whether the message's session is certainly the owner's own, and not one that an application gives to everybody:
    the owner's handset started it, or waits in it for an answer that is not the text it began with."""
    first = owner.first[message.session_id]
    if first is None:
        return False
    if first.direction is Direction.MO:
        return True
    waiting = owner.waiting.get(message.session_id)
    return waiting is not None and message.text != first.text and _unanswered(message, owner, attempts) is not None


def _crossed(message: Message, owner: Msisdn, unanswered: Message | None) -> Finding:
    instead = "" if unanswered is None else f"; the webhook of {unanswered.id} carried {_quoted(unanswered.session_id)}"
    return Finding(
        code=Code.SESSION_CROSSED,
        message=f"{message.id} to {message.msisdn} carries the session {_quoted(message.session_id)}, which belongs to "
        f"the conversation with {owner}{instead}.",
        hint="Keep the session_id with the handset's number, never in a variable that all requests share.",
        at_ms=message.at_ms,
        message_seqs=(message.seq,) if unanswered is None else (unanswered.seq, message.seq),
        delivery_seq=None if unanswered is None else unanswered.delivery_seq,
    )


def _unknown(message: Message, unanswered: Message) -> Finding:
    return Finding(
        code=Code.SESSION_UNKNOWN,
        message=f"{message.id} carries the session {_quoted(message.session_id)}, which this conversation has never "
        f"seen; the webhook of {unanswered.id}, which waited for an answer, carried {_quoted(unanswered.session_id)}.",
        hint="Answer with the session_id of the webhook. If the message was to begin a new dialogue, all is well.",
        at_ms=message.at_ms,
        message_seqs=(unanswered.seq, message.seq),
        delivery_seq=unanswered.delivery_seq,
    )


def _stale(message: Message, unanswered: Message) -> Finding:
    return Finding(
        code=Code.SESSION_STALE,
        message=f"{message.id} carries the session {_quoted(message.session_id)}, but the handset has started the "
        f"session {_quoted(unanswered.session_id)} with {unanswered.id} and waits for an answer there.",
        hint="Take the session_id from each webhook; the one that was stored with the number may be an older one.",
        at_ms=message.at_ms,
        message_seqs=(unanswered.seq, message.seq),
        delivery_seq=unanswered.delivery_seq,
    )


def _quoted(text: str) -> str:
    return f'"{visible(text[:40])}…"' if len(text) > 40 else f'"{visible(text)}"'


# Answers to webhooks ------------------------------------------------------------------------------------------------


def _slow(tried: Iterable[AttemptRecord], deadline_ms: int) -> Iterable[Finding]:
    """Webhooks whose answer came after the deadline, or not in time at all: one finding for each."""
    first: dict[int, AttemptRecord] = {}
    count: Counter[int] = Counter()
    for each in tried:
        outcome = each.attempt.outcome
        if outcome is None:
            continue
        late = _acknowledged(each) and outcome.duration_ms > deadline_ms
        timed_out = outcome.kind is OutcomeKind.TIMED_OUT and outcome.fault_seq is None
        if late or timed_out:
            first.setdefault(each.delivery.seq, each)
            count[each.delivery.seq] += 1
    for seq, each in first.items():
        outcome = each.attempt.outcome
        assert outcome is not None
        timed_out = outcome.kind is OutcomeKind.TIMED_OUT
        took = f"{outcome.duration_ms / 1000:.3g} s"
        said = f"had no answer after {took}" if timed_out else f"was answered {outcome.status_code} after {took}"
        more = "" if count[seq] == 1 else f" So were {count[seq] - 1} more."
        yield Finding(
            code=Code.WEBHOOK_TIMED_OUT if timed_out else Code.WEBHOOK_LATE,
            message=f"Attempt {each.attempt.number} of {each.delivery.id} {said}; the limit is "
            f"{deadline_ms / 1000:g} s.{more}",
            hint="Answer first and work afterwards: 9bits sends the webhook again after a time-out, though the "
            "application may have dealt with it.",
            at_ms=each.attempt.started_ms,
            message_seqs=(each.delivery.message_seq,),
            delivery_seq=seq,
        )


def _wordless(tried: Iterable[AttemptRecord]) -> Iterable[Finding]:
    """2xx answers without JSON, all in one finding: it is one line of the application.

    "Your response to our POST request should be a valid JSON" [D].
    """
    found = [each for each in tried if _acknowledged(each) and not _is_json(each)]
    if not found:
        return
    newest = found[-1]
    outcome = newest.attempt.outcome
    assert outcome is not None
    said = _quoted(outcome.body[:80].decode("utf-8", "replace")) if outcome.body else "an empty body"
    message_seqs = tuple(sorted({each.delivery.message_seq for each in found}))
    webhooks = "One webhook was" if len(message_seqs) == 1 else f"The webhooks of {len(message_seqs)} messages were"
    yield Finding(
        code=Code.ANSWER_NOT_JSON,
        message=f"{webhooks} answered without JSON; {newest.delivery.id} got {outcome.status_code} and {said}.",
        hint='9bits asks for JSON in answer to its POST. Answer for example {"status": "ok"} with '
        "Content-Type: application/json.",
        at_ms=newest.attempt.started_ms,
        message_seqs=message_seqs,
        delivery_seq=newest.delivery.seq,
    )


def _is_json(it: AttemptRecord) -> bool:
    """Whether the answer's body is JSON; of one that was cut off nobody knows, and it gets the benefit of the doubt."""
    assert it.attempt.outcome is not None
    body = it.attempt.outcome.body
    return len(body) >= ANSWER_KEPT or retry.is_json(body)


# Loops ---------------------------------------------------------------------------------------------------------------


def _loops(messages: Sequence[Message], paused: Iterable[Paused]) -> Iterable[Finding]:
    """Conversations that went on by themselves until they were paused; about the message that was not answered."""
    for each in paused:
        unanswered = next((it for it in reversed(messages) if it.msisdn == each.msisdn and it.seq < each.seq), None)
        if unanswered is None:
            continue
        yield Finding(
            code=Code.LOOP,
            message=f"{unanswered.shortcode} and {each.msisdn} went on by themselves: the application answered the "
            "rules of a scenario, and they answered it, until they were paused.",
            hint="Is your application answering itself? Let it know a text that it need not answer. The rules go on "
            "when somebody texts from the handset, or starts the scenario anew.",
            at_ms=each.at_ms,
            message_seqs=(unanswered.seq,),
        )


# Segments -----------------------------------------------------------------------------------------------------------

# What may stand for a character that GSM-7 cannot carry, without a change of meaning.
_PLAIN = {
    "₦": "NGN ", "’": "'", "‘": "'", "‚": ",", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "‐": "-", "‑": "-",
    "…": "...", "•": "-", "´": "'", "`": "'", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\t": " ",
    "\u200b": "", "\u200c": "", "\u200d": "", "\u00ad": "", "\ufeff": "", "\ufe0f": "",
}  # fmt: skip


def _costly(messages: Iterable[Message], most: int) -> Iterable[Finding]:
    """MT messages that take more segments than they would without a few characters; the same text counts once."""
    texts: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        if message.direction is Direction.MT and message.encoding is Encoding.UCS2 and message.segments > most:
            texts[message.text].append(message)
    for text, same in texts.items():
        found = Counter(character for _, character in forcing(text))
        if len(found) > FEW or found.total() * 10 > len(text):  # it is written in another script
            continue
        plain = measure("".join(_PLAIN.get(each, "?") if each in found else each for each in text))
        if plain.encoding is Encoding.UCS2 or plain.segments >= same[0].segments:
            continue
        newest = same[-1]
        named = ", ".join(_character(each, count) for each, count in found.items())
        advice = [f"{_shown(each)} as {_quoted(_PLAIN[each])}" for each in found if _PLAIN.get(each, "").strip()]
        yield Finding(
            code=Code.SEGMENTS,
            message=f"{_named(same)} {'take' if len(same) > 1 else 'takes'} {newest.segments} segments instead of "
            f"{plain.segments}, because GSM-7 cannot carry {named}.",
            hint="Each segment is paid for. "
            + (f"Write {', '.join(advice)}." if advice else "Leave them out, or write other characters for them."),
            at_ms=newest.at_ms,
            message_seqs=tuple(each.seq for each in same),
        )


def _shown(character: str) -> str:
    code = f"U+{ord(character):04X}"
    return f"{character} ({code})" if character.isprintable() and not unicodedata.combining(character) else code


def _character(character: str, count: int) -> str:
    name = unicodedata.name(character, "")
    return f"{_shown(character)}{f' {name}' if name else ''}{f' ×{count}' if count > 1 else ''}"


# Opt-out ------------------------------------------------------------------------------------------------------------

# The whole text, so that "STOP 12345" or "stop by at noon" is none; CANCEL, END and QUIT may well answer a question.
_OPT_OUT = frozenset({"stop", "stop all", "stopall", "unsubscribe", "opt out", "opt-out", "optout"})
_FAREWELL = re.compile(
    r"\b(stop|stopped|unsubscrib\w*|opt(ed)?[ -]?(out|in)|no (more|longer)|removed|cancel\w*|good ?bye)\b",
    re.IGNORECASE,
)


def is_opt_out(text: str) -> bool:
    """Whether a handset's text asks for no more messages."""
    return " ".join(text.split()).rstrip(".!").casefold() in _OPT_OUT


def _opt_outs_ignored(conversation: Sequence[Message], attempts: Attempts) -> Iterable[Finding]:
    """Messages to a handset that has sent STOP, other than one that confirms it, until the handset texts again."""
    said: set[str] = set()  # what the application said before
    waiting: deque[Message] = deque()  # texts before STOP whose answers may still be on their way
    stop: Message | None = None
    confirmation: Message | None = None
    ignoring: list[Message] = []
    for message in conversation:
        if message.direction is Direction.MO:
            if stop is not None and ignoring:
                yield _ignored(stop, ignoring)
            if stop is not None and confirmation is None and not ignoring:
                waiting.append(stop)
            stop = message if is_opt_out(message.text) else None
            confirmation, ignoring = None, []
            if stop is None:
                waiting.append(message)
            continue
        while waiting and message.at_ms - waiting[0].at_ms > DIALOGUE_MS:
            waiting.popleft()
        if waiting:
            if not is_opt_out(waiting.popleft().text):
                said.add(message.text)
        elif stop is None or not any(_follows(message, each) for each in _reached(attempts, stop)):
            said.add(message.text)  # the application could not know yet
        elif confirmation is None and not _goes_on(message.text, said):
            confirmation = message
        elif confirmation is None or message.text != confirmation.text:
            ignoring.append(message)
    if stop is not None and ignoring:
        yield _ignored(stop, ignoring)


def _goes_on(text: str, said: set[str]) -> bool:
    """Whether a text carries on as if nobody had asked for an end: said before, or a question that speaks of none."""
    return text in said or (re.search("[?？؟]", text) is not None and _FAREWELL.search(text) is None)


def _ignored(stop: Message, ignoring: Sequence[Message]) -> Finding:
    return Finding(
        code=Code.OPT_OUT_IGNORED,
        message=f"{stop.msisdn} sent {_quoted(stop.text)} ({stop.id}), and the application went on to send "
        f"{_named(ignoring)}.",
        hint="After STOP send at most one message that confirms it, and no other until the handset texts again. If its "
        "owner came back by other ways, all is well.",
        at_ms=ignoring[0].at_ms,
        message_seqs=(stop.seq, *(each.seq for each in ignoring)),
        delivery_seq=stop.delivery_seq,
    )
