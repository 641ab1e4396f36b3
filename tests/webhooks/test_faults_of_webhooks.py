"""Webhooks that fail because somebody asked for it: what the application gets, and what the attempts say."""

import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.conftest import Bench, Receiver, Running
from tests.faulty import HANDSET, eventually, fail, first_of, lift, statuses, tasks_of, used


@pytest.fixture(autouse=True)
def _quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A failure that was asked for is no reason to warn anybody."""
    yield
    assert [each.getMessage() for each in caplog.get_records("call") if each.levelno >= logging.WARNING] == []


def text(bench: Bench, said: str = "CINEMA", **options: object) -> Any:
    """A text from the handset; its webhook delivery after the first attempt."""
    made = bench.post(f"/handsets/{HANDSET}/send", {"text": said, "to": "48974", **options})
    return made["webhook_delivery"]


@pytest.fixture
def own(start_sandbox: Callable[..., Bench], receiver: Receiver) -> Bench:
    """A sandbox of the test's own, whose clock it may move."""
    bench = start_sandbox()
    bench.patch_account(client_url=receiver.url)
    return bench


def advance(bench: Bench, seconds: float) -> None:
    moved = bench.call("PUT", "/clock", {"action": "advance", "seconds": seconds})
    assert moved.status_code == 200, moved.text


def attempts(bench: Bench, delivery: Any) -> list[tuple[float, str, int | None]]:
    """(offset, outcome, status) of each attempt."""
    found = bench.get(f"/webhook-deliveries/{delivery['id']}")["attempts"]
    return [(each["offset_s"], each["outcome"], each["status_code"]) for each in found]


def test_a_webhook_that_fails_is_retried_by_the_schedule_without_reaching_the_application(
    own: Bench, receiver: Receiver
) -> None:
    fail(own, "webhook", times=3, status=500)
    delivery = text(own)
    assert (delivery["state"], receiver.received) == ("retrying", [])
    advance(own, 3600)
    assert attempts(own, delivery) == [
        (0, "answered", 500),
        (30, "answered", 500),
        (60, "answered", 500),
        (120, "answered", 200),
    ]
    assert len(receiver.received) == 1


def test_an_outage_without_end_exhausts_a_webhook(own: Bench, receiver: Receiver) -> None:
    fault = fail(own, "webhook", times=None, status=503)
    delivery = text(own)
    advance(own, 3600)
    found = own.get(f"/webhook-deliveries/{delivery['id']}")
    assert (found["state"], len(found["attempts"]), receiver.received) == ("exhausted", 9, [])
    assert used(own, fault) == 9


@pytest.mark.parametrize(
    ("effect", "outcome", "state", "received"),
    [
        ({"status": 404, "body": "gone"}, ("answered", 404), "rejected", 0),
        ({"status": 429}, ("answered", 429), "retrying", 0),
        ({"drop": "refused"}, ("unreachable", None), "retrying", 0),
        ({"drop": "accepted"}, ("broken", None), "retrying", 1),
        ({"hold": True}, ("timed_out", None), "retrying", 0),
        ({"hold": True, "delay_s": 0.01}, ("timed_out", None), "retrying", 0),
        ({"delay_s": 0.01}, ("answered", 200), "delivered", 1),
        ({"delay_s": 0.01, "status": 500}, ("answered", 500), "retrying", 0),
    ],
)
def test_an_attempt_ends_as_its_fault_says_and_names_it(
    routed: Bench,
    receiver: Receiver,
    effect: dict[str, Any],
    outcome: tuple[str, int | None],
    state: str,
    received: int,
) -> None:
    fault = fail(routed, "webhook", **effect)
    delivery = text(routed)
    (attempt,) = delivery["attempts"]
    assert (attempt["outcome"], attempt["status_code"]) == outcome
    assert (delivery["state"], len(receiver.received)) == (state, received)
    assert attempt["response_body"] == effect.get("body", "{}" if state == "delivered" else "")
    told = [each for each in [attempt["error"], *attempt["warnings"]] if each and fault in each]
    assert len(told) == 1


def test_a_webhook_whose_answer_is_lost_comes_a_second_time_with_the_same_bytes(own: Bench, receiver: Receiver) -> None:
    fail(own, "webhook", drop="accepted")
    delivery = text(own)
    advance(own, 30)
    first, second = (each.body for each in receiver.wait_for(2))
    assert first == second
    assert attempts(own, delivery) == [(0, "broken", None), (30, "answered", 200)]


def test_what_really_went_wrong_is_told_even_if_a_fault_would_have_lost_the_answer(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bench.patch_account(client_url=f"http://127.0.0.1:{unused.getsockname()[1]}/sms")
        fail(bench, "webhook", drop="accepted")
        (attempt,) = text(bench)["attempts"]
    assert attempt["outcome"] == "unreachable"


def test_a_webhook_fault_with_a_match_looks_at_what_the_handset_said(routed: Bench, receiver: Receiver) -> None:
    fail(routed, "webhook", match={"from": HANDSET, "text": "*₦*"}, status=500)
    assert [text(routed, said)["state"] for said in ("CINEMA", "₦ 500", "₦ 500")] == [
        "delivered",
        "retrying",
        "delivered",
    ]


def test_a_webhook_fault_with_a_match_looks_at_what_an_edited_body_says(routed: Bench, receiver: Receiver) -> None:
    delivery = text(routed, "CINEMA")
    fail(routed, "webhook", times=2, match={"text": "stop", "session_id": "mine"}, status=500)
    bodies = ('{"message": "stop", "session_id": "mine"}', '{"message": "stop"}', "stop", delivery["body"])
    again = [routed.post(f"/webhook-deliveries/{delivery['id']}/redeliver", {"body": body}) for body in bodies]
    assert [each["state"] for each in again] == ["retrying", "delivered", "delivered", "delivered"]


def test_an_attempt_by_hand_is_struck_too(routed: Bench, receiver: Receiver) -> None:
    fail(routed, "webhook", times=2, status=500)
    delivery = text(routed)
    for expected in ("retrying", "delivered"):
        again = routed.post(f"/webhook-deliveries/{delivery['id']}/attempt", status=200)
        assert again["state"] == expected


def test_a_webhook_fault_strikes_no_call_and_no_other_account(own: Bench, receiver: Receiver) -> None:
    fault = fail(own, "webhook", times=None, status=500)
    assert statuses(own, 1) == [200]
    other = Bench(sandbox=own.sandbox, account="other", token="token-of-other")
    own.post("/accounts", {"name": other.account, "token": other.token, "client_url": receiver.url})
    assert text(other)["state"] == "delivered"
    assert used(own, fault) == 0


def test_of_concurrent_attempts_exactly_as_many_fail_as_were_asked_to(routed: Bench, receiver: Receiver) -> None:
    fail(routed, "webhook", times=3, status=400)
    with ThreadPoolExecutor(8) as pool:
        states = Counter(each["state"] for each in pool.map(lambda number: text(routed, f"{number}"), range(8)))
    assert states == {"rejected": 3, "delivered": 5}


def test_a_delayed_webhook_goes_out_when_its_fault_is_removed(routed: Bench, receiver: Receiver) -> None:
    fault = fail(routed, "webhook", delay_s=300)
    text(routed, wait=False)
    eventually(lambda: routed.sandbox.services.faults.delaying(routed.account))
    assert receiver.received == []
    lift(routed, fault)
    assert len(receiver.wait_for(1)) == 1


def test_a_reset_leaves_no_delayed_webhook_behind(own: Bench, receiver: Receiver) -> None:
    tasks = tasks_of(own.sandbox)
    fail(own, "webhook", delay_s=300)
    text(own, wait=False)
    eventually(lambda: own.sandbox.services.faults.delaying(own.account))
    own.post("/reset", status=200)
    eventually(lambda: tasks_of(own.sandbox) <= tasks)
    assert receiver.received == []


def test_a_stop_does_not_wait_for_a_delayed_webhook_and_the_next_start_posts_it(
    serving: Callable[..., AbstractContextManager[Running]], receiver: Receiver, tmp_path: Path
) -> None:
    file = str(tmp_path / "sandbox.db")
    begun = monotonic()
    with serving(db=file) as running:
        first = first_of(running)
        first.patch_account(client_url=receiver.url)
        fail(first, "webhook", delay_s=300)
        delivery = text(first, wait=False)
        eventually(lambda: running.services.faults.delaying(first.account))
    assert monotonic() - begun < 2.5, "the stop waited"
    assert receiver.received == []
    with serving(db=file) as running:
        second = first_of(running)
        lift(second)
        receiver.wait_for(1)
        advance(second, 0)
        assert [outcome for _, outcome, _ in attempts(second, delivery)] == ["interrupted", "answered"]
