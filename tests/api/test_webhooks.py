"""Webhook deliveries over real HTTP: listed, shown, attempted, redelivered, cancelled."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.model import DeliveryState
from tests.api.asking import (
    RETRIES_S,
    advance,
    delivery,
    in_state,
    invalid,
    later,
    owe,
    problem,
    walk,
)

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver


def test_a_webhook_delivery_has_everything_that_users_depend_on(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(201, b'{"status": "ok"}')
    identifier = owe(routed)
    made, now = delivery(routed, identifier), routed.get("/clock")["now"]
    (attempt,) = made.pop("attempts")
    assert json.loads(made.pop("body"))["message"] == "1"
    assert made == {
        "id": identifier,
        "seq": int(identifier[1:]),
        "account": routed.account,
        "message_id": f"m{identifier[1:]}",
        "url": receiver.url,
        "state": "delivered",
        "created_at": now,
        "next_attempt_at": None,
        "redelivery_of": None,
        "edited": False,
    }
    assert attempt.pop("duration_ms") > 0
    headers = {each["name"]: each["value"] for each in attempt.pop("response_headers")}
    assert headers["Content-Type"] == "application/json"
    assert attempt == {
        "number": 1,
        "trigger": "scheduled",
        "offset_s": 0,
        "started_at": now,
        "outcome": "answered",
        "status_code": 201,
        "error": None,
        "response_body": '{"status": "ok"}',
        "warnings": [],
    }


def test_an_answer_that_is_no_json_is_delivered_with_a_warning(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(200, b"OK")
    made = delivery(routed, owe(routed))
    assert made["state"] == "delivered"
    assert "not valid JSON" in made["attempts"][0]["warnings"][0]


def test_the_state_of_a_message_is_that_of_its_latest_webhook_delivery(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "rejected")
    message = delivery(routed, identifier)["message_id"]
    assert routed.get(f"/messages/{message}")["state"] == "rejected"
    again = routed.post(f"/webhook-deliveries/{identifier}/redeliver")
    assert routed.get(f"/messages/{message}")["state"] == "delivered"
    assert routed.get(f"/messages/{message}")["webhook_delivery_id"] == again["id"]


@pytest.mark.parametrize(
    ("state", "verb", "status"),
    [
        ("in_flight", "attempt", 409),
        ("in_flight", "redeliver", 409),
        ("in_flight", "cancel", 200),
        ("retrying", "attempt", 200),
        ("retrying", "redeliver", 409),
        ("retrying", "cancel", 200),
        ("delivered", "attempt", 409),
        ("delivered", "redeliver", 201),
        ("delivered", "cancel", 409),
        ("rejected", "attempt", 200),
        ("rejected", "redeliver", 201),
        ("rejected", "cancel", 409),
        ("exhausted", "attempt", 200),
        ("exhausted", "redeliver", 201),
        ("exhausted", "cancel", 409),
        ("cancelled", "attempt", 200),
        ("cancelled", "redeliver", 201),
        ("cancelled", "cancel", 409),
    ],
)
def test_a_state_allows_a_verb_or_not(
    routed: "Bench", receiver: "Receiver", state: str, verb: str, status: int
) -> None:
    identifier = in_state(routed, receiver, state)
    before = delivery(routed, identifier)
    response = routed.call("POST", f"/webhook-deliveries/{identifier}/{verb}")
    if status == 409:
        told = problem(response, 409)
        assert identifier in told["detail"]
        assert delivery(routed, identifier) == before
    else:
        assert response.status_code == status
        assert response.json() == delivery(routed, response.json()["id"])


@pytest.mark.parametrize("state", ["retrying", "rejected", "exhausted", "cancelled"])
def test_an_attempt_now_that_succeeds_delivers(routed: "Bench", receiver: "Receiver", state: str) -> None:
    identifier = in_state(routed, receiver, state)
    tried = len(delivery(routed, identifier)["attempts"])
    done = routed.post(f"/webhook-deliveries/{identifier}/attempt", status=200)
    assert (done["state"], done["next_attempt_at"]) == ("delivered", None)
    last = done["attempts"][-1]
    assert (last["number"], last["trigger"], last["status_code"]) == (tried + 1, "manual", 200)


def test_an_attempt_now_that_fails_leaves_the_schedule_as_it_is(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "retrying")
    before = delivery(routed, identifier)["next_attempt_at"]
    receiver.answer_with(500)
    done = routed.post(f"/webhook-deliveries/{identifier}/attempt", status=200)
    assert (done["state"], done["next_attempt_at"]) == ("retrying", before)
    assert [each["trigger"] for each in done["attempts"]] == ["scheduled", "manual"]
    advance(routed, 3600)
    done = delivery(routed, identifier)
    assert [each["trigger"] for each in done["attempts"]] == ["scheduled", "manual", *["scheduled"] * 8]
    assert done["state"] == "exhausted"


def test_a_second_attempt_by_hand_waits_for_the_first(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent()
    receiver.answer_next(500)
    owed = routed.post("/handsets/2348020000000/reply", {"text": "1"})["webhook_delivery"]["id"]
    receiver.hold()
    routed.post(f"/webhook-deliveries/{owed}/attempt", {"wait": False}, status=200)
    refused = routed.call("POST", f"/webhook-deliveries/{owed}/attempt", {"wait": False})
    receiver.release()
    assert refused.status_code == 409


def test_redelivery_is_a_new_webhook_delivery_with_the_same_bytes(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "delivered")
    before = delivery(routed, identifier)
    again = routed.post(f"/webhook-deliveries/{identifier}/redeliver")
    assert again["id"] != identifier
    assert (again["redelivery_of"], again["message_id"]) == (identifier, before["message_id"])
    assert (again["state"], len(again["attempts"])) == ("delivered", 1)
    first, second = receiver.received
    assert first.body == second.body == again["body"].encode()
    assert delivery(routed, identifier) == before


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"type": "two-way sms", "message": "No\u202e"}', id="JSON with keys that are missing"),
        pytest.param("no JSON <at all> ₦\r\n", id="no JSON"),
        pytest.param('["\\ud800", 1e999]', id="JSON that nobody should take"),
        pytest.param("", id="nothing"),
        pytest.param("₦" * 21_845, id="as much as may be"),
    ],
)
def test_a_redelivery_with_another_body_posts_that_and_says_that_it_was_edited(
    routed: "Bench", receiver: "Receiver", body: str
) -> None:
    identifier = in_state(routed, receiver, "rejected")
    before = delivery(routed, identifier)
    again = routed.post(f"/webhook-deliveries/{identifier}/redeliver", {"body": body})
    assert (again["edited"], again["body"], again["redelivery_of"]) == (True, body, identifier)
    assert receiver.received[-1].body == body.encode()
    assert delivery(routed, identifier) == before
    assert before["edited"] is False
    once_more = routed.post(f"/webhook-deliveries/{again['id']}/redeliver")
    assert (once_more["edited"], once_more["body"]) == (True, body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("₦" * 21_846, "body has 65,538 bytes as UTF-8. At most 65,536 are accepted.", id="too long"),
        pytest.param("a\0", "body holds the character NUL. Leave it out.", id="NUL"),
        pytest.param("\ud800", "body holds the unpaired surrogate \\ud800. Leave it out.", id="a surrogate"),
        pytest.param({"type": "two-way sms"}, "Use a string.", id="an object"),
    ],
)
def test_a_body_that_no_webhook_can_have_is_complained_about(
    routed: "Bench", receiver: "Receiver", body: object, words: str
) -> None:
    identifier = in_state(routed, receiver, "rejected")
    refused = routed.call("POST", f"/webhook-deliveries/{identifier}/redeliver", {"body": body})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "body")
    assert words in refused.json()["errors"][0]["message"]
    assert len(receiver.received) == 1


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"message": 5, "telco": null}', '{"message": "\\ud800"}'])
def test_a_fault_strikes_an_edited_webhook_whatever_it_says(routed: "Bench", receiver: "Receiver", body: str) -> None:
    identifier = in_state(routed, receiver, "delivered")
    match = {"from": "2348020000000"}
    routed.post("/faults", {"on": "webhook", "times": 2, "match": match, "effect": {"status": 500}})
    again = routed.post(f"/webhook-deliveries/{identifier}/redeliver", {"body": body})
    assert (again["state"], again["attempts"][0]["status_code"]) == ("retrying", 500)
    assert len(receiver.received) == 1
    routed.call("DELETE", "/faults")


def test_redelivery_goes_to_where_the_application_is_now(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "rejected")
    routed.patch_account(client_url=receiver.url + "/moved")
    routed.post(f"/webhook-deliveries/{identifier}/redeliver")
    assert [each.path for each in receiver.received] == ["/sms", "/sms/moved"]


def test_nothing_more_is_sent_of_a_cancelled_webhook_delivery(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "cancelled")
    advance(routed, 7200)
    assert len(receiver.received) == 1
    assert delivery(routed, identifier)["next_attempt_at"] is None


def test_an_attempt_under_way_is_recorded_although_it_was_cancelled(routed: "Bench", receiver: "Receiver") -> None:
    identifier = in_state(routed, receiver, "in_flight")
    routed.post(f"/webhook-deliveries/{identifier}/cancel", status=200)
    receiver.release()
    advance(routed, 0)
    done = delivery(routed, identifier)
    assert (done["state"], done["attempts"][0]["status_code"]) == ("cancelled", 200)


def test_retries_come_when_the_documentation_says(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(503)
    identifier = owe(routed)
    start = routed.get("/clock")["now"]
    assert delivery(routed, identifier)["next_attempt_at"] == later(start, 30)
    assert advance(routed, 3600)["moments"] >= len(RETRIES_S)
    done = delivery(routed, identifier)
    assert done["state"] == "exhausted"
    assert [each["offset_s"] for each in done["attempts"]] == [0, *RETRIES_S]
    assert [each["started_at"] for each in done["attempts"]] == [later(start, each) for each in (0, *RETRIES_S)]
    assert len({each.body for each in receiver.received}) == 1


@pytest.mark.parametrize("verb", ["attempt", "redeliver", "cancel"])
def test_wrong_arguments_of_a_verb_are_named_all_at_once(routed: "Bench", receiver: "Receiver", verb: str) -> None:
    identifier = in_state(routed, receiver, "retrying")
    response = routed.call("POST", f"/webhook-deliveries/{identifier}/{verb}", {"wait": "x", "force": True})
    assert sorted(invalid(response)) == ["force", "wait"]
    assert delivery(routed, identifier)["state"] == "retrying"


def test_webhook_deliveries_are_listed_newest_first_by_state(routed: "Bench", receiver: "Receiver") -> None:
    made = {state: in_state(routed, receiver, state) for state in ("delivered", "rejected", "retrying")}
    for state, identifier in made.items():
        assert walk(routed, "/webhook-deliveries", "webhook_deliveries", state=state) == [identifier]
    assert walk(routed, "/webhook-deliveries", "webhook_deliveries") == list(made.values())[::-1]
    assert routed.get("/webhook-deliveries")["webhook_deliveries"][0]["attempts"] == 1


def test_a_walk_over_pages_meets_every_webhook_delivery_once(routed: "Bench") -> None:
    made = [owe(routed) for _ in range(5)]
    for limit in (1, 2, 5):
        assert walk(routed, "/webhook-deliveries", "webhook_deliveries", limit=limit) == made[::-1]


def test_wrong_filters_of_webhook_deliveries_are_named_all_at_once(bench: "Bench") -> None:
    wrong: dict[str, str | int] = {"limit": 501, "state": "lost", "next": "x", "to": "x"}
    assert invalid(bench.call("GET", "/webhook-deliveries", **wrong)) == list(wrong)


@pytest.mark.parametrize("state", DeliveryState)
def test_every_state_can_be_asked_for(bench: "Bench", state: str) -> None:
    assert bench.get("/webhook-deliveries", state=state) == {"webhook_deliveries": [], "next": None}


# The doctor --------------------------------------------------------------------------------------------------------


def checks(report: Any) -> dict[str, bool | None]:
    return {each["name"]: each["ok"] for each in report["checks"]}


def test_the_doctor_posts_a_sample_only_if_it_is_asked_to(routed: "Bench", receiver: "Receiver") -> None:
    report = routed.post("/doctor", status=200)
    assert (report["url"], report["ok"]) == (receiver.url, True)
    assert checks(report) == {"url": True, "dns": True, "tcp": True, "tls": None, "http": None, "json": None}
    assert receiver.received == []
    report = routed.post("/doctor", {"post": True}, status=200)
    assert checks(report) == {"url": True, "dns": True, "tcp": True, "tls": None, "http": True, "json": True}
    (posted,) = receiver.received
    assert posted.header("Authorization") == f"Bearer {routed.token}"
    assert routed.get("/messages")["messages"] == []


def test_the_doctor_looks_where_it_is_told_to(routed: "Bench", receiver: "Receiver") -> None:
    routed.patch_account(client_url="http://127.0.0.1:9/sms")
    report = routed.post("/doctor", status=200)
    assert report["ok"] is False
    assert checks(report)["tcp"] is False
    assert report["checks"][2]["hint"]
    assert routed.post("/doctor", {"url": receiver.url}, status=200)["ok"] is True


def test_the_doctor_refuses_the_sandbox_itself(bench: "Bench") -> None:
    report = bench.post("/doctor", {"url": f"{bench.sandbox.url}/_sandbox/v1/reset", "post": True}, status=200)
    assert checks(report)["url"] is False


def test_the_doctor_shows_no_password(bench: "Bench") -> None:
    response = bench.call("POST", "/doctor", {"url": "http://user:s3cr3t@127.0.0.1:9/sms?key=s3cr3t"})
    assert response.status_code == 200
    assert "s3cr3t" not in response.text


def test_wrong_arguments_of_the_doctor_are_named_all_at_once(bench: "Bench") -> None:
    wrong = {"url": 5, "post": "yes", "deadline": 3}
    assert invalid(bench.call("POST", "/doctor", wrong)) == list(wrong)
