"""The journal: everything that happened, numbered. Numbers of messages, requests and webhook deliveries come from here.

A message and a refused call are entries by themselves (`announce`); whatever else happens is written down (`record`).
Both hand the entry over to be published after the commit.
"""

from collections.abc import Sequence

from sandbox.model import Event, EventType
from sandbox.store.database import Queries, Tx


def announce(tx: Tx, kind: EventType, *, at_ms: int, account: str | None, msisdn: str | None = None) -> int:
    """The number of a new message or refused call, whose own row is the entry: the caller writes it."""
    seq = tx.number()
    tx.news.append(Event(seq, at_ms, kind, account, seq, msisdn))
    return seq


def record(
    tx: Tx, kind: EventType, *, at_ms: int, account: str | None, subject: int | None = None, msisdn: str | None = None
) -> int:
    """Write an event down and return its number; it is about `subject`, or about what takes its number."""
    seq = tx.number()
    subject = subject or seq
    tx.execute(
        "INSERT INTO events (seq, at_ms, kind, account, subject, msisdn) "
        "VALUES (:seq, :at, :kind, :account, :subject, :msisdn)",
        {"seq": seq, "at": at_ms, "kind": kind, "account": account, "subject": subject, "msisdn": msisdn},
    )
    tx.news.append(Event(seq, at_ms, kind, account, subject, msisdn))
    return seq


def last_seq(db: Queries) -> int:
    """The number of the newest entry, 0 if there was none yet."""
    seq: int = db.execute("SELECT seq FROM last_number").fetchone()[0]
    return seq


def newest_ms(db: Queries) -> int:
    """The moment of the newest entry, 0 if there is none."""
    row = db.execute("SELECT at_ms FROM journal WHERE seq = (SELECT seq FROM last_number)").fetchone()
    return row[0] if row else 0


def was_deleted(db: Queries, account: str, *, after: int) -> bool:
    """Whether the account was reset or removed after the entry of that number."""
    row = db.execute(
        "SELECT 1 FROM events WHERE seq > :after AND kind IN (:reset, :removed) "
        "AND (account = :account OR account IS NULL) LIMIT 1",
        {"after": after, "account": account, "reset": EventType.RESET, "removed": EventType.ACCOUNT_REMOVED},
    ).fetchone()
    return row is not None


_NEAR = 500  # entries, so that no look is a long one


def begun_before(db: Queries, delivery_seq: int, *, at_ms: int, before: int) -> int:
    """How many attempts of a webhook delivery began at that moment and before the entry of that number, as far as the
    entries just before it say."""
    count: int = db.execute(
        "SELECT COUNT(*) FROM events WHERE seq >= :from AND seq < :before AND kind = :kind AND subject = :delivery "
        "AND at_ms = :at",
        {
            "from": before - _NEAR,
            "before": before,
            "kind": EventType.ATTEMPT_BEGUN,
            "delivery": delivery_seq,
            "at": at_ms,
        },
    ).fetchone()[0]
    return count


def after(db: Queries, seq: int, *, account: str | None = None, limit: int = 500) -> Sequence[Event]:
    """Entries with a number above `seq`, oldest first; of one account (and of no account) if one is given."""
    rows = db.execute(
        "SELECT seq, at_ms, kind, account, subject, msisdn FROM journal WHERE seq > :seq "
        + ("AND (account = :account OR account IS NULL) " if account is not None else "")
        + "ORDER BY seq LIMIT :limit",
        {"seq": seq, "account": account, "limit": limit},
    )
    return [Event(seq, at, EventType(kind), owner, subject, msisdn) for seq, at, kind, owner, subject, msisdn in rows]
