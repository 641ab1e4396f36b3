"""SQL of the accounts."""

from collections.abc import Sequence, Set

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
