"""scenario list, show, check, run, stop, record."""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select
from subprocess import PIPE
from time import monotonic

import pytest

from sandbox.demo import survey
from sandbox.http import server as http_server
from sandbox.scenario import catalogue
from tests.commands.shell import NUMBER, Shell
from tests.conftest import PATIENCE_S, Bench, Receiver

terminals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")

MISTAKEN = """\
scenario: Not A Name
description: {not: text}
steps:
  - expect: {text: "*cinema?*", within: soon}
  - reply: {test: yesterday}
  - wait: 5s
  - fault: {on: elsewhere, status: 503}
"""
MISTAKES = {1, 2, 4, 5, 6, 7}  # their lines
NEVER = """\
scenario: never
steps:
  - expect: {text: "never*"}
"""
ONCE = """\
scenario: once
steps:
  - handset: {state: "on"}
  - expect: {text: "never*"}
"""
PERSONA = """\
scenario: persona
rules:
  - when: {text: "*"}
    reply: {text: "ok"}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], str]:
    """`write(name, content)`: a file in the folder in which commands run."""

    def written(name: str, content: str) -> str:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return name

    return written


# check, without any sandbox -----------------------------------------------------------------------------------------


def test_every_mistake_of_a_file_is_printed_at_once_with_its_place(
    run: Shell, write: Callable[[str, str], str]
) -> None:
    done = run("scenario", "check", write("cinema.yaml", MISTAKEN))
    assert done.exit_code == 2
    places = [re.match(r"cinema\.yaml:(\d+):\d+: \S", line) for line in done.stdout.splitlines()]
    assert {place and int(place[1]) for place in places} == MISTAKES


def test_several_files_are_checked_and_the_good_ones_named(run: Shell, write: Callable[[str, str], str]) -> None:
    names = write("never.yaml", NEVER), write("cinema.yaml", MISTAKEN), write("persona.yaml", PERSONA)
    done = run("scenario", "check", *names)
    assert done.exit_code == 2
    assert "never.yaml: good, 1 step\n" in done.stdout
    assert "persona.yaml: good, 1 rule\n" in done.stdout
    assert run.good("scenario", "check", names[0], names[2]).count("good") == 2


def test_errors_are_there_for_machines(run: Shell, write: Callable[[str, str], str]) -> None:
    name = write("cinema.yaml", MISTAKEN)
    told = run.json("scenario", "check", name, write("never.yaml", NEVER), exit_code=2)
    assert told["ok"] is False
    assert {each["file"] for each in told["errors"]} == {name}
    assert {each["line"] for each in told["errors"]} == MISTAKES
    assert run.json("scenario", "check", "never.yaml") == {"ok": True, "errors": []}


@pytest.mark.parametrize(
    ("content", "place", "error"),
    [
        (b"scenario: x\nsteps:\n  - reply: {text: \xc3\xa9\xff}\n", "3:20:", "UTF-8"),
        (b"\xef\xbb\xbf" + NEVER.encode(), "", "good"),
        (b"#" * (1024 * 1024) + "é".encode() * 10, "1:", ""),
        (b"scenario: \x1b[31mred\n", "1:", ""),
    ],
    ids=["not UTF-8", "with a byte order mark", "too large, cut within a character", "hostile"],
)
def test_a_file_may_hold_anything(run: Shell, tmp_path: Path, content: bytes, place: str, error: str) -> None:
    (tmp_path / "odd.yaml").write_bytes(content)
    done = run("scenario", "check", "odd.yaml")
    assert done.exit_code == (2 if place else 0)
    assert done.stdout.startswith(f"odd.yaml:{place}")
    assert error in done.stdout
    assert "\x1b" not in done.stdout


def test_a_file_that_is_not_there_is_a_error_beside_the_others(run: Shell, write: Callable[[str, str], str]) -> None:
    done = run("scenario", "check", "nothing.yaml", write("cinema.yaml", MISTAKEN))
    assert done.exit_code == 2
    assert done.stdout.startswith("nothing.yaml:1:1: The file cannot be read: ")
    assert "cinema.yaml:7:" in done.stdout


def test_check_needs_no_sandbox(run: Shell, write: Callable[[str, str], str]) -> None:
    assert (
        run("scenario", "check", write("never.yaml", NEVER), NINEBITS_SANDBOX_URL="http://127.0.0.1:1").exit_code == 0
    )


# list and show ------------------------------------------------------------------------------------------------------


def test_built_in_scenarios_are_listed_beside_the_accounts_own(run: Shell, routed: Bench) -> None:
    routed.call("PUT", "/scenarios/never", {"source": NEVER})
    rows = {line.split()[0]: re.split("  +", line) for line in run.good("scenario", "list").splitlines()}
    assert set(rows) == {*catalogue.built_in(), "never"}
    assert rows["never"] == ["never", "own", "1 step"]
    assert rows["happy-survey"][1:3] == ["built-in", "9 steps"]


@terminals
def test_a_scenario_is_shown_as_it_is_but_for_a_terminal(run: Shell, routed: Bench, tmp_path: Path) -> None:
    source = 'scenario: odd\nsteps:\n  - send: {text: "\u202eodd \U0001f469\u200d\U0001f467", to: 48974}  # ₦\n'
    routed.call("PUT", "/scenarios/odd", {"source": source}).raise_for_status()
    assert run.good("scenario", "show", "odd") == source
    run.good("scenario", "show", "odd", "-o", "odd.yaml")
    assert (tmp_path / "odd.yaml").read_text(encoding="utf-8") == source
    shown, _ = run.on_terminal("scenario", "show", "odd")
    assert "\u202e" not in shown
    assert '{text: "\\u202eodd ' in shown
    assert shown.count("\n") == source.count("\n")


def test_a_scenario_that_is_not_there_is_exit_code_1(run: Shell) -> None:
    assert run("scenario", "show", "nothing").exit_code == 1
    assert run("scenario", "run", "nothing").exit_code == 1


# run ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cinema(alone: None, start_sandbox: Callable[..., Bench]) -> Iterator[Shell]:
    """A sandbox with a clock that stands still, and the sample application behind it."""
    bench = start_sandbox()
    with http_server.application(survey.build(base_url=bench.sandbox.url, token=bench.token)) as url:
        bench.patch_account(client_url=f"{url}/sms")
        yield Shell(bench)


def test_a_run_that_finishes_tells_every_step_and_is_exit_code_0(cinema: Shell) -> None:
    began = monotonic()
    done = cinema("scenario", "run", "happy-survey", "--handset", NUMBER)
    assert done.exit_code == 0, done.output
    told = done.stderr.splitlines()
    assert [line.split()[0] for line in told] == [f"{step}/9" for step in range(1, 10)]
    assert told[0].split(maxsplit=1)[1] == 'send "CINEMA"'
    assert told[3].split(maxsplit=1)[1] == 'expect "*film*" within 10 s'
    assert "happy-survey  finished, 9 of 9 steps" in done.stdout
    assert monotonic() - began < PATIENCE_S  # six seconds of delays pass at once, two of silence do not


def test_a_file_is_uploaded_under_its_name_and_run(cinema: Shell, write: Callable[[str, str], str]) -> None:
    steps = '[{send: {text: CINEMA, to: 48974, after: 2h}}, {expect: {text: "*cinema?*"}}]'
    run = cinema.json("scenario", "run", write("file.yaml", f"scenario: mine\nsteps: {steps}\n"), "--handset", NUMBER)
    assert (run["scenario"], run["state"], run["step"]) == ("mine", "finished", 2)
    assert "mine" in cinema.good("scenario", "list")


def test_a_run_that_fails_is_exit_code_1_with_the_reason_and_the_misses(
    cinema: Shell, write: Callable[[str, str], str]
) -> None:
    steps = '[{send: {text: CINEMA, to: 48974}}, {expect: {text: "*theatre?*", within: 1s}}]'
    done = cinema("scenario", "run", write("file.yaml", f"scenario: mine\nsteps: {steps}\n"), "--handset", NUMBER)
    assert done.exit_code == 1
    assert "mine  failed, 1 of 2 steps" in done.stdout
    _, headline, step, reason, miss, difference = done.stderr.splitlines()
    assert headline == "ninebits-sandbox: the scenario mine has failed"
    assert step == '  at step 2 of 2: expect "*theatre?*" within 1 s'
    assert "none came" in reason
    assert "did not fit step 2:" in miss
    assert 'wanted "*theatre?*", found "When was the last time' in difference


def test_a_run_that_takes_too_long_is_stopped_and_exit_code_1(
    run: Shell, routed: Bench, write: Callable[[str, str], str]
) -> None:
    done = run("scenario", "run", write("never.yaml", NEVER), "--wait", "300ms")
    assert done.exit_code == 1
    assert "never  stopped, 0 of 1 steps" in done.stdout
    assert "had not finished within 0.3 s" in done.stderr
    assert 'at step 1 of 1: expect "never*"' in done.stderr
    assert routed.get("/runs", state="running")["runs"] == []


def test_a_run_that_nobody_waits_for_goes_on_until_it_is_stopped(
    run: Shell, routed: Bench, write: Callable[[str, str], str]
) -> None:
    started = run.json("scenario", "run", write("never.yaml", NEVER), "--wait", "0")
    assert started["state"] == "running"
    assert "stopped" in run.good("scenario", "stop", started["id"])
    again = run("scenario", "stop", started["id"])
    assert again.exit_code == 1
    assert started["id"] in again.stderr


def test_a_persona_is_left_running(run: Shell, routed: Bench, write: Callable[[str, str], str]) -> None:
    assert "persona  running, rules alone" in run.good("scenario", "run", write("persona.yaml", PERSONA))
    routed.sent()
    assert run.good("wait", "--direction", "mo", "--text", "ok")


def test_a_run_is_stopped_when_somebody_interrupts_it(
    run: Shell, routed: Bench, write: Callable[[str, str], str]
) -> None:
    with run.process("scenario", "run", write("once.yaml", ONCE), stderr=PIPE) as process:
        assert process.stderr is not None
        assert select([process.stderr], [], [], PATIENCE_S)[0], "it says nothing"
        assert "1/2" in process.stderr.readline()  # it follows the run
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) != 0
    (ended,) = routed.get("/runs")["runs"]
    assert ended["state"] == "stopped"


def test_a_file_with_mistakes_is_not_run(run: Shell, routed: Bench, write: Callable[[str, str], str]) -> None:
    done = run("scenario", "run", write("cinema.yaml", MISTAKEN))
    assert done.exit_code == 2
    assert "cinema.yaml:4:" in done.stderr
    assert routed.get("/runs")["runs"] == []


def test_a_handset_that_is_none_is_exit_code_2(run: Shell, write: Callable[[str, str], str]) -> None:
    assert run("scenario", "run", write("never.yaml", NEVER), "--handset", "0802").exit_code == 2


# record -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def talked(run: Shell, routed: Bench, receiver: Receiver) -> Shell:
    routed.sent(message="Been to the cinema?")
    run.good("reply", NUMBER, "yesterday")
    routed.sent(message="From another shortcode", **{"from": "40404"})
    return run


def test_a_conversation_is_recorded_as_a_scenario_that_can_be_played(talked: Shell, tmp_path: Path) -> None:
    talked.good("scenario", "record", NUMBER, "-o", "recorded.yaml")
    assert "3 steps" in talked.good("scenario", "check", "recorded.yaml")
    assert talked.good("scenario", "record", NUMBER) == (tmp_path / "recorded.yaml").read_text(encoding="utf-8")


def test_a_conversation_is_recorded_as_a_test_or_a_transcript(talked: Shell) -> None:
    compile(talked.good("scenario", "record", NUMBER, "--as", "pytest"), "test_recorded.py", "exec")
    assert "yesterday" in talked.good("scenario", "record", NUMBER, "--as", "text")
    told = talked.json("scenario", "record", NUMBER, "--as", "text")
    assert told["content"] == talked.good("scenario", "record", NUMBER, "--as", "text")


def test_a_record_can_be_of_one_shortcode(talked: Shell) -> None:
    recorded = talked.good("scenario", "record", NUMBER, "--shortcode", "40404", "--as", "text")
    assert "From another shortcode" in recorded
    assert "cinema" not in recorded
    assert talked.good("scenario", "record", NUMBER, "--shortcode", "777", "--as", "text") == ""


def test_json_of_a_run_is_the_runs_own(run: Shell, routed: Bench, write: Callable[[str, str], str]) -> None:
    done = run("scenario", "run", write("never.yaml", NEVER), "--wait", "100ms", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told == routed.get(f"/scenarios/never/runs/{told['id']}")
