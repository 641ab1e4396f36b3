"""Every call of the clients as a value, and both clients against a real sandbox."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.client import AsyncSandboxClient, Endpoints, Refused, SandboxClient
from sandbox.testkit.transport import HttpCall
from tests.conftest import EXAMPLE, PATIENCE_S, Bench, Receiver

NUMBER = EXAMPLE["to"]
calls = Endpoints()

DESCRIBED: list[tuple[HttpCall[Any], str, str, object]] = [
    (calls.list("messages", limit=5), "GET", "messages", None),
    (calls.get("webhook-deliveries", "w1"), "GET", "webhook-deliveries/w1", None),
    (calls.get("scenarios", "../x"), "GET", "scenarios/..%2Fx", None),
    (calls.wait(count=2, text="*"), "GET", "messages/wait", None),
    (
        calls.verify({"text": "*", "to": None}, exactly=0, within=0.5, after=3),
        "POST",
        "verify",
        {"match": {"text": "*"}, "times": {"exactly": 0}, "within": 0.5, "after": 3},
    ),
    (calls.reply("234", "hi", wait=False), "POST", "handsets/234/reply", {"text": "hi", "wait": False}),
    (calls.send("234", "hi", to="48974"), "POST", "handsets/234/send", {"text": "hi", "to": "48974"}),
    (calls.change_handset("234", state="off"), "PATCH", "handsets/234", {"state": "off"}),
    (calls.transcript("234", "pytest"), "GET", "conversations/234/transcript", None),
    (calls.attempt("w1"), "POST", "webhook-deliveries/w1/attempt", {}),
    (calls.redeliver("w1"), "POST", "webhook-deliveries/w1/redeliver", {}),
    (calls.cancel("w1"), "POST", "webhook-deliveries/w1/cancel", {}),
    (
        calls.add_fault("sendsms", {"status": 503, "body": None}, times=2),
        "POST",
        "faults",
        {"on": "sendsms", "effect": {"status": 503}, "times": 2, "match": {}},
    ),
    (calls.remove_fault("f1"), "DELETE", "faults/f1", None),
    (calls.clear_faults(), "DELETE", "faults", None),
    (calls.put_scenario("mine", "scenario: mine"), "PUT", "scenarios/mine", {"source": "scenario: mine"}),
    (calls.remove_scenario("mine"), "DELETE", "scenarios/mine", None),
    (calls.start_run("mine", "234"), "POST", "scenarios/mine/runs", {"msisdn": "234"}),
    (calls.start_run("mine"), "POST", "scenarios/mine/runs", {}),
    (calls.get_run("mine", "s1"), "GET", "scenarios/mine/runs/s1", None),
    (calls.stop_run("mine", "s1"), "POST", "scenarios/mine/runs/s1/stop", {}),
    (calls.doctor(post=True), "POST", "doctor", {"post": True}),
    (calls.clock(), "GET", "clock", None),
    (calls.set_clock("advance", 60), "PUT", "clock", {"action": "advance", "seconds": 60}),
    (calls.set_clock("system"), "PUT", "clock", {"action": "system"}),
    (calls.set_clock("freeze"), "PUT", "clock", {"action": "freeze"}),
    (calls.add_account("a", "t", strict=False), "POST", "accounts", {"name": "a", "token": "t", "strict": False}),
    (calls.change_account("a", client_url=None), "PATCH", "accounts/a", {"client_url": None}),
    (calls.remove_account("a"), "DELETE", "accounts/a", None),
    (calls.reset(), "POST", "reset", {}),
    (calls.export(), "GET", "export", None),
    (calls.import_("{}\n"), "POST", "import", b"{}\n"),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), DESCRIBED)
def test_a_call_is_described(call: HttpCall[Any], method: str, path: str, body: object) -> None:
    assert (call.method, call.path, call.body) == (method, path, body)


@pytest.mark.parametrize(
    "call", [calls.wait(timeout=120), calls.verify({}, within=120), calls.reply("234", "hi", wait=120)]
)
def test_a_call_is_given_more_time_than_the_sandbox_is_told_to_wait(call: HttpCall[Any]) -> None:
    assert call.timeout_s > 120


@pytest.fixture
def client(routed: Bench) -> Iterator[SandboxClient]:
    """A client for the account of this test, whose application is `receiver`."""
    with SandboxClient(routed.sandbox.url, account=routed.account) as it:
        yield it


def test_a_message_goes_out_and_a_reply_comes_back(client: SandboxClient, routed: Bench, receiver: Receiver) -> None:
    sent = client.submit(EXAMPLE, token=routed.token)
    assert client.get("messages", sent["reference_id"])["text"] == EXAMPLE["message"]
    replied = client.reply(NUMBER, "yesterday")
    assert replied["webhook_delivery"]["state"] == "delivered"
    assert json.loads(receiver.wait_for(1)[0].body)["message"] == "yesterday"
    assert [each["text"] for each in client.list("messages", direction="mo")["messages"]] == ["yesterday"]


def test_a_refused_message_raises_every_problem(client: SandboxClient, routed: Bench) -> None:
    with pytest.raises(Refused) as caught:
        client.submit({**EXAMPLE, "to": "0802", "from": "4"}, token=routed.token)
    assert caught.value.status == 400
    assert {each["field"] for each in caught.value.problem["errors"]} == {"to", "from"}
    assert all(each["hint"] in str(caught.value) for each in caught.value.problem["errors"])


def test_a_wait_ends_with_the_message(client: SandboxClient, routed: Bench) -> None:
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(client.wait(timeout=PATIENCE_S, text="*cinema?")))
    waiting.start()
    routed.sent()
    waiting.join()
    assert found[0]["satisfied"]


def test_the_async_client_serves_and_waits_in_one_loop(routed: Bench) -> None:
    """The wait ends only because the call in the same loop goes out while it waits."""

    async def main() -> Any:
        client = AsyncSandboxClient(routed.sandbox.url, account=routed.account)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(client.wait(timeout=PATIENCE_S))
            tasks.create_task(client.submit(EXAMPLE, token=routed.token))
        return waiting.result()

    assert asyncio.run(main())["satisfied"]


def test_a_client_of_another_account_sees_that_one_alone(client: SandboxClient, routed: Bench) -> None:
    number = "2348020009876"  # nobody else's, as the account `default` is everybody's
    routed.sent(to=number)
    assert client.for_account("default").list("messages", to=number)["messages"] == []
    assert len(client.list("messages", to=number)["messages"]) == 1


def test_events_come_as_they_happen(client: SandboxClient, routed: Bench) -> None:
    routed.sent()
    events = client.events(after=0)
    assert next(event for event in events if event["kind"] == "message_submitted")["account"] == routed.account
    events.close()  # type: ignore[attr-defined]


def test_ready_is_false_where_nothing_answers() -> None:
    with SandboxClient("http://127.0.0.1:1") as client:
        assert not client.ready()
        assert not client.wait_ready(0)
    assert not asyncio.run(AsyncSandboxClient("http://127.0.0.1:1").ready())


def test_ready_is_true_where_a_sandbox_answers(client: SandboxClient) -> None:
    assert client.ready()
    assert client.wait_ready(1)
