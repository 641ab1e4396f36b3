"""A canary in every secret that the sandbox is given: it sings nowhere but where it has to.

The sandbox runs as a process of its own, logs all that there is to log, and is used in every way. Then each secret is
looked for, as it is and as it may be disguised, in everything that came out. Where a secret may stand is said in `MAY`.
"""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import requests

from sandbox.settings import PREFIX
from tests.processes import own_environment, talking

pytestmark = pytest.mark.proof("T13")

# What is masked shows its first four characters, so that people can tell theirs apart: these are no part of the canary.
SECRETS: Mapping[str, str] = {
    "token": "tokn-canary-of-the-account",
    "second token": "secd-canary-of-another-account",
    "third token": "thrd-canary-typed-into-a-form",
    "spoilt token": "spoi-canary with a blank",
    "control token": "ctrl-canary-of-the-bench",
    "wrong control token": "wrng-canary-of-a-login",
    "user": "user-canary-in-the-address",
    "password": "pass-canary-in-the-address",
    "query": "qery-canary-in-the-address",
    "doctored password": "doct-canary-in-an-address",
    "spoilt password": "bads-canary-in-an-address",
    "unknown token": "unkn-canary-of-nobody",
    "basic password": "bsic-canary-of-somebody",
    "strange scheme": "strg-canary-of-a-scheme",
    "turned round": "turn-canary-before-its-scheme",
    "proxy": "prox-canary-of-a-proxy",
    "cookie": "cook-canary-of-a-visitor",
    "answered cookie": "appl-canary-of-a-webhook",
    "private key": "priv-canary-of-a-certificate",
}

ACCOUNTS = {"token", "second token", "third token"}
ADDRESS = {"user", "password", "query"}

MAY: Mapping[str, set[str]] = {
    "database": ACCOUNTS | ADDRESS,  # what a start needs to know again
    "posted": {"second token", *ADDRESS},  # what the application asked for, in its own webhook
}
"""Place -> the secrets that may stand there; nowhere else may any."""

# As `serve` is, but with every line that anybody has to log.
TALKATIVE = """
import logging, sys
from sandbox import cli
from sandbox.commands import serving
usual = serving._log_to_stderr
def talkative(form):
    usual(form)
    logging.getLogger().setLevel(logging.DEBUG)
serving._log_to_stderr = talkative
cli.main()
"""


def disguises(secret: str) -> Iterator[bytes]:
    """A secret, less what a mask shows of it, in the forms in which it may come out."""
    bare = secret[5:]
    for text in (bare, quote(bare), quote_plus(bare), json.dumps(bare)[1:-1], bare[::-1], bare.upper()):
        yield text.encode()
    yield bare.encode("utf-16-le")
    yield bare.encode().hex().encode()
    for shift in range(3):  # wherever in a longer text it stands
        encoded = base64.b64encode(b"x" * shift + bare.encode()).decode().rstrip("=")
        yield encoded[4:-4].encode()


def found_in(output: bytes) -> set[str]:
    return {name for name, secret in SECRETS.items() if any(each in output for each in disguises(secret))}


@dataclass
class Outputs:
    """All that came out, by place."""

    places: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, place: str, output: bytes | str) -> None:
        made = output.encode(errors="surrogatepass") if isinstance(output, str) else output
        self.places.setdefault(place, []).append(made)

    def answer(self, place: str, answer: requests.Response) -> requests.Response:
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.add(place, head)
        self.add(place, answer.content)
        return answer

    def leaks(self) -> list[str]:
        """`secret in place`, of each that may not stand there."""
        return sorted(
            f"{name} in {place}: {_around(output, name)}"
            for place, outputs in self.places.items()
            for output in outputs
            for name in found_in(output) - MAY.get(place, set())
        )


def _around(output: bytes, name: str) -> str:
    at = next(found for each in disguises(SECRETS[name]) if (found := output.find(each)) >= 0)
    return repr(output[max(0, at - 60) : at + 40])


@contextmanager
def application(outputs: Outputs) -> Iterator[str]:
    """Answers with secrets of its own, and a failure now and then. Gives its host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            outputs.add("posted", f"{self.path}\n{self.headers}")
            outputs.add("posted body", body)
            self.send_response(503 if b"fail" in body else 302 if b"lead" in body else 200)
            self.send_header("Set-Cookie", f"session={SECRETS['answered cookie']}; HttpOnly")
            self.send_header("Location", f"http://u:{SECRETS['answered cookie']}@127.0.0.1/")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


@contextmanager
def serving(folder: Path, log_format: str, outputs: Outputs, where: str) -> Iterator[str]:
    """A sandbox that logs everything; what it printed and logged is among the outputs when it has ended."""
    address = f"http://{SECRETS['user']}:{SECRETS['password']}@{where}/sms?key={SECRETS['query']}"
    settings = (
        f'port = 0\ndb = "canary.db"\nclock = "virtual"\nlog_format = "{log_format}"\n[[accounts]]\nname = "default"\n'
        f'token = "{SECRETS["token"]}"\nclient_url = "{address}"\ncallback_auth = "basic"\n'
    )
    (folder / "ninebits-sandbox.toml").write_text(settings)
    environ = {**own_environment(), f"{PREFIX}CONTROL_TOKEN": SECRETS["control token"]}
    with (
        (folder / "stderr").open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", TALKATIVE, "serve"], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=stderr
        ) as process,
    ):
        assert process.stdout is not None
        printed = b""
        try:
            while b"Ctrl+C" not in printed:
                line = process.stdout.readline()
                assert line, (folder / "stderr").read_text()
                printed += line
            yield next(line.split()[1] for line in printed.decode().splitlines() if "Pages" in line).rstrip("/")
        finally:
            process.terminate()
            printed += process.stdout.read()
    outputs.add("stdout", printed)
    outputs.add("log", (folder / "stderr").read_bytes())
    for path in folder.glob("canary.db*"):
        outputs.add("database", path.read_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Everybody who has to do with a sandbox: application, handsets, visitors of pages, tests, the command line."""

    url: str
    http: requests.Session
    outputs: Outputs
    folder: Path

    def call(self, place: str, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {SECRETS['control token']}", **more.pop("headers", {})}
        answer = self.http.request(method, self.url + path, headers=headers, timeout=20, allow_redirects=False, **more)
        return self.outputs.answer(place, answer)

    def api(self, method: str, path: str, body: object = None, **query: str) -> requests.Response:
        options: dict[str, Any] = {} if method == "GET" else {"json": {} if body is None else body}
        return self.call(f"api {method} {path}", method, f"/_sandbox/v1{path}", params=query, **options)

    def page(self, path: str) -> None:
        self.call(f"page {path}", "GET", path)

    def form(self, path: str, **typed: str) -> None:
        self.call(f"form {path}", "POST", path, data=typed)

    def submit(self, text: str, **headers: str) -> None:
        sms = {"from": "48974", "to": "2348020000000", "message": text, "session_id": "s"}
        sms["sent_date"] = "2024-01-02T23:50:37.000000Z"
        self.outputs.answer("gateway", self.http.post(self.url + "/ng/v1/sendsms", json=sms, headers=headers))

    def command(self, *words: str) -> None:
        environ = {**own_environment(), f"{PREFIX}CONTROL_TOKEN": SECRETS["control token"], f"{PREFIX}URL": self.url}
        done = subprocess.run(
            [sys.executable, "-m", "sandbox.cli", *words], cwd=self.folder, env=environ, capture_output=True, timeout=60
        )
        self.outputs.add(f"command {' '.join(words[:2])}", done.stdout + done.stderr)


def use_the_gateway(user: User) -> None:
    both = f"u:{SECRETS['basic password']}"
    for value in (
        f"Bearer {SECRETS['token']}",
        f"Bearer {SECRETS['unknown token']}",
        f"Basic {base64.b64encode(both.encode()).decode()}",
        f"Bearer Bearer {SECRETS['unknown token']}",
        f"Strange {SECRETS['strange scheme']}",
        f"{SECRETS['turned round']} Bearer",
        SECRETS["unknown token"],
        f"Bearer {SECRETS['control token']}",
    ):
        user.submit(
            "hello",
            **{
                "Authorization": value,
                "Proxy-Authorization": f"Basic {SECRETS['proxy']}",
                "Cookie": f"a=b; session={SECRETS['cookie']}",
            },
        )


def use_the_bench(user: User, where: str) -> None:
    handset = "/handsets/2348020000000"
    address = f"http://u:{SECRETS['doctored password']}@{where}/sms?key={SECRETS['doctored password']}"
    second = {"name": "second", "token": SECRETS["second token"], "client_url": f"http://{where}/sms"}
    user.api("POST", "/accounts", second)
    user.api("POST", "/accounts", {**second, "name": "again"})  # the token is another's
    user.api("POST", "/accounts", {"name": "spoilt", "token": SECRETS["spoilt token"]})
    user.api("PATCH", "/accounts/second", {"token": SECRETS["spoilt token"]})
    user.api("PATCH", "/accounts/second", {"client_url": f"ftp://u:{SECRETS['spoilt password']}@{where}/"})
    user.api("POST", f"{handset}/send", {"text": "hello", "to": "48974"}, account="second")
    for text in ("hello", "fail", "lead"):
        user.api("POST", f"{handset}/send", {"text": text, "to": "48974"})
    user.api("POST", "/doctor", {"url": address})
    user.api("POST", "/doctor", {"post": True})
    user.api("POST", "/doctor", {"url": f"ftp://u:{SECRETS['spoilt password']}@{where}/"})
    user.api("PUT", "/clock", {"action": "advance", "seconds": 60})
    for path in (
        "/messages",
        "/requests",
        "/webhook-deliveries",
        "/handsets",
        "/scenarios",
        "/faults",
        "/clock",
        "/accounts",
        "/accounts/default",
        "/accounts/second",
        "/export",
        "/findings",
        "/events-that-are-none",
    ):
        user.api("GET", path)
    for plural in ("requests", "webhook-deliveries", "messages"):
        answer = user.api("GET", f"/{plural}", limit="100").json()
        for each in answer[plural.replace("-", "_")]:
            user.api("GET", f"/{plural}/{each['id']}")
    with user.http.get(
        f"{user.url}/_sandbox/v1/events?after=0&account=default",
        headers={"Authorization": f"Bearer {SECRETS['control token']}"},
        stream=True,
        timeout=20,
    ) as stream:
        for line in stream.iter_lines():
            user.outputs.add("events", line)
            if b'"clock_changed"' in line:
                break


def use_the_pages(user: User, where: str) -> None:
    spoilt = f"ftp://u:{SECRETS['spoilt password']}@{where}/"
    user.form("/login", token=SECRETS["wrong control token"])
    user.form("/login", token=SECRETS["control token"])
    user.call("page without a login", "GET", "/", headers={"Authorization": f"Bearer {SECRETS['wrong control token']}"})
    user.call("page of a visitor", "GET", "/", headers={"Cookie": f"x={SECRETS['cookie']}"})
    user.form("/settings/client-url", client_url=spoilt)
    user.form("/settings/accounts", new_name="third", new_token=SECRETS["third token"])
    user.form("/settings/accounts", new_name="third", new_token=SECRETS["third token"])
    user.form("/settings/accounts", new_name="spoilt", new_token=SECRETS["spoilt token"], new_client_url=spoilt)
    user.form("/doctor", url=f"http://u:{SECRETS['doctored password']}@{where}/sms")
    user.form("/doctor", url=spoilt)
    user.form("/doctor", post="yes")
    pages = ["/", "/requests", "/webhooks", "/scenarios", "/settings", "/doctor", "/login", "/_sandbox/docs"]
    pages += ["/c/48974/2348020000000", "/present/48974/2348020000000", "/nothing", "/_sandbox/openapi.json"]
    pages += [f"/c/48974/2348020000000/as/{form}" for form in ("text", "scenario", "pytest")]
    for plural, path in (("requests", "requests"), ("webhook-deliveries", "webhooks")):
        answer = user.api("GET", f"/{plural}", limit="100").json()
        pages += [f"/{path}/{each['id']}" for each in answer[plural.replace("-", "_")]]
    for path in pages:
        user.page(path)
        user.page(f"{path}?account=second")


def use_the_command_line(user: User) -> None:
    for words in (
        "config show",
        "config show --json",
        "accounts",
        "accounts show default",
        "requests",
        "requests --json",
        "webhooks list --json",
        "messages --json",
        "doctor",
        "export",
        "scenario list",
    ):
        user.command(*words.split())


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_secret_stands_nowhere_but_where_it_has_to(
    tmp_path: Path, log_format: str, record_property: Callable[[str, object], None]
) -> None:
    outputs = Outputs()
    with (
        application(outputs) as where,
        serving(tmp_path, log_format, outputs, where) as url,
        talking() as http,
    ):
        user = User(url=url, http=http, outputs=outputs, folder=tmp_path)
        use_the_bench(user, where)
        use_the_gateway(user)
        use_the_pages(user, where)
        use_the_command_line(user)
    assert not outputs.leaks(), "\n".join(outputs.leaks())
    # The canaries were in use, and would have been heard.
    for place, wanted in MAY.items():
        assert found_in(b"\n".join(outputs.places[place])) == wanted, place
    assert b"INFO" in outputs.places["log"][0]
    size = sum(len(each) for output in outputs.places.values() for each in output)
    looked = f"{len(outputs.places)} places, {size // 1024} KiB"
    record_property("figure", f"{len(SECRETS)} secrets looked for in {looked}, {log_format} log: none out of place")


def test_a_key_that_cannot_be_read_is_not_quoted(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{SECRETS['private key']}\n-----END PRIVATE KEY-----\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            TALKATIVE,
            "serve",
            "--ssl-certfile",
            str(key),
            "--ssl-keyfile",
            str(key),
            "--port",
            "0",
        ],
        cwd=tmp_path,
        env=own_environment(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert found_in(done.stdout + done.stderr) == set()


@pytest.mark.parametrize("name", SECRETS)
def test_a_canary_is_heard_in_each_disguise(name: str) -> None:
    secret = SECRETS[name]
    pair = base64.b64encode(f"user:{secret}".encode())
    for output in (
        secret.encode(),
        b"-" + pair,
        quote(secret).encode(),
        secret.encode("utf-16-le"),
        secret.upper().encode(),
    ):
        assert name in found_in(b"xx" + output + b"yy")
    assert found_in(secret[:4].encode() + "…".encode()) == set()
