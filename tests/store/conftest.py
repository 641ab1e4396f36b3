"""A transaction on an empty store, for the tests of the SQL, and a database on a file or in memory."""

import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.model import Event
from sandbox.store import database
from sandbox.store.database import Database, TimerChange, Tx


@pytest.fixture
def tx() -> Iterator[Tx]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript((Path(database.__file__).parent / "schema.sql").read_text(encoding="utf-8"))
    yield Tx(connection, itertools.count(1).__next__)
    connection.close()


@asynccontextmanager
async def opened(
    path: Path | str, *, committed: Callable[[list[Event], list[TimerChange]], None] | None = None
) -> AsyncIterator[Database]:
    database = Database(str(path), committed=committed)
    database.open()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox.db"


@pytest.fixture(params=["file", "memory"])
def either(request: pytest.FixtureRequest, path: Path) -> Path | str:
    """A database file, and memory: what must hold for both."""
    return path if request.param == "file" else ":memory:"
