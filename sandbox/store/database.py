"""The one door to SQLite: `write(fn)` runs a function in a durable transaction, `read(fn)` in a read-only one.

One thread owns the one write connection. Whatever has gathered when it is free is committed together, and every caller
still awaits the commit that holds its own rows: that is what makes durable fast. No SQL of the product lives here.
"""

import asyncio
import itertools
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sandbox.errors import StorageError
from sandbox.model import Event, Timer
from sandbox.store import file
from sandbox.store.checkpoints import Checkpoints

T = TypeVar("T")

MOST_ROWS = 32  # rows in one statement
MOST_FOLLOWING = 512  # rows that wait over commits
GROUP = 256  # functions committed together at the most
QUIET_TURNS = 2  # turns of the event loop that bring nothing new, after which what has gathered is committed
MOST_TURNS = 8  # turns after which it is committed though every one brought more
READERS = 2  # threads that read; more would only fight for the interpreter


class Queries(Protocol):
    """What a reading function gets: `execute(sql, parameters)`, parameters by `:name`."""

    def execute(self, sql: str, parameters: Any = ..., /) -> sqlite3.Cursor: ...


@dataclass(slots=True)
class Due:
    """When the next row of a queue in `timers` is due, for the scheduler. `exact` replaces what it knew, otherwise the
    earlier one counts."""

    queue: str
    due_ms: int | None
    exact: bool = False


@dataclass(slots=True)
class Dropped:
    """Timers without a row that the scheduler has to drop: those of a subject, else of an account, else all."""

    subject: int | None = None
    account: str | None = None


TimerChange = Due | Timer | Dropped
"""What a commit tells the scheduler. A Timer is due now and has no row."""


class Insert:
    """A statement that writes any number of rows: `{rows}` in its text stands for as many `row`s as there are.

    Each statement lets another thread have the interpreter and has to fight to get it back, so that sixteen rows in one
    statement cost little more than one.
    """

    __slots__ = ("_row", "_sql", "_texts", "width")

    def __init__(self, sql: str, row: str) -> None:
        self._sql = sql
        self._row = row
        self._texts: dict[int, str] = {}
        self.width = row.count("?")

    def text(self, count: int) -> str:
        made = self._texts.get(count)
        if made is None:
            made = self._texts[count] = self._sql.replace("{rows}", ", ".join([self._row] * count))
        return made


class Following:
    """Rows that are still to be written, though what they follow from is committed; in the order of their coming."""

    __slots__ = ("count", "rows")

    def __init__(self) -> None:
        self.rows: dict[Insert, list[Any]] = {}
        self.count = 0

    def add(self, statement: Insert, values: Sequence[Any]) -> None:
        self.rows.setdefault(statement, []).extend(values)
        self.count += len(values) // statement.width

    def extend(self, others: "Following") -> None:
        for statement, values in others.rows.items():
            self.add(statement, values)


class Tx:
    """What writing functions get: SQL to run, numbers to give, and lists of what to announce once it is committed.

    Functions that are committed together share one. `number()` is the journal's next number; those given in a
    transaction that fails are lost, which hurts nobody.
    """

    __slots__ = ("_before", "_connection", "_following", "_rows", "due", "news", "number", "then")

    def __init__(
        self, connection: sqlite3.Connection, number: Callable[[], int], before: Following | None = None
    ) -> None:
        self._connection = connection
        self._rows: dict[Insert, list[Any]] = {}
        self._before = before  # what earlier transactions left to be written; None once this one has
        self._following = Following()
        self.number = number
        self.news: list[Event] = []
        self.due: list[TimerChange] = []
        self.then: list[Callable[[], None]] = []  # called in the event loop after the commit, before anyone goes on

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if self._rows:
            self.flush()
        if self._before is not None or self._following.count:
            self.catch_up()
        return self._connection.execute(sql, parameters)

    def insert(self, statement: "Insert", row: Sequence[Any]) -> None:
        """Write a row together with others like it: at the latest before the next `execute`, or the commit."""
        waiting = self._rows.get(statement)
        if waiting is None:
            self._rows[statement] = list(row)
        else:
            waiting += row

    def follow(self, statement: "Insert", row: Sequence[Any]) -> None:
        """As `insert`, for a row that can be made anew from those that are committed: it may wait for many like it,
        over commits, until anybody runs `execute` or reads. A crash loses it."""
        self._following.add(statement, row)

    def flush(self) -> None:
        """Write the rows of this transaction, in as few statements as may be."""
        self._write(self._rows)
        self._rows.clear()

    def catch_up(self) -> None:
        """Write the rows that follow from what is committed, and from what this transaction wrote so far."""
        before, self._before = self._before, None
        following, self._following = self._following, Following()
        if before is not None:
            self._write(before.rows)
        self._write(following.rows)

    def left(self) -> Following:
        """What is still to be written after the commit, by whoever comes next."""
        if self._before is None:
            return self._following
        self._before.extend(self._following)
        return self._before

    @property
    def is_far_behind(self) -> bool:
        return self._following.count + (self._before.count if self._before else 0) > MOST_FOLLOWING

    def _write(self, rows: Mapping["Insert", list[Any]]) -> None:
        for statement, values in rows.items():
            width = statement.width
            begin, left = 0, len(values) // width
            while left:
                count = min(1 << (left.bit_length() - 1), MOST_ROWS)  # few sizes, so that SQLite compiles few texts
                end = begin + count * width
                self._connection.execute(statement.text(count), values[begin:end])
                begin, left = end, left - count


class _Job:
    """A function, who waits for it, and what came of it."""

    __slots__ = ("alone", "error", "future", "reading", "run", "value")

    def __init__(
        self, run: Callable[[Any], Any], future: asyncio.Future[Any], *, reading: bool = False, alone: bool = False
    ) -> None:
        self.run = run
        self.future = future
        self.reading = reading
        self.alone = alone
        self.value: Any = None
        self.error: BaseException | None = None


class Database:
    """A SQLite file, or memory (`:memory:`), opened for one sandbox alone.

    `committed` is called in the event loop after each commit, before its callers go on, with the events and the changed
    timers of that commit in order.
    """

    def __init__(self, path: str, *, committed: Callable[[list[Event], list[TimerChange]], None] | None = None) -> None:
        self.path = path
        self.in_memory = path == ":memory:"
        self.committed = committed
        self._gathered: list[_Job] = []
        self._is_gathering = False  # `_gather` comes round
        self._is_writing = False  # the writer has a group
        self._groups: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._read_connections: list[sqlite3.Connection] = []
        self._lock: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._number: Callable[[], int] = itertools.count(1).__next__
        self._following = Following()  # replaced by the writer alone, after a commit

    def open(self) -> None:
        """Open, check and if need be create the database. Call it in the event loop that will use it.

        Raises NotOurs, Damaged, AlreadyRunning or StorageError, and in these cases has not changed the file.
        """
        if not self.in_memory:
            file.make_folder(Path(self.path))
            self._lock = file.lock(os.path.realpath(self.path))  # one lock for one file, by whatever name it is called
        try:
            if not self.in_memory:
                file.check(self.path)
            connection, last = file.open_writer(self.path)
        except BaseException:
            self._unlock()
            raise
        self._number = itertools.count(last + 1).__next__
        self._loop = asyncio.get_running_loop()
        self._writer = threading.Thread(
            target=self._write_loop, args=(self._loop, connection), name="sandbox-writer", daemon=True
        )
        self._writer.start()

    async def close(self) -> None:
        """Commit what is waiting, then let go of the file."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None  # whoever comes from here on is told, and does not wait for ever
        last, self._gathered = self._gathered, []
        self._groups.put(last)
        self._groups.put(None)
        await asyncio.get_running_loop().run_in_executor(None, writer.join)
        if self._readers is not None:
            self._readers.shutdown()
        for connection in self._read_connections:
            connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def write(self, fn: Callable[[Tx], T], *, alone: bool = False) -> T:
        """Run `fn` in a transaction and return its value once that is durable.

        What `fn` raises undoes its own changes alone and is raised here. `fn` may be run again if a neighbour in the
        same commit fails, so it must have no effect but on the database. Raises StorageError, or StorageFull, when
        nothing was stored.

        `alone`: in a commit of its own, so that whatever is written later sees what `tx.then` changed.
        """
        loop = self._require_loop()
        value: T = await self._submit(loop, _Job(fn, loop.create_future(), alone=alone))
        return value

    async def read(self, fn: Callable[[Queries], T]) -> T:
        """Run `fn` on a read-only connection that sees all that is committed, and what follows from it."""
        loop = self._require_loop()
        if self._following.count:
            with suppress(StorageError):  # on a disk that is full, one can still read
                await self.write(Tx.catch_up)
            self._require_loop()  # or nobody would answer: it may have been closed meanwhile
        if self.in_memory:  # there is one connection only, so its thread reads too
            value: T = await self._submit(loop, _Job(fn, loop.create_future(), reading=True))
            return value
        if self._readers is None:
            self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sandbox-reader")
        return await loop.run_in_executor(self._readers, self._read, fn)

    def _require_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._writer is None:
            raise StorageError("The database is not open.")
        return self._loop

    def _submit(self, loop: asyncio.AbstractEventLoop, job: _Job) -> asyncio.Future[Any]:
        self._gathered.append(job)
        if not (self._is_writing or self._is_gathering):
            self._gather(loop)
        return job.future

    def _gather(self, loop: asyncio.AbstractEventLoop, turn: int = 0, seen: int = 0, quiet: int = 0) -> None:
        """Hand over to the writer what has gathered, once `QUIET_TURNS` turns of the event loop in a row have brought
        no more; at the latest after `MOST_TURNS`, or when it is a full `GROUP`.

        Callers who were answered together come back within a few turns, and one commit for all of them costs little
        more than one for the first. A caller who is alone waits for some microseconds.
        """
        count = len(self._gathered)
        quiet = quiet + 1 if turn and count == seen else 0
        self._is_gathering = quiet < QUIET_TURNS and turn < MOST_TURNS and count < GROUP
        if self._is_gathering:
            loop.call_soon(self._gather, loop, turn + 1, count, quiet)
        elif count:
            self._is_writing = True
            together = next((index for index, job in enumerate(self._gathered[:GROUP]) if job.alone), GROUP) or 1
            group, self._gathered = self._gathered[:together], self._gathered[together:]
            self._groups.put(group)

    def _read(self, fn: Callable[[Queries], T]) -> T:
        try:
            connection = self._reader()
            _roll_back(connection)  # what could not be rolled back when it failed
            connection.execute("BEGIN")  # one function sees one state
            try:
                return fn(connection)
            finally:
                _roll_back(connection)
        except sqlite3.Error as error:
            raise file.storage_error(error, self.path) from error
        except StopIteration as error:
            raise _carried(error) from error

    def _reader(self) -> sqlite3.Connection:
        """The connection of this thread, which reads only."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = file.connect(self.path)
            try:
                connection.execute("PRAGMA query_only = 1")
            except BaseException:
                connection.close()
                raise
            self._local.connection = connection
            self._read_connections.append(connection)
        return connection

    def _write_loop(self, loop: asyncio.AbstractEventLoop, connection: sqlite3.Connection) -> None:
        checkpoints = None if self.in_memory else Checkpoints(self.path)
        while (group := self._groups.get()) is not None:
            done = self._run(connection, group)
            try:
                loop.call_soon_threadsafe(self._announce, loop, group, done)
            except RuntimeError:  # the loop is gone, and with it everyone who waited
                break
            if checkpoints is not None:
                checkpoints.after(connection, len(group))
        if self._following.count:
            with suppress(_Spoilt):  # the next start makes up for it
                self._commit(connection, [_Job(Tx.catch_up, loop.create_future())])
        if checkpoints is not None:
            checkpoints.close()
        connection.close()

    def _run(self, connection: sqlite3.Connection, group: list[_Job]) -> list[Tx]:
        """Carry out the jobs of a group, in order, in as few commits as may be. Returns what was committed."""
        writes = [job for job in group if not job.reading]
        done: list[Tx] = []
        try:
            if writes:
                try:
                    done.append(self._commit(connection, writes))
                except _Spoilt as spoilt:
                    if len(writes) == 1 or not spoilt.begun:
                        _fail(writes, spoilt.reason)
                    else:  # somebody's function failed: each goes alone, and keeps its own fate
                        self._commit_alone(connection, writes, done)
            for job in group:
                if job.reading:
                    self._read_in_memory(connection, job)
        except BaseException as error:  # nothing may leave a caller waiting for ever
            for job in group:
                job.error = job.error or error
        return done

    def _commit_alone(self, connection: sqlite3.Connection, jobs: list[_Job], done: list[Tx]) -> None:
        for number, job in enumerate(jobs):
            try:
                done.append(self._commit(connection, [job]))
            except _Spoilt as spoilt:
                if not spoilt.begun:  # the others would only wait as long, one after the other
                    _fail(jobs[number:], spoilt.reason)
                    return
                job.error = spoilt.reason

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Job]) -> Tx:
        """One transaction for `jobs`; _Spoilt if any of it failed, and then none of it happened."""
        tx = Tx(connection, self._number, self._following if self._following.count else None)
        begun = False
        try:
            _roll_back(connection)  # what could not be rolled back when it failed
            connection.execute("BEGIN IMMEDIATE")
            begun = True
            for job in jobs:
                job.value = job.run(tx)
            tx.flush()
            if tx.is_far_behind:
                tx.catch_up()
            connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                _roll_back(connection)
            reason = file.storage_error(error, self.path) if isinstance(error, sqlite3.Error) else _carried(error)
            raise _Spoilt(reason, begun=begun) from error
        self._following = tx.left()
        return tx

    def _read_in_memory(self, connection: sqlite3.Connection, job: _Job) -> None:
        try:
            connection.execute("PRAGMA query_only = 1")
            try:
                job.value = job.run(connection)
            finally:
                connection.execute("PRAGMA query_only = 0")
        except sqlite3.Error as error:
            job.error = file.storage_error(error, self.path)
        except BaseException as error:
            job.error = _carried(error)

    def _announce(self, loop: asyncio.AbstractEventLoop, group: Iterable[_Job], done: Iterable[Tx]) -> None:
        try:
            for tx in done:
                for change in tx.then:
                    change()
                if self.committed is not None and (tx.news or tx.due):
                    self.committed(tx.news, tx.due)
        finally:  # nothing may leave a caller waiting for ever
            self._answer(group)
            self._is_writing = False
            self._gather(loop)

    def _answer(self, group: Iterable[_Job]) -> None:
        for job in group:
            if job.future.done():  # its caller was cancelled; what it wrote stands
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.value)


class _Spoilt(Exception):
    """A transaction failed; if it had not `begun`, that is nobody's function's fault."""

    def __init__(self, reason: BaseException, *, begun: bool) -> None:
        self.reason = reason
        self.begun = begun


def _fail(jobs: Iterable[_Job], reason: BaseException) -> None:
    for job in jobs:
        job.error = reason


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that is open; SQLite has rolled back by itself after some errors."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _carried(error: BaseException) -> BaseException:
    """`error` as a future can carry it: it refuses StopIteration, and its caller would wait for ever."""
    if isinstance(error, StopIteration):
        return RuntimeError("A function of the database ran out of rows: next() found nothing (StopIteration).")
    return error
