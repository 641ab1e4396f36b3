"""SQL of the record that is searched for findings: the attempts of webhooks with their places in the journal, sessions,
and runs that were paused. Reading only.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.model import EventType, Message, Msisdn, Shortcode
from sandbox.rules.findings import AttemptRecord, Paused
from sandbox.store import outbox
from sandbox.store.database import Queries

OWN_BEFORE = 300  # messages of a conversation, before those looked at, whose sessions are known
ANY_BEFORE = 4  # messages of the account, before those, for each of them, whose sessions are known as somebody else's
ATTEMPTS = 4_000  # newest attempts of their webhooks


def paused(db: Queries, account: str, first: int) -> Sequence[Paused]:
    """The account's runs that were paused after number `first`, in order."""
    rows = db.execute(
        "SELECT seq, at_ms, msisdn FROM events WHERE seq > :first AND kind = :kind AND account = :account ORDER BY seq",
        {"first": first, "kind": EventType.RUN_PAUSED, "account": account},
    )
    return [Paused(seq, at_ms, Msisdn(msisdn)) for seq, at_ms, msisdn in rows]


def sessions_before(db: Queries, account: str, newest: Sequence[Message]) -> Sequence[tuple[Msisdn, Shortcode, str]]:
    """Sessions from before the messages looked at: of their conversations, and of whoever texted shortly before. How
    many are read depends on how many messages are looked at, not on how many there are."""
    given = {"account": account, "seq": newest[-1].seq, "own": OWN_BEFORE, "any": len(newest) * ANY_BEFORE}
    found = {
        (msisdn, shortcode, session)
        for msisdn in {each.msisdn for each in newest}
        for shortcode, session in db.execute(
            "SELECT DISTINCT shortcode, session_id FROM (SELECT shortcode, session_id FROM messages "
            "WHERE account = :account AND msisdn = :msisdn AND seq < :seq ORDER BY seq DESC LIMIT :own) own",
            {**given, "msisdn": msisdn},
        )
    }
    found.update(
        db.execute(
            "SELECT DISTINCT msisdn, shortcode, session_id FROM (SELECT msisdn, shortcode, session_id FROM messages "
            "WHERE account || '' = :account AND seq < :seq ORDER BY seq DESC LIMIT :any) any_",  # as in messages.page
            given,
        )
    )
    return [(Msisdn(msisdn), Shortcode(shortcode), session) for msisdn, shortcode, session in sorted(found)]


def attempts(db: Queries, account: str, first: int) -> Sequence[AttemptRecord]:
    """The attempts of the account's messages from number `first` on. URL, payload and words are left out."""
    begun = _begun(db, account, first)
    delivery, attempt = outbox.DELIVERIES.selected("d", url="''", body="x''"), outbox.ATTEMPTS.selected("a")
    rows = db.execute(
        f"SELECT {delivery}, {attempt} FROM webhook_deliveries d JOIN attempts a ON a.delivery_seq = d.seq "
        # a webhook delivery never has a lower number than its message
        "WHERE d.seq >= :first AND d.message_seq >= :first AND d.account = :account "
        # what an application makes of a payload that somebody wrote says nothing about it
        "AND d.message_seq NOT IN (SELECT message_seq FROM webhook_deliveries WHERE edited = 1) "
        "ORDER BY d.seq DESC, a.number DESC LIMIT :most",
        {"first": first, "account": account, "most": ATTEMPTS},
    )
    return [_to_tried(row, begun) for row in rows]


def _begun(db: Queries, account: str, first: int) -> Mapping[int, Sequence[int]]:
    """By webhook delivery, the numbers of the journal's entries about attempts begun, in order."""
    begun: dict[int, list[int]] = defaultdict(list)
    for seq, subject in db.execute(
        "SELECT seq, subject FROM events WHERE seq > :first AND kind = :kind AND account = :account ORDER BY seq",
        {"first": first, "kind": EventType.ATTEMPT_BEGUN, "account": account},
    ):
        begun[subject].append(seq)
    return begun


def _to_tried(row: Sequence[Any], begun: Mapping[int, Sequence[int]]) -> AttemptRecord:
    width = len(outbox.DELIVERIES.columns)
    delivery, attempt = outbox.DELIVERIES.read(row[:width]), outbox.ATTEMPTS.read(row[width:])
    # Counted from the newest: the journal forgets the oldest first, and of what was imported it never knew any.
    entries = begun.get(delivery.seq, ())
    place = len(entries) - 1 - (delivery.attempts - attempt.number)
    return AttemptRecord(delivery=delivery, attempt=attempt, begun_seq=entries[place] if place >= 0 else None)
