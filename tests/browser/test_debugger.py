"""The unfolded bubble and what a conversation offers, in a real browser: timeline, causes, edited payloads, quick
replies, earlier sessions, permanent links."""

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.conftest import Receiver

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

NUMBER = "2348020000000"


@pytest.fixture
def app(sandbox: Any) -> Iterator[Receiver]:
    """An application that answers as it is told, in place of the one in another process."""
    it = Receiver()
    changed = sandbox.http.patch(f"{sandbox.url}/_sandbox/v1/accounts/default", json={"client_url": it.url})
    assert changed.ok
    yield it
    it.close()


def reply(sandbox: Any, text: str) -> Any:
    """A reply from the handset; its webhook delivery after the first attempt."""
    answer = sandbox.http.post(f"{sandbox.url}/_sandbox/v1/handsets/{NUMBER}/reply", json={"text": text})
    assert answer.ok, answer.text
    return answer.json()["webhook_delivery"]


def identifier(sandbox: Any, text: str) -> str:
    """Of the message that says so."""
    found = sandbox.http.get(f"{sandbox.url}/_sandbox/v1/messages", params={"text": text}).json()["messages"]
    return str(found[0]["id"])


def clock(sandbox: Any, **asked: object) -> None:
    assert sandbox.http.put(f"{sandbox.url}/_sandbox/v1/clock", json=asked).ok


def unfold(page: "Page", identifier: str) -> "Locator":
    page.locator(f"#{identifier}-wire > summary").click()
    return page.locator(f"#{identifier}")


def test_an_unfolded_bubble_follows_its_attempts_live(sandbox: Any, app: Receiver, tab: Callable[..., "Page"]) -> None:
    app.answer_with(503, b'{"error": "maintenance"}')
    sandbox.sends("Which film?")
    owed = reply(sandbox, "Things Fall Apart")
    page = tab(sandbox.chat)
    bubble = unfold(page, owed["message_id"])
    points = bubble.get_by_role("list", name="Attempts").get_by_role("listitem")
    expect(points).to_have_count(2)
    expect(points.first).to_contain_text("503")
    expect(points.first).to_contain_text('{"error": "maintenance"}')
    expect(points.last).to_contain_text("in 30 s of a clock that stands still")
    clock(sandbox, action="advance", seconds=30)
    expect(points).to_have_count(3)
    expect(points.nth(1)).to_contain_text("+30 s")
    app.answer_with(200)
    bubble.get_by_role("button", name="Attempt now").click()
    expect(points.nth(2)).to_contain_text("by hand")
    expect(points.last).to_have_text("delivered: nothing more follows")
    assert bubble.locator(".wire").get_attribute("open") is not None


def test_what_is_left_until_the_next_attempt_counts_down_where_the_clock_runs(
    sandbox: Any, app: Receiver, tab: Callable[..., "Page"]
) -> None:
    app.answer_with(503)
    sandbox.sends("Which film?")
    clock(sandbox, action="resume")
    owed = reply(sandbox, "Things Fall Apart")
    page = tab(f"{sandbox.url}/webhooks/{owed['id']}")
    left = page.locator("[data-left]")
    first = int(left.inner_text().removesuffix(" s"))
    assert 0 < first <= 30
    expect(left).to_have_text(f"{first - 2} s")


def test_the_timeline_is_readable_on_a_small_screen(sandbox: Any, app: Receiver, tab: Callable[..., "Page"]) -> None:
    app.answer_with(500, b"x" * 3000)
    sandbox.sends("Which film?")
    owed = reply(sandbox, "Things Fall Apart")
    clock(sandbox, action="advance", seconds=3600)
    page = tab(sandbox.chat, viewport={"width": 390, "height": 844})
    bubble = unfold(page, owed["message_id"])
    expect(bubble.locator(".tries li")).to_have_count(10)
    width = "() => [document.documentElement.scrollWidth, document.getElementById('log').scrollWidth]"
    assert max(page.evaluate(width)) <= 390
    for each in bubble.locator(".tries li").all():
        box = each.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390


def test_cause_and_effect_lead_to_each_other(sandbox: Any, app: Receiver, tab: Callable[..., "Page"]) -> None:
    sandbox.sends("When?")
    owed = reply(sandbox, "yesterday")
    page = tab(sandbox.chat)
    bubble = unfold(page, owed["message_id"])
    expect(bubble.locator(".cause")).to_have_count(0)  # it may still be on its way
    sandbox.sends("Which film?")
    expect(bubble.locator(".cause")).to_contain_text("Your application answered 200 after")
    told = re.search(r"sent (m\d+) “Which film\?” after the reply", bubble.locator(".cause").inner_text())
    assert told is not None
    bubble.locator(".cause a").click()
    assert page.evaluate("() => document.querySelector(':target').id") == told[1]
    other = unfold(page, told[1])
    expect(other.locator(".cause")).to_have_text(f"Sent after the reply {owed['message_id']} “yesterday”.")
    other.locator(".cause a").click()
    assert page.url.endswith(f"#{owed['message_id']}")


def test_a_payload_is_copied_as_json_that_nothing_hides_in(
    sandbox: Any, app: Receiver, tab: Callable[..., "Page"]
) -> None:
    sandbox.sends("Which film?")
    owed = reply(sandbox, 'A "film" \u202e₦')
    page = tab(sandbox.chat, permissions=["clipboard-read", "clipboard-write"])
    bubble = unfold(page, owed["message_id"])
    bubble.get_by_role("button", name="Copy payload").click()
    expect(bubble.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert json.loads(copied) == json.loads(owed["body"])
    assert "\u202e" not in copied


def test_a_payload_is_edited_and_redelivered_without_leaving_the_conversation(
    sandbox: Any, app: Receiver, tab: Callable[..., "Page"]
) -> None:
    app.answer_with(404)
    sandbox.sends("Which film?")
    owed = reply(sandbox, "Things Fall Apart")
    page = tab(sandbox.chat)
    bubble = unfold(page, owed["message_id"])
    bubble.locator("summary", has_text="Edit and redeliver").click()
    area = bubble.get_by_label("What to post instead")
    assert json.loads(area.input_value()) == json.loads(owed["body"])
    area.fill('{"type": "two-way sms"')
    sandbox.sends("Are you still there?")
    expect(page.locator(".bubble.mt")).to_have_count(2)
    assert area.input_value() == '{"type": "two-way sms"'  # an update leaves it alone
    bubble.get_by_role("button", name="Redeliver edited").click()
    assert app.wait_for(2)[1].body == b'{"type": "two-way sms"'
    expect(bubble.locator(".chip", has_text="edited")).to_have_count(1)
    expect(bubble).to_contain_text("This is not JSON")
    assert page.url == sandbox.chat
    assert bubble.locator(".wire").get_attribute("open") is not None


def test_a_quick_reply_is_sent_with_one_press_and_what_was_typed_stays(
    sandbox: Any, app: Receiver, tab: Callable[..., "Page"]
) -> None:
    sandbox.sends("Did you like it? 1. Yes 2. No")
    page = tab(sandbox.chat)
    page.fill("#text", "half a sen")
    chips = page.get_by_role("group", name="Quick replies")
    assert [each.get_attribute("value") for each in chips.get_by_role("button").all()] == ["1", "2", "STOP"]
    chips.get_by_role("button", name="2 No").click()
    assert json.loads(app.wait_for(1)[0].body)["message"] == "2"
    expect(page.locator(".bubble.mo")).to_have_count(1)
    assert page.input_value("#text") == "half a sen"
    sandbox.sends("How many stars, from 1 to 5?")
    expect(chips.get_by_role("button")).to_have_count(6)
    page.press("#text", "Enter")  # sends what was typed, and no chip
    assert json.loads(app.wait_for(2)[1].body)["message"] == "half a sen"


def test_an_earlier_session_is_chosen_and_stays_chosen(sandbox: Any, app: Receiver, tab: Callable[..., "Page"]) -> None:
    for session in ("old", "older", "new"):
        sandbox.sends("hello", session=session)
    page = tab(sandbox.chat)
    picker = page.get_by_label("Which earlier session")
    expect(picker).to_be_hidden()
    page.get_by_text("Earlier session", exact=True).click()
    expect(picker).to_be_visible()
    old = next(each for each in picker.locator("option").all_inner_texts() if each.startswith("old,"))
    picker.select_option(label=old)
    for number, session in enumerate(("another", "old"), 1):
        sandbox.sends("news", session=session)  # the second makes the chosen session the last one
        expect(page.locator(".bubble.mt")).to_have_count(3 + number)
        page.fill("#text", "late")
        page.press("#text", "Enter")
        assert json.loads(app.wait_for(number)[-1].body)["session_id"] == "old"


def test_a_permanent_link_leads_far_back_and_marks_the_message(
    sandbox: Any, app: Receiver, tab: Callable[..., "Page"]
) -> None:
    for number in range(80):
        sandbox.sends(f"message {number}")
    page = tab(sandbox.chat)
    page.get_by_role("link", name="Older messages").click()
    far = identifier(sandbox, "message 45")
    href = unfold(page, far).get_by_title("Permanent link").get_attribute("href")
    there = tab(f"{sandbox.url}{href}")
    assert there.evaluate("() => document.querySelector(':target').id") == far
    expect(there.locator(f"#{far}")).to_be_in_viewport()
    marked = there.locator(f"#{far} .balloon").evaluate("(it) => getComputedStyle(it).outlineStyle")
    assert marked == "solid"
    expect(there.locator(".bubble .text", has_text="message 45")).to_have_count(1)
    expect(there.locator(".bubble .text", has_text="message 79")).to_have_count(0)
    sandbox.sends("message 80")
    expect(there.get_by_role("link", name="Newest messages")).to_have_count(1)
    expect(there.locator(f"#{far}")).to_be_in_viewport()


def test_all_of_it_works_without_javascript(sandbox: Any, app: Receiver, tab: Callable[..., "Page"]) -> None:
    app.answer_with(404)
    sandbox.sends("hello", session="old")
    sandbox.sends("Did you like it? 1. Yes 2. No", session="new")
    page = tab(sandbox.chat, java_script_enabled=False)
    page.get_by_role("button", name="1 Yes").click()
    assert json.loads(app.wait_for(1)[0].body)["message"] == "1"
    page.get_by_text("Earlier session", exact=True).click()
    page.get_by_label("Which earlier session").select_option(index=0)
    page.fill("#text", "late")
    page.locator(".send").click()
    assert json.loads(app.wait_for(2)[1].body)["session_id"] == "old"
    expect(page.locator(".bubble.mo")).to_have_count(2)
    bubble = page.locator(".bubble.mo").first
    for _ in range(50):
        if bubble.locator("summary", has_text="Edit and redeliver").count():
            break
        page.reload()
    bubble.locator(".wire > summary").click()
    bubble.locator("summary", has_text="Edit and redeliver").click()
    bubble.get_by_label("What to post instead").fill("no JSON")
    bubble.get_by_role("button", name="Redeliver edited").click()
    assert app.wait_for(3)[2].body == b"no JSON"
    first = identifier(sandbox, "hello")
    page.goto(f"{sandbox.url}/messages/{first}")
    assert page.url == f"{sandbox.chat}?at={first}#{first}"
