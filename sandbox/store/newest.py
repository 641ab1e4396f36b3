"""What the newest rows say: searches that look at so many and no more, points for charts, and counts that stop early.

Reading only. No index knows a text or a state, so whoever asks is told how far was looked, and may go on from there.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sandbox.model import OPEN_STATES, DeliveryState
from sandbox.store.database import Queries
from sandbox.store.outbox import OPEN

LOOKED_AT = 2_000
"""Rows, of each kind, that one search looks at."""

POINTS = 2_000
"""Rows of which a chart is drawn."""

COUNTED = 100  # beyond that, "99+" says enough
_OPEN_COUNTED = 1_000
_FAILED = "state IN ('rejected', 'exhausted', 'cancelled')"  # as the index of the failed has it


class SearchPage(NamedTuple):
    """Numbers of what was found, newest first. `older` is the cursor to go on from, None if everything was looked at;
    `until_ms` the moment of the last row looked at, if there are more and not enough was found."""

    seqs: Sequence[int]
    older: int | None
    until_ms: int | None = None


class CallPoint(NamedTuple):
    at_ms: int
    accepted: bool


class AttemptPoint(NamedTuple):
    """An attempt, as a chart has it. `last` is whether nothing came after it, and the webhook delivery failed."""

    started_ms: int
    outcome: str
    status_code: int | None
    duration_ms: float
    last: bool


class Scan(NamedTuple):
    """A table read from its newest row on: its name, the column of the moment, which rows are looked at, and which of
    them fit."""

    table: str
    moment: str
    candidates: str
    fits: str


# Searches ----------------------------------------------------------------------------------------------------------


def calls(
    db: Queries, *, account: str, search: str = "", verdict: str = "", before: int | None = None, limit: int = 50
) -> SearchPage:
    """Calls that hold `search` in text, numbers or problems, by `verdict`: `accepted`, `refused`, `unowned` (refused,
    of no account) or any."""
    digits = digits_of(search)
    accepted = Scan(
        "messages",
        "at_ms",
        "account || '' = :account AND direction = 'mt'",
        "instr(lower(text), lower(:search)) > 0 OR instr(msisdn, :digits) > 0 OR shortcode = :digits",
    )
    holds = (
        "(instr(lower(CAST(body AS TEXT)), lower(:search)) > 0 OR instr(lower(problems), lower(:search)) > 0 "
        "OR (:digits <> '-' AND instr(CAST(body AS TEXT), :digits) > 0))"
    )
    if verdict == "unowned":  # few, or many: no index says, so that all are looked at that might be
        refused = Scan("refusals", "at_ms", "1 = 1", f"account IS NULL AND {holds}")
    else:
        refused = Scan("refusals", "at_ms", "(account = :account OR account IS NULL)", holds)
    scans = [*([accepted] if verdict in ("", "accepted") else []), *([refused] if verdict != "accepted" else [])]
    return _scan(db, scans, {"account": account, "search": search, "digits": digits}, before, limit)


def deliveries(
    db: Queries, *, account: str, search: str = "", state: str = "", before: int | None = None, limit: int = 50
) -> SearchPage:
    """Webhook deliveries whose message holds `search` in its text or number, in `state` or in any."""
    if state and not search and (known := _by_state(db, account, state, before, limit)) is not None:
        return known
    wanted = [f"state = '{DeliveryState(state)}'"] if state else []
    if search:
        wanted.append(
            "(instr(msisdn, :digits) > 0 OR shortcode = :digits OR EXISTS (SELECT 1 FROM messages m "
            "WHERE m.seq = message_seq AND instr(lower(m.text), lower(:search)) > 0))"
        )
    scan = Scan("webhook_deliveries", "created_ms", "account || '' = :account", " AND ".join(wanted) or "1 = 1")
    return _scan(db, [scan], {"account": account, "search": search, "digits": digits_of(search)}, before, limit)


def digits_of(search: str) -> str:
    """A number as it is kept, however it was typed; `-`, which no number holds, if it is none."""
    digits = "".join(search.split()).lstrip("+")
    return digits if digits.isdecimal() and digits.isascii() else "-"


def _by_state(db: Queries, account: str, state: str, before: int | None, limit: int) -> SearchPage | None:
    """By an index, which there is for what failed, and for what is open if that is not very much; else None."""
    indexed = _FAILED
    if state == DeliveryState.DELIVERED:
        return None
    if state in OPEN_STATES:
        indexed = OPEN
        beyond = f"SELECT 1 FROM webhook_deliveries WHERE account = :account AND {OPEN} LIMIT 1 OFFSET :most"
        if db.execute(beyond, {"account": account, "most": LOOKED_AT}).fetchone() is not None:
            return None
    older = "" if before is None else "AND seq < :before "
    rows = db.execute(
        f"SELECT seq FROM webhook_deliveries WHERE account = :account AND state = '{DeliveryState(state)}' "
        f"AND {indexed} {older}ORDER BY seq DESC LIMIT :limit",
        {"account": account, "before": before, "limit": limit},
    ).fetchall()
    return SearchPage([row[0] for row in rows], rows[-1][0] if len(rows) == limit else None)


def _scan(
    db: Queries, scans: Sequence[Scan], values: Mapping[str, object], before: int | None, limit: int
) -> SearchPage:
    seqs: list[int] = []
    edge_seq, edge_ms = 0, None  # the last row looked at, and its moment, if there are more
    given = {**values, "before": before, "limit": limit, "skipped": LOOKED_AT - 1}
    older = "" if before is None else "AND seq < :before "
    for table, moment, candidates, fits in scans:
        begin = f"FROM {table} WHERE {candidates} {older}"
        edge = db.execute(f"SELECT seq, {moment} {begin} ORDER BY seq DESC LIMIT 1 OFFSET :skipped", given).fetchone()
        if edge is not None and edge[0] > edge_seq:
            edge_seq, edge_ms = edge
        rows = db.execute(
            f"SELECT seq {begin} AND seq >= :edge AND ({fits}) ORDER BY seq DESC LIMIT :limit",
            {**given, "edge": 0 if edge is None else edge[0]},
        )
        seqs += [row[0] for row in rows]
    best = [seq for seq in sorted(seqs, reverse=True) if seq >= edge_seq][:limit]
    if len(best) == limit:
        return SearchPage(best, best[-1])
    return SearchPage(best, edge_seq or None, edge_ms)


# Counts and points -------------------------------------------------------------------------------------------------


def states(db: Queries, account: str) -> Mapping[str, int]:
    """How many webhook deliveries there are in each state, at most COUNTED, which means as many or more."""
    counts = dict.fromkeys((str(each) for each in DeliveryState), 0)
    rows = db.execute(
        "SELECT state, COUNT(*) FROM (SELECT state FROM webhook_deliveries "
        f"WHERE account = :account AND {OPEN} LIMIT :most) open GROUP BY state",
        {"account": account, "most": _OPEN_COUNTED},
    )
    counts.update({state: min(count, COUNTED) for state, count in rows})
    for state in (DeliveryState.REJECTED, DeliveryState.EXHAUSTED, DeliveryState.CANCELLED):
        row = db.execute(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM webhook_deliveries WHERE account = :account "
            f"AND state = '{state}' AND {_FAILED} LIMIT :most) failed",
            {"account": account, "most": COUNTED},
        ).fetchone()
        counts[state] = row[0]
    return counts


def call_points(db: Queries, account: str) -> Sequence[CallPoint]:
    """The newest calls, at most POINTS, newest first: the account's, and those of no account."""
    rows = db.execute(
        # with `seq` among them, SQLite merges what is in order already; without, it would sort every call there is
        "SELECT seq, at_ms, status_code FROM requests WHERE account = :account OR account IS NULL "
        "ORDER BY seq DESC LIMIT :most",
        {"account": account, "most": POINTS},
    )
    return [CallPoint(at_ms, status_code == 200) for _, at_ms, status_code in rows]


def attempt_points(db: Queries, account: str) -> Sequence[AttemptPoint]:
    """The newest attempts that have an outcome, at most POINTS, newest first."""
    rows = db.execute(
        # rowid: attempts have no number of their own, but they are in the table in the order in which they began
        "SELECT a.started_ms, a.outcome, a.status_code, a.duration_ms, "
        "a.number = d.attempts AND d.state IN ('rejected', 'exhausted') "
        "FROM attempts a JOIN webhook_deliveries d ON d.seq = a.delivery_seq "
        "WHERE d.account || '' = :account AND a.outcome IS NOT NULL ORDER BY a.rowid DESC LIMIT :most",
        {"account": account, "most": POINTS},
    )
    return [AttemptPoint(started, outcome, code, took, bool(last)) for started, outcome, code, took, last in rows]
