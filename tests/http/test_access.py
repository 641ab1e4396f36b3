"""The access rules before every route, by surface; raw sockets where HTTP libraries refuse what a test sends."""

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

import pytest
from starlette.routing import Mount, Route

from sandbox.api import routes as api_routes
from sandbox.http.access import (
    COOKIE,
    MAX_HEADERS,
    MAX_TARGET,
    is_allowed_host,
    login_cookie,
)
from sandbox.pages import routes as page_routes

if TYPE_CHECKING:
    from tests.conftest import Bench, Reply, Running

JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
PROBE = "/_sandbox/v1/clock"  # a route of the control API that is always there
SECURITY = {
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
}


def own(running: "Running") -> str:
    return f"127.0.0.1:{running.address.port}"


def get(running: "Running", path: str, *headers: str) -> "Reply":
    """A GET with the right Host and these headers."""
    return running.plain("GET", path, f"Host: {own(running)}", *headers)


# The Host rule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:2081",
        "localhost:",
        "LOCALHOST",
        "localhost.",
        "sandbox.localhost",
        "127.0.0.1",
        "127.0.0.1:2081",
        "127.1.2.3",
        "192.168.1.20:80",
        "8.8.8.8",
        "[::1]",
        "[::1]:2081",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "sandbox",
        "sandbox:2081",
        "my-sandbox_1",
    ],
)
def test_localhost_an_address_or_a_name_without_a_dot_is_us(host: str) -> None:
    assert is_allowed_host(host)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("", id="empty"),
        pytest.param(":2081", id="port alone"),
        pytest.param("evil.example", id="name"),
        pytest.param("evil.example:2081", id="name and port"),
        pytest.param("127.0.0.1.evil.example", id="address in front of a name"),
        pytest.param("localhost.evil.example", id="localhost in front of a name"),
        pytest.param("evillocalhost.", id="ends like localhost with a dot"),
        pytest.param("evil.example.", id="dot at the end"),
        pytest.param("sandbox.", id="container with a dot at the end"),
        pytest.param("0.0.0.0", id="unspecified"),
        pytest.param("0.0.0.0:2081", id="unspecified and port"),
        pytest.param("[::]", id="unspecified, IPv6"),
        pytest.param("[::]:2081", id="unspecified, IPv6 and port"),
        pytest.param("[0:0:0:0:0:0:0:0]", id="unspecified, written out"),
        pytest.param("[::ffff:0.0.0.0]", id="unspecified, mapped"),
        pytest.param("0", id="unspecified as a number"),
        pytest.param("2130706433", id="127.0.0.1 as a number"),
        pytest.param("0x7f000001", id="127.0.0.1 in hexadecimal"),
        pytest.param("127.1", id="127.0.0.1, shortened"),
        pytest.param("0177.0.0.1", id="127.0.0.1, octal"),
        pytest.param("::1", id="IPv6 without brackets"),
        pytest.param("[::1", id="bracket not closed"),
        pytest.param("[::1]x", id="something behind the bracket"),
        pytest.param("[localhost]", id="name in brackets"),
        pytest.param("[127.0.0.1]", id="IPv4 in brackets"),
        pytest.param("localhost:x", id="port that is none"),
        pytest.param("localhost:80:80", id="two ports"),
        pytest.param("localhost:-1", id="negative port"),
        pytest.param("localhost@evil.example", id="user info"),
        pytest.param("evil.example@localhost", id="name as user info"),
        pytest.param("localhost,evil.example", id="list"),
        pytest.param("localhost/", id="path"),
        pytest.param("local host", id="blank"),
        pytest.param("-", id="dash alone"),
        pytest.param("l\xf6calhost", id="beyond ASCII"),
    ],
)
def test_any_other_host_is_not_us(host: str) -> None:
    assert not is_allowed_host(host)


@pytest.mark.parametrize("host", ["sandbox.example.org", "SANDBOX.example.org", "sandbox.example.org:2081"])
def test_a_listed_name_is_us(host: str) -> None:
    assert is_allowed_host(host, {"sandbox.example.org"})


@pytest.mark.parametrize("host", ["example.org", "x.sandbox.example.org", "sandbox.example.org.evil.example"])
def test_a_listed_name_lists_no_other(host: str) -> None:
    assert not is_allowed_host(host, {"sandbox.example.org"})


@pytest.mark.parametrize("host", ["localhost", "[::1]:2081", "10.0.0.7", "sandbox"])
def test_an_allowed_host_comes_in(sandbox_server: "Running", host: str) -> None:
    assert sandbox_server.plain("GET", PROBE, f"Host: {host}").status == 200


@pytest.mark.parametrize("host", ["evil.example", "0.0.0.0", "[::]", "127.0.0.1.evil.example"])
def test_another_host_is_refused(sandbox_server: "Running", host: str) -> None:
    reply = sandbox_server.plain("GET", PROBE, f"Host: {host}")
    assert (reply.status, reply.closed) == (403, True)
    assert "allowed_hosts" in json.loads(reply.body)["detail"]


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"GET /livez HTTP/1.1\r\n\r\n", id="none"),
        pytest.param(b"GET /livez HTTP/1.0\r\n\r\n", id="none, HTTP/1.0"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", id="twice the same"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", id="a second one"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: evil.example\r\nhost: localhost\r\n\r\n", id="a first one"),
        pytest.param(b"GET /ng/v1/sendsms HTTP/1.1\r\n\r\n", id="none, to the gateway"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", id="empty"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: \t \r\n\r\n", id="blank"),
    ],
)
def test_a_request_carries_exactly_one_host(sandbox_server: "Running", request_: bytes) -> None:
    reply = sandbox_server.raw(request_)
    assert (reply.status, reply.closed) == (400, True)


def test_a_host_that_a_target_names_does_not_count(sandbox_server: "Running") -> None:
    assert sandbox_server.plain("GET", "http://localhost/livez", "Host: evil.example").status == 403


def test_a_name_of_the_setting_allowed_hosts_comes_in(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox(allowed_hosts=("sandbox.example.org",)).sandbox
    hosts = ["sandbox.example.org", "Sandbox.Example.Org:8080", "evil.example"]
    assert [running.plain("GET", PROBE, f"Host: {host}").status for host in hosts] == [200, 200, 403]


def test_a_flood_of_names_does_not_change_the_verdicts(sandbox_server: "Running") -> None:
    for number in range(300):
        assert sandbox_server.plain("GET", "/livez", f"Host: box{number}").status == 200
    assert sandbox_server.plain("GET", "/livez", "Host: evil.example").status == 403


# The gateway's exemption -------------------------------------------------------------------------------------------

SMS = (
    b'{"from": "48974", "to": "2348020000000", "message": "Hello", "session_id": "1", '
    b'"sent_date": "2024-01-02T23:50:37.000000Z"}'
)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        pytest.param("Authorization: Bearer {token}", 200, id="known token"),
        pytest.param("Authorization: Bearer unknown", 403, id="unknown token"),
        pytest.param("Authorization: Basic {token}", 403, id="another scheme"),
        pytest.param("X-Nothing: 1", 403, id="no token"),
    ],
)
def test_the_gateway_takes_any_host_from_who_knows_a_token(bench: "Bench", authorization: str, status: int) -> None:
    headers = ["Host: app.9bits.net:2081", authorization.format(token=bench.token), JSON]
    assert bench.sandbox.plain("POST", "/ng/v1/sendsms", *headers, body=SMS).status == status


def test_a_call_with_another_host_and_no_known_token_leaves_no_record(bench: "Bench") -> None:
    before = bench.get("/requests")["requests"]
    bench.sandbox.plain("POST", "/ng/v1/sendsms", "Host: evil.example", "Authorization: Bearer x", JSON, body=SMS)
    assert bench.get("/requests")["requests"] == before


def test_an_accounts_token_opens_nothing_else(bench: "Bench") -> None:
    headers = ["Host: evil.example", f"Authorization: Bearer {bench.token}"]
    assert bench.sandbox.plain("GET", PROBE, *headers).status == 403


def test_the_gateway_takes_no_other_origin_even_with_a_token(bench: "Bench") -> None:
    headers = ["Host: localhost", f"Authorization: Bearer {bench.token}", "Origin: http://evil.example", JSON]
    assert bench.sandbox.plain("POST", "/ng/v1/sendsms", *headers, body=SMS).status == 403


# Every route -------------------------------------------------------------------------------------------------------


def all_routes() -> Iterator[tuple[str, str]]:
    """(method, path) of everything that can be asked for, with something in place of the paths' parameters."""
    yield from [("GET", "/livez"), ("GET", "/readyz"), ("GET", "/nowhere"), ("GET", "/static/page.css")]
    yield from [("POST", "/ng/v1/sendsms"), ("GET", "/ng/v1/sendsms"), ("POST", "/ng/nowhere")]
    yield from [("GET", "/_sandbox/"), ("GET", "/_sandbox/v1/nowhere"), ("GET", "/_sandbox/openapi.json")]
    for route in [*api_routes.routes(), *page_routes.routes()]:
        path = re.sub(r"\{[^}]*\}", "2348020000000", route.path)
        if isinstance(route, Mount):
            yield "GET", f"{path}/x"
        else:
            assert isinstance(route, Route)
            for method in sorted(route.methods or ()):
                yield method, path


ROUTES = sorted(set(all_routes()))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(["Host: evil.example"], id="host"),
        pytest.param(["Host: {own}", "Origin: http://evil.example"], id="origin"),
        pytest.param(["Host: {own}", "Origin: null"], id="origin null"),
        pytest.param(["Host: {own}", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], id="another site"),
    ],
)
def test_a_hostile_page_gets_nothing_from_any_route(
    sandbox_server: "Running", headers: Sequence[str], subtests: pytest.Subtests
) -> None:
    foreign = [line.format(own=own(sandbox_server)) for line in headers]
    for method, path in ROUTES:
        with subtests.test(f"{method} {path}"):
            lines, body = list(foreign), b"{}" if method in ("POST", "PUT", "PATCH") else b""
            if method not in ("GET", "HEAD"):
                lines.append(JSON if path.startswith(("/_sandbox/", "/ng/")) else FORM)
            reply = sandbox_server.plain(method, path, *lines, body=body)
            assert (reply.status, reply.closed) == (403, True)
            if method != "HEAD":
                ours = (
                    {"status_code", "message", "errors"} if path.startswith("/ng/") else {"title", "status", "detail"}
                )
                assert json.loads(reply.body).keys() == ours
            assert not [name for name, _ in reply.headers if name.lower().startswith("access-control-")]


def test_a_hostile_page_leaves_no_trace_of_its_calls(bench: "Bench") -> None:
    bench.sent()
    before = [bench.get(path) for path in ("/messages", "/requests", "/handsets", "/webhook-deliveries")]
    for method, path in ROUTES:
        if method not in ("GET", "HEAD"):
            foreign = [f"Host: {own(bench.sandbox)}", "Origin: http://evil.example", JSON]
            bench.sandbox.plain(method, f"{path}?account={bench.account}", *foreign, body=b"{}")
    assert [bench.get(path) for path in ("/messages", "/requests", "/handsets", "/webhook-deliveries")] == before


# Origin and Sec-Fetch-Site -----------------------------------------------------------------------------------------


def test_our_own_origin_passes(sandbox_server: "Running") -> None:
    assert get(sandbox_server, PROBE, f"Origin: http://{own(sandbox_server)}").status == 200


def test_our_own_origin_passes_where_a_proxy_in_front_speaks_tls(sandbox_server: "Running") -> None:
    assert get(sandbox_server, PROBE, f"Origin: https://{own(sandbox_server)}").status == 200


def test_our_own_origin_follows_the_host(sandbox_server: "Running") -> None:
    port = sandbox_server.address.port
    host = f"Host: localhost:{port}"
    assert sandbox_server.plain("GET", PROBE, host, f"Origin: http://localhost:{port}").status == 200
    assert sandbox_server.plain("GET", PROBE, host, f"Origin: http://127.0.0.1:{port}").status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "ftp://{own}",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://{own}.evil.example",
        "http://{own}/",
        "{own}",
    ],
)
def test_another_origin_is_refused(sandbox_server: "Running", origin: str) -> None:
    assert get(sandbox_server, PROBE, "Origin: " + origin.format(own=own(sandbox_server))).status == 403


@pytest.mark.parametrize("path", [PROBE, "/", "/static/x", "/livez", "/ng/v1/sendsms"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "invented"])
def test_a_request_from_another_site_is_refused(sandbox_server: "Running", path: str, site: str) -> None:
    assert get(sandbox_server, path, f"Sec-Fetch-Site: {site}").status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_request_from_our_own_pages_or_from_nowhere_passes(sandbox_server: "Running", site: str) -> None:
    assert get(sandbox_server, PROBE, f"Sec-Fetch-Site: {site}").status == 200


NAVIGATION = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")


@pytest.mark.parametrize("path", ["/", "/settings", "/livez"])
def test_following_a_link_from_another_site_to_a_page_is_fine(sandbox_server: "Running", path: str) -> None:
    assert get(sandbox_server, path, *NAVIGATION).status == 200


@pytest.mark.parametrize("path", [PROBE, "/_sandbox/v1/events", "/static/x", "/ng/v1/sendsms"])
def test_following_a_link_from_another_site_to_anything_else_is_not(sandbox_server: "Running", path: str) -> None:
    assert get(sandbox_server, path, *NAVIGATION).status == 403


@pytest.mark.parametrize("dest", ["iframe", "frame", "embed", "object", "empty"])
def test_a_page_in_a_frame_of_another_site_is_refused(sandbox_server: "Running", dest: str) -> None:
    assert get(sandbox_server, "/", *NAVIGATION[:2], f"Sec-Fetch-Dest: {dest}").status == 403


def test_a_form_from_another_site_is_refused_though_it_navigates(sandbox_server: "Running") -> None:
    headers = [f"Host: {own(sandbox_server)}", *NAVIGATION, FORM]
    assert sandbox_server.plain("POST", "/settings/reset", *headers, body=b"scope=all").status == 403


@pytest.mark.parametrize("path", [PROBE, "/", "/livez", "/ng/v1/sendsms"])
def test_there_is_no_cors(sandbox_server: "Running", path: str) -> None:
    headers = [f"Host: {own(sandbox_server)}", f"Origin: http://{own(sandbox_server)}"]
    reply = sandbox_server.plain("OPTIONS", path, *headers, "Access-Control-Request-Method: PUT")
    assert not [name for name, _ in reply.headers if name.lower().startswith("access-control-")]


# Content types -----------------------------------------------------------------------------------------------------

NOT_JSON = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", ""]
NOT_A_FORM = ["text/plain", "application/json", "multipart/form-data; boundary=x", ""]


@pytest.mark.parametrize("media", NOT_JSON)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_the_control_api_is_changed_with_json_alone(bench: "Bench", method: str, media: str) -> None:
    path = f"/_sandbox/v1/reset?account={bench.account}"
    reply = bench.sandbox.plain(method, path, "Host: localhost", f"Content-Type: {media}", body=b"{}")
    assert (reply.status, reply.closed) == (415, True)
    assert "application/json" in json.loads(reply.body)["detail"]


def test_the_control_api_is_not_changed_without_a_content_type(bench: "Bench") -> None:
    assert bench.sandbox.plain("POST", "/_sandbox/v1/reset", "Host: localhost", "Content-Length: 0").status == 415


@pytest.mark.parametrize("media", ["application/json", "Application/Json", "application/json; charset=utf-8"])
def test_the_control_api_takes_json(bench: "Bench", media: str) -> None:
    path = f"/_sandbox/v1/reset?account={bench.account}"
    assert bench.sandbox.plain("POST", path, "Host: localhost", f"Content-Type: {media}", body=b"{}").status == 200


@pytest.mark.parametrize("media", NOT_A_FORM)
@pytest.mark.parametrize("path", ["/", "/settings/reset", "/login", "/nowhere"])
def test_pages_are_changed_with_simple_forms_alone(sandbox_server: "Running", path: str, media: str) -> None:
    reply = sandbox_server.plain("POST", path, "Host: localhost", f"Content-Type: {media}", body=b"scope=all")
    assert (reply.status, reply.closed) == (415, True)
    assert "application/x-www-form-urlencoded" in json.loads(reply.body)["detail"]


def test_pages_take_simple_forms(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox().sandbox
    reply = running.plain("POST", "/settings/reset", "Host: localhost", FORM, body=b"scope=all")
    assert reply.status == 303


# Sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("longer", "status"), [(0, 200), (1, 414)])
@pytest.mark.parametrize("in_query", [True, False])
def test_a_target_may_be_8_kib_long(sandbox_server: "Running", in_query: bool, longer: int, status: int) -> None:
    if in_query:
        path = "/livez?" + "x" * (MAX_TARGET - len("/livez") + longer)
    else:
        path, status = "/" + "x" * (MAX_TARGET - 1 + longer), status if longer else 404
    assert get(sandbox_server, path).status == status


@pytest.mark.parametrize(("longer", "status"), [(0, 200), (1, 431)])
@pytest.mark.parametrize("number", [1, 100])
def test_headers_may_be_16_kib_long(sandbox_server: "Running", number: int, longer: int, status: int) -> None:
    left = MAX_HEADERS - len("host") - len(own(sandbox_server)) - 4 + longer
    names = [f"x-{n:03}" for n in range(number)]
    sizes = [left // number - 9 + (n < left % number) for n in range(number)]
    headers = [f"{name}: {'x' * size}" for name, size in zip(names, sizes, strict=True)]
    reply = get(sandbox_server, "/livez", *headers)
    assert (reply.status, reply.closed) == (status, status == 431)


@pytest.mark.parametrize("path", ["/ng/v1/sendsms", PROBE, "/", "/static/x"])
def test_long_targets_and_headers_are_refused_everywhere(sandbox_server: "Running", path: str) -> None:
    assert get(sandbox_server, path + "?" + "x" * MAX_TARGET).status == 414
    assert get(sandbox_server, path, "X-Long: " + "x" * MAX_HEADERS).status == 431


def chunks(size: int) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [b" " * 1000] * (size // 1000))


@pytest.mark.parametrize("path", ["/_sandbox/v1/reset", "/settings/reset"])
def test_a_body_over_the_limit_is_answered_413_and_the_connection_is_closed(
    start_sandbox: Callable[..., "Bench"], path: str
) -> None:
    running = start_sandbox(max_control_body=3000).sandbox
    head = [f"POST {path} HTTP/1.1", "Host: localhost", JSON if path.startswith("/_sandbox") else FORM]
    for framing, body in (
        ("Content-Length: 3001", b" " * 3001),
        ("Content-Length: 300000000", b""),
        ("Transfer-Encoding: chunked", chunks(4000)),
    ):
        reply = running.raw("\r\n".join([*head, framing, "", ""]).encode(), body)
        assert (reply.status, reply.closed) == (413, True), framing


def test_a_body_of_the_control_api_may_be_as_large_as_the_limit(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox(max_control_body=3000).sandbox
    reply = running.plain("POST", "/_sandbox/v1/reset", "Host: localhost", JSON, body=b"{}".ljust(3000))
    assert reply.status == 200


def test_the_control_apis_limit_is_one_mebibyte(sandbox_server: "Running") -> None:
    headers = ["Host: localhost", JSON]
    path = "/_sandbox/v1/accounts"
    assert sandbox_server.plain("POST", path, *headers, body=b"[]".ljust(1024**2)).status == 400
    assert sandbox_server.plain("POST", path, *headers, body=b"[]".ljust(1024**2 + 1)).status == 413


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure_of_ours(
    serving: Callable[..., AbstractContextManager["Running"]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), serving() as running:
        for path, media in (("/_sandbox/v1/reset", JSON), ("/settings/reset", FORM), ("/ng/v1/sendsms", JSON)):
            with running.connect() as sock:
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{media}\r\nContent-Length: 500\r\n\r\n"
                sock.sendall(head.encode() + b"x" * 20)
        assert get(running, "/readyz").status == 200
    assert caplog.messages == []


def test_a_connection_too_many_is_told_when_to_try_again(start_sandbox: Callable[..., "Bench"]) -> None:
    running = start_sandbox(max_connections=3).sandbox
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running.connect())
        reply = get(running, "/livez")
    assert (reply.status, reply.closed) == (503, True)
    assert reply.header("retry-after") is not None


# The control token -------------------------------------------------------------------------------------------------

CONTROL_TOKEN = "0123456789abcdef-control"


@pytest.fixture(scope="module")
def guarded(serving: Callable[..., AbstractContextManager["Running"]]) -> Iterator["Running"]:
    with serving(control_token=CONTROL_TOKEN) as running:
        yield running


def test_the_control_api_asks_for_the_control_token(guarded: "Running") -> None:
    for path in (PROBE, "/_sandbox/v1/events", "/_sandbox/v1/nowhere"):
        reply = get(guarded, path)
        assert (reply.status, reply.header("www-authenticate")) == (401, "Bearer")
        assert reply.header("content-type") == "application/problem+json"


def test_the_bearer_of_the_control_token_comes_in(guarded: "Running") -> None:
    for scheme in ("Bearer", "bearer"):
        assert get(guarded, PROBE, f"Authorization: {scheme} {CONTROL_TOKEN}").status == 200


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer sandbox-token",
        f"Authorization: Bearer {CONTROL_TOKEN[:-1]}",
        f"Authorization: Bearer {CONTROL_TOKEN}x",
        f"Authorization: Basic {CONTROL_TOKEN}",
        f"Authorization: {CONTROL_TOKEN}",
        "Authorization: Bearer",
        "Authorization: Bearer \xff\xfe",
        f"Cookie: {COOKIE}={CONTROL_TOKEN}",
        f"Cookie: {COOKIE}=",
        f"Cookie: {COOKIE}=\xff",
        f"Cookie: other={login_cookie(CONTROL_TOKEN)}",
        f"Cookie: {COOKIE}={login_cookie('another-token-than-this')}",
        f"X-Control-Token: {CONTROL_TOKEN}",
    ],
)
def test_anything_else_does_not(guarded: "Running", header: str) -> None:
    assert get(guarded, PROBE, header).status == 401


@pytest.mark.parametrize("before", ["", "theme=dark; ", "theme=dark;"])
def test_the_login_cookie_comes_in(guarded: "Running", before: str) -> None:
    cookie = f"Cookie: {before}{COOKIE}={login_cookie(CONTROL_TOKEN)}"
    assert get(guarded, PROBE, cookie).status == 200


def test_the_login_cookie_does_not_hold_the_token() -> None:
    assert CONTROL_TOKEN not in login_cookie(CONTROL_TOKEN)
    assert login_cookie(CONTROL_TOKEN) != login_cookie(CONTROL_TOKEN + "x")


@pytest.mark.parametrize("path", ["/", "/settings", "/requests?verdict=refused", "/nowhere"])
def test_a_page_leads_to_the_login(guarded: "Running", path: str) -> None:
    reply = get(guarded, path)
    assert (reply.status, reply.header("location")) == (303, "/login")


def test_a_form_without_the_login_is_refused(guarded: "Running") -> None:
    reply = guarded.plain("POST", "/settings/reset", "Host: localhost", FORM, body=b"scope=all")
    assert reply.status == 401


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/login"])
def test_the_probes_and_the_login_are_open(guarded: "Running", path: str) -> None:
    assert get(guarded, path).status == 200


def test_static_files_are_open_because_the_login_needs_them(guarded: "Running") -> None:
    assert get(guarded, "/static/nothing").status == 404


def test_the_gateway_asks_for_the_accounts_token_alone(guarded: "Running") -> None:
    headers = ["Host: localhost", "Authorization: Bearer sandbox-token", JSON]
    assert guarded.plain("POST", "/ng/v1/sendsms", *headers, body=SMS).status == 200


def test_the_control_token_is_no_accounts_token(guarded: "Running") -> None:
    headers = ["Host: localhost", f"Authorization: Bearer {CONTROL_TOKEN}", JSON]
    assert guarded.plain("POST", "/ng/v1/sendsms", *headers, body=SMS).status == 401


def test_the_other_doors_stay_shut_to_who_has_the_control_token(guarded: "Running") -> None:
    token = f"Authorization: Bearer {CONTROL_TOKEN}"
    assert guarded.plain("GET", PROBE, "Host: evil.example", token).status == 403
    assert get(guarded, PROBE, token, "Origin: http://evil.example").status == 403


# Headers of every answer -------------------------------------------------------------------------------------------


def named(reply: "Reply") -> list[str]:
    return [name.lower() for name, _ in reply.headers]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", PROBE, [], 200, id="control API"),
        pytest.param("GET", "/_sandbox/v1/messages?limit=x", [], 400, id="control API, invalid"),
        pytest.param("GET", "/_sandbox/v1/messages/m0", [], 404, id="control API, nothing there"),
        pytest.param("DELETE", PROBE, [], 405, id="control API, another method"),
        pytest.param("POST", "/_sandbox/v1/reset", ["Content-Type: text/plain"], 415, id="content type"),
        pytest.param("POST", "/_sandbox/v1/reset", [JSON, "Content-Length: 30000000"], 413, id="body"),
        pytest.param("GET", "/", [], 200, id="page"),
        pytest.param("GET", "/nowhere", [], 404, id="page, nothing there"),
        pytest.param("DELETE", "/", [], 405, id="page, another method"),
        pytest.param("GET", "/static/nothing", [], 404, id="static file, nothing there"),
        pytest.param("GET", "/livez", [], 200, id="probe"),
        pytest.param("GET", "/", ["Origin: null"], 403, id="refused before any route"),
        pytest.param("GET", "/" + "x" * MAX_TARGET, [], 414, id="long target"),
        pytest.param("GET", "/", ["X-Long: " + "x" * MAX_HEADERS], 431, id="long headers"),
        pytest.param("HEAD", "/livez", [], 200, id="head"),
    ],
)
def test_every_answer_of_ours_carries_every_security_header_once(
    sandbox_server: "Running", method: str, path: str, headers: Sequence[str], status: int
) -> None:
    reply = sandbox_server.plain(method, path, "Host: localhost", *headers)
    assert reply.status == status
    assert sorted(name for name in named(reply) if name in SECURITY) == sorted(SECURITY)


def test_the_event_stream_carries_every_security_header_once(sandbox_server: "Running") -> None:
    with sandbox_server.connect() as sock:
        sock.sendall(b"GET /_sandbox/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
    names = [line.partition(b":")[0].decode().lower() for line in head.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    assert sorted(name for name in names if name in SECURITY) == sorted(SECURITY)


def test_a_redirect_to_the_login_carries_every_security_header_once(guarded: "Running") -> None:
    assert sorted(name for name in named(get(guarded, "/")) if name in SECURITY) == sorted(SECURITY)


def test_nothing_may_be_loaded_or_framed_from_elsewhere(sandbox_server: "Running") -> None:
    policy = get(sandbox_server, "/").header("content-security-policy") or ""
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives.pop("default-src") == "'none'"
    assert directives.pop("frame-ancestors") == "'none'"
    assert directives.pop("base-uri") == "'none'"
    assert set(directives.values()) == {"'self'"}


@pytest.mark.parametrize("path", ["/ng/v1/sendsms", "/ng/nowhere"])
def test_the_gateway_adds_no_header_but_nosniff(sandbox_server: "Running", path: str) -> None:
    reply = sandbox_server.plain("GET", path, "Host: localhost")
    assert [name for name in named(reply) if name in SECURITY] == ["x-content-type-options"]


@pytest.mark.parametrize("path", ["/", PROBE, "/ng/v1/sendsms", "/livez"])
def test_no_answer_tells_which_server_gave_it(sandbox_server: "Running", path: str) -> None:
    assert "server" not in named(get(sandbox_server, path))


@pytest.mark.parametrize("path", ["/", PROBE])
def test_a_refusal_at_the_door_is_a_problem_in_words(sandbox_server: "Running", path: str) -> None:
    reply = get(sandbox_server, path, "Origin: null")
    assert reply.header("content-type") == "application/problem+json"
    told = json.loads(reply.body)
    assert (told["title"], told["status"]) == ("Forbidden", 403)
    assert told["detail"].endswith(".")


def test_a_refusal_at_the_door_of_the_gateway_has_the_gateways_shape(sandbox_server: "Running") -> None:
    reply = get(sandbox_server, "/ng/v1/sendsms", "Origin: null")
    assert reply.header("content-type") == "application/json"
    told = json.loads(reply.body)
    assert (told["status_code"], told["errors"]) == (403, [])
    assert told["message"].endswith(".")


def test_a_connection_goes_on_after_an_answer_and_ends_after_a_refusal_at_the_door(sandbox_server: "Running") -> None:
    ok = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with sandbox_server.connect() as sock:
        replies = [sandbox_server.ask(sock, each) for each in (ok, ok, ok.replace(b"localhost", b"evil.example"))]
    assert [(each.status, each.closed) for each in replies] == [(200, False), (200, False), (403, True)]
