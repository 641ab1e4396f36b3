"""Calls to the gateway that fail because somebody asked for it: what the application sees, and what happened all the
same."""

import gc
import json
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

from sandbox.core.gateway import PATH
from sandbox.errors import NotFound
from sandbox.model import Drop, EventType, FaultEffect, FaultOn
from sandbox.scenario.steps import MakeFault
from sandbox.store import faults, journal
from sandbox.store.database import Tx
from tests.conftest import PATIENCE_S, Bench, Running
from tests.faulty import (
    EXAMPLE,
    HANDSET,
    eventually,
    fail,
    first_of,
    held,
    in_loop,
    last_request,
    lift,
    request_of,
    rest_of,
    seen,
    statuses,
    tasks_of,
    used,
)

Serving = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(autouse=True)
def _quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A failure that was asked for is no reason to warn anybody."""
    yield
    assert [each.getMessage() for each in caplog.get_records("call") if each.levelno >= logging.WARNING] == []


# A status ----------------------------------------------------------------------------------------------------------


def test_the_next_calls_fail_and_then_the_gateway_answers_as_usual(bench: Bench) -> None:
    fail(bench, times=2, status=503)
    assert statuses(bench, 4) == [503, 503, 200, 200]


def test_a_failure_has_the_gateways_own_shape_and_names_its_fault(bench: Bench) -> None:
    fault = fail(bench, times=3, status=429)
    told = bench.submit().json()
    (error,) = told["errors"]
    assert (told["status_code"], error["code"], error["field"]) == (429, "fault", None)
    assert error["message"] == f"The fault {fault} asked for this, 1 of 3: 429 is answered."
    assert fault in error["hint"]
    assert told["message"] == error["message"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"error": "₦"}', "application/json"),
        ("<h1>502 Bad Gateway</h1>", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
        ("\x1b[2J\u202e", "text/plain; charset=utf-8"),
    ],
)
def test_a_failure_may_have_a_body_of_ones_own(bench: Bench, body: str, content_type: str) -> None:
    fail(bench, status=502, body=body)
    response = bench.submit()
    assert (response.status_code, response.content.decode()) == (502, body)
    assert response.headers["Content-Type"] == content_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_failed_call_is_recorded_as_refused_by_its_fault(bench: Bench) -> None:
    fault = fail(bench, status=503, body="down")
    response = bench.submit()
    record = bench.get(f"/requests/{response.headers['ninebits-sandbox-request']}")
    assert (record["verdict"], record["status_code"], record["answer"]) == ("refused", 503, "down")
    assert [(each["code"], fault in each["message"]) for each in record["problems"]] == [("fault", True)]
    assert json.loads(record["body"])["session_id"] == "67543uhn3"
    assert record["message_id"] is None


def test_a_failed_call_sends_nothing(bench: Bench) -> None:
    fail(bench, status=503)
    bench.submit()
    assert bench.get("/messages")["messages"] == []


def test_of_concurrent_calls_exactly_as_many_fail_as_were_asked_to(bench: Bench) -> None:
    fault = fail(bench, times=7, status=500)
    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(lambda _: bench.submit().status_code, range(20)))
    assert answers == {500: 7, 200: 13}
    assert used(bench, fault) == 7
    counted = [each["problems"][0]["message"] for each in bench.get("/requests", verdict="refused")["requests"]]
    assert len(set(counted)) == 7, "two calls shared one use"


def test_faults_are_used_in_the_order_in_which_they_were_added(bench: Bench) -> None:
    for status in (500, 429, 503):
        fail(bench, status=status)
    assert statuses(bench, 4) == [500, 429, 503, 200]


def test_very_many_faults_are_used_in_their_order(bench: Bench) -> None:
    wanted = [400 + number % 200 for number in range(100)]
    for status in wanted:
        fail(bench, status=status)
    assert statuses(bench, 101) == [*wanted, 200]


def test_a_fault_without_a_number_of_times_stays_until_it_is_removed(bench: Bench) -> None:
    fault = fail(bench, times=None, status=503)
    assert statuses(bench, 3) == [503] * 3
    lift(bench, fault)
    assert statuses(bench, 1) == [200]


# Which calls -------------------------------------------------------------------------------------------------------


def test_a_fault_strikes_no_other_account(bench: Bench, sandbox_server: Running) -> None:
    fail(bench, times=None, status=503)
    assert first_of(sandbox_server).submit().status_code == 200


def test_a_fault_with_a_match_strikes_the_message_that_fits(bench: Bench) -> None:
    fail(bench, match={"to": HANDSET, "text": "*film*"}, status=503)
    texts = ["cinema?", "which film?", "which film?"]
    assert [bench.submit(message=text).status_code for text in texts] == [200, 503, 200]


def test_a_call_that_is_refused_anyway_fits_no_match(bench: Bench) -> None:
    fault = fail(bench, match={"text": "*"}, status=503)
    assert bench.submit(to="0802").status_code == 400
    assert used(bench, fault) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"to": "0802"}', b"x" * 70_000])
def test_without_a_match_a_call_that_would_be_refused_fails_too(bench: Bench, body: bytes) -> None:
    fail(bench, status=503)
    head = (f"Authorization: Bearer {bench.token}", "Content-Type: application/json")
    assert bench.sandbox.plain("POST", PATH, "Host: localhost", *head, body=body).status == 503


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [("GET", PATH, None, 405), ("POST", "/ng/v2/sendsms", None, 404), ("POST", PATH, "nobodys", 401)],
)
def test_a_call_that_is_none_of_the_accounts_messages_uses_no_fault(
    bench: Bench, method: str, path: str, token: str | None, status: int
) -> None:
    fault = fail(bench, status=503)
    head = (f"Authorization: Bearer {token or bench.token}", "Content-Type: application/json")
    body = EXAMPLE if method == "POST" else b""
    assert bench.sandbox.plain(method, path, "Host: localhost", *head, body=body).status == status
    assert used(bench, fault) == 0


# A connection that is dropped --------------------------------------------------------------------------------------


def test_a_refused_connection_is_closed_without_a_byte(bench: Bench) -> None:
    fail(bench, drop=Drop.REFUSED)
    assert seen(bench) == b""
    assert bench.get("/messages")["messages"] == []


def test_a_refused_connection_is_recorded_without_an_answer(bench: Bench) -> None:
    fault = fail(bench, drop=Drop.REFUSED)
    seen(bench)
    record = last_request(bench)
    assert (record["verdict"], record["status_code"], record["answer"]) == ("refused", 0, "")
    assert [each["message"] for each in record["problems"]] == [
        f"The fault {fault} asked for this, 1 of 1: the connection is closed without an answer."
    ]


def test_a_message_is_accepted_though_its_answer_is_lost(bench: Bench) -> None:
    fault = fail(bench, drop=Drop.ACCEPTED)
    assert seen(bench) == b""
    (message,) = bench.get("/messages")["messages"]
    assert message["text"] == json.loads(EXAMPLE)["message"]
    assert message["warnings"] == [
        f"The fault {fault} asked for this, 1 of 1: the connection is closed, and the answer is lost."
    ]
    assert last_request(bench)["verdict"] == "accepted"


def test_an_application_that_tries_again_sends_it_twice(bench: Bench) -> None:
    fail(bench, drop=Drop.ACCEPTED)
    seen(bench)
    bench.sent()
    assert [each["session_id"] for each in bench.get("/messages")["messages"]] == ["67543uhn3"] * 2


def test_a_body_that_is_cut_off_is_shorter_than_announced(bench: Bench) -> None:
    fail(bench, drop=Drop.BODY)
    head, _, body = seen(bench).partition(b"\r\n\r\n")
    whole = last_request(bench)["answer"].encode()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"content-length: {len(whole)}".encode() in head
    assert body == whole[: len(whole) // 2] != b""
    assert len(bench.get("/messages")["messages"]) == 1


@pytest.mark.parametrize("drop", [Drop.ACCEPTED, Drop.BODY])
def test_a_refusal_whose_answer_is_lost_keeps_its_reasons_and_names_the_fault(bench: Bench, drop: Drop) -> None:
    fail(bench, drop=drop)
    answer = seen(bench, b"{}")
    record = last_request(bench)
    codes = [each["code"] for each in record["problems"]]
    assert (record["status_code"], codes[0], codes[-1]) == (400, "missing", "fault")
    assert "fault" not in record["answer"]
    assert answer.startswith(b"HTTP/1.1 400 ") is (drop is Drop.BODY)


@pytest.mark.parametrize("drop", Drop)
def test_a_connection_that_served_before_is_dropped_as_well(bench: Bench, drop: Drop) -> None:
    with bench.sandbox.connect() as sock:
        assert bench.sandbox.ask(sock, request_of(bench)).status == 200
        fail(bench, drop=drop)
        sock.sendall(request_of(bench))
        assert (b"content-length" in rest_of(sock)) is (drop is Drop.BODY)


@pytest.mark.parametrize("drop", Drop)
def test_a_call_behind_a_dropped_one_in_the_same_connection_is_not_answered(bench: Bench, drop: Drop) -> None:
    fail(bench, drop=drop)
    tasks = tasks_of(bench.sandbox)
    with bench.sandbox.connect() as sock:
        sock.sendall(request_of(bench) * 2)
        assert rest_of(sock).count(b"HTTP/1.1") == (1 if drop is Drop.BODY else 0)
    assert eventually(lambda: tasks_of(bench.sandbox) <= tasks)


@pytest.mark.parametrize(
    "effect", [{"drop": Drop.REFUSED}, {"drop": Drop.ACCEPTED}, {"drop": Drop.BODY}, {"status": 503}]
)
def test_the_pages_show_a_call_that_a_fault_struck(bench: Bench, effect: dict[str, Any]) -> None:
    fault = fail(bench, **effect)
    seen(bench) if "drop" in effect else bench.submit()
    page = {"account": bench.account}
    listed = bench.sandbox.request("GET", "/requests", params=page)
    shown = bench.sandbox.request("GET", f"/requests/{last_request(bench)['id']}", params=page)
    assert (listed.status_code, shown.status_code) == (200, 200)
    assert f"The fault {fault} asked for this" in listed.text
    assert f"The fault {fault} asked for this" in shown.text
    assert ("without an answer" in shown.text) is (effect.get("drop") is Drop.REFUSED)


# A call that is held -----------------------------------------------------------------------------------------------


def test_a_held_call_is_recorded_while_it_is_held(bench: Bench) -> None:
    with held(bench) as call:
        record = last_request(bench)
        assert (record["verdict"], record["status_code"]) == ("refused", 0)
        assert call.fault in record["problems"][0]["message"]
        assert call.is_open()
        lift(bench)


def test_a_held_call_is_closed_without_a_byte_when_its_fault_is_removed(bench: Bench) -> None:
    with held(bench) as call:
        lift(bench, call.fault)
        assert rest_of(call.sock) == b""
        assert eventually(call.nobody_waits)


def test_a_held_call_is_closed_when_all_faults_are_removed(bench: Bench) -> None:
    with held(bench) as call:
        lift(bench)
        assert rest_of(call.sock) == b""


def test_a_held_call_is_closed_by_a_reset(bench: Bench) -> None:
    with held(bench) as call:
        bench.post("/reset", status=200)
        assert rest_of(call.sock) == b""
        assert eventually(call.nobody_waits)
        assert bench.get("/requests")["requests"] == []


def test_a_held_call_is_closed_when_its_account_is_removed(bench: Bench) -> None:
    with held(bench) as call:
        assert bench.call("DELETE", f"/accounts/{bench.account}").status_code == 204
        assert rest_of(call.sock) == b""


def test_a_held_call_is_not_let_go_by_others(bench: Bench) -> None:
    other = fail(bench, times=None, status=503, match={"text": "never"})
    with held(bench) as call:
        lift(bench, other)
        in_loop(bench.sandbox, bench.sandbox.services.control.reset("default"))
        assert call.is_open()
        lift(bench)


def test_a_client_that_leaves_a_held_call_leaves_nothing_behind(bench: Bench) -> None:
    with held(bench) as call:
        call.sock.close()
        assert eventually(call.nobody_waits)


def test_a_stop_lets_held_calls_go(serving: Serving) -> None:
    begun = monotonic()
    with serving() as running:
        own = first_of(running)
        fail(own, hold=True)
        sock = socket.create_connection(("127.0.0.1", running.address.port), timeout=PATIENCE_S)
        sock.sendall(request_of(own))
        eventually(lambda: own.get("/requests")["requests"])
    with sock:
        assert rest_of(sock) == b""
    assert monotonic() - begun < 3, "the stop waited for the call"


def test_many_held_calls_are_let_go_at_once(bench: Bench) -> None:
    fail(bench, times=None, hold=True)
    tasks = tasks_of(bench.sandbox)
    socks = [socket.create_connection(("127.0.0.1", bench.sandbox.address.port), timeout=PATIENCE_S) for _ in range(50)]
    for sock in socks:
        sock.sendall(request_of(bench))
    eventually(lambda: len(bench.get("/requests", limit=100)["requests"]) == len(socks))
    lift(bench)
    for sock in socks:
        with sock:
            assert rest_of(sock) == b""
    assert eventually(lambda: tasks_of(bench.sandbox) <= tasks)


# A delay -----------------------------------------------------------------------------------------------------------


def test_a_delayed_answer_comes_later(bench: Bench) -> None:
    fail(bench, delay_s=0.15)
    begun = monotonic()
    assert statuses(bench, 1) == [200]
    assert monotonic() - begun >= 0.15


def test_a_message_is_there_while_its_answer_is_delayed(bench: Bench) -> None:
    with held(bench, delay_s=300) as call:
        (message,) = bench.get("/messages")["messages"]
        assert message["warnings"] == [f"The fault {call.fault} asked for this, 1 of 1: the answer comes after 300 s."]
        assert call.is_open()
        lift(bench)


@pytest.mark.parametrize("effect", [{}, {"status": 503}, {"drop": Drop.REFUSED}, {"drop": Drop.BODY}])
def test_a_delay_goes_with_any_other_effect_and_ends_with_its_fault(bench: Bench, effect: dict[str, Any]) -> None:
    with held(bench, delay_s=300, **effect) as call:
        lift(bench, call.fault)
        if "drop" in effect:
            assert (b"HTTP/1.1 200" in rest_of(call.sock)) is (effect["drop"] is Drop.BODY)
        else:
            begin = call.sock.recv(12)
            assert begin == f"HTTP/1.1 {effect.get('status', 200)}".encode()
        assert eventually(call.nobody_waits)


def test_a_call_that_has_its_answer_is_no_longer_delayed(bench: Bench) -> None:
    """Whether or not the collector of garbage has been there: waits do not let the clock jump meanwhile."""
    fail(bench, delay_s=0.01)
    gc.disable()
    try:
        assert statuses(bench, 1) == [200]
        assert not bench.sandbox.services.faults.delaying(bench.account)
    finally:
        gc.enable()


def test_a_reset_ends_a_delay(bench: Bench) -> None:
    with held(bench, delay_s=300) as call:
        bench.post("/reset", status=200)
        assert call.sock.recv(12) == b"HTTP/1.1 200"
        assert bench.get("/messages")["messages"] == []


# Added and removed ----------------------------------------------------------------------------------------------------


def test_an_account_that_is_not_there_gets_no_fault(bench: Bench) -> None:
    wanted = MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503))
    with pytest.raises(NotFound):
        in_loop(bench.sandbox, bench.sandbox.services.control.add_fault("nobody", wanted))


def test_an_account_has_a_limit_of_faults(bench: Bench) -> None:
    services, endless = (
        bench.sandbox.services,
        MakeFault(on=FaultOn.SENDSMS, effect=FaultEffect(status=503), times=None),
    )

    def fill(tx: Tx) -> None:
        for _ in range(faults.KEPT):
            services.faults.add(tx, bench.account, endless, at_ms=1)

    in_loop(bench.sandbox, services.database.write(fill))
    refused = bench.call("POST", "/faults", {"on": "sendsms", "effect": {"status": 503}})
    assert (refused.status_code, "Remove some" in refused.json()["detail"]) == (409, True)


def test_a_reset_removes_the_accounts_faults(bench: Bench) -> None:
    fault = fail(bench, times=None, status=503)
    bench.post("/reset", status=200)
    assert statuses(bench, 1) == [200]
    assert bench.call("GET", f"/faults/{fault}").status_code == 404


def test_a_removed_accounts_faults_go_with_it(bench: Bench, sandbox_server: Running) -> None:
    fault = fail(bench, times=None, status=503)
    bench.call("DELETE", f"/accounts/{bench.account}")
    again = sandbox_server.request("POST", "/_sandbox/v1/accounts", json={"name": bench.account, "token": bench.token})
    assert again.status_code == 201
    assert statuses(bench, 1) == [200]
    assert bench.call("GET", f"/faults/{fault}").status_code == 404


def test_a_fault_is_news_when_it_is_added_used_up_and_removed(bench: Bench) -> None:
    fault = fail(bench, times=2, status=503)
    statuses(bench, 2)
    lift(bench, fault)
    seq = int(fault[1:])
    entries = in_loop(
        bench.sandbox,
        bench.sandbox.services.database.read(lambda db: journal.after(db, seq - 1, account=bench.account)),
    )
    assert [each.subject for each in entries if each.kind is EventType.FAULT_CHANGED] == [seq] * 3


def test_a_restart_keeps_what_is_left_of_a_fault(serving: Serving, tmp_path: Path) -> None:
    file = str(tmp_path / "sandbox.db")
    with serving(db=file) as running:
        own = first_of(running)
        fault = fail(own, times=3, status=503, body="down")
        assert statuses(own, 2) == [503, 503]
    with serving(db=file) as running:
        own = first_of(running)
        assert own.submit().text == "down"
        assert statuses(own, 1) == [200]
        assert used(own, fault) == 3
