"""A real server process is killed with SIGKILL under load and started again on its file: nothing acknowledged is lost.

The moments are random, of a seed that is printed: so many acknowledgements after the start, and a little later, or in
the middle of a start. One attempt is certain to be under way at each kill under load, because the receiver holds its
answer back until then.
"""

import contextlib
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random  # noqa: TID251  # with a seed that is printed
from typing import Any

import pytest
import requests

from tests.processes import HANDSET, PATIENCE_S, Receiver, Server, receiving, serving, started, talking

SEED = 9
MOST = 240  # acknowledgements under load before a kill
LATER_S = 0.02  # the longest wait after the last of them
START_S = 0.6  # the longest time after which a start is killed
IMPORTED = 40  # messages in an imported file

ACCOUNTS = ("default", "second", "staged", "imported", "reset")
"""Two under load, one on which scenarios play and texts are delayed, one that takes in files, one that is reset."""

SETTINGS = "\n".join(
    f'[[accounts]]\nname = "{name}"\ntoken = "token-of-{name}"\nclient_url = "{{url}}"\n' for name in ACCOUNTS
)
PERSONA = """
scenario: echo
rules:
  - when: {pattern: "^(.*)$", save: {said: 1}}
    reply: {text: "heard {said}", after: 50ms}
"""


def as_account(server: Server, name: str, session: requests.Session) -> Server:
    return replace(server, account=name, token=f"token-of-{name}", session=session)


@dataclass
class Evidence:
    """What the application and the handsets were told, and what was found in the end."""

    sent: dict[str, str] = field(default_factory=dict)  # acknowledged MT messages: identifier -> text
    owed: dict[str, bytes] = field(default_factory=dict)  # acknowledged replies: identifier -> body
    staged: set[str] = field(default_factory=set)  # acknowledged texts to which a scenario replies
    delayed: set[str] = field(default_factory=set)  # texts that were acknowledged for later
    imported: set[str] = field(default_factory=set)  # texts of acknowledged files
    since_reset: set[str] = field(default_factory=set)  # identifiers since the last reset that was acknowledged
    before_reset: set[str] = field(default_factory=set)  # identifiers that a reset took away
    resetting: bool = False  # a reset may have come about, or not
    resets_wrong: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)  # webhook deliveries whose first attempt was under way at a kill
    twice: list[str] = field(default_factory=list)  # identifiers that were given a second time
    kills: Counter[str] = field(default_factory=Counter)
    received: Counter[bytes] = field(default_factory=Counter)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    deliveries: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, list[str]] = field(default_factory=dict)  # of the attempts of each webhook delivery, in order

    def note_sent(self, identifier: str, text: str) -> None:
        if identifier in self.sent:
            self.twice.append(identifier)
        self.sent[identifier] = text

    def note_owed(self, delivery: dict[str, Any]) -> None:
        if delivery["id"] in self.owed:
            self.twice.append(delivery["id"])
        self.owed[delivery["id"]] = delivery["body"].encode()

    @property
    def repeated(self) -> int:
        """How often the application got something that it had got before."""
        return self.received.total() - len(self.received)

    @property
    def interrupted(self) -> int:
        """How many attempts were under way at a kill."""
        return sum(each.count("interrupted") for each in self.outcomes.values())


Work = Callable[["Load", Server, str], None]


class Load:
    """Threads that send, reply, import and reset until the sandbox is gone, and a count of what was acknowledged."""

    def __init__(self, server: Server, cycle: int, evidence: Evidence) -> None:
        self.evidence = evidence
        self._server = server
        self._acknowledged = 0
        self._changed = threading.Condition()
        work: Sequence[tuple[str, Work]] = (
            *((account, text_both_ways) for account in ("default", "second", "default")),
            ("staged", play),
            ("imported", take_in),
            ("reset", reset),
        )
        self._threads = [
            threading.Thread(target=self._run, args=(account, each, f"cycle {cycle} thread {number}"))
            for number, (account, each) in enumerate(work)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def wait_for(self, acknowledged: int) -> None:
        """Return at the moment at which so much was acknowledged."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._acknowledged >= acknowledged, PATIENCE_S)

    @contextmanager
    def acknowledged(self) -> Iterator[None]:
        """Write down what was acknowledged, one thread at a time."""
        with self._changed:
            yield
            self._acknowledged += 1
            self._changed.notify_all()

    def _run(self, account: str, work: Work, name: str) -> None:
        with talking() as session, contextlib.suppress(requests.RequestException):  # killed
            mine = as_account(self._server, account, session)
            for number in range(10 * MOST):
                work(self, mine, f"{name} text {number} ₦")


def text_both_ways(load: Load, server: Server, text: str) -> None:
    identifier = server.send(text)
    if identifier is not None:
        with load.acknowledged():
            load.evidence.note_sent(identifier, text)
    delivery = server.reply(text)
    if delivery is not None:
        with load.acknowledged():
            load.evidence.note_owed(delivery)


def play(load: Load, server: Server, text: str) -> None:
    """The application sends what a persona answers, and a handset is to text later."""
    if (identifier := server.send(text)) is not None:
        with load.acknowledged():
            load.evidence.note_sent(identifier, text)
            load.evidence.staged.add(f"heard {text}")
    if server.texted(f"later {text}", delay_s=0.05).status_code == 202:
        with load.acknowledged():
            load.evidence.delayed.add(f"later {text}")


def take_in(load: Load, server: Server, text: str) -> None:
    """Take in a file of MT messages; when that is acknowledged, all of them are there."""
    texts = [f"{text} line {number}" for number in range(IMPORTED)]
    lines = [{"type": "export", "version": 1}, *(EXPORTED | {"id": f"m{n}", "text": it} for n, it in enumerate(texts))]
    response = server.session.post(
        f"{server.url}/_sandbox/v1/import",
        params={"account": "imported"},
        data="\n".join(map(json.dumps, lines)).encode(),
        headers={"Content-Type": "application/json"},
        timeout=PATIENCE_S,
    )
    assert response.status_code == 201, response.text
    with load.acknowledged():
        load.evidence.imported.update(texts)


EXPORTED: dict[str, Any] = {
    "type": "message",
    "direction": "mt",
    "from": "48974",
    "to": HANDSET,
    "session_id": "s",
    "ref_id": None,
    "sent_date": "2024-01-02T23:50:37.000000Z",
    "at": "2024-01-02T23:50:37.000000Z",
    "telco": "mtn",
    "encoding": "UCS-2",
    "segments": 1,
    "state": "arrived",
    "extra": {},
    "warnings": [],
    "webhook_delivery_id": None,
    "request": {"client": "127.0.0.1", "headers": [], "body": "{}", "answer": "{}"},
}


def reset(load: Load, server: Server, text: str) -> None:
    evidence = load.evidence
    for number in range(3):
        if (identifier := server.send(f"{text} {number}")) is not None:
            with load.acknowledged():
                evidence.since_reset.add(identifier)
    evidence.resetting = True
    if server.call("POST", "/_sandbox/v1/reset", {}).status_code == 200:
        with load.acknowledged():
            evidence.before_reset |= evidence.since_reset
            evidence.since_reset.clear()
            evidence.resetting = False


# Cycles ------------------------------------------------------------------------------------------------------------


class Story:
    """A folder with a database, the application, and what became of both."""

    def __init__(self, folder: Path, receiver: Receiver, chance: Random) -> None:
        self.evidence = Evidence()
        self._folder = folder
        self._receiver = receiver
        self._chance = chance
        self._flags = {"db": folder / "sandbox.db", "max-messages": 10**6}
        (folder / "ninebits-sandbox.toml").write_text(SETTINGS.replace("{url}", receiver.url), encoding="utf-8")

    def play_cycle(self, cycle: int) -> None:
        """Start, take up what the cycle before left, work under load, and be killed."""
        if cycle % 3 == 2:
            self._kill_a_start()
        text, evidence = f"cycle {cycle} held", self.evidence
        with serving(self._folder, self._flags) as server:
            server = as_account(server, "default", server.session)
            self._look_at_reset(server)
            if cycle == 0:
                self._begin(server)
            self._receiver.hold(lambda each: each == text)
            delivery = server.reply(text)
            assert delivery is not None
            evidence.note_owed(delivery)
            evidence.held.append(delivery["id"])
            assert self._receiver.held.wait(PATIENCE_S)
            with Load(server, cycle, evidence) as load:
                load.wait_for(self._chance.randint(1, MOST))
                threading.Event().wait(self._chance.uniform(0, LATER_S))
                server.kill()
            evidence.kills["under load"] += 1
            self._receiver.release()

    def _begin(self, server: Server) -> None:
        stage = as_account(server, "staged", server.session)
        assert stage.call("PUT", "/_sandbox/v1/scenarios/echo", {"source": PERSONA}).status_code == 201
        assert stage.call("POST", "/_sandbox/v1/scenarios/echo/runs", {}).status_code == 201

    def _kill_a_start(self) -> None:
        process = started(self._folder, self._flags, stderr=subprocess.DEVNULL)
        threading.Event().wait(self._chance.uniform(0, START_S))
        process.kill()
        process.communicate()
        self.evidence.kills["during a start"] += 1

    def _look_at_reset(self, server: Server) -> None:
        """What was acknowledged since the last reset is there, and what was acknowledged before it is not."""
        evidence = self.evidence
        there = {each["id"] for each in as_account(server, "reset", server.session).exported("message")}
        lost = evidence.since_reset - there
        if lost and not (evidence.resetting and not there):
            evidence.resets_wrong.append(f"{len(lost)} of {len(evidence.since_reset)} lost")
        evidence.resets_wrong += [f"{each} is there again" for each in there & evidence.before_reset]
        evidence.since_reset, evidence.resetting = there, False

    def end(self) -> Evidence:
        """Start once more, let everything come to its end, and look at what there is."""
        found = self.evidence
        with serving(self._folder, self._flags) as server:
            server.settle(3600)
            self._look_at_reset(as_account(server, "default", server.session))
            for name in ACCOUNTS[:-1]:
                mine = as_account(server, name, server.session)
                for each in mine.lines():
                    match each["type"]:
                        case "message":
                            found.messages[each["id"]] = each
                        case "webhook_delivery":
                            found.deliveries[each["id"]] = each
                            if each["attempts"]:
                                found.outcomes[each["id"]] = [it["outcome"] or "none" for it in each["attempts"]]
        found.received = Counter(self._receiver.bodies)
        return found


@pytest.fixture(scope="module")
def evidence(sized: Callable[[int, int], int], tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What is left after so many kills, and a start after the last of them."""
    print(f"seed {SEED}")
    with receiving() as receiver:
        story = Story(tmp_path_factory.mktemp("crash"), receiver, Random(SEED))
        for cycle in range(sized(20, 500)):
            story.play_cycle(cycle)
        return story.end()


t1 = pytest.mark.proof("T1")


@t1
def test_the_load_was_real(evidence: Evidence, record_property: Callable[[str, object], None]) -> None:
    assert min(len(evidence.sent), len(evidence.owed), len(evidence.staged), len(evidence.imported)) > 50
    kills = " and ".join(f"{number} {when}" for when, number in evidence.kills.items())
    acknowledged = len(evidence.sent) + len(evidence.owed) + len(evidence.imported) + len(evidence.delayed)
    record_property("figure", f"seed {SEED}: {kills} killed, {acknowledged} acknowledged")


@t1
def test_every_acknowledged_message_is_there(
    evidence: Evidence, record_property: Callable[[str, object], None]
) -> None:
    kept = {identifier: message["text"] for identifier, message in evidence.messages.items()}
    lost = [identifier for identifier, text in evidence.sent.items() if kept.get(identifier) != text]
    record_property("figure", f"{len(lost)} of {len(evidence.sent)} messages lost")
    assert lost == []


@t1
def test_no_number_is_given_twice(evidence: Evidence) -> None:
    assert evidence.twice == []


@t1
def test_every_acknowledged_reply_was_received_byte_for_byte(
    evidence: Evidence, record_property: Callable[[str, object], None]
) -> None:
    lost = [identifier for identifier, body in evidence.owed.items() if body not in evidence.received]
    record_property("figure", f"{len(lost)} of {len(evidence.owed)} webhook deliveries lost")
    assert lost == []


@t1
def test_every_webhook_delivery_was_delivered(evidence: Evidence) -> None:
    assert {delivery["state"] for delivery in evidence.deliveries.values()} == {"delivered"}


@t1
def test_nothing_was_received_that_was_not_owed(evidence: Evidence) -> None:
    assert set(evidence.received) <= {delivery["body"].encode() for delivery in evidence.deliveries.values()}


@t1
def test_every_attempt_that_was_cut_off_is_marked_interrupted(evidence: Evidence) -> None:
    assert {evidence.outcomes[held][0] for held in evidence.held} == {"interrupted"}


@t1
def test_every_attempt_has_an_outcome(evidence: Evidence) -> None:
    assert {each for outcomes in evidence.outcomes.values() for each in outcomes} == {"interrupted", "answered"}


@t1
def test_nothing_is_received_more_often_than_it_was_attempted(
    evidence: Evidence, record_property: Callable[[str, object], None]
) -> None:
    attempted = {each["body"].encode(): len(evidence.outcomes[each["id"]]) for each in evidence.deliveries.values()}
    told = f"{evidence.repeated} received twice, of {evidence.interrupted} attempts under way at a kill"
    record_property("figure", told)
    assert [body for body, times in evidence.received.items() if times > attempted[body]] == []


@t1
def test_only_an_interrupted_attempt_is_repeated(evidence: Evidence) -> None:
    repeated = [outcomes for outcomes in evidence.outcomes.values() if len(outcomes) > 1]
    assert all(each[-1] == "answered" and set(each[:-1]) == {"interrupted"} for each in repeated)


def texts_of_handsets(evidence: Evidence) -> Counter[str]:
    return Counter(each["text"] for each in evidence.messages.values() if each["direction"] == "mo")


@t1
def test_what_a_scenario_had_planned_was_said_once(evidence: Evidence) -> None:
    said = texts_of_handsets(evidence)
    assert {text: said[text] for text in evidence.staged if said[text] != 1} == {}


@t1
def test_a_text_that_was_to_come_later_came_once(evidence: Evidence) -> None:
    said = texts_of_handsets(evidence)
    assert {text: said[text] for text in evidence.delayed if said[text] != 1} == {}


@t1
def test_all_of_a_file_is_there_once_it_was_taken_in(evidence: Evidence) -> None:
    kept = Counter(each["text"] for each in evidence.messages.values())
    assert {text: kept[text] for text in evidence.imported if kept[text] != 1} == {}


@t1
def test_a_reset_that_was_acknowledged_holds_and_takes_nothing_that_came_after_it(evidence: Evidence) -> None:
    assert evidence.resets_wrong == []


# While the oldest is removed ---------------------------------------------------------------------------------------


@t1
def test_what_is_owed_is_kept_and_delivered_while_the_oldest_is_removed(
    tmp_path: Path, sized: Callable[[int, int], int]
) -> None:
    chance, owed, newest = Random(SEED), dict[str, bytes](), list[str]()
    with receiving() as receiver:
        flags = {"db": tmp_path / "sandbox.db", "client-url": receiver.url, "max-messages": 20}
        for cycle in range(sized(2, 20)):
            receiver.hold(lambda text: text.startswith("owed"))
            with serving(tmp_path, flags) as server, contextlib.suppress(requests.RequestException):
                for number in range(4):  # as many as are attempted at once
                    delivery = server.reply(f"owed {cycle} {number}")
                    assert delivery is not None
                    owed[delivery["id"]] = delivery["body"].encode()
                timer = threading.Timer(chance.uniform(0.2, 0.5), server.process.kill)
                timer.start()
                with contextlib.closing(ExitStack()) as stack:
                    stack.callback(timer.join)
                    while True:
                        newest.append(server.send(f"{cycle}") or "")
            receiver.release()
        with serving(tmp_path, flags) as server:
            server.settle(3600)
            bodies = Counter(receiver.bodies)
            kept = {each["id"] for each in server.exported("message")}
    assert [identifier for identifier, body in owed.items() if body not in bodies] == []
    assert set(newest[-15:]) <= kept
    assert len(kept) < len(newest)


# At exactly one moment ---------------------------------------------------------------------------------------------

SERVE_AND_DIE = """
import os, signal, sys
from sandbox.core.bus import Bus
from sandbox.cli import main
from sandbox.webhooks.poster import Poster

point = sys.argv.pop(1)
publish, post = Bus.publish, Poster.post

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def publish_or_die(self, entries):
    if any(entry.kind == point for entry in entries):
        die()
    publish(self, entries)

async def post_and_die(self, url, body, authorization):
    await post(self, url, body, authorization)
    die()

Bus.publish = publish_or_die
if point == "posted":
    Poster.post = post_and_die
main()
"""


@dataclass
class Aftermath:
    """What one text came to whose sandbox died on the way."""

    received_before: int
    received: Sequence[bytes]
    outcomes: Sequence[str]
    delivery: dict[str, Any]


def aftermath(folder: Path, point: str) -> Aftermath:
    with receiving() as receiver:
        flags = {"db": folder / "sandbox.db", "client-url": receiver.url}
        with serving(folder, flags, program=("-c", SERVE_AND_DIE, point)) as server:
            with contextlib.suppress(requests.RequestException):  # it may die before it answers
                server.reply("Yesterday ₦")
            assert server.process.wait(PATIENCE_S) == -9
        before = len(receiver.bodies)
        with serving(folder, flags) as server:
            server.settle()
            (delivery,) = server.exported("webhook_delivery")
            outcomes = [each["outcome"] or "none" for each in delivery["attempts"]]
        return Aftermath(before, list(receiver.bodies), outcomes, delivery)


@pytest.mark.proof("T2")
@pytest.mark.parametrize(
    ("point", "received_before", "attempts", "received"),
    [
        pytest.param("message_originated", 0, ["answered"], 1, id="P0: the text is committed"),
        pytest.param("attempt_begun", 0, ["interrupted", "answered"], 1, id="P1: the attempt has begun"),
        pytest.param("posted", 1, ["interrupted", "answered"], 2, id="the answer came and is not recorded"),
        pytest.param("attempt_made", 1, ["answered"], 1, id="P2: the outcome is recorded"),
    ],
)
def test_a_text_is_delivered_whenever_the_sandbox_dies(
    tmp_path: Path,
    point: str,
    received_before: int,
    attempts: list[str],
    received: int,
    record_property: Callable[[str, object], None],
) -> None:
    found = aftermath(tmp_path, point)
    body = found.delivery["body"].encode()
    assert found == Aftermath(received_before, [body] * received, attempts, found.delivery)
    assert found.delivery["state"] == "delivered"
    record_property("figure", f"{point}: delivered, received {'twice' if received == 2 else 'once'}")
