"""Messages, the requests they came in, conversations and handsets: all SQL about them.

Functions run inside `database.write` (they take a Tx) or `database.read` (they take Queries). Lists are newest first
and go on from a cursor, which is the number of the last thing seen.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sandbox.model import (
    Conversation,
    Direction,
    Handset,
    HandsetState,
    Message,
    MessageState,
    Msisdn,
    Problem,
    RecordedRequest,
)
from sandbox.store.database import MOST_FOLLOWING, Insert, Queries, Tx
from sandbox.store.rows import Decoder, Table, to_json, values_of
from sandbox.wire.numbers import telco_of
from sandbox.wire.requests import SendSms
from sandbox.wire.text import Measure

# A routed MO message has the state of its latest webhook delivery.
MESSAGES = Table(
    "messages",
    Message,
    source="messages m LEFT JOIN webhook_deliveries d ON d.seq = m.delivery_seq",
    alias="m",
    expressions={"state": "COALESCE(d.state, m.state)"},
)
# Where an account's newest rows are wanted, the index by handset is of no use: it would sort all that the account has.
# Said like this, rows are scanned from the newest one on, and only as many as are wanted.
_OF_ACCOUNT = "account || '' = :account"
UNREAD = 1_000
"""Conversations, the newest, in which unread messages are counted."""
SET_UP = 1_000
"""Handsets, those that were set up last, among which those without a conversation are looked for."""


class Submission(NamedTuple):
    """The call that an MT message came in, as it is kept with the message; `headers` as `header_lines` makes them."""

    client: str
    headers: bytes
    body: bytes
    answer: bytes


# A handset that somebody set up may have another telco than its range, and may be off: then the message waits.
_INSERT_MT = Insert(
    "INSERT INTO messages (seq, at_ms, account, direction, msisdn, shortcode, text, session_id, ref_id, sent_date, "
    "telco, encoding, segments, state, extra, warnings, client, headers, body, answer) VALUES {rows}",
    "(?, ?, ?, 'mt', ?, ?, ?, ?, ?, ?, "
    "COALESCE((SELECT telco FROM handsets WHERE account = ? AND msisdn = ?), ?), ?, ?, "
    "CASE (SELECT state FROM handsets WHERE account = ? AND msisdn = ?) WHEN 'off' THEN 'accepted' ELSE 'arrived' END, "
    "?, ?, ?, ?, ?, ?)",
)
_TOUCH_MT_AGAIN = (
    "ON CONFLICT (account, msisdn, shortcode) DO UPDATE SET session_id = excluded.session_id, "
    "ref_id = excluded.ref_id, unread = unread + 1, last_seq = excluded.last_seq"
)
_TOUCH_MT = Insert(
    "INSERT INTO conversations (account, msisdn, shortcode, session_id, ref_id, unread, originated, last_seq) "
    f"VALUES {{rows}} {_TOUCH_MT_AGAIN}",
    "(?, ?, ?, ?, ?, 1, 0, ?)",
)


def insert_mt(
    tx: Tx,
    seq: int,
    at_ms: int,
    account: str,
    sms: SendSms,
    telco: str,
    measured: Measure,
    submission: Submission,
) -> None:
    """Write an accepted message down, with the call that it came in, and as the newest of its conversation.

    `telco` is that of the number range. The message has arrived, unless its handset is off. It is unread, and its
    session is the one that a reply carries.
    """
    shortcode, msisdn, text, session_id, sent_date, ref_id, extra, warnings = sms
    tx.insert(
        _INSERT_MT,
        (
            seq,
            at_ms,
            account,
            msisdn,
            shortcode,
            text,
            session_id,
            ref_id,
            sent_date,
            account,
            msisdn,
            telco,
            measured.encoding.value,  # sqlite3 is slow with a str that is more than a str
            measured.segments,
            account,
            msisdn,
            json.dumps(extra) if extra else None,
            json.dumps(warnings) if warnings else None,
            *submission,
        ),
    )
    tx.follow(_TOUCH_MT, (account, msisdn, shortcode, session_id, ref_id, seq))


def catch_up(tx: Tx) -> None:
    """At start: bring the conversations up to the newest messages, whose mark on them may have been lost in a crash."""
    tx.execute(
        "INSERT INTO conversations (account, msisdn, shortcode, session_id, ref_id, unread, originated, last_seq) "
        "SELECT account, msisdn, shortcode, session_id, ref_id, 1, 0, seq FROM "
        "(SELECT * FROM messages ORDER BY seq DESC LIMIT :most) m "
        "WHERE direction = 'mt' AND seq > COALESCE((SELECT last_seq FROM conversations c WHERE c.account = m.account "
        "AND c.msisdn = m.msisdn AND c.shortcode = m.shortcode), 0) ORDER BY seq " + _TOUCH_MT_AGAIN,
        {"most": MOST_FOLLOWING},
    )


def are_more_than(db: Queries, account: str, number: int) -> bool:
    """Whether the account has more messages than so many."""
    beyond = "SELECT 1 FROM messages WHERE account = :account LIMIT 1 OFFSET :number"
    return db.execute(beyond, {"account": account, "number": number}).fetchone() is not None


def insert_mo(tx: Tx, message: Message) -> None:
    """Write a message down that a handset originated."""
    MESSAGES.insert(tx, message)


def insert_imported(tx: Tx, message: Message, submission: Submission) -> None:
    """Write a message down that a file holds, as the newest of its conversation, where nobody has to read it any more.

    An MT that had not arrived waits only for a handset that is off here.
    """
    if message.state == MessageState.ACCEPTED:
        known = handset(tx, message.account, message.msisdn)
        if known is None or known.state is not HandsetState.OFF:
            message = replace(message, state=MessageState.ARRIVED)
    if message.direction is Direction.MO:
        insert_mo(tx, message)
        touch_mo(tx, account=message.account, msisdn=message.msisdn, shortcode=message.shortcode, seq=message.seq)
        return
    MESSAGES.insert(tx, message, **submission._asdict())
    tx.execute(
        "INSERT INTO conversations (account, msisdn, shortcode, session_id, ref_id, unread, originated, last_seq) "
        "VALUES (:account, :msisdn, :shortcode, :session_id, :ref_id, 0, 0, :seq) "
        "ON CONFLICT (account, msisdn, shortcode) DO UPDATE SET session_id = excluded.session_id, "
        "ref_id = excluded.ref_id, last_seq = excluded.last_seq",
        values_of(message),
    )


def next_sent_us(tx: Tx, account: str, now_ms: int) -> int:
    """The `sent_date` of the account's next MO message, in microseconds: now, but later than that of the one before.

    Applications know a repeated webhook by it, so that two texts may never carry the same, on no clock.
    """
    later: int = tx.execute(
        "INSERT INTO sent_dates (account, last_us) VALUES (:account, :now) ON CONFLICT (account) DO UPDATE "
        "SET last_us = MAX(last_us + 1, excluded.last_us) RETURNING last_us",
        {"account": account, "now": now_ms * 1000},
    ).fetchone()[0]
    return later


def get(db: Queries, seq: int) -> Message | None:
    return MESSAGES.get(db, seq)


def page(
    db: Queries,
    *,
    account: str,
    msisdn: str | None = None,
    shortcode: str | None = None,
    session_id: str | None = None,
    direction: str | None = None,
    state: str | None = None,
    to: str | None = None,
    from_: str | None = None,
    text: str | None = None,
    after: int | None = None,
    before: int | None = None,
    limit: int = 50,
    newest_first: bool = True,
) -> Sequence[Message]:
    """Messages of an account that match everything given, newest first unless told otherwise, numbers exactly.

    `text` is a glob (`*`, `?`, `[…]`) over the whole text, by case. `after` and `before` bound the message's number.
    """
    where = f"m.{_OF_ACCOUNT}" if msisdn is None else "m.account = :account"
    if to is not None:
        where += " AND CASE m.direction WHEN 'mt' THEN m.msisdn ELSE m.shortcode END = :to"
    if from_ is not None:
        where += " AND CASE m.direction WHEN 'mt' THEN m.shortcode ELSE m.msisdn END = :from_"
    if text is not None:
        where += " AND m.text GLOB :text"
    return MESSAGES.page(
        db,
        where,
        account=account,
        to=to,
        from_=from_,
        text=text,
        only={
            "msisdn": msisdn,
            "shortcode": shortcode,
            "session_id": session_id,
            "direction": direction,
            "state": state,
        },
        after=after,
        before=before,
        limit=limit,
        newest_first=newest_first,
    )


_SESSIONS_IN = 200  # newest messages, so that a long conversation takes no longer


def sessions(
    db: Queries, *, account: str, msisdn: str, shortcode: str, limit: int = 6
) -> Sequence[tuple[str, int, int]]:
    """(session_id, `at_ms` of its last message, number of its first one) of a conversation's newest sessions."""
    rows = db.execute(
        "SELECT session_id, MAX(at_ms), MIN(seq) FROM (SELECT session_id, at_ms, seq FROM messages "
        "WHERE account = :account AND msisdn = :msisdn AND shortcode = :shortcode ORDER BY seq DESC LIMIT :newest) "
        "GROUP BY session_id ORDER BY MAX(seq) DESC LIMIT :limit",
        {"account": account, "msisdn": msisdn, "shortcode": shortcode, "newest": _SESSIONS_IN, "limit": limit},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def beyond(db: Queries, account: str, *, most: int, before: int | None = None) -> int:
    """The newest message that a search through the newest `most` does not look at; 0 if it looks at all of them."""
    older = "" if before is None else "AND seq < :before "
    row = db.execute(
        f"SELECT seq FROM messages WHERE {_OF_ACCOUNT} {older}ORDER BY seq DESC LIMIT 1 OFFSET :most",
        {"account": account, "before": before, "most": most},
    ).fetchone()
    return row[0] if row else 0


def set_delivery(tx: Tx, message_seq: int, delivery_seq: int) -> None:
    MESSAGES.update(tx, message_seq, delivery_seq=delivery_seq, state=MessageState.ROUTED)


def waiting(db: Queries, account: str, msisdn: str) -> Sequence[int]:
    """Numbers of the MT messages that wait for the handset to be on, oldest first."""
    rows = db.execute(
        "SELECT seq FROM messages WHERE account = :account AND msisdn = :msisdn AND state = 'accepted' ORDER BY seq",
        {"account": account, "msisdn": msisdn},
    )
    return [row[0] for row in rows]


def set_arrived(tx: Tx, seq: int) -> None:
    MESSAGES.update(tx, seq, state=MessageState.ARRIVED)


# Requests ----------------------------------------------------------------------------------------------------------


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are kept: one "name: value" a line. Neither may hold a line break on the wire."""
    return b"\n".join([name + b": " + value for name, value in headers])


def _to_headers(lines: bytes) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition(": ") for line in lines.decode("utf-8", "backslashreplace").split("\n") if line)
    return tuple((name, value) for name, _, value in pairs)


def _to_problems(text: str | None) -> tuple[Problem, ...]:
    names = ("field", "code", "message", "hint")
    return tuple(Problem(**dict(zip(names, each, strict=True))) for each in json.loads(text or "[]"))


_READERS: Mapping[str, Decoder] = {"headers": _to_headers, "problems": _to_problems}
REQUESTS = Table("requests", RecordedRequest, readers=_READERS)
REFUSALS = Table("refusals", RecordedRequest, elsewhere=("warnings",), readers=_READERS)


def insert_refusal(tx: Tx, refused: RecordedRequest, headers: bytes) -> None:
    """Write a refused call down; `headers` as `header_lines` makes them."""
    problems = [[each.field, each.code, each.message, each.hint] for each in refused.problems]
    REFUSALS.insert(tx, refused, headers=headers, problems=to_json(problems))


def get_request(db: Queries, seq: int) -> RecordedRequest | None:
    return REQUESTS.get(db, seq)


def requests_page(
    db: Queries,
    *,
    account: str | None,
    unowned: bool = True,
    verdict: str | None = None,
    after: int | None = None,
    before: int | None = None,
    limit: int = 50,
    newest_first: bool = True,
) -> Sequence[RecordedRequest]:
    """Calls to the gateway, newest first unless told otherwise.

    They are the account's own, and if `unowned` those whose token belongs to nobody.
    """
    where = "(account = :account OR account IS NULL)" if unowned else _OF_ACCOUNT
    if account is None:  # those of nobody, of which none was accepted: no message has to be looked at
        where, verdict = "account IS NULL", "refused" if verdict is None else verdict
    if verdict in ("accepted", "refused"):
        where += " AND status_code = 200" if verdict == "accepted" else " AND status_code <> 200"
    return REQUESTS.page(db, where, account=account, after=after, before=before, limit=limit, newest_first=newest_first)


# Conversations -----------------------------------------------------------------------------------------------------


def touch_mo(tx: Tx, *, account: str, msisdn: str, shortcode: str, seq: int) -> int:
    """An MO message came into the conversation; returns how many came before it."""
    row = tx.execute(
        "INSERT INTO conversations (account, msisdn, shortcode, unread, originated, last_seq) "
        "VALUES (:account, :msisdn, :shortcode, 0, 1, :seq) "
        "ON CONFLICT (account, msisdn, shortcode) DO UPDATE SET originated = originated + 1, "
        "last_seq = excluded.last_seq RETURNING originated",
        {"account": account, "msisdn": msisdn, "shortcode": shortcode, "seq": seq},
    ).fetchone()
    count: int = row[0]
    return count - 1


def last_session(
    db: Queries, *, account: str, msisdn: str, shortcode: str | None
) -> tuple[str, str, str | None] | None:
    """(shortcode, session_id, ref_id) of the handset's last MT, from that shortcode if one is given."""
    row = db.execute(
        "SELECT shortcode, session_id, ref_id FROM conversations WHERE account = :account AND msisdn = :msisdn "
        "AND session_id IS NOT NULL"
        + (" AND shortcode = :shortcode" if shortcode is not None else "")
        + " ORDER BY last_seq DESC LIMIT 1",
        {"account": account, "msisdn": msisdn, "shortcode": shortcode},
    ).fetchone()
    return (row[0], row[1], row[2]) if row else None


def mark_read(tx: Tx, *, account: str, msisdn: str, shortcode: str) -> bool:
    """Nothing in the conversation is unread any more; True if something was."""
    changed = tx.execute(
        "UPDATE conversations SET unread = 0 WHERE account = :account AND msisdn = :msisdn "
        "AND shortcode = :shortcode AND unread > 0",
        {"account": account, "msisdn": msisdn, "shortcode": shortcode},
    )
    return changed.rowcount > 0


_CONVERSATIONS = Table(
    "conversations",
    Conversation,
    key=("account", "msisdn", "shortcode"),
    source="""conversations c JOIN messages m ON m.seq = c.last_seq
  LEFT JOIN webhook_deliveries d ON d.seq = m.delivery_seq
  LEFT JOIN handsets h ON h.account = c.account AND h.msisdn = c.msisdn""",
    alias="c",
    expressions={
        "session_id": "COALESCE(c.session_id, m.session_id)",
        "last_at_ms": "m.at_ms",
        "last_text": "m.text",
        "last_direction": "m.direction",
        "last_state": "COALESCE(d.state, m.state)",
        "label": "COALESCE(h.label, '')",
        "telco": "COALESCE(h.telco, m.telco)",
        "handset_state": "COALESCE(h.state, 'on')",
    },
)


def conversations(
    db: Queries, *, account: str, before: int | None = None, search: str | None = None, limit: int = 50
) -> Sequence[Conversation]:
    """Conversations by their newest message, newest first; `search` looks in numbers and labels."""
    where = ["account = :account"]
    if before is not None:
        where.append("last_seq < :before")
    if search:
        where.append(
            "(instr(msisdn, :search) > 0 OR msisdn IN (SELECT msisdn FROM handsets "
            "WHERE account = :account AND instr(lower(label), lower(:search)) > 0))"
        )
    return _CONVERSATIONS.all(  # which ones, the index by age knows alone; only those are read and joined
        db,
        f"WHERE c.account = :account AND c.last_seq IN (SELECT last_seq FROM conversations "
        f"WHERE {' AND '.join(where)} ORDER BY last_seq DESC LIMIT :limit) ORDER BY c.last_seq DESC",
        account=account,
        before=before,
        search=search,
        limit=limit,
    )


def conversation(db: Queries, *, account: str, msisdn: str, shortcode: str) -> Conversation | None:
    return _CONVERSATIONS.get(db, account, msisdn, shortcode)


def unread(db: Queries, account: str) -> int:
    """MT messages that nobody has looked at, in the account's newest UNREAD conversations: every page asks for it."""
    count: int = db.execute(
        "SELECT COALESCE(SUM(unread), 0) FROM (SELECT unread FROM conversations WHERE account = :account "
        "ORDER BY last_seq DESC LIMIT :most) newest",
        {"account": account, "most": UNREAD},
    ).fetchone()[0]
    return count


# Handsets ----------------------------------------------------------------------------------------------------------


HANDSETS = Table("handsets", Handset, key=("account", "msisdn"))


def handset(db: Queries, account: str, msisdn: str) -> Handset | None:
    """The handset as somebody set it; None for one that nobody has touched."""
    return HANDSETS.get(db, account, msisdn)


def handset_of(db: Queries, account: str, msisdn: Msisdn) -> Handset:
    """The handset as it stands: what somebody set, else switched on and with the telco of its number range."""
    return handset(db, account, msisdn) or Handset(account=account, msisdn=msisdn, telco=telco_of(msisdn))


def put_handset(tx: Tx, handset: Handset) -> None:
    HANDSETS.put(tx, handset)


def handsets(db: Queries, account: str, *, after: str, limit: int) -> Sequence[Handset]:
    """Handsets that somebody set up, by number, from the one after `after`."""
    where = "WHERE account = :account AND msisdn > :after ORDER BY msisdn LIMIT :limit"
    return HANDSETS.all(db, where, account=account, after=after, limit=limit)


def handset_numbers(db: Queries, *, account: str, after: str = "", limit: int = 50) -> Sequence[Msisdn]:
    """Numbers of all handsets that the account knows, in order, from the one after `after`."""
    rows = db.execute(
        "SELECT msisdn FROM handsets WHERE account = :account AND msisdn > :after "
        "UNION SELECT msisdn FROM conversations WHERE account = :account AND msisdn > :after "
        "ORDER BY msisdn LIMIT :limit",
        {"account": account, "after": after, "limit": limit},
    )
    return [Msisdn(row[0]) for row in rows]


def silent_handsets(db: Queries, *, account: str, limit: int = 50) -> Sequence[Handset]:
    """Handsets that somebody set up, of the newest `SET_UP`, and that are part of no conversation yet, by number."""
    rows = db.execute(
        f"SELECT {HANDSETS.selected()} FROM "
        f"(SELECT * FROM handsets WHERE {_OF_ACCOUNT} ORDER BY rowid DESC LIMIT :newest) h "
        "WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.account = h.account AND c.msisdn = h.msisdn) "
        "ORDER BY msisdn LIMIT :limit",
        {"account": account, "newest": SET_UP, "limit": limit},
    )
    return [HANDSETS.read(row) for row in rows]
