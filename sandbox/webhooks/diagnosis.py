"""Diagnosis of an application by its answer to a sample reply: a pure function of status, headers and body.

Frameworks are recognised by the words of their error pages. See doctor.py for how the answer is fetched.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from sandbox.model import Outcome
from sandbox.settings import mask_url
from sandbox.wire.problems import quote

_MARKUP = re.compile(r"<(style|script|title)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


class Verdict(NamedTuple):
    """The result of one check: whether all is well (None: not tried), what was found, and what to do."""

    ok: bool | None
    detail: str
    hint: str = ""


def of_status(outcome: Outcome, *, path: str, host: str, credentials: str) -> Verdict:
    """Verdict on a complete answer to a POST to `path` on `host`; `credentials` says in words what was sent along."""
    status = outcome.status_code or 0
    if 200 <= status < 300:
        return Verdict(True, f"The application answered {status} in {outcome.duration_ms:.0f} ms.")
    detail = f"The application answered {status}{_said(outcome)}; 2xx was wanted."
    if 300 <= status < 400:
        return Verdict(False, detail, _redirect(outcome, path))
    if hint := _csrf(outcome) or _wrong_host(outcome, host):
        return Verdict(False, detail, hint)
    return Verdict(False, detail, _ordinary(outcome, path, credentials))


def _ordinary(outcome: Outcome, path: str, credentials: str) -> str:
    status = outcome.status_code or 0
    match status:
        case 401 | 403:
            asked = _header(outcome, "www-authenticate")
            wanted = f" It asks for {quote(asked, 80)}." if asked else ""
            return (
                f"The application does not let the webhook in, which carries {credentials}, as 9bits's would.{wanted} "
                "Compare that with what the application checks, or set callback_auth to what it wants."
            )
        case 404 | 410:
            if path == "/":
                return "client_url has no path. Write the route's that takes replies, for example /sms."
            return (
                f"There is no route {quote(path, 80)}. Compare it with the application's routes: prefix, spelling, and "
                "the slash at the end."
            )
        case 405:
            allowed = _header(outcome, "allow")
            takes = f", which takes {quote(allowed, 60)}" if allowed else ""
            return f"The route is there{takes}, but not for POST. Declare it for POST."
        case 411 | 413 | 414 | 431:
            return "A server in front of the application refuses the request. Raise its limits; a reply is below 1 KiB."
        case 415:
            return "The route expects another content type. 9bits sends application/json: read the body as JSON."
        case 400 | 422:
            return (
                "The application did not accept the body. Read it as JSON with the keys type, telco, from, to, "
                "message, session_id and sent_date, and take keys that you do not know without error."
            )
        case 429:
            return "The application, or what is in front of it, limits requests. Take 9bits's webhooks out of that."
        case 502 | 503 | 504:
            return (
                "A proxy or tunnel answers for the application. Is the application behind it running, and on the port "
                "that the proxy forwards to?"
            )
        case _ if status >= 500:
            return "The application failed. Its log has the error; the sample is a reply like any other."
        case _:
            return "Answer 200 to a reply that was taken."


def _redirect(outcome: Outcome, path: str) -> str:
    location = _header(outcome, "location")
    if not location:
        return "A redirect is not followed, and this one says not even where to. Answer 200."
    try:
        to = urlsplit(location)
        there, scheme = to.path, to.scheme
    except ValueError:
        there, scheme = "", ""
    shown = quote(mask_url(location), 120)
    if there == f"{path}/" or f"{there}/" == path:
        return f"A redirect is not followed. It only moves the slash at the end: write {shown} into client_url."
    if scheme == "https" and there in (path, path or "/"):
        return f"A redirect is not followed. The application wants TLS: write {shown} into client_url."
    if re.search(r"log-?in|sign-?in|auth|accounts", there, re.IGNORECASE):
        return f"The application sends the webhook to its login, {shown}. Leave the route of the webhook out of that."
    return f"A redirect is not followed. Write the place that it leads to, {shown}, into client_url, or answer 200."


def _csrf(outcome: Outcome) -> str:
    """The framework's protection of forms, which every webhook breaks that it is not told of."""
    status, body = outcome.status_code, outcome.body.decode("utf-8", "replace")
    cookies = " ".join(value.partition("=")[0].lower() for value in _headers(outcome, "set-cookie"))
    token = "csrf" in body.lower() or "csrf" in cookies or "xsrf" in cookies
    said = "This is the protection of forms against forged requests (CSRF), which a webhook cannot pass. "
    if status == 419 or ("laravel_session" in cookies and token):
        return said + (
            "Laravel: put the route into validateCsrfTokens(except: […]) in bootstrap/app.php (before 11: "
            "VerifyCsrfToken::$except), or into routes/api.php."
        )
    if status == 422 and ("InvalidAuthenticityToken" in body or "The change you wanted was rejected" in body):
        return said + "Rails: skip_before_action :verify_authenticity_token in that controller."
    if status == 403 and ("CSRF verification failed" in body or "csrftoken" in cookies):
        return said + "Django: put @csrf_exempt (django.views.decorators.csrf) on the view."
    if status == 400 and re.search(r"CSRF (session )?tokens? (is|are|do|has)", body):
        return said + "Flask-WTF: exempt the view with csrf.exempt(view), or @csrf.exempt."
    if status in (400, 403, 422) and token:
        return said + "Exempt the route of the webhook (Django: @csrf_exempt, Flask-WTF: csrf.exempt)."
    return ""


def _wrong_host(outcome: Outcome, host: str) -> str:
    """A development server that answers under known names only."""
    body = outcome.body.decode("utf-8", "replace")
    if outcome.status_code == 400 and re.search(r"DisallowedHost|Invalid HTTP_HOST", body):
        return f'Django does not know itself by that name: add "{host}" to ALLOWED_HOSTS.'
    if outcome.status_code == 403 and re.search(r"Blocked hosts?", body):
        return f'Rails does not know itself by that name: add "{host}" to config.hosts.'
    if outcome.status_code in (400, 403) and re.search(r"Invalid host header|host is not allowed", body, re.IGNORECASE):
        return f'The server does not know itself by that name: add "{host}" to the hosts that it allows.'
    return ""


def _said(outcome: Outcome) -> str:
    """The beginning of the answer's body, without its markup."""
    text = _MARKUP.sub(" ", outcome.body[:4096].decode("utf-8", "replace"))
    words = " ".join(text.split())
    return f" and said {quote(words, 80)}" if words else ""


def _header(outcome: Outcome, name: str) -> str:
    return next(iter(_headers(outcome, name)), "")


def _headers(outcome: Outcome, name: str) -> Sequence[str]:
    return [value for each, value in outcome.headers if each.lower() == name]
