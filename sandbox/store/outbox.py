"""SQL of webhook deliveries, their attempts, and timers.

Functions run inside `database.write` (they take a Tx) or `database.read` (they take Queries). What follows an attempt
is decided in rules/retry.py; here it is only written down.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sandbox.model import (
    Attempt,
    DeliveryState,
    Msisdn,
    MsisdnFormat,
    Outcome,
    OutcomeKind,
    Shortcode,
    TextRequest,
    Timer,
    TimerKind,
    Trigger,
    WebhookDelivery,
)
from sandbox.store.database import Due, Queries, Tx

_COLUMNS = (
    "seq, message_seq, account, msisdn, shortcode, url, body, state, created_ms, attempts, retries_used, "
    "first_failed_ms, next_attempt_ms, redelivery_of, edited, put_off_ms, taken_up"
)
_DELIVERY = f"SELECT {_COLUMNS} FROM webhook_deliveries "
OPEN = "state IN ('pending', 'in_flight', 'retrying')"
_OPEN_BEFORE = (
    f"SELECT 1 FROM webhook_deliveries WHERE account = {{0}}account AND msisdn = {{0}}msisdn AND {OPEN} "
    "AND shortcode = {0}shortcode AND seq < {0}seq"
)

NETWORK_QUEUE = "network"
"""The queue of what handsets do later: in the order of its moments, and of its planning where they are the same."""


def _to_delivery(row: Sequence[Any]) -> WebhookDelivery:
    return WebhookDelivery(
        seq=row[0],
        message_seq=row[1],
        account=row[2],
        msisdn=Msisdn(row[3]),
        shortcode=Shortcode(row[4]),
        url=row[5],
        body=row[6],
        state=DeliveryState(row[7]),
        created_ms=row[8],
        attempts=row[9],
        retries_used=row[10],
        first_failed_ms=row[11],
        next_attempt_ms=row[12],
        redelivery_of=row[13],
        edited=bool(row[14]),
        put_off_ms=row[15],
        taken_up=bool(row[16]),
    )


def insert(tx: Tx, delivery: WebhookDelivery) -> None:
    tx.execute(
        "INSERT INTO webhook_deliveries (seq, message_seq, account, msisdn, shortcode, url, body, state, created_ms, "
        "attempts, retries_used, first_failed_ms, next_attempt_ms, redelivery_of, edited) VALUES (:seq, :message, "
        ":account, :msisdn, :shortcode, :url, :body, :state, :created, 0, 0, NULL, :next, :of, :edited)",
        {
            "seq": delivery.seq,
            "message": delivery.message_seq,
            "account": delivery.account,
            "msisdn": delivery.msisdn,
            "shortcode": delivery.shortcode,
            "url": delivery.url,
            "body": delivery.body,
            "state": delivery.state,
            "created": delivery.created_ms,
            "next": delivery.next_attempt_ms,
            "of": delivery.redelivery_of,
            "edited": int(delivery.edited),
        },
    )


def get(db: Queries, seq: int) -> WebhookDelivery | None:
    row = db.execute(_DELIVERY + "WHERE seq = :seq", {"seq": seq}).fetchone()
    return _to_delivery(row) if row else None


def page(
    db: Queries, *, account: str, state: str | None = None, before: int | None = None, limit: int = 50
) -> Sequence[WebhookDelivery]:
    """Webhook deliveries of an account, newest first."""
    where = ["account = :account"]
    if state is not None:
        where.append("state = :state")
    if before is not None:
        where.append("seq < :before")
    rows = db.execute(
        f"{_DELIVERY} WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT :limit",
        {"account": account, "state": state, "before": before, "limit": limit},
    )
    return [_to_delivery(row) for row in rows]


def of_message(db: Queries, message_seq: int) -> Sequence[WebhookDelivery]:
    """All webhook deliveries of a message, oldest first: the first one, then redeliveries."""
    rows = db.execute(_DELIVERY + "WHERE message_seq = :seq ORDER BY seq", {"seq": message_seq})
    return [_to_delivery(row) for row in rows]


def open_before(db: Queries, delivery: WebhookDelivery) -> bool:
    """Whether an earlier webhook delivery of the same conversation is still open."""
    conversation = {"account": delivery.account, "msisdn": delivery.msisdn, "shortcode": delivery.shortcode}
    row = db.execute(_OPEN_BEFORE.format(":") + " LIMIT 1", {**conversation, "seq": delivery.seq}).fetchone()
    return row is not None


def next_open(db: Queries, delivery: WebhookDelivery) -> WebhookDelivery | None:
    """The oldest open webhook delivery of the same conversation."""
    row = db.execute(
        f"{_DELIVERY} WHERE account = :account AND msisdn = :msisdn AND {OPEN} AND shortcode = :shortcode "
        "ORDER BY seq LIMIT 1",
        {"account": delivery.account, "msisdn": delivery.msisdn, "shortcode": delivery.shortcode},
    ).fetchone()
    return _to_delivery(row) if row else None


def all_open(db: Queries, account: str | None = None) -> Sequence[WebhookDelivery]:
    """Every webhook delivery that is still owed an attempt, of one account or of all, oldest first."""
    mine = "" if account is None else " AND account = :account"
    rows = db.execute(f"{_DELIVERY} WHERE {OPEN}{mine} ORDER BY seq", {"account": account})
    return [_to_delivery(row) for row in rows]


def taken_up_is_over(tx: Tx, seq: int) -> None:
    """The attempt has ended for which a start asked; a retry follows."""
    tx.execute("UPDATE webhook_deliveries SET taken_up = 0 WHERE seq = :seq", {"seq": seq})


def update(
    tx: Tx,
    seq: int,
    *,
    state: DeliveryState,
    attempts: int,
    retries_used: int,
    first_failed_ms: int | None,
    next_attempt_ms: int | None,
) -> None:
    tx.execute(
        "UPDATE webhook_deliveries SET state = :state, attempts = :attempts, retries_used = :retries, "
        "first_failed_ms = :failed, next_attempt_ms = :next WHERE seq = :seq",
        {
            "state": state,
            "attempts": attempts,
            "retries": retries_used,
            "failed": first_failed_ms,
            "next": next_attempt_ms,
            "seq": seq,
        },
    )


def take_up(tx: Tx, seq: int, *, retries_used: int, put_off_ms: int) -> None:
    """Let the attempt that is due use up no retry, and those that are left come later than at their offsets from the
    first failure."""
    tx.execute(
        "UPDATE webhook_deliveries SET retries_used = :retries, put_off_ms = :by, taken_up = 1 WHERE seq = :seq",
        {"retries": retries_used, "by": put_off_ms, "seq": seq},
    )


# Attempts ----------------------------------------------------------------------------------------------------------


def claim(tx: Tx, seq: int, now_ms: int, *, ordered: bool) -> WebhookDelivery | None:
    """Put a webhook delivery in flight for a scheduled attempt, and count the attempt; None if none is due (any more),
    or if it is `ordered` and an earlier one of its conversation is open. Returns it as it stands then."""
    turn = f"AND NOT EXISTS ({_OPEN_BEFORE.format('it.')}) " if ordered else ""
    row = tx.execute(
        "UPDATE webhook_deliveries AS it SET state = 'in_flight', attempts = attempts + 1, next_attempt_ms = NULL "
        "WHERE seq = :seq AND state IN ('pending', 'retrying') AND COALESCE(next_attempt_ms, 0) <= :now "
        f"{turn}RETURNING {_COLUMNS}",
        {"seq": seq, "now": now_ms},
    ).fetchone()
    return _to_delivery(row) if row else None


def count_manual(tx: Tx, seq: int) -> WebhookDelivery | None:
    """Count an attempt beside the schedule, which leaves the rest as it is; None if there is no such webhook delivery.
    Returns it as it stands then."""
    row = tx.execute(
        f"UPDATE webhook_deliveries SET attempts = attempts + 1 WHERE seq = :seq RETURNING {_COLUMNS}", {"seq": seq}
    ).fetchone()
    return _to_delivery(row) if row else None


def begin_attempt(tx: Tx, attempt: Attempt) -> None:
    tx.execute(
        "INSERT INTO attempts (delivery_seq, number, triggered, started_ms, offset_ms) "
        "VALUES (:seq, :number, :trigger, :started, :offset)",
        {
            "seq": attempt.delivery_seq,
            "number": attempt.number,
            "trigger": attempt.trigger,
            "started": attempt.started_ms,
            "offset": attempt.offset_ms,
        },
    )


def end_attempt(tx: Tx, seq: int, number: int, outcome: Outcome, warnings: Sequence[str]) -> None:
    tx.execute(
        "UPDATE attempts SET outcome = :outcome, duration_ms = :duration, status_code = :status, headers = :headers, "
        "body = :body, error = :error, warnings = :warnings WHERE delivery_seq = :seq AND number = :number",
        {
            "outcome": outcome.kind,
            "duration": outcome.duration_ms,
            "status": outcome.status_code,
            "headers": json.dumps(outcome.headers) if outcome.headers else None,
            "body": outcome.body,
            "error": outcome.error,
            "warnings": json.dumps(warnings) if warnings else None,
            "seq": seq,
            "number": number,
        },
    )


def attempts(db: Queries, seq: int) -> Sequence[Attempt]:
    """The attempts of a webhook delivery, the first one first."""
    rows = db.execute(
        "SELECT delivery_seq, number, triggered, started_ms, offset_ms, outcome, duration_ms, status_code, headers, "
        "body, error, warnings FROM attempts WHERE delivery_seq = :seq ORDER BY number",
        {"seq": seq},
    )
    return [
        Attempt(
            delivery_seq=row[0],
            number=row[1],
            trigger=Trigger(row[2]),
            started_ms=row[3],
            offset_ms=row[4],
            outcome=None
            if row[5] is None
            else Outcome(
                kind=OutcomeKind(row[5]),
                duration_ms=row[6],
                status_code=row[7],
                headers=tuple((name, value) for name, value in json.loads(row[8] or "[]")),
                body=row[9],
                error=row[10],
            ),
            warnings=tuple(json.loads(row[11] or "[]")),
        )
        for row in rows
    ]


def is_under_way(db: Queries, seq: int) -> bool:
    """Whether an attempt of the webhook delivery is being made, or was asked for and comes next."""
    row = db.execute(
        "SELECT 1 FROM attempts WHERE delivery_seq = :seq AND outcome IS NULL "
        "UNION ALL SELECT 1 FROM timers WHERE subject = :seq AND kind = :kind LIMIT 1",
        {"seq": seq, "kind": TimerKind.WEBHOOK_MANUAL},
    ).fetchone()
    return row is not None


def attempts_under_way(db: Queries) -> Sequence[tuple[int, int]]:
    """(delivery, number) of attempts without an outcome: under way, or cut off by a crash."""
    return db.execute("SELECT delivery_seq, number FROM attempts WHERE outcome IS NULL").fetchall()


# Timers ------------------------------------------------------------------------------------------------------------


def _to_timer(row: Sequence[Any]) -> Timer:
    return Timer(
        due_ms=row[0], id=row[1], kind=TimerKind(row[2]), queue=row[3], account=row[4], subject=row[5], data=row[6]
    )


def set_timer(tx: Tx, it: Timer) -> None:
    tx.execute(
        "INSERT INTO timers (due_ms, kind, lane, account, subject, data) VALUES (?, ?, ?, ?, ?, ?)",
        (it.due_ms, it.kind, it.queue, it.account, it.subject, it.data),
    )
    tx.due.append(Due(it.queue, it.due_ms))


def shift(tx: Tx, by_ms: int) -> None:
    """Move everything that is planned, and what the retries of webhooks count from, together with the clock."""
    tx.execute("UPDATE timers SET due_ms = due_ms + :by", {"by": by_ms})
    tx.execute(
        "UPDATE webhook_deliveries SET first_failed_ms = first_failed_ms + :by, "
        f"next_attempt_ms = next_attempt_ms + :by WHERE {OPEN}",
        {"by": by_ms},
    )


def drop_timers(tx: Tx, subject: int, kind: TimerKind) -> None:
    tx.execute("DELETE FROM timers WHERE subject = :subject AND kind = :kind", {"subject": subject, "kind": kind})


def set_texting(tx: Tx, texting: TextRequest, *, due_ms: int, subject: int = 0) -> None:
    """Plan a text; `subject` is the scenario's run that it belongs to, and that drops it when it is stopped."""
    data = {each.name: getattr(texting, each.name) for each in fields(TextRequest) if each.name != "account"}
    timer = Timer(
        due_ms=due_ms,
        kind=TimerKind.ORIGINATE,
        queue=NETWORK_QUEUE,
        account=texting.account,
        subject=subject,
        data=json.dumps(data),
    )
    set_timer(tx, timer)


def texting_of(timer: Timer) -> TextRequest:
    """The text that a timer of `set_texting` stands for."""
    values: dict[str, Any] = json.loads(timer.data)
    form = values["msisdn_format"]
    return TextRequest(
        account=timer.account, **{**values, "msisdn_format": None if form is None else MsisdnFormat(form)}
    )


def take_due(tx: Tx, queue: str, now_ms: int, most: int) -> Sequence[Timer]:
    """Remove and return the queue's timers that are due, earliest first, and announce when its next one is."""
    rows = tx.execute(
        "DELETE FROM timers WHERE id IN (SELECT id FROM timers WHERE lane = :lane AND due_ms <= :now "
        "ORDER BY due_ms, id LIMIT :most) RETURNING due_ms, id, kind, lane, account, subject, data",
        {"lane": queue, "now": now_ms, "most": most},
    ).fetchall()
    _tell_next(tx, queue)
    return [_to_timer(row) for row in sorted(rows)]


def _tell_next(tx: Tx, queue: str) -> None:
    next_ms = tx.execute("SELECT MIN(due_ms) FROM timers WHERE lane = :lane", {"lane": queue}).fetchone()[0]
    tx.due.append(Due(queue, next_ms, exact=True))


def postpone(tx: Tx, queue: str, now_ms: int, until_ms: int) -> None:
    """Let the queue's earliest timer, if it is due, wait until another moment."""
    tx.execute(
        "UPDATE timers SET due_ms = :until WHERE id = (SELECT id FROM timers WHERE lane = :lane AND due_ms <= :now "
        "ORDER BY due_ms, id LIMIT 1)",
        {"lane": queue, "now": now_ms, "until": until_ms},
    )
    _tell_next(tx, queue)


_QUEUES = (  # each found from the one before it: to group them would read every timer
    "WITH RECURSIVE lanes (lane) AS (SELECT MIN(lane) FROM timers UNION ALL "
    "SELECT (SELECT MIN(t.lane) FROM timers t WHERE t.lane > lanes.lane) FROM lanes WHERE lane IS NOT NULL) "
    "SELECT lane, (SELECT MIN(t.due_ms) FROM timers t WHERE t.lane = lanes.lane) FROM lanes WHERE lane IS NOT NULL"
)


def queues(db: Queries) -> Sequence[tuple[str, int]]:
    """Every queue that has timers, with the moment of its earliest."""
    return db.execute(_QUEUES).fetchall()


def count_due(db: Queries, *, now_ms: int) -> int:
    """How many timers are due."""
    count: int = db.execute("SELECT COUNT(*) FROM timers WHERE due_ms <= :now", {"now": now_ms}).fetchone()[0]
    return count


def next_of_account(db: Queries, account: str) -> Sequence[tuple[str, TimerKind, int]]:
    """Every queue and kind of which the account has timers, with the moment of its earliest."""
    rows = db.execute(
        "SELECT lane, kind, MIN(due_ms) FROM timers WHERE account = :account GROUP BY lane, kind", {"account": account}
    )
    return [(queue, TimerKind(kind), due_ms) for queue, kind, due_ms in rows]


def timers(db: Queries, *, limit: int = 100) -> Sequence[Timer]:
    """What is due next, earliest first."""
    rows = [
        row
        for queue, _ in queues(db)
        for row in db.execute(
            "SELECT due_ms, id, kind, lane, account, subject, data FROM timers WHERE lane = :lane "
            "ORDER BY due_ms, id LIMIT :limit",
            {"lane": queue, "limit": limit},
        )
    ]
    return [_to_timer(row) for row in sorted(rows)[:limit]]


def planned(db: Queries, account: str, *, limit: int) -> Sequence[Timer]:
    """What the account's handsets do later, earliest first."""
    rows = db.execute(
        "SELECT due_ms, id, kind, lane, account, subject, data FROM timers WHERE lane = :lane AND account = :account "
        "ORDER BY due_ms, id LIMIT :limit",
        {"lane": NETWORK_QUEUE, "account": account, "limit": limit},
    )
    return [_to_timer(row) for row in rows]


def backlog(db: Queries, most: int) -> int:
    """How much waits, counted up to `most`: webhook deliveries for an attempt and timers of anything else, or open
    webhook deliveries where these are more."""
    idle = f"webhook_deliveries WHERE {OPEN} AND state <> 'in_flight'"
    counts: list[int] = [
        db.execute(f"SELECT COUNT(*) FROM (SELECT 1 FROM {waiting} LIMIT :most)", {"most": most}).fetchone()[0]
        for waiting in (
            f"{idle} UNION ALL SELECT 1 FROM timers WHERE kind <> 'webhook'",
            f"webhook_deliveries WHERE {OPEN}",
        )
    ]
    return max(counts)


def has_timer(db: Queries, subject: int, kind: TimerKind) -> bool:
    row = db.execute(
        "SELECT 1 FROM timers WHERE subject = :subject AND kind = :kind LIMIT 1", {"subject": subject, "kind": kind}
    ).fetchone()
    return row is not None
