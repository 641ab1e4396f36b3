"""accounts list, show, add, set, remove."""

import pytest

from tests.commands.shell import Shell
from tests.conftest import Bench


def test_accounts_are_listed_with_masked_tokens(run: Shell, routed: Bench) -> None:
    listed = run.good("accounts", "list")
    (line,) = [line for line in listed.splitlines() if line.split()[0] == routed.account]
    assert "any shortcode" in line
    assert "http://127.0.0.1:" in line
    assert routed.token not in listed


def test_an_account_is_added_changed_shown_and_removed(run: Shell, routed: Bench) -> None:
    name = f"{routed.account}-more"
    run.good("accounts", "add", name, "--token", f"token-of-{name}", "--shortcodes", "123,456", "--retry", "1,2,4")
    changed = run.good("accounts", "set", name, "--client-url", "http://127.0.0.1:9/sms", "--no-strict")
    assert changed == run.good("accounts", "show", name)
    shown = dict(line.split(maxsplit=1) for line in changed.splitlines())
    assert shown["shortcodes"] == "123, 456"
    assert shown["retry"] == "1, 2, 4"
    assert shown["client_url"] == "http://127.0.0.1:9/sms"
    assert shown["strict"] == "false"
    assert run.json("accounts", "set", name, "--client-url", "")["client_url"] is None
    run.good("accounts", "remove", name)
    assert run("accounts", "show", name).exit_code == 1


def test_an_account_without_a_token_is_not_added(run: Shell) -> None:
    done = run("accounts", "add", "another")
    assert done.exit_code == 2
    assert "--token" in done.stderr


def test_changing_nothing_is_a_mistake(run: Shell, routed: Bench) -> None:
    assert run("accounts", "set", routed.account).exit_code == 2


def test_settings_that_make_no_sense_are_named_all_at_once(run: Shell, routed: Bench) -> None:
    done = run("accounts", "set", routed.account, "--retry", "4,2", "--shortcodes", "x")
    assert done.exit_code == 2
    assert "retry is" in done.stderr
    assert "Use a shortcode" in done.stderr


@pytest.mark.parametrize("verb", ["show", "remove"])
def test_an_account_that_is_not_there_is_exit_code_1(run: Shell, verb: str) -> None:
    done = run("accounts", verb, "nobody")
    assert done.exit_code == 1
    assert "nobody" in done.stderr
