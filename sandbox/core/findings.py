"""Findings about an account's newest record: read in one go, and judged by rules/findings.py."""

from collections.abc import Sequence

from sandbox.rules.findings import Finding
from sandbox.rules.findings import findings as judge
from sandbox.store import findings as record
from sandbox.store import messages
from sandbox.store.database import Queries

LOOKED_AT = 2_000  # newest messages
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
    `rules.findings.findings`."""
    newest = messages.page(db, account=account, limit=looked_at)
    if not newest:
        return ()
    first = newest[-1].seq
    found = judge(
        newest[::-1],
        record.attempts(db, account, first),
        earlier=record.sessions_before(db, account, newest) if len(newest) == looked_at else (),
        paused=record.paused(db, account, first),
        deadline_ms=deadline_ms,
        segments=segments,
    )
    return found[:most]
