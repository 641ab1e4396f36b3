"""An application and a scenario's rules that answer each other: the conversation is paused, says so, and goes on when a
person wants it to. The application is real, and so is everything that it talks to.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.http.server import application
from tests.conftest import PATIENCE_S, Bench

ADA, BEN = "2348020000000", "2347030000000"
SHORTCODE = "48974"
PARROT = """
scenario: parrot
rules:
  - when: {{text: "*"}}
    reply: {{text: "{text}"{after}}}
"""


class Parrot:
    """An application that answers every webhook with a text of its own, before it answers the webhook."""

    def __init__(self) -> None:
        self.bench: Bench | None = None
        self.texts: Counter[str] = Counter()  # that came, by handset

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        came = json.loads(environ["wsgi.input"].read())
        self.texts[came["from"]] += 1
        self.send(came["from"], f"You said {came['message']}")
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    def send(self, msisdn: str, text: str) -> None:
        assert self.bench is not None
        self.bench.sent(to=msisdn, message=text)


@pytest.fixture
def parrot() -> Iterator[tuple[Parrot, str]]:
    app = Parrot()
    with application(app) as url:
        yield app, f"{url}/sms"


@pytest.fixture
def looping(parrot: tuple[Parrot, str], start_sandbox: Callable[..., Bench]) -> Callable[..., tuple[Bench, Parrot]]:
    """Starts a sandbox whose application and whose persona answer each other."""

    def start(*, after: str = "", **settings: Any) -> tuple[Bench, Parrot]:
        app, url = parrot
        bench = app.bench = start_sandbox(**settings)
        bench.patch_account(client_url=url)
        bench.call("PUT", "/scenarios/parrot", {"source": PARROT.format(text="Hello", after=after)})
        bench.post("/scenarios/parrot/runs")
        return bench, app

    return start


def paused(bench: Bench) -> dict[str, str]:
    """Why the persona reacts to nothing for now, by handset."""
    (run, *_) = bench.get("/scenarios/parrot/runs")["runs"]
    return {each["msisdn"]: each["paused"] for each in run["cursors"] if each["paused"]}


def until_paused(bench: Bench, msisdn: str = ADA) -> None:
    for _ in range(int(PATIENCE_S / 0.02)):
        if msisdn in paused(bench):
            return
        threading.Event().wait(0.02)
    raise AssertionError("it goes on and on")


def advance(bench: Bench, seconds: float) -> None:
    response = bench.call("PUT", "/clock", {"action": "advance", "seconds": seconds})
    assert response.status_code == 200, response.text


def test_a_loop_is_paused_after_50_texts(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping()
    app.send(ADA, "Hello?")
    until_paused(bench)
    assert app.texts == {ADA: 50}
    assert paused(bench)[ADA].startswith(
        "paused: 50 automatic texts in a minute; is your application answering itself?"
    )


def test_an_advance_does_not_spin_for_ever(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping(after=", after: 1s")
    app.send(ADA, "Hello?")
    advance(bench, 3600)
    assert (app.texts, list(paused(bench))) == ({ADA: 50}, [ADA])


def test_what_is_slow_enough_goes_on(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping(after=", after: 2s")
    app.send(ADA, "Hello?")
    advance(bench, 240)
    assert (app.texts, paused(bench)) == ({ADA: 120}, {})


def test_the_limit_is_a_setting(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping(loop_limit=3)
    app.send(ADA, "Hello?")
    until_paused(bench)
    assert app.texts == {ADA: 3}


def test_without_a_limit_it_goes_on(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping(after=", after: 1s", loop_limit=0)
    app.send(ADA, "Hello?")
    advance(bench, 100)
    assert (app.texts, paused(bench)) == ({ADA: 100}, {})


def test_other_conversations_of_the_persona_go_on(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping(after=", after: 1s", loop_limit=10)
    app.send(ADA, "Hello?")
    advance(bench, 60)
    app.send(BEN, "Hello?")
    advance(bench, 5)
    assert (app.texts, list(paused(bench))) == ({ADA: 10, BEN: 5}, [ADA])


def test_a_minute_later_it_is_still_paused(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping(loop_limit=5)
    app.send(ADA, "Hello?")
    until_paused(bench)
    advance(bench, 3600)
    app.send(ADA, "Are you there?")
    advance(bench, 60)
    assert app.texts == {ADA: 5}


def test_a_persons_own_text_lets_it_go_on(looping: Callable[..., tuple[Bench, Parrot]]) -> None:
    bench, app = looping(after=", after: 1s", loop_limit=5)
    app.send(ADA, "Hello?")
    advance(bench, 60)
    bench.post(f"/handsets/{ADA}/reply", {"text": "It is me"})
    assert paused(bench) == {}
    advance(bench, 60)
    assert (app.texts, list(paused(bench))) == ({ADA: 5 + 1 + 5}, [ADA])


@pytest.mark.parametrize("reset", [False, True])
def test_a_run_that_is_started_anew_goes_on(looping: Callable[..., tuple[Bench, Parrot]], reset: bool) -> None:
    bench, app = looping(after=", after: 1s", loop_limit=5)
    app.send(ADA, "Hello?")
    advance(bench, 60)
    if reset:
        bench.post("/reset", status=200)
    bench.post("/scenarios/parrot/runs")
    app.send(ADA, "Hello?")
    advance(bench, 60)
    assert app.texts == {ADA: 10}


def test_the_texts_of_a_script_are_no_loop(parrot: tuple[Parrot, str], start_sandbox: Callable[..., Bench]) -> None:
    app, url = parrot
    bench = app.bench = start_sandbox(loop_limit=5)
    bench.patch_account(client_url=url)
    replies = "".join(f"  - reply: {{text: Text {number}}}\n" for number in range(20))
    source = f"scenario: burst\nsteps:\n  - expect: {{text: Go}}\n{replies}"
    assert bench.call("PUT", "/scenarios/burst", {"source": source}).status_code == 201
    bench.post("/scenarios/burst/runs")
    app.send(ADA, "Go")
    advance(bench, 10)
    assert app.texts == {ADA: 20}


def test_a_script_that_is_paused_before_it_had_a_handset_goes_on(start_sandbox: Callable[..., Bench]) -> None:
    bench = start_sandbox(loop_limit=2)
    rules = {
        "persona": "rules: [{when: {text: ping}, reply: {text: pong}}]",
        "script": 'steps: [{expect: {text: never}}]\nrules: [{when: {text: "*"}, reply: {text: heard}}]',
    }
    for name, source in rules.items():
        bench.call("PUT", f"/scenarios/{name}", {"source": f"scenario: {name}\n{source}"})
        run = bench.post(f"/scenarios/{name}/runs")
    for _ in range(4):  # the persona takes two and is paused; then the script may not send more, either
        bench.sent(to=ADA, message="ping")
        advance(bench, 1)
    assert [each["msisdn"] for each in bench.get(f"/scenarios/script/runs/{run['id']}")["cursors"]] == [ADA]
    bench.post(f"/handsets/{ADA}/reply", {"text": "It is me"})
    bench.sent(to=ADA, message="Anything")
    advance(bench, 1)
    texts = [each["text"] for each in bench.get("/messages", direction="mo")["messages"]]
    assert texts == ["heard", "It is me", "pong", "pong"]


def test_it_is_a_finding_on_the_page_and_an_entry_of_the_journal(
    looping: Callable[..., tuple[Bench, Parrot]],
) -> None:
    bench, app = looping(after=", after: 1s", loop_limit=5)
    app.send(ADA, "Hello?")
    advance(bench, 60)
    (found,) = [each for each in bench.get("/findings")["findings"] if each["code"] == "loop"]
    assert "Is your application answering itself?" in found["hint"]
    newest = bench.get("/messages", limit=1)["messages"][0]
    assert (found["message_ids"], newest["direction"]) == ([newest["id"]], "mt")

    page = bench.sandbox.request("GET", f"/c/{SHORTCODE}/{ADA}").text
    assert "went on by themselves" in page
    assert "paused: 5 automatic texts in a minute" in bench.sandbox.request("GET", "/scenarios/parrot").text

    with bench.sandbox.connect() as sock:
        sock.sendall(b"GET /_sandbox/v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n")
        came = b""
        while b"event: run_paused" not in came:
            came += sock.recv(65_536)


def test_a_pause_outlives_a_restart(parrot: tuple[Parrot, str], serving: Callable[..., Any], tmp_path: Any) -> None:
    app, url = parrot
    settings = {"db": str(tmp_path / "sandbox.db"), "loop_limit": 5}
    with serving(**settings) as running:
        bench = app.bench = Bench(sandbox=running, account="default", token="sandbox-token")
        bench.patch_account(client_url=url)
        bench.call("PUT", "/scenarios/parrot", {"source": PARROT.format(text="Hello", after=", after: 1s")})
        bench.post("/scenarios/parrot/runs")
        app.send(ADA, "Hello?")
        advance(bench, 60)
    with serving(**settings) as running:
        bench = app.bench = Bench(sandbox=running, account="default", token="sandbox-token")
        assert list(paused(bench)) == [ADA]
        app.send(ADA, "Hello?")
        advance(bench, 60)
        assert app.texts == {ADA: 5}
