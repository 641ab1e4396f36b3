"""Faults, the clock and scenarios in a test's hand."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import testing
from sandbox.testing import Handset, Sandbox
from sandbox.testkit.transport import Refused
from tests.testkit.conftest import failure, submit

SURVEY = """\
scenario: survey-of-this-test
steps:
  - expect: {text: "*cinema?*"}
  - reply: {text: "yesterday", after: 2h}
  - expect: {text: "*thank you*"}
"""


# Faults and the clock


def test_the_next_calls_fail_and_those_after_do_not(ninebits: Sandbox, handset: Handset) -> None:
    fault = ninebits.fail_next(2, status=503)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            submit(ninebits, handset.number, "hello")
        assert caught.value.status == 503
    submit(ninebits, handset.number, "hello")
    assert fault.times == 2
    assert [(each.used, each.left) for each in ninebits.faults.all()] == [(2, 0)]


def test_faults_choose_their_calls_and_are_removed(ninebits: Sandbox, handset: Handset) -> None:
    fault = ninebits.faults.add(times=None, status=429, text="*spam*")
    submit(ninebits, handset.number, "hello")
    with pytest.raises(Refused):
        submit(ninebits, handset.number, "some spam")
    ninebits.faults.remove(fault)
    submit(ninebits, handset.number, "more spam")
    ninebits.faults.add("webhook", status=500)
    ninebits.faults.clear()
    assert ninebits.faults.all() == []


def test_webhooks_fail_too(routed: Sandbox, handset: Handset) -> None:
    routed.fail_next(on="webhook", status=500)
    webhook = handset.send("1", "48974")
    assert webhook.state == "retrying"
    routed.clock.advance(30)
    assert webhook.state == "delivered"


def test_the_clock_stands_still_until_it_is_moved(ninebits: Sandbox) -> None:
    clock = ninebits.clock
    begun = clock.now()
    assert clock.now() == begun
    clock.advance(90)
    assert (clock.now() - begun).total_seconds() == 90
    clock.resume()
    clock.freeze()
    assert clock.now() == clock.now()


def test_the_clock_runs_at_the_systems_time_when_it_is_told_to() -> None:
    with testing.start() as server, server.account() as ninebits:
        ninebits.clock.advance(7200)
        ninebits.clock.system()
        told = ninebits.client.clock()
        assert (told["frozen"], told["ahead_s"]) == (False, pytest.approx(0, abs=0.5))
        server.client.close()


# Scenarios


def test_a_reply_after_two_hours_is_not_waited_for(ninebits: Sandbox, handset: Handset) -> None:
    ninebits.client_url = thanking(ninebits)
    run = ninebits.scenario(SURVEY, handset)
    assert (run.state, run.finished) == ("running", False)
    submit(ninebits, handset.number, "Been to the cinema?")
    assert [each.text for each in handset.wait_for_messages(2)][1] == "thank you"
    run.wait()
    assert run.finished


def thanking(ninebits: Sandbox) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        came = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        submit(ninebits, came["from"], "thank you", session_id=came["session_id"])
        start_response("200 OK", [])
        return [b"{}"]

    return app


def test_a_run_waits_for_the_time_that_must_pass_without_a_message(ninebits: Sandbox, handset: Handset) -> None:
    quiet = "scenario: quiet\nsteps:\n  - expect: {text: hello}\n  - expect_none: {within: 150ms}\n"
    run = ninebits.scenario(quiet, handset)
    submit(ninebits, handset.number, "hello")
    run.wait()
    assert run.finished


def test_a_scenario_is_named_or_a_file_or_its_text(ninebits: Sandbox, handset: Handset, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SURVEY.replace("survey-of-this-test", "mine"))
    assert ninebits.scenario("happy-survey", handset).scenario == "happy-survey"
    assert ninebits.scenario(file, ninebits.handset()).scenario == "mine"
    assert ninebits.scenario(str(file), ninebits.handset().number).scenario == "mine"
    assert ninebits.scenario(SURVEY, ninebits.handset()).scenario == "survey-of-this-test"


def test_a_scenario_that_cannot_be_read_is_told_with_file_line_and_column(ninebits: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("scenario: broken\nsteps:\n  - expct: {text: hello}\n  - reply: {}\n")
    with pytest.raises(testing.ScenarioInvalid) as caught:
        ninebits.scenario(file)
    places = [re.match(r"(.*):(\d+):(\d+): \S", line) for line in str(caught.value).splitlines()]
    assert {place and place[1] for place in places} == {str(file)}
    assert {place and place[2] for place in places} == {"3", "4"}


def test_a_run_that_does_not_end_tells_where_it_stands_and_what_it_missed(ninebits: Sandbox, handset: Handset) -> None:
    run = ninebits.scenario(SURVEY, handset)
    submit(ninebits, handset.number, "Which film?")
    said = failure(lambda: run.wait(timeout=0.05))
    assert said.startswith("The scenario survey-of-this-test is running at step 1 of 3.")
    assert re.search(r"It had no use for:\n    m\d+, nearest to step 1\n +text +wanted +'\*cinema\?\*'", said)
    assert run.misses[0].differences[0].found == "Which film?"
    run.stop()
    assert run.state == "stopped"


def test_a_persona_is_not_waited_for(ninebits: Sandbox) -> None:
    run = ninebits.scenario("scenario: polite\nrules:\n  - when: {text: '*'}\n    reply: {text: thanks}\n")
    with pytest.raises(ValueError, match="goes on for ever"):
        run.wait()


def test_a_scenario_that_is_not_finished_is_complained_about(ninebits: Sandbox, handset: Handset) -> None:
    run = ninebits.scenario(SURVEY, handset)
    assert "The scenario survey-of-this-test is running at step 1 of 3." in failure(ninebits.assert_clean)
    ninebits.assert_clean(allow_unfinished=True)
    run.stop()
    ninebits.assert_clean()


def test_a_persona_is_never_finished_and_no_error(ninebits: Sandbox) -> None:
    ninebits.scenario("scenario: polite\nrules:\n  - when: {text: '*'}\n    reply: {text: thanks}\n")
    ninebits.assert_clean()
