"""SQL of the accounts."""

import json
from collections.abc import Sequence, Set
from dataclasses import fields
from typing import Any

from sandbox.model import Account, CallbackAuth, MsisdnFormat, Order, Shortcode
from sandbox.store.database import Queries, Tx

_OWN_COLUMNS = ("name", "token")


def _to_spec(account: Account) -> str:
    return json.dumps(
        {each.name: getattr(account, each.name) for each in fields(Account) if each.name not in _OWN_COLUMNS}
    )


def _from_row(name: str, token: str, spec: str) -> Account:
    values: dict[str, Any] = json.loads(spec)
    return Account(
        name=name,
        token=token,
        **{
            **values,
            "shortcodes": tuple(Shortcode(each) for each in values["shortcodes"]),
            "callback_auth": CallbackAuth(values["callback_auth"]),
            "msisdn_format": MsisdnFormat(values["msisdn_format"]),
            "retry_s": tuple(values["retry_s"]),
            "order": Order(values["order"]),
        },
    )


def put(tx: Tx, account: Account, *, edited: bool = True) -> None:
    """Add an account, or replace the one of its name. `edited`: at run time, so that it is not as the settings say."""
    tx.execute(
        "INSERT INTO accounts (name, token, spec, edited) VALUES (:name, :token, :spec, :edited) ON CONFLICT (name) "
        "DO UPDATE SET token = excluded.token, spec = excluded.spec, edited = excluded.edited",
        {"name": account.name, "token": account.token, "spec": _to_spec(account), "edited": int(edited)},
    )


def remove(tx: Tx, name: str) -> None:
    """Remove an account, with its newest `sent_date`. What was recorded under its name is the caller's to remove."""
    tx.execute("DELETE FROM accounts WHERE name = :name", {"name": name})
    tx.execute("DELETE FROM sent_dates WHERE account = :name", {"name": name})


def get(db: Queries, name: str) -> Account | None:
    row = db.execute("SELECT name, token, spec FROM accounts WHERE name = :name", {"name": name}).fetchone()
    return _from_row(*row) if row else None


def owner_of(db: Queries, token: str) -> str | None:
    """The name of the account that has the token."""
    row = db.execute("SELECT name FROM accounts WHERE token = :token", {"token": token}).fetchone()
    return row[0] if row else None


def stored(db: Queries) -> Sequence[Account]:
    return [_from_row(*row) for row in db.execute("SELECT name, token, spec FROM accounts ORDER BY name")]


def edited(db: Queries) -> Set[str]:
    """Names of the accounts that were added or changed at run time."""
    return {row[0] for row in db.execute("SELECT name FROM accounts WHERE edited = 1")}
