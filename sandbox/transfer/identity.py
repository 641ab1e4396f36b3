"""When what a file holds is what an account has already: by what it says, because every import gives numbers anew.

A message is told by its moment, its numbers, its text and sessions, and an MT by the bytes of its call and answer as
well; a refused call by its moment and the same bytes. Rows are found by a hash, and compared in full before they are
taken for the same. Nothing is kept for it in the database, so that whoever records a message pays nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sandbox.model import Message, RecordedRequest
from sandbox.store import journal
from sandbox.store.database import Queries

Identity = tuple[Any, ...]
"""What tells a message or a refused call from all others; the second value is its moment, `at_ms`."""

SPAN = 5_000  # numbers that are looked through at once, so that no read is a long one

_MESSAGE = (
    "SELECT seq, direction, at_ms, msisdn, shortcode, text, session_id, ref_id, sent_date, COALESCE(body, x''), "
    "COALESCE(answer, x'') FROM messages "
)
_REFUSAL = "SELECT seq, 'refused', at_ms, method, path, body, status_code, answer FROM refusals "


def of_message(it: Message, call: RecordedRequest | None) -> Identity:
    """The identity of a message in a file. An MO has no call, so that body and answer are empty."""
    bodies = (b"", b"") if call is None else (call.body, call.answer)
    numbers = (it.msisdn, it.shortcode)
    return it.direction, it.at_ms, *numbers, it.text, it.session_id, it.ref_id, it.sent_date, *bodies


def of_refusal(it: RecordedRequest) -> Identity:
    """The identity of a refused call in a file."""
    return "refused", it.at_ms, it.method, it.path, it.body, it.status_code, it.answer


class Seen(NamedTuple):
    """What a look found: numbers of rows, oldest first, by the hash of their identity; `upto` is the last number that
    it covers, `is_all` whether that was the journal's last."""

    rows: Mapping[int, Sequence[int]]
    upto: int
    is_all: bool


class Known:
    """Where an account has what a file holds, as far as it was looked for: up to the number `upto`.

    It holds nothing that the file does not, however much the account has.
    """

    def __init__(self, wanted: Collection[Identity]) -> None:
        self.upto = 0
        self.first_ms: int = min((each[1] for each in wanted), default=1)
        self.last_ms: int = max((each[1] for each in wanted), default=0)
        self._wanted = frozenset(map(hash, wanted))
        self._rows: dict[int, list[int]] = {}

    def __contains__(self, key: int) -> bool:
        return key in self._wanted

    def rows(self, key: int) -> Sequence[int]:
        """Numbers of the rows whose identity may be the one that has this hash, oldest first."""
        return self._rows.get(key, ())

    def note(self, seen: Seen) -> None:
        """Take over what a look found, once that is committed."""
        for key, numbers in seen.rows.items():
            self._rows.setdefault(key, []).extend(numbers)
        self.upto = seen.upto


def look(db: Queries, account: str, known: Known, span: int | None = SPAN) -> Seen:
    """What the account has of the file, among the next `span` numbers, or among all that follow. Changes nothing."""
    last = journal.last_seq(db)
    upto = last if span is None else min(last, known.upto + span)
    rows: dict[int, list[int]] = {}
    scope = {
        "account": account,
        "after": known.upto,
        "upto": upto,
        "first": known.first_ms,
        "last": known.last_ms,
    }
    # By number, as an export reads them; the moments spare the rest of a large account.
    bounds = "WHERE account || '' = :account AND seq > :after AND seq <= :upto AND at_ms BETWEEN :first AND :last"
    for select in (_MESSAGE, _REFUSAL):
        for seq, *identity in db.execute(f"{select} {bounds} ORDER BY seq", scope):
            if (key := hash(tuple(identity))) in known:
                rows.setdefault(key, []).append(seq)
    return Seen(rows, upto, upto == last)


def is_at(db: Queries, account: str, seq: int, identity: Identity) -> bool:
    """Whether the account has exactly this under that number."""
    select = _REFUSAL if identity[0] == "refused" else _MESSAGE
    row = db.execute(f"{select} WHERE seq = :seq AND account = :account", {"seq": seq, "account": account}).fetchone()
    return row is not None and tuple(row[1:]) == identity
