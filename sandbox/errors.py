"""What can be broken: exceptions whose message says what happened and how to mend it.

An expected refusal (a bad request, a webhook that answers 404) is a value, never one of these. This module imports
nothing of the project.

    SandboxError
     +-- SettingsError      settings cannot be read or make no sense            (exit code 2)
     +-- CannotListen       the address is taken or may not be used             (exit code 3)
     +-- Unreachable        a client command found no sandbox at that address   (exit code 3)
     +-- StorageError       the database file cannot be used                    (exit code 4)
     |    +-- NotOurs       it is some other program's file
     |    +-- Damaged       SQLite finds it damaged
     |    +-- StorageFull   the disk, or the file's size limit, is full
     +-- AlreadyRunning     another sandbox holds the same database file        (exit code 5)
     +-- Conflict           the thing is not in a state that allows the verb
     +-- NotFound           there is no such thing
     +-- Invalid            the arguments of a verb make no sense; every field is listed
     +-- Busy               a limit is reached; try again later
"""

from collections.abc import Sequence


class SandboxError(Exception):
    """The sandbox cannot go on with what it was asked to do."""

    exit_code = 1


class SettingsError(SandboxError):
    """The settings cannot be read or make no sense."""

    exit_code = 2


class CannotListen(SandboxError):
    """The address is taken, or this user may not listen on it."""

    exit_code = 3


class Unreachable(SandboxError):
    """No sandbox answers at the given address."""

    exit_code = 3


class StorageError(SandboxError):
    """The database file cannot be used."""

    exit_code = 4


class NotOurs(StorageError):
    """The database file belongs to some other program."""


class Damaged(StorageError):
    """SQLite finds the database file damaged."""


class StorageFull(StorageError):
    """There is no room left for the database."""


class AlreadyRunning(SandboxError):
    """Another sandbox holds the same database file."""

    exit_code = 5


class Conflict(SandboxError):
    """The thing is not in a state that allows this."""


class NotFound(SandboxError):
    """There is no such thing."""


class Busy(SandboxError):
    """A limit is reached; the caller may try again later."""


class Invalid(SandboxError):
    """Arguments that make no sense: `fields` lists (name, what is wrong and what would be accepted), all at once."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        self.fields: Sequence[tuple[str, str]] = fields
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in fields))
