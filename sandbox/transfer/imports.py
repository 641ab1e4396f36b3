"""What an exported file says, read back: lines into values, or complaints with the numbers of their lines.

Nothing is written to the database, and nothing that a file says is believed before it was checked: the sandbox's own
limits hold, secrets are masked once more, and no URL in it leads anywhere.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from sandbox.model import (
    ANSWER_KEPT,
    MAX_OPAQUE,
    MAX_PAYLOAD,
    Attempt,
    DeliveryState,
    Direction,
    Handset,
    HandsetState,
    Message,
    MessageState,
    Outcome,
    OutcomeKind,
    Problem,
    RecordedRequest,
    Trigger,
    WebhookDelivery,
)
from sandbox.settings import mask_url
from sandbox.store import messages
from sandbox.store.scenarios import OwnScenario
from sandbox.transfer import identity
from sandbox.transfer.identity import Identity
from sandbox.transfer.lines import (
    MOST_CHARS,
    MOST_LINE,
    LineFields,
    Wrong,
    edited_payload,
    header_name,
    http_url,
    mapping,
    masked,
    msisdn,
    nothing,
    payload,
    scenario_name,
    shortcode,
    values_of,
)
from sandbox.wire.problems import quote, strike_of
from sandbox.wire.text import measure

VERSION = 1
BATCH = 200  # rows in one transaction, so that its news fit into a listener's queue
MOST_LINES = 200_000
MOST_OWED = 1_000  # webhook deliveries and attempts of one message, which one transaction writes
MOST_COMPLAINTS = 20

NO_PLACE = "imported:"
"""Stands before the URL of an imported webhook delivery: it says where the bytes were posted, and nothing connects to
it. They belong to another sandbox's application."""

UNDER_WAY = "The attempt was under way when this was exported. Whether the application received it is not known."


# What a file says ---------------------------------------------------------------------------------------------------


class ImportComplaint(NamedTuple):
    """What is wrong with a line, counted from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The sandbox's own limits, which hold for a file as well."""

    messages: int = 10_000  # refused calls the same
    text: int = 1_600  # characters
    body: int = 64 * 1024  # bytes of a call


DEFAULTS = Limits()


@dataclass(slots=True)
class Owed:
    """A webhook delivery with its attempts; numbers are the file's."""

    delivery: WebhookDelivery
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class Texted:
    """A message with the call that it came in, if it is an MT, and its webhook deliveries, if it is an MO."""

    message: Message
    submission: messages.Submission
    owed: list[Owed] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """How many rows it is."""
        return 1 + sum(1 + len(each.attempts) for each in self.owed)


class ImportedRefusal(NamedTuple):
    request: RecordedRequest
    headers: bytes


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is taken in as a whole, or not at all: a message with all that belongs to it, or one other thing."""

    line: int  # where it begins
    thing: Handset | OwnScenario | Texted | ImportedRefusal
    identity: Identity | None = None  # of a message or refused call; a handset is told by its number, and so on
    occurrence: int = 1  # which of those it is that are alike in the file, counted from 1

    @property
    def weight(self) -> int:
        """How much of a transaction it takes: rows, but a scenario, which may be long, all of it."""
        match self.thing:
            case Texted():
                return self.thing.weight
            case OwnScenario():
                return BATCH
            case _:
                return 1

    @property
    def counts(self) -> Mapping[str, int]:
        """How much of each kind it is."""
        match self.thing:
            case Texted(owed=[]):
                return {"messages": 1}
            case Texted(owed=owed):
                attempts = sum(len(each.attempts) for each in owed)
                return {"messages": 1, "webhook_deliveries": len(owed), "attempts": attempts}
            case ImportedRefusal():
                return {"refusals": 1}
            case OwnScenario():
                return {"scenarios": 1}
            case _:
                return {"handsets": 1}


class Batch(NamedTuple):
    """What one transaction writes; with it, the file is in up to the line `lines`."""

    entries: Sequence[Entry]
    lines: int

    @property
    def counts(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for each in self.entries:
            total.update(each.counts)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an import has come: up to which line of the file, and what became of each kind of `EXPORTED`."""

    lines: int
    of_lines: int
    written: Counter[str]
    already_there: Counter[str]
    left: Counter[str]

    def after(self, batch: Batch, written: Counter[str]) -> "Progress":
        """How far it has come with one batch more, of which so much was written."""
        taken = batch.counts
        return replace(
            self,
            lines=batch.lines,
            written=self.written + written,
            already_there=self.already_there + (taken - written),
            left=self.left - taken,
        )


@dataclass(slots=True)
class Import:
    """A file that was read to its end without a complaint, in the file's order."""

    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # how much of each kind there is
    lines: int = 0  # up to the last that is not blank

    @property
    def start(self) -> Progress:
        """How far an import has come that has not begun."""
        return Progress(
            lines=self.entries[0].line - 1 if self.entries else self.lines,
            of_lines=self.lines,
            written=Counter(),
            already_there=Counter(),
            left=self.counts,
        )

    def batches(self) -> Iterator[Batch]:
        """All of it, a transaction's worth at a time; each is to be written in turn with `write`."""
        entries: list[Entry] = []
        room = BATCH
        for each in self.entries:
            if entries and room < each.weight:
                yield Batch(entries, each.line - 1)
                entries, room = [], BATCH
            entries.append(each)
            room -= each.weight
        if entries:
            yield Batch(entries, self.lines)


# Reading ------------------------------------------------------------------------------------------------------------


def read(lines: Iterable[str | bytes], limits: Limits = DEFAULTS) -> Import | tuple[ImportComplaint, ...]:
    """What a file holds, or at most `MOST_COMPLAINTS` complaints about it. Changes nothing.

    The account in the file is for people: what the lines hold goes under whichever account they are written to, and
    that keeps its own settings. Numbers tell the file's things apart, and are given anew.
    """
    reading = _FileReader(limits)
    complaints: list[ImportComplaint] = []
    for number, each in enumerate(lines, 1):
        try:
            reading.take(number, each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each)
        except Wrong as wrong:
            complaints.append(ImportComplaint(number, str(wrong)))
            if len(complaints) == MOST_COMPLAINTS or not reading.begun or reading.full:
                break
    if not complaints:
        complaints = reading.end()
    return tuple(complaints) or reading.found


_COUNTED = {  # a line's type -> the name under which it is counted
    "handset": "handsets",
    "scenario": "scenarios",
    "message": "messages",
    "refusal": "refusals",
    "webhook_delivery": "webhook_deliveries",
    "attempt": "attempts",
}


class _FileReader:
    """What was read so far."""

    def __init__(self, limits: Limits) -> None:
        self.found = Import()
        self.begun = False
        self.full = False
        self._limits = limits
        self._texted: dict[int, tuple[int, Texted]] = {}  # by the file's numbers, with the line
        self._alike: dict[Identity, int] = {}
        self._recorded = 0
        self._owed: dict[int, Owed] = {}

    def take(self, number: int, text: bytes) -> None:
        """Read a line. Raises Wrong."""
        if number > MOST_LINES:
            self.full = True
            raise Wrong(f"There are more than {MOST_LINES} lines, which is all that is taken at once. Send less.")
        if not text.strip():
            return
        self.found.lines = number
        value = values_of(text)
        kind = value.pop("type", None)
        if not self.begun and kind != "export":
            raise Wrong('This is no export of a sandbox. The first line has to be {"type": "export", "version": 1}.')
        fields = LineFields(value)
        match kind:
            case "export":
                self._begin(fields)
            case "account":
                return  # for people; its settings are not taken over
            case "handset":
                self.found.entries.append(Entry(line=number, thing=_handset(fields)))
            case "scenario":
                self.found.entries.append(Entry(line=number, thing=_scenario(fields)))
            case "message":
                self._message(number, fields)
            case "refusal":
                it = _refusal(fields, self._limits)
                self._add(number, it, identity.of_refusal(it.request), fields)
            case "webhook_delivery":
                self._delivery(fields)
            case "attempt":
                self._attempt(fields)
            case _:
                raise Wrong(f"type is {quote(kind)}, which no export of version {VERSION} knows.")
        fields.done()
        if kind in _COUNTED:
            self.found.counts[_COUNTED[kind]] += 1

    def end(self) -> list[ImportComplaint]:
        """What only the whole file tells."""
        if not self.begun:
            return [ImportComplaint(1, "The file is empty. Send what an export answered.")]
        complaints = []
        for number, it in self._texted.values():
            there = [each.delivery.seq for each in it.owed]
            wanted = it.message.delivery_seq
            if wanted is not None and wanted not in there:
                complaints.append(
                    ImportComplaint(number, f"webhook_delivery_id is w{wanted}, which no line gives to it.")
                )
            elif there:
                it.message = replace(it.message, state=MessageState.ROUTED, delivery_seq=wanted or there[0])
        return complaints[:MOST_COMPLAINTS]

    def _begin(self, fields: LineFields) -> None:
        if self.begun:
            raise Wrong("Here another export begins. Send one at a time.")
        if (version := fields.whole("version", 1, 1_000_000)) != VERSION:
            raise Wrong(f"The export is of version {version}; this sandbox reads version {VERSION}.")
        self.begun = True

    def _message(self, number: int, fields: LineFields) -> None:
        it = Texted(*_message(fields, self._limits))
        if it.message.seq in self._texted:
            raise Wrong(f"id is {it.message.id}, as on line {self._texted[it.message.seq][0]}. Each message has one.")
        self._texted[it.message.seq] = number, it
        self._add(number, it, identity.of_message(it.message, it.submission), fields)

    def _add(self, number: int, it: Texted | ImportedRefusal, told_by: Identity, fields: LineFields) -> None:
        if self._recorded == self._limits.messages:
            self.full = True
            raise Wrong(
                f"There are more than {self._limits.messages} messages and refused calls, which is all that this "
                "sandbox keeps. Send less, or raise max_messages."
            )
        self._recorded += 1
        self._alike[told_by] = alike = self._alike.get(told_by, 0) + 1
        stated = fields.optional("occurrence", partial(fields.whole, least=1, most=MOST_LINES))
        self.found.entries.append(Entry(line=number, thing=it, identity=told_by, occurrence=stated or alike))

    def _delivery(self, fields: LineFields) -> None:
        message_seq = fields.identifier("message_id", "m")
        _, owner = self._texted.get(message_seq, (0, None))
        if owner is None or owner.message.direction is Direction.MT:
            raise Wrong(f"message_id is m{message_seq}, which is no message of a handset on a line before.")
        it = Owed(_delivery(fields, owner.message))
        if it.delivery.seq in self._owed:
            raise Wrong(f"id is {it.delivery.id}, as on a line before. Each webhook delivery has one.")
        former = it.delivery.redelivery_of
        if former is not None and former not in [each.delivery.seq for each in owner.owed]:
            raise Wrong(f"redelivery_of is w{former}, which is none of the same message on a line before.")
        self._owed[it.delivery.seq] = it
        owner.owed.append(it)
        _bounded(owner)

    def _attempt(self, fields: LineFields) -> None:
        delivery_seq = fields.identifier("webhook_delivery_id", "w")
        owner = self._owed.get(delivery_seq)
        if owner is None:
            raise Wrong(f"webhook_delivery_id is w{delivery_seq}, which no line before has.")
        it = _attempt(fields, delivery_seq)
        if it.number != len(owner.attempts) + 1:
            raise Wrong(f"number is {it.number}. The next attempt of w{delivery_seq} is {len(owner.attempts) + 1}.")
        owner.attempts.append(it)
        owner.delivery = replace(owner.delivery, attempts=it.number)
        _bounded(self._texted[owner.delivery.message_seq][1])


def _bounded(it: Texted) -> None:
    if it.weight > MOST_OWED:
        raise Wrong(f"{it.message.id} has more than {MOST_OWED} webhook deliveries and attempts. Leave some out.")


def _handset(fields: LineFields) -> Handset:
    return Handset(
        account="",
        msisdn=fields("msisdn", "a phone number in international form", msisdn),
        label=fields.text("label", 80),
        telco=fields.text("telco", 40, least=1),
        state=fields.choice("state", HandsetState),
    )


def _scenario(fields: LineFields) -> OwnScenario:
    name = fields("name", "1 to 64 of: a-z, 0-9, point, hyphen, underscore", scenario_name)
    source = fields.text("source", MOST_LINE)
    from sandbox.scenario import script  # brings a YAML parser along, which few files need

    found = script.read(source, name=f"{name}.yaml")
    if isinstance(found, tuple):
        raise Wrong(f"The scenario cannot be read: {found[0]}")
    return OwnScenario(account="", name=name, source=source, changed_ms=fields.moment("changed_at"))


def _message(fields: LineFields, limits: Limits) -> tuple[Message, messages.Submission]:
    direction = fields.choice("direction", Direction)
    is_mt = direction is Direction.MT
    text = fields.text("text", limits.text)
    for name in ("encoding", "segments"):  # for people; they follow from the text
        fields(name, "left out", lambda _: None)
    measured = measure(text)
    state = fields.choice("state", MessageState)
    return Message(
        seq=fields.identifier("id", "m"),
        account="",
        direction=direction,
        msisdn=fields("to" if is_mt else "from", "a phone number in international form", msisdn),
        shortcode=fields("from" if is_mt else "to", "a shortcode of 3 to 15 digits", shortcode),
        text=text,
        session_id=fields.text("session_id", MAX_OPAQUE, least=1),
        ref_id=fields.optional("ref_id", partial(fields.text, most=MAX_OPAQUE)),
        sent_date=fields.text("sent_date", MOST_CHARS),
        at_ms=fields.moment("at"),
        telco=fields.text("telco", 40, least=1),
        encoding=measured.encoding,
        segments=measured.segments,
        state=(state if state is MessageState.ACCEPTED else MessageState.ARRIVED) if is_mt else MessageState.UNROUTED,
        extra=fields("extra", "an object", mapping),
        warnings=fields.texts("warnings"),
        delivery_seq=None if is_mt else fields.optional("webhook_delivery_id", partial(fields.identifier, letter="w")),
    ), _submission(fields, limits)


def _submission(fields: LineFields, limits: Limits) -> messages.Submission:
    """The call that an MT message came in; an MO message has none."""
    fields.optional("webhook_delivery_id", lambda _: None)
    call = LineFields(fields("request", "an object", mapping), "request: ")
    if not call:
        return messages.Submission(client="", headers=b"", body=b"", answer=b"")
    found = messages.Submission(
        client=call.text("client", 255),
        headers=messages.header_lines(call.each("headers", _header)),
        body=call.wire("body", limits.body),
        answer=call.wire("answer", MOST_LINE),
    )
    call.done()
    return found


def _refusal(fields: LineFields, limits: Limits) -> ImportedRefusal:
    lines = messages.header_lines(fields.each("headers", _header))
    request = RecordedRequest(
        seq=fields.identifier("id", "r"),
        account=None,
        at_ms=fields.moment("at"),
        method=fields.text("method", MOST_CHARS),
        path=fields.text("path", MOST_CHARS),
        client=fields.text("client", 255),
        headers=(),
        body=fields.wire("body", limits.body),
        status_code=fields.whole("status_code", 0, 599),  # 0: a fault that let nothing be answered
        answer=fields.wire("answer", MOST_LINE),
        problems=fields.each("problems", _problem),
        warnings=(),
    )
    return ImportedRefusal(request, lines)


def _problem(fields: LineFields) -> Problem:
    return Problem(
        field=fields.optional("field", partial(fields.text, most=MOST_CHARS)),
        code=fields.text("code", MOST_CHARS),
        message=fields.text("message", MOST_CHARS),
        hint=fields.text("hint", MOST_CHARS),
    )


def _header(fields: LineFields) -> tuple[bytes, bytes]:
    name = fields("name", "the name of a header", header_name)
    value = fields.wire("value", MOST_CHARS)
    if b"\n" in value:
        raise Wrong("headers: value holds a line break. Leave it out.")
    shown = value.decode("utf-8", "replace")
    return name.encode("latin-1"), value if masked(name, shown) == shown else masked(name, shown).encode()


def _delivery(fields: LineFields, message: Message) -> WebhookDelivery:
    state = fields.choice("state", DeliveryState)
    edited = fields.flag("edited")
    if edited:
        body = fields("body", f"a string of at most {MAX_PAYLOAD} bytes", edited_payload)
    else:
        body = fields("body", "the JSON of a two-way SMS as a string", payload)
    return WebhookDelivery(
        seq=fields.identifier("id", "w"),
        message_seq=message.seq,
        account="",
        msisdn=message.msisdn,
        shortcode=message.shortcode,
        url=NO_PLACE + mask_url(fields("url", "an address that begins with http:// or https://", http_url)),
        body=body,
        state=DeliveryState.CANCELLED if state.open else state,  # what is open is owed by another sandbox
        created_ms=fields.moment("created_at"),
        retries_used=fields.whole("retries_used", 0, 1000),
        first_failed_ms=fields.optional("first_failed_at", fields.moment),
        redelivery_of=fields.optional("redelivery_of", partial(fields.identifier, letter="w")),
        edited=edited,
    )


def _attempt(fields: LineFields, delivery_seq: int) -> Attempt:
    kind = fields.choice("outcome", OutcomeKind)
    status: int | None = None
    if kind is OutcomeKind.ANSWERED:
        status = fields.whole("status_code", 100, 599)
    else:
        fields("status_code", "null where nothing was answered", nothing)
    it = Attempt(
        delivery_seq=delivery_seq,
        number=fields.whole("number", 1, MOST_LINES),
        trigger=fields.choice("trigger", Trigger),
        started_ms=fields.moment("started_at"),
        offset_ms=round(fields.number("offset_s", 1e10) * 1000),
    )
    outcome = Outcome(
        kind=kind,
        duration_ms=fields.number("duration_ms", 1e12),
        status_code=status,
        headers=fields.each("response_headers", _answered_header),
        body=fields.wire("response_body", ANSWER_KEPT),
        error=fields.text("error", MOST_CHARS),
    )
    warnings = fields.texts("warnings")
    fault_seq, withheld = strike_of((*warnings, outcome.error))
    return replace(it, outcome=replace(outcome, fault_seq=fault_seq, withheld=withheld), warnings=warnings)


def _answered_header(fields: LineFields) -> tuple[str, str]:
    name = fields.text("name", MOST_CHARS)
    return name, masked(name, fields.text("value", MOST_CHARS))
