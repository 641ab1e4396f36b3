"""send, reply, messages, wait, verify, requests, tail, findings."""

import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.commands.shell import NUMBER, Shell
from tests.conftest import PATIENCE_S, Bench, Receiver

OTHER = "2348020000001"


def test_send_takes_the_token_of_the_account_it_acts_for(run: Shell, routed: Bench, tmp_path: Path) -> None:
    settings = f'[[accounts]]\nname = "default"\n[[accounts]]\nname = "{routed.account}"\ntoken = "{routed.token}"\n'
    (tmp_path / "ninebits-sandbox.toml").write_text(settings)
    run.good("send", "hello", "--from", "48974", "--to", NUMBER)
    assert "hello" in run.good("messages")
    assert run("send", "hello", "--from", "48974", "--to", NUMBER, "--account", "nobody").exit_code == 2


def test_send_goes_through_the_gateway_and_reply_waits_for_the_application(
    run: Shell, routed: Bench, receiver: Receiver
) -> None:
    run.good("send", "Been to the cinema?", "--from", "48974", "--to", f"+{NUMBER}", "--token", routed.token)
    assert "delivered" in run.good("reply", NUMBER, "yesterday")
    assert json.loads(receiver.wait_for(1)[0].body)["message"] == "yesterday"


def test_a_refused_send_prints_every_problem_and_is_exit_code_2(run: Shell, routed: Bench) -> None:
    done = run("send", "hello", "--from", "4", "--to", "0802", "--token", routed.token)
    assert done.exit_code == 2
    assert "not a shortcode" in done.stderr
    assert "national number" in done.stderr


def test_a_reply_of_its_own_session_needs_a_shortcode(run: Shell) -> None:
    assert run("reply", NUMBER, "CINEMA", "--new").exit_code == 2
    assert run.json("reply", NUMBER, "CINEMA", "--new", "--to", "48974")["message"]["to"] == "48974"


@pytest.fixture
def three(run: Shell, routed: Bench) -> Shell:
    """A question, its answer in another dialogue, and a text that takes two SMS of UCS-2."""
    routed.sent(message="Been to the cinema?", session_id="first")
    routed.call("POST", f"/handsets/{NUMBER}/reply", {"text": "Cinema, yes", "session_id": "second"})
    routed.sent(message="₦" * 71, to=OTHER, session_id="first")
    return run


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), [0, 1, 2]),
        (("--to", NUMBER), [0]),
        (("--to", f"+{OTHER}"), [2]),
        (("--from", NUMBER), [1]),
        (("--from", "48974"), [0, 2]),
        (("--session", "second"), [1]),
        (("--direction", "mo"), [1]),
        (("--text", "*cinema?"), [0]),
        (("--text", "cinema*", "--ignore-case"), [1]),
        (("--pattern", "cin.ma"), [0]),
        (("--pattern", "cin.ma", "--ignore-case"), [0, 1]),
        (("--state", "delivered"), [1]),
        (("--segments", "2"), [2]),
        (("--encoding", "UCS-2"), [2]),
        (("--from", "48974", "--to", NUMBER), [0]),
    ],
)
def test_lists_waits_and_verification_filter_as_the_api_does(
    three: Shell, filters: tuple[str, ...], found: list[int]
) -> None:
    every = [each["id"] for each in reversed(three.json("messages")["messages"])]
    wanted = [every[index] for index in found]
    assert [each["id"] for each in reversed(three.json("messages", *filters)["messages"])] == wanted
    assert [each["id"] for each in three.json("wait", *filters)["messages"]] == wanted
    assert [each["id"] for each in three.json("verify", *filters)["messages"]] == wanted


def test_a_list_can_begin_after_a_message_and_end_after_some(three: Shell) -> None:
    ids = [line.split()[1] for line in three.good("messages").splitlines()]
    assert [line.split()[1] for line in three.good("messages", "--after", ids[0]).splitlines()] == ids[1:]
    assert [line.split()[1] for line in three.good("messages", "--limit", "1").splitlines()] == ids[-1:]


# wait ---------------------------------------------------------------------------------------------------------------


def test_wait_prints_what_is_there_already(three: Shell) -> None:
    (line,) = three.good("wait", "--text", "*cinema?").splitlines()
    assert line.endswith("Been to the cinema?")


def test_wait_ends_as_soon_as_a_message_comes(alone: None, start_sandbox: Callable[..., Bench]) -> None:
    bench = start_sandbox()
    with Shell(bench).process("wait", "--text", "late*", "--timeout", "30s") as process:
        assert process.stdout is not None
        until = monotonic() + PATIENCE_S
        while not bench.sandbox.services.bus._subscriptions:
            assert monotonic() < until, "the command does not wait"
        sent = monotonic()
        bench.sent(message="late, but there")
        line = process.stdout.readline()
        assert process.wait(PATIENCE_S) == 0
    assert line.endswith("late, but there\n")
    assert monotonic() - sent < 1  # a generous limit: it is a matter of milliseconds


def test_wait_leaves_out_what_came_before(three: Shell, routed: Bench) -> None:
    *_, last = three.json("messages")["messages"]
    assert three("wait", "--text", "Been*", "--after", last["id"], "--timeout", "50ms").exit_code == 1
    routed.sent(message="Been there again?")
    (found,) = three.json("wait", "--text", "Been*", "--after", last["id"])["messages"]
    assert found["text"] == "Been there again?"


def test_wait_that_is_over_is_exit_code_1_with_the_near_misses_on_stderr(three: Shell) -> None:
    done = three("wait", "--text", "*film?", "--to", NUMBER, "--timeout", "50ms")
    assert (done.exit_code, done.stdout) == (1, "")
    headline, title, nearest, difference, *_ = done.stderr.splitlines()
    assert headline == f'ninebits-sandbox: no message came within 0.05 s: text "*film?", to "{NUMBER}"'
    assert title == "The nearest:"
    assert nearest.endswith("Been to the cinema?")
    assert difference.endswith('wanted "*film?", found "Been to the cinema?"')


def test_wait_for_several_prints_those_that_came_and_says_how_many_are_missing(three: Shell) -> None:
    assert len(three.good("wait", "--from", "48974", "--count", "2").splitlines()) == 2
    done = three("wait", "--from", "48974", "--count", "3", "--timeout", "50ms")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 2
    assert "2 of 3 messages came" in done.stderr


def test_wait_in_json_says_all_of_it_on_stdout(three: Shell) -> None:
    done = three("wait", "--text", "*film?", "--timeout", "50ms", "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert (told["satisfied"], told["messages"]) == (False, [])
    assert told["near_misses"][0]["differences"][0]["field"] == "text"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--pattern", "(unclosed"), "pattern"),
        (("--state", "asleep"), "state"),
        (("--count", "0"), "count"),
        (("--timeout", "1h"), "timeout"),
        (("--timeout", "soon"), "500ms, 5s, 2m, 1h30m or 1d"),
        (("--timeout", "-1"), "500ms, 5s, 2m, 1h30m or 1d"),
    ],
)
def test_a_wait_that_makes_no_sense_is_exit_code_2_and_says_why(
    run: Shell, arguments: tuple[str, ...], error: str
) -> None:
    done = run("wait", *arguments)
    assert done.exit_code == 2
    assert error in done.stderr


# verify -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "exit_code"),
    [
        ((), 0),
        (("--exactly", "2"), 0),
        (("--exactly", "1"), 1),
        (("--at-least", "2"), 0),
        (("--at-least", "3"), 1),
        (("--at-most", "2"), 0),
        (("--at-most", "1"), 1),
        (("--at-least", "1", "--at-most", "2"), 0),
        (("--exactly", "2", "--within", "20ms"), 0),
        (("--exactly", "2", "--at-least", "1"), 2),
    ],
)
def test_verify_says_by_its_exit_code_whether_as_many_match_as_should(
    three: Shell, times: tuple[str, ...], exit_code: int
) -> None:
    assert three("verify", "--from", "48974", *times).exit_code == exit_code


def test_verify_prints_what_matches_and_says_what_was_wanted(three: Shell) -> None:
    done = three("verify", "--direction", "mt", "--at-least", "1", "--at-most", "1")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["cinema?", "₦" * 71]
    assert 'ninebits-sandbox: 2 messages match, wanted at least 1 and at most 1: direction "mt"' in done.stderr


def test_verify_of_nothing_names_the_nearest(three: Shell) -> None:
    done = three("verify", "--text", "*film?")
    assert "no messages match, wanted at least 1" in done.stderr
    assert 'wanted "*film?", found "Been to the cinema?"' in done.stderr


# The rest -----------------------------------------------------------------------------------------------------------


def test_refused_calls_are_listed_with_the_reason(run: Shell, routed: Bench) -> None:
    routed.sent()
    routed.submit(message=None)
    refused = run.good("requests", "--verdict", "refused")
    assert "message is missing" in refused
    assert len(run.good("requests").splitlines()) == 2


def test_calls_whose_token_no_account_owns_are_listed_apart(run: Shell, routed: Bench) -> None:
    routed.sandbox.request("POST", "/ng/v1/sendsms", json={}, headers={"Authorization": f"Bearer no-{routed.token}"})
    assert run.good("requests") == ""
    assert " 401 POST /ng/v1/sendsms " in run.good("requests", "--unowned")


def test_tail_prints_what_happened_and_goes_on(run: Shell, routed: Bench) -> None:
    routed.sent(message="before")
    with run.process("tail", "--after", "0") as process:
        assert process.stdout is not None
        seen = ""
        while "before" not in seen:
            seen = process.stdout.readline()
        routed.sent(message="after")
        while "after" not in seen:
            seen = process.stdout.readline()
        assert "message_submitted" in seen


def test_findings_say_what_is_suspicious_and_what_to_do(run: Shell, routed: Bench, receiver: Receiver) -> None:
    assert "Nothing is suspicious" in run.good("findings")
    receiver.answer_with(200, b"<p>thanks</p>")
    routed.sent()
    run.good("reply", NUMBER, "yes")
    head, message, hint = run.good("findings").splitlines()[-3:]
    (found,) = [each for each in run.json("findings")["findings"] if each["code"] == "answer_not_json"]
    assert found["code"] in head
    assert found["webhook_delivery_id"] in head
    assert (message.strip(), hint.strip()) == (found["message"], found["hint"])
