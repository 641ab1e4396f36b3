"""A sandbox in a process of its own, which may be killed, and the application that gets what its handsets send.

Shared by the tests of crashes, failing disks, leaks and stops; nothing in here is a test.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

import sandbox
from sandbox.settings import DEFAULT_ACCOUNT, PREFIX

PATIENCE_S = 30.0
HANDSET = "2348020000000"


class Receiver(ThreadingHTTPServer):
    """The application: notes every body, and holds its answer to some texts back until `release`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        self.holds: Callable[[str], bool] = lambda text: False
        self.held = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/sms"

    def hold(self, holds: Callable[[str], bool]) -> None:
        """Answer no text of which it says so; `held` is set when the first of them has come."""
        self.holds = holds
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
        if not self.server.released.is_set() and self.server.holds(json.loads(body)["message"]):
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


@contextmanager
def talking() -> Iterator[requests.Session]:
    """A connection of one's own; not through a proxy that this machine may have."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server process, and the calls of an application and of handsets to it; `account` None is the first one."""

    process: subprocess.Popen[str]
    url: str
    session: requests.Session = field(repr=False)
    account: str | None = None
    token: str = field(default=DEFAULT_ACCOUNT.token, repr=False)

    def call(self, method: str, path: str, body: object = None, **query: object) -> requests.Response:
        if self.account is not None:
            query["account"] = self.account
        return self.session.request(
            method,
            self.url + path,
            json=body,
            params={name: str(value) for name, value in query.items()},
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_S,
        )

    def get(self, path: str, **query: object) -> Any:
        response = self.call("GET", f"/_sandbox/v1{path}", **query)
        assert response.status_code == 200, response.text
        return response.json()

    def submit(self, text: str, *, to: str = HANDSET) -> requests.Response:
        sms = {"from": "48974", "to": to, "message": text, "session_id": "s"}
        return self.call("POST", "/ng/v1/sendsms", sms | {"sent_date": "2024-01-02T23:50:37.000000Z"})

    def send(self, text: str, *, to: str = HANDSET) -> str | None:
        """The application sends; the message's identifier if it was acknowledged."""
        response = self.submit(text, to=to)
        return str(response.json()["reference_id"]) if response.status_code == 200 else None

    def texted(self, text: str, **more: object) -> requests.Response:
        sent = {"text": text, "to": "48974", "wait": False, **more}
        return self.call("POST", f"/_sandbox/v1/handsets/{HANDSET}/send", sent)

    def reply(self, text: str) -> dict[str, Any] | None:
        """A handset texts; the webhook delivery if it was acknowledged."""
        response = self.texted(text)
        delivery: dict[str, Any] | None = response.json()["webhook_delivery"] if response.status_code == 201 else None
        return delivery

    def settle(self, seconds: float = 0) -> None:
        """Return when everything that is due by then has run to its end."""
        response = self.call("PUT", "/_sandbox/v1/clock", {"action": "advance", "seconds": seconds})
        assert response.status_code == 200, response.text

    def lines(self) -> list[dict[str, Any]]:
        """Everything in the account's export."""
        response = self.call("GET", "/_sandbox/v1/export")
        assert response.status_code == 200, response.text
        return [json.loads(line) for line in response.content.splitlines()]

    def exported(self, kind: str) -> list[dict[str, Any]]:
        """Everything of one kind in the account's export."""
        return [each for each in self.lines() if each["type"] == kind]

    def resident(self) -> int:
        """Bytes of memory that the process holds, where there is /proc to tell."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)


def started(
    folder: Path,
    flags: Mapping[str, object],
    *,
    program: Sequence[str] = ("-m", "sandbox.cli"),
    through: Sequence[str] = (),
    stderr: int | None = None,
) -> "subprocess.Popen[str]":
    """The process of a server in a folder that has, or lacks, a file of settings; `through` another program."""
    given = {"port": 0, **flags}
    return subprocess.Popen(
        [*through, sys.executable, *program, "serve", *(f"--{name}={value}" for name, value in given.items())],
        cwd=folder,
        env=own_environment(),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


@contextmanager
def serving(
    folder: Path,
    flags: Mapping[str, object],
    *,
    program: Sequence[str] = ("-m", "sandbox.cli"),
    through: Sequence[str] = (),
    stderr: int | None = None,
) -> Iterator[Server]:
    """A sandbox in a process of its own; it is killed at the end, if it has not ended before."""
    process = started(folder, flags, program=program, through=through, stderr=stderr)
    with process, talking() as session:
        try:
            yield Server(process=process, url=base_url(process), session=session)
        finally:
            process.kill()


def base_url(process: "subprocess.Popen[str]") -> str:
    """The address that a server says it has, as soon as it answers there."""
    assert process.stdout is not None
    line = next((line for line in process.stdout if "Base URL" in line), None)
    assert line is not None, f"the sandbox did not start: {process.stderr.read() if process.stderr else ''}"
    return line.split()[2]


def own_environment() -> dict[str, str]:
    """This process's environment, without settings, and with the package that is tested here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**kept, "PYTHONPATH": str(Path(sandbox.__file__).parent.parent)}
