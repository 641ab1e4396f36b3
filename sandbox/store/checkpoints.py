"""What is committed goes from the log into the database's own file beside the commits, not between them.

SQLite would do it within a commit, every thousand pages, and whoever waits for that commit would wait for it as well.
"""

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from sandbox.store import file

EVERY = 128  # commits
_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"  # waits for nobody, and keeps nobody waiting


class Checkpoints:
    """Of one file: a thread does most of the work, and the writer the little that came meanwhile.

    The log begins anew only when all of it is in the file, which under load is true for the writer alone. One that
    fails is made up for by the next, or at last by SQLite itself, when the log has `file.LONGEST_LOG` pages.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._commits = 0
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None
        self._connection: sqlite3.Connection | None = None

    def committed(self, writer: sqlite3.Connection) -> None:
        """Called by the writer after each commit."""
        self._commits += 1
        if self._under_way is not None:
            if self._under_way.done():
                self._under_way = None
                self._commits = 0
                with suppress(sqlite3.Error):
                    writer.execute(_CHECKPOINT)
        elif self._commits >= EVERY:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-checkpoints")
            self._under_way = self._thread.submit(self._work)

    def close(self) -> None:
        """Wait for what is under way, and let go of the file."""
        if self._thread is not None:
            self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()

    def _work(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection is None:
                self._connection = file.connect(self._path)
            self._connection.execute(_CHECKPOINT)
