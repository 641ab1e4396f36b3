"""What an exported file says, read back: objects of the control API, one a line, or every error with its line.

Nothing is written to the database. What one object says is read in to_model.py; here is what concerns several lines.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sandbox.model import (
    Attempt,
    Direction,
    Handset,
    Message,
    MessageState,
    RecordedRequest,
    WebhookDelivery,
)
from sandbox.objects import accounts, messages, scenarios, webhooks
from sandbox.objects.derive import described, part
from sandbox.store.scenarios import OwnScenario
from sandbox.transfer import identity, to_model, version_1
from sandbox.transfer.identity import Identity, Known
from sandbox.transfer.to_model import MOST_LINE, InvalidLine
from sandbox.transfer.to_model import Limits as Limits
from sandbox.wire.problems import quote, unusable_character
from sandbox.wire.requests import decode_json

VERSION = 2
BATCH = 200  # rows in one transaction, so that its news fit into a listener's queue
MOST_LINES = 200_000
MOST_OWED = 1_000  # webhook deliveries and attempts of one message, which one transaction writes
MOST_ERRORS = 20
MOST_CHARS = 64 * 1024  # of texts that have no limit of their own

_FROM_THE_WIRE = frozenset({"body", "answer", "response_body", "path"})  # which may hold NUL
_LONG = frozenset({"extra", "source", "text", *_FROM_THE_WIRE, *(f"{name}_base64" for name in _FROM_THE_WIRE)})


# What a file says ---------------------------------------------------------------------------------------------------


class LineError(NamedTuple):
    """What is wrong with a line, counted from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass(slots=True)
class Owed:
    """A webhook delivery with its attempts; numbers are the file's."""

    delivery: WebhookDelivery
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class Texted:
    """A message with the call that it came in, if it is an MT, and its webhook deliveries, if it is an MO."""

    message: Message
    call: RecordedRequest | None = None
    owed: list[Owed] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """How many rows of each kind it is."""
        attempts = sum(len(each.attempts) for each in self.owed)
        return +Counter(messages=1, webhook_deliveries=len(self.owed), attempts=attempts)


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is taken in as a whole, or not at all: a message with all that belongs to it, or one other thing."""

    line: int  # where it begins
    thing: Handset | OwnScenario | Texted | RecordedRequest
    identity: Identity | None = None  # of a message or refused call; a handset is told by its number, and so on
    occurrence: int | None = None  # which of those it is that are alike, counted from 1

    @property
    def weight(self) -> int:
        """How much of a transaction it takes: rows, but a scenario, which may be long, all of it."""
        return BATCH if isinstance(self.thing, OwnScenario) else self.counts.total()

    @property
    def counts(self) -> Counter[str]:
        """How much of each kind it is."""
        match self.thing:
            case Texted():
                return self.thing.counts
            case RecordedRequest():
                return Counter(refusals=1)
            case OwnScenario():
                return Counter(scenarios=1)
            case _:
                return Counter(handsets=1)


class Batch(NamedTuple):
    """What one transaction writes; with it, the file is in up to the line `lines`."""

    entries: Sequence[Entry]
    lines: int

    @property
    def counts(self) -> Counter[str]:
        return sum((each.counts for each in self.entries), Counter())


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
    """A file that was read to its end without an error, in the file's order."""

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

    def known(self) -> Known:
        """What is to be looked for before the first batch is written, until a `look` covers everything."""
        return Known([each.identity for each in self.entries if each.identity is not None])

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


def read(lines: Iterable[str | bytes], limits: Limits | None = None) -> Import | tuple[LineError, ...]:
    """What a file holds, or at most `MOST_ERRORS` errors in it. Changes nothing.

    The account in the file is for people: what the lines hold goes under whichever account they are written to, and
    that keeps its own settings. Numbers tell the file's things apart, and are given anew.
    """
    reading = _FileReader(limits or Limits())
    found: list[LineError] = []
    for number, each in enumerate(lines, 1):
        try:
            reading.take(number, each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each)
        except InvalidLine as invalid:
            found += [LineError(number, message) for message in invalid.args]
            if len(found) >= MOST_ERRORS or not reading.version or reading.full:
                break
    return tuple((found or reading.end())[:MOST_ERRORS]) or reading.found


@part
class ExportHeader:
    """The first line of a file."""

    version: int = described(minimum=1)


class _FileReader:
    """What was read so far."""

    def __init__(self, limits: Limits) -> None:
        self.found = Import()
        self.version = 0  # 0: the first line is still to come
        self.full = False
        self._limits = limits
        self._texted: dict[int, tuple[int, Texted]] = {}  # by the file's numbers, with the line
        self._owed: dict[str, Owed] = {}
        self._recorded = 0

    def take(self, number: int, text: bytes) -> None:
        """Read a line. Raises InvalidLine."""
        if number > MOST_LINES:
            self.full = True
            raise InvalidLine(f"There are more than {MOST_LINES} lines, which is all that is taken at once. Send less.")
        if not text.strip():
            return
        self.found.lines = number
        value = _object_in(text)
        if not self.version:
            self._begin(value)
            return
        for each in version_1.translated(value) if self.version == 1 else [value]:
            self._take(number, each)

    def end(self) -> list[LineError]:
        """What only the whole file tells."""
        if not self.version:
            return [LineError(1, "The file is empty. Send what an export answered.")]
        errors = []
        for number, it in self._texted.values():
            there = [each.delivery.seq for each in it.owed]
            wanted = it.message.delivery_seq
            if wanted is not None and wanted not in there:
                errors.append(LineError(number, f"webhook_delivery_id is w{wanted}, which no line gives to it."))
            elif there:
                it.message = replace(it.message, state=MessageState.ROUTED, delivery_seq=wanted or there[0])
            for each in it.owed:
                each.delivery = to_model.attempted(each.delivery, each.attempts)
        alike: Counter[Identity] = Counter()
        for entry in self.found.entries:
            self.found.counts.update(entry.counts)
            if isinstance(entry.thing, Texted):
                entry.identity = identity.of_message(entry.thing.message, entry.thing.call)
            elif isinstance(entry.thing, RecordedRequest):
                entry.identity = identity.of_refusal(entry.thing)
            if entry.identity is not None:
                alike[entry.identity] += 1
                entry.occurrence = entry.occurrence or alike[entry.identity]
        return errors

    def _begin(self, value: dict[str, Any]) -> None:
        if value.pop("type", None) != "export":
            header = f'{{"type": "export", "version": {VERSION}}}'
            raise InvalidLine(f"This is no export of a sandbox. The first line has to be {header}.")
        version = to_model.read(ExportHeader, value, self._limits).version
        if version > VERSION:
            raise InvalidLine(f"The export is of version {version}; this sandbox reads versions 1 to {VERSION}.")
        self.version = version

    def _take(self, number: int, value: dict[str, Any]) -> None:
        """Take in one object of version 2, or an attempt of version 1, which has a line of its own there."""
        match kind := value.pop("type", None):
            case "export":
                raise InvalidLine("Here another export begins. Send one at a time.")
            case "account":
                pass  # for people; its settings are not taken over
            case "handset":
                self._add(number, to_model.handset(to_model.read(accounts.HandsetObject, value, self._limits)))
            case "scenario":
                self._add(number, to_model.scenario(to_model.read(scenarios.ScenarioWithSource, value, self._limits)))
            case "message":
                self._message(number, value)
            case "request":
                self._request(number, value)
            case "webhook_delivery":
                self._delivery(to_model.read(webhooks.WebhookDeliveryObject, value, self._limits))
            case "attempt" if self.version == 1:
                delivery_id = value.pop("webhook_delivery_id", None)
                if (owed := self._owed.get(str(delivery_id))) is None:
                    raise InvalidLine(f"webhook_delivery_id is {quote(delivery_id)}, which no line before has.")
                self._attempt(owed, to_model.read(webhooks.Attempt, value, self._limits))
            case _:
                raise InvalidLine(f"type is {quote(kind)}, which no export of version {self.version} knows.")

    def _add(self, number: int, thing: Handset | OwnScenario | Texted | RecordedRequest, nth: object = None) -> None:
        """Add an entry; `nth` is its occurrence, if the line states one."""
        if isinstance(thing, Texted | RecordedRequest):
            if self._recorded == self._limits.messages:
                self.full = True
                raise InvalidLine(
                    f"There are more than {self._limits.messages} messages and refused calls, which is all that this "
                    "sandbox keeps. Send less, or raise max_messages."
                )
            self._recorded += 1
        if nth is not None and not (type(nth) is int and 1 <= nth <= MOST_LINES):
            raise InvalidLine(f"occurrence is {quote(nth)}. It has to be a whole number from 1 to {MOST_LINES}.")
        self.found.entries.append(Entry(line=number, thing=thing, occurrence=nth))

    def _message(self, number: int, value: dict[str, Any]) -> None:
        nth = value.pop("occurrence", None)
        it = Texted(to_model.message(to_model.read(messages.Message, value, self._limits)))
        if it.message.seq in self._texted:
            line, _ = self._texted[it.message.seq]
            raise InvalidLine(f"id is {it.message.id}, as on line {line}. Each message has one.")
        self._texted[it.message.seq] = number, it
        self._add(number, it, nth)

    def _request(self, number: int, value: dict[str, Any]) -> None:
        """A refused call, or that of an MT message on a line before."""
        nth = value.pop("occurrence", None)
        it = to_model.read(messages.Request, value, self._limits)
        if it.verdict == "refused":
            self._add(number, to_model.request(it), nth)
            return
        of = self._of(it.message_id)
        if of is None or of.message.direction is Direction.MO or of.call is not None:
            wanted = it.message_id or "null"
            raise InvalidLine(f"message_id is {wanted}, which is no message on a line before that lacks a call.")
        of.call = to_model.request(it)

    def _of(self, message_id: str | None) -> Texted | None:
        _, found = self._texted.get(int((message_id or "m0")[1:]), (0, None))
        return found

    def _delivery(self, it: webhooks.WebhookDeliveryObject) -> None:
        of = self._of(it.message_id)
        if of is None or of.message.direction is Direction.MT:
            raise InvalidLine(f"message_id is {it.message_id}, which is no message of a handset on a line before.")
        owed = Owed(to_model.delivery(it, of.message))
        if owed.delivery.id in self._owed:
            raise InvalidLine(f"id is {it.id}, as on a line before. Each webhook delivery has one.")
        former = owed.delivery.redelivery_of
        if former is not None and former not in [each.delivery.seq for each in of.owed]:
            raise InvalidLine(f"redelivery_of is w{former}, which is none of the same message on a line before.")
        self._owed[owed.delivery.id] = owed
        of.owed.append(owed)
        _check_weight(of)
        for each in it.attempts:
            self._attempt(owed, each)

    def _attempt(self, owed: Owed, it: webhooks.Attempt) -> None:
        if it.number != len(owed.attempts) + 1:
            number = len(owed.attempts) + 1
            raise InvalidLine(f"number is {it.number}. The next attempt of {owed.delivery.id} is {number}.")
        owed.attempts.append(to_model.attempt(it, owed.delivery.seq))
        _check_weight(self._texted[owed.delivery.message_seq][1])


def _check_weight(it: Texted) -> None:
    if it.counts.total() > MOST_OWED:
        raise InvalidLine(f"{it.message.id} has more than {MOST_OWED} webhook deliveries and attempts. Leave some out.")


# What any line is ----------------------------------------------------------------------------------------------------


def _object_in(text: bytes) -> dict[str, Any]:
    """The JSON object in a line, which holds nothing that cannot be stored. Raises InvalidLine."""
    if len(text) > MOST_LINE:
        raise InvalidLine(f"The line is longer than {MOST_LINE} bytes, which no line of an export is.")
    try:
        value = decode_json(text)
    except ValueError as error:
        raise InvalidLine(f"This is not JSON: {error}. Each line has to be one JSON object.") from None
    if not isinstance(value, dict):
        raise InvalidLine("This is JSON, but not an object. Each line has to be one JSON object.")
    is_escaped = b"\\u" in text  # what is raw and cannot be stored is no JSON, or no UTF-8
    for name, each in _strings(value, ""):
        usable = each.replace("\0", "") if name in _FROM_THE_WIRE else each
        if is_escaped and (character := unusable_character(usable)):
            raise InvalidLine(f"The line holds {character}, which cannot be stored. Leave it out.")
        if len(each) > MOST_CHARS and name not in _LONG:
            raise InvalidLine(f"{name} has {len(each)} characters. At most {MOST_CHARS} are accepted.")
    return value


def _strings(value: object, name: str) -> Iterator[tuple[str, str]]:
    """All strings in a JSON value, keys included, each with the key that it stands under."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield name, key
            yield from _strings(each, name if name == "extra" else key)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, name)
