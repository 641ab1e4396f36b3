"""SQL of webhook deliveries, their attempts, and timers.

Functions run inside `database.write` (they take a Tx) or `database.read` (they take Queries). What follows an attempt
is decided in rules/retry.py; here it is only written down.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from itertools import chain

from sandbox.model import Attempt, DeliveryState, Outcome, TextRequest, Timer, TimerKind, WebhookDelivery
from sandbox.store.database import Due, Queries, Tx
from sandbox.store.rows import Table, decoded, values_of

DELIVERIES = Table("webhook_deliveries", WebhookDelivery)
ATTEMPTS = Table(
    "attempts", Attempt, key=("delivery_seq", "number"), renamed={"trigger": "triggered", "kind": "outcome"}
)
TIMERS = Table("timers", Timer, key=("id",), renamed={"queue": "lane"})
OPEN = "state IN ('pending', 'in_flight', 'retrying')"
_OPEN_IN_CONVERSATION = (
    f"WHERE account = {{0}}account AND msisdn = {{0}}msisdn AND {OPEN} AND shortcode = {{0}}shortcode"
)
_OPEN_BEFORE = f"{_OPEN_IN_CONVERSATION} AND seq < {{0}}seq"

NETWORK_QUEUE = "network"
"""The queue of what handsets do later: in the order of its moments, and of its planning where they are the same."""


def insert(tx: Tx, delivery: WebhookDelivery) -> None:
    DELIVERIES.insert(tx, delivery)


def get(db: Queries, seq: int) -> WebhookDelivery | None:
    return DELIVERIES.get(db, seq)


def page(
    db: Queries, *, account: str, state: str | None = None, before: int | None = None, limit: int = 50
) -> Sequence[WebhookDelivery]:
    """Webhook deliveries of an account, newest first."""
    return DELIVERIES.page(db, "account = :account", account=account, only={"state": state}, before=before, limit=limit)


def of_message(db: Queries, message_seq: int) -> Sequence[WebhookDelivery]:
    """All webhook deliveries of a message, oldest first: the first one, then redeliveries."""
    return DELIVERIES.all(db, "WHERE message_seq = :seq ORDER BY seq", seq=message_seq)


def open_before(db: Queries, delivery: WebhookDelivery) -> bool:
    """Whether an earlier webhook delivery of the same conversation is still open."""
    return DELIVERIES.has(db, _OPEN_BEFORE.format(":"), **values_of(delivery))


def next_open(db: Queries, delivery: WebhookDelivery) -> WebhookDelivery | None:
    """The oldest open webhook delivery of the same conversation."""
    return DELIVERIES.first(db, f"{_OPEN_IN_CONVERSATION.format(':')} ORDER BY seq LIMIT 1", **values_of(delivery))


def open_deliveries(db: Queries, account: str | None = None) -> Sequence[WebhookDelivery]:
    """Every webhook delivery that may still be attempted by itself, of one account or of all, oldest first."""
    mine = "" if account is None else " AND account = :account"
    return DELIVERIES.all(db, f"WHERE {OPEN}{mine} ORDER BY seq", account=account)


def taken_up_is_over(tx: Tx, seq: int) -> None:
    """The attempt has ended for which a start asked; a retry follows."""
    DELIVERIES.update(tx, seq, taken_up=False)


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
    DELIVERIES.update(
        tx,
        seq,
        state=state,
        attempts=attempts,
        retries_used=retries_used,
        first_failed_ms=first_failed_ms,
        next_attempt_ms=next_attempt_ms,
    )


def take_up(tx: Tx, seq: int, *, retries_used: int, put_off_ms: int) -> None:
    """Let the attempt that is due use up no retry, and those that are left come later than at their offsets from the
    first failure."""
    DELIVERIES.update(tx, seq, retries_used=retries_used, put_off_ms=put_off_ms, taken_up=True)


# Attempts ----------------------------------------------------------------------------------------------------------


def claim(tx: Tx, seq: int, now_ms: int, *, ordered: bool) -> WebhookDelivery | None:
    """Put a webhook delivery in flight for a scheduled attempt, and count the attempt; None if none is due (any more),
    or if it is `ordered` and an earlier one of its conversation is open. Returns it as it stands then."""
    turn = f"AND NOT EXISTS (SELECT 1 FROM webhook_deliveries {_OPEN_BEFORE.format('it.')}) " if ordered else ""
    row = tx.execute(
        "UPDATE webhook_deliveries AS it SET state = 'in_flight', attempts = attempts + 1, next_attempt_ms = NULL "
        "WHERE seq = :seq AND state IN ('pending', 'retrying') AND COALESCE(next_attempt_ms, 0) <= :now "
        f"{turn}RETURNING {DELIVERIES.selected()}",
        {"seq": seq, "now": now_ms},
    ).fetchone()
    return DELIVERIES.read(row) if row else None


def count_manual(tx: Tx, seq: int) -> WebhookDelivery | None:
    """Count an attempt beside the schedule, which leaves the rest as it is; None if there is no such webhook delivery.
    Returns it as it stands then."""
    row = tx.execute(
        f"UPDATE webhook_deliveries SET attempts = attempts + 1 WHERE seq = :seq RETURNING {DELIVERIES.selected()}",
        {"seq": seq},
    ).fetchone()
    return DELIVERIES.read(row) if row else None


def begin_attempt(tx: Tx, attempt: Attempt) -> None:
    ATTEMPTS.insert(tx, attempt)


def end_attempt(tx: Tx, seq: int, number: int, outcome: Outcome, warnings: Sequence[str]) -> None:
    ATTEMPTS.update(tx, seq, number, outcome=outcome, warnings=warnings)


def attempts(db: Queries, seq: int) -> Sequence[Attempt]:
    """The attempts of a webhook delivery, the first one first."""
    return ATTEMPTS.all(db, "WHERE delivery_seq = :seq ORDER BY number", seq=seq)


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
    return TextRequest(account=timer.account, **decoded(TextRequest, json.loads(timer.data)))


def _when(timer: Timer) -> tuple[int, int]:
    return timer.due_ms, timer.id


def take_due(tx: Tx, queue: str, now_ms: int, most: int) -> Sequence[Timer]:
    """Remove and return the queue's timers that are due, earliest first, and announce when its next one is."""
    rows = tx.execute(
        "DELETE FROM timers WHERE id IN (SELECT id FROM timers WHERE lane = :lane AND due_ms <= :now "
        f"ORDER BY due_ms, id LIMIT :most) RETURNING {TIMERS.selected()}",
        {"lane": queue, "now": now_ms, "most": most},
    ).fetchall()
    _tell_next(tx, queue)
    return sorted(map(TIMERS.read, rows), key=_when)


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
    found = (
        TIMERS.all(db, "WHERE lane = :lane ORDER BY due_ms, id LIMIT :limit", lane=queue, limit=limit)
        for queue, _ in queues(db)
    )
    return sorted(chain.from_iterable(found), key=_when)[:limit]


def planned(db: Queries, account: str, *, limit: int) -> Sequence[Timer]:
    """What the account's handsets do later, earliest first."""
    where = "WHERE lane = :lane AND account = :account ORDER BY due_ms, id LIMIT :limit"
    return TIMERS.all(db, where, lane=NETWORK_QUEUE, account=account, limit=limit)


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
    return TIMERS.has(db, "WHERE subject = :subject AND kind = :kind", subject=subject, kind=kind)
