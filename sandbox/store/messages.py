"""Messages, the requests they came in, conversations and handsets: all SQL about them.

Functions run inside `database.write` (they take a Tx) or `database.read` (they take Queries). Lists are newest first
and go on from a cursor, which is the number of the last thing seen.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sandbox.model import (
    Conversation,
    Direction,
    Encoding,
    Handset,
    HandsetState,
    Message,
    MessageState,
    Msisdn,
    Problem,
    RecordedRequest,
    Shortcode,
)
from sandbox.store.database import MOST_FOLLOWING, Insert, Queries, Tx
from sandbox.wire.numbers import telco_of
from sandbox.wire.requests import SendSms
from sandbox.wire.text import Measure

# A routed MO message has the state of its latest webhook delivery.
_MESSAGE = """
SELECT m.seq, m.account, m.direction, m.msisdn, m.shortcode, m.text, m.session_id, m.ref_id, m.sent_date, m.at_ms,
       m.telco, m.encoding, m.segments, COALESCE(d.state, m.state), m.extra, m.warnings, m.delivery_seq
  FROM messages m LEFT JOIN webhook_deliveries d ON d.seq = m.delivery_seq
"""
# Where an account's newest rows are wanted, the index by handset is of no use: it would sort all that the account has.
# Said like this, rows are walked from the newest one on, and only as many as are wanted.
_OF_ACCOUNT = "account || '' = :account"
UNREAD = 1_000
"""Conversations, the newest, in which unread messages are counted."""
SET_UP = 1_000
"""Handsets, those that were set up last, among which those without a conversation are looked for."""

_REQUEST = """
SELECT seq, account, at_ms, method, path, client, headers, body, status_code, answer, problems, warnings FROM requests
"""


def _to_message(row: Sequence[Any]) -> Message:
    return Message(
        seq=row[0],
        account=row[1],
        direction=Direction(row[2]),
        msisdn=Msisdn(row[3]),
        shortcode=Shortcode(row[4]),
        text=row[5],
        session_id=row[6],
        ref_id=row[7],
        sent_date=row[8],
        at_ms=row[9],
        telco=row[10],
        encoding=Encoding(row[11]),
        segments=row[12],
        state=row[13],
        extra=json.loads(row[14]) if row[14] else {},
        warnings=tuple(json.loads(row[15])) if row[15] else (),
        delivery_seq=row[16],
    )


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
    tx.execute(
        "INSERT INTO messages (seq, at_ms, account, direction, msisdn, shortcode, text, session_id, ref_id, sent_date, "
        "telco, encoding, segments, state, delivery_seq) VALUES (:seq, :at, :account, 'mo', :msisdn, :shortcode, "
        ":text, :session, :ref, :sent, :telco, :encoding, :segments, :state, :delivery)",
        {
            "seq": message.seq,
            "at": message.at_ms,
            "account": message.account,
            "msisdn": message.msisdn,
            "shortcode": message.shortcode,
            "text": message.text,
            "session": message.session_id,
            "ref": message.ref_id,
            "sent": message.sent_date,
            "telco": message.telco,
            "encoding": message.encoding,
            "segments": message.segments,
            "state": message.state,
            "delivery": message.delivery_seq,
        },
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
    row = db.execute(_MESSAGE + "WHERE m.seq = :seq", {"seq": seq}).fetchone()
    return _to_message(row) if row else None


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
    where = [f"m.{_OF_ACCOUNT}"] if msisdn is None else ["m.account = :account", "m.msisdn = :msisdn"]
    if shortcode is not None:
        where.append("m.shortcode = :shortcode")
    if session_id is not None:
        where.append("m.session_id = :session")
    if direction is not None:
        where.append("m.direction = :direction")
    if state is not None:
        where.append("COALESCE(d.state, m.state) = :state")
    if to is not None:
        where.append("CASE m.direction WHEN 'mt' THEN m.msisdn ELSE m.shortcode END = :to")
    if from_ is not None:
        where.append("CASE m.direction WHEN 'mt' THEN m.shortcode ELSE m.msisdn END = :from")
    if text is not None:
        where.append("m.text GLOB :text")
    if after is not None:
        where.append("m.seq > :after")
    if before is not None:
        where.append("m.seq < :before")
    rows = db.execute(
        f"{_MESSAGE} WHERE {' AND '.join(where)} ORDER BY m.seq {'DESC' if newest_first else ''} LIMIT :limit",
        {
            "account": account,
            "msisdn": msisdn,
            "shortcode": shortcode,
            "session": session_id,
            "direction": direction,
            "state": state,
            "to": to,
            "from": from_,
            "text": text,
            "after": after,
            "before": before,
            "limit": limit,
        },
    )
    return [_to_message(row) for row in rows]


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
    tx.execute(
        "UPDATE messages SET delivery_seq = :delivery, state = :routed WHERE seq = :seq",
        {"delivery": delivery_seq, "routed": MessageState.ROUTED, "seq": message_seq},
    )


def waiting(db: Queries, account: str, msisdn: str) -> Sequence[int]:
    """Numbers of the MT messages that wait for the handset to be on, oldest first."""
    rows = db.execute(
        "SELECT seq FROM messages WHERE account = :account AND msisdn = :msisdn AND state = 'accepted' ORDER BY seq",
        {"account": account, "msisdn": msisdn},
    )
    return [row[0] for row in rows]


def set_arrived(tx: Tx, seq: int) -> None:
    tx.execute("UPDATE messages SET state = :state WHERE seq = :seq", {"state": MessageState.ARRIVED, "seq": seq})


# Requests ----------------------------------------------------------------------------------------------------------


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are kept: one "name: value" a line. Neither may hold a line break on the wire."""
    return b"\n".join([name + b": " + value for name, value in headers])


def _to_headers(lines: bytes) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition(": ") for line in lines.decode("utf-8", "backslashreplace").split("\n") if line)
    return tuple((name, value) for name, _, value in pairs)


def insert_refusal(tx: Tx, refused: RecordedRequest, headers: bytes) -> None:
    """Write a refused call down; `headers` as `header_lines` makes them."""
    problems = [[each.field, each.code, each.message, each.hint] for each in refused.problems]
    tx.execute(
        "INSERT INTO refusals (seq, at_ms, account, method, path, client, headers, body, status_code, answer, "
        "problems) VALUES (:seq, :at, :account, :method, :path, :client, :headers, :body, :status, :answer, :problems)",
        {
            "seq": refused.seq,
            "at": refused.at_ms,
            "account": refused.account,
            "method": refused.method,
            "path": refused.path,
            "client": refused.client,
            "headers": headers,
            "body": refused.body,
            "status": refused.status_code,
            "answer": refused.answer,
            "problems": json.dumps(problems),
        },
    )


def _to_request(row: Sequence[Any]) -> RecordedRequest:
    return RecordedRequest(
        seq=row[0],
        account=row[1],
        at_ms=row[2],
        method=row[3],
        path=row[4],
        client=row[5],
        headers=_to_headers(row[6]),
        body=row[7],
        status_code=row[8],
        answer=row[9],
        problems=tuple(
            Problem(field=field, code=code, message=message, hint=hint)
            for field, code, message, hint in json.loads(row[10] or "[]")
        ),
        warnings=tuple(json.loads(row[11] or "[]")),
    )


def get_request(db: Queries, seq: int) -> RecordedRequest | None:
    row = db.execute(_REQUEST + "WHERE seq = :seq", {"seq": seq}).fetchone()
    return _to_request(row) if row else None


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
    where = ["(account = :account OR account IS NULL)" if unowned else _OF_ACCOUNT]
    if account is None:  # those of nobody, of which none was accepted: no message has to be looked at
        where, verdict = ["account IS NULL"], "refused" if verdict is None else verdict
    if verdict == "refused":
        where.append("status_code <> 200")
    elif verdict == "accepted":
        where.append("status_code = 200")
    if after is not None:
        where.append("seq > :after")
    if before is not None:
        where.append("seq < :before")
    rows = db.execute(
        f"{_REQUEST} WHERE {' AND '.join(where)} ORDER BY seq {'DESC' if newest_first else ''} LIMIT :limit",
        {"account": account, "after": after, "before": before, "limit": limit},
    )
    return [_to_request(row) for row in rows]


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


_CONVERSATION = """
SELECT c.account, c.msisdn, c.shortcode, COALESCE(c.session_id, m.session_id), c.unread, c.last_seq, m.at_ms, m.text,
       m.direction, COALESCE(d.state, m.state), COALESCE(h.label, ''), COALESCE(h.telco, m.telco),
       COALESCE(h.state, 'on')
  FROM conversations c
  JOIN messages m ON m.seq = c.last_seq
  LEFT JOIN webhook_deliveries d ON d.seq = m.delivery_seq
  LEFT JOIN handsets h ON h.account = c.account AND h.msisdn = c.msisdn
"""


def _to_conversation(row: Sequence[Any]) -> Conversation:
    return Conversation(
        account=row[0],
        msisdn=Msisdn(row[1]),
        shortcode=Shortcode(row[2]),
        session_id=row[3],
        unread=row[4],
        last_seq=row[5],
        last_at_ms=row[6],
        last_text=row[7],
        last_direction=Direction(row[8]),
        last_state=row[9],
        label=row[10],
        telco=row[11],
        handset_state=HandsetState(row[12]),
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
    rows = db.execute(  # which ones, the index by age knows alone; only those are read and joined
        f"{_CONVERSATION} WHERE c.account = :account AND c.last_seq IN (SELECT last_seq FROM conversations "
        f"WHERE {' AND '.join(where)} ORDER BY last_seq DESC LIMIT :limit) ORDER BY c.last_seq DESC",
        {"account": account, "before": before, "search": search, "limit": limit},
    )
    return [_to_conversation(row) for row in rows]


def conversation(db: Queries, *, account: str, msisdn: str, shortcode: str) -> Conversation | None:
    row = db.execute(
        _CONVERSATION + "WHERE c.account = :account AND c.msisdn = :msisdn AND c.shortcode = :shortcode",
        {"account": account, "msisdn": msisdn, "shortcode": shortcode},
    ).fetchone()
    return _to_conversation(row) if row else None


def unread(db: Queries, account: str) -> int:
    """MT messages that nobody has looked at, in the account's newest UNREAD conversations: every page asks for it."""
    count: int = db.execute(
        "SELECT COALESCE(SUM(unread), 0) FROM (SELECT unread FROM conversations WHERE account = :account "
        "ORDER BY last_seq DESC LIMIT :most) newest",
        {"account": account, "most": UNREAD},
    ).fetchone()[0]
    return count


# Handsets ----------------------------------------------------------------------------------------------------------


def handset(db: Queries, account: str, msisdn: str) -> tuple[str, str, HandsetState] | None:
    """(label, telco, state) that somebody gave the handset; None for one that nobody has touched."""
    row = db.execute(
        "SELECT label, telco, state FROM handsets WHERE account = :account AND msisdn = :msisdn",
        {"account": account, "msisdn": msisdn},
    ).fetchone()
    return (row[0], row[1], HandsetState(row[2])) if row else None


def handset_of(db: Queries, account: str, msisdn: Msisdn) -> Handset:
    """The handset as it stands: what somebody set, else switched on and with the telco of its number range."""
    known = handset(db, account, msisdn)
    if known is None:
        return Handset(account=account, msisdn=msisdn, telco=telco_of(msisdn))
    label, telco, state = known
    return Handset(account=account, msisdn=msisdn, label=label, telco=telco, state=state)


def put_handset(tx: Tx, handset: Handset) -> None:
    tx.execute(
        "INSERT INTO handsets (account, msisdn, label, telco, state) "
        "VALUES (:account, :msisdn, :label, :telco, :state) "
        "ON CONFLICT (account, msisdn) DO UPDATE SET label = excluded.label, telco = excluded.telco, "
        "state = excluded.state",
        {
            "account": handset.account,
            "msisdn": handset.msisdn,
            "label": handset.label,
            "telco": handset.telco,
            "state": handset.state,
        },
    )


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
        "SELECT h.account, h.msisdn, h.label, h.telco, h.state FROM "
        f"(SELECT * FROM handsets WHERE {_OF_ACCOUNT} ORDER BY rowid DESC LIMIT :newest) h "
        "WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.account = h.account AND c.msisdn = h.msisdn) "
        "ORDER BY h.msisdn LIMIT :limit",
        {"account": account, "newest": SET_UP, "limit": limit},
    )
    return [
        Handset(account=row[0], msisdn=Msisdn(row[1]), label=row[2], telco=row[3], state=HandsetState(row[4]))
        for row in rows
    ]
