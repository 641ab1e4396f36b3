"""What the lint looks at: the newest messages of an account, and the attempts of their webhooks with their places in
the journal. Reading only; what is suspicious about them is decided in rules/findings.py.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.model import EventType, Message, Msisdn, Shortcode
from sandbox.rules.findings import AttemptRecord, Finding, Paused
from sandbox.rules.findings import findings as lint
from sandbox.store import messages, outbox
from sandbox.store.database import Queries

LOOKED_AT = 2_000  # newest messages
OWN_BEFORE = 300  # messages of a conversation, before those, whose sessions are known
ANY_BEFORE = 4  # messages of the account, before those, for each of them, whose sessions are known as somebody else's
ATTEMPTS = 4_000  # newest attempts of their webhooks
MOST = 200  # findings


def findings(
    db: Queries,
    account: str,
    *,
    deadline_ms: int = 10_000,
    segments: int = 1,
    most: int = MOST,
    looked_at: int = LOOKED_AT,
) -> Sequence[Finding]:
    """Findings about the account's newest messages, `looked_at` of them, newest first, at most `most`; the others as in
    `lint.findings`."""
    newest = messages.page(db, account=account, limit=looked_at)
    if not newest:
        return ()
    first = newest[-1].seq
    earlier = _sessions_before(db, account, newest) if len(newest) == looked_at else ()
    found = lint(
        newest[::-1],
        _tried(db, account, first),
        earlier=earlier,
        paused=_paused(db, account, first),
        deadline_ms=deadline_ms,
        segments=segments,
    )
    return found[:most]


def _paused(db: Queries, account: str, first: int) -> Sequence[Paused]:
    rows = db.execute(
        "SELECT seq, at_ms, msisdn FROM events WHERE seq > :first AND kind = :kind AND account = :account ORDER BY seq",
        {"first": first, "kind": EventType.RUN_PAUSED, "account": account},
    )
    return [Paused(seq, at_ms, Msisdn(msisdn)) for seq, at_ms, msisdn in rows]


def _sessions_before(db: Queries, account: str, newest: Sequence[Message]) -> Sequence[tuple[Msisdn, Shortcode, str]]:
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


def _tried(db: Queries, account: str, first: int) -> Sequence[AttemptRecord]:
    """The attempts of the account's messages from number `first` on. URL and payload are left out: nobody looks."""
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
