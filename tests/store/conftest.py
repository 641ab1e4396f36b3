"""A transaction on an empty store, for the tests of the SQL: no thread, no file and no event loop."""

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.store import database
from sandbox.store.database import Tx


@pytest.fixture
def tx() -> Iterator[Tx]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript((Path(database.__file__).parent / "schema.sql").read_text(encoding="utf-8"))
    yield Tx(connection, itertools.count(1).__next__)
    connection.close()
