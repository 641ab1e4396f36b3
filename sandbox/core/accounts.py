"""The accounts in memory, because every call asks for one.

What is changed is the row, inside a write; the copy in memory follows after the commit (`tx.then`), so that it is right
whoever else changes the account at the same moment, and stays as it was if the commit fails. One process owns the
database, so nobody else changes it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sandbox.model import Account


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
