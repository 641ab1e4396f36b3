"""Rows that follow from others are written late and together, and nobody who looks can tell."""

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from sandbox.model import EventType, Msisdn, Shortcode
from sandbox.store import journal, messages
from sandbox.store.database import MOST_FOLLOWING, Queries, Tx
from sandbox.wire.requests import SendSms
from sandbox.wire.text import measure
from tests.store.conftest import opened

SMS = SendSms(Shortcode("48974"), Msisdn("2348020000000"), "Hello", "s1", "2024-01-02T23:50:37.000000Z", None, {}, ())


def accept(tx: Tx, msisdn: str = "2348020000000", session: str = "s1") -> int:
    """Write an MT message down as the gateway does: no statement of it needs an answer."""
    seq = journal.announce(tx, EventType.MESSAGE_SUBMITTED, at_ms=1, account="a", msisdn=msisdn)
    sms = SMS._replace(msisdn=Msisdn(msisdn), session_id=session)
    messages.insert_mt(tx, seq, 1, "a", sms, "mtn", measure(sms.text), messages.Submission("", b"", b"", b""))
    return seq


def unread(db: Queries) -> dict[str, int]:
    return dict(db.execute("SELECT msisdn, unread FROM conversations").fetchall())


def leave_behind(path: Path, copy: Path) -> None:
    """What a kill would leave behind."""
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())


def in_the_file(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as beside:
        return unread(beside)


def test_a_commit_leaves_them_to_be_written_later(path: Path) -> None:
    async def play() -> None:
        async with opened(path) as database:
            await database.write(accept)
            assert in_the_file(path) == {}

    asyncio.run(play())


def test_who_reads_sees_them(either: Path | str) -> None:
    async def play() -> None:
        async with opened(either) as database:
            for _ in range(3):
                await database.write(accept)
            assert await database.read(unread) == {"2348020000000": 3}

    asyncio.run(play())


def test_who_runs_a_statement_sees_those_of_earlier_commits_and_its_own(either: Path | str) -> None:
    def look(tx: Tx) -> dict[str, int]:
        accept(tx)
        return unread(tx)

    async def play() -> None:
        async with opened(either) as database:
            assert await database.write(look) == {"2348020000000": 1}
            await database.write(accept)
            assert await database.write(look) == {"2348020000000": 3}
            assert await database.read(unread) == {"2348020000000": 3}

    asyncio.run(play())


def test_a_transaction_that_fails_takes_its_own_along_and_no_others(either: Path | str) -> None:
    def fail(tx: Tx) -> None:
        accept(tx)
        unread(tx)
        accept(tx)
        raise ZeroDivisionError

    async def play() -> None:
        async with opened(either) as database:
            await database.write(accept)
            with pytest.raises(ZeroDivisionError):
                await database.write(fail)
            assert await database.read(unread) == {"2348020000000": 1}

    asyncio.run(play())


def test_no_more_than_so_many_wait(path: Path) -> None:
    def accept_many(tx: Tx) -> None:
        for _ in range(MOST_FOLLOWING):
            accept(tx)

    async def play() -> None:
        async with opened(path) as database:
            await database.write(accept_many)
            assert in_the_file(path) == {}
            await database.write(accept)
            assert in_the_file(path) == {"2348020000000": MOST_FOLLOWING + 1}

    asyncio.run(play())


def test_a_close_writes_them(path: Path) -> None:
    async def play() -> None:
        async with opened(path) as database:
            await database.write(accept)

    asyncio.run(play())
    assert in_the_file(path) == {"2348020000000": 1}


def test_what_a_crash_took_is_made_anew_at_the_next_start(path: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed.db"

    async def play() -> None:
        async with opened(path) as database:
            await database.write(accept)
            await database.read(unread)  # this one is known when it happens
            for session in ("s2", "s3"):
                await database.write(partial(accept, session=session))
            await database.write(partial(accept, msisdn="2348020000001"))
            leave_behind(path, crashed)

    async def look() -> None:
        async with opened(crashed) as database:
            assert await database.read(unread) == {"2348020000000": 1}
            for _ in range(2):  # once more changes nothing
                await database.write(messages.catch_up)
                assert await database.read(unread) == {"2348020000000": 3, "2348020000001": 1}
            last = await database.read(
                partial(messages.last_session, account="a", msisdn="2348020000000", shortcode=None)
            )
            assert last == ("48974", "s3", None)

    asyncio.run(play())
    asyncio.run(look())


def test_one_can_read_though_they_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_full(tx: Tx) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async def play() -> None:
        async with opened(path) as database:
            await database.write(accept)
            monkeypatch.setattr(Tx, "catch_up", is_full)
            assert len(await database.read(partial(messages.page, account="a"))) == 1
            monkeypatch.undo()
            assert await database.read(unread) == {"2348020000000": 1}

    asyncio.run(play())


def test_who_reads_while_it_closes_is_told_and_does_not_wait_for_ever(either: Path | str) -> None:
    async def play() -> None:
        async with opened(either) as database, asyncio.timeout(10):
            await database.write(accept)
            # The first waits for the rows to be written when the second begins.
            reading, _ = await asyncio.gather(database.read(unread), database.close(), return_exceptions=True)
            assert "not open" in str(reading)

    asyncio.run(play())
