"""What is no longer kept: everything of an account that is reset, and the oldest of what is too much or too old.

Retention runs inside the transactions that write messages, so that it costs in proportion to what goes, never to what
stays.
"""

from collections.abc import Mapping

from sandbox.store.database import Dropped, Queries, Tx

_COUNTED = ("messages", "refusals", "events")
_OF_ACCOUNTS = (
    "handsets",
    "conversations",
    "messages",
    "refusals",
    "webhook_deliveries",
    "timers",
    "events",
)


def delete_all(tx: Tx, account: str | None) -> None:
    """Remove everything recorded, of one account or of all. Accounts stay, and what the next `sent_date` of one has to
    be later than, unless with all of them the clock goes back, too."""
    scope: Mapping[str, str | None] = {"account": account}
    mine = "" if account is None else " WHERE account = :account"
    tx.execute("UPDATE kept SET seq = (SELECT seq FROM last_number)")
    tx.execute("DELETE FROM attempts WHERE delivery_seq IN (SELECT seq FROM webhook_deliveries" + mine + ")", scope)
    for table in _OF_ACCOUNTS:
        tx.execute(f"DELETE FROM {table}{mine}", scope)
    tx.due.append(Dropped(account=account))
    if account is None:
        tx.execute("DELETE FROM sent_dates")
    for table in _COUNTED:
        tx.execute(f"UPDATE kept SET {table} = (SELECT COUNT(*) FROM {table})")


AT_ONCE = 2000
"""Messages that are removed in one commit, so that none takes long."""


def trim(tx: Tx, *, keep: int, oldest_ms: int, most: int = AT_ONCE) -> int:
    """Remove what is beyond the newest `keep` messages or older than `oldest_ms`; never one with work pending.

    At most `most` messages at a time, so that no commit takes long. Returns how many went.
    """
    last = tx.execute("SELECT seq FROM last_number").fetchone()[0]
    there = {table: _count(tx, table) for table in _COUNTED}
    cutoff = _cutoff(tx, "messages", there["messages"] - keep, oldest_ms)
    gone = tx.execute(
        "DELETE FROM messages WHERE seq IN (SELECT m.seq FROM messages m WHERE m.seq <= :cutoff "
        "AND m.state <> 'accepted' AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.message_seq = m.seq "
        "AND d.state IN ('pending', 'in_flight', 'retrying')) ORDER BY m.seq LIMIT :most) "
        "RETURNING account",
        {"cutoff": cutoff, "most": most},
    ).fetchall()
    if gone:
        orphaned = "message_seq <= :cutoff AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.seq = message_seq)"
        tx.execute(
            f"DELETE FROM attempts WHERE delivery_seq IN (SELECT seq FROM webhook_deliveries WHERE {orphaned})",
            {"cutoff": cutoff},
        )
        tx.execute(f"DELETE FROM webhook_deliveries WHERE {orphaned}", {"cutoff": cutoff})
        for account in set(gone):
            tx.execute(
                "DELETE FROM conversations WHERE account = ? AND last_seq <= ? "
                "AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.seq = last_seq)",
                (*account, cutoff),
            )
    there["messages"] -= len(gone)
    # Refused calls and events go by the same count and age, each on its own. A message with all its retries has more
    # than 40 events: fewer at a time, and they would grow without end.
    for table, times, at_once in (("refusals", 1, most), ("events", 4, most * 16)):
        there[table] -= tx.execute(
            f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM {table} WHERE seq <= :cutoff ORDER BY seq LIMIT :most)",
            {"cutoff": _cutoff(tx, table, there[table] - keep * times, oldest_ms), "most": at_once},
        ).rowcount
    tx.execute(
        "UPDATE kept SET seq = :last, messages = :messages, refusals = :refusals, events = :events",
        {"last": last, **there},
    )
    return len(gone)


def oldest_ms(db: Queries) -> int | None:
    """The moment of the oldest entry that is kept, None if there is none."""
    firsts = " UNION ALL ".join(f"SELECT * FROM (SELECT at_ms FROM {table} ORDER BY seq LIMIT 1)" for table in _COUNTED)
    oldest: int | None = db.execute(f"SELECT MIN(at_ms) FROM ({firsts})").fetchone()[0]
    return oldest


def _count(db: Queries, table: str) -> int:
    """How many rows there are: what the last removal left, and what came since. To count them all would take longer
    with every message that is kept."""
    count: int = db.execute(
        f"SELECT {table} + (SELECT COUNT(*) FROM {table} t WHERE t.seq > kept.seq) FROM kept"
    ).fetchone()[0]
    return count


def _cutoff(db: Queries, table: str, excess: int, oldest_ms: int) -> int:
    """The number up to which rows of `table` are too many, `excess` of them, or too old."""
    too_many = (  # scanned from the old end: a scan from the newest would read every row that stays
        db.execute(f"SELECT seq FROM {table} ORDER BY seq LIMIT 1 OFFSET :before", {"before": excess - 1}).fetchone()
        if excess > 0
        else None
    )
    young = db.execute(
        f"SELECT seq FROM {table} WHERE at_ms >= :oldest ORDER BY seq LIMIT 1",
        {"oldest": oldest_ms},
    ).fetchone()
    if young is None:  # all of them are too old
        young = db.execute(f"SELECT COALESCE(MAX(seq), 0) + 1 FROM {table}").fetchone()
    cutoff: int = max(too_many[0] if too_many else 0, young[0] - 1)
    return cutoff
