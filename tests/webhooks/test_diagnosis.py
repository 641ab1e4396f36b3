"""What answers to the doctor's sample are understood to mean, framework by framework."""

import pytest

from sandbox.model import Outcome, OutcomeKind
from sandbox.webhooks.diagnosis import Verdict, of_status


def answer(status: int, body: bytes = b"", *headers: str) -> Outcome:
    """An answer with headers, each "Name: value"."""
    pairs = [header.partition(": ") for header in headers]
    return Outcome(
        kind=OutcomeKind.ANSWERED,
        duration_ms=12.3,
        status_code=status,
        headers=tuple((name, value) for name, _, value in pairs),
        body=body,
    )


def read(outcome: Outcome) -> Verdict:
    credentials = "Authorization: Bearer with the account's token (sand…)"
    return of_status(outcome, path="/sms", host="127.0.0.1", credentials=credentials)


DJANGO = b"<title>403 Forbidden</title><h1>Forbidden <span>(403)</span></h1><p>CSRF verification failed. Request abort"


@pytest.mark.parametrize(
    ("reply", "hint"),
    [
        (answer(301, b"", "Location: /sms/"), 'only moves the slash at the end: write "/sms/" into client_url.'),
        (answer(308, b"", "Location: http://127.0.0.1:8000/sms/"), '"http://127.0.0.1:8000/sms/"'),
        (answer(301, b"", "Location: https://example.com/sms"), "The application wants TLS"),
        (answer(302, b"", "Location: /accounts/login/?next=/sms"), "sends the webhook to its login"),
        (answer(303, b"", "Location: /thanks"), 'it leads to, "/thanks"'),
        (answer(302), "says not even where to"),
        (answer(302, b"", "Location: http://[::1/"), "A redirect is not followed."),
        (answer(403, DJANGO), "Django: put @csrf_exempt"),
        (answer(403, b"", "Set-Cookie: csrftoken=abc; Path=/"), "Django: put @csrf_exempt"),
        (answer(400, b"<h1>Bad Request</h1><p>The CSRF token is missing.</p>"), "Flask-WTF: exempt the view with"),
        (answer(400, b"The CSRF session token is missing."), "Flask-WTF"),
        (answer(419, b"<title>Page Expired</title>", "Set-Cookie: XSRF-TOKEN=abc"), "Laravel: put the route into"),
        (answer(422, b"ActionController::InvalidAuthenticityToken"), "Rails: skip_before_action"),
        (answer(403, b'{"message": "invalid csrf token"}'), "Exempt the route of the webhook"),
        (answer(403, b"no"), "carries Authorization: Bearer with the account's token (sand…)"),
        (answer(401, b"", 'WWW-Authenticate: Basic realm="x"'), "It asks for"),
        (answer(404, b"Not Found"), 'There is no route "/sms".'),
        (answer(405, b"", "Allow: GET, HEAD"), 'takes "GET, HEAD", but not for POST'),
        (answer(405), "The route is there, but not for POST."),
        (answer(415), "read the body as JSON"),
        (answer(422, b'{"detail": [{"loc": ["body", "text"], "msg": "Field required"}]}'), "with the keys type, telco"),
        (answer(400, b"DisallowedHost at /sms: Invalid HTTP_HOST header"), 'add "127.0.0.1" to ALLOWED_HOSTS'),
        (answer(403, b"<h1>Blocked hosts: app</h1>"), 'add "127.0.0.1" to config.hosts'),
        (answer(403, b"Blocked request. This host is not allowed."), 'add "127.0.0.1" to the hosts'),
        (answer(400, b"Invalid host header"), 'add "127.0.0.1" to the hosts'),
        (answer(413), "Raise its limits"),
        (answer(429), "limits requests"),
        (answer(500, b"<h1>KeyError</h1>"), "Its log has the error"),
        (answer(502, b"Bad Gateway"), "A proxy or tunnel answers for the application."),
        (answer(418), "Answer 200"),
    ],
)  # fmt: skip
def test_an_answer_other_than_2xx_is_explained(reply: Outcome, hint: str) -> None:
    found = read(reply)
    assert found.ok is False
    assert found.detail.startswith(f"The application answered {reply.status_code}")
    assert hint in found.hint
    assert (found.detail + found.hint).isprintable()


@pytest.mark.parametrize(
    ("status", "body", "not_to_say"),
    [
        (403, b"Wrong token.", "csrf"),
        (404, b"CSRF verification failed", "csrf"),
        (500, b"Invalid host header in a traceback", "hosts that it allows"),
    ],
)
def test_a_word_alone_does_not_mislead(status: int, body: bytes, not_to_say: str) -> None:
    assert not_to_say not in read(answer(status, body)).hint.lower()


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_well(status: int) -> None:
    assert read(answer(status)) == (True, f"The application answered {status} in 12 ms.", "")


@pytest.mark.parametrize(
    "body",
    [b"\x1b[2J\xe2\x80\xae", b"\xff\xfe\0", b"<style>" * 2000, b"<" * 16_384, b"x" * 16_384],
)
@pytest.mark.parametrize("status", [302, 400, 403, 500])
def test_hostile_words_of_an_answer_are_short_and_harmless(status: int, body: bytes) -> None:
    location = body[:8000].decode("latin-1")
    found = read(answer(status, body, f"Location: {location}", f"Allow: {location}", f"WWW-Authenticate: {location}"))
    assert (found.detail + found.hint).isprintable()
    assert len(found.detail + found.hint) < 800
