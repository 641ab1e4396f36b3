"""fault add, list, remove."""

import pytest

from tests.commands.shell import NUMBER, Shell
from tests.conftest import Bench, Receiver


def test_a_fault_strikes_as_often_as_it_was_asked_to(run: Shell, routed: Bench) -> None:
    run.good("fault", "add", "sendsms", "--status", "503", "--times", "2")
    assert [routed.submit().status_code for _ in range(3)] == [503, 503, 200]
    assert "0 of 2 left" in run.good("fault", "list")


def test_a_fault_strikes_only_calls_that_fit_its_filters(run: Shell, routed: Bench) -> None:
    run.good("fault", "add", "sendsms", "--status", "429", "--always", "--to", NUMBER, "--text", "a*", "--ignore-case")
    assert [routed.submit(message="Any?").status_code for _ in range(2)] == [429, 429]
    assert "until it is removed" in run.good("fault", "list")
    assert routed.submit(message="Been there?").status_code == 200
    assert routed.submit(message="Any?", to="2348020000001").status_code == 200


@pytest.mark.parametrize(
    ("options", "effect", "words"),
    [
        (("--status", "500", "--body", "oops"), {"status": 500, "body": "oops"}, "answers 500"),
        (("--status", "500", "--delay", "250ms"), {"status": 500, "delay_s": 0.25}, "after 0.25 s answers 500"),
        (("--delay", "2s"), {"delay_s": 2}, "after 2 s"),
        (("--drop", "accepted"), {"drop": "accepted"}, "drops: accepted"),
        (("--hold",), {"hold": True}, "holds"),
    ],
)
def test_every_effect_can_be_asked_for(
    run: Shell, options: tuple[str, ...], effect: dict[str, object], words: str
) -> None:
    made = run.json("fault", "add", "webhook", *options)
    nothing = {"status": None, "body": None, "delay_s": 0, "drop": None, "hold": False}
    assert (made["on"], made["times"], made["effect"]) == ("webhook", 1, {**nothing, **effect})
    (line,) = run.good("fault", "list").splitlines()
    assert line.split("  ") == [made["id"], "webhook", words, "1 of 1 left"]


def test_a_fault_of_webhooks_strikes_the_next_reply(run: Shell, routed: Bench, receiver: Receiver) -> None:
    routed.sent()
    run.good("fault", "add", "webhook", "--drop", "refused")
    assert "retrying" in run.good("reply", NUMBER, "1")
    assert receiver.received == []


def test_faults_are_removed_one_by_one_or_all_at_once(run: Shell, routed: Bench) -> None:
    ids = [run.json("fault", "add", "sendsms", "--status", "500")["id"] for _ in range(4)]
    run.good("fault", "remove", ids[0], ids[2])
    assert [line.split()[0] for line in run.good("fault", "list").splitlines()] == [ids[1], ids[3]]
    run.good("fault", "remove", "--all")
    assert run.good("fault", "list") == ""
    assert routed.submit().status_code == 200


@pytest.mark.parametrize("arguments", [(), ("f1", "--all")])
def test_what_to_remove_is_said_in_one_way(run: Shell, arguments: tuple[str, ...]) -> None:
    done = run("fault", "remove", *arguments)
    assert done.exit_code == 2
    assert "--all" in done.stderr


def test_a_fault_that_is_not_there_is_exit_code_1(run: Shell) -> None:
    done = run("fault", "remove", "f1")
    assert done.exit_code == 1
    assert "f1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("sendsms",), "effect"),
        (("sendsms", "--status", "200"), "status"),
        (("sendsms", "--status", "503", "--times", "0"), "times"),
        (("sendsms", "--status", "503", "--pattern", "("), "pattern"),
        (("elsewhere", "--status", "503"), "sendsms"),
    ],
)
def test_a_fault_that_makes_no_sense_is_exit_code_2_and_says_why(
    run: Shell, arguments: tuple[str, ...], error: str
) -> None:
    done = run("fault", "add", *arguments)
    assert done.exit_code == 2
    assert error in done.stderr


def test_a_fault_is_of_one_account(run: Shell, routed: Bench) -> None:
    name = f"{routed.account}-other"
    run.good("accounts", "add", name, "--token", f"token-of-{name}")
    run.good("fault", "add", "sendsms", "--status", "503")
    assert Bench(sandbox=routed.sandbox, account=name, token=f"token-of-{name}").submit().status_code == 200
    assert routed.submit().status_code == 503
    run.good("accounts", "remove", name)
