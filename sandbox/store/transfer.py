"""Export and import of what is recorded of an account: rows into JSON Lines, and what such a file says into rows.

Secrets are masked on the way out. What a file says is read in imports.py; who may ask for it, and how the lines
travel, is the doors' affair.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sandbox.clock import to_iso
from sandbox.config import mask, mask_url
from sandbox.contract.problems import quote
from sandbox.errors import NotFound
from sandbox.events import News
from sandbox.model import Direction, Handset, Message, Outcome, OutcomeKind, WebhookDelivery
from sandbox.store import accounts, journal, messages, outbox, scenarios
from sandbox.store.database import Queries, Tx
from sandbox.store.imports import (
    NO_PLACE,
    UNDER_WAY,
    VERSION,
    Batch,
    Complaint,
    Import,
    Limits,
    Refused,
    Texted,
    read,
)
from sandbox.store.lines import headers, line, masked, wire

__all__ = ["Batch", "Complaint", "Cursor", "Import", "Limits", "export", "page", "read", "write"]

PAGE = 50  # messages and refused calls that are read at once: each may have long bodies, and attempts with theirs
HANDSETS = 500  # the same of handsets


# Export -------------------------------------------------------------------------------------------------------------


class Cursor(NamedTuple):
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


def page(db: Queries, account: str, cursor: Cursor | None = None) -> tuple[Sequence[str], Cursor | None]:
    """The next lines, each with its line break, and where to go on; None: that was all.

    Each page may be another read, so that a slow listener keeps nobody from the database. A message comes together
    with its webhook deliveries and their attempts. Raises NotFound.
    """
    if cursor is None:
        return [line("export", version=VERSION), _account(db, account)], Cursor("", 0, journal.last_seq(db))
    if cursor.handset is not None:
        return _handsets(db, account, cursor)
    scope = {"account": account, "after": cursor.seq, "last": cursor.last, "most": PAGE}
    # By number, and not by the index of handsets: that would sort all that the account has, for each page anew.
    bounds = "WHERE account || '' = :account AND seq > :after AND seq <= :last ORDER BY seq LIMIT :most"
    sent = db.execute(_MESSAGES + bounds, scope).fetchall()
    refused = db.execute(_REFUSALS + bounds, scope).fetchall()
    rows = sorted([*((row, _message) for row in sent), *((row, _refusal) for row in refused)], key=_number)[:PAGE]
    lines = [each for row, write_down in rows for each in write_down(db, row)]
    return lines, cursor._replace(seq=_number(rows[-1])) if len(rows) == PAGE else None


_MESSAGES = """
SELECT seq, at_ms, direction, msisdn, shortcode, text, session_id, ref_id, sent_date, telco, encoding, segments, state,
       extra, warnings, delivery_seq, client, headers, body, answer
  FROM messages
"""
_REFUSALS = """
SELECT seq, at_ms, method, path, client, headers, body, status_code, answer, problems FROM refusals
"""


def _number(found: tuple[Sequence[Any], object]) -> int:
    seq: int = found[0][0]
    return seq


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


def _handsets(db: Queries, account: str, cursor: Cursor) -> tuple[Sequence[str], Cursor | None]:
    """A page of handsets, and after the last of them the scenarios."""
    rows = db.execute(
        "SELECT msisdn, label, telco, state FROM handsets WHERE account = :account AND msisdn > :after "
        "ORDER BY msisdn LIMIT :most",
        {"account": account, "after": cursor.handset, "most": HANDSETS},
    ).fetchall()
    lines = [line("handset", msisdn=row[0], label=row[1], telco=row[2], state=row[3]) for row in rows]
    if len(rows) == HANDSETS:
        return lines, cursor._replace(handset=rows[-1][0])
    for it in scenarios.own(db, account):
        lines.append(line("scenario", name=it.name, source=it.source, changed_at=to_iso(it.changed_ms)))
    return lines, cursor._replace(handset=None)


def _message(db: Queries, row: Sequence[Any]) -> Iterator[str]:
    seq, is_mt = row[0], row[2] == Direction.MT
    request = {"client": row[16] or "", "headers": headers(row[17]), "body": wire(row[18]), "answer": wire(row[19])}
    yield line(
        "message",
        id=f"m{seq}",
        direction=row[2],
        **{"from": row[4] if is_mt else row[3]},
        to=row[3] if is_mt else row[4],
        text=row[5],
        session_id=row[6],
        ref_id=row[7],
        sent_date=row[8],
        at=to_iso(row[1]),
        telco=row[9],
        encoding=row[10],
        segments=row[11],
        state=row[12],
        extra=json.loads(row[13] or "{}"),
        warnings=json.loads(row[14] or "[]"),
        webhook_delivery_id=None if row[15] is None else f"w{row[15]}",
        request=request if is_mt else None,
    )
    if not is_mt:
        for delivery in outbox.of_message(db, seq):
            yield from _delivery(db, delivery)


def _refusal(_: Queries, row: Sequence[Any]) -> Iterator[str]:
    names = ("field", "code", "message", "hint")
    yield line(
        "refusal",
        id=f"r{row[0]}",
        at=to_iso(row[1]),
        method=row[2],
        path=row[3].replace("\0", "\\0"),  # the one thing in a record that no import takes
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

_INSERT = """
INSERT INTO messages (seq, at_ms, account, direction, msisdn, shortcode, text, session_id, ref_id, sent_date, telco,
                      encoding, segments, state, extra, warnings, delivery_seq, client, headers, body, answer)
VALUES (:seq, :at, :account, :direction, :msisdn, :shortcode, :text, :session, :ref, :sent, :telco, :encoding,
        :segments,
        CASE WHEN :state = 'accepted' AND NOT EXISTS
                  (SELECT 1 FROM handsets WHERE account = :account AND msisdn = :msisdn AND state = 'off')
             THEN 'arrived' ELSE :state END,
        :extra, :warnings, :delivery, :client, :headers, :body, :answer)
"""
_TOUCH = """
INSERT INTO conversations (account, msisdn, shortcode, session_id, ref_id, unread, originated, last_seq)
VALUES (:account, :msisdn, :shortcode, :session, :ref, 0, 0, :seq)
ON CONFLICT (account, msisdn, shortcode) DO UPDATE SET session_id = excluded.session_id, ref_id = excluded.ref_id,
  last_seq = excluded.last_seq
"""


def write(tx: Tx, account: str, batch: Batch, *, at_ms: int) -> None:
    """Write a batch of an import down under an account, with new numbers and in the file's order; `at_ms` is now.

    All batches of a file are to be written, in their order. Handsets and scenarios that the account has already stay as
    they are. Nothing is owed to anybody because of it, and no scenario hears of it. Messages keep their times, so that
    those beyond `max_age` go with the next that are removed. Raises NotFound if there is no such account.
    """
    if tx.execute("SELECT 1 FROM accounts WHERE name = :name", {"name": account}).fetchone() is None:
        raise NotFound(f"There is no account {quote(account)}.")
    for handset in batch.handsets:
        _write_handset(tx, replace(handset, account=account), at_ms)
    for scenario in batch.scenarios:
        if scenarios.get_own(tx, account, scenario.name) is None:
            scenarios.put(tx, replace(scenario, account=account))
            journal.record(tx, News.SCENARIO_CHANGED, at_ms=at_ms, account=account)
    for each in batch.record:
        if isinstance(each, Refused):
            _write_refusal(tx, account, each)
        else:
            _write_texted(tx, account, each)
    # The last entry is of now: a restart sets a clock that was moved on by the moment of the newest.
    journal.record(tx, News.ACCOUNT_CHANGED, at_ms=at_ms, account=account)


def _write_handset(tx: Tx, handset: Handset, at_ms: int) -> None:
    if messages.handset(tx, handset.account, handset.msisdn) is None:
        messages.put_handset(tx, handset)
        journal.record(tx, News.HANDSET_CHANGED, at_ms=at_ms, account=handset.account, msisdn=handset.msisdn)


def _write_refusal(tx: Tx, account: str, it: Refused) -> None:
    seq = journal.announce(tx, News.MESSAGE_REFUSED, at_ms=it.request.at_ms, account=account)
    messages.insert_refusal(tx, replace(it.request, seq=seq, account=account), it.headers)


def _write_texted(tx: Tx, account: str, it: Texted) -> None:
    is_mt = it.message.direction is Direction.MT
    news = News.MESSAGE_SUBMITTED if is_mt else News.MESSAGE_ORIGINATED
    seq = journal.announce(tx, news, at_ms=it.message.at_ms, account=account, msisdn=it.message.msisdn)
    numbers: dict[int | None, int] = {}  # of the webhook deliveries: the file's -> ours
    for owed in it.owed:
        old = owed.delivery
        if not numbers:  # the first one has the number of its message
            numbers[old.seq] = seq
        else:
            numbers[old.seq] = journal.record(
                tx, News.DELIVERY_REDELIVERED, at_ms=old.created_ms, account=account, msisdn=old.msisdn
            )
        _write_delivery(
            tx,
            replace(
                old,
                seq=numbers[old.seq],
                account=account,
                message_seq=seq,
                redelivery_of=numbers.get(old.redelivery_of),
            ),
        )
        for attempt in owed.attempts:
            assert attempt.outcome is not None
            outbox.begin_attempt(tx, replace(attempt, delivery_seq=numbers[old.seq]))
            outbox.end_attempt(tx, numbers[old.seq], attempt.number, attempt.outcome, attempt.warnings)
    message = replace(it.message, seq=seq, account=account, delivery_seq=numbers.get(it.message.delivery_seq))
    _write_message(tx, message, it.submission if is_mt else None)


def _write_message(tx: Tx, message: Message, submission: messages.Submission | None) -> None:
    client, lines, body, answer = submission or (None, None, None, None)
    values = {
        "seq": message.seq,
        "at": message.at_ms,
        "account": message.account,
        "direction": message.direction,
        "msisdn": message.msisdn,
        "shortcode": message.shortcode,
        "text": message.text,
        "session": message.session_id,
        "ref": message.ref_id,
        "sent": message.sent_date,
        "telco": message.telco,
        "encoding": message.encoding,
        "segments": message.segments,
        "state": message.state,
        "extra": json.dumps(message.extra) if message.extra else None,
        "warnings": json.dumps(message.warnings) if message.warnings else None,
        "delivery": message.delivery_seq,
        "client": client,
        "headers": lines,
        "body": body,
        "answer": answer,
    }
    tx.execute(_INSERT, values)
    if message.direction is Direction.MT:
        tx.execute(_TOUCH, values)
    else:
        messages.touch_mo(
            tx, account=message.account, msisdn=message.msisdn, shortcode=message.shortcode, seq=message.seq
        )


def _write_delivery(tx: Tx, delivery: WebhookDelivery) -> None:
    outbox.insert(tx, delivery)
    outbox.update(
        tx,
        delivery.seq,
        state=delivery.state,
        attempts=delivery.attempts,
        retries_used=delivery.retries_used,
        first_failed_ms=delivery.first_failed_ms,
        next_attempt_ms=None,
    )
