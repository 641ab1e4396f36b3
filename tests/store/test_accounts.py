"""Accounts as they are stored."""

import sqlite3
from dataclasses import replace

import pytest

from sandbox.model import Account, CallbackAuth, MsisdnFormat, Order, Shortcode
from sandbox.store import accounts
from sandbox.store.database import Tx

PLAIN = Account(name="plain", token="token-of-plain")
FULL = Account(
    name="full",
    token="token-of-full",
    shortcodes=(Shortcode("48974"), Shortcode("007")),
    client_url="https://user:pass%20word@example.com/sms?from=9bits",
    callback_auth=CallbackAuth.BASIC,
    msisdn_format=MsisdnFormat.MIXED,
    revision="2025",
    strict=False,
    success_body='{"id": "{message_id}", "text": "₦"}',
    retry_s=(1, 2, 86_400),
    order=Order.CONVERSATION,
)


@pytest.mark.parametrize("account", [PLAIN, FULL], ids=lambda account: account.name)
def test_an_account_is_read_as_it_was_stored(tx: Tx, account: Account) -> None:
    accounts.put(tx, account)
    assert accounts.stored(tx) == [account]


def test_accounts_come_by_name(tx: Tx) -> None:
    for account in (PLAIN, FULL):
        accounts.put(tx, account)
    assert [account.name for account in accounts.stored(tx)] == ["full", "plain"]


def test_putting_an_account_again_replaces_it(tx: Tx) -> None:
    accounts.put(tx, PLAIN)
    changed = replace(FULL, name="plain")
    accounts.put(tx, changed)
    assert accounts.stored(tx) == [changed]


def test_a_removed_account_is_gone(tx: Tx) -> None:
    for account in (PLAIN, FULL):
        accounts.put(tx, account)
    accounts.remove(tx, "full")
    assert accounts.stored(tx) == [PLAIN]


def test_two_accounts_cannot_have_one_token(tx: Tx) -> None:
    accounts.put(tx, PLAIN)
    with pytest.raises(sqlite3.IntegrityError):
        accounts.put(tx, replace(FULL, token=PLAIN.token))


def test_a_stored_account_is_found_by_its_name_and_a_token_by_its_owner(tx: Tx) -> None:
    accounts.put(tx, PLAIN)
    accounts.put(tx, FULL)
    assert [accounts.get(tx, name) for name in ("full", "plain", "nobody")] == [FULL, PLAIN, None]
    assert [accounts.owner_of(tx, token) for token in (FULL.token, PLAIN.token, "?")] == ["full", "plain", None]
