"""Accounts as they are found in memory."""

from dataclasses import replace

import pytest

from sandbox.core.accounts import AccountCache
from sandbox.model import Account

PLAIN = Account(name="plain", token="token-of-plain")
FULL = Account(name="full", token="token-of-full")


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
