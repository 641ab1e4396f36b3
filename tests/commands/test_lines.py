"""What is printed: nothing that a sandbox answers, whatever it holds, reaches a terminal as a control character."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.commands import lines
from tests.commands.shell import NUMBER, Shell
from tests.conftest import Bench, Receiver

EVIL = "\x1b[31m\u202e\r\n\x00\u2066\x9b\u200f"
DECIDING = ("kind", "state", "direction")  # these decide what is printed; each is one of a few words


def poisoned(value: Any) -> Any:
    """The same JSON, where every text ends in what would repaint a terminal."""
    match value:
        case str():
            return value + EVIL
        case list():
            return [poisoned(each) for each in value]
        case dict():
            return {name: each if name in DECIDING else poisoned(each) for name, each in value.items()}
        case _:
            return value


def harmless(shown: str) -> bool:
    return all(line.isprintable() for line in shown.split("\n"))


@pytest.fixture
def evil(run: Shell) -> Iterator[Shell]:
    """Commands that talk to the sandbox through somebody who poisons every answer."""
    bench = run.bench

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {"Content-Type": "application/json", "Authorization": self.headers.get("Authorization", "")}
            path = self.path.replace(quote(EVIL), "")
            answer = bench.sandbox.request(self.command, path, data=body, headers=headers)
            content = json.dumps(poisoned(answer.json())).encode() if answer.content else b""
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Shell(bench, f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()


@pytest.fixture
def filled(evil: Shell, routed: Bench, receiver: Receiver) -> Shell:
    """The same, on an account of which there is something of everything."""
    routed.sent(message="Been to the cinema?")
    routed.submit(message=None)
    receiver.answer_with(500)
    routed.call("POST", f"/handsets/{NUMBER}/reply", {"text": "yes"})
    receiver.answer_with(200, b"no JSON")
    routed.call("POST", f"/handsets/{NUMBER}/reply", {"text": "yes"})
    routed.call("POST", "/faults", {"on": "webhook", "match": {"text": "never"}, "effect": {"drop": "refused"}})
    never = 'scenario: never\ndescription: Waits.\nsteps:\n  - expect: {text: "never*"}\n'
    routed.call("PUT", "/scenarios/never", {"source": never})
    return evil


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [
        ("messages", 0),
        ("requests", 0),
        ("webhooks list", 0),
        ("findings", 0),
        ("wait --text Been*", 0),
        ("wait --text never* --timeout 20ms", 1),
        ("wait --pattern (", 2),
        ("verify --text never*", 1),
        (f"reply {NUMBER} again", 0),
        ("fault list", 0),
        ("fault add sendsms --status 500 --text never", 0),
        ("fault add sendsms --status 5", 2),
        ("fault remove f1", 1),
        ("clock show", 0),
        ("accounts list", 0),
        ("accounts show default", 0),
        ("doctor", 0),
        ("doctor --client-url http://127.0.0.1:1/sms", 1),
        ("scenario list", 0),
        ("scenario run never --wait 100ms", 1),
        ("webhooks show w1", 1),
        ("send hello --from 4 --to 0802 --token no", 2),
        ("messages --account nobody", 1),
    ],
)
def test_nothing_hostile_is_printed(filled: Shell, command: str, exit_code: int) -> None:
    done = filled(*command.split())
    assert done.exit_code == exit_code, done.output
    assert harmless(done.stdout)
    assert harmless(done.stderr)
    assert "\\u202e" in done.stdout + done.stderr  # it did come, and is visible


def test_a_webhook_delivery_with_its_attempts_holds_nothing_hostile(filled: Shell, routed: Bench) -> None:
    identifier = routed.get("/webhook-deliveries")["webhook_deliveries"][-1]["id"]
    for verb in ("show", "attempt", "redeliver"):
        done = filled("webhooks", verb, identifier)
        assert done.exit_code == 0
        assert harmless(done.stdout)
        assert "\\u202e" in done.stdout


def test_events_hold_nothing_hostile(filled: Shell, routed: Bench) -> None:
    with routed.sandbox.connect() as sock:
        sock.sendall(
            f"GET /_sandbox/v1/events?after=0&account={routed.account} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        came = b""
        while b"scenario_changed" not in came:
            came += sock.recv(65536)
        while not came.endswith(b"\r\n"):
            came += sock.recv(65536)
    events = [json.loads(line[6:]) for line in came.decode().splitlines() if line.startswith("data: ")]
    assert {each["kind"] for each in events} >= {"message_submitted", "message_refused", "attempt_made"}
    for event in events:
        assert harmless(lines.event_line(poisoned(event)))


def test_a_hostile_message_is_shown_with_its_characters_visible(run: Shell, routed: Bench) -> None:
    routed.sent(message="red \x1b[31m and \u202e reversed")
    assert "red \\u001b[31m and \\u202e reversed" in run.good("messages")
    near = run("wait", "--text", "\x1b*", "--timeout", "20ms").stderr
    assert 'wanted "\\u001b*", found "red \\u001b[31m and ' in near


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    lines.show_table([("a", 1, "last"), ("long", None, ""), ("b", "\x1b", "x")])
    assert capsys.readouterr().out == "a     1       last\nlong\nb     \\u001b  x\n"


def test_an_empty_table_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines.show_table([])
    assert capsys.readouterr().out == ""


def test_the_middle_of_a_long_text_is_left_out() -> None:
    shown = lines.quoted("a" * 150 + "b" * 500 + "c" * 60)
    assert len(shown) < 200
    assert shown.startswith('"aaa')
    assert shown.endswith('ccc"')
