"""What is committed comes from the log into the file itself, and the log does not grow, however long the load is."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from sandbox.store import checkpoints, file
from sandbox.store.database import Database, Queries, Tx
from tests.store.conftest import opened

FILLER = "x" * 3000  # nearly a page
PAGE = 4096
EVERY = 100  # commits of one writer between two checkpoints


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAGES", 3 * EVERY)


def note(n: int, tx: Tx) -> None:
    tx.execute("INSERT INTO notes VALUES (?, ?)", (n, FILLER))


async def load(database: Database, commits: int) -> None:
    await database.write(lambda tx: tx.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY, filler TEXT)"))
    for n in range(commits):
        await database.write(partial(note, n))


def count(db: Queries) -> int:
    there: int = db.execute("SELECT COUNT(*) FROM notes").fetchone()[0]
    return there


def in_the_file_itself(path: Path) -> int:
    """How many notes the file holds; its log is not looked at."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        return count(connection)


def log_pages(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size // PAGE


def test_the_file_holds_what_was_committed_while_more_is_committed(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as database:
            await load(database, 5 * EVERY)
            assert in_the_file_itself(path) >= EVERY

    asyncio.run(run())


def test_the_log_begins_anew_under_a_load_that_never_pauses(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as database:
            await load(database, 20 * EVERY)
            assert log_pages(path) < 10 * EVERY  # and three pages each were written

    asyncio.run(run())


def test_a_checkpoint_that_fails_hurts_no_commit_and_sqlite_makes_up_for_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_CHECKPOINT", "SELECT a function that nobody has()")
    monkeypatch.setattr(file, "LONGEST_LOG", 300)

    async def run() -> None:
        async with opened(path) as database:
            await load(database, 5 * EVERY)
            assert log_pages(path) < 600
            assert await database.read(count) == 5 * EVERY

    asyncio.run(run())


def test_where_no_thread_can_be_had_commits_go_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    async def run() -> None:
        async with opened(path) as database:
            monkeypatch.setattr("sandbox.store.checkpoints.threading.Thread", NoThread)
            await load(database, 3 * EVERY)
            monkeypatch.undo()
            assert await database.read(count) == 3 * EVERY

    asyncio.run(asyncio.wait_for(run(), 30))


def test_closing_leaves_no_log_behind(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as database:
            await load(database, 2 * EVERY)
            assert await database.read(count) == 2 * EVERY  # on a connection that stays open until then

    asyncio.run(run())
    assert not Path(f"{path}-wal").exists()
    assert in_the_file_itself(path) == 2 * EVERY
