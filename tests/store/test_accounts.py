"""Accounts as they are stored, and as they are found."""

import sqlite3
from dataclasses import replace

import pytest

from sandbox.model import Account, CallbackAuth, MsisdnFormat, Order, Shortcode
from sandbox.store import accounts
from sandbox.store.accounts import AccountCache
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


# Stored ------------------------------------------------------------------------------------------------------------


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


# In memory ---------------------------------------------------------------------------------------------------------


def test_an_account_is_found_by_its_name() -> None:
    assert AccountCache([PLAIN, FULL]).get("full") is FULL


def test_an_account_is_found_by_its_token() -> None:
    assert AccountCache([PLAIN, FULL]).by_token("token-of-plain") is PLAIN


@pytest.mark.parametrize("token", ["", "token-of", "TOKEN-OF-PLAIN", "token-of-plain "])
def test_a_token_finds_an_account_only_when_it_is_the_same(token: str) -> None:
    assert AccountCache([PLAIN, FULL]).by_token(token) is None


def test_a_name_that_nobody_has_finds_nothing() -> None:
    assert AccountCache([PLAIN]).get("full") is None


def test_accounts_are_listed_in_the_order_they_came() -> None:
    assert AccountCache([PLAIN, FULL]).all() == [PLAIN, FULL]


def test_an_account_keeps_its_place_when_it_is_changed() -> None:
    directory = AccountCache([PLAIN, FULL])
    directory.put(replace(PLAIN, token="a-new-token"))
    assert [account.name for account in directory.all()] == ["plain", "full"]


def test_an_account_that_got_a_new_token_is_found_by_that() -> None:
    directory = AccountCache([PLAIN])
    changed = replace(PLAIN, token="a-new-token")
    directory.put(changed)
    assert directory.by_token("a-new-token") is changed


def test_an_account_that_got_a_new_token_is_not_found_by_the_old_one() -> None:
    directory = AccountCache([PLAIN])
    directory.put(replace(PLAIN, token="a-new-token"))
    assert directory.by_token(PLAIN.token) is None


def test_a_removed_account_is_not_found_by_its_token() -> None:
    directory = AccountCache([PLAIN, FULL])
    directory.remove("plain")
    assert directory.by_token(PLAIN.token) is None


def test_removing_what_is_not_there_changes_nothing() -> None:
    directory = AccountCache([PLAIN])
    directory.remove("full")
    assert directory.all() == [PLAIN]


def test_a_hidden_account_is_not_found_and_stands_afterwards_where_it_stood() -> None:
    directory = AccountCache([PLAIN, FULL])
    with directory.hidden("plain"):
        assert (directory.get("plain"), directory.by_token(PLAIN.token), directory.all()) == (None, None, [FULL])
    assert (directory.get("plain"), directory.by_token(PLAIN.token)) == (PLAIN, PLAIN)
    assert directory.all() == [PLAIN, FULL]


def test_what_is_changed_of_a_hidden_account_is_found_afterwards() -> None:
    directory = AccountCache([PLAIN])
    changed = replace(PLAIN, strict=False)
    with directory.hidden("plain"):
        directory.put(changed)
        assert directory.all() == []
    assert directory.all() == [changed]
