"""The shipped scenarios on a real server, against applications behind real sockets: every run finishes."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests

from sandbox import testing
from sandbox.demo import survey
from sandbox.http import server as http_server
from sandbox.model import FaultOn
from sandbox.scenario import script
from sandbox.scenario.catalogue import built_in
from sandbox.scenario.steps import Expect, MakeFault, Scenario, Send
from sandbox.testing import Handset, Sandbox
from tests.conftest import PATIENCE_S, Bench

NUMBER = "2348020000000"


def tolerant(bench: Bench) -> Callable[..., Iterable[bytes]]:
    """The survey once more, as an application that shrugs when the gateway refuses a message or hangs up."""
    rules = survey.Survey()

    def sms(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        reply = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        text = rules.answer(reply["from"], reply["message"], reply["session_id"], reply["sent_date"])
        with suppress(requests.ConnectionError):
            bench.submit(from_=reply["to"], to=reply["from"], message=text, session_id=reply["session_id"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    return sms


@pytest.mark.parametrize("name", built_in())
def test_a_shipped_scenario_finishes(start_sandbox: Callable[..., Bench], name: str) -> None:
    scenario = script.read(built_in()[name])
    assert isinstance(scenario, Scenario)
    bench = start_sandbox()  # a clock of its own, which the test advances
    refusals = _refusals(scenario)
    app = tolerant(bench) if refusals else survey.build(base_url=bench.sandbox.url, token=bench.token)
    with http_server.application(app) as url:
        bench.patch_account(client_url=f"{url}/sms")
        if isinstance(scenario.steps[0], Send):
            run = bench.post(f"/scenarios/{name}/runs")
        else:
            run = bench.post(f"/scenarios/{name}/runs", {"msisdn": NUMBER})
            for _ in range(1 + refusals):  # a person tries again
                bench.post(f"/handsets/{NUMBER}/send", {"text": "CINEMA", "to": "48974"})
        run = _ended(bench, scenario, run)
    assert (run["state"], run["reason"], run["misses"]) == ("finished", "", [])


def _refusals(scenario: Scenario) -> int:
    """How many messages the gateway does not take before the application's first."""
    match scenario.steps[0]:
        case MakeFault(on=FaultOn.SENDSMS, times=times, effect=effect) if not effect.delay_s:
            return times or 0
    return 0


def _ended(bench: Bench, scenario: Scenario, run: Any) -> Any:
    """The run when it has ended. A wait lets the clock jump to the next text; silence is over when it is advanced."""
    seq = 0
    for _ in range(2 * len(scenario.steps)):
        run = bench.get(f"/scenarios/{run['scenario']}/runs/{run['id']}")
        if run["state"] != "running":
            break
        step = scenario.steps[run["step"]] if run["step"] < len(scenario.steps) else None
        if isinstance(step, Expect):
            seq = bench.get("/messages/wait", direction="mt", to=run["msisdn"], after=seq, timeout=int(PATIENCE_S))[
                "seq"
            ]
        else:
            bench.sandbox.request("PUT", "/_sandbox/v1/clock", json={"action": "advance", "seconds": 10})
    return run


# A conversation that was recorded, and replayed with the same application


@pytest.fixture
def cinema() -> Iterator[Sandbox]:
    with testing.start() as server, server.account() as ninebits:
        app = survey.build(base_url=ninebits.url, token=ninebits.token)
        with http_server.application(app) as url:
            ninebits.client_url = f"{url}/sms"
            yield ninebits


@pytest.fixture
def talker(cinema: Sandbox) -> Handset:
    """Who took the survey already."""
    handset = cinema.handset()
    handset.send("CINEMA", "48974")
    handset.wait_for_message("*cinema?")
    handset.reply("{yesterday} at 19:30,\nfor \"₦4500\" \\ 'all in'")
    handset.wait_for_message("*film*")
    cinema.clock.advance(7200)
    handset.reply("*[Things Fall Apart]?")
    handset.wait_for_message("*5*")
    handset.reply("5")
    handset.wait_for_message("Thank you*")
    return handset


def test_a_recorded_test_passes_with_the_application_that_it_was_recorded_with(
    cinema: Sandbox, talker: Handset
) -> None:
    module: dict[str, Any] = {}
    exec(cinema.transcript(talker, "pytest"), module)
    another = cinema.handset()
    module["test_recorded"](cinema, another)
    assert [each.text for each in another.messages()] == [each.text for each in talker.messages()]


def test_a_recorded_scenario_finishes_with_the_application_that_it_was_recorded_with(
    cinema: Sandbox, talker: Handset
) -> None:
    another = cinema.handset()
    run = cinema.scenario(cinema.transcript(talker, "scenario"), another)
    run.wait()
    assert [each.text for each in another.messages()] == [each.text for each in talker.messages()]
