"""The promise of the only access to SQLite: durable before the answer, all or nothing, and nobody else's file touched.

Files are real, a second process is a real one, and it is ended with SIGKILL where a crash is meant.
"""

import asyncio
import functools
import itertools
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec

import pytest

import sandbox
from sandbox.errors import AlreadyRunning, Damaged, NotOurs, SandboxError, StorageError, StorageFull
from sandbox.model import Event, EventType
from sandbox.store.database import GROUP, Database, Due, Queries, TimerChange, Tx
from sandbox.store.file import APPLICATION_ID, SCHEMA_VERSION
from tests.store.conftest import opened

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own; it may not hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


def make_notes(tx: Tx) -> None:
    tx.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY, filler TEXT)")


def note(n: int, tx: Tx, *, filler: str = "") -> int:
    tx.execute("INSERT INTO notes VALUES (:n, :filler)", {"n": n, "filler": filler})
    return n


def noted(db: Queries) -> list[int]:
    return [row[0] for row in db.execute("SELECT n FROM notes ORDER BY n")]


def announce(n: int, tx: Tx) -> int:
    note(n, tx)
    tx.news.append(Event(n, 0, EventType.RESET, None, n, None))
    return n


def assert_usable(path: Path | str) -> None:
    """A sandbox can open the file, write to it and close it."""

    async def use() -> None:
        async with opened(path) as database:
            await database.write(make_notes)
            assert await database.write(partial(note, 1)) == 1

    asyncio.run(use())


def try_to_open(path: Path) -> None:
    """Open a file that is to be refused, which happens before anything needs an event loop."""
    Database(str(path)).open()


@asynccontextmanager
async def writer_held(database: Database) -> AsyncIterator[None]:
    """Keep the writer busy during the block, so that everything written in it is waiting when it comes round."""
    begun, gate = threading.Event(), threading.Event()

    def hold(_: Tx) -> None:
        begun.set()
        gate.wait(30)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(database.write(hold))
        await asyncio.to_thread(begun.wait, 30)
        try:
            yield
        finally:
            gate.set()


async def handed_over() -> None:
    """Return when the tasks made so far have handed over what they write."""
    begun = asyncio.Event()
    asyncio.get_running_loop().call_soon(begun.set)  # the loop calls in order, and tasks begin by such a call
    await begun.wait()


# Transactions ------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_write_returns_the_value_of_its_function(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        assert await database.write(partial(note, 7)) == 7


@in_loop
async def test_writes_that_wait_together_share_commits(either: Path | str) -> None:
    commits: list[int] = []
    async with opened(either, committed=lambda news, _: commits.append(len(news))) as database:
        await database.write(make_notes)
        async with asyncio.TaskGroup() as tasks, writer_held(database):
            for n in range(2 * GROUP + 10):
                tasks.create_task(database.write(partial(announce, n)))
            await handed_over()
        assert commits == [GROUP, GROUP, 10]


@in_loop
async def test_those_who_write_again_as_soon_as_they_are_answered_stay_together(either: Path | str) -> None:
    commits: list[int] = []
    numbers = itertools.count()

    async def writes_again(database: Database) -> None:
        for _ in range(20):
            await database.write(partial(announce, next(numbers)))
            await handed_over()  # as an answer takes a moment to come to a client, and the next request back

    async with opened(either, committed=lambda news, _: commits.append(len(news))) as database:
        await database.write(make_notes)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(16):
                tasks.create_task(writes_again(database))
        assert commits == [16] * 20


@in_loop
async def test_a_write_does_not_wait_for_others_that_keep_coming(either: Path | str) -> None:
    commits: list[int] = []
    async with opened(either, committed=lambda news, _: commits.append(len(news))) as database:
        await database.write(make_notes)
        async with asyncio.TaskGroup() as tasks:
            for n in range(100):
                tasks.create_task(database.write(partial(announce, n)))
                await handed_over()
        assert commits[0] <= 10


@in_loop
async def test_each_of_many_writers_gets_its_own_value(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        values = await asyncio.gather(*(database.write(partial(note, n)) for n in range(500)))
        assert values == list(range(500))


@in_loop
async def test_concurrent_writers_lose_no_row(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        await asyncio.gather(*(database.write(partial(note, n)) for n in range(500)))
        assert await database.read(noted) == list(range(500))


def note_unless_third(n: int, tx: Tx) -> int:
    note(n, tx)
    if n % 3 == 0:
        raise ValueError(f"no thirds, and {n} is one")
    return n


@in_loop
async def test_a_function_that_fails_undoes_only_itself(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        async with writer_held(database):
            written = asyncio.gather(
                *(database.write(partial(note_unless_third, n)) for n in range(12)), return_exceptions=True
            )
            await handed_over()
        await written
        assert await database.read(noted) == [1, 2, 4, 5, 7, 8, 10, 11]


@in_loop
async def test_each_caller_gets_the_error_of_its_own_function(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        async with writer_held(database):
            written = asyncio.gather(
                *(database.write(partial(note_unless_third, n)) for n in range(5)), return_exceptions=True
            )
            await handed_over()
        assert [str(each) for each in await written] == [
            "no thirds, and 0 is one",
            "1",
            "2",
            "no thirds, and 3 is one",
            "4",
        ]


def first_of_nothing(db: Queries) -> object:
    return next(iter(db.execute("SELECT 1 WHERE 0")))


@in_loop
async def test_a_function_that_runs_out_of_rows_leaves_no_writer_waiting(either: Path | str) -> None:
    async with opened(either) as database:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.write(lambda tx: first_of_nothing(tx))


@in_loop
async def test_a_function_that_runs_out_of_rows_leaves_no_reader_waiting(either: Path | str) -> None:
    async with opened(either) as database:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.read(first_of_nothing)


@in_loop
async def test_sql_that_is_wrong_is_a_storage_error(either: Path | str) -> None:
    async with opened(either) as database:
        with pytest.raises(StorageError, match="no such table: nowhere"):
            await database.write(lambda tx: tx.execute("INSERT INTO nowhere VALUES (1)"))


@in_loop
async def test_what_a_cancelled_caller_wrote_stands(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        async with writer_held(database):
            caller = asyncio.gather(database.write(partial(note, 1)))
            await handed_over()
            caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await database.write(partial(note, 2))  # comes after it
        assert await database.read(noted) == [1, 2]


# Reads -------------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_read_sees_what_was_committed_before_it(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        for n in range(20):
            await database.write(partial(note, n))
            assert await database.read(noted) == list(range(n + 1))


@in_loop
async def test_a_read_cannot_write(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        with pytest.raises(StorageError, match="readonly"):
            await database.read(lambda db: db.execute("INSERT INTO notes VALUES (1, '')"))


@in_loop
async def test_writes_work_after_a_read_that_tried_to_write(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        with pytest.raises(StorageError):
            await database.read(lambda db: db.execute("INSERT INTO notes VALUES (1, '')"))
        assert await database.write(partial(note, 2)) == 2


@in_loop
async def test_a_long_read_sees_one_state_and_holds_up_no_write(path: Path) -> None:
    reading, written = threading.Event(), threading.Event()

    def twice(db: Queries) -> tuple[list[int], list[int]]:
        before = noted(db)
        reading.set()
        written.wait(30)
        return before, noted(db)

    async with opened(path) as database:
        await database.write(make_notes)
        async with asyncio.TaskGroup() as tasks:
            read = tasks.create_task(database.read(twice))
            await asyncio.to_thread(reading.wait, 30)
            await database.write(partial(note, 1))
            written.set()
        assert read.result() == ([], [])


@in_loop
async def test_the_error_of_a_reading_function_reaches_its_caller(either: Path | str) -> None:
    def fail(_: Queries) -> None:
        raise LookupError("not here")

    async with opened(either) as database:
        with pytest.raises(LookupError, match="not here"):
            await database.read(fail)


# News --------------------------------------------------------------------------------------------------------------


@in_loop
async def test_news_is_handed_over_before_its_caller_goes_on(either: Path | str) -> None:
    heard: list[int] = []
    async with opened(either, committed=lambda news, _: heard.extend(entry.seq for entry in news)) as database:
        await database.write(make_notes)

        async def write_and_look(n: int) -> bool:
            return await database.write(partial(announce, n)) in heard

        assert all(await asyncio.gather(*(write_and_look(n) for n in range(300))))


@in_loop
async def test_news_comes_in_the_order_of_the_commits(either: Path | str) -> None:
    heard: list[int] = []
    async with opened(either, committed=lambda news, _: heard.extend(entry.seq for entry in news)) as database:
        await database.write(make_notes)
        await asyncio.gather(*(database.write(partial(announce, n)) for n in range(600)))
        assert heard == await database.read(lambda db: [row[0] for row in db.execute("SELECT n FROM notes")])


@in_loop
async def test_a_function_that_fails_makes_no_news(either: Path | str) -> None:
    heard: list[Event] = []

    def fail(tx: Tx) -> None:
        announce(1, tx)
        tx.due.append(Due("queue", 1))
        raise ValueError("on second thought")

    async with opened(either, committed=lambda news, _: heard.extend(news)) as database:
        await database.write(make_notes)
        with pytest.raises(ValueError, match="on second thought"):
            await database.write(fail)
        assert heard == []


@in_loop
async def test_a_listener_that_fails_leaves_no_caller_waiting(either: Path | str) -> None:
    def fail(news: list[Event], due: list[TimerChange]) -> None:
        raise ValueError("a listener's own fault")

    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: faults.append(str(what["exception"])))
    async with opened(either, committed=fail) as database:
        await database.write(make_notes)
        assert await database.write(partial(announce, 1)) == 1
    assert faults == ["a listener's own fault"]


# Opening, closing --------------------------------------------------------------------------------------------------


@in_loop
async def test_what_was_committed_is_there_after_opening_again(path: Path) -> None:
    async with opened(path) as database:
        await database.write(make_notes)
        await database.write(partial(note, 1))
    async with opened(path) as database:
        assert await database.read(noted) == [1]


@in_loop
async def test_memory_keeps_nothing_after_its_end() -> None:
    async with opened(":memory:") as database:
        await database.write(make_notes)
    async with opened(":memory:") as database:
        with pytest.raises(StorageError, match="no such table: notes"):
            await database.read(noted)


def test_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_usable(":memory:")
    assert list(tmp_path.iterdir()) == []


@in_loop
async def test_closing_commits_what_waits(path: Path) -> None:
    database = Database(str(path))
    database.open()
    await database.write(make_notes)
    async with asyncio.TaskGroup() as tasks:
        async with writer_held(database):
            for n in range(GROUP + 20):
                tasks.create_task(database.write(partial(note, n)))
            await handed_over()
            closing_ = tasks.create_task(database.close())
            await handed_over()
        await closing_
    async with opened(path) as database:
        assert await database.read(noted) == list(range(GROUP + 20))


@in_loop
async def test_whoever_writes_while_it_closes_is_told_so(path: Path) -> None:
    database = Database(str(path))
    database.open()
    async with asyncio.TaskGroup() as tasks:
        async with writer_held(database):
            closing_ = tasks.create_task(database.close())
            await handed_over()
            with pytest.raises(StorageError, match="not open"):
                await database.write(make_notes)
        await closing_


@in_loop
async def test_closing_twice_is_no_mistake(path: Path) -> None:
    async with opened(path) as database:
        await database.close()


@in_loop
async def test_a_file_is_durable_before_the_answer(path: Path) -> None:
    def pragmas(tx: Tx) -> list[object]:
        return [tx.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    async with opened(path) as database:
        assert await database.write(pragmas) == ["wal", 2]  # 2: FULL, so that a commit is on the disk when it returns


# Files and folders -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@in_loop
async def test_only_the_owner_may_read_what_holds_tokens(path: Path) -> None:
    before = os.umask(0o022)
    try:
        async with opened(path) as database:
            await database.write(make_notes)
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.glob("sandbox.db*")}
    finally:
        os.umask(before)
    del modes["sandbox.db-lock"]  # is empty
    assert modes == {"sandbox.db": 0o600, "sandbox.db-wal": 0o600, "sandbox.db-shm": 0o600}


@in_loop
async def test_a_folder_that_is_made_ignores_itself_in_git(tmp_path: Path) -> None:
    async with opened(tmp_path / "made" / "here" / "sandbox.db"):
        assert (tmp_path / "made" / "here" / ".gitignore").read_text() == "*\n"


@in_loop
async def test_a_folder_that_was_there_gets_no_gitignore(tmp_path: Path) -> None:
    async with opened(tmp_path / "sandbox.db"):
        assert not (tmp_path / ".gitignore").exists()


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    assert_usable(path)


def test_what_a_sandbox_killed_while_it_made_the_file_left_becomes_a_database(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # the first thing that reaches the file, before the schema does
    assert_usable(path)


def test_a_folder_in_place_of_the_file_is_a_storage_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StorageError, match="cannot be read and written"):
        try_to_open(path)


def test_a_file_in_place_of_the_folder_is_a_storage_error(path: Path) -> None:
    path.write_text("in the way")
    with pytest.raises(StorageError, match="cannot be made"):
        try_to_open(path / "sandbox.db")


# Other people's files ----------------------------------------------------------------------------------------------


def random_bytes(path: Path) -> None:
    path.write_bytes(bytes(n * n % 251 for n in range(20_000)))


def text_file(path: Path) -> None:
    path.write_text("Dear diary,\n" * 500)


def one_byte(path: Path) -> None:
    path.write_bytes(b"S")


def database_cut_off_in_its_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(84))


def foreign_database(path: Path, *pragmas: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE photographs (name TEXT)")
        connection.executemany("INSERT INTO photographs VALUES (?)", [(f"{n:0200}.jpg",) for n in range(300)])
        connection.execute("COMMIT")


FOREIGN: dict[str, Callable[[Path], None]] = {
    "random bytes": random_bytes,
    "a text": text_file,
    "one byte": one_byte,
    "the beginning of a database": database_cut_off_in_its_header,
    "another program's SQLite database": foreign_database,
    "another program's database in WAL mode": lambda path: foreign_database(path, "journal_mode = WAL"),
    "another program's database that says whose it is": lambda path: foreign_database(path, "application_id = 252006"),
}


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file in a folder but the lock, with its bytes and the time of its last change."""
    return {
        each.name: (each.read_bytes(), each.stat().st_mtime_ns)
        for each in folder.iterdir()
        if not each.name.endswith("-lock")
    }


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN.keys())
def test_another_programs_file_is_refused_and_not_touched(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    before = contents(path.parent)
    with pytest.raises(NotOurs, match="It was not touched"):
        try_to_open(path)
    assert contents(path.parent) == before


def test_what_another_program_has_not_yet_taken_out_of_its_wal_is_not_touched(path: Path) -> None:
    script = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('PRAGMA journal_mode = WAL'); db.execute('CREATE TABLE t (x)');"
        "db.execute('INSERT INTO t VALUES (42)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=30)
    wal = path.with_name("sandbox.db-wal")
    before = path.read_bytes(), wal.read_bytes()
    with pytest.raises(NotOurs):
        try_to_open(path)
    assert (path.read_bytes(), wal.read_bytes()) == before


def make_new(path: Path) -> None:
    """A file of our own with nothing in it yet."""

    async def make() -> None:
        async with opened(path):
            pass

    asyncio.run(make())


def make_large(path: Path) -> None:
    """A file of our own with more than a hundred pages."""

    async def make() -> None:
        async with opened(path) as database:
            await database.write(make_notes)
            await asyncio.gather(*(database.write(partial(note, n, filler="letters " * 30)) for n in range(2000)))

    asyncio.run(make())


def test_a_file_of_another_schema_is_refused_and_not_touched(path: Path) -> None:
    make_new(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = contents(path.parent)
    with pytest.raises(NotOurs, match=f"schema {SCHEMA_VERSION + 1}"):
        try_to_open(path)
    assert contents(path.parent) == before


def test_a_file_of_the_first_schema_is_brought_up_to_date_and_keeps_what_is_in_it(path: Path) -> None:
    make_new(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:  # back to how the first one was
        wanted = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        connection.executescript(
            "DROP INDEX conversations_by_age; CREATE INDEX conversations_by_age ON conversations (account, last_seq);"
            "DROP INDEX webhook_deliveries_failed; DROP INDEX webhook_deliveries_edited; "
            "ALTER TABLE webhook_deliveries DROP COLUMN edited; "
            "ALTER TABLE webhook_deliveries DROP COLUMN put_off_ms; DROP TABLE sent_dates; "
            "ALTER TABLE webhook_deliveries DROP COLUMN taken_up; "
            "ALTER TABLE attempts DROP COLUMN fault_seq; ALTER TABLE attempts DROP COLUMN withheld; "
            "INSERT INTO messages VALUES (1, 5, 'default', 'mo', '2348020000000', '48974', 'Hi', 's', NULL, "
            "'1970-01-01T00:00:00.005000Z', 'mtn', 'gsm7', 1, 'routed', NULL, NULL, 1, NULL, NULL, NULL, NULL); "
            "INSERT INTO webhook_deliveries VALUES (1, 1, 'default', '2348020000000', '48974', 'http://127.0.0.1/', "
            "'{}', 'delivered', 5, 1, 0, NULL, NULL, NULL); PRAGMA user_version = 1;"
        )
    for _ in range(2):  # the second start has nothing to do
        make_new(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("SELECT seq, state, edited FROM webhook_deliveries").fetchall() == [
            (1, "delivered", 0)
        ]
        assert connection.execute("SELECT account, last_us FROM sent_dates").fetchall() == [("default", 5000)]
        found = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    assert [name for name, _ in found] == [name for name, _ in wanted]
    assert dict(found)["conversations_by_age"] == dict(wanted)["conversations_by_age"]


def test_an_older_file_says_of_each_attempt_which_fault_struck_it(path: Path) -> None:
    withheld = "The fault f3 asked for this, 1 of 2: 503 counts as answered, and nothing was posted."
    posted = "The fault f41 asked for this, once so far: it was posted, and whatever was answered is lost."
    rows = [  # (error, warnings) -> (fault_seq, withheld)
        (("", json.dumps([withheld, "another"])), (3, 1)),
        ((withheld, None), (3, 1)),
        ((posted, None), (41, 0)),
        ((f"It says: {withheld}", json.dumps([f"It says: {withheld}"])), (None, None)),
        ((None, None), (None, None)),
    ]
    make_new(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            "ALTER TABLE attempts DROP COLUMN fault_seq; ALTER TABLE attempts DROP COLUMN withheld; "
            "PRAGMA user_version = 4;"
        )
        for number, ((error, warnings), _) in enumerate(rows):
            connection.execute(
                "INSERT INTO attempts (delivery_seq, number, triggered, started_ms, offset_ms, error, warnings) "
                "VALUES (1, ?, 'scheduled', 0, 0, ?, ?)",
                (number, error, warnings),
            )
    make_new(path)
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT fault_seq, withheld FROM attempts ORDER BY number").fetchall()
    assert found == [wanted for _, wanted in rows]


def flip(path: Path, start: int, length: int) -> None:
    """Turn bits in a file over, which never leaves a byte as it was."""
    body = bytearray(path.read_bytes())
    body[start : start + length] = bytes(each ^ 0xA5 for each in body[start : start + length])
    path.write_bytes(body)


def damage_middle_page(path: Path) -> None:
    flip(path, path.stat().st_size // 2 // 4096 * 4096, 512)


def damage_last_page(path: Path) -> None:
    flip(path, path.stat().st_size - 4096, 4096)


def damage_schema(path: Path) -> None:
    flip(path, 100, 8)  # where the header ends and the tree of the tables begins


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


DAMAGES = [damage_middle_page, damage_last_page, damage_schema, cut_off]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_and_not_touched(path: Path, damage: Callable[[Path], None]) -> None:
    make_large(path)
    damage(path)
    before = contents(path.parent)
    with pytest.raises(Damaged, match="It was not touched"):
        try_to_open(path)
    assert contents(path.parent) == before


def test_a_refused_file_is_not_kept_locked(path: Path) -> None:
    text_file(path)
    with pytest.raises(NotOurs):
        try_to_open(path)
    path.unlink()
    assert_usable(path)


def test_a_lock_file_that_is_something_else_is_refused(path: Path) -> None:
    lock = path.with_name("sandbox.db-lock")
    lock.write_text("Somebody's notes, longer than the header of a database would be.\n" * 20)
    with pytest.raises(NotOurs, match="no lock of this sandbox"):
        try_to_open(path)


def test_the_file_says_whose_it_is() -> None:
    assert APPLICATION_ID.to_bytes(4, "big") == b"9bit"


# A second process --------------------------------------------------------------------------------------------------

HOLD = """
import asyncio, sys
from sandbox.store.database import Database

async def hold():
    database = Database(sys.argv[1])
    database.open()
    print("held", flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(hold())
"""


def python(script: str, *arguments: str) -> Sequence[str]:
    return [sys.executable, "-c", script, *arguments]


def child_environment() -> dict[str, str]:
    root = Path(sandbox.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": str(root)}


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the database open."""
    process = subprocess.Popen(
        python(HOLD, str(path)),
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_on_the_same_file_is_refused(path: Path) -> None:
    with holder(path), pytest.raises(AlreadyRunning, match="Another sandbox is running on the database"):
        try_to_open(path)


def test_a_second_process_that_comes_by_another_name_is_refused(path: Path, tmp_path: Path) -> None:
    other_name = tmp_path / "link.db"
    other_name.symlink_to(path)
    with holder(path), pytest.raises(AlreadyRunning):
        try_to_open(other_name)


@in_loop
async def test_a_second_sandbox_in_the_same_process_is_refused(path: Path) -> None:
    async with opened(path):
        with pytest.raises(AlreadyRunning):
            try_to_open(path)


@in_loop
async def test_a_refused_second_sandbox_does_not_disturb_the_first(path: Path) -> None:
    async with opened(path) as database:
        with pytest.raises(AlreadyRunning):
            try_to_open(path)
        await database.write(make_notes)
        assert await database.write(partial(note, 1)) == 1


def test_a_file_whose_holder_was_killed_opens_again(path: Path) -> None:
    with holder(path) as process:
        process.kill()
        process.wait(30)
        assert_usable(path)


def test_a_file_opens_again_after_its_holder_closed_it(path: Path) -> None:
    make_new(path)
    assert_usable(path)


# A full disk -------------------------------------------------------------------------------------------------------


async def fill(database: Database, start: int, count: int) -> set[int]:
    """Write many notes at once; returns those that were acknowledged."""
    written = await asyncio.gather(
        *(database.write(partial(note, n, filler="x" * 1000)) for n in range(start, start + count)),
        return_exceptions=True,
    )
    for each in written:
        if isinstance(each, BaseException) and not isinstance(each, StorageError):
            raise each
    return {each for each in written if isinstance(each, int)}


def limit_pages(most: int, tx: Tx) -> None:
    tx.execute(f"PRAGMA max_page_count = {most}")


@in_loop
async def test_a_full_disk_is_told_in_words(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        await database.write(partial(limit_pages, 60))
        with pytest.raises(StorageFull, match="Free some space"):
            await database.write(partial(note, 1, filler="x" * 1_000_000))


@in_loop
async def test_on_a_full_disk_exactly_what_was_acknowledged_is_stored(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        await database.write(partial(limit_pages, 120))
        acknowledged = await fill(database, 0, 400)
        assert 0 < len(acknowledged) < 400
        assert set(await database.read(noted)) == acknowledged


@in_loop
async def test_writes_work_again_when_there_is_room_again(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        await database.write(partial(limit_pages, 60))
        await fill(database, 0, 400)
        await database.write(partial(limit_pages, 100_000))
        assert await fill(database, 1000, 400) == set(range(1000, 1400))


@in_loop
async def test_reads_go_on_while_the_disk_is_full(either: Path | str) -> None:
    async with opened(either) as database:
        await database.write(make_notes)
        await database.write(partial(note, 1))
        await database.write(partial(limit_pages, 1))
        with pytest.raises(StorageFull):
            await database.write(partial(note, 2, filler="x" * 1_000_000))
        assert await database.read(noted) == [1]


FILE_SIZE_LIMIT = """
import asyncio, json, resource, sys
from functools import partial
from sandbox.errors import StorageError
from sandbox.store.database import Database

def note(n, tx):
    tx.execute("INSERT INTO notes VALUES (:n, :filler)", {"n": n, "filler": "x" * 1000})
    return n

def rows(db):
    return [row[0] for row in db.execute("SELECT n FROM notes ORDER BY n")]

async def writes(database, numbers):
    done = await asyncio.gather(*(database.write(partial(note, n)) for n in numbers), return_exceptions=True)
    assert all(isinstance(each, int | StorageError) for each in done), done
    return [each for each in done if isinstance(each, int)]

async def play():
    database = Database(sys.argv[1])
    database.open()
    await database.write(lambda tx: tx.execute("CREATE TABLE notes (n INTEGER PRIMARY KEY, filler TEXT)"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    acknowledged = []
    for start in range(0, 1000, 50):
        acknowledged += await writes(database, range(start, start + 50))
    stored = await database.read(rows)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    later = await writes(database, range(5000, 5050))
    await database.close()
    database = Database(sys.argv[1])
    database.open()
    print(json.dumps({"acknowledged": acknowledged, "stored": stored, "later": later,
                      "reopened": await database.read(rows)}))
    await database.close()

asyncio.run(play())
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """What became of 1,000 notes in a process whose files may not grow, and of 50 more when they might again."""
    pytest.importorskip("resource")
    path = tmp_path_factory.mktemp("limited") / "sandbox.db"
    done = subprocess.run(
        python(FILE_SIZE_LIMIT, str(path)), env=child_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, list[int]] = json.loads(done.stdout)
    return told


def test_a_limit_on_the_size_of_files_is_hit(limited: dict[str, list[int]]) -> None:
    assert 0 < len(limited["acknowledged"]) < 1000


def test_a_file_that_may_not_grow_holds_exactly_what_was_acknowledged(limited: dict[str, list[int]]) -> None:
    assert limited["stored"] == limited["acknowledged"]


def test_writes_work_again_when_files_may_grow_again(limited: dict[str, list[int]]) -> None:
    assert limited["later"] == list(range(5000, 5050))


def test_a_file_that_could_not_grow_is_whole_when_it_is_opened_again(limited: dict[str, list[int]]) -> None:
    assert limited["reopened"] == limited["acknowledged"] + limited["later"]


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(StorageError, 4), (NotOurs, 4), (Damaged, 4), (StorageFull, 4), (AlreadyRunning, 5)],
)
def test_a_refusal_has_its_exit_code(error: type[SandboxError], exit_code: int) -> None:
    assert error.exit_code == exit_code
