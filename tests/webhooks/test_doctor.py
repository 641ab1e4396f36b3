"""The webhook doctor against real listeners: what it finds, what it advises, and what it leaves alone."""

import asyncio
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.model import Account, CallbackAuth, MsisdnFormat, Shortcode
from sandbox.webhooks import doctor
from sandbox.webhooks.doctor import Check, Report, examine, inside_container
from tests.webhooks.test_poster import CHUNKED, OK, Application, Behaviour, application, names, resets, says, swallows

Run = Callable[[Coroutine[Any, Any, Any]], Any]

ACCOUNT = Account(name="default", token="sandbox-token", shortcodes=(Shortcode("32000"),))
SECRET = "s3cret-that-nobody-is-to-see"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    runner: Run = asyncio.run if request.param == "asyncio" else pytest.importorskip("uvloop").run
    return runner


async def visit(url: str | None, **options: Any) -> Report:
    given: dict[str, Any] = {"account": ACCOUNT, "deadline_s": 2.0, "in_container": False, **options}
    return await examine(url, **given)


async def visit_app(
    behaviour: Behaviour, url: str = "http://127.0.0.1:{port}/sms", *, host: str = "127.0.0.1", **options: Any
) -> tuple[Report, Application]:
    """Examine an application of that behaviour, and see to it that the doctor leaves no connection open."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's view of a failed handshake
    served = {"ssl": options.pop("tls")} if "tls" in options else {}
    async with application(behaviour, host, **served) as app:
        report = await visit(url.replace("{port}", str(app.port)), **options)
        if app.connections:
            await asyncio.wait_for(app.left.wait(), 3)
        return report, app


def of(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def failure(report: Report) -> Check:
    """The one check that failed; those after it were not tried."""
    assert not report.ok
    names_ = [check.name for check in report.checks]
    failed = [check for check in report.checks if check.ok is False]
    assert len(failed) == 1
    after = report.checks[names_.index(failed[0].name) + 1 :]
    assert {check.detail for check in after} <= {f"Not tried, because {failed[0].name} failed."}
    assert failed[0].hint
    return failed[0]


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Hm", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# --- a sound application ------------------------------------------------------------------------------------------


def test_a_sound_application_passes_and_gets_one_sample_that_says_what_it_is(run: Run) -> None:
    report, app = run(visit_app(says(GOOD), post=True))
    assert [(check.name, check.ok) for check in report.checks] == [
        ("url", True), ("dns", True), ("tcp", True), ("tls", None), ("http", True), ("json", True),
    ]  # fmt: skip
    assert report.ok
    assert report.url == f"http://127.0.0.1:{app.port}/sms"
    assert [check.hint for check in report.checks] == [""] * 6
    assert all(check.duration_ms >= 0 for check in report.checks)
    [request] = app.requests
    head, _, body = request.decode().partition("\r\n\r\n")
    assert head.startswith("POST /sms HTTP/1.1\r\n")
    assert "\r\nAuthorization: Bearer sandbox-token" in head
    sent = json.loads(body)
    assert list(sent) == ["type", "telco", "from", "to", "message", "session_id", "sent_date"]
    assert (sent["type"], sent["to"], sent["session_id"]) == ("two-way sms", "32000", doctor.SAMPLE_SESSION)
    assert "webhook doctor" in sent["message"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", sent["sent_date"])


def test_the_sample_is_as_the_accounts_replies_are(run: Run) -> None:
    account = Account(name="a", token="t", revision="2025", msisdn_format=MsisdnFormat.PLUS)
    _, app = run(visit_app(says(GOOD), post=True, account=account))
    sent = json.loads(app.requests[0].partition(b"\r\n\r\n")[2])
    assert (list(sent)[-1], sent["from"], sent["to"]) == ("ref_id", "+2348020000000", "48974")


def test_without_being_asked_the_doctor_posts_nothing_and_says_so(run: Run) -> None:
    received: list[bytes] = []

    async def listens(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())

    report, app = run(visit_app(listens))
    assert (app.connections, received) == (1, [b""])
    assert report.ok
    assert (of(report, "http").ok, of(report, "json").ok) == (None, None)
    assert "Nothing was posted, because nobody asked for it" in of(report, "http").detail
    assert "beyond the connection nothing was sent" in of(report, "http").detail


# --- url ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "detail", "hint"),
    [
        (None, "The account default has no client_url", "Set client_url"),
        ("", "The account default has no client_url", "Set client_url"),
        ("sms", "client_url must begin with http:// or https://.", "Write it like http://127.0.0.1:8000/webhook."),
        ("ftp://example.com/", "client_url must begin with http:// or https://.", "Write it like"),
        ("http://", "client_url names no host and port", "Write it like"),
        ("http://a b/", "client_url names no host and port", "Write it like"),
        ("http://127.0.0.1:99999/", "client_url is not a URL.", "Write it like"),
        (
            "http://169.254.169.254/latest/meta-data",
            "169.254.169.254:80 is in the range where clouds keep credentials.",
            "Change client_url to the address of your application.",
        ),
        ("http://[fd00:ec2::254]/", "[fd00:ec2::254]:80 is in the range where clouds", "Change client_url"),
        ("http://0.0.0.0:8000/sms", "0.0.0.0:8000 is an address to listen on, not one to post to.", "Change client_"),
    ],
)
def test_a_url_that_leads_nowhere_is_named(run: Run, url: str | None, detail: str, hint: str) -> None:
    found = failure(run(visit(url)))
    assert found.name == "url"
    assert found.detail.startswith(detail)
    assert found.hint.startswith(hint)


def test_the_sandboxs_own_address_is_named(run: Run) -> None:
    report, app = run(visit_app(says(GOOD), own_addresses=lambda: [("127.0.0.1", 2081)], url="http://127.0.0.1:2081/"))
    assert failure(report).detail == "127.0.0.1:2081 is the sandbox itself."
    assert app.connections == 0


@pytest.mark.parametrize(
    ("auth", "url", "words"),
    [
        (CallbackAuth.BEARER, "http://user:pass@127.0.0.1:1/", "User name and password in client_url are not sent"),
        (CallbackAuth.BASIC, "http://127.0.0.1:1/", "holds no user name and password"),
        (CallbackAuth.BASIC, "http://user:pass@127.0.0.1:1/", ""),
        (CallbackAuth.BEARER, "http://127.0.0.1:1/?a=@", ""),
    ],
)
def test_credentials_in_the_url_are_compared_with_what_is_sent(
    run: Run, auth: CallbackAuth, url: str, words: str
) -> None:
    check = of(run(visit(url, account=Account(name="a", token="t", callback_auth=auth))), "url")
    assert check.ok
    assert (words in check.hint) if words else check.hint == ""


# --- dns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "contained", "hint"),
    [
        ("nope.invalid", False, "Correct the name in client_url."),
        ("web", False, "If web is a service of Docker Compose, its name is known inside containers only."),
        ("web", True, "If web is a service of Docker Compose, start the sandbox in the same Compose network"),
        ("host.docker.internal", False, "That name exists inside a container only"),
        ("host.docker.internal", True, "--add-host=host.docker.internal:host-gateway"),
        ("host.containers.internal", True, "--add-host=host.containers.internal:host-gateway"),
    ],
)
def test_a_name_without_an_address_is_explained(
    run: Run, monkeypatch: pytest.MonkeyPatch, host: str, contained: bool, hint: str
) -> None:
    async def main() -> Report:
        names(monkeypatch)
        return await visit(f"http://{host}:8000/sms", in_container=contained)

    found = failure(run(main()))
    assert (found.name, found.detail) == ("dns", f"The name {host} has no address.")
    assert hint in found.hint


def test_a_name_server_that_is_away_is_not_the_names_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(error: OSError | None) -> Report:
        over = threading.Event()

        def getaddrinfo(*_: Any, **__: Any) -> None:
            if error is not None:
                raise error
            over.wait()

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        try:
            return await visit("http://example.com/", deadline_s=0.05)
        finally:
            over.set()

    away = failure(run(main(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))))
    assert away.detail == "No name server could be asked for example.com."
    silent = failure(run(main(None)))
    assert silent.detail == "The address of example.com could not be looked up within 0.05 s."


@pytest.mark.parametrize("addresses", [["169.254.169.254"], ["127.0.0.1", "fd00:ec2::254"]])
def test_a_name_of_a_forbidden_address_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    async def main() -> Report:
        names(monkeypatch, app=addresses)
        return await visit("http://app.invalid/", post=True)

    found = failure(run(main()))
    assert found.name == "dns"
    assert f"app.invalid:80 resolves to {addresses[-1]}, which is in the range where clouds keep" in found.detail


# --- tcp ----------------------------------------------------------------------------------------------------------


async def gone() -> int:
    """A port on which nothing listens."""
    async with application(swallows) as app:
        return app.port


@pytest.mark.parametrize(
    ("contained", "words"),
    [
        (False, ["Is the application running, and on port {port}?"]),
        (
            True,
            [
                "The sandbox runs inside a container, where 127.0.0.1 is the container itself",
                "Write http://host.docker.internal:{port}/sms (Podman: host.containers.internal).",
                "--add-host=host.docker.internal:host-gateway",
                "listen on 0.0.0.0",
            ],
        ),
    ],
)
def test_a_refused_connection_on_this_machine_is_explained(run: Run, contained: bool, words: list[str]) -> None:
    async def main() -> tuple[Report, int]:
        port = await gone()
        return await visit(f"http://127.0.0.1:{port}/sms?key={SECRET}", in_container=contained), port

    report, port = run(main())
    found = failure(report)
    assert (found.name, found.detail) == (
        "tcp",
        f"127.0.0.1:{port}: connection refused, so nothing listens there.",
    )
    for each in words:
        assert each.replace("{port}", str(port)) in found.hint


def test_an_application_in_the_same_container_is_no_fault(run: Run) -> None:
    report, _ = run(visit_app(swallows, in_container=True))
    assert of(report, "tcp").ok
    assert of(report, "tcp").hint == ""


def test_a_refused_connection_on_another_machine_is_explained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(address: object, port: int, deadline_s: float) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(doctor, "_touch", refused)
    for contained in (False, True):
        found = failure(run(visit("http://192.0.2.7:8000/", in_container=contained)))
        assert "Is the application running there, and on port 8000?" in found.hint
        assert "let it listen on 0.0.0.0" in found.hint


@pytest.mark.parametrize(
    ("error", "detail", "hint"),
    [
        (TimeoutError(), "192.0.2.7:8000: no answer.", "look for a firewall"),
        (OSError(101, "Network is unreachable"), "192.0.2.7:8000: Network is unreachable.", "no way to that address"),
    ],
)
def test_a_machine_that_cannot_be_reached_is_explained(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: OSError, detail: str, hint: str
) -> None:
    async def fails(address: object, port: int, deadline_s: float) -> None:
        raise error

    monkeypatch.setattr(doctor, "_touch", fails)
    found = failure(run(visit("http://192.0.2.7:8000/")))
    assert found.detail == detail
    assert hint in found.hint


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@needs_ipv6
@pytest.mark.parametrize(
    ("listens", "named", "there"),
    [("127.0.0.1", "[::1]", "127.0.0.1"), ("::1", "127.0.0.1", "[::1]"), ("127.0.0.1", "app.invalid", "127.0.0.1")],
)
def test_an_application_on_the_other_loopback_address_is_found(
    run: Run, monkeypatch: pytest.MonkeyPatch, listens: str, named: str, there: str
) -> None:
    async def main() -> tuple[Report, Application]:
        names(monkeypatch, app=["::1"])
        return await visit_app(swallows, f"http://{named}:{{port}}/sms", host=listens, in_container=True)

    report, app = run(main())
    found = failure(report)
    assert found.hint.startswith(f"The application listens on {there}:{app.port}, and client_url names the other")
    assert f"Write http://{there}:{app.port}/sms" in found.hint


@needs_ipv6
def test_a_name_with_two_addresses_of_which_one_listens_is_well(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[Report, Application]:
        names(monkeypatch, app=["::1", "127.0.0.1"])
        return await visit_app(says(GOOD), "http://app.invalid:{port}/", post=True)

    report, app = run(main())
    assert report.ok
    assert of(report, "dns").detail == "app.invalid is ::1 and 127.0.0.1."
    found = of(report, "tcp")
    assert found.detail.startswith(f"127.0.0.1:{app.port} takes connections. [::1]:{app.port} does not: connection ref")
    assert f"with 127.0.0.1:{app.port} in client_url" in found.hint


# --- tls ----------------------------------------------------------------------------------------------------------


class Certificates:
    """An authority that nobody knows, and what it issues for app.invalid."""

    def __init__(self, folder: Path, openssl: str) -> None:
        self._folder = folder
        self._openssl = openssl
        self._call("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3 -subj /CN=nobody "
                   "-keyout ca.key -out ca.pem")  # fmt: skip
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\n"
            "policy=p\nx509_extensions=x\nunique_subject=no\n[p]\ncommonName=supplied\n[x]\n"
            "subjectAltName=DNS:app.invalid\n",
            encoding="utf-8",
        )

    @property
    def authority(self) -> str:
        return str(self._folder / "ca.pem")

    def _call(self, command: str) -> None:
        subprocess.run([self._openssl, *command.split()], check=True, capture_output=True, cwd=self._folder)

    def issue(self, name: str, begin: str, end: str) -> ssl.SSLContext:
        """A server's context with a certificate that is valid from `begin` to `end`."""
        self._call(f"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=app.invalid "
                   f"-keyout {name}.key -out {name}.csr")  # fmt: skip
        self._call(f"ca -config ca.cnf -cert ca.pem -keyfile ca.key -batch -notext -in {name}.csr -out {name}.pem "
                   f"-startdate {begin} -enddate {end}")  # fmt: skip
        return self._context(name)

    def self_signed(self) -> ssl.SSLContext:
        self._call("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3 -subj /CN=app.invalid "
                   "-addext subjectAltName=DNS:app.invalid -keyout own.key -out own.pem")  # fmt: skip
        return self._context("own")

    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make certificates with")
    return Certificates(tmp_path_factory.mktemp("tls"), openssl)


@pytest.fixture(scope="module")
def contexts(certificates: Certificates) -> dict[str, ssl.SSLContext]:
    return {
        "good": certificates.issue("good", "20200101000000Z", "20490101000000Z"),
        "expired": certificates.issue("expired", "20200101000000Z", "20200102000000Z"),
        "early": certificates.issue("early", "20480101000000Z", "20490101000000Z"),
        "own": certificates.self_signed(),
    }


async def visit_tls(
    monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext, host: str, **options: Any
) -> tuple[Report, Application]:
    names(monkeypatch, app=["127.0.0.1"], other=["127.0.0.1"])
    return await visit_app(says(GOOD), f"https://{host}:{{port}}/sms", tls=context, **options)


def test_a_trusted_certificate_passes_and_no_byte_follows_the_handshake(
    run: Run, monkeypatch: pytest.MonkeyPatch, certificates: Certificates, contexts: dict[str, ssl.SSLContext]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates.authority)
    report, app = run(visit_tls(monkeypatch, contexts["good"], "app.invalid"))
    assert report.ok
    assert of(report, "tls").detail.startswith("TLSv1.3, with a certificate for app.invalid that is trusted and valid")
    assert "2049" in of(report, "tls").detail
    assert "beyond the TLS handshake nothing was sent" in of(report, "http").detail
    assert app.requests == []
    posted, app = run(visit_tls(monkeypatch, contexts["good"], "app.invalid", post=True))
    assert (of(posted, "http").ok, of(posted, "json").ok, len(app.requests)) == (True, True, 1)


@pytest.mark.parametrize(
    ("certificate", "trusted", "host", "said", "hint"),
    [
        ("expired", True, "app.invalid", "has expired.", "Renew it"),
        ("early", True, "app.invalid", "is not valid yet.", "clocks"),
        ("good", True, "other.invalid", "is not for other.invalid.", "Write a name in client_url"),
        ("good", True, "127.0.0.1", "is not for 127.0.0.1.", "Write a name in client_url"),
        ("good", False, "app.invalid", "comes from an issuer that is not trusted here", "SSL_CERT_FILE"),
        ("own", False, "app.invalid", "is signed by itself", "SSL_CERT_FILE"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_explained(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    certificates: Certificates,
    contexts: dict[str, ssl.SSLContext],
    certificate: str,
    trusted: bool,
    host: str,
    said: str,
    hint: str,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", certificates.authority)
    report, app = run(visit_tls(monkeypatch, contexts[certificate], host, post=True))
    found = failure(report)
    assert found.name == "tls"
    assert found.detail.startswith(f"The certificate of {host}:{app.port} {said}")
    assert hint in found.hint
    assert app.requests == []


async def answers_plainly(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def hangs_up(app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (answers_plainly, "it most likely speaks plain HTTP."),
        (hangs_up, "broke off the TLS handshake"),
        (resets, "broke off the TLS handshake"),
        (swallows, "did not take part in a TLS handshake within 0.2 s."),
    ],
)
def test_plain_http_on_the_port_of_an_https_url_is_explained(run: Run, behaviour: Behaviour, said: str) -> None:
    report, _ = run(visit_app(behaviour, "https://127.0.0.1:{port}/", deadline_s=0.2))
    found = failure(report)
    assert found.name == "tls"
    assert said in found.detail
    assert "write http:// in client_url" in found.hint or "Write http:// in client_url" in found.hint


def test_tls_on_the_port_of_an_http_url_is_explained(run: Run, contexts: dict[str, ssl.SSLContext]) -> None:
    report, app = run(visit_app(says(GOOD), tls=contexts["own"], post=True))
    found = failure(report)
    assert found.name == "http"
    assert "write https:// in client_url" in found.hint
    assert app.requests == []


# --- http ---------------------------------------------------------------------------------------------------------


def test_an_application_that_does_not_answer_is_explained(run: Run) -> None:
    report, app = run(visit_app(says(b"", hang=True), post=True, deadline_s=0.1))
    found = failure(report)
    assert (found.name, found.detail) == ("http", f"127.0.0.1:{app.port} did not answer within 0.1 s.")
    assert "answer first and work afterwards" in found.hint
    assert "one thread" in found.hint


@pytest.mark.parametrize(
    ("behaviour", "said", "hint"),
    [
        (says(b""), "closed the connection without an answer", "Look into the application's log"),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "answered something that is not HTTP", "Look which program listens there"),
        (says(CHUNKED + b"9\r\n{"), "in the middle of its answer", "it may have crashed"),
    ],
)
def test_an_answer_that_breaks_off_is_explained(run: Run, behaviour: Behaviour, said: str, hint: str) -> None:
    report, _ = run(visit_app(behaviour, post=True))
    found = failure(report)
    assert found.name == "http"
    assert said in found.detail
    assert hint in found.hint


def test_a_redirect_is_not_followed(run: Run) -> None:
    report, app = run(visit_app(says(answer(307, b"", "Location: /elsewhere")), post=True))
    assert failure(report).name == "http"
    assert app.connections == 2  # one to see whether somebody listens, one for the POST


def test_a_url_without_a_path_is_told_so(run: Run) -> None:
    report, _ = run(visit_app(says(answer(404)), "http://127.0.0.1:{port}", post=True))
    assert failure(report).hint.startswith("client_url has no path.")


@pytest.mark.parametrize(
    ("auth", "words"), [(CallbackAuth.BASIC, "Authorization: Basic"), (CallbackAuth.NONE, "no Authorization")]
)
def test_what_was_sent_along_is_said_by_name(run: Run, auth: CallbackAuth, words: str) -> None:
    account = Account(name="a", token=SECRET, callback_auth=auth)
    url = f"http://user:{SECRET}@127.0.0.1:{{port}}/sms"
    report, app = run(visit_app(says(answer(401)), url, account=account, post=True))
    assert words in failure(report).hint
    assert (b"Authorization: Basic " in app.requests[0]) is (auth is CallbackAuth.BASIC)


# --- json ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "ok", "detail", "hint"),
    [
        (answer(200, b"null", "Content-Type: application/problem+json"), True, "The answer is JSON.", ""),
        (OK, True, "The answer is JSON, though it has no Content-Type.", "Set Content-Type"),
        (answer(200, b"{}", "Content-Type: text/html"), True, "though its Content-Type is", "Set Content-Type"),
        (answer(204), False, "The answer's body is empty", "Answer with JSON"),
        (answer(200, b"OK"), False, 'The answer is no JSON: "OK".', "Answer with JSON"),
        (answer(200, b"  <!DOCTYPE html><p>Hello"), False, "The answer is HTML:", "A page for people is no answer"),
        (answer(200, b"<Response></Response>"), False, "The answer is no JSON:", "Answer with JSON"),
        (answer(200, b"[" * 10_000), False, "The answer is no JSON:", "Answer with JSON"),
        (answer(200, b"x" * 16_384), None, "The answer is longer than 16 KiB", "Answer with JSON"),
        (answer(200, b"\x1b[2J\xff\xe2\x80\xae"), False, "\\x1b[2J", "Answer with JSON"),
    ],
)
def test_the_answer_is_to_be_json(reply: bytes, ok: bool | None, detail: str, hint: str) -> None:
    report, _ = asyncio.run(visit_app(says(reply), post=True))
    found = of(report, "json")
    assert found.ok is ok
    assert of(report, "http").ok
    assert detail in found.detail
    assert hint in found.hint
    assert bool(hint) is bool(found.hint)
    assert (found.detail + found.hint).isprintable()


# --- manners ------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_a_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(name="default", token=SECRET, callback_auth=CallbackAuth.BASIC)

    async def main() -> Sequence[Report]:
        names(monkeypatch, app=["127.0.0.1"])
        port = await gone()
        found = []
        for place in ("127.0.0.1:{port}", "app.invalid:{port}", f"127.0.0.1:{port}", "nope.invalid", "[s3cret"):
            for scheme in ("http", "https", "ftp"):
                url = f"{scheme}://{SECRET}:{SECRET}@{place}/sms?{SECRET}#{SECRET}"
                reply = says(answer(403, b"no", f"Location: http://{SECRET}@app/?{SECRET}"))
                for contained in (False, True):
                    report, _ = await visit_app(
                        reply, url, account=account, post=True, in_container=contained, deadline_s=0.2
                    )
                    found.append(report)
        redirect = says(answer(302, b"", f"Location: http://{SECRET}:{SECRET}@app/?{SECRET}"))
        found.append((await visit_app(redirect, account=account, post=True))[0])
        return found

    for report in run(main()):
        assert SECRET not in repr(report)
        assert not report.ok


@pytest.mark.parametrize(
    ("files", "contained"),
    [
        ({}, False),
        ({".dockerenv": ""}, True),
        ({"run/.containerenv": ""}, True),
        ({"proc/1/cgroup": "12:pids:/docker/3fa1\n"}, True),
        ({"proc/1/cgroup": "0::/kubepods.slice/kubepods-pod1\n"}, True),
        ({"proc/1/cgroup": "0::/init.scope\n"}, False),
    ],
)
def test_a_container_is_known_by_its_files(tmp_path: Path, files: dict[str, str], contained: bool) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert inside_container(tmp_path) is contained


def test_left_to_itself_the_doctor_looks_where_it_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "inside_container", lambda: True)

    async def main() -> Report:
        return await visit(f"http://127.0.0.1:{await gone()}/", in_container=None)

    assert "inside a container" in failure(run(main())).hint
