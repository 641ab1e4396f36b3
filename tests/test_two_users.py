"""Two random users of one account at the same moment, beside a model of what has to hold for both.

Of each step both requests are on their way before either is answered, so that the model does not know who came first:
of what both changed it allows either, and it knows what may be done once only. What was acknowledged is there, once.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sandbox.core.gateway import PATH
from tests.conftest import Bench, Receiver, Running
from tests.test_random_user import ENDED, NUMBERS, SHORTCODE, sms
from tests.two import Ask, Told, Two, two_of

STRUCK = 418  # what a fault answers
PERSONA = "scenario: quiet\nrules:\n  - when: {text: nobody says this}\n    reply: {text: no}\n"
LISTENER = PERSONA.replace("quiet", "listener")


@dataclass(frozen=True, slots=True)
class Sends:
    """The application sends to a handset."""

    msisdn: str


@dataclass(frozen=True, slots=True)
class Texts:
    """A handset texts the application."""

    msisdn: str


@dataclass(frozen=True, slots=True)
class Changes:
    """One thing about a handset or, where `path` is empty, the account is changed."""

    path: str
    name: str
    value: object


@dataclass(frozen=True, slots=True)
class Writes:
    """A scenario is written, or with None removed."""

    source: str | None


@dataclass(frozen=True, slots=True)
class Makes:
    """A fault that strikes so many calls is asked for, or with None a persona is started."""

    times: int | None


@dataclass(frozen=True, slots=True)
class Ends:
    """What can be done once only: one of the runs, faults or webhook deliveries that there were is ended."""

    noun: str
    number: int


@dataclass(frozen=True, slots=True)
class Posts:
    """Some webhook delivery is attempted by hand, or redelivered."""

    verb: str
    number: int


@dataclass(frozen=True, slots=True)
class Waits:
    """Time passes."""

    seconds: int


Action = Sends | Texts | Changes | Writes | Makes | Ends | Posts | Waits

handsets = st.sampled_from(NUMBERS)
some = st.integers(0, 50)
changes = [
    *((f"/handsets/{msisdn}", "label", st.sampled_from(["", "Ada", "Ben"])) for msisdn in NUMBERS),
    *((f"/handsets/{msisdn}", "telco", st.sampled_from(["mtn", "glo"])) for msisdn in NUMBERS),
    *((f"/handsets/{msisdn}", "state", st.sampled_from(["on", "off"])) for msisdn in NUMBERS),
    ("", "strict", st.booleans()),
    ("", "order", st.sampled_from(["free", "conversation"])),
    ("", "msisdn_format", st.sampled_from(["plain", "plus"])),
]
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(Sends, handsets),
    st.builds(Texts, handsets),
    *(st.builds(Changes, st.just(path), st.just(name), values) for path, name, values in changes),
    st.builds(Writes, st.sampled_from([None, PERSONA, f"{PERSONA}# another\n"])),
    st.builds(Makes, st.sampled_from([None, 1, 2, 3])),
    *(st.builds(Ends, st.just(noun), some) for noun in ("run", "fault", "delivery")),
    *(st.builds(Posts, st.just(verb), some) for verb in ("attempt", "redeliver")),
    st.builds(Waits, st.sampled_from([0, 31, 600])),
)


@dataclass(slots=True)
class Model:
    """What was acknowledged to the two."""

    texts: dict[str, str] = field(default_factory=dict)  # text -> direction
    answers: Counter[int] = field(default_factory=Counter)  # of the calls to the gateway
    stands: dict[tuple[str, str], list[object]] = field(
        default_factory=dict
    )  # what may stand there, of what was changed
    faults: dict[str, int] = field(default_factory=dict)  # that were not removed -> how many calls they may strike
    removed: bool = False  # a fault was removed, so that nobody can say how many calls it has struck
    made: dict[str, list[str]] = field(default_factory=lambda: {"run": [], "fault": [], "delivery": []})
    ended: set[str] = field(default_factory=set)  # those of them that somebody ended


class TwoUsers(RuleBasedStateMachine):
    """Every example has an account of its own, on the sandbox that all of them share."""

    running: ClassVar[Running]
    receiver: ClassVar[Receiver]
    names: ClassVar[Iterator[int]]
    calls: ClassVar[int]
    done: ClassVar[Counter[str]]  # what came about at all, so that nothing is tested in vain

    def __init__(self) -> None:
        super().__init__()
        self.name = f"two-{next(self.names)}"
        self.bench = Bench(sandbox=self.running, account=self.name, token=f"token-of-{self.name}")
        self.opened = ExitStack()
        self.two: Two = self.opened.enter_context(two_of(self.bench))
        self.model = Model()
        self.numbers = count(1)
        self.receiver.answer_with(200)
        body = {"name": self.name, "token": self.bench.token, "client_url": self.receiver.url}
        assert self.two.ask(Ask(method="POST", path="/accounts", body=body)).status == 201
        written = self.two.ask(Ask(method="PUT", path="/scenarios/listener", body={"source": LISTENER}))
        assert written.status == 201

    def teardown(self) -> None:
        try:
            self.look_at_everything()
            assert self.two.ask(Ask(method="DELETE", path=f"/accounts/{self.name}")).status == 204
        finally:
            type(self).calls += self.two.calls
            self.opened.close()

    def get(self, path: str, **query: str | int) -> Any:
        told = self.two.ask(Ask(method="GET", path=path, query=query))
        assert told.status == 200, told
        return told.json

    def settle(self, seconds: int) -> None:
        self.two.ask(Ask(method="PUT", path="/clock", body={"action": "advance", "seconds": seconds}))

    # A step

    @initialize(status=st.sampled_from([200, 500, 500]), texts=st.integers(0, 2))
    def begins(self, status: int, texts: int) -> None:
        """In the middle of something, so that few steps lead far."""
        self.the_application_answers(status)
        for _ in range(texts):
            self.both(Texts(NUMBERS[0]), Texts(NUMBERS[0]))

    @rule(first=actions, second=actions)
    def both(self, first: Action, second: Action) -> None:
        asked = [(each, self.asked(each)) for each in (first, second)]
        allowed: dict[tuple[str, str], list[object]] = {}
        told = self.two.at_once(asked[0][1], asked[1][1])
        for (action, ask), answer in zip(asked, told, strict=True):
            self.note(action, ask, answer, allowed)
            self.done[f"{type(action).__name__} {answer.status}"] += 1
        self.model.stands |= allowed
        self.settle(0)

    @rule(status=st.sampled_from([200, 404, 500]))
    def the_application_answers(self, status: int) -> None:
        self.receiver.answer_with(status)

    def asked(self, action: Action) -> Ask:
        match action:
            case Sends(msisdn):
                return Ask(method="POST", path=PATH, body=sms(msisdn, self.text()))
            case Texts(msisdn):
                body = {"text": self.text(), "to": SHORTCODE, "wait": False}
                return Ask(method="POST", path=f"/handsets/{msisdn}/send", body=body)
            case Changes(path, name, value):
                return Ask(method="PATCH", path=path or f"/accounts/{self.name}", body={name: value})
            case Writes(None):
                return Ask(method="DELETE", path="/scenarios/quiet")
            case Writes(source):
                return Ask(method="PUT", path="/scenarios/quiet", body={"source": source})
            case Makes(None):
                return Ask(method="POST", path="/scenarios/listener/runs")
            case Makes(times):
                body = {"on": "sendsms", "times": times, "effect": {"status": STRUCK}}
                return Ask(method="POST", path="/faults", body=body)
            case Ends(noun, number):
                return self.end(noun, self.one_of(noun, number))
            case Posts(verb, number):
                path = f"/webhook-deliveries/{self.one_of('delivery', number)}/{verb}"
                return Ask(method="POST", path=path, body={"wait": False})
            case Waits(seconds):
                return Ask(method="PUT", path="/clock", body={"action": "advance", "seconds": seconds})

    def end(self, noun: str, identifier: str) -> Ask:
        match noun:
            case "run":
                return Ask(method="POST", path=f"/scenarios/listener/runs/{identifier}/stop")
            case "fault":
                return Ask(method="DELETE", path=f"/faults/{identifier}")
            case _:
                return Ask(method="POST", path=f"/webhook-deliveries/{identifier}/cancel")

    def text(self) -> str:
        return f"{self.name}, {next(self.numbers)}"

    def one_of(self, noun: str, number: int) -> str:
        """One of the newest, or one that is not there."""
        made = self.model.made[noun][-2:]
        return made[number % len(made)] if made else {"run": "s0", "fault": "f0", "delivery": "w0"}[noun]

    def note(self, action: Action, ask: Ask, told: Told, allowed: dict[tuple[str, str], list[object]]) -> None:
        """What an answer promises."""
        model, body = self.model, ask.body if isinstance(ask.body, dict) else {}
        match action:
            case Sends():
                assert told.status in (200, STRUCK), told
                model.answers[told.status] += 1
                if told.status == 200:
                    model.texts[body["message"]] = "mt"
            case Texts():
                assert told.status in (201, 409), told
                if told.status == 201:
                    model.texts[body["text"]] = "mo"
                    model.made["delivery"].append(told.json["webhook_delivery"]["id"])
            case Changes(path, name, value):
                assert told.status == 200, told
                allowed.setdefault((path or f"/accounts/{self.name}", name), []).append(value)
            case Writes(source):
                assert told.status in (200, 201, 204, 404), told
                allowed.setdefault(("/scenarios/quiet", "source"), []).append(source)
            case Makes(times):
                assert told.status == 201, told
                model.made["run" if times is None else "fault"].append(told.json["id"])
                if times is not None:
                    model.faults[told.json["id"]] = times
            case Ends(noun):
                self.note_end(noun, ask.path, told)
            case Posts("redeliver"):
                assert told.status in (201, 404, 409), told
                if told.status == 201:
                    model.made["delivery"].append(told.json["id"])
            case Posts():
                assert told.status in (200, 404, 409), told
            case Waits():
                assert told.status == 200, told

    def note_end(self, noun: str, path: str, told: Told) -> None:
        assert told.status in (200, 204, 404, 409), told
        if told.status >= 400:
            return
        assert path not in self.model.ended, f"{path} was done twice"
        self.model.ended.add(path)
        self.done[f"ended {noun}"] += 1
        if noun == "fault":
            self.model.removed = True
            del self.model.faults[path.rpartition("/")[2]]

    # What has to hold

    def check_invariants(self, *more: Any, **named: Any) -> None:
        """After each step, for both: nothing that was acknowledged is lost, and nothing is there twice."""
        super().check_invariants(*more, **named)
        listed = self.get("/messages", limit=500)["messages"][::-1]
        assert {each["text"]: each["direction"] for each in listed} == self.model.texts
        assert len(listed) == len(self.model.texts)
        assert sorted({each["seq"] for each in listed}) == [each["seq"] for each in listed]
        for (path, name), values in self.model.stands.items():
            told = self.two.ask(Ask(method="GET", path=path))
            found = told.json.get(name) if told.status == 200 else None
            assert found in values, f"{path} {name} is {found}, of {values}"
            self.model.stands[path, name] = [found]
        on = {each["msisdn"] for each in self.get("/handsets")["handsets"] if each["state"] == "on"}
        assert [each for each in listed if each["state"] == "accepted" and each["to"] in on] == []
        self.check_faults()

    def check_faults(self) -> None:
        """Each call that was struck is counted once, and no fault lets a call pass that it should strike."""
        found = {each["id"]: each for each in self.get("/faults")["faults"]}
        assert found.keys() == self.model.faults.keys()
        assert [each["id"] for each in found.values() if each["used"] > self.model.faults[each["id"]]] == []
        struck = sum(each["used"] for each in found.values())
        assert struck == self.model.answers[STRUCK] or (self.model.removed and struck < self.model.answers[STRUCK])

    def look_at_everything(self) -> None:
        """At the end: calls, webhook deliveries and what the application received of them."""
        self.receiver.answer_with(200)
        self.settle(3601)
        calls = [each["status_code"] for each in self.get("/requests", limit=500)["requests"]]
        assert Counter(calls) == +self.model.answers
        deliveries = self.get("/webhook-deliveries", limit=500)["webhook_deliveries"]
        assert sorted(each["id"] for each in deliveries) == sorted(self.model.made["delivery"])
        assert {each["state"] for each in deliveries} <= ENDED
        attempts: Counter[str] = Counter()
        for each in deliveries:
            made = self.get(f"/webhook-deliveries/{each['id']}")
            attempts[json.loads(made["body"])["message"]] += len(made["attempts"])
        posted = Counter(json.loads(each.body)["message"] for each in self.receiver.received)
        assert +attempts == Counter({text: times for text, times in posted.items() if text.startswith(f"{self.name},")})
        runs = self.get("/scenarios/listener/runs", limit=500)["runs"]
        assert sorted(each["id"] for each in runs) == sorted(self.model.made["run"])
        stopped = {each["id"] for each in runs if each["state"] == "stopped"}
        assert stopped == {path.split("/")[4] for path in self.model.ended if path.startswith("/scenarios")}


@pytest.mark.proof("T5")
def test_two_random_users_at_once_lose_nothing_and_double_nothing(
    serving: Callable[..., Any],
    receiver: Receiver,
    sized: Callable[[int, int], int],
    record_property: Callable[[str, object], None],
) -> None:
    examples, steps = sized(50, 2_000), 20
    TwoUsers.receiver, TwoUsers.names, TwoUsers.calls, TwoUsers.done = receiver, count(1), 0, Counter()
    with serving() as running:
        TwoUsers.running = running
        run_state_machine_as_test(
            TwoUsers,
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
    wanted = {"Sends 200", f"Sends {STRUCK}", "Texts 201", "Texts 409", "Changes 200", "Writes 201", "Writes 204"}
    wanted |= {"Makes 201", "Posts 200", "Posts 201", "Posts 409", "ended run", "ended fault", "ended delivery"}
    assert wanted - TwoUsers.done.keys() == set()
    record_property("figure", f"{examples:,} pairs of users × {steps} steps, {TwoUsers.calls:,} calls, 0 surprises")
