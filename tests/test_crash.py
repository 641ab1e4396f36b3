"""A real server process is killed with SIGKILL under load and started again on its file: nothing acknowledged is lost.

The moments differ from cycle to cycle and are the same in every run: so many acknowledgements after the start. In each
cycle one attempt is certain to be under way at the kill, because the receiver holds its answer back until then.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

import sandbox
from sandbox.config import DEFAULT_ACCOUNT, PREFIX

PATIENCE_S = 30.0
MOMENTS = (1, 7, 150, 40, 90, 3, 260, 17, 120, 61)  # acknowledgements before the kill, cycle by cycle, round and round
SENDERS = 4
TEXTS_EACH = 100  # no cycle is longer than SENDERS x TEXTS_EACH x 2 acknowledgements

SERVE_AND_DIE = """
import os, signal, sys
from sandbox.bus import Bus
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


class Receiver(ThreadingHTTPServer):
    """The application: notes every body, and holds its answer to one text back until `release`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        self.held_text: str | None = None
        self.held = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/sms"

    def hold(self, text: str) -> None:
        self.held_text = text
        self.held.clear()
        self.released.clear()

    def release(self) -> None:
        self.released.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sandbox that was killed does not wait for its answers."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        if json.loads(body)["message"] == self.server.held_text:
            self.server.held.set()
            self.server.released.wait(PATIENCE_S)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.release()
            receiver.shutdown()
            thread.join()


@dataclass
class Sandbox:
    """A server process, and the calls of an application and of handsets."""

    process: subprocess.Popen[str]
    url: str
    session: requests.Session

    def call(self, method: str, path: str, body: object = None, **query: object) -> requests.Response:
        return self.session.request(
            method,
            self.url + path,
            json=body,
            params={name: str(value) for name, value in query.items()},
            headers={"Authorization": f"Bearer {DEFAULT_ACCOUNT.token}"},
            timeout=PATIENCE_S,
        )

    def get(self, path: str, **query: object) -> Any:
        response = self.call("GET", f"/_sandbox/v1{path}", **query)
        assert response.status_code == 200, response.text
        return response.json()

    def send(self, text: str) -> str | None:
        """The application sends; the message's identifier if it was acknowledged."""
        sms = {"from": "48974", "to": "2348020000000", "message": text, "session_id": "s"}
        response = self.call("POST", "/ng/v1/sendsms", sms | {"sent_date": "2024-01-02T23:50:37.000000Z"})
        return str(response.json()["reference_id"]) if response.status_code == 200 else None

    def reply(self, text: str) -> dict[str, Any] | None:
        """A handset texts; the webhook delivery if it was acknowledged."""
        sent = {"text": text, "to": "48974", "wait": False}
        response = self.call("POST", "/_sandbox/v1/handsets/2348020000000/send", sent)
        delivery: dict[str, Any] | None = response.json()["webhook_delivery"] if response.status_code == 201 else None
        return delivery

    def settle(self) -> None:
        """Return when everything that is due has run to its end."""
        response = self.call("PUT", "/_sandbox/v1/clock", {"action": "advance", "seconds": 0})
        assert response.status_code == 200, response.text

    def all(self, plural: str) -> list[dict[str, Any]]:
        """Everything in a list of the control API, page by page."""
        found: list[dict[str, Any]] = []
        query: dict[str, object] = {"limit": 500}
        while True:
            page = self.get(f"/{plural}", **query)
            found += page[plural.replace("-", "_")]
            if page["next"] is None:
                return found
            query["next"] = page["next"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)


@contextmanager
def serving(db: Path, receiver: Receiver, *, die_at: str | None = None) -> Iterator[Sandbox]:
    """A sandbox in a process of its own; it is killed at the end, if it was not before."""
    program = ["-m", "sandbox.cli"] if die_at is None else ["-c", SERVE_AND_DIE, die_at]
    settings = {"db": db, "port": 0, "client-url": receiver.url, "max-messages": 10**6}
    process = subprocess.Popen(
        [sys.executable, *program, "serve", *(f"--{name}={value}" for name, value in settings.items())],
        cwd=db.parent,  # where nobody keeps settings
        env=own_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process, requests.Session() as session:
        session.trust_env = False  # this machine may have a proxy
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if "Base URL" in line), None)
            assert line is not None, "the sandbox did not start"
            yield Sandbox(process, line.split()[2], session)
        finally:
            process.kill()


def own_environment() -> dict[str, str]:
    """This process's environment, without settings, and with the package that is tested here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, "PYTHONPATH": str(Path(sandbox.__file__).parent.parent)}


# Under load --------------------------------------------------------------------------------------------------------


@dataclass
class Evidence:
    """What the application and the handsets were told, and what was found in the end."""

    sent: dict[str, str] = field(default_factory=dict)  # acknowledged MT messages: identifier -> text
    owed: dict[str, bytes] = field(default_factory=dict)  # acknowledged replies: identifier -> body
    held: list[str] = field(default_factory=list)  # webhook deliveries whose first attempt was under way at a kill
    twice: list[str] = field(default_factory=list)  # identifiers that were given a second time
    received: Counter[bytes] = field(default_factory=Counter)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    deliveries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note_sent(self, identifier: str, text: str) -> None:
        if identifier in self.sent:
            self.twice.append(identifier)
        self.sent[identifier] = text

    def note_owed(self, delivery: dict[str, Any]) -> None:
        if delivery["id"] in self.owed:
            self.twice.append(delivery["id"])
        self.owed[delivery["id"]] = delivery["body"].encode()


class Load:
    """Threads that send and reply until the sandbox is gone, and a count of what was acknowledged."""

    def __init__(self, sandbox: Sandbox, cycle: int, evidence: Evidence) -> None:
        self._sandbox = sandbox
        self._evidence = evidence
        self._acknowledged = 0
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(f"cycle {cycle} sender {sender}",)) for sender in range(SENDERS)
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

    def _run(self, name: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            mine = Sandbox(self._sandbox.process, self._sandbox.url, session)
            for number in range(TEXTS_EACH):
                try:
                    self._once(mine, f"{name} text {number} ₦")
                except requests.RequestException:  # killed
                    return

    def _once(self, mine: Sandbox, text: str) -> None:
        identifier = mine.send(text)
        if identifier is not None:
            with self._changed:
                self._evidence.note_sent(identifier, text)
                self._acknowledged += 1
                self._changed.notify_all()
        delivery = mine.reply(text)
        if delivery is not None:
            with self._changed:
                self._evidence.note_owed(delivery)
                self._acknowledged += 1
                self._changed.notify_all()


def play_cycle(db: Path, receiver: Receiver, cycle: int, evidence: Evidence) -> None:
    """Start, take up what the cycle before left, work under load, and be killed."""
    with serving(db, receiver) as running:
        receiver.hold(f"cycle {cycle} held")
        delivery = running.reply(f"cycle {cycle} held")
        assert delivery is not None
        evidence.note_owed(delivery)
        evidence.held.append(delivery["id"])
        assert receiver.held.wait(PATIENCE_S)
        with Load(running, cycle, evidence) as load:
            load.wait_for(MOMENTS[cycle % len(MOMENTS)])
            running.kill()
        receiver.release()


@pytest.fixture(scope="module", params=[5, pytest.param(100, marks=pytest.mark.slow)], ids=lambda cycles: f"{cycles}x")
def evidence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What is left after so many kills, and a start after the last of them."""
    db = tmp_path_factory.mktemp("crash") / "sandbox.db"
    found = Evidence()
    with receiving() as receiver:
        for cycle in range(request.param):
            play_cycle(db, receiver, cycle, found)
        with serving(db, receiver) as running:
            running.settle()
            found.messages = {each["id"]: each for each in running.all("messages")}
            for each in running.all("webhook-deliveries"):
                found.deliveries[each["id"]] = running.get(f"/webhook-deliveries/{each['id']}")
        found.received = Counter(receiver.bodies)
    return found


def test_the_load_was_real(evidence: Evidence) -> None:
    assert min(len(evidence.sent), len(evidence.owed)) > 50


def test_every_acknowledged_message_is_there(evidence: Evidence) -> None:
    kept = {identifier: message["text"] for identifier, message in evidence.messages.items()}
    assert {identifier: kept.get(identifier) for identifier in evidence.sent} == evidence.sent


def test_no_number_is_given_twice(evidence: Evidence) -> None:
    assert evidence.twice == []


def test_every_acknowledged_reply_was_received_byte_for_byte(evidence: Evidence) -> None:
    assert [identifier for identifier, body in evidence.owed.items() if body not in evidence.received] == []


def test_every_webhook_delivery_was_delivered(evidence: Evidence) -> None:
    assert {delivery["state"] for delivery in evidence.deliveries.values()} == {"delivered"}


def test_nothing_was_received_that_was_not_owed(evidence: Evidence) -> None:
    assert set(evidence.received) <= {delivery["body"].encode() for delivery in evidence.deliveries.values()}


def outcomes(delivery: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in delivery["attempts"]]


def test_every_attempt_that_was_cut_off_is_marked_interrupted(evidence: Evidence) -> None:
    assert {outcomes(evidence.deliveries[held])[0] for held in evidence.held} == {"interrupted"}


def test_every_attempt_has_an_outcome(evidence: Evidence) -> None:
    assert {each for delivery in evidence.deliveries.values() for each in outcomes(delivery)} == {
        "interrupted",
        "answered",
    }


def test_nothing_is_received_more_often_than_it_was_attempted(evidence: Evidence) -> None:
    attempted = {delivery["body"].encode(): len(delivery["attempts"]) for delivery in evidence.deliveries.values()}
    assert [body for body, times in evidence.received.items() if times > attempted[body]] == []


def test_only_an_interrupted_attempt_is_repeated(evidence: Evidence) -> None:
    repeated = [outcomes(delivery) for delivery in evidence.deliveries.values() if len(delivery["attempts"]) > 1]
    assert all(each[-1] == "answered" and set(each[:-1]) == {"interrupted"} for each in repeated)


# At exactly one moment ---------------------------------------------------------------------------------------------


@dataclass
class Aftermath:
    """What one text came to whose sandbox died on the way."""

    received_before: int
    received: Sequence[bytes]
    delivery: dict[str, Any]


def aftermath(db: Path, point: str) -> Aftermath:
    with receiving() as receiver:
        with serving(db, receiver, die_at=point) as running:
            with contextlib.suppress(requests.RequestException):  # it may die before it answers
                running.reply("Yesterday ₦")
            assert running.process.wait(PATIENCE_S) == -9
        before = len(receiver.bodies)
        with serving(db, receiver) as running:
            running.settle()
            (delivery,) = running.all("webhook-deliveries")
            delivery = running.get(f"/webhook-deliveries/{delivery['id']}")
        return Aftermath(before, list(receiver.bodies), delivery)


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
    tmp_path: Path, point: str, received_before: int, attempts: list[str], received: int
) -> None:
    found = aftermath(tmp_path / "sandbox.db", point)
    assert found == Aftermath(received_before, [found.delivery["body"].encode()] * received, found.delivery)
    assert (outcomes(found.delivery), found.delivery["state"]) == (attempts, "delivered")
