"""A random user of the gateway and the control API, beside a small model of what is recorded and answered.

The model knows what was sent and what the application answered, and nothing of how the sandbox comes to its states: of
those it knows the first one, the moves that are allowed, and that an hour later everything owed has ended.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from sandbox.store import journal
from tests.conftest import PATIENCE_S, Receiver, Running
from tests.faulty import in_loop

V1 = "/_sandbox/v1"
NUMBERS = ("2348020000000", "2347030000000")
SHORTCODE = "48974"
ECHO = """
scenario: echo
rules:
  - when: {text: "*[?]*"}
    reply: {text: "auto"}
"""

FIRST_STATE = {200: "delivered", 404: "rejected", 500: "retrying"}
"""What the application answers -> the state of a webhook delivery after its first attempt."""
LAST_STATE = {200: "delivered", 404: "rejected", 500: "exhausted"}
"""The same, after all retries."""
MOVES = {
    "retrying": {"retrying", "delivered", "rejected", "exhausted", "cancelled"},
    "exhausted": {"exhausted", "delivered"},  # attempted by hand
    "rejected": {"rejected", "delivered"},
    "cancelled": {"cancelled", "delivered"},
    "delivered": {"delivered"},
}
ENDED = MOVES.keys() - {"retrying"}

handsets = st.sampled_from(NUMBERS)
statuses = st.sampled_from(sorted(FIRST_STATE))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
questions = texts.map(lambda text: f"{text}?")


@dataclass(slots=True)
class Text:
    """A message as it has to be listed."""

    direction: str
    msisdn: str
    text: str
    state: str  # of MT and of an MO that goes nowhere; of another MO, the one of its webhook delivery counts
    id: str = ""
    delivery: str | None = None


@dataclass(slots=True)
class Model:
    """What an account has on record."""

    texts: list[Text] = field(default_factory=list)
    verdicts: list[int] = field(default_factory=list)  # of its calls to the gateway
    off: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)  # handsets to which the application has sent
    deliveries: dict[str, str] = field(default_factory=dict)  # identifier -> the state that was seen last
    faults: list[list[int]] = field(default_factory=list)  # status, and how many calls it strikes yet
    outage: bool = False  # webhooks fail because somebody asked for it
    playing: str | None = None  # the run of the echo

    def struck(self) -> int | None:
        """The status that a fault gives the next call to the gateway."""
        if not self.faults:
            return None
        status = self.faults[0][0]
        self.faults[0][1] -= 1
        if not self.faults[0][1]:
            del self.faults[0]
        return status


class User(RuleBasedStateMachine):
    """Every example has an account of its own, on the sandbox that all of them share."""

    running: ClassVar[Running]
    receiver: ClassVar[Receiver]
    names: ClassVar[Iterator[int]]
    calls: ClassVar[int]
    done: ClassVar[Counter[str]]  # what came about at all, so that nothing is tested in vain

    def __init__(self) -> None:
        super().__init__()
        self.name = f"user-{next(self.names)}"
        self.token = f"token-of-{self.name}"
        self.connection = HTTPConnection("127.0.0.1", self.running.address.port, timeout=PATIENCE_S)
        self.model = Model()
        self.answer = 200
        self.receiver.answer_with(200)
        self.url: str | None = self.receiver.url
        self.seen = self.last_number()
        body = {"name": self.name, "token": self.token, "client_url": self.url}
        self.call("POST", "/accounts", body, wanted=201)

    def teardown(self) -> None:
        try:
            self.look_at_everything()
            self.call("DELETE", f"/accounts/{self.name}", wanted=204)
        finally:
            self.connection.close()

    # Calls

    def ask(
        self, method: str, path: str, body: object = None, query: dict[str, object] | None = None, token: str = ""
    ) -> tuple[int, bytes]:
        type(self).calls += 1
        sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if sent is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.connection.request(method, f"{path}?{urlencode(query or {})}", sent, headers)
        response = self.connection.getresponse()
        return response.status, response.read()

    def call(self, method: str, path: str, body: object = None, *, wanted: int = 200, **query: object) -> Any:
        """What the control API answers for this account."""
        if body is None and method in ("POST", "PUT", "PATCH"):
            body = {}
        about = {} if path.startswith("/accounts") or path == "/clock" else {"account": self.name}
        status, answer = self.ask(method, V1 + path, body, {**about, **query})
        assert status == wanted, f"{method} {path} {body}: {status} {answer.decode()}"
        if path == "/export":
            return answer
        return json.loads(answer) if answer else None

    def settle(self, seconds: float = 0) -> None:
        self.call("PUT", "/clock", {"action": "advance", "seconds": seconds})

    def last_number(self) -> int:
        return in_loop(self.running, self.running.services.database.read(journal.last_seq))

    # The application

    def submit(self, body: object, *, token: str | None = None) -> int:
        status, answer = self.ask("POST", "/ng/v1/sendsms", body, token=token or self.token)
        assert json.loads(answer)["status_code"] == status
        return status

    @rule(msisdn=handsets, text=texts | questions)
    def sends(self, msisdn: str, text: str) -> None:
        struck = self.model.struck()
        got = self.submit(sms(msisdn, text))
        assert got == (struck or 200)
        self.done["fault"] += struck is not None
        self.model.verdicts.append(got)
        if struck is None:
            self.model.known.add(msisdn)
            on = msisdn not in self.model.off
            self.model.texts.append(Text("mt", msisdn, text, "arrived" if on else "accepted"))
            if on:
                self.heard([text], msisdn)

    @rule(
        change=st.sampled_from(
            [{"to": None}, {"message": ""}, {"from": 7}, {"to": "12"}, {"session_id": None}, {"sent_date": "soon"}, {}]
        ),
        raw=st.sampled_from([b"", b"[]", b"{", b'{"from": NaN}', b"[" * 100, b"\xff"]),
    )
    def sends_nonsense(self, change: dict[str, object], raw: bytes) -> None:
        struck = self.model.struck()
        body: object = {**sms(NUMBERS[0], "text"), **change} if change else raw
        got = self.submit(body)
        assert got == (struck or 400)
        self.model.verdicts.append(got)

    @rule(msisdn=handsets)
    def sends_with_a_token_of_nobody(self, msisdn: str) -> None:
        assert self.submit(sms(msisdn, "text"), token="nobody") == 401

    @rule(status=statuses)
    def answers_otherwise(self, status: int) -> None:
        self.answer = status
        self.receiver.answer_with(status)

    @rule(routed=st.booleans())
    def is_wired_otherwise(self, routed: bool) -> None:
        self.url = self.receiver.url if routed else None
        self.call("PATCH", f"/accounts/{self.name}", {"client_url": self.url})

    # Handsets

    def originated(self, text: Text) -> None:
        """A handset's text was taken: where it goes, and what became of it."""
        self.settle()
        self.model.texts.append(text)
        newest = self.call("GET", "/messages", direction="mo", limit=1)["messages"][0]
        text.delivery = newest["webhook_delivery_id"]
        assert (text.delivery is None) is (self.url is None)
        text.state = "unrouted"
        if text.delivery is not None:
            state = self.call("GET", f"/webhook-deliveries/{text.delivery}")["state"]
            assert state in MOVES
            assert state == FIRST_STATE[self.answer] or self.model.outage
            self.model.deliveries[text.delivery] = state

    def heard(self, said: list[str], msisdn: str) -> None:
        """Messages arrived; the echo answers those that ask something."""
        if self.model.playing is None:
            return
        self.settle()
        replies = [text for text in said if "?" in text]
        newest = self.call("GET", "/messages", direction="mo", limit=500)["messages"][: len(replies)]
        for message in reversed(newest):
            text = Text("mo", msisdn, "auto", "unrouted", delivery=message["webhook_delivery_id"])
            if text.delivery is not None:
                self.model.deliveries[text.delivery] = "retrying"  # any move from here
            self.model.texts.append(text)
        assert [each["text"] for each in newest] == ["auto"] * len(replies)
        self.done["echo"] += len(replies)

    @rule(msisdn=handsets, text=texts, to=st.sampled_from([None, SHORTCODE]), delay_s=st.sampled_from([None, 60]))
    def replies(self, msisdn: str, text: str, to: str | None, delay_s: int | None) -> None:
        body: dict[str, object] = {"text": text, "wait": False}
        if to is not None:
            body["to"] = to
        if delay_s is not None:
            body["delay_s"] = delay_s
        possible = msisdn not in self.model.off and (to is not None or msisdn in self.model.known)
        status = 409 if not possible else 201 if delay_s is None else 202
        self.call("POST", f"/handsets/{msisdn}/reply", body, wanted=status)
        if possible:
            self.settle(delay_s or 0)
            self.originated(Text("mo", msisdn, text, ""))

    @rule(msisdn=handsets, text=texts)
    def starts_a_dialogue(self, msisdn: str, text: str) -> None:
        on = msisdn not in self.model.off
        body = {"text": text, "to": SHORTCODE, "wait": False}
        self.call("POST", f"/handsets/{msisdn}/send", body, wanted=201 if on else 409)
        if on:
            self.originated(Text("mo", msisdn, text, ""))

    @rule(msisdn=handsets)
    def is_switched_off(self, msisdn: str) -> None:
        assert self.call("PATCH", f"/handsets/{msisdn}", {"state": "off"})["state"] == "off"
        self.model.off.add(msisdn)

    @rule(msisdn=handsets)
    def is_switched_on(self, msisdn: str) -> None:
        assert self.call("PATCH", f"/handsets/{msisdn}", {"state": "on"})["state"] == "on"
        self.model.off.discard(msisdn)
        waiting = [each for each in self.model.texts if each.msisdn == msisdn and each.state == "accepted"]
        for each in waiting:
            each.state = "arrived"
        self.done["waited"] += len(waiting)
        self.heard([each.text for each in waiting], msisdn)

    # Waiting

    @rule(text=st.sampled_from(["auto", "nobody says this"]), least=st.integers(1, 3))
    def waits(self, text: str, least: int) -> None:
        there = sum(each.text == text for each in self.model.texts)
        waited = self.call("GET", "/messages/wait", text=text, count=least, timeout=0)
        assert (waited["satisfied"], len(waited["messages"])) == (there >= least, there)

    @rule(direction=st.sampled_from(["mt", "mo"]), exactly=st.integers(0, 5))
    def verifies(self, direction: str, exactly: int) -> None:
        there = sum(each.direction == direction for each in self.model.texts)
        body = {"match": {"direction": direction}, "times": {"exactly": exactly}}
        assert self.call("POST", "/verify", body)["satisfied"] is (there == exactly)

    # Faults

    @rule(status=st.sampled_from([401, 429, 503]), times=st.integers(1, 3))
    def asks_for_failures(self, status: int, times: int) -> None:
        self.call("POST", "/faults", {"on": "sendsms", "times": times, "effect": {"status": status}}, wanted=201)
        self.model.faults.append([status, times])

    @rule(times=st.integers(1, 3))
    def asks_for_webhooks_to_fail(self, times: int) -> None:
        body = {"on": "webhook", "times": times, "effect": {"status": 503}}
        self.call("POST", "/faults", body, wanted=201)
        self.model.outage = True

    @rule()
    def lifts_all_failures(self) -> None:
        self.call("DELETE", "/faults", wanted=204)
        self.model.faults.clear()
        self.model.outage = False

    # Scenarios

    @precondition(lambda self: self.model.playing is None)
    @rule()
    def starts_the_echo(self) -> None:
        status, _ = self.ask("PUT", f"{V1}/scenarios/echo", {"source": ECHO}, {"account": self.name})
        assert status in (200, 201)
        self.model.playing = self.call("POST", "/scenarios/echo/runs", wanted=201)["id"]

    @precondition(lambda self: self.model.playing is not None)
    @rule()
    def stops_the_echo(self) -> None:
        stopped = self.call("POST", f"/scenarios/echo/runs/{self.model.playing}/stop")
        assert stopped["state"] == "stopped"
        self.call("POST", f"/scenarios/echo/runs/{self.model.playing}/stop", wanted=409)
        self.model.playing = None

    # Webhook deliveries

    def one_of(self, number: int, states: Collection[str]) -> str | None:
        """Some webhook delivery, one in these states if there is any."""
        known = list(self.model.deliveries)
        known = [each for each in known if self.model.deliveries[each] in states] or known
        return known[number % len(known)] if known else None

    def state_of(self, delivery: str) -> str:
        state: str = self.call("GET", f"/webhook-deliveries/{delivery}")["state"]
        assert state in MOVES[self.model.deliveries[delivery]]
        self.model.deliveries[delivery] = state
        self.done[state] += 1
        return state

    @rule(number=st.integers(0, 50), status=statuses)
    def attempts_by_hand(self, number: int, status: int) -> None:
        if (delivery := self.one_of(number, MOVES.keys() - {"delivered"})) is None:
            return
        self.answers_otherwise(status)
        before = self.state_of(delivery)
        wanted = 409 if before == "delivered" else 200
        self.call("POST", f"/webhook-deliveries/{delivery}/attempt", wanted=wanted)
        after = self.state_of(delivery)
        if not self.model.outage:
            assert after == ("delivered" if self.answer == 200 else before)
            self.done["by hand"] += after != before

    @rule(number=st.integers(0, 50))
    def redelivers(self, number: int) -> None:
        if (delivery := self.one_of(number, ENDED)) is None:
            return
        is_open = self.state_of(delivery) not in ENDED
        path = f"/webhook-deliveries/{delivery}/redeliver"
        again = self.call("POST", path, {"wait": False}, wanted=409 if is_open else 201)
        self.settle()
        if not is_open:
            assert again["body"] == self.call("GET", f"/webhook-deliveries/{delivery}")["body"]
            self.model.deliveries[again["id"]] = "retrying"  # any move from here
            self.done["redelivered"] += 1
            message = next(each for each in self.model.texts if each.id == again["message_id"])
            message.delivery = again["id"]

    @rule(number=st.integers(0, 50))
    def cancels(self, number: int) -> None:
        if (delivery := self.one_of(number, ["retrying"])) is None:
            return
        is_open = self.state_of(delivery) not in ENDED
        self.call("POST", f"/webhook-deliveries/{delivery}/cancel", wanted=200 if is_open else 409)
        if is_open:
            assert self.state_of(delivery) == "cancelled"

    @rule(seconds=st.sampled_from([0, 1, 45, 600]))
    def lets_time_pass(self, seconds: int) -> None:
        self.settle(seconds)

    @rule(status=statuses)
    def lets_an_hour_pass(self, status: int) -> None:
        """After a text for which the application was not ready."""
        self.answers_otherwise(500)
        self.starts_a_dialogue(NUMBERS[1], "early")
        self.answers_otherwise(status)
        still = [each for each in self.model.deliveries if self.state_of(each) not in ENDED]
        self.settle(3601)
        for each in still:
            state = self.state_of(each)
            assert state in ENDED
            assert self.model.outage or state == LAST_STATE[self.answer]

    # Reset, export, import

    @rule()
    def resets(self) -> None:
        assert self.call("POST", "/reset", {"scope": self.name}) == {"reset": self.name}
        self.model = Model()

    @rule()
    def exports_and_imports(self) -> None:
        exported = self.call("GET", "/export")
        other = f"{self.name}-copy"
        self.call("POST", "/accounts", {"name": other, "token": f"token-of-{other}"}, wanted=201)
        status, answer = self.ask("POST", f"{V1}/import", exported, {"account": other})
        assert status == 201, answer
        _, copied = self.ask("GET", f"{V1}/messages", query={"account": other, "limit": 500})
        assert [spoken(each) for each in json.loads(copied)["messages"]] == [
            (each.direction, each.msisdn, each.text) for each in reversed(self.model.texts)
        ]
        self.call("DELETE", f"/accounts/{other}", wanted=204)

    # What has to hold

    @initialize(
        echo=st.booleans(),
        off=st.sets(handsets),
        said=st.lists(questions, max_size=2),
        status=st.sampled_from([200, 500]),
    )
    def begins(self, echo: bool, off: set[str], said: list[str], status: int) -> None:
        """In the middle of something, so that few steps lead far."""
        assert self.call("GET", "/messages")["messages"] == []
        self.answers_otherwise(status)
        if echo:
            self.starts_the_echo()
        for msisdn in sorted(off):
            self.is_switched_off(msisdn)
        for text in said:
            self.sends(NUMBERS[0], text)

    def check_invariants(self, *more: Any, **named: Any) -> None:
        """After each step: what was said is listed, in order, with its state and a number that is higher."""
        super().check_invariants(*more, **named)
        listed = self.call("GET", "/messages", limit=500)["messages"][::-1]
        assert [spoken(each) for each in listed] == [
            (each.direction, each.msisdn, each.text) for each in self.model.texts
        ]
        assert sorted({each["seq"] for each in listed}) == [each["seq"] for each in listed]
        for known, each in zip(self.model.texts, listed, strict=True):
            assert known.id in ("", each["id"])
            known.id = each["id"]
            assert known.delivery == each["webhook_delivery_id"]
            if known.delivery is None:
                assert known.state == each["state"]
            else:
                assert each["state"] in MOVES[self.model.deliveries[known.delivery]]
                self.model.deliveries[known.delivery] = each["state"]

    def look_at_everything(self) -> None:
        """At the end: every list, whole and page by page, and the journal."""
        for path, plural, wanted in (
            ("/messages", "messages", [each.id for each in self.model.texts]),
            ("/webhook-deliveries", "webhook_deliveries", list(self.model.deliveries)),
            ("/requests", "requests", self.model.verdicts),
        ):
            whole = self.call("GET", path, limit=500)[plural]
            assert self.in_pages(path, plural) == whole
            found = [each["status_code"] if plural == "requests" else each["id"] for each in whole[::-1]]
            assert found == wanted
        for each in self.call("GET", "/handsets")["handsets"]:
            assert (each["state"] == "off") is (each["msisdn"] in self.model.off)
        entries = in_loop(
            self.running, self.running.services.database.read(lambda db: journal.after(db, self.seen, limit=10_000))
        )
        numbers = [each.seq for each in entries]
        assert numbers == sorted(set(numbers))
        assert not numbers or numbers[0] > self.seen

    def in_pages(self, path: str, plural: str) -> list[Any]:
        found: list[Any] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = self.call("GET", path, **query)
            found += page[plural]
            if page["next"] is None:
                return found
            query["next"] = page["next"]


def sms(msisdn: str, text: str) -> dict[str, object]:
    return {
        "from": SHORTCODE,
        "to": msisdn,
        "message": text,
        "session_id": "one",
        "sent_date": "2024-01-02T23:50:37.000000Z",
    }


def spoken(message: dict[str, Any]) -> tuple[str, str, str]:
    return message["direction"], message["to" if message["direction"] == "mt" else "from"], message["text"]


@pytest.mark.proof("T5")
def test_a_random_user_finds_everything_as_the_model_has_it(
    serving: Callable[..., Any],
    receiver: Receiver,
    sized: Callable[[int, int], int],
    record_property: Callable[[str, object], None],
) -> None:
    examples, steps = sized(100, 5_000), 30
    User.receiver, User.names, User.calls, User.done = receiver, count(1), 0, Counter()
    with serving() as running:
        User.running = running
        run_state_machine_as_test(
            User,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                derandomize=examples <= 100,  # on every push the same; else a failure prints how to see it again
                print_blob=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert {
        each for each in (*MOVES, "redelivered", "by hand", "echo", "fault", "waited") if not User.done[each]
    } == set()
    record_property("figure", f"{examples:,} users × {steps} steps, {User.calls:,} calls, 0 surprises")
