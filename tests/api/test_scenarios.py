"""Scenarios and their runs over real HTTP: listed, written, played, stopped, and complained about."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.scenario import catalogue
from tests.api.asking import NUMBER, advance, invalid, problem, walk

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver

SURVEY = """\
scenario: cinema
description: Answers one question.
steps:
  - expect: {text: "*cinema?*"}
  - reply: {text: "yesterday", after: 2s}
  - expect: {text: "*film*"}
"""
PERSONA = """\
scenario: polite
rules:
  - when: {pattern: "(?i)stop"}
    reply: {text: "STOP"}
"""
OTHER = "2348030000001"


def put(bench: "Bench", source: str, name: str = "cinema", *, status: int = 201) -> Any:
    response = bench.call("PUT", f"/scenarios/{name}", {"source": source})
    assert response.status_code == status, response.text
    return response.json()


# Scenarios ---------------------------------------------------------------------------------------------------------


def test_every_built_in_scenario_is_listed_and_shown(bench: "Bench") -> None:
    listed = bench.get("/scenarios")
    assert listed["next"] is None
    assert [each["id"] for each in listed["scenarios"]] == sorted(catalogue.built_in())
    for each in listed["scenarios"]:
        assert each["origin"] == "built-in"
        assert each["description"]
        assert each["steps"] + each["rules"] > 0
        assert bench.get(f"/scenarios/{each['name']}") == {**each, "source": catalogue.built_in()[each["name"]]}


def test_a_scenario_of_ones_own_is_written_and_written_anew(bench: "Bench") -> None:
    made = put(bench, SURVEY)
    assert made == {
        "id": "cinema",
        "name": "cinema",
        "description": "Answers one question.",
        "origin": "own",
        "steps": 3,
        "rules": 0,
        "source": SURVEY,
    }
    assert bench.get("/scenarios/cinema") == made
    changed = put(bench, SURVEY.replace("one question", "a question"), status=200)
    assert bench.get("/scenarios/cinema")["description"] == changed["description"] == "Answers a question."
    assert [each["name"] for each in bench.get("/scenarios")["scenarios"] if each["origin"] == "own"] == ["cinema"]


def test_a_scenario_of_ones_own_stands_in_place_of_a_built_in_one_until_it_is_removed(bench: "Bench") -> None:
    source = SURVEY.replace("scenario: cinema", "scenario: happy-survey")
    put(bench, source, "happy-survey")
    assert bench.get("/scenarios/happy-survey")["source"] == source
    assert len(bench.get("/scenarios")["scenarios"]) == len(catalogue.built_in())
    assert bench.call("DELETE", "/scenarios/happy-survey").status_code == 204
    assert bench.get("/scenarios/happy-survey")["origin"] == "built-in"


def test_a_built_in_scenario_stays(bench: "Bench") -> None:
    problem(bench.call("DELETE", "/scenarios/happy-survey"), 409)
    assert bench.get("/scenarios/happy-survey")


@pytest.mark.parametrize("name", ["nowhere", "No Capitals", "%00", "x" * 300])
def test_a_scenario_that_does_not_exist_is_answered_404(bench: "Bench", name: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/runs")):
        problem(bench.call(method, f"/scenarios/{name}{path}"), 404)


def test_scenarios_of_an_account_are_its_own(bench: "Bench") -> None:
    put(bench, SURVEY)
    params = {"account": "default"}
    problem(bench.sandbox.request("GET", "/_sandbox/v1/scenarios/cinema", params=params), 404)


def test_errors_about_a_source_say_line_and_column(bench: "Bench") -> None:
    source = 'scenario: cinema\nsteps:\n  - expect: {text: "x", within: soon}\n  - reply: {texd: "y"}\n'
    response = bench.call("PUT", "/scenarios/cinema", {"source": source})
    assert response.status_code == 400
    errors = response.json()["errors"]
    assert {each["line"] for each in errors} == {3, 4}
    assert errors[0]["column"] == source.splitlines()[2].index("soon") + 1
    for each in errors:
        assert list(each) == ["field", "message", "line", "column"]
        assert each["field"] == "source"
        assert each["message"]
    problem(bench.call("GET", "/scenarios/cinema"), 404)


@pytest.mark.parametrize("source", ["", None, 5, [SURVEY]])
def test_a_source_is_a_text(bench: "Bench", source: object) -> None:
    assert invalid(bench.call("PUT", "/scenarios/cinema", {"source": source})) == ["source"]


def test_a_scenario_is_put_where_its_name_says(bench: "Bench") -> None:
    response = bench.call("PUT", "/scenarios/theatre", {"source": SURVEY})
    assert invalid(response) == ["source"]
    assert "cinema" in response.json()["detail"]


# Runs --------------------------------------------------------------------------------------------------------------


def test_a_script_is_played_to_its_end(routed: "Bench", receiver: "Receiver") -> None:
    put(routed, SURVEY)
    run = routed.post("/scenarios/cinema/runs", {"msisdn": f"+{NUMBER}"})
    assert run == {
        "id": run["id"],
        "seq": int(run["id"][1:]),
        "account": routed.account,
        "scenario": "cinema",
        "msisdn": NUMBER,
        "state": "running",
        "step": 0,
        "steps": 3,
        "named_state": "start",
        "saved": {},
        "reason": "",
        "misses": [],
        "started_at": routed.get("/clock")["now"],
        "ended_at": None,
        "cursors": [
            {
                "msisdn": NUMBER,
                "state": "running",
                "step": 0,
                "named_state": "start",
                "saved": {},
                "session_id": None,
                "paused": "",
            }
        ],
    }
    path = f"/scenarios/cinema/runs/{run['id']}"
    assert routed.get(path) == run
    routed.sent(message="When was the cinema?")
    routed.sent(message="Not what it waits for")
    advance(routed, 2)
    assert json.loads(receiver.received[0].body)["message"] == "yesterday"
    it = routed.get(path)
    assert (it["state"], it["step"], it["cursors"][0]["session_id"]) == ("running", 2, "67543uhn3")
    routed.sent(message="Which film?")
    it = routed.get(path)
    assert (it["state"], it["step"]) == ("finished", 3)
    assert it["ended_at"] is not None


def test_a_run_keeps_the_messages_that_it_did_not_know_what_to_do_with(bench: "Bench") -> None:
    put(bench, SURVEY)
    run = bench.post("/scenarios/cinema/runs", {"msisdn": NUMBER})["id"]
    missed = bench.sent(message="Which film?")
    (miss,) = bench.get(f"/scenarios/cinema/runs/{run}")["misses"]
    assert (miss["message_id"], miss["about"]) == (missed, "step 1")
    assert miss["differences"] == [{"field": "text", "wanted": "*cinema?*", "found": "Which film?"}]


def test_a_persona_plays_every_handset(routed: "Bench", receiver: "Receiver") -> None:
    put(routed, PERSONA, "polite")
    run = routed.post("/scenarios/polite/runs")
    assert (run["msisdn"], run["steps"], run["cursors"]) == (None, 0, [])
    for number in (NUMBER, OTHER):
        routed.sent(to=number, message="Reply STOP to end")
    advance(routed, 0)
    assert [json.loads(each.body)["message"] for each in receiver.received] == ["STOP", "STOP"]
    it = routed.get(f"/scenarios/polite/runs/{run['id']}")
    assert it["state"] == "running"
    assert [each["msisdn"] for each in it["cursors"]] == [OTHER, NUMBER]


def test_a_run_is_stopped_once(bench: "Bench") -> None:
    put(bench, SURVEY)
    run = bench.post("/scenarios/cinema/runs")["id"]
    path = f"/scenarios/cinema/runs/{run}"
    stopped = bench.post(f"{path}/stop", status=200)
    assert stopped["state"] == "stopped"
    assert bench.get(path) == stopped
    problem(bench.call("POST", f"{path}/stop"), 409)


def test_a_handset_is_played_by_one_script_at_a_time(bench: "Bench") -> None:
    put(bench, SURVEY)
    bench.post("/scenarios/cinema/runs", {"msisdn": NUMBER})
    problem(bench.call("POST", "/scenarios/cinema/runs", {"msisdn": NUMBER}), 409)
    bench.post("/scenarios/cinema/runs", {"msisdn": OTHER})


def test_runs_are_listed_newest_first_of_one_scenario_or_of_all(bench: "Bench") -> None:
    put(bench, SURVEY)
    put(bench, PERSONA, "polite")
    scripts = [bench.post("/scenarios/cinema/runs", {"msisdn": f"23480300000{n:02}"})["id"] for n in range(3)]
    persona = bench.post("/scenarios/polite/runs")["id"]
    bench.post(f"/scenarios/cinema/runs/{scripts[0]}/stop", status=200)
    for limit in (1, 2, 50):
        assert walk(bench, "/runs", "runs", limit=limit) == [persona, *scripts[::-1]]
        assert walk(bench, "/scenarios/cinema/runs", "runs", limit=limit) == scripts[::-1]
        assert walk(bench, "/runs", "runs", limit=limit, state="running") == [persona, *scripts[:0:-1]]
    assert walk(bench, "/runs", "runs", state="stopped") == scripts[:1]
    assert bench.get("/scenarios/happy-survey/runs") == {"runs": [], "next": None}


def test_a_run_is_found_under_its_own_scenario_and_account_alone(bench: "Bench") -> None:
    put(bench, SURVEY)
    run = bench.post("/scenarios/cinema/runs")["id"]
    for path in (
        f"/scenarios/happy-survey/runs/{run}",
        f"/scenarios/cinema/runs/m{run[1:]}",
        "/scenarios/cinema/runs/s0",
    ):
        problem(bench.call("GET", path), 404)
        problem(bench.call("POST", f"{path}/stop"), 404)
    stranger = {"account": "default"}
    problem(bench.sandbox.request("GET", f"/_sandbox/v1/scenarios/cinema/runs/{run}", params=stranger), 404)


@pytest.mark.parametrize(
    ("method", "path", "wrong"),
    [
        ("POST", "/scenarios/happy-survey/runs", {"msisdn": "cinema", "speed": 2}),
        ("GET", "/runs", {"limit": 0, "state": "lost", "next": "x", "scenario": "y"}),
        ("GET", "/scenarios/happy-survey/runs", {"limit": 501, "state": "lost", "next": "x"}),
    ],
)
def test_wrong_arguments_of_runs_are_named_all_at_once(
    bench: "Bench", method: str, path: str, wrong: dict[str, Any]
) -> None:
    response = bench.call(method, path, wrong) if method == "POST" else bench.call(method, path, None, **wrong)
    assert invalid(response) == list(wrong)
