"""What the pages make of the record, over real HTTP: findings, faults and refusals in a conversation, transcripts."""

import ast
import html
import re
from contextlib import suppress

import pytest
import requests

from sandbox.pages import views
from sandbox.scenario import script
from sandbox.scenario.steps import Scenario
from tests.conftest import Bench, Receiver
from tests.pages.browsing import ADA, BEN, CHAT, HOSTILE, Visitor, read, typed_in

COSTLY = "Hello \u20a6" + "x" * 100  # two segments, because of one character


@pytest.fixture
def visitor(bench: Bench) -> Visitor:
    return Visitor(bench=bench)


def bubble(page: str, identifier: str) -> str:
    """One bubble, as its page reads."""
    found = re.search(rf'<li class="bubble[^>]* id="{identifier}".*?(?=<li class="|</ol>)', page, re.DOTALL)
    assert found is not None, f"there is no {identifier}"
    return read(found[0])


# Findings ----------------------------------------------------------------------------------------------------------


def test_a_conversation_shows_findings_about_itself_alone(visitor: Visitor) -> None:
    message = visitor.bench.sent(message=COSTLY, to=ADA)
    visitor.bench.sent(message="hello", to=BEN)
    page = visitor.text(CHAT)
    assert "1 finding about your application" in page
    assert f"m{message[1:]} takes 2 segments instead of 1" in page
    assert 'Write ₦ (U+20A6) as "NGN ".' in page
    assert "finding" not in visitor.text(f"/c/48974/{BEN}")


def test_a_conversation_without_findings_has_no_card(visitor: Visitor) -> None:
    visitor.bench.sent()
    assert 'class="findings"' not in visitor.page(CHAT)


def test_a_webhook_shows_what_came_of_it(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(200, b"thanks")
    visitor.bench.patch_account(client_url=receiver.url)
    made = visitor.bench.post(f"/handsets/{ADA}/send", {"text": "hi", "to": "48974"})
    delivery = made["webhook_delivery"]["id"]
    found = re.search(r'id="finding-1">(.*?)</div>', visitor.page(f"/webhooks/{delivery}"), re.DOTALL)
    assert found is not None
    assert "JSON" in found[1]
    receiver.answer_with(200, b"{}")
    made = visitor.bench.post(f"/handsets/{BEN}/send", {"text": "hi", "to": "48974"})
    assert "finding-1" not in visitor.page(f"/webhooks/{made['webhook_delivery']['id']}")


def test_hostile_text_in_a_finding_is_shown_literally(visitor: Visitor, receiver: Receiver) -> None:
    receiver.answer_with(200, HOSTILE.encode() + "\u202e".encode())
    visitor.bench.patch_account(client_url=receiver.url)
    made = visitor.bench.post(f"/handsets/{ADA}/send", {"text": HOSTILE, "to": "48974"})
    visitor.bench.sent(message=HOSTILE + COSTLY, session_id="\u202e" + HOSTILE)
    for path in (CHAT, f"/webhooks/{made['webhook_delivery']['id']}"):
        page = visitor.page(path)
        assert "finding-1" in page
        assert "\u202e" not in page


def test_a_long_record_is_looked_through_when_a_page_is_loaded_and_not_with_every_event(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.bench.sent(message=COSTLY)
    live = 'data-live="findings"'
    options = {"params": {"account": visitor.bench.account}, "headers": {"X-Refresh": "visible"}}
    assert live in visitor.bench.sandbox.request("GET", CHAT, **options).text
    monkeypatch.setattr(views, "LIVE", 0)
    assert live not in visitor.bench.sandbox.request("GET", CHAT, **options).text
    assert live in visitor.page(CHAT)


# Faults and refusals -----------------------------------------------------------------------------------------------


def test_a_message_that_a_fault_struck_says_what_was_done_to_it(visitor: Visitor) -> None:
    visitor.bench.post("/faults", {"on": "sendsms", "effect": {"drop": "accepted"}})
    with suppress(requests.ConnectionError):
        visitor.bench.submit()
    (message,) = visitor.bench.get("/messages")["messages"]
    shown = bubble(visitor.page(CHAT), message["id"])
    assert re.search(r"arrived fault f\d+: the connection is closed, and the answer is lost", shown)
    assert "1 warning" not in shown


def test_a_call_that_a_fault_refused_is_a_bubble_with_the_reason(visitor: Visitor) -> None:
    visitor.bench.post("/faults", {"on": "sendsms", "effect": {"status": 503}})
    assert visitor.bench.submit(message="Which film?").status_code == 503
    page = visitor.page(CHAT)
    (refused,) = re.findall(r'<li class="bubble mt refused" id="(r\d+)"', page)
    assert re.search(r"Which film\? 503 refused fault f\d+: 503 is answered", bubble(page, refused))
    assert f'href="/requests/{refused}?account={visitor.bench.account}"' in page


@pytest.mark.parametrize(
    ("effect", "words"),
    [({"drop": "refused"}, "the connection is closed without an answer"), ({"status": 401}, "401 is answered")],
)
def test_a_call_that_was_never_answered_says_so(visitor: Visitor, effect: dict[str, object], words: str) -> None:
    visitor.bench.post("/faults", {"on": "sendsms", "effect": effect})
    with suppress(requests.ConnectionError):
        visitor.bench.submit()
    assert words in visitor.text(CHAT)


def test_a_refused_call_is_a_bubble_between_its_neighbours(visitor: Visitor) -> None:
    visitor.bench.sent(message="one")
    assert visitor.bench.submit(message="two", session_id=None, sent_date=None).status_code == 400
    visitor.bench.sent(message="three")
    assert visitor.bench.submit(message="elsewhere", to=BEN, session_id=None).status_code == 400
    page = visitor.page(CHAT)
    said = re.findall(r'<p class="text" dir="auto">(.*?)</p>', page)
    assert said == ["one", "two", "three"]
    (refused,) = re.findall(r'<li class="bubble mt refused" id="(r\d+)"', page)
    assert "400 refused session_id is missing. 1 more problem." in bubble(page, refused)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"from": 1, "to": 2}', b'{"from": "48974"}', b"\xff" * 99])
def test_a_call_that_names_no_conversation_is_in_none(visitor: Visitor, body: bytes) -> None:
    visitor.bench.sandbox.request(
        "POST",
        "/ng/v1/sendsms",
        data=body,
        headers={"Authorization": f"Bearer {visitor.bench.token}", "Content-Type": "application/json"},
    )
    assert 'class="bubble' not in visitor.page(CHAT)


def test_hostile_text_of_a_refused_call_is_shown_literally(visitor: Visitor) -> None:
    visitor.bench.submit(message=HOSTILE + "\u202e", session_id=None, **{HOSTILE: HOSTILE})
    page = visitor.page(CHAT)
    assert HOSTILE in html.unescape(page)
    assert "⟨U+202E⟩" in page


def test_refused_calls_stay_on_the_page_of_their_time(visitor: Visitor) -> None:
    visitor.bench.submit(message="the first", session_id=None)
    for number in range(views.BUBBLES + 1):
        visitor.bench.sent(message=f"text {number}")
    assert "the first" not in visitor.text(CHAT)
    newest = visitor.bench.get("/messages", limit=views.BUBBLES)["messages"]
    assert "the first" in visitor.text(CHAT, before=newest[-1]["seq"])


# Transcripts -------------------------------------------------------------------------------------------------------


def written(page: str) -> str:
    found = re.search(r'<div class="copyable"><pre[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found is not None
    return html.unescape(re.sub("<[^>]+>", "", found[1]))


@pytest.fixture
def talk(visitor: Visitor, receiver: Receiver) -> Visitor:
    """A conversation of two messages, and a stranger's."""
    visitor.bench.patch_account(client_url=receiver.url)
    visitor.bench.sent(message="When were you at the cinema?")
    visitor.bench.post(f"/handsets/{ADA}/reply", {"text": "yesterday"})
    visitor.bench.sent(message="nobody's business", to=BEN)
    return visitor


def test_a_conversation_leads_to_its_copies(talk: Visitor) -> None:
    page = talk.page(CHAT)
    for form, words in (("scenario", "Copy as scenario"), ("pytest", "Copy as pytest"), ("text", "Copy transcript")):
        assert f'href="{CHAT}/as/{form}?account={talk.bench.account}">{words}</a>' in page


@pytest.mark.parametrize("form", ["scenario", "pytest", "text"])
def test_a_copy_is_what_the_control_api_answers(talk: Visitor, form: str) -> None:
    answer = talk.bench.call("GET", f"/conversations/{ADA}/transcript", **{"as": form, "shortcode": "48974"})
    assert written(talk.page(f"{CHAT}/as/{form}")) == answer.text
    assert "nobody" not in answer.text


def test_a_copy_as_a_scenario_is_one_and_can_be_saved_here(talk: Visitor) -> None:
    page = talk.page(f"{CHAT}/as/scenario")
    assert isinstance(script.read(written(page)), Scenario)
    link = re.search(r'href="(/scenarios/_edit[^"]*)"', page)
    assert link is not None
    answer = talk.bench.sandbox.request("GET", html.unescape(link[1]))
    source = typed_in(answer.text, "source")
    assert talk.done("/scenarios/_edit", source=source) == "/scenarios/my-recorded"


def test_a_copy_as_a_test_is_python(talk: Visitor) -> None:
    ast.parse(written(talk.page(f"{CHAT}/as/pytest")))


@pytest.mark.parametrize("form", ["scenario", "pytest", "text"])
def test_hostile_text_is_copied_literally(visitor: Visitor, form: str) -> None:
    visitor.bench.sent(message=f"{HOSTILE}\u202e\x1b", session_id=HOSTILE)
    page = visitor.page(f"{CHAT}/as/{form}")
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "alert(1)" in written(page)


def test_nothing_said_is_no_error_and_an_unknown_form_is(visitor: Visitor) -> None:
    for form in ("scenario", "pytest", "text"):
        assert visitor.get(f"{CHAT}/as/{form}").status_code == 200
    assert visitor.get(f"{CHAT}/as/poem").status_code == 404
    assert visitor.get("/c/x/y/as/text").status_code == 404
