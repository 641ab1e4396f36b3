"""Export and import of what is recorded of an account: rows into JSON Lines, and what such a file says into rows.

Secrets are masked on the way out. See imports.py for how a file is read, and api/records.py for the calls.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, NamedTuple

from sandbox.clock import to_iso
from sandbox.errors import Conflict, NotFound
from sandbox.model import Attempt, Direction, EventType, Handset, Message, Outcome, OutcomeKind, WebhookDelivery
from sandbox.settings import mask_url
from sandbox.store import accounts, journal, messages, outbox, scenarios
from sandbox.store.database import Queries, Tx
from sandbox.store.scenarios import OwnScenario
from sandbox.transfer import identity
from sandbox.transfer.identity import Identity, Known, Seen, look
from sandbox.transfer.imports import (
    NO_PLACE,
    UNDER_WAY,
    VERSION,
    Batch,
    Entry,
    Import,
    ImportComplaint,
    ImportedRefusal,
    Limits,
    Owed,
    Progress,
    Texted,
    read,
)
from sandbox.transfer.lines import headers, line, masked, wire, written_path
from sandbox.wire.problems import mask, quote

__all__ = [
    "Batch",
    "ExportPosition",
    "Import",
    "ImportComplaint",
    "Known",
    "Limits",
    "Progress",
    "Written",
    "export",
    "known",
    "look",
    "page",
    "read",
    "write",
]

PAGE = 50  # messages and refused calls that are read at once: each may have long bodies, and attempts with theirs
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
    with its webhook deliveries and their attempts. Raises NotFound.
    """
    if cursor is None:
        return [line("export", version=VERSION), _account(db, account)], ExportPosition("", 0, journal.last_seq(db))
    if cursor.handset is not None:
        return _handsets(db, account, cursor)
    scope: dict[str, Any] = {"account": account, "after": cursor.seq, "last": cursor.last, "most": PAGE}
    sent = messages.recorded(db, **scope)
    bounds = "WHERE account || '' = :account AND seq > :after AND seq <= :last ORDER BY seq LIMIT :most"
    refused = db.execute(_REFUSALS + bounds, scope).fetchall()
    found = [*((it.seq, _message(db, it, call)) for it, call in sent), *((row[0], _refusal(row)) for row in refused)]
    found = sorted(found, key=itemgetter(0))[:PAGE]
    lines = [each for _, written in found for each in written]
    return lines, cursor._replace(seq=found[-1][0]) if len(found) == PAGE else None


_REFUSALS = """
SELECT seq, at_ms, method, path, client, headers, body, status_code, answer, problems FROM refusals
"""


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else to_iso(at_ms)


def _account(db: Queries, name: str) -> str:
    for it in accounts.stored(db):
        if it.name == name:
            return line(
                "account",
                name=it.name,
                token=mask(it.token),
                shortcodes=it.shortcodes,
                client_url=None if it.client_url is None else mask_url(it.client_url),
                callback_auth=it.callback_auth,
                msisdn_format=it.msisdn_format,
                revision=it.revision,
                strict=it.strict,
                success_body=it.success_body,
                retry=it.retry_s,
                order=it.order,
            )
    raise NotFound(f"There is no account {quote(name)}.")


def _handsets(db: Queries, account: str, cursor: ExportPosition) -> tuple[Sequence[str], ExportPosition | None]:
    """A page of handsets, and after the last of them the scenarios."""
    found = messages.handsets(db, account, after=cursor.handset or "", limit=HANDSETS)
    lines = [line("handset", msisdn=it.msisdn, label=it.label, telco=it.telco, state=it.state) for it in found]
    if len(found) == HANDSETS:
        return lines, cursor._replace(handset=found[-1].msisdn)
    for it in scenarios.own(db, account):
        lines.append(line("scenario", name=it.name, source=it.source, changed_at=to_iso(it.changed_ms)))
    return lines, cursor._replace(handset=None)


def _message(db: Queries, it: Message, call: messages.Submission) -> Iterator[str]:
    is_mt = it.direction is Direction.MT
    request = {
        "client": call.client or "",
        "headers": headers(call.headers),
        "body": wire(call.body),
        "answer": wire(call.answer),
    }
    yield line(
        "message",
        id=it.id,
        direction=it.direction,
        **{"from": it.shortcode if is_mt else it.msisdn},
        to=it.msisdn if is_mt else it.shortcode,
        text=it.text,
        session_id=it.session_id,
        ref_id=it.ref_id,
        sent_date=it.sent_date,
        at=to_iso(it.at_ms),
        telco=it.telco,
        encoding=it.encoding,
        segments=it.segments,
        state=it.state,
        extra=it.extra,
        warnings=it.warnings,
        webhook_delivery_id=None if it.delivery_seq is None else f"w{it.delivery_seq}",
        request=request if is_mt else None,
    )
    if not is_mt:
        for delivery in outbox.of_message(db, it.seq):
            yield from _delivery(db, delivery)


def _refusal(row: Sequence[Any]) -> Iterator[str]:
    names = ("field", "code", "message", "hint")
    yield line(
        "refusal",
        id=f"r{row[0]}",
        at=to_iso(row[1]),
        method=row[2],
        path=written_path(row[3]),
        client=row[4],
        headers=headers(row[5]),
        body=wire(row[6]),
        status_code=row[7],
        answer=wire(row[8]),
        problems=[dict(zip(names, each, strict=True)) for each in json.loads(row[9])],
    )


def _delivery(db: Queries, it: WebhookDelivery) -> Iterator[str]:
    yield line(
        "webhook_delivery",
        id=it.id,
        message_id=f"m{it.message_seq}",
        url=mask_url(it.url.removeprefix(NO_PLACE)),
        body=it.body.decode(),
        state=it.state,
        created_at=to_iso(it.created_ms),
        retries_used=it.retries_used,
        first_failed_at=_iso(it.first_failed_ms),
        redelivery_of=None if it.redelivery_of is None else f"w{it.redelivery_of}",
        edited=it.edited,
    )
    for each in outbox.attempts(db, it.seq):
        outcome = each.outcome or Outcome(kind=OutcomeKind.INTERRUPTED, duration_ms=0, error=UNDER_WAY)
        yield line(
            "attempt",
            webhook_delivery_id=it.id,
            number=each.number,
            trigger=each.trigger,
            started_at=to_iso(each.started_ms),
            offset_s=each.offset_ms / 1000,
            outcome=outcome.kind,
            duration_ms=outcome.duration_ms,
            status_code=outcome.status_code,
            response_headers=[{"name": name, "value": masked(name, value)} for name, value in outcome.headers],
            response_body=wire(outcome.body),
            error=outcome.error,
            warnings=each.warnings,
        )


# Import -------------------------------------------------------------------------------------------------------------


class Written(NamedTuple):
    """What became of a batch: how much of each kind was written, the rest being there already, and what is to be noted
    about it once it is committed."""

    counts: Counter[str]
    seen: Seen


def known(found: Import) -> Known:
    """What is to be looked for before the first batch of a file is written, until a `look` covers everything."""
    return Known([each.identity for each in found.entries if each.identity is not None])


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
            return {"scenarios": int(_write_scenario(tx, replace(scenario, account=account), at_ms))}
        case Texted() | ImportedRefusal() as recorded:
            return _write_recorded(tx, account, entry, recorded, here)


def _write_recorded(tx: Tx, account: str, entry: Entry, it: Texted | ImportedRefusal, here: _Here) -> Mapping[str, int]:
    assert entry.identity is not None
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


def _write_scenario(tx: Tx, scenario: OwnScenario, at_ms: int) -> bool:
    if scenarios.get_own(tx, scenario.account, scenario.name) is not None:
        return False
    scenarios.put(tx, scenario)
    journal.record(tx, EventType.SCENARIO_CHANGED, at_ms=at_ms, account=scenario.account)
    return True


def _write_refusal(tx: Tx, account: str, it: ImportedRefusal) -> int:
    seq = journal.announce(tx, EventType.MESSAGE_REFUSED, at_ms=it.request.at_ms, account=account)
    messages.insert_refusal(tx, replace(it.request, seq=seq, account=account), it.headers)
    return seq


def _write_texted(tx: Tx, account: str, it: Texted) -> int:
    is_mt = it.message.direction is Direction.MT
    news = EventType.MESSAGE_SUBMITTED if is_mt else EventType.MESSAGE_ORIGINATED
    seq = journal.announce(tx, news, at_ms=it.message.at_ms, account=account, msisdn=it.message.msisdn)
    numbers: dict[int | None, int] = {}  # of the webhook deliveries: the file's -> ours
    for owed in it.owed:
        _write_owed(tx, account, seq, owed, numbers, is_first=not numbers)
    message = replace(it.message, seq=seq, account=account, delivery_seq=numbers.get(it.message.delivery_seq))
    messages.insert_imported(tx, message, it.submission)
    return seq


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
        next_attempt_ms=None,
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
        known = owed.delivery
        outbox.update(
            tx,
            there.seq,
            state=known.state,
            attempts=len(made) + added,
            retries_used=known.retries_used,
            first_failed_ms=known.first_failed_ms,
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
