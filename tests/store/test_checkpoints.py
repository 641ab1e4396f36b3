"""What is committed comes from the log into the file itself, and the log does not grow, however long the load is."""

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from sandbox.store import checkpoints, file
from sandbox.store.database import Database, Tx
from tests.store.conftest import opened

FILLER = "x" * 3000  # nearly a page
PAGE = 4096


def note(n: int, tx: Tx) -> None:
    tx.execute("INSERT INTO notes VALUES (?, ?)", (n, FILLER))


async def load(database: Database, commits: int) -> None:
    await database.write(lambda tx: tx.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY, filler TEXT)"))
    for n in range(commits):
        await database.write(partial(note, n))


def in_the_file_itself(path: Path) -> int:
    """How many notes the file holds; its log is not looked at."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        count: int = connection.execute("SELECT COUNT(*) FROM notes").fetchone()[0]
        return count


def log_pages(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size // PAGE


def test_the_file_holds_what_was_committed_while_more_is_committed(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as database:
            await load(database, 5 * checkpoints.EVERY)
            assert in_the_file_itself(path) >= checkpoints.EVERY

    asyncio.run(run())


def test_the_log_begins_anew_under_a_load_that_never_pauses(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as database:
            await load(database, 20 * checkpoints.EVERY)
            assert log_pages(path) < 10 * checkpoints.EVERY  # and three pages each were written

    asyncio.run(run())


def test_a_checkpoint_that_fails_hurts_no_commit_and_sqlite_makes_up_for_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_CHECKPOINT", "SELECT a function that nobody has()")
    monkeypatch.setattr(file, "LONGEST_LOG", 300)

    async def run() -> None:
        async with opened(path) as database:
            await load(database, 5 * checkpoints.EVERY)
            assert log_pages(path) < 600
            assert await database.read(lambda db: db.execute("SELECT COUNT(*) FROM notes").fetchone()[0]) == 640

    asyncio.run(run())


def test_closing_leaves_no_log_behind(path: Path) -> None:
    async def run() -> None:
        async with opened(path) as database:
            await load(database, 2 * checkpoints.EVERY)

    asyncio.run(run())
    assert not Path(f"{path}-wal").exists()
    assert in_the_file_itself(path) == 2 * checkpoints.EVERY
