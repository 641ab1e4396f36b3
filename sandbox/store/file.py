"""The file of the database: whose it is, who holds it, what is in it, and what to do about an error of SQLite."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sandbox.errors import AlreadyRunning, Damaged, NotOurs, StorageError, StorageFull
from sandbox.system import package_files
from sandbox.wire.problems import strike_of

APPLICATION_ID = 0x39626974  # "9bit": how a file says whose it is
UPGRADES = (  # from each version of the schema to the next, beginning with that of version 1
    "ALTER TABLE webhook_deliveries ADD COLUMN edited INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX webhook_deliveries_edited ON webhook_deliveries (message_seq) WHERE edited = 1;"
    "CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (account, state, seq) "
    "WHERE state IN ('rejected', 'exhausted', 'cancelled');"
    "DROP INDEX conversations_by_age;"
    "CREATE INDEX conversations_by_age ON conversations (account, last_seq, unread);",
    "ALTER TABLE webhook_deliveries ADD COLUMN put_off_ms INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE sent_dates (account TEXT PRIMARY KEY, last_us INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO sent_dates SELECT account, MAX(at_ms) * 1000 FROM messages WHERE direction = 'mo' GROUP BY account;",
    "ALTER TABLE webhook_deliveries ADD COLUMN taken_up INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE attempts ADD COLUMN fault_seq INTEGER;"
    "ALTER TABLE attempts ADD COLUMN withheld INTEGER;"
    "UPDATE attempts SET fault_seq = fault_seq_of(error, warnings), withheld = withheld_of(error, warnings) "
    "WHERE error LIKE 'The fault f%' OR warnings LIKE '%\"The fault f%';",
)
SCHEMA_VERSION = 1 + len(UPGRADES)
LONGEST_LOG = 8_000  # pages, after which SQLite itself brings them into the file, within a commit
BUSY_S = 5.0  # how long a statement waits for another program that holds the file

_REMEDIES = (
    (
        ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"),
        "Let this user write to the file and its folder, or give another file with --db.",
    ),
    (("SQLITE_BUSY", "SQLITE_LOCKED"), "Close the program that holds it, or give another file with --db."),
    (("SQLITE_IOERR",), "Look at the disk and the room on it, or give another file with --db."),
)


def storage_error(error: sqlite3.Error, path: str) -> StorageError:
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith("SQLITE_FULL"):
        return StorageFull(f"There is no room left for the database {path}. Free some space; nothing is lost so far.")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Damaged(f"The database {path} is damaged ({error}). Move it away, or give another file with --db.")
    remedy = next((what for codes, what in _REMEDIES if code.startswith(codes)), "")
    return StorageError(f"The database {path} cannot be used: {error}. {remedy}".rstrip())


def make_folder(file: Path) -> None:
    """The folder of the database; one that we make ignores itself in git."""
    folder = file.parent
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700)
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The folder {folder} for the database cannot be made: {error.strerror}. Give another file with --db, or "
            "--db :memory: for none."
        ) from error


def lock(path: str) -> sqlite3.Connection:
    """Hold `path`-lock until closed. SQLite's own file lock: it works on every system and ends with the process."""
    try:
        lock = sqlite3.connect(f"{path}-lock", timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StorageError(f"The database {path} cannot be opened: {error}. Give another file with --db.") from error
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            raise AlreadyRunning(
                f"Another sandbox is running on the database {path}. Stop it, or give this one a file of its own "
                "with --db FILE (or --db :memory:)."
            ) from None
        raise StorageError(f"The database {path} cannot be locked: {error}. Give another file with --db.") from error
    except sqlite3.DatabaseError as error:
        lock.close()
        raise NotOurs(f"{path}-lock is no lock of this sandbox: {error}. Give another file with --db.") from error
    return lock


def check(path: str) -> None:
    """Refuse a file that is not ours or is damaged, without changing it."""
    file = Path(os.path.realpath(path))
    # Without a -wal file all is in the file itself, and `immutable` keeps SQLite from making other files beside it.
    how = "mode=ro" if Path(f"{file}-wal").exists() else "mode=ro&immutable=1"
    try:
        if not file.exists() or file.stat().st_size == 0:
            return
        with file.open("r+b") as opened:  # SQLite takes a file that is shorter than a page for an empty database
            if len(start := opened.read(512)) < 512 or not start.startswith(b"SQLite format 3\0"):
                raise NotOurs(f"{path} is not a database. It was not touched; give another file with --db.")
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?{how}", uri=True, isolation_level=None)) as found:
            _check_contents(found, path)
    except (OSError, sqlite3.DatabaseError) as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise Damaged(
                f"{path} is damaged ({error}). It was not touched; move it away, or use another --db."
            ) from error
        raise StorageError(
            f"The database {path} cannot be read and written: {error}. Give another file with --db."
        ) from error


def _check_contents(connection: sqlite3.Connection, path: str) -> None:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if owner != APPLICATION_ID:
        empty = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        if owner == version == 0 and empty:  # nobody's: a sandbox that was killed while it made the file leaves this
            return
        raise NotOurs(f"{path} is another program's database. It was not touched; give another file with --db.")
    if not 1 <= version <= SCHEMA_VERSION:
        raise NotOurs(
            f"{path} was written by a later version of the sandbox (schema {version}, this one has "
            f"{SCHEMA_VERSION}). It was not touched; move it away, or give another file with --db."
        )
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        found = " ".join(verdict.removeprefix("*** in database main ***").split())
        raise Damaged(f"{path} is damaged ({found}). It was not touched; move it away, or use another --db.")


def connect(path: str) -> sqlite3.Connection:
    # check_same_thread: the writer is made in the loop's thread and then used in its own only.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S, cached_statements=256)


def open_writer(path: str) -> tuple[sqlite3.Connection, int]:
    """The connection that writes, and the highest number that was given so far."""
    try:
        connection = connect(path)
        try:
            _prepare(connection, path)
            last: int = connection.execute("SELECT seq FROM last_number").fetchone()[0]
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise storage_error(error, path) from error
    except OSError as error:
        raise StorageError(
            f"The database {path} cannot be made: {error.strerror}. Let this user write to its folder, or give "
            "another file with --db."
        ) from error
    return connection, last


def _strike(error: str | None, warnings: str | None) -> tuple[int | None, bool]:
    """`fault_seq` and `withheld` of an attempt that has nothing but sentences; `warnings` as JSON."""
    return strike_of((*json.loads(warnings or "[]"), error or ""))


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """The promise of durability, and the schema: all of it if the file is new, else what came since it was made."""
    is_new = connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID
    if is_new and path != ":memory:":
        os.chmod(path, 0o600)  # it holds the accounts' tokens, and so does its -wal file, which gets the same mode
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # the commit comes before the answer
    connection.execute(f"PRAGMA wal_autocheckpoint = {LONGEST_LOG}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -8000")  # KiB: what is kept by default, read but once
    if is_new:
        schema = package_files.text("store/schema.sql")
        connection.executescript(
            f"BEGIN;\n{schema}\nPRAGMA application_id = {APPLICATION_ID};\n"
            f"PRAGMA user_version = {SCHEMA_VERSION};\nCOMMIT;"
        )
    elif missing := UPGRADES[connection.execute("PRAGMA user_version").fetchone()[0] - 1 :]:
        connection.create_function("fault_seq_of", 2, lambda *said: _strike(*said)[0])
        connection.create_function("withheld_of", 2, lambda *said: _strike(*said)[1])
        connection.executescript(f"BEGIN;\n{''.join(missing)}\nPRAGMA user_version = {SCHEMA_VERSION};\nCOMMIT;")
