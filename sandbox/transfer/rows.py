"""Export and import of what is recorded of an account: rows into JSON Lines, and what such a file says into rows.

A line of an export is an object of the control API. See imports.py for how a file is read, and api/records.py for the
calls.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sandbox.errors import Conflict, NotFound
from sandbox.model import Attempt, Direction, EventType, Handset, Message, RecordedRequest, WebhookDelivery
from sandbox.objects import from_model
from sandbox.scenario import catalogue
from sandbox.scenario.steps import Scenario
from sandbox.store import accounts, journal, messages, outbox, scenarios
from sandbox.store.database import Queries, Tx
from sandbox.store.scenarios import OwnScenario
from sandbox.transfer import identity
from sandbox.transfer.identity import Identity, Known, Seen, look
from sandbox.transfer.imports import VERSION, Batch, Entry, Owed, Texted
from sandbox.transfer.to_model import NO_PLACE, UNDER_WAY, masked
from sandbox.wire.problems import quote

PAGE = 50  # messages and calls that are read at once: each may have long bodies, and attempts with theirs
HANDSETS = 500  # the same of handsets


# Export -------------------------------------------------------------------------------------------------------------


class ExportPosition(NamedTuple):
    """Where an export goes on: after this handset, or this number, up to the number that was the last at its start."""

    handset: str | None
    seq: int
    last: int


def export(db: Queries, account: str) -> Iterator[str]:
    """Every line about an account, in one read, page by page. Raises NotFound if there is no such account."""
    lines, cursor = page(db, account)
    yield from lines
    while cursor is not None:
        lines, cursor = page(db, account, cursor)
        yield from lines


def page(
    db: Queries, account: str, cursor: ExportPosition | None = None
) -> tuple[Sequence[str], ExportPosition | None]:
    """The next lines, each with its line break, and where to go on; None: that was all.

    Each page may be another read, so that a slow listener keeps nobody from the database. A message comes together
    with the call that it came in, or with its webhook deliveries. Raises NotFound.
    """
    if cursor is None:
        return [_line("export", {"version": VERSION}), _account(db, account)], ExportPosition(
            "", 0, journal.last_seq(db)
        )
    if cursor.handset is not None:
        return _handsets(db, account, cursor)
    after, before = cursor.seq, cursor.last + 1
    sent = messages.page(db, account=account, after=after, before=before, limit=PAGE, newest_first=False)
    calls = messages.requests_page(
        db, account=account, unowned=False, after=after, before=before, limit=PAGE, newest_first=False
    )
    by_number: defaultdict[int, list[Message | RecordedRequest]] = defaultdict(list)
    for found in (sent, calls):  # the call after its message, which has the same number
        for it in found:
            by_number[it.seq].append(it)
    numbers = sorted(by_number)[:PAGE]
    lines = [line for seq in numbers for it in by_number[seq] for line in _recorded(db, it)]
    return lines, cursor._replace(seq=numbers[-1]) if len(numbers) == PAGE else None


def _line(kind: str, value: Mapping[str, object]) -> str:
    """One line of a file, with its break: in ASCII, so that it is one for every reader, and harmless in a terminal."""
    return json.dumps({"type": kind, **value}) + "\n"


def _account(db: Queries, name: str) -> str:
    for it in accounts.stored(db):
        if it.name == name:
            return _line("account", from_model.account(it))
    raise NotFound(f"There is no account {quote(name)}.")


def _handsets(db: Queries, account: str, cursor: ExportPosition) -> tuple[Sequence[str], ExportPosition | None]:
    """A page of handsets, and after the last of them the scenarios."""
    found = messages.handsets(db, account, after=cursor.handset or "", limit=HANDSETS)
    lines = [_line("handset", from_model.handset(it)) for it in found]
    if len(found) == HANDSETS:
        return lines, cursor._replace(handset=found[-1].msisdn)
    for own in scenarios.own(db, account):
        known = catalogue.read(own.source)
        scenario = known if isinstance(known, Scenario) else None  # None: an older sandbox understood it
        lines.append(_line("scenario", from_model.scenario(own.name, scenario, own=True, source=own.source)))
    return lines, cursor._replace(handset=None)


def _recorded(db: Queries, it: Message | RecordedRequest) -> Iterator[str]:
    if isinstance(it, RecordedRequest):
        yield _line("request", from_model.request(it))
        return
    yield _line("message", from_model.message(it))
    if it.direction is Direction.MO:
        for each in outbox.of_message(db, it.seq):
            attempts = [_without_secrets(attempt) for attempt in outbox.attempts(db, each.seq)]
            owed = replace(each, url=each.url.removeprefix(NO_PLACE))
            yield _line("webhook_delivery", from_model.delivery(owed, attempts))


def _without_secrets(it: Attempt) -> Attempt:
    if it.outcome is None:
        return it
    headers = tuple((name, masked(name, value)) for name, value in it.outcome.headers)
    return replace(it, outcome=replace(it.outcome, headers=headers))


# Import -------------------------------------------------------------------------------------------------------------


class Written(NamedTuple):
    """What became of a batch: how much of each kind was written, the rest being there already, and what is to be noted
    about it once it is committed."""

    counts: Counter[str]
    seen: Seen


def write(tx: Tx, account: str, batch: Batch, known: Known, *, at_ms: int) -> Written:
    """Write what an account has not yet of a batch, with new numbers and in the file's order; `at_ms` is now.

    All batches of a file are to be written, in their order, and `known` is to note what was seen after each. A handset
    is there if its number is, a scenario if its name is, and both stay as they are; a message or a refused call if the
    account has as many that are alike as the file has up to here. To a message that is there, webhook deliveries and
    attempts are added that it lacks.

    Nothing is owed to anybody because of it, and no scenario hears of it. Messages keep their times, so that those
    beyond `max_age` go with the next that are removed. Raises NotFound if there is no such account, and Conflict if it
    was reset or removed after what is `known`; then nothing of the file is left.
    """
    if tx.execute("SELECT 1 FROM accounts WHERE name = :name", {"name": account}).fetchone() is None:
        raise NotFound(f"There is no account {quote(account)}.")
    if journal.was_deleted(tx, account, after=known.upto):
        raise Conflict(
            f"The account {quote(account)} was reset or removed while the file was taken in, and what was in went with "
            "it. Send the file again if it is still wanted."
        )
    here = _Here(tx, account, known)
    counts: Counter[str] = Counter()
    for each in batch.entries:
        counts.update(_write_entry(tx, account, each, here, at_ms))
    counts = +counts
    upto = here.seen.upto
    if counts:
        # The last entry is of now: a restart sets a clock that was moved on by the moment of the newest.
        upto = journal.record(tx, EventType.ACCOUNT_CHANGED, at_ms=at_ms, account=account)
    return Written(counts, Seen(here.rows, upto, is_all=True))


class _Here:
    """Within one transaction, the rows of an account that are what a file holds."""

    def __init__(self, tx: Tx, account: str, known: Known) -> None:
        self.seen = look(tx, account, known, span=None)
        self.rows = {key: list(numbers) for key, numbers in self.seen.rows.items()}  # with those that are written now
        self._tx = tx
        self._account = account
        self._known = known
        self._alike: dict[Identity, list[int]] = {}

    def alike(self, wanted: Identity) -> list[int]:
        """Numbers of the rows with an identity, oldest first. What was known may have been removed since."""
        found = self._alike.get(wanted)
        if found is None:
            key = hash(wanted)
            numbers = [*self._known.rows(key), *self.rows.get(key, ())]
            found = [seq for seq in numbers if identity.is_at(self._tx, self._account, seq, wanted)]
            self._alike[wanted] = found
        return found

    def note(self, written: Identity, alike: list[int], seq: int) -> None:
        """A row was written with this identity, besides those that are `alike`."""
        alike.append(seq)
        self.rows.setdefault(hash(written), []).append(seq)


def _write_entry(tx: Tx, account: str, entry: Entry, here: _Here, at_ms: int) -> Mapping[str, int]:
    """Write what is not there of an entry; how much of each kind that was."""
    match entry.thing:
        case Handset() as handset:
            return {"handsets": int(_write_handset(tx, replace(handset, account=account), at_ms))}
        case OwnScenario() as scenario:
            return {"scenarios": int(_write_scenario(tx, replace(scenario, account=account, changed_ms=at_ms)))}
        case Texted() | RecordedRequest() as recorded:
            return _write_recorded(tx, account, entry, recorded, here)


def _write_recorded(tx: Tx, account: str, entry: Entry, it: Texted | RecordedRequest, here: _Here) -> Mapping[str, int]:
    assert entry.identity is not None
    assert entry.occurrence is not None
    alike = here.alike(entry.identity)
    if len(alike) >= entry.occurrence:
        return _complete(tx, account, alike[entry.occurrence - 1], it) if isinstance(it, Texted) else {}
    seq = _write_texted(tx, account, it) if isinstance(it, Texted) else _write_refusal(tx, account, it)
    here.note(entry.identity, alike, seq)
    return entry.counts


def _write_handset(tx: Tx, handset: Handset, at_ms: int) -> bool:
    if messages.handset(tx, handset.account, handset.msisdn) is not None:
        return False
    messages.put_handset(tx, handset)
    journal.record(tx, EventType.HANDSET_CHANGED, at_ms=at_ms, account=handset.account, msisdn=handset.msisdn)
    return True


def _write_scenario(tx: Tx, scenario: OwnScenario) -> bool:
    if scenarios.get_own(tx, scenario.account, scenario.name) is not None:
        return False
    scenarios.put(tx, scenario)
    journal.record(tx, EventType.SCENARIO_CHANGED, at_ms=scenario.changed_ms, account=scenario.account)
    return True


def _write_refusal(tx: Tx, account: str, it: RecordedRequest) -> int:
    seq = journal.announce(tx, EventType.MESSAGE_REFUSED, at_ms=it.at_ms, account=account)
    messages.insert_refusal(tx, replace(it, seq=seq, account=account), _header_lines(it))
    return seq


def _header_lines(it: RecordedRequest) -> bytes:
    return messages.header_lines((name.encode(), value.encode()) for name, value in it.headers)


def _write_texted(tx: Tx, account: str, it: Texted) -> int:
    news = EventType.MESSAGE_SUBMITTED if it.message.direction is Direction.MT else EventType.MESSAGE_ORIGINATED
    seq = journal.announce(tx, news, at_ms=it.message.at_ms, account=account, msisdn=it.message.msisdn)
    numbers: dict[int | None, int] = {}  # of the webhook deliveries: the file's -> ours
    for owed in it.owed:
        _write_owed(tx, account, seq, owed, numbers, is_first=not numbers)
    message = replace(it.message, seq=seq, account=account, delivery_seq=numbers.get(it.message.delivery_seq))
    messages.insert_imported(tx, message, _submission(it.call))
    return seq


def _submission(call: RecordedRequest | None) -> messages.Submission:
    """The call that a message came in, as it is kept with the message."""
    if call is None:
        return messages.Submission(client="", headers=b"", body=b"", answer=b"")
    return messages.Submission(client=call.client, headers=_header_lines(call), body=call.body, answer=call.answer)


def _write_owed(
    tx: Tx, account: str, message_seq: int, owed: Owed, numbers: dict[int | None, int], *, is_first: bool
) -> None:
    """Write a webhook delivery of a message down, and note its number; the first one has that of its message."""
    old = owed.delivery
    numbers[old.seq] = (
        message_seq
        if is_first
        else journal.record(
            tx, EventType.DELIVERY_REDELIVERED, at_ms=old.created_ms, account=account, msisdn=old.msisdn
        )
    )
    delivery = replace(
        old,
        seq=numbers[old.seq],
        account=account,
        message_seq=message_seq,
        redelivery_of=numbers.get(old.redelivery_of),
    )
    outbox.insert(tx, delivery)
    for attempt in owed.attempts:
        outbox.ATTEMPTS.insert(tx, replace(attempt, delivery_seq=delivery.seq))


# What is there, and not all of it ------------------------------------------------------------------------------------


def _complete(tx: Tx, account: str, seq: int, it: Texted) -> Mapping[str, int]:
    """Add to a message that is there what a file knows beyond it; how much that was."""
    if not it.owed:
        return {}
    there = outbox.of_message(tx, seq)
    alike: defaultdict[object, list[WebhookDelivery]] = defaultdict(list)
    for each in there:
        alike[_delivery_identity(each)].append(each)
    counts: Counter[str] = Counter()
    numbers: dict[int | None, int] = {}
    latest = None
    for owed in it.owed:
        if same := alike[_delivery_identity(owed.delivery)]:
            found = same.pop(0)
            numbers[owed.delivery.seq] = found.seq
            counts["attempts"] += _complete_delivery(tx, found, owed)
        else:
            _write_owed(tx, account, seq, owed, numbers, is_first=not there and not numbers)
            counts.update(webhook_deliveries=1, attempts=len(owed.attempts))
            if owed.delivery.seq == it.message.delivery_seq:
                latest = numbers[owed.delivery.seq]
    if latest is not None:
        messages.set_delivery(tx, seq, latest)
    return counts


def _delivery_identity(it: WebhookDelivery) -> object:
    return it.created_ms, it.edited, it.body


def _complete_delivery(tx: Tx, there: WebhookDelivery, owed: Owed) -> int:
    """Add the attempts that an imported webhook delivery lacks, and how it ended then; how many these were.

    One of the account's own stays as it is: no file knows more about it, and it may still be owed.
    """
    if not there.url.startswith(NO_PLACE) or there.state.open or outbox.is_under_way(tx, there.seq):
        return 0
    made = outbox.attempts(tx, there.seq)
    alike: defaultdict[object, list[Attempt]] = defaultdict(list)
    for each in made:
        alike[_attempt_identity(each)].append(each)
    added = ended = 0
    for each in owed.attempts:
        if same := alike[_attempt_identity(each)]:
            ended += _end(tx, same.pop(0), each)
        else:
            added += 1
            outbox.ATTEMPTS.insert(tx, replace(each, delivery_seq=there.seq, number=len(made) + added))
    if added or ended:
        outbox.update(
            tx,
            there.seq,
            state=owed.delivery.state,
            attempts=len(made) + added,
            retries_used=owed.delivery.retries_used,
            first_failed_ms=owed.delivery.first_failed_ms,
            next_attempt_ms=None,
        )
        journal.record(
            tx,
            EventType.ATTEMPT_MADE,
            at_ms=owed.attempts[-1].started_ms,
            account=there.account,
            subject=there.seq,
            msisdn=there.msisdn,
        )
    return added + ended


def _attempt_identity(it: Attempt) -> object:
    return it.started_ms, it.trigger


def _end(tx: Tx, there: Attempt, known: Attempt) -> bool:
    """Write down how an attempt ended that was under way when it was exported; False if nobody knows better."""
    assert there.outcome is not None
    assert known.outcome is not None
    if there.outcome.error != UNDER_WAY or known.outcome.error == UNDER_WAY:
        return False
    outbox.end_attempt(tx, there.delivery_seq, there.number, known.outcome, known.warnings)
    return True
