"""Faults over real HTTP: asked for, counted, shown, removed, and complained about."""

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema_rs import Draft202012Validator

from sandbox.api.faults import NEW_FAULT
from tests.api.asking import NUMBER, invalid, problem, walk

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver

OUTAGE: dict[str, Any] = {"on": "sendsms", "effect": {"status": 503}}


def test_a_fault_has_everything_that_users_depend_on(bench: "Bench") -> None:
    made = bench.post("/faults", {**OUTAGE, "times": 2, "match": {"to": NUMBER}})
    assert made == {
        "id": made["id"],
        "account": bench.account,
        "on": "sendsms",
        "match": {"to": NUMBER},
        "times": 2,
        "used": 0,
        "left": 2,
        "effect": {"status": 503, "body": None, "delay_s": 0, "drop": None, "hold": False},
    }
    assert bench.get(f"/faults/{made['id']}") == made


def test_a_fault_counts_the_calls_that_it_strikes(bench: "Bench") -> None:
    made = bench.post("/faults", {**OUTAGE, "times": 2})["id"]
    assert [bench.submit().status_code for _ in range(3)] == [503, 503, 200]
    it = bench.get(f"/faults/{made}")
    assert (it["used"], it["left"]) == (2, 0)


def test_a_fault_of_webhooks_strikes_an_attempt(routed: "Bench", receiver: "Receiver") -> None:
    routed.post("/faults", {"on": "webhook", "effect": {"status": 500}})
    done = routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974"})
    assert done["webhook_delivery"]["state"] == "retrying"


def test_a_fault_without_an_end_strikes_until_it_is_removed(bench: "Bench") -> None:
    made = bench.post("/faults", {**OUTAGE, "times": None})
    assert (made["times"], made["left"]) == (None, None)
    assert [bench.submit().status_code for _ in range(3)] == [503] * 3
    assert bench.call("DELETE", f"/faults/{made['id']}").status_code == 204
    assert bench.submit().status_code == 200
    problem(bench.call("GET", f"/faults/{made['id']}"), 404)
    problem(bench.call("DELETE", f"/faults/{made['id']}"), 404)


def test_faults_are_listed_newest_first_those_that_are_used_up_as_well(bench: "Bench") -> None:
    made = [bench.post("/faults", OUTAGE)["id"] for _ in range(5)]
    bench.submit()
    for limit in (1, 2, 5, 50):
        assert walk(bench, "/faults", "faults", limit=limit) == made[::-1]


def test_all_faults_of_an_account_are_removed_at_once_and_those_of_others_stay(bench: "Bench") -> None:
    bench.post("/faults", OUTAGE)
    bench.post("/faults", {"on": "webhook", "effect": {"drop": "refused"}})
    running = bench.sandbox
    quiet = {"on": "sendsms", "match": {"to": "2349999999999"}, "effect": {"status": 500}}
    other = running.request("POST", "/_sandbox/v1/faults", params={"account": "default"}, json=quiet).json()["id"]
    assert bench.call("DELETE", "/faults").status_code == 204
    assert bench.get("/faults")["faults"] == []
    assert running.request("DELETE", f"/_sandbox/v1/faults/{other}").status_code == 204


def test_a_fault_of_another_account_is_not_there(bench: "Bench") -> None:
    made = bench.post("/faults", OUTAGE)["id"]
    for method in ("GET", "DELETE"):
        stranger = bench.sandbox.request(method, f"/_sandbox/v1/faults/{made}", params={"account": "default"})
        problem(stranger, 404)
    assert bench.submit().status_code == 503


@pytest.mark.parametrize("identifier", ["f", "17", "m17", "fx", "f" + "9" * 30])
def test_what_is_no_faults_identifier_is_answered_404(bench: "Bench", identifier: str) -> None:
    problem(bench.call("GET", f"/faults/{identifier}"), 404)


def test_a_reset_removes_faults(bench: "Bench") -> None:
    bench.post("/faults", {**OUTAGE, "times": None})
    bench.post("/reset", status=200)
    assert bench.get("/faults")["faults"] == []
    assert bench.submit().status_code == 200


ACCEPTED: list[dict[str, Any]] = [
    OUTAGE,
    {"on": "webhook", "effect": {"status": 429}},
    {"on": "sendsms", "effect": {"status": 400, "body": "{}"}, "times": 10_000},
    {"on": "sendsms", "effect": {"delay_s": 0.5}},
    {"on": "sendsms", "effect": {"delay_s": 300, "status": 599}},
    {"on": "sendsms", "effect": {"drop": "body"}},
    {"on": "webhook", "effect": {"drop": "accepted"}},
    {"on": "webhook", "effect": {"hold": True}},
    {"on": "sendsms", "effect": {"status": 500, "body": None, "drop": None, "hold": None}, "match": None},
    {"on": "sendsms", "effect": {"status": 500}, "match": {"pattern": "(?i)film", "ignore_case": True}},
    {"on": "sendsms", "effect": {"status": 500}, "match": {"from": "48974", "segments": 2, "encoding": "UCS-2"}},
]
REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["on", "effect"]),
    ({"on": "mail", "effect": {"status": 503}}, ["on"]),
    ({"on": "sendsms", "effect": {"status": 200}}, ["effect.status"]),
    ({"on": "sendsms", "effect": {"status": "503"}}, ["effect.status"]),
    ({"on": "sendsms", "effect": {"status": 503, "delay_s": 301}}, ["effect.delay_s"]),
    ({"on": "sendsms", "effect": {"drop": "late"}}, ["effect.drop"]),
    ({"on": "sendsms", "effect": {"hold": "yes"}}, ["effect.hold"]),
    ({"on": "sendsms", "effect": {"status": 503, "colour": "red"}}, ["effect.colour"]),
    ({**OUTAGE, "times": 0}, ["times"]),
    ({**OUTAGE, "times": 1.5}, ["times"]),
    ({**OUTAGE, "times": 10_001}, ["times"]),
    ({**OUTAGE, "match": "everything"}, ["match"]),
    ({**OUTAGE, "match": {"colour": "red"}}, ["match.colour"]),
    ({**OUTAGE, "match": {"direction": "up"}}, ["match.direction"]),
    ({**OUTAGE, "match": {"state": "arrived"}}, ["match.state"]),
    ({**OUTAGE, "colour": "red"}, ["colour"]),
]


@pytest.mark.parametrize("body", ACCEPTED)
def test_what_fits_the_schema_of_a_fault_is_accepted(bench: "Bench", body: dict[str, Any]) -> None:
    Draft202012Validator(NEW_FAULT).validate(body)
    bench.post("/faults", body)


@pytest.mark.parametrize(("body", "fields"), REFUSED)
def test_what_does_not_fit_is_named_all_at_once(bench: "Bench", body: dict[str, Any], fields: list[str]) -> None:
    assert not Draft202012Validator(NEW_FAULT).is_valid(body)
    assert sorted(invalid(bench.call("POST", "/faults", body))) == sorted(fields)
    assert bench.get("/faults")["faults"] == []
