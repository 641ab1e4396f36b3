"""Real answers of every kind, held against the schemas that stand beside the functions that made them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema_rs import Draft202012Validator, ValidationError

from sandbox.api import openapi
from sandbox.objects.problems import PROBLEM
from sandbox.objects.schema import Schema
from tests.api.asking import NUMBER, advance, in_state

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver

ANSWERS = {each.name: each.answers for each in openapi.OPERATIONS}


def fits(name: str, value: object, status: int = 200) -> None:
    """Hold an answer of the operation against its schema; what is empty shows nothing."""
    schema = ANSWERS[name][status]
    assert isinstance(schema, dict)
    assert value
    Draft202012Validator(schema, validate_formats=True).validate(value)


@pytest.fixture
def rich(routed: "Bench", receiver: "Receiver") -> "Bench":
    """An account with something of everything, in as many states as can be at once."""
    template = '{"reference_id": "{message_id}"}'
    routed.patch_account(revision="2025", shortcodes=["48974"], success_body=template, retry=[60, 120])
    routed.sent(ref_id="873", message="₦500?", colour="red")
    routed.submit(to="0802", from_="cinema")
    routed.sandbox.request(
        "POST", "/ng/v1/sendsms", data=b"\xff\xfe", headers={"Authorization": f"Bearer {routed.token}"}
    )
    receiver.answer_with(200, b"\xff not JSON")
    for state in ("delivered", "rejected", "retrying", "cancelled"):
        in_state(routed, receiver, state)
    receiver.answer_with(200, b"\xff not JSON")
    routed.post(f"/handsets/{NUMBER}/reply", {"text": "yesterday"})
    routed.post(f"/handsets/{NUMBER}/reply", {"text": "late", "delay_s": 60}, status=202)
    routed.call("PATCH", "/handsets/2348030000001", {"state": "off", "label": "Ada"})
    routed.sent(to="2348030000001")
    return routed


LISTS = [
    ("list_messages", "/messages", "messages"),
    ("list_requests", "/requests", "requests"),
    ("list_handsets", "/handsets", "handsets"),
    ("list_deliveries", "/webhook-deliveries", "webhook_deliveries"),
]


def test_lists_of_what_was_recorded_fit(rich: "Bench") -> None:
    for name, path, plural in LISTS:
        fits(name, rich.get(path))
        assert rich.get(path)[plural]
        fits(name, rich.get(path, limit=1))


def test_everything_in_a_list_fits_by_itself(rich: "Bench") -> None:
    for name, path, plural in (
        ("get_message", "/messages", "messages"),
        ("get_request", "/requests", "requests"),
        ("get_handset", "/handsets", "handsets"),
        ("get_delivery", "/webhook-deliveries", "webhook_deliveries"),
    ):
        for each in rich.get(path)[plural]:
            fits(name, rich.get(f"{path}/{each['id']}"))


def test_what_is_not_utf_8_is_there_in_base64(rich: "Bench") -> None:
    (call,) = [each for each in rich.get("/requests")["requests"] if "body_base64" in each]
    assert call["body_base64"] == "//4="
    deliveries = rich.get("/webhook-deliveries", state="delivered")["webhook_deliveries"]
    attempts = rich.get(f"/webhook-deliveries/{deliveries[0]['id']}")["attempts"]
    assert "response_body_base64" in attempts[0]


def test_an_attempt_under_way_fits(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "in_flight")
    it = routed.get(f"/webhook-deliveries/{identifier}")
    assert it["attempts"][0]["outcome"] is None
    fits("get_delivery", it)


def test_an_attempt_that_reached_nobody_fits(bench: "Bench") -> None:
    bench.patch_account(client_url="http://127.0.0.1:9/sms")
    texted = bench.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"})
    assert texted["webhook_delivery"]["attempts"][0]["error"]
    fits("send", texted, 201)


def test_answers_of_verbs_fit(rich: "Bench") -> None:
    (retrying,) = rich.get("/webhook-deliveries", state="retrying")["webhook_deliveries"]
    path = f"/webhook-deliveries/{retrying['id']}"
    fits("attempt_delivery", rich.post(f"{path}/attempt", status=200))
    fits("redeliver", rich.post(f"{path}/redeliver"), 201)
    fits("reply", rich.post(f"/handsets/{NUMBER}/reply", {"text": "1"}), 201)
    fits("reply", rich.post(f"/handsets/{NUMBER}/reply", {"text": "1", "delay_s": 1}, status=202), 202)
    fits("change_handset", rich.call("PATCH", f"/handsets/{NUMBER}", {"label": "Ben"}).json())


def test_waits_fit(rich: "Bench") -> None:
    fits("wait_for_messages", rich.get("/messages/wait", count=3))
    missed = rich.get("/messages/wait", pattern="nothing like it", timeout=0)
    assert missed["near_misses"]
    fits("wait_for_messages", missed)
    fits("verify_messages", rich.post("/verify", {"times": {"exactly": 0}}, status=200))


def test_accounts_and_the_clock_fit(rich: "Bench") -> None:
    fits("list_accounts", rich.get("/accounts"))
    fits("get_account", rich.get(f"/accounts/{rich.account}"))
    assert rich.get("/clock")["due"]
    fits("get_clock", rich.get("/clock"))
    fits("set_clock", advance(rich, 1))
    fits("reset", rich.post("/reset", status=200))


def test_faults_fit(bench: "Bench") -> None:
    for body in (
        {"on": "sendsms", "times": None, "effect": {"delay_s": 0.5}},
        {"on": "webhook", "times": 3, "effect": {"drop": "refused"}, "match": {"text": "*", "ignore_case": True}},
        {"on": "sendsms", "effect": {"status": 503, "body": "no"}, "match": {"to": "2349999999999"}},
    ):
        made = bench.post("/faults", body)
        fits("add_fault", made, 201)
        fits("get_fault", bench.get(f"/faults/{made['id']}"))
    fits("list_faults", bench.get("/faults"))


def test_findings_fit(rich: "Bench") -> None:
    assert rich.get("/findings")["findings"]
    fits("list_findings", rich.get("/findings"))


def test_what_the_doctor_says_fits(routed: "Bench", receiver: "Receiver") -> None:
    for body in ({}, {"post": True}, {"url": "ftp://nowhere"}, {"url": "http://127.0.0.1:9/sms"}):
        fits("examine", routed.post("/doctor", body, status=200))
    routed.patch_account(client_url=None)
    fits("examine", routed.post("/doctor", status=200))


def test_scenarios_and_runs_fit(bench: "Bench") -> None:
    fits("list_scenarios", bench.get("/scenarios"))
    fits("get_scenario", bench.get("/scenarios/happy-survey"))
    for number, name in enumerate(bench.get("/scenarios")["scenarios"]):
        run = bench.post(f"/scenarios/{name['id']}/runs", {"msisdn": f"23480300001{number:02}"})
        fits("start_run", run, 201)
        bench.call("DELETE", "/faults")  # some begin with one
        bench.submit(to=f"23480300001{number:02}", message="It knows nothing of this one.")
        fits("get_run", bench.get(f"/scenarios/{name['id']}/runs/{run['id']}"))
    runs = bench.get("/runs")
    assert [each for each in runs["runs"] if each["misses"]]
    fits("list_runs", runs)
    running = bench.get("/runs", state="running")["runs"][0]
    fits("stop_run", bench.post(f"/scenarios/{running['scenario']}/runs/{running['id']}/stop", status=200))


def wrong_calls() -> Iterator[tuple[str, str, Any]]:
    yield "GET", "/messages/m0", None
    yield "GET", "/messages?limit=0&colour=red", None
    yield "POST", "/verify", {"match": {"pattern": "("}}
    yield "PUT", "/scenarios/cinema", {"source": "scenario: [\n"}
    yield "POST", f"/handsets/{NUMBER}/reply", {"text": "1"}
    yield "PATCH", "/messages", {}
    yield "GET", "/nowhere", None
    yield "POST", "/import", {"type": "film"}


@pytest.mark.parametrize(("method", "path", "body"), list(wrong_calls()))
def test_errors_fit(bench: "Bench", method: str, path: str, body: Any) -> None:
    response = bench.call(method, path, body)
    assert response.status_code >= 400
    Draft202012Validator(PROBLEM).validate(response.json())


def named(value: Any) -> Iterator[tuple[Schema, str]]:
    """Every object of a schema, with the name of each of its properties."""
    if isinstance(value, dict):
        if "properties" in value and value.get("additionalProperties") is False:
            for name in value["properties"]:
                yield value, name
        for each in value.values():
            yield from named(each)
    elif isinstance(value, list):
        for each in value:
            yield from named(each)


def test_a_schema_notices_what_is_missing_and_what_is_more(bench: "Bench") -> None:
    made = bench.get(f"/messages/{bench.sent()}")
    schema = ANSWERS["get_message"][200]
    assert isinstance(schema, dict)
    for drifted in ({**made, "colour": "red"}, {name: made[name] for name in made if name != "telco"}):
        with pytest.raises(ValidationError):
            Draft202012Validator(schema).validate(drifted)


def test_every_object_that_is_answered_names_all_that_it_has() -> None:
    answers = [schema for answers in ANSWERS.values() for schema in answers.values() if isinstance(schema, dict)]
    optional = {name for schema, name in named(answers) if name not in schema.get("required", ())}
    assert optional == {"body_base64", "answer_base64", "response_body_base64"}
