"""The clock and the reset over real HTTP."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.api.asking import NUMBER, advance, in_state, invalid, later, problem

if TYPE_CHECKING:
    from tests.conftest import Bench, Receiver, SystemTime


# Clock --------------------------------------------------------------------------------------------------------------


def test_the_clock_moves_on_by_what_it_is_told(bench: "Bench") -> None:
    before = bench.get("/clock")
    after = advance(bench, 90.5)
    assert after["now"] == later(before["now"], 90.5)
    assert bench.get("/clock")["now"] == after["now"]
    assert before["frozen"] is after["frozen"] is True


def test_the_clock_says_what_is_due(bench: "Bench") -> None:
    bench.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "delay_s": 60}, status=202)
    clock = bench.get("/clock")
    mine = [each for each in clock["due"] if each["account"] == bench.account]
    assert [(each["kind"], each["due_at"]) for each in mine] == [("originate", later(clock["now"], 60))]


def test_advance_answers_after_everything_due_has_run(routed: "Bench", receiver: "Receiver") -> None:
    receiver.answer_with(500)
    routed.patch_account(retry=[60])
    routed.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "delay_s": 3600}, status=202)
    advance(routed, 3660)
    (made,) = routed.get("/webhook-deliveries")["webhook_deliveries"]
    assert (made["state"], made["attempts"]) == ("exhausted", 2)


def test_a_clock_is_frozen_and_resumed(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox(clock="system")
    assert bench.get("/clock")["frozen"] is False
    frozen = bench.call("PUT", "/clock", {"action": "freeze"}).json()
    assert frozen["frozen"] is True
    assert bench.get("/clock")["now"] == frozen["now"]
    advance(bench, 3600)
    resumed = bench.call("PUT", "/clock", {"action": "resume"}).json()
    assert resumed["frozen"] is False
    assert resumed["now"] >= later(frozen["now"], 3600)
    assert resumed["ahead_s"] == pytest.approx(3600, abs=60)


def test_a_clock_is_brought_to_the_systems_time_from_either_side(
    start_sandbox: Callable[..., "Bench"], system_time: "SystemTime"
) -> None:
    bench = start_sandbox(clock="system")
    bench.call("PUT", "/clock", {"action": "freeze"})
    system_time.passes(300)
    assert bench.get("/clock")["ahead_s"] == pytest.approx(-300, abs=60)
    for apart in ({"action": "resume"}, {"action": "advance", "seconds": 7200}):
        bench.call("PUT", "/clock", apart)
        brought = bench.call("PUT", "/clock", {"action": "system"}).json()
        assert brought["frozen"] is False
        assert brought["ahead_s"] == pytest.approx(0, abs=0.5)


def test_a_running_clock_can_be_moved_on(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox(clock="system")
    bench.post(f"/handsets/{NUMBER}/send", {"text": "1", "to": "48974", "delay_s": 3600}, status=202)
    assert advance(bench, 3600)["frozen"] is False
    assert len(bench.get("/messages")["messages"]) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["action"]),
        ({"action": "rewind"}, ["action"]),
        ({"action": 5}, ["action"]),
        ({"action": "advance"}, ["seconds"]),
        ({"action": "advance", "seconds": -1}, ["seconds"]),
        ({"action": "advance", "seconds": True}, ["seconds"]),
        ({"action": "advance", "seconds": "an hour"}, ["seconds"]),
        ({"action": "advance", "seconds": [1]}, ["seconds"]),
        ({"action": "advance", "seconds": 366 * 86_400 + 1}, ["seconds"]),
        ({"action": "freeze", "seconds": 5}, ["seconds"]),
        ({"action": "resume", "seconds": 0}, ["seconds"]),
        ({"action": "system", "seconds": 0}, ["seconds"]),
        ({"action": "rewind", "seconds": -1, "by": 1}, ["action", "seconds", "by"]),
    ],
)
def test_wrong_arguments_of_the_clock_are_named_once_each(
    bench: "Bench", body: dict[str, object], fields: list[str]
) -> None:
    before = bench.get("/clock")["now"]
    assert sorted(invalid(bench.call("PUT", "/clock", body))) == sorted(fields)
    assert bench.get("/clock")["now"] == before


# Reset --------------------------------------------------------------------------------------------------------------


def test_a_reset_forgets_everything_of_the_account_but_the_account(routed: "Bench", receiver: "Receiver") -> None:
    routed.sent()
    routed.submit(to="0802")
    routed.call("PATCH", f"/handsets/{NUMBER}", {"label": "Ada"})
    in_state(routed, receiver, "retrying")
    routed.post(f"/handsets/{NUMBER}/send", {"text": "late", "to": "48974", "delay_s": 60}, status=202)
    account = routed.get(f"/accounts/{routed.account}")
    assert routed.call("POST", "/reset").json() == {"reset": routed.account}
    for path, plural in (("/messages", "messages"), ("/handsets", "handsets")):
        assert routed.get(path) == {plural: [], "next": None}
    assert routed.get("/webhook-deliveries")["webhook_deliveries"] == []
    assert [each for each in routed.get("/requests")["requests"] if each["account"]] == []
    assert routed.account not in [each["account"] for each in routed.get("/clock")["due"]]
    assert routed.get(f"/accounts/{routed.account}") == account
    advance(routed, 7200)
    assert len(receiver.received) == 1
    assert routed.get("/messages")["messages"] == []
    assert routed.submit().status_code == 200


def test_a_reset_of_one_account_spares_the_others(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    bench.post("/accounts", {"name": "other", "token": "token-of-the-other"})
    message = bench.sent()
    running = bench.sandbox
    answered = running.request("POST", "/_sandbox/v1/reset", json={"scope": "other"})
    assert answered.json() == {"reset": "other"}
    assert bench.get(f"/messages/{message}")


@pytest.mark.parametrize("body", [{}, {"scope": "all"}, {"scope": None}])
def test_a_reset_without_a_scope_is_one_of_all(start_sandbox: Callable[..., "Bench"], body: dict[str, object]) -> None:
    bench = start_sandbox()
    bench.post("/accounts", {"name": "other", "token": "token-of-the-other"})
    bench.sent()
    bench.sandbox.request("POST", "/ng/v1/sendsms", json={})
    assert bench.sandbox.request("POST", "/_sandbox/v1/reset", json=body).json() == {"reset": "all"}
    assert bench.get("/messages")["messages"] == bench.get("/requests")["requests"] == []
    assert len(bench.get("/accounts")["accounts"]) == 2


def test_no_identifier_is_given_twice_although_everything_was_forgotten(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    first = bench.sent()
    bench.sandbox.request("POST", "/_sandbox/v1/reset", json={})
    assert int(bench.sent()[1:]) > int(first[1:])


def test_a_reset_of_one_account_leaves_the_clock_alone(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    now = advance(bench, 3600)["now"]
    bench.post("/reset", status=200)
    assert bench.get("/clock")["now"] == now


def test_a_reset_of_everything_brings_the_clock_back(start_sandbox: Callable[..., "Bench"]) -> None:
    bench = start_sandbox()
    advance(bench, 3600)
    bench.sandbox.request("POST", "/_sandbox/v1/reset", json={})
    assert bench.get("/clock")["ahead_s"] <= 0


def test_after_a_reset_of_everything_no_webhook_waits_for_a_moment_of_the_old_clock(
    start_sandbox: Callable[..., "Bench"], receiver: "Receiver"
) -> None:
    bench = start_sandbox()
    bench.patch_account(client_url=receiver.url)
    receiver.answer_next(429)
    bench.post("/handsets/2348020000000/send", {"text": "1", "to": "48974"})
    advance(bench, 3600)
    bench.sandbox.request("POST", "/_sandbox/v1/reset", json={})
    texted = bench.post("/handsets/2348020000000/send", {"text": "2", "to": "48974", "wait": 5})
    assert texted["webhook_delivery"]["state"] == "delivered"


@pytest.mark.parametrize(("body", "fields"), [({"scope": 5, "hard": True}, ["scope", "hard"])])
def test_wrong_arguments_of_a_reset_are_named(bench: "Bench", body: dict[str, object], fields: list[str]) -> None:
    message = bench.sent()
    assert invalid(bench.call("POST", "/reset", body)) == fields
    assert bench.get(f"/messages/{message}")


def test_a_reset_of_nobody_forgets_nothing(bench: "Bench") -> None:
    message = bench.sent()
    problem(bench.sandbox.request("POST", "/_sandbox/v1/reset", json={"scope": "nobody"}), 404)
    problem(bench.sandbox.request("POST", "/_sandbox/v1/reset", params={"account": "nobody"}, json={}), 404)
    assert bench.get(f"/messages/{message}")
