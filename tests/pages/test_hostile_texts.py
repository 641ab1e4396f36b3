"""Every hostile text in every field that takes one from outside: each page shows it literally, and as nothing else.

A page about a hostile text is held against the same page about its harmless twin: it has the same elements with the
same attributes. What a real browser makes of it is tested in tests/browser/test_hostile_texts.py.
"""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import requests

from sandbox.model import EventType
from tests.conftest import EXAMPLE, Bench, Receiver, Running
from tests.hostile_texts import CORPUS, Reading, is_sendable, shown, twin

pytestmark = pytest.mark.proof("T12")

NUMBERS = [f"234802000000{digit}" for digit in range(10)]
CONTROL_TOKEN = "a-control-token-of-a-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A page, and what has to be on it. `alike`: the page about the twin has the same elements."""

    page: str
    wanted: tuple[str, ...] = ()
    alike: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Somebody who puts texts wherever they fit, by one connection that stays open."""

    bench: Bench
    receiver: Receiver
    http: requests.Session

    def ask(self, method: str, path: str, *, about: str = "", **more: Any) -> requests.Response:
        parts = {} if about == "nobody" else {"account": self.bench.account}
        query = urlencode({**parts, **more.pop("query", {})}, errors="surrogatepass")
        answer = self.http.request(
            method, f"{self.bench.sandbox.url}{path}?{query}", allow_redirects=False, timeout=10, **more
        )
        assert answer.status_code < 500, answer.text
        assert "set-cookie" not in answer.headers
        assert "evil.example" not in answer.headers.get("location", "")
        return answer

    def get(self, path: str, **query: str) -> str:
        return self.ask("GET", path, query=query).text

    def form(self, path: str, **typed: str) -> requests.Response:
        return self.ask(
            "POST",
            path,
            data=urlencode(typed, errors="surrogatepass"),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

    def call(self, method: str, path: str, body: object) -> requests.Response:
        return self.ask(method, f"/_sandbox/v1{path}", data=raw(body), headers={"Content-Type": "application/json"})

    def submit(self, fields: Mapping[str, str], **headers: str) -> str:
        """Returns the identifier of the call's record, whether it was accepted or refused."""
        answer = self.http.post(
            f"{self.bench.sandbox.url}/ng/v1/sendsms",
            data=raw(fields),
            headers={
                "Authorization": f"Bearer {self.bench.token}",
                "Content-Type": "application/json",
                **{name: value.encode() for name, value in headers.items()},
            },
            timeout=10,
        )
        assert answer.status_code in (200, 400, 503), answer.text
        found: str = self.ask("GET", "/_sandbox/v1/requests", query={"limit": "1"}).json()["requests"][0]["id"]
        return found


def raw(value: object) -> bytes:
    """JSON as it travels: with the characters themselves, unless they are none that could travel."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def typed(text: str) -> str:
    """What a form makes of a text."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# Surfaces: each puts a text into one field from outside, and says what is to be seen where -------------------------


def message(site: Site, text: str) -> Iterator[Seen]:
    fields = {**EXAMPLE, "to": NUMBERS[0], "message": text, "session_id": text[:255], "ref_id": text[:255]}
    record = site.submit({**fields, text[:60]: text})
    chat, accepted = f"/c/48974/{NUMBERS[0]}", is_sendable(text)
    yield Seen(page=site.get(chat), wanted=(shown(text),) if accepted else ())
    yield Seen(page=site.get(f"/requests/{record}"), wanted=(shown(raw(fields).decode()[1:-1]),))
    yield Seen(page=site.get("/requests"), wanted=(shown(text[:160]),) if accepted else ())
    yield Seen(page=site.get("/"), wanted=(shown(text[:160]),) if accepted else ())
    yield Seen(page=site.get(f"/present/48974/{NUMBERS[0]}"), wanted=(shown(text),) if accepted else ())
    for form in ("scenario", "pytest", "text"):
        yield Seen(page=site.get(f"{chat}/as/{form}"))


def refused_numbers(site: Site, text: str) -> Iterator[Seen]:
    fields = {**EXAMPLE, "from": text, "to": text, "sent_date": text}
    record = site.submit(fields)
    yield Seen(page=site.get(f"/requests/{record}"), wanted=(shown(raw(fields).decode()),))
    yield Seen(page=site.get("/requests", verdict="refused"))


def request_header(site: Site, text: str) -> Iterator[Seen]:
    value = "".join(each for each in text if each >= " " and not "\x7f" <= each <= "\x9f").strip(" \t")
    value = value.encode(errors="replace").decode()  # what HTTP can carry
    record = site.submit({**EXAMPLE, "to": NUMBERS[1]}, **{"User-Agent": value, "X-Hostile": f"a{value}"})
    yield Seen(page=site.get(f"/requests/{record}"), wanted=(f"a{shown(value)}",))
    yield Seen(page=site.get(f"/c/48974/{NUMBERS[1]}"), wanted=(f"a{shown(value)}",))


def label(site: Site, text: str) -> Iterator[Seen]:
    chat, cut = f"/c/48974/{NUMBERS[2]}", text[:80]
    site.submit({**EXAMPLE, "to": NUMBERS[2]})
    answer = site.form(f"{chat}/handset", label=cut)
    kept = (shown(typed(cut).strip()),) if answer.status_code == 303 else ()
    yield Seen(page=answer.text, wanted=() if kept or not is_sendable(cut) else (typed(cut),))
    for path in (chat, "/", f"/present/48974/{NUMBERS[2]}"):
        yield Seen(page=site.get(path), wanted=kept)


def new_handset(site: Site, text: str) -> Iterator[Seen]:
    answer = site.form("/", number=text, label=text, shortcode=text, text=text)
    assert answer.status_code == 400
    yield Seen(page=answer.text, wanted=(typed(text),) * 4 if _travels(text) else ())


def reply(site: Site, text: str) -> Iterator[Seen]:
    chat = f"/c/48974/{NUMBERS[3]}"
    site.submit({**EXAMPLE, "to": NUMBERS[3]})
    answer = site.form(chat, text=text)
    if is_sendable(text):
        assert answer.status_code == 303
        done = {"direction": "mo", "from": NUMBERS[3], "state": "delivered", "timeout": "10"}
        assert site.ask("GET", "/_sandbox/v1/messages/wait", query=done).json()["satisfied"]
        yield Seen(page=site.get(chat), wanted=(shown(typed(text)),))
        yield Seen(page=site.get("/webhooks"), wanted=(shown(typed(text)[:160]),))
        yield Seen(page=site.get(f"/webhooks/{_latest(site)}"))
    else:
        assert answer.status_code == 400
        yield Seen(page=answer.text, wanted=(typed(text),) if _travels(text) else ())


def reply_of_a_handset_that_is_off(site: Site, text: str) -> Iterator[Seen]:
    chat = f"/c/48974/{NUMBERS[4]}"
    site.submit({**EXAMPLE, "to": NUMBERS[4]})
    site.form(f"{chat}/handset", state="off")
    for path in (chat, f"/present/48974/{NUMBERS[4]}"):
        answer = site.form(path, text=text)
        assert answer.status_code in (400, 409)
        yield Seen(page=answer.text, wanted=(typed(text),) if _travels(text) else ())


def answer_of_the_application(site: Site, text: str) -> Iterator[Seen]:
    answered = text.encode(errors="surrogatepass")
    site.receiver.answer_with(500, answered)
    sent = site.call("POST", f"/handsets/{NUMBERS[5]}/send", {"text": "hello", "to": "48974"})
    site.receiver.answer_with(200)
    assert sent.status_code == 201
    wanted = shown(answered.decode(errors="replace"))
    yield Seen(page=site.get(f"/webhooks/{_latest(site)}"), wanted=(wanted,))
    yield Seen(page=site.get(f"/c/48974/{NUMBERS[5]}"), wanted=(wanted[:100],))


def scenario(site: Site, text: str) -> Iterator[Seen]:
    said = _yaml(text[:200])
    source = (
        f"scenario: evil\ndescription: {said}\nsteps:\n- expect: {{text: {said}}}\n- reply: {{text: {said}, after: 1s}}"
    )
    answer = site.form("/scenarios/_edit", source=source)
    if answer.status_code == 400:  # what YAML forbids, the error shows
        yield Seen(page=answer.text, wanted=(source,), alike=False)
        return
    site.form("/scenarios/evil/runs", msisdn=NUMBERS[6])
    site.submit({**EXAMPLE, "to": NUMBERS[6]})
    words = shown(text[:200])
    yield Seen(page=site.get("/scenarios"), wanted=(words,))
    yield Seen(page=site.get("/scenarios/evil"), wanted=(words, said), alike=False)  # a miss depends on the text
    yield Seen(page=site.get("/scenarios/_edit", name="evil"), wanted=(source,))
    yield Seen(page=site.get(f"/present/48974/{NUMBERS[6]}"), wanted=(words,))


def source_that_makes_no_sense(site: Site, text: str) -> Iterator[Seen]:
    answer = site.form("/scenarios/_edit", source=text, was=text)
    wanted = (typed(text),) if _travels(text) else ()
    yield Seen(page=answer.text, wanted=wanted, alike=False)  # errors depend on the text


def fault(site: Site, text: str) -> Iterator[Seen]:
    cut = text[:200]
    effect = {"status": 503, "body": cut}
    site.call("POST", "/faults", {"on": "sendsms", "effect": effect, "match": {"to": NUMBERS[7]}})
    record = site.submit({**EXAMPLE, "to": NUMBERS[7]})
    accepted = is_sendable(cut)
    yield Seen(page=site.get(f"/requests/{record}"), wanted=(shown(cut),) if accepted else ())
    made = site.call("POST", "/faults", {"on": "sendsms", "effect": {"status": 503}, "match": {"session_id": cut}})
    is_glob = made.status_code == 201
    yield Seen(page=site.get("/settings"), wanted=(shown(cut),) if is_glob else (), alike=is_glob)


def search(site: Site, text: str) -> Iterator[Seen]:
    cut = text[:200]
    page = site.get("/", q=cut)
    yield Seen(page=page, wanted=(cut, shown(cut)) if is_sendable(cut) else ())
    for path, name in (("/requests", "verdict"), ("/requests", "before"), ("/scenarios", cut)):
        yield Seen(page=site.get(path, **{name: cut}))


def form_of_the_settings(site: Site, text: str) -> Iterator[Seen]:
    wanted = (typed(text),) if _travels(text) else ()
    for path, names in {
        "/settings/client-url": ("client_url",),
        "/settings/accounts": ("new_name", "new_token", "new_client_url", "new_shortcodes"),
        "/settings/clock": ("seconds",),
        "/settings/faults": ("status", "times", "handset"),
        "/doctor": ("url",),
    }.items():
        answer = site.form(path, **dict.fromkeys(names, text))
        is_kept = path in ("/settings/clock", "/settings/faults", "/settings/accounts")
        # A text without blanks is a token like any other; all else is wrong with all of them.
        yield Seen(page=answer.text, wanted=wanted if is_kept else (), alike=path != "/settings/accounts")
    yield Seen(page=site.form("/settings/reset", scope=text).text)


def client_url(site: Site, text: str) -> Iterator[Seen]:
    """In the place of an address where anything may stand."""
    before = site.receiver.url
    url = f"http://127.0.0.1:9/{quote(text[:100], safe='', errors='surrogatepass')}"
    assert site.form("/settings/client-url", client_url=url).status_code == 303
    try:
        site.call("POST", f"/handsets/{NUMBERS[8]}/send", {"text": "hello", "to": "48974", "wait": False})
        for path in ("/", "/settings", f"/webhooks/{_latest(site)}", f"/c/48974/{NUMBERS[8]}"):
            yield Seen(page=site.get(path), alike=False)  # an attempt may have been made by then, or not
    finally:
        assert site.form("/settings/client-url", client_url=before).status_code == 303


def path(site: Site, text: str) -> Iterator[Seen]:
    segment = quote(text[:200], safe="", errors="surrogatepass")
    for place in ("", "c/48974/", "requests/", "scenarios/", "static/", "present/48974/"):
        # One that has slashes may be another route's, or lead to the same without the last one.
        yield Seen(page=site.get(f"/{place}x{segment}"), alike="/" not in text)
    yield Seen(page=site.ask("GET", "/", about="nobody", query={"account": text[:200]}).text)


def _latest(site: Site) -> str:
    found: str = site.ask("GET", "/_sandbox/v1/webhook-deliveries").json()["webhook_deliveries"][0]["id"]
    return found


def _travels(text: str) -> bool:
    """Whether a form can carry it; a browser would send something else for half of a pair."""
    return is_sendable(text.replace("\0", ""))


def _yaml(text: str) -> str:
    """A text in double quotes, in letters that every file may hold."""
    return '"' + "".join(each if each.isalnum() and each.isascii() else f"\\U{ord(each):08x}" for each in text) + '"'


SURFACES: Mapping[str, Callable[[Site, str], Iterator[Seen]]] = {
    each.__name__: each
    for each in (
        search,  # while there is nothing yet that could be found
        message,
        refused_numbers,
        request_header,
        label,
        new_handset,
        reply,
        reply_of_a_handset_that_is_off,
        answer_of_the_application,
        scenario,
        source_that_makes_no_sense,
        fault,
        form_of_the_settings,
        client_url,
        path,
    )
}


@pytest.fixture(scope="module")
def application() -> Iterator[Receiver]:
    it = Receiver()
    yield it
    it.close()


@contextmanager
def site(running: Running, name: str, application: Receiver) -> Iterator[Site]:
    body = {"name": name, "token": f"token-of-{name}", "client_url": application.url}
    assert running.request("POST", "/_sandbox/v1/accounts", json=body).status_code == 201
    bench = Bench(sandbox=running, account=name, token=body["token"])
    with requests.Session() as session:
        session.trust_env = False
        yield Site(bench=bench, receiver=application, http=session)
    running.request("DELETE", f"/_sandbox/v1/accounts/{name}")


Couple = tuple[str, Site, Site]


Serving = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(scope="module")
def sandboxes(serving: Serving) -> Iterator[tuple[Running, Running]]:
    """Two, because their clocks and what is due are shared by all accounts, and shown to all."""
    with serving() as one, serving() as other:
        yield one, other


@pytest.fixture(scope="module", params=CORPUS, ids=lambda name: name.replace(" ", "-"))
def couple(
    request: pytest.FixtureRequest, sandboxes: tuple[Running, Running], application: Receiver
) -> Iterator[Couple]:
    """A hostile text, and two places: one for it and one for its twin."""
    with site(sandboxes[0], "visitor", application) as one, site(sandboxes[1], "visitor", application) as other:
        yield CORPUS[request.param], one, other


def test_a_hostile_text_is_shown_literally_and_changes_nothing_else(couple: Couple, subtests: pytest.Subtests) -> None:
    text, hostile, harmless = couple
    for name, surface in SURFACES.items():
        with subtests.test(name):
            pages = list(surface(hostile, text))
            twins = surface(harmless, twin(text)) if any(seen.alike for seen in pages) else ()
            for number, (seen, other) in enumerate(zip_longest(pages, twins, fillvalue=Seen(page="", alike=False))):
                reading = Reading.of(seen.page)
                for wanted in seen.wanted:
                    assert wanted in reading.everywhere(), f"page {number}"
                assert reading.found == [], f"page {number}"
                assert reading.hidden() == [], f"page {number}"
                if seen.alike and other.alike:
                    assert reading.elements == Reading.of(other.page).elements, f"page {number}"


@pytest.fixture(scope="module")
def guarded(serving: Serving) -> Iterator[Running]:
    with serving(control_token=CONTROL_TOKEN) as running:
        yield running


def test_a_hostile_text_instead_of_the_control_token_is_no_login(guarded: Running, subtests: pytest.Subtests) -> None:
    def look(typed_: str) -> Reading:
        answer = guarded.request(
            "POST",
            "/login",
            data=urlencode({"token": typed_}, errors="surrogatepass"),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            allow_redirects=False,
        )
        assert answer.status_code in (400, 401)
        assert "set-cookie" not in answer.headers
        return Reading.of(answer.text)

    for name, text in CORPUS.items():
        with subtests.test(name):
            found = look(text)
            assert found.elements == look(twin(text)).elements
            assert found.hidden() == []


def test_a_hostile_text_stays_within_its_event(bench: Bench, subtests: pytest.Subtests) -> None:
    """The event stream is made of lines; a text may hold any."""
    seen = "0"
    for name, text in CORPUS.items():
        with subtests.test(name):
            bench.submit(message=text, session_id=text[:255])
            bench.sent(message=f"the end of {name}")
            lines = lines_of_events(bench, after=seen, end=f"the end of {name}")
            seen = next(line.removeprefix("id: ") for line in reversed(lines) if line.startswith("id: "))
            kinds = {line.removeprefix("event: ") for line in lines if line.startswith("event: ")}
            data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
            assert kinds <= set(EventType)
            assert all(
                line == "" or line.startswith(("id: ", "event: ", "data: ", "retry: 1000", ": ")) for line in lines
            )
            if is_sendable(text) and len(text[:255]) == len(text):
                assert next(each["message"]["text"] for each in data if "message" in each) == text


def lines_of_events(bench: Bench, *, after: str, end: str) -> list[str]:
    """What the stream says after an event, up to the one about the text `end`."""
    connection = http.client.HTTPConnection("127.0.0.1", bench.sandbox.address.port, timeout=10)
    try:
        connection.request("GET", f"/_sandbox/v1/events?account={bench.account}&after={after}")
        answer = connection.getresponse()
        lines: list[str] = []
        while not lines or f'"{end}"' not in lines[-1]:
            lines.append(answer.readline().decode().rstrip("\n"))
    finally:
        connection.close()
    return lines
