"""A person is the handset: what a real browser shows while an application in another process answers."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from sandbox.wire.text import forcing, measure

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

DOCUMENTED_KEYS = ["type", "telco", "from", "to", "message", "session_id", "sent_date"]

# Notes the moment, in milliseconds since 1970, at which an MO bubble is first seen to be delivered.
WATCH = """() => {
  const seen = () => document.querySelector('.bubble.mo[data-state="delivered"]');
  window.delivered = new Promise((tell) => {
    const look = () => seen() && tell(performance.timeOrigin + performance.now());
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
}"""


def test_a_typed_reply_reaches_the_application_and_every_tab_sees_it_delivered(
    sandbox: Any, application: Any, tab: Callable[..., "Page"]
) -> None:
    sandbox.sends("When was the last time you went to the cinema?", session="67543uhn3")
    here, elsewhere = tab(sandbox.chat), tab(sandbox.chat)
    for page in (here, elsewhere):
        page.evaluate(WATCH)
    here.fill("#text", "yesterday")
    here.press("#text", "Enter")

    call = application.next_call()
    late = [page.evaluate("() => window.delivered") - call["answered_ms"] for page in (here, elsewhere)]
    print(f"delivered on screen {late[0]:.0f} ms, in the second tab {late[1]:.0f} ms after the application's answer")

    assert call["method"] == "POST"
    assert call["path"] == "/sms"
    assert call["headers"]["content-type"] == "application/json"
    assert call["headers"]["authorization"] == "Bearer sandbox-token"
    body = json.loads(call["body"])
    assert list(body) == DOCUMENTED_KEYS
    assert body["session_id"] == "67543uhn3"
    assert body["message"] == "yesterday"
    for page in (here, elsewhere):
        assert "delivered 200 in" in page.locator(".bubble.mo").inner_text()
    here.wait_for_function("() => text.value === ''")  # by the form's own answer; the news may be first
    assert max(late) < 2000


def test_a_message_arrives_without_a_reload_and_typed_text_survives(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    sandbox.sends("Which film?")
    page = tab(sandbox.chat)
    page.locator(".bubble.mt .wire > summary").click()
    page.fill("#text", "Things Fall")
    page.evaluate("() => document.getElementById('text').setSelectionRange(3, 3)")
    page.evaluate("() => { window.same = true; }")
    sandbox.sends("Are you still there?")
    page.wait_for_selector(".bubble.mt >> nth=1")
    assert page.input_value("#text") == "Things Fall"
    assert page.evaluate("() => [document.activeElement.id, document.getElementById('text').selectionStart]") == [
        "text",
        3,
    ]
    assert page.locator(".bubble.mt .wire").first.get_attribute("open") is not None
    assert page.evaluate("() => window.same")


def test_a_reader_stays_at_the_newest_message_or_where_they_scrolled_to(
    sandbox: Any, tab: Callable[..., "Page"]
) -> None:
    for number in range(25):
        sandbox.sends(f"message {number}")
    page = tab(sandbox.chat, viewport={"width": 1000, "height": 600})
    place = "() => { const log = document.getElementById('log'); return [log.scrollTop, log.scrollHeight]; }"
    assert page.evaluate(place)[0] == 0  # the end, in a log that is turned round
    sandbox.sends("message 25")
    page.wait_for_selector("text=message 25")
    assert page.evaluate(place)[0] == 0
    page.evaluate("() => document.getElementById('log').scrollTo(0, -300)")
    first = "() => document.getElementById('m20').getBoundingClientRect().top"
    before = page.evaluate(first)
    sandbox.sends("message 26")
    page.wait_for_selector("text=message 26", state="attached")
    assert abs(page.evaluate(first) - before) <= 1


def test_the_title_counts_what_is_unread_in_other_conversations(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    sandbox.sends("Which film?")
    page = tab(sandbox.chat)
    sandbox.sends("hello", to="2348031110000")
    page.wait_for_function("() => document.title.startsWith('(1) ')")
    assert page.locator(".chat.unread").count() == 1


def test_shift_enter_is_a_new_line_and_enter_sends(sandbox: Any, application: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(sandbox.chat)
    page.locator("#text").press_sequentially("one")
    page.press("#text", "Shift+Enter")
    page.locator("#text").press_sequentially("two")
    page.press("#text", "Enter")
    assert json.loads(application.next_call()["body"])["message"] == "one\ntwo"


def test_a_error_leaves_what_was_typed(sandbox: Any, tab: Callable[..., "Page"], errors: list[str]) -> None:
    page = tab(sandbox.chat)
    page.locator(".switch").click()
    page.wait_for_selector("#off")
    page.fill("#text", "are you there?")
    with page.expect_response(lambda answer: answer.request.method == "POST") as refused:
        page.press("#text", "Enter")
    assert refused.value.status == 409
    page.wait_for_selector("#text-error")
    assert page.input_value("#text") == "are you there?"
    assert len(errors) == 1
    assert "409" in errors.pop()


@pytest.mark.parametrize("place", ["", "?at=m2"])
def test_a_draft_stays_while_its_handset_is_switched_and_labelled(
    sandbox: Any, tab: Callable[..., "Page"], place: str
) -> None:
    for number in range(3):
        sandbox.sends(f"message {number}")
    page = tab(sandbox.chat + place)
    page.fill("#text", "half a tho")
    page.locator(".switch").click()
    page.wait_for_selector("#off")
    page.click("#edit summary")
    page.fill("#label", "Ada")
    page.press("#label", "Enter")
    page.wait_for_selector("#names h1:text-is('Ada')")  # by the answer to the form or by the news, which may be first
    page.wait_for_function("() => document.querySelector('#edit summary') === document.activeElement")
    assert not page.locator("#label").is_visible()
    assert page.input_value("#text") == "half a tho"
    assert page.url == sandbox.chat + place


def test_the_page_lives_on_after_the_stream_was_cut(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(sandbox.chat)
    page.evaluate("() => window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    sandbox.sends("while nobody listened")
    page.evaluate("() => window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    page.wait_for_selector("text=while nobody listened")


def test_a_page_notices_that_the_sandbox_was_started_anew(start: Any, browser: Any) -> None:
    page = browser.new_page()
    with start() as first:
        for number in range(3):
            first.sends(f"before {number}")
        page.goto(first.chat)
        page.wait_for_selector("#link[data-state=live]")
    page.wait_for_selector("#link[data-state=lost]")
    with start(port=urlsplit(first.url).port) as second:
        page.wait_for_selector("#link[data-state=live]")
        page.wait_for_selector("#nothing")  # its database was in memory
        second.sends("after")
        page.wait_for_selector("text=after")
        assert page.locator(".bubble").count() == 1
        page.close()


def test_hostile_text_runs_nothing(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(sandbox.chat)
    texts = [
        "<img src=x onerror='window.pwned=1'>",
        "<script>window.pwned=1</script>",
        "</ol></div><svg onload=window.pwned=1>",
    ]
    for text in texts:
        sandbox.sends(text, session=text)
    page.wait_for_selector(".bubble >> nth=2")
    assert page.locator(".bubble .text").all_inner_texts() == texts
    page.fill("#text", texts[0] + "₦\u202e")
    assert page.evaluate("() => window.pwned") is None


TEXTS = [
    "",
    "hello",
    "€" * 80,
    "€" * 81,
    "a" * 152 + "€" + "b" * 152 + "€",
    "a" * 160,
    "a" * 161,
    "a" * 306,
    "a" * 307,
    "\f^{}\\[~]|€@_\r\n Çé¿Ω¤",
    "₦",
    "₦€{",
    "₦" + "a" * 69,
    "₦" + "a" * 70,
    "₦" * 134,
    "₦" * 135,
    "😀",
    "😀" * 35,
    "😀" * 36,
    "a" * 66 + "😀" * 40,
    "“smart” – quotes…",
    "ç Ç à À",
    "\x1b",
    "👩\u200d👩\u200d👧 family",
    "мама",
    "日本語" * 50,
]


def test_the_meter_counts_as_the_contract_does(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(sandbox.chat)
    counted = page.evaluate(
        """async (texts) => {
          const { measure, forcing } = await import("/static/meter.js");
          return texts.map((text) => ({ ...measure(text), foreign: forcing(text).map(([, character]) => character) }));
        }""",
        TEXTS,
    )
    for text, found in zip(TEXTS, counted, strict=True):
        wanted = measure(text)
        assert found == {
            "encoding": wanted.encoding,
            "segments": wanted.segments,
            "units": wanted.units,
            "left": wanted.units_left,
            "foreign": [character for _, character in forcing(text)],
        }, text


def test_the_meter_marks_what_forces_ucs2(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    page = tab(sandbox.chat)
    page.fill("#text", "₦3,500 – ₦")
    assert page.locator("#measure").inner_text() == "UCS-2, 1 part, 60 left"
    assert page.locator("#mirror mark").all_inner_texts() == ["₦", "–", "₦"]
    assert page.locator("#foreign button").all_inner_texts() == ["₦ ×2", "–"]
    page.locator("#foreign button").last.click()
    assert page.evaluate("() => getSelection().toString()") == "–"
    page.fill("#text", "3,500")
    assert page.locator("#measure").inner_text() == "GSM-7, 1 part, 155 left"


def test_keys_lead_to_search_and_reply_and_along_the_list(sandbox: Any, tab: Callable[..., "Page"]) -> None:
    sandbox.sends("hello")
    sandbox.sends("hello", to="2348031110000")
    page = tab(sandbox.url)
    for key, wanted in (("j", "chat"), ("j", "chat"), ("/", "q")):
        page.keyboard.press(key)
        assert wanted in page.evaluate("() => document.activeElement.id || document.activeElement.className")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_everything_needed_works_without_javascript(sandbox: Any, application: Any, tab: Callable[..., "Page"]) -> None:
    sandbox.sends("Which film?", session="67543uhn3")
    page = tab(sandbox.url, java_script_enabled=False)
    page.locator(".chat").click()
    assert page.locator("#meter").is_hidden()
    page.fill("#text", "Things Fall Apart")
    page.locator(".send").click()
    assert page.url == sandbox.chat
    assert json.loads(application.next_call()["body"])["session_id"] == "67543uhn3"
    for _ in range(50):
        if page.locator('.bubble.mo[data-state="delivered"]').count():
            break
        page.reload()
    assert "delivered 200 in" in page.locator(".bubble.mo").inner_text()
    page.locator(".bubble.mo .wire > summary").click()
    page.get_by_role("button", name="Redeliver").click()
    assert json.loads(application.next_call()["body"])["message"] == "Things Fall Apart"
