"""The journal: every event, numbered. Numbers of messages, requests and webhook deliveries are given out here.

`record` is the only way to write an entry; it also hands the entry over to be published after the commit.
"""

from collections.abc import Sequence

from sandbox.events import Entry, News
from sandbox.store.database import Queries, Tx

_COLUMNS = "seq, at_ms, kind, account, subject, msisdn"


def record(
    tx: Tx, kind: News, *, at_ms: int, account: str | None, subject: int | None = None, msisdn: str | None = None
) -> int:
    """Write an entry and return its number. Without a `subject` the entry announces a new thing, its own number."""
    row = tx.execute(
        "INSERT INTO journal (at_ms, kind, account, subject, msisdn) VALUES (:at, :kind, :account, :subject, :msisdn) "
        "RETURNING seq",
        {"at": at_ms, "kind": kind, "account": account, "subject": subject or 0, "msisdn": msisdn},
    ).fetchone()
    seq: int = row[0]
    tx.news.append(Entry(seq, at_ms, kind, account, subject or seq, msisdn))
    return seq


def last_seq(db: Queries) -> int:
    """The number of the newest entry, 0 if there is none."""
    seq: int = db.execute("SELECT COALESCE(MAX(seq), 0) FROM journal").fetchone()[0]
    return seq


def after(db: Queries, seq: int, *, account: str | None = None, limit: int = 500) -> Sequence[Entry]:
    """Entries with a number above `seq`, oldest first; of one account (and of no account) if one is given."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE seq > :seq "
        + ("AND (account = :account OR account IS NULL) " if account is not None else "")
        + "ORDER BY seq LIMIT :limit",
        {"seq": seq, "account": account, "limit": limit},
    )
    return [Entry(seq, at, News(kind), owner, subject or seq, msisdn) for seq, at, kind, owner, subject, msisdn in rows]
