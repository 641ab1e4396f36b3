"""Connectivity checks of a `client_url`: url, dns, tcp, tls, http and json in turn, each with the fix in words.

The poster itself is used: the same addresses are refused, and it posts the sample reply. Nothing is recorded, and
unless a POST is asked for, nothing is sent beyond a TLS handshake.
"""

import asyncio
import errno
import ipaddress
import json
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.clock import Clock, stopwatch, to_iso
from sandbox.model import ANSWER_KEPT, Account, CallbackAuth, Msisdn, Outcome, OutcomeKind, Shortcode
from sandbox.settings import mask_url, visible
from sandbox.webhooks.diagnosis import Verdict, of_status
from sandbox.webhooks.lookup import Address
from sandbox.webhooks.poster import Poster, _parse, _refusal, _resolve, _Target
from sandbox.wire.credentials import callback_authorization
from sandbox.wire.payloads import two_way_sms
from sandbox.wire.problems import mask, quote

SAMPLE_TEXT = "Sample reply of the sandbox's webhook doctor. No handset sent it; it needs no answer."
SAMPLE_MSISDN = Msisdn("2348020000000")  # the documented example's [D]
SAMPLE_SESSION = "webhook-doctor"
PROBE_S = 1.0  # for a second look after a failure
CLOSING_S = 1.0  # how long the other side may take to say goodbye

_HOST_NAMES = ("host.docker.internal", "host.containers.internal")  # of Docker and of Podman
_LOOPBACKS = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
_CONTAINER_GROUPS = re.compile(r"docker|kubepods|containerd|libpod|lxc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: `ok` is None if it was not tried. `hint` says what to do; a check that is well may have one, too."""

    name: str
    ok: bool | None
    detail: str
    hint: str = ""
    duration_ms: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The checks in their order: url, dns, tcp, tls, http, json. `url` is masked."""

    url: str | None
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check has failed."""
        return all(check.ok is not False for check in self.checks)


@dataclass(slots=True)
class _Patient:
    """What is known so far."""

    url: str | None
    account: Account
    deadline_s: float
    post: bool
    own_addresses: Callable[[], Collection[tuple[str, int]]]
    contained: bool
    target: _Target | None = None
    addresses: Sequence[Address] = ()
    reached: Address | None = None
    outcome: Outcome | None = None


async def examine(
    url: str | None,
    *,
    account: Account,
    post: bool = False,
    deadline_s: float = 10.0,
    own_addresses: Callable[[], Collection[tuple[str, int]]] = tuple,
    in_container: bool | None = None,
) -> Report:
    """Check the account's `client_url`, or `url` in its place.

    With `post` a sample reply is posted to it, marked as such. Each step has `deadline_s`; `own_addresses` are as the
    poster's. `in_container` None looks whether the sandbox itself runs in a container.
    """
    contained = inside_container() if in_container is None else in_container
    it = _Patient(url, account, deadline_s, post, own_addresses, contained)
    checks: list[Check] = []
    failed = ""
    for name, step in _STEPS.items():
        if failed:
            checks.append(Check(name=name, ok=None, detail=f"Not tried, because {failed} failed."))
            continue
        begun = stopwatch()
        ok, detail, hint = await step(it)
        took_ms = round((stopwatch() - begun) * 1000, 3)
        checks.append(Check(name=name, ok=ok, detail=visible(detail), hint=visible(hint), duration_ms=took_ms))
        failed = name if ok is False else ""
    return Report(url=None if url is None else visible(mask_url(url)), checks=tuple(checks))


def inside_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container: Docker and Podman leave a file, others show in the control groups."""
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return True
    try:
        groups = (root / "proc/1/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return _CONTAINER_GROUPS.search(groups) is not None


# Before anything is sent --------------------------------------------------------------------------------------------


async def _url(it: _Patient) -> Verdict:
    if not it.url:
        return Verdict(
            False,
            f"The account {it.account.name} has no client_url, so that replies are posted nowhere.",
            "Set client_url to where your application takes them, for example http://127.0.0.1:8000/sms.",
        )
    target = _parse(it.url)
    if isinstance(target, str):
        return _refused(target)
    it.target = target
    if target.literal is not None:
        it.addresses = [target.literal]
        if reason := _refusal(target.literal, target, it.own_addresses()):
            return _refused(reason)
    named = bool(re.match(r"[^/?#]*//[^/?#]*@", it.url))
    hint = ""
    if named and it.account.callback_auth is not CallbackAuth.BASIC:
        hint = (
            f"User name and password in client_url are not sent: callback_auth is {it.account.callback_auth}. Set it "
            "to basic if the application asks for them."
        )
    elif not named and it.account.callback_auth is CallbackAuth.BASIC:
        hint = "callback_auth is basic, but client_url holds no user name and password. Write http://user:password@…"
    speaks = "HTTPS" if target.tls else "HTTP"
    return Verdict(True, f"{speaks} to {target.place}, path {quote(_path(target), 80)}.", hint)


def _path(target: _Target) -> str:
    """The path, without the query, which may hold a secret."""
    return target.path.partition("?")[0]


def _refused(reason: str) -> Verdict:
    """An error of the poster's, taken apart into what is wrong and what to do."""
    detail, _, hint = reason.partition(". ")
    return Verdict(False, f"{detail.rstrip('.')}.", hint)


async def _dns(it: _Patient) -> Verdict:
    target = _of(it)
    if target.literal is not None:
        return Verdict(True, f"{target.host} is an address; there is nothing to look up.")
    try:
        async with asyncio.timeout(it.deadline_s):
            it.addresses = await _resolve(target)
    except TimeoutError:
        return Verdict(
            False,
            f"The address of {target.host} could not be looked up within {it.deadline_s:g} s.",
            "Look after the name server of this machine, or write an address instead of the name.",
        )
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            return Verdict(
                False,
                f"No name server could be asked for {target.host}.",
                _unknown_name(it, target.host) + " If the name is right, look after this machine's network.",
            )
        return Verdict(False, f"The name {target.host} has no address.", _unknown_name(it, target.host))
    for address in it.addresses:
        if reason := _refusal(address, target, it.own_addresses()):
            return _refused(reason)
    return Verdict(True, f"{target.host} is {' and '.join(map(str, it.addresses))}.")


def _unknown_name(it: _Patient, host: str) -> str:
    if host in _HOST_NAMES and it.contained:
        return (
            f"On Linux the name {host} is there only if the sandbox's container was started with "
            f"--add-host={host}:host-gateway (Compose: extra_hosts)."
        )
    if host in _HOST_NAMES:
        return "That name exists inside a container only, and the sandbox runs outside of one. Write 127.0.0.1."
    if "." not in host and it.contained:
        return (
            f"If {host} is a service of Docker Compose, start the sandbox in the same Compose network, and write the "
            "name as the file has it."
        )
    if "." not in host:
        return (
            f"If {host} is a service of Docker Compose, its name is known inside containers only. Publish the "
            "application's port and write 127.0.0.1, or run the sandbox in the same Compose network."
        )
    return "Correct the name in client_url."


async def _tcp(it: _Patient) -> Verdict:
    target = _of(it)
    failures: list[tuple[str, OSError]] = []
    for address in it.addresses:
        place = _place(address, target.port)
        try:
            await _touch(address, target.port, it.deadline_s / len(it.addresses))
        except OSError as error:  # a time-out is one too
            failures.append((place, error))
            continue
        it.reached = address
        others = "".join(f" {other} does not: {_words(error)}." for other, error in failures)
        hint = f"All is well; with {place} in client_url no attempt is lost on the others." if others else ""
        return Verdict(True, f"{place} takes connections.{others}", hint)
    detail = " ".join(f"{place}: {_words(error)}." for place, error in failures)
    return Verdict(False, detail, await _unreachable(it, target, [error for _, error in failures]))


def _place(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, so nothing listens there"
    return os.strerror(error.errno) if error.errno else "no connection"


async def _touch(address: Address, port: int, deadline_s: float) -> None:
    """Connect and close again. Raises OSError."""
    async with asyncio.timeout(deadline_s):
        _, writer = await asyncio.open_connection(str(address), port)
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close in good order, so that no application's log fills with resets; and at once if the other side does not."""
    writer.close()
    with suppress(OSError):  # a time-out and what TLS complains about are such too
        async with asyncio.timeout(CLOSING_S):
            await writer.wait_closed()
    writer.transport.abort()


async def _unreachable(it: _Patient, target: _Target, errors: Sequence[OSError]) -> str:
    """What to do about a host that takes no connection."""
    scheme = "https" if target.tls else "http"
    if all(address.is_loopback for address in it.addresses):
        for other in _LOOPBACKS:  # `localhost` is the one to some programs, and the other to others
            if all(address.version != other.version for address in it.addresses):
                with suppress(OSError):
                    await _touch(other, target.port, min(PROBE_S, it.deadline_s))
                    place = _place(other, target.port)
                    return (
                        f"The application listens on {place}, and client_url names the other address of this machine. "
                        f"Write {scheme}://{place}{_path(target)}, or let the application listen on both."
                    )
        if it.contained:
            return (
                f"The sandbox runs inside a container, where {target.host} is the container itself and not your "
                f"machine. Write {scheme}://{_HOST_NAMES[0]}:{target.port}{_path(target)} (Podman: {_HOST_NAMES[1]}). "
                f"On Linux also start the container with --add-host={_HOST_NAMES[0]}:host-gateway (Compose: "
                "extra_hosts), and let the application listen on 0.0.0.0."
            )
        return (
            f"Is the application running, and on port {target.port}? Start it, or write the port into client_url that "
            "it names when it starts."
        )
    if all(isinstance(error, ConnectionRefusedError) for error in errors):
        return (
            f"Is the application running there, and on port {target.port}? If it listens on 127.0.0.1, only its own "
            "machine reaches it: let it listen on 0.0.0.0."
        )
    if any(error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) for error in errors):
        return "There is no way to that address from here. Correct client_url, or look after the network."
    return "Correct client_url, or look for a firewall in between that drops the connection."


async def _tls(it: _Patient) -> Verdict:
    target = _of(it)
    if not target.tls:
        return Verdict(None, "Not needed: client_url begins with http://.")
    context = await asyncio.to_thread(ssl.create_default_context)  # reads certificates for 40 ms
    try:
        spoken, until = await _handshake(it, target, context, it.deadline_s)
    except ssl.SSLCertVerificationError as error:
        return _distrusted(target, error)
    except TimeoutError:
        return Verdict(
            False,
            f"{target.place} did not take part in a TLS handshake within {it.deadline_s:g} s.",
            f"If it speaks plain HTTP, write http:// in client_url. {_PLAIN_PORT}",
        )
    except OSError as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else None
        if reason in _NO_TLS:
            return Verdict(
                False,
                f"{target.place} answered the TLS handshake with something else; it most likely speaks plain HTTP.",
                f"Write http:// in client_url. {_PLAIN_PORT}",
            )
        why = f" ({reason.replace('_', ' ').lower()})" if reason else ""
        return Verdict(
            False,
            f"{target.place} broke off the TLS handshake{why}.",
            "If it speaks plain HTTP, write http:// in client_url; else let it offer TLS 1.2 or 1.3.",
        )
    return Verdict(True, f"{spoken}, with a certificate for {target.host} that is trusted and valid until {until}.")


_PLAIN_PORT = "If there is TLS on another port, name that one."
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


async def _handshake(it: _Patient, target: _Target, context: ssl.SSLContext, deadline_s: float) -> tuple[str, str]:
    """Shake hands at the address that took the connection, and close. Gives protocol and end of validity."""
    async with asyncio.timeout(deadline_s):
        _, writer = await asyncio.open_connection(
            str(it.reached),
            target.port,
            ssl=context,
            server_hostname=target.host.removesuffix("."),
            ssl_shutdown_timeout=CLOSING_S,
        )
    secured = writer.get_extra_info("ssl_object")
    certificate = writer.get_extra_info("peercert") or {}
    await _close(writer)
    return secured.version() or "TLS", str(certificate.get("notAfter", "an unknown day"))


def _distrusted(target: _Target, error: ssl.SSLCertVerificationError) -> Verdict:
    """The numbers are OpenSSL's (x509_vfy.h)."""
    trust = (
        "Put its issuer's certificate into the file that SSL_CERT_FILE names when the sandbox is started, or use "
        "http:// on this machine."
    )
    match error.verify_code:
        case 10:
            said, hint = "has expired", "Renew it, or use http:// on this machine."
        case 9:
            said, hint = "is not valid yet", "Look at the clocks of both machines."
        case 62 | 64:
            said = f"is not for {target.host}"
            hint = "Write a name in client_url that the certificate was issued for, or issue one for this name."
        case 18 | 19:
            said, hint = "is signed by itself, and nobody here trusts it", trust
        case 2 | 20 | 21:
            said = "comes from an issuer that is not trusted here, or a certificate between them was not sent along"
            hint = f"Let the application send the whole chain. {trust}"
        case _:
            said, hint = f"is not accepted: {error.verify_message.rstrip('.')}", trust
    return Verdict(False, f"The certificate of {target.place} {said}.", hint)


# The sample ---------------------------------------------------------------------------------------------------------


def sample(account: Account, sent_date: str) -> bytes:
    """A reply that no handset sent, and that says so."""
    return two_way_sms(
        telco="mtn",
        msisdn=SAMPLE_MSISDN,
        shortcode=account.shortcodes[0] if account.shortcodes else Shortcode("48974"),
        text=SAMPLE_TEXT,
        session_id=SAMPLE_SESSION,
        sent_date=sent_date,
        ref_id=SAMPLE_SESSION,
        revision=account.revision,
        form=account.msisdn_format,
        turn=0,
    )


async def _http(it: _Patient) -> Verdict:
    target = _of(it)
    if not it.post:
        sent = "TLS handshake" if target.tls else "connection"
        return Verdict(
            None,
            f"Nothing was posted, because nobody asked for it; beyond the {sent} nothing was sent.",
            "Ask for a POST, and the application gets a sample reply, marked as one.",
        )
    assert it.url is not None
    authorization = callback_authorization(replace(it.account, client_url=it.url))
    poster = Poster(deadline_s=it.deadline_s, own_addresses=it.own_addresses)
    try:
        outcome = await poster.post(it.url, sample(it.account, to_iso(Clock.system().now_ms())), authorization)
    finally:
        await poster.close()
    it.outcome = outcome
    match outcome.kind:
        case OutcomeKind.ANSWERED:
            return of_status(outcome, path=_path(target), host=target.host, credentials=_credentials(it.account))
        case OutcomeKind.TIMED_OUT:
            detail, _, hint = outcome.error.partition(". ")
            return Verdict(
                False,
                f"{detail}.",
                f"{hint} A server with one thread cannot answer while it waits for its own call to the gateway.",
            )
        case OutcomeKind.BROKEN:
            found = _refused(outcome.error)
            if not target.tls and "without an answer" in found.detail and await _speaks_tls(it, target):
                return found._replace(hint="It speaks TLS: write https:// in client_url.")
            return found if found.hint else found._replace(hint="Look into the application's log: it may have crashed.")
        case _:
            return _refused(outcome.error)


async def _speaks_tls(it: _Patient, target: _Target) -> bool:
    """Whether the other side would shake hands, whoever it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        await _handshake(it, target, context, min(PROBE_S, it.deadline_s))
    except OSError:
        return False
    return True


def _credentials(account: Account) -> str:
    """What the application gets to see, as part of a sentence."""
    match account.callback_auth:
        case CallbackAuth.BEARER:
            return f"Authorization: Bearer with the account's token ({mask(account.token)})"
        case CallbackAuth.BASIC:
            return "Authorization: Basic with the user name and password of client_url"
        case CallbackAuth.NONE:
            return "no Authorization"


async def _json(it: _Patient) -> Verdict:
    if it.outcome is None:
        return Verdict(None, "Not tried, because nothing was posted.")
    body = it.outcome.body
    content_type = next((value for name, value in it.outcome.headers if name.lower() == "content-type"), "")
    wanted = 'Answer with JSON, for example {"status": "ok"}, and Content-Type: application/json.'
    if len(body) >= ANSWER_KEPT:
        return Verdict(None, f"The answer is longer than {ANSWER_KEPT // 1024} KiB, of which no more was read.", wanted)
    if not body:
        return Verdict(False, "The answer's body is empty; 9bits asks for JSON.", wanted)
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        shown = quote(body[:200].decode("utf-8", "replace"), 60)
        kind = "HTML" if re.match(rb"\s*<(!doctype|html|head|body|h1)", body, re.IGNORECASE) else "no JSON"
        page = " A page for people is no answer: return JSON from the route of the webhook." if kind == "HTML" else ""
        return Verdict(False, f"The answer is {kind}: {shown}.", wanted + page)
    if "json" not in content_type.lower():
        said = f"its Content-Type is {quote(content_type)}" if content_type else "it has no Content-Type"
        return Verdict(True, f"The answer is JSON, though {said}.", "Set Content-Type: application/json.")
    return Verdict(True, "The answer is JSON.")


def _of(it: _Patient) -> _Target:
    assert it.target is not None  # the first step has failed otherwise
    return it.target


_STEPS: dict[str, Callable[[_Patient], Awaitable[Verdict]]] = {
    "url": _url,
    "dns": _dns,
    "tcp": _tcp,
    "tls": _tls,
    "http": _http,
    "json": _json,
}
