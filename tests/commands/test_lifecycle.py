"""ready, reset."""

from collections.abc import Callable

from sandbox.model import Account
from sandbox.settings import DEFAULT_ACCOUNT
from tests.commands.shell import PREFIX, Shell
from tests.conftest import Bench

NOWHERE = "http://127.0.0.1:1"


def test_ready_says_by_its_exit_code_whether_a_sandbox_answers(run: Shell) -> None:
    assert run("ready").exit_code == 0
    assert run.json("ready") == {"ready": True}
    gone = run("ready", "--url", NOWHERE, "--wait", "100ms")
    assert gone.exit_code == 3
    assert "not ready" in gone.stderr


def test_a_command_without_a_sandbox_is_exit_code_3_with_the_remedy(run: Shell) -> None:
    done = run("messages", "--url", NOWHERE)
    assert done.exit_code == 3
    assert "ninebits-sandbox serve" in done.stderr


def test_reset_forgets_the_account_alone(run: Shell, start_sandbox: Callable[..., Bench]) -> None:
    other = Account(name="other", token="another-token")
    bench = start_sandbox(accounts=(DEFAULT_ACCOUNT, other))
    shell = Shell(bench)
    bench.sent(message="mine")
    Bench(sandbox=bench.sandbox, account="other", token="another-token").sent(message="theirs")
    assert "default" in shell("reset", **{f"{PREFIX}ACCOUNT": ""}).stdout  # the default one, when none is named
    assert shell.good("messages") == ""
    assert "theirs" in shell.good("messages", "--account", "other")
    assert "everything" in shell.good("reset", "--all")
    assert shell.good("messages", "--account", "other") == ""


def test_reset_asks_for_a_name_where_no_account_is_the_default_one(
    run: Shell, start_sandbox: Callable[..., Bench]
) -> None:
    accounts = (Account(name="a", token="token-of-a"), Account(name="b", token="token-of-b"))
    shell = Shell(start_sandbox(accounts=accounts))
    done = shell("reset", **{f"{PREFIX}ACCOUNT": ""})
    assert done.exit_code == 2
    assert "--account (a, b)" in done.stderr


def test_the_control_token_comes_from_flag_or_environment(run: Shell, start_sandbox: Callable[..., Bench]) -> None:
    token = "a-control-token-of-20"
    shell = Shell(start_sandbox(control_token=token))
    refused = shell("messages")
    assert refused.exit_code == 2
    assert "token" in refused.stderr
    shell.good("messages", "--control-token", token)
    assert shell("messages", **{f"{PREFIX}CONTROL_TOKEN": token}).exit_code == 0
    assert (
        shell("messages", "--control-token", "another-token-of-20", **{f"{PREFIX}CONTROL_TOKEN": token}).exit_code == 2
    )
