"""How messages can be found by handset, and what each way costs the writer: a prototype, on bare SQLite.

Each way writes the same messages, sixteen a commit, into a table like the store's, empty or already filled. Processor
time and bytes are this process's own, so that they say the same on a busy machine; times of commits do not.

    python benchmarks/message_index.py --messages 32000 --filled 0 1000000 --handsets 100000 --rounds 3

- `index`: an index by account, handset and number, as the store has it
- `none`: no way at all; what the others add to this is their price
- `chain`: each message holds the number of the one before it of its handset; the newest is known in memory
- `late`: the index is a table that is written in sorted portions of 512, as the store writes its conversations
- `compact`: a commit writes one row with all of its messages, which become rows, and an index, in portions of 512
"""

import argparse
import pickle
import random
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAYS = ("index", "none", "chain", "late", "compact")
GROUP = 16
PORTION = 512
COLUMNS = (
    "seq INTEGER PRIMARY KEY, at_ms INTEGER, account TEXT, direction TEXT, msisdn TEXT, shortcode TEXT, text TEXT, "
    "session_id TEXT, ref_id TEXT, sent_date TEXT, telco TEXT, encoding TEXT, segments INTEGER, state TEXT, "
    "extra TEXT, warnings TEXT, delivery_seq INTEGER, client TEXT, headers BLOB, body BLOB, answer BLOB, "
    "before_seq INTEGER"
)
WIDTH = COLUMNS.count(",") + 1
INDEX = "CREATE INDEX by_handset ON messages (account, msisdn, seq);"
LATE = (
    "CREATE TABLE by_handset (account TEXT, msisdn TEXT, seq INTEGER, PRIMARY KEY (account, msisdn, seq)) "
    "WITHOUT ROWID;"
)
SCHEMA = f"""
CREATE TABLE messages ({COLUMNS});
CREATE TABLE conversations (account TEXT, msisdn TEXT, shortcode TEXT, session_id TEXT, unread INTEGER,
  last_seq INTEGER, PRIMARY KEY (account, msisdn, shortcode)) WITHOUT ROWID;
CREATE INDEX conversations_by_age ON conversations (account, last_seq, unread);
"""
OF_WAY = {
    "index": INDEX,
    "none": "",
    "chain": "",
    "late": LATE,
    "compact": f"{INDEX} CREATE TABLE groups (seq INTEGER PRIMARY KEY, rows BLOB);",
}
TOUCH = (
    "INSERT INTO conversations VALUES {rows} ON CONFLICT (account, msisdn, shortcode) DO UPDATE SET "
    "unread = unread + 1, last_seq = excluded.last_seq"
)
BODY = (
    b'{"from": "48974", "to": "2348020000000", "message": "When was the last time you went to the cinema?", '
    b'"session_id": "67543uhn3", "sent_date": "2024-01-02T23:50:37.000000Z"}'
)
HEADERS = (
    b"host: 127.0.0.1:2081\nauthorization: Bearer sand\xe2\x80\xa6\ncontent-type: application/json\n"
    b"content-length: 180\naccept: */*\nuser-agent: python-requests/2.32.3"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one message cost, in microseconds and bytes; commits in milliseconds; reading a handset's newest 50."""

    processor_us: float
    written: float
    commit_p50_ms: float
    commit_p99_ms: float
    read_us: float


class Store:
    """A file that is written in one of the ways."""

    def __init__(self, way: str, path: Path, handsets: int) -> None:
        self._way = way
        self._random = random.Random(1)
        self._numbers = [f"23480{number:08d}" for number in self._random.sample(range(10**8), handsets)]
        self._newest: dict[str, int] = {}  # by handset
        self._seq = 0
        self._touched: list[Any] = []
        self._late: list[tuple[str, str, int]] = []
        self._folded: list[Any] = []
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA} {OF_WAY[way]}")

    def fill(self, count: int) -> None:
        """Write so many messages, fast."""
        self.db.execute("PRAGMA synchronous = OFF")
        for _ in range(count // 16_384):
            self.commit(16_384)
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.execute("PRAGMA synchronous = FULL")

    def commit(self, count: int = GROUP) -> None:
        rows = [value for _ in range(count) for value in self._message()]
        self.db.execute("BEGIN IMMEDIATE")
        if self._way == "compact":
            self.db.execute("INSERT INTO groups VALUES (?, ?)", (self._seq, pickle.dumps(rows)))
            self._folded += rows
        else:
            self._insert("INSERT INTO messages VALUES {rows}", WIDTH, rows)
        if len(self._late) >= PORTION:
            self._catch_up()
        self.db.execute("COMMIT")

    def newest(self, number: int) -> Sequence[Any]:
        """The newest 50 messages of a handset."""
        msisdn = self._numbers[number % len(self._numbers)]
        if self._way == "chain":
            return list(self._walk(msisdn))
        found = {
            "index": "SELECT * FROM messages WHERE account = 'default' AND msisdn = ? ORDER BY seq DESC LIMIT 50",
            "late": "SELECT m.* FROM by_handset b JOIN messages m ON m.seq = b.seq "
            "WHERE b.account = 'default' AND b.msisdn = ? ORDER BY b.seq DESC LIMIT 50",
        }
        return self.db.execute(found.get(self._way, found["index"]), (msisdn,)).fetchall()

    def _walk(self, msisdn: str) -> Iterator[Any]:
        seq = self._newest.get(msisdn)
        for _ in range(50):
            if seq is None:
                return
            row = self.db.execute("SELECT * FROM messages WHERE seq = ?", (seq,)).fetchone()
            yield row
            seq = row[-1]

    def _message(self) -> Sequence[Any]:
        self._seq += 1
        msisdn, seq = self._random.choice(self._numbers), self._seq
        before = self._newest.get(msisdn) if self._way == "chain" else None
        self._newest[msisdn] = seq
        self._touched += ("default", msisdn, "48974", "67543uhn3", 1, seq)
        self._late.append(("default", msisdn, seq))
        sms = ("48974", "When was the last time you went to the cinema?", "67543uhn3", None)
        told = ("2024-01-02T23:50:37.000000Z", "mtn", "GSM-7", 1, "arrived", None, None, None)
        call = ("127.0.0.1", HEADERS, BODY, b'{"status_code": 200, "message": "success"}')
        return (seq, 1_704_239_437_000 + seq, "default", "mt", msisdn, *sms, *told, *call, before)

    def _catch_up(self) -> None:
        if self._way == "compact":
            self._insert("INSERT INTO messages VALUES {rows}", WIDTH, self._folded)
            self._folded = []
            self.db.execute("DELETE FROM groups")
        if self._way == "late":
            self._insert(
                "INSERT INTO by_handset VALUES {rows}", 3, [each for row in sorted(self._late) for each in row]
            )
        self._insert(TOUCH, 6, self._touched)
        self._late, self._touched = [], []

    def _insert(self, sql: str, width: int, values: Sequence[Any]) -> None:
        """Many rows in few statements of few sizes, as the store does it."""
        begin, left = 0, len(values) // width
        row = f"({', '.join('?' * width)})"
        while left:
            count = min(1 << (left.bit_length() - 1), 64)
            end = begin + count * width
            self.db.execute(sql.replace("{rows}", ", ".join([row] * count)), values[begin:end])
            begin, left = end, left - count


def measure(way: str, *, filled: int, messages: int, handsets: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(way, Path(folder, "store.db"), handsets)
        store.fill(filled)
        commits = []
        written, used = _written(), time.process_time()
        for _ in range(messages // GROUP):
            begun = time.perf_counter()
            store.commit()
            commits.append((time.perf_counter() - begun) * 1000)
        used, written = time.process_time() - used, _written() - written
        reads, begun = 300, time.process_time()
        if way != "none":
            for number in range(reads):
                store.newest(number)
        read = time.process_time() - begun
        store.db.close()
    commits.sort()
    return Result(
        processor_us=used / messages * 1e6,
        written=written / messages,
        commit_p50_ms=commits[len(commits) // 2],
        commit_p99_ms=commits[len(commits) * 99 // 100],
        read_us=read / reads * 1e6,
    )


def _written() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_oublock * 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=32_000)
    parser.add_argument("--filled", type=int, nargs="+", default=[0, 1_000_000], help="messages in the store before")
    parser.add_argument("--handsets", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print("| filled | way | processor µs | bytes written | commit p50 ms | p99 ms | read 50, µs |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for filled in given.filled:
        found: dict[str, list[Result]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way in WAYS:
                result = measure(way, filled=filled, messages=given.messages, handsets=given.handsets)
                found[way].append(result)
        for way, results in found.items():
            figures = [
                statistics.median(getattr(each, name) for each in results)
                for name in ("processor_us", "written", "commit_p50_ms", "commit_p99_ms", "read_us")
            ]
            cells = " | ".join(f"{figure:,.2f}" if figure < 10 else f"{figure:,.0f}" for figure in figures)
            print(f"| {filled:,} | {way} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
