"""ASGI middleware before every route: access rules, size limits, and the security headers of answers.

Plain ASGI, so that streams and static files pass through it like everything else. Of a route only the surface is known
here: gateway, control API or pages.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any

from sandbox.core.accounts import AccountCache
from sandbox.wire.payloads import to_json

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

MAX_HEADERS = 16 * 1024
MAX_TARGET = 8 * 1024

GATEWAY = "/ng/"
CONTROL = "/_sandbox/"
STATIC = "/static/"
OPEN = frozenset({"/livez", "/readyz", "/login"})  # need no control token
COOKIE = "ninebits_sandbox_login"
_AUTHORITY = re.compile(rb"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")  # which a target may begin with (RFC 9112, 3.2.2)

PAGE_HEADERS: Headers = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
GATEWAY_HEADERS: Headers = (JSON, (b"x-content-type-options", b"nosniff"))
PROBLEM: tuple[bytes, bytes] = (b"content-type", b"application/problem+json")
RETRY_AFTER: tuple[bytes, bytes] = (b"retry-after", b"5")


async def respond(send: Send, status: int, body: bytes, headers: Headers = (JSON,)) -> None:
    """Send a whole response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


def problem_json(
    status: int, title: str, detail: str, errors: Sequence[dict[str, object]] = (), **more: object
) -> bytes:
    """An error of our own surfaces, as RFC 9457 problem details; `errors` lists every field at once, and `more` are
    members that one kind of call has."""
    body: dict[str, object] = {"title": title, "status": status, "detail": detail}
    if errors:
        body["errors"] = list(errors)
    return to_json(body | more)


class Disconnected(Exception):
    """The client went away in the middle of its request; there is nobody to answer."""


async def read_body(scope: Scope, receive: Receive, limit: int) -> tuple[bytes, bool]:
    """The body, and whether it is larger than `limit`; then no more of it than one read beyond the limit was taken."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            return b"", True
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):  # nearly always: it came in one piece
        return body[:limit], len(body) > limit
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > limit:
            return b"".join(parts)[:limit], True
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    return b"".join(parts)[:limit], size > limit


def login_cookie(control_token: str) -> str:
    """The value of the login cookie: it proves that its owner knew the token, and does not hold the token."""
    return hashlib.sha256(b"login:" + control_token.encode()).hexdigest()


def same_secret(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())


def _secured(send: Send) -> Send:
    """`send`, with the headers that every answer to a browser carries."""

    def secured(message: MutableMapping[str, Any]) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *PAGE_HEADERS]
        return send(message)

    return secured


class _AccessRefused(Exception):
    def __init__(self, status: int, detail: str = "", headers: Headers = ()) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers


_TITLES = {
    303: "See other",
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    408: "Request timeout",
    413: "Body too large",
    414: "Target too long",
    415: "Unsupported media type",
    429: "Too many requests",
    431: "Headers too large",
    503: "Try again later",
}
_USUAL = {
    408: "The request did not come in whole within the deadline. Send its headers, and then its body, without a pause.",
    413: "A part of the body is larger than any body may be.",
    414: f"The request's target is longer than {MAX_TARGET} bytes.",
    431: f"The headers are larger than {MAX_HEADERS} bytes.",
    503: "Too many connections are open. Close some, or raise the setting max_connections.",
}


def refusal(target: bytes, status: int, detail: str = "", *, root_path: str = "") -> tuple[Headers, bytes]:
    """Headers and body of an answer that refuses a request before its route, in the shape of the surface.

    `target` is that of the request as far as it is known, with the `root_path` or without it.
    """
    said = detail or _USUAL.get(status, "")
    path = _AUTHORITY.sub(b"", target, count=1).removeprefix(root_path.encode())
    if path.startswith(GATEWAY.encode()):
        headers, body = GATEWAY_HEADERS, to_json({"status_code": status, "message": said, "errors": []})
    else:
        headers, body = (PROBLEM, *PAGE_HEADERS), problem_json(status, _TITLES[status], said)
    return (*headers, RETRY_AFTER) if status == 503 else headers, body


class Access:
    """The middleware: passes a request on to the application behind it, or refuses it."""

    def __init__(
        self, app: App, *, accounts: AccountCache, allowed_hosts: Collection[str], control_token: str | None
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._control_token = control_token
        self._host_verdicts: dict[bytes, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        to_gateway = scope["path"].startswith(GATEWAY)
        out = send if to_gateway else _secured(send)  # the gateway's answers are JSON, and carry nosniff by themselves
        try:
            self._check(scope, to_gateway=to_gateway)
            await self._app(scope, receive, out)
        except _AccessRefused as refused:
            headers, body = refusal(scope["path"].encode(errors="replace"), refused.status, refused.detail)
            await respond(send, refused.status, body, (*headers, *refused.headers, (b"connection", b"close")))
        except Disconnected:
            return

    def _check(self, scope: Scope, *, to_gateway: bool) -> None:
        headers = scope["headers"]
        found: dict[bytes, bytes] = dict(headers)
        hosts = b"host" in found
        if len(found) != len(headers):  # some header stands more than once
            hosts = [name for name, _ in headers].count(b"host") == 1
            size = sum(len(name) + len(value) for name, value in headers)
        else:
            size = sum(map(len, found)) + sum(map(len, found.values()))
        if size + 4 * len(headers) > MAX_HEADERS:
            raise _AccessRefused(431)
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
            raise _AccessRefused(414)
        host = found.get(b"host")
        if not hosts or not host:  # of HTTP/1.0 too, which asks for none
            raise _AccessRefused(400, "A request carries exactly one Host header, and it is not empty.")
        # DNS rebinding: a hostile page's own name resolves to us. Its Host betrays it, its Origin may not.
        if not self._is_allowed(host) and not (to_gateway and self._knows_token(found.get(b"authorization"))):
            raise _AccessRefused(
                403,
                "This Host is not allowed. Use localhost or an IP address, or list the name in the setting "
                "allowed_hosts.",
            )
        origin = found.get(b"origin")
        # TLS may end at a proxy in front.
        if origin is not None and origin not in (scope["scheme"].encode() + b"://" + host, b"https://" + host):
            raise _AccessRefused(403, "Requests from another origin are refused.")
        if found.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none") and not _follows_link(scope, found):
            raise _AccessRefused(403, "Requests from another site are refused.")
        if not to_gateway:
            self._check_own_surface(scope, found)

    def _check_own_surface(self, scope: Scope, found: dict[bytes, bytes]) -> None:
        """The rules of the pages and the control API, which browsers and not applications call."""
        path, method = scope["path"], scope["method"]
        is_control = path.startswith(CONTROL)
        is_page = not is_control and not path.startswith(STATIC)
        if method in ("POST", "PUT", "PATCH"):
            wanted = b"application/json" if is_control else b"application/x-www-form-urlencoded"
            media = found.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if media != wanted:
                raise _AccessRefused(415, f"Send Content-Type: {wanted.decode()}.")
        if self._control_token is not None and path not in OPEN and not path.startswith(STATIC):
            self._check_login(scope, found, is_page=is_page)

    def _check_login(self, scope: Scope, found: dict[bytes, bytes], *, is_page: bool) -> None:
        assert self._control_token is not None
        scheme, _, token = found.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() == "bearer" and same_secret(token.strip(), self._control_token):
            return
        for cookie in found.get(b"cookie", b"").decode("latin-1").split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == COOKIE and same_secret(value, login_cookie(self._control_token)):
                return
        if is_page and scope["method"] == "GET":
            raise _AccessRefused(303, "", ((b"location", scope.get("root_path", "").encode() + b"/login"),))
        raise _AccessRefused(
            401,
            "This sandbox asks for its control token: Authorization: Bearer <control token>. It was printed at start.",
            ((b"www-authenticate", b"Bearer"),),
        )

    def _knows_token(self, authorization: bytes | None) -> bool:
        scheme, _, token = (authorization or b"").decode("latin-1").partition(" ")
        return scheme.lower() == "bearer" and self._accounts.by_token(token.strip()) is not None

    def _is_allowed(self, host: bytes) -> bool:
        verdict = self._host_verdicts.get(host)
        if verdict is None:
            if len(self._host_verdicts) >= 256:  # a flood of names must not grow it
                self._host_verdicts.clear()
            verdict = self._host_verdicts[host] = is_allowed_host(host.decode("latin-1"), self._allowed_hosts)
        return verdict


def _follows_link(scope: Scope, found: Mapping[bytes, bytes]) -> bool:
    """Whether a person followed a link to one of our pages, which is fine from anywhere."""
    navigates = found.get(b"sec-fetch-mode") == b"navigate" and found.get(b"sec-fetch-dest") == b"document"
    return navigates and scope["method"] == "GET" and not scope["path"].startswith((GATEWAY, CONTROL, STATIC))


def is_allowed_host(host: str, listed: Collection[str] = ()) -> bool:
    """Whether a Host header names this sandbox and not a name that a web page has rebound to it.

    localhost, any IP literal except the unspecified one, a name without a dot (a container's), or a listed name.
    """
    name = host.lower()
    if name.startswith("["):
        name, bracket, port = name[1:].partition("]")
        if ":" not in name or not bracket or (port and not port.startswith(":")):
            return False
        port = port[1:]
    else:
        name, _, port = name.partition(":")
    if (port and not port.isdecimal()) or not name or not name.isascii():
        return False
    try:
        address = ipaddress.ip_address(name)
        return not (getattr(address, "ipv4_mapped", None) or address).is_unspecified  # [::ffff:0.0.0.0] is 0.0.0.0
    except ValueError:
        pass
    if name in listed:
        return True
    if "." in name:
        return name == "localhost." or name.endswith(".localhost")
    return name.replace("-", "").replace("_", "").isalnum() and not name.isdecimal() and not name.startswith("0x")
