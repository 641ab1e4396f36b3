"""What is committed goes from the log into the database's own file beside the commits, not between them.

SQLite would do it within a commit, every thousand pages, and whoever waits for that commit would wait for it as well.
"""

import sqlite3
import threading
from contextlib import suppress

from sandbox.store import file

PAGES = 250  # in the log, as far as they can be guessed: few, for while the disk takes them, commits wait longer for it
_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"  # waits for nobody, and keeps nobody waiting


class Checkpoints:
    """Of one file: a thread does most of a checkpoint, and the writer the little that came meanwhile.

    The log begins anew only when all of it is in the file, which under load is true for the writer alone. A checkpoint
    that fails is made up for by the next, or by SQLite itself, when the log has `file.LONGEST_LOG` pages.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._pages = 0
        self._thread: threading.Thread | None = None  # of the checkpoint that is under way
        self._connection: sqlite3.Connection | None = None

    def after(self, writer: sqlite3.Connection, jobs: int) -> None:
        """Called by the writer when it has committed what so many callers asked for."""
        self._pages += 3 + jobs // 2
        if self._thread is not None:
            if not self._thread.is_alive():
                self._thread = None
                self._pages = 0
                with suppress(sqlite3.Error):
                    writer.execute(_CHECKPOINT)
        elif self._pages >= PAGES:
            thread = threading.Thread(target=self._run, name="sandbox-checkpoint", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # the system has no more threads to give
                self._pages = 0

    def close(self) -> None:
        """Wait for what is under way, and let go of the file."""
        if self._thread is not None:
            self._thread.join()
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection is None:
                self._connection = file.connect(self._path)
            self._connection.execute(_CHECKPOINT)
