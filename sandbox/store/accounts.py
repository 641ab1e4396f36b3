"""The accounts, in the database and, because every call asks for one, in memory as well.

What is changed is the row, inside a write; the copy in memory follows after the commit (`tx.then`), so that it is right
whoever else changes the account at the same moment, and stays as it was if the commit fails. One process owns the
database, so nobody else changes it.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager

from sandbox.model import Account
from sandbox.store.database import Queries, Tx
from sandbox.store.rows import Table

ACCOUNTS = Table("accounts", Account, key=("name",), packed="spec", beside=("name", "token"))


def put(tx: Tx, account: Account, *, edited: bool = True) -> None:
    """Add an account, or replace the one of its name. `edited`: at run time, so that it is not as the settings say."""
    ACCOUNTS.put(tx, account, edited=edited)


def remove(tx: Tx, name: str) -> None:
    """Remove an account, with its newest `sent_date`. What was recorded under its name is the caller's to remove."""
    tx.execute("DELETE FROM accounts WHERE name = :name", {"name": name})
    tx.execute("DELETE FROM sent_dates WHERE account = :name", {"name": name})


def get(db: Queries, name: str) -> Account | None:
    return ACCOUNTS.get(db, name)


def owner_of(db: Queries, token: str) -> str | None:
    """The name of the account that has the token."""
    row = db.execute("SELECT name FROM accounts WHERE token = :token", {"token": token}).fetchone()
    return row[0] if row else None


def stored(db: Queries) -> Sequence[Account]:
    return ACCOUNTS.all(db, "ORDER BY name")


def edited(db: Queries) -> Set[str]:
    """Names of the accounts that were added or changed at run time."""
    return {row[0] for row in db.execute("SELECT name FROM accounts WHERE edited = 1")}


class AccountCache:
    """The accounts in memory, by name and by token."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._by_name: dict[str, Account] = {}
        self._by_token: dict[str, Account] = {}
        self._hidden: set[str] = set()
        for account in accounts:
            self.put(account)

    def put(self, account: Account) -> None:
        """Add an account, or replace the one of its name; who reads meanwhile finds the one or the other."""
        old = self._by_name.get(account.name)
        self._by_token[account.token] = account
        self._by_name[account.name] = account
        if old is not None and old.token != account.token:
            self._by_token.pop(old.token, None)

    def remove(self, name: str) -> None:
        old = self._by_name.pop(name, None)
        if old is not None:
            del self._by_token[old.token]

    @contextmanager
    def hidden(self, name: str) -> Iterator[None]:
        """Nobody finds the account meanwhile. Afterwards it stands where it stood, unless it was removed."""
        self._hidden.add(name)
        try:
            yield
        finally:
            self._hidden.discard(name)

    def get(self, name: str) -> Account | None:
        return None if name in self._hidden else self._by_name.get(name)

    def by_token(self, token: str) -> Account | None:
        account = self._by_token.get(token)
        return None if account is None or account.name in self._hidden else account

    def all(self) -> Sequence[Account]:
        return [each for each in self._by_name.values() if each.name not in self._hidden]
